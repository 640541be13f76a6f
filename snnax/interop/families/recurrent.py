"""Neurons with recurrent weights: two NIR nodes on a loop <-> one RLeaky or RSynaptic."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

import nir
import numpy as np

from snnax.errors import ConversionError
from snnax.interop.conventions import for_each, gathered
from snnax.interop.families.nodes import node_from_spec, spec_from_node
from snnax.interop.layers.conv import settle_types
from snnax.interop.layers.registry import Site
from snnax.interop.nir import metadata
from snnax.interop.nir.readings import Reading
from snnax.interop.spec import NeuronSpec


def split(spec: NeuronSpec, site: Site) -> tuple[nir.NIRNode, nir.NIRNode]:
    """The neuron's node and that of its recurrent weights: Affine, Linear, Conv2d, or Scale for one weight each."""
    neuron = node_from_spec(site.name, spec, site.shape_in, site.dt)
    if "V" in spec.recurrent:
        value = spec.recurrent["V"]
        weights: nir.NIRNode = nir.Scale(scale=for_each(value, site.shape_in, site.real(value)))
        content = {"factor": float(value)} if np.ndim(value) == 0 else {"shape": list(np.shape(value))}
        return neuron, metadata.write(weights, content)
    weight, bias = spec.recurrent["weight"], spec.recurrent.get("bias")
    _check_axes(site, weight)
    if weight.ndim == 2:
        return neuron, nir.Linear(weight=weight) if bias is None else nir.Affine(weight=weight, bias=bias)
    kernel = weight.shape[2:]
    weights = nir.Conv2d(
        input_shape=site.shape_in[1:], weight=weight, stride=(1, 1), padding=tuple(k // 2 for k in kernel),
        dilation=(1, 1), groups=1, bias=np.zeros(len(weight), weight.dtype) if bias is None else bias,
    )  # fmt: skip
    settle_types(weights, replace(site, shape_out=site.shape_in))
    return neuron, weights if bias is not None else metadata.write(weights, {"bias": False})


def _check_axes(site: Site, weight: np.ndarray) -> None:
    """Refuse weights for one of several axes: the last one is that of the channels here, and not in torch and NIR."""
    rank = 1 if weight.ndim == 2 else weight.ndim - 1
    if len(site.shape_in) != rank:
        axes = "vectors" if rank == 1 else "images"
        raise ConversionError(
            site.name, f"its recurrent weights of shape {weight.shape} are for {axes}, and its samples have shape "
            f"{site.shape_in}, channels first",
            "Flatten the samples before it, or use conv2d_channels and kernel_size for images.",
        )  # fmt: skip


def join(
    name: str, neuron: nir.NIRNode, weights: Any, dt: float, reading: Reading | None = None
) -> NeuronSpec:
    """The recurrent neuron of two nodes on a loop.

    Without metadata it is NIR's LIF with its spikes fed back one step later, and a recurrent bias that
    counts from the first step on, as in snnTorch.

    Raises:
        ConversionError: for weights that RLeaky and RSynaptic cannot hold.
    """
    spec, factor = spec_from_node(name, neuron, dt, Reading() if reading is None else reading)
    if factor is not None:
        raise ConversionError(
            name, "its input, recurrent spikes included, is scaled by r*dt/tau other than 1",
            "Multiply the weights of both nodes by it and set r = tau/dt.",
        )  # fmt: skip
    spec = replace(spec, kind=spec.family.joined or spec.kind, recurrent=_weights(name, weights))
    values = {k: v for k, v in spec.values.items() if k != "graded_spikes_factor"}
    learn = spec.learn if metadata.of(neuron, name).spec else (*spec.learn, "recurrent")
    return replace(spec, values=values, learn=learn)


def _weights(name: str, node: Any) -> dict[str, np.ndarray]:
    if isinstance(node, nir.Scale):
        content = metadata.read(node, name)
        scale = np.asarray(node.scale)
        if "factor" in content and (scale == np.asarray(content["factor"], scale.dtype)).all():
            return {"V": np.asarray(content["factor"], scale.dtype)}
        if "shape" in content and np.broadcast_shapes(tuple(content["shape"]), scale.shape) == scale.shape:
            scale = gathered(scale, content["shape"])
        return {"V": scale}
    weight = np.asarray(node.weight)
    if isinstance(node, nir.Linear):
        return {"weight": weight}
    if isinstance(node, nir.Conv2d):
        half = tuple(k // 2 for k in weight.shape[2:])
        plain = int(node.groups) == 1 and all(
            int(s) == 1 for s in (*np.ravel(node.stride), *np.ravel(node.dilation))
        )
        if not plain or not np.array_equal(np.ravel(node.padding), half):
            raise ConversionError(
                name, "its recurrent convolution has a stride, dilation, groups or padding of its own",
                "A recurrent convolution has stride 1 and half the kernel as padding.",
            )  # fmt: skip
        if not metadata.read(node, name).get("bias", True) and not np.any(node.bias):
            return {"weight": weight}
    return {"weight": weight, "bias": np.asarray(node.bias)}
