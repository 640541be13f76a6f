"""States that neurons with a step of their own keep from call to call, where a call is one step."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import torch
from torch import Tensor

from snnax.errors import ConversionError
from snnax.interop.program.nodes import Source, flat
from snnax.interop.torch.dispatch import Dispatcher
from snnax.interop.torch.leaves import Leaves
from snnax.interop.torch.samples import Sample
from snnax.interop.torch.values import Form
from snnax.interop.torch.watching import Watching, restart

_START = "Reset it at the start of forward, or let it start from zeros."


class HandedStates:
    """The states of some neurons of a copy, which are looked into: of no size before the first call, zeros then.

    A call of the copy shows their shapes, and what it returns; the next one starts from zeros of these shapes, is
    recorded, and must return the same.

    Args:
        copy: runs.
        paths: of the neurons.
    """

    def __init__(self, copy: Watching, paths: Sequence[str]) -> None:
        self._copy = copy
        self._modules: dict[str, Any] = {path: copy.net.get_submodule(path) for path in paths}
        self._dispatcher: Any = None
        self._first: list[Tensor] = []

    def rest(self, sample: Sample, dispatcher: Dispatcher, leaves: Leaves) -> None:
        """Put them to rest, as inputs of the call that is recorded next."""
        self._dispatcher = dispatcher
        net, adapter = self._copy.net, self._copy.adapter
        restart(adapter.neurons(net), adapter, net)
        chance = torch.get_rng_state()
        with dispatcher.pause(), torch.no_grad():
            args, kwargs = sample.having([tensor.clone() for tensor in sample.tensors])
            self._first = [entry for entry in flat(net(*args, **kwargs)) if isinstance(entry, Tensor)]
        torch.set_rng_state(chance)
        shown = {path: adapter.kept(module) for path, module in self._modules.items()}
        restart(adapter.neurons(net), adapter, net)
        for path, states in shown.items():
            for state, tensor in states.items():
                if tensor is not None:
                    zeros = torch.zeros_like(tensor.detach())
                    dispatcher.values.bind(zeros, leaves.state(f"{path}.{state}", Form.of(zeros)))
                    setattr(self._modules[path], state, zeros)
        self._copy.begin(dispatcher, leaves)

    def ends(self, returned: Any, label: str) -> dict[str, Source]:
        """Their values after the call, by name.

        Raises:
            ConversionError: from zeros it returned something else than from nothing.
        """
        second = [entry for entry in flat(returned) if isinstance(entry, Tensor)]
        pairs = zip(self._first, second, strict=True)
        if not all(a.shape == b.shape and torch.equal(a, b.detach()) for a, b in pairs):
            problem = "its first call computes something else than one that starts from zeros"
            raise ConversionError(label, problem, _START)
        adapter, read = self._copy.adapter, self._dispatcher.read
        return {
            f"{path}.{state}": read(tensor)
            for path, module in self._modules.items()
            for state, tensor in adapter.kept(module).items()
            if tensor is not None
        }
