"""Stateless layers that spiking networks need beside ``flax.linen``: pooling, shapes, scale, signals, norms."""

from snnax.layers.pooling import AvgPool1d as AvgPool1d
from snnax.layers.pooling import AvgPool2d as AvgPool2d
from snnax.layers.pooling import MaxPool1d as MaxPool1d
from snnax.layers.pooling import MaxPool2d as MaxPool2d
from snnax.layers.pooling import SumPool1d as SumPool1d
from snnax.layers.pooling import SumPool2d as SumPool2d
from snnax.layers.shapes import Flatten as Flatten
from snnax.layers.shapes import Reshape as Reshape
from snnax.layers.shapes import Scale as Scale
from snnax.layers.shapes import State as State

__all__ = [
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
]
