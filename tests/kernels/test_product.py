"""The product with fast derivatives: its values and derivatives are those of ``lax.dot_general``."""

from functools import partial

import flax.linen as nn
import jax
import jax.numpy as jnp
import numpy as np
import pytest
from helpers.kernels import close
from jax import lax
from jax.sharding import PartitionSpec

import snnax as snn
from snnax.kernels.product import dot_general

RNG = np.random.default_rng(0)
MATRIX = (((1,), (0,)), ((), ()))
TOLERANCE = {"float32": 1e-5, "float64": 1e-12, "bfloat16": 2e-2}

# inputs, features, and what the gradient of the weights does before its product
CASES = {
    "narrow": (30, 10, "turned"),
    "one column": (30, 1, "turned"),
    "aligned inputs": (512, 96, "turned"),
    "aligned features": (40, 512, "longer"),
    "both aligned": (512, 512, "longer"),
    "neither": (40, 72, ""),
}


def drawn(case, dtype="float32", rows=24):
    inputs, features, _ = CASES[case]
    return (jnp.asarray(RNG.standard_normal(shape), dtype) for shape in ((rows, inputs), (inputs, features)))


@pytest.mark.parametrize("case", CASES)
@pytest.mark.parametrize("dtype", TOLERANCE)
def test_values_and_derivatives_are_laxs(case, dtype):
    with jax.enable_x64(dtype == "float64"):
        x, w = drawn(case, dtype)
        slope = jnp.asarray(RNG.standard_normal((len(x), w.shape[1])), dtype)

        @partial(jax.jit, static_argnums=0)
        def both(operation, x, w, slope):
            y, pull = jax.vjp(partial(operation, dimension_numbers=MATRIX), x, w)
            return y, pull(slope)

        (y, slopes), (expected, others) = both(dot_general, x, w, slope), both(lax.dot_general, x, w, slope)
        np.testing.assert_array_equal(y, expected)
        close(slopes, others, TOLERANCE[dtype])


@pytest.mark.parametrize("case", CASES)
def test_matrices_are_rearranged_on_cpu_alone(case):
    def slopes(x, w):
        return jax.grad(lambda *a: jnp.tanh(dot_general(*a, MATRIX)).sum(), (0, 1))(x, w)

    for platform, done in (("cpu", CASES[case][2]), ("cuda", "")):
        text = jax.jit(slopes).trace(*drawn(case)).lower(lowering_platforms=(platform,)).as_text()
        assert ("stablehlo.optimization_barrier" in text) == (done == "turned")
        assert ("stablehlo.pad" in text) == (done == "longer")
        assert text.count("stablehlo.dot_general") == 3


@pytest.mark.parametrize("axes", [(0, None), (1, None), (None, 0), (None, 2), (1, 0)])
def test_it_maps_over_an_axis(axes):
    x, w = (
        a if axis is None else jnp.stack([a, 2 * a[::-1], a[::-1]], axis)
        for a, axis in zip(drawn("narrow"), axes, strict=True)
    )

    @partial(jax.jit, static_argnums=0)
    def mapped(operation, x, w):
        def loss(x, w):
            return (operation(x, w, MATRIX) ** 2).sum()

        apply = partial(operation, dimension_numbers=MATRIX)
        return jax.vmap(apply, axes)(x, w), jax.vmap(jax.grad(loss, (0, 1)), axes)(x, w)

    close(mapped(dot_general, x, w), mapped(lax.dot_general, x, w), 1e-5)


@pytest.mark.parametrize("case", ["narrow", "aligned features"])
def test_forward_mode_and_second_derivatives(case):
    with jax.enable_x64(True):
        x, w = drawn(case, "float64")
        directions = tuple(jnp.asarray(RNG.standard_normal(a.shape)) for a in (x, w))

        @partial(jax.jit, static_argnums=0)
        def several(operation, x, w):
            def loss(x, w):
                return (operation(x, w, MATRIX) ** 3).sum()

            slopes = jax.grad(loss, (0, 1))
            ahead = jax.jvp(partial(operation, dimension_numbers=MATRIX), (x, w), directions)
            behind = jax.grad(
                lambda *a: sum(jnp.vdot(g, d) for g, d in zip(slopes(*a), directions, strict=True)), (0, 1)
            )
            return ahead, jax.jvp(slopes, (x, w), directions), behind(x, w)

        close(several(dot_general, x, w), several(lax.dot_general, x, w), 1e-12)


def test_without_jit_it_is_compiled_once():
    x, w = drawn("narrow")
    dot_general(x, w, MATRIX)
    seen = []
    listen = lambda event, *_, **__: seen.append(event)  # noqa: E731
    jax.monitoring.register_event_duration_secs_listener(listen)
    try:
        dot_general(x, w, MATRIX)
    finally:
        jax.monitoring.unregister_event_duration_listener(listen)
    assert not [event for event in seen if "compile" in event]


def test_it_works_in_shards():
    x, w = drawn("narrow")
    mesh = jax.make_mesh((1,), ("data",), axis_types=(jax.sharding.AxisType.Auto,))

    def slopes(operation, x, w):
        def total(w):
            return lax.psum((operation(x, w, MATRIX) ** 2).sum(), "data")

        return jax.grad(total)(w)

    specs = {"in_specs": (PartitionSpec("data"), PartitionSpec()), "out_specs": PartitionSpec()}
    ours, theirs = (
        jax.jit(jax.shard_map(partial(slopes, f), mesh=mesh, **specs)) for f in (dot_general, lax.dot_general)
    )
    close(ours(x, w), theirs(x, w), 1e-5)


OTHERS = {
    "rows of rows": ((2, 3, 4), (4, 5), (((2,), (0,)), ((), ()))),
    "one row": ((4,), (4, 5), (((0,), (0,)), ((), ()))),
    "the other axis": ((3, 4), (5, 4), (((1,), (1,)), ((), ()))),
    "a batch of matrices": ((2, 3, 4), (2, 4, 5), (((2,), (1,)), ((0,), (0,)))),
    "nothing": ((0, 4), (4, 5), MATRIX),
}


@pytest.mark.parametrize("case", OTHERS)
def test_other_products_are_laxs(case):
    left, right, numbers = OTHERS[case]
    x, w = (jnp.asarray(RNG.standard_normal(shape), jnp.float32) for shape in (left, right))
    close(dot_general(x, w, numbers), lax.dot_general(x, w, numbers), 1e-6)
    whole = jnp.ones(left, jnp.int32), jnp.ones(right, jnp.int32)
    np.testing.assert_array_equal(dot_general(*whole, numbers), lax.dot_general(*whole, numbers))
    wide = dot_general(x, w, numbers, preferred_element_type=jnp.float32)
    np.testing.assert_array_equal(wide, lax.dot_general(x, w, numbers, preferred_element_type=jnp.float32))


def test_mismatched_sizes_get_laxs_error():
    with pytest.raises(TypeError, match="contracting"):
        dot_general(jnp.ones((2, 3)), jnp.ones((4, 5)), MATRIX)


def test_a_dense_layer_takes_it_from_unroll_unless_it_has_its_own():
    calls = []

    def own(*arrays, **settings):
        calls.append(arrays)
        return lax.dot_general(*arrays, **settings)

    x = jnp.ones((5, 2, 3))
    for layer, products in ((nn.Dense(4), 1), (nn.Dense(4, dot_general=own), 0)):
        net = snn.Sequential([layer, snn.Leaky(beta=0.9, init_hidden=True)])
        variables = net.init(jax.random.key(0), x[0])
        program = str(jax.make_jaxpr(lambda v, net=net: snn.unroll(net, v, x)[0])(variables))
        assert program.count("snnax_product") == products
    assert calls
