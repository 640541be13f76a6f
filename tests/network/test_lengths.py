"""Sequences of different lengths in one batch: each gives what it gives alone, and padding counts for nothing."""

import functools

import flax.linen as nn
import jax
import jax.numpy as jnp
import numpy as np
import pytest
from helpers.nets import NETS, B, T, assert_same, eighths, leaky, start

import snnax as snn
from snnax.errors import ArgumentError, ShapeError, StateError

LENGTHS = np.array([3, T, 2])


@functools.cache
def case(name):
    """Network, variables and two inputs that differ in the padding alone."""
    build, shape = NETS[name]
    net = build()
    x = eighths((T, B, *shape), seed=1)
    live = (np.arange(T)[:, None] < LENGTHS).reshape(T, B, *[1] * len(shape))
    return net, start(net, x[0]), x, jnp.where(live, x, 7.0)


@functools.cache
def alone(name):
    """What the first steps give, by their number."""
    net, variables, x, _ = case(name)
    return {n: snn.unroll(net, variables, x[:n], chunk=1, record=True) for n in {*LENGTHS.tolist()}}


def part(tree, *index):
    """The same part of each array."""
    return jax.tree.map(lambda v: v[index], tree)


@pytest.mark.parametrize(
    ("name", "chunk"), [(name, 3) for name in NETS] + [("branches", 1), ("branches", T), ("setup", "auto")]
)
def test_each_sequence_gives_what_it_gives_alone(name, chunk):
    net, variables, _, padded = case(name)
    y, updates, recorded = snn.unroll(net, variables, padded, seq_lengths=LENGTHS, chunk=chunk, record=True)
    rtol = 1e-6 if name == "normalised" else 0.0
    for sample, length in enumerate(LENGTHS.tolist()):
        first, after, seen = alone(name)[length]
        for ours, theirs in ((y, first), (recorded, seen)):
            assert_same(part(ours, slice(length), sample), part(theirs, slice(None), sample), rtol)
            assert not any(np.any(leaf) for leaf in jax.tree.leaves(part(ours, slice(length, None), sample)))
        assert_same(part(updates["hidden"], sample), part(after["hidden"], sample), rtol)


@pytest.mark.parametrize(
    "neuron",
    [
        lambda: snn.SLSTM(4, 5, init_hidden=True, output=True),
        lambda: snn.RSynaptic(0.5, 0.5, linear_features=4, init_hidden=True, output=True),
        lambda: snn.Leaky(0.5, reset_delay=False, init_hidden=True, output=True),
        lambda: snn.Synaptic(0.5, 0.5, init_hidden=True),
        lambda: snn.Delay(2),
    ],
    ids=["SLSTM", "RSynaptic", "without delay", "spikes alone", "Delay"],
)
def test_neurons_of_all_kinds(neuron):
    net, x = neuron(), eighths((T, B, 4), seed=2)
    variables = start(net, x[0])
    y, updates = snn.unroll(net, variables, x, seq_lengths=LENGTHS)
    for sample, length in enumerate(LENGTHS.tolist()):
        first, after = snn.unroll(net, variables, x[:length])
        assert_same(part(y, slice(length), sample), part(first, slice(None), sample), 1e-6)
        assert_same(part(updates["hidden"], sample), part(after["hidden"], sample), 1e-6)


@pytest.mark.parametrize("name", ["chain", "feedback"])
def test_gradients_are_those_of_the_sequences(name):
    net, variables, x, padded = case(name)
    fixed = {c: v for c, v in variables.items() if c != "params"}

    def cost(params, given, lengths):
        outputs, updates = snn.unroll(net, {**fixed, "params": params}, given, seq_lengths=lengths, chunk=3)
        return sum(jnp.sum(leaf**2) for leaf in jax.tree.leaves((outputs, updates["hidden"])))

    def apart(params):
        total = 0.0
        for sample, length in enumerate(LENGTHS.tolist()):
            y, updates = snn.unroll(net, {**fixed, "params": params}, x[:length], chunk=1)
            ours = part(y, slice(None), sample), part(updates["hidden"], sample)
            total += sum(jnp.sum(leaf**2) for leaf in jax.tree.leaves(ours))
        return total

    params = variables["params"]
    found = jax.jit(jax.grad(cost))(params, padded, jnp.asarray(LENGTHS))  # lengths that are traced
    assert_same(found, jax.jit(jax.grad(apart))(params), 1e-5)
    by_input = jax.jit(jax.grad(lambda given: cost(params, given, LENGTHS)))(padded)
    for sample, length in enumerate(LENGTHS):
        assert not by_input[length:, sample].any() and by_input[:length, sample].any()


def test_a_run_goes_on_where_each_sequence_ended():
    """Padded pieces one after the other are the whole."""
    net, variables, x, padded = case("chain")
    _, updates = snn.unroll(net, variables, padded, seq_lengths=LENGTHS)
    y, _ = snn.unroll(net, {**variables, **updates}, x)
    for sample, length in enumerate(LENGTHS.tolist()):
        both, _ = snn.unroll(net, variables, jnp.concatenate([x[:length], x]))
        assert_same(part(y, slice(None), sample), part(both, slice(length, None), sample))


def test_all_steps_are_what_there_is_without_lengths():
    net, variables, x, _ = case("chain")
    full = snn.unroll(net, variables, x, seq_lengths=[T] * B)
    assert_same(full, snn.unroll(net, variables, x))
    y, _ = snn.unroll(net, variables, x[0], num_steps=T, seq_lengths=LENGTHS)
    constant, _ = snn.unroll(net, variables, x[0], num_steps=T)
    assert_same(part(y, slice(3), 0), part(constant, slice(3), 0))


class Counter(nn.Module):
    """Its state has no axis of samples."""

    @nn.compact
    def __call__(self, x):
        count = self.variable("hidden", "count", jnp.zeros, ())
        count.value = count.value + 1
        return x


class Mean(nn.Module):
    """Its output has none."""

    @nn.compact
    def __call__(self, x):
        return leaky()(x).mean()


@pytest.mark.parametrize(
    ("net", "lengths", "kind", "said"),
    [
        (leaky(), [1, 2], ShapeError, r"shape \(2,\); expected \[B\] = \(3,\)"),
        (leaky(), [0, 1, 2], ArgumentError, "goes from 0 to 2; expected 1 to T = 7"),
        (leaky(), [1, 2, 8], ArgumentError, "goes from 1 to 8"),
        (leaky(), [1.0, 2.0, 3.0], ArgumentError, "whole numbers"),
        (leaky(), "long", ArgumentError, "seq_lengths"),
        (Counter(), LENGTHS, StateError, r"the state \['count'\] has shape \(\)"),
        (Mean(), LENGTHS, ShapeError, r"returned \(\) at each step"),
    ],
)
def test_what_is_refused(net, lengths, kind, said):
    with pytest.raises(kind, match=said):
        snn.unroll(net, {}, jnp.ones((T, B, 4)), seq_lengths=lengths)
