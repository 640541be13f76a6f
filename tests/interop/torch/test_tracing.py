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
from helpers.torch_sides import trace
from helpers.torch_zoo import CASES, Case, ConstantFrame, Net, OneStep, Sequence, T, hidden_sequential, loop
from torch import nn

from snnax import interop
from snnax.errors import ConversionError
from snnax.interop.torch.step_graph import Source, StepGraph


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
    assert (
        [n.shape for n in sequential.nodes] == [n.shape for n in constant.nodes] == [(9,), (9,), (4,), (4,)]
    )


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
        **{f"add_{i}": ("add", None) for i in (1, 2, 3, 4)},
        **{f"scale_{i}": ("scale", factor) for i, factor in enumerate((0.5, -1.0, -0.25, 0.5), 1)},
    }  # fmt: skip
    assert ("add_3", "add_2.out", "scale_2.out") in wiring(graph)


@pytest.mark.parametrize("factor", [2, np.float32(2.0), torch.tensor(2.0)], ids=["int", "NumPy", "tensor"])
def test_factors_may_be_any_number_that_the_network_holds(factor: Any):
    net = Net(lambda n, x: n.lif1(n.gain * n.fc1(x)), init_hidden=True)
    net.gain = factor
    assert trace(net, X).node("scale_1").factor == 2.0


def by_another_view(n, x):
    y = n.fc1(x)
    view = y.view_as(y)
    y += x
    return view


def by_a_row(n, x):
    y = n.fc1(x)
    y[:].add_(x)
    return y


def by_a_layer(n, x):
    y = n.fc1(x)
    torch.nn.Flatten()(y).add_(x)
    return y


@pytest.mark.parametrize("write", [by_another_view, by_a_row, by_a_layer])
def test_what_is_written_in_place_is_seen_by_all_that_share_the_memory(write: Any):
    net = Net(lambda n, x: n.lif1(write(n, x)), init_hidden=True)
    assert wiring(trace(net, X))[-2:] == [("add_1", "fc1.out", "input.out"), ("lif1", "add_1.out")]


class Halved(torch.autograd.Function):
    @staticmethod
    def forward(ctx, x):
        return x * 0.5

    @staticmethod
    def backward(ctx, grad):
        return grad


def test_what_a_function_of_the_users_own_computes_is_no_known_operation():
    net = Net(lambda n, x: n.lif1(Halved.apply(n.fc1(x))), init_hidden=True)
    with pytest.raises(ConversionError, match="custom function"):
        trace(net, X)


def test_a_write_past_autograd_is_refused_since_a_graph_would_have_another_gradient():
    def past(n, x):
        y = n.fc1(x)
        y.detach().add_(n.fc2(x))
        return n.lif1(y)

    with pytest.raises(ConversionError, match="past autograd"):
        trace(Net(past, init_hidden=True), X)


@pytest.mark.parametrize("where", ["signal", "state"])
def test_a_signal_or_state_that_is_detached_is_refused_since_a_graph_would_have_another_gradient(where: str):
    def forward(n, x):
        mem, out = n.lif1.reset_mem(), []
        for _ in range(3):
            current = n.fc1(x.detach())  # no gradient goes further than the sample
            spk, mem = n.lif1(
                current.detach() if where == "signal" else current,
                mem.detach() if where == "state" else mem,
            )
            n.shown = mem.detach()  # nothing depends on it
            out.append(spk)
        return torch.stack(out)

    with pytest.raises(ConversionError, match="detach"):
        trace(Net(forward), X)
    where = ""
    assert [node.name for node in trace(Net(forward), X).nodes] == ["fc1", "lif1"]


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
        (1, Source("lif1", "syn")),
        (2, Source("lif1", "mem")),
        (3, Source("lif2", "spk")),
        (4, Source("lif2", "mem")),
    )
    assert [graph.outputs[index] for index, _ in graph.state_outputs] == [s for _, s in graph.state_outputs]


@pytest.mark.parametrize(
    "states", [(None, None), (torch.zeros(2, 6), torch.zeros(2, 6)), (torch.ones(2, 6), None)]
)
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
    graph = trace(Net(lambda n, x: (n.lif1(n.fc1(x)), n.lif2(n.fc2(x)))[0], init_hidden=True), X)
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
    graph = trace(Net(forward, init_hidden=True), x)
    assert (x == 1).all()
    assert graph.nodes[0].factor == 2.0


# Another batch -----------------------------------------------------------------------------------------


def squeezed(n, x):
    return n.lif1(n.fc1(x[:, None].squeeze()))


def another_way_for_one(n, x):
    return n.lif1(n.fc1(x if len(x) > 1 else 2 * x))


def divided(n, x):
    return n.lif1(n.fc1(x) / len(x))


@pytest.mark.parametrize("change", [squeezed, another_way_for_one, divided], ids=lambda f: f.__name__)
@pytest.mark.parametrize("batch", [1, 3])
def test_a_network_that_takes_another_way_for_one_sample_is_no_graph(change: Any, batch: int):
    with pytest.raises(
        ConversionError, match=r"with a batch of (1|2) it computes something else|mixes samples"
    ):
        trace(OfOneStep(change).eval(), torch.rand(batch, 4))


@pytest.mark.parametrize(
    "factor",
    [
        lambda x: 2.0 if x.shape[1] > 4 else 1.0,
        lambda x: 1 / len(x),
        lambda x: 2.0 if len(x) < 4 else 1.0,
    ],
    ids=["a larger batch", "divided by the steps", "few steps"],
)
def test_numbers_that_are_the_size_of_a_batch_or_the_steps_are_no_part_of_a_graph(factor: Any):
    def body(n, x):
        mem, out = n.lif1.init_leaky(), []
        for step in x:
            spk, mem = n.lif1(n.fc1(step) * factor(x), mem)
            out.append(spk)
        return torch.stack(out)

    with pytest.raises(
        ConversionError, match="for 2 steps of a batch of 7 it computes something else than for 5"
    ):
        trace(Net(body).eval(), torch.rand(5, 3, 4))


class OfOneStep(nn.Module):
    """One call is one step."""

    def __init__(self, change: Any):
        super().__init__()
        self.fc1, self.lif1, self.change = nn.Linear(4, 2), snn.Leaky(beta=0.9, init_hidden=True), change

    def forward(self, x: Any) -> Any:
        return self.change(self, x)


def test_a_network_for_a_batch_of_one_size_is_a_graph():
    graph = trace(OfOneStep(lambda n, x: n.lif1(n.fc1(x.view(3, 4)))).eval(), torch.rand(3, 4))
    assert [node.name for node in graph.nodes] == ["fc1", "lif1"]


# Gradients that are off --------------------------------------------------------------------------------


def layer(n, x):
    with torch.no_grad():
        y = n.fc1(x)
    return n.lif1(y)


def factor(n, x):
    y = n.fc1(x)
    with torch.set_grad_enabled(False):
        y = y * 0.5
    return n.lif1(y)


def neuron(n, x):
    y = n.fc1(x)
    with torch.inference_mode():
        return n.lif1(y).clone()


def function(n, x):
    with torch.no_grad():
        y = F.linear(x, n.fc1.weight)
    return n.lif1(y)


@pytest.mark.parametrize("change", [layer, factor, neuron, function], ids=lambda f: f.__name__)
def test_gradients_that_are_switched_off_are_refused_since_a_graph_would_have_them(change: Any):
    with pytest.raises(ConversionError, match="switches gradients off"):
        trace(OfOneStep(change).eval(), X)


def prepared(n, x):
    with torch.no_grad():
        x = 2 * x
        n.shown = n.fc1(x).mean()  # nothing depends on it
    return n.lif1(n.fc1(x))


def test_what_has_no_gradient_anyway_may_be_computed_without():
    assert [node.name for node in trace(OfOneStep(prepared).eval(), X).nodes] == ["scale_1", "fc1", "lif1"]


def frozen(n, x):
    n.fc1.weight.requires_grad_(False)
    return n.lif1(n.fc1(x))


def frozen_whole(n, x):
    n.fc1.requires_grad_(False)
    return n.lif1(n.fc1(x))


def frozen_by_attribute(n, x):
    n.fc1.bias.requires_grad = False
    return n.lif1(n.fc1(x))


@pytest.mark.parametrize("change", [frozen, frozen_whole, frozen_by_attribute], ids=lambda f: f.__name__)
def test_a_forward_that_says_what_is_trained_is_refused(change: Any):
    with pytest.raises(ConversionError, match="sets requires_grad"):
        trace(OfOneStep(change).eval(), X)
    with pytest.raises(ConversionError, match="sets requires_grad"):
        interop.from_snntorch(OfOneStep(change).eval(), X)
