"""Frozen traces and gradients of snnTorch 1.0.0 (torch 2.13.0, CPU, float32); no torch is needed here.

Provenance: printed to seven digits by runs of ``snntorch.<neuron>(**options)`` from zero states on the
inputs below, and, for gradients, ``torch.autograd.grad`` of the sum of spikes. The helper ``run_snntorch``
of the twin tests makes them again.
"""

from __future__ import annotations

from pathlib import Path
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from helpers import neurons as twin
from helpers.rounding import last_bit

X = np.array([[0.6, 0.6, 0.6, 1.5, 0, 0.3], [1.2, -0.4, 0.9, 0.2, 2.5, 0]], np.float32).T[
    :, None
]  # [T, 1, 2]

LEAKY = {"beta": 0.9}
SYNAPTIC = {"alpha": 0.5, "beta": 0.9}
ALPHA = {"alpha": 0.9, "beta": 0.8}
FEEDBACK = {"V": [0.5, -0.5], "all_to_all": False}

OPTIONS: dict[str, dict[str, Any]] = {
    "Leaky": LEAKY,
    "Synaptic": SYNAPTIC,
    "Alpha": ALPHA,
    "RLeaky": {**LEAKY, **FEEDBACK},
    "RSynaptic": {**SYNAPTIC, **FEEDBACK},
}


def parsed(trace: str) -> np.ndarray:
    """``[T, 1, 2]`` from "neuron 0 | neuron 1"."""
    return np.array([[float(v) for v in half.split()] for half in trace.split("|")], np.float32).T[:, None]


def golden() -> dict[str, dict[str, np.ndarray]]:
    """The traces of ``golden.txt`` by their heading."""
    found: dict[str, dict[str, np.ndarray]] = {}
    heading = ""
    for line in (Path(__file__).parent / "golden.txt").read_text().splitlines():
        if line.startswith("  "):
            state, trace = line.split(":")
            found[heading][state.strip()] = parsed(trace)
        elif line and not line.startswith("#"):
            heading = line
            found[heading] = {}
    return found


def check(trace: twin.Traces, expected: twin.Traces, case: str) -> None:
    """Spikes are the same, states to the digits that were printed."""
    assert np.array_equal(trace["spk"], expected["spk"]), case
    for state in expected:
        np.testing.assert_allclose(trace[state], expected[state], 3e-7, 1e-7, err_msg=f"{case}: {state}")


def test_there_are_traces():
    assert len(golden()) == 24


@last_bit
@pytest.mark.parametrize("kind", OPTIONS)
def test_traces(kind):
    headings = [h for h in golden() if h.split()[0] == kind]
    modules = []
    for heading in headings:
        _, reset, *delay = heading.split()
        late = {"reset_delay": delay == ["reset_delay=True"]} if delay else {}
        modules.append(getattr(twin.snn, kind)(**OPTIONS[kind], reset_mechanism=reset, **late))
    for heading, trace in zip(headings, twin.run_snnax(tuple(modules), X), strict=True):
        check(trace, golden()[heading], heading)


@last_bit
def test_trace_of_dense_recurrence():
    """torch stores the weight [[.25, -.5], [.75, .1]]; the bias acts from the first step on."""
    kernel = np.array([[0.25, 0.75], [-0.5, 0.1]], np.float32)
    variables = {"params": {"recurrent": {"kernel": kernel, "bias": np.array([0.05, -0.05], np.float32)}}}
    expected = {
        "spk": "0 0 1 1 0 0 | 1 0 0 1 1 1",
        "mem": "0.65 0.7350001 1.3115 1.98035 0.582315 0.3740835 "
        "| 1.15 -0.3149999 0.5665001 1.40985 3.568865 2.261979",
    }
    trace = twin.run_snnax((twin.snn.RLeaky(beta=0.9, linear_features=2),), X, variables)[0]
    check(trace, {state: parsed(values) for state, values in expected.items()}, "dense")


def test_traces_of_lapicque():
    x = np.array([6, 6, 6, 15, 0, 3], np.float32).reshape(6, 1, 1)
    expected = {
        "subtract": ([1, 1, 1, 1, 1, 1], [1.2, 1.28, 1.352, 3.2168, 1.89512, 1.305608]),
        "zero": ([1, 0, 1, 0, 0, 0], [1.2, 0, 1.2, 0, 0, 0.6]),
        "none": ([1, 1, 1, 1, 1, 1], [1.2, 2.28, 3.252, 5.9268, 5.33412, 5.400708]),
    }
    modules = tuple(twin.snn.Lapicque(R=2, C=5, reset_mechanism=reset) for reset in expected)
    for (reset, (spk, mem)), trace in zip(expected.items(), twin.run_snnax(modules, x), strict=True):
        assert trace["spk"].ravel().tolist() == spk, reset
        np.testing.assert_allclose(trace["mem"].ravel(), mem, rtol=3e-7, err_msg=reset)


def test_trace_of_lapicque_with_a_capacitance_that_follows_from_beta():
    trace = twin.run_snnax((twin.snn.Lapicque(beta=0.9),), X[:, :, :1])[0]
    expected = [0.06321634, 0.1197722, 0.1703692, 0.3104599, 0.2777496, 0.2800939]
    np.testing.assert_allclose(trace["mem"].ravel(), expected, rtol=3e-7)


def test_trace_of_inhibition():
    """Losers above threshold emit nothing, but are reset all the same."""
    x = np.array([[[1.5, 2, 0.5]], [[0, 0, 0]]], np.float32)
    trace = twin.run_snnax((twin.snn.Leaky(beta=1, inhibition=True),), x)[0]
    assert trace["spk"].reshape(2, 3).tolist() == [[0, 1, 0], [0, 0, 0]]
    assert trace["mem"].reshape(2, 3).tolist() == [[1.5, 2, 0.5], [0.5, 1, 0.5]]


def test_trace_of_a_two_bit_state():
    from snnax.neurons.quantize import NearestLevel

    levels = tuple(np.linspace(np.float32(-1), np.float32(1.2), 4, dtype=np.float32).tolist())
    module = twin.snn.Leaky(beta=0.9, state_quant=NearestLevel(levels))
    trace = twin.run_snnax((module,), X[:, :, :1])[0]
    expected = [0.4666667, 1.2, 0.4666667, 1.2, -0.2666667, -0.2666667]
    np.testing.assert_allclose(trace["mem"].ravel(), expected, rtol=3e-7)
    assert trace["spk"].ravel().tolist() == [0, 1, 0, 1, 0, 0]


@pytest.mark.parametrize(
    ("kind", "reset", "late", "expected"),
    [
        ("Leaky", "subtract", True, [2.65029, 2.513959, 1.862276, 1.602444, 1.689125, 0.952154]),
        ("Leaky", "subtract", False, [0.903426, 0.935855, 0.671403, 0.25326, 0.218207, 0.147336]),
        ("Leaky", "zero", True, [1.141846, 0.837911, 0.464815, 0.085653, 0.246212, 0.171347]),
        ("Leaky", "zero", False, [0.716961, 0.476717, 0.420141, 0.046934, 0.246212, 0.171347]),
        ("Synaptic", "subtract", True, [2.038953, 1.494685, 0.980738, 0.493115, 0.373361, 0.203889]),
    ],
)
def test_gradients_by_the_input(kind, reset, late, expected):
    module = getattr(twin.snn, kind)(**OPTIONS[kind], reset_mechanism=reset, reset_delay=late)
    gradient = jax.grad(lambda x: twin.scan((module,), {}, x)[0]["spk"].sum())(jnp.asarray(X[:, :, :1]))
    np.testing.assert_allclose(gradient.ravel(), expected, rtol=1e-5, atol=1e-6)


def test_gradients_by_beta_and_threshold():
    module = twin.snn.Leaky(beta=0.9, learn_beta=True, learn_threshold=True)
    x = jnp.asarray(X[:, :, :1])
    gradient = jax.grad(lambda v: twin.scan((module,), v, x)[0]["spk"].sum())(twin.weights(module, x[0]))
    np.testing.assert_allclose(gradient["params"]["beta"], 8.935896, rtol=1e-5)
    np.testing.assert_allclose(gradient["params"]["threshold"], -7.063687, rtol=1e-5)
