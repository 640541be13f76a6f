"""SNNAX's neurons of filters: the leaky neuron with two decays, and the spike response model."""

from __future__ import annotations

from typing import ClassVar

from snnax.dynamics import filtered
from snnax.neurons.custom import CustomNeuron
from snnax.neurons.values import Parameter

__all__ = ["SRM", "TwoDecayLIF"]


class TwoDecayLIF(CustomNeuron, kw_only=True):
    r"""SNNAX's ``LIF``: current and membrane as filters of gain 1, the membrane a step behind.

    .. math::
        U_t &= \alpha\, U_R + (1 - \alpha)\, I_{t-1}, \qquad U_R = U_{t-1} - R\,U_{t-1} \\
        I_t &= \beta\, I_{t-1} + (1 - \beta)\, x_t, \qquad R = [U_{t-1} > \theta], \qquad S_t = [U_t > \theta]

    A reset comes first, then the membrane takes the current of the step *before*, then the current takes the input.

    Call: ``spk, syn, mem = lif(x, syn, mem)``, all ``[B, ..., N]``. Numbers are one for all neurons, or arrays with
    one for each; all else is as for :class:`~snnax.neurons.CustomNeuron`, each argument by name.

    Args:
        alpha: decay :math:`\alpha` of the membrane per step, clamped to [0, 1].
        beta: decay :math:`\beta` of the current per step, clamped to [0, 1].
        reset_mechanism: ``"zero"``, ``"value"``, ``"subtract"`` or ``"none"``.

    Example:
        >>> import jax.numpy as jnp, snnax as snn
        >>> lif = snn.TwoDecayLIF(alpha=0.5, beta=0.5, init_hidden=True, output=True)
        >>> (spk, syn, mem), _ = snn.unroll(lif, {}, jnp.full((4, 1, 1), 4.0))
        >>> mem.ravel().tolist()
        [0.0, 1.0, 2.0, 1.75]

    Source: SNNAX (https://github.com/PGI15/snnax), ``LIF`` and ``LIFSoftReset``.
    Compared with SNNAX: ``LIF`` is this neuron, with ``reset_val`` it has ``reset_mechanism="value"`` and ``v_reset``;
    ``LIFSoftReset`` has ``"subtract"``, its ``reset_val`` being the threshold. SNNAX fires at the threshold, too, and
    clamps decays to [0.5, 1]. Its ``stop_reset_grad=False`` is ``detach_reset=False``.
    Compared with snnTorch and NIR: they have no such neuron; :class:`~snnax.Synaptic` adds the input unscaled and in
    the same step. ``to_nir`` writes an extension node, which other readers refuse.
    """

    alpha: Parameter = 0.9
    beta: Parameter = 0.8
    reset_mechanism: str = "zero"

    state_names: ClassVar[tuple[str, ...]] = ("syn", "mem")
    parameter_names: ClassVar[tuple[str, ...]] = ("alpha", "beta")
    charge = staticmethod(filtered.two_decays)


class SRM(CustomNeuron, kw_only=True):
    r"""Spike response model: the input twice filtered, less a trace of the neuron's own spikes.

    .. math::
        p_t &= \alpha\, p_{t-1} + (1 - \alpha)\, x_t, \qquad U_t = \beta\, U_{t-1} + (1 - \beta)\, p_t \\
        r_t &= \gamma\, r_{t-1} + \rho\, S_{t-1}, \qquad S_t = [U_t - \rho\, r_t > \theta]

    Call: ``spk, p, r, mem = srm(x, p, r, mem)``, all ``[B, ..., N]``. Numbers are one for all neurons, or arrays with
    one for each; all else is as for :class:`~snnax.neurons.CustomNeuron`, each argument by name.

    Args:
        alpha: decay of the trace of the input per step, clamped to [0, 1].
        beta: decay of the membrane per step, clamped to [0, 1].
        gamma: decay of the refractory trace per step, clamped to [0, 1].
        reset_val: :math:`\rho`; the spike before lowers what is compared with the threshold by its square.
        reset_mechanism: ``"subtract"``, that trace, or ``"none"``.

    Example:
        >>> import jax.numpy as jnp, snnax as snn
        >>> srm = snn.SRM(alpha=0.5, beta=0.5, gamma=0.5, init_hidden=True)
        >>> spk, _ = snn.unroll(srm, {}, jnp.full((8, 1, 1), 2.0))
        >>> [int(s) for s in spk.ravel()]
        [0, 0, 1, 0, 1, 0, 1, 0]

    Source: SNNAX (https://github.com/PGI15/snnax), ``SRM``, as in J. Kaiser, H. Mostafa and E. Neftci, "Synaptic
    plasticity dynamics for deep continuous local learning (DECOLLE)", Frontiers in Neuroscience 14 (2020).
    Compared with SNNAX: there the layer of weights is inside, between the filters and the threshold. Filters commute
    with it, so ``SRM(layer)`` is ``Sequential([layer, SRM()])`` for a layer without bias. SNNAX fires at the threshold,
    too, clamps decays to [0.5, 1], and has ``reset_val=0`` unless it is given.
    Compared with snnTorch and NIR: they have no such neuron. ``to_nir`` writes an extension node, which other readers
    refuse.
    """

    alpha: Parameter = 0.9
    beta: Parameter = 0.8
    gamma: Parameter = 0.9
    reset_val: Parameter = 1.0

    v_reset: ClassVar[None] = None  # type: ignore[misc, assignment]
    reset_delay: ClassVar[bool] = True  # type: ignore[misc]  # its refractory trace would not see a spike that is over
    reset_mechanisms: ClassVar[tuple[str, ...]] = ("subtract", "none")
    state_names: ClassVar[tuple[str, ...]] = ("p", "r", "mem")
    parameter_names: ClassVar[tuple[str, ...]] = ("alpha", "beta", "gamma", "reset_val")
    charge = staticmethod(filtered.response)
    level = staticmethod(filtered.response_level)
