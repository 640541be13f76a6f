"""Where snnTorch 1.0.0 is wrong: that it still is, and what is right."""

from __future__ import annotations

import jax
import numpy as np
import pytest

from snnax import spikegen
from snnax.errors import ArgumentError

torch = pytest.importorskip("torch")
theirs = pytest.importorskip("snntorch.spikegen")

LABELS = [2, 0, 2]


def test_from_one_hot_gives_labels_and_not_row_numbers():
    rows = np.eye(3, dtype=np.float32)[LABELS]
    assert theirs.from_one_hot(torch.tensor(rows)).tolist() == [0, 1, 2]
    assert spikegen.from_one_hot(rows).tolist() == LABELS
    assert spikegen.from_one_hot(rows[:, None]).tolist() == [[label] for label in LABELS]
    assert spikegen.from_one_hot(rows[0]).tolist() == LABELS[0]


def test_targets_rate_works_at_other_rates():
    options = {"num_classes": 3, "correct_rate": 0.5, "incorrect_rate": 0.2}
    with pytest.raises(RuntimeError):
        theirs.targets_rate(torch.tensor(LABELS), num_steps=10, **options)
    assert theirs.targets_rate(torch.tensor(LABELS), num_steps=3, **options).ndim == 5
    trains = spikegen.targets_rate(LABELS, num_steps=10, **options)
    assert trains.shape == (10, 3, 3)
    correct, incorrect = [1, 0] * 5, [1, 0, 0, 0, 0] * 2
    assert trains[:, 0].T.tolist() == [incorrect, incorrect, correct]
    assert trains[:, 1].T.tolist() == [correct, incorrect, incorrect]


@pytest.mark.parametrize("off_target", [-1, -0.25])
def test_a_negative_off_target_is_reached(off_target):
    options = {"num_classes": 3, "off_target": off_target}
    assert theirs.targets_rate(torch.tensor([1]), **options).tolist() == [[0, 1, 0]]
    assert spikegen.targets_rate([1], **options).tolist() == [[off_target, 1, off_target]]
    timed = spikegen.targets_rate([1], num_steps=2, first_spike_time=1, **options)
    assert timed[:, 0, 1].tolist() == [off_target, 1]
    slow = spikegen.targets_rate([1], num_steps=2, correct_rate=0.5, **options)
    assert slow[:, 0, 1].tolist() == [1, off_target]
    assert theirs.latency(torch.tensor([1.0]), 2, off_target=off_target)[:, 0].tolist() == [1, 0]
    assert spikegen.latency([1.0], 2, off_target=off_target)[:, 0].tolist() == [1, off_target]


def test_on_target_may_be_below_off_target():
    assert theirs.latency(torch.tensor([1.0]), 3, on_target=0, off_target=1)[:, 0].tolist() == [1, 1, 1]
    assert spikegen.latency([1.0], 3, on_target=0, off_target=1)[:, 0].tolist() == [0, 1, 1]
    assert len(theirs.rate_interpolate(torch.tensor([4]), 5, on_target=0, off_target=1)) != 5
    assert spikegen.rate_interpolate([4], 5, on_target=0, off_target=1).tolist() == [1, 0.75, 0.5, 0.25, 0]
    with pytest.raises(RuntimeError):
        theirs.rate_interpolate(torch.tensor([4]), 5, on_target=1, off_target=1)
    assert spikegen.rate_interpolate([4], 5, on_target=1, off_target=1).tolist() == [1] * 5


@pytest.mark.parametrize(
    "option",
    [{"on_target": 2}, {"off_target": 0.5}, {"interpolate": True}, {"epsilon": 0.3, "num_steps": 30}],
)
def test_targets_convert_to_latency_takes_all_arguments(option):
    options = {"num_steps": 5, "normalize": True, "threshold": 0.1, **option}
    if "epsilon" in option:
        options |= {"normalize": False, "tau": 5, "bypass": True}
    plain = {name: value for name, value in options.items() if name not in option or name == "num_steps"}
    ignored = theirs.targets_convert(torch.tensor(LABELS), 3, code="latency", **options)
    assert (ignored == theirs.targets_convert(torch.tensor(LABELS), 3, code="latency", **plain)).all()
    ours = spikegen.targets_convert(LABELS, 3, code="latency", **options)
    expected = theirs.targets_latency(torch.tensor(LABELS), 3, **options)
    np.testing.assert_array_equal(ours, expected.numpy())
    assert (expected != ignored).any()


def test_targets_rate_rises_before_the_first_spike():
    options = {"num_classes": 2, "num_steps": 5, "first_spike_time": 3, "interpolate": True}
    assert theirs.targets_rate(torch.tensor([0]), **options)[:, 0, 0].tolist() == [0, 0, 0, 1, 1]
    ours = spikegen.targets_rate([0], **options)[:, 0]
    np.testing.assert_allclose(ours[:, 0], [0, 1 / 3, 2 / 3, 1, 1], rtol=1e-6)
    assert not ours[:, 1].any()


def test_clip_holds_with_interpolate():
    data, options = [0.001, 1.0], {"num_steps": 5, "normalize": True, "clip": True, "interpolate": True}
    assert theirs.latency(torch.tensor(data), **options)[:, 0].tolist() == [0, 0.25, 0.5, 0.75, 1]
    assert spikegen.latency(data, **options).T.tolist() == [[0] * 5, [1, 0, 0, 0, 0]]


@pytest.mark.parametrize(("time", "wrong"), [(5, [0, 0.2, 0.4, 0.6, 0.8]), (-1, [0, -1, -2, -3, -4])])
def test_a_spike_outside_casts_no_ramp(time, wrong):
    there = theirs.latency_interpolate(torch.tensor([float(time)]), 5)[:, 0]
    np.testing.assert_allclose(there, wrong, rtol=1e-6)
    assert not spikegen.latency_interpolate([time], 5).any()


def test_rounding_loses_no_spike_of_a_ramp():
    assert theirs.latency_interpolate(torch.tensor([2.0]), 3, 0.9, 0.3)[2].item() == pytest.approx(0.3)
    assert spikegen.latency_interpolate([2], 3, 0.9, 0.3)[2].item() == pytest.approx(0.9)


def test_rate_interpolate_leaves_out_late_spikes():
    assert theirs.rate_interpolate(torch.tensor([0, 9]), 5).tolist() == [1]
    assert spikegen.rate_interpolate([0, 9, -2], 5).tolist() == [1, 0, 0, 0, 0]


@pytest.mark.parametrize(("steps", "first", "rate"), [(25, 5, 0.65), (1000, 0, 0.65)])
def test_a_target_spike_at_the_end_is_left_out(steps, first, rate):
    with pytest.raises(RuntimeError, match="out of bounds"):
        theirs.target_rate_code(steps, first, rate)
    spikes, times = spikegen.target_rate_code(steps, first, rate)
    assert spikes.shape == (steps,)
    assert times.tolist() == np.flatnonzero(spikes).tolist()
    assert times[-1] < steps and spikes.sum() == np.ceil((steps - first) * rate - 1e-9)


def test_delta_of_unsigned_integers_does_not_wrap_around():
    data = np.array([5, 3, 250, 4], np.uint8)
    assert theirs.delta(torch.tensor(data), threshold=1).tolist() == [1, 1, 1, 1]
    assert spikegen.delta(data, threshold=1).tolist() == [1, 0, 1, 0]
    assert spikegen.delta(data, threshold=1, off_spike=True).tolist() == [1, -1, 1, -1]


@pytest.mark.parametrize("threshold", [0.5, 0.01])
def test_times_are_finite_whatever_epsilon(threshold):
    there = theirs.latency_code_log(torch.tensor([0.0, 0.2]), threshold=threshold, epsilon=1e-12)
    assert there.isinf().any()
    times = spikegen.latency_code_log([0.0, 0.2], threshold=threshold, epsilon=1e-12)
    assert np.isfinite(times).all()
    assert times[0] > 10


def test_equal_data_are_normalized_without_nan():
    options = {"num_steps": 5, "threshold": 1e-9, "normalize": True}
    assert theirs.latency_code_log(torch.ones(2), **options).isnan().all()
    assert spikegen.latency_code_log(np.ones(2, np.float32), **options).tolist() == [0, 0]
    above = np.full(2, 1.5, np.float32)
    assert theirs.latency_code_linear(torch.tensor(above), num_steps=5, normalize=True).isnan().all()
    assert spikegen.latency_code_linear(above, num_steps=5, normalize=True).tolist() == [0, 0]


def test_gain_holds_for_data_that_change_in_time():
    data = np.ones((4, 50), np.float32)
    assert theirs.rate(torch.tensor(data), gain=0, time_var_input=True).all()
    assert not spikegen.rate(data, gain=0, time_var_input=True, key=jax.random.key(0)).any()


def test_what_snntorch_passes_in_silence_is_an_error():
    assert theirs.targets_rate(torch.tensor([0]), 2, num_steps=3, first_spike_time=-1) is None
    assert theirs.target_rate_code(3, firing_pattern="burst") is None
    assert theirs.to_one_hot(torch.tensor([1.7]), 3).tolist() == [[0, 1, 0]]
    for call in (
        lambda: spikegen.targets_rate([0], 2, num_steps=3, first_spike_time=-1),
        lambda: spikegen.target_rate_code(3, firing_pattern="burst"),
        lambda: spikegen.to_one_hot([1.7], 3),
    ):
        with pytest.raises(ArgumentError):
            call()
