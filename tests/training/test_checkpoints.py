"""Checkpoints: training that stopped and went on is training that never stopped, to the last bit."""

from __future__ import annotations

import shutil
import threading
import time
from pathlib import Path

import flax.linen as nn
import jax
import jax.numpy as jnp
import numpy as np
import optax
import pytest
from helpers import training_nets as nets

import snnax as snn
import snnax.functional as SF
from snnax.errors import ArgumentError, CheckpointError
from snnax.training import Checkpoints, History, TrainState, batches, fit

X, Y = nets.data(32)
DATA = batches(X, Y, 8, axis=1, seed=2)
NET = nets.busy()
TIMES = ("seconds", "samples_per_second", "compile_seconds", "interrupted")


def train(state, data=DATA, **options):
    given = {
        "loss": SF.ce_count_loss(),
        "accuracy": SF.accuracy_rate,
        "progress": False,
        "eval_data": [(X, Y)],
    }
    return fit(state, data, **{**given, **options})


def measured(history):
    return {name: value for name, value in history.to_dict().items() if name not in TIMES}


def _left(before, seconds=30.0):
    """The threads that are new since ``before`` and do not end by themselves."""
    deadline = time.monotonic() + seconds
    for thread in set(threading.enumerate()) - before:
        thread.join(max(0.0, deadline - time.monotonic()))
    return {thread for thread in threading.enumerate() if thread not in before}


@pytest.fixture(scope="module")
def straight():
    """Three epochs without a stop."""
    return train(nets.start(NET), epochs=3)


def test_one_epoch_and_two_resumed_are_three_straight(straight, tmp_path):
    train(nets.start(NET), epochs=1, checkpoint=tmp_path / "here")
    threads = set(threading.enumerate())
    state, history = train(nets.start(NET, seed=9), epochs=3, checkpoint=tmp_path / "here", resume=True)
    assert nets.bits(state) == nets.bits(straight[0])
    assert measured(history) == measured(straight[1])
    assert not _left(threads)
    assert Checkpoints(tmp_path / "here").steps() == [4, 8, 12]
    again, same = train(nets.start(NET), epochs=3, checkpoint=tmp_path / "here", resume=True)
    assert nets.bits(again) == nets.bits(straight[0])  # nothing left to do
    assert measured(same) == measured(straight[1])


def test_so_is_one_that_ctrl_c_ended_in_the_middle_of_an_epoch(straight, tmp_path):
    def stopping(epoch):
        for number, batch in enumerate(DATA(epoch)):
            if (epoch, number) == (1, 3):
                raise KeyboardInterrupt
            yield batch

    _, history = train(nets.start(NET), stopping, epochs=3, checkpoint=tmp_path)
    assert history.interrupted and Checkpoints(tmp_path).steps() == [4, 7]
    state, history = train(nets.start(NET), epochs=3, checkpoint=tmp_path, resume=True)
    assert nets.bits(state) == nets.bits(straight[0])
    assert measured(history) == measured(straight[1])
    assert not history.interrupted


def test_another_order_of_the_data_is_noticed_by_the_bits(straight, tmp_path):
    train(nets.start(NET), epochs=1, checkpoint=tmp_path)
    other = batches(X, Y, 8, axis=1, seed=3)
    state, _ = train(nets.start(NET), other, epochs=3, checkpoint=tmp_path, resume=True)
    assert nets.bits(state.params) != nets.bits(straight[0].params)


def test_every_part_of_a_state_is_kept(tmp_path):
    variables = nets.fresh(NET)
    tx = optax.chain(optax.clip_by_global_norm(1.0), optax.adamw(1e-3))
    state = TrainState.create(NET, variables, tx, key=jax.random.key(3), hidden=variables["hidden"])
    state = state.replace(
        step=jnp.int32(17),
        epoch=jnp.int32(2),
        hidden=jax.tree.map(lambda v: v + 0.125, state.hidden),
        params=jax.tree.map(lambda v: v.astype(jnp.bfloat16), state.params),
    )
    Checkpoints(tmp_path).save(state, History(loss=[0.1, float("nan")], unfinished=[{"loss": 1 / 3}]))
    like = jax.tree.map(
        lambda v: v if jnp.issubdtype(v.dtype, jax.dtypes.prng_key) else jnp.zeros_like(v), state
    )
    restored, history = Checkpoints(tmp_path).restore(like.replace(key=jax.random.key(0)))
    assert nets.bits(restored) == nets.bits(state)
    assert jax.tree.map(lambda v: v.dtype, restored) == jax.tree.map(lambda v: v.dtype, state)
    assert history.loss[0] == 0.1 and np.isnan(history.loss[1]) and history.unfinished == [{"loss": 1 / 3}]


@pytest.fixture
def saved(tmp_path):
    """A directory with the checkpoints of steps 0, 1 and 2."""
    state = nets.start(NET)
    for step in range(3):
        Checkpoints(tmp_path).save(state.replace(step=jnp.int32(step), epoch=jnp.int32(10 + step)))
    return tmp_path


def test_the_newest_are_kept_and_any_of_them_can_be_read(saved):
    state = nets.start(NET)
    store = Checkpoints(saved, keep=2)
    assert store.steps() == [0, 1, 2]
    assert int(store.restore(state)[0].epoch) == 12
    assert int(store.restore(state, step=1)[0].epoch) == 11
    store.save(state.replace(step=jnp.int32(5)))
    assert store.steps() == [2, 5]
    store.save(state.replace(step=jnp.int32(5), epoch=jnp.int32(99)))  # replaces it
    assert store.steps() == [2, 5] and int(store.restore(state)[0].epoch) == 99


def test_fit_saves_every_so_often_and_at_the_end(tmp_path):
    store = Checkpoints(tmp_path, every=2)
    train(nets.start(NET), epochs=3, checkpoint=store)
    assert store.steps() == [8, 12]


def test_a_directory_that_is_not_empty_is_not_continued_by_accident(saved):
    with pytest.raises(ArgumentError, match=r"already holds checkpoints \(steps \[0, 1, 2\]\).*resume=True"):
        train(nets.start(NET), epochs=1, checkpoint=saved)


def test_resume_starts_anew_where_there_is_nothing(tmp_path):
    state, _ = train(nets.start(NET), epochs=1, checkpoint=tmp_path / "new", resume=True)
    assert int(state.step) == 4 and Checkpoints(tmp_path / "new").steps() == [4]


def test_what_is_not_there(tmp_path, saved):
    state = nets.start(NET)
    with pytest.raises(
        CheckpointError, match=r"absent' does not hold a checkpoint; it holds none. Expected folders"
    ):
        Checkpoints(tmp_path / "absent").restore(state)
    assert not (tmp_path / "absent").exists()
    with pytest.raises(CheckpointError, match=r"the checkpoint of step 7; it holds those of steps 0, 1, 2"):
        Checkpoints(saved).restore(state, step=7)


@pytest.mark.parametrize(
    ("other", "message"),
    [
        (
            snn.Sequential([nn.Dense(4), *nets.busy().layers[1:3]]),
            r"params/layers_0/kernel: saved float32\[5,3\], expected float32\[5,4\]",
        ),
        (
            snn.Sequential([*nets.busy().layers, nn.Dense(2)]),
            r"params/layers_4/bias: saved not, expected float32\[2\]",
        ),
    ],
)
def test_of_another_network(saved, other, message):
    with pytest.raises(CheckpointError, match=rf"2' belongs to another network or optimizer.*{message}"):
        Checkpoints(saved).restore(nets.start(other))


def test_of_another_optimizer_or_key(saved):
    with pytest.raises(CheckpointError, match=r"opt_state/0/.*expected none"):
        Checkpoints(saved).restore(nets.start(NET, optax.sgd(0.1)))
    with pytest.raises(CheckpointError, match=r"key: saved uint32\[2\], expected uint32\[4\]"):
        Checkpoints(saved).restore(nets.start(NET).replace(key=jax.random.key(0, impl="rbg")))


def empty(path: Path) -> None:
    path.write_bytes(b"")


def cut(path: Path) -> None:
    path.write_bytes(path.read_bytes()[: path.stat().st_size // 2])


def lose(path: Path) -> None:
    shutil.rmtree(path) if path.is_dir() else path.unlink()


@pytest.mark.parametrize(
    ("part", "damage"), [("meta", lose), ("state", lose), ("meta", cut), ("state", empty)]
)
def test_damage_names_the_folder_and_the_one_before(saved, part, damage):
    folder = saved / "2" / part
    for file in [folder] if damage is lose else [f for f in folder.rglob("*") if f.is_file()]:
        damage(file)
    state = nets.start(NET)
    with pytest.raises(CheckpointError, match=r"2' cannot be read.*damaged: restore\(state, step=1\)"):
        Checkpoints(saved).restore(state)
    assert int(Checkpoints(saved).restore(state, step=1)[0].epoch) == 11


def test_a_file_in_place_of_the_directory(tmp_path):
    (tmp_path / "file").write_text("")
    with pytest.raises(CheckpointError, match=r"file' cannot be written"):
        Checkpoints(tmp_path / "file").save(nets.start(NET))


@pytest.mark.parametrize("options", [{"keep": 0}, {"every": 0}, {"keep": 1.5}, {"every": True}])
def test_bad_arguments(options, tmp_path):
    with pytest.raises(ArgumentError, match=r"expected a whole number >= 1"):
        Checkpoints(tmp_path, **options)
