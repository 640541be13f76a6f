"""One time step of the STDP rules of a dense layer, as pure functions."""

from __future__ import annotations

from collections.abc import Callable

import jax
import jax.numpy as jnp
from jax import lax
from jax.typing import ArrayLike

from snnax.errors import ArgumentError, ShapeError

__all__ = ["mstdp_linear_single_step", "mstdpet_linear_single_step", "stdp_linear_single_step"]

Weighting = Callable[[jax.Array], jax.Array]
"""How much a weight changes, given the weights: elementwise."""

Step = tuple[jax.Array, jax.Array, jax.Array]


def identity(weight: jax.Array) -> jax.Array:
    """The weight itself: snnTorch's default, by which a weight of 0 stays 0."""
    return weight


def stdp_linear_single_step(
    kernel: ArrayLike,
    in_spike: ArrayLike,
    out_spike: ArrayLike,
    trace_pre: ArrayLike | None,
    trace_post: ArrayLike | None,
    tau_pre: float,
    tau_post: float,
    f_pre: Weighting = identity,
    f_post: Weighting = identity,
) -> Step:
    r"""Spike-timing dependent plasticity of a dense layer: one time step.

    .. math::
        p &\leftarrow p - p / \tau_{pre} + s, \quad q \leftarrow q - q / \tau_{post} + o \\
        \Delta W_{ij} &= f_{post}(W_{ij}) \sum_b p_{b,i}\, o_{b,j} - f_{pre}(W_{ij}) \sum_b s_{b,i}\, q_{b,j}

    A weight grows when an output spike follows an input spike, and shrinks in the other order.

    Args:
        kernel: weights ``[N_in, N_out]`` of ``flax.linen.Dense``.
        in_spike: s, what the layer gets, ``[B, N_in]``.
        out_spike: o, what the neurons behind it emit, ``[B, N_out]``.
        trace_pre: p, ``[B, N_in]``; None for zeros.
        trace_post: q, ``[B, N_out]``; None for zeros.
        tau_pre: time constant of p, in steps, > 0.
        tau_post: time constant of q, in steps, > 0.
        f_pre: how much a weight shrinks, elementwise.
        f_post: how much a weight grows, elementwise.

    Returns:
        ``(trace_pre, trace_post, delta_w)``, the last ``[N_in, N_out]``.

    Raises:
        ShapeError: for spikes that do not fit the kernel.
        ArgumentError: for a time constant that is not positive.

    Example:
        >>> import jax.numpy as jnp
        >>> from snnax.functional import stdp_learner as SL
        >>> step = SL.stdp_linear_single_step(
        ...     jnp.full((2, 1), 0.5), jnp.array([[1.0, 0.0]]), jnp.array([[1.0]]), None, jnp.ones((1, 1)), 2.0, 2.0
        ... )
        >>> [a.tolist() for a in step]
        [[[1.0, 0.0]], [[1.5]], [[-0.25], [0.0]]]

    Compared with snnTorch: takes the kernel instead of the ``nn.Linear``, and ``delta_w`` is transposed, as
    the kernel is.
    """
    w, s, o = _checked("stdp_linear_single_step", kernel, in_spike, out_spike, "[B, N_in]", "[B, N_out]")
    p = leaky_trace(trace_pre, tau_pre, s)
    q = leaky_trace(trace_post, tau_post, o)
    grown, shrunk = (jnp.matmul(a.T, b, precision=lax.Precision.HIGHEST) for a, b in ((p, o), (s, q)))
    return p, q, f_post(w) * grown - f_pre(w) * shrunk


def mstdp_linear_single_step(
    kernel: ArrayLike,
    in_spike: ArrayLike,
    out_spike: ArrayLike,
    trace_pre: ArrayLike | None,
    trace_post: ArrayLike | None,
    tau_pre: float,
    tau_post: float,
    f_pre: Weighting = identity,
    f_post: Weighting = identity,
) -> Step:
    r"""Eligibility for reward-modulated STDP of a dense layer: one time step.

    .. math::
        p &\leftarrow p\, e^{-1/\tau_{pre}} + s, \quad q \leftarrow q\, e^{-1/\tau_{post}} + o \\
        E_{b,ij} &= f_{post}(W_{ij})\, p_{b,i}\, o_{b,j} - f_{pre}(W_{ij})\, s_{b,i}\, q_{b,j}

    The weight changes by the eligibility of each sample times that sample's reward.

    Args:
        kernel: weights ``[N_in, N_out]`` of ``flax.linen.Dense``.
        in_spike: s, what the layer gets, ``[B, N_in]``.
        out_spike: o, what the neurons behind it emit, ``[B, N_out]``.
        trace_pre: p, ``[B, N_in]``; None for zeros.
        trace_post: q, ``[B, N_out]``; None for zeros.
        tau_pre: time constant of p, in steps, > 0.
        tau_post: time constant of q, in steps, > 0.
        f_pre: how much a weight shrinks, elementwise.
        f_post: how much a weight grows, elementwise.

    Returns:
        ``(trace_pre, trace_post, eligibility)``, the last ``[B, N_in, N_out]``.

    Raises:
        ShapeError: for spikes that do not fit the kernel.
        ArgumentError: for a time constant that is not positive.

    Example:
        >>> import jax.numpy as jnp
        >>> from snnax.functional import stdp_learner as SL
        >>> _, _, e = SL.mstdp_linear_single_step(
        ...     jnp.ones((2, 1)), jnp.eye(2), jnp.ones((2, 1)), jnp.ones((2, 2)), None, 1.0, 1.0
        ... )
        >>> reward = jnp.array([1.0, -1.0])
        >>> jnp.einsum("b,bij->ij", reward, e).shape
        (2, 1)

    Compared with snnTorch: takes the kernel instead of the ``nn.Linear``; the eligibility is transposed, as
    the kernel is.
    """
    w, s, o = _checked("mstdp_linear_single_step", kernel, in_spike, out_spike, "[B, N_in]", "[B, N_out]")
    p = exponential_trace(trace_pre, tau_pre, s)
    q = exponential_trace(trace_post, tau_post, o)
    grown, shrunk = p[:, :, None] * o[:, None, :], s[:, :, None] * q[:, None, :]
    return p, q, f_post(w)[None] * grown - f_pre(w)[None] * shrunk


def mstdpet_linear_single_step(
    kernel: ArrayLike,
    in_spike: ArrayLike,
    out_spike: ArrayLike,
    trace_pre: ArrayLike | None,
    trace_post: ArrayLike | None,
    tau_pre: float,
    tau_post: float,
    tau_trace: float,
    f_pre: Weighting = identity,
    f_post: Weighting = identity,
) -> Step:
    r"""As :func:`mstdp_linear_single_step` for one sample, for a rule with an eligibility trace.

    The caller keeps the eligibility trace, for instance
    :math:`e \leftarrow e\, e^{-1/\tau_{trace}} + E / \tau_{trace}`, and multiplies it by the reward.

    Args:
        kernel: weights ``[N_in, N_out]`` of ``flax.linen.Dense``.
        in_spike: what the layer gets, ``[N_in]``.
        out_spike: what the neurons behind it emit, ``[N_out]``.
        trace_pre: ``[N_in]``; None for zeros.
        trace_post: ``[N_out]``; None for zeros.
        tau_pre: time constant of the first trace, in steps, > 0.
        tau_post: time constant of the second trace, in steps, > 0.
        tau_trace: not used, as in snnTorch: time constant of the trace that the caller keeps.
        f_pre: how much a weight shrinks, elementwise.
        f_post: how much a weight grows, elementwise.

    Returns:
        ``(trace_pre, trace_post, eligibility)``, the last ``[N_in, N_out]``.

    Raises:
        ShapeError: for spikes that do not fit the kernel; for a batch use ``jax.vmap``.
        ArgumentError: for a time constant that is not positive.

    Example:
        >>> import jax.numpy as jnp
        >>> from snnax.functional import stdp_learner as SL
        >>> p, q, e = SL.mstdpet_linear_single_step(
        ...     jnp.ones((2, 1)), jnp.array([1.0, 0.0]), jnp.array([1.0]), jnp.array([0.0, 2.0]), None, 1.0, 1.0, 5.0
        ... )
        >>> e.shape, round(float(e[1, 0]), 4)  # 2 / exp(1)
        ((2, 1), 0.7358)

    Compared with snnTorch: takes the kernel instead of the ``nn.Linear``; the eligibility is transposed, as
    the kernel is.
    """
    w, s, o = _checked("mstdpet_linear_single_step", kernel, in_spike, out_spike, "[N_in]", "[N_out]")
    p = exponential_trace(trace_pre, tau_pre, s)
    q = exponential_trace(trace_post, tau_post, o)
    return p, q, f_post(w) * jnp.outer(p, o) - f_pre(w) * jnp.outer(s, q)


def leaky_trace(trace: ArrayLike | None, tau: float, spike: jax.Array) -> jax.Array:
    """``trace - trace / tau + spike``."""
    check_time_constant(tau)
    old = _like(trace, spike)
    return old - old / tau + spike


def exponential_trace(trace: ArrayLike | None, tau: float, spike: jax.Array) -> jax.Array:
    """``trace * exp(-1 / tau) + spike``."""
    check_time_constant(tau)
    return _like(trace, spike) * jnp.exp(-1 / jnp.asarray(tau, spike.dtype)) + spike


def check_time_constant(tau: float) -> None:
    """Whether the time constant is positive, if it is a plain number.

    Raises:
        ArgumentError: if not.
    """
    if isinstance(tau, int | float) and not tau > 0:
        raise ArgumentError(
            f"STDP got the time constant {tau!r}; expected a number of steps > 0, as tau_pre=2.0."
        )


def floating(spike: ArrayLike, dtype: jnp.dtype) -> jax.Array:
    """Spikes of any dtype in that of the kernel, or a wider one."""
    spike = jnp.asarray(spike)
    return spike.astype(jnp.promote_types(spike.dtype, dtype))


def _like(trace: ArrayLike | None, spike: jax.Array) -> jax.Array:
    if trace is None:
        return jnp.zeros_like(spike)
    trace = jnp.asarray(trace, spike.dtype)
    if trace.shape not in ((), spike.shape):
        raise ShapeError(
            f"STDP got a trace of shape {trace.shape} for spikes of shape {spike.shape}; expected the same shape. "
            "Pass None to start from zeros."
        )
    return jnp.broadcast_to(trace, spike.shape)


def _checked(
    name: str, kernel: ArrayLike, in_spike: ArrayLike, out_spike: ArrayLike, axes_in: str, axes_out: str
) -> tuple[jax.Array, jax.Array, jax.Array]:
    kernel = jnp.asarray(kernel)
    s, o = (floating(spike, kernel.dtype) for spike in (in_spike, out_spike))
    rank = axes_in.count(",") + 1
    fits = kernel.ndim == 2 and s.ndim == o.ndim == rank and s.shape[:-1] == o.shape[:-1]
    if not fits or (s.shape[-1], o.shape[-1]) != kernel.shape:
        raise ShapeError(
            f"{name} got kernel {kernel.shape}, in_spike {s.shape}, out_spike {o.shape}; expected [N_in, N_out], "
            f"{axes_in}, {axes_out}. The kernel is that of flax.linen.Dense, params['kernel']; over time steps use "
            "STDPLearner or jax.lax.scan."
        )
    return kernel, s, o
