"""The picture of a classifier of points in a plane: what it takes them for, and how it learned to."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import numpy as np

from snnax.errors import ShapeError
from snnax.spikeplot import canvas

if TYPE_CHECKING:
    from matplotlib.axes import Axes
    from matplotlib.figure import Figure

__all__ = ["learned"]

_COLOURS = (canvas.BLUE, canvas.ORANGE, canvas.GREEN, canvas.INK)


def learned(points: Any, labels: Any, classes: Any, validation: Any, fig: Figure | None = None) -> Figure:
    """Points in the colours of the classes that a network takes them for, errors crossed out; and its errors by epoch.

    Args:
        points: ``[S, 2]``.
        labels: ``[S]``.
        classes: ``[R, S]``: what each of ``R`` networks takes the points for; the first is drawn.
        validation: ``[R, epochs]``: accuracies.
        fig: figure to draw into; pyplot's without it.

    Returns:
        The figure.

    Raises:
        ShapeError: if they do not fit each other.
        MissingDependencyError: matplotlib is not installed.
    """
    places, right = canvas.numbers(points, "points"), canvas.numbers(labels, "labels")
    taken, accuracy = canvas.numbers(classes, "classes"), canvas.numbers(validation, "validation")
    fits = places.ndim == 2 and places.shape[1] == 2 and right.shape == places.shape[:1]
    if not fits or taken.ndim != 2 or taken.shape[1:] != right.shape or accuracy.shape[:1] != taken.shape[:1]:
        raise ShapeError(
            f"learned(points {places.shape}, labels {right.shape}, classes {taken.shape}, validation "
            f"{accuracy.shape}): expected [S, 2], [S], [R, S] and [R, epochs]."
        )
    fig = canvas.figure(fig, 9.5, 4)
    plane, curve = fig.subplots(1, 2)
    _plane(plane, places, right, taken[0])
    _curve(curve, accuracy)
    return fig


def _plane(ax: Axes, places: Any, right: Any, taken: Any) -> None:
    for kind in np.unique(taken).astype(int):
        ax.scatter(
            places[taken == kind, 0],
            places[taken == kind, 1],
            s=5,
            color=_COLOURS[kind % len(_COLOURS)],
            label=f"class {kind}",
        )
    wrong = places[taken != right]
    ax.scatter(
        wrong[:, 0],
        wrong[:, 1],
        s=14,
        lw=0.8,
        marker="x",
        color=canvas.INK,
        label=f"{len(wrong)} of {len(places)} wrong",
    )
    ax.set(aspect="equal", xlabel="x", ylabel="y")
    ax.legend(loc="upper left", bbox_to_anchor=(0.98, 1), fontsize=7, frameon=False)


def _curve(ax: Axes, accuracy: Any) -> None:
    epochs = np.arange(1, accuracy.shape[1] + 1)
    for one in accuracy:
        ax.plot(epochs, 100 * (1 - one), color=canvas.BLUE, lw=0.8)
    ax.set(xlabel="epoch", ylabel="validation error (%)", yscale="log")
    for axis in (ax.yaxis.set_major_formatter, ax.yaxis.set_minor_formatter):
        axis(canvas.module("ticker").FormatStrFormatter("%g"))
    canvas.tidy(ax, time=False)
