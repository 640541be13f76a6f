"""A neuron of the user's own is judged by its own equation: rounding is explained, a wrong number is not."""

from __future__ import annotations

from typing import ClassVar

import flax.linen as nn
import jax.numpy as jnp
import numpy as np
import pytest

import snnax as snn
from snnax.interop.compare import compare
from snnax.interop.compare.equation import Equation
from snnax.interop.crossvalidation import FlaxSide
from snnax.neurons import SpikingNeuron

RNG = np.random.default_rng(0)
N = 24
X = RNG.integers(0, 2, (60, 12, 30)).astype(np.float32)
WEIGHT = (RNG.integers(-3, 6, (30, N)) * 0.1).astype(np.float32)
BIAS = (RNG.integers(0, 3, N) * 0.1).astype(np.float32)


class Quadratic(SpikingNeuron):
    """``mem' = mem + k mem^2 - leak mem + x``, a reset to zero in the step after the spike."""

    k: float = 0.1
    leak: float = 0.4
    threshold: float = 1.0
    spike_grad: object = None
    surrogate_disable: bool = False
    init_hidden: bool = False
    inhibition: bool = False
    learn_threshold: bool = False
    reset_mechanism: str = "zero"
    state_quant: object = False
    output: bool = False

    state_names: ClassVar[tuple[str, ...]] = ("mem",)

    @nn.compact
    def __call__(self, x, mem=None):
        x, (mem,) = self._enter(x, mem)
        rule = self._rule(x)
        mem = jnp.where(mem > rule.threshold, 0, mem)
        mem = mem + self.k * mem * mem - self.leak * mem + x
        return self._leave(x, rule.spike(mem - rule.threshold), (mem,))


class Mixing(Quadratic):
    """Its neurons share their mean."""

    @nn.compact
    def __call__(self, x, mem=None):
        x, (mem,) = self._enter(x, mem)
        mem = 0.5 * mem + x - 0.1 * mem.mean(-1, keepdims=True)
        return self._leave(x, (mem > self.threshold).astype(x.dtype), (mem,))


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
    narrow = side(Quadratic(init_hidden=True), "narrow")
    wide = Wide(narrow.model, narrow.variables, "wide")
    report = compare(wide, narrow, X)
    assert report.agree, report
    layer = report.layers[0]
    assert layer.spikes > 100 and layer.layerwise.max_mem_gap > 0
    place = layer.layerwise.first
    assert place is None or all(abs(mem - 1.0) <= place.bound for mem in place.mem)


@pytest.mark.parametrize("change", [{"k": 0.1001}, {"leak": 0.41}, {"threshold": 1.05}])
def test_a_wrong_number_is_found(change):
    report = compare(
        side(Quadratic(init_hidden=True), "A"), side(Quadratic(init_hidden=True, **change), "B"), X
    )
    assert not report.agree and report.first.name == "1"
    assert report.first.first.step < 20


def test_what_makes_an_equation():
    """Neurons that share their mean have none: nobody could tell how far an error of one reaches the others."""
    equation = Equation.of_module(Quadratic(init_hidden=True), {}, (N,))
    assert equation.known and equation.names == ("mem",) and equation.limit(np.dtype(np.float32)) == 1.0
    mem, x = np.linspace(-1, 2, 7), np.linspace(0, 1, 7)
    bounds = equation.bounds(
        2.0**-24, {"mem": mem}, x, {"mem": np.full(7, 1e-3)}, {"mem": np.abs(mem)}, np.zeros(7), np.abs(x)
    )
    slope = np.abs(1 + 0.2 * mem - 0.4) * (mem <= 1)  # what was reset has forgotten its error
    np.testing.assert_allclose(bounds["mem"], 1e-3 * slope, rtol=1e-3, atol=2e-6)
    assert Equation.of_module(Mixing(init_hidden=True), {}, (N,)) is None
