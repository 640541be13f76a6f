"""Against snnTorch where rounding matters: float64, exact hits of the threshold, and logarithms."""

from __future__ import annotations

from typing import Any

import jax
import numpy as np
import pytest
from helpers import neurons as twin
from helpers.rounding import last_bit

SINGLE = {"alpha": 0.55, "beta": 0.9, "threshold": 0.8, "V": -0.3, "R": 3.0, "C": 2.0, "time_step": 0.7}


def single(kind: str) -> dict[str, Any]:
    """Numbers as snnTorch's float32 buffers hold them, exact in double precision."""
    names = [*twin.SMALL[kind], "threshold"]
    shared = {n: float(np.float32(SINGLE[n])) for n in names if n in SINGLE}
    if kind == "Alpha":
        shared |= {"alpha": float(np.float32(0.9)), "beta": float(np.float32(0.8)), "threshold": 0.5}
    return shared | ({"all_to_all": False} if kind.startswith("R") else {})


def per_neuron(options: dict[str, Any], n: int) -> dict[str, Any]:
    """The numbers as arrays around them, in double precision."""
    rng = np.random.default_rng(2)
    return {k: v if isinstance(v, bool) else v * rng.uniform(0.97, 1.03, n) for k, v in options.items()}


@last_bit
@pytest.mark.parametrize("form", ["scalar", "array"])
@pytest.mark.parametrize("kind", twin.STATES)
def test_float64_is_the_same_to_the_last_bit(kind, form):
    twin.snntorch()
    x = twin.current((50, 100, 200), dtype=np.float64)
    options = single(kind)
    theirs, attributes = options, {}
    if form == "array":
        options = per_neuron(options, 200)
        theirs, attributes = (options, {}) if kind != "Lapicque" else (single(kind), options)
    resets = ("subtract", "zero")
    with jax.enable_x64(True):
        modules = tuple(getattr(twin.snn, kind)(**options, reset_mechanism=r) for r in resets)
        traces = twin.run_snnax(modules, x)
    for reset, trace in zip(resets, traces, strict=True):
        neuron = twin.torch_neuron(kind, attributes, **theirs, reset_mechanism=reset).double()
        assert trace["mem"].dtype == np.float64
        ulp = 2 if kind == "Alpha" else 0  # its gain is a ratio of logarithms
        twin.assert_same(trace, twin.run_snntorch(kind, neuron, x), reset, ulp)


@pytest.mark.parametrize("kind", twin.STATES)
def test_a_membrane_at_threshold_does_not_spike(kind):
    """Inputs, decays and threshold are dyadic: membranes meet the threshold exactly, thousands of times."""
    twin.snntorch()
    dyadic = {"alpha": 0.5, "beta": 0.5, "V": 0.25, "R": 1.0, "C": 2.0, "time_step": 1.0}
    options = {n: dyadic.get(n, v) for n, v in twin.SMALL[kind].items()}
    if kind == "Alpha":
        options |= {"alpha": 0.5, "beta": 0.25}  # gain 2
    x = np.random.default_rng(0).integers(-4, 9, (50, 100, 200)).astype(np.float32) / 4
    resets = ("subtract", "zero")
    modules = tuple(getattr(twin.snn, kind)(**{**options, "reset_mechanism": r}) for r in resets)
    for reset, trace in zip(resets, twin.run_snnax(modules, x), strict=True):
        neuron = twin.torch_neuron(kind, **{**options, "reset_mechanism": reset})
        theirs = twin.run_snntorch(kind, neuron, x)
        assert (theirs["mem"] == 1).sum() > 1000
        twin.assert_same(trace, theirs, reset)


def random_pairs(seed: int) -> tuple[np.ndarray, np.ndarray]:
    rng = np.random.default_rng(seed)
    return rng.uniform(0.7, 0.95, 200).astype(np.float32), rng.uniform(0.2, 0.65, 200).astype(np.float32)


@last_bit
@pytest.mark.parametrize("reset", ["subtract", "zero", "none"])
def test_alpha_with_any_decays_is_the_same_but_for_the_rounding_of_its_gain(reset):
    """Two logarithms of 1 ulp each and a ratio that amplifies them: states within 4 ulp of the largest."""
    twin.snntorch()
    x = twin.current((50, 100, 200))
    slow, fast = random_pairs(5)
    module = twin.snn.Alpha(alpha=slow, beta=fast, threshold=0.7, reset_mechanism=reset)
    neuron = twin.torch_neuron("Alpha", alpha=slow, beta=fast, threshold=0.7, reset_mechanism=reset)
    twin.assert_same(twin.run_snnax((module,), x)[0], twin.run_snntorch("Alpha", neuron, x), reset, ulp=4)


@last_bit
@pytest.mark.parametrize("beta", [0.45, 0.6, 0.75, 0.83])
def test_lapicque_with_any_beta_is_the_same_but_for_the_rounding_of_its_capacitance(beta):
    twin.snntorch()
    x = twin.current((50, 100, 200))
    neuron = twin.torch_neuron("Lapicque", beta=beta, threshold=0.1)
    trace = twin.run_snnax((twin.snn.Lapicque(beta=beta, threshold=0.1),), x)[0]
    twin.assert_same(trace, twin.run_snntorch("Lapicque", neuron, x), ulp=4)
