"""SLSTM and SConv2dLSTM: extension nodes with the weights of their gates."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import replace
from typing import Any

import numpy as np

from snnax import neurons
from snnax.errors import ConversionError
from snnax.interop.families import state_dict
from snnax.interop.families.family import Array, Family, Firing, Shape
from snnax.interop.layers.entries import Entry, Layer, affine
from snnax.interop.spec import NeuronSpec


class SLSTM(Family):
    """Gates are products of the input and of the membrane."""

    cell = "lstm_cell"

    def _after(self, sizes: Mapping[str, Any], shape: Shape) -> Shape:
        return (int(sizes["hidden_size"]),)

    def entries(self, layer: Layer, variables: Mapping[str, Any]) -> list[Entry]:
        """The weights of torch's LSTMCell."""
        found = state_dict.common(layer, variables)
        for suffix, home in (("ih", "feedforward"), ("hh", "recurrent")):
            for entry in affine(layer, variables, "", "params", home):
                found.append(replace(entry, key=f"lstm_cell.{entry.key}_{suffix}"))
        return found

    def torch_sizes(self, module: Any) -> dict[str, Any]:
        """The arguments, but for biases: one may have been taken away since the layer was built."""
        inner = getattr(module, self.cell)
        there = {name: value is not None for name, value in inner._parameters.items() if "bias" in name}
        if len(set(there.values())) > 1:
            lost = next(name for name, kept in there.items() if not kept)
            raise ConversionError(
                self.kind, f"its {lost} is None and its other bias is not",
                "Take both away, or set it to zeros.",
            )  # fmt: skip
        return {**super().torch_sizes(module), "bias": all(there.values())}


class SConv2dLSTM(SLSTM):
    """Gates are convolutions of input and membrane side by side; what is compared with the threshold may be pooled."""

    cell = "conv"
    rank = 3

    def _after(self, sizes: Mapping[str, Any], shape: Shape) -> Shape:
        window = np.broadcast_to(sizes["max_pool"] or sizes["avg_pool"] or 1, 2)
        return (int(sizes["out_channels"]), *(n // int(w) for n, w in zip(shape[1:], window, strict=True)))

    def state_shape(self, sizes: Mapping[str, Any], shape: Shape, after: Shape) -> Shape:
        """States are not pooled."""
        return (after[0], *shape[1:])

    def firing(self, spec: NeuronSpec, before: Mapping[str, Array], after: Mapping[str, Array]) -> Firing:
        """The membrane, pooled: a mean is rounded, a maximum is not."""
        mem, sizes = after["mem"], spec.sizes
        if sizes["max_pool"] or sizes["avg_pool"]:
            shape = self._after(sizes, mem.shape[2:])
            height, width = (n // m for n, m in zip(mem.shape[3:], shape[1:], strict=True))
            inside = mem[..., : shape[1] * height, : shape[2] * width]
            windows = inside.reshape(*mem.shape[:3], shape[1], height, shape[2], width)
            mem = windows.max((4, 6)) if sizes["max_pool"] else windows.mean((4, 6))
        return Firing(mem, spec.values["threshold"], exact=not sizes["avg_pool"])

    def entries(self, layer: Layer, variables: Mapping[str, Any]) -> list[Entry]:
        """The weights of one convolution."""
        return [*state_dict.common(layer, variables), *affine(layer, variables, "conv.", "params", "conv")]

    def torch_sizes(self, module: Any) -> dict[str, Any]:
        """Kernels and windows as pairs, and 0 for no window."""
        found = super().torch_sizes(module)
        for key in ("kernel_size", "max_pool", "avg_pool"):
            pair = (int(found[key]),) * 2 if isinstance(found[key], int) else tuple(found[key])
            found[key] = pair if all(pair) else 0
        return found


FAMILIES = (
    SLSTM(
        neurons.SLSTM,
        ("threshold",),
        sizes=("input_size", "hidden_size", "bias"),
        weights={
            "lstm_cell.weight_ih": ("feedforward", "kernel"),
            "lstm_cell.bias_ih": ("feedforward", "bias"),
            "lstm_cell.weight_hh": ("recurrent", "kernel"),
            "lstm_cell.bias_hh": ("recurrent", "bias"),
        },
        entry="input_size",
    ),
    SConv2dLSTM(
        neurons.SConv2dLSTM,
        ("threshold",),
        sizes=("in_channels", "out_channels", "kernel_size", "bias", "max_pool", "avg_pool"),
        weights={"conv.weight": ("conv", "kernel"), "conv.bias": ("conv", "bias")},
        entry="in_channels",
    ),
)
