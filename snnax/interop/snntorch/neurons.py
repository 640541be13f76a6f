"""snnTorch's neurons as specs, and specs as snnTorch's neurons."""

from __future__ import annotations

import inspect
from collections.abc import Callable, Mapping
from typing import Any

import numpy as np
import snntorch
import snntorch.surrogate
import torch
from torch import nn

from snnax.errors import ConversionError
from snnax.interop.families.registry import find, kinds
from snnax.interop.spec import OPTIONS, NeuronSpec
from snnax.interop.torch.arrays import array

_FUNCTIONS: dict[type, tuple[str, tuple[str, ...]]] = {
    snntorch.surrogate.StraightThroughEstimator: ("straight_through_estimator", ()),
    snntorch.surrogate.Triangular: ("triangular", ("threshold",)),
    snntorch.surrogate.FastSigmoid: ("fast_sigmoid", ("slope",)),
    snntorch.surrogate.ATan: ("atan", ("alpha",)),
    snntorch.surrogate.Heaviside: ("heaviside", ()),
    snntorch.surrogate.Sigmoid: ("sigmoid", ("slope",)),
    snntorch.surrogate.SpikeRateEscape: ("spike_rate_escape", ("beta", "slope")),
    snntorch.surrogate.SparseFastSigmoid: ("SFS", ("slope", "B")),
    snntorch.LeakyParallel.ATan: ("atan", ("alpha",)),
}
"""snnTorch's spike functions: what makes them, and its arguments in the order in which they are applied."""

_UPDATES = {"_base_sub": "subtract", "_base_zero": "zero", "_base_int": "none"}


def check_cell(name: str, module: Any) -> None:
    """Refuse the layers that snnTorch 1.0.0 computes differently from what they are.

    Raises:
        ConversionError: names the reason and the remedy.
    """
    if isinstance(module, snntorch.SLSTM) and module.input_size != module.hidden_size:
        raise ConversionError(
            name, f"snnTorch 1.0.0 forgets the state of an SLSTM at every step unless its sizes are equal; these are "
            f"input_size={module.input_size}, hidden_size={module.hidden_size}, so it has no recurrence",
            "snnax.SLSTM does recur: to give it these weights use interop.from_state_dict.",
        )  # fmt: skip


def spec_from_torch(name: str, module: nn.Module, output: bool) -> NeuronSpec:
    """The spec of a snnTorch neuron; ``output``: its states are used outside.

    Raises:
        ConversionError: for neurons and arguments that have no equal, naming the remedy.
    """
    kind, family = type(module).__name__, find(type(module).__name__)
    if family is None or type(module) is not getattr(snntorch, kind, None):
        raise ConversionError(
            name, f"{type(module).__module__}.{kind} is not a neuron that snnax converts",
            f"Convertible are snntorch's own {', '.join(kinds(native=False))}; subclasses may compute anything.",
        )  # fmt: skip
    check_cell(name, module)
    values = {key: array(getattr(module, key)) for key in family.values}
    values.update(family.torch_values(name, module, array))
    learn = [k for k in family.values if isinstance(getattr(module, k), nn.Parameter)]
    learn += family.torch_learns(module)
    recurrent = _recurrence(module)
    if recurrent and any(p.requires_grad for p in _loop(module).parameters()):
        learn.append("recurrent")
    named = ("inhibition", "surrogate_disable", "reset_delay")
    options = {k: getattr(module, k) for k in named if hasattr(module, k)}
    if family.sequence:
        options["reset_mechanism"] = "none"
    elif "reset_mechanism" not in family.torch_unused:
        options["reset_mechanism"] = _reset_mechanism(name, module)
    if not family.sequence:
        options["output"] = bool(output or module.output)
    fixed = module.surrogate_disable or "spike_grad" in family.torch_unused
    surrogate = None if fixed else _surrogate(name, module.spike_grad)
    levels = _levels(name, "state_quant" not in family.torch_unused and getattr(module, "state_quant", False))
    tensors = {**dict(module.named_parameters()), **dict(module.named_buffers())}
    return NeuronSpec(
        kind, values, tuple(learn), family.torch_options(name, module, options),
        surrogate, recurrent, levels, family.torch_sizes(module),
        {key: array(tensors[key]) for key in family.weights if key in tensors},
    )  # fmt: skip


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


def applied_surrogate(function: type, args: tuple[Any, ...]) -> tuple[str, dict[str, float]] | None:
    """Name and arguments of the surrogate that a call of one of snnTorch's spike functions is; None for any other."""
    if function not in _FUNCTIONS:
        return None
    maker, names = _FUNCTIONS[function]
    given = dict(zip(names, args[1:], strict=False))
    if not all(isinstance(value, int | float) for value in given.values()):
        return None
    return maker, {name: float(value) for name, value in given.items()}


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
    family = spec.family
    if family.native:
        raise ConversionError(
            name, f"snnTorch has no neuron that computes NIR's {spec.kind} with these parameters and options",
            "A LIF with v_leak = v_reset = 0, read by the defaults, is a Leaky.",
        )  # fmt: skip
    kind = getattr(snntorch, spec.kind, None)
    if kind is None:
        raise ConversionError(
            name,
            f"snnTorch has no neuron {spec.kind}",
            "Use one that it has, as snnax.Leaky or snnax.Synaptic.",
        )
    accepted = _accepted(kind)
    arguments: dict[str, Any] = {"output": spec.output}
    if not family.sequence:
        arguments["init_hidden"] = init_hidden
    for key in OPTIONS:
        if key in accepted and key in spec.options:
            arguments[key] = spec.options[key]
    for key, value in spec.values.items():
        if key in accepted:
            arguments[key] = torch.tensor(spec.whole(key, value), dtype=real(value, wide))
    for key in spec.learn:
        if f"learn_{key}" not in accepted or key in family.torch_fixed:
            raise ConversionError(
                name,
                f"it learns {key}, which snnTorch's {spec.kind} cannot",
                f"Build it with learn_{key}=False.",
            )
        arguments[f"learn_{key}"] = True
    own = family.torch_arguments(name, spec)
    if spec.surrogate is not None:
        arguments["spike_grad"] = spike_function(*spec.surrogate)
    if spec.quantizer is not None:
        arguments["state_quant"] = _quantizer(spec.quantizer)
    if family.sizes:
        return _layer(name, kind, spec, {**arguments, **spec.sizes, **own}, wide)
    if kind is snntorch.Lapicque:
        return _lapicque(arguments)
    if not spec.recurrent:
        return kind(**arguments)
    return _recurrent(kind, spec, arguments, wide)


def _accepted(kind: type) -> set[str]:
    """Arguments of a class, with those of its parent where it hands on what it does not name."""
    found: set[str] = set()
    for cls in kind.__mro__:
        parameters = inspect.signature(cls).parameters
        found |= {*parameters}
        if not any(p.kind is p.VAR_KEYWORD for p in parameters.values()):
            break
    return found


def real(value: Any, wide: bool) -> torch.dtype:
    """The type of a number in snnTorch: float32, or float64 in a wide network and for an array of it."""
    given = np.asarray(value)
    return torch.float64 if wide or (given.dtype == np.float64 and given.ndim) else torch.float32


def _layer(name: str, kind: Any, spec: NeuronSpec, arguments: dict[str, Any], wide: bool) -> nn.Module:
    """A layer with weights of its own."""
    doubles = wide or spec.weights.get(spec.family.decay, np.float32(0)).dtype == np.float64
    for key, value in arguments.items():
        if isinstance(value, np.ndarray):
            arguments[key] = torch.tensor(value, dtype=real(0.0, wide))
    if "beta" in spec.values:
        arguments["beta"] = torch.tensor(spec.values["beta"], dtype=real(0.0, doubles))
    if not spec.options.get("output", True):
        arguments = {k: v for k, v in arguments.items() if k not in ("spike_grad", "surrogate_disable")}
    accepted = inspect.signature(kind.__init__).parameters
    cell: nn.Module = kind(**{k: v for k, v in arguments.items() if k in accepted})
    check_cell(name, cell)
    if wide:
        cell.double()
    tensors = {**dict(cell.named_parameters()), **dict(cell.named_buffers())}
    with torch.no_grad():
        for key, value in spec.weights.items():
            given = torch.tensor(value, dtype=tensors[key].dtype)
            if tensors[key].shape == given.shape:
                tensors[key].copy_(given)
            else:
                tensors[key].data = given
    return cell


def _lapicque(arguments: dict[str, Any]) -> nn.Module:
    """snnTorch's constructor takes one R and one C for all neurons, and computes with arrays of them."""
    numbers = {key: arguments.pop(key) for key in ("R", "C", "time_step")}
    neuron = snntorch.Lapicque(**arguments, R=1.0, C=1.0)
    neuron.beta = torch.exp(torch.ones(1) * (-numbers["time_step"] / (numbers["R"] * numbers["C"])))
    for key, value in numbers.items():
        setattr(neuron, key, value)
    return neuron


def spike_function(name: str, options: Mapping[str, float]) -> Callable[[torch.Tensor], torch.Tensor]:
    """A function of ``snntorch.surrogate``, by the name of what makes it."""
    maker = getattr(snntorch.surrogate, name)
    accepted = inspect.signature(maker).parameters
    made: Callable[[torch.Tensor], torch.Tensor] = maker(
        **{k: v for k, v in options.items() if k in accepted}
    )
    return made


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
        return kind(**arguments, all_to_all=False, V=torch.tensor(value, dtype=real(value, wide)))
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
    return find(type(module).__name__) is not None and type(module).__module__.startswith("snntorch.")
