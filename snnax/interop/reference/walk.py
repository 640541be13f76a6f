"""In which order the nodes of a graph compute within one step, and which edges carry the step before."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

from snnax.errors import GraphError
from snnax.interop.graph import Edge, FlatGraph, fires_ahead, keeps_state


@dataclass(frozen=True)
class Walk:
    """The order of a step.

    Attributes:
        order: names of the nodes, without Input and Output.
        sources: for each node and each Output its ``(source, late)`` in the order of the graph's edges, which
            is the order in which they are added up; a late source hands over what it computed a step before.
        audible: late sources that may hand over something in the first step too: what becomes of a neuron's
            silence on the way to here, as the bias of recurrent weights. On a way that branches, nothing.
        early: edges over which a neuron that fires by its membrane before the step hands its spikes of this step.
    """

    order: tuple[str, ...]
    sources: dict[str, tuple[tuple[str, bool], ...]]
    audible: frozenset[str]
    early: frozenset[Edge] = frozenset()

    @property
    def late(self) -> frozenset[str]:
        """Nodes whose output is needed a step later."""
        return frozenset(
            source
            for name, pairs in self.sources.items()
            for source, late in pairs
            if late and (source, name) not in self.early
        )

    @property
    def ahead(self) -> frozenset[str]:
        """Neurons whose spikes are needed before they compute."""
        return frozenset(source for source, _ in self.early)


def walk(graph: FlatGraph, pairs: Mapping[str, str] | None = None, same_step: bool = False) -> Walk:
    """Every node after all that feed it; an edge that closes a cycle is late by one step.

    The rule is that of :func:`snnax.network.topology.plan`. The graph is walked depth first from its Inputs,
    along the edges of each node, from the last to the first; an edge that leads back to a node on the path to
    here closes a cycle. So of ``input -> lif -> w_rec -> lif`` the edge ``w_rec -> lif`` is late, and the order
    of the nodes in a file does not matter. Where our metadata of the graph lists the late edges, those are late.

    Args:
        graph: the graph.
        pairs: weights of each recurrent neuron, which our metadata counts as a part of it.
        same_step: neurons are tested before they are charged, and their spikes go round cycles in that step.

    Raises:
        GraphError: for an Output that nothing feeds, nodes that no Input reaches, and cycles that are listed
            without a late edge.
    """
    edges, everywhere = set(graph.edges), [*sorted(graph.inputs), *graph.nodes]
    listed, early = graph.listed("late"), frozenset(graph.listed("early") or ())
    inside = {(w, n) for n, w in (pairs or {}).items() if (n, w) not in {*(listed or ()), *early}}
    if gone := [edge for edge in (*(listed or ()), *early) if edge not in edges]:
        raise GraphError(f"the graph's metadata lists the edge {gone[0]}, which it has not.")
    targets: dict[str, list[str]] = {name: [] for name in everywhere}
    for source, target in graph.edges:
        if target in graph.nodes and source in targets:
            targets[source].append(target)
    reached: dict[str, None] = {}
    closing: set[Edge] = set()
    for name in sorted(graph.inputs, reverse=True):
        _visit(name, targets, reached, closing)
    if missing := [name for name in graph.nodes if name not in reached]:
        raise GraphError(f"the input does not reach {missing}; connect them or take them out.")
    if same_step and listed is None and closing:
        early = _early(graph)
    done, audible = reached, frozenset(s for s, t in closing if _comes_from_a_neuron(s, t, graph))
    if listed is not None or early:
        cut = {*early, *(() if listed is None else {*listed, *inside})}
        left = {s: [t for t in to if (s, t) not in cut] for s, to in targets.items()}
        done, closing = {}, set()
        for name in (*sorted(graph.inputs, reverse=True), *graph.nodes):
            if name not in done:
                _visit(name, left, done, closing)
        if listed is not None and closing:
            raise GraphError(
                f"the graph's metadata leaves a cycle without delay; it closes with {min(closing)}."
            )
        if listed is not None:
            closing, audible = cut - early, frozenset(w for w, _ in inside)
    late = {*closing, *early}
    feeding: dict[str, list[tuple[str, bool]]] = {name: [] for name in (*graph.nodes, *graph.outputs)}
    for source, target in graph.edges:
        feeding[target].append((source, (source, target) in late))
    if silent := [name for name in graph.outputs if not feeding[name]]:
        raise GraphError(f"nothing feeds {silent}; give each of them an edge or take it out.")
    order = tuple(name for name in reversed(done) if name in graph.nodes)
    return Walk(order, {name: tuple(pairs) for name, pairs in feeding.items()}, audible, early)


def _early(graph: FlatGraph) -> frozenset[Edge]:
    """The edges over which spikes of a neuron set out on a way that leads back to it."""
    found: set[Edge] = set()
    for name, node in graph.nodes.items():
        if not fires_ahead(name, node):
            continue
        to: dict[str, None] = dict.fromkeys([name])
        waiting = [name]
        while waiting:  # backwards: all that leads here
            for before in graph.sources(waiting.pop()):
                if before in graph.nodes and before not in to:
                    to[before] = None
                    waiting.append(before)
        found.update((name, target) for target in graph.targets(name) if target in to)
    return frozenset(found)


def layer_names(graph: FlatGraph, pairs: Mapping[str, str]) -> dict[str, str]:
    """Name of each node in a trace: ``x`` for ``x.lif`` of a pair, its own where another node has that one."""
    names = {name: name for name in graph.nodes}
    for name in pairs:
        short = name.removesuffix(".lif")
        if short and short not in names.values():
            names[name] = short
    return names


def _comes_from_a_neuron(source: str, target: str, graph: FlatGraph) -> bool:
    """Whether one path alone leads from a node with a state to the edge that closes a cycle, and nowhere else."""
    while not keeps_state(graph.nodes[source]):
        feeding = graph.sources(source)
        if len(feeding) != 1 or graph.targets(source) != [target] or feeding[0] not in graph.nodes:
            return False
        source, target = feeding[0], source
    return True


def _visit(
    start: str, targets: dict[str, list[str]], done: dict[str, None], closing: set[tuple[str, str]]
) -> None:
    """Everything that is reached from ``start``, finished nodes going to ``done``; without recursion."""
    path = {start: reversed(targets[start])}
    while path:
        name = next(reversed(path))
        for target in path[name]:
            if target in path:
                closing.add((name, target))
            elif target not in done:
                path[target] = reversed(targets[target])
                break
        else:
            del path[name]
            done[name] = None
