"""Traces in NIR's own format for recordings, ``NIRGraphData``."""

from __future__ import annotations

import io
from collections.abc import Iterator, Mapping
from os import PathLike
from pathlib import Path
from typing import Any

import nir
import nir.serialization
import numpy as np

from snnax import checks
from snnax.drafts import write_whole
from snnax.errors import ArgumentError, ConversionError
from snnax.event.arguments import seconds
from snnax.event.spike_trains import Trains, given_trains
from snnax.event.spike_trains import trains as event_trains
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
    warns that it may change: keep runs with :func:`~snnax.interop.save_trace`, and use this for readers that know
    no other.

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
            raise ValueError(
                f"{name!r} holds events, which read_nir_events reads; or put them on a grid: to_time_gridded(dt)"
            )
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


# --- events ---------------------------------------------------------------------------------------


@checks.takes(
    path=checks.path, spikes=checks.mapping("spike trains by node, as {'out': snnax.event.trains(times)}")
)
def write_nir_events(path: str | PathLike[str], spikes: Mapping[str, Trains], t_max: float) -> None:
    """Write spike trains as NIR's own ``NIRGraphData`` of events, with ``nir.write_data``.

    Args:
        path: the file.
        spikes: :class:`snnax.event.Trains` by name of the node, as ``simulation.trains``.
        t_max: how long the recording is, in seconds.

    Raises:
        ArgumentError: for what are no trains, spikes after ``t_max``, and trains that overflowed: the format cannot say
            that spikes are missing.
        ConversionError: for names with a slash, which the format cannot hold.
        OSError: if the file cannot be written.

    Example:
        >>> import tempfile, pathlib
        >>> from snnax import event
        >>> from snnax.interop.nir_data import read_nir_events, write_nir_events
        >>> with tempfile.TemporaryDirectory() as folder:
        ...     file = pathlib.Path(folder) / "spikes.nir"
        ...     write_nir_events(file, {"out": event.from_lists([[[1e-3, 4e-3], []]])}, t_max=0.05)
        ...     found, t_max = read_nir_events(file)
        >>> found["out"].times.shape, t_max
        ((1, 2, 2), 0.05)
    """
    end = seconds(t_max, "write_nir_events(t_max=...)")
    nodes: dict[str, Any] = {}
    for name, given in spikes.items():
        trains = given_trains(given, f"write_nir_events(spikes[{name!r}]=...)")
        if "/" in name or not name:
            raise ConversionError(name, "a node of this name cannot be written to HDF5", "Rename it.")
        if np.any(trains.overflow):
            raise ArgumentError(
                f"write_nir_events(spikes[{name!r}]=...) overflowed, and the format cannot say that spikes are "
                "missing; run it with a larger max_spikes."
            )
        times = np.asarray(trains.times, np.float64)
        if (last := float(np.max(times, initial=0, where=np.isfinite(times)))) > end:
            raise ArgumentError(
                f"write_nir_events(t_max={end:g}): {name!r} has a spike at {last:g} s; pass a later t_max."
            )
        samples, neurons, budget = times.shape
        flat = times.reshape(samples, -1)
        order = np.argsort(flat, axis=1, kind="stable")
        time = np.take_along_axis(flat, order, 1)
        index = np.where(np.isfinite(time), np.repeat(np.arange(neurons), budget)[order], -1)
        most = max(1, int(np.isfinite(time).sum(1).max(initial=0)))
        nodes[name] = nir.NIRNodeData(
            {"spikes": nir.EventData(index[:, :most], time[:, :most], neurons, end)}
        )
    buffer = io.BytesIO()
    nir.serialization.write_data(buffer, nir.NIRGraphData(nodes))
    write_whole({Path(path): buffer.getvalue()})


@checks.takes(path=checks.path, max_bytes=checks.count(1, 2**63 - 1))
def read_nir_events(
    path: str | PathLike[str], sizes: Mapping[str, int] | None = None, *, max_bytes: int = MAX_BYTES
) -> tuple[dict[str, Trains], float]:
    """Read the spikes in NIR's own ``NIRGraphData`` as spike trains: of events, and of a time grid.

    Args:
        path: the file.
        sizes: number of neurons of each node; ``None`` for what the file says. jaxsnn 0.3.0 writes the number of its
            events there (``n_steps``), which is then not the number of neurons.
        max_bytes: how large all arrays together may be, unless the file itself is larger.

    Returns:
        :class:`snnax.event.Trains` by name of the node, with the budget that the busiest neuron needs; and ``t_max`` in
        seconds. Spikes of a time grid are at the starts of their steps.

    Raises:
        FileNotFoundError: if there is no such file.
        TraceFileError: if it cannot be read, or has no spikes.

    Compared with
        jaxsnn's ``from_nir_data`` keeps lists of events, padded with ``2 t_max``; such times are no spikes here.
    """
    path = Path(path)
    if not path.exists():
        raise FileNotFoundError(f"there is no file {str(path)!r}")
    known: Mapping[str, int] = (
        checks.maybe(checks.mapping("sizes by node, as {'out': 3}"), {})(sizes, "read_nir_events(sizes=...)")
        or {}
    )
    try:
        if not path.is_file():  # of a pipe the opening waits for ever
            raise ValueError("it is no file")
        found, ends = {}, set()
        with hdf5.File(path, max_bytes) as file:
            for name, node in _parts(file, file.root, "NIRGraphData", "nodes"):
                for what, group in _parts(file, node, "NIRNodeData", "observables"):
                    if _ALIASES.get(what.lower(), what) == "spk":
                        found[name], end = _trains(file, name, group, known.get(name))
                        ends.add(end)
        if not found or len(ends) != 1:
            raise ValueError("it has no spikes" if not found else f"its recordings end at {sorted(ends)} s")
    except DAMAGE as error:
        refuse(path, str(error) if type(error) in (ValueError, hdf5.Refused) else
               f"it is damaged ({type(error).__name__}: {error})", error, WRITER)  # fmt: skip
    return found, ends.pop()


def _trains(file: hdf5.File, name: str, group: hdf5.Group, size: int | None) -> tuple[Trains, float]:
    """One recording, and when it ends."""
    said, parts = group.attributes(), group.names()
    if said.get("__type__") == b"TimeGriddedData":
        values, dt = _numbers(file, parts["data"], "biuf", 3), float(said["dt"])
        if not 0 < dt < float("inf") or not np.isin(values, (0, 1)).all():
            raise ValueError(f"{name!r} holds no spikes, or dt={dt}")
        steps = np.moveaxis(values, 1, 2)
        time = np.where(steps, np.arange(steps.shape[2]) * dt, np.inf)
        return _padded(np.sort(time, -1)), values.shape[1] * dt
    index, time = (_numbers(file, parts[key], kinds, 2) for key, kinds in (("idx", "iu"), ("time", "f")))
    neurons, end = int(said["n_neurons"]) if size is None else size, float(said["t_max"])
    there = (index >= 0) & (time <= end)
    if index.shape != time.shape or not 0 < end < float("inf") or neurons < 1 or np.any(time[there] < 0):
        raise ValueError(f"{name!r} holds indices {index.shape} and times {time.shape} up to {end}")
    if np.any(index[there] >= neurons):
        raise ValueError(
            f"{name!r} has a neuron {index[there].max()} of {neurons}; pass sizes={{{name!r}: number}}"
        )
    # The rank of each spike among those of its neuron.
    most = max(
        1, max((np.bincount(i[t]).max(initial=0) for i, t in zip(index, there, strict=True)), default=0)
    )
    found = np.full((len(index), neurons, most), np.inf)
    filled = np.zeros(found.shape[:2], int)
    for b, k in zip(*np.nonzero(there), strict=True):
        n = index[b, k]
        found[b, n, filled[b, n]] = time[b, k]
        filled[b, n] += 1
    return _padded(np.sort(found, -1)), end


def _numbers(file: hdf5.File, address: Any, kinds: str, axes: int) -> np.ndarray:
    data = file.entry(address)
    if not isinstance(data, hdf5.Dataset):
        raise ValueError("it holds no numbers")
    values = np.asarray(data.read())
    if values.dtype.kind not in kinds or values.ndim != axes:
        raise ValueError(f"it holds {values.dtype} {values.shape}")
    return values


def _padded(times: np.ndarray) -> Trains:
    """As many places as the busiest neuron needs; at least one."""
    most = max(1, int(np.isfinite(times).sum(-1).max(initial=0)))
    return event_trains(times[..., :most])
