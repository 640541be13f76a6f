"""What is in a NIR file, in words and numbers."""

from __future__ import annotations

from os import PathLike
from pathlib import Path
from typing import Any

import numpy as np

from snnax.interop.nir import contents
from snnax.interop.nir.extension import PREFIX, Extension
from snnax.interop.nir.files import read_nir
from snnax.interop.nir.graph import parameters
from snnax.interop.nir.importing import Import
from snnax.interop.nir.readings import Reading, reading
from snnax.layers import State
from snnax.network.topology import OUTPUT
from snnax.shown import shown


def describe(
    path: str | PathLike[str],
    dt: float | None = None,
    *,
    preset: str | Reading | None = None,
    **choices: Any,
) -> dict[str, Any]:
    """Contents of a ``.nir`` file and what snnax makes of them, as JSON values.

    Args:
        path: the file.
        dt: time step in seconds; ``None``: what the file says, else 1e-4.
        preset: name of a framework whose reading is taken, or a ``Reading``.
        **choices: attributes of ``Reading``.

    Returns:
        ``version``, ``dt``, ``nodes`` (name, type, shapes, parameters, what it becomes), ``edges`` between them,
        those of them that are ``delayed`` by a step, ``weights`` (their number), ``repairs``.

    Raises:
        NIRFileError: if the file cannot be read.
        ConversionError: if snnax cannot import it; the message names the node.
    """
    graph = read_nir(path)
    found = Import(graph, reading=reading(preset, dt=dt, **choices))
    numbers = sum(
        v.size for node in found.flat.nodes.values() for k, v in parameters(node) if k in ("weight", "bias")
    )
    return {
        "file": str(path),
        "version": contents.version(Path(path)),
        "dt": found.dt,
        "dt_source": "given"
        if found.reading.dt is not None
        else "file"
        if "dt" in found.flat.content
        else "default",
        "input": list(found.shapes["input"]),
        "nodes": [_node(found, name) for name in found.model.plan().order],
        "edges": _edges(found),
        "delayed": _delayed(found),
        "weights": int(numbers),
        "repairs": list(found.notes),
    }


def _edges(found: Import) -> list[list[str]]:
    """Those of the model, and one from each recurrent neuron to itself."""
    edges = [list(edge) for edge in found.model.edges if edge[1] != OUTPUT or found.model.outputs is None]
    edges += [[name, OUTPUT] for name, _ in found.model.outputs or ()]
    return edges + _own(found)


def _delayed(found: Import) -> list[list[str]]:
    """Edges that hand over what their source emitted one step earlier."""
    sources = found.model.plan().sources
    return [[s, t] for t, entries in sources.items() for s, late in entries if late] + _own(found)


def _own(found: Import) -> list[list[str]]:
    """The edges that recurrent neurons hold inside."""
    return [[name, name] for name, spec in found.specs.items() if spec.recurrent]


def _node(found: Import, name: str) -> dict[str, Any]:
    site = found.sites[name]
    entry: dict[str, Any] = {"name": name, "shape": list(site.shape_out or ())}
    module = found.model.members()[name]
    if name in found.specs:
        spec = found.specs[name]
        values = {k: _summary(v) for k, v in spec.values.items()}
        entry.update(type=_type(found, name), becomes=spec.kind, **values)
        if any("threshold" in key for key in values):
            entry.update(reset_mechanism=spec.reset_mechanism, reset_delay=spec.reset_delay)
        if spec.recurrent:
            entry["recurrent"] = {k: list(v.shape) for k, v in spec.recurrent.items()}
        return entry
    if name not in found.nodes:  # an input's part or delay, or the sum in front of an output
        return {
            **entry,
            "type": "Output" if name in found.flat.outputs else "Input",
            "becomes": type(module).__name__,
        }
    node = found.nodes[name]
    kind = f"{PREFIX}{node.op}" if isinstance(node, Extension) else type(node).__name__
    entry.update(type=kind, becomes="State" if isinstance(module, State) else type(module).__name__)
    entry.update({k: list(v.shape) for k, v in parameters(node) if k in ("weight", "bias", "scale")})
    return entry


def _type(found: Import, name: str) -> str:
    node = next(node for given, node in found.flat.nodes.items() if found.names.get(given) == name)
    return f"{PREFIX}{node.op}" if isinstance(node, Extension) else type(node).__name__


def _summary(value: Any) -> Any:
    value = np.asarray(value)
    if value.size == 1 or (value == value.ravel()[0]).all():
        return round(float(value.ravel()[0]), 9)
    return {"shape": list(value.shape), "min": float(value.min()), "max": float(value.max())}


def table(content: dict[str, Any]) -> str:
    """The description as text."""
    rows = [("node", "NIR type", "becomes", "shape", "parameters")]
    for node in content["nodes"]:
        known = ("name", "type", "becomes", "shape")
        rest = ", ".join(f"{k} {_text(v)}" for k, v in node.items() if k not in known)
        shape = " x ".join(str(n) for n in node["shape"])
        rows.append((shown(node["name"]), shown(node["type"]), node["becomes"], shape, shown(rest)))
    widths = [max(len(row[i]) for row in rows) for i in range(4)]
    lines = [
        "  ".join([*(cell.ljust(w) for cell, w in zip(row, widths, strict=False)), row[4]]).rstrip()
        for row in rows
    ]
    head = [
        f"{shown(content['file'])}  (NIR {shown(content['version'])}, dt = {content['dt']:g} s "
        f"from {content['dt_source']}, input {' x '.join(str(n) for n in content['input'])}, "
        f"{content['weights']} weights)",
        "",
    ]
    edges = "edges: " + ", ".join(f"{shown(s)} -> {shown(t)}" for s, t in content["edges"])
    repairs = [f"repaired: {shown(note)}" for note in content["repairs"]]
    return "\n".join([*head, *lines, "", edges, *repairs])


def _text(value: Any) -> str:
    if isinstance(value, dict) and "min" in value:
        return f"{value['min']:.4g}..{value['max']:.4g}"
    if isinstance(value, list):
        return "x".join(str(v) for v in value)
    if isinstance(value, dict):
        return " ".join(f"{k} {_text(v)}" for k, v in value.items())
    return str(value)
