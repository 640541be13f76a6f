"""``to_norse``: snnax's neurons as Norse's cells, with equal spikes, back again, and what is refused."""

from __future__ import annotations

import jax
import numpy as np
import pytest

torch = pytest.importorskip("torch")
norse = pytest.importorskip("norse.torch")

import flax.linen as fnn  # noqa: E402
from helpers.torch_sides import norse_side  # noqa: E402
from torch import nn  # noqa: E402

import snnax as snn  # noqa: E402
from snnax import interop, surrogate  # noqa: E402
from snnax.errors import ConversionError  # noqa: E402
from snnax.interop.crossvalidation import FlaxSide  # noqa: E402

N, DT = 12, 1e-3
H = {"init_hidden": True}
ZERO = {"reset_mechanism": "zero", "reset_delay": False, **H}
D = {"dt": DT, **H}


def _each(low, high):
    return np.linspace(low, high, N).astype(np.float32)


EXACT = {
    "Leaky": (snn.Leaky(0.9, **ZERO), "LIFBoxCell"),
    "Leaky delay": (snn.Leaky(0.9, reset_mechanism="zero", **H), "LIFBoxCell"),
    "Leaky each": (snn.Leaky(_each(0.5, 0.95), threshold=_each(0.5, 1.5), learn_beta=True, **ZERO), "LIFBoxCell"),
    "Leaky 1": (snn.Leaky(1.0, **ZERO), "IAFCell"),
    "Leaky 1 delay": (snn.Leaky(1.0, reset_mechanism="zero", **H), "IAFCell"),
    "Synaptic": (snn.Synaptic(0.8, 0.9, **ZERO), "LIFCell"),
    "RLeaky": (snn.RLeaky(0.9, linear_features=N, **ZERO), "LIFRecurrentCell"),
    "RLeaky V": (snn.RLeaky(0.9, all_to_all=False, V=0.3, **ZERO), "LIFRecurrentCell"),
    "RSynaptic": (snn.RSynaptic(0.7, 0.9, linear_features=N, **ZERO), "LIFRecurrentCell"),
    "LIF leak": (snn.LIF(5e-3, r=4.0, v_leak=0.3, v_reset=-0.2, **D), "LIFBoxCell"),
    "LIF subtract": (snn.LIF(5e-3, r=4.0, reset_mechanism="subtract", **D), "LIFBoxCell"),
    "LIF exact": (snn.LIF(5e-3, r=4.0, discretization="exact", **D), "LIFBoxCell"),
    "LIF exact decay": (snn.LIF(5e-3, r=4.0, discretization="exact_decay", **D), "LIFBoxCell"),
    "LIF late": (snn.LIF(5e-3, r=4.0, reset_delay=True, reset_at="start", v_reset=-0.1, **D), "LIFBoxCell"),
    "IF": (snn.IF(r=0.4 / DT, **D), "IAFCell"),
    "CubaLIF": (snn.CubaLIF(4e-3, 8e-3, r=8.0, w_in=4.0, v_reset=-0.3, **D), "LIFCell"),
    "CubaLIF impulse": (
        snn.CubaLIF(4e-3, 8e-3, r=3.0, w_in_scaling="impulse", membrane_current="undecayed", **D), "LIFCell",
    ),
    "CubaLIF decayed": (snn.CubaLIF(4e-3, 8e-3, r=8.0, w_in_scaling="decayed_impulse", **D), "LIFCell"),
    "CubaLIF exact": (
        snn.CubaLIF(4e-3, 8e-3, r=3.0, w_in=8.0, discretization="exact", membrane_current="new", **D), "LIFCell",
    ),
    "LI": (snn.LI(5e-3, r=2.0, v_leak=0.2, **D), "LIBoxCell"),
    "CubaLI": (snn.CubaLI(_each(2e-3, 4e-3), 8e-3, r=2.0, w_in=3.0, **D), "LICell"),
}  # fmt: skip


def _model(neuron):
    model = snn.Sequential([fnn.Dense(N), neuron])
    variables = jax.tree.map(np.asarray, dict(model.init(jax.random.key(0), X[0])))
    variables.pop("hidden")
    variables["params"]["layers_0"]["kernel"] = variables["params"]["layers_0"]["kernel"] * 3
    if "recurrent" in variables["params"].get("layers_1", {}):
        variables["params"]["layers_1"]["recurrent"]["bias"] = np.full(N, 0.2, np.float32)
    return model, variables


X = (np.random.default_rng(0).random((150, 2, 6)) < 0.4).astype(np.float32)


def _same(pair, net, x):
    """Equal spikes and, of the same scale, equal states and currents; returns the recording of snnax's layer."""
    a, b = FlaxSide(*pair).run(x), norse_side(net, x).run(x)
    relative = 3e-5 if x.dtype == np.float32 else 1e-12
    for ours, theirs in zip(a.nodes.values(), b.nodes.values(), strict=True):
        if theirs.kind not in ("LICell", "LIBoxCell"):
            np.testing.assert_array_equal(ours.spk, theirs.spk, err_msg=ours.name)
            assert 0.02 < ours.spk.mean() < 0.9, ours.name
        pairs = [(values, theirs.states[state]) for state, values in ours.states.items()]
        for left, right in [*pairs, (ours.input, theirs.input)]:
            np.testing.assert_allclose(
                right, left, rtol=0, atol=relative * max(1.0, np.abs(left).max()), err_msg=ours.name
            )
    for left, right in zip(a.outputs, b.outputs, strict=True):
        np.testing.assert_allclose(right, left, rtol=0, atol=relative * max(1.0, np.abs(left).max()))


def _zoo():
    """One of each neuron, side by side."""
    names = {name.replace(" ", "_"): neuron for name, (neuron, _) in EXACT.items()}
    edges = [("input", "fc"), *(("fc", name) for name in names), *((name, "output") for name in names)]
    model = snn.Graph({"fc": fnn.Dense(N), **names}, edges, outputs=[(name, "out") for name in names])
    variables = jax.tree.map(np.asarray, dict(model.init(jax.random.key(0), X[0])))
    variables.pop("hidden")
    variables["params"]["fc"]["kernel"] = variables["params"]["fc"]["kernel"] * 3
    for name in ("RLeaky", "RSynaptic"):
        variables["params"][name]["recurrent"]["bias"] = np.full(N, 0.2, np.float32)
    return model, variables


def test_every_neuron_becomes_a_cell_with_equal_spikes():
    model, variables = _zoo()
    net = interop.to_norse(model, variables, X[0])
    for name, (_, cell) in EXACT.items():
        made = net.get_submodule(name.replace(" ", "_"))
        assert (type(made).__name__, made.dt, made.training) == (cell, DT, False)
    _same((model, variables), net, X)
    _same(
        (model, variables),
        interop.to_norse(model, variables, X[0], dtype=torch.float64),
        X.astype(np.float64),
    )
    again = interop.from_norse(net, X[0])
    for name, (neuron, _) in EXACT.items():
        kinds = {"Leaky": "IF" if " 1" in name else "LIF", "Synaptic": "CubaLIF"}
        own, found = type(neuron).__name__, again[0].members()[name.replace(" ", "_")]
        assert type(found).__name__ == kinds.get(own, own)
        assert getattr(found, "reset_delay", False) == ("delay" in name or "late" in name)
    _same(again, net, X)


def test_plain_torch_runs_the_network():
    model, variables = _model(snn.CubaLIF(4e-3, 8e-3, r=8.0, w_in=4.0, **D))
    net = interop.to_norse(model, variables, X[0])
    state, rows = None, []
    with torch.no_grad():
        for frame in torch.from_numpy(X):
            out, state = net(frame, state)
            rows.append(out)
    expected = snn.unroll(model, variables, X)[0]
    assert rows[0].dtype == torch.float32
    np.testing.assert_array_equal(torch.stack(rows).numpy(), expected)


def _round_trip():
    return norse.SequentialState(
        nn.Linear(6, N), norse.LIFBoxCell(norse.LIFBoxParameters(tau_mem_inv=torch.linspace(50, 300, N))),
        nn.Linear(N, N), norse.LIFRecurrentCell(N, 5), nn.Linear(5, 3),
        norse.LICell(norse.LIParameters(v_leak=torch.as_tensor(0.2))),
    )  # fmt: skip


@pytest.mark.parametrize("dtype", [np.float32, np.float64])
def test_there_and_back(dtype):
    torch.manual_seed(0)
    net = _round_trip()
    with torch.no_grad():
        for parameter in net.parameters():
            parameter.mul_(4)
    back = interop.to_norse(*interop.from_norse(net, X[0]))
    assert [type(m).__name__ for m in back][:-1] == [type(m).__name__ for m in net]
    report = interop.crossvalidate(net, back, X.astype(dtype))
    assert report.agree, str(report)
    assert sum(layer.end_to_end.spike_mismatches for layer in report.layers) == 0


def test_graph_becomes_a_network_with_names():
    nodes = {
        "fc": fnn.Dense(N), "a": snn.LIF(5e-3, r=12.0, **D), "skip": fnn.Dense(N), "b": snn.Leaky(0.8, **ZERO),
    }  # fmt: skip
    edges = [("input", "fc"), ("fc", "a"), ("a", "skip"), ("skip", "b"), ("a", "b"), ("b", "output")]
    model = snn.Graph(nodes, edges, outputs=[("a", "out"), ("b", "out")])
    variables = dict(model.init(jax.random.key(1), X[0]))
    variables.pop("hidden")
    net = interop.to_norse(model, variables, X[0])
    assert (
        {"fc", "a", "a_gain", "skip", "b", "b_gain"}
        >= {n for n, _ in net.named_modules()} - {""}
        >= {"fc", "a", "b"}
    )
    _same((model, variables), net, X)


REFUSED = {
    "subtract": (snn.Leaky(0.9, **H), "subtract", "zero"),
    "none": (snn.Leaky(0.9, reset_mechanism="none", **H), "never reset", "zero"),
    "Synaptic delay": (snn.Synaptic(0.8, 0.9, reset_mechanism="zero", **H), "discards", "reset_delay=False"),
    "Lapicque": (snn.Lapicque(R=5.1, C=5e-3, time_step=1e-3, reset_mechanism="zero", **H), "discards", "snnax.LIF"),
    "Alpha": (snn.Alpha(0.8, 0.7, **H), "Alpha|subtract", "Norse|zero"),
    "beta 1": (snn.Synaptic(0.8, 1.0, **ZERO), "beta of 1", "below 1"),
    "before": (snn.LIF(5e-3, threshold_test="before", **D), "before the input", ""),
    "late end": (snn.LIF(5e-3, reset_delay=True, **D), "discards", ""),
    "LIF none": (snn.LIF(5e-3, reset_mechanism="none", **D), "never reset", ""),
    "IF subtract": (snn.IF(r=1 / DT, reset_mechanism="subtract", **D), "IAFCell", ""),
    "IF reset": (snn.IF(r=1 / DT, v_reset=-0.1, **D), "v_reset", "Subtract"),
    "continuous": (snn.CubaLIF(4e-3, 8e-3, discretization="exact", **D), "continuous", "new"),
    "old": (snn.CubaLIF(4e-3, 8e-3, membrane_current="old", **D), "old", "new"),
    "Cuba leak": (snn.CubaLIF(4e-3, 8e-3, v_leak=0.1, **D), "v_leak", "Subtract"),
    "Cuba subtract": (snn.CubaLIF(4e-3, 8e-3, reset_mechanism="subtract", **D), "LIFCell", "LIF"),
    "I": (snn.I(**D), "no cell that computes I", ""),
    "inhibition": (snn.Leaky(0.9, inhibition=True, **ZERO), "inhibition", ""),
    "surrogate": (snn.LIF(5e-3, spike_grad=surrogate.atan(3.0), **D), "atan", "surrogate='super'"),
    "graded": (snn.Leaky(0.9, graded_spikes_factor=2.0, **ZERO), "graded", ""),
}  # fmt: skip


@pytest.mark.parametrize("name", REFUSED)
def test_refusal_names_the_reason(name):
    neuron, problem, remedy = REFUSED[name]
    with pytest.raises(ConversionError, match=problem) as caught:
        interop.to_norse(*_model(neuron), X[0])
    assert any(part in caught.value.remedy for part in remedy.split("|"))


def test_networks_that_norse_has_not_are_refused():
    two = snn.Sequential([fnn.Dense(N), snn.LIF(5e-3, **D), snn.LIF(5e-3, dt=1e-4, **H)])
    nodes = {"fc": fnn.Dense(N), "a": snn.LIF(5e-3, **D), "b": snn.LIF(5e-3, **D), "back": fnn.Dense(N)}
    edges = [("input", "fc"), ("fc", "a"), ("a", "b"), ("b", "back"), ("back", "a"), ("b", "output")]
    reads = snn.Graph(
        {"a": snn.LIF(5e-3, output=True, **D)}, [("input", "a"), ("a", "output")], outputs=[("a", "mem")]
    )
    for model, problem in (
        (two, "time steps"),
        (snn.Graph(nodes, edges), "closes a cycle"),
        (reads, "state"),
    ):
        variables = model.init(jax.random.key(0), X[0])
        with pytest.raises(ConversionError, match=problem):
            interop.to_norse(model, variables, X[0])
