r"""NIR's equations, one time step at a time, in float64.

Written to be read beside the specification of NIR (https://neuroir.org/docs/primitives.html). Each function
is one of its formulas; the choices that NIR leaves open are those of :class:`~snnax.interop.nir.readings.Reading`.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

import numpy as np

Array = np.ndarray


def relax(y: Array, rest: Array, drive: Array, tau: Array, dt: float, discretization: str) -> Array:
    r"""A step of :math:`\tau \dot y = y_\infty - y + u`.

    .. math::
        \text{"euler":}&\quad y + \tfrac{dt}{\tau}\,(y_\infty - y + u) \\
        \text{"exact":}&\quad y_\infty + (y - y_\infty)\,e^{-dt/\tau} + (1 - e^{-dt/\tau})\,u \\
        \text{"exact\_decay":}&\quad y_\infty + (y - y_\infty)\,e^{-dt/\tau} + \tfrac{dt}{\tau}\,u

    Args:
        y: value before the step.
        rest: :math:`y_\infty`.
        drive: :math:`u`, constant over the step.
        tau: time constant, in the unit of ``dt``.
        dt: length of the step.
        discretization: which of the three.
    """
    ratio = dt / tau
    if discretization == "euler":
        return y + np.minimum(ratio, 1.0) * (rest - y + drive)
    kept = np.exp(-ratio)
    weight = -np.expm1(-ratio) if discretization == "exact" else ratio
    return rest + (y - rest) * kept + weight * drive


def decay(tau: Array, dt: float, discretization: str) -> Array:
    r"""What a step leaves of 1: :math:`1 - dt/\tau`, or :math:`e^{-dt/\tau}`."""
    return relax(np.ones(()), np.zeros(()), np.zeros(()), tau, dt, discretization)


def added(w_in: Array, tau: Array, dt: float, discretization: str, scaling: str) -> Array:
    r"""What a spike adds to the current of :math:`\tau \dot I = -I + w_{in} S` in a step.

    Args:
        w_in: weight of the spike.
        tau: time constant of the current.
        dt: length of the step.
        discretization: see :func:`relax`.
        scaling: ``"ode"``: :math:`S` lasts the whole step; ``"impulse"``: :math:`w_{in}`, at the end of the
            step; ``"decayed_impulse"``: :math:`w_{in}`, at its start.
    """
    if scaling == "ode":
        return relax(np.zeros(()), np.zeros(()), w_in, tau, dt, discretization)
    return w_in if scaling == "impulse" else w_in * decay(tau, dt, discretization)


def overlap(tau_syn: Array, tau_mem: Array, dt: float) -> Array:
    r"""How much of a current of 1 reaches the membrane in a step while the current itself decays.

    .. math:: k = \frac{1}{\tau_m}\int_0^{dt} e^{-s/\tau_s}\,e^{-(dt - s)/\tau_m}\,ds
        = \frac{\tau_s}{\tau_s - \tau_m}\left(e^{-dt/\tau_s} - e^{-dt/\tau_m}\right),

    and :math:`\frac{dt}{\tau_m} e^{-dt/\tau_m}` where both are equal.
    """
    apart = dt / tau_mem - dt / tau_syn
    mean = np.where(np.abs(apart) < 1e-9, 1.0 + apart / 2, np.expm1(apart) / np.where(apart == 0, 1.0, apart))
    return dt / tau_mem * np.exp(-dt / tau_mem) * mean


@dataclass(frozen=True)
class Synapse:
    r"""A current that charges a leaky membrane: CubaLI and CubaLIF.

    .. math:: \tau_s \dot I = -I + w_{in} S, \qquad \tau_m \dot v = v_{leak} - v + r I

    Attributes:
        tau_syn: :math:`\tau_s`.
        tau_mem: :math:`\tau_m`.
        r: resistance.
        v_leak: potential at rest.
        w_in: weight of a spike.
        dt: length of the step.
        discretization: see :func:`relax`.
        scaling: see :func:`added`.
        current: which current charges the membrane: ``"new"`` :math:`I_t`, ``"old"`` :math:`I_{t-1}`,
            ``"undecayed"`` :math:`I_{t-1}` and the spikes, of which the sum decays last, or ``"continuous"``
            :math:`I` as it changes within the step.
    """

    tau_syn: Array
    tau_mem: Array
    r: Array
    v_leak: Array
    w_in: Array
    dt: float
    discretization: str
    scaling: str
    current: str

    def step(self, current: Array, spikes: Array) -> tuple[Array, Callable[[Array], Array]]:
        """The current after the step, and the function that charges a membrane over the step."""
        kept = decay(self.tau_syn, self.dt, self.discretization)
        jump = spikes * added(self.w_in, self.tau_syn, self.dt, self.discretization, self.scaling)
        if self.current == "undecayed":
            return (current + jump) * kept, self._charge(current + jump)
        after = current * kept + jump
        if self.current == "continuous":
            return after, self._charge_exactly(current, spikes)
        return after, self._charge(after if self.current == "new" else current)

    def _charge(self, current: Array) -> Callable[[Array], Array]:
        return lambda v: relax(v, self.v_leak, self.r * current, self.tau_mem, self.dt, self.discretization)

    def _charge_exactly(self, current: Array, spikes: Array) -> Callable[[Array], Array]:
        """Both equations solved together; a spike lasts the whole step, or comes at its start or its end."""
        k = overlap(self.tau_syn, self.tau_mem, self.dt)
        whole = -np.expm1(-self.dt / self.tau_mem)
        share = {"ode": whole - k, "impulse": np.zeros(()), "decayed_impulse": k}[self.scaling]
        reached = self.r * (current * k + self.w_in * spikes * share)
        return lambda v: self.v_leak + (v - self.v_leak) * np.exp(-self.dt / self.tau_mem) + reached


@dataclass(frozen=True)
class Firing:
    r"""Threshold and reset: :math:`z = [v > \theta]`, and :math:`v \leftarrow v_{reset}` where :math:`z`.

    Attributes:
        threshold: :math:`\theta`; a membrane at it does not fire.
        v_reset: where ``"nir"`` resets to.
        reset: ``"nir"``, ``"subtract"`` the threshold, or ``"none"``.
        before: the membrane of the step before is what is tested.
        delayed: a spike resets in the step after it.
        at_start: a reset that is known when the step begins acts before the membrane is charged, not after.
        overshoot: as snnTorch's neurons with an immediate reset: a membrane that is above the threshold when the step
            begins (R) is reset in it, and by :math:`S - R` after firing (S); to 0.
    """

    threshold: Array
    v_reset: Array
    reset: str
    before: bool = False
    delayed: bool = False
    at_start: bool = False
    overshoot: bool = False

    def step(self, v: Array, charge: Callable[[Array], Array]) -> tuple[Array, Array]:
        """Membrane and spikes after the step."""
        old = v > self.threshold
        if self.overshoot and self.reset != "none":
            return self._overshoot(v, charge, old)
        if self.before or self.delayed:
            v = charge(self._reset(v, old)) if self.at_start else self._reset(charge(v), old)
            return v, old if self.before else v > self.threshold
        v = charge(v)
        spikes = v > self.threshold
        return self._reset(v, spikes), spikes

    def _overshoot(self, v: Array, charge: Callable[[Array], Array], old: Array) -> tuple[Array, Array]:
        if self.reset == "subtract":
            v = charge(v) - old * self.threshold
        else:
            v = charge(np.where(old, 0.0, v)) if self.at_start else np.where(old, 0.0, charge(v))
        spikes = v > self.threshold
        amount = spikes.astype(np.float64) - old
        return v - amount * (self.threshold if self.reset == "subtract" else v), spikes

    def _reset(self, v: Array, where: Array) -> Array:
        if self.reset == "nir":
            return np.where(where, self.v_reset, v)
        return v - where * self.threshold if self.reset == "subtract" else v
