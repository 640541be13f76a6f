"""The STDP rules against snnTorch's, over several steps, and the learner against its own steps."""

from __future__ import annotations

import functools

import flax.linen as nn
import jax
import jax.numpy as jnp
import numpy as np
import pytest

from snnax.errors import ArgumentError, ShapeError
from snnax.functional import stdp_learner

T, B = 4, 3
TAUS = (2.5, 4.0)


def soft(weight):
    return weight**2 + 0.1


def hard(weight):
    return weight * 0 + 0.5


OWN = {"f_pre": soft, "f_post": hard}
WEIGHTINGS = pytest.mark.parametrize("weighting", [{}, OWN], ids=["identity", "own"])


def spikes(shape, seed):
    return (np.random.default_rng(seed).random(shape) < 0.4).astype(np.float32)


def weights(*shape):
    return np.random.default_rng(9).normal(size=shape).astype(np.float32)


def torch_modules():
    pytest.importorskip("snntorch")
    torch = pytest.importorskip("torch")
    from snntorch.functional import stdp_learner as reference

    return torch, reference


def to_last(x):
    """Channels last."""
    return np.moveaxis(np.asarray(x), 1, -1)


def kernel_of(weight):
    """torch's (out, in, ...) as Flax's (..., in, out)."""
    return np.moveaxis(np.asarray(weight), (0, 1), (-1, -2))


def close(mine, theirs):
    np.testing.assert_allclose(mine, theirs, rtol=1e-5, atol=1e-5 * np.abs(theirs).max())


@WEIGHTINGS
@pytest.mark.parametrize("name", ["stdp", "mstdp", "mstdpet"])
def test_dense_rules_are_those_of_snntorch(name, weighting):
    torch, reference = torch_modules()
    batch = () if name == "mstdpet" else (B,)
    pre, post, weight = spikes((T, *batch, 5), 0), spikes((T, *batch, 4), 1), weights(4, 5)
    layer = torch.nn.Linear(5, 4, bias=False)
    layer.weight.data = torch.tensor(weight)
    function = f"{name}_linear_single_step"
    extra = (7.0,) if name == "mstdpet" else ()
    ours = jax.jit(
        lambda s, o, p, q: getattr(stdp_learner, function)(weight.T, s, o, p, q, *TAUS, *extra, **weighting)
    )
    traces, torch_traces = (None, None), (None, None)
    for s, o in zip(pre, post, strict=True):
        *traces, mine = ours(s, o, *traces)
        *torch_traces, theirs = getattr(reference, function)(
            layer, torch.tensor(s), torch.tensor(o), *torch_traces, *TAUS, *extra, **weighting
        )
        close(mine, np.swapaxes(theirs.numpy(), -1, -2))
        for trace, torch_trace in zip(traces, torch_traces, strict=True):
            close(trace, torch_trace.numpy())
    assert mine.any()


def convolution_pads(padding):
    return padding if isinstance(padding, int) else {"SAME": 1, "VALID": 0}[padding]


@pytest.mark.parametrize(
    ("rank", "stride", "padding", "weighting"),
    [
        (1, 1, "SAME", {}),
        (1, 3, 2, OWN),
        (1, 2, "VALID", OWN),
        (2, 1, "SAME", OWN),
        (2, 2, 1, {}),
        (2, 3, 0, OWN),
    ],
)
def test_convolution_rules_are_those_of_snntorch(rank, stride, padding, weighting):
    torch, reference = torch_modules()
    pads = convolution_pads(padding)
    layer = (torch.nn.Conv1d, torch.nn.Conv2d)[rank - 1](2, 3, 3, stride, pads, bias=False)
    places = (9 + 2 * pads - 3) // stride + 1
    pre = spikes((T, B, 2, *[9] * rank), 0)
    post = spikes((T, B, 3, *[places] * rank), 1)
    weight = weights(*layer.weight.shape)
    layer.weight.data = torch.tensor(weight)
    name = f"stdp_conv{rank}d_single_step"
    kernel = kernel_of(weight)
    ours = jax.jit(
        lambda s, o, p, q: getattr(stdp_learner, name)(
            kernel, s, o, p, q, *TAUS, **weighting, strides=stride, padding=padding
        )
    )
    traces, torch_traces = (None, None), (None, None)
    for s, o in zip(pre, post, strict=True):
        *traces, mine = ours(to_last(s), to_last(o), *traces)
        *torch_traces, theirs = getattr(reference, name)(
            layer, torch.tensor(s), torch.tensor(o), *torch_traces, *TAUS, **weighting
        )
        close(mine, kernel_of(theirs))
        inner = (..., *[slice(pads, pads + 9)] * rank)
        close(traces[0], to_last(torch_traces[0][inner]))
        close(traces[1], to_last(torch_traces[1]))
    assert mine.any()


@pytest.mark.parametrize("padding", ["CIRCULAR", "REFLECT"])
def test_wrapped_padding_is_that_of_snntorch(padding):
    torch, reference = torch_modules()
    layer = torch.nn.Conv2d(2, 3, 3, padding=1, bias=False, padding_mode=padding.lower())
    weight, pre, post = weights(3, 2, 3, 3), spikes((B, 2, 6, 6), 0), spikes((B, 3, 6, 6), 1)
    layer.weight.data = torch.tensor(weight)
    *_, theirs = reference.stdp_conv2d_single_step(
        layer, torch.tensor(pre), torch.tensor(post), None, None, *TAUS, **OWN
    )
    rule = jax.jit(functools.partial(stdp_learner.stdp_conv2d_single_step, padding=padding, **OWN))
    *_, mine = rule(kernel_of(weight), to_last(pre), to_last(post), None, None, *TAUS)
    close(mine, kernel_of(theirs))
    assert mine.any()


# --- the learner ----------------------------------------------------------------------------------

LAYERS = [
    (nn.Dense(4), (5, 4), (T, B, 5), (T, B, 4)),
    (nn.Conv(3, (3,), strides=2, padding=1), (3, 2, 3), (T, B, 8, 2), (T, B, 4, 3)),
    (nn.Conv(3, (3, 2), strides=(2, 1)), (3, 2, 2, 3), (T, B, 6, 6, 2), (T, B, 3, 6, 3)),
]


@pytest.mark.parametrize(("layer", "shape", "pre", "post"), LAYERS)
def test_a_record_in_parts_is_the_record_as_a_whole(layer, shape, pre, post):
    learner = stdp_learner.STDPLearner(layer, *TAUS, f_pre=soft, f_post=hard)
    kernel, s, o = weights(*shape), spikes(pre, 0), spikes(post, 1)
    start = learner.init(s, o)
    run = jax.jit(learner.delta)
    whole, last = run(kernel, start, s, o)
    first, middle = run(kernel, start, s[:2], o[:2])
    rest, end = run(kernel, middle, s[2:], o[2:])
    close(first + rest, whole)
    for a, b in zip(end, last, strict=True):
        close(a, b)
    assert np.abs(whole).max() > 0


@pytest.mark.parametrize(("layer", "shape", "pre", "post"), LAYERS)
def test_the_spikes_that_a_learner_takes_are_those_of_its_layer(layer, shape, pre, post):
    params = {"kernel": np.zeros(shape, np.float32), "bias": np.zeros(shape[-1], np.float32)}
    assert jax.eval_shape(layer.apply, {"params": params}, spikes(pre, 0)[0]).shape == post[1:]


def test_a_step_adds_the_scaled_change():
    layer, shape, pre, post = LAYERS[0]
    learner = stdp_learner.STDPLearner(layer, *TAUS)
    kernel, s, o = weights(*shape), spikes(pre, 0), spikes(post, 1)
    whole, traces = jax.jit(learner.delta)(kernel, learner.init(s, o), s, o)
    new, same = jax.jit(learner.step)(kernel, learner.init(s, o), s, o, 0.5)
    close(new, kernel + whole / 2)
    assert (traces.pre == same.pre).all() and (traces.post == same.post).all()


@pytest.mark.filterwarnings("ignore")
def test_the_learner_is_that_of_snntorch():
    torch, reference = torch_modules()
    snntorch = pytest.importorskip("snntorch")
    weight, x = np.abs(weights(4, 5)), spikes((T, B, 5), 0)
    dense = torch.nn.Linear(5, 4, bias=False)
    dense.weight.data = torch.tensor(weight)
    net = torch.nn.Sequential(dense, snntorch.Leaky(beta=0.5, init_hidden=True))
    theirs = reference.STDPLearner(dense, net[1], *TAUS)
    with torch.no_grad():
        spk = np.stack([net(torch.tensor(step)).numpy() for step in x])
        expected = theirs.step(on_grad=False, scale=0.3).numpy()
    assert 0 < spk.mean() < 1
    learner = stdp_learner.STDPLearner(nn.Dense(4), *TAUS)
    change, _ = learner.delta(weight.T, learner.init(x, spk), x, spk, scale=0.3)
    close(change, expected.T)


def test_a_learner_is_a_value():
    learner = stdp_learner.STDPLearner(nn.Conv(3, (3, 3)), 2.0, 3.0)
    assert learner == stdp_learner.STDPLearner(nn.Conv(3, (3, 3)), tau_pre=2.0, tau_post=3.0)
    assert hash(learner) == hash(stdp_learner.STDPLearner(nn.Conv(3, (3, 3)), 2.0, 3.0))
    assert learner != stdp_learner.STDPLearner(nn.Conv(3, (3, 3)), 2.0, 4.0)


def test_float64_and_boolean_spikes():
    kernel, s, o = weights(5, 4), spikes((B, 5), 0) > 0, spikes((B, 4), 1) > 0
    rule = jax.jit(stdp_learner.stdp_linear_single_step)
    step = rule(kernel, s, o, None, 0.5, *TAUS)
    assert [a.dtype for a in step] == [np.float32] * 3
    with jax.enable_x64(True):
        step64 = rule(kernel.astype(np.float64), s, o, None, 0.5, *TAUS)
        assert [a.dtype for a in step64] == [np.float64] * 3
    close(step[2], np.asarray(step64[2]))
    assert step[2].any()


# --- errors ---------------------------------------------------------------------------------------

KERNEL, IN, OUT = np.zeros((5, 4)), np.zeros((B, 5)), np.zeros((B, 4))
KERNEL2, IN2, OUT2 = np.zeros((3, 3, 2, 3)), np.zeros((B, 8, 8, 2)), np.zeros((B, 8, 8, 3))


@pytest.mark.parametrize(
    ("name", "arrays", "options", "error", "message"),
    [
        ("stdp_linear", (KERNEL.T, IN, OUT), {}, ShapeError, r"\[N_in, N_out\]"),
        ("stdp_linear", (KERNEL, IN[0], OUT[0]), {}, ShapeError, r"\[B, N_in\]"),
        ("stdp_linear", (KERNEL, IN[:1], OUT), {}, ShapeError, "STDPLearner or jax.lax.scan"),
        ("mstdpet_linear", (KERNEL, IN, OUT), {"tau_trace": 1.0}, ShapeError, r"\[N_in\]"),
        ("stdp_linear", (KERNEL, IN, OUT), {"tau_pre": 0}, ArgumentError, "tau_pre=2.0"),
        ("mstdp_linear", (KERNEL, IN, OUT), {"tau_post": -1.0}, ArgumentError, "tau_pre=2.0"),
        ("stdp_linear", (KERNEL, IN, OUT), {"trace_pre": IN[:1]}, ShapeError, "Pass None"),
        ("stdp_conv2d", (KERNEL2, np.moveaxis(IN2, -1, 1), OUT2), {}, ShapeError, "moveaxis"),
        ("stdp_conv2d", (KERNEL2, IN2, OUT2), {"strides": 2}, ShapeError, r"\(3, 4, 4, 3\)"),
        ("stdp_conv2d", (KERNEL2, IN2, OUT2), {"padding": "VALID"}, ShapeError, r"\(3, 6, 6, 3\)"),
        ("stdp_conv2d", (KERNEL2, IN2, OUT2), {"padding": "FULL"}, ArgumentError, "'SAME', 'VALID'"),
        ("stdp_conv2d", (KERNEL2, IN2, OUT2), {"padding": (1, 1, 1)}, ArgumentError, "each of 2 axes"),
        ("stdp_conv2d", (KERNEL2, IN2[:, :2, :2], OUT2), {"padding": 0}, ShapeError, "channels last"),
        ("stdp_conv1d", (KERNEL2, IN2, OUT2), {}, ShapeError, r"\[B, L, C\]"),
    ],
)
def test_bad_calls_name_the_call_that_works(name, arrays, options, error, message):
    given = {"trace_pre": None, "trace_post": None, "tau_pre": 2.0, "tau_post": 2.0, **options}
    with pytest.raises(error, match=message):
        getattr(stdp_learner, f"{name}_single_step")(*arrays, **given)


@pytest.mark.parametrize(
    "layer",
    [
        nn.Conv(3, (3, 3), kernel_dilation=2),
        nn.Conv(4, (3, 3), feature_group_count=2),
        nn.Conv(4, (3, 3), input_dilation=(2, 1)),
        nn.BatchNorm(),
    ],
    ids=repr,
)
def test_other_layers_are_refused(layer):
    with pytest.raises(ArgumentError, match="STDPLearner"):
        stdp_learner.STDPLearner(layer, 2.0, 2.0)


def test_bad_records_name_the_call_that_works():
    learner = stdp_learner.STDPLearner(nn.Dense(4), 2.0, 2.0)
    with pytest.raises(ShapeError, match=r"spike\[None\]"):
        learner.init(IN, OUT)
    with pytest.raises(ShapeError, match="1 time steps of in_spike and 2"):
        learner.delta(KERNEL, learner.init(IN[None], OUT[None]), IN[None], jnp.zeros((2, B, 4)))
    with pytest.raises(ArgumentError, match="tau_pre"):
        stdp_learner.STDPLearner(nn.Dense(4), 0.0, 2.0)
