"""Spike functions with surrogate gradients, under snnTorch's names.

A spike is a step, whose derivative is zero wherever it exists. A surrogate keeps the step and replaces the
derivative, so that gradient descent sees how far a membrane is from its threshold. Each function here returns
a :class:`Surrogate`: call it on the membrane minus the threshold.

Example:
    >>> import jax
    >>> from snnax import surrogate
    >>> spike = surrogate.fast_sigmoid(slope=25)
    >>> [float(s) for s in spike([-0.5, 0.0, 0.5])]
    [0.0, 0.0, 1.0]
    >>> surrogate.atan() is surrogate.atan(alpha=2.0)
    True
"""

from snnax.surrogate.base import Surrogate
from snnax.surrogate.custom import custom_surrogate
from snnax.surrogate.smooth import SFS, atan, fast_sigmoid, sigmoid, spike_rate_escape
from snnax.surrogate.steps import LSO, heaviside, straight_through_estimator, triangular
from snnax.surrogate.stochastic import SSO
from snnax.surrogate.written import Function

__all__ = [
    "LSO",
    "SFS",
    "SSO",
    "Function",
    "Surrogate",
    "atan",
    "custom_surrogate",
    "fast_sigmoid",
    "heaviside",
    "sigmoid",
    "spike_rate_escape",
    "straight_through_estimator",
    "triangular",
]
