"""A neuron from one function: at most 12 lines, and the rest is as with every neuron."""

from __future__ import annotations

import pickle

import flax.linen as nn
import jax
import jax.numpy as jnp
import numpy as np
import pytest

import snnax as snn
from snnax import interop
from snnax.errors import ArgumentError
from snnax.interop.compare import compare
from snnax.interop.crossvalidation import FlaxSide
from snnax.interop.families import registry

T, B, N = 12, 2, 4
# sixteenths: the sums and products of these steps are exact, so that no order of them rounds another way
X = np.random.default_rng(0).integers(-8, 32, (T, B, N)).astype(np.float32) / 16
SOURCE = """
def tiring(x, v, tired, mem, *, reset, spk, beta, rise):
    v = reset(beta * v + x)
    tired = 0.5 * tired + rise * spk
    return v, tired, v - tired

Tiring = snn.neuron(
    tiring,
    states={"v": 0.0, "tired": 0.5, "mem": 0.25},
    parameters={"beta": 0.5, "rise": 0.25},
)
"""
exec(SOURCE)
Tiring = globals()["Tiring"]
tiring = globals()["tiring"]


def leaky(x, mem, *, reset, beta):
    return reset(beta * mem + x)


def late(x, mem, *, spk, threshold, beta):
    return beta * mem + x - spk * threshold


Mine = snn.neuron(leaky, {"mem": 0.0}, {"beta": 0.5}, name="Mine")
Late = snn.neuron(late, {"mem": 0.0}, {"beta": 0.5})


def by_hand(x, reset="subtract", threshold=1.0):
    """The steps of ``tiring`` in NumPy, in double precision."""
    v, tired, mem = np.zeros((B, N)), np.full((B, N), 0.5), np.full((B, N), 0.25)
    rows = []
    for x_t in x.astype(np.float64):
        spk = (mem > threshold).astype(float)
        v = 0.5 * v + x_t
        v = {"subtract": v - spk * threshold, "zero": v * (1 - spk), "none": v}[reset]
        tired = 0.5 * tired + 0.25 * spk
        mem = v - tired
        rows.append(((mem > threshold).astype(float), v, tired, mem))
    return [np.stack(each) for each in zip(*rows, strict=True)]


def unrolled(neuron, x=X, variables=None):
    return snn.unroll(neuron, variables or {}, jnp.asarray(x))[0]


def test_it_takes_at_most_12_lines():
    assert len(SOURCE.strip().splitlines()) <= 12


@pytest.mark.parametrize("reset", ["subtract", "zero", "none"])
def test_it_computes_its_step_from_where_its_states_start(reset):
    expected = by_hand(X, reset)
    assert 0 < expected[0].mean() < 1
    kept = Tiring(reset_mechanism=reset, init_hidden=True, output=True)
    assert kept.takes_steps()
    explicit, states = Tiring(reset_mechanism=reset), (None,) * 3
    rows = []
    for x_t in X:
        out = explicit.apply({}, x_t, *states)
        states = out[1:]
        rows.append(out)
    for i, wanted in enumerate(expected):
        np.testing.assert_array_equal(unrolled(kept)[i], wanted)
        np.testing.assert_array_equal(np.stack([out[i] for out in rows]), wanted)


ENDS = {
    "a container": lambda lif: snn.Sequential([lif]),
    "one of flax": lambda lif: nn.Sequential([lif]),
    "alone": lambda lif: lif,
}


@pytest.mark.parametrize("where", ENDS)
def test_states_start_there_wherever_it_runs(where):
    net, spk = ENDS[where](Tiring(init_hidden=True)), by_hand(X)[0]
    variables = net.init(jax.random.key(0), X[0])
    assert sorted({float(v.max()) for v in jax.tree.leaves(variables["hidden"])}) == [0.0, 0.25, 0.5]
    for given in ({}, variables):
        np.testing.assert_array_equal(snn.unroll(net, given, X)[0], spk)
    _, updates = snn.unroll(net, {}, X)
    np.testing.assert_array_equal(snn.unroll(net, snn.utils.reset(updates), X)[0], spk)
    cell = nn.RNN(snn.SpikingCell(net), time_major=True)
    np.testing.assert_array_equal(cell.apply(cell.init(jax.random.key(0), X), X), spk)
    module = snn.nnx.Network(net, jnp.asarray(X[0]), variables={})
    for _ in range(2):
        np.testing.assert_array_equal(module.unroll(X), spk)
        module.reset()


def test_the_states_to_start_from_as_in_snntorch():
    assert [float(s) for s in Tiring().reset_mem()] == [0.0, 0.5, 0.25]
    spk, *_ = Tiring()(X[0], *Tiring().reset_mem())
    np.testing.assert_array_equal(spk, by_hand(X)[0][0])


@pytest.mark.parametrize("kind", [Mine, Late])
def test_a_leaky_neuron_of_ones_own_is_leaky_to_the_last_bit(kind):
    x = jnp.asarray(np.random.default_rng(1).uniform(-0.5, 1.5, (T, B, N)), jnp.float32)
    options = {"init_hidden": True, "output": True, "spike_grad": snn.surrogate.fast_sigmoid(5.0)}
    sides = [(snn.Leaky(0.5, learn_beta=True, **options)), kind(learn="beta", **options)]

    @jax.jit
    def run(params, x):
        found = []
        for net in sides:
            found.append(snn.unroll(net, {"params": params}, x)[0])
            loss = jax.grad(lambda p, x, net=net: snn.unroll(net, {"params": p}, x)[0][0].sum(), (0, 1))
            found[-1] = (found[-1], loss(params, x))
        return found

    one, other = run({"beta": jnp.float32(0.75)}, x)
    jax.tree.map(np.testing.assert_array_equal, one[0], other[0])
    jax.tree.map(lambda a, b: np.testing.assert_allclose(a, b, rtol=1e-5), one[1], other[1])
    assert 0 < one[0][0].mean() < 1 and float(jnp.abs(one[1][0]["beta"])) > 0


def test_a_step_without_reset_hears_of_no_spike_if_there_is_none():
    _, mem = unrolled(Late(reset_mechanism="none", init_hidden=True, output=True))
    np.testing.assert_array_equal(
        mem, unrolled(Mine(reset_mechanism="none", init_hidden=True, output=True))[1]
    )
    with pytest.raises(
        ArgumentError, match=r"Late\(reset_mechanism='zero'\); expected one of subtract, none"
    ):
        Late(reset_mechanism="zero")


class Wide(FlaxSide):
    """Runs in float64."""

    def run(self, x):
        return super().run(x.astype(np.float64))

    def replay(self, x, forced):
        return super().replay(x.astype(np.float64), forced)


def side(kind, label, cls=FlaxSide, **options):
    rng = np.random.default_rng(2)
    model = snn.Sequential([nn.Dense(24), kind(init_hidden=True, **options)])
    kernel = (rng.integers(-3, 6, (30, 24)) * 0.1).astype(np.float32)
    return cls(model, {"params": {"layers_0": {"kernel": kernel, "bias": np.zeros(24, np.float32)}}}, label)


SPIKES = np.random.default_rng(3).integers(0, 2, (40, 6, 30)).astype(np.float32)
Rested = snn.neuron(tiring, {"v": 0.0, "tired": 0.0, "mem": 0.0}, {"beta": 0.5, "rise": 0.25}, name="Rested")


def test_rounding_is_told_from_a_wrong_number_and_a_wrong_start():
    report = compare(side(Tiring, "A", Wide, beta=0.6), side(Tiring, "B", beta=0.6), SPIKES)
    assert report.agree and report.layers[0].spikes > 100 and not report.unexplained, report
    wrong = compare(side(Tiring, "A", beta=0.6), side(Tiring, "B", beta=0.61), SPIKES)
    assert not wrong.agree and wrong.first.first.step < 20
    assert not compare(side(Tiring, "A"), side(Rested, "B"), SPIKES).agree


def test_it_comes_back_from_a_file(monkeypatch, tmp_path):
    monkeypatch.setattr(registry, "_registered", lambda table={}: table)
    interop.register_neuron(Tiring)
    net = snn.Sequential([nn.Dense(N), Tiring(beta=[0.25, 0.5, 0.75, 0.5], learn="rise", init_hidden=True)])
    variables = net.init(jax.random.key(0), X[0])
    path = tmp_path / "own.nir"
    interop.write_nir(path, interop.to_nir(net, variables, X[0]), extensions=True)
    again = interop.from_nir(path)
    assert type(again[0].nodes[-1][1]) is Tiring
    assert interop.crossvalidate((net, variables), again, X).agree


def test_it_is_pickled_and_hashed_as_every_neuron():
    lif = Tiring(beta=[0.25, 0.5, 0.75, 0.5])
    assert pickle.loads(pickle.dumps(lif)) == lif and hash(lif) == hash(Tiring(beta=[0.25, 0.5, 0.75, 0.5]))
    assert Tiring.__name__ == "Tiring" and repr(lif).startswith("Tiring(")


MEM = {"mem": 0.0}
WRONG = {
    "not its states": (
        lambda x, v: v,
        MEM,
        {},
        r"arguments \(x, v\); expected .* def step\(x, mem, \*, reset\)",
    ),
    "no input": (lambda: 0, MEM, {}, r"expected the input and then the states"),
    "by name only": (lambda x, *, mem: mem, MEM, {}, r"expected the input and then the states"),
    "unknown": (
        lambda x, mem, gain: mem,
        MEM,
        {},
        r"takes gain, which it would not get: .* spk, reset, threshold",
    ),
    "any number of them": (lambda x, mem, **rest: mem, MEM, {}, r"takes \*\*rest, which it would not get"),
    "a number not taken": (lambda x, mem: mem, MEM, {"beta": 0.5}, "step does not take beta"),
    "no function": (3, MEM, {}, r"neuron\(step=3\); expected a function"),
    "unreadable": (print, MEM, {}, r"neuron\(step="),
    "no states": (leaky, {}, {}, r"neuron\(states=\{\}.*one number for each state"),
    "an array": (leaky, {"mem": [0.0, 1.0]}, {}, r"one number for each state"),
    "not finite": (leaky, {"mem": np.nan}, {}, r"finite numbers"),
    "both": (lambda x, mem: mem, MEM, MEM, r"\['mem'\] are states"),
    "a name of ours": (lambda x, spk: x, {"spk": 0.0}, {}, r"'spk' means something else"),
    "an attribute": (lambda x, mem, learn: x, MEM, {"learn": 0.0}, r"'learn' means something else"),
    "no name": (lambda x, mem: x, MEM, {}, r"neuron\(name='<lambda>'\); expected a name"),
}


@pytest.mark.parametrize("case", WRONG)
def test_what_does_not_fit_is_refused_in_words(case):
    step, states, parameters, words = WRONG[case]
    with pytest.raises(ArgumentError, match=words):
        snn.neuron(step, states, parameters)


def test_what_is_not_its_states_is_refused():
    kind = snn.neuron(lambda x, mem, v: mem, {"mem": 0.0, "v": 0.0}, name="Short")
    with pytest.raises(ArgumentError, match=r"Short: step returned .* a tuple of the states \(mem, v\)"):
        kind().apply({}, X[0])


@pytest.mark.parametrize(
    "level",
    [lambda v: v.sum(), lambda v: v > 1, lambda v: None, lambda v: v[:1]],
    ids=["sum", "bool", "none", "one"],
)
def test_what_is_no_level_is_refused(level):
    kind = snn.neuron(lambda x, v: x + v, {"v": 0.0}, name="Level", level=level)
    with pytest.raises(ArgumentError, match=r"Level: level returned .* one number for each neuron"):
        kind().apply({}, X[0])


def resetting(x, u, v, *, spk):
    v, u = jnp.where(spk > 0, -0.25, v), u + 0.5 * spk
    return 0.5 * u + 0.25 * v, 0.5 * v - u + x


def test_a_reset_of_ones_own_fires_as_snntorchs_neuron_from_equations():
    """There ``reset_fn`` sets states back in the step of the spike; here ``step`` begins with it: the same spikes."""
    u, v, fired = np.zeros((B, N)), np.full((B, N), -0.5), []
    for x_t in X.astype(np.float64):
        u, v = 0.5 * u + 0.25 * v, 0.5 * v - u + x_t
        spk = v > 1.0
        u, v = np.where(spk, u + 0.5, u), np.where(spk, -0.25, v)
        fired.append(spk)
    assert 0.1 < np.mean(fired) < 0.9
    kind = snn.neuron(resetting, {"u": 0.0, "v": -0.5}, name="Resetting")
    spk = unrolled(kind(init_hidden=True))
    np.testing.assert_array_equal(spk, np.stack(fired))
