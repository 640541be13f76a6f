"""Recordings of event cameras in space and time."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import numpy as np

from snnax import checks
from snnax.datasets.events import Events
from snnax.errors import ShapeError
from snnax.spikeplot import canvas

if TYPE_CHECKING:
    from matplotlib.axes import Axes

__all__ = ["addresses", "event_cloud"]

_MOST = 20_000
"""Dots in a cloud; more hide each other, and take long."""


def addresses(ax: Axes, events: Events, **style: Any) -> Axes:
    """A dot for each event: seconds to the right, the number of its pixel or channel upwards."""
    ax.scatter(events.t / 1e6, events.address, **style)
    size = int(np.prod(events.size))
    ax.set(xlabel="time (s)", ylabel="channel" if len(events.size) == 1 else "pixel", ylim=(-0.5, size - 0.5))
    ax.yaxis.set_major_locator(canvas.module("ticker").MaxNLocator(integer=True))
    return canvas.tidy(ax, time=False)


def _room(value: Any, what: str) -> Any:
    ax = canvas.AX(value, what)
    if ax is not None and not hasattr(ax, "get_zlim"):
        raise checks.refuse(
            what, ax, 'axes in three dimensions, as plt.figure().add_subplot(projection="3d")'
        )
    return ax


@checks.takes(events=checks.instance(Events, "snnax.datasets.Events, as read_events returns"), ax=_room)
def event_cloud(events: Any, ax: Axes | None = None) -> Axes:
    """A recording of an event camera as dots in space and time: blue brighter, orange darker.

    Time runs to the right in milliseconds, the picture stands upright. Of more than 20 000 events only every second,
    third ... is drawn.

    Args:
        events: a recording of a sensor with rows and columns.
        ax: axes in three dimensions to draw into; those of a new figure without them.

    Returns:
        The axes; ``.figure`` is their figure.

    Raises:
        ShapeError: for a sensor in one dimension, which :func:`raster` draws.
        ArgumentError: for anything else than events, or flat axes.
        MissingDependencyError: matplotlib is not installed.

    Example:
        >>> from snnax import datasets, spikeplot
        >>> events = datasets.Events(t=[0, 900], x=[3, 4], y=[5, 5], p=[1, 0], size=(34, 34))
        >>> ax = spikeplot.event_cloud(events)
        >>> ax.get_xlabel(), ax.get_zlabel()
        ('time (ms)', 'y')
    """
    if events.y is None:
        raise ShapeError(
            f"event_cloud got {events!r}; expected a sensor with x and y. Call spikeplot.raster(events)."
        )
    if ax is None:
        ax = canvas.figure(None, 7, 3.4).add_subplot(projection="3d")
    room: Any = ax
    shown = events[:: -(-len(events) // _MOST) or 1]
    up = np.ones(len(shown), bool) if shown.p is None else shown.p
    for chosen, colour in ((up, canvas.BLUE), (~up, canvas.ORANGE)):
        part = shown[chosen]
        room.scatter(part.t / 1e3, part.x, part.y, s=2, linewidths=0, color=colour, depthshade=False)
    width, height = events.size
    room.set(xlabel="time (ms)", ylabel="x", zlabel="y", ylim=(0, width - 1), zlim=(height - 1, 0))
    for axis in (room.yaxis, room.zaxis):
        axis.set_major_locator(canvas.module("ticker").MaxNLocator(4, integer=True))
    room.set_box_aspect((2.2, 1, height / width), zoom=1.25)
    room.view_init(elev=18, azim=-60)
    return ax
