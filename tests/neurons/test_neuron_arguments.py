"""Bad arguments are refused when a neuron is built, and snnTorch's signatures are kept."""

from __future__ import annotations

import inspect
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from helpers import neurons as twin

from snnax.errors import ArgumentError, SnnaxError
from snnax.neurons import FrozenArray
from snnax.neurons.quantize import NearestLevel

BAD: list[tuple[str, dict[str, Any], str]] = [
    *((k, {"reset_mechanism": "soft"}, "'soft'.*subtract, zero, none") for k in twin.STATES),
    *((k, {"threshold": float("nan")}, "threshold.*finite") for k in twin.STATES),
    *((k, {"spike_grad": "atan"}, "surrogate.fast_sigmoid") for k in twin.STATES),
    *((k, {"state_quant": 8}, "function from a state") for k in twin.STATES),
    ("Leaky", {"beta": float("inf")}, r"Leaky\(beta=inf\); expected finite"),
    ("Leaky", {"beta": [0.9, float("nan")]}, "beta.*finite"),
    ("Leaky", {"beta": "0.9"}, r"Leaky\(beta='0.9'\); expected a number or an array"),
    ("Leaky", {"beta": True}, r"beta=True\); expected a number"),
    ("Leaky", {"beta": None}, r"beta=None\); expected a number"),
    ("Leaky", {"beta": 0.9j}, r"beta=.*j.*\); expected a number"),
    ("Leaky", {"beta": [[0.9], [0.8, 0.7]]}, "expected a number or an array"),
    ("Leaky", {"graded_spikes_factor": float("inf")}, "graded_spikes_factor.*finite"),
    ("Synaptic", {"alpha": float("nan")}, "alpha.*finite"),
    ("RLeaky", {"V": [float("nan")]}, "V.*finite"),
    ("Alpha", {"alpha": 0.8, "beta": 0.8}, "alpha must be larger than beta"),
    ("Alpha", {"alpha": 0.5, "beta": 0.8}, "alpha must be larger than beta"),
    ("Alpha", {"alpha": 1.2, "beta": 1.1}, "alpha must be larger than beta"),
    ("Alpha", {"alpha": [0.9, 0.5], "beta": [0.8, 0.8]}, "alpha must be larger than beta"),
    ("Lapicque", {"beta": 0.9}, "beta and R and C of beta, R and C; expected R and C, or beta"),
    ("Lapicque", {"C": False}, "got R of beta"),
    ("Lapicque", {"R": None}, "got C of beta"),
    ("Lapicque", {"R": False, "C": False}, "got none of beta"),
    ("Lapicque", {"learn_beta": True}, "no beta to learn"),
    ("Lapicque", {"R": 0.0}, r"R=0.0\); expected finite numbers above 0"),
    ("Lapicque", {"C": [1.0, -1.0]}, "C=.*above 0"),
    ("Lapicque", {"beta": 0.0, "R": False, "C": False}, "beta=0.0.*above 0"),
    ("Lapicque", {"time_step": 0}, "time_step=.*above 0"),
    ("RLeaky", {"all_to_all": True}, "got no size; expected linear_features alone"),
    ("RLeaky", {"all_to_all": True, "conv2d_channels": 3}, "got conv2d_channels; expected"),
    ("RSynaptic", {"all_to_all": True, "kernel_size": 3}, "got kernel_size; expected"),
    (
        "RSynaptic",
        {"all_to_all": True, "linear_features": 3, "kernel_size": 3},
        "linear_features and kernel_size",
    ),
    (
        "RLeaky",
        {"linear_features": 3},
        r"all_to_all=False\) got linear_features, but its recurrent weight is V",
    ),
    (
        "RLeaky",
        {"all_to_all": True, "conv2d_channels": 3, "kernel_size": 4},
        "expected one odd number or 2 of them",
    ),
    ("RLeaky", {"all_to_all": True, "conv2d_channels": 3, "kernel_size": (3, 2)}, "odd"),
    (
        "RLeaky",
        {"all_to_all": True, "conv2d_channels": 3, "kernel_size": (3, 3, 3)},
        "one odd number or 2 of them",
    ),
]


@pytest.mark.parametrize(("kind", "options", "message"), BAD)
def test_bad_arguments_are_refused(kind, options, message):
    with pytest.raises(ArgumentError, match=message) as caught:
        twin.build(kind, **options)
    assert isinstance(caught.value, ValueError) and isinstance(caught.value, SnnaxError)


def test_a_traced_argument_is_refused():
    with pytest.raises(ArgumentError, match=r"beta.*traced array.*learn_"):
        jax.grad(lambda beta: twin.snn.Leaky(beta).apply({}, jnp.ones((1, 1)))[1].sum())(0.9)


# What is a constructor's argument here only: snnTorch's is an attribute, lif.recurrent.bias = None.
OURS = {kind: {"recurrent_bias": True} for kind in ("RLeaky", "RSynaptic")}
BY_NAME = {"state_dtype": None}


@pytest.mark.parametrize("kind", twin.STATES)
def test_arguments_are_those_of_snntorch_in_its_order_with_its_defaults(kind):
    theirs = inspect.signature(getattr(twin.snntorch(), kind))
    ours = inspect.signature(getattr(twin.snn, kind))
    expected = {n: p.default for n, p in theirs.parameters.items()}
    given = {n: p.default for n, p in ours.parameters.items() if n not in ("parent", "name")}
    assert given == {**expected, **OURS.get(kind, {}), **BY_NAME}
    assert {n for n, p in ours.parameters.items() if p.kind is p.KEYWORD_ONLY} == set(BY_NAME)
    assert list(ours.parameters)[: len(expected)] == list(expected)


@pytest.mark.parametrize("kind", twin.STATES)
def test_states_are_passed_and_returned_in_snntorchs_order(kind):
    theirs = list(inspect.signature(getattr(twin.snntorch(), kind).forward).parameters)[2:]
    ours = list(inspect.signature(getattr(twin.snn, kind).__call__).parameters)[2:]
    assert ours == theirs == list(twin.STATES[kind])


def test_torch_tensors_are_taken_as_arguments():
    torch = pytest.importorskip("torch")
    beta = torch.nn.Parameter(torch.tensor([0.9, 0.8]))
    assert twin.snn.Leaky(beta) == twin.snn.Leaky(np.array([0.9, 0.8], np.float32))
    assert twin.snn.Leaky(torch.tensor(0.9)).beta == float(np.float32(0.9))


@pytest.mark.parametrize(
    "value",
    [[0.5, 0.25], (0.5, 0.25), np.array([0.5, 0.25]), jnp.array([0.5, 0.25]), FrozenArray([0.5, 0.25])],
    ids=lambda v: type(v).__name__,
)
def test_arrays_of_any_kind_are_frozen(value):
    beta = twin.snn.Leaky(value).beta
    assert isinstance(beta, FrozenArray) and np.asarray(beta).tolist() == [0.5, 0.25]


def test_numbers_stay_python_floats():
    assert [type(twin.snn.Leaky(v).beta) for v in (1, 0.5, np.float32(0.5), jnp.float32(0.5))] == [float] * 4


def test_a_frozen_array_cannot_be_changed():
    source = np.array([0.5, 0.25])
    frozen = FrozenArray(source)
    source[0] = 9
    with pytest.raises(ValueError, match="read-only"):
        np.asarray(frozen)[0] = 9
    copied = np.array(frozen, copy=True)
    copied[0] = 9
    assert np.asarray(frozen).tolist() == [0.5, 0.25]


def test_frozen_arrays_are_equal_by_shape_dtype_and_bytes():
    one = FrozenArray(np.ones(2, np.float32))
    assert one == FrozenArray(np.ones(2, np.float32))
    others = [np.ones((2, 1), np.float32), np.ones(2), np.zeros(2, np.float32)]
    assert all(one != FrozenArray(o) for o in others)
    assert (one.shape, one.ndim, one.dtype) == ((2,), 1, np.float32)
    assert one != [1.0, 1.0]


@pytest.mark.parametrize("levels", [(), (0.0, float("nan"))])
def test_a_quantizer_needs_finite_levels(levels):
    with pytest.raises(ArgumentError, match="at least one finite number"):
        NearestLevel(levels)


def test_a_quantizer_takes_the_first_of_two_equally_near_levels():
    assert NearestLevel((0.0, 1.0))(jnp.array([[0.5, 0.6], [2.0, -3.0]])).tolist() == [[0, 1], [1, 0]]
