"""What training remembers of its steps, and how the bar shows their course."""

from __future__ import annotations

import jax
import numpy as np
import optax
import pytest

import snnax as snn
import snnax.functional as SF
from snnax.errors import TrainingError
from snnax.training import run
from snnax.training.diagnosis import culprit
from snnax.training.history import History
from snnax.training.progress import curve

X = np.random.default_rng(0).random((5, 12, 3)).astype(np.float32)  # [T, N, ...]
Y = np.arange(12) % 2


@pytest.mark.parametrize(
    ("history", "shown"),
    [
        (History(), "History(0 epochs)"),
        (History(loss=[2.0], eval_accuracy=[0.25]), "History(1 epoch, loss 2, eval_accuracy 0.25)"),
        (History(loss=[2.0, 1.0, 1 / 3], step_loss=[1.0] * 900), "History(3 epochs, loss 2 to 0.3333)"),
        (
            History(loss=[2.0], interrupted=True, unfinished=[{"loss": 1.0, "samples": 4}] * 3),
            "History(1 epoch, loss 2, interrupted in the next, after 3 of its batches)",
        ),
    ],
)
def test_a_history_is_shown_in_a_line(history, shown):
    assert repr(history) == shown


def fresh(seed=0, **leaky):
    net = snn.Sequential(
        snn.Linear(3, 4),
        snn.Leaky(0.9, init_hidden=True),
        snn.Linear(4, 2),
        snn.Leaky(0.9, init_hidden=True, **leaky),
    )
    return snn.training.TrainState.create(net, net.init(jax.random.key(seed), X[0]), optax.sgd(0.1))


def batches(x=X):
    return [(x[:, n : n + 4], Y[n : n + 4]) for n in (0, 4, 8)]


def fit(state, data, **more):
    return snn.training.fit(state, data, loss=SF.ce_rate_loss(), progress=False, **more)


def test_each_step_is_kept_beside_its_epoch():
    _, history = fit(fresh(), batches(), epochs=2, accuracy=SF.accuracy_rate)
    assert len(history.step_loss) == len(history.step_accuracy) == 6
    for epoch in range(2):
        part = slice(3 * epoch, 3 * epoch + 3)
        np.testing.assert_allclose(np.mean(history.step_loss[part]), history.loss[epoch], rtol=1e-6)
        np.testing.assert_allclose(np.mean(history.step_accuracy[part]), history.accuracy[epoch], rtol=1e-6)
    assert not any(name.startswith("step_") for name in history.last())


def test_an_interrupted_epoch_counts_each_step_once(tmp_path):
    def stops(epoch):
        yield from batches()[:2]
        if not resumed:
            raise KeyboardInterrupt
        yield batches()[2]

    resumed = False
    _, history = fit(fresh(), stops, epochs=1, checkpoint=tmp_path)
    assert history.interrupted and history.step_loss == [] and len(history.unfinished) == 2
    resumed = True
    _, history = fit(fresh(), stops, epochs=1, checkpoint=tmp_path, resume=True)
    assert len(history.step_loss) == 3


@pytest.mark.parametrize("moment", ["sound", "add_steps", "add"])
def test_at_whatever_moment_it_is_interrupted_no_batch_is_lost_nor_seen_twice(tmp_path, monkeypatch, moment):
    def of(state):
        return [np.asarray(leaf).tolist() for leaf in jax.tree.leaves(state.params)]

    start = fresh()
    whole, complete = fit(start, batches(), epochs=2)
    home = run if moment == "sound" else History
    name = "_sound" if moment == "sound" else moment
    before = getattr(home, name)

    def ends(*given):
        before(*given)
        raise KeyboardInterrupt

    monkeypatch.setattr(home, name, ends)
    _, history = fit(start, batches(), epochs=2, checkpoint=tmp_path)
    assert history.interrupted
    monkeypatch.setattr(home, name, before)
    state, history = fit(start, batches(), epochs=2, checkpoint=tmp_path, resume=True)
    assert (of(state), history.step_loss, history.loss) == (of(whole), complete.step_loss, complete.loss)


@pytest.mark.parametrize("at", [1, 2])
def test_nan_in_the_input_is_found_in_its_batch(at):
    data = batches()
    wrong = data[at][0].copy()
    wrong[3, 1, 2] = np.nan
    data[at] = (wrong, data[at][1])
    with pytest.raises(
        TrainingError, match=rf"input.*batch {at + 1}\).* x of that batch holds nan at \[3, 1, 2\]"
    ):
        fit(fresh(), data, epochs=1)


def infinite(x):
    return x / 0.0


def test_the_layer_is_named():
    state = fresh(state_quant=infinite)
    said = culprit(state, X[:, :4], Y[:4], None)
    assert (
        "'layers_3'" in said and "membrane" in said and said.endswith("[0, 0, 0] (time step, sample, ...).")
    )
    assert culprit(fresh(), X[:, :4], Y[:4], None) == ""


def test_weights_that_are_not_finite_are_named():
    state = fresh()
    params = jax.tree.map(lambda v: v, state.params)
    params["layers_2"]["kernel"] = params["layers_2"]["kernel"].at[1, 0].set(np.inf)
    assert "'layers_2/kernel'" in culprit(state.replace(params=params), X[:, :4], Y[:4], None)


def test_the_course_of_a_loss_in_one_line():
    assert curve([]) == "" and curve([1.0]) == "▁" and curve([1.0, float("nan")]) == ""
    assert curve([float(n) for n in range(8)]) == "▁▂▃▄▅▆▇█"
    assert len(curve([float(n) for n in range(1000)])) == 16
