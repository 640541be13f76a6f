"""A layer that counts the spikes that pass through it."""

from __future__ import annotations

import flax.linen as nn
import jax
import jax.numpy as jnp
from jax.typing import ArrayLike

from snnax.layers.kept import kept
from snnax.modules import Module

__all__ = ["SpikeCounter"]


class SpikeCounter(Module):
    r"""Hands on what it gets, and keeps its sum over time.

    .. math:: y_t = x_t, \qquad n_t = n_{t-1} + x_t

    State: ``count``, :math:`n`, of the shape of the input, in the collection ``hidden``; at least in float32, so that a
    spike is not lost beside many.

    Raises:
        StateError: ``hidden`` is not mutable in a call, or holds the count of another batch size.

    Example:
        >>> import jax, jax.numpy as jnp, snnax as snn
        >>> net = snn.Sequential([snn.Leaky(beta=0.5, init_hidden=True), snn.SpikeCounter()])
        >>> spk, updates = snn.unroll(net, {}, jnp.full((10, 1, 2), jnp.array([0.75, 1.5])))
        >>> updates["hidden"]["layers_1"]["count"].tolist() == spk.sum(0).tolist()
        True

    Source: SNNAX (https://github.com/PGI15/snnax), ``SpikeCounter``.
    Compared with snnTorch: there it is ``spk_rec.sum(0)``, as it is here where the spikes of all steps are at hand.
    Compared with NIR: it has no such node; ``to_nir`` says to leave the layer out, since it changes no signal.
    """

    @nn.compact
    def __call__(self, x: ArrayLike) -> jax.Array:
        """``x``, ``[B, ...]``."""
        x = jnp.asarray(x)
        wide = jnp.promote_types(x.dtype, jnp.float32)
        words = {"does": "keeps its count", "misfit": "count has shape {}, the input {}"}
        count = kept(self, "count", x.shape, wide, **words)
        if not self.is_initializing():
            count.value = count.value + x.astype(count.value.dtype)
        return x
