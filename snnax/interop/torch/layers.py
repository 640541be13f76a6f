"""torch's stateless layers as NIR nodes, and NIR nodes as torch layers."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace
from typing import TYPE_CHECKING, Any

import nir
import numpy as np
import torch
from torch import nn

from snnax.errors import ConversionError
from snnax.interop.conventions import against, for_each, gathered
from snnax.interop.frameworks import package_of
from snnax.interop.layers.conv import conv_node, pads_of, sizes, text
from snnax.interop.layers.pooling import pool_node, window
from snnax.interop.layers.registry import Site
from snnax.interop.layers.rounded import mark, marked
from snnax.interop.layers.shape import reshape_node
from snnax.interop.layers.torch_own import TRANSPOSED
from snnax.interop.nir import metadata
from snnax.interop.nir.extension import Extension
from snnax.interop.torch.arrays import array
from snnax.interop.torch.quantized import ROUNDED, plain_kind, quantized_layer
from snnax.layers.rounding import WeightRounding

if TYPE_CHECKING:
    from snnax.interop.frameworks.adapter import Words

# --- Normalisations of each step and scales as NIR nodes, and back --------------------------------


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
        norms: one for each step.
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


def norms_from_torch(
    module: nn.ModuleList, site: Site, one: Callable[[Any, Site], Extension], words: Words
) -> Extension:
    """One batch normalisation for each step; ``one`` reads one of them.

    Raises:
        ConversionError: unless they are of one kind and without a bias.
    """
    nodes = [one(norm, site) for norm in module]
    first = nodes[0]
    alike = all(node.options == first.options and node.arrays.keys() == first.arrays.keys() for node in nodes)
    if not alike or "bias" in first.arrays:
        raise ConversionError(
            site.name, "its batch normalisations have biases, or differ in eps, momentum or affine",
            words.norms_alike,
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


def scale_node(scale: np.ndarray, site: Site, learn: bool) -> nir.NIRNode:
    """A Scale node, whose metadata says how few weights it has."""
    scale = against(scale, site.shape_in)
    content = {"learn": learn, "shape": list(scale.shape)}
    node = nir.Scale(scale=for_each(scale, site.shape_in))
    return metadata.write(node, content if learn or scale.ndim else {"factor": float(scale)})


POOLS = ("AvgPool1d", "AvgPool2d", "MaxPool1d", "MaxPool2d")
DROPOUTS = (nn.Dropout, nn.Dropout1d, nn.Dropout2d, nn.Dropout3d, nn.AlphaDropout, nn.FeatureAlphaDropout)
_KNOWN = (nn.Linear, nn.Conv1d, nn.Conv2d, nn.LPPool1d, nn.LPPool2d, nn.BatchNorm1d, nn.BatchNorm2d)


class Reshape(nn.Module):
    """Another shape for each sample."""

    def __init__(self, shape: tuple[int, ...]) -> None:
        super().__init__()
        self.shape = shape

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        """Reshape ``[B, ...]``."""
        return x.reshape(x.shape[0], *self.shape)


def node_from_layer(module: nn.Module, site: Site, words: Words) -> nir.NIRNode | None:
    """The NIR node of a torch layer; ``None`` for ``Identity``, which leaves no trace.

    Raises:
        ConversionError: for layers and arguments without an exact equal.
    """
    kind = type(module).__name__
    if isinstance(module, nn.Identity):
        return None
    if isinstance(module, DROPOUTS):
        return Extension("Dropout", options={"p": module.p}, shape_in=site.shape_in, shape_out=site.shape_in)
    if plain_kind(module) is nn.Linear:
        return _linear(module)
    if plain_kind(module) in (nn.Conv1d, nn.Conv2d):
        return _conv(module, site)
    if kind in POOLS or type(module) in (nn.LPPool1d, nn.LPPool2d):
        return _pool(module, site)
    if type(module) in (nn.BatchNorm1d, nn.BatchNorm2d):
        return norm_from_torch(module, site)
    if isinstance(module, nn.ModuleList):
        return norms_from_torch(module, site, norm_from_torch, words)
    if isinstance(module, ScaleBy):
        return scale_node(array(module.scale), site, isinstance(module.scale, nn.Parameter))
    if isinstance(module, nn.Flatten | nn.Unflatten) or kind == "Reshape":
        return _shape(module, site)
    raise no_equal(site.name, module, words)


def no_equal(name: str, module: nn.Module, words: Words, line: str = "") -> ConversionError:
    """The error for a layer that snnax has no equal of."""
    return ConversionError(
        name, f"{type(module).__module__}.{type(module).__name__} has no equal in snnax",
        "Convertible are Linear, Conv1d, Conv2d, Avg/Max/LPPool(1), BatchNorm, Flatten, Unflatten, Dropout, Identity, "
        f"and {words.neurons}. Write the layer by hand in snnax.Graph.",
        line,
    )  # fmt: skip


def is_unknown(module: nn.Module) -> bool:
    """True for a layer of torch or a framework that has no equal, whatever its arguments."""
    kind = type(module)
    if not (kind.__module__.startswith("torch.") or package_of(kind)) or kind.__name__ in POOLS:
        return False
    if isinstance(module, (nn.Identity, nn.Flatten, nn.Unflatten, nn.ModuleList, *DROPOUTS)):
        return False
    return kind not in _KNOWN


def _linear(module: Any) -> nir.NIRNode:
    weight, trained, rounding = _weights(module)
    node: nir.NIRNode = nir.Linear(weight=weight)
    if module.bias is not None:
        node = nir.Affine(weight=weight, bias=array(module.bias))
    return mark(node, rounding, trained)


def _weights(module: Any) -> tuple[np.ndarray, np.ndarray, WeightRounding | None]:
    """The weight that a layer computes with, the one that it trains, and how that is rounded."""
    trained = array(module.weight)
    if isinstance(module, ROUNDED):
        return array(module.rounded()), trained, module.rounding
    return trained, trained, None


def _conv(module: Any, site: Site) -> nir.NIRNode:
    if module.padding_mode != "zeros":
        raise ConversionError(
            site.name, f"padding_mode={module.padding_mode!r}", "Only zeros can be converted."
        )
    weight, trained, rounding = _weights(module)
    bias = np.zeros(len(weight), weight.dtype) if module.bias is None else array(module.bias)
    given = {k: getattr(module, k) for k in ("stride", "padding", "dilation", "groups")}
    return mark(conv_node(weight, bias, site, module.bias is not None, **given), rounding, trained)


def _pool(module: Any, site: Site) -> nir.NIRNode:
    kind = type(module).__name__
    rank = int(kind[-2])
    if module.ceil_mode:
        raise ConversionError(
            site.name, "ceil_mode=True", "Pad the input so that windows fit, with ceil_mode=False."
        )
    padding = sizes(getattr(module, "padding", 0), rank)
    if kind.startswith("Max") and (
        any(d != 1 for d in sizes(module.dilation, rank)) or module.return_indices
    ):
        raise ConversionError(
            site.name, "dilation or return_indices", "Only plain max pooling can be converted."
        )
    if kind.startswith("Avg"):
        counted = getattr(module, "count_include_pad", True) or not any(padding)
        if not counted or getattr(module, "divisor_override", None) is not None:
            raise ConversionError(
                site.name,
                "count_include_pad=False or divisor_override",
                "Averages count the padding, torch's default.",
            )
    if kind.startswith("LP"):
        if module.norm_type != 1:
            raise ConversionError(
                site.name,
                f"norm_type={module.norm_type}",
                "Only LPPool with norm_type=1, the sum, can be converted.",
            )
        kind = f"SumPool{rank}d"
    stride = module.kernel_size if module.stride is None else module.stride
    options = {
        "kernel_size": list(sizes(module.kernel_size, rank)),
        "stride": list(sizes(stride, rank)),
        "padding": list(padding),
    }
    return pool_node(kind, options, site)


def norm_from_torch(module: Any, site: Site) -> Extension:
    """The extension node of a batch normalisation.

    Raises:
        ConversionError: if it keeps no running statistics.
    """
    if module.running_mean is None:
        raise ConversionError(
            site.name,
            "track_running_stats=False: it normalises by each batch",
            "Train it with running statistics.",
        )
    names = ("weight", "bias", "running_mean", "running_var")
    arrays = {k: array(getattr(module, k)) for k in names if getattr(module, k) is not None}
    momentum = 0.1 if module.momentum is None else module.momentum
    options = {"eps": module.eps, "momentum": momentum}
    return Extension("BatchNorm", arrays, options, site.shape_in, site.shape_out)


def _shape(module: Any, site: Site) -> nir.NIRNode:
    if isinstance(module, nn.Flatten) and site.shape_out is not None and len(site.shape_out) == 1:
        return nir.Flatten(input_type={"input": np.array(site.shape_in)}, start_dim=0, end_dim=-1)
    after = tuple(module.shape if site.shape_out is None else site.shape_out)
    if not after:
        raise ConversionError(
            site.name, "it leaves no axis but that of the batch, and a layer has neurons on an axis of their own",
            "Return [B, 1], and take the axis away outside of the network.",
        )  # fmt: skip
    return reshape_node(site.shape_in, after)


def layer_from_node(node: Any, site: Site) -> nn.Module:
    """The torch layer of a NIR node.

    Raises:
        ConversionError: for nodes that torch has no layer for.
    """
    key = node.op if isinstance(node, Extension) else type(node).__name__
    if key not in _LAYERS:
        raise ConversionError(
            site.name, f"{key} has no torch layer here", f"Convertible are {', '.join(sorted(_LAYERS))}."
        )
    return _LAYERS[key](node, site)


def _tensor(value: Any) -> torch.Tensor:
    return torch.tensor(np.asarray(value))


def _linear_layer(node: Any, site: Site) -> nn.Module:
    found = marked(node, site.name)
    weight = _tensor(node.weight if found is None else found[1])
    layer = nn.Linear(weight.shape[1], weight.shape[0], bias=isinstance(node, nir.Affine), dtype=weight.dtype)
    layer.weight = nn.Parameter(weight)
    if isinstance(node, nir.Affine):
        layer.bias = nn.Parameter(_tensor(node.bias))
    return layer if found is None else quantized_layer(layer, found[0])


def _conv_layer(node: Any, site: Site) -> nn.Module:
    found = marked(node, site.name)
    weight = _tensor(node.weight if found is None else found[1])
    rank, groups = weight.ndim - 2, int(node.groups)
    kind: Any = nn.Conv1d if rank == 1 else nn.Conv2d
    padding = text(node.padding) or sizes(node.padding, rank)
    stride, dilation = sizes(node.stride, rank), sizes(node.dilation, rank)
    pads_of(node.padding, tuple(weight.shape[2:]), dilation, stride, site.name)
    use_bias = metadata.read(node, site.name).get("bias", True) or bool(np.any(node.bias))
    layer: Any = kind(
        weight.shape[1] * groups, weight.shape[0], tuple(weight.shape[2:]), stride, padding, dilation, groups, use_bias,
        dtype=weight.dtype,
    )  # fmt: skip
    layer.weight = nn.Parameter(weight)
    if use_bias:
        layer.bias = nn.Parameter(_tensor(node.bias))
    return layer if found is None else quantized_layer(layer, found[0])


def _pool_layer(node: Any, site: Site) -> nn.Module:
    kind, kernel, stride, padding = window(node)
    rank = len(kernel)
    if not kind.startswith("Sum"):
        return getattr(nn, kind)(
            kernel[0] if rank == 1 else kernel, stride[0] if rank == 1 else stride, padding
        )
    if any(padding):
        raise ConversionError(
            site.name, "sum pooling with padding", "torch's LPPool has none; pad the input before it."
        )
    return nn.LPPool1d(1, kernel[0], stride[0]) if rank == 1 else nn.LPPool2d(1, kernel, stride)


def _norm_layer(node: Extension, site: Site) -> nn.Module:
    arrays = {k: _tensor(v) for k, v in node.arrays.items()}
    kind = nn.BatchNorm2d if len(site.shape_in) == 3 else nn.BatchNorm1d
    mean = arrays["running_mean"]
    layer = kind(
        len(mean), node.options["eps"], node.options["momentum"], "weight" in arrays, dtype=mean.dtype
    )
    for key, value in arrays.items():
        setattr(layer, key, nn.Parameter(value) if key in ("weight", "bias") else value)
    if "bias" not in arrays:
        layer.register_parameter("bias", None)
    return layer


def _flatten_layer(node: nir.Flatten, site: Site) -> nn.Module:
    rank = len(site.shape_in)
    start, end = int(node.start_dim) % rank, int(node.end_dim) % rank
    return nn.Flatten(start + 1, end + 1)


def _scale_layer(node: nir.Scale, site: Site) -> nn.Module:
    content = metadata.read(node, site.name)
    scale = np.asarray(node.scale)
    factor = content.get("factor")
    one = factor is not None and np.allclose(scale, factor)
    small = (
        torch.tensor(factor, dtype=_tensor(scale).dtype)
        if one
        else _tensor(gathered(scale, content.get("shape")))
    )
    return ScaleBy(small, bool(content.get("learn", False)))


def _transposed_layer(node: Extension, site: Site) -> nn.Module:
    weight, options = _tensor(node.arrays["weight"]), {k: node.options[k] for k in TRANSPOSED}
    given = {k: v if isinstance(v, int) else tuple(v) for k, v in options.items()}
    kind: Any = nn.ConvTranspose2d
    layer: nn.Module = kind(
        weight.shape[0], weight.shape[1] * options["groups"], tuple(weight.shape[2:]), bias="bias" in node.arrays,
        dtype=weight.dtype, **given,
    )  # fmt: skip
    layer.load_state_dict({key: _tensor(value) for key, value in node.arrays.items()})
    return layer


_LAYERS: dict[str, Callable[[Any, Site], nn.Module]] = {
    "Affine": _linear_layer,
    "Linear": _linear_layer,
    "Conv1d": _conv_layer,
    "Conv2d": _conv_layer,
    **dict.fromkeys((*POOLS, "SumPool1d", "SumPool2d"), _pool_layer),
    "BatchNorm": _norm_layer,
    "BatchNormTT": lambda node, site: norms_layer(node, site, _norm_layer),
    "Dropout": lambda node, site: nn.Dropout(node.options["p"]),
    "Flatten": _flatten_layer,
    "Reshape": lambda node, site: Reshape(tuple(node.options["shape"])),
    "Scale": _scale_layer,
    "ConvTranspose2d": _transposed_layer,
    "AdaptiveAvgPool2d": lambda node, site: nn.AdaptiveAvgPool2d(tuple(node.options["output_size"])),
    "ReLU": lambda node, site: nn.ReLU(),
}
