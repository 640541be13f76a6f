"""A loop of a program: its stages one after the other, each for all steps of time.

Operations without memory are mapped over time, which XLA turns into one large product or convolution; a neuron that
is a stage of its own is one :func:`~snnax.unroll`; what is left is scanned. What is the same in all steps is computed
once.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from typing import TYPE_CHECKING, Any

import jax
import jax.numpy as jnp
from jax import lax

from snnax.interop.program import operators
from snnax.interop.program.nodes import NEURON, SOURCES, Carry, Local, Loop, PerStep, flat, mapped
from snnax.interop.program.nodes import Sequence as InSequence
from snnax.interop.program.stages import Stage, stages

if TYPE_CHECKING:
    from snnax.interop.program.running import Runner

Array = jax.Array
Values = dict[Any, Any]


class LoopRun:
    """One loop of a run.

    Args:
        runner: the run that it is part of.
        loop: the loop.
        place: of the loop in the program.
    """

    def __init__(self, runner: Runner, loop: Loop, place: int) -> None:
        self._runner, self._loop, self._place = runner, loop, place
        self._steady: Values = {}  # by source, what is the same in all steps
        self._moving: Values = {}  # by source, what has a value for each, [T, ...]
        self._names = _names(loop)
        self._forced = {name: runner.dictated(name, loop.steps) for name in self._names.values()}

    def run(self) -> tuple[Any, ...]:
        """All steps; the values that are kept."""
        for index, source in enumerate(self._loop.sequences):
            numbers = isinstance(source, PerStep)
            values = source.values if isinstance(source, PerStep) else self._runner.get(source)
            self._moving[InSequence(index)] = jnp.asarray(values) if numbers else values
        for stage in stages(self._loop):
            if not stage.carries:
                self._memoryless(stage.nodes)
            elif not stage.nodes:
                self._delay(stage.carries)
            elif self._is_neuron(stage):
                self._neuron(*stage.nodes)
            else:
                self._scan(stage)
        return tuple(self._kept(kept.value, kept.every) for kept in self._loop.kept)

    def _kept(self, value: Any, every: bool) -> Any:
        if value in self._moving:
            return self._moving[value] if every else self._moving[value][-1]
        fixed = self._get({})(value)
        return jnp.broadcast_to(fixed, (self._loop.steps, *jnp.shape(fixed))) if every else fixed

    def _get(self, values: Mapping[Any, Any]) -> Any:
        """Finds the value of a source in one step: among those of the step, of all steps, or outside of the loop."""

        def get(source: Any) -> Any:
            if isinstance(source, SOURCES):
                for known in (values, self._steady):
                    if source in known:
                        return known[source]
            return self._runner.get(source)

        return get

    def _start(self, carry: int) -> Array:
        """What the first step finds in a carry, in the shape that all later ones have."""
        handed = self._loop.carries[carry]
        known = self._runner.result(handed.result)
        init = self._runner.get(handed.init)
        return jnp.broadcast_to(jnp.asarray(0 if init is None else init, known.dtype), known.shape)

    # --- One step of some operations

    def _sources(self, places: Iterable[int]) -> set[Any]:
        """What operations read."""
        trees = [(self._loop.body[place].args, self._loop.body[place].kwargs) for place in places]
        return {source for source in flat(trees) if isinstance(source, SOURCES)}

    def _operate(self, place: int, values: Values, number: Any) -> tuple[Any, ...]:
        """One operation in step ``number``; ``values`` are those of the step, and get its outputs.

        Returns:
            Its outputs; those of a neuron that is recorded followed by what :meth:`Runner.record` takes.
        """
        node, get = self._loop.body[place], self._get(values)
        if node.op == NEURON:
            forced = self._forced[self._names[place]]
            fired, x = self._runner.fire(node, get, None if forced is None else forced[number])
            outputs: tuple[Any, ...] = (fired.spk, *fired.states)
            extra: tuple[Any, ...] = ((x, fired),) if self._runner.recording else ()
        else:
            outputs, extra = self._runner.operate(node, get, (self._place, place, number)), ()
        values.update({Local(place, out): value for out, value in enumerate(outputs)})
        return (*outputs, *extra)

    def _keep(self, place: int, made: Sequence[Any]) -> None:
        """Keep what an operation made in all steps."""
        if self._loop.body[place].op == NEURON and self._runner.recording:
            *made, (x, fired) = made
            self._runner.record(self._names[place], x, fired)
        self._moving.update({Local(place, out): v for out, v in enumerate(made) if v is not None})

    # --- Stages

    def _memoryless(self, places: Iterable[int]) -> None:
        """Operations without memory: those that see the same in all steps once, the others for all steps together."""
        moving: list[int] = []
        for place in places:
            if self._moves(place, moving):
                moving.append(place)
            else:
                self._operate(place, self._steady, 0)
        if not moving:
            return
        inputs = [source for source in self._sources(moving) if source in self._moving]

        def step(number: Array, arrays: Sequence[Array]) -> list[tuple[Any, ...]]:
            values = dict(zip(inputs, arrays, strict=True))
            return [self._operate(place, values, number) for place in moving]

        made = jax.vmap(step)(jnp.arange(self._loop.steps), [self._moving[source] for source in inputs])
        for place, outputs in zip(moving, made, strict=True):
            self._keep(place, outputs)

    def _moves(self, place: int, moving: Sequence[int]) -> bool:
        """Whether an operation makes something else in each step; neurons are recorded in each step anyway."""
        node = self._loop.body[place]
        if node.op == NEURON or operators.is_random(node.op):
            return True
        return any(
            source in self._moving or (isinstance(source, Local) and source.node in moving)
            for source in self._sources([place])
        )

    def _delay(self, carries: Iterable[int]) -> None:
        """A carry on no cycle with operations: what was there in the step before."""
        for carry in carries:
            new, start = self._loop.carries[carry].new, self._start(carry)
            if new == Carry(carry):
                self._steady[Carry(carry)] = start
                continue
            later = self._kept(new, True)[:-1].astype(start.dtype)
            later = jnp.broadcast_to(later, (len(later), *start.shape))
            self._moving[Carry(carry)] = jnp.concatenate([start[None], later])

    def _is_neuron(self, stage: Stage) -> bool:
        """Whether a stage is one neuron, and the carries its states."""
        if len(stage.nodes) != 1:
            return False
        (place,) = stage.nodes
        node = self._loop.body[place]
        if node.op != NEURON or self._forced[self._names[place]] is not None:
            return False
        x, states, parameters = node.args
        own = [(state, Local(place, out + 1)) for out, state in enumerate(states.values())]
        elsewhere = [source for source in flat((x, parameters)) if isinstance(source, SOURCES)]
        return (
            x in self._moving
            and not any(source in self._moving for source in flat(parameters) if isinstance(source, SOURCES))
            and not any(isinstance(source, Carry) and source.index in stage.carries for source in elsewhere)
            and all(isinstance(s, Carry) and self._loop.carries[s.index].new == after for s, after in own)
        )

    def _neuron(self, place: int) -> None:
        """A neuron for all steps at once."""
        node = self._loop.body[place]
        current, before, parameters = node.args
        get = self._get({})
        x = self._moving[current]
        numbers = {k: v for k, v in mapped(parameters, get).items() if v is not None}
        starts = {name: self._start(carry.index) for name, carry in before.items()}
        fired = self._runner.neurons[node.path].steps(x, {**starts}, numbers)
        extra = ((x, fired),) if self._runner.recording else ()
        self._keep(place, (fired.spk, *fired.states, *extra))
        for (carry, start), after in zip(
            ((c.index, starts[name]) for name, c in before.items()), fired.states, strict=True
        ):
            self._moving[Carry(carry)] = jnp.concatenate([start[None], after[:-1]])

    def _scan(self, stage: Stage) -> None:
        """Operations on a cycle of time, step by step."""
        inputs = [source for source in self._sources(stage.nodes) if source in self._moving]
        inputs += [s for s in self._handed(stage) if s in self._moving and s not in inputs]
        start = [self._start(carry) for carry in stage.carries]

        def step(before: list[Array], given: tuple[Array, list[Array]]) -> tuple[list[Array], Any]:
            number, arrays = given
            values: Values = dict(zip(inputs, arrays, strict=True))
            values.update({Carry(carry): v for carry, v in zip(stage.carries, before, strict=True)})
            made = [self._operate(place, values, number) for place in stage.nodes]
            after = [
                jnp.broadcast_to(jnp.asarray(self._get(values)(new), old.dtype), old.shape)
                for new, old in zip(self._handed(stage), before, strict=True)
            ]
            recorded = [
                outputs[-1] for place, outputs in zip(stage.nodes, made, strict=True) if place in fired
            ]
            return after, ([values[source] for source in wanted], recorded)

        wanted = [source for source in self._read_outside(stage) if _is_of(source, stage)]
        fired = [p for p in stage.nodes if self._loop.body[p].op == NEURON and self._runner.recording]
        arrays = [self._moving[source] for source in inputs]
        _, (made, recorded) = lax.scan(step, start, (jnp.arange(self._loop.steps), arrays))
        self._moving.update(zip(wanted, made, strict=True))
        for place, (x, spikes) in zip(fired, recorded, strict=True):
            self._runner.record(self._names[place], x, spikes)

    def _read_outside(self, stage: Stage) -> list[Any]:
        """What is read by others than a stage; the scan keeps no other values of every step."""
        others = (place for place in range(len(self._loop.body)) if place not in stage.nodes)
        handed = [h.new for carry, h in enumerate(self._loop.carries) if carry not in stage.carries]
        return list(dict.fromkeys([*self._sources(others), *handed, *(k.value for k in self._loop.kept)]))

    def _handed(self, stage: Stage) -> list[Any]:
        """What each carry of a stage gets."""
        return [self._loop.carries[carry].new for carry in stage.carries]


def _is_of(source: Any, stage: Stage) -> bool:
    """Whether a source is made by a stage."""
    if isinstance(source, Carry):
        return source.index in stage.carries
    return isinstance(source, Local) and source.node in stage.nodes


def _names(loop: Loop) -> dict[int, str]:
    """The name of each neuron of a body in recordings, by its place."""
    names: dict[int, str] = {}
    for place, node in enumerate(loop.body):
        if node.op == NEURON:
            count = sum(node.path == loop.body[earlier].path for earlier in names)
            names[place] = f"{node.path}#{count + 1}" if count else node.path
    return names
