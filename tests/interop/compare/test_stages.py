"""Stages evaluated on recorded spikes, against torch and against numbers by hand."""

from __future__ import annotations

import nir
import numpy as np
import pytest
from helpers import fake_sides as fake

from snnax.errors import ConversionError
from snnax.interop.compare import stages
from snnax.interop.compare.stages import Edit, Stages, edited
from snnax.interop.nir.extension import Extension
from snnax.interop.trace import NodeTrace, Trace

torch = pytest.importorskip("torch")

RNG = np.random.default_rng(0)


def normal(*shape: int) -> np.ndarray:
    return RNG.normal(size=shape)


def conv2d(stride=(1, 1), padding=(0, 0), dilation=(1, 1), groups=1, kernel=(3, 2)):
    weight, bias = normal(6, 4 // groups, *kernel), normal(6)
    node = nir.Conv2d(None, weight, stride, padding, dilation, groups, bias)
    numbers = padding if isinstance(padding, str) else tuple(np.broadcast_to(padding, 2))

    def torch_conv(x):
        given = [torch.as_tensor(a) for a in (x, weight, bias)]
        return torch.nn.functional.conv2d(*given, stride, numbers, dilation, groups)

    return node, torch_conv, (4, 9, 8)


def conv1d(stride=1, padding=0, dilation=1, groups=1):
    weight, bias = normal(6, 4 // groups, 3), normal(6)
    node = nir.Conv1d(None, weight, stride, padding, dilation, groups, bias)

    def torch_conv(x):
        given = [torch.as_tensor(a) for a in (x, weight, bias)]
        return torch.nn.functional.conv1d(*given, stride, padding, dilation, groups)

    return node, torch_conv, (4, 11)


def pool(kind, size, stride, padding, rank=2):
    options = {"kernel_size": [size] * rank, "stride": [stride] * rank, "padding": [padding] * rank}
    node = Extension(f"{kind}Pool{rank}d", options=options)
    if kind != "Max" and rank == 2:
        node = getattr(nir, f"{kind}Pool2d")(*(np.array(v) for v in options.values()))
    layer = getattr(torch.nn, f"{'Max' if kind == 'Max' else 'Avg'}Pool{rank}d")(size, stride, padding)
    factor = size**rank if kind == "Sum" else 1
    return node, lambda x: layer(torch.as_tensor(x)) * factor, (3, 8, 8)[: rank + 1]


def batch_norm(affine):
    layer = torch.nn.BatchNorm2d(3, affine=affine).double().eval()
    layer.running_mean.uniform_(-1, 1)
    layer.running_var.uniform_(0.5, 2)
    arrays = {k: v.numpy() for k, v in layer.state_dict().items() if k != "num_batches_tracked"}
    if affine:
        arrays["weight"], arrays["bias"] = normal(3), normal(3)
        layer.load_state_dict({k: torch.as_tensor(v) for k, v in arrays.items()}, strict=False)
    return (
        Extension("BatchNorm", arrays, {"eps": layer.eps, "momentum": 0.1}),
        lambda x: layer(torch.as_tensor(x)),
        (3, 4, 5),
    )


def linear(bias):
    weight, b = normal(5, 7), normal(5)
    node = nir.Affine(weight, b) if bias else nir.Linear(weight)
    return node, lambda x: torch.as_tensor(x) @ torch.as_tensor(weight).T + bias * torch.as_tensor(b), (7,)


CASES = {
    "linear": linear(False),
    "affine": linear(True),
    "conv2d": conv2d(),
    "strides": conv2d((2, 3), (1, 2)),
    "dilated": conv2d(padding=(2, 1), dilation=(2, 1)),
    "groups": conv2d(groups=2, stride=(2, 1)),
    "same": conv2d(padding="same", kernel=(3, 5), dilation=(2, 1)),
    "valid": conv2d(padding="valid"),
    "conv1d": conv1d(2, 1),
    "conv1d-groups": conv1d(1, 2, 2, 2),
    "avg": pool("Avg", 3, 2, 1),
    "avg1d": pool("Avg", 2, 2, 0, 1),
    "sum": pool("Sum", 2, 2, 0),
    "max": pool("Max", 3, 2, 1),
    "max1d": pool("Max", 2, 1, 0, 1),
    "norm": batch_norm(False),
    "norm-affine": batch_norm(True),
    "flatten": (
        nir.Flatten({"input": np.array([2, 3, 4])}, 0, -1),
        lambda x: torch.as_tensor(x).flatten(1),
        (2, 3, 4),
    ),
    "flatten-some": (
        nir.Flatten({"input": np.array([2, 3, 4])}, 1, -1),
        lambda x: torch.as_tensor(x).flatten(2),
        (2, 3, 4),
    ),
    "scale": (
        nir.Scale(np.array([2.0, -3.0])),
        lambda x: torch.as_tensor(x) * torch.tensor([2.0, -3.0]),
        (2,),
    ),
    "reshape": (
        Extension("Reshape", options={"shape": [4, 6]}),
        lambda x: torch.as_tensor(x).reshape(-1, 4, 6),
        (24,),
    ),
    "threshold": (
        nir.Threshold(np.array([0.2, -0.3])),
        lambda x: (torch.as_tensor(x) > torch.tensor([0.2, -0.3])).double(),
        (2,),
    ),
    "dropout": (Extension("Dropout", options={"p": 0.5}), torch.as_tensor, (5,)),
}


@pytest.mark.parametrize("case", CASES)
def test_each_node_computes_what_torch_computes(case):
    node, expected, shape = CASES[case]
    x = normal(3, *shape)
    y = expected(x).detach().numpy()
    np.testing.assert_allclose(stages.apply(node, x), y, rtol=1e-12, atol=1e-12)
    bound = stages.apply(stages.absolute(node), np.abs(x))
    assert (np.abs(y) <= bound * (1 + 1e-12)).all()
    assert stages.terms(node) >= 0


@pytest.mark.parametrize(
    ("node", "count"),
    [
        (CASES["linear"][0], 7),
        (CASES["affine"][0], 8),
        (CASES["conv2d"][0], 25),
        (CASES["groups"][0], 13),
        (CASES["avg"][0], 10),
        (CASES["max1d"][0], 3),
        (CASES["flatten"][0], 0),
    ],
)
def test_terms_count_the_fan_in(node, count):
    assert stages.terms(node) == count


def test_repeats_count_equal_weights():
    weight = np.array([[1.0, -1.0, 1.0, 0.0], [1.0, 2.0, 3.0, 4.0]])
    assert stages.repeats(nir.Linear(weight)) == 3
    assert stages.repeats(nir.Linear(weight[1:])) == 1
    assert stages.repeats(CASES["flatten"][0]) == 1


def test_a_node_that_is_not_known_is_refused():
    with pytest.raises(ConversionError, match=r"Delay.*cannot be evaluated"):
        stages.apply(nir.Delay(np.ones(2)), normal(1, 2))


def test_numbers_that_single_precision_does_not_hold_round_once_more():
    weight = np.array([[1.0, 0.5]])
    assert not stages.in_double(nir.Linear(weight)) and stages.in_double(nir.Linear(weight / 3))
    assert not stages.in_double(nir.Linear((weight / 3).astype(np.float32)))


def test_a_loop_that_is_no_part_of_a_layer_is_part_of_its_current():
    """A neuron, on itself, by weights and behind a delay: all of that is in what it receives."""
    spk = (RNG.random((6, 2, 3)) < 0.5) * normal(6, 2, 3)
    late = np.concatenate([np.zeros_like(spk[:1]), spk[:-1]])
    x, weight = normal(6, 2, 3), normal(3, 3)
    nodes = {
        "input": nir.Input({"input": np.array([3])}),
        "n": nir.LI(np.full(3, 1e-3), np.ones(3), np.zeros(3)),
        "w": nir.Linear(weight),
        "d": nir.Delay(np.full(3, 2e-4)),
        "output": nir.Output({"output": np.array([3])}),
    }
    edges = [("input", "n"), ("n", "n"), ("n", "w"), ("w", "n"), ("n", "output")]
    run = Trace({"n": NodeTrace("n", "LI", x, spk, {"mem": spk})}, ())
    stages = Stages(nir.NIRGraph(nodes, edges, type_check=False), run, x)
    np.testing.assert_allclose(stages.current("n"), x + late + late @ weight.T, rtol=1e-12)
    assert stages.loops("n") == [] and stages.sources("n") == ("input", "n")
    assert stages.terms("n") == 3 + 2 + 2  # weights, sums, roundings of the weights and of the membrane
    edges = [("input", "d"), ("d", "n"), ("n", "output")]
    stages = Stages(nir.NIRGraph(nodes, edges, type_check=False), run, x)
    magnitude = stages.current("n", mode="magnitude")
    np.testing.assert_array_equal(magnitude, np.maximum.accumulate(np.abs(x)))
    with pytest.raises(ConversionError, match="delays"):
        stages.current("n")


def image_stages():
    net = fake.image_net(np.random.default_rng(3))
    side, x = fake.FakeSide(net, "a"), fake.image_input(np.random.default_rng(4))
    trace = side.run(x)
    return Stages(side.graph(), trace, x), trace, x


@pytest.mark.parametrize("layer", ["lif1", "lif2"])
def test_a_stage_reproduces_the_recorded_current(layer):
    stages, trace, _ = image_stages()
    np.testing.assert_allclose(stages.current(layer), trace.nodes[layer].input, rtol=1e-5, atol=1e-5)
    magnitude = stages.current(layer, mode="magnitude")
    assert (np.abs(trace.nodes[layer].input) <= magnitude * (1 + 1e-6)).all()
    part = stages.current(layer, np.array([2, 0]))
    np.testing.assert_allclose(part, stages.current(layer)[:, [2, 0]], rtol=1e-12)
    assert not stages.current(layer, mode="gap").any()


def test_what_a_stage_is_made_of():
    stages, _, _ = image_stages()
    assert stages.nodes("lif2") == ["pool", "flat", "fc"]
    assert stages.sources("lif2") == ("lif1",) and stages.sources("lif1") == ("input",)
    assert stages.terms("lif2") == 5 + 4 * 9 + 1
    assert stages.current("output").shape == (20, 3, 6)
    with pytest.raises(ConversionError, match="no node of this name"):
        stages.current("lif9")


def test_edits_change_the_answer():
    stages, _, _ = image_stages()
    silent = edited(stages.flat.nodes["fc"], bias=np.zeros(6))
    gap = stages.current("lif2") - stages.current("lif2", edit=Edit({"fc": silent}))
    np.testing.assert_allclose(gap, np.broadcast_to(stages.flat.nodes["fc"].bias, gap.shape), rtol=1e-5)
    with pytest.raises(ConversionError, match="nothing feeds"):
        stages.current("lif2", edit=Edit(without=frozenset([("lif1", "pool")])))


def test_a_recurrent_layer_keeps_its_loop_out_of_its_stage():
    rng = np.random.default_rng(5)
    recurrent = (rng.normal(size=(16, 16)).astype(np.float32), np.ones(16, np.float32))
    side = fake.FakeSide(fake.dense_net(rng).but("lif1", recurrent=recurrent), "a")
    x = fake.dense_input(rng)
    trace = side.run(x)
    stages = Stages(side.graph(), trace, x)
    assert stages.nodes("lif1") == ["fc1"] and stages.loops("lif1.lif") == ["lif1.w_rec"]
    np.testing.assert_allclose(stages.current("lif1"), trace.nodes["lif1"].input, rtol=1e-5, atol=1e-5)
    np.testing.assert_allclose(stages.current("lif2"), trace.nodes["lif2"].input, rtol=1e-5, atol=1e-5)


def test_a_stage_may_read_a_state_and_a_later_layer():
    """lif2 reads lif1's membrane, lif1 what lif2 did a step before."""
    spec = fake.Lif().spec()
    spikes = {n: (RNG.random((4, 2, 3)) < 0.5).astype(float) for n in ("lif1", "lif2")}
    mems = {n: normal(4, 2, 3) for n in spikes}
    traces = [
        Trace({n: NodeTrace(n, "Leaky", s, s, {"mem": mems[n] + shift}) for n, s in spikes.items()}, ())
        for shift in (0.0, 1e-3)
    ]
    weight = normal(3, 3)
    lifs = {n: fake.node_from_spec(n, spec, (3,), 1e-4) for n in spikes}
    nodes = {
        "input": nir.Input({"input": np.array([3])}),
        "state": Extension("State", options={"state": "mem"}),
        "fc": nir.Affine(weight, np.ones(3)),
        **lifs,
        "output": nir.Output({"output": np.array([3])}),
    }
    edges = [
        ("input", "lif1"),
        ("lif1", "state"),
        ("state", "fc"),
        ("fc", "lif2"),
        ("lif2", "lif1"),
        ("lif2", "output"),
    ]
    x = normal(4, 2, 3)
    stages = Stages(nir.NIRGraph(nodes, edges, type_check=False), traces[0], x, traces[1])
    assert stages.reads_states
    np.testing.assert_allclose(stages.current("lif2"), mems["lif1"] @ weight.T + 1, rtol=1e-12)
    late = np.concatenate([np.zeros((1, 2, 3)), spikes["lif2"][:-1]])
    np.testing.assert_allclose(stages.current("lif1"), x + late, rtol=1e-12)
    gap = stages.current("lif2", mode="gap")
    np.testing.assert_allclose(gap, np.broadcast_to(1e-3 * np.abs(weight).sum(1), gap.shape), rtol=1e-6)
