"""Functions that a neuron is given, for its spikes or its quantization: whether they work on JAX arrays."""

from __future__ import annotations

from functools import lru_cache
from typing import Any

import jax
import jax.numpy as jnp

from snnax import checks, surrogate
from snnax.errors import ArgumentError

__all__ = ["check_elementwise", "check_surrogate"]


def check_surrogate(function: Any, what: str) -> None:
    """Whether ``function`` is a surrogate, or None.

    Raises:
        ArgumentError: it is not; the message calls it ``what``.
    """
    if function is not None:
        check_elementwise(
            function, what, "None or a surrogate, as spike_grad=snnax.surrogate.fast_sigmoid(slope=25)"
        )


def check_elementwise(function: Any, what: str, expected: str) -> None:
    """Whether ``function`` takes an array and returns one of its shape; it is traced, once.

    Raises:
        ArgumentError: it does not; the message calls it ``what``.
    """
    if not callable(function) or isinstance(function, type):
        given = what.replace("...", checks.shown(function))
        raise ArgumentError(f"{given} cannot be called with an array; expected {expected}.")
    try:
        problem = _known_problem(function)
    except TypeError:  # not hashable
        problem = _problem(function)
    if problem:
        raise checks.refuse(what, function, f"{expected}. The one that was passed {problem}")


def _problem(function: Any) -> str:
    home, name = getattr(function, "__module__", None) or "", getattr(function, "__qualname__", "")
    if home.partition(".")[0] in ("snntorch", "norse", "torch"):
        maker = name.partition(".")[0]
        known = f"; write snnax.surrogate.{maker}(...)" if hasattr(surrogate, maker) else ""
        return f"is a function of {home} and works on its tensors alone{known}"
    if home.startswith("snnax.surrogate") and name in surrogate.__all__:
        return f"is to be called first, as snnax.surrogate.{name}()"
    x = jax.ShapeDtypeStruct((2, 3), jnp.float32)
    try:
        y = jax.eval_shape(function, x)
    except Exception as error:  # a stranger's function may raise anything, and torch's do on arrays of JAX
        return f"fails on an array of JAX ({type(error).__name__}: {checks.brief(error)})"
    if getattr(y, "shape", None) != x.shape:
        return f"returns {checks.shown(y)} for an array of shape {x.shape}: is it to be called first?"
    return ""


_known_problem = lru_cache(maxsize=1024)(_problem)
