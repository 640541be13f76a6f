"""snnTorch's LSTM cells, DeltaLeaky, parallel neurons, BatchNormTT and GradedSpikes: there, back, and proven."""

import warnings

import jax
import numpy as np
import pytest

torch = pytest.importorskip("torch")
sn = pytest.importorskip("snntorch")
from snntorch import utils  # noqa: E402
from torch import nn  # noqa: E402

import snnax as snn  # noqa: E402
from snnax import interop  # noqa: E402
from snnax.errors import ConversionError, NIRFileError, ShapeError  # noqa: E402
from snnax.interop.program.module import PortedProgram  # noqa: E402
from snnax.interop.torch.layers import TimedNorm  # noqa: E402

T = 40


class Loop(nn.Module):
    """Runs a step over ``x[T, B, ...]``, and returns the spikes of every step."""

    def forward(self, x):
        self.start()
        return torch.stack([self.step(frame, t) for t, frame in enumerate(x)])


class Cell(Loop):
    """An SLSTM with explicit states, normalised with statistics of each step's own, and a DeltaLeaky."""

    def __init__(self, **options):
        super().__init__()
        self.fc = nn.Linear(6, 5)
        self.bn = sn.BatchNormTT1d(5, T)
        self.lstm = sn.SLSTM(5, 5, threshold=0.05, **options)
        self.delta = sn.DeltaLeaky(0.2, 0.9)
        for norm in self.bn:
            nn.init.uniform_(norm.weight, 0.5, 2.0)
            nn.init.uniform_(norm.running_mean, -0.2, 0.2)
            nn.init.uniform_(norm.running_var, 0.5, 1.5)

    def start(self):
        self.states, self.pair = (None, None), (None, None)

    def step(self, x, t):
        spk, *self.states = self.lstm(self.bn[t](self.fc(x)), *self.states)
        spk, self.pair = self.delta(spk, self.pair)
        return spk


def hidden(**options):
    return nn.Sequential(
        sn.SConv2dLSTM(2, 3, 3, threshold=0.08, init_hidden=True, **options),
        nn.Flatten(),
        nn.Linear(3 * (6 // pool(options)) ** 2, 4),
        sn.Leaky(0.9, init_hidden=True, output=True),
    )


def pool(options):
    return options.get("max_pool", 0) or options.get("avg_pool", 0) or 1


class Parallel(nn.Module):
    """Neurons that take the whole sequence."""

    def __init__(self, **options):
        super().__init__()
        self.fc = nn.Linear(6, 5)
        self.state = sn.StateLeaky(torch.linspace(0.5, 0.95, 5), 5, threshold=0.7, **options)
        self.linear = sn.LinearLeaky(0.8, 5, 7, threshold=0.4, learn_beta=True, kernel_truncation_steps=6)
        self.rnn = sn.LeakyParallel(7, 5, beta=0.7, threshold=0.3)
        self.full = sn.LeakyParallel(5, 4, weight_hh_enable=True, learn_beta=True, threshold=0.3)

    def forward(self, x):
        spk, _ = self.state(self.fc(x))
        spk, mem = self.linear(spk)
        return self.full(self.rnn(spk)), mem


class Filter(nn.Module):
    """StateLeaky as a low-pass filter, and an associative memory on a sequence short enough for snnTorch."""

    def __init__(self, query):
        super().__init__()
        self.filter = sn.StateLeaky(0.7, 6, output=False)
        self.memory = sn.AssociativeLeaky(6, 3, 2, 6, use_q_projection=query)
        nn.init.constant_(self.memory.to_alpha.bias, 3.0)
        nn.init.uniform_(self.memory.to_v.weight, 0.0, 1.0)
        nn.init.uniform_(self.memory.to_k.weight, 0.0, 0.3)

    def forward(self, x):
        return self.memory(self.filter(x))


def delta():
    return nn.Sequential(nn.Linear(6, 5), sn.DeltaLeaky(0.2, 0.9, init_hidden=True))


NETS = {
    "DeltaLeaky": (delta, (6,), T),
    "SLSTM none": (Cell, (6,), T),
    "SLSTM subtract": (lambda: Cell(reset_mechanism="subtract"), (6,), T),
    "SLSTM zero": (lambda: Cell(reset_mechanism="zero", bias=False), (6,), T),
    "SConv2dLSTM": (hidden, (2, 6, 6), T),
    "SConv2dLSTM max": (lambda: hidden(max_pool=2, reset_mechanism="subtract"), (2, 6, 6), T),
    "SConv2dLSTM avg": (lambda: hidden(avg_pool=3, bias=False), (2, 6, 6), T),
    "parallel": (Parallel, (6,), T),
    "parallel graded": (lambda: Parallel(graded_spikes_factor=0.5), (6,), T),
    "filter": (lambda: Filter(False), (6,), 8),
    "filter query": (lambda: Filter(True), (6,), 8),
}


def make(name):
    build, shape, steps = NETS[name]
    torch.manual_seed(1)
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", UserWarning)  # StateLeaky about arguments that a filter does not use
        net = build().eval()
    x = np.random.default_rng(2).normal(0.5, 1.0, (steps, 3, *shape)).astype(np.float32)
    return net, x


def sample_of(net, x):
    return x[0] if isinstance(net, nn.Sequential) else x


@pytest.mark.parametrize("name", NETS)
def test_there_and_back(name):
    net, x = make(name)
    model, variables = interop.from_snntorch(net, sample_of(net, x))
    report = interop.crossvalidate(net, (model, variables), x)
    assert report.agree, str(report)
    assert all(layer.spikes for layer in report.layers if layer.kind != "output"), str(report)
    back = interop.to_snntorch(model, variables)
    report = interop.crossvalidate(net, back, x)
    assert report.agree, str(report)
    assert all(not layer.end_to_end.spike_mismatches for layer in report.layers), str(report)


@pytest.mark.parametrize("name", [n for n in NETS if "filter" not in n])
def test_double_precision_leaves_no_difference(name):
    net, x = make(name)
    model, variables = interop.from_snntorch(net, sample_of(net, x))
    report = interop.crossvalidate(net, (model, variables), x.astype(np.float64))
    assert report.agree, str(report)
    assert all(not layer.end_to_end.spike_mismatches for layer in report.layers), str(report)


@pytest.mark.parametrize("name", ["SLSTM subtract", "SConv2dLSTM max", "parallel"])
def test_files_hold_them_on_request(name, tmp_path):
    net, x = make(name)
    model, variables = interop.from_snntorch(net, sample_of(net, x))
    graph = interop.to_nir(model, variables)
    with pytest.raises((ConversionError, NIRFileError), match="extensions=True"):
        interop.write_nir(tmp_path / "cell.nir", graph)
    interop.write_nir(tmp_path / "cell.nir", graph, extensions=True)
    again = interop.from_nir(tmp_path / "cell.nir")
    first, second = (jax.tree.leaves(snn.unroll(*pair, x)[0]) for pair in ((model, variables), again))
    assert all(np.array_equal(a, b) for a, b in zip(first, second, strict=True))


def kernel(*path):
    def change(variables):
        tree = variables["params"]
        for key in path[:-1]:
            tree[key] = dict(tree[key])
            tree = tree[key]
        tree[path[-1]] = tree[path[-1]].at[0].add(0.01)

    return change


def field(node, **changes):
    def change(model):
        nodes = model.members()
        return model.clone(nodes={**nodes, node: nodes[node].clone(**changes)})

    return change


DEFECTS = {
    "gate": ("SLSTM none", "lstm", "weights", kernel("lstm", "recurrent", "kernel"), None),
    "lstm reset": ("SLSTM subtract", "lstm", "reset mechanism", None, field("lstm", reset_mechanism="zero")),
    "lstm threshold": ("SLSTM none", "lstm", "threshold", None, field("lstm", threshold=0.06)),
    "delta threshold": (
        "SLSTM none",
        "delta",
        "delta_threshold",
        None,
        field("delta", delta_threshold=0.25),
    ),
    "delta beta": ("SLSTM none", "delta", "beta", None, field("delta", beta=0.9001)),
    "conv": ("SConv2dLSTM", "0", "weights", kernel("0", "conv", "kernel"), None),
    "pool": ("SConv2dLSTM max", "0", "neuron class", None, field("0", max_pool=0, avg_pool=2)),
    "linear": ("parallel", "linear", "weights", kernel("linear", "linear", "kernel"), None),
    "tau": ("parallel", "linear", "beta", kernel("linear", "tau"), None),
    "truncation": ("parallel", "linear", "neuron class", None, field("linear", kernel_truncation_steps=7)),
    "feedback": ("parallel", "full", "weights", kernel("full", "recurrent", "kernel"), None),
    "before": ("parallel", "state", "current", kernel("fc", "kernel"), None),
}


@pytest.mark.parametrize("name", DEFECTS)
def test_a_defect_is_found_where_it_is(name):
    which, layer, kind, change, rebuild = DEFECTS[name]
    net, x = make(which)
    model, variables = interop.from_snntorch(net, sample_of(net, x))
    if change is not None:
        variables = {**variables, "params": {k: dict(v) for k, v in variables["params"].items()}}
        if name == "tau":
            variables["params"]["linear"]["tau"] = variables["params"]["linear"]["tau"] * 1.0001
        else:
            change(variables)
    report = interop.crossvalidate(net, (rebuild(model) if rebuild else model, variables), x)
    assert not report.agree
    guilty = [entry for entry in report.layers if entry.unexplained and entry.kind != "output"]
    assert [entry.name for entry in guilty] == [layer], str(report)
    assert guilty[0].causes[0].kind == kind, str(report)


def test_snntorch_loses_small_decays_and_the_report_says_so():
    torch.manual_seed(1)
    net = Filter(False)
    nn.init.constant_(net.memory.to_alpha.bias, -3.0)
    x = np.random.default_rng(2).normal(0.5, 1.0, (20, 3, 6)).astype(np.float32)
    report = interop.crossvalidate(net, interop.from_snntorch(net, x), x)
    (guilty,) = [entry for entry in report.layers if entry.unexplained and entry.kind != "output"]
    assert guilty.name == "memory"
    assert guilty.causes[0].kind == "numerics"
    assert guilty.causes[0].text.startswith("snnTorch's memory")


def test_spikes_scaled_twice_stay_what_they_are():
    net, x = make("parallel graded")
    model, variables = interop.from_snntorch(net, x)
    assert model.members()["state"].graded_spikes_factor == 0.25
    back = interop.to_snntorch(model, variables)
    assert float(back.state.graded_spikes_factor) == 0.5


def test_weights_come_back_to_the_last_bit():
    for name in ("SLSTM none", "SConv2dLSTM max", "parallel", "filter query"):
        net, x = make(name)
        back = interop.to_snntorch(*interop.from_snntorch(net, sample_of(net, x)))
        theirs, ours = net.state_dict(), back.state_dict()
        assert set(theirs) == set(ours), name
        for key, value in theirs.items():
            if not key.endswith((".beta", "num_batches_tracked")):
                assert torch.equal(value, ours[key]), (name, key)


def test_learning_is_kept():
    net, x = make("parallel")
    model, variables = interop.from_snntorch(net, x)
    assert "tau" in variables["params"]["linear"]
    assert "tau" in variables["buffers"]["state"]
    assert "kernel" in variables["params"]["full"]["recurrent"]
    assert "beta" in variables["buffers"]["rnn"]["recurrent"]
    back = interop.to_snntorch(model, variables)
    assert isinstance(back.linear.tau, nn.Parameter)
    assert not isinstance(back.state.tau, nn.Parameter)
    assert back.full.rnn.weight_hh_l0.requires_grad
    assert not back.rnn.rnn.weight_hh_l0.requires_grad


def test_a_norm_of_each_step_counts_its_steps():
    net, x = make("SLSTM none")
    back = interop.to_snntorch(*interop.from_snntorch(net, x))
    assert isinstance(back.bn, TimedNorm)
    with torch.no_grad():
        first = [back.bn(torch.ones(2, 5)) for _ in range(T)]
        with pytest.raises(IndexError, match="reset"):
            back.bn(torch.ones(2, 5))
        back.bn.reset()
        assert torch.equal(back.bn(torch.ones(2, 5)), first[0])
    assert not torch.equal(first[0], first[1])


class Graded(nn.Module):
    def __init__(self, size):
        super().__init__()
        self.lif = sn.Leaky(0.9, init_hidden=True)
        self.graded = sn.GradedSpikes(size, constant_factor=None)

    def forward(self, x):
        return self.graded(self.lif(x))


@pytest.mark.parametrize(("size", "shape"), [(1, (4,)), (4, (4, 3)), (4, (2, 4, 3))])
def test_graded_spikes(size, shape):
    torch.manual_seed(0)
    net = Graded(size)
    x = np.random.default_rng(0).normal(0.5, 1.0, (10, 2, *shape)).astype(np.float32)
    model, variables = interop.from_snntorch(net, x[0])
    assert interop.crossvalidate(net, (model, variables), x).agree
    assert variables["params"]["graded"]["scale"].size == size
    back = interop.to_snntorch(model, variables)
    assert interop.crossvalidate(net, back, x).agree
    assert back.graded.scale.numel() == size


def test_our_graded_spikes_scale_the_neurons():
    net = snn.Sequential([snn.Leaky(0.9, init_hidden=True), snn.GradedSpikes(4)])
    x = np.random.default_rng(0).normal(0.5, 1.0, (10, 2, 4)).astype(np.float32)
    variables = net.init(jax.random.key(0), x[0])
    assert interop.crossvalidate((net, variables), interop.to_snntorch(net, variables, x[0]), x).agree


AS_THEY_ARE = {
    "forgets": (lambda: nn.Sequential(sn.SLSTM(6, 4, init_hidden=True)), (2, 6)),
    "samples": (lambda: Graded(2), (2, 6)),
}


@pytest.mark.parametrize("name", AS_THEY_ARE)
def test_bugs_that_no_layer_has_are_ported_as_they_are(name):
    torch.manual_seed(0)
    build, shape = AS_THEY_ARE[name]
    net = build().eval()
    x = np.random.default_rng(0).normal(1.0, 1.0, shape).astype(np.float32)
    model, variables = interop.from_snntorch(net, x)
    assert isinstance(model, PortedProgram)
    utils.reset(net)
    np.testing.assert_allclose(model.apply(variables, x), net(torch.tensor(x)).detach(), atol=1e-6)


def test_a_sequence_has_time_and_a_batch():
    with pytest.raises(ShapeError, match="all time steps at once"):
        interop.from_snntorch(
            nn.Sequential(nn.Flatten(), sn.StateLeaky(0.9, 12)), np.zeros((5, 2, 6), np.float32)
        )
    with pytest.raises(ShapeError, match=r"\[T, B, N\]"):
        interop.from_snntorch(nn.Sequential(sn.LeakyParallel(6, 4)), np.zeros((5, 6), np.float32))


def test_steps_and_sequences_do_not_mix_in_snntorch():
    net = snn.Sequential([snn.StateLeaky(0.9, 4, init_hidden=True), snn.Leaky(0.9, init_hidden=True)])
    x = np.ones((2, 4), np.float32)
    with pytest.raises(ConversionError, match="one time step"):
        interop.to_snntorch(net, net.init(jax.random.key(0), x), x)
