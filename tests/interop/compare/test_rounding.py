"""The rounding bounds against sums and steps that really round."""

from __future__ import annotations

import ml_dtypes
import numpy as np
import pytest
from helpers.hand_bounds import Recursion, accumulated, recursion, step_bounds

from snnax.interop.compare.bounds import current_bound, growth, rms_bound, unit_roundoff
from snnax.interop.compare.equation import Equation
from snnax.interop.spec import NeuronSpec

U32 = 2.0**-24


def sums(weights: np.ndarray, spikes: np.ndarray, order: str) -> np.ndarray:
    """``weights @ spikes`` in float32: ascending, descending, pairwise, in eight lanes, or as BLAS does."""
    terms = (weights[None] * spikes[:, None]).astype(np.float32)
    if order == "blas":
        return spikes @ weights.T
    if order == "pairwise":
        return terms.sum(-1, dtype=np.float32)
    if order == "lanes":
        lanes = terms.reshape(*terms.shape[:-1], -1, 8)
        return np.add.accumulate(np.add.accumulate(lanes, -2)[..., -1, :], -1)[..., -1]
    terms = terms if order == "up" else terms[..., ::-1]
    return np.add.accumulate(terms, -1, dtype=np.float32)[..., -1]


ORDERS = ("up", "down", "pairwise", "lanes", "blas")


def weights_of(kind: str, rng: np.random.Generator, terms: int) -> np.ndarray:
    if kind == "positive":
        return rng.random((16, terms)).astype(np.float32)
    if kind == "cancelling":
        half = rng.normal(size=(16, terms // 2)).astype(np.float32)
        return np.concatenate([half, -half], 1)
    if kind == "equal":
        return np.full((16, terms), 1 / 3, np.float32)
    if kind == "wide":
        return (rng.normal(size=(16, terms)) * 10.0 ** rng.integers(-6, 3, (16, terms))).astype(np.float32)
    return rng.normal(size=(16, terms)).astype(np.float32)


@pytest.mark.parametrize("terms", [8, 64, 1000, 4000])
@pytest.mark.parametrize("kind", ["normal", "positive", "cancelling", "equal", "wide"])
def test_every_order_of_summation_keeps_to_the_bound(kind, terms):
    rng = np.random.default_rng(terms)
    weights = weights_of(kind, rng, terms)
    spikes = (rng.random((12, terms)) < 0.7).astype(np.float32)
    magnitude = np.abs(weights).astype(np.float64) @ spikes.T.astype(np.float64)
    repeats = terms if kind == "equal" else 1.0
    bound = current_bound(magnitude.T, terms, (U32, U32), repeats=repeats)
    mean = rms_bound(magnitude.T[:, None], terms, (U32, U32), repeats)
    results = [sums(weights, spikes, order).astype(np.float64) for order in ORDERS]
    for left in results:
        for right in results:
            gap = np.abs(left - right)
            assert (gap <= bound).all()
            if mean is not None:
                assert (np.sqrt((gap * gap).mean(0)) <= mean[0, 0]).all()


def test_the_bound_is_not_much_larger_than_what_happens():
    rng = np.random.default_rng(0)
    weights = rng.random((64, 1000)).astype(np.float32)
    spikes = np.ones((8, 1000), np.float32)
    gap = np.abs(sums(weights, spikes, "up").astype(np.float64) - weights.astype(np.float64).sum(1))
    bound = growth(1000, U32) * weights.sum(1)
    assert 0.01 < (gap / bound).max() < 1
    assert growth(1000, U32) < 0.3 * 1000 * U32


@pytest.mark.parametrize(
    ("terms", "repeats", "expected"),
    [(0, 1, 0.0), (1, 1, 1.0), (63, 1, 63.0), (10000, 1, 800.0), (1000, 1000, 1000.0)],
)
def test_the_smaller_of_the_certain_and_the_likely_bound(terms, repeats, expected):
    assert growth(terms, U32, repeats) / U32 == pytest.approx(expected, rel=1e-3)


def test_few_terms_have_no_mean_bound():
    assert rms_bound(np.ones((3, 2, 4)), 16, (U32, U32)) is None


@pytest.mark.parametrize(
    ("dtype", "u"),
    [(np.float32, 2.0**-24), (np.float64, 2.0**-53), (np.float16, 2.0**-11), (ml_dtypes.bfloat16, 2.0**-8)],
)
def test_unit_roundoff(dtype, u):
    assert unit_roundoff(np.dtype(dtype)) == u


def leaky(x, beta, threshold, fused):
    """Leaky, subtract, in float32; ``fused`` rounds ``beta * mem + x`` once."""
    mem, rows = np.zeros_like(x[0]), []
    for current in x:
        flag = (mem > threshold).astype(np.float32)
        if fused:
            mem = (np.float64(beta) * mem.astype(np.float64) + current).astype(np.float32) - flag * threshold
        else:
            mem = np.float32(beta) * mem + current - flag * threshold
        rows.append(mem)
    return np.stack(rows)


@pytest.mark.parametrize("beta", [0.3, 0.9, 0.999])
def test_a_fused_multiply_add_keeps_to_the_bound_of_a_step(beta):
    rng = np.random.default_rng(1)
    x = rng.normal(0.2, 0.5, (100, 400)).astype(np.float32)
    beta = np.float32(beta)
    a, b = leaky(x, beta, np.float32(9e9), False), leaky(x, beta, np.float32(9e9), True)
    assert (a != b).any()
    late = [np.concatenate([np.zeros_like(m[:1]), m[:-1]]).astype(np.float64) for m in (a, b)]
    rule = Recursion(decay=float(beta))
    gaps, sizes = {"mem": np.abs(late[0] - late[1])}, {"mem": np.maximum(*map(np.abs, late))}
    bound = step_bounds(rule, 2 * U32, gaps, sizes, np.zeros_like(x, np.float64), np.abs(x))["mem"]
    gap = np.abs(a.astype(np.float64) - b)
    assert (gap <= bound).all()
    carried = accumulated(rule, 2 * U32, ("mem",), {"mem": np.abs(a)}, np.zeros_like(x), np.abs(x))["mem"]
    assert (gap <= carried).all() and carried[-1].max() < 2e-3


def test_a_relative_error_of_the_decay_breaks_the_bound_of_a_step():
    x = np.full((20, 1), 0.3, np.float32)
    a, b = (leaky(x, np.float32(beta), np.float32(9.0), False) for beta in (0.9, 0.9 * (1 + 1e-5)))
    late = [np.concatenate([np.zeros_like(m[:1]), m[:-1]]).astype(np.float64) for m in (a, b)]
    gaps, sizes = {"mem": np.abs(late[0] - late[1])}, {"mem": np.maximum(*map(np.abs, late))}
    bound = step_bounds(Recursion(0.9, threshold=9.0), 2 * U32, gaps, sizes, np.zeros((20, 1)), np.abs(x))[
        "mem"
    ]
    assert (np.abs(a.astype(np.float64) - b) > bound).any()


def test_states_that_were_not_recorded_are_estimated_from_the_current():
    rng = np.random.default_rng(2)
    x = rng.normal(size=(30, 5))
    rule = Recursion(decay=0.9, syn_decay=0.5)
    known = accumulated(rule, U32, ("syn", "mem"), {}, np.zeros_like(x), np.abs(x))
    syn, mem = np.zeros(5), np.zeros(5)
    for t, current in enumerate(x):
        syn = 0.5 * syn + current
        mem = 0.9 * mem + syn
        assert (known["mem"][t] >= 6 * U32 * np.abs(syn)).all()
    assert known["mem"].shape == x.shape


# --- The bound of a step by derivatives, against errors that really occur and against the one by hand ---

FAMILIES = {
    "Leaky": {"beta": (0.02, 1.0), "graded_spikes_factor": (0.5, 2.0)},
    "RLeaky": {"beta": (0.02, 1.0)},
    "Synaptic": {"alpha": (0.02, 1.0), "beta": (0.02, 1.0)},
    "RSynaptic": {"alpha": (0.02, 1.0), "beta": (0.02, 1.0)},
    "Alpha": {"alpha": (0.6, 0.99), "beta": (0.05, 0.55)},
    "Lapicque": {"R": (1.0, 9.0), "C": (0.5, 3.0), "time_step": (0.1, 0.4)},
}
ABOVE_HAND = {"Alpha": 6.0, "Lapicque": 3.0}
"""How much wider the derivative's bound may be than that by hand: 2, but of Alpha, where an error of a decay counts as
what it does to the logarithms, and of Lapicque, where each of three parameters counts."""


def random_step(kind, reset, delay, seed=0, n=600):
    """A neuron with numbers of its own at each entry, and states and a current that meet all resets."""
    rng = np.random.default_rng(seed)
    ranges = {**FAMILIES[kind], "threshold": (0.5, 1.5)}
    values = {k: rng.uniform(*v, n).astype(np.float32) for k, v in ranges.items()}
    spec = NeuronSpec(kind, values, options={"reset_mechanism": reset, "reset_delay": delay})
    states = {k: rng.normal(0.3, 1.0, n) for k in spec.states}
    feedback = rng.normal(0, 0.5, n) if kind.startswith("R") else None
    x = rng.normal(0.3, 1.0, n) * rng.choice([0.01, 1.0, 1000.0], n)
    return spec, states, x, feedback, rng


def bound_of(spec, u, states, x, apart, gap, feedback):
    size = np.abs(x) + (0.0 if feedback is None else np.abs(feedback))
    return Equation.of(spec).bounds(u, states, x, apart, {k: np.abs(v) for k, v in states.items()}, gap, size)


@pytest.mark.parametrize("delay", [True, False], ids=["late", "now"])
@pytest.mark.parametrize("reset", ["subtract", "zero", "none"])
@pytest.mark.parametrize("kind", FAMILIES)
def test_every_step_keeps_to_the_bound_by_derivatives(kind, reset, delay):
    """In single precision, with parameters a rounding off, from states that already differ."""
    spec, states, x, feedback, rng = random_step(kind, reset, delay)
    apart = {k: rng.uniform(-1, 1, x.shape) * 1e-5 for k in states}
    shift = rng.uniform(-1, 1, x.shape) * 1e-5
    off = {k: v.astype(np.float64) * (1 + rng.choice([-1, 1], v.shape) * U32) for k, v in spec.values.items()}
    exact = Equation.of(spec.with_values(**off)).step(states, x, feedback)
    moved = {k: (states[k] + apart[k]).astype(np.float32) for k in states}
    given = (x + shift).astype(np.float32)
    late = None if feedback is None else feedback.astype(np.float32)
    other = Equation.of(spec).step(moved, given, late)
    gaps = {k: np.abs(states[k] - moved[k]) for k in states}
    gap = np.abs(x - given) + (0.0 if feedback is None else np.abs(feedback - late))
    bounds = bound_of(spec, U32, states, x, gaps, gap, feedback)
    limit = spec.values["threshold"]
    same = (exact.spk != 0) == (other.spk != 0)
    same &= (states["mem"] > off["threshold"]) == (moved["mem"] > limit)
    assert same.mean() > 0.98
    for name, bound in bounds.items():
        error = np.abs(exact.states[name] - other.states[name])[same]
        assert (error <= bound[same]).all(), (name, (error / bound[same]).max())
        assert (error / bound[same]).max() > 0.05


@pytest.mark.parametrize("reset", ["subtract", "zero", "none"])
@pytest.mark.parametrize("kind", FAMILIES)
def test_the_bound_by_derivatives_is_near_that_by_hand(kind, reset):
    spec, states, x, feedback, _ = random_step(kind, reset, True)
    sizes = {k: np.abs(v) for k, v in states.items()}
    size = np.abs(x) + (0.0 if feedback is None else np.abs(feedback))
    for gap in (0.0, 1e-4):
        apart = {k: np.full(x.shape, gap) for k in states}
        bounds = bound_of(spec, 2 * U32, states, x, apart, np.full(x.shape, gap), feedback)
        by_hand = step_bounds(recursion(spec), 2 * U32, apart, sizes, np.full(x.shape, gap), size)
        for name, bound in bounds.items():
            assert (bound <= ABOVE_HAND.get(kind, 2.0) * by_hand[name]).all(), (
                name,
                (bound / by_hand[name]).max(),
            )
