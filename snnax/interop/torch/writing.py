"""A flax model, by way of NIR, as a torch network of a framework's neurons, and ``to_torch``."""

from __future__ import annotations

import io
from collections.abc import Iterable, Mapping
from typing import TYPE_CHECKING, Any

import jax
import nir
import numpy as np
import torch
from torch import nn

from snnax.errors import ArgumentError, ConversionError, ShapeError
from snnax.interop.conventions import same_shape
from snnax.interop.families.precision import is_wide
from snnax.interop.nir.exporting import exported
from snnax.interop.nir.extension import Extension
from snnax.interop.nir.importing import Import
from snnax.interop.program.module import PortedProgram
from snnax.interop.spec import OPTIONS, NeuronSpec
from snnax.interop.torch.alike import Both, check_alike, of_graph, of_program
from snnax.interop.torch.containers import place
from snnax.interop.torch.layers import layer_from_node
from snnax.interop.torch.program_writer import program_network
from snnax.layers import State
from snnax.network.containers import Graph
from snnax.network.topology import INPUT, OUTPUT, Plan

if TYPE_CHECKING:
    from snnax.interop.frameworks.adapter import Adapter

_ANYWAY = (
    "Pass the network given to {}, or leave into= out: load_state_dict of a network takes "
    "interop.to_state_dict(model, variables), whatever it computes."
)
States = Mapping[str, tuple[str, ...]]
"""From the name of each neuron, the states that it returns after its spikes."""


def to_torch(
    model: Any,
    variables: Mapping[str, Any],
    sample: Any,
    adapter: Adapter,
    *,
    into: nn.Module | None = None,
    dtype: torch.dtype | None = None,
) -> nn.Module:
    """Turn a flax model into a torch network of one time step, in evaluation mode; ``adapter`` makes its neurons.

    ``to_snntorch`` is this function with its adapter; see there for the rest.

    Raises:
        ConversionError: for what torch or the framework has no equal of; ``into`` computes something else.
        ShapeError: ``into`` has other weights.
        ArgumentError: for another ``dtype`` than float32 and float64.
    """
    if dtype not in (None, torch.float32, torch.float64):
        raise ArgumentError(
            f"{adapter.words.target}(dtype={dtype!r}); expected torch.float32 or torch.float64."
        )
    if dtype is torch.float64:
        variables = jax.tree.map(lambda leaf: np.asarray(leaf, np.float64), dict(variables))
    if isinstance(model, PortedProgram):
        made = program_network(model, variables, adapter).eval()
        both: Both | None = of_program(model.program, adapter)
    else:
        graph = exported(model, variables, sample, dropout="keep")
        made = adapter.network(graph, is_wide(variables)).eval()
        shape = tuple(map(int, graph.nodes[INPUT].input_type["input"]))
        both = None if adapter.starts_anew else of_graph(shape, adapter)
    made = made if dtype is None else made.to(dtype)
    return made if into is None else load_into(made, into, adapter, both)


def network_of(
    graph: nir.NIRGraph, adapter: Adapter, dt: float | None = None, *, wide: bool = False
) -> nn.Module:
    """The torch network of a NIR graph; ``wide``: every number of its neurons in float64."""
    source = Import(graph, dt)
    plan = source.model.plan()
    if plan.delayed:
        raise ConversionError(
            plan.delayed[0], f"a cycle over several nodes has no {adapter.label} form", adapter.words.cycle,
        )  # fmt: skip
    parts = _parts(source, adapter, wide)
    adapter.check_parts(source.specs, parts)
    states = {name: spec.family.states for name, spec in source.specs.items()}
    chain = _as_chain(parts, states, adapter, plan, source.model.outputs)
    return chain if chain is not None else PortedNetwork(parts, states, plan, source.model.outputs)


def _parts(source: Import, adapter: Adapter, wide: bool) -> dict[str, nn.Module | State]:
    """A torch layer, or a marker that reads a state, for each node of the imported model."""
    parts: dict[str, nn.Module | State] = {}
    for name, module in source.model.members().items():
        if name in source.entry.nodes:
            raise ConversionError(
                name, f"a {type(module).__name__}: the graph has several inputs, or inputs that come late",
                "Join the inputs into one tensor in front of the network.",
            )  # fmt: skip
        if isinstance(module, State):
            parts[name] = module
        elif name in source.specs:
            spec = _with_output(source.specs[name], name, source.model)
            parts[name] = adapter.build(name, spec, wide)
        elif name in source.shared:
            parts[name] = parts[source.shared[name]]
        else:
            parts[name] = layer_from_node(source.nodes[name], source.sites[name])
    if not wide and not _in_double(source.flat.nodes.values()):
        for part in parts.values():
            if isinstance(part, nn.Module):
                part.float()
    return parts


def _in_double(nodes: Iterable[nir.NIRNode]) -> bool:
    """True if a weight or a neuron of a graph is in double precision; decays and gains follow from those."""
    for node in nodes:
        own = {k: v for k, v in vars(node).items() if k != "metadata"}
        given = {**node.arrays, **node.metadata} if isinstance(node, Extension) else own
        doubles = (isinstance(v, np.ndarray) and v.dtype == np.float64 for v in given.values())
        if not isinstance(node, nir.Scale) and any(doubles):
            return True
    return False


def _with_output(spec: NeuronSpec, name: str, model: Graph) -> NeuronSpec:
    """In a chain the last neuron returns its states if the model does; elsewhere where they are read."""
    if model.outputs is None or spec.family.sequence:
        return spec
    ports = {port for node, port in model.outputs if node == name}
    read = any(isinstance(m, State) and (name, n) in model.edges for n, m in model.members().items())
    return spec.with_options(output=bool(ports - {"out"}) or read)


def _as_chain(
    parts: Mapping[str, Any], states: States, adapter: Adapter, plan: Plan, outputs: Any
) -> nn.Sequential | None:
    """``nn.Sequential``, if the network is one and returns what that would."""
    previous = INPUT
    for name in plan.order:
        if (
            plan.sources[name] != ((previous, False),)
            or "." in name
            or not isinstance(parts[name], nn.Module)
        ):
            return None
        previous = name
    if plan.sources[OUTPUT] != ((previous, False),) or len({id(p) for p in parts.values()}) != len(parts):
        return None
    last = parts.get(previous)  # none where the network returns its input
    if not all(map(adapter.in_chain, parts.values())):
        return None
    middle = [p for n, p in parts.items() if n != previous]
    if any(getattr(p, "output", False) for p in middle):
        return None
    if outputs is not None:
        whole = [(previous, "out")]
        if getattr(last, "output", False):
            whole += [(previous, state) for state in states.get(previous, ())]
        if [tuple(pair) for pair in outputs] != whole:
            return None
    chain = nn.Sequential()
    for name in plan.order:
        chain.add_module(name, parts[name])
    return chain


class PortedNetwork(nn.Module):
    """One time step of a ported network; its modules have the names that they had."""

    def __init__(self, parts: Mapping[str, Any], states: States, plan: Plan, outputs: Any) -> None:
        super().__init__()
        self._returned = dict(states)
        self._plan = plan
        self._outputs = None if outputs is None else tuple(tuple(pair) for pair in outputs)
        self._states = {n: part.state for n, part in parts.items() if isinstance(part, State)}
        self._paths = {n: n for n in parts if n not in self._states}
        known: dict[int, str] = {}
        for name in self._paths:
            self._paths[name] = known.setdefault(id(parts[name]), name)
            if self._paths[name] == name:
                place(self, name, parts[name])

    def forward(self, x: torch.Tensor) -> Any:
        """One step on ``[B, ...]``."""
        values: dict[str, Any] = {INPUT: x}
        for name in self._plan.order:
            sources = [s for s, _ in self._plan.sources[name]]
            if name in self._states:
                values[name] = self._port(sources[0], self._states[name], values)
                continue
            total = self._port(sources[0], "out", values)
            for source in sources[1:]:
                total = total + self._port(source, "out", values)
            values[name] = self.get_submodule(self._paths[name])(total)
        if self._outputs is None:
            ends = [s for s, _ in self._plan.sources[OUTPUT]]
            if len(ends) == 1:
                return values[ends[0]]
            return sum(
                (self._port(e, "out", values) for e in ends[1:]), start=self._port(ends[0], "out", values)
            )
        found = tuple(self._port(node, port, values) for node, port in self._outputs)
        return found[0] if len(found) == 1 else found

    def _port(self, name: str, port: str, values: Mapping[str, Any]) -> torch.Tensor:
        value = values[name]
        if not isinstance(value, tuple):
            return value
        if port == "out":
            return value[0]
        if port == "mem_prev":
            return value[1][1]
        state = value[1 + self._returned[name].index(port)]
        return state[0] if isinstance(state, tuple) else state  # some return that of the step before as well


def load_into(made: nn.Module, into: nn.Module, adapter: Adapter, both: Both | None) -> nn.Module:
    """Weights of ``made`` into ``into``, all of them or none; ``both`` runs the two, to see whether they are alike.

    Raises:
        ShapeError: it has other weights.
        ConversionError: its neurons or its ``forward`` compute something else, whatever its weights.
    """
    new = {k: v for k, v in made.state_dict().items() if not k.endswith("num_batches_tracked")}
    old = into.state_dict()
    twice = {v.data_ptr() for k, v in old.items() if k in new and v.numel()}  # a layer that is used twice
    spare = {k for k, v in old.items() if k.endswith("num_batches_tracked") or v.data_ptr() in twice}
    missing = sorted(set(old) - set(new) - spare)
    unknown = sorted(set(new) - set(old))
    shapes = [k for k in new if k in old and not same_shape(new[k].shape, old[k].shape)]
    computed = [k for k in unknown if _is_computed(into, k)]
    if computed:
        raise ShapeError(
            f"into= computes {', '.join(computed)} from other parameters before each call, so that no weights can be "
            "put there. Make the present ones its own first: torch.nn.utils.parametrize.remove_parametrizations, "
            "remove_weight_norm, remove_spectral_norm or prune.remove; or leave into= out."
        )
    if missing or unknown or shapes:
        raise ShapeError(
            f"into= is not the network that was ported: it lacks {unknown}, has {missing} besides, and differs in "
            f"shape at {shapes}. Pass the network given to {adapter.words.source}, or leave into= out."
        )
    _check_choices(made, into, adapter)
    if both is not None:
        check_alike(made, into, both, _ANYWAY.format(adapter.words.source))
    with torch.no_grad():
        for key, value in new.items():
            old[key].copy_(value.reshape(old[key].shape))
    return into


def _check_choices(made: nn.Module, into: nn.Module, adapter: Adapter) -> None:
    """Refuse neurons of the same weights that reset or quantize in another way."""
    theirs = adapter.neurons(into)
    for name, module in adapter.neurons(made).items():
        try:
            ours, other = (adapter.spec_of(name, m, True) for m in (module, theirs[name]))
        except (
            KeyError,
            ConversionError,
        ):  # a neuron of the user's own, or one whose name its weights do not say
            continue
        found = (_choices(ours), _choices(other))
        if wrong := [key for key in found[0] if found[0][key] != found[1].get(key)]:
            how = " and ".join(f"{key}={found[1].get(key)!r} instead of {found[0][key]!r}" for key in wrong)
            raise ConversionError(
                name, f"into= has a {other.kind} there with {how}, so that with the same weights it computes something "
                "else", f"Pass the network given to {adapter.words.source}, or leave into= out.",
            )  # fmt: skip


def _choices(spec: NeuronSpec) -> dict[str, Any]:
    """What a neuron computes with beside numbers; what it returns and how it is trained is its network's."""
    options = {key: getattr(spec, key) for key in OPTIONS if key not in ("output", "surrogate_disable")}
    return {"kind": spec.kind, **options, "quantizer": spec.quantizer, **spec.sizes}


def _is_computed(net: nn.Module, key: str) -> bool:
    """True for a tensor that a hook or a parametrization computes."""
    path, _, name = key.rpartition(".")
    module = dict(net.named_modules()).get(path)
    return module is not None and isinstance(getattr(module, name, None), torch.Tensor)


# --- Torch's own file of weights ------------------------------------------------------------------


def saved_state_dict(net: nn.Module) -> bytes:
    """The content of a file with the ``state_dict`` of a network, for ``net.load_state_dict(torch.load(path))``.

    The network itself cannot be pickled: its surrogate gradients are functions made at run time.
    """
    buffer = io.BytesIO()
    torch.save(net.state_dict(), buffer)
    return buffer.getvalue()
