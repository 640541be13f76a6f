"""Conv1d and Conv2d <-> ``nn.Conv``: any kernel, stride, padding, dilation and groups."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from itertools import product
from math import prod
from typing import Any

import flax.linen as nn
import nir
import numpy as np

from snnax.errors import ConversionError, ShapeError
from snnax.interop.conventions import kernel_to_torch
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
from snnax.interop.layers.rounded import mark, restored, weight_of
from snnax.interop.nir import metadata
from snnax.interop.numbers import on_device
from snnax.layers.rounding import rounding_of
from snnax.limits import check_values

Pads = tuple[tuple[int, int], ...]


def sizes(value: Any, rank: int) -> Shape:
    """An int, NumPy scalar, tuple or array as a tuple of ``rank`` ints."""
    flat = np.asarray(value).ravel()
    return tuple(int(v) for v in (flat if flat.size == rank else np.repeat(flat, rank)))


def text(value: Any) -> str | None:
    """``"same"`` / ``"valid"`` from what h5py or a user gives; ``None`` for numbers."""
    if isinstance(value, bytes):
        return value.decode().lower()
    return value.lower() if isinstance(value, str) else None


def pads_of(padding: Any, kernel: Shape, dilation: Shape, stride: Shape, name: str) -> Pads:
    """Zeros before and after each spatial axis, as torch puts them."""
    word = text(padding)
    if word == "valid":
        return ((0, 0),) * len(kernel)
    if word == "same":
        if any(s != 1 for s in stride):
            raise ConversionError(
                name, f"padding 'same' with stride {stride}", "Give the padding in numbers."
            )
        totals = [d * (k - 1) for k, d in zip(kernel, dilation, strict=True)]
        return tuple((t // 2, t - t // 2) for t in totals)
    if word is not None:
        raise ConversionError(name, f"padding {padding!r} is unknown", "Use 'same', 'valid' or numbers.")
    return tuple((p, p) for p in sizes(padding, len(kernel)))


def spatial_out(shape: Shape, kernel: Shape, stride: Shape, pads: Pads, dilation: Shape) -> Shape:
    """Output length of each spatial axis, rounded down."""
    spans = (d * (k - 1) + 1 for k, d in zip(kernel, dilation, strict=True))
    entries = zip(shape, spans, stride, pads, strict=True)
    return tuple((n + sum(pad) - span) // step + 1 for n, span, step, pad in entries)


def check_padded(name: str, shape: Shape, pads: Pads) -> None:
    """Refuse padding that makes samples ``C, H, W`` larger than :func:`snnax.size_limit` allows.

    Raises:
        ShapeError: names the layer.
    """
    padded = (shape[0], *(n + sum(pad) for n, pad in zip(shape[1:], pads, strict=True)))
    check_values(name, prod(padded), f"pads samples of shape {shape} to {padded}")


@builds(nir.Conv1d, nir.Conv2d)
def build_conv(node: nir.Conv1d | nir.Conv2d, site: Site) -> Built:
    """Cross-correlation as torch's; NIR keeps the weight as ``(out, in/groups, ...)``."""
    rank = 1 if isinstance(node, nir.Conv1d) else 2
    weight, groups = np.asarray(node.weight), int(node.groups)
    if weight.ndim != rank + 2:
        raise ShapeError(f"{site.name!r} has a weight of shape {weight.shape}; expected {rank + 2} axes.")
    expected = (weight.shape[1] * groups,)
    if len(site.shape_in) != rank + 1 or site.shape_in[:1] != expected:
        raise ShapeError(
            f"{site.name!r} gets samples of shape {site.shape_in}; expected "
            f"({expected[0]}, {'H, W' if rank == 2 else 'L'})."
        )
    kernel = tuple(weight.shape[2:])
    stride, dilation = sizes(node.stride, rank), sizes(node.dilation, rank)
    pads = pads_of(node.padding, kernel, dilation, stride, site.name)
    check_padded(site.name, site.shape_in, pads)
    out = spatial_out(site.shape_in[1:], kernel, stride, pads, dilation)
    if any(n < 1 for n in out):
        raise ShapeError(
            f"{site.name!r}: samples of shape {site.shape_in} are smaller than its kernel {kernel}."
        )
    use_bias = metadata.read(node, site.name).get("bias", True) or bool(np.any(node.bias))
    module = nn.Conv(
        weight.shape[0], kernel, strides=stride, padding=pads, kernel_dilation=dilation, feature_group_count=groups,
        use_bias=use_bias,
    )  # fmt: skip
    module, found = restored(module, node, site.name)
    params = {"kernel": on_device(found)}
    if use_bias:
        params["bias"] = on_device(node.bias)
    return Built(module, {"params": params}, (weight.shape[0], *out))


@writes(nn.Conv)
def write_conv(module: nn.Conv, variables: Variables, site: Site) -> nir.NIRNode:
    """Conv1d or Conv2d with the input's shape filled in and zeros where there is no bias."""
    params = variables["params"]
    weight = weight_of(module, params["kernel"], site.name)
    rank = weight.ndim - 2
    if rank not in (1, 2):
        raise ConversionError(site.name, f"a convolution over {rank} axes", "NIR has one and two.")
    if module.mask is not None or any(d != 1 for d in sizes(_given(module.input_dilation), rank)):
        raise ConversionError(site.name, "input_dilation or mask is set", "NIR has neither.")
    kernel = tuple(weight.shape[2:])
    stride, dilation = sizes(_given(module.strides), rank), sizes(_given(module.kernel_dilation), rank)
    padding = _padding(module.padding, kernel, dilation, stride, site)
    bias = np.asarray(params["bias"]) if module.use_bias else np.zeros(weight.shape[0], weight.dtype)
    node = conv_node(
        weight, bias, site, module.use_bias, stride=stride, padding=padding, dilation=dilation,
        groups=module.feature_group_count,
    )  # fmt: skip
    return mark(node, rounding_of(module), kernel_to_torch(params["kernel"]))


def conv_node(weight: Array, bias: Array, site: Site, use_bias: bool, **given: Any) -> nir.NIRNode:
    """Conv1d or Conv2d of torch's weight, stride, padding, dilation and groups."""
    shape = site.shape_in[1:]
    node: nir.NIRNode
    if weight.ndim == 3:
        single = {k: v if isinstance(v, str | int) else int(v[0]) for k, v in given.items()}
        node = nir.Conv1d(input_shape=shape[0], weight=weight, bias=bias, **single)
    else:
        node = nir.Conv2d(input_shape=shape, weight=weight, bias=bias, **given)
    settle_types(node, site)
    return metadata.write(node, {"bias": use_bias})


@evaluates(nir.Conv1d, nir.Conv2d)
def evaluate_conv(name: str, node: Any, dtype: Any) -> Function:
    r""":math:`y_o = b_o + \sum_c W_{oc} \star x_c`, a cross-correlation, in groups of channels."""
    weight, bias, groups = cast(node.weight, dtype), cast(node.bias, dtype), int(np.ravel(node.groups)[0])
    rank, kernel = weight.ndim - 2, tuple(weight.shape[2:])
    stride, dilation = sizes(node.stride, rank), sizes(node.dilation, rank)
    pads = pads_of(node.padding, kernel, dilation, stride, name)
    if bias.shape != weight.shape[:1] or groups < 1 or len(weight) % groups:
        raise ShapeError(
            f"{name!r} has a weight of shape {weight.shape}, a bias of {bias.shape} and {groups} groups: expected a "
            "bias for each of its outputs, and as many outputs in each group."
        )
    taps = np.split(
        np.moveaxis(weight, (0, 1), (-1, -2)), groups, axis=-1
    )  # [*kernel, in, out] of each group

    def apply(x: Array) -> Array:
        if x.ndim != rank + 2 or x.shape[1] != weight.shape[1] * groups:
            raise ShapeError(
                f"{name!r} gets samples of shape {x.shape[1:]}; expected {weight.shape[1] * groups} channels and "
                f"{rank} axes of space."
            )
        total: Any = 0
        for at, seen in windows(name, x, kernel, stride, dilation, pads, 0):
            pairs = zip(np.split(seen, groups, axis=1), taps, strict=True)
            parts = [np.tensordot(part, tap[at], ([1], [0])) for part, tap in pairs]
            total = total + (parts[0] if groups == 1 else np.concatenate(parts, -1))
        return np.moveaxis(total + bias, -1, 1)

    return apply


@sums(nir.Conv1d, nir.Conv2d)
def count_conv(node: Any) -> int:
    """The weights of one output channel, and its bias."""
    return int(np.prod(np.shape(node.weight)[1:])) + 1


def windows(
    name: str, x: Array, kernel: Shape, stride: Shape, dilation: Shape, pads: Pads, fill: float
) -> Iterator[tuple[Shape, Array]]:
    """Each offset in the kernel with the values of ``[N, C, ...]`` that it meets, one for each output: views.

    One offset after the other, since all windows at once would take as much memory as the kernel has places.
    """
    check_padded(name, x.shape[1:], pads)
    x = np.pad(x, [(0, 0), (0, 0), *pads], constant_values=fill)
    size = spatial_out(x.shape[2:], kernel, stride, ((0, 0),) * len(kernel), dilation)
    if any(n < 1 for n in size):
        raise ShapeError(
            f"{name!r}: samples of shape {x.shape[1:]}, padding included, are smaller than its kernel."
        )
    for offset in product(*map(range, kernel)):
        begin = [o * d for o, d in zip(offset, dilation, strict=True)]
        cut = [slice(b, b + s * (n - 1) + 1, s) for b, s, n in zip(begin, stride, size, strict=True)]
        yield offset, x[(slice(None), slice(None), *cut)]


def settle_types(node: nir.NIRNode, site: Site) -> None:
    """Set the shapes ourselves: nir 1.0.8 gets them wrong for groups and for kernels that are not square."""
    node.input_type = {"input": np.array(site.shape_in)}
    if site.shape_out is not None:
        node.output_type = {"output": np.array(site.shape_out)}


def _given(value: Any) -> Any:
    return 1 if value is None else value


def _padding(padding: Any, kernel: Shape, dilation: Shape, stride: Shape, site: Site) -> Any:
    """Flax's padding in NIR's terms: numbers, or ``"same"`` where only that says it."""
    rank = len(kernel)
    if isinstance(padding, str):
        word = padding.upper()
        if word == "VALID":
            pads: Pads = ((0, 0),) * rank
        elif word == "SAME":
            spans = (d * (k - 1) + 1 for k, d in zip(kernel, dilation, strict=True))
            totals = [
                max((-(-n // s) - 1) * s + span - n, 0)
                for n, s, span in zip(site.shape_in[1:], stride, spans, strict=True)
            ]
            pads = tuple((t // 2, t - t // 2) for t in totals)
        else:
            raise ConversionError(
                site.name, f"padding {padding!r}", "NIR pads with zeros: use 'SAME', 'VALID' or numbers."
            )
    elif isinstance(padding, int):
        pads = ((padding, padding),) * rank
    else:
        pads = tuple((p, p) if isinstance(p, int) else (int(p[0]), int(p[1])) for p in padding)
    if all(a == b for a, b in pads):
        first = tuple(a for a, _ in pads)
        return first[0] if rank == 1 else first
    if all(s == 1 for s in stride) and pads == pads_of("same", kernel, dilation, stride, site.name):
        return "same"
    raise ConversionError(
        site.name,
        f"padding {pads} is not the same on both sides",
        "NIR cannot say it: pad the same on both sides.",
    )


@entries_of(nn.Conv)
def _conv_entries(layer: Layer, variables: Mapping[str, Any]) -> list[Entry]:
    return affine(layer, variables, "", "params")


@axes_of(nn.Conv)
def _conv_axes(module: nn.Conv, axes: int | None) -> int:
    return int(np.size(module.kernel_size)) + 1
