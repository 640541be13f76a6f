"""One time step cut out of a recorded call, and the comparison of steps, and of calls."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass
from functools import cached_property
from itertools import count, zip_longest
from math import prod
from typing import TYPE_CHECKING, Any

from torch import nn

from snnax.errors import ConversionError
from snnax.interop.program.nodes import flat
from snnax.interop.torch import held
from snnax.interop.torch.layouts import Layout, Layouts
from snnax.interop.torch.records import Op, Recording, Value
from snnax.interop.torch.step_graph import INPUT, Source, StepNode

if TYPE_CHECKING:
    from snnax.interop.frameworks.adapter import Words

_OWN = "Give each layer its own neuron, or thread its own states: spk1, mem1 = self.lif1(cur1, mem1)."
_EVERY = "Return every step of each layer, as torch.stack(spk_rec), and reset states before the loop only."
_CHANGES = (
    "Only what every call computes with can be ported: set it before the loop, or give each stage layers and a "
    "network of its own."
)
_LOOP = "Let each step read x[t] and the states of the step before, and nothing else of another step."
_ONCE = "Let every call of forward do the same: keep schedules and counters outside, and hand states on as arguments."
_LAYERS = ("module", "neuron", "sequence")


class Chains:
    """Neuron calls linked by their states: calls of one layer at successive time steps.

    Args:
        calls: all neuron calls in order of execution.

    Raises:
        ConversionError: a neuron reads another neuron's state, or two calls read the same.
    """

    def __init__(self, calls: list[Op]) -> None:
        self._chains: list[list[Op]] = []
        self._place: dict[Op, tuple[int, int]] = {}
        for op in calls:
            before = _previous(op)
            if before is None:
                self._chains.append([])
            number = len(self._chains) - 1 if before is None else self.chain_of(before)
            chain = self._chains[number]
            if before is not None and chain[-1] is not before:
                raise ConversionError(op.name, "two calls start from the same state", _OWN, op.line)
            self._place[op] = (number, len(chain))
            chain.append(op)

    @property
    def longest(self) -> list[Op]:
        """The calls of the longest chain, as many as there are steps."""
        return max(self._chains, key=len, default=[])

    @property
    def starts(self) -> list[Op]:
        """First call of each chain."""
        return [chain[0] for chain in self._chains]

    def calls_at(self, t: int) -> list[Op]:
        """Calls of step ``t``."""
        return [chain[t] for chain in self._chains]

    def step_of(self, op: Op) -> int:
        """Step to which a call belongs."""
        return self._place[op][1]

    def chain_of(self, op: Op) -> int:
        """Number of the chain to which a call belongs."""
        return self._place[op][0]

    def check(self, num_steps: int, looped: bool) -> None:
        """Refuse layers that do not run once in each step, and states that one call forgets."""
        for chain in self._chains:
            first = chain[0]
            if len(chain) != num_steps:
                problem = f"it goes on from its own state for {len(chain)} calls, and forward returns {num_steps} steps"
                raise ConversionError(first.name, problem, f"{_EVERY} {_OWN}", first.line)
            if not looped and None in first.states.values():
                raise ConversionError(
                    first.name,
                    "forward takes its state from no argument and runs one step, so that each call forgets the last, "
                    "or keeps it in an attribute (self.mem = mem), where it cannot be followed",
                    "Take the state as an argument of forward and return the new one, build the neuron with "
                    "init_hidden=True, or loop over time inside forward and return torch.stack(spk_rec).",
                    first.line,
                )

    def blocked(self, num_steps: int) -> frozenset[str]:
        """Modules with several layers, of which one runs all steps before the next starts."""
        found = set()
        for name in {first.name for first in self.starts}:
            numbers = [n for n, chain in enumerate(self._chains) if chain[0].name == name]
            calls = sorted((op for n in numbers for op in self._chains[n]), key=lambda op: op.index)
            order = [self.chain_of(op) for op in calls]
            if len(numbers) > 1 and order != numbers * num_steps:
                if order != [n for n in numbers for _ in range(num_steps)]:
                    raise ConversionError(name, "its layers take turns in an irregular order", _OWN)
                found.add(name)
        return frozenset(found)


def _previous(op: Op) -> Op | None:
    """The call whose states ``op`` continues from; None for an initial state."""
    calls = []
    for port, value in op.states.items():
        if value is None or value.op.kind == "arg":
            continue
        source = value.op
        if source.kind not in ("neuron", "state"):
            problem = (
                f"its {port} was changed between two steps, by {source.name} in forward of {source.where!r}"
            )
            raise ConversionError(
                op.name, problem, "Hand the state on as the neuron returned it.", source.line
            )
        state, owner = (value.port, source.name) if source.kind == "neuron" else (source.name, source.where)
        if source.module is not op.module or state != port:
            problem = f"the {port} it is given is the {state} of {owner!r}"
            raise ConversionError(op.name, problem, _OWN, op.line)
        if source.kind == "neuron":
            calls.append(source)
    if not calls:
        return None
    if len(set(calls)) > 1 or len(calls) < len(op.states):
        problem = f"its states {', '.join(op.states)} come from different steps"
        raise ConversionError(op.name, problem, _OWN, op.line)
    return calls[0]


# --- Parts of calls, and how they differ ----------------------------------------------------------


class Part:
    """Operations of a recorded call, in order of execution, and what each of them reads.

    Args:
        name: what to call it in errors.
        ops: the operations.
        ends: what is returned.
    """

    def __init__(self, name: str, ops: Iterable[Op], ends: Iterable[Value]) -> None:
        self.name = name
        self.ops = [op for op in ops if op.kind not in ("arg", "state")]
        self.ends = [*ends]
        self._places = {op: place for place, op in enumerate(self.ops)}

    def at(self, value: Value) -> Value:
        """What ``value`` is here."""
        return value

    def sources(self, values: Iterable[Value | None]) -> list[Any]:
        """Which operations, or arguments and states, values come from."""
        found = [None if value is None else self.at(value) for value in values]
        return [v and (self._places.get(v.op, (v.op.name, v.op.where)), v.port) for v in found]

    def what(self, op: Op) -> tuple[Any, ...]:
        """What must be the same in two parts, what it reads and what the modules hold apart."""
        return op.kind, op.name, op.shape, op.factor, op.axis, op.position, type(op.module)

    def held(self, op: Op) -> Any:
        """The layer as the call found it."""
        return op.held

    def states(self, op: Op) -> Any:
        """Where the states of a neuron come from."""
        return self.sources(op.states.values())


@dataclass
class Loop:
    """A recorded loop over time, ready to be cut.

    Attributes:
        live: operations that matter, in order of execution.
        layouts: their layouts.
        chains: neuron calls by step.
        outputs: what was returned: values, or lists of one value per step.
        num_steps: length of the loop.
        modules: the user's modules by path.
        words: what the framework's users are told.
    """

    live: list[Op]
    layouts: Layouts
    chains: Chains
    outputs: list[Any]
    num_steps: int
    modules: dict[str, nn.Module]
    words: Words

    def step(self) -> Step:
        """The first step.

        Raises:
            ConversionError: another step is none of its kind, or reads another one.
        """
        first = Step(self, 0)
        for t in range(1, self.num_steps):
            problem = difference(first, Step(self, t), _LOOP, self.words.norms)
            if problem is not None:
                raise problem
        return first

    @cached_property
    def timed(self) -> dict[str, nn.ModuleList]:
        """Lists of batch normalisations of which each step uses its own."""
        used = {op.name: op.held for op in self.live if op.kind == "module"}
        lists = {
            path: m
            for path, m in self.modules.items()
            if isinstance(m, nn.ModuleList) and f"{path}.1" in used
        }
        return {
            path: nn.ModuleList(used.get(f"{path}.{t}") or norm for t, norm in enumerate(norms))
            for path, norms in lists.items()
            if self.num_steps > 1
            and all(isinstance(m, nn.BatchNorm1d | nn.BatchNorm2d) and m.bias is None for m in norms)
        }


class Step(Part):
    """Step ``t`` of a loop.

    Raises:
        ConversionError: it reads another step.
    """

    def __init__(self, loop: Loop, t: int) -> None:
        self._loop, self._t = loop, t
        ends = [self.at(value[t] if isinstance(value, list) else value) for value in loop.outputs]
        needed = self._reach([v.op for v in ends] + loop.chains.calls_at(t))
        super().__init__(f"step {t}", (op for op in loop.live if op in needed), ends)

    def timed(self, op: Op) -> str:
        """The list of normalisations that a layer of this step is one of, if it is."""
        home, _, number = op.name.rpartition(".")
        return home if number == str(self._t) and home in self._loop.timed else ""

    def what(self, op: Op) -> tuple[Any, ...]:
        """With the list of normalisations in place of that of one step."""
        return self.timed(op) or super().what(op), op.shape

    def held(self, op: Op) -> Any:
        """Nothing of a normalisation that each step has one of."""
        return None if self.timed(op) else op.held

    def states(self, op: Op) -> Any:
        """The layer whose states they are."""
        return self._loop.chains.chain_of(op) if op.kind == "neuron" else None

    def at(self, value: Value) -> Value:
        """What ``value`` is at this step: follows indexing, stacking and reshapes that only move time."""
        while True:
            op = value.op
            if op.kind in ("index", "slice"):
                if op.position != self._t and self._loop.layouts.of(op.inputs[0].op) != Layout.CHUNK:
                    problem = f"step {self._t} reads entry {op.position} of time"
                    raise ConversionError(op.where, problem, _LOOP, op.line)
                value = op.inputs[0]
            elif op.kind in ("stack", "cat"):
                value = self._item(op)
            elif op.kind == "transpose" or self._moves_time_only(op):
                value = op.inputs[0]
            else:
                return value

    def _item(self, op: Op) -> Value:
        """The entry of a stack, or of a cat that grew step by step, that belongs to this step."""
        items: list[Value] = []
        todo = list(op.inputs)
        while todo:
            part = todo.pop(0)
            grown = self._loop.layouts.of(part.op) == Layout.TIME_FIRST
            if grown and part.op.kind in ("stack", "cat"):
                todo = list(part.op.inputs) + todo
            else:
                items.append(part)
        if len(items) != self._loop.num_steps:
            problem = f"{op.name} joins {len(items)} tensors, and the loop over time has {self._loop.num_steps} steps"
            raise ConversionError(op.where, problem, _LOOP, op.line)
        return items[self._t]

    def _moves_time_only(self, op: Op) -> bool:
        """True for a reshape that leaves each sample of each step as it is."""
        shape = self._loop.layouts.sample_shape
        return op.kind == "reshape" and op.module is None and shape(op.inputs[0].op) == shape(op)

    def _reach(self, ops: list[Op]) -> set[Op]:
        """Operations of this step on which ``ops`` depend; states are not followed into the step before."""
        seen: set[Op] = set()
        todo = list(ops)
        while todo:
            op = todo.pop()
            if op in seen:
                continue
            if op.kind == "neuron" and (step := self._loop.chains.step_of(op)) != self._t:
                problem = f"step {self._t} uses what it returned in step {step}"
                raise ConversionError(op.name, problem, self._loop.words.feedback, op.line)
            seen.add(op)
            todo += [self.at(v).op for v in op.inputs]
        return seen


def difference(one: Part, other: Part, remedy: str, norms: str = "") -> ConversionError | None:
    """How a part of a call differs from another one that must be the same; ``norms``: remedy for layers of each."""

    def error(op: Op, problem: str, remedy: str = remedy) -> ConversionError:
        return ConversionError(op.name if op.kind in _LAYERS else op.where, problem, remedy, op.line)

    for a, b in zip_longest(one.ops, other.ops):
        if a is None or b is None or one.what(a) != other.what(b):
            siblings = a is not None and b is not None and _are_siblings(a.name, b.name)
            problem = f"{other.name} uses {_described(b)} where {one.name} uses {_described(a)}"
            return error(b or a, problem, norms if norms and siblings else remedy)
        if changed := held.difference(one.held(a), other.held(b)):
            return error(b, f"forward changes its {changed}, between {one.name} and {other.name}", _CHANGES)
        for what, ours, theirs in (
            ("input", one.sources(a.inputs), other.sources(b.inputs)),
            ("states", one.states(a), other.states(b)),
        ):
            if ours != theirs:
                return error(
                    b, f"{other.name} takes the {what} of {b.name} from somewhere else than {one.name}"
                )
    if one.sources(one.ends) != other.sources(other.ends):
        return error(other.ops[-1], f"{other.name} returns something else than {one.name}")
    return None


def calls_difference(first: Recording, again: Recording) -> ConversionError | None:
    """Why a second call does not compute what the first one did; None if it does."""
    if blockers := again.blockers():
        error = ConversionError.joined(blockers)
        problem = f"in a second call of the network: {error.problem}"
        return ConversionError(error.node, problem, error.remedy, error.line, error.others)
    parts = [
        Part(f"the {name} call of the network", recording.live(), flat(recording.result))
        for name, recording in (("first", first), ("second", again))
    ]
    return difference(parts[0], parts[1], _ONCE)


def _are_siblings(a: str, b: str) -> bool:
    """True for the names of two layers of one list."""
    (home, _, first), (other, _, second) = a.rpartition("."), b.rpartition(".")
    return bool(home) and home == other and first.isdigit() and second.isdigit()


def _described(op: Op | None) -> str:
    if op is None:
        return "nothing"
    return f"{op.name!r}" + (f" ({op.factor:g})" if op.factor is not None else "")


# --- The graph of a step --------------------------------------------------------------------------


class Nodes:
    """The nodes of a step.

    Attributes:
        nodes: in order of execution.
        names: node name of each call of a module.
    """

    def __init__(self, step: Step, loop: Loop) -> None:
        self.nodes: list[StepNode] = []
        self.names: dict[Op, str] = {}
        self._step, self._loop = step, loop
        self._sources: dict[tuple[Op, str], Source] = {}
        self._taken = {INPUT, *loop.modules}
        self._first_use: dict[int, str] = {}
        for op in step.ops:
            self._emit(op)
        self.outputs = tuple(map(self._source, step.ends))

    def _source(self, value: Value) -> Source:
        """Where the value comes from, in names of this step."""
        if value.op.kind == "state":
            problem = f"its {value.op.name} is used before the neuron runs in this step"
            raise ConversionError(value.op.where, problem, "Use the state that the neuron returns.")
        return Source(INPUT) if value.op.kind == "arg" else self._sources[value.op, value.port]

    def _emit(self, op: Op) -> None:
        """Add the node, or nodes, of one operation."""
        inputs = tuple(self._source(self._step.at(v)) for v in op.inputs)
        shape = self._loop.layouts.sample_shape(op)
        if op.kind == "reshape":
            self._sources[op, "out"] = self._reshape(op, inputs, shape)
        elif op.kind in ("add", "scale"):
            name = self._numbered(op.kind)
            self.nodes.append(StepNode(name, None, op.kind, inputs, shape, op.factor))
            self._sources[op, "out"] = Source(name)
        elif op.hint == "functional":
            self._sources[op, "out"] = self._add(self._numbered(op.name), op.module, inputs, shape, op.held)
        else:
            timed = self._step.timed(op)
            now = self._loop.timed[timed] if timed else op.held
            source = self._add(timed or op.name, self._loop.modules[timed or op.name], inputs, shape, now)
            self.names[op] = source.node
            ports = ("out",) if op.kind == "module" else ("spk", "mem", *op.states, "mem_prev")
            self._sources |= {(op, port): Source(source.node, port) for port in ports}

    def _reshape(self, op: Op, inputs: tuple[Source, ...], shape: tuple[int, ...]) -> Source:
        """The user's Flatten if it flattens each sample; otherwise Flatten, Unflatten, or both."""
        layouts, entry = self._loop.layouts, op.inputs[0].op
        before = layouts.sample_shape(entry)
        if op.module is not None and layouts.of(entry).lead == 1:
            return self._add(op.name, self._loop.modules[op.name], inputs, shape)
        if before == shape:
            return inputs[0]
        if len(before) != 1:
            inputs = (self._add(self._numbered("flatten"), nn.Flatten(1), inputs, (prod(shape),)),)
        if len(shape) != 1:
            return self._add(self._numbered("unflatten"), nn.Unflatten(1, shape), inputs, shape)
        return inputs[0]

    def _numbered(self, kind: str) -> str:
        """A free name for a functional operation."""
        name = next(name for n in count(1) if (name := f"{kind}_{n}") not in self._taken)
        self._taken.add(name)
        return name

    def _add(
        self,
        name: str,
        module: nn.Module | None,
        inputs: tuple[Source, ...],
        shape: tuple[int, ...],
        now: nn.Module | None = None,
    ) -> Source:
        """Append a module node under a name of its own."""
        used = {node.name for node in self.nodes}
        name = next(free for n in count(1) if (free := f"{name}#{n}" if n > 1 else name) not in used)
        first = self._first_use.setdefault(id(module), name)
        shared = first if first != name else None
        self.nodes.append(StepNode(name, module, "module", inputs, shape, None, shared, now or module))
        return Source(name)
