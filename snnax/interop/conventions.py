"""The only home of units, decay and time constants, gains and axis order.

NIR has continuous-time parameters in seconds and no time step; snnTorch has decays per step. With the
forward Euler step that snnTorch's exporter and Norse use::

    v <- v + dt/tau * (v_leak - v + r*I)      beta = 1 - dt/tau       gain = r*dt/tau

so a neuron that decays by ``beta`` and adds its input unscaled has ``tau = dt/(1-beta)``, ``r = 1/(1-beta)``.
"""

from __future__ import annotations

from typing import Any

import numpy as np

from snnax.errors import ConversionError

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


# --- an array against a sample ---------------------------------------------------------------------
#
# A parameter is one number, or an array that broadcasts from the right to one sample. Which axes it lies along
# therefore depends on how many the sample has: (C,) is a number for each channel of H, W, C, and one for each
# column of C, H, W.


def per_neuron_first(array: Any, rank: int) -> np.ndarray:
    """A parameter of samples ``H, W, C`` as one of samples ``C, H, W``: ``(C,) -> (C, 1, 1)``.

    Args:
        array: one number, or what broadcasts from the right to a sample; axes of length 1 in front mean nothing.
        rank: axes of a sample.

    Raises:
        ValueError: the array has more axes than a sample.

    Example:
        >>> import numpy as np
        >>> from snnax.interop.conventions import per_neuron_first
        >>> [per_neuron_first(np.zeros(s), 3).shape for s in ((5,), (1, 5), (4, 5), (4, 1), (3, 4, 5))]
        [(5, 1, 1), (5, 1, 1), (5, 1, 4), (4,), (5, 3, 4)]
    """
    return without_ones(channels_first(_with_axes(array, rank)))


def per_neuron_last(array: Any, rank: int) -> np.ndarray:
    """The inverse of :func:`per_neuron_first`: ``(C, 1, 1) -> (C,)``, and ``(W,) -> (W, 1)``."""
    return without_ones(channels_last(_with_axes(array, rank)))


def against(array: Any, shape: tuple[int, ...]) -> np.ndarray:
    """A parameter of samples of ``shape``, in their order of axes, without axes of length 1 in front.

    Raises:
        ValueError: it does not broadcast to a sample, as an array with a number for each sample of a batch.
    """
    small = without_ones(array)
    if small.ndim and np.broadcast_shapes(small.shape, shape) != shape:
        raise ValueError(f"{np.shape(array)} does not broadcast to {shape}")
    return small


def fitting(name: str, what: str, array: Any, shape: tuple[int, ...]) -> np.ndarray:
    """:func:`against`, of the parameter ``what`` of the layer ``name``.

    Raises:
        ConversionError: it does not broadcast to a sample; names both.
    """
    try:
        return against(array, shape)
    except ValueError as error:
        raise ConversionError(
            name,
            f"{what} has shape {np.shape(array)}, the layer has neurons {shape}",
            "Give one number, or one for each neuron, alike for all samples of the batch.",
        ) from error


def for_each(array: Any, shape: tuple[int, ...], dtype: Any = None) -> np.ndarray:
    """A parameter written out, one number for each neuron of samples of ``shape``.

    Raises:
        ValueError: as :func:`against`.
    """
    return np.array(np.broadcast_to(np.asarray(against(array, shape), dtype), shape))


def gathered(array: Any, shape: Any) -> np.ndarray:
    """The array of that ``shape`` of which ``array`` is the broadcast; itself if it is not, or for ``None``."""
    array = np.asarray(array)
    if shape is None or len(shape) > array.ndim:
        return array
    full = (1,) * (array.ndim - len(shape)) + tuple(shape)
    small = array[tuple(slice(0, 1) if n == 1 else slice(None) for n in full)]
    return small.reshape(shape) if small.shape == full and (small == array).all() else array


def same_shape(a: tuple[int, ...], b: tuple[int, ...]) -> bool:
    """Whether two shapes differ in axes of length 1 in front alone, so that both mean the same to any sample."""
    count = max(len(a), len(b))
    return (1,) * (count - len(a)) + tuple(a) == (1,) * (count - len(b)) + tuple(b)


def without_ones(array: Any) -> np.ndarray:
    """Without the axes of length 1 in front of others."""
    array = np.asarray(array)
    while array.ndim > 1 and array.shape[0] == 1:
        array = array[0]
    return array


def _with_axes(array: Any, rank: int) -> np.ndarray:
    """As many axes as a sample has; one number stays."""
    array = without_ones(array)
    if array.ndim > rank:
        raise ValueError(f"an array of shape {array.shape} for samples of {rank} axes")
    return array.reshape((1,) * (rank - array.ndim) + array.shape) if array.ndim else array


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
