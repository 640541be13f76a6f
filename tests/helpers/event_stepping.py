"""The judge of the event engines: one sample at a time, in float64, with NumPy, by stepping on a fine grid.

Shares nothing with the engines but the equations: the state after each step is the exact flow written down once more,
a crossing is a grid point at which the voltage is at the threshold, and its time is found by bisection. What rises
over the threshold and falls again within one step is missed, as grazing spikes are; keep the step small.
"""

import heapq
import math

import numpy as np

MOST_SPIKES = 2000
"""A network that excites itself without end is left here."""


class Stepper:
    """Neurons of any parameters, with external events in a heap."""

    def __init__(self, neurons, step):
        expanded = [p for size, p in neurons for _ in range(size)]
        for name in ("tau_mem", "tau_syn", "threshold", "v_leak", "v_reset", "refractory"):
            setattr(self, name, np.array([getattr(p, name) for p in expanded]))
        self.v = np.array([p.v_leak + p.u_initial for p in expanded])
        self.current = np.zeros(len(expanded))
        self.held_until = np.full(len(expanded), -np.inf)
        self.step = step

    def flow(self, time):
        """Voltages and currents after each of ``time[S]``, none of them held: ``[S, N]``."""
        time = np.asarray(time, float)[..., None]
        mem, syn = np.exp(-time / self.tau_mem), np.exp(-time / self.tau_syn)
        equal = self.tau_mem == self.tau_syn
        gap = np.where(equal, 1, self.tau_mem - self.tau_syn)
        response = np.where(equal, time / self.tau_mem * mem, self.tau_syn / gap * (mem - syn))
        return self.v_leak + (self.v - self.v_leak) * mem + self.current * response, self.current * syn

    def advance(self, now, then):
        """The state at ``then``; no neuron is released in between."""
        held = self.held_until > now
        v, current = self.flow(then - now)
        self.v, self.current = np.where(held, self.v, v), current

    def crossing(self, now, until):
        """The first neuron to reach its threshold, and when; ``None`` if none does."""
        grid = np.append(np.arange(0, until - now, self.step), until - now)
        above = (self.flow(grid)[0] >= self.threshold) & (self.held_until <= now)
        hit = above.any(1).argmax()
        if not above[hit].any():
            return None
        times = {n: self.bisected(n, grid[max(hit - 1, 0)], grid[hit]) for n in np.flatnonzero(above[hit])}
        first = min(times, key=times.get)
        return first, now + times[first]

    def bisected(self, neuron, low, high):
        for _ in range(60):
            middle = (low + high) / 2
            below = self.flow(middle)[0][neuron] < self.threshold[neuron]
            low, high = (middle, high) if below else (low, middle)
        return high


def spike_times(neurons, inputs, wiring, duration, step=2e-3):
    """The spikes of a network, as a list of times for each neuron.

    Args:
        neurons: ``[(size, parameters), ...]``.
        inputs: times ``[N_in, K]``.
        wiring: an object with ``inputs``, ``recurrent``, ``delayed`` and ``delays``, NumPy or ``None``.
        duration: end of the run.
        step: of the grid.
    """
    stepper = Stepper(neurons, step)
    found = [[] for _ in stepper.v]
    none = np.zeros(len(found))
    agenda = [
        (time, order, wiring.inputs[order // inputs.shape[1]])
        for order, time in enumerate(inputs.reshape(-1).tolist())
        if time < duration
    ]
    heapq.heapify(agenda)
    now, number = 0.0, len(agenda) + inputs.size
    while now < duration and sum(map(len, found)) < MOST_SPIKES:
        release = min([t for t in stepper.held_until if t > now], default=math.inf)
        outside = min(agenda[0][0] if agenda else math.inf, release, duration)
        crossing = stepper.crossing(now, outside)
        if crossing is None:
            stepper.advance(now, outside)
            now = outside
            while agenda and agenda[0][0] <= now:
                stepper.current = stepper.current + heapq.heappop(agenda)[2]
            continue
        neuron, time = crossing
        stepper.advance(now, time)
        now = time
        found[neuron].append(time)
        stepper.v[neuron] = stepper.v_reset[neuron]
        if stepper.refractory[neuron] > 0:
            stepper.held_until[neuron] = time + stepper.refractory[neuron]
        stepper.current = stepper.current + (none if wiring.recurrent is None else wiring.recurrent[neuron])
        for weights, delays in zip(
            *([] if w is None else w for w in (wiring.delayed, wiring.delays)), strict=True
        ):
            number += 1
            if time + delays[neuron] < duration:
                heapq.heappush(agenda, (time + delays[neuron], number, weights[neuron]))
    return found


def padded(lists, budget):
    """Lists of times as an array with ``inf`` for none, ``[N, K]``."""
    return np.array([(times + [np.inf] * budget)[:budget] for times in lists])
