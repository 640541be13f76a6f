"""jaxpike: ``jaxpike.unroll``, each layer without memory over all steps, each neuron in a scan of its own.

It emits 8 time steps per iteration by default, which its author measured on a GPU and which is slower on a CPU: here
one, if nothing else is asked for.
"""

from __future__ import annotations

import math
from typing import Any

import equinox as eqx
import jax
import jax.numpy as jnp
import jaxpike
import numpy as np

from benchmarks.peers.jax_step import JaxStep
from benchmarks.workloads.spec import Conv, Data, Flat, Layer, Linear, Neuron, Pool, Workload

DIFFERS = "input scaled by 1 - beta (weights are scaled to match), reset in the same step; readout as spyx"


def build(workload: Workload, data: Data, scan_unroll: int = 1) -> JaxStep | None:
    """None for products in bfloat16, for which its layers have no argument."""
    if workload.precision == "bfloat16":
        return None
    layers = workload.layers
    integrate = workload.loss == "membrane"
    parts = [_module(layer, integrate and i == workload.last) for i, layer in enumerate(layers)]
    for i, given in enumerate(data.weights):
        if given and not isinstance(layers[i], Neuron):
            gain = 1 / (1 - next(layer for layer in layers[i:] if isinstance(layer, Neuron)).beta)
            parts[i] = _loaded(parts[i], given, layers[i - 1], gain)
    net = _network(layers, parts, data)
    # The time constants are trained in jaxpike; here they stay as they are, as its documentation shows.
    trained = jax.tree.map(eqx.is_inexact_array, net)
    for select in _constants(net):
        trained = eqx.tree_at(select, trained, replace_fn=lambda _: False)
    params, rest = eqx.partition(net, trained)

    def readout(params: Any, x: jax.Array) -> jax.Array:
        if workload.constant:
            x = jnp.broadcast_to(x, (workload.steps, *x.shape))
        return jaxpike.unroll(eqx.combine(params, rest), x, scan_unroll=scan_unroll)[0]

    x = np.moveaxis(data.x, -3, -1) if isinstance(layers[0], Conv) else data.x
    return JaxStep(workload, readout, params, x, data.y)


def _network(layers: tuple[Layer, ...], parts: list[Any], data: Data) -> Any:
    """A chain, or, for a recurrent neuron, a graph with a way back."""
    loops = [i for i, layer in enumerate(layers) if isinstance(layer, Neuron) and layer.recurrent]
    if not loops:
        return jaxpike.Sequential(*parts)
    nodes = {f"n{i}": part for i, part in enumerate(parts)}
    edges = [("input", "n0"), *((f"n{i}", f"n{i + 1}") for i in range(len(parts) - 1))]
    for i in loops:
        features = layers[i].features[0]
        back = jaxpike.Dense(features, features, key=jax.random.key(i))
        nodes[f"back{i}"] = _loaded(back, data.weights[i], layers[i], 1 / (1 - layers[i].beta))
        edges += [(f"n{i}", f"back{i}"), (f"back{i}", f"n{i}")]
    return jaxpike.Graph(nodes, edges, f"n{len(parts) - 1}")


def _constants(net: Any) -> list[Any]:
    """Where the network keeps its time constants."""
    if isinstance(net, jaxpike.Graph):
        names = [name for name, node in net.nodes.items() if hasattr(node, "log_tau")]
        return [lambda tree, name=name: tree.nodes[name].log_tau for name in names]
    places = [i for i, layer in enumerate(net.layers) if hasattr(layer, "log_tau")]
    return [lambda tree, i=i: tree.layers[i].log_tau for i in places]


def _module(layer: Layer, integrate: bool) -> Any:
    key = jax.random.key(0)
    match layer:
        case Linear():
            return jaxpike.Dense(layer.inputs, layer.outputs, use_bias=layer.bias, key=key)
        case Conv():
            return jaxpike.Conv2d(layer.inputs, layer.outputs, layer.size, key=key, padding="VALID")
        case Pool():
            return jaxpike.Pool2d(2, mode="max")
        case Flat():
            return jaxpike.Flatten()
        case Neuron():
            tau = -1 / math.log(layer.beta)
            if integrate:
                return jaxpike.LeakyIntegrator(tau)
            spike = jaxpike.ATan() if layer.slope is None else jaxpike.FastSigmoid(layer.slope)
            return jaxpike.LIF(tau, surrogate=spike)


def _loaded(module: Any, given: dict[str, np.ndarray], before: Layer, gain: float) -> Any:
    weight = given["weight"] * np.float32(gain)
    if weight.ndim == 4:
        weight = weight.transpose(2, 3, 1, 0)
    elif isinstance(before, Flat):
        image = weight.reshape(-1, before.channels, before.side, before.side)
        weight = image.transpose(0, 2, 3, 1).reshape(weight.shape)
    module = eqx.tree_at(lambda m: m.weight, module, jnp.asarray(weight))
    if "bias" not in given:
        return module
    return eqx.tree_at(lambda m: m.bias, module, jnp.asarray(given["bias"] * np.float32(gain)))
