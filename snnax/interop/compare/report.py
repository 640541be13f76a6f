"""What a cross-validation found: numbers by layer, the verdict, where two sides part first, and why."""

from __future__ import annotations

import json
import math
from collections.abc import Mapping
from dataclasses import dataclass, field
from os import PathLike
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from snnax import checks
from snnax.drafts import write_picture, write_whole
from snnax.interop.compare import table
from snnax.interop.compare.entries import GradientReport, LayerReport, Picture

if TYPE_CHECKING:
    from matplotlib.figure import Figure

SCHEMA = "snnax.crossvalidation/1"


@dataclass(frozen=True)
class Report:
    """Result of comparing two sides, layer by layer and end to end.

    Example:
        >>> from snnax.interop.compare import LayerReport, Numbers, Report
        >>> layer = LayerReport("lif", "Leaky", (2,), 10, *[Numbers(0, 0.0, 0.0, None)] * 2, 0, 0)
        >>> report = Report(("snnTorch", "snnax"), "float32", 5, (layer,))
        >>> report.agree, report.unexplained
        (True, 0)
        >>> print(report.verdict)
        AGREE: snnax does what snnTorch does; all 10 neuron-steps have the same spikes.

    Attributes:
        labels: names of the two sides.
        dtype: precision; both, if they differ.
        steps: number of time steps.
        layers: neuron layers in the order of execution, then outputs that no layer accounts for.
        gradients: weight gradients, if asked for.
        gradients_judged: false where spikes flipped, so that gradients need not agree.
        notes: what could not be compared.
    """

    labels: tuple[str, str]
    dtype: str
    steps: int
    layers: tuple[LayerReport, ...]
    gradients: tuple[GradientReport, ...] = ()
    gradients_judged: bool = True
    notes: tuple[str, ...] = ()
    pictures: tuple[Picture, ...] = field(default=(), repr=False, compare=False)

    @property
    def unexplained(self) -> int:
        """Neuron-steps that differ by more than rounding; 0 if the sides agree."""
        return sum(layer.unexplained for layer in self.layers)

    @property
    def explained(self) -> int:
        """Spike mismatches, layer by layer, that are rounding."""
        return sum(layer.explained for layer in self.layers)

    @property
    def neuron_steps(self) -> int:
        """How many neuron-steps were compared."""
        return sum(layer.neuron_steps for layer in self.layers)

    @property
    def agree(self) -> bool:
        """Nothing unexplained, and gradients that agree where they were compared."""
        gradients = not self.gradients_judged or all(g.agree for g in self.gradients)
        return self.unexplained == 0 and gradients

    @property
    def first(self) -> LayerReport | None:
        """The first layer, in the order of execution, with something unexplained."""
        return next((layer for layer in self.layers if layer.unexplained), None)

    @property
    def verdict(self) -> str:
        """One line, and for a disagreement where the sides part and why."""
        return table.verdict(self)

    def __str__(self) -> str:
        """The table by layer and the verdict."""
        return table.text(self)

    def to_dict(self) -> dict[str, Any]:
        """Everything but the pictures, as JSON values; numbers that are not finite become ``None``."""
        return {
            "schema": SCHEMA,
            "agree": self.agree,
            "unexplained": self.unexplained,
            "explained": self.explained,
            "neuron_steps": self.neuron_steps,
            "verdict": self.verdict,
            "labels": list(self.labels),
            "dtype": self.dtype,
            "steps": self.steps,
            "layers": [{**_plain(layer), "status": layer.status} for layer in self.layers],
            "gradients": [_plain(gradient) for gradient in self.gradients],
            "gradients_judged": self.gradients_judged,
            "notes": list(self.notes),
        }

    @checks.takes(path=checks.maybe(checks.path))
    def to_json(self, path: str | PathLike[str] | None = None) -> str:
        """:meth:`to_dict` as text, written to ``path`` if one is given; ``OSError`` if that cannot be written."""
        text = json.dumps(self.to_dict(), indent=1, allow_nan=False)
        if path is not None:
            write_whole({Path(path): f"{text}\n".encode()})
        return text

    @checks.takes(path=checks.maybe(checks.path))
    def plot(self, path: str | PathLike[str] | None = None) -> Figure:
        """Overlaid rasters, membrane differences and where the sides part, for one sample.

        Args:
            path: where to save the picture; pyplot shows it if none is given.

        Returns:
            The matplotlib figure.

        Raises:
            MissingDependencyError: without matplotlib.
            ArgumentError: for a name that ends in no format of matplotlib's; ``.png``, ``.svg`` and ``.pdf`` are some.
            OSError: if the file cannot be written.
        """
        from snnax import spikeplot
        from snnax.spikeplot import canvas

        pictures = [spikeplot.LayerPicture(**vars(picture)) for picture in self.pictures]
        if path is None:
            return spikeplot.crossvalidation(pictures, self.labels)
        with canvas.aside():
            figure = spikeplot.crossvalidation(pictures, self.labels)
            write_picture(Path(path), figure)
        return figure


def _plain(value: Any) -> Any:
    """Dataclasses, tuples and NumPy numbers as JSON values."""
    if hasattr(value, "__dataclass_fields__"):
        return {name: _plain(getattr(value, name)) for name in value.__dataclass_fields__}
    if isinstance(value, Mapping):
        return {str(k): _plain(v) for k, v in value.items()}
    if isinstance(value, (list, tuple)):
        return [_plain(v) for v in value]
    if isinstance(value, np.generic):
        value = value.item()
    return None if isinstance(value, float) and not math.isfinite(value) else value
