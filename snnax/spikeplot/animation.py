"""Films: a layer's spikes step by step. They are saved as GIF without ffmpeg."""

from __future__ import annotations

from collections.abc import Callable
from typing import TYPE_CHECKING, Any

import numpy as np

from snnax import checks
from snnax.errors import ArgumentError, ShapeError
from snnax.spikeplot import canvas

if TYPE_CHECKING:
    from matplotlib.animation import FuncAnimation
    from matplotlib.axes import Axes
    from matplotlib.figure import Figure


@checks.takes(fig=canvas.FIG, ax=canvas.AX, cmap=canvas.colour_map)
def animator(
    data: Any,
    fig: Figure | None = None,
    ax: Axes | None = None,
    num_steps: int | bool = False,
    interval: float = 40,
    cmap: str = "plasma",
) -> FuncAnimation:
    """A film of one sample's images over time, one frame for each time step.

    Args:
        data: spikes or membranes ``[T, H, W]`` of NumPy, JAX or torch; one colour scale for all steps.
        fig: figure of ``ax``; it may be left out, as may both.
        ax: axes to draw into; pyplot's current ones without them.
        num_steps: frames to show; ``False`` for all of ``data``.
        interval: milliseconds between frames.
        cmap: matplotlib's name of a colour map.

    Returns:
        The animation. ``anim.save("spikes.gif", writer="pillow")`` needs no ffmpeg, ``anim.to_jshtml()`` shows it
        in a notebook. Keep it in a variable until then, or matplotlib warns that nothing was drawn.

    Raises:
        ShapeError: ``data`` is not ``[T, H, W]`` with at least one step, or shorter than ``num_steps``.
        ArgumentError: ``ax`` is not part of ``fig``, or ``num_steps`` or ``interval`` is not above 0.
        MissingDependencyError: matplotlib is not installed.

    Example:
        >>> import numpy as np
        >>> anim = animator(np.eye(9).reshape(9, 3, 3), num_steps=5)
        >>> anim.to_jshtml().count("data:image/png")
        5
        >>> anim.save("spikes.gif", writer="pillow")  # doctest: +SKIP

    As snnTorch's, which draws every frame anew into pyplot's current axes (with the class ``Camera``, for which
    this function stands) and leaves all frames behind in ``ax``. Axes of its own have the step in their title, which
    takes as long to draw as the rest; those that it is given are left as they are.
    """
    images = _images(data)
    steps = frames_of(len(images), num_steps, interval)
    height, width = images.shape[1:]
    counted = fig is None and ax is None
    ax = axes_of(fig, ax, 3.2 * min(max(width / height, 0.5), 2), 3.5)
    picture = ax.imshow(images[0], cmap=cmap, vmin=np.nanmin(images), vmax=np.nanmax(images))
    ax.set_axis_off()
    counted = counted and not ax.get_title()

    def draw(step: int) -> None:
        picture.set_data(images[step])
        if counted:
            ax.set_title(f"time step {step}", fontsize=10)

    return film(ax, draw, steps, interval)


def film(ax: Axes, draw: Callable[[int], None], frames: int, interval: float) -> FuncAnimation:
    """An animation of ``frames`` pictures in the figure of ``ax``, which starts with the first."""
    draw(0)
    made: FuncAnimation = _kind()(ax.figure, draw, frames=frames, interval=interval, cache_frame_data=False)
    return made


def _kind() -> Any:
    """``FuncAnimation``, which draws each frame once while it is saved: the writer draws it, and nobody else looks."""

    class Film(canvas.module("animation").FuncAnimation):  # type: ignore[misc]
        def _post_draw(self, framedata: Any, blit: bool) -> None:
            if not self._fig.canvas.is_saving():
                super()._post_draw(framedata, blit)

    return Film


def frames_of(available: int, num_steps: int | bool, interval: float = 1) -> int:
    """How many steps to show.

    Raises:
        ShapeError: more than there are.
        ArgumentError: not above 0.
    """
    try:
        checks.number(above=0)(interval, "interval")
    except ArgumentError as error:
        raise ArgumentError(
            f"interval={checks.shown(interval)}; expected milliseconds above 0, as interval=40."
        ) from error
    if num_steps is False or num_steps is None:
        return available
    if (steps := checks.whole(num_steps)) is None:
        raise ArgumentError(
            f"num_steps={checks.shown(num_steps)}; expected a whole number above 0, or False for all steps."
        )
    num_steps = steps
    if num_steps > available:
        raise ShapeError(
            f"num_steps={num_steps}, but data has {available} steps; pass num_steps=False for all of them."
        )
    return int(num_steps)


def axes_of(fig: Figure | None, ax: Axes | None, width: float, height: float) -> Axes:
    """``ax``, or the current axes of ``fig``, or those of pyplot.

    Raises:
        ArgumentError: ``ax`` is not in ``fig``.
    """
    if ax is not None:
        if fig is not None and ax.figure is not fig:
            raise ArgumentError("fig is not the figure of ax; pass ax alone, its figure is ax.figure.")
        return ax
    return canvas.axes(None, width, height) if fig is None else fig.gca()


def _images(data: Any) -> canvas.Values:
    array = canvas.numbers(data, "data")
    if array.ndim != 3 or 0 in array.shape:
        raise ShapeError(
            f"data has shape {array.shape}; animator takes [T, H, W] of one sample and channel, with T >= 1. "
            "Pass data[:, 0, :, :, 0] for [T, B, H, W, C], data[:, 0, 0] for torch's [T, B, C, H, W]."
        )
    return array
