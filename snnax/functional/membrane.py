"""Losses of membranes."""

from __future__ import annotations

from dataclasses import dataclass
from typing import ClassVar

import jax
import jax.numpy as jnp

from snnax import checks
from snnax.functional import arrays
from snnax.functional.base import LossFunctions, Weight

__all__ = ["ce_max_membrane_loss", "mse_membrane_loss"]


@dataclass(frozen=True)
class ce_max_membrane_loss(LossFunctions):
    r"""Cross entropy of each neuron's largest membrane.

    .. math:: \ell_b = -w_{y_b} \log \mathrm{softmax}_c\big(\max_t U_{t,b,c}\big)_{y_b}

    The gradient goes to the first step at which the maximum is reached.

    Args:
        reduction: over ``B``: ``"mean"``, ``"sum"`` or ``"none"`` (``[B]``).
        weight: ``w``, one for each class; see :class:`LossFunctions`.

    Raises:
        ArgumentError: as in :class:`LossFunctions`.
        ShapeError: as in :class:`LossFunctions`.

    Example:
        >>> import jax.numpy as jnp, snnax.functional as SF
        >>> mem = jnp.array([[[0.5, 0.0]], [[0.2, 0.5]]])  # [T=2, B=1, N=2]
        >>> float(SF.ce_max_membrane_loss()(mem, jnp.array([0]))).__round__(4)
        0.6931

    Compared with snnTorch: the same. After SpyTorch of F. Zenke.
    """

    reads: ClassVar[str] = "mem"

    reduction: str = "mean"
    weight: Weight = None

    def _compute_loss(self, spk_out: jax.Array, targets: jax.Array) -> jax.Array:
        _, samples, classes = spk_out.shape
        labels = arrays.class_labels(self.__name__, targets, (samples,), classes)
        first = jnp.argmax(spk_out, axis=0, keepdims=True)
        highest = jnp.take_along_axis(spk_out, first, axis=0)[0]
        return self._weighted(arrays.cross_entropy(highest, labels), labels, classes)


@dataclass(frozen=True)
class mse_membrane_loss(LossFunctions):
    r"""Squared distance of the membranes from a target, averaged over the steps.

    .. math:: \ell_{b,c} = \frac{1}{T} \sum_t w_{y_b} \big(U_{t,b,c} - [c = y_b]\, u_{on} - [c \ne y_b]\, u_{off}\big)^2

    Args:
        time_var_targets: the labels change with time: targets are ``[T, B]``, or ``[T]`` for all samples
            alike.
        on_target: membrane that the neuron of the right class should have.
        off_target: membrane that the others should have.
        reduction: over ``B`` and ``N``: ``"mean"``, ``"sum"`` or ``"none"`` (``[B, N]``).
        weight: ``w``, one for each class; see :class:`LossFunctions`.

    Raises:
        ArgumentError: as in :class:`LossFunctions`.
        ShapeError: as in :class:`LossFunctions`.

    Example:
        >>> import jax.numpy as jnp, snnax.functional as SF
        >>> loss = SF.mse_membrane_loss(on_target=1.5, off_target=-0.5)
        >>> float(loss(jnp.zeros((10, 1, 2)), jnp.array([0])))  # (1.5**2 + 0.5**2) / 2
        1.25

    Compared with snnTorch: returns a scalar, that shape ``(1,)``. That takes ``off_target`` for 0 where it is
    negative and below ``on_target``; has no targets ``[T, B]``; and with ``weight`` raises unless B = N, and
    then weighs the neurons by the labels of other samples.
    """

    reads: ClassVar[str] = "mem"

    time_var_targets: bool = False
    on_target: float = 1
    off_target: float = 0
    reduction: str = "mean"
    weight: Weight = None

    def __post_init__(self) -> None:
        number = checks.number()
        checks.fields(self, time_var_targets=checks.flag, on_target=number, off_target=number)
        super().__post_init__()

    def _compute_loss(self, spk_out: jax.Array, targets: jax.Array) -> jax.Array:
        steps, samples, neurons = spk_out.shape
        expected: tuple[int, ...] = (steps, samples) if self.time_var_targets else (samples,)
        if self.time_var_targets and targets.shape == (steps,):
            targets = jnp.broadcast_to(targets[:, None], expected)
        labels = arrays.class_labels(self.__name__, targets, expected, neurons)
        goal = arrays.on_off(labels, neurons, self.on_target, self.off_target, spk_out.dtype)
        if not self.time_var_targets:
            losses = arrays.squared_error(spk_out, goal[None]).mean(0)
            return self._weighted(losses, labels, neurons)
        return self._weighted(arrays.squared_error(spk_out, goal), labels, neurons).mean(0)
