"""The neurons of which snnTorch computes all time steps at once, on ``[T, B, N]``: extension nodes."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import replace
from typing import Any

import numpy as np

from snnax import neurons
from snnax.dynamics.decay import time_constant
from snnax.errors import ConversionError
from snnax.interop.conventions import kernel_from_torch, kernel_to_torch
from snnax.interop.families import state_dict
from snnax.interop.families.family import Array, Family, Firing, Path, Shape, Variables, variable
from snnax.interop.families.state_dict import constant
from snnax.interop.layers.entries import Entry, Given, Layer, affine, find, number, plain, there
from snnax.interop.spec import NeuronSpec
from snnax.neurons.values import FrozenArray

_SQUARED = "its graded_spikes_factor is negative, and snnTorch squares the factor of a parallel neuron"
_SIGN = "Put the sign into the weights of the next layer."


class StateLeaky(Family):
    r"""A leaky integrator with :math:`\beta = (\tau - 1)/\tau`; ``tau`` is what is kept and trained.

    snnTorch multiplies its spikes by the graded factor twice.
    """

    def firing(
        self, spec: NeuronSpec, before: Mapping[str, Array], after: Mapping[str, Array]
    ) -> Firing | None:
        """Nothing, if it is a filter, which emits its membrane."""
        return super().firing(spec, before, after) if spec.options.get("output", True) else None

    def module_values(self, name: str, module: Any, variables: Variables) -> dict[str, Array]:
        """The beta of the time constant that is kept, in double precision."""
        tau = variable(variables, ("tau",))
        if tau is None:
            return {"beta": np.asarray(module.beta, np.float64)}
        wide = np.asarray(tau).astype(np.float64)
        return {"beta": (wide - 1) / wide}

    def entries(self, layer: Layer, variables: Mapping[str, Any]) -> list[Entry]:
        """``tau`` is what decays; snnTorch's ``beta`` beside it is a copy of the argument that nothing trains."""
        common = state_dict.common(layer, variables)
        found = [_squared(layer, e) if e.key == "graded_spikes_factor" else e for e in common]
        found[-1] = constant("reset_mechanism_val", 0, "there is no reset: it is")
        beta = number(layer, variables, "beta", learn=False)
        tau = time_constant(np.asarray(layer.module.beta, np.float32))
        return [*found, beta, number(layer, variables, "tau", learn=layer.module.learn_beta, field=tau)]

    def torch_sizes(self, module: Any) -> dict[str, Any]:
        """Any number of channels."""
        return {"channels": None, "kernel_truncation_steps": module.kernel_truncation_steps}

    def torch_values(self, name: str, module: Any, array: Callable[[Any], Array]) -> dict[str, Array]:
        """Beta from the time constant, and what both factors multiply by."""
        tau = array(module.tau).astype(np.float64)
        if not (tau > 0).all():
            raise ConversionError(
                name, "its tau is not positive", "Restore a checkpoint from before training diverged."
            )
        factor = array(module.graded_spikes_factor)
        return {"beta": (tau - 1) / tau, "graded_spikes_factor": factor * factor}

    def torch_learns(self, module: Any) -> list[str]:
        """``beta``, by its time constant."""
        return ["beta"] if "tau" in module._parameters else []

    def torch_options(self, name: str, module: Any, options: dict[str, Any]) -> dict[str, Any]:
        """It returns its spikes or its membrane, as it was built."""
        return {**options, "output": bool(module.output)}

    def torch_arguments(self, name: str, spec: NeuronSpec) -> dict[str, Any]:
        """The root of the factor, by which snnTorch multiplies twice."""
        factor = np.asarray(spec.values["graded_spikes_factor"])
        if (factor < 0).any():
            raise ConversionError(name, _SQUARED, _SIGN)
        return {"graded_spikes_factor": spec.whole("graded_spikes_factor", np.sqrt(factor))}


class LinearLeaky(StateLeaky):
    """StateLeaky behind a linear layer of its own."""

    def _after(self, sizes: Mapping[str, Any], shape: Shape) -> Shape:
        return (int(sizes["out_features"]),)

    def entries(self, layer: Layer, variables: Mapping[str, Any]) -> list[Entry]:
        """Those of StateLeaky, and the linear layer."""
        own = super().entries(layer, variables)
        return [*own, *affine(layer, variables, "linear.", "params", "linear")]

    def torch_sizes(self, module: Any) -> dict[str, Any]:
        """Sizes of the linear layer."""
        found = {k: getattr(module.linear, k) for k in ("in_features", "out_features")}
        steps = module.kernel_truncation_steps
        return {**found, "bias": module.linear.bias is not None, "kernel_truncation_steps": steps}


class LeakyParallel(Family):
    """torch's RNN, whose recurrent weights may be a diagonal of decays."""

    def _after(self, sizes: Mapping[str, Any], shape: Shape) -> Shape:
        return (int(sizes["hidden_size"]),)

    def module_sizes(self, module: Any) -> dict[str, Any]:
        """A beta for each neuron is left to the weights, which hold it."""
        found = super().module_sizes(module)
        return {**found, "beta": None} if isinstance(found["beta"], FrozenArray) else found

    def module_learns(self, module: Any) -> list[str]:
        """``beta``, by the recurrent weights."""
        return ["beta"] if module.learn_beta else []

    def flax_weight(self, spec: NeuronSpec, name: str, value: Array) -> tuple[Path, Any]:
        """Recurrent weights of each neuron to itself alone are kept as their diagonal."""
        if name == self.decay and not spec.sizes["weight_hh_enable"]:
            return ("recurrent", "beta"), np.diagonal(value).copy()
        return super().flax_weight(spec, name, value)

    def torch_weights(self, variables: Mapping[str, Any]) -> dict[str, Array]:
        """A diagonal becomes the matrix."""
        found = super().torch_weights(variables)
        diagonal = variable(variables, ("recurrent", "beta"))
        if diagonal is not None:
            found[self.decay] = np.diag(np.asarray(diagonal))
        return found

    def entries(self, layer: Layer, variables: Mapping[str, Any]) -> list[Entry]:
        """The weights of torch's RNN."""
        module = layer.module
        found = state_dict.common(layer, variables, reset=False)
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

    def torch_sizes(self, module: Any) -> dict[str, Any]:
        """Those of the RNN; its weights tell whether they are a diagonal."""
        weight = module.rnn.weight_hh_l0.detach()
        return {
            "input_size": module.rnn.input_size,
            "hidden_size": module.hidden_size,
            "bias": bool(module.rnn.bias),
            "beta": None if module.beta is None or module.beta.numel() != 1 else float(module.beta),
            "weight_hh_enable": bool((weight != weight.diagonal().diag()).any()),
        }

    def torch_learns(self, module: Any) -> list[str]:
        """``beta``, by the recurrent weights."""
        return ["beta"] if module.rnn.weight_hh_l0.requires_grad else []

    def torch_arguments(self, name: str, spec: NeuronSpec) -> dict[str, Any]:
        """The weights hold all of the matrix."""
        beta = spec.sizes.get("beta")
        return {
            "beta": beta if isinstance(beta, float) else None,
            "weight_hh_enable": True,
            "learn_beta": "beta" in spec.learn,
        }


class AssociativeLeaky(Family):
    """An associative memory: keys, values, decays and queries are products of the input."""

    torch_unused = ("spike_grad",)
    torch_rounding = (
        "snnTorch 1.0.0 divides by the product of all decays so far, which is lost in rounding after some steps; give "
        "it shorter sequences, or larger decays."
    )

    def _after(self, sizes: Mapping[str, Any], shape: Shape) -> Shape:
        other = "d_value" if sizes["use_q_projection"] else "d_key"
        return (int(sizes["d_value"]) * int(sizes[other]),)

    def state_shape(self, sizes: Mapping[str, Any], shape: Shape, after: Shape) -> Shape:
        """The memory, whatever a query reads."""
        return (int(sizes["d_value"]) * int(sizes["d_key"]),)

    def firing(self, spec: NeuronSpec, before: Mapping[str, Array], after: Mapping[str, Array]) -> Firing:
        """Each entry of the memory, with a threshold of 1."""
        return Firing(after["state"], 1.0)

    def emitted(self, name: str, weights: Mapping[str, Array], spk: Array) -> Array:
        """The spikes of the memory, a matrix, transposed; or what a query reads of them, which is not known here."""
        if "to_q.weight" in weights:
            raise ConversionError(name, "its spikes are read by a query", "Its rounding error is estimated.")
        return spk.swapaxes(2, 3).reshape(*spk.shape[:2], -1)

    def entries(self, layer: Layer, variables: Mapping[str, Any]) -> list[Entry]:
        """Its projections."""
        found = [constant("threshold", np.float32(1), f"{self.kind}'s is")]
        found.append(constant("graded_spikes_factor", np.float32(1), f"{self.kind}'s is"))
        found.append(constant("reset_mechanism_val", 0, "there is no reset: it is"))
        for part in ("to_v", "to_k", "to_alpha", *(["to_q"] if layer.module.use_q_projection else [])):
            found += affine(layer, variables, f"{part}.", "params", part)
        return found

    def torch_sizes(self, module: Any) -> dict[str, Any]:
        """The arguments; the first by the weights."""
        return {"in_dim": module.to_v.in_features, **{k: getattr(module, k) for k in self.sizes[1:]}}


def _squared(layer: Layer, entry: Entry) -> Entry:
    """The root of a height, by which snnTorch multiplies twice; what comes back as it was given keeps its bits."""
    if (entry.value < 0).any():
        raise ConversionError(layer.name or type(layer.module).__name__, _SQUARED, _SIGN)
    root = np.asarray(np.sqrt(entry.value.astype(np.float64)), entry.value.dtype)

    def put(old: Array | None, new: Array) -> Array:
        same = new.size == root.size and np.array_equal(new.reshape(root.shape), root)
        return entry.put(old, entry.value if same else np.asarray(new.astype(np.float64) ** 2, new.dtype))

    return replace(entry, value=root, put=put)


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


def _dense(torch_name: str, flax_name: str) -> dict[str, Path]:
    return {f"{torch_name}.weight": (flax_name, "kernel"), f"{torch_name}.bias": (flax_name, "bias")}


_HEIGHTS = ("beta", "threshold", "graded_spikes_factor")

FAMILIES = (
    StateLeaky(
        neurons.StateLeaky,
        _HEIGHTS,
        sizes=("channels", "kernel_truncation_steps"),
        weights={"tau": ("tau",)},
        decay="tau",
        entry="channels",
    ),
    LinearLeaky(
        neurons.LinearLeaky,
        _HEIGHTS,
        sizes=("in_features", "out_features", "bias", "kernel_truncation_steps"),
        weights={"tau": ("tau",), **_dense("linear", "linear")},
        decay="tau",
        entry="in_features",
    ),
    LeakyParallel(
        neurons.LeakyParallel,
        ("threshold", "graded_spikes_factor"),
        sizes=("input_size", "hidden_size", "beta", "bias", "weight_hh_enable"),
        weights={
            "rnn.weight_ih_l0": ("linear", "kernel"),
            "rnn.bias_ih_l0": ("linear", "bias"),
            "rnn.weight_hh_l0": ("recurrent", "kernel"),
            "rnn.bias_hh_l0": ("recurrent", "bias"),
        },
        decay="rnn.weight_hh_l0",
        entry="input_size",
    ),
    AssociativeLeaky(
        neurons.AssociativeLeaky,
        (),
        sizes=("in_dim", "d_value", "d_key", "num_spiking_neurons", "use_q_projection"),
        weights={
            k: v for part in ("to_v", "to_k", "to_alpha", "to_q") for k, v in _dense(part, part).items()
        },
        entry="in_dim",
    ),
)
