"""What the tests of kernels share: comparisons."""

import jax
import numpy as np


def close(ours, theirs, tolerance):
    """Equal up to ``tolerance`` of the largest, and of one type."""
    for a, b in zip(jax.tree.leaves(ours), jax.tree.leaves(theirs), strict=True):
        assert (a.shape, a.dtype) == (b.shape, b.dtype)
        a, b = (np.asarray(v, np.float64) for v in (a, b))
        assert np.abs(a - b).max(initial=0) <= tolerance * np.abs(b).max(initial=0)
