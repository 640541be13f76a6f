"""In which units the model of a graph counts the input and the current of each neuron."""

from __future__ import annotations

from typing import Any

import numpy as np

from snnax.interop.importing import Import
from snnax.interop.nodes import metadata
from snnax.interop.nodes.spec import NATIVE, STATES
from snnax.interop.reference.equations import Array, added
from snnax.interop.reference.neurons import nir_values

Units = dict[str, tuple[Array, Array]]


def scales(imported: Import) -> tuple[dict[str, Array], Units]:
    """Where the model holds one of NIR's neurons as snnTorch's, which counts what 1 adds to the membrane in a step.

    Args:
        imported: the model.

    Returns:
        The factor by which the resistance of a node, by its name, misses a gain of 1 that the model takes it for;
        and by the model's names the factors of the input and of the synaptic current: that of the input is the
        number that the model scales it by.
    """
    factors: dict[str, Array] = {}
    units: Units = {}
    for name, ours in imported.names.items():
        node = imported.flat.nodes[name]
        kind = imported.specs[ours].kind if ours in imported.specs else ""
        if kind not in STATES or kind in NATIVE or metadata.read_spec(node, name) is not None:
            continue
        values = nir_values(name, node, imported.reading)
        whole = _gain(values, imported.dt)
        scale: Any = imported.nodes.get(imported.gains.get(ours, ""))
        if scale is None:
            factors[name], gain = 1 / whole, np.ones(())
        else:
            gain = np.asarray(scale.scale, np.float64)
        unit = gain
        if "tau_mem" in values:
            r = values["r"] * factors.get(name, 1.0)
            unit = added(r, values["tau_mem"], imported.dt, imported.reading.discretization, "ode")
        units[ours] = (gain, unit)
    return factors, units


def _gain(values: dict[str, Array], dt: float) -> Array:
    """What one unit of input adds to the membrane in the end, in an Euler step."""
    gain = values["r"]
    for factor, tau in ((1.0, "tau"), (1.0, "tau_mem"), (values.get("w_in", 1.0), "tau_syn")):
        gain = gain * factor * dt / values[tau] if tau in values else gain
    return np.asarray(gain)
