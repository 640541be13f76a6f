"""A report as one HTML page that needs nothing else: no file, no network; scripts only to zoom."""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from html import escape
from importlib import resources

import numpy as np

from snnax.interop.compare import report as reports
from snnax.interop.compare.report import LayerReport, Picture, Report
from snnax.shown import shown
from snnax.spikeplot.layers import Layer, LayerPicture, read

Array = np.ndarray

ROWS = 256
"""Neurons of one layer that are drawn."""
MARKS = 20_000
"""Ticks of one layer that are drawn at most; each takes some nine bytes of the page, so that it is all of 200 kB."""
STEPS = 5_000
"""Steps that are drawn."""
AROUND = 20
"""Steps before and after the place where the sides part, in the drawing of membranes."""
_WIDTH, _HEIGHT, _EDGE = 640.0, 180.0, 8.0


def page(report: Report, command: str | None = None) -> str:
    """All of it: verdict, table, a section for each layer, gradients, notes, and what it was made of."""
    a, b = map(_text, report.labels)
    title = f"{a} against {b}"
    by_name = {layer.name: layer for layer in report.layers}
    sections = "".join(
        _section(number, picture, by_name[picture.name], report.labels)
        for number, picture in enumerate(report.pictures)
    )
    style, script = (
        resources.files("snnax.interop.compare").joinpath(name).read_text("utf-8")
        for name in ("page.css", "page.js")
    )
    return (
        '<!DOCTYPE html>\n<html lang="en">\n<head>\n<meta charset="utf-8">\n'
        '<meta name="viewport" content="width=device-width, initial-scale=1">\n'
        '<meta name="color-scheme" content="light dark">\n'
        f"<title>{title}: {'agree' if report.agree else 'disagree'}</title>\n<style>\n{style}</style>\n</head>\n"
        f"<body>\n<main>\n<h1>{title}</h1>\n{_verdict(report)}\n{_table(report)}\n{_gradients(report)}{_notes(report)}"
        f"{sections}{_origin(report, command)}</main>\n<script>\n{script}</script>\n</body>\n</html>\n"
    )


def summary(report: Report) -> str:
    """Verdict, table and notes, for a notebook, whose style sheet is not ours: the table says itself that it fits."""
    table = f'<div style="overflow-x: auto; font-size: 0.8em">{_table(report)}</div>'
    return f"<div>{_verdict(report)}{table}{_gradients(report)}{_notes(report)}</div>"


# --- Text and tables --------------------------------------------------------------------------------


def _text(value: object) -> str:
    """As HTML; names come from other people's files."""
    return escape(shown(str(value)))


def _verdict(report: Report) -> str:
    lines = "<br>".join(_text(line) for line in report.verdict.split("\n"))
    return f'<p class="verdict {"agree" if report.agree else "disagree"}" role="status">{lines}</p>'


def _table(report: Report) -> str:
    groups = "".join(
        f'<th scope="colgroup" colspan="{span}">{name}</th>' if name else f'<td colspan="{span}"></td>'
        for name, span in (("", 4), ("end to end", 2), ("layer by layer", 4), ("", 1))
    )
    head = "".join(f'<th scope="col">{name}</th>' for name in reports.HEAD)
    rows = "".join(
        f'<tr class="{layer.status}"><th scope="row">{escape(row[0])}</th>'
        + "".join(f"<td>{escape(cell)}</td>" for cell in row[1:])
        + "</tr>\n"
        for layer, row in zip(report.layers, map(reports.row, report.layers), strict=True)
    )
    caption = f"{report.steps} time steps, {reports.spaced(report.neuron_steps)} neuron-steps, {_text(report.dtype)}"
    return (
        '<div class="wide" tabindex="0" role="region" aria-label="Table of layers"><table>'
        f"<caption>{caption}</caption><thead><tr>{groups}</tr><tr>{head}</tr></thead><tbody>\n{rows}</tbody></table></div>"
    )


def _gradients(report: Report) -> str:
    if not report.gradients:
        return ""
    judged = "" if report.gradients_judged else " (not judged, since spikes flipped)"
    rows = "".join(
        f'<tr><th scope="row">{_text(g.name)}</th><td>{g.relative:.1e}</td>'
        f"<td>{'agrees' if g.agree else 'differs'}</td></tr>"
        for g in report.gradients
    )
    return (
        f'<h2>Gradients{judged}</h2><div class="wide" tabindex="0" role="region" aria-label="Table of gradients">'
        '<table><thead><tr><th scope="col">weight</th><th scope="col">relative difference</th><th scope="col">verdict'
        f"</th></tr></thead><tbody>{rows}</tbody></table></div>\n"
    )


def _notes(report: Report) -> str:
    found = reports.notes(report)
    return "<ul>" + "".join(f"<li>{_text(note)}</li>" for note in found) + "</ul>\n" if found else ""


def _origin(report: Report, command: str | None) -> str:
    entries = [("command", command)] if command else []
    entries += [*report.versions, *((f"SHA-256 of the {what}", digest) for what, digest in report.digests)]
    if not entries:
        return ""
    rows = "".join(f"<dt>{_text(name)}</dt><dd><code>{_text(value)}</code></dd>" for name, value in entries)
    return f"<h2>Made of</h2>\n<dl>{rows}</dl>\n"


# --- Pictures ---------------------------------------------------------------------------------------


def _section(number: int, picture: Picture, layer: LayerReport, labels: tuple[str, str]) -> str:
    """One layer: the rasters of both sides, and the membranes of one neuron."""
    known = read(LayerPicture(**vars(picture)))
    causes = "".join(
        f"<li>{_text(cause.kind)}: {_text(cause.text)}{'' if cause.certain else ' (not certain)'}</li>"
        for cause in layer.causes
    )
    return (
        f'<section aria-labelledby="layer{number}"><h2 id="layer{number}">{_text(picture.name)}: '
        f"{_text(layer.summary)}</h2>\n{f'<ul>{causes}</ul>' if causes else ''}{_raster(known, labels)}"
        f"{_membranes(picture, layer, labels)}</section>\n"
    )


def _raster(layer: Layer, labels: tuple[str, str]) -> str:
    """Spikes of both sides: whole ticks where they are equal, half ticks where one side has them."""
    steps, size = layer.a.shape
    start = 0 if layer.first is None else max(0, min(layer.first[0] - STEPS // 2, steps - STEPS))
    end = min(start + STEPS, steps)
    kinds = (("both", layer.both, 0.1, 0.9), ("a", layer.only_a, 0.1, 0.5), ("b", layer.only_b, 0.5, 0.9))
    ticks = np.sum([spikes[start:end].sum(axis=0) for _, spikes, _, _ in kinds], axis=0)
    rows = layer.rows(ROWS)
    while (
        len(rows) > 1 and (count := int(ticks[rows].sum())) > MARKS
    ):  # fewer neurons, as many as there is room for
        rows = layer.rows(max(1, min(len(rows) - 1, len(rows) * MARKS // count)))
    paths = "".join(
        f'<path class="{name}" d="{_ticks(spikes[start:end, rows], start, low, high)}"/>'
        for name, spikes, low, high in kinds
    )
    mark, zoom = "", ""
    if layer.first is not None:
        step, neuron = layer.first
        place = int(np.searchsorted(rows, neuron))
        mark = (
            f'<path class="mark" d="M{step + 0.5} 0V{len(rows)}"/>'
            f'<rect class="mark" x="{step}" y="{place}" width="1" height="1"/>'
        )
        zoom = f' data-step="{step}" data-row="{place}"'
    a, b = map(_text, labels)
    counts = [int(spikes.sum()) for _, spikes, _, _ in kinds]
    part = "" if len(rows) == size else f" {len(rows)} of {size} neurons are drawn."
    part += "" if end - start == steps else f" Steps {start} to {end - 1} of {steps} are drawn."
    first = "" if layer.first is None else f" They part at step {layer.first[0]}, neuron {layer.first[1]}."
    what = (
        f"Raster, time to the right, neurons downwards. {counts[0]} spikes of both sides, {counts[1]} of {a} only, "
        f"{counts[2]} of {b} only.{first}{part}"
    )
    button = '<button type="button" data-zoom="first">where they part</button>' if zoom else ""
    return (
        f'<figure class="raster"><svg role="img" aria-label="{what}" tabindex="0" preserveAspectRatio="none" '
        f'viewBox="{start} 0 {max(end - start, 1)} {max(len(rows), 1)}"{zoom}>{paths}{mark}</svg>\n'
        f'<div class="tools">{button}<button type="button" data-zoom="in">closer</button><button type="button" '
        'data-zoom="out">wider</button><button type="button" data-zoom="all">all</button> '
        '<output aria-live="polite"></output></div>\n'
        f'<figcaption><span class="key both"></span>both ({reports.spaced(counts[0])}) '
        f'<span class="key a"></span>{a} only, upper half ({counts[1]}) '
        f'<span class="key b"></span>{b} only, lower half ({counts[2]})'
        f"{f'<br>{first}{part}' if first or part else ''}</figcaption></figure>\n"
    )


def _ticks(spikes: Array, start: int, low: float, high: float) -> str:
    """An upright line in the place of each spike, ``[T, N]``: neuron by neuron, each from the one before."""
    rows, times = np.nonzero(spikes.T)
    height = f"{high - low:g}".removeprefix("0")
    lines, last = [], (-1, 0)
    for row, time in zip(rows.tolist(), times.tolist(), strict=True):
        near = f"m{time - last[1]}-{height}" if row == last[0] else f"M{time + start}.5 {row + low:g}"
        lines.append(f"{near}v{height}")
        last = row, time
    return "".join(lines)


def _membranes(picture: Picture, layer: LayerReport, labels: tuple[str, str]) -> str:
    """The membranes of one neuron on both sides: where they part, or else where they differ most."""
    if picture.mem_a is None or picture.mem_b is None:
        return "<p>Membranes were not recorded on both sides.</p>\n"
    mems = (picture.mem_a.astype(np.float64), picture.mem_b.astype(np.float64))
    with np.errstate(invalid="ignore"):
        gap = np.nan_to_num(np.abs(mems[0] - mems[1]), nan=np.inf)
    if gap.size == 0:
        return ""
    place = np.unravel_index(int(gap.argmax()), gap.shape) if picture.first is None else picture.first
    step, neuron = int(place[0]), int(place[1])
    start, end = max(0, step - AROUND), min(len(gap), step + AROUND + 1)
    lines = [mem[start:end, neuron] for mem in mems]
    threshold = None if layer.first is None else layer.first.threshold
    seen = np.concatenate([*lines, [] if threshold is None else [threshold]])
    seen = seen[np.isfinite(seen)]
    low, high = (float(seen.min()), float(seen.max())) if seen.size else (0.0, 1.0)
    high = high if high > low else low + 1.0
    a, b = map(_text, labels)
    largest = gap[step, neuron]
    why = (
        "where the sides part"
        if picture.first is not None
        else "where they differ most"
        if largest
        else "the first"
    )
    what = (
        f"Membranes of neuron {neuron}, {why}, steps {start} to {end - 1}, from {low:.4g} to {high:.4g}. "
        f"At step {step}: {mems[0][step, neuron]:.7g} ({a}), {mems[1][step, neuron]:.7g} ({b})"
        f"{'' if largest or picture.first is not None else ', equal to the last bit'}."
    )
    drawn = "".join(
        f'<polyline class="{name}" points="{_points(line, low, high)}"/>'
        for name, line in zip("ab", lines, strict=True)
    )
    x = _x(step - start, end - start)
    marks = f'<path class="mark" d="M{x:.1f} 0V{_HEIGHT:g}"/>' if picture.first is not None else ""
    if threshold is not None:
        y = _y(threshold, low, high)
        marks += f'<path class="threshold" d="M0 {y:.1f}H{_WIDTH:g}"/>'
    legend = '<span class="line threshold"></span>threshold ' if threshold is not None else ""
    # the numbers beside it are words, which keep their size on a narrow screen; the drawing says them to those who hear
    return (
        f'<figure class="membranes"><div class="plot"><div class="heights" aria-hidden="true"><span>{high:.4g}</span>'
        f'<span>{low:.4g}</span></div><svg role="img" aria-label="{what}" preserveAspectRatio="none" '
        f'viewBox="0 0 {_WIDTH:g} {_HEIGHT:g}">{marks}{drawn}</svg><div class="times" aria-hidden="true">'
        f"<span>step {start}</span><span>{end - 1}</span></div></div>\n"
        f'<figcaption><span class="line a"></span>{a} <span class="line b"></span>{b} {legend}<br>{what}'
        "</figcaption></figure>\n"
    )


def _points(line: Iterable[float], low: float, high: float) -> str:
    values = list(line)
    return " ".join(f"{_x(i, len(values)):.1f},{_y(value, low, high):.2f}" for i, value in _finite(values))


def _finite(values: list[float]) -> Iterator[tuple[int, float]]:
    return ((i, value) for i, value in enumerate(values) if np.isfinite(value))


def _x(place: int, count: int) -> float:
    return _EDGE + (_WIDTH - 2 * _EDGE) * place / max(count - 1, 1)


def _y(value: float, low: float, high: float) -> float:
    return _HEIGHT - _EDGE - (_HEIGHT - 2 * _EDGE) * (value - low) / (high - low)
