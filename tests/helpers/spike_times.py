"""Spike times of a neuron in continuous time by SciPy, from one spike to the next."""

from __future__ import annotations

from collections.abc import Callable

import numpy as np


def spike_times(
    derivative: Callable[[float, np.ndarray], list[float]],
    state: np.ndarray,
    threshold: float,
    reset: Callable[[np.ndarray], np.ndarray],
    end: float,
) -> np.ndarray:
    """When the last component of the solution passes ``threshold`` upwards.

    Args:
        derivative: of the state, ``(t, state)``.
        state: at time 0, the membrane last.
        threshold: of the membrane.
        reset: from the state at a spike to the one after it.
        end: until when.
    """
    from scipy.integrate import solve_ivp

    def passes(t: float, y: np.ndarray) -> float:
        return float(y[-1] - threshold)

    passes.terminal, passes.direction = True, 1.0
    now, times = 0.0, []
    while now < end:
        found = solve_ivp(derivative, (now, end), state, method="LSODA", events=passes, rtol=1e-9, atol=1e-9)
        now = found.t[-1]
        if not found.t_events[0].size:
            break
        times.append(now)
        state = reset(found.y[:, -1])
    return np.asarray(times)
