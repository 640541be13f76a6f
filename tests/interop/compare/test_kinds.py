"""Every kind of neuron: float32 against float64 is rounding, and each planted parameter is found.

Weights and inputs are multiples of 0.1, so that in float32 sums and membranes scatter around values that many
of them share: thresholds, levels of a quantizer, the membrane of the winner under inhibition.
"""

from __future__ import annotations

import functools

import flax.linen as nn
import numpy as np
import pytest

import snnax as snn
from snnax.interop.compare import compare
from snnax.interop.crossvalidation import FlaxSide
from snnax.neurons.quantize import NearestLevel

LEVELS = NearestLevel(np.linspace(-1.0, 1.2, 16).astype(np.float32))
KINDS = {
    "leaky": (snn.Leaky, {"beta": 0.9}),
    "graded": (snn.Leaky, {"beta": 0.9, "graded_spikes_factor": 0.7}),
    "synaptic": (snn.Synaptic, {"alpha": 0.7, "beta": 0.9}),
    "alpha": (snn.Alpha, {"alpha": 0.9, "beta": 0.8}),
    "lapicque": (snn.Lapicque, {"R": 5.0, "C": 0.3, "time_step": 0.2}),
    "recurrent": (snn.RLeaky, {"beta": 0.9, "V": 0.3, "all_to_all": False}),
    "inhibition": (snn.Leaky, {"beta": 0.9, "inhibition": True}),
    "inhibition-now": (snn.Leaky, {"beta": 0.9, "inhibition": True, "reset_delay": False}),
    "levels-now": (snn.Leaky, {"beta": 0.9, "state_quant": LEVELS, "reset_delay": False}),
    "levels-synaptic": (snn.Synaptic, {"alpha": 0.5, "beta": 0.9, "state_quant": LEVELS}),
}
RNG = np.random.default_rng(0)
N = 40
X = RNG.integers(0, 2, (80, 16, 30)).astype(np.float32)
WEIGHT = (RNG.integers(-3, 6, (30, N)) * 0.1).astype(np.float32)
BIAS = (RNG.integers(0, 3, N) * 0.1).astype(np.float32)


@functools.cache
def reference(kind):
    """The side with the kind's own parameters; its run is made once."""
    found = side(kind, "A")
    trace = found.run(X)
    found.run = lambda x: trace
    return found


def side(kind, label="narrow", **changes):
    neuron, arguments = KINDS[kind]
    model = snn.Sequential([nn.Dense(N), neuron(**{**arguments, **changes}, init_hidden=True)])
    params = {"layers_0": {"kernel": WEIGHT, "bias": BIAS}}
    if neuron is snn.RLeaky:
        params["layers_1"] = {"V": np.float32(changes.get("V", arguments["V"]))}
    return FlaxSide(model, {"params": params}, label)


class Wide:
    """A side that runs in float64."""

    label = "wide"

    def __init__(self, side):
        self.side = side

    def run(self, x):
        return self.side.run(x.astype(np.float64))

    def replay(self, x, forced):
        return self.side.replay(x.astype(np.float64), forced)

    def graph(self):
        return self.side.graph()

    def spec(self, name):
        return self.side.spec(name)


@pytest.mark.parametrize("kind", [k for k in KINDS if k not in ("leaky", "synaptic", "inhibition")])
def test_two_precisions_differ_by_rounding(kind):
    report = compare(Wide(side(kind)), side(kind), X)
    assert report.agree, report
    assert report.layers[0].spikes > 100
    if kind not in ("alpha", "lapicque"):
        assert report.explained > 0


PLANTED = [
    ("graded", {"graded_spikes_factor": 0.8}, "gain"),
    ("alpha", {"alpha": 0.91}, "alpha"),
    ("alpha", {"beta": 0.81}, "beta"),
    ("alpha", {"reset_mechanism": "subtract"}, "reset mechanism"),
    ("lapicque", {"C": 0.33}, "beta"),
    ("lapicque", {"time_step": 0.02}, "dt"),
    ("recurrent", {"V": 0.4}, "weights"),
    ("inhibition", {"inhibition": False}, "inhibition"),
    ("inhibition", {"beta": 0.85}, "beta"),
    ("levels-now", {"reset_mechanism": "zero"}, "reset mechanism"),
    ("levels-now", {"state_quant": False}, "quantizer"),
    ("levels-synaptic", {"beta": 0.85}, "beta"),
]


@pytest.mark.parametrize(
    ("kind", "change", "cause"), PLANTED, ids=[f"{k}-{n}" for k, c, _ in PLANTED for n in c]
)
def test_a_planted_parameter_is_found(kind, change, cause):
    report = compare(reference(kind), side(kind, "B", **change), X)
    assert not report.agree and report.first.name == "1"
    assert report.first.cause.kind == cause, report


def test_another_class_of_neuron():
    report = compare(reference("leaky"), side("synaptic", "B"), X)
    assert report.first.cause.kind == "neuron class"
    assert report.first.cause.text == "B's 1 is a Synaptic, A's a Leaky."
