"""The benchmarks: every candidate that is installed takes a step of every kind of workload, and the arithmetic of
the tables."""

import importlib
import inspect
import json
import math
import sys
from dataclasses import replace
from pathlib import Path
from types import SimpleNamespace

import pytest

import snnax as snn

sys.path.insert(0, str(Path(__file__).parents[1]))

from benchmarks import (
    before,
    compile_time,
    delays,
    eager_step,
    event_yinyang,
    feeding,
    first_result,
    long_sequences,
    measuring,
    memory,
    residual,
    schedule,
    tables,
    train_step,
    transformer,
)
from benchmarks.peers import registry
from benchmarks.train_step import Result
from benchmarks.workloads.spec import data
from benchmarks.workloads.table import WORKLOADS

KINDS = ("linear512", "mlp-constant", "conv", "recurrent", "inference")
COMPILED = ("mlp-constant", "conv", "recurrent")  # what is left out is as one of these
OTHERS = (*registry.OTHERS, *registry.FLOORS)


def tiny(name):
    return WORKLOADS[name].sized(steps=2, batch=2)


def first_loss(name, workload):
    candidate = registry.CANDIDATES[name]
    if candidate.missing:
        pytest.skip(f"not there: {candidate.missing}")
    step = candidate.build(workload, data(workload))
    return 0.0 if step is None else step()


@pytest.mark.parametrize("kind", COMPILED)
def test_snnax_by_hand_and_ported_run_the_network_of_snntorch(kind):
    """Forward only: programs with gradients take several times as long to compile."""
    pytest.importorskip("snntorch")
    workload = replace(tiny(kind), train=False, loss="membrane")
    sums = [first_loss(name, workload) for name in ("snntorch", *registry.OURS)]
    assert sums[0] != 0 and sums == pytest.approx([sums[0]] * 3, rel=1e-4)


def test_a_step_trains_from_the_loss_of_snntorch():
    workload = tiny("mlp-constant")
    step = registry.CANDIDATES["snnax"].build(workload, data(workload))
    before = step.arguments[0]["layers_0"]["kernel"]
    loss = step()
    assert (step.arguments[0]["layers_0"]["kernel"] != before).any()
    assert loss == pytest.approx(first_loss("snntorch", workload), rel=1e-5)


@pytest.mark.parametrize("name", OTHERS)
@pytest.mark.filterwarnings("ignore")
def test_the_others_take_a_step_of_every_kind(name):
    for kind in KINDS:
        assert math.isfinite(first_loss(name, tiny(kind))), kind


def test_what_is_not_installed_is_named_and_left_out(monkeypatch):
    absent = registry.Candidate("nowhere", "build", ("no_such_package",))
    monkeypatch.setitem(registry.CANDIDATES, "absent", absent)
    results = train_step.measure(tiny("linear512"), ["absent"], rounds=1, cores=1, limit=10)
    assert "no_such_package" in train_step.table(tiny("linear512"), results, cores=1)


def test_rounds_are_counted_and_a_slow_candidate_is_measured_once():
    pytest.importorskip("torch")
    workload = tiny("linear512")
    results = train_step.measure(workload, ["floor-torch"], rounds=3, cores=1, limit=10)
    assert len(results["floor-torch"].times) == 3
    slow = train_step.measure(workload, ["floor-torch"], rounds=3, cores=1, limit=0)["floor-torch"]
    assert len(slow.times) == 1 and "once" in slow.skipped


def test_ratios_are_medians_of_the_rounds_ratios():
    """Not ratios of medians: 3 / 1 here, where the medians' ratio is 4 / 2."""
    ours, theirs = Result("snnax", times=[1.0, 2.0, 10.0]), Result("snntorch", times=[3.0, 4.0, 40.0])
    assert theirs.over(ours) == 3.0
    found = {"linear512": {"snnax": ours, "snntorch": theirs}}
    assert f"3.00 (>= {WORKLOADS['linear512'].targets.snntorch})" in train_step.summary(found)
    table = train_step.table(WORKLOADS["linear512"], found["linear512"], cores=1)
    assert "3.00" in table and "2000.00" in table


def test_the_peak_is_that_of_the_call():
    held = bytearray(64 << 20)
    peak = measuring.peak_of(lambda: len(bytearray(32 << 20)))
    if peak is None:
        pytest.skip("no high-water mark of the kernel here")
    assert 30 << 20 < peak < 50 << 20
    assert len(held) == 64 << 20


def test_bytes_per_neuron_and_step():
    workload = WORKLOADS["mlp"].sized(steps=100, batch=32)
    row = memory.table({"snnax": {25: 2**20, 100: 4 * 1010 * 100 * 32}}, workload).splitlines()[-1]
    assert row.split() == ["snnax", "1", "12", "4.00"]


def test_a_recompilation_is_counted():
    import jax
    import jax.numpy as jnp

    program = jax.jit(lambda x: x + 1)
    with compile_time.counting() as count:
        program(jnp.ones(3)).block_until_ready()
        once = count()
        program(jnp.zeros(3)).block_until_ready()
        assert once >= 1 and count() == once
        program(jnp.ones(4)).block_until_ready()
        assert count() > once


@pytest.mark.parametrize("name", list(registry.CANDIDATES))
def test_each_candidate_has_its_function_and_says_how_it_differs(name):
    candidate = registry.CANDIDATES[name]
    if candidate.missing:
        pytest.skip(f"not there: {candidate.missing}")
    module = importlib.import_module(f"benchmarks.peers.{candidate.module}")
    assert callable(getattr(module, candidate.function)) and candidate.differs


def test_an_epoch_of_events_starts_from_weights_and_data_that_it_is_given(monkeypatch):
    import jax.numpy as jnp
    import numpy as np

    monkeypatch.setattr(event_yinyang, "BATCHES", 2)
    monkeypatch.setattr(event_yinyang, "HIDDEN", 8)
    random, order = np.random.default_rng(0), np.array([2, 0, 1, 3, 4])
    shape = (event_yinyang.BATCHES, event_yinyang.BATCH, 5)
    spikes = SimpleNamespace(time=jnp.zeros(shape), idx=jnp.broadcast_to(jnp.asarray(order), shape))
    goals = jnp.full((*shape[:2], 3), 5e-3)
    weights = {"syn1": jnp.asarray(random.normal(3, 1.6, (5, 8))), "syn2": jnp.full((8, 3), 2.0)}
    epoch = event_yinyang.ours("once", weights, ({"inp": spikes}, goals))
    epoch()
    before = epoch.state[0]["layers_1"]["weights"]
    assert math.isfinite(epoch.first_loss) and (before != 2.0).any()


def test_learned_delays_tell_what_weights_alone_do_not():
    """A small budget of benchmarks/delays.py, whose table is in docs/delays.rst."""
    without = delays.measured("no delays", 1, epochs=30, hidden=12)["no delays"]
    found = delays.measured("learned delays", 1, epochs=30, hidden=12)
    assert found["learned delays"] > without + 0.15
    assert found["learned delays, rounded"] > found["learned delays"] - 0.02


def test_a_step_of_a_spiking_transformer_is_ported_with_its_gradients():
    """Loss and all gradients of ``benchmarks.transformer``'s network beside torch's, in a small size that fires."""
    pytest.importorskip("snntorch")
    torch = pytest.importorskip("torch")
    import jax
    import numpy as np

    import snnax
    from snnax import interop

    network = transformer.snntorch_network(steps=3, blocks=1, width=8)
    for name, kept in network.named_buffers():
        if name.endswith("running_var"):
            kept.fill_(0.005)
    x = torch.rand(3, 2, 3, 8, 8)
    net, variables = interop.from_snntorch(network.net, x[0])

    def loss(params):
        outputs, _, neurons = snnax.unroll(net, {**variables, "params": params}, x.numpy(), record=True)
        return (outputs.mean(0) ** 2).sum(), {name: kept["spk"].sum() for name, kept in neurons.items()}

    (value, spikes), slopes = jax.jit(jax.value_and_grad(loss, has_aux=True))(variables["params"])
    assert sum(count > 0 for count in spikes.values()) >= 8, spikes
    wanted = (network(x) ** 2).sum()
    wanted.backward()
    assert value == pytest.approx(wanted.item(), rel=1e-5)
    found = interop.to_state_dict(net, {**variables, "params": slopes})
    for name, parameter in network.net.named_parameters():
        ours, theirs = np.asarray(found[name]), parameter.grad.numpy()
        assert np.abs(ours - theirs).max() <= 1e-4 * np.abs(theirs).max() > 0, name


def test_norse_computes_the_residual_network_with_a_reset_in_the_same_step():
    for name in ("norse", "snntorch"):
        pytest.importorskip(name)
    torch = pytest.importorskip("torch")

    class Neuron(torch.nn.Module):
        mem = 0.0

        def forward(self, x):
            self.mem = 0.5 * self.mem + x
            spikes = (self.mem > 1).float()
            self.mem = self.mem - spikes
            return spikes

    network = residual.snntorch_network(steps=3, widths=(4, 4, 8))
    wanted = residual.one_step(Neuron, residual.widths_of(network))
    wanted.load_state_dict(network.net.state_dict(), strict=False)
    x, y = torch.rand(3, 2, 3, 8, 8), torch.tensor([1, 2])
    loss = residual.norse_step(network, x, y)()
    outputs = torch.stack([wanted(frame) for frame in x]).mean(0)
    assert outputs.std(0).max() > 1e-4  # what tells the samples apart are spikes
    assert loss == pytest.approx(torch.nn.functional.cross_entropy(outputs, y).item(), rel=1e-6)


@pytest.mark.filterwarnings("ignore")
def test_spyx_computes_the_residual_network_a_step_later_in_each_layer():
    for name in ("spyx", "snntorch"):
        pytest.importorskip(name)
    torch = pytest.importorskip("torch")
    x, y = torch.rand(4, 2, 3, 8, 8), torch.tensor([1, 2])
    before = residual.snntorch_network(steps=3, widths=(4,))
    bias = before.net[-1].bias
    wanted = torch.nn.functional.cross_entropy((3 * before(x[:3]) + bias) / 4, y)
    assert residual.spyx_step(before, x, y)() == pytest.approx(wanted.item(), rel=1e-5)
    deep = residual.snntorch_network(steps=4, widths=(4, 4, 8))
    nothing = torch.nn.functional.cross_entropy(deep.net[-1].bias.expand(2, -1), y)
    first = residual.spyx_step(deep, x[:2], y)()
    assert first == pytest.approx(nothing.item(), rel=1e-5)


def test_the_tables_are_made_of_the_measurements(tmp_path):
    def noted(**seconds):
        return {name: {"times": [value, value]} for name, value in seconds.items()}

    mlp = noted(**{"snnax": 2.0, "snnax-ported": 2.5, "snntorch": 5.0, "spyx": 3.0, "floor-xla": 1.6})
    (tmp_path / "train_step_1.json").write_text(json.dumps({"workloads": {"mlp": mlp}}))
    deep = noted(**{"snnax-program": 4.0, "snnax-graph": 4.0, "snntorch": 6.0, "floor": 4.0})
    for name in tables.PORTED:
        (tmp_path / f"{name}_1.json").write_text(json.dumps({"batch": 16, "candidates": deep}))
    made = tables.table(tmp_path, 1)
    cells = [line.strip("*- ") for line in made.splitlines()[8:]]
    title = WORKLOADS["mlp"].title
    assert cells[:4] == [title, "2.5 (2.0)", "1.50 spyx", "1.25"]
    assert cells[4:8] == [tables.PORTED["residual"].format(16), "1.50 (1.50)", "none installed", "1.00"]
    for name, wanted in tables.PLACES.items():
        page = (Path(__file__).parents[1] / name).read_text()
        for cores in wanted:
            after = tables.written(page, cores, made)
            assert made in after and len(after.split(made)) == 2
            assert tables.written(after, cores, made) == after
    with pytest.raises(ValueError, match="around a table"):
        tables.written("a page", 1, made)


def test_choices_are_arguments_of_unroll():
    for workload in WORKLOADS.values():
        chosen = schedule.choices(workload.steps)
        assert next(iter(chosen.values())) == {}
        assert all(set(given) <= set(inspect.signature(snn.unroll).parameters) for given in chosen.values())


class Told:
    """A tree that answers at once."""

    def __init__(self, name, seconds):
        self.name, self.seconds = name, seconds

    def ask(self, **question):
        return {"loss": 1.5, "seconds": 1.0, "from": self.name} if "build" in question else self.seconds


def test_a_tree_is_compared_with_another_and_not_with_itself():
    assert before.ratio(Told("here", 2.0), Told("there", 3.0), "mlp/snnax", 3, 1) == (1.5, 0.0)
    with pytest.raises(RuntimeError, match="Both processes import here"):
        before.ratio(Told("here", 2.0), Told("here", 3.0), "mlp/snnax", 3, 1)


@pytest.mark.filterwarnings("ignore")
def test_neurons_that_take_sequences_take_a_step():
    for step, _ in long_sequences.candidates(steps=4, batch=2, neurons=3).values():
        step()


def test_each_step_of_a_stream_starts_from_the_one_before():
    call = eager_step.streamed(lambda kept, x: (kept["mem"] + x, {"mem": kept["mem"] + x}), {"mem": 1}, 2)
    assert [call(), call(), call()] == [3, 5, 7]


def test_every_loader_has_all_samples_with_time_first(monkeypatch):
    import numpy as np

    monkeypatch.setattr(feeding, "BATCH", 2)
    x = np.arange(4 * 3 * 5, dtype=np.float32).reshape(4, 3, 5)
    y = np.arange(4)
    for name, loader in feeding.loaders(x, y, 0.0).items():
        if name.endswith("workers 2"):  # starts processes
            continue
        seen = []
        for frames, labels in loader(1):
            assert np.array_equal(frames, x[np.asarray(labels)].swapaxes(0, 1)), name
            seen += list(labels)
        assert sorted(seen) == [0, 1, 2, 3], name


def test_a_process_that_fails_says_why():
    cpu, wall = first_result.taken(first_result.command_of("pass"), None)
    assert 0 < cpu < wall + 1
    with pytest.raises(RuntimeError, match="ZeroDivisionError"):
        first_result.taken(first_result.command_of("1 / 0"), None)
