"""The second-order neuron: synaptic current and membrane."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any, ClassVar

import flax.linen as nn
import jax
from jax.typing import ArrayLike

from snnax.dynamics import synaptic
from snnax.dynamics.equation import Equation
from snnax.neurons.base import Quantizer, SpikeFunction, SpikingNeuron
from snnax.neurons.recurrent import RecurrentNeuron
from snnax.neurons.values import Parameter


class Synaptic(SpikingNeuron):
    r"""Leaky integrate-and-fire neuron whose input first charges a synaptic current.

    .. math::
        R &= [U_{t-1} > \theta], \qquad I^s_t = \alpha I^s_{t-1} + I_t \\
        U_t &= \beta U_{t-1} + I^s_t - R\,\theta &&\text{"subtract"} \\
        U_t &= (1 - R)\,(\beta U_{t-1} + I^s_t) &&\text{"zero"} \\
        S_t &= [U_t > \theta]

    Call: ``spk, syn, mem = lif(x, syn, mem)``, all ``[B, ..., N]``. States: ``syn``, ``mem``. See
    :class:`SpikingNeuron` for the arguments that are not listed here.

    Args:
        alpha: decay of the synaptic current per step, clamped to [0, 1] in each call.
        beta: decay of the membrane per step, clamped to [0, 1] in each call.
        learn_alpha: train ``alpha``.
        learn_beta: train ``beta``.

    Example:
        >>> import jax.numpy as jnp, snnax as snn
        >>> lif = snn.Synaptic(alpha=0.5, beta=0.5)
        >>> spk, syn, mem = lif.apply({}, jnp.ones((1, 1)))
        >>> spk, syn, mem = lif.apply({}, jnp.zeros((1, 1)), syn, mem)
        >>> float(syn[0, 0]), float(mem[0, 0])
        (0.5, 1.0)

    Source: snnTorch 1.0.0, ``snntorch.Synaptic``.
    Compared with snnTorch: the same, to the last bit in float32. The synaptic current is never reset.
    Compared with NIR: ``CubaLIF`` is in continuous time, with a reset to a value and no delay.
    """

    alpha: Parameter
    beta: Parameter
    threshold: Parameter = 1.0
    spike_grad: SpikeFunction | None = None
    surrogate_disable: bool = False
    init_hidden: bool = False
    inhibition: bool = False
    learn_alpha: bool = False
    learn_beta: bool = False
    learn_threshold: bool = False
    reset_mechanism: str = "subtract"
    state_quant: Quantizer | bool | None = False
    output: bool = False
    reset_delay: bool = True

    state_names: ClassVar[tuple[str, ...]] = ("syn", "mem")
    parameter_names: ClassVar[tuple[str, ...]] = ("alpha", "beta", "threshold")

    @nn.compact
    def __call__(self, x: ArrayLike, syn: ArrayLike | None = None, mem: ArrayLike | None = None) -> Any:
        """One time step on ``x`` ``[B, ..., N]``; returns ``(spk, syn, mem)`` or ``spk``."""
        return self._step(x, syn, mem)

    @nn.nowrap
    def equation(self, like: jax.Array) -> Equation:
        """A synaptic current and the membrane that it charges."""
        alpha = self._value("alpha", like, self.learn_alpha)
        beta = self._value("beta", like, self.learn_beta)
        return Equation(synaptic.charge, self._rule(like), (alpha, beta))


class RSynaptic(RecurrentNeuron):
    r"""Second-order neuron whose spikes come back into its synaptic current in the next step.

    .. math::
        R &= [U_{t-1} > \theta], \qquad I^s_t = \alpha I^s_{t-1} + I_t + \text{recurrent}(S_{t-1}) \\
        U_t &= \beta U_{t-1} + I^s_t - R\,\theta &&\text{"subtract"} \\
        U_t &= (1 - R)\,(\beta U_{t-1} + I^s_t) &&\text{"zero"} \\
        S_t &= [U_t > \theta]

    Call: ``spk, syn, mem = lif(x, spk, syn, mem)``, all ``[B, ..., N]`` or ``[B, H, W, C]``. States: ``spk``,
    ``syn``, ``mem``. See :class:`RecurrentNeuron` for the recurrent connections, :class:`SpikingNeuron` for
    the other arguments.

    Args:
        alpha: decay of the synaptic current per step, clamped to [0, 1] in each call.
        beta: decay of the membrane per step, clamped to [0, 1] in each call.
        V: recurrent weight if ``all_to_all=False``.
        learn_alpha: train ``alpha``.
        learn_beta: train ``beta``.

    Raises:
        ArgumentError: a combination of recurrent arguments that says nothing, or two things at once.

    Example:
        >>> import jax.numpy as jnp, snnax as snn
        >>> lif = snn.RSynaptic(alpha=0.5, beta=0.5, V=0.25, all_to_all=False, learn_recurrent=False)
        >>> spk, syn, mem = lif.apply({}, jnp.full((1, 1), 1.5))
        >>> spk, syn, mem = lif.apply({}, jnp.zeros((1, 1)), spk, syn, mem)
        >>> float(syn[0, 0]), float(mem[0, 0])
        (1.0, 0.75)

    Source: snnTorch 1.0.0, ``snntorch.RSynaptic``.
    Compared with snnTorch: the same, to the last bit in
    float32 for ``all_to_all=False``; sums over a kernel may be added up in another order.
    ``reset_delay=False``, which fails or does nothing there, works here as in ``Synaptic``; a reset of the
    state includes ``spk``, which ``reset_hidden`` forgets there. Images are channels last.
    """

    alpha: Parameter
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
    learn_alpha: bool = False
    learn_beta: bool = False
    learn_threshold: bool = False
    learn_recurrent: bool = True
    reset_mechanism: str = "subtract"
    state_quant: Quantizer | bool | None = False
    output: bool = False
    reset_delay: bool = True
    recurrent_bias: bool = True

    state_names: ClassVar[tuple[str, ...]] = ("spk", "syn", "mem")
    parameter_names: ClassVar[tuple[str, ...]] = ("alpha", "beta", "V", "threshold")

    @nn.compact
    def __call__(
        self,
        x: ArrayLike,
        spk: ArrayLike | None = None,
        syn: ArrayLike | None = None,
        mem: ArrayLike | None = None,
    ) -> Any:
        """One time step on ``x``; returns ``(spk, syn, mem)``, or ``spk`` alone with ``init_hidden``."""
        return self._step(x, spk, syn, mem)

    @nn.nowrap
    def equation(self, like: jax.Array) -> Equation:
        """A synaptic current, which the weighted spikes of the step before also charge, and the membrane."""
        alpha = self._value("alpha", like, self.learn_alpha)
        beta = self._value("beta", like, self.learn_beta)
        return Equation(synaptic.charge, self._rule(like), (alpha, beta), *self._recurrence(like))
