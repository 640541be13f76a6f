"""The spiking LSTM cell, and what it shares with its convolutional form."""

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
from snnax.checks import whole
from snnax.dynamics import lstm
from snnax.errors import ArgumentError, ShapeError
from snnax.neurons.base import Quantizer, SpikeFunction, SpikingNeuron
from snnax.neurons.values import Parameter

__all__ = ["SLSTM", "GateCurrents", "check_cell"]


class SLSTM(SpikingNeuron):
    r"""LSTM cell whose hidden state is a membrane that fires.

    .. math::
        (i, f, g, o) &= I_t W_{in} + b_{in} + U_{t-1} W_{rec} + b_{rec} \\
        C_t &= \sigma(f)\,C_{t-1} + \sigma(i) \tanh(g) \\
        \tilde U_t &= \sigma(o) \tanh(C_t), \qquad R = [U_{t-1} > \theta] \\
        U_t &= \tilde U_t &&\text{"none"} \\
        U_t &= \tilde U_t - R\,\theta &&\text{"subtract"} \\
        U_t &= (1 - R)\,\tilde U_t &&\text{"zero"} \\
        S_t &= [U_t > \theta]

    Call: ``spk, syn, mem = cell(x, syn, mem)`` with ``x`` ``[B, ..., I]``, the rest ``[B, ..., H]``. States:
    ``syn`` (the cell state :math:`C`) and ``mem`` (the hidden state :math:`U`). No reset touches ``syn``. See
    :class:`SpikingNeuron` for the arguments that are not listed here.

    Args:
        input_size: I.
        hidden_size: H.
        bias: whether there are the biases.
        inhibition: must stay ``False``.

    Parameters, with the four gates side by side in the order i, f, g, o, drawn from
    :math:`\pm 1 / \sqrt{H}` as torch draws them: ``feedforward`` (``kernel`` ``(I, 4H)``, ``bias`` ``(4H,)``) and
    ``recurrent`` (``kernel`` ``(H, 4H)``, ``bias`` ``(4H,)``); the kernels are the transposes of torch's
    ``weight_ih`` and ``weight_hh``.

    Raises:
        ArgumentError: at construction, for a size below 1 or ``inhibition=True``.
        ShapeError: the last axis of the input is not ``input_size``.

    Example:
        >>> import jax, jax.numpy as jnp, snnax as snn
        >>> cell = snn.SLSTM(input_size=3, hidden_size=5, threshold=0.1)
        >>> x = jnp.ones((2, 3))
        >>> variables = cell.init(jax.random.key(0), x)
        >>> spk, syn, mem = cell.apply(variables, x)
        >>> spk, syn, mem = cell.apply(variables, x, syn, mem)
        >>> spk.shape, variables["params"]["feedforward"]["kernel"].shape
        ((2, 5), (3, 20))

    Source: snnTorch 1.0.0, ``snntorch.SLSTM``; S. Hochreiter and J. Schmidhuber (1997), Neural Computation
    9(8), 1735-1780, with the gates of ``torch.nn.LSTMCell``.
    Compared with snnTorch: the same up to the rounding of sums, sigmoid and tanh. With ``input_size !=
    hidden_size`` snnTorch sets both states to zero at every step, so that nothing is remembered; here the cell
    is recurrent for all sizes. It takes ``inhibition=True`` and does nothing about it; here it is refused.
    """

    input_size: int
    hidden_size: int
    bias: bool = True
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
        check_cell(self, "input_size", "hidden_size")
        super().__post_init__()

    @nn.compact
    def __call__(self, x: ArrayLike, syn: ArrayLike | None = None, mem: ArrayLike | None = None) -> Any:
        """One time step on ``x``; returns ``(spk, syn, mem)``, or ``spk`` alone with ``init_hidden``."""
        x, states = self.enter(x, syn, mem)
        bound = 1 / math.sqrt(self.hidden_size)
        size = 4 * self.hidden_size
        driven = GateCurrents(size, bound, self.bias, name="feedforward")(x)
        driven += GateCurrents(size, bound, self.bias, name="recurrent")(states[1])
        i, f, g, o = jnp.split(driven, 4, axis=-1)
        after, spk = lstm.step(cast(lstm.State, states), lstm.Gates(i, f, g, o), self._rule(states[1]))
        return self.leave(x, spk, after)

    @nn.nowrap
    def sample_shape(self) -> tuple[int, ...]:
        """Features of the input."""
        return (self.input_size,)

    @nn.nowrap
    def _state_shape(self, x: jax.Array) -> tuple[int, ...]:
        if x.ndim < 2 or x.shape[-1] != self.input_size:
            raise ShapeError(
                f"{self._label()}: the input has shape {x.shape}; expected [B, ..., {self.input_size}], as "
                f"input_size={self.input_size} says."
            )
        return (*x.shape[:-1], self.hidden_size)


class GateCurrents(nn.Module):
    """Dense layer, or convolution that keeps the size, in the dtype of its input.

    Attributes:
        features: outputs: four times the size or the channels of the cell.
        bound: weights and biases are drawn from between minus and plus this.
        bias: whether there is one.
        kernel_size: ``(kh, kw)``, both odd; empty for a dense layer.
    """

    features: int
    bound: float
    bias: bool = True
    kernel_size: tuple[int, ...] = ()

    @nn.compact
    def __call__(self, x: jax.Array) -> jax.Array:
        """From ``[..., I]`` or ``[B, H, W, I]`` to the same with ``features`` in the last axis."""
        kernel = self._weight("kernel", (*self.kernel_size, x.shape[-1], self.features), x)
        if not self.kernel_size:
            current = jnp.dot(x, kernel)
        else:
            current = lax.conv_general_dilated(
                x,
                kernel,
                window_strides=(1, 1),
                padding=[(k // 2, k // 2) for k in self.kernel_size],
                dimension_numbers=("NHWC", "HWIO", "NHWC"),
            )
        if not self.bias:
            return current
        bias = self._weight("bias", (self.features,), x)
        return current + bias.reshape((1,) * (x.ndim - 1) + bias.shape)

    @nn.nowrap
    def _weight(self, name: str, shape: tuple[int, ...], like: jax.Array) -> jax.Array:
        def start(key: jax.Array) -> jax.Array:
            dtype = jnp.promote_types(like.dtype, jnp.float32)
            return jax.random.uniform(key, shape, dtype, -self.bound, self.bound)

        return self.param(name, start).astype(like.dtype)


def check_cell(cell: SpikingNeuron, *sizes: str) -> None:
    """Refuse sizes that are no whole numbers >= 1, and inhibition, which these cells do not have.

    Raises:
        ArgumentError: names the argument.
    """
    kind = type(cell).__name__
    for name in sizes:
        value = getattr(cell, name)
        if (size := whole(value)) is None:
            raise ArgumentError(f"{kind}({name}={value!r}); expected a whole number >= 1.")
        object.__setattr__(cell, name, size)
    if getattr(cell, "inhibition", False):
        raise ArgumentError(
            f"{kind}(inhibition=True): the cell knows no inhibition, and snnTorch's ignores the argument. Leave "
            "it out; for a winner per sample let snn.Leaky(beta, inhibition=True) fire on its membrane."
        )


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
        odd = checks.sizes(2, even="the membrane would change its size at each step")
        pool = checks.maybe(checks.sizes(2), False, 0)
        passed = f"max_pool={checks.shown(self.max_pool)}, avg_pool={checks.shown(self.avg_pool)}"
        checks.fields(self, kernel_size=odd, max_pool=pool, avg_pool=pool)
        if self.max_pool and self.avg_pool:
            raise ArgumentError(f"{kind}({passed}); expected one of them at most.")
        super().__post_init__()

    @nn.compact
    def __call__(self, x: ArrayLike, syn: ArrayLike | None = None, mem: ArrayLike | None = None) -> Any:
        """One time step on ``x``; returns ``(spk, syn, mem)``, or ``spk`` alone with ``init_hidden``."""
        x, states = self.enter(x, syn, mem)
        kernel = cast(tuple[int, ...], self.kernel_size)
        bound = 1 / math.sqrt((self.in_channels + self.out_channels) * math.prod(kernel))
        conv = GateCurrents(4 * self.out_channels, bound, self.bias, kernel, name="conv")
        i, f, o, g = jnp.split(conv(jnp.concatenate([x, states[1]], axis=-1)), 4, axis=-1)
        rule = self._rule(states[1])
        pool = self._pooling(states[1])
        if pool is not None:
            self._aligned("threshold", rule.threshold, jax.eval_shape(pool, states[1]))
        after, spk = lstm.step(cast(lstm.State, states), lstm.Gates(i, f, g, o), rule, pool)
        return self.leave(x, spk, after)

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
    def sample_shape(self) -> tuple[int, ...]:
        """An image of the size of the pooling window."""
        window = cast(tuple[int, ...], self.max_pool or self.avg_pool) or (1, 1)
        return (*window, self.in_channels)

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
