"""Refractory times: against their equations in NumPy and against Norse's cell; of 0 steps, as the neuron without."""

import copy
import dataclasses
import pickle

import flax.linen as nn
import jax
import jax.numpy as jnp
import numpy as np
import pytest

import snnax as snn
from snnax import interop
from snnax.dynamics.firing import discharge
from snnax.errors import ArgumentError
from snnax.neurons.own import is_own

T, B, N = 40, 2, 3
X = np.random.default_rng(0).uniform(0, 1.3, (T, B, N)).astype(np.float32)
KEPT = {"init_hidden": True, "output": True}
STEPS = np.array([0, 2, 3])


def own(x, mem, *, reset, beta):
    return reset(beta * mem + x)


Own = snn.neuron(own, {"mem": 0.0}, {"beta": 0.7})


def by_hand(x, beta, reset):
    """Spikes of refractory leaky neurons, in double precision."""
    mem, left, out = np.zeros((B, N)), np.zeros((B, N)), []
    for x_t in x.astype(np.float64):
        fired = (mem > 1) & (left == 0)
        left = np.where(fired, STEPS, np.maximum(left - 1, 0))
        after = np.where(fired, 0 if reset == "zero" else mem - 1, mem)
        charged = beta * after + x_t if reset == "zero" else beta * mem + x_t - fired
        mem = np.where(left > 0, np.minimum(after, 1), charged)
        out.append((mem > 1) & (left == 0))
    return np.stack(out)


@pytest.mark.parametrize("reset", ["zero", "subtract"])
def test_it_is_its_equations(reset):
    x = 1.5 * X  # so that what is left after a reset may be above the threshold
    lif = snn.refractory(snn.Leaky)(beta=0.75, refractory=STEPS, reset_mechanism=reset, **KEPT)
    spk, rest, mem = snn.unroll(lif, {}, x)[0]
    assert np.array_equal(spk, by_hand(x, 0.75, reset)) and float(mem[..., 1:].max()) > 1
    assert not np.any(np.asarray(spk)[np.asarray(rest) > 0]) and set(np.unique(rest)) == {0, 1, 2, 3}
    for neuron, steps in enumerate(STEPS):
        for sample in range(B):
            assert np.diff(np.flatnonzero(spk[:, sample, neuron])).min() >= steps + 1
    alone, states = [], (None, None)
    plain = snn.refractory(snn.Leaky)(beta=0.75, refractory=STEPS, reset_mechanism=reset)
    for x_t in x:
        s, *states = plain.apply({}, x_t, *states)
        alone.append(s)
    assert np.array_equal(np.stack(alone), spk)


@pytest.mark.parametrize(
    ("kind", "given", "same"),
    [
        (snn.Leaky, {"beta": 0.7}, snn.Leaky(0.7, **KEPT)),
        (snn.Synaptic, {"alpha": 0.5, "beta": 0.7}, snn.Synaptic(0.5, 0.7, **KEPT)),
        (snn.ALIF, {}, snn.ALIF(**KEPT)),
        (Own, {}, Own(**KEPT)),
    ],
    ids=["Leaky", "Synaptic", "ALIF", "own"],
)
def test_without_a_refractory_time_it_is_the_neuron(kind, given, same):
    found, _ = snn.unroll(snn.refractory(kind)(refractory=0, **given, **KEPT), {}, X)
    wanted, _ = snn.unroll(same, {}, X)
    assert wanted[0].sum() > 20
    for ours, theirs in zip((found[0], *found[2:]), wanted, strict=True):
        assert np.array_equal(ours, theirs)


def test_it_is_norses_cell():
    torch = pytest.importorskip("torch")
    norse = pytest.importorskip("norse.torch")
    p = norse.LIFRefracParameters(rho_reset=torch.tensor(4.0))
    cell, state, spikes = norse.LIFRefracCell(p, dt=1e-3), None, []
    x = np.random.default_rng(1).uniform(0, 1, (200, 4, 5))
    for x_t in torch.as_tensor(x):
        z, state = cell(x_t, state)
        spikes.append(z.detach().numpy())
    decay = {name: 1e-3 * float(getattr(p.lif, f"tau_{name}_inv")) for name in ("syn", "mem")}
    lif = snn.refractory(snn.Synaptic)(
        alpha=1 - decay["syn"], beta=1 - decay["mem"], refractory=4, reset_mechanism="zero", init_hidden=True
    )
    with jax.enable_x64(True):
        spk = np.asarray(snn.unroll(lif, {}, decay["mem"] * x)[0])
    assert np.array_equal(spk, np.stack(spikes)) and 300 < spk.sum() < spk.size / 5 + 1


@pytest.mark.parametrize("kind", [snn.TwoDecayLIF, snn.AdEx, snn.ResonateFire, snn.ALIF])
def test_it_has_the_defaults_of_its_neuron(kind):
    """Threshold and reset among them, which every neuron has."""
    plain, resting = kind(), snn.refractory(kind)()
    names = [f.name for f in dataclasses.fields(kind) if f.name not in ("parent", "name", "reset_delay")]
    assert "reset_mechanism" in names
    assert [getattr(resting, n) for n in names] == [getattr(plain, n) for n in names]
    assert resting.reset_delay is True and "reset_delay" not in {f.name for f in dataclasses.fields(resting)}


def test_an_adapting_membrane_is_held_where_its_own_reset_leaves_it():
    lif = snn.refractory(snn.ALIF)(beta=1.0, rho=0.5, strength=0.5, refractory=2, **KEPT)
    x = jnp.array([1.5, 0.0, 0.0, 1.5, 0.0, 0.0]).reshape(6, 1, 1)
    spk, _, b, mem = snn.unroll(lif, {}, x)[0]
    assert spk.ravel().tolist() == [1, 0, 0, 1, 0, 0] and float(b[3, 0, 0]) == 0.125
    assert mem.ravel().tolist() == [1.5, 0.5, 0.5, 2.0, 2.0 - 1.0625, 2.0 - 1.0625]


@pytest.mark.parametrize("kind", [snn.Leaky, snn.ALIF])
def test_it_is_pickled_as_its_neuron_is(kind):
    given = {"beta": 0.75, "refractory": STEPS, **KEPT}
    net = snn.Sequential([snn.refractory(kind)(**given)])
    again = pickle.loads(pickle.dumps(net))
    assert again == net and hash(again) == hash(net) and copy.deepcopy(net) == net


def test_states_of_16_bits_count_only_so_far():
    """At 600 bfloat16 has only every fourth number, so that a neuron would never wake up."""
    kind, x = snn.refractory(snn.Leaky), jnp.full((600, 1, 1), 2.0)
    lif = kind(beta=0.5, refractory=256, state_dtype=jnp.bfloat16, init_hidden=True)
    assert np.flatnonzero(np.float32(snn.unroll(lif, {}, x)[0])).tolist() == [0, 257, 514]
    with pytest.raises(
        ArgumentError, match=r"refractory=257, .* bfloat16, .* 256 steps .*state_dtype=jnp.float32"
    ):
        kind(beta=0.5, refractory=257, state_dtype=jnp.bfloat16).apply({}, x[0])


@pytest.mark.parametrize("first", [1.75, 4.0])
def test_silent_steps_have_no_gradient(first):
    """Not of a membrane that is held below the threshold, nor at it, where the surrogate's slope is the largest."""
    lif = snn.refractory(snn.Leaky)(beta=0.5, refractory=2, init_hidden=True)
    x = jnp.array([first, 0.0, 0.0, 0.0]).reshape(4, 1, 1)
    slopes = jax.jacrev(lambda x: snn.unroll(lif, {}, x)[0].ravel())(x)[:, :, 0, 0]
    assert snn.unroll(lif, {}, x)[0].ravel().tolist() == [1, 0, 0, 0]
    assert not slopes[1:3].any() and slopes[0, 0] > 0 and slopes[3, 3] > 0


def test_it_trains_and_is_cross_validated_through_nir():
    kind = interop.register_neuron(snn.refractory(snn.Synaptic))
    assert kind is snn.refractory(snn.Synaptic)
    lif = kind(alpha=0.5, beta=0.7, refractory=2, reset_mechanism="zero", learn=("beta",), init_hidden=True)
    net = snn.Sequential([nn.Dense(4), lif])
    variables = {c: v for c, v in net.init(jax.random.key(0), X[0]).items() if c != "hidden"}
    variables["params"]["layers_0"]["kernel"] = jnp.abs(variables["params"]["layers_0"]["kernel"])

    def loss(params):
        return snn.unroll(net, {**variables, "params": params}, X)[0].mean()

    slopes = jax.grad(loss)(variables["params"])
    assert float(abs(slopes["layers_1"]["beta"])) > 0 and bool(
        jnp.isfinite(slopes["layers_0"]["kernel"]).all()
    )
    read = interop.from_nir(interop.to_nir(net, variables, X[0]))
    assert type(read[0].members()["1"]) is kind
    report = interop.crossvalidate((net, variables), read, X)
    assert report.agree and report.layers[0].spikes > 10, report


class Deep(snn.neurons.CustomNeuron):
    """A spike takes away twice the threshold."""

    beta: float = 0.5
    state_names = ("mem",)
    parameter_names = ("beta",)

    @staticmethod
    def charge(state, flag, x, rule, beta):
        return (beta * Deep.after_reset(state, flag, rule, beta) + x,)

    @staticmethod
    def after_reset(state, flag, rule, beta):
        return discharge(state[-1], 2 * flag, rule)


def test_a_membrane_is_held_where_the_reset_of_an_own_class_leaves_it():
    net = snn.refractory(Deep)(refractory=2, init_hidden=True, output=True)
    (spk, *_, mem), _ = snn.unroll(net, {}, jnp.full((4, 1, 1), 1.25))
    assert spk.ravel().tolist() == [1, 0, 0, 0]
    assert mem.ravel().tolist() == [1.25, -0.75, -0.75, 0.875]
    assert not is_own(Deep()) and not is_own(net)  # no state of theirs is unknown


Leaky = snn.refractory(snn.Leaky)


def no_reset(x, mem, *, beta):
    return beta * mem + x


def resting(x, rest, mem, *, reset):
    return rest, reset(mem + x)


@pytest.mark.parametrize(
    ("build", "words"),
    [
        (lambda: snn.refractory(snn.Leaky(0.5)), "a class of neurons"),
        (lambda: snn.refractory(nn.Dense), "a class of neurons"),
        (lambda: snn.refractory(snn.Izhikevich), "resets as it likes"),
        (lambda: snn.refractory(snn.neuron(no_reset, {"mem": 0.0}, {"beta": 0.5})), "resets as it likes"),
        (
            lambda: snn.refractory(snn.neuron(resting, {"rest": 0.0, "mem": 0.0})),
            r"\['rest'\] means something else",
        ),
        (lambda: snn.refractory(Leaky), "means something else"),
        (lambda: Leaky(beta=0.5, refractory=1.5), "whole numbers of steps"),
        (lambda: Leaky(beta=0.5, refractory=-1), "whole numbers of steps"),
        (lambda: Leaky(beta=0.5, learn=("refractory",)), "which has no gradient"),
        (lambda: Leaky(beta=0.5, state_quant=lambda x: x), "would round the steps"),
    ],
)
def test_refusals(build, words):
    with pytest.raises(ArgumentError, match=words):
        build()
