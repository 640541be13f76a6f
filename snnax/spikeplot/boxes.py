"""Boxes and arrows: drawing a graph whose nodes have their places."""

from __future__ import annotations

import math
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from snnax.spikeplot import canvas
from snnax.spikeplot.canvas import BLUE, INK, ORANGE, PALE
from snnax.spikeplot.layout import Layout

if TYPE_CHECKING:
    from matplotlib.axes import Axes

Point = tuple[float, float]
Edge = tuple[str, str]

ROW, LINE, PAD, GAP, LANE = 0.34, 0.165, 0.09, 0.3, 0.12
LETTER, FONT = 0.078, 9.0
_FILLS = {"neuron": "#dbe9f4", "weights": "#f2f2f2", "other": "white", "end": "white"}


@dataclass(frozen=True)
class Box:
    """A node: its lines of text, the first in bold, and what kind of node it is; sizes are inches."""

    lines: tuple[str, ...]
    role: str

    @property
    def width(self) -> float:
        """Wide enough for the longest line."""
        return max(len(line) for line in self.lines) * LETTER + 2 * PAD + 0.1

    @property
    def height(self) -> float:
        """High enough for all lines."""
        return len(self.lines) * LINE + 2 * PAD


class Drawing:
    """Boxes at their places, in inches, and the arrows between them."""

    def __init__(self, boxes: Mapping[str, Box], found: Layout, late: set[Edge]) -> None:
        self.boxes, self.found, self.late = boxes, found, late
        heights = [0.0] * (max(found.row.values(), default=0) + 1)
        for name, row in found.row.items():
            heights[row] = max(heights[row], boxes[name].height)
        self.y = []
        top = 0.0
        for height in heights:
            self.y.append(top - height / 2)
            top -= height + ROW
        self.heights = heights
        self.lanes: dict[tuple[int, bool], int] = {}
        self.tracks = self._tracks()

    def limits(self) -> tuple[float, float, float, float]:
        """Left, right, bottom and top of all that is drawn."""
        sides = [(self.found.x[name], box.width / 2) for name, box in self.boxes.items()] or [(0.0, 1.0)]
        passing = list(self.found.x.values())
        left = min([x - half for x, half in sides] + passing)
        right = max([x + half for x, half in sides] + passing + [*self.tracks.values()])
        bottom = self.y[-1] - self.heights[-1] / 2
        note = 0.3 if self.late else 0.0
        return left - 0.15, max(right + 0.15, left + (2.3 if note else 1.0)), bottom - 0.15 - note, 0.15

    def draw(self, ax: Axes, scale: float) -> None:
        """All of it; letters and lines ``scale`` times their size."""
        font = FONT * scale
        curves = [(edge, self._down(spots)) for edge, spots in self.found.forward]
        arrows = [(edge, points, ["MOVETO"] + ["CURVE4"] * (len(points) - 1)) for edge, points in curves]
        arrows += [(edge, *_rounded(self._back(edge))) for edge in self.found.feedback]
        for edge, points, codes in arrows:
            style = {"color": ORANGE, "linestyle": "dashed"} if edge in self.late else {"color": INK}
            _arrow(ax, points, codes, scale, **style)
        for name, box in self.boxes.items():
            self._draw_box(ax, name, box, font)
        if self.late:
            left, _, bottom, _ = self.limits()
            ax.annotate(
                "dashed: one step later",
                (left + 0.15, bottom + 0.2),
                fontsize=0.9 * font,
                color=ORANGE,
                va="center",
            )

    def _draw_box(self, ax: Axes, name: str, box: Box, font: float) -> None:
        x, y = self._centre(name)
        patches = canvas.module("patches")
        corner = (x - box.width / 2, y - box.height / 2)
        style = patches.BoxStyle("Round", pad=0, rounding_size=0.12 if box.role == "end" else 0.04)
        edge = BLUE if box.role == "neuron" else INK if box.role == "end" else PALE
        ax.add_patch(
            patches.FancyBboxPatch(
                corner,
                box.width,
                box.height,
                boxstyle=style,
                facecolor=_FILLS[box.role],
                edgecolor=edge,
                lw=font / FONT,
                zorder=3,
            )
        )
        for index, line in enumerate(box.lines):
            ax.text(
                x,
                y + ((len(box.lines) - 1) / 2 - index) * LINE,
                line.replace("$", r"\$"),
                fontsize=font if index == 0 else 0.88 * font,
                fontweight="bold" if index == 0 else "normal",
                color="black" if index == 0 else INK,
                ha="center",
                va="center_baseline",
                zorder=4,
            )

    def _centre(self, name: str) -> Point:
        return self.found.x[name], self.y[self.found.row[name]]

    def _down(self, spots: list[Any]) -> list[Point]:
        """From the bottom of the first box past the spots between to the top of the last."""
        source, target = spots[0], spots[-1]
        x, y = self._centre(source)
        points = [(x, y - self.boxes[source].height / 2)]
        for spot in spots[1:-1]:
            half = self.heights[spot[1]] / 2
            place = self.found.x[spot]
            points += _bend(points[-1], (place, self.y[spot[1]] + half))
            points += [(place, self.y[spot[1]])] * 2 + [(place, self.y[spot[1]] - half)]
        x, y = self._centre(target)
        return points + _bend(points[-1], (x, y + self.boxes[target].height / 2))

    def _tracks(self) -> dict[Edge, float]:
        """How far to the right each feedback arrow runs: past all that stands in its rows."""
        tracks: dict[Edge, float] = {}
        spans: dict[Edge, tuple[int, int]] = {}
        row = self.found.row
        for edge in sorted(self.found.feedback, key=lambda e: row[e[0]] - row[e[1]]):
            if edge[0] == edge[1]:
                tracks[edge] = self.found.x[edge[0]] + self.boxes[edge[0]].width / 2 + 0.2
                continue
            low, high = spans[edge] = (row[edge[1]], row[edge[0]])
            there = [x + half for spot, x, half in self._spots() if low <= self._row(spot) <= high]
            inner = [tracks[e] for e, (a, b) in spans.items() if e in tracks and a <= high and low <= b]
            own = [track for (s, t), track in tracks.items() if s == t and low <= row[s] <= high]
            tracks[edge] = max([*there, *inner, *own]) + 0.22
        return tracks

    def _row(self, spot: Any) -> int:
        return spot[1] if isinstance(spot, tuple) else self.found.row[spot]

    def _spots(self) -> Iterator[tuple[Any, float, float]]:
        """Everything with a place: boxes and passing edges, with their middle and half their width."""
        for spot, x in self.found.x.items():
            yield spot, x, LANE / 2 if isinstance(spot, tuple) else self.boxes[spot].width / 2

    def _free(self, name: str) -> bool:
        """Whether nothing stands to the right of a box."""
        row, x = self.found.row[name], self.found.x[name]
        return not any(self._row(spot) == row and there > x for spot, there, _ in self._spots())

    def _back(self, edge: Edge) -> list[Point]:
        """Out of the source, up along the arrow's track, into the target; past other boxes, not behind them."""
        (source, target), out = edge, self.tracks[edge]
        (sx, sy), (tx, ty) = self._centre(source), self._centre(target)
        if source == target or self._free(source):
            first = [(sx + self.boxes[source].width / 2, sy - 0.08), (out, sy - 0.08)]
        else:
            x, y = sx + self.boxes[source].width / 4, self._lane(self.found.row[source], below=True)
            first = [(x, sy - self.boxes[source].height / 2), (x, y), (out, y)]
        if source == target or self._free(target):
            last = [(out, ty + 0.08), (tx + self.boxes[target].width / 2, ty + 0.08)]
        else:
            x, y = tx + self.boxes[target].width / 4, self._lane(self.found.row[target], below=False)
            last = [(out, y), (x, y), (x, ty + self.boxes[target].height / 2)]
        return first + last

    def _lane(self, row: int, below: bool) -> float:
        """The height of the next free lane under or over a row."""
        taken = self.lanes.get((row, below), 0)
        self.lanes[row, below] = taken + 1
        away = self.heights[row] / 2 + (0.06 if below else 0.14) + 0.04 * (taken % 3)
        return self.y[row] - away if below else self.y[row] + away


def _bend(start: Point, end: Point) -> list[Point]:
    """The rest of a curve that leaves and arrives upright."""
    middle = (start[1] + end[1]) / 2
    return [(start[0], middle), (end[0], middle), end]


def _rounded(points: Sequence[Point], radius: float = 0.09) -> tuple[list[Point], list[str]]:
    """A line through points, its corners rounded: vertices, and matplotlib's names of what leads to them."""
    found, codes = [points[0]], ["MOVETO"]
    for before, corner, after in zip(points, points[1:], points[2:], strict=False):
        for end in (before, after):
            length = math.dist(end, corner)
            part = min(radius, length / 2) / max(length, 1e-9)
            near = (corner[0] + (end[0] - corner[0]) * part, corner[1] + (end[1] - corner[1]) * part)
            if end is before:
                found += [near, corner]
                codes += ["LINETO", "CURVE3"]
            else:
                found.append(near)
                codes.append("CURVE3")
    return [*found, points[-1]], [*codes, "LINETO"]


def _arrow(ax: Axes, points: Sequence[Point], codes: Sequence[str], scale: float, **style: Any) -> None:
    path = canvas.module("path").Path
    arrow = canvas.module("patches").FancyArrowPatch(
        path=path(points, [getattr(path, code) for code in codes]), arrowstyle="-|>", mutation_scale=9 * scale,
        lw=1.1 * scale, shrinkA=0, shrinkB=0, zorder=2, **style,
    )  # fmt: skip
    ax.add_patch(arrow)
