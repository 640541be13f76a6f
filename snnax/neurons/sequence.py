"""What neurons that take a whole sequence at once share."""

from __future__ import annotations

import math
from functools import partial
from typing import Any, ClassVar, Protocol, cast

import flax.linen as nn
import jax
import jax.numpy as jnp
import numpy as np
from jax.typing import ArrayLike

from snnax import checks
from snnax.checks import whole
from snnax.dynamics.firing import FiringRule, fire
from snnax.errors import ArgumentError, InertArgumentWarning, ShapeError, warn
from snnax.kernels.product import dot_general
from snnax.neurons.base import SpikingNeuron
from snnax.neurons.values import FrozenArray, Parameter

__all__ = ["SequenceNeuron", "fan_in_bound", "uniform"]


class _Arguments(Protocol):
    init_hidden: bool
    graded_spikes_factor: Parameter
    learn_graded_spikes_factor: bool
    device: None
    dtype: Any


class SequenceNeuron(SpikingNeuron):
    """Base of the neurons that compute all time steps at once: no reset, so no step waits for a spike.

    * ``init_hidden=False``: one call is a whole sequence from rest, ``[T, B, N]``. Nothing is kept.
    * ``init_hidden=True``: one call is one time step, ``[B, N]``, and the state is in the collection ``hidden``,
      as with every other neuron. This is what :func:`~snnax.unroll` runs, and what streams.

    Both give the same spikes and states, to rounding. Nothing else distinguishes the two: the variables are the same.

    Attributes:
        sequence: marks these classes.
    """

    sequence: ClassVar[bool] = True
    reset_mechanism: ClassVar[str] = "none"
    inhibition: ClassVar[bool] = False

    @nn.nowrap
    def _frames(self, x: ArrayLike, features: int | None, axes: tuple[int, ...] = (3,)) -> jax.Array:
        """The input in a floating type, of a sequence at least float32, if its shape fits; ``None``: any features."""
        x = jnp.asarray(x)
        stepwise = cast(_Arguments, self).init_hidden
        if x.ndim not in ((2,) if stepwise else axes) or features not in (None, x.shape[-1]):
            size = "N" if features is None else features
            if stepwise:
                wanted = f"one time step [B, {size}], since it keeps its own state (init_hidden=True)"
                remedy = "For all time steps call snnax.unroll(net, variables, x), or build it with init_hidden=False."
            else:
                wanted = f"a whole sequence [T, B, {size}]"
                remedy = (
                    "To run it step by step (as in snnax.unroll) build it with init_hidden=True; else apply the "
                    "network to the whole sequence, as net.apply(variables, x)."
                )
            raise ShapeError(f"{self._label()}: the input has shape {x.shape}; expected {wanted}. {remedy}")
        least = self._precision(jnp.promote_types(x.dtype, jnp.float32))
        return x if stepwise and jnp.issubdtype(x.dtype, jnp.floating) else x.astype(least)

    @nn.nowrap
    def _start(self, x: jax.Array) -> tuple[jax.Array, jax.Array]:
        """Input and state before one step, as :meth:`enter`."""
        x, (state,) = self.enter(x, None)
        return x, state

    @nn.nowrap
    def _fired(self, mem: jax.Array, graded: bool = True) -> tuple[jax.Array, jax.Array]:
        """``(mem, spikes)``: quantized, compared with the threshold, never reset."""
        rule: FiringRule = self._rule(mem)
        if graded:
            given = cast(_Arguments, self)
            factor = self._value("graded_spikes_factor", mem, given.learn_graded_spikes_factor)
            rule = rule._replace(graded=factor)
        return fire(mem, jnp.zeros_like(mem), rule)

    @nn.nowrap
    def _linear(self, features: int, like: jax.Array, name: str, bound: float, bias: bool = True) -> nn.Dense:
        """A dense layer in the dtype of ``like``, weights drawn as torch draws them, derivatives fast on CPUs."""
        draw = partial(uniform, bound=bound)
        kept = getattr(self, "dtype", None) or jnp.promote_types(like.dtype, jnp.float32)
        return nn.Dense(
            features,
            bias,
            like.dtype,
            kept,
            kernel_init=draw,
            bias_init=draw,
            dot_general=dot_general,
            name=name,
        )

    @nn.nowrap
    def _check_sizes(self, *names: str) -> None:
        for name in names:
            value = getattr(self, name)
            if (size := whole(value)) is None:
                raise ArgumentError(f"{type(self).__name__}({name}={value!r}); expected a whole number >= 1.")
            object.__setattr__(self, name, size)

    @nn.nowrap
    def _check_beta(self, features: int) -> None:
        """Make ``beta`` hashable, if it is one number or one for each neuron."""
        kind = type(self).__name__
        beta = FrozenArray.finite(getattr(self, "beta"), f"{kind}(beta=...)")  # noqa: B009
        if np.shape(beta) not in ((), (1,), (features,)):
            raise ArgumentError(
                f"{kind}(beta=...) has shape {np.shape(beta)}; expected one number, or one for each neuron: "
                f"({features},)."
            )

    @nn.nowrap
    def _warn(self, text: str) -> None:
        """Warn who builds the neuron, not at each copy that flax makes of it."""
        if self.parent is self.__dataclass_fields__["parent"].default:
            warn(InertArgumentWarning(f"{type(self).__name__}: {text}"))

    @nn.nowrap
    def _check_placement(self) -> None:
        """Refuse a ``device``; make ``dtype`` one that JAX knows."""
        kind, given = type(self).__name__, cast(_Arguments, self)
        if given.device is not None:
            raise ArgumentError(
                f"{kind}(device={given.device!r}); expected None: a module has no device in JAX. Put the "
                "variables there: jax.device_put(variables, jax.devices()[0])."
            )
        if given.dtype is None:
            return
        checks.fields(self, dtype=checks.dtype)


def uniform(key: jax.Array, shape: tuple[int, ...], dtype: Any = jnp.float32, *, bound: float) -> jax.Array:
    """Uniform in [-bound, bound]."""
    return jax.random.uniform(key, shape, dtype, -bound, bound)


def fan_in_bound(features: int) -> float:
    """The bound with which torch draws the weights of a linear layer."""
    return 1 / math.sqrt(features)
