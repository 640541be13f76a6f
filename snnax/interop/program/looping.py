"""A loop of a program: chunks of steps one after the other, and what is the same in all of them once."""

from __future__ import annotations

from collections.abc import Callable
from functools import partial
from typing import TYPE_CHECKING, Any

import jax
import jax.numpy as jnp
from jax import lax

from snnax.interop.program import operators
from snnax.interop.program.chained import neuron_names
from snnax.interop.program.chunk import Chunk, Plan, Values
from snnax.interop.program.images import images
from snnax.interop.program.nodes import NEURON, Carry, Local, Loop, PerStep
from snnax.interop.program.stages import Stage, stages
from snnax.interop.program.steps import ELEMENTWISE
from snnax.network import keeping
from snnax.network.chunks import fast_size, is_open
from snnax.network.keeping import recomputed, size_of
from snnax.network.loop import cut, joined

if TYPE_CHECKING:
    from snnax.interop.program.running import Runner

Array = jax.Array


class LoopRun:
    """One loop of a run.

    Args:
        runner: the run that it is part of.
        loop: the loop.
        place: of the loop in the program.
    """

    def __init__(self, runner: Runner, loop: Loop, place: int) -> None:
        self._runner, self._loop = runner, loop
        names, parts = neuron_names(loop.body), stages(loop)
        dictated = {name: runner.dictated(name, loop.steps) for name in names.values()}
        self._forced = {name: spikes for name, spikes in dictated.items() if spikes is not None}
        steady, carried = self._steady(parts)
        handed = {loop.carries[carry].new: carry for carry in carried}
        ends = tuple(None if kept.every else handed.get(kept.value) for kept in loop.kept)
        self._plan = Plan(runner, loop, place, parts, names, images(loop.body), steady, carried, ends)

    def run(self) -> tuple[Any, ...]:
        """All steps; the values that are kept."""
        loop, plan = self._loop, self._plan
        sequences = [
            jnp.asarray(s.values) if isinstance(s, PerStep) else self._runner.get(s) for s in loop.sequences
        ]
        carry = {place: self._start(place) for place in plan.carried}
        way = self._way(carry, sequences)
        pieces = []
        for length, times, entry in cut((sequences, self._forced), 0, loop.steps, way.size):
            step = recomputed(partial(self._chunk, length), way.kept, alone=way.size == loop.steps)
            if times is None:
                carry, (every, last) = step(carry, entry)
            else:
                carry, (every, last) = lax.scan(step, carry, entry)
                every = jax.tree.map(partial(joined, times * length), every)
                last = jax.tree.map(lambda value: value[-1], last)
            pieces.append(every)
        kept, recorded = (
            pieces[0] if len(pieces) == 1 else jax.tree.map(lambda *v: jnp.concatenate(v), *pieces)
        )
        for place, (entered, fired) in recorded.items():
            self._runner.record(plan.names[place], entered, fired)
        found = zip(loop.kept, plan.ends, kept, last, strict=True)
        return tuple(carry[end] if end is not None else a if k.every else b for k, end, a, b in found)

    def _way(self, carry: dict[int, Array], sequences: list[Array]) -> keeping.Plan:
        """How many steps run at once, and what their gradient keeps."""
        loop, saving, batch = self._loop, self._runner.saving, self._runner.batch
        held = size_of(carry)
        if self._runner.apart:
            saving = saving._replace(chunk=1)
        if isinstance(saving.chunk, int):
            size = min(saving.chunk, loop.steps)
        else:
            size = fast_size(loop.steps, batch, self._is_light(), held)
        little = self._keeps_little()
        if is_open(batch) or loop.steps < 2:
            return keeping.plan_of(little, saving.remat, size)

        def of_length(length: int, kept: keeping.Kept) -> Any:
            step = recomputed(partial(self._chunk, length), kept, alone=True)
            first = jax.tree.map(lambda v: v[:length], (sequences, self._forced))
            arrays = (carry, (jnp.zeros((), int), *first))
            # parameters are no arguments of a chunk, and its gradient keeps what it needs for theirs
            return keeping.residuals(*_closed(step, arrays))

        account = keeping.Account(of_length, loop.steps, held, size_of(sequences) / loop.steps)
        return keeping.chosen(account, little, saving, size)

    def _chunk(self, length: int, starts: dict[int, Array], entry: Any) -> tuple[dict[int, Array], Any]:
        """``length`` steps: what the last hands on; values of all steps, and of the last."""
        number, sequences, forced = entry
        chunk = Chunk(self._plan, number, length, starts, sequences, forced)
        kept = chunk.run()
        every = [value if k.every else None for k, value in zip(self._loop.kept, kept, strict=True)]
        last = [None if k.every else value for k, value in zip(self._loop.kept, kept, strict=True)]
        return chunk.ends, ((every, chunk.recorded), last)

    def _start(self, carry: int) -> Array:
        """What the first step finds in a carry, in the shape that all later ones have."""
        handed = self._loop.carries[carry]
        known = self._runner.result(handed.result)
        init = self._runner.get(handed.init)
        return jnp.broadcast_to(jnp.asarray(0 if init is None else init, known.dtype), known.shape)

    def _steady(self, parts: list[Stage]) -> tuple[Values, tuple[int, ...]]:
        """What is the same in all steps, computed once; and the carries that are not.

        Neurons are recorded in each step, whether they do something else or not.
        """
        loop = self._loop
        # of nothing but what is outside, until a stage says otherwise
        plan = Plan(self._runner, loop, 0, parts, {}, frozenset(), {}, (), (None,) * len(loop.kept))
        carried: list[int] = []
        for stage in parts:
            for carry in stage.carries:
                if not stage.nodes and loop.carries[carry].new == Carry(carry):
                    plan.steady[Carry(carry)] = self._start(carry)
                else:
                    carried.append(carry)
            for place in () if stage.carries else stage.nodes:
                node = loop.body[place]
                moves = node.op == NEURON or operators.is_random(node.op)
                if moves or any(plan.moves(source) for source in plan.read([place])):
                    continue
                outputs = self._runner.operate(node, partial(plan.get, {}), (place,))
                plan.steady.update({Local(place, out): value for out, value in enumerate(outputs)})
        return plan.steady, tuple(carried)

    def _is_light(self) -> bool:
        """Whether a step is fast without the steps beside it: of images, or without an input of its own."""
        return not self._loop.sequences or any(node.base == "convolution" for node in self._loop.body)

    def _keeps_little(self) -> bool:
        """Whether all memory is in neurons, and in sums and the like: what neurons keep tells everything else."""
        body = self._loop.body
        return all(
            not stage.carries
            or self._plan.is_neuron(stage, self._forced)
            or all(body[place].base in ELEMENTWISE for place in stage.nodes)
            for stage in self._plan.stages
        )


def _closed(function: Callable[..., Any], arrays: tuple[Any, ...]) -> tuple[Any, ...]:
    """A function of these arrays as one of all arrays that it reads, and them."""
    closed, others = jax.closure_convert(function, *arrays)
    return closed, *arrays, *others
