"""The kinds of NNX variables that the collections of linen become."""

from __future__ import annotations

from typing import Any

import jax
from flax import nnx

__all__ = ["KINDS", "Buffer", "Hidden", "is_variable"]


class Hidden(nnx.Variable[jax.Array]):
    """A state of a neuron; ``nnx.state(model, Hidden)`` are all of them.

    Example:
        >>> import jax.numpy as jnp, snnax as snn
        >>> from flax import nnx
        >>> lif = snn.nnx.Leaky(beta=0.5, init_hidden=True)
        >>> spk = lif(jnp.full((1, 2), 0.75))
        >>> nnx.state(lif, snn.nnx.Hidden)["mem"][...].tolist()
        [[0.75, 0.75]]
    """


class Buffer(nnx.Variable[jax.Array]):
    """A fixed array of a neuron, or anything else that is neither learned nor a state.

    Example:
        >>> import numpy as np, snnax as snn
        >>> from flax import nnx
        >>> lif = snn.nnx.Leaky(beta=np.array([0.5, 0.25]))
        >>> nnx.state(lif, snn.nnx.Buffer)["beta"][...].tolist()
        [0.5, 0.25]
    """


KINDS: dict[str, type[nnx.Variable[Any]]] = {
    "params": nnx.Param,
    "hidden": Hidden,
    "batch_stats": nnx.BatchStat,
}


def is_variable(value: Any) -> bool:
    """Whether it is a variable, and no tree of variables."""
    return isinstance(value, nnx.Variable)
