"""Taking layers out of a NIR graph: batch normalisation into the weights before it, and what changes nothing."""

from __future__ import annotations

from collections.abc import Collection

import nir
import numpy as np

from snnax.errors import ConversionError
from snnax.interop.layers.norm import fold
from snnax.interop.nir import metadata
from snnax.interop.nir.extension import Extension
from snnax.network.topology import Wiring

Marks = dict[tuple[str, str], str]


def fold_norms(graph: nir.NIRGraph, marks: Marks | None = None) -> dict[str, list[str]]:
    """Fold each batch normalisation of the graph into the one node before it; ``marks`` are its late edges.

    Returns:
        What is to be said of each of these nodes.
    """
    marks = {} if marks is None else marks
    said: dict[str, list[str]] = {}
    wiring = Wiring(graph.edges)
    norms = [n for n, node in graph.nodes.items() if isinstance(node, Extension) and node.op == "BatchNorm"]
    for name in norms:
        sources = wiring.sources[name]
        if len(sources) != 1 or len(wiring.targets[sources[0]]) != 1:
            raise ConversionError(
                name,
                "the layer before it feeds others too, or it has several inputs",
                "Use batchnorm='keep'.",
            )
        source = graph.nodes[sources[0]]
        if "shared_with" in metadata.read(source):
            raise ConversionError(name, "the layer before it is used twice", "Use batchnorm='keep'.")
        if (sources[0], name) in marks:
            raise ConversionError(
                name, "a cycle has its delay between it and the layer before it", "Use batchnorm='keep'."
            )
        graph.nodes[sources[0]] = fold(name, source, graph.nodes[name])
        said[sources[0]] = [f"has the batch normalisation {name!r} in its weights, which rounds otherwise"]
    _take_out(graph, {name: wiring.sources[name][0] for name in norms}, marks)
    return said


def drop(graph: nir.NIRGraph, op: str, marks: Marks, kept: Collection[str]) -> None:
    """Take out the extensions ``op``, which hand their input on.

    Where one adds up several signals, has a delay on an edge, is in ``kept``, or stands beside an edge that takes the
    same way, a Scale by 1 takes its place.

    Args:
        graph: the graph.
        op: of the extensions.
        marks: its late edges.
        kept: names that others refer to.
    """
    names = [n for n, node in graph.nodes.items() if isinstance(node, Extension) and node.op == op]
    wiring, present = Wiring(graph.edges), set(graph.edges)
    before: dict[str, str] = {}
    for name in names:
        sources, targets = wiring.sources[name], wiring.targets.get(name, [])
        source = before.get(sources[0], sources[0])
        marked = any((s, name) in marks for s in sources) or any((name, t) in marks for t in targets)
        if len(sources) > 1 or marked or name in kept or any((source, t) in present for t in targets):
            shape = graph.nodes[name].shape_in
            graph.nodes[name] = metadata.write(nir.Scale(np.ones(shape, np.float32)), {"factor": 1.0})
            continue
        before[name] = source
        present |= {(source, t) for t in targets}
    _take_out(graph, before, marks)


def _take_out(graph: nir.NIRGraph, before: dict[str, str], marks: Marks) -> None:
    """Take nodes with one input out and join their ends; ``before`` is what feeds each."""
    edges = []
    for source, target in graph.edges:
        if target in before:
            continue
        mark, end = marks.pop((source, target), None), source
        while end in before:
            end = before[end]
        edges.append((end, target))
        if mark is not None:
            marks[end, target] = mark
    graph.edges = edges
    for name in before:
        del graph.nodes[name]
