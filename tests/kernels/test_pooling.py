"""Pooling with fast derivatives: the values are those of ``lax.reduce_window`` to the bit, the derivatives torch's."""

from functools import partial

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from jax import lax

from snnax.kernels.pooling import LARGEST, PLACE, max_pool, sum_pool

RNG = np.random.default_rng(0)

# shape, kernel
CASES = {
    "images": ((3, 8, 6, 5), (2, 2)),
    "rests": ((2, 7, 9, 3), (2, 4)),
    "rows of one": ((2, 5, 6, 1), (1, 3)),
    "sequences": ((3, 11, 4), (3,)),
    "all of the image": ((2, 4, 4, 2), (4, 4)),
}
POOLS = {max_pool: (-np.inf, lax.max), sum_pool: (0.0, lax.add)}


def by_lax(pool, kernel):
    start, operation = POOLS[pool]
    size = (1, *kernel, 1)
    return lambda x: lax.reduce_window(x, np.asarray(start, x.dtype), operation, size, size, "VALID")


@partial(jax.jit, static_argnums=0)
def both(operation, x, weight):
    y, pull = jax.vjp(operation, x)
    return y, pull(weight)[0]


@pytest.mark.parametrize(
    ("case", "dtype"), [*((case, "float32") for case in CASES), ("images", "float64"), ("images", "bfloat16")]
)
@pytest.mark.parametrize("pool", POOLS)
def test_values_and_derivatives_are_laxs(pool, case, dtype):
    """Where numbers are equal, ``lax`` takes the first too; a sum's derivative is the same number everywhere."""
    shape, kernel = CASES[case]
    with jax.enable_x64(dtype == "float64"):
        ties = RNG.integers(-1, 2, shape)
        ours, theirs = partial(pool, kernel=kernel), by_lax(pool, kernel)
        for x in (jnp.asarray(RNG.standard_normal(shape), dtype), jnp.asarray(ties, dtype)):
            weight = jnp.asarray(RNG.standard_normal(jax.eval_shape(theirs, x).shape), dtype)
            made, expected = both(ours, x, weight), both(theirs, x, weight)
            for mine, other in zip(made, expected, strict=True):
                assert mine.dtype == other.dtype
                np.testing.assert_array_equal(mine, other)


@pytest.mark.parametrize("kernel", [(2, 2), (3, 1)])
def test_torch_agrees_on_ties(kernel):
    torch = pytest.importorskip("torch")
    x = RNG.integers(-1, 2, (2, 7, 6, 3)).astype(np.float32)
    given = torch.tensor(np.moveaxis(x, -1, 1), requires_grad=True)
    expected = torch.nn.functional.max_pool2d(given, kernel)
    weight = torch.arange(1.0, expected.numel() + 1).reshape(expected.shape)
    (expected * weight).sum().backward()
    y, slope = both(lambda x: max_pool(x, kernel), x, np.moveaxis(weight.numpy(), 1, -1))
    np.testing.assert_array_equal(np.moveaxis(y, -1, 1), expected.detach())
    np.testing.assert_array_equal(np.moveaxis(slope, -1, 1), given.grad)


def test_only_the_position_of_the_largest_is_kept():
    x = jnp.asarray(RNG.standard_normal((3, 8, 6, 5)), jnp.float32)
    kept = jax.tree.leaves(jax.vjp(lambda x: max_pool(x, (2, 2)), x)[1])
    assert [(a.shape, a.dtype) for a in kept] == [((3, 4, 3, 5), np.dtype("uint8"))]
    assert jax.tree.leaves(jax.vjp(lambda x: sum_pool(x, (2, 2)), x)[1]) == []


@pytest.mark.parametrize(("names", "kept"), [((), False), ((PLACE,), True)])
def test_a_checkpoint_keeps_it_by_name(names, kept):
    x = jnp.asarray(RNG.standard_normal((3, 8, 6, 5)), jnp.float32)
    policy = jax.checkpoint_policies.save_only_these_names(*names)

    def loss(x):
        return jnp.tanh(max_pool(jnp.sin(x), (2, 2))).sum()

    pull = jax.vjp(jax.checkpoint(loss, policy=policy), x)[1]
    assert any(a.dtype == "uint8" for a in jax.tree.leaves(pull)) == kept
    np.testing.assert_allclose(jax.jit(pull)(1.0)[0], jax.jit(jax.grad(loss))(x), rtol=1e-6)


@pytest.mark.parametrize("pool", POOLS)
def test_it_maps_over_an_axis_and_has_derivatives_of_both_modes_and_orders(pool):
    xs = jnp.asarray(RNG.standard_normal((4, 2, 4, 6, 3)), jnp.float32)

    @partial(jax.jit, static_argnums=0)
    def several(operation, xs):
        def loss(x):
            return (operation(x**2) ** 2).sum()

        ahead = jax.vmap(lambda x: jax.jvp(operation, (x,), (jnp.cos(x),))[1])(xs)
        return jax.vmap(operation)(xs), ahead, jax.vmap(jax.grad(lambda x: jax.grad(loss)(x).sum()))(xs)

    made, expected = several(lambda x: pool(x, (2, 3)), xs), several(by_lax(pool, (2, 3)), xs)
    for ours, theirs in zip(made, expected, strict=True):
        np.testing.assert_allclose(ours, theirs, rtol=1e-5, atol=1e-5)


@pytest.mark.parametrize(
    ("pool", "slow"), [(max_pool, "select_and_scatter"), (sum_pool, "stablehlo.reduce_window")]
)
def test_the_derivative_does_not_scatter(pool, slow):
    x = jnp.ones((2, 4, 4, 3))
    pull = jax.vjp(lambda x: pool(x, (2, 2)), x)[1]
    theirs = jax.vjp(lambda x: pool(x, (2, 2), (1, 1)), x)[1]
    assert slow not in jax.jit(pull).lower(jnp.ones((2, 2, 2, 3))).as_text()
    assert slow in jax.jit(theirs).lower(jnp.ones((2, 3, 3, 3))).as_text()


def test_what_is_not_a_number_stays_visible_and_gets_no_derivative_before_the_last():
    x = jnp.asarray([[[1.0], [np.nan], [2.0], [0.0]]])
    y, slope = both(lambda x: max_pool(x, (4,)), x, jnp.ones((1, 1, 1)))
    assert bool(jnp.isnan(y).all())
    np.testing.assert_array_equal(slope[0, :, 0], [0, 0, 0, 1])


@pytest.mark.parametrize("pool", POOLS)
@pytest.mark.parametrize(
    ("kernel", "stride", "padding"),
    [((2, 2), (1, 2), None), ((3, 2), None, (1, 1)), ((LARGEST + 1, 1), None, None)],
)
def test_other_windows_are_laxs(pool, kernel, stride, padding):
    x = jnp.asarray(RNG.standard_normal((2, LARGEST + 3, 4, 2)), jnp.float32)
    made = jax.make_jaxpr(lambda x: pool(x, kernel, stride, padding))(x)
    assert [eqn.primitive.name for eqn in made.eqns] in (["reduce_window_max"], ["reduce_window_sum"])
