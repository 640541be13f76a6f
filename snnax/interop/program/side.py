"""A ported program as one side of a cross-validation, and the comparison of two runs of one program.

The neurons of a program may run in loops of different length. Those of one length are compared together, as the layers
of one network are; what the network returns is compared with the longest.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, replace
from functools import partial
from typing import Any, NoReturn, Protocol

import flax.linen as nn
import jax
import jax.numpy as jnp
import numpy as np
from flax.traverse_util import flatten_dict

from snnax.errors import ArgumentError, ConversionError
from snnax.interop.compare import Report, compare
from snnax.interop.compare.bounds import Bounds
from snnax.interop.compare.evidence import Evidence
from snnax.interop.compare.provenance import Named, digests, versions
from snnax.interop.compare.run import compare_gradients, compare_outputs
from snnax.interop.numbers import plain
from snnax.interop.program.doubles import settled
from snnax.interop.program.draws import Drawn, is_random, placed
from snnax.interop.program.module import PortedProgram, given_to
from snnax.interop.program.nodes import NEURON, Leaf, Program, flat, mapped
from snnax.interop.program.telling import held
from snnax.interop.spec import NeuronSpec
from snnax.interop.trace import NodeTrace, Side, Trace, others
from snnax.network.unroll import unroll
from snnax.network.whole import WholeNetwork


class CallSide(Protocol):
    """A network that is called once, with arguments of its own."""

    label: str

    def call(self, arguments: Any, forced: Mapping[str, np.ndarray]) -> Trace:
        """Run; neurons in ``forced`` emit the spikes given there. Outputs are ``[1, B, ...]`` or ``[T, B, ...]``."""
        ...

    def gradients(self, arguments: Any) -> dict[str, np.ndarray]:
        """Gradients of the weighted sum of all that it returns, by torch's names of the parameters."""
        ...

    def draw(self, arguments: Any) -> Drawn | None:
        """What a run draws; ``None`` if that cannot be told."""
        ...

    def give(self, arguments: Any, drawn: Drawn) -> None:
        """Let all runs on these arguments draw that."""
        ...


class ProgramSide:
    """``(model, variables)`` of a program.

    Args:
        model: the module.
        variables: its variables.
        label: name in reports.
    """

    def __init__(self, model: PortedProgram, variables: Mapping[str, Any], label: str = "snnax") -> None:
        self.label = label
        self.model = model
        self.variables = nn.unbox(dict(variables))
        # every comparison starts from the same variables
        self._mutable = sorted({"buffers", *model.carried})
        self._chance: dict[str, Any] = {}  # keys; each side of two programs has the same
        if is_random(model.program):
            self._chance = {"rngs": {"draws": jax.random.key(0)}}

    def check(self, arguments: Any) -> None:
        """Refuse arguments that the network is not called with.

        Raises:
            ArgumentError: for arguments of another form, and what are no finite real numbers.
            ShapeError: for arrays that do not fit.
        """
        given = _tuple(arguments)
        steps = max((len(leaf) for leaf in jax.tree.leaves(given) if np.ndim(leaf)), default=0)
        given_to(self.model.over_time(max(steps, 1)).held, given, {}, _real)

    def floating(self, arguments: Any) -> Any:
        """The arguments with whole numbers as float32, as for a graph of layers, if it takes no others."""
        known = [
            self.model.program.inputs[e.index]
            for e in flat(self.model.program.arguments)
            if isinstance(e, Leaf)
        ]
        if not all(np.issubdtype(entry.result.dtype, np.floating) for entry in known):
            return arguments

        def single(value: Any) -> Any:
            whole = hasattr(value, "shape") and np.asarray(value).dtype.kind in "biu"
            return np.asarray(value).astype(np.float32) if whole else value

        return mapped(arguments, single)

    def draw(self, arguments: Any) -> None:
        """Not in torch's order."""

    def give(self, arguments: Any, drawn: Drawn) -> None:
        """Draw what torch drew."""
        self.variables = {**self.variables, "drawn": placed(self._program(arguments), drawn)}
        self._chance = {}

    def call(self, arguments: Any, forced: Mapping[str, np.ndarray]) -> Trace:
        """Run it in the precision of its input."""
        with jax.enable_x64(_precision(arguments) is np.float64):
            force = {name.replace(".", "/"): jnp.asarray(spikes) for name, spikes in forced.items()}
            given = in_precision(self.variables, _precision(arguments))
            outputs, updates, recorded = unroll(
                self.model,
                given,
                _tuple(arguments),
                record=True,
                force=force,
                mutable=[*self._mutable, "starts"],
                **self._chance,
            )
            starts = updates.get("starts", {})
            nodes = {
                name.replace("/", "."): self._trace(name, values, starts.get(name, {}))
                for name, values in recorded.items()
            }
            left = flatten_dict(updates.get("buffers", {}), sep=".")
            return Trace(
                nodes, outputs_of([outputs, [left[name] for name in moved_buffers(self.model.program)]])
            )

    def _trace(self, name: str, values: Mapping[str, Any], starts: Mapping[str, Any]) -> NodeTrace:
        arrays = {key: np.asarray(value) for key, value in values.items()}
        name = name.replace("/", ".")
        kind = self.model.program.neurons[name.partition("#")[0]].kind
        states = {key: value for key, value in arrays.items() if key not in ("input", "spk")}
        begun = others({key: np.asarray(value) for key, value in starts.items()}, states)
        return NodeTrace(name, kind, arrays["input"], arrays["spk"], states, begun)

    def tell(self, arguments: Any, trace: Trace, emitted: Mapping[str, np.ndarray]) -> Trace:
        """A recording of a run on these arguments, held to what the program makes of it.

        Args:
            arguments: of the call.
            trace: what the neurons did.
            emitted: the spikes that some of them were made to emit instead of their own.
        """
        if self._chance:  # from a key other numbers are drawn in another precision
            return trace
        model = self._over_time(arguments)

        def run(given: Any, rounded: bool, single: bool) -> Any:
            trees = {**self.variables, "told": {"of": given}}, _tuple(arguments)
            with jax.enable_x64(not single):
                if rounded:
                    trees = _cast(trees, np.float32)
                return jax.tree.map(
                    np.asarray, _told(model, *_cast(trees, np.float32 if single else np.float64))
                )

        return held(self._program(arguments), trace, emitted, run)

    def _over_time(self, arguments: Any) -> WholeNetwork:
        """The module that is called with these arguments: of a step, that for all steps of time."""
        steps = max((len(leaf) for leaf in jax.tree.leaves(_tuple(arguments)) if np.ndim(leaf)), default=0)
        return self.model.over_time(steps)

    def _program(self, arguments: Any) -> Program:
        """The program for as many steps of time as the arguments have."""
        return given_to(self._over_time(arguments).held, _tuple(arguments), {}, np.asarray)[1]

    def gradients(self, arguments: Any) -> dict[str, np.ndarray]:
        """By torch's names."""
        with jax.enable_x64(_precision(arguments) is np.float64):
            given = in_precision(self.variables, _precision(arguments))

            def loss(params: Any) -> jax.Array:
                outputs, _ = unroll(
                    self.model,
                    {**given, "params": params},
                    _tuple(arguments),
                    mutable=self._mutable,
                    **self._chance,
                )
                floats = [
                    y for y in jax.tree.leaves(outputs) if jnp.issubdtype(jnp.asarray(y).dtype, jnp.floating)
                ]
                return sum((jnp.sum(y * weights_like(y)) for y in floats), start=jnp.zeros(()))

            found = jax.grad(loss)(given.get("params", {}))
            return flatten_dict(jax.tree.map(np.asarray, found), sep=".")


def _real(value: Any) -> np.ndarray:
    """An argument as an array.

    Raises:
        ArgumentError: it is none of finite real numbers.
    """
    try:
        return plain("x", "", value)
    except ConversionError as error:
        raise ArgumentError(f"x {error.problem}; a comparison needs finite real input.") from error


def moved_buffers(program: Program) -> list[str]:
    """The buffers that a call leaves changed, as the running statistics of a normalisation in training."""
    return sorted(e.name for e in program.inputs if e.kind == "buffer" and e.name in program.updates)


def weights_like(values: Any) -> np.ndarray:
    """Weights of a sum of ``values``: a plain sum has no gradient behind a softmax or a normalisation."""
    shape = tuple(values.shape)
    return np.cos(np.arange(int(np.prod(shape)), dtype=np.float64)).astype(np.float32).reshape(shape)


def _tuple(arguments: Any) -> tuple[Any, ...]:
    return arguments if isinstance(arguments, tuple) else (arguments,)


def _precision(arguments: Any) -> type[np.floating[Any]]:
    """Double precision if one of the arguments is in it."""
    double = any(np.asarray(leaf).dtype == np.float64 for leaf in jax.tree.leaves(arguments))
    return np.float64 if double else np.float32


@partial(jax.jit, static_argnums=0)
def _told(model: WholeNetwork, variables: Any, arguments: tuple[Any, ...]) -> Any:
    return model.apply(variables, *arguments)


def _cast(tree: Any, dtype: Any) -> Any:
    """A tree with its floating arrays in another type; what that does not hold is infinite."""
    with np.errstate(over="ignore"):
        return jax.tree.map(
            lambda v: np.asarray(v, dtype) if np.issubdtype(np.asarray(v).dtype, np.floating) else v, tree
        )


def in_precision(variables: Any, dtype: Any) -> Any:
    """Variables with their floating arrays in another type."""

    def cast(value: Any) -> Any:
        return jnp.asarray(value, dtype) if jnp.issubdtype(jnp.asarray(value).dtype, jnp.floating) else value

    return jax.tree.map(cast, dict(variables))


def outputs_of(returned: Any) -> tuple[np.ndarray, ...]:
    """What a network returns as arrays with at least the axes of time and batch."""
    found = []
    for leaf in jax.tree.leaves(returned):
        array = np.asarray(leaf)
        floating = jnp.issubdtype(array.dtype, jnp.floating)  # bfloat16 too
        if floating or array.dtype.kind in "biu":
            array = array if floating else array.astype(np.float32)
            found.append(array.reshape((1,) * max(0, 2 - array.ndim) + array.shape))
    return tuple(found)


NO_GRAPH = "a program has no NIR form"

# --- Comparing ------------------------------------------------------------------------------------


@dataclass
class _Part(Side):
    """The neurons of one length of one side, as :func:`compare` takes a side."""

    side: CallSide
    program: Program
    arguments: Any
    whole: Trace
    names: frozenset[str]
    others: Mapping[str, np.ndarray]
    outputs: bool
    teller: ProgramSide | None = None
    label: str = ""

    def __post_init__(self) -> None:
        self.label = self.side.label

    def run(self, x: np.ndarray) -> Trace:
        return self._cut(self.whole)

    def replay(self, x: np.ndarray, forced: dict[str, np.ndarray]) -> Trace:
        return self._cut(called(self.side, self.teller, self.arguments, {**self.others, **forced}))

    def graph(self) -> NoReturn:
        raise ConversionError(self.label, NO_GRAPH, "The rounding errors of its currents are estimated")

    def spec(self, name: str) -> NeuronSpec | None:
        return spec_of(self.program, name)

    def gradients(self, x: np.ndarray) -> dict[str, np.ndarray]:
        return self.side.gradients(self.arguments)

    def _cut(self, trace: Trace) -> Trace:
        nodes = {name: node for name, node in trace.nodes.items() if name in self.names}
        return Trace(nodes, trace.outputs if self.outputs else ())


def _draw(a: CallSide, b: CallSide, program: Program, arguments: Any) -> list[str]:
    """Let both sides draw the same numbers, those of torch; what to say of it.

    Raises:
        ArgumentError: the port draws otherwise than the network does.
    """
    if not is_random(program):
        return []
    drawn = next((found for side in (a, b) if (found := side.draw(arguments)) is not None), None)
    if drawn is None:
        return ["random numbers: both sides draw from the same key"]
    for side in (a, b):
        side.give(arguments, drawn)
    return [f"random numbers: both sides are given what torch drew, {len(drawn)} times"]


def _outputs_alone(a: _Part, b: _Part, gradients: bool) -> Report:
    """The comparison of what two sides return."""
    first, second = a.whole, b.whole
    types = tuple(next(y.dtype for y in trace.outputs) for trace in (first, second))
    labels, x = (a.label, b.label), np.zeros((1, 1))
    bounds = Bounds(first, second, None, {})
    found = Evidence(labels, (a, b), x, first, second, second, None, (None, None), {}, {}, bounds)
    layers, notes = compare_outputs(found)
    return Report(
        labels=labels,
        dtype=" and ".join(dict.fromkeys(str(t) for t in types)),
        steps=1,
        layers=tuple(layers),
        gradients=compare_gradients(a, b, x, (types[0], types[1])) if gradients else (),
        gradients_judged=True,
        notes=(*notes, "none of its neurons is a known one, so only what it returns is compared"),
        pictures=(),
    )


def spec_of(program: Program, name: str) -> NeuronSpec | None:
    """A neuron as numbers and words; ``None`` if what it computes with is computed in the program."""
    path = name.partition("#")[0]
    node = next((n for n in program.nodes() if n.op == NEURON and n.path == path), None)
    if node is None or not all(_is_own(program, source, path) for source in flat(node.args[2])):
        return None
    return program.neurons[path]


def _is_own(program: Program, source: Any, path: str) -> bool:
    """Whether a number of a neuron is the one that it holds."""
    if isinstance(source, Leaf):
        return program.inputs[source.index].name.startswith(f"{path}.")
    return source is None


def _digests(arguments: Any, traces: tuple[Trace, Trace], labels: tuple[str, str]) -> Named:
    """Of the arguments of the call, not of the part that one comparison looked at."""
    arrays = [np.asarray(leaf) for leaf in jax.tree.leaves(arguments)]
    return digests(arrays, [(label, None, trace) for label, trace in zip(labels, traces, strict=True)])


def compare_calls(
    a: CallSide, b: CallSide, program: Program, arguments: Any, *, gradients: bool = False
) -> Report:
    """Compare two sides that run the same program on the same arguments; see :func:`~snnax.interop.crossvalidate`.

    Where none of its neurons is a known one, what it returns is compared. What differs behind a threshold that the
    network computes itself is explained if nothing differs in double precision.

    Raises:
        ArgumentError: they draw random numbers, and not the same ones.
    """
    said = _draw(a, b, program, arguments)

    def compared(given: Any) -> Report:
        return _compared(a, b, program, given, gradients)

    report = settled(compared(arguments), program, arguments, compared)
    return replace(report, notes=(*report.notes, *said))


def called(
    side: CallSide, teller: ProgramSide | None, arguments: Any, forced: Mapping[str, np.ndarray]
) -> Trace:
    """A run of a side, held to the program of ``teller`` where a bound on each neuron alone does not do."""
    trace = side.call(arguments, forced)
    return trace if teller is None else teller.tell(arguments, trace, forced)


def _compared(a: CallSide, b: CallSide, program: Program, arguments: Any, gradients: bool) -> Report:
    """One comparison, in the precision of the arguments."""
    teller = next((side for side in (a, b) if isinstance(side, ProgramSide)), None)
    first, second = (called(side, teller, arguments, {}) for side in (a, b))
    lengths = {name: len(node.spk) for name, node in first.nodes.items()}
    if not lengths:
        left, right = (
            _Part(side, program, arguments, trace, frozenset(), {}, True)
            for side, trace in ((a, first), (b, second))
        )
        report = _outputs_alone(left, right, gradients)
        return replace(
            report,
            digests=_digests(arguments, (first, second), report.labels),
            versions=versions(),
        )
    spikes = {name: node.spk for name, node in first.nodes.items()}
    reports = []
    longest = max(lengths.values())
    for steps in sorted(set(lengths.values()), reverse=True):
        names = frozenset(name for name, length in lengths.items() if length == steps)
        rest = {name: value for name, value in spikes.items() if name not in names}
        left, right = (
            _Part(side, program, arguments, trace, names, rest, steps == longest, teller)
            for side, trace in ((a, first), (b, second))
        )
        some = next(first.nodes[name] for name in names)
        x = np.zeros(some.spk.shape[:2], some.input.dtype)
        reports.append(compare(left, right, x, gradients=gradients and steps == longest))
    layers = {layer.name: layer for report in reports for layer in report.layers}
    order = [*lengths, *(name for name in layers if name not in lengths)]
    return replace(
        reports[0],
        layers=tuple(layers[name] for name in order),
        notes=tuple(dict.fromkeys(n for report in reports for n in report.notes if NO_GRAPH not in n)),
        pictures=tuple(picture for report in reports for picture in report.pictures),
        digests=_digests(arguments, (first, second), reports[0].labels),
    )
