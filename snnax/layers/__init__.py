"""Layers that spiking networks need beside ``flax.linen``: counts, delays, pooling, shapes, scale, signals, norms."""

from snnax.layers import (
    counting,
    delays,
    functions,
    norm,
    pooling,
    rounding,
    shapes,
    signals,
    torch_named,
    torch_own,
)
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

__all__ = [
    *counting.__all__, *delays.__all__, *functions.__all__, *norm.__all__, *pooling.__all__, *rounding.__all__,
    *shapes.__all__, *signals.__all__, *torch_named.__all__, *torch_own.__all__,
]  # fmt: skip
