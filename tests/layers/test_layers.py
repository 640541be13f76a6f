"""Pooling, flatten, reshape and scale against ``torch.nn``, their gradients, and their errors."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest

import snnax as snn
from snnax.errors import ArgumentError, ShapeError

RNG = np.random.default_rng(0)
IMAGE = RNG.integers(-16, 16, (2, 7, 6, 3)).astype(np.float32) / 8
ROW = RNG.integers(-16, 16, (2, 9, 3)).astype(np.float32) / 8
SPIKES = RNG.integers(0, 2, (2, 7, 6, 3)).astype(np.float32)

POOLS = {
    1: [(2, None, 0), (3, 1, 1), (4, 3, 2), ((9,), (1,), (0,))],
    2: [
        (2, None, 0),
        (2, 1, 0),
        (3, 2, 1),
        ((2, 3), (3, 1), (1, 0)),
        (3, (1, 2), (0, 1)),
        ((7, 6), None, 0),
        (4, 5, 2),
    ],
}
KINDS = ("MaxPool", "AvgPool", "SumPool")


def torch_pool(torch, kind, rank, size, stride, padding):
    """The torch module, with the factor that makes a sum of its mean."""
    base = "AvgPool" if kind == "SumPool" else kind
    pool = getattr(torch.nn, f"{base}{rank}d")(size, stride, padding)
    return pool, float(np.prod(np.broadcast_to(size, rank))) if kind == "SumPool" else 1.0


def outside(array):
    """Channels first, as torch has them."""
    return np.moveaxis(np.asarray(array), -1, 1)


@pytest.mark.parametrize(("rank", "arguments"), [(rank, a) for rank in POOLS for a in POOLS[rank]])
@pytest.mark.parametrize("kind", KINDS)
def test_pools_and_their_gradients_are_torchs(kind, rank, arguments):
    torch = pytest.importorskip("torch")
    x = IMAGE if rank == 2 else ROW
    theirs, factor = torch_pool(torch, kind, rank, *arguments)
    given = torch.tensor(outside(x), requires_grad=True)
    expected = theirs(given) * factor
    weight = RNG.integers(-8, 8, expected.shape).astype(np.float32) / 8
    (expected * torch.tensor(weight)).sum().backward()

    ours = getattr(snn, f"{kind}{rank}d")(*arguments)
    y, pull = jax.vjp(lambda v: ours.apply({}, v), jnp.asarray(x))
    (slope,) = pull(jnp.moveaxis(jnp.asarray(weight), 1, -1))
    rtol = 0 if kind == "MaxPool" else 1e-6
    np.testing.assert_allclose(outside(y), expected.detach().numpy(), rtol=rtol, atol=rtol)
    np.testing.assert_allclose(outside(slope), given.grad.numpy(), rtol=rtol, atol=rtol)


@pytest.mark.parametrize(
    "x", [SPIKES, np.zeros_like(SPIKES), -np.ones_like(SPIKES)], ids=["spikes", "zeros", "minus"]
)
@pytest.mark.parametrize("arguments", POOLS[2], ids=str)
def test_of_equal_maxima_the_first_gets_the_gradient_as_in_torch(x, arguments):
    """Spikes are full of ties; windows overlap and reach into the padding."""
    torch = pytest.importorskip("torch")
    given = torch.tensor(outside(x), requires_grad=True)
    expected = torch.nn.MaxPool2d(*arguments)(given)
    weight = np.arange(1, expected.numel() + 1, dtype=np.float32).reshape(expected.shape)
    (expected * torch.tensor(weight)).sum().backward()
    y, pull = jax.vjp(lambda v: snn.MaxPool2d(*arguments).apply({}, v), jnp.asarray(x))
    np.testing.assert_array_equal(outside(y), expected.detach().numpy())
    (slope,) = pull(jnp.moveaxis(jnp.asarray(weight), 1, -1))
    np.testing.assert_array_equal(outside(slope), given.grad.numpy())


def test_forward_mode_agrees_with_reverse_mode():
    pool = snn.MaxPool2d(3, 2, 1)
    direction = jnp.asarray(RNG.integers(-8, 8, SPIKES.shape), jnp.float32)
    forward = jax.jvp(lambda v: pool.apply({}, v), (jnp.asarray(SPIKES),), (direction,))[1]
    backward = jax.linear_transpose(jax.vjp(lambda v: pool.apply({}, v), jnp.asarray(SPIKES))[1], forward)
    np.testing.assert_array_equal(forward, backward((direction,))[0])


def test_sum_pooling_is_torchs_lp_pooling_of_order_one():
    torch = pytest.importorskip("torch")
    expected = torch.nn.LPPool2d(1, (3, 2), stride=(2, 1))(torch.tensor(outside(IMAGE))).numpy()
    ours = snn.SumPool2d((3, 2), (2, 1)).apply({}, IMAGE)
    np.testing.assert_allclose(outside(ours), expected, rtol=1e-6, atol=1e-6)


def test_not_a_number_stays_visible():
    x = jnp.asarray(IMAGE).at[0, 0, 0, 0].set(jnp.nan)
    for kind in KINDS:
        y = getattr(snn, f"{kind}2d")(2).apply({}, x)
        assert bool(jnp.isnan(y[0, 0, 0, 0]))
        assert int(jnp.isnan(y).sum()) == 1


@pytest.mark.parametrize("dtype", ["float16", "bfloat16", "int8", "uint8", "int32", "bool"])
def test_pools_take_every_dtype(dtype):
    x = jnp.asarray(SPIKES * {"int8": -100, "uint8": 200}.get(dtype, 1)).astype(dtype)
    exact = jnp.asarray(x, jnp.float32)
    for kind in KINDS:
        pool = getattr(snn, f"{kind}2d")(3, 2, 1)
        y, expected = pool.apply({}, x), pool.apply({}, exact)
        np.testing.assert_allclose(y.astype("float32"), expected, rtol=1e-2 if "float" in dtype else 1e-6)
        assert y.dtype == (dtype if "float" in dtype or kind == "MaxPool" else "float32")


@pytest.mark.parametrize(
    ("given", "stored"),
    [
        ({"kernel_size": 2}, ((2, 2), (2, 2), (0, 0))),
        ({"kernel_size": [3, 2], "padding": 1}, ((3, 2), (3, 2), (1, 1))),
        ({"kernel_size": np.int64(3), "stride": np.array([1, 2])}, ((3, 3), (1, 2), (0, 0))),
    ],
)
def test_sizes_are_kept_as_tuples(given, stored):
    pool = snn.MaxPool2d(**given)
    assert (pool.kernel_size, pool.stride, pool.padding) == stored
    assert pool == snn.MaxPool2d(*stored)
    assert hash(pool) == hash(snn.MaxPool2d(*stored))


@pytest.mark.parametrize(
    ("given", "words"),
    [
        ({"kernel_size": 0}, "MaxPool2d(kernel_size=(0, 0)); expected sizes >= 1"),
        ({"kernel_size": (2, -1)}, "kernel_size=(2, -1)"),
        ({"kernel_size": 2, "stride": 0}, "MaxPool2d(stride=(0, 0)); expected sizes >= 1"),
        ({"kernel_size": 2, "padding": -1}, "padding=-1) with kernel_size=2; expected 0 to 1"),
        ({"kernel_size": 3, "padding": 2}, "expected 0 to 1, half the kernel size"),
        ({"kernel_size": 2.0}, "kernel_size=2.0; expected a whole number or 2 of them, as (2, 2)"),
        ({"kernel_size": (2, 2, 2)}, "kernel_size=(2, 2, 2)"),
        ({"kernel_size": "ab"}, "kernel_size='ab'"),
        ({"kernel_size": 2, "stride": (1, None)}, "stride=(1, None)"),
    ],
)
def test_sizes_that_are_none_are_refused(given, words):
    with pytest.raises(ArgumentError) as caught:
        snn.MaxPool2d(**given)
    assert words in str(caught.value)


@pytest.mark.parametrize(
    ("layer", "shape", "words"),
    [
        (snn.MaxPool2d(2), (6, 6, 1), "MaxPool2d got shape (6, 6, 1); expected [B, H, W, C], channels last"),
        (
            snn.AvgPool1d(2),
            (2, 6, 6, 1),
            "AvgPool1d got shape (2, 6, 6, 1); expected [B, L, C], channels last",
        ),
        (snn.SumPool2d(5), (1, 4, 6, 1), "shape (1, 4, 6, 1), smaller than its kernel_size=(5, 5)"),
        (
            snn.Reshape((5,)),
            (3, 4),
            "Reshape((5,)) got shape (3, 4); expected [B, ...] with 5 elements per sample",
        ),
        (snn.Reshape((3, -1)), (3, 4), "with a multiple of 3 elements per sample"),
        (snn.Reshape((1,)), (3,), "got shape (3,); expected [B, ...]"),
        (snn.Scale([1.0, 2.0]), (3, 3), "scale has shape (2,), the input (3, 3)"),
        (snn.Scale([1.0, 2.0]), (3, 1), "scale has shape (2,), the input (3, 1)"),
        (snn.Scale([[1.0, 2.0]] * 3), (3, 2), "as (2,)"),
    ],
)
def test_inputs_that_do_not_fit_are_refused(layer, shape, words):
    with pytest.raises(ShapeError) as caught:
        layer.init_with_output(jax.random.key(0), jnp.ones(shape))
    assert words in str(caught.value)


# --- flatten and reshape --------------------------------------------------------------------------


def test_flatten_in_both_orders():
    torch = pytest.importorskip("torch")
    expected = torch.nn.Flatten()(torch.tensor(outside(IMAGE))).numpy()
    np.testing.assert_array_equal(snn.Flatten(channels_first=True).apply({}, IMAGE), expected)
    np.testing.assert_array_equal(snn.Flatten().apply({}, IMAGE), IMAGE.reshape(2, -1))
    flat = IMAGE.reshape(2, -1)
    for first in (True, False):
        np.testing.assert_array_equal(snn.Flatten(channels_first=first).apply({}, flat), flat)
        assert snn.Flatten(channels_first=first).apply({}, jnp.ones((0, 2, 3))).shape == (0, 6)


@pytest.mark.parametrize("shape", [(3, 42), (2, 3, 21), (126,), (6, 7, 3), (2, -1, 21), (-1,)])
@pytest.mark.parametrize("x", [IMAGE, IMAGE.reshape(2, -1)], ids=["image", "row"])
def test_reshape_is_torchs_unflatten(shape, x):
    torch = pytest.importorskip("torch")
    given = torch.tensor(outside(x) if x.ndim > 2 else x)
    expected = given.reshape(2, *shape).numpy()
    ours = snn.Reshape(shape, channels_first=True).apply({}, x)
    np.testing.assert_array_equal(outside(ours) if ours.ndim > 2 else ours, expected)
    np.testing.assert_array_equal(snn.Reshape(shape)(x), np.reshape(x, (2, *shape)))


@pytest.mark.parametrize("shape", [(), (0, 3), (-1, -1), (-2,), (2.5,), "ab"])
def test_shapes_that_are_none_are_refused(shape):
    with pytest.raises(ArgumentError, match="shape="):
        snn.Reshape(shape)


# --- scale ----------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    "scale", [0.5, 2, np.float32(0.25), [0.5, 1.0, -2.0], RNG.normal(size=(7, 6, 3)), np.ones((1, 6, 1)) / 2]
)
@pytest.mark.parametrize("learn", [False, True])
def test_scale_multiplies_each_sample(scale, learn):
    layer = snn.Scale(scale, learn_scale=learn)
    y, variables = layer.init_with_output(jax.random.key(0), IMAGE)
    np.testing.assert_array_equal(y, IMAGE * np.asarray(scale, np.float32))
    home = "params" if learn else "buffers"
    assert set(variables) == ({home} if learn or np.ndim(scale) else set())
    if variables:
        value = variables[home]["scale"]
        assert value.shape == np.shape(scale)
        assert not value.weak_type
        doubled = layer.apply({home: {"scale": 2 * value}}, IMAGE)
        np.testing.assert_array_equal(doubled, 2 * y)


def test_a_fixed_scale_needs_no_variables():
    np.testing.assert_array_equal(snn.Scale([1.0, 2.0, 4.0]).apply({}, IMAGE), IMAGE * [1, 2, 4])


def test_scaled_integers_are_numbers():
    y = snn.Scale(0.5).apply({}, jnp.ones((1, 2), int))
    assert y.dtype == jnp.float32
    assert y.tolist() == [[0.5, 0.5]]


@pytest.mark.parametrize("scale", ["a", None, [[1.0], [1.0, 2.0]], True])
def test_scales_that_are_no_numbers_are_refused(scale):
    with pytest.raises(ArgumentError, match="Scale"):
        snn.Scale(scale)
