"""Order of nodes, delayed edges and errors of ``topology.plan``."""

import pytest

from snnax.errors import GraphError
from snnax.network.topology import INPUT, OUTPUT, chain, plan

# name: (nodes, edges as "source>target", order, delayed edges as "source>target")
PLANS = {
    "chain": ("a b", "input>a a>b b>output", "a b", ""),
    "nodes in another order": ("b a", "input>a a>b b>output", "a b", ""),
    "edges in another order": ("a b", "b>output a>b input>a", "a b", ""),
    "diamond": ("a b c d", "input>a a>b a>c b>d c>d d>output", "a b c d", ""),
    "skip": ("a b", "input>a a>b input>b b>output", "a b", ""),
    "late merge": ("a b c", "input>c input>a a>b b>c c>output", "a b c", ""),
    "from end to end": ("a", "input>a a>output input>output", "a", ""),
    "nothing": ("", "input>output", "", ""),
    "self": ("a", "input>a a>a a>output", "a", "a>a"),
    "cycle": ("a w", "input>a a>w w>a a>output", "a w", "w>a"),
    "cycle listed backwards": ("w a", "w>a a>w a>output input>a", "a w", "w>a"),
    "two cycles": ("a b v w", "input>a a>b a>v v>a b>w w>b b>output", "a v b w", "v>a w>b"),
    "long cycle": ("a b c", "input>a a>b b>c c>a c>output", "a b c", "c>a"),
    "cycle within a cycle": ("a b c", "input>a a>b b>a b>c c>a c>output", "a b c", "b>a c>a"),
    # Either edge could wait; the walk enters the cycle at the target that is listed last.
    "cycle with two ways in": ("a b", "input>a input>b a>b b>a b>output", "b a", "a>b"),
}


def edges_of(text):
    return tuple(tuple(edge.split(">")) for edge in text.split())


def in_time(order, edges, delayed):
    """Every source runs before its target, except along delayed edges."""
    place = {name: i for i, name in enumerate((INPUT, *order, OUTPUT))}
    return all((place[s] < place[t]) != ((s, t) in delayed) for s, t in edges)


@pytest.mark.parametrize("name", PLANS)
def test_order_and_delayed_edges(name):
    nodes, edges, order, late = PLANS[name]
    edges, late = edges_of(edges), edges_of(late)
    found = plan(tuple(nodes.split()), edges)
    assert {(s, t) for t, entries in found.sources.items() for s, delayed in entries if delayed} == {*late}
    assert in_time(found.order, edges, late)
    assert sorted(found.order) == sorted(nodes.split())
    if name != "two cycles":  # v and b may come in either order
        assert found.order == tuple(order.split())
    assert set(found.delayed) == {source for source, _ in late}
    assert [*found.sources] == [*found.order, OUTPUT]


def test_sources_keep_the_order_of_the_edges():
    found = plan(("a", "b", "c"), edges_of("input>b b>c input>a a>c input>c c>output"))
    assert found.sources["c"] == (("b", False), ("a", False), ("input", False))


def test_a_chain_is_a_row_of_edges():
    assert chain(("a", "b")) == edges_of("input>a a>b b>output")
    assert chain(()) == edges_of("input>output")


def test_a_long_chain_needs_no_recursion():
    names = tuple(f"n{i}" for i in range(3000))
    assert plan(names, chain(names)).order == names


@pytest.mark.parametrize(
    ("nodes", "edges", "words"),
    [
        ("a", "input>a a>b b>output", "edge ('a', 'b') joins a node that does not exist; nodes are ['a']"),
        ("a", "input>a output>a a>output", "'output' only a target"),
        ("a", "input>a a>input a>output", "'input' may only be a source"),
        ("a", "input>a input>a a>output", "edge ('input', 'a') is given twice"),
        ("a b", "input>a a>output", "nothing feeds ['b']"),
        ("a", "input>a", "nothing feeds ['output']"),
        ("a b", "input>a a>output b>b", "the input does not reach ['b']"),
        ("a b c", "input>a a>output b>c c>b", "the input does not reach ['b', 'c']"),
        ("a input", "input>a a>output", "['input'] cannot be node names"),
        ("a output", "input>a a>output", "['output'] cannot be node names"),
    ],
)
def test_malformed_graphs_are_refused(nodes, edges, words):
    with pytest.raises(GraphError) as caught:
        plan(tuple(nodes.split()), edges_of(edges))
    assert words in str(caught.value)
