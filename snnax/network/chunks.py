"""How many steps of time run at once."""

from __future__ import annotations

from typing import Any

import flax.linen as nn
from jax.export import symbolic_shape

from snnax import checks
from snnax.checks import whole
from snnax.errors import ArgumentError
from snnax.network.kinds import has_convolution
from snnax.network.machine import cores, platform

__all__ = ["chunk_size", "divisor", "fast_size", "is_open", "open_rest", "whole_steps"]

_ROWS = 400  # samples per chunk that make a matrix product fast, and its sum of weight gradients cheap
_STEPS = 5  # but no fewer steps
_FRAMES = 96  # samples per chunk where no product of the input needs more: images should stay in the cache
_SHARED_ROWS, _SHARED_STATES = (
    1600,
    5e6,
)  # samples, or bytes of states, that make a product fast on several cores


def whole_steps(what: str, value: Any, other: str = "") -> int:
    """A number of steps; ``what`` and ``other`` are for the error: what it is, and what else it may be."""
    number = whole(value)
    if number is None or number >= 2**31:
        raise ArgumentError(f"{what}={checks.shown(value)}; expected {other}a whole number of steps >= 1.")
    return number


def is_open(size: Any) -> bool:
    """Whether a length is one that ``jax.export`` leaves open (``jax.export.symbolic_shape``)."""
    return not isinstance(size, int) and isinstance(size, type(symbolic_shape("n")[0]))


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


def chunk_size(net: nn.Module, chunk: int | str, steps: int, batch: int, constant: bool, held: float) -> int:
    """How many steps run at once: what was asked for, or what is fast.

    Args:
        net: the network.
        chunk: what was asked for, or ``"auto"``.
        steps: how many there are.
        batch: samples.
        constant: the input is one frame that is shown at each step.
        held: bytes of the states that a step hands to the next.
    """
    if isinstance(chunk, str) and chunk == "auto":
        if is_open(steps):
            return 1
        return fast_size(steps, batch, constant or has_convolution(net), held)
    if is_open(steps):
        return _of_open(steps, chunk)
    return min(whole_steps("chunk", chunk, "'auto' or "), steps)


def fast_size(steps: int, batch: int, light: bool, held: float) -> int:
    """How many steps at once are fast on this machine.

    On a CPU a chunk should stay in the cache; products that several cores share should be larger than those of one.
    Elsewhere all steps are one chunk, with the fewest and largest products.

    Args:
        steps: how many there are.
        batch: samples.
        light: no large matrix is multiplied by the input of each step.
        held: bytes of the states that a step hands to the next.
    """
    if is_open(batch):
        return divisor(steps, _STEPS)
    if platform() != "cpu":
        return steps
    if light:
        return divisor(steps, _FRAMES / max(batch, 1))
    wanted = max(_STEPS, _ROWS / max(batch, 1))
    if cores() > 1:
        wanted = max(_STEPS, _SHARED_ROWS / max(batch, 1), _SHARED_STATES / max(held, 1))
    return divisor(steps, wanted)


def _of_open(steps: Any, chunk: Any) -> Any:
    """The size of a chunk if ``jax.export`` leaves T open: there is no program for a rest that may be empty."""
    size = chunk if is_open(chunk) else whole_steps("chunk", chunk, "'auto' or ")
    if steps % size != 0:
        raise ArgumentError(
            f"chunk={chunk!r}, but the number of time steps is {steps}, which jax.export leaves open and which may "
            "be no multiple of it. Pass chunk='auto' for one step at a time, or chunk=x.shape[0] for all at once."
        )
    return size


def divisor(steps: int, wanted: float) -> int:
    """About ``wanted``; if there is one near, a divisor of ``steps``: what is left over is a program of its own."""
    wanted = min(max(wanted, 1), steps)
    most = min(int(4 * wanted), steps)
    near = [d for d in range(max(1, int(wanted / 4)), most + 1) if steps % d == 0 and wanted / 4 <= d]
    if near:
        return min(near, key=lambda d: max(d / wanted, wanted / d))
    return -(-steps // round(steps / wanted))
