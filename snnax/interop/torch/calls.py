"""The arguments that a network is traced with: a sample laid out as ``forward`` takes it."""

from __future__ import annotations

import inspect
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field, replace
from typing import TYPE_CHECKING, Any

import numpy as np
import torch
from torch import Tensor, nn

from snnax.interop.program.nodes import filled, mapped

if TYPE_CHECKING:
    from snnax.interop.frameworks.adapter import Adapter


@dataclass
class Call:
    """Positional arguments of ``forward``; a probe stands where a state that was not given belongs.

    Attributes:
        args: the arguments, lists, tuples and dicts of tensors taken apart.
        names: their names.
        dtype: of the network.
        tree: how the arguments are put together, see :func:`~snnax.interop.program.nodes.filled`.
        probes: positions of empty tensors that stand for states.
        optional: those of them that ``forward`` has the default None for.
        missing: number of required arguments that the sample left out.
        states_next: the one argument after those of the sample may be made of states.
        guess: it is not quite what the user's sample says, so that its errors say nothing about that.
        only_input: no argument is a state.
    """

    args: list[Any]
    names: list[str]
    dtype: torch.dtype
    tree: tuple[Any, ...] = ()
    probes: set[int] = field(default_factory=set)
    optional: set[int] = field(default_factory=set)
    missing: int = 0
    states_next: bool = False
    guess: bool = False
    only_input: bool = False

    @classmethod
    def of(cls, net: nn.Module, sample: tuple[Any, ...]) -> Call:
        """Lay out ``sample`` as positional arguments and add a probe for each state left out."""
        dtype, device = next(
            ((p.dtype, p.device) for p in net.parameters() if p.is_floating_point()),
            (torch.float32, torch.device("cpu")),
        )
        parameters = [
            p
            for p in inspect.signature(net.forward).parameters.values()
            if p.kind in (p.POSITIONAL_ONLY, p.POSITIONAL_OR_KEYWORD)
        ]
        empty = inspect.Parameter.empty
        left_out = parameters[len(sample) :]
        args = [*sample, *(None if p.default is empty else p.default for p in left_out)]
        probed = [i for i, a in enumerate(args) if a is None]
        del args[max([len(sample), *(i + 1 for i in probed)]) :]
        call = cls([], [], dtype, missing=sum(p.default is empty for p in left_out))
        call.states_next = call.missing == 1 or (bool(left_out) and _is_nothing(left_out[0].default))
        for i, arg in enumerate(args):
            if i in probed:
                call.probes.add(len(call.args))
                if i < len(parameters) and parameters[i].default is None:
                    call.optional.add(len(call.args))
                args[i] = arg = torch.zeros(0, dtype=dtype)
            name = parameters[i].name if i < len(parameters) else f"argument {i}"
            for path, part in named(name, arg):
                call.args.append(tensor_of(part).to(device, dtype) if is_array(part) else part)
                call.names.append(path)
        call.tree = mapped(tuple(args), lambda _: None)
        return call

    def arguments(self, args: Sequence[Any]) -> tuple[Any, ...]:
        """What ``forward`` is called with, from one value for each entry of ``args``."""
        return tuple(filled(self.tree, [*args]))

    def resized(self, axes: Mapping[int, int], size: int) -> Call:
        """The same call with ``size`` times the first entry along an axis of some arguments, by their position."""
        args = list(self.args)
        for position, axis in axes.items():
            tensor = args[position]
            if isinstance(tensor, Tensor) and tensor.numel():
                args[position] = torch.cat([tensor.narrow(axis, 0, 1)] * size, axis)
        return replace(self, args=args)

    def without(self, positions: set[int]) -> Call:
        """The same call with None in place of some probes."""
        args = [None if i in positions else a for i, a in enumerate(self.args)]
        return replace(self, args=args, probes=self.probes - positions, optional=set())


def calls_with_states(net: nn.Module, sample: Any, adapter: Adapter) -> Iterator[Call]:
    """The call on ``sample``, then calls whose last argument is made of the states of all neurons."""
    given = tuple(sample) if isinstance(sample, tuple | list) else (sample,)
    call = Call.of(net, given)
    yield call
    for states in _nested_states(net, adapter) if call.states_next else ():
        yield replace(Call.of(net, (*given, states)), guess=True)


def _nested_states(net: nn.Module, adapter: Adapter) -> Iterator[Any]:
    """Empty states of all neurons in the ways in which a ``forward`` may take them in one argument."""
    states = {
        name: [torch.zeros(0) for _ in adapter.states(module)]
        for name, module in adapter.neurons(net).items()
    }
    each = [tuple(s) if len(s) > 1 else s[0] for s in states.values() if s]
    flat = [tensor for s in states.values() for tensor in s]
    yield from (flat, each, [tuple(s) for s in states.values()], dict(zip(states, each, strict=False)))


def named(name: str, value: Any) -> Iterator[tuple[str, Any]]:
    """What is in the lists, tuples and dicts of an argument, by name."""
    if isinstance(value, dict):
        for key, part in value.items():
            yield from named(f"{name}[{key!r}]", part)
    elif isinstance(value, list | tuple):
        for position, part in enumerate(value):
            yield from named(f"{name}[{position}]", part)
    else:
        yield name, value


def shape_text(arg: Any) -> str:
    """An argument in an error: the shape of a tensor, and what holds it."""
    if isinstance(arg, Tensor):
        return str(tuple(arg.shape))
    if isinstance(arg, dict):
        return "{" + ", ".join(f"{key!r}: {shape_text(part)}" for key, part in arg.items()) + "}"
    if isinstance(arg, list | tuple):
        inner = ", ".join(map(shape_text, arg))
        return f"[{inner}]" if isinstance(arg, list) else f"({inner})"
    return repr(arg)


def _is_nothing(default: Any) -> bool:
    """None, or a tuple or list of it: what a state that was not given is told from."""
    return default is None or (isinstance(default, tuple | list) and all(map(_is_nothing, default)))


def is_array(thing: Any) -> bool:
    """True for what can be made a tensor: torch, NumPy and JAX arrays."""
    return isinstance(thing, Tensor) or hasattr(thing, "__array__")


def tensor_of(thing: Any) -> Tensor:
    """A tensor of its own with the values of ``thing``."""
    if isinstance(thing, Tensor):
        return thing.detach().clone()
    array = np.array(thing)
    return torch.from_numpy(array if array.dtype.kind in "fiub" else array.astype(np.float32))
