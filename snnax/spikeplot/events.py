"""Spike trains of event-driven networks in pictures: what is drawn of them, with time in seconds."""

from __future__ import annotations

from collections.abc import Mapping
from typing import TYPE_CHECKING, Any

import numpy as np

from snnax import checks
from snnax.errors import ShapeError
from snnax.event.simulation import Simulation
from snnax.event.spike_trains import Trains, given_trains
from snnax.spikeplot import canvas

if TYPE_CHECKING:
    from matplotlib.axes import Axes

__all__ = ["are_events", "dots", "populations", "span"]


def are_events(data: Any) -> bool:
    """Whether there are spike times in place of time steps."""
    return isinstance(data, Trains | Simulation)


def populations(data: Any, what: str) -> dict[str, Trains]:
    """Trains of one sample by the name of their population; ``""`` for trains that have none.

    Raises:
        ArgumentError: for anything else.
        ShapeError: for several samples.
    """
    given = data.trains if isinstance(data, Simulation) else {"": data} if are_events(data) else data
    checks.mapping("spike trains by population")(given, what)
    found = {
        name: given_trains(trains, f"{what}: {name!r}" if name else what) for name, trains in given.items()
    }
    for trains in found.values():
        if (samples := len(trains.times)) != 1:
            raise ShapeError(
                f"{what} has spike trains of {samples} samples; a picture takes those of one: pass "
                f"{'simulation.trains[name]' if isinstance(data, Simulation) else 'trains'}.sample(0)."
            )
    return found


def dots(ax: Axes, trains: Trains, first: int, **style: Any) -> None:
    """A dot for each spike, neurons from the row ``first`` upwards; an orange arrow where a neuron had more."""
    times = np.asarray(trains.times[0], np.float64)
    neuron, _ = np.nonzero(np.isfinite(times))
    ax.scatter(times[np.isfinite(times)], neuron + first, **style)
    (cut,) = np.nonzero(np.asarray(trains.overflow[0]))
    if cut.size:
        last = np.where(np.isfinite(times[cut]), times[cut], 0).max(1)
        ax.scatter(last, cut + first, s=30, marker=">", color=canvas.ORANGE, linewidths=0, zorder=3)


def span(ax: Axes, groups: Mapping[str, Trains], size: int) -> Axes:
    """The axes of a picture of events: seconds to the right, ``size`` neurons upwards."""
    finite = [np.asarray(t.times)[np.isfinite(np.asarray(t.times))] for t in groups.values()]
    end = max((float(times.max()) for times in finite if times.size), default=0.0) or 1.0
    ax.set(xlabel="time (s)", ylabel="neuron", xlim=(-0.02 * end, 1.05 * end), ylim=(-0.5, size - 0.5))
    ax.yaxis.set_major_locator(canvas.module("ticker").MaxNLocator(integer=True))
    return canvas.tidy(ax, time=False)
