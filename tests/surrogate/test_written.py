"""Surrogates in torch's words: the gradient is torch's, whatever JAX does with the function."""

from __future__ import annotations

import jax
import jax.numpy as jnp
import numpy as np
import pytest

import snnax as snn
from snnax.errors import ArgumentError, ShapeError
from snnax.surrogate import Function

X = np.linspace(-2, 2, 9, dtype=np.float32)
G = np.linspace(0.5, 1.5, 9, dtype=np.float32)


class FastSigmoid(Function):
    @staticmethod
    def forward(ctx, mem, k=25):
        ctx.save_for_backward(mem)
        ctx.k = k
        return mem > 0

    @staticmethod
    def backward(ctx, grad_output):
        (mem,) = ctx.saved_tensors
        return grad_output / (ctx.k * abs(mem) + 1.0) ** 2, None


class Product(Function):
    """Two arrays, and something else between them."""

    @staticmethod
    def forward(ctx, x, how, y):
        ctx.save_for_backward(x, y)
        ctx.how = how
        return x * y, x + y

    @staticmethod
    def backward(ctx, of_product, of_sum):
        _, y = ctx.saved_tensors
        factor = {"twice": 2, "once": 1}[ctx.how]
        return factor * of_product * y + of_sum, None, None


def in_torch(k):
    torch = pytest.importorskip("torch")

    class Theirs(torch.autograd.Function):
        @staticmethod
        def forward(ctx, mem, k):
            ctx.save_for_backward(mem)
            ctx.k = k
            return (mem > 0).float()

        @staticmethod
        def backward(ctx, grad_output):
            (mem,) = ctx.saved_tensors
            return grad_output / (ctx.k * torch.abs(mem) + 1.0) ** 2, None

    x = torch.tensor(X, requires_grad=True)
    y = Theirs.apply(x, k)
    y.backward(torch.tensor(G))
    return y.detach().numpy(), x.grad.numpy()


@pytest.mark.parametrize("k", [25, 3.0])
@pytest.mark.parametrize("compiled", [False, True])
def test_spikes_and_gradient_are_torchs(k, compiled):
    spikes, slope = in_torch(k)

    def run(x, g):
        y, back = jax.vjp(lambda x: FastSigmoid.apply(x, k), x)
        return y, back(g)[0]

    ours = (jax.jit(run) if compiled else run)(X, G)
    assert ours[0].dtype == ours[1].dtype == jnp.float32
    np.testing.assert_array_equal(ours[0], spikes)
    np.testing.assert_allclose(ours[1], slope, rtol=1e-6)


def test_a_default_that_apply_leaves_out_and_each_sample_alone():
    slopes = jax.vmap(jax.grad(FastSigmoid.apply))(X)
    np.testing.assert_allclose(slopes, 1 / (25 * abs(X) + 1) ** 2, rtol=1e-6)


@pytest.mark.parametrize(("how", "factor"), [("once", 1), ("twice", 2)])
def test_several_results_and_inputs_that_are_no_arrays(how, factor):
    def total(x, y):
        product, added = Product.apply(x, how, y)
        return (product * G).sum() + added.sum()

    of_x, of_y = jax.jit(jax.grad(total, (0, 1)))(X, 2 * X)
    np.testing.assert_allclose(of_x, factor * G * 2 * X + 1, rtol=1e-6)
    np.testing.assert_array_equal(of_y, np.zeros_like(X))


def test_as_the_surrogate_of_a_neuron_it_trains_as_ours():
    def slope(spike):
        net = snn.Sequential(snn.Linear(9, 3), snn.Leaky(0.9, spike_grad=spike, init_hidden=True))
        params = net.init(jax.random.key(0), X[None])["params"]
        x = jnp.stack([3 * X[None]] * 4)
        return jax.grad(lambda p: snn.unroll(net, {"params": p}, x)[0].sum())(params)

    theirs = slope(snn.surrogate.fast_sigmoid(slope=25))
    jax.tree.map(lambda a, b: np.testing.assert_allclose(a, b, rtol=1e-5), slope(FastSigmoid.apply), theirs)
    assert any(jnp.any(leaf) for leaf in jax.tree.leaves(theirs))


def test_what_backward_returns_wrongly_is_refused():
    class Short(Product):
        @staticmethod
        def backward(ctx, of_product, of_sum):
            return of_product

    class Wide(FastSigmoid):
        @staticmethod
        def backward(ctx, grad_output):
            return grad_output.sum(), None

    with pytest.raises(ArgumentError, match=r"Short\.backward returned 1 gradients for 3 inputs"):
        jax.grad(lambda x: Short.apply(x, "once", X)[0].sum())(X)
    with pytest.raises(ShapeError, match=r"Wide\.backward returned a gradient of shape \(\)"):
        jax.grad(lambda x: Wide.apply(x, 1.0).sum())(X)
