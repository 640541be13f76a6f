"""Training in the loop, and the command: small, in a few steps."""

import json

import jax
import numpy as np
import pytest

from snnax.event.hardware import MockChip
from snnax.event.tasks import mock, results, yinyang
from snnax.event.tasks.chip_training import ChipTrainer
from snnax.event.tasks.networks import init_of, two_layers

QUICK = [
    "--hidden",
    "6",
    "--before",
    "1",
    "--epochs",
    "1",
    "--batch",
    "32",
    "--samples",
    "32",
    "--no-calibration",
]


def test_in_the_loop_a_chip_learns():
    chip = MockChip((5, 10, 3), largest_weight=10.0, cycle=8e-9, threshold_spread=0.1)
    data = mock.in_the_time_of(chip, yinyang.split("train", 32))
    assert 5e-6 < np.max(data.inputs) <= 10e-6
    params = init_of(two_layers(10, 3, 20e-3))(jax.random.key(1), np.zeros((1, 5)))
    weights = [params[name]["weights"] for name in mock.LAYERS]
    trainer = ChipTrainer(chip, mock.loss_of(chip), epochs=12, batch=32, learning_rate=2e-2)
    found = trainer.train(weights, data, data)
    assert found.loss[-1] < 0.7 * found.loss[0]
    assert all((new != old).any() for new, old in zip(found.params, weights, strict=True))


def test_the_command_saves_what_it_says(tmp_path, capsys):
    assert mock.main([*QUICK, "--out", str(tmp_path)]) == 0
    said, numbers = capsys.readouterr().out, json.loads((tmp_path / "mock.json").read_text())
    for name, value in numbers["test"].items():
        assert f"test, {name}: {value:.2%}" in said
    assert results.load(tmp_path / "mock.npz", "weights_0", "weights_1")["weights_0"].shape == (5, 6)


@pytest.mark.parametrize(
    ("given", "word"),
    [
        (["--jitter=-1e-7"], "expected a number from 0 on"),
        (["--spread", "0.9"], "threshold_spread"),
        (["--bits", "60"], "bits"),
    ],
)
def test_what_cannot_be_is_one_line(given, word, capsys):
    assert mock.main([*QUICK, *given]) == 2
    caught = capsys.readouterr()
    assert word in caught.err and caught.err.count("\n") == 1
