"""The sigma-delta neuron."""

from __future__ import annotations

from typing import ClassVar

from snnax.dynamics import sigma_delta
from snnax.neurons.custom import CustomNeuron

__all__ = ["SigmaDelta"]


class SigmaDelta(CustomNeuron, kw_only=True):
    r"""Sigma-delta neuron: spikes of 1 tell by how much the sum of its input has grown.

    .. math:: \sigma_t = \sigma_{t-1} + x_t, \qquad U_t = \sigma_t - \sigma_{t-1} + (U_{t-1} - S_{t-1}), \qquad
        S_t = [U_t > \theta]

    What a spike does not tell stays in the membrane. A spike takes away 1, whatever the threshold is.

    Call: ``spk, sigma, mem = neuron(x, sigma, mem)``, all ``[B, ..., N]``. All else is as for
    :class:`~snnax.neurons.CustomNeuron`, each argument by name.

    Args:
        threshold: the neuron fires above it; one number, or an array with one for each neuron.
        reset_mechanism: ``"subtract"``, which takes away 1, or ``"none"``.

    Example:
        >>> import jax.numpy as jnp, snnax as snn
        >>> neuron = snn.SigmaDelta(threshold=0.5, init_hidden=True)
        >>> spk, _ = snn.unroll(neuron, {}, jnp.full((8, 1, 1), 0.375))
        >>> [int(s) for s in spk.ravel()], 8 * 0.375
        ([0, 1, 0, 0, 1, 0, 1, 0], 3.0)

    Source: SNNAX (https://github.com/PGI15/snnax), ``SigmaDelta``, after M. V. Nair and G. Indiveri, "An ultra-low
    power sigma-delta neuron circuit", ISCAS 2019.
    Compared with SNNAX: the same steps; SNNAX fires at the threshold, too.
    Compared with snnTorch and NIR: up to rounding it is ``Leaky(beta=1.0)`` and NIR's ``IF`` where the threshold is 1.
    ``to_nir`` writes an extension node, which other readers refuse.
    """

    v_reset: ClassVar[None] = None  # type: ignore[misc, assignment]
    reset_delay: ClassVar[bool] = True  # type: ignore[misc]  # a spike takes away 1, not the threshold
    reset_mechanisms: ClassVar[tuple[str, ...]] = ("subtract", "none")
    state_names: ClassVar[tuple[str, ...]] = ("sigma", "mem")
    parameter_names: ClassVar[tuple[str, ...]] = ()
    charge = staticmethod(sigma_delta.charge)
