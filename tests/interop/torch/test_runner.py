"""TorchSide runs what the user's network runs, records it, and can be fed other spikes."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest

pytest.importorskip("snntorch")

import snntorch as snn
import torch
from helpers.torch_sides import TorchSide, trace
from helpers.torch_zoo import CASES, Case, ConstantFrame, OneStep, Sequence, T, hidden_sequential
from torch import nn

from snnax.errors import ArgumentError, ShapeError, TrainingModeError

BY_NAME = {case.name: case for case in CASES}


def no_graph() -> Any:
    return "the graph"


def side_of(case: Case) -> TorchSide:
    net = case.build()
    return TorchSide(net, trace(net, case.sample), no_graph)


def steps_of(case: Case) -> int:
    return T if case.mode == "constant" else 20


def plain_run(net: nn.Module, case: Case, x: np.ndarray) -> list[np.ndarray]:
    """What the network returns, called as its user would call it: each output stacked over time."""
    frames = torch.from_numpy(x)
    with torch.no_grad():
        if case.name == "one_step":
            rows, states = [], (torch.zeros(0), torch.zeros(0), None, None)
            for frame in frames:
                spk2, mem2, (syn1, mem1) = net(frame, *states)
                states = (syn1, mem1, spk2, mem2)
                rows.append((spk2, mem2, syn1, mem1))
            return [torch.stack(column).numpy() for column in zip(*rows, strict=True)]
        if case.mode == "step":
            rows = [net(frame) for frame in frames]
            rows = [row if isinstance(row, tuple) else (row,) for row in rows]
            return [torch.stack(column).numpy() for column in zip(*rows, strict=True)]
        result = net(frames if case.mode == "sequence" else frames[0])
    parts = result if isinstance(result, tuple) else (result,)
    return [(torch.stack(p) if isinstance(p, list) else p).numpy() for p in parts]


@pytest.mark.parametrize("case", CASES, ids=lambda case: case.name)
def test_outputs_are_those_of_a_plain_run(case: Case):
    x = case.sequence(steps_of(case), batch=4)
    expected = plain_run(case.build(), case, x)
    trace_ = side_of(case).run(x)
    assert len(trace_.outputs) == len(expected)
    for output, reference in zip(trace_.outputs, expected, strict=True):
        np.testing.assert_array_equal(output, reference)


@pytest.mark.parametrize("case", CASES, ids=lambda case: case.name)
def test_every_layer_is_recorded_and_spikes(case: Case):
    """Inputs, spikes and states are those that a hook on the plain network sees, and no layer is idle."""
    x = case.sequence(steps_of(case))
    net = case.build()
    seen: dict[str, list[Any]] = {}
    for name, module in net.named_modules():
        if isinstance(module, snn.SpikingNeuron):

            def hook(module, args, result, name=name):
                spk = result[0] if isinstance(result, tuple) else result
                states = {
                    s: getattr(module, s).numpy() for s in ("syn", "mem", "syn_exc") if hasattr(module, s)
                }
                seen.setdefault(name, []).append((args[0].numpy(), spk.numpy(), states))

            module.register_forward_hook(hook)
    plain_run(net, case, x)
    nodes = side_of(case).run(x).nodes
    for name, node in nodes.items():
        assert node.spk.shape == node.input.shape == node.states["mem"].shape
        assert len(node.spk) == len(x)
        assert 0.01 < node.spk.mean() < 0.99, name
        path, _, use = name.partition("#")
        uses = sum(other.partition("#")[0] == path for other in nodes)
        calls = seen[path]
        if case.name == "layer_by_layer":
            calls = calls[: len(x)] if not use else calls[len(x) :]
        else:
            calls = calls[int(use or 1) - 1 :: uses]
        for t, (current, spk, states) in enumerate(calls):
            np.testing.assert_array_equal(node.input[t], current)
            np.testing.assert_array_equal(node.spk[t], spk)
            for state, value in states.items():
                np.testing.assert_array_equal(node.states[state][t], value)
        assert len(calls) == len(x)
        assert node.kind == type(net.get_submodule(path)).__name__


@pytest.mark.parametrize("case", CASES, ids=lambda case: case.name)
def test_replaying_its_own_spikes_changes_nothing(case: Case):
    side, x = side_of(case), case.sequence(steps_of(case))
    first = side.run(x)
    again = side.replay(x, {name: node.spk for name, node in first.nodes.items()})
    for name, node in first.nodes.items():
        np.testing.assert_array_equal(again.nodes[name].spk, node.spk)
        np.testing.assert_array_equal(again.nodes[name].input, node.input)
    for output, reference in zip(again.outputs, first.outputs, strict=True):
        np.testing.assert_array_equal(output, reference)


def test_forced_spikes_reach_the_next_layer_but_not_the_record():
    case = BY_NAME["hidden_sequential"]
    net = case.build()
    side, x = TorchSide(net, trace(net, case.sample), no_graph), case.sequence(10)
    free = side.run(x)
    forced = 1 - free.nodes["1"].spk
    replayed = side.replay(x, {"1": forced})
    np.testing.assert_array_equal(replayed.nodes["1"].spk, free.nodes["1"].spk)
    np.testing.assert_array_equal(replayed.nodes["1"].states["mem"], free.nodes["1"].states["mem"])
    with torch.no_grad():
        current = net[2](torch.from_numpy(forced)).numpy()
    np.testing.assert_allclose(replayed.nodes["3"].input, current, rtol=1e-6, atol=1e-6)
    assert (replayed.nodes["3"].input != free.nodes["3"].input).any()


@pytest.mark.parametrize(
    ("name", "node"), [("every_neuron", "1"), ("every_neuron", "3"), ("all_explicit", "rleaky")]
)
def test_forced_spikes_are_the_feedback_of_recurrent_neurons(name: str, node: str):
    case = BY_NAME[name]
    side, x = side_of(case), case.sequence(6)
    free = side.run(x)
    silent = side.replay(x, {node: np.zeros_like(free.nodes[node].spk)})
    busy = side.replay(x, {node: np.ones_like(free.nodes[node].spk)})
    np.testing.assert_array_equal(silent.nodes[node].states["mem"][0], busy.nodes[node].states["mem"][0])
    assert (silent.nodes[node].states["mem"][1] != busy.nodes[node].states["mem"][1]).any()


def test_the_reset_follows_the_own_membrane_under_forcing():
    net = nn.Sequential(snn.Leaky(beta=1.0, init_hidden=True))
    side = TorchSide(net, trace(net, torch.zeros(1, 1)), no_graph)
    x = np.full((3, 1, 1), 0.75, np.float32)
    mem = side.replay(x, {"0": np.zeros((3, 1, 1), np.float32)}).nodes["0"].states["mem"]
    assert mem.ravel().tolist() == [0.75, 1.5, 1.25]


@pytest.mark.parametrize("case", CASES, ids=lambda case: case.name)
def test_precision_follows_the_input(case: Case):
    side, x = side_of(case), case.sequence(T)
    single, double = side.run(x), side.run(x.astype(np.float64))
    for name, node in double.nodes.items():
        arrays = (node.input, node.spk, *node.states.values())
        assert {a.dtype for a in arrays} == {np.dtype(np.float64)}, name
        np.testing.assert_allclose(node.input[0], single.nodes[name].input[0], rtol=1e-3, atol=1e-4)
    assert {o.dtype for o in double.outputs} == {np.dtype(np.float64)}
    assert {o.dtype for o in single.outputs} == {np.dtype(np.float32)}


def test_double_precision_is_the_equation_in_double_precision():
    net = nn.Sequential(snn.Leaky(beta=0.9, threshold=0.7, init_hidden=True))
    side = TorchSide(net, trace(net, torch.zeros(1, 4)), no_graph)
    x = np.random.default_rng(0).uniform(0, 1, (50, 1, 4))
    mem, beta, threshold = np.zeros((1, 4)), float(np.float32(0.9)), float(np.float32(0.7))
    node = side.run(x).nodes["0"]
    for t in range(50):
        mem = (beta * mem + x[t]) - (mem > threshold) * threshold
        np.testing.assert_array_equal(node.states["mem"][t], mem)
        np.testing.assert_array_equal(node.spk[t], mem > threshold)


def test_the_users_network_is_left_as_it_was():
    net = hidden_sequential().eval()
    spk, _ = net(torch.rand(2, 7))
    spk.sum().backward()
    before = {name: buffer.detach().clone() for name, buffer in net.named_buffers()}
    alive = list(snn.SpikingNeuron.instances)
    side = TorchSide(net, trace(net, torch.rand(2, 7)), no_graph)
    first = side.run(np.ones((3, 2, 7)))
    second = side.run(np.ones((3, 2, 7)))
    np.testing.assert_array_equal(first.outputs[1], second.outputs[1])
    assert all(torch.equal(before[name], buffer) for name, buffer in net.named_buffers())
    assert net[0].weight.dtype == torch.float32 and net[0].weight.grad is not None
    assert snn.SpikingNeuron.instances == alive
    assert torch.get_default_dtype() == torch.float32


def test_it_sees_the_weights_of_the_moment():
    net = hidden_sequential().eval()
    side = TorchSide(net, trace(net, torch.rand(2, 7)), no_graph)
    x = np.ones((3, 2, 7), np.float32)
    before = side.run(x).nodes["1"].input
    with torch.no_grad():
        net[0].bias.add_(1.0)
    np.testing.assert_allclose(side.run(x).nodes["1"].input, before + 1.0, rtol=1e-6)


@pytest.mark.parametrize("style", ["batch_first", "transposed"])
def test_time_may_be_the_networks_second_axis(style: str):
    net = Sequence(style).eval()
    x = np.random.default_rng(0).uniform(0, 3, (9, 4, 7)).astype(np.float32)
    outputs = TorchSide(net, trace(net, torch.rand(2, T, 7)), no_graph).run(x).outputs
    with torch.no_grad():
        expected = net(torch.from_numpy(x).transpose(0, 1)).transpose(0, 1)
    np.testing.assert_array_equal(outputs[0], expected.numpy())


def test_a_constant_frame_may_come_without_time():
    case = BY_NAME["constant_frame"]
    side, x = side_of(case), case.sequence(T)
    for output, reference in zip(side.run(x[0]).outputs, side.run(x).outputs, strict=True):
        np.testing.assert_array_equal(output, reference)


def test_states_of_a_step_are_handed_on_from_zero():
    net = OneStep().eval()
    side = TorchSide(net, trace(net, (torch.rand(2, 7), torch.ones(2, 6), torch.ones(2, 6))), no_graph)
    trace_ = side.run(np.zeros((2, 1, 7), np.float32))
    with torch.no_grad():
        bias = net.fc1.bias.numpy()
    np.testing.assert_allclose(trace_.nodes["lif1"].states["syn"][:, 0], [bias, 0.8 * bias + bias], rtol=1e-5)


def test_the_graph_is_built_by_the_caller():
    side = side_of(BY_NAME["hidden_sequential"])
    assert side.graph() == "the graph"
    assert side.label == "snnTorch"


class FixedLoop(nn.Module):
    """Loops over four steps, whatever the length of the sequence."""

    def __init__(self) -> None:
        super().__init__()
        self.lif = snn.Leaky(beta=0.9)

    def forward(self, x):
        mem = self.lif.reset_mem()
        out = []
        for t in range(4):
            spk, mem = self.lif(x[t], mem)
            out.append(spk)
        return torch.stack(out)


ERRORS = {
    "features": (hidden_sequential, (2, 7), (5, 2, 6), "(5, 2, 6)|[T, B, 7]"),
    "no time": (hidden_sequential, (2, 7), (2, 7), "(2, 7)|[T, B, 7]"),
    "steps of a constant frame": (ConstantFrame, (2, 7), (T + 1, 2, 7), f"{T} steps|has {T + 1}|equal ones"),
    "frames that differ": (ConstantFrame, (2, 7), (T, 2, 7), "the frames of x differ|x[t]"),
    "more steps than the loop": (FixedLoop, (4, 2, 3), (6, 2, 3), "returned 4 steps|the 6 of x"),
    "fewer steps than the loop": (FixedLoop, (4, 2, 3), (3, 2, 3), "3 steps|traced with 4 steps"),
}


@pytest.mark.parametrize("name", ERRORS)
def test_input_that_does_not_fit_is_refused(name: str):
    make, sample, shape, words = ERRORS[name]
    net = make().eval()
    x = np.random.default_rng(0).random(shape, np.float32)
    if name == "steps of a constant frame":
        x = np.ones_like(x)
    with pytest.raises(ShapeError) as caught:
        TorchSide(net, trace(net, torch.rand(sample)), no_graph).run(x)
    assert all(word in str(caught.value) for word in words.split("|")), str(caught.value)


def test_forced_spikes_that_do_not_fit_are_refused():
    side, x = side_of(BY_NAME["hidden_sequential"]), np.ones((3, 2, 7), np.float32)
    with pytest.raises(ArgumentError, match=r"'lif'.*\['1', '3'\]"):
        side.replay(x, {"lif": np.zeros((3, 2, 9))})
    with pytest.raises(ShapeError, match=r"'1'.*\(3, 2, 8\).*\(3, 2, 9\)"):
        side.replay(x, {"1": np.zeros((3, 2, 8))})
    with pytest.raises(ShapeError, match=r"'1'.*\(2, 2, 9\).*\(3, 2, 9\)"):
        side.replay(x, {"1": np.zeros((2, 2, 9))})


def test_a_network_put_into_training_mode_is_refused():
    case = BY_NAME["normed_sequential"]
    net = case.build()
    side = TorchSide(net, trace(net, case.sample), no_graph)
    net.train()
    with pytest.raises(TrainingModeError, match=r"net\.eval\(\)"):
        side.run(case.sequence(2))
