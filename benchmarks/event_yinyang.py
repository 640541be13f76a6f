"""CPU seconds of one training epoch on Yin-Yang, event by event: snnax beside jaxsnn, in turn in one process.

    python -m benchmarks.event_yinyang [--rounds 5] [--rows once several recurrent] [--json FILE]

The network of jaxsnn's examples (5-100-3, 78 batches of 64, mse of first spikes, Adam), its initial weights and its
data go to both, and one thread runs both; the first loss of each shows that they compute the same. An epoch is one
compiled scan over batches that are there already: forward, EventProp or analytical gradient, update. jaxsnn runs a
fixed number of events, and cuts spikes beyond it; the numbers behind its name are those of the hidden and of the
output layer, "full" where no spike is cut. The ratio is the median of the rounds' ratios.

The row of several spikes has two peers. The same neurons, which are reset to 0 and fire again, need 305/303 events of
jaxsnn's EventProp: that is the ratio at equal work. Its EventProp of one spike per neuron with all its events, 105/103,
does a third of it, on other neurons.
"""

from __future__ import annotations

import argparse
import json
import logging
import math
import os
import statistics
import time
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from benchmarks import measuring

BATCH, BATCHES, HIDDEN, CLASSES = 64, 78, 100, 3
TAU_MEM, TAU_SYN, T_MAX = 10e-3, 5e-3, 20e-3
EARLY, LATE = 4.5e-3, 5.5e-3

ROWS = {
    "once": "one spike per neuron",
    "several": "several spikes per neuron",
    "recurrent": "recurrent, one spike per neuron",
}


@dataclass(frozen=True)
class Peer:
    """jaxsnn with a gradient, budgets of events, and hidden neurons that are reset to a voltage."""

    gradient: str
    hidden: int
    output: int
    v_reset: float = -1000.0
    recurrent: bool = False
    full: bool = False
    reach: float | None = None

    @property
    def name(self) -> str:
        return f"jaxsnn {self.gradient}, {self.hidden}/{self.output}{' full' if self.full else ''}"


# A recurrent spike is two events there: the spike, and its arrival.
PEERS = {
    "once": [
        Peer("analytical", 50, 53, reach=40),
        Peer("analytical", 105, 103, full=True, reach=80),
        Peer("eventprop", 105, 103, full=True),
    ],
    "several": [
        Peer("eventprop", 105, 103, reach=12),
        Peer("eventprop", 305, 303, v_reset=0.0, reach=12),
    ],
    "recurrent": [
        Peer("eventprop", 50, 53, recurrent=True),
        Peer("eventprop", 205, 103, recurrent=True, full=True, reach=5),
    ],
}

MAX_SPIKES = {"once": 1, "several": 4, "recurrent": 1}


@dataclass
class Epoch:
    """A compiled epoch, which goes on from where it was."""

    run: Callable[[Any], tuple[Any, Any]]
    state: Any
    trace: float
    compile: float
    told: str
    first_loss: float = math.nan

    def __call__(self) -> None:
        import jax

        self.state, loss = jax.block_until_ready(self.run(self.state))
        if math.isnan(self.first_loss):
            self.first_loss = float(loss)


def compiled(epoch: Any, state: Any, told: str) -> Epoch:
    import jax

    start = time.process_time()
    lowered = jax.jit(epoch).lower(state)
    traced = time.process_time()
    program = lowered.compile()
    return Epoch(program, state, traced - start, time.process_time() - traced, told)


def optimizer() -> Any:
    import optax

    schedule = optax.exponential_decay(5e-3, BATCHES, 0.99)
    return optax.chain(optax.scale(1 / TAU_SYN), optax.clip(0.01), optax.adam(schedule))


def theirs(peer: Peer) -> tuple[Epoch, Any, Any]:
    """jaxsnn as its examples build it; with its initial weights and its data."""
    from functools import partial

    import jax
    from jaxsnn.base.dataset import data_loader, yinyang_dataset
    from jaxsnn.event.encode import encode, spatio_temporal_encode, target_temporal_encode
    from jaxsnn.event.loss import mse_loss
    from jaxsnn.event.modules import LIF, LIFParameters, Linear, Source
    from jaxsnn.event.topology import Topology
    from jaxsnn.event.training import update
    from jaxsnn.event.types import OptState
    from jaxsnn.examples.event.utils import loss_wrapper

    def neurons(v_reset: float) -> Any:
        return LIFParameters(v_reset=v_reset, v_th=1.0, tau_syn=TAU_SYN, tau_mem=TAU_MEM)

    options = {} if peer.gradient == "analytical" else {"backprop_method": peer.gradient}
    topology = Topology(t_max=T_MAX, **options)
    modules = {
        "inp": Source(5),
        "lif1": LIF(HIDDEN, peer.hidden, neurons(peer.v_reset)),
        "lif2": LIF(CLASSES, peer.output, neurons(-1000.0)),
        "syn1": Linear(mean=3.0, std=1.6, min_delay=0.0),
        "syn2": Linear(mean=0.5, std=0.8, min_delay=0.0),
    }
    edges = [("inp", "syn1"), ("syn1", "lif1"), ("lif1", "syn2"), ("syn2", "lif2")]
    if peer.recurrent:
        modules["syn3"] = Linear(mean=0.0, std=0.1, min_delay=0.0)
        edges += [("lif1", "syn3"), ("syn3", "lif1")]
    topology.add(modules)
    topology.connect(edges)
    init, apply = topology.done()
    weights = init(jax.random.PRNGKey(0))
    points = yinyang_dataset(jax.random.PRNGKey(1), BATCH * BATCHES, mirror=True, bias_spike=0.0)
    spikes = jax.vmap(partial(spatio_temporal_encode, t_late=10e-3, duplication=1, duplicate_neurons=False))
    targets = jax.vmap(
        partial(target_temporal_encode, n_classes=CLASSES, correct_target_time=EARLY, wrong_target_time=LATE)
    )
    inputs, goals = encode(points, spikes, targets)
    batches = data_loader(({"inp": inputs}, goals), BATCH, rng=jax.random.PRNGKey(2))
    solver = optimizer()
    step = partial(update, solver, partial(loss_wrapper, apply, mse_loss, TAU_MEM, "lif2", CLASSES))

    def epoch(state: Any) -> Any:
        state, ((losses, _), _) = jax.lax.scan(step, state, batches)
        return state, losses[0]

    state = OptState(solver.init(weights), weights, jax.random.PRNGKey(3))
    return compiled(epoch, state, f"budget {peer.hidden}/{peer.output} events"), weights, batches


def ours(row: str, weights: Any, batches: Any) -> Epoch:
    """snnax from the same weights, on the same batches."""
    import jax
    import jax.numpy as jnp
    import optax

    from snnax import event

    budget, recurrent = MAX_SPIKES[row], row == "recurrent"
    once = event.LIFParameters(tau_mem=TAU_MEM, tau_syn=TAU_SYN, refractory=math.inf)
    again = event.LIFParameters(tau_mem=TAU_MEM, tau_syn=TAU_SYN)
    hidden = event.LIF(HIDDEN, T_MAX, once if budget == 1 else again, max_spikes=budget, recurrent=recurrent)
    net = event.Sequential([hidden, event.LIF(CLASSES, T_MAX, once)])
    inputs, goals = batches
    order = jnp.argsort(inputs["inp"].idx, -1)
    times = jnp.take_along_axis(inputs["inp"].time, order, -1)
    params = {
        "layers_0": {"weights": matrix(weights["syn1"])},
        "layers_1": {"weights": matrix(weights["syn2"])},
    }
    if recurrent:
        params["layers_0"]["recurrent"] = matrix(weights["syn3"])
    squares = event.mse_time_loss(silent=2 * TAU_MEM, unit=TAU_MEM, reduction="sum")
    solver = optimizer()

    def loss(params: Any, batch: Any) -> Any:
        spikes = net.apply({"params": params}, batch[0])
        return squares(spikes, batch[1]) / BATCH, jnp.mean(spikes.overflow)

    def step(state: Any, batch: Any) -> Any:
        params, memory = state
        found, gradient = jax.value_and_grad(loss, has_aux=True)(params, batch)
        update, memory = solver.update(gradient, memory)
        return (optax.apply_updates(params, update), memory), found

    def epoch(state: Any) -> Any:
        state, (losses, overflow) = jax.lax.scan(step, state, (times, goals))
        return state, losses[0] + 0 * overflow.mean()

    spikes = hidden.apply({"params": params["layers_0"]}, times[0])
    most = int(event.count(spikes).sum(1).max())
    told = (
        f"budget {budget} per neuron; at most {most} hidden spikes a sample, "
        f"{float(jnp.mean(spikes.overflow)):.1%} of neurons over it"
    )
    return compiled(epoch, (params, solver.init(params)), told)


def matrix(weights: Any) -> Any:
    """The weights of a projection there as ``[N, M]``."""
    import jax

    (found,) = jax.tree.leaves(weights)
    return found


def measured(row: str, rounds: int) -> list[dict[str, Any]]:
    """Our epoch and those of the peers, each once in a round."""
    built = [(peer, *theirs(peer)) for peer in PEERS[row]]
    epochs = [("snnax", None, ours(row, *built[0][2:]))]
    epochs += [(peer.name, peer.reach, epoch) for peer, epoch, *_ in built]
    times: dict[str, list[float]] = {name: [] for name, *_ in epochs}
    for _, _, epoch in epochs:
        epoch()
    for _ in range(rounds):
        for name, _, epoch in epochs:
            times[name].append(measuring.taken(epoch, time.process_time))
    lines = []
    for name, reach, epoch in epochs:
        ratios = [other / own for other, own in zip(times[name], times["snnax"], strict=True)]
        lines.append(
            {
                "row": row,
                "name": name,
                "seconds": statistics.median(times[name]),
                "least": min(times[name]),
                "ratio": statistics.median(ratios),
                "reach": reach,
                "compile": epoch.trace + epoch.compile,
                "first loss": epoch.first_loss,
                "budget": epoch.told,
            }
        )
    return lines


def shown(line: dict[str, Any]) -> str:
    reach = "" if line["reach"] is None else f"(>= {line['reach']:g})"
    return (
        f"  {line['name']:36s} {line['seconds']:8.4f} s (least {line['least']:.4f}) {line['ratio']:7.1f} {reach:8s} "
        f"compile {line['compile']:5.1f} s  first loss {line['first loss']:.5f}  {line['budget']}"
    )


def main() -> None:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--rounds", type=int, default=5)
    parser.add_argument("--rows", nargs="+", choices=ROWS, default=list(ROWS))
    parser.add_argument("--json", type=Path, help="write all figures to this file")
    given = parser.parse_args()
    measuring.pin(1)
    os.environ["XLA_FLAGS"] = f"{os.environ.get('XLA_FLAGS', '')} --xla_cpu_multi_thread_eigen=false"
    logging.disable(logging.CRITICAL)  # jaxsnn tells that there is no chip
    print(measuring.heading())
    found = []
    for row in given.rows:
        print(f"{ROWS[row]}: CPU seconds of an epoch, ratio to snnax")
        lines = measured(row, given.rounds)
        found += lines
        print("\n".join(map(shown, lines)), flush=True)
    if given.json is not None:
        given.json.write_text(json.dumps(found, indent=1))


if __name__ == "__main__":
    main()
