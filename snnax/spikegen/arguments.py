"""Reading what the encoders are called with: arrays of three libraries, whole numbers, keys."""

from __future__ import annotations

import operator
from collections.abc import Callable
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np

from snnax import checks
from snnax.errors import ArgumentError, ShapeError


def default_float() -> Any:
    """JAX's default: float32, or float64 under ``jax_enable_x64``."""
    return jnp.result_type(float)


def known(array: jax.Array) -> bool:
    """Whether there are values to check: not while a function is traced."""
    return not isinstance(array, jax.core.Tracer)


def breaks(array: jax.Array, law: Callable[[jax.Array], jax.Array]) -> bool:
    """Whether the values are known and not all of ``law(array)`` is true."""
    if not known(array):
        return False
    with jax.ensure_compile_time_eval():
        return not bool(law(array).all())


def extremes(array: jax.Array) -> tuple[float, float]:
    """The least and the largest of known values; NaN if one is."""
    with jax.ensure_compile_time_eval():
        return float(array.min()), float(array.max())


def real(value: Any, what: str) -> jax.Array:
    """An array of JAX, NumPy or torch, or nested lists of numbers, as a JAX array of its dtype.

    Args:
        value: the array.
        what: function and argument, for the error: ``"rate(data)"``.

    Raises:
        ArgumentError: it is no array of real numbers.
    """
    return checks.array(value, f"spikegen.{what}")


def floating(value: Any, what: str) -> jax.Array:
    """As :func:`real`, with integers in JAX's default float."""
    array = real(value, what)
    return array if jnp.issubdtype(array.dtype, jnp.floating) else array.astype(default_float())


def precise(array: jax.Array) -> jax.Array:
    """At least float32, in which times and probabilities are computed."""
    return array.astype(jnp.promote_types(array.dtype, jnp.float32))


def spread(value: Any, like: jax.Array, what: str) -> jax.Array:
    """A number or array, broadcast to the shape of ``like`` and in its dtype.

    Raises:
        ShapeError: it does not broadcast.
    """
    array = real(value, what).astype(like.dtype)
    try:
        return jnp.broadcast_to(array, like.shape)
    except ValueError as error:
        raise ShapeError(
            f"spikegen.{what} has shape {array.shape}; expected a number, or a shape that broadcasts to that "
            f"of the data, {like.shape}."
        ) from error


def whole(value: Any, function: str, name: str, least: int = 0) -> int:
    """A static Python int, at least ``least``; None counts as 0, snnTorch's ``False``.

    Raises:
        ArgumentError: it is none, or below ``least``.
    """
    given: Any = 0 if value is None or value is False else value
    try:
        count = operator.index(given)
        if isinstance(given, bool) or abs(count) >= 2**31:
            raise TypeError("no number of steps")
    except TypeError as error:
        raise ArgumentError(
            f"spikegen.{function}({name}={checks.shown(value)}); expected a Python int. Under jax.jit make it static: "
            f"jax.jit(spikegen.{function}, static_argnames={name!r})."
        ) from error
    if count < least:
        raise ArgumentError(f"spikegen.{function}({name}={count}); expected an int >= {least}.")
    return count


def number(value: Any, function: str, name: str) -> float:
    """A static finite Python float.

    Raises:
        ArgumentError: it is none.
    """
    try:
        return checks.number()(value, name)
    except ArgumentError as error:
        raise ArgumentError(
            f"spikegen.{function}({name}={checks.shown(value)}); expected one finite number. Under jax.jit make it "
            f"static: jax.jit(spikegen.{function}, static_argnames={name!r})."
        ) from error


def drawing(key: Any, function: str, call: str) -> jax.Array:
    """The key of a random encoder.

    Args:
        key: what the user passed.
        function: name of the encoder.
        call: arguments of a call that works, for the error: ``"data, num_steps=25"``.

    Raises:
        ArgumentError: it is missing, or no single key.
    """
    works = f"spikegen.{function}({call}, key=jax.random.key(0))"
    if key is None:
        raise ArgumentError(
            f"spikegen.{function} draws random spikes and got no key. Pass {works}, "
            "and another key, from jax.random.split, in each call that is to draw anew."
        )
    if isinstance(key, jax.Array | np.ndarray):
        new_style = jnp.issubdtype(key.dtype, jax.dtypes.prng_key) and key.shape == ()
        old_style = key.dtype == np.uint32 and key.ndim == 1
        if new_style or old_style:
            return jnp.asarray(key)
    raise ArgumentError(
        f"spikegen.{function}(key={checks.shown(key)}); expected one key of jax.random: {works}."
    )
