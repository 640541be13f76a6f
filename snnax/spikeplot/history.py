"""The picture of a training: loss and accuracy, step by step and epoch by epoch."""

from __future__ import annotations

from collections.abc import Mapping
from typing import TYPE_CHECKING, Any

import numpy as np

from snnax import checks
from snnax.errors import ArgumentError
from snnax.spikeplot import canvas

if TYPE_CHECKING:
    from matplotlib.axes import Axes
    from matplotlib.figure import Figure

__all__ = ["history"]

_MEASURES = ("loss", "accuracy")


@checks.takes(fig=canvas.FIG)
def history(history: Any, fig: Figure | None = None) -> Figure:
    """The loss of each step, its mean over each epoch, and that of the evaluation; below it the accuracy, if measured.

    Args:
        history: a :class:`snnax.training.History`, or a mapping with lists of its names.
        fig: figure to draw into; pyplot's without it.

    Returns:
        The figure.

    Raises:
        ArgumentError: ``history`` is something else, or holds nothing.
        MissingDependencyError: matplotlib is not installed.

    Example:
        >>> from snnax.training import History
        >>> figure = history(History(loss=[2.0, 1.0], step_loss=[2.5, 1.5, 1.2, 0.8]))
        >>> [ax.get_ylabel() for ax in figure.axes]
        ['loss']
    """
    series = {name: _series(history, name) for name in _names()}
    shown = [m for m in _MEASURES if any(series[f"{kind}{m}"].size for kind in ("step_", "", "eval_"))]
    if not shown:
        raise ArgumentError(
            "history(history) holds no loss yet; pass the History that snnax.training.fit returned."
        )
    fig = canvas.figure(fig, 7, 2.6 * len(shown) + 0.4)
    panels = np.ravel(fig.subplots(len(shown), 1, sharex=True, squeeze=False))
    epochs = max(series[name].size for name in series if not name.startswith("step_"))
    steps = max(series[f"step_{m}"].size for m in _MEASURES)
    each = max(steps / epochs, 1.0) if epochs and steps else 1.0
    for ax, measure in zip(panels, shown, strict=True):
        _panel(ax, measure, series, each)
    panels[-1].set_xlabel("step" if steps else "epoch")
    return fig


def _names() -> list[str]:
    return [f"{kind}{measure}" for measure in _MEASURES for kind in ("step_", "", "eval_")]


def _panel(ax: Axes, measure: str, series: Mapping[str, Any], each: float) -> None:
    steps, means, tested = (series[f"{kind}{measure}"] for kind in ("step_", "", "eval_"))
    if steps.size:
        ax.plot(np.arange(1, steps.size + 1), steps, color=canvas.BLUE, alpha=0.35, lw=1, label="each step")
    for values, colour, label in (
        (means, canvas.BLUE, "mean of an epoch"),
        (tested, canvas.ORANGE, "evaluation"),
    ):
        if values.size:
            at = each * np.arange(1, values.size + 1)
            ax.plot(at, values, color=colour, marker="o", ms=4, lw=1.5, label=label)
    ax.set_ylabel(measure)
    ax.legend(frameon=False, fontsize=8)
    canvas.tidy(ax)


def _series(history: Any, name: str) -> Any:
    values = history.get(name, []) if isinstance(history, Mapping) else getattr(history, name, None)
    if values is None:
        raise ArgumentError(
            f"history(history={checks.shown(history)}); expected the History that snnax.training.fit returned."
        )
    found = canvas.numbers(values, f"history.{name}")
    if found.ndim != 1:
        raise ArgumentError(
            f"history.{name} has shape {found.shape}; expected one number for each step or epoch."
        )
    return found
