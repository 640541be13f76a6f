"""Neurons of which the kernel knows nothing but their step: the scan's spikes bit for bit, and its gradients."""

from __future__ import annotations

from functools import partial

import flax.linen as nn
import jax
import jax.numpy as jnp
import numpy as np
import pytest
from helpers.kernels import QUICK, TRITON, B, N, T, agree, by_rows, noise, with_gradient

import snnax as snn
from snnax.dynamics import fused, kernel, loops, stepped
from snnax.network import schedule

TIMES = {"dt": 1e-3, "init_hidden": True, "output": True}
RECURRENT = {"all_to_all": False, "init_hidden": True}

NEURONS = {
    "LIF": snn.LIF(5e-3, r=3.0, v_leak=0.1, learn=("tau", "v_threshold"), **TIMES),
    "LIF, array": snn.LIF(np.linspace(2e-3, 9e-3, N), v_reset=-0.5, threshold_test="before", **TIMES),
    "LIF, delayed": snn.LIF(5e-3, reset_mechanism="subtract", reset_delay=True, **TIMES),
    "IF": snn.IF(r=500.0, learn=("r",), **TIMES),
    "CubaLIF": snn.CubaLIF(3e-3, 5e-3, r=5.0, discretization="exact", learn=("tau_mem",), **TIMES),
    "CubaLI": snn.CubaLI(3e-3, 5e-3, **TIMES),
    "Leaky, at once": snn.Leaky(0.9, init_hidden=True, learn_beta=True, reset_delay=False),
    "Synaptic, at once": snn.Synaptic(
        0.9, 0.8, init_hidden=True, reset_mechanism="zero", reset_delay=False, output=True
    ),
    "RLeaky": snn.RLeaky(0.9, V=0.7, **RECURRENT),
    "RSynaptic": snn.RSynaptic(0.9, 0.8, V=np.linspace(-1, 1, N), learn_alpha=True, output=True, **RECURRENT),
}

OTHERS = {
    "all to all": snn.RLeaky(0.9, linear_features=N, init_hidden=True),
    "inhibition": snn.Leaky(0.9, init_hidden=True, inhibition=True),
    "levels": snn.Leaky(0.9, init_hidden=True, state_quant=snn.functional.quant.state_quant(num_bits=2)),
}


@pytest.fixture(autouse=True)
def one_ahead(monkeypatch):
    monkeypatch.setattr(kernel, "AHEAD", 1)


def chunk(monkeypatch, module, how):
    """``(variables, x)`` to what a chunk returns, by the kernel ``how``."""
    for place in (schedule, fused):
        monkeypatch.setattr(place, "kernel_here", lambda: how)
    settings = schedule.Settings(("hidden",), ("record",), kernel=True)
    return lambda variables, x: schedule.run_chunk(module, variables, x, {}, 0, settings)


def started(module, dtype=jnp.float32):
    """Variables, the states with random numbers; and an input of a few steps."""
    x = noise(3, T, B, N).astype(dtype)
    variables = dict(module.init(jax.random.key(0), x[0]))
    variables["hidden"] = jax.tree.map(lambda v: noise(5, *v.shape).astype(dtype), variables["hidden"])
    if "spk" in variables["hidden"]:
        variables["hidden"]["spk"] = (variables["hidden"]["spk"] > 0).astype(dtype)
    return variables, x


def by_scan(monkeypatch, module, wrap):
    with jax.disable_jit():
        return wrap(chunk(monkeypatch, module, None))(*started(module))


@pytest.mark.parametrize("name", NEURONS)
def test_programs_are_the_scan(monkeypatch, name):
    module = NEURONS[name]
    scan = by_scan(monkeypatch, module, with_gradient)
    runs = []
    monkeypatch.setattr(loops, "run_blocks", lambda *args: runs.append(args) or by_rows(*args))
    with jax.disable_jit():
        found = with_gradient(chunk(monkeypatch, module, "interpret"))(*started(module))
    assert len(runs) >= 2, "forward and backward"
    spikes = scan[0][1]["record"].get("spk", jnp.full(1, 0.5))
    assert 0 < np.mean(spikes) < 1
    agree(scan[0], found[0], 0)
    agree(scan[1], found[1], 1e-5)


@pytest.mark.parametrize("name", ["LIF", "CubaLIF", "RLeaky"])
def test_kernels_are_the_scan(monkeypatch, name):
    module = NEURONS[name]
    scan = by_scan(monkeypatch, module, with_gradient)
    args = started(module)
    wrapped = jax.jit(with_gradient(chunk(monkeypatch, module, "interpret")))
    found = wrapped.lower(*args).compile(QUICK)(*args)
    agree(scan[0], found[0], 0)
    agree(scan[1], found[1], 1e-5)


def test_forward_mode_and_checkpoints_are_those_of_the_scan(monkeypatch):
    module = NEURONS["LIF"]

    def several(function):
        def total(*args):
            return sum(jnp.sin(v).sum() for v in jax.tree.leaves(function(*args)))

        keep = jax.checkpoint_policies.save_only_these_names(schedule.KEPT)
        return lambda *args: (
            jax.jvp(function, args, jax.tree.map(jnp.cos, args)),
            jax.grad(jax.checkpoint(total, policy=keep), (0, 1))(*args),
        )

    scan = by_scan(monkeypatch, module, several)
    monkeypatch.setattr(loops, "run_blocks", by_rows)
    with jax.disable_jit():
        found = several(chunk(monkeypatch, module, "interpret"))(*started(module))
    agree(scan, found, 1e-5)


@pytest.mark.parametrize("name", ["LIF, array", "CubaLIF", "Leaky, at once", "RSynaptic"])
def test_lowered_for_a_gpu_it_is_one_kernel_for_each_direction(monkeypatch, name):
    module = NEURONS[name]
    call, args = chunk(monkeypatch, module, "cuda"), started(module)
    for wrapped, kernels in ((call, 1), (with_gradient(call), 2)):
        traced = jax.jit(wrapped).trace(*args)
        text = traced.lower(lowering_platforms=("cuda",)).as_text()
        assert text.count(TRITON) == kernels
        assert "while" not in text
    text = traced.lower(lowering_platforms=("cpu",)).as_text()
    assert TRITON not in text and "while" in text


class Noisy(snn.LIF):
    """A user's neuron that draws random numbers."""

    @nn.compact
    def __call__(self, x, mem=None):
        return super().__call__(x + jax.random.normal(self.make_rng("noise"), x.shape), mem)


@pytest.mark.parametrize(
    ("module", "dtype"),
    [*((module, jnp.float32) for module in OTHERS.values()), (NEURONS["LIF"], jnp.bfloat16)],
    ids=[*OTHERS, "bfloat16"],
)
def test_the_scan_runs_what_no_kernel_can(monkeypatch, module, dtype):
    call, args = chunk(monkeypatch, module, "cuda"), started(module, dtype)
    text = jax.jit(with_gradient(call)).trace(*args).lower(lowering_platforms=("cuda",)).as_text()
    assert TRITON not in text and "while" in text


def test_random_numbers_of_each_step_are_left_to_the_scan(monkeypatch):
    monkeypatch.setattr(schedule, "kernel_here", lambda: "interpret")
    module, x = Noisy(5e-3, **TIMES), noise(3, T, B, N)
    run = partial(
        snn.unroll, module, module.init({"params": jax.random.key(0), "noise": jax.random.key(1)}, x[0])
    )
    how = {"rngs": {"noise": jax.random.key(2)}}
    agree(run(x, **how)[0], run(x, kernel=True, **how)[0], 0)


def test_nothing_to_loop_over():
    step = lambda constants, state, x: (state, x)  # noqa: E731
    for state, x in (
        ({}, noise(0, T, N)),
        (noise(0, N), noise(0, 0, N)),
        (jnp.zeros(N, int), noise(0, T, N)),
    ):
        assert stepped.run(step, (), state, x, "interpret") is None
