"""The value that each tensor of a running network holds: views and writes in place made functional.

Memory has versions. A write in place is a new version of the whole memory; a view is a chain of operations that leads
from the memory to it, and what it reads is that chain applied to the newest version.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable
from dataclasses import dataclass, field
from math import prod
from typing import Any

import torch
from torch import Tensor
from torch.multiprocessing.reductions import StorageWeakRef
from torch.utils.weak import WeakTensorKeyDictionary

from snnax.interop.program.nodes import STRAIGHT, Ref, Source

aten = torch.ops.aten

STRIDES = "Write with indices: y[:, 0] = x, or compute a new tensor."

Emit = Callable[..., int]
"""``emit(op, args, kwargs, results)``: append an operation; its number."""


@dataclass(frozen=True)
class Form:
    """How a tensor lies in its memory."""

    shape: tuple[int, ...]
    dtype: torch.dtype
    strides: tuple[int, ...] = ()
    offset: int = 0

    @property
    def in_order(self) -> bool:
        """It lies from the start of its memory on, one number after the other as they are read."""
        step = 1
        for size, stride in zip(reversed(self.shape), reversed(self.strides), strict=True):
            if size != 1 and stride != step:
                return False
            step *= size
        return self.offset == 0

    @classmethod
    def of(cls, tensor: Tensor) -> Form:
        """That of ``tensor``."""
        return cls(tuple(tensor.shape), tensor.dtype, tuple(tensor.stride()), int(tensor.storage_offset()))


@dataclass(frozen=True)
class View:
    """One operation that makes a view: ``op(x, *args, **kwargs)``, of several outputs the one at ``out``.

    ``gradient``: a gradient goes through it, as when it was made, whenever it is read.
    """

    op: Any
    args: tuple[Any, ...]
    kwargs: dict[str, Any]
    out: int | None
    before: Form
    results: tuple[Form, ...]
    gradient: bool = field(default_factory=torch.is_grad_enabled)

    @property
    def after(self) -> Form:
        """The form of the view."""
        return self.results[self.out or 0]


class Memory:
    """The memory that tensors share: what it holds now, and how often it was written.

    ``shared`` memory belongs to several parameters, of which each is taken for one of its own.
    """

    def __init__(self, tensor: Tensor, value: Source) -> None:
        self.key = tensor.untyped_storage()._cdata
        self._address = StorageWeakRef(tensor.untyped_storage())  # is not used again, though the memory goes
        self.form = Form.of(tensor)
        self.value = value
        self.version = 0
        self.name = ""
        self.shared = False


@dataclass
class Held:
    """What a tensor is: a chain of views of a memory, and its value in one version of that."""

    memory: Memory
    chain: tuple[View, ...]
    version: int
    value: Source | None


class Values:
    """All tensors of one call.

    No tensor is kept alive: memory is what the network itself needs.

    Args:
        emit: appends an operation.
        leaf: says what a tensor is that no operation made: its source, and its name if a module holds it.
        refused: notes what is no data flow, at the line that runs, and gives a value to go on with.
    """

    def __init__(
        self,
        emit: Emit,
        leaf: Callable[[Tensor], tuple[Source, str]],
        refused: Callable[[str, str, Form], Source],
    ) -> None:
        self._emit = emit
        self._leaf = leaf
        self._refused = refused
        self._held: Any = WeakTensorKeyDictionary()
        self._memories: dict[int, Memory] = {}
        self.written: dict[str, Memory] = {}

    def bind(self, tensor: Tensor, value: Source) -> Held:
        """Say that an operation made ``tensor``, with a memory of its own."""
        memory = self._memory(tensor)
        if memory is None:
            memory = Memory(tensor, value)
            self._memories[memory.key] = memory
        held = Held(memory, (), memory.version, value)
        self._held[tensor] = held
        return held

    def bind_view(self, tensor: Tensor, source: Tensor, value: Source, view: View) -> None:
        """Say that ``tensor`` is a view of ``source``."""
        origin = self.find(source)
        self._held[tensor] = Held(origin.memory, (*origin.chain, view), origin.memory.version, value)

    def bind_strided(self, tensor: Tensor, source: Tensor) -> None:
        """Say that ``tensor`` sees the memory of ``source`` at distances, which count from its first number.

        Refused for memory that does not hold its numbers in reading order: what is where then, nothing here says.
        """
        origin = self.find(source)
        memory, form = origin.memory, Form.of(tensor)
        if not memory.form.in_order:
            text = "it uses the strides of a tensor that lies in memory in another order than it is read"
            self.bind(tensor, self._refused(text, STRIDES, form))
            return
        where = ([*form.shape], [*form.strides], form.offset)
        view = View(aten.as_strided.default, where, {}, None, memory.form, (form,))
        cut = tuple(before for before in origin.chain if before.op is aten.detach.default)
        self._held[tensor] = Held(memory, (*cut, view), -1, None)

    def find(self, tensor: Tensor) -> Held:
        """What ``tensor`` is; a tensor that nobody has seen becomes a leaf."""
        held = self._lookup(tensor)
        if held is not None:
            return held
        memory = self._memory(tensor)
        if memory is None:
            value, name = self._leaf(tensor)
            held = self.bind(tensor, value)
            held.memory.name = name
            return held
        if Form.of(tensor) != memory.form:
            value, name = self._leaf(tensor)
            if name and not memory.version:  # two parameters over one memory, which nobody may write then
                apart = Memory(tensor, value)
                apart.shared = memory.shared = True
                self._held[tensor] = held = Held(apart, (), 0, value)
                return held
            text = "it sees memory of torch in another form than torch gave it"
            held = Held(memory, (), memory.version, self._refused(text, STRIDES, Form.of(tensor)))
            self._held[tensor] = held
            return held
        self._held[tensor] = held = Held(memory, (), -1, None)  # another name of known memory
        return held

    def known(self, tensors: Iterable[Tensor]) -> list[Source | None]:
        """The value of each tensor; None for those whose memory no operation was seen to make or to use as they do."""
        found: list[Source | None] = []
        for tensor in tensors:
            memory = self._memory(tensor)
            seen = memory is not None and (self._lookup(tensor) or memory.form == Form.of(tensor))
            found.append(self.read(tensor) if seen else None)
        return found

    def read(self, tensor: Tensor) -> Source:
        """The value of ``tensor`` now."""
        held = self.find(tensor)
        memory = held.memory
        if held.value is None or held.version != memory.version:
            held.value = self._steps(memory, held.chain)[-1]
            held.version = memory.version
        return held.value

    def write(self, tensor: Tensor, value: Source, seen: bool = True) -> bool:
        """Say that ``tensor`` was overwritten; True if that went past autograd, through ``.data`` or ``detach``.

        What autograd has not ``seen``, as under ``torch.no_grad()``, changes the value and leaves the gradient as is.
        """
        held = self.find(tensor)
        memory, chain = held.memory, held.chain
        if memory.shared:
            text = "it writes into a parameter that shares its memory with another"
            value = self._refused(text, STRIDES, Form.of(tensor))
        befores = self._steps(memory, chain)
        new = value
        for view, before in zip(reversed(chain), reversed(befores[:-1]), strict=True):
            new = self._put(view, before, new)
        if not seen:
            with torch.enable_grad():
                new = Ref(self._emit(STRAIGHT, (memory.value, new), {}, (memory.form,)))
        memory.value = new
        memory.version += 1
        if seen or not chain:
            held.value, held.version = (value if seen else new), memory.version
        if memory.name:
            self.written[memory.name] = memory
        return any(view.op is aten.detach.default for view in chain)

    def forget(self, tensor: Tensor) -> None:
        """Say that the memory of ``tensor``, as far as it is known, now holds something that nothing recorded."""
        memory = self._memory(tensor)
        if memory is not None:
            memory.value = Ref(self._emit("forgotten", (), {}, (memory.form,)))
            memory.version += 1

    def detach(self, tensor: Tensor) -> None:
        """Say that ``tensor`` gave up its gradient; what was made of it before keeps its own."""
        held, form = self.find(tensor), Form.of(tensor)
        held.value = Ref(self._emit(aten.detach.default, (self.read(tensor),), {}, (form,)))
        if not held.chain:
            held.memory.value = held.value

    def _lookup(self, tensor: Tensor) -> Held | None:
        held: Held | None = self._held.get(tensor)
        if held is None or held.memory.key != tensor.untyped_storage()._cdata:
            return None  # Tensor.set_ gives a tensor another memory
        return held

    def _memory(self, tensor: Tensor) -> Memory | None:
        return self._memories.get(tensor.untyped_storage()._cdata)

    def _steps(self, memory: Memory, chain: tuple[View, ...]) -> list[Source]:
        """The newest value of a memory, and those of the views that lead from it."""
        values = [memory.value]
        for view in chain:
            with torch.set_grad_enabled(view.gradient):
                node = self._emit(view.op, (values[-1], *view.args), view.kwargs, view.results)
            values.append(Ref(node, view.out or 0))
        return values

    def _put(self, view: View, before: Source, new: Source) -> Source:
        """``before`` with ``new`` in the place that ``view`` shows."""
        packet, args, form = view.op._overloadpacket, view.args, (view.before,)
        if packet in (aten.alias, aten.detach):
            return new
        if packet in (aten.view, aten._unsafe_view, aten.unsqueeze, aten.squeeze):
            return Ref(self._emit(aten.view.default, (new, list(view.before.shape)), {}, form))
        if packet is aten.permute:
            order = [0] * len(view.before.shape)
            for position, axis in enumerate(args[0]):
                order[axis] = position
            return Ref(self._emit(aten.permute.default, (new, order), {}, form))
        if packet is aten.select:
            op, where = aten.select_scatter.default, args
        elif packet is aten.unbind:
            op, where = aten.select_scatter.default, (args[0] if args else 0, view.out)
        elif packet is aten.slice:
            op, where = aten.slice_scatter.default, args
        elif packet is aten.as_strided:
            return self._put_at(view, before, new)
        elif packet is aten.diagonal:
            op, where = aten.diagonal_scatter.default, args
        elif packet in (aten.split, aten.split_with_sizes):
            out, sizes = view.out or 0, args[0]
            start, size = (out * sizes, sizes) if isinstance(sizes, int) else (sum(sizes[:out]), sizes[out])
            op, where = aten.slice_scatter.default, (args[1] if len(args) > 1 else 0, start, start + size)
        else:
            return self._refused(
                f"it writes through a view that {packet.__name__} made", STRIDES, view.before
            )
        return Ref(self._emit(op, (before, new, *where), {}, form))

    def _put_at(self, view: View, before: Source, new: Source) -> Source:
        """The same by places in memory; ``as_strided_scatter`` of torch has the gradient of the wrong ones."""
        form, count = view.before, prod(view.before.shape)
        line, numbers = Form((count,), form.dtype), Form((count,), torch.int64)
        flat = Ref(self._emit(aten.view.default, (before, [count]), {}, (line,)))
        counted = Ref(self._emit(aten.arange.default, (count,), {"dtype": torch.int64}, (numbers,)))
        places = Ref(
            self._emit(
                aten.as_strided.default, (counted, *view.args), {}, (Form(view.after.shape, torch.int64),)
            )
        )
        put = Ref(self._emit(aten.index_put.default, (flat, [places], new), {}, (line,)))
        return Ref(self._emit(aten.view.default, (put, [*form.shape]), {}, (form,)))
