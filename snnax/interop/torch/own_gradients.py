"""A ``torch.autograd.Function`` with its own derivative: its ``backward`` traced, beside what its ``forward`` does.

A call is run a second time, on copies of its arguments that have gradients and with a gradient for each result. What
that takes is written down by itself: the gradients of the arguments as data flow of the arguments and of the results'
gradients, whatever ``forward`` keeps for ``backward``. The program then has the operations of ``forward``, through
which no gradient goes, and :data:`~snnax.interop.program.nodes.PULLBACK`, by which it goes.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from threading import get_ident
from types import TracebackType
from typing import Any

import torch
from torch import Tensor
from torch.autograd import function as autograd

from snnax.interop.program import operators
from snnax.interop.program.derivatives import DECREED
from snnax.interop.program.nodes import PULLBACK, Given, Input, Leaf, Node, Ref, Source, flat, mapped
from snnax.interop.torch.dispatch import Dispatcher, Longer, moving, reading_lines
from snnax.interop.torch.frames import TRAINING
from snnax.interop.torch.values import Form

_HOME: Any = autograd._SingleLevelFunction
_KNOWN = frozenset({*operators.known(), *DECREED})


class Untraced(Exception):
    """A derivative is no data flow; says why."""


class OwnGradients:
    """While it is entered, calls of ``torch.autograd.Function`` in this thread are recorded with their derivatives.

    All of them end in one method of torch, however they were named before: ``spike = Spike.apply``. Other threads find
    it as it was.

    Args:
        dispatcher: records.
        inputs: what its leaves are.
        surrogate: of a class and the arguments of a call, the surrogate if that is a known spike function: these are
            recorded by their names.
    """

    def __init__(
        self,
        dispatcher: Dispatcher,
        inputs: Sequence[Input],
        surrogate: Callable[[type, tuple[Any, ...]], Any],
    ) -> None:
        self._dispatcher = dispatcher
        self._inputs = inputs
        self._surrogate = surrogate
        self._thread = get_ident()
        self._inside = False

    def __enter__(self) -> OwnGradients:
        """Begin."""

        def apply(cls: type, *args: Any) -> Any:
            original: Any = super(_HOME, cls).apply  # type: ignore[misc]
            return self._called(cls, original, args) if self._watches(cls, args) else original(*args)

        _HOME.apply = classmethod(apply)
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        """End."""
        del _HOME.apply

    def _watches(self, cls: type, args: tuple[Any, ...]) -> bool:
        """False for a call in another thread, inside of another call, or of a known spike function."""
        if self._thread != get_ident() or self._inside or self._dispatcher.paused:
            return False
        return self._surrogate(cls, args) is None

    def _called(self, cls: type, original: Callable[..., Any], args: tuple[Any, ...]) -> Any:
        """One call, recorded."""
        dispatcher = self._dispatcher
        self._inside = True
        try:
            with dispatcher.decreeing():
                derivative = _Derivative(dispatcher, self._inputs, original, args)
            decreed = True
        except Untraced as reason:
            dispatcher.untraced(str(reason))
            decreed = False
        try:
            if not decreed:
                return original(*args)
            start = len(dispatcher.nodes)
            with dispatcher.decreeing():
                returned = original(*args)
            if _computed(dispatcher.nodes[start:]) != derivative.forward:
                dispatcher.blocked(*TRAINING)
        finally:
            self._inside = False
        several = isinstance(returned, tuple)
        outs = list(returned) if several else [returned]
        derivative.attach(args, outs)
        return tuple(outs) if several else outs[0]


def _computed(nodes: Sequence[Node]) -> list[str]:
    """Operations by name, without the copies that are made of what is saved."""
    return [node.op for node in nodes if node.op not in ("detach", "alias")]


class _Derivative:
    """What the gradients of one call are made of.

    Args:
        dispatcher: of the network.
        inputs: what the leaves of the network are.
        original: the function.
        args: its arguments.

    Attributes:
        forward: the operations of the function itself, by name.

    Raises:
        Untraced: the reason.
    """

    def __init__(
        self,
        dispatcher: Dispatcher,
        inputs: Sequence[Input],
        original: Callable[..., Any],
        args: tuple[Any, ...],
    ) -> None:
        self._dispatcher = dispatcher
        self._inputs = inputs
        self.forward: list[str] = []
        self._leaves: list[Source | Given] = []
        self._inner = Dispatcher(dispatcher.label, self._other)
        self.differentiable: list[int] = []
        self.dirty: set[int] = set()
        with torch.random.fork_rng(devices=[]), torch.enable_grad(), dispatcher.pause():
            self._ends = self._run(original, args)
        self.body = self._packed()

    def _other(self, tensor: Tensor) -> tuple[Source, str]:
        """A tensor from outside of the call."""
        return self._leaf(self._dispatcher.read(tensor)), ""

    def _leaf(self, source: Source | Given) -> Leaf:
        self._leaves.append(source)
        return Leaf(len(self._leaves) - 1)

    def _run(self, original: Callable[..., Any], args: tuple[Any, ...]) -> dict[int, Source]:
        """By the leaf of an argument, its gradient."""
        leaves: dict[int, Tensor] = {}
        given = list(args)
        for place, value in enumerate(args):
            if isinstance(value, Tensor):
                leaf = self._leaf(self._dispatcher.read(value)).index
                copy = value.detach().clone()
                if copy.is_floating_point():
                    leaves[leaf] = copy.requires_grad_()
                given[place] = (
                    copy.clone()
                )  # a function may write into its argument, but not into a leaf of autograd
                self._inner.values.bind(given[place], Leaf(leaf))
        try:
            with self._inner:
                returned = original(*given)
            self.forward = _computed(self._inner.nodes)
            outs = list(returned) if isinstance(returned, tuple) else [returned]
            self.differentiable = [
                place for place, out in enumerate(outs) if isinstance(out, Tensor) and out.requires_grad
            ]
            self.dirty = {place for place, out in enumerate(outs) if any(out is value for value in given)}
            ends = [outs[place] for place in self.differentiable]
            gradients = [torch.ones_like(out) for out in ends]
            for position, gradient in enumerate(gradients):
                self._inner.values.bind(gradient, self._leaf(Given("gradient", position)))
            if not ends or not leaves:
                return {}
            with self._inner:
                found = torch.autograd.grad(ends, list(leaves.values()), gradients, allow_unused=True)
            read = {leaf: self._inner.read(g) for leaf, g in zip(leaves, found, strict=True) if g is not None}
        except Longer:
            raise
        except Exception as error:
            raise Untraced(f"it raises {type(error).__name__}: {error}") from error
        if self._inner.problems:
            raise Untraced(self._inner.problems[0].problem)
        if self._inner.reads:
            moves = [not self._is_constant(source) for source in self._leaves]
            for line in reading_lines(self._inner.nodes, moves):
                raise Untraced(f"Python reads a value of a tensor at {line}")
        return read

    def _is_constant(self, source: Any) -> bool:
        """True for a number that Python made a tensor of, and what is computed of such ones."""
        if isinstance(source, Ref):
            nodes = self._dispatcher.nodes[: source.node + 1]
            return not moving(nodes, [known.kind != "constant" for known in self._inputs])[-1]
        return isinstance(source, Leaf) and self._inputs[source.index].kind == "constant"

    def _packed(self) -> tuple[tuple[Any, ...], ...]:
        """The operations that the gradients need, as literals in the arguments of an operation."""
        nodes = self._inner.nodes
        needed: set[int] = set()
        todo = [end.node for end in self._ends.values() if isinstance(end, Ref)]
        while todo:
            index = todo.pop()
            if index not in needed:
                needed.add(index)
                todo += [entry.node for entry in nodes[index].inputs if isinstance(entry, Ref)]
        self._places = {old: new for new, old in enumerate(sorted(needed))}
        return tuple(self._literal(nodes[index]) for index in self._places)

    def _literal(self, node: Node) -> tuple[Any, ...]:
        if operators.is_random(node.op):
            raise Untraced(f"it needs what {node.op} draws at {node.line}")
        if node.op not in _KNOWN:
            raise Untraced(f"torch's operation {node.op} at {node.line} is not known")
        args, kwargs = mapped((node.args, node.kwargs), self._given)
        return (node.op, args, kwargs, tuple((result.shape, result.dtype) for result in node.results))

    def _given(self, entry: Any) -> Any:
        """A source of the derivative."""
        if isinstance(entry, Leaf):
            source = self._leaves[entry.index]
            return source if isinstance(source, Given) else Given("input", entry.index)
        return Given("operation", self._places[entry.node], entry.out) if isinstance(entry, Ref) else entry

    def attach(self, args: tuple[Any, ...], outs: list[Any]) -> None:
        """Let the gradients of ``outs``, what the recorded call returned, go this way."""
        dispatcher = self._dispatcher
        ends = {leaf: self._given(end) for leaf, end in self._ends.items()}
        if not ends:
            return
        used = {e.index for e in flat((self.body, ends)) if isinstance(e, Given) and e.kind == "input"}
        inputs = [
            source if index in ends or index in used else None for index, source in enumerate(self._leaves)
        ]
        inputs = [None if isinstance(source, Given) else source for source in inputs]
        gradients = [ends.get(index) for index in range(len(inputs))]
        values = [dispatcher.read(outs[place]) for place in self.differentiable]
        forms = [Form.of(outs[place]) for place in self.differentiable]
        node = dispatcher.emit(PULLBACK, (values, inputs, self.body, gradients), {}, forms)
        for position, place in enumerate(self.differentiable):
            if place in self.dirty:
                dispatcher.values.write(outs[place], Ref(node, position))
                continue
            with dispatcher.pause():
                outs[place] = outs[place].clone()
            dispatcher.values.bind(outs[place], Ref(node, position))
