"""Two calls of a network must compute the same: what one leaves behind, the next would find.

One call shows what a network computes then. Whether it computes that again is seen in a second call, on other data:
parameters, attributes and counters that a call changes either do not matter, or the network is refused by name.
"""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from typing import TYPE_CHECKING, Any

import torch
from torch import Tensor, nn

from snnax.errors import ConversionError
from snnax.interop.torch.declared import line_of_change, line_of_function
from snnax.interop.torch.held import own_tensors
from snnax.interop.torch.layers import TimedNorm
from snnax.interop.torch.originals import of_library
from snnax.interop.torch.prepare import keeps_statistics
from snnax.interop.torch.reached import Following, scalars

if TYPE_CHECKING:
    from snnax.interop.frameworks.adapter import Adapter

_SEEN = frozenset({"running_mean", "running_var", "num_batches_tracked"})
_ONCE = "Let every call of forward do the same: keep schedules and counters outside, and hand states on as arguments."
_GRADIENTS = "Take it away for the conversion (handle.remove()); train the port with optax instead."
_TRAINING = (
    "Call net.eval() first: it is in training mode, where each call may change what the next one computes."
)


def other(tensor: Tensor) -> Tensor:
    """Other values of the same shape and type, none of them far from the given ones."""
    turned = tensor.flip(tuple(range(tensor.ndim)))
    return (turned * 0.5 + 0.25).to(tensor.dtype) if tensor.is_floating_point() else turned


def restart(adapter: Adapter, net: nn.Module, dtype: torch.dtype) -> None:
    """Put what knows its own start, neurons and timed layers, there."""
    for neuron in adapter.neurons(net).values():
        adapter.reset(neuron, dtype, traced=True)
    for module in net.modules():
        if isinstance(module, TimedNorm):
            module.reset()


class Watch:
    """What the modules of a running copy hold after one call, to be compared with what they hold after the next.

    Args:
        net: the copy.
        adapter: knows what of a neuron belongs to a step.
        followed: finds, among tensors, those that depend on the sample: records that the network keeps.
    """

    def __init__(self, net: nn.Module, adapter: Adapter, followed: Following) -> None:
        self._net = net
        self._followed = followed
        self._skip = {id(m): adapter.passing(m) | _statistics(m) for m in net.modules()}
        self._scalars = self._now()
        self._tensors = {name: tensor.detach().clone() for name, tensor in self._held()}

    def _now(self) -> dict[str, Any]:
        return scalars(self._net, self._skip, self._followed)

    def _held(self) -> Iterator[tuple[str, Tensor]]:
        found = [
            (f"{path}.{name}".lstrip("."), tensor)
            for path, module in self._net.named_modules()
            for name, tensor in own_tensors(module)
            if name not in self._skip[id(module)]
        ]
        records = set(map(id, self._followed([tensor for _, tensor in found])))
        yield from (pair for pair in found if id(pair[1]) not in records)

    def problem(self) -> ConversionError | None:
        """The first thing that the last call changed again."""
        return next(self.problems(), None)

    def problems(self, tensors: bool = True) -> Iterator[ConversionError]:
        """All that the last call changed again; without ``tensors`` of what is none."""
        now, told = self._now(), set()
        for path, value in now.items():
            before = self._scalars.get(path, value)
            if before != value and before == before:
                told.add(path)
                yield self._changed(path, f"from {before!r} to {value!r}")
        for path, tensor in self._held() if tensors else ():
            old = self._tensors.get(path, tensor)
            if path not in told and (
                old.shape != tensor.shape or not torch.equal(old.nan_to_num(), tensor.nan_to_num())
            ):
                yield self._changed(path, "to other values")

    def _changed(self, path: str, how: str) -> ConversionError:
        home, name = _parted(self._net, path)
        remedy = _TRAINING if self._net.get_submodule(home).training else _ONCE
        return ConversionError(
            home or type(self._net).__name__,
            f"each call of forward changes its {name}, in the second call {how}",
            remedy,
            line_of_change(self._net, home, name.partition(".")[0]),
        )


def _parted(net: nn.Module, path: str) -> tuple[str, str]:
    """The module that a name with dots leads into, and the rest of the name."""
    home, _, name = path.rpartition(".")
    modules = dict(net.named_modules())
    while home and home not in modules:
        home, _, more = home.rpartition(".")
        name = f"{more}.{name}"
    return home, name


def kept_from_call_to_call(net: nn.Module, path: str) -> ConversionError:
    """The error for an attribute in which a call finds what the call before has left."""
    home, name = _parted(net, path)
    attribute = name.partition(".")[0]
    return ConversionError(
        home or type(net).__name__,
        f"it keeps {attribute} from call to call, so that a second call computes with what the first one left there",
        f"Set self.{attribute} at the start of forward; or take it as an argument, and return the new one.",
        line_of_change(net, home, attribute),
    )


def _statistics(module: nn.Module) -> frozenset[str]:
    """What a layer in training keeps of what it has seen: each call changes it, and the port does too."""
    return _SEEN if keeps_statistics(module) and module.training else frozenset()


def check_hooks(net: nn.Module) -> None:
    """Refuse hooks on gradients, which a port would lose; hooks on calls are run, and what they do is recorded.

    Raises:
        ConversionError: names the module.
    """
    found = []
    for path, module in net.named_modules():
        kinds = {"backward hook": module._backward_hooks, "backward pre-hook": module._backward_pre_hooks}
        for name, parameter in module._parameters.items():
            kinds[f"hook on the gradient of {name}"] = getattr(parameter, "_backward_hooks", None) or {}
        for kind, hooks in kinds.items():
            for hook in hooks.values():
                if not of_library(hook):
                    problem = f"it has a {kind}, which may change gradients"
                    line = line_of_function(hook)
                    found.append(ConversionError(path or type(net).__name__, problem, _GRADIENTS, line))
    if found:
        raise ConversionError.joined(found)


@contextmanager
def untouched(net: nn.Module) -> Iterator[None]:
    """Put back what running a copy of ``net`` changed in ``net`` itself, and refuse that.

    A copy does not reach the network, unless a function in it names the network instead of using its argument.

    Raises:
        ConversionError: names what was changed.
    """
    watched = [_Kept(path, module) for path, module in net.named_modules()]
    try:
        yield
    finally:
        changed = [found for kept in watched if (found := kept.put_back())]
    if changed:
        path, name = changed[0]
        raise ConversionError(
            path or type(net).__name__,
            f"running a copy of the network changed {name} of the network itself: a hook, or a method that was "
            "replaced, names the network instead of using its argument",
            "Use the module that the hook is given, or bind the method: types.MethodType(function, module).",
        )


class _Kept:
    """What a module holds, to be put back."""

    def __init__(self, path: str, module: nn.Module) -> None:
        self.path = path
        homes: tuple[Any, ...] = (module._parameters, module._buffers, vars(module))
        self.homes = [home for home in homes if isinstance(home, dict)]  # those of TorchScript are no dicts
        self.entries = [dict(home) for home in self.homes]
        self.values = {name: (t, t.detach().clone()) for name, t in own_tensors(module)}

    def put_back(self) -> tuple[str, str] | None:
        """Path and name of the first thing that had changed."""
        found = ""
        for home, entries in zip(self.homes, self.entries, strict=True):
            changed = [k for k in {**entries, **home} if home.get(k, self) is not entries.get(k, self)]
            if changed:
                found = found or changed[0]
                home.clear()
                home.update(entries)
        for name, (tensor, before) in self.values.items():
            if not torch.equal(tensor.nan_to_num(), before.nan_to_num()):
                found = found or name
                tensor.data.copy_(before)
        return (self.path, found) if found else None
