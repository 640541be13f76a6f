"""The modules of a running copy: which ``forward`` runs, and each call of a neuron as one operation."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from functools import partial
from typing import TYPE_CHECKING, Any

import torch
from torch import Tensor, nn
from torch.nn.utils.parametrize import is_parametrized

from snnax.interop.program.nodes import NEURON, NoState, Ref, Source
from snnax.interop.spec import NeuronSpec
from snnax.interop.torch.dispatch import Dispatcher
from snnax.interop.torch.held import plain_class
from snnax.interop.torch.leaves import Leaves
from snnax.interop.torch.originals import replaced_method
from snnax.interop.torch.values import Form

if TYPE_CHECKING:
    from snnax.interop.frameworks.adapter import Adapter, Before, Fired

_CONTAINERS = (nn.Sequential, nn.ModuleList, nn.ModuleDict, nn.ParameterList, nn.ParameterDict)


def known_neurons(net: nn.Module, adapter: Adapter) -> dict[str, NeuronSpec]:
    """The neurons whose call is one operation, by path."""
    found = {}
    for name, module in adapter.neurons(net).items():
        spec = adapter.known(name, module)
        # what a parametrization computes is no tensor that the neuron holds
        if spec is not None and not any(is_parametrized(part) for part in module.modules()):
            found[name] = spec
    return found


class Watching:
    """Lets the modules of a copy, which is thrown away, report to a dispatcher.

    Args:
        net: the copy.
        adapter: knows its neurons.
        neurons: the paths of those whose call is one operation.
    """

    def __init__(self, net: nn.Module, adapter: Adapter, neurons: frozenset[str]) -> None:
        self.net = net
        self.adapter = adapter
        self._neurons = {name: module for name, module in net.named_modules() if name in neurons}
        self._parameters = {name: adapter.parameters(module) for name, module in self._neurons.items()}
        self._dispatcher: Any = None
        self._leaves: Any = None
        self._kept: dict[str, dict[str, Tensor | None]] = {}
        self.calls: list[tuple[str, tuple[int, ...]]] = []
        for name, module in net.named_modules():
            if not isinstance(module, nn.ModuleList | nn.ModuleDict):
                self._attach(name, module)

    def begin(self, dispatcher: Dispatcher, leaves: Leaves) -> None:
        """Report the next call to ``dispatcher``: states that the neurons hold now are those that they keep."""
        self._dispatcher, self._leaves, self.calls = dispatcher, leaves, []
        self._kept = {name: self.adapter.kept(module) for name, module in self._neurons.items()}

    def ends(self) -> dict[str, Source]:
        """The states after the call, by name, of those that it found as the call before had left them."""
        found = {}
        for path, module in self._neurons.items():
            for state, tensor in self.adapter.kept(module).items():
                name = f"{path}.{state}".lstrip(".")
                if tensor is not None and name in self._leaves.kept:
                    found[name] = self._dispatcher.read(tensor)
        return found

    def _attach(self, name: str, module: nn.Module) -> None:
        if name in self._neurons:
            self.adapter.tap(name, module, partial(self._step, name, module))
        elif self.adapter.is_sequence(module):
            vars(module)["forward"] = bound(self._whole, name, module.forward)
        kind = plain_class(module)
        library = name in self._neurons or is_layer(module, self.adapter)
        text = f"{kind.__module__}.{kind.__qualname__}" if library else ""
        vars(module)["forward"] = bound(self._inside, name, text, module.forward)

    def _inside(self, name: str, kind: str, forward: Callable[..., Any], *args: Any, **kwargs: Any) -> Any:
        with self._dispatcher.inside(name, kind):
            return forward(*args, **kwargs)

    def _step(
        self, name: str, module: nn.Module, x: Tensor, before: Before, run: Callable[[], Fired]
    ) -> Fired:
        """One step of a neuron."""
        dispatcher = self._dispatcher
        if dispatcher.paused:
            return run()
        source = dispatcher.read(x)
        parameters = self._read_parameters(name, module)
        kept = self._kept[name]
        first = {
            state for state, tensor in before.items() if tensor is not None and tensor is kept.get(state)
        }
        given = {
            state: (dispatcher.read(tensor), tensor.shape)
            for state, tensor in before.items()
            if tensor is not None and state not in first
        }
        with dispatcher.unseen():
            fired = run()
        states: dict[str, Source] = {}
        for state, after in fired.states.items():
            value, shape = given.get(state, (NoState(), after.shape))
            if state in first:
                value = self._leaves.state(f"{name}.{state}".lstrip("."), Form.of(after))
            elif not shape.numel() and after.numel():
                form = Form.of(after)
                value = self._leaves.widened(value, form) or dispatcher.widened(value, form) or NoState()
            elif shape != after.shape and self.adapter.replaces_states:
                value = NoState()
            states[state] = value
        self.calls.append((name, tuple(x.shape)))
        self._emit(name, (source, states, parameters), [fired.spk, *fired.states.values()])
        return fired

    def _whole(self, name: str, forward: Callable[..., Any], x: Tensor, *args: Any) -> Any:
        """All steps of a neuron that takes them at once, ``[T, B, ...]``, and is looked into."""
        self.calls.append((name, tuple(x.shape[1:])))
        return forward(x, *args)

    def _read_parameters(self, name: str, module: nn.Module) -> dict[str, Source]:
        """As they are now: a network may change or exchange them from step to step."""
        tensors = {path: attribute(module, path) for path in self._parameters[name]}
        return {
            path: self._dispatcher.read(tensor)
            for path, tensor in tensors.items()
            if isinstance(tensor, Tensor)
        }

    def _emit(self, name: str, args: tuple[Any, ...], outs: list[Tensor]) -> None:
        dispatcher = self._dispatcher
        node = dispatcher.emit(NEURON, args, {}, [Form.of(tensor) for tensor in outs], path=name)
        for position, tensor in enumerate(outs):
            dispatcher.values.bind(tensor, Ref(node, position))


def is_layer(module: nn.Module, adapter: Adapter) -> bool:
    """True for a layer of torch.nn or the framework whose ``forward`` is the library's own."""
    if isinstance(module, _CONTAINERS) or replaced_method(module):
        return False
    home = next(cls for cls in type(module).__mro__ if "forward" in vars(cls))
    return home is not nn.Module and (
        home.__module__.startswith(("torch.nn.", "torch.ao.")) or adapter.is_layer(home)
    )


def attribute(module: Any, path: str) -> Any:
    """What ``module`` has under a name with dots; None if the network has taken it away."""
    for name in path.split("."):
        module = getattr(module, name, None)
    return module


def bound(call: Callable[..., Any], *first: Any) -> Callable[..., Any]:
    """``call`` with its first arguments filled in, as a plain function that torch can hook."""

    def forward(*args: Any, **kwargs: Any) -> Any:
        return call(*first, *args, **kwargs)

    return forward


def freeze(net: nn.Module) -> None:
    """Let no autograd graph grow while a copy runs, whatever it saves; what is recorded is the same.

    Attention is left out: without parameters that are trained, torch runs it as one operation of its own.
    """
    attention = {
        id(p)
        for module in net.modules()
        if isinstance(module, nn.MultiheadAttention | nn.TransformerEncoderLayer)
        for p in module.parameters()
    }
    for parameter in net.parameters():
        if id(parameter) not in attention:
            parameter.requires_grad_(False)


def restart(neurons: Mapping[str, nn.Module], adapter: Adapter, net: nn.Module) -> None:
    """Take from some neurons of ``net``, a copy, the states that earlier calls left."""
    parameter = next((p for p in net.parameters() if p.is_floating_point()), torch.zeros(()))
    for module in neurons.values():
        adapter.reset(module, parameter.dtype, traced=False)
