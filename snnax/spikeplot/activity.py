"""The picture of a run: what every layer of a network did, one panel each."""

from __future__ import annotations

from collections.abc import Mapping
from typing import TYPE_CHECKING, Any

import numpy as np

from snnax import checks
from snnax.errors import ArgumentError, ShapeError
from snnax.event.simulation import Simulation
from snnax.spikeplot import canvas, events
from snnax.spikeplot.canvas import BLUE, INK, ORANGE

if TYPE_CHECKING:
    from matplotlib.axes import Axes
    from matplotlib.figure import Figure

FEW = 4
SHOWN = 256


def _layers(value: Any, what: str) -> Any:
    if isinstance(value, Simulation):
        return value
    return checks.mapping("arrays by layer, as {'lif': {'spk': spk, 'mem': mem}}")(value, what)


@checks.takes(layers=_layers, fig=canvas.FIG)
def activity(layers: Any, fig: Figure | None = None) -> Figure:
    """What every layer did over time: spikes as dots, or membranes where there are few neurons or no spikes.

    Args:
        layers: ``{"spk": [T, N], "mem": [T, N]}`` by name, of one sample; one of the two is enough. More than 256
            neurons are thinned evenly. Or the populations of an event-driven network for one sample: a
            :class:`~snnax.event.Simulation`, or :class:`~snnax.event.Trains` by name; then time is in seconds.
        fig: figure to draw into; pyplot's without it.

    Returns:
        The figure; ``.savefig("run.png")`` writes it.

    Raises:
        ArgumentError: no layers, or a layer without ``spk`` and ``mem``.
        ShapeError: an array is not ``[T, N]``, or the layers have different numbers of steps.
        MissingDependencyError: matplotlib is not installed.

    Example:
        >>> import numpy as np
        >>> from snnax import spikeplot
        >>> figure = spikeplot.activity({"lif": {"spk": np.eye(8)}, "out": {"mem": np.ones((8, 2))}})
        >>> [ax.get_ylabel() for ax in figure.axes]
        ['neuron', 'membrane']
    """
    if isinstance(layers, Simulation) or any(events.are_events(value) for value in layers.values()):
        return _events(layers, fig)
    read = {name: _read(name, arrays) for name, arrays in layers.items()}
    if not read:
        raise ArgumentError("activity got no layers; pass {name: {'spk': [T, N], 'mem': [T, N]}}.")
    lengths = {name: len(next(iter(arrays.values()))) for name, arrays in read.items()}
    if len(set(lengths.values())) > 1:
        raise ShapeError(f"the layers have different numbers of steps: {lengths}; pass one run.")
    fig = canvas.figure(fig, 7, 1.7 * len(read) + 0.4)
    panels = np.ravel(fig.subplots(len(read), 1, sharex=True, squeeze=False))
    for ax, (name, arrays) in zip(panels, read.items(), strict=True):
        _panel(ax, name, arrays)
    panels[-1].set_xlabel("time step")
    fig.align_ylabels()
    return fig


def _events(layers: Any, fig: Figure | None) -> Figure:
    groups = events.populations(layers, "activity(layers=...)")
    fig = canvas.figure(fig, 7, 1.7 * len(groups) + 0.4)
    panels = np.ravel(fig.subplots(len(groups), 1, sharex=True, squeeze=False))
    for ax, (name, trains) in zip(panels, groups.items(), strict=True):
        size, count = trains.times.shape[1], int(np.isfinite(np.asarray(trains.times)).sum())
        events.dots(ax, trains, 0, s=min(12, 500 / size), linewidths=0, color=INK)
        events.span(ax, groups, size).set_xlabel("")
        ax.set_title(
            f"{name}: {size} neuron{'s' * (size != 1)}, {count} spike{'s' * (count != 1)}",
            loc="left",
            fontsize=10,
        )
    panels[-1].set_xlabel("time (s)")
    fig.align_ylabels()
    return fig


def _read(name: str, arrays: Mapping[str, Any]) -> dict[str, canvas.Values]:
    checks.mapping("arrays by name, as {'spk': spk, 'mem': mem}")(
        arrays, f"activity(layers={{{name!r}: ...}})"
    )
    found = {key: canvas.matrix(arrays[key], key, f"{name}: ") for key in ("spk", "mem") if key in arrays}
    if not found:
        raise ArgumentError(f"{name!r} has neither 'spk' nor 'mem'; it has {sorted(arrays)}.")
    canvas.same_shape(**found)
    return found


def _panel(ax: Axes, name: str, arrays: Mapping[str, canvas.Values]) -> None:
    steps, size = next(iter(arrays.values())).shape
    shown = np.unique(np.linspace(0, size - 1, min(size, SHOWN)).round().astype(int))
    said = f"{size} neuron{'s' * (size != 1)}"
    if "spk" in arrays:
        count = int(np.count_nonzero(arrays["spk"]))
        said += f", {count} spike{'s' * (count != 1)}"
    if len(shown) < size:
        said += f", {len(shown)} shown"
    ax.set_title(f"{name}: {said}", loc="left", fontsize=10)
    if "mem" in arrays and (size <= FEW or "spk" not in arrays):
        _membranes(ax, arrays, shown)
    else:
        time, neuron = np.nonzero(arrays["spk"][:, shown])
        ax.scatter(time, shown[neuron], s=min(12, 500 / len(shown)), linewidths=0, color=INK)
        ax.set(ylabel="neuron", ylim=(-0.5, size - 0.5))
        ax.yaxis.set_major_locator(canvas.module("ticker").MaxNLocator(integer=True))
    ax.set_xlim(-0.5, steps - 0.5)
    canvas.tidy(ax)


def _membranes(ax: Axes, arrays: Mapping[str, canvas.Values], shown: np.ndarray) -> None:
    """Lines, with an orange tick above them at each spike."""
    mem = arrays["mem"][:, shown]
    one = len(shown) == 1
    ax.plot(mem, lw=1.2 if len(shown) <= FEW else 0.6, color=BLUE if one else None, alpha=1 if one else 0.8)
    if "spk" in arrays:
        high = np.nanmax(mem, initial=0.0)
        time, _ = np.nonzero(arrays["spk"][:, shown])
        ax.plot(time, np.full(len(time), high * 1.12 + 1e-12), ls="none", marker="|", color=ORANGE, ms=6)
    ax.set_ylabel("membrane")
