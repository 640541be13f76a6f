"""The layers and neurons that a running copy calls: each call is one operation, whatever it does inside."""

from __future__ import annotations

from collections.abc import Callable
from functools import partial
from typing import TYPE_CHECKING, Any

from torch import Tensor, nn

from snnax.errors import ConversionError, ShapeError
from snnax.interop.torch.held import held, own_tensors
from snnax.interop.torch.layers import ScaleBy, TimedNorm
from snnax.interop.torch.quantized import ROUNDED
from snnax.interop.torch.reached import note_lengths
from snnax.interop.torch.records import Value
from snnax.interop.torch.signals import Signals, quietly, tensors_in
from snnax.interop.torch.watching import bound, is_layer

if TYPE_CHECKING:
    from snnax.interop.frameworks.adapter import Adapter, Before, Fired

_RANKS = {
    "Conv1d": (3, "(B, {0.in_channels}, L)"),
    "Conv2d": (4, "(B, {0.in_channels}, H, W)"),
    "BatchNorm2d": (4, "(B, {0.num_features}, H, W)"),
    "AvgPool1d": (3, "(B, C, L)"),
    "MaxPool1d": (3, "(B, C, L)"),
    "LPPool1d": (3, "(B, C, L)"),
    "AvgPool2d": (4, "(B, C, H, W)"),
    "MaxPool2d": (4, "(B, C, H, W)"),
    "LPPool2d": (4, "(B, C, H, W)"),
    "Linear": (None, "(B, {0.in_features})"),
    "BatchNorm1d": (None, "(B, {0.num_features})"),
}


class LayerCalls:
    """Lets the modules of a copy, which is thrown away, report their calls.

    Args:
        net: the copy.
        label: what to call it.
        adapter: knows its neurons.

    Attributes:
        signals: where they report to.
        neurons: those of the copy, by path.
        failed: path of the module whose ``forward`` raised an error.
    """

    signals: Signals
    _used: dict[str, nn.Module]

    def __init__(self, net: nn.Module, label: str, adapter: Adapter) -> None:
        self.neurons: dict[str, nn.Module] = {}
        self.failed = ""
        self._adapter = adapter
        self._held: dict[int, nn.Module] = {}
        self._passing = {id(module): adapter.passing(module) for module in net.modules()}
        for name, module in net.named_modules():
            if not isinstance(module, nn.ModuleList | nn.ModuleDict) or isinstance(module, TimedNorm):
                self._attach(name or label, module)
        note_lengths(net)

    def begin(self, signals: Signals) -> None:
        """Report the next call to ``signals``."""
        self.signals, self.failed, self._used = signals, "", {}
        for name, module in self.neurons.items():
            for state, tensor in self._adapter.kept(module).items():
                if tensor is not None:
                    signals.state(tensor, state, name, module)

    def _attach(self, name: str, module: nn.Module) -> None:
        forward = module.forward
        if self._adapter.is_neuron(module):
            self._attach_neuron(name, module)
        if module.forward == forward:  # a neuron may report from inside of its own
            leaf = isinstance(module, (TimedNorm, ScaleBy, *ROUNDED)) or is_layer(module, self._adapter)
            vars(module)["forward"] = bound(self._leaf if leaf else self._through, name, module, forward)

    def _attach_neuron(self, name: str, module: nn.Module) -> None:
        self.neurons[name] = module
        try:
            self._adapter.check(name, module)
        except ConversionError as error:
            vars(module)["forward"] = bound(self._refused, error, module, module.forward)
            return
        if self._adapter.is_sequence(module):
            vars(module)["forward"] = bound(self._sequence, name, module, module.forward)
        else:
            self._adapter.tap(name, module, partial(self._neuron, name, module))

    # --- Calls

    def _through(self, name: str, module: nn.Module, forward: Any, *args: Any, **kwargs: Any) -> Any:
        """A container or a module of the user's own: what it does is recorded, not that it was called."""
        with self.signals.inside(name, ""):
            try:
                return forward(*args, **kwargs)
            except Exception:
                self.failed = self.failed or name
                raise

    def _leaf(self, name: str, module: nn.Module, forward: Any, *args: Any, **kwargs: Any) -> Any:
        """A layer without state."""
        tensors = [a for a in (*args, *kwargs.values()) if isinstance(a, Tensor)]
        if self.signals.paused:  # part of a neuron
            self._hold(name, module)
            return forward(*args, **kwargs)
        if not self.signals.follows(tensors):
            return forward(*args, **kwargs)
        if isinstance(module, nn.Identity):
            return tensors[0]
        with self.signals.unseen():
            now = self._hold(name, module)
            result = self._guarded(name, module, forward, args, kwargs)
            if any(result is t for t in tensors):
                result = result.view_as(result)
        kind: Any = "reshape" if isinstance(module, nn.Flatten | nn.Unflatten) else "module"
        merges = isinstance(module, nn.Flatten) and (module.start_dim, module.end_dim) == (0, 1)
        outputs = [(f"out{i}" if i else "out", tensor) for i, tensor in enumerate(tensors_in(result))]
        hint = "merge" if merges else ""
        self.signals.layer(kind, name, tensors, outputs[::-1], module=module, held=now, hint=hint)
        return result

    def _neuron(
        self, name: str, module: nn.Module, x: Tensor, before: Before, run: Callable[[], Fired]
    ) -> Fired:
        """A neuron: its input, where its states come from, and what it returns."""
        with quietly():
            states = {state: self._state(name, module, state, tensor, x) for state, tensor in before.items()}
        with self.signals.unseen():
            fired: Fired = self._guarded(name, module, lambda _: run(), (x,), {})
            now = self._hold(name, module)
        returned = [*fired.states.items(), ("spk", fired.spk)]  # the spikes may be a state too
        self.signals.layer("neuron", name, [x], returned, module=module, held=now, states=states)
        return fired

    def _state(
        self, name: str, module: nn.Module, state: str, tensor: Tensor | None, x: Tensor
    ) -> Value | None:
        """Where a neuron's state comes from; None if ``forward`` sets it to what the neuron starts from itself."""
        value = None if tensor is None else self.signals.of(tensor)
        if tensor is not None and (value is None or value.op.kind == "neuron"):
            self._adapter.check_state(name, module, state, tensor, x, value is not None)
        return value

    def _refused(
        self, error: ConversionError, module: nn.Module, forward: Any, *args: Any, **kwargs: Any
    ) -> Any:
        """A neuron that cannot be converted: what comes after it may have faults of its own."""
        self.signals.refuse(error)
        tensors = list(tensors_in((args, kwargs)))
        with self.signals.unseen():
            result = forward(*args, **kwargs)
        outputs = [("out", tensor) for tensor in tensors_in(result)]
        self.signals.layer("module", error.node, tensors, outputs, module=module)
        return result

    def _sequence(self, name: str, module: nn.Module, forward: Any, *args: Any, **kwargs: Any) -> Any:
        """A neuron that takes all time steps at once."""
        current = next(a for a in (*args, *kwargs.values()) if isinstance(a, Tensor))
        with self.signals.unseen():
            result = self._guarded(name, module, forward, args, kwargs)
            now = self._hold(name, module)
        spk, *states = (result,) if isinstance(result, Tensor) else result
        returned = [*(("mem", state) for state in states), ("spk", spk)]
        self.signals.layer("sequence", name, [current], returned, module=module, held=now)
        return result

    def _hold(self, name: str, module: nn.Module) -> nn.Module:
        """``module`` as this call finds it; tensors that depend on the sample are refused. Nothing of it is seen."""
        self._check_own(name, module)
        self._used[name] = module
        passing = self._passing[id(module)]
        now = held(module, self._held.get(id(module)), children=self._held, passing=passing)
        self._held[id(module)] = now
        return now

    def check_left(self) -> None:
        """Refuse what the call left in its layers and neurons for the next one; their states are apart."""
        for name, module in self._used.items():
            self._check_own(name, module)

    def _check_own(self, name: str, module: nn.Module) -> None:
        own = [(what, t) for what, t in own_tensors(module) if what not in self._passing[id(module)]]
        followed = set(map(id, self.signals.following([tensor for _, tensor in own])))
        if followed:
            computed = ", ".join(what for what, tensor in own if id(tensor) in followed)
            problem = f"its {computed} is computed from a signal"
            remedy = "Let a layer hold weights only; compute what depends on the data between the layers."
            self.signals.refuse(ConversionError(name, problem, remedy))

    def _guarded(self, name: str, module: nn.Module, forward: Any, args: Any, kwargs: Any) -> Any:
        """Run a leaf's own forward; a wrong shape is reported with the module's name."""
        x = next((a for a in (*args, *kwargs.values()) if isinstance(a, Tensor)), None)
        kind = type(module).__name__
        rank, expected = _RANKS.get(kind) or self._adapter.rank(module)
        expected = f" It expects {expected.format(module)}." if expected else ""
        given = f"{name!r} ({kind}) was given an input of shape {tuple(x.shape) if x is not None else None}"
        if rank is not None and x is not None and x.ndim != rank:
            raise ShapeError(f"{given}.{expected} Pass a sample with a batch axis: sample[None] adds one.")
        try:
            return forward(*args, **kwargs)
        except (RuntimeError, ValueError, IndexError, TypeError) as error:
            better = self._adapter.failure(name, module, error)
            if better is error:
                raise
            if better is not None:
                raise better from error
            if isinstance(error, TypeError):
                raise
            raise ShapeError(
                f"{given}, on which torch fails: {error}.{expected} "
                "Pass a sample of the shape that the network was trained on, with its batch axis."
            ) from error
