"""Operations whose derivatives are not those of their values."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from snnax import surrogate
from snnax.interop.program.derivatives import DECREED, pullback, spikes, straight
from snnax.interop.program.nodes import STRAIGHT, SURROGATE


def test_a_write_has_the_new_value_and_the_old_gradient():
    x = jnp.array([0.5, 2.0])
    value, (old, new) = jax.value_and_grad(lambda a, b: straight(a, b).sum(), argnums=(0, 1))(x, 3 * x)
    assert value == 7.5
    np.testing.assert_array_equal(old, [1, 1])
    np.testing.assert_array_equal(new, [0, 0])


@pytest.mark.parametrize(("name", "options"), [("atan", {"alpha": 3.0}), ("heaviside", {})])
def test_spikes_have_the_derivative_of_their_surrogate(name, options):
    x = jnp.array([-0.5, 0.0, 0.3])
    np.testing.assert_array_equal(spikes(x, name, options), [0, 0, 1])
    wanted = getattr(surrogate, name)(**options).derivative(x)
    np.testing.assert_array_equal(jax.grad(lambda a: spikes(a, name, options).sum())(x), wanted)


@pytest.mark.parametrize("transform", [lambda f: f, jax.jit, jax.remat], ids=["plain", "jit", "remat"])
def test_a_pullback_has_its_values_and_the_derivative_that_it_is_given(transform):
    def own(inputs, gradients):
        return [gradients[0] * inputs[1] + gradients[1], None, None]

    def total(x, scale):
        one, two = pullback([(x > 1.0) * 1.0, x * x], [x, scale, None], own)
        return (one + 2 * two).sum()

    x = jnp.array([0.5, 2.0])
    value, found = jax.value_and_grad(transform(total), argnums=(0, 1))(x, jnp.array(3.0))
    assert value == 1 + 2 * 4.25
    np.testing.assert_array_equal(found[0], [5, 5])
    assert found[1] == 0


def test_the_table_has_both():
    assert {SURROGATE: spikes, STRAIGHT: straight} == DECREED
