"""Weights of layers that hold their own: torch's names and layout <-> the tree of flax's parameters."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import jax.numpy as jnp
import numpy as np

from snnax.interop.conventions import kernel_from_torch, kernel_to_torch
from snnax.interop.spec import NeuronSpec

Variables = dict[str, Any]
Path = tuple[str, ...]


def _dense(torch_name: str, flax_name: str) -> dict[str, Path]:
    return {f"{torch_name}.weight": (flax_name, "kernel"), f"{torch_name}.bias": (flax_name, "bias")}


PATHS: dict[str, dict[str, Path]] = {
    "SLSTM": {
        "lstm_cell.weight_ih": ("feedforward", "kernel"),
        "lstm_cell.bias_ih": ("feedforward", "bias"),
        "lstm_cell.weight_hh": ("recurrent", "kernel"),
        "lstm_cell.bias_hh": ("recurrent", "bias"),
    },
    "SConv2dLSTM": _dense("conv", "conv"),
    "StateLeaky": {"tau": ("tau",)},
    "LinearLeaky": {"tau": ("tau",), **_dense("linear", "linear")},
    "LeakyParallel": {
        "rnn.weight_ih_l0": ("linear", "kernel"),
        "rnn.bias_ih_l0": ("linear", "bias"),
        "rnn.weight_hh_l0": ("recurrent", "kernel"),
        "rnn.bias_hh_l0": ("recurrent", "bias"),
    },
    "AssociativeLeaky": {
        torch_name: path
        for part in ("to_v", "to_k", "to_alpha", "to_q")
        for torch_name, path in _dense(part, part).items()
    },
}
"""Where flax keeps each weight. Kernels are turned, everything else is kept as it is."""

_DECAYS = ("tau", "rnn.weight_hh_l0")
"""Trained if the spec learns ``beta``, else among the buffers."""


def flax_weights(spec: NeuronSpec) -> Variables:
    """The variables of a layer's weights, by collection."""
    variables: Variables = {}
    paths = PATHS.get(spec.kind, {})
    for name, value in spec.weights.items():
        if name not in paths:
            continue
        fixed = name in _DECAYS and "beta" not in spec.learn
        path, turned = paths[name], kernel_from_torch(value) if paths[name][-1] == "kernel" else value
        if name == "rnn.weight_hh_l0" and not spec.sizes["weight_hh_enable"]:
            path, turned = ("recurrent", "beta"), np.diagonal(value).copy()
        _put(variables.setdefault("buffers" if fixed else "params", {}), path, jnp.asarray(turned))
    return variables


def torch_weights(kind: str, variables: Mapping[str, Any]) -> dict[str, np.ndarray]:
    """The inverse of :func:`flax_weights`."""
    found = {}
    for name, path in PATHS.get(kind, {}).items():
        value = _get(variables, path)
        if value is not None:
            found[name] = kernel_to_torch(value) if path[-1] == "kernel" else np.asarray(value)
    diagonal = _get(variables, ("recurrent", "beta")) if kind == "LeakyParallel" else None
    if diagonal is not None:
        found["rnn.weight_hh_l0"] = np.diag(np.asarray(diagonal))
    return found


def _get(variables: Mapping[str, Any], path: Path) -> Any:
    for collection in ("params", "buffers"):
        value: Any = variables.get(collection, {})
        for key in path:
            value = value.get(key) if isinstance(value, Mapping) else None
        if value is not None:
            return value
    return None


def _put(tree: Variables, path: Path, value: Any) -> None:
    for key in path[:-1]:
        tree = tree.setdefault(key, {})
    tree[path[-1]] = value
