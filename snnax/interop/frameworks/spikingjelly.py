"""SpikingJelly's networks, and ``from_spikingjelly``.

Its neurons charge, fire and reset in this order, and fire *at* their threshold, where those of snnTorch, Norse and NIR
fire above it only. So none of them is taken for a neuron of snnax: whatever a network runs is recorded as operations
of torch, which is exact for every neuron and layer of the library, and every class derived from one.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Mapping
from typing import Any

import numpy as np
import torch
from spikingjelly.activation_based import base, neuron, surrogate
from spikingjelly.activation_based.layer import Dropout
from torch import Tensor, nn

from snnax import checks
from snnax.errors import ConversionError, TrainingModeError
from snnax.interop.frameworks import LABELS, package_of
from snnax.interop.frameworks.adapter import Adapter, Words
from snnax.interop.layers.registry import Variables
from snnax.interop.nir.entries import CALL, SAMPLE
from snnax.interop.program.module import PortedProgram
from snnax.interop.spec import DEFAULT_SURROGATE, NeuronSpec
from snnax.interop.torch import writing
from snnax.interop.torch.prepare import copy_net, unwrap
from snnax.interop.torch.program_reader import arguments_of, findings_of, program_of
from snnax.modules import VARIABLES

__all__ = ["ADAPTER", "from_spikingjelly", "to_spikingjelly"]

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


_FAST = {2.0: surrogate.SoftSign, 1.0: surrogate.SuperSpike}
_WRITTEN: dict[str, tuple[str, Callable[..., Any]]] = {
    "sigmoid": ("slope", surrogate.Sigmoid),
    "atan": ("alpha", surrogate.ATan),
    "fast_sigmoid": (
        "slope",
        lambda slope: {2.0: surrogate.SoftSign, 1.0: surrogate.SuperSpike}[slope](slope),
    ),
    "straight_through_estimator": ("", surrogate.DeterministicPass),
}
"""The same the other way: by the name of snnax's, its argument and what makes SpikingJelly's."""


def _function_of(name: str, function: tuple[str, dict[str, Any]]) -> Any:
    """SpikingJelly's module of a surrogate.

    Raises:
        ConversionError: it has none with this gradient.
    """
    kind, options = function
    try:
        key, made = _WRITTEN[kind]
        return made(float(options[key])) if key else made()
    except KeyError:
        raise ConversionError(
            name, f"SpikingJelly has no spike function with the gradient of {kind}({options})",
            "Use sigmoid, atan, fast_sigmoid(slope=1 or 2) or straight_through_estimator.",
        ) from None  # fmt: skip


_EQUAL = (
    "SpikingJelly's equals are Leaky(beta, threshold, reset_mechanism='zero', reset_delay=False) with one beta in "
    "(0, 1] and one threshold, not learned, without output=True."
)


def _unlike(spec: NeuronSpec) -> str | None:
    """Why no neuron of SpikingJelly computes the same; ``None`` if one does."""
    if spec.kind != "Leaky":
        return f"SpikingJelly has no neuron with the equations of {spec.kind}"
    if spec.reset_mechanism != "zero" or spec.reset_delay:
        when = "the step after the spike" if spec.reset_delay else "the step of the spike"
        return (
            f"it resets by {spec.reset_mechanism!r} in {when}; SpikingJelly resets in the step of the spike, and "
            "subtracts the number at which it fires, not the one above which this fires"
        )
    if spec.learn or any(np.ndim(value) for value in spec.values.values()):
        return "its numbers are learned, or differ from neuron to neuron; SpikingJelly's are one fixed number each"
    if not float(spec.values["threshold"]) > 0:
        return "its threshold is not above 0, so that it is reset while it charges too"
    if not 0 < float(spec.values["beta"]) <= 1:
        return f"its beta is {float(spec.values['beta']):g}; SpikingJelly's 1 - 1/tau lies between 0 and 1"
    if spec.inhibition or spec.quantizer or spec.surrogate_disable or spec.output:
        return "it has inhibition, a quantized state or no surrogate, or returns its membrane"
    return None if float(spec.values.get("graded_spikes_factor", 1.0)) == 1 else "its spikes have a height"


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
        target="to_spikingjelly",
    )

    def is_neuron(self, module: Any) -> bool:
        """What keeps something from step to step."""
        return isinstance(module, base.MemoryModule)

    def states(self, module: Any) -> tuple[str, ...]:
        """Its memories."""
        return tuple(module._memories) if self.is_neuron(module) else ()

    def kept(self, module: Any) -> dict[str, Tensor | None]:
        """Those of its memories that hold an array: before the first call they are numbers."""
        held = super().kept(module)
        return {state: value if isinstance(value, Tensor) else None for state, value in held.items()}

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

    def spike_function(self, name: str, options: Mapping[str, float]) -> Callable[[Tensor], Tensor]:
        """Those of :data:`_FUNCTIONS`, back."""
        made: Callable[[Tensor], Tensor] = _function_of("the network", (name, dict(options)))
        return made

    def build(self, name: str, spec: NeuronSpec, wide: bool) -> nn.Module:
        """``IFNode`` and ``LIFNode`` in single-step mode, of neurons that charge, fire and reset as those do.

        They fire at their threshold: that is the next number above that of a neuron that fires above its own.

        Raises:
            ConversionError: for every other neuron; says what differs.
        """
        if (problem := _unlike(spec)) is not None:
            raise ConversionError(name, problem, _EQUAL)
        kind = np.float64 if wide else np.float32
        beta, threshold = (kind(spec.values[key]) for key in ("beta", "threshold"))
        settings: dict[str, Any] = {
            "v_threshold": float(np.nextafter(threshold, kind(np.inf))),
            "v_reset": 0.0,
            "surrogate_function": _function_of(name, spec.surrogate or DEFAULT_SURROGATE),
            "step_mode": "s",
        }
        if beta == 1:
            return neuron.IFNode(**settings)
        return neuron.LIFNode(tau=float(1 / (1 - beta.astype(np.float64))), decay_input=False, **settings)

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

    Compared with ``spikingjelly.activation_based.nir_exchange``: nothing is rescaled or approximated. A program of such
    neurons has no NIR form.
    """
    inner = unwrap(net)
    findings = findings_of(inner)
    with findings.going_on():
        ADAPTER.check_network(inner)
    with findings.going_on():
        _check_calls(inner, sample)
    return program_of(inner, sample, ADAPTER, findings)


@checks.takes(
    variables=VARIABLES,
    sample=SAMPLE,
    into=checks.maybe(checks.instance(nn.Module, "a torch.nn.Module")),
    dtype=checks.maybe(checks.instance(torch.dtype, "torch.float32 or torch.float64")),
)
def to_spikingjelly(
    model: Any,
    variables: Mapping[str, Any],
    sample: Any = None,
    *,
    into: nn.Module | None = None,
    dtype: torch.dtype | None = None,
) -> nn.Module:
    """Turn a flax model into a torch network for SpikingJelly, in evaluation mode.

    A program of :func:`from_spikingjelly` becomes a module that is called as the network was and returns what that
    returned; parameters and buffers have their names, so that its ``state_dict`` is that network's. Each call is a
    whole sequence from the reset state. Any other model becomes a network of one time step, in single-step mode, with
    SpikingJelly's neurons where they compute the same: ``Leaky`` with ``reset_mechanism="zero"`` and
    ``reset_delay=False`` is a ``LIFNode`` that does not decay its input, with ``beta=1`` an ``IFNode``. Its threshold
    is the next number above, since those fire *at* theirs. ``LIFNode`` computes ``v - v/tau + x`` where snnax has
    ``beta v + x``: the two round differently, unless ``beta`` is 1 or 0.5.

    Args:
        model: a program, ``Sequential`` or ``Graph``.
        variables: its variables.
        sample: one step's input ``[B, ...]``, for models that do not know their ``input_shape``.
        into: the network that was ported, or one with the same layers: it gets the weights and is returned.
        dtype: ``torch.float64`` for every digit; by default that of the weights.

    Returns:
        The network; reset it with ``functional.reset_net`` between two sequences.

    Raises:
        ConversionError: for what torch or SpikingJelly has no equal of; says what differs. For a program also if
            ``into`` computes something else with the same weights; it is then left as it was.
        ShapeError: if ``into`` has other layers or shapes; it is then left as it was.
        ArgumentError: for another ``dtype`` than float32 and float64.
        MissingDependencyError: if torch or SpikingJelly is not installed.

    Example::

        lif = snn.Leaky(beta=0.5, reset_mechanism="zero", reset_delay=False, init_hidden=True)
        net = snn.Sequential([nn.Dense(2), lif])
        back = interop.to_spikingjelly(net, net.init(jax.random.key(0), x), x)     # Linear, LIFNode(tau=2.0)

    Compared with ``spikingjelly.activation_based.nir_exchange``: thresholds are moved so that the same spikes come out.
    """
    neurons = model.program.neurons if isinstance(model, PortedProgram) else {}
    if neurons:
        remedy = "Port a network with SpikingJelly's neurons, or go back to the framework that it came from."
        refusals = [
            ConversionError(
                name, f"the program runs {spec.kind} of another framework as one operation", remedy
            )
            for name, spec in neurons.items()
        ]
        raise ConversionError.joined(refusals)
    return writing.to_torch(model, variables, sample, ADAPTER, into=into, dtype=dtype)
