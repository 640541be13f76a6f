"""NIR's nodes without neurons, in float64, on one step ``[B, ...]`` of channels-first samples."""

from __future__ import annotations

from collections.abc import Callable
from functools import partial
from math import prod
from typing import Any

import nir
import numpy as np
from numpy.lib.stride_tricks import sliding_window_view

from snnax.errors import ConversionError, ShapeError, SnnaxError
from snnax.interop.nir.extension import Extension
from snnax.interop.nir.readings import Reading
from snnax.interop.simulator.equations import Array
from snnax.limits import check_values

Function = Callable[[Array], Array]
UNFIT = (ValueError, TypeError, KeyError, IndexError, AttributeError, ArithmeticError)
"""What NumPy raises where parameters or shapes do not fit."""


def layer(name: str, node: Any, reading: Reading, dt: float) -> Function:
    """The function of a node, from one step's input to its output.

    Raises:
        ConversionError: for a node that the reference simulator does not know; names it.
    """
    makers: dict[Any, Any] = {
        nir.Affine: _linear, nir.Linear: _linear, nir.Conv1d: _convolution, nir.Conv2d: _convolution,
        nir.Flatten: _flatten, nir.SumPool2d: _pool, nir.AvgPool2d: _pool, nir.Scale: _scale,
        nir.Threshold: _threshold,
        "Dropout": _identity, "Reshape": _reshape, "BatchNorm": _norm,
        **dict.fromkeys(("MaxPool1d", "MaxPool2d", "AvgPool1d", "SumPool1d"), _pool),
    }  # fmt: skip
    if isinstance(node, nir.Delay):
        return Delay(name, node, reading, dt)
    key = node.op if isinstance(node, Extension) else type(node)
    if key not in makers:
        known = sorted(k if isinstance(k, str) else k.__name__ for k in makers)
        raise ConversionError(
            name,
            f"the reference simulator has no {key if isinstance(key, str) else key.__name__}",
            f"Beside neurons and Delay it computes {', '.join(known)}.",
        )
    function: Function = makers[key](name, node)
    return function


def _wide(value: Any) -> Array:
    return np.asarray(value, np.float64)


def _identity(name: str, node: Any) -> Function:
    return lambda x: x


def _linear(name: str, node: Any) -> Function:
    r""":math:`y = W x + b`; leading axes of W are axes of the sample."""
    weight = _wide(node.weight)
    bias = _wide(node.bias) if isinstance(node, nir.Affine) else np.zeros(weight.shape[:-1])
    if bias.shape != weight.shape[:-1]:
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
        return product + bias

    return apply


def _convolution(name: str, node: Any) -> Function:
    r""":math:`y_o = b_o + \sum_c W_{oc} \star x_c`, a cross-correlation, in groups of channels."""
    weight, bias, groups = _wide(node.weight), _wide(node.bias), int(node.groups)
    rank = weight.ndim - 2
    kernel = weight.shape[2:]
    stride, dilation = _sizes(node.stride, rank), _sizes(node.dilation, rank)
    pads = _pads(name, node.padding, kernel, dilation, stride)
    if bias.shape != weight.shape[:1] or groups < 1 or len(weight) % groups:
        raise ShapeError(
            f"{name!r} has a weight of shape {weight.shape}, a bias of {bias.shape} and {groups} groups: expected a "
            "bias for each of its outputs, and as many outputs in each group."
        )

    def apply(x: Array) -> Array:
        if x.ndim != rank + 2 or x.shape[1] != weight.shape[1] * groups:
            raise ShapeError(
                f"{name!r} gets samples of shape {x.shape[1:]}; expected {weight.shape[1] * groups} channels and "
                f"{rank} axes of space."
            )
        seen = _windows(name, x, kernel, stride, dilation, pads, 0.0)
        axes = [1, *range(2 + rank, 2 + 2 * rank)]
        parts = [
            np.tensordot(part, taps, (axes, list(range(1, 2 + rank))))
            for part, taps in zip(
                np.split(seen, groups, axis=1), np.split(weight, groups, axis=0), strict=True
            )
        ]
        return np.moveaxis(np.concatenate(parts, -1) + bias, -1, 1)

    return apply


def _pool(name: str, node: Any) -> Function:
    """Sum, mean or maximum of each window; the mean counts the padding."""
    given = node.options if isinstance(node, Extension) else vars(node)
    kind = node.op if isinstance(node, Extension) else type(node).__name__
    rank = int(kind[-2])
    kernel, stride, padding = (_sizes(given[k], rank) for k in ("kernel_size", "stride", "padding"))
    reducers: dict[str, Any] = {"Sum": np.sum, "Avg": np.mean, "Max": np.max}
    reduce = reducers[kind[:3]]
    fill = -np.inf if kind.startswith("Max") else 0.0

    def apply(x: Array) -> Array:
        if x.ndim != rank + 2:
            raise ShapeError(f"{name!r} is a {kind} and gets samples of shape {x.shape[1:]}.")
        pads = [(p, p) for p in padding]
        seen = _windows(name, x, kernel, stride, (1,) * rank, pads, fill)
        return np.asarray(reduce(seen, axis=tuple(range(2 + rank, 2 + 2 * rank))))

    return apply


def _flatten(name: str, node: Any) -> Function:
    """The axes from ``start_dim`` to ``end_dim`` as one; the batch is not counted."""

    def apply(x: Array) -> Array:
        shape = x.shape[1:]
        start, end = (int(d) % max(len(shape), 1) for d in (node.start_dim, node.end_dim))
        if start > end:
            raise ShapeError(f"{name!r} flattens from {node.start_dim} to {node.end_dim} of {shape}.")
        return x.reshape(len(x), *shape[:start], prod(shape[start : end + 1]), *shape[end + 1 :])

    return apply


def _scale(name: str, node: Any) -> Function:
    r""":math:`y = s \odot x`."""
    return partial(_broadcast, name, np.multiply, _wide(node.scale))


def _threshold(name: str, node: Any) -> Function:
    r""":math:`z = [x > \theta]`."""
    return lambda x: _broadcast(name, np.less, _wide(node.threshold), x).astype(np.float64)


def _broadcast(name: str, function: Any, value: Array, x: Array) -> Array:
    if value.ndim >= x.ndim or np.broadcast_shapes(value.shape, x.shape[1:]) != x.shape[1:]:
        raise ShapeError(f"{name!r} has values of shape {value.shape}, its samples have {x.shape[1:]}.")
    return np.asarray(function(value, x))


def _reshape(name: str, node: Extension) -> Function:
    return lambda x: x.reshape(len(x), *(int(n) for n in node.options["shape"]))


def _norm(name: str, node: Extension) -> Function:
    r""":math:`y = g\,\frac{x - \mu}{\sqrt{\sigma^2 + \epsilon}} + b` with the running averages."""
    mean, var = (_wide(node.arrays[k]) for k in ("running_mean", "running_var"))
    factor = _wide(node.arrays.get("weight", 1.0)) / np.sqrt(var + float(node.options["eps"]))
    shift = _wide(node.arrays.get("bias", 0.0)) - mean * factor

    def apply(x: Array) -> Array:
        spread = (-1, *(1,) * (x.ndim - 2))
        return x * factor.reshape(spread) + shift.reshape(spread)

    return apply


class Delay:
    r""":math:`y(t) = x(t - \tau)`; zeros before the first input arrives."""

    def __init__(self, name: str, node: nir.Delay, reading: Reading, dt: float) -> None:
        late = _wide(node.delay) * reading.seconds / dt
        steps = np.rint(late)
        if (steps < 0).any() or not np.allclose(late, steps, rtol=1e-5, atol=1e-5):
            raise ConversionError(
                name, f"its delays are {late.min():.6g} to {late.max():.6g} time steps of dt = {dt:g} s; expected "
                "whole numbers", "Pass a dt that divides every delay.",
            )  # fmt: skip
        self.name, self.steps = name, steps.astype(np.int64)
        self.past: list[Array] = []
        self.longest = int(self.steps.max(initial=0))

    def __call__(self, x: Array) -> Array:
        """The output of the next step."""
        steps = _broadcast(self.name, np.add, self.steps, np.zeros((1, *x.shape[1:]), np.int64))
        self.past = [x, *self.past][: self.longest + 1]
        out = np.zeros(x.shape)
        for late in np.unique(steps):
            if late < len(self.past):
                out = np.where(steps == late, self.past[late], out)
        return out


def _sizes(value: Any, rank: int) -> tuple[int, ...]:
    """One number for each axis."""
    flat = np.ravel(np.asarray(value))
    return tuple(int(n) for n in (flat if flat.size == rank else np.repeat(flat, rank)))


def _pads(name: str, padding: Any, kernel: Any, dilation: Any, stride: Any) -> list[tuple[int, int]]:
    """Zeros in front of and behind each axis; of an odd number for ``"same"`` the extra one is behind."""
    word = padding.decode() if isinstance(padding, bytes) else padding
    if not isinstance(word, str):
        return [(p, p) for p in _sizes(padding, len(kernel))]
    if word == "valid":
        return [(0, 0)] * len(kernel)
    if word != "same" or any(s != 1 for s in stride):
        raise ConversionError(
            name, f"padding {word!r} with stride {stride}", "Use 'valid', numbers, or 'same' with stride 1."
        )
    totals = [d * (k - 1) for k, d in zip(kernel, dilation, strict=True)]
    return [(t // 2, t - t // 2) for t in totals]


def _windows(name: str, x: Array, kernel: Any, stride: Any, dilation: Any, pads: Any, fill: float) -> Array:
    """What each output pixel sees: ``[B, C, *out, *kernel]``, a view."""
    rank = len(kernel)
    padded = [n + sum(pad) for n, pad in zip(x.shape[2:], pads, strict=True)]
    check_values(
        name, prod([x.shape[1], *padded]), f"pads samples of shape {x.shape[1:]} to {(x.shape[1], *padded)}"
    )
    x = np.pad(x, [(0, 0), (0, 0), *pads], constant_values=fill)
    reach = [d * (k - 1) + 1 for k, d in zip(kernel, dilation, strict=True)]
    if any(n < r for n, r in zip(x.shape[2:], reach, strict=True)):
        raise ShapeError(
            f"{name!r}: samples of shape {x.shape[1:]}, padding included, are smaller than its kernel."
        )
    seen = sliding_window_view(x, reach, axis=tuple(range(2, 2 + rank)))
    every = [slice(None, None, s) for s in stride] + [slice(None, None, d) for d in dilation]
    return seen[(slice(None), slice(None), *every)]


def applied(name: str, function: Function, x: Array) -> Array:
    """What a layer makes of ``x``; whatever stops it is a matter of shapes."""
    try:
        return function(x)
    except UNFIT as error:
        if isinstance(error, SnnaxError):
            raise
        raise ShapeError(f"{name!r} cannot take samples of shape {x.shape[1:]} ({error}).") from error
