"""A report as text: an aligned table by layer, a verdict, and the first place where the sides part."""

from __future__ import annotations

from typing import TYPE_CHECKING

from snnax.shown import shown

if TYPE_CHECKING:
    from snnax.interop.compare.entries import Divergence, LayerReport
    from snnax.interop.compare.report import Report

_HEAD = (
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
        f"{a} against {b}: {report.steps} steps, {_count(report.neuron_steps)} neuron-steps, {report.dtype}"
    )
    lines = [title, *_aligned([_HEAD, *(_row(layer) for layer in report.layers)])]
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
                f"AGREE: {b} does what {a} does; all {_count(report.neuron_steps)} neuron-steps have "
                "the same spikes."
            )
        return (
            f"AGREE: {b} does what {a} does up to rounding; 0 unexplained mismatches. Layer by layer, "
            f"{_count(report.explained)} of {_count(report.neuron_steps)} neuron-steps flipped with a "
            "membrane within "
            f"rounding error of the threshold; end to end that makes {_count(flips)}."
        )
    layer = report.first
    if layer is None:
        worst = max(report.gradients, key=lambda g: g.relative)
        return (
            f"DISAGREE: the spikes agree, the gradients do not; that of {shown(worst.name)} differs by "
            f"{worst.relative:.1e} "
            "relative. Likely cause: another surrogate gradient, or a detached state."
        )
    lines = [
        f"DISAGREE: {_count(report.unexplained)} unexplained neuron-steps of {_count(report.neuron_steps)}."
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


def _row(layer: LayerReport) -> tuple[str, ...]:
    return (
        shown(layer.name),
        shown(layer.kind),
        "x".join(map(str, layer.shape)),
        _count(layer.spikes),
        _count(layer.end_to_end.spike_mismatches),
        _gap(layer.end_to_end.max_mem_gap),
        _count(layer.layerwise.spike_mismatches),
        _count(layer.explained),
        _count(layer.unexplained),
        _gap(layer.layerwise.max_mem_gap),
        layer.summary,
    )


def _aligned(rows: list[tuple[str, ...]]) -> list[str]:
    """Columns as wide as their entries under one heading, groups of columns under another."""
    widths = [max(len(row[i]) for row in rows) for i in range(len(_HEAD))]
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


def _count(number: int) -> str:
    return f"{number:,}".replace(",", " ")


def _gap(value: float | None) -> str:
    return "-" if value is None else f"{value:.1e}" if value else "0"
