"""How far the neurons of a chip are from what they should be, measured from their spikes alone, and corrected."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import jax.numpy as jnp
import numpy as np

from snnax import checks
from snnax.errors import ArgumentError
from snnax.event.crossing import first_crossing
from snnax.event.hardware.chip import Chip
from snnax.event.neuron import LIFParameters

__all__ = ["Calibration", "calibrate"]

_ROUNDS = 20
_STEP = 1e-3


@dataclass(frozen=True)
class Calibration:
    """What was measured of the neurons of each layer.

    Attributes:
        threshold: ``[M]`` of each layer: the factor of each threshold; 1 is right, ``nan`` for a neuron that could not
            be measured.
        clock: ``[M]`` of each layer: the factor of the time constants.
        delay: ``[M]`` of each layer: by how much spikes are late, in seconds.
    """

    threshold: tuple[np.ndarray, ...]
    clock: tuple[np.ndarray, ...]
    delay: tuple[np.ndarray, ...]

    def corrected(self, chip: Chip) -> Chip:
        """The chip with its neurons adjusted; those that could not be measured stay as they are.

        Raises:
            ArgumentError: if the chip cannot.
        """
        for index, (threshold, clock) in enumerate(zip(self.threshold, self.clock, strict=True)):
            chip = chip.trimmed(index, np.nan_to_num(threshold, nan=1.0), np.nan_to_num(clock, nan=1.0))
        return chip

    def spread(self) -> dict[str, float]:
        """Root mean square distance from what should be, over all neurons: factors from 1, delays from 0."""
        parts = (("threshold", self.threshold, 1), ("clock", self.clock, 1), ("delay", self.delay, 0))
        return {name: _rms(np.concatenate(values) - right) for name, values, right in parts}


def calibrate(
    chip: Chip, strengths: Sequence[float] = (5.0, 5.5, 6.0, 6.5, 7.0, 7.5), repeats: int = 64
) -> Calibration:
    r"""Measure each neuron of a chip: it gets a single spike of several strengths, and says when it fires.

    .. math:: s_m(w) = b_m + c_m\, f(w / \theta_m), \qquad \kappa(f(w))\, w = v_{th} - v_{leak}

    is fitted to the mean times, by least squares in the three unknowns of each neuron.

    Args:
        chip: to measure.
        strengths: weights, at least 3 of them, with which each neuron fires; a chip with weights of a few bits has the
            nearest ones.
        repeats: so many measurements of each; noise of the mean falls with their square root.

    Returns:
        A :class:`Calibration`.

    Raises:
        ArgumentError: for what is no chip, or too few strengths or repeats.

    Example:
        >>> from snnax.event.hardware import MockChip, calibrate
        >>> chip = MockChip((2, 40), jitter=1e-9, threshold_spread=0.1, clock_spread=0.05)
        >>> found = calibrate(chip)
        >>> after = calibrate(found.corrected(chip))
        >>> found.spread()["threshold"] > 0.05, after.spread()["threshold"] < 0.02
        (True, True)
    """
    checks.instance(Chip, "a snnax.event.hardware.Chip, as MockChip((5, 120, 3))")(
        chip, "calibrate(chip=...)"
    )
    used = np.unique([float(checks.number(above=0.0)(w, "calibrate(strengths=...)")) for w in strengths])
    if len(used) < 3:
        raise ArgumentError(
            f"calibrate(strengths={checks.shown(strengths)}): expected at least 3 different ones, as there are 3 "
            "unknowns."
        )
    number = int(checks.count()(repeats, "calibrate(repeats=...)"))
    found = [_layer(chip, index, used, number) for index in range(len(chip.sizes) - 1)]
    return Calibration(*(tuple(values) for values in zip(*found, strict=True)))


def _layer(chip: Chip, index: int, strengths: np.ndarray, repeats: int) -> np.ndarray:
    """Threshold, clock and delay, ``[3, M]``: the first input fires at a tenth of the time that is observed."""
    inputs, neurons = chip.sizes[index], chip.sizes[index + 1]
    start = 0.1 * chip.t_max
    times = np.full((repeats, inputs, 1), np.inf)
    times[:, 0] = start
    means, real = [], []
    for strength in strengths:
        weights = np.zeros((inputs, neurons), np.float32)
        weights[0] = strength
        seen = np.asarray(chip.layer(index, times, weights))[..., 0].astype(float)
        means.append(np.where(np.isfinite(seen).all(0), seen.mean(0), np.nan) - start)
        real.append(np.asarray(chip.programmed(index, jnp.asarray(weights)))[0].astype(float))
    return _fitted(np.asarray(means), np.asarray(real), chip.parameters, chip.t_max)


def _fitted(means: np.ndarray, weights: np.ndarray, parameters: LIFParameters, t_max: float) -> np.ndarray:
    """Gauss and Newton's steps for times ``[S, M]`` at weights ``[S, M]``, in units of the time constant."""
    unit = parameters.tau_syn

    def model(unknown: np.ndarray) -> np.ndarray:
        threshold, clock, delay = unknown
        current = jnp.asarray(weights / threshold)
        first = np.asarray(first_crossing(0.0, current, t_max, parameters), float)
        return delay + clock * np.where(np.isfinite(first), first, np.nan) / unit

    unknown = np.stack([np.ones(means.shape[1]), np.ones(means.shape[1]), np.zeros(means.shape[1])])
    for _ in range(_ROUNDS):
        slopes = []
        for row in range(3):
            moved = np.zeros_like(unknown)
            moved[row] = _STEP
            slopes.append((model(unknown + moved) - model(unknown - moved)) / (2 * _STEP))
        jacobian = np.moveaxis(np.asarray(slopes), (0, 1, 2), (2, 1, 0))  # [M, S, 3]
        missing = (means / unit - model(unknown)).T[:, :, None]
        usable = np.isfinite(jacobian).all((1, 2)) & np.isfinite(missing).all((1, 2))
        inverse = np.linalg.pinv(np.where(usable[:, None, None], jacobian, 0))
        step = (inverse @ np.where(usable[:, None, None], missing, 0))[:, :, 0].T
        unknown = np.where(usable, unknown + np.clip(step, -0.1, 0.1), np.nan)
    return unknown * np.array([[1.0], [1.0], [unit]])


def _rms(values: np.ndarray[Any, Any]) -> float:
    known = values[np.isfinite(values)]
    return float(np.sqrt(np.mean(known**2))) if known.size else float("nan")
