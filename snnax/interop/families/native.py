"""NIR's own neurons: snnax's ``LIF``, ``CubaLIF``, ``LI``, ``CubaLI``, ``IF`` and ``I``.

A node's parameters are those of the module; what NIR leaves open are the module's options, which travel in the
metadata. IF and I add ``r`` in each step, as every framework reads them, while the modules add ``r*dt`` as the
equation says: the node's ``r`` is the module's times ``dt``, unless the reading says ``integrator="ode"``.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass, field, replace
from typing import Any

import nir
import numpy as np

from snnax import neurons
from snnax.errors import ConversionError
from snnax.interop.conventions import file_dtype, fitting, for_each
from snnax.interop.families.arrays import has_doubles, near, tidy, wide
from snnax.interop.families.family import Array, Family, Firing, Read, Shape
from snnax.interop.families.norse_cells import EXACT, Parts, learned
from snnax.interop.families.reading import TIMES
from snnax.interop.nir.readings import NEUTRAL, Reading
from snnax.interop.numbers import WRITTEN, narrow
from snnax.interop.spec import NeuronSpec


@dataclass(frozen=True, eq=False)
class Native(Family):
    """One of NIR's neurons.

    Attributes:
        cuba_start: where in a step a reading's ``reset_at="cuba_start"`` has its reset.
        norse_cell: the neuron in Norse's terms; ``None``: Norse has no such cell.
        norse_names: Norse's names of what it calls otherwise.
        norse_rest: the potential from which Norse starts.
    """

    cuba_start: str = "end"
    norse_cell: Callable[[str, NeuronSpec], Parts] | None = None
    norse_names: Mapping[str, str] = field(default_factory=dict)
    norse_rest: str = "v_leak"

    native = True

    @property
    def node_class(self) -> type:
        """NIR's class, of the same name."""
        found: type = getattr(nir, self.kind)
        return found

    @property
    def sums(self) -> bool:
        """No leak: ``r`` is per step in a node, and per second in the module."""
        return not {*TIMES} & {*self.values}

    @property
    def fires(self) -> bool:
        """Compared with a threshold, and reset."""
        return "v_threshold" in self.values

    @property
    def has_current(self) -> bool:
        """A synaptic current comes before the membrane."""
        return "tau_syn" in self.values

    def meant(self, sizes: dict[str, Any]) -> dict[str, Any]:
        """The open choices, with what is meant where one is left out."""
        known = {key: sizes[key] for key in self.choices if key in sizes}
        if self.fires:
            known.setdefault("reset_at", "end")
        if self.has_current and known.get("membrane_current") is None:
            exact = known.get("discretization") == "exact"
            known["membrane_current"] = "continuous" if exact else "new"
        return known

    def firing(
        self, spec: NeuronSpec, before: Mapping[str, Array], after: Mapping[str, Array]
    ) -> Firing | None:
        """The membrane before its reset, which is within the step unless the reading says otherwise."""
        if not self.fires:
            return None
        threshold = spec.values["v_threshold"]
        if spec.sizes.get("threshold_test") == "before":
            return Firing(before["mem"], threshold)
        if spec.sizes.get("reset_delay"):
            return Firing(after["mem"], threshold)
        unreset = replace(spec, sizes={**spec.sizes, "reset_mechanism": "none"}, options={})
        return Firing(after["mem"], threshold, exact=False, unreset=unreset)

    # --- NIR ---------------------------------------------------------------------------------------

    def node(self, name: str, spec: NeuronSpec, shape: Shape | None, dt: float) -> nir.NIRNode:
        """The node, its parameters in the full shape of a sample."""
        given = {}
        for key in self.values:
            value = wide(spec, key)
            if key == "r" and self.sums:
                value = value * spec.sizes["dt"]
            given[key] = value if shape is None else for_each(fitting(name, key, value, shape), shape)
        dtype = file_dtype(*given.values()) if has_doubles(spec) else np.float32
        if dtype == np.float32:
            given = {key: narrow(name, key, full, remedy=WRITTEN) for key, full in given.items()}
        node: nir.NIRNode = self.node_class(**{key: full.copy() for key, full in given.items()})
        return node

    def read(self, name: str, node: Any, dt: float, reading: Reading) -> Read:
        """The neuron of a node under any reading.

        Raises:
            ConversionError: for time constants that are not positive, or shorter than an Euler step.
        """
        values = {}
        for key in self.values:
            given = np.asarray(getattr(node, key))
            value = np.asarray(given, np.float64)
            if f"{self.kind}.{key}" in reading.ignore:
                value = np.full_like(value, NEUTRAL[key])
            derived = (key in TIMES and reading.seconds != 1) or (
                key == "r" and self.sums and reading.integrator == "impulse"
            )
            if key in TIMES:
                value = value * reading.seconds
                _check_time(name, key, value, dt, reading)
            elif derived:
                value = value / dt
            if not derived:  # what is derived stays in double precision until a neuron rounds it
                value = value.astype(given.dtype if np.issubdtype(given.dtype, np.floating) else np.float32)
            values[key] = tidy(value)
        return NeuronSpec(self.kind, values, sizes=self._options(reading, dt)), None

    def _options(self, reading: Reading, dt: float) -> dict[str, Any]:
        # r of IF and I is per second, whatever the reading: no integrator
        said = {
            "dt": dt,
            "discretization": reading.discretization,
            "w_in_scaling": reading.w_in,
            "membrane_current": reading.membrane_current,
            "reset_mechanism": reading.reset,
            "threshold_test": reading.threshold,
            "reset_delay": reading.reset_delay,
            "reset_at": {"cuba_start": self.cuba_start}.get(reading.reset_at, reading.reset_at),
        }
        return {key: said[key] for key in self.choices}

    def edited(
        self, name: str, spec: NeuronSpec, node: Any, dt: float, read: Callable[[], Read]
    ) -> NeuronSpec:
        """Any number of such a node may be another."""
        found = {}
        for key in self.values:
            now = np.asarray(getattr(node, key), np.float64)
            if key == "r" and self.sums:
                now = now / spec.sizes["dt"]
            if not near(now, spec.values[key]):
                found[key] = tidy(now)
        return spec.with_values(**found)

    def norse(self, name: str, spec: NeuronSpec, dt: float) -> Parts:
        """The cell of the same name in NIR."""
        return super().norse(name, spec, dt) if self.norse_cell is None else self.norse_cell(name, spec)


def _check_time(name: str, key: str, tau: Array, dt: float, reading: Reading) -> None:
    if not (tau > 0).all():
        raise ConversionError(name, f"{key} is not positive", "Time constants are seconds greater than 0.")
    if reading.discretization == "euler" and (tau < dt * (1 - 1e-6)).any():
        raise ConversionError(
            name, f"{key} = {tau.min():.3g} s is shorter than the time step dt = {dt:.3g} s",
            f"Pass the time step that the graph was made for, as from_nir(graph, dt={tau.min() / 10:.1g}); or "
            "discretization='exact'; or time_unit='ms', if that is what the file means; or "
            "preset='norse_export', if Norse 1.1.0 wrote it.",
        )  # fmt: skip


# --- Norse's cells ------------------------------------------------------------------------------------


def _membrane(spec: NeuronSpec, key: str = "tau") -> tuple[Array, Array]:
    """1 over the time constant whose Euler step decays as the neuron does, and the gain beside it."""
    tau, dt, r = wide(spec, key), spec.sizes["dt"], wide(spec, "r")
    kind = spec.sizes.get("discretization", "euler")
    if kind == "euler":
        return 1 / tau, r
    rest = -np.expm1(-dt / tau)
    return rest / dt, r if kind == "exact" else r * (dt / tau) / rest


def _check_firing(name: str, spec: NeuronSpec) -> bool:
    """Refuse resets that Norse does not have; True if the reset is said to come with the next step."""
    options = spec.sizes
    late = bool(options.get("reset_delay", False))
    if options.get("threshold_test", "after") != "after":
        raise ConversionError(
            name, "its threshold is tested before the input is integrated; Norse tests it after", EXACT
        )
    if options.get("reset_mechanism", "nir") == "none":
        raise ConversionError(name, "it fires and is never reset; Norse resets what fires", EXACT)
    if late and options.get("reset_at", "end") != "start":
        raise ConversionError(
            name,
            "its reset comes one step late and after the input, which it discards; Norse resets at once",
            EXACT,
        )
    return late


def _lif_box(name: str, spec: NeuronSpec) -> Parts:
    late = _check_firing(name, spec)
    inverse, r = _membrane(spec)
    p = {"tau_mem_inv": inverse, "v_th": wide(spec, "v_threshold"), "v_reset": wide(spec, "v_reset")}
    gain = {"r": r, "bias": wide(spec, "v_leak"), "late_reset": late}
    subtract = spec.sizes.get("reset_mechanism") == "subtract"
    return Parts(spec.kind, p, gain, subtract, learned(spec))


def _li_box(name: str, spec: NeuronSpec) -> Parts:
    inverse, r = _membrane(spec)
    gain = {"r": r, "bias": wide(spec, "v_leak")}
    return Parts(spec.kind, {"tau_mem_inv": inverse}, gain, learn=learned(spec))


def _iaf(name: str, spec: NeuronSpec) -> Parts:
    late = _check_firing(name, spec)
    if spec.sizes.get("reset_mechanism") == "subtract":
        raise ConversionError(name, "it subtracts its threshold; Norse's IAFCell resets to v_reset", EXACT)
    if np.any(wide(spec, "v_reset") != 0):
        raise ConversionError(
            name, "its v_reset is not 0; Norse's IAFCell starts from v_reset, and snnax from 0",
            "Subtract v_reset from the threshold and the reset potential.",
        )  # fmt: skip
    gain = {"r": wide(spec, "r") * spec.sizes["dt"], "late_reset": late}
    gain["r"] = np.where(np.abs(gain["r"] - 1) < 1e-14, 1.0, gain["r"])
    return Parts(spec.kind, {"v_th": wide(spec, "v_threshold")}, gain, learn=learned(spec))


def _current_cell(name: str, spec: NeuronSpec) -> Parts:
    options, dt, tau_syn = spec.sizes, spec.sizes["dt"], wide(spec, "tau_syn")
    kind = options.get("discretization", "euler")
    current = options.get("membrane_current") or ("continuous" if kind == "exact" else "new")
    if current not in ("new", "undecayed"):
        raise ConversionError(
            name, f"membrane_current={current!r}; Norse charges it with the current and the input of the step",
            "Use membrane_current='new' or 'undecayed'.",
        )  # fmt: skip
    if np.any(wide(spec, "v_leak") != 0):
        raise ConversionError(
            name, "its v_leak is not 0; Norse's cells start from v_leak, and snnax from 0",
            "Subtract v_leak from the threshold and the reset potential.",
        )  # fmt: skip
    decay = 1 - dt / tau_syn if kind == "euler" else np.exp(-dt / tau_syn)
    rate = -np.expm1(-dt / tau_syn) if kind == "exact" else dt / tau_syn
    factor = {"ode": rate, "impulse": 1.0, "decayed_impulse": decay}[options.get("w_in_scaling", "ode")]
    inverse, r = _membrane(spec, "tau_mem")
    tau_syn_inv = 1 / tau_syn if kind == "euler" else (1 - decay) / dt
    p = {"tau_syn_inv": tau_syn_inv, "tau_mem_inv": inverse}
    gain: dict[str, Any] = {"r": r, "w_in": wide(spec, "w_in") * factor, "current": current}
    if "v_threshold" in spec.values:
        gain["late_reset"] = _check_firing(name, spec)
        if options.get("reset_mechanism") == "subtract":
            raise ConversionError(
                name,
                "it subtracts its threshold; Norse's LIFCell resets to v_reset",
                "Use LIF, or reset to v_reset.",
            )
        p.update(v_th=wide(spec, "v_threshold"), v_reset=wide(spec, "v_reset"))
    return Parts(spec.kind, p, gain, learn=learned(spec))


_FIRING = {"v_threshold": "v_th", "v_reset": "v_reset"}
_CUBA = {"tau_syn": "tau_syn_inv", "tau_mem": "tau_mem_inv"}
_RESETS = ("reset_mechanism", "threshold_test", "reset_delay", "reset_at")

FAMILIES = (
    Native(
        neurons.LIF,
        ("tau", "r", "v_leak", "v_threshold", "v_reset"),
        choices=("dt", "discretization", *_RESETS),
        norse_cell=_lif_box,
        norse_names={"tau": "tau_mem_inv", **_FIRING},
    ),
    Native(
        neurons.CubaLIF,
        ("tau_syn", "tau_mem", "r", "v_leak", "v_threshold", "v_reset", "w_in"),
        choices=("dt", "discretization", "w_in_scaling", "membrane_current", *_RESETS),
        cuba_start="start",
        norse_cell=_current_cell,
        norse_names={**_CUBA, **_FIRING},
    ),
    Native(
        neurons.LI,
        ("tau", "r", "v_leak"),
        choices=("dt", "discretization"),
        norse_cell=_li_box,
        norse_names={"tau": "tau_mem_inv"},
    ),
    Native(
        neurons.CubaLI,
        ("tau_syn", "tau_mem", "r", "v_leak", "w_in"),
        choices=("dt", "discretization", "w_in_scaling", "membrane_current"),
        norse_cell=_current_cell,
        norse_names=_CUBA,
    ),
    Native(
        neurons.IF,
        ("r", "v_threshold", "v_reset"),
        choices=("dt", *_RESETS),
        norse_cell=_iaf,
        norse_names=_FIRING,
        norse_rest="v_reset",
    ),
    Native(neurons.I, ("r",), choices=("dt",)),
)


def native(kind: str) -> Native:
    """One of NIR's own neurons by its name."""
    return next(family for family in FAMILIES if family.kind == kind)


NATIVE: dict[str, tuple[str, ...]] = {family.kind: family.values for family in FAMILIES}
"""NIR's own neurons and their parameters."""
