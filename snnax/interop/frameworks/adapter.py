"""What a framework has to say about its neurons, so that its networks are traced, run, compared and rebuilt.

Everything else, :mod:`snnax.interop.torch`, asks an adapter and names no framework. The defaults are those of a neuron
that takes its input alone, keeps its state in attributes, and returns its spikes.
"""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Callable, Iterator, Mapping
from contextlib import AbstractContextManager, nullcontext
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import nir
import numpy as np
import torch
from torch import Tensor, nn
from torch.func import functional_call

from snnax.errors import ConversionError
from snnax.interop import conventions
from snnax.interop.frameworks import LABELS, package_of
from snnax.interop.spec import NeuronSpec
from snnax.interop.torch.calls import Call, calls_with_states, shape_text
from snnax.interop.torch.observers import Observer
from snnax.interop.torch.writing import network_of

if TYPE_CHECKING:
    from snnax.interop.torch.graph_reader import Reader
    from snnax.interop.torch.step_graph import StepGraph, StepNode


@dataclass(frozen=True)
class Fired:
    """What one call of a neuron gave.

    Attributes:
        spk: what it emits.
        states: its states after the call, by name.
    """

    spk: Tensor
    states: dict[str, Tensor]


Before = Mapping[str, Tensor | None]
Handler = Callable[[Tensor, Before, Callable[[], Fired]], Fired]
"""Sees a call: the input, the states before it (``None``: zeros) and what computes it; its answer is what the neuron
returns and keeps."""


@dataclass(frozen=True)
class Words:
    """A framework's words in errors: what its users write instead.

    Attributes:
        network: to pass a network that has neurons.
        feedback: for what a neuron emitted in the step before.
        untraced: for a tensor that is not computed from the sample.
        random: for random numbers inside of ``forward``.
        norms: for layers that differ from step to step.
        norms_alike: for normalisations of each step that are no layer together.
        neurons: which of its neurons are converted.
        results: for results that are no tensors.
        cycle: for a cycle over several layers.
        source: the function that reads its networks.
        target: the function that writes them.
    """

    network: str = "Pass the network that holds the neurons."
    feedback: str = "Sum over time outside the network, and leave feedback to neurons that have it."
    untraced: str = "Use layers (nn.Linear has a bias), and keep the rest outside the network."
    random: str = "Draw outside of forward and pass what was drawn as the input."
    norms: str = (
        "Layers for each step are known as batch normalisations without a bias only; else use the same layer in each "
        "step."
    )
    norms_alike: str = "Build them alike, with bias=None."
    neurons: str = "the neurons of the framework"
    results: str = "Return a tensor, or tensors in a tuple, list or dict."
    cycle: str = "It has no cycles but those inside of a neuron."
    source: str = "from_torch"
    target: str = "to_torch"


class Adapter(ABC):
    """One framework.

    Attributes:
        label: what reports and errors call it.
        gradients: the gradients of its networks can be compared with those of their ports.
        replaces_states: a neuron that is given a state of another shape than its new one starts from zeros instead.
        programs: its neurons compute on arrays as the neurons of their specs do, so that its networks can be programs.
        starts_anew: its users reset a network between two calls, each of which is a whole sequence.
    """

    label: str
    words = Words()
    gradients = True
    replaces_states = False
    programs = False
    starts_anew = False

    # --- Its modules

    @abstractmethod
    def is_neuron(self, module: Any) -> bool:
        """True for its neurons, known by their class."""

    @abstractmethod
    def states(self, module: Any) -> tuple[str, ...]:
        """Names of a neuron's states, in the order in which it returns them after its spikes; none of other modules."""

    def is_sequence(self, module: Any) -> bool:
        """True for the neurons that take all time steps at once."""
        return False

    def is_layer(self, cls: type) -> bool:
        """True for its classes of layers without state, whose ``forward`` is not looked into."""
        return False

    def surrogate(self, function: type, args: tuple[Any, ...]) -> tuple[str, dict[str, float]] | None:
        """Name and arguments of the surrogate that a call of a ``torch.autograd.Function`` is; None for any other."""
        return None

    def spike_function(self, name: str, options: Mapping[str, float]) -> Callable[[Tensor], Tensor]:
        """The framework's spike function of a surrogate, as :meth:`surrogate` names it."""
        raise NotImplementedError(f"{self.label} has no spike functions by name")

    def kind(self, module: Any) -> str:
        """The name of a neuron's class in reports."""
        return type(module).__name__

    def neurons(self, net: nn.Module) -> dict[str, nn.Module]:
        """All its neurons in ``net`` by module path."""
        return {name: module for name, module in net.named_modules() if self.is_neuron(module)}

    def check_network(self, net: nn.Module) -> None:
        """Refuse a network that is none of this framework.

        Raises:
            ConversionError: it has no neuron.
        """
        if not self.neurons(net):
            raise ConversionError(
                type(net).__name__, f"the network has no {self.label} neuron", self.words.network
            )

    def check(self, name: str, module: Any) -> None:  # noqa: B027  most have nothing to refuse
        """Refuse a neuron whose step is not the one of its class; raises ConversionError."""

    # --- Running a copy of a network

    def kept(self, module: Any) -> dict[str, Tensor | None]:
        """The states that a neuron keeps from call to call, by name."""
        return {state: getattr(module, state, None) for state in self.states(module)}

    def passing(self, module: Any) -> frozenset[str]:
        """Names of a neuron's attributes that belong to a step and not to the neuron."""
        return frozenset(self.states(module))

    def reset(self, module: Any, dtype: torch.dtype, traced: bool) -> None:
        """Put a neuron into the state before its first call; while it is traced, into zeros that broadcast."""
        for state in self.states(module):
            setattr(module, state, torch.zeros((), dtype=dtype) if traced else None)

    def may_be_program(self, net: nn.Module) -> bool:
        """Whether a network that is no graph of layers may be a program."""
        return self.programs

    def check_program(self, net: nn.Module) -> None:
        """Refuse a network that is another framework's; one without any neuron is a program as well.

        Raises:
            ConversionError: names the function for its framework.
        """
        found = {package_of(base) for module in net.modules() for base in type(module).__mro__}
        others = sorted(p for p in found if p and LABELS[p] != self.label)
        if others and not self.neurons(net):
            raise ConversionError(
                type(net).__name__,
                f"its neurons are those of {LABELS[others[0]]}, and none is one of {self.label}",
                f"interop.from_{others[0]}(net, sample) converts it.",
            )

    def opened(self, net: nn.Module) -> None:  # noqa: B027  most are
        """Let a copy, which is thrown away, compute in operations of torch that can be looked into."""

    def alone(self, neurons: Mapping[str, nn.Module]) -> AbstractContextManager[None]:
        """Let the framework's global state know of ``neurons`` only, for a while."""
        return nullcontext()

    def tap(self, name: str, module: Any, handler: Handler) -> None:
        """Let ``handler`` see each call of a neuron, part of a copy that is thrown away."""
        forward, states = module.forward, self.states(module)

        def tapped(x: Tensor) -> Tensor:
            def run() -> Fired:
                spk = forward(x)
                return Fired(spk, {state: getattr(module, state) for state in states})

            fired = handler(x, self.kept(module), run)
            for state, tensor in fired.states.items():
                setattr(module, state, tensor)
            return fired.spk

        vars(module)["forward"] = tapped

    def known(self, name: str, module: Any) -> NeuronSpec | None:
        """The spec of a neuron whose call is one operation; None for one that is looked into, as for any module."""
        try:
            self.check(name, module)
            return self.spec_of(name, module, False)
        except ConversionError:
            return None

    def parameters(self, module: Any) -> tuple[str, ...]:
        """Names, with dots, of the tensors that a call of a neuron reads beside its input and states."""
        passing, named = self.passing(module), [*module.named_parameters(), *module.named_buffers()]
        return tuple(name for name, _ in named if name.rpartition(".")[2] not in passing)

    def fire(
        self, module: nn.Module, x: Tensor, states: Mapping[str, Tensor], parameters: Mapping[str, Tensor]
    ) -> list[Tensor]:
        """One call of a neuron that keeps its states in buffers: what it emits, and its new states.

        Args:
            module: the neuron; it stays as it is.
            x: its input.
            states: those before the call, empty ones being zeros.
            parameters: numbers to compute with instead of its own, by name.
        """
        held = {**parameters, **states}
        made = functional_call(
            module, held, (x,), tie_weights=False
        )  # which puts new states in their places in held
        return [made[0] if isinstance(made, tuple) else made, *(held[state] for state in states)]

    def tap_sequence(self, module: Any, record: Observer) -> None:
        """Let a neuron that takes all time steps at once write its one call into ``record``."""
        raise NotImplementedError(f"{self.label} has no neurons that take all time steps at once")

    def check_state(self, name: str, module: Any, state: str, tensor: Tensor, x: Tensor, fed: bool) -> None:
        """Refuse a state that is not what a neuron starts from, or (``fed``) not what it or another returned.

        Args:
            name: of the neuron.
            module: the neuron.
            state: name of the state.
            tensor: what it is before a call.
            x: input of that call.
            fed: it is a state that a neuron returned.

        Raises:
            ConversionError: says what to start from.
        """
        if not fed and bool(torch.any(tensor != 0)):
            raise ConversionError(name, f"its initial {state} is not zero", "Start from zero.")

    def start(self, module: Any, zeros: Tensor) -> Tensor:
        """What ``forward`` is given as a neuron's first state, where it takes states: zeros, of its output's shape."""
        return zeros

    def rank(self, module: Any) -> tuple[int | None, str]:
        """How many axes the input of one of its modules has, and the shape in words; ``(None, "")`` leaves it open."""
        return None, ""

    def failure(self, name: str, module: Any, error: Exception) -> Exception | None:
        """What to raise where torch fails inside of a module; None: an error that says the shape of its input."""
        return None

    def calls(self, net: nn.Module, sample: Any) -> Iterator[Call]:
        """The ways in which ``net`` may be called on ``sample``, in the order to try them."""
        yield from calls_with_states(net, sample, self)

    def call(self, net: nn.Module, args: tuple[Any, ...]) -> Any:
        """Call a network; what it returns besides its states."""
        return net(*args)

    def call_text(self, args: Any) -> tuple[str, str]:
        """How a network was called whose ``forward`` raised, and what to do."""
        return (
            f"the net was called with ({', '.join(map(shape_text, args))})",
            "Pass a sample for which net(sample) runs; sample=(x, ...) for more positional arguments.",
        )

    def sample_of(self, net: nn.Module, x: np.ndarray) -> Any:
        """What one call takes of ``x`` ``[T, B, ...]``; None: it is found out by trying."""
        return None

    def check_step(self, step: StepGraph) -> None:  # noqa: B027
        """Refuse a step that was traced and cannot be converted; raises ConversionError."""

    def observer(self, node: StepNode, step: StepGraph) -> Observer:
        """Records what a neuron gets and does, in the terms of the neuron that it is converted to."""
        return Observer(node.name)

    # --- Converting

    @abstractmethod
    def spec_of(self, name: str, module: Any, used: bool) -> NeuronSpec:
        """A neuron as numbers and words; ``used``: its states are read outside.

        Raises:
            ConversionError: for what has no equal.
        """

    def check_spec(self, name: str, module: Any) -> None:
        """Refuse, while a network is traced, a neuron that will have no spec; raises ConversionError."""
        self.spec_of(name, module, False)

    def time_step(self, net: nn.Module, dt: float | None) -> float:
        """The time step of a network in seconds; ``dt`` is what the user asked for."""
        return conventions.DT if dt is None else dt

    def converts(self, module: Any) -> bool:
        """True for its own modules that :meth:`read` converts."""
        return self.is_neuron(module)

    def read(self, reader: Reader, node: StepNode) -> None:
        """Add the NIR nodes of one of its own modules."""
        reader.neuron(node, self.spec_of(node.name, node.held, node.name in reader.used))

    def network(self, graph: nir.NIRGraph, wide: bool) -> nn.Module:
        """The torch network of a NIR graph; ``wide``: every number of its neurons in float64."""
        return network_of(graph, self, wide=wide)

    def build(self, name: str, spec: NeuronSpec, wide: bool) -> nn.Module:
        """The neuron of a spec, which keeps its own state; ``wide``: every number in float64.

        Raises:
            ConversionError: for what the framework has no equal of; here all, for one that is only read.
        """
        raise ConversionError(
            name, f"snnax does not build neurons of {self.label}", "Read its networks, or write others."
        )

    def check_parts(  # noqa: B027
        self, specs: Mapping[str, NeuronSpec], parts: Mapping[str, Any]
    ) -> None:
        """Refuse layers that cannot stand in one network; raises ConversionError."""

    def in_chain(self, module: Any) -> bool:
        """True for modules that ``nn.Sequential`` can call."""
        return True
