r"""The motion of a neuron between two events, in closed form.

With :math:`u = V - v_{leak}` the equations are linear, and after a time :math:`t` without events

.. math:: I(t) = e^{-t/\tau_s} I_0, \qquad u(t) = e^{-t/\tau_m} u_0 + \kappa(t)\, I_0

where :math:`\kappa` is the response of the membrane to a unit of current,

.. math:: \kappa(t) = \frac{1}{\tau_m}\int_0^t e^{-(t-s)/\tau_m} e^{-s/\tau_s}\,ds
    = \frac{e^{-t/\tau_m} - e^{-t/\tau_s}}{\tau_m\,(1/\tau_s - 1/\tau_m)}, \qquad
    \dot\kappa = \frac{e^{-t/\tau_s} - \kappa}{\tau_m}.

Every engine, root and gradient of :mod:`snnax.event` is written in these three functions of time.
"""

from __future__ import annotations

from typing import Any, NamedTuple

import jax
import jax.numpy as jnp

from snnax.event.arguments import shaped_alike
from snnax.event.neuron import Membrane, membrane

__all__ = ["Decay", "advance", "decay", "flow", "response_slope"]


class Decay(NamedTuple):
    """What a time without events does to a neuron; three arrays of the shape of the time."""

    mem: jax.Array
    """exp(-t / tau_mem): what is left of the voltage."""
    syn: jax.Array
    """exp(-t / tau_syn): what is left of the current."""
    response: jax.Array
    """The voltage that a unit of current at the start has become: the function kappa."""


def decay(time: jax.Array, parameters: Membrane) -> Decay:
    """The three functions of time, from 0 to any length, with full relative precision.

    The difference of exponentials in kappa cancels for short times and for nearly equal time constants. The slower
    exponential is therefore taken out, and what is left is an ``expm1`` whose argument is small where they agree.
    Only exactly equal constants need the limit ``t / tau exp(-t / tau)``. All of it decays: nothing overflows,
    however long the time.
    """
    tau_mem, tau_syn = parameters.tau_mem, parameters.tau_syn
    mem = jnp.exp(-time / tau_mem)
    if tau_mem == tau_syn:
        return Decay(mem, mem, time / tau_mem * mem)
    # In double precision, on the host: the difference of the rates, and the gain of kappa.
    rate = abs(tau_mem - tau_syn) / (tau_mem * tau_syn)
    gain = tau_syn / abs(tau_mem - tau_syn)
    syn = mem * mem if tau_mem == 2 * tau_syn else jnp.exp(-time / tau_syn)
    slow = mem if tau_mem > tau_syn else syn
    return Decay(mem, syn, slow * (-jnp.expm1(-time * rate) * gain))


def response_slope(factors: Decay, parameters: Membrane) -> jax.Array:
    """The derivative of ``factors.response`` in time."""
    return (factors.syn - factors.response) / parameters.tau_mem


def advance(u: jax.Array, current: jax.Array, factors: Decay) -> tuple[jax.Array, jax.Array]:
    """Voltage above ``v_leak`` and current after the time of ``factors``."""
    return factors.mem * u + factors.response * current, factors.syn * current


def flow(voltage: Any, current: Any, time: Any, parameters: Membrane) -> tuple[jax.Array, jax.Array]:
    r"""Voltage and current after ``time`` without events (and without a threshold).

    .. math:: V(t) = v_{leak} + e^{-t/\tau_m} (V_0 - v_{leak}) + \kappa(t) I_0, \qquad I(t) = e^{-t/\tau_s} I_0

    Args:
        voltage: ``V`` at the start, any shape.
        current: ``I`` at the start, of the same shape (or one number, as each of the three may be).
        time: seconds, of the same shape; from 0.
        parameters: :class:`LIFParameters` or :class:`LIParameters`.

    Returns:
        ``(voltage, current)`` after ``time``; differentiable in all three.

    Raises:
        ArgumentError: for what is no array of real numbers, or no parameters.
        ShapeError: for arrays of different shapes.

    Compared with
        jaxsnn multiplies with a matrix exponential at each event, and takes only equal time constants or twice.

    Example:
        >>> import jax.numpy as jnp
        >>> from snnax.event import LIFParameters, flow
        >>> voltage, current = flow(jnp.array(0.0), jnp.array(1.0), jnp.array(5e-3), LIFParameters())
        >>> print(f"{voltage:.4f} {current:.4f}")
        0.2387 0.3679
    """
    membrane(parameters, "flow(parameters=...)")
    voltage, current, time = shaped_alike("flow", voltage=voltage, current=current, time=time)
    u, current = advance(voltage - parameters.v_leak, current, decay(time, parameters))
    return parameters.v_leak + u, current
