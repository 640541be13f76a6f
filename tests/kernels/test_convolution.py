"""The convolution with fast derivatives: its values and derivatives are those of ``lax.conv_general_dilated``."""

from functools import partial

import flax.linen as nn
import jax
import jax.numpy as jnp
import numpy as np
import pytest
from helpers.kernels import close
from jax import lax
from jax.sharding import PartitionSpec

from snnax.kernels import patches
from snnax.kernels.convolution import conv

RNG = np.random.default_rng(0)
LAST = {1: ("NWC", "WIO", "NWC"), 2: ("NHWC", "HWIO", "NHWC")}
TOLERANCE = {"float32": 1e-5, "float64": 1e-12, "bfloat16": 2e-2}

# image, kernel, strides, padding
CASES = {
    "one channel": ((3, 12, 11, 1), (5, 5, 1, 6), (1, 1), "VALID"),
    "one frame": ((1, 6, 9, 2), (2, 2, 2, 2), (1, 1), "VALID"),
    "two channels, strides": ((4, 9, 10, 2), (3, 3, 2, 5), (2, 1), "SAME"),
    "many frames": ((37, 8, 9, 6), (3, 3, 6, 8), (1, 1), "VALID"),
    "uneven": ((3, 8, 7, 16), (3, 2, 16, 8), (2, 3), ((1, 2), (0, 1))),
    "strides over the kernel": ((2, 9, 9, 3), (2, 2, 3, 4), (3, 4), "VALID"),
    "less than the image": ((2, 9, 9, 3), (3, 3, 3, 4), (1, 1), ((-1, 0), (2, -2))),
    "all of the image": ((2, 3, 3, 1), (3, 3, 1, 4), (1, 1), "VALID"),
    "many channels": ((3, 6, 7, 32), (3, 2, 32, 12), (1, 1), ((1, 1), (0, 1))),
    "many features": ((3, 6, 7, 12), (3, 3, 12, 32), (1, 1), "SAME"),
    "many, more around than the kernel": ((2, 5, 5, 32), (2, 2, 32, 12), (1, 1), ((2, 1), (0, 3))),
    "a product for each row": ((5, 6, 7, 50), (3, 2, 50, 8), (2, 1), ((1, 2), (0, 1))),
    "rows": ((5, 20, 2), (4, 2, 3), (2,), "SAME"),
    "many rows": ((5, 9, 32), (4, 32, 12), (1,), ((1, 2),)),
    "wide rows": ((5, 20, 24), (4, 24, 3), (1,), ((3, 0),)),
}  # fmt: skip


def drawn(case, dtype="float32"):
    image, kernel, strides, padding = CASES[case]
    x, w = (jnp.asarray(RNG.standard_normal(shape), dtype) for shape in (image, kernel))
    settings = {"window_strides": strides, "padding": padding, "dimension_numbers": LAST[len(strides)]}
    return x, w, partial(conv, **settings), partial(lax.conv_general_dilated, **settings)


@pytest.fixture
def short_chunks(monkeypatch):
    """Several chunks and a rest, for small arrays."""
    monkeypatch.setattr(patches, "CHUNK", 6000)
    monkeypatch.setattr(patches, "SUMMED", 12000)


@pytest.mark.parametrize(
    ("case", "dtype"),
    [
        *((case, "float64") for case in CASES),
        ("two channels, strides", "float32"),
        ("wide rows", "bfloat16"),
        ("one frame", "bfloat16"),
    ],
)
def test_values_and_derivatives_are_laxs(case, dtype, short_chunks):
    with jax.enable_x64(dtype == "float64"):
        x, w, ours, theirs = drawn(case, dtype)
        slope = jnp.asarray(RNG.standard_normal(jax.eval_shape(theirs, x, w).shape), dtype)

        @partial(jax.jit, static_argnums=0)
        def both(operation, x, w, slope):
            y, pull = jax.vjp(operation, x, w)
            return y, pull(slope)

        (y, slopes), (expected, others) = both(ours, x, w, slope), both(theirs, x, w, slope)
        np.testing.assert_array_equal(y, expected)
        close(slopes, others, TOLERANCE[dtype])


@pytest.mark.parametrize(
    ("image", "kernel", "columns"),
    [
        ((31, 28, 28, 2), (5, 5, 2, 12), patches.COLUMNS),
        ((14, 23, 23, 1), (3, 3, 1, 32), patches.COLUMNS),
        ((17, 12, 12, 12), (5, 5, 12, 16), 1),
    ],
    ids=["a rest of frames", "a rest of columns", "wide"],
)
def test_values_of_patches_are_laxs(image, kernel, columns):
    """Bit for bit where no sum is rounded; ``lax`` itself adds in an order that depends on the number of frames."""
    settings = {"window_strides": (1, 1), "padding": "VALID", "dimension_numbers": LAST[2]}
    theirs = jax.jit(partial(lax.conv_general_dilated, **settings))
    x, w = (jnp.asarray(RNG.integers(-8, 9, shape) / 8, jnp.float32) for shape in (image, kernel))
    assert patches.Patches(image, kernel, patches.Window((1, 1), ((0, 0), (0, 0)))).columns == columns
    lowered = jax.jit(partial(conv, **settings)).lower(x, w)
    assert "stablehlo.convolution" not in lowered.as_text()
    ours = lowered.compile()
    np.testing.assert_array_equal(ours(x, w), theirs(x, w))
    x, w = (jnp.asarray(RNG.standard_normal(shape), jnp.float32) for shape in (image, kernel))
    close(ours(x, w), theirs(x, w), 1e-6)


def test_the_derivatives_are_products_of_matrices_on_cpu_and_laxs_elsewhere(short_chunks):
    x, w, ours, _ = drawn("many frames")

    def slopes(x, w):
        return jax.grad(lambda *a: jnp.tanh(ours(*a)).sum(), (0, 1))(x, w)

    for platform, convolutions, loops in (("cpu", 1, 2), ("cuda", 3, 0)):
        text = jax.jit(slopes).trace(x, w).lower(lowering_platforms=(platform,)).as_text()
        assert text.count("stablehlo.convolution") == convolutions
        assert text.count("stablehlo.while") == loops


def test_with_many_channels_only_the_kernels_derivative_is_a_product_of_patches(short_chunks):
    """The image's is a convolution with the reversed kernel, which is fast in loops where the transposed one is not."""
    x, w, ours, _ = drawn("many channels")
    text = jax.jit(jax.grad(lambda *a: jnp.tanh(ours(*a)).sum(), (0, 1))).lower(x, w).as_text()
    assert (text.count("stablehlo.convolution"), text.count("stablehlo.dot_general")) == (2, 1)
    assert text.count("reverse = [false, false]") == 2


@pytest.mark.parametrize(("case", "products"), [("many channels", 1), ("a product for each row", 2 * 3)])
def test_a_wide_row_of_the_kernel_has_a_product_of_its_own(case, products):
    """Twice, in a loop over pairs of frames and for the fifth frame."""
    x, w, ours, _ = drawn(case)
    text = jax.jit(jax.grad(lambda w: jnp.tanh(ours(x, w)).sum())).lower(w).as_text()
    assert text.count("stablehlo.dot_general") == products


@pytest.mark.parametrize(
    ("case", "axes"),
    [("two channels, strides", (0, None)), ("rows", (0, None)), ("rows", (None, 1)), ("rows", (1, 0))],
)
def test_it_maps_over_an_axis(case, axes):
    x, w, ours, theirs = drawn(case)
    x, w = (
        a if axis is None else jnp.stack([a, 2 * a[::-1], a[::-1]], axis)
        for a, axis in zip((x, w), axes, strict=True)
    )

    @partial(jax.jit, static_argnums=0)
    def mapped(operation, x, w):
        def loss(x, w):
            return (operation(x, w) ** 2).sum()

        return jax.vmap(operation, axes)(x, w), jax.vmap(jax.grad(loss, (0, 1)), axes)(x, w)

    close(mapped(ours, x, w), mapped(theirs, x, w), 1e-5)


def test_forward_mode_and_second_derivatives():
    x, w, ours, theirs = drawn("two channels, strides")
    v, u = (jnp.asarray(RNG.standard_normal(a.shape), a.dtype) for a in (x, w))

    @partial(jax.jit, static_argnums=0)
    def several(operation, *directions):
        def loss(x, w):
            return (operation(x, w) ** 3).sum()

        slopes = jax.grad(loss, (0, 1))
        ahead = jax.jvp(operation, (x, w), directions)
        behind = jax.grad(lambda *a: sum(jnp.vdot(g, d) for g, d in zip(slopes(*a), directions, strict=True)))
        return ahead, jax.jvp(slopes, (x, w), directions), behind(x, w)

    close(several(ours, v, u), several(theirs, v, u), 2e-5)


def test_in_loops_and_checkpoints():
    x, w, ours, theirs = drawn("one channel")
    frames = jnp.stack([x, -x, x + 1])

    def loss(operation, wrap, w):
        step = wrap(lambda total, x: (total + jnp.tanh(operation(x, w)).sum(), None))
        return lax.scan(step, 0.0, frames)[0]

    expected = jax.jit(jax.grad(partial(loss, theirs, lambda f: f)))(w)
    close(jax.jit(jax.grad(partial(loss, ours, jax.checkpoint)))(w), expected, 1e-5)


def test_without_jit():
    x, w, ours, theirs = drawn("all of the image")
    ours, theirs = (jax.grad(lambda w, f=f: jnp.tanh(f(x, w)).sum())(w) for f in (ours, theirs))
    close(ours, theirs, 1e-5)


def test_frames_spread_over_devices(short_chunks):
    x, w, ours, theirs = drawn("many frames")
    mesh = jax.make_mesh((1,), ("batch",), axis_types=(jax.sharding.AxisType.Auto,))
    parts = PartitionSpec("batch")

    def slopes(operation, x, w):
        return jax.grad(lambda x, w: lax.psum((operation(x, w) ** 2).sum(), "batch"), (0, 1))(x, w)

    def spread(operation):
        wrapped = jax.shard_map(
            partial(slopes, operation), mesh=mesh, in_specs=(parts, PartitionSpec()),
            out_specs=(parts, PartitionSpec()),
        )  # fmt: skip
        return jax.jit(wrapped)(x, w)

    close(spread(ours), spread(theirs), 1e-5)


@pytest.mark.parametrize(
    ("image", "kernel", "settings"),
    [
        ((2, 8, 8, 4), (3, 3, 2, 6), {"feature_group_count": 2, "dimension_numbers": LAST[2]}),
        ((2, 8, 8, 4), (3, 3, 4, 6), {"rhs_dilation": (2, 1), "dimension_numbers": LAST[2]}),
        (
            (2, 8, 8, 4),
            (3, 3, 4, 6),
            {"lhs_dilation": (2, 1), "padding": ((1, 1), (0, 1)), "dimension_numbers": LAST[2]},
        ),
        ((2, 8, 8, 4), (3, 3, 4, 6), {"preferred_element_type": jnp.float32, "dimension_numbers": LAST[2]}),
        ((2, 4, 8, 8), (6, 4, 3, 3), {}),
        ((2, 5, 8, 8, 4), (3, 3, 3, 4, 6), {"dimension_numbers": ("NDHWC", "DHWIO", "NDHWC")}),
        ((0, 8, 8, 4), (3, 3, 4, 6), {"dimension_numbers": LAST[2]}),
        ((2, 2, 8, 4), (3, 3, 4, 6), {"dimension_numbers": LAST[2]}),
    ],
    ids=["groups", "kernel", "image", "element type", "channels first", "volumes", "no image", "small image"],
)
def test_all_else_is_laxs(image, kernel, settings):
    x, w = (jnp.asarray(RNG.standard_normal(shape), jnp.float32) for shape in (image, kernel))
    settings = {"window_strides": (1,) * (len(image) - 2), "padding": "VALID", **settings}
    made = jax.make_jaxpr(lambda x, w: conv(x, w, **settings))(x, w)
    lax_made = jax.make_jaxpr(lambda x, w: lax.conv_general_dilated(x, w, **settings))(x, w)
    assert str(made) == str(lax_made)


def test_errors_are_laxs():
    with pytest.raises(ValueError, match="feature dimension"):
        conv(jnp.ones((1, 4, 4, 1)), jnp.ones((3, 3, 2, 1)), (1, 1), "VALID", dimension_numbers=LAST[2])
    whole = jnp.ones((1, 4, 4, 1), jnp.int32)
    y = conv(whole, whole.reshape(2, 8, 1, 1)[:, :2], (1, 1), "VALID", dimension_numbers=LAST[2])
    assert y.dtype == "int32"


@pytest.mark.parametrize("shape", [(6, 6, 3), (2, 2, 6, 6, 3)], ids=len)
def test_flax_takes_it(shape):
    x = jnp.asarray(RNG.standard_normal(shape), jnp.float32)
    layer = nn.Conv(5, (3, 3), strides=2, padding="SAME")
    variables = layer.init(jax.random.key(0), x)
    ours = nn.Conv(5, (3, 3), strides=2, padding="SAME", conv_general_dilated=conv)
    np.testing.assert_array_equal(ours.apply(variables, x), layer.apply(variables, x))
