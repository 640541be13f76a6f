"""Training and evaluation: which layers differ, and a network with all of them switched."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import flax.linen as nn

from snnax.layers.norm import BatchNormTT

__all__ = ["switched", "switches"]


def switched(value: Any, train: bool, done: dict[Any, nn.Module] | None = None) -> Any:
    """``value`` with its modules switched; a module that is in it twice stays one module."""
    done = {} if done is None else done
    if isinstance(value, nn.Module):
        if value._id not in done:
            done[value._id] = _module(value, train, done)
        return done[value._id]
    if isinstance(value, tuple | list):
        return tuple(switched(item, train, done) for item in value)
    if isinstance(value, Mapping):
        return {key: switched(item, train, done) for key, item in value.items()}
    return value


def _module(module: nn.Module, train: bool, done: dict[Any, nn.Module]) -> nn.Module:
    if isinstance(module, nn.Dropout):
        return module.clone(deterministic=not train)
    if isinstance(module, nn.BatchNorm | BatchNormTT):
        return module.clone(use_running_average=not train)
    fields = {
        name: switched(getattr(module, name), train, done)
        for name in module.__dataclass_fields__
        if name not in ("parent", "name") and _holds_modules(getattr(module, name))
    }
    if "mode" in module.__dataclass_fields__ and hasattr(module, "given"):  # its layers are not made yet
        fields["mode"] = train
    return module.clone(**fields) if fields else module


def _holds_modules(value: Any) -> bool:
    if isinstance(value, tuple | list):
        return any(_holds_modules(item) for item in value)
    if isinstance(value, Mapping):
        return any(_holds_modules(item) for item in value.values())
    return isinstance(value, nn.Module)


def switches(value: Any) -> bool:
    """Whether training and evaluation may differ: a layer in it draws, or normalises by the batch."""
    if isinstance(value, nn.Dropout | nn.BatchNorm | BatchNormTT):
        return True
    if isinstance(value, tuple | list):
        return any(map(switches, value))
    if isinstance(value, Mapping):
        return any(map(switches, value.values()))
    if not isinstance(value, nn.Module):
        return False
    names = (name for name in value.__dataclass_fields__ if name not in ("parent", "name"))
    held = [getattr(value, name, None) for name in names]
    if type(value).__module__.partition(".")[0] in ("flax", "snnax"):
        return any(map(switches, held))
    # a class of the user's own makes its layers when it runs; a bound one knows those of its setup
    if value.scope is None:
        return True
    value._try_setup()
    made = [part for part in value._state.children.values() if isinstance(part, nn.Module)]
    return not made or any(map(switches, [*held, *made]))
