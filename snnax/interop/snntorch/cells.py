"""snnTorch's layers with weights of their own, as specs and back: LSTM cells, DeltaLeaky, parallel neurons."""

from __future__ import annotations

import inspect
from typing import Any

import numpy as np
import snntorch
import torch
from torch import nn

from snnax.errors import ConversionError
from snnax.interop.nodes.cell_weights import PATHS
from snnax.interop.snntorch.members import check_cell
from snnax.interop.spec import SEQUENCES, SIZES, NeuronSpec
from snnax.interop.torch.arrays import array


def sizes_of(module: Any) -> dict[str, Any]:
    """The arguments of a layer that are sizes or switches, as JSON values."""
    kind = type(module).__name__
    if kind == "StateLeaky":
        return {"channels": None, "kernel_truncation_steps": module.kernel_truncation_steps}
    if kind == "LinearLeaky":
        found = {k: getattr(module.linear, k) for k in ("in_features", "out_features")}
        steps = module.kernel_truncation_steps
        return {**found, "bias": module.linear.bias is not None, "kernel_truncation_steps": steps}
    if kind == "LeakyParallel":
        weight = module.rnn.weight_hh_l0.detach()
        return {
            "input_size": module.rnn.input_size,
            "hidden_size": module.hidden_size,
            "bias": bool(module.rnn.bias),
            "beta": None if module.beta is None or module.beta.numel() != 1 else float(module.beta),
            "weight_hh_enable": bool((weight != torch.diag(torch.diag(weight))).any()),
        }
    if kind == "AssociativeLeaky":
        given = {k: getattr(module, k) for k in SIZES[kind][1:]}
        return {"in_dim": module.to_v.in_features, **given}
    found = {key: getattr(module, key) for key in SIZES[kind]}
    if "bias" in found:
        found["bias"] = _has_bias(module)
    if kind == "SConv2dLSTM":
        for key in ("kernel_size", "max_pool", "avg_pool"):
            found[key] = (int(found[key]),) * 2 if isinstance(found[key], int) else tuple(found[key])
            found[key] = found[key] if all(found[key]) else 0
    return found


def _has_bias(module: Any) -> bool:
    """Whether an LSTM layer has biases, by those that it holds: one may have been taken away since it was built."""
    inner = module.lstm_cell if hasattr(module, "lstm_cell") else module.conv
    there = {name: tensor is not None for name, tensor in inner._parameters.items() if "bias" in name}
    if len(set(there.values())) > 1:
        lost = next(name for name, kept in there.items() if not kept)
        raise ConversionError(
            type(module).__name__, f"its {lost} is None and its other bias is not",
            "Take both away, or set it to zeros.",
        )  # fmt: skip
    return all(there.values())


def weights_of(module: nn.Module) -> dict[str, np.ndarray]:
    """The weights of a layer by the names of its ``state_dict``; those that it lacks are left out."""
    tensors = {**dict(module.named_parameters()), **dict(module.named_buffers())}
    return {k: array(tensors[k]) for k in PATHS.get(type(module).__name__, {}) if k in tensors}


def values_of(name: str, module: Any) -> dict[str, np.ndarray]:
    """Numbers of a parallel layer whose attributes are not simply its arguments.

    snnTorch multiplies the spikes of StateLeaky and LinearLeaky by the graded factor twice.
    """
    kind = type(module).__name__
    if kind not in ("StateLeaky", "LinearLeaky"):
        return {}
    tau = array(module.tau).astype(np.float64)
    if not (tau > 0).all():
        raise ConversionError(
            name, "its tau is not positive", "Restore a checkpoint from before training diverged."
        )
    factor = array(module.graded_spikes_factor)
    return {"beta": (tau - 1) / tau, "graded_spikes_factor": factor * factor}


def learned_of(module: Any) -> list[str]:
    """What else is trained than the parameters with an argument's name."""
    if isinstance(module, snntorch.StateLeaky):
        return ["beta"] if isinstance(module.tau, nn.Parameter) else []
    if isinstance(module, snntorch.LeakyParallel):
        return ["beta"] if module.rnn.weight_hh_l0.requires_grad else []
    return []


def real(value: Any, wide: bool) -> torch.dtype:
    """The type of a number in snnTorch: float32, or float64 in a wide network and for an array of it."""
    given = np.asarray(value)
    return torch.float64 if wide or (given.dtype == np.float64 and given.ndim) else torch.float32


def cell_from_spec(
    name: str, spec: NeuronSpec, arguments: dict[str, Any], init_hidden: bool, wide: bool = False
) -> nn.Module:
    """The snnTorch layer of a spec, with its weights.

    Args:
        name: of the layer, for errors.
        spec: the layer.
        arguments: numbers and choices as its constructor takes them.
        init_hidden: the layer keeps its state, where it has the choice.
        wide: every number is in float64.

    Raises:
        ConversionError: for what snnTorch 1.0.0 computes differently.
    """
    kind: Any = getattr(snntorch, spec.kind)
    arguments = {**arguments, **spec.sizes}
    if spec.kind == "LeakyParallel":
        beta = spec.sizes.get("beta")
        arguments["beta"] = beta if isinstance(beta, float) else None
        arguments.update(weight_hh_enable=True, learn_beta="beta" in spec.learn)
    if spec.kind in ("StateLeaky", "LinearLeaky"):
        factor = np.asarray(spec.values["graded_spikes_factor"])
        if (factor < 0).any():
            raise ConversionError(
                name, "its graded_spikes_factor is negative, and snnTorch squares the factor of a parallel neuron",
                "Put the sign into the weights of the next layer.",
            )  # fmt: skip
        arguments["graded_spikes_factor"] = torch.tensor(
            spec.whole("graded_spikes_factor", np.sqrt(factor)), dtype=real(0.0, wide)
        )
        wide_tau = spec.weights.get("tau", np.float32(0)).dtype == np.float64
        arguments["beta"] = torch.tensor(spec.values["beta"], dtype=real(0.0, wide or wide_tau))
        if not spec.options.get("output", True):
            arguments = {k: v for k, v in arguments.items() if k not in ("spike_grad", "surrogate_disable")}
    if spec.kind not in SEQUENCES:
        arguments["init_hidden"] = init_hidden
    accepted = inspect.signature(kind.__init__).parameters
    cell: nn.Module = kind(**{k: v for k, v in arguments.items() if k in accepted})
    check_cell(name, cell)
    if wide:
        cell.double()
    _fill(cell, spec)
    return cell


def _fill(cell: Any, spec: NeuronSpec) -> None:
    tensors = {**dict(cell.named_parameters()), **dict(cell.named_buffers())}
    with torch.no_grad():
        for key, value in spec.weights.items():
            given = torch.tensor(value, dtype=tensors[key].dtype)
            if tensors[key].shape == given.shape:
                tensors[key].copy_(given)
            else:
                tensors[key].data = given
