"""The numbers of a program that are the same in each call: what it holds, and what it computes from that alone."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from typing import Any

import jax.numpy as jnp
import numpy as np

from snnax.interop.nir.program_wiring import follows_batch
from snnax.interop.program import operators
from snnax.interop.program.module import collection_of, is_held
from snnax.interop.program.nodes import NEURON, SOURCES, Input, Leaf, Local, Node, Program, Ref
from snnax.interop.program.running import Runner

LAYOUT = frozenset({"permute", "alias", "clone", "detach", "transpose", "t"})
"""Operations that only turn arrays."""
_SAME = LAYOUT | {
    "view",
    "_unsafe_view",
    "reshape",
    "expand",
    "squeeze",
    "unsqueeze",
    "_to_copy",
    "contiguous",
}


@dataclass(frozen=True)
class _Made:
    """From which of the network's tensors an array is computed, and by which operations, in their order."""

    names: tuple[str, ...]
    operations: tuple[str, ...] = ()
    line: str = ""


class Weights:
    """The arrays of a program's entries that do not depend on what it is given.

    Args:
        program: the program.
        variables: its variables.
    """

    def __init__(self, program: Program, variables: Mapping[str, Any]) -> None:
        leaves = [_leaf(known, variables) for known in program.inputs]
        self._runner = Runner(program, leaves, None, False, {}, {})
        self._arrays: dict[Any, np.ndarray] = {}
        self._made: dict[Any, _Made] = {}
        for index, known in enumerate(program.inputs):
            if known.kind not in ("argument", "state"):
                self._arrays[Leaf(index)] = np.asarray(leaves[index])
                if is_held(known):
                    self._made[Leaf(index)] = _Made((known.name,))
        for place, node in enumerate(program.items):
            if isinstance(node, Node) and node.op != NEURON:
                self.compute(node, place, Ref)

    def __contains__(self, entry: Any) -> bool:
        return entry in self._arrays

    def get(self, entry: Any) -> np.ndarray | None:
        """The array of an entry; ``None`` for what differs from call to call."""
        return self._arrays.get(entry)

    def compute(self, node: Node, place: int, kind: type[Ref] | type[Local]) -> bool:
        """Compute an operation, if it gives the same in each call, and say whether; ``kind`` names its results."""
        sources = [entry for entry in node.inputs if isinstance(entry, SOURCES)]
        if not all(source in self._arrays for source in sources):
            return False
        if follows_batch(node) or operators.is_random(node.op):
            return False
        results = self._runner.operate(
            node, lambda e: self._arrays[e] if isinstance(e, SOURCES) else e, (place,)
        )
        made = _joined([self._made[source] for source in sources if source in self._made], node)
        for out, value in enumerate(results):
            if value is not None:
                self._arrays[kind(place, out)] = np.asarray(value)
                self._made[kind(place, out)] = made
        return True

    def words(self, entries: Iterable[Any]) -> str:
        """What is to be said of numbers that are computed from the network's tensors; nothing of those it holds."""
        made = [
            known
            for entry in entries
            if (known := self._made.get(entry)) and known.operations and known.names
        ]
        if not made:
            return ""
        names = dict.fromkeys(name for known in made for name in known.names)
        operations = dict.fromkeys(op for known in made for op in known.operations)
        line = next((f" ({known.line})" for known in made if known.line), "")
        return f"holds the numbers that {', '.join(operations)}{line} gives of {', '.join(names)}"


def _joined(made: list[_Made], node: Node) -> _Made:
    """What is computed from these by one operation more."""
    names = dict.fromkeys(name for known in made for name in known.names)
    operations = dict.fromkeys(op for known in made for op in known.operations)
    line = next((known.line for known in made if known.line), "")
    if node.base in _SAME:
        return _Made(tuple(names), tuple(operations), line)
    return _Made(
        tuple(names),
        (*operations, node.base) if node.base not in operations else tuple(operations),
        line or node.line,
    )


def _leaf(known: Input, variables: Mapping[str, Any]) -> Any:
    """The array of an input of the program, zeros for an argument."""
    if not is_held(known):
        return (
            np.zeros(known.result.at(1).shape, known.result.dtype)
            if known.value is None
            else jnp.asarray(known.value)
        )
    tree: Any = variables.get(collection_of(known), {})
    for part in known.name.split("."):
        tree = tree.get(part) if isinstance(tree, Mapping) else None
    return jnp.asarray(known.value if tree is None else tree)
