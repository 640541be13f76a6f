"""Losses of spike counts and rates."""

from __future__ import annotations

from dataclasses import dataclass

import jax

from snnax import checks
from snnax.errors import ArgumentError
from snnax.functional import arrays
from snnax.functional.base import LossFunctions, Weight

__all__ = ["ce_count_loss", "ce_rate_loss", "mse_count_loss"]


class _PopulationLoss(LossFunctions):
    """A loss that takes one output neuron for each class, or a block of them."""

    population_code: bool
    num_classes: int

    def __post_init__(self) -> None:
        super().__post_init__()
        arrays.check_population(self.__name__, self.population_code, self.num_classes)

    def _per_class(self, spk_out: jax.Array) -> jax.Array:
        """``[T, B, N]`` to ``[T, B, C]``."""
        if not self.population_code:
            return spk_out
        return arrays.populations(self.__name__, spk_out, self.num_classes)


@dataclass(frozen=True)
class ce_rate_loss(_PopulationLoss):
    r"""Cross entropy of the spikes of each time step, averaged over the steps.

    .. math:: \ell_b = -\frac{1}{T} \sum_t w_{y_b} \log \mathrm{softmax}_c(S_{t,b,c})_{y_b}

    Asks the neuron of the right class to fire at every step and the others never to.

    Args:
        population_code: N = C * n output neurons, each class having n consecutive ones, whose spikes are
            added up in each step.
        num_classes: C, needed with ``population_code``.
        reduction: over ``B``: ``"mean"``, ``"sum"`` or ``"none"`` (``[B]``).
        weight: ``w``, one for each class; see :class:`LossFunctions`.

    Raises:
        ArgumentError: for ``population_code`` without ``num_classes``, or as in :class:`LossFunctions`.
        ShapeError: if N is no multiple of ``num_classes``, or as in :class:`LossFunctions`.

    Example:
        >>> import jax.numpy as jnp, snnax.functional as SF
        >>> spk = jnp.array([[[1.0, 0.0]], [[0.0, 0.0]]])  # [T=2, B=1, N=2]
        >>> float(SF.ce_rate_loss()(spk, jnp.array([0]))).__round__(4)
        0.5032

    Compared with snnTorch: returns a scalar, that shape ``(1,)``. With ``population_code`` that does not
    add up the populations, reads the labels as numbers of neurons, and needs a weight of two classes.
    """

    population_code: bool = False
    num_classes: int = False
    reduction: str = "mean"
    weight: Weight = None

    def _compute_loss(self, spk_out: jax.Array, targets: jax.Array) -> jax.Array:
        logits = self._per_class(spk_out)
        _, samples, classes = logits.shape
        labels = arrays.class_labels(self.__name__, targets, (samples,), classes)
        return self._weighted(arrays.cross_entropy(logits, labels).mean(0), labels, classes)


@dataclass(frozen=True)
class ce_count_loss(_PopulationLoss):
    r"""Cross entropy of the spike counts.

    .. math:: \ell_b = -w_{y_b} \log \mathrm{softmax}_c\Big(\sum_t S_{t,b,c}\Big)_{y_b}

    Args:
        population_code: N = C * n output neurons, each class having n consecutive ones, whose spikes are
            added up.
        num_classes: C, needed with ``population_code``.
        reduction: over ``B``: ``"mean"``, ``"sum"`` or ``"none"`` (``[B]``).
        weight: ``w``, one for each class; see :class:`LossFunctions`.

    Raises:
        ArgumentError: for ``population_code`` without ``num_classes``, or as in :class:`LossFunctions`.
        ShapeError: if N is no multiple of ``num_classes``, or as in :class:`LossFunctions`.

    Example:
        >>> import jax.numpy as jnp, snnax.functional as SF
        >>> loss = SF.ce_count_loss(population_code=True, num_classes=2)
        >>> float(loss(jnp.ones((25, 1, 6)), jnp.array([1]))).__round__(4)  # 75 spikes for each class
        0.6931

    Compared with snnTorch: the same; the arguments are checked when the loss is built.
    """

    population_code: bool = False
    num_classes: int = False
    reduction: str = "mean"
    weight: Weight = None

    def _compute_loss(self, spk_out: jax.Array, targets: jax.Array) -> jax.Array:
        counts = self._per_class(spk_out).sum(0)
        samples, classes = counts.shape
        labels = arrays.class_labels(self.__name__, targets, (samples,), classes)
        return self._weighted(arrays.cross_entropy(counts, labels), labels, classes)


@dataclass(frozen=True)
class mse_count_loss(_PopulationLoss):
    r"""Squared distance of the spike counts from target counts, divided by the number of steps.

    .. math:: \ell_{b,c} = \frac{w_{y_b}}{T} \Big(\sum_t S_{t,b,c} - \lfloor r_{b,c} T n \rfloor\Big)^2

    with :math:`r_{b,c}` the correct rate for :math:`c = y_b`, else the incorrect rate. The division by T
    comes after the square, so the loss grows with T.

    Args:
        correct_rate: spikes per step that the neuron of the right class should emit.
        incorrect_rate: the same for the others.
        population_code: N = C * n output neurons, each class having n consecutive ones, whose spikes are
            added up; n is 1 without.
        num_classes: C, needed with ``population_code``.
        reduction: over ``B`` and ``C``: ``"mean"``, ``"sum"`` or ``"none"`` (``[B, C]``).
        weight: ``w``, one for each class; see :class:`LossFunctions`.

    Raises:
        ArgumentError: for ``population_code`` without ``num_classes``, or as in :class:`LossFunctions`.
        ShapeError: if N is no multiple of ``num_classes``, or as in :class:`LossFunctions`.

    Example:
        >>> import jax.numpy as jnp, snnax.functional as SF
        >>> loss = SF.mse_count_loss(correct_rate=0.8, incorrect_rate=0.2)
        >>> float(loss(jnp.zeros((10, 1, 2)), jnp.array([0])))  # (8**2 + 2**2) / 2 / 10
        3.4000000953674316

    Compared with snnTorch: the same without ``weight``; with one, that raises unless B = C, and then weighs
    the classes by the labels of other samples. With ``correct_rate`` below ``incorrect_rate`` the same too.
    """

    correct_rate: float = 1
    incorrect_rate: float = 0
    population_code: bool = False
    num_classes: int = False
    reduction: str = "mean"
    weight: Weight = None

    def __post_init__(self) -> None:
        checks.fields(self, correct_rate=checks.number(), incorrect_rate=checks.number())
        super().__post_init__()

    def _compute_loss(self, spk_out: jax.Array, targets: jax.Array) -> jax.Array:
        steps, samples, neurons = spk_out.shape
        counts = self._per_class(spk_out).sum(0)
        classes = counts.shape[-1]
        labels = arrays.class_labels(self.__name__, targets, (samples,), classes)
        if not isinstance(steps, int):
            raise ArgumentError(
                f"{self.__name__}: the number of time steps is {steps}, which jax.export leaves open, but its targets "
                "are whole numbers of spikes, computed from it before the program runs. Export it for a fixed number "
                "of steps; the batch may stay open."
            )
        on, off = (
            int(steps * rate * (neurons / classes)) for rate in (self.correct_rate, self.incorrect_rate)
        )
        goal = arrays.on_off(labels, classes, on, off, counts.dtype)
        return self._weighted(arrays.squared_error(counts, goal), labels, classes) / steps
