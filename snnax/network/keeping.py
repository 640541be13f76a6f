"""What the gradient of a chunk of steps keeps and what it computes again, and how many bytes that takes."""

from __future__ import annotations

import math
from collections.abc import Callable, Iterator
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp

from snnax import checks
from snnax.kernels.pooling import PLACE
from snnax.network.chunks import divisor, is_open
from snnax.network.machine import free_memory
from snnax.network.time import KEPT

__all__ = [
    "DEFAULT", "LITTLE", "Account", "Plan", "Saving", "check_memory", "chosen", "plan_of", "recomputed", "residuals",
    "size_of",
]  # fmt: skip

Kept = tuple[str, ...] | None
"""Names of what the gradient of a chunk keeps; none of them: it computes all again; ``None``: it keeps everything."""

LITTLE = (KEPT, PLACE)
"""What a chunk of neurons and layers without memory keeps for its gradient: everything else follows from it."""

PRODUCTS = frozenset({"conv_general_dilated", "dot_general", "snnax_conv", "snnax_product"})
"""Operations that cost more to do again than their results take memory, where the gradient uses these: what a batch
normalization gets. What a neuron gets it does not use."""

SHARE = 0.5
"""Of the free memory, what ``memory="auto"`` lets the gradient take."""

_MOST = 25
"""How many times the bytes of states and input a gradient keeps, in all but odd networks; below it nothing is
counted."""


class Saving(NamedTuple):
    """What :func:`~snnax.unroll` is asked for about a run's chunks and the memory of its gradient.

    Attributes:
        chunk: steps of a chunk, or ``"auto"``.
        short: keep bfloat16 for the backward pass.
        remat: what the gradient recomputes.
        memory: bytes that the gradient may take, or ``"auto"``.
    """

    chunk: int | str = "auto"
    short: bool = False
    remat: bool | str = "auto"
    memory: float | str = "auto"


DEFAULT = Saving()


class Plan(NamedTuple):
    """One way to run over time.

    Attributes:
        kept: what the gradient of a chunk keeps.
        size: steps of a chunk.
    """

    kept: Kept
    size: int


_MEMORY = checks.number(above=0, finite=False, called="'auto' or a number of bytes, as memory=2e9 for 2 GB,")


def check_memory(memory: Any) -> float | str:
    """A number of bytes, or ``"auto"``.

    Raises:
        ArgumentError: for anything else.
    """
    if isinstance(memory, str) and memory == "auto":
        return memory
    return float(_MEMORY(memory, "memory"))


def recomputed(chunk: Any, kept: Kept, alone: bool) -> Any:
    """``chunk`` whose gradient computes it again, but for what has one of the names; ``None``: for nothing.

    Args:
        chunk: a function of arrays.
        kept: names given by ``jax.ad_checkpoint.checkpoint_name``. With any of them, results of products are kept too.
        alone: it is not inside of a loop, where XLA does not take both computations for one.
    """
    if kept is None:
        return chunk
    # not static_argnums: jax.checkpoint remembers what it made for them, and with it what chunk closes over
    named = jax.checkpoint_policies.save_only_these_names(*kept)

    def policy(operation: Any, *arrays: Any, **settings: Any) -> Any:
        return bool(kept and operation.name in PRODUCTS) or named(operation, *arrays, **settings)

    return jax.checkpoint(chunk, policy=policy, prevent_cse=alone)


class Account:
    """What the gradient of a run keeps, in bytes, found by tracing chunks of one and of two steps.

    Args:
        residuals: ``residuals(length, kept)`` is what the gradient of a chunk of so many steps keeps, as arrays or
            their shapes.
        steps: how many the run has.
        held: bytes of the states that a step hands to the next.
        given: bytes of the input of a step, which are there in any case.
    """

    def __init__(
        self,
        residuals: Callable[[int, Kept], Any],
        steps: int,
        held: float,
        given: float,
    ) -> None:
        self.steps = steps
        self._residuals, self._held, self._given = residuals, held, given
        self._known: dict[Kept, float] = {}

    def bytes_of(self, plan: Plan) -> float:
        """What the gradient keeps of all chunks, and computes of one: its values and their derivatives."""
        one = plan.size * self._each(None)
        if plan.kept is None:
            return self.steps * self._each(None) + one
        states = self._held * self.steps / plan.size
        return states + self.steps * self._each(plan.kept) + 2 * one

    def rough(self) -> float:
        """More than what the gradient keeps, found without tracing."""
        return self.steps * _MOST * (self._held + self._given)

    def balanced(self) -> float:
        """The size of a chunk with which states between chunks and what one chunk computes take least together."""
        return math.sqrt(self.steps * self._held / max(2 * self._each(None), 1))

    def _each(self, kept: Kept) -> float:
        """Bytes for each step more. Of a chunk that is computed again, only what it keeps beside its arguments."""
        if kept == ():
            return 0.0
        if kept not in self._known:
            one, two = (size_of(self._residuals(length, kept)) for length in (1, 2))
            self._known[kept] = max(two - one - self._given, 0.0)
        return self._known[kept]


def residuals(function: Callable[..., Any], *arrays: Any) -> Any:
    """What the gradient of a function keeps, as shapes."""
    return jax.eval_shape(lambda *given: jax.vjp(function, *given)[1], *arrays)


def size_of(tree: Any) -> float:
    """Bytes of all arrays in it, but for random keys and arrays of which ``jax.export`` leaves a length open."""
    leaves = (
        leaf
        for leaf in jax.tree.leaves(tree)
        if not jnp.issubdtype(leaf.dtype, jax.dtypes.extended) and not any(map(is_open, leaf.shape))
    )
    return float(sum(math.prod(leaf.shape) * leaf.dtype.itemsize for leaf in leaves))


def chosen(account: Account, little: bool, saving: Saving, fast: int) -> Plan:
    """The fastest plan that fits into the memory, or the one that takes least if none does.

    Args:
        account: what plans take.
        little: what neurons keep tells everything else.
        saving: what is asked for.
        fast: steps of a chunk: what is asked for, or what is fast.
    """
    best = plan_of(little, saving.remat, fast)
    limit = saving.memory if isinstance(saving.memory, float) else SHARE * free_memory()
    if saving.memory == "auto" and account.rough() < limit:
        return best
    least = (math.inf, best)
    for plan in _slower(account, best, saving):
        taken = account.bytes_of(plan)
        if taken <= limit:
            return plan
        least = min(least, (taken, plan), key=lambda pair: pair[0])
    return least[1]


def plan_of(little: bool, remat: bool | str, size: int) -> Plan:
    """The fastest plan, whatever it takes."""
    if remat is True:
        return Plan((), size)
    return Plan(LITTLE if little and remat else None, size)


def _slower(account: Account, best: Plan, saving: Saving) -> Iterator[Plan]:
    """Plans from the fastest to the one that takes least, as far as what is asked for leaves a choice."""
    yield best
    size, fixed = best.size, saving.chunk != "auto"
    while best.kept and not fixed and size > 1:
        size = size // 2
        yield Plan(best.kept, size)
    if saving.remat is not False:
        yield Plan((), best.size)
        if not fixed:
            yield Plan((), divisor(account.steps, account.balanced()))
