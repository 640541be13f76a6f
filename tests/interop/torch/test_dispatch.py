"""What torch does to tensors, written down as data flow: views, writes in place, numbers of Python."""

import pytest
import torch
from helpers.program_in_torch import run
from torch import nn
from torch.nn import functional

from snnax.errors import ConversionError
from snnax.interop.program.nodes import flat
from snnax.interop.torch.programs import trace_program


class Net(nn.Module):
    def __init__(self, function):
        super().__init__()
        self.function, self.w = function, nn.Parameter(torch.linspace(-1, 1, 4))
        self.register_buffer("seen", torch.zeros(4))
        self.gain = torch.tensor([0.5, 1.0, 1.5, 2.0])

    def forward(self, x):
        return self.function(self, x)


def written_through_a_view(net, x):
    y = x * 2
    y[:, 1] = 7.0
    y[:, 2:].mul_(3)
    return y


def read_through_an_older_view(net, x):
    y = x + 1
    row, turned = y[:, 0], y.t()
    y.add_(net.w)
    turned[3] = 0
    return row, turned, y


def written_through_a_chain(net, x):
    y = x.clone().view(-1, 2, 2)
    y.transpose(1, 2)[:, 0].squeeze_().copy_(x[:, :2])
    y.unbind(1)[1].zero_()
    y.view(-1)[:1] = 5
    return y


def written_through_parts(net, x):
    y = x.clone()
    first, second = y.chunk(2, dim=1)
    first.sigmoid_()
    second.diagonal().fill_(-1)
    return y, first + second


def powers_in_place(net, x):
    y = x.clone()
    y.pow_(2).pow_(x + 1)
    return y


def written_where(net, x):
    y = x.clone()
    y[y > 0.5] = 0.25
    y[[0, 1]] += 1
    y.index_fill_(1, torch.tensor([2]), 4.0)
    y.masked_fill_(x < 0.2, -1.0).clamp_(max=3)
    return y.relu_()


def cast_in_place(net, x):
    count = torch.zeros(len(x), 4, dtype=torch.long)
    count += (x > 0.5).long()
    total = torch.zeros(len(x), 4, dtype=torch.float64)
    total += x
    return count, total, x.half().float(), x.double().round().int()


def buffers_that_change(net, x):
    net.seen.mul_(0.9).add_(x.sum(0))
    return x + net.seen


def buffers_that_are_replaced(net, x):
    net.seen = net.seen + x.mean(0)
    return net.seen * net.gain


def numbers(net, x):
    mean, top = x.mean().item(), x.max().item()
    scaled = x / top - mean * 2
    return scaled, 1 - mean, (mean + top) / 3, -mean, x.sum() * top


def constants(net, x):
    return x * torch.tensor([1.0, 2.0, 3.0, 4.0]) + torch.arange(4) + torch.full_like(x, 2.0)


def not_recorded(net, x):
    with torch.no_grad():
        norm = x.norm(dim=1, keepdim=True)
    return x / (norm + 1e-3), functional.softmax(x, 1), functional.normalize(x), x.var(0)


def by_numpy_of_weights(net, x):
    return x * float(net.w.detach().numpy().max())


FUNCTIONS = [
    powers_in_place, written_through_a_view, read_through_an_older_view, written_through_a_chain, written_through_parts,
    written_where, powers_in_place,
    cast_in_place, buffers_that_change, buffers_that_are_replaced, numbers, constants, not_recorded,
    by_numpy_of_weights,
]  # fmt: skip


@pytest.mark.parametrize("function", FUNCTIONS, ids=lambda f: f.__name__)
def test_a_program_computes_the_same(function):
    torch.manual_seed(0)
    net = Net(function).eval()
    program = trace_program(net, (torch.rand(3, 4),))
    assert program.batch
    x = torch.rand(5, 4)
    got, updates = run(program, net, (x.clone(),))
    with torch.no_grad():
        want = net(x)
    for a, b in zip(flat(got), flat(want), strict=True):
        if isinstance(b, torch.Tensor):
            assert a.dtype == b.dtype and torch.equal(a, b)
        else:
            assert float(a) == b
    for name, value in updates.items():
        assert torch.equal(value, net.get_buffer(name))


def test_buffers_that_change_are_updates():
    for function in (buffers_that_change, buffers_that_are_replaced):
        program = trace_program(Net(function).eval(), (torch.rand(3, 4),))
        assert list(program.updates) == ["seen"]


def test_tensors_of_modules_have_their_names():
    program = trace_program(Net(buffers_that_are_replaced).eval(), (torch.rand(3, 4),))
    named = {entry.name: entry for entry in program.inputs}
    assert named["gain"].kind == "constant" and named["gain"].value.tolist() == [0.5, 1.0, 1.5, 2.0]
    assert named["seen"].kind == "buffer" and named["seen"].value.tolist() == [0] * 4


def test_without_gradients_is_said_of_each_operation():
    program = trace_program(Net(not_recorded).eval(), (torch.rand(3, 4),))
    assert {node.op for node in program.nodes() if not node.gradient} == {"linalg_vector_norm"}


def test_a_detached_tensor_stays_detached():
    def through(net, x):
        return (x > 0.5).float() - torch.sigmoid(x).detach() + torch.sigmoid(x)

    program = trace_program(Net(through).eval(), (torch.rand(3, 4),))
    assert [node.op for node in program.nodes()].count("detach") == 1


def writes_out(net, x):
    y = torch.empty_like(x)
    torch.add(x, 1, out=y)
    return y


def sparse(net, x):
    return torch.sparse.mm(x.to_sparse(), x.t())


@pytest.mark.parametrize("function", [writes_out, sparse], ids=lambda f: f.__name__)
def test_what_is_no_data_flow_is_refused_with_its_line(function):
    with pytest.raises(ConversionError, match=r"test_dispatch\.py") as caught:
        trace_program(Net(function).eval(), (torch.rand(3, 4),))
    assert caught.value.remedy


class Tied(nn.Module):
    """Two parameters over one memory, and one under two names."""

    def __init__(self):
        super().__init__()
        self.encoder = nn.Linear(4, 3, bias=False)
        self.decoder = nn.Linear(3, 4, bias=False)
        self.decoder.weight = nn.Parameter(self.encoder.weight.detach().t())
        self.again = self.encoder

    def forward(self, x):
        return self.again(self.decoder(self.encoder(x)))


def test_parameters_may_share_memory():
    net = Tied().eval()
    program = trace_program(net, (torch.rand(3, 4),))
    assert [entry.name for entry in program.inputs] == ["x", "encoder.weight", "decoder.weight"]
    x = torch.rand(5, 4)
    with torch.no_grad():
        torch.testing.assert_close(run(program, net, (x,))[0], net(x))
