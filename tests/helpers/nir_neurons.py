"""NIR's neurons for the tests: parameters to draw, every combination of options, and the equations in NumPy."""

from __future__ import annotations

import itertools
from collections.abc import Iterator
from typing import Any

import numpy as np

import snnax as snn

DT = 1e-4
T, B, N = 80, 3, 6
ORDERS = {
    "at once": {},
    "late spike, reset last": {"threshold_test": "before"},
    "late spike, reset first": {"threshold_test": "before", "reset_at": "start"},
    "late reset, last": {"reset_delay": True},
    "late reset, first": {"reset_delay": True, "reset_at": "start"},
}
MEMBRANE = {"tau": (2e-4, 9e-4), "r": (1.0, 4.0), "v_leak": (-0.2, 0.4)}
CUBA = {
    "tau_syn": (1.5e-4, 6e-4),
    "tau_mem": (2e-4, 9e-4),
    "r": (2.0, 4.0),
    "v_leak": (-0.2, 0.4),
    "w_in": (1, 3),
}
FIRING = {"v_threshold": (0.6, 1.2), "v_reset": (-0.5, 0.3)}
RANGES = {
    "LIF": {**MEMBRANE, **FIRING},
    "LI": MEMBRANE,
    "CubaLIF": {**CUBA, **FIRING},
    "CubaLI": CUBA,
    "IF": {"r": (2e3, 9e3), **FIRING},
    "I": {"r": (-2e3, 9e3)},
}
"""Ranges to draw each neuron's parameters from: all of NIR's, none at its default."""


def parameters(kind: str, n: int = N, seed: int = 0) -> dict[str, Any]:
    """One value for each neuron and parameter."""
    rng = np.random.default_rng(seed)
    return {name: rng.uniform(*span, n) for name, span in RANGES[kind].items()}


def combinations(kind: str) -> Iterator[dict[str, Any]]:
    """Every combination of the options of the membrane and the synapse, and every order of every reset."""
    discretizations = ("euler", "exact", "exact_decay") if "tau" in kind_of(kind) else ("euler",)
    orders = [
        {"reset_mechanism": reset, **order}
        for reset in ("nir", "subtract", "none")
        for order in ORDERS.values()
    ]
    for discretization in discretizations:
        currents = ("new", "old", "undecayed", *(["continuous"] if discretization == "exact" else []))
        scalings = ("ode", "impulse", "decayed_impulse")
        for current, scaling in (
            itertools.product(currents, scalings) if "syn" in kind_of(kind) else [("new", "ode")]
        ):
            plain = (discretization, current, scaling) == ("euler", "new", "ode")
            for order in orders if "fires" in kind_of(kind) and plain else [{}]:
                given = {
                    "discretization": discretization,
                    "membrane_current": current,
                    "w_in_scaling": scaling,
                }
                fields = getattr(snn, kind).__dataclass_fields__
                yield {name: value for name, value in {**given, **order}.items() if name in fields}


def kind_of(kind: str) -> set[str]:
    """Whether it has time constants, a synapse, and fires."""
    names = RANGES[kind]
    return {
        *(["tau"] if "v_leak" in names else []),
        *(["syn"] if "w_in" in names else []),
        *(["fires"] if "v_threshold" in names else []),
    }


def trajectory(p: dict[str, Any], options: dict[str, Any], x: np.ndarray) -> dict[str, np.ndarray]:
    """The neuron in NumPy, written from NIR's equations, one step after the other."""
    euler = options.get("discretization", "euler") == "euler"
    mixed = options.get("discretization") == "exact_decay"
    reset = options.get("reset_mechanism", "none" if "v_threshold" not in p else "nir")
    syn, v = np.zeros(x.shape[1:]), np.zeros(x.shape[1:])
    rows = {"spk": [], "syn": [], "mem": []}

    def relax(y, target, drive, tau):
        """One step of tau y' = target - y + drive."""
        if euler:
            return y + DT / tau * (target - y + drive)
        kept = np.exp(-DT / tau)
        return target + (y - target) * kept + drive * (DT / tau if mixed else 1 - kept)

    def reset_where(z, v):
        to = {"nir": p.get("v_reset"), "subtract": v - p.get("v_threshold", 0), "none": v}[reset]
        return np.where(z, to, v)

    def synapse(syn, spikes):
        scaling, current = options.get("w_in_scaling", "ode"), options.get("membrane_current")
        current = current or ("continuous" if options.get("discretization") == "exact" else "new")
        tau, arriving = p["tau_syn"], p["w_in"] * spikes
        decay = 1 - DT / tau if euler else np.exp(-DT / tau)
        if current == "undecayed":
            added = {
                "ode": relax(0, 0, arriving, tau),
                "impulse": arriving,
                "decayed_impulse": decay * arriving,
            }
            jumped = syn + added[scaling]
            return jumped * decay, jumped, None
        if scaling == "ode":
            after, start, held = relax(syn, 0, arriving, tau), syn, arriving
        elif scaling == "impulse":
            after, start, held = syn * decay + arriving, syn, 0 * arriving
        else:
            after, start, held = (syn + arriving) * decay, syn + arriving, 0 * arriving
        if current == "continuous":
            return after, None, (start, held)
        return after, after if current == "new" else syn, None

    def solve(v, start, held, pieces=40):
        """Both equations together, by Runge and Kutta's method in small pieces of the step."""
        h, ys = DT / pieces, np.stack(np.broadcast_arrays(start, v))

        def slope(ys):
            return np.stack(
                [(held - ys[0]) / p["tau_syn"], (p["v_leak"] - ys[1] + p["r"] * ys[0]) / p["tau_mem"]]
            )

        for _ in range(pieces):
            a = slope(ys)
            b = slope(ys + h / 2 * a)
            c = slope(ys + h / 2 * b)
            ys = ys + h / 6 * (a + 2 * b + 2 * c + slope(ys + h * c))
        return ys[1]

    for spikes in x:
        inside = None
        current = spikes
        if "tau_syn" in p:
            syn, current, inside = synapse(syn, spikes)

        def charged(v, current=current, inside=inside):
            if inside is not None:
                return solve(v, *inside)
            if "tau" not in p and "tau_mem" not in p:
                return v + DT * p["r"] * current
            return relax(v, p["v_leak"], p["r"] * current, p.get("tau", p.get("tau_mem")))

        if "v_threshold" not in p:
            v = z = charged(v)
        else:
            early, first = options.get("threshold_test") == "before", options.get("reset_at") == "start"
            old = v > p["v_threshold"]
            if not early and not options.get("reset_delay"):
                v = charged(v)
                z = v > p["v_threshold"]
                v = reset_where(z, v)
            else:
                v = charged(reset_where(old, v)) if first else reset_where(old, charged(v))
                z = old if early else v > p["v_threshold"]
        for name, value in {"spk": z, "syn": syn, "mem": v}.items():
            rows[name].append(value)
    return {name: np.array(row, np.float64) for name, row in rows.items()}
