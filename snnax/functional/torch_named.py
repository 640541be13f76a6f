"""torch's losses of one step's outputs, under its names, for the loops that tutorials write."""

from __future__ import annotations

from dataclasses import dataclass
from typing import ClassVar

import jax
import jax.numpy as jnp
import optax
from jax.typing import ArrayLike

from snnax import checks
from snnax.errors import ArgumentError, ShapeError

__all__ = ["CrossEntropyLoss", "L1Loss", "MSELoss"]

_REDUCTIONS = ("mean", "sum", "none")


@dataclass(frozen=True)
class _Loss:
    reduction: str = "mean"

    reads: ClassVar[str] = "mem"

    def __post_init__(self) -> None:
        checks.one_of(*_REDUCTIONS)(self.reduction, f"{type(self).__name__}(reduction=...)")

    def __call__(self, input: ArrayLike, target: ArrayLike) -> jax.Array:
        """The loss."""
        name = type(self).__name__
        x, y = checks.array(input, f"{name}(input=...)"), checks.array(target, f"{name}(target=...)")
        losses = self._losses(x, y)
        return (
            losses
            if self.reduction == "none"
            else losses.mean()
            if self.reduction == "mean"
            else losses.sum()
        )

    def _losses(self, x: jax.Array, y: jax.Array) -> jax.Array:
        raise NotImplementedError

    def _alike(self, x: jax.Array, y: jax.Array) -> jax.Array:
        if x.shape != y.shape:
            raise ShapeError(
                f"{type(self).__name__}: input has shape {x.shape} and target {y.shape}; expected the same shape."
            )
        dtype = jnp.promote_types(jnp.result_type(x, y), jnp.float32)
        return x.astype(dtype) - y.astype(dtype)


@dataclass(frozen=True)
class CrossEntropyLoss(_Loss):
    r"""Cross entropy of logits with class labels, as ``torch.nn.CrossEntropyLoss``.

    .. math:: \ell = -\log \mathrm{softmax}(x)_y

    Called as ``loss(input, target)``: logits ``[B, C]``, a membrane of one step, and labels ``[B]``.

    Args:
        reduction: ``"mean"`` or ``"sum"`` over the samples, or ``"none"``.

    Raises:
        ArgumentError: for a bad argument, or targets that are no integers.
        ShapeError: in the call, for other shapes.

    Example:
        >>> import jax.numpy as jnp, snnax as snn
        >>> round(float(snn.CrossEntropyLoss()(jnp.zeros((2, 10)), jnp.array([3, 1]))), 4)
        2.3026

    Source: PyTorch 2.13. For a whole run ``[T, B, C]`` see :class:`snnax.functional.ce_max_membrane_loss` and its kin.
    """

    def _losses(self, x: jax.Array, y: jax.Array) -> jax.Array:
        if x.ndim != 2 or y.shape != x.shape[:1]:
            raise ShapeError(
                f"CrossEntropyLoss: input has shape {x.shape}, target {y.shape}; expected [B, C] and [B]."
            )
        if not jnp.issubdtype(y.dtype, jnp.integer):
            raise ArgumentError(
                f"CrossEntropyLoss(target=...) has dtype {y.dtype}; expected integer class labels."
            )
        x = x.astype(jnp.promote_types(x.dtype, jnp.float32))
        return optax.losses.softmax_cross_entropy_with_integer_labels(x, y)


@dataclass(frozen=True)
class MSELoss(_Loss):
    r"""Squared error of arrays of one shape, as ``torch.nn.MSELoss``: :math:`\ell = (x - y)^2`.

    Args:
        reduction: ``"mean"`` or ``"sum"`` over all numbers, or ``"none"``.

    Raises:
        ArgumentError: for a bad argument.
        ShapeError: in the call, for other shapes.

    Example:
        >>> import jax.numpy as jnp, snnax as snn
        >>> float(snn.MSELoss()(jnp.array([1.0, 3.0]), jnp.array([0.0, 1.0])))
        2.5

    Source: PyTorch 2.13. Compared with torch: shapes are not broadcast.
    """

    def _losses(self, x: jax.Array, y: jax.Array) -> jax.Array:
        return self._alike(x, y) ** 2


@dataclass(frozen=True)
class L1Loss(_Loss):
    r"""Absolute error of arrays of one shape, as ``torch.nn.L1Loss``: :math:`\ell = |x - y|`.

    Args:
        reduction: ``"mean"`` or ``"sum"`` over all numbers, or ``"none"``.

    Raises:
        ArgumentError: for a bad argument.
        ShapeError: in the call, for other shapes.

    Example:
        >>> import jax.numpy as jnp, snnax as snn
        >>> float(snn.L1Loss()(jnp.array([1.0, 3.0]), jnp.array([0.0, 1.0])))
        1.5

    Source: PyTorch 2.13. Compared with torch: shapes are not broadcast.
    """

    def _losses(self, x: jax.Array, y: jax.Array) -> jax.Array:
        return abs(self._alike(x, y))
