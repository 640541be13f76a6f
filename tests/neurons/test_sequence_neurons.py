"""Neurons that take whole sequences: their arguments, what they refuse, and networks of them."""

from __future__ import annotations

import inspect
from functools import partial
from typing import Any

import flax.linen as nn
import jax
import jax.numpy as jnp
import numpy as np
import pytest
from helpers import neurons as twin

import snnax as snn
from snnax.errors import ArgumentError, ShapeError, StateError
from snnax.neurons.quantize import NearestLevel

B, N, M = 6, 8, 5


@partial(jax.jit, static_argnums=0)
def run(module: nn.Module, variables: Any, x: Any) -> Any:
    return module.apply(variables, x)


def start(module: nn.Module, x: Any) -> Any:
    return jax.jit(module.init)(jax.random.key(0), x)


@pytest.mark.parametrize("kind", ["StateLeaky", "LinearLeaky", "LeakyParallel", "AssociativeLeaky"])
def test_arguments_are_those_of_snntorch_and_init_hidden(kind):
    expected = {n: p.default for n, p in inspect.signature(getattr(twin.snntorch(), kind)).parameters.items()}
    found = inspect.signature(getattr(snn, kind)).parameters
    mine = {n: p.default for n, p in found.items() if n not in ("parent", "name")}
    assert list(mine) == [*expected, "init_hidden", "state_dtype"]
    assert mine == {**expected, "init_hidden": False, "state_dtype": None}


BAD: list[tuple[str, dict[str, Any], str]] = [
    ("StateLeaky", {"beta": [0.9, 0.8], "channels": 3}, r"beta.*\(2,\).*one for each neuron: \(3,\)"),
    ("StateLeaky", {"beta": float("nan"), "channels": 3}, "beta.*finite"),
    ("StateLeaky", {"beta": 0.9, "channels": 0}, "channels=0.*whole number >= 1"),
    ("StateLeaky", {"beta": 0.9, "channels": 3.0}, "channels=3.0.*whole number"),
    ("StateLeaky", {"beta": 0.9, "channels": 3, "kernel_truncation_steps": 0}, "steps=0.*None, or how many"),
    ("StateLeaky", {"beta": 0.9, "channels": 3, "kernel_truncation_steps": True}, "steps=True"),
    ("StateLeaky", {"beta": 0.9, "channels": 3, "state_quant": 4}, "state_quant=4"),
    ("LinearLeaky", {"beta": 0.9, "in_features": 2, "out_features": -1}, "out_features=-1"),
    (
        "LinearLeaky",
        {"beta": 0.9, "in_features": 2, "out_features": 1, "device": "cpu"},
        "device='cpu'.*device_put",
    ),
    (
        "LinearLeaky",
        {"beta": 0.9, "in_features": 2, "out_features": 1, "dtype": "x"},
        "dtype='x'.*floating type",
    ),
    ("LinearLeaky", {"beta": 0.9, "in_features": 2, "out_features": 1, "dtype": jnp.int32}, "floating type"),
    ("LeakyParallel", {"input_size": 0, "hidden_size": 2}, "input_size=0"),
    (
        "LeakyParallel",
        {"input_size": 1, "hidden_size": 2, "beta": [0.1, 0.2, 0.3]},
        r"one for each neuron: \(2,\)",
    ),
    ("LeakyParallel", {"input_size": 1, "hidden_size": 2, "beta": float("inf")}, "beta.*finite"),
    ("LeakyParallel", {"input_size": 1, "hidden_size": 2, "dropout": 1.5}, "dropout=1.5.*0 to 1"),
    ("LeakyParallel", {"input_size": 1, "hidden_size": 2, "device": "cuda"}, "device='cuda'.*expected None"),
    ("AssociativeLeaky", {"in_dim": 1, "d_value": 0, "d_key": 2, "num_spiking_neurons": 0}, "d_value=0"),
    ("AssociativeLeaky", {"in_dim": 1, "d_value": 3, "d_key": 2, "num_spiking_neurons": 5}, "=5.*d_key = 6"),
]


@pytest.mark.parametrize(("kind", "options", "message"), BAD)
def test_bad_arguments_are_refused(kind, options, message):
    with pytest.raises(ArgumentError, match=message):
        getattr(snn, kind)(**options)


@pytest.mark.parametrize("neurons", [8, 0, -4])
def test_only_squares_have_a_root(neurons):
    with pytest.raises(ArgumentError, match="expected a square number"):
        snn.AssociativeLeaky.from_num_spiking_neurons(4, neurons)


@pytest.mark.parametrize(
    ("layer", "projections"),
    [
        (snn.LinearLeaky(0.9, 3, N), 1),
        (snn.LeakyParallel(3, N), 1),
        (snn.AssociativeLeaky(3, 2, 4, None), 4),
    ],
    ids=lambda value: type(value).__name__,
)
def test_linear_layers_have_the_derivative_that_is_fast_on_cpus(layer, projections):
    x = jnp.ones((4, 2, 3))
    program = str(jax.make_jaxpr(layer.apply)(jax.eval_shape(layer.init, jax.random.key(0), x), x))
    assert program.count("snnax_product") == projections


@pytest.mark.parametrize("shape", [(4, 3), (4, 2, 5), (4, 2, 2, 3), (3,)])
def test_a_sequence_of_another_shape_is_refused(shape):
    with pytest.raises(ShapeError, match=r"\[T, B, 3\].*init_hidden=True.*net.apply"):
        snn.StateLeaky(0.9, 3).apply({}, jnp.ones(shape))


@pytest.mark.parametrize("shape", [(4, 2, 3), (4, 2), (3,)])
def test_a_step_of_another_shape_is_refused(shape):
    with pytest.raises(ShapeError, match=r"\[B, 3\].*unroll.*init_hidden=False"):
        snn.StateLeaky(0.9, 3, init_hidden=True).apply({}, jnp.ones(shape), mutable=["hidden"])


@pytest.mark.parametrize(("init_hidden", "said"), [(False, r"\[T, B, N\]"), (True, r"\[B, N\]")])
def test_what_takes_any_number_of_neurons_says_so(init_hidden, said):
    with pytest.raises(ShapeError, match=f"expected .*{said}"):
        snn.StateLeaky(0.9, 1, init_hidden=init_hidden).apply({}, jnp.ones((4, 2, 2, 3)), mutable=["hidden"])


def test_a_state_of_another_batch_is_refused():
    net = snn.StateLeaky(0.9, 3, kernel_truncation_steps=4, init_hidden=True)
    _, updates = snn.unroll(net, {}, jnp.ones((5, 2, 3)))
    with pytest.raises(StateError, match="another batch size"):
        snn.unroll(net, updates, jnp.ones((5, 4, 3)))


def test_integers_become_float32():
    spk, mem = snn.StateLeaky(0.9, 2).apply({}, jnp.ones((3, 1, 2), jnp.int32))
    assert spk.dtype == mem.dtype == jnp.float32


def test_a_network_of_sequences():
    """Applied to all steps at once, or built for steps and unrolled; with any quantizer, at any depth."""

    def build(stepwise: bool) -> nn.Module:
        quantized = NearestLevel((-1.0, 0.0, 1.0, 2.0))
        inner = snn.Sequential([snn.LinearLeaky(0.8, M, N, output=False, init_hidden=stepwise), nn.Dense(M)])
        return snn.Sequential([inner, snn.StateLeaky(0.9, M, state_quant=quantized, init_hidden=stepwise)])

    x = jnp.asarray(2 * twin.current((30, B, M)))
    whole, steps = build(False), build(True)
    variables = start(whole, x)
    spk, mem = run(whole, variables, x)
    (spk_steps, mem_steps), _ = snn.unroll(steps, variables, x)
    assert spk.shape == (30, B, M)
    assert (np.asarray(mem) != mem_steps).mean() < 1e-2 and (np.asarray(spk) != spk_steps).mean() < 1e-2
    with pytest.raises(ArgumentError, match=r"StateLeaky\(..., init_hidden=True\).*net.apply"):
        snn.unroll(snn.StateLeaky(0.9, M), {}, x)
    with pytest.raises(ArgumentError, match=r"LinearLeaky\(..., init_hidden=True\).*net.apply"):
        snn.unroll(whole, variables, x)


@pytest.mark.parametrize("nested", [False, True])
def test_sequences_and_steps_do_not_mix(nested):
    layers = [snn.StateLeaky(0.9, 3)]
    first = snn.Sequential(layers) if nested else layers[0]
    with pytest.raises(ArgumentError, match=r"layers_0.*layers_1.*no call fits both.*init_hidden=True"):
        snn.Sequential([first, snn.Leaky(0.9, init_hidden=True)])


def test_feedback_round_a_neuron_with_other_sizes():
    nodes = {"a": snn.LinearLeaky(0.9, 3, 5, init_hidden=True), "b": nn.Dense(3)}
    net = snn.Graph(nodes, [("input", "a"), ("a", "b"), ("b", "a"), ("a", "output")])
    x = jnp.ones((6, 2, 3))
    (spk, _), _ = snn.unroll(net, start(net, x[0]), x)
    assert spk.shape == (6, 2, 5)
