"""When NIR's neurons compute what one of snnTorch's does, and what their numbers are then."""

from __future__ import annotations

import copy
from typing import Any

import numpy as np

from snnax.errors import ConversionError
from snnax.interop.conventions import decay_from_tau
from snnax.interop.families.arrays import tidy
from snnax.interop.nir.readings import Reading

TIMES = ("tau", "tau_syn", "tau_mem")
"""NIR's names of time constants."""


def has_equal(name: str, node: Any, reading: Reading) -> bool:
    """True if snnTorch's neuron of this node computes what the reading says.

    Those reset a membrane that is above the threshold when a step begins. With a threshold below 0, to which they
    reset, that is each one which has fired: another neuron than NIR's.

    Raises:
        ConversionError: for snnTorch's overshoot of a neuron that it does not have.
    """
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


def as_plain(node: Any, reading: Reading) -> Any:
    """The node in seconds, and with a resistance of 1 step where that is not read."""
    ignored = f"{type(node).__name__}.r" in reading.ignore
    if not ignored and reading.time_unit == "s":
        return node
    twin = copy.copy(node)
    for key in TIMES:
        if hasattr(twin, key):
            setattr(twin, key, np.asarray(getattr(twin, key), np.float64) * reading.seconds)
    if ignored:
        twin.r = np.ones_like(np.asarray(twin.r))
    return twin


def decay_of(name: str, what: str, tau: Any, dt: float) -> np.ndarray:
    """The decay of a time constant, in double precision: a neuron rounds it once, to the precision it runs in.

    Raises:
        ConversionError: for one that is not positive, or shorter than an Euler step.
    """
    tau = np.asarray(tau)
    if not (tau > 0).all():
        raise ConversionError(name, f"{what} is not positive", "Time constants are seconds greater than 0.")
    if (tau.astype(np.float64) < dt * (1 - 1e-6)).any():
        raise ConversionError(
            name, f"{what} = {tau.min():.3g} s is shorter than the time step dt = {dt:.3g} s",
            f"Pass the time step that the graph was made for: from_nir(graph, dt={tau.min() / 10:.1g}) or smaller.",
        )  # fmt: skip
    return tidy(np.clip(decay_from_tau(tau, dt), 0.0, 1.0))


def reset_of(reading: Reading) -> dict[str, Any]:
    """The reset of snnTorch's neuron that is NIR's, or that a reading says."""
    mechanism = "subtract" if reading.reset == "subtract" else "zero"
    return {"reset_mechanism": mechanism, "reset_delay": False}


def unless_one(factor: np.ndarray) -> np.ndarray | None:
    """A gain, if it is one."""
    return None if np.allclose(factor, 1.0, rtol=1e-5, atol=0) else factor
