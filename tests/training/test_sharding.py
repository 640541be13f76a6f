"""Training on eight devices, and on two processes, is training on one; so is a layer cut over eight devices."""

from __future__ import annotations

import json
import os
import socket
import subprocess
import sys
from pathlib import Path

import flax.linen as nn
import jax
import numpy as np
import pytest
from helpers import training_nets as nets

import snnax as snn
import snnax.functional as SF
from snnax.errors import ArgumentError, ShapeError
from snnax.training import data_mesh, evaluate, fit, make_train_step

HELPERS = Path(__file__).parents[1] / "helpers"


def start(*arguments, script="sharded.py"):
    given = {name: value for name, value in os.environ.items() if not name.startswith(("JAX_", "XLA_"))}
    command = [sys.executable, str(HELPERS / script), *map(str, arguments)]
    return subprocess.Popen(command, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True, env=given)


def result(process):
    out, err = process.communicate(timeout=240)
    assert process.returncode == 0, err[-2000:]
    return json.loads(out.splitlines()[-1])


@pytest.fixture(scope="module")
def alone():
    return result(start(1))


def close(one, other):
    assert one["weights"] == pytest.approx(other["weights"], rel=1e-6)
    for here, there in zip(one["metrics"], other["metrics"], strict=True):
        assert here == pytest.approx(there, rel=1e-5)


def test_eight_devices_are_one(alone):
    several = result(start(8))
    assert several["devices"] == 8
    close(several, alone)


def test_two_processes_are_one(alone, tmp_path):
    with socket.socket() as free:
        free.bind(("localhost", 0))
        port = free.getsockname()[1]
    both = [start(2, process, 2, port, tmp_path) for process in (0, 1)]
    try:
        for process in both:
            outcome = result(process)
            assert outcome["devices"] == 4
            assert outcome["steps"] == [3, 3]
            close(outcome, alone)
        assert os.listdir(tmp_path) == ["3"]
    finally:
        for process in both:
            process.kill()
            process.communicate()


def test_a_wide_layer_is_cut_over_eight_devices():
    """Each device has an eighth of its weights, states and gradients; only what the next layer sums up is exchanged."""
    wide = result(start(script="wide.py"))
    assert wide["devices"] == 8
    assert wide["spikes"][0] > 50 and wide["spikes"][1] == 0
    assert wide["mem"] < 1e-5 and wide["grads"] < 1e-5
    assert wide["parts"] == [[4, 8], [16, 8], [8], [8], [8, 10]]
    assert wide["exchanged"] == [["all-reduce", False]]  # once for all time steps


def test_fit_and_evaluate_on_one_device_of_a_mesh():
    x, y = nets.data(16)
    told = {"loss": SF.ce_count_loss(), "accuracy": SF.accuracy_rate}
    plain, _ = fit(nets.start(nets.dense()), [(x, y)], epochs=2, progress=False, **told)
    mesh = data_mesh(jax.devices()[:1])
    spread, _ = fit(nets.start(nets.dense()), [(x, y)], epochs=2, progress=False, mesh=mesh, **told)
    for a, b in zip(jax.tree.leaves(plain.params), jax.tree.leaves(spread.params), strict=True):
        np.testing.assert_allclose(a, b, rtol=1e-6)
    spread, _ = fit(
        nets.start(nets.dense()), [(x, y)], epochs=2, progress=False, mesh=mesh, remat=True, chunk=2, **told
    )
    for a, b in zip(jax.tree.leaves(plain.params), jax.tree.leaves(spread.params), strict=True):
        np.testing.assert_allclose(a, b, rtol=1e-5)
    assert evaluate(spread, [(x, y)], **told) == pytest.approx(evaluate(plain, [(x, y)], **told))


@pytest.mark.parametrize(
    ("mesh", "error", "words"),
    [
        (lambda: "cpu", ArgumentError, "data_mesh"),
        (lambda: jax.make_mesh((1,), ("batch",)), ArgumentError, "data_mesh"),
        (lambda: data_mesh([]), ArgumentError, "jax.devices"),
    ],
)
def test_what_is_no_mesh(mesh, error, words):
    with pytest.raises(error, match=words):
        make_train_step(SF.ce_count_loss(), mesh=mesh())


def test_batch_norms_must_know_of_the_other_devices():
    net = snn.Sequential(
        [nn.Dense(3), nn.BatchNorm(use_running_average=True), snn.Leaky(0.9, init_hidden=True)]
    )
    x, y = nets.data(8)
    step = make_train_step(SF.ce_count_loss(), mesh=data_mesh())
    with pytest.raises(ArgumentError, match="axis_name='data'"):
        step(nets.start(net), x, y)


def test_a_batch_must_be_one():
    step = make_train_step(SF.ce_count_loss(), mesh=data_mesh(jax.devices()[:1]))
    with pytest.raises(ShapeError, match="cannot be cut"):
        step(nets.start(nets.dense()), np.ones(5, np.float32), np.zeros(5, int))
