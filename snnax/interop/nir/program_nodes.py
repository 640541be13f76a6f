"""Operations of programs as NIR nodes: each of an operator's signals and numbers, or the reason why NIR has none."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from typing import Any

import nir
import numpy as np

from snnax.interop.conventions import for_each
from snnax.interop.layers.conv import conv_node
from snnax.interop.layers.norm import fold
from snnax.interop.layers.pooling import pool_node
from snnax.interop.layers.registry import Site, Table
from snnax.interop.layers.shape import reshape_node
from snnax.interop.nir import metadata
from snnax.interop.nir.extension import Extension

Shape = tuple[int, ...]
NODES: Table[Any] = Table("NIR form")
"""Of a :class:`Known` and the arguments of the operator: a signal, or a node and the signal that it reads."""


class Unsuited(Exception):
    """An operation has no NIR form, for the reason that the text gives."""


@dataclass(frozen=True)
class Signal:
    """Something that moves from node to node.

    Attributes:
        terms: the nodes whose sum it is; of a step before, the place where a loop hands it on.
        shape: of a sample.
        offset: numbers that are added to it, if any.
    """

    terms: list[Any]
    shape: Shape
    offset: Any = None


@dataclass(frozen=True)
class Known:
    """What an operation is told beside its arguments.

    Attributes:
        shape: of a sample that leaves.
        dt: time step in seconds.
        wide: in double precision.
        name: of the node that it will be.
        insert: puts one more node, of this name if it is free, behind a signal.
        say: tells a reader of the graph what the node does not do as the network does.
    """

    shape: Shape
    dt: float
    wide: bool
    name: str
    insert: Callable[[str, nir.NIRNode, Signal], Signal]
    say: Callable[[str], None]

    def site(self, signal: Signal) -> Site:
        """Where the node will stand."""
        return Site(self.name, signal.shape, self.shape, self.dt, wide=self.wide)


Made = Signal | tuple[nir.NIRNode, Signal]


def _number(value: Any, shape: Shape) -> np.ndarray:
    """A number, or array, beside samples of ``shape``: without the axis of the batch."""
    array = np.asarray(value)
    if array.ndim == len(shape) + 1 and array.shape[0] == 1:
        array = array[0]
    if array.ndim > len(shape):
        raise Unsuited("it takes an array with more axes than a sample has")
    return array


def _signal(value: Any) -> Signal:
    if not isinstance(value, Signal):
        raise Unsuited("it takes weights where a layer takes the signal")
    return value


def _alone(signal: Signal) -> Signal:
    if signal.offset is not None:
        return replace(signal, offset=None)
    return signal


def _scaled(known: Known, signal: Signal, factor: Any) -> Made:
    """``factor`` times a signal."""
    small = _number(factor, signal.shape)
    if signal.shape != known.shape:
        raise Unsuited("it is scaled to another shape")
    site = known.site(signal)
    node = nir.Scale(scale=for_each(small, signal.shape, site.real(small)))
    content = {"learn": False, **({"shape": list(small.shape)} if small.ndim else {"factor": float(small)})}
    return metadata.write(node, content), signal


@NODES("mul.Tensor", "mul.Scalar")
def multiplied(known: Known, x: Any, other: Any) -> Made:
    """Scale."""
    signal, factor = (x, other) if isinstance(x, Signal) else (other, x)
    if isinstance(factor, Signal):
        raise Unsuited("it multiplies two signals, for which NIR has no node")
    return _scaled(known, _signal(signal), factor)


@NODES("div.Tensor", "div.Scalar")
def divided(known: Known, x: Any, other: Any) -> Made:
    """Scale by the reciprocal, which is exact for powers of two."""
    if not isinstance(x, Signal) or isinstance(other, Signal):
        raise Unsuited("it divides by a signal, for which NIR has no node")
    if (np.abs(np.frexp(other)[0]) != 0.5).any():
        known.say("multiplies by a reciprocal, which is rounded, where the network divides")
    return _scaled(known, x, 1 / np.asarray(other, np.float64))


@NODES("neg")
def negated(known: Known, x: Any) -> Made:
    """Scale by -1."""
    return _scaled(known, _signal(x), -1.0)


@NODES("add.Tensor", "add.Scalar")
def added(known: Known, x: Any, other: Any, alpha: Any = 1) -> Made:
    """The sum of signals, which NIR's edges are, or numbers for a bias."""
    if isinstance(x, Signal) and isinstance(other, Signal):
        if alpha != 1 or x.shape != other.shape:
            raise Unsuited("it adds signals of several shapes, or a multiple of one")
        offset = (
            other.offset
            if x.offset is None
            else x.offset
            if other.offset is None
            else x.offset + other.offset
        )
        return Signal([*x.terms, *other.terms], x.shape, offset)
    if not isinstance(x, Signal) and alpha != 1:
        raise Unsuited("it adds a multiple of a signal to numbers")
    signal, number = (x, np.asarray(other) * alpha) if isinstance(x, Signal) else (other, x)
    signal = _signal(signal)
    small = _number(number, signal.shape)
    return replace(signal, offset=small if signal.offset is None else signal.offset + small)


@NODES("sub.Tensor", "sub.Scalar")
def subtracted(known: Known, x: Any, other: Any, alpha: Any = 1) -> Made:
    """Numbers for a bias, and the sum with a signal scaled by -1."""
    if not isinstance(other, Signal):
        return added(known, x, -np.asarray(other) * alpha)
    site = known.site(other)
    node = nir.Scale(scale=for_each(-alpha, other.shape, site.real()))
    turned = known.insert(f"{known.name}.minus", metadata.write(node, {"factor": float(-alpha)}), other)
    return added(known, x, turned)


@NODES("addmm")
def affine(known: Known, bias: Any, x: Any, weight: Any) -> Made:
    """Affine."""
    if isinstance(weight, Signal) or isinstance(bias, Signal):
        raise Unsuited("its weights are signals")
    return nir.Affine(
        weight=np.ascontiguousarray(weight.T), bias=np.broadcast_to(bias, weight.shape[1:]).copy()
    ), _signal(x)


@NODES("mm", "matmul")
def linear(known: Known, x: Any, weight: Any) -> Made:
    """Linear."""
    if isinstance(weight, Signal):
        raise Unsuited("it multiplies by a signal, for which NIR has no node")
    return nir.Linear(weight=np.ascontiguousarray(weight.T)), _signal(x)


@NODES("convolution")
def convolved(
    known: Known, x: Any, weight: Any, bias: Any, stride: Sequence[int], padding: Sequence[int],
    dilation: Sequence[int], transposed: bool, output_padding: Any, groups: int,
) -> Made:  # fmt: skip
    """Conv1d or Conv2d."""
    if transposed:
        raise Unsuited("it is a transposed convolution, for which NIR has no node")
    if isinstance(weight, Signal) or weight.ndim not in (3, 4):
        raise Unsuited("NIR has convolutions of one and two axes with weights of their own only")
    signal = _signal(x)
    number = np.zeros(weight.shape[0], weight.dtype) if bias is None else bias
    given = {
        "stride": tuple(stride),
        "padding": tuple(padding),
        "dilation": tuple(dilation),
        "groups": groups,
    }
    return conv_node(weight, number, known.site(signal), bias is not None, **given), signal


def _pooled(known: Known, x: Any, name: str, kernel: Any, stride: Any, padding: Any) -> Made:
    sizes = {"kernel_size": list(kernel), "stride": list(stride or kernel), "padding": list(padding)}
    signal = _signal(x)
    return pool_node(name, sizes, known.site(signal)), signal


@NODES("avg_pool2d")
def averaged(
    known: Known, x: Any, kernel: Any, stride: Any = (), padding: Any = (0, 0), ceil_mode: bool = False,
    count_include_pad: bool = True, divisor_override: Any = None,
) -> Made:  # fmt: skip
    """AvgPool2d."""
    if ceil_mode or divisor_override or (any(padding) and not count_include_pad):
        raise Unsuited("NIR's average counts the padding, and has whole windows only")
    return _pooled(known, x, "AvgPool2d", kernel, stride, padding)


@NODES("max_pool2d_with_indices")
def largest(
    known: Known, x: Any, kernel: Any, stride: Any = (), padding: Any = (0, 0), dilation: Any = (1, 1),
    ceil_mode: bool = False,
) -> Made:  # fmt: skip
    """The extension MaxPool2d."""
    if ceil_mode or max(np.atleast_1d(dilation)) > 1:
        raise Unsuited("it has windows with gaps, or that reach beyond the image")
    return _pooled(known, x, "MaxPool2d", kernel, stride, padding)


@NODES("_adaptive_avg_pool2d")
def adapted(known: Known, x: Any, size: Sequence[int]) -> Made:
    """AvgPool2d, where the sizes divide; else the extension."""
    signal = _signal(x)
    space = signal.shape[1:]
    if all(n % m == 0 for n, m in zip(space, size, strict=True)):
        kernel = [n // m for n, m in zip(space, size, strict=True)]
        return _pooled(known, x, "AvgPool2d", kernel, kernel, (0, 0))
    return Extension("AdaptiveAvgPool2d", {}, {"output_size": list(size)}, signal.shape, known.shape), signal


@NODES("mean.dim")
def mean(known: Known, x: Any, dim: Any, keepdim: bool = False) -> Made:
    """AvgPool2d over an image, one that keeps its axes."""
    signal = _signal(x)
    rank = len(signal.shape) + 1
    if len(signal.shape) != 3 or sorted(d % rank for d in dim) != [2, 3] or not keepdim:
        raise Unsuited(
            "NIR has means over the two axes of an image only, which it keeps: AdaptiveAvgPool2d(1)"
        )
    return _pooled(known, x, "AvgPool2d", signal.shape[1:], signal.shape[1:], (0, 0))


@NODES("native_batch_norm", "_native_batch_norm_legit_no_training")
def normalised(known: Known, x: Any, weight: Any, bias: Any, mean: Any, variance: Any, *rest: Any) -> Made:
    """The extension BatchNorm, which can be folded into the layer before it."""
    *training, momentum, eps = rest
    if any(training) or mean is None or isinstance(weight, Signal):
        raise Unsuited("it normalises by the statistics of the batch")
    arrays = {"running_mean": mean, "running_var": variance, "weight": weight, "bias": bias}
    given = {name: np.asarray(value) for name, value in arrays.items() if value is not None}
    signal = _signal(x)
    return Extension(
        "BatchNorm", given, {"eps": eps, "momentum": momentum}, signal.shape, known.shape
    ), signal


@NODES("relu")
def rectified(known: Known, x: Any) -> Made:
    """The extension ReLU."""
    signal = _signal(x)
    return Extension("ReLU", shape_in=signal.shape, shape_out=signal.shape), signal


@NODES("view", "_unsafe_view", "reshape", "unsqueeze", "squeeze.dims", "squeeze.dim", "flatten.using_ints")
def reshaped(known: Known, x: Any, *_: Any) -> Made:
    """Flatten, or the extension Reshape."""
    signal = _signal(x)
    return signal if signal.shape == known.shape else (reshape_node(signal.shape, known.shape), signal)


@NODES("alias", "clone", "_to_copy", "detach", "contiguous")
def same(known: Known, x: Any, *_: Any, **ignored: Any) -> Made:
    """The signal itself."""
    return _signal(x)


@NODES("surrogate")
def fired(known: Known, x: Any, name: str, options: dict[str, float], at_zero: bool = False) -> Made:
    """Threshold, with the surrogate in the metadata."""
    if at_zero:
        raise Unsuited("it fires at its threshold, and NIR's Threshold above it only")
    signal = _signal(x)
    level = np.zeros(()) if signal.offset is None else -np.asarray(signal.offset)
    site = known.site(signal)
    node = nir.Threshold(threshold=for_each(level, signal.shape, site.real()))
    return metadata.write(node, {"surrogate": [name, options]}), _alone(signal)


@NODES("gt.Scalar")
def above(known: Known, x: Any, level: Any) -> Made:
    """Threshold."""
    signal = _signal(x)
    if signal.offset is not None:
        raise Unsuited("it compares a signal with numbers added to it")
    return nir.Threshold(threshold=for_each(level, signal.shape, known.site(signal).real())), signal


def signed(node: Any, offset: Any, shape: Shape) -> nir.NIRNode:
    """A layer with numbers added to its bias; that of a convolution is one for each channel."""
    weight = np.asarray(node.weight)
    small = np.asarray(offset)
    if isinstance(node, nir.Affine | nir.Linear):
        old = np.asarray(getattr(node, "bias", np.zeros(weight.shape[0], weight.dtype)))
        return nir.Affine(weight=weight, bias=(old + np.broadcast_to(small, old.shape)).astype(weight.dtype))
    full = np.broadcast_to(small, shape)
    each = full.reshape(shape[0], -1)
    if (each != each[:, :1]).any():
        raise Unsuited("it gets a convolution with other numbers added for each pixel")
    norm = Extension(
        "BatchNorm", {"running_mean": np.zeros(shape[0]), "running_var": np.ones(shape[0]), "bias": each[:, 0]},
        {"eps": 0.0},
    )  # fmt: skip
    return fold("", node, norm)
