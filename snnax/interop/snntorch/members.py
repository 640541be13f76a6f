"""snnTorch's neurons inside a torch network, known by where their class comes from: snnTorch is not imported."""

from __future__ import annotations

import sys
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

import torch
from torch import Tensor, nn

from snnax.errors import ConversionError
from snnax.interop.families.registry import kinds
from snnax.interop.torch.held import plain_class
from snnax.interop.torch.step_graph import state_names

_REPLACEABLE = {"__init__", "__repr__", "extra_repr", "reset_hidden", "detach_hidden"}
_PASSING = frozenset({"reset", "spk", "mem", "mem_prev"})


def library_class(module: nn.Module) -> type | None:
    """The class of snnTorch that ``module`` is, or is derived from."""
    return next((cls for cls in type(module).__mro__ if cls.__module__.startswith("snntorch.")), None)


def neuron_kind(module: nn.Module) -> str:
    """Name of the snnTorch class that ``module`` is, or is a subclass of."""
    cls = library_class(module)
    return type(module).__name__ if cls is None else cls.__name__


def is_neuron(module: nn.Module) -> bool:
    """True for snnTorch's neurons, whether or not they are of its class ``SpikingNeuron``."""
    return any(
        cls.__name__ in ("SpikingNeuron", "LeakyParallel") and cls.__module__.startswith("snntorch.")
        for cls in type(module).__mro__
    )


def is_sequence(module: nn.Module) -> bool:
    """True for the neurons that take all time steps at once."""
    return is_neuron(module) and neuron_kind(module) in kinds(sequence=True)


def neurons_of(net: nn.Module) -> dict[str, nn.Module]:
    """All snnTorch neurons of ``net`` by module path."""
    return {name: m for name, m in net.named_modules() if is_neuron(m)}


def passing_of(module: nn.Module) -> frozenset[str]:
    """Names of a neuron's tensors that belong to a step and not to the neuron."""
    if not is_neuron(module):
        return frozenset()
    return _PASSING | set(state_names(neuron_kind(module)))


def state_shape(module: nn.Module, current: Tensor) -> tuple[int, ...]:
    """Shape of a neuron's states on an input."""
    parts: Any = module
    if neuron_kind(module) == "SConv2dLSTM":
        return (len(current), parts.out_channels, *current.shape[2:])
    return tuple(current.shape)


def check_neuron(name: str, module: nn.Module) -> None:
    """Refuse a neuron whose step is not one of the known equations.

    Raises:
        ConversionError: for other classes, methods of its own and methods replaced on the instance.
    """
    kind, base = neuron_kind(module), library_class(module)
    known = kinds(native=False)
    if kind not in known:
        raise ConversionError(
            name, f"neuron class {kind} cannot be converted", f"Use one of: {', '.join(known)}."
        )
    check_cell(name, module)
    for cls in plain_class(module).__mro__:
        if cls is base:
            break
        for attribute, member in vars(cls).items():
            if callable(member) and attribute not in _REPLACEABLE and hasattr(base, attribute):
                raise ConversionError(
                    name, f"class {cls.__name__} overrides {attribute} of snntorch.{kind}, so its step is another",
                    f"Use snntorch.{kind} itself, with the surrounding computation in the network's forward.",
                )  # fmt: skip
    if found := replaced_method(module):
        raise ConversionError(
            name, f"its method {found} was replaced, so that its step is not that of snntorch.{kind}",
            f"Take the replacement away (del neuron.{found}), or write the neuron in flax and put it into the "
            "network by hand.",
        )  # fmt: skip


def replaced_method(module: nn.Module) -> str:
    """Name of a method that is not the one that the library of its class wrote; empty if there is none.

    A method is replaced on the instance, on the class, or by binding that of another module.
    """
    cls = plain_class(module)
    for name, value in vars(module).items():
        if callable(value) and not isinstance(value, nn.Module) and callable(getattr(cls, name, None)):
            return name
    for base in cls.__mro__:
        if base.__module__.startswith(("snntorch.", "torch.nn.modules.", "norse.torch.module.")):
            for name, member in vars(base).items():
                if not name.startswith("__") and not of_library(member):
                    return name
    rule = vars(module).get("state_function")
    if rule is not None:
        own = getattr(cls, getattr(rule, "__name__", ""), None)
        if getattr(rule, "__func__", None) is not own or getattr(rule, "__self__", None) is not module:
            return "state_function"
    if getattr(module, "surrogate_disable", False) and not of_library(vars(module).get("spike_grad")):
        return "spike_grad"
    return ""


def of_library(function: Any) -> bool:
    """False for a Python function that was not written in torch, snnTorch or Norse; True for what is none."""
    code: Any = getattr(function, "__func__", function)
    home = getattr(code, "__globals__", {}).get("__name__", "torch")
    return bool(home.partition(".")[0] in ("torch", "snntorch", "norse"))


def check_cell(name: str, module: nn.Module) -> None:
    """Refuse the layers that snnTorch 1.0.0 computes differently from what they are.

    Raises:
        ConversionError: names the reason and the remedy.
    """
    parts: Any = module
    if neuron_kind(module) == "SLSTM" and parts.input_size != parts.hidden_size:
        raise ConversionError(
            name, f"snnTorch 1.0.0 forgets the state of an SLSTM at every step unless its sizes are equal; these are "
            f"input_size={parts.input_size}, hidden_size={parts.hidden_size}, so it has no recurrence",
            "snnax.SLSTM does recur: to give it these weights use interop.from_state_dict.",
        )  # fmt: skip


def reset_states(neurons: dict[str, nn.Module], dtype: torch.dtype, *, traced: bool = False) -> None:
    """Put every known neuron into the state before its first call: empty tensors, which it reads as zeros.

    DeltaLeaky does not: it gets nothing, or while it is traced a zero that broadcasts.
    """
    for module in neurons.values():
        parts: Any = module
        if neuron_kind(module) == "DeltaLeaky":
            zero = torch.zeros((), dtype=dtype, device=parts.threshold.device)
            parts.mem = parts.mem_prev = zero if traced else None
            continue
        for state in state_names(neuron_kind(module)):
            old = module._buffers[state]
            device = None if old is None else old.device
            module._buffers[state] = torch.zeros(0, dtype=dtype, device=device)


@contextmanager
def own_instances(neurons: dict[str, nn.Module]) -> Iterator[None]:
    """Let snnTorch's global list of neurons hold only ``neurons`` for a while.

    ``utils.reset(self)`` inside a ``forward`` goes through that list: it must reach the copy that runs,
    and leave the user's networks alone.
    """
    library: Any = sys.modules.get("snntorch")
    classes = [] if library is None else _subclasses(library.SpikingNeuron)
    holders: list[Any] = [c for c in classes if "instances" in vars(c)]
    saved = [(holder, vars(holder)["instances"]) for holder in holders]
    try:
        for holder in holders:
            holder.instances = list(neurons.values())
        yield
    finally:
        for holder, instances in saved:
            holder.instances = instances


def _subclasses(cls: type) -> Iterator[type]:
    """``cls`` and all classes derived from it."""
    yield cls
    derived: list[type] = cls.__subclasses__()
    for sub in derived:
        yield from _subclasses(sub)
