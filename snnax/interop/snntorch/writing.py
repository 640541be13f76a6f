"""``to_snntorch``: a flax model, by way of NIR, as a torch network of snnTorch neurons."""

from __future__ import annotations

import io
from collections.abc import Iterable, Mapping
from typing import Any

import jax
import nir
import numpy as np
import torch
from torch import nn

from snnax import checks
from snnax.errors import ArgumentError, ConversionError, ShapeError
from snnax.interop.conventions import same_shape
from snnax.interop.families.precision import is_wide
from snnax.interop.families.registry import find
from snnax.interop.nir.entries import SAMPLE
from snnax.interop.nir.exporting import to_nir
from snnax.interop.nir.extension import Extension
from snnax.interop.nir.importing import Import
from snnax.interop.snntorch.neurons import neuron_from_spec
from snnax.interop.spec import NeuronSpec
from snnax.interop.torch.layers import ScaleBy, layer_from_node
from snnax.layers import State
from snnax.modules import VARIABLES
from snnax.network.containers import Graph
from snnax.network.topology import INPUT, OUTPUT, Plan


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
    that its ``state_dict`` has the keys of the network that was ported.

    Args:
        model: a ``Sequential`` or ``Graph``.
        variables: its variables.
        sample: one step's input ``[B, ...]``, for models that do not know their ``input_shape``.
        into: a network with the same layers, as the one that was ported: it gets the weights and is returned.
        dtype: ``torch.float64`` for every digit of decays that come from a NIR file; by default that of the weights.

    Returns:
        A network whose neurons keep their own state (``init_hidden=True``); reset it with
        ``snntorch.utils.reset`` or each neuron's ``reset_mem()``. With StateLeaky, LinearLeaky, LeakyParallel or
        AssociativeLeaky it takes all time steps at once, ``[T, B, N]``, as these do.

    Raises:
        ConversionError: for what torch or snnTorch has no equal of.
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
    if dtype not in (None, torch.float32, torch.float64):
        raise ArgumentError(f"to_snntorch(dtype={dtype!r}); expected torch.float32 or torch.float64.")
    if dtype is torch.float64:
        variables = jax.tree.map(lambda leaf: np.asarray(leaf, np.float64), dict(variables))
    made = network_of(to_nir(model, variables, sample, dropout="keep"), wide=is_wide(variables)).eval()
    made = made if dtype is None else made.to(dtype)
    return made if into is None else _load(made, into)


def network_of(graph: nir.NIRGraph, dt: float | None = None, *, wide: bool = False) -> nn.Module:
    """The torch network of a NIR graph; ``wide``: every number of its neurons in float64."""
    source = Import(graph, dt)
    plan = source.model.plan()
    if plan.delayed:
        raise ConversionError(
            plan.delayed[0], "a cycle over several nodes has no snnTorch form",
            "snnTorch feeds spikes back inside RLeaky and RSynaptic only.",
        )  # fmt: skip
    parts = _parts(source, wide)
    _check_sequences(source.specs, parts)
    chain = _as_chain(parts, plan, source.model.outputs)
    return chain if chain is not None else PortedNetwork(parts, plan, source.model.outputs)


def _parts(source: Import, wide: bool) -> dict[str, nn.Module | State]:
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
            parts[name] = neuron_from_spec(name, spec, wide=wide)
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


def _check_sequences(specs: Mapping[str, NeuronSpec], parts: Mapping[str, Any]) -> None:
    """Refuse what cannot stand beside neurons that take all time steps at once.

    Raises:
        ConversionError: for a neuron that runs step by step, and layers that would mix steps and samples.
    """
    whole = [name for name, spec in specs.items() if spec.family.sequence]
    if not whole:
        return
    for name, part in parts.items():
        if name not in whole and not isinstance(part, nn.Linear | nn.Dropout | ScaleBy | State):
            raise ConversionError(
                name, f"a {type(part).__name__} works on one time step, and snnTorch's {specs[whole[0]].kind} "
                f"{whole[0]!r} on all of them at once",
                "Use snnax.Leaky(beta, reset_mechanism='none') in its place, or convert the two parts one by one.",
            )  # fmt: skip


def _with_output(spec: NeuronSpec, name: str, model: Graph) -> NeuronSpec:
    """In a chain the last neuron returns its states if the model does; elsewhere where they are read."""
    if model.outputs is None or spec.family.sequence:
        return spec
    ports = {port for node, port in model.outputs if node == name}
    read = any(isinstance(m, State) and (name, n) in model.edges for n, m in model.members().items())
    return spec.with_options(output=bool(ports - {"out"}) or read)


def _as_chain(parts: Mapping[str, Any], plan: Plan, outputs: Any) -> nn.Sequential | None:
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
    if any(type(part).__name__ == "DeltaLeaky" for part in parts.values()):
        return None
    middle = [p for n, p in parts.items() if n != previous]
    if any(getattr(p, "output", False) for p in middle):
        return None
    if outputs is not None:
        whole = [(previous, "out")]
        if getattr(last, "output", False):
            whole += [(previous, s) for s in _state_names(last)]
        if [tuple(pair) for pair in outputs] != whole:
            return None
    chain = nn.Sequential()
    for name in plan.order:
        chain.add_module(name, parts[name])
    return chain


def _state_names(module: Any) -> tuple[str, ...]:
    family = find(type(module).__name__)
    return family.states if family else ()


class PortedNetwork(nn.Module):
    """One time step of a ported network; its modules have the names that they had."""

    def __init__(self, parts: Mapping[str, Any], plan: Plan, outputs: Any) -> None:
        super().__init__()
        self._plan = plan
        self._outputs = None if outputs is None else tuple(tuple(pair) for pair in outputs)
        self._states = {n: part.state for n, part in parts.items() if isinstance(part, State)}
        self._paths = {n: n for n in parts if n not in self._states}
        known: dict[int, str] = {}
        for name in self._paths:
            if id(parts[name]) in known:
                self._paths[name] = known[id(parts[name])]
                continue
            known[id(parts[name])] = name
            home: nn.Module = self
            *above, leaf = name.split(".")
            for step in above:
                if step not in home._modules:
                    home.add_module(step, nn.Module())
                home = home.get_submodule(step)
            inside = home._modules.get(leaf)  # of "lif", "lif.gain" may have come first
            home.add_module(leaf, parts[name])
            for child, module in inside.named_children() if inside is not None else ():
                parts[name].add_module(child, module)

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
        state = value[1 + _state_names(self.get_submodule(self._paths[name])).index(port)]
        return (
            state[0] if isinstance(state, tuple) else state
        )  # DeltaLeaky adds its membrane of the step before


def _load(made: nn.Module, into: nn.Module) -> nn.Module:
    """Weights of ``made`` into ``into``, all of them or none."""
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
            f"shape at {shapes}. Pass the network given to from_snntorch, or leave into= out."
        )
    with torch.no_grad():
        for key, value in new.items():
            old[key].copy_(value.reshape(old[key].shape))
    return into


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
