"""What a mask chooses, in arrays of their whole shape: ``mem[spk > 0] -= 1``, ``x[x > 0].mean()``.

How much a mask chooses depends on the data, and the shape of an array in JAX may not. What is computed of it number by
number is the same in an array of the whole shape, and counts where the mask holds.
"""

from __future__ import annotations

from dataclasses import replace
from typing import Any

import numpy as np

from snnax.interop.program.cleaning import needed, result_of
from snnax.interop.program.nodes import RANDOM, Leaf, Node, Program, Ref, Result, flat, mapped

_EACH = frozenset({
    "add", "sub", "rsub", "mul", "div", "neg", "abs", "exp", "log", "log1p", "sqrt", "rsqrt", "square", "reciprocal",
    "pow", "clamp", "clamp_min", "clamp_max", "relu", "sigmoid", "tanh", "sin", "cos", "sign", "round", "floor", "ceil",
    "maximum", "minimum", "detach", "clone", "alias", "_to_copy", "gt", "lt", "ge", "le", "eq", "ne", "erf",
})  # fmt: skip
"""Operations of each number by itself."""


def unmasked(program: Program) -> Program:
    """A cleaned trace with whole arrays in place of what masks choose, as far as all that is made of it can be so.

    Args:
        program: without loops.
    """
    if not any(node.op == "index.Tensor" for node in program.nodes()):
        return program
    left_out: set[Any] = set()
    while True:
        masks = _Masks(program, left_out)
        found = masks.rewritten()
        if not masks.wrong:
            return needed(found) if masks.chosen else program
        left_out |= masks.wrong


class _Masks:
    """One pass over a trace.

    Args:
        program: the trace.
        left_out: masks whose choices are used in another way, by what computes them.

    Attributes:
        chosen: by value, the mask that says which of its numbers count.
        wrong: masks of which that is found out.
    """

    def __init__(self, program: Program, left_out: set[Any]) -> None:
        self._program = program
        self._left_out = left_out
        self._nodes: list[Node] = []
        self._keys: list[int] = []  # equal for nodes that compute the same
        self._known: dict[Any, int] = {}
        self._moved: dict[Ref, Ref] = {}
        self.chosen: dict[Ref, tuple[Any, Any]] = {}  # its key, and the mask itself
        self.wrong: set[Any] = set()

    def rewritten(self) -> Program:
        """The trace, whole as far as the masks that are left out let it be."""
        for index, node in enumerate(self._program.nodes()):
            args, kwargs = mapped((node.args, node.kwargs), self._now)
            made = self._of(replace(node, args=args, kwargs=kwargs))
            self._moved.update({Ref(index, out): Ref(made, out) for out in range(len(node.results))})
        ends = mapped((self._program.outputs, self._program.updates), self._now)
        self._blame(flat(ends))
        return replace(self._program, items=[*self._nodes], outputs=ends[0], updates=ends[1])

    def _now(self, entry: Any) -> Any:
        return self._moved[entry] if isinstance(entry, Ref) else entry

    def _of(self, node: Node) -> int:
        """Where the whole form of an operation is."""
        used = {self.chosen[e] for e in node.inputs if isinstance(e, Ref) and e in self.chosen}
        if node.op == "index.Tensor" and not used:
            return self._choice(node)
        if not used:
            return self._add(node)
        (mask, *more) = used
        sources = [e for e in node.inputs if isinstance(e, Ref | Leaf) and e not in self.chosen]
        if not more and node.base in _EACH and all(self._result(e).shape == () for e in sources):
            shape = self._result(mask[1]).shape
            found = self._add(replace(node, results=tuple(Result(shape, r.dtype) for r in node.results)))
            self.chosen[Ref(found)] = mask
            return found
        if not more and node.op == "index_put" and self._puts(node, mask):
            x, _, value = node.args[:3]
            return self._add(replace(node, op="where.self", args=(mask[1], value, x), kwargs={}))
        if not more and node.base in ("sum", "mean") and node.results[0].shape == ():
            return self._total(node, mask)
        self._blame(node.inputs)
        return self._add(node)

    def _choice(self, node: Node) -> int:
        """``x[mask]``: ``x``, with a number where the mask does not hold that no operation makes infinite."""
        x, indices = node.args[:2]
        mask = indices[0] if len(indices) == 1 else None
        if not isinstance(mask, Ref | Leaf) or self._result(mask).dtype != np.bool_:
            return self._add(node)
        known, key = self._result(x), self._key(mask)
        if known.shape != self._result(mask).shape or key in self._left_out:
            return self._add(node)
        fill = 0.5 if known.dtype.kind == "f" else 1
        found = self._filled(node, x, mask, fill)
        self.chosen[Ref(found)] = (key, mask)
        return found

    def _filled(self, node: Node, x: Any, mask: Any, value: Any) -> int:
        """``x`` where the mask holds, else a number."""
        shape, dtype = self._result(mask).shape, node.results[0].dtype
        inverse = replace(
            node, op="logical_not", args=(mask,), kwargs={}, results=(Result(shape, np.dtype(bool)),)
        )
        args = (x, Ref(self._add(inverse)), value)
        return self._add(
            replace(node, op="masked_fill.Scalar", args=args, kwargs={}, results=(Result(shape, dtype),))
        )

    def _puts(self, node: Node, mask: tuple[Any, Any]) -> bool:
        """Whether ``x[mask] = value`` puts what the same mask has chosen back into its place."""
        x, indices, value, *adds = node.args
        return (
            not any(adds)
            and len(indices) == 1
            and isinstance(indices[0], Ref | Leaf)
            and value in self.chosen
            and x not in self.chosen
            and self._key(indices[0]) == mask[0]
            and self._result(x).shape == self._result(mask[1]).shape
        )

    def _total(self, node: Node, mask: tuple[Any, Any]) -> int:
        """The sum or mean of what a mask chooses."""
        args = (Ref(self._filled(node, node.args[0], mask[1], 0)),)
        total = replace(node, op="sum", args=args, kwargs={})
        if node.base == "sum":
            return self._add(total)
        count = replace(node, op="sum", args=(mask[1],), kwargs={"dtype": node.results[0].dtype})
        parts = (Ref(self._add(total)), Ref(self._add(count)))
        return self._add(replace(node, op="div.Tensor", args=parts, kwargs={}))

    def _add(self, node: Node) -> int:
        self._nodes.append(node)
        number = len(self._keys)
        inputs = tuple(self._key(e) if isinstance(e, Ref | Leaf) else repr(e) for e in node.inputs)
        alone = number if node.base in RANDOM else None
        key = (node.op, repr(mapped((node.args, node.kwargs), lambda _: 0)), inputs, alone)
        self._keys.append(self._known.setdefault(key, number))
        return number

    def _key(self, source: Any) -> Any:
        """Equal for sources that hold the same."""
        return (self._keys[source.node], source.out) if isinstance(source, Ref) else source

    def _blame(self, entries: Any) -> None:
        """Masks whose choice is used in another way."""
        self.wrong |= {self.chosen[e][0] for e in entries if isinstance(e, Ref) and e in self.chosen}

    def _result(self, source: Any) -> Result:
        return result_of(source, self._nodes, self._program.inputs)
