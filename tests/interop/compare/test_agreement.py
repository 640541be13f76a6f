"""Sides that differ by rounding agree: no false alarm, and flips are explained."""

from __future__ import annotations

import numpy as np
import pytest
from helpers import fake_sides as fake

from snnax.errors import ConversionError
from snnax.interop.compare import compare

RESETS = ("subtract", "zero", "none")


def reordered(net, rng):
    """The same network with every dense sum in another order."""
    for name, node in list(net.nodes.items()):
        if isinstance(node, fake.Lif):
            net = net.but(name, serial=True)
        if isinstance(node, fake.Dense):
            order = "serial" if rng.integers(2) else rng.permutation(node.weight.shape[1])
            net = net.but(name, order=order)
    return net


def tied_net(rng, features, **lif):
    """Weights that are multiples of 0.1, so that many sums lie on the threshold but for rounding."""

    def tenths(low, high, *shape):
        return (rng.integers(low, high, shape) * 0.1).astype(np.float32)

    recurrent = (tenths(-3, 4, 24, 24), tenths(-1, 3, 24)) if rng.random() < 0.4 else None
    return fake.Net.chain(
        fc1=fake.Dense(tenths(-3, 6, 24, features) / np.float32(max(1, features // 20)), tenths(0, 4, 24)),
        lif1=fake.Lif(beta=rng.choice([0.5, 0.9, 1.0]), **lif),
        fc2=fake.Dense(tenths(-3, 6, 24, 24), tenths(0, 4, 24)),
        lif2=fake.Lif(beta=0.5, recurrent=recurrent, **lif),
    )


@pytest.mark.parametrize("alpha", [None, 0.6], ids=["leaky", "synaptic"])
@pytest.mark.parametrize("delay", [True, False], ids=["late", "now"])
@pytest.mark.parametrize("reset", RESETS)
def test_sums_in_another_order_are_rounding(reset, delay, alpha):
    flips = 0
    for seed in range(8):
        rng = np.random.default_rng(seed)
        features = int(rng.choice([5, 20, 60, 200]))
        net = tied_net(rng, features, reset=reset, delay=delay, alpha=alpha)
        x = fake.dense_input(rng, 25, 8, features, 0.3)
        report = compare(fake.FakeSide(net, "a"), fake.FakeSide(reordered(net, rng), "b"), x)
        assert report.agree and report.unexplained == 0, f"seed {seed}\n{report}"
        assert all(layer.bound_source == "weights" for layer in report.layers)
        assert {layer.status for layer in report.layers} <= {"equal", "rounding"}
        flips += report.explained
    assert flips > 0


@pytest.mark.parametrize("weights", ["normal", "positive", "tenths", "equal"])
def test_a_thousand_inputs_and_a_hundred_steps(weights):
    rng = np.random.default_rng(7)
    made = {
        "normal": rng.normal(0.02, 0.1, (40, 1000)),
        "positive": rng.random((40, 1000)) / 100,
        "tenths": rng.integers(-3, 6, (40, 1000)) * 0.1 / 30,
        "equal": np.full((40, 1000), 0.9 / 1000),
    }[weights].astype(np.float32)
    net = fake.Net.chain(fc=fake.Dense(made, rng.random(40).astype(np.float32)), lif=fake.Lif())
    x = fake.dense_input(rng, 100, 4, 1000, 1.0 if weights == "equal" else 0.3)
    for order in ("serial", rng.permutation(1000)):
        report = compare(fake.FakeSide(net, "a"), fake.FakeSide(net.but("fc", order=order), "b"), x)
        assert report.agree, report
    assert report.steps == 100 and report.neuron_steps == 100 * 4 * 40


@pytest.mark.parametrize(
    "types", [(np.float64, np.float64), (np.float64, np.float32), (np.float32, np.float64)]
)
def test_precisions(types):
    rng = np.random.default_rng(8)
    net, x = tied_net(rng, 60), fake.dense_input(rng, 40, 8, 60, 0.3)
    sides = [fake.FakeSide(net, "a", types[0]), fake.FakeSide(reordered(net, rng), "b", types[1])]
    report = compare(*sides, x)
    assert report.agree, report
    assert report.dtype == " and ".join(dict.fromkeys(np.dtype(t).name for t in types))


def test_recurrent_sums_in_another_order():
    rng = np.random.default_rng(13)
    recurrent = (rng.normal(0, 0.3, (400, 400)).astype(np.float32), rng.random(400).astype(np.float32))
    net = fake.dense_net(rng, (20, 400, 12)).but("lif1", recurrent=recurrent)
    x = fake.dense_input(rng, 20)
    report = compare(fake.FakeSide(net, "a"), fake.FakeSide(net.but("lif1", serial=True), "b"), x)
    assert report.agree, report
    assert report.layers[0].layerwise.max_mem_gap > 0 == report.layers[0].layerwise.max_current_gap


def test_images_convolved_in_another_order():
    rng = np.random.default_rng(9)
    net = fake.image_net(rng)
    other = net.but("conv", backwards=True).but("fc", order="serial")
    report = compare(fake.FakeSide(net, "a"), fake.FakeSide(other, "b"), fake.image_input(rng))
    assert report.agree, report
    assert report.layers[0].layerwise.max_current_gap > 0
    assert [layer.shape for layer in report.layers] == [(4, 6, 6), (6,)]


def test_end_to_end_a_flip_spreads_and_layer_by_layer_it_does_not():
    rng = np.random.default_rng(0)
    net = tied_net(rng, 60, reset="subtract")
    x = fake.dense_input(rng, 60, 16, 60, 0.3)
    report = compare(fake.FakeSide(net, "a"), fake.FakeSide(reordered(net, rng), "b"), x)
    first, second = report.layers
    assert report.agree and first.explained > 0
    assert second.end_to_end.spike_mismatches > second.layerwise.spike_mismatches
    place = first.layerwise.first
    assert place.spk[0] != place.spk[1]
    assert all(abs(mem - place.threshold) <= place.bound < 1e-5 for mem in place.mem)


def test_of_a_neuron_that_flips_again_only_the_first_flip_is_proved_and_the_others_follow():
    rng = np.random.default_rng(0)
    net = tied_net(rng, 60, reset="subtract")
    x = fake.dense_input(rng, 60, 16, 60, 0.3)
    sides = fake.FakeSide(net, "a"), fake.FakeSide(reordered(net, rng), "b")
    report = compare(*sides, x)
    ours = sides[0].run(x)
    theirs = sides[1].replay(x, {name: node.spk for name, node in ours.nodes.items()})
    flips = {name: node.spk != theirs.nodes[name].spk for name, node in ours.nodes.items()}
    for layer in report.layers:
        assert layer.explained == flips[layer.name].sum()
        assert layer.proved == flips[layer.name].any(0).sum()  # one of each neuron that has any
    proved = sum(layer.proved for layer in report.layers)
    assert 0 < proved < report.explained
    assert f": {proved} where rounding error alone decides" in report.verdict
    assert f", {report.explained - proved} that follow from an earlier one" in report.verdict


@pytest.mark.parametrize("keep", [None, ("mem",), ()], ids=["all", "mem", "spikes"])
def test_sides_without_graphs(keep):
    rng = np.random.default_rng(10)
    net, x = fake.dense_net(rng), fake.dense_input(rng)
    sides = [
        fake.Bare(fake.FakeSide(n, label), keep) for n, label in ((net, "a"), (reordered(net, rng), "b"))
    ]
    report = compare(*sides, x)
    assert report.agree, report
    assert {layer.bound_source for layer in report.layers} == {"estimate"}
    assert any("a has no NIR graph" in note for note in report.notes)
    assert any("only spikes are compared" in n for n in report.layers[0].notes) == (keep == ())
    assert (report.layers[0].layerwise.max_mem_gap is None) == (keep == ())


def test_the_graph_of_the_other_side_serves_for_the_bound():
    rng = np.random.default_rng(14)
    net, x = fake.dense_net(rng), fake.dense_input(rng)

    class Mute(fake.Bare):
        def spec(self, name):
            raise ConversionError(name, "its spike_grad is a function of your own", "Use another.")

    report = compare(Mute(fake.FakeSide(net, "a")), fake.FakeSide(reordered(net, rng), "b"), x)
    assert report.agree and {layer.bound_source for layer in report.layers} == {"weights"}
    report = compare(
        Mute(fake.FakeSide(net, "a")),
        fake.FakeSide(net.but("fc1", weight=2 * net.nodes["fc1"].weight), "b"),
        x,
    )
    assert not report.agree and report.first.name == "lif1"


def test_one_side_without_membranes_is_held_to_the_other_sides():
    flips = 0
    for seed in range(6):
        rng = np.random.default_rng(seed)
        net, x = tied_net(rng, 60, reset="subtract"), fake.dense_input(rng, 25, 8, 60, 0.3)
        b = fake.Bare(fake.FakeSide(reordered(net, rng), "b"), ())
        report = compare(fake.FakeSide(net, "a"), b, x)
        assert report.agree, report
        flips += report.explained
    assert flips > 0


def test_magnitudes_that_a_side_computed_itself():
    rng = np.random.default_rng(11)
    net, x = fake.dense_net(rng), fake.dense_input(rng)

    class Knowing(fake.Bare):
        def magnitude(self, x, forced):
            inputs = {"lif1": ("fc1", x), "lif2": ("fc2", forced["lif1"])}
            return {
                name: (
                    np.abs(s) @ np.abs(net.nodes[fc].weight).T + np.abs(net.nodes[fc].bias),
                    s.shape[-1] + 1,
                )
                for name, (fc, s) in inputs.items()
            }

    a, b = fake.FakeSide(net, "a"), fake.FakeSide(reordered(net, rng), "b")
    for sides in ((Knowing(a), fake.Bare(b)), (fake.Bare(a), Knowing(b))):
        report = compare(*sides, x)
        assert report.agree and {layer.bound_source for layer in report.layers} == {"weights"}


def test_other_names_are_paired_by_their_order():
    rng = np.random.default_rng(12)
    net, x = fake.dense_net(rng), fake.dense_input(rng)
    renamed = fake.Net.chain(**{name.replace("lif", "spikes"): node for name, node in net.nodes.items()})
    report = compare(fake.FakeSide(net, "a"), fake.FakeSide(renamed, "b"), x)
    assert report.agree and [layer.name for layer in report.layers] == ["lif1", "lif2"]
    wrong = renamed.but("spikes2", beta=0.8)
    report = compare(fake.FakeSide(net, "a"), fake.FakeSide(wrong, "b"), x)
    assert report.first.name == "lif2" and report.first.cause.kind == "beta"
