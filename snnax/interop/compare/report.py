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
from snnax.shown import shown

if TYPE_CHECKING:
    from matplotlib.figure import Figure


# --- The entries of a report: causes, places, numbers, layers, gradients, pictures ----------------


@dataclass(frozen=True)
class Cause:
    """Why two layers behave differently.

    Attributes:
        kind: one of ``reset mechanism``, ``reset delay``, ``threshold comparison``, ``threshold``, ``beta``,
            ``alpha``, ``dt``, ``gain``, ``bias``, ``axis order``, ``transposed kernel``, ``weights``,
            ``delay``, ``wiring``, ``recurrent bias``, ``initial state``, ``between steps``, ``neuron class``,
            ``inhibition``, ``output``, ``quantizer``, ``numerics``, ``unknown``; or the name of another number of the
            neuron that differs, as ``rho``, ``tau`` or ``v_reset``.
        text: what differs, in words, with the values of both sides where there are any.
        certain: false for a guess. True if b's recorded numbers follow from it, step by step, up to rounding; or if
            it is read off: from weights in which the two graphs differ, or from recorded numbers themselves.
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
        proved: those of them where rounding error alone decides on which side of the threshold a membrane is, shown
            for each by itself; the others follow from an earlier one.
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
    proved: int = 0

    @property
    def cause(self) -> Cause | None:
        """The likeliest cause of what is unexplained."""
        return self.causes[0] if self.causes else None

    @property
    def status(self) -> str:
        """``"equal"``, ``"rounding"``, ``"unexplained"`` or ``"follows"``.

        Equal: no spike differs. Rounding: all that differ are explained. Follows: the layer itself is right,
        and differs end to end because of another that is not.
        """
        if self.unexplained:
            return "unexplained"
        if self.follows:
            return "follows"
        return "rounding" if self.explained or self.end_to_end.spike_mismatches else "equal"

    @property
    def summary(self) -> str:
        """The status and, where something is unexplained, the kind of its cause."""
        return self.status if self.cause is None else f"{self.status}: {self.cause.kind}"


@dataclass(frozen=True)
class GradientReport:
    """Gradient of one weight on both sides.

    Attributes:
        name: of the weight.
        relative: largest difference over largest entry of a's gradient. Where both gradients are no more than rounding
            errors of the largest gradient of all, it is the entry of that one by which the difference is divided.
        agree: whether that is at most the tolerance: 1e-4 in float32, 1e-10 in float64.
    """

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


# --- A report as text: an aligned table by layer, a verdict, and the first place where the sides part

HEAD = (
    "layer",
    "kind",
    "neurons",
    "spikes",
    "differ",
    "membrane",
    "differ",
    "rounding",
    "unexplained",
    "membrane",
    "verdict",
)
_GROUPS = ((4, 6, "end to end"), (6, 10, "layer by layer"))
_LEFT = (0, 1, 10)


def text(report: Report) -> str:
    """Title, table, gradients, notes and verdict."""
    a, b = map(shown, report.labels)
    title = (
        f"{a} against {b}: {report.steps} steps, {spaced(report.neuron_steps)} neuron-steps, {report.dtype}"
    )
    lines = [title, *_aligned([HEAD, *(row(layer) for layer in report.layers)])]
    for gradient in report.gradients:
        judged = "" if report.gradients_judged else " (not judged)"
        agree = "agrees" if gradient.agree else "differs"
        lines.append(
            f"gradient {shown(gradient.name)}: {agree}{judged}, relative difference {gradient.relative:.1e}"
        )
    lines += [f"note: {shown(note)}" for note in notes(report)]
    return "\n".join([*lines, report.verdict])


def notes(report: Report) -> list[str]:
    """What could not be compared, of the whole and of each layer."""
    return [*report.notes, *(f"{layer.name}: {note}" for layer in report.layers for note in layer.notes)]


def verdict(report: Report) -> str:
    """One line if the sides agree; else also where they part first, and the likely cause."""
    a, b = map(shown, report.labels)
    flips = sum(layer.end_to_end.spike_mismatches for layer in report.layers)
    if report.agree:
        if not report.explained and not flips:
            return (
                f"AGREE: {b} does what {a} does; all {spaced(report.neuron_steps)} neuron-steps have "
                "the same spikes."
            )
        return (
            f"AGREE: {b} does what {a} does up to rounding; 0 unexplained mismatches. Layer by layer, "
            f"{spaced(report.explained)} of {spaced(report.neuron_steps)} neuron-steps differ{_split(report)}; "
            f"end to end {spaced(flips)} spikes differ."
        )
    layer = report.first
    if layer is None:
        worst = max(report.gradients, key=lambda g: (math.isnan(g.relative), g.relative))
        if not math.isfinite(worst.relative):
            return (
                f"DISAGREE: the spikes agree, the gradients do not; that of {shown(worst.name)} has NaN or infinity. "
                "Likely cause: a loss that overflows, or a square root or logarithm of zero."
            )
        return (
            f"DISAGREE: the spikes agree, the gradients do not; that of {shown(worst.name)} differs by "
            f"{worst.relative:.1e} "
            "relative. Likely cause: another surrogate gradient, or a detached state."
        )
    lines = [
        f"DISAGREE: {spaced(report.unexplained)} unexplained neuron-steps of {spaced(report.neuron_steps)}."
    ]
    if layer.first is not None:
        lines.append(f"They part first in {shown(layer.name)}, {place(layer.first, report.labels)}.")
    for i, cause in enumerate(layer.causes):
        lead = "Likely cause" if i == 0 else "Also"
        lines.append(f"{lead}: {cause.kind}: {shown(cause.text)}")
    others = [shown(other.name) for other in report.layers if other.unexplained and other is not layer]
    if others:
        lines.append(f"Unexplained in {', '.join(others)} too.")
    return "\n".join(lines)


def _split(report: Report) -> str:
    """How many of the mismatches were shown to be rounding, and how many only follow from those."""
    proved = sum(layer.proved for layer in report.layers)
    parts = [
        (proved, "where rounding error alone decides on which side of a threshold a number is"),
        (report.explained - proved, "that follow from an earlier one in the same layer"),
    ]
    said = ", ".join(f"{spaced(count)} {words}" for count, words in parts if count)
    return f": {said}" if said else ""


def place(spot: Divergence, labels: tuple[str, str]) -> str:
    """Where and how the sides part, in words."""
    a, b = map(shown, labels)
    index = ", ".join(map(str, spot.neuron))
    where = f"at step {spot.step}, sample {spot.sample}, neuron ({index})"
    if abs(spot.current[0] - spot.current[1]) > spot.current_bound:
        what = f"current {spot.current[0]:.7g} ({a}) against {spot.current[1]:.7g} ({b})"
        bound = f"rounding accounts for {spot.current_bound:.1e}"
    else:
        left, right = ("unknown" if m is None else f"{m:.7g}" for m in spot.mem)
        what = f"membrane {left} ({a}) against {right} ({b})"
        bound = f"rounding accounts for {spot.bound:.1e}"
    if spot.spk[0] != spot.spk[1]:
        what += f", spike {spot.spk[0]:g} against {spot.spk[1]:g}"
    limit = "" if spot.threshold is None else f"threshold {spot.threshold:.7g}, "
    return f"{where}: {what} ({limit}{bound})"


def row(layer: LayerReport) -> tuple[str, ...]:
    """The cells of a layer under :data:`HEAD`, as text."""
    return (
        shown(layer.name),
        shown(layer.kind),
        "x".join(map(str, layer.shape)),
        spaced(layer.spikes),
        spaced(layer.end_to_end.spike_mismatches),
        _gap(layer.end_to_end.max_mem_gap),
        spaced(layer.layerwise.spike_mismatches),
        spaced(layer.explained),
        spaced(layer.unexplained),
        _gap(layer.layerwise.max_mem_gap),
        layer.summary,
    )


def _aligned(rows: list[tuple[str, ...]]) -> list[str]:
    """Columns as wide as their entries under one heading, groups of columns under another."""
    widths = [max(len(row[i]) for row in rows) for i in range(len(HEAD))]
    lines = []
    for row in rows:
        cells = zip(row, widths, strict=True)
        padded = [c.ljust(w) if i in _LEFT else c.rjust(w) for i, (c, w) in enumerate(cells)]
        lines.append("  ".join(padded).rstrip())
    head = ""
    for begin, end, words in _GROUPS:
        width = sum(widths[begin:end]) + 2 * (end - begin - 1)
        head = head.ljust(sum(widths[:begin]) + 2 * begin) + f" {words} ".center(width, "-")
    rule = "-" * max(map(len, lines))
    return [head, lines[0], rule, *lines[1:], rule]


def spaced(number: int) -> str:
    """A count with its digits in threes."""
    return f"{number:,}".replace(",", " ")


def _gap(value: float | None) -> str:
    return "-" if value is None else f"{value:.1e}" if value else "0"


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
        layers: neuron layers in the order of execution, then those outputs of the network that are not the recorded
            spikes or the recorded state of the same layer on both sides.
        gradients: weight gradients, if asked for.
        gradients_judged: false where spikes flipped, so that gradients need not agree.
        notes: what could not be compared.
        pictures: what :meth:`plot` draws, a layer each.
        digests: SHA-256 of what was compared, by what it is: the input, each side's network and spikes.
        versions: of the libraries that were in use.
    """

    labels: tuple[str, str]
    dtype: str
    steps: int
    layers: tuple[LayerReport, ...]
    gradients: tuple[GradientReport, ...] = ()
    gradients_judged: bool = True
    notes: tuple[str, ...] = ()
    pictures: tuple[Picture, ...] = field(default=(), repr=False, compare=False)
    digests: tuple[tuple[str, str], ...] = field(default=(), repr=False, compare=False)
    versions: tuple[tuple[str, str], ...] = field(default=(), repr=False, compare=False)

    @property
    def unexplained(self) -> int:
        """Neuron-steps that differ by more than rounding; 0 if the sides agree."""
        return sum(layer.unexplained for layer in self.layers)

    @property
    def explained(self) -> int:
        """Spike mismatches, layer by layer, that are rounding or follow from it in the same layer."""
        return sum(layer.explained for layer in self.layers)

    @property
    def neuron_steps(self) -> int:
        """How many neuron-steps were compared."""
        return sum(layer.neuron_steps for layer in self.layers)

    @property
    def agree(self) -> bool:
        """Nothing unexplained, and gradients that agree where they were judged."""
        gradients = not self.gradients_judged or all(g.agree for g in self.gradients)
        return self.unexplained == 0 and gradients

    @property
    def first(self) -> LayerReport | None:
        """The first layer, in the order of execution, with something unexplained."""
        return next((layer for layer in self.layers if layer.unexplained), None)

    @property
    def verdict(self) -> str:
        """One line, and for a disagreement where the sides part and why."""
        return verdict(self)

    def __str__(self) -> str:
        """The table by layer and the verdict."""
        return text(self)

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
            "digests": dict(self.digests),
            "versions": dict(self.versions),
        }

    @checks.takes(path=checks.maybe(checks.path))
    def to_json(self, path: str | PathLike[str] | None = None) -> str:
        """:meth:`to_dict` as text, written to ``path`` if one is given; ``OSError`` if that cannot be written."""
        text = json.dumps(self.to_dict(), indent=1, allow_nan=False)
        if path is not None:
            write_whole({Path(path): f"{text}\n".encode()})
        return text

    @checks.takes(path=checks.maybe(checks.path), command=checks.maybe(checks.text))
    def to_html(self, path: str | PathLike[str] | None = None, *, command: str | None = None) -> str:
        """The proof as one page: verdict, table, rasters that zoom, membranes where the sides part, and its origin.

        The page needs nothing else, neither files nor a network. Of large or long layers it shows a part, and says so:
        a layer takes at most some 200 kB.

        Args:
            path: where to write it; nowhere by default.
            command: what made the comparison, to be shown.

        Returns:
            The page, HTML.

        Raises:
            OSError: if the file cannot be written.

        Example:
            >>> from snnax.interop.compare import LayerReport, Numbers, Report
            >>> layer = LayerReport("lif", "Leaky", (2,), 10, *[Numbers(0, 0.0, 0.0, None)] * 2, 0, 0)
            >>> "AGREE" in Report(("snnTorch", "snnax"), "float32", 5, (layer,)).to_html()
            True
        """
        from snnax.interop.compare.page import page

        made = page(self, command)
        if path is not None:
            write_whole({Path(path): made.encode()})
        return made

    def _repr_html_(self) -> str:
        """The verdict and the table, for notebooks."""
        from snnax.interop.compare.page import summary

        return summary(self)

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
