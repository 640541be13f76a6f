"""NIR's neurons in discrete time: how their differential equations become steps, and in which order.

NIR gives equations in continuous time and leaves open how to step through them. What the frameworks that
read it do differently is a choice here. Coefficients are computed in double precision on the host from
parameters that are fixed, and traced from those that are learned.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any, NamedTuple, TypeVar

import jax
import jax.numpy as jnp
import numpy as np
from jax import lax

from snnax.dynamics.arithmetic import Constant, unit
from snnax.dynamics.firing import ArrayFunction

DISCRETIZATIONS = ("euler", "exact", "exact_decay")
RESETS = ("nir", "subtract", "none")

Coefficients = TypeVar("Coefficients", bound=tuple[Any, ...])


class Relaxation(NamedTuple):
    r"""One step of :math:`\tau \dot y = y_\infty - y + u`.

    Attributes:
        decay: factor of :math:`y`.
        rest: factor of :math:`y_\infty`.
        rate: factor of :math:`u`.
    """

    decay: Constant
    rest: Constant
    rate: Constant


class Membrane(NamedTuple):
    """One step of a membrane: ``mem * decay + current * gain + drive``.

    Attributes:
        decay: factor of the membrane.
        gain: factor of the current.
        drive: what the resting potential adds; ``None`` for nothing.
    """

    decay: Constant
    gain: Constant
    drive: Constant | None


class Firing(NamedTuple):
    """When a membrane fires, and how and when that resets it.

    Attributes:
        threshold: spikes are fired above it, never at it.
        v_reset: where the reset ``"nir"`` takes the membrane.
        spike: surrogate spike function of ``mem - threshold``.
        reset: one of :data:`RESETS`.
        test_before: the membrane is compared with the threshold before it integrates the input, not after.
        delayed: the reset acts in the step after the spike.
        at_start: a reset that is known when the step begins acts before the membrane integrates, not after.
    """

    threshold: Constant
    v_reset: Constant
    spike: ArrayFunction
    reset: str = "nir"
    test_before: bool = False
    delayed: bool = False
    at_start: bool = False


def numerics(*values: Constant) -> Any:
    """NumPy if all values are fixed, else ``jax.numpy``."""
    return np if all(isinstance(v, np.ndarray | np.generic) for v in values) else jnp


def relaxation(tau: Constant, dt: float, discretization: str) -> Relaxation:
    r"""The step of a leaky quantity.

    .. math::
        \text{"euler":}&\quad d = 1 - \tfrac{dt}{\tau}, & \text{rest} &= \text{rate} = \tfrac{dt}{\tau} \\
        \text{"exact":}&\quad d = e^{-dt/\tau}, & \text{rest} &= \text{rate} = 1 - d \\
        \text{"exact\_decay":}&\quad d = e^{-dt/\tau}, & \text{rest} &= 1 - d,\ \text{rate} = \tfrac{dt}{\tau}

    Decays are clamped to [0, 1], which only a learned time constant can leave.

    Args:
        tau: time constant in seconds.
        dt: length of the step in seconds.
        discretization: one of :data:`DISCRETIZATIONS`.
    """
    xp = numerics(tau)
    ratio = dt / tau
    if discretization == "euler":
        rate = unit(ratio)
        return Relaxation(1 - rate, rate, rate)
    decay, rest = unit(xp.exp(-ratio)), unit(-xp.expm1(-ratio))
    return Relaxation(decay, rest, rest if discretization == "exact" else ratio)


def leaky(tau: Constant, r: Constant, v_leak: Constant, dt: float, discretization: str) -> Membrane:
    r"""The membrane of :math:`\tau \dot v = v_{leak} - v + r I`, the current constant over a step."""
    step = relaxation(tau, dt, discretization)
    drive = v_leak * step.rest
    none = numerics(drive) is np and not np.any(drive)
    return Membrane(step.decay, r * step.rate, None if none else drive)


def integrator(r: Constant, dt: float) -> Membrane:
    r"""The membrane of :math:`\dot v = r I`; Euler's step is exact."""
    return Membrane(np.ones(()), r * dt, None)


def rounded(coefficients: Coefficients, dtype: Any) -> Coefficients:
    """The same in ``dtype``; fixed ones stay NumPy arrays."""

    def one(value: Any) -> Any:
        if isinstance(value, np.ndarray | np.generic):
            return np.asarray(value, dtype)
        return value.astype(dtype)

    return jax.tree.map(one, coefficients)


def charge(current: jax.Array, membrane: Membrane) -> jax.Array:
    """What a step of ``current`` adds to the membrane."""
    added = current * membrane.gain
    return added if membrane.drive is None else added + membrane.drive


def integrate(mem: jax.Array, current: jax.Array, membrane: Membrane) -> jax.Array:
    """One step of a membrane that does not fire, all of one shape.

    Args:
        mem: membrane potential.
        current: input current over the step.
        membrane: see :func:`leaky` and :func:`integrator`.
    """
    return mem * membrane.decay + charge(current, membrane)


def fire(
    mem: jax.Array, charged: Callable[[jax.Array], jax.Array], rule: Firing
) -> tuple[jax.Array, jax.Array]:
    r"""One step of a membrane that fires; V integrates, T tests the threshold, R resets.

    ======================  ========================  =========================
    ..                      ``at_start=False``        ``at_start=True``
    ======================  ========================  =========================
    neither                 V T R                     V T R
    ``test_before``         T V R                     T R V
    ``delayed``             V R T, R by the old V     R V T, R by the old V
    ======================  ========================  =========================

    The gradient passes through the reset, unless it is delayed.

    Args:
        mem: membrane before the step.
        charged: from a membrane to the membrane that has integrated this step's input.
        rule: see :class:`Firing`.

    Returns:
        ``(mem, spikes)`` after the step.
    """
    if not (rule.test_before or rule.delayed):
        mem = charged(mem)
        spk = _spikes(mem, rule)
        return _reset(mem, spk, rule), spk
    spk = flag = _spikes(mem, rule)
    if rule.delayed:
        flag = lax.stop_gradient(flag)
    mem = charged(_reset(mem, flag, rule)) if rule.at_start else _reset(charged(mem), flag, rule)
    return mem, _spikes(mem, rule) if rule.delayed else spk


def _spikes(mem: jax.Array, rule: Firing) -> jax.Array:
    return rule.spike(mem - rule.threshold).astype(mem.dtype)


def _reset(mem: jax.Array, flag: jax.Array, rule: Firing) -> jax.Array:
    if rule.reset == "nir":
        return (1 - flag) * mem + flag * rule.v_reset
    if rule.reset == "subtract":
        return mem - flag * rule.threshold
    return mem


SCALINGS = ("ode", "impulse", "decayed_impulse")
CURRENTS = ("new", "old", "undecayed", "continuous")


class Synapse(NamedTuple):
    """One step of a synaptic current: ``syn * decay + x * gain``."""

    decay: Constant
    gain: Constant


class Bypass(NamedTuple):
    """What a current that changes within the step charges: ``syn * from_current + x * from_input``."""

    from_current: Constant
    from_input: Constant


def synapse(tau: Constant, w_in: Constant, dt: float, discretization: str, scaling: str) -> Synapse:
    r"""The step of :math:`\tau \dot I = -I + w_{in} S`.

    Args:
        tau: time constant in seconds.
        w_in: weight of the input.
        dt: length of the step in seconds.
        discretization: see :func:`~snnax.dynamics.nir.relaxation`.
        scaling: what an input of 1 adds to the current: ``"ode"`` what the equation says of an input that
            is constant over the step, :math:`w_{in}\,dt/\tau` with Euler's step; ``"impulse"``
            :math:`w_{in}`, at the end of the step; ``"decayed_impulse"`` the same at its start.
    """
    step = relaxation(tau, dt, discretization)
    factor = {"ode": step.rate, "impulse": np.ones(()), "decayed_impulse": step.decay}[scaling]
    return Synapse(step.decay, w_in * factor)


def bypass(
    tau_syn: Constant, tau_mem: Constant, r: Constant, w_in: Constant, dt: float, scaling: str
) -> Bypass:
    r"""What the synapse charges the membrane with in the exact solution of both equations.

    .. math::
        k = \frac1{\tau_m}\int_0^{dt} e^{-(dt-s)/\tau_m}\,e^{-s/\tau_s}\,ds
          = \frac{\tau_s}{\tau_s - \tau_m}\left(e^{-dt/\tau_s} - e^{-dt/\tau_m}\right)

    is what a current of 1 adds; an input of 1 adds :math:`w_{in}` times :math:`1 - e^{-dt/\tau_m} - k` if it
    lasts the whole step, :math:`k` if it comes at its start and nothing if it comes at its end.

    Args:
        tau_syn: time constant of the current in seconds.
        tau_mem: time constant of the membrane in seconds.
        r: resistance.
        w_in: weight of the input.
        dt: length of the step in seconds.
        scaling: see :func:`synapse`.
    """
    xp = numerics(tau_syn, tau_mem)
    step = relaxation(tau_mem, dt, "exact")
    difference: Constant = dt / tau_mem - dt / tau_syn
    small = xp.abs(difference) < 1e-8
    safe = xp.where(small, 1.0, difference)
    k = dt / tau_mem * step.decay * xp.where(small, 1 + difference / 2, xp.expm1(safe) / safe)
    factor = {"ode": step.rest - k, "impulse": np.zeros(()), "decayed_impulse": k}[scaling]
    return Bypass(r * k, r * w_in * factor)


def step(
    syn: jax.Array, x: jax.Array, weights: Synapse, membrane: Membrane, current: str, joint: Bypass | None
) -> tuple[jax.Array, jax.Array]:
    """One step of the synaptic current.

    Args:
        syn: synaptic current before the step.
        x: input of the step, of the same shape.
        weights: see :func:`synapse`.
        membrane: see :func:`~snnax.dynamics.nir.leaky`.
        current: which current charges the membrane. ``"new"``: the one after the step; ``"old"``: the one
            before it; ``"undecayed"``: the old one plus the input, which decays last; ``"continuous"``: the
            current as it changes within the step.
        joint: see :func:`bypass`; for ``"continuous"`` only.

    Returns:
        The current after the step, and what it adds to the membrane within the step.
    """
    if current == "undecayed":
        jumped = syn + x * weights.gain
        return jumped * weights.decay, charge(jumped, membrane)
    after = syn * weights.decay + x * weights.gain
    if joint is not None:
        added = syn * joint.from_current + x * joint.from_input
        return after, added if membrane.drive is None else added + membrane.drive
    return after, charge(after if current == "new" else syn, membrane)
