"""Pooling as functions: torch's, with the channels last."""

import numpy as np
import pytest

import snnax.functional as F
from snnax.errors import ArgumentError, ShapeError

X = np.random.default_rng(0).normal(size=(2, 7, 6, 3)).astype(np.float32)


@pytest.mark.parametrize("name", ["max_pool2d", "avg_pool2d"])
@pytest.mark.parametrize("more", [(2,), (3, 2), ((3, 2), (1, 2), (1, 0))])
def test_they_are_torchs(name, more):
    torch = pytest.importorskip("torch")
    theirs = getattr(torch.nn.functional, name)(torch.tensor(np.moveaxis(X, -1, 1)), *more)
    ours = getattr(F, name)(X, *more)
    np.testing.assert_allclose(np.moveaxis(ours, -1, 1), theirs.numpy(), rtol=1e-5, atol=1e-6)


def test_what_is_no_batch_of_images_is_refused():
    with pytest.raises(ShapeError, match=r"expected \[B, H, W, C\]"):
        F.max_pool2d(X[0], 2)
    with pytest.raises(ArgumentError, match="sizes >= 1"):
        F.avg_pool2d(X, 0)
