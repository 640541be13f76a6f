"""The rounding bounds against sums and steps that really round."""

from __future__ import annotations

import ml_dtypes
import numpy as np
import pytest

from snnax.interop.compare.bounds import (
    Recursion,
    accumulated,
    current_bound,
    growth,
    rms_bound,
    step_bounds,
    unit_roundoff,
)

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
