r"""Weights with which neurons fire before they have learned anything.

One input of weight 1 lifts the voltage to :math:`\kappa_{max} = \max_t \kappa(t)` at most, a quarter for
:math:`\tau_m = 2 \tau_s`. Of ``n`` inputs of weight ``w`` that come together the peak is :math:`n w \kappa_{max}`: so
weights are measured in the part of the threshold that they reach.
"""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import Any

import jax
import jax.numpy as jnp

from snnax import checks
from snnax.errors import ShapeError
from snnax.event.neuron import LIFParameters, Membrane, membrane

__all__ = ["firing_normal"]


@dataclass(frozen=True)
class firing_normal:
    r"""An initializer of normal weights that lift neurons over their threshold, whatever their constants.

    .. math:: w \sim \mathcal N\left(\frac{g\,\theta}{n\,\kappa_{max}},
        \left(\frac{s\,\theta}{\sqrt n\,\kappa_{max}}\right)^2\right), \qquad
        \theta = |v_{th} - v_{leak}|, \quad
        \kappa_{max} = r^{1 / (1 - r)}, \quad r = \frac{\tau_s}{\tau_m}

    With ``n`` inputs that fire once, and together, the largest voltage of a neuron is then
    :math:`\theta\, \mathcal N(g, s^2)` above ``v_leak``.

    Args:
        parameters: of the neurons that get the weights; :class:`LIParameters` count as with a threshold of 1.
        gain: ``g``. Inputs that come one after the other need more than 1: 3, the default, suits inputs that are spread
            over two to three ``tau_mem``.
        spread: ``s``, how much neurons differ.

    Called as JAX's initializers are, with ``(key, shape, dtype)``; ``n`` is the first number of the shape.

    Raises:
        ArgumentError: for what is no parameters, or numbers that are not finite, a ``spread`` below 0.
        ShapeError: when it is called for a shape that is not ``[N, M]``.

    Compared with
        jaxsnn draws from a mean and a deviation that are found by hand for each layer and each pair of constants.

    Example:
        >>> import jax
        >>> from snnax.event import LIFParameters, firing_normal
        >>> weights = firing_normal(LIFParameters(), gain=2.0, spread=0.5)(jax.random.key(0), (100, 1000))
        >>> print(f"{weights.mean():.3f} {weights.std():.2f}")
        0.080 0.20
    """

    parameters: Membrane
    gain: float = 3.0
    spread: float = 1.0

    def __post_init__(self) -> None:
        """Check the fields."""
        checks.fields(self, parameters=membrane, gain=checks.number(), spread=checks.number(0.0))

    def __call__(self, key: Any, shape: Any, dtype: Any = None) -> jax.Array:
        """Weights ``[N, M]``."""
        checks.key(key, "firing_normal()(key=...)")
        if len(shape) != 2:
            raise ShapeError(f"firing_normal()(shape={shape}): expected [N, M], as (5, 120).")
        unit = self._threshold() / _largest_response(self.parameters)
        drawn = jax.random.normal(key, shape, dtype or jnp.result_type(float))
        inputs = max(1, shape[0])
        return unit * (self.gain / inputs + self.spread / math.sqrt(inputs) * drawn)

    def _threshold(self) -> float:
        return abs(self.parameters.u_threshold) if isinstance(self.parameters, LIFParameters) else 1.0


def _largest_response(parameters: Membrane) -> float:
    """The maximum of kappa over time."""
    tau_mem, tau_syn = parameters.tau_mem, parameters.tau_syn
    ratio = tau_syn / tau_mem
    if abs(ratio - 1) < 1e-6:
        return math.exp(-1)
    return ratio ** (1 / (1 - ratio))
