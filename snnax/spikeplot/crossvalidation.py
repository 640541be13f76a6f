"""The picture of a cross-validation: two runs laid over each other, and where they part."""

from __future__ import annotations

import math
from collections.abc import Sequence
from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import NDArray

from snnax import checks
from snnax.errors import ArgumentError
from snnax.spikeplot import canvas
from snnax.spikeplot.canvas import BLUE, INK, ORANGE, PALE
from snnax.spikeplot.layers import Layer, LayerPicture, read

if TYPE_CHECKING:
    from matplotlib.axes import Axes
    from matplotlib.figure import Figure

WIDTH = 5.8
RASTER = 2.4
DIFFERENCE = 1.0
SHOWN = 256
LONG_RUN = 150


def _layers(value: Any, what: str) -> Any:
    if not isinstance(value, Sequence) or not all(isinstance(layer, LayerPicture) for layer in value):
        raise checks.refuse(
            what, value, "pictures of layers, as [snnax.spikeplot.LayerPicture('lif', spk_a, spk_b)]"
        )
    return value


def _two(value: Any, what: str) -> tuple[str, ...]:
    labels = checks.texts(value, what)
    if len(labels) != 2 or isinstance(value, str):
        raise checks.refuse(what, value, "the names of the two runs, as ('snnTorch', 'snnax')")
    return labels


@checks.takes(layers=_layers, labels=_two, fig=canvas.FIG, max_neurons=checks.count())
def crossvalidation(
    layers: Sequence[LayerPicture],
    labels: tuple[str, str] = ("snnTorch", "snnax"),
    fig: Figure | None = None,
    max_neurons: int = SHOWN,
) -> Figure:
    """Two runs of a network laid over each other, layer by layer.

    For each layer a raster, in which spikes of both runs are grey ticks, and spikes of only one are
    triangles, upwards for the first run, downwards for the second; under it the largest membrane
    difference of each step. A dashed line and a ring mark where the runs part. Spikes of another height in
    each run (graded spikes) count as different and get both triangles.

    Args:
        layers: what to show, in the order of the network.
        labels: names of the two runs.
        fig: figure to draw into; pyplot's without it. It gets a constrained layout if it has none.
        max_neurons: of a larger layer this many rows are drawn: the ones that differ, and an even choice of
            the others. The axis says so; all counts are of the whole layer.

    Returns:
        The figure; ``.savefig("picture.png")`` writes it.

    Raises:
        ArgumentError: no layers, or ``max_neurons`` is below 1.
        ShapeError: arrays of one layer have different shapes, or are not ``[T, N]``.
        MissingDependencyError: matplotlib is not installed.

    Example:
        >>> import numpy as np
        >>> spk = np.eye(6)
        >>> figure = crossvalidation([LayerPicture("lif", spk, spk, spk / 2, spk / 2, status="agree")])
        >>> print(figure.axes[0].get_title(loc="left"))
        lif: agree
        all 6 spikes the same
    """
    if not layers:
        raise ArgumentError("crossvalidation got no layers to show; pass at least one LayerPicture.")
    found = [read(layer) for layer in layers]
    columns = 1 if len(found) == 1 or max(len(layer.a) for layer in found) > LONG_RUN else 2
    rows = math.ceil(len(found) / columns)
    if fig is None:
        fig = canvas.figure(
            None, WIDTH * (2 if columns == 2 else 1.5), rows * (RASTER + DIFFERENCE + 0.8) + 0.5
        )
    elif fig.get_layout_engine() is None:
        fig.get_figure(root=True).set_layout_engine("constrained")
    outer = fig.add_gridspec(rows, columns)
    for index, layer in enumerate(found):
        inner = outer[divmod(index, columns)].subgridspec(
            2, 1, height_ratios=[RASTER, DIFFERENCE], hspace=0.04
        )
        above = fig.add_subplot(inner[0])
        below = fig.add_subplot(inner[1], sharex=above)
        _raster(above, layer, max_neurons)
        _difference(below, layer)
        _mark(above, below, layer)
    _legend(fig, found, labels)
    return fig


def _raster(ax: Axes, layer: Layer, most: int) -> None:
    steps, size = layer.a.shape
    rows = layer.rows(most)
    row = float(np.clip(0.85 * 72 * RASTER / max(len(rows), 1), 2, 13))
    tick = float(np.clip(0.3 * 72 * WIDTH / max(steps, 1), 0.6, 2.5))
    triangle = float(np.clip(row, 7, 9)) ** 2
    styles: tuple[tuple[NDArray[np.bool_], dict[str, Any]], ...] = (
        (layer.both, {"marker": "|", "s": row**2, "color": PALE, "linewidths": tick, "zorder": 2}),
        (layer.only_a, {"marker": "^", "s": triangle, "color": BLUE, "linewidths": 0, "zorder": 3}),
        (layer.only_b, {"marker": "v", "s": triangle, "color": ORANGE, "linewidths": 0, "zorder": 4}),
    )
    for spikes, style in styles:
        time, index = np.nonzero(spikes[:, rows])
        ax.scatter(time, rows[index], **style)
    ax.set(xlim=(-0.7, steps - 0.3), ylim=(-0.03 * size - 0.5, 1.03 * size - 0.5))
    ax.set_ylabel("neuron" if len(rows) == size else f"neuron ({len(rows)} of {size} shown)")
    ax.yaxis.set_major_locator(canvas.module("ticker").MaxNLocator(5, integer=True))
    ax.set_title(layer.title, loc="left", fontsize=10)
    canvas.tidy(ax)
    ax.tick_params(labelbottom=False)


def _difference(ax: Axes, layer: Layer) -> None:
    canvas.tidy(ax)
    ax.set_xlabel("time step")
    ax.set_ylabel("max |Δ mem|", fontsize=9)
    steps = len(layer.a)
    if layer.difference is None or not layer.difference.any():
        ax.set_yticks([])
        ax.text(
            0.5,
            0.5,
            "membranes not recorded" if layer.difference is None else "0: membranes equal to the last bit",
            transform=ax.transAxes,
            ha="center",
            va="center",
            color=INK,
            fontsize=9,
        )
        return
    finite = np.isfinite(layer.difference)
    positive = layer.difference[finite & (layer.difference > 0)]
    low, high = (positive.min(), positive.max()) if positive.size else (1.0, 1.0)
    bottom, top = low / 10, high * 10 ** (0.4 * math.log10(high / low) + 0.5)
    values = np.where(finite, layer.difference, top)
    ax.set_yscale("log")
    ax.stairs(
        np.maximum(values, bottom), np.arange(steps + 1) - 0.5, baseline=bottom, fill=True, color=INK, lw=0
    )
    ax.set_ylim(bottom, top)
    ticker = canvas.module("ticker")
    ax.yaxis.set_major_locator(ticker.LogLocator(numticks=4))
    ax.yaxis.set_minor_locator(ticker.NullLocator())
    text = f"largest {high:.2g}" if finite.all() else f"not finite from step {int((~finite).argmax())}"
    beside_the_mark = layer.first is not None and layer.first[0] < steps / 3
    x, side = (0.99, "right") if beside_the_mark else (0.01, "left")
    ax.text(x, 0.97, text, transform=ax.transAxes, ha=side, va="top", fontsize=9, color=INK)


def _mark(above: Axes, below: Axes, layer: Layer) -> None:
    """The dashed line and the ring where the runs part."""
    if layer.first is None:
        return
    step, neuron = layer.first
    for ax in (above, below):
        ax.axvline(step, color="black", ls=(0, (4, 3)), lw=1, zorder=1)
    above.scatter([step], [neuron], s=170, facecolors="none", edgecolors="black", linewidths=1.3, zorder=5)


def _legend(fig: Figure, layers: Sequence[Layer], labels: tuple[str, str]) -> None:
    line = canvas.module("lines").Line2D
    counts = [sum(int(getattr(x, kind).sum()) for x in layers) for kind in ("both", "only_a", "only_b")]
    entries = [
        line([], [], ls="", marker="|", ms=10, mew=2, color=PALE, label=f"both ({counts[0]:,})"),
        line([], [], ls="", marker="^", ms=8, color=BLUE, label=f"only {labels[0]} ({counts[1]:,})"),
        line([], [], ls="", marker="v", ms=8, color=ORANGE, label=f"only {labels[1]} ({counts[2]:,})"),
    ]
    if any(layer.first is not None for layer in layers):
        ring = {"marker": "o", "ms": 11, "mfc": "none", "mec": "black", "color": "black"}
        entries.append(line([], [], ls=(0, (4, 3)), lw=1, label="where they part", **ring))
    fig.legend(handles=entries, loc="outside upper center", ncols=len(entries), frameon=False)
