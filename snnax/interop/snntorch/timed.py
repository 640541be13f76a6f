"""snnTorch's BatchNormTT and GradedSpikes as NIR nodes, and back."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace
from typing import Any

import nir
import numpy as np
import torch
from torch import nn

from snnax.errors import ConversionError
from snnax.interop.conventions import against, for_each
from snnax.interop.nodes import metadata
from snnax.interop.nodes.extension import Extension
from snnax.interop.nodes.registry import Site
from snnax.interop.snntorch.arrays import array


class ScaleBy(nn.Module):
    """``scale * x``, elementwise."""

    def __init__(self, scale: Any, learn: bool) -> None:
        super().__init__()
        value = torch.as_tensor(scale)
        if learn:
            self.scale = nn.Parameter(value)
        else:
            self.register_buffer("scale", value, persistent=False)

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        """Scale ``[B, ...]``."""
        return x * self.scale


class TimedNorm(nn.ModuleList):
    """A batch normalisation for each step, which counts its steps; ``reset()`` starts again at the first.

    Args:
        norms: one for each step, as ``snntorch.BatchNormTT1d`` makes them.
    """

    def __init__(self, norms: Any) -> None:
        super().__init__(norms)
        self.step = 0

    def reset(self) -> None:
        """Start a new sequence."""
        self.step = 0

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        """Normalise ``[B, ...]`` with what belongs to this step."""
        if self.step >= len(self):
            raise IndexError(f"step {self.step} of {len(self)}: call reset() before a new sequence.")
        norm = self[self.step]
        self.step += 1
        result: torch.Tensor = norm(x)
        return result


def norms_from_torch(module: nn.ModuleList, site: Site, one: Callable[[Any, Site], Extension]) -> Extension:
    """One batch normalisation for each step; ``one`` reads one of them.

    Raises:
        ConversionError: unless they are of one kind and without a bias, as ``snntorch.BatchNormTT1d`` makes them.
    """
    nodes = [one(norm, site) for norm in module]
    first = nodes[0]
    alike = all(node.options == first.options and node.arrays.keys() == first.arrays.keys() for node in nodes)
    if not alike or "bias" in first.arrays:
        raise ConversionError(
            site.name, "its batch normalisations have biases, or differ in eps, momentum or affine",
            "Build it with snntorch.BatchNormTT1d or BatchNormTT2d.",
        )  # fmt: skip
    arrays = {k: np.stack([node.arrays[k] for node in nodes]) for k in first.arrays}
    return Extension("BatchNormTT", arrays, first.options, site.shape_in, site.shape_out)


def norms_layer(node: Extension, site: Site, one: Callable[[Extension, Site], nn.Module]) -> TimedNorm:
    """The torch layer of such a node; ``one`` makes each."""
    steps = len(node.arrays["running_mean"])
    each = [one(replace(node, arrays={k: v[t] for k, v in node.arrays.items()}), site) for t in range(steps)]
    for norm in each:
        norm.register_parameter("bias", None)
    return TimedNorm(each)


def scale_from_torch(module: Any, site: Site) -> nir.NIRNode:
    """A Scale node, whose metadata says how few weights it has.

    ``snntorch.GradedSpikes`` multiplies along the axis before the last, which must be one of the sample's.

    Raises:
        ConversionError: if it scales the samples of a batch instead.
    """
    learn = True
    if isinstance(module, ScaleBy):
        scale, learn = array(module.scale), isinstance(module.scale, nn.Parameter)
    else:
        scale = array(module.weights)
        if len(scale) == 1:
            scale = scale.reshape(())
        elif len(site.shape_in) < 2 or site.shape_in[-2] != len(scale):
            raise ConversionError(
                site.name, f"its {len(scale)} weights multiply the samples of a batch and not the neurons: it scales "
                f"along the axis before the last, and a sample has shape {site.shape_in}",
                "snnax.GradedSpikes scales the neurons; put it there by hand with the weights of this one.",
            )  # fmt: skip
    scale = against(scale, site.shape_in)
    content = {"learn": learn, "shape": list(scale.shape)}
    node = nir.Scale(scale=for_each(scale, site.shape_in))
    return metadata.write(node, content if learn or scale.ndim else {"factor": float(scale)})
