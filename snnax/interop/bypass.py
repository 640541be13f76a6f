"""Taking layers out of a NIR graph: batch normalisation into the weights before it, and nodes with one input."""

from __future__ import annotations

import nir

from snnax.errors import ConversionError
from snnax.interop.nodes import metadata
from snnax.interop.nodes.extension import Extension
from snnax.interop.nodes.norm import fold


def fold_norms(graph: nir.NIRGraph) -> None:
    """Fold each batch normalisation of the graph into the one node before it."""
    for name in [
        n for n, node in graph.nodes.items() if isinstance(node, Extension) and node.op == "BatchNorm"
    ]:
        sources = [s for s, t in graph.edges if t == name]
        if len(sources) != 1 or len([t for s, t in graph.edges if s == sources[0]]) != 1:
            raise ConversionError(
                name,
                "the layer before it feeds others too, or it has several inputs",
                "Use batchnorm='keep'.",
            )
        source = graph.nodes[sources[0]]
        if "shared_with" in metadata.read(source):
            raise ConversionError(name, "the layer before it is used twice", "Use batchnorm='keep'.")
        graph.nodes[sources[0]] = fold(name, source, graph.nodes[name])
        bypass(graph, name)


def bypass(graph: nir.NIRGraph, name: str) -> None:
    """Take a node with one input out and join its ends."""
    (source,) = [s for s, t in graph.edges if t == name]
    graph.edges = [(source if s == name else s, t) for s, t in graph.edges if t != name]
    del graph.nodes[name]
