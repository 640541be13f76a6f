"""The leaky integrate-and-fire neuron."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any, ClassVar

import flax.linen as nn
import jax
from jax.typing import ArrayLike

from snnax.dynamics import leaky
from snnax.dynamics.equation import Equation
from snnax.neurons.base import Quantizer, SpikeFunction, SpikingNeuron
from snnax.neurons.recurrent import RecurrentNeuron
from snnax.neurons.values import Parameter


class Leaky(SpikingNeuron):
    r"""First-order leaky integrate-and-fire neuron.

    .. math::
        R &= [U_{t-1} > \theta] \\
        U_t &= \beta U_{t-1} + I_t - R\,\theta &&\text{"subtract"} \\
        U_t &= \beta\,(1 - R)\,U_{t-1} + I_t &&\text{"zero"} \\
        S_t &= g\,[U_t > \theta]

    Call: ``spk, mem = lif(x, mem)``, all ``[B, ..., N]``. State: ``mem``. See :class:`SpikingNeuron` for the
    arguments that are not listed here.

    Args:
        beta: decay of the membrane per step, clamped to [0, 1] in each call.
        learn_beta: train ``beta``, which is then in the collection ``params``.
        graded_spikes_factor: :math:`g`, the height of a spike.
        learn_graded_spikes_factor: train :math:`g`.

    Example:
        >>> import jax.numpy as jnp, snnax as snn
        >>> lif = snn.Leaky(beta=0.5)
        >>> mem = None
        >>> for x in (0.75, 0.75, 0.75):
        ...     spk, mem = lif.apply({}, jnp.full((1, 1), x), mem)
        ...     print(float(spk[0, 0]), float(mem[0, 0]))
        0.0 0.75
        1.0 1.125
        0.0 0.3125

    Source: snnTorch 1.0.0, ``snntorch.Leaky``; J. K. Eshraghian et al. (2023), Proc. IEEE 111(9), 1016-1054.
    Compared with snnTorch: the same, to the last bit in float32. Its docstring says that "zero" discards the
    input of the reset step; its code, followed here, keeps it. With ``inhibition`` the factor :math:`g` is
    ignored by the spikes but divides the reset of ``reset_delay=False``, as there. A factor of zero with
    ``reset_delay=False`` is NaN there and resets as usual here.
    Compared with NIR and Norse: their ``LIF`` is in continuous time, with a reset to a value and no delay.
    """

    beta: Parameter
    threshold: Parameter = 1.0
    spike_grad: SpikeFunction | None = None
    surrogate_disable: bool = False
    init_hidden: bool = False
    inhibition: bool = False
    learn_beta: bool = False
    learn_threshold: bool = False
    reset_mechanism: str = "subtract"
    state_quant: Quantizer | bool | None = False
    output: bool = False
    graded_spikes_factor: Parameter = 1.0
    learn_graded_spikes_factor: bool = False
    reset_delay: bool = True

    state_names: ClassVar[tuple[str, ...]] = ("mem",)
    parameter_names: ClassVar[tuple[str, ...]] = ("beta", "threshold", "graded_spikes_factor")

    @nn.compact
    def __call__(self, x: ArrayLike, mem: ArrayLike | None = None) -> Any:
        """One time step on ``x`` ``[B, ..., N]``; returns ``(spk, mem)``, or ``spk`` with ``init_hidden``."""
        return self._step(x, mem)

    @nn.nowrap
    def equation(self, like: jax.Array) -> Equation:
        """A leaky integrator, whose spikes have a height."""
        beta = self._value("beta", like, self.learn_beta)
        graded = self._value("graded_spikes_factor", like, self.learn_graded_spikes_factor)
        return Equation(leaky.charge, self._rule(like)._replace(graded=graded), (beta,))


class RLeaky(RecurrentNeuron):
    r"""Leaky integrate-and-fire neuron whose spikes come back as a current in the next step.

    .. math::
        R &= [U_{t-1} > \theta], \qquad F_t = \text{recurrent}(S_{t-1}) \\
        U_t &= \beta U_{t-1} + I_t + F_t - R\,\theta &&\text{"subtract"} \\
        U_t &= (1 - R)\,(\beta U_{t-1} + I_t + F_t) &&\text{"zero"} \\
        S_t &= [U_t > \theta]

    Call: ``spk, mem = lif(x, spk, mem)``, all ``[B, ..., N]`` or ``[B, H, W, C]``. States: ``spk``, ``mem``.
    See :class:`RecurrentNeuron` for the recurrent connections, :class:`SpikingNeuron` for the other
    arguments.

    Args:
        beta: decay of the membrane per step, clamped to [0, 1] in each call.
        V: recurrent weight if ``all_to_all=False``.
        learn_beta: train ``beta``.

    Raises:
        ArgumentError: a combination of recurrent arguments that says nothing, or two things at once.

    Example:
        >>> import jax.numpy as jnp, snnax as snn
        >>> lif = snn.RLeaky(beta=0.5, V=0.25, all_to_all=False, learn_recurrent=False)
        >>> spk, mem = lif.apply({}, jnp.full((1, 1), 1.5))
        >>> spk, mem = lif.apply({}, jnp.full((1, 1), 1.0), spk, mem)
        >>> float(mem[0, 0])
        1.0

    Source: snnTorch 1.0.0, ``snntorch.RLeaky``.
    Compared with snnTorch: the same, to the last bit in float32 for ``all_to_all=False``; sums over a kernel
    may be added up in another order. Images are channels last.
    """

    beta: Parameter
    V: Parameter = 1.0
    all_to_all: bool = True
    linear_features: int | None = None
    conv2d_channels: int | None = None
    kernel_size: int | Sequence[int] | None = None
    threshold: Parameter = 1.0
    spike_grad: SpikeFunction | None = None
    surrogate_disable: bool = False
    init_hidden: bool = False
    inhibition: bool = False
    learn_beta: bool = False
    learn_threshold: bool = False
    learn_recurrent: bool = True
    reset_mechanism: str = "subtract"
    state_quant: Quantizer | bool | None = False
    output: bool = False
    reset_delay: bool = True
    recurrent_bias: bool = True

    state_names: ClassVar[tuple[str, ...]] = ("spk", "mem")
    parameter_names: ClassVar[tuple[str, ...]] = ("beta", "V", "threshold")

    @nn.compact
    def __call__(self, x: ArrayLike, spk: ArrayLike | None = None, mem: ArrayLike | None = None) -> Any:
        """One time step on ``x``; returns ``(spk, mem)``, or ``spk`` alone with ``init_hidden``."""
        return self._step(x, spk, mem)

    @nn.nowrap
    def equation(self, like: jax.Array) -> Equation:
        """A leaky integrator that also receives the weighted spikes of the step before."""
        beta = self._value("beta", like, self.learn_beta)
        return Equation(leaky.charge, self._rule(like), (beta,), *self._recurrence(like))
