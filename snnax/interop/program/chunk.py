"""Some steps of a loop that follow each other: its stages one after the other, each for all of them.

Operations without memory are mapped over the steps, which XLA turns into one large product or convolution; a neuron
that is a stage of its own runs as it does in :func:`~snnax.unroll`; what is left is scanned.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from functools import partial
from typing import TYPE_CHECKING, Any

import jax
import jax.numpy as jnp
from jax import lax

from snnax.interop.program.images import image_first, image_last
from snnax.interop.program.nodes import NEURON, SOURCES, Carry, Local, Loop, flat, mapped
from snnax.interop.program.nodes import Sequence as InSequence
from snnax.interop.program.stages import Stage
from snnax.interop.program.steps import ELEMENTWISE

if TYPE_CHECKING:
    from snnax.interop.program.neurons import Fired
    from snnax.interop.program.running import Entered, Runner

Array = jax.Array
Values = dict[Any, Any]


@dataclass(frozen=True, eq=False)
class Plan:
    """What all chunks of a loop share.

    Attributes:
        runner: the run that the loop is part of.
        loop: the loop.
        place: of the loop in the program.
        stages: of its body, in order.
        names: of each neuron of the body in recordings, by its place.
        images: places of operations on images, which are computed with the channels last.
        steady: by source, what is the same in all steps.
        carried: the carries that are not.
        ends: for each kept value the carry that is handed it; ``None`` for what no carry has.
    """

    runner: Runner
    loop: Loop
    place: int
    stages: Sequence[Stage]
    names: Mapping[int, str]
    images: frozenset[int]
    steady: Values
    carried: tuple[int, ...]
    ends: tuple[int | None, ...]

    def get(self, values: Mapping[Any, Any], source: Any) -> Any:
        """A source in one step: among the values of the step, what is the same in all, or outside of the loop."""
        if isinstance(source, SOURCES):
            for known in (values, self.steady):
                if source in known:
                    return known[source]
        return self.runner.get(source)

    def read(self, places: Iterable[int]) -> list[Any]:
        """What operations read."""
        trees = [(self.loop.body[place].args, self.loop.body[place].kwargs) for place in places]
        return list(dict.fromkeys(source for source in flat(trees) if isinstance(source, SOURCES)))

    def read_outside(self, stage: Stage) -> list[Any]:
        """What of a stage is read by others, in every step."""
        others = (place for place in range(len(self.loop.body)) if place not in stage.nodes)
        handed = [h.new for carry, h in enumerate(self.loop.carries) if carry not in stage.carries]
        kept = [k.value for k, end in zip(self.loop.kept, self.ends, strict=True) if end is None]
        return [s for s in dict.fromkeys([*self.read(others), *handed, *kept]) if _is_of(s, stage)]

    def is_neuron(self, stage: Stage, forced: Mapping[str, Any]) -> bool:
        """Whether a stage is one neuron, and the carries its states."""
        if len(stage.nodes) != 1:
            return False
        (place,) = stage.nodes
        node = self.loop.body[place]
        if node.op != NEURON or self.names[place] in forced:
            return False
        x, states, parameters = node.args
        own = [(state, Local(place, out + 1)) for out, state in enumerate(states.values())]
        elsewhere = [source for source in flat((x, parameters)) if isinstance(source, SOURCES)]
        return (
            self.moves(x)
            and not any(self.moves(source) for source in flat(parameters))
            and not any(isinstance(source, Carry) and source.index in stage.carries for source in elsewhere)
            and all(isinstance(s, Carry) and self.loop.carries[s.index].new == after for s, after in own)
        )

    def moves(self, source: Any) -> bool:
        """Whether a source has another value in each step."""
        return isinstance(source, InSequence | Carry | Local) and source not in self.steady


@dataclass(eq=False)
class Chunk:
    """The steps from number ``first`` on.

    Attributes:
        plan: of the loop.
        first: number of the first step.
        steps: how many.
        starts: what the first step finds in the carries, by their place.
        sequences: what the sequences have for these steps.
        forced: spikes that neurons emit instead of their own, by their names in recordings.
        ends: what the last step hands on.
        recorded: by the place of a neuron, what it got and what it did.
    """

    plan: Plan
    first: Any
    steps: int
    starts: dict[int, Array]
    sequences: Sequence[Array]
    forced: Mapping[str, Array]
    ends: dict[int, Array] = field(default_factory=dict)
    recorded: dict[int, tuple[Entered, Fired]] = field(default_factory=dict)

    def __post_init__(self) -> None:
        self._moving: Values = {InSequence(i): values for i, values in enumerate(self.sequences)}

    def run(self) -> list[Any]:
        """All steps; the values that are kept, ``None`` for those that a carry has in the end."""
        for stage in self.plan.stages:
            if not stage.carries:
                self._memoryless([p for p in stage.nodes if Local(p) not in self.plan.steady])
            elif not stage.nodes:
                self._delay([c for c in stage.carries if c in self.plan.carried])
            elif self.plan.is_neuron(stage, self.forced):
                self._neuron(stage)
            else:
                self._scan(stage)
        for carry in self.plan.carried:
            if carry not in self.ends:
                self.ends[carry] = self._handed(carry, self._kept(self._new(carry), False))
        kept = zip(self.plan.loop.kept, self.plan.ends, strict=True)
        return [self._kept(k.value, k.every) if end is None else None for k, end in kept]

    def _kept(self, value: Any, every: bool) -> Any:
        """A value of all steps, or of the last."""
        if value in self._moving:
            return self._moving[value] if every else self._moving[value][-1]
        fixed = self.plan.get({}, value)
        return jnp.broadcast_to(fixed, (self.steps, *jnp.shape(fixed))) if every else fixed

    def _new(self, carry: int) -> Any:
        return self.plan.loop.carries[carry].new

    def _handed(self, carry: int, value: Any) -> Array:
        """What a carry is given, in the form that it has."""
        start = self.starts[carry]
        return jnp.broadcast_to(jnp.asarray(value, start.dtype), start.shape)

    # --- One step of some operations

    def _operate(self, place: int, values: Values, number: Any) -> tuple[Any, ...]:
        """One operation in step ``number``; ``values`` are those of the step, and get its outputs.

        Returns:
            Its outputs; those of a neuron that is recorded followed by what :meth:`Runner.record` takes.
        """
        plan = self.plan
        node, get = plan.loop.body[place], partial(plan.get, values)
        if node.op == NEURON:
            name, forced = plan.names[place], self.forced.get(plan.names[place])
            dictated = None if forced is None else forced[number - self.first]
            fired, entered = plan.runner.fire(node, get, dictated, name)
            outputs: tuple[Any, ...] = (fired.spk, *fired.states)
            extra: tuple[Any, ...] = ((entered, fired),) if plan.runner.recording else ()
        else:
            outputs, extra = plan.runner.operate(node, get, (plan.place, place, number)), ()
        values.update({Local(place, out): value for out, value in enumerate(outputs)})
        return (*outputs, *extra)

    def _keep(self, place: int, made: Sequence[Any]) -> None:
        """Keep what an operation made in all steps."""
        if self.plan.loop.body[place].op == NEURON and self.plan.runner.recording:
            *made, self.recorded[place] = made
        self._moving.update({Local(place, out): v for out, v in enumerate(made) if v is not None})

    # --- Stages

    def _memoryless(self, places: Sequence[int]) -> None:
        """Operations without memory, for all steps together."""
        if not places:
            return
        inputs = [source for source in self.plan.read(places) if source in self._moving]

        def step(number: Array, arrays: Sequence[Array]) -> list[tuple[Any, ...]]:
            values = dict(zip(inputs, arrays, strict=True))
            return [self._on_images(place, values, number) for place in places]

        numbers = self.first + jnp.arange(self.steps)
        made = jax.vmap(step)(numbers, [self._moving[source] for source in inputs])
        for place, outputs in zip(places, made, strict=True):
            self._keep(place, outputs)

    def _on_images(self, place: int, values: Values, number: Any) -> tuple[Any, ...]:
        """One operation, on images with the channels last: the way there and back falls out between two of them."""
        node = self.plan.loop.body[place]
        arrays = {source: self.plan.get(values, source) for source in self.plan.read([place])}
        ranks = (
            (0, len(node.results[0].shape)) if node.base in ELEMENTWISE and place in self.plan.images else ()
        )
        if any(jnp.ndim(array) not in ranks for array in arrays.values()):
            return self._operate(place, values, number)
        inner = {source: image_last(array) for source, array in arrays.items()}
        outputs = tuple(image_first(y) for y in self._operate(place, inner, number))
        values.update({Local(place, out): value for out, value in enumerate(outputs)})
        return outputs

    def _delay(self, carries: Iterable[int]) -> None:
        """A carry on no cycle with operations: what was there in the step before."""
        for carry in carries:
            every = self._kept(self._new(carry), True)
            start = self.starts[carry]
            later = jnp.broadcast_to(every[:-1].astype(start.dtype), (self.steps - 1, *start.shape))
            self._moving[Carry(carry)] = jnp.concatenate([start[None], later])
            self.ends[carry] = self._handed(carry, every[-1])

    def _neuron(self, stage: Stage) -> None:
        """A neuron for all steps at once."""
        (place,) = stage.nodes
        plan, node = self.plan, self.plan.loop.body[place]
        current, before, parameters = node.args
        x = self._moving[current]
        numbers = mapped(parameters, partial(plan.get, {}))
        numbers = {name: value for name, value in numbers.items() if value is not None}
        starts: dict[str, Array | None] = {name: self.starts[c.index] for name, c in before.items()}
        every = plan.runner.recording or plan.read_outside(stage) not in ([], [Local(place)])
        neuron = plan.runner.neurons[node.path]
        fired, last = neuron.steps(
            x, starts, numbers, every=every, image=place in plan.images, short=plan.runner.saving.short
        )
        self._moving[Local(place)] = fired.spk
        for carry, end in zip((c.index for c in before.values()), last, strict=True):
            self.ends[carry] = self._handed(carry, end)
        if not every:
            return
        begun = {}
        for (name, carry), after in zip(before.items(), fired.states, strict=True):
            self._moving[carry] = begun[name] = jnp.concatenate([starts[name][None], after[:-1]])  # type: ignore[index]
        entered = plan.runner.entered(plan.names[place], x, begun)
        extra = ((entered, fired),) if plan.runner.recording else ()
        self._keep(place, (fired.spk, *fired.states, *extra))

    def _scan(self, stage: Stage) -> None:
        """Operations on a cycle of time, step by step."""
        plan = self.plan
        handed = [self._new(carry) for carry in stage.carries]
        read = dict.fromkeys([*plan.read(stage.nodes), *handed])
        inputs = [source for source in read if source in self._moving]
        wanted = plan.read_outside(stage)
        fired = [p for p in stage.nodes if plan.loop.body[p].op == NEURON and plan.runner.recording]

        def step(before: list[Array], given: tuple[Array, list[Array]]) -> tuple[list[Array], Any]:
            number, arrays = given
            values: Values = dict(zip(inputs, arrays, strict=True))
            values.update({Carry(carry): v for carry, v in zip(stage.carries, before, strict=True)})
            made = [self._operate(place, values, number) for place in stage.nodes]
            after = [
                self._handed(carry, plan.get(values, new))
                for carry, new in zip(stage.carries, handed, strict=True)
            ]
            recorded = [outs[-1] for place, outs in zip(stage.nodes, made, strict=True) if place in fired]
            return after, ([values[source] for source in wanted], recorded)

        start = [self.starts[carry] for carry in stage.carries]
        arrays = [self._moving[source] for source in inputs]
        after, (made, recorded) = lax.scan(step, start, (self.first + jnp.arange(self.steps), arrays))
        self.ends.update(zip(stage.carries, after, strict=True))
        self._moving.update(zip(wanted, made, strict=True))
        self.recorded.update(zip(fired, recorded, strict=True))


def _is_of(source: Any, stage: Stage) -> bool:
    """Whether a source is made by a stage."""
    if isinstance(source, Carry):
        return source.index in stage.carries
    return isinstance(source, Local) and source.node in stage.nodes
