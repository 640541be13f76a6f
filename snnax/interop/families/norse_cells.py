"""A neuron as Norse's cells have it: which cell takes its very steps, with which numbers, and what stands before it."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Any

import numpy as np

from snnax.errors import ConversionError
from snnax.interop.families.arrays import decay, wide
from snnax.interop.spec import NeuronSpec

EXACT = "Norse has no cell with these steps; cells that NIR knows are in the documentation of to_norse."


@dataclass
class Parts:
    """A neuron in Norse's terms.

    Attributes:
        kind: NIR's name of the cell, ``"LIF"``, ``"CubaLIF"``, ``"LI"``, ``"CubaLI"`` or ``"IF"``.
        p: Norse's parameters by name, in double precision.
        gain: arguments of the resistance in front of it.
        subtract: it resets by its threshold.
        learn: parameters that are trained, by Norse's names.
    """

    kind: str
    p: dict[str, np.ndarray]
    gain: dict[str, Any] = field(default_factory=dict)
    subtract: bool = False
    learn: tuple[str, ...] = ()


_LEARNED = {
    "tau": "tau_mem_inv", "tau_mem": "tau_mem_inv", "tau_syn": "tau_syn_inv", "v_threshold": "v_th",
    "v_reset": "v_reset", "beta": "tau_mem_inv", "alpha": "tau_syn_inv", "threshold": "v_th",
}  # fmt: skip


def learned(spec: NeuronSpec) -> tuple[str, ...]:
    """Norse's names of what is trained."""
    return tuple(_LEARNED[key] for key in spec.learn if key in _LEARNED)


def check_discharge(name: str, spec: NeuronSpec) -> None:
    """Refuse resets of snnTorch's neurons that Norse does not have: it resets to zero, in the step of the spike.

    Raises:
        ConversionError: names the remedy.
    """
    if spec.reset_mechanism != "zero":
        problem = {
            "subtract": "subtracts its threshold after the next decay, or not where that leaves it above threshold; "
            "Norse subtracts it at once",
            "none": "fires and is never reset; Norse resets what fires",
        }[spec.reset_mechanism]
        raise ConversionError(
            name, f"reset_mechanism={spec.reset_mechanism!r}: {spec.kind} {problem}",
            "Train with reset_mechanism='zero' and reset_delay=False, or use snnax.LIF(reset_mechanism='subtract').",
        )  # fmt: skip


def refuse_late(name: str, spec: NeuronSpec, remedy: str) -> ConversionError:
    """The error for a neuron that resets in the step after its spike."""
    return ConversionError(
        name, f"the reset of {spec.kind} discards the input of the next step; Norse resets at once", remedy
    )


def leak(name: str, spec: NeuronSpec, dt: float) -> tuple[dict[str, np.ndarray], dict[str, Any]]:
    """Norse's numbers of a membrane that decays by ``beta`` and adds its input unscaled, and its resistance.

    Raises:
        ConversionError: for a beta of 1.
    """
    beta = decay(spec, "beta")
    if (beta == 1).any():
        raise ConversionError(
            name, "a beta of 1: a neuron without leak, beside others or with a synaptic current",
            "Use a beta below 1.",
        )  # fmt: skip
    p = {"v_th": wide(spec, "threshold"), "tau_mem_inv": (1 - beta) / dt, "v_reset": np.zeros(())}
    return p, {"r": 1 / (1 - beta), "late_reset": spec.reset_delay}
