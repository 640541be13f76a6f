r"""The first crossing of the threshold in a time without events: whether there is one, and when.

*Whether* is decided by values, never by a root: the neuron fires if its voltage at the end is at the threshold, or if
it has a maximum inside that is. Deciding by "the root lies inside" would lose spikes through rounding at the border of
two intervals; a voltage is the same number on both sides.

The voltage of :mod:`snnax.event.closed_form` has one extremum at most. Where it rises at the start (:math:`I > u`) and
falls at the end (:math:`I \le u`) that is a maximum, and there :math:`u = I`:

.. math:: u_{max} = I_0\,(1 - y)^{1/r}, \qquad t_{max} = -\frac{\tau_s}{r} \ln(1 - y), \qquad
    r = 1 - \frac{\tau_s}{\tau_m}, \quad y = r \left(1 - \frac{u_0}{I_0}\right)

(:math:`u_{max} = I_0 e^{-(1 - u_0/I_0)}` for equal constants, :math:`(u_0 + I_0)^2 / 4 I_0` for
:math:`\tau_m = 2 \tau_s`.)

*When* is the one root in the part that rises. For :math:`\tau_m = 2 \tau_s` it is that of a quadratic in
:math:`x = e^{-t/\tau_m}`,

.. math:: (u_0 + I_0)\, x - I_0\, x^2 = u_{th},

in the form that does not cancel; else of Newton's method inside a bracket.

A length of time is a *span*: the engines need no more of it than what :class:`SecondsClock` and :class:`DecayClock`
offer. The first counts seconds; the second counts :math:`x`, so that the roots of the quadratic are spans already, and
a whole network runs without an exponential or a logarithm per neuron.
"""

from __future__ import annotations

import functools
from dataclasses import dataclass
from typing import Any

import jax
import jax.numpy as jnp

from snnax import checks
from snnax.event.arguments import shaped_alike
from snnax.event.closed_form import advance, decay
from snnax.event.neuron import LIFParameters, Membrane

__all__ = [
    "Clock", "DecayClock", "SecondsClock", "clock_of", "crosses", "first_crossing", "peak_time", "rise_at_threshold",
]  # fmt: skip

_Newton = tuple[jax.Array, jax.Array, jax.Array, jax.Array, jax.Array]
"""Bracket, iterate, length of the last step, number of steps."""

_MOST_STEPS = 100
"""Newton's method has always ended earlier: bisection alone needs 80 steps from 1e5 time constants to float64."""


def crosses(
    u: jax.Array, current: jax.Array, end_u: jax.Array, end_current: jax.Array, parameters: LIFParameters
) -> jax.Array:
    """Whether the voltage reaches the threshold between two states with no event in between.

    Args:
        u: voltage above ``v_leak`` at the start, below the threshold.
        current: current at the start.
        end_u: voltage at the end, as :func:`snnax.event.closed_form.advance` gives it.
        end_current: current at the end.
        parameters: of the neuron.

    Returns:
        Booleans of the shape of the states. An interval of no length has no crossing.
    """
    # At the end both may have underflowed to zero, which is a fall too. A negative current has no maximum: there
    # the first test could only be met by rounding.
    has_peak = (current > jnp.maximum(u, 0)) & (end_current <= end_u)
    return (end_u >= parameters.u_threshold) | (has_peak & _peak_reaches(u, current, parameters))


def _peak_reaches(u: jax.Array, current: jax.Array, parameters: LIFParameters) -> jax.Array:
    """Whether the maximum reaches the threshold, where there is one; elsewhere anything."""
    if parameters.tau_mem == 2 * parameters.tau_syn:
        total = u + current
        return total * total >= 4 * parameters.u_threshold * current
    return (
        current * jnp.exp(-peak_time(u, current, parameters) / parameters.tau_syn) >= parameters.u_threshold
    )


def peak_time(u: jax.Array, current: jax.Array, parameters: Membrane) -> jax.Array:
    """When a voltage that rises is at its maximum; infinity for one that rises for ever."""
    positive = current > 0
    distance = 1 - u / jnp.where(positive, current, 1)
    tau_mem, tau_syn = parameters.tau_mem, parameters.tau_syn
    if tau_mem == tau_syn:
        time = tau_syn * distance
    else:
        ratio = (tau_mem - tau_syn) / tau_mem
        time = -(tau_syn / ratio) * jnp.log1p(-jnp.minimum(ratio * distance, 1))
    return jnp.where(positive, time, jnp.inf)


@dataclass(frozen=True)
class SecondsClock:
    """Spans in seconds: for any ratio of the time constants."""

    parameters: LIFParameters

    none: float = 0.0
    """The span of no length."""

    def span(self, time: jax.Array) -> jax.Array:
        """The span of so many seconds."""
        return time

    def time(self, span: jax.Array) -> jax.Array:
        """The seconds of a span."""
        return span

    def rest(self, whole: jax.Array, used: jax.Array) -> jax.Array:
        """What is left of a span; never less than none."""
        return jnp.maximum(whole - used, 0)

    def joined(self, first: jax.Array, second: jax.Array) -> jax.Array:
        """One span after the other."""
        return first + second

    def shorter(self, first: jax.Array, second: jax.Array) -> jax.Array:
        """The shorter of two spans."""
        return jnp.minimum(first, second)

    def shortest(self, spans: jax.Array, axis: int) -> jax.Array:
        """The shortest of many spans."""
        return jnp.min(spans, axis)

    def advance(self, u: jax.Array, current: jax.Array, span: jax.Array) -> tuple[jax.Array, jax.Array]:
        """Voltage above ``v_leak`` and current after a span."""
        return advance(u, current, decay(span, self.parameters))

    def crossing(
        self, u: jax.Array, current: jax.Array, whole: jax.Array, hit: jax.Array, earliest: bool = False
    ) -> jax.Array:
        """The span to the first crossing, where :func:`crosses` found one (``hit``); elsewhere none.

        ``earliest``: only the first crossing along the last axis is wanted, and those at the same time. What is given
        for any other neuron is later than that, and no more than a lower bound of its own.
        """
        if self.parameters.tau_mem == 2 * self.parameters.tau_syn:
            closed = DecayClock(self.parameters)
            found = closed.time(closed.crossing(u, current, closed.span(whole), hit))
            return jnp.where(hit, jnp.clip(found, 0, whole), 0)
        return self._newton(u, current, whole, hit, earliest)

    def _newton(
        self, u: jax.Array, current: jax.Array, whole: jax.Array, hit: jax.Array, earliest: bool
    ) -> jax.Array:
        """Newton's method from the start, inside a bracket.

        The voltage that rises is concave, unless the leak alone drives it, so that no step leaps over the root; the
        bracket halves where one does.
        """
        parameters = self.parameters
        tolerance = 4 * jnp.finfo(u.dtype).eps

        def step(state: _Newton) -> _Newton:
            low, high, time, _, count = state
            now, drive = self.advance(u, current, time)
            missing = parameters.u_threshold - now
            slope = (drive - now) / parameters.tau_mem
            low, high = jnp.where(missing > 0, time, low), jnp.where(missing > 0, high, time)
            newton = time + missing / jnp.where(slope > 0, slope, 1)
            inside = (slope > 0) & (newton >= low) & (newton <= high)
            new = jnp.where(inside, newton, low + (high - low) / 2)
            return low, high, new, jnp.abs(new - time), count + 1

        def unfinished(state: _Newton) -> jax.Array:
            low, _, time, moved, count = state
            settled = moved <= tolerance * (time + parameters.tau_syn)
            if earliest:
                first = jnp.min(jnp.where(hit & settled, time, jnp.inf), -1, keepdims=True)
                settled |= low > first
            return (count < _MOST_STEPS) & ~jnp.all(settled)

        # The root lies before the maximum, if there is one.
        peak = peak_time(u, current, parameters)
        whole = jnp.broadcast_to(whole, u.shape)
        high = jnp.where(hit, jnp.where((current > u) & (peak < whole), peak, whole), 0)
        none = jnp.zeros_like(high)
        start = (none, high, none, jnp.full_like(high, jnp.inf), jnp.int32(0))
        return jax.lax.while_loop(unfinished, step, start)[2]


@dataclass(frozen=True)
class DecayClock:
    """Spans as the decay ``exp(-t / tau_mem)`` of the membrane: for ``tau_mem = 2 tau_syn``."""

    parameters: LIFParameters

    none: float = 1.0
    """The span of no length."""

    def span(self, time: jax.Array) -> jax.Array:
        """The span of so many seconds."""
        return jnp.exp(-time / self.parameters.tau_mem)

    def time(self, span: jax.Array) -> jax.Array:
        """The seconds of a span."""
        return -self.parameters.tau_mem * jnp.log(span)

    def rest(self, whole: jax.Array, used: jax.Array) -> jax.Array:
        """What is left of a span; never less than none."""
        return jnp.minimum(whole / jnp.maximum(used, jnp.finfo(used.dtype).tiny), 1)

    def joined(self, first: jax.Array, second: jax.Array) -> jax.Array:
        """One span after the other."""
        return first * second

    def shorter(self, first: jax.Array, second: jax.Array) -> jax.Array:
        """The shorter of two spans."""
        return jnp.maximum(first, second)

    def shortest(self, spans: jax.Array, axis: int) -> jax.Array:
        """The shortest of many spans."""
        return jnp.max(spans, axis)

    def advance(self, u: jax.Array, current: jax.Array, span: jax.Array) -> tuple[jax.Array, jax.Array]:
        """Voltage above ``v_leak`` and current after a span."""
        return span * (u + current * (1 - span)), span * span * current

    def crossing(
        self, u: jax.Array, current: jax.Array, whole: jax.Array, hit: jax.Array, earliest: bool = False
    ) -> jax.Array:
        """The span to the first crossing, where :func:`crosses` found one (``hit``); elsewhere none.

        In closed form, so that ``earliest`` (see :class:`SecondsClock`) would save nothing.

        The larger root of the quadratic is the earlier time. With ``p = u + I`` and ``d`` the square root of its
        discriminant it is ``(p + d) / 2 I``, or ``2 u_th / (p - d)`` where the sum would cancel.
        """
        del earliest
        total = u + current
        square = total * total - 4 * self.parameters.u_threshold * current
        # A maximum at the threshold itself, but for rounding, has a discriminant of zero.
        root = jnp.sqrt(jnp.where(hit, jnp.maximum(square, 0), 1))
        sums = (total >= 0) & (current > 0)
        # Without a current the equation is linear; the second form says so too, with d = |p|, where p < 0. Where
        # p >= 0 and I <= 0 the voltage only falls to the threshold from above, which is no crossing.
        above = jnp.where(sums, total + root, 2 * self.parameters.u_threshold)
        below = jnp.where(sums, 2 * current, total - root)
        span = above / jnp.where(hit, below, 1)
        return jnp.where(hit, jnp.clip(span, whole, 1), 1)


Clock = SecondsClock | DecayClock


def clock_of(parameters: LIFParameters) -> Clock:
    """The clock that suits the parameters.

    ``exp(-t / tau_mem)`` of a long time is zero, and then no time. Between two inputs a current keeps a neuron firing
    for some time constants only, but a refractory time, or the firing of a neuron that needs no input, have no end.
    """
    short = not (parameters.pause or parameters.fires_alone)
    if parameters.tau_mem == 2 * parameters.tau_syn and short:
        return DecayClock(parameters)
    return SecondsClock(parameters)


def first_crossing(voltage: Any, current: Any, time: Any, parameters: LIFParameters) -> jax.Array:
    r"""When the voltage first reaches the threshold, within ``time`` without events.

    Its derivatives are those of the implicit function :math:`V(t^*) = v_{th}`:

    .. math:: \frac{\partial t^*}{\partial V_0} = -\frac{e^{-t^*/\tau_m}}{\dot V(t^*)}, \qquad
        \frac{\partial t^*}{\partial I_0} = -\frac{\kappa(t^*)}{\dot V(t^*)}

    Args:
        voltage: ``V`` at the start, below the threshold; any shape.
        current: ``I`` at the start, of the same shape (or one number, as each of the three may be).
        time: how long to look, in seconds; finite, of the same shape.
        parameters: :class:`LIFParameters`.

    Returns:
        Seconds from the start, ``inf`` where the threshold is not reached; without any NaN, in the gradients too.

    Raises:
        ArgumentError: for what is no array of real numbers, or no :class:`LIFParameters`.
        ShapeError: for arrays of different shapes.

    Example:
        >>> import jax.numpy as jnp
        >>> from snnax.event import LIFParameters, first_crossing
        >>> strong, weak = first_crossing(jnp.zeros(2), jnp.array([5.0, 3.0]), jnp.full(2, 1.0), LIFParameters())
        >>> print(f"{strong:.5f} {weak}")
        0.00324 inf
    """
    checks.instance(LIFParameters, "LIFParameters()")(parameters, "first_crossing(parameters=...)")
    states = shaped_alike("first_crossing", voltage=voltage, current=current, time=time)
    return _first_crossing(*states, parameters)


@functools.partial(jax.custom_jvp, nondiff_argnums=(3,))
def _first_crossing(
    voltage: jax.Array, current: jax.Array, time: jax.Array, parameters: LIFParameters
) -> jax.Array:
    clock = clock_of(parameters)
    u, whole = voltage - parameters.v_leak, clock.span(time)
    hit = crosses(u, current, *clock.advance(u, current, whole), parameters)
    return jnp.where(hit, clock.time(clock.crossing(u, current, whole, hit)), jnp.inf)


@_first_crossing.defjvp
def _first_crossing_jvp(
    parameters: LIFParameters, primals: tuple[jax.Array, ...], tangents: tuple[jax.Array, ...]
) -> tuple[jax.Array, jax.Array]:
    (voltage, current, time), (voltage_dot, current_dot, _) = primals, tangents
    crossing = _first_crossing(voltage, current, time, parameters)
    hit = crossing < jnp.inf
    factors = decay(jnp.where(hit, crossing, 0), parameters)
    rise = rise_at_threshold(factors.syn * current, parameters)
    moved = (factors.mem * voltage_dot + factors.response * current_dot) / rise
    return crossing, jnp.where(hit, -moved, 0)


def rise_at_threshold(current: jax.Array, parameters: LIFParameters, slowest: float = 0.0) -> jax.Array:
    r"""The slope :math:`(v_{leak} - v_{th} + I) / \tau_m` with which the voltage crosses the threshold.

    It is positive, but rounding may say otherwise of a voltage that only touches the threshold. There the true slope
    cannot be resolved; what is returned is the least that can, so that a gradient is large and not wrong in sign; or
    ``slowest / tau_mem``, if that is more.
    """
    precision = jnp.finfo(current.dtype)
    least = max(float(precision.eps) * abs(parameters.u_threshold), float(precision.tiny), slowest)
    return jnp.maximum(current - parameters.u_threshold, least) / parameters.tau_mem
