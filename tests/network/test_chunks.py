"""The time loop: results do not depend on the chunk size, and are those of ``apply`` step by step."""

import functools

import flax.linen as nn
import jax
import jax.numpy as jnp
import numpy as np
import pytest
from helpers.nets import CHUNKS, NETS, B, T, assert_same, eighths, fires, leaky, start, stepwise

import snnax as snn


@functools.cache
def case(name):
    """Network, variables and input; shared by the tests, so that each program is compiled once."""
    build, shape = NETS[name]
    net = build()
    x = eighths((T, B, *shape), seed=1)
    return net, start(net, x[0]), x


@functools.cache
def expected(name):
    return stepwise(*case(name))


# The statistics of LayerNorm are not exact: a merged batch may round them differently.
TOLERANCE = {"normalised": 1e-6}


# Each chunk size is a program to compile: all of them where the schedule has most to do.
THOROUGH = ("branches", "feedback", "nested", "own block in a chain")
CASES = [(n, c) for n in NETS for c in (CHUNKS if n in THOROUGH else (3, "auto"))]


@pytest.mark.parametrize(("name", "chunk"), CASES)
def test_every_chunk_size_gives_what_apply_gives_step_by_step(name, chunk):
    net, variables, x = case(name)
    y, after = expected(name)
    ours, updates, _ = snn.unroll(net, variables, x, chunk=chunk, record=True)
    assert fires(y) or name == "normalised"
    assert_same(ours, y, TOLERANCE.get(name, 0.0))
    assert_same(updates["hidden"], after["hidden"])


@pytest.mark.parametrize("name", ["nested", "images", "compact", "one neuron"])
def test_recorded_steps_do_not_depend_on_the_chunk(name):
    net, variables, x = case(name)
    plain = expected(name)[0]
    reference = None
    for chunk in (3, "auto"):
        y, updates, recorded = snn.unroll(net, variables, x, chunk=chunk, record=True)
        assert_same(y, plain)
        assert "record" not in updates
        reference = reference or recorded
        assert_same(recorded, reference)
    for path, values in recorded.items():
        assert set(values) == {"input", "mem", "spk"}
        assert {v.shape[:2] for v in values.values()} == {(T, B)}
        stored = functools.reduce(
            lambda tree, key: tree[key], filter(None, path.split("/")), updates["hidden"]
        )
        assert_same(values["mem"][-1], stored["mem"])


def test_record_names_paths_and_selects():
    net, variables, x = case("nested")
    everything = snn.unroll(net, variables, x, record=True)[2]
    assert list(everything) == ["layers_0/layers_1", "layers_1/lif", "layers_2"]
    some = snn.unroll(net, variables, x, record=["layers_1/lif"])[2]
    assert_same(some, {"layers_1/lif": everything["layers_1/lif"]})
    assert_same(snn.unroll(net, variables, x, record="layers_2")[2], {"layers_2": everything["layers_2"]})
    assert len(snn.unroll(net, variables, x, record=[])) == 2


@pytest.mark.parametrize(
    ("name", "path"), [("nested", "layers_1/lif"), ("compact", "inner/layers_1"), ("one neuron", "")]
)
def test_forced_spikes_replace_a_neurons_own_at_any_chunk_size(name, path):
    net, variables, x = case(name)
    free = snn.unroll(net, variables, x, record=True)
    width = free[2][path]["spk"].shape
    forced = {path: jnp.asarray(np.random.default_rng(0).integers(0, 2, width), jnp.float32)}
    first = None
    for chunk in (3, T):
        run = snn.unroll(net, variables, x, chunk=chunk, record=True, force=forced)
        first = first or run
        assert_same(run, first)
    assert not np.array_equal(jax.tree.leaves(first[0])[0], jax.tree.leaves(free[0])[0])
    # What the neuron would have done is still recorded: nothing before it has changed.
    if name != "nested":
        assert_same(first[2][path], free[2][path])
    own = {path: free[2][path]["spk"]}
    assert_same(snn.unroll(net, variables, x, record=True, force=own), free)


def test_forced_feedback_reaches_a_recurrent_neuron():
    net = snn.RLeaky(0.5, V=0.5, all_to_all=False, learn_recurrent=False, init_hidden=True, output=True)
    x = eighths((T, B, 4), seed=1)
    forced = jnp.ones((T, B, 4))
    (spk, mem), updates = snn.unroll(net, {}, x, force={"": forced})
    assert_same(spk, forced)
    assert_same(updates["hidden"]["spk"], forced[-1])
    by_hand, before = np.zeros((B, 4)), np.zeros((B, 4))
    for t in range(T):
        by_hand = 0.5 * by_hand + x[t] + 0.5 * before - (by_hand > 1)
        before = np.ones((B, 4))
    np.testing.assert_array_equal(mem[-1], by_hand)


def random_net(train=True):
    return snn.Sequential([nn.Dense(8), nn.Dropout(0.5, deterministic=not train), leaky(), Noise(), leaky()])


class Noise(nn.Module):
    """Adds 0 or 1, drawn from a key of another name."""

    @nn.compact
    def __call__(self, x):
        return x + jax.random.bernoulli(self.make_rng("noise"), 0.5, x.shape)


@pytest.mark.parametrize("chunk", [np.array(2), jnp.int32(2)], ids=["numpy", "jax"])
def test_a_chunk_may_be_an_array_of_one_integer(chunk):
    net, x = snn.Sequential([snn.Leaky(0.5, init_hidden=True)]), eighths((5, 1, 1), seed=1)
    assert_same(snn.unroll(net, {}, x, chunk=chunk), snn.unroll(net, {}, x, chunk=2))


def test_random_draws_do_not_depend_on_the_chunk():
    net, x = random_net(), eighths((T, B, 4), seed=1)
    keys = {"dropout": jax.random.key(1), "noise": jax.random.key(2)}
    variables = start(net, x[0], keys)
    runs = [snn.unroll(net, variables, x, rngs=keys, chunk=c, record=True) for c in (T, 3)]
    for run in runs[1:]:
        assert_same(run, runs[0])
    dropped = np.asarray(runs[0][2]["layers_2"]["input"] == 0)
    assert 0.3 < dropped.mean() < 0.7
    assert not np.array_equal(dropped[0], dropped[1]), "each step draws anew"
    for name in keys:
        other = snn.unroll(net, variables, x, rngs={**keys, name: jax.random.key(3)}, record=True)
        assert not np.array_equal(other[2]["layers_4"]["input"], runs[0][2]["layers_4"]["input"]), name


def test_random_draws_differ_between_layers():
    net = snn.Sequential([nn.Dropout(0.5, deterministic=False), leaky(), snn.Scale(0.0), Noise(), leaky()])
    x = jnp.ones((T, B, 64))
    keys = {"dropout": jax.random.key(1), "noise": jax.random.key(1)}
    recorded = snn.unroll(net, {}, x, rngs=keys, record=True)[2]
    one, two = (np.asarray(recorded[f"layers_{i}"]["input"] > 0) for i in (1, 4))
    assert 0.4 < (one == two).mean() < 0.6


@pytest.mark.parametrize("given", [True, False], ids=["with hidden", "without hidden"])
def test_batch_statistics_are_updated_step_by_step(given):
    net = snn.Sequential([nn.Dense(4), nn.BatchNorm(use_running_average=False, momentum=0.5), leaky()])
    x = eighths((T, B, 4), seed=1)
    variables = start(net, x[0])
    if given:
        variables["hidden"] = {"layers_2": {"mem": jnp.zeros((B, 4))}}
    y, after = stepwise(net, variables, x, ["batch_stats"])
    for chunk in (1, 3, T) if given else (T,):
        ours, updates = snn.unroll(net, variables, x, mutable=["batch_stats"], chunk=chunk)
        assert_same(ours, y)
        assert_same(updates["batch_stats"], after["batch_stats"], 1e-6)
        assert_same(updates["hidden"], after["hidden"], 1e-6)
    assert float(jnp.abs(updates["batch_stats"]["layers_1"]["mean"]).max()) > 0


def test_sown_values_are_stacked():
    class Sows(nn.Module):
        @nn.compact
        def __call__(self, x):
            self.sow("intermediates", "seen", x)
            return leaky()(x)

    x = eighths((T, B, 4))
    for net, at in ((Sows(), ()), (snn.Sequential([Sows()]), ("layers_0",))):
        for chunk in (3, T):
            _, updates = snn.unroll(net, {}, x, mutable="intermediates", chunk=chunk)
            (seen,) = functools.reduce(lambda tree, key: tree[key], at, updates["intermediates"])["seen"]
            assert_same(seen, x)


@pytest.mark.parametrize(("name", "other"), [("branches", T), ("feedback", 3), ("compact", 3)])
def test_gradients_do_not_depend_on_the_chunk(name, other):
    net, variables, x = case(name)

    @functools.partial(jax.jit, static_argnums=2)
    def gradients(params, x, chunk):
        def loss(params, x):
            y, _ = snn.unroll(net, {**variables, "params": params}, x, chunk=chunk)
            return sum(jnp.sum(v * jnp.arange(1.0, 5.0)[None, None]) for v in jax.tree.leaves(y))

        return jax.grad(loss, argnums=(0, 1))(params, x)

    reference = gradients(variables["params"], x, 1)
    assert all(float(jnp.abs(g).max()) > 0 for g in jax.tree.leaves(reference))
    assert_same(gradients(variables["params"], x, other), reference, 1e-6)


@pytest.mark.parametrize("name", ["branches", "feedback", "setup"])
def test_two_runs_in_a_row_are_one_long_run(name):
    net, variables, x = case(name)
    y, _ = expected(name)
    first, between = snn.unroll(net, variables, x[:3])
    second, _ = snn.unroll(net, {**variables, **between}, x[3:6])
    assert_same(
        jax.tree.map(lambda a, b: jnp.concatenate([a, b]), first, second), jax.tree.map(lambda v: v[:6], y)
    )
    again, _ = snn.unroll(net, snn.utils.reset({**variables, **between}), x[:3])
    assert_same(again, first)
    carried_on, _ = snn.unroll(net, {**variables, **between}, x[:3])
    assert not np.array_equal(jax.tree.leaves(carried_on)[-1], jax.tree.leaves(first)[-1])


NEURONS = {
    "TwoDecayLIF": lambda: snn.TwoDecayLIF(threshold=0.05, init_hidden=True, output=True),
    "SRM": lambda: snn.SRM(threshold=0.05, init_hidden=True, output=True),
    "SigmaDelta": lambda: snn.SigmaDelta(threshold=0.5, init_hidden=True, output=True),
    "AdEx": lambda: snn.AdEx(threshold=-70.6, init_hidden=True, output=True),
    "Izhikevich": lambda: snn.Izhikevich(threshold=-69.99, init_hidden=True, output=True),
    "ResonateFire": lambda: snn.ResonateFire(threshold=0.05, init_hidden=True, output=True),
    "ALIF": lambda: snn.ALIF(0.5, 0.75, 2.0, init_hidden=True, output=True),
    "Leaky": lambda: snn.Leaky(0.5, init_hidden=True, output=True),
    "Synaptic": lambda: snn.Synaptic(0.5, 0.25, init_hidden=True, output=True),
    "Alpha": lambda: snn.Alpha(0.75, 0.5, init_hidden=True, output=True),
    "Lapicque": lambda: snn.Lapicque(beta=0.5, init_hidden=True, output=True),
    "RLeaky": lambda: snn.RLeaky(0.5, linear_features=4, init_hidden=True, output=True),
    "RLeaky, one to one": lambda: snn.RLeaky(0.5, V=0.5, all_to_all=False, init_hidden=True, output=True),
    "RSynaptic": lambda: snn.RSynaptic(0.5, 0.25, linear_features=4, init_hidden=True, output=True),
    "DeltaLeaky": lambda: snn.DeltaLeaky(0.5, 0.5, init_hidden=True, output=True),
    "SLSTM": lambda: snn.SLSTM(4, 3, threshold=0.05, init_hidden=True, output=True),
    "LIF": lambda: snn.LIF(2e-4, r=2.0, v_reset=-0.25, init_hidden=True, output=True),
    "CubaLIF": lambda: snn.CubaLIF(2e-4, 4e-4, r=8.0, init_hidden=True, output=True),
    "IF": lambda: snn.IF(5e3, init_hidden=True, output=True),
    "StateLeaky": lambda: snn.StateLeaky(0.5, 4, kernel_truncation_steps=3, init_hidden=True),
    "LeakyParallel": lambda: snn.LeakyParallel(4, 3, beta=0.5, threshold=0.2, init_hidden=True),
}
ELSEWHERE = {
    "AssociativeLeaky": "tests/neurons/test_sequence_neurons.py",
    "CubaLI": "tests/neurons/test_nir_members.py",
    "I": "tests/neurons/test_nir_members.py",
    "LI": "tests/neurons/test_nir_members.py",
    "LinearLeaky": "tests/neurons/test_sequence_neurons.py",
    "SConv2dLSTM": "tests/neurons/test_lstm_rules.py",
}
"""Where the chunks of the neurons are tested that take another input or do not fire."""


def test_every_neuron_is_here():
    from snnax import neurons

    classes = {n for n in neurons.__all__ if isinstance(getattr(neurons, n), type)}
    spiking = {n for n in classes if issubclass(getattr(neurons, n), neurons.SpikingNeuron)} - {
        "SpikingNeuron"
    }
    assert spiking == {name.partition(",")[0] for name in NEURONS} | set(ELSEWHERE)


@pytest.mark.parametrize("name", NEURONS)
def test_every_neuron_runs_as_step_by_step(name):
    net = snn.Sequential([nn.Dense(4), NEURONS[name]()])
    x = 2 * eighths((T, B, 4), seed=1)
    variables = start(net, x[0])
    y, after = stepwise(net, variables, x)
    assert fires(y)
    ours, updates = snn.unroll(net, variables, x, chunk=3)
    # a step and a loop are two programs: where the processor fuses products and sums, they may not do so alike
    assert_same(ours, y, rtol=1e-6)
    assert_same(updates["hidden"], after["hidden"], rtol=1e-6)
