"""Containers in containers, in any way: one network by every road, bit for bit.

All numbers are eighths and powers of two, so that sums are exact and a spike is never a matter of rounding.
"""

from __future__ import annotations

import itertools
import runpy
import tempfile
from pathlib import Path

import flax.linen as nn
import jax
import jax.numpy as jnp
import numpy as np
import pytest
from hypothesis import HealthCheck, Phase, given, settings
from hypothesis import strategies as st

import snnax as snn
from snnax import interop
from snnax.interop.simulator import simulate

B, N, T = 2, 3, 5
X = np.random.default_rng(7).integers(-8, 17, (T, B, N)).astype(np.float32) / 8
QUICK = settings(
    max_examples=14, deadline=None, derandomize=True, database=None, suppress_health_check=list(HealthCheck),
    phases=[Phase.generate],
)  # fmt: skip


def lif(**more):
    return snn.Leaky(beta=0.5, threshold=0.5, init_hidden=True, **more)


LEAVES = {
    "half": lambda: snn.Scale(0.5),
    "turn": lambda: snn.Scale(-0.25),
    "dense": lambda: nn.Dense(N),
    "lif": lif,
    "zero": lambda: lif(reset_mechanism="zero", reset_delay=False),
    "synaptic": lambda: snn.Synaptic(0.5, 0.5, threshold=0.5, init_hidden=True),
    "recurrent": lambda: snn.RLeaky(0.5, linear_features=N, init_hidden=True),
    "own": lambda: snn.LIF(tau=2e-4, r=2.0, v_reset=-0.25, v_threshold=0.5, init_hidden=True),
    "delay": lambda: snn.Delay(1),
    "norm": lambda: nn.Dropout(0.5, deterministic=True),
}


@st.composite
def containers(draw, depth=2, shared=None):
    """A Sequential or Graph of up to four nodes, which may be containers; every signal has N values."""
    shared = {} if shared is None else shared

    def node():
        kinds = [*LEAVES, "shared", "block", "block", "block"] if depth else [*LEAVES, "shared"]
        kind = draw(st.sampled_from(kinds))
        if kind == "block":
            return draw(containers(depth=depth - 1, shared=shared))
        if kind == "shared":
            return shared.setdefault("dense", nn.Dense(N))
        return LEAVES[kind]()

    parts = [node() for _ in range(draw(st.integers(0, 3)))]
    if draw(st.booleans()):
        return snn.Sequential(parts)
    parts = [*parts, node()]
    names = draw(st.permutations(["n", "out", "0", "w rec"]))[: len(parts)]
    edges = []
    for i, name in enumerate(names):
        sources = draw(st.lists(st.sampled_from(["input", *names[:i]]), min_size=1, max_size=2, unique=True))
        edges += [(source, name) for source in sources]
    for _ in range(draw(st.integers(0, 2))):  # back, or to itself
        target = draw(st.sampled_from(names))
        source = draw(st.sampled_from(names[names.index(target) :]))
        edges.append((source, target))
    ends = draw(st.lists(st.sampled_from([*names, "input"]), min_size=1, max_size=2, unique=True))
    edges = list(dict.fromkeys([*edges, *((end, "output") for end in ends)]))
    late = draw(st.booleans())
    return snn.Graph(dict(zip(names, parts, strict=True)), draw(st.permutations(edges)), delay_spikes=late)


def start(net):
    """Variables whose numbers are eighths."""
    variables = net.init(jax.random.key(0), X[0])
    variables = {c: v for c, v in variables.items() if c != "hidden"}
    return jax.tree.map(lambda v: jnp.round(v * 8) / 8, variables)


def stepwise(net, variables):
    """Step by step with ``apply``, from the reset state."""
    found, hidden = [], {}
    for x in X:
        y, hidden = net.apply({**variables, **hidden}, x, mutable=["hidden"])
        found.append(np.asarray(y))
    return np.stack(found)


def by_source(net, variables):
    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder) / "net.py"
        interop.write_source(path, net, variables)
        return runpy.run_path(str(path))["build"]()


def check(net):
    variables = start(net)
    expected = stepwise(net, variables)
    for chunk in (1, 2):
        np.testing.assert_array_equal(snn.unroll(net, variables, X, chunk=chunk)[0], expected)
    graph = interop.to_nir(net, variables, X[0])
    model, weights = interop.from_nir(graph)
    np.testing.assert_array_equal(stepwise(model, weights), expected)
    np.testing.assert_allclose(simulate(graph, X).outputs[0], expected, rtol=1e-5, atol=1e-5)
    with tempfile.TemporaryDirectory() as folder:
        interop.write_nir(Path(folder) / "a.nir", graph, extensions=True)
        again, theirs = interop.from_nir(Path(folder) / "a.nir")
    np.testing.assert_array_equal(stepwise(again, theirs), expected)
    assert again.plan().sources == model.plan().sources
    np.testing.assert_array_equal(stepwise(*by_source(net, variables)), expected)
    np.testing.assert_array_equal(stepwise(*by_source(model, weights)), expected)
    state = interop.to_state_dict(net, variables, X[0])
    blank = jax.tree.map(jnp.zeros_like, variables)
    np.testing.assert_array_equal(stepwise(net, interop.from_state_dict(net, blank, state, X[0])), expected)


@QUICK
@given(containers())
def test_nested_containers_compute_the_same_by_every_road(net):
    check(net)


def block(kind):
    layers = {"fc": nn.Dense(N), "lif": lif()}
    if kind == "Sequential":
        return snn.Sequential(list(layers.values()))
    edges = itertools.pairwise(["input", *layers, "output"])
    return snn.Graph(layers, list(edges))


PASSING = {
    "Sequential": lambda: snn.Sequential([]),
    "Graph": lambda: snn.Graph({}, [("input", "output")]),
    "beside": lambda: snn.Graph({"d": nn.Dense(N)}, [("input", "output"), ("input", "d"), ("d", "d")]),
    "deep": lambda: snn.Sequential([snn.Sequential([])]),
}


@pytest.mark.parametrize("kind", PASSING)
def test_states_do_not_come_through_a_container_that_hands_its_input_on(kind):
    """A layer behind a neuron gets its spikes, and so does what a container that has no layer returns."""
    check(snn.Sequential([lif(output=True), PASSING[kind]()]))


@pytest.mark.parametrize("outer", ["Sequential", "Graph", "cycle", "itself"])
@pytest.mark.parametrize("inner", ["Sequential", "Graph", "flax", "deep"])
def test_blocks_with_weights_have_them_under_the_name_of_their_node(outer, inner):
    made = {
        "flax": lambda: nn.Sequential([nn.Dense(N), nn.relu]),
        "deep": lambda: snn.Sequential(
            [snn.Graph({"a": block("Sequential")}, [("input", "a"), ("a", "output")])]
        ),
    }.get(inner, lambda: block(inner))()
    edges = [("input", "block"), ("block", "end"), ("end", "output")]
    edges += {"cycle": [("end", "block")], "itself": [("block", "block")]}.get(outer, [])
    nodes = {"block": made, "end": nn.Dense(N)}
    net = snn.Sequential([made, nn.Dense(N)]) if outer == "Sequential" else snn.Graph(nodes, edges)
    variables = start(net)
    assert set(variables["params"]) == (
        {"layers_0", "layers_1"} if outer == "Sequential" else {"block", "end"}
    )
    if inner == "flax":
        np.testing.assert_array_equal(snn.unroll(net, variables, X)[0], stepwise(net, variables))
    else:
        check(net)


DEAD_ENDS = {
    "a layer": lambda: ({"a": lif(), "b": nn.Dense(N)}, [("input", "a"), ("input", "b"), ("b", "output")], None),
    "a container": lambda: (
        {"a": block("Graph"), "b": snn.Sequential([])}, [("input", "a"), ("input", "b"), ("b", "output")], None,
    ),
    "a cycle": lambda: (
        {"a": lif(), "b": nn.Dense(N), "c": snn.Scale(0.5)},
        [("input", "a"), ("a", "c"), ("c", "a"), ("input", "b"), ("b", "output")], None,
    ),
    "another output": lambda: (
        {"a": lif(), "b": nn.Dense(N)}, [("input", "a"), ("input", "b"), ("a", "output")], [("b", "out")],
    ),
    "the input": lambda: ({"a": lif()}, [("input", "a"), ("input", "output")], None),
}  # fmt: skip


@pytest.mark.parametrize("outer", ["itself", "cycle", "deep"])
@pytest.mark.parametrize("kind", DEAD_ENDS)
def test_a_delayed_signal_also_goes_where_it_comes_to_nothing(kind, outer):
    """A node in a container on a cycle that leads nowhere gets what comes back, but is on no cycle itself."""
    nodes, edges, outputs = DEAD_ENDS[kind]()
    inner = snn.Graph(nodes, edges, outputs=outputs)
    inner = snn.Sequential([inner]) if outer == "deep" else inner
    ways = [("input", "x"), ("x", "y"), ("y", "output"), ("y", "x") if outer == "cycle" else ("x", "x")]
    check(snn.Graph({"x": inner, "y": snn.Scale(0.5)}, ways))


def torchs(first=True):
    """A graph of a convolution and a neuron that takes and returns images as torch does."""
    edges = [("input", "c"), ("c", "n"), ("n", "output")]
    return snn.Graph({"c": nn.Conv(3, (2, 2)), "n": lif()}, edges, channels_first=first)


BEFORE = {
    "graph": lambda: [torchs()],
    "deep": lambda: [snn.Sequential([torchs()])],
    "neuron": lambda: [torchs(), lif(), snn.Sequential([])],
    "input": lambda: [snn.Graph({"s": snn.Scale(1.0), "g": torchs()}, [
        ("input", "s"), ("input", "g"), ("g", "g"), ("s", "output")])],
}  # fmt: skip


@pytest.mark.parametrize("kind", BEFORE)
def test_an_image_in_torchs_order_is_flattened_in_torchs_order(kind):
    """Behind a graph that returns images channels-first, the columns of a dense layer are torch's already."""
    layers = BEFORE[kind]()
    net = snn.Sequential([*layers, snn.Flatten(), nn.Dense(2)])
    image = np.random.default_rng(0).integers(-8, 9, (B, 3, 4, 5)).astype(np.float32) / 8
    variables = net.init(jax.random.key(0), image)
    dense = variables["params"][f"layers_{len(layers) + 1}"]
    state = interop.to_state_dict(net, variables, image)
    np.testing.assert_array_equal(state[f"{len(layers) + 1}.weight"], np.asarray(dense["kernel"]).T)
    back = interop.from_state_dict(net, jax.tree.map(jnp.zeros_like, variables), state, image)
    np.testing.assert_array_equal(back["params"][f"layers_{len(layers) + 1}"]["kernel"], dense["kernel"])


def test_inside_such_a_graph_an_image_is_flattened_in_ours():
    nodes = {"c": nn.Conv(3, (2, 2)), "f": snn.Flatten(), "d": nn.Dense(2)}
    edges = itertools.pairwise(["input", *nodes, "output"])
    net = snn.Sequential([snn.Graph(nodes, list(edges), channels_first=True)])
    image = np.ones((B, 3, 4, 5), np.float32)
    variables = net.init(jax.random.key(0), image)
    kernel = np.asarray(variables["params"]["layers_0"]["d"]["kernel"]).reshape(4, 5, 3, 2)
    weight = interop.to_state_dict(net, variables, image)["0.d.weight"]
    np.testing.assert_array_equal(weight.reshape(2, 3, 4, 5), kernel.transpose(3, 2, 0, 1))
