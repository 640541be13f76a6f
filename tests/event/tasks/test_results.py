"""Results: whole files, read back as they were written."""

import json

import numpy as np
import pytest

from snnax.errors import ArgumentError
from snnax.event.tasks import results

ARRAYS = {
    "points": np.array([[0.1, 0.2], [0.3, 0.4]]),
    "labels": np.array([0, 1]),
    "classes": np.array([[0, 0]]),
    "validation": np.array([[0.5, 0.9]]),
}


def test_what_is_saved_is_loaded(tmp_path):
    saved = results.save(tmp_path / "new" / "folder", "a", {"test": 1.5}, ARRAYS)
    found = results.load(saved, "points")
    assert found.keys() == ARRAYS.keys()
    np.testing.assert_array_equal(found["points"], ARRAYS["points"])
    assert json.loads(saved.with_suffix(".json").read_text()) == {"test": 1.5}
    assert sorted(path.name for path in saved.parent.iterdir()) == ["a.json", "a.npz"]


@pytest.mark.parametrize("content", [b"", b"nonsense", b"PK\x03\x04 cut"])
def test_what_is_no_result_is_refused(tmp_path, content):
    path = tmp_path / "a.npz"
    path.write_bytes(content)
    with pytest.raises(ArgumentError, match=r"a\.npz: expected a \.npz file that a task wrote"):
        results.load(path)


def test_an_array_that_is_missing_is_named(tmp_path):
    saved = results.save(tmp_path, "a", {}, {"loss": np.ones(2)})
    with pytest.raises(ArgumentError, match=r"has no arrays \['points'\]"):
        results.load(saved, "points", "loss")


def test_a_file_in_the_place_of_the_folder_is_refused(tmp_path):
    (tmp_path / "file").write_text("")
    with pytest.raises(ArgumentError, match="that is a file; pass the name of a folder"):
        results.save(tmp_path / "file", "a", {}, {})


def test_the_picture_is_drawn_from_the_file(tmp_path):
    pytest.importorskip("matplotlib")
    saved = results.save(tmp_path, "a", {}, ARRAYS)
    results.draw(saved, tmp_path / "a.png")
    assert (tmp_path / "a.png").read_bytes().startswith(b"\x89PNG")


def test_weights_have_flat_paths():
    found = results.weights({"a": {"b": np.ones(1)}, "c": np.zeros(2)}, "seed_0")
    assert {name: array.shape for name, array in found.items()} == {"seed_0/a/b": (1,), "seed_0/c": (2,)}


def test_a_summary_is_in_per_cent():
    assert results.summary([0.5, 0.25]) == {"each": [50.0, 25.0], "mean": 37.5, "least": 25.0}
