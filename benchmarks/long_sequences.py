"""Neurons that take whole sequences, over 4096 steps: forward and gradient beside Leaky's loop and snnTorch.

    python -m benchmarks.long_sequences [--steps 4096] [--batch 8] [--rounds 3] [--mallopt]

One core, CPU time, in turn in one process, medians. ``StateLeaky`` and ``Leaky`` have ``--neurons`` neurons and get the
same input; ``AssociativeLeaky`` has 64 of 8 values and 8 keys, after an input of 64 numbers. Memory is how far the
resident memory rises during one step above what it is before, over the neurons and steps.
"""

from __future__ import annotations

import argparse
import statistics
import warnings
from collections.abc import Callable
from typing import Any

from benchmarks import measuring

KEYS = 8
INPUTS = 64


def by_snnax(net: Any, x: Any) -> Callable[[], object]:
    """Forward and gradient by the weights and the input: of a neuron that takes sequences, or in ``unroll``."""
    import jax
    import jax.numpy as jnp

    import snnax as snn

    loops = not getattr(net, "sequence", False)
    given = jnp.asarray(x)
    variables = net.init(jax.random.key(0), given[0] if loops else given)
    rest = {name: value for name, value in variables.items() if name not in ("params", "hidden")}

    @jax.jit
    def step(params: Any, x: jax.Array) -> Any:
        def loss(params: Any, x: jax.Array) -> jax.Array:
            held = {"params": params, **rest}
            out = snn.unroll(net, held, x)[0] if loops else net.apply(held, x)
            return sum((part**2).sum() for part in jax.tree.leaves(out))

        return jax.value_and_grad(loss, argnums=(0, 1))(params, x)

    params = variables.get("params", {})
    return lambda: jax.block_until_ready(step(params, given))


def by_torch(net: Any, x: Any) -> Callable[[], object]:
    import torch

    given = torch.from_numpy(x).requires_grad_()

    def step() -> object:
        net.zero_grad()
        given.grad = None
        out = net(given)
        parts = out if isinstance(out, tuple) else (out,)
        sum((part**2).sum() for part in parts).backward()
        return given.grad

    return step


def candidates(steps: int, batch: int, neurons: int) -> dict[str, tuple[Callable[[], object], int]]:
    """Steps, and how many neurons each has."""
    import numpy as np
    import snntorch

    import snnax as snn

    rng = np.random.default_rng(0)
    wide = rng.normal(size=(steps, batch, neurons)).astype(np.float32)
    narrow = rng.normal(size=(steps, batch, INPUTS)).astype(np.float32)
    sizes = {"in_dim": INPUTS, "d_value": KEYS, "d_key": KEYS, "num_spiking_neurons": KEYS * KEYS}
    state = {"beta": 0.9, "channels": neurons}
    return {
        "Leaky in unroll": (by_snnax(snn.Leaky(beta=0.9, init_hidden=True, output=True), wide), neurons),
        "StateLeaky": (by_snnax(snn.StateLeaky(**state), wide), neurons),
        "StateLeaky, snnTorch": (by_torch(snntorch.StateLeaky(**state), wide), neurons),
        "AssociativeLeaky": (by_snnax(snn.AssociativeLeaky(**sizes), narrow), KEYS * KEYS),
        "AssociativeLeaky, snnTorch": (by_torch(snntorch.AssociativeLeaky(**sizes), narrow), KEYS * KEYS),
    }


def main() -> None:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--steps", type=int, default=4096)
    parser.add_argument("--batch", type=int, default=8)
    parser.add_argument("--neurons", type=int, default=256)
    parser.add_argument("--rounds", type=int, default=3)
    parser.add_argument("--mallopt", action="store_true", help="let glibc keep freed pages, for all")
    given = parser.parse_args()
    warnings.simplefilter("ignore")
    measuring.pin(1)
    if given.mallopt and not measuring.keep_pages():
        print("mallopt: no glibc here")
    print(measuring.heading(), flush=True)
    made = candidates(given.steps, given.batch, given.neurons)
    for step, _ in made.values():
        step()
    times = measuring.in_turn({name: step for name, (step, _) in made.items()}, given.rounds, cores=1)
    print(f"{'':28}{'CPU ms':>10}{'bytes per neuron and step':>28}")
    for name, taken in times.items():
        step, neurons = made[name]
        peak = measuring.peak_of(step)
        each = "-" if peak is None else f"{peak / (given.steps * given.batch * neurons):.1f}"
        print(f"{name:28}{1000 * statistics.median(taken):10.1f}{each:>28}")


if __name__ == "__main__":
    main()
