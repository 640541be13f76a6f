"""The nodes of a network: what one can be, what it is checked for, and how to read what it returns."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterator, Mapping, Sequence
from typing import Any

import flax.linen as nn
import jax

from snnax import checks
from snnax.errors import ArgumentError, GraphError
from snnax.layers import Concatenate, State
from snnax.network.topology import INPUT, OUTPUT, Plan
from snnax.neurons import SpikingNeuron
from snnax.neurons.own import instances


def read_port(name: str, module: nn.Module, raw: Any, port: str) -> jax.Array:
    """One of the things that a node returned: ``"out"`` (its spikes) or a state by name."""
    if not isinstance(raw, tuple):
        if port not in ("out", "spk"):
            raise GraphError(f"{name!r} returns no {port!r}: build its neuron with output=True.")
        return raw
    if port in ("out", "spk"):
        return raw[0]
    states = getattr(module, "state_names", ())
    if port == "mem_prev" and isinstance(raw[-1], tuple):
        return raw[-1][1]
    if port not in states:
        raise GraphError(f"{name!r} has no state {port!r}; its states are {list(states)}.")
    # an RLeaky keeps its spikes as a state but returns them once
    returned = [s for s in states if s != "spk"]
    value = raw[1 + returned.index(port)]
    # a DeltaLeaky returns its membrane in a pair with the one before
    return value[0] if isinstance(value, tuple) else value


def total(parts: Sequence[jax.Array]) -> jax.Array:
    """The sum of what meets at one node, in this order.

    Raises:
        GraphError: if their shapes differ.
    """
    result = parts[0]
    for part in parts[1:]:
        if part.shape != result.shape:
            raise GraphError(
                f"signals of shapes {result.shape} and {part.shape} meet at one node; they must be equal."
            )
        result = result + part
    return result


def arriving(name: str, module: Any, parts: Sequence[jax.Array]) -> jax.Array:
    """What a node gets of what its sources emit: their sum, or with ``Concatenate`` all side by side.

    Raises:
        GraphError: if they do not fit together.
    """
    return module.joined(name, parts) if isinstance(module, Concatenate) else total(parts)


def named_nodes(nodes: Any) -> tuple[tuple[str, Any], ...]:
    """``(name, module)`` pairs, from those or a dictionary.

    Raises:
        ArgumentError: for anything else.
    """
    pairs = tuple(nodes.items()) if isinstance(nodes, Mapping) else nodes
    good = isinstance(pairs, Sequence) and all(
        isinstance(p, Sequence) and len(p) == 2 and isinstance(p[0], str) for p in pairs
    )
    if not good or isinstance(pairs, str):
        raise checks.refuse(
            "Graph(nodes=...)",
            nodes,
            "linen modules by name, as {'lif': snnax.Leaky(beta=0.9, init_hidden=True)}",
        )
    return tuple((name, module) for name, module in pairs)


def pairs_of_names(pairs: Any, argument: str, example: str) -> tuple[tuple[str, str], ...]:
    """Pairs of strings.

    Raises:
        ArgumentError: for anything else.
    """
    listed = (
        tuple(pairs) if isinstance(pairs, Sequence | set | frozenset) and not isinstance(pairs, str) else None
    )
    if listed is None or not all(_is_pair(pair) for pair in listed):
        raise checks.refuse(f"Graph({argument}=...)", pairs, f"pairs of names, as [{example}]")
    return tuple((str(a), str(b)) for a, b in listed)


def _is_pair(pair: Any) -> bool:
    return (
        isinstance(pair, Sequence)
        and not isinstance(pair, str)
        and len(pair) == 2
        and all(isinstance(name, str) for name in pair)
    )


def takes_states(module: Any) -> bool:
    """True for a neuron whose states are arguments of each step."""
    return isinstance(module, SpikingNeuron) and not (
        getattr(module, "init_hidden", True) or getattr(module, "sequence", False)
    )


def takes_sequences(module: Any) -> bool:
    """True for a neuron that computes all time steps in one call."""
    return getattr(module, "sequence", False) is True and not getattr(module, "init_hidden", False)


def runs_whole(module: Any) -> bool:
    """Whether one call of a module is all of time: what a class says by ``runs_whole = True``.

    So do networks in continuous time. Their input is ``[B, ...]``.
    """
    return getattr(module, "runs_whole", False) is True


def check_stepwise(net: nn.Module) -> None:
    """Refuse, in the time loop, what takes all time steps at once, and a neuron that nothing is carried for.

    Raises:
        ArgumentError: names the remedies.
    """
    if takes_states(net):
        kind = type(net).__name__
        raise ArgumentError(
            f"{kind}(init_hidden=False) takes its state as an argument, so that in a loop over time each step would "
            f"start from zeros. Build it as {kind}(..., init_hidden=True, output=True), or write the loop: "
            f"{net._works()}."
        )
    for module in instances(net):
        kind = type(module).__name__
        if runs_whole(module):
            raise ArgumentError(
                f"{kind} has no time steps: one call of it is all of time, but unroll calls it once for each. Leave "
                "unroll out: net.apply(variables, x)."
            )
        if takes_sequences(module):
            raise ArgumentError(
                f"{kind}(init_hidden=False) takes all time steps in one call, but unroll calls it once for each. "
                f"Build it as {kind}(..., init_hidden=True), or leave unroll out and apply the network to the "
                "whole sequence: net.apply(variables, x)."
            )


def check_members(members: Mapping[str, Any]) -> None:
    """Refuse what cannot be a node.

    Raises:
        ArgumentError: for something that is not a linen module, for neurons with explicit states, and for
            neurons that take a whole sequence beside neurons that take one step.
    """
    for name, module in members.items():
        if not isinstance(module, nn.Module):
            raise ArgumentError(
                f"{name!r} is {checks.shown(module)}, not a layer. Use a layer of flax.linen or snnax.layers, built: "
                "nn.Dense(4), not nn.Dense; or a function from an array to an array, as nn.gelu or lambda x: 2 * x."
            )
        if takes_states(module):
            raise ArgumentError(
                f"{name!r}: {type(module).__name__} takes explicit states. Inside a network it must keep its "
                f"own: {type(module).__name__}(..., init_hidden=True)."
            )
    parts = list(_flat(members))
    whole = [name for name, module in parts if takes_sequences(module)]
    single = [name for name, m in parts if isinstance(m, SpikingNeuron) and not takes_sequences(m)]
    if whole and single:
        raise ArgumentError(
            f"{whole} take all time steps in one call, {single} one step after the other: no call fits both. Build "
            f"{whole} with init_hidden=True."
        )


def _flat(members: Mapping[str, Any]) -> Iterator[tuple[str, Any]]:
    """The members, and those of the containers among them."""
    for name, module in members.items():
        yield name, module
        inner = getattr(module, "members", None)
        if callable(inner) and hasattr(module, "plan"):
            yield from ((f"{name}/{path}", part) for path, part in _flat(inner()))


def check_names(names: Sequence[str]) -> None:
    """Refuse names that cannot be keys of variables.

    Raises:
        GraphError: for a name that is given twice, empty, ``"params"``, or has a slash.
    """
    if doubled := sorted(name for name, times in Counter(names).items() if times > 1):
        raise GraphError(f"several nodes are called {doubled}; give each node a name of its own.")
    if unfit := [name for name in names if not name or "/" in name or name == "params"]:
        raise GraphError(
            f"{unfit} cannot be node names: a name is a key in params and hidden, and paths are joined "
            "with '/'. Choose names without '/', other than 'params'."
        )


def named(name: str | None, module: Any) -> Any:
    """The module without a parent, for flax to make it a node and give its variables this name.

    It stays the same module to flax, which sees by that what is at two places. ``None`` leaves the name to flax.
    """
    if not isinstance(module, nn.Module) or (module.parent is None and name in (None, module.name)):
        return module
    twin = module.clone(parent=None, name=name)
    object.__setattr__(twin, "_id", module._id)
    return twin


def check_wiring(
    members: Mapping[str, nn.Module], order: Plan, outputs: Sequence[tuple[str, str]] | None
) -> None:
    """Refuse outputs and ``State`` nodes that have nothing to read, and names that feedback needs.

    Raises:
        GraphError: names the node and what to do.
    """
    if outputs is not None and (not outputs or any(name not in members for name, _ in outputs)):
        raise GraphError(
            f"outputs={list(outputs)}; expected (node, port) pairs, or None for what is connected to "
            f"{OUTPUT!r}. The nodes are {sorted(members)}."
        )
    for name, module in members.items():
        sources = order.sources[name]
        if isinstance(module, State) and (len(sources) != 1 or sources[0][1] or sources[0][0] == INPUT):
            raise GraphError(
                f"{name!r}: State({module.state!r}) reads one neuron of the same step, but is fed by "
                f"{[source for source, _ in sources]}. Give it one edge, from a neuron with output=True."
            )
        if isinstance(module, Concatenate) and len(sources) < 2:
            raise GraphError(
                f"{name!r}: Concatenate joins what several edges bring, but is fed by {sources[0][0]!r} alone. Give it "
                "an edge for each signal, in a snnax.Graph, or take it out."
            )
    for name in order.ahead:
        if getattr(members[name], "threshold_test", "after") != "before":
            raise GraphError(
                f"early={sorted(order.early)}: {name!r} does not know its spikes before it has run. Only a neuron of "
                "NIR's with threshold_test='before' does; give the edge a delay instead, with delayed=."
            )
    if taken := [name for name in order.delayed if f"{name}_previous" in members]:
        raise GraphError(
            f"{taken[0]!r} closes a cycle, so its output is kept as '{taken[0]}_previous': rename that node."
        )
