"""How two neurons differ, in words, and numbers read back from recorded steps of every family."""

from __future__ import annotations

import numpy as np
import pytest

from snnax.interop.compare.differences import Place, differences
from snnax.interop.compare.equation import Equation
from snnax.interop.compare.fitting import GAIN, fitted, inferred
from snnax.interop.compare.steps import Steps, pick
from snnax.interop.spec import NeuronSpec

T, P = 30, 12
PLACE = Place(("A", "B"), "lif", np.arange(P), (P,))
LEAKY = NeuronSpec("Leaky", {"beta": np.asarray(0.9), "threshold": np.asarray(1.0)})
LAPICQUE = {
    "R": np.asarray(5.0),
    "C": np.asarray(0.3),
    "time_step": np.asarray(0.2),
    "threshold": np.asarray(1.0),
}


def said(a: NeuronSpec, b: NeuronSpec, **given: float) -> list[tuple[str, str]]:
    return [(f.cause.kind, f.cause.text) for f in differences(PLACE, a, b, **given)]


@pytest.mark.parametrize(
    ("other", "kind", "words"),
    [
        (LEAKY.with_values(beta=np.asarray(0.85)), "beta", "B decays with beta 0.85 where A has 0.9."),
        (LEAKY.with_values(graded_spikes_factor=np.asarray(0.5)), "gain", "height 0.5 where A has 1."),
        (
            LEAKY.with_options(reset_mechanism="none"),
            "reset mechanism",
            "B does not reset after a spike where A",
        ),
        (LEAKY.with_options(reset_delay=False), "reset delay", "B resets in the step of the spike"),
        (LEAKY.with_options(inhibition=True), "inhibition", "B's lif has inhibition=True, A's False."),
        (
            NeuronSpec("Leaky", LEAKY.values, quantizer=(0.0, 1.0)),
            "quantizer",
            "rounds its states to other levels",
        ),
        (NeuronSpec("IF", {"r": np.asarray(1.0)}), "neuron class", "B's lif is an IF, A's a Leaky."),
    ],
    ids=["number", "meant", "reset", "delay", "inhibition", "levels", "class"],
)
def test_one_difference_is_said_once(other, kind, words):
    ((found, text),) = said(LEAKY, other)
    assert found == kind and words in text
    assert not said(other, other)


def test_numbers_are_told_to_the_digit_in_which_they_differ_or_not_at_all():
    near = LEAKY.with_values(beta=np.asarray(0.9 * (1 + 1e-9)))
    assert said(LEAKY, near) == [("beta", "B decays with beta 0.900000001 where A has 0.9.")]
    assert said(LEAKY, near, rtol=1e-6) == []


def test_a_circuit_is_told_by_its_decay_and_its_gain():
    a = NeuronSpec("Lapicque", LAPICQUE)
    assert [kind for kind, _ in said(a, a.with_values(R=np.asarray(4.0)))] == ["beta"]
    assert [kind for kind, _ in said(a, a.with_values(C=np.asarray(0.4)))] == ["beta", "gain"]
    same = a.with_values(C=np.asarray(0.6), R=np.asarray(5.0), time_step=np.asarray(0.4))
    assert said(a, same) == []


def test_weights_and_options_of_a_class_are_told_by_their_names():
    def layer(steps: int, weight: float) -> NeuronSpec:
        sizes = {"channels": P, "kernel_truncation_steps": steps}
        return NeuronSpec(
            "StateLeaky", {"beta": np.asarray(0.9)}, sizes=sizes, weights={"tau": np.full(P, weight)}
        )

    found = dict(said(layer(3, 10.0), layer(4, 10.5)))
    assert "has kernel_truncation_steps=4, A's has kernel_truncation_steps=3" in found["neuron class"]
    assert "has another tau: it differs from A's by up to 0.5" in found["weights"]


def recorded(spec: NeuronSpec, gain: float = 1.0, dtype: type = np.float32) -> Steps:
    """What neurons of ``spec`` do with some input times ``gain``."""
    rng, equation = np.random.default_rng(0), Equation.of(spec)
    current = rng.normal(0.2, 0.6, (T, P)).astype(dtype)
    state, rows = {name: np.zeros(P, dtype) for name in spec.states}, []
    for x in current:
        move = equation.step(state, (x * gain).astype(dtype))
        rows.append((state, move.states, move.spk))
        state = move.states
    before, after = ({n: np.stack([row[i][n] for row in rows]) for n in spec.states} for i in (0, 1))
    spk = np.stack([row[2] for row in rows]).astype(np.float64)
    return Steps(before, after, current, spk, None, np.zeros((T, P)), np.arange(P), (P,))


EACH = np.linspace(0.5, 0.95, P)
SYNAPTIC = NeuronSpec("Synaptic", {**LEAKY.values, "alpha": np.asarray(0.7)})
ALPHA = NeuronSpec("Alpha", {**LEAKY.values, "alpha": np.asarray(0.95)})


@pytest.mark.parametrize(
    ("start", "change", "reset"),
    [
        (LEAKY, {"beta": 0.8, "threshold": 1.25}, "subtract"),
        (LEAKY, {"beta": 0.8, "threshold": 1.25}, "none"),
        (LEAKY, {"beta": EACH}, "zero"),
        (SYNAPTIC, {"alpha": 0.5, "beta": 0.95}, "subtract"),
        (ALPHA, {"alpha": 0.98, "beta": 0.7}, "zero"),
        (NeuronSpec("Lapicque", LAPICQUE), {"C": 0.5}, "subtract"),
    ],
    ids=["leaky", "leaky-none", "each", "synaptic", "alpha", "lapicque"],
)
def test_numbers_are_read_back_from_what_was_recorded(start, change, reset):
    start = start.with_options(reset_mechanism=reset)
    made = start.with_values(**{k: np.asarray(v) for k, v in change.items()})
    steps = recorded(made)
    assert steps.spk.any() and steps.violations(start).any() and not steps.violations(made).any()
    guess = fitted(start, steps, each=any(np.ndim(v) for v in change.values()))
    assert not guess.violations(steps)
    smallest = guess.reduced(start, steps)
    told = {n: v for n, v in smallest.spec.family.told(smallest.spec.values).items() if n != "threshold"}
    for name, value in made.family.told(made.values).items():
        if name != "threshold":
            np.testing.assert_allclose(told[name], np.broadcast_to(value, (P,)), rtol=1e-5)
    assert smallest.gain == 1.0 and smallest.free and GAIN not in smallest.free


def test_a_gain_is_read_back_and_what_is_not_needed_is_put_back():
    steps = recorded(LEAKY, gain=1.5)
    guess = fitted(LEAKY, steps, each=False).reduced(LEAKY, steps)
    assert guess.free == (GAIN,) and guess.gain == pytest.approx(1.5, rel=1e-5)
    assert all(np.all(guess.spec.values[k] == v) for k, v in LEAKY.values.items())


def test_of_an_unknown_neuron_the_family_that_made_every_step_is_assumed():
    made = NeuronSpec(
        "Synaptic", {**LEAKY.values, "alpha": np.asarray(0.7)}, options={"reset_mechanism": "zero"}
    )
    found = inferred(recorded(made))
    assert found.kind == "Synaptic" and found.reset_mechanism == "zero"
    np.testing.assert_allclose(found.alpha, 0.7, rtol=1e-5)
    odd = recorded(made)
    assert inferred(Steps(**{**vars(odd), "current": odd.current[::-1]})) is None


def test_steps_as_if_something_else_had_come_in():
    steps = recorded(LEAKY)
    assert not steps.part(slice(1, None)).violations(LEAKY).any()
    assert steps.part(slice(None, -1), slice(1, None)).violations(LEAKY).any()
    assert steps.scaled(1.1).violations(LEAKY).any() and steps.scaled(1.0) is steps
    mask = np.zeros((T, 2, P), bool)
    mask[5, 1, 3] = mask[2, 0, 7] = True
    np.testing.assert_array_equal(pick(mask), [[0, 7], [1, 3]])
