"""What every loss is: checks, class weights and a reduction around one formula."""

from __future__ import annotations

import abc
from typing import ClassVar

import jax
from jax.typing import ArrayLike

from snnax import checks
from snnax.errors import ArgumentError
from snnax.functional import arrays
from snnax.neurons.values import FrozenArray, Parameter

Weight = Parameter | None
"""One weight for each class, or None."""

_REDUCTIONS = ("mean", "sum", "none")


class LossFunctions(abc.ABC):
    r"""Base of the losses: ``loss(spk_out, targets)``.

    A loss of your own is a frozen dataclass with the fields ``reduction`` and ``weight`` and the method
    ``_compute_loss(spk_out, targets)``, which returns the losses before the reduction, with
    ``self._weighted`` applied. What training hands to it it says itself: ``reads`` is ``"spk"``, ``"mem"`` for the
    membrane, or ``"all"`` for whatever the network returns; with a true ``time_var_targets`` its targets have an axis
    of time, which truncated backpropagation cuts with the steps.

    With ``weight`` each sample's loss is multiplied by the weight of its label. ``"mean"`` is then the plain
    mean :math:`\frac1B \sum_b w_{y_b} \ell_b`, as in snnTorch (``torch.nn.NLLLoss`` divides by
    :math:`\sum_b w_{y_b}`); only :class:`ce_temporal_loss` divides by the weights, also as in snnTorch.

    Args:
        reduction: ``"mean"``, ``"sum"`` or ``"none"``.
        weight: one weight for each class, ``[C]``; None for 1.

    Raises:
        ArgumentError: for another reduction, or a weight that is no vector. A label outside raises too;
            under ``jit``, where nothing can raise, it gives NaN.
        ShapeError: for spikes that are not ``[T, B, N]``, targets that do not fit them, or a weight without
            one entry for each class.

    Example:
        >>> import dataclasses, jax.numpy as jnp
        >>> from snnax.functional import LossFunctions
        >>> @dataclasses.dataclass(frozen=True)
        ... class silence(LossFunctions):
        ...     reduction: str = "mean"
        ...     weight: object = None
        ...
        ...     def _compute_loss(self, spk_out, targets):
        ...         return self._weighted(spk_out.sum((0, 2)), targets, 2)
        >>> float(silence(weight=[1.0, 3.0])(jnp.ones((5, 2, 4)), jnp.array([0, 1])))
        40.0

    Compared with snnTorch: returns a scalar where that returns shape ``(1,)``; ``reduction="sum"`` sums
    with a weight too, where that returns the losses unreduced; spikes of any dtype are taken, and the loss
    has at least float32.
    """

    reads: ClassVar[str] = "spk"

    reduction: str
    weight: Weight

    def __post_init__(self) -> None:
        name = self.__name__
        checks.fields(self, reduction=checks.one_of(*_REDUCTIONS))
        if self.weight is None:
            return
        weight = FrozenArray.wrap(self.weight, f"{name}(weight=...)")
        if not isinstance(weight, FrozenArray) or weight.ndim != 1:
            raise ArgumentError(
                f"{name}(weight={self.weight!r}); expected one weight for each class, as weight=[1.0, 2.0]."
            )
        object.__setattr__(self, "weight", weight)

    @property
    def __name__(self) -> str:
        """Name of the class; snnTorch's losses have it too."""
        return arrays.name_of(self)

    def __call__(self, spk_out: ArrayLike, targets: ArrayLike) -> jax.Array:
        """The loss of spikes or membranes ``[T, B, N]`` with these targets."""
        out = arrays.record(self.__name__, spk_out)
        return self._reduce(self._compute_loss(out, checks.array(targets, f"{self.__name__}(targets=...)")))

    @abc.abstractmethod
    def _compute_loss(self, spk_out: jax.Array, targets: jax.Array) -> jax.Array:
        """The losses before the reduction."""

    def _weighted(self, losses: jax.Array, labels: jax.Array, classes: int) -> jax.Array:
        """``losses``, whose first axes are those of ``labels``, times the weight of each label."""
        if self.weight is None:
            return losses
        factor = arrays.weight_of(labels, self.weight, self.__name__, classes, losses.dtype)
        return losses * factor.reshape(labels.shape + (1,) * (losses.ndim - labels.ndim))

    def _reduce(self, losses: jax.Array) -> jax.Array:
        if self.reduction == "none":
            return losses
        return losses.mean() if self.reduction == "mean" else losses.sum()
