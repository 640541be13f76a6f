"""The last part of an export: inputs, outputs and metadata around the nodes that were written."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from math import prod
from typing import Any

import nir
import numpy as np

from snnax.errors import ConversionError
from snnax.interop import conventions
from snnax.interop.nir import metadata
from snnax.interop.nir.bypass import drop, fold_norms
from snnax.interop.nir.graph import free
from snnax.layers.signals import Slice
from snnax.network.containers import Container, Graph
from snnax.network.topology import INPUT, OUTPUT

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
    ends: Sequence[Any],
    batchnorm: str,
    dropout: str,
) -> nir.NIRGraph:
    """The graph of an export: its inputs, outputs and metadata.

    Args:
        exporter: nodes and edges written so far.
        model: the model.
        frame: shape of one step's input.
        ends: what the model's output is the sum of.
        batchnorm: as :func:`snnax.interop.to_nir` takes it.
        dropout: the same.

    Raises:
        ConversionError: for an output in another order of axes, and parts of the input that NIR cannot have.
    """
    if any(end.node in exporter.permuted for end in ends):
        raise ConversionError(
            ends[0].node, "its output is in H, W, C order", "Use snnax.Flatten(channels_first=True)."
        )
    edges = [(exporter.emitter(s), t) for s, t in _ordered(exporter, model)]
    returned = _returned(exporter, model, "")
    nodes, last = exporter.nodes, _results(exporter, returned, ends)
    edges += [(exporter.emitter(s), name) for name, (_, sources) in last.items() for s in sources]
    if any(s == INPUT for s, _ in edges):
        nodes = {INPUT: nir.Input(input_type={"input": np.array(sample_shape(frame))}), **nodes}
    _check_parts(exporter.parts, frame, INPUT in nodes)
    for name, (shape, _) in last.items():
        nodes[name] = nir.Output(output_type={"output": np.array(shape)})
    graph = nir.NIRGraph(nodes, edges, type_check=False)
    marks = {(exporter.emitter(s), t): kind for (s, t), kind in exporter.marks.items()}
    said = fold_norms(graph, marks) if batchnorm == "fold" else {}
    if dropout == "drop":
        drop(graph, "Dropout", marks, {name for name, _ in returned})
    content: dict[str, Any] = {"dt": exporter.dt}
    if said:
        content["said"] = said
    for kind in ("late", "early"):
        marked = [[s, t] for s, t in graph.edges if marks.get((s, t)) == kind]
        if marked or (kind == "late" and marks):
            content[kind] = marked
    if returned:
        content["outputs"] = [[n, p] for n, p in returned]
        content["ends"] = {name: [s for s, t in graph.edges if t == name] for name in last}
    return metadata.write(graph, content)


def _ordered(exporter: Any, model: Container) -> list[tuple[str, str]]:
    """Edges in the order that the model gives them, where it has no containers inside."""
    if not isinstance(model, Graph) or exporter.ends:
        return exporter.edges
    rank = {(node_name(s), node_name(t)): i for i, (s, t) in enumerate(model.edges)}
    layer = {node: path for path, node in exporter.exits.items()}
    return sorted(exporter.edges, key=lambda edge: rank.get((edge[0], layer.get(edge[1], edge[1])), -1))


def _returned(exporter: Any, model: Container, prefix: str) -> list[tuple[str, str]]:
    """The ports that a model returns, by the names of the nodes; empty for what is connected to its output."""
    members = model.members()
    if isinstance(model, Graph) and model.outputs is not None:
        return [
            (exporter.ends[prefix + node_name(n)][0].node, "out")
            if isinstance(members[n], Container)
            else (prefix + node_name(n), port)
            for n, port in model.outputs
        ]
    ends = model.plan().sources[OUTPUT]
    last = members.get(ends[0][0]) if len(ends) == 1 else None
    return (
        _returned(exporter, last, f"{prefix}{node_name(ends[0][0])}.") if isinstance(last, Container) else []
    )


def _results(
    exporter: Any, returned: Sequence[tuple[str, str]], ends: Sequence[Any]
) -> dict[str, tuple[Shape, list[str]]]:
    """Shape and sources of each Output: one for each thing that the model returns, where those are signals."""
    if len(returned) < 2 or any(p != "out" or n not in exporter.shapes for n, p in returned):
        return {OUTPUT: (sample_shape(ends[0].shape), [end.node for end in ends])}
    width = len(str(len(returned) - 1))
    return {
        free(f"{OUTPUT}_{i:0{width}}", exporter.nodes): (exporter.shapes[name], [name])
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
