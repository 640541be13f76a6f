"""Functions of torch in a running ``forward``: those that are layers, those that read values, those that fail."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor, nn
from torch.nn import functional
from torch.overrides import TorchFunctionMode

from snnax.errors import ConversionError, ShapeError, TrainingModeError
from snnax.interop.torch.frames import FREEZING, HOOK, place
from snnax.interop.torch.held import held
from snnax.interop.torch.scalars import SWITCH, freezes
from snnax.interop.torch.signals import Signals, tensors_in

_READS = {
    "__bool__", "__int__", "__float__", "__index__", "__complex__", "__array__", "__contains__",
    "item", "tolist", "numpy", "nonzero", "is_nonzero", "equal", "allclose",
}  # fmt: skip


class Functions(TorchFunctionMode):
    """Sees what ``forward`` calls, before it becomes operations.

    Args:
        signals: of the call.
        owned: from the id of each parameter and buffer of the running copy to the user's own.
        missing: names of arguments that the sample does not hold, by the id of what stands for them.
    """

    def __init__(self, signals: Signals, owned: dict[int, Tensor], missing: dict[int, str]) -> None:
        super().__init__()
        self._signals, self._owned, self._missing = signals, owned, missing

    def __torch_function__(self, func: Any, types: Any, args: Any = (), kwargs: Any = None) -> Any:
        kwargs, signals = kwargs or {}, self._signals
        if signals.paused or func is SWITCH:
            return func(*args, **kwargs)
        signals.gradients = torch.is_grad_enabled()
        with torch.no_grad():  # what autograd would keep is of no use
            return self._seen(func, args, kwargs)

    def _seen(self, func: Any, args: Any, kwargs: Any) -> Any:
        signals = self._signals
        name = getattr(func, "__name__", str(func))
        if name == "__get__":
            name = getattr(getattr(func, "__self__", None), "__name__", name)
        plain = name.strip("_")
        if name in _READS and signals.follows(tensors_in((args, kwargs))):
            problem = (
                f"its forward reads the value of a signal with {name}, so that it may depend on the data"
            )
            remedy = "Take control flow and .item() out of forward."
            signals.refuse(ConversionError(signals.where, problem, remedy))
        elif plain in _LAYERS and signals.follows(tensors_in((args, kwargs))):
            with signals.pause():
                layer = self._layer(func, plain, args, kwargs)
                now = None if layer is None else self._held(layer)
                result: Any = None if now is None else self._run(name, func, args, kwargs)
            if layer is not None and now is not None:
                details = {"module": layer.module, "held": now, "hint": "functional"}
                signals.layer("module", plain, [layer.x], [("out", result)], **details)
                return result
        signals.function = (plain, len(signals.nodes))
        result = self._run(name, func, args, kwargs)
        signals.function = None
        return result

    def _layer(self, func: Any, name: str, args: Any, kwargs: Any) -> _Layer | None:
        """The layer that a call is; of training it is refused, and the call goes on."""
        try:
            return _layer(func, name, args, kwargs, self._signals.where)
        except TrainingModeError as error:
            self._signals.refuse(error)
            return None

    def _held(self, layer: _Layer) -> nn.Module | None:
        """A layer with the network's own parameters and buffers, as they are now; None if one of them is computed."""
        module = layer.module.eval()
        given = {name: tensor for name, tensor in layer.weights.items() if tensor is not None}
        for name in layer.weights:
            own = self._owned.get(id(given.get(name)))
            if name in given and (own is None or self._signals.follows([given[name]])):
                return None
            if name in module._buffers:
                module._buffers[name] = own
            elif own is None or isinstance(own, nn.Parameter):
                module._parameters[name] = own
            else:
                module._parameters[name] = nn.Parameter(own, requires_grad=False)
        return held(module, values=given)

    def _run(self, name: str, func: Callable[..., Any], args: Any, kwargs: Any) -> Any:
        """Run ``func``; where torch fails, say in whose forward and on which shapes."""
        if func is Tensor.register_hook:
            raise ConversionError(self._signals.where, *HOOK, place().line)
        if freezes(func, args):
            self._signals.refuse(ConversionError(self._signals.where, *FREEZING))
        try:
            return func(*args, **kwargs)
        except (RuntimeError, IndexError, ValueError) as error:
            tensors = list(tensors_in((args, kwargs)))
            if not self._signals.follows(tensors):
                raise
            for tensor in tensors:
                if id(tensor) in self._missing:
                    raise ConversionError(
                        self._signals.where,
                        f"its forward uses the argument {self._missing[id(tensor)]!r}, which the sample does not hold",
                        "Pass sample=(x, ...) with all positional arguments.",
                    ) from error
            where, given = self._signals.where, ", ".join(str(tuple(t.shape)) for t in tensors)
            raise ShapeError(
                f"{name} in forward of {where!r} was given tensors of shape {given}, on which torch fails: "
                f"{error}. Pass a sample of the shape that the network was trained on, with its batch axis."
            ) from error


# --- Functions that are layers, as the modules that compute the same --------------------------------

_POOL = ("kernel_size", "stride", "padding")
_LP_POOL = ("norm_type", "kernel_size", "stride", "ceil_mode")
_POOLS: dict[str, tuple[type[nn.Module], tuple[str, ...]]] = {
    "avg_pool1d": (nn.AvgPool1d, (*_POOL, "ceil_mode", "count_include_pad")),
    "avg_pool2d": (nn.AvgPool2d, (*_POOL, "ceil_mode", "count_include_pad", "divisor_override")),
    "max_pool1d": (nn.MaxPool1d, (*_POOL, "dilation", "ceil_mode")),
    "max_pool2d": (nn.MaxPool2d, (*_POOL, "dilation", "ceil_mode")),
    "lp_pool1d": (nn.LPPool1d, _LP_POOL),
    "lp_pool2d": (nn.LPPool2d, _LP_POOL),
    "adaptive_avg_pool1d": (nn.AdaptiveAvgPool1d, ("output_size",)),
    "adaptive_avg_pool2d": (nn.AdaptiveAvgPool2d, ("output_size",)),
}
_DROPOUTS = frozenset({
    "dropout", "dropout1d", "dropout2d", "alpha_dropout", "feature_dropout", "feature_alpha_dropout",
})  # fmt: skip
_AS_IT_IS = "With training=True it is ported as it is."
_LAYERS = _DROPOUTS | {*_POOLS, "linear", "conv1d", "conv2d", "batch_norm"}


@dataclass(frozen=True)
class _Layer:
    """A function as a layer: the module, its input and its weights, ``None`` for those that it lacks."""

    module: Any
    x: Tensor
    weights: dict[str, Tensor | None]


def _layer(func: Any, name: str, args: tuple[Any, ...], kwargs: dict[str, Any], where: str) -> _Layer | None:
    """The layer that a call of a function is; None if it is none.

    Raises:
        TrainingModeError: it is one of training.
    """
    if name in _DROPOUTS:
        _check_dropout(name, _bound(args, kwargs, "input", "p", "training", "inplace"), where)
        return None
    if name in _POOLS:
        return _pool(name, args, kwargs)
    if name == "linear":
        given = _bound(args, kwargs, "input", "weight", "bias")
        outputs, inputs = given["weight"].shape
        module = nn.Linear(inputs, outputs, device="meta")
        return _Layer(module, given["input"], _picked(given, "weight", "bias"))
    if name in ("conv1d", "conv2d"):
        return _conv(name, args, kwargs)
    return (
        _norm(args, kwargs, where) if func is functional.batch_norm else None
    )  # and not torch's own behind it


def _bound(args: tuple[Any, ...], kwargs: dict[str, Any], *names: str) -> dict[str, Any]:
    """Arguments by name, whether they were given by position or by keyword."""
    given = {**dict(zip(names, args, strict=False)), **kwargs}
    if "self" in given:
        given[names[0]] = given.pop("self")
    return given


def _picked(given: dict[str, Any], *names: str) -> dict[str, Tensor | None]:
    return {name: given.get(name) for name in names}


def _check_dropout(name: str, given: dict[str, Any], where: str) -> None:
    """Nothing in evaluation mode; refused in training."""
    if given.get("training", given.get("train", True)) and given.get("p", 0.5) > 0:
        raise TrainingModeError(
            where,
            f"its forward calls {name} with training=True",
            f"Write F.{name}(x, {given.get('p', 0.5)}, training=self.training) and call net.eval() first. {_AS_IT_IS}",
        )


def _pool(name: str, args: tuple[Any, ...], kwargs: dict[str, Any]) -> _Layer | None:
    cls, names = _POOLS[name]
    given = _bound(args, kwargs, "input", *names)
    x = given.pop("input")
    if given.pop("return_indices", False) or x.ndim != (3 if name.endswith("1d") else 4):
        return None
    return _Layer(cls(**given), x, {})


def _conv(name: str, args: tuple[Any, ...], kwargs: dict[str, Any]) -> _Layer | None:
    given = _bound(args, kwargs, "input", "weight", "bias", "stride", "padding", "dilation", "groups")
    weight = given["weight"]
    if given["input"].ndim != weight.ndim:
        return None
    cls: Any = nn.Conv1d if name == "conv1d" else nn.Conv2d
    options = {k: given[k] for k in ("stride", "padding", "dilation", "groups") if k in given}
    channels = weight.shape[1] * options.get("groups", 1)
    module = cls(channels, weight.shape[0], tuple(weight.shape[2:]), device="meta", **options)
    return _Layer(module, given["input"], _picked(given, "weight", "bias"))


def _norm(args: tuple[Any, ...], kwargs: dict[str, Any], where: str) -> _Layer | None:
    names = ("input", "running_mean", "running_var", "weight", "bias", "training", "momentum", "eps")
    given = _bound(args, kwargs, *names)
    if given.get("training", False):
        raise TrainingModeError(
            where,
            "its forward calls batch_norm with training=True",
            f"Write F.batch_norm(..., training=self.training) and call net.eval() first. {_AS_IT_IS}",
        )
    x = given["input"]
    if given.get("running_mean") is None or x.ndim not in (2, 3, 4):
        return None
    cls = nn.BatchNorm2d if x.ndim == 4 else nn.BatchNorm1d
    module = cls(x.shape[1], eps=given.get("eps", 1e-5), device="meta")
    return _Layer(module, x, _picked(given, *names[1:5]))
