"""Operations that write in place, as functions of what was there before."""

from __future__ import annotations

from typing import Any

import torch
from torch import Tensor

aten = torch.ops.aten

HEADERS = frozenset({"squeeze_", "unsqueeze_", "transpose_", "t_"})
"""They change how a tensor sees its memory, and not the memory."""

DRAWS = {
    "bernoulli_": "bernoulli", "uniform_": "uniform", "normal_": "normal_functional", "random_": "random",
    "exponential_": "exponential", "cauchy_": "cauchy", "geometric_": "geometric", "log_normal_": "log_normal",
}  # fmt: skip
"""They draw; the operation that draws the same and writes nothing."""


def overload(packet: Any, name: str) -> Any:
    """The overload ``name`` of an operation, or its default."""
    return getattr(packet, name if name in packet.overloads() else "default")


def drawing(func: Any) -> Any:
    """The operation that returns what ``func`` draws into its first argument; None if it draws nothing."""
    name = DRAWS.get(func._schema.name.partition("::")[2])
    if name is None:
        return None
    found = "p" if (name, func._overloadname) == ("bernoulli", "float") else func._overloadname
    return overload(getattr(aten, name), found)


def functional(func: Any, args: tuple[Any, ...], kwargs: dict[str, Any]) -> Tensor | None:
    """What ``func`` writes into its first argument, computed without writing; None for what is not known.

    The result has the shape and data type of that argument.
    """
    target = args[0]
    name = func._schema.name.partition("::")[2]
    if name == "copy_":
        new = args[1]
    elif name in ("zero_", "fill_"):
        new = args[1] if name == "fill_" else 0
        if not isinstance(new, Tensor):
            return aten.full_like.default(target, new)
    else:
        packet = getattr(aten, name.removesuffix("_"), None)
        if packet is None or not name.endswith("_") or packet is aten.as_strided:
            return None
        # of a power, either part may be a number: the names say which
        part = f"Tensor_{func._overloadname}" if name in ("pow_", "float_power_") else func._overloadname
        new = overload(packet, part)(*args, **kwargs)
    if new.dtype != target.dtype:
        new = aten._to_copy.default(new, dtype=target.dtype)
    return new if new.shape == target.shape else aten.expand.default(new, list(target.shape))
