"""Cross-validation can fail: each defect planted in a port is found, in the right layer, with the right cause."""

from __future__ import annotations

import jax
import jax.numpy as jnp
import numpy as np
import pytest

torch = pytest.importorskip("torch")
snt = pytest.importorskip("snntorch")

from torch import nn  # noqa: E402

import snnax as snn  # noqa: E402
from snnax import interop, surrogate  # noqa: E402
from snnax.layers import Flatten  # noqa: E402


def _dense(**given):
    torch.manual_seed(1)
    return nn.Sequential(
        nn.Linear(6, 24),
        snt.Leaky(beta=0.9, init_hidden=True, **given),
        nn.Linear(24, 5),
        snt.Leaky(beta=0.8, init_hidden=True, output=True),
    ).eval()


def _conv():
    torch.manual_seed(2)
    return nn.Sequential(
        nn.Conv2d(2, 4, 3, padding=1),
        snt.Leaky(beta=0.8, init_hidden=True),
        nn.Flatten(),
        nn.Linear(4 * 6 * 6, 8),
        snt.Leaky(beta=0.9, init_hidden=True, output=True),
    ).eval()


def _input(*shape, seed=0):
    return np.random.default_rng(seed).uniform(0, 3, shape).astype(np.float32)


def _with(model, name, **changes):
    """The model with some arguments of one node changed."""
    nodes = {n: m.clone(**changes) if n == name else m for n, m in dict(model.nodes).items()}
    return model.clone(nodes=nodes)


def _check(report, name, kind):
    assert not report.agree
    assert report.unexplained > 0
    faulty = [layer.name for layer in report.layers if layer.causes]
    assert faulty[:1] == [name], f"found {faulty}\n{report}"
    causes = {layer.name: [c.kind for c in layer.causes] for layer in report.layers}
    assert causes[name][0] == kind, f"{causes}\n{report}"
    assert name in str(report) and report.to_dict()["agree"] is False


DYNAMICS = [
    ("beta", {"beta": 0.85}),
    ("beta", {"beta": 0.9 * (1 + 1e-4)}),
    ("threshold", {"threshold": 1.1}),
    ("reset mechanism", {"reset_mechanism": "zero"}),
    ("reset mechanism", {"reset_mechanism": "none"}),
    ("reset delay", {"reset_delay": False}),
]


@pytest.mark.parametrize(
    ("kind", "change"), DYNAMICS, ids=[f"{k}-{v}" for k, c in DYNAMICS for v in c.values()]
)
def test_wrong_neuron(kind, change):
    net, x = _dense(), _input(30, 4, 6)
    model, variables = interop.from_snntorch(net, x[0])
    assert interop.crossvalidate(net, (model, variables), x).agree
    _check(interop.crossvalidate(net, (_with(model, "1", **change), variables), x), "1", kind)


def test_fires_at_the_threshold_instead_of_above_it():
    """Dyadic numbers make the membrane meet the threshold exactly."""
    net = nn.Sequential(nn.Linear(3, 4), snt.Leaky(beta=0.5, init_hidden=True)).eval()
    with torch.no_grad():
        net[0].weight.copy_(torch.tensor(np.random.default_rng(0).integers(-2, 5, (4, 3)) / 4.0))
        net[0].bias.zero_()
    x = (np.random.default_rng(1).integers(0, 3, (40, 6, 3)) / 2).astype(np.float32)
    model, variables = interop.from_snntorch(net, x[0])
    assert interop.crossvalidate(net, (model, variables), x).agree

    def at_or_above(u):
        return (u >= 0).astype(u.dtype)

    _check(
        interop.crossvalidate(net, (_with(model, "1", spike_grad=at_or_above), variables), x),
        "1",
        "threshold comparison",
    )


def test_transposed_kernel():
    net, x = _conv(), _input(12, 3, 2, 6, 6)
    model, variables = interop.from_snntorch(net, x[0])
    kernel = variables["params"]["0"]["kernel"]
    wrong = jax.tree.map(lambda v: v, variables)
    wrong["params"]["0"]["kernel"] = jnp.swapaxes(kernel, 0, 1)
    _check(interop.crossvalidate(net, (model, wrong), x), "1", "transposed kernel")


@pytest.mark.parametrize("node", ["0", "3"])
def test_missing_bias(node):
    net, x = _conv(), _input(12, 3, 2, 6, 6)
    model, variables = interop.from_snntorch(net, x[0])
    wrong = jax.tree.map(lambda v: v, variables)
    wrong["params"][node]["bias"] = jnp.zeros_like(wrong["params"][node]["bias"])
    _check(interop.crossvalidate(net, (model, wrong), x), {"0": "1", "3": "4"}[node], "bias")


def test_flatten_in_the_wrong_order():
    net, x = _conv(), _input(12, 3, 2, 6, 6)
    model, variables = interop.from_snntorch(net, x[0])
    wrong = model.clone(nodes={n: Flatten() if n == "2" else m for n, m in dict(model.nodes).items()})
    _check(interop.crossvalidate(net, (wrong, variables), x), "4", "axis order")


def test_wrong_weights():
    net, x = _dense(), _input(20, 4, 6)
    model, variables = interop.from_snntorch(net, x[0])
    wrong = jax.tree.map(lambda v: v, variables)
    kernel = wrong["params"]["2"]["kernel"]
    wrong["params"]["2"]["kernel"] = kernel + 0.05 * jax.random.normal(jax.random.key(0), kernel.shape)
    _check(interop.crossvalidate(net, (model, wrong), x), "3", "weights")


def test_a_defect_in_the_torch_side_is_found_too():
    x = _input(30, 4, 6)
    model, variables = interop.from_snntorch(_dense(), x[0])
    other = _dense(reset_mechanism="zero")
    _check(interop.crossvalidate((model, variables), other, x), "1", "reset mechanism")


def test_report_names_the_first_place_where_they_part():
    net, x = _dense(), _input(30, 4, 6)
    model, variables = interop.from_snntorch(net, x[0])
    report = interop.crossvalidate(net, (_with(model, "1", reset_mechanism="zero"), variables), x)
    first = next(layer for layer in report.layers if layer.name == "1").first
    assert first is not None
    (ours,) = (snn.unroll(_with(model, "1", reset_mechanism="zero"), variables, x, record=["1"])[2],)
    (theirs,) = (snn.unroll(model, variables, x, record=["1"])[2],)
    at = (first.step, first.sample, *first.neuron)
    assert first.mem == pytest.approx((float(theirs["1"]["mem"][at]), float(ours["1"]["mem"][at])), rel=1e-6)
    parted = np.asarray(ours["1"]["mem"] != theirs["1"]["mem"])
    assert (
        not parted[: first.step].any()
        or np.abs(ours["1"]["mem"] - theirs["1"]["mem"])[: first.step].max() < 1e-5
    )


def test_surrogate_shape_does_not_matter_for_spikes():
    net, x = _dense(), _input(10, 2, 6)
    model, variables = interop.from_snntorch(net, x[0])
    other = _with(model, "1", spike_grad=surrogate.fast_sigmoid(slope=5))
    assert interop.crossvalidate(net, (other, variables), x).agree


def test_agreement_says_which_layers_were_silent():
    net, x = _dense(), 0 * _input(4, 2, 6)
    with torch.no_grad():
        net[0].bias.zero_()
    report = interop.crossvalidate(net, interop.from_snntorch(net, x[0]), x)
    assert report.agree and "never spiked" in str(report)
