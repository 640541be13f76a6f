"""Specs as Norse cells: which cell takes a neuron's very steps, and what has to stand in front of it."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Any

import norse.torch as norse
import numpy as np
import torch
from norse.torch.functional.reset import reset_subtract, reset_value
from norse.torch.module.lif import LIFRecurrentCell
from torch import nn

from snnax.errors import ConversionError
from snnax.interop.norse.cells import Resistance
from snnax.interop.spec import NeuronSpec

_EXACT = "Norse has no cell with these steps; cells that NIR knows are in the documentation of to_norse."


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

    def resistance(self) -> Resistance | None:
        """The resistance, if there has to be one."""
        neutral = {
            "r": 1.0,
            "w_in": 1.0,
            "bias": 0.0,
            "current": "undecayed",
            "apart": "",
            "late_reset": False,
        }
        # an array of zeros is a bias that is zero, the number none
        given = {
            k: v
            for k, v in self.gain.items()
            if np.any(np.asarray(v != neutral[k])) or (k == "bias" and np.ndim(v) and self.gain.get("apart"))
        }
        return Resistance(**given) if given else None


def parts_of(name: str, spec: NeuronSpec, dt: float) -> Parts:
    """A neuron in Norse's terms.

    Raises:
        ConversionError: for neurons and options that no cell of Norse's computes; says which.
    """
    for option, plain in (("inhibition", False), ("surrogate_disable", False)):
        if spec.options.get(option, plain) != plain:
            raise ConversionError(
                name, f"{option}={spec.options[option]!r}, which Norse does not have", _EXACT
            )
    if spec.quantizer is not None or np.any(spec.values.get("graded_spikes_factor", np.ones(())) != 1):
        raise ConversionError(name, "quantized states or graded spikes, which Norse does not have", _EXACT)
    if spec.kind in _NATIVE:
        return _NATIVE[spec.kind](name, spec)
    if spec.kind not in _SNNTORCH:
        raise ConversionError(name, f"Norse has no cell that computes {spec.kind}", _EXACT)
    return _snntorch(name, spec, dt)


def _wide(spec: NeuronSpec, key: str) -> np.ndarray:
    return np.asarray(spec.values[key], np.float64)


def _membrane(spec: NeuronSpec, key: str = "tau") -> tuple[np.ndarray, np.ndarray]:
    """1 over the time constant whose Euler step decays as the neuron does, and the gain beside it."""
    tau, dt, r = _wide(spec, key), spec.sizes["dt"], _wide(spec, "r")
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
            name, "its threshold is tested before the input is integrated; Norse tests it after", _EXACT
        )
    if options.get("reset_mechanism", "nir") == "none":
        raise ConversionError(name, "it fires and is never reset; Norse resets what fires", _EXACT)
    if late and options.get("reset_at", "end") != "start":
        raise ConversionError(
            name,
            "its reset comes one step late and after the input, which it discards; Norse resets at once",
            _EXACT,
        )
    return late


def _lif(name: str, spec: NeuronSpec) -> Parts:
    late = _check_firing(name, spec)
    inverse, r = _membrane(spec)
    p = {"tau_mem_inv": inverse, "v_th": _wide(spec, "v_threshold"), "v_reset": _wide(spec, "v_reset")}
    gain = {"r": r, "bias": _wide(spec, "v_leak"), "late_reset": late}
    subtract = spec.sizes.get("reset_mechanism") == "subtract"
    return Parts("LIF", p, gain, subtract, _learned(spec))


def _li(name: str, spec: NeuronSpec) -> Parts:
    del name
    inverse, r = _membrane(spec)
    return Parts(
        "LI", {"tau_mem_inv": inverse}, {"r": r, "bias": _wide(spec, "v_leak")}, learn=_learned(spec)
    )


def _if(name: str, spec: NeuronSpec) -> Parts:
    late = _check_firing(name, spec)
    if spec.sizes.get("reset_mechanism") == "subtract":
        raise ConversionError(name, "it subtracts its threshold; Norse's IAFCell resets to v_reset", _EXACT)
    if np.any(_wide(spec, "v_reset") != 0):
        raise ConversionError(
            name, "its v_reset is not 0; Norse's IAFCell starts from v_reset, and snnax from 0",
            "Subtract v_reset from the threshold and the reset potential.",
        )  # fmt: skip
    gain = {"r": _wide(spec, "r") * spec.sizes["dt"], "late_reset": late}
    gain["r"] = np.where(np.abs(gain["r"] - 1) < 1e-14, 1.0, gain["r"])
    return Parts("IF", {"v_th": _wide(spec, "v_threshold")}, gain, learn=_learned(spec))


def _cuba(name: str, spec: NeuronSpec) -> Parts:
    options, dt, tau_syn = spec.sizes, spec.sizes["dt"], _wide(spec, "tau_syn")
    kind = options.get("discretization", "euler")
    current = options.get("membrane_current") or ("continuous" if kind == "exact" else "new")
    if current not in ("new", "undecayed"):
        raise ConversionError(
            name, f"membrane_current={current!r}; Norse charges it with the current and the input of the step",
            "Use membrane_current='new' or 'undecayed'.",
        )  # fmt: skip
    if np.any(_wide(spec, "v_leak") != 0):
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
    gain: dict[str, Any] = {"r": r, "w_in": _wide(spec, "w_in") * factor, "current": current}
    if spec.kind == "CubaLIF":
        gain["late_reset"] = _check_firing(name, spec)
        if options.get("reset_mechanism") == "subtract":
            raise ConversionError(
                name,
                "it subtracts its threshold; Norse's LIFCell resets to v_reset",
                "Use LIF, or reset to v_reset.",
            )
        p.update(v_th=_wide(spec, "v_threshold"), v_reset=_wide(spec, "v_reset"))
    return Parts(spec.kind, p, gain, learn=_learned(spec))


_NATIVE = {"LIF": _lif, "LI": _li, "IF": _if, "CubaLIF": _cuba, "CubaLI": _cuba}
_SNNTORCH = ("Leaky", "Lapicque", "Synaptic", "RLeaky", "RSynaptic")
_LEARNED = {
    "tau": "tau_mem_inv", "tau_mem": "tau_mem_inv", "tau_syn": "tau_syn_inv", "v_threshold": "v_th",
    "v_reset": "v_reset", "beta": "tau_mem_inv", "alpha": "tau_syn_inv", "threshold": "v_th",
}  # fmt: skip


def _learned(spec: NeuronSpec) -> tuple[str, ...]:
    return tuple(_LEARNED[key] for key in spec.learn if key in _LEARNED)


def _snntorch(name: str, spec: NeuronSpec, dt: float) -> Parts:
    """snnTorch's neurons: a reset to zero that acts at once, or for Leaky in the next step."""
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
    late = spec.reset_delay
    if spec.kind == "Lapicque" or (late and spec.kind != "Leaky"):
        remedy = "Train with reset_delay=False."
        if spec.kind == "Lapicque":
            remedy = "Use snnax.LIF(tau=R*C, r=R, dt=time_step), whose reset keeps it."
        raise ConversionError(
            name,
            f"the reset of {spec.kind} discards the input of the next step; Norse resets at once",
            remedy,
        )
    p = {"v_th": _wide(spec, "threshold")}
    beta = np.clip(_wide(spec, "beta"), 0, 1)
    if spec.kind == "Leaky" and (beta == 1).all():
        return Parts("IF", p, {"late_reset": late}, learn=_learned(spec))
    if (beta == 1).any():
        raise ConversionError(
            name, "a beta of 1: a neuron without leak, beside others or with a synaptic current",
            "Use a beta below 1.",
        )  # fmt: skip
    p.update(tau_mem_inv=(1 - beta) / dt, v_reset=np.zeros(()))
    gain: dict[str, Any] = {"r": 1 / (1 - beta), "late_reset": late}
    if spec.kind == "Leaky":
        return Parts("LIF", p, gain, learn=_learned(spec))
    alpha = np.clip(_wide(spec, "alpha"), 0, 1) if "alpha" in spec.values else np.zeros(())
    if (alpha == 1).any():
        raise ConversionError(name, "an alpha of 1: a current that never decays", "Use an alpha below 1.")
    p["tau_syn_inv"] = (1 - alpha) / dt
    gain.update(current="new", apart=spec.kind if spec.recurrent else "")
    return Parts("CubaLIF", p, gain, learn=_learned(spec))


def recurrent(parts: Parts, dt: float) -> Parts:
    """The parts of a neuron with recurrent weights: Norse has them with a synaptic current only."""
    if parts.kind != "LIF":
        return parts
    p = {**parts.p, "tau_syn_inv": np.asarray(1 / dt)}
    return Parts("CubaLIF", p, {**parts.gain, "current": "new"}, parts.subtract, parts.learn)


def cell(name: str, parts: Parts, spec: NeuronSpec, dt: float, dtype: torch.dtype) -> nn.Module:
    """The Norse cell without recurrent weights.

    Raises:
        ConversionError: for a surrogate that Norse does not have.
    """
    p: dict[str, Any] = {key: _tensor(value, dtype) for key, value in parts.p.items()}
    if "v_th" in p:
        p["method"] = _method(name, spec)
    if parts.subtract or parts.kind == "LIF":
        p["reset_method"] = reset_subtract if parts.subtract else reset_value
    rest = "v_reset" if parts.kind == "IF" else "v_leak"
    p[rest] = torch.zeros(())
    for key in parts.learn:
        p[key] = nn.Parameter(p[key].to(dtype))
    makers: dict[str, Any] = {
        "LIF": lambda: norse.LIFBoxCell(norse.LIFBoxParameters(**p), dt=dt),
        "LI": lambda: norse.LIBoxCell(norse.LIBoxParameters(**p), dt=dt),
        "CubaLIF": lambda: norse.LIFCell(norse.LIFParameters(**p), dt=dt),
        "CubaLI": lambda: norse.LICell(norse.LIParameters(**p), dt=dt),
        "IF": lambda: norse.IAFCell(norse.IAFParameters(**p), dt=dt),
    }
    return _registered(makers[parts.kind](), p, parts)


def recurrent_cell(
    name: str, parts: Parts, spec: NeuronSpec, dt: float, w_in: torch.Tensor, w_rec: torch.Tensor
) -> nn.Module:
    """LIFRecurrentCell; its weights, diagonal included, are those given."""
    if parts.kind != "CubaLIF" or parts.subtract:
        raise ConversionError(
            name, "it has recurrent weights and is no neuron that resets to v_reset with a leak",
            "Norse has recurrent weights in LIFRecurrentCell only.",
        )  # fmt: skip
    p: dict[str, Any] = {key: _tensor(value, w_in.dtype) for key, value in parts.p.items()}
    p.update(v_leak=torch.zeros(()), method=_method(name, spec))
    for key in parts.learn:
        p[key] = nn.Parameter(p[key].to(w_in.dtype))
    size = w_in.shape
    made = LIFRecurrentCell(
        size[1], size[0], norse.LIFParameters(**p), dt=dt, autapses=True, input_weights=nn.Parameter(w_in),
        recurrent_weights=nn.Parameter(w_rec),
    )  # fmt: skip
    return _registered(made, p, parts)


def _registered(made: nn.Module, p: dict[str, Any], parts: Parts) -> nn.Module:
    """Norse does not register its parameters; those that are trained are."""
    for key in parts.learn:
        made.register_parameter(key, p[key])
    return made


def _tensor(value: np.ndarray, dtype: torch.dtype) -> torch.Tensor:
    """One number in double precision, which promotes nothing; arrays in the precision of the weights."""
    value = np.asarray(value)
    return torch.tensor(value, dtype=torch.float64 if value.ndim == 0 else dtype)


def _method(name: str, spec: NeuronSpec) -> str:
    """Norse's name of the surrogate; Norse 1.1.0 ignores its slope."""
    if spec.surrogate is None or spec.surrogate == ("fast_sigmoid", {"slope": 1.0}):
        return "super"
    raise ConversionError(
        name, f"its surrogate is {spec.surrogate[0]}{spec.surrogate[1]}, which Norse 1.1.0 does not have",
        "Only its gradient would be lost: to_norse(..., surrogate='super').",
    )  # fmt: skip
