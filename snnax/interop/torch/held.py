"""What a module holds at one call: a plain copy of it, and the first thing in which two copies differ.

A forward, a hook or a parametrization may change parameters, buffers and attributes between calls. What is
ported is therefore not what the user's module holds before or after a run, but what each call found.
"""

from __future__ import annotations

import types
from collections.abc import Iterator, Mapping
from typing import Any

import torch
from torch import Tensor, nn
from torch.nn.utils.parametrize import is_parametrized

OWN = frozenset(vars(nn.Module()))
_COMPUTED = ("_orig", "_g")
_HELPERS = ("_orig", "_g", "_v", "_u", "_mask")


def held(
    module: nn.Module,
    before: nn.Module | None = None,
    *,
    children: Mapping[int, nn.Module] | None = None,
    values: Mapping[str, Tensor] | None = None,
    passing: frozenset[str] = frozenset(),
) -> nn.Module:
    """A plain copy of ``module``: its class, and the tensors and attributes as a call of it finds them now.

    Parametrizations and hooks are gone, what they compute stays: the weight of a layer with ``weight_norm`` is
    a parameter of the copy. The copy shares no memory with the module.

    Args:
        module: a layer or neuron.
        before: an earlier copy, which is returned if nothing has changed since.
        children: copies made earlier, from the id of a module inside ``module``.
        values: tensors to hold instead, by name.
        passing: names that belong to a call and not to the module, as the states of a neuron.
    """
    now = _seen(module, children or {}, values or {}, passing)
    with torch._C.DisableTorchFunction():  # whoever sees the network's operations need not see these
        if before is not None and not difference(before, now, passing):
            return before
        for part in now.modules():
            for home in (part._parameters, part._buffers, vars(part)):
                home.update({k: _cloned(v) for k, v in home.items() if k not in OWN})
    return now


def _seen(
    module: nn.Module,
    children: Mapping[int, nn.Module],
    values: Mapping[str, Tensor],
    passing: frozenset[str],
) -> nn.Module:
    """The copy, over the memory of the module."""
    copy: nn.Module = object.__new__(plain_class(module))
    nn.Module.__init__(copy)
    vars(copy)["training"] = module.training
    for name, value in vars(module).items():
        if name not in OWN and name != "forward" and name not in passing:
            bound = isinstance(value, types.MethodType) and value.__self__ is module
            vars(copy)[name] = types.MethodType(value.__func__, copy) if bound else value
    for name, parameter in module._parameters.items():
        copy._parameters[name] = None if parameter is None else _parameter(parameter, parameter.requires_grad)
    for name, buffer in module._buffers.items():
        copy._buffers[name] = torch.zeros(0) if name in passing else buffer
    for name, child in module._modules.items():
        if child is None:
            copy._modules[name] = None
        elif not (name == "parametrizations" and is_parametrized(module)):
            copy._modules[name] = children.get(id(child)) or _seen(child, children, {}, passing)
    for name, (tensor, trained) in list(_computed(module)):
        vars(copy).pop(name, None)
        for suffix in _HELPERS:
            copy._parameters.pop(name + suffix, None)
            copy._buffers.pop(name + suffix, None)
        _put(copy, name, tensor, trained)
    for name, tensor in values.items():
        _put(copy, name, tensor, None if name in copy._buffers else tensor.requires_grad)
    return copy


def _put(copy: nn.Module, name: str, tensor: Tensor, trained: bool | None) -> None:
    """Let ``copy`` hold a tensor; ``trained=None``: as a buffer."""
    if trained is None:
        copy._buffers[name] = tensor.detach()
    else:
        copy._parameters[name] = _parameter(tensor, trained)


def plain_class(module: nn.Module) -> type:
    """The class of a module, without what ``torch.nn.utils.parametrize`` put on top of it."""
    cls = type(module)
    return cls.__mro__[1] if is_parametrized(module) else cls


def own_tensors(module: nn.Module) -> list[tuple[str, Tensor]]:
    """Parameters, buffers and plain tensor attributes of a module itself, by name."""
    homes = (module._parameters, module._buffers, vars(module))
    return [(name, value) for home in homes for name, value in home.items() if isinstance(value, Tensor)]


def difference(first: Any, other: Any, passing: frozenset[str] = frozenset()) -> str:
    """Name of the first thing in which two frozen modules differ, and by how much; empty if in nothing.

    ``passing`` are names that belong to a call and not to the module, as the states of a neuron.
    """
    if first is other:
        return ""
    if type(first) is not type(other):
        return "class"
    for what in ("_parameters", "_buffers", "__dict__"):
        a, b = (getattr(m, what) for m in (first, other))
        for name in {**a, **b}:
            if name in passing or (
                what == "__dict__" and (name in OWN - {"training"} or callable(a.get(name)))
            ):
                continue
            if name not in a or name not in b:
                return name
            if found := _unlike(a[name], b[name]):
                return f"{name}{found}"
    for name, child in first._modules.items():
        if found := difference(child, other._modules.get(name), passing):
            return f"{name}.{found}"
    return ""


def _computed(module: nn.Module) -> Iterator[tuple[str, tuple[Tensor, bool | None]]]:
    """What parametrizations and hooks compute: the tensor, and whether it is trained (``None``: a buffer)."""
    if is_parametrized(module):
        lists: Any = module.parametrizations
        for name, chain in lists.items():
            sources = list(chain.parameters(recurse=False))
            yield name, (getattr(module, name), any(p.requires_grad for p in sources) if sources else None)
    for name, value in vars(module).items():
        if not isinstance(value, Tensor):
            continue
        sources = [p for s in _COMPUTED if (p := module._parameters.get(name + s)) is not None]
        if sources:
            yield name, (value, any(p.requires_grad for p in sources))
        elif type(module).__module__.startswith("torch.nn.") and value.is_floating_point():
            yield name, (value, isinstance(value, nn.Parameter) or value.requires_grad)


def _parameter(tensor: Tensor, trained: bool) -> nn.Parameter:
    return nn.Parameter(tensor.detach(), requires_grad=trained and tensor.is_floating_point())


def _cloned(value: Any) -> Any:
    """A value that later changes of the module do not reach."""
    if isinstance(value, nn.Parameter):
        return nn.Parameter(value.detach().clone(), requires_grad=value.requires_grad)
    if isinstance(value, Tensor):
        return value.detach().clone()
    if isinstance(value, tuple) and hasattr(value, "_fields"):
        return type(value)(*map(_cloned, value))
    if type(value) in (list, tuple):
        return type(value)(map(_cloned, value))
    return {k: _cloned(v) for k, v in value.items()} if type(value) is dict else value


def _unlike(a: Any, b: Any) -> str | None:
    """What to add to a name whose values differ; None if they do not."""
    if isinstance(a, Tensor) and isinstance(b, Tensor):
        a, b = a.detach(), b.detach()
        if a.shape != b.shape:
            return f", of shape {tuple(a.shape)} and {tuple(b.shape)}"
        if a.is_meta or torch.equal(a, b) or (torch.equal(torch.isnan(a), torch.isnan(b)) and _same(a, b)):
            return None
        return f", by up to {float((a.double() - b.double()).abs().max()):.4g}"
    if isinstance(a, list | tuple) and isinstance(b, list | tuple):
        if len(a) != len(b):
            return f" ({len(a)} and {len(b)} entries)"
        return next((found for p, q in zip(a, b, strict=True) if (found := _unlike(p, q)) is not None), None)
    if isinstance(a, Tensor) or isinstance(b, Tensor):
        return ", which one of them lacks"
    if isinstance(a, bool | int | float | complex | str | None):
        same = type(a) is type(b) and (a == b or a != a)
        return None if same else f" ({a!r} and {b!r})"
    return None


def _same(a: Tensor, b: Tensor) -> bool:
    return bool(((a == b) | torch.isnan(a)).all()) if a.is_floating_point() else False
