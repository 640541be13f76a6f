"""SLSTM and SConv2dLSTM: states and the time loop, networks, initial weights, what is refused."""

from __future__ import annotations

import itertools

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from helpers.cells import kept, normal, start, trace

import snnax as snn
from snnax.errors import ArgumentError, HiddenStateTypeError, ShapeError, StateError

CELLS = {
    "SLSTM": ((4, 3), {"threshold": 0.1, "reset_mechanism": "subtract"}, (2, 4), (2, 3), (2, 3)),
    "SConv2dLSTM": (
        (2, 3, 3),
        {"threshold": 0.05, "reset_mechanism": "zero", "max_pool": 2},
        (2, 4, 6, 2),
        (2, 4, 6, 3),
        (2, 2, 3, 3),
    ),
}


@pytest.mark.parametrize("kind", CELLS)
def test_time_loop_records_forces_and_carries(kind):
    sizes, options, shape, states, fired = CELLS[kind]
    explicit, hidden = getattr(snn, kind)(*sizes, **options), kept(kind, *sizes, **options)
    x = jnp.asarray(normal((7, *shape)))
    variables = start(hidden, x[0])
    assert {n: v.shape for n, v in variables["hidden"].items()} == {"syn": states, "mem": states}
    force = {"": jnp.asarray(np.random.default_rng(1).integers(0, 2, (7, *fired)), jnp.float32)}
    runs = [snn.unroll(hidden, variables, x, chunk=c, record=True, force=force) for c in (1, 7)]
    jax.tree.map(np.testing.assert_array_equal, *runs)
    (spk, syn, mem), updates, record = runs[0]
    assert np.array_equal(spk, force[""])
    record = record[""]
    assert {n: v.shape[1:] for n, v in record.items()} == {
        "input": shape, "syn": states, "mem": states, "spk": fired,
    }  # fmt: skip
    assert np.array_equal(record["mem"], mem)
    assert np.array_equal(updates["hidden"]["syn"], syn[-1])
    step = jax.jit(explicit.apply)
    params, now = {"params": variables["params"]}, (jnp.zeros(states),) * 2
    for t in range(7):
        own, *now = step(params, x[t], *now)
        np.testing.assert_allclose(now[1], mem[t], rtol=1e-6, atol=1e-6)
        assert np.array_equal(own, record["spk"][t])
    alone = getattr(snn, kind)(*sizes, **options, init_hidden=True)
    bare, _ = jax.eval_shape(lambda v: alone.apply(v, x[0], mutable=["hidden"]), variables)
    assert bare.shape == fired


def test_in_a_graph_a_state_can_be_read():
    net = snn.Graph(
        nodes={"cell": kept("SLSTM", 3, 5), "mem": snn.State("mem"), "lif": snn.Leaky(0.5, init_hidden=True)},
        edges=[("input", "cell"), ("cell", "mem"), ("mem", "lif"), ("lif", "output")],
        outputs=[("lif", "out"), ("cell", "syn")],
    )
    x = jnp.asarray(normal((4, 2, 3)))
    variables = start(net, x[0])
    (spk, syn), _ = snn.unroll(net, variables, x)
    assert (spk.shape, syn.shape) == ((4, 2, 5), (4, 2, 5))
    params = variables["params"]["cell"]
    np.testing.assert_allclose(syn, trace(kept("SLSTM", 3, 5), params, x)["syn"], rtol=1e-6)


def test_samples_may_have_more_axes():
    cell = snn.SLSTM(3, 2)
    x = jnp.asarray(normal((4, 5, 3)))
    variables, step = start(cell, x), jax.jit(cell.apply)
    spk, syn, mem = step(variables, x)
    assert spk.shape == syn.shape == (4, 5, 2)
    np.testing.assert_allclose(mem[:, 1], step(variables, x[:, 1])[2], rtol=1e-6, atol=1e-6)


@pytest.mark.parametrize(("kind", "sizes", "shape", "inputs"), [
    ("SLSTM", (3, 400), (1, 3), 400), ("SConv2dLSTM", (2, 30, (3, 5)), (1, 4, 4, 2), 32 * 15)])  # fmt: skip
def test_weights_start_as_torch_draws_them(kind, sizes, shape, inputs):
    """Uniform between plus and minus one over the root of the size (SLSTM), or of the inputs of a window."""
    found = start(getattr(snn, kind)(*sizes), jnp.ones(shape))["params"]
    bound = inputs**-0.5
    for name, value in itertools.chain.from_iterable(branch.items() for branch in found.values()):
        assert float(jnp.abs(value).max()) < bound, name
        if value.size > 1000:
            assert float(jnp.abs(value).max()) > 0.99 * bound
            assert float(value.std()) == pytest.approx(bound / 3**0.5, rel=0.05)


@pytest.mark.parametrize(
    ("build", "message"),
    [
        (lambda: snn.SLSTM(0, 3), r"SLSTM\(input_size=0\); expected a whole number >= 1"),
        (lambda: snn.SLSTM(3, 2.5), r"hidden_size=2.5"),
        (lambda: snn.SLSTM(3, True), r"hidden_size=True"),
        (lambda: snn.SLSTM(3, 3, inhibition=True), r"inhibition=True.*snn.Leaky"),
        (lambda: snn.SLSTM(3, 3, reset_mechanism="hard"), r"reset_mechanism='hard'"),
        (lambda: snn.SConv2dLSTM(0, 3, 3), r"in_channels=0"),
        (lambda: snn.SConv2dLSTM(1, -1, 3), r"out_channels=-1"),
        (lambda: snn.SConv2dLSTM(1, 1, 2), r"kernel_size=2\); expected one odd number or 2 of them"),
        (lambda: snn.SConv2dLSTM(1, 1, (3, 4)), r"kernel_size=\(3, 4\)"),
        (lambda: snn.SConv2dLSTM(1, 1, "3x3"), r"kernel_size='3x3'"),
        (lambda: snn.SConv2dLSTM(1, 1, 3, max_pool=2, avg_pool=2), r"one of them at most"),
        (lambda: snn.SConv2dLSTM(1, 1, 3, max_pool=-1), r"max_pool=-1"),
        (lambda: snn.SConv2dLSTM(1, 1, 3, avg_pool=(2, 2, 2)), r"avg_pool=\(2, 2, 2\)"),
        (lambda: snn.SConv2dLSTM(1, 1, 3, inhibition=True), r"inhibition=True"),
    ],
)
def test_bad_arguments(build, message):
    with pytest.raises(ArgumentError, match=message):
        build()


@pytest.mark.parametrize(
    ("cell", "shape", "error", "message"),
    [
        (lambda: snn.SLSTM(3, 2), (4, 5), ShapeError, r"\(4, 5\); expected \[B, ..., 3\]"),
        (lambda: snn.SLSTM(3, 2), (3,), ShapeError, r"expected \[B, ..., 3\]"),
        (lambda: snn.SLSTM(3, 2, threshold=[1.0, 2, 3]), (4, 3), ShapeError, r"threshold has shape \(3,\)"),
        (lambda: snn.SConv2dLSTM(1, 2, 3), (2, 4, 4, 3), ShapeError, r"\[B, H, W, 1\], channels last"),
        (lambda: snn.SConv2dLSTM(1, 2, 3), (4, 4, 1), ShapeError, r"\[B, H, W, 1\]"),
        (lambda: snn.SConv2dLSTM(1, 2, 3, max_pool=5), (2, 4, 4, 1), ShapeError, r"pooling window \(5, 5\)"),
        (
            lambda: snn.SConv2dLSTM(1, 2, 3, max_pool=2, threshold=np.ones((4, 4, 2))),
            (2, 4, 4, 1),
            ShapeError,
            r"threshold has shape \(1, 4, 4, 2\)",
        ),
    ],
)
def test_inputs_that_do_not_fit(cell, shape, error, message):
    with pytest.raises(error, match=message):
        jax.eval_shape(cell().init, jax.random.key(0), jnp.ones(shape))


def test_states_that_do_not_fit():
    x = jnp.ones((2, 3))
    cell = snn.SLSTM(3, 5)
    with pytest.raises(StateError, match=r"'mem' has shape \(2, 3\).*state of shape \(2, 5\), or mem=None"):
        cell.apply({}, x, jnp.ones((2, 5)), x)
    with pytest.raises(HiddenStateTypeError, match="was passed syn"):
        kept("SLSTM", 3, 5).apply({}, x, jnp.ones((2, 5)))
