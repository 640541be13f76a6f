"""Random recurrent networks of every kind that the loop knows, small enough for the stepping judge."""

import os
from types import SimpleNamespace

import numpy as np

from snnax import event

PER_KIND = int(os.environ.get("EVENT_NETWORKS", "3"))
"""Networks of each kind; ``EVENT_NETWORKS=100`` is the full check."""

FULL = "EVENT_NETWORKS" in os.environ
"""Whether kinds run, too, that say nothing which a mixture of the others does not: each is a program to compile."""

SIZE, INPUTS, BATCH, DURATION, BUDGET = 8, 5, 2, 6.0, 12


def lif(tau_mem=2.0, tau_syn=1.0, **others):
    return event.LIFParameters(tau_mem=tau_mem, tau_syn=tau_syn, **others)


LEAKY = lif(v_leak=0.3, v_reset=-0.2)
CYCLE = ((4, lif(tau_mem=1.0)), (4, lif(tau_mem=0.7, tau_syn=1.5, threshold=0.8, v_leak=0.1)))
RESTING = ((3, lif(refractory=0.25)), (3, lif(v_reset=-0.3)), (2, lif(refractory=np.inf)))


def kind(neurons, *, first=SIZE, gain=1.0, mask=1.0, mean=0.0, immediate=True, axons=0):
    """A kind of network: inputs go to the ``first`` neurons; ``gain`` is the standard deviation of weights."""
    populations = neurons if isinstance(neurons, tuple) else ((SIZE, neurons),)
    return SimpleNamespace(
        neurons=populations, first=first, gain=gain, mask=mask, mean=mean, immediate=immediate, axons=axons
    )


def between_halves():
    halves = np.arange(SIZE) < SIZE // 2
    return (halves[:, None] != halves).astype(float)


KINDS = {
    "any weights, v_leak, v_reset": kind(LEAKY, gain=0.6),
    "any ratio of time constants": kind(lif(tau_mem=1.7), gain=0.6, mean=-0.1),
    "two populations in a cycle": kind(CYCLE, first=SIZE // 2, gain=0.3, mean=-0.1, mask=between_halves()),
    "delays": kind(LEAKY, gain=0.8, immediate=False, axons=1),
    "refractory times and delays": kind(RESTING, gain=0.6, axons=2, mean=-0.1),
    "fires on its own": kind(lif(v_leak=1.3), gain=0.25),
}


def draw(kind, generator):
    """Input times ``[B, N_in, 1]`` and a wiring, in NumPy."""
    size = (SIZE, SIZE)

    def weights(*more):
        return kind.mask * generator.normal(kind.mean, kind.gain, (*more, *size))

    inputs = generator.normal(1.5, 1.0, (INPUTS, SIZE)) * (np.arange(SIZE) < kind.first)
    delayed = weights(kind.axons) if kind.axons else None
    delays = generator.uniform(0.05, 1.0, (kind.axons, SIZE)) if kind.axons else None
    times = generator.uniform(0, 2, (BATCH, INPUTS, 1))
    return times, event.Wiring(inputs, weights() if kind.immediate else None, delayed, delays)
