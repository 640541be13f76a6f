"""Transposed convolution, adaptive mean and ReLU as extensions: NIR has no node for any of them."""

from __future__ import annotations

from collections.abc import Mapping
from math import prod
from typing import Any

import nir
import numpy as np

from snnax.errors import ShapeError
from snnax.interop.conventions import kernel_from_torch, kernel_to_torch
from snnax.interop.layers.entries import Entry, Layer, affine, axes_of, entries_of
from snnax.interop.layers.registry import (
    Array,
    Built,
    Function,
    Shape,
    Site,
    Variables,
    builds,
    cast,
    evaluates,
    sums,
    writes,
)
from snnax.interop.nir.extension import Extension
from snnax.interop.numbers import on_device
from snnax.layers.torch_own import AdaptiveAvgPool2d, ConvTranspose2d, ReLU, shares
from snnax.limits import check_values

TRANSPOSED = ("stride", "padding", "output_padding", "groups", "dilation")
"""The options of a transposed convolution."""


@writes(ConvTranspose2d)
def write_transposed(module: ConvTranspose2d, variables: Variables, site: Site) -> nir.NIRNode:
    """The weight as torch has it, ``(in, out / groups, H, W)``."""
    params = variables["params"]
    arrays = {"weight": kernel_to_torch(params["kernel"])}
    if module.bias:
        arrays["bias"] = np.asarray(params["bias"])
    options = {k: v if isinstance(v := getattr(module, k), int) else list(v) for k in TRANSPOSED}
    return Extension("ConvTranspose2d", arrays, options, site.shape_in, site.shape_out)


@builds("ConvTranspose2d")
def build_transposed(node: Extension, site: Site) -> Built:
    """The layer with its weights."""
    weight, options = np.asarray(node.arrays["weight"]), _options(node)
    if weight.ndim != 4 or len(site.shape_in) != 3 or site.shape_in[0] != weight.shape[0]:
        raise ShapeError(
            f"{site.name!r} has a weight of shape {weight.shape} and gets samples of shape {site.shape_in}; expected "
            "(in, out, H, W) and (in, H, W)."
        )
    params, use_bias = {"kernel": on_device(kernel_from_torch(weight))}, "bias" in node.arrays
    if use_bias:
        params["bias"] = on_device(node.arrays["bias"])
    outputs = weight.shape[1] * options["groups"]
    module = ConvTranspose2d(weight.shape[0], outputs, weight.shape[2:], bias=use_bias, **options)
    return Built(module, {"params": params}, (outputs, *_lengths(site.name, site.shape_in, weight, options)))


def _options(node: Extension) -> dict[str, Any]:
    given = {k: node.options[k] for k in TRANSPOSED}
    return {k: int(v) if k == "groups" else tuple(int(n) for n in v) for k, v in given.items()}


def _lengths(name: str, shape: Shape, weight: Array, options: Mapping[str, Any]) -> Shape:
    sides = zip(shape[1:], weight.shape[2:], *(options[k] for k in TRANSPOSED if k != "groups"), strict=True)
    found = tuple((n - 1) * s - 2 * p + d * (k - 1) + more + 1 for n, k, s, p, more, d in sides)
    if min(found) < 1:
        raise ShapeError(f"{name!r} leaves nothing of samples of shape {shape}: sides of {found}.")
    check_values(
        name, prod(found) * weight.shape[1] * options["groups"], f"makes samples with sides of {found}"
    )
    return found


@evaluates("ConvTranspose2d")
def evaluate_transposed(name: str, node: Extension, dtype: Any) -> Function:
    """Each input, times the kernel, is added to the outputs around it."""
    weight, options = cast(node.arrays["weight"], dtype), _options(node)
    bias = cast(node.arrays.get("bias", np.zeros(1, dtype)), dtype)
    groups, steps, pads, apart = (options[k] for k in ("groups", "stride", "padding", "dilation"))
    parts = np.split(weight, groups)  # [in / groups, out / groups, H, W] of each group

    def apply(x: Array) -> Array:
        if x.ndim != 4 or x.shape[1] != len(weight):
            raise ShapeError(
                f"{name!r} gets samples of shape {x.shape[1:]}; expected {len(weight)} channels."
            )
        out = _lengths(name, x.shape[1:], weight, options)
        spans = [
            max(n + 2 * p, (i - 1) * s + d * (k - 1) + 1)
            for n, p, i, s, d, k in zip(out, pads, x.shape[2:], steps, apart, weight.shape[2:], strict=True)
        ]
        total = np.zeros((len(x), weight.shape[1] * groups, *spans), dtype)
        for place in np.ndindex(*weight.shape[2:]):
            cut = tuple(
                slice(m * d, m * d + s * (i - 1) + 1, s)
                for m, d, s, i in zip(place, apart, steps, x.shape[2:], strict=True)
            )
            each = [
                np.einsum("bihw,io->bohw", seen, taps[:, :, place[0], place[1]])
                for seen, taps in zip(np.split(x, groups, axis=1), parts, strict=True)
            ]
            total[(slice(None), slice(None), *cut)] += np.concatenate(each, 1)
        kept = tuple(slice(p, p + n) for p, n in zip(pads, out, strict=True))
        return np.asarray(total[(slice(None), slice(None), *kept)] + bias.reshape(1, -1, 1, 1))

    return apply


@sums("ConvTranspose2d")
def count_transposed(node: Extension) -> int:
    """At most every weight of one output channel, and its bias."""
    shape = np.shape(node.arrays["weight"])
    return shape[0] * shape[2] * shape[3] + 1


@writes(AdaptiveAvgPool2d)
def write_adaptive(module: Any, variables: Variables, site: Site) -> nir.NIRNode:
    """Its output size."""
    options = {"output_size": list(module.output_size)}
    return Extension("AdaptiveAvgPool2d", {}, options, site.shape_in, site.shape_out)


@builds("AdaptiveAvgPool2d")
def build_adaptive(node: Extension, site: Site) -> Built:
    """The layer."""
    size = tuple(node.options["output_size"])
    module = AdaptiveAvgPool2d(size)
    if len(site.shape_in) != 3:
        raise ShapeError(f"{site.name!r} gets samples of shape {site.shape_in}; expected C, H, W.")
    sides = tuple(n if o is None else int(o) for o, n in zip(size, site.shape_in[1:], strict=True))
    check_values(site.name, prod(sides) * site.shape_in[0], f"makes samples with sides of {sides}")
    return Built(module, {}, (site.shape_in[0], *sides))


@evaluates("AdaptiveAvgPool2d")
def evaluate_adaptive(name: str, node: Extension, dtype: Any) -> Function:
    """Means along one side, then along the other."""

    def apply(x: Array) -> Array:
        for axis, size in enumerate(node.options["output_size"], 2):
            if size is not None:
                means = shares(x.shape[axis], int(size)).astype(dtype)
                x = np.moveaxis(np.tensordot(x, means, ((axis,), (1,))), -1, axis)
        return x

    return apply


@sums("AdaptiveAvgPool2d")
def count_adaptive(node: Extension) -> int:
    """The values of a window, at most a whole image, and their shares."""
    return prod(node.shape_in[1:]) + 2 if node.shape_in else 2


@writes(ReLU)
def write_relu(module: ReLU, variables: Variables, site: Site) -> nir.NIRNode:
    """Nothing but its name."""
    return Extension("ReLU", shape_in=site.shape_in, shape_out=site.shape_in)


@builds("ReLU")
def build_relu(node: Extension, site: Site) -> Built:
    """The layer."""
    return Built(ReLU(), {}, site.shape_in)


@evaluates("ReLU")
def evaluate_relu(name: str, node: Extension, dtype: Any) -> Function:
    r""":math:`\max(x, 0)`."""
    return lambda x: np.maximum(x, 0)


@entries_of(ConvTranspose2d)
def _transposed_entries(layer: Layer, variables: Mapping[str, Any]) -> list[Entry]:
    return affine(layer, variables, "", "params")


@axes_of(ConvTranspose2d, AdaptiveAvgPool2d)
def _image_axes(module: Any, axes: int | None) -> int:
    return 3


@axes_of(ReLU)
def _same_axes(module: ReLU, axes: int | None) -> int | None:
    return axes
