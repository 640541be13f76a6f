"""A traced step of a torch network as a NIR graph, and ``from_torch``."""

from __future__ import annotations

from dataclasses import replace
from typing import TYPE_CHECKING, Any

import nir
import numpy as np
from torch import nn

from snnax.errors import ArgumentError, ConversionError, ShapeError, TrainingModeError
from snnax.interop.families.nodes import node_from_spec
from snnax.interop.families.recurrent import split
from snnax.interop.layers.registry import Site, Variables
from snnax.interop.nir import metadata
from snnax.interop.nir.bypass import fold_norms
from snnax.interop.nir.extension import Extension
from snnax.interop.nir.importing import from_nir
from snnax.interop.program.module import PortedProgram
from snnax.interop.program.nodes import flat
from snnax.interop.spec import NeuronSpec
from snnax.interop.torch.layers import node_from_layer
from snnax.interop.torch.prepare import in_training, unwrap
from snnax.interop.torch.program_reader import ported_program, program_of
from snnax.interop.torch.step_graph import Source, StepGraph, StepNode
from snnax.interop.torch.tracing import trace
from snnax.network.containers import Graph
from snnax.network.topology import INPUT, OUTPUT

if TYPE_CHECKING:
    from snnax.interop.frameworks.adapter import Adapter


def from_torch(
    net: nn.Module,
    sample: Any,
    adapter: Adapter,
    *,
    dt: float | None = None,
    batchnorm: str = "keep",
    training: bool = False,
) -> tuple[Graph | PortedProgram, Variables]:
    """Turn a torch network into a flax model with its weights; ``adapter`` knows its neurons.

    ``from_snntorch`` and ``from_norse`` are this function with their adapters; see the former for the rest.
    """
    step = adapter.time_step(unwrap(net), dt)  # what is wrong with it, no program puts right
    if training and in_training(unwrap(net)):
        if batchnorm == "fold":
            raise ArgumentError(
                "batchnorm='fold' with training=True; expected 'keep' for a network in training."
            )
        return program_of(net, sample, adapter, training=True)
    try:
        traced = trace(net, sample, adapter)
        if batchnorm == "keep" and adapter.may_be_program(unwrap(net)):
            _check_frozen(traced)
        graph = graph_of_step(traced, adapter, step, batchnorm)
    except ShapeError as refusal:
        if not _is_whole(sample):
            raise
        # layers are given floating numbers; what looks numbers up, as nn.Embedding, wants them as they are
        error = ConversionError(
            type(net).__name__, str(refusal), "Pass floating numbers, if layers take them."
        )
        return ported_program(net, sample, adapter, error, folded=batchnorm == "fold")
    except ConversionError as refusal:
        if (
            training
            and batchnorm == "keep"
            and any(isinstance(e, TrainingModeError) for e in refusal.apart())
        ):
            return program_of(net, sample, adapter, training=True)  # functions of training in forward
        return ported_program(net, sample, adapter, refusal, folded=batchnorm == "fold")
    return from_nir(graph)


def _check_frozen(step: StepGraph) -> None:
    """Refuse a network of which some layers are trained and some are not, as a graph trains all of them.

    Raises:
        ConversionError: names the parameters that are not.
    """
    frozen: list[ConversionError] = []
    trained = False
    for node in step.nodes:
        parameters = dict(() if node.module is None else node.module.named_parameters())
        trained |= any(p.requires_grad for p in parameters.values())
        still = [name for name, p in parameters.items() if not p.requires_grad]
        if still and type(node.module).__module__.startswith("torch.nn."):
            problem = f"its {' and '.join(still)} is not trained (requires_grad=False), and a graph trains all of it"
            frozen.append(
                ConversionError(node.name, problem, "Train it, or let from_torch port it as a program.")
            )
    if frozen and trained:
        raise ConversionError.joined(frozen)


def _is_whole(sample: Any) -> bool:
    """True for a sample with whole numbers in it."""
    return any("int" in str(part.dtype) for part in flat(sample) if hasattr(part, "dtype"))


def graph_of_step(step: StepGraph, adapter: Adapter, dt: float, batchnorm: str = "keep") -> nir.NIRGraph:
    """The NIR graph of a traced step."""
    if batchnorm not in ("keep", "fold"):
        raise ArgumentError(f"batchnorm={batchnorm!r}; expected 'keep' or 'fold'.")
    graph = Reader(step, adapter, dt).run()
    if batchnorm == "fold":
        fold_norms(graph)
    return graph


class Reader:
    """One conversion of a step; what becomes of a framework's neurons is said by its adapter.

    Attributes:
        terms: for each value the NIR nodes whose sum it is, in the order in which they are added.
        layers: layer that a node stands for, where their names differ (recurrent neurons).
        states: shape of each neuron's states.
        used: neurons whose states are used as signals or returned.
    """

    def __init__(self, step: StepGraph, adapter: Adapter, dt: float) -> None:
        self.step = step
        self.adapter = adapter
        self.dt = dt
        self.nodes: dict[str, nir.NIRNode] = {
            INPUT: nir.Input(input_type={"input": np.array(step.input_shape)})
        }
        self.edges: list[tuple[str, str]] = []
        self.shapes: dict[str, tuple[int, ...]] = {INPUT: step.input_shape}
        self.terms: dict[Source, list[str]] = {Source(INPUT): [INPUT]}
        self.layers: dict[str, str] = {}
        self.states: dict[str, tuple[int, ...]] = {}
        self.used = self._used_states()

    def _used_states(self) -> set[str]:
        sources = [s for node in self.step.nodes for s in node.inputs] + list(self.step.outputs)
        return {s.node for s in sources if s.port not in ("out", "spk")}

    def run(self) -> nir.NIRGraph:
        """The graph.

        Raises:
            ConversionError: says all that cannot be converted.
        """
        problems: list[ConversionError] = []
        for node in self.step.nodes:
            try:
                self._node(node)
            except ConversionError as error:
                problems.append(error)
                self._stand_in(node)
        if problems:
            raise ConversionError.joined(problems)
        return self._finish()

    def _node(self, node: StepNode) -> None:
        if node.op == "add":
            self.terms[Source(node.name)] = self._sum(node)
        elif node.op == "scale":
            self._scale(node)
        elif self.adapter.converts(node.held):
            self.adapter.read(self, node)
        else:
            self._layer(node)

    def _stand_in(self, node: StepNode) -> None:
        """Something of the same shape, so that what comes after can be looked at."""
        self.nodes[node.name] = Extension("State", shape_in=node.shape, shape_out=node.shape)
        self.shapes[node.name] = self.states[node.name] = node.shape
        self.terms[Source(node.name)] = [node.name]

    def inputs(self, node: StepNode) -> list[str]:
        """Nodes whose sum a layer gets."""
        if len(node.inputs) != 1:
            raise ConversionError(node.name, f"it takes {len(node.inputs)} inputs", "Layers take one input.")
        return self._read(node.inputs[0])

    def _read(self, source: Source) -> list[str]:
        """Nodes whose sum is ``source``; a neuron's state gets a node that reads it."""
        if source in self.terms:
            return self.terms[source]
        if source.port == "spk":
            return self.terms[Source(source.node)]
        (neuron,) = self.terms[Source(source.node)]
        name = f"{source.node}.{source.port}"
        shape = self.states[source.node]
        self.put(
            name,
            Extension("State", options={"state": source.port}, shape_in=shape, shape_out=shape),
            [neuron],
        )
        self.terms[source] = [name]
        return [name]

    def put(self, name: str, node: nir.NIRNode, terms: list[str]) -> None:
        """Add a node that gets the sum of ``terms``."""
        self.nodes[name] = node
        self.shapes[name] = tuple(int(n) for n in node.output_type["output"])
        self.edges += [(term, name) for term in terms]

    def _relay(self, name: str, terms: list[str], factor: float = 1.0) -> list[str]:
        """A node of its own for a sum: multiplying by one changes no bit."""
        scale = nir.Scale(scale=np.full(self.shapes[terms[0]], factor, np.float32))
        self.put(name, metadata.write(scale, {"factor": factor}), terms)
        return [name]

    def _sum(self, node: StepNode) -> list[str]:
        """Terms in the order that adds them as torch did: ``(a + b) + c``."""
        left, right = (self._read(source) for source in node.inputs)
        if len(right) > 1 and len(left) == 1:
            left, right = right, left
        if len(right) > 1 or right[0] in left:
            right = self._relay(f"{node.name}.right", right)
        return [*left, *right]

    def _scale(self, node: StepNode) -> None:
        self.terms[Source(node.name)] = self._relay(node.name, self.inputs(node), float(node.factor or 0.0))

    def _layer(self, node: StepNode) -> None:
        terms = self.inputs(node)
        made = node_from_layer(node.held or nn.Identity(), self.site(node), self.adapter.words)
        if made is None:
            self.terms[Source(node.name)] = terms
        else:
            self.layer(node, made)

    def site(self, node: StepNode) -> Site:
        """Where a layer stands."""
        return Site(node.name, self.shapes[self.inputs(node)[0]], node.shape, self.dt)

    def layer(self, node: StepNode, made: nir.NIRNode) -> None:
        """Add the NIR node of a layer."""
        if made.output_type.get("output") is None or not np.array_equal(
            made.output_type["output"], node.shape
        ):
            made.output_type = {"output": np.array(node.shape)}
        if node.shared_with is not None:
            metadata.write(made, {**metadata.read(made), "shared_with": node.shared_with})
        self.put(node.name, made, self.inputs(node))
        self.terms[Source(node.name)] = [node.name]

    def neuron(self, node: StepNode, spec: NeuronSpec) -> None:
        """Add a neuron."""
        terms = self.inputs(node)
        entry = self.shapes[terms[0]]
        if "channels" in spec.sizes:
            spec = replace(spec, sizes={**spec.sizes, "channels": entry[0]})
        self.states[node.name] = spec.family.state_shape(spec.sizes, entry, node.shape)
        spec = spec.aligned(node.name, self.states[node.name])
        if node.shared_with is not None and spec.learn:
            raise ConversionError(
                node.name, f"the neuron {node.shared_with!r} is used twice and learns {', '.join(spec.learn)}",
                "Give each layer a neuron of its own.",
            )  # fmt: skip
        if spec.recurrent:
            self.recurrent(node, spec, terms, entry)
            return
        after = spec.family.shape_out(node.name, spec.sizes, entry)
        made = node_from_spec(node.name, spec, entry, self.dt, after)
        self.put(node.name, made, terms)
        self.terms[Source(node.name)] = [node.name]

    def recurrent(self, node: StepNode, spec: NeuronSpec, terms: list[str], entry: tuple[int, ...]) -> None:
        """Add a neuron with recurrent weights inside: a neuron, and weights on a loop of it."""
        neuron, weights = split(spec, Site(node.name, entry, node.shape, self.dt))
        self.loop(node, neuron, weights, terms)
        self.layers[f"{node.name}.lif"] = node.name

    def loop(self, node: StepNode, neuron: nir.NIRNode, weights: nir.NIRNode, terms: list[str]) -> None:
        """Add a neuron and weights on a loop of it."""
        name, back = f"{node.name}.lif", f"{node.name}.w_rec"
        self.put(name, neuron, terms)
        self.put(back, weights, [name])
        self.edges.append((back, name))
        self.terms[Source(node.name)] = [name]

    def _finish(self) -> nir.NIRGraph:
        outputs: list[tuple[str, str]] = []
        for number, source in enumerate(self.step.outputs):
            port = "out" if source.port == "spk" else source.port
            terms = self.terms[Source(source.node)] if port != "out" else self._read(source)
            if len(terms) > 1:
                terms = self._relay(f"output.{number}", terms)
            outputs.append((terms[0], port))
        if INPUT in (name for name, _ in outputs):
            raise ConversionError(
                OUTPUT, "the network returns its own input", "Return what the layers compute."
            )
        last, port = next((pair for pair in outputs if pair[1] == "out"), outputs[0])
        if port != "out":
            (last,) = self._read(self.step.outputs[0])
        self.edges.append((last, OUTPUT))
        self.nodes[OUTPUT] = nir.Output(output_type={"output": np.array(self.shapes[last])})
        graph = nir.NIRGraph(self.nodes, self.edges, type_check=False)
        returned = [[self.layers.get(name, name), port] for name, port in outputs]
        return metadata.write(graph, {"dt": self.dt, "outputs": returned})
