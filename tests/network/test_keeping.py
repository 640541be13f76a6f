"""What the gradient keeps follows from the memory it may take; the result does not."""

import flax.linen as nn
import jax
import jax.numpy as jnp
import numpy as np
import pytest

import snnax as snn
from snnax.errors import ArgumentError
from snnax.network import chunks, keeping
from snnax.network.keeping import LITTLE, Account, Plan, chosen

T, B, WIDTH = 1000, 4, 256
NUMBERS = T * B * (WIDTH + 2)
"""Neurons and steps."""

NET = snn.Sequential(
    [nn.Dense(WIDTH), snn.Leaky(0.9, init_hidden=True), nn.Dense(2), snn.Leaky(0.9, init_hidden=True)]
)
X = np.ones((T, B, 3), np.float32)


@pytest.fixture
def taken(monkeypatch):
    """The plan that a run takes."""
    found = []

    def noted(*args, **options):
        found.append(chosen(*args, **options))
        return found[-1]

    monkeypatch.setattr("snnax.network.loop.chosen", noted)
    return found


def gradient(net=NET, x=X, **options):
    params = net.init(jax.random.key(0), x[0])["params"]

    def loss(params):
        return snn.unroll(net, {"params": params}, x, **options)[0].sum()

    return jax.jit(jax.grad(loss)).lower(params), params


def test_the_memory_given_is_the_memory_taken(taken):
    """By the compiler's own account of a training step: what is kept, and what is computed of one chunk."""
    given = [1e9, 6.5 * NUMBERS, 1.0 * NUMBERS]
    used = []
    for memory in given:
        lowered, _ = gradient(memory=memory)
        used.append(lowered.compile().memory_analysis().temp_size_in_bytes)
    assert [plan.kept for plan in taken] == [LITTLE, LITTLE, ()]
    assert all(taken <= memory for taken, memory in zip(used, given, strict=True)), used


def test_if_nothing_fits_what_takes_least_is_taken(taken):
    lowered, _ = gradient(memory=1)
    assert taken[0].kept == ()
    assert 10 < taken[0].size < 100
    least = lowered.compile().memory_analysis().temp_size_in_bytes
    for chunk in (2, 500):
        other = gradient(remat=True, chunk=chunk)[0].compile().memory_analysis().temp_size_in_bytes
        assert least < other


def test_the_memory_changes_no_result(taken):
    x = np.random.default_rng(0).normal(size=(60, B, 3)).astype(np.float32)
    wanted = None
    for memory in ("auto", 1e9, 6.5 * 60 * B * (WIDTH + 2), 1):
        lowered, params = gradient(x=x, memory=memory)
        slopes = lowered.compile()(params)
        wanted = slopes if wanted is None else wanted
        for a, b in zip(jax.tree.leaves(slopes), jax.tree.leaves(wanted), strict=True):
            np.testing.assert_allclose(a, b, rtol=2e-5, atol=1e-5)
    assert len(set(taken)) >= 3


def test_half_of_the_free_memory_unless_something_is_said(taken, monkeypatch):
    monkeypatch.setattr(keeping, "free_memory", lambda: 14.0 * NUMBERS)
    gradient()
    monkeypatch.setattr(keeping, "free_memory", lambda: 2.0 * NUMBERS)
    gradient(x=X[1:])
    assert [plan.kept for plan in taken] == [LITTLE, ()]


def test_nothing_is_traced_where_there_is_plenty(monkeypatch):
    monkeypatch.setattr(keeping, "free_memory", lambda: 1e12)
    monkeypatch.setattr(Account, "bytes_of", lambda *args: pytest.fail("counted"))
    gradient(x=X[2:])


@pytest.mark.parametrize(
    ("options", "plans"),
    [
        ({"remat": True}, [Plan((), 20)]),
        ({"remat": False}, [Plan(None, 20)]),
        ({"remat": "auto"}, [Plan(LITTLE, 20), Plan((), 20)]),
    ],
    ids=str,
)
def test_what_the_user_says_stays(taken, options, plans):
    for memory in (1e9, 1):
        gradient(chunk=20, memory=memory, **options)
    assert taken == [plans[0], plans[-1]]


class Own(nn.Module):
    """A network with memory of its own, of which everything is kept where there is room."""

    @nn.compact
    def __call__(self, x):
        trace = self.variable("hidden", "trace", jnp.zeros, x.shape)
        trace.value = jnp.tanh(0.9 * trace.value + x)
        return nn.Dense(2)(trace.value)


@pytest.mark.parametrize("frames", [None, 200])
def test_networks_of_ones_own_and_constant_inputs(taken, frames):
    net = Own() if frames is None else NET
    x = np.ones((200, B, 3), np.float32)
    x, options = (x, {}) if frames is None else (x[0], {"num_steps": frames})
    params = net.init(jax.random.key(0), x[0] if frames is None else x)["params"]
    for memory in (1e9, 1):
        jax.grad(lambda p, m=memory: snn.unroll(net, {"params": p}, x, memory=m, **options)[0].sum())(params)
    assert [plan.kept for plan in taken] == [None if frames is None else LITTLE, ()]


@pytest.mark.parametrize(("each", "kept"), [(14, LITTLE), (2, ())])
def test_neurons_whose_current_is_the_same_in_all_steps_count(taken, each, kept):
    net = snn.Sequential([nn.Dense(WIDTH), snn.Leaky(0.9, init_hidden=True)])
    params = net.init(jax.random.key(0), X[0])["params"]

    def loss(params):
        return snn.unroll(net, {"params": params}, X[0], num_steps=T, memory=each * NUMBERS)[0].sum()

    jax.jit(jax.grad(loss)).lower(params)
    assert taken[0].kept == kept


@pytest.mark.parametrize("memory", [0, -1, "2GB", None, True, float("nan"), [1]], ids=str)
def test_what_is_no_memory(memory):
    net = snn.Sequential([snn.Leaky(0.9, init_hidden=True)])
    with pytest.raises(ArgumentError, match=r"memory.*'auto' or a number of bytes, as memory=2e9"):
        snn.unroll(net, {}, jnp.ones((2, 1, 1)), memory=memory)


@pytest.mark.parametrize(
    ("cores", "steps", "batch", "held", "size"),
    [
        (1, 500, 16, 32e3, 25), (2, 500, 16, 32e3, 125), (1, 25, 128, 5e5, 5), (2, 25, 128, 5e5, 25),
        (2, 500, 16, 131e3, 100), (2, 7, 1, 1, 7), (1, 7, 10_000, 1e9, 7),
    ],
)  # fmt: skip
def test_several_cores_get_larger_products(monkeypatch, cores, steps, batch, held, size):
    monkeypatch.setattr(chunks, "cores", lambda: cores)
    assert chunks.fast_size(steps, batch, False, held) == size
    assert chunks.fast_size(steps, batch, True, held) == chunks.divisor(steps, 96 / batch)


def test_a_program_that_is_there_is_called_without_another_look_for_its_chunks(monkeypatch):
    net = snn.Sequential([snn.Leaky(0.9, init_hidden=True)])
    before = snn.unroll(net, {}, X[:5])[0]
    monkeypatch.setattr(chunks, "fast_size", lambda *given: pytest.fail("looked for"))
    np.testing.assert_array_equal(snn.unroll(net, {}, X[:5])[0], before)


def test_elsewhere_than_on_a_cpu_all_steps_are_one_chunk(monkeypatch):
    monkeypatch.setattr(chunks, "platform", lambda: "gpu")
    assert chunks.fast_size(500, 16, False, 32e3) == 500
