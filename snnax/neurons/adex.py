"""The adaptive exponential integrate-and-fire neuron."""

from __future__ import annotations

from collections.abc import Mapping
from typing import ClassVar

from snnax.dynamics import adex
from snnax.neurons.custom import CustomNeuron
from snnax.neurons.values import Parameter

__all__ = ["AdEx"]


class AdEx(CustomNeuron, kw_only=True):
    r"""Adaptive exponential integrate-and-fire neuron, with its parameters in pF, nS, mV, pA and seconds.

    .. math::
        C\,\dot v &= g_L (E_L - v) + g_L \Delta_T\, e^{(v - V_T)/\Delta_T} - w + I \\
        \tau_w\,\dot w &= a\,(v - E_L) - w, \qquad
        v \leftarrow v_{reset},\; w \leftarrow w + b \text{ where } v > \theta

    in steps of Euler's of ``dt`` seconds. The reset comes before the next step, so that the membrane that a step
    returns is the one that fired. It starts from -70.6 mV, the default ``E_L``, and :math:`w = 0`.

    Call: ``spk, w, mem = neuron(x, w, mem)``, all ``[B, ..., N]``, where ``x`` is :math:`I` in pA; the default neuron
    needs about 700. Numbers are one for all neurons, or arrays with one for each; all else is as for
    :class:`~snnax.neurons.CustomNeuron`, each argument by name. A surrogate for a membrane in mV is a wide one, as
    ``spike_grad=snn.surrogate.fast_sigmoid(slope=0.5)``.

    Args:
        C: capacitance in pF.
        g_L: leak conductance in nS.
        E_L: potential at rest in mV.
        V_T: where the exponential takes over, in mV.
        delta_T: how sharply, in mV.
        tau_w: time constant of the adaptation in seconds.
        a: what the membrane adds to the adaptation, in nS.
        b: what a spike adds to it, in pA.
        v_reset: the membrane after a spike, in mV.
        dt: length of a step in seconds.
        threshold: the neuron fires above it, in mV: by default 5 ``delta_T`` above ``V_T``, from where it takes a
            fraction of a millisecond to any height.
        reset_mechanism: ``"value"``, to ``v_reset``, ``"subtract"``, ``"zero"`` or ``"none"``.

    Example:
        >>> import jax.numpy as jnp, snnax as snn
        >>> neuron = snn.AdEx(init_hidden=True)
        >>> spk, _ = snn.unroll(neuron, {}, jnp.full((2000, 1, 1), 1000.0))  # 200 ms
        >>> int(spk.sum())
        8

    Source: R. Brette and W. Gerstner, "Adaptive exponential integrate-and-fire model as an effective description of
    neuronal activity", Journal of Neurophysiology 94 (2005), with the numbers given there for a regular spiking cell.
    Compared with Norse: ``LIFAdExCell`` has ``g_L = 1``, ``C = 1000 / tau_mem_inv``, one number for ``V_T`` and the
    threshold, a filter before the input, and returns the membrane after its reset.
    Compared with snnTorch and NIR: they have no such neuron. ``to_nir`` writes an extension node, which other readers
    refuse.
    """

    C: Parameter = 281.0
    g_L: Parameter = 30.0
    E_L: Parameter = -70.6
    V_T: Parameter = -50.4
    delta_T: Parameter = 2.0
    tau_w: Parameter = 0.144
    a: Parameter = 4.0
    b: Parameter = 80.5
    v_reset: Parameter = -70.6
    dt: Parameter = 1e-4
    threshold: Parameter = -40.4
    reset_mechanism: str = "value"

    reset_delay: ClassVar[bool] = True  # type: ignore[misc]  # its adaptation would not see a spike that is over
    state_names: ClassVar[tuple[str, ...]] = ("w", "mem")
    state_starts: ClassVar[Mapping[str, float]] = {"mem": -70.6}
    parameter_names: ClassVar[tuple[str, ...]] = (
        "C",
        "g_L",
        "E_L",
        "V_T",
        "delta_T",
        "tau_w",
        "a",
        "b",
        "dt",
    )
    positive_names: ClassVar[tuple[str, ...]] = ("C", "delta_T", "tau_w", "dt")
    charge = staticmethod(adex.charge)
