"""What counts as a whole number."""

import jax.numpy as jnp
import numpy as np
import pytest

from snnax.checks import whole


@pytest.mark.parametrize("value", [3, np.int8(3), np.array(3), jnp.array(3)], ids=lambda v: type(v).__name__)
def test_integers_are_whole(value):
    assert whole(value) == 3 and type(whole(value)) is int
    assert whole(value, 3) == 3 and whole(value, 4) is None


@pytest.mark.parametrize("value", [True, np.True_, 2.0, "2", None, [2], np.array([2, 3]), -1, 0])
def test_other_things_are_not(value):
    assert whole(value) is None


def test_from_zero():
    assert whole(0, least=0) == 0 and whole(-1, least=0) is None
