"""NIR's neurons: a node's parameters, the choices that it is read with, and its state."""

from __future__ import annotations

import dataclasses
from collections.abc import Callable
from typing import Any, Protocol

import nir
import numpy as np

from snnax.errors import ArgumentError, ConversionError, ShapeError
from snnax.interop.families.nodes import spec_from_node
from snnax.interop.families.reading import TIMES
from snnax.interop.families.registry import find, kinds
from snnax.interop.nir import metadata
from snnax.interop.nir.readings import NEUTRAL, Reading
from snnax.interop.simulator.equations import Array, Firing, Synapse, relax
from snnax.interop.spec import NeuronSpec

NIR_NEURONS = (nir.LIF, nir.CubaLIF, nir.LI, nir.CubaLI, nir.IF, nir.I)


class Unit(Protocol):
    """A node with a state.

    Attributes:
        kind: name of its class.
        spiking: whether it emits spikes.
        output: whether a network that ends with it returns its states too.
        states: each state ``[B, ...]`` after the last step; empty before the first.
    """

    kind: str
    spiking: bool
    output: bool
    states: dict[str, Array]

    def step(self, x: Array, feedback: Array | None = None) -> Array:
        """What it emits in answer to ``x`` ``[B, ...]`` and its own weighted spikes of the step before."""
        ...


def nir_choices(reading: Reading, dt: float) -> dict[str, Any]:
    """A reading by the names of the arguments of snnax's neurons, which are those in our metadata."""
    return {
        "dt": dt,
        "discretization": reading.discretization,
        "reset_mechanism": reading.reset,
        "threshold_test": reading.threshold,
        "reset_delay": reading.reset_delay,
        "reset_at": reading.reset_at,
        "w_in_scaling": reading.w_in,
        "membrane_current": reading.membrane_current,
        "integrator": reading.integrator,
        "overshoot": reading.overshoot,
    }


def nir_values(name: str, node: nir.NIRNode, reading: Reading) -> dict[str, Array]:
    """The parameters of a neuron, in seconds, with those that the reading ignores at 1 or 0.

    Raises:
        ConversionError: for a time constant that is not positive.
        ArgumentError: if the reading ignores a parameter that no neuron goes without.
    """
    kind, values = type(node).__name__, {}
    for field in dataclasses.fields(node):
        if field.name in ("metadata", "input_type", "output_type"):
            continue
        value = np.asarray(getattr(node, field.name), np.float64)
        if f"{kind}.{field.name}" in reading.ignore:
            if field.name not in NEUTRAL:
                raise ArgumentError(
                    f"ignore={f'{kind}.{field.name}'!r}: no {kind} goes without it; expected one of {list(NEUTRAL)}."
                )
            value = np.full_like(value, NEUTRAL[field.name])
        values[field.name] = value * reading.seconds if field.name in TIMES else value
        if field.name in TIMES and not (value > 0).all():
            raise ConversionError(
                name, f"{field.name} is not positive", "Time constants are seconds greater than 0."
            )
    return values


class NIRNeuron:
    """One layer of NIR's neurons.

    Args:
        name: of the node, for errors.
        kind: class of NIR.
        values: parameters by NIR's names, each a number or an array that broadcasts from the right to a sample.
        choices: see :func:`nir_choices`.

    Raises:
        ConversionError: for a time constant shorter than an Euler step.
        ArgumentError: for choices that exclude each other.
    """

    def __init__(self, name: str, kind: str, values: dict[str, Array], choices: dict[str, Any]) -> None:
        self.name, self.kind, self.values = name, kind, values
        self.spiking, self.output = "v_threshold" in values, bool(choices.get("output", False))
        self.states: dict[str, Array] = {}
        self.dt, self.discretization = float(choices["dt"]), choices["discretization"]
        self.gain = values["r"] * (self.dt if choices["integrator"] == "ode" else 1.0)
        known = ("start", "cuba_start") if "tau_syn" in values else ("start",)
        self.at_start = choices["reset_at"] in known
        self._check_times()
        self.synapse = self._synapse(choices) if "tau_syn" in values else None
        self.firing = self._firing(choices) if self.spiking else None

    @classmethod
    def from_spec(cls, name: str, spec: NeuronSpec, dt: float) -> NIRNeuron:
        """The neuron that our metadata describes; its ``r`` of IF and I is per second."""
        given = {**nir_choices(Reading(), dt), **spec.sizes, "integrator": "ode", "output": spec.output}
        if "reset_mechanism" in spec.options:
            given["reset_mechanism"] = spec.options["reset_mechanism"]
        values = {key: np.asarray(value, np.float64) for key, value in spec.values.items()}
        return cls(name, spec.kind, values, given)

    def step(self, x: Array, feedback: Array | None = None) -> Array:
        """Spikes as 0 and 1; of neurons that do not fire the membrane."""
        x = x if feedback is None else x + feedback
        if not self.states:
            self._start(x)
        mem, charge = self.states["mem"], self._charge(x)
        if self.firing is None:
            self.states["mem"] = charge(mem)
            return self.states["mem"]
        firing = self.firing if feedback is None else dataclasses.replace(self.firing, at_start=self.at_start)
        self.states["mem"], spikes = firing.step(mem, charge)
        return spikes.astype(np.float64)

    def pending(self, like: Array) -> Array:
        """The spikes of the step to come, of the shape of ``like``, if they follow from the membrane before it."""
        if self.firing is None or not self.firing.before:
            raise ConversionError(
                self.name, "its spikes are to go round a cycle in the step that fires them, but they follow from that "
                "step's input", "Read it with threshold='before', or with feedback='next_step'.",
            )  # fmt: skip
        mem = self.states.get("mem", np.zeros(like.shape))
        return np.asarray(mem > self.firing.threshold, np.float64) * np.ones(like.shape)

    def _charge(self, x: Array) -> Callable[[Array], Array]:
        """The function that takes the membrane over the step."""
        if self.synapse is not None:
            self.states["syn"], charge = self.synapse.step(self.states["syn"], x)
            return charge
        if "tau" not in self.values:
            return lambda v: v + self.gain * x
        tau, r, v_leak = (self.values[key] for key in ("tau", "r", "v_leak"))
        return lambda v: relax(v, v_leak, r * x, tau, self.dt, self.discretization)

    def _start(self, x: Array) -> None:
        """Every state is 0 before the first step."""
        for key, value in self.values.items():
            fits = value.ndim < x.ndim and all(
                n in (1, m) for n, m in zip(value.shape[::-1], x.shape[:0:-1], strict=False)
            )
            if not fits:
                raise ShapeError(
                    f"{self.name!r} has {key} of shape {value.shape}, what feeds it has shape {x.shape[1:]}."
                )
        self.states = {key: np.zeros(x.shape) for key in (("syn", "mem") if self.synapse else ("mem",))}

    def _check_times(self) -> None:
        for key in TIMES:
            if key in self.values and self.discretization == "euler":
                shortest = self.values[key].min(initial=np.inf)
                if shortest < self.dt * (1 - 1e-6):
                    raise ConversionError(
                        self.name, f"{key} = {shortest:.3g} s is shorter than the time step dt = {self.dt:.3g} s",
                        "Pass the time step that the graph was made for, as dt=1e-5; or discretization='exact'; or "
                        "time_unit='ms', if that is what the file means.",
                    )  # fmt: skip

    def _synapse(self, choices: dict[str, Any]) -> Synapse:
        current = choices["membrane_current"]
        if current is None:
            current = "continuous" if self.discretization == "exact" else "new"
        if current == "continuous" and self.discretization != "exact":
            raise ArgumentError(
                f"membrane_current='continuous' with discretization={self.discretization!r}; it is part of the "
                "exact solution: pass discretization='exact'."
            )
        given = {key: self.values[key] for key in ("tau_syn", "tau_mem", "r", "v_leak", "w_in")}
        return Synapse(**given, dt=self.dt, discretization=self.discretization,
                       scaling=choices["w_in_scaling"], current=current)  # fmt: skip

    def _firing(self, choices: dict[str, Any]) -> Firing:
        before = choices["threshold_test"] == "before"
        if before and choices["reset_delay"]:
            raise ArgumentError("threshold='before' with reset_delay=True; 'before' delays the spike itself.")
        theirs = choices["overshoot"] == "snntorch"
        return Firing(
            threshold=self.values["v_threshold"],
            v_reset=self.values["v_reset"],
            reset=choices["reset_mechanism"],
            before=before,
            delayed=choices["reset_delay"],
            at_start=self.at_start or (theirs and "tau_syn" not in self.values),
            overshoot=theirs,
        )


# --- Neurons that our metadata describes and NIR cannot: snnTorch's, by their families' equations, in float64 ---


def described(name: str, node: nir.NIRNode, dt: float) -> NIRNeuron | DescribedNeuron | None:
    """The neuron that a node's metadata describes, or ``None`` for nodes of other writers.

    A number in the metadata counts while it agrees with the node's own parameter; else the node's counts.

    Args:
        name: of the node.
        node: the node.
        dt: time step of the graph; the metadata's own comes first.

    Raises:
        ConversionError: for a layer with weights of its own, and for parameters that were edited to what the
            described neuron cannot be.
    """
    known = metadata.read_spec(node, name)
    if known is None:
        return None
    family = find(known.kind)
    if family is None or not (family.native or family.simulated):
        raise ConversionError(
            name,
            f"the reference simulator has no {known.kind}",
            f"It computes NIR's nodes and {', '.join(kinds(simulated=True))}.",
        )
    dt = float(metadata.read(node, name).get("dt", dt))
    spec, _ = spec_from_node(name, node, dt)
    return NIRNeuron.from_spec(name, spec, dt) if family.native else DescribedNeuron(name, spec)


class DescribedNeuron:
    r"""One layer of snnTorch's neurons, whose family has the equation.

    With :math:`R = [U_{t-1} > \theta]`, the reset that is due, a charged membrane is *discharged*:
    :math:`U' - R\theta`, or :math:`U' - R U'` for "zero". Then the states are quantized and
    :math:`S = g\,[U' > \theta]`; without a reset delay :math:`S/g - R` discharges :math:`U'` once more.

    Args:
        name: of the node, for errors.
        spec: the neuron.
    """

    spiking = True

    def __init__(self, name: str, spec: NeuronSpec) -> None:
        self.name, self.spec, self.kind = name, spec, spec.kind
        self.states: dict[str, Array] = {}
        self.values = {key: np.asarray(value, np.float64) for key, value in spec.values.items()}
        for key in ("alpha", "beta"):
            if key in self.values:
                self.values[key] = np.clip(self.values[key], 0.0, 1.0)
        self.threshold = self.values["threshold"]
        self.output = bool(spec.output)

    def step(self, x: Array, feedback: Array | None = None) -> Array:
        """Spikes, 0 and 1 or graded."""
        before = self.states or {key: np.zeros(x.shape) for key in self.spec.states}
        due = (before["mem"] > self.threshold).astype(np.float64)
        self.states = self.spec.family.charge(self, before, x, feedback, due)
        return self._fire(self.states["mem"], due)

    def discharge(self, mem: Array, amount: Array) -> Array:
        """The membrane after ``amount`` resets."""
        if self.spec.reset_mechanism == "subtract":
            return mem - amount * self.threshold
        return mem - amount * mem if self.spec.reset_mechanism == "zero" else mem

    def _fire(self, mem: Array, due: Array) -> Array:
        mem = self.quantize(mem)
        fired = (mem > self.threshold).astype(np.float64)
        graded = self.values.get("graded_spikes_factor", np.ones(()))
        if self.spec.inhibition:
            fired = fired * self._winner(mem)
            emitted, counted = fired, fired / graded
        else:
            emitted, counted = fired * graded, fired
        self.states["mem"] = mem if self.spec.reset_delay else self.discharge(mem, counted - due)
        return emitted

    def _winner(self, mem: Array) -> Array:
        """1 for the neuron of each sample that is furthest above threshold, the first one of equals."""
        if mem.ndim != 2:
            raise ShapeError(
                f"{self.name!r} has inhibition and a membrane of shape {mem.shape}; expected [B, N]."
            )
        best = np.argmax(mem - self.threshold, axis=1)
        return (np.arange(mem.shape[1]) == best[:, None]).astype(np.float64)

    def quantize(self, state: Array) -> Array:
        """The nearest level; of two equally near ones the first."""
        if self.spec.quantizer is None:
            return state
        levels = np.asarray(self.spec.quantizer, np.float64)
        return levels[np.argmin(np.abs(state[..., None] - levels), axis=-1)]
