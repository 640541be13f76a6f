"""The frameworks of torch whose networks snnax converts: an adapter each, and the code for all of them in ``torch``.

A new one is a file beside :mod:`~snnax.interop.frameworks.snntorch` with its adapter, one line here, and its public
names in ``snnax.interop``.
"""

from __future__ import annotations

from importlib import import_module
from typing import Any

LABELS = {"norse": "Norse", "spikingjelly": "SpikingJelly", "snntorch": "snnTorch"}
"""From the package of each framework, which is also the name of its adapter's module, to what texts call it."""


def package_of(cls: type) -> str:
    """The framework that a class comes from, by where it was defined; empty for any other."""
    package = cls.__module__.partition(".")[0]
    return package if package in LABELS else ""


def adapter_of(net: Any) -> Any:
    """The adapter of the framework that made the modules of a torch network.

    The last one of the table takes what holds no module of any, and says so.

    Raises:
        ModuleNotFoundError: the framework is not installed.
    """
    found = {package_of(base) for module in net.modules() for base in type(module).__mro__}
    package = next((package for package in LABELS if package in found), [*LABELS][-1])
    return import_module(f"{__name__}.{package}").ADAPTER
