"""Reading and writing ``.nir`` files: one error class for what is wrong, nothing half-written.

What a file says is not believed before it is checked: arrays that the file does not hold are never made room for,
links out of the file or back to where they come from are not followed.
"""

from __future__ import annotations

import hashlib
import io
import warnings
import zlib
from itertools import product
from math import prod
from os import PathLike
from pathlib import Path
from typing import Any

import h5py
import nir
import numpy as np

from snnax.drafts import write_whole
from snnax.errors import NIRFileError, RepairWarning
from snnax.interop.nodes.extension import PREFIX, Extension

MAX_BYTES = 2**32
DEPTH = 32
"""How deep graphs may be nested."""
DIGEST = "snnax_digest"
"""Where a file keeps the digest of its content; other readers ignore it."""
_RATIO = 1032
"""What deflate packs into one byte at most."""
_SPARE = 2**16
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
)


def read_nir(path: str | PathLike[str], *, max_bytes: int = MAX_BYTES) -> nir.NIRGraph:
    """Read a ``.nir`` file written by any framework, ours with extension nodes included.

    Args:
        path: the file.
        max_bytes: how large all arrays together may be, unless the file itself is larger. A packed array may further
            be 1032 times as large as what the file holds of it, which is the most that NIR's compression can do.

    Returns:
        The graph, its types not checked (older writers leave some out).

    Raises:
        FileNotFoundError: if there is no such file.
        NIRFileError: if it is no HDF5 file, truncated, too large, nested more than 32 deep, not a NIR graph, or links
            to other files; names the file and the node.

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
    if not path.exists():
        raise FileNotFoundError(f"there is no file {str(path)!r}")
    content, digest = _Content(path, max(max_bytes, path.stat().st_size)).read()
    if digest is not None and digest != _digest(content):
        warnings.warn(
            RepairWarning(
                f"{path}: it has changed since snnax wrote it; by hand, or by damage that nothing else shows."
            ),
            stacklevel=2,
        )
    node = _restore(content, str(path), "")
    if not isinstance(node, nir.NIRGraph):
        raise NIRFileError(
            f"{path}: holds a single {type(node).__name__} node; wrap it in a NIRGraph before writing."
        )
    return node


class _Content:
    """What a file holds, as nested dicts of arrays and strings.

    Args:
        path: the file.
        budget: bytes that all arrays may have.
    """

    def __init__(self, path: Path, budget: int) -> None:
        self.path, self.budget, self.left = path, budget, budget
        self.seen: set[int] = set()
        self.block = max(1, budget // max(1, path.stat().st_size))

    def read(self) -> tuple[dict[str, Any], str | None]:
        """The group ``node``, and the digest that it was written with."""
        try:
            with h5py.File(self.path, "r") as file:
                if not isinstance(self._entry(file, "node", "/"), h5py.Group):
                    raise NIRFileError(f"{self.path}: 'node' is no group.")
                digest = self._value(self._entry(file, DIGEST, "/")) if DIGEST in file else None
                return self._group(file["node"], 0), None if digest is None else str(digest)
        except NIRFileError:
            raise
        except (*_DAMAGE, MemoryError) as error:
            raise NIRFileError(f"{self.path}: not a readable NIR file ({_say(error)}).") from error

    def _group(self, group: h5py.Group, depth: int) -> dict[str, Any]:
        address = h5py.h5o.get_info(group.id).addr
        if depth > 2 * DEPTH + 4:
            raise NIRFileError(f"{self.path}: '{group.name[:60]}...' is nested more than {DEPTH} deep.")
        if address in self.seen:
            raise NIRFileError(
                f"{self.path}: {group.name!r} is in the file twice or holds itself; copy it instead."
            )
        self.seen.add(address)
        found: dict[str, Any] = {}
        for key in group:
            name = _text(key)
            entry = self._entry(group, name, group.name)
            try:
                found[name] = (
                    self._group(entry, depth + 1) if isinstance(entry, h5py.Group) else self._value(entry)
                )
            except NIRFileError:
                raise
            except _DAMAGE as error:
                raise NIRFileError(
                    f"{self.path}: {group.name}/{name} cannot be read ({_say(error)})."
                ) from error
        return found

    def _entry(self, group: h5py.Group, name: str, where: str) -> Any:
        if name not in group and group.get(name, getlink=True) is None:
            raise NIRFileError(f"{self.path}: it has no {name!r}, so it is no NIR file.")
        if not isinstance(group.get(name, getlink=True), h5py.HardLink):
            raise NIRFileError(
                f"{self.path}: {where}/{name} is a link to elsewhere; a NIR file holds all of its nodes."
            )
        entry = group[name]
        if not isinstance(entry, h5py.Group | h5py.Dataset):
            raise NIRFileError(f"{self.path}: {where}/{name} is neither a node nor a number.")
        return entry

    def _value(self, entry: h5py.Dataset) -> Any:
        text = h5py.check_string_dtype(entry.dtype)
        if text is None and entry.dtype.kind not in "fiubcS":
            raise NIRFileError(f"{self.path}: {entry.name} holds {entry.dtype}; expected numbers or text.")
        if entry.is_virtual or entry.external:
            raise NIRFileError(
                f"{self.path}: {entry.name} is kept in another file; a NIR file holds all of its nodes."
            )
        if entry.size is None:
            raise NIRFileError(f"{self.path}: {entry.name} is empty.")
        stored = entry.id.get_storage_size()
        if (entry.nbytes and not stored) or entry.nbytes > stored * _RATIO + _SPARE:
            raise NIRFileError(
                f"{self.path}: {entry.name} claims the shape {entry.shape}, {entry.nbytes} bytes, of which the file "
                f"holds {stored}."
            )
        self._spend(entry, entry.nbytes)
        if entry.chunks:
            self._check_chunks(entry)
        if text is None or entry.ndim == 0:
            return _decoded(entry[()])
        rows = [entry[i : i + self.block] for i in range(0, len(entry), self.block)]
        for row in rows:
            self._spend(entry, sum(len(word) for word in row.ravel()))
        return np.concatenate(rows) if rows else entry[()]

    def _check_chunks(self, entry: h5py.Dataset) -> None:
        """HDF5 fills what is missing with zeros, and what is too short with whatever is in memory."""
        grid = [range(0, n, size) for n, size in zip(entry.shape, entry.chunks, strict=True)]
        found: list[tuple[int, ...]] = []
        entry.id.chunk_iter(
            lambda chunk: found.append(chunk.chunk_offset) if chunk.filter_mask == 0 else None
        )
        if prod(map(len, grid)) != len(found) or set(found) != set(product(*grid)):
            raise NIRFileError(f"{self.path}: parts of {entry.name} are missing.")
        pipeline = entry.id.get_create_plist()
        if [pipeline.get_filter(i)[0] for i in range(pipeline.get_nfilters())] != [h5py.h5z.FILTER_DEFLATE]:
            return
        size = prod(entry.chunks) * entry.dtype.itemsize
        for offset in found:
            if _unpacked(entry.id.read_direct_chunk(offset)[1], size) != size:
                raise NIRFileError(f"{self.path}: parts of {entry.name} have another size than it says.")

    def _spend(self, entry: h5py.Dataset, size: int) -> None:
        self.left -= size
        if self.left < 0:
            raise NIRFileError(
                f"{self.path}: with {entry.name} its arrays are larger than {self.budget} bytes. If that is right, "
                "pass read_nir(path, max_bytes=...)."
            )


def _unpacked(packed: bytes, limit: int) -> int:
    """How many bytes were packed, no further than one beyond the limit."""
    try:
        return len(zlib.decompressobj().decompress(packed, limit + 1))
    except zlib.error as error:
        raise ValueError(str(error)) from error


def _digest(content: Any) -> str:
    """A number for all that a file holds."""
    found = hashlib.sha256()

    def add(value: Any) -> None:
        if isinstance(value, dict):
            for key in sorted(value):
                found.update(repr(key).encode())
                add(value[key])
        elif isinstance(value, np.ndarray | np.generic) and value.dtype != object:
            found.update(f"{value.dtype.str}{value.shape}".encode() + value.tobytes())
        else:
            found.update(repr(value.tolist() if isinstance(value, np.ndarray) else value).encode())

    add(content)
    return found.hexdigest()


def _decoded(value: Any) -> Any:
    return value.decode() if isinstance(value, bytes) else value


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
    try:
        if kind == "NIRGraph":
            prefix = f"{name}." if name else ""
            nodes = {k: _restore(v, path, prefix + k) for k, v in entry["nodes"].items()}
            edges = _edges(entry["edges"])
            return nir.NIRGraph(nodes, edges, metadata=dict(entry.get("metadata", {})), type_check=False)
        if isinstance(kind, str) and kind.startswith(PREFIX):
            return Extension.from_file(entry)
        if not isinstance(kind, str) or not hasattr(nir, kind):
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


def write_nir(path: str | PathLike[str], graph: nir.NIRGraph, *, extensions: bool = False) -> None:
    """Write a graph to a ``.nir`` file, all of it or nothing.

    Args:
        path: the file; replaced only once the new one is complete.
        graph: as ``to_nir`` returns it.
        extensions: write layers that NIR lacks as nodes that only snnax reads and others refuse.

    Raises:
        ConversionError: if there are such layers and ``extensions`` is false; names the layer.
        NIRFileError: if a node cannot be written.
        OSError: if the file cannot be written, as on a full disk; one that was there is as it was.
    """
    path = Path(path)
    flags = [(node, node.writable) for node in graph.nodes.values() if isinstance(node, Extension)]
    try:
        for node, before in flags:
            node.writable = extensions or before
        buffer = io.BytesIO()  # HDF5 ends the process where it writes to a full disk itself
        nir.write(buffer, graph, compression=None if _holds_scalars(graph) else "gzip")
        with h5py.File(buffer, "r+") as file:
            file.create_dataset(DIGEST, data=_digest(_written(file["node"])), dtype=h5py.string_dtype())
    except (TypeError, KeyError, AttributeError) as error:
        raise NIRFileError(f"{path}: the graph cannot be written ({_say(error)}).") from error
    finally:
        for node, before in flags:
            node.writable = before
    write_whole({path: buffer.getbuffer()})


def _written(group: h5py.Group) -> dict[str, Any]:
    """What :func:`read_nir` will find."""
    return {
        key: _written(entry) if isinstance(entry, h5py.Group) else _decoded(entry[()])
        for key, entry in group.items()
    }
