"""Accuracies and the penalty on activity against snnTorch."""

from __future__ import annotations

import jax
import jax.numpy as jnp
import numpy as np
import pytest

import snnax.functional as SF
from snnax.errors import ArgumentError, ShapeError

T, B, N = 6, 200, 6
POPULATION = {"population_code": True, "num_classes": 3}
CASES = [("accuracy_rate", {}), ("accuracy_rate", POPULATION), ("accuracy_temporal", {})]


def sample(options):
    """Few steps and many samples: ties in each of them, and silent neurons."""
    rng = np.random.default_rng(0)
    spk = (rng.random((T, B, N)) < 0.3).astype(np.float32)
    return spk, rng.integers(0, options.get("num_classes", N), B)


@pytest.mark.parametrize(("name", "options"), CASES)
def test_accuracies_are_those_of_snntorch(name, options):
    functional = pytest.importorskip("snntorch.functional")
    torch = pytest.importorskip("torch")
    spk, targets = sample(options)
    theirs = getattr(functional, name)(torch.tensor(spk), torch.tensor(targets), **options)
    assert 0.05 < theirs < 0.95
    assert float(getattr(SF, name)(spk, targets, **options)) == pytest.approx(theirs, abs=1e-7)


@pytest.mark.parametrize(("name", "options"), CASES)
def test_accuracies_work_in_jit_and_for_any_dtype(name, options):
    spk, targets = sample(options)
    function = getattr(SF, name)
    eager = float(function(spk, targets, **options))
    compiled = jax.jit(lambda s, y: function(s, y, **options))
    assert float(compiled(spk, targets)) == eager
    assert float(function(jnp.asarray(spk, bool), targets, **options)) == eager
    assert float(compiled(spk, targets * 0 - 1)) == 0


def test_the_first_of_equals_wins():
    spk = np.zeros((T, 2, 3), np.float32)
    spk[2, 1, 1:] = 1
    for function in (SF.accuracy_rate, SF.accuracy_temporal):
        assert float(function(spk, np.array([0, 1]))) == 1


@pytest.mark.parametrize("name", ["accuracy_rate", "accuracy_temporal"])
@pytest.mark.parametrize(
    ("shape", "targets", "error", "message"),
    [
        ((B, N), np.zeros(B, int), ShapeError, r"out\[None\]"),
        ((T, B, N), np.zeros((B, 1), int), ShapeError, "targets of shape"),
        ((T, B, N), np.zeros(B), ArgumentError, r"astype\(int\)"),
        ((T, B, N), np.full(B, N), ArgumentError, "0 to 5"),
    ],
)
def test_bad_calls_name_the_call_that_works(name, shape, targets, error, message):
    with pytest.raises(error, match=f"{name}.*{message}"):
        getattr(SF, name)(np.zeros(shape), targets)


def test_bad_populations_name_the_call_that_works():
    spk, targets = np.zeros((T, B, N)), np.zeros(B, int)
    with pytest.raises(ArgumentError, match="num_classes=10"):
        SF.accuracy_rate(spk, targets, population_code=True)
    with pytest.raises(ShapeError, match="a multiple of 4"):
        SF.accuracy_rate(spk, targets, population_code=True, num_classes=4)


def test_the_penalty_is_that_of_snntorch():
    functional = pytest.importorskip("snntorch.functional")
    torch = pytest.importorskip("torch")
    spk, _ = sample({})
    for options in ({}, {"Lambda": 0.25}):
        theirs = functional.l1_rate_sparsity(**options)(torch.tensor(spk))
        np.testing.assert_allclose(SF.l1_rate_sparsity(**options)(spk), theirs.numpy(), rtol=1e-6)


def test_the_penalty_is_a_value_with_the_gradient_lambda():
    penalty = SF.l1_rate_sparsity(0.5)
    assert penalty == SF.l1_rate_sparsity(Lambda=0.5)
    assert hash(penalty) == hash(SF.l1_rate_sparsity(0.5))
    assert penalty.__name__ == "l1_rate_sparsity"
    assert (jax.jit(jax.grad(penalty))(jnp.ones((2, 3))) == 0.5).all()
    assert float(penalty(jnp.ones(4, bool))) == 2
