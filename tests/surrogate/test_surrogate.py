"""Each surrogate against snnTorch's forward and gradient, and against numbers written down from it."""

from __future__ import annotations

import contextlib
import copy
import pickle

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from snnax import surrogate
from snnax.errors import ArgumentError, ShapeError


def steep(x, g, spikes):
    return g * (1 + spikes) / (25 * abs(x) + 1.0) ** 2


CASES = [
    ("atan", {}),
    ("atan", {"alpha": 0.7}),
    ("fast_sigmoid", {}),
    ("fast_sigmoid", {"slope": 3}),
    ("sigmoid", {}),
    ("sigmoid", {"slope": 2.5}),
    ("sigmoid", {"slope": -2}),
    ("straight_through_estimator", {}),
    ("triangular", {}),
    ("triangular", {"threshold": 0.3}),
    ("heaviside", {}),
    ("spike_rate_escape", {}),
    ("spike_rate_escape", {"beta": 2, "slope": 5}),
    ("SFS", {}),
    ("SFS", {"slope": 4, "B": 0.25}),
    ("custom_surrogate", {"custom_surrogate_function": steep}),
]
RANDOM_OR_BROKEN_IN_SNNTORCH = [
    ("SSO", {}),
    ("SSO", {"mean": 1.5, "variance": 0.5, "seed": 3}),
    ("LSO", {}),
    ("LSO", {"slope": 0.4}),
]
EVERY = CASES + RANDOM_OR_BROKEN_IN_SNNTORCH


def ids(cases):
    return [
        f"{name}-{'-'.join(map(str, o.values()))}" if "function" not in str(o) else name for name, o in cases
    ]


every = pytest.mark.parametrize(("name", "options"), EVERY, ids=ids(EVERY))


def make(name, options):
    return getattr(surrogate, name)(**options)


def x64(dtype):
    return jax.enable_x64(True) if np.dtype(dtype) == np.float64 else contextlib.nullcontext()


def grid(dtype):
    """Dense around threshold, and the points where a surrogate could change its mind."""
    special = [0.0, -0.0, 1e-30, -1e-30, 0.25, 0.3, 1.0, -1.0, 3.0, -3.0]
    return np.concatenate([np.linspace(-3, 3, 1201), np.linspace(-0.01, 0.01, 201), special]).astype(dtype)


@pytest.mark.parametrize("dtype", [np.float32, np.float64])
@pytest.mark.parametrize(("name", "options"), CASES, ids=ids(CASES))
def test_spikes_and_gradient_are_snntorchs(name, options, dtype):
    torch = pytest.importorskip("torch")
    theirs = getattr(pytest.importorskip("snntorch.surrogate"), name)(*options.values())
    x, g = grid(dtype), np.random.default_rng(0).normal(size=grid(dtype).shape).astype(dtype)
    x_torch = torch.tensor(x, requires_grad=True)
    spikes = theirs(x_torch)
    spikes.backward(torch.tensor(g, dtype=spikes.dtype))
    with x64(dtype):
        ours, pull = jax.vjp(make(name, options), jnp.asarray(x))
        (gradient,) = pull(jnp.asarray(g))
    np.testing.assert_array_equal(ours, spikes.detach().numpy())
    assert ours.dtype == gradient.dtype == dtype
    expected = x_torch.grad.numpy()
    # snnTorch rounds the incoming gradient to float32, as its spikes are; its sigmoid underflows near -1.77.
    floor = 1e-12 if name == "sigmoid" else 0
    np.testing.assert_allclose(gradient, expected, rtol=1e-5 if dtype == np.float32 else 1e-6, atol=floor)


GOLDEN = {  # snnTorch 1.0.0, torch 2.13.0, float32: slope at -0.5, 0, 0.1, 1.5
    "atan": [0.2884, 1, 0.91017, 0.0430912],
    "fast_sigmoid": [0.00548697, 1, 0.0816327, 0.00067465],
    "sigmoid": [9.31656e-5, 6.25, 1.75259, 1.29e-15],
    "straight_through_estimator": [1, 1, 1, 1],
    "triangular": [1, -1, -1, -1],
    "heaviside": [0, 0, 1, 1],
    "spike_rate_escape": [5.57825, 9.19699, 10.1642, 15.1633],
    "SFS": [0, 0, 0, 0.00067465],
    "LSO": [0.1, 0.1, 1, 1],  # snnTorch's raises; this is what its documentation describes
}


@pytest.mark.parametrize("name", GOLDEN)
def test_slope_is_the_recorded_one(name):
    slope = make(name, {}).derivative(np.array([-0.5, 0, 0.1, 1.5], np.float32))
    np.testing.assert_allclose(slope, GOLDEN[name], rtol=5e-3 if name == "sigmoid" else 2e-5)


def test_every_surrogate_of_snntorch_is_here_and_tested():
    theirs = pytest.importorskip("snntorch.surrogate")
    functions = {n for n, f in vars(theirs).items() if callable(f) and f.__class__.__name__ == "function"}
    assert functions == {name for name, _ in EVERY} == set(surrogate.__all__) - {"Surrogate", "Function"}


@every
def test_spike_is_strictly_above_threshold_and_never_nan(name, options):
    x = np.array([-np.inf, -1, -0.0, 0.0, 1e-37, 1, np.inf, np.nan], np.float32)
    np.testing.assert_array_equal(make(name, options)(x), [0, 0, 0, 0, 1, 1, 1, 0])


@pytest.mark.parametrize("dtype", [jnp.float16, jnp.bfloat16, jnp.float32, jnp.float64])
@every
def test_dtype_and_shape_are_those_of_the_input(name, options, dtype):
    with x64(dtype):
        x = jnp.linspace(-1, 1, 6, dtype=dtype).reshape(2, 3)
        spike = make(name, options)
        spikes, slope = spike(x), spike.derivative(x)
    assert (spikes.dtype, spikes.shape, slope.dtype, slope.shape) == (dtype, (2, 3), dtype, (2, 3))
    np.testing.assert_array_equal(spikes, [[0, 0, 0], [1, 1, 1]])
    assert np.isfinite(np.asarray(slope, np.float64)).all()


@every
def test_integers_are_taken_as_floats(name, options):
    spikes = make(name, options)(np.array([-1, 0, 2]))
    assert spikes.dtype == jnp.float32
    np.testing.assert_array_equal(spikes, [0, 0, 1])


@every
def test_forward_and_reverse_mode_agree(name, options):
    x = jnp.asarray(grid(np.float32))
    t = jnp.asarray(np.random.default_rng(1).normal(size=x.shape), jnp.float32)
    spike = make(name, options)
    forward = jax.jvp(spike, (x,), (t,))[1]
    (reverse,) = jax.vjp(spike, x)[1](t)
    np.testing.assert_allclose(forward, reverse, rtol=2e-6)
    np.testing.assert_allclose(forward, t * spike.derivative(x), rtol=2e-6)


@every
def test_works_under_jit_vmap_scan_and_twice_differentiated(name, options):
    spike = make(name, options)
    x = jnp.asarray(np.random.default_rng(2).normal(size=(4, 5)), jnp.float32)
    np.testing.assert_array_equal(jax.jit(spike)(x), spike(x))
    np.testing.assert_array_equal(jax.vmap(spike)(x), spike(x))
    looped = jax.grad(lambda x: jax.lax.scan(lambda c, v: (c + spike(v).sum(), None), 0.0, x)[0])(x)
    rows = jnp.stack([jax.grad(lambda v: spike(v).sum())(v) for v in x])
    np.testing.assert_allclose(looped, rows, rtol=1e-6)
    batched = jax.vmap(jax.grad(lambda v: spike(v).sum()))(x)
    np.testing.assert_allclose(batched, rows, rtol=1e-6)
    assert np.isfinite(jax.hessian(spike)(0.3))


def test_second_derivative_is_that_of_the_slope():
    curvature = jax.grad(jax.grad(surrogate.atan()))(0.3)
    slope = lambda x: 1 / (1 + (np.pi * x) ** 2)  # noqa: E731
    np.testing.assert_allclose(curvature, (slope(0.3001) - slope(0.2999)) / 2e-4, rtol=1e-4)


@every
def test_a_second_call_does_not_compile_again(name, options):
    traced = []

    @jax.jit
    def step(x):
        traced.append(name)
        return jax.grad(lambda x: make(name, options)(x).sum())(x)

    step(jnp.ones(3))
    step(jnp.zeros(3))
    assert traced == [name]


@every
def test_equal_arguments_give_the_same_hashable_object(name, options):
    spike = make(name, options)
    assert make(name, options) is spike
    assert getattr(surrogate, spike.name)(**spike.options) is spike
    assert spike.name == name and options.items() <= spike.options.items()
    assert pickle.loads(pickle.dumps(spike)) == copy.deepcopy(spike) == spike
    assert len({spike, make(name, options), surrogate.atan(alpha=17)}) == 2


def test_options_cannot_be_changed_from_outside():
    surrogate.atan().options["alpha"] = 5
    assert surrogate.atan().options == {"alpha": 2.0}


def test_numbers_of_any_library_are_plain_floats_in_the_options():
    same = [surrogate.atan(v) for v in (3, 3.0, np.float32(3), jnp.asarray(3.0), np.array(3))]
    assert all(s is same[0] for s in same)
    assert type(same[0].options["alpha"]) is float


def test_sigmoid_is_finite_where_snntorchs_overflows():
    torch = pytest.importorskip("torch")
    x = torch.tensor([-4.0], requires_grad=True)
    pytest.importorskip("snntorch.surrogate").sigmoid()(x).backward()
    assert np.isnan(x.grad.item())
    assert surrogate.sigmoid().derivative(-4.0) == pytest.approx(0, abs=1e-30)
    assert surrogate.sigmoid().derivative(-2.0) == surrogate.sigmoid().derivative(2.0) > 0
    assert surrogate.sigmoid().derivative(-1e30) == 0


def test_lso_is_the_operator_that_snntorch_meant():
    torch = pytest.importorskip("torch")
    with pytest.raises(TypeError):
        pytest.importorskip("snntorch.surrogate").LSO()(torch.zeros(1))
    x = grid(np.float32)
    np.testing.assert_allclose(surrogate.LSO(slope=0.4).derivative(x), np.where(x > 0, 1, 0.4), rtol=1e-6)


@pytest.mark.parametrize(("mean", "variance"), [(0, 0.2), (1.5, 0.5), (-0.5, 2)])
def test_sso_noise_has_snntorchs_distribution(mean, variance):
    torch = pytest.importorskip("torch")
    x = -np.random.default_rng(0).random(20_000).astype(np.float32)
    torch.manual_seed(0)
    x_torch = torch.tensor(x, requires_grad=True)
    pytest.importorskip("snntorch.surrogate").SSO(mean, variance)(x_torch).sum().backward()
    ours = np.sort(surrogate.SSO(mean, variance).derivative(x))
    low, high = (-0.5 + mean) * variance, (0.5 + mean) * variance
    assert low <= ours[0] and ours[-1] <= high
    # Kolmogorov-Smirnov: both are within 1.63/sqrt(n) of the uniform distribution at the 1 % level.
    uniform = np.linspace(low, high, x.size)
    for sample in (ours, np.sort(x_torch.grad.numpy())):
        assert np.abs(sample - uniform).max() / variance < 1.63 / np.sqrt(x.size)


def test_sso_noise_is_fresh_for_each_input_and_seed_and_repeatable():
    x = -np.random.default_rng(0).random((2, 4000)).astype(np.float32)
    swapped = x[:, ::-1].copy()
    nudged = x.copy()
    nudged[0, 0] = np.nextafter(x[0, 0], -1)
    draws = [surrogate.SSO().derivative(v) for v in (x, swapped, nudged)] + [
        surrogate.SSO(seed=1).derivative(x)
    ]
    np.testing.assert_array_equal(draws[0], surrogate.SSO().derivative(x))
    for i, a in enumerate(draws):
        for b in draws[:i]:
            assert abs(np.corrcoef(np.ravel(a), np.ravel(b))[0, 1]) < 0.05
    assert abs(np.corrcoef(np.asarray(draws[0]))[0, 1]) < 0.05


def test_sso_passes_the_whole_gradient_where_there_is_a_spike():
    slope = surrogate.SSO(mean=3, variance=2).derivative(np.array([0.1, 5.0, -1, 0.0], np.float32))
    np.testing.assert_array_equal(slope[:2], [1, 1])
    assert (slope[2:] >= 5).all() and (slope[2:] < 7).all()


@pytest.mark.parametrize("bad", [np.array([1.0, 2.0]), "steep", None, np.nan, np.inf])
@pytest.mark.parametrize(
    "name", ["atan", "fast_sigmoid", "sigmoid", "triangular", "spike_rate_escape", "SSO", "LSO", "SFS"]
)
def test_a_bad_argument_is_named(name, bad):
    with pytest.raises(ArgumentError, match=rf"surrogate.{name}\(\w+=...\) takes one finite Python number"):
        getattr(surrogate, name)(bad)


def test_a_traced_argument_is_refused_with_the_remedy():
    with pytest.raises(ArgumentError, match="custom_surrogate"):
        jax.jit(lambda a: surrogate.atan(a)(1.0))(2.0)


def test_sso_seed_is_an_integer():
    with pytest.raises(ArgumentError, match=r"SSO\(seed=1\)"):
        surrogate.SSO(seed=0.5)


@pytest.mark.parametrize("bad", [3, None, "atan"])
def test_custom_surrogate_takes_a_function(bad):
    with pytest.raises(ArgumentError, match="takes a function"):
        surrogate.custom_surrogate(bad)


def test_custom_surrogate_takes_a_hashable_function():
    class Gradient:
        __hash__ = None

        def __call__(self, x, g, spikes):
            return g

    with pytest.raises(ArgumentError, match="hashable"):
        surrogate.custom_surrogate(Gradient())


@pytest.mark.parametrize(
    "nonlinear",
    [
        lambda x, g, s: jnp.clip(g, -1, 1),
        lambda x, g, s: g * g,
        lambda x, g, s: g + 1.0,
        lambda x, g, s: abs(x),
    ],
    ids=["clip", "square", "affine", "constant"],
)
def test_custom_surrogate_that_is_no_derivative_is_refused(nonlinear):
    spike = surrogate.custom_surrogate(nonlinear)
    assert spike(1.0) == 1
    with pytest.raises(ArgumentError, match="not linear in g"):
        jax.grad(spike)(1.0)


def test_custom_surrogate_of_another_shape_is_refused():
    with pytest.raises(ShapeError, match=r"shape of x, \(3,\), and returned \(\)"):
        surrogate.custom_surrogate(lambda x, g, s: g.sum()).derivative(np.ones(3))


def test_an_error_inside_a_custom_surrogate_passes_unchanged():
    def broken(x, g, spikes):
        raise KeyError("mine")

    with pytest.raises(KeyError, match="mine"):
        jax.grad(surrogate.custom_surrogate(broken))(1.0)
