"""NIR's own neurons, Threshold, Delay, several inputs and outputs: read, run, written, and read back."""

import jax
import nir
import numpy as np
import pytest
from helpers.nir_paper import DATA, needs_data

import snnax as snn
from snnax import interop
from snnax.errors import ArgumentError, ConversionError, GraphError, RepairWarning, ShapeError
from snnax.interop.families.native import NATIVE
from snnax.interop.nir.readings import IGNORABLE, PRESETS, Reading, reading

ONE = np.ones(3, np.float32)
TAU = np.array([1e-3, 2e-3, 5e-4], np.float32)
NODES = {
    "LIF": lambda: nir.LIF(TAU, ONE * 2, ONE * 0.1, ONE * 0.5, -ONE * 0.2),
    "CubaLIF": lambda: nir.CubaLIF(TAU, TAU * 2, ONE * 2, ONE * 0.1, ONE * 0.05, -ONE * 0.2, w_in=ONE * 3),
    "LI": lambda: nir.LI(TAU, ONE, ONE * 0.1),
    "CubaLI": lambda: nir.CubaLI(TAU, TAU * 2, ONE, ONE * 0.1),
    "IF": lambda: nir.IF(ONE, ONE * np.float32(1.5), -ONE * 0.5),
    "I": lambda: nir.I(ONE),
}
SPIKING = ("LIF", "CubaLIF", "IF")
READINGS = {
    "default": {},
    "spyx": {"preset": "spyx"},
    "nengo": {"preset": "nengo"},
    "late": {"recurrent_bias": "after_first", "reset_delay": True},
    "impulse": {"w_in": "impulse", "membrane_current": "undecayed"},
}
CASES = [(k, r, False) for k in NODES for r in READINGS] + [(k, r, True) for k in SPIKING for r in READINGS]


def graph(kind, cycle=False):
    rng = np.random.default_rng(0)
    weight = rng.normal(0, 3, (3, 4)).astype(np.float32)
    nodes = {
        "input": nir.Input({"input": np.array([4])}),
        "w": nir.Affine(weight, ONE * 0.3),
        "n": NODES[kind](),
    }
    edges = [("input", "w"), ("w", "n"), ("n", "output")]
    if cycle:
        nodes["r"] = nir.Affine(rng.normal(0, 1, (3, 3)).astype(np.float32), ONE * 0.3)
        edges += [("n", "r"), ("r", "n")]
    nodes["output"] = nir.Output({"output": np.array([3])})
    return nir.NIRGraph(nodes, edges, type_check=False)


def inputs(steps=60):
    return np.random.default_rng(1).normal(0, 2, (steps, 3, 4)).astype(np.float32)


@pytest.mark.parametrize(("kind", "how", "cycle"), CASES)
def test_written_and_read_back_it_is_the_same(kind, how, cycle, tmp_path):
    model, variables = interop.from_nir(graph(kind, cycle), 1e-4, **READINGS[how])
    assert type(model.members()["n"]).__name__ == kind
    out = np.asarray(snn.unroll(model, variables, inputs())[0])
    assert np.isfinite(out).all() and out.any()
    interop.write_nir(tmp_path / "a.nir", interop.to_nir(model, variables))
    again = np.asarray(snn.unroll(*interop.from_nir(tmp_path / "a.nir"), inputs())[0])
    assert np.array_equal(out, again)


@pytest.mark.parametrize("kind", NODES)
def test_other_readers_get_the_parameters(kind):
    first = graph(kind)
    back = interop.to_nir(*interop.from_nir(first, 1e-4))
    for key, value in vars(first.nodes["n"]).items():
        if isinstance(value, np.ndarray):
            np.testing.assert_allclose(getattr(back.nodes["n"], key), value, rtol=1e-6, err_msg=key)


@pytest.mark.parametrize("kind", NODES)
def test_crossvalidation_knows_them(kind):
    model, variables = interop.from_nir(graph(kind, kind in SPIKING), 1e-4)
    report = interop.crossvalidate(
        (model, variables), interop.from_nir(interop.to_nir(model, variables)), inputs()
    )
    assert report.agree, str(report)
    nodes = model.members()
    key = "r" if kind in ("IF", "I") else "v_leak"
    changed = model.clone(nodes={**nodes, "n": nodes["n"].clone(**{key: getattr(nodes["n"], key) * 1.1})})
    report = interop.crossvalidate((model, variables), (changed, variables), inputs())
    (layer,) = [entry for entry in report.layers if entry.unexplained and entry.kind != "output"]
    assert layer.name == "n" and layer.causes[0].kind == key, str(report)


@pytest.mark.parametrize("kind", ["IF", "I"])
def test_what_differs_between_a_graph_and_its_model_is_said_of_integrators_too(kind):
    """The node's reading and the module's options are the same choice, by other names."""
    model, variables = interop.from_nir(graph(kind), 1e-4)
    nodes = model.members()
    changed = model.clone(nodes={**nodes, "n": nodes["n"].clone(r=nodes["n"].r * 1.1)})
    report = interop.crossvalidate(graph(kind), (changed, variables), inputs(), dt=1e-4)
    assert [layer.causes[0].kind for layer in report.layers if layer.unexplained][:1] == ["r"], str(report)


def test_a_bias_on_the_way_back_counts_from_the_first_step_or_not():
    found = {}
    for when in ("always", "after_first"):
        model, variables = interop.from_nir(graph("LIF", True), 1e-4, recurrent_bias=when)
        record = snn.unroll(model, variables, inputs(3), record=True)[2]
        found[when] = np.asarray(record["n"]["input"])
    np.testing.assert_allclose(found["always"][0] - found["after_first"][0], 0.3, rtol=1e-5)
    np.testing.assert_allclose(found["always"][1:], found["after_first"][1:], rtol=1e-5)


def several():
    nodes = {
        "b": nir.Input({"input": np.array([2, 2])}), "a": nir.Input({"input": np.array([3])}),
        "flat": nir.Flatten({"input": np.array([2, 2])}, 0, -1), "lif": NODES["LIF"](), "li": NODES["CubaLI"](),
        "w": nir.Affine(np.ones((3, 4), np.float32), ONE * 0.5), "above": nir.Threshold(ONE * 0.3),
        "delay": nir.Delay(np.array([0, 2e-4, 3e-4], np.float32)),
        "one": nir.Output({"output": np.array([3])}), "two": nir.Output({"output": np.array([3])}),
    }  # fmt: skip
    edges = [
        ("a", "lif"), ("b", "flat"), ("flat", "w"), ("w", "lif"), ("lif", "delay"), ("delay", "above"),
        ("above", "one"), ("lif", "li"), ("li", "two"), ("above", "two"),
    ]  # fmt: skip
    return nir.NIRGraph(nodes, edges, type_check=False)


def test_several_inputs_and_outputs(tmp_path):
    rng = np.random.default_rng(0)
    x = {"a": rng.random((20, 2, 3)) * 9, "b": rng.random((20, 2, 2, 2)) * 9}
    joined = interop.join_inputs(several(), x).astype(np.float32)
    assert joined.shape == (20, 2, 7)
    model, variables = interop.from_nir(several(), 1e-4)
    (one, two), _, record = snn.unroll(model, variables, joined, record=True)
    current = x["a"] + x["b"].sum((-1, -2))[..., None] + 0.5
    np.testing.assert_allclose(record["lif"]["input"], current, rtol=1e-5)
    spikes = np.asarray(record["lif"]["spk"])
    late = np.stack(
        [np.concatenate([np.zeros((d, 2)), spikes[: 20 - d, :, i]]) for i, d in enumerate((0, 2, 3))], -1
    )
    assert np.array_equal(one, late) and one.any()
    np.testing.assert_allclose(two, np.asarray(record["li"]["mem"]) + late, rtol=1e-6)
    interop.write_nir(tmp_path / "a.nir", interop.to_nir(model, variables))
    again = interop.from_nir(tmp_path / "a.nir")
    assert all(np.array_equal(p, q) for p, q in zip((one, two), snn.unroll(*again, joined)[0], strict=True))


def test_join_inputs_refuses():
    with pytest.raises(ArgumentError, match=r"\['a', 'b'\]"):
        interop.join_inputs(several(), {"a": np.zeros((4, 1, 3))})
    with pytest.raises(ShapeError, match="'b'"):
        interop.join_inputs(several(), {"a": np.zeros((4, 1, 3)), "b": np.zeros((4, 1, 4))})


def test_integrators_add_their_input_or_as_much_as_the_step_is_long():
    frames = inputs(5)
    by_step, by_time = (
        np.asarray(snn.unroll(*interop.from_nir(graph("I"), 1e-4, integrator=how), frames)[0])
        for how in ("impulse", "ode")
    )
    np.testing.assert_allclose(by_time, by_step * 1e-4, rtol=1e-5)


def test_time_in_milliseconds():
    seconds, millis = graph("LIF"), graph("LIF")
    millis.nodes["n"].tau = millis.nodes["n"].tau * 1000
    outs = [
        np.asarray(snn.unroll(*interop.from_nir(g, 1e-4, time_unit=unit), inputs())[0])
        for g, unit in ((seconds, "s"), (millis, "ms"))
    ]
    assert np.array_equal(*outs)


def test_batch_axis_left_in_is_taken_out():
    left, plain = graph("LIF"), graph("LIF")
    left.nodes["input"] = nir.Input({"input": np.array([1, 4])})
    left.nodes["output"] = nir.Output({"output": np.array([1, 3])})
    with pytest.warns(RepairWarning) as found:
        model, variables = interop.from_nir(left, 1e-4)
    assert [str(w.message).split(":")[0] for w in found] == ["input 'input'", "output 'output'"]
    assert np.array_equal(
        snn.unroll(model, variables, inputs())[0], snn.unroll(*interop.from_nir(plain, 1e-4), inputs())[0]
    )


def test_edges_that_can_mean_two_things_are_refused():
    broken = graph("LIF")
    broken.edges = [("input", "w"), ("w", "neuron"), ("neuron", "exit")]
    with pytest.raises(GraphError, match="neuron"):
        interop.from_nir(broken, 1e-4)


@pytest.mark.parametrize(
    ("choices", "words"),
    [
        ({"preset": "brian"}, "'norse'"),
        ({"discretization": "midpoint"}, "'exact_decay'"),
        ({"dt": -1.0}, "dt=-1.0"),
        ({"speed": 3}, "speed"),
        ({"input_delay": -1}, "input_delay"),
        ({"time_unit": "us"}, "'ms'"),
        ({"dt": float("inf")}, "dt=inf"),
        ({"dt": "1e-4"}, "dt='1e-4'"),
        ({"ignore": "LIF.r"}, r"ignore=\('LIF.v_reset',\)"),
        ({"ignore": ("LIF.tau",)}, "LIF.v_leak"),
        ({"threshold": "before", "reset_delay": True}, "reset_delay=False"),
        ({"preset": "spyx", "reset_delay": True}, "threshold='after'"),
        ({"membrane_current": "continuous"}, "discretization='exact'"),
        ({"membrane_current": "continuous", "discretization": "exact_decay"}, "membrane_current='new'"),
    ],
)
def test_bad_choices(choices, words):
    with pytest.raises(ArgumentError, match=words):
        interop.from_nir(graph("LIF"), **choices)


def test_only_what_is_neutral_at_0_or_1_can_be_ignored():
    fixed = ("tau", "tau_syn", "tau_mem", "v_threshold")
    assert {k: {n for n in names if n not in fixed} for k, names in NATIVE.items()} == {
        kind: set(names) for kind, names in IGNORABLE.items()
    }


def test_presets_can_be_changed():
    spyx = Reading(threshold="before", feedback="same_step", reset_at="cuba_start")
    assert reading("spyx", reset="nir") == spyx
    assert reading(Reading(dt=1e-3)).dt == 1e-3


RECORDINGS = {
    "norse": ("norse", 1.0, 1e-7), "snntorch": ("snntorch", 0.04, 1e-7), "spinnaker2": ("spinnaker2", 0.04, 3e-5),
    "nengo": ("nengo", 0.1, 1e-7), "sinabs": ("sinabs", 1.0, 1e-7), "rockpool": ("rockpool", 1.0, 1e-7),
    "spyx": ("spyx", 1.0, 1e-7), "lava_cpu_float": ("lava", None, 0.0),
}  # fmt: skip
"""Preset, factor of the recorded membrane, and how near the membrane comes."""


@needs_data
@pytest.mark.parametrize("name", RECORDINGS)
def test_presets_reproduce_what_each_framework_recorded(name):
    """The one LIF neuron of the NIR paper, as eight frameworks ran it."""
    preset, scale, near = RECORDINGS[name]
    assert preset in PRESETS
    rows = np.genfromtxt(DATA / "01_lif" / f"lif_{name}.csv", delimiter=",")[-1000:]
    with jax.enable_x64(True):
        model, variables = interop.from_nir(DATA / "01_lif" / "lif_norse.nir", preset=preset)
        x = (rows[:, 0] > 0).astype(np.float64).reshape(-1, 1, 1)
        record = snn.unroll(model, variables, x, record=True)[2]
    (neuron,) = record.values()
    assert np.array_equal(np.asarray(neuron["spk"]).ravel(), rows[:, 2] > 0)
    if scale is not None:
        assert np.abs(np.asarray(neuron["mem"]).ravel() - rows[:, 1] * scale).max() < near


def test_snntorch_says_what_it_cannot_hold():
    pytest.importorskip("snntorch")
    with pytest.raises(ConversionError, match="NIR's LIF"):
        interop.to_snntorch(*interop.from_nir(graph("LIF"), 1e-4))
    with pytest.raises(ConversionError, match="several inputs"):
        interop.to_snntorch(*interop.from_nir(several(), 1e-4))
