"""What a traced network is as a program: operations, and loops of operations over time.

An operation is one of ATen, by the name of its schema; a neuron is one operation that takes its input, its states and
its parameters, and returns its spikes and its new states. All of it is data flow: nothing is read or written by side
effect, and what depends on the size of the batch says how.

==================  ================================================================================
A source            stands in the arguments of an operation for
==================  ================================================================================
:class:`Leaf`       an argument of the network, a parameter, a buffer, a kept state, a constant
:class:`Ref`        an output of an item (an operation, or a loop) that ran before
:class:`NoState`    the state of a neuron that has none yet: zeros
:class:`Local`      inside a loop, an output of an operation of the same step
:class:`Carry`      inside a loop, a value that the step before handed on
:class:`Sequence`   inside a loop, what a sequence over time has for this step
:class:`Affine`     a number that follows the size of the batch
==================  ================================================================================

Everything else in the arguments is a literal: numbers, strings, ``None``, NumPy data types, and lists and tuples.
"""

from __future__ import annotations

from collections import namedtuple
from collections.abc import Callable, Iterable, Iterator
from dataclasses import dataclass, field, fields, is_dataclass
from functools import cache
from typing import Any, Literal

import numpy as np

from snnax.interop.spec import NeuronSpec

NEURON = "neuron"
"""The operation of a neuron: ``(input, {state: source}, {parameter: source}) -> (spikes, *states)``."""

SURROGATE = "surrogate"
"""A known spike function: ``(input, name, options) -> spikes``, with the name and options of its surrogate."""

STRAIGHT = "straight"
"""A write past autograd, as under ``torch.no_grad()``: ``(old, new) -> new``, with the gradient of ``old``."""

PULLBACK = "pullback"
"""A ``torch.autograd.Function`` with its derivative: ``([value], [input], operations, [gradient]) -> values``.

The inputs are those that the derivative needs or is given to, or ``None``; for each the gradient, which is
:class:`Given`, or ``None``. The operations that compute them are literals, ``(op, args, kwargs, ((shape, dtype),))``,
whose sources are :class:`Given`.
"""

FACTORIES = frozenset({"zeros", "ones", "full", "empty", "arange", "scalar_tensor", "eye"})
"""Operations that make something of nothing."""

RANDOM = frozenset({
    "rand", "randn", "rand_like", "randn_like", "bernoulli", "uniform", "normal_functional", "normal", "randint",
    "randint_like", "randperm", "random", "native_dropout", "multinomial", "poisson", "exponential", "cauchy",
    "geometric", "log_normal",
})  # fmt: skip
"""Operations that draw random numbers: each draws others."""

# --- Sources --------------------------------------------------------------------------------------


@dataclass(frozen=True)
class Leaf:
    """Entry ``index`` of the program's inputs."""

    index: int


@dataclass(frozen=True)
class Ref:
    """Output ``out`` of item ``node`` of the program; of a loop, one of its ``kept`` values."""

    node: int
    out: int = 0


@dataclass(frozen=True)
class NoState:
    """The state of a neuron that has none: zeros of the shape that its new state will have."""


@dataclass(frozen=True)
class Local:
    """Inside a loop: output ``out`` of operation ``node`` of its body, in the same step."""

    node: int
    out: int = 0


@dataclass(frozen=True)
class Carry:
    """Inside a loop: what entry ``index`` of its carries holds at the start of the step."""

    index: int


@dataclass(frozen=True)
class Sequence:
    """Inside a loop: what entry ``index`` of its sequences has for this step, without the axis of time."""

    index: int


@dataclass(frozen=True)
class Affine:
    """A whole number that follows the size ``B`` of the batch: ``slope * B + offset``."""

    slope: int
    offset: int

    def at(self, batch: int) -> int:
        """The number for a batch of this size."""
        return self.slope * batch + self.offset


@dataclass(frozen=True)
class Given:
    """In a derivative: one of its inputs, a gradient of the results, or output ``out`` of one of its operations."""

    kind: Literal["input", "gradient", "operation"]
    index: int
    out: int = 0


Whole = int | Affine
Source = Leaf | Ref | NoState | Local | Carry | Sequence
SOURCES = (Leaf, Ref, NoState, Local, Carry, Sequence)


@dataclass(frozen=True)
class PerStep:
    """A sequence over time that Python made: one literal number for each step."""

    values: tuple[Any, ...]


# --- Operations -----------------------------------------------------------------------------------


@dataclass(frozen=True)
class Result:
    """Shape and data type of an array, its axes with the batch among them."""

    shape: tuple[Whole, ...]
    dtype: np.dtype[Any]

    def at(self, batch: int) -> Result:
        """The same with a batch of this size."""
        return Result(tuple(at(self.shape, batch)), self.dtype)


@dataclass(frozen=True)
class Call:
    """One call of a layer or of a ``torch.autograd.Function``, which may have been several operations.

    Attributes:
        kind: its class with the module of it, as ``torch.nn.modules.linear.Linear``.
        path: of the layer in the network; of a function, the module whose ``forward`` called it.
        number: how many calls of such things the trace had seen before; that of the last step inside of a loop.
        surrogate: of a function that is a known spike function, the name and the arguments of its surrogate.
        untraced: of a function whose derivative is no data flow, why.
    """

    kind: str
    path: str
    number: int
    surrogate: tuple[str, dict[str, float]] | None = field(default=None, compare=False)
    untraced: str = field(default="", compare=False)


@dataclass(frozen=True)
class Node:
    """One operation.

    Attributes:
        op: name of an operation of ATen, with its overload if that is not the default: ``"add.Tensor"``, ``"relu"``;
            or :data:`NEURON`.
        args: its positional arguments, with sources in place of tensors, which may lie in lists and dicts.
        kwargs: its keyword arguments; those about devices, layouts, memory and generators are left out.
        results: what it returns.
        path: of the module whose ``forward`` did it; of a neuron, its own.
        layer: the call of a library's layer that it is part of.
        function: the call of a ``torch.autograd.Function`` that it is part of: its gradient is that function's own.
        line: where in the user's code, as ``net.py:12``.
        gradient: gradients were on; under ``torch.no_grad()`` none flows through it.
        steps: of a loop, in each of which the network does it anew, though it is the same in all: here it is done once.
    """

    op: str
    args: tuple[Any, ...]
    kwargs: dict[str, Any] = field(default_factory=dict)
    results: tuple[Result, ...] = ()
    path: str = ""
    layer: Call | None = None
    function: Call | None = None
    line: str = ""
    gradient: bool = True
    steps: int = 1

    @property
    def base(self) -> str:
        """The operation without its overload."""
        return self.op.partition(".")[0]

    @property
    def inputs(self) -> list[Any]:
        """Its sources and literals, flat, in their order."""
        return list(flat((self.args, self.kwargs)))


@dataclass(frozen=True)
class Handed:
    """A value that each step of a loop hands on to the next.

    Attributes:
        init: what the first step finds, outside of the loop; a literal number or one of fewer axes is broadcast,
            ``NoState`` is zeros.
        new: what the step hands on, inside of the loop.
        result: its shape and data type in all steps but perhaps the first.
    """

    init: Any
    new: Any
    result: Result


@dataclass(frozen=True)
class Kept:
    """A value of a loop that is needed after it.

    Attributes:
        value: inside of the loop.
        every: that of every step, stacked along a new leading axis; else that of the last.
        result: shape and data type, with the axis of time if there is one.
    """

    value: Any
    every: bool
    result: Result


@dataclass
class Loop:
    """The same operations in each of ``steps`` steps of time.

    Attributes:
        steps: how many.
        body: the operations of a step; their arguments may hold all kinds of sources, a ``Ref`` or ``Leaf`` being the
            same in all steps.
        carries: what the steps hand on.
        sequences: for each a source ``[T, ...]`` outside of the loop, or numbers. An operation that takes a number
            from a sequence, as the index of ``select.int``, is given an array without axes.
        kept: what is needed later: the outputs of this item.
    """

    steps: int
    body: list[Node]
    carries: list[Handed] = field(default_factory=list)
    sequences: list[Source | PerStep] = field(default_factory=list)
    kept: list[Kept] = field(default_factory=list)


# --- Programs -------------------------------------------------------------------------------------


@dataclass(frozen=True)
class Input:
    """What a :class:`Leaf` stands for.

    Attributes:
        kind: an ``"argument"`` of the call; a ``"parameter"`` or ``"buffer"`` of a module; the ``"state"`` that a
            neuron keeps from call to call, zeros before the first; a ``"constant"`` that Python made.
        name: the argument's as ``x`` or ``x[0]``, or the path in the network as in a ``state_dict``; a constant that
            no module holds has none.
        result: shape and data type.
        value: what it was when the call began; that of an argument or a state is not kept.
        trained: it requires a gradient.
        also: further names that the network has for the same parameter or buffer.
    """

    kind: Literal["argument", "parameter", "buffer", "state", "constant"]
    name: str
    result: Result
    value: np.ndarray | None = field(default=None, repr=False, compare=False)
    trained: bool = False
    also: tuple[str, ...] = ()


@dataclass(frozen=True)
class Note:
    """Something that the forward pass does not show.

    Attributes:
        kind: ``"data"``: memory was written past autograd, as by ``p.data.clamp_()``, so that torch's gradients are
            not those of the operations; ``"batch"``: the size of the batch could not be changed; ``"fewer"``: for a
            smaller batch it is another program; ``"guard"``: Python
            read a value only to raise an error; ``"unrolled"``: steps of time that could not be folded; ``"steps"``:
            for another number of steps it is another program.
        text: what was found, in words.
        line: where, as ``net.py:12``.
    """

    kind: Literal["data", "batch", "fewer", "guard", "unrolled", "steps"]
    text: str
    line: str = ""


@dataclass
class Program:
    """One call of a network.

    Attributes:
        inputs: what the leaves are.
        items: operations and loops, in the order in which they run.
        outputs: what the call returns, in the lists, tuples and dicts of the network: sources and literals.
        arguments: ``(args, kwargs)`` of the call, with leaves in place of tensors.
        updates: by the name of a state, buffer or parameter, what it is after the call; those only that it changed.
        batch: the argument leaves and axes that are the batch; none: its size is fixed.
        size: size of the batch that was traced.
        neurons: the neurons that are operations, by path, as numbers and words at the start of the call.
        notes: what the forward pass does not show.
        time: the argument leaves and axes that are the steps of time, if there may be another number of them.
        least: how many of them there must be.
        most: how many there may be, if a rule of the network is for more; None for any number.
        fewest: samples that a batch must have: with fewer it is another program.
        training: the layers that are as in training, by path.
        template: then, the same with rules in place of numbers: see :mod:`~snnax.interop.program.lengths`.
    """

    inputs: list[Input]
    items: list[Node | Loop]
    outputs: Any
    arguments: Any = ((), {})
    updates: dict[str, Any] = field(default_factory=dict)
    batch: list[tuple[Leaf, int]] = field(default_factory=list)
    size: int = 1
    neurons: dict[str, NeuronSpec] = field(default_factory=dict)
    notes: list[Note] = field(default_factory=list)
    time: list[tuple[Leaf, int]] = field(default_factory=list)
    least: int = 1
    most: int | None = None
    fewest: int = 1
    training: tuple[str, ...] = ()
    template: Any = field(default=None, repr=False)

    @property
    def loops(self) -> list[Loop]:
        """Its loops over time."""
        return [item for item in self.items if isinstance(item, Loop)]

    def nodes(self) -> Iterator[Node]:
        """All operations, those of a loop's body once."""
        for item in self.items:
            yield from item.body if isinstance(item, Loop) else (item,)


# --- Arguments in lists, tuples and dicts ---------------------------------------------------------


_HOLDERS = (dict, list, tuple)  # a tuple of classes is asked faster than a union of them


def mapped(tree: Any, function: Callable[[Any], Any]) -> Any:
    """``tree`` with ``function`` of everything in its lists, tuples and dicts."""
    if not isinstance(tree, _HOLDERS):
        return function(tree)
    if isinstance(tree, dict):
        return {key: mapped(part, function) for key, part in tree.items()}
    parts = [mapped(part, function) if isinstance(part, _HOLDERS) else function(part) for part in tree]
    if isinstance(tree, list):
        return parts
    return type(tree)(*parts) if hasattr(tree, "_fields") else tuple(parts)


def dataclasses_as_tuples(tree: Any) -> Any:
    """``tree`` with a named tuple of the same fields in place of each dataclass: JAX takes those apart."""
    if isinstance(tree, dict):
        return {key: dataclasses_as_tuples(part) for key, part in tree.items()}
    if isinstance(tree, list | tuple):
        parts = [dataclasses_as_tuples(part) for part in tree]
        return (
            parts
            if isinstance(tree, list)
            else type(tree)(*parts)
            if hasattr(tree, "_fields")
            else tuple(parts)
        )
    if is_dataclass(tree) and not isinstance(tree, type):
        names = tuple(part.name for part in fields(tree))
        return _fields_of(type(tree).__name__, names)(
            *(dataclasses_as_tuples(getattr(tree, name)) for name in names)
        )
    return tree


@cache
def _fields_of(name: str, names: tuple[str, ...]) -> Any:
    """One class for each dataclass: trees of two calls are equal only if theirs is the same."""
    return namedtuple(name, names, rename=True)


def flat(tree: Any) -> Iterator[Any]:
    """Everything in the lists, tuples and dicts of ``tree``, in order."""
    found: list[Any] = []
    _collect((tree,), found)
    return iter(found)


def _collect(parts: Iterable[Any], found: list[Any]) -> None:
    for part in parts:
        if not isinstance(part, _HOLDERS):
            found.append(part)
        elif part:
            _collect(part.values() if isinstance(part, dict) else part, found)


def filled(tree: Any, entries: list[Any]) -> Any:
    """``tree`` with ``entries``, as many as :func:`flat` finds, in place of what it holds."""
    rest = iter(entries)
    return mapped(tree, lambda _: next(rest))


def at(tree: Any, batch: int) -> Any:
    """``tree`` with the numbers that follow the batch for one of this size."""
    return mapped(tree, lambda entry: entry.at(batch) if isinstance(entry, Affine) else entry)
