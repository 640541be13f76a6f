"""How networks take their input and states: whatever ports is cross-validated, and refusals name all causes."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any, NamedTuple

import jax
import numpy as np
import pytest

pytest.importorskip("snntorch")

import flax.linen as linen
import snntorch as snn
import torch
from helpers.torch_sides import snntorch_graph
from torch import nn

import snnax
from snnax import interop
from snnax.errors import ConversionError, ShapeError

T, BATCH = 7, 3
X = torch.rand(T, BATCH, 4, generator=torch.Generator().manual_seed(0)) * 2


class Two(nn.Module):
    """Two layers; ``kind`` makes their neurons."""

    def __init__(self, kind: Callable[[], nn.Module] = lambda: snn.Leaky(beta=0.9, threshold=0.4)) -> None:
        super().__init__()
        torch.manual_seed(0)
        self.fc1, self.lif1, self.fc2, self.lif2 = nn.Linear(4, 5), kind(), nn.Linear(5, 2), kind()


class Pair(NamedTuple):
    first: torch.Tensor
    second: torch.Tensor


class Listed(Two):
    made: Any = list

    def forward(self, x, mems):
        spk, mem1 = self.lif1(self.fc1(x), mems[0])
        spk, mem2 = self.lif2(self.fc2(spk), mems[1])
        return spk, self.made([mem1, mem2])


class Tupled(Listed):
    made = tuple


class Unpacked(Two):
    def forward(self, x, mems):
        mem1, mem2 = mems
        spk, mem1 = self.lif1(self.fc1(x), mem1)
        spk, mem2 = self.lif2(self.fc2(spk), mem2)
        return spk, (mem1, mem2)


class Named(Two):
    def forward(self, x, mems):
        spk, mem1 = self.lif1(self.fc1(x), mems.first)
        spk, mem2 = self.lif2(self.fc2(spk), mems.second)
        return spk, Pair(mem1, mem2)


class Keyed(Two):
    def forward(self, x, mems):
        spk, mem1 = self.lif1(self.fc1(x), mems["lif1"])
        spk, mem2 = self.lif2(self.fc2(spk), mems["lif2"])
        return spk, mem1, mem2


class OneListed(Two):
    def forward(self, x, mems):
        spk, mem = self.lif1(self.fc1(x), mems[0])
        return spk, [mem]


def synaptic() -> nn.Module:
    return snn.Synaptic(alpha=0.5, beta=0.9, threshold=0.4)


class Nested(Two):
    def __init__(self) -> None:
        super().__init__(synaptic)

    def forward(self, x, states):
        (syn1, mem1), (syn2, mem2) = states
        spk, syn1, mem1 = self.lif1(self.fc1(x), syn1, mem1)
        spk, syn2, mem2 = self.lif2(self.fc2(spk), syn2, mem2)
        return spk, [(syn1, mem1), (syn2, mem2)]


class DictInput(Two):
    def forward(self, given):
        mem, out = self.lif1.reset_mem(), []
        for x in given["obs"]:
            spk, mem = self.lif1(self.fc1(x), mem)
            out.append(spk)
        return torch.stack(out)


class Delta(Two):
    def __init__(self) -> None:
        super().__init__(lambda: snn.DeltaLeaky(beta=0.9, threshold=0.4))

    def forward(self, x):
        mem, out = self.lif1.reset_mem(), []
        for frame in x:
            spk, mem = self.lif1(self.fc1(frame), mem)
            out.append(spk)
        return torch.stack(out)


class Fixed(Two):
    """Batch first, and always seven steps."""

    def forward(self, x):
        mem, out = self.lif1.reset_mem(), []
        for t in range(T):
            spk, mem = self.lif1(self.fc1(x[:, t]), mem)
            out.append(spk)
        return torch.stack(out, dim=1)


class FixedBatch(Two):
    def forward(self, x):
        mem, out = self.lif1.reset_mem(), []
        for _ in range(T):
            spk, mem = self.lif1(self.fc1(x.view(BATCH, -1)), mem)
            out.append(spk)
        return torch.stack(out)


class FixedBoth(Two):
    def forward(self, x):
        mem, out = self.lif1.reset_mem(), []
        for t in range(T):
            spk, mem = self.lif1(self.fc1(x[:, t].reshape(BATCH, 4)), mem)
            out.append(spk)
        return torch.stack(out, dim=1)


class AddsToZeros(Two):
    """The sum of two branches, begun with zeros."""

    def forward(self, x):
        mem, out = self.lif1.reset_mem(), []
        for frame in x:
            total = torch.zeros(len(frame), 5)
            total = total + self.fc1(frame)
            total += self.fc1(frame * 0.5)
            spk, mem = self.lif1(total, mem)
            out.append(spk)
        return torch.stack(out)


class DictOutput(Listed):
    """States in a dict, there and back."""

    def forward(self, x, mems):
        spk, mem1 = self.lif1(self.fc1(x), mems["lif1"])
        spk, mem2 = self.lif2(self.fc2(spk), mems["lif2"])
        return {"spk": spk, "mems": {"lif1": mem1, "lif2": mem2}}


class Switched(Two):
    """The input last, after a number and a switch."""

    def forward(self, steps, double, x):
        mem, out = self.lif1.reset_mem(), []
        for t in range(steps):
            spk, mem = self.lif1(self.fc1(x[t]) * (2 if double else 1), mem)
            out.append(spk)
        return torch.stack(out)


class Varargs(Unpacked):
    def forward(self, x, *mems):
        return super().forward(x, mems)


class OptionalStates(Unpacked):
    def forward(self, x, mems=None):
        return super().forward(x, (self.lif1.reset_mem(), self.lif2.reset_mem()) if mems is None else mems)


class NoStates(Unpacked):
    def forward(self, x, mems=(None, None)):
        made = [
            lif.reset_mem() if mem is None else mem
            for lif, mem in zip((self.lif1, self.lif2), mems, strict=True)
        ]
        return super().forward(x, made)


M, N = torch.zeros(BATCH, 5), torch.zeros(BATCH, 2)
CALLS: dict[str, tuple[Callable[[], nn.Module], Any, Any]] = {
    "list": (Listed, (X[0], [M, N]), X),
    "tuple": (Tupled, (X[0], (M, N)), X),
    "unpacked": (Unpacked, (X[0], [M, N]), X),
    "NumPy": (Unpacked, (X[0], [M.numpy(), N.numpy()]), X),
    "named tuple": (Named, (X[0], Pair(M, N)), None),
    "dict": (Keyed, (X[0], {"lif1": M, "lif2": N}), X),
    "one state": (OneListed, (X[0], [M]), X),
    "nested": (Nested, (X[0], [(M, M), (N, N)]), X),
    "dict of the input": (DictInput, {"obs": X}, None),
    "DeltaLeaky": (Delta, X, X),
    "batch first, fixed steps": (Fixed, X.transpose(0, 1), X),
    "fixed batch": (FixedBatch, X[0].reshape(BATCH, 2, 2), X[:1].expand(T, -1, -1).reshape(T, BATCH, 2, 2)),
    "fixed batch and steps": (FixedBoth, X.transpose(0, 1), X),
    "added to zeros": (AddsToZeros, X, X),
}


BY_SAMPLE: dict[str, tuple[Callable[[], nn.Module], Any]] = {
    "named tuple": (Named, (X[0], Pair(M, N))),
    "dict of the input": (DictInput, {"obs": X}),
    "dict returned": (DictOutput, (X[0], {"lif1": M, "lif2": N})),
    "switches": (Switched, (T, True, X)),
    "*args": (Varargs, (X[0], M, N)),
    "optional states": (OptionalStates, X[0]),
    "default of nothing": (NoStates, X[0]),
}


@pytest.mark.parametrize("name", BY_SAMPLE)
def test_what_ports_by_a_sample_is_cross_validated_by_it(name: str):
    make, sample = BY_SAMPLE[name]
    port = interop.from_snntorch(make().eval(), sample)
    report = interop.crossvalidate(make().eval(), port, X.numpy(), sample=sample)
    assert report.agree
    spikes = jax.tree.leaves(snnax.unroll(*port, X.numpy())[0])[0]
    assert spikes.any()


def plain_run(net: nn.Module, sample: Any) -> torch.Tensor:
    """The spikes of a network over X, called as its user would."""
    with torch.no_grad():
        if isinstance(sample, tuple):
            spikes, (_, *states) = [], sample
            states = jax.tree.map(
                torch.as_tensor, states, is_leaf=lambda leaf: not isinstance(leaf, list | tuple | dict)
            )
            for x in X:
                spk, *states = net(x, *states)
                states = [dict(zip(("lif1", "lif2"), states, strict=True))] if len(states) == 2 else states
                spikes.append(spk)
            return torch.stack(spikes)
        result = net(sample)
    return result.transpose(0, 1) if isinstance(net, Fixed | FixedBoth) else result


@pytest.mark.parametrize("name", CALLS)
def test_what_ports_is_cross_validated(name: str):
    make, sample, x = CALLS[name]
    net = make().eval()
    model, variables = interop.from_snntorch(net, sample)
    whole = X[:1].expand(T, -1, -1).reshape(T, BATCH, 2, 2) if name == "fixed batch" else X
    found, _ = snnax.unroll(model, variables, whole.numpy())
    found = found[0] if isinstance(found, tuple) else found
    expected = plain_run(make().eval(), sample)
    assert expected.any()
    np.testing.assert_array_equal(np.asarray(found), expected.numpy())
    if x is not None:
        assert interop.crossvalidate(net, (model, variables), x.numpy()).agree


def test_a_batch_first_network_says_how_to_turn_its_input():
    net = Fixed().eval()
    port = interop.from_snntorch(net, X.transpose(0, 1))
    with pytest.raises(ShapeError, match=r"swapaxes\(0, 1\)"):
        interop.crossvalidate(net, port, X.transpose(0, 1))


# Messages ------------------------------------------------------------------------------------------------


class Faulty(nn.Module):
    """Three faults in one forward."""

    def __init__(self) -> None:
        super().__init__()
        self.fc, self.act, self.lif = nn.Linear(4, 5), nn.GELU(), snn.Leaky(beta=0.9, init_hidden=True)
        self.own = snn.Leaky(beta=0.9, init_hidden=True)
        self.own.fire = lambda mem: mem

    def forward(self, x):
        x = torch.relu(self.fc(x))
        x = self.own(x)
        if x.sum() > 0:
            x = x * 2
        return self.lif(self.act(x.sigmoid()))


def test_all_faults_are_said_at_once_with_their_lines():
    with pytest.raises(ConversionError) as caught:
        snntorch_graph(Faulty().eval(), X[0])
    message = str(caught.value)
    start = Faulty.forward.__code__.co_firstlineno
    for number, (words, line) in enumerate(
        [
            ("fire was replaced", 2),
            ("reads the value of a signal with __bool__", 3),
            ("relu", 1),
            ("sigmoid", 5),
        ],
        1,
    ):
        (said,) = [row for row in message.splitlines() if words in row]
        assert f"(test_calls.py:{start + line})" in said, (number, said)
    assert len(caught.value.others) == 4 and message.startswith("5 things cannot be converted")


def test_all_layers_without_an_equal_are_said_at_once():
    net = nn.Sequential(
        nn.Linear(4, 4), nn.GELU(), snn.Leaky(beta=0.9, init_hidden=True, spike_grad=lambda x: x),
        nn.Softplus(), snn.Leaky(beta=0.9, init_hidden=True),
    )  # fmt: skip
    with pytest.raises(ConversionError) as caught:
        snntorch_graph(net.eval(), X[0])
    for words in ("'1': torch.nn", "GELU", "'2': its spike_grad", "'3': torch.nn", "Softplus"):
        assert words in str(caught.value)


def test_one_fault_is_said_as_before():
    net = nn.Sequential(nn.Linear(4, 4), nn.GELU(), snn.Leaky(beta=0.9, init_hidden=True)).eval()
    with pytest.raises(ConversionError) as caught:
        snntorch_graph(net, X[0])
    assert caught.value.node == "1" and not caught.value.others and str(caught.value).startswith("'1': ")


class Raises(Two):
    def forward(self, x):
        return self.lif1(self.fc1(x) + self.missing)


class Sums(Two):
    def forward(self, x):
        mem, total = self.lif1.reset_mem(), torch.zeros(x.shape[1], 5)
        for frame in x:
            spk, mem = self.lif1(self.fc1(frame), mem)
            total += spk
        return total


class NormEachStep(Two):
    def __init__(self) -> None:
        super().__init__()
        self.bn = nn.ModuleList(nn.BatchNorm1d(5) for _ in range(T))

    def forward(self, x):
        mem, out = self.lif1.reset_mem(), []
        for t in range(T):
            spk, mem = self.lif1(self.bn[t](self.fc1(x[t])), mem)
            out.append(spk)
        return torch.stack(out)


class StackedStates(Two):
    def forward(self, x, state=None):
        mem = torch.zeros(x.shape[0], 5) if state is None else state[0]
        spk, mem = self.lif1(self.fc1(x), mem)
        return spk, torch.stack([mem, spk])


class ZeroParameter(Two):
    """A parameter that is zero now is trained: it is no constant."""

    def __init__(self) -> None:
        super().__init__()
        self.shift = nn.Parameter(torch.zeros(BATCH, 5))

    def forward(self, x):
        mem, out = self.lif1.reset_mem(), []
        for frame in x:
            spk, mem = self.lif1(self.fc1(frame) + self.shift, mem)
            out.append(spk)
        return torch.stack(out)


MESSAGES: dict[str, tuple[Callable[[], nn.Module], Any, str]] = {
    "raises": (Raises, X[0], "AttributeError|missing|test_calls.py:"),
    "sum over time": (Sums, X, "a sum over time|torch.stack(spk_rec)"),
    "norm of each step": (NormEachStep, X, "'bn.1'|step 1 uses 'bn.1' where step 0 uses 'bn.0'|BatchNormTT1d"),
    "states in one tensor": (StackedStates, (X[0], None), "joins tensors into one|tuple"),
    "a parameter of zeros": (ZeroParameter, X, "not computed from the sample"),
    "reset without delay": (
        lambda: nn.Sequential(nn.Linear(4, 4), snn.RSynaptic(
            alpha=0.5, beta=0.9, linear_features=4, reset_delay=False, init_hidden=True)),
        X[0], "'1'|snnTorch 1.0.0 cannot run RSynaptic(reset_delay=False)|interop.from_state_dict(",
    ),
}  # fmt: skip


@pytest.mark.parametrize("name", MESSAGES)
def test_the_message_names_the_cause(name: str):
    make, sample, words = MESSAGES[name]
    with pytest.raises(ConversionError) as caught:
        snntorch_graph(make().eval(), sample)
    assert all(word in str(caught.value) for word in words.split("|")), str(caught.value)


def test_the_way_for_a_reset_without_delay_works():
    """The lines that the refusal names: snnax runs what snnTorch cannot."""
    net = nn.Sequential(
        nn.Linear(4, 4),
        snn.RSynaptic(alpha=0.5, beta=0.8, linear_features=4, reset_delay=False, init_hidden=True),
    )
    neuron = snnax.RSynaptic(alpha=0.1, beta=0.2, linear_features=4, reset_delay=False, init_hidden=True)
    model = snnax.Sequential([linen.Dense(4), neuron])
    x = X[0].numpy()
    variables = interop.from_state_dict(model, model.init(jax.random.key(0), x), net.state_dict(), x)
    weight = variables["params"]["layers_1"]["recurrent"]["kernel"]
    np.testing.assert_array_equal(np.asarray(weight).T, net[1].recurrent.weight.detach().numpy())
    assert snnax.unroll(model, variables, X.numpy())[0].shape == (T, BATCH, 4)


class ReturnsMembrane(Two):
    def forward(self, x, mem):
        _, mem = self.lif1(self.fc1(x), mem)
        return mem * 1.0, mem


def test_a_membrane_that_is_returned_is_refused_by_name_in_a_file(tmp_path: Path):
    graph = interop.to_nir(*interop.from_snntorch(ReturnsMembrane().eval(), (X[0], M)))
    with pytest.raises(
        ConversionError, match=r"lif1.mem.*reads the mem of a neuron.*extensions=True.*spikes only"
    ):
        interop.write_nir(tmp_path / "net.nir", graph)
    assert not list(tmp_path.iterdir())
    interop.write_nir(tmp_path / "net.nir", graph, extensions=True)
