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

__all__ = ["LITTLE", "Account", "Plan", "check_memory", "chosen", "plan_of", "recomputed", "size_of"]

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
        chunk: ``chunk(length, kept)`` is a function of the arrays that are differentiated, for so many steps.
        arrays: ``arrays(length)`` are these arrays.
        steps: how many the run has.
        held: bytes of the states that a step hands to the next.
        given: bytes of the input of a step, which are there in any case.
    """

    def __init__(
        self,
        chunk: Callable[[int, Kept], Callable[..., Any]],
        arrays: Callable[[int], tuple[Any, ...]],
        steps: int,
        held: float,
        given: float,
    ) -> None:
        self.steps = steps
        self._chunk, self._arrays, self._held, self._given = chunk, arrays, held, given
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
            one, two = (self._all(length, kept) for length in (1, 2))
            self._known[kept] = max(two - one - self._given, 0.0)
        return self._known[kept]

    def _all(self, length: int, kept: Kept) -> float:
        def residuals(*arrays: Any) -> Any:
            return jax.vjp(self._chunk(length, kept), *arrays)[1]

        return size_of(jax.eval_shape(residuals, *self._arrays(length)))


def size_of(tree: Any) -> float:
    """Bytes of all arrays in it, but for random keys and arrays of which ``jax.export`` leaves a length open."""
    leaves = (
        leaf
        for leaf in jax.tree.leaves(tree)
        if not jnp.issubdtype(leaf.dtype, jax.dtypes.extended) and not any(map(is_open, leaf.shape))
    )
    return float(sum(math.prod(leaf.shape) * leaf.dtype.itemsize for leaf in leaves))


def chosen(
    account: Account, little: bool, remat: bool | str, memory: float | str, fast: int, fixed: bool
) -> Plan:
    """The fastest plan that fits into the memory, or the one that takes least if none does.

    Args:
        account: what plans take.
        little: what neurons keep tells everything else.
        remat: as :func:`~snnax.unroll` takes it.
        memory: as :func:`~snnax.unroll` takes it.
        fast: steps of a chunk that are fast.
        fixed: chunks must be of this size.
    """
    best = plan_of(little, remat, fast)
    limit = memory if isinstance(memory, float) else SHARE * free_memory()
    if memory == "auto" and account.rough() < limit:
        return best
    least = (math.inf, best)
    for plan in _slower(account, best, remat, fixed):
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


def _slower(account: Account, best: Plan, remat: bool | str, fixed: bool) -> Iterator[Plan]:
    """Plans from the fastest to the one that takes least, as far as ``remat`` leaves a choice."""
    yield best
    size = best.size
    while best.kept and not fixed and size > 1:
        size = size // 2
        yield Plan(best.kept, size)
    if remat is not False:
        yield Plan((), best.size)
        if not fixed:
            yield Plan((), divisor(account.steps, account.balanced()))
