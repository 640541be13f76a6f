"""Layers whose weights are rounded: the values, their gradient, and the whole numbers that a chip stores."""

import flax.linen as nn
import jax
import jax.numpy as jnp
import numpy as np
import pytest

import snnax as snn
from snnax.errors import ArgumentError
from snnax.layers.rounding import WeightRounding

KEY = jax.random.key(0)
CASES = [(4, False), (16, True), (1, False), (1, True)]


def drawn(*shape, dtype=np.float32, seed=0):
    return np.random.default_rng(seed).normal(size=shape).astype(dtype)


def reference(weight, bits, per_channel):
    """The equation in NumPy, each operation rounded to the precision of the weights."""
    axes, kind = tuple(range(weight.ndim - per_channel)), weight.dtype.type
    size = np.abs(weight)
    peak = size.max(axes, keepdims=True)
    if bits > 1:
        scale = peak / kind(2 ** (bits - 1) - 1)
        return np.round(weight / scale) * scale
    return np.where(weight < 0, -1, 1) * size.mean(axes, keepdims=True, dtype=np.float64)


@pytest.mark.parametrize("dtype", ["float32", "float64"])
@pytest.mark.parametrize(("bits", "per_channel"), CASES)
def test_a_compiled_layer_has_the_weights_of_the_equation(bits, per_channel, dtype):
    """Of many bits too, where ``w * (1 / s)`` instead of ``w / s`` would go to another level."""
    with jax.enable_x64(dtype == "float64"):
        kernel = drawn(300, 70, dtype=dtype)
        layer = snn.quantized(nn.Dense(70, use_bias=False, param_dtype=dtype), bits, per_channel)
        used = np.asarray(jax.jit(layer.apply)({"params": {"kernel": kernel}}, np.eye(300, dtype=dtype)))
        stored = snn.integer_weights(layer, {"kernel": kernel})
    assert used.dtype == dtype
    expected = reference(kernel, bits, per_channel)
    if bits > 1:
        np.testing.assert_array_equal(used, expected)
    else:
        np.testing.assert_allclose(used, expected, rtol=0, atol=3e-7 * np.abs(kernel).max())
    np.testing.assert_array_equal(stored.values * stored.scale, used)
    assert stored.values.dtype == (np.int8 if bits <= 8 else np.int16)
    assert (stored.values * stored.scale).dtype == dtype
    assert stored.scale.shape == ((1, 70) if per_channel else (1, 1))
    assert np.abs(stored.values).max() == max(1, 2 ** (bits - 1) - 1)


def test_the_mean_of_binary_weights_has_no_order():
    """Any permutation of the weights has the same scale to the last bit, a sum in float32 has not."""
    kernel = drawn(300, 70)
    scales = {
        float(
            WeightRounding(1).levels(np.random.default_rng(n).permutation(kernel.ravel())[:, None])[1][0, 0]
        )
        for n in range(5)
    }
    assert len(scales) == 1


@pytest.mark.parametrize("bits", [1, 4])
def test_zeros_stay_zeros_and_the_sign_of_zero_is_one(bits):
    layer = snn.quantized(nn.Dense(2), bits)
    used = layer.apply(
        {"params": {"kernel": np.zeros((3, 2), np.float32), "bias": np.ones(2, np.float32)}}, np.eye(3)
    )
    np.testing.assert_array_equal(used, 1.0)
    binary = snn.integer_weights(
        snn.quantized(nn.Dense(1), 1), {"kernel": np.array([[0.0], [-2.0]], np.float32)}
    )
    assert binary.values.tolist() == [[1], [-1]]


def test_the_gradient_passes_straight_through():
    """It is that by the rounded weights; the bias, which is not rounded, gets its own."""
    layer, plain, x = snn.quantized(nn.Dense(4), 2, per_channel=True), nn.Dense(4), drawn(5, 6)
    params = layer.init(KEY, x)["params"]

    def loss(module, params):
        return jnp.sum(jnp.sin(module.apply({"params": params}, x)))

    stored = snn.integer_weights(layer, params)
    rounded = {**params, "kernel": stored.values * stored.scale}
    found, expected = jax.grad(loss, 1)(layer, params), jax.grad(loss, 1)(plain, rounded)
    jax.tree.map(lambda a, b: np.testing.assert_allclose(a, b, rtol=1e-6, atol=1e-6), found, expected)
    assert not np.array_equal(params["kernel"], rounded["kernel"])


def test_convolutions_keep_their_arguments_and_run_in_every_schedule():
    conv = snn.quantized(snn.Conv2d(2, 3, 3, stride=2, groups=1, bias=False), 3)
    assert type(conv) is nn.Conv and conv.strides == (2, 2)
    assert conv == snn.quantized(snn.Conv2d(2, 3, 3, stride=2, bias=False), bits=3)
    assert hash(conv) == hash(snn.quantized(snn.Conv2d(2, 3, 3, stride=2, bias=False), bits=3))
    net = snn.Sequential([conv, snn.Leaky(0.9, init_hidden=True, output=True)])
    x = drawn(4, 2, 7, 7, 2)
    variables = net.init(KEY, x[0])
    runs = [snn.unroll(net, variables, x, chunk=chunk)[0][1] for chunk in (1, 4)]
    np.testing.assert_allclose(*runs, rtol=1e-5, atol=1e-6)
    plain = snn.Sequential([conv.clone(promote_dtype=nn.Conv(3, (3, 3)).promote_dtype), net.layers[1]])
    assert not np.allclose(snn.unroll(plain, variables, x)[0][1], runs[0], atol=1e-3)


def test_weights_in_bfloat16_are_rounded_in_float32():
    layer = snn.quantized(nn.Dense(3, dtype=jnp.bfloat16), 4)
    params = layer.init(KEY, drawn(2, 5))["params"]
    y = layer.apply({"params": params}, np.eye(5, dtype=np.float32))
    stored = snn.integer_weights(layer, params)
    assert y.dtype == jnp.bfloat16
    np.testing.assert_array_equal(y, (stored.values * stored.scale).astype(jnp.bfloat16))


@pytest.mark.parametrize(
    ("call", "words"),
    [
        (lambda: snn.quantized(snn.Flatten(), 4), r"expected a layer with weights"),
        (lambda: snn.quantized(snn.quantized(nn.Dense(2), 4), 4), "not quantised yet"),
        (lambda: snn.quantized(nn.Dense(2), 0), "a whole number from 1 to 16"),
        (lambda: snn.quantized(nn.Dense(2), 17), "a whole number from 1 to 16"),
        (lambda: snn.quantized(nn.Dense(2), 4, per_channel="yes"), r"per_channel"),
        (lambda: snn.integer_weights(nn.Dense(2), {"kernel": np.ones((2, 2))}), "snnax.quantized made"),
        (lambda: snn.integer_weights(snn.quantized(nn.Dense(2), 4), {"bias": 1}), r"the layer's own parameters"),
    ],
)  # fmt: skip
def test_what_cannot_work_says_so(call, words):
    with pytest.raises(ArgumentError, match=words):
        call()
