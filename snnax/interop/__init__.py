"""From snnTorch and NIR to Flax and back, and the proof that both sides compute the same spikes.

Importing this package imports no torch. What needs torch imports it when it is called, and says which
extra brings it when it is missing.
"""

from __future__ import annotations

import importlib
from typing import TYPE_CHECKING, Any, NoReturn

from snnax.errors import MissingDependencyError

if TYPE_CHECKING:
    from snnax.interop.compare import Report as Report
    from snnax.interop.crossvalidation import crossvalidate as crossvalidate
    from snnax.interop.nir.exporting import to_nir as to_nir
    from snnax.interop.nir.files import read_nir as read_nir
    from snnax.interop.nir.files import write_nir as write_nir
    from snnax.interop.nir.importing import from_nir as from_nir
    from snnax.interop.nir.importing import join_inputs as join_inputs
    from snnax.interop.nir.portable import losses as losses
    from snnax.interop.nir.readings import PRESETS as PRESETS
    from snnax.interop.nir.readings import Reading as Reading
    from snnax.interop.norse import from_norse as from_norse
    from snnax.interop.norse import to_norse as to_norse
    from snnax.interop.recordings import RecordedSide as RecordedSide
    from snnax.interop.recordings import load_trace as load_trace
    from snnax.interop.recordings import save_trace as save_trace
    from snnax.interop.snntorch.reading import from_snntorch as from_snntorch
    from snnax.interop.snntorch.writing import to_snntorch as to_snntorch
    from snnax.interop.source import write_source as write_source
    from snnax.interop.state_dict import from_state_dict as from_state_dict
    from snnax.interop.state_dict import load_safetensors as load_safetensors
    from snnax.interop.state_dict import save_safetensors as save_safetensors
    from snnax.interop.state_dict import to_state_dict as to_state_dict
    from snnax.interop.trace import NodeTrace as NodeTrace
    from snnax.interop.trace import Side as Side
    from snnax.interop.trace import Trace as Trace

# Where each public name lives. A test holds this table, __all__ and the block above to each other.
_HOMES = {
    "snnax.interop.compare": ("Report",),
    "snnax.interop.crossvalidation": ("crossvalidate",),
    "snnax.interop.nir.exporting": ("to_nir",),
    "snnax.interop.nir.files": ("read_nir", "write_nir"),
    "snnax.interop.nir.importing": ("from_nir", "join_inputs"),
    "snnax.interop.nir.portable": ("losses",),
    "snnax.interop.nir.readings": ("PRESETS", "Reading"),
    "snnax.interop.recordings": ("RecordedSide", "load_trace", "save_trace"),
    "snnax.interop.norse": ("from_norse", "to_norse"),
    "snnax.interop.snntorch.reading": ("from_snntorch",),
    "snnax.interop.snntorch.writing": ("to_snntorch",),
    "snnax.interop.source": ("write_source",),
    "snnax.interop.state_dict": (
        "from_state_dict",
        "load_safetensors",
        "save_safetensors",
        "to_state_dict",
    ),
    "snnax.interop.trace": ("NodeTrace", "Side", "Trace"),
}
_HOME = {name: module for module, names in _HOMES.items() for name in names}
_TORCH_PACKAGES = ("torch", "snntorch", "norse", "nirtorch")

__all__ = [  # noqa: RUF022  plain order, which a test holds
    "NodeTrace",
    "PRESETS",
    "Reading",
    "RecordedSide",
    "Report",
    "Side",
    "Trace",
    "crossvalidate",
    "from_nir",
    "from_norse",
    "from_snntorch",
    "from_state_dict",
    "join_inputs",
    "load_safetensors",
    "load_trace",
    "losses",
    "read_nir",
    "save_safetensors",
    "save_trace",
    "to_nir",
    "to_norse",
    "to_snntorch",
    "to_state_dict",
    "write_nir",
    "write_source",
]


def __getattr__(name: str) -> Any:
    """Load a public name when it is first used."""
    if name not in _HOME:
        raise AttributeError(f"module 'snnax.interop' has no attribute {name!r}")
    try:
        value = getattr(importlib.import_module(_HOME[name]), name)
    except ModuleNotFoundError as error:
        package = (error.name or "").partition(".")[0]
        if package not in _TORCH_PACKAGES:
            raise
        return _unavailable(name, package)
    globals()[name] = value
    return value


def _unavailable(name: str, package: str) -> Any:
    """A function that says what is missing when it is called, so that importing it does not fail."""

    def unavailable(*_: object, **__: object) -> NoReturn:
        raise MissingDependencyError(package, "torch", f"snnax.interop.{name}")

    unavailable.__name__ = unavailable.__qualname__ = name
    return unavailable


def __dir__() -> list[str]:
    """Public names, loaded or not."""
    return sorted({*globals(), *__all__})
