"""One time step of STDP of a convolution, channels last."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import jax
import jax.numpy as jnp
from jax import lax
from jax.typing import ArrayLike

from snnax.errors import ArgumentError, ShapeError
from snnax.functional.stdp_steps import Step, Weighting, floating, identity, leaky_trace
from snnax.layers.arrays import as_tuple

__all__ = ["stdp_conv1d_single_step", "stdp_conv2d_single_step"]

Padding = str | int | Sequence[int | tuple[int, int]]
"""As ``flax.linen.Conv`` takes it."""

_AXES = {1: "[B, L, C]", 2: "[B, H, W, C]"}
_SPATIAL = {1: ("NWC", "WIO", "NWC"), 2: ("NHWC", "HWIO", "NHWC")}
_WRAPPING = {"CIRCULAR": "wrap", "REFLECT": "reflect"}


def stdp_conv2d_single_step(
    kernel: ArrayLike,
    in_spike: ArrayLike,
    out_spike: ArrayLike,
    trace_pre: ArrayLike | None,
    trace_post: ArrayLike | None,
    tau_pre: float,
    tau_post: float,
    f_pre: Weighting = identity,
    f_post: Weighting = identity,
    *,
    strides: int | Sequence[int] | None = None,
    padding: Padding = "SAME",
) -> Step:
    r"""Spike-timing dependent plasticity of a 2-D convolution: one time step.

    .. math::
        p &\leftarrow p - p / \tau_{pre} + s, \quad q \leftarrow q - q / \tau_{post} + o \\
        \Delta W_{kij} &= \sum_{b,x} f_{post}(W_{kij})\, p_{b,xm+k,i}\, o_{b,x,j}
            - f_{pre}(W_{kij})\, s_{b,xm+k,i}\, q_{b,x,j}

    with k the place in the kernel, x the place in the output and m the stride. Computed as the gradient of
    the convolution with respect to its kernel.

    Args:
        kernel: weights ``[kH, kW, C_in, C_out]`` of ``flax.linen.Conv``.
        in_spike: s, what the layer gets, ``[B, H, W, C_in]``.
        out_spike: o, what the neurons behind it emit, ``[B, H', W', C_out]``.
        trace_pre: p, in the shape of ``in_spike``; None for zeros.
        trace_post: q, in the shape of ``out_spike``; None for zeros.
        tau_pre: time constant of p, in steps, > 0.
        tau_post: time constant of q, in steps, > 0.
        f_pre: how much a weight shrinks, elementwise.
        f_post: how much a weight grows, elementwise.
        strides: that of the layer, as ``flax.linen.Conv`` takes it.
        padding: that of the layer: ``"SAME"``, ``"VALID"``, ``"CIRCULAR"``, ``"REFLECT"``, a number, or one
            or two of them for each axis.

    Returns:
        ``(trace_pre, trace_post, delta_w)``, the last in the shape of the kernel.

    Raises:
        ShapeError: for spikes that do not fit the kernel, strides and padding.
        ArgumentError: for a time constant that is not positive, or another padding.

    Example:
        >>> import jax.numpy as jnp
        >>> from snnax.functional import stdp_learner as SL
        >>> kernel, image = jnp.ones((3, 3, 1, 2)), jnp.ones((1, 8, 8, 1))
        >>> p, q, dw = SL.stdp_conv2d_single_step(
        ...     kernel, image, jnp.zeros((1, 4, 4, 2)), None, None, 2.0, 2.0, strides=2
        ... )
        >>> p.shape, q.shape, dw.shape
        ((1, 8, 8, 1), (1, 4, 4, 2), (3, 3, 1, 2))

    Compared with snnTorch: takes the kernel, strides and padding instead of the ``nn.Conv2d``; arrays are
    channels last; ``trace_pre`` has no padding, which that adds to it.
    """
    return _step(
        "stdp_conv2d_single_step", 2, (kernel, in_spike, out_spike), (trace_pre, trace_post),
        (tau_pre, tau_post), (f_pre, f_post), strides, padding,
    )  # fmt: skip


def stdp_conv1d_single_step(
    kernel: ArrayLike,
    in_spike: ArrayLike,
    out_spike: ArrayLike,
    trace_pre: ArrayLike | None,
    trace_post: ArrayLike | None,
    tau_pre: float,
    tau_post: float,
    f_pre: Weighting = identity,
    f_post: Weighting = identity,
    *,
    strides: int | Sequence[int] | None = None,
    padding: Padding = "SAME",
) -> Step:
    """Spike-timing dependent plasticity of a 1-D convolution: one time step.

    As :func:`stdp_conv2d_single_step` with one axis less; see there for the equation and the errors.

    Args:
        kernel: weights ``[k, C_in, C_out]`` of ``flax.linen.Conv``.
        in_spike: what the layer gets, ``[B, L, C_in]``.
        out_spike: what the neurons behind it emit, ``[B, L', C_out]``.
        trace_pre: in the shape of ``in_spike``; None for zeros.
        trace_post: in the shape of ``out_spike``; None for zeros.
        tau_pre: time constant of ``trace_pre``, in steps, > 0.
        tau_post: time constant of ``trace_post``, in steps, > 0.
        f_pre: how much a weight shrinks, elementwise.
        f_post: how much a weight grows, elementwise.
        strides: that of the layer, as ``flax.linen.Conv`` takes it.
        padding: that of the layer, as in :func:`stdp_conv2d_single_step`.

    Returns:
        ``(trace_pre, trace_post, delta_w)``, the last in the shape of the kernel.

    Example:
        >>> import jax.numpy as jnp
        >>> from snnax.functional import stdp_learner as SL
        >>> kernel, pre, post = jnp.ones((3, 1, 2)), jnp.ones((1, 8, 1)), jnp.ones((1, 6, 2))
        >>> SL.stdp_conv1d_single_step(kernel, pre, post, None, None, 2.0, 2.0, padding="VALID")[2].shape
        (3, 1, 2)
    """
    return _step(
        "stdp_conv1d_single_step", 1, (kernel, in_spike, out_spike), (trace_pre, trace_post),
        (tau_pre, tau_post), (f_pre, f_post), strides, padding,
    )  # fmt: skip


def _step(
    name: str,
    rank: int,
    arrays: tuple[ArrayLike, ArrayLike, ArrayLike],
    traces: tuple[ArrayLike | None, ArrayLike | None],
    taus: tuple[float, float],
    weightings: tuple[Weighting, Weighting],
    strides: int | Sequence[int] | None,
    padding: Padding,
) -> Step:
    kernel = jnp.asarray(arrays[0])
    s, o = (floating(spike, kernel.dtype) for spike in arrays[1:])
    steps = as_tuple(1 if strides is None else strides, rank, "strides")
    if kernel.ndim != rank + 2 or s.ndim != rank + 2 or s.shape[-1] != kernel.shape[-2]:
        raise ShapeError(_misfit(name, rank, kernel, s, o, "any"))
    pads, wrap = _pads(name, padding, kernel.shape[:rank], s.shape[1:-1], steps)
    places = [(n + sum(p) - k) // m + 1 for n, p, k, m in _axes(s, pads, kernel, steps, rank)]
    expected = (s.shape[0], *places, kernel.shape[-1])
    if o.shape != expected or min(places) < 1:
        raise ShapeError(_misfit(name, rank, kernel, s, o, str(expected)))
    p, q = leaky_trace(traces[0], taus[0], s), leaky_trace(traces[1], taus[1], o)

    def correlate(x: jax.Array, y: jax.Array) -> jax.Array:
        """The sum over samples and places of ``x`` at the kernel's place times ``y``."""
        padded = jnp.pad(x, [(0, 0), *pads, (0, 0)], mode=wrap)

        def convolve(weights: jax.Array) -> jax.Array:
            return lax.conv_general_dilated(
                padded, weights, steps, "VALID", dimension_numbers=_SPATIAL[rank], precision=lax.Precision.HIGHEST
            )  # fmt: skip

        shape = jax.ShapeDtypeStruct(kernel.shape, padded.dtype)
        return jax.linear_transpose(convolve, shape)(y)[0]

    f_pre, f_post = weightings
    return p, q, f_post(kernel) * correlate(p, o) - f_pre(kernel) * correlate(s, q)


def _axes(
    s: jax.Array, pads: list[tuple[int, int]], kernel: jax.Array, steps: Sequence[int], rank: int
) -> zip[tuple[int, tuple[int, int], int, int]]:
    return zip(s.shape[1:-1], pads, kernel.shape[:rank], steps, strict=True)


def _pads(
    name: str, padding: Padding, kernel: Sequence[int], image: Sequence[int], steps: Sequence[int]
) -> tuple[list[tuple[int, int]], str]:
    """Padding before and after each axis, and the mode of ``jnp.pad``."""
    if isinstance(padding, str):
        if padding in ("SAME", "VALID"):
            pairs = lax.padtype_to_pads(tuple(image), tuple(kernel), tuple(steps), padding)
            return [(int(low), int(high)) for low, high in pairs], "constant"
        if padding in _WRAPPING:
            return [((k - 1) // 2, k // 2) for k in kernel], _WRAPPING[padding]
        known = ", ".join(map(repr, ("SAME", "VALID", *_WRAPPING)))
        raise ArgumentError(f"{name}(padding={padding!r}); expected {known}, or numbers.")
    each: Sequence[Any] = padding if isinstance(padding, Sequence) else (padding,) * len(kernel)
    if len(each) != len(kernel):
        raise ArgumentError(
            f"{name}(padding={padding!r}); expected one number, or one for each of {len(kernel)} axes."
        )
    low_high = (as_tuple(p, 2, "padding") for p in each)
    return [(low, high) for low, high in low_high], "constant"


def _misfit(name: str, rank: int, kernel: jax.Array, s: jax.Array, o: jax.Array, expected: str) -> str:
    return (
        f"{name} got kernel {kernel.shape}, in_spike {s.shape}, out_spike {o.shape}; expected the kernel of a "
        f"flax.linen.Conv with as many inputs as in_spike has channels, in_spike {_AXES[rank]}, and out_spike "
        f"{expected}. Arrays are channels last: use jnp.moveaxis(x, 1, -1) on those from torch. Pass strides= and "
        "padding= as the layer has them; groups are not supported."
    )
