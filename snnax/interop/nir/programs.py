"""The step of a program as a NIR graph: what its loop over time does in each step, as far as NIR has nodes for it.

What a network computes from its weights alone is computed once, and is part of the weights. What it does before and
after its loop NIR has no place for: it is refused by name, or left out on request.
"""

from __future__ import annotations

from collections.abc import Collection, Mapping, Sequence
from dataclasses import replace
from typing import Any

import nir
import numpy as np

from snnax.errors import ConversionError
from snnax.interop.conventions import for_each
from snnax.interop.families.nodes import node_from_spec
from snnax.interop.families.precision import is_wide, widened
from snnax.interop.layers.registry import Site
from snnax.interop.nir import metadata
from snnax.interop.nir.extension import Extension
from snnax.interop.nir.graph import free
from snnax.interop.nir.program_nodes import NODES, Known, Signal, Unsuited, signed
from snnax.interop.nir.program_weights import LAYOUT, Weights
from snnax.interop.nir.program_wiring import Wiring, needed, reaches, sample
from snnax.interop.program.module import PortedProgram
from snnax.interop.program.nodes import (
    NEURON,
    SOURCES,
    Affine,
    Carry,
    Leaf,
    Local,
    Loop,
    Node,
    NoState,
    PerStep,
    Ref,
    flat,
    mapped,
)  # fmt: skip
from snnax.interop.program.nodes import Sequence as InSequence
from snnax.interop.program.repeating import is_step, repeated
from snnax.network.topology import INPUT, OUTPUT

_PARTS = (
    "Keep it out of the network, or leave it out of the graph: to_nir(..., leave_out=('before', 'after'))."
)
_NO_NODE = "NIR has no node for it."
_BATCH = Affine(1, 0)


def program_graph(
    model: PortedProgram, variables: Mapping[str, Any], dt: float, leave_out: Collection[str] = ()
) -> nir.NIRGraph:
    """The graph of the loop of a program.

    Args:
        model: the program.
        variables: its variables.
        dt: time step in seconds.
        leave_out: ``"before"`` and ``"after"``, of what may be left out.

    Raises:
        ConversionError: says all that has no NIR form, each with its line.
    """
    return _Reader(model, variables, dt, leave_out).run()


class _Reader:
    """One export."""

    def __init__(
        self, model: PortedProgram, variables: Mapping[str, Any], dt: float, leave_out: Collection[str]
    ) -> None:
        whole = model.program
        self._program = repeated(whole, 1) if is_step(whole) else whole
        self._dt, self._leave_out = dt, leave_out
        self._wide = is_wide(variables)
        self._left: list[str] = []
        self._problems: list[ConversionError] = []
        self._graph = Wiring()
        self._signals: dict[Any, Signal] = {}
        self._weights = Weights(self._program, variables)
        self._said: dict[str, list[str]] = {}
        self._unsuited: dict[int, ConversionError] = {}
        self._entering: dict[str, Any] = {}
        loops = [loop for loop in self._program.loops if any(node.op == NEURON for node in loop.body)]
        if len(loops) != 1:
            raise ConversionError(
                "the network", f"it has {len(loops)} loops over time with known neurons, a graph is the step of one",
                "Convert a network with one loop, and neurons of its framework in it.",
            )  # fmt: skip
        (self._loop,) = loops
        self._needed = needed(self._loop)

    def run(self) -> nir.NIRGraph:
        """All of it."""
        loop = self._loop
        place = next(n for n, item in enumerate(self._program.items) if item is loop)
        self._enter(loop)
        for index, node in enumerate(loop.body):
            try:
                self._node(loop, index, node)
            except Unsuited as error:
                problem = ConversionError(
                    node.path or "the network", str(error),
                    _NO_NODE if index in self._needed else _PARTS, node.line,
                )  # fmt: skip
                self._unsuited[index] = problem
                if index in self._needed:
                    self._problems.append(problem)
        read = {source for source, _ in self._graph.edges}
        for name, source in self._entering.items():
            if name in read:
                self._before(source)
        returned = self._leave(loop, place)
        if self._problems:
            raise ConversionError.joined(self._problems)
        return self._finish(returned)

    # --- What enters the loop

    def _enter(self, loop: Loop) -> None:
        """Inputs of the graph: what differs in each call."""
        read = {e for node in loop.body for e in node.inputs if isinstance(e, Ref | Leaf)}
        outer: dict[Any, tuple[Any, int]] = {
            entry: (entry, 1) for entry in read if entry not in self._weights
        }
        for index, source in enumerate(loop.sequences):
            if isinstance(source, PerStep):
                continue
            if source in self._weights:
                continue
            outer[InSequence(index)] = (source, 2)
        signals = {entry: pair for entry, pair in outer.items() if self._shape(pair) is not None}
        width = len(str(max(len(signals) - 1, 0)))
        for number, (entry, pair) in enumerate(signals.items()):
            name = INPUT if len(signals) == 1 else f"{INPUT}_{number:0{width}}"
            shape = self._shape(pair) or ()
            self._graph.nodes[name] = nir.Input(input_type={"input": np.array(shape)})
            self._graph.shapes[name] = shape
            self._signals[entry] = Signal([name], shape)
            self._entering[name] = pair[0]

    def _shape(self, pair: tuple[Any, int]) -> tuple[int, ...] | None:
        """Shape of a sample of what enters; ``None`` for what has no batch where one is expected."""
        source, axes = pair
        result = self._result(source)
        shape = result.shape[axes:]
        whole = result.shape[axes - 1 : axes] == (_BATCH,) and not any(
            isinstance(size, Affine) for size in shape
        )
        return tuple(shape) if whole else None

    def _result(self, source: Any) -> Any:
        if isinstance(source, Leaf):
            return self._program.inputs[source.index].result
        item = self._program.items[source.node]
        return item.kept[source.out].result if isinstance(item, Loop) else item.results[source.out]

    def _before(self, source: Any) -> None:
        """Refuse what is computed of the arguments before the loop, or note that it is left out."""
        waiting, seen = [source], set()
        while waiting:
            entry = waiting.pop()
            if not isinstance(entry, Ref) or entry in seen or entry in self._weights:
                continue
            seen.add(entry)
            node = self._program.items[entry.node]
            if isinstance(node, Loop):
                self._outside("before", replace(node.body[-1], op="what another loop computes"))
                continue
            if node.base not in LAYOUT:
                self._outside("before", node)
            waiting += [e for e in node.inputs if isinstance(e, Ref)]

    def _outside(self, part: str, node: Node) -> None:
        """An operation that is no part of the step."""
        problem = f"{node.op} is computed {part} the loop over time, which a NIR graph does not have"
        if part in self._leave_out:
            text = f"{part}: {node.op}" + (f" ({node.line})" if node.line else "")
            if text not in self._left:
                self._left.append(text)
            return
        known = [(p.node, p.line) for p in self._problems]
        if (node.path or "the network", node.line) not in known:
            self._problems.append(ConversionError(node.path or "the network", problem, _PARTS, node.line))

    # --- The operations of a step

    def _node(self, loop: Loop, place: int, node: Node) -> None:
        """One operation of the loop."""
        if node.op == NEURON:
            self._neuron(loop, place, node)
            return
        entries = [e for e in node.inputs if isinstance(e, SOURCES)]
        if any(isinstance(e, Local) and e.node in self._unsuited for e in entries):
            self._unsuited[place] = ConversionError(
                node.path, "what it gets has no NIR form", _PARTS, node.line
            )
            return
        if entries and self._weights.compute(node, place, Local):
            return
        result = node.results[0]
        if (
            not result.shape
            or result.shape[0] != _BATCH
            or any(isinstance(n, Affine) for n in result.shape[1:])
        ):
            raise Unsuited(f"{node.op} mixes the samples of a batch with something else")
        convert = NODES.entries.get(node.op)
        if convert is None:
            raise Unsuited(f"{node.op} has no NIR form")
        args = mapped(node.args, lambda e: self._value(loop, e))
        kwargs = mapped(node.kwargs, lambda e: self._value(loop, e))
        words: list[str] = []
        known = Known(sample(result), self._dt, self._wide, self._name(node), self._insert, words.append)
        made = convert(known, *args, **{k: v for k, v in kwargs.items() if k != "dtype"})
        self._signals[Local(place)] = self._put(place, node, made)
        self._say(self._signals[Local(place)].terms[0], [*words, self._weights.words(entries)])

    def _put(self, place: int, node: Node, made: Any) -> Signal:
        """The signal of an operation: one that it had already, or a new node that reads another."""
        shape = sample(node.results[0])
        if isinstance(made, Signal):
            return replace(made, shape=shape)
        written, source = made
        name = self._name(node)
        self._graph.nodes[name], self._graph.shapes[name] = written, shape
        self._graph.made[name] = place
        self._connect(self._settled(source), name)
        return Signal([name], shape)

    def _say(self, name: Any, words: Sequence[str]) -> None:
        """What is not in the node as it is in the network; an empty text says nothing."""
        if isinstance(name, str) and (known := [text for text in words if text]):
            self._said.setdefault(name, []).extend(known)

    def _insert(self, wish: str, node: nir.NIRNode, source: Signal) -> Signal:
        """A node more, between a signal and the operation that reads it."""
        name = free(wish, self._graph.nodes)
        self._graph.nodes[name], self._graph.shapes[name] = node, source.shape
        self._connect(self._settled(source), name)
        return Signal([name], source.shape)

    def _name(self, node: Node) -> str:
        """A name: the layer's, or that of the operation."""
        wish = node.layer.path if node.layer is not None and node.layer.path else node.base.strip("_")
        wish = node.path if node.op == NEURON else wish
        return free(wish or "layer", self._graph.nodes)

    def _value(self, loop: Loop, entry: Any) -> Any:
        """What an operation is told of an argument: a signal, an array of numbers, or the literal."""
        if not isinstance(entry, SOURCES):
            return entry
        known = self._weights.get(entry)
        if known is not None:
            return known
        if entry in self._signals:
            return self._signals[entry]
        if isinstance(entry, Carry):
            return self._delayed(loop, entry)
        if isinstance(entry, Local) and entry.out and loop.body[entry.node].op == NEURON:
            return self._state(loop, entry)
        raise Unsuited("it takes numbers that differ from step to step, or several results of one operation")

    def _state(self, loop: Loop, entry: Local) -> Signal:
        """A neuron's state as a signal."""
        node = loop.body[entry.node]
        state = [*node.args[1]][entry.out - 1]
        if state == "spk":
            return self._signals[Local(entry.node)]
        source = self._signals[Local(entry.node)]
        name = free(f"{source.terms[0]}.{state}", self._graph.nodes)
        self._graph.nodes[name] = Extension(
            "State", options={"state": state}, shape_in=source.shape, shape_out=source.shape
        )
        self._graph.shapes[name] = source.shape
        self._connect(source, name)
        self._signals[entry] = Signal([name], source.shape)
        return self._signals[entry]

    def _delayed(self, loop: Loop, entry: Carry) -> Signal:
        """What an operation or neuron gave in the step before."""
        handed = loop.carries[entry.index]
        new, _ = self._origin(loop, entry)
        if not isinstance(new, Local) or new.node not in self._needed:
            raise Unsuited("it goes on from step to step outside of neurons, as a sum over time does")
        return Signal([entry], sample(handed.result))

    def _origin(self, loop: Loop, entry: Carry) -> tuple[Any, int]:
        """What a step finds of earlier ones: which operation gave it, and how many steps ago."""
        steps, source = 0, entry
        while isinstance(source, Carry) and steps <= len(loop.carries):
            handed = loop.carries[source.index]
            if not self._starts_at_zero(handed.init):
                raise Unsuited("what its first step finds of the step before is not zero")
            steps, source = steps + 1, handed.new
        return source, steps

    def _starts_at_zero(self, init: Any) -> bool:
        if isinstance(init, NoState):
            return True
        if isinstance(init, Leaf) and self._program.inputs[init.index].kind == "state":
            return True
        if isinstance(init, Ref) and isinstance(self._program.items[init.node], Node):
            node = self._program.items[init.node]
            if isinstance(node, Node) and node.base in ("zeros", "zeros_like", "new_zeros"):
                return True
            if isinstance(node, Node) and node.base in ("expand", "view", "_to_copy", "permute", "detach"):
                return self._starts_at_zero(node.args[0])
        value = self._weights.get(init) if isinstance(init, SOURCES) else init
        return value is not None and not np.any(np.asarray(value))

    def _neuron(self, loop: Loop, place: int, node: Node) -> None:
        """A neuron, which keeps its state itself."""
        x, states, parameters = node.args
        if isinstance(x, Local) and x.node in self._unsuited:
            self._unsuited[place] = ConversionError(
                node.path, "what it gets has no NIR form", _PARTS, node.line
            )
            return
        for number, (state, source) in enumerate(states.items()):
            own = isinstance(source, Carry) and loop.carries[source.index].new == Local(place, number + 1)
            if not own or not self._starts_at_zero(loop.carries[source.index].init):
                raise Unsuited(f"its {state} is not what it had after the step before, and zero at first")
        spec = self._program.neurons[node.path]
        if spec.recurrent or spec.weights:
            raise Unsuited(f"{spec.kind} in a program has no NIR form")
        given = {}
        for name, source in parameters.items():
            value = None if source is None else self._weights.get(source)
            if source is not None and value is None:
                raise Unsuited(f"its {name} differs from call to call")
            if name in spec.values and value is not None:
                given[name] = np.asarray(value)
        signal = self._value(loop, x)
        if not isinstance(signal, Signal):
            raise Unsuited("its input is the same in every call")
        name = self._name(node)
        shape = signal.shape
        read = [e for other in loop.body for e in other.inputs] + self._returned_values(loop)
        outside = any(Local(place, out) in read for out, state in enumerate(states, 1) if state != "spk")
        spec = spec.with_values(**given).with_options(output=outside).aligned(name, shape)
        site = Site(name, shape, shape, self._dt, wide=self._wide)
        self._graph.nodes[name] = widened(node_from_spec(name, spec, shape, self._dt), spec, site)
        self._graph.shapes[name], self._graph.made[name] = shape, place
        self._connect(self._settled(signal), name)
        self._signals[Local(place)] = Signal([name], shape)
        self._say(
            name, [self._weights.words([source for source in parameters.values() if source is not None])]
        )

    def _returned_values(self, loop: Loop) -> list[Any]:
        """What of a step is read after the loop, not only kept for the next call."""
        place = next(n for n, item in enumerate(self._program.items) if item is loop)
        later = [e for item in self._program.items if isinstance(item, Node) for e in item.inputs]
        later += [e for other in self._program.loops for e in other.sequences]
        read = {*flat(self._program.outputs), *(e for e in later if isinstance(e, Ref))}
        return [kept.value for out, kept in enumerate(loop.kept) if Ref(place, out) in read]

    def _settled(self, signal: Signal) -> Signal:
        """A signal without numbers added to it: they go into the bias of the layer that it comes from."""
        if signal.offset is None:
            return signal
        (term, *more) = signal.terms
        node = None if more or not isinstance(term, str) else self._graph.nodes[term]
        readers = [edge for edge in self._graph.edges if edge[0] == term]
        if not isinstance(node, nir.Affine | nir.Linear | nir.Conv1d | nir.Conv2d) or readers:
            raise Unsuited(
                "it gets a signal with numbers added to it, for which NIR has no node but a layer's bias"
            )
        self._graph.nodes[str(term)] = signed(node, signal.offset, signal.shape)
        self._say(term, ["has in its bias what forward adds behind it, which rounds otherwise"])
        return replace(signal, offset=None)

    def _connect(self, signal: Signal, name: str) -> None:
        for term in signal.terms:
            if (term, name) in self._graph.edges:  # the same once more
                twice = free(f"{term}.again", self._graph.nodes)
                shape = signal.shape
                self._graph.nodes[twice] = nir.Scale(scale=for_each(1.0, shape, np.float32))
                self._graph.shapes[twice] = shape
                self._graph.edges.append((term, twice))
                term = twice
            self._graph.edges.append((term, name))

    # --- What leaves it

    def _leave(self, loop: Loop, place: int) -> list[tuple[str, str]]:
        """What the graph returns: nodes, and which of their states."""
        direct: list[int] = []
        for entry in flat(self._program.outputs):
            if isinstance(entry, SOURCES):
                found = self._after(entry, place)
                direct += [] if found is None or found in direct else [found]
        ends = [loop.kept[index].value for index in direct]
        wanted = [end for value in ends for end in self._frontier(loop, value)]
        if not ends and "after" in self._leave_out:
            wanted = [e for kept in loop.kept for e in self._frontier(loop, kept.value)]
        if not wanted and "after" in self._leave_out and not self._problems:
            wanted = [self._last_neuron(loop)]
        if not wanted and not self._problems:
            problem = "what it returns is not computed by its loop over time"
            self._problems.append(ConversionError("the network", problem, _PARTS))
        ports: list[tuple[str, str]] = []
        for end in dict.fromkeys(wanted):
            try:
                ports.append(self._port(loop, end, self._settled(self._signals[Local(end.node)])))
            except Unsuited as error:
                self._outside(
                    "after", replace(loop.body[end.node], op=f"an output to which numbers are added: {error}")
                )
                ports.append(self._port(loop, end, replace(self._signals[Local(end.node)], offset=None)))
        return list(dict.fromkeys(ports))

    def _after(self, entry: Any, place: int) -> int | None:
        """Which kept value of the loop a result is; refuses, or leaves out, what is computed of them."""
        while isinstance(entry, Ref):
            if entry.node == place:
                kept = self._loop.kept[entry.out]
                if not kept.every and is_step(self._program) is False:
                    self._last_step(kept)
                return entry.out
            node = self._program.items[entry.node]
            if entry in self._weights:
                return None
            if isinstance(node, Loop):
                self._outside("after", replace(node.body[-1], op="what another loop computes"))
                found = [self._after(e, place) for e in flat(node.sequences) if isinstance(e, Ref)]
                return next((f for f in found if f is not None), None)
            if node.base not in LAYOUT:
                self._outside("after", node)
                waiting = [e for e in node.inputs if isinstance(e, Ref)]
                found = [self._after(e, place) for e in waiting]
                return next((f for f in found if f is not None), None)
            entry = node.args[0]
        return None

    def _last_step(self, kept: Any) -> None:
        node = self._loop.body[kept.value.node] if isinstance(kept.value, Local) else None
        if node is not None:
            self._outside("after", replace(node, op="the last step alone"))

    def _frontier(self, loop: Loop, value: Any) -> list[Any]:
        """The signals from which a value is computed that has no NIR form; itself, if it has one."""
        if isinstance(value, Carry):
            value = loop.carries[value.index].new
        if not isinstance(value, Local):
            return []
        node = loop.body[value.node]
        if value.node not in self._unsuited:
            plain = self._signals.get(Local(value.node))
            return [value] if plain is not None else []
        if value.node not in self._needed:
            self._outside("after", node)
        sources = [e for e in node.inputs if isinstance(e, Local)]
        return [end for source in sources for end in self._frontier(loop, source)]

    def _last_neuron(self, loop: Loop) -> Any:
        return Local(max(i for i, node in enumerate(loop.body) if node.op == NEURON))

    def _port(self, loop: Loop, end: Local, signal: Signal) -> tuple[str, str]:
        """The node, and the state of it, that a value is."""
        node = loop.body[end.node]
        if len(signal.terms) == 1 and isinstance(signal.terms[0], str):
            name = signal.terms[0]
        else:
            name = free("sum", self._graph.nodes)
            self._graph.nodes[name] = nir.Scale(scale=for_each(1.0, signal.shape, np.float32))
            self._graph.shapes[name] = signal.shape
            self._connect(signal, name)
        states = [*node.args[1]] if node.op == NEURON else []
        port = states[end.out - 1] if end.out and states else "out"
        return name, "out" if port == "spk" else port

    def _finish(self, returned: Sequence[tuple[str, str]]) -> nir.NIRGraph:
        """The graph with its outputs and what is known of it."""
        graph = self._graph
        self._resolve()
        self._name_inputs()
        content: dict[str, Any] = {"dt": self._dt}
        if all(port == "out" for _, port in returned) and len(returned) > 1:
            width = len(str(len(returned) - 1))
            last = {f"{OUTPUT}_{n:0{width}}": name for n, (name, _) in enumerate(returned)}
        else:
            last = {OUTPUT: returned[0][0]}
        for output, name in last.items():
            graph.nodes[output] = nir.Output(output_type={"output": np.array(graph.shapes[name])})
            graph.edges.append((name, output))
        if graph.late:
            content["late"] = [list(edge) for edge in graph.late]
        if len(returned) > 1 or returned[0][1] != "out":
            content["outputs"] = [list(pair) for pair in returned]
            content["ends"] = {output: [name] for output, name in last.items()}
        if self._left:
            content["left_out"] = self._left
        if self._said:
            content["said"] = self._said
        made = nir.NIRGraph(graph.nodes, graph.edges, type_check=False)
        return metadata.write(made, content)

    def _resolve(self) -> None:
        """Edges from what was emitted in the step before: late ones on cycles, else through a delay."""
        graph, loop = self._graph, self._loop
        plain = [(s, t) for s, t in graph.edges if isinstance(s, str)]
        waiting: list[tuple[Any, str]] = [(s, t) for s, t in graph.edges if not isinstance(s, str)]
        graph.edges = plain
        for carry, target in waiting:
            new, steps = self._origin(loop, carry)
            if new.node in self._unsuited or Local(new.node) not in self._signals:
                raise ConversionError(
                    target, "it gets what an operation without NIR form gave in the step before", _NO_NODE
                )
            source = self._signals[Local(new.node)]
            if new.out and loop.body[new.node].op == NEURON:
                source = self._state(loop, new)
            if any(not isinstance(term, str) for term in source.terms) or source.offset is not None:
                raise ConversionError(target, "it gets a sum of signals of the steps before", _NO_NODE)
            for term in source.terms:
                back = reaches(graph.edges, target, term)
                if steps - back:
                    term = self._delay(term, steps - back)
                if back:
                    graph.late.append((term, target))
                graph.edges.append((term, target))

    def _delay(self, name: str, steps: int) -> str:
        """A node that hands on what another gave so many steps ago."""
        graph = self._graph
        shape, delay = graph.shapes[name], free(f"{name}.delay", graph.nodes)
        kind = np.float64 if self._wide else np.float32
        graph.nodes[delay], graph.shapes[delay] = (
            nir.Delay(delay=for_each(steps * self._dt, shape, kind)),
            shape,
        )
        graph.edges.append((name, delay))
        return delay

    def _name_inputs(self) -> None:
        """The inputs that something reads; a single one has the usual name."""
        graph = self._graph
        read = {source for source, _ in graph.edges}
        inputs = [name for name, node in graph.nodes.items() if isinstance(node, nir.Input)]
        names = {name: name for name in inputs if name in read}
        if len(names) == 1:
            names = dict.fromkeys(names, INPUT)
        kept = {names.get(n, n): node for n, node in graph.nodes.items() if n in names or n not in inputs}
        graph.nodes = kept
        graph.edges = [(names.get(s, s), t) for s, t in graph.edges]
