"""Resets that a class takes, and numbers that only a reset shows."""

from __future__ import annotations

import flax.linen as nn
import numpy as np
import pytest

import snnax as snn
from snnax.interop.compare import compare
from snnax.interop.compare.differences import Place, differences
from snnax.interop.compare.equation import Equation
from snnax.interop.compare.fitting import Guess, fitted, structures
from snnax.interop.compare.steps import Steps
from snnax.interop.crossvalidation import FlaxSide
from snnax.interop.families.modules import spec_from_module

T, P = 40, 6
RNG = np.random.default_rng(0)
X = RNG.uniform(0, 1, (T, 1, P)).astype(np.float32)
RESONATE = {"b": -20.0, "omega": 600.0, "dt": 1e-3}
BOTH = (True, False)
TAKEN = {
    "Leaky": ({"beta": 0.9}, ("subtract", "zero", "none"), BOTH),
    "Synaptic": ({"alpha": 0.5, "beta": 0.9}, ("subtract", "zero", "none"), BOTH),
    "TwoDecayLIF": ({}, ("zero", "subtract", "value", "none"), BOTH),
    "ALIF": ({}, ("subtract", "zero", "value", "none"), (True,)),
    "AdEx": ({}, ("value", "subtract", "zero", "none"), (True,)),
    "ResonateFire": ({}, ("value", "subtract", "zero", "none"), (True,)),
    "Izhikevich": ({}, ("value", "none"), (True,)),
    "SRM": ({}, ("subtract", "none"), (True,)),
    "SigmaDelta": ({}, ("subtract", "none"), (True,)),
}


@pytest.mark.parametrize("kind", TAKEN)
def test_the_resets_that_a_class_takes_its_own_first(kind):
    given, mechanisms, delays = TAKEN[kind]
    spec = spec_from_module("lif", getattr(snn, kind)(**given), {}, 1)
    found = [(s.reset_mechanism, s.reset_delay) for s in structures(spec)]
    assert found[0] == (spec.reset_mechanism, spec.reset_delay) == (mechanisms[0], True)
    assert sorted(found) == sorted((m, d) for m in mechanisms for d in delays)


def recorded(spec, current, dtype=np.float32):
    """What neurons of ``spec`` do, from zero, with a current ``[T, P]``."""
    equation, state, rows = Equation.of(spec), {name: np.zeros(P, dtype) for name in spec.states}, []
    for x in current.astype(dtype):
        move = equation.step(state, x)
        rows.append((state, move.states, move.spk))
        state = move.states
    before, after = ({n: np.stack([row[i][n] for row in rows]) for n in spec.states} for i in (0, 1))
    spk = np.stack([row[2] for row in rows]).astype(np.float64)
    return Steps(before, after, current.astype(dtype), spk, None, np.zeros((T, P)), np.arange(P), (P,))


@pytest.mark.parametrize(
    ("change", "words"),
    [
        ({"v_reset": np.asarray(0.75)}, "v_reset 0.75 where A has 1."),
        ({"v_reset": np.asarray(0.75), "b": np.asarray(-30.0)}, "b -30 where A has -20."),
    ],
    ids=["reset", "reset-and-decay"],
)
def test_a_number_that_only_a_reset_shows_is_read_back(change, words):
    start = spec_from_module("lif", snn.ResonateFire(**RESONATE), {}, 1)
    steps = recorded(start.with_values(**change), X[:, 0])
    assert steps.spk.any() and steps.violations(start).any()
    guess = fitted(start, steps, each=False).reduced(start, steps)
    assert not guess.violations(steps)
    place = Place(("A", "B"), "lif", np.arange(P), (P,))
    said = [finding.cause.text for finding in differences(place, start, guess.spec)]
    assert len(said) == len(change) and any(words in text for text in said), said


@pytest.mark.parametrize(("name", "value"), [("threshold", 1.125), ("strength", 0.5), ("rho", 0.9)])
def test_a_threshold_that_rises_is_read_back(name, value):
    """What such a neuron compares with its threshold is computed from its states, by the numbers of the guess."""
    start = spec_from_module("lif", snn.ALIF(beta=0.9), {}, 1)
    steps = recorded(start.with_values(**{name: np.asarray(value)}), X[:, 0])
    assert steps.spk.any() and steps.violations(start).any()
    guess = fitted(start, steps, each=False).reduced(start, steps)
    assert guess.free == (name,) and not guess.violations(steps)
    np.testing.assert_allclose(guess.spec.values[name], value, rtol=1e-5)


def test_numbers_that_a_neuron_does_not_take_end_a_search_instead_of_raising():
    """Spikes that are no neuron's lead the search to a negative time step, which the class refuses."""
    start = spec_from_module("lif", snn.ResonateFire(**RESONATE), {}, 1)
    steps = recorded(start, X[:, 0])
    odd = {name: RNG.permutation(state) * 1e3 for name, state in steps.after.items()}
    guess = fitted(start, Steps(**{**vars(steps), "after": odd}), each=False)
    assert np.all(guess.spec.values["dt"] > 0)
    assert Guess(start).moved(dt=np.asarray(-1.0)).spec is start


class Claiming(FlaxSide):
    """A side whose graph and spec are those of another one."""

    claims: FlaxSide

    def graph(self):
        return self.claims.graph()

    def spec(self, name):
        return self.claims.spec(name)


@pytest.mark.parametrize(
    ("ours", "theirs", "words"),
    [
        (
            "value",
            "zero",
            "B sets the membrane to zero after a spike where A sets the membrane to its reset value",
        ),
        ("subtract", "value", "B sets the membrane to its reset value after a spike where A subtracts"),
    ],
)
def test_a_wrong_reset_of_a_neuron_that_may_reset_to_a_value(ours, theirs, words):
    params = {
        "params": {"layers_0": {"kernel": np.eye(P, dtype=np.float32), "bias": np.zeros(P, np.float32)}}
    }
    nets = [
        snn.Sequential([nn.Dense(P), snn.ResonateFire(**RESONATE, reset_mechanism=reset, init_hidden=True)])
        for reset in (ours, theirs)
    ]
    a, b = FlaxSide(nets[0], params, "A"), Claiming(nets[1], params, "B")
    b.claims = a
    cause = compare(a, b, X).first.cause
    assert (cause.kind, cause.certain) == ("reset mechanism", True) and words in cause.text, cause
