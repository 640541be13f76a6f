"""Traces as data: keep a run, take it elsewhere, and compare with it where what made it is not installed."""

from __future__ import annotations

import io
import json
import struct
import zipfile
import zlib
from collections.abc import Mapping
from dataclasses import replace
from os import PathLike
from pathlib import Path
from typing import Any, NoReturn

import nir
import numpy as np

from snnax import checks
from snnax.drafts import write_whole
from snnax.errors import ArgumentError, ConversionError, ShapeError, SnnaxError, TraceFileError
from snnax.interop import npy
from snnax.interop.families.registry import find
from snnax.interop.nir.entries import GRAPH, trace_parts
from snnax.interop.nir.exporting import exported
from snnax.interop.nir.importing import Import
from snnax.interop.nir.readings import Reading
from snnax.interop.numbers import plain
from snnax.interop.trace import NodeTrace, Trace

__all__ = ["RecordedSide", "load_trace", "save_trace"]

FORMAT, VERSION = "snnax.trace", 2
"""Version 2 has starts: a reader of version 1 would take each step to start from the state before it."""
_HEADER = "trace"
DAMAGE = (
    OSError, ValueError, KeyError, TypeError, AttributeError, IndexError, EOFError, RuntimeError, MemoryError,
    NotImplementedError, ArithmeticError, zipfile.BadZipFile, zlib.error, struct.error,
)  # fmt: skip


@checks.takes(path=checks.path, trace=trace_parts)
def save_trace(path: str | PathLike[str], trace: Trace) -> None:
    """Keep a run in a ``.npz`` file: names, kinds, order of the layers, states and precision exactly as they are.

    Args:
        path: the file; replaced only once the new one is complete.
        trace: a run, as ``side.run(x)`` or :func:`snnax.interop.reference.simulate` return it.

    Raises:
        ShapeError: if the layers have other numbers of steps or samples.
        ArgumentError: for arrays that are not of real numbers.
        OSError: if the file cannot be written.

    Example:
        >>> import numpy as np, os, tempfile
        >>> from snnax import interop
        >>> spk = np.ones((5, 2, 3), np.float32)
        >>> trace = interop.Trace({"lif": interop.NodeTrace("lif", "Leaky", spk, spk, {"mem": spk})}, (spk,))
        >>> path = os.path.join(tempfile.mkdtemp(), "run.npz")
        >>> interop.save_trace(path, trace)
        >>> interop.load_trace(path).nodes["lif"].states["mem"].shape
        (5, 2, 3)
    """
    check(trace)
    path = Path(path)
    arrays: dict[str, np.ndarray] = {}
    nodes: list[dict[str, Any]] = []
    version = 1
    for i, (name, node) in enumerate(trace.nodes.items()):
        given = {"input": node.input, "spk": node.spk, **{f"state {k}": v for k, v in node.states.items()}}
        given |= {f"start {k}": v for k, v in node.starts.items()}
        arrays.update({f"{i} {what}": np.asarray(value) for what, value in given.items()})
        entry: dict[str, Any] = {"name": name, "kind": node.kind, "states": list(node.states)}
        if node.starts or node.rest:
            version = VERSION
            entry |= {"starts": list(node.starts), "rest": {k: float(v) for k, v in node.rest.items()}}
        nodes.append(entry)
    arrays.update({f"output {i}": np.asarray(value) for i, value in enumerate(trace.outputs)})
    header = {
        "format": FORMAT,
        "version": version,
        "nodes": nodes,
        "outputs": len(trace.outputs),
        "dtypes": {key: value.dtype.name for key, value in arrays.items()},
    }
    plain = {key: _as_numbers(value) for key, value in arrays.items()}
    buffer = io.BytesIO()
    np.savez_compressed(buffer, allow_pickle=False, **{_HEADER: np.array(json.dumps(header))}, **plain)
    write_whole({path: buffer.getvalue()})


@checks.takes(path=checks.path, max_bytes=checks.count(1, 2**63 - 1))
def load_trace(path: str | PathLike[str], *, max_bytes: int = npy.MAX_BYTES) -> Trace:
    """Read what :func:`save_trace` wrote.

    Args:
        path: the file.
        max_bytes: how large all arrays together may be, unless the file itself is larger.

    Raises:
        FileNotFoundError: if there is no such file.
        TraceFileError: if it is damaged, was not written by :func:`save_trace`, or by a newer version of it; or is
            larger than ``max_bytes``.

    Example:
        >>> import tempfile
        >>> import numpy as np
        >>> from snnax import interop
        >>> spk = np.ones((2, 1, 3), np.float32)  # [T, B, N]
        >>> lif = interop.NodeTrace("lif", "Leaky", input=spk, spk=spk, states={"mem": 0.5 * spk})
        >>> with tempfile.TemporaryDirectory() as folder:
        ...     interop.save_trace(f"{folder}/run.npz", interop.Trace({"lif": lif}, (spk,)))
        ...     loaded = interop.load_trace(f"{folder}/run.npz")
        >>> loaded.nodes["lif"].kind, float(loaded.nodes["lif"].states["mem"].max())
        ('Leaky', 0.5)
    """
    path = Path(path)
    if not path.exists():
        raise FileNotFoundError(f"there is no file {str(path)!r}")
    if not path.is_file():  # of a pipe the opening waits for ever
        refuse(path, "it is no file")
    try:
        arrays = npy.read_all(path, max_bytes)
        header = json.loads(str(arrays.pop(_HEADER, "{}")))
        if header.get("format") != FORMAT:
            refuse(path, "it was not written by save_trace")
        if header["version"] > VERSION:
            refuse(path, f"its version is {header['version']}; this snnax reads up to {VERSION}")
        read = {key: _as_given(arrays[key], dtype) for key, dtype in header["dtypes"].items()}
        nodes = {}
        for i, entry in enumerate(header["nodes"]):
            states = {k: read[f"{i} state {k}"] for k in entry["states"]}
            starts = {k: read[f"{i} start {k}"] for k in entry.get("starts", ())}
            rest = {str(k): float(v) for k, v in entry.get("rest", {}).items()}
            name = str(entry["name"])
            if name in nodes:
                refuse(path, f"it is damaged: it has two layers {name!r}")
            kind, x, spk = str(entry["kind"]), read[f"{i} input"], read[f"{i} spk"]
            nodes[name] = NodeTrace(name, kind, x, spk, states, starts, rest=rest)
        trace = Trace(nodes, tuple(read[f"output {i}"] for i in range(header["outputs"])))
        check(trace)
    except DAMAGE as error:
        if isinstance(error, TraceFileError):
            raise
        refuse(path, f"it is damaged ({type(error).__name__}: {error})", error)
    return trace


def refuse(
    path: Path, why: str, cause: BaseException | None = None, writer: str = "interop.save_trace"
) -> NoReturn:
    """Say that a file cannot be read, why, and what should have written it."""
    raise TraceFileError(f"{path}: cannot be read as a trace: {why}. Expected a file of {writer}.") from cause


def _as_numbers(array: np.ndarray) -> np.ndarray:
    """An array that ``.npy`` can hold: bfloat16 as the bits it is made of."""
    return array if array.dtype.isbuiltin == 1 else array.view(f"u{array.dtype.itemsize}")


def _as_given(array: np.ndarray, name: str) -> np.ndarray:
    if array.dtype.kind not in "biufc":
        raise ValueError(f"it holds {array.dtype}; expected numbers")
    if array.dtype.name == name:
        return array
    dtype = np.dtype(name)
    if (
        dtype.kind != "V" or dtype.type is np.void or dtype.name != name
    ):  # bfloat16 and its like are no structures
        raise ValueError(f"it holds {name!r}; expected numbers")
    return array.view(dtype)


def check(trace: Trace) -> None:
    """Refuse recordings that are no real numbers ``[T, B, ...]`` with one T and one B."""
    sizes = {}
    for i, value in enumerate(trace.outputs):
        _check_real(f"output {i}", value)
    for name, node in trace.nodes.items():
        started = {f"start of {state}": value for state, value in node.starts.items()}
        for what, value in {"input": node.input, "spk": node.spk, **node.states, **started}.items():
            _check_real(f"layer {name!r}: {what}", value)
            if np.ndim(value) < 2:
                raise ShapeError(f"layer {name!r}: {what} has shape {np.shape(value)}; expected [T, B, ...].")
            sizes[f"{name}.{what}"] = np.shape(value)[:2]
    if len(set(sizes.values())) > 1:
        raise ShapeError(f"the layers were recorded over other numbers of steps and samples: {sizes}.")


def _check_real(what: str, value: Any) -> None:
    """A run that diverged holds NaN too, but no recording holds anything else than numbers."""
    if np.asarray(value).dtype.kind in "cOSUMm":
        raise ArgumentError(f"{what} holds {np.asarray(value).dtype}; expected real numbers.")


class RecordedSide:
    """A run that was recorded, as side ``a`` of :func:`~snnax.interop.crossvalidate`.

    What made it need not be installed. It says what its layers did and nothing about what they would have done
    with other spikes, so it can be the reference, and not the side that is compared with it.

    Args:
        trace: the recording, or the path of a file of :func:`save_trace`.
        label: name in reports, as ``"Norse"``.
        graph: the network that was recorded, as a NIR graph whose nodes have the recording's names. Without it
            the rounding errors of currents are estimated, or taken from the other side where it has a graph.

    Raises:
        FileNotFoundError: if there is no such file.
        TraceFileError: if the file cannot be read.

    Example:
        >>> import numpy as np, nir
        >>> from snnax import interop
        >>> from snnax.interop import simulator
        >>> one = np.ones(3, np.float32)
        >>> graph = nir.NIRGraph.from_list(nir.LIF(tau=one * 1e-3, r=one * 10, v_leak=one * 0, v_threshold=one))
        >>> x = np.random.default_rng(0).random((20, 2, 3), np.float32)
        >>> recording = simulator.simulate(graph, x)
        >>> interop.crossvalidate(interop.RecordedSide(recording), interop.from_nir(graph), x).agree
        True
    """

    def __init__(
        self,
        trace: Trace | str | PathLike[str],
        label: str = "recording",
        *,
        graph: nir.NIRGraph | None = None,
    ) -> None:
        self.label, self._graph = label, graph
        if not isinstance(trace, Trace | str | PathLike):
            raise checks.refuse(
                "RecordedSide(trace=...)", trace, "a snnax.interop.Trace, or the path of a file of one"
            )
        checks.maybe(GRAPH)(graph, "RecordedSide(graph=...)")
        checks.text(label, "RecordedSide(label=...)")
        self.trace = trace_parts(trace, "trace") if isinstance(trace, Trace) else load_trace(trace)
        if not self.trace.nodes:
            raise ArgumentError("the recording has no layer, so there is nothing to compare with.")

    def run(self, x: np.ndarray) -> Trace:
        """The recording; ``x`` is the input that it was made with.

        Raises:
            ShapeError: if ``x`` has another number of steps or samples.
        """
        first = next(iter(self.trace.nodes.values()))
        if np.shape(x)[:2] != first.spk.shape[:2]:
            raise ShapeError(
                f"x has shape {np.shape(x)}; {self.label} was recorded over {first.spk.shape[0]} steps with "
                f"{first.spk.shape[1]} samples. Pass the input that it was recorded with."
            )
        return self.trace

    def replay(self, x: np.ndarray, forced: Mapping[str, np.ndarray]) -> NoReturn:
        """A recording cannot be run again.

        Raises:
            ArgumentError: always; says to swap the sides.
        """
        raise ArgumentError(
            f"{self.label} is a recording, which cannot be run on the spikes of another side. Make it the reference: "
            "crossvalidate(recording, other, x)."
        )

    def graph(self) -> nir.NIRGraph:
        """The graph that was given.

        Raises:
            ConversionError: if none was.
        """
        if self._graph is None:
            raise ConversionError(
                self.label,
                "a recording holds no weights",
                "Pass RecordedSide(trace, graph=...) if you have them.",
            )
        return self._graph


def from_columns(
    columns: Mapping[str, Any], name: str = "neuron", kind: str = "neuron", dtype: Any = np.float32
) -> Trace:
    """A trace of one layer from columns of numbers, as other simulators write them to text files.

    Args:
        columns: ``"input"``, ``"spk"`` and states as ``"mem"``, each ``[T]``, ``[T, N]`` or ``[T, B, ...]``.
        name: name of the layer in the network that it is compared with.
        kind: class of the neuron.
        dtype: precision that the numbers were computed in.

    Raises:
        ArgumentError: without an input or spikes.
        ConversionError: for columns that are not finite real numbers.
        ShapeError: for columns of other lengths.

    Example:
        >>> from snnax.interop.recordings import from_columns
        >>> trace = from_columns({"input": [1.0, 0.0], "spk": [0, 1], "mem": [0.5, 0.0]}, name="lif")
        >>> trace.nodes["lif"].states["mem"].shape
        (2, 1, 1)
    """
    if missing := [key for key in ("input", "spk") if key not in columns]:
        raise ArgumentError(f"columns are {list(columns)}; {missing} are missing.")
    arrays = {}
    for key, values in columns.items():
        array = plain("columns", key, values).astype(dtype)
        arrays[key] = array.reshape(len(array), 1, -1) if array.ndim < 3 else array
    states = {key: value for key, value in arrays.items() if key not in ("input", "spk")}
    trace = Trace({name: NodeTrace(name, kind, arrays["input"], arrays["spk"], states)}, (arrays["spk"],))
    check(trace)
    return trace


# --- A recording of another framework in the units in which a model counts its currents -----------
# NIR's neurons take a current ``I`` and add ``r*dt/tau*I`` to their membrane in an Euler step. Where ``from_nir``
# makes one of snnTorch's neurons of such a node, that neuron adds its input as it is, behind a ``Scale`` by
# ``r*dt/tau``: it counts the same current by what it does to the membrane. Everything is compared in that unit.

Array = np.ndarray


def in_units_of(other: Any, side: RecordedSide, x: Array, reading: Reading) -> RecordedSide:
    """A recording as ``other`` would have made it.

    Layers that were recorded by a neuron of snnTorch's stay as they are, and so does everything where ``other`` does
    not say its units, in ``other.units``: by layer the factor of the input, and that of the synaptic current or
    ``None``, which is then found by comparison.

    Args:
        other: the side that the recording is compared with.
        side: the recording.
        x: its input.
        reading: what NIR leaves open.
    """
    run = side.run(x)
    if len(getattr(other, "layers", ())) != len(run.nodes):
        return side
    units = _paired(other.units, run, other)
    kinds = {n: find(node.kind) for n, node in run.nodes.items()}
    foreign = {n for n, family in kinds.items() if family is None or family.native}
    units = {name: unit for name, unit in units.items() if name in foreign}
    if not any(np.any(gain != 1) or unit is None or np.any(unit != 1) for gain, unit in units.values()):
        return side
    replayed = _replayed(other, run, x) if any(unit is None for _, unit in units.values()) else {}
    nodes = dict(run.nodes)
    for name, (gain, unit) in units.items():
        node = nodes[name]
        states = dict(node.states)
        if "syn" in states:
            known = _fitted(node, replayed[name]) if unit is None else unit
            states["syn"] = _times(states["syn"], known)
        nodes[name] = replace(node, input=_times(node.input, gain), states=states)
    return _with_graph(RecordedSide(Trace(nodes, run.outputs), side.label), side, reading)


def _paired(units: Mapping[str, Any], run: Trace, other: Any) -> dict[str, Any]:
    """The units by the recording's names of the layers: the same ones, or else in the same order."""
    if set(other.layers) == set(run.nodes):
        return dict(units)
    pairs = zip(run.nodes, other.layers, strict=True)
    return {name: units[layer] for name, layer in pairs if layer in units}


def _replayed(other: Any, run: Trace, x: Array) -> dict[str, NodeTrace]:
    """What ``other`` records, by the recording's names, while its layers emit what the recording has."""
    same = set(other.layers) == set(run.nodes)
    names = {name: name for name in run.nodes} if same else dict(zip(run.nodes, other.layers, strict=True))
    found = other.replay(x, {names[name]: node.spk for name, node in run.nodes.items()}).nodes
    return {name: found[theirs] for name, theirs in names.items()}


def _fitted(node: NodeTrace, other: NodeTrace) -> Array:
    """The factor of each neuron's recorded synaptic current that makes it the other side's."""
    left, right = (n.states["syn"].astype(np.float64) for n in (node, other))
    size = (left * left).sum((0, 1))
    return np.where(size > 0, (left * right).sum((0, 1)) / np.where(size > 0, size, 1.0), 1.0)


def _times(values: Array, factor: Array) -> Array:
    return np.asarray(values.astype(np.float64) * factor).astype(values.dtype)


def _with_graph(side: RecordedSide, given: RecordedSide, reading: Reading) -> RecordedSide:
    """The graph of the recording in the same units, if it has one: as the model that is made of it is written."""
    try:
        graph: nir.NIRGraph = given.graph()
        imported = Import(graph, reading=reading)
        graph = exported(imported.model, imported.variables, dt=imported.dt)
    except SnnaxError:
        return side
    nodes = {imported.names.get(name, name): node for name, node in side.trace.nodes.items()}
    trace = Trace({name: replace(node, name=name) for name, node in nodes.items()}, side.trace.outputs)
    return RecordedSide(trace, side.label, graph=graph)
