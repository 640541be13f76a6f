"""Neuron layers as NIR nodes: LIF, CubaLIF and IF with what NIR cannot say in metadata, Alpha as extension.

=========  ==========  =====================================================================
neuron     NIR node    parameters
=========  ==========  =====================================================================
Leaky      LIF         tau = dt/(1-beta), r = 1/(1-beta), v_threshold = threshold
           IF          r = 1, where beta = 1 everywhere
Lapicque   LIF         tau = R*C*dt/time_step, r = R
Synaptic   CubaLIF     tau_syn, tau_mem as above, w_in = 1/(1-alpha), r = 1/(1-beta)
RLeaky     LIF         and a node for the recurrent weights on a loop
RSynaptic  CubaLIF     and a node for the recurrent weights on a loop
Alpha      extension   no linear subgraph of NIR nodes resets as Alpha does
others     extension   see :data:`snnax.interop.spec.SIZES`
=========  ==========  =====================================================================
"""

from __future__ import annotations

import copy
from dataclasses import replace
from typing import Any

import nir
import numpy as np

from snnax.errors import ConversionError
from snnax.interop.conventions import decay_from_tau, file_dtype, fitting, for_each, gain, tau_from_decay
from snnax.interop.nir.extension import Extension
from snnax.interop.nir.readings import Reading
from snnax.interop.nodes import metadata
from snnax.interop.nodes.native import edited_values, has_doubles, native_node, near, spec_of_native, tidy
from snnax.interop.numbers import WRITTEN, narrow
from snnax.interop.spec import NATIVE, SIZES, NeuronSpec

Shape = tuple[int, ...] | None
_DEFAULT = Reading()
CONTRADICTED = "which its metadata contradicts"
PLAINLY = "Remove the key 'snnax' from the node's metadata to read it by NIR's own semantics."


def node_from_spec(
    name: str, spec: NeuronSpec, shape: Shape, dt: float, shape_out: Shape = None
) -> nir.NIRNode:
    """The NIR node of a neuron layer.

    Args:
        name: of the node, for errors.
        spec: the neuron.
        shape: shape of one sample that enters, channels first (``None``: leave scalars).
        dt: time step in seconds.
        shape_out: shape of one sample that leaves, if it is another.

    Raises:
        ConversionError: for parameters that are not numbers, or do not fit the shape.
    """
    for key, value in {**spec.values, **spec.weights}.items():
        if not np.isfinite(value).all():
            raise ConversionError(name, f"{key} is not finite", "Train again or set it to a number.")
    bare = replace(spec, recurrent={})
    if spec.kind in NATIVE:
        return native_node(name, bare, shape, dt)
    if spec.kind == "Alpha" or spec.kind in SIZES:
        return _extension(bare, shape, dt, shape_out)
    write = _cuba_lif if spec.kind in ("Synaptic", "RSynaptic") else _lif
    node = write(name, spec, shape, dt)
    return _extension(bare, shape, dt) if node is None else metadata.write_spec(node, bare, dt)


def _extension(spec: NeuronSpec, shape: Shape, dt: float, shape_out: Shape = None) -> Extension:
    node = Extension(spec.kind, dict(spec.weights), shape_in=shape, shape_out=shape_out or shape)
    return metadata.write_spec(node, spec, dt)


def _full(name: str, what: str, value: np.ndarray, shape: Shape, dtype: Any) -> np.ndarray:
    value = (
        np.asarray(value, np.float64) if dtype == np.float64 else narrow(name, what, value, remedy=WRITTEN)
    )
    return value if shape is None else for_each(fitting(name, what, value, shape), shape)


def _dtype(spec: NeuronSpec, *parameters: np.ndarray) -> Any:
    """Precision of a node with these parameters, beside those of the spec: that of the file they were read from."""
    return file_dtype(*parameters, spec.values["threshold"]) if has_doubles(spec) else np.float32


def _lif(name: str, spec: NeuronSpec, shape: Shape, dt: float) -> nir.NIRNode | None:
    """LIF or IF; ``None`` where some decays are 1 and others not, which no single node holds."""
    if spec.kind == "Lapicque":
        resistance, capacity, step = (np.asarray(spec.values[k], np.float64) for k in ("R", "C", "time_step"))
        tau, r = resistance * capacity * dt / step, resistance
        if not np.isfinite(tau).all() or (tau <= 0).any():
            return None
        dtype = np.float64 if has_doubles(spec) else np.float32
    else:
        beta = np.clip(np.asarray(spec.values["beta"], np.float64), 0.0, 1.0)
        tau = tau_from_decay(beta, dt)
        if (beta == 1.0).all():
            threshold = _full(name, "threshold", spec.values["threshold"], shape, _dtype(spec))
            return nir.IF(r=np.ones_like(threshold), v_threshold=threshold, v_reset=np.zeros_like(threshold))
        if (beta == 1.0).any():
            return None
        r, dtype = 1.0 / (1.0 - beta), _dtype(spec, tau)
    threshold = _full(name, "threshold", spec.values["threshold"], shape, dtype)
    zero = np.zeros_like(threshold)
    return nir.LIF(
        tau=_full(name, "tau", tau, shape, dtype), r=_full(name, "r", r, shape, dtype), v_leak=zero.copy(),
        v_threshold=threshold, v_reset=zero,
    )  # fmt: skip


def _cuba_lif(name: str, spec: NeuronSpec, shape: Shape, dt: float) -> nir.NIRNode | None:
    alpha, beta = (np.clip(np.asarray(spec.values[k], np.float64), 0.0, 1.0) for k in ("alpha", "beta"))
    if (alpha == 1.0).any() or (beta == 1.0).any():
        return None
    tau_syn, tau_mem = tau_from_decay(alpha, dt), tau_from_decay(beta, dt)
    dtype = _dtype(spec, tau_syn, tau_mem)
    threshold = _full(name, "threshold", spec.values["threshold"], shape, dtype)
    return nir.CubaLIF(
        tau_syn=_full(name, "alpha", tau_syn, shape, dtype),
        tau_mem=_full(name, "beta", tau_mem, shape, dtype),
        r=_full(name, "beta", 1.0 / (1.0 - beta), shape, dtype),
        v_leak=np.zeros_like(threshold),
        v_threshold=threshold,
        v_reset=np.zeros_like(threshold),
        w_in=_full(name, "alpha", 1.0 / (1.0 - alpha), shape, dtype),
    )


def spec_from_node(
    name: str, node: nir.NIRNode, dt: float, reading: Reading = _DEFAULT
) -> tuple[NeuronSpec, np.ndarray | None]:
    """The neuron of a NIR node, and the gain on its input where that is not 1.

    With our metadata it is the neuron that was exported. Without, it is what the reading makes of it; where
    that has an equal among snnTorch's neurons (zero leak and reset potential, Euler's step, an immediate reset)
    it is that neuron, with its input scaled by ``r*dt/tau``.

    Args:
        name: of the node, for errors.
        node: the node.
        dt: time step in seconds.
        reading: what NIR leaves open.

    Raises:
        ConversionError: for time constants that are not positive, or shorter than an Euler step.
    """
    known = metadata.read_spec(node, name)
    if isinstance(node, Extension):
        if known is None:
            raise ConversionError(
                name, f"the extension {node.op!r} lacks its neuron's metadata", "Export it again."
            )
        return known, None
    if known is not None and known.kind in NATIVE:
        return known.with_values(**edited_values(known, node)), None
    if known is None and not _has_equal(name, node, reading):
        return spec_of_native(name, node, reading, dt), None
    if known is not None:
        _check_edited(name, known, node)
    spec, factor = _nir_semantics(name, node, dt, reading if known is None else _DEFAULT)
    if known is None:
        return spec, factor
    if _fits(known, node, metadata.read(node)["dt"]):
        return known, None
    if known.kind == "Lapicque":
        return known.with_values(threshold=spec.values["threshold"], **_circuit(name, known, node, dt)), None
    if factor is not None:
        raise ConversionError(
            name, f"tau and r were edited so that the input is scaled, {CONTRADICTED}", PLAINLY
        )
    edited = {k: v for k, v in spec.values.items() if k in known.values}
    return known.with_values(**edited), None


def _check_edited(name: str, known: NeuronSpec, node: Any) -> None:
    """Refuse a node that says what no neuron of snnTorch's has, beside metadata that says it is one."""
    wanted = (nir.CubaLIF,) if known.kind in ("Synaptic", "RSynaptic") else (nir.LIF, nir.IF)
    for what in ("v_leak", "v_reset"):
        if np.any(np.asarray(getattr(node, what, 0.0)) != 0):
            raise ConversionError(name, f"{what} was edited to another value than 0, {CONTRADICTED}", PLAINLY)
    if not isinstance(node, wanted):
        raise ConversionError(
            name, f"the node is a {type(node).__name__}, its metadata of a {known.kind}", PLAINLY
        )


def _circuit(name: str, known: NeuronSpec, node: Any, dt: float) -> dict[str, np.ndarray]:
    """R and C of a Lapicque neuron whose node was edited: ``R = r``, ``C = tau*time_step/(R*dt)``."""
    if isinstance(node, nir.IF):
        raise ConversionError(name, f"the node is an IF, {CONTRADICTED}", PLAINLY)
    resistance, capacity, step = (np.asarray(known.values[k], np.float64) for k in ("R", "C", "time_step"))
    found = {}
    if not near(node.r, resistance):
        resistance = np.asarray(node.r, np.float64)
        found["R"] = tidy(resistance)
    if not near(node.tau, resistance * capacity * dt / step):
        with np.errstate(divide="ignore", invalid="ignore"):
            found["C"] = tidy(np.asarray(node.tau, np.float64) * step / (resistance * dt))
        if not np.isfinite(found["C"]).all():
            raise ConversionError(name, f"r was edited to 0, {CONTRADICTED}", PLAINLY)
    return found


def _fits(spec: NeuronSpec, node: nir.NIRNode, dt: float) -> bool:
    """True while the node's own parameters are those that the spec was exported to."""
    if isinstance(node, nir.IF):
        expected: Any = _lif("", spec, tuple(np.shape(node.r)), dt)
    elif isinstance(node, nir.CubaLIF):
        expected = _cuba_lif("", spec, tuple(np.shape(node.r)), dt)
    else:
        expected = _lif("", spec, tuple(np.shape(node.r)), dt)
    if type(expected) is not type(node):
        return False
    return all(near(getattr(node, what), getattr(expected, what)) for what in NATIVE[type(node).__name__])


def _has_equal(name: str, node: Any, reading: Reading) -> bool:
    """True if one of snnTorch's neurons computes what the node says.

    Those reset a membrane that is above the threshold when a step begins. With a threshold below 0, to which they
    reset, that is each one which has fired: another neuron than NIR's.
    """
    if not isinstance(node, nir.LIF | nir.CubaLIF | nir.IF):
        return False
    kind, plain = type(node).__name__, Reading()
    theirs = reading.overshoot == "snntorch"
    subtract = theirs and reading.reset == "subtract"
    choices = ["discretization", "w_in", "threshold", "reset_delay", "integrator"]
    as_theirs = all(getattr(reading, c) == getattr(plain, c) for c in choices)
    as_theirs = (
        as_theirs and (reading.reset == "nir" or subtract) and reading.membrane_current in (None, "new")
    )
    zero = [w for w in ("v_leak", "v_reset") if f"{kind}.{w}" not in reading.ignore]
    zero = [what for what in zero if what != "v_reset" or not subtract]
    as_theirs = as_theirs and not any(np.any(np.asarray(getattr(node, what, 0.0)) != 0) for what in zero)
    below = bool(np.any(np.asarray(node.v_threshold) < 0))
    if theirs and not as_theirs and (reading.reset == "subtract" or below):
        raise ConversionError(
            name, f"overshoot='snntorch' of a {kind} which none of snnTorch's neurons is: they have no leak or reset "
            "potential, forward Euler's step, and an immediate reset", "Read it with overshoot='nir'.",
        )  # fmt: skip
    return as_theirs and (theirs or not below)


def _nir_semantics(name: str, node: Any, dt: float, reading: Reading) -> tuple[NeuronSpec, np.ndarray | None]:
    kind = type(node).__name__
    if f"{kind}.r" in reading.ignore or reading.time_unit != "s":
        node = _plainly(node, kind, reading)
    subtract = reading.reset == "subtract"
    options = {"reset_mechanism": "subtract" if subtract else "zero", "reset_delay": False}
    threshold = tidy(node.v_threshold)
    if isinstance(node, nir.IF):
        values = {"beta": np.ones((), threshold.dtype), "threshold": threshold}
        return NeuronSpec("Leaky", values, options=options), _unless_one(np.asarray(node.r, np.float64))
    if isinstance(node, nir.CubaLIF):
        values = {
            "alpha": _decay(name, "tau_syn", node.tau_syn, dt),
            "beta": _decay(name, "tau_mem", node.tau_mem, dt),
            "threshold": threshold,
        }
        factor = gain(node.w_in, node.tau_syn, dt) * gain(node.r, node.tau_mem, dt)
        return NeuronSpec("Synaptic", values, options=options), _unless_one(factor)
    values = {"beta": _decay(name, "tau", node.tau, dt), "threshold": threshold}
    return NeuronSpec("Leaky", values, options=options), _unless_one(gain(node.r, node.tau, dt))


def _plainly(node: Any, kind: str, reading: Reading) -> Any:
    """The node in seconds, and with a resistance of 1 step where that is not read."""
    twin = copy.copy(node)
    for key in ("tau", "tau_syn", "tau_mem"):
        if hasattr(twin, key):
            setattr(twin, key, np.asarray(getattr(twin, key), np.float64) * reading.seconds)
    if f"{kind}.r" in reading.ignore:
        twin.r = np.ones_like(np.asarray(twin.r))
    return twin


def _decay(name: str, what: str, tau: Any, dt: float) -> np.ndarray:
    """The decay of a time constant, in double precision: a neuron rounds it once, to the precision it runs in."""
    tau = np.asarray(tau)
    if not (tau > 0).all():
        raise ConversionError(name, f"{what} is not positive", "Time constants are seconds greater than 0.")
    if (tau.astype(np.float64) < dt * (1 - 1e-6)).any():
        raise ConversionError(
            name, f"{what} = {tau.min():.3g} s is shorter than the time step dt = {dt:.3g} s",
            f"Pass the time step that the graph was made for: from_nir(graph, dt={tau.min() / 10:.1g}) or smaller.",
        )  # fmt: skip
    return tidy(np.clip(decay_from_tau(tau, dt), 0.0, 1.0))


def _unless_one(factor: np.ndarray) -> np.ndarray | None:
    return None if np.allclose(factor, 1.0, rtol=1e-5, atol=0) else factor
