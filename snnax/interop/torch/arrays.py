"""torch's tensors as NumPy's arrays."""

from __future__ import annotations

from typing import Any

import ml_dtypes
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


def dtype_of(dtype: torch.dtype) -> np.dtype[Any]:
    """NumPy's data type of torch's; those that NumPy has not, as bfloat16, are those of ``ml_dtypes``."""
    name = str(dtype).removeprefix("torch.")
    return np.dtype(getattr(ml_dtypes, name, name))
