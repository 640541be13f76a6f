"""The convolutional spiking LSTM cell."""

from __future__ import annotations

import math
from collections.abc import Sequence
from functools import partial
from typing import Any, ClassVar, cast

import flax.linen as nn
import jax
import jax.numpy as jnp
import numpy as np
from jax import lax
from jax.typing import ArrayLike

from snnax import checks
from snnax.dynamics import lstm
from snnax.errors import ArgumentError, ShapeError
from snnax.neurons.base import Quantizer, SpikeFunction, SpikingNeuron
from snnax.neurons.slstm import GateCurrents, check_cell
from snnax.neurons.values import Parameter

Size = int | Sequence[int]


class SConv2dLSTM(SpikingNeuron):
    r"""LSTM cell on images: one convolution drives its gates, its hidden state is a membrane that fires.

    .. math::
        (i, f, o, g) &= [I_t, U_{t-1}] * W + b \\
        C_t &= \sigma(f)\,C_{t-1} + \sigma(i) \tanh(g) \\
        \tilde U_t &= \sigma(o) \tanh(C_t), \qquad R = [U_{t-1} > \theta] \\
        U_t &= \tilde U_t &&\text{"none"} \\
        U_t &= \tilde U_t - R\,\theta &&\text{"subtract"} \\
        U_t &= (1 - R)\,\tilde U_t &&\text{"zero"} \\
        S_t &= [\text{pool}(U_t) > \theta]

    Call: ``spk, syn, mem = cell(x, syn, mem)`` with ``x`` ``[B, H, W, Cin]``, ``syn`` and ``mem``
    ``[B, H, W, Cout]`` and ``spk`` of the size that the pooling leaves. States: ``syn`` (the cell state
    :math:`C`) and ``mem`` (the hidden state :math:`U`). The reset sees the membrane before the pooling. See
    :class:`SpikingNeuron` for the arguments that are not listed here.

    Args:
        in_channels: Cin.
        out_channels: Cout.
        kernel_size: one odd number or two; the image keeps its size.
        bias: whether the convolution has one.
        max_pool: fire at the maximum of each window of this size (a number or two); 0 for no pooling.
        avg_pool: fire at the mean of each window; 0 for no pooling.
        inhibition: must stay ``False``.

    Parameters: ``conv`` with ``kernel`` ``(kh, kw, Cin + Cout, 4 Cout)``, input channels before those of the
    membrane and the gates side by side in the order i, f, o, g (another than that of :class:`SLSTM`, as in
    snnTorch), and ``bias`` ``(4 Cout,)``; drawn as torch draws them.

    Raises:
        ArgumentError: at construction, for a size below 1, an even kernel, both poolings, or
            ``inhibition=True``.
        ShapeError: the input is not ``[B, H, W, Cin]``, or smaller than the pooling window.

    Example:
        >>> import jax, jax.numpy as jnp, snnax as snn
        >>> cell = snn.SConv2dLSTM(1, 4, kernel_size=3, max_pool=2)
        >>> x = jnp.ones((2, 6, 6, 1))
        >>> spk, syn, mem = cell.apply(cell.init(jax.random.key(0), x), x)
        >>> spk.shape, mem.shape
        ((2, 3, 3, 4), (2, 6, 6, 4))

    Source: snnTorch 1.0.0, ``snntorch.SConv2dLSTM``; X. Shi et al. (2015), Convolutional LSTM Network, NeurIPS 28.
    Compared with snnTorch: the same up to the rounding of sums, sigmoid and tanh; images are channels last.
    An even kernel fails there at the first step, ``inhibition=True`` does nothing; both are refused here. Its
    new states are always float32; here they have the dtype of the input.
    """

    in_channels: int
    out_channels: int
    kernel_size: Size
    bias: bool = True
    max_pool: Size = 0
    avg_pool: Size = 0
    threshold: Parameter = 1.0
    spike_grad: SpikeFunction | None = None
    surrogate_disable: bool = False
    init_hidden: bool = False
    inhibition: bool = False
    learn_threshold: bool = False
    reset_mechanism: str = "none"
    state_quant: Quantizer | bool | None = False
    output: bool = False

    state_names: ClassVar[tuple[str, ...]] = ("syn", "mem")
    parameter_names: ClassVar[tuple[str, ...]] = ("threshold",)

    def __post_init__(self) -> None:
        """Check the sizes and the arguments that all neurons have."""
        kind = type(self).__name__
        check_cell(self, "in_channels", "out_channels")
        if self.max_pool and self.avg_pool:
            raise ArgumentError(
                f"{kind}(max_pool={self.max_pool!r}, avg_pool={self.avg_pool!r}); expected one of them at most."
            )
        odd = checks.sizes(2, even="the membrane would change its size at each step")
        pool = checks.maybe(checks.sizes(2), False, 0)
        checks.fields(self, kernel_size=odd, max_pool=pool, avg_pool=pool)
        super().__post_init__()

    @nn.compact
    def __call__(self, x: ArrayLike, syn: ArrayLike | None = None, mem: ArrayLike | None = None) -> Any:
        """One time step on ``x``; returns ``(spk, syn, mem)``, or ``spk`` alone with ``init_hidden``."""
        x, states = self._enter(x, syn, mem)
        kernel = cast(tuple[int, ...], self.kernel_size)
        bound = 1 / math.sqrt((self.in_channels + self.out_channels) * math.prod(kernel))
        conv = GateCurrents(4 * self.out_channels, bound, self.bias, kernel, name="conv")
        i, f, o, g = jnp.split(conv(jnp.concatenate([x, states[1]], axis=-1)), 4, axis=-1)
        rule = self._rule(states[1])
        pool = self._pooling(states[1])
        if pool is not None:
            self._aligned("threshold", rule.threshold, jax.eval_shape(pool, states[1]))
        after, spk = lstm.step(cast(lstm.State, states), lstm.Gates(i, f, g, o), rule, pool)
        return self._leave(x, spk, after)

    @nn.nowrap
    def _pooling(self, mem: jax.Array) -> Any:
        """Function from ``mem`` to what fires, or ``None``."""
        window = cast(tuple[int, ...], self.max_pool or self.avg_pool)
        if not window:
            return None
        if any(n < k for n, k in zip(mem.shape[1:-1], window, strict=True)):
            raise ShapeError(
                f"{self._label()}: the membrane has shape {mem.shape}, smaller than the pooling window {window}. "
                "Take a smaller max_pool or avg_pool."
            )
        return partial(_max_pool if self.max_pool else _avg_pool, window=window)

    @nn.nowrap
    def _state_shape(self, x: jax.Array) -> tuple[int, ...]:
        if x.ndim != 4 or x.shape[-1] != self.in_channels:
            raise ShapeError(
                f"{self._label()}: the input has shape {x.shape}; expected [B, H, W, {self.in_channels}], "
                f"channels last, as in_channels={self.in_channels} says."
            )
        return (*x.shape[:-1], self.out_channels)


def _max_pool(mem: jax.Array, window: tuple[int, ...]) -> jax.Array:
    lowest = np.asarray(-np.inf, mem.dtype)
    return lax.reduce_window(mem, lowest, lax.max, (1, *window, 1), (1, *window, 1), "VALID")


def _avg_pool(mem: jax.Array, window: tuple[int, ...]) -> jax.Array:
    zero = np.zeros((), mem.dtype)
    total = lax.reduce_window(mem, zero, lax.add, (1, *window, 1), (1, *window, 1), "VALID")
    return total / math.prod(window)
