"""Alpha: an extension node, as no linear subgraph of NIR nodes resets as it does."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import numpy as np

from snnax import neurons
from snnax.interop.families import state_dict
from snnax.interop.families.family import Array, Family, Referee
from snnax.interop.layers.entries import Entry, Layer


class Alpha(Family):
    r""":math:`E' = \alpha E + I`, :math:`H' = \beta H - I`, :math:`U' = \tau (E' + H')`."""

    simulated = True
    torch_fixed = ("alpha",)

    def entries(self, layer: Layer, variables: Mapping[str, Any]) -> list[Entry]:
        """Both decays and what every neuron has."""
        return state_dict.common(layer, variables, "beta", "alpha")

    def charge(
        self, rule: Referee, before: dict[str, Array], x: Array, feedback: Array | None, due: Array
    ) -> dict[str, Array]:
        """Each mechanism resets all three states, a subtraction the inhibition only by what is left of it."""
        alpha, beta, mechanism = rule.values["alpha"], rule.values["beta"], rule.spec.reset_mechanism
        with np.errstate(divide="ignore", invalid="ignore"):
            scale = np.log(alpha) / (np.log(beta) - np.log(alpha)) + 1
        exc, inh = before["syn_exc"] * alpha + x, before["syn_inh"] * beta - x
        mem = (exc + inh) * scale
        subtract = mechanism == "subtract"
        mem = mem + before["syn_inh"] * due if subtract else rule.discharge(mem, due)
        inh = inh if mechanism == "none" else inh - inh * due
        return {
            "syn_exc": rule.quantize(rule.discharge(exc, due)),
            "syn_inh": rule.quantize(inh),
            "mem": mem,
        }


FAMILIES = (Alpha(neurons.Alpha, ("alpha", "beta", "threshold")),)
