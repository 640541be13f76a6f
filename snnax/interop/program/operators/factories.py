"""Arrays that are made of numbers."""

from __future__ import annotations

import math
from collections.abc import Sequence
from typing import Any

import jax
import jax.numpy as jnp

from snnax.interop.program.operators.forms import Text, Words, call, forms
from snnax.interop.program.operators.registry import Call, computes

Size = Sequence[int]


# Of what "empty" holds torch says nothing; zeros are the same in every run.
@computes(
    "zeros",
    "new_zeros",
    "empty.memory_format",
    "new_empty",
    "empty_strided",
    "new_empty_strided",
    "empty_permuted",
)
def zeros(call: Call, *given: Any, **ignored: Any) -> jax.Array:
    """Zeros in a shape: of ``new_zeros(x, size)`` the second argument, of ``empty_strided(size, stride)`` the first."""
    del ignored
    size = given[1] if call.name.startswith("new") else given[0]
    return jnp.zeros(tuple(size), call.dtype)


@computes("ones", "new_ones")
def ones(call: Call, *given: Any, **ignored: Any) -> jax.Array:
    """Ones in a shape, the last argument."""
    del ignored
    return jnp.ones(tuple(given[-1]), call.dtype)


@computes("full")
def full(call: Call, size: Size, fill_value: Any, **ignored: Any) -> jax.Array:
    """One number in a shape."""
    del ignored
    return jnp.full(tuple(size), jnp.asarray(fill_value, call.dtype))


def _made(function: str) -> Any:
    def form(words: Words, *given: Any, **ignored: Any) -> Text:
        return call(function, words.list(words.shape), words.type(words.dtype))

    return form


forms("zeros", "new_zeros", "empty.memory_format", "new_empty", "zeros_like", "empty_like")(
    _made("jnp.zeros")
)
forms("ones", "new_ones", "ones_like")(_made("jnp.ones"))


@forms("full", "new_full", "full_like")
def _full(words: Words, *given: Any, **ignored: Any) -> Text | None:
    value = given[-1]
    shown = value if isinstance(value, Text) else words.like(value)
    return call("jnp.full", words.list(words.shape), shown, words.type(words.dtype))


@forms("scalar_tensor")
def _scalar(words: Words, s: Any, **ignored: Any) -> Text:
    return call("jnp.asarray", s if isinstance(s, Text) else words.like(s), words.type(words.dtype))


@forms("arange", "arange.start", "arange.start_step")
def _counted(words: Words, *bounds: Any, **ignored: Any) -> Text | None:
    if any(isinstance(bound, float) for bound in bounds):
        return None
    first, *rest = bounds
    shown = [first, *rest][1:2] if len(bounds) > 1 and first == 0 and bounds[2:] in ((), (1,)) else bounds
    return call("jnp.arange", *map(words.number, shown), dtype=words.type(words.dtype))


@computes("new_full")
def new_full(call: Call, x: jax.Array, size: Size, fill_value: Any, **ignored: Any) -> jax.Array:
    """One number in a shape."""
    del x
    return full(call, size, fill_value, **ignored)


@computes("zeros_like", "empty_like")
def zeros_like(call: Call, x: jax.Array, **ignored: Any) -> jax.Array:
    """Zeros in the shape of ``x``."""
    del ignored
    return jnp.zeros(x.shape, call.dtype)


@computes("ones_like")
def ones_like(call: Call, x: jax.Array, **ignored: Any) -> jax.Array:
    """Ones in the shape of ``x``."""
    del ignored
    return jnp.ones(x.shape, call.dtype)


@computes("full_like", "fill.Scalar", "fill.Tensor")
def full_like(call: Call, x: jax.Array, fill_value: Any, **ignored: Any) -> jax.Array:
    """One number in the shape of ``x``."""
    return full(call, x.shape, fill_value, **ignored)


@computes("scalar_tensor")
def scalar_tensor(call: Call, s: Any, **ignored: Any) -> jax.Array:
    """A number as a 0-d array."""
    del ignored
    return jnp.asarray(s, call.dtype)


@computes("arange", "arange.start", "arange.start_step")
def arange(call: Call, *bounds: Any, **ignored: Any) -> jax.Array:
    """Numbers at equal distance, the end left out: ``start + i step``, as torch computes each."""
    del ignored
    start, end, step = (0, bounds[0], 1) if len(bounds) == 1 else (*bounds, 1)[:3]
    if all(isinstance(bound, int) for bound in (start, end, step)):
        return jnp.arange(start, end, step, dtype=call.dtype)
    count = max(math.ceil((end - start) / step), 0)
    return jnp.asarray([start + i * step for i in range(count)], call.dtype)


@computes("linspace")
def linspace(call: Call, start: Any, end: Any, steps: int, **ignored: Any) -> jax.Array:
    """Numbers at equal distance, both ends among them; torch counts from the nearer end."""
    del ignored
    if steps == 1:
        return jnp.full(1, start, call.dtype)
    values = _spaced(start, end, steps, call.dtype)
    return jnp.trunc(values).astype(call.dtype) if jnp.issubdtype(call.dtype, jnp.integer) else values


@computes("logspace")
def logspace(call: Call, start: Any, end: Any, steps: int, base: float = 10.0, **ignored: Any) -> jax.Array:
    """Powers of ``base`` with exponents at equal distance."""
    del ignored
    exponents = jnp.full(1, start, call.dtype) if steps == 1 else _spaced(start, end, steps, call.dtype)
    return jnp.power(jnp.asarray(base, call.dtype), exponents)


def _spaced(start: Any, end: Any, steps: int, dtype: Any) -> jax.Array:
    wide = dtype if jnp.issubdtype(dtype, jnp.floating) else jnp.float32
    first, last = jnp.asarray(start, wide), jnp.asarray(end, wide)
    step = (last - first) / jnp.asarray(max(steps - 1, 1), wide)
    place = jnp.arange(steps)
    forth, back = (n.astype(wide) * step for n in (place, steps - 1 - place))
    return jnp.where(place < steps // 2, first + forth, last - back)


@computes("eye", "eye.m")
def eye(call: Call, n: int, m: int | None = None, **ignored: Any) -> jax.Array:
    """Ones on the diagonal."""
    del ignored
    return jnp.eye(n, m, dtype=call.dtype)


@computes("tril_indices", "triu_indices")
def triangle(call: Call, row: int, col: int, offset: int = 0, **ignored: Any) -> jax.Array:
    """Rows and columns of the numbers of a triangle."""
    del ignored
    places = jnp.tril_indices if call.name == "tril_indices" else jnp.triu_indices
    return jnp.stack(places(row, offset, col)).astype(call.dtype)
