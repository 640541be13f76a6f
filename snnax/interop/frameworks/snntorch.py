"""snnTorch's neurons inside of torch networks, and ``from_snntorch`` and ``to_snntorch``."""

from __future__ import annotations

import inspect
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from functools import cache
from typing import Any, Literal

import numpy as np
import snntorch
import torch
from torch import Tensor, nn

from snnax import checks
from snnax.errors import ConversionError
from snnax.interop import conventions
from snnax.interop.families.registry import find, kinds
from snnax.interop.frameworks import package_of
from snnax.interop.frameworks.adapter import Adapter, Fired, Handler, Words
from snnax.interop.layers.registry import Site, Variables
from snnax.interop.nir.entries import CALL, SAMPLE
from snnax.interop.program.module import PortedProgram
from snnax.interop.snntorch.neurons import (
    applied_surrogate,
    check_cell,
    has_states,
    neuron_from_spec,
    spec_from_torch,
    spike_function,
)
from snnax.interop.spec import NeuronSpec
from snnax.interop.torch import graph_reader, writing
from snnax.interop.torch.arrays import array as tensor_array
from snnax.interop.torch.graph_reader import Reader
from snnax.interop.torch.held import plain_class
from snnax.interop.torch.layers import ScaleBy, scale_node
from snnax.interop.torch.observers import Observer, array
from snnax.interop.torch.originals import of_library, replaced_method
from snnax.interop.torch.step_graph import StepNode
from snnax.layers import State
from snnax.modules import VARIABLES
from snnax.network.containers import Graph

_RANKS = {
    "SConv2dLSTM": (4, "(B, {0.in_channels}, H, W)"),
    "StateLeaky": (3, "(T, B, N), all time steps at once"),
    "LinearLeaky": (3, "(T, B, {0.linear.in_features}), all time steps at once"),
    "AssociativeLeaky": (3, "(T, B, {0.to_v.in_features}), all time steps at once"),
}
_REPLACEABLE = {"__init__", "__repr__", "extra_repr", "reset_hidden", "detach_hidden"}
_PASSING = frozenset({"reset", "spk", "mem", "mem_prev"})
_RESET_AT_ONCE = (
    "snnax runs it: write the same layers in snnax, with snnax.RSynaptic(..., reset_delay=False), and take the weights "
    "over with variables = interop.from_state_dict(model, model.init(key, x), net.state_dict(), x)."
)

# --- Which modules are neurons, and whether their step is the known one ---------------------------


def library_class(module: Any) -> type | None:
    """The class of snnTorch that ``module`` is, or is derived from."""
    return next((cls for cls in type(module).__mro__ if cls.__module__.startswith("snntorch.")), None)


def neuron_kind(module: Any) -> str:
    """Name of the snnTorch class that ``module`` is, or is a subclass of."""
    cls = library_class(module)
    return type(module).__name__ if cls is None else cls.__name__


@cache
def _states(kind: str) -> tuple[str, ...]:
    """The states of a neuron that runs step by step, in the order of ``forward``."""
    family = find(kind)
    return family.fed_back if family is not None and family.stepwise else ()


def _check_neuron(name: str, module: Any) -> None:
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
    if found := replaced_method(module) or _rebound(module):
        raise ConversionError(
            name, f"its method {found} was replaced, so that its step is not that of snntorch.{kind}",
            f"Take the replacement away (del neuron.{found}), or write the neuron in flax and put it into the "
            "network by hand.",
        )  # fmt: skip


def _rebound(module: Any) -> str:
    """Name of an attribute that holds a method of the neuron, and holds another one now."""
    rule = vars(module).get("state_function")
    if rule is not None:
        own = getattr(plain_class(module), getattr(rule, "__name__", ""), None)
        if getattr(rule, "__func__", None) is not own or getattr(rule, "__self__", None) is not module:
            return "state_function"
    if getattr(module, "surrogate_disable", False) and not of_library(vars(module).get("spike_grad")):
        return "spike_grad"
    return ""


# --- Recording neurons while a copy of their network runs -----------------------------------------


def _tap(module: Any, states: tuple[str, ...], handler: Handler) -> None:
    """Let ``handler`` see each call of a neuron that keeps its states in attributes and may take them as arguments."""
    forward: Callable[..., Any] = module.forward
    signature = inspect.signature(type(module).forward)

    def tapped(*args: Any, **kwargs: Any) -> Any:
        given = signature.bind(module, *args, **kwargs).arguments
        passed = {state: _one(given.get(state)) for state in states}
        before = {s: getattr(module, s) if tensor is None else tensor for s, tensor in passed.items()}
        result: Any = None

        def run() -> Fired:
            nonlocal result
            result = forward(*args, **kwargs)
            after = {state: getattr(module, state) for state in states}
            if neuron_kind(module) == "DeltaLeaky" and before["mem"] is not None:
                # its membrane of the step before is a value of this step
                spk, (mem, previous) = result
                module.mem_prev = after["mem_prev"] = previous.expand(mem.shape).clone()
                result = spk, (mem, module.mem_prev)
            return Fired(result[0] if isinstance(result, tuple) else result, after)

        fired = handler(given["input_"], before, run)
        for state, tensor in fired.states.items():
            setattr(module, state, tensor)
        return (fired.spk, *result[1:]) if isinstance(result, tuple) else fired.spk

    vars(module)["forward"] = tapped


def _one(state: Any) -> Any:
    """DeltaLeaky is passed its membrane together with the one before, which it does not use."""
    return state[0] if isinstance(state, tuple | list) and state else state


def _tap_sequence(module: Any, record: Observer) -> None:
    """Let a layer that takes all time steps at once write its one call on ``[T, B, N]`` into ``record``.

    The membrane is what it compares with the threshold, which only some of these layers return. The spikes of
    ``AssociativeLeaky`` are those of its matrix, ``[T, B, n, d]``, before they are read by the query.
    """
    forward: Callable[..., Any] = module.forward
    if isinstance(module, snntorch.AssociativeLeaky):
        _tap_matrix(module, record)
        return
    seen: list[Tensor] = []
    if isinstance(module, snntorch.LeakyParallel):
        _watch(module.rnn, seen)

    def tapped(x: Tensor) -> Any:
        seen.clear()
        result = forward(x)
        spk, *states = (result,) if isinstance(result, Tensor) else result
        _write(record, x, spk, "mem", (*states, *seen, spk)[0])
        if record.forced is None:
            return result
        forced = record.emitted(tuple(spk.shape)).clone()
        return (forced, *states) if states else forced

    vars(module)["forward"] = tapped


def _watch(rnn: nn.Module, seen: list[Tensor]) -> None:
    """Keep what a recurrence returns over time."""
    forward: Callable[..., Any] = rnn.forward

    def watched(*args: Any, **kwargs: Any) -> Any:
        result = forward(*args, **kwargs)
        seen.append(result[0])
        return result

    vars(rnn)["forward"] = watched


def _tap_matrix(module: Any, record: Observer) -> None:
    """Record, and force, the spikes of an associative memory where it fires."""
    forward: Callable[..., Any] = module.forward
    fire: Callable[..., Any] = module.fire
    inputs: list[Tensor] = []

    def tapped(x: Tensor) -> Any:
        inputs.append(x)
        return forward(x)

    def fired(mem: Tensor) -> Tensor:
        spk: Tensor = fire(mem)
        sides = (module.d_value, module.d_key)
        turned = [v.reshape(*v.shape[:2], *sides).transpose(2, 3) for v in (spk, mem)]
        _write(record, inputs.pop(), turned[0], "state", turned[1])
        if record.forced is None:
            return spk
        return record.emitted(tuple(turned[0].shape)).clone().transpose(2, 3).reshape(spk.shape)

    vars(module).update(forward=tapped, fire=fired)


def _write(record: Observer, x: Tensor, spk: Tensor, state: str, mem: Tensor) -> None:
    record.inputs.extend(array(x))
    record.spikes.extend(array(spk))
    record.states.setdefault(state, []).extend(array(mem))


# --- The adapter ----------------------------------------------------------------------------------


class SnnTorch(Adapter):
    """snnTorch 1.0.0: neurons that keep their states in buffers, or take and return them."""

    label = "snnTorch"
    replaces_states = True
    programs = True
    words = Words(
        network="Pass the network that holds the snntorch.Leaky (or other) layers.",
        feedback="Use snn.RLeaky or snn.RSynaptic for feedback, and sum over time outside the network.",
        untraced="Use layers (nn.Linear has a bias, snn.RLeaky has feedback), and keep the rest outside the network.",
        random="Draw outside of forward and pass what was drawn as the input, as snntorch.spikegen does with data.",
        norms="Layers for each step are known as batch normalisations without a bias only, as snntorch.BatchNormTT1d "
        "and BatchNormTT2d make them; else use the same layer in each step.",
        norms_alike="Build it with snntorch.BatchNormTT1d or BatchNormTT2d.",
        neurons="snnTorch's Leaky, Synaptic, Alpha, Lapicque, RLeaky, RSynaptic",
        cycle="snnTorch feeds spikes back inside RLeaky and RSynaptic only.",
        source="from_snntorch",
        target="to_snntorch",
    )

    def is_neuron(self, module: Any) -> bool:
        """Neurons are of its class ``SpikingNeuron``, and ``LeakyParallel``."""
        return isinstance(module, snntorch.SpikingNeuron | snntorch.LeakyParallel)

    def is_sequence(self, module: Any) -> bool:
        """The parallel neurons."""
        return self.is_neuron(module) and neuron_kind(module) in kinds(sequence=True)

    def is_layer(self, cls: type) -> bool:
        """As ``GradedSpikes``."""
        return package_of(cls) == "snntorch"

    def states(self, module: Any) -> tuple[str, ...]:
        """In the order of ``forward``, the spikes that are fed back included."""
        return _states(neuron_kind(module)) if self.is_neuron(module) else ()

    def kind(self, module: Any) -> str:
        """Of a class derived from a neuron, the neuron's."""
        return neuron_kind(module)

    def surrogate(self, function: type, args: tuple[Any, ...]) -> tuple[str, dict[str, float]] | None:
        """Those of ``snntorch.surrogate``, but for those that draw or are the user's own."""
        return applied_surrogate(function, args)

    def spike_function(self, name: str, options: Mapping[str, float]) -> Callable[[Tensor], Tensor]:
        """Those of ``snntorch.surrogate``."""
        return spike_function(name, options)

    def known(self, name: str, module: Any) -> NeuronSpec | None:
        """Those with one step for each call, whose states are tensors that go in and out."""
        stepwise = bool(self.states(module)) and neuron_kind(module) != "DeltaLeaky"
        return super().known(name, module) if stepwise else None

    def check(self, name: str, module: Any) -> None:
        """Its own steps only."""
        _check_neuron(name, module)

    def passing(self, module: Any) -> frozenset[str]:
        """The states, and what some neurons keep beside them."""
        return _PASSING | set(self.states(module)) if self.is_neuron(module) else frozenset()

    def reset(self, module: Any, dtype: torch.dtype, traced: bool) -> None:
        """Empty tensors, which a neuron reads as zeros.

        DeltaLeaky does not: it gets nothing, or while it is traced a zero that broadcasts.
        """
        if neuron_kind(module) == "DeltaLeaky":
            zero = torch.zeros((), dtype=dtype, device=module.threshold.device)
            module.mem = module.mem_prev = zero if traced else None
            return
        for state in self.states(module):
            old = module._buffers[state]
            device = None if old is None else old.device
            module._buffers[state] = torch.zeros(0, dtype=dtype, device=device)

    @contextmanager
    def alone(self, neurons: Mapping[str, nn.Module]) -> Iterator[None]:
        """Let snnTorch's global list of neurons hold only ``neurons`` for a while.

        ``utils.reset(self)`` inside a ``forward`` goes through that list: it must reach the copy that runs,
        and leave the user's networks alone.
        """
        holders: list[Any] = [c for c in _subclasses(snntorch.SpikingNeuron) if "instances" in vars(c)]
        saved = [(holder, vars(holder)["instances"]) for holder in holders]
        try:
            for holder in holders:
                holder.instances = list(neurons.values())
            yield
        finally:
            for holder, instances in saved:
                holder.instances = instances

    def tap(self, name: str, module: Any, handler: Handler) -> None:
        """Its ``forward`` takes and returns the states, or not."""
        _tap(module, self.states(module), handler)

    def tap_sequence(self, module: Any, record: Observer) -> None:
        """One call, ``[T, B, N]``."""
        _tap_sequence(module, record)

    def check_state(self, name: str, module: Any, state: str, tensor: Tensor, x: Tensor, fed: bool) -> None:
        """Zeros at first, later the shape of the input: any other is taken for no state."""
        pooled = neuron_kind(module) == "SConv2dLSTM"
        expected = (len(x), module.out_channels, *x.shape[2:]) if pooled else tuple(x.shape)
        if not fed and tensor.shape == expected and bool(torch.any(tensor != 0)):
            raise ConversionError(
                name,
                f"its initial {state} is not zero: it was set, or is kept in an attribute from the call before",
                "Start from zero: reset_mem() or no state at all.",
            )
        if fed and tensor.shape != expected:
            raise ConversionError(
                name,
                f"its {state} has shape {tuple(tensor.shape)} and not {expected}, so that snnTorch replaces it "
                "by zeros",
                "Give each layer its own state.",
            )

    def start(self, module: Any, zeros: Tensor) -> Tensor:
        """The states of SConv2dLSTM have another shape than its pooled output: it makes them itself."""
        return zeros.new_zeros(0) if isinstance(module, snntorch.SConv2dLSTM) else zeros

    def rank(self, module: Any) -> tuple[int | None, str]:
        """Of the layers that check nothing themselves."""
        return _RANKS.get(type(module).__name__, (None, ""))

    def failure(self, name: str, module: Any, error: Exception) -> Exception | None:
        """What it fails on whatever its input."""
        if type(module).__name__ != "RSynaptic" or getattr(module, "reset_delay", True):
            return None
        return ConversionError(
            name, "snnTorch 1.0.0 cannot run RSynaptic(reset_delay=False), whatever its input: torch fails "
            f"inside of it ({error})", _RESET_AT_ONCE,
        )  # fmt: skip

    def spec_of(self, name: str, module: Any, used: bool) -> NeuronSpec:
        """A neuron as numbers and words."""
        return spec_from_torch(name, module, used)

    def converts(self, module: Any) -> bool:
        """Its neurons, and a layer that torch does not have."""
        return has_states(module) or neuron_kind(module) == "GradedSpikes"

    def read(self, reader: Reader, node: StepNode) -> None:
        """Add a neuron or a scale."""
        if self.is_neuron(node.held):
            super().read(reader, node)
        else:
            site = reader.site(node)
            reader.layer(node, scale_node(_graded(node.held, site), site, True))

    def build(self, name: str, spec: NeuronSpec, wide: bool) -> nn.Module:
        """A neuron with ``init_hidden=True``."""
        return neuron_from_spec(name, spec, wide=wide)

    def check_parts(self, specs: Mapping[str, NeuronSpec], parts: Mapping[str, Any]) -> None:
        """Beside neurons that take all steps at once, refuse others, and layers that would mix steps and samples."""
        whole = [name for name, spec in specs.items() if spec.family.sequence]
        for name, part in parts.items() if whole else ():
            if name not in whole and not isinstance(part, nn.Linear | nn.Dropout | ScaleBy | State):
                raise ConversionError(
                    name, f"a {type(part).__name__} works on one time step, and snnTorch's {specs[whole[0]].kind} "
                    f"{whole[0]!r} on all of them at once",
                    "Use snnax.Leaky(beta, reset_mechanism='none') in its place, or convert the two parts one by one.",
                )  # fmt: skip

    def in_chain(self, module: Any) -> bool:
        """DeltaLeaky returns its states nested, which ``nn.Sequential`` would hand on."""
        return not isinstance(module, snntorch.DeltaLeaky)


def _graded(module: Any, site: Site) -> np.ndarray:
    """The factors of ``GradedSpikes``, which multiplies along the axis before the last: that must be the sample's.

    Raises:
        ConversionError: if it scales the samples of a batch instead.
    """
    scale = tensor_array(module.weights)
    if len(scale) == 1:
        return scale.reshape(())
    if len(site.shape_in) < 2 or site.shape_in[-2] != len(scale):
        raise ConversionError(
            site.name, f"its {len(scale)} weights multiply the samples of a batch and not the neurons: it scales "
            f"along the axis before the last, and a sample has shape {site.shape_in}",
            "snnax.GradedSpikes scales the neurons; put it there by hand with the weights of this one.",
        )  # fmt: skip
    return scale


def _subclasses(cls: type) -> Iterator[type]:
    """``cls`` and all classes derived from it."""
    yield cls
    derived: list[type] = cls.__subclasses__()
    for sub in derived:
        yield from _subclasses(sub)


ADAPTER = SnnTorch()


# --- The conversions ------------------------------------------------------------------------------


@checks.takes(
    net=checks.instance(nn.Module, "a torch.nn.Module"),
    sample=CALL,
    dt=checks.number(above=0),
    batchnorm=checks.one_of("keep", "fold"),
    training=checks.flag,
)
def from_snntorch(
    net: nn.Module,
    sample: Any,
    *,
    dt: float = conventions.DT,
    batchnorm: Literal["keep", "fold"] = "keep",
    training: bool = False,
) -> tuple[Graph | PortedProgram, Variables]:
    """Turn a snnTorch network into a flax model of one time step, with its weights.

    Runs ``net`` once on ``sample`` and reads what it did: modules in any nesting, explicit or hidden states,
    time loops inside ``forward``, functional pooling and flattening, residual sums. A loop over time is taken
    out: :func:`snnax.unroll` is the loop of the model that comes back. Weights are those that the call computed with,
    after hooks and parametrizations; a second call, on other data, must find the same.

    A network that does more than that, as an encoder before its loop, feedback of its own, any operation of torch, sums
    over time or a head behind it, becomes a :class:`~snnax.interop.program.module.PortedProgram`, which is called as
    ``forward`` is and returns what that returns. It runs in ``unroll``, trains, and is cross-validated; NIR has nodes
    for the step of its loop, see :func:`~snnax.interop.to_nir`.

    Args:
        net: a torch module with snnTorch 1.0.0 neurons, in evaluation mode; it stays as it is.
        sample: what one call of ``net`` takes, NumPy or torch: one step's input ``[B, ...]``, or for a
            ``forward`` that loops over time a sequence ``[T, B, ...]`` or one constant frame ``[B, ...]``. A
            tuple stands for several positional arguments (input and initial states); states may be in lists, tuples
            and dicts.
        dt: time step in seconds that time constants are computed with; the model does not depend on it.
        batchnorm: ``"keep"`` it as a layer, or ``"fold"`` it into the weights before it.
        training: port layers that are in training mode (``net.train()``) as they are, in a program: dropout draws from
            ``rngs={"draws": key}``, and batch normalisations take the statistics of the batch and update theirs in
            ``unroll(..., mutable=("buffers",))``.

    Returns:
        ``(model, variables)``: a :class:`snnax.Graph` with the names of ``net``'s modules, which takes and
        returns the arrays that one step of ``net`` takes and returns, or a program; and its variables without
        ``hidden``.

    Raises:
        ConversionError: for modules and operations that cannot be ported exactly; names all of them, where they are
            in the user's code, and the remedies.
        TrainingModeError: if dropout or batch normalisation is in training mode, without ``training=True``.
        ShapeError: if the sample does not fit.
        MissingDependencyError: if torch or snnTorch is not installed.

    Example:
        >>> import torch, snntorch, snnax as snn, jax.numpy as jnp
        >>> from snnax import interop
        >>> net = torch.nn.Sequential(torch.nn.Linear(3, 2), snntorch.Leaky(beta=0.9, init_hidden=True, output=True))
        >>> model, variables = interop.from_snntorch(net, torch.ones(1, 3))
        >>> (spk, mem), _ = snn.unroll(model, variables, jnp.ones((25, 1, 3)))
        >>> spk.shape
        (25, 1, 2)

    Compared with ``snntorch.export_nir``: any reset mechanism, scalar parameters, functional operations, and
    no side effect on ``net``.
    """
    return graph_reader.from_torch(net, sample, ADAPTER, dt=dt, batchnorm=batchnorm, training=training)


@checks.takes(
    variables=VARIABLES,
    sample=SAMPLE,
    into=checks.maybe(checks.instance(nn.Module, "a torch.nn.Module")),
    dtype=checks.maybe(checks.instance(torch.dtype, "torch.float32 or torch.float64")),
)
def to_snntorch(
    model: Any,
    variables: Mapping[str, Any],
    sample: Any = None,
    *,
    into: nn.Module | None = None,
    dtype: torch.dtype | None = None,
) -> nn.Module:
    """Turn a flax model into a torch network of one time step, in evaluation mode.

    A chain becomes a ``torch.nn.Sequential``; anything else a module that keeps the names of the nodes, so
    that its ``state_dict`` has the keys of the network that was ported. A program becomes a module that is called as
    the network was that was ported, and runs the operations that were traced, in training too as after ``eval()``.

    Args:
        model: a ``Sequential``, ``Graph`` or :class:`~snnax.interop.program.module.PortedProgram`.
        variables: its variables.
        sample: one step's input ``[B, ...]``, for models that do not know their ``input_shape``.
        into: a network with the same layers, as the one that was ported: it gets the weights and is returned.
        dtype: ``torch.float64`` for every digit of decays that come from a NIR file; by default that of the weights.

    Returns:
        A network whose neurons keep their own state (``init_hidden=True``); reset it with
        ``snntorch.utils.reset`` or each neuron's ``reset_mem()``. With StateLeaky, LinearLeaky, LeakyParallel or
        AssociativeLeaky it takes all time steps at once, ``[T, B, N]``, as these do.

    Raises:
        ConversionError: for what torch or snnTorch has no equal of, and if ``into`` computes something else with the
            same weights, in its neurons or in its ``forward``; it is then left as it was.
        ShapeError: if ``into`` has other layers or shapes; it is then left as it was.
        ArgumentError: for another ``dtype`` than float32 and float64.

    Example:
        >>> import jax, jax.numpy as jnp, flax.linen as nn, snnax as snn
        >>> from snnax import interop
        >>> net = snn.Sequential([nn.Dense(2), snn.Leaky(beta=0.9, init_hidden=True, output=True)])
        >>> x = jnp.ones((1, 3))
        >>> [type(m).__name__ for m in interop.to_snntorch(net, net.init(jax.random.key(0), x), x)]
        ['Linear', 'Leaky']
    """
    return writing.to_torch(model, variables, sample, ADAPTER, into=into, dtype=dtype)
