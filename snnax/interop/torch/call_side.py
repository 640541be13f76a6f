"""A torch network, called once as the user calls it, as one side of a cross-validation."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from contextlib import nullcontext
from typing import TYPE_CHECKING, Any

import numpy as np
import torch
from torch import Tensor, nn

from snnax.errors import ArgumentError, ConversionError, SnnaxError
from snnax.interop.program.chained import neuron_names
from snnax.interop.program.draws import Drawn
from snnax.interop.program.nodes import Loop, Program, dataclasses_as_tuples, filled, flat, mapped
from snnax.interop.program.repeating import is_step
from snnax.interop.program.side import moved_buffers, outputs_of, weights_like
from snnax.interop.torch.calls import is_array
from snnax.interop.torch.draws import Draws
from snnax.interop.torch.observers import Observer, array
from snnax.interop.torch.prepare import check_mode, gradients_of, isolated, reset_copy, unwrap
from snnax.interop.trace import Trace

if TYPE_CHECKING:
    from snnax.interop.frameworks.adapter import Adapter


class CalledTorch:
    """A torch network whose ``forward`` is the program that was traced of it.

    Args:
        net: the user's network; each run works on a copy of it, from the reset state.
        program: its program.
        adapter: its framework.
    """

    def __init__(self, net: nn.Module, program: Program, adapter: Adapter) -> None:
        self.label = adapter.label
        self._net, self._program, self._adapter = unwrap(net), program, adapter
        self._drawn: Drawn | None = None

    def draw(self, arguments: Any) -> Drawn | None:
        """What one call draws."""
        recorded = Draws()
        self._run(arguments, {}, recorded)
        return recorded.drawn

    def give(self, arguments: Any, drawn: Drawn) -> None:
        """Draw that in each call."""
        self._drawn = drawn

    def _chance(self) -> Draws | nullcontext[None]:
        return nullcontext() if self._drawn is None else Draws(self._drawn)

    def call(self, arguments: Any, forced: Mapping[str, np.ndarray]) -> Trace:
        """Run it in the precision of its input, and record the neurons that the program has."""
        return self._run(arguments, forced, self._chance())

    def _run(self, arguments: Any, forced: Mapping[str, np.ndarray], chance: Any) -> Trace:
        check_mode(self._net, self._program.training)
        given, dtype = _tensors(arguments)
        twin, neurons = reset_copy(self._net, self._adapter, dtype)
        uses = {path: self._uses(path, forced, dtype) for path in self._program.neurons if path in neurons}
        for path, records in uses.items():
            self._tap(path, neurons[path], records)
        with isolated(self._adapter, neurons, dtype), chance:
            returned = self._tried(twin, given)
        found = [record for records in uses.values() for record in records if record.spikes]
        for record in found:
            record.num_steps = len(record.spikes)
        order = {name: place for place, name in enumerate(_names(self._program))}
        found.sort(key=lambda record: order[record.name])
        nodes = {record.name: record.trace() for record in found}
        buffers = dict(twin.named_buffers())
        left = [buffers[name] for name in moved_buffers(self._program)]
        return Trace(nodes, outputs_of(mapped([returned, left], _array)))

    def gradients(self, arguments: Any) -> dict[str, np.ndarray]:
        """Of a weighted sum of all that it returns, by the parameters' names; zeros where nothing depends on one."""
        given, dtype = _tensors(arguments)
        twin, neurons = reset_copy(self._net, self._adapter, dtype)
        with isolated(self._adapter, neurons, dtype), torch.enable_grad(), self._chance():
            total = torch.zeros((), dtype=dtype)
            for value in flat(self._tried(twin, given)):
                if isinstance(value, Tensor) and value.is_floating_point():
                    total = total + (value * torch.from_numpy(weights_like(value)).to(value.dtype)).sum()
            if total.requires_grad:
                _differentiate(total, self._net)
        known = {source.name for source in self._program.inputs if source.trained}
        return {name: gradient for name, gradient in gradients_of(twin).items() if name in known}

    def _tried(self, twin: nn.Module, given: tuple[Any, ...]) -> Any:
        """What it returns.

        Raises:
            ArgumentError: it cannot be called with these arguments, which are those of the program.
        """
        try:
            return self._returned(twin, given)
        except SnnaxError:
            raise
        except Exception as error:  # forward is the user's, and raises what it likes
            of = ", ".join(
                f"{str(v.dtype).removeprefix('torch.')}{list(v.shape)}" for v in flat(given) if is_array(v)
            )
            raise ArgumentError(
                f"{self.label}'s {type(self._net).__name__} was given {of}, which the program that it is compared with "
                f"takes, and failed: {type(error).__name__}: {error}. Pass the network that was ported, or port this "
                f"one: crossvalidate(net, interop.{self._adapter.words.source}(net, sample), x). Tensors that "
                "forward reads are best parameters or buffers of net, which follow the precision of x."
            ) from error

    def _returned(self, twin: nn.Module, given: tuple[Any, ...]) -> Any:
        """What it returns; where a call is one step of time, of each frame of what it is given, stacked."""
        if not is_step(self._program):
            return _sorted(self._adapter.call(twin, given))
        frames = len(next(value for value in flat(given) if isinstance(value, Tensor)))
        rows = []
        for t in range(frames):
            rows.append(_sorted(self._adapter.call(twin, _frame(given, t))))
        columns = zip(*(flat(row) for row in rows), strict=True)
        stacked = [torch.stack(column) if isinstance(column[0], Tensor) else column[0] for column in columns]
        return filled(rows[0], stacked)

    def _uses(self, path: str, forced: Mapping[str, np.ndarray], dtype: torch.dtype) -> list[Observer]:
        """A record for each use of a neuron in one step, named as the program's run names them."""
        records = []
        for name in _names(self._program):
            if name.partition("#")[0] == path:
                record = Observer(name, keeps_starts=True)
                record.kind = self._program.neurons[path].kind
                if name in forced:
                    record.forced = torch.from_numpy(np.array(forced[name])).to(dtype)
                    record.num_steps = len(forced[name])
                records.append(record)
        return records

    def _tap(self, path: str, module: nn.Module, records: list[Observer]) -> None:
        if self._adapter.is_sequence(module):
            self._adapter.tap_sequence(module, records[0])
            return
        order, calls = _uses_in_order(self._program, path, [record.name for record in records]), 0

        def handler(x: Tensor, before: Any, run: Callable[[], Any]) -> Any:
            nonlocal calls
            record = records[order[calls] if calls < len(order) else calls % len(records)]
            calls += 1
            return record.observe(len(record.spikes), x, before, run)

        self._adapter.tap(path, module, handler)


def _names(program: Program) -> list[str]:
    """Names of the neurons in recordings, in the order in which a step runs them."""
    steps = [item.body if isinstance(item, Loop) else [item] for item in program.items]
    return list(dict.fromkeys(name for step in steps for name in neuron_names(step).values()))


def _uses_in_order(program: Program, path: str, names: list[str]) -> list[int]:
    """Which use of a neuron each of its calls is; nothing where one step is as the other, however many there are."""
    found: list[list[int]] = []
    for item in program.items:
        body = item.body if isinstance(item, Loop) else [item]
        uses = [names.index(n) for at, n in neuron_names(body).items() if body[at].path == path]
        if uses:
            found.append(uses * (item.steps if isinstance(item, Loop) else 1))
    return [use for uses in found for use in uses] if len(found) > 1 and not program.time else []


def _tensors(arguments: Any) -> tuple[tuple[Any, ...], torch.dtype]:
    """The arguments with tensors in place of arrays, and their precision."""
    found: list[torch.dtype] = []

    def tensor(value: Any) -> Any:
        if not is_array(value):
            return value
        made = value.detach().clone() if isinstance(value, Tensor) else torch.from_numpy(np.array(value))
        if made.is_floating_point():
            found.append(made.dtype)
        return made

    given = mapped(arguments if isinstance(arguments, tuple) else (arguments,), tensor)
    return given, torch.float64 if torch.float64 in found else torch.float32


def _differentiate(total: Tensor, net: nn.Module) -> None:
    """Gradients of a sum.

    Raises:
        ConversionError: torch has none.
    """
    try:
        total.backward()
    except RuntimeError as error:
        problem = f"torch fails to differentiate it: {error}"
        remedy = "Compare it with gradients=False, or put that operation right."
        raise ConversionError(type(net).__name__, problem, remedy) from error


def _frame(given: Any, step: int) -> Any:
    """What one step gets of arguments over time."""
    return mapped(given, lambda value: value[step] if isinstance(value, Tensor) else value)


def _sorted(tree: Any) -> Any:
    """What ``forward`` returned, keys of dicts in the order in which JAX takes them."""
    tree = dataclasses_as_tuples(tree)
    if isinstance(tree, dict):
        return [_sorted(tree[key]) for key in sorted(tree)]
    return [_sorted(part) for part in tree] if isinstance(tree, list | tuple) else tree


def _array(value: Any) -> Any:
    return array(value) if isinstance(value, Tensor) else value
