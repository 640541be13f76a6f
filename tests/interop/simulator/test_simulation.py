"""The neutral referee: every node against torch or arithmetic, recorded runs, and snnax's own models."""

from __future__ import annotations

import itertools
import random
import time
import warnings
from functools import partial
from pathlib import Path

import flax.linen as nn
import jax
import nir
import numpy as np
import pytest

import snnax as snn
from snnax import interop
from snnax.errors import ArgumentError, ConversionError, GraphError, NIRFileError, RepairWarning, ShapeError
from snnax.interop import simulator
from snnax.interop.crossvalidation import FlaxSide
from snnax.interop.nir.extension import Extension
from snnax.interop.nir.graph import flatten
from snnax.interop.nir.readings import Reading, reading
from snnax.interop.simulator.neurons import NIRNeuron, nir_choices
from snnax.interop.simulator.simulation import walk
from snnax.network.topology import plan
from tests.helpers import nir_neurons

DATA = Path(__file__).parents[4] / "shared" / "data" / "nir_paper"
needs_data = pytest.mark.skipif(
    not DATA.exists(), reason="the NIR paper's files are not beside this checkout"
)
RNG = np.random.default_rng(0)


def full(shape, value, spread=0.0, seed=0):
    values = value * (1 + spread * np.random.default_rng(seed).uniform(-1, 1, shape))
    return np.asarray(values, np.float32)


def lif(n=4, spread=0.2, **changes):
    given = {"tau": 1e-3, "r": 10.0, "v_leak": 0.0, "v_threshold": 1.0, "v_reset": 0.0, **changes}
    return nir.LIF(
        **{k: full((np.shape(n) and n) or (n,), v, spread, i) for i, (k, v) in enumerate(given.items())}
    )


def cuba(n=4, kind=nir.CubaLIF, **changes):
    given = {"tau_syn": 7e-4, "tau_mem": 1e-3, "r": 8.0, "v_leak": 0.1, "w_in": 5.0}
    given |= {"v_threshold": 1.0, "v_reset": -0.2} if kind is nir.CubaLIF else {}
    return kind(**{k: full(n, v, 0.2, i) for i, (k, v) in enumerate({**given, **changes}.items())})


def affine(n_out, n_in, seed=0, bias=0.1):
    rng = np.random.default_rng(seed)
    weight = rng.uniform(-0.6, 1, (n_out, n_in)).astype(np.float32)
    return nir.Affine(weight, (bias * rng.uniform(-1, 1, n_out)).astype(np.float32))


def graph(edges, shape=(3,), out=(4,), **nodes):
    """``"a > b > c"`` for each path, between ``input`` and ``output``."""
    pairs = [pair for path in edges for pair in itertools.pairwise(path.split(" > "))]
    ends = {"input": nir.Input(np.array(shape)), "output": nir.Output(np.array(out))}
    return nir.NIRGraph({**ends, **nodes}, list(dict.fromkeys(pairs)), type_check=False)


def single(node, shape):
    return graph(["input > node > output"], shape, shape, node=node)


def output(node, x):
    """A node's output for ``x`` ``[T, B, ...]``."""
    (found,) = simulator.simulate(single(node, x.shape[2:]), x).outputs
    return found


# --- layers ---------------------------------------------------------------------------------------


def convolution(rank, out, into, kernel, groups=1, **given):
    weight = RNG.normal(size=(out, into // groups, *kernel)).astype(np.float32)
    kind = nir.Conv2d if rank == 2 else nir.Conv1d
    options = {"stride": 1, "padding": 0, "dilation": 1, **given}
    return kind(None, weight, groups=groups, bias=RNG.normal(size=out).astype(np.float32), **options)


CONVOLUTIONS = {
    "plain": (convolution(2, 4, 3, (3, 3)), (3, 7, 6)),
    "not square": (convolution(2, 4, 2, (5, 2), stride=(2, 1), padding=(1, 0), dilation=(1, 2)), (2, 9, 8)),
    "groups": (convolution(2, 6, 4, (2, 3), groups=2, padding=1), (4, 5, 6)),
    "depthwise": (convolution(2, 6, 3, (3, 3), groups=3, padding=(2, 1)), (3, 5, 6)),
    "same, even kernel": (convolution(2, 2, 2, (4, 3), padding="same", dilation=(1, 2)), (2, 6, 7)),
    "valid": (convolution(2, 2, 2, (2, 2), padding="valid"), (2, 4, 4)),
    "line": (convolution(1, 4, 2, (3,), stride=2, padding=2), (2, 9)),
    "line, groups": (convolution(1, 4, 4, (4,), groups=2, padding="same"), (4, 9)),
}


@pytest.mark.parametrize("name", CONVOLUTIONS)
def test_convolutions_are_torchs(name):
    torch = pytest.importorskip("torch")
    node, shape = CONVOLUTIONS[name]
    x = RNG.normal(size=(2, 3, *shape))
    function = torch.nn.functional.conv2d if len(shape) == 3 else torch.nn.functional.conv1d
    weight, bias = (torch.tensor(v, dtype=torch.float64) for v in (node.weight, node.bias))
    options = (node.stride, node.padding, node.dilation)
    given = [v if isinstance(v, str) else tuple(np.ravel(v).tolist()) for v in options]
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # torch pads even kernels on a copy and says so
        expected = function(
            torch.tensor(x.reshape(6, *shape)), weight, bias, *given, int(node.groups)
        ).numpy()
    np.testing.assert_allclose(output(node, x).reshape(expected.shape), expected, rtol=1e-12, atol=1e-12)


@pytest.mark.parametrize("kind", ["Avg", "Sum", "Max"])
@pytest.mark.parametrize("window", [(2, 2, 0), ((3, 2), (2, 1), (1, 1))])
def test_pools_are_torchs(kind, window):
    torch = pytest.importorskip("torch")
    kernel, stride, padding = (np.array(np.broadcast_to(v, 2)) for v in window)
    x = RNG.normal(size=(2, 3, 2, 7, 6))
    options = {"kernel_size": kernel, "stride": stride, "padding": padding}
    node = (
        Extension("MaxPool2d", options=options) if kind == "Max" else getattr(nir, f"{kind}Pool2d")(**options)
    )
    flat, given = torch.tensor(x.reshape(6, 2, 7, 6)), [tuple(v.tolist()) for v in (kernel, stride, padding)]
    pool = torch.nn.functional.max_pool2d if kind == "Max" else torch.nn.functional.avg_pool2d
    expected = pool(flat, *given).numpy() * (kernel.prod() if kind == "Sum" else 1)
    np.testing.assert_allclose(output(node, x).reshape(expected.shape), expected, rtol=1e-12)


IMAGE = np.arange(24.0).reshape(1, 1, 2, 3, 4)
ROW = np.array([[[1.0, -2.0, 0.5]]])
SIMPLE = {
    "affine": (nir.Affine(np.array([[1.0, 2.0, 4.0]]), np.array([0.25])), ROW, [[[1 - 4 + 2 + 0.25]]]),
    "linear": (nir.Linear(np.array([[1.0, 2.0, 4.0], [0, 1, 0]])), ROW, [[[-1.0, -2.0]]]),
    "linear of rows": (nir.Linear(np.array([[[1.0, 2.0]], [[0.0, 3.0]]])), np.ones((1, 1, 2, 2)), [[[[3.0], [3.0]]]]),
    "scale": (nir.Scale(np.array([2.0, 3.0, 4.0])), ROW, [[[2.0, -6.0, 2.0]]]),
    "threshold": (nir.Threshold(np.array([0.5, -3.0, 0.5])), ROW, [[[1.0, 1.0, 0.0]]]),
    "flatten": (nir.Flatten({"input": np.array([2, 3, 4])}, 0, -1), IMAGE, np.arange(24.0)[None, None]),
    "flatten part": (nir.Flatten({"input": np.array([2, 3, 4])}, 1, 2), IMAGE, np.arange(24.0).reshape(1, 1, 2, 12)),
    "dropout": (Extension("Dropout", options={"p": 0.5}), ROW, ROW),
    "reshape": (Extension("Reshape", options={"shape": [3, 1]}), ROW, ROW[..., None]),
    "batch norm": (
        Extension("BatchNorm", {"running_mean": np.array([1.0, 0, 0]), "running_var": np.array([3.0, 1, 1]),
                                "weight": np.array([1.0, 2, 1]), "bias": np.array([0.5, 0, 0])}, {"eps": 1.0}),
        np.array([[[3.0, 1.0, 2.0]]]), [[[1.5, 2 / 2**0.5, 2 / 2**0.5]]],
    ),
}  # fmt: skip


@pytest.mark.parametrize("name", SIMPLE)
def test_layers_by_hand(name):
    node, x, expected = SIMPLE[name]
    np.testing.assert_allclose(output(node, x), expected, rtol=1e-14)


def test_delay_hands_on_each_neurons_past():
    x = np.arange(1.0, 13.0).reshape(6, 1, 2)
    found = output(nir.Delay(np.array([1e-4, 3e-4], np.float32)), x)
    np.testing.assert_array_equal(found[:, 0], [[0, 0], [1, 0], [3, 0], [5, 2], [7, 4], [9, 6]])
    ms = simulator.simulate(single(nir.Delay(np.array([0.1, 0.3])), (2,)), x, time_unit="ms").outputs[0]
    np.testing.assert_array_equal(found, ms)


# --- neurons --------------------------------------------------------------------------------------


@pytest.mark.parametrize("kind", nir_neurons.RANGES)
def test_neurons_compute_the_equations_under_every_choice(kind):
    values = nir_neurons.parameters(kind)
    x = np.random.default_rng(1).uniform(-0.5, 2, (40, nir_neurons.B, nir_neurons.N))
    start = nir_choices(Reading(integrator="ode"), nir_neurons.DT)
    for options in nir_neurons.combinations(kind):
        neuron = NIRNeuron("n", kind, values, {**start, **options})
        rows = [(neuron.step(current), *neuron.states.values()) for current in x]
        found = dict(zip(("spk", *neuron.states), map(np.stack, zip(*rows, strict=True)), strict=True))
        expected = nir_neurons.trajectory(values, options, x)
        for name, mine in found.items():
            near = 1e-7 if options.get("membrane_current", "") in ("continuous", None) else 1e-12
            np.testing.assert_allclose(mine, expected[name], rtol=0, atol=near, err_msg=f"{name} {options}")
        assert not neuron.spiking or 0 < found["spk"].mean() < 1


def test_a_membrane_at_the_threshold_does_not_fire():
    nodes = (lif(1, 0.0, tau=2e-4, r=1.0, v_threshold=0.5), nir.IF(r=full(1, 0.5), v_threshold=full(1, 0.5)))
    nodes[0].tau = np.array([2e-4])  # in float32, dt / tau would not be a half
    for node in (*nodes, nir.Threshold(full(1, 1.0))):
        for x, fires in ((1.0, 0.0), (np.nextafter(1.0, 2), 1.0)):
            assert output(node, np.full((1, 1, 1), x)).item() == fires


def test_impulse_reading_of_integrators_leaves_out_the_time_step():
    x = np.full((3, 1, 2), 0.25)
    for node in (nir.IF(r=full(2, 2.0), v_threshold=full(2, 1.2)), nir.I(r=full(2, 2.0))):
        trace = simulator.simulate(single(node, (2,)), x).nodes["node"]
        assert trace.states["mem"][:, 0, 0].tolist() == [0.5, 1.0, 0.0 if "IF" in trace.kind else 1.5]
        slow = simulator.simulate(single(node, (2,)), x, integrator="ode", dt=1e-3).nodes["node"]
        np.testing.assert_allclose(slow.states["mem"][:, 0, 0], [5e-4, 1e-3, 1.5e-3])


def test_equal_time_constants_have_the_limit_of_the_exact_solution():
    tau, dt = 1e-3, 1e-4
    node = cuba(1, nir.CubaLI, tau_syn=tau, tau_mem=tau, r=1.0, v_leak=0.0, w_in=1.0)
    for name in ("tau_syn", "tau_mem", "r", "w_in"):
        setattr(node, name, np.array([tau if "tau" in name else 1.0]))
    x = np.array([1.0, 0, 0, 0]).reshape(4, 1, 1)
    mem = simulator.simulate(single(node, (1,)), x, discretization="exact", w_in="decayed_impulse").nodes[
        "node"
    ]
    t = dt * np.arange(1, 5)
    np.testing.assert_allclose(mem.states["mem"].ravel(), t / tau * np.exp(-t / tau), rtol=1e-12)


def test_ignored_parameters_and_milliseconds():
    node = lif(2, 0.0, r=3.0, v_reset=-1.0, tau=2e-4)
    x = np.ones((4, 1, 2))
    plain = simulator.simulate(single(lif(2, 0.0, r=1.0, v_reset=0.0, tau=2e-4, v_threshold=0.7), (2,)), x)
    node.v_threshold = full(2, 0.7)
    read = simulator.simulate(single(node, (2,)), x, ignore=("LIF.r", "LIF.v_reset"))
    np.testing.assert_array_equal(plain.outputs[0], read.outputs[0])
    node.tau = node.tau * 1e3
    ms = simulator.simulate(single(node, (2,)), x, ignore=("LIF.r", "LIF.v_reset"), time_unit="ms")
    np.testing.assert_allclose(ms.nodes["node"].states["mem"], read.nodes["node"].states["mem"], rtol=1e-6)


# --- recorded runs --------------------------------------------------------------------------------

RECORDINGS = {  # file: preset, choices, unit of the membrane, largest difference of the membrane
    "norse": ("norse", {}, 1.0, 3e-8),
    "snntorch": ("snntorch", {}, 0.04, 5e-8),
    "spinnaker2": ("spinnaker2", {}, 0.04, 2e-5),
    "nengo": ("nengo", {}, 0.1, 2e-9),
    "sinabs": ("sinabs", {}, 1.0, 2e-8),
    "rockpool": ("rockpool", {}, 1.0, 2e-8),
    "spyx": ("spyx", {}, 1.0, 6e-8),
    "lava_cpu_float": ("lava", {}, 1.0, 5e-8),
    "lava_cpu_fixed": ("lava", {}, None, None),
    "lava_loihi_fixed": ("lava", {}, None, None),
    "exact": (None, {"discretization": "exact", "reset": "subtract"}, 1.0, 7e-4),
}


@needs_data
@pytest.mark.parametrize("file", RECORDINGS)
def test_presets_reproduce_the_recordings_of_the_nir_paper(file):
    preset, choices, unit, most = RECORDINGS[file]
    rows = np.genfromtxt(DATA / "01_lif" / f"lif_{file}.csv", delimiter=",")[-1000:]
    x = (rows[:, 0] != 0).astype(np.float64).reshape(-1, 1, 1)
    trace = simulator.simulate(DATA / "01_lif" / "lif_norse.nir", x, preset=preset, **choices)
    (neuron,) = trace.nodes.values()
    np.testing.assert_array_equal(neuron.spk.ravel(), rows[:, 2])
    if unit is not None:
        assert np.abs(neuron.states["mem"].ravel() - rows[:, 1] * unit).max() < most


# --- networks: the same as snnax's own model, over 300 steps, in float64 -----------------------------


def ring(**changes):
    """Two neurons on a cycle of four nodes."""
    return graph(
        ["input > fc > a > w > b > back > a", "b > output"],
        fc=affine(4, 3), a=lif(**changes), w=affine(4, 4, 1), b=cuba(), back=affine(4, 4, 2, bias=0.5),
    )  # fmt: skip


def nested():
    inner = graph(["input > w > n > output"], (4,), (4,), w=affine(4, 4, 3), n=cuba())
    outer = graph(["input > a > inner > output"], (4,), (4,), a=lif(), inner=inner)
    return graph(["input > fc > outer > last > output"], fc=affine(4, 3), outer=outer, last=lif())


def ends():
    """Two inputs that meet, and two outputs."""
    nodes = {
        "right": nir.Input(np.array([2])), "left": nir.Input(np.array([3])), "fl": affine(4, 3), "fr": affine(4, 2, 1),
        "n": lif(), "m": cuba(), "first": nir.Output(np.array([4])), "second": nir.Output(np.array([4])),
    }  # fmt: skip
    edges = [
        ("left", "fl"),
        ("right", "fr"),
        ("fr", "n"),
        ("fl", "n"),
        ("fl", "m"),
        ("n", "second"),
        ("m", "first"),
    ]
    return nir.NIRGraph(nodes, edges, type_check=False)


def images():
    first = convolution(2, 4, 2, (3, 2), stride=(1, 2), padding=(1, 0), groups=2)
    first.weight = np.abs(first.weight) * 0.5
    pool = nir.AvgPool2d(*(np.array(v) for v in ((2, 2), (2, 2), (0, 0))))
    total = nir.SumPool2d(*(np.array(v) for v in ((3, 2), (1, 2), (1, 0))))
    return graph(
        ["input > conv > n > avg > m > sum > flat > fc > o > output"], (2, 8, 8), conv=first,
        n=lif((4, 8, 4), v_reset=-0.1), avg=pool, m=nir.IF(full((4, 4, 2), 0.8, 0.1), full((4, 4, 2), 1.0, 0.1)),
        sum=total, flat=nir.Flatten({"input": np.array([4, 4, 1])}, 0, -1), fc=affine(4, 16, 5), o=lif(),
    )  # fmt: skip


NETWORKS = {
    "layers": lambda: graph(
        ["input > fc > n > v > output", "fc > m > output", "fc > k > late > output", "fc > output"], fc=affine(4, 3),
        n=lif(v_leak=0.2, v_reset=-0.3), m=cuba(), k=nir.IF(full(4, 0.4, 0.1), full(4, 1.0)), v=affine(4, 4, 7),
        late=nir.Delay(np.array([0, 1e-4, 3e-4, 2e-4], np.float32)),
    ),
    "integrators": lambda: graph(
        ["input > fc > li > t > cuba > i > output"], fc=affine(4, 3), t=nir.Threshold(full(4, 0.6)),
        li=nir.LI(tau=full(4, 1e-3), r=full(4, 3.0), v_leak=full(4, 0.1)), cuba=cuba(4, nir.CubaLI),
        i=nir.I(r=full(4, 0.1, 0.3)),
    ),
    "recurrent": lambda: graph(
        ["input > fc > n.lif > n.w_rec > n.lif > w > k.lif > k.w_rec > k.lif > output"], fc=affine(4, 3),
        **{"n.lif": lif(spread=0.0), "n.w_rec": affine(4, 4, 8, bias=0.5), "w": affine(4, 4, 9),
           "k.lif": lif(v_leak=0.2), "k.w_rec": affine(4, 4, 10, bias=0.5)},
    ),
    "loops": lambda: graph(
        ["input > fc > n > n > m > w > v > m > output", "m > u > m", "u > output"], fc=affine(4, 3),
        n=lif(v_reset=-0.5), m=lif(), w=affine(5, 4, 1, 0.5), v=affine(4, 5, 2, 0.5), u=affine(4, 4, 3, 0.5),
    ),
    "ring": ring,
    "ring of two inputs": lambda: nir.NIRGraph(
        {"right": nir.Input(np.array([4])), "left": nir.Input(np.array([4])), "a": lif(), "w": affine(4, 4, 1, 0.5),
         "b": cuba(), "v": affine(4, 4, 2, 0.5), "output": nir.Output(np.array([4]))},
        [("right", "a"), ("left", "b"), ("a", "w"), ("w", "b"), ("b", "v"), ("v", "a"), ("b", "output")],
        type_check=False,
    ),
    "nested": nested,
    "ends": ends,
    "images": images,
}  # fmt: skip


def drive(net, steps=300, batch=2, seed=0):
    """Input of a network in float64; for several inputs by name."""
    rng = np.random.default_rng(seed)
    inputs = {n: tuple(v.input_type["input"]) for n, v in net.nodes.items() if isinstance(v, nir.Input)}
    arrays = {n: rng.uniform(0, 1.5, (steps, batch, *shape)) for n, shape in inputs.items()}
    return arrays if len(arrays) > 1 else next(iter(arrays.values()))


def assert_same(ours, theirs, tolerance=1e-5):
    """No spike differs; the states are those of parameters in float32."""
    assert set(ours.nodes) == set(theirs.nodes)
    for name, node in ours.nodes.items():
        other = theirs.nodes[name]
        if set(np.unique(node.spk)) <= {0.0, 1.0}:
            assert np.count_nonzero(node.spk != other.spk) == 0, name
            assert node.spk.any(), name
        np.testing.assert_allclose(node.states["mem"], other.states["mem"], atol=tolerance, rtol=tolerance)
    for left, right in zip(ours.outputs, theirs.outputs, strict=True):
        np.testing.assert_allclose(left, right, atol=tolerance, rtol=tolerance)


@pytest.mark.parametrize("name", NETWORKS)
def test_networks_equal_their_flax_models(name):
    net = NETWORKS[name]()
    x = drive(net)
    side = simulator.ReferenceSide(net)
    joined = interop.join_inputs(net, x) if isinstance(x, dict) else x
    model = FlaxSide(*interop.from_nir(net))
    assert_same(side.run(joined), model.run(joined))
    if isinstance(x, dict):
        assert_same(side.run(x), side.run(joined), 0)


READINGS = {
    "norse": {"preset": "norse", "ignore": ("LIF.v_reset", "IF.v_reset")},
    "spyx": {"preset": "spyx"},
    "lava": {"preset": "lava", "dt": 5e-5},
    "impulse, late reset": {"w_in": "impulse", "membrane_current": "undecayed", "reset_delay": True},
    "decayed impulse": {"w_in": "decayed_impulse", "discretization": "exact", "reset": "none"},
}


@pytest.mark.parametrize("name", READINGS)
def test_readings_equal_those_of_the_flax_model(name):
    net = ring(v_leak=0.2)
    how = dict(READINGS[name])
    made = reading(how.pop("preset", None), **how)
    x = drive(net, 100)
    assert_same(
        simulator.ReferenceSide(net, made).run(x), FlaxSide(*interop.from_nir(net, preset=made)).run(x)
    )


def test_bias_of_recurrent_weights_counts_from_the_first_step_or_not():
    net = NETWORKS["recurrent"]()
    x = drive(net, 3)
    always, later = (
        simulator.simulate(net, x, recurrent_bias=b).nodes["n"].states["mem"]
        for b in ("always", "after_first")
    )
    gain = 1e-4 / net.nodes["n.lif"].tau.astype(np.float64) * net.nodes["n.lif"].r
    quiet = always[0] != 0
    np.testing.assert_allclose(
        (always[0] - later[0])[quiet],
        np.broadcast_to(gain * net.nodes["n.w_rec"].bias, quiet.shape)[quiet],
        rtol=1e-6,
    )


@pytest.mark.parametrize("network", ["layers", "ring", "nested", "ends", "loops"])
def test_order_of_the_nodes_does_not_matter(network):
    net = NETWORKS[network]()
    x = drive(net, 60)
    first = simulator.simulate(net, x)
    for seed in range(6):
        names = list(net.nodes)
        random.Random(seed).shuffle(names)
        again = simulator.simulate(
            nir.NIRGraph({n: net.nodes[n] for n in names}, net.edges, type_check=False), x
        )
        assert set(first.nodes) == set(again.nodes)
        assert all(
            np.array_equal(first.nodes[n].states["mem"], again.nodes[n].states["mem"]) for n in first.nodes
        )


def test_a_nested_graph_is_what_it_stands_for():
    net = nested()
    outer, inner = net.nodes["outer"], net.nodes["outer"].nodes["inner"]
    flat = graph(
        ["input > fc > a > w > n > last > output"], fc=net.nodes["fc"], a=outer.nodes["a"], w=inner.nodes["w"],
        n=inner.nodes["n"], last=net.nodes["last"],
    )  # fmt: skip
    x = drive(net, 80)
    a, b = simulator.simulate(net, x), simulator.simulate(flat, x)
    assert list(a.nodes) == ["outer.a", "outer.inner.n", "last"]
    assert np.array_equal(a.outputs[0], b.outputs[0]) and a.outputs[0].any()


def test_delayed_edges_are_those_of_the_flax_model():
    """Random wirings: the referee's own walk against the planner of the models."""
    rng = np.random.default_rng(3)
    for _ in range(60):
        names = [f"n{i}" for i in range(int(rng.integers(2, 7)))]
        pairs = [("input", names[0]), *itertools.pairwise(names), (names[-1], "output")]
        for _ in range(int(rng.integers(0, 6))):
            pairs.append((str(rng.choice(["input", *names])), str(rng.choice([*names, "output"]))))
        pairs = [pairs[i] for i in rng.permutation(len(pairs))]
        net = graph([" > ".join(p) for p in pairs], (4,), **{n: lif() for n in names})
        expected = plan(tuple(names), tuple(net.edges))
        found = walk(flatten(net))
        assert found.order == expected.order
        assert {n: found.sources[n] for n in names} == {n: expected.sources[n] for n in names}


# --- what our metadata describes ------------------------------------------------------------------

RESETS = [("subtract", False), ("zero", True), ("none", False), ("zero", False), ("subtract", True)]
FAMILIES = {
    "leaky": partial(snn.Leaky, [0.9, 0.6, 0.8, 0.7]),
    "synaptic": partial(snn.Synaptic, 0.6, 0.8),
    "rleaky": partial(snn.RLeaky, 0.8, linear_features=4),
}
NATIVE = {"v_leak": 0.1, "v_threshold": 0.8, "v_reset": -0.3, "reset_delay": True}
QUANT = snn.functional.quant.state_quant(num_bits=4, threshold=1.0)
DESCRIBED = {
    **{f"{kind} {m} {d}": lambda make=make, m=m, d=d: make(reset_mechanism=m, reset_delay=d)
       for i, (kind, make) in enumerate(FAMILIES.items()) for m, d in RESETS[i::2]},
    "rsynaptic": lambda: snn.RSynaptic(0.5, 0.8, V=[0.1, -0.4, 0.2, 0.3], all_to_all=False),
    "graded": lambda: snn.Leaky(0.8, graded_spikes_factor=0.5, reset_delay=False),
    "inhibition": lambda: snn.Leaky(0.8, inhibition=True),
    "quantized": lambda: snn.Synaptic(0.6, 0.8, state_quant=QUANT),
    "lapicque": lambda: snn.Lapicque(R=2.0, C=5.0, time_step=0.5),
    "alpha zero": lambda: snn.Alpha(0.9, 0.8, reset_mechanism="zero"),
    "alpha subtract": lambda: snn.Alpha(0.9, 0.8, reset_mechanism="subtract"),
    "some do not leak": lambda: snn.Leaky([0.5, 1.0, 0.9, 0.8]),
    "native": lambda: snn.CubaLIF(5e-4, 8e-4, r=3.0, w_in=4.0, w_in_scaling="impulse", **NATIVE),
    "native at start": lambda: snn.LIF(5e-4, r=3.0, reset_at="start", discretization="exact", **NATIVE),
    "native if": lambda: snn.IF(4e3, 0.9, -0.1),
}  # fmt: skip


def test_neurons_that_the_metadata_describes():
    """All side by side in one network, so that one program is compiled for all."""
    neurons = {name: make().clone(init_hidden=True, output=True) for name, make in DESCRIBED.items()}
    net = snn.Graph(
        nodes={"fc": nn.Dense(4), **neurons},
        edges=[("input", "fc"), *(("fc", name) for name in neurons), ("fc", "output")],
        outputs=[(name, port) for name in neurons for port in ("out", "mem")],
    )
    x = np.random.default_rng(0).uniform(0, 1.5, (300, 2, 3))
    exported, _ = _exported(net, x)
    ours, theirs = simulator.ReferenceSide(exported).run(x), FlaxSide(*interop.from_nir(exported)).run(x)
    assert_same(ours, theirs, 1e-6)
    assert len(ours.outputs) == len(theirs.outputs) == 2 * len(neurons)
    assert all(set(ours.nodes[name].states) == set(theirs.nodes[name].states) for name in neurons)


def test_states_of_the_last_neuron_are_returned_if_it_returned_them():
    net = snn.Sequential([nn.Dense(4), snn.Synaptic(0.8, 0.9, init_hidden=True, output=True)])
    x = np.random.default_rng(0).uniform(0, 1.5, (20, 2, 3))
    exported, _ = _exported(net, x)
    spk, syn, mem = simulator.simulate(exported, x).outputs
    node = simulator.simulate(exported, x).nodes["1"]
    for output, expected in ((spk, node.spk), (syn, node.states["syn"]), (mem, node.states["mem"])):
        np.testing.assert_array_equal(output, expected)


def _exported(net, x):
    """Its NIR graph and its variables."""
    first = x[0].astype(np.float32)
    variables = {c: v for c, v in net.init(jax.random.key(1), first).items() if c != "hidden"}
    return interop.to_nir(net, variables, first), variables


def test_edited_parameters_count():
    net = snn.Sequential(
        [
            nn.Dense(3),
            snn.Leaky(0.9, init_hidden=True),
            nn.Dense(3),
            snn.Lapicque(R=2.0, C=5.0, init_hidden=True),
        ]
    )
    x = np.random.default_rng(0).uniform(0, 3, (60, 2, 3)).astype(np.float32)
    exported, _ = _exported(net, x)
    node = exported.nodes["1"]
    node.tau, node.r = node.tau / 2, node.r / 2
    exported.nodes["3"].v_threshold = exported.nodes["3"].v_threshold / 2
    assert_same(simulator.ReferenceSide(exported).run(x), FlaxSide(*interop.from_nir(exported)).run(x))
    node.r = node.r * 2
    with pytest.raises(ConversionError, match="edited"):
        simulator.simulate(exported, x)


def test_a_membrane_as_a_signal():
    first, last = snn.Leaky(0.8, init_hidden=True, output=True), snn.Leaky(0.9, init_hidden=True)
    net = snn.Graph(
        nodes={"a": first, "mem": snn.State("mem"), "b": last},
        edges=[("input", "a"), ("a", "mem"), ("mem", "b"), ("b", "output")],
    )
    x = np.random.default_rng(0).uniform(0, 1, (60, 2, 3)).astype(np.float32)
    exported, _ = _exported(net, x)
    assert_same(simulator.ReferenceSide(exported).run(x), FlaxSide(*interop.from_nir(exported)).run(x))


# --- as a side ------------------------------------------------------------------------------------


@needs_data
@pytest.mark.parametrize("file", ["01_lif/lif_norse.nir", "03_rnn/braille_noDelay_bias_zero.nir"])
def test_models_in_float32_agree_with_the_referee(file):
    shape = flatten(interop.read_nir(DATA / file)).inputs["input"]
    x = np.random.default_rng(0).integers(0, 2, (300, 2, *shape)).astype(np.float32) * (
        2 if shape == (1,) else 1
    )
    model = interop.from_nir(DATA / file)
    for a, b in ((DATA / file, model), (model, DATA / file))[: 1 + (shape == (1,))]:
        report = interop.crossvalidate(a, b, x)
        assert report.agree and set(report.labels) == {"reference", "snnax"}
        assert sum(layer.spikes for layer in report.layers) > 100


def test_a_wrong_weight_is_found_by_the_referee():
    net = NETWORKS["ring"]()
    model, variables = interop.from_nir(net)
    x = drive(net, 60).astype(np.float32)
    wrong = jax.tree.map(np.asarray, dict(variables))
    wrong["params"] = {
        **wrong["params"],
        "w": {**wrong["params"]["w"], "kernel": wrong["params"]["w"]["kernel"] * 1.01},
    }
    assert interop.crossvalidate(net, (model, variables), x).agree
    report = interop.crossvalidate(net, (model, wrong), x)
    assert not report.agree and [layer.name for layer in report.layers if layer.unexplained] == ["b"]


def test_two_graphs_and_a_reading():
    net = graph(["input > fc > n > output"], fc=affine(4, 3), n=lif(v_reset=-0.3))
    x = drive(net, 80).astype(np.float32)
    report = interop.crossvalidate(net, net, x)
    assert report.agree and report.labels == ("reference a", "reference b")
    same = interop.from_nir(net, preset="spyx")
    assert interop.crossvalidate(net, same, x, reading="spyx").agree
    assert not interop.crossvalidate(net, same, x).agree


def test_forced_spikes_take_the_place_of_a_layers_own():
    net = ring()
    x = drive(net, 40)
    side = simulator.ReferenceSide(net)
    own = side.run(x)
    silent = side.replay(x, {"a": np.zeros((40, 2, 4), np.float32)})
    assert own.nodes["b"].spk.any() and not np.array_equal(own.nodes["b"].spk, silent.nodes["b"].spk)
    again = side.replay(x, {name: node.spk for name, node in own.nodes.items()})
    for name, node in own.nodes.items():
        assert np.array_equal(node.states["mem"], again.nodes[name].states["mem"])


def test_forced_membranes_take_the_place_of_an_integrators_own():
    net = NETWORKS["integrators"]()
    x = drive(net, 30)
    side = simulator.ReferenceSide(net)
    own = side.run(x)
    forced = {name: node.spk + 0.5 for name, node in own.nodes.items() if name == "li"}
    found = side.replay(x, forced)
    assert np.array_equal(found.nodes["li"].states["mem"], own.nodes["li"].states["mem"])
    expected = forced["li"] > net.nodes["t"].threshold
    assert np.array_equal(found.nodes["cuba"].input != 0, expected) and expected.any()
    theirs = FlaxSide(*interop.from_nir(net)).replay(x, forced)
    assert np.array_equal(found.nodes["cuba"].input, theirs.nodes["cuba"].input)


def test_a_node_that_is_called_as_a_pair_would_be_keeps_its_name():
    nodes = {
        "n.lif": lif(),
        "n.w_rec": affine(4, 4, 8),
        "n": lif(),
        "m.lif": lif(),
        "m.w_rec": affine(4, 4, 9),
    }
    net = graph(
        ["input > n.lif > n.w_rec > n.lif > n > m.lif > m.w_rec > m.lif > output"], (4,), (4,), **nodes
    )
    assert list(simulator.simulate(net, drive(net, 2)).nodes) == ["n.lif", "n", "m"]


def test_a_gain_of_one_but_for_rounding_is_one():
    net = graph(["input > fc > n > output"], fc=affine(4, 3), n=lif(spread=0.0, tau=7e-4, r=7.0))
    x = drive(net, 60)
    assert interop.crossvalidate(net, interop.from_nir(net), x).agree
    raw, side = simulator.simulate(net, x), simulator.ReferenceSide(net)
    apart = np.abs(side.run(x).nodes["n"].states["mem"] - raw.nodes["n"].states["mem"]).max()
    assert 1e-12 < apart < 1e-6
    exact = simulator.ReferenceSide(net, exact_gains=True).run(x)
    assert np.array_equal(exact.nodes["n"].states["mem"], raw.nodes["n"].states["mem"])


def test_a_layer_without_numpy_code_is_run_by_flax():
    cell = snn.DeltaLeaky(beta=0.9, delta_threshold=0.3, init_hidden=True)
    net = snn.Sequential([nn.Dense(3), cell, nn.Dense(4), snn.Leaky(0.9, init_hidden=True)])
    x = np.random.default_rng(0).uniform(0, 3, (20, 2, 3)).astype(np.float32)
    exported, variables = _exported(net, x)
    with pytest.raises(ConversionError, match=r"'1'.*DeltaLeaky"):
        simulator.simulate(exported, x)
    report = interop.crossvalidate(exported, (net, variables), x)
    assert report.agree and report.labels[0] == "NIR" and "DeltaLeaky" in report.notes[0]


def test_gradients_need_the_flax_model():
    net = graph(["input > fc > n > output"], fc=affine(4, 3), n=lif())
    report = interop.crossvalidate(
        net, interop.from_nir(net), drive(net, 20).astype(np.float32), gradients=True
    )
    assert report.labels[0] == "NIR" and report.gradients


# --- speed and refusals ---------------------------------------------------------------------------


def test_300_steps_of_64_neurons_take_well_under_a_second():
    net = graph(["input > fc > a > w > b > back > a", "b > output"], (20,), (64,), fc=affine(64, 20), a=lif(64),
                w=affine(64, 64, 1), b=cuba(64), back=affine(64, 64, 2))  # fmt: skip
    x = np.random.default_rng(0).uniform(0, 1, (300, 8, 20))
    started = time.perf_counter()
    trace = simulator.simulate(net, x)
    assert time.perf_counter() - started < 1.0
    assert trace.nodes["a"].spk.shape == (300, 8, 64)


def test_what_is_put_right_is_said():
    net = single(lif(3), (3,))
    net.nodes["input"] = nir.Input(np.array([8, 3]))
    with pytest.warns(RepairWarning, match="input"):
        simulator.simulate(net, np.ones((2, 1, 3)))


X = np.ones((4, 1, 3))
BAD = {
    "no node": (graph(["input > node > output", "node > other"], node=lif(3)), X, {}, GraphError, "other"),
    "not reached": (graph(["input > node > output", "far > near > far"], node=lif(3), far=lif(3), near=lif(3)), X, {},
                    GraphError, "far"),
    "no output": (nir.NIRGraph({"input": nir.Input(np.array([3])), "a": lif(3), "out": nir.Output(np.array([3]))},
                               [("input", "a")], type_check=False), X, {}, GraphError, "out"),
    "nan": (single(lif(3, tau=np.nan), (3,)), X, {}, NIRFileError, "tau"),
    "tau": (single(lif(3, tau=-1.0), (3,)), X, {}, ConversionError, "positive"),
    "fast": (single(lif(3, tau=5e-5), (3,)), X, {}, ConversionError, "dt"),
    "delay": (single(nir.Delay(full(3, 1.5e-4)), (3,)), X, {}, ConversionError, "whole"),
    "past": (single(nir.Delay(full(3, -1e-4)), (3,)), X, {}, ConversionError, "whole"),
    "x": (single(lif(3), (3,)), np.ones((4, 1, 2)), {}, ShapeError, r"\[T, B, 3\]"),
    "neurons": (single(lif(2), (3,)), X, {}, ShapeError, "'node'"),
    "weights": (single(affine(2, 4), (3,)), X, {}, ShapeError, "'node'"),
    "sum": (graph(["input > a > c > output", "input > b > c"], a=affine(2, 3), b=affine(4, 3), c=lif(2)), X, {},
            ShapeError, "'c'"),
    "choice": (single(lif(3), (3,)), X, {"reset": "soft"}, ArgumentError, "subtract"),
    "current": (single(cuba(3), (3,)), X, {"membrane_current": "continuous"}, ArgumentError, "exact"),
    "late twice": (single(lif(3), (3,)), X, {"threshold": "before", "reset_delay": True}, ArgumentError, "delay"),
    "ignored": (single(lif(3), (3,)), X, {"ignore": ("LIF.tau",)}, ArgumentError, "LIF.tau"),
    "inputs": (ends(), np.ones((4, 1, 3)), {}, ShapeError, r"\[T, B, 5\]"),
    "names": (ends(), {"left": np.ones((4, 1, 3))}, {}, ArgumentError, "right"),
    "steps": (ends(), {"left": np.ones((4, 1, 3)), "right": np.ones((3, 1, 2))}, {}, ShapeError, "steps"),
    "bias": (single(nir.Affine(np.ones((3, 3)), np.ones(1)), (3,)), X, {}, ShapeError, "bias"),
    "groups": (single(convolution(1, 3, 2, (2,), groups=2), (2, 5)), np.ones((4, 1, 2, 5)), {}, ShapeError, "groups"),
    "stride": (single(convolution(1, 2, 2, (2,), stride=0), (2, 5)), np.ones((4, 1, 2, 5)), {}, NIRFileError, "stride"),
    "small": (single(convolution(1, 2, 2, (9,)), (2, 5)), np.ones((4, 1, 2, 5)), {}, ShapeError, "smaller"),
    "reshape": (single(Extension("Reshape", options={"shape": [4]}), (3,)), X, {}, ShapeError, "'node'"),
    "norm": (single(Extension("BatchNorm"), (3,)), X, {}, ConversionError, "running_mean"),
    "extension": (single(Extension("Magic"), (3,)), X, {}, ConversionError, "Magic"),
}  # fmt: skip


@pytest.mark.parametrize("case", BAD)
def test_refusals(case):
    net, x, choices, kind, text = BAD[case]
    with pytest.raises(kind, match=text):
        simulator.simulate(net, x, **choices)
