"""A torch network as a program: traced on a sample, checked on others, its loops over time found."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, replace
from functools import partial
from threading import RLock
from typing import TYPE_CHECKING, Any

import numpy as np
import torch
from torch import Tensor, nn

from snnax.errors import ConversionError, SnnaxError
from snnax.interop.findings import Findings
from snnax.interop.frameworks import adapter_of
from snnax.interop.program.aligning import CALLS, VALUES, align, depends, sized, steers, unlike
from snnax.interop.program.cleaning import clean
from snnax.interop.program.folding import fold
from snnax.interop.program.lengths import Fixed, difference, template
from snnax.interop.program.masks import unmasked
from snnax.interop.program.nodes import Input, Leaf, Note, Program, dataclasses_as_tuples, mapped
from snnax.interop.torch.declared import line_of_draws, line_of_module, line_of_return
from snnax.interop.torch.dispatch import Dispatcher, Longer, steering_lines
from snnax.interop.torch.frames import line_of
from snnax.interop.torch.handing import HandedStates
from snnax.interop.torch.held import own_tensors
from snnax.interop.torch.leaves import Leaves, value_of
from snnax.interop.torch.own_gradients import OwnGradients
from snnax.interop.torch.prepare import check_mode, copy_net, eager, in_training, threads_for, unwrap
from snnax.interop.torch.reached import Draws, chance, note_lengths
from snnax.interop.torch.repeats import Watch, check_hooks, kept_from_call_to_call, untouched
from snnax.interop.torch.rules import numbers_beyond
from snnax.interop.torch.samples import Sample
from snnax.interop.torch.scalars import Scalar, Scalars
from snnax.interop.torch.watching import Watching, freeze, known_neurons, restart

if TYPE_CHECKING:
    from snnax.interop.frameworks.adapter import Adapter

_ONE_AT_A_TIME = RLock()
_MORE = 2  # steps of time, to see what follows them; and then of others, since what follows need not do so in a line:
_LONG = 64  # of so many at most, of more than twice as many; of more, which take their time, of half of them
_FEW = 6  # and of so few, which are a loop still
_PEELED = 2  # steps before a loop that may be of another kind
_ONCE = "Let every call of forward do the same: reset states at its start, and keep schedules and counters outside."


def trace_program(
    net: nn.Module,
    args: tuple[Any, ...],
    kwargs: Mapping[str, Any] | None = None,
    adapter: Adapter | None = None,
    *,
    steady: bool = False,
    findings: Findings | None = None,
    refused: Callable[[Program], Iterable[ConversionError]] = lambda _: (),
    training: bool = False,
) -> Program:
    """What ``net(*args, **kwargs)`` computes, as data flow.

    The call is traced on copies of the network: once on the sample; again right after it, since it must not depend on
    what an earlier call left; once for each line where Python reads a value, with another value there, since what runs
    must not depend on it; on a sample of other values with one more in the batch, to see what follows its size; and on
    some with more and with fewer steps of time, to see whether there may be any number of them. Gradients are on, as in
    training.

    One network is traced at a time: torch's random generator, which is put back, and what a framework keeps of all its
    neurons are those of the process. Kept alive are the copies and the constants; activations go as soon as the network
    lets go of them.

    Args:
        net: a torch module, in evaluation mode. It stays as it is.
        args: its arguments by position, torch, NumPy or JAX arrays, in any lists, tuples and dicts; an array of no size
            stands for a neuron's state.
        kwargs: its arguments by name.
        adapter: the framework of its neurons; found from its modules by default.
        steady: refuse it also if a call leaves other numbers in parameters and buffers than it found.
        findings: what stands in the way as far as it is known: it is told together with what is found here.
        refused: says what else of a program is refused.
        training: layers may be in training mode, and are ported so: dropout draws, and batch normalisations take the
            statistics of the batch and keep them.

    Returns:
        The program. Numbers among the arguments are as they were given: the program is for these.

    Raises:
        ConversionError: what runs depends on the data, on earlier calls, or is no data flow; names all of it, with
            the lines.
        TrainingModeError: a layer is in training mode.

    Example:
        >>> import torch, snntorch as snn
        >>> from snnax.interop.torch.programs import trace_program
        >>> net = torch.nn.Sequential(torch.nn.Linear(3, 2), snn.Leaky(beta=0.9, init_hidden=True))
        >>> program = trace_program(net, (torch.ones(4, 3),))
        >>> [node.op for node in program.items], program.batch
        (['permute', 'addmm', 'neuron'], [(Leaf(index=0), 0)])
        >>> program.updates
        {'1.mem': Ref(node=2, out=1)}
    """
    net = unwrap(net)
    findings = Findings(partial(line_of_module, net)) if findings is None else findings
    modes = in_training(net) if training else ()
    evaluating = True
    with findings.going_on():
        check_mode(net, modes)
        evaluating = False
    with findings.going_on():
        check_hooks(net)
    tracing = _Tracing(net, adapter or adapter_of(net), findings, evaluating=evaluating)
    sample = Sample.of(net, args, kwargs or {})
    with findings.going_on(), _ONE_AT_A_TIME, untouched(net), threads_for(sample.tensors):
        program = tracing.checked(sample, steady, refused)
        if not findings:
            program = tracing.folded(program, sample)
    findings.check()
    return replace(_with_values(program, net), training=modes)


class _GoesOn(Exception):
    """A second call goes on from where the first one has left neurons that are looked into."""


@dataclass(frozen=True)
class _Traced:
    """One trace.

    Attributes:
        program: cleaned.
        calls: of neurons, in order: path and shape of a step's input.
        length: how many operations it had before it was cleaned.
        reads: lines where Python read values that depend on the sample, and which.
    """

    program: Program
    calls: list[tuple[str, tuple[int, ...]]]
    length: int
    reads: Mapping[str, list[Any]]


class _Tracing:
    """Traces one network, again and again.

    Args:
        net: the user's.
        adapter: its framework.
        findings: what stands in the way; more is added.
        evaluating: its mode is refused, and what else there is is looked for in the other one.
    """

    def __init__(self, net: nn.Module, adapter: Adapter, findings: Findings, *, evaluating: bool) -> None:
        self._net = net
        self._adapter = adapter
        self._findings = findings
        self._evaluating = evaluating
        self._label = type(net).__name__
        self._draws = Draws()
        self._neurons = known_neurons(net, adapter)
        self._trained = frozenset(name for name, p in net.named_parameters() if p.requires_grad)
        self._handing: list[str] = []  # neurons that hand their states on

    def checked(
        self, sample: Sample, steady: bool, refused: Callable[[Program], Iterable[ConversionError]]
    ) -> Program:
        """The program of a call that other calls agree with; where one does not, that is among the findings.

        Neurons that are looked into, and that the next call finds as this one left them, hand their states on: a call
        is one step then.

        Raises:
            ConversionError: the call itself came to no end.
        """
        try:
            return self._checked(sample, steady, refused)
        except _GoesOn:
            return self._checked(sample, steady, refused)

    def _checked(
        self, sample: Sample, steady: bool, refused: Callable[[Program], Iterable[ConversionError]]
    ) -> Program:
        copy = self._copy()
        note_lengths(copy.net)
        held = {id(tensor) for module in copy.net.modules() for _, tensor in own_tensors(module)}
        drawn = chance()[:3]
        first = self._trace(copy, sample, first=True)
        drew = chance()[:3] != drawn
        if drew:
            problem = "its forward draws random numbers in Python, so that each call computes something else"
            where = line_of_draws(self._net)
            self._findings.add([ConversionError(self._label, problem, self._adapter.words.random, where)])
        self._findings.add(refused(first.program))
        watch = Watch(copy.net, self._adapter, lambda tensors: [t for t in tensors if id(t) not in held])
        neurons = self._adapter.neurons(copy.net)
        known = neurons if self._adapter.starts_anew else {name: neurons[name] for name in self._neurons}
        restart(known, self._adapter, copy.net)
        if not self._repeated(copy, first, watch, sample, steady):
            return first.program
        notes, steering = self._guards(first, sample)
        if any(isinstance(value, list | np.ndarray) for values in steering.values() for value in values):
            return first.program  # of other sizes in another batch
        try:
            program = self._aligned(first, sample, steering)
        except ConversionError as error:
            blamed = self._findings.lines  # which are known to do what cannot be followed
            if error.line not in blamed and (error.line or not drew):
                self._findings.add([error])
            return first.program
        if self._findings:
            return program
        program = self._with_fewest(program, sample)
        return replace(program, notes=[*program.notes, *notes])

    def folded(self, program: Program, sample: Sample) -> Program:
        """With its loops over time, and for any number of steps if it is the same for others."""
        return self._of_any_length(fold(program), sample)

    def _repeated(self, copy: Watching, first: _Traced, watch: Watch, sample: Sample, steady: bool) -> bool:
        """Call a copy again; what it does otherwise is among the findings. False if a new copy does so too."""
        problem: ConversionError | None = None
        remembered: list[ConversionError] = []
        try:
            again = self._trace(copy, sample).program
        except ConversionError as error:
            problem = error.apart()[-1]
        else:
            problem = unlike(first.program, again, self._label, CALLS)
            known = {entry.name for entry in first.program.inputs}
            left = [
                entry.name for entry in again.inputs if entry.kind == "constant" and entry.name not in known
            ]
            remembered = [kept_from_call_to_call(copy.net, name) for name in left if name]
        changed = [*watch.problems(tensors=steady)]
        if problem is None:
            self._findings.add(changed)
            return True
        if not self._handing and not self._adapter.starts_anew:
            others = {
                name: n for name, n in self._adapter.neurons(self._net).items() if name not in self._neurons
            }
            self._handing = [name for name, neuron in others.items() if self._adapter.states(neuron)]
            if self._handing:
                raise _GoesOn
        vague = ConversionError(
            self._label, f"a second call computes something else: {problem.problem}", _ONCE, problem.line
        )
        self._findings.add([*remembered, *changed] or [vague])
        return unlike(first.program, self._trace(self._copy(), sample).program, self._label) is None

    # --- Traces

    def _copy(self) -> Watching:
        twin = copy_net(self._net)
        if self._evaluating:
            twin.eval()
        freeze(twin)
        restart(self._adapter.neurons(twin), self._adapter, twin)
        self._adapter.opened(twin)
        return Watching(twin, self._adapter, frozenset(self._neurons))

    def _trace(
        self,
        copy: Watching,
        sample: Sample,
        *,
        first: bool = False,
        forced: Mapping[str, int] | None = None,
        replayed: Mapping[str, Sequence[Any]] | None = None,
        limit: int | None = None,
    ) -> _Traced:
        """One call of a copy; what ``forward`` itself raises is reported with its line.

        Args:
            copy: of the network.
            sample: its arguments.
            first: what is refused is among the findings, and the call goes on; else all that is new is raised.
            forced: see :class:`~snnax.interop.torch.dispatch.Dispatcher`.
            replayed: see there.
            limit: see there.
        """
        leaves = Leaves(copy.net, self._net, self._trained)
        dispatcher = Dispatcher(self._label, leaves.other, forced, limit, self._adapter.surrogate, replayed)
        tensors = [tensor.clone() for tensor in sample.tensors]
        marks: list[Any] = []
        for tensor, name in zip(tensors, sample.names, strict=True):
            marks.append(leaves.argument(tensor, name))
            dispatcher.values.bind(tensor, marks[-1])
        copy.begin(dispatcher, leaves)
        before = {id(b) for b in copy.net.buffers()}
        args, kwargs = sample.having(tensors)
        with self._running(copy.net, dispatcher, leaves.inputs):
            states = HandedStates(copy, self._handing) if self._handing else None
            if states is not None:
                states.rest(sample, dispatcher, leaves)
                before = {id(b) for b in copy.net.buffers()}
            result = copy.net(*args, **kwargs)
            outputs = mapped(dataclasses_as_tuples(result), lambda entry: self._output(dispatcher, entry))
            updates = {**self._written(copy, dispatcher, before), **copy.ends()}
            if states is not None:
                updates |= states.ends(result, self._label)
        if first:
            self._findings.add(dispatcher.problems)
        elif new := [problem for problem in dispatcher.problems if problem not in self._findings]:
            raise ConversionError.joined(new)
        trace = Program(
            leaves.inputs, [], outputs, sample.having(marks), updates, [], 1, self._neurons, dispatcher.notes
        )
        reads = {line: dispatcher.reads[line] for line in steering_lines(dispatcher.nodes, leaves.inputs)}
        return _Traced(unmasked(clean(trace, dispatcher.nodes)), copy.calls, len(dispatcher.nodes), reads)

    @contextmanager
    def _running(self, twin: nn.Module, dispatcher: Dispatcher, inputs: list[Input]) -> Iterator[None]:
        neurons = self._adapter.neurons(twin)
        try:
            with (
                eager(),
                _layers_in_steps(twin),
                torch.enable_grad(),
                torch.random.fork_rng(devices=[]),
                self._draws.same(),
                self._adapter.alone(neurons),
                dispatcher,
                Scalars(dispatcher),
                OwnGradients(dispatcher, inputs, self._adapter.surrogate),
            ):
                yield
        except ConversionError as error:
            raise ConversionError.joined([*dispatcher.problems, error]) from error.__cause__
        except (SnnaxError, Longer):
            raise
        except Exception as error:
            problem = f"its forward raised {type(error).__name__}: {error}"
            remedy = "Pass a sample for which net(sample) runs."
            raised = ConversionError(self._label, problem, remedy, line_of(error))
            raised.__cause__ = error
            raise ConversionError.joined([*dispatcher.problems, raised]) from error

    def _output(self, dispatcher: Dispatcher, entry: Any) -> Any:
        """What ``forward`` returns, or a part of it."""
        if isinstance(entry, Scalar):
            entry = entry.tensor
        if isinstance(entry, Tensor):
            return dispatcher.read(entry)
        if entry is None or isinstance(entry, bool | int | float | str):
            return entry
        kind = type(entry).__name__
        dispatcher.problems.append(
            ConversionError(
                self._label,
                f"its forward returns a {kind}",
                self._adapter.words.results,
                line_of_return(self._net),
            )
        )
        return None

    def _written(self, copy: Watching, dispatcher: Dispatcher, before: set[int]) -> dict[str, Any]:
        """Parameters and buffers that the call changed, by name; states of neurons are apart."""
        found = {name: memory.value for name, memory in dispatcher.values.written.items()}
        passing: set[str] = set()
        for path, module in copy.net.named_modules():
            own = self._adapter.passing(module) if self._adapter.is_neuron(module) else frozenset()
            passing.update(f"{path}.{name}".lstrip(".") for name in own)
        for name, buffer in copy.net.named_buffers():
            if id(buffer) not in before and name not in passing:
                found[name] = dispatcher.read(buffer)
        return {name: value for name, value in found.items() if name not in passing}

    # --- Checks

    def _guards(self, first: _Traced, sample: Sample) -> tuple[list[Note], dict[str, list[Any]]]:
        """Let Python read other values, line by line. Nothing may come of it but an error.

        Returns:
            Notes of such errors; and of the lines where something else came of it, which are findings, what was read.
        """
        notes: list[Note] = []
        steering: dict[str, list[Any]] = {}
        for line, values in first.reads.items():
            try:
                # an error may be the end of a loop that is left too early: then only later values are others
                for start in dict.fromkeys((0, len(values) // 2, len(values) - 1)):
                    raised = self._forced(first, sample, line, start)
                    if not raised:
                        break
            except ConversionError as error:
                self._findings.add([error])
                steering[line] = values
                continue
            if raised:
                notes.append(Note("guard", f"another value there raises: {raised}", line))
        return notes, steering

    def _forced(self, first: _Traced, sample: Sample, line: str, start: int) -> str:
        """The error that is raised if Python reads other values at a line; none if they do not matter.

        Raises:
            ConversionError: the network computes something else then.
        """
        limit = 2 * first.length + 1000
        try:
            forced = self._trace(self._copy(), sample, forced={line: start}, limit=limit)
            problem = unlike(first.program, forced.program, self._label, VALUES)
        except Longer:
            problem = depends(self._label, "it runs on and on", line)
        except ConversionError as error:
            return error.apart()[-1].problem
        except SnnaxError as error:
            return str(error)
        if problem is not None:
            raise steers(self._label, problem.problem, line)
        return ""

    def _aligned(
        self, first: _Traced, sample: Sample, replayed: Mapping[str, Sequence[Any]] | None = None
    ) -> Program:
        """The program with what follows the batch, from a second sample with one more in it.

        ``replayed`` are values of the first that Python is to find again: what comes of others is known.
        """
        tensors = sample.tensors
        seen = first.calls[0][1][0] if first.calls and first.calls[0][1] else None
        errors = []
        for axes in sample.batches(seen):
            batch = [(Leaf(i), axis) for i, axis in enumerate(axes) if axis is not None]
            sizes = {tensors[leaf.index].shape[axis] for leaf, axis in batch}
            size = min(sizes)
            try:
                second = self._trace(self._copy(), sample.varied(axes), replayed=replayed)
            except SnnaxError:
                continue  # an axis that is none of the batch
            if len(sizes) > 1 or not _grew(first.calls, second.calls, size):
                continue
            pair = (replace(first.program, size=size), replace(second.program, size=size + 1))
            try:
                found = replace(align(*pair, self._label), batch=batch)
            except ConversionError as error:
                errors.append(error)
                continue
            problem = None if replayed else self._otherwise(found, sample, axes)
            if problem is None:
                return found
            errors.append(problem)
        second = self._trace(self._copy(), sample.varied(), replayed=replayed)
        try:
            found = align(first.program, replace(second.program, size=first.program.size), self._label)
        except ConversionError as error:
            raise (errors or [error])[0] from error
        text = f"it runs for samples of {[tuple(t.shape) for t in tensors]} only"
        why = f": {errors[0].problem}" if errors else ""
        fixed = Note("batch", text + why, errors[0].line if errors else "")
        return replace(found, notes=[*found.notes, fixed])

    def _otherwise(
        self, program: Program, sample: Sample, axes: tuple[int | None, ...]
    ) -> ConversionError | None:
        """How a batch of quite another size differs from what the program says of it; None if in nothing.

        Any two sizes are in a line: ``batch // 2`` and ``min(batch, 4)`` are seen only in a third one.
        """
        more = program.size + 1 if program.size <= _LONG else -(program.size // 2)
        third = sample.longer(axes, more)
        size = program.size + more
        names = (f"for a batch of {size} by those of {program.size} and {program.size + 1}", "and in truth")
        try:
            traced = self._trace(self._copy(), third)
            return unlike(sized(program, size), replace(traced.program, size=size), self._label, names)
        except ConversionError as error:
            return error.apart()[-1]
        except SnnaxError as error:
            return ConversionError(self._label, str(error), "Pass a sample for which net(sample) runs.")

    def _with_fewest(self, program: Program, sample: Sample) -> Program:
        """The program with the least batch that it is for: one of one sample may be another, as after ``squeeze()``."""
        axes = {leaf.index: axis for leaf, axis in program.batch}
        found = program
        for size in (1, 2):
            if not axes or size >= program.size:
                break
            problem: SnnaxError | None
            try:
                few = self._trace(
                    self._copy(), sample.shorter(tuple(map(axes.get, range(len(sample.names)))), size)
                )
                problem = unlike(sized(program, size), replace(few.program, size=size), self._label)
            except SnnaxError as error:
                problem = error
            if problem is None:
                break
            text = f"with a batch of {size}, {getattr(problem, 'problem', problem)}"
            note = Note("fewer", text, getattr(problem, "line", ""))
            least = 2 if size == 1 else program.size
            found = replace(program, fewest=least, notes=[*program.notes, note])
        return found

    def _of_any_length(self, program: Program, sample: Sample) -> Program:
        """The program with what follows the number of steps, from samples with some more of them."""
        lengths = {loop.steps for loop in program.loops}
        sizes = tuple(dict.fromkeys(steps + peeled for peeled in range(_PEELED + 1) for steps in lengths))
        batch = {leaf.index: axis for leaf, axis in program.batch}
        notes: list[Note] = []
        for size, axes in sample.times(sizes, batch):
            try:
                found = self._template(program, sample, size, axes, _MORE)
                if found is not None:
                    far = size + 1 if size <= _LONG else -(size // 2)
                    third = self._template(program, sample, size, axes, far)
                    problem = None if third is None else difference(found, third)
                    if problem is not None:
                        raise problem
            except Fixed as error:
                notes.append(Note("steps", error.text, error.line))
            except SnnaxError as error:  # an axis that is none of time, or of this length only
                if size in lengths:
                    text = f"with a sample of more than {size}, {getattr(error, 'problem', error)}"
                    notes.append(Note("steps", text, getattr(error, "line", "")))
            else:
                if found is not None:
                    time = [(Leaf(i), axis) for i, axis in enumerate(axes) if axis is not None]
                    least = 1 if self._is_so_for_few(program, found, sample, size, axes) else size
                    most = self._most(program, found, sample, size, axes)
                    return replace(program, time=time, least=least, most=most, template=found)
        return replace(program, notes=[*program.notes, *notes[:1]])

    def _most(
        self, program: Program, found: Program, sample: Sample, size: int, axes: tuple[int | None, ...]
    ) -> int | None:
        """The most steps that are known to be the same program, where a number in the user's code is a rule on them."""
        for number in numbers_beyond(self._net, size, sum(len(loop.body) for loop in program.loops)):
            try:
                other = self._template(program, sample, size, axes, number + 2 - size)
                if other is None or difference(found, other) is not None:
                    return number
            except (Fixed, SnnaxError):
                return number
        return None

    def _is_so_for_few(
        self, program: Program, found: Program, sample: Sample, size: int, axes: tuple[int | None, ...]
    ) -> bool:
        """Whether fewer steps than the sample has are the same program too; of few steps nobody asks."""
        if size < _MORE + _FEW:
            return True
        try:
            short = self._template(program, sample, size, axes, _FEW - size)
        except (Fixed, SnnaxError):
            return False
        return short is not None and difference(found, short) is None

    def _template(
        self, program: Program, sample: Sample, size: int, axes: tuple[int | None, ...], more: int
    ) -> Program | None:
        """The program for any number of steps, by a sample with some more or less; None if no loop is longer then."""
        longer = sample.longer(axes, more)
        traced = self._trace(self._copy(), longer)
        folded = fold(traced.program)
        if sum(loop.steps for loop in folded.loops) == sum(loop.steps for loop in program.loops):
            return None
        try:
            return template(program, folded, (size, size + more))
        except Fixed:  # perhaps for what follows both the steps and the batch
            return template(program, fold(self._aligned(traced, longer)), (size, size + more))


@contextmanager
def _layers_in_steps(net: nn.Module) -> Iterator[None]:
    """Let torch compute an LSTM step by step: else all of it is one operation, which is known nowhere else."""
    enabled = torch._C._get_mkldnn_enabled()
    changed = enabled and any(isinstance(module, nn.RNNBase) for module in net.modules())
    try:
        if changed:
            torch._C._set_mkldnn_enabled(False)
        yield
    finally:
        if changed:
            torch._C._set_mkldnn_enabled(True)


def _grew(
    calls: list[tuple[str, tuple[int, ...]]], more: list[tuple[str, tuple[int, ...]]], size: int
) -> bool:
    """True if the first axis of each neuron's input grew by one in ``size``, and no other."""
    return [path for path, _ in calls] == [path for path, _ in more] and all(
        a[1:] == b[1:] and a[:1] != b[:1] and b[0] * size == a[0] * (size + 1)
        for (_, a), (_, b) in zip(calls, more, strict=True)
    )


def _with_values(program: Program, net: nn.Module) -> Program:
    """The program with the values of the user's parameters and buffers."""
    tensors = {**dict(net.named_parameters()), **dict(net.named_buffers())}
    inputs = [
        replace(entry, value=value_of(tensors[entry.name]))
        if entry.kind in ("parameter", "buffer") and entry.name in tensors
        else entry
        for entry in program.inputs
    ]
    return replace(program, inputs=inputs)
