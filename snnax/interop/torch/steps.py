"""One time step cut out of a recorded call."""

from __future__ import annotations

from dataclasses import dataclass
from math import prod
from typing import TYPE_CHECKING, Any

from torch import nn

from snnax.errors import ConversionError
from snnax.interop.torch import held
from snnax.interop.torch.layouts import Layout, Layouts
from snnax.interop.torch.records import Op, Value
from snnax.interop.torch.step_graph import INPUT, Source, StepNode

if TYPE_CHECKING:
    from snnax.interop.frameworks.adapter import Words

# --- Chains of states: which calls of a neuron are the same layer at successive time steps --------

_OWN = "Give each layer its own neuron, or thread its own states: spk1, mem1 = self.lif1(cur1, mem1)."


class Chains:
    """Neuron calls linked by their states.

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
                self._place[op] = (len(self._chains), 0)
                self._chains.append([op])
                continue
            chain, position = self._place[before]
            if position + 1 != len(self._chains[chain]):
                raise ConversionError(op.name, "two calls start from the same state", _OWN)
            self._place[op] = (chain, position + 1)
            self._chains[chain].append(op)

    @property
    def longest(self) -> int:
        """Calls in the longest chain: the number of steps."""
        return max(map(len, self._chains), default=1)

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
        if len(self._place) < num_steps * len({op.name for op in self._place}):
            raise ConversionError(
                self._chains[0][0].name,
                f"it runs {self.longest} times, and forward returns {num_steps} tensors joined into one",
                "Join the outputs of one layer over time only, and return several layers as a tuple.",
            )
        for chain in self._chains:
            first = chain[0]
            if len(chain) > num_steps and len(chain) % num_steps:
                raise ConversionError(
                    first.name,
                    f"it runs {len(chain)} steps, and forward returns {num_steps}",
                    "Return the output of every step: torch.stack(spk_rec).",
                )
            if len(chain) > num_steps:
                raise self.shared_state(num_steps)
            if len(chain) < num_steps:
                raise ConversionError(
                    first.name,
                    f"it continues from its own state for {len(chain)} of {num_steps} steps only, so its "
                    "state is reset or replaced inside the loop over time",
                    _OWN,
                )
            if not looped and None in first.states.values():
                raise ConversionError(
                    first.name,
                    "forward takes its state from no argument and runs one step, so that each call forgets the last, "
                    "or keeps it in an attribute (self.mem = mem), where it cannot be followed",
                    "Take the state as an argument of forward and return the new one, build the neuron with "
                    "init_hidden=True, or loop over time inside forward and return torch.stack(spk_rec).",
                )

    def shared_state(self, num_steps: int = 1) -> ConversionError:
        """The error for a state that is advanced more than once in a step."""
        name = max(self._chains, key=len)[0].name
        times = f"{self.longest} times in {num_steps} {'step' if num_steps == 1 else 'steps'}"
        return ConversionError(name, f"its state is advanced {times}: two layers share it", _OWN)

    def blocked(self, num_steps: int) -> frozenset[str]:
        """Modules with several layers, of which one runs all steps before the next starts."""
        found = set()
        for name in {chain[0].name for chain in self._chains}:
            chains = [c for c in self._chains if c[0].name == name]
            calls = sorted((op for chain in chains for op in chain), key=lambda op: op.index)
            order = [self.chain_of(op) for op in calls]
            numbers = sorted(set(order))
            blocks = [n for n in numbers for _ in range(num_steps)]
            if len(chains) > 1 and order != numbers * num_steps:
                if order != blocks:
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
            raise ConversionError(
                op.name,
                f"its {port} was changed between two steps, by {source.name} in forward of {source.where!r}",
                "Hand the state on as the neuron returned it.",
            )
        state, owner = (value.port, source.name) if source.kind == "neuron" else (source.name, source.where)
        if source.module is not op.module or state != port:
            raise ConversionError(op.name, f"the {port} it is given is the {state} of {owner!r}", _OWN)
        if source.kind == "neuron":
            calls.append(source)
    if not calls:
        return None
    if len(set(calls)) > 1 or len(calls) < len(op.states):
        raise ConversionError(op.name, f"its states {', '.join(op.states)} come from different steps", _OWN)
    return calls[0]


CHANGES = (
    "Only what every call computes with can be ported: set it before the loop, or give each stage layers and a "
    "network of its own."
)
_LOOP = "Let each step read x[t] and the states of the step before, and nothing else of another step."


@dataclass
class Step:
    """Nodes and outputs of one step.

    Attributes:
        nodes: in order of execution.
        outputs: what is returned.
        names: node name of each neuron call.
        chains: chain number of each neuron node.
    """

    nodes: list[StepNode]
    outputs: tuple[Source, ...]
    names: dict[Op, str]
    chains: dict[str, int]


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


def build_step(loop: Loop, t: int) -> Step:
    """The graph of step ``t``.

    Raises:
        ConversionError: the step reads another step.
    """
    builder = _Builder(loop, t)
    wanted = [builder.at_step(v[t] if isinstance(v, list) else v) for v in loop.outputs]
    needed = builder.reach([v.op for v in wanted] + loop.chains.calls_at(t))
    for op in loop.live:
        if op in needed:
            builder.emit(op)
    return Step(builder.nodes, tuple(map(builder.source, wanted)), builder.names, builder.chain_numbers)


def timed_norms(loop: Loop) -> dict[str, nn.ModuleList]:
    """Lists of batch normalisations of which each step uses its own."""
    used = {op.name: op.held for op in loop.live if op.kind == "module"}
    lists = {
        path: m for path, m in loop.modules.items() if isinstance(m, nn.ModuleList) and f"{path}.1" in used
    }
    return {
        path: nn.ModuleList(used.get(f"{path}.{t}") or norm for t, norm in enumerate(norms))
        for path, norms in lists.items()
        if loop.num_steps > 1
        and all(isinstance(m, nn.BatchNorm1d | nn.BatchNorm2d) and m.bias is None for m in norms)
    }


def difference(first: Step, other: Step, t: int, words: Words) -> tuple[str, str, str] | None:
    """Node, problem and remedy if step ``t`` is not the same as step 0."""
    for a, b in zip(first.nodes, other.nodes, strict=False):
        if _key(a) == _key(b) and (changed := held_difference(a, b)):
            return b.name, f"forward changes its {changed}, between step 0 and step {t}", CHANGES
        if _key(a) != _key(b) and _siblings(a.name, b.name):
            problem = f"step {t} uses a layer of its own, {b.name!r}, where step 0 uses {a.name!r}"
            return b.name, problem, words.norms
        if _key(a) != _key(b):
            return b.name, f"step {t} uses {_describe(b)} where step 0 uses {_describe(a)}", _LOOP
        if a.inputs != b.inputs:
            return (
                b.name,
                f"its input is {_list(b.inputs)} in step {t} and {_list(a.inputs)} in step 0",
                _LOOP,
            )
    if len(first.nodes) != len(other.nodes):
        longer, step = (first, 0) if len(first.nodes) > len(other.nodes) else (other, t)
        extra = longer.nodes[min(len(first.nodes), len(other.nodes))]
        return extra.name, f"step {step} uses {_describe(extra)}, step {t - step} does not", _LOOP
    if first.chains != other.chains:
        name = next(n for n in first.chains if first.chains[n] != other.chains.get(n))
        return name, f"step {t} continues from the states of another layer than step 0", _LOOP
    if first.outputs != other.outputs:
        problem = f"step {t} returns {_list(other.outputs)}, step 0 {_list(first.outputs)}"
        return first.nodes[-1].name, problem, _LOOP
    return None


def _key(node: StepNode) -> tuple[Any, ...]:
    """What must be the same in all steps, wiring and what the modules hold apart."""
    return node.name, node.op, node.shape, node.factor, repr(type(node.module))


def held_difference(a: StepNode, b: StepNode) -> str:
    """Name of the first parameter, buffer or attribute that two calls of a layer found different."""
    if a.held is b.held or a.module is None:
        return ""
    return held.difference(a.held, b.held)


def _siblings(a: str, b: str) -> bool:
    """True for the names of two layers of one list."""
    (home, _, first), (other, _, second) = a.rpartition("."), b.rpartition(".")
    return bool(home) and home == other and first.isdigit() and second.isdigit()


def _describe(node: StepNode) -> str:
    return f"{node.name!r}" + (f" ({node.factor:g})" if node.factor is not None else "")


def _list(sources: tuple[Source, ...]) -> str:
    return ", ".join(s.node if s.port == "out" else f"{s.node}.{s.port}" for s in sources)


class _Builder:
    """Collects the nodes of one step."""

    def __init__(self, loop: Loop, t: int) -> None:
        self.nodes: list[StepNode] = []
        self.names: dict[Op, str] = {}
        self.chain_numbers: dict[str, int] = {}
        self._layouts = loop.layouts
        self._chains = loop.chains
        self._t = t
        self._num_steps = loop.num_steps
        self._words = loop.words
        self._modules = loop.modules
        self._sources: dict[tuple[Op, str], Source] = {}
        self._taken = {INPUT, *loop.modules}
        self._timed = timed_norms(loop)
        self._first_use: dict[int, str] = {}

    def at_step(self, value: Value) -> Value:
        """What ``value`` is at this step: follows indexing, stacking and reshapes that only move time."""
        while True:
            op = value.op
            if op.kind in ("index", "slice"):
                if op.position != self._t and self._layouts.of(op.inputs[0].op) != Layout.CHUNK:
                    raise ConversionError(
                        op.where, f"step {self._t} reads entry {op.position} of time", _LOOP
                    )
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
            if self._layouts.of(part.op) != Layout.TIME_FIRST:
                items.append(part)
            elif part.op.kind in ("stack", "cat"):
                todo = list(part.op.inputs) + todo
            else:
                raise ConversionError(op.where, f"{op.name} extends a whole sequence", _LOOP)
        if len(items) != self._num_steps:
            problem = (
                f"{op.name} joins {len(items)} tensors, and the loop over time has {self._num_steps} steps"
            )
            raise ConversionError(op.where, problem, _LOOP)
        return items[self._t]

    def _moves_time_only(self, op: Op) -> bool:
        """True for a reshape that leaves each sample of each step as it is."""
        if op.kind != "reshape":
            return False
        same = self._layouts.sample_shape(op.inputs[0].op) == self._layouts.sample_shape(op)
        return same and op.module is None

    def reach(self, ops: list[Op]) -> set[Op]:
        """Operations of this step on which ``ops`` depend; states are not followed into the step before."""
        seen: set[Op] = set()
        todo = list(ops)
        while todo:
            op = todo.pop()
            if op in seen:
                continue
            if op.kind == "neuron" and self._chains.step_of(op) != self._t:
                raise ConversionError(
                    op.name,
                    f"step {self._t} uses what it returned in step {self._chains.step_of(op)}",
                    self._words.feedback,
                )
            seen.add(op)
            todo += [self.at_step(v).op for v in op.inputs]
        return seen

    def source(self, value: Value) -> Source:
        """Where the value comes from, in names of this step."""
        if value.op.kind == "state":
            raise ConversionError(
                value.op.where,
                f"its {value.op.name} is used before the neuron runs in this step",
                "Use the state that the neuron returns.",
            )
        return Source(INPUT) if value.op.kind == "arg" else self._sources[value.op, value.port]

    def emit(self, op: Op) -> None:
        """Add the node, or nodes, of one operation."""
        if op.kind in ("arg", "state"):
            return
        inputs = tuple(self.source(self.at_step(v)) for v in op.inputs)
        shape = self._layouts.sample_shape(op)
        if op.kind == "neuron":
            name = self._add(op.name, self._modules[op.name], inputs, shape, op.held)
            self.names[op] = name
            self.chain_numbers[name] = self._chains.chain_of(op)
            for port in ("spk", *op.states, "mem_prev"):
                self._sources[op, port] = Source(name, port)
        elif op.kind == "reshape":
            self._sources[op, "out"] = self._reshape(op, inputs, shape)
        elif op.kind in ("add", "scale"):
            name = self._numbered(op.kind)
            self.nodes.append(StepNode(name, None, op.kind, inputs, shape, op.factor))
            self._sources[op, "out"] = Source(name)
        elif op.kind == "sequence":
            name = self._add(op.name, self._modules[op.name], inputs, shape, op.held)
            self._sources.update({(op, port): Source(name, port) for port in ("spk", "mem")})
        else:
            functional = op.hint == "functional"
            name, now = self._numbered(op.name) if functional else op.name, op.held
            timed = self._timed.get(name.rpartition(".")[0])
            if timed and name.endswith(f".{self._t}"):
                name, now = name.rpartition(".")[0], timed
            name = self._add(name, op.module if functional else self._modules[name], inputs, shape, now)
            self._sources[op, "out"] = Source(name)

    def _reshape(self, op: Op, inputs: tuple[Source, ...], shape: tuple[int, ...]) -> Source:
        """The user's Flatten if it flattens each sample; otherwise Flatten, Unflatten, or both."""
        before = self._layouts.sample_shape(op.inputs[0].op)
        if op.module is not None and self._layouts.of(op.inputs[0].op).lead == 1:
            return Source(self._add(op.name, self._modules[op.name], inputs, shape))
        if before == shape:
            return inputs[0]
        if len(before) != 1:
            name = self._add(self._numbered("flatten"), nn.Flatten(1), inputs, (prod(shape),))
            inputs = (Source(name),)
        if len(shape) != 1:
            name = self._add(self._numbered("unflatten"), nn.Unflatten(1, shape), inputs, shape)
        return Source(name)

    def _numbered(self, kind: str) -> str:
        """A free name for a functional operation."""
        number = 1
        while f"{kind}_{number}" in self._taken:
            number += 1
        self._taken.add(f"{kind}_{number}")
        return f"{kind}_{number}"

    def _add(
        self,
        name: str,
        module: nn.Module | None,
        inputs: tuple[Source, ...],
        shape: tuple[int, ...],
        now: nn.Module | None = None,
    ) -> str:
        """Append a module node under a name of its own."""
        base, use = name, 1
        used = {node.name for node in self.nodes}
        while name in used:
            use += 1
            name = f"{base}#{use}"
        first = self._first_use.setdefault(id(module), name)
        self.nodes.append(
            StepNode(
                name, module, "module", inputs, shape, None, first if first != name else None, now or module
            )
        )
        return name
