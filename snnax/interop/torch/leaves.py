"""What no operation of a traced call made: arguments, parameters, states that are kept, constants."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import replace
from itertools import chain, count
from typing import Any, Literal

import torch
from torch import Tensor, nn

from snnax.interop.program.nodes import Input, Leaf, Result, Source
from snnax.interop.torch.arrays import dtype_of
from snnax.interop.torch.held import OWN
from snnax.interop.torch.values import Form

_SMALL = 64
"""Numbers in a constant that is compared with others."""

_Kind = Literal["parameter", "buffer", "constant"]


class Leaves:
    """The inputs of a program, in the order in which a call uses them.

    Args:
        net: the copy that runs, whose tensors are known by their names.
        original: the user's network: a function that was put into a module may name its tensors instead of the copy's.
        trained: the names of the parameters that are trained.
    """

    def __init__(self, net: nn.Module, original: nn.Module, trained: frozenset[str]) -> None:
        self.inputs: list[Input] = []
        self._trained = trained
        self._named: dict[int, tuple[Tensor, _Kind, str]] = {}
        self._states: dict[str, Leaf] = {}
        self._constants: dict[tuple[Result, bytes], Leaf] = {}
        for path, module in chain(net.named_modules(), original.named_modules()):
            homes: tuple[tuple[_Kind, Any], ...] = (
                ("parameter", dict(module._parameters)),
                ("buffer", dict(module._buffers)),
                ("constant", {key: value for key, value in vars(module).items() if key not in OWN}),
            )
            for kind, home in homes:
                for name, tensor in _tensors(home, path):
                    self._named.setdefault(id(tensor), (tensor, kind, name))

    def argument(self, tensor: Tensor, name: str) -> Leaf:
        """An argument of the call."""
        return self._add(Input("argument", name, _result(tensor)))

    def state(self, name: str, form: Form) -> Leaf:
        """The state that a neuron keeps from the call before."""
        if name not in self._states:
            result = Result(form.shape, dtype_of(form.dtype))
            self._states[name] = self._add(Input("state", name, result))
        return self._states[name]

    def widened(self, source: Source, form: Form) -> Leaf | None:
        """An argument of no size that a neuron took for its state, which has this form; None for anything else."""
        if not isinstance(source, Leaf):
            return None
        entry, result = self.inputs[source.index], Result(form.shape, dtype_of(form.dtype))
        if entry.kind != "argument" or entry.result.shape not in ((0,), form.shape):
            return None
        self.inputs[source.index] = replace(entry, result=result)
        return source

    def other(self, tensor: Tensor) -> tuple[Leaf, str]:
        """A tensor that a module holds, and its name; or that Python made, with its value."""
        found = self._named.get(id(tensor))
        if found is None:
            return self._constant(tensor), ""
        _, kind, name = found
        value = value_of(tensor) if kind == "constant" else None
        return self._add(Input(kind, name, _result(tensor), value, name in self._trained)), name

    def _constant(self, tensor: Tensor) -> Leaf:
        """A tensor of Python's; a small one that is made anew in each step is the same one."""
        value, result = value_of(tensor), _result(tensor)
        if value.size > _SMALL:
            return self._add(Input("constant", "", result, value))
        key = (result, value.tobytes())
        if key not in self._constants:
            self._constants[key] = self._add(Input("constant", "", result, value))
        return self._constants[key]

    @property
    def kept(self) -> dict[str, Leaf]:
        """The states that were found as the call before had left them, by name."""
        return self._states

    def _add(self, entry: Input) -> Leaf:
        self.inputs.append(entry)
        return Leaf(len(self.inputs) - 1)


def _tensors(home: Any, path: str) -> Iterator[tuple[str, Tensor]]:
    """The tensors that a module holds, in tuples, lists and dicts too, and their names with dots."""
    if isinstance(home, Tensor):
        yield path, home
    elif isinstance(home, dict | list | tuple):
        keys: Any = home if isinstance(home, dict) else getattr(home, "_fields", count())
        values = home.values() if isinstance(home, dict) else home
        for key, value in zip(keys, values, strict=False):  # whoever asks for the length of a list is noted
            yield from _tensors(value, f"{path}.{key}".lstrip("."))


def _result(tensor: Tensor) -> Result:
    return Result(tuple(tensor.shape), dtype_of(tensor.dtype))


def value_of(tensor: Tensor) -> Any:
    """A copy for NumPy, in the same data type."""
    plain = tensor.detach().cpu().clone(memory_format=torch.contiguous_format)
    try:
        return plain.numpy()
    except TypeError:  # what NumPy has not, as bfloat16: the same bytes under the name that ml_dtypes has
        return plain.view(torch.uint8).numpy().view(dtype_of(plain.dtype)).reshape(tuple(plain.shape))
