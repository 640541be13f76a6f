"""What a cross-validation found: numbers by layer, the verdict, the first place where two sides part, and why."""

from __future__ import annotations

import json
import math
from collections.abc import Mapping
from dataclasses import dataclass, field
from os import PathLike
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from snnax.interop.compare import table

if TYPE_CHECKING:
    from matplotlib.figure import Figure

SCHEMA = "snnax.crossvalidation/1"


@dataclass(frozen=True)
class Cause:
    """Why two layers behave differently.

    Attributes:
        kind: one of ``reset mechanism``, ``reset delay``, ``threshold comparison``, ``threshold``, ``beta``,
            ``alpha``, ``dt``, ``gain``, ``bias``, ``axis order``, ``transposed kernel``, ``weights``, ``delay``,
            ``wiring``, ``recurrent bias``, ``initial state``, ``unknown``.
        text: one sentence with the values of both sides.
        certain: whether the recorded numbers follow from it, step by step, up to rounding.
    """

    kind: str
    text: str
    certain: bool = True


@dataclass(frozen=True)
class Divergence:
    """One neuron at one step, on both sides.

    Attributes:
        step: time step.
        sample: index in the batch.
        neuron: index of the neuron, ``(n,)`` or ``(c, h, w)``.
        spk: spikes of ``a`` and ``b``.
        mem: membranes, ``None`` where they were not recorded.
        current: input currents.
        threshold: firing threshold, ``None`` if unknown.
        bound: how far apart rounding may take the membranes.
        current_bound: how far apart rounding may take the currents.
    """

    step: int
    sample: int
    neuron: tuple[int, ...]
    spk: tuple[float, float]
    mem: tuple[float | None, float | None]
    current: tuple[float, float]
    threshold: float | None
    bound: float
    current_bound: float


@dataclass(frozen=True)
class Numbers:
    """One way of comparing a layer.

    Attributes:
        spike_mismatches: neuron-steps whose spikes differ.
        max_mem_gap: largest difference of the membranes, ``None`` if one side has none.
        max_current_gap: largest difference of the currents.
        first: first spike mismatch, or else the first unexplained difference.
    """

    spike_mismatches: int
    max_mem_gap: float | None
    max_current_gap: float
    first: Divergence | None


@dataclass(frozen=True)
class LayerReport:
    """One neuron layer, or one output of the network.

    Attributes:
        name: name of the node.
        kind: class of the neuron; ``"output"`` for what the network returns.
        shape: shape of one sample's neurons.
        neuron_steps: how many neuron-steps were compared.
        end_to_end: both sides on their own.
        layerwise: ``b`` with the spikes of ``a`` going into each layer.
        explained: spike mismatches, layer by layer, that are rounding or follow from it.
        unexplained: neuron-steps whose spikes, states or currents differ by more than rounding.
        first: first unexplained difference.
        causes: likely causes, the first one first.
        bound_source: ``"weights"`` or ``"estimate"``: what the bound of the currents was computed from.
        spikes: how many spikes ``a`` emitted.
        follows: whether it does as it should, but differs end to end after another layer that does not.
        notes: what could not be compared.
    """

    name: str
    kind: str
    shape: tuple[int, ...]
    neuron_steps: int
    end_to_end: Numbers
    layerwise: Numbers
    explained: int
    unexplained: int
    first: Divergence | None = None
    causes: tuple[Cause, ...] = ()
    bound_source: str = "weights"
    spikes: int = 0
    follows: bool = False
    notes: tuple[str, ...] = ()

    @property
    def cause(self) -> Cause | None:
        """The likeliest cause of what is unexplained."""
        return self.causes[0] if self.causes else None

    @property
    def status(self) -> str:
        """``"equal"``: no spike differs; ``"rounding"``: all that differ are explained; ``"unexplained"``; or
        ``"follows"``: the layer itself is right, and differs end to end because of another that is not.
        """
        if self.unexplained:
            return "unexplained"
        if self.follows:
            return "follows"
        return "rounding" if self.explained or self.end_to_end.spike_mismatches else "equal"


@dataclass(frozen=True)
class GradientReport:
    """Gradient of one weight on both sides: largest difference over largest entry of ``a``."""

    name: str
    relative: float
    agree: bool


@dataclass(frozen=True)
class Picture:
    """One sample of one layer, end to end, for :meth:`Report.plot`; arrays ``[T, N]``."""

    name: str
    spk_a: np.ndarray
    spk_b: np.ndarray
    mem_a: np.ndarray | None
    mem_b: np.ndarray | None
    first: tuple[int, int] | None
    status: str


@dataclass(frozen=True)
class Report:
    """Result of comparing two sides, layer by layer and end to end.

    Example:
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

    def to_json(self, path: str | PathLike[str] | None = None) -> str:
        """:meth:`to_dict` as text, written to ``path`` if one is given."""
        text = json.dumps(self.to_dict(), indent=1, allow_nan=False)
        if path is not None:
            Path(path).write_text(text + "\n")
        return text

    def plot(self, path: str | PathLike[str] | None = None) -> Figure:
        """Overlaid rasters, membrane differences and where the sides part, for one sample.

        Args:
            path: where to save the picture, if given.

        Returns:
            The matplotlib figure.

        Raises:
            MissingDependencyError: without matplotlib.
        """
        from snnax import spikeplot

        pictures = [spikeplot.LayerPicture(**vars(picture)) for picture in self.pictures]
        figure: Figure = spikeplot.crossvalidation(pictures, self.labels)
        if path is not None:
            figure.savefig(path)
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
