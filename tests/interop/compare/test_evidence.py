"""What is said of a layer over the whole batch, which is judged a few samples at a time; a NaN is never lost."""

from __future__ import annotations

import flax.linen as nn
import numpy as np
import pytest
from helpers import fake_sides as fake

import snnax as snn
from snnax.interop.compare import GradientReport, Numbers, Report, compare, evidence
from snnax.interop.compare.neuron_causes import NeuronCase
from snnax.interop.compare.report import LayerReport
from snnax.interop.compare.run import compare_gradients
from snnax.interop.compare.steps import earliest
from snnax.interop.crossvalidation import FlaxSide

RNG = np.random.default_rng(0)
NET, X = fake.dense_net(RNG), fake.dense_input(RNG)


class Spoiled:
    """A side that recorded NaN in one place."""

    label = "B"

    def __init__(self, side, at, what):
        self.side, self.at, self.what = side, at, what

    def run(self, x):
        return self.spoil(self.side.run(x))

    def replay(self, x, forced):
        return self.spoil(self.side.replay(x, forced))

    def graph(self):
        return self.side.graph()

    def spoil(self, trace):
        node = next(iter(trace.nodes.values()))
        for name in self.what:
            values = np.array(node.states[name] if name in node.states else getattr(node, name))
            values[self.at] = np.nan
            if name in node.states:
                node.states[name] = values
            else:
                setattr(node, name, values)
        return trace


@pytest.mark.parametrize("sample", range(X.shape[1]))
def test_a_nan_shows_in_the_largest_gaps_wherever_in_the_batch_it_is(sample, monkeypatch):
    monkeypatch.setattr(evidence, "CHUNK", 1)  # a sample at a time
    side = Spoiled(fake.FakeSide(NET, "B"), (3, sample, 2), ("mem", "input"))
    report = compare(fake.FakeSide(NET, "A"), side, X)
    numbers = report.layers[0].layerwise
    assert not report.agree
    assert np.isnan(numbers.max_mem_gap) and np.isnan(numbers.max_current_gap)


def test_a_spike_that_is_nan_is_unexplained_in_a_layer_that_is_held_to_itself():
    """NaN is not 0, so that it counts as fired, and no comparison with a bound is true of it."""
    x = RNG.uniform(0, 1, (6, 2, 4)).astype(np.float32)
    params = {
        "params": {"layers_0": {"kernel": 9 * np.eye(4, dtype=np.float32), "bias": np.zeros(4, np.float32)}}
    }
    net = snn.Sequential([nn.Dense(4), snn.LIF(tau=5e-4, dt=1e-4, init_hidden=True)])
    a, b = (FlaxSide(net, params, label) for label in "AB")
    spk = next(iter(a.run(x).nodes.values())).spk
    at = tuple(int(i) for i in np.argwhere(spk != 0)[0])
    assert compare(a, b, x).agree
    report = compare(a, Spoiled(b, at, ("spk",)), x)
    assert not report.agree and report.layers[0].layerwise.spike_mismatches == 1


def test_the_cause_is_looked_for_in_the_samples_that_part_earliest():
    """Nothing comes in to the first nine samples for 20 steps; they took the place of the three that part at once."""
    fc1 = NET.nodes["fc1"]
    a = NET.but("fc1", bias=np.zeros_like(fc1.bias))
    x = fake.dense_input(RNG, 30, 12)
    x[:20, :9] = 0
    found = evidence.Evidence.collect(fake.FakeSide(a, "A"), fake.FakeSide(a.but("lif1", beta=0.8), "B"), x)
    judged = evidence.Judged.of(found, "lif1", found.replay, None)
    assert NeuronCase.of(found, "lif1", judged).steps.current[:20].any()


def test_the_earliest_samples_of_a_mask():
    mask = np.zeros((5, 4, 2, 3), bool)
    mask[3, 0, 1, 2] = mask[1, 1, 0, 0] = mask[0, 3, 1, 1] = True
    assert [earliest(mask, most).tolist() for most in (1, 2, 3, 9)] == [[3], [1, 3], [0, 1, 3], [0, 1, 2, 3]]


class Trained:
    """A side that is nothing but its gradients."""

    def __init__(self, label, **gradients):
        self.label, self._gradients = label, gradients

    def gradients(self, x):
        return self._gradients


@pytest.mark.parametrize("order", ["wb", "bw"])
def test_a_gradient_that_is_not_finite_differs_and_no_other_is_held_to_it(order):
    good, wrong = (
        {"w": np.ones(3), "b": np.array([1e-9])},
        {"w": np.array([1, np.inf, 1]), "b": np.array([1e-3])},
    )
    sides = [
        Trained(label, **{name: given[name] for name in order})
        for label, given in (("A", wrong), ("B", good))
    ]
    found = {g.name: g.agree for g in compare_gradients(*sides, X, (np.dtype(np.float32),) * 2)}
    assert found == {"w": False, "b": False}


@pytest.mark.parametrize("order", [1, -1])
def test_the_gradient_that_is_nan_is_the_one_that_is_named(order):
    pair = (GradientReport("w", 0.5, False), GradientReport("b", float("nan"), False))
    none = Numbers(0, None, 0.0, None)
    layer = LayerReport("lif", "Leaky", (2,), 20, none, none, 0, 0)
    report = Report(("A", "B"), "float32", 5, (layer,), gradients=pair[::order])
    assert "that of b has NaN" in report.verdict
