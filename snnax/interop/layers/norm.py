"""Batch normalisation and dropout, which NIR lacks, as extensions; and folding the first into weights."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import flax.linen as nn
import nir
import numpy as np

from snnax.errors import ConversionError, ShapeError
from snnax.interop.layers.conv import settle_types
from snnax.interop.layers.entries import Entry, Layer, Put, axes_of, entries_of, find, plain
from snnax.interop.layers.registry import (
    Array,
    Built,
    Function,
    Site,
    Variables,
    builds,
    cast,
    evaluates,
    sums,
    writes,
)
from snnax.interop.nir import metadata
from snnax.interop.nir.extension import Extension
from snnax.interop.numbers import on_device
from snnax.layers.norm import BatchNormTT1d, BatchNormTT2d

_PARAMS = {"weight": "scale", "bias": "bias"}
_STATS = {"running_mean": "mean", "running_var": "var"}


@builds("BatchNorm")
def build_norm(node: Extension, site: Site) -> Built:
    """``nn.BatchNorm`` that uses its running averages; ``utils.training`` makes it use the batch."""
    channels = site.shape_in[:1]
    if any(a.shape != channels for a in node.arrays.values()):
        raise ShapeError(
            f"{site.name!r} normalises {node.arrays['running_mean'].shape} channels, its input has {channels}."
        )
    arrays = {k: on_device(v) for k, v in node.arrays.items()}
    variables: Variables = {"batch_stats": {_STATS[k]: arrays[k] for k in _STATS}}
    params = {_PARAMS[k]: arrays[k] for k in _PARAMS if k in arrays}
    if params:
        variables["params"] = params
    module = nn.BatchNorm(
        use_running_average=True, momentum=1.0 - node.options["momentum"], epsilon=node.options["eps"],
        use_scale="scale" in params, use_bias="bias" in params,
    )  # fmt: skip
    return Built(module, variables, site.shape_in)


@evaluates("BatchNorm")
def evaluate_norm(name: str, node: Extension, dtype: Any) -> Function:
    r""":math:`y = g\,\frac{x - \mu}{\sqrt{\sigma^2 + \epsilon}} + b` with the running averages."""
    arrays = {k: cast(v, dtype) for k, v in node.arrays.items()}
    mean, var = (arrays[k] for k in ("running_mean", "running_var"))
    deviation = np.sqrt(var + node.options["eps"])

    def apply(x: Array) -> Array:
        spread = (-1, *(1,) * (x.ndim - 2))
        y = (x - mean.reshape(spread)) / deviation.reshape(spread)
        y = y * arrays["weight"].reshape(spread) if "weight" in arrays else y
        return np.asarray(y + arrays["bias"].reshape(spread) if "bias" in arrays else y)

    return apply


@sums("BatchNorm")
def count_norm(node: Extension) -> int:
    """Its operations, each with the rounding of a number of its own."""
    return 8


@writes(nn.BatchNorm)
def write_norm(module: nn.BatchNorm, variables: Variables, site: Site) -> nir.NIRNode:
    """Extension with torch's names; momentum is torch's, ``1 - flax's``."""
    if module.axis not in (-1, len(site.shape_in), (-1,)):
        raise ConversionError(
            site.name, f"it normalises along axis={module.axis!r}, and torch's along the channels",
            "Use axis=-1.",
        )  # fmt: skip
    arrays = {k: np.asarray(variables["batch_stats"][v]) for k, v in _STATS.items()}
    arrays.update(
        {
            k: np.asarray(variables["params"][v])
            for k, v in _PARAMS.items()
            if v in variables.get("params", {})
        }
    )
    options = {"eps": float(module.epsilon), "momentum": round(1.0 - float(module.momentum), 12)}
    return Extension("BatchNorm", arrays, options, site.shape_in, site.shape_out)


@builds("BatchNormTT")
def build_timed_norm(node: Extension, site: Site) -> Built:
    """One normalisation for each time step, which counts its steps."""
    steps, channels = node.arrays["running_mean"].shape
    if (channels,) != site.shape_in[:1]:
        raise ShapeError(f"{site.name!r} normalises {channels} channels, its input has {site.shape_in[0]}.")
    variables: Variables = {"batch_stats": {_STATS[k]: on_device(node.arrays[k]) for k in _STATS}}
    if "weight" in node.arrays:
        variables["params"] = {"scale": on_device(node.arrays["weight"])}
    kind = BatchNormTT2d if len(site.shape_in) == 3 else BatchNormTT1d
    module = kind(
        channels, steps, node.options["eps"], node.options["momentum"], "weight" in node.arrays,
        use_running_average=True,
    )  # fmt: skip
    return Built(module, variables, site.shape_in)


@writes(BatchNormTT1d, BatchNormTT2d)
def write_timed_norm(module: BatchNormTT1d, variables: Variables, site: Site) -> nir.NIRNode:
    """Extension with torch's names, one row for each step."""
    arrays = {k: np.asarray(variables["batch_stats"][v]) for k, v in _STATS.items()}
    if module.affine:
        arrays["weight"] = np.asarray(variables["params"]["scale"])
    options = {"eps": float(module.eps), "momentum": float(module.momentum)}
    return Extension("BatchNormTT", arrays, options, site.shape_in, site.shape_out)


@builds("Dropout")
def build_dropout(node: Extension, site: Site) -> Built:
    """``nn.Dropout`` that lets everything pass; ``utils.training`` makes it draw."""
    return Built(nn.Dropout(float(node.options["p"]), deterministic=True), {}, site.shape_in)


@writes(nn.Dropout)
def write_dropout(module: nn.Dropout, variables: Variables, site: Site) -> nir.NIRNode:
    """Extension: identity outside training."""
    return Extension(
        "Dropout", options={"p": float(module.rate)}, shape_in=site.shape_in, shape_out=site.shape_in
    )


@evaluates("Dropout")
def evaluate_dropout(name: str, node: Extension, dtype: Any) -> Function:
    """What passes outside training: everything."""
    return lambda x: x


def fold(name: str, node: nir.NIRNode, norm: Extension) -> nir.NIRNode:
    """One node that computes ``norm(node(x))``: weights times ``g/sqrt(var+eps)``, bias moved along.

    Exact up to rounding; computed in float64.

    Raises:
        ConversionError: if ``node`` has no weights to fold into.
    """
    if not isinstance(node, nir.Affine | nir.Linear | nir.Conv1d | nir.Conv2d):
        raise ConversionError(
            name, f"batch normalisation follows a {type(node).__name__}, which has no weights to fold it into",
            "Use batchnorm='keep'.",
        )  # fmt: skip
    mean, var = (norm.arrays[k].astype(np.float64) for k in ("running_mean", "running_var"))
    factor = norm.arrays.get("weight", np.ones_like(mean)) / np.sqrt(var + norm.options["eps"])
    weight = np.asarray(node.weight)
    bias = getattr(node, "bias", None)
    old = np.zeros_like(mean) if bias is None else np.asarray(bias, np.float64)
    new_bias = ((old - mean) * factor + norm.arrays.get("bias", 0.0)).astype(weight.dtype)
    new_weight = (weight * factor.reshape(-1, *(1,) * (weight.ndim - 1))).astype(weight.dtype)
    if isinstance(node, nir.Affine | nir.Linear):
        return nir.Affine(weight=new_weight, bias=new_bias)
    given = {k: getattr(node, k) for k in ("input_shape", "stride", "padding", "dilation", "groups")}
    folded = type(node)(weight=new_weight, bias=new_bias, **given)
    shapes = (tuple(node.input_type["input"]), tuple(node.output_type["output"]))
    settle_types(folded, Site(name, *shapes, dt=0.0))
    return metadata.write(folded, {"bias": True})


_COUNT = ("buffers", "num_batches_tracked")


def _batches(variables: Mapping[str, Any], key: str = "", row: int | None = None, rows: int = 1) -> Entry:
    """How often torch has updated its averages; flax does not count, so it is only kept."""
    kept = find(variables, _COUNT)
    counts = np.zeros(() if row is None else rows, np.int64) if kept is None else kept
    value = np.asarray(counts if row is None else counts[row], np.int64)

    def put(old: Array | None, new: Array) -> Array:
        return new if row is None else _with_row(counts if old is None else old, row, new)

    return Entry(f"{key}num_batches_tracked", value, _COUNT, put, setting=True, optional=True)


def _with_row(old: Array, row: int, new: Array) -> Array:
    whole = np.array(old, new.dtype)
    whole[row] = new
    return whole


_NORM = {
    **{key: ("params", name) for key, name in _PARAMS.items()},
    **{key: ("batch_stats", name) for key, name in _STATS.items()},
}


@entries_of(nn.BatchNorm)
def _norm_entries(layer: Layer, variables: Mapping[str, Any]) -> list[Entry]:
    keys = [k for k, p in _NORM.items() if p[0] == "batch_stats" or find(variables, p) is not None]
    return [*(plain(layer, variables, k, *_NORM[k]) for k in keys), _batches(variables)]


@entries_of(BatchNormTT1d, BatchNormTT2d)
def _timed_entries(layer: Layer, variables: Mapping[str, Any]) -> list[Entry]:
    found = []
    steps = layer.module.time_steps
    for step in range(steps):
        for key, path in _NORM.items():
            whole = find(variables, path)
            if whole is not None:
                found.append(Entry(f"{step}.{key}", np.array(whole[step]), path, _row_of(whole, step)))
        found.append(_batches(variables, f"{step}.", step, steps))
    return found


def _row_of(whole: Array, row: int) -> Put:
    return lambda old, new: _with_row(whole if old is None else old, row, new)


@axes_of(nn.BatchNorm, BatchNormTT1d, nn.Dropout)
def _same_axes(module: Any, axes: int | None) -> int | None:
    return axes


@axes_of(BatchNormTT2d)
def _image_axes(module: Any, axes: int | None) -> int:
    return 3
