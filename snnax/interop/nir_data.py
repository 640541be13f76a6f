"""Traces in NIR's own format for recordings, ``NIRGraphData``."""

from __future__ import annotations

import io
from collections.abc import Iterator
from os import PathLike
from pathlib import Path
from typing import Any

import nir
import nir.serialization
import numpy as np

from snnax import checks
from snnax.drafts import write_whole
from snnax.errors import ConversionError
from snnax.interop import hdf5
from snnax.interop.nir.contents import MAX_BYTES
from snnax.interop.recordings import DAMAGE, check, refuse
from snnax.interop.trace import NodeTrace, Trace

WRITER = "nir.write_data"
_OBSERVABLES = {"input": "input", "spk": "spikes", "mem": "voltages", "syn": "currents"}
_ALIASES = {"spike": "spk", "spikes": "spk", "v": "mem", "voltage": "mem", "voltages": "mem", "i": "syn",
            "current": "syn", "currents": "syn", "inputs": "input"}  # fmt: skip


@checks.takes(path=checks.path)
def write_nir_data(path: str | PathLike[str], trace: Trace, dt: float) -> None:
    """Write a run as NIR's own ``NIRGraphData``, with ``nir.write_data``.

    Each layer has ``input``, ``spikes``, ``voltages`` and ``currents`` as ``[B, T, neurons]``, images flattened.
    The order of the layers, their kinds and what the network returned are not in that format, and nir 1.0.8
    warns that it may change: keep runs with :func:`save_trace`, and use this for readers that know no other.

    Args:
        path: the file.
        trace: the run.
        dt: time step in seconds.

    Raises:
        ConversionError: for names with a slash, which the format cannot hold.
        OSError: if the file cannot be written.
    """
    nodes: dict[str, Any] = {}
    for name, node in trace.nodes.items():
        if "/" in name or not name:
            raise ConversionError(name, "a layer of this name cannot be written to HDF5", "Rename it.")
        found = {"input": node.input, "spk": node.spk, **node.states}
        nodes[name] = nir.NIRNodeData(
            {
                _OBSERVABLES.get(key, key): nir.TimeGriddedData(_gridded(key, value), dt)
                for key, value in found.items()
            }
        )
    buffer = io.BytesIO()
    nir.serialization.write_data(buffer, nir.NIRGraphData(nodes))
    write_whole({Path(path): buffer.getvalue()})


def _gridded(key: str, value: np.ndarray) -> np.ndarray:
    """``[T, B, ...]`` as ``[B, T, neurons]``; spikes of 0 and 1 as bool."""
    flat = np.moveaxis(np.asarray(value).reshape(*value.shape[:2], -1), 0, 1)
    return flat.astype(bool) if key == "spk" and np.isin(flat, (0, 1)).all() else flat


@checks.takes(path=checks.path, max_bytes=checks.count(1, 2**63 - 1))
def read_nir_data(
    path: str | PathLike[str], dtype: Any = np.float32, *, max_bytes: int = MAX_BYTES
) -> tuple[Trace, float]:
    """Read NIR's own ``NIRGraphData`` of a flat graph, written by any framework.

    Args:
        path: the file.
        dtype: precision of spikes, which are stored as bits.
        max_bytes: how large all arrays together may be, unless the file itself is larger.

    Returns:
        The trace, layers in the order of their names, ``[T, B, neurons]``, without outputs; and ``dt`` in
        seconds. An input that was not recorded is zero.

    Raises:
        FileNotFoundError: if there is no such file.
        TraceFileError: if it cannot be read; or for events, which have no steps until they are put on a grid.
    """
    path = Path(path)
    if not path.exists():
        raise FileNotFoundError(f"there is no file {str(path)!r}")
    try:
        if not path.is_file():  # of a pipe the opening waits for ever
            raise ValueError("it is no file")
        with hdf5.File(path, max_bytes) as file:
            found = {
                name: _observables(file, node)
                for name, node in _parts(file, file.root, "NIRGraphData", "nodes")
            }
        steps = {dt for node in found.values() for _, dt in node.values()}
        if len(steps) != 1:
            raise ValueError(f"its time steps are {sorted(steps)}")
        trace = Trace({name: _layer(name, node, dtype) for name, node in found.items()}, ())
        check(trace)
    except DAMAGE as error:
        refuse(path, str(error) if type(error) in (ValueError, hdf5.Refused) else
               f"it is damaged ({type(error).__name__}: {error})", error, WRITER)  # fmt: skip
    return trace, steps.pop()


def _parts(file: hdf5.File, group: hdf5.Group, kind: str, name: str) -> Iterator[tuple[str, hdf5.Group]]:
    """The groups in the part ``name`` of a group that says it is of this kind."""
    said = group.attributes().get("__type__")
    if said != kind.encode():
        raise ValueError(f"it holds {said!r} in place of a {kind}")
    part = file.entry(group.names()[name])
    if not isinstance(part, hdf5.Group):
        raise ValueError(f"{name!r} is no group")
    for key, address in part.names().items():
        entry = file.entry(address)
        if not isinstance(entry, hdf5.Group):
            raise ValueError(f"{key!r} is no group")
        yield key, entry


def _observables(file: hdf5.File, node: hdf5.Group) -> dict[str, tuple[np.ndarray, float]]:
    """What was observed of a layer, ``[B, T, neurons]``, and the time step of each."""
    found = {}
    for name, grid in _parts(file, node, "NIRNodeData", "observables"):
        said = grid.attributes()
        if said.get("__type__") != b"TimeGriddedData":
            raise ValueError(f"{name!r} holds events; put them on a grid with their to_time_gridded(dt)")
        data = file.entry(grid.names()["data"])
        if not isinstance(data, hdf5.Dataset):
            raise ValueError(f"{name!r} holds no numbers")
        values, dt = np.asarray(data.read()), float(said["dt"])
        if values.dtype.kind not in "biuf" or values.ndim != 3 or not 0 < dt < float("inf"):
            raise ValueError(
                f"{name!r} holds {values.dtype} {values.shape} with dt={dt}; expected [B, T, neurons]"
            )
        found[name] = values, dt
    return found


def _layer(name: str, observed: dict[str, tuple[np.ndarray, float]], dtype: Any) -> NodeTrace:
    arrays = {}
    for key, (grid, _) in observed.items():
        values = np.moveaxis(grid, 0, 1)
        arrays[_ALIASES.get(key.lower(), key)] = values.astype(dtype) if values.dtype == bool else values
    spk = arrays.pop("spk")
    return NodeTrace(name, "neuron", arrays.pop("input", np.zeros_like(spk)), spk, arrays)
