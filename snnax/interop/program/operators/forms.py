"""Operators as Python source: what a person would write for a call, registered beside what computes it.

A *form* makes a :class:`Text` of the texts of an operator's arguments, or ``None`` where no short line computes the
same, derivatives and ties included; such a call is written as ``aten("name", ...)``, which is the operator itself.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
from jax import lax

from snnax.interop.layers.registry import Table

Form = Callable[..., "Text | tuple[Text, ...] | None"]
forms: Table[Form] = Table("form as source")
"""Of a :class:`Words` and the arguments of torch's call, arrays as texts: the expression."""

COMPARISON, OR, XOR, AND, SHIFT, SUM, PRODUCT, SIGN, POWER, ATOM = range(10)
"""How tightly an expression holds together, from the loosest."""


@dataclass(frozen=True)
class Text:
    """A Python expression.

    Attributes:
        text: as it is written.
        level: how tightly it holds together.
        shape: of the array that it is, as recorded; ``None`` for a number of Python's.
        dtype: of the array.
    """

    text: str
    level: int = ATOM
    shape: tuple[Any, ...] | None = None
    dtype: np.dtype[Any] | None = None

    @property
    def ndim(self) -> int:
        """How many axes it has."""
        return len(self.shape or ())

    def within(self, level: int) -> str:
        """The text where something of this level is expected."""
        return self.text if self.level >= level else f"({self.text})"

    def __str__(self) -> str:
        """As one argument of a call."""
        return self.text


@dataclass(frozen=True)
class Words:
    """What a form is told beside the arguments.

    Attributes:
        shape: of the first result, as recorded.
        dtype: of the first result.
        type: the text of a data type.
        number: the text of a number, which may follow the batch or the steps.
        named: a text as a name, for what is read twice.
    """

    shape: tuple[Any, ...]
    dtype: np.dtype[Any]
    type: Callable[[np.dtype[Any]], str]
    number: Callable[[Any], Text]
    named: Callable[[Text], Text]

    def cast(self, x: Text, dtype: np.dtype[Any] | None = None) -> Text:
        """An array in a type, by default the result's."""
        wanted = self.dtype if dtype is None else dtype
        if x.dtype == wanted:
            return x
        return Text(f"{x.within(ATOM)}.astype({self.type(wanted)})", ATOM, x.shape, wanted)

    def operands(self, *values: Any, cast: bool = True) -> list[Text]:
        """Arrays in the result's type and with the same number of axes; numbers as they are."""
        rank = max((v.ndim for v in values if isinstance(v, Text)), default=0)
        return [
            self.aligned(self.cast(v) if cast else v, rank) if isinstance(v, Text) else self.like(v)
            for v in values
        ]

    def aligned(self, x: Text, rank: int) -> Text:
        """An array with so many axes; one without axes goes with all."""
        if x.ndim in (0, rank):
            return x
        return replace(x, text=f"{x.within(ATOM)}[{', '.join(['None'] * (rank - x.ndim))}]", level=ATOM)

    def like(self, value: Any) -> Text:
        """A number beside arrays of the result's type."""
        whole = isinstance(value, float) and self.dtype.kind in "iu" and value.is_integer()
        return self.number(
            int(value) if whole or (isinstance(value, bool) and self.dtype.kind != "b") else value
        )

    def list(self, sizes: Any, brackets: str = "()") -> str:
        """Numbers in brackets."""
        given = [
            str(self.number(size)) for size in ([sizes] if not isinstance(sizes, list | tuple) else sizes)
        ]
        comma = "," if len(given) == 1 and brackets == "()" else ""
        return brackets[:1] + ", ".join(given) + comma + brackets[1:]


def infix(sign: str, first: Text, second: Text, level: int) -> Text:
    """``first sign second``."""
    power = level == POWER
    left = first.within(level + (power or level == COMPARISON))
    right = second.within(SIGN if power else level + 1)
    return Text(f"{left}{sign if power else f' {sign} '}{right}", level)


def call(function: str, *args: Any, **named: Any) -> Text:
    """``function(args, name=...)``; named arguments, and the last others, that are ``None`` are left out."""
    given = args[: max((n + 1 for n, value in enumerate(args) if value is not None), default=0)]
    parts = [*map(str, given), *(f"{key}={value}" for key, value in named.items() if value is not None)]
    return Text(f"{function}({', '.join(parts)})")


def method(x: Text, name: str, *args: Any, **named: Any) -> Text:
    """``x.name(args)``."""
    return call(f"{x.within(ATOM)}.{name}", *args, **named)


def indexed(x: Text, axis: int, part: Any) -> Text:
    """``x[:, part]``; the axis is counted from the front."""
    return Text(f"{x.within(ATOM)}[{':, ' * axis}{part}]")


_HOMES = (("jnp", jnp), ("jax.lax", lax), ("jax.nn", jax.nn), ("jax.scipy.special", jax.scipy.special))
_SIGNS: dict[Any, tuple[str, int]] = {
    jnp.multiply: ("*", PRODUCT), jnp.bitwise_and: ("&", AND), jnp.bitwise_or: ("|", OR), jnp.bitwise_xor: ("^", XOR),
    jnp.greater: (">", COMPARISON), jnp.less: ("<", COMPARISON), jnp.greater_equal: (">=", COMPARISON),
    jnp.less_equal: ("<=", COMPARISON), jnp.equal: ("==", COMPARISON), jnp.not_equal: ("!=", COMPARISON),
}  # fmt: skip
_PREFIXES: dict[Any, str] = {jnp.negative: "-", jnp.bitwise_not: "~"}
_SHORTER: dict[Any, str] = {lax.logistic: "jax.nn.sigmoid"}


def of_function(function: Any) -> Callable[[list[Text]], Text] | None:
    """What is written for a function of JAX; ``None`` for any other."""
    if function in _SIGNS:
        sign, level = _SIGNS[function]
        return lambda values: infix(sign, values[0], values[1], level)
    if function in _PREFIXES:
        return lambda values: Text(_PREFIXES[function] + values[0].within(SIGN), SIGN)
    name = _SHORTER.get(function) or next(
        (
            f"{prefix}.{n}"
            for prefix, home in _HOMES
            for n in [getattr(function, "__name__", "")]
            if getattr(home, n, None) is function
        ),
        None,
    )
    return None if name is None else lambda values: call(name, *values)


def axes(dim: Sequence[int] | int | None, x: Text) -> Any:
    """Axes as they are written; ``None`` for all of them."""
    if dim is None or not x.ndim or (isinstance(dim, list | tuple) and not dim):
        return None
    if isinstance(dim, int):
        return dim
    return dim[0] if len(dim) == 1 else tuple(dim)
