"""One registry of operators: torch's name of each, overload included, and the JAX function that computes it."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from difflib import get_close_matches
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np

from snnax.errors import ArgumentError, ConversionError
from snnax.interop.layers.registry import Table

Function = Callable[..., Any]
computes: Table[Function] = Table("JAX function")
"""Of a :class:`Call` and torch's arguments: the result, or a tuple of several, ``None`` for what JAX has not."""
draws: Table[Function] = Table("JAX function that draws")
"""The same for operators that draw random numbers, from ``call.key``."""


@dataclass(frozen=True)
class Call:
    """What an operator is told beside its arguments.

    Attributes:
        name: of the operator, with its overload.
        dtypes: of its results. Torch's rules of promotion, which differ from JAX's for 0-d arrays and numbers, were
            applied when torch recorded them.
        key: to draw from; ``None`` for an operator that does not draw.
    """

    name: str
    dtypes: tuple[np.dtype[Any], ...]
    key: Any = None

    @property
    def dtype(self) -> np.dtype[Any]:
        """The type of the first result."""
        return self.dtypes[0]

    def refused(self, problem: str, remedy: str) -> ConversionError:
        """The error for arguments that have no exact form here."""
        return ConversionError(f"aten.{self.name}", problem, remedy)


def evaluate(
    op: str,
    args: Sequence[Any],
    kwargs: Mapping[str, Any],
    results: Sequence[Any],
    key: jax.Array | None = None,
) -> tuple[jax.Array | None, ...]:
    r"""Compute an operator of core ATen in JAX, with torch's values and derivatives.

    .. math:: (y_1, \ldots) = \mathrm{op}(\mathrm{args}, \mathrm{kwargs})

    Derivatives at ties and kinks are torch's, which differ from JAX's: spikes are 0 and 1 and membranes start at 0,
    so networks meet them all the time.

    Args:
        op: name and overload in torch's schema, as ``"add.Tensor"``; the default overload has no second part.
        args: as torch's dispatcher passed them, tensors replaced by arrays of JAX or NumPy.
        kwargs: the same by name, without device, layout, memory format and generator.
        results: shape and dtype of each result in torch; only the dtypes are used, batches may differ.
        key: for an operator that draws random numbers.

    Returns:
        One array for each result, in its dtype or, without double precision, in the single one; ``None`` for a result
        that torch keeps for its own backward pass.

    Raises:
        ConversionError: for an operator, or arguments of one, that are not known here.
        ArgumentError: for a random operator without key.

    Example:
        >>> import jax, jax.numpy as jnp
        >>> from snnax.interop.program import operators
        >>> result = jax.ShapeDtypeStruct((2,), jnp.float32)
        >>> operators.evaluate("add.Tensor", (jnp.ones(2), 3), {"alpha": 2}, [result])
        (Array([7., 7.], dtype=float32),)
    """
    function = computes.entries.get(op, draws.entries.get(op))
    if function is None:
        raise _unknown(op)
    if is_random(op) and key is None:
        raise ArgumentError(
            f"the operator {op!r} draws random numbers and got no key. Pass key=jax.random.key(0), say."
        )
    dtypes = tuple(jax.dtypes.canonicalize_dtype(result.dtype) for result in results)
    args, kwargs = jax.tree.map(_of_jax, (tuple(args), dict(kwargs)))
    made = function(Call(op, dtypes, key), *args, **kwargs)
    values = made if isinstance(made, tuple) else (made,)
    return tuple(
        None if value is None else jnp.asarray(value, dtype)
        for value, dtype in zip(values, dtypes, strict=True)
    )


def aten(op: str, *args: Any, gives: Any, key: jax.Array | None = None, **kwargs: Any) -> Any:
    """One operator, as modules that :func:`~snnax.interop.write_source` writes call it.

    Args:
        op: its name in torch's schema, see :func:`evaluate`.
        args: as torch's dispatcher passes them.
        gives: the data type of the result, or a tuple with one for each.
        key: for what draws random numbers.
        kwargs: the same by name.

    Returns:
        The result; of several a tuple.

    Example:
        >>> import jax.numpy as jnp
        >>> from snnax.interop.program.operators import aten
        >>> aten("flip", jnp.arange(3.0), [0], gives=jnp.float32).tolist()
        [2.0, 1.0, 0.0]
    """
    dtypes = gives if isinstance(gives, tuple) else (gives,)
    made = evaluate(op, args, kwargs, [jax.ShapeDtypeStruct((), np.dtype(dtype)) for dtype in dtypes], key)
    return made if isinstance(gives, tuple) else made[0]


def _of_jax(value: Any) -> Any:
    """NumPy's arrays as JAX's, which alone have ``at``."""
    return jnp.asarray(value) if isinstance(value, np.ndarray | np.generic) else value


def known() -> tuple[str, ...]:
    """The names of all operators, as :func:`evaluate` takes them."""
    return tuple(sorted({*computes.entries, *draws.entries}))


def is_random(op: str) -> bool:
    """Whether the operator draws random numbers, and needs a key."""
    return op in draws.entries


def _unknown(op: str) -> ConversionError:
    """The error for an operator without function; names other overloads first, then what is written alike."""
    names = known()
    packet = op.partition(".")[0]
    near = [name for name in names if name.partition(".")[0] == packet]
    near += [name for name in get_close_matches(op, names, n=5) if name not in near]
    nearest = f" Near it are {', '.join(near)}." if near else ""
    return ConversionError(
        f"aten.{op}",
        "this torch operator has no JAX function here",
        f"{len(names)} have one: see snnax.interop.program.operators.known().{nearest} Write the line with those, or "
        "report the operator.",
    )
