"""BatchNormTT1d, BatchNormTT2d and GradedSpikes against snnTorch's, and their own rules."""

from __future__ import annotations

from typing import Any

import flax.linen as nn
import jax
import jax.numpy as jnp
import numpy as np
import pytest
from helpers.neurons import snntorch

import snnax as snn
from snnax.errors import ArgumentError, ShapeError, StateError
from snnax.neurons import FrozenArray

T, C = 5, 3


def normal(shape: tuple[int, ...], seed: int = 0) -> np.ndarray:
    rng = np.random.default_rng(seed)
    return (rng.normal(size=shape) * rng.uniform(0.5, 2, shape[-1]) + 0.5).astype(np.float32)


def torch_layers(kind: str, **options: Any) -> Any:
    """snnTorch's list of layers, with gains and statistics that are not the initial ones."""
    snntorch()
    import torch
    from snntorch import _layers

    layers = getattr(_layers, kind)(C, T, **options)
    torch.manual_seed(0)
    with torch.no_grad():
        for layer in layers:
            if layer.affine:
                layer.weight.uniform_(0.5, 1.5)
            layer.running_mean.normal_()
            layer.running_var.uniform_(0.5, 2)
    return layers


def stacked(layers: Any) -> dict[str, Any]:
    """Their numbers as our variables."""

    def rows(name: str) -> np.ndarray:
        return np.stack([getattr(layer, name).detach().numpy().copy() for layer in layers])

    variables: dict[str, Any] = {"batch_stats": {"mean": rows("running_mean"), "var": rows("running_var")}}
    if layers[0].affine:
        variables["params"] = {"scale": rows("weight")}
    return variables


def theirs(layers: Any, x: np.ndarray) -> np.ndarray:
    import torch

    first = torch.tensor(np.ascontiguousarray(np.moveaxis(x, -1, 2)))
    y = torch.stack([layer(frame) for layer, frame in zip(layers, first, strict=True)])
    return np.moveaxis(y.detach().numpy(), 2, -1)


def close(ours: Any, expected: Any) -> None:
    jax.tree.map(lambda a, b: np.testing.assert_allclose(a, b, rtol=2e-6, atol=2e-6), ours, expected)


CASES = {
    "dense": ("BatchNormTT1d", (T, 7, C), {}),
    "rows": ("BatchNormTT1d", (T, 4, 6, C), {"eps": 1e-2, "momentum": 0.3}),
    "images": ("BatchNormTT2d", (T, 2, 3, 4, C), {"affine": False}),
}


@pytest.mark.parametrize("case", CASES)
def test_training_and_evaluation_are_those_of_snntorch(case):
    kind, shape, options = CASES[case]
    layers = torch_layers(kind, **options)
    variables = stacked(layers)
    net = getattr(snn, kind)(C, T, **options)
    for repetition in range(2):
        x = normal(shape, repetition)
        y, updates = snn.unroll(snn.utils.training(net), variables, x, mutable=["batch_stats"], chunk=T)
        close(y, theirs(layers, x))
        variables = {**variables, "batch_stats": updates["batch_stats"]}
        close(variables, stacked(layers))
    layers.eval()
    y, updates = snn.unroll(snn.utils.evaluating(net), variables, x, chunk=T)
    close(y, theirs(layers, x))
    assert list(updates) == ["hidden"]


def test_gradients_in_training_are_those_of_snntorch():
    layers = torch_layers("BatchNormTT1d")
    import torch

    variables, x, weights = stacked(layers), normal((T, 7, C)), normal((T, 7, C), 1)
    net = snn.BatchNormTT1d(C, T, use_running_average=False)

    @jax.jit
    def gradients(params, x):
        def loss(params, x):
            y, _ = snn.unroll(net, {**variables, "params": params}, x, mutable=["batch_stats"])
            return jnp.sum(y * weights)

        return jax.grad(loss, (0, 1))(params, x)

    scale, into = gradients(variables["params"], x)
    current = torch.tensor(x, requires_grad=True)
    rows = zip(layers, current, torch.tensor(weights), strict=True)
    sum((layer(frame) * w).sum() for layer, frame, w in rows).backward()
    expected = np.stack([layer.weight.grad.numpy() for layer in layers])
    np.testing.assert_allclose(scale["scale"], expected, rtol=1e-5, atol=1e-5)
    np.testing.assert_allclose(into, current.grad, rtol=1e-5, atol=1e-5)


# --- the number of the step -----------------------------------------------------------------------


def varied() -> dict[str, Any]:
    """Variables that differ from step to step."""
    return {
        "params": {"scale": normal((T, C), 2)},
        "batch_stats": {"mean": normal((T, C), 3), "var": np.square(normal((T, C), 4)) + 0.5},
    }


def test_explicit_steps_are_the_counted_ones():
    bn = snn.BatchNormTT1d(C, T, use_running_average=True)
    x = normal((T, 4, C))
    y, updates = snn.unroll(bn, varied(), x)
    assert updates["hidden"]["step"].dtype == jnp.int32
    assert int(updates["hidden"]["step"]) == T
    traced = jax.jit(bn.apply)
    for t in range(T):
        close(bn.apply(varied(), x[t], t), y[t])
        close(traced(varied(), x[t], jnp.uint8(t)), y[t])
    variables = {**varied(), "hidden": {}}
    for t in range(T):
        one, new = bn.apply(variables, x[t], mutable=["hidden"])
        close(one, y[t])
        variables = {**variables, **new}


def test_results_do_not_depend_on_the_chunk():
    net = snn.utils.training(
        snn.Sequential([nn.Dense(C), snn.BatchNormTT1d(C, T), snn.Leaky(0.9, init_hidden=True)])
    )
    x = normal((T, 4, 2))
    variables = jax.jit(net.init)(jax.random.key(0), x[0])
    assert int(variables["hidden"]["layers_1"]["step"]) == 0
    runs = [snn.unroll(net, variables, x, mutable=["batch_stats"], chunk=c) for c in (1, 2, T)]
    for run in runs[1:]:
        close(run, runs[0])
    again, _ = snn.unroll(net, snn.utils.reset({**variables, **runs[0][1]}), x, mutable="batch_stats")
    close(again, runs[0][0])


def test_a_second_half_goes_on_where_the_first_ended():
    bn = snn.BatchNormTT1d(C, T, use_running_average=True)
    x = normal((T, 4, C))
    whole, _ = snn.unroll(bn, varied(), x)
    first, updates = snn.unroll(bn, varied(), x[:2])
    rest, _ = snn.unroll(bn, {**varied(), **updates}, x[2:])
    close(jnp.concatenate([first, rest]), whole)


@pytest.mark.parametrize("step", [T, T + 7, -1])
def test_a_step_beyond_the_last_is_refused(step):
    bn, x = snn.BatchNormTT1d(C, T, use_running_average=True), normal((4, C))
    with pytest.raises(ArgumentError, match=rf"got step {step}; expected 0 to 4.*snnax.utils.reset"):
        bn.apply(varied(), x, step)
    variables = {**varied(), "hidden": {"step": jnp.int32(step)}}
    with pytest.raises(ArgumentError, match=f"got step {step}"):
        bn.apply(variables, x, mutable=["hidden"])


@pytest.mark.parametrize("train", [False, True])
@pytest.mark.parametrize("affine", [False, True])
def test_a_compiled_step_beyond_the_last_is_nan_and_learns_nothing(train, affine):
    bn = snn.BatchNormTT1d(C, T, affine=affine, use_running_average=not train)
    step = jax.jit(lambda x, t: bn.apply(varied(), x, t, mutable=["batch_stats"]))
    x, before = normal((4, C)), varied()["batch_stats"]
    for t in (-1, T, T + 9):
        y, updates = step(x, t)
        assert bool(jnp.isnan(y).all())
        jax.tree.map(np.testing.assert_array_equal, updates.get("batch_stats", before), before)
    assert bool(jnp.isfinite(step(x, 0)[0]).all())


def test_a_sequence_that_is_too_long_is_nan_at_its_end():
    bn = snn.BatchNormTT1d(C, T, use_running_average=True)
    y, _ = snn.unroll(bn, varied(), normal((T + 2, 4, C)))
    assert jnp.isfinite(y).all((1, 2)).tolist() == [True] * T + [False] * 2


@pytest.mark.parametrize("step", [1.0, True, "0", np.arange(2)])
def test_a_step_is_a_whole_number(step):
    with pytest.raises(ArgumentError, match="expected one whole number"):
        snn.BatchNormTT1d(C, T, use_running_average=True).apply(varied(), normal((4, C)), step)


# --- switching, shapes, collections ---------------------------------------------------------------


def test_training_and_evaluating_switch_it_as_batch_norm():
    net = snn.Sequential([snn.BatchNormTT2d(C, T), snn.Sequential([nn.BatchNorm(), snn.BatchNormTT1d(C, T)])])
    for switch, average in ((snn.utils.training, False), (snn.utils.evaluating, True)):
        outer, inner = switch(net).layers
        found = (outer, *inner.layers)
        assert [layer.use_running_average for layer in found] == [average] * 3


def test_the_call_can_say_it():
    bn, x = snn.BatchNormTT1d(C, T), normal((4, C))
    y = bn.apply(varied(), x, 1, use_running_average=True)
    close(y, bn.clone(use_running_average=True).apply(varied(), x, 1))
    for module, told in ((bn, None), (bn.clone(use_running_average=True), True)):
        with pytest.raises(ArgumentError, match=r"evaluating\(net\)"):
            module.apply(varied(), x, 1, use_running_average=told)


def test_initial_variables():
    bn = snn.BatchNormTT1d(C, T, use_running_average=False)
    variables = bn.init(jax.random.key(0), normal((1, C)))
    close(variables["params"], {"scale": np.ones((T, C))})
    close(variables["batch_stats"], {"mean": np.zeros((T, C)), "var": np.ones((T, C))})
    bare = snn.BatchNormTT2d(C, T, affine=False, use_running_average=False)
    assert "params" not in bare.init(jax.random.key(0), normal((1, 2, 2, C)))
    assert "hidden" not in bn.init(jax.random.key(0), normal((1, C)), 0)


def test_integers_become_floats():
    bn = snn.BatchNormTT1d(C, T, use_running_average=True)
    assert bn.apply(varied(), jnp.ones((4, C), jnp.int32), 0).dtype == jnp.float32


def test_statistics_of_half_precision_are_kept_in_single():
    x = jnp.asarray(normal((T, 8, C)), jnp.bfloat16)
    bn = snn.BatchNormTT1d(C, T, use_running_average=False)
    variables = bn.init(jax.random.key(0), x[0])
    y, updates = snn.unroll(bn, variables, x, mutable=["batch_stats"])
    assert y.dtype == jnp.bfloat16
    assert {v.dtype for v in jax.tree.leaves(updates["batch_stats"])} == {jnp.dtype("float32")}


@pytest.mark.parametrize(
    ("kind", "shape", "train", "error", "message"),
    [
        ("BatchNormTT1d", (4, C + 1), False, ShapeError, r"\(4, 4\); expected \[B, 3\] or \[B, L, 3\]"),
        ("BatchNormTT1d", (C,), False, ShapeError, r"\[B, 3\]"),
        ("BatchNormTT2d", (4, C), False, ShapeError, r"expected \[B, H, W, 3\], channels last"),
        ("BatchNormTT1d", (1, C), True, ShapeError, "one value for each channel has no variance"),
        ("BatchNormTT1d", (4, C), True, StateError, r"mutable=\['batch_stats'\]"),
        ("BatchNormTT1d", (4, C), None, StateError, r"mutable=\['hidden'\].*bn\(x, step\)"),
    ],
)
def test_calls_that_cannot_work(kind, shape, train, error, message):
    bn = getattr(snn, kind)(C, T, use_running_average=not train)
    step = () if train is None else (0,)
    with pytest.raises(error, match=message):
        bn.apply(varied(), jnp.ones(shape), *step)


@pytest.mark.parametrize(
    ("build", "message"),
    [
        (lambda: snn.BatchNormTT1d(0, T), r"BatchNormTT1d\(input_features=...\) got 0"),
        (lambda: snn.BatchNormTT2d(C, 2.5), r"time_steps=...\) got 2.5"),
        (lambda: snn.BatchNormTT2d(C, True), r"time_steps=...\) got True"),
        (lambda: snn.BatchNormTT1d(C, T, eps="small"), "eps='small'\\)"),
        (lambda: snn.BatchNormTT1d(C, T, momentum=None), "momentum=None\\)"),
        (
            lambda: snn.BatchNormTT1d(C, T, momentum=[0.1, 0.2]),
            "array of shape \\(2,\\); expected one number",
        ),
        (lambda: snn.GradedSpikes(0, 1.0), r"GradedSpikes\(size=...\) got 0"),
        (lambda: snn.GradedSpikes(3, np.inf), r"constant_factor=inf\); expected finite"),
        (lambda: snn.GradedSpikes(3, FrozenArray([1.0, 2.0])), "expected one number"),
    ],
)
def test_bad_arguments(build, message):
    with pytest.raises(ArgumentError, match=message):
        build()


@pytest.mark.parametrize("factor", [0.75, None])
def test_graded_spikes_are_those_of_snntorch_on_the_transpose(factor):
    snntorch()
    import torch
    from snntorch._layers import GradedSpikes

    layer = GradedSpikes(C, factor)
    x = (normal((6, C)) > 0.5).astype(np.float32)
    weights = layer.weights.detach().numpy()[:, 0]
    ours = snn.GradedSpikes(C, factor).apply({"params": {"weights": weights}}, x)
    assert np.array_equal(ours, layer(torch.tensor(x.T)).detach().numpy().T)
    start = snn.GradedSpikes(C, factor).init(jax.random.key(0), x)["params"]["weights"]
    assert start.shape == (C,)
    if factor:
        assert np.array_equal(start, weights)


def test_graded_spikes_start_between_a_half_and_three_halves():
    for factor in (None, 0, 0.0):
        graded = snn.GradedSpikes(2000, factor)
        weights = jax.jit(graded.init)(jax.random.key(1), jnp.ones((1, 2000)))["params"]["weights"]
        assert 0.5 <= float(weights.min()) < 0.51
        assert 1.49 < float(weights.max()) < 1.5


def test_graded_spikes_in_a_network():
    net = snn.Sequential([snn.Leaky(0.5, init_hidden=True), snn.GradedSpikes(C, 0.5)])
    x = normal((T, 2, 4, C))
    variables = net.init(jax.random.key(0), x[0])
    y, _ = snn.unroll(net, variables, x)
    spk, _ = snn.unroll(snn.Leaky(0.5, init_hidden=True), {}, x)
    assert np.array_equal(y, spk / 2)
    for shape in ((2, C + 1), (C,)):
        with pytest.raises(ShapeError, match=r"expected \[B, ..., 3\], neurons last"):
            snn.GradedSpikes(C).init(jax.random.key(0), jnp.ones(shape))
