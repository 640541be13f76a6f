"""A neuron as its equation: one step up to the comparison with the threshold, and how it then fires.

This is the one door through which a neuron's equation is reached: :func:`step` is a single step of it, and the time
loop of :mod:`snnax.network.time` runs many.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any, NamedTuple

import jax

from snnax.dynamics.arithmetic import Constant
from snnax.dynamics.firing import FiringRule, fire, quantized, reset_flag

States = tuple[jax.Array, ...]


class Equation(NamedTuple):
    """A neuron's step up to the comparison with the threshold.

    Attributes:
        charge: ``(state, flag, x, rule, *parameters)`` to the state after the step, the membrane last, where ``flag``
            is the reset that is due, 0 or 1; as :func:`snnax.dynamics.leaky.charge`. With ``feedback`` it takes the
            recurrent current under that name.
        rule: threshold, reset and spike function.
        parameters: decays and the like.
        feedback: ``(weights, spikes)`` to the recurrent current, linear in both up to a bias; or ``None``.
        weights: of the feedback.
        scales_input: a parameter is a factor of the input, whose derivative then needs the input.
        linear: whether ``charge`` and ``level`` are linear in the state and the input, up to a constant; ``None`` if
            nobody has said.
        level: ``(state, *parameters)`` to what is compared with the threshold; ``None`` for the membrane itself. A
            threshold that moves is one that stands still, and a level below the membrane by as much as it has risen.
    """

    charge: Callable[..., States]
    rule: FiringRule
    parameters: tuple[Constant, ...] = ()
    feedback: Callable[[Any, jax.Array], jax.Array] | None = None
    weights: Any = None
    scales_input: bool = False
    linear: bool | None = True
    level: Callable[..., jax.Array] | None = None


def compared(equation: Equation, state: States) -> jax.Array:
    """What the neuron compares with its threshold: the membrane, or its level.

    Args:
        equation: the neuron.
        state: after a step, the membrane last.
    """
    return state[-1] if equation.level is None else equation.level(state, *equation.parameters)


def step(
    equation: Equation, state: States, x: jax.Array, fired: jax.Array | None = None
) -> tuple[States, jax.Array]:
    r"""One step: reset, charge, fire.

    .. math:: R = [L(U) > \theta], \qquad U' = \text{charge}(U, R, I), \qquad S = [L(U') > \theta]

    where the level :math:`L` is the membrane, if the equation has no other.

    Args:
        equation: the neuron.
        state: before the step, the membrane last.
        x: input current, of the shape of the membrane.
        fired: spikes of the step before, which the feedback carries; ``None`` without feedback.

    Returns:
        ``(state, spikes)`` after the step.

    Raises:
        ShapeError: inhibition and a membrane that is not ``[B, N]``.
    """
    rule = equation.rule
    flag = reset_flag(compared(equation, state), rule)
    back: dict[str, Any] = {}
    if equation.feedback is not None and fired is not None:
        back["feedback"] = equation.feedback(equation.weights, fired)
    *rest, charged = equation.charge(state, flag, x, rule, *equation.parameters, **back)
    others = tuple(quantized(s, rule) for s in rest)
    mem, spk = fire(charged, flag, rule, lambda mem: compared(equation, (*others, mem)))
    return (*others, mem), spk
