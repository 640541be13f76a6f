"""What a cross-validation picture shows of one layer: read, checked and counted."""

from __future__ import annotations

import textwrap
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from snnax import checks
from snnax.spikeplot import canvas
from snnax.spikeplot.canvas import Values

TITLE_WIDTH = 62


@dataclass(frozen=True)
class LayerPicture:
    """One layer of a network in two runs, one sample.

    Attributes:
        name: name of the layer.
        spk_a: spikes of the first run, ``[T, N]`` of NumPy, JAX or torch.
        spk_b: spikes of the second run.
        mem_a: membranes of the first run, ``[T, N]``; ``None`` if they were not recorded.
        mem_b: membranes of the second run.
        first: ``(step, neuron)`` where the runs part; found in the spikes if not given.
        status: a few words for the title, ``"agree"``.
    """

    name: str
    spk_a: Any
    spk_b: Any
    mem_a: Any = None
    mem_b: Any = None
    first: tuple[int, int] | None = None
    status: str = ""


@dataclass(frozen=True)
class Layer:
    """A :class:`LayerPicture` as arrays, checked.

    Attributes:
        name: name of the layer.
        status: a few words for the title.
        a: spikes of the first run, ``[T, N]``.
        b: spikes of the second run.
        difference: largest membrane difference of each step, ``[T]``.
        first: ``(step, neuron)`` where the runs part.
    """

    name: str
    status: str
    a: Values
    b: Values
    difference: Values | None
    first: tuple[int, int] | None

    @property
    def differ(self) -> NDArray[np.bool_]:
        """Where the spikes of both runs differ, ``[T, N]``."""
        return self.a != self.b

    @property
    def both(self) -> NDArray[np.bool_]:
        """Where both runs have the same spike."""
        return (self.a != 0) & ~self.differ

    @property
    def only_a(self) -> NDArray[np.bool_]:
        """Where the first run has a spike that the second has not, or not of this height."""
        return (self.a != 0) & self.differ

    @property
    def only_b(self) -> NDArray[np.bool_]:
        """Where the second run has a spike that the first has not, or not of this height."""
        return (self.b != 0) & self.differ

    @property
    def title(self) -> str:
        """Name, status and counts, in lines that fit above a raster."""
        lines = [f"{self.name}: {self.status}" if self.status else self.name]
        place = "" if self.first is None else "they part at step {}, neuron {}".format(*self.first)
        if self.differ.any():
            lines.append(f"{int(self.differ.sum()):,} of {self.a.size:,} differ; {place}")
        else:
            lines.append(f"all {int(self.both.sum()):,} spikes the same")
            lines += [f"layer by layer {place}"] if place else []
        return "\n".join(part for line in lines for part in textwrap.wrap(line, TITLE_WIDTH))

    def rows(self, most: int) -> NDArray[np.intp]:
        """At most ``most`` neurons to draw: where the runs part, those that differ, then an even choice."""
        neurons = np.arange(self.a.shape[1])
        if len(neurons) <= most:
            return neurons
        wanted = np.flatnonzero(self.differ.any(axis=0))
        first = np.array([] if self.first is None else [self.first[1]], int)
        chosen = np.union1d(first, _even(np.setdiff1d(wanted, first), most - len(first)))
        return np.union1d(chosen, _even(np.setdiff1d(neurons, chosen), most - len(chosen)))


def read(picture: LayerPicture) -> Layer:
    """The picture's arrays as NumPy, and where the runs part.

    Raises:
        ShapeError: they are not ``[T, N]``, or not of one shape.
    """
    recorded = picture.mem_a is not None and picture.mem_b is not None
    names = ("spk_a", "spk_b", "mem_a", "mem_b") if recorded else ("spk_a", "spk_b")
    checks.text(picture.name, "LayerPicture(name=...)")
    checks.text(picture.status, "LayerPicture(status=...)")
    layer = f"{picture.name}: "
    arrays = {layer + name: canvas.matrix(getattr(picture, name), name, layer) for name in names}
    canvas.same_shape(**arrays)
    a, b, *membranes = arrays.values()
    difference = None
    if recorded:
        with np.errstate(invalid="ignore"):
            difference = np.abs(membranes[0] - membranes[1]).max(axis=1, initial=0)
    first = picture.first
    if first is not None:
        pair = checks.shape(
            np.add(first, 1) if isinstance(first, tuple | list) else first, "LayerPicture(first=...)"
        )
        if len(pair) != 2 or any(n > size for n, size in zip(pair, a.shape, strict=True)):
            raise checks.refuse(
                "LayerPicture(first=...)", first, "the step and neuron where the runs part, as (3, 0)"
            )
    if first is None and (a != b).any():
        step, neuron = np.unravel_index(int((a != b).argmax()), a.shape)
        first = int(step), int(neuron)
    return Layer(picture.name, picture.status, a, b, difference, first)


def _even(values: NDArray[np.intp], count: int) -> NDArray[np.intp]:
    """``count`` of the values, evenly spread, or all of them."""
    if len(values) <= count:
        return values
    return values[np.linspace(0, len(values) - 1, count).round().astype(int)]
