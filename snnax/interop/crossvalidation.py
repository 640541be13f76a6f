"""``crossvalidate``: whatever the two sides are, compare them spike for spike."""

from __future__ import annotations

from dataclasses import replace
from os import PathLike
from pathlib import Path
from typing import Any

import nir
import numpy as np

from snnax import checks
from snnax.errors import ArgumentError, ConversionError, MissingDependencyError, ShapeError
from snnax.interop.compare import Report, compare
from snnax.interop.entries import CALL, DT, PRESET
from snnax.interop.flax_side import FlaxSide
from snnax.interop.importing import from_nir
from snnax.interop.numbers import plain
from snnax.interop.readings import Reading
from snnax.interop.readings import reading as read_as
from snnax.interop.recordings import RecordedSide
from snnax.interop.reference import ReferenceSide
from snnax.interop.trace import Side, Trace
from snnax.interop.units import in_units_of


@checks.takes(num_steps=checks.maybe(checks.count()), dt=DT, reading=PRESET, sample=checks.maybe(CALL))
def crossvalidate(
    a: Any,
    b: Any,
    x: Any,
    *,
    num_steps: int | None = None,
    channels_first: bool = True,
    dt: float | None = None,
    reading: str | Reading | None = None,
    gradients: bool = False,
    sample: Any = None,
) -> Report:
    """Run two networks on the same input and say whether they compute the same spikes, layer by layer.

    Every neuron layer is compared *end to end* and *layer by layer*: in the second run each layer of ``b`` gets
    the spikes that ``a`` recorded, so that one flip cannot cascade. A spike that differs is explained by
    rounding only if both membranes are within a bound of the threshold that follows from the floating-point
    errors of the sums in front of it; anything else is unexplained, and comes with its likely cause.

    Args:
        a: the reference: a torch module with neurons of snnTorch or Norse, ``(model, variables)``, a NIR graph or
            path, or a recording: a :class:`Trace`, the path of a ``.npz`` file of :func:`save_trace`, or a
            :class:`RecordedSide`.
        b: the other side, of any of these kinds but a recording.
        x: input ``[T, B, ...]``, float32 or float64, which decides the precision of both runs; with
            ``num_steps`` one frame ``[B, ...]``.
        num_steps: T, for one frame that is shown at every step.
        channels_first: images in ``x`` are ``C, H, W``; flax models written for channels-last get them so.
        dt: time step for NIR graphs that do not say theirs.
        reading: what NIR leaves open, for NIR graphs: a :class:`Reading`, or the name of a framework.
        gradients: also compare the gradients of the summed outputs with respect to every weight.
        sample: what one call of a snnTorch network takes, as :func:`from_snntorch` was given it: where ``forward``
            takes more than ``x``, or takes it in a list, tuple or dict. ``x`` takes the place of the input in it.

    Returns:
        A :class:`Report`: ``report.agree``, ``report.unexplained``, ``report.layers``, ``print(report)``,
        ``report.plot(path)``, ``report.to_dict()``.

    Raises:
        ArgumentError: for a side of another kind, and for a recording as side ``b``.
        ShapeError: if ``x`` does not fit, or the layers of the sides do not pair up.
        ConversionError: if a torch module cannot be traced.

    NIR graphs are run by the reference simulator (:mod:`snnax.interop.reference`), by NIR's equations in
    float64; where that lacks a node, or gradients are asked for, as the model that ``from_nir`` makes of them.

    Example:
        >>> import torch, snntorch, numpy as np
        >>> from snnax import interop
        >>> net = torch.nn.Sequential(torch.nn.Linear(3, 2), snntorch.Leaky(beta=0.9, init_hidden=True))
        >>> x = np.random.default_rng(0).random((25, 4, 3), np.float32)
        >>> model, variables = interop.from_snntorch(net, x[0])
        >>> interop.crossvalidate(net, (model, variables), x).agree
        True
    """
    x = _input(x, num_steps)
    how = read_as(reading, dt=dt)
    notes: list[str] = []
    first, second = (
        _graph_side(given, how, gradients, _is_recording(other), notes)
        or _side(given, x, which, channels_first, sample)
        for given, other, which in ((a, b, "a"), (b, a, "b"))
    )
    if first.label == second.label:
        first.label, second.label = f"{first.label} a", f"{second.label} b"
    if isinstance(first, RecordedSide):
        first = in_units_of(second, first, x, how)
    report = compare(first, second, x, gradients=gradients)
    return replace(report, notes=(*notes, *report.notes))


def _graph_side(
    given: Any, reading: Reading, gradients: bool, exact_gains: bool, notes: list[str]
) -> Side | None:
    """A NIR graph or its path as a side, ``None`` for anything else; what there is to say goes to the notes."""
    if not isinstance(given, nir.NIRGraph | str | PathLike) or _is_recording(given):
        return None
    if not gradients:
        try:
            side = ReferenceSide(given, reading, exact_gains=exact_gains)
            notes += side.notes
            return side
        except ConversionError as error:
            notes.append(f"the graph is run as the flax model that from_nir makes of it ({error})")
    return FlaxSide(*from_nir(given, preset=reading), label="NIR")


def _is_recording(given: Any) -> bool:
    if isinstance(given, str | PathLike):
        return Path(given).suffix == ".npz"
    return isinstance(given, Trace | RecordedSide)


def _input(x: Any, num_steps: int | None) -> np.ndarray:
    try:
        x = plain("x", "", x)
    except ConversionError as error:
        raise ArgumentError(f"x {error.problem}; a comparison needs finite real input.") from error
    if num_steps is not None:
        if num_steps < 1:
            raise ArgumentError(f"num_steps={num_steps}; expected a number of steps >= 1.")
        x = np.broadcast_to(x, (num_steps, *x.shape)).copy()
    if x.ndim < 3 or 0 in x.shape:
        raise ShapeError(
            f"x has shape {x.shape}; expected [T, B, ...] with at least one step and sample. For one frame "
            "[B, ...] pass num_steps=T."
        )
    return x


def _side(given: Any, x: np.ndarray, which: str, channels_first: bool, sample: Any) -> Side:
    if isinstance(given, tuple) and len(given) == 2:
        return FlaxSide(*given, channels_first=channels_first)
    if isinstance(given, Trace | str | PathLike):
        return RecordedSide(given)
    if hasattr(given, "modules") and any(
        base.__module__.startswith("torch.") for base in type(given).__mro__
    ):
        return _torch_side(given, x, sample)
    if all(hasattr(given, name) for name in ("run", "replay", "graph", "label")):
        return given
    raise ArgumentError(
        f"side {which} is a {type(given).__name__}; expected a torch module, (model, variables), a "
        "nir.NIRGraph, the path of a .nir file, or a recorded Trace."
    )


def _torch_side(net: Any, x: np.ndarray, sample: Any) -> Side:
    homes = {base.__module__.partition(".")[0] for m in net.modules() for base in type(m).__mro__}
    try:
        if "norse" in homes:
            from snnax.interop.norse.side import norse_side

            return norse_side(net, x)
        from snnax.interop.snntorch.side import torch_side
    except ModuleNotFoundError as error:
        raise MissingDependencyError(
            error.name or "torch", "torch", "cross-validating a torch network"
        ) from error
    return torch_side(net, x, sample)
