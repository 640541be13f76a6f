"""The Yin-Yang command: its data, its methods in a few steps, its files, its words for what it does not take."""

import json
from dataclasses import replace

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from snnax import datasets
from snnax.errors import ArgumentError
from snnax.event.tasks import results, yinyang
from snnax.event.tasks.learning import Trainer

QUICK = ["--hidden", "8", "--epochs", "2", "--batch", "16", "--samples", "32"]


def test_a_point_is_five_times():
    times = np.asarray(yinyang.encoded(np.array([[0.25, 1.0]])))
    np.testing.assert_allclose(times, [[2.5e-3, 10e-3, 7.5e-3, 0, 0]], atol=1e-9)


def test_the_splits_are_different_points():
    parts = {name: yinyang.split(name, 40) for name in yinyang.SIZES}
    np.testing.assert_array_equal(parts["validation"].labels, datasets.yin_yang(40, seed=1)[1])
    seen = {tuple(row) for part in parts.values() for row in np.asarray(part.inputs).tolist()}
    assert len(seen) == 120
    with pytest.raises(ArgumentError, match=r"split\(name='all'\); expected one of 'train'"):
        yinyang.split("all")


@pytest.mark.parametrize("method", yinyang.METHODS)
def test_each_method_has_gradients_of_all_weights(method):
    """Traced, not compiled: what they are is tested where the layers are."""
    settings = replace(yinyang.METHODS[method], hidden=6)
    learner, data = yinyang.learner(method, settings), yinyang.split("train", 4)

    def gradients(key):
        params = learner.init(key, data.inputs)
        return params, jax.value_and_grad(lambda p: learner.outcome(p, *data).loss)(params)

    params, (loss, slopes) = jax.eval_shape(gradients, jax.random.key(0))
    assert loss.shape == () and jax.tree.map(jnp.shape, params) == jax.tree.map(jnp.shape, slopes)
    shapes = sorted(leaf.shape for leaf in jax.tree.leaves(params))
    assert shapes == sorted([(5, 6), (6, 3)] + [(6, 6)] * settings.recurrent)


def test_the_surrogate_method_learns():
    settings, data = replace(yinyang.METHODS["surrogate"], hidden=12), yinyang.split("train", 96)
    found = Trainer(yinyang.learner("surrogate", settings), 4, 16, 2e-2).train(data, data)
    assert found.loss[-1] < found.loss[0]


def test_the_command_saves_what_it_says(tmp_path, capsys):
    assert yinyang.main([*QUICK, "--seeds", "2", "--out", str(tmp_path)]) == 0
    said = capsys.readouterr().out
    numbers = json.loads((tmp_path / "yinyang_ttfs.json").read_text())
    assert numbers["settings"]["hidden"] == 8 and numbers["samples"]["test"] == 32
    assert f"test, per cent: mean {numbers['test']['mean']}" in said
    arrays = results.load(tmp_path / "yinyang_ttfs.npz")
    points, labels = datasets.yin_yang(32, seed=2)
    np.testing.assert_array_equal(arrays["labels"], labels)
    right = 100 * (arrays["classes"] == labels).mean(1)
    np.testing.assert_allclose(right, numbers["test"]["each"], atol=0.01)
    assert (arrays["loss"][:, 1] < arrays["loss"][:, 0]).all()
    assert arrays["validation"].shape == (2, 2) and arrays["seed_1/layers_0/weights"].shape == (5, 8)
    trainer = Trainer(yinyang.learner("ttfs", replace(yinyang.METHODS["ttfs"], hidden=8)), 1, 16, 1.0)
    weights = {f"layers_{n}": {"weights": jnp.asarray(arrays[f"seed_1/layers_{n}/weights"])} for n in (0, 1)}
    np.testing.assert_array_equal(trainer.classes(weights, yinyang.encoded(points)), arrays["classes"][1])


def test_a_saved_result_is_drawn(tmp_path, capsys):
    pytest.importorskip("matplotlib")
    arrays = {
        "points": np.ones((2, 2)),
        "labels": np.ones(2),
        "classes": np.ones((1, 2)),
        "validation": np.ones((1, 2)) / 2,
    }
    saved = results.save(tmp_path, "yinyang_ttfs", {}, arrays)
    assert yinyang.main(["--draw", str(saved)]) == 0
    assert (tmp_path / "yinyang_ttfs.png").exists() and "wrote" in capsys.readouterr().out


@pytest.mark.parametrize(
    ("given", "word"),
    [
        (["--method", "magic"], "invalid choice: 'magic'"),
        (["--hidden", "0"], "expected a whole number from 1, got '0'"),
        (["--epochs", "2.5"], "expected a whole number from 1, got '2.5'"),
        (["--learning-rate", "nan"], "expected a number above 0, got 'nan'"),
        (["--max-spikes", "3"], "none: it is for eventprop and recurrent"),
        (["--picture"], "--out DIR with it"),
        (
            ["--batch", "64", "--samples", "8", "--hidden", "2"],
            "a batch of 64: expected at most the 8 samples",
        ),
        (["--draw", "nothing.npz"], "No such file"),
        (["--nonsense"], "see python -m snnax.event.tasks.yinyang --help"),
    ],
)
def test_what_cannot_be_is_one_line(given, word, capsys, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    assert yinyang.main(given) == 2
    caught = capsys.readouterr()
    assert word in caught.err and caught.err.count("\n") == 1 and caught.out.count("\n") <= 1
    assert not [*tmp_path.iterdir()]
