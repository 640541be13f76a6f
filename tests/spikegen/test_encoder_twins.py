"""The deterministic encoders against snnTorch's, value for value, and against numbers written down."""

from __future__ import annotations

import contextlib
import inspect
import itertools

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from snnax import spikegen

FLOATS = [np.float32, np.float64]


def x64(dtype):
    return jax.enable_x64(True) if np.dtype(dtype) == np.float64 else contextlib.nullcontext()


@pytest.fixture(scope="module")
def theirs():
    return pytest.importorskip("snntorch.spikegen")


def torch_array(values):
    torch = pytest.importorskip("torch")
    return torch.tensor(np.asarray(values))


def same(ours, expected, rtol=0.0):
    expected = expected.numpy()
    assert ours.shape == expected.shape
    np.testing.assert_allclose(np.asarray(ours), expected, rtol=rtol, atol=0)


def product(**options):
    return [dict(zip(options, values, strict=True)) for values in itertools.product(*options.values())]


def test_every_encoder_of_snntorch_is_here(theirs):
    functions = {n for n, f in vars(theirs).items() if inspect.isfunction(f) and not n.startswith("_")}
    assert functions == {*spikegen.__all__}


@pytest.mark.parametrize("name", spikegen.__all__)
def test_arguments_and_defaults_are_snntorchs(theirs, name):
    ours = inspect.signature(getattr(spikegen, name)).parameters
    positional = {n: p.default for n, p in ours.items() if p.kind != p.KEYWORD_ONLY}
    expected = {n: p.default for n, p in inspect.signature(getattr(theirs, name)).parameters.items()}
    assert list(positional.items()) == list(expected.items())
    assert {*ours} - {*positional} <= {"key"}


def data(dtype=np.float32):
    """Between 0 and 1: random, the borders, values near the thresholds, and eighths, whose times are halves."""
    near = [t + d for t in (0.01, 0.2, 0.5) for d in (-1e-3, -1e-7, 0, 1e-7, 1e-3)]
    values = [*np.random.default_rng(0).random(171), *near, *np.arange(9) / 8, 0, 1, 1e-6, 0.999999, 0.3]
    return np.array(values, dtype).reshape(4, 50)


TIMES = product(threshold=[0.01, 0.2, 0.5], tau=[0.7, 5], first_spike_time=[0, 3], num_steps=[False, 4, 40])


@pytest.mark.parametrize("dtype", FLOATS)
@pytest.mark.parametrize("normalize", [False, True])
@pytest.mark.parametrize("linear", [False, True])
def test_latency_code(theirs, linear, normalize, dtype):
    x, rtol = data(dtype), 0 if linear else 4 * np.finfo(dtype).eps
    with x64(dtype):
        for options in TIMES:
            if normalize and not options["num_steps"]:
                continue
            options = {**options, "normalize": normalize}
            times, below = spikegen.latency_code(x, linear=linear, **options)
            expected, idx = theirs.latency_code(torch_array(x), linear=linear, **options)
            assert times.dtype == dtype
            same(times, expected, rtol)
            same(below, idx)
            name = "latency_code_linear" if linear else "latency_code_log"
            np.testing.assert_array_equal(getattr(spikegen, name)(x, **options), times)
            same(
                getattr(spikegen, name)(x, **options), getattr(theirs, name)(torch_array(x), **options), rtol
            )


@pytest.mark.parametrize("epsilon", [1e-7, 1e-3, 0.1])
def test_epsilon(theirs, epsilon):
    ours = spikegen.latency_code_log(data(), tau=3, epsilon=epsilon)
    same(ours, theirs.latency_code_log(torch_array(data()), tau=3, epsilon=epsilon), 3e-7)


@pytest.mark.parametrize("normalize", [False, True])
def test_linear_times_of_data_above_1_and_below_0(theirs, normalize):
    x = np.array([-0.5, 0.2, 0.9, 1.6], np.float32)
    ours = spikegen.latency_code_linear(x, num_steps=9, tau=3, normalize=normalize)
    same(ours, theirs.latency_code_linear(torch_array(x), num_steps=9, tau=3, normalize=normalize))


@pytest.mark.parametrize("dtype", FLOATS)
@pytest.mark.parametrize("interpolate", [False, True])
@pytest.mark.parametrize(("linear", "normalize"), [*itertools.product([False, True], repeat=2)])
def test_latency(theirs, linear, normalize, interpolate, dtype):
    x = data(dtype)
    shared = {"linear": linear, "normalize": normalize, "interpolate": interpolate, "bypass": True}
    cases = product(
        num_steps=[4, 40], tau=[1, 4], first_spike_time=[0, 3], clip=[False, True], target=[(1, 0), (1.25, 0.25)]
    )  # fmt: skip
    with x64(dtype):
        for options in cases:
            options["on_target"], options["off_target"] = options.pop("target")
            if interpolate and options["clip"]:
                continue
            ours = spikegen.latency(x, **options, **shared)
            expected = theirs.latency(torch_array(x), **options, **shared)
            if interpolate:  # snnTorch errs at step num_steps; see test_encoder_differences.py
                timing = {n: options[n] for n in ("num_steps", "tau", "first_spike_time")}
                times, _ = theirs.latency_code(torch_array(x), linear=linear, normalize=normalize, **timing)
                late = np.round(times.numpy())
                outside = late == options["num_steps"]
                assert (np.asarray(ours)[:, outside] == options["off_target"]).all()
                expected[:, outside] = options["off_target"]
            assert ours.dtype == dtype
            same(ours, expected.float(), 3e-7 if interpolate else 0)


@pytest.mark.parametrize("linear", [False, True])
def test_latency_takes_its_length_from_the_last_spike(theirs, linear):
    options = {"bypass": True, "tau": 6, "linear": linear}
    ours = spikegen.latency(data(), **options)
    same(ours, theirs.latency(torch_array(data()), **options))


def test_times_are_rounded_half_to_even():
    spikes = spikegen.latency(1 - np.array([0.5, 1.5, 2.5, 3.5]) / 4, num_steps=5, tau=4, linear=True)
    assert spikes.argmax(0).tolist() == [0, 2, 2, 4]
    assert spikegen.latency_interpolate([0.5, 1.5, 2.5, 3.5], 5).argmax(0).tolist() == [0, 2, 2, 4]


@pytest.mark.parametrize(("on_target", "off_target"), [(1, 0), (1.25, 0.25), (2, -1), (0.3, 0.3)])
@pytest.mark.parametrize("num_steps", [1, 30])
def test_latency_interpolate(theirs, num_steps, on_target, off_target):
    times = np.random.default_rng(1).uniform(0, 60, (3, 20)).astype(np.float32)
    times[0, :6] = [0, 0.5, 1.5, 2.5, 0.2, 100]
    times[np.round(times) == num_steps] = 2  # where snnTorch errs
    ours = spikegen.latency_interpolate(times, num_steps, on_target, off_target)
    same(ours, theirs.latency_interpolate(torch_array(times), num_steps, on_target, off_target), 2e-7)


@pytest.mark.parametrize("dtype", FLOATS)
def test_delta(theirs, dtype):
    x = np.round(np.random.default_rng(2).normal(size=(40, 3, 5)) * 4).astype(dtype) / 10
    with x64(dtype):
        for options in product(
            threshold=[0.1, 0.3, 1.0, 0, -0.2], padding=[False, True], off_spike=[False, True]
        ):
            ours = spikegen.delta(x, **options)
            assert ours.dtype == dtype
            same(ours, theirs.delta(torch_array(x), **options))


def test_delta_of_bfloat16_rounds_as_torch(theirs):
    torch = pytest.importorskip("torch")
    x = torch.tensor(np.random.default_rng(3).normal(size=(4000, 5))).bfloat16()
    values = jnp.asarray(x.float().numpy()).astype(jnp.bfloat16)
    for encode in (spikegen.delta, jax.jit(spikegen.delta)):
        same(encode(values).astype(float), theirs.delta(x).float())


@pytest.mark.parametrize("first", [0, 1, 5])
def test_target_rate_code(theirs, first):
    compared = 0
    for steps, rate in itertools.product(
        [1, 2, 5, 7, 10, 25, 100, 333], [0, 1 / 49, 0.1, 0.3, 1 / 3, 0.65, 0.7, 0.9, 1]
    ):
        if first > steps:
            continue
        spikes, times = spikegen.target_rate_code(steps, first, rate)
        try:
            expected, expected_times = theirs.target_rate_code(steps, first, rate)
        except RuntimeError:  # a spike at num_steps; see test_encoder_differences.py
            continue
        same(spikes, expected)
        same(times, expected_times)
        compared += 1
    assert compared > 40


@pytest.mark.parametrize(("on_target", "off_target"), [(1, 0), (1.25, 0.25), (0.5, 0), (2, -1), (0.7, 0.1)])
def test_rate_interpolate(theirs, on_target, off_target):
    rng = np.random.default_rng(4)
    for count in (0, 4, 30):
        times = np.sort(rng.choice(30, count, replace=False))
        ours = spikegen.rate_interpolate(times, 30, on_target, off_target)
        expected = theirs.rate_interpolate(torch_array(times), 30, on_target, off_target)
        bound = 0 if (on_target, off_target) == (1, 0) else 1.2e-7  # an ulp of 1
        np.testing.assert_allclose(ours, expected, rtol=bound, atol=bound)
        assert ours.shape == (30,)
        assert (np.asarray(ours)[times] == np.float32(on_target)).all()


LABELS = np.array([4, 0, 2, 4, 1])


@pytest.mark.parametrize("dtype", [np.int64, np.int32, np.uint8, np.float32])
def test_to_one_hot(theirs, dtype):
    same(
        spikegen.to_one_hot(LABELS.astype(dtype), 5), theirs.to_one_hot(torch_array(LABELS.astype(dtype)), 5)
    )


@pytest.mark.parametrize("dtype", [np.float32, np.int32, bool])
def test_to_one_hot_inverse(theirs, dtype):
    array = np.array([[0, 1, 0], [0, 0, 2], [0, 0, 0]]).astype(dtype)
    ours = spikegen.to_one_hot_inverse(array)
    assert ours.dtype == dtype
    same(ours, theirs.to_one_hot_inverse(torch_array(array)))


def test_from_one_hot_of_the_identity(theirs):
    same(spikegen.from_one_hot(np.eye(5)), theirs.from_one_hot(torch_array(np.eye(5))))


@pytest.mark.parametrize(("on_target", "off_target"), [(1, 0), (1.25, 0.25), (0.2, 0.7), (-1, 0)])
@pytest.mark.parametrize("num_steps", [False, 6])
def test_targets_rate_without_time(theirs, num_steps, on_target, off_target):
    options = {"num_steps": num_steps, "on_target": on_target, "off_target": off_target}
    same(spikegen.targets_rate(LABELS, 5, **options), theirs.targets_rate(torch_array(LABELS), 5, **options))
    same(
        spikegen.targets_convert(LABELS, 5, **options),
        theirs.targets_convert(torch_array(LABELS), 5, **options),
    )


@pytest.mark.parametrize("first", [1, 4, 7])
@pytest.mark.parametrize(("on_target", "off_target"), [(1, 0), (1.25, 0.25)])
def test_targets_rate_with_a_first_spike_time(theirs, first, on_target, off_target):
    options = {"num_steps": 7, "first_spike_time": first, "on_target": on_target, "off_target": off_target}
    same(spikegen.targets_rate(LABELS, 5, **options), theirs.targets_rate(torch_array(LABELS), 5, **options))


@pytest.mark.parametrize("rates", [(0.9, 0), (1, 0.3), (0.5, 0.2), (0.4, 0.4)])
@pytest.mark.parametrize("first", [0, 2])
def test_targets_rate_with_ramps(theirs, rates, first):
    """Only these of snnTorch's targets at other rates are right, and only for as many classes as steps."""
    options = {"num_steps": 5, "first_spike_time": first, "interpolate": True,
               "correct_rate": rates[0], "incorrect_rate": rates[1]}  # fmt: skip
    same(spikegen.targets_rate(LABELS, 5, **options), theirs.targets_rate(torch_array(LABELS), 5, **options))


@pytest.mark.parametrize("rates", [(0.9, 0), (1, 0.3), (0.5, 0.2), (0.4, 0.4)])
@pytest.mark.parametrize("interpolate", [False, True])
def test_targets_rate_puts_snntorchs_trains_to_the_classes(theirs, rates, interpolate):
    ours = np.asarray(
        spikegen.targets_rate(LABELS, 5, num_steps=12, correct_rate=rates[0], incorrect_rate=rates[1],
                              on_target=1.5, off_target=0.5, interpolate=interpolate)
    )  # fmt: skip
    assert ours.shape == (12, 5, 5)
    trains = []
    for rate in rates:
        spikes, times = theirs.target_rate_code(12, rate=rate)
        ramp = theirs.rate_interpolate(times, 12, on_target=1.5, off_target=0.5)
        trains.append((ramp if interpolate else spikes + 0.5).numpy())
    for sample, neuron in itertools.product(range(5), range(5)):
        expected = trains[0] if LABELS[sample] == neuron else trains[1]
        np.testing.assert_allclose(ours[:, sample, neuron], expected, rtol=3e-7)


@pytest.mark.parametrize("interpolate", [False, True])
@pytest.mark.parametrize("linear", [False, True])
def test_targets_latency(theirs, linear, interpolate):
    for options in product(
        first_spike_time=[0, 2], on_target=[1, 1.25], off_target=[0, 0.25], threshold=[0.01, 0.3]
    ):
        options = {**options, "num_steps": 9, "normalize": True, "linear": linear, "interpolate": interpolate}
        ours = spikegen.targets_latency(LABELS, 5, **options)
        same(ours, theirs.targets_latency(torch_array(LABELS), 5, **options), 2e-7 if interpolate else 0)
        assert (spikegen.targets_convert(LABELS, 5, code="latency", **options) == ours).all()


@pytest.mark.parametrize("clip", [False, True])
def test_targets_convert_to_latency(theirs, clip):
    options = {
        "code": "latency",
        "num_steps": 20,
        "clip": clip,
        "threshold": 0.1,
        "tau": 1.2,
        "first_spike_time": 1,
    }
    same(
        spikegen.targets_convert(LABELS, 5, **options),
        theirs.targets_convert(torch_array(LABELS), 5, **options),
    )


GOLDEN = [  # snnTorch 1.0.0 and its own tests
    (
        "latency",
        ([0, 0.02, 0.1, 0.5, 1],),
        {"num_steps": 8, "linear": True, "normalize": True},
        [7, 7, 6, 4, 0],
    ),
    ("latency", ([0, 0.02, 0.1, 0.5, 1],), {"num_steps": 80, "tau": 5}, [58, 3, 1, 0, 0]),
    ("delta", ([1, 2, 2.91, 3, 3.9],), {"threshold": 0.1}, [1, 1, 1, 0, 1]),
    ("latency_interpolate", ([4], 5), {}, [[0], [0.25], [0.5], [0.75], [1]]),
    ("rate_interpolate", ([4], 5), {}, [0, 0.25, 0.5, 0.75, 1]),
    ("latency_code_linear", ([0, 0, 1],), {"num_steps": 5, "first_spike_time": 2}, [2.99, 2.99, 2.0]),
    ("latency_code_linear", ([0.02, 0.5, 1],), {"num_steps": 5, "normalize": True}, [3.92, 2.0, 0.0]),
    ("latency_code_log", ([0.02, 0.5, 1],), {"num_steps": 5, "normalize": True}, [4.0, 0.1166, 0.0580]),
    ("targets_convert", ([4], 5), {}, [[0, 0, 0, 0, 1]]),
]


@pytest.mark.parametrize(
    ("name", "arguments", "options", "expected"), GOLDEN, ids=[f"{g[0]}-{n}" for n, g in enumerate(GOLDEN)]
)
def test_values_are_the_recorded_ones(name, arguments, options, expected):
    ours = getattr(spikegen, name)(*arguments, **options)
    if name == "latency":
        assert (ours.sum(0) == 1).all()
        ours = ours.argmax(0)
    np.testing.assert_allclose(ours, expected, rtol=1e-5, atol=5e-5)
