"""What a report says, writes and draws; outputs, gradients, and input that does not fit."""

from __future__ import annotations

import json

import numpy as np
import pytest
from helpers import fake_sides as fake

from snnax.errors import ArgumentError, ConversionError, ShapeError
from snnax.interop.compare import Cause, LayerReport, Numbers, Report, compare
from snnax.interop.trace import Trace

RNG = np.random.default_rng(0)
NET, X = fake.dense_net(RNG), fake.dense_input(RNG)
SIDE = fake.FakeSide(NET, "snnTorch")


def against(net=NET, **given):
    return compare(SIDE, fake.FakeSide(net, "snnax"), X, **given)


def test_agreement_in_words():
    report = against()
    lines = str(report).splitlines()
    assert lines[0] == "snnTorch against snnax: 30 steps, 3 360 neuron-steps, float32"
    assert lines[1].split() == [
        "--",
        "end",
        "to",
        "end",
        "--",
        *"------------ layer by layer -----------".split(),
    ]
    assert lines[2].split() == [
        *("layer", "kind", "neurons", "spikes", "differ", "membrane"),
        *("differ", "rounding", "unexplained", "membrane", "verdict"),
    ]
    spikes = int(np.count_nonzero(SIDE.run(X).nodes["lif1"].spk))
    assert lines[4].split() == ["lif1", "Leaky", "16", str(spikes), "0", "0", "0", "0", "0", "0", "equal"]
    assert lines[-1] == report.verdict
    assert (
        report.verdict == "AGREE: snnax does what snnTorch does; all 3 360 neuron-steps have the same spikes."
    )


def test_disagreement_in_words():
    report = against(NET.but("lif2", beta=0.85))
    *_, count, place, cause = str(report).splitlines()
    assert count == f"DISAGREE: {report.unexplained:,} unexplained neuron-steps of 3 360.".replace(",", " ")
    assert place.startswith("They part first in lif2, at step 1, sample 0, neuron (0): membrane ")
    assert "(snnTorch) against" in place and "(threshold 1, rounding accounts for" in place
    assert cause == "Likely cause: beta: snnax decays with beta 0.85 where snnTorch has 0.9."
    assert "unexplained: beta" in str(report)


def test_a_current_that_differs_is_shown_as_a_current():
    report = against(NET.but("fc1", bias=0 * NET.nodes["fc1"].bias))
    assert "They part first in lif1, at step 0, sample 0, neuron (0): current " in str(report)


def test_flips_in_words():
    report = Report(
        ("a", "b"), "float32", 5, (LayerReport("lif", "Leaky", (2,), 20, _numbers(3), _numbers(1), 1, 0),)
    )
    assert report.agree and report.layers[0].status == "rounding"
    assert "1 of 20 neuron-steps differ" in report.verdict and "end to end 3 spikes differ." in report.verdict


def _numbers(mismatches):
    return Numbers(mismatches, 0.5, 0.0, None)


def test_everything_as_json(tmp_path):
    report = against(NET.but("lif1", reset="zero"))
    content = report.to_dict()
    text = report.to_json(tmp_path / "report.json")
    assert json.loads((tmp_path / "report.json").read_text()) == json.loads(text) == content
    assert content["schema"] == "snnax.crossvalidation/1"
    assert content["agree"] is False and content["unexplained"] == report.unexplained > 0
    layer = content["layers"][0]
    assert layer["causes"][0]["kind"] == "reset mechanism" and layer["status"] == "unexplained"
    assert layer["first"]["neuron"] == list(report.first.first.neuron)
    assert set(layer["end_to_end"]) == {"spike_mismatches", "max_mem_gap", "max_current_gap", "first"}


def test_numbers_that_are_not_finite_become_null():
    bias = NET.nodes["fc1"].bias.copy()
    bias[0] = np.nan
    report = against(NET.but("fc1", bias=bias))
    assert json.loads(report.to_json())["layers"][0]["layerwise"]["max_current_gap"] is None


@pytest.mark.parametrize("net", [NET, NET.but("lif2", beta=0.8)], ids=["agree", "disagree"])
def test_the_picture(net, tmp_path):
    pytest.importorskip("matplotlib").use("Agg")
    report = against(net)
    figure = report.plot(tmp_path / "report.png")
    assert (tmp_path / "report.png").stat().st_size > 10_000
    assert any(report.layers[1].summary in axes.get_title(loc="left") for axes in figure.axes)
    picture = report.pictures[1]
    assert picture.spk_a.shape == picture.mem_b.shape == (30, 12)
    if not report.agree:
        step, neuron = picture.first
        assert picture.spk_a[step, neuron] != picture.spk_b[step, neuron]


class Readout(fake.FakeSide):
    """Returns what ``change`` makes of the recorded nodes and of a matrix times the last spikes."""

    change = None
    matrix = RNG.normal(size=(3, 12)).astype(np.float32)

    def _run(self, x, forced):
        trace = super()._run(x, forced)
        spikes = forced.get("lif2", trace.nodes["lif2"].spk)
        return Trace(trace.nodes, self.change(trace.nodes, spikes @ self.matrix.T))


def readout(change):
    return type("Side", (Readout,), {"change": staticmethod(change)})(NET, "snnax")


CORRECT = readout(lambda nodes, y: (nodes["lif2"].spk, nodes["lif2"].states["mem"], y))
OUTPUTS = {
    "swapped": (
        lambda nodes, y: (nodes["lif2"].states["mem"], nodes["lif2"].spk, y),
        "wiring",
        "is lif2.spk",
    ),
    "shape": (
        lambda nodes, y: (nodes["lif2"].spk, nodes["lif2"].states["mem"], y[..., :2]),
        "wiring",
        "shape",
    ),
    "readout": (lambda nodes, y: (nodes["lif2"].spk, nodes["lif2"].states["mem"], 2 * y), "gain", "2 times"),
}


def test_outputs_that_are_the_same_add_no_layer_of_their_own():
    report = compare(CORRECT, CORRECT, X)
    assert report.agree and [layer.kind for layer in report.layers] == ["Leaky", "Leaky", "output"]
    assert compare(SIDE, SIDE, X).layers[-1].kind == "Leaky"


@pytest.mark.parametrize("case", OUTPUTS)
def test_outputs_that_differ(case):
    change, kind, words = OUTPUTS[case]
    report = compare(CORRECT, readout(change), X)
    assert not report.agree and report.first.kind == "output"
    assert report.first.cause.kind == kind and words in report.first.cause.text
    assert "DISAGREE" in str(report)


def test_another_number_of_outputs_is_noted():
    report = compare(CORRECT, readout(lambda nodes, y: (y,)), X)
    assert report.agree and "returns 3 arrays and snnax 1" in str(report)


class Trainable(fake.FakeSide):
    def __init__(self, net, label, factor=1.0, name="fc1.weight"):
        super().__init__(net, label)
        self.found = {name: factor * np.arange(1.0, 5.0), "fc1.bias": np.zeros(3)}

    def gradients(self, x):
        return self.found


@pytest.mark.parametrize(
    ("factor", "agree"), [(1.0, True), (1 + 5e-5, True), (1 + 2e-4, False), (np.nan, False)]
)
def test_gradients(factor, agree):
    report = compare(Trainable(NET, "a"), Trainable(NET, "b", factor), X, gradients=True)
    assert report.agree is agree and report.unexplained == 0
    assert [g.name for g in report.gradients] == ["fc1.weight", "fc1.bias"]
    assert [g.agree for g in report.gradients] == [agree, True]
    if not agree:
        said = "differs" if np.isfinite(factor) else "has NaN or infinity"
        assert f"the gradients do not; that of fc1.weight {said}" in str(report)


def test_gradients_are_not_judged_after_a_flip():
    """Weights that are multiples of 0.1 put sums on the threshold but for rounding."""
    rng = np.random.default_rng(0)
    weight = (rng.integers(-3, 6, (24, 60)) * 0.1 / 3).astype(np.float32)
    bias = (rng.integers(0, 4, 24) * 0.1).astype(np.float32)
    net = fake.Net.chain(fc1=fake.Dense(weight, bias), lif1=fake.Lif())
    x = fake.dense_input(rng, 60, 16, 60, 0.3)
    report = compare(
        Trainable(net, "a"), Trainable(net.but("fc1", order="serial"), "b", 2.0), x, gradients=True
    )
    assert report.explained > 0 and report.agree and not report.gradients_judged
    assert "differs (not judged)" in str(report) and "compare them in float64" in str(report)


@pytest.mark.parametrize(
    ("other", "message"),
    [
        (SIDE, "snnTorch offers no gradients.*gradients=False"),
        (
            Trainable(NET, "b", name="fc9.weight"),
            r"only one side has gradients of \['fc1.weight', 'fc9.weight'\]",
        ),
    ],
)
def test_gradients_that_cannot_be_compared(other, message):
    with pytest.raises(ArgumentError, match=message):
        compare(Trainable(NET, "a"), other, X, gradients=True)


def test_gradients_of_other_shapes():
    other = Trainable(NET, "b")
    other.found["fc1.bias"] = np.zeros(4)
    with pytest.raises(ShapeError, match=r"gradient of 'fc1.bias': shape \(3,\) in a, \(4,\) in b"):
        compare(Trainable(NET, "a"), other, X, gradients=True)


@pytest.mark.parametrize("shape", [(), (5,), (0, 3, 20), (5, 0, 20)])
def test_input_without_steps_or_samples(shape):
    with pytest.raises(ArgumentError, match=r"x has shape .*; expected \[T, B, ...\]"):
        compare(SIDE, SIDE, np.zeros(shape, np.float32))


def test_layers_that_do_not_pair_up():
    wide = fake.dense_net(RNG, (20, 18, 12))
    with pytest.raises(ShapeError, match=r"layer 'lif1': spikes of snnTorch have shape \(30, 4, 16\).*18\)"):
        against(wide)
    deep = fake.dense_net(RNG, (20, 16, 12, 5))
    with pytest.raises(ConversionError, match=r"snnTorch has 2 neuron layers.*snnax has 3"):
        against(deep)
    empty = fake.FakeSide(fake.Net.chain(fc1=NET.nodes["fc1"]), "empty")
    with pytest.raises(ConversionError, match="no neuron layer"):
        compare(empty, empty, X)


def test_a_run_of_another_length_is_refused():
    class Short(fake.FakeSide):
        def _run(self, x, forced):
            return super()._run(x[:-1], forced)

    with pytest.raises(ShapeError, match="recorded 29 steps for an input x of shape"):
        compare(Short(NET, "short"), SIDE, X)


def test_causes_say_their_kind():
    layer = LayerReport(
        "lif", "Leaky", (2,), 10, _numbers(0), _numbers(0), 0, 4, None, (Cause("dt", "Text."),)
    )
    assert layer.summary == "unexplained: dt" and layer.cause.text == "Text."
    assert Report(("a", "b"), "float32", 5, (layer,)).verdict.splitlines()[1] == "Likely cause: dt: Text."
