"""Networks written as torch's: the class of a tutorial runs, and gives what torch's gives."""

from __future__ import annotations

import jax
import jax.numpy as jnp
import numpy as np
import pytest
import snntorch
import torch

import snnax as snn
from snnax import interop
from snnax.errors import TorchLineError

KEY = jax.random.key(0)
X = np.random.default_rng(0).uniform(0, 2, (4, 6)).astype(np.float32)


def classes(nn, neurons, stack):
    """The same lines, in both libraries."""

    class Net(nn.Module):
        def __init__(self, hidden, steps=5):
            super().__init__()
            self.steps = steps
            self.fc1 = nn.Linear(6, hidden)
            self.lif1 = neurons.Leaky(beta=0.5)
            self.fc2 = nn.Linear(hidden, 3)
            self.lif2 = neurons.Synaptic(alpha=0.5, beta=0.9)

        def forward(self, x):
            mem1 = self.lif1.init_leaky()
            syn2, mem2 = self.lif2.init_synaptic()
            spk_rec, mem_rec = [], []
            for _step in range(self.steps):
                spk1, mem1 = self.lif1(self.fc1(x), mem1)
                spk2, syn2, mem2 = self.lif2(self.fc2(spk1), syn2, mem2)
                spk_rec.append(spk2)
                mem_rec.append(mem2)
            return stack(spk_rec), stack(mem_rec)

    return Net


Net = classes(snn, snn, jnp.stack)


def from_torch(theirs):
    """Weights of Linear layers by the names of the attributes."""
    state = theirs.state_dict()
    layers = {name.partition(".")[0] for name in state if name.endswith("weight")}
    return {
        n: {
            "kernel": jnp.asarray(state[f"{n}.weight"].numpy().T),
            "bias": jnp.asarray(state[f"{n}.bias"].numpy()),
        }
        for n in layers
    }


def test_the_lines_of_a_class_give_what_they_give_in_torch():
    torch.manual_seed(0)
    theirs = classes(torch.nn, snntorch, torch.stack)(8)
    net = Net(8)
    variables = net.init(KEY, X)
    params = from_torch(theirs)
    assert jax.tree.map(jnp.shape, variables["params"]) == jax.tree.map(jnp.shape, params)
    spk, mem = net.apply({"params": params}, X)
    there = theirs(torch.from_numpy(X))
    np.testing.assert_array_equal(spk, there[0].detach())
    np.testing.assert_allclose(mem, there[1].detach(), rtol=1e-5, atol=1e-6)
    bound = net.bind({"params": params})
    for given in (X, torch.from_numpy(X), jnp.asarray(X)):
        np.testing.assert_array_equal(bound(given)[0], spk)
    np.testing.assert_array_equal(jax.jit(net.apply)({"params": params}, X)[0], spk)
    state = interop.to_state_dict(net, {"params": params}, X)
    assert set(state) <= set(theirs.state_dict())


def test_arguments_are_those_of_its_init():
    assert Net(8) == Net(8) and Net(8) != Net(8, steps=2) and hash(Net(8)) == hash(Net(8))
    assert Net(8, steps=2).init_with_output(KEY, X)[0][0].shape == (2, 4, 3)
    with pytest.raises(TypeError, match="stepps"):
        Net(8, stepps=3)

    class Deeper(Net):
        def __init__(self):
            super().__init__(4, steps=3)
            self.scale = snn.Scale(2.0)

        def forward(self, x):
            return super().forward(self.scale(x))

    assert Deeper().init_with_output(KEY, X)[0][0].shape == (3, 4, 3)


class Stateful(snn.Module):
    def __init__(self, dropout=0.0):
        super().__init__()
        self.layers = snn.Sequential(snn.Linear(6, 4), snn.Leaky(0.9, init_hidden=True, output=True))
        if dropout:
            self.drop = snn.Dropout(dropout)

    def forward(self, x):
        return self.layers(self.drop(x) if hasattr(self, "drop") else x)


@pytest.mark.parametrize(
    "net", [Stateful(), snn.Sequential(snn.Linear(6, 4), snn.Leaky(0.9, init_hidden=True, output=True))]
)
def test_a_bound_network_keeps_its_state_and_forgets_it(net):
    variables = net.init(KEY, X[:1])
    x = np.stack([X] * 6)
    (spk, mem), _ = snn.unroll(net, variables | {"hidden": {}}, x)
    net = net.bind(variables, mutable=["hidden"])
    for _ in range(2):
        snn.utils.reset(net)
        steps = [net(frame) for frame in x]
        np.testing.assert_array_equal(np.stack([s for s, _ in steps]), spk)
        np.testing.assert_allclose(np.stack([m for _, m in steps]), mem, rtol=1e-5, atol=1e-6)
    snn.utils.reset(net)
    assert net(X[:2])[0].shape == (2, 4)  # of another size


def test_its_loop_is_differentiated():
    net = Stateful()
    variables = net.init(KEY, X)

    def looped(params):
        bound = net.bind({"params": params}, mutable=["hidden"])
        return sum(bound(X)[1].sum() for _ in range(3))

    def unrolled(params):
        return snn.unroll(net, {"params": params}, X, num_steps=3)[0][1].sum()

    ours, theirs = (jax.grad(f)(variables["params"]) for f in (looped, unrolled))
    jax.tree.map(lambda a, b: np.testing.assert_allclose(a, b, rtol=1e-5), ours, theirs)


def test_lines_of_torch_do_what_they_say_or_say_what_to_write():
    net = Stateful()
    variables = net.init(KEY, X)
    bound = net.bind(variables, mutable=["hidden"])
    assert bound.train() is bound and bound.eval() is bound and bound.to("cpu") is bound
    assert bound.parameters() is not None and net.to(torch.device("cpu")) is net
    assert jax.tree.structure(bound.parameters()) == jax.tree.structure(variables["params"])
    for line, said in (
        (lambda: net(X), "bind"),
        (lambda: net.train(), "training"),
        (lambda: net.parameters(), "params"),
        (lambda: net.to("xpu"), "device_put"),
        (lambda: net.to(torch.float64), "device_put"),
        (lambda: Stateful(0.5).bind({}).eval(), "evaluating"),
        (lambda: snn.utils.reset(net), "bind"),
        (lambda: net.fc, "bound.fc"),
    ):
        with pytest.raises(TorchLineError, match=said):
            line()


def test_layers_that_differ_in_training_are_switched():
    net = Stateful(0.5)
    variables = net.init({"params": KEY, "dropout": KEY}, X)
    silent = snn.utils.evaluating(net)
    a, b = (silent.apply(variables, X, mutable=["hidden"])[0][1] for _ in range(2))
    np.testing.assert_array_equal(a, b)
    drawn = [
        snn.utils.training(silent).apply(
            variables, X, mutable=["hidden"], rngs={"dropout": jax.random.key(n)}
        )[0][1]
        for n in range(2)
    ]
    assert not np.array_equal(*drawn)


def test_a_class_without_forward_says_so():
    class Empty(snn.Module):
        pass

    with pytest.raises(NotImplementedError, match="Empty has no forward"):
        Empty().init(KEY, X)
