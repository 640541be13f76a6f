"""A neuron of the user's own is judged by its own equation: rounding is explained, a wrong number is not."""

from __future__ import annotations

import re

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


@pytest.fixture
def registered():
    yield register_neuron(type("Registered", (Quadratic,), {"__module__": __name__}))
    del registry._registered()["Registered"]


@pytest.mark.parametrize("delay", [True, False], ids=["late", "now"])
def test_a_registered_neuron_is_judged_by_its_own_equation(registered, delay):
    """Whatever its state is called, and where a reset in the step of the spike hides the membrane that fired."""
    narrow = side(registered(init_hidden=True, reset_mechanism="zero", reset_delay=delay), "narrow")
    report = compare(Wide(narrow.model, narrow.variables, "wide"), narrow, X)
    assert report.agree and report.layers[0].spikes > 100, report


class Lying(FlaxSide):
    """Its graph and spec are those of another model."""

    claims: FlaxSide

    def graph(self):
        return self.claims.graph()

    def spec(self, name):
        return self.claims.spec(name)


@pytest.mark.parametrize("lies", [False, True], ids=["graph", "lying-graph"])
@pytest.mark.parametrize(
    ("change", "kind", "words"),
    [
        ({"k": 0.05}, "k", "B has k 0.05 where A has 0.1."),
        ({"leak": 0.41}, "leak", "B has leak 0.41 where A has 0.4."),
        ({"threshold": 1.25}, "threshold", "B has "),
        ({"reset_delay": False}, "reset delay", "B resets in the step of the spike"),
    ],
    ids=["k", "leak", "threshold", "reset"],
)
def test_the_cause_is_found_in_a_registered_neuron(registered, change, kind, words, lies):
    a, b = (
        side(registered(init_hidden=True, reset_mechanism="zero", **c), n)
        for c, n in (({}, "A"), (change, "B"))
    )
    if lies:
        b = Lying(b.model, b.variables, "B")
        b.claims = a
    cause = compare(a, b, X[:30]).first.cause
    assert (cause.kind, cause.certain) == (kind, True) and words in cause.text, cause


@pytest.mark.parametrize(
    ("own", "mechanism", "words"),
    [
        (False, "subtract", "B has threshold 1.2731 where A has 1."),
        (False, "zero", "(its steps tell no more) where A has 1."),
        (True, "zero", "(its steps tell no more) where A has 1."),
    ],
)
def test_a_threshold_that_no_reset_shows_is_told_by_its_bounds(registered, own, mechanism, words):
    kind = registered if own else lambda **options: snn.Leaky(0.9, **options)
    a, claimed = (
        side(kind(init_hidden=True, reset_mechanism=mechanism, threshold=threshold), label)
        for label, threshold in (("A", 1.0), ("B", 1.2731))
    )
    b = Lying(claimed.model, claimed.variables, "B")
    b.claims = a
    cause = compare(a, b, X[:30]).first.cause
    assert cause.kind == "threshold" and cause.certain and words in cause.text, cause
    if mechanism == "zero":
        low, high = map(float, re.findall(r"between ([\d.]+) and ([\d.]+) ", cause.text)[0])
        assert low < 1.2731 <= high < low + 0.05


def test_a_registered_neuron_that_mixes_is_held_to_what_its_class_computes():
    kind = register_neuron(type("RegisteredMixing", (Mixing,), {"__module__": __name__}))
    try:
        a = side(kind(init_hidden=True), "A")
        assert compare(a, side(kind(init_hidden=True), "B"), X).agree
        cause = compare(a, side(kind(init_hidden=True, k=0.3), "B"), X).first.cause
        assert cause.kind == "k" and not cause.certain
    finally:
        del registry._registered()["RegisteredMixing"]


@pytest.mark.parametrize("neuron", [snn.ALIF, snn.TwoDecayLIF])
def test_inhibition_does_not_mix_the_neurons_of_an_equation(neuron):
    """Which of them may fire is for the verdict to say; with an equation that mixes, equal sides disagreed."""
    a, b = (side(neuron(inhibition=True, init_hidden=True), label) for label in "AB")
    report = compare(a, b, X[:20])
    assert report.agree and report.layers[0].spikes > 20, report
    other = side(neuron(inhibition=True, beta=0.5, init_hidden=True), "B")
    assert not compare(a, other, X[:20]).agree


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
