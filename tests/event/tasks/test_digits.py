"""The digits command: its data, its network in a few steps, its files, its words for what it does not take."""

import json

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from snnax.event.tasks import digits, networks, results

pytest.importorskip("sklearn")

QUICK = ["--hidden", "6", "--epochs", "2", "--batch", "16", "--samples", "16", "--copies", "0"]


def test_a_pixel_is_a_spike_and_paper_is_none():
    image = np.zeros((1, 8, 8))
    image[0, 0, :3] = 1.0, 0.75, 1 / 16
    times = np.asarray(digits.encoded(image))
    np.testing.assert_allclose(times[0, :3], [0, 2.5e-3, 9.375e-3], atol=1e-8)
    assert times.shape == (1, 65) and np.isinf(times[0, 3:64]).all() and times[0, 64] == 0


class Drawn:
    """Numbers of a generator that are known: turn, size, down, right."""

    def __init__(self, *numbers):
        self.numbers = [*numbers]

    def uniform(self, least, most, shape):
        return np.full(shape, self.numbers.pop(0))


def test_an_image_is_moved_turned_and_sized():
    image = np.zeros((1, 3, 3))
    image[0, 1, 1], image[0, 0, 1] = 1.0, 0.5
    moved = digits.warped(image, Drawn(0.0, 1.0, 0.25, -1.0))[0]
    np.testing.assert_allclose(moved, [[0.375, 0, 0], [0.875, 0, 0], [0.25, 0, 0]], atol=1e-12)
    turned = digits.warped(image, Drawn(np.pi / 2, 1.0, 0.0, 0.0))[0]
    np.testing.assert_allclose(turned[1], [0, 1, 0.5], atol=1e-12)
    larger = digits.warped(image, Drawn(0.0, 2.0, 0.0, 0.0))[0]
    np.testing.assert_allclose(larger[:, 1], [0.75, 1, 0.5], atol=1e-12)
    same = np.random.default_rng(0).uniform(size=(2, 3, 4))
    np.testing.assert_allclose(digits.warped(same, Drawn(0.0, 1.0, 0.0, 0.0)), same, atol=1e-12)


def test_the_splits_are_different_images():
    parts = {name: digits.split(name) for name in ("train", "validation", "test")}
    assert [len(part.labels) for part in parts.values()] == [1150, 287, 360]
    everything = np.concatenate([np.asarray(part.inputs) for part in parts.values()])
    assert len(np.unique(everything, axis=0)) == 1797
    more = digits.split("train", 20, copies=2)
    assert more.inputs.shape == (60, 65)
    np.testing.assert_array_equal(more.inputs[:20], parts["train"].inputs[:20])
    np.testing.assert_array_equal(more.labels.reshape(3, 20), np.tile(parts["train"].labels[:20], (3, 1)))
    assert len(np.unique(np.asarray(more.inputs), axis=0)) == 60


def test_every_hidden_neuron_fires_and_has_a_gradient():
    learner, data = digits.learner(digits.Settings(hidden=6)), digits.split("train", 8)
    params = learner.init(jax.random.key(0), data.inputs)
    slopes = jax.grad(lambda p: learner.outcome(p, *data).loss)(params)["layers_0"]["weights"]
    assert (jnp.abs(slopes).max(0) > 0).all()
    alone = networks.LIF(1, digits.T_MAX, networks.SURELY).apply(
        {"params": {"weights": jnp.zeros((65, 1))}}, data.inputs
    )
    np.testing.assert_allclose(alone.times, 10e-3 * np.log(5 / 2), rtol=1e-5)


def test_the_command_saves_what_it_says(tmp_path, capsys):
    assert digits.main([*QUICK, "--out", str(tmp_path)]) == 0
    said, numbers = capsys.readouterr().out, json.loads((tmp_path / "digits.json").read_text())
    assert numbers["settings"]["hidden"] == 6
    assert f"test, per cent: mean {numbers['test']['mean']}" in said
    arrays = results.load(tmp_path / "digits.npz", "loss", "seed_0/layers_0/weights")
    right = 100 * (arrays["classes"] == arrays["labels"]).mean(1)
    np.testing.assert_allclose(right, numbers["test"]["each"], atol=0.01)
    assert arrays["loss"].shape == (1, 2) and arrays["loss"][0, 1] < arrays["loss"][0, 0]


@pytest.mark.parametrize(
    ("given", "word"),
    [
        (["--copies", "-1"], "expected a whole number from 0, got '-1'"),
        (["--batch", "64"], "a batch of 64: expected at most the 16 samples"),
    ],
)
def test_what_cannot_be_is_one_line(given, word, capsys):
    assert digits.main([*QUICK, *given]) == 2
    caught = capsys.readouterr()
    assert word in caught.err and caught.err.count("\n") == 1
