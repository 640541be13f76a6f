"""Reading a graph takes work in proportion to its nodes and edges; and shapes that a file leaves out are inferred."""

from __future__ import annotations

import itertools
import sys

import nir
import numpy as np
import pytest

from snnax import interop

ONE = np.ones(2, np.float32)


def ends():
    return {"input": nir.Input({"input": np.array([2])}), "output": nir.Output({"output": np.array([2])})}


def chain(n):
    nodes = {f"s{i}": nir.Scale(ONE) for i in range(n)}
    names = ["input", *nodes, "output"]
    return nir.NIRGraph({**ends(), **nodes}, list(itertools.pairwise(names)), type_check=False)


def wide(n):
    nodes = {f"s{i}": nir.Scale(ONE) for i in range(n)}
    edges = [*(("input", name) for name in nodes), *((name, "output") for name in nodes)]
    return nir.NIRGraph({**ends(), **nodes}, edges, type_check=False)


def cycles(n):
    """A chain of neurons; each has weights on a loop, and the last one feeds all of them."""
    nodes = {f"n{i}": nir.LIF(ONE * 1e-3, ONE * 5, ONE * 0.1, ONE) for i in range(n // 2)}
    nodes |= {f"w{i}": nir.Linear(np.eye(2, dtype=np.float32)) for i in range(n // 2)}
    names = ["input", *(f"n{i}" for i in range(n // 2)), "output"]
    edges = [*itertools.pairwise(names)]
    for i in range(n // 2):
        edges += [
            (f"n{i}", f"w{i}"),
            (f"w{i}", f"n{i}"),
            *([(names[-2], f"n{i}")] if f"n{i}" != names[-2] else []),
        ]
    return nir.NIRGraph({**ends(), **nodes}, edges, type_check=False)


def nested(n):
    inner = chain(n // 4)
    for _ in range(3):
        outer = chain(n // 4)
        outer.nodes["s0"] = inner
        inner = outer
    return inner


def named_alike(n):
    """Names that are no names in flax, all of which must be changed."""
    nodes = {"_previous" * 2 + "_" * i: nir.Scale(ONE) for i in range(n // 8)}
    names = ["input", *nodes, "output"]
    return nir.NIRGraph({**ends(), **nodes}, list(itertools.pairwise(names)), type_check=False)


def steps(made, size):
    """Lines of Python that one import runs, each round of a loop counted: the same number on every machine."""
    graph, count, before = made(size), 0, sys.gettrace()

    def trace(frame, event, argument):
        nonlocal count
        count += 1
        return trace

    sys.settrace(trace)
    try:
        interop.from_nir(graph)
    finally:
        sys.settrace(before)
    return count


@pytest.mark.parametrize("made", [chain, wide, cycles, nested, named_alike])
def test_each_node_takes_the_same_work_however_many_there_are(made):
    """10 000 nodes are read in seconds. Work that looks at all nodes for each one would show as the difference."""
    steps(made, 40)  # what is compiled once
    few, more, many = (steps(made, n) for n in (100, 200, 400))
    assert many - more < 2.06 * (more - few)


def test_shapes_of_pooling_are_those_that_nir_infers(tmp_path):
    pool = {
        kind: getattr(nir, kind)(np.array([2, 2]), np.array([2, 1]), np.array([0, 1]))
        for kind in ("AvgPool2d", "SumPool2d")
    }
    flat = [nir.Input(np.array([2, 10, 9])), *pool.values(), nir.Output(np.array([2, 2, 11]))]
    nir.write(tmp_path / "a.nir", nir.NIRGraph.from_list(*flat))
    ours, theirs = interop.read_nir(tmp_path / "a.nir"), nir.read(tmp_path / "a.nir")
    for name in ("avgpool2d", "sumpool2d"):
        for what in ("input_type", "output_type"):
            found, expected = (
                next(iter(getattr(graph.nodes[name], what).values())) for graph in (ours, theirs)
            )
            np.testing.assert_array_equal(found, expected)
    interop.from_nir(ours)
