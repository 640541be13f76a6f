"""``Chip``: what runs spiking layers and is no software."""

from __future__ import annotations

import abc
from collections.abc import Sequence
from typing import Any

import numpy as np

from snnax.errors import ArgumentError, ShapeError
from snnax.event.neuron import LIFParameters

__all__ = ["Chip"]


class Chip(abc.ABC):
    """Hardware with layers of leaky integrate-and-fire neurons, one after the other.

    A lab implements :meth:`layer` and :meth:`programmed` for its chip, and :meth:`trimmed` if neurons can be adjusted
    one by one. :func:`calibrate` and training in the loop need nothing else. A chip need not be deterministic.

    Attributes:
        sizes: number of inputs, and of the neurons of each layer, as ``(5, 120, 3)``.
        parameters: what the neurons should be, in the time of the chip.
        t_max: for how long the chip is observed, in seconds.

    Example:
        >>> import numpy as np
        >>> from snnax.event import LIFParameters
        >>> from snnax.event.hardware import Chip
        >>> class Late(Chip):  # fires 1 us after its first input, whatever the weights
        ...     sizes, parameters, t_max = (2, 3), LIFParameters(), 1e-3
        ...     def layer(self, index, times, weights):
        ...         return np.repeat(times.min((1, 2))[:, None, None] + 1e-6, weights.shape[1], 1)
        ...     def programmed(self, index, weights):
        ...         return weights
        >>> (spikes,) = Late().run(np.zeros((1, 2, 1)), [np.ones((2, 3))])
        >>> spikes.shape
        (1, 3, 1)
    """

    sizes: tuple[int, ...]
    parameters: LIFParameters
    t_max: float

    @abc.abstractmethod
    def layer(self, index: int, times: np.ndarray, weights: np.ndarray) -> np.ndarray:
        """Run one layer.

        Args:
            index: of the layer, from 0.
            times: of its inputs, ``[B, N, K_in]`` in seconds, ``inf`` for none.
            weights: ``[N, M]``, as asked for: the chip rounds them by itself.

        Returns:
            Times of its spikes ``[B, M, K]``, ascending, ``inf`` for none.
        """

    @abc.abstractmethod
    def programmed(self, index: int, weights: Any) -> Any:
        """The weights that a layer has when ``weights`` are asked for: rounded, within its range.

        Gradients are computed with them. Written for JAX arrays, it may be part of a compiled program.
        """

    def trimmed(self, index: int, threshold: np.ndarray, clock: np.ndarray) -> Chip:
        """The chip with the neurons of a layer adjusted one by one.

        Args:
            index: of the layer.
            threshold: ``[M]``: by how much each threshold is too large; 1 is right.
            clock: ``[M]``: by how much the time constants of each are too long.

        Raises:
            ArgumentError: if the chip cannot.
        """
        raise ArgumentError(
            f"{type(self).__name__} has no method trimmed(index, threshold, clock): its neurons cannot be adjusted."
        )

    def run(self, times: np.ndarray, weights: Sequence[np.ndarray]) -> list[np.ndarray]:
        """Run all layers.

        Args:
            times: of the inputs, ``[B, N, K_in]``.
            weights: of each layer.

        Returns:
            Times of the spikes of each layer, ``[B, M, K]``.

        Raises:
            ShapeError: for weights that the chip has no neurons for.
        """
        expected = [*zip(self.sizes[:-1], self.sizes[1:], strict=True)]
        if [np.shape(matrix) for matrix in weights] != expected:
            raise ShapeError(
                f"{type(self).__name__}.run(weights of shapes {[np.shape(matrix) for matrix in weights]}): expected "
                f"{expected}."
            )
        found = []
        for index, matrix in enumerate(weights):
            times = self.layer(index, times, np.asarray(matrix))
            found.append(times)
        return found
