"""Converters between NIR nodes and flax modules, one file per family, in one registry."""

from snnax.interop.nodes import conv, linear, norm, pooling, shape, signals
from snnax.interop.nodes.extension import Extension
from snnax.interop.nodes.neurons import node_from_spec, spec_from_node
from snnax.interop.nodes.registry import Built, Site, build, supported, write
from snnax.interop.spec import NeuronSpec

__all__ = [
    "Built",
    "Extension",
    "NeuronSpec",
    "Site",
    "build",
    "conv",
    "linear",
    "node_from_spec",
    "norm",
    "pooling",
    "shape",
    "signals",
    "spec_from_node",
    "supported",
    "write",
]
