"""snnTorch's neurons as specs, and specs as snnTorch's neurons."""

from __future__ import annotations

import inspect
from typing import Any

import numpy as np
import snntorch
import snntorch.surrogate
import torch
from torch import nn

from snnax.errors import ConversionError
from snnax.interop.snntorch import cells
from snnax.interop.snntorch.members import check_cell
from snnax.interop.spec import NATIVE, OPTIONS, SEQUENCES, SIZES, STATES, VALUES, NeuronSpec
from snnax.interop.torch.arrays import array

_UPDATES = {"_base_sub": "subtract", "_base_zero": "zero", "_base_int": "none"}


def spec_from_torch(name: str, module: nn.Module, output: bool) -> NeuronSpec:
    """The spec of a snnTorch neuron; ``output``: its states are used outside.

    Raises:
        ConversionError: for neurons and arguments that have no equal, naming the remedy.
    """
    kind = type(module).__name__
    if kind not in VALUES or type(module) is not getattr(snntorch, kind, None):
        raise ConversionError(
            name, f"{type(module).__module__}.{kind} is not a neuron that snnax converts",
            f"Convertible are snntorch's own {', '.join(VALUES)}; subclasses may compute anything.",
        )  # fmt: skip
    check_cell(name, module)
    values = {key: array(getattr(module, key)) for key in VALUES[kind]}
    values.update(cells.values_of(name, module))
    learn = [k for k in VALUES[kind] if isinstance(getattr(module, k), nn.Parameter)]
    learn += cells.learned_of(module)
    if kind == "Lapicque" and isinstance(module.beta, nn.Parameter):
        raise ConversionError(
            name, "learn_beta=True, which in snnTorch 1.0.0 trains nothing: R and C stay what they were",
            "Build it with learn_beta=False.",
        )  # fmt: skip
    recurrent = _recurrence(module)
    if recurrent and any(p.requires_grad for p in _loop(module).parameters()):
        learn.append("recurrent")
    options = {
        k: getattr(module, k)
        for k in ("inhibition", "surrogate_disable", "reset_delay")
        if hasattr(module, k)
    }
    if kind == "RSynaptic":
        # snnTorch 1.0.0 computes the same with either value; see its forward
        options["reset_delay"] = True
    if kind == "DeltaLeaky":
        options = {"output": bool(output or module.output)}  # the others do nothing there
    elif kind not in SEQUENCES:
        options["reset_mechanism"] = _reset_mechanism(name, module)
        options["output"] = bool(output or module.output)
    else:
        options["reset_mechanism"] = "none"
        if kind in ("StateLeaky", "LinearLeaky"):
            options["output"] = bool(module.output)
    fixed = module.surrogate_disable or kind == "AssociativeLeaky"
    surrogate = None if fixed else _surrogate(name, module.spike_grad)
    levels = None if kind == "DeltaLeaky" else _levels(name, getattr(module, "state_quant", False))
    sizes = cells.sizes_of(module) if kind in SIZES else {}
    weights = cells.weights_of(module)
    return NeuronSpec(kind, values, tuple(learn), options, surrogate, recurrent, levels, sizes, weights)


def _reset_mechanism(name: str, module: Any) -> str:
    given = str(module.reset_mechanism)
    computed = _UPDATES[module.state_function.__name__]
    labelled = list(module.reset_dict)[int(module.reset_mechanism_val)]
    if not given == computed == labelled:
        raise ConversionError(
            name, f"it says reset_mechanism={given!r} but computes {computed!r}: snnTorch binds it at construction",
            f"Build the neuron anew with reset_mechanism={given!r} or {computed!r}.",
        )  # fmt: skip
    return given


def _loop(module: Any) -> nn.Module:
    return module.recurrent


def _recurrence(module: Any) -> dict[str, np.ndarray]:
    if not hasattr(module, "recurrent"):
        return {}
    if not module.all_to_all:
        return {"V": array(module.V)}
    given = {k: getattr(module.recurrent, k) for k in ("weight", "bias")}
    return {k: array(tensor) for k, tensor in given.items() if tensor is not None}


def _closure(function: Any) -> dict[str, Any]:
    return dict(inspect.getclosurevars(function).nonlocals) if inspect.isfunction(function) else {}


def _surrogate(name: str, function: Any) -> tuple[str, dict[str, Any]]:
    """Name and arguments of a function that ``snntorch.surrogate`` made."""
    if getattr(function, "__self__", None) is snntorch.LeakyParallel.ATan:
        return "atan", {"alpha": 2.0}
    maker = getattr(function, "__qualname__", "").split(".")[0]
    known = getattr(snntorch.surrogate, maker, None)
    if (
        known is None
        or getattr(function, "__module__", "") != "snntorch.surrogate"
        or maker == "custom_surrogate"
    ):
        raise ConversionError(
            name, "its spike_grad is a function of your own",
            "Only its gradient would be lost: convert with a surrogate of snntorch.surrogate and set yours on the "
            "flax side with snnax.surrogate.custom_surrogate.",
        )  # fmt: skip
    values = {k: float(v) for k, v in _closure(function).items() if isinstance(v, int | float)}
    return maker, {k: v for k, v in values.items() if k in inspect.signature(known).parameters}


def _levels(name: str, quantizer: Any) -> tuple[float, ...] | None:
    if not quantizer:
        return None
    levels = _closure(quantizer).get("levels")
    if getattr(quantizer, "__module__", "") != "snntorch.functional.quant" or levels is None:
        raise ConversionError(
            name,
            "its state_quant is a function of your own",
            "Use snntorch.functional.quant.state_quant(...).",
        )
    return tuple(float(v) for v in levels)


def neuron_from_spec(
    name: str, spec: NeuronSpec, *, init_hidden: bool = True, wide: bool = False
) -> nn.Module:
    """The snnTorch neuron of a spec, with its weights; ``wide``: every number in float64.

    Raises:
        ConversionError: for what snnTorch 1.0.0 cannot hold.
    """
    if spec.kind in NATIVE:
        raise ConversionError(
            name, f"snnTorch has no neuron that computes NIR's {spec.kind} with these parameters and options",
            "A LIF with v_leak = v_reset = 0, read by the defaults, is a Leaky.",
        )  # fmt: skip
    kind = getattr(snntorch, spec.kind)
    accepted = set(inspect.signature(kind.__init__).parameters)
    if spec.kind == "DeltaLeaky":
        accepted |= set(inspect.signature(snntorch.Leaky.__init__).parameters)
    arguments: dict[str, Any] = {"init_hidden": init_hidden, "output": spec.output}
    for key in OPTIONS:
        if key in accepted and key in spec.options:
            arguments[key] = spec.options[key]
    for key, value in spec.values.items():
        if key in accepted:
            arguments[key] = torch.tensor(spec.whole(key, value), dtype=cells.real(value, wide))
    for key in spec.learn:
        if f"learn_{key}" not in accepted or (spec.kind, key) == ("Alpha", "alpha"):
            raise ConversionError(
                name,
                f"it learns {key}, which snnTorch's {spec.kind} cannot",
                f"Build it with learn_{key}=False.",
            )
        arguments[f"learn_{key}"] = True
    if spec.kind == "RSynaptic" and not spec.reset_delay:
        raise ConversionError(
            name,
            "reset_delay=False, which snnTorch 1.0.0's RSynaptic ignores or fails on",
            "Use reset_delay=True.",
        )
    if spec.surrogate is not None:
        arguments["spike_grad"] = getattr(snntorch.surrogate, spec.surrogate[0])(**_arguments(spec.surrogate))
    if spec.quantizer is not None:
        arguments["state_quant"] = _quantizer(spec.quantizer)
    if spec.kind in SIZES and spec.kind != "DeltaLeaky":
        return cells.cell_from_spec(name, spec, arguments, init_hidden, wide)
    if spec.kind == "Lapicque":
        return _lapicque(arguments)
    if not spec.recurrent:
        return kind(**arguments)
    return _recurrent(kind, spec, arguments, wide)


def _lapicque(arguments: dict[str, Any]) -> nn.Module:
    """snnTorch's constructor takes one R and one C for all neurons, and computes with arrays of them."""
    numbers = {key: arguments.pop(key) for key in ("R", "C", "time_step")}
    neuron = snntorch.Lapicque(**arguments, R=1.0, C=1.0)
    neuron.beta = torch.exp(torch.ones(1) * (-numbers["time_step"] / (numbers["R"] * numbers["C"])))
    for key, value in numbers.items():
        setattr(neuron, key, value)
    return neuron


def _arguments(surrogate: tuple[str, dict[str, Any]]) -> dict[str, Any]:
    accepted = inspect.signature(getattr(snntorch.surrogate, surrogate[0])).parameters
    return {k: v for k, v in surrogate[1].items() if k in accepted}


def _quantizer(levels: tuple[float, ...]) -> Any:
    from snntorch.functional.quant import StateQuant

    values = torch.tensor(levels)

    def inner(x: torch.Tensor) -> torch.Tensor:
        return StateQuant.apply(x, values)

    return inner


def _recurrent(kind: Any, spec: NeuronSpec, arguments: dict[str, Any], wide: bool) -> nn.Module:
    arguments["learn_recurrent"] = "recurrent" in spec.learn
    if "V" in spec.recurrent:
        value = spec.whole("V", np.asarray(spec.recurrent["V"]))
        return kind(**arguments, all_to_all=False, V=torch.tensor(value, dtype=cells.real(value, wide)))
    weight = spec.recurrent["weight"]
    if weight.ndim == 2:
        neuron = kind(**arguments, linear_features=weight.shape[0])
    else:
        neuron = kind(**arguments, conv2d_channels=weight.shape[0], kernel_size=tuple(weight.shape[2:]))
    if wide:
        neuron.double()
    with torch.no_grad():
        neuron.recurrent.weight.copy_(torch.tensor(weight))
        if "bias" in spec.recurrent:
            neuron.recurrent.bias.copy_(torch.tensor(spec.recurrent["bias"]))
        else:
            neuron.recurrent.bias = None
    return neuron


def has_states(module: nn.Module) -> bool:
    """True for the neurons that can be converted."""
    return type(module).__name__ in STATES and type(module).__module__.startswith("snntorch.")
