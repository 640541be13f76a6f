"""``Sequential``: event-driven layers one after the other."""

from __future__ import annotations

from collections.abc import Sequence as Several
from typing import Any

import flax.linen as nn

from snnax import checks
from snnax.errors import ArgumentError
from snnax.event.layers.base import EventModule, spike_trains
from snnax.event.spike_trains import Trains

__all__ = ["Sequential"]


class Sequential(EventModule):
    """Layers in continuous time, each fed with the spikes of the one before.

    Args:
        layers: linen modules from spike trains to spike trains; the last may return what it likes, as :class:`LI` does
            voltages.

    Returns:
        Called with :class:`Trains` or with times ``[B, N]`` or ``[B, N, K]``: what the last layer returns. Its spikes
        are flagged in ``overflow`` in each sample in which any layer before overflowed.

    The variables of the layers are under ``layers_0``, ``layers_1`` and so on. The spikes of all layers are in
    ``apply(..., capture_intermediates=True, mutable=["intermediates"])``.

    Raises:
        ArgumentError: for what are no linen modules, or no spike trains; also between two layers.

    Compared with
        :class:`snnax.Sequential` runs in time steps, in :func:`snnax.unroll`; this is called once.

    Example:
        >>> import jax, jax.numpy as jnp
        >>> from snnax import event
        >>> once = event.LIFParameters(refractory=float("inf"))
        >>> net = event.Sequential([event.LIF(20, 0.05, once), event.LIF(3, 0.05, once)])
        >>> times = jnp.array([[1e-3, 2e-3, 4e-3, 5e-3]])  # [B, N]
        >>> variables = net.init(jax.random.key(0), times)
        >>> net.apply(variables, times).times.shape
        (1, 3, 1)
        >>> spikes, found = net.apply(variables, times, mutable=["overflow"])
        >>> found["overflow"]["layers_0"]["spikes"].shape
        (1, 20)
    """

    layers: Several[nn.Module]

    def __post_init__(self) -> None:
        """Check the fields."""
        checks.fields(self, layers=_modules)
        super().__post_init__()

    def __call__(self, inputs: Any) -> Any:
        """What the last layer makes of the spikes."""
        signal: Any = spike_trains(inputs, f"{self._label()}(inputs=...)")
        for number, layer in enumerate(self.layers):
            if not isinstance(signal, Trains):
                before, after = (type(self.layers[n]).__name__ for n in (number - 1, number))
                raise ArgumentError(
                    f"{self._label()}: {before} at {number - 1} returns no spike trains, which {after} after it needs. "
                    "What reads spikes out, as LI, is the last layer."
                )
            signal = layer(signal)
        return signal


def _modules(value: Any, what: str) -> Any:
    if isinstance(value, list | tuple) and value and all(isinstance(layer, nn.Module) for layer in value):
        return tuple(value)
    raise checks.refuse(what, value, "layers, as [event.LIF(20, t_max=0.05), event.LI(3, t_max=0.05)]")
