"""What a network is called with when it is traced: the user's sample, and others that differ from it."""

from __future__ import annotations

import inspect
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from itertools import chain, islice, product
from typing import Any

import torch
from torch import Tensor, nn

from snnax.interop.program.nodes import filled, flat, mapped
from snnax.interop.torch.calls import named, tensor_of
from snnax.interop.torch.repeats import other

_MOST = 16
"""Ways of taking axes for the batch that are tried."""

_FEW = 4
"""The same for time."""


@dataclass(frozen=True)
class Sample:
    """Arguments of one call.

    Attributes:
        args: by position; NumPy and JAX arrays have become tensors, everything else is as it was given.
        kwargs: by name.
        names: of the tensors in them, in order.
    """

    args: tuple[Any, ...]
    kwargs: dict[str, Any]
    names: tuple[str, ...]

    @classmethod
    def of(cls, net: nn.Module, args: tuple[Any, ...], kwargs: Mapping[str, Any]) -> Sample:
        """The user's sample, on the device of the network."""
        device = next((p.device for p in net.parameters()), torch.device("cpu"))

        def taken(entry: Any) -> Any:
            array = isinstance(entry, Tensor) or (hasattr(entry, "__array__") and hasattr(entry, "shape"))
            return tensor_of(entry).to(device) if array else entry

        made = mapped((tuple(args), dict(kwargs)), taken)
        called = {**dict(zip(_positional(net, len(args)), made[0], strict=True)), **made[1]}
        parts = (part for key, value in called.items() for part in named(key, value))
        names = tuple(name for name, part in parts if isinstance(part, Tensor))
        return cls(made[0], made[1], names)

    @property
    def tensors(self) -> list[Tensor]:
        """Its tensors, in order."""
        return [entry for entry in flat((self.args, self.kwargs)) if isinstance(entry, Tensor)]

    def having(self, tensors: list[Any]) -> tuple[tuple[Any, ...], dict[str, Any]]:
        """``args`` and ``kwargs`` with other things in place of the tensors."""
        rest = iter(tensors)
        entries = [next(rest) if isinstance(e, Tensor) else e for e in flat((self.args, self.kwargs))]
        made = filled((self.args, self.kwargs), entries)
        return made[0], made[1]

    def varied(self, axes: tuple[int | None, ...] = ()) -> Sample:
        """Other values; each tensor one longer along its entry of ``axes``."""
        tensors = [other(tensor) for tensor in self.tensors]
        for position, axis in enumerate(axes):
            if axis is not None:
                grown = tensors[position]
                tensors[position] = torch.cat([grown, grown.narrow(axis, 0, 1)], axis)
        args, kwargs = self.having(tensors)
        return Sample(args, kwargs, self.names)

    def shorter(self, axes: tuple[int | None, ...], size: int) -> Sample:
        """Other values; of each tensor as many along its entry of ``axes`` as ``size`` says."""
        tensors = [
            other(tensor) if axis is None else other(tensor).narrow(axis, 0, size).clone()
            for tensor, axis in zip(self.tensors, axes, strict=True)
        ]
        args, kwargs = self.having(tensors)
        return Sample(args, kwargs, self.names)

    def batches(self, size: int | None) -> Iterator[tuple[int | None, ...]]:
        """Ways in which the tensors may have an axis for the batch, the likely ones first.

        Args:
            size: of the batch, as the neurons see it; None if there are none.
        """
        tensors = self.tensors
        options = [[*(i for i, n in enumerate(t.shape) if n == size), None] for t in tensors]
        alone = (
            tuple(axis if p == position else None for p in range(len(tensors)))
            for axis in (0, 1)
            for position, tensor in enumerate(tensors)
            if axis < tensor.ndim
        )
        ways = chain(islice(product(*options), _MOST), alone)
        yield from dict.fromkeys(way for way in ways if any(axis is not None for axis in way))

    def longer(self, axes: tuple[int | None, ...], more: int) -> Sample:
        """The same values, and ``more`` of the last along each tensor's entry of ``axes``; if negative, less."""
        tensors = self.tensors
        for position, axis in enumerate(axes):
            if axis is not None:
                tensor = tensors[position]
                whole = torch.cat([tensor, *[tensor.narrow(axis, -1, 1)] * max(more, 0)], axis)
                tensors[position] = whole.narrow(axis, 0, tensor.shape[axis] + more)
        args, kwargs = self.having(tensors)
        return Sample(args, kwargs, self.names)

    def times(
        self, sizes: Sequence[int], batch: Mapping[int, int]
    ) -> Iterator[tuple[int, tuple[int | None, ...]]]:
        """Ways in which axes of one size may be the time, the likely ones first, each with that size.

        Args:
            sizes: that it may have, the likely ones first.
            batch: by the position of a tensor its axis that is the batch.
        """
        shapes = [tuple(tensor.shape) for tensor in self.tensors]
        free = [[axis for axis in range(len(s)) if axis != batch.get(i)] for i, s in enumerate(shapes)]
        for size in sizes:
            fitting = [
                [axis for axis in axes if s[axis] == size] for axes, s in zip(free, shapes, strict=True)
            ]
            ways = product(*([*axes, None] for axes in fitting))
            yield from ((size, way) for way in islice(ways, _FEW) if any(axis is not None for axis in way))


def _positional(net: nn.Module, count: int) -> list[str]:
    """Names of the first ``count`` arguments of ``forward``."""
    kinds = (inspect.Parameter.POSITIONAL_ONLY, inspect.Parameter.POSITIONAL_OR_KEYWORD)
    known = [n for n, p in inspect.signature(net.forward).parameters.items() if p.kind in kinds]
    return [known[i] if i < len(known) else f"argument {i}" for i in range(count)]
