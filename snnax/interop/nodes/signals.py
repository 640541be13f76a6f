"""Threshold and Delay nodes <-> ``snnax.Threshold`` and ``snnax.Delay``."""

from __future__ import annotations

from typing import Any

import nir
import numpy as np

from snnax import surrogate
from snnax.errors import ConversionError, ShapeError
from snnax.interop.conventions import per_neuron_first, per_neuron_last
from snnax.interop.nodes import metadata
from snnax.interop.nodes.native import tidy
from snnax.interop.nodes.registry import Built, Site, Variables, builds, writes
from snnax.signals import Delay, Threshold
from snnax.surrogate import Surrogate


@builds(nir.Threshold)
def build_threshold(node: nir.Threshold, site: Site) -> Built:
    """Spikes where the signal is above the threshold."""
    here = _values(site, "threshold", node.threshold)
    given = metadata.read(node, site.name).get("surrogate")
    spike = getattr(surrogate, given[0])(**given[1]) if given else None
    return Built(Threshold(float(here) if here.ndim == 0 else here, spike), {}, site.shape_in)


@writes(Threshold)
def write_threshold(module: Threshold, variables: Variables, site: Site) -> nir.NIRNode:
    """Threshold, with the surrogate in the metadata."""
    node = nir.Threshold(threshold=_full(module.threshold, site))
    function = module.spike_grad
    if function is None:
        return node
    if not isinstance(function, Surrogate) or function.name == "custom_surrogate":
        raise ConversionError(
            site.name, "its spike_grad is a function of your own, which no file can hold",
            "Use a surrogate of snnax.surrogate, or convert with spike_grad=None and set yours afterwards.",
        )  # fmt: skip
    return metadata.write(node, {"surrogate": [function.name, function.options]})


@builds(nir.Delay)
def build_delay(node: nir.Delay, site: Site) -> Built:
    """A delay of whole time steps.

    Raises:
        ConversionError: for a delay that is negative or no multiple of the time step.
    """
    here = _values(site, "delay", node.delay).astype(np.float64) * site.reading.seconds / site.dt
    steps = np.rint(here)
    if (steps < 0).any() or not np.allclose(here, steps, rtol=1e-5, atol=1e-5):
        wrong = float(np.ravel(here)[np.argmax(np.abs(np.ravel(here - steps)))])
        raise ConversionError(
            site.name, f"its delay is {wrong:.6g} time steps of dt = {site.dt:g} s, which is no whole number",
            "Pass a dt that divides every delay.",
        )  # fmt: skip
    return Built(Delay(int(steps) if steps.ndim == 0 else steps), {}, site.shape_in)


@writes(Delay)
def write_delay(module: Delay, variables: Variables, site: Site) -> nir.NIRNode:
    """Delay in seconds."""
    return nir.Delay(delay=_full(np.asarray(module.steps, np.float64) * site.dt, site))


def _values(site: Site, what: str, given: Any) -> np.ndarray:
    """A node's numbers in the axes of a channels-last sample; one number where they are all the same."""
    try:
        np.broadcast_to(np.asarray(given), site.shape_in)
    except ValueError as error:
        raise ShapeError(
            f"{site.name!r} has a {what} of shape {np.shape(given)}, its samples have shape {site.shape_in}."
        ) from error
    return per_neuron_last(tidy(given), len(site.shape_in))


def _full(value: Any, site: Site) -> np.ndarray:
    return np.broadcast_to(np.asarray(per_neuron_first(value), site.real()), site.shape_in).copy()
