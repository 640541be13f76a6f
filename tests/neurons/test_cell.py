"""Any network as a cell of flax's RNN: the same as the time loop, with what RNN offers."""

from __future__ import annotations

import flax.linen as nn
import jax
import jax.numpy as jnp
import numpy as np
import pytest
from helpers import neurons as twin

import snnax as snn
from snnax.errors import ArgumentError, StateError

T, B = 9, 4
HIDDEN = {"init_hidden": True, "output": True}
KEY = jax.random.key(0)


def dense():
    first, last = snn.Leaky([0.9, 0.8, 0.7, 0.6, 0.5], init_hidden=True), snn.Synaptic(0.5, 0.9, **HIDDEN)
    return snn.Sequential([nn.Dense(5), first, nn.Dense(3), last])


def feedback():
    return snn.Graph(
        nodes={"fc": nn.Dense(3), "lif": snn.LIF(3e-4, 3.0, init_hidden=True), "back": nn.Dense(3)},
        edges=[("input", "fc"), ("fc", "lif"), ("lif", "back"), ("back", "lif"), ("lif", "output")],
    )


def images():
    return snn.Sequential(
        [nn.Conv(2, (3, 3)), snn.RLeaky(0.5, conv2d_channels=2, kernel_size=3, init_hidden=True)]
    )


RNN = {"variable_broadcast": ("params", "buffers")}

CASES = {
    "a neuron": (lambda: snn.CubaLIF(2e-4, 5e-4, 4.0, w_in=3.0, **HIDDEN), (3,)),
    "a neuron that learns": (
        lambda: snn.RLeaky(0.9, linear_features=3, learn_beta=True, init_hidden=True),
        (3,),
    ),
    "one that does not spike": (lambda: snn.LI([2e-4, 3e-4, 4e-4], init_hidden=True), (3,)),
    "a network": (dense, (3,)),
    "a network in a network": (lambda: snn.Sequential([feedback(), snn.Scale(2.0)]), (3,)),
    "images": (images, (4, 4, 1)),
    "no state": (lambda: nn.Dense(2), (3,)),
}


def same(ours, theirs):
    assert jax.tree.structure(ours) == jax.tree.structure(theirs)
    for a, b in zip(jax.tree.leaves(ours), jax.tree.leaves(theirs), strict=True):
        assert a.dtype == b.dtype
        np.testing.assert_allclose(a, b, rtol=0, atol=1e-6)


def batch_major(tree):
    return jax.tree.map(lambda v: v.swapaxes(0, 1), tree)


def example(name):
    """Cell, its variables in RNN, the network's, and an input ``[T, B, ...]``."""
    build, shape = CASES[name]
    cell = snn.SpikingCell(build(), feature_axes=len(shape))
    x = jnp.asarray(2 * twin.current((T, B, *shape)))
    inner = {"params": {}, **twin.weights(cell.net, x[0])}
    inner.pop("hidden", None)
    return cell, {c: {"cell": {"net": tree}} for c, tree in inner.items()}, inner, x


@pytest.mark.parametrize("name", CASES)
def test_rnn_of_a_cell_is_unroll(name):
    cell, variables, inner, x = example(name)
    y, updates = snn.unroll(cell.net, inner, x)
    rnn = nn.RNN(cell, return_carry=True, **RNN)
    carry, z = jax.jit(lambda v, x: rnn.apply(v, x, time_major=True))(variables, x)
    same(z, y)
    same(carry, updates["hidden"])
    if name != "no state":
        assert max(float(jnp.abs(v).max()) for v in jax.tree.leaves(carry)) > 0
    made = jax.eval_shape(nn.RNN(cell, time_major=True, **RNN).init, KEY, x)
    kept = {c: tree for c, tree in variables.items() if jax.tree.leaves(tree)}
    assert jax.tree.map(jnp.shape, {c: v for c, v in made.items() if jax.tree.leaves(v)}) == jax.tree.map(
        jnp.shape, kept
    )
    assert cell.num_feature_axes == x.ndim - 2


def test_what_rnn_offers():
    cell, variables, inner, x = example("a network")
    (spk, *states), updates = snn.unroll(cell.net, inner, x)
    assert {*np.unique(spk).tolist()} == {0.0, 1.0}
    rnn = nn.RNN(cell, return_carry=True, **RNN)

    @jax.jit
    def run(x, **options):
        return rnn.apply(variables, x, **options)

    carry, y = run(batch_major(x))
    same(y, batch_major((spk, *states)))
    same(carry, updates["hidden"])

    first, _ = run(batch_major(x[:4]))
    second, late = run(batch_major(x[4:]), initial_carry=first)
    same(late, batch_major((spk[4:], *(s[4:] for s in states))))
    same(second, carry)

    lengths = jnp.array([9, 3, 1, 5])
    last, _ = run(batch_major(x), seq_lengths=lengths)
    for sample, length in enumerate(lengths):
        same(last["layers_3"]["mem"][sample], states[1][length - 1, sample])

    _, turned = rnn.apply(variables, x[::-1], time_major=True, reverse=True)
    same(turned, (spk, *states))


def test_as_a_layer_of_a_flax_model_it_learns():
    class Model(nn.Module):
        @nn.compact
        def __call__(self, x):
            spk = nn.RNN(snn.SpikingCell(snn.Sequential([nn.Dense(4), snn.Leaky(0.9, init_hidden=True)])))(x)
            return nn.Dense(2)(spk.mean(1))

    model, x = Model(), jnp.asarray(2 * twin.current((B, T, 3)))
    variables = model.init(KEY, x)
    gradients = jax.jit(jax.grad(lambda v: (model.apply(v, x) ** 2).mean()))(variables)
    assert jax.tree.structure(gradients) == jax.tree.structure(variables)
    kernels = [g for g in jax.tree.leaves(gradients) if g.shape == (3, 4)]
    assert len(kernels) == 1
    assert float(jnp.abs(kernels[0]).max()) > 0


def test_variables_that_rnn_is_told_about_are_read():
    net = snn.Sequential(
        [nn.BatchNorm(use_running_average=True), snn.Leaky([0.9, 0.8, 0.7], init_hidden=True)]
    )
    x = jnp.asarray(2 * twin.current((T, B, 3)))
    rnn = nn.RNN(
        snn.SpikingCell(net), time_major=True, variable_broadcast=("params", "buffers", "batch_stats")
    )
    variables = rnn.init(KEY, x)
    assert set(variables) == {"params", "buffers", "batch_stats"}
    variables["buffers"]["cell"]["net"]["layers_1"]["beta"] = jnp.full(3, 0.5)
    variables["batch_stats"]["cell"]["net"]["layers_0"]["mean"] = jnp.full(3, -1.0)
    inner = {c: tree["cell"]["net"] for c, tree in variables.items()}
    same(rnn.apply(variables, x), snn.unroll(net, inner, x)[0])


def test_random_layers_get_a_key_for_each_step():
    net = snn.Sequential([nn.Dropout(0.5, deterministic=False), snn.LI(2e-4, init_hidden=True)])
    rnn = nn.RNN(snn.SpikingCell(net), time_major=True, split_rngs={"params": False, "dropout": True})
    x = jnp.ones((50, B, 3))
    y = rnn.apply({}, x, rngs={"dropout": KEY})
    dropped = 2 * y - jnp.concatenate([jnp.zeros((1, B, 3)), y[:-1]])
    np.testing.assert_allclose(dropped, jnp.where(dropped > 1, 2.0, 0.0), rtol=0, atol=1e-6)
    assert 0.4 < float((dropped > 0).mean()) < 0.6
    assert not np.array_equal(dropped[0], dropped[1])


def test_the_carry_has_the_dtype_of_the_cell():
    with jax.enable_x64(True):
        x = jnp.ones((T, B, 3))
        assert x.dtype == jnp.float64
        y = nn.RNN(snn.SpikingCell(snn.Leaky(0.9, init_hidden=True), dtype=jnp.float64)).apply({}, x)
        assert y.dtype == jnp.float64
        with pytest.raises(StateError, match=r"has dtype float32, .*float64. Start .*dtype=jnp\.float64"):
            nn.RNN(snn.SpikingCell(snn.Leaky(0.9, init_hidden=True))).apply({}, x)


def test_the_first_carry_is_zero():
    cell = snn.SpikingCell(dense())
    carry = cell.initialize_carry(KEY, (2, 3))
    expected = {"layers_1": {"mem": (2, 5)}, "layers_3": {"syn": (2, 3), "mem": (2, 3)}}
    assert jax.tree.map(jnp.shape, carry) == jax.tree.map(
        tuple, expected, is_leaf=lambda v: isinstance(v, tuple)
    )
    assert not any(v.any() for v in jax.tree.leaves(carry))


def test_a_carry_of_another_batch_size_is_refused():
    cell, variables, _, x = example("a network")
    carry = cell.initialize_carry(KEY, (B + 1, 3))
    with pytest.raises(StateError, match=r"'mem' has shape \(5, 5\), the input \(4, 5\)"):
        nn.RNN(cell, **RNN).apply(variables, batch_major(x), initial_carry=carry)


def test_what_is_no_network_is_refused():
    with pytest.raises(ArgumentError, match=r"SpikingCell\(Leaky\(\.\.\., init_hidden=True\)\)"):
        snn.SpikingCell(snn.Leaky(0.9))
    with pytest.raises(ArgumentError, match="expected a linen module"):
        snn.SpikingCell(jnp.tanh)
