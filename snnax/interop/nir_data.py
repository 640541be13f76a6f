"""Traces in NIR's own format for recordings, ``NIRGraphData``."""

from __future__ import annotations

import io
from os import PathLike
from pathlib import Path
from typing import Any

import nir
import nir.serialization
import numpy as np

from snnax.drafts import write_whole
from snnax.errors import ConversionError, TraceFileError
from snnax.interop.recordings import DAMAGE, check, refuse
from snnax.interop.trace import NodeTrace, Trace

WRITER = "nir.write_data"
_OBSERVABLES = {"input": "input", "spk": "spikes", "mem": "voltages", "syn": "currents"}
_ALIASES = {"spike": "spk", "spikes": "spk", "v": "mem", "voltage": "mem", "voltages": "mem", "i": "syn",
            "current": "syn", "currents": "syn", "inputs": "input"}  # fmt: skip


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
    write_whole({Path(path): buffer.getbuffer()})


def _gridded(key: str, value: np.ndarray) -> np.ndarray:
    """``[T, B, ...]`` as ``[B, T, neurons]``; spikes of 0 and 1 as bool."""
    flat = np.moveaxis(np.asarray(value).reshape(*value.shape[:2], -1), 0, 1)
    return flat.astype(bool) if key == "spk" and np.isin(flat, (0, 1)).all() else flat


def read_nir_data(path: str | PathLike[str], dtype: Any = np.float32) -> tuple[Trace, float]:
    """Read NIR's own ``NIRGraphData`` of a flat graph, written by any framework.

    Args:
        path: the file.
        dtype: precision of spikes, which are stored as bits.

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
        data = nir.serialization.read_data(str(path))
        nodes, dts = {}, set()
        for name, entry in data.nodes.items():
            arrays = {}
            for observable, grid in entry.observables.items():
                if not isinstance(grid, nir.TimeGriddedData):
                    refuse(
                        path,
                        f"{name!r} holds events; put them on a grid with their to_time_gridded(dt)",
                        None,
                        WRITER,
                    )
                values = np.moveaxis(np.asarray(grid.data), 0, 1)
                arrays[_ALIASES.get(observable.lower(), observable)] = (
                    values.astype(dtype) if values.dtype == bool else values
                )
                dts.add(float(grid.dt))
            spk = arrays.pop("spk")
            given = arrays.pop("input", np.zeros_like(spk))
            nodes[name] = NodeTrace(name, "neuron", given, spk, arrays)
        if len(dts) != 1:
            refuse(path, f"its time steps are {sorted(dts)}", None, WRITER)
        trace = Trace(nodes, ())
        check(trace)
    except (*DAMAGE, AssertionError, RecursionError) as error:
        if isinstance(error, TraceFileError):
            raise
        refuse(path, f"it is damaged ({type(error).__name__}: {error})", error, WRITER)
    return trace, dts.pop()
