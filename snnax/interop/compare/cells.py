"""Layers with weights of their own, each side held to them by itself: LSTM cells, DeltaLeaky, parallel neurons.

Their equations are not taken apart. Instead the layer of the reference runs again in float64 on what each side
recorded: every single step from the states before it, or for neurons without reset the whole sequence. A side
whose states lie further away than rounding allows does not compute that layer. How much that is, is measured:
the same run in float32 shows the rounding errors of this layer on these numbers. :data:`MARGIN` times the largest of
them is granted, scaled to the precision of the side, and 8 unit roundoffs of the largest state.

A spike that one side has and the other has not is explained if both sides compute the layer, and each fires
where its own membrane is above threshold: then the threshold lies between two membranes that rounding parted.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from functools import partial
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np

from snnax.interop.compare.bounds import float_type, unit_roundoff
from snnax.interop.compare.equation import Equation
from snnax.interop.conventions import traces_first, traces_last
from snnax.interop.families.modules import module_from_spec
from snnax.interop.spec import NeuronSpec
from snnax.interop.trace import NodeTrace

Array = np.ndarray
MARGIN = 32.0
"""By how much rounding errors may exceed the largest one that was measured."""


@dataclass(frozen=True)
class Held:
    """One side's recording held to the layer.

    Attributes:
        off: a state is not what the layer computes.
        astray: it fires where its membrane is not above threshold, or the other way round.
        tie: it fires with its membrane exactly at the threshold.
        bound: how far a state may be off, the largest of what its states are granted: one number for all steps and
            neurons, ``[T, b, ...]``.
        fires: it emits spikes, and not its membrane.
    """

    off: Array
    astray: Array
    tie: Array
    bound: Array
    fires: bool = True


@dataclass(frozen=True)
class Cell:
    """A layer that runs again on what was recorded."""

    spec: NeuronSpec

    @classmethod
    def of(cls, spec: NeuronSpec | None) -> Cell | None:
        """The layer of a spec, ``None`` if its neurons are judged by their own equation."""
        return None if spec is None or Equation.applies(spec) else cls(spec)

    def held(self, trace: NodeTrace, u: float | None = None) -> Held:
        """One side's recording against the layer in float64.

        Args:
            trace: the recording.
            u: unit roundoff to which the parameters were rounded; by default that of the recording.
        """
        return _held(self.spec, trace, u)

    def strays(self, trace: NodeTrace) -> bool:
        """True if a recording is not what the layer computes."""
        side = self.held(trace)
        return bool((side.off | side.astray).any())


def _held(spec: NeuronSpec, trace: NodeTrace, u: float | None = None) -> Held:
    exact, rounded = (_again(spec, trace, dtype) for dtype in (np.float64, np.float32))
    u = unit_roundoff(float_type(trace)) if u is None else u
    shape = trace.spk.shape
    off, bound = np.zeros(shape, bool), np.zeros(shape)
    for name, state in trace.states.items():
        if name not in exact:
            continue
        error = np.abs(exact[name] - rounded[name]).max(initial=0.0) * (
            u / unit_roundoff(np.dtype(np.float32))
        )
        allowed = MARGIN * error + 8 * u * np.abs(exact[name]).max(initial=0.0)
        apart = ~(np.abs(state.astype(np.float64) - exact[name]) <= allowed)
        off |= apart if apart.shape == shape else per_sample(apart, shape)
        bound = np.maximum(bound, allowed)
    firing = spec.family.firing(spec, *(_wide(states) for states in (trace.before(), trace.states)))
    if firing is None:
        emitted = exact["spk" if "spk" in exact else spec.states[-1]]
        wrong = ~(np.abs(trace.spk.astype(np.float64) - emitted) <= bound)
        return Held(off, wrong, np.zeros(shape, bool), bound, fires=False)
    level, slack = firing.level, 0.0 if firing.exact else bound
    if firing.unreset is not None:
        level, rounded_level = (
            _again(firing.unreset, trace, dtype)[spec.states[-1]] for dtype in (np.float64, np.float32)
        )
        slack = MARGIN * np.abs(level - rounded_level).max(initial=0.0)
    threshold = np.asarray(firing.threshold).astype(float_type(trace)).astype(np.float64)
    fired = trace.spk.astype(np.float64) != 0
    tie = (level == threshold) & fired
    astray = ((level > threshold) != fired) & ~(np.abs(level - threshold) <= slack)
    return Held(off, astray, tie, bound)


def _wide(states: Mapping[str, Array]) -> dict[str, Array]:
    return {name: state.astype(np.float64) for name, state in states.items()}


def _again(spec: NeuronSpec, trace: NodeTrace, dtype: Any) -> dict[str, Array]:
    """States and spikes ``[T, b, ...]`` of the layer on what was recorded, channels first, as float64."""
    x = traces_last(trace.input.astype(dtype))
    with jax.enable_x64(True), jax.default_device(jax.devices("cpu")[0]):
        module, variables = module_from_spec(trace.name, spec, x.ndim - 2)
        weights = jax.tree.map(lambda v: jnp.asarray(v, dtype), variables)
        if spec.family.sequence:
            found = _run(module.clone(init_hidden=False), weights, jnp.asarray(x))
            return {k: traces_first(np.asarray(v, np.float64)) for k, v in found.items()}
        steps = x.shape[:2]
        last = {name: traces_last(state.astype(dtype)) for name, state in trace.before().items()}
        hidden = {name: jnp.asarray(state.reshape(-1, *state.shape[2:])) for name, state in last.items()}
        found = _run(module, {**weights, "hidden": hidden}, jnp.asarray(x.reshape(-1, *x.shape[2:])))
        return {
            name: traces_first(np.asarray(v, np.float64).reshape(*steps, *v.shape[1:]))
            for name, v in found.items()
        }


@partial(jax.jit, static_argnums=0)
def _run(module: Any, variables: Any, x: jax.Array) -> dict[str, jax.Array]:
    recorded = module.apply(variables, x, mutable=["hidden", "record"])[1]["record"]
    return {name: value for name, value in recorded.items() if name != "input"}


def per_sample(mask: Array, shape: tuple[int, ...]) -> Array:
    """A mask or array ``[T, b, ...]`` over the neurons of a layer whose ``spk`` have ``shape``.

    One of another shape, as of an input with more features than the layer has neurons, has at all neurons of a sample
    and step its largest entry there; for a mask that is whether it has any.
    """
    if mask.shape == shape:
        return np.array(mask)
    rows = mask.reshape(*mask.shape[:2], -1).max(-1)
    return np.broadcast_to(rows.reshape(*rows.shape, *(1,) * (len(shape) - 2)), shape).copy()
