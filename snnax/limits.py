"""How large a network may become for one sample: padding, delays and outputs that would end the process are refused.

A few bytes can ask for any amount of memory: a convolution padded by 100 000, a delay of a billion steps. JAX then
ends the process, or waits for ever. So sizes are checked where they follow from numbers alone, before anything runs.
"""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from contextvars import ContextVar
from math import prod
from typing import Any

import numpy as np

from snnax.errors import ArgumentError, ShapeError

__all__ = ["check_convolution", "check_values", "size_limit"]

VALUES = 2**26
"""Numbers that one layer may make of, or keep for, one sample: 256 MiB in single precision."""

_limit: ContextVar[int] = ContextVar("snnax_size_limit", default=VALUES)


@contextmanager
def size_limit(values: int) -> Iterator[None]:
    """Within this block one layer may make of, or keep for, one sample up to ``values`` numbers.

    The limit is 2**26 elsewhere, 256 MiB in single precision. It holds for :func:`snnax.interop.from_nir`, ``init``,
    ``apply`` and :func:`snnax.unroll`.

    Args:
        values: the limit.

    Raises:
        ArgumentError: if it is no whole number >= 1.

    Example:
        >>> import jax.numpy as jnp, snnax as snn
        >>> with snn.size_limit(2**30):
        ...     y, _ = snn.unroll(snn.Delay(3), {}, jnp.ones((5, 1, 1)))
        >>> y.ravel().tolist()
        [0.0, 0.0, 0.0, 1.0, 1.0]
    """
    if isinstance(values, bool) or not isinstance(values, int | np.integer) or values < 1:
        raise ArgumentError(f"size_limit({values!r}); expected a whole number of values >= 1, as 2**30.")
    token = _limit.set(int(values))
    try:
        yield
    finally:
        _limit.reset(token)


def check_values(name: str, values: float, what: str) -> None:
    """Refuse a layer that asks for more than the limit.

    Args:
        name: of the layer.
        values: numbers for one sample.
        what: it needs them for, in words.

    Raises:
        ShapeError: names the layer and the way to allow it.
    """
    if values > _limit.get():
        raise ShapeError(
            f"{name!r} {what}: {values:.3g} numbers for one sample, and the limit is {_limit.get():.3g}. If that is "
            f"meant, and the memory is there, do it within: with snnax.size_limit({int(values)}): ... (or "
            f"with --size-limit {int(values)})"
        )


def check_convolution(name: str, module: Any, shape: tuple[int, ...]) -> None:
    """Refuse a convolution of flax's whose padding makes too much of an input ``[..., H, W, C]``.

    Raises:
        ShapeError: as :func:`check_values`.
    """
    rank = np.size(module.kernel_size)
    if isinstance(module.padding, str) or len(shape) <= rank:
        return
    given = (module.padding,) * rank if isinstance(module.padding, int) else tuple(module.padding)
    pads = [(int(p), int(p)) if isinstance(p, int | np.integer) else (int(p[0]), int(p[1])) for p in given]
    if len(pads) != rank or not any(any(pad) for pad in pads):
        return
    stride, dilation = (
        np.broadcast_to(1 if v is None else v, rank) for v in (module.strides, module.kernel_dilation)
    )
    kernel, spatial = np.broadcast_to(module.kernel_size, rank), shape[-rank - 1 : -1]
    padded = tuple(n + sum(pad) for n, pad in zip(spatial, pads, strict=True))
    check_values(name, prod(padded) * shape[-1], f"pads samples of shape {shape[-rank - 1 :]} to {padded}")
    out = tuple(
        max((n - (int(k) - 1) * int(wide) - 1) // int(step) + 1, 0)
        for n, k, wide, step in zip(padded, kernel, dilation, stride, strict=True)
    )
    check_values(name, prod(out) * int(module.features), f"makes samples of shape {(*out, module.features)}")
