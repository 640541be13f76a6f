"""What all pictures share: colours, axes, and reading arrays of any library."""

from __future__ import annotations

import importlib
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from contextvars import ContextVar
from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import NDArray

from snnax import checks
from snnax.errors import ArgumentError, MissingDependencyError, ShapeError
from snnax.event.spike_trains import Trains

if TYPE_CHECKING:
    from matplotlib.axes import Axes
    from matplotlib.figure import Figure

INK = "#404040"
PALE = "#757575"
# Okabe and Ito's palette, which people of any colour vision tell apart.
BLUE = "#0072B2"
ORANGE = "#D55E00"
GREEN = "#009E73"

Values = NDArray[np.float64]


def module(name: str) -> Any:
    """A module of matplotlib, or with ``""`` itself, loaded when a picture is drawn.

    Raises:
        MissingDependencyError: matplotlib is not installed.
    """
    try:
        return importlib.import_module(f"matplotlib.{name}".rstrip("."))
    except ImportError as error:
        raise MissingDependencyError("matplotlib", "plot", "A picture") from error


def _of(kind: str, expected: str) -> checks.Check:
    """An instance of a class of matplotlib, or ``None``."""

    def check(value: Any, what: str) -> Any:
        home, _, name = kind.rpartition(".")
        return checks.instance(getattr(module(home), name), expected)(value, what)

    return checks.maybe(check)


AX = _of("axes.Axes", "axes of matplotlib, as plt.gca()")
FIG = _of("figure.FigureBase", "a figure of matplotlib, as plt.figure()")


def axes_array(value: Any, what: str) -> Any:
    """Axes of matplotlib in any array or list, or ``None``."""
    if value is None:
        return None
    given = (
        np.ravel(value)
        if isinstance(value, np.ndarray)
        else value
        if isinstance(value, list | tuple)
        else [value]
    )
    for ax in given:
        AX(ax, what)
    if not len(given):
        raise checks.refuse(what, value, "axes of matplotlib, as plt.subplots(3)[1]")
    return value


def colour_map(value: Any, what: str) -> Any:
    """One that matplotlib knows, by name or as an object."""
    known = module("").colormaps
    if isinstance(value, module("colors").Colormap) or (isinstance(value, str) and value in known):
        return value
    raise checks.refuse(what, value, "a colour map of matplotlib, as cmap='viridis'")


def texts(value: Any, what: str) -> tuple[str, ...]:
    """Labels: whatever has a short form as text."""
    if isinstance(value, str | bytes) or not isinstance(value, Sequence | np.ndarray):
        raise checks.refuse(what, value, "a list of strings")
    return tuple(str(label) for label in value)


_aside: ContextVar[bool] = ContextVar("aside", default=False)


@contextmanager
def aside() -> Iterator[None]:
    """Within it, pictures that are not told where to go are figures that pyplot does not know: those that are saved."""
    token = _aside.set(True)
    try:
        yield
    finally:
        _aside.reset(token)


def figure(fig: Figure | None, width: float, height: float) -> Figure:
    """``fig``, or pyplot's current figure if it is empty, or a new one of pyplot's of that many inches."""
    if fig is not None:
        return fig
    size: dict[str, Any] = {"figsize": (width, height), "layout": "constrained", "dpi": 120}
    if _aside.get():
        made: Figure = module("figure").Figure(**size)
        return made
    pyplot = module("pyplot")
    if pyplot.get_fignums():
        current: Figure = pyplot.gcf()
        if not current.axes and not current.subfigs:
            return current
    new: Figure = pyplot.figure(**size)
    return new


def axes(ax: Axes | None, width: float, height: float) -> Axes:
    """``ax``, or pyplot's current axes, as its own functions draw into them, or those of a new figure of this size.

    Panels of a picture that is there already (one of several axes, with something in them) are left alone, and axes in
    three dimensions, which take other arguments.
    """
    if ax is not None:
        return ax
    if not _aside.get() and (pyplot := module("pyplot")).get_fignums() and (others := pyplot.gcf().axes):
        current: Axes = pyplot.gca()
        flat = not hasattr(current, "get_zlim")
        if flat and (len(others) == 1 or (current.axison and not current.has_data())):
            return current
    return figure(None, width, height).add_subplot()


def tidy(ax: Axes, *, time: bool = True) -> Axes:
    """No frame above and to the right; whole numbers on a time axis."""
    ax.spines[["top", "right"]].set_visible(False)
    if time:
        ax.xaxis.set_major_locator(module("ticker").MaxNLocator(integer=True))
    return ax


def matrix(values: Any, argument: str, where: str = "") -> Values:
    """``values`` of NumPy, JAX or torch as float64 ``[T, N]``; ``[T]`` is one neuron.

    Args:
        values: the array.
        argument: name of the argument that it came in, for the error.
        where: what stands before that name in the error.

    Raises:
        ShapeError: it has another number of axes.
    """
    array = numbers(values, f"{where}{argument}")
    if array.ndim == 1:
        array = array[:, None]
    if array.ndim != 2:
        raise ShapeError(
            f"{where}{argument} has shape {array.shape}; a picture takes [T, N] of one sample. "
            f"Pass {argument}[:, 0].reshape(len({argument}), -1) for sample 0 of [T, B, ...]."
        )
    return array


def numbers(values: Any, what: str) -> Values:
    """Real numbers of NumPy, JAX or torch as float64.

    Raises:
        ArgumentError: it is something else.
    """
    if isinstance(values, Trains):
        raise ArgumentError(
            f"{what} are spike trains, and this picture has time steps; pass "
            "event.to_raster(trains, dt, num_steps)[:, 0], of images with their shape: "
            "event.to_raster(trains, 1e-3, 50, (8, 8))[:, 0]."
        )
    checks.real(values, what)
    return np.asarray(values.detach().cpu() if hasattr(values, "detach") else values).astype(np.float64)


def same_shape(**arrays: Values) -> None:
    """Check that all have the shape of the first.

    Raises:
        ShapeError: one has not; the message names both.
    """
    (first, expected), *others = arrays.items()
    for name, array in others:
        if array.shape != expected.shape:
            raise ShapeError(
                f"{name} has shape {array.shape} and {first} has {expected.shape}; "
                f"pass both [T, N] of the same layer and sample."
            )
