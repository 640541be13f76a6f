"""What may be asked of ``unroll``: its arguments, checked, and the size of a chunk."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

import flax.linen as nn
import jax
import jax.numpy as jnp
from flax.core import unfreeze
from flax.traverse_util import flatten_dict
from jax.export import symbolic_shape

from snnax import checks
from snnax.checks import whole
from snnax.errors import ArgumentError, ShapeError
from snnax.modules import check_rngs
from snnax.network.kinds import has_convolution
from snnax.network.schedule import Tree

_ROWS = 400  # samples per chunk that make a matrix product fast, and its sum of weight gradients cheap
_STEPS = 5  # but no fewer steps
_FRAMES = 128  # samples per chunk that stay in the cache where no product of the input needs more


def keeps_bfloat16(residuals: Any) -> bool:
    """Whether to keep bfloat16."""
    names = (None, jnp.bfloat16, "bfloat16", jnp.dtype(jnp.bfloat16))
    if not any(residuals is name or (type(residuals) is type(name) and residuals == name) for name in names):
        raise ArgumentError(
            f"residuals={residuals!r}; expected None (each neuron's own dtype) or jnp.bfloat16, which keeps the "
            "sign that makes a spike."
        )
    return residuals is not None


def check_remat(remat: Any) -> bool | str:
    """``True``, ``False`` or ``"auto"``."""
    if not isinstance(remat, bool) and not (isinstance(remat, str) and remat == "auto"):
        raise ArgumentError(f"remat={remat!r}; expected 'auto', True or False.")
    return remat


def collections(mutable: Any) -> tuple[str, ...]:
    """The names of the collections to update besides ``hidden``."""
    names = (mutable,) if isinstance(mutable, str) else mutable
    if not isinstance(names, Sequence | set | frozenset) or not all(isinstance(name, str) for name in names):
        raise ArgumentError(
            f"mutable={mutable!r}; expected names of collections, as mutable=['batch_stats']. "
            "'hidden' is always updated."
        )
    return tuple(names)


def keys_of(rngs: Any) -> dict[str, jax.Array]:
    """Random keys by name."""
    return check_rngs(rngs, "unroll(rngs=...)")


def recorded_names(record: Any) -> tuple[str, ...] | None:
    """The neurons to record, or ``None`` for all or none of them."""
    if record is None or isinstance(record, bool):
        return None
    if isinstance(record, int):
        raise checks.refuse("unroll(record=...)", record, "True, or names of neurons, as ['layers_1']")
    return checks.texts(record, "unroll(record=...)")


def forced_spikes(force: Any) -> dict[str, jax.Array]:
    """Spikes by the name of a neuron."""
    given = (
        {}
        if force is None
        else checks.mapping("spikes by neuron, as {'layers_1': spk}")(force, "unroll(force=...)")
    )
    return {name: checks.array(spk, f"unroll(force={{{name!r}: ...}})") for name, spk in given.items()}


def path_of(name: str) -> tuple[str, ...]:
    """``"block/lif"`` as the keys of a tree."""
    return tuple(name.split("/")) if name else ()


def _whole(what: str, value: Any, other: str = "") -> int:
    number = whole(value)
    if number is None or number >= 2**31:
        raise ArgumentError(f"{what}={checks.shown(value)}; expected {other}a whole number of steps >= 1.")
    return number


def is_open(size: Any) -> bool:
    """Whether a length is one that ``jax.export`` leaves open (``jax.export.symbolic_shape``)."""
    return not isinstance(size, int) and isinstance(size, type(symbolic_shape("n")[0]))


def count_steps(x: jax.Array, num_steps: int | None) -> int:
    """T: the length of ``x``, or ``num_steps`` for one frame."""
    if num_steps is None:
        if x.ndim < 2 or x.shape[0] == 0:
            raise ShapeError(
                f"x has shape {x.shape}; expected [T, B, ...] with T >= 1. For an input that is constant in "
                "time pass one frame [B, ...] and num_steps=T."
            )
        return x.shape[0]
    if x.ndim < 1:
        raise ShapeError(f"x has shape {x.shape}; with num_steps it must be one frame [B, ...].")
    return num_steps if is_open(num_steps) else _whole("num_steps", num_steps)


def open_rest(steps: Any, done: int) -> Any:
    """Steps after those that are done. Of an open number of steps there is no program for none of them.

    Raises:
        ArgumentError: says how the shape is made of which JAX knows that steps are left.
    """
    left = steps - done
    if done and is_open(steps):
        try:
            known = left >= 1
        except Exception:  # JAX's class for what it cannot compare is private
            known = False
        if not known:
            raise ArgumentError(
                f"the number of time steps is {steps}, which jax.export leaves open, and a module of your own declares "
                "a state in the first step, so that steps must be left after it. Say so where the shape is made: "
                f"jax.export.symbolic_shape(..., constraints=['{steps} >= {done + 1}'])."
            )
    return left


def chunk_size(net: nn.Module, chunk: int | str, steps: int, batch: int, constant: bool) -> int:
    """How many steps run at once: what was asked for, or what is fast on a CPU."""
    if isinstance(chunk, str) and chunk == "auto":
        if is_open(steps):
            return 1
        if is_open(batch):
            return _divisor(steps, _STEPS)
        light = constant or has_convolution(net)
        wanted = _FRAMES / max(batch, 1) if light else max(_STEPS, _ROWS / max(batch, 1))
        return _divisor(steps, wanted)
    if is_open(steps):
        return _of_open(steps, chunk)
    return min(_whole("chunk", chunk, "'auto' or "), steps)


def _of_open(steps: Any, chunk: Any) -> Any:
    """The size of a chunk if ``jax.export`` leaves T open: there is no program for a rest that may be empty."""
    size = chunk if is_open(chunk) else _whole("chunk", chunk, "'auto' or ")
    if steps % size != 0:
        raise ArgumentError(
            f"chunk={chunk!r}, but the number of time steps is {steps}, which jax.export leaves open and which may "
            "be no multiple of it. Pass chunk='auto' for one step at a time, or chunk=x.shape[0] for all at once."
        )
    return size


def _divisor(steps: int, wanted: float) -> int:
    """About ``wanted``; if there is one near, a divisor of ``steps``: what is left over is a program of its own."""
    wanted = min(max(wanted, 1), steps)
    near = [
        d for d in range(max(1, int(wanted / 4)), int(4 * wanted) + 1) if steps % d == 0 and wanted / 4 <= d
    ]
    if near:
        return min(near, key=lambda d: max(d / wanted, wanted / d))
    return -(-steps // round(steps / wanted))


def check_force(
    net: nn.Module,
    variables: Tree,
    x: jax.Array,
    rngs: Mapping[str, jax.Array],
    mutable: Sequence[str],
    steps: int,
    force: Mapping[str, jax.Array],
) -> None:
    """Refuse names that no neuron has, and spikes of another shape than the neuron's."""

    def once(given: Tree) -> Any:
        return net.apply(given, x, mutable=["hidden", "record", *mutable], rngs=dict(rngs))[1].get(
            "record", {}
        )

    without = {c: v for c, v in variables.items() if c != "hidden"}
    recorded = flatten_dict(unfreeze(jax.eval_shape(once, without)))
    emitted = {path: "spk" if (*path[:-1], "spk") in recorded else "mem" for path in recorded}
    known = {
        "/".join(path[:-1]): value.shape for path, value in recorded.items() if path[-1] == emitted[path]
    }
    if missing := [name for name in force if name not in known]:
        raise ArgumentError(f"force={missing} names no neuron; the neurons are {sorted(known)}.")
    for name, spikes in force.items():
        if spikes.shape != (steps, *known[name]):
            raise ShapeError(
                f"force[{name!r}] has shape {spikes.shape}; expected [T, B, ...] = {(steps, *known[name])}, "
                "the spikes that the neuron emits at each step."
            )
