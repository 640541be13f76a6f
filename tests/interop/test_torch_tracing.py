"""Tracing finds the one step of every network that users write, or says why there is none."""

from __future__ import annotations

import copy
from typing import Any

import numpy as np
import pytest

pytest.importorskip("snntorch")

import snntorch as snn
import torch
import torch.nn.functional as F
from torch import nn

from snnax.errors import ArgumentError, ConversionError, ShapeError, SnnaxError, TrainingModeError
from snnax.interop.snntorch.step_graph import Source, StepGraph
from snnax.interop.snntorch.tracing import trace
from torch_zoo import CASES, Block, Case, ConstantFrame, OneStep, Sequence, T, hidden_sequential


class Net(nn.Module):
    """A network whose ``forward`` is given as a function of the network and its input."""

    def __init__(self, forward: Any, *, hidden: bool = False, **layers: nn.Module) -> None:
        super().__init__()
        self.fc1, self.fc2 = nn.Linear(4, 4), nn.Linear(4, 4)
        self.lif1, self.lif2 = (snn.Leaky(beta=0.9, init_hidden=hidden) for _ in range(2))
        for name, layer in layers.items():
            setattr(self, name, layer)
        self.body = forward

    def forward(self, x):
        return self.body(self, x)


def loop(step: Any, steps: int = 5) -> Any:
    """A forward that runs ``step(net, x, mem, t) -> spk, mem`` over a constant frame and stacks."""

    def forward(net, x):
        mem, spikes = net.lif1.reset_mem(), []
        for t in range(steps):
            spk, mem = step(net, x, mem, t)
            spikes.append(spk)
        return torch.stack(spikes)

    return forward


def wiring(graph: StepGraph) -> list[tuple[str, ...]]:
    """Each node with the outputs that it reads."""
    return [(n.name, *(f"{s.node}.{s.port}" for s in n.inputs)) for n in graph.nodes]


X = torch.rand(3, 4)


# What is found -----------------------------------------------------------------------------------------


@pytest.mark.parametrize("case", CASES, ids=lambda case: case.name)
def test_every_network_of_the_zoo_is_one_step(case: Case):
    graph = trace(case.build(), case.sample)
    assert graph.mode == case.mode
    assert graph.input_shape == case.shape
    assert graph.num_steps == (None if case.mode == "step" else T)
    assert graph.batch_size == 3
    names = {"input"}
    for node in graph.nodes:
        assert all(source.node in names for source in node.inputs)
        names.add(node.name)
    assert len(names) == len(graph.nodes) + 1
    assert all(source.node in names for source in graph.outputs)


def test_loop_and_explicit_states_give_the_graph_of_the_sequential():
    constant = trace(ConstantFrame().eval(), torch.rand(2, 7))
    assert wiring(constant) == [
        ("fc1", "input.out"),
        ("lif1", "fc1.out"),
        ("fc2", "lif1.spk"),
        ("lif2", "fc2.out"),
    ]
    assert constant.outputs == (Source("lif2", "spk"), Source("lif2", "mem"))
    assert not constant.single
    sequential = trace(hidden_sequential(), torch.rand(2, 7))
    assert [n.shape for n in sequential.nodes] == [n.shape for n in constant.nodes] == [(9,), (9,), (4,), (4,)]


def test_modules_are_the_users_own():
    net = ConstantFrame().eval()
    assert [n.module for n in trace(net, torch.rand(2, 7)).nodes] == [net.fc1, net.lif1, net.fc2, net.lif2]


def test_functional_operations_become_modules_that_share_parameters():
    case = next(c for c in CASES if c.name == "functional")
    net = case.build()
    graph = trace(net, case.sample)
    assert [n.name for n in graph.nodes] == [
        "conv2d_1", "batch_norm_1", "lif1", "lp_pool2d_1", "flatten_1", "linear_1", "lif2",
    ]  # fmt: skip
    assert graph.node("conv2d_1").module.weight is net.weight
    assert graph.node("conv2d_1").module.stride == (2, 2)
    assert graph.node("batch_norm_1").module.running_mean is net.norm.running_mean
    assert graph.node("linear_1").module.bias is net.fc.bias
    assert isinstance(graph.node("lp_pool2d_1").module, nn.LPPool2d)


@pytest.mark.parametrize("name", ["functional", "tutorial_conv", "preallocated", "images"])
def test_functional_modules_compute_the_same(name: str):
    """Feeding each node of the step its inputs reproduces what the network returns in its first step."""
    case = next(c for c in CASES if c.name == name)
    net = case.build()
    graph = trace(net, case.sample)
    x = torch.from_numpy(case.sequence(T)[0])
    values = {Source("input"): x}
    for node in copy.deepcopy(graph.nodes):
        inputs = [values[source] for source in node.inputs]
        if isinstance(node.module, snn.SpikingNeuron):
            node.module.output = True
            spk, mem = node.module(*inputs)
            values[Source(node.name, "spk")], values[Source(node.name, "mem")] = spk, mem
        else:
            values[Source(node.name)] = node.module(*inputs)
        assert all(v.shape[1:] == node.shape for source, v in values.items() if source.node == node.name)
    with torch.no_grad():
        result = net(torch.from_numpy(case.sample))
    first = (result if graph.mode == "step" else result[0]) if graph.single else result[0]
    first = first if graph.mode == "step" or graph.single else first[0]
    torch.testing.assert_close(values[graph.outputs[0]], first, rtol=1e-5, atol=1e-6)


def test_sums_scales_and_their_order():
    case = next(c for c in CASES if c.name == "residual")
    graph = trace(case.build(), case.sample)
    ops = {n.name: (n.op, n.factor) for n in graph.nodes if n.op != "module"}
    assert ops == {
        "add_1": ("add", None), "scale_1": ("scale", 0.5), "scale_2": ("scale", -1.0), "add_2": ("add", None),
        "add_3": ("add", None), "scale_3": ("scale", -0.25), "add_4": ("add", None), "scale_4": ("scale", 0.5),
    }  # fmt: skip
    assert ("add_3", "add_2.out", "scale_2.out") in wiring(graph)


def test_reused_modules_are_nodes_of_their_own():
    case = next(c for c in CASES if c.name == "reused")
    graph = trace(case.build(), case.sample)
    assert [n.name for n in graph.nodes] == ["fc1", "lif", "fc2", "lif#2", "fc2#2", "lif#3"]
    assert {n.name: n.shared_with for n in graph.nodes if n.shared_with} == {
        "lif#2": "lif", "lif#3": "lif", "fc2#2": "fc2"
    }  # fmt: skip


def test_explicit_states_of_a_step_are_threaded():
    graph = trace(OneStep().eval(), torch.rand(2, 7))
    assert graph.state_args == (
        (1, Source("lif1", "syn")), (2, Source("lif1", "mem")), (3, Source("lif2", "spk")), (4, Source("lif2", "mem")),
    )  # fmt: skip
    assert [graph.outputs[index] for index, _ in graph.state_outputs] == [s for _, s in graph.state_outputs]


@pytest.mark.parametrize("states", [(None, None), (torch.zeros(2, 6), torch.zeros(2, 6)), (torch.ones(2, 6), None)])
def test_a_sample_may_hold_the_states(states: Any):
    graph = trace(OneStep().eval(), (torch.rand(2, 7), *states))
    assert [position for position, _ in graph.state_args] == [1, 2, 3, 4]


def test_an_argument_that_is_no_state_is_kept():
    case = next(c for c in CASES if c.name == "with_steps")
    graph = trace(case.build(), (case.sample, 4))
    assert graph.num_steps == 4
    assert graph.args[1] == 4


@pytest.mark.parametrize("style", ["batch_first", "transposed"])
def test_time_may_be_the_second_axis(style: str):
    graph = trace(Sequence(style).eval(), torch.rand(3, T, 7))
    assert (graph.mode, graph.num_steps, graph.batch_size, graph.input_shape) == ("sequence", T, 3, (7,))
    assert (graph.time_axis, graph.output_axes) == (1, (1,))


@pytest.mark.parametrize("steps", [1, 2])
def test_short_loops_are_loops(steps: int):
    graph = trace(Sequence("index").eval(), torch.rand(steps, 3, 7))
    assert (graph.mode, graph.num_steps) == ("sequence", steps)
    graph = trace(Net(loop(lambda n, x, mem, t: n.lif1(n.fc1(x), mem), steps)), X)
    assert (graph.mode, graph.num_steps) == ("constant", steps)


@pytest.mark.parametrize("batch", [1, 2])
def test_a_batch_of_one_is_a_batch(batch: int):
    for case in CASES:
        x = case.sequence(T, batch)
        graph = trace(case.build(), x if case.mode == "sequence" else x[0])
        reference = trace(case.build(), case.sample)
        assert wiring(graph) == wiring(reference), case.name
        assert graph.batch_size == batch


def test_a_single_neuron_is_a_network():
    graph = trace(snn.Leaky(beta=0.9, init_hidden=True), X)
    assert wiring(graph) == [("Leaky", "input.out")]


def test_a_neuron_that_feeds_nothing_is_still_a_node():
    graph = trace(Net(lambda n, x: (n.lif1(n.fc1(x)), n.lif2(n.fc2(x)))[0], hidden=True), X)
    assert [n.name for n in graph.nodes] == ["fc1", "lif1", "fc2", "lif2"]


def test_compiled_and_subclassed_layers_are_what_they_wrap():
    class Brief(snn.Leaky):
        def __init__(self) -> None:
            super().__init__(beta=0.5, init_hidden=True)

    class Own(nn.Linear):
        def forward(self, x):
            return F.linear(x, self.weight, self.bias)

    graph = trace(torch.compile(nn.Sequential(Own(4, 3), Brief())), X)
    assert [n.name for n in graph.nodes] == ["linear_1", "1"]


# What is left alone ------------------------------------------------------------------------------------


def test_the_network_is_left_as_it_was():
    net = ConstantFrame().train(False)
    spk, mem = net(torch.rand(2, 7))
    (spk.sum() + mem.sum()).backward()
    before = {k: v.detach().clone() for k, v in net.named_buffers()}
    hooked = {name: dict(vars(module)) for name, module in net.named_modules()}
    alive = list(snn.SpikingNeuron.instances)
    state = torch.random.get_rng_state()
    trace(net, torch.rand(2, 7).double().numpy())
    assert all(torch.equal(before[k], v) for k, v in net.named_buffers())
    assert net.lif1.mem.shape == (2, 9) and net.lif1.mem.grad_fn is not None
    assert {name: dict(vars(module)) for name, module in net.named_modules()} == hooked
    assert snn.SpikingNeuron.instances == alive
    torch.rand(2, 7)
    assert torch.get_default_dtype() == torch.float32
    torch.random.set_rng_state(state)


def test_other_networks_keep_their_states_when_forward_resets():
    other = snn.Leaky(beta=0.9, init_hidden=True)
    other(torch.ones(1, 2))
    case = next(c for c in CASES if c.name == "constant_hidden")
    trace(case.build(), case.sample)
    assert other.mem.tolist() == [[1.0, 1.0]]


def test_the_sample_is_not_changed():
    def forward(net, x):
        x += 0
        return net.lif1(net.fc1(x.mul_(2.0)))

    x = np.ones((3, 4), np.float32)
    graph = trace(Net(forward, hidden=True), x)
    assert (x == 1).all()
    assert graph.nodes[0].factor == 2.0


# What is refused ---------------------------------------------------------------------------------------


class Spike(torch.autograd.Function):
    @staticmethod
    def forward(ctx, x):
        return (x > 1).float()


class Own(snn.Leaky):
    def forward(self, x, mem=None):
        return super().forward(x * 2, mem)


def poisoned(value: float) -> nn.Module:
    net = Net(lambda n, x: n.lif1(n.fc1(x)), hidden=True)
    with torch.no_grad():
        net.fc1.weight[0, 0] = value
    return net


def bad_threshold() -> nn.Module:
    net = Net(lambda n, x: n.lif1(n.fc1(x)), hidden=True)
    net.lif2.threshold.fill_(float("nan"))
    return net


def hidden(forward: Any, **layers: nn.Module) -> nn.Module:
    return Net(forward, hidden=True, **layers)


def one(forward: Any) -> Any:
    """A step of ``loop`` whose current is a function of the network, the frame and the time."""
    return loop(lambda n, x, mem, t: n.lif1(forward(n, x, t), mem))


def swapped(net, x):
    mem1, mem2, out = net.lif1.reset_mem(), net.lif2.reset_mem(), []
    for _ in range(4):
        spk, new1 = net.lif1(net.fc1(x), mem1)
        spk, mem1 = net.lif1(net.fc2(spk), mem2)
        mem2 = new1
        out.append(spk)
    return torch.stack(out)


def feedback(net, x):
    mem, out, spk = net.lif1.reset_mem(), [], None
    for _ in range(4):
        cur = net.fc1(x) if spk is None else net.fc1(x) + net.fc2(spk)
        spk, mem = net.lif1(cur, mem)
        out.append(spk)
    return torch.stack(out)


def accumulated(net, x):
    mem, total = net.lif1.reset_mem(), 0
    for _ in range(4):
        spk, mem = net.lif1(net.fc1(x), mem)
        total = total + spk
    return total


def last(net, x):
    mem = net.lif1.reset_mem()
    for t in range(x.shape[0]):
        spk, mem = net.lif1(net.fc1(x[t]), mem)
    return spk


def backwards(net, x):
    mem, out = net.lif1.reset_mem(), []
    for t in reversed(range(x.shape[0])):
        spk, mem = net.lif1(net.fc1(x[t]), mem)
        out.append(spk)
    return torch.stack(out)


def whole_sequence(net, x):
    y = net.norm(x)
    return torch.stack([net.lif1(y[t]) for t in range(len(x))])


def aliased(net, x):
    y = net.fc1(x)
    view = y.view_as(y)
    y += x
    return net.lif1(view)


REFUSED = [
    # name, network, sample, error, words of the message
    ("no neuron", lambda: nn.Sequential(nn.Linear(4, 2)), X, ConversionError, ["Sequential", "no snnTorch neuron"]),
    ("no module", lambda: 3, X, ArgumentError, ["torch.nn.Module", "int"]),
    ("batch norm training", lambda: nn.Sequential(nn.BatchNorm1d(4), snn.Leaky(0.9, init_hidden=True)), X,
     TrainingModeError, ["'0'", "BatchNorm1d", "net.eval()"]),
    ("dropout training", lambda: nn.Sequential(nn.Dropout(0.1), snn.Leaky(0.9, init_hidden=True)), X,
     TrainingModeError, ["'0'", "Dropout", "net.eval()"]),
    ("F.dropout training", lambda: hidden(lambda n, x: n.lif1(F.dropout(n.fc1(x)))), X, TrainingModeError,
     ["dropout", "net.eval()"]),
    ("batch statistics", lambda: nn.Sequential(
        nn.BatchNorm1d(4, track_running_stats=False), snn.Leaky(0.9, init_hidden=True)).eval(), X, ConversionError,
     ["'0'", "running statistics"]),
    ("NaN weight", lambda: poisoned(float("nan")), X, ConversionError, ["'fc1'", "weight", "1 values", "NaN"]),
    ("inf weight", lambda: poisoned(float("inf")), X, ConversionError, ["'fc1'", "weight", "infinite"]),
    ("NaN buffer", bad_threshold, X, ConversionError, ["'lif2'", "threshold"]),
    ("features", lambda: hidden(lambda n, x: n.lif1(n.fc1(x))), torch.rand(3, 5), ShapeError,
     ["'fc1'", "Linear", "(3, 5)", "(B, 4)"]),
    ("channels", lambda: nn.Sequential(nn.Conv2d(2, 3, 3), snn.Leaky(0.9, init_hidden=True)), torch.rand(1, 1, 5, 5),
     ShapeError, ["'0'", "Conv2d", "(1, 1, 5, 5)", "(B, 2, H, W)"]),
    ("no batch", lambda: nn.Sequential(nn.Conv2d(2, 3, 3), snn.Leaky(0.9, init_hidden=True)), torch.rand(2, 5, 5),
     ShapeError, ["'0'", "(2, 5, 5)", "batch axis", "sample[None]"]),
    ("vector", lambda: hidden(lambda n, x: n.lif1(n.fc1(x))), torch.rand(4), ShapeError, ["(4,)", "[B, ...]"]),
    ("bad view", lambda: hidden(lambda n, x: n.lif1(n.fc1(x.view(3, 9)))), X, ShapeError, ["view", "'Net'", "(3, 4)"]),
    ("bug in forward", lambda: hidden(lambda n, x: n.lif1(n.missing(x))), X, ConversionError,
     ["AttributeError", "missing", "(3, 4)"]),
    ("relu", lambda: hidden(lambda n, x: n.lif1(torch.relu(n.fc1(x)))), X, ConversionError, ["'Net'", "relu"]),
    ("relu in a block", lambda: nn.Sequential(Block(4), hidden(lambda n, x: n.lif1(n.fc1(x).sigmoid()))), X,
     ConversionError, ["'1'", "sigmoid"]),
    ("cat", lambda: hidden(lambda n, x: n.lif1(torch.cat([n.fc1(x)[:, :2], n.fc2(x)[:, :2]], 1))), X, ConversionError,
     ["'Net'", "getitem"]),
    ("cat of branches", lambda: nn.Sequential(hidden(lambda n, x: n.lif1(torch.cat([n.fc1(x), n.fc2(x)], 1)))), X,
     ConversionError, ["'0'", "cat", "nn.Linear"]),
    ("product", lambda: hidden(lambda n, x: n.lif1(n.fc1(x) * n.fc2(x))), X, ConversionError, ["'Net'", "mul"]),
    ("parameter product", lambda: hidden(lambda n, x: n.lif1(n.fc1(x) * n.fc2.bias)), X, ConversionError, ["mul"]),
    ("matrix product", lambda: hidden(lambda n, x: n.lif1(x @ n.fc1.weight)), X, ConversionError,
     ["matmul", "nn.Linear"]),
    ("constant term", lambda: hidden(lambda n, x: n.lif1(n.fc1(x) + 0.5)), X, ConversionError, ["adds a number", "bias"]),
    ("constant tensor", lambda: hidden(lambda n, x: n.lif1(n.fc1(x) + torch.ones(3, 4))), X, ConversionError,
     ["not computed from the sample"]),
    ("bias term", lambda: hidden(lambda n, x: n.lif1(n.fc1(x) + n.fc1.bias)), X, ConversionError, ["broadcast", "bias"]),
    ("noise", lambda: hidden(lambda n, x: n.lif1(n.fc1(x) + torch.rand_like(x))), X, ConversionError, ["add"]),
    ("custom function", lambda: hidden(lambda n, x: n.lif1(n.fc2(Spike.apply(n.fc1(x))))), X, ConversionError,
     ["'Net'"]),
    ("computed weight", lambda: hidden(lambda n, x: n.lif1(F.linear(x, n.fc1.weight.sign()))), X, ConversionError,
     ["linear"]),
    ("item", lambda: hidden(lambda n, x: n.lif1(n.fc1(x) * x.mean().item())), X, ConversionError, ["item", "'Net'"]),
    ("condition", lambda: hidden(lambda n, x: n.lif1(n.fc1(x)) if x.sum() > 0 else n.lif2(x)), X, ConversionError,
     ["__bool__", "control flow"]),
    ("numpy", lambda: hidden(lambda n, x: n.lif1(torch.from_numpy(n.fc1(x).numpy()))), X, ConversionError, ["numpy"]),
    ("own neuron", lambda: nn.Sequential(nn.Linear(4, 3), Own(beta=0.9, init_hidden=True)), X, ConversionError,
     ["'1'", "Own", "forward"]),
    ("other neuron", lambda: nn.Sequential(nn.Linear(4, 3), snn.SLSTM(3, 3, init_hidden=True)), X, ConversionError,
     ["'1'", "SLSTM", "Leaky"]),
    ("hidden state twice", lambda: hidden(lambda n, x: n.lif1(n.fc2(n.lif1(n.fc1(x))))), X, ConversionError,
     ["'lif1'", "same state"]),
    ("hidden state twice in a loop", lambda: hidden(
        lambda n, x: torch.stack([n.lif1(n.fc2(n.lif1(n.fc1(x[t])))) for t in range(4)])), torch.rand(4, 3, 4),
     ConversionError, ["'lif1'", "same state"]),
    ("foreign state", lambda: Net(loop(lambda n, x, mem, t: n.lif2(n.lif1(n.fc1(x), mem)[0], mem))), X,
     ConversionError, ["state"]),
    ("crossed states", lambda: Net(swapped), X, ConversionError, ["state"]),
    ("changed state", lambda: Net(loop(lambda n, x, mem, t: n.lif1(n.fc1(x), mem * 0.5))), X, ConversionError,
     ["'lif1'", "mem", "changed"]),
    ("initial state", lambda: Net(lambda n, x: torch.stack([n.lif1(n.fc1(x), torch.ones(3, 4))[0]])), X,
     ConversionError, ["'lif1'", "initial mem", "not zero"]),
    ("forgetful step", lambda: Net(lambda n, x: n.lif1(n.fc1(x), n.lif1.reset_mem())), X, ConversionError,
     ["'lif1'", "zero", "init_hidden=True"]),
    ("reset in the loop", lambda: Net(
        lambda n, x: torch.stack([n.lif1(n.fc1(x), n.lif1.reset_mem())[0] for _ in range(3)])), X, ConversionError,
     ["'lif1'", "reset"]),
    ("feedback", lambda: Net(feedback), X, ConversionError, ["lif1", "feedback", "RLeaky"]),
    ("sum over time", lambda: Net(accumulated), X, ConversionError, ["returns only the last", "torch.stack"]),
    ("mean over time", lambda: Net(lambda n, x: one(lambda n, x, t: n.fc1(x))(n, x).mean(0)), X, ConversionError,
     ["mean", "torch.stack"]),
    ("last step", lambda: Net(last), torch.rand(5, 3, 4), ConversionError, ["returns only the last", "torch.stack"]),
    ("backwards", lambda: Net(backwards), torch.rand(5, 3, 4), ConversionError, ["step 0 reads entry 4"]),
    ("other layer", lambda: Net(one(lambda n, x, t: n.fc2(x) if t == 3 else n.fc1(x))), X, ConversionError,
     ["step 3 uses 'fc2' where step 0 uses 'fc1'"]),
    ("other wiring", lambda: Net(one(lambda n, x, t: n.fc2(x) + n.fc1(x if t < 2 else n.fc2(x)))), X, ConversionError,
     ["step"]),
    ("other factor", lambda: Net(one(lambda n, x, t: n.fc1(x) * (t + 2.0))), X, ConversionError,
     ["step 1 uses 'scale_1' (3) where step 0 uses 'scale_1' (2)"]),
    ("layer in some steps", lambda: Net(one(lambda n, x, t: n.fc2(n.fc1(x)) if t == 2 else n.fc1(x))), X,
     ConversionError, ["step 2"]),
    ("previous input", lambda: Net(lambda n, x: torch.stack(
        [n.lif1(n.fc1(x[t]) + n.fc2(x[max(t - 1, 0)]))[0] for t in range(4)])), torch.rand(4, 3, 4), ConversionError,
     ["step 1 reads entry 0"]),
    ("norm over time", lambda: hidden(whole_sequence, norm=nn.BatchNorm1d(3).eval()), torch.rand(5, 3, 4),
     ConversionError, ["'norm'", "BatchNorm1d", "all time steps", "flatten(0, 1)"]),
    ("batch flattened", lambda: hidden(lambda n, x: n.lif1(n.fc1(x.view(6, 2).view(3, 4)))), X, ConversionError,
     ["reshapes (3, 4)", "(6, 2)"]),
    ("feature selected", lambda: hidden(lambda n, x: n.lif1(n.fc1(x[:, 1]))), torch.rand(3, 2, 4), ConversionError,
     ["Net"]),
    ("changed in place", lambda: hidden(aliased), X, ConversionError, ["add_", "in place"]),
    ("dictionary", lambda: hidden(lambda n, x: {"spk": n.lif1(n.fc1(x))}), X, ConversionError, ["dict", "tuple"]),
    ("constant output", lambda: hidden(lambda n, x: (n.lif1(n.fc1(x)), torch.zeros(3))), X, ConversionError,
     ["an output"]),
    ("state not returned", lambda: OneStepLossy(), X, ConversionError, ["'lif'", "mem", "return spk, mem"]),
    ("missing argument", lambda: NeedsScale(), X, ConversionError, ["'scale'", "sample=(x, ...)"]),
    ("two inputs", lambda: NeedsScale(), (X, X), ConversionError, ["exactly one", "scale, x"]),
    ("uneven steps", lambda: Net(lambda n, x: torch.stack(
        [n.lif1(n.fc1(x[t]))[0] for t in range(3)] + [n.lif2(n.fc1(x[3]))[0]])), torch.rand(4, 3, 4), ConversionError,
     ["lif"]),
]  # fmt: skip


class OneStepLossy(nn.Module):
    def __init__(self) -> None:
        super().__init__()
        self.lif = snn.Leaky(beta=0.9)

    def forward(self, x, mem):
        return self.lif(x, mem)[0]


class NeedsScale(nn.Module):
    def __init__(self) -> None:
        super().__init__()
        self.lif = snn.Leaky(beta=0.9, init_hidden=True)

    def forward(self, x, scale):
        return self.lif(x + scale)


@pytest.mark.parametrize(("net", "sample", "error", "words"), [r[1:] for r in REFUSED], ids=[r[0] for r in REFUSED])
def test_refusals_name_the_module_and_the_remedy(net: Any, sample: Any, error: type[SnnaxError], words: list[str]):
    with pytest.raises(error) as caught:
        trace(net(), sample)
    message = str(caught.value)
    assert all(word in message for word in words), message
    assert type(caught.value) is error


@pytest.mark.parametrize("name", ["features", "channels", "bad view"])
def test_shape_errors_keep_torchs_own_as_the_cause(name: str):
    _, net, sample, *_ = next(r for r in REFUSED if r[0] == name)
    with pytest.raises(ShapeError) as caught:
        trace(net(), sample)
    assert isinstance(caught.value.__cause__, RuntimeError)
