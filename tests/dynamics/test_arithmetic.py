"""Operations that round as torch's do."""

import jax
import numpy as np

from snnax.dynamics.arithmetic import quotient


def test_a_quotient_is_rounded_once_where_one_number_divides_many():
    x = np.random.default_rng(0).normal(size=(200, 50)).astype(np.float32)
    by = np.random.default_rng(1).uniform(0.1, 3, (1, 50)).astype(np.float32)
    divide = jax.jit(quotient)
    np.testing.assert_array_equal(divide(x, by), x / by)
    np.testing.assert_array_equal(divide(x, np.float32(7)), x / np.float32(7))
    special = np.array([np.nan, np.inf, -np.inf, 1, -1, 0], np.float32)
    with np.errstate(invalid="ignore", divide="ignore"):
        np.testing.assert_array_equal(divide(special, np.float32(0)), special / np.float32(0))


def test_its_derivative_is_that_of_a_quotient():
    x, by = np.array([1.0, 2.0], np.float32), np.float32(4)
    found = jax.grad(lambda x, by: quotient(x, by).sum(), (0, 1))(x, by)
    np.testing.assert_allclose(found[0], [0.25, 0.25])
    np.testing.assert_allclose(found[1], -3 / 16)
