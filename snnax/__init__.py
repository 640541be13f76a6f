"""Spiking networks in snnTorch's way, as Flax modules on JAX, and the proof that the spikes are the same.

Everything that a user needs is here under a flat name, loaded when it is first used:

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

import importlib
from typing import TYPE_CHECKING, Any

__version__ = "0.1.0"

if TYPE_CHECKING:
    from snnax import backprop as backprop
    from snnax import datasets as datasets
    from snnax import errors as errors
    from snnax import functional as functional
    from snnax import interop as interop
    from snnax import nnx as nnx
    from snnax import spikegen as spikegen
    from snnax import spikeplot as spikeplot
    from snnax import surrogate as surrogate
    from snnax import training as training
    from snnax import utils as utils
    from snnax.layers import AvgPool1d as AvgPool1d
    from snnax.layers import AvgPool2d as AvgPool2d
    from snnax.layers import Flatten as Flatten
    from snnax.layers import MaxPool1d as MaxPool1d
    from snnax.layers import MaxPool2d as MaxPool2d
    from snnax.layers import Reshape as Reshape
    from snnax.layers import Scale as Scale
    from snnax.layers import State as State
    from snnax.layers import SumPool1d as SumPool1d
    from snnax.layers import SumPool2d as SumPool2d
    from snnax.layers.norm import BatchNormTT1d as BatchNormTT1d
    from snnax.layers.norm import BatchNormTT2d as BatchNormTT2d
    from snnax.layers.norm import GradedSpikes as GradedSpikes
    from snnax.layers.signals import Delay as Delay
    from snnax.layers.signals import Slice as Slice
    from snnax.layers.signals import Threshold as Threshold
    from snnax.limits import size_limit as size_limit
    from snnax.network import Graph as Graph
    from snnax.network import Sequential as Sequential
    from snnax.network.unroll import unroll as unroll
    from snnax.neurons import IF as IF
    from snnax.neurons import LI as LI
    from snnax.neurons import LIF as LIF
    from snnax.neurons import SLSTM as SLSTM
    from snnax.neurons import Alpha as Alpha
    from snnax.neurons import AssociativeLeaky as AssociativeLeaky
    from snnax.neurons import CubaLI as CubaLI
    from snnax.neurons import CubaLIF as CubaLIF
    from snnax.neurons import DeltaLeaky as DeltaLeaky
    from snnax.neurons import I as I
    from snnax.neurons import Lapicque as Lapicque
    from snnax.neurons import Leaky as Leaky
    from snnax.neurons import LeakyParallel as LeakyParallel
    from snnax.neurons import LinearLeaky as LinearLeaky
    from snnax.neurons import RLeaky as RLeaky
    from snnax.neurons import RSynaptic as RSynaptic
    from snnax.neurons import SConv2dLSTM as SConv2dLSTM
    from snnax.neurons import SpikingCell as SpikingCell
    from snnax.neurons import StateLeaky as StateLeaky
    from snnax.neurons import Synaptic as Synaptic

# Where each public name lives. A test holds this table, __all__ and the block above to each other.
_MODULES = (
    "backprop",
    "datasets",
    "errors",
    "functional",
    "interop",
    "nnx",
    "spikegen",
    "spikeplot",
    "surrogate",
    "training",
    "utils",
)
_HOMES = {
    "snnax.layers": (
        "AvgPool1d",
        "AvgPool2d",
        "Flatten",
        "MaxPool1d",
        "MaxPool2d",
        "Reshape",
        "Scale",
        "State",
        "SumPool1d",
        "SumPool2d",
    ),
    "snnax.limits": ("size_limit",),
    "snnax.network": (
        "Graph",
        "Sequential",
        "unroll",
    ),
    "snnax.neurons": (
        "Alpha",
        "AssociativeLeaky",
        "CubaLI",
        "CubaLIF",
        "DeltaLeaky",
        "I",
        "IF",
        "LI",
        "LIF",
        "Lapicque",
        "Leaky",
        "LeakyParallel",
        "LinearLeaky",
        "RLeaky",
        "RSynaptic",
        "SConv2dLSTM",
        "SLSTM",
        "SpikingCell",
        "StateLeaky",
        "Synaptic",
    ),
    "snnax.layers.signals": (
        "Delay",
        "Slice",
        "Threshold",
    ),
    "snnax.layers.norm": (
        "BatchNormTT1d",
        "BatchNormTT2d",
        "GradedSpikes",
    ),
}
_HOME = {name: module for module, names in _HOMES.items() for name in names}

__all__ = [  # noqa: RUF022  plain order, which a test holds
    "Alpha",
    "AssociativeLeaky",
    "AvgPool1d",
    "AvgPool2d",
    "BatchNormTT1d",
    "BatchNormTT2d",
    "CubaLI",
    "CubaLIF",
    "Delay",
    "DeltaLeaky",
    "Flatten",
    "GradedSpikes",
    "Graph",
    "I",
    "IF",
    "LI",
    "LIF",
    "Lapicque",
    "Leaky",
    "LeakyParallel",
    "LinearLeaky",
    "MaxPool1d",
    "MaxPool2d",
    "RLeaky",
    "RSynaptic",
    "Reshape",
    "SConv2dLSTM",
    "SLSTM",
    "Scale",
    "Sequential",
    "Slice",
    "SpikingCell",
    "State",
    "StateLeaky",
    "SumPool1d",
    "SumPool2d",
    "Synaptic",
    "Threshold",
    "backprop",
    "datasets",
    "errors",
    "functional",
    "interop",
    "nnx",
    "size_limit",
    "spikegen",
    "spikeplot",
    "surrogate",
    "training",
    "unroll",
    "utils",
]


def __getattr__(name: str) -> Any:
    """Load a public name when it is first used; ``import snnax`` alone loads nothing."""
    if name in _MODULES:
        return importlib.import_module(f"snnax.{name}")
    if name in _HOME:
        value = getattr(importlib.import_module(_HOME[name]), name)
        globals()[name] = value
        return value
    raise AttributeError(f"module 'snnax' has no attribute {name!r}")


def __dir__() -> list[str]:
    """Public names, loaded or not."""
    return sorted({*globals(), *__all__})
