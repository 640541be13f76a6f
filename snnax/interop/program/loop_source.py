"""The loops of a program in source: a function of one step, and the scan of it."""

from __future__ import annotations

from collections import Counter
from collections.abc import Mapping
from itertools import pairwise
from typing import Any

import numpy as np

from snnax.interop.expressions import call as bracket
from snnax.interop.expressions import lines
from snnax.interop.program.lengths import Count
from snnax.interop.program.neuron_calls import NeuronCall
from snnax.interop.program.nodes import (
    NEURON,
    Affine,
    Carry,
    Handed,
    Input,
    Leaf,
    Local,
    Loop,
    Node,
    NoState,
    PerStep,
    Ref,
    Sequence,
)  # fmt: skip
from snnax.interop.program.operators.forms import ATOM, PRODUCT, SUM, Text, call
from snnax.interop.program.statements import Scope, state_name


class Loops:
    """Writes loops.

    Args:
        body: the statements around them.
        neurons: by path.
        inputs: of the program.
    """

    def __init__(self, body: Scope, neurons: Mapping[str, NeuronCall], inputs: list[Input]) -> None:
        self._book, self._body, self._neurons, self._inputs = body.book, body, neurons, inputs

    def write(self, place: int, loop: Loop) -> None:
        """A loop over time, as a function of one step and the scan of it."""
        book, outer = self._book, self._body
        bound = any(node.op == NEURON and self._neurons[node.path].bound for node in loop.body)
        inner = Scope(book, outer, outer.depth + 1)
        inner.uses = _uses_inside(loop)
        names = [self._carry_name(loop, index, handed) for index, handed in enumerate(loop.carries)]
        for index, (name, handed) in enumerate(zip(names, loop.carries, strict=True)):
            inner.texts[Carry(index)] = Text(name, ATOM, handed.result.shape, handed.result.dtype)
        entries, inputs = [], []
        for index, source in enumerate(loop.sequences):
            text = self._sequence(source)
            wish = f"{text}_t" if text.text.isidentifier() else "x_t"
            name = book.names.new(wish if not isinstance(source, PerStep | Count) else "number")
            entries.append(name)
            inputs.append(text.text)
            shape = None if text.shape is None else text.shape[1:]
            inner.texts[Sequence(index)] = Text(name, ATOM, shape, text.dtype)
        rebound = self._rebound(loop, names)
        for index, node in enumerate(loop.body):
            key = f"jax.random.fold_in(jax.random.fold_in(jax.random.fold_in(key, {place}), {index}), t)"
            inner.node(index, node, Local, key=key, name=rebound.get(index, ""))
        drawn = any("fold_in" in line for line in inner.lines)
        if drawn:
            entries.append("t")
            inputs.append(f"jnp.arange({book.number(loop.steps)})")
        steps = {handed.new: index for index, handed in enumerate(loop.carries)}
        last = [None if kept.every else steps.get(kept.value) for kept in loop.kept]
        news = [str(self._as(inner.array(h.new), h)) for h in loop.carries]
        stacked = [
            str(inner.array(kept.value)) for kept, end in zip(loop.kept, last, strict=True) if end is None
        ]
        starts = [str(self._start(handed)) for handed in loop.carries]
        step = book.names.new("step")
        head = ["self"] * bound + [
            names[0] if len(names) == 1 else "carry",
            entries[0] if len(entries) == 1 else "inputs" if entries else "_",
        ]
        inner_head = [f"{', '.join(names)} = carry"] * (len(names) > 1)
        inner_head += [f"{', '.join(entries)} = inputs"] * (len(entries) > 1)
        if outer.lines and outer.lines[-1]:
            outer.lines.append("")
        outer.write(f"def {step}({', '.join(head)}):")
        outer.lines += ["    " * inner.depth + line for line in inner_head] + inner.lines
        inner.lines = []
        inner.write(f"return {_packed(news)}, {_packed(stacked)}")
        outer.lines += [*inner.lines, ""]
        self._scan(place, loop, names, last, bound, step, starts, inputs)

    def _scan(
        self, place: int, loop: Loop, names: list[str], last: list[int | None], bound: bool, step: str,
        starts: list[str], inputs: list[str],
    ) -> None:  # fmt: skip
        """The scan of a step, and names for what it gives."""
        outer, book = self._body, self._book
        length = "" if inputs else f", length={book.number(loop.steps)}"
        needed = {
            end
            for end, index in zip(last, range(len(last)), strict=True)
            if end is not None and outer.uses[Ref(place, index)]
        }
        ends = [name if index in needed else "_" for index, name in enumerate(names)]
        gets: list[str] = []
        late: list[str] = []
        for index, (kept, end) in enumerate(zip(loop.kept, last, strict=True)):
            result = kept.result
            if end is not None:
                handed = loop.carries[end].result
                outer.texts[Ref(place, index)] = Text(names[end], ATOM, handed.shape, handed.dtype)
                continue
            wish = self._kept_name(loop, kept.value)
            name = book.names.new(f"{wish}_rec" if kept.every else f"{wish}_all")
            gets.append(name)
            text = name
            if not kept.every:
                text = book.names.new(f"{wish}_last")
                late.append(f"{text} = {name}[-1]")
            outer.texts[Ref(place, index)] = Text(text, ATOM, result.shape, result.dtype)
        ends = ends if any(end != "_" for end in ends) else ["_"]
        target = f"{_target(ends)}, {_target(gets)}"
        if bound:
            made = bracket(
                f'nn.scan({step}, variable_broadcast=("params", "buffers"){length})',
                ["self", _packed(starts), _packed(inputs)],
            )
        else:
            made = bracket(
                "jax.lax.scan", [step, _packed(starts), _packed(inputs), *[length[2:]][: len(length)]]
            )
        outer.lines += [*lines(f"{target} = ", made, indent=4 * outer.depth)]
        for line in late:
            outer.write(line)

    def _carry_name(self, loop: Loop, index: int, handed: Handed) -> str:
        """A name for what steps hand on: that of the neuron's state, or of the sum, that it is."""
        new, wish = handed.new, "held"
        if isinstance(new, Local):
            node = loop.body[new.node]
            if node.op == NEURON:
                wish = state_name(_result_name(node, new.out), node.path)
                if not (new.out and self._is_alone(loop, index, new.node)):
                    wish += "_prev"
            elif node.base == "add":
                wish = "total"
        return self._book.names.new(wish)

    def _is_alone(self, loop: Loop, index: int, place: int) -> bool:
        """Whether one operation alone reads a carry."""
        return _uses_inside(loop)[Carry(index)] == 1 and Carry(index) in loop.body[place].inputs

    def _rebound(self, loop: Loop, names: list[str]) -> dict[int, str]:
        """Operations whose result gets the name of the carry that becomes it."""
        found: dict[int, str] = {}
        for index, handed in enumerate(loop.carries):
            new = handed.new
            if not isinstance(new, Local) or new.node in found or not self._is_alone(loop, index, new.node):
                continue
            node = loop.body[new.node]
            if node.op != NEURON and len(node.results) == 1:
                found[new.node] = names[index]
        return found

    def _kept_name(self, loop: Loop, value: Any) -> str:
        if isinstance(value, Local) and loop.body[value.node].op == NEURON:
            node = loop.body[value.node]
            return state_name(_result_name(node, value.out), node.path)
        return "h"

    def _sequence(self, source: Any) -> Text:
        """A sequence over time."""
        if isinstance(source, Count):
            return self._counted(source.first, source.by, source.steps)
        if isinstance(source, PerStep):
            values = source.values
            if all(isinstance(v, int) and not isinstance(v, bool) for v in values):
                by = {b - a for a, b in pairwise(values)}
                if len(by) == 1 and 0 not in by:
                    return self._counted(values[0], by.pop(), len(values))
            shown = f"[{', '.join(str(self._book.number(v)) for v in values)}]"
            return Text(
                f"jnp.asarray({shown})",
                ATOM,
                (len(values),),
                np.dtype(np.int64 if isinstance(values[0], int | Affine) else np.float64),
            )
        text = self._body.array(source)
        return text if text.text.isidentifier() else self._body.named(text)

    def _counted(self, first: Any, by: int, steps: Any) -> Text:
        """``first``, ``first + by`` and so on."""
        count = self._book.number(steps)
        made = call("jnp.arange", count)
        if by != 1:
            made = Text(f"{made} * {by}", PRODUCT) if by else Text(f"jnp.zeros({count}, int)")
        if first != 0:
            made = Text(f"{self._book.number(first)} + {made}", SUM)
        return Text(made.text, made.level, (steps,), np.dtype(np.int64))

    def _start(self, handed: Handed) -> Text:
        """What the first step finds."""
        book, result = self._book, handed.result
        sizes = Scope(book).tree(tuple(result.shape)) if result.shape else "()"
        kind = book.type(result.dtype)
        if isinstance(handed.init, NoState) or handed.init == 0:
            return call("jnp.zeros", sizes, kind)
        text = self._body.text(handed.init)
        if not isinstance(text, Text):
            return call("jnp.full", sizes, book.number(text), kind)
        if isinstance(handed.init, Leaf) and self._inputs[handed.init.index].kind == "state":
            return Text(f"jnp.zeros({sizes}, {kind}) if {text} is None else {text}", 0)
        return self._as(text, handed)

    def _as(self, text: Text, handed: Handed) -> Text:
        """A value in the shape and type of a carry."""
        if text.shape is None:
            return call(
                "jnp.full",
                Scope(self._book).tree(tuple(handed.result.shape)),
                text,
                self._book.type(handed.result.dtype),
            )
        if text.dtype != handed.result.dtype:
            text = Text(
                f"{text.within(ATOM)}.astype({self._book.type(handed.result.dtype)})", ATOM, text.shape
            )
        if text.shape != handed.result.shape:
            text = call("jnp.broadcast_to", text, Scope(self._book).tree(tuple(handed.result.shape)))
        return text


def _uses_inside(loop: Loop) -> Counter[Any]:
    """How often each source of a step is read in it; what steps hand on, or keep, has a name."""
    found: Counter[Any] = Counter(
        e for node in loop.body for e in node.inputs if isinstance(e, Local | Carry | Sequence)
    )
    for handed in loop.carries:
        found[handed.new] += 2 if isinstance(handed.new, Local) else 1
    for kept in loop.kept:
        found[kept.value] += 2 if isinstance(kept.value, Local) else 1
    return found


def _result_name(node: Node, out: int) -> str:
    states = list(node.args[1])
    return "spk" if not out else states[out - 1]


def _packed(texts: list[str]) -> str:
    """Several expressions as a tuple, one as itself."""
    if not texts:
        return "None"
    return texts[0] if len(texts) == 1 else f"({', '.join(texts)})"


def _target(names: list[str]) -> str:
    if not names:
        return "_"
    return names[0] if len(names) == 1 else f"({', '.join(names)})"
