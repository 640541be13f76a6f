"""``LIF``: a layer of spiking neurons with its weights, feed-forward or recurrent."""

from __future__ import annotations

from typing import Any

import flax.linen as nn
import jax.numpy as jnp

from snnax import checks
from snnax.errors import ArgumentError
from snnax.event.arguments import seconds
from snnax.event.layers.base import (
    AxonDelay,
    EventModule,
    Initializer,
    axon_delay,
    initializer,
    spike_trains,
)
from snnax.event.layers.initial import firing_normal
from snnax.event.layers.running import run
from snnax.event.network import Network, Population, Projection
from snnax.event.neuron import LIFParameters
from snnax.event.silent import OVER
from snnax.event.simulation import ENGINES
from snnax.event.spike_trains import Trains

__all__ = ["LIF"]

_INPUT, _OWN = "input", "neurons"


class LIF(EventModule):
    r"""Leaky integrate-and-fire neurons in continuous time, with their input weights: spike trains in, trains out.

    .. math:: \tau_m \dot V_m = v_{leak} - V_m + I_m, \quad \tau_s \dot I_m = -I_m, \qquad
        I_m \leftarrow I_m + w_{nm} \text{ at a spike of input } n

    Spike times are exact, and so are their gradients (EventProp).

    Args:
        features: number of neurons ``M``.
        t_max: when the simulation ends, in seconds.
        parameters: of the neurons. ``LIFParameters(refractory=math.inf)`` lets each fire once at most, which is the
            code of the time to the first spike, in the fastest program.
        max_spikes: the budget ``K``: how many spikes of a neuron are noted.
        recurrent: whether the neurons project to each other (and to themselves).
        delay: of the input axons: ``None``, fixed seconds (a number or one for each input), or an initializer of delays
            that are learned, one for each input, as ``jax.nn.initializers.uniform(5e-3)``.
        recurrent_delay: the same of the recurrent axons.
        weight_init: of the input weights ``[N, M]``; ``None``: :class:`firing_normal` of ``parameters``.
        recurrent_init: of the recurrent weights ``[M, M]``; ``None``: :class:`firing_normal` with ``gain=0`` and
            ``spread=0.1``.
        silence: how much of :func:`~snnax.event.silence` the layer adds to the loss, for neurons that never fire. Put
            into the collection ``"losses"``, from which :func:`snnax.training.fit` takes it.
        silent_over: ``"batch"`` or ``"sample"``, as there.
        engine: as of :func:`~snnax.event.simulate`.
        max_events: budget of the event loop of a recurrent layer, as there.
        max_in_flight: budget of spikes under way in it, as there.

    Parameters: ``weights``, and where they are asked for ``recurrent``, ``delay`` and ``recurrent_delay``.

    Returns:
        Called with :class:`Trains` or with times ``[B, N]`` or ``[B, N, K]``: :class:`Trains` of ``times[B, M, K]``.
        ``overflow`` is set where a neuron had more than ``K`` spikes, and in all neurons of a sample in which an input
        overflowed: what the spikes that are missing would have done is not known. Which layer it was tells
        ``apply(..., mutable=["overflow"])``.

    Raises:
        ArgumentError: for arguments that cannot be, or times before 0.
        ShapeError: for inputs that are not ``[B, N, K]``, or that variables were not made for.

    Compared with
        * jaxsnn's ``LIF``: takes any ratio of the time constants, any number of inputs at one time, and says so when
          spikes exceed the budget.
        * :class:`snnax.LIF` of snnax steps in time; this is its limit for small steps.

    Example:
        >>> import jax, jax.numpy as jnp
        >>> from snnax import event
        >>> layer = event.LIF(3, t_max=0.05, max_spikes=2)
        >>> times = jnp.array([[1e-3, 2e-3, 4e-3, jnp.inf]])  # [B, N]: the last input is silent
        >>> spikes, variables = layer.init_with_output(jax.random.key(0), times)
        >>> spikes.times.shape, variables["params"]["weights"].shape
        ((1, 3, 2), (4, 3))
    """

    features: int
    t_max: float
    parameters: LIFParameters = LIFParameters()
    max_spikes: int = 1
    recurrent: bool = False
    delay: AxonDelay = None
    recurrent_delay: AxonDelay = None
    weight_init: Initializer | None = None
    recurrent_init: Initializer | None = None
    silence: float = 0.0
    silent_over: str = "batch"
    engine: str = "auto"
    max_events: int | None = None
    max_in_flight: int | None = None

    def __post_init__(self) -> None:
        """Check the fields."""
        checks.fields(
            self,
            features=checks.count(),
            t_max=seconds,
            parameters=checks.instance(LIFParameters, "snnax.event.LIFParameters()"),
            max_spikes=checks.count(),
            delay=axon_delay,
            recurrent_delay=axon_delay,
            weight_init=checks.maybe(initializer),
            recurrent_init=checks.maybe(initializer),
            silence=checks.number(0.0),
            silent_over=checks.one_of(*OVER),
            engine=checks.one_of(*ENGINES),
            max_events=checks.maybe(checks.count()),
            max_in_flight=checks.maybe(checks.count()),
        )
        if not self.recurrent and (self.recurrent_delay is not None or self.recurrent_init is not None):
            raise ArgumentError(
                "LIF(recurrent_delay=..., recurrent_init=...) are of recurrent weights, which this layer has not: "
                "pass recurrent=True, too."
            )
        super().__post_init__()

    @nn.compact
    def __call__(self, inputs: Any) -> Trains:
        """The spikes of the layer."""
        arriving = spike_trains(inputs, f"{self._label()}(inputs=...)")
        network = Network((Population(_OWN, self.features, self.parameters),), self._projections(arriving))
        (spikes,) = run(self, network, {_INPUT: arriving}).values()
        return spikes

    def _projections(self, arriving: Trains) -> tuple[Projection, ...]:
        number, dtype = arriving.times.shape[1], jnp.result_type(float)
        draw = self.weight_init or firing_normal(self.parameters)
        weights = self.param("weights", draw, (number, self.features), dtype)
        found = [Projection(_INPUT, _OWN, weights, self._delays("delay", self.delay, number))]
        if self.recurrent:
            draw = self.recurrent_init or firing_normal(self.parameters, gain=0.0, spread=0.1)
            weights = self.param("recurrent", draw, (self.features, self.features), dtype)
            delay = self._delays("recurrent_delay", self.recurrent_delay, self.features)
            found.append(Projection(_OWN, _OWN, weights, delay))
        return tuple(found)
