"""Layers with weights of their own, each side held to them by itself: LSTM cells, DeltaLeaky, parallel neurons.

Their equations are not taken apart. Instead the layer of the reference runs again in float64 on what each side
recorded: every single step from the states before it, or for neurons without reset the whole sequence. A side
whose states lie further away than rounding allows does not compute that layer. How much that is, is measured:
the same run in float32 shows the rounding errors of this layer on these numbers, and :data:`MARGIN` times the
largest of them is granted.

A spike that one side has and the other has not is explained if both sides compute the layer, and each fires
where its own membrane is above threshold: then the threshold lies between two membranes that rounding parted.
"""

from __future__ import annotations

from dataclasses import dataclass, replace
from functools import partial
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np

from snnax.interop.compare.bounds import float_type, unit_roundoff
from snnax.interop.compare.equation import before
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
        tie: it fires at the threshold.
        bound: how far its membrane may be off ``[T, b, ...]``.
    """

    off: Array
    astray: Array
    tie: Array
    bound: Array


@dataclass(frozen=True)
class Cell:
    """A layer that runs again on what was recorded."""

    spec: NeuronSpec

    @classmethod
    def of(cls, spec: NeuronSpec | None) -> Cell | None:
        """The layer of a spec, ``None`` if its neurons are judged by their own equation."""
        return None if spec is None or spec.family.simulated else cls(spec)

    @property
    def fires(self) -> bool:
        """False for NIR's neurons that hand on their membrane."""
        return not _integrates(self.spec)

    def held(self, trace: NodeTrace, u: float | None = None) -> Held:
        """One side's recording against the layer in float64, with parameters that were rounded to ``u``."""
        return _held(self.spec, trace, u)

    def strays(self, trace: NodeTrace) -> bool:
        """True if a recording is not what the layer computes."""
        side = self.held(trace)
        return bool((side.off | side.astray).any())


def _held(spec: NeuronSpec, trace: NodeTrace, u: float | None = None) -> Held:
    exact, rough = (_again(spec, trace, dtype) for dtype in (np.float64, np.float32))
    u = unit_roundoff(float_type(trace)) if u is None else u
    shape = trace.spk.shape
    off, bound = np.zeros(shape, bool), np.zeros(shape)
    for name, state in trace.states.items():
        if name not in exact:
            continue
        error = np.abs(exact[name] - rough[name]).max(initial=0.0) * (u / unit_roundoff(np.dtype(np.float32)))
        allowed = MARGIN * error + 8 * u * np.abs(exact[name]).max(initial=0.0)
        apart = ~(np.abs(state.astype(np.float64) - exact[name]) <= allowed)
        off |= apart if apart.shape == shape else per_sample(apart, shape)
        bound = np.maximum(bound, allowed)
    level, threshold, slack = _level(spec, trace, exact, bound)
    fired = trace.spk.astype(np.float64) != 0
    if level is None:
        wrong = np.abs(trace.spk.astype(np.float64) - exact["spk" if "spk" in exact else "mem"]) > bound
        return Held(off, wrong, np.zeros(shape, bool), bound)
    tie = (level == threshold) & fired
    astray = ((level > threshold) != fired) & (np.abs(level - threshold) > slack)
    return Held(off, astray, tie, bound)


def _level(
    spec: NeuronSpec, trace: NodeTrace, exact: dict[str, Array], bound: Array
) -> tuple[Array | None, Array | float, Array | float]:
    """What was compared with the threshold, the threshold, and how exactly that is known."""
    dtype = float_type(trace)
    threshold = np.asarray(spec.values.get("threshold", 1.0)).astype(dtype).astype(np.float64)
    if spec.family.native:
        return _native_level(spec, trace)
    if spec.kind == "AssociativeLeaky":
        return trace.states["state"].astype(np.float64), 1.0, 0.0
    mem = trace.states["mem"].astype(np.float64)
    if spec.kind == "DeltaLeaky":
        change = np.abs(mem - before({"mem": mem})["mem"])
        limit = np.asarray(spec.values["delta_threshold"]).astype(dtype).astype(np.float64)
        return change, limit, bound
    if spec.kind in ("StateLeaky", "LinearLeaky") and not spec.options.get("output", True):
        return None, threshold, 0.0
    if spec.kind != "SConv2dLSTM":
        return mem, threshold, 0.0
    if spec.sizes["max_pool"]:
        return _pooled(mem, trace.spk.shape, np.max), threshold, 0.0
    return _pooled(mem, trace.spk.shape, np.mean), threshold, bound if spec.sizes["avg_pool"] else 0.0


def _native_level(spec: NeuronSpec, trace: NodeTrace) -> tuple[Array | None, Array | float, Array | float]:
    """Of NIR's own neurons: the membrane before its reset, taken again; they lose it in the step of the spike."""
    if _integrates(spec):
        return None, 0.0, 0.0
    threshold = np.asarray(spec.values["v_threshold"]).astype(float_type(trace)).astype(np.float64)
    if spec.sizes.get("threshold_test") == "before":
        return before(trace.states)["mem"].astype(np.float64), threshold, 0.0
    if spec.sizes.get("reset_delay"):
        return trace.states["mem"].astype(np.float64), threshold, 0.0
    free = replace(spec, sizes={**spec.sizes, "reset_mechanism": "none"}, options={})
    levels = [_again(free, trace, dtype)["mem"] for dtype in (np.float64, np.float32)]
    return levels[0], threshold, MARGIN * np.abs(levels[0] - levels[1]).max(initial=0.0)


def _integrates(spec: NeuronSpec) -> bool:
    """True for NIR's neurons that do not fire: they hand on their membrane."""
    return spec.family.native and "v_threshold" not in spec.values


def _pooled(mem: Array, shape: tuple[int, ...], reduce: Any) -> Array:
    """Windows of ``[T, b, C, H, W]`` that leave ``shape``; what is left over at the end is dropped."""
    height, width = (n // m for n, m in zip(mem.shape[-2:], shape[-2:], strict=True))
    cut = mem[..., : shape[-2] * height, : shape[-1] * width]
    windows = cut.reshape(*shape[:3], shape[-2], height, shape[-1], width)
    return np.asarray(reduce(windows, axis=(4, 6)))


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
        last = {name: traces_last(state.astype(dtype)) for name, state in before(trace.states).items()}
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
    """The largest entry of each sample and step, for all neurons of a layer of another shape."""
    if mask.shape == shape:
        return np.array(mask)
    rows = mask.reshape(*mask.shape[:2], -1).max(-1)
    return np.broadcast_to(rows.reshape(*rows.shape, *(1,) * (len(shape) - 2)), shape).copy()
