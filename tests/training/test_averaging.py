"""An average of the parameters: by its equation, in evaluation and not in training, kept by checkpoints."""

from __future__ import annotations

import jax
import numpy as np
import pytest
from helpers import training_nets as nets

import snnax.functional as SF
from snnax.errors import ArgumentError, CheckpointError
from snnax.training import Checkpoints, batches, evaluate, fit, make_train_step

X, Y = nets.data(32)
DATA = batches(X, Y, 8, axis=1, seed=2)
LOSS = {"loss": SF.ce_count_loss(), "accuracy": SF.accuracy_rate}
NET = nets.dense()
DECAY = 0.75


def train(state, **options):
    return fit(state, DATA, **{"progress": False, **LOSS, **options})


@pytest.fixture(scope="module")
def straight():
    """Two epochs with an average, and what evaluation saw."""
    return train(nets.start(NET), epochs=2, ema=DECAY, eval_data=[(X, Y)])


def test_it_is_the_average_over_the_steps(straight):
    after, history = straight
    step = make_train_step(**LOSS, donate=False)
    plain = nets.start(NET)
    total, weight = jax.tree.map(lambda p: np.zeros(p.shape), plain.params), 0.0
    for epoch in range(2):
        for x, y in DATA(epoch):
            plain, _ = step(plain, x, y)
            total = jax.tree.map(lambda m, p: DECAY * m + (1 - DECAY) * np.float64(p), total, plain.params)
            weight = DECAY * weight + (1 - DECAY)
    assert nets.bits(after.params) == nets.bits(plain.params)  # training does not see it
    assert nets.bits(after.opt_state) == nets.bits(plain.opt_state)
    averaged = after.averaged.params
    for ours, expected, last in zip(*map(jax.tree.leaves, (averaged, total, plain.params)), strict=True):
        np.testing.assert_allclose(ours, expected / weight, rtol=1e-5, atol=1e-6)
        assert not np.allclose(ours, last, rtol=1e-3)
    apart = nets.start(NET).replace(params=averaged)
    seen = {"loss": history.eval_loss[-1], "accuracy": history.eval_accuracy[-1]}
    assert evaluate(after, [(X, Y)], **LOSS) == seen
    assert evaluate(apart, [(X, Y)], **LOSS) == pytest.approx(seen)
    assert evaluate(plain, [(X, Y)], **LOSS)["loss"] != pytest.approx(seen["loss"], rel=1e-3)


def test_before_the_first_step_it_is_what_there_is():
    state = nets.start(NET)
    assert state.averaged is state
    averaging = state.averaging(DECAY)
    assert nets.bits(averaging.averaged.params) == nets.bits(state.params)
    assert averaging.averaging(DECAY) is averaging
    assert float(evaluate(averaging, [(X, Y)], **LOSS)["loss"]) == evaluate(state, [(X, Y)], **LOSS)["loss"]


def test_it_is_saved_and_resumed_to_the_last_bit(straight, tmp_path):
    train(nets.start(NET), epochs=1, ema=DECAY, checkpoint=tmp_path / "here")
    again, _ = train(nets.start(NET), epochs=2, ema=DECAY, checkpoint=tmp_path / "here", resume=True)
    assert nets.bits(again) == nets.bits(straight[0])
    on, _ = train(
        train(nets.start(NET), epochs=1, ema=DECAY)[0], epochs=2
    )  # a state that averages goes on with it
    assert nets.bits(on) == nets.bits(straight[0])


def test_another_average_than_the_saved_one_is_refused(tmp_path):
    """What was summed up with one decay cannot be divided by what another would have left."""
    store = Checkpoints(tmp_path / "with")
    store.save(nets.start(NET).averaging(DECAY))
    for state in (nets.start(NET), nets.start(NET).averaging(0.5)):
        with pytest.raises(CheckpointError, match=r"of decay 0.75, but .* Pass fit\(ema=0.75\)"):
            store.restore(state)
    plain = Checkpoints(tmp_path / "without")
    plain.save(nets.start(NET))
    with pytest.raises(CheckpointError, match=r"without an average .* of decay 0.75. Leave ema out"):
        plain.restore(nets.start(NET).averaging(DECAY))


def test_a_state_without_it_is_saved_as_before(tmp_path):
    state = nets.start(NET)
    Checkpoints(tmp_path).save(state)
    assert not [name for name in nets.bits(state) if "ema" in name]
    assert nets.bits(Checkpoints(tmp_path).restore(state)[0]) == nets.bits(state)


def test_bad_numbers_are_refused():
    for decay in (0, 1, 1.5, None, "0.9", float("nan")):
        with pytest.raises(ArgumentError, match=r"averaging\(decay="):
            nets.start(NET).averaging(decay)
    for decay in (0, 1, "0.9"):
        with pytest.raises(ArgumentError, match=r"fit\(ema="):
            train(nets.start(NET), epochs=1, ema=decay)
    with pytest.raises(
        ArgumentError, match=r"averages with 0.75 already.*state.replace\(ema=None, decay=None\)"
    ):
        train(nets.start(NET).averaging(DECAY), epochs=1, ema=0.9)
