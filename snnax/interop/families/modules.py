"""Neuron specs as flax modules with variables, and back."""

from __future__ import annotations

import dataclasses
from typing import Any

import numpy as np

from snnax import neurons, surrogate
from snnax.errors import ConversionError
from snnax.interop.conventions import kernel_from_torch, kernel_to_torch, per_neuron_first, per_neuron_last
from snnax.interop.families.arrays import kept
from snnax.interop.families.family import variable
from snnax.interop.families.registry import families, unknown_neuron
from snnax.interop.numbers import on_device
from snnax.interop.spec import DEFAULT_SURROGATE, OPTIONS, NeuronSpec
from snnax.neurons.quantize import NearestLevel
from snnax.neurons.sequence import SequenceNeuron

Variables = dict[str, Any]


def module_from_spec(name: str, spec: NeuronSpec, rank: int) -> tuple[neurons.SpikingNeuron, Variables]:
    """The flax neuron, keeping its own state, and its variables; ``rank`` is that of one sample."""
    family = spec.family
    kind = family.module
    fields = {field.name for field in dataclasses.fields(kind)}
    arguments: dict[str, Any] = {"init_hidden": True}
    variables: Variables = {}
    for key, value in spec.values.items():
        here = _last(spec, key, value, rank)
        arguments[key] = float(here) if here.ndim == 0 else here
        if key == "beta" and "tau" in spec.weights:
            continue  # it follows from tau, which is what is kept
        if key in spec.learn:
            if "learn" not in fields:
                arguments[f"learn_{key}"] = True
            variables.setdefault("params", {})[key] = on_device(here)
        elif here.ndim:
            variables.setdefault("buffers", {})[key] = kept(here)
    for key in (*OPTIONS, "all_to_all"):
        if key in fields and key in spec.options:
            arguments[key] = spec.options[key]
    if spec.surrogate is not None and not (_silent(kind, spec) and spec.surrogate == DEFAULT_SURROGATE):
        arguments["spike_grad"] = getattr(surrogate, spec.surrogate[0])(**spec.surrogate[1])
    if spec.quantizer is not None:
        arguments["state_quant"] = NearestLevel(spec.quantizer)
    if "learn_recurrent" in fields:
        _add_recurrence(spec, rank, arguments, variables)
    arguments.update({k: v for k, v in spec.sizes.items() if k in fields})
    if "learn" in fields:
        arguments["learn"] = spec.learn
    elif family.sizes:
        arguments.update({f"learn_{k}": True for k in spec.learn if f"learn_{k}" in fields})
        for collection, tree in family.flax_weights(spec).items():
            variables.setdefault(collection, {}).update(tree)
    return kind(**arguments), variables


def _silent(kind: type, spec: NeuronSpec) -> bool:
    """Whether it returns no spikes, and warns of a surrogate: not of the one that its source has unasked."""
    return issubclass(kind, SequenceNeuron) and not spec.options.get("output", False)


def is_neuron(module: Any) -> bool:
    """True for what has states of its own that a recording shows."""
    return hasattr(module, "state_names")


def _last(spec: NeuronSpec, key: str, value: np.ndarray, rank: int) -> np.ndarray:
    here = per_neuron_last(value, rank)
    return spec.whole(key, here) if spec.axes.get(key) == rank + 1 else here


def _add_recurrence(spec: NeuronSpec, rank: int, arguments: Variables, variables: Variables) -> None:
    learn = "recurrent" in spec.learn
    arguments["learn_recurrent"] = learn
    home = variables.setdefault("params" if learn else "buffers", {})
    if "V" in spec.recurrent:
        value = _last(spec, "V", spec.recurrent["V"], rank)
        arguments.update(all_to_all=False, V=float(value) if value.ndim == 0 else value)
        if learn or value.ndim:
            home["V"] = on_device(value)
        return
    weight = spec.recurrent["weight"]
    if weight.ndim == 2:
        arguments["linear_features"] = weight.shape[0]
    else:
        arguments.update(conv2d_channels=weight.shape[0], kernel_size=tuple(weight.shape[2:]))
    home["recurrent"] = {"kernel": on_device(kernel_from_torch(weight))}
    if "bias" in spec.recurrent:
        home["recurrent"]["bias"] = on_device(spec.recurrent["bias"])
    else:
        arguments["recurrent_bias"] = False


def spec_from_module(name: str, module: neurons.SpikingNeuron, variables: Variables, rank: int) -> NeuronSpec:
    """The spec of a flax neuron with its present values; ``rank`` is that of one sample.

    Raises:
        ConversionError: for functions that cannot be written down, as a surrogate of the user's own, and arrays
            with a number for each sample of a batch.
    """
    kind, family = type(module).__name__, families().get(type(module).__name__)
    if family is None or (isinstance(module, neurons.CustomNeuron) and type(module) is not family.module):
        raise unknown_neuron(name, f"{kind} cannot be converted", "Convertible neurons")
    values, learn = {}, []
    for key in family.values:
        stored = _stored(variables, key)
        value = stored if stored is not None else getattr(module, key, None)
        if value is None or value is False:
            continue
        values[key] = value
        if getattr(module, f"learn_{key}", False) or key in getattr(module, "learn", ()):
            learn.append(key)
    values.update(family.module_values(name, module, variables))
    recurrent = _recurrence(module, variables)
    given = {**values, **{key: value for key, value in recurrent.items() if key == "V"}}
    axes = {key: rank + 1 for key, value in given.items() if np.ndim(value) == rank + 1}
    first = {key: _first(name, key, value, rank) for key, value in given.items()}
    values, recurrent = ({key: first.get(key, v) for key, v in each.items()} for each in (values, recurrent))
    if recurrent and module.learn_recurrent:
        learn.append("recurrent")
    if family.native:
        sizes = {key: getattr(module, key) for key in family.choices}
        options = {"output": module.output, "reset_mechanism": module.reset_mechanism}
    else:
        sizes = family.module_sizes(module)
        options = {k: getattr(module, k) for k in OPTIONS if hasattr(module, k)}
    return NeuronSpec(
        kind, values, (*learn, *family.module_learns(module)), options, _surrogate_of(name, module), recurrent,
        _levels_of(name, module), sizes, family.torch_weights(variables), axes,
    )  # fmt: skip


def _stored(variables: Variables, key: str) -> Any:
    found = variable(variables, (key,))
    return None if found is None else np.asarray(found)


def _first(name: str, key: str, value: Any, rank: int) -> np.ndarray:
    try:
        return per_neuron_first(value, rank)
    except ValueError as error:
        raise ConversionError(
            name, f"{key} has shape {np.shape(value)}, more axes than one of its samples, which have {rank}",
            "Give one number, or an array that broadcasts from the right to one sample, not to a batch of them.",
        ) from error  # fmt: skip


def _recurrence(module: Any, variables: Variables) -> dict[str, np.ndarray]:
    if not hasattr(module, "learn_recurrent"):
        return {}
    if not module.all_to_all:
        stored = _stored(variables, "V")
        return {"V": np.asarray(module.V if stored is None else stored)}
    home = variables["params" if module.learn_recurrent else "buffers"]["recurrent"]
    bias = {"bias": np.asarray(home["bias"])} if module.recurrent_bias else {}
    return {"weight": kernel_to_torch(home["kernel"]), **bias}


def _surrogate_of(name: str, module: Any) -> tuple[str, dict[str, Any]] | None:
    function = getattr(module, "spike_grad", None)
    if function is None:
        return None
    if not isinstance(function, surrogate.Surrogate) or function.name == "custom_surrogate":
        raise ConversionError(
            name, "its spike_grad is a function of your own, which no file can hold",
            "Use a surrogate of snnax.surrogate, or convert with spike_grad=None and set yours afterwards.",
        )  # fmt: skip
    return function.name, function.options


def _levels_of(name: str, module: Any) -> tuple[float, ...] | None:
    quantizer = getattr(module, "state_quant", False)
    if not quantizer:
        return None
    if not isinstance(quantizer, NearestLevel):
        raise ConversionError(
            name, "its state_quant is a function of your own, which no file can hold",
            "Use snnax.neurons.quantize.NearestLevel(levels).",
        )  # fmt: skip
    return tuple(quantizer.levels)
