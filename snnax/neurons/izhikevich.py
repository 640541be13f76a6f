"""Izhikevich's simple model of spiking neurons."""

from __future__ import annotations

from collections.abc import Mapping
from typing import ClassVar

from snnax.dynamics import izhikevich
from snnax.neurons.custom import CustomNeuron
from snnax.neurons.values import Parameter

__all__ = ["Izhikevich"]


class Izhikevich(CustomNeuron, kw_only=True):
    r"""Izhikevich's simple model: a quadratic membrane with a recovery variable, which fires as many kinds of cells do.

    .. math::
        \dot v = 0.04\,v^2 + 5 v + 140 - u + I, \qquad \dot u = a\,(b v - u), \qquad
        v \leftarrow c,\; u \leftarrow u + d \text{ where } v > \theta

    in mV and ms, in steps of Euler's of ``dt`` seconds. The reset comes before the next step, so that the membrane that
    a step returns is the one that fired. It starts from rest as it is for :math:`b = 0.2`: -70 mV, :math:`u = -14`.

    Call: ``spk, u, mem = neuron(x, u, mem)``, all ``[B, ..., N]``, where ``x`` is :math:`I`; regular spiking needs
    about 10. Numbers are one for all neurons, or arrays with one for each; all else is as for
    :class:`~snnax.neurons.CustomNeuron`, each argument by name. A surrogate for a membrane in mV is a wide one, as
    ``spike_grad=snn.surrogate.fast_sigmoid(slope=0.5)``.

    Args:
        a: rate of the recovery, per ms.
        b: what the membrane adds to the recovery.
        c: the membrane after a spike, in mV.
        d: what a spike adds to the recovery.
        dt: length of a step in seconds; 0.5 ms and more miss spikes that are close.
        threshold: the neuron fires above it, in mV; the top of the spike.
        reset_mechanism: ``"value"``, to ``c``, or ``"none"``.

    Example:
        >>> import jax.numpy as jnp, snnax as snn
        >>> neuron = snn.Izhikevich(a=0.02, b=0.2, c=-50.0, d=2.0, init_hidden=True)  # chattering
        >>> spk, _ = snn.unroll(neuron, {}, jnp.full((2000, 1, 1), 10.0))  # 200 ms
        >>> int(spk.sum())
        22

    Source: E. M. Izhikevich, "Simple model of spiking neurons", IEEE Transactions on Neural Networks 14 (2003). The
    code of that article takes two half steps for :math:`v` and computes :math:`u` from the new one; here both are of
    one step, as in NEST with ``consistent_integration``.
    Compared with Norse: ``IzhikevichCell`` is this neuron with ``dt = 1e-3 * tau_inv * dt_norse``, and returns the
    membrane after its reset.
    Compared with snnTorch and NIR: they have no such neuron. ``to_nir`` writes an extension node, which other readers
    refuse.
    """

    a: Parameter = 0.02
    b: Parameter = 0.2
    c: Parameter = -65.0
    d: Parameter = 8.0
    dt: Parameter = 1e-4
    threshold: Parameter = 30.0
    reset_mechanism: str = "value"

    v_reset: ClassVar[None] = None  # type: ignore[misc, assignment]  # which is c
    reset_delay: ClassVar[bool] = True  # type: ignore[misc]  # its recovery would not see a spike that is over
    reset_mechanisms: ClassVar[tuple[str, ...]] = ("value", "none")
    state_names: ClassVar[tuple[str, ...]] = ("u", "mem")
    state_starts: ClassVar[Mapping[str, float]] = {"u": -14.0, "mem": -70.0}
    parameter_names: ClassVar[tuple[str, ...]] = ("a", "b", "c", "d", "dt")
    positive_names: ClassVar[tuple[str, ...]] = ("dt",)
    charge = staticmethod(izhikevich.charge)
