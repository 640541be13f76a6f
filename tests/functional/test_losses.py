"""Each loss against snnTorch's value and gradient, against numbers frozen from it, and against its own laws.

Where snnTorch has a bug, the right value is computed here by hand, and the bug is pinned beside it.
"""

from __future__ import annotations

import copy
import pickle
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
import pytest

import snnax.functional as SF
from snnax.errors import ArgumentError, ShapeError

T, B, N = 7, 5, 6
WEIGHT = [0.5, 1.0, 2.0, 0.25, 3.0, 1.5]
POPULATION = {"population_code": True, "num_classes": 3}

SAME = [
    ("ce_rate_loss", {}),
    ("ce_count_loss", {}),
    ("ce_count_loss", POPULATION),
    ("ce_max_membrane_loss", {}),
    ("mse_count_loss", {}),
    ("mse_count_loss", {"correct_rate": 0.8, "incorrect_rate": 0.2}),
    ("mse_count_loss", {"correct_rate": 0.1, "incorrect_rate": 0.6}),
    ("mse_count_loss", {**POPULATION, "correct_rate": 0.7, "incorrect_rate": 0.05}),
    ("mse_membrane_loss", {}),
    ("mse_membrane_loss", {"on_target": 1.5, "off_target": 0.3}),
    ("mse_membrane_loss", {"on_target": -1.0, "off_target": 2.0}),
    ("mse_temporal_loss", {"on_target": 2, "off_target": 6}),
    ("mse_temporal_loss", {"on_target": 2, "off_target": -1, "target_is_time": True}),
    ("mse_temporal_loss", {"on_target": 1, "off_target": 4, "tolerance": 2}),
    ("ce_temporal_loss", {}),
    ("ce_temporal_loss", {"inverse": "reciprocal"}),
]
ONLY_HERE = [
    ("ce_rate_loss", POPULATION),
    ("mse_membrane_loss", {"on_target": 1.0, "off_target": -0.5}),
    ("mse_membrane_loss", {"time_var_targets": True}),
    ("mse_temporal_loss", {}),
    ("mse_temporal_loss", {"on_target": [0, 3], "off_target": [-2, -1], "multi_spike": True}),
]
CROSS_ENTROPIES = [case for case in SAME if case[0].startswith("ce_")]
WEIGHTED = ("ce_rate_loss", "ce_count_loss", "ce_max_membrane_loss", "ce_temporal_loss")


def name_of(case):
    return f"{case[0]}-{'-'.join(f'{k}={v}' for k, v in case[1].items())}"


def cases(table):
    return pytest.mark.parametrize(("name", "options"), table, ids=map(name_of, table))


def sample(name, options):
    """Spikes, some silent neurons among them, or membranes; and targets."""
    rng = np.random.default_rng(0)
    out = (rng.random((T, B, N)) < 0.3).astype(np.float32)
    if "membrane" in name:
        out = np.round(rng.normal(size=(T, B, N)), 1).astype(np.float32)  # with ties
    classes = options.get("num_classes", N)
    shape = (T, B) if options.get("time_var_targets") else (B,)
    targets = rng.integers(0, classes, shape)
    if options.get("target_is_time"):
        targets = rng.integers(-3, T, (B, N)).astype(np.float32)
    return out, targets


def make(name, options, **more):
    return getattr(SF, name)(**options, **more)


def theirs(name, options, out, targets, *, weight=None, reduction="mean", **more):
    """snnTorch's loss, of any shape, and the gradient of its sum weighted with 1, 2, 3 ..."""
    functional = pytest.importorskip("snntorch.functional")
    torch = pytest.importorskip("torch")
    weight = None if weight is None else torch.tensor(weight, dtype=torch.float32)
    loss = getattr(functional, name)(**options, reduction=reduction, weight=weight, **more)
    x = torch.tensor(out, requires_grad=True)
    value = loss(x, torch.tensor(targets))
    (value.ravel() * torch.arange(1, value.numel() + 1)).sum().backward()
    return value.detach().numpy(), x.grad.numpy()


def ours(losses, out, targets):
    """Our values, and the sum of the gradients, in one compiled program."""

    def total(x, y):
        values = [loss(x, y) for loss in losses]
        return sum((v.ravel() * jnp.arange(1, v.size + 1)).sum() for v in values), values

    slope, values = jax.jit(jax.grad(total, has_aux=True))(out, targets)
    return [np.asarray(v) for v in values], np.asarray(slope)


def assert_close(mine, other, tolerance=1e-5):
    scale = max(np.abs(other).max(), 1e-30)
    np.testing.assert_allclose(mine, other, rtol=tolerance, atol=tolerance * scale)


# --- against snnTorch -----------------------------------------------------------------------------


TWINS = [(*case, False) for case in SAME] + [(*case, True) for case in CROSS_ENTROPIES]


@pytest.mark.parametrize(
    ("name", "options", "weighted"), TWINS, ids=[name_of(t) + "-weighted" * t[2] for t in TWINS]
)
def test_value_and_gradient_are_those_of_snntorch(name, options, weighted):
    out, targets = sample(name, options)
    reductions = ("mean", "none") if weighted else ("mean", "sum", "none")
    weight = WEIGHT[: options.get("num_classes", N)] if weighted else None
    values, gradient = ours(
        [make(name, options, reduction=r, weight=weight) for r in reductions], out, targets
    )
    slopes = np.zeros_like(out)
    for reduction, value in zip(reductions, values, strict=True):
        expected, slope = theirs(name, options, out, targets.copy(), reduction=reduction, weight=weight)
        assert value.shape == (() if expected.shape == (1,) else expected.shape)
        assert_close(value, expected.reshape(value.shape))
        assert np.abs(slope).max() > 0
        slopes += slope
    assert_close(gradient, slopes)


@pytest.mark.parametrize("name", WEIGHTED)
def test_the_mean_with_weights_is_plain_but_for_the_temporal_loss(name):
    out, targets = sample(name, {})
    weights = np.asarray(WEIGHT)[targets]
    each, mean = (make(name, {}, **o) for o in ({"reduction": "none"}, {"weight": WEIGHT}))
    losses, value = jax.jit(lambda x, y: (each(x, y), mean(x, y)))(out, targets)
    losses = np.asarray(losses) * weights
    assert_close(value, losses.sum() / weights.sum() if name == "ce_temporal_loss" else losses.mean())


# --- frozen ---------------------------------------------------------------------------------------


GOLDEN = [  # from snnTorch 1.0.0: the loss, and its gradient for sample 0, neuron 2, at each step
    ("ce_rate_loss", {}, 1.3402634, [-0.0722101, -0.0529854, -0.0985073, -0.0985073]),
    ("ce_count_loss", {}, 1.8103093, [-0.2888406, -0.2888406, -0.2888406, -0.2888406]),
    ("ce_max_membrane_loss", {}, 0.9703373, [0.0, 0.0, 0.0, -0.342334]),
    ("mse_count_loss", {}, 1.375, [-0.1666667, -0.1666667, -0.1666667, -0.1666667]),
    (
        "mse_count_loss",
        {"correct_rate": 0.8, "incorrect_rate": 0.2},
        0.9583333,
        [-0.0833333, -0.0833333, -0.0833333, -0.0833333],
    ),
    ("mse_membrane_loss", {}, 0.818673, [-0.0715733, -0.0489901, -0.0291427, -0.013612]),
    ("mse_temporal_loss", {"on_target": 1, "off_target": 3}, 0.2604167, [0.0208333, 0.0, 0.0, 0.0]),
    ("ce_temporal_loss", {}, 1.9642349, [-0.2658448, 0.0, 0.0, 0.0]),
    ("ce_temporal_loss", {"inverse": "reciprocal"}, 1.1788285, [-0.3010677, 0.0, 0.0, 0.0]),
]


@pytest.mark.parametrize(("name", "options", "value", "slope"), GOLDEN, ids=map(name_of, GOLDEN))
def test_golden_values(name, options, value, slope):
    n = np.arange(4 * 2 * 3).reshape(4, 2, 3)
    out = np.sin(1.0 + n) if "membrane" in name else n * 7 % 11 < 4
    [mine], gradient = ours([make(name, options)], out.astype(np.float32), np.array([2, 0]))
    np.testing.assert_allclose(mine, value, rtol=1e-6)
    np.testing.assert_allclose(gradient[:, 0, 2], slope, rtol=1e-5, atol=1e-7)


# --- what snnTorch gets wrong ---------------------------------------------------------------------


@pytest.mark.parametrize("name", WEIGHTED[:3])
def test_a_weighted_sum_is_a_sum(name):
    out, targets = sample(name, {})
    each = make(name, {}, reduction="none", weight=WEIGHT)(out, targets)
    assert_close(make(name, {}, reduction="sum", weight=WEIGHT)(out, targets), np.sum(each))
    value, _ = theirs(name, {}, out, targets, reduction="sum", weight=WEIGHT)
    assert value.shape == (B,)


@cases(
    [
        ("mse_count_loss", {}),
        ("mse_count_loss", POPULATION),
        ("mse_membrane_loss", {}),
        ("mse_temporal_loss", {"on_target": 1, "off_target": 4}),
        ("mse_temporal_loss", {"on_target": [1, 3], "off_target": [4, 5], "multi_spike": True}),
    ]
)
def test_weights_of_squared_errors_belong_to_samples(name, options):
    out, targets = sample(name, options)
    weight = WEIGHT[: options.get("num_classes", N)]
    each = np.asarray(make(name, options, reduction="none")(out, targets))
    each = each * np.asarray(weight)[targets][:, None]
    expected = {"mean": each.mean(), "sum": each.sum(), "none": each}
    losses = {r: make(name, options, reduction=r, weight=weight) for r in expected}
    values = jax.jit(lambda x, y: {r: loss(x, y) for r, loss in losses.items()})(out, targets)
    for reduction, value in values.items():
        assert_close(value, expected[reduction])


def test_snntorch_cannot_weigh_squared_errors():
    out, targets = sample("mse_count_loss", {})
    with pytest.raises(RuntimeError):
        theirs("mse_count_loss", {}, out, targets, weight=WEIGHT)


def test_populations_in_the_rate_loss_are_added_up():
    out, targets = sample("ce_rate_loss", POPULATION)
    pooled = out.reshape(T, B, 3, 2).sum(-1)
    expected, slope = theirs("ce_rate_loss", {}, pooled, targets)
    [value], gradient = ours([make("ce_rate_loss", POPULATION)], out, targets)
    assert_close(value, expected[0])
    assert_close(gradient, np.repeat(slope, 2, axis=-1))
    with pytest.raises(TypeError):
        theirs("ce_rate_loss", POPULATION, out, targets)


def test_a_weighted_population_has_one_weight_for_each_class():
    out, targets = sample("ce_rate_loss", POPULATION)
    loss = make("ce_rate_loss", POPULATION, weight=WEIGHT[:3], reduction="none")
    each = make("ce_rate_loss", POPULATION, reduction="none")(out, targets)
    assert_close(loss(out, targets), np.asarray(each) * np.asarray(WEIGHT)[targets])


def test_a_negative_off_target_is_one():
    mem, targets = np.zeros((T, 1, 2), np.float32), np.array([0])
    options = {"on_target": 1.0, "off_target": -0.5}
    assert float(make("mse_membrane_loss", options)(mem, targets)) == (1 + 0.25) / 2
    assert theirs("mse_membrane_loss", options, mem, targets)[0][0] == (1 + 0) / 2


def test_the_temporal_loss_asks_wrong_classes_to_spike_last():
    spk, targets = np.zeros((T, 1, 2), np.float32), np.array([0])
    spk[0, 0, 0] = 1  # the right one at once, the wrong one never: perfect
    assert float(SF.mse_temporal_loss()(spk, targets)) == 0
    assert theirs("mse_temporal_loss", {}, spk, targets)[0] > 0.3


def test_labels_that_change_with_time():
    loss = make("mse_membrane_loss", {"time_var_targets": True}, reduction="none")
    mem, targets = sample("mse_membrane_loss", {"time_var_targets": True})
    expected = ((mem - np.eye(N)[targets]) ** 2).mean(0)
    assert_close(loss(mem, targets), expected)
    with pytest.raises(RuntimeError):
        theirs("mse_membrane_loss", {"time_var_targets": True}, mem, targets)


@pytest.mark.filterwarnings("ignore:Using a target size")
def test_labels_of_all_samples_that_change_with_time_are_as_in_snntorch():
    options = {"time_var_targets": True}
    mem, targets = sample("mse_membrane_loss", options)
    expected, slope = theirs("mse_membrane_loss", options, mem, targets[:, 0])
    [value], gradient = ours([make("mse_membrane_loss", options)], mem, targets[:, 0])
    assert_close(value, expected[0])
    assert_close(gradient, slope)


def test_weights_of_labels_that_change_with_time():
    options = {"time_var_targets": True}
    mem, targets = sample("mse_membrane_loss", options)
    each = (mem - np.eye(N)[targets]) ** 2 * np.asarray(WEIGHT)[targets][..., None]
    assert_close(make("mse_membrane_loss", options, weight=WEIGHT)(mem, targets), each.mean())


def test_the_gradient_of_a_tied_maximum_goes_to_its_first_step():
    mem = np.array([0.0, 2.0, 2.0], np.float32).reshape(3, 1, 1)
    slope = jax.jit(jax.grad(SF.ce_max_membrane_loss()))(
        np.concatenate([mem, mem / 2], axis=2), np.array([0])
    )
    assert slope[1, 0, 0] != 0
    assert slope[2, 0, 0] == 0


# --- laws -----------------------------------------------------------------------------------------


@cases(SAME + ONLY_HERE)
def test_jit_and_vmap_are_eager(name, options):
    out, targets = sample(name, options)
    loss = make(name, options)
    eager = loss(out, targets)
    compiled = jax.jit(loss)
    assert_close(compiled(out, targets), eager, 1e-6)
    both = jax.jit(jax.vmap(loss))(np.stack([out, out[::-1]]), np.stack([targets, targets]))
    assert_close(both, [eager, loss(out[::-1], targets)], 1e-6)
    if options.get("target_is_time"):
        return
    for label in (-1, N):  # outside, where it cannot raise
        assert np.isnan(compiled(out, targets * 0 + label))


@cases(SAME + ONLY_HERE)
def test_float64_is_as_float32_but_finer(name, options):
    single, targets = sample(name, options)
    with jax.enable_x64(True):
        value = jax.jit(make(name, options))(single.astype(np.float64), targets)
        assert value.dtype == np.float64
    assert_close(make(name, options)(single, targets), float(value), 1e-6)


@pytest.mark.parametrize("dtype", [jnp.bfloat16, bool, np.int32])
def test_narrow_spikes_give_a_float32_loss(dtype):
    out, targets = sample("mse_count_loss", {})
    for name, options in SAME + ONLY_HERE:
        if "membrane" not in name and not options.get("target_is_time"):
            targets = sample(name, options)[1]
            value = make(name, options)(jnp.asarray(out, dtype), targets)
            assert value.dtype == np.float32
            assert_close(value, make(name, options)(out, targets))


@cases(SAME + ONLY_HERE)
def test_a_loss_is_a_value(name, options):
    loss = make(name, options, reduction="sum")
    assert loss == make(name, copy.deepcopy(options), reduction="sum")
    assert hash(loss) == hash(make(name, copy.deepcopy(options), reduction="sum"))
    assert loss != make(name, options, reduction="none")
    assert pickle.loads(pickle.dumps(loss)) == loss
    assert loss.__name__ == name
    assert isinstance(loss, SF.LossFunctions)
    with pytest.raises(AttributeError):
        loss.reduction = "none"


def test_an_equal_loss_is_not_compiled_again():
    out, targets = sample("ce_count_loss", {})
    traced = []

    def run(loss: Any, x: jax.Array) -> jax.Array:
        traced.append(loss)
        return loss(x, jnp.asarray(targets))

    compiled = jax.jit(run, static_argnums=0)
    for _ in range(2):
        compiled(SF.ce_count_loss(weight=WEIGHT), out)
    assert len(traced) == 1


@pytest.mark.parametrize("name", ["ce_rate_loss", "ce_count_loss", "ce_max_membrane_loss"])
def test_gradients_are_those_of_finite_differences(name):
    rng = np.random.default_rng(3)
    out, change = rng.normal(size=(2, T, B, N))
    targets = rng.integers(0, N, B)
    with jax.enable_x64(True):
        loss = jax.jit(make(name, {}))
        numeric = (loss(out + 1e-6 * change, targets) - loss(out - 1e-6 * change, targets)) / 2e-6
        exact = jax.jvp(lambda x: loss(x, targets), (out,), (change,))[1]
        assert_close(exact, numeric, 1e-7)


# --- errors ---------------------------------------------------------------------------------------

SPK, LABELS = np.zeros((T, B, N), np.float32), np.zeros(B, int)
BAD_ARGUMENTS = [
    ("ce_rate_loss", {"reduction": "avg"}, "'mean', 'sum', 'none'"),
    ("ce_rate_loss", {"weight": 2.0}, r"weight=\[1.0, 2.0\]"),
    ("ce_rate_loss", {"weight": [[1.0]]}, r"weight=\[1.0, 2.0\]"),
    ("ce_rate_loss", {"weight": "big"}, "a number or an array"),
    ("ce_rate_loss", {"population_code": True}, "num_classes=10"),
    ("ce_count_loss", {"population_code": True, "num_classes": 2.5}, "num_classes=10"),
    ("mse_count_loss", {"population_code": True, "num_classes": 0}, "num_classes=10"),
    ("ce_temporal_loss", {"inverse": "log"}, "'negate', 'reciprocal'"),
    ("mse_temporal_loss", {"target_is_time": True, "weight": [1.0]}, "Leave out weight"),
    ("mse_temporal_loss", {"on_target": [1, 2], "off_target": [3, 4]}, "multi_spike=True"),
    ("mse_temporal_loss", {"multi_spike": True}, r"on_target=\[5, 10\]"),
    ("mse_temporal_loss", {"on_target": [1], "off_target": [3, 4], "multi_spike": True}, "each of the F"),
]
BAD_CALLS = [
    ("ce_rate_loss", {}, SPK[0], LABELS, ShapeError, r"out\[None\]"),
    ("ce_rate_loss", {}, SPK[:0], LABELS, ShapeError, r"\[T, B, N\]"),
    ("ce_rate_loss", {}, SPK, LABELS[:2], ShapeError, r"\[B\] = \(5,\)"),
    ("ce_count_loss", {}, SPK, np.eye(N)[LABELS], ShapeError, "argmax"),
    ("ce_count_loss", {}, SPK, LABELS + 0.0, ArgumentError, r"astype\(int\)"),
    ("ce_count_loss", {}, SPK, LABELS + N, ArgumentError, "label 6; expected 0 to 5"),
    ("ce_count_loss", {}, SPK, LABELS - 1, ArgumentError, "label -1"),
    ("ce_count_loss", POPULATION, SPK, LABELS + 3, ArgumentError, "expected 0 to 2"),
    ("ce_count_loss", {**POPULATION, "num_classes": 4}, SPK, LABELS, ShapeError, "a multiple of 4, as 8"),
    ("mse_count_loss", {"weight": [1.0, 2.0]}, SPK, LABELS, ShapeError, "each of the 6 classes"),
    ("mse_membrane_loss", {"time_var_targets": True}, SPK, LABELS, ShapeError, r"\[T, B\] = \(7, 5\)"),
    ("mse_temporal_loss", {"target_is_time": True}, SPK, LABELS, ShapeError, "leave out target_is_time"),
]


@pytest.mark.parametrize(("name", "options", "message"), BAD_ARGUMENTS, ids=map(name_of, BAD_ARGUMENTS))
def test_bad_arguments_are_named_when_a_loss_is_built(name, options, message):
    with pytest.raises(ArgumentError, match=message):
        make(name, options)


@pytest.mark.parametrize(("name", "options", "out", "targets", "error", "message"), BAD_CALLS)
def test_bad_calls_name_the_call_that_works(name, options, out, targets, error, message):
    with pytest.raises(error, match=message):
        make(name, options)(out, targets)
