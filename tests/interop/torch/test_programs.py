"""Programs compute what their networks do: on other values, another batch, bit for bit; or tracing says why not."""

import copy
import threading
import weakref
from dataclasses import dataclass

import numpy as np
import pytest
import snntorch as snn
import torch
from helpers.program_in_torch import gradients, run
from helpers.traced_nets import (
    NETS,
    AllAtOnce,
    Attention,
    BatchFirst,
    Changed,
    EncoderBefore,
    FrameLoop,
    Gated,
    Hidden,
    LastAxis,
    Merged,
    Moving,
    Noise,
    NormPerStep,
    OneStep,
    OwnFeedback,
    RunningTotal,
    Truncated,
    TwoLoops,
    WrittenOut,
)
from torch import nn

from snnax import interop
from snnax.errors import ConversionError, ShapeError, TrainingModeError
from snnax.interop.program.nodes import NEURON, Affine, Leaf, NoState, flat
from snnax.interop.torch.programs import trace_program

BATCH, OTHER = 3, 5
LOOPS = {TwoLoops: 2, OneStep: 0, Hidden: 0, AllAtOnce: 0}
PEELED = (Moving, Truncated)
"""Their first step is another one: a sum of another shape, another factor."""


def traced(kind):
    torch.manual_seed(0)
    net = kind().eval()
    return net, trace_program(net, (NETS[kind](BATCH),))


def assert_same(got, want):
    for a, b in zip(flat(got), flat(want), strict=True):
        if isinstance(b, torch.Tensor):
            assert a.dtype == b.dtype and torch.equal(a, b)
        else:
            assert (float(a) if isinstance(b, float) else a) == b


@pytest.mark.parametrize("kind", NETS, ids=lambda kind: kind.__name__)
def test_a_program_is_its_network(kind):
    net, program = traced(kind)
    x = NETS[kind](OTHER)
    torch.manual_seed(1)
    got, _ = run(program, net, (x,))
    torch.manual_seed(1)
    with torch.no_grad():
        assert_same(got, net(x))


@pytest.mark.parametrize("kind", NETS, ids=lambda kind: kind.__name__)
def test_every_step_is_in_a_loop(kind):
    _, program = traced(kind)
    notes = {note.kind for note in program.notes}
    assert "unrolled" not in notes and program.batch and program.size == BATCH
    loops = [loop for loop in program.loops if any(n.op == NEURON or n.function for n in loop.body)]
    assert len(loops) == LOOPS.get(kind, 1)
    outside = [n for n in program.items if getattr(n, "op", None) == NEURON]
    assert bool(outside) == (kind in (*PEELED, OneStep, Hidden))


SMOOTH = [FrameLoop, BatchFirst, LastAxis, EncoderBefore, RunningTotal, OwnFeedback, WrittenOut, TwoLoops, NormPerStep,
          OneStep, Moving, Merged, Attention, Truncated, Gated]  # fmt: skip
"""Networks whose gradients are those of their operations and of the neurons."""


@pytest.mark.parametrize("kind", SMOOTH, ids=lambda kind: kind.__name__)
def test_gradients_flow_as_in_the_network(kind):
    net, program = traced(kind)
    x = NETS[kind](OTHER)

    def loss(outputs):
        tensors = [t for t in flat(outputs) if isinstance(t, torch.Tensor)]
        return sum((t * torch.linspace(0.5, 2.0, t.numel()).view_as(t)).sum() for t in tensors)

    got = gradients(program, net, (x,), loss)
    loss(net(x)).backward()
    want = {name: p.grad for name, p in net.named_parameters()}
    assert got and any(g is not None and g.abs().max() > 0 for g in got.values())
    for name, gradient in got.items():
        torch.testing.assert_close(gradient, want[name], rtol=1e-4, atol=1e-4)


def step(program):
    (loop,) = program.loops
    return loop


def test_a_neuron_is_one_operation_with_its_parameters():
    net, program = traced(FrameLoop)
    first, second = (node for node in step(program).body if node.op == NEURON)
    assert (first.path, second.path) == ("lif1", "lif2") and list(program.neurons) == ["lif1", "lif2"]
    assert list(second.args[1]) == ["syn", "mem"] and len(second.results) == 3
    beta = program.inputs[second.args[2]["beta"].index]
    assert (beta.kind, beta.name, beta.trained) == ("buffer", "lif2.beta", False)
    assert beta.value == net.lif2.beta.numpy()
    weight = next(entry for entry in program.inputs if entry.name == "fc1.weight")
    assert weight.kind == "parameter" and weight.trained
    assert torch.equal(torch.from_numpy(weight.value), net.fc1.weight.detach())
    assert all(handed.init == NoState() for handed in step(program).carries)


def test_operations_know_where_they_come_from():
    _, program = traced(FrameLoop)
    node = next(n for n in step(program).body if n.op == "addmm")
    assert node.path == "fc2" and node.layer.path == "fc2" and node.layer.kind.endswith("linear.Linear")
    assert node.line.startswith("traced_nets.py:") and node.gradient and node.function is None


def test_what_follows_the_batch_says_how():
    _, program = traced(OwnFeedback)
    assert program.batch == [(Leaf(0), 1)]
    assert program.inputs[0].result.shape == (6, Affine(1, 0), 6)
    assert {handed.result.shape for handed in step(program).carries} == {(Affine(1, 0), 8)}


def test_spikes_of_two_steps_before_are_a_delay_line():
    _, program = traced(OwnFeedback)
    assert sum(type(handed.new).__name__ == "Carry" for handed in step(program).carries) == 1


def test_states_that_are_kept_are_inputs_and_updates():
    net, program = traced(Hidden)
    (state,) = (entry for entry in program.inputs if entry.kind == "state")
    assert state.name == "layers.1.mem" and [*program.updates] == ["layers.1.mem"]
    x = torch.rand(OTHER, 6)
    first, updates = run(program, net, (x,))
    second, _ = run(program, net, (x,), states=updates)
    with torch.no_grad():
        assert_same((first, second), (net(x), net(x)))


def test_what_was_changed_past_autograd_is_noted():
    net, program = traced(Changed)
    (note,) = program.notes
    assert note.kind == "data" and note.line.startswith("traced_nets.py:")
    assert [*program.updates] == ["lif.threshold"]
    assert net.lif.threshold == torch.tensor(1.2)  # a copy was traced
    silent = {node.op for node in program.nodes() if not node.gradient}
    assert silent == {"abs", "mean"}


def test_random_numbers_are_drawn_in_each_step():
    _, program = traced(Noise)
    assert [node.op for node in step(program).body].count("rand_like") == 1


# --- What is refused, and what is noted -----------------------------------------------------------


class Small(nn.Module):
    """``step`` on what a neuron gives."""

    def __init__(self, between):
        super().__init__()
        self.fc, self.lif, self.between = nn.Linear(6, 8), snn.Leaky(beta=0.9), between
        self.seen = None

    def forward(self, x):
        mem, out = self.lif.init_leaky(), []
        for t in range(x.shape[0]):
            spk, mem = self.lif(self.fc(x[t]) * 3, mem)
            spk = self.between(self, spk)
            if spk is None:
                break
            out.append(spk)
        return torch.stack(out)


def stops(net, spk):
    return None if spk.sum() > 1000 else spk


def scales(net, spk):
    return spk / (1.0 + int(spk.sum().item()))


def through_numpy(net, spk):
    return spk * float(spk.detach().numpy().sum() + 1)


def raises(net, spk):
    if torch.isnan(spk).any():
        raise ValueError("NaN")
    return spk


def remembers(net, spk):
    before, net.seen = net.seen, spk
    return spk if before is None else spk + before


def prints(net, spk):
    text = f"{spk.mean().item():.3f}"
    return spk if text else None


REFUSED = [
    (stops, "hangs on it"),
    (scales, "test_programs.py"),
    (through_numpy, "another"),
    (remembers, "second call"),
]


@pytest.mark.parametrize(("between", "words"), REFUSED, ids=[f.__name__ for f, _ in REFUSED])
def test_what_depends_on_the_data_is_refused(between, words):
    with pytest.raises(ConversionError, match=words) as caught:
        trace_program(Small(between).eval(), (torch.rand(4, BATCH, 6),))
    assert caught.value.remedy


def test_the_line_is_named():
    with pytest.raises(ConversionError) as caught:
        trace_program(Small(stops).eval(), (torch.rand(4, BATCH, 6),))
    assert caught.value.line == f"test_programs.py:{stops.__code__.co_firstlineno + 1}"


def test_a_check_that_raises_is_a_guard():
    program = trace_program(Small(raises).eval(), (torch.rand(4, BATCH, 6),))
    (note,) = program.notes
    assert note.kind == "guard" and "NaN" in note.text


def test_what_is_only_printed_is_nothing():
    program = trace_program(Small(prints).eval(), (torch.rand(4, BATCH, 6),))
    assert not program.notes and [n.op for n in step(program).body] == ["addmm", "mul.Tensor", NEURON]


class Small1(nn.Module):
    """One sample is a case of its own: it loses its axis, or takes another way."""

    def __init__(self, least):
        super().__init__()
        self.fc, self.lif, self.least = nn.Linear(3, 1), snn.Leaky(beta=0.9), least

    def forward(self, x):
        mem, total = self.lif.init_leaky(), 0
        for t in range(x.size(1)):
            _, mem = self.lif(self.fc(x[:, t]), mem)
            total = total + mem
        return total.squeeze() if x.size(0) >= self.least else -total.squeeze()


@pytest.mark.parametrize(("least", "fewest"), [(1, 2), (3, 4)])
def test_a_smaller_batch_that_is_another_program_is_refused(least, fewest):
    torch.manual_seed(0)
    net, x = Small1(least).eval(), torch.rand(4, 5, 3)
    program = trace_program(net, (x,))
    assert program.fewest == fewest and any("with a batch of " in note.text for note in program.notes)
    model, variables = interop.from_snntorch(net, x)
    np.testing.assert_allclose(model.apply(variables, x.numpy()), net(x).detach(), atol=1e-6)
    assert model.apply(variables, np.ones((9, 5, 3), np.float32)).shape == (9,)
    with pytest.raises(
        ShapeError, match=f"a batch of {fewest - 1}; expected {fewest} or more: with a batch of"
    ):
        model.apply(variables, np.ones((fewest - 1, 5, 3), np.float32))


def test_a_fixed_batch_is_noted():
    class Fixed(Hidden):
        def forward(self, x):
            return self.layers(x.view(BATCH, 6))

    program = trace_program(Fixed().eval(), (torch.rand(BATCH, 6),))
    assert [note.kind for note in program.notes] == ["batch"] and not program.batch


def test_training_mode_is_refused():
    net = nn.Sequential(nn.Linear(6, 8), nn.BatchNorm1d(8), snn.Leaky(beta=0.9, init_hidden=True))
    with pytest.raises(TrainingModeError):
        trace_program(net, (torch.rand(BATCH, 6),))


def test_what_forward_raises_is_reported_with_its_line():
    with pytest.raises(ConversionError, match=r"raised RuntimeError.*traced_nets\.py"):
        trace_program(FrameLoop().eval(), (torch.rand(BATCH, 7),))


def test_gradients_of_own_functions_that_are_no_data_flow_are_marked():
    class Sign(torch.autograd.Function):
        @staticmethod
        def forward(ctx, x):
            return x.sign()

        @staticmethod
        def backward(ctx, gradient):
            return gradient * float(gradient.sum())

    program = trace_program(Small(lambda net, spk: Sign.apply(spk)).eval(), (torch.rand(4, BATCH, 6),))
    node = next(n for n in step(program).body if n.op == "sign")
    assert node.function.kind.endswith("Sign") and all(
        n.function is None for n in step(program).body if n is not node
    )


# --- What tracing leaves behind -------------------------------------------------------------------


def held(net):
    return [(name, {k: id(v) for k, v in vars(m).items()}) for name, m in net.named_modules()]


@pytest.mark.parametrize("broken", [False, True])
def test_the_network_stays_as_it_is(broken):
    net = FrameLoop().eval()
    before, values, grown = held(net), copy.deepcopy(net.state_dict()), list(snn.SpikingNeuron.instances)
    generator = torch.get_rng_state()
    if broken:
        with pytest.raises(ConversionError):
            trace_program(net, (torch.rand(BATCH, 7),))
    else:
        trace_program(net, (torch.ones(BATCH, 6),))
    assert held(net) == before and snn.SpikingNeuron.instances == grown
    assert all(torch.equal(a, b) for a, b in zip(values.values(), net.state_dict().values(), strict=True))
    assert all(p.requires_grad for p in net.parameters())
    if not broken:
        assert torch.equal(generator, torch.get_rng_state())


def test_activations_are_not_kept_alive():
    gone = {"all": None}  # what grows from call to call would be refused

    def between(net, spk):
        large = spk * 2
        reference = weakref.ref(large)
        out = large + 1
        del large
        gone["all"] = gone["all"] is not False and reference() is None
        return out

    trace_program(Small(between).eval(), (torch.rand(4, BATCH, 6),))
    assert gone["all"]


def test_threads_trace_side_by_side():
    found = {}

    def work(kind):
        found[kind] = traced(kind)

    threads = [threading.Thread(target=work, args=(kind,)) for kind in (OwnFeedback, TwoLoops)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    for kind, (net, program) in found.items():
        x = NETS[kind](OTHER)
        with torch.no_grad():
            assert_same(run(program, net, (x,))[0], net(x))


def test_arguments_may_lie_in_dicts_and_lists():
    class Many(nn.Module):
        def __init__(self):
            super().__init__()
            self.lif = snn.Leaky(beta=0.9)

        def forward(self, data, mems, gain=1.0):
            spk, mem = self.lif(data["x"] * gain, mems[0])
            return {"spk": spk, "mems": [mem, mems[1]]}

    net = Many().eval()
    x, mem = torch.rand(BATCH, 6).numpy(), torch.rand(BATCH, 6)
    program = trace_program(net, ({"x": x}, [mem, mem * 2]), {"gain": 2.0})
    names = [entry.name for entry in program.inputs if entry.kind == "argument"]
    assert names == ["data['x']", "mems[0]", "mems[1]"]
    assert program.batch == [(Leaf(0), 0), (Leaf(1), 0), (Leaf(2), 0)]
    given = ({"x": torch.rand(OTHER, 6)}, [torch.rand(OTHER, 6), torch.rand(OTHER, 6)])
    with torch.no_grad():
        assert_same(run(program, net, given)[0], net(*given, gain=2.0))


def test_an_argument_of_no_size_is_a_state():
    class Step(nn.Module):
        def __init__(self):
            super().__init__()
            self.fc, self.lif = nn.Linear(6, 8), snn.Leaky(beta=0.9)

        def forward(self, x, mem):
            return self.lif(self.fc(x), mem)

    net = Step().eval()
    program = trace_program(net, (torch.rand(BATCH, 6), torch.zeros(0)))
    state = program.arguments[0][1]
    assert program.inputs[state.index].result.shape == (Affine(1, 0), 8)
    x, mem = torch.rand(OTHER, 6), torch.rand(OTHER, 8)
    with torch.no_grad():
        assert_same(run(program, net, (x, mem))[0], net(x, mem))


def test_values_of_weights_may_be_read():
    """What Python does with weights is the same for every sample."""

    def between(net, spk):
        return spk * net.fc.weight.abs().max().item() if net.fc.bias.sum() < 100 else None

    program = trace_program(Small(between).eval(), (torch.rand(4, BATCH, 6),))
    assert not program.notes and step(program).steps == 4


def test_cells_of_norse_are_operations_too():
    norse = pytest.importorskip("norse.torch")

    class Cells(nn.Module):
        def __init__(self):
            super().__init__()
            self.fc, self.lif, self.readout = nn.Linear(6, 8), norse.LIFCell(), norse.LICell()

        def forward(self, x):
            first, second, out = None, None, []
            for t in range(x.shape[0]):
                z, first = self.lif(self.fc(x[t]) * 8, first)
                v, second = self.readout(z, second)
                out.append(v)
            return torch.stack(out)

    net = Cells().eval()
    program = trace_program(net, (torch.rand(6, BATCH, 6),))
    # the first step makes the states, as operations do that the others do not have
    assert step(program).steps == 5 and not program.neurons
    x = torch.rand(6, OTHER, 6)
    with torch.no_grad():
        assert_same(run(program, net, (x,))[0], net(x))


class OfTheBatch(nn.Module):
    """A number that Python computes of the size of the batch."""

    def __init__(self, number):
        super().__init__()
        self.fc, self.lif, self.number = nn.Linear(6, 4), snn.Leaky(beta=0.9), number

    def forward(self, x):
        mem, total = self.lif.init_leaky(), 0
        for frame in x:
            spk, mem = self.lif(self.fc(frame), mem)
            total = total + spk.sum(0) + mem[: self.number(len(frame))].sum(0)
        return total / self.number(len(frame))


LINES = {
    "half": lambda batch: (batch + 1) // 2, "least": lambda batch: min(batch, 4), "pairs": lambda batch: batch**2 - 1,
    "roots": lambda batch: int(10 * batch**0.5),
}  # fmt: skip


@pytest.mark.parametrize("number", LINES.values(), ids=LINES)
def test_numbers_in_a_line_for_two_batches_need_not_be_for_others(number):
    program = trace_program(OfTheBatch(number).eval(), (torch.rand(4, 3, 6),))
    (note,) = (note for note in program.notes if note.kind == "batch")
    assert not program.batch and "for a batch of 7 by those of 3 and 4" in note.text and note.line


def test_what_hangs_on_the_batch_runs_for_that_of_the_sample():
    net, x = OfTheBatch(lambda batch: batch**0.5 if batch > 3 else 2).eval(), torch.rand(4, 3, 6)
    model, variables = interop.from_snntorch(net, x)
    np.testing.assert_allclose(model.apply(variables, x.numpy()), net(x).detach(), rtol=1e-5)
    with pytest.raises(ShapeError):
        model.apply(variables, torch.rand(4, 5, 6).numpy())


def test_what_torch_compiled_is_not_compiled_anew(monkeypatch):
    def compiled(*args):
        raise AssertionError("the compiler ran")

    net = nn.Sequential(
        torch.compile(nn.Linear(6, 4), backend=compiled), snn.Leaky(beta=0.9, init_hidden=True)
    )
    program = trace_program(net.eval(), (torch.rand(3, 6),))
    assert {known.name for known in program.inputs if known.trained} == {
        "0._orig_mod.weight",
        "0._orig_mod.bias",
    }


@pytest.mark.filterwarnings("ignore:.torch.jit:DeprecationWarning")
def test_modules_of_torchscript_have_their_parameters():
    net = nn.Sequential(torch.jit.script(nn.Linear(6, 4)), snn.Leaky(beta=0.9, init_hidden=True)).eval()
    program = trace_program(net, (torch.rand(3, 6),))
    assert {known.name for known in program.inputs if known.trained} == {"0.weight", "0.bias"}
    frozen = nn.Sequential(
        torch.jit.freeze(net[0]), net[1]
    )  # such a module has neither parameters nor a mode
    report = interop.crossvalidate(
        frozen, interop.from_snntorch(frozen, torch.rand(3, 6)), torch.rand(5, 3, 6)
    )
    assert report.agree, str(report)


class Banks(nn.Module):
    """It replaces a weight between its steps by others, which lie in the memory of tensors that it keeps."""

    def __init__(self):
        super().__init__()
        self.banks = [torch.randn(4, 6) for _ in range(2)]
        self.fc, self.lif = nn.Linear(6, 4), snn.Leaky(beta=0.9)

    def forward(self, x):
        mem, out = self.lif.init_leaky(), []
        for step in range(len(x)):
            self.fc.weight = nn.Parameter(self.banks[step // 3])
            spk, mem = self.lif(self.fc(x[step]), mem)
            out.append(spk)
        return torch.stack(out)


def test_weights_that_forward_puts_in_place_are_those_of_each_step():
    net, x = Banks().eval(), torch.rand(6, 2, 6)
    program, variables = interop.from_snntorch(net, x)
    assert interop.crossvalidate(net, (program, variables), x).agree


@dataclass
class Answer:
    """What a network returns."""

    logits: torch.Tensor
    rates: dict[str, torch.Tensor]
    state: None = None


class Answering(nn.Module):
    """Its result is a dataclass."""

    def __init__(self):
        super().__init__()
        self.fc, self.lif = nn.Linear(6, 4), snn.Leaky(beta=0.9)

    def forward(self, x):
        mem, total = self.lif.init_leaky(), 0
        for frame in x:
            spk, mem = self.lif(self.fc(frame) * 3, mem)
            total = total + spk
        return Answer(total, {"lif": total.mean()})


def test_dataclasses_become_named_tuples():
    net, x = Answering().eval(), torch.rand(4, 3, 6)
    model, variables = interop.from_snntorch(net, x)
    found = model.apply(variables, x.numpy())
    np.testing.assert_array_equal(found.logits, net(x).logits.detach())
    assert type(found).__name__ == "Answer" and found.state is None and found.rates["lif"].shape == ()
    assert interop.crossvalidate(net, (model, variables), x.numpy(), gradients=True).agree
    torch.testing.assert_close(interop.to_snntorch(model, variables)(x).logits, net(x).logits)
