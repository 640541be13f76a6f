"""What holds for every encoder: jit, vmap, dtypes, arrays of three libraries, errors that help."""

from __future__ import annotations

import contextlib

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from snnax import spikegen
from snnax.errors import ArgumentError, ShapeError

KEY = jax.random.key(0)
# Of the shapes of test_encoder_twins.py, for which JAX has compiled its operations by then.
X = np.random.default_rng(0).random((4, 50)).astype(np.float32)
LABELS = np.array([4, 0, 2, 4, 1])
HOT = np.eye(5, dtype=np.float32)[LABELS]

# name: (encoder of one array, that array, shape of what it returns)
CASES = {
    "rate": (lambda x: spikegen.rate(x, 4, key=KEY), X, (4, 4, 50)),
    "rate in time": (lambda x: spikegen.rate(x, time_var_input=True, first_spike_time=2, key=KEY), X, (6, 50)),
    "rate_conv": (lambda x: spikegen.rate_conv(x, key=KEY), X, (4, 50)),
    "delta": (lambda x: spikegen.delta(x, 0.2, off_spike=True), X, (4, 50)),
    "latency log": (lambda x: spikegen.latency(x, 40, tau=4, bypass=True), X, (40, 4, 50)),
    "latency linear": (lambda x: spikegen.latency(x, 40, tau=8, linear=True, clip=True), X, (40, 4, 50)),
    "latency ramp": (lambda x: spikegen.latency(x, 40, tau=5, interpolate=True, bypass=True), X, (40, 4, 50)),
    "latency_code": (lambda x: spikegen.latency_code(x, tau=4, first_spike_time=2)[0], X, (4, 50)),
    "latency_code below": (lambda x: spikegen.latency_code(x, threshold=0.3)[1], X, (4, 50)),
    "latency_code_log": (lambda x: spikegen.latency_code_log(x, tau=3), X, (4, 50)),
    "latency_code_linear": (lambda x: spikegen.latency_code_linear(x, tau=3), X, (4, 50)),
    "latency_interpolate": (lambda x: spikegen.latency_interpolate(x, 40), X * 60, (40, 4, 50)),
    "to_one_hot_inverse": (spikegen.to_one_hot_inverse, HOT, (5, 5)),
    "from_one_hot": (spikegen.from_one_hot, HOT, (5,)),
    "to_one_hot": (lambda x: spikegen.to_one_hot(x, 5), LABELS, (5, 5)),
    "targets_rate": (lambda x: spikegen.targets_rate(x, 5), LABELS, (5, 5)),
    "targets_rate trains": (lambda x: spikegen.targets_rate(x, 5, 12, correct_rate=0.5), LABELS, (12, 5, 5)),
    "targets_latency": (lambda x: spikegen.targets_latency(x, 5, 9, normalize=True), LABELS, (9, 5, 5)),
    "targets_convert": (
        lambda x: spikegen.targets_convert(x, 5, "latency", 20, tau=1.2, on_target=2.0), LABELS, (20, 5, 5)
    ),
    "rate_interpolate": (lambda x: spikegen.rate_interpolate(x, 12), LABELS * 3, (12,)),
}  # fmt: skip
FLOATING = [name for name, (_, x, _) in CASES.items() if x.dtype == np.float32]
# Encoders of one sample; of "rate" the key of each sample differs, of others the time axis is in the way.
BATCHED = [n for n in CASES if n not in ("rate", "rate in time", "rate_conv", "delta", "rate_interpolate")]

every = pytest.mark.parametrize("name", CASES)


def test_every_encoder_is_here():
    assert {name.split()[0] for name in CASES} == {*spikegen.__all__} - {"target_rate_code"}


@every
def test_jit_is_eager_to_the_last_bit_and_time_is_first(name):
    encode, x, shape = CASES[name]
    eager = encode(x)
    assert isinstance(eager, jax.Array) and eager.shape == shape
    np.testing.assert_array_equal(jax.jit(encode)(x), eager)


def test_target_rate_code_under_jit():
    spikes, times = jax.jit(lambda: spikegen.target_rate_code(10, 1, 0.3))()
    assert np.flatnonzero(spikes).tolist() == times.tolist() == [1, 4, 7]


@pytest.mark.parametrize("name", BATCHED)
def test_vmap_is_batch(name):
    encode, x, shape = CASES[name]
    behind_time = int(shape[0] != len(x))
    np.testing.assert_array_equal(jax.jit(jax.vmap(encode, out_axes=behind_time))(x), encode(x))


def test_vmap_of_rate_takes_a_key_for_each_sample():
    keys = jax.random.split(KEY, 4)
    encode = jax.jit(lambda x, key: spikegen.rate(x, 4, key=key))
    spikes = jax.jit(jax.vmap(encode, out_axes=1))(X, keys)
    assert spikes.shape == (4, 4, 50)
    np.testing.assert_array_equal(spikes[:, 2], encode(X[2], keys[2]))


def test_there_is_one_compilation():
    calls = []

    @jax.jit
    def encode(x, key):
        calls.append(1)
        return spikegen.rate(x, 4, key=key), spikegen.latency(x, 4, bypass=True)

    for seed in range(3):
        encode(X * seed / 2, jax.random.key(seed))
    assert len(calls) == 1


@pytest.mark.parametrize("dtype", [np.float32, np.float64, jnp.bfloat16, np.float16])
@pytest.mark.parametrize("name", FLOATING)
def test_spikes_have_the_dtype_of_the_data(name, dtype):
    encode, x, shape = CASES[name]
    with jax.enable_x64(True) if dtype is np.float64 else contextlib.nullcontext():
        out = jax.eval_shape(encode, jax.ShapeDtypeStruct(x.shape, dtype))
        expected = dtype
        if name == "from_one_hot":
            expected = jnp.asarray(1).dtype
        elif name == "latency_code below":
            expected = bool
        elif name.startswith("latency_code"):
            expected = jnp.promote_types(dtype, np.float32)
        assert out.dtype == expected and out.shape == shape


@pytest.mark.parametrize("dtype", [jnp.bfloat16, np.float16])
def test_half_precision_spikes_when_the_same_numbers_do_in_float32(dtype):
    x = jnp.asarray(X).astype(dtype)
    for options in ({"linear": True}, {"normalize": True}, {"tau": 9, "bypass": True}):
        half, full = (spikegen.latency(a, 40, **options) for a in (x, x.astype(np.float32)))
        assert half.dtype == dtype
        np.testing.assert_array_equal(half.astype(np.float32), full)


def test_integers_give_jaxs_default_float():
    for encode in (
        spikegen.delta,
        lambda x: spikegen.latency(x, 5, normalize=True),
        lambda x: spikegen.to_one_hot(x, 3),
    ):
        for x64, expected in ((False, np.float32), (True, np.float64)):
            with jax.enable_x64(x64):
                assert jax.eval_shape(encode, np.array([1, 2])).dtype == expected


@every
def test_arrays_of_torch(name):
    torch = pytest.importorskip("torch")
    encode, x, _ = CASES[name]
    tensor = torch.tensor(x, requires_grad=x.dtype == np.float32)
    np.testing.assert_array_equal(encode(tensor), encode(x))


@pytest.mark.parametrize("name", ["delta", "to_one_hot"])
def test_other_arrays(name):
    torch = pytest.importorskip("torch")
    encode, x, _ = CASES[name]
    half = jnp.asarray(x).astype(jnp.bfloat16)
    np.testing.assert_array_equal(encode(torch.tensor(x).bfloat16()), encode(half))
    for same in (jnp.asarray(x), x.tolist()):
        np.testing.assert_array_equal(encode(same), encode(x))


def test_torchs_memory_is_not_shared():
    torch = pytest.importorskip("torch")
    for dtype in (torch.float32, torch.bfloat16):
        tensor = torch.zeros(64, 64, dtype=dtype)
        inverse = spikegen.to_one_hot_inverse(tensor)
        kept = spikegen.arguments.real(tensor, "x")
        tensor += 1
        assert inverse.all() and not kept.any()


def test_gradients_of_times_are_the_slopes():
    x = 0.15 + X[0]
    slopes = jax.grad(lambda x: spikegen.latency_code_log(x, tau=2, threshold=0.1).sum())(x)
    np.testing.assert_allclose(slopes, 2 * (1 / x - 1 / (x - 0.1)), rtol=1e-4)
    assert (jax.grad(lambda x: spikegen.latency_code_linear(x, tau=2).sum())(x) == -2).all()


ERRORS = [
    (lambda: spikegen.rate(X, key=KEY), r"no num_steps\. Pass spikegen\.rate\(data, num_steps=25, key=key\)"),
    (lambda: spikegen.rate(X, -1, key=KEY), r"num_steps=-1\); expected an int >= 0"),
    (lambda: spikegen.rate(X, 2.5, key=KEY), r"num_steps=2\.5\); expected a Python int"),
    (lambda: spikegen.rate(X, 5, first_spike_time=5, key=KEY), r"first_spike_time=5, num_steps=5\); expected 0 to 4"),
    (lambda: spikegen.rate(X, 5, first_spike_time=-1, key=KEY), r"first_spike_time=-1"),
    (lambda: spikegen.rate(X, 5, time_var_input=True, key=KEY), r"first axis is time already"),
    (lambda: spikegen.rate(0.5, time_var_input=True, key=KEY), r"single number; expected \[T, \.\.\.\]"),
    (lambda: spikegen.rate(X, 5, gain=np.ones(3), key=KEY), r"rate\(gain\) has shape \(3,\).*\(4, 50\)"),
    (lambda: spikegen.rate([np.nan], 5, key=KEY), r"got NaN.*nan_to_num"),
    (lambda: spikegen.rate_conv(["word"], key=KEY), r"rate_conv\(data\) got \['word'\] of type list; expected an arr"),
    (lambda: spikegen.rate_conv([1j], key=KEY), r"dtype=complex64\) of type ArrayImpl; expected an array of real"),
    (lambda: jax.jit(spikegen.rate)(X, 5, key=KEY), r"static_argnames='num_steps'"),
    (lambda: spikegen.delta(1.0), r"expected data \[T, \.\.\.\]"),
    (lambda: spikegen.delta(X, threshold=np.ones(7)), r"delta\(threshold\) has shape \(7,\)"),
    (lambda: spikegen.latency(X), r"no num_steps\. Pass spikegen\.latency\(data, num_steps=25\)"),
    (lambda: spikegen.latency(X + 1, 5), r"data from 1\.0.* to 1\.9.*; expected 0 to 1"),
    (lambda: spikegen.latency([0.5, np.nan], 5), r"data from nan to nan; expected 0 to 1"),
    (lambda: spikegen.latency(X, 5, threshold=1), r"latency\(threshold=1\.0\); expected a number between 0 and 1"),
    (lambda: spikegen.latency(X, 5, tau=0), r"latency\(tau=0\.0\); expected a number > 0"),
    (lambda: spikegen.latency(X, 5, tau="x"), r"tau='x'\); expected one finite number"),
    (lambda: spikegen.latency(X, 5, epsilon=np.inf), r"epsilon=inf\); expected one finite number"),
    (lambda: spikegen.latency(X, 5, first_spike_time=5), r"first_spike_time=5, num_steps=5\); expected 0 to 4"),
    (lambda: spikegen.latency([0, 1], 5, tau=2), r"last spike is at step 23\. Pass num_steps=24, a smaller tau"),
    (lambda: spikegen.latency(np.zeros((0, 3)), 5), r"shape \(0, 3\); expected at least one value"),
    (lambda: jax.jit(lambda x: spikegen.latency(x, bypass=True))(X), r"not known under jax\.jit.*Pass num_steps"),
    (lambda: spikegen.latency_code(X, normalize=True), r"no num_steps to scale to.*latency_code\(data, num_steps=25"),
    (lambda: spikegen.latency_code_linear(X * 2, first_spike_time=1), r"expected 0 to 1, as first_spike_time"),
    (lambda: spikegen.latency_code_log([np.nan]), r"latency_code_log got data from nan to nan; expected no NaN"),
    (lambda: spikegen.latency_interpolate([1], 5, 0, 1), r"on_target=0\.0, off_target=1\.0\); expected on_target >="),
    (lambda: spikegen.latency_interpolate([1], 0), r"num_steps=0\); expected an int >= 1"),
    (lambda: spikegen.rate_interpolate([1.5], 5), r"between steps; expected whole numbers"),
    (lambda: spikegen.rate_interpolate(X, 5), r"shape \(4, 50\); expected \[S\]"),
    (lambda: spikegen.target_rate_code(5, rate=1.5), r"rate=1\.5\); expected spikes per step, 0 to 1"),
    (lambda: spikegen.target_rate_code(5, 6), r"first_spike_time=6, num_steps=5\); expected 0 to 5"),
    (lambda: spikegen.target_rate_code(5, firing_pattern="x"), r"'x'\); expected one of 'regular'"),
    (lambda: spikegen.targets_rate([0], 3, correct_rate=0.5), r"no num_steps.*num_classes=3, num_steps=25"),
    (lambda: spikegen.targets_rate([0], 3, first_spike_time=2), r"no num_steps"),
    (lambda: spikegen.targets_rate([0], 3, 5, 0, 0.2, 0.5), r"0 <= incorrect_rate <= correct_rate <= 1"),
    (lambda: spikegen.targets_convert([0], 3, code="Rate"), r"code='Rate'\); expected 'rate' or 'latency'"),
    (lambda: spikegen.to_one_hot([0, 3], 3), r"labels from 0 to 3; expected whole numbers from 0 to 2"),
    (lambda: spikegen.to_one_hot([-1], 3), r"labels from -1 to -1"),
    (lambda: spikegen.to_one_hot([0.5], 3), r"labels from 0\.5 to 0\.5"),
    (lambda: spikegen.to_one_hot(HOT, 3), r"shape \(5, 5\); expected class indices \[B\].*from_one_hot\(targets\)"),
    (lambda: spikegen.from_one_hot([[1, 0], [1, 1]]), r"not one-hot; expected one 1 in each.*argmax"),
    (lambda: spikegen.from_one_hot([[0, 0]]), r"not one-hot"),
    (lambda: spikegen.from_one_hot(1.0), r"shape \(\); expected one-hot rows"),
]  # fmt: skip


@pytest.mark.parametrize(("call", "message"), ERRORS, ids=[f"{n}" for n in range(len(ERRORS))])
def test_errors_say_what_to_do(call, message):
    with pytest.raises((ArgumentError, ShapeError), match=r"(?s)^spikegen\..*" + message):
        call()


def test_constants_in_a_compiled_function_are_checked_too():
    bad = jnp.full(3, 2.0)
    with pytest.raises(ArgumentError, match="expected 0 to 1"):
        jax.jit(lambda x: spikegen.latency(bad, 5).sum() + x)(1.0)


def test_traced_values_do_what_the_docstrings_say():
    late = jax.jit(lambda x: spikegen.latency(x, 5, tau=2))(jnp.array([0.0, 1.0]))
    assert late.T.tolist() == [[0] * 5, [1, 0, 0, 0, 0]]
    assert not jax.jit(lambda x: spikegen.rate(x, 50, key=KEY))(jnp.array([jnp.nan])).any()
    assert jax.jit(lambda x: spikegen.to_one_hot(x, 2))(jnp.array([2, 1])).tolist() == [[0, 0], [0, 1]]
    assert jax.jit(spikegen.from_one_hot)(jnp.array([[0, 0], [0, 1]])).tolist() == [0, 1]
