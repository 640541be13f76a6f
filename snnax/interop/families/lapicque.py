r"""Lapicque: NIR's LIF with :math:`\tau = R C\,dt/\Delta t` and :math:`r = R`."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import replace
from typing import Any

import nir
import numpy as np

from snnax import neurons
from snnax.dynamics.lapicque import complement
from snnax.errors import ConversionError
from snnax.interop.families import state_dict
from snnax.interop.families.arrays import has_doubles, near, tidy, wide
from snnax.interop.families.family import (
    CONTRADICTED,
    PLAINLY,
    Array,
    Family,
    Referee,
    Shape,
    Variables,
    variable,
)
from snnax.interop.families.leaky import lif
from snnax.interop.families.norse_cells import Parts, check_discharge, refuse_late
from snnax.interop.layers.entries import Entry, Given, Layer, find, number
from snnax.interop.spec import NeuronSpec


class Lapicque(Family):
    r""":math:`U' = \frac{\Delta t}{C} I + (1 - \frac{\Delta t}{RC})\, U`, discharged."""

    simulated = True
    nodes = (nir.LIF,)

    def told(self, values: Mapping[str, Array]) -> dict[str, Array]:
        """The decay and the gain that the circuit and its time step make."""
        wide = {name: np.asarray(value, np.float64) for name, value in values.items()}
        R, C, dt = (wide.pop(name) for name in ("R", "C", "time_step"))
        return {"1 - dt/(RC)": 1 - dt / (R * C), "dt/C": dt / C, **wide}

    def node(self, name: str, spec: NeuronSpec, shape: Shape | None, dt: float) -> nir.NIRNode | None:
        """LIF; ``None`` for a circuit whose time constant is none."""
        resistance, capacity, step = (wide(spec, key) for key in ("R", "C", "time_step"))
        tau = resistance * capacity * dt / step
        if not np.isfinite(tau).all() or (tau <= 0).any():
            return None
        return lif(name, spec, tau, resistance, shape, np.float64 if has_doubles(spec) else np.float32)

    def _edited(
        self, name: str, spec: NeuronSpec, node: Any, dt: float, found: NeuronSpec, factor: Array | None
    ) -> NeuronSpec:
        """``R = r``, ``C = tau*time_step/(R*dt)``."""
        resistance, capacity, step = (wide(spec, key) for key in ("R", "C", "time_step"))
        values = {"threshold": found.values["threshold"]}
        if not near(node.r, resistance):
            resistance = np.asarray(node.r, np.float64)
            values["R"] = tidy(resistance)
        if not near(node.tau, resistance * capacity * dt / step):
            with np.errstate(divide="ignore", invalid="ignore"):
                values["C"] = tidy(np.asarray(node.tau, np.float64) * step / (resistance * dt))
            if not np.isfinite(values["C"]).all():
                raise ConversionError(name, f"r was edited to 0, {CONTRADICTED}", PLAINLY)
        return spec.with_values(**values)

    def module_values(self, name: str, module: Any, variables: Variables) -> dict[str, Array]:
        """R and C, whether given or following from beta."""
        if module.learn_beta:
            raise ConversionError(
                name, "it learns beta, from which its R or C follows; snnTorch's learn_beta trains nothing",
                "Build it from the learned value: Lapicque(beta=<value>).",
            )  # fmt: skip

        def of(key: str) -> Any:
            stored = variable(variables, (key,))
            return getattr(module, key) if stored is None else stored

        step = np.asarray(of("time_step"))
        values = {key: np.asarray(of(key)) for key in ("R", "C") if of(key) is not False}
        if len(values) < 2:
            beta = np.asarray(of("beta"), np.float32)
            if not values:
                values["R"] = np.ones((), np.float32)
            missing, other = ("C", "R") if "R" in values else ("R", "C")
            values[missing] = np.asarray(
                complement(beta, values[other].astype(np.float32), step.astype(np.float32))
            )
        return values

    def entries(self, layer: Layer, variables: Mapping[str, Any]) -> list[Entry]:
        """R and C are what snnTorch computes with; beta is then only kept, as there."""
        module = layer.module
        found = state_dict.common(layer, variables)
        step = number(layer, variables, "time_step")
        known = {
            name: number(layer, variables, name)
            for name in ("beta", "R", "C")
            if getattr(module, name) is not False or find(variables, ("buffers", name)) is not None
        }
        if "beta" not in known:
            decay = np.exp(-step.value / (known["R"].value * known["C"].value)).astype(np.float32)
            known["beta"] = number(layer, variables, "beta", field=decay.reshape(decay.shape or (1,)))
        beta = known["beta"].value.astype(np.float32)
        if not {"R", "C"} & {*known}:
            known["R"] = number(layer, variables, "R", field=1.0)
        missing, other = ("C", "R") if "R" in known else ("R", "C")
        derived = {*(n for n in ("R", "C") if getattr(module, n) is False)}
        if missing not in known:
            follows = np.asarray(complement(beta, known[other].value, step.value), np.float32)
            known[missing] = number(layer, variables, missing, field=follows)
        for name in derived:
            known[name] = _derived(known[name], module.learn_beta, derived)
        return [*found, step, *known.values()]

    def torch_options(self, name: str, module: Any, options: dict[str, Any]) -> dict[str, Any]:
        """All of them; a learned beta, which snnTorch does not train, is refused."""
        if "beta" in module._parameters:
            raise ConversionError(
                name, "learn_beta=True, which in snnTorch 1.0.0 trains nothing: R and C stay what they were",
                "Build it with learn_beta=False.",
            )  # fmt: skip
        return options

    def norse(self, name: str, spec: NeuronSpec, dt: float) -> Parts:
        """None: a reset that comes with the next step takes that step's input with it."""
        check_discharge(name, spec)
        raise refuse_late(name, spec, "Use snnax.LIF(tau=R*C, r=R, dt=time_step), whose reset keeps it.")

    def charge(
        self, rule: Referee, before: dict[str, Array], x: Array, feedback: Array | None, due: Array
    ) -> dict[str, Array]:
        """In snnTorch's order of operations."""
        values = rule.values
        product = values["R"] * values["C"]
        drive = x * values["R"] * (1 / product) * values["time_step"]
        return {"mem": rule.discharge(drive + before["mem"] * (1 - values["time_step"] / product), due)}


def _derived(entry: Entry, learned: bool, derived: set[str]) -> Entry:
    """An R or C that follows from beta: stored, so that the very bits are kept, unless beta is learned."""
    if not learned:
        return replace(entry, setting=False)

    def check(new: Array, given: Given) -> str | None:
        beta, other = given.get("beta"), given.get("R" if entry.key == "C" else "C")
        if beta is None or other is None or (entry.key == "R" and derived == {"R", "C"}):
            return None
        expected = given.get("time_step", np.ones(())) / (other * np.log(1 / beta))
        if np.allclose(new, expected, rtol=1e-5):
            return None
        return "does not follow from beta, which is learned here; snnTorch computes with R and C: build with both"

    return replace(entry, path=None, check=check)


FAMILIES = (Lapicque(neurons.Lapicque, ("R", "C", "time_step", "threshold")),)
