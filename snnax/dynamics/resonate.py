"""The resonate-and-fire model: a damped oscillation that its input strikes."""

from __future__ import annotations

import jax

from snnax.dynamics.arithmetic import Constant
from snnax.dynamics.firing import FiringRule, discharge
from snnax.dynamics.nir import numerics

State = tuple[jax.Array, jax.Array]


def charge(
    state: State,
    flag: jax.Array,
    x: jax.Array,
    rule: FiringRule,
    b: Constant,
    omega: Constant,
    dt: Constant,
) -> State:
    r"""Both components of the oscillation before the neuron fires.

    .. math:: z' = e^{(b + i\omega)\,dt}\, z + I

    exactly, for an input that comes as pulses at the ends of steps. A reset takes the imaginary part where the rule
    says, and with ``"value"`` and ``"zero"`` the real part to zero.

    Args:
        state: ``(real, mem)``: real and imaginary part of :math:`z`.
        flag: the reset that is due, 0 or 1.
        x: input, of the shape of the membrane; it is added to the real part.
        rule: threshold and reset.
        b: rate of growth per second, negative for an oscillation that fades.
        omega: angular frequency in radians per second.
        dt: length of the step in seconds.
    """
    real, mem = state
    if rule.reset in ("value", "zero"):
        real = real * (1 - flag)
    mem = discharge(mem, flag, rule)
    xp = numerics(b, omega, dt)
    size = xp.exp(b * dt)
    cos, sin = size * xp.cos(omega * dt), size * xp.sin(omega * dt)
    return real * cos - mem * sin + x, real * sin + mem * cos
