"""How exact the event engines are, on many random networks of every kind, as a table.

    PYTHONPATH=tests python -m helpers.event_exactness [NETWORKS]

A row is a kind of network. ``gradient`` is the worst relative error of a derivative in a random direction (of input
times, weights and delays at once) against central differences in float64, extrapolated after Richardson, and ``born``
how many networks are set apart because a spike is born, dies or changes places within the least step: there is no
derivative to compare with. ``time`` is the worst distance of a spike time from stepping the exact flow on a fine grid
(:mod:`helpers.event_stepping`), and ``counts`` in how many neurons the number of spikes differs. For ties it is the
distance from the limit of a vanishing perturbation, extrapolated, of times and of gradients.
"""

import itertools
import math
import sys

import jax
import jax.numpy as jnp
import numpy as np
from helpers.event_differences import gradient_error, with_pull_back
from helpers.event_networks import BUDGET, DURATION, KINDS, LEAKY, draw, kind, lif
from helpers.event_stepping import padded, spike_times

from snnax import event

INF = np.inf
ONCE = lif(v_leak=0.3, refractory=INF)
LAGS = np.array([0, 1, 30, 900])
"""How much less each of four tied neurons gets: so far apart that none overtakes, whatever kicks it gets in between."""

LAYERS = {1: (4, 6), 2: (4, 6, 3), 3: (4, 6, 5, 3)}


def layers(depth, budget):
    """A chain of layers: how to draw one, to run it, and what the judge is to say of it."""
    neurons, sizes = (ONCE if budget == 1 else LEAKY), LAYERS[depth]

    def drawn(generator):
        times = generator.uniform(0, 4, (2, sizes[0], 2))
        return times, *(
            generator.normal(4.5 / n, 2 / math.sqrt(n), (n, m)) for n, m in itertools.pairwise(sizes)
        )

    def run(parts):
        times, *weights = parts
        spikes, missing = event.trains(jnp.asarray(times)), jnp.zeros((len(times), 1), bool)
        for matrix in weights:
            spikes = event.lif_spikes(spikes, matrix, neurons, t_max=DURATION, max_spikes=BUDGET)
            missing |= spikes.overflow.any(1, keepdims=True)
        return spikes._replace(overflow=spikes.overflow | missing)

    def judged(parts, sample):
        """The last layer, as a recurrent network in which the layers are packed."""
        times, *weights = parts
        ends = np.cumsum([0, *(matrix.shape[1] for matrix in weights)])
        packed = np.zeros((ends[-1], ends[-1]))
        for n, matrix in enumerate(weights[1:]):
            packed[ends[n] : ends[n + 1], ends[n + 1] : ends[n + 2]] = matrix
        inputs = np.zeros((2 * sizes[0], ends[-1]))
        inputs[:, : ends[1]] = np.repeat(weights[0], 2, 0)
        wiring = event.Wiring(inputs, packed)
        found = spike_times([(ends[-1], neurons)], times[sample].reshape(-1, 1), wiring, DURATION)
        return padded(found[ends[-2] :], BUDGET)

    return drawn, run, judged


def recurrent(kind, engine):
    """A recurrent network of :mod:`helpers.event_networks`."""

    def run(parts):
        times, wiring = parts
        trains = event.trains(jnp.asarray(times))
        return engine(trains, wiring, kind.neurons, t_max=DURATION, max_spikes=BUDGET)

    def judged(parts, sample):
        times, wiring = parts
        return padded(spike_times(kind.neurons, times[sample], wiring, DURATION), BUDGET)

    return lambda generator: draw(kind, generator), run, judged


def rows():
    """Every kind by its name."""
    found = {
        f"{depth} layer{'s' * (depth > 1)}, {'one spike' if budget == 1 else 'many spikes'}, v_leak": layers(
            depth, budget
        )
        for depth in LAYERS
        for budget in (1, BUDGET)
    }
    kinds = {**KINDS, "recurrent, one spike": kind(ONCE, gain=0.8)}
    found |= {f"loop: {name}": recurrent(k, event.recurrent_spikes) for name, k in kinds.items()}
    found["relaxation: delays"] = recurrent(KINDS["delays"], event.relaxed_spikes)
    return found


def measured(row, networks):
    """Worst errors over some networks, and how many of what was not compared."""
    drawn, run, judged = row
    both, generator = with_pull_back(run), np.random.default_rng(1)
    gradient, born, distance, differ, spikes = 0.0, 0, 0.0, 0, 0
    for _ in range(networks):
        parts = drawn(generator)
        times, overflow, _ = both(parts, 0.0)
        for sample in np.flatnonzero(~np.asarray(overflow).any(1)):
            got, expected = np.asarray(times)[sample], judged(parts, sample)
            there = (got < INF) & (expected < INF)
            differ += int(((got < INF).sum(-1) != (expected < INF).sum(-1)).sum())
            distance = max(distance, float(np.abs(got[there] - expected[there]).max(initial=0)))
            spikes += int(there.sum())
        error = gradient_error(both, parts, generator)
        born += error is None
        gradient = max(gradient, error or 0.0)
    return gradient, born, distance, differ, spikes


def tied(tau_mem, networks):
    """Four neurons that are one and the same, and two inputs at one time: distances from the limit."""
    generator, worst = np.random.default_rng(1), [0.0, 0.0]
    neurons = lif(tau_mem, v_reset=-0.1)
    both = with_pull_back(
        lambda parts: event.recurrent_spikes(
            event.trains(jnp.asarray(parts[0])), parts[1], neurons, t_max=DURATION, max_spikes=6
        )
    )
    for _ in range(networks):
        times = np.sort(generator.uniform(0.1, 1, (1, 4, 1)), 1)
        times[:, 1] = times[:, 0]
        inputs = np.tile(generator.uniform(1.5, 2.5, (4, 1)), (1, 4))
        wiring = event.Wiring(inputs, generator.normal(0, 0.2, (4, 4)))
        weights = generator.normal(size=(1, 4, 6))

        def moved(by, wiring=wiring, times=times, weights=weights):
            apart = wiring._replace(inputs=wiring.inputs * (1 - by * LAGS))
            found, _, gradient = both((times, apart), weights)
            return [np.where(found < INF, found, 0)], jax.tree.leaves(gradient)

        exact, near, far = moved(0.0), moved(1e-11), moved(2e-11)
        for which, (got, one, two) in enumerate(zip(exact, near, far, strict=True)):
            for a, b, c in zip(got, one, two, strict=True):
                scale = max(1.0, float(np.abs(a).max()))
                worst[which] = max(worst[which], float(np.abs(a - (2 * b - c)).max()) / scale)
    return worst


def main():
    networks = int(sys.argv[1]) if len(sys.argv) > 1 else 100
    with jax.enable_x64(True):
        print(f"{networks} networks of each kind, float64", flush=True)
        for name, row in rows().items():
            gradient, born, distance, differ, spikes = measured(row, networks)
            print(
                f"{name:42s} gradient {gradient:.1e} ({born} born)  time {distance:.1e}  counts {differ} differ, "
                f"{spikes} spikes",
                flush=True,
            )
        for tau_mem in (2.0, 1.3):
            time, gradient = tied(tau_mem, networks)
            print(
                f"{f'ties, tau_mem {tau_mem} tau_syn':42s} gradient {gradient:.1e}  time {time:.1e}",
                flush=True,
            )


if __name__ == "__main__":
    main()
