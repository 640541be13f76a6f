"""The operations of a program as Python statements, in the order in which they run."""

from __future__ import annotations

import builtins
import keyword
import re
from collections import Counter
from collections.abc import Iterable
from dataclasses import dataclass, field, replace
from typing import Any

import numpy as np

from snnax.errors import ConversionError
from snnax.interop.expressions import quoted
from snnax.interop.program import operators
from snnax.interop.program.lengths import Both, Line, Share
from snnax.interop.program.nodes import (
    FACTORIES,
    NEURON,
    PULLBACK,
    SOURCES,
    STRAIGHT,
    SURROGATE,
    Affine,
    Given,
    Local,
    Node,
    NoState,
    Ref,
    Result,
    flat,
    mapped,
)
from snnax.interop.program.operators.forms import ATOM, PRODUCT, SIGN, SUM, Text, Words, call, forms, infix

SHORT = 44
"""What is read once, and no longer than that, stands where it is read."""
WIDTH = 100
_PLAIN = re.compile(r'[A-Za-z_]\w*(\["\w+"\]|\.\w+)*')
_ORDINARY = re.compile(r"(lif|neuron|spike|spk)?_?")
_DERIVATIVES = "from snnax.interop.program.derivatives import "
_OPERATORS = "from snnax.interop.program.operators import aten"


class Names:
    """Identifiers, each for one thing."""

    def __init__(self, taken: Iterable[str]) -> None:
        self._taken = {*taken, *keyword.kwlist, *dir(builtins)}

    def new(self, wish: str) -> str:
        """An identifier like ``wish`` that nothing else has."""
        plain = re.sub(r"\W", "_", wish) or "h"
        plain = f"h{plain}" if plain[0].isdigit() else plain
        name, number = plain, 2
        while name in self._taken:
            name, number = f"{plain}_{number}", number + 1
        self._taken.add(name)
        return name


@dataclass
class Book:
    """What all of a module's source shares.

    Attributes:
        names: of its variables.
        neurons: the call of each neuron, by path.
        imports: further lines.
        used: of ``B``, ``T``, ``real`` and ``key``, those that occur.
        exact: something in it is a product, which must be computed in full precision.
    """

    names: Names
    neurons: dict[str, Any] = field(default_factory=dict)
    imports: set[str] = field(default_factory=set)
    used: set[str] = field(default_factory=set)
    exact: bool = False

    def type(self, dtype: np.dtype[Any]) -> str:
        """A data type; single precision is that of the call."""
        if dtype == np.float32:
            self.used.add("real")
            return "real"
        words = {"float64": "float", "int64": "int", "bool": "bool"}
        return words.get(dtype.name, f"jnp.{dtype.name}")

    def number(self, value: Any) -> Text:
        """A number, which may follow the batch or the steps."""
        if isinstance(value, Text):
            return value
        if isinstance(value, Affine | Both):
            return self._line(value.slope, "B", value.offset)
        if isinstance(value, Line):
            made = self._line(value.slope, "T", value.offset)
            return made if value.kind is int else call("float", made)
        if isinstance(value, Share):
            self.used.add("T")
            return Text(f"{value.total} / T", PRODUCT)
        if isinstance(value, float) and not np.isfinite(value):
            words = "jnp.nan" if np.isnan(value) else "jnp.inf" if value > 0 else "-jnp.inf"
            return Text(words, SIGN if words[0] == "-" else ATOM)
        negative = isinstance(value, int | float) and value < 0
        return Text(repr(value), SIGN if negative else ATOM)

    def _line(self, slope: Any, name: str, offset: Any) -> Text:
        """``slope * name + offset``."""
        self.used.add(name)
        made = Text(name) if slope == 1 else infix("*", self.number(slope), Text(name), PRODUCT)
        if offset == 0:
            return made
        less = isinstance(offset, int) and offset < 0
        return infix("-" if less else "+", made, self.number(-offset if less else offset), SUM)


class Scope:
    """Statements of one function.

    Args:
        book: of the module.
        outer: the scope around it.
        depth: how far it is indented.
    """

    def __init__(self, book: Book, outer: Scope | None = None, depth: int = 2) -> None:
        self.book, self.outer, self.depth = book, outer, depth
        self.texts: dict[Any, Text] = {}
        self.lines: list[str] = []
        self.uses: Counter[Any] = Counter()
        self._line = ""

    # --- What stands for a source

    def text(self, entry: Any) -> Any:
        """What stands for a source; literals stand for themselves."""
        if isinstance(entry, NoState):
            return None
        if not isinstance(entry, (*SOURCES, Given)):
            return entry
        if entry in self.texts or self.outer is None:
            return self.texts[entry]
        return self.outer.text(entry)

    def array(self, entry: Any) -> Text:
        """The same, a literal number as text."""
        found = self.text(entry)
        return found if isinstance(found, Text) else self.book.number(found)

    def tree(self, tree: Any) -> str:
        """Lists, tuples and dicts of sources and literals."""
        if isinstance(tree, dict):
            keys = {key: quoted(key) if isinstance(key, str) else repr(key) for key in tree}
            return "{" + ", ".join(f"{keys[key]}: {self.tree(part)}" for key, part in tree.items()) + "}"
        if isinstance(tree, list):
            return f"[{', '.join(map(self.tree, tree))}]"
        if isinstance(tree, tuple):
            if hasattr(tree, "_fields"):
                kind, names = type(tree).__name__, " ".join(tree._fields)
                self.book.imports.add("from collections import namedtuple")
                self.book.imports.add(f"\n{kind} = namedtuple({kind!r}, {names!r})")
                return f"{kind}({', '.join(map(self.tree, tree))})"
            return f"({', '.join(map(self.tree, tree))}{',' if len(tree) == 1 else ''})"
        if isinstance(tree, np.dtype):
            return self.book.type(tree)
        found = self.text(tree)
        return str(found if isinstance(found, Text) else self.book.number(found))

    # --- Statements

    def write(self, statement: str, line: str = "") -> None:
        """Add a statement, with the line of the user's file where that is another one."""
        note = f"# {line}" if line and line != self._line else ""
        self._line = line or self._line
        space = "    " * self.depth
        if note and len(space + statement + note) > WIDTH - 2:
            self.lines += [space + note, space + statement]
        else:
            self.lines.append(space + statement + (f"  {note}" if note else ""))

    def assign(self, value: Text, wish: str, line: str = "") -> Text:
        """Give an expression a name."""
        name = self.book.names.new(wish)
        self.write(f"{name} = {value}", line)
        return replace(value, text=name, level=ATOM)

    def named(self, value: Text) -> Text:
        """A text that may be read twice."""
        number = re.fullmatch(r"-?[\d.e-]+", value.text)
        return value if number or _PLAIN.fullmatch(value.text) else self.assign(value, "h")

    def keep(self, source: Any, value: Text, wish: str, line: str) -> None:
        """Let a source be an expression, or a name of it where it is read twice, or long."""
        brief = self.uses[source] == 1 and len(value.text) <= SHORT
        if brief or _PLAIN.fullmatch(value.text):
            self.texts[source] = value
        else:
            self.texts[source] = self.assign(value, wish, line)

    # --- Operations

    def node(
        self, place: int, node: Node, kind: type[Ref] | type[Local], *, key: str = "", name: str = ""
    ) -> None:
        """One operation.

        Args:
            place: of it.
            node: the operation.
            kind: what its results are as sources.
            key: the text of its key, if it draws random numbers.
            name: that its result gets.
        """
        if (
            node.function is not None
            and node.function.untraced
            and node.op not in (SURROGATE, STRAIGHT, PULLBACK)
        ):
            raise ConversionError(
                node.path or "the network",
                f"{node.function.kind} defines a gradient of its own: {node.function.untraced}",
                "Write that function with operations of torch; the program itself runs.", node.line,
            )  # fmt: skip
        if node.op == NEURON:
            self.neuron(place, node, kind)
        elif node.op == PULLBACK:
            self._pullback(place, node, kind)
        else:
            made = self._expression(node, key)
            results = [
                replace(m, shape=r.shape, dtype=r.dtype) for m, r in zip(made, node.results, strict=False)
            ]
            if name:
                self.write(f"{name} = {_stopped(node, results[0])}", node.line)
                self.texts[kind(place)] = replace(results[0], text=name, level=ATOM)
            elif len(node.results) == 1:
                self.keep(kind(place), _stopped(node, results[0]), self._wish(node), node.line)
            else:
                self._several([kind(place, out) for out in range(len(node.results))], node, made[0])

    def _several(self, sources: list[Any], node: Node, made: Text) -> None:
        """What gives several results, by names."""
        names = []
        for source, result in zip(sources, node.results, strict=True):
            wish = self._wish(node) if self.uses[source] else ""
            names.append(self.book.names.new(wish) if wish else "_")
            self.texts[source] = Text(names[-1], ATOM, result.shape, result.dtype)
        self.write(f"{', '.join(names)}{',' if len(names) == 1 else ''} = {_stopped(node, made)}", node.line)

    def _expression(self, node: Node, key: str) -> list[Text]:
        """The result of an operation; of several a call that gives all of them."""
        book = self.book
        args, kwargs = mapped(node.args, self.text), mapped(node.kwargs, self.text)
        result = node.results[0]
        if node.op == SURROGATE:
            x, name, options, *more = args
            if more and more[0]:
                book.imports.add(f"{_DERIVATIVES}spikes")
                return [call("spikes", x, repr(name), repr(options), True)]
            return [Text(f"{call(f'snn.surrogate.{name}', **options)}({x})")]
        if node.op == STRAIGHT:
            book.imports.add(f"{_DERIVATIVES}straight")
            return [call("straight", *args)]
        words = Words(result.shape, result.dtype, book.type, book.number, self.named)
        form = forms.entries.get(node.op)
        kwargs = {k: v for k, v in kwargs.items() if k not in ("dtype", "layout", "pin_memory", "device")}
        made = form(words, *args, **kwargs) if form is not None else None
        book.exact |= node.base in (
            "convolution",
            "mm",
            "mv",
            "dot",
            "matmul",
            "bmm",
            "addmm",
            "addmv",
            "baddbmm",
        )
        if isinstance(made, Text):
            return [made]
        book.imports.add(_OPERATORS)
        gives = [book.type(r.dtype) for r in node.results]
        if operators.is_random(node.op):
            book.used.add("key")
        named = {name: self.tree(value) for name, value in node.kwargs.items() if name in kwargs}
        shown = gives[0] if len(gives) == 1 else f"({', '.join(gives)})"
        named |= {"key": key} if operators.is_random(node.op) else {}
        return [call("aten", f'"{node.op}"', *map(self.tree, node.args), **named, gives=shown)]

    def _wish(self, node: Node) -> str:
        """What a person might call the result."""
        if node.op == SURROGATE:
            return "spk"
        if node.layer is not None and node.layer.path and node.base not in ("permute", "view", "t"):
            return node.layer.path.replace(".", "_")
        return "h"

    # --- Neurons, and functions with a backward of their own

    def neuron(self, place: int, node: Node, kind: type[Ref] | type[Local]) -> None:
        """A call of a neuron, whose new states have the names of the old ones where nothing else reads those."""
        known = self.book.neurons[node.path]
        x, states, parameters = node.args
        results = {name: out + 1 for out, name in enumerate(states)}
        read = [self.text(state) for state in states.values()]
        given = {k: self.text(p) for k, p in parameters.items() if p is not None and not known.bound}
        made = known.call(self.array(x), read, given)
        names: list[str] = []
        for out, name in enumerate(["spk", *(n for n in states if n != "spk")]):
            sources = [kind(place, results[name])] if name in results else []
            sources += [kind(place)] if not out else []
            here = self._state_name(name, states.get(name), node, sources)
            names.append(here)
            for source in sources:
                result = node.results[source.out]
                self.texts[source] = Text(here, ATOM, result.shape, result.dtype)
        self.write(f"{', '.join(names)}{',' if len(names) == 1 else ''} = {made}", node.line)
        if known.turned:
            for name in dict.fromkeys(names):
                if name != "_":
                    self.write(f"{name} = jnp.moveaxis({name}, -1, 1)")

    def _state_name(self, name: str, before: Any, node: Node, sources: list[Any]) -> str:
        if not any(self.uses[source] for source in sources):
            return "_"
        old = self.texts.get(before)
        if old is not None and self.uses[before] == 1 and re.fullmatch(r"[A-Za-z_]\w*", old.text):
            return old.text
        return self.book.names.new(state_name(name, node.path))

    def _pullback(self, place: int, node: Node, kind: type[Ref] | type[Local]) -> None:
        """Values, and the function that computes the gradients of the inputs."""
        values, inputs, operations, ends = node.args
        book = self.book
        book.imports.add(f"{_DERIVATIVES}pullback")
        name = book.names.new("backward")
        self.write(f"def {name}(inputs, gradients):", node.line)
        inner = Scope(book, self, self.depth + 1)
        for index, entry in enumerate(inputs):
            if entry is not None:
                inner.texts[Given("input", index)] = replace(
                    self.array(entry), text=f"inputs[{index}]", level=ATOM
                )
        for index, entry in enumerate(values):
            given = replace(self.array(entry), text=f"gradients[{index}]", level=ATOM)
            inner.texts[Given("gradient", index)] = given
        inner.uses.update(e for e in flat((operations, ends)) if isinstance(e, Given))
        for index, (op, args, kwargs, shapes) in enumerate(operations):
            results = tuple(Result(tuple(shape), np.dtype(dtype)) for shape, dtype in shapes)
            inner.given(index, Node(op, args, kwargs, results))
        found = []
        for end, entry in zip(ends, inputs, strict=True):
            text = None if end is None else inner.array(end)
            if text is not None and text.dtype != self.array(entry).dtype:
                text = call("jnp.asarray", text, f"{self.array(entry)}.dtype")
            found.append(str(text))
        inner.write(f"return [{', '.join(found)}]")
        self.lines += inner.lines
        made = call("pullback", self.tree(values), self.tree(inputs), name)
        self._several([kind(place, out) for out in range(len(node.results))], node, made)

    def given(self, index: int, node: Node) -> None:
        """One operation of a derivative."""
        made = self._expression(node, "")
        sources = [Given("operation", index, out) for out in range(len(node.results))]
        if len(sources) == 1:
            text = replace(made[0], shape=node.results[0].shape, dtype=node.results[0].dtype)
            self.keep(sources[0], text, "h", "")
        else:
            self._several(sources, node, made[0])


def state_name(name: str, path: str) -> str:
    """``mem2`` for the membrane of ``lif2``, ``mem_out`` for that of ``lif_out``."""
    number = re.fullmatch(r"[a-z]+(\d+)", path)
    if number:
        return name + number[1]
    rest = path.removeprefix("lif_").replace(".", "_")
    return name if _ORDINARY.fullmatch(rest) else f"{name}_{rest}"


def _stopped(node: Node, made: Text) -> Text:
    """Without gradient, under ``torch.no_grad()``."""
    if node.gradient or node.base in FACTORIES or node.results[0].dtype.kind != "f" or node.op == "detach":
        return made
    return replace(made, text=str(call("jax.lax.stop_gradient", made)), level=ATOM)
