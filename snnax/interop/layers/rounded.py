"""Layers whose weights are rounded: a node has the rounded ones, its metadata those that are trained, and the bits."""

from __future__ import annotations

from typing import Any, TypeVar

import flax.linen as nn
import jax
import jax.numpy as jnp
import nir
import numpy as np
from flax.linen.dtypes import promote_dtype

from snnax.errors import ConversionError
from snnax.interop.conventions import kernel_from_torch, kernel_to_torch
from snnax.interop.nir import metadata
from snnax.layers.rounding import WeightRounding, quantized, rounding_of

Node = TypeVar("Node", bound=nir.NIRNode)
KEY = "rounded"
WEIGHT = "trained_weight"
"""The array beside a node's metadata that its weight is made of, in torch's layout."""


def weight_of(module: nn.Dense | nn.Conv, kernel: Any, name: str) -> np.ndarray:
    """The weight that a layer computes with, in torch's layout.

    Raises:
        ConversionError: the layer changes its weights in a way of its own.
    """
    rounding = rounding_of(module)
    if rounding is not None:
        return kernel_to_torch(rounded(rounding, kernel))
    if module.promote_dtype is not promote_dtype:
        raise ConversionError(
            name, f"promote_dtype={module.promote_dtype!r} may change its weights, which cannot be seen from outside",
            "Use snnax.quantized(layer, bits) for rounded weights; or leave promote_dtype at its default.",
        )  # fmt: skip
    return kernel_to_torch(kernel)


def rounded(rounding: WeightRounding, kernel: Any) -> np.ndarray:
    """The weights in the precision that they are in."""
    given = np.asarray(kernel)
    with jax.enable_x64(given.dtype == np.float64):
        return np.asarray(rounding.rounded(jnp.asarray(given)))


def mark(node: Node, rounding: WeightRounding | None, weight: Any) -> Node:
    """Say of a node that its weight is ``weight``, torch's layout, rounded so; returns it."""
    if rounding is not None:
        content = {KEY: {"bits": rounding.bits, "per_channel": rounding.per_channel}}
        metadata.write(node, {**metadata.read(node), **content})
        node.metadata[WEIGHT] = np.asarray(weight)
    return node


def marked(node: nir.NIRNode, name: str = "") -> tuple[WeightRounding, np.ndarray] | None:
    """How the weight of a node was rounded, and what of; ``None`` if that is not said, or does not give its weight."""
    said = metadata.read(node, name).get(KEY)
    if said is None or WEIGHT not in node.metadata:
        return None
    trained, weight = np.asarray(node.metadata[WEIGHT]), np.asarray(getattr(node, "weight", 0.0))
    if trained.shape != weight.shape or trained.dtype.kind != "f" or not np.isfinite(trained).all():
        return None
    rounding = WeightRounding(said["bits"], said["per_channel"])
    same = np.array_equal(kernel_to_torch(rounded(rounding, kernel_from_torch(trained))), weight)
    return (rounding, trained) if same else None


def restored(layer: Any, node: nir.NIRNode, name: str) -> tuple[Any, np.ndarray]:
    """The layer of a node and its kernel, rounded as its metadata says."""
    found = marked(node, name)
    if found is None:
        return layer, kernel_from_torch(np.asarray(getattr(node, "weight", 0.0)))
    rounding, trained = found
    return quantized(layer, rounding.bits, rounding.per_channel), kernel_from_torch(trained)


def columns(node: nir.NIRNode, order: np.ndarray) -> None:
    """The columns of a linear layer's weight in another order, and of what it is rounded from."""
    for home in (vars(node), node.metadata):
        for key in ("weight", WEIGHT):
            if key in home:
                home[key] = np.ascontiguousarray(home[key][:, order])


def words(node: nir.NIRNode, name: str) -> list[str]:
    """What of a node a reader without our metadata does not get."""
    found = marked(node, name)
    if found is None:
        return []
    bits = "1 bit" if found[0].bits == 1 else f"{found[0].bits} bits"
    return [
        f"has weights rounded to {bits}, as the network computes; the float weights that are trained are not kept"
    ]
