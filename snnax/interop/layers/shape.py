"""Flatten nodes <-> ``snnax.layers.Flatten``; Reshape and State as extensions."""

from __future__ import annotations

from math import prod
from typing import Any

import nir
import numpy as np

from snnax.errors import ConversionError, ShapeError
from snnax.interop.layers.entries import axes_of
from snnax.interop.layers.registry import Built, Function, Shape, Site, Variables, builds, evaluates, writes
from snnax.interop.nir.extension import Extension
from snnax.layers import Concatenate, Flatten, Reshape, SpikeCounter, State
from snnax.layers.signals import Slice


@builds(nir.Flatten)
def build_flatten(node: nir.Flatten, site: Site) -> Built:
    """NIR's dimensions leave out the batch; a partial flatten becomes a reshape."""
    out = flattened(site.name, node, site.shape_in)
    if len(out) == 1:
        return Built(Flatten(channels_first=True), {}, out)
    return Built(Reshape(out, channels_first=True), {}, out)


def flattened(name: str, node: nir.Flatten, shape: Shape) -> Shape:
    """Samples of ``shape`` with the axes from ``start_dim`` to ``end_dim`` as one; the batch is not counted."""
    start, end = (int(d) % max(len(shape), 1) for d in (node.start_dim, node.end_dim))
    if start > end:
        raise ShapeError(f"{name!r} flattens from {node.start_dim} to {node.end_dim} of {shape}.")
    return (*shape[:start], prod(shape[start : end + 1]), *shape[end + 1 :])


@evaluates(nir.Flatten)
def evaluate_flatten(name: str, node: nir.Flatten, dtype: Any) -> Function:
    """The same values in fewer axes."""
    return lambda x: x.reshape(len(x), *flattened(name, node, x.shape[1:]))


@writes(Flatten)
def write_flatten(module: Flatten, variables: Variables, site: Site) -> nir.NIRNode:
    """The whole sample in one axis, in the order C, H, W; see ``export`` for what that does to weights."""
    return nir.Flatten(input_type={"input": np.array(site.shape_in)}, start_dim=0, end_dim=-1)


@builds("Reshape")
def build_reshape(node: Extension, site: Site) -> Built:
    """Any other change of shape."""
    out = tuple(int(s) for s in node.options["shape"])
    if prod(out) != prod(site.shape_in):
        raise ShapeError(f"{site.name!r} cannot make {out} of samples of shape {site.shape_in}.")
    return Built(Reshape(out, channels_first=True), {}, out)


@evaluates("Reshape")
def evaluate_reshape(name: str, node: Extension, dtype: Any) -> Function:
    """The same values in other axes."""
    return lambda x: x.reshape(len(x), *(int(n) for n in node.options["shape"]))


@writes(Reshape)
def write_reshape(module: Reshape, variables: Variables, site: Site) -> nir.NIRNode:
    """Flatten, where axes that follow one another become one; else an extension: NIR has no reshape.

    Raises:
        ConversionError: if it reads or makes images in the order H, W, C, where NIR has C, H, W.
    """
    if not module.channels_first:
        values = np.arange(prod(site.shape_in)).reshape(1, *site.shape_in)
        last = np.moveaxis(values, 1, -1).reshape(
            1, *((site.shape_out and _last(site.shape_out)) or module.shape)
        )
        if not np.array_equal(np.moveaxis(last, -1, 1).ravel(), values.ravel()):
            raise ConversionError(
                site.name, "it reshapes images in the order H, W, C, where NIR has C, H, W",
                "Use snnax.Reshape((C, H, W), channels_first=True), or snnax.Flatten().",
            )  # fmt: skip
    return reshape_node(site.shape_in, site.shape_out or tuple(module.shape))


def _last(shape: Shape) -> Shape:
    return (*shape[1:], shape[0])


def reshape_node(before: Shape, after: Shape) -> nir.NIRNode:
    """The node that makes samples of shape ``after`` of samples of shape ``before``."""
    if before == after and before:
        return nir.Flatten(input_type={"input": np.array(before)}, start_dim=0, end_dim=0)
    count = len(before) - len(after)
    for start in range(len(after)) if count > 0 else ():
        end = start + count
        if after == (*before[:start], prod(before[start : end + 1]), *before[end + 1 :]):
            return nir.Flatten(input_type={"input": np.array(before)}, start_dim=start, end_dim=end)
    return Extension("Reshape", options={"shape": list(after)}, shape_in=before, shape_out=after)


@builds("State")
def build_state(node: Extension, site: Site) -> Built:
    """A membrane or current that the network uses as a signal."""
    return Built(State(str(node.options["state"])), {}, site.shape_in)


@writes(State)
def write_state(module: State, variables: Variables, site: Site) -> Any:
    """Extension: NIR's edges carry a node's output only."""
    return Extension(
        "State", options={"state": module.state}, shape_in=site.shape_in, shape_out=site.shape_in
    )


@axes_of(Flatten)
def _flat_axes(module: Flatten, axes: int | None) -> int:
    return 1


@axes_of(Reshape, Slice)
def _new_axes(module: Reshape | Slice, axes: int | None) -> int:
    return len(module.shape)


@axes_of(State, Concatenate, SpikeCounter)
def _same_axes(module: Any, axes: int | None) -> int | None:
    return axes


@writes(Concatenate)
def refuse_concatenate(module: Concatenate, variables: Variables, site: Site) -> Any:
    """Refused: where edges meet in NIR, signals are added.

    Raises:
        ConversionError: says how to build the network without it.
    """
    raise ConversionError(
        site.name, "Concatenate has no NIR form: where edges meet in NIR, signals are added",
        "Give each source a Dense of its own in place of the one behind the Concatenate, and let their edges meet: "
        "the rows of its kernel, taken apart.",
    )  # fmt: skip


@writes(SpikeCounter)
def refuse_counter(module: SpikeCounter, variables: Variables, site: Site) -> Any:
    """Refused: NIR has no such node.

    Raises:
        ConversionError: says to leave it out.
    """
    raise ConversionError(
        site.name, "SpikeCounter has no NIR form, and changes no signal",
        "Leave it out of the network that is written, and sum its spikes over time.",
    )  # fmt: skip
