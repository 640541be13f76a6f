"""Batch normalization with statistics of its own for each time step, and learned heights of spikes.

Arrays are channels-last, ``[B, N]``, ``[B, L, C]`` or ``[B, H, W, C]``, as everywhere in Flax.
"""

from __future__ import annotations

from typing import Any, ClassVar

import flax.linen as nn
import jax
import jax.numpy as jnp
import numpy as np
from jax import lax
from jax.typing import ArrayLike

from snnax import checks
from snnax.checks import whole
from snnax.errors import ArgumentError, ShapeError, StateError
from snnax.layers.arrays import floating
from snnax.modules import Module
from snnax.neurons.values import FrozenArray

__all__ = ["BatchNormTT1d", "BatchNormTT2d", "GradedSpikes"]

Step = int | jax.Array | np.ndarray


class BatchNormTT(Module):
    """What :class:`BatchNormTT1d` and :class:`BatchNormTT2d` share: all but the shape of their input."""

    input_features: int
    time_steps: int
    eps: float = 1e-5
    momentum: float = 0.1
    affine: bool = True
    use_running_average: bool | None = None

    axes: ClassVar[dict[int, str]] = {}
    reads_values: ClassVar[bool] = True  # the number of the step

    def __post_init__(self) -> None:
        kind = type(self).__name__
        for name in ("input_features", "time_steps"):
            object.__setattr__(self, name, _count(getattr(self, name), f"{kind}({name}=...)"))
        for name in ("eps", "momentum"):
            object.__setattr__(self, name, _number(getattr(self, name), f"{kind}({name}=...)"))
        super().__post_init__()

    @nn.compact
    def __call__(
        self, x: ArrayLike, step: Step | None = None, use_running_average: bool | None = None
    ) -> jax.Array:
        """Normalize one step's input; without ``step`` the layer counts its calls itself."""
        x = floating(jnp.asarray(x))
        self._check(x)
        average = self._mode(use_running_average)
        shape = (self.time_steps, self.input_features)
        dtype = jnp.promote_types(x.dtype, jnp.float32)
        mean = self.variable("batch_stats", "mean", jnp.zeros, shape, dtype)
        var = self.variable("batch_stats", "var", jnp.ones, shape, dtype)
        row = self._row(step)
        known = (row >= 0) & (row < self.time_steps)
        row = jnp.where(known, row, self.time_steps)  # JAX reads a clamped row there, and writes none
        precise = x.astype(dtype)
        if average:
            mu, sigma2 = (jnp.asarray(v.value, dtype)[row] for v in (mean, var))
        else:
            mu, sigma2 = self._of_batch(precise)
            self._remember(row, (mean, mu), (var, sigma2 * self._unbiased(precise)))
        gain = lax.rsqrt(sigma2 + self.eps)
        if self.affine:
            gain = gain * jnp.asarray(self.param("scale", nn.initializers.ones, shape, dtype), dtype)[row]
        gain = jnp.where(known, gain, jnp.nan)
        y = (precise - _for_batch(mu, x)) * _for_batch(gain, x)
        return y.astype(x.dtype)

    @nn.nowrap
    def _check(self, x: jax.Array) -> None:
        if x.ndim not in self.axes or x.shape[-1] != self.input_features:
            layouts = " or ".join(axes.format(self.input_features) for axes in self.axes.values())
            raise ShapeError(f"{self._label()} got shape {x.shape}; expected {layouts}, channels last.")

    @nn.nowrap
    def _mode(self, use_running_average: bool | None) -> bool:
        """Whether the stored statistics are used."""
        given = [m for m in (self.use_running_average, use_running_average) if m is not None]
        if len(given) != 1:
            raise ArgumentError(
                f"{self._label()} was told {len(given)} times whether to use its running averages; expected once. "
                "Switch the network with snnax.utils.training(net) or evaluating(net), build the layer with "
                "use_running_average=True or False, or pass that in the call."
            )
        return checks.flag(given[0], f"{self._label()}(use_running_average=...)")

    @nn.nowrap
    def _row(self, step: Step | None) -> jax.Array:
        if step is None:
            return self._counted()
        known = isinstance(step, int | np.integer | np.ndarray | jax.Array) and not isinstance(step, bool)
        if not known or np.ndim(step) or not jnp.issubdtype(jnp.result_type(step), jnp.integer):
            raise ArgumentError(f"{self._label()} got step={step!r}; expected one whole number.")
        self._refuse(step)
        return jnp.asarray(step, jnp.int32)

    @nn.nowrap
    def _counted(self) -> jax.Array:
        """The number of this step, which the next call finds one higher."""
        if not self.is_mutable_collection("hidden"):
            if self.is_initializing():
                return jnp.zeros((), jnp.int32)
            raise StateError(
                f"{self._label()} counts the steps, but the collection 'hidden' is not mutable in this call. Call "
                "apply(variables, x, mutable=['hidden']) and carry the result on, or pass the number of the "
                "step: bn(x, step)."
            )
        step = self.variable("hidden", "step", jnp.zeros, (), jnp.int32)
        now = jnp.asarray(step.value, jnp.int32)
        if not self.is_initializing():
            self._refuse(now)
            step.value = now + 1
        return now

    @nn.nowrap
    def _refuse(self, step: Step) -> None:
        """Raise for a step that has no statistics, if its number is known."""
        if isinstance(step, jax.core.Tracer) or 0 <= int(step) < self.time_steps:
            return
        raise ArgumentError(
            f"{self._label()} got step {int(step)}; expected 0 to {self.time_steps - 1}, as time_steps="
            f"{self.time_steps} says. For a new sequence start anew with snnax.utils.reset(variables); for "
            "longer ones build it with more time_steps."
        )

    @nn.nowrap
    def _of_batch(self, x: jax.Array) -> tuple[jax.Array, jax.Array]:
        """Mean and biased variance of each channel."""
        if x.size == self.input_features and not self.is_initializing():
            raise ShapeError(
                f"{self._label()} got shape {x.shape} in training: one value for each channel has no variance. "
                "Pass a larger batch, or use the running averages: snnax.utils.evaluating(net)."
            )
        axes = tuple(range(x.ndim - 1))
        mean = x.mean(axes)
        return mean, jnp.square(x - _for_batch(mean, x)).mean(axes)

    @nn.nowrap
    def _unbiased(self, x: jax.Array) -> float:
        """From the biased variance to the unbiased one."""
        count = x.size // self.input_features
        return count / max(count - 1, 1)

    @nn.nowrap
    def _remember(self, row: jax.Array, *updates: tuple[Any, jax.Array]) -> None:
        if self.is_initializing():
            return
        if not self.is_mutable_collection("batch_stats"):
            raise StateError(
                f"{self._label()} updates its running averages in training, but the collection 'batch_stats' is "
                "not mutable in this call. Pass mutable=['batch_stats'] to unroll (and 'hidden' too to apply), "
                "or use the averages: snnax.utils.evaluating(net)."
            )
        for stored, value in updates:
            table = jnp.asarray(stored.value)
            new = (1 - self.momentum) * table[row] + self.momentum * value.astype(table.dtype)
            stored.value = table.at[row].set(new)

    @nn.nowrap
    def _label(self) -> str:
        path = "/".join(self.path) if self.scope is not None else ""
        return f"{type(self).__name__} {path!r}" if path else type(self).__name__


class BatchNormTT1d(BatchNormTT):
    r"""Batch normalization through time, of ``[B, N]`` or ``[B, L, N]``: each time step has its own.

    .. math:: y = \gamma_t \frac{x - \mu_t}{\sqrt{\sigma_t^2 + \epsilon}}

    In training :math:`\mu_t` and :math:`\sigma_t^2` are those of the batch, and the running averages of step
    t move towards them (the variance towards the unbiased one); else they are the running averages. There is
    no shift.

    Call: ``bn(x, step)``, with the number of the step from 0; or ``bn(x)``, as :func:`~snnax.unroll` does: the
    layer then counts its steps in the collection ``hidden`` (``step``, an int32), and
    :func:`snnax.utils.reset` starts again at 0.

    Args:
        input_features: N.
        time_steps: T.
        eps: :math:`\epsilon`.
        momentum: weight of the new value in the running averages, as in torch (flax: of the old one).
        affine: whether there is :math:`\gamma`.
        use_running_average: ``False`` in training. ``None``: say it in the call, or switch the network with
            :func:`snnax.utils.training` and :func:`snnax.utils.evaluating`.

    Collections: ``params`` ``scale`` ``(T, N)``; ``batch_stats`` ``mean`` and ``var``, both ``(T, N)``.

    Raises:
        ArgumentError: at construction for a bad argument; in a call for a step that is not in 0 ... T-1, or if
            nothing says whether to use the running averages.
        ShapeError: another shape, or one value for each channel in training.
        StateError: a collection that has to change is not mutable.

    Inside a compiled program (``jit``, ``unroll``) the number of a step is not known when it could be refused:
    beyond the last step the output is NaN, and no running average changes.

    Example:
        >>> import jax, jax.numpy as jnp, snnax as snn
        >>> bn = snn.BatchNormTT1d(3, time_steps=5, use_running_average=False)
        >>> x = jax.random.normal(jax.random.key(1), (5, 8, 3))
        >>> variables = bn.init(jax.random.key(0), x[0])
        >>> y, updates = snn.unroll(bn, variables, x, mutable=["batch_stats"])
        >>> y.shape, updates["batch_stats"]["mean"].shape, int(updates["hidden"]["step"])
        ((5, 8, 3), (5, 3), 5)

    Source: snnTorch 1.0.0, ``snntorch.BatchNormTT1d``; Y. Kim and P. Panda (2021), Frontiers in Neuroscience 15,
    773954.
    Compared with snnTorch: a list of T layers there, called as ``bn[t](x)``; one layer here. The same numbers up
    to the order of sums.
    """

    axes: ClassVar[dict[int, str]] = {2: "[B, {}]", 3: "[B, L, {}]"}


class BatchNormTT2d(BatchNormTT):
    r"""Batch normalization through time, of images ``[B, H, W, C]``; see :class:`BatchNormTT1d`.

    The statistics of a channel are over the batch and the image.

    Args:
        input_features: C.
        time_steps: T.
        eps: added to the variance.
        momentum: weight of the new value in the running averages, as in torch (flax: of the old one).
        affine: whether each step and channel has a factor.
        use_running_average: ``False`` in training. ``None``: say it in the call, or switch the network with
            :func:`snnax.utils.training` and :func:`snnax.utils.evaluating`.

    Example:
        >>> import jax, jax.numpy as jnp, snnax as snn
        >>> bn = snn.BatchNormTT2d(2, time_steps=3, use_running_average=True)
        >>> x = jnp.ones((4, 5, 5, 2))
        >>> bn.apply(bn.init(jax.random.key(0), x), x, step=1).shape
        (4, 5, 5, 2)
    """

    axes: ClassVar[dict[int, str]] = {4: "[B, H, W, {}]"}


class GradedSpikes(Module):
    r"""A learned height for the spikes of each neuron.

    .. math:: y_n = w_n S_n

    Args:
        size: N, neurons of the layer before.
        constant_factor: the weights start there; ``None`` or 0 draws each from [0.5, 1.5).

    Parameters: ``weights`` ``(N,)``.

    Raises:
        ArgumentError: at construction, for a bad argument.
        ShapeError: the input is not ``[B, ..., N]``.

    Example:
        >>> import jax, jax.numpy as jnp, snnax as snn
        >>> graded = snn.GradedSpikes(3, constant_factor=2.0)
        >>> spk = jnp.array([[1.0, 0.0, 1.0]])
        >>> graded.apply(graded.init(jax.random.key(0), spk), spk).tolist()
        [[2.0, 0.0, 2.0]]

    Source: snnTorch 1.0.0, ``snntorch.GradedSpikes``.
    Compared with snnTorch: its weights ``(N, 1)`` multiply along the axis before the last: an input ``[1, N]``
    becomes ``[N, N]``, one of ``[N, N]`` is scaled by sample instead of by neuron, others fail. Here they multiply
    the last axis, that of the neurons. For its ``(N, anything)`` pass the transpose.
    """

    size: int
    constant_factor: float | None = None

    time_independent: ClassVar[bool] = True

    def __post_init__(self) -> None:
        self.size = _count(self.size, "GradedSpikes(size=...)")
        if self.constant_factor is not None:
            self.constant_factor = _number(self.constant_factor, "GradedSpikes(constant_factor=...)")
        super().__post_init__()

    @nn.compact
    def __call__(self, x: ArrayLike) -> jax.Array:
        """Scale ``[B, ..., N]``; integers become float32."""
        x = floating(jnp.asarray(x))
        if x.ndim < 2 or x.shape[-1] != self.size:
            raise ShapeError(
                f"GradedSpikes({self.size}) got shape {x.shape}; expected [B, ..., {self.size}], neurons last."
            )

        def start(key: jax.Array) -> jax.Array:
            dtype = jnp.promote_types(x.dtype, jnp.float32)
            if self.constant_factor:
                factor = checks.rounded(self.constant_factor, dtype, "GradedSpikes(constant_factor=...)")
                return jnp.full((self.size,), factor)
            return jax.random.uniform(key, (self.size,), dtype, 0.5, 1.5)

        return x * _for_batch(self.param("weights", start).astype(x.dtype), x)


def _for_batch(value: jax.Array, x: jax.Array) -> jax.Array:
    """One number for each channel, with the axes of ``x``."""
    return value.reshape((1,) * (x.ndim - 1) + value.shape)


def _count(value: Any, what: str) -> int:
    if (number := whole(value)) is None:
        raise ArgumentError(f"{what} got {value!r}; expected a whole number >= 1.")
    return number


def _number(value: Any, what: str) -> float:
    number = FrozenArray.finite(value, what)
    if isinstance(number, FrozenArray):
        raise ArgumentError(f"{what} got an array of shape {number.shape}; expected one number.")
    return number
