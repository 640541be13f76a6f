"""What a chunk of steps keeps for its gradient: one array for each neuron and step, and the same result."""

from __future__ import annotations

from functools import partial

import flax.linen as nn
import jax
import jax.numpy as jnp
import numpy as np
import pytest
from flax.core import unfreeze
from jax import lax

import snnax as snn
from snnax.errors import ArgumentError, LoopWarning

T, B, N = 12, 3, 6
RAMP = np.linspace(0.6, 0.95, N)
KINDS = {
    "Leaky": partial(snn.Leaky, 0.9),
    "Leaky, learned": partial(
        snn.Leaky, RAMP, learn_beta=True, learn_threshold=True, learn_graded_spikes_factor=True
    ),
    "Synaptic": partial(snn.Synaptic, 0.8, RAMP, threshold=RAMP),
    "Synaptic, learned": partial(snn.Synaptic, 0.8, 0.9, learn_alpha=True, learn_beta=True),
    "Alpha": partial(snn.Alpha, 0.9, 0.8, threshold=0.3),
    "Alpha, learned": partial(snn.Alpha, 0.9, 0.8, threshold=0.3, learn_alpha=True),
    "Lapicque": partial(snn.Lapicque, R=2.0, C=5.0, time_step=1.0, threshold=0.1),
    "Lapicque, learned": partial(
        snn.Lapicque, beta=0.9, threshold=0.05, learn_beta=True, learn_threshold=True
    ),
    "RLeaky": partial(snn.RLeaky, 0.9, linear_features=N, learn_beta=True),
    "RLeaky, V": partial(snn.RLeaky, 0.9, V=RAMP, all_to_all=False),
    "RLeaky, fixed V": partial(snn.RLeaky, 0.9, V=0.2, all_to_all=False, learn_recurrent=False),
    "RSynaptic": partial(snn.RSynaptic, 0.8, 0.9, linear_features=N, learn_threshold=True),
}


RESETS = ["subtract", "zero", "none"]


def network(kind, **options):
    # no matrix product before the neuron: of another number of rows it adds in another order
    return snn.Sequential([KINDS[kind](init_hidden=True, output=True, **options)])


def one_by_one(net, variables, x):
    """The definition: a scan over steps, differentiated by JAX."""

    def step(hidden, x_t):
        y, new = net.apply({**variables, "hidden": hidden}, x_t, mutable=["hidden"])
        return unfreeze(new)["hidden"], y

    hidden = unfreeze(net.init(jax.random.key(0), x[0]))["hidden"]
    last, y = lax.scan(step, hidden, x)
    return y, {"hidden": last}


def loss_of(run, weights):
    def loss(params, rest, x):
        y, updates = run({"params": params, **rest}, x)
        states = sum((jnp.sin(s) * weights).sum() for s in y[1:])
        ends = sum(jnp.cos(h).sum() for h in jax.tree.leaves(updates["hidden"]))
        return (y[0] * weights).sum() + states + ends, (y, updates)

    return jax.jit(jax.value_and_grad(loss, argnums=(0, 2), has_aux=True))


def setting(kind, dtype, **options):
    rng = np.random.default_rng(3)
    net = network(kind, **options)
    x = jnp.asarray(1.5 * rng.normal(size=(T, B, N)), dtype)
    variables = unfreeze(net.init(jax.random.key(0), x[0]))
    variables.pop("hidden", None)
    params = jax.tree.map(lambda v: v.astype(dtype), variables.pop("params", {}))
    return net, params, variables, x, jnp.asarray(rng.normal(size=(T, B, N)), dtype)


def gap(a, b):
    """The largest difference of two trees, in units of the largest number of each leaf."""
    pairs = zip(jax.tree.leaves(a), jax.tree.leaves(b), strict=True)
    return max(float(jnp.abs(p - q).max() / (jnp.abs(q).max() + 1e-30)) for p, q in pairs)


@pytest.mark.parametrize(("kind", "reset"), [(k, RESETS[i % 3]) for i, k in enumerate(KINDS)])
def test_a_chunk_at_once_is_step_by_step(kind, reset):
    with jax.enable_x64(True):
        net, params, rest, x, weights = setting(kind, jnp.float64, reset_mechanism=reset)
        run = loss_of(partial(snn.unroll, net, chunk=5), weights)
        (_, fast), slopes = run(params, rest, x)
        (_, slow), wanted = loss_of(partial(one_by_one, net), weights)(params, rest, x)
        assert fast[0][0].sum() > 0
        assert gap(fast, slow) < 1e-13
        assert gap(slopes, wanted) < 1e-11


@pytest.mark.parametrize(
    ("kind", "reset"), [("Leaky", "zero"), ("Alpha, learned", "subtract"), ("RLeaky, V", "zero")]
)
def test_single_precision_to_the_last_bit(kind, reset):
    net, params, rest, x, weights = setting(kind, jnp.float32, reset_mechanism=reset)
    (_, fast), slopes = loss_of(partial(snn.unroll, net), weights)(params, rest, x)
    (_, slow), wanted = loss_of(partial(one_by_one, net), weights)(params, rest, x)
    assert jax.tree.all(jax.tree.map(lambda a, b: bool((a == b).all()), fast, slow))
    assert gap(slopes, wanted) < 1e-5


@pytest.mark.parametrize(
    "options", [{"remat": True}, {"remat": False}, {"chunk": 1}, {"chunk": 7}, {"chunk": T}]
)
def test_options_change_no_result(options):
    net, params, rest, x, weights = setting("Synaptic, learned", jnp.float32)
    (_, y), slopes = loss_of(partial(snn.unroll, net), weights)(params, rest, x)
    (_, other), again = loss_of(partial(snn.unroll, net, **options), weights)(params, rest, x)
    assert jax.tree.all(jax.tree.map(lambda a, b: bool((a == b).all()), y, other))
    assert gap(again, slopes) < 1e-6


@pytest.mark.parametrize("kind", ["Leaky", "Leaky, learned", "Synaptic, learned", "RLeaky"])
def test_bfloat16_residuals_change_no_spike_and_slopes_little(kind):
    net, params, rest, x, weights = setting(kind, jnp.float32)
    (_, y), slopes = loss_of(partial(snn.unroll, net), weights)(params, rest, x)
    (_, short), rounded = loss_of(partial(snn.unroll, net, residuals=jnp.bfloat16), weights)(params, rest, x)
    assert jax.tree.all(jax.tree.map(lambda a, b: bool((a == b).all()), y, short))
    assert 0 < gap(rounded, slopes) < 2e-2


def test_other_modes_of_differentiation():
    net, params, rest, x, weights = setting("Leaky, learned", jnp.float32)

    def loss(x):
        return (snn.unroll(net, {"params": params, **rest}, x)[0][1] * weights).sum()

    slope, direction = jax.grad(loss)(x), jnp.ones_like(x)
    along = jax.jvp(loss, (x,), (direction,))[1]
    np.testing.assert_allclose(along, (slope * direction).sum(), rtol=1e-4)
    forward = jax.jvp(jax.grad(loss), (x,), (direction,))[1]
    reverse = jax.grad(lambda x: (jax.grad(loss)(x) * direction).sum())(x)
    np.testing.assert_allclose(forward, reverse, rtol=1e-4, atol=1e-5)


@pytest.mark.parametrize(
    ("options", "most"),
    [({}, 5), ({"residuals": jnp.bfloat16}, 3), ({"remat": True}, 1)],
    ids=["float32", "bfloat16", "nothing"],
)
def test_bytes_kept_for_each_neuron_and_step(options, most):
    """By the compiler's own account of a training step's temporary memory."""
    steps, batch, width = 1000, 4, 256
    net = snn.Sequential(
        [nn.Dense(width), snn.Leaky(0.9, init_hidden=True), nn.Dense(2), snn.Leaky(0.9, init_hidden=True)]
    )
    x = jnp.ones((steps, batch, 3))
    params = net.init(jax.random.key(0), x[0])["params"]

    def loss(params):
        return snn.unroll(net, {"params": params}, x, chunk=20, **options)[0].sum()

    memory = jax.jit(jax.grad(loss)).lower(params).compile().memory_analysis()
    assert memory.temp_size_in_bytes / (steps * batch * (width + 2)) < most


@pytest.mark.parametrize(("remat", "products"), [("auto", 2), (False, 2), (True, 3)])
def test_products_whose_results_the_gradient_uses_are_not_computed_twice(remat, products):
    """Forward and by the weights: a normalization after the product takes its result for its own gradient."""
    net = snn.Sequential(
        [nn.Dense(5), nn.BatchNorm(use_running_average=True), snn.Leaky(0.9, init_hidden=True)]
    )
    x = jnp.ones((4, 2, 3))
    variables = net.init(jax.random.key(0), x[0])

    def loss(params):
        return snn.unroll(net, {**variables, "params": params}, x, remat=remat)[0].sum()

    text = jax.jit(jax.value_and_grad(loss)).lower(variables["params"]).compile().as_text()
    assert text.count(" dot(") == products


class Leaking(snn.Leaky):
    """A step of its own, which no rule of Leaky's may replace."""

    @nn.compact
    def __call__(self, x, mem=None):
        return snn.Leaky.__call__(self, 2 * x, mem)


def test_a_subclass_is_called_for_each_step():
    assert not Leaking(0.9, init_hidden=True).takes_steps()
    x = jnp.full((5, 1, 1), 0.7)
    assert snn.unroll(snn.Sequential([Leaking(0.9, init_hidden=True)]), {}, x)[0].sum() == 5


@pytest.mark.parametrize(
    ("options", "words"),
    [
        ({"residuals": jnp.int8}, "jnp.bfloat16"),
        ({"residuals": "nine"}, "jnp.bfloat16"),
        ({"remat": "some"}, "'auto'"),
    ],
)
def test_unknown_options(options, words):
    net = snn.Sequential([snn.Leaky(0.9, init_hidden=True)])
    with pytest.raises(ArgumentError, match=words):
        snn.unroll(net, {}, jnp.ones((2, 1, 1)), **options)


@pytest.mark.parametrize("hidden", [True, False])
def test_a_python_loop_over_steps_is_warned_of_when_it_is_compiled(hidden):
    lif = snn.Leaky(0.9, init_hidden=hidden)

    def loop(x):
        state, total = {} if hidden else None, 0.0
        for x_t in x:
            if hidden:
                spk, state = lif.apply(state, x_t, mutable=["hidden"])
            else:
                spk, state = lif.apply({}, x_t, state)
            total = total + spk.sum()
        return total

    few, many = jnp.ones((19, 1, 1)), jnp.ones((20, 1, 1))
    jax.jit(loop).lower(few)
    loop(many)
    with pytest.warns(LoopWarning, match="unroll"):
        jax.jit(loop).lower(many)
    with pytest.warns(LoopWarning, match="Leaky"):
        jax.jit(jax.grad(loop)).lower(many)
