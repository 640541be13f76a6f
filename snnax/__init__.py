"""Spiking networks in snnTorch's way, as Flax modules on JAX, and the proof that the spikes are the same.

Everything that a user needs is here under a flat name, declared in the ``__all__`` of the file that defines it and
loaded when it is first used:

Example:
    >>> import jax, jax.numpy as jnp
    >>> import flax.linen as nn
    >>> import snnax as snn
    >>> net = snn.Sequential([nn.Dense(4), snn.Leaky(beta=0.9, init_hidden=True)])
    >>> x = jnp.ones((25, 1, 3))  # [T, B, features]
    >>> variables = net.init(jax.random.key(0), x[0])
    >>> spk, updates = snn.unroll(net, variables, x)
    >>> spk.shape
    (25, 1, 4)
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from snnax.faces import Face

__version__ = "0.2.0"

if TYPE_CHECKING:
    from snnax import backprop as backprop
    from snnax import datasets as datasets
    from snnax import errors as errors
    from snnax import event as event
    from snnax import functional as functional
    from snnax import interop as interop
    from snnax import nnx as nnx
    from snnax import spikegen as spikegen
    from snnax import spikeplot as spikeplot
    from snnax import surrogate as surrogate
    from snnax import training as training
    from snnax import utils as utils
    from snnax.functional.torch_named import CrossEntropyLoss as CrossEntropyLoss
    from snnax.functional.torch_named import L1Loss as L1Loss
    from snnax.functional.torch_named import MSELoss as MSELoss
    from snnax.layers.counting import *
    from snnax.layers.delays import *
    from snnax.layers.functions import *
    from snnax.layers.norm import *
    from snnax.layers.pooling import *
    from snnax.layers.rounding import *
    from snnax.layers.shapes import *
    from snnax.layers.signals import *
    from snnax.layers.torch_named import *
    from snnax.layers.torch_own import *
    from snnax.limits import size_limit as size_limit
    from snnax.network import *
    from snnax.neurons import *

_FACE = Face(
    "snnax",
    rooms=("layers", "network", "neurons"),
    named={
        "size_limit": "limits",
        **dict.fromkeys(("CrossEntropyLoss", "L1Loss", "MSELoss"), "functional.torch_named"),
    },
    modules=(
        "backprop", "datasets", "errors", "event", "functional", "interop", "nnx", "spikegen", "spikeplot", "surrogate",
        "training", "utils",
    ),
)  # fmt: skip


def __getattr__(name: str) -> Any:
    """Load a public name when it is first used; ``import snnax`` alone loads nothing."""
    value = globals()[name] = _FACE.load(name)
    return value


def __dir__() -> list[str]:
    """What tab completion offers: the public names, loaded or not, and not what this file imports."""
    return sorted({*(name for name in globals() if name.startswith("__")), *_FACE.names()})
