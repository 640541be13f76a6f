"""Leaky integrate-and-fire with an adaptive threshold."""

from __future__ import annotations

from typing import ClassVar

from snnax.dynamics import alif
from snnax.neurons.custom import CustomNeuron
from snnax.neurons.values import Parameter

__all__ = ["ALIF"]


class ALIF(CustomNeuron):
    r"""Leaky integrate-and-fire neuron whose threshold rises with each spike and decays: that of LSNNs.

    .. math::
        R &= [U_{t-1} > \theta + \kappa b_{t-1}] \\
        b_t &= \rho\, b_{t-1} + (1 - \rho)\, R \\
        U_t &= \beta\, U_{t-1} + I_t - R\,(\theta + \kappa b_{t-1}) \\
        S_t &= [U_t > \theta + \kappa b_t]

    A neuron that fires without a pause has :math:`b = 1`. With ``reset_mechanism="zero"`` and ``"value"``, the membrane
    is reset before it decays: :math:`U_t = \beta\,(1 - R)\,U_{t-1} + I_t`.

    Call: ``spk, b, mem = alif(x, b, mem)``, all ``[B, ..., N]``. Numbers are one for all neurons, or arrays with one
    for each; all else is as for :class:`~snnax.neurons.CustomNeuron`, each argument by name.

    Args:
        beta: decay :math:`\beta` of the membrane per step, clamped to [0, 1].
        rho: decay :math:`\rho` of the adaptation per step, clamped to [0, 1]; much slower than that of the membrane.
        strength: :math:`\kappa`, by how much an adaptation of 1 raises the threshold.

    Example:
        >>> import jax.numpy as jnp, snnax as snn
        >>> alif = snn.ALIF(beta=0.5, rho=0.75, strength=2.0, init_hidden=True)
        >>> spk, _ = snn.unroll(alif, {}, jnp.full((8, 1, 1), 1.25))  # [T, B, N]
        >>> [int(s) for s in spk.ravel()]
        [1, 0, 1, 0, 1, 0, 0, 1]

    Source: G. Bellec et al., "Long short-term memory and learning-to-learn in networks of spiking neurons", NeurIPS
    2018, equations 1 and 2, with the surrogate of the distance to the threshold, not divided by it.
    Compared with spyx: ``ALIF(shape, beta, gamma)`` is ``ALIF(beta, rho=gamma, strength=1.0)`` with each spike one step
    later, since it compares before it integrates; states are ``(mem, b)`` in one array there.
    Compared with Norse: ``LSNNCell`` is this neuron behind a filter. With :math:`k = dt\,\tau_b^{-1}` it has
    ``beta=1 - dt * tau_mem_inv``, ``rho=1 - k``, :math:`\kappa = \beta_{Norse}\,\rho/(1 - \rho)`,
    ``reset_mechanism="zero"`` and the input :math:`dt\,\tau_{mem}^{-1} i_{t-1}`, where its ``b`` starts from ``v_th``.
    Compared with snnTorch and NIR: they have no such neuron. ``to_nir`` writes an extension node, which other readers
    refuse.
    """

    beta: Parameter = 0.9
    rho: Parameter = 0.99
    strength: Parameter = 1.8

    reset_delay: ClassVar[bool] = True  # type: ignore[misc]  # it has no such argument: its threshold could not rise
    state_names: ClassVar[tuple[str, ...]] = ("b", "mem")
    parameter_names: ClassVar[tuple[str, ...]] = ("beta", "rho", "strength")
    charge = staticmethod(alif.charge)
    level = staticmethod(alif.level)
    after_reset = staticmethod(alif.after_reset)
