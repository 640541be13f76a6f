"""Calls outside of ``jit`` run compiled programs wherever nobody can tell, and only there."""

from __future__ import annotations

import copy
import pickle

import flax.linen as nn
import jax
import jax.numpy as jnp
import numpy as np
import pytest
from flax.core import freeze

import snnax as snn
from snnax.eager import kept, run
from snnax.errors import ArgumentError, SnnaxError, StateError

X = jnp.asarray(np.random.default_rng(0).uniform(0, 2, (3, 4)), jnp.float32)


def net(*more, **leaky):
    return snn.Sequential(nn.Dense(4), *more, snn.Leaky(0.5, init_hidden=True, output=True, **leaky))


def plain(module, variables, *args, **options):
    """The call itself."""
    return nn.Module.apply(module, variables, *args, **options)


def is_compiled(module, variables=None, *args, **options):
    return run(module, variables or {}, args or (X,), **options) is not NotImplemented


def same(ours, theirs):
    assert jax.tree.structure(ours) == jax.tree.structure(theirs)
    for a, b in zip(jax.tree.leaves(ours), jax.tree.leaves(theirs), strict=True):
        assert a.dtype == b.dtype and a.weak_type == b.weak_type
        np.testing.assert_allclose(a, b, rtol=1e-6)


@pytest.mark.parametrize(
    "x", [X, np.asarray(X), X.astype(jnp.bfloat16), 0.75, np.float32(2), np.ones((2, 1))]
)
@pytest.mark.parametrize("mem", [None, jnp.ones(1), 0.25])
def test_a_neuron_returns_what_its_call_does(x, mem):
    lif = snn.Leaky(0.5)
    assert is_compiled(lif, {}, x, mem)
    same(lif(x, mem), plain(lif, {}, x, mem))


@pytest.mark.parametrize(
    "options", [{"mutable": ["hidden"]}, {"mutable": "hidden"}, {"mutable": ("hidden", "record")}]
)
@pytest.mark.parametrize("frozen", [dict, freeze])
def test_a_network_returns_what_its_call_does(options, frozen):
    network = net(nn.Dropout(0.5, deterministic=False))
    variables = frozen(network.init(jax.random.key(0), X))
    options = {**options, "rngs": {"dropout": jax.random.key(1)}}
    assert is_compiled(network, variables, X, **options)
    same(network.apply(variables, X, **options), plain(network, variables, X, **options))


def test_equal_modules_share_a_program_and_modules_that_share_their_parts_do_not():
    one = snn.Scale(0.5, learn_scale=True)
    twice, apart = snn.Sequential(one, one), snn.Sequential(one, snn.Scale(0.5, learn_scale=True))
    assert twice == apart
    for network in (twice, apart):
        variables = jax.tree.map(lambda v: v + 1, network.init(jax.random.key(0), X))
        same(network.apply(variables, X), plain(network, variables, X))
    first, second = (kept(snn.Leaky(0.5)).program(False) for _ in range(2))
    assert first is second


def test_what_the_user_wrote_runs_as_python_each_time():
    calls = []

    class Own(nn.Module):
        @nn.compact
        def __call__(self, x):
            calls.append(1)
            return x

    def slope(x, g, spikes):
        return g

    def rounded(mem):
        calls.append(1)
        return jnp.round(mem)

    network = snn.Sequential(Own(), snn.Leaky(0.5, init_hidden=True))
    for _ in range(3):
        network.apply({}, X, mutable=["hidden"])
    assert len(calls) == 3
    for _ in range(3):
        snn.Leaky(0.5, state_quant=rounded)(X)
    assert len(calls) > 5
    assert not is_compiled(snn.Leaky(0.5, spike_grad=snn.surrogate.custom_surrogate(slope)))
    assert list(net().apply({}, method=snn.Sequential.members)) == ["layers_0", "layers_1"]


def test_interceptors_and_traced_values_are_left_to_the_call():
    seen = []

    def watch(following, args, kwargs, context):
        seen.append(context.method_name)
        return following(*args, **kwargs)

    lif = snn.Leaky(0.5)
    for _ in range(2):
        with nn.intercept_methods(watch):
            lif(X)
    assert seen.count("__call__") == 2
    jax.jit(lambda x: seen.append(is_compiled(lif, {}, x)))(X)
    assert seen[-1] is False


def test_errors_are_those_of_the_call():
    network = net()
    variables = network.init(jax.random.key(0), X)
    for call in (
        lambda: network.apply(variables, X[:2], mutable=["hidden"]),
        lambda: network.apply(variables, X),
    ):
        with pytest.raises(StateError, match="'hidden'") as caught:
            call()
        assert isinstance(caught.value, SnnaxError)


def test_a_step_that_has_no_statistics_is_still_refused():
    bn = snn.BatchNormTT1d(4, time_steps=1, use_running_average=True)
    variables = bn.init(jax.random.key(0), X)
    _, updates = bn.apply(variables, X, mutable=["hidden"])
    with pytest.raises(SnnaxError, match="step 1"):
        bn.apply({**variables, **updates}, X, mutable=["hidden"])


def test_gradients_of_a_loop_in_python_are_those_of_unroll():
    x = jnp.stack([X, 2 * X, X])
    network = net()
    variables = network.init(jax.random.key(0), X)

    def looped(params):
        state, total = {**variables, "params": params}, 0.0
        for frame in x:
            (spk, _), updates = network.apply(state, frame, mutable=["hidden"])
            state, total = {**state, **updates}, total + spk.sum()
        return total

    def unrolled(params):
        return snn.unroll(network, {**variables, "params": params}, x)[0][0].sum()

    ours, theirs = jax.grad(looped)(variables["params"]), jax.grad(unrolled)(variables["params"])
    jax.tree.map(lambda a, b: np.testing.assert_allclose(a, b, rtol=1e-5), ours, theirs)


RUNNERS = {
    "apply": lambda network, variables, x: network.apply(variables, x, mutable=["hidden"])[0][1],
    "step": lambda network, variables, x: snn.step(network, variables, x)[0][1],
    "unroll": lambda network, variables, x: snn.unroll(network, variables, x[None])[0][1][0],
}


@pytest.mark.parametrize("run", RUNNERS)
@pytest.mark.parametrize(
    ("place", "name", "value"),
    [(0, "use_bias", False), (1, "reset_mechanism", "none"), (1, "threshold", 0.1)],
)
def test_a_field_that_is_assigned_counts_from_the_next_call(run, place, name, value):
    """Flax allows it, and a program is kept for a module: of what it was."""
    dense = nn.Dense(4, bias_init=nn.initializers.constant(0.25))
    network = snn.Sequential(dense, snn.Leaky(0.5, init_hidden=True, output=True))
    variables = network.init(jax.random.key(0), X)
    variables["hidden"]["layers_1"]["mem"] += 1.5
    before = RUNNERS[run](network, variables, X)
    setattr(network.layers[place], name, value)
    after = RUNNERS[run](network, variables, X)
    same(after, plain(network, variables, X, mutable=["hidden"])[0][1])
    assert np.abs(after - before).max() > 0.1
    again = snn.Sequential(
        nn.Dense(4, bias_init=dense.bias_init), snn.Leaky(0.5, init_hidden=True, output=True)
    )
    same(RUNNERS[run](again, variables, X), before)  # not the program of what the other one has become


@pytest.mark.parametrize("run", RUNNERS)
def test_numbers_of_numpy_that_float32_takes_for_infinity_are_refused(run):
    network = net()
    variables = jax.tree.map(lambda v: np.array(v, np.float64), network.init(jax.random.key(0), X))
    RUNNERS[run](network, variables, X)
    variables["params"]["layers_0"]["kernel"][0, 0] = 1e300
    with pytest.raises(ArgumentError, match=r"variables=\.\.\.\) holds 1e\+300"):
        RUNNERS[run](network, variables, X)


def test_arrays_in_the_order_of_bytes_of_other_machines():
    lif = snn.Leaky(np.full(4, 0.5, ">f8"), threshold=np.ones(4, ">f4"))
    x = np.asarray(X)
    variables = lif.init(jax.random.key(0), x.astype(">f4"))
    same(lif.apply(variables, x.astype(">f8")), lif.apply(variables, x))
    assert lif.apply(variables, x.astype(">i2"))[0].shape == x.shape


def test_programs_do_not_go_with_copies_and_files():
    lif = snn.Leaky(0.5)
    before = lif(X)[1]
    for twin in (copy.copy(lif), copy.deepcopy(lif), pickle.loads(pickle.dumps(lif))):
        assert twin == lif
        twin.beta = 0.25
        np.testing.assert_array_equal(twin(X, jnp.ones_like(X))[1], plain(twin, {}, X, jnp.ones_like(X))[1])
    np.testing.assert_array_equal(lif(X)[1], before)


def test_a_module_with_a_field_that_was_assigned_has_its_programs_again():
    lif = snn.Leaky(0.5)
    lif(X)
    lif.threshold = 0.25
    lif(X)
    first = kept(lif).program(False)
    lif(X)
    assert kept(lif).program(False) is first
