"""Milliseconds of one time step that Python calls, beside snnTorch's in the same run: loops as tutorials write them.

    python -m benchmarks.eager_step [--rounds 7] [--cores 1]

A neuron ``spk, mem = lif(x, mem)``; a network by ``apply``, bound to its variables as in torch, by ``snnax.step`` and
by a ``jax.jit`` of ``apply`` written by hand; and the same for a class with layers in ``__init__`` and a ``forward``,
which Python runs each time. Each round measures every line once, in turn; shown are the medians, and the medians of the
rounds' ratios to snnTorch's line of that kind, which runs without gradients.
"""

from __future__ import annotations

import argparse
import copy
import statistics
from collections.abc import Callable
from functools import partial
from typing import Any

from benchmarks import measuring

TIMES = 200
BATCH, INPUTS, HIDDEN, OUTPUTS = 32, 100, 100, 10


def lines() -> dict[str, Callable[[], object]]:
    """What is measured, by name; the names up to the comma are compared."""
    import flax.linen as nn
    import jax
    import jax.numpy as jnp
    import snntorch
    import torch

    import snnax as snn

    torch.set_grad_enabled(False)
    hidden = {"beta": 0.9, "init_hidden": True}
    lif, there = snn.Leaky(beta=0.9), snntorch.Leaky(beta=0.9)
    layers = [nn.Dense(HIDDEN), snn.Leaky(**hidden), nn.Dense(OUTPUTS), snn.Leaky(**hidden, output=True)]
    net = snn.Sequential(layers)
    torch_net = torch.nn.Sequential(
        torch.nn.Linear(INPUTS, HIDDEN), snntorch.Leaky(**hidden),
        torch.nn.Linear(HIDDEN, OUTPUTS), snntorch.Leaky(**hidden, output=True),
    )  # fmt: skip
    x = jnp.full((BATCH, INPUTS), 0.5)
    torch_x = torch.full((BATCH, INPUTS), 0.5)
    mem, torch_mem = jnp.zeros_like(x), torch.zeros_like(torch_x)
    variables = net.init(jax.random.key(0), x)
    bound = net.bind(variables, mutable=["hidden"])
    one, torch_one = jnp.full((1, INPUTS), 0.5), torch.full((1, INPUTS), 0.5)
    torch_stream = copy.deepcopy(torch_net)  # its states are of another batch size
    wait = jax.block_until_ready

    class Written(snn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.fc1, self.lif1 = snn.Linear(INPUTS, HIDDEN), snn.Leaky(**hidden)
            self.fc2, self.lif2 = snn.Linear(HIDDEN, OUTPUTS), snn.Leaky(**hidden, output=True)

        def forward(self, x: jax.Array) -> object:
            return self.lif2(self.fc2(self.lif1(self.fc1(x))))

    own = Written()
    own_variables = own.init(jax.random.key(0), x)
    own_bound = own.bind(own_variables, mutable=["hidden"])
    compiled, own_compiled = (
        jax.jit(lambda v, frame, net=which: net.apply(v, frame, mutable=["hidden"])) for which in (net, own)
    )

    first = net.init(jax.random.key(0), one)
    return {
        "neuron, snnTorch": lambda: there(torch_x, torch_mem),
        "neuron, snnax": lambda: wait(lif(x, mem)),
        "network, snnTorch": lambda: torch_net(torch_x),
        "network, snnax apply": lambda: wait(net.apply(variables, x, mutable=["hidden"])),
        "network, snnax bound": lambda: wait(bound(x)),
        "network, snnax.step": lambda: wait(snn.step(net, variables, x)),
        "network, jax.jit by hand": lambda: wait(compiled(variables, x)),
        "class, snnTorch": lambda: torch_net(torch_x),
        "class, snnax apply": lambda: wait(own.apply(own_variables, x, mutable=["hidden"])),
        "class, snnax bound": lambda: wait(own_bound(x)),
        "class, snnax.step": lambda: wait(snn.step(own, own_variables, x)),
        "class, jax.jit by hand": lambda: wait(own_compiled(own_variables, x)),
        "streaming B 1, snnTorch": lambda: torch_stream(torch_one),
        "streaming B 1, snnax.step": streamed(partial(snn.step, net), first, one),
        "streaming B 1, jax.jit by hand": streamed(compiled, first, one),
    }


def streamed(step: Callable[[Any, Any], Any], variables: Any, x: Any) -> Callable[[], object]:
    """Each call takes the next step of a stream, and waits for what it returns."""
    import jax

    kept = [variables]

    def call() -> object:
        outputs, updates = step(kept[0], x)
        kept[0] = {**kept[0], **updates}
        return jax.block_until_ready(outputs)

    return call


def measured(rounds: int, cores: int) -> dict[str, tuple[float, float]]:
    """Of each line its milliseconds, and the ratio of its time to snnTorch's."""
    steps = lines()
    seconds = measuring.clock(cores)
    times: dict[str, list[float]] = {name: [] for name in steps}
    for call in steps.values():
        measuring.taken(call, seconds, 20)
    for _ in range(rounds):
        for name, call in steps.items():
            times[name].append(measuring.taken(call, seconds, TIMES))
    result = {}
    for name, taken in times.items():
        theirs = times[f"{name.partition(',')[0]}, snnTorch"]
        ratios = [ours / other for ours, other in zip(taken, theirs, strict=True)]
        result[name] = (1e3 * statistics.median(taken), statistics.median(ratios))
    return result


def main() -> None:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--rounds", type=int, default=7)
    parser.add_argument("--cores", type=int, default=1)
    given = parser.parse_args()
    measuring.pin(given.cores)
    for name, (milliseconds, ratio) in measured(given.rounds, given.cores).items():
        print(
            f"{name:32s}{milliseconds:9.4f} ms  {ratio:5.2f} of snnTorch's time, {1 / ratio:5.2f} times as fast"
        )


if __name__ == "__main__":
    main()
