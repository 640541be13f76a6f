"""Affine and Linear nodes <-> ``nn.Dense``; Scale <-> ``snnax.layers.Scale``."""

from __future__ import annotations

from collections.abc import Mapping
from functools import partial
from typing import Any

import flax.linen as nn
import nir
import numpy as np

from snnax.errors import ConversionError, ShapeError
from snnax.interop.conventions import (
    against,
    for_each,
    gathered,
    kernel_to_torch,
    per_neuron_first,
    per_neuron_last,
)
from snnax.interop.families.arrays import kept
from snnax.interop.layers.entries import Entry, Layer, affine, axes_of, entries_of, number, there
from snnax.interop.layers.registry import (
    Array,
    Built,
    Function,
    Site,
    Variables,
    broadcast,
    builds,
    cast,
    evaluates,
    sums,
    writes,
)
from snnax.interop.layers.rounded import mark, restored, weight_of
from snnax.interop.nir import metadata
from snnax.interop.numbers import on_device
from snnax.layers import Scale
from snnax.layers.norm import GradedSpikes
from snnax.layers.rounding import rounding_of


@builds(nir.Affine, nir.Linear)
def build_dense(node: nir.Affine | nir.Linear, site: Site) -> Built:
    """``y = W x (+ b)``; NIR keeps W as ``(out, in)``, flax as ``(in, out)``."""
    weight = np.asarray(node.weight)
    if weight.ndim != 2:
        raise ConversionError(
            site.name,
            f"its weight has shape {weight.shape}",
            "Only (out, in) is supported; split the batched node.",
        )
    if len(site.shape_in) != 1:
        raise ConversionError(
            site.name, f"a linear layer gets samples of shape {site.shape_in}",
            "Put a Flatten node in front of it; snnax does not apply linear layers along one axis of several.",
        )  # fmt: skip
    if site.shape_in != weight.shape[1:]:
        raise ShapeError(
            f"{site.name!r} gets samples of shape {site.shape_in}, its weight takes ({weight.shape[1]},)."
        )
    use_bias = isinstance(node, nir.Affine)
    module, kernel = restored(nn.Dense(weight.shape[0], use_bias=use_bias), node, site.name)
    params = {"kernel": on_device(kernel)}
    if use_bias:
        bias = np.asarray(node.bias)
        if bias.shape != weight.shape[:1]:
            raise ShapeError(
                f"{site.name!r} has a bias of shape {bias.shape}; its weight asks for {weight.shape[:1]}."
            )
        params["bias"] = on_device(bias)
    return Built(module, {"params": params}, weight.shape[:1])


@writes(nn.Dense)
def write_dense(module: nn.Dense, variables: Variables, site: Site) -> nir.NIRNode:
    """Affine, or Linear where there is no bias."""
    params = variables["params"]
    weight = weight_of(module, params["kernel"], site.name)
    if len(site.shape_in) != 1:
        raise ConversionError(
            site.name, f"a Dense layer acts on the channels of samples of shape {site.shape_in}, channels first; "
            "NIR's and torch's would act on their last axis",
            "Use nn.Conv(features, (1, 1)), for rows nn.Conv(features, (1,)); or flatten the samples before it.",
        )  # fmt: skip
    node: nir.NIRNode = nir.Linear(weight=weight)
    if module.use_bias:
        node = nir.Affine(weight=weight, bias=np.asarray(params["bias"]))
    return mark(node, rounding_of(module), kernel_to_torch(params["kernel"]))


@evaluates(nir.Affine, nir.Linear)
def evaluate_dense(name: str, node: Any, dtype: Any) -> Function:
    r""":math:`y = W x + b`; leading axes of W are axes of the sample."""
    weight = cast(node.weight, dtype)
    bias = cast(node.bias, dtype) if isinstance(node, nir.Affine) else None
    if bias is not None and bias.shape != weight.shape[:-1]:
        raise ShapeError(
            f"{name!r} has a bias of shape {bias.shape}; its weight asks for {weight.shape[:-1]}."
        )

    def apply(x: Array) -> Array:
        if x.shape[1:] != (*weight.shape[:-2], weight.shape[-1]):
            raise ShapeError(
                f"{name!r} gets samples of shape {x.shape[1:]}, its weight has shape {weight.shape}: "
                "expected the size of its last axis."
            )
        product = x @ weight.T if weight.ndim == 2 else np.einsum("...oi,b...i->b...o", weight, x)
        return np.asarray(product if bias is None else product + bias)

    return apply


@sums(nir.Affine, nir.Linear)
def count_dense(node: Any) -> int:
    """The weights of one output, and its bias."""
    return int(np.prod(np.shape(node.weight)[1:])) + isinstance(node, nir.Affine)


@builds(nir.Scale)
def build_scale(node: nir.Scale, site: Site) -> Built:
    """``y = s * x`` elementwise; one number in the metadata stays one number."""
    content = metadata.read(node, site.name)
    scale = np.asarray(node.scale)
    try:
        against(scale, site.shape_in)
    except ValueError as error:
        raise ShapeError(
            f"{site.name!r} scales by {scale.shape}, its samples have {site.shape_in}."
        ) from error
    factor = content.get("factor")
    learn = bool(content.get("learn", False))
    if factor is not None and (scale == np.asarray(factor, scale.dtype)).all():
        if not learn:
            return Built(Scale(float(factor)), {}, site.shape_in)
        scale = np.asarray(factor, scale.dtype)
    here = per_neuron_last(gathered(scale, content.get("shape")), len(site.shape_in))
    home = "params" if learn else "buffers"
    value = on_device(here) if learn else kept(here)
    return Built(Scale(here, learn_scale=learn), {home: {"scale": value}}, site.shape_in)


@writes(GradedSpikes)
def write_graded(module: GradedSpikes, variables: Variables, site: Site) -> nir.NIRNode:
    """Scale that is trained, with one weight for each neuron, or for each channel of an image."""
    weights = per_neuron_first(variables["params"]["weights"], len(site.shape_in))
    node = nir.Scale(scale=for_each(weights, site.shape_in))
    return metadata.write(node, {"learn": True, "shape": list(weights.shape)})


@writes(Scale)
def write_scale(module: Scale, variables: Variables, site: Site) -> nir.NIRNode:
    """Scale with the full shape of a sample, as NIR asks."""
    home = "params" if module.learn_scale else "buffers"
    scale = per_neuron_first(variables.get(home, {}).get("scale", module.scale), len(site.shape_in))
    node = nir.Scale(scale=for_each(scale, site.shape_in, site.real(scale)))
    content = {"learn": module.learn_scale, **({"shape": list(scale.shape)} if scale.ndim else {})}
    return metadata.write(node, {**content, "factor": float(scale)} if scale.ndim == 0 else content)


@evaluates(nir.Scale)
def evaluate_scale(name: str, node: nir.Scale, dtype: Any) -> Function:
    r""":math:`y = s \odot x`."""
    return partial(broadcast, name, np.multiply, cast(node.scale, dtype))


@sums(nir.Scale)
def count_scale(node: nir.Scale) -> int:
    """One product."""
    return 1


@entries_of(nn.Dense)
def _dense_entries(layer: Layer, variables: Mapping[str, Any]) -> list[Entry]:
    return affine(layer, variables, "", "params")


@entries_of(GradedSpikes)
def _graded_entries(layer: Layer, variables: Mapping[str, Any]) -> list[Entry]:
    """snnTorch's weights ``(N, 1)`` multiply the axis before the last: the channels of rows, not those of images."""
    weights = there(layer, variables, ("params", "weights"))
    if layer.rank is not None and layer.rank > 2:
        raise ConversionError(
            layer.name or "GradedSpikes",
            "snnTorch's GradedSpikes would scale the rows of an image, not its channels",
            "Use snnax.Scale(factors, learn_scale=True), which to_snntorch writes with the same numbers.",
        )
    return [Entry("weights", weights.reshape(-1, 1), ("params", "weights"), lambda _, new: new.reshape(-1))]


@entries_of(Scale)
def _scale_entries(layer: Layer, variables: Mapping[str, Any]) -> list[Entry]:
    """As ``to_snntorch`` writes it: a parameter if it is learned, else part of the module."""
    return [number(layer, variables, "scale")] if layer.module.learn_scale else []


@axes_of(nn.Dense)
def _dense_axes(module: Any, axes: int | None) -> int:
    return axes or 1  # on images it would have no equal in torch


@axes_of(Scale, GradedSpikes)
def _same_axes(module: Any, axes: int | None) -> int | None:
    return axes
