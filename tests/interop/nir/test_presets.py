"""Presets against the frameworks that they are named after: their own neurons, on random recurrent networks."""

from __future__ import annotations

import itertools
import warnings

import jax
import jax.numpy as jnp
import nir
import numpy as np
import pytest
import torch

import snnax as snn
from snnax import interop
from snnax.errors import ArgumentError, ConversionError
from snnax.interop.nir.readings import reading
from snnax.interop.simulator import simulate

snntorch = pytest.importorskip("snntorch")

DT, N, T, B = 1e-4, 6, 60, 3


def neuron(kind, beta, alpha, theta, zero=True):
    """One of NIR's neurons that adds its input as it is."""
    one = np.ones(N, np.float32)
    tau, tau_syn = DT / (1 - beta), DT / (1 - alpha)
    if kind == "IF":
        return nir.IF(one, one * theta, one * 0)
    if kind == "LIF":
        return nir.LIF(one * tau, one * tau / DT, one * 0, one * theta, one * 0)
    return nir.CubaLIF(
        one * tau_syn, one * tau, one * tau / DT, one * 0, one * theta, one * 0, one * tau_syn / DT
    )


def recurrent(seed, kinds):
    """``fc -> neuron (with weights on a loop) -> fc -> neuron ...``, beta 3/4, alpha 1/2; and what it is made of."""
    rng = np.random.default_rng(seed)
    nodes, edges, parts, last = {"input": nir.Input({"input": np.array([N])})}, [], [], "input"
    for i, kind in enumerate(kinds):
        weight, back = (rng.normal(0, s, (N, N)).astype(np.float32) for s in (0.7, 0.5))
        bias = rng.uniform(0, 0.5, N).astype(np.float32)
        nodes |= {
            f"fc{i}": nir.Affine(weight, bias),
            f"n{i}": neuron(kind, 0.75, 0.5, 0.9),
            f"w{i}": nir.Linear(back),
        }
        edges += [(last, f"fc{i}"), (f"fc{i}", f"n{i}"), (f"n{i}", f"w{i}"), (f"w{i}", f"n{i}")]
        parts.append((weight, bias, back))
        last = f"n{i}"
    nodes["output"] = nir.Output({"output": np.array([N])})
    graph = nir.NIRGraph(nodes, [*edges, (last, "output")], type_check=False)
    return graph, parts, rng.uniform(-0.5, 2.0, (T, B, N)).astype(np.float32)


def both(graph, x, **how):
    """The model's spikes; the referee's are the same."""
    model, variables = interop.from_nir(graph, **how)
    found = np.asarray(snn.unroll(model, variables, x)[0])
    np.testing.assert_array_equal(simulate(graph, x, **how).outputs[0], found)
    again = interop.from_nir(interop.to_nir(model, variables))
    np.testing.assert_array_equal(snn.unroll(*again, x)[0], found)
    assert interop.crossvalidate(graph, (model, variables), x, reading=reading(**how)).agree
    return found


SPYX = {"LIF": "RLIF", "IF": "RIF", "CubaLIF": "RCuBaLIF"}


@pytest.mark.parametrize("kinds", [("LIF",), ("IF",), ("CubaLIF",), ("LIF", "CubaLIF"), ("CubaLIF", "IF")])
def test_spyx_gives_what_its_own_recurrent_neurons_give(kinds):
    spyx = pytest.importorskip("spyx.nn", reason="spyx is not installed: pip install spyx==1.0.0")
    from flax import nnx

    graph, parts, x = recurrent(len(kinds) + len(kinds[0]), kinds)
    signal = jnp.asarray(x)
    for kind, (weight, bias, back) in zip(kinds, parts, strict=True):
        decays = {"LIF": {"beta": 0.75}, "IF": {}, "CubaLIF": {"alpha": 0.5, "beta": 0.75}}[kind]
        theirs = getattr(spyx, SPYX[kind])((N,), threshold=np.float32(0.9), rngs=nnx.Rngs(0), **decays)
        theirs.recurrent_w[...] = jnp.asarray(back.T)
        with jax.numpy_rank_promotion("allow"):
            signal = spyx.run(theirs, signal @ weight.T + bias)[0]
    assert 0.05 < float(signal.mean()) < 0.95
    np.testing.assert_array_equal(both(graph, x, preset="spyx"), signal)


def test_spyx_by_hand_on_a_recurrent_neuron():
    """Its spike of a step follows from the membrane before it, and is in that step's feedback."""
    graph, [(weight, bias, back)], x = recurrent(3, ("LIF",))
    v, found = np.zeros((B, N)), []
    for frame in x.astype(np.float64):
        s = (v > np.float32(0.9)).astype(np.float64)
        v = 0.75 * v + frame @ weight.T + bias + s @ back.T - s * np.float32(0.9)
        found.append(s)
    np.testing.assert_array_equal(both(graph, x, preset="spyx"), np.stack(found))
    later = interop.from_nir(graph, preset="spyx", feedback="next_step")
    assert not np.array_equal(snn.unroll(*later, x)[0], np.stack(found))


def their_neuron(kind, weight, back):
    common = {"threshold": 0.9, "reset_mechanism": "subtract", "reset_delay": False}
    beta = 1.0 if kind == "IF" else 0.75
    if back is None:
        return snntorch.Leaky(beta, **common) if kind != "CubaLIF" else snntorch.Synaptic(0.5, beta, **common)
    cell = snntorch.RLeaky(beta, linear_features=N, **common)
    with torch.no_grad():
        cell.recurrent.weight.copy_(torch.as_tensor(back))
        cell.recurrent.bias.zero_()
    return cell


@pytest.mark.parametrize("kinds", [("LIF",), ("IF",), ("LIF", "LIF", "IF")])
def test_snntorch_subtracts_what_its_own_recurrent_neurons_subtract(kinds):
    graph, parts, x = recurrent(11 + len(kinds), kinds)
    signal = torch.as_tensor(x)
    with torch.no_grad():
        for kind, (weight, bias, back) in zip(kinds, parts, strict=True):
            cell, found = their_neuron(kind, weight, back), []
            spk, mem = cell.init_rleaky()
            for frame in signal @ torch.as_tensor(weight).T + torch.as_tensor(bias):
                spk, mem = cell(frame, spk, mem)
                found.append(spk)
            signal = torch.stack(found)
    found = both(graph, x, preset="snntorch", reset="subtract")
    np.testing.assert_array_equal(found, signal.numpy())
    clean = interop.from_nir(graph, preset="snntorch", reset="subtract", overshoot="nir")
    assert not np.array_equal(snn.unroll(*clean, x)[0], found)


@pytest.mark.parametrize("kind", ["LIF", "CubaLIF", "IF"])
@pytest.mark.parametrize("reset", ["zero", "subtract"])
@pytest.mark.parametrize("theta", [0.6, -0.3])
def test_snntorch_reads_neurons_without_loops_as_its_own(kind, reset, theta):
    x = np.random.default_rng(0).uniform(-1.5, 2, (T, B, N)).astype(np.float32)
    common = {"threshold": theta, "reset_mechanism": reset, "reset_delay": False}
    beta = 1.0 if kind == "IF" else 0.75
    cell = snntorch.Synaptic(0.5, beta, **common) if kind == "CubaLIF" else snntorch.Leaky(beta, **common)
    state, found = (torch.zeros(B, N),) * (2 if kind == "CubaLIF" else 1), []
    for frame in torch.as_tensor(x):
        spk, *state = cell(frame, *state)
        found.append(spk.numpy())
    node = neuron(kind, 0.75, 0.5, theta)
    node.v_reset = node.v_reset - np.float32(0.25)  # snnTorch reads none
    graph = nir.NIRGraph.from_list(node)
    how = {} if reset == "zero" else {"reset": "subtract"}
    np.testing.assert_array_equal(both(graph, x, preset="snntorch", **how), np.stack(found))


def test_rsynaptic_as_it_was_meant():
    """snnTorch 1.0.0 raises here: by its equations, R*theta while charging, (S - R)*theta after firing."""
    graph, [(weight, bias, back)], x = recurrent(5, ("CubaLIF",))
    syn = mem = spk = np.zeros((B, N))
    theta, found = float(np.float32(0.9)), []
    for frame in x.astype(np.float64):
        due = (mem > theta).astype(float)
        syn = 0.5 * syn + frame @ weight.T + bias + spk @ back.T
        mem = 0.75 * mem + syn - due * theta
        spk = (mem > theta).astype(float)
        mem = mem - (spk - due) * theta
        found.append(spk)
    np.testing.assert_array_equal(both(graph, x, preset="snntorch", reset="subtract"), np.stack(found))


def test_readings_that_nothing_can_run_are_refused():
    one = np.ones(2, np.float32)
    leak = nir.NIRGraph.from_list(nir.LIF(one * 1e-3, one * 10, one * 0.1, one))
    with pytest.raises(ConversionError, match="overshoot='nir'"):
        interop.from_nir(leak, preset="snntorch", reset="subtract")
    with pytest.raises(ConversionError, match="overshoot='nir'"):
        interop.from_nir(leak, preset="snntorch", reset="subtract", discretization="exact")
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        interop.from_nir(leak, preset="snntorch")
    for choices in ({"feedback": "same_step"}, {"overshoot": "snntorch", "threshold": "before"}):
        with pytest.raises(ArgumentError):
            reading(**choices)


# --- thresholds at, below and above the reset ---------------------------------------------------------------------

SIGNS = list(itertools.product((-0.75, -0.25, 0.0, 0.5), (-0.5, 0.0, 0.25)))


@pytest.mark.parametrize("kind", ["LIF", "IF", "CubaLIF"])
@pytest.mark.parametrize(
    "how", [{}, {"threshold": "before"}, {"reset_delay": True}, {"reset": "subtract"}], ids=str
)
def test_thresholds_of_either_sign_compute_the_equations(kind, how):
    """Each pair of a threshold and a reset, and one layer that mixes them."""
    x = np.random.default_rng(1).uniform(-1.5, 1.5, (20, 2, N)).astype(np.float32)
    rng = np.random.default_rng(2)
    mixed = (rng.choice([-0.25, 0.5], N), np.full(N, -0.5))
    for theta, reset in (*SIGNS, mixed, (rng.choice([-0.25, 0.5], N), np.zeros(N))):
        node = neuron(kind, 0.75, 0.5, 1.0)
        node.v_threshold = (np.zeros(N) + theta).astype(np.float32)
        node.v_reset = (np.zeros(N) + reset).astype(np.float32)
        graph = nir.NIRGraph.from_list(node)
        model, variables = interop.from_nir(graph, **how)
        expected = simulate(graph, x, **how).outputs[0]
        np.testing.assert_array_equal(snn.unroll(model, variables, x)[0], expected)
