"""The candidates by name, and which of them are installed. Modules are imported when they are asked for."""

from __future__ import annotations

import importlib
import importlib.util
import inspect
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

from benchmarks.workloads.spec import Data, Workload

Step = Callable[[], float]


@dataclass(frozen=True)
class Candidate:
    """``module`` below benchmarks.peers, its function, and the packages that it imports."""

    module: str
    function: str
    requires: tuple[str, ...]
    unroll: tuple[tuple[str, Any], ...] = ()
    settings: tuple[tuple[str, Any], ...] = ()  # further arguments of the function

    @property
    def missing(self) -> list[str]:
        """Packages, and arguments of ``snn.unroll``, that are not there."""
        names = [name for name in self.requires if importlib.util.find_spec(name) is None]
        if self.unroll and not names:
            import snnax

            known = inspect.signature(snnax.unroll).parameters
            names += [f"unroll({name}=)" for name, _ in self.unroll if name not in known]
        return names

    def imported(self) -> Any:
        """The peer's module."""
        return importlib.import_module(f"benchmarks.peers.{self.module}")

    @property
    def differs(self) -> str:
        """How its dynamics differ from snnTorch's."""
        return self.imported().DIFFERS

    def build(self, workload: Workload, data: Data) -> Step | None:
        """A function that takes one step; None if this candidate has no form of this workload."""
        function = getattr(self.imported(), self.function)
        return function(workload, data, **dict(self.unroll), **dict(self.settings))


CANDIDATES = {
    "snnax": Candidate("snnax", "build", ("snnax",)),
    "snnax-ported": Candidate("snnax", "build_ported", ("snnax", "snntorch")),
    "snnax-bfloat16": Candidate("snnax", "build", ("snnax",), (("residuals", "bfloat16"),)),
    "snnax-remat": Candidate("snnax", "build", ("snnax",), (("remat", True),)),
    "snntorch": Candidate("snntorch", "build", ("snntorch",)),
    "snntorch-compiled": Candidate("snntorch", "build_compiled", ("snntorch",)),
    "norse": Candidate("norse", "build", ("norse",)),
    "spikingjelly": Candidate("spikingjelly", "build", ("spikingjelly",)),
    "spyx": Candidate("spyx", "build", ("spyx",)),
    "jaxpike": Candidate("jaxpike", "build", ("jaxpike", "equinox")),
    "floor-torch": Candidate("floor", "build_torch", ("torch",)),
    "floor-xla": Candidate("floor", "build_xla", ("torch", "jax")),
}
OURS = ("snnax", "snnax-ported")
TRADES = ("snnax-bfloat16", "snnax-remat")
"""snnax with less memory for rounding or time."""
OTHERS = ("norse", "spikingjelly", "spyx", "jaxpike")
FLOORS = ("floor-torch", "floor-xla")
DEFAULT = tuple(name for name in CANDIDATES if name not in ("snntorch-compiled", *TRADES))
