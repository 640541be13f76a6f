"""A current that differs, and predictions of it to compare with the recording."""

from __future__ import annotations

from dataclasses import dataclass
from functools import cached_property
from typing import Any

import numpy as np

from snnax.errors import ConversionError
from snnax.interop.compare.evidence import Evidence
from snnax.interop.compare.stages import Edit, Stages

Array = np.ndarray
SLACK = 2.0
"""A prediction may miss by this many times the largest rounding bound of the layer."""


@dataclass(frozen=True)
class CurrentCase:
    """A current that differs.

    Attributes:
        layer: the layer, or output, that it enters.
        found: all recordings.
        samples: which samples of the batch are looked at.
        a: current of the reference ``[T, b, ...]``.
        b: current of the other side.
        bound: their rounding bound.
    """

    layer: str
    found: Evidence
    samples: Array
    a: Array
    b: Array
    bound: Array

    @cached_property
    def tolerance(self) -> float:
        """How far a prediction may miss."""
        return SLACK * float(self.bound.max(initial=0.0))

    @cached_property
    def stages(self) -> Stages | None:
        """a's stages, if they reproduce the current that a recorded."""
        stages = self.found.stages
        return stages if stages is not None and self._meets(self.a, self.predict(stages, Edit())) else None

    def predict(self, stages: Stages | None, edit: Edit) -> Array | None:
        """The current under an edit, or ``None`` where it cannot be computed."""
        if stages is None:
            return None
        try:
            current = stages.current(self.layer, self.samples, edit)
        except (ConversionError, ValueError, IndexError, KeyError):
            return None
        return current if current.shape == self.b.shape else None

    def meets(self, prediction: Array | None) -> bool:
        """Whether a prediction is what ``b`` recorded, and a's own current is clearly not."""
        return self._meets(self.b, prediction) and float(np.abs(self.a - self.b).max()) > 2 * self.tolerance

    def _meets(self, recorded: Array, prediction: Array | None) -> bool:
        return prediction is not None and bool((np.abs(prediction - recorded) <= self.tolerance).all())

    def nodes(self) -> list[tuple[str, Any]]:
        """Stateless nodes of the stage, the one nearest to the layer first."""
        stages = self.found.stages
        if stages is None:
            return []
        try:
            return [(name, stages.flat.nodes[name]) for name in reversed(stages.nodes(self.layer))]
        except ConversionError:
            return []

    def twin(self, name: str) -> Any:
        """The node of that name in b's graph, or ``None``."""
        graph = self.found.graph_b
        return None if graph is None else graph.nodes.get(name)


def has_bias(node: Any) -> bool:
    """Whether a node adds a bias."""
    return getattr(node, "bias", None) is not None
