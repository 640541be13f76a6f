"""From snnTorch and NIR to Flax and back, and the proof that both sides compute the same spikes.

Importing this package imports no torch. What needs torch imports it when it is called, and says which
extra brings it when it is missing.
"""

from __future__ import annotations

from functools import cache
from typing import TYPE_CHECKING, Any, NoReturn

from snnax.errors import MissingDependencyError
from snnax.faces import Face

if TYPE_CHECKING:
    from snnax.interop.checking import check as check
    from snnax.interop.compare import Report as Report
    from snnax.interop.crossvalidation import *
    from snnax.interop.event_convergence import *
    from snnax.interop.families.custom import register_neuron as register_neuron
    from snnax.interop.frameworks.norse import from_norse as from_norse
    from snnax.interop.frameworks.norse import to_norse as to_norse
    from snnax.interop.frameworks.snntorch import from_snntorch as from_snntorch
    from snnax.interop.frameworks.snntorch import to_snntorch as to_snntorch
    from snnax.interop.frameworks.spikingjelly import from_spikingjelly as from_spikingjelly
    from snnax.interop.frameworks.spikingjelly import to_spikingjelly as to_spikingjelly
    from snnax.interop.nir.event_models import *
    from snnax.interop.nir.events import *
    from snnax.interop.nir.exporting import *
    from snnax.interop.nir.files import *
    from snnax.interop.nir.importing import *
    from snnax.interop.nir.portable import *
    from snnax.interop.nir.readings import *
    from snnax.interop.recordings import *
    from snnax.interop.source import *
    from snnax.interop.state_dict import *
    from snnax.interop.trace import *

_FACE = Face(
    "snnax.interop",
    rooms=(
        "trace", "nir.readings", "nir.files", "nir.exporting", "nir.importing", "nir.portable", "nir.events",
        "nir.event_models", "recordings", "state_dict", "source", "crossvalidation", "event_convergence",
    ),
    named={
        "Report": "compare",
        "check": "checking",
        "from_norse": "frameworks.norse",
        "from_snntorch": "frameworks.snntorch",
        "from_spikingjelly": "frameworks.spikingjelly",
        "register_neuron": "families.custom",
        "to_norse": "frameworks.norse",
        "to_snntorch": "frameworks.snntorch",
        "to_spikingjelly": "frameworks.spikingjelly",
    },
)  # fmt: skip
_TORCH_PACKAGES = ("torch", "snntorch", "norse", "nirtorch", "spikingjelly")

_COMMANDS = {
    "spikingjelly": "pip install -c constraints.txt --no-deps spikingjelly==2.0.0, and: pip install loguru tqdm"
}
"""What installs a package that no extra brings."""


def __getattr__(name: str) -> Any:
    """Load a public name when it is first used."""
    try:
        value = _FACE.load(name)
    except ModuleNotFoundError as error:
        package = (error.name or "").partition(".")[0]
        if package not in _TORCH_PACKAGES:
            raise
        return _unavailable(name, package)
    globals()[name] = value
    return value


@cache
def _unavailable(name: str, package: str) -> Any:
    """A function that says what is missing when it is called, so that importing it does not fail."""

    def unavailable(*_: object, **__: object) -> NoReturn:
        raise MissingDependencyError(package, "torch", f"snnax.interop.{name}", _COMMANDS.get(package, ""))

    unavailable.__name__ = unavailable.__qualname__ = name
    return unavailable


def __dir__() -> list[str]:
    """What tab completion offers: the public names, loaded or not, and not what this file imports."""
    return sorted({*(name for name in globals() if name.startswith("__")), *_FACE.names()})
