"""The kernels of neurons, interpreted on the CPU: the scan's spikes bit for bit, its gradients, and what has none."""

from __future__ import annotations

from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from helpers.kernels import QUICK, TRITON, B, N, T, agree, by_rows, noise, with_gradient
from jax import lax

from snnax import surrogate
from snnax.dynamics import alpha, elementwise, fused, kernel, lapicque, leaky, loops, sequence, synaptic
from snnax.dynamics.firing import RESET_MECHANISMS, FiringRule

NEURONS: dict[str, tuple[Any, tuple[float, ...], int]] = {
    "leaky": (leaky.charge, (0.9,), 1),
    "synaptic": (synaptic.charge, (0.9, 0.8), 2),
    "alpha": (alpha.charge, (0.9, 0.8), 3),
    "lapicque": (lapicque.charge, (5.1, 2.2, 1.0), 1),
}


@pytest.fixture(autouse=True)
def one_ahead(monkeypatch):
    monkeypatch.setattr(kernel, "AHEAD", 1)  # shorter programs


def inputs(name="leaky", steps=T):
    """Parameters, the threshold last, of which some are one for each neuron; state; input."""
    _, values, states = NEURONS[name]
    given = [
        jnp.float32(v) if i % 2 else jnp.linspace(v, v + 0.05, N)[None] for i, v in enumerate((*values, 0.7))
    ]
    return given, tuple(noise(9 + i, B, N) for i in range(states)), noise(1, steps, B, N)


def neuron(monkeypatch, how, name="leaky", reset="subtract", *, fixed=False, spike=None, **options):
    """``(parameters, state, x)`` to what :func:`sequence.run` returns, by the kernel ``how``."""
    rule = FiringRule(np.float32(0.7), spike or surrogate.atan(), reset)
    constants = tuple(np.asarray(v, np.float32) for v in NEURONS[name][1])

    def call(given, state, x):
        own, threshold = (constants, rule.threshold) if fixed else (tuple(given[:-1]), given[-1])
        charging = sequence.Charging(
            NEURONS[name][0], rule._replace(threshold=threshold), own, scales_input=name == "lapicque"
        )
        monkeypatch.setattr(fused, "kernel_here", lambda: how)
        done = sequence.run(
            charging, state, None, x, **{"every": False, "short": False, "kernel": True, **options}
        )
        return done.last, done.spk, [s for s in done.states if s is not None] if options.get("every") else []

    return call


def by_scan(monkeypatch, wrap, args, **options):
    with jax.disable_jit():
        return wrap(neuron(monkeypatch, None, **options))(*args)


def by_program(monkeypatch, wrap, args, **options):
    monkeypatch.setattr(loops, "run_blocks", by_rows)
    with jax.disable_jit():
        return wrap(neuron(monkeypatch, "interpret", **options))(*args)


def by_kernel(monkeypatch, wrap, args, **options):
    return jax.jit(wrap(neuron(monkeypatch, "interpret", **options))).lower(*args).compile(QUICK)(*args)


def check(monkeypatch, run, name, **options):
    """Bit for bit forward, to rounding backward."""
    args = inputs(name)
    scan = by_scan(monkeypatch, with_gradient, args, name=name, **options)
    found = run(monkeypatch, with_gradient, args, name=name, **options)
    assert 0 < np.mean(scan[0][1]) < 1
    agree(scan[0], found[0], 0)
    agree(scan[1], found[1])


@pytest.mark.parametrize("reset", RESET_MECHANISMS)
@pytest.mark.parametrize("name", NEURONS)
def test_programs_are_the_scan(monkeypatch, name, reset):
    check(monkeypatch, by_program, name, reset=reset, every=reset == "none")


@pytest.mark.parametrize(
    ("name", "reset", "fixed"),
    [
        ("leaky", "subtract", False),
        ("synaptic", "none", True),
        ("alpha", "subtract", False),
        ("lapicque", "zero", True),
    ],
)
def test_kernels_are_the_scan(monkeypatch, name, reset, fixed):
    check(monkeypatch, by_kernel, name, reset=reset, fixed=fixed, every=fixed)


def test_steps_ahead_and_short_residuals(monkeypatch):
    """Six steps: the first, two chunks of two, and one of the rest."""
    monkeypatch.setattr(kernel, "AHEAD", 2)
    given, _, x = inputs(steps=6)
    args = (given, (jnp.zeros((B, N)),), x)
    scan = by_scan(monkeypatch, with_gradient, args, short=True, fixed=True, reset="zero")
    found = by_kernel(monkeypatch, with_gradient, args, short=True, fixed=True, reset="zero")
    agree(scan[0], found[0], 0)
    agree(scan[1], found[1])


def derivative_forward(function):
    return lambda *args: jax.jvp(function, args, jax.tree.map(jnp.cos, args))


def second_derivative(function):
    def slope(x, given, state):
        return jax.grad(lambda x: jnp.sin(function(given, state, x)[1] * x).sum())(x)

    return lambda given, state, x: jax.jvp(lambda x: slope(x, given, state), (x,), (jnp.cos(x),))


def mapped(function):
    """With a batch axis of its own for each sample."""
    each = jax.vmap(with_gradient(function), (None, 0, 1))
    return lambda given, state, x: each(given, tuple(s[:, None] for s in state), x[:, :, None])


def checkpointed(function):
    policy = jax.checkpoint_policies.save_only_these_names(sequence.KEPT)
    return with_gradient(jax.checkpoint(function, policy=policy))


@pytest.mark.parametrize(
    ("wrap", "run"),
    [
        (derivative_forward, by_program),
        (second_derivative, by_program),
        (mapped, by_kernel),
        (checkpointed, by_program),
    ],
)
def test_transformations_are_those_of_the_scan(monkeypatch, wrap, run):
    args = inputs(steps=3)
    scan, found = (way(monkeypatch, wrap, args, fixed=run is by_kernel) for way in (by_scan, run))
    agree(scan, found)


def test_a_checkpoint_keeps_one_array(monkeypatch):
    args = inputs()
    policy = jax.checkpoint_policies.save_only_these_names(sequence.KEPT)
    call = jax.checkpoint(neuron(monkeypatch, "interpret", fixed=True), policy=policy)
    text = str(jax.make_jaxpr(lambda *a: jax.vjp(lambda x: call(*a[:2], x)[1], a[2]))(*args))
    assert text.count(f"name={sequence.KEPT}") == 1


def test_a_checkpoint_runs_no_kernel_again(monkeypatch):
    """Not even if the spikes are needed again."""
    policy = jax.checkpoint_policies.save_only_these_names(sequence.KEPT)
    call = neuron(monkeypatch, "cuda", fixed=True)
    energy = jax.checkpoint(lambda *args: (call(*args)[1] ** 2).sum(), policy=policy)
    text = jax.jit(jax.grad(energy, 2)).trace(*inputs()).lower(lowering_platforms=("cuda",)).as_text()
    assert text.count(TRITON) == 2


@pytest.mark.parametrize(("every", "steps"), [(False, 1), (True, 4)])
def test_lowered_for_a_gpu_it_is_one_kernel_for_each_direction(monkeypatch, every, steps):
    args = inputs("alpha", steps)
    call = neuron(monkeypatch, "cuda", "alpha", every=every)
    for wrapped, kernels in ((call, 1), (with_gradient(call), 2), (mapped(call), 2)):
        traced = jax.jit(wrapped).trace(*args)
        on_gpu = traced.lower(lowering_platforms=("cuda",)).as_text()
        assert on_gpu.count(TRITON) == kernels
        assert "while" not in on_gpu
    on_cpu = traced.lower(lowering_platforms=("cpu",)).as_text()
    assert TRITON not in on_cpu and "while" in on_cpu


@pytest.mark.parametrize(
    ("change", "dtype"),
    [
        ({}, jnp.bfloat16),
        ({"spike": surrogate.SSO()}, jnp.float32),
        ({"spike": lambda above: (above > above.mean()).astype(above.dtype)}, jnp.float32),
    ],
    ids=["bfloat16", "noise from the whole array", "neurons that mix"],
)
def test_the_scan_runs_what_no_kernel_can(monkeypatch, change, dtype):
    args = jax.tree.map(lambda v: v.astype(dtype), inputs())
    call = neuron(monkeypatch, "cuda", **change)
    text = jax.jit(with_gradient(call)).trace(*args).lower(lowering_platforms=("cuda",)).as_text()
    assert TRITON not in text and "while" in text


def test_what_a_device_takes(monkeypatch):
    assert fused.kernel_here() is None
    device = type("Device", (), {"compute_capability": "9.0"})()
    monkeypatch.setattr(jax, "default_backend", lambda: "gpu")
    monkeypatch.setattr(jax, "devices", lambda: [device])
    assert fused.kernel_here() == "cuda"
    device.compute_capability = "7.5"
    assert fused.kernel_here() is None
    device.compute_capability = "9.0"
    monkeypatch.setattr(jax, "device_count", lambda: 2)
    assert fused.kernel_here() is None


def test_blocks_are_large_only_if_there_are_many():
    assert [kernel.block_size(n) for n in (1, 8_000, 100_000, 300_000, 16_000_000)] == [64, 64, 128, 512, 512]


def test_programs_refuse_what_is_not_elementwise():
    row = jax.ShapeDtypeStruct((B, N), jnp.float32)
    for function in (jnp.sort, jnp.sum, lambda v: v[::-1], lambda v: lax.cumsum(v), lambda v: v.T):
        with pytest.raises(elementwise.NotElementwiseError):
            elementwise.program(function, row)
