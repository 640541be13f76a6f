r"""Synaptic and RSynaptic: NIR's CubaLIF with time constants :math:`dt/(1-\alpha)` and :math:`dt/(1-\beta)`."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, ClassVar

import nir
import numpy as np

from snnax import neurons
from snnax.errors import ConversionError
from snnax.interop.conventions import gain, tau_from_decay
from snnax.interop.families import state_dict
from snnax.interop.families.arrays import decay, dtype_of, full, tidy
from snnax.interop.families.family import Array, Family, Read, Referee, Shape
from snnax.interop.families.leaky import current_cell
from snnax.interop.families.norse_cells import Parts
from snnax.interop.families.reading import as_plain, decay_of, reset_of, unless_one
from snnax.interop.layers.entries import Entry, Layer
from snnax.interop.nir.readings import Reading
from snnax.interop.spec import NeuronSpec


class Synaptic(Family):
    r""":math:`I_s' = \alpha I_s + I + F`, :math:`U' = \beta U + I_s'`, discharged."""

    simulated = True
    assumed = True
    nodes = (nir.CubaLIF,)
    reads: ClassVar[tuple[type, ...]] = (nir.CubaLIF,)
    joined = "RSynaptic"
    alike = ((False, "zero"),)

    def node(self, name: str, spec: NeuronSpec, shape: Shape | None, dt: float) -> nir.NIRNode | None:
        """CubaLIF; ``None`` where a decay is 1."""
        alpha, beta = decay(spec, "alpha"), decay(spec, "beta")
        if (alpha == 1.0).any() or (beta == 1.0).any():
            return None
        tau_syn, tau_mem = tau_from_decay(alpha, dt), tau_from_decay(beta, dt)
        dtype = dtype_of(spec, tau_syn, tau_mem)
        threshold = full(name, "threshold", spec.values["threshold"], shape, dtype)
        return nir.CubaLIF(
            tau_syn=full(name, "alpha", tau_syn, shape, dtype),
            tau_mem=full(name, "beta", tau_mem, shape, dtype),
            r=full(name, "beta", 1.0 / (1.0 - beta), shape, dtype),
            v_leak=np.zeros_like(threshold),
            v_threshold=threshold,
            v_reset=np.zeros_like(threshold),
            w_in=full(name, "alpha", 1.0 / (1.0 - alpha), shape, dtype),
        )

    def read(self, name: str, node: Any, dt: float, reading: Reading) -> Read:
        r""":math:`\alpha = 1 - dt/\tau_{syn}`, :math:`\beta = 1 - dt/\tau_{mem}`."""
        node = as_plain(node, reading)
        values = {
            "alpha": decay_of(name, "tau_syn", node.tau_syn, dt),
            "beta": decay_of(name, "tau_mem", node.tau_mem, dt),
            "threshold": tidy(node.v_threshold),
        }
        factor = gain(node.w_in, node.tau_syn, dt) * gain(node.r, node.tau_mem, dt)
        return NeuronSpec(self.kind, values, options=reset_of(reading)), unless_one(factor)

    def entries(self, layer: Layer, variables: Mapping[str, Any]) -> list[Entry]:
        """Both decays and what every neuron has."""
        return state_dict.common(layer, variables, "beta", "alpha")

    def norse(self, name: str, spec: NeuronSpec, dt: float) -> Parts:
        """LIFCell."""
        return current_cell(name, spec, dt, decay(spec, "alpha"))

    def charge(
        self, rule: Referee, before: dict[str, Array], x: Array, feedback: Array | None, due: Array
    ) -> dict[str, Array]:
        """The membrane is charged with the new current, before a quantizer rounds it."""
        syn = before["syn"] * rule.values["alpha"] + x
        syn = syn if feedback is None else syn + feedback
        mem = rule.discharge(before["mem"] * rule.values["beta"] + syn, due)
        return {"syn": rule.quantize(syn), "mem": mem}


class RSynaptic(Synaptic):
    """Synaptic with recurrent weights inside."""

    reads: ClassVar[tuple[type, ...]] = ()
    joined = ""
    is_joined = True
    assumed = False

    def entries(self, layer: Layer, variables: Mapping[str, Any]) -> list[Entry]:
        """Those of Synaptic, and its recurrent weights."""
        return [
            *state_dict.common(layer, variables, "beta", "alpha"),
            *state_dict.recurrence(layer, variables),
        ]

    def torch_options(self, name: str, module: Any, options: dict[str, Any]) -> dict[str, Any]:
        """snnTorch 1.0.0 computes the same with either reset delay; see its forward."""
        return {**options, "reset_delay": True}

    def torch_arguments(self, name: str, spec: NeuronSpec) -> dict[str, Any]:
        """Nothing; a reset at once is refused."""
        if not spec.reset_delay:
            raise ConversionError(
                name,
                "reset_delay=False, which snnTorch 1.0.0's RSynaptic ignores or fails on",
                "Use reset_delay=True.",
            )
        return {}


FAMILIES = (
    Synaptic(neurons.Synaptic, ("alpha", "beta", "threshold")),
    RSynaptic(neurons.RSynaptic, ("alpha", "beta", "threshold")),
)
