"""What arguments are checked for: one sentence for what was passed, what was expected, and what works."""

from __future__ import annotations

import functools
import inspect
import math
import operator
import os
from collections.abc import Callable, Mapping, Sequence
from typing import Any, ParamSpec, TypeVar

import jax
import jax.numpy as jnp
import numpy as np

from snnax.errors import ArgumentError

__all__ = [
    "Check", "annotated", "array", "batches", "brief", "call", "count", "dtype", "fields", "flag", "instance",
    "is_key", "key", "mapping", "maybe", "number", "one_of", "path", "real", "refuse", "rounded", "scalar", "shape",
    "shown", "sizes", "takes", "text", "texts", "whole",
]  # fmt: skip

P = ParamSpec("P")
R = TypeVar("R")

Check = Callable[[Any, str], Any]
"""``check(value, what)``: the value as it is to be used, or an error that calls it ``what``, as ``"rate(data)"``."""

_LONG = 80
_FLOAT32 = float(np.finfo(np.float32).max)


def shown(value: Any) -> str:
    """A value in an error: short, arrays by shape and dtype, without their numbers."""
    if isinstance(value, jax.core.Tracer):
        return f"a traced array of shape {value.shape}"
    kind = type(value).__name__
    if isinstance(value, jax.Array) and jnp.issubdtype(value.dtype, jax.dtypes.prng_key):
        return f"a random key of shape {value.shape}" if value.ndim else "a random key"
    if (shape := getattr(value, "shape", None)) is not None and not isinstance(value, type):
        try:
            if math.prod(shape) != 1:
                return f"{kind} of shape {tuple(shape)} and dtype {getattr(value, 'dtype', '?')}"
        except TypeError:
            return kind
    try:
        said = " ".join(repr(value).split())
    except Exception as error:  # a stranger's __repr__ may do anything
        said = f"<its repr raises {type(error).__name__}>"
    if len(said) > _LONG:
        said = said[: _LONG - 3] + "..."
    known = value is None or isinstance(value, str | bool | int | float | complex | type)
    return said if known or kind in said else f"{said} of type {kind}"


def brief(error: Exception) -> str:
    """What an error says, in a line."""
    said = str(error).strip().partition("\n")[0]
    return said if len(said) <= 2 * _LONG else said[: 2 * _LONG - 3] + "..."


def refuse(what: str, value: Any, expected: str) -> ArgumentError:
    """The error to raise: what was passed stands in ``"rate(data=...)"`` in place of the dots, or after ``what``."""
    if what.endswith("=...)"):
        return ArgumentError(f"{what[:-4]}{shown(value)}); expected {expected}.")
    return ArgumentError(f"{what} got {shown(value)}; expected {expected}.")


def whole(value: Any, least: int = 1, most: int = 2**31 - 1) -> int | None:
    """``value`` as an ``int``; ``None`` if it is none in that range. ``True`` and ``2.0`` are none.

    Args:
        value: anything; NumPy's integers and arrays of one integer are whole numbers.
        least: the smallest that will do.
        most: the largest that will do.

    Example:
        >>> from snnax.checks import whole
        >>> whole(3), whole(0), whole(True), whole(2.0)
        (3, None, None, None)
    """
    try:
        number = None if isinstance(value, bool) else operator.index(value)
    except TypeError:
        return None
    return None if number is None or not least <= number <= most else number


def count(least: int = 1, most: int = 2**31 - 1) -> Check:
    """A whole number from ``least`` to ``most``."""

    def check(value: Any, what: str) -> int:
        number = whole(value, least, most)
        if number is None:
            upto = "" if most == 2**31 - 1 else f" to {most}"
            raise refuse(what, value, f"a whole number from {least}{upto}, as {max(least, 1)}")
        return number

    return check


def sizes(rank: int, least: int = 1, even: str = "") -> Check:
    """A whole number, or ``rank`` of them, as a tuple in both cases; ``even``: what goes wrong with even ones."""
    expected = f"a whole number from {least}, or {rank} of them"
    if even:
        expected = f"one odd number or {rank} of them, as 3: with an even one {even}"

    def check(value: Any, what: str) -> Any:
        one = whole(value, least)
        given = value if isinstance(value, Sequence | np.ndarray) and _depth(value) else []
        each = [whole(v, least) for v in given] if one is None else [one] * rank
        found = tuple(size for size in each if size is not None)
        if len(each) != rank or len(found) != rank or (even and any(size % 2 == 0 for size in found)):
            raise refuse(what, value, expected)
        return found

    return check


def shape(value: Any, what: str) -> tuple[int, ...]:
    """Sizes of at least 1, at least one of them."""
    each = (
        [whole(size) for size in value] if isinstance(value, Sequence | np.ndarray) and _depth(value) else []
    )
    found = tuple(size for size in each if size is not None)
    if not each or len(found) < len(each):
        raise refuse(what, value, "the shape of one sample without batch, as (3,) or (1, 28, 28)")
    return found


def _depth(value: Any) -> int:
    try:
        return np.ndim(value)
    except ValueError:  # ragged
        return 0


def dtype(value: Any, what: str) -> Any:
    """A floating dtype that JAX knows."""
    try:
        found = jnp.dtype(value)
    except (TypeError, ValueError):
        found = None
    if value is None or found is None or not jnp.issubdtype(found, jnp.floating):
        raise refuse(what, value, "a floating type of JAX, as jnp.float32")
    return found


def number(
    low: float = -math.inf,
    high: float = math.inf,
    *,
    above: float | None = None,
    finite: bool = True,
    called: str = "",
) -> Check:
    """One real number in that range, as a Python float; ``above``: more than this; ``called``: in errors."""
    parts = [called or ("a finite number" if finite else "a number")]
    if above is not None:
        parts.append(f"above {above:g}")
    if low > -math.inf:
        parts.append(f"from {low:g}")
    if high < math.inf:
        parts.append(f"up to {high:g}")

    def check(value: Any, what: str) -> float:
        result = _single(value)
        fits = result is not None and low <= result <= high and (above is None or result > above)
        if result is None or not fits or (finite and not math.isfinite(result)):
            raise refuse(what, value, " ".join(parts))
        if _FLOAT32 < abs(result) < math.inf:  # in arithmetic with arrays it would be infinite
            rounded(result, jnp.result_type(float), what)
        return result

    return check


def _single(value: Any) -> float | None:
    if isinstance(value, str | bytes | bool | np.bool_ | jax.core.Tracer):
        return None
    try:
        return None if np.iscomplexobj(value) else float(value)
    except (TypeError, ValueError, OverflowError, RuntimeError):
        return None


def flag(value: Any, what: str) -> bool:
    """``True`` or ``False``, NumPy's too, and 0 or 1."""
    if isinstance(value, bool | np.bool_) or (isinstance(value, int) and value in (0, 1)):
        return bool(value)
    raise refuse(what, value, "True or False")


def text(value: Any, what: str) -> str:
    """A string."""
    if isinstance(value, str):
        return value
    raise refuse(what, value, "a string")


def texts(value: Any, what: str) -> tuple[str, ...]:
    """Strings, or one of them."""
    names = (value,) if isinstance(value, str) else value
    if isinstance(names, Sequence | set | frozenset) and all(isinstance(name, str) for name in names):
        return tuple(names)
    raise refuse(what, value, "a list of strings")


def path(value: Any, what: str) -> Any:
    """A path: a string or ``pathlib.Path``."""
    try:
        found = os.fspath(value)
    except Exception:  # a stranger's __fspath__ may do anything
        found = None
    if isinstance(found, str):
        return value
    raise refuse(what, value, "a path, as a string or pathlib.Path")


def one_of(*choices: Any) -> Check:
    """One of these values."""

    def check(value: Any, what: str) -> Any:
        if not any(type(value) is type(choice) and value == choice for choice in choices):
            raise refuse(what, value, f"one of {', '.join(repr(choice) for choice in choices)}")
        return value

    return check


def call(example: str) -> Check:
    """Something that can be called, other than a class; ``example`` works."""

    def check(value: Any, what: str) -> Any:
        if not callable(value):
            raise refuse(what, value, f"a function, as {example}")
        if isinstance(value, type):
            raise refuse(what, value, f"a function and no class, as {example}")
        return value

    return check


def instance(kind: type | tuple[type, ...], expected: str) -> Check:
    """An instance of a class; ``expected`` says which, and how to get one."""

    def check(value: Any, what: str) -> Any:
        if isinstance(value, kind):
            return value
        if isinstance(value, type) and issubclass(value, kind):
            raise refuse(what, value, f"{expected}, not the class: call it")
        raise refuse(what, value, expected)

    return check


def mapping(expected: str) -> Check:
    """A dictionary with names as keys."""

    def check(value: Any, what: str) -> Any:
        if isinstance(value, Mapping) and all(isinstance(key, str) for key in value):
            return value
        raise refuse(what, value, expected)

    return check


def maybe(check: Check, *nothing: Any) -> Check:
    """``None`` (or one of ``nothing``), or what ``check`` takes."""

    def checked(value: Any, what: str) -> Any:
        if value is None or any(value is empty for empty in nothing):
            return value
        return check(value, what)

    return checked


def array(value: Any, what: str) -> jax.Array:
    """Real numbers of JAX, NumPy or torch, or nested lists of them, as a JAX array of their dtype.

    Raises:
        ArgumentError: for anything else, for integers that the dtype cannot hold, and for finite numbers that
            are infinite in it.
    """
    if not isinstance(value, jax.Array):
        value = _from_host(value, what)
    if not _is_real(value.dtype):
        raise refuse(what, value, "an array of real numbers")
    return jnp.asarray(value)  # JAX has scalars that are no arrays yet


def rounded(value: Any, dtype: Any, what: str) -> np.ndarray:
    """Numbers of the host in a floating ``dtype``, where those that are finite stay so.

    Raises:
        ArgumentError: one is too large for it.
    """
    wide = np.asarray(value)
    if wide.dtype == dtype:
        return wide
    with np.errstate(over="ignore", under="ignore"):
        found = wide.astype(dtype)
    if not np.isfinite(found).all() and (lost := np.isfinite(wide) & ~np.isfinite(found)).any():
        narrow = found.dtype == np.float32 and not jax.config.read("jax_enable_x64")
        remedy = (
            'jax.config.update("jax_enable_x64", True) computes in double precision; else s'
            if narrow
            else "S"
        )
        raise ArgumentError(
            f"{what} holds {float(wide[lost][0]):.6g}, which {found.dtype} takes for infinity; expected numbers up to "
            f"{float(jnp.finfo(found.dtype).max):.3g}. {remedy}cale them."
        )
    return found


def key(value: Any, what: str) -> Any:
    """A random key of JAX, of either style."""
    if is_key(value):
        return value
    raise refuse(what, value, "a key, as jax.random.key(0)")


def is_key(value: Any) -> bool:
    """Whether it is a random key of JAX."""
    if not isinstance(value, jax.Array | np.ndarray):
        return False
    return bool(jnp.issubdtype(value.dtype, jax.dtypes.prng_key)) or (
        value.dtype == np.uint32 and value.ndim >= 1
    )


def batches(value: Any, what: str) -> Any:
    """Something to iterate over."""
    iterable = hasattr(value, "__iter__") or (hasattr(value, "__getitem__") and hasattr(value, "__len__"))
    if isinstance(value, str | bytes | Mapping | type) or not iterable or is_key(value):
        raise refuse(
            what, value, "batches (x, y), as [(x, y)], a DataLoader or snnax.training.batches(x, y, 32)"
        )
    return value


def scalar(value: Any, what: str) -> Any:
    """One real number, which may be traced; left as it is."""
    if isinstance(value, float | int) and not isinstance(value, bool) and (one := _single(value)) is not None:
        rounded(one, jnp.result_type(float), what)
        return value
    if array(value, what).ndim:
        raise refuse(what, value, "one number")
    return value


def real(value: Any, what: str) -> Any:
    """As :func:`array`, and left as it is: for what is read by NumPy, or moved to a device later."""
    if not isinstance(value, jax.Array | np.ndarray) or not _is_real(value.dtype):
        array(value, what)
    return value


def _is_real(dtype: Any) -> bool:
    return any(jnp.issubdtype(dtype, kind) for kind in (jnp.bool_, jnp.integer, jnp.floating))


def _from_host(value: Any, what: str) -> jax.Array:
    expected = "an array of real numbers (JAX, NumPy or torch)"
    if value is None or isinstance(value, str | bytes | type | Mapping):
        raise refuse(what, value, expected)
    given = value
    try:
        if hasattr(value, "detach"):
            value = value.detach().cpu()
            is_bfloat16 = str(value.dtype) == "torch.bfloat16"
            value = jnp.from_dlpack(value.clone()) if is_bfloat16 else np.array(value.numpy())
        host = value if hasattr(value, "dtype") else np.asarray(value)
        fits = host.dtype != object
        if fits and np.issubdtype(host.dtype, np.integer) and host.size:
            limits = jnp.iinfo(jax.dtypes.canonicalize_dtype(host.dtype))
            fits = limits.min <= int(host.min()) and int(host.max()) <= limits.max
            expected += f", whole ones from {limits.min} to {limits.max}"
        if fits and np.issubdtype(host.dtype, np.floating):
            value = rounded(host, jax.dtypes.canonicalize_dtype(host.dtype), what)
        if fits:
            return jnp.asarray(_native(value))
    except ArgumentError:
        raise
    except (TypeError, ValueError, OverflowError, RuntimeError, NotImplementedError, AttributeError) as error:
        raise refuse(what, given, expected) from error
    raise refuse(what, given, expected)


def _native(value: Any) -> Any:
    """An array of NumPy's in the order of bytes of this machine, which JAX needs."""
    return value.astype(value.dtype.newbyteorder("=")) if isinstance(value, np.ndarray) else value


def takes(**checks: Check) -> Callable[[Callable[P, R]], Callable[P, R]]:
    """A function whose arguments are checked before it runs: ``@takes(data=array, num_steps=count())``.

    What a check returns is what the function gets. An argument that is left out is not checked; one that is
    declared as ``bool`` always is.
    """

    def decorate(function: Callable[P, R]) -> Callable[P, R]:
        signature = inspect.signature(function)
        flags = {p.name: flag for p in signature.parameters.values() if p.annotation == "bool"}
        wanted = {**flags, **checks}
        name = function.__qualname__.removesuffix(".__init__")

        def each(given: dict[str, Any]) -> None:
            for argument, check in wanted.items():
                if argument in given:
                    given[argument] = check(given[argument], f"{name}({argument}=...)")

        @functools.wraps(function)
        def checked(*args: P.args, **kwargs: P.kwargs) -> R:
            try:
                bound = signature.bind(*args, **kwargs)
            except TypeError:  # what stands in another's place says more than what is missing
                each(signature.bind_partial(*args, **kwargs).arguments)
                raise
            each(bound.arguments)
            return function(*bound.args, **bound.kwargs)

        return checked

    return decorate


@functools.cache
def _annotated(kind: Any) -> tuple[tuple[str, Check], ...]:
    found = getattr(kind, "__dataclass_fields__", {})
    return tuple((name, flag) for name, field in found.items() if field.type == "bool")


def annotated(owner: Any) -> None:
    """Check the fields of a dataclass that are declared as ``bool``."""
    kind: Any = type(owner)  # mypy knows no hash of type[Any]
    fields(owner, **dict(_annotated(kind)))


def fields(owner: Any, **checks: Check) -> None:
    """Check fields of an object that is being made, as a dataclass's ``__post_init__`` does."""
    for name, check in checks.items():
        object.__setattr__(owner, name, check(getattr(owner, name), f"{type(owner).__name__}({name}=...)"))
