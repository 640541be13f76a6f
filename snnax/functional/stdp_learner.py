"""Spike-timing dependent plasticity: rules for one time step, and a learner that runs one over a record.

Nothing here keeps anything: weights and traces go in, and new ones come out. The rules use kernels as Flax has
them, ``[N_in, N_out]`` and channels last.
"""

from __future__ import annotations

from dataclasses import dataclass
from functools import partial
from typing import Any, NamedTuple

import flax.linen as nn
import jax
import jax.numpy as jnp
import numpy as np
from jax import lax
from jax.typing import ArrayLike

from snnax.errors import ArgumentError, ShapeError
from snnax.functional.stdp_conv import stdp_conv1d_single_step, stdp_conv2d_single_step
from snnax.functional.stdp_steps import (
    Step,
    Weighting,
    check_time_constant,
    floating,
    identity,
    mstdp_linear_single_step,
    mstdpet_linear_single_step,
    stdp_linear_single_step,
)

__all__ = [
    "STDPLearner",
    "STDPTraces",
    "mstdp_linear_single_step",
    "mstdpet_linear_single_step",
    "stdp_conv1d_single_step",
    "stdp_conv2d_single_step",
    "stdp_linear_single_step",
]


class STDPTraces(NamedTuple):
    """What a :class:`STDPLearner` remembers of the spikes so far.

    Attributes:
        pre: trace of the layer's input, in its shape ``[B, ...]``.
        post: trace of the spikes behind it, in their shape ``[B, ...]``.
    """

    pre: jax.Array
    post: jax.Array


@dataclass(frozen=True)
class STDPLearner:
    """Spike-timing dependent plasticity of one layer, over many time steps.

    The weights stay as they are during a call, and change once by the sum over its steps; for a change after
    every step, pass one step at a time. Immutable and hashable; works in ``jit``.

    Args:
        synapse: the layer that learns, ``flax.linen.Dense`` or ``flax.linen.Conv`` over one or two axes; its
            strides and padding are used.
        tau_pre: time constant of the trace of the input, in steps, > 0.
        tau_post: time constant of the trace of the output spikes, in steps, > 0.
        f_pre: how much a weight shrinks, elementwise; the weight itself by default.
        f_post: how much a weight grows, elementwise; the weight itself by default.

    Raises:
        ArgumentError: for another layer, a dilation or groups, or a time constant that is not positive.

    Example:
        >>> import flax.linen as nn, jax, jax.numpy as jnp, optax, snnax as snn
        >>> from snnax.functional.stdp_learner import STDPLearner
        >>> net = snn.Sequential([nn.Dense(2, use_bias=False), snn.Leaky(beta=0.5, init_hidden=True)])
        >>> x = jnp.ones((5, 1, 3))  # [T, B, N_in], the input of the layer
        >>> kernel = jnp.ones((3, 2))
        >>> variables = {"params": {"layers_0": {"kernel": kernel}}}
        >>> spk, _ = snn.unroll(net, variables, x)
        >>> learner = STDPLearner(net.layers[0], tau_pre=2.0, tau_post=2.0)
        >>> traces = learner.init(x, spk)
        >>> kernel, traces = learner.step(kernel, traces, x, spk, scale=0.1)
        >>> kernel.shape, traces.post.shape
        ((3, 2), (1, 2))

    Compared with snnTorch: hooks on the layers collect the spikes there; here they are arguments, as
    :func:`snnax.unroll` returns them, so there is no ``sn``. Its ``step(on_grad=False)`` is ``delta``; its
    ``step(on_grad=True)``, which writes into ``weight.grad``, is a gradient of ``-delta`` for optax. Its
    ``reset`` raises; here ``init`` returns traces of zeros.
    """

    synapse: nn.Module
    tau_pre: float
    tau_post: float
    f_pre: Weighting = identity
    f_post: Weighting = identity

    def __post_init__(self) -> None:
        check_time_constant(self.tau_pre)
        check_time_constant(self.tau_post)
        layer = self.synapse
        if isinstance(layer, nn.Conv):
            ones = (layer.kernel_dilation, layer.input_dilation, layer.feature_group_count)
            if any(one is not None and np.any(np.asarray(one) != 1) for one in ones):
                raise ArgumentError(
                    f"STDPLearner({layer!r}); expected a convolution without dilation or groups."
                )
        elif not isinstance(layer, nn.Dense):
            raise ArgumentError(
                f"STDPLearner(synapse={layer!r}); expected the layer that learns, as STDPLearner(nn.Dense(10), "
                "tau_pre=2.0, tau_post=2.0), or a flax.linen.Conv over one or two axes."
            )

    def init(self, in_spike: ArrayLike, out_spike: ArrayLike) -> STDPTraces:
        """Traces of zeros for spikes ``[T, B, ...]`` like these."""
        return STDPTraces(*(jnp.zeros_like(_timed(spike)[0], dtype=float) for spike in (in_spike, out_spike)))

    def delta(
        self,
        kernel: ArrayLike,
        traces: STDPTraces,
        in_spike: ArrayLike,
        out_spike: ArrayLike,
        scale: float = 1.0,
    ) -> tuple[jax.Array, STDPTraces]:
        """The change of the weights that these spikes ask for, and the new traces.

        Args:
            kernel: the weights of the layer, in Flax's layout.
            traces: from ``init`` or the last call.
            in_spike: what the layer gets, ``[T, B, ...]``.
            out_spike: what the neurons behind it emit, ``[T, B, ...]``.
            scale: factor on the change, a learning rate.

        Returns:
            ``(delta_w, traces)``.

        Raises:
            ShapeError: for spikes that do not fit the kernel or the traces, or each other in T.
        """
        kernel = jnp.asarray(kernel)
        pre, post = (floating(_timed(spike), kernel.dtype) for spike in (in_spike, out_spike))
        if len(pre) != len(post):
            raise ShapeError(
                f"STDPLearner got {len(pre)} time steps of in_spike and {len(post)} of out_spike; expected as many."
            )
        rule = self._rule(kernel.ndim)

        def advance(carry: tuple[STDPTraces, jax.Array], spikes: tuple[jax.Array, jax.Array]) -> Any:
            (p, q), total = carry
            p, q, change = rule(kernel, *spikes, p, q, self.tau_pre, self.tau_post, self.f_pre, self.f_post)
            return (STDPTraces(p, q), total + change), None

        start = STDPTraces(jnp.asarray(traces.pre, pre.dtype), jnp.asarray(traces.post, post.dtype))
        shape = jax.eval_shape(lambda: advance((start, jnp.zeros(())), (pre[0], post[0])))[0][1]
        (new, total), _ = lax.scan(advance, (start, jnp.zeros(shape.shape, shape.dtype)), (pre, post))
        return scale * total, new

    def step(
        self,
        kernel: ArrayLike,
        traces: STDPTraces,
        in_spike: ArrayLike,
        out_spike: ArrayLike,
        scale: float = 1.0,
    ) -> tuple[jax.Array, STDPTraces]:
        """The new weights, ``kernel + delta_w``, and the new traces; arguments as in :meth:`delta`."""
        change, new = self.delta(kernel, traces, in_spike, out_spike, scale)
        return jnp.asarray(kernel) + change, new

    def _rule(self, ndim: int) -> partial[Step]:
        if not isinstance(self.synapse, nn.Conv):
            return partial(stdp_linear_single_step)
        rule = stdp_conv1d_single_step if ndim == 3 else stdp_conv2d_single_step
        return partial(rule, strides=self.synapse.strides, padding=self.synapse.padding)


def _timed(spike: ArrayLike) -> jax.Array:
    spike = jnp.asarray(spike)
    if spike.ndim < 3 or 0 in spike.shape:
        raise ShapeError(
            f"STDPLearner got spikes of shape {spike.shape}; expected [T, B, ...]. Pass spike[None] for one step."
        )
    return spike
