"""Whether the methods of a module are the ones that the library of its class wrote."""

from __future__ import annotations

from typing import Any

from torch import nn

from snnax.interop.frameworks import LABELS, package_of
from snnax.interop.torch.held import plain_class


def replaced_method(module: nn.Module) -> str:
    """Name of a method that is not the one that the library of its class wrote; empty if there is none.

    A method is replaced on the instance, on the class, or by binding that of another module.
    """
    cls = plain_class(module)
    for name, value in vars(module).items():
        if callable(value) and not isinstance(value, nn.Module) and callable(getattr(cls, name, None)):
            return name
    for base in cls.__mro__:
        if package_of(base) or base.__module__.startswith("torch.nn.modules."):
            for name, member in vars(base).items():
                if not name.startswith("__") and not of_library(member):
                    return name
    return ""


def of_library(function: Any) -> bool:
    """False for a Python function that was not written in torch or a framework; True for what is none."""
    code: Any = getattr(function, "__func__", function)
    home = getattr(code, "__globals__", {}).get("__name__", "torch").partition(".")[0]
    return home == "torch" or home in LABELS
