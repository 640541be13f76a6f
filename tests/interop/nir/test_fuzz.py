"""A few hundred damaged files in each run of the tests; ``python -m helpers.fuzz_files 10000`` reads more."""

from __future__ import annotations

import os
import time

import numpy as np
import pytest
from helpers import fuzz_files

COUNT = 300


def test_damaged_files_are_refused_or_read_as_hdf5_reads_them():
    counts, wrong = fuzz_files.fuzz(range(COUNT))
    assert wrong == []
    assert sum(counts.values()) == COUNT
    assert counts["as HDF5 reads it"] > 0.1 * COUNT and counts["refused: NIRFileError"] > 0.2 * COUNT


JUDGED = {
    "refused": (("refused", "NIRFileError"), ("error", ""), "refused"),
    "hang": (("hang", ""), ("error", ""), "hang"),
    "the same": (("read", {"a": 1}), ("read", {"a": 1}), "as HDF5 reads it"),
    "another number": (("read", {"a": 2}), ("read", {"a": 1}), "other numbers than HDF5 reads"),
    "one missing": (("read", {}), ("read", {"a": 1}), "other numbers than HDF5 reads"),
    "only ours, undamaged": (("read", {"a": 0}), ("error", ""), "HDF5 cannot read it, as before the damage"),
    "only ours, damaged": (
        ("read", {"a": 1}),
        ("error", ""),
        "HDF5 cannot read it, other than before the damage",
    ),
    "only ours, new": (
        ("read", {"a": 0, "b": 0}),
        ("hang", ""),
        "HDF5 hangs or crashes, other than before the damage",
    ),
}


@pytest.mark.parametrize("case", JUDGED)
def test_what_is_wrong_is_seen(case):
    ours, theirs, expected = JUDGED[case]
    kind, _ = fuzz_files._judged(ours, lambda _: theirs, None, {"a": 0})
    assert kind == expected
    assert (kind in fuzz_files.GOOD) == (case in ("refused", "the same", "only ours, undamaged"))


def test_content_is_compared_bit_for_bit():
    one, other = ({"a": {"b": np.array([value, np.nan])}} for value in (0.0, -0.0))
    assert fuzz_files.flat(one) == fuzz_files.flat(one) != fuzz_files.flat(other)
    assert fuzz_files.flat({"a": np.float32(1)}) != fuzz_files.flat({"a": np.float64(1)})
    assert fuzz_files.flat({"a": np.ones(2, ">f4")}) == fuzz_files.flat({"a": np.ones(2, "<f4")})


def _working():
    """Does what the name of a file says."""

    def answer(path):
        if "hang" in path:
            time.sleep(1000)
        if "crash" in path:
            os.abort()
        return "read", {}

    return answer


def test_a_worker_that_hangs_or_crashes_is_replaced(monkeypatch):
    monkeypatch.setattr(fuzz_files, "SECONDS", 0.05)
    with fuzz_files._Worker(_working, []) as worker:
        assert [worker(name)[0] for name in ("a", "hang", "b", "crash", "c")] == [
            "read",
            "hang",
            "read",
            "crash",
            "read",
        ]
