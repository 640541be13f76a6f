"""The only home of units, decay and time constants, gains and axis order.

NIR has continuous-time parameters in seconds and no time step; snnTorch has decays per step. With the
forward Euler step that snnTorch's exporter and Norse use::

    v <- v + dt/tau * (v_leak - v + r*I)      beta = 1 - dt/tau       gain = r*dt/tau

so a neuron that decays by ``beta`` and adds its input unscaled has ``tau = dt/(1-beta)``, ``r = 1/(1-beta)``.
"""

from __future__ import annotations

from typing import Any

import numpy as np

DT = 1e-4
"""Time step in seconds where neither the caller nor the graph names one; snnTorch's and the NIR paper's."""


def tau_from_decay(decay: np.ndarray, dt: float) -> np.ndarray:
    """``tau = dt / (1 - decay)`` in seconds, computed in float64; infinite for a decay of 1."""
    with np.errstate(divide="ignore"):
        return dt / (1.0 - np.asarray(decay, np.float64))


def decay_from_tau(tau: np.ndarray, dt: float) -> np.ndarray:
    """``decay = 1 - dt / tau``, computed in float64."""
    return 1.0 - dt / np.asarray(tau, np.float64)


def gain(factor: np.ndarray, tau: np.ndarray, dt: float) -> np.ndarray:
    """What one unit of input adds in one Euler step: ``factor * dt / tau``."""
    return np.asarray(factor, np.float64) * dt / np.asarray(tau, np.float64)


def file_dtype(*parameters: np.ndarray) -> Any:
    """float32 if that holds all these parameters of a node, but for the error of deriving them; else float64."""
    for values in parameters:
        wide = np.asarray(values, np.float64)
        with np.errstate(over="ignore"):
            if not np.allclose(wide.astype(np.float32), wide, rtol=1e-10, atol=0):
                return np.float64
    return np.float32


def channels_last(array: Any) -> np.ndarray:
    """One sample's array from torch's ``C, H, W`` to ``H, W, C``; vectors and scalars stay."""
    array = np.asarray(array)
    return np.moveaxis(array, 0, -1) if array.ndim > 1 else array


def channels_first(array: Any) -> np.ndarray:
    """The inverse of :func:`channels_last`."""
    array = np.asarray(array)
    return np.moveaxis(array, -1, 0) if array.ndim > 1 else array


def shape_first(shape: tuple[int, ...]) -> tuple[int, ...]:
    """``(H, W, C) -> (C, H, W)``."""
    return (shape[-1], *shape[:-1]) if len(shape) > 1 else shape


def shape_last(shape: tuple[int, ...]) -> tuple[int, ...]:
    """``(C, H, W) -> (H, W, C)``."""
    return (*shape[1:], shape[0]) if len(shape) > 1 else shape


def per_neuron_last(array: Any, rank: int) -> np.ndarray:
    """A parameter that broadcasts over ``C, H, W`` from the right, made to broadcast over ``H, W, C``."""
    array = np.asarray(array)
    if array.ndim == 0 or rank < 2:
        return array
    return channels_last(array.reshape((1,) * (rank - array.ndim) + array.shape))


def per_neuron_first(array: Any) -> np.ndarray:
    """The inverse of :func:`per_neuron_last`; leading axes of length 1 go."""
    array = channels_first(array)
    while array.ndim > 1 and array.shape[0] == 1:
        array = array[0]
    return array


def kernel_from_torch(weight: Any) -> np.ndarray:
    """A torch weight as a flax kernel: ``(out, in) -> (in, out)``, ``(O, I, H, W) -> (H, W, I, O)``."""
    weight = np.asarray(weight)
    return np.ascontiguousarray(np.moveaxis(weight, (0, 1), (-1, -2)))


def kernel_to_torch(kernel: Any) -> np.ndarray:
    """The inverse of :func:`kernel_from_torch`."""
    kernel = np.asarray(kernel)
    return np.ascontiguousarray(np.moveaxis(kernel, (-1, -2), (0, 1)))


def traces_first(array: Any) -> np.ndarray:
    """``[T, B, H, W, C] -> [T, B, C, H, W]``; ``[T, B, N]`` stays."""
    array = np.asarray(array)
    return np.moveaxis(array, -1, 2) if array.ndim > 3 else array


def traces_last(array: Any) -> np.ndarray:
    """The inverse of :func:`traces_first`."""
    array = np.asarray(array)
    return np.moveaxis(array, 2, -1) if array.ndim > 3 else array
