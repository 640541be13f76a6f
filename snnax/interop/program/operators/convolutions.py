"""Convolutions, by the kernels of snnax's own layers: theirs are channels last, torch's channels first."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import jax
import jax.numpy as jnp
from jax import lax

from snnax.interop.program.operators.forms import ATOM, SUM, Text, Words, call, forms, infix
from snnax.interop.program.operators.registry import Call, computes
from snnax.kernels.convolution import conv

LAST = {1: ("NWC", "WIO", "NWC"), 2: ("NHWC", "HWIO", "NHWC"), 3: ("NDHWC", "DHWIO", "NDHWC")}


def each(value: Any, rank: int) -> tuple[int, ...]:
    """One number for each spatial axis: torch writes one for all of them as itself, or as a list of one."""
    values = [value] if isinstance(value, int) else list(value)
    return tuple(values * rank if len(values) == 1 else values)


@computes("convolution")
def convolution(
    call: Call,
    x: jax.Array,
    weight: jax.Array,
    bias: jax.Array | None,
    stride: Sequence[int],
    padding: Sequence[int],
    dilation: Sequence[int],
    transposed: bool,
    output_padding: Sequence[int],
    groups: int,
) -> jax.Array:
    """The convolution of ``[N, C, ...]`` with ``[O, C / groups, ...]``, or of the transposed kind its transpose."""
    del call
    rank = weight.ndim - 2
    stride, padding, dilation = (each(value, rank) for value in (stride, padding, dilation))
    image = jnp.moveaxis(x, 1, -1)
    settings: dict[str, Any] = {
        "rhs_dilation": dilation,
        "dimension_numbers": LAST[rank],
        "feature_group_count": groups,
        "precision": lax.Precision.HIGHEST,
    }
    if transposed:
        kernel = _backwards(weight, groups)
        more = each(output_padding, rank)
        spans = [size - 1 for size in _spans(weight.shape[2:], dilation)]
        pads = [(s - p, s - p + m) for s, p, m in zip(spans, padding, more, strict=True)]
        y = conv(image, _last(kernel), (1,) * rank, pads, lhs_dilation=stride, **settings)
    else:
        y = conv(image, _last(weight), stride, [(p, p) for p in padding], **settings)
    if bias is not None:
        y = y + bias.reshape((1,) * (rank + 1) + bias.shape)
    return jnp.moveaxis(y, -1, 1)


@forms("convolution")
def _written(
    words: Words, x: Text, weight: Text, bias: Text | None, stride: Any, padding: Any, dilation: Any,
    transposed: bool, output_padding: Any, groups: int,
) -> Text | None:  # fmt: skip
    if transposed:
        return None
    rank = weight.ndim - 2
    stride, padding, dilation = (each(value, rank) for value in (stride, padding, dilation))
    made = call(
        "jax.lax.conv_general_dilated", x, weight, stride, [(p, p) for p in padding],
        rhs_dilation=dilation if max(dilation) > 1 else None, feature_group_count=groups if groups > 1 else None,
    )  # fmt: skip
    if bias is None:
        return made
    return infix("+", made, Text(f"{bias.within(ATOM)}[None, :{', None' * rank}]"), SUM)


def _spans(sizes: Sequence[int], dilation: Sequence[int]) -> list[int]:
    """How far the kernel reaches along each axis."""
    return [(size - 1) * step + 1 for size, step in zip(sizes, dilation, strict=True)]


def _last(weight: jax.Array) -> jax.Array:
    """``[O, I, ...]`` as ``[..., I, O]``."""
    return jnp.moveaxis(weight, (0, 1), (-1, -2))


def _backwards(weight: jax.Array, groups: int) -> jax.Array:
    """The kernel of the transposed convolution, ``[I, O / groups, ...]``, as one of a convolution, mirrored."""
    inputs, outputs, *sizes = weight.shape
    grouped = weight.reshape(groups, inputs // groups, outputs, *sizes).swapaxes(1, 2)
    kernel = grouped.reshape(groups * outputs, inputs // groups, *sizes)
    return jnp.flip(kernel, tuple(range(2, kernel.ndim)))
