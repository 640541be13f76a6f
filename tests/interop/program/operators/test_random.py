import jax
import jax.numpy as jnp
import numpy as np
import pytest
import torch
from helpers.aten import overload

from snnax.errors import ArgumentError
from snnax.interop.program import nodes
from snnax.interop.program.operators import evaluate, is_random
from snnax.interop.program.operators.registry import draws

MANY = np.zeros((200, 50), np.float32)
HALF, RATES = np.full((200, 50), 0.3, np.float32), np.full((200, 50), 2.5, np.float32)
WHOLE = np.zeros((200, 50), np.int64)

# name, arguments, mean and deviation of what is drawn
CALLS = [
    ("rand", ([200, 50],), 0.5, 12**-0.5),
    ("rand_like", (MANY,), 0.5, 12**-0.5),
    ("uniform", (MANY, -1.0, 3.0), 1, 4 * 12**-0.5),
    ("randn", ([200, 50],), 0, 1),
    ("randn_like", (MANY,), 0, 1),
    ("normal_functional", (MANY, 2.0, 3.0), 2, 3),
    ("normal.Tensor_float", (HALF, 2.0), 0.3, 2),
    ("normal.float_Tensor", (1.0, HALF), 1, 0.3),
    ("normal.Tensor_Tensor", (RATES, HALF), 2.5, 0.3),
    ("normal.float_float", (1.0, 2.0, [200, 50]), 1, 2),
    ("exponential", (MANY, 2.0), 0.5, 0.5),
    ("geometric", (MANY, 0.4), 2.5, 0.6**0.5 / 0.4),
    ("log_normal", (MANY, 0.5, 0.25), np.exp(0.53125), np.exp(0.53125) * (np.exp(0.0625) - 1) ** 0.5),
    ("random", (MANY,), 2**23, 2**24 * 12**-0.5),
    ("random", (WHOLE.astype(np.int16),), 2**14, 2**15 * 12**-0.5),
    ("random.from", (WHOLE, 2, 11), 6, (80 / 12) ** 0.5),
    ("random.to", (MANY, 9), 4, (80 / 12) ** 0.5),
    ("rrelu_with_noise_functional", (HALF - 0.6, MANY, 0.2, 0.8, True), -0.15, 0.3 * 0.6 * 12**-0.5),
    ("bernoulli", (HALF,), 0.3, 0.21**0.5),
    ("bernoulli.p", (MANY, 0.3), 0.3, 0.21**0.5),
    ("bernoulli.Tensor", (MANY, HALF), 0.3, 0.21**0.5),
    ("poisson", (RATES,), 2.5, 2.5**0.5),
    ("native_dropout", (HALF, 0.75, True), 0.3, 0.3 * 3**0.5),
    ("dropout", (HALF, 0.75, True), 0.3, 0.3 * 3**0.5),
    ("feature_dropout", (np.full((2000, 9, 2), 0.3, np.float32), 0.5, True), 0.3, 0.3),
    ("randint", (9, [200, 50]), 4, (80 / 12) ** 0.5),
    ("randint.low", (2, 11, [200, 50]), 6, (80 / 12) ** 0.5),
    ("randint_like", (WHOLE, 9), 4, (80 / 12) ** 0.5),
    ("randint_like.low_dtype", (WHOLE, 2, 11), 6, (80 / 12) ** 0.5),
    ("randperm", (10000,), 4999.5, 10000 * 12**-0.5),
    ("multinomial", (np.tile(np.float32([1, 3]), (5000, 1)), 4, True), 0.75, (3 / 16) ** 0.5),
    ("multinomial", (np.tile(np.float32([1, 3]), (9000, 1)), 1), 0.75, (3 / 16) ** 0.5),
]


def drawn(name, args, seed=0):
    """Ours, in what torch recorded of its own."""
    torch.manual_seed(0)
    theirs = overload(name)(*(torch.from_numpy(a) if isinstance(a, np.ndarray) else a for a in args))
    theirs = theirs if isinstance(theirs, tuple) else (theirs,)
    results = [jax.ShapeDtypeStruct(tuple(t.shape), t.numpy().dtype) for t in theirs]
    given = tuple(jnp.asarray(a) if isinstance(a, np.ndarray) else a for a in args)
    return evaluate(name, given, {}, results, jax.random.key(seed)), theirs


@pytest.mark.parametrize(("name", "args", "mean", "spread"), CALLS, ids=[c[0] for c in CALLS])
def test_the_distribution_is_torchs(name, args, mean, spread):
    ours, theirs = drawn(name, args)
    for mine, other in zip(ours, theirs, strict=True):
        assert mine.shape == tuple(other.shape)
        assert mine.dtype == jax.dtypes.canonicalize_dtype(other.numpy().dtype)
    for value in (np.asarray(ours[0], float), theirs[0].double().numpy()):
        assert abs(value.mean() - mean) < 5 * spread / value.size**0.5
        assert abs(value.std() - spread) < 0.06 * spread
    np.testing.assert_array_equal(ours[0], drawn(name, args)[0][0])
    assert (ours[0] != drawn(name, args, 1)[0][0]).any()


def test_every_operator_that_draws_has_a_case():
    assert set(draws.entries) == {*(name for name, *_ in CALLS), "cauchy"}
    assert all(map(is_random, draws.entries)) and not is_random("add.Tensor")


def test_what_the_tracer_takes_for_random_is_drawn_here():
    assert {name.partition(".")[0] for name in draws.entries} >= nodes.RANDOM


def test_half_of_the_cauchy_numbers_are_within_sigma():
    (made,), _ = drawn("cauchy", (MANY, 2.0, 3.0))
    assert abs((np.abs(np.asarray(made) - 2) < 3).mean() - 0.5) < 0.03


def test_rrelu_has_the_middle_slope_but_in_training():
    (made, _), (theirs, _) = drawn("rrelu_with_noise_functional", (HALF - 0.6, MANY, 0.2, 0.8, False))
    np.testing.assert_allclose(made, theirs, rtol=1e-6)


@pytest.mark.parametrize("train", [False, None])
def test_dropout_is_the_identity_but_in_training(train):
    x = jnp.arange(4.0)
    result = [jax.ShapeDtypeStruct((4,), np.float32), jax.ShapeDtypeStruct((4,), bool)]
    kept, mask = evaluate("native_dropout", (x, 0.5, train), {}, result, jax.random.key(0))
    assert (kept == x).all() == (train is False) == mask.all()


def test_slopes_pass_what_was_kept():
    x = jnp.ones(1000)
    result = [jax.ShapeDtypeStruct((1000,), np.float32), jax.ShapeDtypeStruct((1000,), bool)]

    def total(x):
        return evaluate("native_dropout", (x, 0.5, True), {}, result, jax.random.key(0))[0].sum()

    slope = jax.grad(total)(x)
    assert set(np.unique(slope)) == {0.0, 2.0}


def test_feature_dropout_keeps_or_drops_whole_channels():
    (kept,), _ = drawn("feature_dropout", (np.ones((5, 6, 7), np.float32), 0.5, True))
    assert (kept == kept[..., :1]).all()


def test_numbers_are_drawn_once_without_replacement():
    (drawn_places,), _ = drawn("multinomial", (np.ones((50, 6), np.float32), 6))
    assert (np.sort(drawn_places, -1) == np.arange(6)).all()


def test_without_key_the_error_says_what_to_pass():
    with pytest.raises(ArgumentError, match=r"'rand' draws.*jax\.random\.key"):
        evaluate("rand", ([2],), {}, [jax.ShapeDtypeStruct((2,), np.float32)])
