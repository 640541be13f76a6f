"""Networks that run all their steps in one call."""

from __future__ import annotations

import jax
import jax.numpy as jnp
import numpy as np
import pytest

import snnax as snn
from snnax.errors import ArgumentError
from snnax.network.whole import WholeNetwork, arguments_of, run_whole


class Sums(WholeNetwork):
    """Adds up its input over time, or twice its input if a call is one step."""

    length: int = 0

    @property
    def steps(self):
        return (self.length,)

    def over_time(self, steps):
        return self if self.length else self.clone(length=steps)

    def __call__(self, x, y=0.0):
        self.sow(
            "record", "a/lif", {"input": x, "spk": x}, reduce_fn=lambda _, new: new, init_fn=lambda: None
        )
        return x.sum(0) + y if self.length else 2 * x


X = np.arange(12, dtype=np.float32).reshape(4, 3)


def test_unroll_calls_it_once():
    outputs, updates = snn.unroll(Sums(4), {}, X)
    np.testing.assert_array_equal(outputs, X.sum(0))
    assert not updates


def test_a_tuple_is_several_arguments():
    outputs, _ = snn.unroll(Sums(4), {}, (X, np.float32(1)))
    np.testing.assert_array_equal(outputs, X.sum(0) + 1)


def test_what_neurons_do_is_recorded_by_their_path():
    _, _, recorded = snn.unroll(Sums(4), {}, X, record=True)
    np.testing.assert_array_equal(recorded["a/lif"]["spk"], X)
    with pytest.raises(ArgumentError, match="names no neuron"):
        snn.unroll(Sums(4), {}, X, record=["lif"])


def test_the_length_of_its_loop_is_its_own():
    assert np.array_equal(snn.unroll(Sums(4), {}, X, num_steps=4)[0], X.sum(0))
    with pytest.raises(ArgumentError, match="num_steps=3, but the network loops over 4"):
        snn.unroll(Sums(4), {}, X, num_steps=3)


def test_one_that_is_a_step_gets_as_many_as_its_input_has():
    np.testing.assert_array_equal(snn.unroll(Sums(), {}, X)[0], X.sum(0))
    np.testing.assert_array_equal(snn.unroll(Sums(), {}, X[0], num_steps=5)[0], 5 * X[0])


def test_arguments_become_arrays():
    made = arguments_of({"x": [X, (X,)]})
    assert all(isinstance(leaf, jax.Array) for leaf in jax.tree.leaves(made))
    outputs, _, _ = run_whole(Sums(4), {}, jnp.asarray(X), {}, (), False, {}, None)
    np.testing.assert_array_equal(outputs, X.sum(0))
