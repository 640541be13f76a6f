"""The run of a program in JAX: a pure function of its inputs."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from functools import partial
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
import numpy as np
from jax import lax

from snnax.errors import ArgumentError, ConversionError
from snnax.interop.program import operators
from snnax.interop.program.chained import chained
from snnax.interop.program.derivatives import DECREED, by_operations, pullback
from snnax.interop.program.draws import place_of
from snnax.interop.program.looping import LoopRun
from snnax.interop.program.neurons import Fired, ProgramNeuron
from snnax.interop.program.nodes import (
    NEURON,
    PULLBACK,
    Input,
    Leaf,
    Loop,
    Node,
    NoState,
    Program,
    Ref,
    Result,
    at,
    mapped,
)
from snnax.network.keeping import DEFAULT, Saving

Array = jax.Array
Get = Callable[[Any], Any]


@dataclass(frozen=True)
class Recorded:
    """What a neuron did.

    Attributes:
        input: what entered it, ``[T, B, ...]``.
        spk: the spikes that it would have emitted by itself.
        states: its states after each step.
        starts: those before each step, of a neuron that may start from others than its own last call left.
    """

    input: Array
    spk: Array
    states: dict[str, Array]
    starts: dict[str, Array]


class Entered(NamedTuple):
    """What a neuron got in one step, or in all of them: its input, and its states where they are recorded."""

    x: Array
    starts: dict[str, Array]


@dataclass(frozen=True)
class Ran:
    """What a run gives.

    Attributes:
        outputs: what the network returns, in its lists, tuples and dicts.
        updates: by name, what the states, buffers and parameters that it changes are after the call.
        recorded: what each neuron did, by its path; of a second use in the same step ``"path#2"``.
    """

    outputs: Any
    updates: dict[str, Any]
    recorded: dict[str, Recorded]


def run(
    program: Program,
    leaves: Sequence[Any],
    *,
    key: Array | None = None,
    record: bool = False,
    forced: Mapping[str, Array] | None = None,
    drawn: Mapping[str, Array] | None = None,
    apart: bool = False,
    saving: Saving = DEFAULT,
) -> Ran:
    """Run a program.

    Args:
        program: the program.
        leaves: an array for each of its inputs; ``None`` for the state of a neuron that has none.
        key: for what draws random numbers.
        record: keep what the neurons do.
        forced: spikes ``[T, B, ...]`` that neurons emit instead of their own, by their names in :class:`Ran`.
        drawn: instead of a key what is drawn, see :func:`~snnax.interop.program.draws.placed`.
        apart: each step of a loop does all of its operations itself, also those that are the same in all steps.
        saving: chunks of loops, and what their gradients keep.

    Raises:
        ArgumentError: it draws random numbers, and there is no key.
        ConversionError: an operation is not known in JAX.
    """
    runner = Runner(program, leaves, key, record, forced or {}, drawn or {}, apart, saving)
    for place, item in enumerate(program.items):
        runner.item(place, item)
    return Ran(mapped(program.outputs, runner.get), mapped(program.updates, runner.get), runner.recorded)


def batch_size(program: Program, leaves: Sequence[Any]) -> int:
    """The size of the batch of these inputs, which ``jax.export`` may leave open."""
    for leaf, axis in program.batch:
        size: int = np.shape(leaves[leaf.index])[axis]
        return size
    return program.size


class Runner:
    """One run.

    Attributes:
        batch: size of the batch.
        neurons: by path.
        forced, recording, apart, saving: see :func:`run`; of the memory each loop has its share.
        recorded: what neurons did so far.
        chained: the neurons whose states before each step are recorded.
    """

    def __init__(
        self,
        program: Program,
        leaves: Sequence[Any],
        key: Array | None,
        record: bool,
        forced: Mapping[str, Array],
        drawn: Mapping[str, Array],
        apart: bool = False,
        saving: Saving = DEFAULT,
    ) -> None:
        self.apart = apart
        if isinstance(saving.memory, float):
            saving = saving._replace(memory=saving.memory / max(len(program.loops), 1))
        self.saving = saving
        self.batch = batch_size(program, leaves)
        self.neurons = {path: ProgramNeuron(path, spec) for path, spec in program.neurons.items()}
        self.recording, self.forced = record, {name: jnp.asarray(spikes) for name, spikes in forced.items()}
        self.recorded: dict[str, Recorded] = {}
        self.chained = chained(program) if record else frozenset()
        self._done: dict[str, int] = {}  # how many steps a neuron has run, by its name in recordings
        self._drawn = {place: jnp.asarray(values) for place, values in drawn.items()}
        self._values: dict[Ref, Any] = {}
        self._key = key
        self._wide = any(value is not None and value.dtype == jnp.float64 for value in leaves)
        self._leaves = [
            self._at_rest(program.inputs[place]) if value is None else value
            for place, value in enumerate(leaves)
        ]

    def _at_rest(self, known: Input) -> Array | None:
        """A state that nobody has handed on yet: zeros, which a neuron that is one operation makes itself."""
        if known.name.rpartition(".")[0] in self.neurons:
            return None
        form = self.result(known.result)
        return jnp.zeros(form.shape, form.dtype)

    def get(self, source: Any) -> Any:
        """The value of a source outside of loops; literals stand for themselves."""
        if isinstance(source, Leaf):
            return self._leaves[source.index]
        if isinstance(source, Ref):
            return self._values[source]
        return None if isinstance(source, NoState) else at(source, self.batch)

    def item(self, place: int, item: Node | Loop) -> None:
        """Run an item and keep its outputs."""
        if isinstance(item, Loop):
            outputs = LoopRun(self, item, place).run()
        elif item.op == NEURON:
            outputs = self._neuron(item)
        elif self.apart and item.steps != 1:
            node = item

            def again(_: None, __: None) -> tuple[None, tuple[Any, ...]]:
                return None, self.operate(node, self.get, (place,))

            outputs = jax.tree.map(lambda v: v[-1], lax.scan(again, None, length=node.steps)[1])
        else:
            outputs = self.operate(item, self.get, (place,))
        self._values.update({Ref(place, out): value for out, value in enumerate(outputs)})

    def _neuron(self, node: Node) -> tuple[Any, ...]:
        """A neuron outside of loops: its calls there are steps of time, one after the other."""
        forced = self.dictated(node.path, 1)
        fired, entered = self.fire(node, self.get, None if forced is None else forced[0], node.path)
        if self.recording:
            self.record(node.path, *jax.tree.map(lambda value: value[None], (entered, fired)))
        return (fired.spk, *fired.states)

    def dictated(self, name: str, steps: int) -> Array | None:
        """What a neuron is to emit in its next ``steps`` steps, ``None`` for what it emits by itself."""
        done = self._done.get(name, 0)
        self._done[name] = done + steps
        return self.forced[name][done : done + steps] if name in self.forced else None

    def result(self, result: Result) -> jax.ShapeDtypeStruct:
        """Shape and type of an array in this run: in double precision if its inputs are."""
        known = result.at(self.batch)
        dtype = np.dtype(np.float64) if self._wide and known.dtype == np.float32 else known.dtype
        return jax.ShapeDtypeStruct(known.shape, jax.dtypes.canonicalize_dtype(dtype))

    def operate(self, node: Node, get: Get, places: Sequence[Any]) -> tuple[Any, ...]:
        """An operation that is no neuron; ``places`` tell its random numbers from those of others."""
        args, kwargs = mapped(node.args, get), mapped(node.kwargs, get)
        if node.op in DECREED:
            made = jnp.asarray(DECREED[node.op](*args), self.result(node.results[0]).dtype)
            return (made if node.gradient else lax.stop_gradient(made),)
        if node.op == PULLBACK:
            values, inputs, operations, ends = args
            derivative = partial(self._derivative, operations=operations, ends=ends)
            passed = pullback(values, inputs, derivative)
            return passed if node.gradient else jax.tree.map(lax.stop_gradient, passed)
        if node.function is not None:
            args = mapped(args, lambda value: _untrainable(node, value))
        try:
            if operators.is_random(node.op):
                outputs = self._random(node, args, kwargs, places)
            else:
                outputs = self._evaluated(node.op, args, kwargs, node.results, None)
        except ConversionError as error:
            raise ConversionError(error.node, error.problem, error.remedy, node.line) from error
        return (
            outputs
            if node.gradient or node.function is not None
            else jax.tree.map(lax.stop_gradient, outputs)
        )

    def _evaluated(
        self, op: str, args: Any, kwargs: dict[str, Any], results: Sequence[Result], key: Array | None
    ) -> tuple[Any, ...]:
        if self._wide and kwargs.get("dtype") == np.float32:
            kwargs = {**kwargs, "dtype": np.dtype(np.float64)}
        return operators.evaluate(op, args, kwargs, [self.result(result) for result in results], key)

    def _derivative(
        self,
        inputs: Sequence[Any],
        gradients: Sequence[Array],
        operations: Sequence[Any],
        ends: Sequence[Any],
    ) -> list[Any]:
        """The gradients of the inputs of a function, by the operations of its ``backward``."""

        def evaluate(op: str, args: Any, kwargs: Any, forms: Any) -> tuple[Any, ...]:
            results = [Result(tuple(form[0]), form[1]) for form in forms]
            return self._evaluated(op, args, kwargs, results, None)

        found = by_operations(inputs, gradients, operations, ends, evaluate)
        pairs = zip(found, inputs, strict=True)
        return [None if end is None else jnp.asarray(end, value.dtype) for end, value in pairs]

    def _random(
        self, node: Node, args: Any, kwargs: dict[str, Any], places: Sequence[Any]
    ) -> tuple[Any, ...]:
        """An operation that draws random numbers, from the key or as they were drawn elsewhere."""
        if self._drawn:
            values = self._drawn[place_of(places)]
            value = values[places[2]] if len(places) > 1 else values
            dtypes = [self.result(result).dtype for result in node.results]
            return operators.random.replayed(node.op, args, value, dtypes)
        if self._key is None:
            raise ArgumentError(
                f"the network draws random numbers ({node.op} at {node.line}) and got no key. Pass "
                "rngs={'draws': jax.random.key(0)}."
            )
        key = self._key
        for place in places:
            key = jax.random.fold_in(key, place)
        return self._evaluated(node.op, args, kwargs, node.results, key)

    def fire(self, node: Node, get: Get, forced: Array | None, name: str) -> tuple[Fired, Entered]:
        """One step of a neuron, by its name in recordings, and what it got."""
        x, states, parameters = neuron_arguments(node, get)
        fired = self.neurons[node.path].step(x, states, parameters, forced)
        starts = {
            state: jnp.broadcast_to(jnp.asarray(0 if value is None else value, after.dtype), after.shape)
            for (state, value), after in zip(states.items(), fired.states, strict=True)
        }
        return fired, self.entered(name, x, starts)

    def entered(self, name: str, x: Array, starts: dict[str, Array]) -> Entered:
        """What is recorded of what a neuron got."""
        return Entered(x, starts if name in self.chained else {})

    def record(self, name: str, entered: Entered, fired: Fired) -> None:
        """Keep what a neuron did over some steps, behind what it did in earlier ones."""
        states = self.neurons[name.partition("#")[0]].spec.family.fed_back
        new = Recorded(entered.x, fired.own, dict(zip(states, fired.states, strict=True)), entered.starts)
        old = self.recorded.get(name)
        if old is not None:
            joined = jax.tree.map(lambda a, b: jnp.concatenate([a, b]), vars(old), vars(new))
            new = Recorded(**joined)
        self.recorded[name] = new


def _untrainable(node: Node, value: Any) -> Any:
    """An input of a function that has a gradient of its own: to differentiate by it is refused."""
    if node.function is None:
        return value
    return guarded(
        value,
        ConversionError(
            node.path or "the network",
            f"{node.function.kind} defines a gradient of its own, which is not ported: {node.function.untraced}",
            "The network runs and is compared. To train it write that function with operations of torch.",
            node.line,
        ),
    )


def guarded(value: Any, refusal: ConversionError) -> Any:
    """The value, of which no derivative is taken: whoever asks for one gets the refusal."""
    if not jnp.issubdtype(getattr(value, "dtype", bool), jnp.inexact):
        return value

    @jax.custom_jvp
    def same(x: Array) -> Array:
        return x

    @same.defjvp
    def refuse(primals: Any, tangents: Any) -> Any:
        raise refusal

    return same(value)


def neuron_arguments(node: Node, get: Get) -> tuple[Array, dict[str, Array | None], dict[str, Array]]:
    """Input, states and parameters of a neuron."""
    x, states, parameters = mapped(node.args, get)
    return x, states, {name: value for name, value in parameters.items() if value is not None}
