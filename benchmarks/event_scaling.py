"""What a sample costs event by event, over its events and over its duration, beside the same neurons in time steps.

    python -m benchmarks.event_scaling [--rounds 5] [--dt 5e-4] [--limit 4]

One layer of 100 neurons with 100 inputs, 32 samples, several spikes per neuron, spikes and the gradient in the weights:
microseconds of CPU per sample on one thread. The inputs of a line are so many spikes, spread over its duration, with
weights that keep the neurons at a few spikes each. In time steps ("dense", snnax's ``CubaLIF`` of the same equation)
all inputs of a step are one product of matrices, whatever their number; event by event each is a step of its own.
"""

from __future__ import annotations

import argparse
import os
import statistics
import time
from collections.abc import Callable
from typing import Any

from benchmarks import measuring

BATCH, INPUTS, NEURONS = 32, 100, 100
EVENTS, DURATIONS = (25, 100, 400), (20e-3, 80e-3, 320e-3)
FIXED_EVENTS, FIXED_DURATION = 100, 20e-3


def times_of(events: int, duration: float) -> Any:
    """Times ``[B, N, K]`` of so many input spikes."""
    import numpy as np

    random = np.random.default_rng(0)
    per_input = max(1, events // INPUTS)
    times = random.uniform(0, duration, (BATCH, INPUTS, per_input))
    times[:, : INPUTS - events // per_input] = np.inf
    return np.sort(times, -1).astype(np.float32)


def weights_of(events: int) -> Any:
    """Weights with which the sum of all inputs is the same, however many there are."""
    import numpy as np

    random = np.random.default_rng(1)
    return (random.normal(1, 2, (INPUTS, NEURONS)) * 25 / events).astype(np.float32)


def by_events(events: int, duration: float, limit: int) -> tuple[Callable[[], Any], str]:
    import jax
    import jax.numpy as jnp

    from snnax import event

    inputs, weights = event.trains(times_of(events, duration)), jnp.asarray(weights_of(events))

    def total(weights: Any) -> Any:
        found = event.lif_spikes(inputs, weights, event.LIFParameters(), t_max=duration, max_spikes=limit)
        return jnp.sum(jnp.where(found.times < jnp.inf, found.times, 0)), found

    step = jax.jit(jax.value_and_grad(total, has_aux=True))
    (_, found), _ = step(weights)
    spikes = float(event.count(found).sum(1).mean())
    told = f"{spikes:.0f} spikes, {float(found.overflow.mean()):.0%} of neurons over the budget"
    return lambda: jax.block_until_ready(step(weights)), told


def in_steps(events: int, duration: float, dt: float) -> Callable[[], Any]:
    import flax.linen as nn
    import jax
    import jax.numpy as jnp

    import snnax as snn
    from snnax import event

    raster = event.to_raster(event.trains(times_of(events, duration)), dt, round(duration / dt))
    options = {"discretization": "exact", "w_in_scaling": "impulse", "init_hidden": True, "output": True}
    neurons = snn.CubaLIF(tau_syn=5e-3, tau_mem=10e-3, dt=dt, **options)
    net = snn.Sequential([nn.Dense(NEURONS, use_bias=False), neurons])

    def total(weights: Any) -> Any:
        outputs, _ = snn.unroll(net, {"params": {"layers_0": {"kernel": weights}}}, raster)
        return jnp.sum(outputs[0])

    step, weights = jax.jit(jax.value_and_grad(total)), jnp.asarray(weights_of(events))
    step(weights)
    return lambda: jax.block_until_ready(step(weights))


def measured(call: Callable[[], Any], rounds: int) -> float:
    """Microseconds of CPU per sample."""
    return 1e6 * statistics.median(measuring.taken(call, time.process_time, 3) for _ in range(rounds)) / BATCH


def main() -> None:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--rounds", type=int, default=5)
    parser.add_argument("--dt", type=float, default=5e-4, help="of the dense engine, in seconds")
    parser.add_argument("--limit", type=int, default=4, help="budget of spikes per neuron")
    given = parser.parse_args()
    measuring.pin(1)
    os.environ["XLA_FLAGS"] = f"{os.environ.get('XLA_FLAGS', '')} --xla_cpu_multi_thread_eigen=false"
    print(measuring.heading())
    print(f"microseconds per sample; dense with dt {given.dt * 1e3:g} ms")
    lines = [(events, FIXED_DURATION) for events in EVENTS]
    lines += [(FIXED_EVENTS, duration) for duration in DURATIONS if duration != FIXED_DURATION]
    for events, duration in lines:
        call, told = by_events(events, duration, given.limit)
        own = measured(call, given.rounds)
        dense = measured(in_steps(events, duration, given.dt), given.rounds)
        print(
            f"{events:4d} inputs in {duration * 1e3:4.0f} ms: by events {own:7.1f}, dense {dense:7.1f}; "
            f"{'events' if own < dense else 'dense'} {max(own, dense) / min(own, dense):.1f} x; {told}",
            flush=True,
        )


if __name__ == "__main__":
    main()
