"""Spike trains through NIR's own format for recordings: nothing is lost, and damage is refused."""

import nir
import nir.serialization
import numpy as np
import pytest

from snnax import event
from snnax.errors import ArgumentError, ConversionError, TraceFileError
from snnax.interop.nir_data import read_nir_events, write_nir_events

TRAINS = {
    "hidden": event.from_lists([[[1e-3, 4e-3], []], [[2e-3], [1e-3]]]),
    "out": event.from_lists([[[]], [[3e-3]]]),
}


def test_trains_come_back(tmp_path):
    file = tmp_path / "spikes.nir"
    write_nir_events(file, TRAINS, t_max=0.02)
    found, t_max = read_nir_events(file)
    assert t_max == 0.02 and {*found} == {*TRAINS}
    for name, trains in TRAINS.items():
        np.testing.assert_array_equal(found[name].times, trains.times)
        assert not np.any(found[name].overflow)


def test_the_file_is_what_nir_reads(tmp_path):
    file = tmp_path / "spikes.nir"
    write_nir_events(file, TRAINS, t_max=0.02)
    hidden = nir.serialization.read_data(file).nodes["hidden"].observables["spikes"]
    assert hidden.idx.tolist() == [[0, 0], [1, 0]] and hidden.n_neurons == 2
    np.testing.assert_allclose(hidden.time, [[1e-3, 4e-3], [1e-3, 2e-3]], rtol=1e-6)


def written(path, data):
    nir.serialization.write_data(path, nir.NIRGraphData({"lif": nir.NIRNodeData({"spikes": data})}))
    return path


def test_events_as_jaxsnn_pads_them(tmp_path):
    """Without an index, at twice the end; and with the number of events for that of neurons."""
    data = nir.EventData(np.array([[1, 0, -1, -1]]), np.array([[1e-3, 2e-3, 0.04, 0.04]]), 4, 0.02)
    file = written(tmp_path / "spikes.nir", data)
    found, _ = read_nir_events(file, {"lif": 2})
    np.testing.assert_allclose(found["lif"].times, [[[2e-3], [1e-3]]], rtol=1e-6)
    assert read_nir_events(file)[0]["lif"].times.shape == (1, 4, 1)


def test_a_time_grid_is_read_as_the_starts_of_its_steps(tmp_path):
    steps = np.zeros((1, 5, 2), bool)
    steps[0, [1, 3], 0] = True
    found, t_max = read_nir_events(written(tmp_path / "spikes.nir", nir.TimeGriddedData(steps, 1e-3)))
    assert t_max == pytest.approx(5e-3)
    np.testing.assert_allclose(found["lif"].times, [[[1e-3, 3e-3], [np.inf, np.inf]]], rtol=1e-6)


@pytest.mark.parametrize(
    ("data", "said"),
    [
        (nir.EventData(np.array([[3]]), np.array([[1e-3]]), 2, 0.02), "sizes="),
        (nir.EventData(np.array([[0]]), np.array([[-1e-3]]), 2, 0.02), "indices"),
        (nir.EventData(np.array([[0]]), np.array([[1e-3]]), 2, np.inf), "indices"),
        (nir.TimeGriddedData(np.full((1, 2, 3), 0.5), 1e-3), "no spikes"),
    ],
)
def test_what_are_no_spikes_is_refused(tmp_path, data, said):
    with pytest.raises(TraceFileError, match=said):
        read_nir_events(written(tmp_path / "spikes.nir", data))


@pytest.mark.parametrize(
    ("spikes", "error", "said"),
    [
        ({"out": event.from_lists([[[1e-3, 2e-3]]], max_spikes=1)}, ArgumentError, "overflowed"),
        ({"out": event.from_lists([[[0.03]]])}, ArgumentError, "later t_max"),
        ({"a/b": event.from_lists([[[1e-3]]])}, ConversionError, "Rename"),
        ({"out": np.zeros((1, 2))}, ArgumentError, "spike trains"),
    ],
)
def test_what_the_format_cannot_say_is_refused(tmp_path, spikes, error, said):
    with pytest.raises(error, match=said):
        write_nir_events(tmp_path / "spikes.nir", spikes, t_max=0.02)


def test_no_file(tmp_path):
    with pytest.raises(FileNotFoundError):
        read_nir_events(tmp_path / "none.nir")
