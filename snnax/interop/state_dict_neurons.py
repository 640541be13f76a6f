"""What each neuron has in a ``state_dict``; see :mod:`snnax.interop.layers.entries`."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import replace
from typing import Any

import numpy as np

from snnax import neurons
from snnax.dynamics.decay import time_constant
from snnax.dynamics.lapicque import complement
from snnax.errors import ConversionError
from snnax.interop.conventions import kernel_from_torch, kernel_to_torch
from snnax.interop.layers.entries import (
    Array,
    Entry,
    Given,
    Layer,
    affine,
    entries_of,
    find,
    number,
    plain,
    there,
)

RESETS = {"subtract": 0, "zero": 1, "none": 2}
"""``reset_mechanism_val`` of each reset mechanism."""


def constant(key: str, value: Any, why: str) -> Entry:
    """A number that the module itself fixes, as its reset mechanism."""
    expected = np.asarray(value)

    def check(new: Array, _: Given) -> str | None:
        return None if np.all(new == expected) else f"is {new.tolist()}, but {why} {expected.tolist()}"

    return Entry(key, expected, check=check, setting=True)


def common(layer: Layer, variables: Mapping[str, Any], *names: str, reset: bool = True) -> list[Entry]:
    """What every snnTorch neuron has, and the numbers ``names``."""
    module, kind = layer.module, type(layer.module).__name__
    found = [number(layer, variables, name) for name in ("threshold", *names)]
    if hasattr(module, "learn_graded_spikes_factor"):
        found.append(number(layer, variables, "graded_spikes_factor"))
    else:
        found.append(constant("graded_spikes_factor", np.float32(1), f"{kind} has no such argument: it is"))
    if reset:
        chosen = getattr(module, "reset_mechanism", "subtract")
        why = f"the module has reset_mechanism={chosen!r}, which is"
        found.append(constant("reset_mechanism_val", RESETS[chosen], why))
    return found


@entries_of(neurons.Leaky, neurons.DeltaLeaky)
def _leaky(layer: Layer, variables: Mapping[str, Any]) -> list[Entry]:
    return common(layer, variables, "beta")


@entries_of(neurons.Synaptic, neurons.Alpha)
def _synaptic(layer: Layer, variables: Mapping[str, Any]) -> list[Entry]:
    return common(layer, variables, "beta", "alpha")


@entries_of(neurons.RLeaky)
def _recurrent_leaky(layer: Layer, variables: Mapping[str, Any]) -> list[Entry]:
    return [*common(layer, variables, "beta"), *_recurrence(layer, variables)]


@entries_of(neurons.RSynaptic)
def _recurrent_synaptic(layer: Layer, variables: Mapping[str, Any]) -> list[Entry]:
    return [*common(layer, variables, "beta", "alpha"), *_recurrence(layer, variables)]


def _recurrence(layer: Layer, variables: Mapping[str, Any]) -> list[Entry]:
    learn = layer.module.learn_recurrent
    if layer.module.all_to_all:
        return affine(layer, variables, "recurrent.", "params" if learn else "buffers", "recurrent")
    entry = number(layer, variables, "V", learn=learn)
    if not learn:
        return [entry]

    def same(new: Array, given: Given) -> str | None:
        equal = np.array_equal(new, given.get("V", new))
        return None if equal else "differs from V, of which it is a copy in snnTorch"

    # snnTorch registers a learned V twice; files without doubled arrays have one of them
    copy = replace(entry, key="recurrent.V", path=None, check=same, optional=True)
    return [entry, copy]


@entries_of(neurons.Lapicque)
def _lapicque(layer: Layer, variables: Mapping[str, Any]) -> list[Entry]:
    """R and C are what snnTorch computes with; beta is then only kept, as there."""
    module = layer.module
    found = common(layer, variables)
    step = number(layer, variables, "time_step")
    known = {
        name: number(layer, variables, name)
        for name in ("beta", "R", "C")
        if getattr(module, name) is not False or find(variables, ("buffers", name)) is not None
    }
    if "beta" not in known:
        decay = np.exp(-step.value / (known["R"].value * known["C"].value)).astype(np.float32)
        known["beta"] = number(layer, variables, "beta", field=decay.reshape(decay.shape or (1,)))
    beta = known["beta"].value.astype(np.float32)
    if not {"R", "C"} & {*known}:
        known["R"] = number(layer, variables, "R", field=1.0)
    missing, other = ("C", "R") if "R" in known else ("R", "C")
    derived = {*(n for n in ("R", "C") if getattr(module, n) is False)}
    if missing not in known:
        follows = np.asarray(complement(beta, known[other].value, step.value), np.float32)
        known[missing] = number(layer, variables, missing, field=follows)
    for name in derived:
        known[name] = _derived(known[name], module.learn_beta, derived)
    return [*found, step, *known.values()]


def _derived(entry: Entry, learned: bool, derived: set[str]) -> Entry:
    """An R or C that follows from beta: stored, so that the very bits are kept, unless beta is learned."""
    if not learned:
        return replace(entry, setting=False)

    def check(new: Array, given: Given) -> str | None:
        beta, other = given.get("beta"), given.get("R" if entry.key == "C" else "C")
        if beta is None or other is None or (entry.key == "R" and derived == {"R", "C"}):
            return None
        expected = given.get("time_step", np.ones(())) / (other * np.log(1 / beta))
        if np.allclose(new, expected, rtol=1e-5):
            return None
        return "does not follow from beta, which is learned here; snnTorch computes with R and C: build with both"

    return replace(entry, path=None, check=check)


@entries_of(neurons.SLSTM)
def _lstm(layer: Layer, variables: Mapping[str, Any]) -> list[Entry]:
    found = common(layer, variables)
    for suffix, home in (("ih", "feedforward"), ("hh", "recurrent")):
        for entry in affine(layer, variables, "", "params", home):
            found.append(replace(entry, key=f"lstm_cell.{entry.key}_{suffix}"))
    return found


@entries_of(neurons.SConv2dLSTM)
def _conv_lstm(layer: Layer, variables: Mapping[str, Any]) -> list[Entry]:
    return [*common(layer, variables), *affine(layer, variables, "conv.", "params", "conv")]


@entries_of(neurons.StateLeaky, neurons.LinearLeaky)
def _state_leaky(layer: Layer, variables: Mapping[str, Any]) -> list[Entry]:
    """``tau`` is what decays; snnTorch's ``beta`` beside it is a copy of the argument that nothing trains."""
    found = [_squared(layer, e) if e.key == "graded_spikes_factor" else e for e in common(layer, variables)]
    found[-1] = constant("reset_mechanism_val", 0, "there is no reset: it is")
    beta = number(layer, variables, "beta", learn=False)
    tau = time_constant(np.asarray(layer.module.beta, np.float32))
    found += [beta, number(layer, variables, "tau", learn=layer.module.learn_beta, field=tau)]
    if isinstance(layer.module, neurons.LinearLeaky):
        found += affine(layer, variables, "linear.", "params", "linear")
    return found


def _squared(layer: Layer, entry: Entry) -> Entry:
    """The root of a height, by which snnTorch multiplies twice; what comes back as it was given keeps its bits."""
    if (entry.value < 0).any():
        raise ConversionError(
            layer.name or type(layer.module).__name__,
            "its graded_spikes_factor is negative, and snnTorch squares the factor of a parallel neuron",
            "Put the sign into the weights of the next layer.",
        )
    root = np.asarray(np.sqrt(entry.value.astype(np.float64)), entry.value.dtype)

    def put(old: Array | None, new: Array) -> Array:
        same = new.size == root.size and np.array_equal(new.reshape(root.shape), root)
        return entry.put(old, entry.value if same else np.asarray(new.astype(np.float64) ** 2, new.dtype))

    return replace(entry, value=root, put=put)


@entries_of(neurons.LeakyParallel)
def _parallel(layer: Layer, variables: Mapping[str, Any]) -> list[Entry]:
    module = layer.module
    found = common(layer, variables, reset=False)
    if module.beta is not None:
        beta = np.atleast_1d(np.asarray(module.beta, np.float32))
        found.append(number(layer, variables, "beta", learn=False, field=beta))
    home = "input" if find(variables, ("params", "input", "kernel")) is not None else "linear"
    for entry in affine(layer, variables, "rnn.", "params", home):
        found.append(replace(entry, key=f"{entry.key}_ih_l0"))
    found.append(_feedback(layer, variables))
    if module.bias:
        found.append(plain(layer, variables, "rnn.bias_hh_l0", "params", "recurrent", "bias"))
    return found


def _feedback(layer: Layer, variables: Mapping[str, Any]) -> Entry:
    """Recurrent weights: learned, stored, or what follows from the argument ``beta``."""
    module, size = layer.module, layer.module.hidden_size
    full = module.weight_hh_enable
    path = ("params" if module.learn_beta else "buffers", "recurrent", "kernel" if full else "beta")
    stored = find(variables, path)
    fixed = stored is None and not module.learn_beta and module.beta is not None
    if fixed:
        stored = np.broadcast_to(np.asarray(module.beta, np.float32), (size, size) if full else (size,))
    if stored is None:
        stored = there(layer, variables, path)
    if full:
        value, put, check = kernel_to_torch(stored), lambda _, new: kernel_from_torch(new), None
    else:
        value, put, check = np.diag(stored), lambda _, new: np.diag(new), _diagonal
    return Entry("rnn.weight_hh_l0", value, path, put, check, setting=fixed)


def _diagonal(new: Array, _: Given) -> str | None:
    if np.count_nonzero(new - np.diag(np.diag(new))):
        return "is not diagonal; build the neuron with weight_hh_enable=True"
    return None


@entries_of(neurons.AssociativeLeaky)
def _associative(layer: Layer, variables: Mapping[str, Any]) -> list[Entry]:
    found = [constant("threshold", np.float32(1), "AssociativeLeaky's is")]
    found.append(constant("graded_spikes_factor", np.float32(1), "AssociativeLeaky's is"))
    found.append(constant("reset_mechanism_val", 0, "there is no reset: it is"))
    for part in ("to_v", "to_k", "to_alpha", *(["to_q"] if layer.module.use_q_projection else [])):
        found += affine(layer, variables, f"{part}.", "params", part)
    return found
