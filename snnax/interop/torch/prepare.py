"""What is done to a torch network before it is traced or run: checks, a copy, a reset."""

from __future__ import annotations

import copy
import sys
from collections.abc import Callable, Iterable, Iterator
from contextlib import contextmanager, nullcontext
from typing import TYPE_CHECKING, Any

import numpy as np
import torch
from torch import Tensor, nn
from torch.nn.modules.batchnorm import _BatchNorm, _NormBase
from torch.nn.modules.dropout import _DropoutNd
from torch.overrides import TorchFunctionMode

from snnax.errors import ArgumentError, ConversionError, TrainingModeError
from snnax.interop import numbers
from snnax.interop.torch.layers import TimedNorm

if TYPE_CHECKING:
    from snnax.interop.frameworks.adapter import Adapter


_SMALL = 2**16


@contextmanager
def threads_for(tensors: Iterable[Tensor]) -> Iterator[None]:
    """One thread, if the arrays of a step are small: torch's threads wait for each other after every operation.

    On a busy machine that takes many times as long as the operation itself.

    Args:
        tensors: what the network is called with, of all steps or of one.
    """
    before = torch.get_num_threads()
    small = all(tensor.numel() < _SMALL * max([1, *tensor.shape[:1]]) for tensor in tensors)
    try:
        if small:
            torch.set_num_threads(1)
        yield
    finally:
        if small:
            torch.set_num_threads(before)


def unwrap(net: object) -> nn.Module:
    """The user's module inside ``torch.compile`` and ``DataParallel``."""
    if not isinstance(net, nn.Module):
        raise ArgumentError(f"expected a torch.nn.Module, got {type(net).__name__}. Pass the network itself.")
    while True:
        inner = getattr(net, "_orig_mod", None)
        if inner is None and isinstance(net, nn.DataParallel):
            inner = net.module
        if not isinstance(inner, nn.Module):
            return net
        net = inner


def in_training(net: nn.Module) -> tuple[str, ...]:
    """The layers that are in training mode and compute something else there than in evaluation, by path."""
    return tuple(name for name, module in net.named_modules() if _has_modes(module) and module.training)


def _has_modes(module: nn.Module) -> bool:
    return keeps_statistics(module) or (isinstance(module, _DropoutNd) and module.p > 0)


def keeps_statistics(module: nn.Module) -> bool:
    """Whether a layer computes with other numbers in training, and keeps what it has seen then."""
    return isinstance(module, _BatchNorm) or (isinstance(module, _NormBase) and module.track_running_stats)


def check_mode(net: nn.Module, allowed: tuple[str, ...] = ()) -> None:
    """Refuse layers that compute something else in training than in evaluation, all at once.

    Args:
        net: the network.
        allowed: layers that are to be in training mode, by path.

    Raises:
        TrainingModeError: names the layers in training mode that are none of those, and those that are not in it.
    """
    found: list[ConversionError] = []
    for name, module in net.named_modules():
        if not _has_modes(module) or module.training == (name in allowed):
            continue
        if module.training:
            problem = (
                f"{type(module).__name__} is in training mode, where it depends on chance or on the batch"
            )
            remedy = "Call net.eval() first. With training=True it is ported as it is."
        else:
            problem, remedy = (
                "it was ported in training mode, and is in evaluation mode now",
                "Call net.train() first.",
            )
        found.append(TrainingModeError(name or type(net).__name__, problem, remedy))
    if found:
        raise ConversionError.joined(found)


def check_norms(net: nn.Module) -> None:
    """Refuse batch normalisations that depend on the batch in evaluation too, all at once.

    Raises:
        ConversionError: names them.
    """
    found: list[ConversionError] = []
    for name, module in net.named_modules():
        if isinstance(module, _BatchNorm) and module.running_mean is None:
            problem = f"{type(module).__name__} keeps no running statistics, so that it depends on the batch"
            remedy = "Build it with track_running_stats=True and train it so."
            found.append(ConversionError(name or type(net).__name__, problem, remedy))
    if found:
        raise ConversionError.joined(found)


def check_real(net: nn.Module, adapter: Adapter) -> None:
    """Refuse parameters and buffers that hold no real numbers, with which a network cannot even be run.

    Raises:
        ConversionError: names the first.
    """
    for name, key, tensor in _weights(net, adapter):
        found = numbers.array(name, key, tensor)
        if found.dtype.kind == "c":
            numbers.plain(name, key, found)


def check_finite(net: nn.Module, adapter: Adapter) -> None:
    """Refuse parameters and buffers that are not finite, all at once.

    Raises:
        ConversionError: names them.
    """
    errors: list[ConversionError] = []
    for name, key, tensor in _weights(net, adapter):
        bad = int((~torch.isfinite(tensor.detach())).sum()) if tensor.is_floating_point() else 0
        if bad:
            error = ConversionError(
                name,
                f"{bad} of the {tensor.numel()} values of {key} are NaN or infinite",
                "Restore a checkpoint from before training diverged, or set a large finite value.",
            )
            errors.append(error)
    if errors:
        raise ConversionError.joined(errors)


def _weights(net: nn.Module, adapter: Adapter) -> Iterator[tuple[str, str, Tensor]]:
    """Parameters and buffers with the path of their module and their name; neuron states do not count."""
    for name, module in net.named_modules():
        states = adapter.states(module)
        for key, tensor in {**module._parameters, **module._buffers}.items():
            if tensor is not None and key not in states:
                yield name or type(net).__name__, key, tensor


def copy_net(net: nn.Module) -> nn.Module:
    """A deep copy that shares nothing with ``net``, even where states carry gradients.

    torch refuses to copy a tensor that is the result of a differentiable computation, which is what
    the states of a network just trained are; the copy holds their values.
    """
    memo: dict[int, Any] = {}
    for module in net.modules():
        for tensor in tensors_of(module):
            if not tensor.is_leaf:
                memo[id(tensor)] = tensor.detach().clone()
    try:
        with torch.no_grad():  # TorchScript would record that it copies parameters
            twin = copy.deepcopy(net, memo)
    except Exception as error:
        raise ConversionError(
            type(net).__name__,
            f"the network cannot be copied: {error}",
            "Remove the attribute that copy.deepcopy(net) refuses.",
        ) from error
    for module in twin.modules():
        if isinstance(module, TimedNorm):
            module.reset()
    for parameter, copied in zip(net.parameters(), twin.parameters(), strict=False):
        copied.requires_grad_(parameter.requires_grad)
    return twin


def reset_copy(
    net: nn.Module, adapter: Adapter, dtype: torch.dtype
) -> tuple[nn.Module, dict[str, nn.Module]]:
    """A copy of a network in the reset state, and its neurons by path."""
    twin = copy_net(net).to(dtype=dtype)
    for tensor in (t for module in twin.modules() for t in tensors_of(module)):
        if tensor.dtype == torch.float32 != dtype:  # an attribute that is no buffer
            tensor.data = tensor.data.to(dtype)
    neurons = adapter.neurons(twin)
    for neuron in neurons.values():
        adapter.reset(neuron, dtype, traced=False)
    return twin, neurons


def gradients_of(net: nn.Module) -> dict[str, np.ndarray]:
    """The gradients of the parameters that are trained, by name; zeros where nothing depends on one."""
    named = {name: p for name, p in net.named_parameters() if p.requires_grad}
    return {n: np.zeros(tuple(p.shape)) if p.grad is None else p.grad.numpy() for n, p in named.items()}


def tensors_of(module: nn.Module) -> Iterator[Tensor]:
    """All tensors that a module itself holds: parameters, buffers, attributes, also in containers."""
    return _tensors([vars(module)])


def _tensors(things: list[Any]) -> Iterator[Tensor]:
    for thing in things:
        if isinstance(thing, Tensor):
            yield thing
        elif isinstance(thing, dict):
            yield from _tensors(list(thing.values()))
        elif isinstance(thing, list | tuple):
            yield from _tensors(list(thing))


@contextmanager
def eager() -> Iterator[None]:
    """Run what ``torch.compile`` made as it was written: it would be compiled anew for each trace and type.

    The compiler is not loaded for it, which takes seconds.
    """
    if "torch._dynamo" not in sys.modules:
        yield
        return
    with torch.compiler.set_stance("force_eager"):
        yield


@contextmanager
def isolated(adapter: Adapter, neurons: dict[str, nn.Module], dtype: torch.dtype) -> Iterator[None]:
    """Run a copy of a network: no gradients, all in ``dtype``, global state put back afterwards."""
    before = torch.get_default_dtype()
    cast = nullcontext() if dtype == torch.float32 else _Precision(dtype)
    with eager(), torch.no_grad(), torch.random.fork_rng(devices=[]), adapter.alone(neurons), cast:
        torch.set_default_dtype(dtype)
        try:
            yield
        finally:
            torch.set_default_dtype(before)


class _Precision(TorchFunctionMode):
    """Casts to another type where float32 is asked for: spikes may be ``(x > 0).float()``."""

    def __init__(self, dtype: torch.dtype) -> None:
        super().__init__()
        self._dtype = dtype

    def __torch_function__(
        self, func: Callable[..., Any], types: Any, args: tuple[Any, ...] = (), kwargs: Any = None
    ) -> Any:
        if getattr(func, "__name__", "") == "float":
            return args[0].to(self._dtype)
        if func in (torch.tensor, torch.as_tensor):  # the network's numbers are single ones, as its weights
            made = self._single(func, args, kwargs or {})
            return made.to(self._dtype) if made.dtype == torch.float32 else made
        args = tuple(self._dtype if a is torch.float32 else a for a in args)
        kwargs = {k: self._dtype if v is torch.float32 else v for k, v in (kwargs or {}).items()}
        return func(*args, **kwargs)

    @staticmethod
    def _single(func: Callable[..., Any], args: tuple[Any, ...], kwargs: dict[str, Any]) -> Any:
        """What Python's numbers are where float32 is the default."""
        before = torch.get_default_dtype()
        torch.set_default_dtype(torch.float32)
        try:
            return func(*args, **kwargs)
        finally:
            torch.set_default_dtype(before)


def owned(net: nn.Module, twin: nn.Module) -> dict[int, Tensor]:
    """From the id of each parameter and buffer of the copy to the user's own."""
    ours: list[Callable[[nn.Module], Any]] = [
        lambda m: m.named_parameters(remove_duplicate=False),
        lambda m: m.named_buffers(remove_duplicate=False),
    ]
    found = {}
    for tensors in ours:
        originals = dict(tensors(net))
        found.update({id(t): originals[name] for name, t in tensors(twin) if name in originals})
        found.update({id(t): t for t in originals.values()})  # a function may name the network itself
    return found
