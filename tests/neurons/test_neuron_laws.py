"""Laws that every neuron obeys: one table of neurons, no torch."""

from __future__ import annotations

import copy
import pickle
from functools import partial
from pathlib import Path
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from helpers import neurons as twin
from helpers.rounding import fuses, last_bit

from snnax import surrogate
from snnax.dynamics import alpha, lapicque, leaky, synaptic
from snnax.dynamics.equation import Equation, step
from snnax.dynamics.firing import FiringRule
from snnax.errors import ShapeError

every = pytest.mark.parametrize("kind", twin.STATES)


def steps(dtype: Any = np.float32) -> jax.Array:
    return jnp.asarray(twin.current((5, 3, 4), seed=5), dtype)


def eager(module: Any, variables: Any, x: jax.Array) -> dict[str, jax.Array]:
    """What ``scan`` does, without any compilation of the whole."""
    with jax.disable_jit():
        return twin.scan((module,), variables, x)[0]


@last_bit
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
    module, x = twin.build(kind, **twin.LEARNED[kind]), steps()
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
    decays = np.random.default_rng(0).uniform(0.1, 0.9, 10).tolist()
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
    ulps = 1e-6 if fuses() else 0  # two programs, since a call is compiled: each may fuse at other places
    for a, b in zip(together, apart, strict=True):
        np.testing.assert_allclose(a, b, rtol=ulps, atol=ulps)


@pytest.mark.parametrize("dtype", ["float32", "bfloat16", "float64"])
@every
def test_dtype_is_kept(kind, dtype):
    """Of the input, but at least float32; a bfloat16 state that is handed in stays bfloat16."""
    with jax.enable_x64(dtype == "float64"):
        for module in (twin.build(kind), twin.build(kind, **twin.LEARNED[kind])):
            x = steps(dtype=jnp.dtype(dtype))
            variables = twin.weights(module, x[0])
            widest = {"bfloat16": "float32"}.get(dtype, dtype)
            assert all(leaf.dtype == widest for leaf in jax.tree.leaves(variables))
            first = module.apply(variables, x[0])
            states = first if module.state_names[0] == "spk" else first[1:]
            assert all(value.dtype == widest for value in (*first, *module.apply(variables, x[1], *states)))
            handed = jax.tree.map(lambda v: v.astype(dtype), states)
            assert all(value.dtype == dtype for value in module.apply(variables, x[1], *handed))


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
    module, x = twin.build(kind, **twin.LEARNED[kind]), steps()
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


ELSEWHERE = {
    "ALIF": "test_alif.py",
    **dict.fromkeys(("SRM", "SigmaDelta", "TwoDecayLIF"), "test_snnax_neurons.py"),
    "AdEx": "test_adex.py",
    "Izhikevich": "test_izhikevich.py",
    "ResonateFire": "test_resonate.py",
    "AssociativeLeaky": "test_parallel_neurons.py",
    "CubaLI": "test_nir_neurons.py",
    "CubaLIF": "test_nir_twins.py",
    "DeltaLeaky": "test_deltaleaky.py",
    "I": "test_nir_neurons.py",
    "IF": "test_nir_twins.py",
    "LI": "test_nir_neurons.py",
    "LIF": "test_nir_twins.py",
    "LeakyParallel": "test_parallel_neurons.py",
    "LinearLeaky": "test_stateleaky.py",
    "SConv2dLSTM": "test_lstm_neurons.py",
    "SLSTM": "test_lstm_neurons.py",
    "SpikingCell": "test_cell.py",
    "StateLeaky": "test_stateleaky.py",
}
"""Where the neurons are tested that have another input, or other states, than the six of the table."""


def test_every_neuron_is_in_the_table():
    kinds = {n for n in dir(twin.snn.neurons) if isinstance(getattr(twin.snn.neurons, n), type)}
    kinds -= {"CustomNeuron", "FrozenArray", "SpikingNeuron", "NIRNeuron"}
    assert set(twin.STATES) == set(twin.SMALL) == set(twin.LEARNED)
    assert kinds == set(twin.STATES) | set(ELSEWHERE)
    here = Path(__file__).parent
    assert not [name for name, file in ELSEWHERE.items() if name not in (here / file).read_text()]
    assert all(getattr(twin.snn, k).state_names == names for k, names in twin.STATES.items())


def test_dynamics_are_pure_functions_of_arrays():
    rule = FiringRule(threshold=jnp.float32(1.0), spike=surrogate.atan())
    x, decay = jnp.full((2, 3), 1.5), jnp.float32(0.5)
    stepped = {
        "Leaky": step(Equation(leaky.charge, rule, (decay,)), (x,), x),
        "RLeaky": step(Equation(leaky.charge, rule, (decay,), lambda _, spk: spk), (x,), x, x),
        "Synaptic": step(Equation(synaptic.charge, rule, (decay, decay)), (x, x), x),
        "Alpha": step(Equation(alpha.charge, rule, (decay, decay / 2)), (x, x, x), x),
        "Lapicque": step(Equation(lapicque.charge, rule, (decay, decay, decay)), (x,), x),
    }
    membranes = {kind: state[-1][0, 0].item() for kind, (state, _) in stepped.items()}
    assert membranes == {"Leaky": 1.25, "RLeaky": 2.75, "Synaptic": 2.0, "Alpha": 3.75, "Lapicque": -1.0}
