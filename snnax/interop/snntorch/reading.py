"""The traced step of a torch network as a NIR graph, and ``from_snntorch``."""

from __future__ import annotations

from dataclasses import replace
from typing import Any, Literal

import nir
import numpy as np
from torch import nn

from snnax.errors import ArgumentError, ConversionError
from snnax.interop import conventions
from snnax.interop.bypass import fold_norms
from snnax.interop.importing import from_nir
from snnax.interop.nodes import metadata
from snnax.interop.nodes.cells import shape_out, state_shape
from snnax.interop.nodes.extension import Extension
from snnax.interop.nodes.neurons import node_from_spec
from snnax.interop.nodes.recurrent import split
from snnax.interop.nodes.registry import Site, Variables
from snnax.interop.snntorch.layers import node_from_layer
from snnax.interop.snntorch.neurons import has_states, spec_from_torch
from snnax.interop.snntorch.step_graph import Source, StepGraph, StepNode
from snnax.interop.snntorch.tracing import trace
from snnax.network.containers import Graph
from snnax.network.topology import INPUT, OUTPUT


def from_snntorch(
    net: nn.Module, sample: Any, *, dt: float = conventions.DT, batchnorm: Literal["keep", "fold"] = "keep"
) -> tuple[Graph, Variables]:
    """Turn a snnTorch network into a flax model of one time step, with its weights.

    Runs ``net`` once on ``sample`` and reads what it did: modules in any nesting, explicit or hidden states,
    time loops inside ``forward``, functional pooling and flattening, residual sums. A loop over time is taken
    out: :func:`snnax.unroll` is the loop of the model that comes back.

    Args:
        net: a torch module with snnTorch 1.0.0 neurons, in evaluation mode; it stays as it is.
        sample: what one call of ``net`` takes, NumPy or torch: one step's input ``[B, ...]``, or for a
            ``forward`` that loops over time a sequence ``[T, B, ...]`` or one constant frame ``[B, ...]``. A
            tuple stands for several positional arguments (input and initial states).
        dt: time step in seconds that time constants are computed with; the model does not depend on it.
        batchnorm: ``"keep"`` it as a layer, or ``"fold"`` it into the weights before it.

    Returns:
        ``(model, variables)``: a :class:`snnax.Graph` with the names of ``net``'s modules, which takes and
        returns the arrays that one step of ``net`` takes and returns; and its variables without ``hidden``.

    Raises:
        ConversionError: for a module or operation that cannot be ported exactly; names it and the remedy.
        TrainingModeError: if dropout or batch normalisation is in training mode.
        ShapeError: if the sample does not fit.
        MissingDependencyError: if torch or snnTorch is not installed.

    Example:
        >>> import torch, snntorch, snnax as snn, jax.numpy as jnp
        >>> from snnax import interop
        >>> net = torch.nn.Sequential(torch.nn.Linear(3, 2), snntorch.Leaky(beta=0.9, init_hidden=True, output=True))
        >>> model, variables = interop.from_snntorch(net, torch.ones(1, 3))
        >>> (spk, mem), _ = snn.unroll(model, variables, jnp.ones((25, 1, 3)))
        >>> spk.shape
        (25, 1, 2)

    Compared with ``snntorch.export_nir``: any reset mechanism, scalar parameters, functional operations, and
    no side effect on ``net``.
    """
    return from_nir(graph_of(net, sample, dt=dt, batchnorm=batchnorm))


def graph_of(
    net: nn.Module, sample: Any, *, dt: float = conventions.DT, batchnorm: str = "keep"
) -> nir.NIRGraph:
    """The NIR graph of a torch network; arguments as :func:`from_snntorch`."""
    return graph_of_step(trace(net, sample), dt=dt, batchnorm=batchnorm)


def graph_of_step(step: StepGraph, *, dt: float = conventions.DT, batchnorm: str = "keep") -> nir.NIRGraph:
    """The NIR graph of a traced step."""
    if batchnorm not in ("keep", "fold"):
        raise ArgumentError(f"batchnorm={batchnorm!r}; expected 'keep' or 'fold'.")
    graph = _Reader(step, dt).run()
    if batchnorm == "fold":
        fold_norms(graph)
    return graph


class _Reader:
    """One conversion of a step.

    Attributes:
        terms: for each value the NIR nodes whose sum it is, in the order in which they are added.
        layers: layer that a node stands for, where their names differ (recurrent neurons).
        states: shape of each neuron's states.
        used: neurons whose states are used as signals or returned.
    """

    def __init__(self, step: StepGraph, dt: float) -> None:
        self.step = step
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
        for node in self.step.nodes:
            if node.op == "add":
                self.terms[Source(node.name)] = self._sum(node)
            elif node.op == "scale":
                self._scale(node)
            elif node.held is not None and has_states(node.held):
                self._neuron(node)
            else:
                self._layer(node)
        return self._finish()

    def _in(self, node: StepNode) -> list[str]:
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
        self._put(
            name,
            Extension("State", options={"state": source.port}, shape_in=shape, shape_out=shape),
            [neuron],
        )
        self.terms[source] = [name]
        return [name]

    def _put(self, name: str, node: nir.NIRNode, terms: list[str]) -> None:
        self.nodes[name] = node
        self.shapes[name] = tuple(int(n) for n in node.output_type["output"])
        self.edges += [(term, name) for term in terms]

    def _relay(self, name: str, terms: list[str], factor: float = 1.0) -> list[str]:
        """A node of its own for a sum: multiplying by one changes no bit."""
        scale = nir.Scale(scale=np.full(self.shapes[terms[0]], factor, np.float32))
        self._put(name, metadata.write(scale, {"factor": factor}), terms)
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
        self.terms[Source(node.name)] = self._relay(node.name, self._in(node), float(node.factor or 0.0))

    def _layer(self, node: StepNode) -> None:
        terms = self._in(node)
        site = Site(node.name, self.shapes[terms[0]], node.shape, self.dt)
        made = node_from_layer(node.held or nn.Identity(), site)
        if made is None:
            self.terms[Source(node.name)] = terms
            return
        if made.output_type.get("output") is None or not np.array_equal(
            made.output_type["output"], node.shape
        ):
            made.output_type = {"output": np.array(node.shape)}
        if node.shared_with is not None:
            metadata.write(made, {**metadata.read(made), "shared_with": node.shared_with})
        self._put(node.name, made, terms)
        self.terms[Source(node.name)] = [node.name]

    def _neuron(self, node: StepNode) -> None:
        terms = self._in(node)
        module: Any = node.held
        spec = spec_from_torch(node.name, module, node.name in self.used)
        entry = self.shapes[terms[0]]
        if "channels" in spec.sizes:
            spec = replace(spec, sizes={**spec.sizes, "channels": entry[0]})
        self.states[node.name] = state_shape(spec, entry, node.shape)
        spec = spec.aligned(node.name, self.states[node.name])
        if node.shared_with is not None and spec.learn:
            raise ConversionError(
                node.name, f"the neuron {node.shared_with!r} is used twice and learns {', '.join(spec.learn)}",
                "Give each layer a neuron of its own.",
            )  # fmt: skip
        site = Site(node.name, entry, node.shape, self.dt)
        if not spec.recurrent:
            made = node_from_spec(node.name, spec, entry, self.dt, shape_out(node.name, spec, entry))
            self._put(node.name, made, terms)
            self.terms[Source(node.name)] = [node.name]
            return
        neuron, weights = split(spec, site)
        name, back = f"{node.name}.lif", f"{node.name}.w_rec"
        self.layers[name] = node.name
        self._put(name, neuron, terms)
        self._put(back, weights, [name])
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
