"""``fit``: it learns, tells what it does, refuses bad data, and stops when it should."""

from __future__ import annotations

import io

import flax.linen as nn
import jax
import numpy as np
import pytest
from helpers import training_nets as nets
from rich.console import Console

import snnax as snn
import snnax.functional as SF
from snnax.errors import ArgumentError, ShapeError, TrainingError
from snnax.training import History, batches, evaluate, fit
from snnax.training.history import mean

X, Y = nets.data(32)
LOSS = {"loss": SF.ce_count_loss(), "accuracy": SF.accuracy_rate}
NET = nets.dense()


def parts(**options):
    return batches(X, Y, 8, axis=1, **options)


def quiet(state, data, **options):
    return fit(state, data, **{"progress": False, **LOSS, **options})


# --- training ---------------------------------------------------------------------------------------


def test_it_learns_and_measures():
    state = nets.start(NET)
    held = nets.data(8, seed=1)
    after, history = quiet(state, parts(), epochs=12, eval_data=[held])
    assert history.loss[-1] < 0.6 * history.loss[0]
    assert history.accuracy[-1] > 0.85 > history.accuracy[0]
    lists = ("loss", "accuracy", "eval_loss", "eval_accuracy", "seconds", "samples_per_second")
    assert {name: len(getattr(history, name)) for name in lists} == dict.fromkeys(lists, 12)
    assert history.compile_seconds > 0 and not history.interrupted and not history.unfinished
    assert (int(after.step), int(after.epoch), int(state.step)) == (48, 12, 0)
    assert evaluate(after, [held], **LOSS) == {
        "loss": history.eval_loss[-1],
        "accuracy": history.eval_accuracy[-1],
    }
    (spk, _), _ = snn.unroll(NET, after.variables, held[0])
    assert history.eval_accuracy[-1] == pytest.approx(float(SF.accuracy_rate(spk, held[1])))


def test_it_is_the_loop_over_the_step():
    state, step = nets.start(NET), snn.training.make_train_step(**LOSS, donate=False)
    after, history = quiet(state, parts(seed=3), epochs=2)
    losses = []
    for epoch in range(2):
        for x, y in parts(seed=3)(epoch):
            state, metrics = step(state, x, y)
            losses.append(float(metrics["loss"]))
    assert nets.bits(after.params) == nets.bits(state.params)
    assert history.loss == pytest.approx([np.mean(losses[:4]), np.mean(losses[4:])])


def test_means_weigh_samples_not_batches():
    state = nets.start(NET)
    unequal = [(X[:, :8], Y[:8]), (X[:, 8:], Y[8:])]
    whole = evaluate(state, [(X, Y)], **LOSS)
    assert evaluate(state, lambda epoch: iter(unequal), **LOSS) == pytest.approx(whole)
    assert mean([{"loss": 1.0, "samples": 1}, {"loss": 4.0, "samples": 3}], "loss") == 3.25


def test_epochs_count_from_the_very_first():
    state, _ = quiet(nets.start(NET), parts(), epochs=2)
    again, history = quiet(state, parts(), epochs=3)
    assert (int(again.epoch), len(history.loss)) == (3, 1)
    straight, _ = quiet(nets.start(NET), parts(), epochs=3)
    assert nets.bits(again) == nets.bits(straight)
    with pytest.raises(ArgumentError, match=r"epochs=2.*has 2 epochs behind it.*pass epochs=4 for 2 more"):
        quiet(state, parts(), epochs=2)


def test_a_torch_loader_is_data():
    torch = pytest.importorskip("torch")
    pairs = torch.utils.data.TensorDataset(torch.from_numpy(X.swapaxes(0, 1)), torch.from_numpy(Y))

    def join(items):
        return torch.stack([x for x, _ in items], 1), torch.stack([y for _, y in items])

    loader = torch.utils.data.DataLoader(pairs, batch_size=8, collate_fn=join)
    theirs, _ = quiet(nets.start(NET), loader, epochs=2)
    ours, _ = quiet(nets.start(NET), parts(shuffle=False), epochs=2)
    assert nets.bits(theirs.params) == nets.bits(ours.params)


# --- the end ----------------------------------------------------------------------------------------


def test_callbacks_see_each_epoch_and_can_stop():
    seen = []

    def watch(state, history):
        seen.append((int(state.epoch), len(history.loss)))
        return len(seen) == 2

    state, history = quiet(nets.start(NET), parts(), epochs=5, callbacks=[watch])
    assert seen == [(1, 1), (2, 2)]
    assert (int(state.epoch), len(history.loss)) == (2, 2)


def test_batch_callbacks_see_each_batch_and_can_stop(tmp_path):
    seen = []

    def watch(state, metrics):
        assert isinstance(metrics["grad_norm"], jax.Array)
        seen.append((int(state.step), float(metrics["loss"])))
        return len(seen) == 6

    more = {"epochs": 3, "checkpoint": tmp_path}
    state, history = quiet(nets.start(NET), parts(), batch_callbacks=[watch], **more)
    assert [step for step, _ in seen] == [1, 2, 3, 4, 5, 6]
    assert (int(state.step), int(state.epoch), len(history.loss)) == (6, 1, 1)
    assert history.interrupted and len(history.unfinished) == 2
    losses = [*history.step_loss, *(entry["loss"] for entry in history.unfinished)]
    assert [loss for _, loss in seen] == losses
    state, _ = quiet(nets.start(NET), parts(), resume=True, **more)
    straight, whole = quiet(nets.start(NET), parts(), epochs=3, batch_callbacks=[lambda state, metrics: None])
    assert nets.bits(state) == nets.bits(straight)
    assert not whole.interrupted


def test_the_next_batch_is_loaded_while_a_step_runs(monkeypatch):
    """However often the loss is looked at, it is that of the step before: the newest one is not waited for."""
    told, losses, fetch = [], [], jax.device_get

    def data(epoch):
        for number, batch in enumerate(parts()(epoch), 1):
            told.append(f"load {number}")
            yield batch

    def dispatched(state, metrics):
        losses.append(metrics["loss"])
        told.append(f"step {len(losses)}")

    def waited(tree):
        if isinstance(tree[0], dict):  # the metrics of one step, not those of an epoch
            told.append(f"wait {1 + [loss is tree[0]['loss'] for loss in losses].index(True)}")
        return fetch(tree)

    monkeypatch.setattr("snnax.training.run._LOOK", 0.0)
    monkeypatch.setattr(jax, "device_get", waited)
    quiet(nets.start(NET), data, epochs=1, batch_callbacks=[dispatched])
    assert told == [
        *("load 1", "step 1", "load 2", "step 2", "wait 1"),
        *("load 3", "step 3", "wait 2", "load 4", "step 4", "wait 3"),
    ]


@pytest.mark.parametrize(("processes", "passes"), [(1, [2, 1]), (2, [4])])
def test_several_processes_end_at_the_same_step(monkeypatch, processes, passes):
    """Each looks at the loss when it has the time; a process that ended before the others would leave them waiting.

    One process alone ends early, and goes to the faulty batch again to say what is wrong with it.
    """
    loaded = []

    def data(epoch):
        loaded.append(0)
        for x, y in parts()(epoch):
            loaded[-1] += 1
            yield x, y + 10  # labels that there are not: the loss is NaN

    monkeypatch.setattr("snnax.training.run._LOOK", 0.0)
    monkeypatch.setattr(jax, "process_count", lambda: processes)
    with pytest.raises(TrainingError, match=r"loss is nan at step 1 \(epoch 1, batch 1\)"):
        quiet(nets.start(NET), data, epochs=2)
    assert loaded == passes


def test_callbacks_are_checked():
    for name, shown in (("callbacks", "history"), ("batch_callbacks", "metrics")):
        with pytest.raises(ArgumentError, match=rf"fit\({name}=.*functions of the state and the {shown}"):
            quiet(nets.start(NET), parts(), epochs=1, **{name: [3]})


def interrupting(at, raised=KeyboardInterrupt):
    """The batches, until Ctrl-C comes before batch number ``at`` of all."""
    count = iter(range(1000))

    def data(epoch):
        for batch in parts()(epoch):
            if next(count) == at:
                raise raised
            yield batch

    return data


def test_ctrl_c_returns_what_there_is():
    state, history = quiet(nets.start(NET), interrupting(at=6), epochs=5)
    assert history.interrupted and len(history.loss) == 1 and len(history.unfinished) == 2
    assert (int(state.step), int(state.epoch)) == (6, 1)


def test_another_exception_passes():
    with pytest.raises(ZeroDivisionError):
        quiet(nets.start(NET), interrupting(at=6, raised=ZeroDivisionError), epochs=5)


@pytest.mark.parametrize("kind", ["nan", "label"])
def test_a_loss_that_is_not_finite_stops_and_names_the_step(kind):
    def data(epoch):
        for number, (x, y) in enumerate(parts()(epoch)):
            if (epoch, number) == (1, 2):
                x, y = (x * np.nan, y) if kind == "nan" else (x, y + 10)
            yield x, y

    with pytest.raises(
        TrainingError, match=r"loss is nan at step 7 \(epoch 2, batch 3\).*labels outside.*clip"
    ):
        quiet(nets.start(NET), data, epochs=3, loss=SF.ce_max_membrane_loss())


# --- what is shown ----------------------------------------------------------------------------------


def shown(state, terminal, **options):
    text = io.StringIO()
    console = Console(file=text, force_terminal=terminal, width=150, color_system=None)
    fit(state, parts(), progress=console, **LOSS, **options)
    return text.getvalue()


def test_plain_lines_where_there_is_no_terminal():
    lines = shown(nets.start(NET), False, epochs=2, eval_data=parts()).splitlines()
    assert len(lines) == 4
    assert lines[0].startswith("compiling the training step ... ") and lines[0].endswith(" s")
    assert lines[1].startswith("compiling the evaluation step ... ")
    for number, line in enumerate(lines[2:], 1):
        assert line.startswith(f"epoch {number}/2: loss ")
        for word in ("accuracy ", "eval loss ", "eval accuracy ", " samples/s, "):
            assert word in line
    assert "\x1b" not in "".join(lines)


def test_a_bar_on_a_terminal():
    text = shown(nets.start(NET), True, epochs=2)
    for word in ("compiling the training step", "compiled the training step in", "epoch 2/2", "4/4", "loss "):
        assert word in text
    assert "samples/s" in text and "\x1b" in text


def test_standard_output_is_the_default_and_silence_is_silent(capsys):
    fit(nets.start(NET), parts(), epochs=1, **LOSS)
    assert "epoch 1/1: loss" in capsys.readouterr().out
    quiet(nets.start(NET), parts(), epochs=1)
    assert capsys.readouterr() == ("", "")


def test_history_knows_the_newest_values():
    history = History(loss=[2.0, 1.0], seconds=[0.5, 0.25])
    assert history.last() == {"loss": 1.0, "seconds": 0.25}
    assert History(**history.to_dict()) == history


# --- data -------------------------------------------------------------------------------------------


def test_batches_hold_every_sample_once_in_an_order_of_the_seed_and_the_epoch():
    x = np.arange(10)[:, None]
    data = batches(x, np.arange(10), 4, seed=5)

    def order(epoch, source=data):
        found = [(x[:, 0].tolist(), y.tolist()) for x, y in source(epoch)]
        assert [a for a, _ in found] == [b for _, b in found]
        return [label for _, labels in found for label in labels]

    assert sorted(order(0)) == sorted(order(1)) == list(range(10))
    assert order(0) == order(0) != order(1)
    assert order(0) != order(0, batches(x, np.arange(10), 4, seed=6))
    assert order(3, batches(x, np.arange(10), 4, shuffle=False)) == list(range(10))
    assert [len(y) for _, y in data] == [4, 4, 2] and len(data) == 3
    short = batches(x, np.arange(10), 4, drop_last=True)
    assert [len(y) for _, y in short(0)] == [4, 4] and len(short) == 2


@pytest.mark.parametrize(
    ("arguments", "options", "kind", "message"),
    [
        ((X, Y, 8), {}, ShapeError, r"\(6, 32, 5\).*\(32,\) with axis=0.*Pass axis=1"),
        ((X[:, :0], Y[:0], 8), {"axis": 1}, ShapeError, "N >= 1"),
        ((X, Y, 0), {"axis": 1}, ArgumentError, r"batch_size=0\); expected a whole number >= 1"),
        ((X, Y, 8), {"axis": 1, "seed": -1}, ArgumentError, r"seed=-1"),
        ((X, Y, 33), {"axis": 1, "drop_last": True}, ArgumentError, "leaves no batch of 32"),
    ],
)
def test_bad_batches(arguments, options, kind, message):
    with pytest.raises(kind, match=message):
        batches(*arguments, **options)


BAD = [
    ({"epochs": 0}, r"epochs=0\); expected a whole number"),
    ({"epochs": True}, r"epochs=True\)"),
    ({"data": []}, r"data has no batches in epoch 1"),
    ({"data": lambda epoch: None}, r"returned None for epoch 0; expected the batches.*data=lambda epoch"),
    ({"eval_data": lambda epoch: 3}, r"returned 3 for epoch 0; expected the batches"),
    ({"data": [X]}, r"a batch of the data is a ndarray; expected a pair"),
    ({"data": iter([(X, Y)]), "epochs": 2}, r"data is a list_iterator, which can be read only once"),
    ({"eval_data": iter([(X, Y)]), "epochs": 2}, r"eval_data is a list_iterator"),
    ({"eval_data": []}, r"evaluation data has no batches"),
    ({"resume": True}, r"resume=True\) needs a directory"),
]


@pytest.mark.parametrize(("options", "message"), BAD)
def test_bad_arguments(options, message):
    data = options.get("data", parts())
    rest = {k: v for k, v in options.items() if k != "data"}
    with pytest.raises(ArgumentError, match=message):
        quiet(nets.start(NET), data, **{"epochs": 1, **rest})


def test_a_generator_will_do_for_one_epoch():
    state, _ = quiet(nets.start(NET), ((x, y) for x, y in parts()), epochs=1)
    assert int(state.step) == 4


def test_importing_it_loads_neither_orbax_nor_rich_itself():
    """Flax may have loaded them before; the modules of training do not name them at their top."""
    import ast
    import pathlib

    for source in pathlib.Path(snn.training.__file__).parent.glob("*.py"):
        top = [n for n in ast.parse(source.read_text()).body if isinstance(n, ast.Import | ast.ImportFrom)]
        names = {alias.name for n in top for alias in n.names} | {getattr(n, "module", "") for n in top}
        assert not [n for n in names if n and n.partition(".")[0] in ("orbax", "rich", "torch", "matplotlib")]


def test_a_network_of_membranes_alone_trains_with_read_all():
    net = snn.Graph(
        nodes={"fc": nn.Dense(3), "lif": snn.Leaky(0.8, init_hidden=True, output=True)},
        edges=[("input", "fc"), ("fc", "lif"), ("lif", "output")],
        outputs=[("lif", "mem")],
    )
    state = nets.start(net)
    first = jax.tree.leaves(state.params)[0]
    after, _ = quiet(state, parts(), epochs=1, loss=SF.ce_max_membrane_loss(), accuracy=None, read="all")
    assert not np.array_equal(first, jax.tree.leaves(after.params)[0])
