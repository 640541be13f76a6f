"""NIR's own neurons <-> snnax's ``LIF``, ``CubaLIF``, ``LI``, ``CubaLI``, ``IF`` and ``I``.

A node's parameters are those of the module; what NIR leaves open are the module's options, which travel in the
metadata. IF and I add ``r`` in each step, as every framework reads them, while the modules add ``r*dt`` as the
equation says: the node's ``r`` is the module's times ``dt``, unless the reading says ``integrator="ode"``.
"""

from __future__ import annotations

from typing import Any

import nir
import numpy as np

from snnax.errors import ConversionError
from snnax.interop.conventions import file_dtype, fitting, for_each
from snnax.interop.nir.readings import Reading
from snnax.interop.nodes import metadata
from snnax.interop.numbers import WRITTEN, narrow
from snnax.interop.spec import NATIVE, NeuronSpec

NODES: dict[str, type] = {kind: getattr(nir, kind) for kind in NATIVE}
_TIMES = ("tau", "tau_syn", "tau_mem")
_SUMS = ("IF", "I")


def spec_of_native(name: str, node: Any, reading: Reading, dt: float) -> NeuronSpec:
    """The neuron of a NIR node under a reading.

    Raises:
        ConversionError: for time constants that are not positive, or shorter than an Euler step.
    """
    kind = type(node).__name__
    values = {}
    for key in NATIVE[kind]:
        given = np.asarray(getattr(node, key))
        value = np.asarray(given, np.float64)
        if f"{kind}.{key}" in reading.ignore:
            value = np.full_like(value, 1.0 if key in ("r", "w_in") else 0.0)
        derived = (key in _TIMES and reading.seconds != 1) or (
            key == "r" and kind in _SUMS and reading.integrator == "impulse"
        )
        if key in _TIMES:
            value = value * reading.seconds
            _check_time(name, key, value, dt, reading)
        elif derived:
            value = value / dt
        if not derived:  # what is derived stays in double precision until a neuron rounds it
            value = value.astype(given.dtype if np.issubdtype(given.dtype, np.floating) else np.float32)
        values[key] = tidy(value)
    return NeuronSpec(kind, values, sizes=_options(kind, reading, dt))


def _options(kind: str, reading: Reading, dt: float) -> dict[str, Any]:
    options: dict[str, Any] = {"dt": dt}  # r of IF and I is per second, whatever the reading: no integrator
    if kind not in _SUMS:
        options["discretization"] = reading.discretization
    if kind.startswith("Cuba"):
        options.update(w_in_scaling=reading.w_in, membrane_current=reading.membrane_current)
    if kind in ("LIF", "CubaLIF", "IF"):
        options.update(
            reset_mechanism=reading.reset,
            threshold_test=reading.threshold,
            reset_delay=reading.reset_delay,
            reset_at={"cuba_start": "start" if kind == "CubaLIF" else "end"}.get(
                reading.reset_at, reading.reset_at
            ),
        )
    return options


def _check_time(name: str, key: str, tau: np.ndarray, dt: float, reading: Reading) -> None:
    if not (tau > 0).all():
        raise ConversionError(name, f"{key} is not positive", "Time constants are seconds greater than 0.")
    if reading.discretization == "euler" and (tau < dt * (1 - 1e-6)).any():
        raise ConversionError(
            name, f"{key} = {tau.min():.3g} s is shorter than the time step dt = {dt:.3g} s",
            f"Pass the time step that the graph was made for, as from_nir(graph, dt={tau.min() / 10:.1g}); or "
            "discretization='exact'; or time_unit='ms', if that is what the file means; or "
            "preset='norse_export', if Norse 1.1.0 wrote it.",
        )  # fmt: skip


def native_node(name: str, spec: NeuronSpec, shape: tuple[int, ...] | None, dt: float) -> nir.NIRNode:
    """The NIR node of a native neuron, its parameters in the full shape of a sample.

    Raises:
        ConversionError: for parameters that do not fit the shape.
    """
    given = {}
    for key in NATIVE[spec.kind]:
        value = np.asarray(spec.values[key], np.float64)
        if key == "r" and spec.kind in _SUMS:
            value = value * spec.sizes["dt"]
        given[key] = value if shape is None else for_each(fitting(name, key, value, shape), shape)
    dtype = file_dtype(*given.values()) if has_doubles(spec) else np.float32
    if dtype == np.float32:
        given = {key: narrow(name, key, full, remedy=WRITTEN) for key, full in given.items()}
    arrays = {key: full.copy() for key, full in given.items()}
    return metadata.write_spec(NODES[spec.kind](**arrays), spec, dt)


def has_doubles(spec: NeuronSpec) -> bool:
    """True if a value for each neuron is in double precision."""
    return any(np.asarray(v).dtype == np.float64 and np.ndim(v) for v in spec.values.values())


def edited_values(spec: NeuronSpec, node: Any) -> dict[str, np.ndarray]:
    """The parameters of a node that are no longer those that its metadata was written with."""
    found = {}
    for key in NATIVE[spec.kind]:
        now = np.asarray(getattr(node, key), np.float64)
        if key == "r" and spec.kind in _SUMS:
            now = now / spec.sizes["dt"]
        if not near(now, spec.values[key]):
            found[key] = tidy(now)
    return found


def near(now: Any, written: Any) -> bool:
    """True for a parameter that is what was written, but for its rounding to single precision."""
    return bool(np.allclose(np.asarray(now, np.float64), np.asarray(written, np.float64), rtol=3e-7, atol=0))


def tidy(value: Any) -> np.ndarray:
    """One number where all neurons share it."""
    value = np.asarray(value)
    return value.reshape(-1)[0].reshape(()) if value.size and (value == value.reshape(-1)[0]).all() else value
