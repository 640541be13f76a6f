"""A quantizer for ``state_quant``."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import jax
import jax.numpy as jnp
import numpy as np

from snnax import checks
from snnax.dynamics.quantization import straight_through
from snnax.errors import ArgumentError
from snnax.neurons.values import FrozenArray


@dataclass(frozen=True)
class NearestLevel:
    r"""Maps a state to the nearest of some levels; the gradient passes straight through.

    .. math:: Q(x) = \ell_k, \quad k = \operatorname{argmin}_k |x - \ell_k|

    A tie goes to the level that comes first. Hashable, so that it can be an argument of a neuron.

    Args:
        levels: the values that a state may take.

    Raises:
        ArgumentError: if there is no level, or one is not finite.

    Example:
        >>> from snnax.neurons.quantize import NearestLevel
        >>> NearestLevel([-1.0, 0.0, 1.0])(jax.numpy.array([0.4, 0.6])).tolist()
        [0.0, 1.0]

    Compared with snnTorch: what ``functional.quant.state_quant`` returns; that one always yields float32,
    this keeps the dtype.
    """

    levels: Sequence[float]

    def __post_init__(self) -> None:
        levels = tuple(
            float(v) for v in np.ravel(np.asarray(FrozenArray.wrap(self.levels, "StateQuant(levels=...)")))
        )
        if not levels or not np.isfinite(levels).all():
            raise ArgumentError(f"levels={self.levels!r}; expected at least one finite number.")
        object.__setattr__(self, "levels", levels)

    def __call__(self, x: jax.Array) -> jax.Array:
        """Quantize an array of any shape."""
        x = checks.array(x, "StateQuant(x)")
        x = x if jnp.issubdtype(x.dtype, jnp.floating) else x.astype(jnp.float32)
        levels = jnp.asarray(self.levels, x.dtype)
        distance = jnp.abs(x[..., None] - levels.reshape((1,) * x.ndim + (-1,)))
        nearest = levels[jnp.argmin(distance, axis=-1)]
        return straight_through(x, nearest)
