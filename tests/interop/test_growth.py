"""Reading a graph takes work in proportion to its nodes and edges; and shapes that a file leaves out are inferred."""

from __future__ import annotations

import itertools
import time

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


def work(made, size, times):
    """Processor time of one import, in seconds: the least of some."""
    found = []
    for _ in range(times):
        graph = made(size)
        before = time.process_time()
        interop.from_nir(graph)
        found.append(time.process_time() - before)
    return min(found)


@pytest.mark.parametrize("made", [chain, wide, cycles, nested, named_alike])
def test_eight_times_the_nodes_take_about_eight_times_the_work(made):
    """Not sixty-four times: 10 000 nodes are read in seconds."""
    work(made, 50, 1)  # what is compiled once
    small, large = work(made, 400, 2), work(made, 3200, 1)
    assert large < 24 * small, f"{small} s for 400 nodes, {large} s for 3200"


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
