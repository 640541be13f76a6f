"""Laws that every neuron obeys: one table of neurons, no torch."""

from __future__ import annotations

import copy
import pickle
from functools import partial
from typing import Any

import flax.linen as nn
import flax.serialization
import jax
import jax.numpy as jnp
import numpy as np
import pytest
from helpers import neurons as twin

from snnax import surrogate
from snnax.dynamics import alpha, lapicque, leaky, synaptic
from snnax.dynamics.firing import FiringRule
from snnax.errors import HiddenStateTypeError, ShapeError, StateError

every = pytest.mark.parametrize("kind", twin.STATES)
ALONE = [k for k in twin.STATES if not k.startswith("R")]
LEARNED: dict[str, dict[str, Any]] = {
    "Leaky": {"learn_beta": True, "learn_graded_spikes_factor": True, "learn_threshold": True},
    "Synaptic": {"learn_alpha": True, "learn_beta": True},
    "Alpha": {"learn_alpha": True, "learn_beta": True},
    "Lapicque": {"R": False, "C": False, "beta": 0.7, "learn_beta": True, "threshold": 0.1},
    "RLeaky": {"all_to_all": True, "linear_features": 4},
    "RSynaptic": {"all_to_all": True, "linear_features": 4, "learn_recurrent": False},
}


def steps(t: int = 5, dtype: Any = np.float32) -> jax.Array:
    return jnp.asarray(twin.current((t, 3, 4), seed=5), dtype)


def eager(module: Any, variables: Any, x: jax.Array) -> dict[str, jax.Array]:
    """What ``scan`` does, without any compilation of the whole."""
    with jax.disable_jit():
        return twin.scan((module,), variables, x)[0]


def keeping(module: Any, variables: Any, x: jax.Array) -> tuple[list[Any], Any]:
    """A neuron with ``init_hidden``, called step by step; its outputs and last variables."""
    outputs = []
    for frame in x:
        out, updates = module.apply(variables, frame, mutable=["hidden"])
        variables = {**variables, **updates}
        outputs.append(out)
    return outputs, variables


@every
def test_compiled_is_eager_to_the_last_bit(kind):
    module, x = twin.build(kind), steps()
    variables = twin.weights(module, x[0])
    compiled = twin.scan((module,), variables, x)[0]
    for name, value in eager(module, variables, x).items():
        assert np.array_equal(value, compiled[name]), name


@every
def test_one_call_compiled_with_its_variables_inside_is_the_same(kind):
    """Constants that the compiler may fold give no other result than variables."""
    module, x = twin.build(kind, **LEARNED[kind]), steps()
    variables = twin.weights(module, x[0])
    states = tuple(0.3 * x[1] for _ in module.state_names)
    folded = jax.jit(lambda frame, s: module.apply(variables, frame, *s))(x[0], states)
    passed = jax.jit(lambda v, frame, s: module.apply(v, frame, *s))(variables, x[0], states)
    for ours, theirs in zip(folded, passed, strict=True):
        if kind in ("Alpha", "Lapicque"):  # XLA folds a logarithm with another routine than it runs
            np.testing.assert_allclose(ours, theirs, rtol=1e-6)
        else:
            assert np.array_equal(ours, theirs)


def test_the_logarithm_of_a_fixed_value_is_the_same_compiled_and_eager():
    x = jnp.ones((1, 1))
    decays = np.random.default_rng(0).uniform(0.1, 0.9, 40).tolist()
    neurons = [*(twin.snn.Lapicque(beta=b) for b in decays), *(twin.snn.Alpha(b + 0.05, b) for b in decays)]

    def membranes(current: jax.Array) -> list[jax.Array]:
        return [lif.apply({}, current, *(current,) * len(lif.state_names))[-1] for lif in neurons]

    assert np.array_equal(membranes(x), jax.jit(membranes)(x))


@every
def test_vmap_over_the_batch_is_the_batch(kind):
    module, x = twin.build(kind), steps()
    variables = twin.weights(module, x[0])
    states = twin.scan((module,), variables, x)[0]
    last = tuple(states[name][-1] for name in module.state_names)
    together = module.apply(variables, x[0], *last)
    apart = jax.vmap(partial(module.apply, variables))(x[0], *last)
    for a, b in zip(together, apart, strict=True):
        assert np.array_equal(a, b)


@every
def test_kept_states_are_explicit_states(kind):
    explicit, x = twin.build(kind), steps()
    variables = twin.weights(explicit, x[0])
    trace = twin.scan((explicit,), variables, x)[0]
    outputs, after = keeping(twin.build(kind, init_hidden=True, output=True), variables, x)
    silent, _ = keeping(twin.build(kind, init_hidden=True), variables, x)
    for t, (spk, *states) in enumerate(outputs):
        assert np.array_equal(spk, trace["spk"][t]) and np.array_equal(silent[t], spk)
        names = [n for n in explicit.state_names if n != "spk"]
        assert len(states) == len(names)
        for name, state in zip(names, states, strict=True):
            np.testing.assert_allclose(state, trace[name][t], rtol=1e-6)
    assert set(after["hidden"]) == set(explicit.state_names)


@every
def test_init_makes_room_for_the_state_but_does_not_advance_it(kind):
    x = 5 * jnp.ones((3, 4))
    hidden = twin.build(kind, init_hidden=True).init(jax.random.key(0), x)["hidden"]
    assert all(np.array_equal(state, np.zeros((3, 4))) for state in hidden.values())
    assert set(hidden) == set(twin.STATES[kind])


@every
def test_init_makes_nothing_but_parameters_and_state(kind):
    assert set(twin.build(kind).init(jax.random.key(0), jnp.ones((3, 4)))) <= {"params", "buffers"}


@pytest.mark.parametrize("dtype", ["float32", "bfloat16", "float64"])
@every
def test_dtype_is_kept(kind, dtype):
    with jax.enable_x64(dtype == "float64"):
        for module in (twin.build(kind), twin.build(kind, **LEARNED[kind])):
            x = steps(dtype=jnp.dtype(dtype))
            variables = twin.weights(module, x[0])
            widest = {"bfloat16": "float32"}.get(dtype, dtype)
            assert all(leaf.dtype == widest for leaf in jax.tree.leaves(variables))
            first = module.apply(variables, x[0])
            states = first if module.state_names[0] == "spk" else first[1:]
            assert all(value.dtype == dtype for value in (*first, *module.apply(variables, x[1], *states)))


@every
def test_integer_input_becomes_float32(kind):
    module = twin.build(kind)
    x = jnp.array([[0, 1, 2, 3]])
    variables = twin.weights(module, x)
    whole, real = module.apply(variables, x), module.apply(variables, x.astype(np.float32))
    for a, b in zip(whole, real, strict=True):
        assert a.dtype == np.float32 and np.array_equal(a, b)


@every
def test_a_python_number_is_rounded_once_to_the_dtype_of_the_input(kind):
    """As snnTorch's 0-d float32 tensor in float32; exact in float64."""
    rounded = {n: float(np.float32(v)) if isinstance(v, float) else v for n, v in twin.SMALL[kind].items()}
    x = steps()
    single = [
        twin.scan((twin.build(kind, **o),), twin.weights(twin.build(kind), x[0]), x)[0] for o in ({}, rounded)
    ]
    assert np.array_equal(single[0]["mem"], single[1]["mem"])


@every
def test_modules_are_hashable_equal_and_copyable(kind):
    arrays = {"threshold": np.full(4, 0.5, np.float32)}
    a, b, c = twin.build(kind, **arrays), twin.build(kind, **arrays), twin.build(kind)
    assert a == b and hash(a) == hash(b) and a != c
    assert copy.deepcopy(a) == a and pickle.loads(pickle.dumps(a)) == a
    assert a.clone(threshold=1.0) == c


@every
def test_forward_mode_and_reverse_mode_agree(kind):
    module, x = twin.build(kind, **LEARNED[kind]), steps()
    variables = twin.weights(module, x[0])

    def loss(v: Any, current: jax.Array) -> jax.Array:
        trace = twin.scan((module,), v, current)[0]
        return sum(jnp.sum(jnp.sin(value)) for value in trace.values())

    direction = jax.tree.map(lambda leaf: jnp.cos(leaf) + 1, (variables, x))
    forward = jax.jvp(loss, (variables, x), direction)[1]
    backward = jax.grad(loss, (0, 1))(variables, x)
    along = sum(jnp.vdot(a, b) for a, b in zip(*map(jax.tree.leaves, (backward, direction)), strict=True))
    np.testing.assert_allclose(forward, along, rtol=2e-4)
    assert float(forward) != 0


@every
def test_variables_survive_serialisation(kind):
    module = twin.build(kind, **LEARNED[kind], init_hidden=True)
    x = steps()
    variables = keeping(module, module.init(jax.random.key(1), x[0]), x)[1]
    blank = jax.tree.map(jnp.zeros_like, variables)
    restored = flax.serialization.from_bytes(blank, flax.serialization.to_bytes(variables))
    assert jax.tree.all(jax.tree.map(np.array_equal, variables, restored))


@every
def test_a_step_is_recorded_if_wanted(kind):
    module, x = twin.build(kind, init_hidden=True), steps()
    variables = module.init(jax.random.key(0), x[0])
    assert "record" not in variables
    spk, updates = module.apply(variables, x[0], mutable=["hidden", "record"])
    record = updates["record"]
    assert set(record) == {"input", "spk", *module.state_names}
    assert np.array_equal(record["input"], x[0]) and np.array_equal(record["spk"], spk)
    assert np.array_equal(record["mem"], updates["hidden"]["mem"])


@every
def test_forced_spikes_replace_what_is_emitted_and_fed_back_but_not_what_is_recorded(kind):
    module, x = twin.build(kind, init_hidden=True), 5 * jnp.ones((3, 4))
    variables = module.init(jax.random.key(0), x)
    own, free = module.apply(variables, x, mutable=["hidden", "record"])
    forced = {"forced": {"spk": 1 - own}}
    spk, updates = module.apply({**variables, **forced}, x, mutable=["hidden", "record"])
    assert np.array_equal(updates["record"]["spk"], own) and np.array_equal(spk, 1 - own)
    assert np.array_equal(updates["hidden"]["mem"], free["hidden"]["mem"])
    if "spk" in module.state_names:
        assert np.array_equal(updates["hidden"]["spk"], 1 - own)


@every
def test_another_batch_size_is_an_error_that_says_what_to_do(kind):
    module = twin.build(kind, init_hidden=True)
    variables = module.init(jax.random.key(0), jnp.ones((3, 4)))
    with pytest.raises(StateError, match=r"has shape \(3, 4\), the input \(2, 4\).*utils.reset"):
        module.apply(variables, jnp.ones((2, 4)), mutable=["hidden"])
    without = {n: v for n, v in variables.items() if n != "hidden"}
    assert module.apply(without, jnp.ones((2, 4)), mutable=["hidden"])[0].shape == (2, 4)


@every
def test_an_explicit_state_of_another_shape_is_an_error(kind):
    module = twin.build(kind)
    variables = twin.weights(module, jnp.ones((3, 4)))
    first = module.state_names[0]
    with pytest.raises(StateError, match=rf"{first}=None to start from zeros"):
        module.apply(variables, jnp.ones((3, 4)), jnp.zeros(4))


@every
def test_passing_a_state_to_a_neuron_that_keeps_its_own_is_an_error(kind):
    module = twin.build(kind, init_hidden=True)
    variables = module.init(jax.random.key(0), jnp.ones((3, 4)))
    with pytest.raises(HiddenStateTypeError, match=r"mem.*init_hidden=False"):
        module.apply(variables, jnp.ones((3, 4)), mem=jnp.zeros((3, 4)), mutable=["hidden"])


def test_forgetting_to_make_the_state_mutable_is_an_error_that_names_the_layer():
    class Net(nn.Module):
        @nn.compact
        def __call__(self, x):
            return twin.snn.Leaky(0.9, init_hidden=True, name="lif1")(x)

    variables = Net().init(jax.random.key(0), jnp.ones((1, 2)))
    with pytest.raises(StateError, match=r"Leaky 'lif1'.*mutable=\['hidden'\]"):
        Net().apply(variables, jnp.ones((1, 2)))


def test_nothing_is_kept_between_calls_with_explicit_states():
    lif, x = twin.snn.Leaky(0.9), jnp.full((1, 2), 0.5)
    assert np.array_equal(lif.apply({}, x)[1], lif.apply({}, x)[1])


def test_a_neuron_used_twice_in_a_step_goes_on_from_its_state():
    class Net(nn.Module):
        @nn.compact
        def __call__(self, x):
            lif = twin.snn.Leaky(0.5, init_hidden=True, output=True, learn_beta=True)
            lif(x)
            return lif(x)[1]

    variables = Net().init(jax.random.key(0), jnp.ones((1, 1)))
    assert Net().apply(variables, jnp.full((1, 1), 0.5), mutable=["hidden"])[0].item() == 0.75


@pytest.mark.parametrize("learn", [False, True])
def test_fixed_arrays_are_buffers_and_learned_ones_parameters(learn):
    lif = twin.snn.Leaky([0.9, 0.8], learn_beta=learn)
    variables = lif.init(jax.random.key(0), jnp.ones((1, 2)))
    assert list(variables) == ["params" if learn else "buffers"]
    assert not twin.snn.Leaky(0.9).init(jax.random.key(0), jnp.ones((1, 2)))


@pytest.mark.parametrize("beta", [0.9, [0.9, 0.8]])
def test_buffers_win_over_the_argument(beta):
    lif, x = twin.snn.Leaky(beta), jnp.zeros((1, 2))
    mem = lif.apply({"buffers": {"beta": jnp.array([0.5, 0.25])}}, x, jnp.ones((1, 2)))[1]
    assert mem.tolist() == [[0.5, 0.25]]


def test_fixed_arrays_need_no_buffers():
    assert twin.snn.Leaky([0.5, 0.25]).apply({}, jnp.zeros((1, 2)), jnp.ones((1, 2)))[1].tolist() == [
        [0.5, 0.25]
    ]


def test_a_stored_capacitance_wins_over_the_one_from_beta():
    lif, x = twin.snn.Lapicque(beta=0.9), jnp.ones((1, 1))
    assert lif.apply({"buffers": {"C": jnp.float32(4.0)}}, x)[1].item() == 0.25


def test_per_channel_parameters_of_images_broadcast_from_the_right():
    lif = twin.snn.Leaky(np.array([0.5, 0.25], np.float32))
    mem = lif.apply({}, jnp.zeros((1, 3, 3, 2)), jnp.ones((1, 3, 3, 2)))[1]
    assert mem[0, 1, 2].tolist() == [0.5, 0.25]


def test_the_reset_of_reset_delay_false_survives_a_factor_of_zero():
    """snnTorch divides 0 by 0 here."""
    lif = twin.snn.Leaky(0.9, graded_spikes_factor=0.0, reset_delay=False)
    spk, mem = lif.apply({}, jnp.full((1, 1), 1.5))
    assert (spk.item(), mem.item()) == (0.0, 0.5)


@pytest.mark.parametrize("shape", [(3,), (2, 3, 4)])
@every
def test_inhibition_needs_a_batch_of_dense_layers(kind, shape):
    module = twin.build(kind, inhibition=True)
    with pytest.raises(ShapeError, match=r"expected \[B, N\]"):
        module.init(jax.random.key(0), jnp.ones(shape))


@every
def test_a_parameter_that_does_not_broadcast_is_an_error(kind):
    with pytest.raises(ShapeError, match=r"threshold has shape \(3,\), the input \(2, 4\)"):
        twin.build(kind, threshold=[1.0, 2.0, 3.0]).init(jax.random.key(0), jnp.ones((2, 4)))


def test_every_neuron_is_in_the_table():
    kinds = {n for n in dir(twin.snn.neurons) if isinstance(getattr(twin.snn.neurons, n), type)}
    assert kinds - {"FrozenArray", "SpikingNeuron"} == set(twin.STATES) == set(twin.SMALL) == set(LEARNED)
    assert all(getattr(twin.snn, k).state_names == names for k, names in twin.STATES.items())


def test_dynamics_are_pure_functions_of_arrays():
    rule = FiringRule(threshold=jnp.float32(1.0), spike=surrogate.atan())
    x, decay = jnp.full((2, 3), 1.5), jnp.float32(0.5)
    stepped = {
        "Leaky": leaky.step((x,), x, decay, rule),
        "RLeaky": leaky.recurrent_step((x,), x, x, decay, rule),
        "Synaptic": synaptic.step((x, x), x, decay, decay, rule),
        "Alpha": alpha.step((x, x, x), x, decay, decay / 2, rule),
        "Lapicque": lapicque.step((x,), x, decay, decay, decay, rule),
    }
    membranes = {kind: state[-1][0, 0].item() for kind, (state, _) in stepped.items()}
    assert membranes == {"Leaky": 1.25, "RLeaky": 2.75, "Synaptic": 2.0, "Alpha": 3.75, "Lapicque": -1.0}
