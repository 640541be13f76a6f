"""torch's losses give torch's numbers and gradients."""

from __future__ import annotations

import jax
import numpy as np
import pytest
import torch

import snnax as snn
from snnax.errors import ArgumentError, ShapeError

RNG = np.random.default_rng(0)
X = RNG.normal(size=(4, 5)).astype(np.float32)
TARGETS = {"CrossEntropyLoss": np.array([0, 4, 2, 2]), "MSELoss": X[::-1].copy(), "L1Loss": X[::-1].copy()}


@pytest.mark.parametrize("name", TARGETS)
@pytest.mark.parametrize("reduction", ["mean", "sum", "none"])
def test_they_are_torchs(name, reduction):
    x = torch.tensor(X, requires_grad=True)
    theirs = getattr(torch.nn, name)(reduction=reduction)(x, torch.from_numpy(TARGETS[name]))
    ours = getattr(snn, name)(reduction)
    np.testing.assert_allclose(ours(X, TARGETS[name]), theirs.detach(), rtol=1e-5)
    theirs.sum().backward()
    np.testing.assert_allclose(
        jax.grad(lambda x: ours(x, TARGETS[name]).sum())(X), x.grad, rtol=1e-5, atol=1e-7
    )
    assert ours == getattr(snn, name)(reduction) and hash(ours) == hash(getattr(snn, name)(reduction))


def test_what_does_not_fit_is_refused():
    for call in (lambda: snn.MSELoss()(X, X[:2]), lambda: snn.CrossEntropyLoss()(X, TARGETS["MSELoss"])):
        with pytest.raises(ShapeError, match="expected"):
            call()
    for wrong in (lambda: snn.L1Loss("max"), lambda: snn.CrossEntropyLoss()(X, np.ones(4))):
        with pytest.raises(ArgumentError, match="expected"):
            wrong()
