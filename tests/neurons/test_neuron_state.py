"""Where parameters and states live: collections, ``init_hidden``, recording, forcing, and misuse of them."""

from __future__ import annotations

from typing import Any

import flax.linen as nn
import flax.serialization
import jax
import jax.numpy as jnp
import numpy as np
import pytest
from helpers import neurons as twin
from helpers.rounding import last_bit

from snnax.errors import HiddenStateTypeError, StateError

every = pytest.mark.parametrize("kind", twin.STATES)


def steps(dtype: Any = np.float32) -> jax.Array:
    return jnp.asarray(twin.current((5, 3, 4), seed=5), dtype)


def keeping(module: Any, variables: Any, x: jax.Array) -> tuple[list[Any], Any]:
    """A neuron with ``init_hidden``, called step by step; its outputs and last variables."""
    outputs = []
    for frame in x:
        out, updates = module.apply(variables, frame, mutable=["hidden"])
        variables = {**variables, **updates}
        outputs.append(out)
    return outputs, variables


@last_bit
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


@every
def test_variables_survive_serialisation(kind):
    module = twin.build(kind, **twin.LEARNED[kind], init_hidden=True)
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
    with pytest.raises(StateError, match=rf"{first}=None to start anew"):
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


def test_without_any_variables_a_neuron_is_as_it_was_built():
    assert twin.snn.Leaky([0.5, 0.25]).apply({}, jnp.zeros((1, 2)), jnp.ones((1, 2)))[1].tolist() == [
        [0.5, 0.25]
    ]


def test_a_stored_capacitance_wins_over_the_one_from_beta():
    lif, x = twin.snn.Lapicque(beta=0.9), jnp.ones((1, 1))
    assert lif.apply({"buffers": {"C": jnp.float32(4.0)}}, x)[1].item() == 0.25
