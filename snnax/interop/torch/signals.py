"""What each operation of a traced call means in a graph of layers.

An operation that means nothing there is remembered as unsupported and refused only if an output or a neuron depends on
it, so that statistics kept on the side do no harm.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator, Sequence
from contextlib import contextmanager
from typing import TYPE_CHECKING, Any, Literal

import torch
from torch import Tensor, nn

from snnax.errors import ConversionError
from snnax.interop.program.cleaning import result_of
from snnax.interop.program.nodes import STRAIGHT, Leaf, Node, Ref, Result
from snnax.interop.torch.dispatch import ZEROS, Dispatcher, shares_memory
from snnax.interop.torch.frames import place
from snnax.interop.torch.leaves import Leaves
from snnax.interop.torch.records import Kind, Op, Value
from snnax.interop.torch.values import Form, View
from snnax.interop.torch.watching import attribute

if TYPE_CHECKING:
    from snnax.interop.frameworks.adapter import Adapter

_OUTSIDE = "Return the per-step outputs, as torch.stack(spk_rec), and reduce them outside the network."
_FRAME = "Encode the input before the network, or call the layers on the same frame in each step."
_REMEDIES = {
    "sum": _OUTSIDE,
    "mean": _OUTSIDE,
    "cat": "Give each branch its own nn.Linear and add the results.",
    "matmul": "Use nn.Linear.",
    "linear": "Use parameters of the network as they are: F.linear(x, self.weight, self.bias).",
    "conv1d": "Use parameters of the network as they are: F.conv1d(x, self.weight, self.bias).",
    "conv2d": "Use parameters of the network as they are: F.conv2d(x, self.weight, self.bias).",
    "getitem": "Only time may be indexed, x[t] of x[T, B, ...]; select channels outside the network.",
    "bernoulli": "Encode the input before the network: net(spikegen.rate(x, num_steps)).",
    "repeat": _FRAME,
    "expand": _FRAME,
}
_REMEDY = (
    "Between layers, forward may add and subtract signals, scale them by numbers, flatten and reshape, "
    "pool, and index time; move anything else outside the network."
)

_OF_SHAPE = frozenset({
    "zeros_like", "ones_like", "empty_like", "full_like", "rand_like", "randn_like", "new_zeros", "new_ones",
    "new_empty", "new_full",
})  # fmt: skip
"""Operations that need the shape of their input, and none of its values."""

_NO_GRADIENTS = (
    "its forward switches gradients off there, where those of a graph of layers go on",
    "Take out torch.no_grad(), or let from_torch port it as a program.",
)
_LAYER = "layer"
_VIEW = torch.ops.aten.view.default
_TENSOR = (Leaf, Ref)

quietly = torch._C.DisableTorchFunction
"""Whoever sees the functions that ``forward`` calls need not see those that are called here."""


def _learns(module: nn.Module) -> bool:
    return any(parameter.requires_grad for parameter in module.parameters())


def tensors_in(thing: Any) -> Iterator[Tensor]:
    """All tensors in nested lists, tuples and dicts."""
    if isinstance(thing, Tensor):
        yield thing
    elif isinstance(thing, list | tuple):
        for part in thing:
            yield from tensors_in(part)
    elif isinstance(thing, dict):
        yield from tensors_in(list(thing.values()))


class Signals(Dispatcher):
    """Writes down what one call computes from the sample; all else, as weights, torch computes as it always does.

    Views and zeros are written down too: a signal may be written into them.

    Args:
        label: what to call the network.
        leaves: what no operation made.
        net: the user's network.
        adapter: its framework.

    Attributes:
        ops: in order of execution.
        problems: why the network cannot be converted, as far as the call shows it.
        function: the function of torch that runs, and a number of its own.
    """

    def __init__(self, label: str, leaves: Leaves, net: nn.Module, adapter: Adapter) -> None:
        super().__init__(label, leaves.other)
        self.ops: list[Op] = []
        self.problems: list[ConversionError] = []
        self.function: tuple[str, int] | None = None
        self._leaves, self._net, self._adapter = leaves, net, adapter
        self._signals: dict[Any, Value] = {}
        self._unsupported: dict[int, Op] = {}
        self._trained: set[Op] = set()  # what depends on parameters that are trained
        self._here: Any = None

    def argument(self, tensor: Tensor, name: str, position: int) -> None:
        """Say that ``tensor`` is an argument of the call."""
        leaf = self._leaves.argument(tensor, name)
        self._begin(leaf, tensor, "arg", name, self.label, position=position)

    def state(self, tensor: Tensor, name: str, path: str, module: nn.Module) -> None:
        """Say that ``tensor`` is a state that a neuron has kept."""
        leaf = self._leaves.state(f"{path}.{name}", Form.of(tensor))
        self._begin(leaf, tensor, "state", name, path, module=module)

    def refuse(self, error: ConversionError) -> None:
        """Remember why the network cannot be converted; the call goes on, to find out what else there is."""
        line = error.line or place().line
        self.problems.append(type(error)(error.node, error.problem, error.remedy, line))

    def _begin(self, leaf: Leaf, tensor: Tensor, kind: Kind, name: str, where: str, **details: Any) -> None:
        op = self._add(kind, name, where, shape=tuple(tensor.shape), **details)
        self._signals[leaf] = Value(op, "out", op.shape)
        self.values.bind(tensor, leaf)

    def _add(self, kind: Kind, name: str, where: str, **details: Any) -> Op:
        line = "" if self._here is None else self._here.line
        op = Op(len(self.ops), kind, name, where, line=line, **details)
        self.ops.append(op)
        before = [value.op for value in (*op.inputs, *op.states.values()) if value is not None]
        module = op.held or op.module
        if not self._trained.isdisjoint(before) or (module is not None and _learns(module)):
            self._trained.add(op)
        return op

    # --- Values

    def find(self, source: Any) -> Value | None:
        """The value of an entry of the arguments; None for what is not computed from the sample."""
        return self._signals.get(source) if isinstance(source, _TENSOR) else None

    def follows(self, tensors: Iterable[Tensor]) -> bool:
        """Whether one of the tensors is computed from the sample."""
        with quietly():
            return any(map(self._signals.get, self.values.known(tensors)))

    def following(self, tensors: Sequence[Tensor]) -> list[Tensor]:
        """Those tensors that are computed from the sample."""
        with quietly():
            known = self.values.known(tensors)
        return [tensor for tensor, value in zip(tensors, known, strict=True) if self.find(value)]

    def of(self, tensor: Tensor) -> Value | None:
        """The value of a tensor; None for what is not computed from the sample."""
        with quietly():
            return self.find(self.read(tensor))

    def output(self, tensor: Tensor) -> Value:
        """The value of a tensor that ``forward`` returns."""
        self._here = None
        return self._signal(self.read(tensor), "an output", self.label, tuple(tensor.shape))

    def _signal(self, source: Any, reader: str, where: str, shape: tuple[int, ...]) -> Value:
        """The value that ``reader`` takes as a signal; what is none is refused if anything depends on it."""
        value = self.find(source)
        if value is not None:
            return value
        problem = (
            f"{reader} is a tensor that is not computed from the sample in a way that can be followed: a parameter, a "
            "constant, a custom function, or feedback from the step before"
        )
        remedy = self._adapter.words.untraced
        op = self._add("unsupported", reader, where, problem=problem, remedy=remedy)
        return Value(op, "out", shape)

    def _form(self, source: Any) -> Result:
        return result_of(source, self.nodes, self._leaves.inputs)

    def _shape(self, source: Any) -> tuple[int, ...]:
        shape: Any = self._form(source).shape
        return shape

    def _read(self, entry: Any, reader: str) -> Value:
        return self._signal(entry, reader, self._where, self._shape(entry))

    @property
    def _name(self) -> str:
        """The function that runs."""
        return self.function[0] if self.function is not None else self._here.base.strip("_")

    @property
    def _where(self) -> str:
        return self._here.path or self.label

    @contextmanager
    def unseen(self) -> Iterator[None]:
        """As the dispatcher has it, and autograd keeps nothing; whether ``forward`` has gradients on is noted."""
        if not self.paused:
            self.gradients = torch.is_grad_enabled()
        with super().unseen(), torch.no_grad():
            yield

    def _without_gradients(self, op: Op) -> None:
        """A layer that no gradient goes through: refused if anything depends on it, as on a neuron all does."""
        if op.kind in ("neuron", "sequence"):
            self.refuse(ConversionError(op.name, *_NO_GRADIENTS))
        else:
            op.kind = "unsupported"
            op.where, (op.problem, op.remedy) = op.name, _NO_GRADIENTS

    # --- Operations

    def __torch_dispatch__(self, func: Any, types: Any, args: Any = (), kwargs: Any = None) -> Any:
        if self.paused or self._is_seen(func, (args, kwargs)):
            return super().__torch_dispatch__(func, types, args, kwargs)
        if func._schema.is_mutable and isinstance(args[0], Tensor):
            self.values.forget(args[0])
        return func(*args, **(kwargs or {}))

    def _is_seen(self, func: Any, given: Any) -> bool:
        schema = func._schema
        view = not schema.is_mutable and any(value.alias_info is not None for value in schema.returns)
        name = schema.name.partition("::")[2]
        return name in ZEROS or (view and name != "as_strided") or self.follows(tensors_in(given))

    def emit(self, op: Any, args: Any, kwargs: Any, results: Sequence[Form], path: str | None = None) -> int:
        """Append an operation, and what it means."""
        number = super().emit(op, args, kwargs, results, path)
        node = self._here = self.nodes[number]
        unknown = node.function is not None or node.base in _OF_SHAPE
        if not unknown and any(self.find(entry) for entry in node.inputs):
            handler = _HANDLERS.get(node.base)
            if not self.gradients and any(v.op in self._trained for v in map(self.find, node.inputs) if v):
                self._refuse(number, node, *_NO_GRADIENTS)
            elif handler is None or not handler(self, number, node):
                self._refuse(number, node)
        return number

    def layer(
        self,
        kind: Kind,
        name: str,
        given: Sequence[Tensor],
        returned: Sequence[tuple[str, Tensor]],
        **details: Any,
    ) -> None:
        """Append a call of a layer or neuron: what it was given, and by its port what it returned, the first one last.

        Something that is returned may share its memory with something given.
        """
        with quietly():
            forms = [Form.of(tensor) for _, tensor in returned]
            number = super().emit(_LAYER, tuple(given), {}, forms)
            node = self._here = self.nodes[number]
            reader = f"an input of {name!r}" if kind in ("module", "reshape") else f"the input of {name!r}"
            inputs = tuple(self._read(entry, reader) for entry in node.args)
            shape = forms[-1].shape if forms else ()
            op = self._add(kind, name, self._where, inputs=inputs, shape=shape, **details)
            if not self.gradients and op in self._trained:
                self._without_gradients(op)
            for out, ((port, tensor), form) in enumerate(zip(returned, forms, strict=True)):
                ref = Ref(number, out)
                self._signals[ref] = Value(op, port, form.shape)
                origin = next((t for t in given if shares_memory(tensor, t)), None)
                if origin is None:
                    self.values.bind(tensor, ref)
                else:
                    view = View(_VIEW, ([*form.shape],), {}, None, Form.of(origin), (form,))
                    self.values.bind_view(tensor, origin, ref, view)

    def _emit(self, number: int, kind: Kind, name: str, inputs: tuple[Value, ...], **details: Any) -> bool:
        """Append what an operation with one result means."""
        shape: Any = self.nodes[number].results[0].shape
        op = self._add(kind, name, self._where, inputs=inputs, shape=shape, **details)
        self._signals[Ref(number)] = Value(op, "out", shape)
        return True

    def _refuse(self, number: int, node: Node, problem: str = "", remedy: str = "") -> bool:
        """Remember an operation that has no equal in a graph of layers; those of one function are one."""
        first = self.function[1] if self.function is not None else -1 - number
        inputs = tuple(value for entry in node.inputs if (value := self.find(entry)))
        op = self._unsupported.get(first)
        if op is None:
            problem = (
                problem or f"its forward applies {self._name} in a way that has no equal in a graph of layers"
            )
            remedy = remedy or _REMEDIES.get(self._name, _REMEDY)
            op = self._add(
                "unsupported", self._name, self._where, inputs=inputs, problem=problem, remedy=remedy
            )
            self._unsupported[first] = op
        elif not any(value.op is op for value in inputs):
            op.inputs += inputs
        for out, result in enumerate(node.results):
            shape: Any = result.shape
            self._signals[Ref(number, out)] = Value(op, "out", shape)
        return True

    # --- The same signal, sums and factors

    def _same(self, number: int, node: Node) -> bool:
        """clone, to..., and a write over all there is: the same signal, as long as its type and shape stay."""
        entry = node.args[node.op in (STRAIGHT, "slice_scatter")]
        if node.results[0] != self._form(entry):
            return False
        if (value := self.find(entry)) is not None:
            self._signals[Ref(number)] = value
        return True

    def _detached(self, number: int, node: Node) -> bool:
        """What no gradient goes through: the same only of an argument, where none goes further anyway."""
        value = self.find(node.args[0])
        if value is not None and self._is_input(value):
            return self._same(number, node)
        problem = "its forward detaches a signal: the gradients of a graph of layers would be others"
        remedy = "Take out detach(), or let from_torch port it as a program."
        return self._refuse(number, node, problem, remedy)

    def _is_input(self, value: Value) -> bool:
        """Of the sample, or a part of it."""
        while value.op.kind in ("index", "slice"):
            value = value.op.inputs[0]
        return value.op.kind == "arg"

    def _number(self, entry: Any) -> float | None:
        """A number, or that of a tensor without axes that the network holds and does not train."""
        if isinstance(entry, int | float):
            return float(entry)
        known = self._leaves.inputs[entry.index] if isinstance(entry, Leaf) else None
        if known is None or known.kind not in ("buffer", "constant") or not known.name or known.result.shape:
            return None
        return float(attribute(self._net, known.name) if known.value is None else known.value)

    def _is_zero(self, entry: Any, beside: Any) -> bool:
        """True for the number 0, and for zeros that forward made of the shape of the signal beside them."""
        if isinstance(entry, Ref) and self.find(entry) is None and isinstance(beside, _TENSOR):
            made = self.nodes[entry.node]
            return made.base in ZEROS and self._shape(entry) == self._shape(beside)
        return self._number(entry) == 0.0

    def _scaled(self, value: Value, factor: float) -> Value:
        """``factor * value``."""
        if factor == 1.0:
            return value
        op = self._add("scale", "scale", self._where, inputs=(value,), shape=value.shape, factor=factor)
        return Value(op, "out", value.shape)

    def _sum(self, number: int, node: Node) -> bool:
        """``a + b``, ``a - b``, with alpha; adding the number 0, as ``sum(list)`` does, changes nothing."""
        a, b = node.args[:2]
        sign = (-1.0 if node.base == "sub" else 1.0) * float(node.kwargs.get("alpha", 1))
        if self._is_zero(b, a) and self.find(a):
            self._signals[Ref(number)] = self._read(a, "a term")
            return True
        if self._is_zero(a, b) and self.find(b):
            self._signals[Ref(number)] = self._scaled(self._read(b, "a term"), sign)
            return True
        if self._number(a) is not None or self._number(b) is not None:
            remedy = "Put it into the bias of the layer before."
            return self._refuse(number, node, "its forward adds a number to a signal", remedy)
        if self._shape(a) != self._shape(b):
            problem = f"its forward adds shapes {self._shape(a)} and {self._shape(b)}, one of them broadcast"
            remedy = "Make both branches the same shape; a layer's bias gives a constant per channel."
            return self._refuse(number, node, problem, remedy)
        left, right = (self._read(entry, f"a term of {self._name}") for entry in (a, b))
        return self._emit(number, "add", "add", (left, self._scaled(right, sign)))

    def _factor(self, number: int, node: Node) -> bool:
        """Multiplication and division by a number."""
        a, b = node.args[:2]
        if node.kwargs.get("rounding_mode") is not None or node.op.endswith("_mode"):
            return False
        if node.base == "mul" and self._number(a) is not None:
            a, b = b, a
        factor = self._number(b)
        if factor is None:
            problem = f"its forward combines two tensors with {self._name}"
            remedy = "Scale by a Python number, or put the factors into the weights of a layer."
            return self._refuse(number, node, problem, remedy)
        factor = 1.0 / factor if node.base == "div" else factor
        self._signals[Ref(number)] = self._scaled(self._read(a, "a factor"), factor)
        return True

    def _negative(self, number: int, node: Node) -> bool:
        self._signals[Ref(number)] = self._scaled(self._read(node.args[0], "a term"), -1.0)
        return True

    # --- Entries moved about: which axis is time is known only once the whole call has been seen

    def _reshape(self, number: int, node: Node) -> bool:
        """Flatten, view, squeeze..."""
        if node.results[0].dtype != self._form(node.args[0]).dtype:
            return False
        first = node.base in ("squeeze", "unsqueeze") and node.args[1:] in ((0,), ([0],))
        hint = node.base if first else ""
        return self._emit(number, "reshape", "reshape", (self._read(node.args[0], ""),), hint=hint)

    def _permute(self, number: int, node: Node) -> bool:
        """Only time and batch may change places."""
        x, order = node.args
        order = [axis % len(order) for axis in order]
        if order == [*range(len(order))]:
            return self._same(number, node)
        if order != [1, 0, *range(2, len(order))]:
            return False
        return self._emit(number, "transpose", self._name, (self._read(x, ""),))

    def _slice(self, number: int, node: Node) -> bool:
        """``x[t:t+1]``."""
        x, axis, start, stop, step = node.args + (0, None, None, 1)[len(node.args) - 1 :]
        size = self._shape(x)[axis]
        first, last, step = slice(start, stop, step).indices(size)
        if (first, last, step) == (0, size, 1):
            return self._same(number, node)
        if last - first != 1:
            return False
        self._take(Ref(number), x, axis, first, "slice")
        return True

    def _picked(self, number: int, node: Node) -> bool:
        """``x[t]``, and all steps of a loop over x, which is an unbind; split and chunk into single steps."""
        x, more = node.args[0], node.args[1:]
        split = node.base.startswith("split")
        axis = (*more[split:], 0)[0]
        if split and len(node.results) != self._shape(x)[axis]:
            return False
        for out in range(len(node.results)):
            position = more[1] if node.base == "select" else out
            self._take(Ref(number, out), x, axis, position, "slice" if split else "index")
        return True

    def _take(self, ref: Ref, x: Any, axis: int, position: int, kind: Literal["index", "slice"]) -> None:
        """``x`` at one position of one axis; dropping an inner axis of size 1 is a reshape."""
        shape: Any = self._form(ref).shape
        value, sizes = self._read(x, ""), self._shape(x)
        axis %= len(sizes)
        if kind == "index" and axis > 0 and sizes[axis] == 1:
            op = self._add("reshape", "reshape", self._where, inputs=(value,), shape=shape)
        else:
            at = {"axis": axis, "position": position % sizes[axis]}
            op = self._add(kind, "indexing", self._where, inputs=(value,), shape=shape, **at)
        self._signals[ref] = Value(op, "out", shape)

    def _join(self, number: int, node: Node) -> bool:
        """Stack and cat of per-step results along time."""
        entries, axis = (*node.args, 0)[:2]
        axis %= len(node.results[0].shape)
        if axis > 1 or (node.base == "cat" and axis == 1):
            return False
        if node.base == "cat":
            entries = [entry for entry in entries if 0 not in self._shape(entry) or self.find(entry)]
        inputs = tuple(self._read(entry, f"an entry of {node.base}") for entry in entries)
        kind: Kind = "stack" if node.base == "stack" else "cat"
        return self._emit(number, kind, node.base, inputs, axis=axis)

    def _scatter(self, number: int, node: Node) -> bool:
        """``rec[t] = spk``, which builds a stack in a tensor that was made before the loop."""
        old, part, axis, position = node.args
        before = self.find(old)
        items = before.op.inputs if before is not None and before.op.kind == "stack" else ()
        fits = axis == 0 and position == len(items) and (before is None or bool(items))
        if not fits or not isinstance(part, _TENSOR):
            return False
        inputs = (*items, self._read(part, "an entry of a result"))
        return self._emit(number, "stack", "stack", inputs)


_HANDLERS: dict[str, Callable[[Signals, int, Node], bool]] = {
    **dict.fromkeys(
        ("alias", "clone", "_to_copy", "expand", "lift_fresh", "slice_scatter", STRAIGHT),
        Signals._same,
    ),
    "detach": Signals._detached,
    **dict.fromkeys(("add", "sub"), Signals._sum),
    **dict.fromkeys(("mul", "div"), Signals._factor),
    "neg": Signals._negative,
    **dict.fromkeys(("view", "_unsafe_view", "squeeze", "unsqueeze"), Signals._reshape),
    "permute": Signals._permute,
    "slice": Signals._slice,
    **dict.fromkeys(("select", "unbind", "split", "split_with_sizes"), Signals._picked),
    **dict.fromkeys(("stack", "cat"), Signals._join),
    "select_scatter": Signals._scatter,
}
