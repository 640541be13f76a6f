"""Threshold and Delay nodes <-> ``snnax.Threshold`` and ``snnax.Delay``."""

from __future__ import annotations

from math import prod
from typing import Any

import nir
import numpy as np

from snnax import surrogate
from snnax.errors import ConversionError, ShapeError
from snnax.interop.conventions import against, for_each, gathered, per_neuron_first, per_neuron_last
from snnax.interop.families.arrays import tidy
from snnax.interop.layers.entries import axes_of
from snnax.interop.layers.registry import (
    Array,
    Built,
    Function,
    Site,
    Variables,
    broadcast,
    builds,
    cast,
    evaluates,
    writes,
)
from snnax.interop.nir import metadata
from snnax.interop.nir.readings import Reading
from snnax.layers.signals import Delay, Threshold
from snnax.limits import check_values
from snnax.surrogate import Surrogate


@builds(nir.Threshold)
def build_threshold(node: nir.Threshold, site: Site) -> Built:
    """Spikes where the signal is above the threshold."""
    content = metadata.read(node, site.name)
    here, given = _values(site, "threshold", node.threshold, content), content.get("surrogate")
    spike = getattr(surrogate, given[0])(**given[1]) if given else None
    return Built(Threshold(float(here) if here.ndim == 0 else here, spike), {}, site.shape_in)


@writes(Threshold)
def write_threshold(module: Threshold, variables: Variables, site: Site) -> nir.NIRNode:
    """Threshold, with the surrogate in the metadata."""
    full, content = _written(module.threshold, site)
    node = nir.Threshold(threshold=full)
    function = module.spike_grad
    if function is None:
        return metadata.write(node, content) if content else node
    if not isinstance(function, Surrogate) or function.name == "custom_surrogate":
        raise ConversionError(
            site.name, "its spike_grad is a function of your own, which no file can hold",
            "Use a surrogate of snnax.surrogate, or convert with spike_grad=None and set yours afterwards.",
        )  # fmt: skip
    return metadata.write(node, {**content, "surrogate": [function.name, function.options]})


@evaluates(nir.Threshold)
def evaluate_threshold(name: str, node: nir.Threshold, dtype: Any) -> Function:
    r""":math:`z = [x > \theta]`."""
    return lambda x: broadcast(name, np.less, cast(node.threshold, dtype), x).astype(dtype)


@builds(nir.Delay)
def build_delay(node: nir.Delay, site: Site) -> Built:
    """A delay of whole time steps.

    Raises:
        ConversionError: for a delay that is negative or no multiple of the time step.
    """
    here = _values(site, "delay", node.delay, metadata.read(node, site.name)).astype(np.float64)
    steps = whole_steps(site.name, here * site.reading.seconds / site.dt, site.dt)
    longest = float(np.max(steps, initial=0))
    check_values(site.name, longest * prod(site.shape_in), f"keeps the inputs of {longest:g} steps")
    return Built(Delay(int(steps) if steps.ndim == 0 else steps), {}, site.shape_in)


def whole_steps(name: str, late: np.ndarray, dt: float) -> np.ndarray:
    """Delays as whole numbers of time steps.

    Raises:
        ConversionError: for a delay that is negative or no multiple of the time step.
    """
    steps = np.rint(late)
    if (steps < 0).any() or not np.allclose(late, steps, rtol=1e-5, atol=1e-5):
        wrong = float(np.ravel(late)[np.argmax(np.abs(np.ravel(late - steps)))])
        raise ConversionError(
            name, f"its delay is {wrong:.6g} time steps of dt = {dt:g} s, which is no whole number",
            "Pass a dt that divides every delay.",
        )  # fmt: skip
    return steps


class DelayLine:
    r""":math:`y(t) = x(t - \tau)` of a Delay node, one step a call; zeros before the first input arrives."""

    def __init__(self, name: str, node: nir.Delay, reading: Reading, dt: float) -> None:
        late = np.asarray(node.delay, np.float64) * reading.seconds / dt
        self.name, self.steps = name, whole_steps(name, late, dt).astype(np.int64)
        self.past: list[Array] = []
        self.longest = int(self.steps.max(initial=0))

    def __call__(self, x: Array) -> Array:
        """The output of the next step."""
        steps = broadcast(self.name, np.add, self.steps, np.zeros((1, *x.shape[1:]), np.int64))
        self.past = [x, *self.past][: self.longest + 1]
        out = np.zeros(x.shape)
        for late in np.unique(steps):
            if late < len(self.past):
                out = np.where(steps == late, self.past[late], out)
        return out


@writes(Delay)
def write_delay(module: Delay, variables: Variables, site: Site) -> nir.NIRNode:
    """Delay in seconds."""
    full, content = _written(np.asarray(module.steps, np.float64) * site.dt, site)
    node = nir.Delay(delay=full)
    return metadata.write(node, content) if content else node


def _values(site: Site, what: str, given: Any, content: Variables) -> np.ndarray:
    """A node's numbers in the axes of a channels-last sample; one number where they are all the same."""
    try:
        small = against(given, site.shape_in)
    except ValueError as error:
        raise ShapeError(
            f"{site.name!r} has a {what} of shape {np.shape(given)}, its samples have shape {site.shape_in}."
        ) from error
    return per_neuron_last(tidy(gathered(small, content.get("shape"))), len(site.shape_in))


def _written(value: Any, site: Site) -> tuple[np.ndarray, Variables]:
    """Numbers for each neuron, as NIR asks, and what tells those apart from fewer that were written out."""
    small = per_neuron_first(value, len(site.shape_in))
    full = for_each(small, site.shape_in, site.real())
    return full, {"shape": list(small.shape)} if small.ndim > 0 and small.size < full.size else {}


@axes_of(Threshold, Delay)
def _same_axes(module: Threshold | Delay, axes: int | None) -> int | None:
    return axes
