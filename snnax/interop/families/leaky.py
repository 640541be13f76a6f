r"""Leaky and RLeaky: NIR's LIF with :math:`\tau = dt/(1-\beta)` and :math:`r = 1/(1-\beta)`, or IF without a leak."""

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
from snnax.interop.families.norse_cells import Parts, check_discharge, leak, learned, refuse_late
from snnax.interop.families.reading import as_plain, decay_of, reset_of, unless_one
from snnax.interop.layers.entries import Entry, Layer
from snnax.interop.nir.readings import Reading
from snnax.interop.spec import NeuronSpec


def lif(name: str, spec: NeuronSpec, tau: Array, r: Array, shape: Shape | None, dtype: Any) -> nir.LIF:
    """An LIF that rests at 0 and resets to 0."""
    threshold = full(name, "threshold", spec.values["threshold"], shape, dtype)
    zero = np.zeros_like(threshold)
    return nir.LIF(
        tau=full(name, "tau", tau, shape, dtype), r=full(name, "r", r, shape, dtype), v_leak=zero.copy(),
        v_threshold=threshold, v_reset=zero,
    )  # fmt: skip


class Leaky(Family):
    r""":math:`U' = \beta U + I - R\theta`, for "zero" :math:`\beta (1 - R) U + I`."""

    simulated = True
    assumed = True
    nodes = (nir.LIF, nir.IF)
    reads: ClassVar[tuple[type, ...]] = (nir.LIF, nir.IF)
    joined = "RLeaky"
    alike: ClassVar[tuple[tuple[bool, str], ...]] = ((True, "zero"), (False, "zero"))

    def node(self, name: str, spec: NeuronSpec, shape: Shape | None, dt: float) -> nir.NIRNode | None:
        """LIF or IF; ``None`` where some decays are 1 and others not, which no single node holds."""
        beta = decay(spec, "beta")
        tau = tau_from_decay(beta, dt)
        if (beta == 1.0).all():
            threshold = full(name, "threshold", spec.values["threshold"], shape, dtype_of(spec))
            return nir.IF(r=np.ones_like(threshold), v_threshold=threshold, v_reset=np.zeros_like(threshold))
        if (beta == 1.0).any():
            return None
        return lif(name, spec, tau, 1.0 / (1.0 - beta), shape, dtype_of(spec, tau))

    def read(self, name: str, node: Any, dt: float, reading: Reading) -> Read:
        r""":math:`\beta = 1 - dt/\tau`; an IF has no leak."""
        node = as_plain(node, reading)
        threshold = tidy(node.v_threshold)
        if isinstance(node, nir.IF):
            beta, factor = np.ones((), threshold.dtype), np.asarray(node.r, np.float64)
        else:
            beta, factor = decay_of(name, "tau", node.tau, dt), gain(node.r, node.tau, dt)
        values = {"beta": beta, "threshold": threshold}
        return NeuronSpec(self.kind, values, options=reset_of(reading)), unless_one(factor)

    def entries(self, layer: Layer, variables: Mapping[str, Any]) -> list[Entry]:
        """``beta`` and what every neuron has."""
        return state_dict.common(layer, variables, "beta")

    def norse(self, name: str, spec: NeuronSpec, dt: float) -> Parts:
        """LIFBoxCell, or IAFCell without a leak."""
        check_discharge(name, spec)
        if (decay(spec, "beta") == 1).all():
            p = {"v_th": np.asarray(spec.values["threshold"], np.float64)}
            return Parts("IF", p, {"late_reset": spec.reset_delay}, learn=learned(spec))
        return Parts("LIF", *leak(name, spec, dt), learn=learned(spec))

    def charge(
        self, rule: Referee, before: dict[str, Array], x: Array, feedback: Array | None, due: Array
    ) -> dict[str, Array]:
        """A "zero" reset acts before the membrane decays."""
        mechanism, mem = rule.spec.reset_mechanism, before["mem"]
        kept = (1 - due) * mem if mechanism == "zero" else mem
        charged = kept * rule.values["beta"] + x
        return {"mem": rule.discharge(charged, due) if mechanism == "subtract" else charged}


class RLeaky(Leaky):
    r""":math:`U' = \beta U + I + F`, discharged."""

    reads: ClassVar[tuple[type, ...]] = ()
    joined = ""
    is_joined = True
    assumed = False
    alike: ClassVar[tuple[tuple[bool, str], ...]] = ((False, "zero"),)

    def entries(self, layer: Layer, variables: Mapping[str, Any]) -> list[Entry]:
        """Those of Leaky, and its recurrent weights."""
        return [*state_dict.common(layer, variables, "beta"), *state_dict.recurrence(layer, variables)]

    def norse(self, name: str, spec: NeuronSpec, dt: float) -> Parts:
        """LIFCell with a synaptic current that is gone after one step."""
        return current_cell(name, spec, dt, np.zeros(()))

    def charge(
        self, rule: Referee, before: dict[str, Array], x: Array, feedback: Array | None, due: Array
    ) -> dict[str, Array]:
        """Every reset acts on the charged membrane."""
        fed = np.zeros_like(x) if feedback is None else feedback
        return {"mem": rule.discharge(before["mem"] * rule.values["beta"] + x + fed, due)}


def current_cell(name: str, spec: NeuronSpec, dt: float, alpha: Array) -> Parts:
    """Norse's LIFCell, whose current decays by ``alpha``."""
    check_discharge(name, spec)
    if spec.reset_delay:
        raise refuse_late(name, spec, "Train with reset_delay=False.")
    p, factor = leak(name, spec, dt)
    if (alpha == 1).any():
        raise ConversionError(name, "an alpha of 1: a current that never decays", "Use an alpha below 1.")
    p["tau_syn_inv"] = (1 - alpha) / dt
    factor.update(current="new", apart=spec.kind if spec.recurrent else "")
    return Parts("CubaLIF", p, factor, learn=learned(spec))


FAMILIES = (
    Leaky(neurons.Leaky, ("beta", "threshold", "graded_spikes_factor")),
    RLeaky(neurons.RLeaky, ("beta", "threshold")),
)
