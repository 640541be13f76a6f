"""What cannot be ported is refused: the message names the module, what was found, and the remedy."""

from __future__ import annotations

from typing import Any

import pytest

pytest.importorskip("snntorch")

import snntorch as snn
import torch
import torch.nn.functional as F
from helpers.torch_sides import trace
from helpers.torch_zoo import Block, Net, loop
from torch import nn

from snnax.errors import ArgumentError, ConversionError, ShapeError, SnnaxError, TrainingModeError

X = torch.rand(3, 4)
SEQUENCE = torch.rand(5, 3, 4)


def refuse(net: Any, sample: Any, error: type[SnnaxError], words: tuple[str, ...]) -> SnnaxError:
    """Trace, and check that the error is ``error`` and its message holds all ``words``."""
    with pytest.raises(error) as caught:
        trace(net, sample)
    assert type(caught.value) is error
    assert all(word in str(caught.value) for word in words), str(caught.value)
    return caught.value


# The network itself ------------------------------------------------------------------------------------


def hidden_leaky(**options: Any) -> nn.Module:
    return snn.Leaky(beta=0.9, init_hidden=True, **options)


def poisoned(name: str, value: float) -> nn.Module:
    net = Net(lambda n, x: n.lif1(n.fc1(x)), init_hidden=True)
    tensor = net.get_parameter(name) if "fc" in name else net.get_buffer(name)
    with torch.no_grad():
        tensor.view(-1)[0] = value
    return net


class OwnForward(snn.Leaky):
    def forward(self, x, mem=None):
        return super().forward(x * 2, mem)


class OwnFire(snn.Leaky):
    def fire(self, mem):
        return super().fire(mem * 2)


NETWORKS = {
    "no neuron": (lambda: nn.Sequential(nn.Linear(4, 2)), ConversionError, "'Sequential'|no snnTorch neuron"),
    "no module": (lambda: 3, ArgumentError, "torch.nn.Module|int"),
    "batch norm": (
        lambda: nn.Sequential(nn.BatchNorm1d(4), hidden_leaky()),
        TrainingModeError,
        "'0'|BatchNorm1d|Call net.eval() first.",
    ),
    "dropout": (
        lambda: nn.Sequential(nn.Linear(4, 4), nn.Dropout(0.1), hidden_leaky()),
        TrainingModeError,
        "'1'|Dropout|Call net.eval() first.",
    ),
    "F.dropout": (
        lambda: Net(lambda n, x: n.lif1(F.dropout(x)), init_hidden=True),
        TrainingModeError,
        "'Net'|dropout|test_refusals.py:|F.dropout(x, 0.5, training=self.training)|net.eval()|training=True",
    ),
    "F.batch_norm": (
        lambda: Net(lambda n, x: n.lif1(F.batch_norm(x, None, None, training=True)), init_hidden=True),
        TrainingModeError,
        "'Net'|batch_norm|test_refusals.py:|net.eval()|training=True",
    ),
    "batch statistics": (
        lambda: nn.Sequential(nn.BatchNorm1d(4, track_running_stats=False), hidden_leaky()).eval(),
        ConversionError,
        "'0'|running statistics",
    ),
    "NaN": (lambda: poisoned("fc1.weight", float("nan")), ConversionError, "'fc1'|1 of the 16|weight|NaN"),
    "infinity": (lambda: poisoned("fc2.bias", float("inf")), ConversionError, "'fc2'|bias|infinite"),
    "NaN buffer": (lambda: poisoned("lif2.threshold", float("nan")), ConversionError, "'lif2'|threshold"),
    "own forward": (
        lambda: nn.Sequential(nn.Linear(4, 3), OwnForward(beta=0.9, init_hidden=True)),
        ConversionError,
        "'1'|OwnForward|forward|snntorch.Leaky",
    ),
    "own fire": (lambda: OwnFire(beta=0.9, init_hidden=True), ConversionError, "'OwnFire'|overrides fire"),
    "other neuron": (
        lambda: nn.Sequential(nn.Linear(4, 4), snn.SLSTM(4, 3, init_hidden=True)),
        ConversionError,
        "'1'|SLSTM|from_state_dict",
    ),
}


@pytest.mark.parametrize("name", NETWORKS)
def test_networks(name: str):
    make, error, words = NETWORKS[name]
    refuse(make(), X, error, tuple(words.split("|")))


# The sample --------------------------------------------------------------------------------------------


def linear_net() -> nn.Module:
    return Net(lambda n, x: n.lif1(n.fc1(x)), init_hidden=True)


def conv_net() -> nn.Module:
    return nn.Sequential(nn.Conv2d(2, 3, 3), nn.Flatten(), nn.Linear(27, 2), hidden_leaky())


SAMPLES = {
    "features": (linear_net, (3, 5), "'fc1'|Linear|(3, 5)|expects (B, 4)"),
    "channels": (conv_net, (1, 1, 5, 5), "'0'|Conv2d|(1, 1, 5, 5)|expects (B, 2, H, W)"),
    "image size": (conv_net, (1, 2, 6, 6), "'2'|Linear|(1, 48)|expects (B, 27)"),
    "image without batch": (conv_net, (2, 5, 5), "'0'|(2, 5, 5)|expects (B, 2, H, W)|sample[None]"),
    "vector": (linear_net, (4,), "Net|(4,)|[B, ...]"),
    "sequence for one step": (linear_net, (5, 3, 4), "'fc1'|(5, 3, 4)|expects (B, 4)|sample[0]"),
    "view": (
        lambda: Net(lambda n, x: n.lif1(x.view(x.shape[0], 9)), init_hidden=True),
        (3, 4),
        "view|'Net'|(3, 4)",
    ),
}


@pytest.mark.parametrize("name", SAMPLES)
def test_samples(name: str):
    make, shape, words = SAMPLES[name]
    refuse(make(), torch.rand(shape), ShapeError, tuple(words.split("|")))


@pytest.mark.parametrize("name", ["features", "channels", "view"])
def test_torchs_own_error_is_the_cause(name: str):
    make, shape, _ = SAMPLES[name]
    assert isinstance(refuse(make(), torch.rand(shape), ShapeError, ()).__cause__, RuntimeError)


# Operations in forward ---------------------------------------------------------------------------------


class Spike(torch.autograd.Function):
    @staticmethod
    def forward(ctx, x):
        return torch.from_numpy(x.numpy() > 1).float() if x.requires_grad else torch.ones(3, 4)


OPERATIONS = {
    "relu": (lambda n, x: n.lif1(torch.relu(n.fc1(x))), "relu|outside the network"),
    "sigmoid": (lambda n, x: n.lif1(n.fc1(x).sigmoid()), "sigmoid"),
    "cat": (lambda n, x: n.lif1(n.fc1(torch.cat([x, x], 1))), "Linear|(3, 8)"),
    "cat of branches": (lambda n, x: n.lif1(torch.cat([n.fc1(x), n.fc2(x)], 1)), "cat|nn.Linear"),
    "channels": (lambda n, x: n.lif1(n.fc1(x)[:, :2]), "getitem|Only time may be indexed"),
    "one channel": (lambda n, x: n.lif1(n.fc1(x[:, 1])), "Linear|(3,)"),
    "product": (lambda n, x: n.lif1(n.fc1(x) * n.fc2(x)), "two tensors|mul|weights of a layer"),
    "parameter product": (lambda n, x: n.lif1(n.fc1(x) * n.fc2.bias), "two tensors|mul"),
    "random factor": (lambda n, x: n.lif1(n.fc1(x) * torch.rand(())), "two tensors|mul"),
    "quotient": (lambda n, x: n.lif1(1.0 / n.fc1(x)), "rdiv"),
    "matrix product": (lambda n, x: n.lif1(x @ n.fc1.weight), "matmul|nn.Linear"),
    "number": (lambda n, x: n.lif1(1.0 - n.fc1(x)), "adds a number|bias"),
    "constant": (lambda n, x: n.lif1(n.fc1(x) + torch.ones(3, 4)), "not computed from the sample"),
    "broadcast": (lambda n, x: n.lif1(n.fc1(x) + n.fc1.bias), "(4,)|broadcast|bias"),
    "noise": (lambda n, x: n.lif1(n.fc1(x) + torch.rand_like(x)), "not computed from the sample"),
    "custom function": (lambda n, x: n.lif1(n.fc2(Spike.apply(n.fc1(x)))), "not computed from the sample"),
    "computed weight": (lambda n, x: n.lif1(F.linear(x, n.fc1.weight.sign())), "linear|self.weight"),
    "item": (lambda n, x: n.lif1(n.fc1(x) * x.mean().item()), "item|control flow"),
    "condition": (lambda n, x: n.lif1(n.fc1(x)) if x.sum() > 0 else n.lif2(x), "__bool__|control flow"),
    "numpy": (lambda n, x: n.lif1(torch.from_numpy(n.fc1(x).numpy())), "numpy|control flow"),
    "type": (lambda n, x: n.lif1(n.fc1(x).int()), "int"),
    "batch moved": (lambda n, x: n.lif1(n.fc1(x).T), "T|batch axis"),
    "batch transposed": (lambda n, x: n.lif1(n.fc1(x).transpose(0, 1)), "transpose|batch axis"),
    "batch flattened": (
        lambda n, x: n.lif1(n.fc1(x).view(6, 2)),
        "reshape is given (3, 4)|mixes samples|x.flatten(1)",
    ),
    "poisson coding": (lambda n, x: n.lif1(n.fc1(torch.bernoulli(0 * x))), "bernoulli|Encode the input"),
    "bug": (lambda n, x: n.lif1(n.missing(x)), "AttributeError|missing|(3, 4)"),
    "set": (lambda n, x: {n.lif1(n.fc1(x))}, "a set|in a tuple, list or dict"),
    "constant output": (lambda n, x: (n.lif1(n.fc1(x)), torch.zeros(3)), "an output"),
}


@pytest.mark.parametrize("nested", [False, True], ids=["", "nested"])
@pytest.mark.parametrize("name", OPERATIONS)
def test_operations(name: str, nested: bool):
    forward, words = OPERATIONS[name]
    net = Net(forward, init_hidden=True)
    with pytest.raises(SnnaxError) as caught:
        trace(nn.Sequential(Block(4), net) if nested else net, X)
    message = str(caught.value)
    assert isinstance(caught.value, ConversionError | ShapeError)
    assert all(word in message for word in words.split("|")), message
    places = ("'1'", "'1.fc1'", "'Sequential'") if nested else ("'Net'", "'fc1'")
    assert any(place in message for place in places), message


# States ------------------------------------------------------------------------------------------------


def swapped(n, x):
    mem1, mem2, out = n.lif1.reset_mem(), n.lif1.reset_mem(), []
    for _ in range(4):
        spk, new1 = n.lif1(n.fc1(x), mem1)
        spk, mem1 = n.lif1(n.fc2(spk), mem2)
        mem2 = new1
        out.append(spk)
    return torch.stack(out)


def forked(n, x):
    mem, out = n.lif1.reset_mem(), []
    for _ in range(4):
        spk, new = n.lif1(n.fc1(x), mem)
        spk, _ = n.lif1(n.fc2(spk), new)
        mem = new
        out.append(spk)
    return torch.stack(out)


def attribute(n, x):
    spk, n.mem = n.lif1(n.fc1(x), getattr(n, "mem", n.lif1.reset_mem()))
    return spk


class Lossy(nn.Module):
    def __init__(self) -> None:
        super().__init__()
        self.lif = snn.Leaky(beta=0.9)

    def forward(self, x, mem):
        return self.lif(x, mem)[0]


class Leaking(Lossy):
    def forward(self, x, mem):
        return self.lif(x - mem, mem)


class NeedsScale(nn.Module):
    def __init__(self) -> None:
        super().__init__()
        self.lif = hidden_leaky()

    def forward(self, x, scale):
        return self.lif(x + scale)


STATES = {
    "hidden state twice": (
        lambda: Net(lambda n, x: n.lif1(n.fc2(n.lif1(n.fc1(x)))), init_hidden=True),
        X,
        "'lif1' 2 times|one step only|Give each layer a neuron of its own",
    ),
    "hidden state twice in a loop": (
        lambda: Net(lambda n, x: torch.stack([n.lif1(n.lif1(n.fc1(f))) for f in x]), init_hidden=True),
        SEQUENCE,
        "'lif1'|10 calls|5 steps|Give each layer its own neuron",
    ),
    "another neuron's": (
        lambda: Net(loop(lambda n, x, mem, t: n.lif2(n.lif1(n.fc1(x), mem)[0], mem))),
        X,
        "mem of 'lif2'",
    ),
    "crossed": (lambda: Net(swapped), X, "'lif1'|step 1 takes the states"),
    "forked": (lambda: Net(forked), X, "'lif1'|same state"),
    "changed": (
        lambda: Net(loop(lambda n, x, mem, t: n.lif1(n.fc1(x), mem * 0.5))),
        X,
        "'lif1'|mem was changed|scale|'Net'",
    ),
    "not zero at first": (
        lambda: Net(lambda n, x: torch.stack([n.lif1(n.fc1(x), torch.ones(3, 4))[0]])),
        X,
        "'lif1'|initial mem is not zero|reset_mem()",
    ),
    "kept in an attribute": (
        lambda: Net(attribute),
        X,
        "'lif1'|no argument|attribute|init_hidden=True",
    ),
    "zeroed in one step": (
        lambda: Net(lambda n, x: n.lif1(n.fc1(x), n.lif1.reset_mem())),
        X,
        "'lif1'|forgets|init_hidden=True|torch.stack",
    ),
    "zeroed in each step": (
        lambda: Net(lambda n, x: torch.stack([n.lif1(n.fc1(f), n.lif1.reset_mem())[0] for f in x])),
        SEQUENCE,
        "'lif1'|for 1 calls|reset states before the loop",
    ),
    "not returned": (Lossy, X, "'lif'|mem|return spk, mem"),
    "state as a signal": (Leaking, (X, torch.zeros(3, 4)), "'mem'|as a neuron's state"),
    "signal instead": (NeedsScale, X, "'NeedsScale'|'scale'|sample=(x, ...)"),
    "two inputs": (NeedsScale, (X, X), "exactly one argument|scale, x"),
}


@pytest.mark.parametrize("name", STATES)
def test_states(name: str):
    make, sample, words = STATES[name]
    refuse(make(), sample, ConversionError, tuple(words.split("|")))


# Loops -------------------------------------------------------------------------------------------------


def on_frame(current: Any) -> Any:
    """A loop over one frame in which the current is ``current(net, x, t)``."""
    return loop(lambda n, x, mem, t: n.lif1(current(n, x, t), mem))


def over(order: Any, current: Any, result: Any = torch.stack) -> Any:
    """A loop over a sequence in the order ``order(T)`` with ``current(net, x, t)``."""

    def forward(n, x):
        mem, out = n.lif1.reset_mem(), []
        for t in order(len(x)):
            spk, mem = n.lif1(current(n, x, t), mem)
            out.append(spk)
        return result(out)

    return forward


def plain(n, x, t):
    return n.fc1(x[t])


def feedback(n, x):
    mem, out, spk = n.lif1.reset_mem(), [], None
    for frame in x:
        spk, mem = n.lif1(n.fc1(frame) if spk is None else n.fc1(frame) + n.fc2(spk), mem)
        out.append(spk)
    return torch.stack(out)


def other_neuron(n, x):
    return torch.stack([(n.lif1 if t < 4 else n.lif2)(n.fc1(x[t]))[0] for t in range(5)])


def two_stacks(n, x):
    mem, spikes, membranes = n.lif1.reset_mem(), [], []
    for t in range(5):
        spk, mem = n.lif1(n.fc1(x[t]), mem)
        spikes.append(spk)
        membranes += [mem] if t else []
    return torch.stack(spikes), torch.stack(membranes)


LOOPS = {
    "layers stacked": (
        lambda n, x: torch.stack([n.lif1(n.fc1(x))[0], n.lif2(n.fc2(x))[0]]),
        X,
        "'lif1'|for 1 calls|2 steps|of each layer",
    ),
    "uneven stacks": (two_stacks, SEQUENCE, "stack joins 4 tensors|the loop over time has 5"),
    "other layer": (
        on_frame(lambda n, x, t: n.fc2(x) if t == 3 else n.fc1(x)),
        X,
        "step 3 uses 'fc2' where step 0 uses 'fc1'",
    ),
    "other wiring": (
        on_frame(lambda n, x, t: n.fc2(n.fc1(x)) + (n.fc1(x) if t == 2 else x)),
        X,
        "'fc1'|step 2 uses 'fc1' where step 0 uses 'add'",
    ),
    "other order": (
        on_frame(lambda n, x, t: torch.sub(n.fc1(x), x) if t < 2 else torch.sub(x, n.fc1(x))),
        X,
        "step 2 takes the input of scale",
    ),
    "other factor": (on_frame(lambda n, x, t: n.fc1(x) * (t + 2.0)), X, "step 1 uses 'scale' (3)|(2)"),
    "more layers": (on_frame(lambda n, x, t: n.fc2(n.fc1(x)) if t == 2 else n.fc1(x)), X, "'fc2'|step 2"),
    "other neuron": (other_neuron, SEQUENCE, "'lif1'|for 4 calls|5 steps"),
    "feedback": (feedback, SEQUENCE, "'lif1'|step 1|RLeaky"),
    "backwards": (over(lambda n: reversed(range(n)), plain), SEQUENCE, "step 0 reads entry 4 of time"),
    "previous frame": (
        over(range, lambda n, x, t: n.fc1(x[t]) + n.fc2(x[max(t - 1, 0)])),
        SEQUENCE,
        "step 1 reads entry 0 of time",
    ),
    "last step": (
        over(range, plain, lambda out: out[-1]),
        SEQUENCE,
        "'lif1' 5 times|one step only|torch.stack",
    ),
    "sum": (over(range, plain, sum), SEQUENCE, "'lif1' 5 times|or a sum|torch.stack"),
    "sum of a stack": (over(range, plain, lambda out: torch.stack(out).sum(0)), SEQUENCE, "sum|torch.stack"),
    "last of one frame": (
        lambda n, x: loop(lambda n, x, mem, t: n.lif1(n.fc1(x), mem))(n, x)[-1],
        X,
        "'lif1' 5 times|one step only|torch.stack",
    ),
    "joined in the batch": (over(range, plain, torch.cat), SEQUENCE, "[T*B, ...]|torch.stack"),
    "some steps": (
        over(range, plain, lambda out: torch.stack(out[1:])),
        SEQUENCE,
        "'lif1'|for 5 calls|4 steps",
    ),
    "first frame only": (
        lambda n, x: n.lif1(n.fc1(x[0])),
        SEQUENCE,
        "indexes its sample|Only time may be indexed",
    ),
    "norm over time": (
        lambda n, x: (lambda y: torch.stack([n.lif1(f)[0] for f in y]))(n.norm(x)),
        SEQUENCE,
        "'norm'|[T, B, ...]|x.flatten(0, 1)",
    ),
    "neuron over time": (
        lambda n, x: (torch.stack([n.lif1(f)[0] for f in x]), n.lif2(n.fc2(x))[0]),
        SEQUENCE,
        "'lif2'|[T, B, ...]|Loop over time",
    ),
}


@pytest.mark.parametrize("name", LOOPS)
def test_loops(name: str):
    forward, sample, words = LOOPS[name]
    net = Net(forward, norm=nn.BatchNorm1d(3).eval())
    refuse(net, sample, ConversionError, tuple(words.split("|")))
