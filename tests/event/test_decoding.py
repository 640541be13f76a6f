"""The class that a network names."""

import jax.numpy as jnp
import numpy as np
import pytest

from snnax import event
from snnax.errors import ArgumentError, ShapeError

INF = np.inf
TIMES = jnp.array([[3.0, 1.0, INF], [2.0, 2.0, 5.0], [INF, INF, INF], [INF, INF, 9.0]])


def test_the_first_spike_names_the_class_and_silence_names_none():
    expected = [1, 0, -1, 2]
    several = jnp.stack([TIMES, jnp.full_like(TIMES, INF), TIMES + 1], -1)
    for spikes in (TIMES, several, event.trains(TIMES)):
        assert event.first_spike_class(spikes).tolist() == expected
        assert event.accuracy_first_spike(spikes, [1, 0, 0, 2]) == 0.75


def test_the_largest_voltage_names_the_class():
    voltages = jnp.array([[0.1, 0.5], [0.7, 0.2]])
    trace = jnp.stack([voltages, jnp.array([[0.9, 0.0], [0.0, 0.0]])])
    assert event.max_voltage_class(voltages).tolist() == [1, 0]
    assert event.max_voltage_class(trace).tolist() == [0, 0]
    assert event.accuracy_max_voltage(voltages, [1, 1]) == 0.5
    assert event.accuracy_max_voltage(trace, [1, 0]) == 0.5


@pytest.mark.parametrize(
    ("call", "kind", "said"),
    [
        (lambda: event.first_spike_class("first"), ArgumentError, "first_spike_class.*spike trains"),
        (lambda: event.first_spike_class(jnp.zeros(3)), ShapeError, r"shape \(3,\)"),
        (lambda: event.max_voltage_class(jnp.zeros(3)), ShapeError, r"shape \(3,\)"),
        (lambda: event.accuracy_first_spike(TIMES, [0, 0, 0, 3]), ArgumentError, "label 3"),
        (lambda: event.accuracy_max_voltage(jnp.zeros((2, 3)), [0]), ShapeError, r"targets of shape \(1,\)"),
    ],
)
def test_what_cannot_be_is_refused(call, kind, said):
    with pytest.raises(kind, match=said):
        call()
