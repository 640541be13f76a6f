"""snnax, with the network written by hand, or ported from the snnTorch peer."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import flax.linen as nn
import jax.numpy as jnp
import numpy as np

import snnax as snn
from benchmarks.peers.jax_step import JaxStep
from benchmarks.workloads.spec import Conv, Data, Flat, Layer, Linear, Neuron, Pool, Workload
from snnax import interop, surrogate

DIFFERS = "nothing: the same spikes as snnTorch"


def build(workload: Workload, data: Data, **unroll: Any) -> JaxStep:
    """The network as a user writes it; ``unroll`` are further arguments of ``snn.unroll``."""
    net, params, x = network(workload, data)
    return JaxStep(workload, _readout(workload, net, {}, unroll), params, x, data.y)


def network(workload: Workload, data: Data) -> tuple[nn.Module, dict[str, Any], np.ndarray]:
    """The network, its weights, and the input as flax lays out images."""
    last, kind = workload.last, jnp.bfloat16 if workload.precision == "bfloat16" else None
    net = snn.Sequential([_module(layer, i == last, kind) for i, layer in enumerate(workload.layers)])
    params = {
        f"layers_{i}": _weights(workload.layers, i, given)
        for i, given in enumerate(data.weights) if given
    }  # fmt: skip
    return net, params, np.moveaxis(data.x, -3, -1) if isinstance(workload.layers[0], Conv) else data.x


def build_ported(workload: Workload, data: Data, **unroll: Any) -> JaxStep:
    """The snnTorch peer's network, carried over by ``interop.from_snntorch``."""
    import torch

    from benchmarks.peers.snntorch import network

    frame = torch.from_numpy(data.x if workload.constant else data.x[0])
    net, variables = interop.from_snntorch(network(workload, data), frame)
    params = variables["params"]
    rest = {name: value for name, value in variables.items() if name not in ("params", "hidden")}
    return JaxStep(workload, _readout(workload, net, rest, unroll), params, data.x, data.y)


def _readout(workload: Workload, net: nn.Module, rest: dict, unroll: dict) -> Callable[..., Any]:
    steps = {"num_steps": workload.steps} if workload.constant else {}

    def readout(params: Any, x: Any) -> Any:
        (spk, mem), _ = snn.unroll(net, {"params": params, **rest}, x, **steps, **unroll)
        return mem if workload.loss == "membrane" else spk

    return readout


def _module(layer: Layer, last: bool, kind: Any) -> nn.Module:
    match layer:
        case Linear():
            return nn.Dense(layer.outputs, use_bias=layer.bias, dtype=kind)
        case Conv():
            return nn.Conv(layer.outputs, (layer.size, layer.size), padding="VALID", dtype=kind)
        case Pool():
            return snn.MaxPool2d(2)
        case Flat():
            return snn.Flatten()
        case Neuron():
            spike = None if layer.slope is None else surrogate.fast_sigmoid(slope=layer.slope)
            shared = {"beta": layer.beta, "spike_grad": spike, "init_hidden": True, "output": last}
            if layer.recurrent:
                return snn.RLeaky(linear_features=layer.features[0], **shared)
            return snn.Leaky(**shared)


def _weights(layers: tuple[Layer, ...], i: int, given: dict[str, np.ndarray]) -> dict[str, Any]:
    """flax's layout: kernels are transposed, and images are channels-last."""
    weight, bias = given["weight"], {"bias": jnp.asarray(given["bias"])} if "bias" in given else {}
    if weight.ndim == 4:
        return {"kernel": jnp.asarray(weight.transpose(2, 3, 1, 0)), **bias}
    before = layers[i - 1]
    if isinstance(before, Flat):
        image = weight.reshape(-1, before.channels, before.side, before.side)
        weight = image.transpose(0, 2, 3, 1).reshape(weight.shape)
    dense = {"kernel": jnp.asarray(weight.T), **bias}
    return {"recurrent": dense} if isinstance(layers[i], Neuron) else dense
