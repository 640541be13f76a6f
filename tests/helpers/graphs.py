"""Random NIR graphs of every node: branches, sums, nests, cycles, several inputs and outputs, awkward names.

Hypothesis draws the structure and one seed; all numbers come from that seed, so that no membrane ever meets its
threshold exactly, where the last bit of a sum would decide.
"""

from __future__ import annotations

from dataclasses import dataclass, field
from math import prod
from typing import Any

import nir
import numpy as np
from hypothesis import strategies as st

from snnax.interop.nir.readings import PRESETS, Reading

DT = 1e-4
STEPS = 30
Shape = tuple[int, ...]

NAMES = (
    "lif1.lif", "lif1.w_rec", "0", "1", "10", "2", "näme", "層", "a.b", "with space", "params", "lif1", "x.gain", "x",
    "previous", "lif1.lif.lif", "input_1", "output_1", "x.late", "x_previous", "kernel",
    "Z", "x.shaped", "hidden", "_", "a", "b.a",
)  # fmt: skip
"""Names of nodes: dots, digits, unicode, and words that mean something inside of a model."""

NEURONS = ("I", "IF", "LI", "LIF", "CubaLI", "CubaLIF")
ANY_RANK = (*NEURONS, "Scale", "Threshold", "Delay", "Nest", "Loop")
BY_RANK = {
    1: (*ANY_RANK, "Affine", "Linear", "Recurrent"),
    2: (*ANY_RANK, "Conv1d", "Flatten"),
    3: (*ANY_RANK, "Conv2d", "SumPool2d", "AvgPool2d", "Flatten"),
}
INPUT_SHAPES = ((1,), (2,), (3,), (2, 5), (2, 4, 5), (1, 6, 3))


@dataclass
class Case:
    """A graph, its input ``[T, B, ...]`` by the names of its Inputs, and the shape that leaves each node."""

    graph: nir.NIRGraph
    x: dict[str, np.ndarray]
    shapes: dict[str, Shape] = field(default_factory=dict)

    def __repr__(self) -> str:
        kinds = {k: f"{type(n).__name__}{self.shapes.get(k, '')}" for k, n in self.graph.nodes.items()}
        return f"Case({kinds}, {self.graph.edges})"


class Builder:
    """One graph while it grows.

    Args:
        draw: hypothesis' draw.
        rng: where numbers come from.
        names: names that nodes may take, in this order.
        unit: seconds in one unit of time of the file.
    """

    def __init__(self, draw: Any, rng: np.random.Generator, names: list[str], unit: float = 1.0) -> None:
        self.draw, self.rng, self.names, self.unit = draw, rng, list(names), unit
        self.nodes: dict[str, nir.NIRNode] = {}
        self.edges: list[tuple[str, str]] = []
        self.before: dict[str, Shape] = {}
        self.after: dict[str, Shape] = {}

    def put(self, node: nir.NIRNode, sources: list[str], shape: Shape, out: Shape) -> str:
        """Add a node fed by ``sources``; returns its name."""
        name = str(self.names.pop(0))
        self.nodes[name], self.before[name], self.after[name] = node, shape, out
        self.edges += [(source, name) for source in sources]
        return name

    def grow(self, depth: int) -> None:
        """Add one node of any kind, fed by one signal or the sum of two."""
        source = self.draw(st.sampled_from(sorted(self.after)))
        shape = self.after[source]
        kinds = BY_RANK[len(shape)]
        kind = self.draw(st.sampled_from([k for k in kinds if depth or k != "Nest"]))
        others = [n for n in sorted(self.after) if n != source and self.after[n] == shape]
        more = self.draw(st.booleans()) if others else False
        sources = [source, self.draw(st.sampled_from(others))] if more else [source]
        if kind == "Nest":
            self.put(self.nest(shape, depth), sources, shape, shape)
        elif kind == "Loop":
            name = self.put(self.make(self.draw(st.sampled_from(NEURONS)), shape)[0], sources, shape, shape)
            back = self.put(
                nir.Scale(self.numbers(shape, -0.8, 0.8).astype(np.float32)), [name], shape, shape
            )
            self.edges.append((back, name))
        elif kind == "Recurrent":
            name = self.put(self.make(self.draw(st.sampled_from(NEURONS)), shape)[0], sources, shape, shape)
            weight = self.numbers((*shape, *shape), -0.8, 0.8)
            bias = self.numbers(shape, -0.3, 0.3)
            node = nir.Affine(weight, bias) if self.draw(st.booleans()) else nir.Linear(weight)
            back = self.put(node, [name], shape, shape)
            self.edges.append((back, name))
        else:
            node, out = self.make(kind, shape)
            self.put(node, sources, shape, out)

    def close(self) -> None:
        """Add an edge from a node back to one that it depends on, or to itself."""
        pairs = [
            (s, t)
            for i, t in enumerate(self.before)
            for s in list(self.before)[i:]
            if self.after[s] == self.before[t] and (s, t) not in self.edges
        ]
        if pairs:
            self.edges.append(self.draw(st.sampled_from(pairs)))

    def nest(self, shape: Shape, depth: int) -> nir.NIRGraph:
        """A graph in the graph that keeps the shape; its names may be those of the outer one."""
        inner = Builder(self.draw, self.rng, ["x", "lif1", "lif1.w_rec", "a", "w", "b", "näme"], self.unit)
        inner.after["in"] = shape
        last = "in"
        for _ in range(self.draw(st.integers(0, 2))):
            kinds = [k for k in ANY_RANK if k not in ("Nest", "Loop")]
            last = inner.put(inner.make(self.draw(st.sampled_from(kinds)), shape)[0], [last], shape, shape)
        if inner.before and self.draw(st.booleans()):
            inner.close()
        if depth > 1 and self.draw(st.booleans()):
            last = inner.put(inner.nest(shape, depth - 1), [last], shape, shape)
        ends = [last, "in"] if last != "in" and self.draw(st.booleans()) else [last]
        nodes = {"in": nir.Input({"input": np.array(shape)}), **inner.nodes}
        nodes["out"] = nir.Output({"output": np.array(shape)})
        return nir.NIRGraph(nodes, [*inner.edges, *((s, "out") for s in ends)], type_check=False)

    def make(self, kind: str, shape: Shape) -> tuple[nir.NIRNode, Shape]:
        """A node for samples of ``shape``, and the shape that leaves it."""
        if kind in NEURONS:
            return self.neuron(kind, shape), shape
        if kind == "Scale":
            return nir.Scale(self.numbers(shape, -1.5, 1.5).astype(np.float32)), shape
        if kind == "Threshold":
            return nir.Threshold(self.numbers(shape, -0.2, 0.5)), shape
        if kind == "Delay":
            same = self.draw(st.booleans())
            steps = self.rng.integers(0, 4, () if same else shape)
            return nir.Delay(np.broadcast_to(steps, shape) * (DT / self.unit)), shape
        if kind in ("Affine", "Linear"):
            size = self.draw(st.integers(1, 4))
            weight = self.numbers((size, *shape), -1, 1)
            return (
                nir.Affine(weight, self.numbers((size,), -0.5, 0.5))
                if kind == "Affine"
                else nir.Linear(weight)
            ), (size,)
        if kind == "Flatten":
            start, end = self.draw(st.sampled_from([(0, -1), (1, -1), (0, len(shape) - 1), (0, 0)]))
            stop = end % len(shape) + 1
            out = (*shape[:start], prod(shape[start:stop]), *shape[stop:])
            return nir.Flatten({"input": np.array(shape)}, start, end), out
        return self.window(kind, shape)

    def window(self, kind: str, shape: Shape) -> tuple[nir.NIRNode, Shape]:
        """A convolution or pooling that fits into ``shape``."""
        rank, draw = len(shape) - 1, self.draw
        kernel = tuple(draw(st.integers(1, min(3, n))) for n in shape[1:])
        stride = tuple(draw(st.integers(1, 2)) for _ in kernel)
        padding: Any = tuple(draw(st.integers(0, k // 2)) for k in kernel)
        dilation = (1,) * rank
        if kind.endswith("Pool2d"):
            node = getattr(nir, kind)(np.array(kernel), np.array(stride), np.array(padding))
            return node, (shape[0], *_out(shape[1:], kernel, stride, padding, dilation))
        dilation = tuple(
            draw(st.integers(1, 2)) if 2 * (k - 1) < n else 1 for k, n in zip(kernel, shape[1:], strict=True)
        )
        word = draw(st.sampled_from(["same", "valid", ""]))
        if word == "same":
            stride = (1,) * rank
        groups = draw(st.sampled_from(sorted({1, shape[0]})))
        channels = groups * draw(st.integers(1, 2))
        weight = self.numbers((channels, shape[0] // groups, *kernel), -1, 1)
        bias = self.numbers((channels,), -0.5, 0.5)
        numbers = {"": padding, "valid": (0,) * rank, "same": None}[word]
        out = shape[1:] if numbers is None else _out(shape[1:], kernel, stride, numbers, dilation)
        if rank == 1:
            first = word or padding[0]
            return nir.Conv1d(shape[1], weight, stride[0], first, dilation[0], groups, bias), (channels, *out)
        node = nir.Conv2d(shape[1:], weight, stride, word or padding, dilation, groups, bias)
        return node, (channels, *out)

    def neuron(self, kind: str, shape: Shape) -> nir.NIRNode:
        """A neuron with a value of its own for each parameter and neuron; sometimes leak and reset are 0."""
        zero = self.draw(st.booleans())
        low, high = 1.5 * DT / self.unit, 20 * DT / self.unit
        given: dict[str, Any] = {"r": self.numbers(shape, 0.5, 3)}
        if kind in ("LI", "LIF"):
            given["tau"] = self.numbers(shape, low, high)
            given["r"] = given["r"] * 4
        if kind.startswith("Cuba"):
            given.update(tau_syn=self.numbers(shape, low, high), tau_mem=self.numbers(shape, low, high))
            given.update(r=given["r"] * 4, w_in=self.numbers(shape, 1, 8))
        if kind not in ("I", "IF"):
            given["v_leak"] = np.zeros(shape) if zero else self.numbers(shape, -0.5, 0.5)
        if kind in ("LIF", "CubaLIF", "IF"):
            given["v_threshold"] = self.numbers(shape, 0.3, 1.2)
            given["v_reset"] = np.zeros(shape) if zero else self.numbers(shape, -0.5, 0.2)
        if zero and kind == "LIF" and self.draw(st.booleans()):
            given["r"] = given["tau"] * (self.unit / DT)  # what snnTorch's Leaky computes without a gain
        return getattr(nir, kind)(**given)

    def numbers(self, shape: Shape, low: float, high: float) -> np.ndarray:
        """Uniform numbers."""
        return self.rng.uniform(low, high, shape)


def _out(shape: Shape, kernel: Shape, stride: Shape, padding: Shape, dilation: Shape) -> Shape:
    entries = zip(shape, kernel, stride, padding, dilation, strict=True)
    return tuple((n + 2 * p - d * (k - 1) - 1) // s + 1 for n, k, s, p, d in entries)


@st.composite
def graphs(draw: Any, unit: float = 1.0, most: int = 5) -> Case:
    """A graph of a few nodes and its input.

    Args:
        draw: given by hypothesis.
        unit: seconds in one unit of time of the file.
        most: how often at most it grows.
    """
    rng = np.random.default_rng(draw(st.integers(0, 2**32 - 1)))
    builder = Builder(draw, rng, list(rng.permutation(NAMES)), unit)
    count = draw(st.sampled_from([1, 1, 2, 3]))
    inputs = {
        ("input", "in2", "0in")[i] if i or count > 1 else draw(st.sampled_from(["input", "0in"])): draw(
            st.sampled_from(INPUT_SHAPES)
        )
        for i in range(count)
    }
    builder.after.update(inputs)
    for _ in range(draw(st.integers(1, most))):
        builder.grow(2)
    for _ in range(draw(st.integers(0, 2))):
        builder.close()
    nodes: dict[str, nir.NIRNode] = {n: nir.Input({"input": np.array(s)}) for n, s in inputs.items()}
    nodes.update(builder.nodes)
    edges = list(builder.edges)
    _ends(draw, builder, nodes, edges)
    order = [str(n) for n in rng.permutation(sorted(nodes))]
    graph = nir.NIRGraph({n: nodes[n] for n in order}, edges, type_check=False)
    x = {n: rng.normal(0.5, 1.5, (STEPS, 2, *s)) for n, s in inputs.items()}
    return Case(graph, x, dict(builder.after))


def _ends(draw: Any, builder: Builder, nodes: dict[str, nir.NIRNode], edges: list[tuple[str, str]]) -> None:
    """Outputs for every node that feeds nothing, and perhaps for one that does; some get a sum."""
    feeding = {s for s, _ in edges}
    ends = [n for n in builder.after if n not in feeding]
    if draw(st.booleans()) or not ends:
        ends.append(draw(st.sampled_from([n for n in builder.after if n not in ends] or ends)))
    joined: dict[Shape, str] = {}
    for i, end in enumerate(dict.fromkeys(ends)):
        shape = builder.after[end]
        if shape in joined and draw(st.booleans()):
            edges.append((end, joined[shape]))
            continue
        name = "output" if len(ends) == 1 else f"{draw(st.sampled_from('zYo'))}ut{i}"
        joined[shape] = name
        nodes[name] = nir.Output({"output": np.array(shape)})
        edges.append((end, name))


@st.composite
def readings(draw: Any) -> Reading:
    """Any reading, or one of a framework."""
    if draw(st.integers(0, 3)) == 0:
        return draw(st.sampled_from([how for how in PRESETS.values() if how.dt is None]))
    ignorable = (
        "LIF.r",
        "IF.r",
        "LIF.v_reset",
        "CubaLIF.v_reset",
        "CubaLIF.w_in",
        "LI.v_leak",
        "CubaLIF.v_leak",
    )
    before, discretization = draw(st.booleans()), draw(st.sampled_from(["euler", "exact", "exact_decay"]))
    currents = [None, "new", "old", "undecayed", *(["continuous"] if discretization == "exact" else [])]
    return Reading(
        dt=DT,
        discretization=discretization,
        reset=draw(st.sampled_from(["nir", "subtract", "none"])),
        w_in=draw(st.sampled_from(["ode", "impulse", "decayed_impulse"])),
        membrane_current=draw(st.sampled_from(currents)),
        threshold="before" if before else "after",
        reset_delay=not before and draw(st.booleans()),
        integrator=draw(st.sampled_from(["impulse", "ode"])),
        recurrent_bias=draw(st.sampled_from(["always", "after_first"])),
        input_delay=draw(st.integers(0, 2)),
        ignore=tuple(draw(st.lists(st.sampled_from(ignorable), max_size=2, unique=True))),
        time_unit=draw(st.sampled_from(["s", "ms"])),
    )
