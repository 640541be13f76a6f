"""Bars of how often each output neuron has fired, still or as a film."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING, Any

import numpy as np

from snnax import checks
from snnax.errors import ArgumentError
from snnax.spikeplot import canvas
from snnax.spikeplot.animation import axes_of, film, frames_of

if TYPE_CHECKING:
    from matplotlib.animation import FuncAnimation
    from matplotlib.axes import Axes
    from matplotlib.figure import Figure

_SHADE = "#EFEFEF"


@checks.takes(fig=canvas.FIG, ax=canvas.AX, labels=checks.maybe(canvas.texts))
def spike_count(
    data: Any,
    fig: Figure | None = None,
    ax: Axes | None = None,
    labels: Sequence[str] | None = None,
    num_steps: int | bool = False,
    animate: bool = False,
    interpolate: int = 1,
    gridshader: bool = True,
    interval: float = 25,
    time_step: float | bool = False,
) -> Axes | FuncAnimation:
    """Spikes of each output neuron of one sample, counted, as horizontal bars.

    The axis below counts spikes and is as long as the time, so that a neuron which fires in every step fills it.

    Args:
        data: spikes ``[T, N]`` of NumPy, JAX or torch.
        fig: figure of ``ax``; it may be left out, as may both.
        ax: axes to draw into; pyplot's current ones without them.
        labels: name of each neuron; without them, its number.
        num_steps: steps to count; ``False`` for all of ``data``.
        animate: return a film in which the bars grow behind a line that moves through time.
        interpolate: frames of that film for each time step.
        gridshader: shade every second row.
        interval: milliseconds between frames.
        time_step: seconds that one step lasts: an axis above shows the time; ``False`` for none.

    Returns:
        The axes; with ``animate`` the animation, see :func:`animator`.

    Raises:
        ShapeError: ``data`` is not ``[T, N]`` or ``[T]``, or shorter than ``num_steps``.
        ArgumentError: ``labels`` are not N, or ``interpolate``, ``interval`` or ``time_step`` is not above 0.
        MissingDependencyError: matplotlib is not installed.

    Example:
        >>> import numpy as np
        >>> spikes = np.array([[1, 0], [1, 1], [1, 0]])
        >>> ax = spike_count(spikes, labels=["cat", "dog"])
        >>> [float(bar.get_width()) for bar in ax.containers[0]]
        [3.0, 1.0]

    As snnTorch's, which needs ``fig`` and ``ax``, draws into pyplot's current axes, sets pyplot's defaults for all
    later pictures, needs pandas, and returns nothing without ``animate``.
    """
    spikes = canvas.matrix(data, "data")
    steps = frames_of(len(spikes), num_steps, interval)
    neurons = spikes.shape[1]
    names = [str(n) for n in range(neurons)] if labels is None else [str(name) for name in labels]
    _check(names, neurons, interpolate, time_step)
    ax = axes_of(fig, ax, 7, 0.9 + 0.34 * neurons)
    bars = ax.barh(np.arange(neurons), np.zeros(neurons), 0.55, color=canvas.BLUE, zorder=2)
    ax.set(yticks=range(neurons), yticklabels=names, xlim=(0, max(steps, 1)), ylim=(-0.6, neurons - 0.4))
    ax.set_xlabel("spikes counted")
    canvas.tidy(ax)
    if gridshader:
        for row in range(1, neurons, 2):
            ax.axhspan(row - 0.5, row + 0.5, color=_SHADE, lw=0, zorder=0).set_gid("shade")
    if time_step or animate:
        _time_axis(ax, float(time_step))
    counts = np.concatenate([np.zeros((1, neurons)), np.cumsum(spikes, axis=0)])

    def show(step: int) -> None:
        for bar, width in zip(bars, counts[step], strict=True):
            bar.set_width(width)

    if not animate:
        show(steps)
        return ax
    now = ax.axvline(0, color=canvas.ORANGE, lw=2.5, zorder=3)

    def draw(frame: int) -> None:
        show(frame // interpolate)
        now.set_xdata([frame / interpolate] * 2)

    return film(ax, draw, steps * interpolate + 1, interval)


def _time_axis(ax: Axes, seconds: float) -> None:
    """Time above the bars: in seconds, or in steps if it is not known how long one lasts."""
    scale = seconds or 1.0

    def forward(steps: Any) -> Any:
        return np.asarray(steps) * scale

    def back(time: Any) -> Any:
        return np.asarray(time) / scale

    above = ax.secondary_xaxis("top", functions=(forward, back))
    above.set_xlabel("time (s)" if seconds else "time step", color=canvas.ORANGE)
    above.tick_params(colors=canvas.ORANGE)
    above.spines["top"].set_color(canvas.ORANGE)
    if not seconds:
        above.xaxis.set_major_locator(canvas.module("ticker").MaxNLocator(integer=True))


def _check(names: list[str], neurons: int, interpolate: int, time_step: float | bool) -> None:
    if len(names) != neurons:
        raise ArgumentError(f"labels has {len(names)} entries for {neurons} neurons; pass one for each.")
    if checks.whole(interpolate) is None:
        raise ArgumentError(
            f"interpolate={checks.shown(interpolate)}; expected a whole number of frames for each step, from 1."
        )
    try:
        checks.maybe(checks.number(0), False)(time_step, "time_step")
    except ArgumentError as error:
        raise ArgumentError(
            f"time_step={checks.shown(time_step)}; expected seconds above 0, as time_step=1e-3, or False."
        ) from error
