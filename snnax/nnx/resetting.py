"""All states of an NNX model back to where they start."""

from __future__ import annotations

from typing import Any

from flax import nnx

from snnax import checks
from snnax.nnx.network import Network
from snnax.nnx.neurons import Neuron

__all__ = ["reset"]


@checks.takes(model=checks.instance(nnx.Module, "a module of flax.nnx"))
def reset(model: Any) -> None:
    """Every neuron in ``model`` that keeps its state back to where it starts, as before a new sequence.

    Args:
        model: a module of ``flax.nnx`` with neurons of ``snnax.nnx`` or :class:`Network` in it. The next input
            gives the neurons' states their shape.

    Raises:
        ArgumentError: ``model`` is not a module of ``flax.nnx``.

    Example:
        >>> import jax.numpy as jnp, snnax as snn
        >>> from flax import nnx
        >>> net = nnx.Sequential(nnx.Linear(3, 4, rngs=nnx.Rngs(0)), snn.nnx.Leaky(0.9, init_hidden=True))
        >>> first = net(jnp.ones((8, 3)))
        >>> snn.nnx.reset(net)
        >>> bool((net(jnp.ones((8, 3))) == first).all())
        True

    Compared with snnTorch: ``utils.reset(net)``.
    """
    for _, part in nnx.iter_modules(model):
        if isinstance(part, Neuron | Network):
            part.reset()
