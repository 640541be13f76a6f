"""The leaky neuron of ``torch.nn.RNN``: linear layer, decay and rectification in one."""

from __future__ import annotations

from functools import partial
from typing import Any, ClassVar

import flax.linen as nn
import jax
import jax.numpy as jnp
import numpy as np
from jax.typing import ArrayLike

from snnax.dynamics import decay
from snnax.dynamics.arithmetic import Constant
from snnax.errors import ArgumentError
from snnax.neurons.base import Quantizer, SpikeFunction
from snnax.neurons.buffers import buffer
from snnax.neurons.sequence import SequenceNeuron, fan_in_bound, uniform
from snnax.neurons.values import FrozenArray, Parameter

__all__ = ["Feedback", "LeakyParallel"]


class LeakyParallel(SequenceNeuron):
    r"""A linear layer and leaky neurons that are never reset and never negative, as one ReLU network.

    .. math::
        U_t = \max(0,\; I_t W + b + U_{t-1} R + c), \qquad S_t = g\,[U_t > \theta]

    :math:`R` is diagonal, one decay for each neuron, unless ``weight_hh_enable=True``.

    Call: ``spk = layer(x)`` with ``x`` ``[T, B, M]`` or ``[T, M]``, and ``spk`` ``[T, B, H]`` or ``[T, H]``; with
    ``init_hidden=True`` one time step ``[B, M]``. State: ``mem``. It returns the spikes only; the membrane is
    what ``record`` of :func:`~snnax.unroll` shows. Weights, all drawn from :math:`\pm 1/\sqrt{H}` as torch draws
    them:

    * ``linear``: ``kernel`` ``(M, H)`` and ``bias``, which are :math:`W` and :math:`b`.
    * ``recurrent``: the diagonal ``beta`` ``(H,)``, or the ``kernel`` ``(H, H)`` (from row to column), in
      ``params`` with ``learn_beta=True``, else in ``buffers`` (or nowhere, if it is one number); and ``bias``,
      which is :math:`c`.

    Args:
        input_size: M.
        hidden_size: H.
        beta: first value of the diagonal, one number or one for each neuron, clamped to [0, 1] once, here;
            ``None`` draws it. With ``weight_hh_enable=True`` all weights into a neuron get its value.
        bias: whether there are :math:`b` and :math:`c`.
        threshold: number or array; fires above it.
        dropout: without effect, as in a ``torch.nn.RNN`` of one layer.
        spike_grad: a function of :mod:`snnax.surrogate`; ``None`` is ``atan()``.
        surrogate_disable: no gradient through spikes.
        learn_beta: train :math:`R`. It is not clamped then.
        learn_threshold: train the threshold.
        graded_spikes_factor: :math:`g`, the height of a spike.
        learn_graded_spikes_factor: train :math:`g`.
        weight_hh_enable: all neurons feed all neurons.
        device: must be ``None``.
        dtype: in which the weights are kept, ``param_dtype`` elsewhere in Flax; ``None`` is float32, or the dtype
            of the input if that is wider. They are used in the dtype of the input.
        init_hidden: one call is one time step, and the state is in the collection ``hidden``.

    Raises:
        ArgumentError: at construction, for a bad argument.
        ShapeError: the input is not ``[T, B, M]`` or ``[T, M]``, or not ``[B, M]`` with ``init_hidden=True``.

    Example:
        >>> import jax, jax.numpy as jnp, snnax as snn
        >>> layer = snn.LeakyParallel(input_size=3, hidden_size=5, beta=0.5, learn_beta=True)
        >>> x = jnp.ones((25, 2, 3))
        >>> variables = layer.init(jax.random.key(0), x)
        >>> layer.apply(variables, x).shape, variables["params"]["recurrent"]["beta"].shape
        ((25, 2, 5), (5,))

    Source: snnTorch 1.0.0, ``snntorch.LeakyParallel``.
    Compared with snnTorch: the same, up to the order of sums. There a ``beta`` with several elements is silently
    ignored and the diagonal is random; here it is taken. There :math:`R` is a matrix of which only the diagonal
    is used. ``init_hidden`` is ours.
    """

    input_size: int
    hidden_size: int
    beta: Parameter | None = None
    bias: bool = True
    threshold: Parameter = 1.0
    dropout: float = 0.0
    spike_grad: SpikeFunction | None = None
    surrogate_disable: bool = False
    learn_beta: bool = False
    learn_threshold: bool = False
    graded_spikes_factor: Parameter = 1.0
    learn_graded_spikes_factor: bool = False
    weight_hh_enable: bool = False
    device: None = None
    dtype: Any = None
    init_hidden: bool = False

    state_names: ClassVar[tuple[str, ...]] = ("mem",)
    parameter_names: ClassVar[tuple[str, ...]] = ("threshold", "graded_spikes_factor")
    buffer_names: ClassVar[dict[str, str]] = {"beta": "recurrent"}
    state_quant: ClassVar[Quantizer | bool | None] = False
    output: ClassVar[bool] = False

    def __post_init__(self) -> None:
        """Check the arguments."""
        self._check_sizes("input_size", "hidden_size")
        if self.beta is not None:
            self._check_beta(self.hidden_size)
            object.__setattr__(self, "beta", FrozenArray.wrap(np.clip(np.asarray(self.beta, float), 0, 1)))
        if (
            isinstance(self.dropout, bool)
            or not isinstance(self.dropout, int | float)
            or not 0 <= self.dropout <= 1
        ):
            raise ArgumentError(f"LeakyParallel(dropout={self.dropout!r}); expected a number from 0 to 1.")
        if self.dropout:
            self._warn(
                f"dropout={self.dropout} without effect, as in a torch.nn.RNN of one layer. Leave it out."
            )
        self._check_placement()
        super().__post_init__()

    @nn.compact
    def __call__(self, x: ArrayLike) -> Any:
        """Spikes of a sequence ``[T, B, M]`` or ``[T, M]``, or of a step ``[B, M]`` with ``init_hidden``."""
        x = self._frames(x, self.input_size, (2, 3))
        mem = None
        if self.init_hidden:
            x, mem = self._start(x)
        bound = fan_in_bound(self.hidden_size)
        current = self._linear(self.hidden_size, x, "linear", bound, self.bias)(x)
        weight, bias = Feedback(
            self.hidden_size,
            self.beta,
            self.bias,
            self.learn_beta,
            self.weight_hh_enable,
            self.dtype,
            name="recurrent",
        )(current)
        if mem is not None:
            mem = decay.rectified_step(mem, current, weight, bias)
        else:
            batched = current.reshape(len(current), -1, self.hidden_size)
            mem = decay.rectified(batched, weight, bias).reshape(current.shape)
        mem, spk = self._fired(mem)
        returned = self.leave(x, spk, (mem,))
        return returned if self.init_hidden else returned[0]

    @nn.nowrap
    def sample_shape(self) -> tuple[int, ...]:
        """Features of the input."""
        return (self.input_size,)

    @nn.nowrap
    def _state_shape(self, x: jax.Array) -> tuple[int, ...]:
        return *x.shape[:-1], self.hidden_size


class Feedback(nn.Module):
    """Owns the recurrent weights; see :class:`LeakyParallel` for the attributes."""

    size: int
    beta: Parameter | None
    bias: bool
    learn: bool
    full: bool
    dtype: Any

    @nn.compact
    def __call__(self, like: jax.Array) -> tuple[Constant, Constant]:
        """Weight ``(1, H)`` or ``(H, H)`` and bias ``(1, H)``, in the dtype of ``like``."""
        dtype = self.dtype or jnp.promote_types(like.dtype, jnp.float32)
        draw = partial(uniform, dtype=dtype, bound=fan_in_bound(self.size))
        shape = (self.size, self.size) if self.full else (self.size,)
        name = "kernel" if self.full else "beta"
        fixed = None if self.beta is None else np.broadcast_to(np.asarray(self.beta, dtype), shape)

        def start(key: jax.Array | None = None) -> jax.Array:
            if fixed is not None:
                return jnp.asarray(fixed)
            return draw(self.make_rng("params") if key is None else key, shape=shape)

        weight: Constant
        if self.learn:
            weight = self.param(name, start)
        else:
            kept = buffer(
                self, name, start, fixed is None or isinstance(self.beta, FrozenArray), fixed is None
            )
            weight = np.array(fixed) if kept is None else kept
        bias: Constant = np.zeros(self.size, like.dtype)
        if self.bias:
            bias = self.param("bias", partial(draw, shape=(self.size,))).astype(like.dtype)
        return weight.astype(like.dtype).reshape(-1, self.size), bias[None]
