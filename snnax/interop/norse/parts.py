"""Specs as Norse cells: which cell takes a neuron's very steps, and what has to stand in front of it."""

from __future__ import annotations

from typing import Any

import norse.torch as norse
import numpy as np
import torch
from norse.torch.functional.reset import reset_subtract, reset_value
from norse.torch.module.lif import LIFRecurrentCell
from torch import nn

from snnax.errors import ConversionError
from snnax.interop.families.native import native
from snnax.interop.families.norse_cells import EXACT, Parts
from snnax.interop.norse.cells import Resistance
from snnax.interop.spec import NeuronSpec


def resistance(parts: Parts) -> Resistance | None:
    """What has to stand in front of the cell, if anything."""
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
        for k, v in parts.gain.items()
        if np.any(np.asarray(v != neutral[k])) or (k == "bias" and np.ndim(v) and parts.gain.get("apart"))
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
                name, f"{option}={spec.options[option]!r}, which Norse does not have", EXACT
            )
    if spec.quantizer is not None or np.any(spec.values.get("graded_spikes_factor", np.ones(())) != 1):
        raise ConversionError(name, "quantized states or graded spikes, which Norse does not have", EXACT)
    return spec.family.norse(name, spec, dt)


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
    p[native(parts.kind).norse_rest] = torch.zeros(())
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
