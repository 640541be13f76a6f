"""Numbers of neurons: equal but for rounding, one for all, and in the precision and shape of what is written."""

from __future__ import annotations

from typing import Any

import jax
import numpy as np

from snnax.interop.conventions import file_dtype, fitting, for_each
from snnax.interop.numbers import WRITTEN, narrow, on_device
from snnax.interop.spec import NeuronSpec


def near(now: Any, written: Any) -> bool:
    """True for a parameter that is what was written, but for its rounding to single precision."""
    return bool(np.allclose(np.asarray(now, np.float64), np.asarray(written, np.float64), rtol=3e-7, atol=0))


def tidy(value: Any) -> np.ndarray:
    """One number where all neurons share it."""
    value = np.asarray(value)
    return value.reshape(-1)[0].reshape(()) if value.size and (value == value.reshape(-1)[0]).all() else value


def wide(spec: NeuronSpec, key: str) -> np.ndarray:
    """A number of a spec in double precision."""
    return np.asarray(spec.values[key], np.float64)


def decay(spec: NeuronSpec, key: str) -> np.ndarray:
    """A decay in double precision, clipped to 0..1 as snnTorch's neurons clip theirs."""
    return np.clip(wide(spec, key), 0.0, 1.0)


def has_doubles(spec: NeuronSpec) -> bool:
    """True if a value for each neuron is in double precision."""
    return any(np.asarray(v).dtype == np.float64 and np.ndim(v) for v in spec.values.values())


def dtype_of(spec: NeuronSpec, *parameters: np.ndarray) -> Any:
    """Precision of a node with these parameters, beside those of the spec: that of the file they were read from."""
    return file_dtype(*parameters, spec.values["threshold"]) if has_doubles(spec) else np.float32


def full(name: str, what: str, value: np.ndarray, shape: tuple[int, ...] | None, dtype: Any) -> np.ndarray:
    """A parameter as a node holds it: in ``dtype``, one value for each neuron of ``shape``."""
    value = (
        np.asarray(value, np.float64) if dtype == np.float64 else narrow(name, what, value, remedy=WRITTEN)
    )
    return value if shape is None else for_each(fitting(name, what, value, shape), shape)


def kept(array: np.ndarray) -> Any:
    """In the precision that it has: float64 stays NumPy's, which jit rounds when it runs in float32."""
    wide = array.dtype == np.float64 and not jax.config.read("jax_enable_x64")
    return np.array(array) if wide else on_device(array)
