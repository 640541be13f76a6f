"""What every surrogate is: a hard step forward, a smooth slope for the gradient."""

from __future__ import annotations

import dataclasses
import functools
import math
from collections.abc import Callable
from typing import Any

import jax
import jax.numpy as jnp
from jax.typing import ArrayLike

from snnax import checks
from snnax.errors import ArgumentError

Pull = Callable[..., jax.Array]
r"""``pull(x, g, spikes, **options)``: the gradient ``g`` times the surrogate slope at ``x``."""


@dataclasses.dataclass(frozen=True)
class Surrogate:
    """A spike function :math:`S(x) = [x > 0]` with a surrogate derivative.

    The comparison is strict, as in snnTorch: ``x == 0`` and ``x = NaN`` do not spike. (XLA on a CPU takes a
    subnormal ``x``, below 1.2e-38 in float32, for 0; torch does not.) Spikes have the dtype of ``x``
    (snnTorch: always float32); integers are taken as JAX's default float.

    The derivative is a :func:`jax.custom_jvp`, so forward mode, reverse mode, ``vmap``, ``jit`` and second
    derivatives work. Surrogates with the same name and options are equal and hash alike, so they may be
    fields of a Flax module. Do not construct one: call :func:`atan` and the other functions of this package.

    Attributes:
        name: name of the function that made it, ``"atan"``.
        pull: the derivative rule.
        items: the arguments it was made with, sorted by name.

    Example:
        >>> import jax
        >>> from snnax import surrogate
        >>> spike = surrogate.atan(alpha=2.0)
        >>> spike.name, spike.options
        ('atan', {'alpha': 2.0})
        >>> float(spike(0.1)), float(jax.grad(spike)(0.0))
        (1.0, 1.0)
        >>> getattr(surrogate, spike.name)(**spike.options) is spike
        True
    """

    name: str
    pull: Pull = dataclasses.field(repr=False)
    items: tuple[tuple[str, Any], ...]

    @property
    def options(self) -> dict[str, Any]:
        """The arguments that make this surrogate again, as ``getattr(surrogate, s.name)(**s.options)``."""
        return dict(self.items)

    def __call__(self, x: ArrayLike) -> jax.Array:
        """Spikes of ``x``, the membrane above threshold, of any shape: 1 where ``x > 0``, else 0."""
        return _spike(self, _floating(x))

    def derivative(self, x: ArrayLike) -> jax.Array:
        """The surrogate derivative :math:`dS/dx` at ``x``, in the shape and dtype of ``x``."""
        x = _floating(x)
        return jax.jvp(self, (x,), (jnp.ones_like(x),))[1]


@functools.lru_cache(maxsize=256)
def _cached(name: str, pull: Pull, items: tuple[tuple[str, Any], ...]) -> Surrogate:
    return Surrogate(name, pull, items)


def surrogate(name: str, pull: Pull, **options: Any) -> Surrogate:
    """The one surrogate of this name and these options; the same object while it is in the cache."""
    return _cached(name, pull, tuple(sorted(options.items())))


def number(function: str, argument: str, value: Any) -> float:
    """``value`` as a finite Python float.

    Raises:
        ArgumentError: ``value`` is an array of several elements, a tracer, not a number, or not finite.
    """
    try:
        return checks.number()(value, f"surrogate.{function}({argument}=...)")
    except ArgumentError as error:
        if isinstance(value, float) and math.isfinite(value):  # too large for arrays
            raise
        raise ArgumentError(_not_a_number(function, argument, value)) from error


def _not_a_number(function: str, argument: str, value: Any) -> str:
    return (
        f"surrogate.{function}({argument}=...) takes one finite Python number, got {checks.shown(value)}. "
        f"It is fixed when the network is built, as in surrogate.{function}({argument}=1.0); "
        f"for one slope per neuron write the gradient in surrogate.custom_surrogate."
    )


def _floating(x: ArrayLike) -> jax.Array:
    x = checks.array(x, "surrogate(x)")
    return x if jnp.issubdtype(x.dtype, jnp.floating) else x.astype(float)


@functools.partial(jax.custom_jvp, nondiff_argnums=(0,))
def _spike(rule: Surrogate, x: jax.Array) -> jax.Array:
    return (x > 0).astype(x.dtype)


@_spike.defjvp
def _spike_jvp(
    rule: Surrogate, primals: tuple[jax.Array], tangents: tuple[jax.Array]
) -> tuple[jax.Array, jax.Array]:
    (x,), (g,) = primals, tangents
    spikes = _spike(rule, x)
    return spikes, rule.pull(x, g, spikes, **rule.options)
