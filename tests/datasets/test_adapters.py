"""Other libraries' data sets hold the same events and arrays here."""

import numpy as np
import pytest
from helpers.recordings import camera, cochlea

from snnax.datasets import Events, from_tonic, from_torch
from snnax.errors import ArgumentError


def structured(events, polarity=True):
    """As tonic's data sets return it; its dtype names the columns in another order."""
    kinds = [("x", int), ("t", int), ("p", int)] + ([] if events.y is None else [("y", int)])
    array = np.empty(len(events), kinds)
    array["x"], array["t"], array["p"] = events.x, events.t, 1 if events.p is None else events.p
    if events.y is not None:
        array["y"] = events.y
    return array


def test_structured_arrays():
    assert (
        from_tonic(structured(camera()), (34, 34, 2))
        == camera()
        == from_tonic(structured(camera()), (34, 34))
    )
    assert from_tonic(structured(cochlea()), (700, 1, 1)) == cochlea()
    events = Events([3], [2], [1], [0], (34, 34))
    assert from_tonic(structured(events)).size == (3, 2)
    seconds = np.array([(1.4, 0)], [("t", float), ("x", int)])  # times of some data sets are no integers
    assert from_tonic(seconds).t.tolist() == [1]


def test_data_sets():
    data = [(structured(camera(seed=s)), s) for s in range(3)]
    found = from_torch(data, (34, 34, 2))
    assert len(found) == 3 and found[1] == (camera(seed=1), 1) == found[-2]
    assert [label for _, label in found] == [0, 1, 2]

    class WithSize(list):
        sensor_size = (34, 34, 2)

    assert from_torch(WithSize(data))[0][0] == camera(seed=0)


def test_data_sets_of_torch():
    torch = pytest.importorskip("torch")
    data = torch.utils.data.TensorDataset(
        torch.arange(12.0).reshape(3, 4).requires_grad_(), torch.tensor([5, 6, 7])
    )
    value, label = from_torch(data)[1]
    assert isinstance(value, np.ndarray) and value.tolist() == [4, 5, 6, 7] and label == 6


def test_images():
    image = pytest.importorskip("PIL.Image")
    grey = image.fromarray(np.full((4, 3), 255, np.uint8))
    colour = image.fromarray(np.full((4, 3, 3), 51, np.uint8))
    (first, name), (second, _) = from_torch([(grey, "a"), (colour, "b")])
    assert first.shape == (4, 3, 1) and first.max() == 1.0 and name == "a"
    assert second.shape == (4, 3, 3) and second.max() == pytest.approx(0.2)


def test_what_is_refused():
    for wrong in (3, "text", {}, None, iter([])):
        with pytest.raises(ArgumentError, match="a data set"):
            from_torch(wrong)
    for item in ([3], [(1, 2, 3)], [("text", 1)]):
        with pytest.raises(ArgumentError, match="from_torch"):
            from_torch(item)[0]
    for array in (np.ones(3), np.zeros(3, [("t", int)]), [(1, 2)]):
        with pytest.raises(ArgumentError, match="a structured array"):
            from_tonic(array)
    with pytest.raises(ArgumentError, match="outside of the sensor"):
        from_tonic(structured(camera()), (5, 5))
    with pytest.raises(IndexError):
        from_torch([(1, 2)])[1]
