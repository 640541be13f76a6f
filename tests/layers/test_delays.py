"""Delays: whole ones, learned ones beside NumPy and finite differences, and their rounding."""

import flax.linen as nn
import jax
import jax.numpy as jnp
import numpy as np
import pytest

import snnax as snn
from snnax.errors import ArgumentError, ShapeError, StateError

X = np.random.default_rng(0).normal(0, 1, (12, 2, 3)).astype(np.float32)
WIDE = X.astype(np.float64)
LONGEST = 5
LAYERS = {
    "linear": lambda: snn.Delay([0.3, 2.0, 4.7], learn_delay=True, max_delay=LONGEST),
    "gaussian": lambda: snn.Delay(
        [0.3, 2.0, 4.7], learn_delay=True, max_delay=LONGEST, kernel="gaussian", sigma=0.8
    ),
    "drawn": lambda: snn.Delay(learn_delay=True, max_delay=LONGEST),
    "dense": lambda: snn.DelayedDense(2, LONGEST),
    "dense, gaussian": lambda: snn.DelayedDense(2, LONGEST, use_bias=False, kernel="gaussian", sigma=0.6),
}


@pytest.mark.parametrize("chunk", [1, 5, 12])
@pytest.mark.parametrize("steps", [0, 1, 4, 20, [0, 2, 5]])
def test_delay(steps, chunk):
    out = np.asarray(snn.unroll(snn.Delay(steps), {}, X, chunk=chunk)[0])
    for neuron, d in enumerate(np.broadcast_to(steps, 3)):
        expected = np.concatenate([np.zeros((min(d, 12), 2), np.float32), X[: max(12 - d, 0), :, neuron]])
        assert np.array_equal(out[..., neuron], expected)


def test_delay_of_images_and_over_calls():
    images = np.random.default_rng(0).normal(0, 1, (6, 1, 2, 2, 3)).astype(np.float32)
    layer = snn.Delay(np.array([1, 2, 0]))
    whole, _ = snn.unroll(layer, {}, images)
    first, updates = snn.unroll(layer, {}, images[:4])
    second, _ = snn.unroll(layer, updates, images[4:])
    assert np.array_equal(whole, np.concatenate([first, second]))
    assert np.array_equal(whole[2:, ..., 1], images[:-2, ..., 1])


def weights(delay, kernel, sigma):
    """Of each lag, ``[K + 1, *delay.shape]``, as the docstring says."""
    apart = np.arange(LONGEST + 1).reshape(-1, *[1] * delay.ndim) - np.clip(delay, 0, LONGEST)
    if kernel == "linear":
        return np.maximum(0, 1 - abs(apart))
    bell = np.exp(-(apart**2) / (2 * sigma**2))
    return bell / bell.sum(0)


def by_hand(layer, params, x):
    """What a layer returns at all steps, in NumPy."""
    taps = weights(np.asarray(params["delay"]), layer.kernel, layer.sigma)
    out = 0.0
    for lag, tap in enumerate(taps):
        late = np.concatenate([np.zeros_like(x[:lag]), x[: len(x) - lag]])
        out = out + (late @ (params["kernel"] * tap) if "kernel" in params else late * tap)
    return out + np.asarray(params.get("bias", 0.0))


def started(layer, x):
    return {c: v for c, v in layer.init(jax.random.key(1), x).items() if c != "hidden"}


@pytest.mark.parametrize("name", LAYERS)
def test_learned_delays_beside_numpy_and_finite_differences(name):
    layer, rng = LAYERS[name](), np.random.default_rng(1)
    with jax.enable_x64(True):
        variables = started(layer, WIDE[0])
        params = jax.tree.map(np.asarray, variables["params"])
        if "delay" in params and name == "drawn":
            params["delay"] = np.array([1.4, 3.0, 2.6])
        if "bias" in params:
            params["bias"] = rng.normal(size=params["bias"].shape)
        out, updates = snn.unroll(layer, {**variables, "params": params}, WIDE, chunk=5)
        np.testing.assert_allclose(out, by_hand(layer, params, WIDE), rtol=1e-12, atol=1e-12)
        assert updates["hidden"]["past"].shape == (2, LONGEST, 3)
        assert np.array_equal(updates["hidden"]["past"], np.moveaxis(WIDE[: -LONGEST - 1 : -1], 0, 1))
        seen = rng.normal(size=out.shape)

        def loss(params, x):
            return jnp.sum(snn.unroll(layer, {**variables, "params": params}, x)[0] * seen)

        slopes, by_x = jax.jit(jax.grad(loss, argnums=(0, 1)))(params, jnp.asarray(WIDE))
    for key, value in params.items():
        for at in np.ndindex(value.shape):
            change = np.zeros_like(value)
            change[at] = 1e-6
            ends = [
                np.sum(by_hand(layer, {**params, key: value + sign * change}, WIDE) * seen)
                for sign in (1, -1)
            ]
            np.testing.assert_allclose(slopes[key][at], (ends[0] - ends[1]) / 2e-6, rtol=1e-6, atol=1e-7)
    other = rng.normal(size=WIDE.shape)
    along = np.sum(by_hand(layer, params, WIDE + other) * seen) - np.sum(by_hand(layer, params, WIDE) * seen)
    np.testing.assert_allclose(np.sum(np.asarray(by_x) * other), along, rtol=1e-9)


@pytest.mark.parametrize("name", ["linear", "dense, gaussian"])
def test_steps_chunks_and_calls_are_alike(name):
    layer = LAYERS[name]()
    variables = started(layer, X[0])
    whole = np.asarray(snn.unroll(layer, variables, X, chunk=12)[0])
    first, updates = snn.unroll(layer, variables, X[:7], chunk=3)
    rest = []
    for x in X[7:]:
        y, updates = layer.apply({**variables, **updates}, x, mutable=["hidden"])
        rest.append(y)
    np.testing.assert_allclose(np.concatenate([first, rest]), whole, rtol=1e-5, atol=1e-6)


def test_at_the_corners_of_the_line():
    """At whole delays the mean of both sides, at the ends the one side, and beyond them the way back."""
    starts = np.array([2.0, 0.0, 5.0, -0.5, 5.5], np.float32)
    x = np.repeat(X[:, :, :1], 5, axis=2)
    layer = snn.Delay(2.0 * np.ones(5), learn_delay=True, max_delay=LONGEST)
    slopes = jax.jacfwd(lambda d: snn.unroll(layer, {"params": {"delay": d}}, x)[0].sum((1, 2)))(starts)
    last = x[:, :, 0].sum(1)[::-1]  # of the last step: now, one step ago, ...
    sides = [(last[3] - last[1]) / 2, *[last[1] - last[0], last[5] - last[4]] * 2]
    np.testing.assert_allclose(slopes[-1], sides, rtol=1e-5, atol=1e-6)
    out = snn.unroll(layer, {"params": {"delay": jnp.asarray(starts)}}, x)[0]
    assert np.array_equal(out[-1, :, 3:], x[[-1, -6], :, 0].T)


def test_a_gaussian_comes_back_too():
    layer = snn.Delay(np.zeros(3), learn_delay=True, max_delay=LONGEST, kernel="gaussian")
    held = {"buffers": {"sigma": jnp.asarray(1.0)}}
    x = np.repeat(X[:, :, :1], 3, axis=2)
    starts = jnp.array([0.0, -0.5, 1.0])
    slopes = jax.grad(lambda d: snn.unroll(layer, {**held, "params": {"delay": d}}, x)[0][-1].sum())(starts)
    assert float(slopes[0]) == float(slopes[1]) != 0 != float(slopes[2]) != float(slopes[0])


def test_images_have_a_delay_for_each_channel():
    images = np.random.default_rng(0).normal(0, 1, (6, 1, 2, 2, 3)).astype(np.float32)
    layer = snn.Delay(1.5, learn_delay=True, max_delay=2)
    variables = started(layer, images[0])
    assert variables["params"]["delay"].shape == (3,)
    out = np.asarray(snn.unroll(layer, variables, images)[0])
    np.testing.assert_allclose(out[2:], (images[1:-1] + images[:-2]) / 2, rtol=1e-6, atol=1e-6)


def test_dense_in_a_cycle():
    """Recurrent delays: step by step, as the graph asks for."""
    nodes = {"lif": snn.Leaky(0.5, init_hidden=True), "back": snn.DelayedDense(3, 2, steps=2, use_bias=False)}
    net = snn.Graph(nodes, [("input", "lif"), ("lif", "back"), ("back", "lif"), ("lif", "output")])
    variables = started(net, X[0])
    found = np.asarray(snn.unroll(net, variables, 4 * X)[0])
    mem, spk = np.zeros((2, 3), np.float32), [np.zeros((2, 3), np.float32)] * 3
    for x, ours in zip(4 * X, found, strict=True):
        reset = (mem > 1).astype(np.float32)
        mem = 0.5 * mem + x + spk[-3] @ np.asarray(variables["params"]["back"]["kernel"]) - reset
        spk.append((mem > 1).astype(np.float32))
        assert np.array_equal(ours, spk[-1])
    assert 0 < found.mean() < 1


def test_rounding():
    net = snn.Sequential([
        snn.Delay(1.0, learn_delay=True, max_delay=4, kernel="gaussian"),
        snn.DelayedDense(2, 4),
        snn.Leaky(0.5, init_hidden=True),
    ])  # fmt: skip
    variables = started(net, X[0])
    variables["params"]["layers_0"]["delay"] = jnp.array([-0.3, 2.25, 4.4])
    rounded, moved = snn.round_delays(variables)
    assert rounded["params"]["layers_0"]["delay"].tolist() == [0.0, 2.0, 4.0]
    assert moved["layers_0"] == pytest.approx(0.4) and 0 < moved["layers_1"] <= 0.5
    assert float(rounded["buffers"]["layers_0"]["sigma"]) == 0.0
    assert float(variables["buffers"]["layers_0"]["sigma"]) == 1.0
    layer = net.members()["layers_0"]
    own = {c: rounded[c]["layers_0"] for c in ("params", "buffers")}
    assert np.array_equal(
        snn.unroll(layer, own, X)[0], snn.unroll(snn.Delay([0, 2, 4]), {}, X)[0]
    )  # to the last bit
    assert snn.round_delays(rounded)[1] == {"layers_0": 0.0, "layers_1": 0.0}


def test_the_width_is_no_reason_to_compile_anew():
    layer = snn.DelayedDense(2, 4, kernel="gaussian", sigma=3.0)
    variables = started(layer, X[0])
    wide, narrow = (
        np.asarray(snn.unroll(layer, snn.with_delay_sigma(variables, sigma), X)[0]) for sigma in (3.0, 0.1)
    )
    assert np.array_equal(wide, snn.unroll(layer, variables, X)[0]) and not np.allclose(wide, narrow)


def test_without_the_width_a_call_is_refused():
    layer = LAYERS["gaussian"]()
    with pytest.raises(ArgumentError, match="'sigma' is not among"):
        snn.unroll(layer, {"params": started(layer, X[0])["params"]}, X)


LEARNED = {"learn_delay": True, "max_delay": 4}


@pytest.mark.parametrize(
    ("build", "error", "words"),
    [
        (lambda: snn.Delay(1.5), ArgumentError, "whole numbers"),
        (lambda: snn.Delay(-1), ArgumentError, ">= 0"),
        (snn.Delay, ArgumentError, r"Delay\(steps=None\)"),
        (lambda: snn.Delay(1, max_delay=4), ArgumentError, "without learn_delay=True"),
        (lambda: snn.Delay(learn_delay=True), ArgumentError, "max_delay=None"),
        (lambda: snn.Delay(4.5, **LEARNED), ArgumentError, "from 0 to max_delay=4"),
        (lambda: snn.Delay(kernel="cubic", **LEARNED), ArgumentError, "'linear', 'gaussian'"),
        (lambda: snn.Delay(sigma=-1, **LEARNED), ArgumentError, "sigma=-1"),
        (lambda: snn.DelayedDense(0, 4), ArgumentError, "features=0"),
        (lambda: snn.DelayedDense(2, 0), ArgumentError, "max_delay=0"),
        (lambda: snn.Delay([1, 2]).apply({}, X[0], mutable=["hidden"]), ShapeError, "steps has shape"),
        (lambda: snn.Delay([1, 2], **LEARNED).init(jax.random.key(0), X[0]), ShapeError, "delay has shape"),
        (
            lambda: started(snn.DelayedDense(2, 4, steps=np.ones((2, 2))), X[0]),
            ShapeError,
            r"DelayedDense\(steps.*= \(3, 2\)",
        ),
        (
            lambda: snn.DelayedDense(2, 4).init(jax.random.key(0), jnp.ones(3)),
            ShapeError,
            "axis for the batch",
        ),
        (lambda: snn.Delay(1).apply({}, X[0]), StateError, "mutable"),
        (
            lambda: snn.unroll(snn.Delay(1), {"hidden": {"past": jnp.zeros((5, 1, 3))}}, X),
            StateError,
            "batch",
        ),
        (lambda: snn.round_delays({"params": {"kernel": X}}), ArgumentError, "without a learned delay"),
        (
            lambda: snn.round_delays({"params": {"delay": np.array([np.nan])}}),
            ArgumentError,
            "not all finite",
        ),
        (lambda: snn.with_delay_sigma(started(snn.DelayedDense(2, 4), X[0]), 1.0), ArgumentError, "gaussian"),
        (lambda: snn.with_delay_sigma(started(LAYERS["gaussian"](), X[0]), -1.0), ArgumentError, "-1"),
    ],
)
def test_refusals(build, error, words):
    with pytest.raises(error, match=words):
        build()


def test_sequences_of_different_lengths_keep_their_own_past():
    layer, lengths = LAYERS["linear"](), np.array([12, 7])
    variables = started(layer, X[0])
    out, updates = snn.unroll(layer, variables, X, seq_lengths=lengths)
    alone, own = snn.unroll(layer, variables, X[:7, 1:])
    np.testing.assert_allclose(out[:7, 1:], alone, rtol=1e-6)
    assert np.array_equal(updates["hidden"]["past"][1:], own["hidden"]["past"]) and not out[7:, 1].any()


def test_a_layer_of_ones_own_is_called_step_by_step():
    class Doubled(snn.Delay):
        @nn.compact
        def __call__(self, x):
            return 2 * super().__call__(x)

    out = snn.unroll(Doubled(1), {}, X)[0]
    assert np.array_equal(out[1:], 2 * X[:-1])
