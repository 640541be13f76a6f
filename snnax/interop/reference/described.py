"""Neurons that our metadata describes and NIR cannot: snnTorch's, by its equations, in float64."""

from __future__ import annotations

from typing import Any

import nir
import numpy as np

from snnax.errors import ConversionError, ShapeError
from snnax.interop.nodes import metadata
from snnax.interop.nodes.spec import NATIVE, STATES, NeuronSpec
from snnax.interop.reference.equations import Array
from snnax.interop.reference.neurons import NIRNeuron

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
