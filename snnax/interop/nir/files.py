"""Reading and writing ``.nir`` files: one error class for what is wrong, nothing half-written.

Files are written by HDF5's own library and read by :mod:`snnax.interop.hdf5`, which believes nothing.
"""

from __future__ import annotations

import copy
import hashlib
import io
import sys
from collections.abc import Iterator
from os import PathLike
from pathlib import Path
from typing import Any

import h5py
import nir
import numpy as np

from snnax import checks
from snnax.drafts import write_whole
from snnax.errors import ConversionError, NIRFileError, RepairWarning, SnnaxError, warn
from snnax.interop.nir import contents
from snnax.interop.nir.contents import DIGEST, MAX_BYTES
from snnax.interop.nir.entries import GRAPH, infer_types
from snnax.interop.nir.extension import PREFIX, Extension
from snnax.interop.nir.graph import exact, pairs_of
from snnax.interop.numbers import written

__all__ = ["read_nir", "write_nir"]

_DAMAGE = (
    OSError,
    KeyError,
    IndexError,
    ArithmeticError,
    TypeError,
    ValueError,
    RuntimeError,
    AssertionError,
    AttributeError,
    RecursionError,
    MemoryError,
)


@checks.takes(path=checks.path, max_bytes=checks.count(1, 2**63 - 1))
def read_nir(path: str | PathLike[str], *, max_bytes: int = MAX_BYTES) -> nir.NIRGraph:
    """Read a ``.nir`` file written by any framework, ours with extension nodes included.

    Args:
        path: the file.
        max_bytes: how large all arrays together may be in memory, unless the file itself is larger. Text may further
            have as many pieces as the file has bytes, or a 65536th of ``max_bytes`` if that is more; no packed array
            is more than 1032 times as large as what the file holds of it, the most that deflate can do.

    Returns:
        The graph; shapes that nodes leave out are inferred where they follow, none are checked.

    Raises:
        FileNotFoundError: if there is no such file.
        NIRFileError: if it is no HDF5 file, truncated, too large, nested more than 32 deep, not a NIR graph, packed by
            other filters than deflate and lzf (with or without shuffle), or links to other files; names the file and
            the node.

    Warns:
        RepairWarning: if :func:`write_nir` wrote the file and it has changed since.

    Example:
        >>> import nir, numpy as np, tempfile, os
        >>> from snnax import interop
        >>> path = os.path.join(tempfile.mkdtemp(), "a.nir")
        >>> interop.write_nir(path, nir.NIRGraph.from_list(nir.Linear(np.ones((2, 3)))))
        >>> sorted(interop.read_nir(path).nodes)
        ['input', 'linear', 'output']
    """
    path = Path(path)
    content, digest = contents.read(path, max_bytes)
    if digest is not None and digest != digest_of(content):
        said = f"{path}: it has changed since snnax wrote it; by hand, or by damage that nothing else shows."
        warn(RepairWarning(said))
    node = _restore(content, str(path), "")
    if not isinstance(node, nir.NIRGraph):
        raise NIRFileError(
            f"{path}: holds a single {type(node).__name__} node; wrap it in a NIRGraph before writing."
        )
    return infer_types(node)


def digest_of(content: Any) -> str:
    """SHA-256 of arrays and texts by name, the same on every machine."""
    found = hashlib.sha256()

    def add(value: Any) -> None:
        if isinstance(value, dict):
            for key in sorted(value):
                found.update(repr(key).encode())
                add(value[key])
        elif isinstance(value, np.ndarray | np.generic) and value.dtype != object:
            array = np.asarray(value)
            array = array.astype(array.dtype.newbyteorder("<"))  # the same on every machine
            found.update(f"{array.dtype.str}{array.shape}".encode() + array.tobytes())
        else:
            found.update(repr(value.tolist() if isinstance(value, np.ndarray) else value).encode())

    add(content)
    return found.hexdigest()


def _holds_scalars(graph: nir.NIRGraph) -> bool:
    """True if a parameter has no axes, as Norse 1.1.0 writes them: HDF5 cannot compress it."""
    return any(
        _holds_scalars(node)
        if isinstance(node, nir.NIRGraph)
        else any(hasattr(value, "dtype") and not np.ndim(value) for value in vars(node).values())
        for node in graph.nodes.values()
    )


def _restore(entry: Any, path: str, name: str) -> nir.NIRNode:
    kind = entry.get("type") if isinstance(entry, dict) else None
    where = f"{path}: node {name!r}" if name else path
    if not isinstance(kind, str):
        raise NIRFileError(f"{where}: NIR {nir.version} has no node type {checks.shown(kind)}.")
    try:
        if kind == "NIRGraph":
            prefix = f"{name}." if name else ""
            nodes = {k: _restore(v, path, prefix + k) for k, v in entry["nodes"].items()}
            edges = _edges(entry["edges"])
            return nir.NIRGraph(nodes, edges, metadata=dict(entry.get("metadata", {})), type_check=False)
        if kind.startswith(PREFIX):
            return Extension.from_file(entry)
        if not hasattr(nir, kind):
            raise NIRFileError(f"{where}: NIR {nir.version} has no node type {kind!r}.")
        with np.errstate(all="ignore"):
            return nir.dict2NIRNode(entry)
    except _DAMAGE as error:
        if isinstance(error, NIRFileError):
            raise
        raise NIRFileError(f"{where}: cannot be read as {kind} ({_say(error)}).") from error


def _edges(given: Any) -> list[tuple[str, str]]:
    """Pairs of names."""
    pairs = np.asarray(given)
    if pairs.size and (pairs.ndim != 2 or pairs.shape[1] != 2):
        raise ValueError(f"edges have shape {pairs.shape}; expected pairs of names")
    if not all(isinstance(end, bytes | str) for end in pairs.ravel()):
        raise TypeError(f"edges are {pairs.dtype}; expected pairs of names")
    return [(_text(a), _text(b)) for a, b in pairs.reshape(-1, 2)]


def _text(value: Any) -> str:
    return value.decode() if isinstance(value, bytes) else str(value)


def _say(error: BaseException) -> str:
    return f"{type(error).__name__}: {error}" if str(error) else type(error).__name__


@checks.takes(path=checks.path, graph=GRAPH)
def write_nir(path: str | PathLike[str], graph: nir.NIRGraph, *, extensions: bool = False) -> None:
    """Write a graph to a ``.nir`` file, all of it or nothing.

    Args:
        path: the file; replaced only once the new one is complete.
        graph: as ``to_nir`` returns it.
        extensions: write layers that NIR lacks as nodes that only snnax reads and others refuse.

    Raises:
        ConversionError: if there are such layers and ``extensions`` is false, and for numbers that are not finite or
            not real, and names that a file cannot have; names the layer.
        NIRFileError: if a node cannot be written.
        OSError: if the file cannot be written, as on a full disk; one that was there is as it was.

    Example:
        >>> import tempfile
        >>> import flax.linen as nn
        >>> import jax, jax.numpy as jnp
        >>> import snnax as snn
        >>> from snnax import interop
        >>> net = snn.Sequential([nn.Dense(3), snn.Leaky(beta=0.5, init_hidden=True)])
        >>> x = jnp.ones((1, 2))
        >>> graph = interop.to_nir(net, net.init(jax.random.key(0), x), x)
        >>> with tempfile.TemporaryDirectory() as folder:
        ...     interop.write_nir(f"{folder}/net.nir", graph)
        ...     sorted(type(node).__name__ for node in interop.read_nir(f"{folder}/net.nir").nodes.values())
        ['Affine', 'Input', 'LIF', 'Output']
    """
    path = Path(path)
    if not isinstance(graph, nir.NIRGraph):
        raise NIRFileError(
            f"{path}: got a {type(graph).__name__}; expected a nir.NIRGraph, as to_nir returns it."
        )
    ours = {name: node for name, node in graph.nodes.items() if isinstance(node, Extension)}
    unfit = [node.refusal(name) for name, node in ours.items() if not (extensions or node.writable)]
    if unfit:
        raise ConversionError.joined(unfit)
    flags = [(node, node.writable) for node in ours.values()]
    try:
        for node, before in flags:
            node.writable = extensions or before
        buffer = io.BytesIO()  # HDF5 ends the process where it writes to a full disk itself
        nir.write(buffer, _plainly(graph), compression=None if _holds_scalars(graph) else "gzip")
        content, _ = contents.read(buffer, sys.maxsize, path)
        with h5py.File(buffer, "r+") as file:
            file.create_dataset(DIGEST, data=digest_of(content), dtype=h5py.string_dtype())
    except (TypeError, KeyError, ValueError, AttributeError, RecursionError) as error:
        if isinstance(error, SnnaxError):
            raise
        raise NIRFileError(f"{path}: the graph cannot be written ({_say(error)}).") from error
    finally:
        for node, before in flags:
            node.writable = before
    write_whole({path: buffer.getvalue()})


def _plainly(graph: nir.NIRGraph) -> nir.NIRGraph:
    """The graph with numbers that HDF5 has a type for, and every reader; ``ConversionError`` for others."""
    twin = copy.copy(graph)
    twin.nodes = {}
    for word in _keys(graph.metadata):
        _check_name(word)
    for name, node in graph.nodes.items():
        for word in (name, *_keys(node.metadata)):
            _check_name(word)
        twin.nodes[name] = _plainly(node) if isinstance(node, nir.NIRGraph) else exact(name, node, written)
    pairs_of(graph)
    return twin


def _keys(metadata: Any) -> Iterator[Any]:
    """The names of all entries, of those in entries too."""
    for key, value in (metadata or {}).items():
        yield key
        if isinstance(value, dict):
            yield from _keys(value)


def _check_name(name: Any) -> None:
    """HDF5 takes a name with a slash for a path, and others for none."""
    try:
        fine = isinstance(name, str) and name not in ("", ".") and not {"/", "\x00"} & set(name)
        fine = fine and bool(name.encode())
    except UnicodeEncodeError:
        fine = False
    if not fine:
        raise ConversionError(
            f"{name}", "no node or entry of metadata can have this name in a file",
            "Give it a name without slash and NUL, of whole characters.",
        )  # fmt: skip
