"""The readout does what its engine does with its weights."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from snnax import event
from snnax.errors import ArgumentError

T_MAX = 0.05
KEY = jax.random.key(0)
TIMES = jax.random.uniform(KEY, (2, 4, 3), maxval=0.04)
NUMBERS = event.LIParameters(tau_mem=20e-3, v_leak=0.1)


def test_the_maximum_over_time():
    module = event.LI(3, T_MAX, NUMBERS)
    variables = module.init(KEY, TIMES)
    weights = variables["params"]["weights"]
    voltage = jax.jit(module.apply)(variables, TIMES)
    want = jax.jit(lambda w: event.li_max_voltage(event.trains(TIMES), w, NUMBERS, t_max=T_MAX))(weights)
    np.testing.assert_allclose(np.asarray(voltage), np.asarray(want), rtol=1e-6)
    assert voltage.shape == (2, 3) and (weights < 0).any() and (weights > 0).any()


@pytest.mark.parametrize(
    ("asked", "points"), [(5, [0.01, 0.02, 0.03, 0.04, 0.05]), ([0.0, 0.03], [0.0, 0.03])]
)
def test_a_trace_and_the_voltage_at_times(asked, points):
    module = event.LI(3, T_MAX, NUMBERS, times=asked, delay=2e-3)
    voltage, variables = module.init_with_output(KEY, TIMES)
    inputs = event.delayed(event.trains(TIMES), 2e-3)
    want = event.li_voltage(inputs, variables["params"]["weights"], NUMBERS, np.array(points))
    assert voltage.shape == (len(points), 2, 3) and hash(module) == hash(module.clone())
    np.testing.assert_allclose(np.asarray(voltage), np.asarray(want), atol=1e-6)


def test_it_tells_what_it_was_not_told():
    cut = event.Trains(TIMES, jnp.zeros((2, 4), bool).at[1, 2].set(True))
    module = event.LI(3, T_MAX)
    _, found = jax.jit(lambda: module.apply(module.init(KEY, TIMES), cut, mutable=["overflow"]))()
    assert found["overflow"]["inputs"].tolist() == [False, True]


@pytest.mark.parametrize(
    "given", [{"times": -0.1}, {"times": [[0.1]]}, {"times": 0}, {"t_max": 0}, {"delay": np.inf}]
)
def test_what_cannot_be_is_refused(given):
    ((name, _),) = given.items()
    with pytest.raises(ArgumentError, match=rf"LI\({name}="):
        event.LI(**{"features": 3, "t_max": T_MAX, **given})
