"""Parameters of event-driven neurons: checked once, hashable, and what the engines read off them."""

import math

import numpy as np
import pytest

from snnax.errors import ArgumentError
from snnax.event import LIFParameters, LIParameters


@pytest.mark.parametrize("kind", [LIParameters, LIFParameters])
def test_equal_numbers_are_one_key_of_a_compiled_program(kind):
    one, other = kind(tau_mem=0.02), kind(tau_mem=np.float64(0.02))
    assert one == other and hash(one) == hash(other)
    assert type(other.tau_mem) is float


@pytest.mark.parametrize("kind", [LIParameters, LIFParameters])
@pytest.mark.parametrize("field", ["tau_mem", "tau_syn"])
@pytest.mark.parametrize("value", [0, -1e-3, math.inf, math.nan, "5 ms", None, [1e-3, 2e-3]])
def test_a_time_constant_is_positive_and_finite(kind, field, value):
    with pytest.raises(
        ArgumentError, match=rf"{kind.__name__}\({field}=.*expected seconds: a finite number above 0"
    ):
        kind(**{field: value})


@pytest.mark.parametrize(
    ("given", "message"),
    [
        ({"v_leak": 1.0}, r"v_leak is the threshold.*Write LIFParameters\(v_leak=0, threshold=1\)"),
        ({"v_reset": 1.0}, r"v_reset is not below the threshold.*Write LIFParameters\(v_reset=0"),
        (
            {"v_reset": 0.0, "threshold": -1.0, "v_leak": -2.0},
            r"v_reset is not below.*v_reset=-2, threshold=-1",
        ),
        ({"v_initial": 0.0, "threshold": -1.0, "v_leak": -2.0, "v_reset": -2.0}, "v_initial is not below"),
        ({"refractory": -1e-3}, "expected seconds, or math.inf for one spike at most, from 0"),
        ({"refractory": math.nan}, "expected seconds"),
        ({"threshold": math.inf}, "expected a finite number"),
        ({"v_initial": math.nan}, "expected a finite number"),
    ],
)
def test_numbers_without_a_crossing_are_refused_with_a_call_that_works(given, message):
    with pytest.raises(ArgumentError, match=message):
        LIFParameters(**given)


@pytest.mark.parametrize(
    ("given", "threshold", "reset", "initial", "alone"),
    [
        ({}, 1.0, 0.0, 0.0, False),
        ({"v_leak": 0.25}, 0.75, -0.25, 0.0, False),
        ({"v_leak": 0.25, "v_initial": 0.0}, 0.75, -0.25, -0.25, False),
        ({"v_leak": 1.5, "v_reset": -0.5}, -0.5, -2.0, -2.0, True),
        ({"v_leak": 1.5, "v_initial": 0.5}, -0.5, -1.5, -1.0, True),
        ({"threshold": -50.0, "v_leak": -65.0, "v_reset": -70.0}, 15.0, -5.0, 0.0, False),
    ],
)
def test_voltages_above_the_leak(given, threshold, reset, initial, alone):
    p = LIFParameters(**given)
    assert (p.u_threshold, p.u_reset, p.u_initial, p.fires_alone) == (threshold, reset, initial, alone)


def test_an_infinite_refractory_time_is_one_spike_at_most():
    assert LIFParameters(refractory=math.inf).fires_once
    assert not LIFParameters(refractory=1.0).fires_once
