"""The last part of an export: inputs, outputs and metadata around the nodes that were written."""

from __future__ import annotations

from collections.abc import Mapping
from math import prod
from typing import Any

import nir
import numpy as np

from snnax.errors import ConversionError
from snnax.interop import conventions
from snnax.interop.bypass import bypass, fold_norms
from snnax.interop.graph import free
from snnax.interop.nodes import metadata
from snnax.interop.nodes.extension import Extension
from snnax.network.containers import Container, Graph
from snnax.network.topology import INPUT, OUTPUT
from snnax.signals import Slice

Shape = tuple[int, ...]


def node_name(path: str) -> str:
    """``layers_3`` -> ``3``, the key that torch's ``Sequential`` uses; other names stay."""
    return path.removeprefix("layers_") if path.removeprefix("layers_").isdigit() else path


def sample_shape(shape: Any) -> Shape:
    """Shape of one sample, channels first, of a channels-last batch."""
    return conventions.shape_first(tuple(shape.shape[1:]))


def finish(
    exporter: Any,
    model: Container,
    frame: Any,
    ends: list[tuple[str, Any]],
    batchnorm: str,
    dropout: str,
) -> nir.NIRGraph:
    """The graph of an export: its inputs, outputs and metadata.

    Args:
        exporter: nodes and edges written so far.
        model: the model.
        frame: shape of one step's input.
        ends: what the model's output is the sum of: ``(node, shape)``.
        batchnorm: as :func:`snnax.interop.to_nir` takes it.
        dropout: the same.

    Raises:
        ConversionError: for an output in another order of axes, and parts of the input that NIR cannot have.
    """
    if any(name in exporter.permuted for name, _ in ends):
        raise ConversionError(
            ends[0][0], "its output is in H, W, C order", "Use snnax.Flatten(channels_first=True)."
        )
    exits = exporter.exits
    edges = [(exits.get(s, s), t) for s, t in _ordered(exporter, model)]
    nodes, last = exporter.nodes, _results(exporter, model, ends)
    edges += [(exits.get(s, s), name) for name, (_, sources) in last.items() for s in sources]
    if any(s == INPUT for s, _ in edges):
        nodes = {INPUT: nir.Input(input_type={"input": np.array(sample_shape(frame))}), **nodes}
    _check_parts(exporter.parts, frame, INPUT in nodes)
    for name, (shape, _) in last.items():
        nodes[name] = nir.Output(output_type={"output": np.array(shape)})
    graph = nir.NIRGraph(nodes, edges, type_check=False)
    content: dict[str, Any] = {"dt": exporter.dt}
    if isinstance(model, Graph) and model.plan().delayed:
        content["delay_spikes"] = model.delay_spikes
    if isinstance(model, Graph) and model.outputs is not None:
        content["outputs"] = [[node_name(n), p] for n, p in model.outputs]
    if batchnorm == "fold":
        fold_norms(graph)
    if dropout == "drop":
        for name in [
            n for n, node in graph.nodes.items() if isinstance(node, Extension) and node.op == "Dropout"
        ]:
            bypass(graph, name)
    return metadata.write(graph, content)


def _ordered(exporter: Any, model: Container) -> list[tuple[str, str]]:
    """Edges in the order that the model gives them: it says which edges of a cycle are late."""
    if not isinstance(model, Graph):
        return exporter.edges
    rank = {(node_name(s), node_name(t)): i for i, (s, t) in enumerate(model.edges)}
    layer = {node: path for path, node in exporter.exits.items()}
    return sorted(exporter.edges, key=lambda edge: rank.get((edge[0], layer.get(edge[1], edge[1])), -1))


def _results(
    exporter: Any, model: Container, ends: list[tuple[str, Any]]
) -> dict[str, tuple[Shape, list[str]]]:
    """Shape and sources of each Output: one for each thing that the model returns, where those are signals."""
    returned = model.outputs if isinstance(model, Graph) and model.outputs is not None else ()
    if len(returned) < 2 or any(p != "out" or node_name(n) not in exporter.shapes for n, p in returned):
        return {OUTPUT: (sample_shape(ends[0][1]), [s for s, _ in ends])}
    width = len(str(len(returned) - 1))
    return {
        free(f"{OUTPUT}_{i:0{width}}", exporter.nodes): (exporter.shapes[node_name(name)], [node_name(name)])
        for i, (name, _) in enumerate(returned)
    }


def _check_parts(parts: Mapping[str, Slice], frame: Any, whole: bool) -> None:
    """Inputs of a graph are read side by side in the order of their names: so must be the parts of the input."""
    if not parts:
        return
    begin = 0
    for name in sorted(parts):
        if parts[name].begin != begin or whole:
            raise ConversionError(
                name, "it and the other Slices do not cut the whole input into parts in the order of their names",
                "NIR has an Input for each part: let the first Slice by name begin at 0, the next where that ends.",
            )  # fmt: skip
        begin += prod(parts[name].shape)
    if begin != prod(sample_shape(frame)):
        raise ConversionError(sorted(parts)[-1], "the Slices leave a part of the input out", "Cut all of it.")
