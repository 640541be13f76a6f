"""``check`` lists everything that stands in the way, with lines and edits, as the error of the conversion does."""

from __future__ import annotations

import inspect
import json
import re
import subprocess
import sys

import pytest

pytest.importorskip("snntorch")

import numpy as np
import snntorch as snn
import torch
from helpers import blocked_nets
from torch import nn

from snnax import interop
from snnax.errors import ArgumentError, ConversionError, ShapeError

X = torch.rand(5, 4, 6)
_MARK = re.compile(r"^(\s*)(.*?)\s*# blocks: (.*?)(?: -> (.*))?$")


def classes(cls):
    return [cls, blocked_nets.Block] if cls is blocked_nets.Nested else [cls]


def marked(cls):
    """By line number, the words of its reason and the edit."""
    found = {}
    for part in classes(cls):
        lines, first = inspect.getsourcelines(part)
        for number, line in enumerate(lines, first):
            if match := _MARK.match(line.rstrip("\n")):
                found[number] = (match.group(3), match.group(1) + (match.group(4) or ""))
    return found


def edited(cls):
    """The class with all its edits."""
    lines = inspect.getsource(blocked_nets).split("\n")
    for number, (_, edit) in marked(cls).items():
        lines[number - 1] = edit
    space = {"__name__": "edited_nets"}
    exec(compile("\n".join(lines), "edited_nets.py", "exec"), space)
    return space[cls.__name__]


def made(cls):
    torch.manual_seed(0)
    net = cls()
    return net if cls.__name__ in ("Untrained", "Nested") else net.eval()


def sample(cls):
    return X[0] if cls.__name__ == "Nested" else X


@pytest.mark.parametrize("cls", blocked_nets.NETS, ids=lambda cls: cls.__name__)
def test_all_blockers_are_listed_at_once(cls):
    found = interop.check(made(cls), sample(cls))
    expected = marked(cls)
    lines = {int(b.line.rpartition(":")[2]): b for b in found.blockers}
    assert not found.ok and set(lines) == set(expected), str(found)
    for number, (words, _) in expected.items():
        assert words in lines[number].problem, lines[number].problem
        assert lines[number].source == inspect.getsource(blocked_nets).split("\n")[number - 1].strip()
        assert lines[number].line.startswith("blocked_nets.py:") and lines[number].edit
    assert len(found.blockers) == len(expected) > 1


@pytest.mark.parametrize("cls", blocked_nets.NETS, ids=lambda cls: cls.__name__)
def test_after_the_edits_it_ports(cls):
    found = interop.check(made(edited(cls)), sample(cls))
    assert found.ok and found.form in ("graph", "program"), str(found)


def test_the_error_of_the_conversion_lists_the_same():
    net = made(blocked_nets.StopsAndHooks)
    found = interop.check(net, X)
    with pytest.raises(ConversionError) as caught:
        interop.from_snntorch(net, X)
    told = [(e.node, e.line, e.problem, e.remedy) for e in caught.value.apart()]
    assert told == [(b.module, b.line, b.problem, b.edit) for b in found.blockers] and len(told) == 2
    assert all(f"{number}. " in str(caught.value) for number in (1, 2))


def test_paths_lead_into_modules():
    found = interop.check(made(blocked_nets.Nested), X[0])
    assert {"features.1.norm", "features.1", "Nested"} == {b.module for b in found.blockers}


def test_a_graph_says_what_reaches_nir():
    net = nn.Sequential(
        nn.Linear(6, 5), snn.Leaky(beta=0.9, init_hidden=True, reset_mechanism="zero", reset_delay=False),
        nn.Linear(5, 4), snn.Alpha(alpha=0.9, beta=0.8, init_hidden=True),
    ).eval()  # fmt: skip
    found = interop.check(net, X[0])
    assert found.ok and found.form == "graph" and not found.training
    assert [(n.name, n.type) for n in found.nir] == [
        ("0", "Affine"),
        ("1", "LIF"),
        ("2", "Affine"),
        ("3", ""),
    ]
    assert "NIR has no Alpha" in found.nir[3].reason and not found.nir[1].reason
    text = str(found)
    assert "nothing blocks" in text and "interop.from_snntorch(net, sample)" in text


class Headed(nn.Module):
    def __init__(self):
        super().__init__()
        self.fc, self.lif, self.head = nn.Linear(6, 8), snn.Leaky(beta=0.9), nn.Linear(8, 2)

    def forward(self, x):
        mem, out = self.lif.init_leaky(), []
        for step in range(x.shape[0]):
            spk, mem = self.lif(self.fc(x[step]), mem)
            out.append(spk)
        return self.head(torch.stack(out).mean(0)).softmax(-1)


class Clamped(Headed):
    def forward(self, x):
        self.fc.weight.data.clamp_(-1, 1)
        assert not torch.isnan(x).any()
        return super().forward(x + torch.rand_like(x) if x.shape[-1] == 6 else x[:, :2])


def test_a_program_says_what_it_consists_of():
    found = interop.check(Headed().eval(), X)
    assert found.form == "program" and found.steps == "any" and found.batch == "any" and not found.draws
    assert any(part.startswith("step, 5 times: ") and "lif" in part for part in found.parts)
    assert any(part.startswith("after the loop: ") and "head" in part for part in found.parts)
    types = {node.name: node.type for node in found.nir}
    assert types["lif"] == "LIF" and types["fc"] == "Affine"
    assert any("softmax" in n.reason and n.name == "Headed" and not n.type for n in found.nir)
    assert "those of torch" in str(found)


class PerNeuron(Headed):
    def __init__(self):
        super().__init__()
        self.lif = snn.Leaky(beta=torch.linspace(0.5, 0.9, 8), learn_beta=True)


def test_nir_of_programs_is_that_of_to_nir():
    net = PerNeuron().eval()
    model, variables = interop.from_snntorch(net, X)
    graph = interop.to_nir(model, variables, leave_out=("before", "after"))
    found = interop.check(net, X).nir
    assert {n.name: n.type for n in found if n.type} == {
        name: type(node).__name__
        for name, node in graph.nodes.items()
        if type(node).__name__ not in ("Input", "Output")
    }


def test_a_program_says_what_is_not_trained_and_what_is_left_out():
    found = interop.check(Clamped().eval(), X)
    assert found.ok and found.draws
    (untrained,) = found.training
    assert "past autograd" in untrained.problem and "clamp_" in untrained.source
    (guard,) = found.guards
    assert "AssertionError" in guard


def test_to_dict_is_json():
    for found in (interop.check(Headed().eval(), X), interop.check(made(blocked_nets.OwnCell), X)):
        content = json.loads(json.dumps(found.to_dict()))
        assert content["ok"] == found.ok and len(content["blockers"]) == len(found.blockers)
        assert content["call"] == found.call and content["nir"] == [vars(node) for node in found.nir]


def test_the_network_stays_as_it_is():
    net = made(blocked_nets.Decays)
    before = {name: tensor.clone() for name, tensor in net.state_dict().items()}
    interop.check(net, X)
    assert all(torch.equal(tensor, before[name]) for name, tensor in net.state_dict().items())
    assert not net.history


@pytest.mark.parametrize("net", [None, 3, Headed, "net.py"], ids=str)
def test_what_is_no_network_is_an_error(net):
    with pytest.raises(ArgumentError, match=r"torch\.nn\.Module"):
        interop.check(net, X)


@pytest.mark.parametrize("x", [None, "x.npy", ()], ids=repr)
def test_what_is_no_sample_is_an_error(x):
    with pytest.raises(ArgumentError, match="check"):
        interop.check(Headed().eval(), x)


def test_a_sample_that_does_not_fit_is_an_error():
    net = nn.Sequential(nn.Linear(6, 5), snn.Leaky(beta=0.9, init_hidden=True))
    with pytest.raises(ShapeError, match=r"expects \(B, 6\)"):
        interop.check(net, np.ones((4, 7), np.float32))


def test_importing_it_loads_no_torch():
    code = (
        "from snnax.interop import check; import sys; assert 'torch' not in sys.modules and callable(check)"
    )
    assert subprocess.run([sys.executable, "-c", code]).returncode == 0


def test_networks_of_norse():
    norse = pytest.importorskip("norse.torch")

    class Cells(nn.Module):
        def __init__(self):
            super().__init__()
            self.fc = nn.Linear(6, 8)
            self.lif = norse.LIFRefracCell()
            self.other = norse.LSNNCell(8, 4)

        def forward(self, x):
            first, second, out = None, None, []
            for step in range(x.shape[0]):
                spk, first = self.lif(self.fc(x[step]), first)
                spk, second = self.other(spk, second)
                out.append(spk)
            return torch.stack(out)

    found = interop.check(Cells().eval(), X)
    assert {b.module for b in found.blockers} >= {"lif", "other"} and found.function == "from_norse"
    named = [b for b in found.blockers if b.module in ("lif", "other")]
    assert all(b.source.startswith(f"self.{b.module} = ") for b in named)
