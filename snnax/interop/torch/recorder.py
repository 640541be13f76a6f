"""The recorder: sees every operation on tensors while a network runs."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import contextmanager
from functools import partial
from typing import TYPE_CHECKING, Any

from torch import Tensor, nn
from torch.overrides import TorchFunctionMode

from snnax.errors import ConversionError, ShapeError
from snnax.interop.torch.functions import handle, tensors_in
from snnax.interop.torch.held import held, own_tensors
from snnax.interop.torch.layers import ScaleBy, TimedNorm
from snnax.interop.torch.originals import replaced_method
from snnax.interop.torch.reached import chance, note_lengths
from snnax.interop.torch.records import Ledger, Value, place

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

_STEADY = "compute what depends on the data between the layers."
_CONTAINERS = (nn.Sequential, nn.ModuleList, nn.ModuleDict, nn.ParameterList, nn.ParameterDict)


class Recorder(TorchFunctionMode):
    """Records one call of a network.

    Args:
        adapter: knows the neurons.
        label: what to call the outermost module.
        owned: from the id of each parameter and buffer of the running copy to the user's own.
        constants: ids of the tensors of the copy that are no parameters.
    """

    def __init__(self, adapter: Adapter, label: str, owned: dict[int, Tensor], constants: set[int]) -> None:
        super().__init__()
        self.adapter = adapter
        self.constants = constants
        self.owned = owned
        self._label = label
        self._held: dict[int, nn.Module] = {}
        self._chance = chance()
        self._neurons: dict[str, nn.Module] = {}
        self.begin()

    def begin(self) -> None:
        """Start the record of a call: nothing of an earlier one is known."""
        self.ledger = Ledger()
        self.problems: list[ConversionError] = []
        self.zeros: dict[int, Tensor] = {}
        self._used: dict[str, nn.Module] = {}
        self._path = [self._label]
        self._paused = False
        for name, module in self._neurons.items():
            for state, tensor in self.adapter.kept(module).items():
                if tensor is not None:
                    self.ledger.emit(tensor, "state", state, name, module=module)

    @property
    def where(self) -> str:
        """Path of the module whose ``forward`` runs now."""
        return self._path[-1]

    def __torch_function__(
        self, func: Callable[..., Any], types: Any, args: tuple[Any, ...] = (), kwargs: Any = None
    ) -> Any:
        if self._paused:
            return func(*args, **(kwargs or {}))
        return handle(self, func, args, kwargs or {})

    def __enter__(self) -> Any:
        self._chance = chance()
        return super().__enter__()

    def __exit__(self, *reason: Any) -> None:
        super().__exit__(*reason)
        if reason[0] is None and chance() != self._chance:
            problem = "its forward draws random numbers, so that each call computes something else"
            self.problems.append(ConversionError(self._label, problem, self.adapter.words.random))

    def attach(self, net: nn.Module) -> None:
        """Make the modules of ``net``, a copy that is thrown away, report their calls."""
        for name, module in net.named_modules():
            if isinstance(module, nn.ModuleList | nn.ModuleDict) and not isinstance(module, TimedNorm):
                continue
            name, forward = name or self.where, module.forward
            if self.adapter.is_neuron(module):
                self._attach_neuron(name, module)
            if module.forward == forward:  # a neuron may report from inside of its own
                call = self._call_leaf if self.is_leaf(module) else self._call_through
                vars(module)["forward"] = _bind(call, name, module, forward)
        note_lengths(net)
        self.begin()

    def _attach_neuron(self, name: str, module: nn.Module) -> None:
        self._neurons[name] = module
        try:
            self.adapter.check(name, module)
        except ConversionError as error:
            vars(module)["forward"] = _bind(self._call_refused, error, module, module.forward)
            return
        if self.adapter.is_sequence(module):
            vars(module)["forward"] = _bind(self._call_sequence, name, module, module.forward)
        else:
            self.adapter.tap(name, module, partial(self._call_neuron, name, module))

    def is_leaf(self, module: nn.Module) -> bool:
        """True for a module that is one node: a layer of torch.nn or the framework whose ``forward`` is its own."""
        if isinstance(module, TimedNorm | ScaleBy):
            return True
        if isinstance(module, _CONTAINERS) or replaced_method(module):
            return False
        home = next(cls for cls in type(module).__mro__ if "forward" in vars(cls))
        return home is not nn.Module and (
            home.__module__.startswith(("torch.nn.", "torch.ao.")) or self.adapter.is_layer(home)
        )

    def refuse(self, error: ConversionError) -> None:
        """Remember why the network cannot be converted; the call goes on, to find out what else there is."""
        error = error if error.line else type(error)(error.node, error.problem, error.remedy, place())
        self.problems.append(error)

    def ends(self) -> dict[str, dict[str, Value | None]]:
        """The states of each neuron after the call."""
        return {
            name: {state: self.ledger.find(tensor) for state, tensor in self.adapter.kept(module).items()}
            for name, module in self._neurons.items()
        }

    def _hold(self, name: str, module: nn.Module, values: Any = None) -> nn.Module:
        """``module`` as this call finds it; tensors that depend on the sample are refused."""
        passing = self.adapter.passing(module)
        self._check_own(name, module)
        self._used[name] = module
        with self._pause():
            now = held(
                module, self._held.get(id(module)), children=self._held, values=values, passing=passing
            )
        self._held[id(module)] = now
        return now

    def check_left(self) -> None:
        """Refuse what the call left in its layers and neurons for the next one; their states are apart."""
        for name, module in self._used.items():
            self._check_own(name, module)

    def _check_own(self, name: str, module: nn.Module) -> None:
        passing = self.adapter.passing(module)
        for what, tensor in own_tensors(module):
            if what not in passing and self.ledger.find(tensor) is not None:
                self.refuse(
                    ConversionError(
                        name,
                        f"its {what} is computed from a signal",
                        "Let a layer hold weights only; " + _STEADY,
                    )
                )

    @contextmanager
    def _pause(self) -> Iterator[None]:
        """Let torch run without recording."""
        before, self._paused = self._paused, True
        try:
            yield
        finally:
            self._paused = before

    def constant(self, tensor: Tensor, where: str, reader: str) -> Value:
        """A tensor that the sample did not make, used as a signal: refused if anything depends on it."""
        return Value(
            self.ledger.add(
                "unsupported",
                reader,
                where,
                problem=f"{reader} is a tensor that is not computed from the sample in a way that can be "
                "followed: a parameter, a constant, a custom function, or feedback from the step before",
                remedy=self.adapter.words.untraced,
            ),
            "out",
            tuple(tensor.shape),
        )

    def signal(self, tensor: Tensor, reader: str) -> Value:
        """The value of a tensor that ``reader`` takes as a signal."""
        value = self.ledger.find(tensor)
        return self.constant(tensor, self.where, reader) if value is None else value

    def _call_through(self, name: str, module: nn.Module, forward: Any, *args: Any, **kwargs: Any) -> Any:
        """A container or a module of the user's own: what it does is recorded, not that it was called."""
        self._path.append(name)
        result = forward(*args, **kwargs)
        self._path.pop()
        return result

    def _call_leaf(self, name: str, module: nn.Module, forward: Any, *args: Any, **kwargs: Any) -> Any:
        """A layer without state."""
        tensors = [a for a in (*args, *kwargs.values()) if isinstance(a, Tensor)]
        if self._paused:  # part of a neuron
            self._hold(name, module)
            return forward(*args, **kwargs)
        if not any(self.ledger.find(t) for t in tensors):
            return forward(*args, **kwargs)
        if isinstance(module, nn.Identity):
            return tensors[0]
        inputs = tuple(self.signal(t, f"an input of {name!r}") for t in tensors)
        now = self._hold(name, module)
        with self._pause():
            result = self._guarded(name, module, forward, args, kwargs)
            if any(result is t for t in tensors):
                result = result.view_as(result)
        kind: Any = "reshape" if isinstance(module, nn.Flatten | nn.Unflatten) else "module"
        outputs = list(tensors_in(result))
        shape = tuple(outputs[0].shape) if outputs else ()
        op = self.ledger.add(
            kind, name, self.where, inputs=inputs, shape=shape, module=module, hint=_hint(module), held=now
        )
        for i, output in enumerate(outputs):
            self.ledger.bind(output, Value(op, f"out{i}" if i else "out", tuple(output.shape)))
        return result

    def _call_neuron(
        self, name: str, module: nn.Module, x: Tensor, before: Before, run: Callable[[], Fired]
    ) -> Fired:
        """A neuron: its input, where its states come from, and what it returns."""
        inputs = (self.signal(x, f"the input of {name!r}"),)
        states = {state: self._state(name, module, state, tensor, x) for state, tensor in before.items()}
        with self._pause():
            fired: Fired = self._guarded(name, module, lambda _: run(), (x,), {})
        op = self.ledger.add(
            "neuron", name, self.where, inputs=inputs, shape=tuple(fired.spk.shape), module=module, states=states,
            held=self._hold(name, module),
        )  # fmt: skip
        for port, state in fired.states.items():
            self.ledger.bind(state, Value(op, port, tuple(state.shape)))
        self.ledger.bind(fired.spk, Value(op, "spk", op.shape))
        return fired

    def _call_refused(
        self, error: ConversionError, module: nn.Module, forward: Any, *args: Any, **kwargs: Any
    ) -> Any:
        """A neuron that cannot be converted: what comes after it may have faults of its own."""
        self.refuse(error)
        inputs = tuple(v for v in map(self.ledger.find, tensors_in((args, kwargs))) if v)
        with self._pause():
            result = forward(*args, **kwargs)
        for tensor in tensors_in(result):
            self.ledger.emit(tensor, "module", error.node, error.node, inputs=inputs, module=module)
        return result

    def _call_sequence(self, name: str, module: nn.Module, forward: Any, *args: Any, **kwargs: Any) -> Any:
        """A neuron that takes all time steps at once."""
        current = next(a for a in (*args, *kwargs.values()) if isinstance(a, Tensor))
        inputs = (self.signal(current, f"the input of {name!r}"),)
        with self._pause():
            result = self._guarded(name, module, forward, args, kwargs)
        spk, *states = (result,) if isinstance(result, Tensor) else result
        op = self.ledger.add(
            "sequence", name, self.where, inputs=inputs, shape=tuple(spk.shape), module=module,
            held=self._hold(name, module),
        )  # fmt: skip
        self.ledger.bind(spk, Value(op, "spk", op.shape))
        for state in states:
            self.ledger.bind(state, Value(op, "mem", tuple(state.shape)))
        return result

    def _state(
        self, name: str, module: nn.Module, state: str, tensor: Tensor | None, x: Tensor
    ) -> Value | None:
        """Where a neuron's state comes from; None if ``forward`` sets it to what the neuron starts from itself."""
        if tensor is None:
            return None
        value = self.ledger.find(tensor)
        if value is None or value.op.kind == "neuron":
            self.adapter.check_state(name, module, state, tensor, x, value is not None)
        return value

    def _guarded(self, name: str, module: nn.Module, forward: Any, args: Any, kwargs: Any) -> Any:
        """Run a leaf's own forward; a wrong shape is reported with the module's name."""
        x = next((a for a in (*args, *kwargs.values()) if isinstance(a, Tensor)), None)
        kind = type(module).__name__
        rank, expected = _RANKS.get(kind) or self.adapter.rank(module)
        expected = f" It expects {expected.format(module)}." if expected else ""
        given = f"{name!r} ({kind}) was given an input of shape {tuple(x.shape) if x is not None else None}"
        if rank is not None and x is not None and x.ndim != rank:
            raise ShapeError(f"{given}.{expected} Pass a sample with a batch axis: sample[None] adds one.")
        try:
            return forward(*args, **kwargs)
        except (RuntimeError, ValueError, IndexError, TypeError) as error:
            better = self.adapter.failure(name, module, error)
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


def _bind(call: Callable[..., Any], *first: Any) -> Callable[..., Any]:
    """``call`` with its first arguments filled in, as a plain function that torch can hook."""

    def forward(*args: Any, **kwargs: Any) -> Any:
        return call(*first, *args, **kwargs)

    return forward


def _hint(module: nn.Module) -> str:
    """What a Flatten says about the leading axes."""
    if isinstance(module, nn.Flatten) and (module.start_dim, module.end_dim) == (0, 1):
        return "merge"
    return ""
