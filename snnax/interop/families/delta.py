"""DeltaLeaky: an extension node; it fires at changes of its membrane."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import numpy as np

from snnax import neurons
from snnax.interop.families import state_dict
from snnax.interop.families.family import Array, Family, Firing
from snnax.interop.layers.entries import Entry, Layer
from snnax.interop.spec import NeuronSpec


class DeltaLeaky(Family):
    r""":math:`S = [\,|U' - U| > \theta_\Delta\,]`; it is never reset."""

    torch_unused = ("reset_mechanism", "state_quant")

    def entries(self, layer: Layer, variables: Mapping[str, Any]) -> list[Entry]:
        """``beta`` and what every neuron has."""
        return state_dict.common(layer, variables, "beta")

    def firing(self, spec: NeuronSpec, before: Mapping[str, Array], after: Mapping[str, Array]) -> Firing:
        """The change of the membrane, which is rounded."""
        return Firing(np.abs(after["mem"] - before["mem"]), spec.values["delta_threshold"], exact=False)

    def torch_options(self, name: str, module: Any, options: dict[str, Any]) -> dict[str, Any]:
        """Its other arguments do nothing."""
        return {"output": options["output"]}


FAMILIES = (DeltaLeaky(neurons.DeltaLeaky, ("beta", "delta_threshold")),)
