"""Reading and writing ``.nir`` files: one error class for what is wrong, nothing half-written."""

from __future__ import annotations

import os
import tempfile
from os import PathLike
from pathlib import Path
from typing import Any

import h5py
import nir
import nir.serialization
import numpy as np

from snnax.errors import NIRFileError
from snnax.interop.nodes.extension import PREFIX, Extension

_DAMAGE = (
    OSError,
    KeyError,
    TypeError,
    ValueError,
    RuntimeError,
    AssertionError,
    AttributeError,
    RecursionError,
)


def read_nir(path: str | PathLike[str]) -> nir.NIRGraph:
    """Read a ``.nir`` file written by any framework, ours with extension nodes included.

    Args:
        path: the file.

    Returns:
        The graph, its types not checked (older writers leave some out).

    Raises:
        FileNotFoundError: if there is no such file.
        NIRFileError: if it is no HDF5 file, truncated, or not a NIR graph; names the file and the node.

    Example:
        >>> import nir, numpy as np, tempfile, os
        >>> from snnax import interop
        >>> path = os.path.join(tempfile.mkdtemp(), "a.nir")
        >>> interop.write_nir(path, nir.NIRGraph.from_list(nir.Linear(np.ones((2, 3)))))
        >>> sorted(interop.read_nir(path).nodes)
        ['input', 'linear', 'output']
    """
    path = Path(path)
    if not path.exists():
        raise FileNotFoundError(f"there is no file {str(path)!r}")
    try:
        with h5py.File(path, "r") as file:
            content = nir.serialization.hdf2dict(file["node"])
    except _DAMAGE as error:
        raise NIRFileError(f"{path}: not a readable NIR file ({_say(error)}).") from error
    node = _restore(content, str(path), "")
    if not isinstance(node, nir.NIRGraph):
        raise NIRFileError(
            f"{path}: holds a single {type(node).__name__} node; wrap it in a NIRGraph before writing."
        )
    return node


def _restore(entry: Any, path: str, name: str) -> nir.NIRNode:
    kind = entry.get("type") if isinstance(entry, dict) else None
    where = f"{path}: node {name!r}" if name else path
    try:
        if kind == "NIRGraph":
            prefix = f"{name}." if name else ""
            nodes = {k: _restore(v, path, prefix + k) for k, v in entry["nodes"].items()}
            edges = [(_text(a), _text(b)) for a, b in np.asarray(entry["edges"]).reshape(-1, 2)]
            return nir.NIRGraph(nodes, edges, metadata=dict(entry.get("metadata", {})), type_check=False)
        if isinstance(kind, str) and kind.startswith(PREFIX):
            return Extension.from_file(entry)
        if not isinstance(kind, str) or not hasattr(nir, kind):
            raise NIRFileError(f"{where}: NIR {nir.version} has no node type {kind!r}.")
        return nir.dict2NIRNode(entry)
    except _DAMAGE as error:
        if isinstance(error, NIRFileError):
            raise
        raise NIRFileError(f"{where}: cannot be read as {kind} ({_say(error)}).") from error


def _text(value: Any) -> str:
    return value.decode() if isinstance(value, bytes) else str(value)


def _say(error: BaseException) -> str:
    return f"{type(error).__name__}: {error}" if str(error) else type(error).__name__


def write_nir(path: str | PathLike[str], graph: nir.NIRGraph, *, extensions: bool = False) -> None:
    """Write a graph to a ``.nir`` file, all of it or nothing.

    Args:
        path: the file; replaced only once the new one is complete.
        graph: as ``to_nir`` returns it.
        extensions: write layers that NIR lacks as nodes that only snnax reads and others refuse.

    Raises:
        ConversionError: if there are such layers and ``extensions`` is false; names the layer.
        NIRFileError: if a node cannot be written.
    """
    path = Path(path)
    flags = [(node, node.writable) for node in graph.nodes.values() if isinstance(node, Extension)]
    handle, draft = tempfile.mkstemp(suffix=".nir", dir=path.resolve().parent)
    os.close(handle)
    try:
        for node, before in flags:
            node.writable = extensions or before
        nir.write(draft, graph)
        os.replace(draft, path)
    except (TypeError, KeyError, AttributeError) as error:
        raise NIRFileError(f"{path}: the graph cannot be written ({_say(error)}).") from error
    finally:
        for node, before in flags:
            node.writable = before
        Path(draft).unlink(missing_ok=True)
