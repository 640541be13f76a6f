"""A neuron of the user's own is judged by its own equation: rounding is explained, a wrong number is not."""

from __future__ import annotations

import flax.linen as nn
import numpy as np
import pytest

import snnax as snn
from snnax.dynamics.firing import discharge
from snnax.interop.compare import compare
from snnax.interop.compare.equation import Equation
from snnax.interop.crossvalidation import FlaxSide
from snnax.interop.families import registry
from snnax.interop.families.custom import register_neuron
from snnax.neurons import CustomNeuron

RNG = np.random.default_rng(0)
N = 24
X = RNG.integers(0, 2, (60, 12, 30)).astype(np.float32)
WEIGHT = (RNG.integers(-3, 6, (30, N)) * 0.1).astype(np.float32)
BIAS = (RNG.integers(0, 3, N) * 0.1).astype(np.float32)


class Quadratic(CustomNeuron):
    """``v' = v + k v^2 - leak v + x``, and a reset as its rule says."""

    k: float = 0.1
    leak: float = 0.4
    state_names = ("v",)
    parameter_names = ("k", "leak")

    @staticmethod
    def charge(state, flag, x, rule, k, leak):
        (v,) = state
        return (discharge(v + k * v * v - leak * v + x, flag, rule),)


class Mixing(Quadratic):
    """Its neurons share their mean."""

    @staticmethod
    def charge(state, flag, x, rule, k, leak):
        return (0.5 * state[0] + x - k * state[0].mean(-1, keepdims=True),)


def side(neuron, label):
    model = snn.Sequential([nn.Dense(N), neuron])
    return FlaxSide(model, {"params": {"layers_0": {"kernel": WEIGHT, "bias": BIAS}}}, label)


class Wide(FlaxSide):
    """Runs in float64."""

    def run(self, x):
        return super().run(x.astype(np.float64))

    def replay(self, x, forced):
        return super().replay(x.astype(np.float64), forced)


def test_two_precisions_differ_by_rounding():
    narrow = side(Quadratic(init_hidden=True, reset_mechanism="zero"), "narrow")
    wide = Wide(narrow.model, narrow.variables, "wide")
    report = compare(wide, narrow, X)
    assert report.agree, report
    layer = report.layers[0]
    assert layer.spikes > 100 and not layer.unexplained


@pytest.mark.parametrize("change", [{"k": 0.1001}, {"leak": 0.41}, {"threshold": 1.05}])
def test_a_wrong_number_is_found(change):
    report = compare(
        side(Quadratic(init_hidden=True, reset_mechanism="zero"), "A"),
        side(Quadratic(init_hidden=True, **change), "B"),
        X,
    )
    assert not report.agree and report.first.name == "1"
    assert report.first.first.step < 20


@pytest.mark.parametrize("delay", [True, False], ids=["late", "now"])
def test_a_registered_neuron_is_held_to_what_its_class_computes(delay):
    """Whatever its state is called, and where a reset in the step of the spike hides the membrane that fired."""
    kind = register_neuron(type("Registered", (Quadratic,), {"__module__": __name__}))
    try:
        narrow = side(kind(init_hidden=True, reset_delay=delay, reset_mechanism="zero"), "narrow")
        report = compare(Wide(narrow.model, narrow.variables, "wide"), narrow, X)
        assert report.agree and report.layers[0].spikes > 100, report
        report = compare(narrow, side(narrow.model.layers[1].clone(k=0.11), "B"), X)
        assert [cause.kind for cause in report.first.causes] == ["k"], report
    finally:
        del registry._registered()["Registered"]


def test_what_makes_an_equation():
    """Neurons that share their mean have none: nobody could tell how far an error of one reaches the others."""
    equation = Equation.of_module(Quadratic(init_hidden=True, reset_mechanism="zero"), {}, (N,))
    assert equation.known and equation.membrane == "v" and equation.limit(np.dtype(np.float32)) == 1.0
    mem, x = np.linspace(-1, 2, 7), np.linspace(0, 1, 7)
    bounds = equation.bounds(
        2.0**-24, {"v": mem}, x, {"v": np.full(7, 1e-3)}, {"v": np.abs(mem)}, np.zeros(7), np.abs(x)
    )
    slope = np.abs(1 + 0.2 * mem - 0.4)
    np.testing.assert_allclose(bounds["v"], 1e-3 * slope, rtol=1e-3, atol=2e-6)
    assert Equation.of_module(Mixing(init_hidden=True), {}, (N,)) is None
