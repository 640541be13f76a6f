"""The compiled steps: against plain JAX, in every mode, one program per shape."""

from __future__ import annotations

import dataclasses

import flax.linen as nn
import jax
import jax.numpy as jnp
import numpy as np
import optax
import pytest
from helpers import training_nets as nets

import snnax as snn
import snnax.functional as SF
from snnax.errors import ArgumentError, ShapeError
from snnax.training import TrainState, make_eval_step, make_train_step
from snnax.training.steps import _train

X, Y = nets.data()
LOSS = SF.ce_rate_loss()
STEP = make_train_step(LOSS, SF.accuracy_rate, donate=False)
MEASURE = make_eval_step(LOSS, SF.accuracy_rate)
SGD = optax.sgd(0.1)


def test_a_step_is_plain_gradient_descent_on_the_unrolled_network():
    state = nets.start(nets.dense(), SGD)

    @jax.jit
    @jax.value_and_grad
    def loss(params):
        return LOSS(snn.unroll(state.net, {"params": params}, X)[0][0], Y)

    value, grads = loss(state.params)
    after, metrics = STEP(state, X, Y)
    expected = jax.tree.map(lambda p, g: p - 0.1 * g, state.params, grads)
    for ours, theirs in zip(jax.tree.leaves(after.params), jax.tree.leaves(expected), strict=True):
        np.testing.assert_allclose(ours, theirs, rtol=1e-6)
    norm = np.sqrt(sum((np.asarray(g) ** 2).sum() for g in jax.tree.leaves(grads)))
    assert norm > 0.01
    np.testing.assert_allclose(metrics["grad_norm"], norm, rtol=1e-5)
    np.testing.assert_allclose(metrics["loss"], value, rtol=1e-6)
    (spk, _), _ = snn.unroll(state.net, state.variables, X)
    assert metrics["accuracy"] == SF.accuracy_rate(spk, Y)
    assert int(after.step) == 1 and int(state.step) == 0


def test_statistics_and_dropout_follow_the_mode_and_buffers_stay():
    state = nets.start(nets.busy())
    step, measure = STEP, MEASURE
    after, first = step(state, X, Y)
    assert step(state, X, Y)[1]["loss"] == first["loss"]  # the same key
    _, second = step(state.replace(key=jax.random.key(8)), X, Y)
    assert second["loss"] != first["loss"]
    assert nets.bits(after.buffers) == nets.bits(state.buffers) != {}
    assert nets.bits(after.batch_stats) != nets.bits(state.batch_stats)
    assert measure(after, X, Y)["loss"] == measure(after.replace(key=jax.random.key(8)), X, Y)["loss"]
    (spk, _), _ = snn.unroll(state.net, after.variables, X)
    np.testing.assert_allclose(measure(after, X, Y)["loss"], LOSS(spk, Y), rtol=1e-6)


def test_the_key_differs_from_step_to_step():
    state = nets.start(nets.busy())
    _, first = STEP(state, X, Y)
    _, second = STEP(state.replace(step=state.step + 1), X, Y)
    assert first["loss"] != second["loss"]


@pytest.mark.parametrize("donate", [True, False])
def test_one_program_per_shape(donate):
    state = nets.start(nets.dense(), SGD)
    step = make_train_step(LOSS, SF.accuracy_rate, donate=donate)
    size = step._program.count
    before = size()
    state, _ = step(state, X, Y)
    assert size() <= before + 1  # an earlier test may have compiled it
    before = size()
    for _ in range(2):
        state, _ = step(state, X, Y)
    step = make_train_step(LOSS, SF.accuracy_rate, donate=donate)  # another one that is equal
    state, _ = step(state, X, Y)
    assert size() == before
    step(state, X[:, 1:], Y[1:])
    assert size() == before + 1


def test_a_donated_state_is_used_up_but_the_variables_it_was_made_from_are_not():
    net = nets.dense()
    variables = nets.fresh(net)
    state = TrainState.create(net, variables, SGD)
    after, _ = make_train_step(LOSS, SF.accuracy_rate)(state, X, Y)
    assert state.params["layers_0"]["kernel"].is_deleted()
    assert not any(v.is_deleted() for v in jax.tree.leaves(variables))
    assert np.isfinite(after.params["layers_0"]["kernel"]).all()


def test_a_constant_frame_with_num_steps_is_that_frame_repeated():
    state = nets.start(nets.dense(), SGD)
    still = make_train_step(LOSS, num_steps=nets.T, donate=False)(state, X[0], Y)
    moving = STEP(state, np.repeat(X[:1], nets.T, 0), Y)
    np.testing.assert_allclose(still[1]["loss"], moving[1]["loss"], rtol=1e-6)
    for a, b in zip(jax.tree.leaves(still[0].params), jax.tree.leaves(moving[0].params), strict=True):
        np.testing.assert_allclose(a, b, rtol=1e-4, atol=1e-6)


def test_hidden_is_carried_only_if_asked_for():
    net = nets.dense()
    variables = nets.fresh(net)
    fresh = TrainState.create(net, variables, SGD)
    assert STEP(fresh, X, Y)[0].hidden is None
    carried = TrainState.create(net, variables, SGD, hidden=variables["hidden"])
    whole, _ = snn.unroll(net, variables, np.concatenate([X, X]))
    after, first = STEP(carried, X, Y)
    _, second = STEP(after.replace(params=carried.params), X, Y)
    np.testing.assert_allclose(second["loss"], LOSS(whole[0][nets.T :], Y), rtol=1e-6)
    assert second["loss"] != first["loss"]
    measured = MEASURE(after.replace(params=carried.params), X, Y)["loss"]
    np.testing.assert_allclose(measured, first["loss"], rtol=1e-6)


def last_membrane(outputs, y):
    spk, mem = outputs
    return (mem[-1] ** 2).mean() + spk.mean() * 0


def highest_membrane(mem, y):
    return mem.max()


highest_membrane.reads = "mem"


@pytest.mark.parametrize(
    ("loss", "read", "expected"),
    [
        (highest_membrane, None, lambda spk, mem: mem.max()),
        (highest_membrane, "spk", lambda spk, mem: spk.max()),
        (SF.ce_rate_loss(), None, lambda spk, mem: SF.ce_rate_loss()(spk, Y)),
        (SF.ce_max_membrane_loss(), None, lambda spk, mem: SF.ce_max_membrane_loss()(mem, Y)),
        (SF.mse_membrane_loss(), None, lambda spk, mem: SF.mse_membrane_loss()(mem, Y)),
        (SF.ce_rate_loss(), "mem", lambda spk, mem: SF.ce_rate_loss()(mem, Y)),
        (SF.ce_max_membrane_loss(), "spk", lambda spk, mem: SF.ce_max_membrane_loss()(spk, Y)),
        (last_membrane, "all", lambda spk, mem: (mem[-1] ** 2).mean()),
    ],
)
def test_what_the_loss_reads(loss, read, expected):
    state = nets.start(nets.dense())
    (spk, mem), _ = snn.unroll(state.net, state.variables, X)
    metrics = make_eval_step(loss, SF.accuracy_rate, read=read)(state, X, Y)
    np.testing.assert_allclose(metrics["loss"], expected(spk, mem), rtol=1e-6)
    assert metrics["accuracy"] == SF.accuracy_rate(spk, Y)


def test_a_loss_that_reads_nothing_known_is_refused():
    def loss(outputs, y):
        return outputs.sum()

    loss.reads = "membrane"
    with pytest.raises(
        ArgumentError, match=r"loss\.reads='membrane'; expected one of None, 'spk', 'mem', 'all'"
    ):
        make_eval_step(loss)


def test_a_regularization_is_added_for_the_spikes():
    state = nets.start(nets.dense())
    (spk, _), _ = snn.unroll(state.net, state.variables, X)
    plain = MEASURE(state, X, Y)["loss"]
    loud = make_eval_step(LOSS, regularization=SF.l1_rate_sparsity(0.5))(state, X, Y)["loss"]
    assert spk.sum() > 3
    np.testing.assert_allclose(loud - plain, 0.5 * spk.sum(), rtol=1e-5)


@pytest.mark.parametrize("dtype", ["bfloat16", "float64"])
def test_other_dtypes_stay(dtype):
    with jax.enable_x64(dtype == "float64"):
        net = snn.Sequential(
            [
                nn.Dense(3, dtype=dtype, param_dtype=dtype),
                snn.Leaky(beta=0.5, learn_beta=True, init_hidden=True),
            ]
        )
        x = jnp.asarray(X, dtype)
        variables = jax.tree.map(lambda v: v.astype(dtype), net.init(jax.random.key(0), x[0]))
        state = TrainState.create(net, variables, optax.adam(0.01))
        after, metrics = make_train_step(LOSS, donate=False)(state, x, Y)
        assert {str(v.dtype) for v in jax.tree.leaves(after.params)} == {dtype}
        assert jax.tree.map(lambda v: (v.dtype, v.weak_type), after.params) == jax.tree.map(
            lambda v: (v.dtype, v.weak_type), state.params
        )
        assert np.isfinite(metrics["loss"])


def test_other_collections_are_kept():
    net = nets.dense()
    variables = {**nets.fresh(net), "notes": {"a": jnp.ones(2)}}
    state = TrainState.create(net, variables, SGD)
    assert sorted(state.variables) == ["notes", "params"]
    assert STEP(state, X, Y)[0].other["notes"]["a"].tolist() == [1, 1]


def memory_of(step, state, x):
    return step._program.lower(state.net, step, state, x, Y).compile().memory_analysis().temp_size_in_bytes


def test_less_is_kept_for_the_gradient_if_asked():
    state, long = nets.start(nets.dense(), SGD), np.tile(X, (60, 1, 1))
    plain, half, little = (
        make_train_step(LOSS, donate=False, chunk=20, **how)
        for how in ({}, {"residuals": "bfloat16"}, {"remat": True})
    )
    after = plain(state, long, Y)[0]
    for step, rtol in ((half, 0.05), (little, 1e-5)):
        given = jax.tree.leaves(step(state, long, Y)[0].params)
        for a, b in zip(given, jax.tree.leaves(after.params), strict=True):
            np.testing.assert_allclose(a, b, rtol=rtol, atol=rtol / 10)
    sizes = [memory_of(step, state, long) for step in (plain, half, little)]
    assert sizes[0] > sizes[1] > sizes[2]
    assert make_train_step(LOSS, residuals=jnp.bfloat16) == make_train_step(LOSS, residuals="bfloat16")


@dataclasses.dataclass
class Unhashable:
    def __call__(self, outputs, y):
        return outputs.mean()


BAD = [
    ({"loss": SF.ce_rate_loss}, ArgumentError, r"the class ce_rate_loss.*loss=ce_rate_loss\(\)"),
    ({"loss": 3}, ArgumentError, r"loss got 3; expected a function"),
    ({"loss": Unhashable()}, ArgumentError, r"cannot be hashed.*frozen=True"),
    ({"loss": LOSS, "accuracy": 0.5}, ArgumentError, r"accuracy got 0.5.*accuracy_rate"),
    ({"loss": LOSS, "regularization": True}, ArgumentError, r"regularization got True.*l1_rate_sparsity"),
    ({"loss": LOSS, "read": "spikes"}, ArgumentError, r"read='spikes'\); expected one of None, 'spk', 'mem'"),
]


@pytest.mark.parametrize(("options", "kind", "message"), BAD)
def test_bad_arguments(options, kind, message):
    for make in (make_train_step, make_eval_step):
        with pytest.raises(kind, match=message):
            make(**options)


def test_what_cannot_be_kept_for_the_gradient():
    with pytest.raises(ArgumentError, match=r"remat='some'; expected 'auto', True or False"):
        make_train_step(LOSS, remat="some")
    with pytest.raises(ArgumentError, match=r"residuals=8; expected None .* or jnp.bfloat16"):
        make_train_step(LOSS, residuals=8)


def test_losses_of_torch_are_refused_by_name():
    torch = pytest.importorskip("torch")
    with pytest.raises(ArgumentError, match="torch tensors"):
        make_train_step(torch.nn.CrossEntropyLoss())


def test_losses_that_do_not_fit_the_network():
    silent = snn.Sequential([nn.Dense(3), snn.Leaky(beta=0.8, init_hidden=True)])
    with pytest.raises(ArgumentError, match="output=True"):
        make_eval_step(SF.ce_max_membrane_loss())(nets.start(silent), X, Y)
    with pytest.raises(ShapeError, match=r"shape \(8,\); expected one number"):
        make_train_step(SF.ce_rate_loss(reduction="none"))(nets.start(silent), X, Y)


def test_what_cannot_be_a_state():
    net = nets.dense()
    variables = nets.fresh(net)
    with pytest.raises(ArgumentError, match=r"expected an optax optimizer"):
        TrainState.create(net, variables, 0.1)
    with pytest.raises(ArgumentError, match=r"holds no 'params'"):
        TrainState.create(net, {}, optax.sgd(0.1))
    with pytest.raises(ArgumentError, match=r"expected a flax.linen module.*from_snntorch"):
        TrainState.create("net", variables, optax.sgd(0.1))

    class Odd(nn.Module):
        values: object

        @nn.compact
        def __call__(self, x):
            return nn.Dense(2)(x)

    with pytest.raises(ArgumentError, match=r"cannot be hashed"):
        TrainState.create(Odd(np.ones(2)), variables, optax.sgd(0.1))


def test_the_programs_are_shared_by_equal_steps():
    assert make_train_step(LOSS, donate=False)._program is _train
    assert make_train_step(SF.ce_rate_loss()) == make_train_step(SF.ce_rate_loss())


def test_numbers_of_numpy_that_float32_takes_for_infinity_are_refused():
    net = snn.Sequential(nn.Dense(2), snn.Leaky(0.5, init_hidden=True))
    variables = {"params": {"layers_0": {"kernel": np.full((3, 2), 1e300), "bias": np.zeros(2)}}}
    with pytest.raises(ArgumentError, match=r"TrainState.create\(variables=...\) holds 1e\+300"):
        TrainState.create(net, variables, optax.sgd(0.1))
