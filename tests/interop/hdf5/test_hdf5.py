"""Our reader of HDF5 against HDF5's own library: the same content, or a refusal that says why."""

from __future__ import annotations

import contextlib
import io
import zlib

import h5py
import numpy as np
import pytest

from snnax.interop import hdf5

FORMATS = ("earliest", "v108", "v110", "latest")
KINDS = (
    "f2", "f4", "f8", "i1", "i2", "i4", "i8", "u1", "u2", "u4", "u8", ">f2", ">f4", ">f8", ">i2", ">u8", "?", "c8",
    ">c16", "g", "S5", "S1",
)  # fmt: skip
STORED = {
    "as they are": {},
    "in chunks": {"chunks": (2, 3)},
    "in one chunk": {"chunks": (7, 5)},
    "deflate": {"chunks": (1, 1), "compression": "gzip"},
    "shuffle and deflate": {"compression": "gzip", "shuffle": True},
    "lzf": {"compression": "lzf"},
    "shuffle and lzf": {"compression": "lzf", "shuffle": True},
    "growing": {"chunks": (3, 2), "maxshape": (None, None)},
    "growing, packed": {"chunks": (3, 2), "maxshape": (None, None), "compression": "gzip"},
    "growing within limits": {"chunks": (3, 2), "maxshape": (9, 30)},
    "growing within limits, packed": {"chunks": (3, 2), "maxshape": (9, 30), "compression": "lzf"},
}


def content(file, entry=None):
    """All of a file as our reader has it."""
    entry = entry or file.root
    if isinstance(entry, hdf5.Group):
        return {name: content(file, file.entry(at)) for name, at in entry.names().items()}
    return entry.read()


def library(group):
    """All of a file as HDF5's library has it."""
    return {k: library(v) if isinstance(v, h5py.Group) else v[()] for k, v in group.items()}


def same(mine, theirs):
    """The same names, types, shapes and bits; numbers in this machine's order."""
    if isinstance(theirs, dict):
        assert mine.keys() == theirs.keys()
        for key, value in theirs.items():
            same(mine[key], value)
        return
    assert type(mine) is type(theirs)
    mine, theirs = np.asarray(mine), np.asarray(theirs)
    assert (mine.dtype, mine.shape) == (theirs.dtype.newbyteorder("="), theirs.shape)
    assert mine.tolist() == theirs.tolist() if mine.dtype == object else _bits(mine) == _bits(theirs)


def _bits(array):
    """The bytes that count: an extended double fills 10 of its 16, and what lies in the others is anybody's."""
    native = array.astype(array.dtype.newbyteorder("="))
    if native.dtype.char == "g":
        return native.reshape(-1, 1).view(np.uint8)[:, : np.finfo(native.dtype).nmant // 8 + 3].tobytes()
    return native.tobytes()


def read(buffer, limit=2**32):
    with hdf5.File(buffer, limit) as file:
        return content(file)


def agrees(write, libver):
    """What ``write`` puts into a file is read as the library reads it."""
    buffer = io.BytesIO()
    with h5py.File(buffer, "w", libver=libver) as file:
        write(file)
    with h5py.File(buffer) as file:
        same(read(buffer), library(file))


@pytest.mark.parametrize("libver", FORMATS)
def test_every_kind_of_number_kept_in_every_way(libver):
    numbers = np.random.default_rng(0).normal(size=(7, 5)) * 100

    def write(file):
        for i, kind in enumerate(KINDS):
            array = numbers.astype(kind)
            file[f"{i} number"] = array[0, 0]
            for name, how in STORED.items():
                file.create_dataset(f"{i} {name}", data=array, **how)

    agrees(write, libver)


@pytest.mark.parametrize("libver", FORMATS)
def test_groups_of_any_size(libver):
    def write(file):
        for n in (0, 1, 8, 9, 60, 700):
            group = file.create_group(f"group of {n}")
            for i in range(n):
                group[f"näme {i}" + "x" * (i % 50)] = i

    agrees(write, libver)


@pytest.mark.parametrize("libver", FORMATS)
def test_text_and_nothing(libver):
    words = np.array([["a", "bcd"], ["", "é" * 500]], object)

    def write(file):
        file["word"], file["words"] = "hello", words
        file.create_dataset("packed", data=words, dtype=h5py.string_dtype(), compression="gzip")
        file["fixed"] = np.array(["näme".encode(), b"", b"b"])
        spaces = h5py.h5t.C_S1.copy()
        spaces.set_size(4)
        for i, padding in enumerate((h5py.h5t.STR_NULLTERM, h5py.h5t.STR_NULLPAD, h5py.h5t.STR_SPACEPAD)):
            spaces.set_strpad(padding)
            entry = h5py.h5d.create(file.id, f"padded {i}".encode(), spaces, h5py.h5s.create_simple((3,)))
            entry.write(h5py.h5s.ALL, h5py.h5s.ALL, np.array([b"a\0b ", b"  ", b"abcd"], "S4"), spaces)
        file["no edges"], file["no numbers"] = np.zeros((0, 2), "S1"), np.zeros((3, 0), "f4")

    agrees(write, libver)


@pytest.mark.parametrize("libver", FORMATS)
def test_many_chunks(libver):
    rng = np.random.default_rng(0)

    def write(file):
        file.create_dataset("many", data=np.arange(9000.0), chunks=(3,))
        file.create_dataset(
            "grid", data=np.arange(9000.0).reshape(90, 100), chunks=(1, 7), compression="gzip"
        )
        for bits in range(1, 17, 3):  # lzf with longer and shorter copies
            file.create_dataset(f"{bits} bits", data=rng.integers(0, 2**bits, 3000), compression="lzf")

    agrees(write, libver)


@pytest.mark.parametrize("libver", FORMATS)
@pytest.mark.parametrize("packed", [False, True], ids=["as it is", "packed"])
def test_pieces_are_numbered_by_the_shape_that_an_array_can_grow_to(libver, packed):
    """Whenever they are given their place, in any order, and with long runs of pieces that are not there."""
    order = np.random.default_rng(0)

    def write(file):
        for early in (False, True):
            for shape, most, piece in (
                ((7, 5), (9, 30), (2, 2)), ((4, 3, 5), (4, 9, 6), (1, 2, 3)), ((30, 40), (90, 300), (1, 1)),
                ((3, 5), (8, 10), (4, 5)), ((0, 3), (4, 4), (2, 2)), ((50, 2), (None, None), (1, 1)),
            ):  # fmt: skip
                made = h5py.h5p.create(h5py.h5p.DATASET_CREATE)
                made.set_chunk(piece)
                if early:
                    made.set_alloc_time(h5py.h5d.ALLOC_TIME_EARLY)
                if packed:
                    made.set_deflate(1)
                space = h5py.h5s.create_simple(
                    shape, tuple(h5py.h5s.UNLIMITED if n is None else n for n in most)
                )
                name = f"{early} {shape}".encode()
                array = h5py.Dataset(h5py.h5d.create(file.id, name, h5py.h5t.IEEE_F32LE, space, made))
                for i in order.permutation(np.prod(shape)):
                    array[np.unravel_index(i, shape)] = i

    agrees(write, libver)


@pytest.mark.parametrize("libver", FORMATS)
def test_what_was_added_removed_and_made_smaller(libver):
    order = np.random.default_rng(0)

    def write(file):
        array = file.create_dataset("x", data=np.ones((20, 30)), chunks=(1, 3), maxshape=(None, None))
        array.resize((9, 17))
        for n in (3, 40):
            group = file.create_group(f"group of {n}")
            for i in order.permutation(n):
                group[f"{i}" * (1 + i % 7)] = i
            for name in list(group)[::2]:
                del group[name]
            for i in range(n // 3):
                group[f"new {i}"] = "text"

    agrees(write, libver)


def _unwritten(file):
    file.create_dataset("x", (7, 5), "f4", fillvalue=3.0)


def _partly(file):
    file.create_dataset("x", (7, 5), "f4", chunks=(2, 2), fillvalue=3.0)[:2, :2] = 1


def _linked(file):
    file["y"], file["x"] = 1, h5py.SoftLink("/y")


def _typed(file):
    file["x"] = np.dtype("f4")


def _sized(file):
    file.create_dataset("x", data=np.ones((4, 5)), chunks=(2, 2), maxshape=(None, 5))


FINE = {
    "never written": (_unwritten, FORMATS),
    "written in part": (_partly, FORMATS),
    "a link": (_linked, FORMATS),
    "a type": (_typed, FORMATS),
    "without any limit along one axis": (_sized, FORMATS[2:]),
    "a checksum": (lambda file: file.create_dataset("x", data=np.ones(3), fletcher32=True), FORMATS),
    "a long name": (lambda file: [file.create_group(f"{'x' * 5000}{i}") for i in range(20)], FORMATS[1:]),
}


@pytest.mark.parametrize("case", FINE)
def test_what_only_the_library_reads_is_not_called_damaged(case):
    write, formats = FINE[case]
    for libver in formats:
        buffer = io.BytesIO()
        with h5py.File(buffer, "w", libver=libver) as file:
            write(file)
        with pytest.raises(hdf5.Refused, match=r"write it anew: nir\.write") as caught:
            read(buffer)
        assert "damaged" not in str(caught.value)


def test_a_file_behind_other_bytes(tmp_path):
    path = tmp_path / "block.h5"
    with h5py.File(path, "w", userblock_size=1024) as file:
        file["x"] = np.arange(3)
    with hdf5.File(path, 0) as file:
        assert content(file)["x"].tolist() == [0, 1, 2]


def test_attributes_as_the_library_has_them():
    for libver in FORMATS:
        buffer = io.BytesIO()
        with h5py.File(buffer, "w", libver=libver) as file:
            file.attrs.update({"dt": 1e-4, "kind": "näme", "shape": np.arange(3)})
            theirs = dict(file.attrs)
        with hdf5.File(buffer, 0) as file:
            mine = file.root.attributes()
        assert {**mine, "kind": mine["kind"].decode(), "shape": 0} == {**theirs, "shape": 0}
        assert mine["shape"].tolist() == [0, 1, 2]


def _chunk(shape, filters, raw, mask=0, kind=h5py.h5t.IEEE_F32LE, chunk=None):
    """A file with one packed chunk of any bytes."""
    buffer = io.BytesIO()
    with h5py.File(buffer, "w") as file:
        pipeline = h5py.h5p.create(h5py.h5p.DATASET_CREATE)
        pipeline.set_chunk(chunk or shape)
        for name in filters:
            {"shuffle": pipeline.set_shuffle, "deflate": lambda: pipeline.set_deflate(4),
             "lzf": lambda: pipeline.set_filter(h5py.h5z.FILTER_LZF, h5py.h5z.FLAG_OPTIONAL, (4, 261, 4096)),
             "fletcher32": pipeline.set_fletcher32}[name]()  # fmt: skip
        space = h5py.h5s.create_simple(shape, tuple(map(max, shape, chunk or shape)))
        entry = h5py.h5d.create(file.id, b"x", kind, space, pipeline)
        entry.write_direct_chunk((0,) * len(shape), raw, mask)
    return buffer


ZEROS = zlib.compress(bytes(2**28), 9)
HOSTILE = {
    "less than it says": (_chunk, ((64, 16), ["shuffle", "deflate"], zlib.compress(bytes(8))), "another size"),
    "less, deflate alone": (_chunk, ((64, 16), ["deflate"], zlib.compress(bytes(8))), "another size"),
    "less, not packed": (_chunk, ((64, 16), ["deflate"], bytes(8), 1), "another size"),
    "more than it says": (_chunk, ((3,), ["deflate"], ZEROS), "another size"),
    "more, shuffled": (_chunk, ((3,), ["shuffle", "deflate"], ZEROS), "another size"),
    "packed twice": (_chunk, ((3,), ["deflate", "deflate"], zlib.compress(ZEROS)), "deflate, deflate"),
    "a checksum": (_chunk, ((3,), ["fletcher32"], bytes(16)), "fletcher32"),
    "cut off": (_chunk, ((64,), ["deflate"], zlib.compress(np.random.default_rng(0).bytes(256))[:-9]), "another size"),
    "no deflate": (_chunk, ((64,), ["deflate"], b"deflate" * 10), "damaged"),
    "lzf: copy from before the start": (_chunk, ((64,), ["lzf"], b"\x00a\xff\x07\x7f" * 9), "damaged"),
    "lzf: cut off": (_chunk, ((64,), ["lzf"], b"\x00a\xff"), "damaged"),
    "lzf: less than it says": (_chunk, ((64,), ["lzf"], b"\x00a"), "another size"),
    "lzf: more than it says": (_chunk, ((64,), ["lzf"], b"\x00a" + b"\xe0\xff\x00" * 1000), "another size"),
    "a chunk far larger than the array": (
        _chunk, ((3,), ["deflate"], ZEROS, 0, h5py.h5t.IEEE_F32LE, (2**27,)), "claims 536870912 bytes",
    ),
}  # fmt: skip


@pytest.mark.parametrize("case", HOSTILE)
def test_packed_bytes_are_what_they_say_or_refused(case):
    make, given, words = HOSTILE[case]
    with pytest.raises(hdf5.Refused, match=words):
        read(make(*given))


def _words():
    """A file of three words, where its collection of text begins, and where the array refers to it."""
    buffer = io.BytesIO()
    with h5py.File(buffer, "w") as file:
        file["words"] = ["one", "two", "three"]
    raw = buffer.getvalue()
    heap = raw.index(b"GCOL")
    return raw, heap, raw.index((3).to_bytes(4, "little") + heap.to_bytes(8, "little"))


WORDS = {
    "longer than the text is": lambda raw, heap, array: (array, 4 * 2**8),
    "of another collection": lambda raw, heap, array: (array + 4, 1),
    "of no such number": lambda raw, heap, array: (array + 12, 9),
    "the same twice": lambda raw, heap, array: (array + 12, raw[array + 28]),
    "a collection without a size": lambda raw, heap, array: (heap + 8, 0),
    "a number twice": lambda raw, heap, array: (heap + 16, raw[heap + 40]),
    "a piece without end": lambda raw, heap, array: (heap + 16 + 8 + 3, 0xFF),
}


@pytest.mark.parametrize("case", WORDS)
def test_text_that_is_not_where_it_should_be(case):
    raw, heap, array = _words()
    at, value = WORDS[case](raw, heap, array)
    damaged = bytearray(raw)
    damaged[at] = value % 256 or value // 256
    if case == "a collection without a size":
        damaged[at : at + 8] = bytes(8)
    with pytest.raises(hdf5.Refused, match="damaged"):
        read(io.BytesIO(damaged))


def test_names_are_not_read_from_free_room():
    """A list of names that is said to begin 8 or 16 bytes later: the names would be what lies there."""
    buffer = io.BytesIO()
    with h5py.File(buffer, "w", libver="earliest") as file:
        file["first name"] = file["second"] = 1
        del file["second"]
    raw = buffer.getvalue()
    heap = raw.index(b"HEAP")
    start = int.from_bytes(raw[heap + 24 : heap + 32], "little")
    for by in (8, 16, 24, 32):
        damaged = bytearray(raw)
        damaged[heap + 24 : heap + 32] = (start + by).to_bytes(8, "little")
        with pytest.raises(hdf5.Refused, match="damaged"):
            read(io.BytesIO(damaged))
    for free in (0, 8, 2**40):  # where the first free room is said to begin
        damaged = bytearray(raw)
        damaged[heap + 16 : heap + 24] = free.to_bytes(8, "little")
        with pytest.raises(hdf5.Refused, match="damaged"):
            read(io.BytesIO(damaged))


def test_pieces_that_a_search_does_not_find():
    """HDF5 takes them for pieces that were never written, and fills in zeros."""
    buffer = io.BytesIO()
    with h5py.File(buffer, "w", libver="earliest") as file:
        file.create_dataset("x", data=np.arange(1, 7.0), chunks=(2,))
    raw = buffer.getvalue()
    keys = raw.index(b"TREE\x01") + 24
    for key, offset in ((1, 4), (1, 0), (2, 2), (3, 4), (3, 0), (0, 6)):
        damaged, at = bytearray(raw), keys + key * 32 + 8
        damaged[at : at + 16] = offset.to_bytes(16, "little")
        with pytest.raises(hdf5.Refused, match="damaged"):
            read(io.BytesIO(damaged))


def test_no_byte_of_a_collection_of_text_makes_the_reader_hang():
    raw, heap, _ = _words()
    for at in range(heap, heap + 96):
        for value in (0, 1, 0x7F, 0xFF, raw[at] ^ 1):
            damaged = bytearray(raw)
            damaged[at] = value
            with contextlib.suppress(hdf5.Refused):
                assert len(read(io.BytesIO(damaged))["words"]) == 3


def test_more_text_than_the_file_has_bytes():
    buffer = io.BytesIO()
    with h5py.File(buffer, "w") as file:
        file.create_dataset("edges", data=np.full((100_000, 2), b"a"), chunks=(50_000, 2), compression="gzip")
    with pytest.raises(hdf5.Refused, match="larger max_bytes"):
        read(buffer)
    assert read(buffer, 65536 * 200_000)["edges"].shape == (100_000, 2)


def test_bytes_that_several_arrays_share():
    """Sixteen arrays of one megabyte each, all of them the same bytes of the file."""
    buffer = io.BytesIO()
    with h5py.File(buffer, "w") as file:
        for i in range(16):
            file.create_dataset(f"{i}", data=np.full(2**17, i, "f8") if i == 0 else np.zeros(1))
    raw = bytearray(buffer.getvalue())
    with h5py.File(buffer) as file:
        places = [file[str(i)].id.get_offset() for i in range(16)]
    for place in places[1:]:
        at = raw.index(place.to_bytes(8, "little"))
        raw[at : at + 16] = places[0].to_bytes(8, "little") + (2**20).to_bytes(8, "little")
        space = raw.rindex(b"\1\1\1\0\0\0\0\0" + (1).to_bytes(8, "little"), 0, at)
        raw[space + 8 : space + 24] = (2**17).to_bytes(8, "little") * 2
    with h5py.File(io.BytesIO(raw)) as file:
        assert file["15"].shape == (2**17,)
    with pytest.raises(hdf5.Refused, match="same bytes for several things"):
        read(io.BytesIO(raw))


def test_long_doubles_where_the_machine_has_none(monkeypatch):
    """80-bit numbers as float64, where every one of them is one."""
    numbers = np.array([0.0, -1.5, np.pi, 2.0**-1000, -(2.0**1000), np.inf, np.nan])
    mantissa, exponent = np.frexp(np.where(np.isfinite(numbers), numbers, 0.0))
    raw = np.zeros(len(numbers), [("mantissa", "<u8"), ("high", "<u2"), ("rest", "V6")])
    raw["mantissa"] = np.ldexp(np.abs(mantissa), 53).astype("u8") << np.uint64(11)
    raw["high"] = np.where(numbers == 0, 0, exponent + 16382) | np.where(np.signbit(numbers), 1 << 15, 0)
    raw["high"][-2:], raw["mantissa"][-2:] = 0x7FFF, [2**63, 2**63 + 2**62]
    from snnax.interop.hdf5 import types

    monkeypatch.setattr(types.np, "finfo", lambda _: type("Info", (), {"nmant": 52}))
    kind = types.Type(raw.dtype, "x87")
    np.testing.assert_array_equal(types.native(raw, kind), numbers)
    raw["mantissa"][2] += np.uint64(1)
    with pytest.raises(hdf5.Refused, match="write float64"):
        types.native(raw, kind)
