"""The spiking LSTM cell, and what it shares with its convolutional form."""

from __future__ import annotations

import math
from typing import Any, ClassVar, cast

import flax.linen as nn
import jax
import jax.numpy as jnp
from jax import lax
from jax.typing import ArrayLike

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
        x, states = self._enter(x, syn, mem)
        bound = 1 / math.sqrt(self.hidden_size)
        size = 4 * self.hidden_size
        driven = GateCurrents(size, bound, self.bias, name="feedforward")(x)
        driven += GateCurrents(size, bound, self.bias, name="recurrent")(states[1])
        i, f, g, o = jnp.split(driven, 4, axis=-1)
        after, spk = lstm.step(cast(lstm.State, states), lstm.Gates(i, f, g, o), self._rule(states[1]))
        return self._leave(x, spk, after)

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
