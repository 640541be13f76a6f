"""NIR's neurons: a node's parameters, the choices that it is read with, and its state."""

from __future__ import annotations

import dataclasses
from collections.abc import Callable
from typing import Any, Protocol

import nir
import numpy as np

from snnax.errors import ArgumentError, ConversionError, ShapeError
from snnax.interop.nir.readings import Reading
from snnax.interop.nodes import metadata
from snnax.interop.simulator.equations import Array, Firing, Synapse, relax
from snnax.interop.spec import NATIVE, STATES, NeuronSpec

NIR_NEURONS = (nir.LIF, nir.CubaLIF, nir.LI, nir.CubaLI, nir.IF, nir.I)
_TIMES = ("tau", "tau_syn", "tau_mem")
_NEUTRAL = {"r": 1.0, "w_in": 1.0, "v_leak": 0.0, "v_reset": 0.0}


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
            if field.name not in _NEUTRAL:
                raise ArgumentError(
                    f"ignore={f'{kind}.{field.name}'!r}: no {kind} goes without it; expected one of {list(_NEUTRAL)}."
                )
            value = np.full_like(value, _NEUTRAL[field.name])
        values[field.name] = value * reading.seconds if field.name in _TIMES else value
        if field.name in _TIMES and not (value > 0).all():
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
        for key in _TIMES:
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


# --- Neurons that our metadata describes and NIR cannot: snnTorch's, by its equations, in float64 -

KINDS = ("Leaky", "RLeaky", "Synaptic", "RSynaptic", "Lapicque", "Alpha")


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
    spec = metadata.read_spec(node, name)
    if spec is None:
        return None
    dt = float(metadata.read(node, name).get("dt", dt))
    if spec.kind in NATIVE:
        return NIRNeuron.from_spec(name, spec.with_values(**_edited_native(spec, node, dt)), dt)
    if spec.kind not in KINDS:
        raise ConversionError(
            name,
            f"the reference simulator has no {spec.kind}",
            f"It computes NIR's nodes and {', '.join(KINDS)}.",
        )
    if isinstance(node, nir.LIF | nir.CubaLIF | nir.IF):
        spec = spec.with_values(**_edited(name, spec, node, dt))
    return DescribedNeuron(name, spec)


def _edited_native(spec: NeuronSpec, node: Any, dt: float) -> dict[str, Array]:
    """Parameters of a node that are no longer those of its metadata."""
    found = {}
    for key in NATIVE[spec.kind]:
        now = np.asarray(getattr(node, key), np.float64)
        if key == "r" and spec.kind in ("IF", "I"):  # per second in the metadata, per step in the node
            now = now / spec.sizes.get("dt", dt)
        if not _near(now, spec.values[key]):
            found[key] = now
    return found


def _edited(name: str, spec: NeuronSpec, node: Any, dt: float) -> dict[str, Array]:
    r"""Decays and thresholds of a node that are no longer those of its metadata: :math:`\beta = 1 - dt/\tau`."""
    found = {}
    pairs = {"tau": "beta", "tau_mem": "beta", "tau_syn": "alpha"}
    _refuse_edited(name, spec, node)
    if spec.kind == "Lapicque":
        found = _edited_circuit(name, spec, node, dt)
        pairs = {}
    for tau, decay in pairs.items():
        if hasattr(node, tau):
            now = np.asarray(getattr(node, tau), np.float64)
            with np.errstate(divide="ignore"):
                expected = dt / (1.0 - np.clip(np.asarray(spec.values[decay], np.float64), 0, 1))
            if not _near(now, expected):
                found[decay] = np.clip(1.0 - dt / now, 0, 1)
            factor = node.r if decay == "beta" else node.w_in
            if not np.allclose(factor, now / dt, rtol=1e-5, atol=0):
                raise ConversionError(
                    name, f"{tau} and its gain were edited so that the input is scaled, which its metadata contradicts",
                    "Remove the key 'snnax' from the node's metadata to read it by NIR's own semantics.",
                )  # fmt: skip
    if not _near(node.v_threshold, spec.values["threshold"]):
        found["threshold"] = np.asarray(node.v_threshold, np.float64)
    return found


def _near(now: Any, written: Any) -> bool:
    """What was written, but for rounding to single precision."""
    return bool(np.allclose(np.asarray(now, np.float64), np.asarray(written, np.float64), rtol=3e-7, atol=0))


def _refuse_edited(name: str, spec: NeuronSpec, node: Any) -> None:
    """What a node may not say beside metadata that says it is one of snnTorch's neurons."""
    edited = [what for what in ("v_leak", "v_reset") if np.any(np.asarray(getattr(node, what, 0.0)) != 0)]
    if isinstance(node, nir.IF) and not np.allclose(node.r, 1.0, rtol=1e-5, atol=0):
        edited.append("r")
    if edited:
        raise ConversionError(
            name, f"{edited[0]} was edited to what a {spec.kind} has not, which its metadata contradicts",
            "Remove the key 'snnax' from the node's metadata to read it by NIR's own semantics.",
        )  # fmt: skip


def _edited_circuit(name: str, spec: NeuronSpec, node: Any, dt: float) -> dict[str, Array]:
    r"""R and C of an edited node: :math:`r = R`, :math:`\tau = R C\,dt / \Delta t`."""
    if not isinstance(node, nir.LIF):
        raise ConversionError(
            name, f"its metadata says that this {type(node).__name__} is a Lapicque, which is an LIF",
            "Remove the key 'snnax' from the node's metadata to read it by NIR's own semantics.",
        )  # fmt: skip
    found: dict[str, Array] = {}
    resistance, capacity, step = (np.asarray(spec.values[k], np.float64) for k in ("R", "C", "time_step"))
    if not _near(node.r, resistance):
        found["R"] = resistance = np.asarray(node.r, np.float64)
    if not _near(node.tau, resistance * capacity * dt / step):
        found["C"] = np.asarray(node.tau, np.float64) * step / (dt * resistance)
    return found


class DescribedNeuron:
    r"""One layer of snnTorch's neurons.

    With :math:`R = [U_{t-1} > \theta]`, the reset that is due, the membrane before it fires is:

    ==========  =======================================================================================
    Leaky       :math:`U' = \beta U + I - R\theta`, for "zero" :math:`\beta (1 - R) U + I`
    RLeaky      :math:`U' = \beta U + I + F`, discharged
    Synaptic    :math:`I_s' = \alpha I_s + I + F`, :math:`U' = \beta U + I_s'`, discharged
    Lapicque    :math:`U' = \frac{\Delta t}{C} I + (1 - \frac{\Delta t}{RC})\, U`, discharged
    Alpha       :math:`E' = \alpha E + I`, :math:`H' = \beta H - I`, :math:`U' = \tau (E' + H')`
    ==========  =======================================================================================

    *Discharged* is :math:`U' - R\theta`, or :math:`U' - R U'` for "zero". Then the states are quantized and
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
        if not self.states:
            self.states = {key: np.zeros(x.shape) for key in STATES[self.kind]}
        before = dict(self.states)
        due = (before["mem"] > self.threshold).astype(np.float64)
        charged = self._charge(before, x, feedback, due)
        return self._fire(charged, due)

    def _charge(self, before: dict[str, Array], x: Array, feedback: Array | None, due: Array) -> Array:
        """The membrane after its input and the reset that was due; currents go to the states."""
        mem, values = before["mem"], self.values
        if self.kind == "Alpha":
            return self._charge_alpha(before, x, due)
        if self.kind == "Lapicque":
            product = values["R"] * values["C"]
            drive = x * values["R"] * (1 / product) * values["time_step"]
            return self._discharge(drive + mem * (1 - values["time_step"] / product), due)
        if self.kind == "Leaky":
            kept = (1 - due) * mem if self.spec.reset_mechanism == "zero" else mem
            charged = kept * values["beta"] + x
            return self._discharge(charged, due) if self.spec.reset_mechanism == "subtract" else charged
        if self.kind == "RLeaky":
            fed = np.zeros_like(x) if feedback is None else feedback
            return self._discharge(mem * values["beta"] + x + fed, due)
        syn = before["syn"] * values["alpha"] + x
        syn = syn if feedback is None else syn + feedback
        self.states["syn"] = self._quantize(syn)
        return self._discharge(mem * values["beta"] + syn, due)

    def _charge_alpha(self, before: dict[str, Array], x: Array, due: Array) -> Array:
        alpha, beta = self.values["alpha"], self.values["beta"]
        with np.errstate(divide="ignore", invalid="ignore"):
            scale = np.log(alpha) / (np.log(beta) - np.log(alpha)) + 1
        exc, inh = before["syn_exc"] * alpha + x, before["syn_inh"] * beta - x
        mem = (exc + inh) * scale
        subtract = self.spec.reset_mechanism == "subtract"
        mem = mem + before["syn_inh"] * due if subtract else self._discharge(mem, due)
        inh = inh if self.spec.reset_mechanism == "none" else inh - inh * due
        self.states["syn_exc"] = self._quantize(self._discharge(exc, due))
        self.states["syn_inh"] = self._quantize(inh)
        return mem

    def _discharge(self, mem: Array, amount: Array) -> Array:
        if self.spec.reset_mechanism == "subtract":
            return mem - amount * self.threshold
        return mem - amount * mem if self.spec.reset_mechanism == "zero" else mem

    def _fire(self, mem: Array, due: Array) -> Array:
        mem = self._quantize(mem)
        fired = (mem > self.threshold).astype(np.float64)
        graded = self.values.get("graded_spikes_factor", np.ones(()))
        if self.spec.inhibition:
            fired = fired * self._winner(mem)
            emitted, counted = fired, fired / graded
        else:
            emitted, counted = fired * graded, fired
        self.states["mem"] = mem if self.spec.reset_delay else self._discharge(mem, counted - due)
        return emitted

    def _winner(self, mem: Array) -> Array:
        """1 for the neuron of each sample that is furthest above threshold, the first one of equals."""
        if mem.ndim != 2:
            raise ShapeError(
                f"{self.name!r} has inhibition and a membrane of shape {mem.shape}; expected [B, N]."
            )
        best = np.argmax(mem - self.threshold, axis=1)
        return (np.arange(mem.shape[1]) == best[:, None]).astype(np.float64)

    def _quantize(self, state: Array) -> Array:
        """The nearest level; of two equally near ones the first."""
        if self.spec.quantizer is None:
            return state
        levels = np.asarray(self.spec.quantizer, np.float64)
        return levels[np.argmin(np.abs(state[..., None] - levels), axis=-1)]
