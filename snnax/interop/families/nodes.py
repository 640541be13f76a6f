"""Neuron layers as NIR nodes, what NIR cannot say in metadata, and back.

=========  ==========  =====================================================================
neuron     NIR node    parameters
=========  ==========  =====================================================================
Leaky      LIF         tau = dt/(1-beta), r = 1/(1-beta), v_threshold = threshold
           IF          r = 1, where beta = 1 everywhere
Lapicque   LIF         tau = R*C*dt/time_step, r = R
Synaptic   CubaLIF     tau_syn, tau_mem as above, w_in = 1/(1-alpha), r = 1/(1-beta)
RLeaky     LIF         and a node for the recurrent weights on a loop
RSynaptic  CubaLIF     and a node for the recurrent weights on a loop
Alpha      extension   no linear subgraph of NIR nodes resets as Alpha does
others     extension   layers with weights, sizes or a rule of firing of their own
=========  ==========  =====================================================================
"""

from __future__ import annotations

import nir
import numpy as np

from snnax.errors import ConversionError
from snnax.interop.families.family import Family, Read, Shape
from snnax.interop.families.reading import has_equal
from snnax.interop.families.registry import families, find, unknown_neuron
from snnax.interop.nir import metadata
from snnax.interop.nir.extension import Extension
from snnax.interop.nir.readings import Reading
from snnax.interop.spec import NeuronSpec

_DEFAULT = Reading()


def node_from_spec(
    name: str, spec: NeuronSpec, shape: Shape | None, dt: float, shape_out: Shape | None = None
) -> nir.NIRNode:
    """The NIR node of a neuron layer.

    Args:
        name: of the node, for errors.
        spec: the neuron.
        shape: shape of one sample that enters, channels first (``None``: leave scalars).
        dt: time step in seconds.
        shape_out: shape of one sample that leaves, if it is another.

    Raises:
        ConversionError: for parameters that are not numbers, or do not fit the shape.
    """
    for key, value in {**spec.values, **spec.weights}.items():
        if not np.isfinite(value).all():
            raise ConversionError(name, f"{key} is not finite", "Train again or set it to a number.")
    node = spec.family.node(name, spec, shape, dt)
    if node is None:
        node = Extension(spec.kind, dict(spec.weights), shape_in=shape, shape_out=shape_out or shape)
    return metadata.write_spec(node, spec, dt)


def spec_from_node(name: str, node: nir.NIRNode, dt: float, reading: Reading = _DEFAULT) -> Read:
    """The neuron of a NIR node, and the gain on its input where that is not 1.

    With our metadata it is the neuron that was exported, with what was edited since where a text says so. Without, it
    is what the reading makes of it; where that has an equal among snnTorch's neurons (zero leak and reset potential,
    Euler's step, an immediate reset) it is that neuron, with its input scaled by ``r*dt/tau``.

    Args:
        name: of the node, for errors.
        node: the node.
        dt: time step in seconds; the metadata's own comes first.
        reading: what NIR leaves open.

    Raises:
        ConversionError: for time constants that are not positive, or shorter than an Euler step.
    """
    known, spec = metadata.of(node, name), metadata.read_spec(node, name)
    dt = known.content.get("dt", dt)
    if spec is not None and find(spec.kind) is None:
        raise unknown_neuron(name, f"neuron class {spec.kind!r} is unknown", "Known")
    if spec is None:
        if isinstance(node, Extension):
            raise ConversionError(
                name, f"the extension {node.op!r} lacks its neuron's metadata", "Export it again."
            )
        return _read(name, node, dt, reading)
    if isinstance(node, Extension) or not known.told:
        return spec, None
    return spec.family.edited(
        name, spec, node, float(dt), lambda: _plain(node).read(name, node, dt, _DEFAULT)
    ), None


def _read(name: str, node: nir.NIRNode, dt: float, reading: Reading) -> Read:
    """The neuron that a node's numbers alone make: snnTorch's, where one computes what the reading says."""
    equal = isinstance(node, nir.LIF | nir.CubaLIF | nir.IF) and has_equal(name, node, reading)
    family = _plain(node) if equal else families()[type(node).__name__]
    return family.read(name, node, dt, reading)


def _plain(node: nir.NIRNode) -> Family:
    """The family of snnTorch's whose neuron such a node may be."""
    return next(family for family in families().values() if type(node) in family.reads)
