"""Every planted defect makes the report disagree, name the layer and the right cause."""

from __future__ import annotations

import numpy as np
import pytest
from helpers import fake_sides as fake

from snnax.interop.compare import compare

RNG = np.random.default_rng(0)
LIF_B = "B decays with beta 0.85 where A has 0.9."


def run(a, b, x, *, lies=False, dtype=np.float32):
    """A report on two nets; with ``lies`` b's graph shows a's net."""
    sides = fake.FakeSide(a, "A", dtype), fake.FakeSide(b, "B", dtype, claims=a if lies else None)
    return compare(*sides, x)


def check(report, layer, kind, words):
    """The report disagrees, first in ``layer``, because of ``kind``, said with ``words``."""
    assert not report.agree and report.unexplained > 0
    assert report.first.name == layer, str(report)
    assert report.first.cause.kind == kind, str(report)
    assert report.first.cause.certain
    assert words in report.first.cause.text
    assert report.first.first is not None and report.first.status == "unexplained"
    text = str(report)
    assert "DISAGREE" in text and f"first in {layer}, at step" in text and report.first.cause.text in text


DENSE = fake.dense_net(RNG)
DENSE_X = fake.dense_input(RNG)
FC2 = DENSE.nodes["fc2"]
BENT = FC2.weight.copy()
BENT[3, 4] += 0.3
BY_NEURON = np.linspace(0.5, 0.95, 12, dtype=np.float32)
LATE = fake.Net(
    {"fc1": DENSE.nodes["fc1"], "lif1": fake.Lif(), "late": fake.Late(), "fc2": FC2, "lif2": fake.Lif()},
    {**DENSE.feeds, "late": ("lif1",), "fc2": ("late",)},
)

NEURON = {
    "beta": (DENSE.but("lif2", beta=0.85), "lif2", "beta", LIF_B),
    "beta 1e-4": (DENSE.but("lif2", beta=0.9 * (1 + 1e-4)), "lif2", "beta", "beta 0.90009 where A has 0.9."),
    "beta 1e-5": (DENSE.but("lif1", beta=0.9 * (1 + 1e-5)), "lif1", "beta", "beta 0.900009"),
    "reset zero": (DENSE.but("lif2", reset="zero"), "lif2", "reset mechanism", "B sets the membrane to zero"),
    "reset none": (DENSE.but("lif1", reset="none"), "lif1", "reset mechanism", "B does not reset"),
    "reset delay": (
        DENSE.but("lif2", delay=False),
        "lif2",
        "reset delay",
        "B resets in the step of the spike",
    ),
    "threshold": (DENSE.but("lif1", threshold=1.05), "lif1", "threshold", "threshold 1.05 where A has 1."),
    "gain": (DENSE.but("lif1", gain=1.5), "lif1", "gain", "multiplies its input by 1.5"),
    "height": (DENSE.but("lif2", graded=0.5), "lif2", "gain", "height 0.5 where A has 1."),
    "late spikes": (DENSE.but("lif1", late=True), "lif1", "delay", "emits its spikes one step after"),
    "start": (DENSE.but("lif1", start=0.4), "lif1", "initial state", "off by up to 0.36"),
}
CURRENT = {
    "no bias": (DENSE.but("fc2", bias=0 * FC2.bias), "lif2", "bias", "B leaves out the bias of fc2"),
    "other bias": (DENSE.but("fc2", bias=FC2.bias * 3), "lif2", "bias", "plus a constant"),
    "gain": (DENSE.but("fc2", weight=2 * FC2.weight, bias=2 * FC2.bias), "lif2", "gain", "is 2 times"),
    "weights times 2": (DENSE.but("fc2", weight=2 * FC2.weight), "lif2", "gain", "apart from the bias, is 2"),
    "one weight": (DENSE.but("fc2", weight=BENT), "lif2", "weights", ""),
    "late": (LATE, "lif2", "delay", "1 step late"),
}


@pytest.mark.parametrize("lies", [False, True], ids=["graph", "lying-graph"])
@pytest.mark.parametrize("case", NEURON)
def test_a_wrong_neuron(case, lies):
    net, layer, kind, words = NEURON[case]
    check(run(DENSE, net, DENSE_X, lies=lies), layer, kind, words)


@pytest.mark.parametrize("lies", [False, True], ids=["graph", "lying-graph"])
@pytest.mark.parametrize("case", CURRENT)
def test_a_wrong_current(case, lies):
    net, layer, kind, words = CURRENT[case]
    check(run(DENSE, net, DENSE_X, lies=lies), layer, kind, words)


@pytest.mark.parametrize("case", NEURON)
def test_a_wrong_neuron_in_float64(case):
    net, layer, kind, words = NEURON[case]
    check(run(DENSE, net, DENSE_X, dtype=np.float64), layer, kind, words)


def test_float64_sees_the_eleventh_digit():
    report = run(DENSE, DENSE.but("lif1", beta=0.9 * (1 + 1e-11)), DENSE_X, dtype=np.float64)
    check(report, "lif1", "beta", "beta 0.900000000009 where A has 0.9.")


@pytest.mark.parametrize(
    ("change", "kind"),
    [
        ({"beta": 0.85}, "beta"),
        ({"beta": 0.9 * (1 + 1e-4)}, "beta"),
        ({"reset": "zero"}, "reset mechanism"),
        ({"delay": False}, "reset delay"),
        ({"threshold": 1.1}, "threshold"),
    ],
)
def test_sides_without_graphs_are_read_from_their_recordings(change, kind):
    sides = [fake.FakeSide(DENSE, "A"), fake.FakeSide(DENSE.but("lif1", **change), "B")]
    report = compare(*map(fake.Bare, sides), DENSE_X)
    assert report.first.name == "lif1" and report.first.cause.kind == kind


def test_each_neuron_with_a_decay_of_its_own():
    a, b = DENSE.but("lif2", beta=BY_NEURON), DENSE.but("lif2", beta=np.roll(BY_NEURON, 1))
    for lies in (False, True):
        report = run(a, b, DENSE_X, lies=lies)
        assert report.first.cause.kind == "beta"
        assert "0.95 where A has 0.5 at neuron (0), the one furthest off" in report.first.cause.text


def test_a_single_wrong_neuron_is_named():
    beta = np.full(12, 0.9, np.float32)
    beta[7] = 0.8
    report = run(DENSE.but("lif2", beta=np.full(12, 0.9, np.float32)), DENSE.but("lif2", beta=beta), DENSE_X)
    assert report.first.cause.text == "B decays with beta 0.8 where A has 0.9."
    assert report.first.first.neuron == (7,)


SYNAPTIC = fake.dense_net(np.random.default_rng(1), alpha=0.6)


@pytest.mark.parametrize(
    ("change", "kind", "words"),
    [
        ({"alpha": 0.65}, "alpha", "decay alpha 0.65 where A has 0.6."),
        ({"alpha": 0.6 * (1 + 1e-4)}, "alpha", "0.60006"),
        ({"beta": 0.8}, "beta", "beta 0.8"),
        ({"reset": "zero"}, "reset mechanism", "sets the membrane to zero"),
        ({"delay": False}, "reset delay", ""),
        ({"threshold": 1.1}, "threshold", "1.1"),
        ({"gain": 0.5}, "gain", "0.5"),
    ],
)
@pytest.mark.parametrize("lies", [False, True], ids=["graph", "lying-graph"])
def test_a_wrong_synaptic_neuron(change, kind, words, lies):
    check(run(SYNAPTIC, SYNAPTIC.but("lif1", **change), DENSE_X, lies=lies), "lif1", kind, words)


def test_two_defects_in_two_layers_and_three_in_one():
    report = run(DENSE, DENSE.but("lif1", beta=0.8).but("lif2", reset="zero"), DENSE_X)
    assert [layer.cause.kind for layer in report.layers] == ["beta", "reset mechanism"]
    assert "Unexplained in lif2 too." in str(report)
    report = run(DENSE, DENSE.but("lif1", beta=0.8, reset="zero", threshold=1.2), DENSE_X, lies=True)
    assert [cause.kind for cause in report.first.causes] == ["reset mechanism", "beta", "threshold"]
    assert report.layers[1].status == "follows" and "Also: beta" in str(report)


@pytest.mark.parametrize("lies", [False, True], ids=["graph", "lying-graph"])
@pytest.mark.parametrize(
    ("betas", "factor"),
    [
        ((0.99, 0.995), "0.1 times"),
        ((1 - 0.1 * 3, 1 - 0.05 * 3), "3 times"),
        ((0.9**0.3, 0.95**0.3), "0.3 times"),
    ],
    ids=["ten", "euler", "exponential"],
)
def test_a_wrong_time_step_changes_all_decays_alike(betas, factor, lies):
    a = DENSE.but("lif2", beta=0.95)
    b = a.but("lif1", beta=betas[0]).but("lif2", beta=betas[1])
    report = run(a, b, DENSE_X, lies=lies)
    assert [layer.cause.kind for layer in report.layers] == ["dt", "dt"]
    assert factor in report.first.cause.text


TIED = fake.Net.chain(
    fc1=fake.Dense(fake.dyadic(RNG, (16, 20), 1 / 8, 4), fake.dyadic(RNG, 16, 1 / 8, 2)),
    lif1=fake.Lif(beta=0.5, threshold=0.5),
    fc2=fake.Dense(fake.dyadic(RNG, (12, 16), 1 / 8, 4), fake.dyadic(RNG, 12, 1 / 8, 2)),
    lif2=fake.Lif(beta=0.5, threshold=0.5),
)


@pytest.mark.parametrize("delay", [True, False], ids=["late", "now"])
@pytest.mark.parametrize("reset", ["subtract", "zero", "none"])
def test_firing_at_the_threshold(reset, delay):
    """Weights are multiples of 1/8: membranes meet the threshold exactly and no order changes a sum."""
    net = TIED.but("lif1", reset=reset, delay=delay)
    assert (
        run(net, net.but("fc1", order=RNG.permutation(20)), DENSE_X).layers[0].layerwise.spike_mismatches == 0
    )
    report = run(net, net.but("lif1", at_threshold=True), DENSE_X)
    check(report, "lif1", "threshold comparison", "B fires when the membrane equals the threshold (>=)")
    back = run(net.but("lif1", at_threshold=True), net, DENSE_X)
    check(back, "lif1", "threshold comparison", "A fires when the membrane equals the threshold (>=)")


IMAGE = fake.image_net(RNG)
IMAGE_X = fake.image_input(RNG)
KERNEL, DENSE_WEIGHT = IMAGE.nodes["conv"].weight, IMAGE.nodes["fc"].weight
HWC = np.arange(36).reshape(4, 3, 3).transpose(1, 2, 0).ravel()
SQUARE = fake.dense_net(RNG, (16, 16, 12))


@pytest.mark.parametrize("lies", [False, True], ids=["graph", "lying-graph"])
@pytest.mark.parametrize(
    ("change", "layer", "kind", "words"),
    [
        (("conv", "weight", KERNEL.swapaxes(2, 3)), "lif1", "transposed kernel", "height and width swapped"),
        (
            ("conv", "weight", KERNEL[..., ::-1, ::-1]),
            "lif1",
            "transposed kernel",
            "instead of a correlation",
        ),
        (("conv", "weight", np.rot90(KERNEL, 1, (2, 3))), "lif1", "transposed kernel", "by 90 degrees"),
        (("conv", "bias", np.zeros(4, np.float32)), "lif1", "bias", "leaves out the bias of conv"),
        (("flat", "order", (1, 2, 0)), "lif2", "axis order", "H, W, C, A in C, H, W"),
        (("fc", "weight", DENSE_WEIGHT[:, HWC]), "lif2", "axis order", "H, W, C"),
        (("fc", "weight", DENSE_WEIGHT[:, np.argsort(HWC)]), "lif2", "axis order", "H, W, C"),
    ],
    ids=["transposed", "flipped", "turned", "no bias", "flatten", "columns", "columns back"],
)
def test_axes_of_images(change, layer, kind, words, lies):
    node, attribute, value = change
    value = np.ascontiguousarray(value) if isinstance(value, np.ndarray) else value
    check(run(IMAGE, IMAGE.but(node, **{attribute: value}), IMAGE_X, lies=lies), layer, kind, words)


def test_a_transposed_square_matrix_and_shuffled_features():
    x = fake.dense_input(RNG, features=16)
    weight = SQUARE.nodes["fc1"].weight
    report = run(SQUARE, SQUARE.but("fc1", weight=weight.T.copy()), x, lies=True)
    check(report, "lif1", "transposed kernel", "fc1 with inputs and outputs swapped")
    report = run(SQUARE, SQUARE.but("fc1", weight=weight[:, RNG.permutation(16)]), x)
    check(report, "lif1", "axis order", "input features of fc1 in another order")


def branches():
    """fc1 -> lif1 -> (fc2 -> lif2, fc3 -> lif3) -> + -> fc4 -> lif4."""
    rng = np.random.default_rng(4)
    sizes = {"fc1": (16, 20), "fc2": (16, 16), "fc3": (16, 16), "fc4": (5, 16)}
    nodes = {}
    for i, (name, shape) in enumerate(sizes.items(), 1):
        weight, bias = rng.normal(0.1, 0.3, shape), rng.uniform(0, 0.2, shape[0])
        nodes[name] = fake.Dense(weight.astype(np.float32), bias.astype(np.float32))
        nodes[f"lif{i}"] = fake.Lif(beta=0.95 - 0.05 * i)
    feeds = {f"lif{i}": (f"fc{i}",) for i in range(1, 5)}
    return fake.Net(
        nodes, {"fc1": ("input",), "fc2": ("lif1",), "fc3": ("lif1",), "fc4": ("lif2", "lif3"), **feeds}
    )


@pytest.mark.parametrize("lies", [False, True], ids=["graph", "lying-graph"])
@pytest.mark.parametrize(
    ("feeds", "layer", "words"),
    [
        ({"fc4": ("lif2",)}, "lif4", "lif4 lacks in B what comes from lif3 in A."),
        ({"fc4": ("lif2", "lif1")}, "lif4", "lif4 is fed in B by lif1 where A feeds it by lif3."),
        ({"fc3": ("lif2",)}, "lif3", "lif3 is fed in B by lif2 where A feeds it by lif1."),
    ],
    ids=["missing", "other", "chained"],
)
def test_a_wrong_source(feeds, layer, words, lies):
    net = branches()
    assert run(net, net.but("fc4", order="serial"), DENSE_X).agree
    check(run(net, net.fed(**feeds), DENSE_X, lies=lies), layer, "wiring", words)


def test_swapped_branches():
    net = branches()
    order = ("fc1", "lif1", "fc3", "fc2", "lif2", "lif3", "fc4", "lif4")
    swapped = fake.Net({n: net.nodes[n] for n in order}, {**net.feeds, "lif2": ("fc3",), "lif3": ("fc2",)})
    report = run(net, swapped, DENSE_X, lies=True)
    check(report, "lif2", "wiring", "lif2 gets in B the current that lif3 gets in A.")
    assert "lif3 gets in B the current that lif2 gets in A." in report.layers[2].cause.text
    assert report.layers[3].status == "follows"


WEIGHT = RNG.normal(0, 0.3, (16, 16)).astype(np.float32)
BIAS = RNG.uniform(0.05, 0.2, 16).astype(np.float32)
RECURRENT = DENSE.but("lif1", recurrent=(WEIGHT, BIAS))


@pytest.mark.parametrize("lies", [False, True], ids=["graph", "lying-graph"])
@pytest.mark.parametrize(
    ("change", "kind", "words"),
    [
        ({"recurrent": (WEIGHT, 0 * BIAS)}, "recurrent bias", "adds at each step"),
        ({"bias_from": 1}, "recurrent bias", "adds at the first step, too"),
        ({"recurrent": (WEIGHT.T.copy(), BIAS)}, "weights", "inputs and outputs swapped"),
        ({"beta": 0.8}, "beta", "beta 0.8"),
        ({"reset": "zero"}, "reset mechanism", "to zero"),
        ({"delay": False}, "reset delay", ""),
    ],
)
def test_a_wrong_recurrent_layer(change, kind, words, lies):
    assert run(RECURRENT, RECURRENT.but("fc1", order="serial"), DENSE_X).agree
    check(run(RECURRENT, RECURRENT.but("lif1", **change), DENSE_X, lies=lies), "lif1", kind, words)


@pytest.mark.parametrize(("lies", "certain"), [(False, True), (True, False)])
def test_other_recurrent_weights(lies, certain):
    report = run(RECURRENT, RECURRENT.but("lif1", recurrent=(WEIGHT * 1.1, BIAS)), DENSE_X, lies=lies)
    cause = report.first.cause
    assert (report.first.name, cause.kind, cause.certain) == ("lif1", "weights", certain)
    assert "recurrent weights of lif1" in cause.text


@pytest.mark.parametrize("which", [0, 1], ids=["a", "b"])
@pytest.mark.parametrize("value", [np.nan, np.inf])
def test_numbers_that_are_not_finite(which, value):
    bias = DENSE.nodes["fc1"].bias.copy()
    bias[3] = value
    nets = [DENSE, DENSE]
    nets[which] = DENSE.but("fc1", bias=bias)
    report = run(*nets, DENSE_X)
    words = f"current of lif1 in {'AB'[which]} is {'NaN' if np.isnan(value) else 'infinite'} from step 0 on."
    check(report, "lif1", "unknown", words)
    assert report.first.first.neuron == (3,)


def test_a_reference_whose_graph_is_wrong_is_told_so():
    """A computes with 0.85 what its graph calls 0.9; B does as the graph says."""
    a = fake.FakeSide(DENSE.but("lif1", beta=0.85), "A", claims=DENSE)
    report = compare(a, fake.FakeSide(DENSE, "B"), DENSE_X)
    assert report.first.name == "lif1" and report.first.cause.kind == "unknown"
    assert "what A recorded at lif1 is not what its own parameters make" in report.first.cause.text


class Stale(fake.FakeSide):
    """Starts its free run from a membrane that an earlier run left; a replay starts from zero."""

    def run(self, x):
        net, self.net = self.net, self.net.but("lif1", start=0.7)
        trace = self._run(x, {})
        self.net = net
        return trace


def test_a_difference_that_only_shows_end_to_end():
    report = compare(fake.FakeSide(DENSE, "A"), Stale(DENSE, "B"), DENSE_X)
    assert not report.agree and report.first.name == "lif1"
    assert report.first.layerwise.spike_mismatches == 0 and report.first.end_to_end.spike_mismatches > 0
    assert report.first.cause.kind == "wiring" and "earlier run" in report.first.cause.text
    assert report.layers[1].status == "follows"


@pytest.mark.parametrize("wrong", ["half", "one"])
def test_small_errors_of_weights_show_among_a_thousand_inputs(wrong):
    """All weights in half precision, or one that is off by a thousandth."""
    rng = np.random.default_rng(2)
    weight = rng.normal(0.02, 0.1, (30, 1000)).astype(np.float32)
    net = fake.Net.chain(fc=fake.Dense(weight, np.zeros(30, np.float32)), lif=fake.Lif())
    x = rng.random((50, 4, 1000)).astype(np.float32)
    other = weight.astype(np.float16).astype(np.float32) if wrong == "half" else weight.copy()
    if wrong == "one":
        other[3, 5] += 1e-3
    assert run(net, net.but("fc", order="serial"), x).agree
    assert run(net, net.but("fc", weight=other), x, lies=True).first.cause.kind == "weights"
    assert "weight of fc differs in" in run(net, net.but("fc", weight=other), x).first.cause.text
