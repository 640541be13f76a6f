"""Small spiking networks in NumPy as sides of a comparison, with defects to plant.

Nothing here uses snnax's equations or its stage evaluation: what the comparison finds has to come out right
against a second hand.
"""

from __future__ import annotations

import copy
from dataclasses import dataclass, field, replace
from itertools import pairwise
from typing import Any

import nir
import numpy as np

from snnax.interop.families.nodes import node_from_spec
from snnax.interop.nir import metadata
from snnax.interop.spec import NeuronSpec
from snnax.interop.trace import NodeTrace, Trace


@dataclass
class Lif:
    """A neuron layer; the last fields are defects that no spec can say."""

    beta: Any = 0.9
    alpha: Any = None
    threshold: Any = 1.0
    reset: str = "subtract"
    delay: bool = True
    graded: float = 1.0
    recurrent: tuple[np.ndarray, np.ndarray] | None = None
    at_threshold: bool = False
    gain: float = 1.0
    late: bool = False
    start: float = 0.0
    bias_from: int = 0
    serial: bool = False

    @property
    def kind(self) -> str:
        return ("R" if self.recurrent else "") + ("Leaky" if self.alpha is None else "Synaptic")

    def spec(self) -> NeuronSpec:
        values = {"beta": np.asarray(self.beta), "threshold": np.asarray(self.threshold)}
        if self.alpha is not None:
            values["alpha"] = np.asarray(self.alpha)
        if self.kind == "Leaky":
            values["graded_spikes_factor"] = np.asarray(self.graded)
        return NeuronSpec(
            self.kind, values, options={"reset_mechanism": self.reset, "reset_delay": self.delay}
        )

    def fires(self, mem):
        limit = np.asarray(self.threshold, mem.dtype)
        return (mem >= limit if self.at_threshold else mem > limit).astype(mem.dtype)

    def step(self, x, state, feedback):
        dtype, mem = x.dtype, state["mem"]
        beta, limit = np.asarray(self.beta, dtype), np.asarray(self.threshold, dtype)
        x = x * np.asarray(self.gain, dtype) if self.gain != 1 else x
        flag, new = self.fires(mem), {}
        if self.alpha is not None:
            new["syn"] = np.asarray(self.alpha, dtype) * state["syn"] + x
            new["syn"] = new["syn"] + feedback if feedback is not None else new["syn"]
            base = beta * mem + new["syn"]
        else:
            base = beta * mem + x
            base = base + feedback if feedback is not None else base
        if self.reset == "zero" and self.kind == "Leaky":
            base = beta * ((1 - flag) * mem) + x
        elif self.reset == "zero":
            base = base - flag * base
        elif self.reset == "subtract":
            base = base - flag * limit
        fired = self.fires(base)
        if not self.delay and self.reset != "none":
            base = base - (fired - flag) * (limit if self.reset == "subtract" else base)
        return fired * np.asarray(self.graded, dtype), {**new, "mem": base}


def product(x: np.ndarray, weight: np.ndarray) -> np.ndarray:
    """``x @ weight.T``, added in one order on every machine: by halves. A BLAS picks its own for each processor."""
    terms = x[:, None, :] * weight
    while (n := terms.shape[-1]) > 1:
        half = n // 2
        rest = terms[..., 2 * half :]
        terms = np.concatenate([terms[..., :half] + terms[..., half : 2 * half], rest], axis=-1)
    return terms[..., 0]


@dataclass
class Dense:
    weight: np.ndarray
    bias: np.ndarray | None = None
    order: Any = None

    def __call__(self, x):
        weight = self.weight.astype(x.dtype)
        if self.order is None:
            y = product(x, weight)
        elif isinstance(self.order, str):
            y = np.stack([np.add.accumulate(row * weight, -1, dtype=x.dtype)[:, -1] for row in x])
        else:
            y = product(x[:, self.order], weight[:, self.order])
        return y if self.bias is None else y + self.bias.astype(x.dtype)

    def node(self):
        return nir.Linear(self.weight) if self.bias is None else nir.Affine(self.weight, self.bias)


@dataclass
class Conv:
    weight: np.ndarray
    bias: np.ndarray
    padding: int = 0
    stride: int = 1
    backwards: bool = False

    def __call__(self, x):
        weight, p, s = self.weight.astype(x.dtype), self.padding, self.stride
        x = np.pad(x, [(0, 0), (0, 0), (p, p), (p, p)])
        kh, kw = weight.shape[2:]
        high, wide = (x.shape[2] - kh) // s + 1, (x.shape[3] - kw) // s + 1
        total = np.zeros((len(x), len(weight), high, wide), x.dtype)
        taps = [(i, j, c) for i in range(kh) for j in range(kw) for c in range(weight.shape[1])]
        for i, j, c in reversed(taps) if self.backwards else taps:
            window = x[:, c, i : i + s * high : s, j : j + s * wide : s]
            total = total + window[:, None] * weight[:, c, i, j][:, None, None]
        return total + self.bias.astype(x.dtype)[:, None, None]

    def node(self):
        return nir.Conv2d(None, self.weight, self.stride, self.padding, 1, 1, self.bias)


@dataclass
class Flatten:
    shape: tuple[int, ...]
    order: tuple[int, ...] = (0, 1, 2)

    def __call__(self, x):
        return x.transpose(0, *(i + 1 for i in self.order)).reshape(len(x), -1)

    def node(self):
        return nir.Flatten({"input": np.array(self.shape)}, 0, -1)


@dataclass
class SumPool:
    size: int = 2

    def __call__(self, x):
        n, c, h, w = x.shape
        return x.reshape(n, c, h // self.size, self.size, w // self.size, self.size).sum(
            (3, 5), dtype=x.dtype
        )

    def node(self):
        size = np.array([self.size, self.size])
        return nir.SumPool2d(size, size, np.array([0, 0]))


@dataclass
class Late:
    """Defect: hands on its input one step later; not in the graph."""

    held: Any = None

    def __call__(self, x):
        out, self.held = (np.zeros_like(x) if self.held is None else self.held), x
        return out


@dataclass
class Net:
    """Nodes by name in the order of a step, each with the names that feed it (summed)."""

    nodes: dict[str, Any]
    feeds: dict[str, tuple[str, ...]]
    shapes: dict[str, tuple[int, ...]] = field(default_factory=dict)

    @classmethod
    def chain(cls, **nodes: Any) -> Net:
        names = ["input", *nodes]
        return cls(dict(nodes), {name: (before,) for before, name in zip(names, nodes, strict=False)})

    def but(self, name: str, **changes: Any) -> Net:
        """A copy with other attributes of one node."""
        return Net({**self.nodes, name: replace(self.nodes[name], **changes)}, dict(self.feeds))

    def fed(self, **feeds: tuple[str, ...]) -> Net:
        """A copy with other sources."""
        return Net(dict(self.nodes), {**self.feeds, **feeds})


class FakeSide:
    """Runs a :class:`Net`; ``claims`` is the net that its graph shows, if not the one that it runs."""

    def __init__(self, net: Net, label: str, dtype: Any = np.float32, claims: Net | None = None) -> None:
        self.net, self.label, self.dtype = net, label, dtype
        self.claims = net if claims is None else claims
        self._shapes: dict[str, tuple[int, ...]] = {}

    def run(self, x):
        return self._run(x, {})

    def replay(self, x, forced):
        return self._run(x, forced)

    def _run(self, x, forced):
        net = copy.deepcopy(self.net)
        lifs = {name: node for name, node in net.nodes.items() if isinstance(node, Lif)}
        state: dict[str, Any] = {}
        rows: dict[str, dict[str, list]] = {n: {"input": [], "spk": []} for n in lifs}
        last, outputs = {}, []
        for t, frame in enumerate(x):
            values = {"input": frame.astype(self.dtype)}
            for name, node in net.nodes.items():
                total = sum(
                    (values[s] if s in values else last[s] * 0 for s in net.feeds[name][1:]),
                    values[net.feeds[name][0]],
                )
                if name not in lifs:
                    values[name] = node(total)
                    continue
                if name not in state:
                    state[name] = {
                        k: np.full_like(total, node.start)
                        for k in (("syn", "mem") if node.alpha is not None else ("mem",))
                    }
                    last[name] = np.zeros_like(total)
                    self._shapes[name] = total.shape[1:]
                feedback = None
                if node.recurrent is not None:
                    weight, bias = (a.astype(self.dtype) for a in node.recurrent)
                    weigh = Dense(
                        weight, bias if t >= node.bias_from else 0 * bias, "serial" if node.serial else None
                    )
                    feedback = weigh(last[name])
                spk, state[name] = node.step(total, state[name], feedback)
                if node.late:
                    spk, node.__dict__["held"] = node.__dict__.get("held", np.zeros_like(spk)), spk
                rows[name]["input"].append(total)
                rows[name]["spk"].append(spk)
                for key, value in state[name].items():
                    rows[name].setdefault(key, []).append(value)
                values[name] = last[name] = forced[name][t].astype(self.dtype) if name in forced else spk
            outputs.append(values[name])
        nodes = {}
        for name, node in lifs.items():
            arrays = {k: np.stack(v) for k, v in rows[name].items()}
            nodes[name] = NodeTrace(name, node.kind, arrays.pop("input"), arrays.pop("spk"), arrays)
        return Trace(nodes, (np.stack(outputs),))

    def graph(self):
        nodes: dict[str, Any] = {"input": nir.Input({"input": np.array([1])})}
        edges = []
        for name, node in self.claims.nodes.items():
            if isinstance(node, Late):
                continue
            target = name
            if isinstance(node, Lif):
                spec = node.spec()
                target = f"{name}.lif" if node.recurrent else name
                nodes[target] = node_from_spec(name, spec, self._shapes.get(name), 1e-4)
                metadata.read_spec(nodes[target])
                if node.recurrent:
                    nodes[f"{name}.w_rec"] = nir.Affine(*node.recurrent)
                    edges += [(target, f"{name}.w_rec"), (f"{name}.w_rec", target)]
            else:
                nodes[name] = node.node()
            for source in self.claims.feeds[name]:
                while isinstance(self.claims.nodes.get(source), Late):
                    (source,) = self.claims.feeds[source]
                edges.append((self._node(source), target))
        nodes["output"] = nir.Output({"output": np.array([1])})
        edges.append((self._node(name), "output"))
        return nir.NIRGraph(nodes, edges, type_check=False)

    def _node(self, name):
        node = self.claims.nodes.get(name)
        return f"{name}.lif" if isinstance(node, Lif) and node.recurrent else name


class Bare:
    """A side that can only run: no graph, no specs."""

    def __init__(self, side: FakeSide, keep: tuple[str, ...] | None = None) -> None:
        self.side, self.label, self.keep = side, side.label, keep

    def run(self, x):
        return self._stripped(self.side.run(x))

    def replay(self, x, forced):
        return self._stripped(self.side.replay(x, forced))

    def graph(self):
        raise NotImplementedError("it has none")

    def _stripped(self, trace):
        if self.keep is not None:
            for node in trace.nodes.values():
                node.states = {k: v for k, v in node.states.items() if k in self.keep}
        return trace


def dyadic(rng, shape, unit=1 / 16, limit=8):
    """Random multiples of a power of two, whose sums are exact in float32."""
    return (rng.integers(-limit, limit + 1, shape) * unit).astype(np.float32)


def dense_net(rng, sizes=(20, 16, 12), dtype=np.float32, **lif: Any) -> Net:
    """Two dense layers, biases and neurons that fire now and then."""
    nodes: dict[str, Any] = {}
    for i, (n, m) in enumerate(pairwise(sizes), 1):
        weight = rng.normal(0.12, 0.5, (m, n)).astype(dtype) / np.sqrt(n) * 2
        nodes[f"fc{i}"] = Dense(weight.astype(dtype), rng.uniform(0.02, 0.2, m).astype(dtype))
        nodes[f"lif{i}"] = Lif(**lif)
    return Net.chain(**nodes)


def image_net(rng, side=8) -> Net:
    """Convolution, pooling, flattening and a dense layer on 1 x ``side`` x ``side`` images."""
    half = (side - 2) // 2
    features = 4 * half * half
    return Net.chain(
        conv=Conv(
            rng.normal(0.1, 0.4, (4, 1, 3, 3)).astype(np.float32),
            rng.uniform(0.02, 0.1, 4).astype(np.float32),
        ),
        lif1=Lif(beta=0.8),
        pool=SumPool(2),
        flat=Flatten((4, half, half)),
        fc=Dense(
            rng.normal(0.1, 0.3, (6, features)).astype(np.float32),
            rng.uniform(0.02, 0.1, 6).astype(np.float32),
        ),
        lif2=Lif(beta=0.9),
    )


def dense_input(rng, steps=30, batch=4, features=20, rate=0.4):
    return (rng.random((steps, batch, features)) < rate).astype(np.float32)


def image_input(rng, steps=20, batch=3, side=8):
    return rng.random((steps, batch, 1, side, side)).astype(np.float32)
