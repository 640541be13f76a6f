"""Functions with a gradient of the user's own: ports are trained with that gradient, or refuse to be trained."""

from __future__ import annotations

from concurrent.futures import ThreadPoolExecutor

import jax
import numpy as np
import pytest

pytest.importorskip("snntorch")

import snntorch
import torch
from torch import nn
from torch.autograd import Function
from torch.autograd.function import once_differentiable

import snnax as snn
from snnax import interop
from snnax.errors import ConversionError
from snnax.interop.program.nodes import PULLBACK


class Saved(Function):
    """A tensor that forward saves, a number that it keeps, and what it writes in place."""

    @staticmethod
    def forward(ctx, x, slope=7.0):
        ctx.save_for_backward(x)
        ctx.slope = slope
        out = torch.zeros_like(x)
        out[x > 0.3] = 1.0
        return out

    @staticmethod
    @once_differentiable
    def backward(ctx, gradient):
        (x,) = ctx.saved_tensors
        return gradient.clone() / (ctx.slope * x.abs() + 1.0) ** 2, None


class Scaled(Function):
    """Two differentiable inputs, one that is broadcast, and a check of what is needed."""

    @staticmethod
    def forward(ctx, x, scale):
        ctx.save_for_backward(x, scale)
        return torch.round(x / scale) * scale

    @staticmethod
    def backward(ctx, gradient):
        x, scale = ctx.saved_tensors
        first = gradient * (x.abs() < 1) if ctx.needs_input_grad[0] else None
        second = (gradient * torch.tanh(x / scale)).sum(0) if ctx.needs_input_grad[1] else None
        return first, second


class Constant(Function):
    """It saves a number in a tensor, and reads it."""

    @staticmethod
    def forward(ctx, x, width):
        ctx.save_for_backward(x, torch.tensor([width]) * 2)
        return (x > 0).to(x)

    @staticmethod
    def backward(ctx, gradient):
        x, width = ctx.saved_tensors
        return gradient * (width.item() - x.abs()).clamp(min=0), None


class Asking(Function):
    """It saves what it needs if a gradient is wanted; powers in place."""

    other = False

    @staticmethod
    def forward(ctx, x):
        if x.requires_grad:
            ctx.save_for_backward(x)
            if Asking.other:
                x = x + 1
        return torch.sign(x)

    @staticmethod
    def backward(ctx, gradient):
        (x,) = ctx.saved_tensors
        return gradient * (-(x * 2).pow_(2)).exp_()


class Several(Function):
    """Several results, one of which has no gradient."""

    @staticmethod
    def forward(ctx, x):
        mask = (x > 0.2).to(x.dtype)
        ctx.save_for_backward(mask)
        ctx.mark_non_differentiable(mask)
        return mask, x * mask, x.exp()

    @staticmethod
    def backward(ctx, _, kept, grown):
        (mask,) = ctx.saved_tensors
        return 3 * kept * mask - grown


class Passed(Function):
    """The gradient is turned, the value is what it was."""

    @staticmethod
    def forward(ctx, x):
        return x

    @staticmethod
    def backward(ctx, gradient):
        return -0.5 * gradient


class Written(Function):
    """It writes into its input."""

    @staticmethod
    def forward(ctx, x):
        ctx.mark_dirty(x)
        return x.mul_(2)

    @staticmethod
    def backward(ctx, gradient):
        return gradient * 5


class Context(Function):
    """The newer form, and a function inside of a function."""

    @staticmethod
    def forward(x, width):
        return Passed.apply((x.abs() < width).to(x.dtype))

    @staticmethod
    def setup_context(ctx, inputs, output):
        x, ctx.width = inputs
        ctx.save_for_backward(x, output)

    @staticmethod
    def backward(ctx, gradient):
        x, output = ctx.saved_tensors
        return gradient * torch.clamp(ctx.width - x.abs(), min=0) + output, None


class Noisy(Function):
    """Its gradient is computed with what forward drew."""

    @staticmethod
    def forward(ctx, x):
        ctx.noise = torch.rand_like(x)
        return x * 1.0

    @staticmethod
    def backward(ctx, gradient):
        return gradient * ctx.noise


class Steered(Function):
    """Its gradient depends on a number that Python reads."""

    @staticmethod
    def forward(ctx, x):
        return x.sign()

    @staticmethod
    def backward(ctx, gradient):
        return gradient if gradient.sum() > 0 else 2 * gradient


SPIKE = Saved.apply


def several(net, x):
    mask, kept, grown = Several.apply(x)
    return mask + kept * grown


USES = {
    "saved": lambda net, x: SPIKE(x - 0.2) + 0.1 * x,
    "number": lambda net, x: Saved.apply(x, 3.0),
    "scaled": lambda net, x: Scaled.apply(x, net.gain),
    "several": several,
    "passed": lambda net, x: Passed.apply(x) * 2,
    "written": lambda net, x: Written.apply(x * 1.0) + 1,
    "context": lambda net, x: Context.apply(x, 0.8),
    "with weights": lambda net, x: x + Saved.apply(net.fc.weight).sum(1),
    "no gradient": lambda net, x: x + Saved.apply(x).detach(),
    "constant": lambda net, x: Constant.apply(x, 0.625),
    "asking": lambda net, x: Asking.apply(x),
}


class Net(nn.Module):
    """A function in each step of a loop, before a neuron, and in the reset of a cell by hand."""

    def __init__(self, use):
        super().__init__()
        torch.manual_seed(1)
        self.fc, self.gain = nn.Linear(6, 8), nn.Parameter(torch.rand(8) + 0.7)
        self.lif, self.use = snntorch.Leaky(beta=0.9), use

    def forward(self, x):
        mem, own, out = self.lif.init_leaky(), torch.zeros_like(self.fc(x[0])), []
        for t in range(x.shape[0]):
            own = 0.8 * own + self.use(self, self.fc(x[t]) * 2 * self.gain)
            fired = Saved.apply(own - 1)
            own = own - fired * self.gain
            spk, mem = self.lif(own + fired, mem)
            out.append(mem + spk)
        return torch.stack(out)


def sample(*shape):
    torch.manual_seed(0)
    return torch.rand(*shape)


@pytest.mark.parametrize(
    ("use", "double"),
    [(use, double) for use in USES for double in (False, True) if double or use in ("saved", "several")],
)
def test_gradients_are_torchs(use, double):
    net, x = Net(USES[use]).eval(), sample(4, 3, 6)
    model, variables = interop.from_snntorch(net, x)
    assert len(model.program.loops) == 1
    other = torch.flip(sample(4, 5, 6), (0, 1)).numpy().astype(np.float64 if double else np.float32)
    report = interop.crossvalidate(net, (model, variables), other, gradients=True)
    assert report.agree, str(report)
    assert max(g.relative for g in report.gradients) < (1e-12 if double else 1e-5)


class OwnSpikes(nn.Module):
    """A neuron of snnTorch whose spikes are such a function."""

    def __init__(self):
        super().__init__()
        torch.manual_seed(1)
        self.fc, self.lif = nn.Linear(6, 8), snntorch.Leaky(beta=0.9, spike_grad=SPIKE)
        self.last = snntorch.Leaky(beta=0.9, threshold=0.5)

    def forward(self, x):
        mem, end, out = self.lif.init_leaky(), self.last.init_leaky(), []
        for t in range(len(x)):
            spk, mem = self.lif(self.fc(x[t]) * 3, mem)
            spk, end = self.last(spk, end)
            out.append(spk + mem)
        return torch.stack(out).sum(0)


def test_a_neuron_of_snntorch_with_own_spikes():
    net = OwnSpikes().eval()
    model, variables = interop.from_snntorch(net, sample(4, 3, 6))
    report = interop.crossvalidate(net, (model, variables), sample(4, 5, 6).double().numpy(), gradients=True)
    assert report.agree and all(g.relative < 1e-12 for g in report.gradients), str(report)


@pytest.mark.parametrize(("function", "words"), [(Noisy, "draws"), (Steered, "Python reads a value")])
def test_what_is_no_data_flow_is_refused_for_training(function, words):
    net, x = Net(lambda net, x: function.apply(x)).eval(), sample(4, 3, 6)
    model, variables = interop.from_snntorch(net, x)
    if function is Steered:
        out, _ = snn.unroll(model, variables, x.numpy())
        np.testing.assert_allclose(out, net(x).detach(), rtol=1e-5, atol=1e-6)
    with pytest.raises(ConversionError, match=f"gradient of its own, which is not ported: .*{words}"):
        interop.crossvalidate(net, (model, variables), x.numpy(), gradients=True)


def test_an_operation_that_torch_has_no_derivative_of_is_refused_for_training():
    net, x = Net(lambda net, x: x + torch.heaviside(x - 1, torch.zeros(()))).eval(), sample(4, 3, 6)
    model, variables = interop.from_snntorch(net, x)
    out, _ = snn.unroll(model, variables, x.numpy())
    np.testing.assert_allclose(out, net(x).detach(), rtol=1e-5, atol=1e-6)
    with pytest.raises(
        ConversionError, match=r"heaviside .*torch has no derivative of it .*test_own_gradients\.py:"
    ):
        jax.grad(lambda p: snn.unroll(model, {**variables, "params": p}, x.numpy())[0].sum())(
            variables["params"]
        )
    with pytest.raises(
        ConversionError, match="torch fails to differentiate it: derivative for aten::heaviside"
    ):
        interop.crossvalidate(net, (model, variables), x.numpy(), gradients=True)
    assert interop.crossvalidate(net, (model, variables), x.numpy()).agree
    assert "torch.heaviside" in interop.check(net, x).training[0].problem


def test_without_a_derivative_by_it_the_rest_trains():
    class Events(Net):
        def forward(self, x):
            return super().forward(torch.heaviside(x - 0.5, torch.zeros(())))

    net, x = Events(lambda net, x: x).eval(), sample(4, 3, 6)
    model, variables = interop.from_snntorch(net, x)
    assert interop.crossvalidate(net, (model, variables), x.double().numpy(), gradients=True).agree


def test_a_function_that_computes_something_else_in_training_is_refused(monkeypatch):
    monkeypatch.setattr(Asking, "other", True)
    with pytest.raises(ConversionError, match="forward asks whether a tensor has a gradient"):
        interop.from_snntorch(Net(USES["asking"]).eval(), sample(4, 3, 6))


def test_the_operations_of_a_function_are_one_of_the_program():
    model, _ = interop.from_snntorch(Net(USES["number"]).eval(), sample(4, 3, 6))
    found = [node for node in model.program.nodes() if node.op == PULLBACK]
    assert len(found) == 2 and all(node.function.kind.endswith("Saved") for node in found)


def test_torch_is_as_it_was_and_other_threads_see_nothing():
    def other():
        y = torch.ones(2, requires_grad=True)
        Passed.apply(y).sum().backward()
        assert y.grad.tolist() == [-0.5, -0.5]

    def use(net, x):
        with ThreadPoolExecutor(1) as pool:
            pool.submit(other).result()
        return Passed.apply(x)

    model, _ = interop.from_snntorch(Net(use).eval(), sample(2, 3, 6))
    assert sum(node.op == PULLBACK for node in model.program.nodes()) == 2
    assert "apply" not in vars(torch.autograd.function._SingleLevelFunction)
