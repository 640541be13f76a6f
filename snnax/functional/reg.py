"""A penalty on activity."""

from __future__ import annotations

from dataclasses import dataclass

import jax
import jax.numpy as jnp
from jax.typing import ArrayLike

from snnax import checks
from snnax.functional.arrays import name_of

__all__ = ["l1_rate_sparsity"]


@dataclass(frozen=True)
class l1_rate_sparsity:
    r"""Penalty on the number of spikes: :math:`\lambda \sum S`.

    Args:
        Lambda: :math:`\lambda`.

    Example:
        >>> import jax.numpy as jnp, snnax.functional as SF
        >>> float(SF.l1_rate_sparsity(0.5)(jnp.ones((4, 2, 3))))
        12.0

    Compared with snnTorch: the same; spikes may have any shape and dtype.
    """

    Lambda: float = 1e-5

    @property
    def __name__(self) -> str:
        """Name of the class; snnTorch's has it too."""
        return name_of(self)

    def __post_init__(self) -> None:
        checks.fields(self, Lambda=checks.number())

    def __call__(self, spk_out: ArrayLike) -> jax.Array:
        """The penalty for spikes of any shape, a scalar of at least float32."""
        spk_out = checks.array(spk_out, "l1_rate_sparsity(spk_out=...)")
        return self.Lambda * spk_out.astype(jnp.promote_types(spk_out.dtype, jnp.float32)).sum()
