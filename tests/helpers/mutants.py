"""Damaged ``.nir`` files without end: byte by byte, and by edits that HDF5 itself makes. Each has a number."""

from __future__ import annotations

import functools
import io
import json
import zlib

import h5py
import nir
import numpy as np
from helpers import valid_files

from snnax import interop
from snnax.interop.hdf5 import source
from snnax.interop.nir import contents

NASTY = (0, 1, 2, 7, 255, 2**16 - 1, 2**31 - 1, 2**31, 2**32 - 1, 2**63 - 1, 2**63, 2**64 - 1)
NUMBERS = (
    0, 1, -1, 3, 1e-30, -1e30, 1e300, float("nan"), float("inf"), 2**31, 2**53 + 1, 2**63 - 1, 10**6, 10**9,
)  # fmt: skip
KINDS = ("f2", "f4", ">f4", "f8", "g", "i1", "i8", ">i2", "u8", "?", "c8", "S3")
JSON = (
    None, True, False, 0, -1, 1.5, 1e400, 10**400, 2**63, "", "Leaky", "atan", "__class__", [], {}, [[]],
    [None], {"a": []}, "x" * 5000, [0] * 300, float("nan"),
)  # fmt: skip


def seeds(folder):
    """Valid files by name: each graph as we write it, as nir does, packed in other ways, in newer formats."""
    found = {}
    graphs = {name: make() for name, make in valid_files.GRAPHS.items()}
    for name, graph in {**graphs, "extended": valid_files.extended()}.items():
        path = folder / f"{name}.nir"
        interop.write_nir(path, graph, extensions=True)
        found[name] = path.read_bytes()
        if name in graphs:
            for packed in (None, "lzf"):
                nir.write(path, graph, compression=packed)
                found[f"{name} {packed}"] = path.read_bytes()
        for how, options in (("latest", {"shuffle": True, "compression": "gzip"}), ("v108", {})):
            found[f"{name} {how}"] = _copied(found[name], how, options)
    return found


def _copied(raw, libver, options):
    """The same content in another format, arrays in small chunks."""
    buffer = io.BytesIO()
    with h5py.File(io.BytesIO(raw)) as old, h5py.File(buffer, "w", libver=libver) as new:

        def visit(name, entry):
            if isinstance(entry, h5py.Group):
                new.require_group(name)
            elif entry.ndim and options and entry.dtype.kind in "fiu":
                new.create_dataset(
                    name, data=entry[()], chunks=tuple(max(1, n // 2) for n in entry.shape), **options
                )
            else:
                new.create_dataset(name, data=entry[()], dtype=entry.dtype)

        old.visititems(visit)
    return buffer.getvalue()


def mutant(valid, number, seed=0):
    """The mutant of a number: its origin, what was done in words, and its bytes."""
    rng = np.random.default_rng([seed, number])
    name = sorted(valid)[rng.integers(len(valid))]
    raw = valid[name]
    if rng.random() < 0.5:
        done, raw = _edited(raw, rng)
    elif rng.random() < 0.5 and not name.endswith(("None", "lzf")):
        how = BYTES[rng.integers(len(BYTES) - CHANGE_LENGTH)]
        done, raw = (
            [how.__name__[1:], "sealed anew"],
            _sealed_anew(how(bytearray(raw), rng), _sealed_parts(raw)),
        )
    else:
        done = []
        for _ in range(1 + rng.integers(3) * (rng.random() < 0.3)):
            how = BYTES[rng.integers(len(BYTES))]
            raw = how(bytearray(raw), rng)
            done.append(how.__name__[1:])
    return name, " + ".join(done), bytes(raw)


def _flip(raw, rng):
    at = rng.integers(8 * len(raw))
    raw[at // 8] ^= 1 << (at % 8)
    return raw


def _set_byte(raw, rng):
    raw[rng.integers(len(raw))] = rng.choice([0, 1, 127, 128, 255, rng.integers(256)])
    return raw


def _overwrite(raw, rng):
    size = int(rng.integers(1, 65))
    at = rng.integers(len(raw) - size)
    raw[at : at + size] = rng.bytes(size)
    return raw


def _number(raw, rng):
    """A size, address or number of another value: HDF5 keeps them at even places."""
    size = int(rng.choice([1, 2, 4, 8]))
    at = int(rng.integers(len(raw) // size)) * size
    value = NASTY[rng.integers(len(NASTY))] if rng.random() < 0.7 else int(rng.integers(len(raw)))
    raw[at : at + size] = (value % 256**size).to_bytes(size, "little")
    return raw


def _used_number(raw, rng):
    """The same where there is a number now, a little larger or smaller."""
    places = [at for at in range(0, len(raw) - 8, 8) if any(raw[at : at + 8])]
    at = places[rng.integers(len(places))]
    value = int.from_bytes(raw[at : at + 8], "little") + int(rng.choice([-16, -8, -1, 1, 8, 16, 4096]))
    raw[at : at + 8] = (value % 2**64).to_bytes(8, "little")
    return raw


def _address(raw, rng):
    """One address instead of another: what is read for something else, or twice."""
    places = [
        at for at in range(0, len(raw) - 8, 8) if 0 < int.from_bytes(raw[at : at + 8], "little") < len(raw)
    ]
    if not places:
        return raw
    a, b = rng.choice(places, 2)
    raw[a : a + 8] = raw[b : b + 8]
    return raw


def _copy(raw, rng):
    size = int(rng.integers(1, 257))
    a, b = rng.integers(len(raw) - size, size=2)
    raw[a : a + size] = raw[b : b + size]
    return raw


def _cut(raw, rng):
    return raw[: rng.integers(len(raw))]


def _cut_out(raw, rng):
    at, size = rng.integers(len(raw)), int(rng.integers(1, 65))
    del raw[at : at + size]
    return raw


def _insert(raw, rng):
    at = rng.integers(len(raw))
    raw[at:at] = rng.bytes(int(rng.integers(1, 65)))
    return raw


BYTES = (_flip, _flip, _set_byte, _overwrite, _number, _number, _used_number, _used_number, _address, _address, _copy,
         _cut, _cut_out, _insert)  # fmt: skip
CHANGE_LENGTH = 3
"""How many of them, at the end."""


@functools.cache
def _sealed_parts(raw):
    """Where the parts of a file with a checksum behind them begin and end."""
    found = []

    def checksum(data):
        found.append((raw.find(data), len(data)))
        return source_checksum(data)

    source_checksum, source.checksum = source.checksum, checksum
    try:
        contents.read(io.BytesIO(raw))
    finally:
        source.checksum = source_checksum
    return [(at, at + size) for at, size in found if at >= 0]


def _sealed_anew(raw, parts):
    """With right checksums, as whoever means harm would write them."""
    for begin, end in parts:
        raw[end : end + 4] = source.checksum(bytes(raw[begin:end])).to_bytes(4, "little")
    return raw


def _edited(raw, rng):
    """Up to three edits by HDF5 itself, so that the file is a sound one."""
    buffer, done = io.BytesIO(raw), []
    with h5py.File(buffer, "r+") as file:
        for _ in range(1 + rng.integers(3) * (rng.random() < 0.3)):
            places = []
            file.visit(places.append)
            where = places[rng.integers(len(places))]
            how = EDITS[rng.integers(len(EDITS))]
            try:
                how(file, where, rng)
            except (
                ValueError,
                TypeError,
                KeyError,
                OSError,
                RuntimeError,
                OverflowError,
                AttributeError,
                MemoryError,
            ):
                continue  # not every edit fits every place
            done.append(f"{how.__name__[1:]} {where}")
            if how is _shape:
                break  # what claims to be large is not read here
    return done or ["nothing"], buffer.getvalue()


def _remove(file, where, rng):
    del file[where]


def _replace(file, where, rng):
    """Any array in place of another."""
    kind = KINDS[rng.integers(len(KINDS))]
    shape = tuple(int(n) for n in rng.integers(0, 6, rng.integers(0, 5)))
    with np.errstate(all="ignore"):
        value = np.full(shape, NUMBERS[rng.integers(len(NUMBERS))]).astype(kind)
    del file[where]
    file[where] = value


def _one_number(file, where, rng):
    entry = file[where]
    if isinstance(entry, h5py.Group) or not entry.size or entry.dtype.kind not in "fiu":
        raise TypeError
    value = entry[()]
    with np.errstate(all="ignore"):
        new = np.asarray(NUMBERS[rng.integers(len(NUMBERS))]).astype(entry.dtype)
    if entry.ndim:
        value.ravel()[rng.integers(value.size)] = new
        entry[...] = value
    else:
        entry[()] = new


def _reshape(file, where, rng):
    value = file[where][()]
    shapes = [value.shape[::-1], (1, *value.shape), (*value.shape, 1), (value.size,), value.shape[1:]]
    shape = shapes[rng.integers(len(shapes))]
    del file[where]
    file[where] = np.resize(value, shape)


def _retype(file, where, rng):
    value = file[where][()]
    with np.errstate(all="ignore"):
        value = np.asarray(value).astype(KINDS[rng.integers(len(KINDS))])
    del file[where]
    file[where] = value


def _word(file, where, rng):
    """Another word: another type of node, another end of an edge, or any."""
    names = [*dir(nir), *file["node/nodes"], "snnax.Alpha", "snnax.", "", "\x1b[2J", "é" * 300]
    word = names[rng.integers(len(names))]
    value = file[where][()] if isinstance(file[where], h5py.Dataset) else None
    del file[where]
    if getattr(value, "ndim", 0) and value.dtype == object:
        value.ravel()[rng.integers(value.size)] = word
        file.create_dataset(where, data=value, dtype=h5py.string_dtype())
    else:
        file[where] = word


def _json(file, where, rng):
    """Another value in the metadata, which is JSON."""
    places = []
    file.visititems(
        lambda name, entry: places.append(name) if name.endswith(("/snnax", "/content")) else None
    )
    where = places[rng.integers(len(places))]
    content = json.loads(file[where][()])
    at = content
    while True:
        keys = list(at) if isinstance(at, dict) else list(range(len(at)))
        if not keys:
            break
        key = keys[rng.integers(len(keys))]
        if isinstance(at[key], dict | list) and at[key] and rng.random() < 0.7:
            at = at[key]
            continue
        if rng.random() < 0.2:
            del at[key]
        else:
            at[key] = JSON[rng.integers(len(JSON))]
        break
    text = json.dumps(content)
    if rng.random() < 0.1:
        text = ("[" * 10**5, text[: rng.integers(len(text))], '{"version": 1, "dt": 1' + "0" * 5000 + "}")[
            rng.integers(3)
        ]
    del file[where]
    file[where] = text


def _link(file, where, rng):
    others = []
    file.visit(others.append)
    other = others[rng.integers(len(others))]
    del file[where]
    makes = (
        lambda: file[other],
        lambda: h5py.SoftLink("/" + other),
        lambda: h5py.ExternalLink("/etc/passwd", other),
    )
    file[where] = makes[rng.integers(3)]()


def _move(file, where, rng):
    others = []
    file.visit(others.append)
    file.move(where, others[rng.integers(len(others))] + str(rng.integers(3)))


def _edges(file, where, rng):
    edges = file["node/edges"][()].tolist()
    if rng.random() < 0.5 and edges:
        del edges[rng.integers(len(edges))]
    else:
        names = [*file["node/nodes"], "moon"]
        edges.append([name.encode() for name in rng.choice(names, 2)])
    del file["node/edges"]
    file.create_dataset("node/edges", data=edges, dtype=h5py.string_dtype())


def _chunk(file, where, rng):
    """A packed array whose pieces are not what they say."""
    value = np.atleast_1d(file[where][()])
    if value.dtype.kind not in "fiu" or not value.size:
        raise TypeError
    del file[where]
    plist = h5py.h5p.create(h5py.h5p.DATASET_CREATE)
    plist.set_chunk(value.shape)
    for setter in [(), (plist.set_shuffle,), (plist.set_fletcher32,), (lambda: plist.set_deflate(9),)][
        rng.integers(4)
    ]:
        setter()
    plist.set_deflate(4)
    space = h5py.h5s.create_simple(value.shape)
    entry = h5py.h5d.create(file.id, where.encode(), h5py.h5t.py_create(value.dtype), space, plist)
    sizes = (value.nbytes, value.nbytes - 1, value.nbytes + 1, 0, 10**7)
    raw = zlib.compress(bytes(sizes[rng.integers(len(sizes))]), 9)
    raw = raw[: rng.integers(1, len(raw) + 1)] if rng.random() < 0.3 else raw
    entry.write_direct_chunk((0,) * value.ndim, raw, int(rng.choice([0, 0, 0, 1, 3])))


def _shape(file, where, rng):
    """An array that claims to be large, of which nothing is there."""
    del file[where]
    shape = ((10**9,), (10**6, 10**6), (3, 10**8), (2**31,))[rng.integers(4)]
    packed = {"chunks": (1,) * len(shape), "compression": "gzip"} if rng.random() < 0.5 else {}
    file.create_dataset(where, shape, dtype=("f4", "i8", "S4")[rng.integers(3)], **packed)


def _nest(file, where, rng):
    group = file["node"] if rng.random() < 0.5 else file[where]
    for _ in range(int(rng.integers(1, 100))):
        group = group.create_group("nodes/a" if rng.random() < 0.5 else "metadata")


EDITS = (_remove, _replace, _replace, _one_number, _one_number, _reshape, _retype, _word, _json, _json, _json, _link,
         _move, _edges, _chunk, _shape, _nest)  # fmt: skip
