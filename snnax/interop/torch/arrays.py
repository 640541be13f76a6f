"""torch's tensors as NumPy's arrays."""

from __future__ import annotations

from typing import Any

import numpy as np
import torch

from snnax.interop import numbers


def array(tensor: Any) -> np.ndarray:
    """A tensor as a NumPy array of its own memory, so that later training does not change it.

    What has fewer bits than float32 becomes float32, which holds it exactly.
    """
    found = numbers.array(type(tensor).__name__, "", torch.as_tensor(tensor))
    narrow = torch.as_tensor(tensor).is_floating_point() and found.dtype.itemsize < 4
    return np.array(found, np.float32 if narrow else found.dtype)
