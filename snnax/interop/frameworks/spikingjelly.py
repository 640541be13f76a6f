"""SpikingJelly's networks, and ``from_spikingjelly``.

Its neurons charge, fire and reset in this order, and fire *at* their threshold, where those of snnTorch, Norse and NIR
fire above it only. So none of them is taken for a neuron of snnax: whatever a network runs is recorded as operations
of torch, which is exact for every neuron and layer of the library, and every class derived from one.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable
from typing import Any

import torch
from spikingjelly.activation_based import base, surrogate
from spikingjelly.activation_based.layer import Dropout
from torch import Tensor, nn

from snnax import checks
from snnax.errors import ConversionError, TrainingModeError
from snnax.interop.frameworks import LABELS, package_of
from snnax.interop.frameworks.adapter import Adapter, Words
from snnax.interop.layers.registry import Variables
from snnax.interop.nir.entries import CALL
from snnax.interop.program.module import PortedProgram
from snnax.interop.spec import NeuronSpec
from snnax.interop.torch.prepare import copy_net, unwrap
from snnax.interop.torch.program_reader import arguments_of, findings_of, program_of

__all__ = ["ADAPTER", "from_spikingjelly"]

_PACKAGE = "spikingjelly"

# --- Its spike functions whose gradient one of snnax.surrogate has: from their arguments to its name and arguments

Known = tuple[str, dict[str, float]] | None


def _soft_sign(alpha: float) -> Known:
    """``alpha / (2 (1 + alpha |x|)^2)``."""
    return ("fast_sigmoid", {"slope": alpha}) if alpha == 2 else None


def _super_spike(alpha: float) -> Known:
    """``alpha / (1 + |x|)^2``."""
    return ("fast_sigmoid", {"slope": 1.0}) if alpha == 1 else None


_FUNCTIONS: dict[type, Callable[..., Known]] = {
    surrogate.sigmoid: lambda alpha: ("sigmoid", {"slope": alpha}),
    surrogate.atan: lambda alpha: ("atan", {"alpha": alpha}),
    surrogate.soft_sign: _soft_sign,
    surrogate.super_spike: _super_spike,
    surrogate.deterministic_pass: lambda: ("straight_through_estimator", {}),
}


# --- The adapter ----------------------------------------------------------------------------------


class SpikingJelly(Adapter):
    """SpikingJelly 2.0.0: modules that keep their states as *memories*, in single- and multi-step mode."""

    label = "SpikingJelly"
    programs = True
    starts_anew = True
    words = Words(
        network="Pass the network that holds the neuron.LIFNode (or other) layers.",
        neurons="SpikingJelly's neurons, in programs",
        source="from_spikingjelly",
    )

    def is_neuron(self, module: Any) -> bool:
        """What keeps something from step to step."""
        return isinstance(module, base.MemoryModule)

    def states(self, module: Any) -> tuple[str, ...]:
        """Its memories."""
        return tuple(module._memories) if self.is_neuron(module) else ()

    def passing(self, module: Any) -> frozenset[str]:
        """Its memories, and the record of its membrane."""
        return (
            frozenset({*self.states(module), "_memories", "v_seq"}) if self.is_neuron(module) else frozenset()
        )

    def reset(self, module: Any, dtype: torch.dtype, traced: bool) -> None:
        """As ``functional.reset_net``."""
        module.reset()

    def opened(self, net: nn.Module) -> None:
        """Without compiled steps: with a spike function that is none of its modules, it runs its equations in torch."""
        for module in net.modules():
            function = module._modules.get("surrogate_function") if self.is_neuron(module) else None
            if function is not None:
                del module._modules["surrogate_function"]
                vars(module)["surrogate_function"] = function.forward

    def surrogate(self, function: type, args: tuple[Any, ...]) -> Known:
        """Those whose gradient one of snnax's has."""
        made = _FUNCTIONS.get(function)
        given = args[1:]
        if made is None or not all(isinstance(value, int | float) for value in given):
            return None
        return made(*map(float, given))

    def check_network(self, net: nn.Module) -> None:
        """It has neurons, of no other framework, and no dropout that draws."""
        super().check_network(net)
        found: list[ConversionError] = []
        others = {package_of(cls) for module in net.modules() for cls in type(module).__mro__} - {
            "",
            _PACKAGE,
        }
        if others:
            problem = f"it has neurons of both {LABELS[min(others)]} and {self.label}"
            found.append(ConversionError(type(net).__name__, problem, "Convert the two parts one by one."))
        for name, module in net.named_modules():
            if isinstance(module, Dropout) and module.training and module.p > 0:
                problem = f"{type(module).__name__} is in training mode, where it depends on chance"
                found.append(TrainingModeError(name, problem, "Call net.eval() first."))
        if found:
            raise ConversionError.joined(found)

    def check(self, name: str, module: Any) -> None:
        """Every neuron is looked into."""
        self.spec_of(name, module, False)

    def spec_of(self, name: str, module: Any, used: bool) -> NeuronSpec:
        """None has one."""
        kind = type(module).__name__
        problem = f"SpikingJelly's {kind} fires at its threshold, and no neuron of snnax or NIR does"
        raise ConversionError(
            name, problem if hasattr(module, "v_threshold") else f"SpikingJelly's {kind} is no neuron",
            "from_spikingjelly(net, sample) makes a program of its operations, which runs, trains and is compared.",
        )  # fmt: skip


ADAPTER = SpikingJelly()


# --- The conversion -------------------------------------------------------------------------------


def _check_calls(net: nn.Module, sample: Any) -> None:
    """Refuse a network that takes one step of time in each call, and keeps its states from call to call.

    Raises:
        ConversionError: names all such neurons.
    """
    twin, counts = copy_net(net), Counter[str]()
    memories: dict[str, Any] = {**ADAPTER.neurons(twin)}
    for name, module in memories.items():
        ADAPTER.reset(module, torch.float32, traced=False)
        module.register_forward_pre_hook(lambda *_, name=name: counts.update([name]))
    with torch.no_grad(), torch.random.fork_rng(devices=[]):
        try:
            twin(*arguments_of(net, sample))
        except Exception:  # what is wrong with it is said, with its line, by the tracer
            return
    found: list[ConversionError] = []
    for name, module in memories.items():
        stays = any(isinstance(value, Tensor | list | tuple) for value in module._memories.values())
        if counts[name] == 1 and stays and module.step_mode == "s":
            found.append(ConversionError(
                name or type(net).__name__,
                "it is in single-step mode and ran one step, so that the network keeps its states from call to call",
                "Pass all steps at once: functional.set_step_mode(net, 'm') and a sample [T, B, ...], T > 1; or loop "
                "over them inside forward.",
            ))  # fmt: skip
    if found:
        raise ConversionError.joined(found)


@checks.takes(net=checks.instance(nn.Module, "a torch.nn.Module"), sample=CALL)
def from_spikingjelly(net: nn.Module, sample: Any) -> tuple[PortedProgram, Variables]:
    """Turn a SpikingJelly network into a flax model, with its weights.

    Runs copies of ``net`` on ``sample`` and records every operation, those of its neurons too: charge, fire, reset,
    with spikes *at* the threshold, hard and soft resets, any subclass. One call is a whole sequence, from the state
    after ``functional.reset_net(net)``: multi-step networks, and single-step neurons in a loop inside ``forward``.

    Args:
        net: a torch module with neurons of SpikingJelly 2.0.0, in evaluation mode; it stays as it is.
        sample: what one call of ``net`` takes, NumPy or torch, as ``[T, B, ...]`` in multi-step mode; a tuple for
            several positional arguments.

    Returns:
        ``(model, variables)``: a :class:`~snnax.interop.program.module.PortedProgram`, which is called as ``forward``
        is and returns what that returns, for any size of the batch; and its variables, with the names of ``net``'s
        ``state_dict``. The gradients of ``Sigmoid``, ``ATan``, ``DeterministicPass``, ``SoftSign(2)`` and
        ``SuperSpike(1)`` are those of :mod:`snnax.surrogate`; of other spike functions the backward is recorded. Where
        that cannot be done, as for ``Erf``, the network runs, and says so when it is trained.

    Raises:
        ConversionError: for what cannot be ported exactly, and for networks that take one step of time in each call;
            names the module, the line and the remedy.
        TrainingModeError: if dropout or batch normalisation is in training mode.
        MissingDependencyError: if torch or SpikingJelly is not installed.

    Example::

        from spikingjelly.activation_based import functional, layer, neuron
        net = nn.Sequential(layer.Linear(3, 2), neuron.LIFNode())
        functional.set_step_mode(net, "m")
        model, variables = interop.from_spikingjelly(net, torch.ones(25, 1, 3))
        spk = model.apply(variables, jnp.ones((25, 1, 3)))            # [25, 1, 2]
        assert interop.crossvalidate(net, (model, variables), x).agree

    Compared with ``spikingjelly.activation_based.nir_exchange``: nothing is rescaled or approximated. A program has no
    NIR form.
    """
    inner = unwrap(net)
    findings = findings_of(inner)
    with findings.going_on():
        ADAPTER.check_network(inner)
    with findings.going_on():
        _check_calls(inner, sample)
    return program_of(inner, sample, ADAPTER, findings)
