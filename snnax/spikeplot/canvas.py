"""What all pictures share: colours, axes, and reading arrays of any library."""

from __future__ import annotations

import importlib
from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import NDArray

from snnax.errors import MissingDependencyError, ShapeError

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
    """A module of matplotlib, loaded when a picture is drawn.

    Raises:
        MissingDependencyError: matplotlib is not installed.
    """
    try:
        return importlib.import_module(f"matplotlib.{name}")
    except ImportError as error:
        raise MissingDependencyError("matplotlib", "plot", "A picture") from error


def new_figure(width: float, height: float) -> Figure:
    """A figure of ``width`` x ``height`` inches that pyplot does not know, so nobody has to close it."""
    figure: Figure = module("figure").Figure(figsize=(width, height), layout="constrained", dpi=120)
    return figure


def axes(ax: Axes | None, width: float, height: float) -> Axes:
    """``ax``, or the axes of a new figure of this size."""
    return new_figure(width, height).add_subplot() if ax is None else ax


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
    array = np.asarray(values.detach().cpu() if hasattr(values, "detach") else values).astype(np.float64)
    if array.ndim == 1:
        array = array[:, None]
    if array.ndim != 2:
        raise ShapeError(
            f"{where}{argument} has shape {array.shape}; a picture takes [T, N] of one sample. "
            f"Pass {argument}[:, 0].reshape(len({argument}), -1) for sample 0 of [T, B, ...]."
        )
    return array


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
