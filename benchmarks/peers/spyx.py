"""spyx: ``spyx.nn.run``, one scan over the whole network."""

from __future__ import annotations

from functools import partial
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
from flax import nnx
from spyx import axn
from spyx import nn as spyx

from benchmarks.peers.jax_step import JaxStep
from benchmarks.workloads.spec import Conv, Data, Flat, Layer, Linear, Neuron, Pool, Workload

DIFFERS = "spikes on the membrane of the step before; the readout of a membrane is a leaky integrator"


def build(workload: Workload, data: Data) -> JaxStep:
    integrate = workload.loss == "membrane"
    kind = jnp.bfloat16 if workload.precision == "bfloat16" else None
    net = spyx.Sequential(
        *(_module(layer, integrate and i == workload.last, kind) for i, layer in enumerate(workload.layers))
    )
    for i, given in enumerate(data.weights):
        if given:
            _load(net.layers[i], given, workload.layers[i - 1])
    # The decays are parameters in spyx; here they stay as they are, as in the other libraries.
    graph, decays, params = nnx.split(net, nnx.PathContains("beta"), ...)

    def readout(params: Any, x: jax.Array) -> jax.Array:
        if workload.constant:
            x = jnp.broadcast_to(x, (workload.steps, *x.shape))
        return spyx.run(nnx.merge(graph, decays, params), x)[0]

    x = np.moveaxis(data.x, -3, -1) if isinstance(workload.layers[0], Conv) else data.x
    return JaxStep(workload, readout, params, x, data.y)


def _module(layer: Layer, integrate: bool, kind: Any) -> Any:
    rngs = nnx.Rngs(0)
    match layer:
        case Linear():
            return nnx.Linear(layer.inputs, layer.outputs, use_bias=layer.bias, dtype=kind, rngs=rngs)
        case Conv():
            size = (layer.size, layer.size)
            return nnx.Conv(layer.inputs, layer.outputs, size, padding="VALID", dtype=kind, rngs=rngs)
        case Pool():
            return partial(nnx.max_pool, window_shape=(2, 2), strides=(2, 2))
        case Flat():
            return spyx.Flatten()
        case Neuron():
            if integrate:
                return spyx.LI(layer.features, beta=layer.beta, rngs=rngs)
            spike = axn.arctan() if layer.slope is None else axn.superspike(layer.slope)
            features = layer.features
            if len(features) == 3:  # images are channels-last
                features = (*features[1:], features[0])
            kind = spyx.RLIF if layer.recurrent else spyx.LIF
            return kind(features, beta=layer.beta, activation=spike, rngs=rngs)


def _load(module: Any, given: dict[str, np.ndarray], before: Layer) -> None:
    weight = given["weight"]
    if isinstance(module, spyx.RLIF):
        module.recurrent_w[...] = jnp.asarray(weight.T)
        return
    if weight.ndim == 4:
        weight = weight.transpose(2, 3, 1, 0)
    elif isinstance(before, Flat):
        image = weight.reshape(-1, before.channels, before.side, before.side)
        weight = image.transpose(2, 3, 1, 0).reshape(weight.T.shape)
    else:
        weight = weight.T
    module.kernel[...] = jnp.asarray(weight)
    if "bias" in given:
        module.bias[...] = jnp.asarray(given["bias"])
