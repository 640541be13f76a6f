"""A program as a linen module: its variables, its call, unroll, training, and what it refuses."""

from __future__ import annotations

import pickle
import re
from dataclasses import replace
from functools import partial

import jax
import jax.numpy as jnp
import numpy as np
import optax
import pytest
from helpers.written_programs import (
    BATCH,
    NEURONS,
    STEPS,
    WEIGHT,
    expected,
    loop_program,
    result,
    sample,
    step_program,
)
from jax import export

import snnax as snn
from snnax import interop
from snnax.errors import ArgumentError, ConversionError, ShapeError, StateDictError
from snnax.interop.program.module import Held, PortedProgram, variables_of
from snnax.interop.program.nodes import Leaf, Note


def ported(program):
    held = Held(program)
    return PortedProgram(held), variables_of(held)


def test_variables_have_torchs_names_and_layout():
    model, variables = ported(loop_program(True))
    assert set(variables) == {"params"} and set(variables["params"]) == {"fc", "back"}
    np.testing.assert_array_equal(variables["params"]["fc"]["weight"], WEIGHT)
    made = model.init(jax.random.key(0), sample())
    assert jax.tree.all(jax.tree.map(np.array_equal, dict(made), variables))


def read_elsewhere(program):
    """The program with an operation that reads the neuron's threshold too."""
    (loop,) = program.loops
    loop.body[-1] = replace(loop.body[-1], args=(loop.body[-1].args[0], Leaf(4)))
    return program


def test_single_numbers_of_neurons_are_settings_unless_something_else_reads_them():
    assert Held(loop_program(True)).settings == {"lif.beta", "lif.threshold"}
    model, variables = ported(read_elsewhere(loop_program(True)))
    assert model.held.settings == {"lif.beta"}
    np.testing.assert_array_equal(variables["buffers"]["lif"]["threshold"], 1)
    several = loop_program(True)
    several.inputs[3] = replace(
        several.inputs[3], result=result(NEURONS), value=np.full(NEURONS, 0.9, np.float32)
    )
    assert Held(several).settings == {"lif.threshold"}
    trained = loop_program(True)
    trained.inputs[3] = replace(trained.inputs[3], trained=True)
    assert Held(trained).settings == {"lif.threshold"}


def test_another_value_of_a_setting_is_a_buffer_that_counts():
    model, variables = ported(loop_program(False))
    names = interop.to_state_dict(model, variables)
    assert names["lif.beta"] == np.float32(0.9)
    same = interop.from_state_dict(model, variables, names)
    assert set(same) == {"params"}
    other = interop.from_state_dict(model, variables, {**names, "lif.beta": np.float32(0.5)})
    np.testing.assert_array_equal(other["buffers"]["lif"]["beta"], np.float32(0.5))
    assert interop.to_state_dict(model, other)["lif.beta"] == np.float32(0.5)
    x = sample()
    slow, fast = (model.apply(v, x)["total"] for v in (other, variables))
    assert np.abs(slow - fast).max() > 0.1
    np.testing.assert_array_equal(model.apply(same, x)["total"], fast)


@pytest.mark.parametrize("feedback", [False, True])
def test_apply_and_unroll_return_what_forward_returns(feedback):
    model, variables = ported(loop_program(feedback))
    for batch in (BATCH, 2):
        x = sample(batch)
        spk, _ = expected(x, feedback)
        np.testing.assert_array_equal(model.apply(variables, x)["spk"], spk)
        outputs, updates = snn.unroll(model, variables, x)
        np.testing.assert_array_equal(outputs["spk"], spk)
        assert not updates.get("hidden")


def test_unroll_records_and_forces():
    model, variables = ported(loop_program(True))
    force = {"lif": np.ones((STEPS, BATCH, NEURONS), np.float32)}
    outputs, _, recorded = snn.unroll(model, variables, sample(), record=["lif"], force=force)
    assert set(recorded["lif"]) == {"input", "mem", "spk"}
    assert np.all(outputs["spk"] == 1) and not np.all(recorded["lif"]["spk"] == 1)


def test_a_step_runs_over_time_and_keeps_its_state():
    model, variables = ported(step_program())
    x = sample()
    spk, updates = snn.unroll(model, variables, x)
    np.testing.assert_array_equal(spk, expected(x, False)[0])
    half = STEPS // 2
    first, between = snn.unroll(model, variables, x[:half])
    second, _ = snn.unroll(model, {**variables, **between}, x[half:])
    np.testing.assert_array_equal(np.concatenate([first, second]), spk)
    once, after = model.apply({**variables, **between}, x[half], mutable=["hidden"])
    np.testing.assert_array_equal(once, spk[half])
    assert after["hidden"]["lif"]["mem"].shape == updates["hidden"]["lif"]["mem"].shape == (BATCH, NEURONS)


def test_a_constant_input_is_shown_at_every_step():
    model, variables = ported(step_program())
    frame = sample()[0]
    spk, _ = snn.unroll(model, variables, frame, num_steps=5)
    np.testing.assert_array_equal(spk, expected(np.broadcast_to(frame, (5, *frame.shape)), False)[0])


def test_it_trains():
    model, variables = ported(loop_program(True))
    x, goal = sample(), jnp.full((BATCH, NEURONS), 3.0)
    optimizer = optax.adam(0.05)
    state = optimizer.init(variables["params"])

    @jax.jit
    def step(params, state):
        def loss(params):
            return jnp.mean((snn.unroll(model, {**variables, "params": params}, x)[0]["total"] - goal) ** 2)

        value, slope = jax.value_and_grad(loss)(params)
        updates, state = optimizer.update(slope, state)
        return optax.apply_updates(params, updates), state, value

    params, losses = variables["params"], []
    for _ in range(30):
        params, state, value = step(params, state)
        losses.append(float(value))
    assert losses[-1] < 0.3 * losses[0]


def test_state_dict_there_and_back():
    model, variables = ported(loop_program(True))
    state = interop.to_state_dict(model, variables)
    assert set(state) == {"fc.weight", "fc.bias", "back", "lif.beta", "lif.threshold"}
    state["fc.bias"] = state["fc.bias"] + 1
    loaded = interop.from_state_dict(model, variables, state)
    np.testing.assert_array_equal(loaded["params"]["fc"]["bias"], state["fc.bias"])
    assert np.array_equal(interop.to_state_dict(model, loaded)["back"], state["back"])
    with pytest.raises(StateDictError, match="back"):
        interop.from_state_dict(model, variables, {k: v for k, v in state.items() if k != "back"})


def test_the_module_can_be_hashed_and_pickled():
    model, variables = ported(loop_program(False))
    assert hash(model) == hash(model.clone()) and model == model.clone()
    again = pickle.loads(pickle.dumps(model))
    np.testing.assert_array_equal(again.apply(variables, sample())["spk"], expected(sample(), False)[0])
    assert "6 operations" in repr(model)


@pytest.mark.parametrize(
    ("x", "error", "words"),
    [
        (
            np.zeros((STEPS, BATCH, 7)),
            ShapeError,
            "x has shape (6, 4, 7); the network was traced with [6, B, 3]",
        ),
        (np.zeros((STEPS + 1, BATCH, 3)), ShapeError, "port the network again"),
        ((np.zeros((STEPS, BATCH, 3)), 1), ArgumentError, "traced with"),
    ],
)
def test_other_arguments_are_refused(x, error, words):
    model, variables = ported(loop_program(True))
    with pytest.raises(error, match=re.escape(words)):
        model.apply(variables, *(x if isinstance(x, tuple) else (x,)))


def test_other_lengths_and_lacking_arrays_are_refused():
    model, variables = ported(loop_program(True))
    with pytest.raises(ArgumentError, match="num_steps=5, but the network loops over 6"):
        snn.unroll(model, variables, sample(), num_steps=5)
    fixed, held = ported(read_elsewhere(loop_program(True)))
    with pytest.raises(ArgumentError, match="buffers"):
        snn.unroll(fixed, {"params": held["params"]}, sample())
    with pytest.raises(ConversionError, match=r"the last step alone.*leave_out"):
        interop.to_nir(model, variables, sample()[0])


def test_fit_finds_the_samples_on_the_axis_where_forward_has_them():
    model, variables = ported(loop_program(True))
    assert model.batch_axis == 1 and ported(step_program())[0].batch_axis == 1
    data = [(sample(8), np.arange(8) % NEURONS)]
    state = snn.training.TrainState.create(model, variables, optax.adam(1e-2))

    def loss(outputs, targets):
        return optax.softmax_cross_entropy_with_integer_labels(outputs["total"], targets).mean()

    _, history = snn.training.fit(state, data, epochs=3, loss=loss, read="all", progress=False)
    assert history.loss[-1] < history.loss[0]


def test_export_leaves_the_batch_open_and_not_the_time():
    model, variables = ported(loop_program(True))
    steps, batch = export.symbolic_shape("t, b")
    shape = sample().shape

    def exported(program, *open_shape):
        def call(weights, x):
            return snn.unroll(program, weights, x)[0]

        return export.export(jax.jit(call))(variables, jax.ShapeDtypeStruct(open_shape, jnp.float32))

    for size in (1, 5):
        x = np.resize(sample(), (shape[0], size, *shape[2:]))
        found = exported(model, shape[0], batch, *shape[2:]).call(variables, x)
        jax.tree.map(
            partial(np.testing.assert_allclose, rtol=1e-6), found, snn.unroll(model, variables, x)[0]
        )
    for program in (loop_program(True), step_program()):
        with pytest.raises(ShapeError, match=r"time steps is t, which jax\.export leaves open"):
            exported(ported(replace(program, time=[(Leaf(0), 0)]))[0], steps, shape[1], *shape[2:])
    few = replace(loop_program(True), fewest=2, notes=[Note("fewer", "with a batch of 1, it squeezes")])
    with pytest.raises(ShapeError, match="a batch of b; expected 2 or more: with a batch of 1, it squeezes"):
        exported(ported(few)[0], shape[0], batch, *shape[2:])
