"""The traced step of a torch network as a NIR graph, and ``from_snntorch``."""

from __future__ import annotations

from dataclasses import replace
from typing import Any, Literal

import nir
from torch import nn

from snnax import checks
from snnax.errors import ArgumentError, ConversionError
from snnax.interop import conventions
from snnax.interop.families.nodes import node_from_spec
from snnax.interop.families.recurrent import split
from snnax.interop.layers.registry import Site, Variables
from snnax.interop.nir.bypass import fold_norms
from snnax.interop.nir.entries import CALL
from snnax.interop.nir.importing import from_nir
from snnax.interop.snntorch.neurons import has_states, spec_from_torch
from snnax.interop.snntorch.tracing import trace
from snnax.interop.torch.graph_reader import Reader
from snnax.interop.torch.step_graph import Source, StepGraph, StepNode
from snnax.network.containers import Graph


@checks.takes(
    net=checks.instance(nn.Module, "a torch.nn.Module"),
    sample=CALL,
    dt=checks.number(above=0),
    batchnorm=checks.one_of("keep", "fold"),
)
def from_snntorch(
    net: nn.Module, sample: Any, *, dt: float = conventions.DT, batchnorm: Literal["keep", "fold"] = "keep"
) -> tuple[Graph, Variables]:
    """Turn a snnTorch network into a flax model of one time step, with its weights.

    Runs ``net`` once on ``sample`` and reads what it did: modules in any nesting, explicit or hidden states,
    time loops inside ``forward``, functional pooling and flattening, residual sums. A loop over time is taken
    out: :func:`snnax.unroll` is the loop of the model that comes back. Weights are those that the call computed with,
    after hooks and parametrizations; a second call, on other data, must find the same.

    Args:
        net: a torch module with snnTorch 1.0.0 neurons, in evaluation mode; it stays as it is.
        sample: what one call of ``net`` takes, NumPy or torch: one step's input ``[B, ...]``, or for a
            ``forward`` that loops over time a sequence ``[T, B, ...]`` or one constant frame ``[B, ...]``. A
            tuple stands for several positional arguments (input and initial states); states may be in lists, tuples
            and dicts.
        dt: time step in seconds that time constants are computed with; the model does not depend on it.
        batchnorm: ``"keep"`` it as a layer, or ``"fold"`` it into the weights before it.

    Returns:
        ``(model, variables)``: a :class:`snnax.Graph` with the names of ``net``'s modules, which takes and
        returns the arrays that one step of ``net`` takes and returns; and its variables without ``hidden``.

    Raises:
        ConversionError: for modules and operations that cannot be ported exactly; names all of them, where they are
            in the user's code, and the remedies.
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
    graph = _NeuronReader(step, dt).run()
    if batchnorm == "fold":
        fold_norms(graph)
    return graph


class _NeuronReader(Reader):
    """One conversion of a step of snnTorch's neurons."""

    def _layer(self, node: StepNode) -> None:
        if node.held is not None and has_states(node.held):
            self._neuron(node)
        else:
            super()._layer(node)

    def _neuron(self, node: StepNode) -> None:
        terms = self._in(node)
        module: Any = node.held
        spec = spec_from_torch(node.name, module, node.name in self.used)
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
        site = Site(node.name, entry, node.shape, self.dt)
        if not spec.recurrent:
            after = spec.family.shape_out(node.name, spec.sizes, entry)
            made = node_from_spec(node.name, spec, entry, self.dt, after)
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
