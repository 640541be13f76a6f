"""A program as a torch module: the neurons are the framework's own, all else is torch's operations as recorded."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from contextlib import nullcontext
from dataclasses import dataclass
from functools import partial
from typing import TYPE_CHECKING, Any

import numpy as np
import torch
from torch import Tensor, nn

from snnax.errors import ConversionError
from snnax.interop.families.precision import is_wide
from snnax.interop.program.derivatives import by_operations
from snnax.interop.program.module import Held, PortedProgram, given_to, is_held, past_autograd
from snnax.interop.program.nodes import (
    NEURON,
    PULLBACK,
    SOURCES,
    STRAIGHT,
    SURROGATE,
    Carry,
    Handed,
    Input,
    Leaf,
    Local,
    Loop,
    Node,
    NoState,
    PerStep,
    Program,
    Ref,
    Sequence,
    at,
    mapped,
)
from snnax.interop.state_dict import to_state_dict
from snnax.interop.torch.containers import place

if TYPE_CHECKING:
    from snnax.interop.frameworks.adapter import Adapter

Get = Callable[[Any], Any]
_CONSTANT = "_constant_{}"


def program_network(model: PortedProgram, variables: Mapping[str, Any], adapter: Adapter) -> nn.Module:
    """The torch module of a program; ``adapter`` makes its neurons.

    Raises:
        ConversionError: the framework has no equal of a neuron.
        StateDictError: ``variables`` lack what the program has.
    """
    for known in model.program.inputs:
        path, _, state = known.name.rpartition(".")
        if known.kind == "state" and path not in model.program.neurons:
            raise ConversionError(
                path,
                f"it hands on its {state} in a step of its own, which no neuron of {adapter.label} is built with",
                "net.load_state_dict of the network that was ported takes interop.to_state_dict(model, variables).",
            )
    made = ProgramNetwork(model.held, adapter, is_wide(variables))
    made.hold(to_state_dict(model, variables))
    return made


class ProgramNetwork(nn.Module):
    """A network that was ported as a program, in evaluation mode: called as it was, it returns what that returned.

    Parameters, buffers and neurons have the names that they had. It remembers what its neurons do: reset them as the
    framework does.

    Args:
        held: the program.
        adapter: the framework of the neurons.
        wide: every number in float64.
    """

    def __init__(self, held: Held, adapter: Adapter, wide: bool) -> None:
        super().__init__()
        self._run = _Run(held, adapter)
        for path, spec in held.program.neurons.items():
            place(self, path, adapter.build(path, spec.with_options(output=False), wide))
        for index, known in enumerate(held.program.inputs):
            if known.kind == "constant" and not known.name:
                self.register_buffer(_CONSTANT.format(index), _tensor(known.value), persistent=False)

    def hold(self, arrays: Mapping[str, Any]) -> None:
        """Take parameters and buffers, by name; what modules shared they share again."""
        for known in filter(is_held, self._run.held.program.inputs):
            self._put(known, _tensor(arrays[known.name]))
            for other in known.also:
                home, leaf = self._home(known.name)
                there, name = self._home(other)
                if getattr(there, name, None) is not getattr(home, leaf):
                    setattr(there, name, getattr(home, leaf))

    def _put(self, known: Input, tensor: Tensor) -> None:
        home, leaf = self._home(known.name)
        old = getattr(home, leaf, None)
        if isinstance(old, Tensor):
            old.data = tensor.reshape(old.shape) if old.numel() == tensor.numel() else tensor
            old.requires_grad_(known.trained)
        elif known.kind == "parameter":
            home.register_parameter(leaf, nn.Parameter(tensor, requires_grad=known.trained))
        else:
            home.register_buffer(leaf, tensor, persistent=known.kind == "buffer")

    def _home(self, name: str) -> tuple[nn.Module, str]:
        """The module that holds a name, which is made if there is none, and the last part of the name."""
        path, _, leaf = name.rpartition(".")
        if path not in dict(self.named_modules()):
            place(self, path, nn.Module())
        return self.get_submodule(path), leaf

    def forward(self, *args: Any, **kwargs: Any) -> Any:
        """What the network returns for these arguments."""
        return self._run(self, args, kwargs)


@dataclass(frozen=True, eq=False)
class _Run:
    """What a network does in a call: its copies share it, and a trace of it looks at its operations only."""

    held: Held
    adapter: Adapter

    def __deepcopy__(self, memo: Any) -> _Run:
        """Nothing changes it."""
        return self

    def __call__(self, net: nn.Module, args: tuple[Any, ...], kwargs: Mapping[str, Any]) -> Any:
        """Run a network that holds the tensors."""
        given, program = given_to(self.held, args, kwargs, torch.as_tensor)
        leaves = [self._leaf(net, place, known, given) for place, known in enumerate(program.inputs)]
        outputs, updates = _Call(net, self.adapter, program, leaves).run()
        for name, value in updates.items():
            path, _, leaf = name.rpartition(".")
            home = net.get_submodule(path)
            if leaf in home._parameters:
                home.get_parameter(leaf).data = value.detach()
            else:
                setattr(home, leaf, value)
        return outputs

    def _leaf(self, net: nn.Module, index: int, known: Input, given: Mapping[int, Tensor]) -> Tensor:
        """What an input of the program is in this call."""
        if known.kind == "argument":
            return given[index]
        path, _, name = (known.name or _CONSTANT.format(index)).rpartition(".")
        value: Tensor = getattr(net.get_submodule(path), name)
        refusal = past_autograd(self.held.program, known)
        return value if refusal is None else _guarded(value, refusal)


class _Call:
    """One call of a program's network.

    Args:
        net: has the neurons.
        adapter: their framework.
        program: for the number of steps of this call.
        leaves: the tensors of its inputs.
    """

    def __init__(self, net: nn.Module, adapter: Adapter, program: Program, leaves: list[Tensor]) -> None:
        self._net, self._adapter, self._program, self._leaves = net, adapter, program, leaves
        self._values: list[Any] = []
        self._batch = next((leaves[x.index].shape[axis] for x, axis in program.batch), program.size)
        kinds = zip(leaves, program.inputs, strict=True)
        self._wide = any(t.dtype == torch.float64 and e.result.dtype == np.float32 for t, e in kinds)
        self._device = leaves[0].device if leaves else torch.device("cpu")

    def run(self) -> tuple[Any, dict[str, Any]]:
        """What it returns, and what it changes."""
        for item in self._program.items:
            made = self._loop(item) if isinstance(item, Loop) else self._node(item, self._outer)
            self._values.append(made)
        outputs = mapped(self._program.outputs, self._outer)
        return outputs, mapped(self._program.updates, self._outer)

    def _outer(self, entry: Any) -> Any:
        """The value of a source outside of loops; literals stand for themselves."""
        if isinstance(entry, Leaf):
            return self._leaves[entry.index]
        if isinstance(entry, Ref):
            return self._values[entry.node][entry.out]
        if isinstance(entry, NoState):
            return torch.zeros(0, dtype=self._dtype(np.dtype(np.float32)), device=self._device)
        return at(entry, self._batch)

    def _loop(self, loop: Loop) -> list[Tensor]:
        """All steps of a loop; what is kept of them."""
        carries = [self._start(handed) for handed in loop.carries]
        sequences = [s.values if isinstance(s, PerStep) else self._outer(s) for s in loop.sequences]
        kept: list[list[Tensor]] = [[] for _ in loop.kept]
        for t in range(loop.steps):
            step = _Step(self._outer, carries, [at(values[t], self._batch) for values in sequences])
            for node in loop.body:
                step.done.append(self._node(node, step.get))
            carries = [step.get(handed.new) for handed in loop.carries]
            for record, known in zip(kept, loop.kept, strict=True):
                if known.every or t == loop.steps - 1:
                    record.append(step.get(known.value))
        pairs = zip(kept, loop.kept, strict=True)
        return [torch.stack(record) if known.every else record[-1] for record, known in pairs]

    def _start(self, handed: Handed) -> Tensor:
        """What the first step finds, in the shape and type that all later ones have."""
        shape: tuple[int, ...] = at(handed.result.shape, self._batch)
        dtype = self._dtype(handed.result.dtype)
        init = torch.as_tensor(self._outer(handed.init), device=self._device)
        if not init.numel():  # a neuron's state before its first call
            return torch.zeros(shape, dtype=dtype, device=self._device)
        return init.to(dtype).broadcast_to(shape)

    def _node(self, node: Node, get: Get) -> list[Any]:
        """What one operation gives."""
        with nullcontext() if node.gradient or node.op == STRAIGHT else torch.no_grad():
            if node.op == NEURON:
                return self._neuron(node, get)
            args, kwargs = mapped(node.args, get), mapped(node.kwargs, get)
            if node.op == SURROGATE:
                return [self._spikes(*args)]
            if node.op == STRAIGHT:
                return [_straight(*args)]
            if node.op == PULLBACK:
                values, inputs, operations, ends = args
                derivative = partial(
                    by_operations, operations=operations, ends=ends, evaluate=self._evaluated
                )
                return list(_Decreed.apply(derivative, len(values), *values, *inputs))
            if node.function is not None:
                refusal = _own_gradient(node)
                args = mapped(args, lambda value: _guarded(value, refusal))
            return self._operation(node.op, args, kwargs)

    def _spikes(self, x: Tensor, name: str, options: Mapping[str, float], at_zero: bool = False) -> Tensor:
        """A step above 0, or at 0 already, whichever the framework's own spike functions make of 0."""
        made = self._adapter.spike_function(name, options)(x).to(x.dtype)
        wanted = (x >= 0 if at_zero else x > 0).to(x.dtype)
        return made if torch.equal(made, wanted) else _straight(made, wanted)

    def _neuron(self, node: Node, get: Get) -> list[Tensor]:
        """One call of a neuron: with its own numbers, unless the network hands it others."""
        x, states, parameters = mapped(node.args, get)
        module = self._net.get_submodule(node.path)
        own = {**dict(module.named_parameters()), **dict(module.named_buffers())}
        given = {name: value for name, value in parameters.items() if value is not own.get(name)}
        made = zip(self._adapter.fire(module, x, states, given), node.results, strict=True)
        return [value.to(self._dtype(result.dtype)) for value, result in made]  # spikes may be single always

    def _operation(self, op: str, args: tuple[Any, ...], kwargs: dict[str, Any]) -> list[Any]:
        """One operation of ATen."""
        base, _, overload = op.partition(".")
        if base == "view":  # a copy that made memory contiguous may have been left out
            return [args[0].reshape(args[1])]
        function = getattr(getattr(torch.ops.aten, base), overload or "default")
        args, kwargs = mapped(args, self._literal), mapped(kwargs, self._literal)
        if any(argument.name == "device" for argument in function._schema.arguments):
            kwargs["device"] = self._device
        made = function(*args, **kwargs)
        return list(made) if isinstance(made, list | tuple) else [made]

    def _evaluated(self, op: str, args: Any, kwargs: Any, _: Any) -> list[Any]:
        return self._operation(op, args, kwargs)

    def _literal(self, entry: Any) -> Any:
        return self._dtype(entry) if isinstance(entry, np.dtype) else entry

    def _dtype(self, dtype: np.dtype[Any]) -> torch.dtype:
        """Torch's data type, in double precision if the call is."""
        if self._wide and dtype == np.float32:
            return torch.float64
        found: torch.dtype = getattr(torch, dtype.name)
        return found


class _Step:
    """One step of a loop.

    Args:
        outer: finds what lies outside of the loop.
        carries: what the step before handed on.
        sequences: what the sequences have for this step.
    """

    def __init__(self, outer: Get, carries: list[Tensor], sequences: list[Any]) -> None:
        self._outer, self._carries, self._sequences = outer, carries, sequences
        self.done: list[list[Any]] = []

    def get(self, entry: Any) -> Any:
        """The value of a source."""
        if not isinstance(entry, SOURCES):
            return self._outer(entry)
        if isinstance(entry, Local):
            return self.done[entry.node][entry.out]
        if isinstance(entry, Carry):
            return self._carries[entry.index]
        return self._sequences[entry.index] if isinstance(entry, Sequence) else self._outer(entry)


def _straight(old: Tensor, new: Tensor) -> Tensor:
    """``new``, with the gradient of ``old``."""
    made = old.clone()
    with torch.no_grad():
        made.copy_(new)
    return made


def _own_gradient(node: Node) -> ConversionError:
    kind = "a function" if node.function is None else node.function.kind
    return ConversionError(
        node.path or "the network",
        f"{kind} defines a gradient of its own, which a program does not know",
        "The network runs. Train the one that was ported; into=net gives it these weights.",
        node.line,
    )


class _Decreed(torch.autograd.Function):
    """Values, the gradients of which go to other tensors by a derivative that is given."""

    @staticmethod
    def forward(ctx: Any, derivative: Any, count: int, *tensors: Any) -> tuple[Tensor, ...]:
        """The values, which are the first of the tensors."""
        ctx.derivative, ctx.count = derivative, count
        ctx.save_for_backward(*tensors[count:])
        return tuple(value.view_as(value) for value in tensors[:count])

    @staticmethod
    def backward(ctx: Any, *gradients: Tensor) -> Any:
        """The gradients of the other tensors."""
        return None, None, *[None] * ctx.count, *ctx.derivative(ctx.saved_tensors, gradients)


class _Guard(torch.autograd.Function):
    """A value of which no gradient is taken: whoever asks for one gets the refusal."""

    @staticmethod
    def forward(ctx: Any, value: Tensor, refusal: ConversionError) -> Tensor:
        """The value."""
        ctx.refusal = refusal
        return value.view_as(value)

    @staticmethod
    def backward(ctx: Any, *gradients: Tensor) -> Any:
        """Raises."""
        raise ctx.refusal


def _guarded(value: Any, refusal: ConversionError) -> Any:
    """A value that refuses gradients, if one could be asked for."""
    if not isinstance(value, Tensor) or not value.requires_grad:
        return value
    return _Guard.apply(value, refusal)


def _tensor(value: Any) -> Tensor:
    """An array in memory of its own."""
    return torch.from_numpy(np.array(value))
