"""In which order the nodes of a graph compute within one step, and which edges carry the step before."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

from snnax.errors import GraphError
from snnax.interop.graph import FlatGraph, keeps_state


@dataclass(frozen=True)
class Walk:
    """The order of a step.

    Attributes:
        order: names of the nodes, without Input and Output.
        sources: for each node and each Output its ``(source, late)`` in the order of the graph's edges, which
            is the order in which they are added up; a late source hands over what it computed a step before.
        audible: late sources that may hand over something in the first step too: what becomes of a neuron's
            silence on the way to here, as the bias of recurrent weights. On a way that branches, nothing.
    """

    order: tuple[str, ...]
    sources: dict[str, tuple[tuple[str, bool], ...]]
    audible: frozenset[str]

    @property
    def late(self) -> frozenset[str]:
        """Nodes whose output is needed a step later."""
        return frozenset(source for pairs in self.sources.values() for source, late in pairs if late)


def walk(graph: FlatGraph) -> Walk:
    """Every node after all that feed it; an edge that closes a cycle is late by one step.

    The rule is that of :func:`snnax.network.topology.plan`. The graph is walked depth first from its Inputs,
    along the edges of each node, from the last to the first; an edge that leads back to a node on the path to
    here closes a cycle. So of ``input -> lif -> w_rec -> lif`` the edge ``w_rec -> lif`` is late, and the order
    of the nodes in a file does not matter.

    Raises:
        GraphError: for an Output that nothing feeds, and nodes that no Input reaches.
    """
    targets: dict[str, list[str]] = {name: [] for name in (*graph.inputs, *graph.nodes)}
    for source, target in graph.edges:
        if target in graph.nodes and source in targets:
            targets[source].append(target)
    done: dict[str, None] = {}
    closing: set[tuple[str, str]] = set()
    for name in sorted(graph.inputs, reverse=True):
        _visit(name, targets, done, closing)
    if missing := [name for name in graph.nodes if name not in done]:
        raise GraphError(f"the input does not reach {missing}; connect them or take them out.")
    sources = {
        name: tuple((s, (s, t) in closing) for s, t in graph.edges if t == name)
        for name in (*graph.nodes, *graph.outputs)
    }
    if silent := [name for name in graph.outputs if not sources[name]]:
        raise GraphError(f"nothing feeds {silent}; give each of them an edge or take it out.")
    order = tuple(name for name in reversed(done) if name in graph.nodes)
    return Walk(order, sources, frozenset(s for s, t in closing if _comes_from_a_neuron(s, t, graph)))


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
