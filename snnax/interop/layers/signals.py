"""Threshold nodes <-> ``snnax.Threshold``."""

from __future__ import annotations

from typing import Any

import nir
import numpy as np

from snnax import surrogate
from snnax.errors import ConversionError, ShapeError
from snnax.interop.conventions import against, for_each, gathered, per_neuron_first, per_neuron_last
from snnax.interop.families.arrays import tidy
from snnax.interop.layers.entries import axes_of
from snnax.interop.layers.registry import (
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
from snnax.layers.signals import Threshold
from snnax.surrogate import Surrogate


@builds(nir.Threshold)
def build_threshold(node: nir.Threshold, site: Site) -> Built:
    """Spikes where the signal is above the threshold."""
    content = metadata.read(node, site.name)
    every = values_here(site, "threshold", node.threshold, content)
    here, given = per_neuron_last(tidy(every), len(site.shape_in)), content.get("surrogate")
    spike = getattr(surrogate, given[0])(**given[1]) if given else None
    return Built(Threshold(float(here) if here.ndim == 0 else here, spike), {}, site.shape_in)


@writes(Threshold)
def write_threshold(module: Threshold, variables: Variables, site: Site) -> nir.NIRNode:
    """Threshold, with the surrogate in the metadata."""
    full, content = values_written(module.threshold, site)
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


def values_here(site: Site, what: str, given: Any, content: Variables) -> np.ndarray:
    """A node's numbers, as few as its metadata says, channels first; none is checked but for its shape.

    Raises:
        ShapeError: they do not fit the samples.
    """
    try:
        small = against(given, site.shape_in)
    except ValueError as error:
        raise ShapeError(
            f"{site.name!r} has a {what} of shape {np.shape(given)}, its samples have shape {site.shape_in}."
        ) from error
    return np.asarray(gathered(small, content.get("shape")))


def values_written(value: Any, site: Site) -> tuple[np.ndarray, Variables]:
    """Numbers for each neuron, as NIR asks, and what tells those apart from fewer that were written out."""
    small = per_neuron_first(value, len(site.shape_in))
    full = for_each(small, site.shape_in, site.real())
    return full, {"shape": list(small.shape)} if small.ndim > 0 and small.size < full.size else {}


@axes_of(Threshold)
def _same_axes(module: Threshold, axes: int | None) -> int | None:
    return axes
