"""Layers of ``flax.nnx`` as the linen layers that compute the same, with their weights to start from."""

from __future__ import annotations

from typing import Any

import flax.linen as nn
import jax
import numpy as np
from flax import nnx
from flax.nnx.nn import dtypes
from jax import lax

from snnax.errors import ArgumentError
from snnax.layers.given import Held
from snnax.neurons.values import FrozenArray

__all__ = ["linen_of"]


def linen_of(layer: Any) -> nn.Module:
    """The linen layer of a layer of ``flax.nnx``, which ``init`` gives the weights that this one has now.

    Raises:
        ArgumentError: for a layer that linen has no equal of, and for one whose weights are traced.
    """
    kind = type(layer)
    if kind not in _LAYERS:
        known = ", ".join(f"nnx.{known.__name__}" for known in _LAYERS)
        raise ArgumentError(
            f"nnx.{kind.__name__} cannot be a layer here; of flax.nnx expected {known}. Use the layer of flax.linen or "
            f"snnax, or nnx.bridge.to_linen(nnx.{kind.__name__}, ...) with its arguments; neurons are snnax.Leaky(...) "
            "and so on here. In a model of NNX use snnax.nnx.Leaky(...)."
        )
    made, copied, own = _LAYERS[kind]
    for name, usual in own.items():
        if (given := getattr(layer, name)) is not usual:
            raise ArgumentError(
                f"nnx.{kind.__name__}({name}={given!r}) has no equal in flax.linen; leave {name} out."
            )
    fields = {to: getattr(layer, name) for name, to in copied.items()}
    for weight in ("kernel", "scale", "bias"):
        value = getattr(layer, weight, None)
        if value is not None:
            fields[f"{weight}_init"] = Held(kind.__name__, FrozenArray(_number(kind, value[...])))
    return made(**fields, parent=None)


def _number(kind: type, value: Any) -> np.ndarray:
    if isinstance(value, jax.core.Tracer):
        raise ArgumentError(
            f"nnx.{kind.__name__} has weights that are traced, by jit or grad. Build the network outside of them."
        )
    return np.asarray(value)


def _same(*names: str) -> dict[str, str]:
    return dict(zip(names, names, strict=True))


_SHARED = _same("use_bias", "dtype", "param_dtype", "precision")
_USUAL = {"preferred_element_type": None, "promote_dtype": dtypes.promote_dtype}
_LAYERS: dict[type, tuple[Any, dict[str, str], dict[str, Any]]] = {
    nnx.Linear: (
        nn.Dense,
        {"out_features": "features", **_SHARED},
        {**_USUAL, "dot_general": lax.dot_general},
    ),
    nnx.Conv: (
        nn.Conv,
        {
            "out_features": "features",
            **_same("kernel_size", "strides", "padding", "input_dilation", "kernel_dilation"),
            **_same("feature_group_count", "mask"),
            **_SHARED,
        },
        {**_USUAL, "conv_general_dilated": lax.conv_general_dilated},
    ),
    nnx.LayerNorm: (
        nn.LayerNorm,
        _same(
            "epsilon", "dtype", "param_dtype", "use_bias", "use_scale", "reduction_axes", "feature_axes",
            "axis_name", "axis_index_groups", "use_fast_variance",
        ),
        {"promote_dtype": dtypes.promote_dtype},
    ),
    nnx.Dropout: (nn.Dropout, _same("rate", "broadcast_dims", "deterministic", "rng_collection"), {}),
}  # fmt: skip
"""Linen's class, its fields by the attributes of NNX's, and attributes that must be the usual ones."""
