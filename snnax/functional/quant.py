"""Levels for ``state_quant``, the quantization of a neuron's state while it trains."""

from __future__ import annotations

import math
from itertools import accumulate

import numpy as np

from snnax import checks
from snnax.errors import ArgumentError
from snnax.neurons.quantize import NearestLevel

__all__ = ["StateQuant", "state_quant"]

StateQuant = NearestLevel
"""``StateQuant(levels)(x)``; snnTorch's ``StateQuant.apply(x, levels)``."""

_MULTIPLIERS = {1: 0.05, 2: 0.1, 3: 0.3, 4: 0.5, 5: 0.7, 6: 0.9, 7: 0.925}
_MULTIPLIER_ABOVE = 0.95
_MOST_BITS = 24  # of float32


def state_quant(
    num_bits: int = 8,
    uniform: bool = True,
    thr_centered: bool = True,
    threshold: float = 1,
    lower_limit: float = 0,
    upper_limit: float = 0.2,
    multiplier: float | None = None,
) -> NearestLevel:
    r"""A quantizer to :math:`2^b` levels, to be the ``state_quant`` of a neuron.

    The levels go from :math:`-\theta (1 + l)` to :math:`\theta (1 + u)`: evenly, or in steps that shrink by a
    constant factor towards a centre, the threshold or 0. The share of the levels below the centre is that of
    the range below it. The gradient passes straight through.

    Args:
        num_bits: b.
        uniform: even steps; ``thr_centered`` and ``multiplier`` are then not used.
        thr_centered: densest at the threshold instead of at 0.
        threshold: :math:`\theta`, in the units of the membrane.
        lower_limit: l, how far below the negative threshold the levels reach, in thresholds.
        upper_limit: u, how far above the threshold they reach, in thresholds.
        multiplier: each step is this times the next one away from the centre; by default 0.05, 0.1, 0.3,
            0.5, 0.7, 0.9 and 0.925 for 1 to 7 bits, 0.95 for more.

    Returns:
        A hashable function of an array of any shape.

    Raises:
        ArgumentError: for ``num_bits`` below 1, a threshold or multiplier that is not positive, or limits
            that leave no range.

    Example:
        >>> import jax.numpy as jnp, snnax as snn
        >>> from snnax.functional import quant
        >>> q = quant.state_quant(num_bits=2)
        >>> [round(level, 4) for level in q.levels]
        [-1.0, -0.2667, 0.4667, 1.2]
        >>> lif = snn.Leaky(beta=0.9, state_quant=q)
        >>> spk, mem = lif.apply({}, jnp.array([0.6]))
        >>> round(float(mem[0]), 4)
        0.4667

    Compared with snnTorch: the same levels, to the last bit of float32 (of even steps ``torch.linspace`` rounds the
    last bit differently from processor to processor). It returns float32 whatever the state is; this keeps the dtype
    of the state.
    """
    bits = checks.whole(num_bits, 1, _MOST_BITS)
    if bits is None:
        raise ArgumentError(
            f"state_quant(num_bits={checks.shown(num_bits)}); expected 1 to {_MOST_BITS}, as num_bits=8."
        )
    uniform = checks.flag(uniform, "state_quant(uniform=...)")
    thr_centered = checks.flag(thr_centered, "state_quant(thr_centered=...)")
    number = checks.number()
    threshold = number(threshold, "state_quant(threshold=...)")
    lower_limit = number(lower_limit, "state_quant(lower_limit=...)")
    upper_limit = number(upper_limit, "state_quant(upper_limit=...)")
    multiplier = checks.maybe(number)(multiplier, "state_quant(multiplier=...)")
    levels = 2**bits
    low, high = -(threshold + threshold * lower_limit), threshold + threshold * upper_limit
    if threshold <= 0 or not low < 0 < high or (not uniform and thr_centered and upper_limit < 0):
        raise ArgumentError(
            f"state_quant(threshold={threshold!r}, lower_limit={lower_limit!r}, upper_limit={upper_limit!r}); "
            "expected threshold > 0 and limits >= 0, as state_quant(threshold=1.0, lower_limit=0, upper_limit=0.2)."
        )
    if uniform:
        return NearestLevel(_even(low, high, levels).tolist())
    if multiplier is None:
        multiplier = _MULTIPLIERS.get(bits, _MULTIPLIER_ABOVE)
    if multiplier <= 0:
        raise ArgumentError(f"state_quant(multiplier={multiplier!r}); expected a number > 0, as 0.5.")
    centre = threshold if thr_centered else 0
    below = math.floor(levels * ((centre - low) / (high - low)))
    up_to_centre = accumulate(_shrinking(centre - low, below, multiplier), initial=low)
    away = accumulate(reversed(_shrinking(high - centre, levels - below, multiplier)), initial=centre)
    values = [*up_to_centre][:below] + [*away][1:]
    return NearestLevel(np.asarray(values, np.float32).tolist())


def _even(low: float, high: float, count: int) -> np.ndarray:
    """As ``torch.linspace``: float32 steps counted from the nearer end, one rounding for each level."""
    first, last = np.float32(low), np.float32(high)
    step = np.float64((last - first) / np.float32(count - 1))
    k = np.arange(count)
    levels = np.where(k < count // 2, first + step * k, last - step * (count - 1 - k))
    return levels.astype(np.float32)


def _shrinking(width: float, count: int, factor: float) -> list[float]:
    """``count`` steps that add up to ``width``, each ``factor`` times the one before."""
    powers = [factor**j for j in range(count)]
    # one rounding for each sum, as snnTorch adds; since Python 3.12 the builtin sum() corrects its roundings
    *_, total = accumulate(reversed(powers), initial=0.0)
    return [power / (total / width) for power in powers]
