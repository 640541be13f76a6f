"""Programs as NIR graphs: the step of their loop, with the same spikes, or a refusal that names what NIR has not."""

from __future__ import annotations

import re

import jax
import jax.numpy as jnp
import nir
import numpy as np
import pytest

pytest.importorskip("snntorch")

import snntorch
import torch
from helpers import port_zoo
from torch import nn

import snnax as snn
from snnax import interop
from snnax.errors import ArgumentError, ConversionError
from snnax.interop.nir.extension import Extension
from snnax.interop.program.module import PortedProgram
from snnax.interop.program.nodes import NEURON, Leaf, Ref
from snnax.interop.program.running import Runner

pytestmark = pytest.mark.filterwarnings("ignore:Inhibition is an unstable feature:UserWarning")

BOTH = ("before", "after")


def ported(net, sample):
    torch.manual_seed(0)
    return interop.from_snntorch(net.eval(), sample)


def ran(model, variables):
    """What enters the loop of a program, ``[T, B, ...]``, and the spikes of its neurons in it."""
    program = model.program
    rng, leaves = np.random.default_rng(0), []
    for known in program.inputs:
        if known.kind == "state":
            leaves.append(None)
            continue
        tree = variables.get("params" if known.trained else "buffers", {})
        for part in known.name.split("."):
            tree = tree.get(part) if hasattr(tree, "get") else None
        given = known.value if tree is None else tree
        shape = known.result.at(program.size).shape
        dtype = jax.dtypes.canonicalize_dtype(known.result.dtype)
        leaves.append(jnp.asarray(rng.random(shape), dtype) if given is None else jnp.asarray(given))
    (loop,) = (each for each in program.loops if any(node.op == NEURON for node in each.body))
    steady = {e for node in loop.body for e in node.inputs if isinstance(e, Ref | Leaf)}

    @jax.jit
    def run(leaves):
        runner = Runner(program, leaves, jax.random.key(0), True, {}, {})
        for place, item in enumerate(program.items):
            runner.item(place, item)
        moving = [runner.get(s) for s in loop.sequences if isinstance(s, Ref | Leaf)]
        shown = [jnp.broadcast_to(v, (loop.steps, *v.shape)) for v in map(runner.get, steady)]
        return [*moving, *shown], {name: known.spk for name, known in runner.recorded.items()}

    return run(leaves)


def assert_same_spikes(model, variables, graph, path=None):
    """The graph emits what the program's neurons emit, read from memory or from a file."""
    if path is not None:
        interop.write_nir(path, graph)
        graph = interop.read_nir(path)
    (entry,) = (node for node in graph.nodes.values() if isinstance(node, nir.Input))
    shape = tuple(int(n) for n in entry.input_type["input"])
    entering, spikes = ran(model, variables)
    x = next(values for values in entering if tuple(values.shape[2:]) == shape)
    net, weights = interop.from_nir(graph)
    recorded = snn.unroll(net, weights, jnp.asarray(x), record=True)[2]
    compared = 0
    for name, known in spikes.items():
        if name in graph.nodes and "spk" in recorded.get(name, {}):
            found = np.asarray(recorded[name]["spk"])
            found = np.moveaxis(found, -1, 2) if found.ndim > 3 else found  # flax has the channels last
            np.testing.assert_array_equal(found, known, err_msg=name)
            compared += 1
    assert compared


@pytest.mark.parametrize("cls", port_zoo.STEADY, ids=lambda cls: cls.__name__)
def test_the_zoo_has_nir_or_a_refusal_that_names_a_part(cls):
    model, variables = port_zoo.ported(cls)
    if not isinstance(model, PortedProgram):
        return
    whole, part = exported(model, variables, ()), exported(model, variables, BOTH)
    assert part is not None or whole is None
    if part is not None and sum(isinstance(node, nir.Input) for node in part.nodes.values()) == 1:
        assert_same_spikes(model, variables, part)


def exported(model, variables, leave_out):
    try:
        return interop.to_nir(model, variables, leave_out=leave_out)
    except ConversionError as refusal:
        error = refusal
    assert error.node
    assert error.remedy
    return None


class Rates(nn.Module):
    """An encoder before the loop, weights that are computed, a head after it."""

    def __init__(self):
        super().__init__()
        self.encoder, self.fc, self.lif = nn.Linear(5, 3), nn.Linear(3, 4), snntorch.Leaky(beta=0.5)
        self.head = nn.Linear(4, 2)

    def forward(self, x):
        x, mem, total = torch.tanh(self.encoder(x)), self.lif.init_leaky(), 0
        weight = self.fc.weight / self.fc.weight.abs().max()
        for frame in x:
            spk, mem = self.lif(nn.functional.linear(frame, weight, self.fc.bias) * 2, mem)
            total = total + spk
        return self.head(total / len(x)).softmax(-1)


def test_what_lies_before_and_after_is_refused_by_name_or_left_out(tmp_path):
    model, variables = ported(Rates(), torch.rand(6, 2, 5))
    with pytest.raises(ConversionError) as caught:
        interop.to_nir(model, variables)
    for text in (
        "tanh is computed before the loop",
        "_softmax is computed after",
        "test_programs.py",
        "leave_out=",
    ):
        assert text in str(caught.value)
    with pytest.raises(ConversionError, match="tanh") as caught:
        interop.to_nir(model, variables, leave_out=("after",))
    assert "_softmax" not in str(caught.value)
    graph = interop.to_nir(model, variables, leave_out=BOTH)
    assert [type(n).__name__ for n in graph.nodes.values()] == ["Input", "Affine", "Scale", "LIF", "Output"]
    weight = np.asarray(variables["params"]["fc"]["weight"])
    np.testing.assert_allclose(graph.nodes["addmm"].weight, weight / np.abs(weight).max(), rtol=1e-6)
    lost = interop.losses(graph)
    assert "tanh" in lost["before"]
    assert "_softmax" in lost["after"]
    assert re.search(
        r"the numbers that abs, max, div \(test_programs.py:\d+\) gives of fc.weight$", lost["addmm"]
    )
    assert lost == interop.losses(interop.read_nir(written(tmp_path / "net.nir", graph)))
    assert_same_spikes(model, variables, graph, tmp_path / "net.nir")


def written(path, graph):
    interop.write_nir(path, graph)
    return path


class Feedback(nn.Module):
    """Feedback of its own, a delay of two steps, a difference, a bias that forward adds."""

    def __init__(self):
        super().__init__()
        self.fc1, self.back, self.fc2 = nn.Linear(3, 4), nn.Linear(4, 4), nn.Linear(4, 4)
        self.lif1, self.lif2 = snntorch.Leaky(beta=0.5), snntorch.Synaptic(alpha=0.5, beta=0.75)
        self.shift = nn.Parameter(torch.full((4,), 0.25))

    def forward(self, x):
        mem1, (syn2, mem2) = self.lif1.init_leaky(), self.lif2.init_synaptic()
        spk1 = old = older = torch.zeros(x.size(1), 4)
        spikes = []
        for frame in x:
            spk1, mem1 = self.lif1(2 * self.fc1(frame) - self.back(spk1), mem1)
            spk2, syn2, mem2 = self.lif2(self.fc2(spk1 + older) + self.shift, syn2, mem2)
            older, old = old, spk1
            spikes.append(spk2)
        return torch.stack(spikes)


def test_feedback_and_delays_go_to_files(tmp_path):
    model, variables = ported(Feedback(), torch.rand(8, 2, 3))
    graph = interop.to_nir(model, variables)
    assert any(isinstance(node, nir.Delay) for node in graph.nodes.values())
    assert "in its bias what forward adds" in interop.losses(graph)["fc2"]
    assert_same_spikes(model, variables, graph, tmp_path / "net.nir")
    x = np.random.default_rng(1).random((9, 3, 3)).astype(np.float32)
    net, weights = interop.from_nir(tmp_path / "net.nir")
    np.testing.assert_array_equal(
        snn.unroll(net, weights, jnp.asarray(x))[0], model.apply(variables, jnp.asarray(x))
    )


class Images(nn.Module):
    def __init__(self):
        super().__init__()
        self.conv, self.norm, self.lif = nn.Conv2d(1, 2, 3), nn.BatchNorm2d(2), snntorch.Leaky(beta=0.5)
        self.pool, self.fc = nn.AdaptiveAvgPool2d(2), nn.Linear(8, 3)

    def forward(self, x):
        mem, total = self.lif.init_leaky(), 0
        for frame in x:
            spk, mem = self.lif(self.norm(self.conv(frame)) * 4, mem)
            total = total + self.fc(torch.relu(self.pool(spk)).flatten(1))
        return total


def test_layers_of_images_are_nodes_or_extensions_that_files_refuse(tmp_path):
    model, variables = ported(Images(), torch.rand(5, 2, 1, 6, 6))
    graph = interop.to_nir(model, variables, leave_out=("after",))
    kinds = {n.op if isinstance(n, Extension) else type(n).__name__ for n in graph.nodes.values()}
    assert kinds == {
        "Input",
        "Conv2d",
        "BatchNorm",
        "Scale",
        "LIF",
        "AvgPool2d",
        "ReLU",
        "Flatten",
        "Affine",
        "Output",
    }
    assert_same_spikes(model, variables, graph)
    with pytest.raises(ConversionError, match="BatchNorm"):
        interop.write_nir(tmp_path / "net.nir", graph)
    folded = interop.to_nir(model, variables, leave_out=("after",), batchnorm="fold")
    assert not any(isinstance(n, Extension) and n.op == "BatchNorm" for n in folded.nodes.values())
    assert "'norm' in its weights" in interop.losses(folded)["conv"]
    assert "conv" not in interop.losses(graph)


class Divided(nn.Module):
    def __init__(self, by):
        super().__init__()
        self.fc, self.lif, self.by = nn.Linear(3, 4), snntorch.Leaky(beta=0.5), by

    def forward(self, x):
        mem, out = self.lif.init_leaky(), []
        for frame in x:
            spk, mem = self.lif(self.fc(frame) / self.by, mem)
            out.append(spk)
        return torch.stack(out).sum(0)


@pytest.mark.parametrize(("by", "rounded"), [(3.0, True), (4.0, False)])
def test_a_division_that_is_a_rounded_product_is_told(by, rounded):
    sample = torch.rand(5, 2, 3)
    lost = interop.losses(interop.to_nir(*ported(Divided(by), sample), leave_out=("after",)))
    assert any("reciprocal" in text for text in lost.values()) == rounded


def test_layers_without_a_node_are_named():
    class Upward(nn.Module):
        def __init__(self):
            super().__init__()
            self.up, self.lif = nn.ConvTranspose2d(1, 2, 3), snntorch.Leaky(beta=0.5)

        def forward(self, x):
            mem, total = self.lif.init_leaky(), 0
            for frame in x:
                spk, mem = self.lif(self.up(frame), mem)
                total = total + spk
            return total

    model, variables = ported(Upward(), torch.rand(4, 2, 1, 4, 4))
    with pytest.raises(ConversionError, match=r"'up': it is a transposed convolution.*test_programs\.py:"):
        interop.to_nir(model, variables, leave_out=("after",))


def test_what_has_no_parts_has_none_to_leave_out():
    net = snn.Sequential([snn.Leaky(beta=0.5, init_hidden=True)])
    with pytest.raises(ArgumentError, match="leave_out"):
        interop.to_nir(net, {}, jnp.ones((1, 2)), leave_out=("after",))
    with pytest.raises(ArgumentError, match="before"):
        interop.to_nir(net, {}, jnp.ones((1, 2)), leave_out=("middle",))
