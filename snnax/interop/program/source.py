"""A program as the Python module that a person would write: a linen module, its loops over time as scans of flax."""

from __future__ import annotations

import re
from collections import Counter
from collections.abc import Mapping
from typing import Any

import flax.linen as nn
import numpy as np
from flax.traverse_util import unflatten_dict

import snnax
from snnax.errors import ConversionError
from snnax.interop.expressions import Writer, lines, quoted, readable
from snnax.interop.program.loop_source import Loops
from snnax.interop.program.module import Held, collection_of, is_held
from snnax.interop.program.neuron_calls import neuron_calls
from snnax.interop.program.nodes import (
    Leaf,
    Loop,
    Node,
    Program,
    Ref,
    flat,
)
from snnax.interop.program.operators.forms import ATOM, Text, call
from snnax.interop.program.statements import Book, Names, Scope, state_name

_TAKEN = ("B", "T", "jax", "jnp", "key", "nn", "np", "real", "saved", "self", "snn", "t")
_MOST_NUMBERS = 8


def program_source(
    held: Held, variables: Mapping[str, Any], arrays: dict[str, np.ndarray], origin: str, stem: str
) -> str:
    """The text of a module with the program as a class, ``Net``, and ``build()``; constants are added to ``arrays``.

    Raises:
        ConversionError: for gradients that a module could not have; names the line.
    """
    return _Source(held, variables, arrays).text(origin, stem)


class _Source:
    """One module.

    Args:
        held: the program.
        variables: its variables.
        arrays: of the file beside it, by path.
    """

    def __init__(self, held: Held, variables: Mapping[str, Any], arrays: dict[str, np.ndarray]) -> None:
        self._whole = held.program
        self._program: Program = held.program if held.program.template is None else held.program.template
        self._arrays = arrays
        for note in self._whole.notes:
            if note.kind == "data":
                raise ConversionError(
                    "the network", f"{note.text}, so that its gradients are none that source could have",
                    "Compute a new tensor instead, as w = w.clamp(0, 1). The program itself runs.", note.line,
                )  # fmt: skip
        self._book = Book(Names(_TAKEN))
        values = {
            known.name: arrays[place]
            for known in self._program.inputs
            if is_held(known)
            and (place := f"{collection_of(known)}/{known.name.replace('.', '/')}") in arrays
        }
        writer = Writer({})
        self._neurons = neuron_calls(self._program, values, held.settings, self._book.names.new, writer)
        self._book.imports |= writer.imports
        self._book.neurons = dict(self._neurons)
        self._settings = held.settings
        self._setup: list[str] = []
        self._trees: dict[tuple[str, str], str] = {}
        self._body = Scope(self._book)

    def text(self, origin: str, stem: str) -> str:
        """All of it."""
        self._body.uses = _uses(self._program)
        signature, shapes = self._arguments()
        self._held()
        loops = Loops(self._body, self._neurons, self._program.inputs)
        for place, item in enumerate(self._program.items):
            if isinstance(item, Loop):
                loops.write(place, item)
            else:
                key = f"jax.random.fold_in(key, {place})"
                self._body.node(place, item, Ref, key=key)
        self._updates()
        self._body.write(f"return {self._body.tree(self._program.outputs)}")
        return "\n".join([*self._head(origin, stem), *self._class(signature, shapes), *_BUILD, ""])

    # --- What enters

    def _arguments(self) -> tuple[list[str], str]:
        """The parameters of the call, and their shapes in words."""
        args, kwargs = self._program.arguments
        names, shapes = [], []
        for place, tree in enumerate(args):
            names.append(self._argument(tree, f"x{place}"))
        keywords = [f"{key}=None" for key in kwargs]
        for key, tree in kwargs.items():
            self._parts(tree, key)
        free: dict[Any, dict[int, str]] = {}
        for letter, pairs in (("B", self._program.batch), ("T", self._whole.time)):
            for leaf, axis in pairs:
                free.setdefault(leaf, {})[axis] = letter
        for leaf in dict.fromkeys(e for e in flat((args, kwargs)) if isinstance(e, Leaf)):
            known = self._whole.inputs[leaf.index]
            sizes = [free.get(leaf, {}).get(axis, str(n)) for axis, n in enumerate(known.result.shape)]
            shapes.append(f"{known.name} [{', '.join(sizes)}]")
        return [*names, *keywords], ", ".join(shapes)

    def _argument(self, tree: Any, wish: str) -> str:
        """The name of one argument; its arrays get their texts."""
        if isinstance(tree, Leaf):
            known = self._program.inputs[tree.index].name
            wish = known if known.isidentifier() else wish
        else:
            first = next((self._program.inputs[e.index].name for e in flat(tree) if isinstance(e, Leaf)), "")
            wish = (re.match(r"[A-Za-z_]\w*", first) or [wish])[0]
        name = self._book.names.new(wish)
        self._parts(tree, name)
        return name

    def _parts(self, tree: Any, text: str) -> None:
        if isinstance(tree, Leaf):
            result = self._program.inputs[tree.index].result
            self._body.texts[tree] = Text(text, ATOM, result.shape, result.dtype)
        elif isinstance(tree, dict):
            for key, part in tree.items():
                self._parts(part, f"{text}[{key!r}]")
        elif isinstance(tree, list | tuple):
            for place, part in enumerate(tree):
                self._parts(part, f"{text}[{place}]")

    def _held(self) -> None:
        """Parameters, buffers, states and constants."""
        inside = {f"{path}." for path, known in self._neurons.items() if known.bound}
        for index, (known, traced) in enumerate(zip(self._program.inputs, self._whole.inputs, strict=False)):
            leaf, result = Leaf(index), known.result
            if known.kind == "state":
                first, *rest = known.name.split(".")
                reads = "".join(f".get({quoted(part)}, {{}})" for part in rest)
                text = f'self.variables.get("hidden", {{}}).get({quoted(first)}, {{}}){reads}'
                text = re.sub(r", \{\}\)$", ")", text)
                self._body.texts[leaf] = self._body.assign(
                    Text(text, ATOM, result.shape, result.dtype), state_name(*_last(known.name))
                )
            elif known.kind == "constant" and not known.name:
                self._body.texts[leaf] = self._constant(index, np.asarray(traced.value))
            elif is_held(known) and known.name not in self._settings:
                if known.trained and any(known.name.startswith(path) for path in inside):
                    continue
                top, *rest = known.name.split(".")
                text = f"self.{self._tree(collection_of(known), top)}" + "".join(
                    f"[{quoted(part)}]" for part in rest
                )
                self._body.texts[leaf] = Text(text, ATOM, result.shape, result.dtype)
            elif is_held(known):
                value = np.asarray(traced.value)
                place = f"buffers/{known.name.replace('.', '/')}"
                self._body.texts[leaf] = self._constant(index, self._arrays.get(place, value))

    def _tree(self, collection: str, top: str) -> str:
        """The attribute that has the arrays of one module, or one array."""
        if (collection, top) not in self._trees:
            other = any(name == top for _, name in self._trees)
            wish = f"layer_{top}" if top[:1].isdigit() else top
            wish = f"{wish}_fixed" if other else wish
            taken = wish in {known.name for known in self._neurons.values()} or hasattr(nn.Module, wish)
            name = f"{wish}_weights" if taken else wish
            self._trees[collection, top] = re.sub(r"\W", "_", name)
            start = f'saved("{collection}/{top}")'
            if collection == "params":
                made = f"self.param({quoted(top)}, lambda _: {start})"
            else:
                made = f'self.variable("buffers", {quoted(top)}, lambda: {start}).value'
            self._setup.append(
                f"        self.{self._trees[collection, top]} = {made}  # {self._sizes(collection, top)}"
            )
        return self._trees[collection, top]

    def _sizes(self, collection: str, top: str) -> str:
        """The arrays of a module in words."""
        found = []
        for known in self._program.inputs:
            if is_held(known) and collection_of(known) == collection and known.name.split(".")[0] == top:
                if known.name in self._settings:
                    continue
                rest = known.name.partition(".")[2]
                found.append(f"{rest} {list(known.result.shape)}".strip())
        return ", ".join(found)

    def _constant(self, index: int, value: np.ndarray) -> Text:
        """An array that Python made, or a neuron's number that something else reads as well."""
        kind = self._book.type
        if not self._body.uses[Leaf(index)]:
            return Text("")
        if value.size > _MOST_NUMBERS or value.dtype.kind not in "fiub":
            self._arrays[f"constants/{index}"] = value
            made = Text(
                f'saved("constants/{index}").astype({kind(value.dtype)})', ATOM, value.shape, value.dtype
            )
            return self._body.assign(made, "constant")
        else:
            listed = np.asarray(value, float).tolist() if value.dtype.kind == "f" else value.tolist()
            shown = re.sub(r"\b(nan|inf)\b", r"jnp.\1", repr(listed))
            made = call("jnp.asarray", shown, kind(value.dtype))
        return Text(made.text, ATOM, value.shape, value.dtype)

    # --- What the call leaves behind

    def _updates(self) -> None:
        """States, buffers and parameters that the call changes."""
        kinds = {known.name: known for known in self._program.inputs}
        trees: dict[str, dict[str, str]] = {}
        for name, value in self._program.updates.items():
            known = kinds.get(name)
            collection = "hidden" if known is None or known.kind == "state" else collection_of(known)
            trees.setdefault(collection, {})[name] = str(self._body.array(value))
        for collection, found in trees.items():
            self._body.write(f'if self.is_mutable_collection("{collection}") and not self.is_initializing():')
            self._body.depth += 1
            for top, tree in unflatten_dict(found, sep=".").items():
                base = "" if collection == "hidden" else f"self.{self._tree(collection, top)}"
                self._body.write(f'self.put_variable("{collection}", {quoted(top)}, {_changed(tree, base)})')
            self._body.depth -= 1

    # --- The module around it

    def _class(self, signature: list[str], shapes: str) -> list[str]:
        book, program = self._book, self._program
        bound = [known for known in self._neurons.values() if known.bound]
        shown = readable(f"net({', '.join(signature)})")
        found = ["class Net(nn.Module):", f'    """``{shown}``: {readable(shapes)}."""', ""]
        setup = [line for known in bound for line in lines(f"self.{known.name} = ", known.module, indent=8)]
        if setup or self._setup:
            found += ["    def setup(self):", *self._setup, *setup, ""]
        found += ['    @jax.default_matmul_precision("highest")'] * book.exact
        found += [f"    def __call__({', '.join(['self', *signature])}):"]
        first = Scope(book)
        if "B" in book.used:
            leaf, axis = program.batch[0]
            first.write(f"B = {self._body.texts[leaf]}.shape[{axis}]")
        if "T" in book.used:
            leaf, axis = self._whole.time[0]
            first.write(f"T = {self._body.texts[leaf]}.shape[{axis}]")
        if "real" in book.used:
            given = ", ".join(dict.fromkeys(s.partition("=")[0] for s in signature))
            first.write(
                f"real = jnp.result_type(jnp.float32, *jax.tree.leaves(({given}, dict(self.variables))))"
            )
        if "key" in book.used:
            first.write('key = self.make_rng("draws")')
        return [*found, *first.lines, *self._body.lines, ""]

    def _head(self, origin: str, stem: str) -> list[str]:
        book = self._book
        plain = sorted(line for line in book.imports if not line.startswith("\n"))
        first = [line for line in plain if "collections" in line]
        unbound = [known for known in self._neurons.values() if not known.bound]
        return [
            f'"""A spiking network in flax{f", from {readable(origin)}" if origin else ""}.',
            "",
            f"Written by snnax {snnax.__version__}; its weights are in {readable(stem)}.npz beside this file.",
            "Comments have the lines of the network that it was ported from.",
            '"""',
            "",
            *first,
            "from pathlib import Path",
            "",
            "import flax.linen as nn",
            "import jax",
            "import jax.numpy as jnp",
            "import numpy as np",
            "import snnax as snn",
            "from flax.traverse_util import unflatten_dict",
            *(line for line in plain if line not in first),
            *(line for line in sorted(book.imports) if line.startswith("\n")),
            "",
            "",
            *_SAVED,
            "",
            *(line for known in unbound for line in lines(f"{known.name} = ", known.module, indent=0)),
            *[""] * (1 + bool(unbound)),
        ]


_SAVED = '''def saved(path):
    """The arrays under this path in the file beside this one."""
    with np.load(Path(__file__).with_suffix(".npz")) as file:
        found = {name: jnp.asarray(file[name]) for name in file if f"{name}/".startswith(path)}
    depth = len(path.split("/")) if path else 0
    found = {tuple(name.split("/"))[depth:]: array for name, array in found.items()}
    return found[()] if () in found else unflatten_dict(found)'''.splitlines()

_BUILD = '''
def build():
    """The network and its variables; run them with ``model.apply(variables, ...)``."""
    return Net(), {name: tree for name, tree in saved("").items() if name != "constants"}'''.splitlines()


def _uses(program: Program) -> Counter[Any]:
    """How often each source outside of loops is read; what a loop reads stays where it is."""
    found: Counter[Any] = Counter()
    for item in program.items:
        if isinstance(item, Node):
            found.update(e for e in item.inputs if isinstance(e, Ref | Leaf))
            continue
        found.update(
            e for e in flat((item.sequences, [h.init for h in item.carries])) if isinstance(e, Ref | Leaf)
        )
        inside = {e for node in item.body for e in node.inputs if isinstance(e, Ref | Leaf)}
        inside |= {
            e
            for e in flat([(h.new for h in item.carries), (k.value for k in item.kept)])
            if isinstance(e, Ref | Leaf)
        }
        for entry in inside:
            found[entry] += 2
    found.update(e for e in flat((program.outputs, program.updates)) if isinstance(e, Ref | Leaf))
    return found


def _last(name: str) -> tuple[str, str]:
    """A state and its neuron's path."""
    path, _, state = name.rpartition(".")
    return state, path


def _changed(tree: Any, base: str) -> str:
    """A tree of texts; ``base`` is the one whose entries it changes."""
    if not isinstance(tree, dict):
        return str(tree)
    parts = [f"**{base}"] if base else []
    parts += [
        f"{quoted(key)}: {_changed(part, f'{base}[{quoted(key)}]' if base else '')}"
        for key, part in tree.items()
    ]
    return "{" + ", ".join(parts) + "}"
