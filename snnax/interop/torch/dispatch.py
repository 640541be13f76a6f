"""Every operation of a running torch network, as torch's dispatcher sees it after autograd.

The network computes real values; each operation is written down as it happens, in core ATen: what has a decomposition
there is taken apart. Views and writes in place become data flow (:mod:`~snnax.interop.torch.values`).
"""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import replace
from functools import cache
from types import FrameType
from typing import Any

import numpy as np
import torch
from torch import Tensor
from torch._decomp import core_aten_decompositions
from torch.overrides import _pop_mode_temporarily
from torch.utils import _pytree as pytree
from torch.utils._python_dispatch import TorchDispatchMode

from snnax.errors import ConversionError
from snnax.interop.program.nodes import (
    RANDOM,
    SOURCES,
    Call,
    Given,
    Input,
    Leaf,
    Node,
    Note,
    Ref,
    Result,
    Source,
    mapped,
)
from snnax.interop.torch.arrays import dtype_of
from snnax.interop.torch.frames import place
from snnax.interop.torch.inplace import HEADERS, drawing, functional, overload
from snnax.interop.torch.values import Form, Values, View

aten = torch.ops.aten

_WHOLE = frozenset({
    aten.stack, aten.select_scatter, aten.slice_scatter, aten.rand, aten.randn, aten.rand_like, aten.randn_like,
    aten.silu, aten.addmm, aten.unbind, aten.zeros, aten.ones, aten.zeros_like, aten.ones_like, aten.split,
    aten.bernoulli, aten.hardtanh, aten.lerp, aten.softplus, aten.diagonal, aten.diagonal_scatter,
    aten.detach,  # its decomposition is an alias, which lets the gradient through
})  # fmt: skip
"""Operations that have a decomposition and are kept, since what runs them knows them."""

_TURNS = (aten.t, aten.transpose)
"""They are what most layers begin with, and their decomposition takes its time."""

_UNDERIVED = frozenset({aten.heaviside})
"""Operations that torch does not differentiate, though what they are taken apart into would be."""

_PLAIN = (bool, int, complex, str, np.dtype, Given, *SOURCES)
ZEROS = frozenset({"zeros", "zeros_like", "new_zeros"})
_COPIES = ("detach", "clone", "alias")
_READS = (aten._local_scalar_dense, aten.equal)
_ARRAYS = ("numpy", "__array__", "tolist")
_READERS = frozenset({*_ARRAYS, *(packet.__name__ for packet in _READS)})
_MEMORY = frozenset({"layout", "device", "pin_memory", "memory_format", "non_blocking", "generator"})
_IN_PLACE = "Write it as a new tensor: y = f(x)."


OPAQUE = "opaque"
"""An operation that stands for what is refused, so that the search goes on behind it; no program has one."""


class Longer(Exception):
    """A trace has more operations than it may."""


class Dispatcher(TorchDispatchMode):
    """Writes down what runs under it, in this thread.

    Args:
        label: what to call the network.
        leaf: says what a tensor is that no operation made, see :class:`~snnax.interop.torch.values.Values`.
        forced: for lines of the user's code, from which of the reads there on Python is to find another value than the
            tensor has.
        replayed: for such lines, what Python is to find there, read by read.
        limit: of operations; more raise :class:`Longer`.
        surrogate: of a class of ``torch.autograd.Function`` and the arguments of a call, the name and arguments of
            the surrogate if that is a known spike function.

    Attributes:
        gradients: they are on, outside of a ``torch.autograd.Function``, whose ``forward`` always runs without.
        reads: by line, the values that Python has read there.
        problems: what was refused; the call went on.
    """

    def __init__(
        self,
        label: str,
        leaf: Callable[[Tensor], tuple[Source, str]],
        forced: Mapping[str, int] | None = None,
        limit: int | None = None,
        surrogate: Callable[[type, tuple[Any, ...]], Any] = lambda *_: None,
        replayed: Mapping[str, Sequence[Any]] | None = None,
    ) -> None:
        super().__init__()
        self.label = label
        self.gradients = True
        self._surrogate = surrogate
        self.nodes: list[Node] = []
        self.notes: list[Note] = []
        self.reads: defaultdict[str, list[Any]] = defaultdict(list)
        self.problems: list[ConversionError] = []
        self.values = Values(self.emit, leaf, self.refused)
        self.paused = False
        self._forced, self._replayed = forced or {}, replayed or {}
        self._limit = limit
        self._modules: list[tuple[str, Call | None]] = [("", None)]
        self._calls = 0
        self._function: tuple[FrameType, Call] | None = None
        self._decreeing = False
        self._untraced = ""
        self._underived: Call | None = None

    @classmethod
    def _should_skip_dynamo(cls) -> bool:
        """What is for ``torch.compile`` alone is not loaded, which takes seconds."""
        return False

    @property
    def where(self) -> str:
        """Path of the module whose ``forward`` runs."""
        return self._modules[-1][0]

    def refusal(self, problem: str, remedy: str) -> ConversionError:
        """The error for what cannot be a program, at the line that runs."""
        return ConversionError(self.where or self.label, problem, remedy, place().line)

    def blocked(self, problem: str, remedy: str) -> None:
        """Note what cannot be a program; the call goes on, to find out what else there is."""
        error = self.refusal(problem, remedy)
        if str(error) not in map(str, self.problems):
            self.problems.append(error)

    def refused(self, problem: str, remedy: str, form: Form) -> Ref:
        """The same, and a value of this form in the place of what is refused."""
        self.blocked(problem, remedy)
        return Ref(self.emit(OPAQUE, (), {}, (form,)))

    @contextmanager
    def pause(self) -> Iterator[None]:
        """Let torch run without being seen."""
        before, self.paused = self.paused, True
        try:
            yield
        finally:
            self.paused = before

    @contextmanager
    def unseen(self) -> Iterator[None]:
        """The same for a part of the network itself, which torch then runs without asking for each operation."""
        if self.paused:
            yield
            return
        with self.pause(), _pop_mode_temporarily(), torch._C._DisableTorchDispatch():
            yield

    @contextmanager
    def decreeing(self) -> Iterator[None]:
        """A ``torch.autograd.Function`` runs whose derivative is recorded: to the rest it is like any operations."""
        self._decreeing = True
        try:
            yield
        finally:
            self._decreeing = False

    def untraced(self, reason: str) -> None:
        """Why the derivative of the function that runs now is not recorded."""
        self._untraced = reason

    @contextmanager
    def inside(self, path: str, kind: str) -> Iterator[None]:
        """The ``forward`` of a module runs; ``kind`` is its class if it is a library's layer."""
        layer = self._modules[-1][1]
        if layer is None and kind:
            layer = self._call(kind, path)
        self._modules.append((path, layer))
        try:
            yield
        finally:
            self._modules.pop()

    def _call(self, kind: str, path: str) -> Call:
        self._calls += 1
        return Call(kind, path, self._calls - 1)

    # --- Writing down

    def emit(
        self,
        op: Any,
        args: tuple[Any, ...],
        kwargs: dict[str, Any],
        results: Sequence[Form],
        path: str | None = None,
    ) -> int:
        """Append an operation of torch, or one of ours by its name; its number.

        Tensors among the arguments stand for what they hold now.
        """
        if self._limit is not None and len(self.nodes) >= self._limit:
            raise Longer
        found = place()
        if found.function is None or self._decreeing:
            found, self._function = replace(found, function=None), None
        elif self._function is None or self._function[0] is not found.function[1]:
            cls, frame = found.function
            call = self._call(f"{cls.__module__}.{cls.__qualname__}", self.where)
            known = self._surrogate(cls, frame.f_locals["args"])
            self._function = (frame, replace(call, surrogate=known, untraced=self._untraced))
        node = Node(
            op if isinstance(op, str) else _name(op),
            mapped(args, self._literal),
            {key: mapped(value, self._literal) for key, value in kwargs.items() if key not in _MEMORY},
            tuple(Result(form.shape, dtype_of(form.dtype)) for form in results),
            self.where if path is None else path,
            self._modules[-1][1],
            self._underived or (self._function and self._function[1]),
            found.line,
            torch.is_grad_enabled() if found.function is None else self.gradients,
        )
        self.nodes.append(node)
        return len(self.nodes) - 1

    def _literal(self, value: Any) -> Any:
        """What torch takes as an argument, without torch."""
        if isinstance(value, Tensor):
            return self.read(value)
        if isinstance(value, torch.dtype):
            return dtype_of(value)
        if isinstance(value, float):
            return float(value)  # Scalar is a kind of float, and holds a tensor
        return value if value is None or isinstance(value, _PLAIN) else str(value)

    def read(self, tensor: Tensor) -> Source:
        """The value of a tensor; refused for those that are no arrays."""
        if tensor.layout != torch.strided or tensor.is_quantized:
            kind = "quantized" if tensor.is_quantized else str(tensor.layout).removeprefix("torch.")
            remedy = "Use dense tensors: x.to_dense()."
            if tensor.is_quantized:
                remedy = "Use floating numbers: x.dequantize()."
            return self.refused(f"it uses a {kind} tensor", remedy, Form(tuple(tensor.shape), tensor.dtype))
        return self.values.read(tensor)

    def widened(self, source: Source, form: Form) -> Source | None:
        """A state of no size, which stands for zeros, as zeros of the form that they have then.

        Several steps begin with ``mem.detach()``, the first one too. None if ``source`` is no such copy of zeros.
        """
        chain: list[int] = []
        entry: Any = source
        while isinstance(entry, Ref):
            node = self.nodes[entry.node]
            if node.base not in (*_COPIES, *ZEROS) or node.results[0].shape not in ((0,), form.shape):
                return None
            chain.append(entry.node)
            entry = node.args[0] if node.base in _COPIES else None
        if entry is not None or len(chain) < 2:
            return None
        result = Result(form.shape, dtype_of(form.dtype))
        for index in chain:
            node = self.nodes[index]
            args = ([*form.shape],) if node.base == "zeros" else node.args
            self.nodes[index] = replace(node, args=args, results=(result,))
        return source

    # --- What torch does

    def __torch_dispatch__(self, func: Any, types: Any, args: Any = (), kwargs: Any = None) -> Any:
        kwargs = kwargs or {}
        if self.paused:
            return func(*args, **kwargs)
        packet = func._overloadpacket
        if packet in _TURNS:
            return self._recorded(aten.permute.default, (args[0], _turned(packet.__name__, args, kwargs)), {})
        if packet in _READS:
            return self._read_by_python(func, args, kwargs)
        if packet in (aten.lift_fresh, aten.lift):
            return args[0]
        if packet is aten.native_batch_norm and args[5] and args[3] is not None:
            return self._of_the_batch(func, args)
        if func._schema.is_mutable:
            return self._in_place(func, args, kwargs)
        if packet in _UNDERIVED and self._underived is None and torch.is_grad_enabled():
            return self._without_derivative(func, args, kwargs)
        if packet not in _WHOLE:
            parts = self._taken_apart(func, args, kwargs)
            if parts is not NotImplemented:
                return parts
        return self._recorded(func, args, kwargs)

    def _without_derivative(self, func: Any, args: tuple[Any, ...], kwargs: dict[str, Any]) -> Any:
        """An operation that runs and does not train: all that it is taken apart into is one function."""
        call = self._call(f"torch.{func._overloadpacket.__name__}", self.where)
        self._underived = replace(call, untraced="torch has no derivative of it")
        try:
            return self.__torch_dispatch__(func, (), args, kwargs)
        finally:
            self._underived = None

    def _taken_apart(self, func: Any, args: tuple[Any, ...], kwargs: dict[str, Any]) -> Any:
        decomposition = _decompositions().get(func)
        with self:
            if decomposition is not None:
                return decomposition(*args, **kwargs)
            if torch._C._dispatch_has_kernel_for_dispatch_key(func.name(), "CompositeImplicitAutograd"):
                return func.decompose(*args, **kwargs)
        return NotImplemented

    def _recorded(self, func: Any, args: tuple[Any, ...], kwargs: dict[str, Any]) -> Any:
        """Run an operation that writes nothing."""
        packet = func._overloadpacket
        out = func(*args, **kwargs)
        outs = list(out) if isinstance(out, list | tuple) else [out]
        if not all(isinstance(tensor, Tensor) for tensor in outs):
            for tensor in outs:
                if isinstance(tensor, Tensor):
                    problem = f"torch's operation {_name(func)} returns something beside tensors"
                    self.values.bind(tensor, self.refused(problem, _IN_PLACE, Form.of(tensor)))
            return out
        if any(tensor.layout != torch.strided or tensor.is_quantized for tensor in outs):
            return out  # refused where it is used
        if packet is aten.as_strided:
            self.values.bind_strided(out, args[0])
            return out
        forms = tuple(map(Form.of, outs))
        node = self.emit(func, args, kwargs, forms)
        returns = func._schema.returns
        for position, tensor in enumerate(outs):
            value = Ref(node, position)
            if returns[0].alias_info is not None and shares_memory(tensor, args[0]):
                which = position if len(outs) > 1 else None
                view = View(func, tuple(args[1:]), kwargs, which, Form.of(args[0]), forms)
                self.values.bind_view(tensor, args[0], value, view)
            elif not any(tensor is given for given in pytree.tree_leaves((args, kwargs))):
                self.values.bind(tensor, value)
        return out

    def _of_the_batch(self, func: Any, args: tuple[Any, ...]) -> Any:
        """A normalisation in training, which writes its running statistics without saying so."""
        x, weight, bias, mean, variance, *numbers = args
        before = tuple(map(self.read, (mean, variance)))
        outs = func(*args)
        forms = tuple(map(Form.of, (*outs, mean, variance)))
        function = aten._native_batch_norm_legit_functional.default
        node = self.emit(function, (x, weight, bias, *before, *numbers), {}, forms)
        for position, out in enumerate(outs):
            self.values.bind(out, Ref(node, position))
        for position, statistic in enumerate((mean, variance), len(outs)):
            self.values.write(statistic, Ref(node, position))
        return outs

    def _read_by_python(self, func: Any, args: tuple[Any, ...], kwargs: dict[str, Any]) -> Any:
        """A value goes to Python, which may do with it what it likes."""
        return self.found(func, args, func(*args, **kwargs))

    def found(self, op: Any, args: tuple[Any, ...], value: Any) -> Any:
        """What Python is to find where it reads ``value``, by an operation or a method of tensors."""
        self.emit(op, args, {}, ())
        line = self.nodes[-1].line
        reads = self.reads[line]
        reads.append(value)
        if len(reads) > self._forced.get(line, len(reads)):
            return _another(value)
        known = self._replayed.get(line, ())
        return known[len(reads) - 1] if len(reads) <= len(known) else value

    def _in_place(self, func: Any, args: tuple[Any, ...], kwargs: dict[str, Any]) -> Any:
        """An operation that writes into its first argument."""
        target, name = args[0], func._schema.name.partition("::")[2]
        if name in ("set_", "resize_", "requires_grad_"):
            return func(*args, **kwargs)
        if func._overloadname == "out" or "out" in kwargs or not isinstance(target, Tensor):
            return self._overwritten(func, args, kwargs)
        if name in HEADERS:
            return self._turned(func, args, kwargs)
        if (draw := drawing(func)) is not None:
            value: Source = Ref(self.emit(draw, args, kwargs, [Form.of(target)]))
            func(*args, **kwargs)
        else:
            with self:
                new = functional(func, args, kwargs)
            if new is None:
                return self._overwritten(func, args, kwargs)
            value = self.read(new)
            target.copy_(new)
        seen = torch.is_grad_enabled() or place().function is not None or not target.is_floating_point()
        if self.values.write(target, value, seen):
            text = "it writes into a tensor past autograd, through .data or detach()"
            self.notes.append(Note("data", text, place().line))
        return target

    def _overwritten(self, func: Any, args: tuple[Any, ...], kwargs: dict[str, Any]) -> Any:
        """An operation that writes where it should not."""
        out = func(*args, **kwargs)
        written = [kwargs["out"]] if "out" in kwargs else [out]
        for tensor in pytree.tree_leaves(written):
            if isinstance(tensor, Tensor):
                problem = f"torch's operation {_name(func)} writes into an argument"
                self.values.write(tensor, self.refused(problem, _IN_PLACE, Form.of(tensor)))
        return out

    def _turned(self, func: Any, args: tuple[Any, ...], kwargs: dict[str, Any]) -> Tensor:
        """A view that is written into the tensor's own header."""
        target: Tensor = args[0]
        before, source = Form.of(target), self.read(target)
        name = func._schema.name.partition("::")[2].removesuffix("_")
        if name in ("t", "transpose"):
            op, how, more = aten.permute.default, (_turned(name, args, kwargs),), {}
        else:
            op, how, more = overload(getattr(aten, name), func._overloadname), tuple(args[1:]), kwargs
        func(*args, **kwargs)
        forms = (Form.of(target),)
        node = self.emit(op, (source, *how), more, forms)
        view = View(op, how, more, None, before, forms)
        self.values.bind_view(target, target, Ref(node), view)
        return target


@cache
def _decompositions() -> dict[Any, Any]:
    """From the overloads that core ATen does not have to functions of those that it has."""
    table = core_aten_decompositions()
    return {op: function for op, function in table.items() if op._overloadpacket not in _WHOLE}


def steering_lines(nodes: Sequence[Node], inputs: Sequence[Input]) -> list[str]:
    """Lines where Python read values that depend on arguments, states or chance; weights are what they are."""
    return reading_lines(nodes, [known.kind in ("argument", "state") for known in inputs])


def reading_lines(nodes: Sequence[Node], leaves: Sequence[bool]) -> list[str]:
    """Lines where Python read values that depend on chance or on a leaf that is said to move."""
    pairs = zip(nodes, moving(nodes, leaves), strict=True)
    return list(dict.fromkeys(node.line for node, moved in pairs if moved and node.base in _READERS))


def moving(nodes: Sequence[Node], leaves: Sequence[bool]) -> list[bool]:
    """For each operation, whether it depends on chance, on what is refused, or on a leaf that is said to move."""
    found: list[bool] = []
    for node in nodes:
        found.append(
            node.base in RANDOM
            or node.op == OPAQUE
            or any(
                found[entry.node] if isinstance(entry, Ref) else leaves[entry.index]
                for entry in node.inputs
                if isinstance(entry, Ref | Leaf)
            )
        )
    return found


def _another(value: Any) -> Any:
    """Another value of the same kind; of arrays with the places of the largest exchanged."""
    if isinstance(value, list):
        return [_another(entry) for entry in reversed(value)]
    if isinstance(value, np.ndarray):
        if value.dtype == bool:
            return ~value
        ramp = np.arange(value.size).reshape(value.shape)
        return (np.flip(value) * 1.7 + 1 + ramp).astype(value.dtype)
    return not value if isinstance(value, bool) else type(value)(value * 1.7 + 1)


def _name(op: Any) -> str:
    """An overload by its name in the schema, without the namespace of ATen."""
    space, _, name = op._schema.name.partition("::")
    name = name if space == "aten" else f"{space}::{name}"
    return f"{name}.{op._overloadname}" if op._overloadname not in ("", "default") else name


def _turned(name: str, args: tuple[Any, ...], kwargs: dict[str, Any]) -> list[int]:
    """The order of axes after ``t`` or ``transpose``."""
    order = list(range(args[0].ndim))
    pair = (args[1:] or (kwargs["dim0"], kwargs["dim1"])) if name == "transpose" else (0, -1)
    if order:
        first, second = (axis % len(order) for axis in pair)
        order[first], order[second] = order[second], order[first]
    return order


def shares_memory(tensor: Tensor, other: Any) -> bool:
    """True for two tensors over one memory."""
    return isinstance(other, Tensor) and tensor.untyped_storage()._cdata == other.untyped_storage()._cdata
