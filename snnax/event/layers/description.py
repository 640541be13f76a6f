"""Modules and their weights as the description that engines and converters take."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import flax.linen as nn

from snnax import checks
from snnax.errors import ArgumentError
from snnax.event.layers.graph import Graph
from snnax.event.layers.li import LI
from snnax.event.layers.lif import LIF
from snnax.event.layers.sequential import Sequential
from snnax.event.network import Network, Population, Projection, Readout

__all__ = ["as_network"]

_EXPECTED = "an event.Sequential, event.Graph, event.LIF or event.LI"


def as_network(model: nn.Module, variables: Mapping[str, Any]) -> Network:
    """A module with its variables as a :class:`Network`: for :func:`simulate`, NIR and cross-validation.

    Args:
        model: :class:`Sequential` of :class:`LIF` and at last perhaps :class:`LI`, one of these alone, or
            :class:`Graph`.
        variables: its variables.

    Returns:
        The network with these weights and delays. The populations of a graph keep their names; layers are called
        ``layers_0``, ``layers_1``, ... as in the variables, and their input ``input``. ``LI`` is a :class:`Readout`.

    Raises:
        ArgumentError: for another module or layer, or variables that lack a weight.

    Example:
        >>> import jax, jax.numpy as jnp
        >>> from snnax import event
        >>> net = event.Sequential([event.LIF(20, t_max=0.05), event.LI(3, t_max=0.05)])
        >>> network = event.as_network(net, net.init(jax.random.key(0), jnp.zeros((1, 5))))
        >>> network.sizes, [readout.name for readout in network.readouts]
        ({'layers_0': 20}, ['layers_1'])
    """
    params = nn.unbox(
        checks.mapping("variables, as of net.init(key, times)")(variables, "as_network(variables=...)")
    ).get("params", {})
    if isinstance(model, Graph):
        return model._network(
            lambda c, name: Projection(
                c.source, c.target, _weights(params, name), _delay(params, f"{name}_delay", c.delay), c.mask
            )
        )
    if isinstance(model, LIF | LI):
        return _chain([("layers_0", model, params)])
    if isinstance(model, Sequential):
        names = [f"layers_{number}" for number in range(len(model.layers))]
        return _chain(
            [(name, layer, params.get(name, {})) for name, layer in zip(names, model.layers, strict=True)]
        )
    raise checks.refuse("as_network(model=...)", model, _EXPECTED)


def _chain(layers: list[tuple[str, Any, Mapping[str, Any]]]) -> Network:
    if not any(isinstance(layer, LIF) for _, layer, _ in layers):
        raise ArgumentError(
            "as_network(model=...) has no spiking neurons; expected an event.LIF, as before event.LI."
        )
    populations, projections, readouts, before = [], [], [], "input"
    for name, layer, params in layers:
        if not isinstance(layer, LIF | LI):
            raise checks.refuse(f"as_network(model=...): the layer {name}", layer, "an event.LIF or event.LI")
        weights = _weights(params, "weights")
        projections.append(Projection(before, name, weights, _delay(params, "delay", layer.delay)))
        size = int(weights.shape[1])
        if isinstance(layer, LI):
            readouts.append(Readout(name, size, layer.parameters))
        else:
            populations.append(Population(name, size, layer.parameters))
            if layer.recurrent:
                delay = _delay(params, "recurrent_delay", layer.recurrent_delay)
                projections.append(Projection(name, name, _weights(params, "recurrent"), delay))
        before = name
    return Network(tuple(populations), tuple(projections), tuple(readouts))


def _weights(params: Mapping[str, Any], name: str) -> Any:
    if name not in params:
        raise ArgumentError(
            f"as_network(variables=...): the parameter {name!r} is missing of {sorted(params)}; pass the variables of "
            "this model, as net.init(key, times) makes them."
        )
    return params[name]


def _delay(params: Mapping[str, Any], name: str, given: Any) -> Any:
    """Seconds of a delay that is learned, or fixed."""
    return _weights(params, name) if callable(given) else given
