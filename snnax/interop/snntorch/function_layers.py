"""Functional layers (``F.avg_pool2d``, ``F.linear``...) as the modules that compute the same."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from torch import Tensor, nn

from snnax.errors import TrainingModeError
from snnax.interop.snntorch.function_calls import Call, same, unsupported
from snnax.interop.snntorch.held import held

if TYPE_CHECKING:
    from snnax.interop.snntorch.recorder import Recorder

_POOL = ("kernel_size", "stride", "padding")
_LP_POOL = ("norm_type", "kernel_size", "stride", "ceil_mode")
POOLS: dict[str, tuple[type[nn.Module], tuple[str, ...]]] = {
    "avg_pool1d": (nn.AvgPool1d, (*_POOL, "ceil_mode", "count_include_pad")),
    "avg_pool2d": (nn.AvgPool2d, (*_POOL, "ceil_mode", "count_include_pad", "divisor_override")),
    "max_pool1d": (nn.MaxPool1d, (*_POOL, "dilation", "ceil_mode")),
    "max_pool2d": (nn.MaxPool2d, (*_POOL, "dilation", "ceil_mode")),
    "lp_pool1d": (nn.LPPool1d, _LP_POOL),
    "lp_pool2d": (nn.LPPool2d, _LP_POOL),
    "adaptive_avg_pool1d": (nn.AdaptiveAvgPool1d, ("output_size",)),
    "adaptive_avg_pool2d": (nn.AdaptiveAvgPool2d, ("output_size",)),
}


def _emit(rec: Recorder, call: Call, module: nn.Module, x: Tensor, values: Any = None) -> bool:
    value = rec.signal(x, f"the input of {call.name}")
    rec.ledger.emit(
        call.result, "module", call.name, rec.where, inputs=(value,), module=module.eval(), hint="functional",
        held=held(module, values=values),
    )  # fmt: skip
    return True


def pool(rec: Recorder, call: Call) -> bool:
    """All pooling functions."""
    cls, names = POOLS[call.name]
    given = call.bind("input", *names)
    if given.pop("return_indices", False):
        return False
    x = given.pop("input")
    if x.ndim != (3 if call.name.endswith("1d") else 4):
        return False
    return _emit(rec, call, cls(**given), x)


def dropout(rec: Recorder, call: Call) -> bool:
    """Nothing in evaluation mode; refused in training."""
    given = call.bind("input", "p", "training", "inplace")
    if given.get("training", given.get("train", True)) and given.get("p", 0.5) > 0:
        raise TrainingModeError(
            rec.where,
            f"its forward calls {call.name} with training=True",
            "Write F.dropout(x, p, training=self.training) and call net.eval() first.",
        )
    return same(rec, Call(call.name, (given["input"],), {}, call.result))


def _with_tensors(
    rec: Recorder, call: Call, module: nn.Module, given: dict[str, Any], names: tuple[str, ...]
) -> bool:
    """Let ``module`` hold the network's own parameters and buffers; refused if one of them is computed."""
    values = {}
    for name in names:
        tensor = given.get(name)
        own = None if tensor is None else rec.owned.get(id(tensor))
        if tensor is not None and (own is None or rec.ledger.find(tensor) is not None):
            return unsupported(rec, call, f"its forward computes the {name} that it calls {call.name} with")
        if name in module._buffers:
            module._buffers[name] = own
        else:
            if own is not None and not isinstance(own, nn.Parameter):
                own = nn.Parameter(own, requires_grad=False)
            module._parameters[name] = own
        if tensor is not None:
            values[name] = tensor
    return _emit(rec, call, module, given["input"], values)


def linear(rec: Recorder, call: Call) -> bool:
    """F.linear with parameters of the network."""
    given = call.bind("input", "weight", "bias")
    features_out, features_in = given["weight"].shape
    module = nn.Linear(features_in, features_out, device="meta")
    return _with_tensors(rec, call, module, given, ("weight", "bias"))


def conv(rec: Recorder, call: Call) -> bool:
    """F.conv1d and F.conv2d with parameters of the network."""
    given = call.bind("input", "weight", "bias", "stride", "padding", "dilation", "groups")
    weight = given["weight"]
    cls: Any = nn.Conv1d if call.name == "conv1d" else nn.Conv2d
    if given["input"].ndim != weight.ndim:
        return False
    options = {k: given[k] for k in ("stride", "padding", "dilation", "groups") if k in given}
    channels = weight.shape[1] * options.get("groups", 1)
    module = cls(channels, weight.shape[0], tuple(weight.shape[2:]), device="meta", **options)
    return _with_tensors(rec, call, module, given, ("weight", "bias"))


def batch_norm(rec: Recorder, call: Call) -> bool:
    """F.batch_norm in evaluation mode."""
    given = call.bind("input", "running_mean", "running_var", "weight", "bias", "training", "momentum", "eps")
    if given.get("training", False):
        raise TrainingModeError(
            rec.where,
            "its forward calls batch_norm with training=True",
            "Write F.batch_norm(..., training=self.training) and call net.eval() first.",
        )
    x = given["input"]
    if given.get("running_mean") is None or x.ndim not in (2, 3, 4):
        return False
    cls = nn.BatchNorm2d if x.ndim == 4 else nn.BatchNorm1d
    module = cls(x.shape[1], eps=given.get("eps", 1e-5), device="meta")
    return _with_tensors(rec, call, module, given, ("running_mean", "running_var", "weight", "bias"))
