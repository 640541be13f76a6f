"""Pictures of one run: a raster, membrane traces, one neuron close up."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING, Any

import numpy as np

from snnax import checks
from snnax.datasets.events import Events
from snnax.errors import ArgumentError, ShapeError
from snnax.spikeplot import canvas, clouds, events

if TYPE_CHECKING:
    from matplotlib.axes import Axes
    from matplotlib.figure import Figure


@checks.takes(ax=canvas.AX)
def raster(data: Any, ax: Axes | None = None, **scatter: Any) -> Axes:
    """Spikes as dots: time to the right, neurons upwards.

    Axes of yours get the dots and nothing else: limits, ticks, labels and title are as you set them, and what
    ``scatter`` does not say is matplotlib's default. A picture of its own has labels, small dark dots and limits that
    show all time steps and neurons.

    Args:
        data: spikes ``[T, N]`` or ``[T]`` of NumPy, JAX or torch; whatever is not 0 is a spike. Or what event-driven
            networks return for one sample, :class:`~snnax.event.Trains` (``trains.sample(0)``) or a
            :class:`~snnax.event.Simulation`, whose populations are stacked: then time is in seconds, and an orange
            arrow says that a neuron fired more often than its budget. Or a recording, :class:`snnax.datasets.Events`,
            with the number of its pixel or channel upwards.
        ax: axes to draw into; pyplot's current ones without them.
        **scatter: passed on to ``Axes.scatter``, as ``s=1.5, c="black"``.

    Returns:
        The axes; ``.figure`` is their figure.

    Raises:
        ShapeError: ``data`` is neither ``[T, N]`` nor ``[T]``, or has trains of several samples.
        MissingDependencyError: matplotlib is not installed.

    Example:
        >>> import numpy as np
        >>> ax = raster(np.eye(5), s=20)
        >>> ax.get_xlabel(), ax.get_ylabel()
        ('time step', 'neuron')

    As snnTorch's, which needs ``ax`` and returns the markers. One neuron has one tick here, its number.
    """
    if isinstance(data, Events):
        return clouds.addresses(canvas.axes(ax, 7, 3.5), data, **_style({"s": 2} | scatter))
    if events.are_events(data):
        return _event_raster(data, ax, scatter)
    spikes = canvas.matrix(data, "data")
    given, ax = ax, canvas.axes(ax, 7, 3.5)
    own = given is None and not (ax.has_data() or ax.get_xlabel() or ax.get_ylabel())
    time, neuron = np.nonzero(spikes)
    ax.scatter(time, neuron, **(_style(scatter) if own else scatter))
    ticker = canvas.module("ticker")
    if isinstance(ax.yaxis.get_major_locator(), ticker.AutoLocator):
        if spikes.shape[1] == 1:
            ax.set_yticks([0])
        elif own or spikes.shape[1] < _FEW:
            ax.yaxis.set_major_locator(ticker.MaxNLocator(integer=True))
    if not own:
        return ax
    ax.set(xlabel="time step", ylabel="neuron")
    if ax.get_autoscalex_on():
        ax.set_xlim(-0.5, len(spikes) - 0.5)
    if ax.get_autoscaley_on():
        ax.set_ylim(-0.5, spikes.shape[1] - 0.5)
    return canvas.tidy(ax)


def _event_raster(data: Any, ax: Axes | None, scatter: dict[str, Any]) -> Axes:
    """Populations one above the other, with a line between them and their names at the right."""
    groups = events.populations(data, "raster(data=...)")
    ax, first = canvas.axes(ax, 7, 3.5), 0
    for name, trains in groups.items():
        events.dots(ax, trains, first, **_style(scatter))
        size = trains.times.shape[1]
        if first:
            ax.axhline(first - 0.5, color=canvas.PALE, lw=0.6)
        if name:
            ax.annotate(
                name, (1, first + (size - 1) / 2), (4, 0), xycoords=("axes fraction", "data"),
                textcoords="offset points", va="center", fontsize=9, color=canvas.PALE,
            )  # fmt: skip
        first += size
    return events.span(ax, groups, first)


_FEW = 10
"""Neurons between whose numbers matplotlib would put ticks."""

_FACE = {"c", "color", "facecolor", "facecolors", "fc"}
_EDGE = {"edgecolor", "edgecolors", "ec", "linewidth", "linewidths", "lw"}


def _style(given: dict[str, Any]) -> dict[str, Any]:
    """What ``Axes.scatter`` is passed: small dark dots, but for what is given, under any of its names."""
    style: dict[str, Any] = {} if given.keys() & {"s", "sizes"} else {"s": 12}
    if not given.keys() & _FACE:
        style["color"] = canvas.INK
    marker = given.get("marker")
    marker = canvas.module("").rcParams["scatter.marker"] if marker is None else marker
    hollow = any(isinstance(given.get(face), str) and given[face].lower() == "none" for face in _FACE)
    # A dot without an edge stays small; a marker that is all edge would be invisible without one.
    filled = canvas.module("markers").MarkerStyle(marker).is_filled()
    if filled and not hollow and not given.keys() & _EDGE:
        style["linewidths"] = 0
    return style | given


def _dim(value: Any, what: str) -> tuple[int, ...]:
    rows_and_columns = checks.shape(value, what)
    if len(rows_and_columns) != 2 or max(rows_and_columns) > _MOST_PANELS:
        raise checks.refuse(what, value, "rows and columns of panels, as (3, 3)")
    return rows_and_columns


_MOST_PANELS = 100


@checks.takes(
    dim=_dim, spk_height=checks.number(), titles=checks.maybe(canvas.texts), fig=canvas.FIG, axes=checks.flag
)
def traces(
    data: Any,
    spk: Any = None,
    dim: tuple[int, int] = (3, 3),
    spk_height: float = 5,
    titles: Sequence[str] | None = None,
    fig: Figure | None = None,
    *,
    axes: bool = False,
) -> Figure:
    """Membranes of several neurons, one small panel each, with the spikes riding on them.

    The panels have one scale and, unless ``axes`` says so, no axes: they show what neurons do beside each other.

    Args:
        data: membranes or currents ``[T, N]`` of NumPy, JAX or torch.
        spk: spikes ``[T, N]``, which lift the line by ``spk_height``.
        dim: rows and columns of panels; the first ``rows * columns`` neurons are shown.
        spk_height: height of a spike, in units of ``data``.
        titles: title of each panel.
        fig: figure to draw into; pyplot's without it.
        axes: numbers to read off, in time and height, and on each panel that of its neuron; spikes are bars of their
            own then, since the line is the membrane.

    Returns:
        The figure.

    Raises:
        ShapeError: ``data`` or ``spk`` is not ``[T, N]``, or their shapes differ.
        ArgumentError: ``titles`` are fewer than the panels.
        MissingDependencyError: matplotlib is not installed.

    Example:
        >>> import numpy as np
        >>> figure = traces(np.zeros((20, 4)), dim=(2, 2))
        >>> len(figure.axes)
        4

    As snnTorch's, the same picture, which draws over what pyplot's current figure shows; here one that shows something
    stays, and a new one is opened. ``axes`` is ours.
    """
    mem = canvas.matrix(data, "data")
    spikes = None if spk is None else canvas.matrix(spk, "spk")
    if spikes is not None:
        canvas.same_shape(data=mem, spk=spikes)
    rows, columns = dim
    shown = min(rows * columns, mem.shape[1])
    if titles is not None and len(titles) < shown:
        raise ArgumentError(f"titles has {len(titles)} entries for {shown} panels; pass one for each panel.")
    fig = canvas.figure(fig, 2.6 * columns, 1.6 * rows + 0.4)
    panels = np.ravel(fig.subplots(rows, columns, sharex=axes, sharey=True, squeeze=False))
    for neuron, ax in enumerate(panels):
        if neuron >= shown or not axes:
            ax.set_axis_off()
        if neuron >= shown:
            continue
        if axes:
            ax.set_title(f"neuron {neuron}" if titles is None else titles[neuron], fontsize=9)
        elif titles is not None:
            ax.set_title(titles[neuron])
        if not axes:
            ax.plot(mem[:, neuron] if spikes is None else mem[:, neuron] + spk_height * spikes[:, neuron])
            continue
        ax.plot(mem[:, neuron], color=canvas.BLUE, lw=1.2)
        if spikes is not None:
            (at,) = np.nonzero(spikes[:, neuron])
            ax.vlines(at, mem[at, neuron], mem[at, neuron] + spk_height, color=canvas.ORANGE, lw=1.2)
        canvas.tidy(ax)
        # The labels of a narrow panel must not meet.
        ax.xaxis.set_major_locator(canvas.module("ticker").MaxNLocator(4, integer=True))
    if axes:
        fig.supxlabel("time step", fontsize=10)
    return fig


@checks.takes(threshold=checks.maybe(checks.number()), fig=canvas.FIG)
def panel(
    cur: Any, mem: Any, spk: Any = None, threshold: float | None = 1.0, fig: Figure | None = None
) -> Figure:
    """One neuron close up: current, membrane with its threshold, spikes, on one time axis.

    Args:
        cur: input current ``[T]`` or ``[T, 1]`` of NumPy, JAX or torch.
        mem: membrane, likewise.
        spk: spikes, likewise; without them two panels are drawn.
        threshold: drawn as a dashed line through the membrane; ``None`` for none.
        fig: figure to draw into; pyplot's without it.

    Returns:
        The figure.

    Raises:
        ShapeError: an argument holds more than one neuron, or their lengths differ.
        MissingDependencyError: matplotlib is not installed.

    Example:
        >>> import numpy as np
        >>> figure = panel(np.ones(5), np.arange(5.0), np.array([0, 0, 1, 1, 1]), threshold=1.5)
        >>> [ax.get_ylabel() for ax in figure.axes]
        ['current', 'membrane', 'spikes']
    """
    series = {"cur": canvas.matrix(cur, "cur"), "mem": canvas.matrix(mem, "mem")}
    if spk is not None:
        series["spk"] = canvas.matrix(spk, "spk")
    canvas.same_shape(**series)
    if series["cur"].shape[1] != 1:
        raise ShapeError(
            f"panel shows one neuron, [T]; cur has shape {series['cur'].shape}. "
            f"Pass cur[:, n], mem[:, n], spk[:, n]."
        )
    heights = [1, 1.6, 0.45][: len(series)]
    fig = canvas.figure(fig, 7, 1.6 * sum(heights))
    shown = fig.subplots(len(series), 1, sharex=True, height_ratios=heights)
    shown[0].plot(series["cur"], color=canvas.GREEN, lw=1.5)
    shown[0].set_ylabel("current")
    shown[1].plot(series["mem"], color=canvas.BLUE, lw=1.5)
    shown[1].set_ylabel("membrane")
    if threshold is not None:
        shown[1].axhline(threshold, ls="--", lw=1, color=canvas.PALE)
        shown[1].annotate(
            "threshold",
            (1, threshold),
            (4, 0),
            xycoords=("axes fraction", "data"),
            textcoords="offset points",
            va="center",
            fontsize=9,
            color=canvas.PALE,
        )
    if spk is not None:
        shown[2].eventplot(np.nonzero(series["spk"][:, 0])[0], color=canvas.INK, linelengths=0.8, lw=1.8)
        shown[2].set(ylabel="spikes", yticks=[], ylim=(0.5, 1.5))
    for ax in shown:
        canvas.tidy(ax)
    shown[-1].set_xlabel("time step")
    fig.align_ylabels()
    return fig
