"""Neurons of the user's own: an equation, and names for its numbers and states."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any, ClassVar, Protocol, cast

import flax.linen as nn
import jax
import jax.numpy as jnp
import numpy as np
from jax.typing import ArrayLike

from snnax import checks
from snnax.dynamics.equation import Equation, States
from snnax.dynamics.firing import FiringRule
from snnax.errors import ArgumentError
from snnax.neurons.base import Quantizer, SpikeFunction, SpikingNeuron
from snnax.neurons.values import Parameter, names_to_learn

__all__ = ["CustomNeuron"]

_SHARED = ("threshold", "v_reset")
"""Numbers of every neuron of one's own: of the rule, not of ``charge``. A class may say that it has no ``v_reset``."""


class _Equation(Protocol):
    charge: Callable[..., States]
    level: Callable[..., jax.Array] | None


class CustomNeuron(SpikingNeuron, kw_only=True):
    r"""Base of neurons of your own: write the equation, and name its numbers and states.

    .. math:: R = [U_{t-1} > \theta], \qquad x_t = \text{charge}(x_{t-1}, R, I_t), \qquad S_t = [U_t > \theta]

    where :math:`x` are the states and the last of them, :math:`U`, is the membrane. A subclass has its numbers as
    fields, and beside them:

    * ``state_names``: the states, the membrane last.
    * ``state_starts``: the values that states start from, by name, where that is not zero, as ``{"thr": 1.0}``.
    * ``parameter_names``: the numbers that ``charge`` takes, in this order. The threshold need not be among them.
    * ``charge(state, flag, x, rule, *numbers)``, a static method: the states after a step, before the neuron fires.
      ``flag`` is :math:`R`, 0 or 1, without gradient; ``rule`` has the ``threshold`` and the ``reset``, and
      ``snnax.dynamics.firing.discharge`` resets a membrane as it says.
    * ``level(state, *numbers)``, a static method, if the neuron compares something else than its membrane with the
      threshold: as ``mem - tired`` for a threshold that rises with each spike.
    * ``after_reset(state, flag, rule, *numbers)``, a static method: the membrane that its reset leaves, where that is
      another than ``discharge`` gives. :func:`~snnax.refractory` holds it there.

    It then has what every neuron has, each argument by name: ``threshold``, ``spike_grad``, ``surrogate_disable``,
    ``init_hidden``, ``inhibition``, ``reset_mechanism``, ``reset_delay``, ``state_quant``, ``output``, as
    :class:`SpikingNeuron` describes them, and those below. With ``reset_mechanism="value"`` a reset takes the membrane
    to ``v_reset``.

    :func:`~snnax.unroll` runs it in the loop of the built-in neurons. Where ``charge`` and ``level`` are linear in the
    states and the input, given the resets, no gradient passes through these, and all numbers are fixed, the gradient
    keeps one array for each step, else also the states and the input. It is called step by step with ``inhibition``,
    ``state_quant`` or ``reset_delay=False``, and if the subclass has a ``__call__`` of its own.

    Args:
        v_reset: where ``reset_mechanism="value"`` takes the membrane; a number, or an array with one for each neuron.
        detach_reset: ``True``: no gradient passes through a reset; ``False``: the surrogate's does; ``None``: as in
            snnTorch, none through a reset that waits for the next step, and the surrogate's with ``reset_delay=False``.
        learn: names of numbers that are trained (collection ``params``).

    Raises:
        ArgumentError: at construction: names in ``learn`` that are no numbers, a ``v_reset`` that no reset uses,
            ``reset_delay=False`` for a neuron with a level, a number of ``positive_names`` that is not above 0; in a
            call: what ``charge`` returns are not the states, what ``level`` returns not one number for each neuron.

    Example:
        >>> import jax.numpy as jnp
        >>> from snnax.neurons import CustomNeuron
        >>> class Perfect(CustomNeuron):
        ...     gain: float = 1.0
        ...     state_names = ("mem",)
        ...     parameter_names = ("gain",)
        ...
        ...     @staticmethod
        ...     def charge(state, flag, x, rule, gain):
        ...         return (state[0] + gain * x - flag * rule.threshold,)
        >>> spk, mem = Perfect(gain=0.5).apply({}, jnp.full((1, 1), 2.5))
        >>> float(spk[0, 0]), float(mem[0, 0])
        (1.0, 1.25)

    Compared with snnTorch: takes the place of a subclass of ``SpikingNeuron`` with a ``forward``. :func:`~snnax.neuron`
    makes such a class from one function. ``detach_reset`` has the name that SpikingJelly gives it; SNNAX says
    ``stop_reset_grad``, and ``reset_val`` for ``v_reset``.

    Attributes:
        positive_names: those of its numbers that must be above 0, as a time constant.
        written_as: what a message calls ``charge``.
    """

    threshold: Parameter = 1.0
    spike_grad: SpikeFunction | None = None
    surrogate_disable: bool = False
    init_hidden: bool = False
    inhibition: bool = False
    reset_mechanism: str = "subtract"
    v_reset: Parameter = 0.0
    reset_delay: bool = True
    detach_reset: bool | None = None
    state_quant: Quantizer | bool | None = False
    output: bool = False
    learn: tuple[str, ...] = ()

    positive_names: ClassVar[tuple[str, ...]] = ()
    written_as: ClassVar[str] = "charge"
    level: ClassVar[Callable[..., jax.Array] | None] = None
    after_reset: ClassVar[Callable[..., jax.Array] | None] = None
    reset_mechanisms: ClassVar[tuple[str, ...]] = ("subtract", "zero", "value", "none")

    def __init_subclass__(cls, **kwargs: Any) -> None:
        shared = [name for name in _SHARED if getattr(cls, name) is not None]
        cls.parameter_names = tuple(dict.fromkeys((*cls.parameter_names, *shared)))
        super().__init_subclass__(**kwargs)

    def __post_init__(self) -> None:
        """Check the arguments and make them hashable."""
        kind = type(self).__name__
        object.__setattr__(self, "learn", names_to_learn(self.learn, self.parameter_names, kind))
        super().__post_init__()
        if self.detach_reset is not None and not isinstance(self.detach_reset, bool):
            raise checks.refuse(
                f"{kind}(detach_reset=...)", self.detach_reset, "True, False, or None as in snnTorch"
            )
        if (
            self.v_reset != type(self).v_reset or "v_reset" in self.learn
        ) and self.reset_mechanism != "value":
            raise ArgumentError(
                f"{kind}(v_reset=...) is where reset_mechanism='value' takes the membrane, which here is "
                f"{self.reset_mechanism!r}; expected one of the two to change."
            )
        for name in type(self).positive_names:
            if np.any(np.asarray(getattr(self, name)) <= 0):
                raise checks.refuse(f"{kind}({name}=...)", getattr(self, name), "numbers above 0")
        if type(self).level is not None and not self.reset_delay:
            raise ArgumentError(
                f"{kind}(reset_delay=False): what it compares with the threshold is not its membrane alone, so that "
                "its next step would not see the spike; expected reset_delay=True."
            )

    @property
    def learn_threshold(self) -> bool:
        """Whether the threshold is trained."""
        return "threshold" in self.learn

    @nn.compact
    def __call__(self, x: ArrayLike, *states: ArrayLike | None, **named: ArrayLike | None) -> Any:
        """One time step on ``x``; returns ``(spk, *states)``, or ``spk`` alone with ``init_hidden``.

        Args:
            x: ``[B, ..., N]``.
            states: before the step, all of them, in their order.
            named: or by their names; those that are left out are where they start.
        """
        count = len(self.state_names)
        if named:
            if states or not set(named) <= set(self.state_names):
                raise ArgumentError(
                    f"{self._label()} was called with {len(states)} states and {', '.join(named)} by name; expected "
                    f"all in their order, or some of {', '.join(self.state_names)} by name, as {self._works()}."
                )
            states = tuple(named.get(name) for name in self.state_names)
        if states and len(states) != count and not self.init_hidden:
            raise ArgumentError(
                f"{self._label()} was called with {len(states)} of its {count} states; expected all of them or none, "
                f"as {self._works()}."
            )
        return self._step(x, *(*states, *(None,) * count)[:count])

    @nn.nowrap
    def equation(self, like: jax.Array) -> Equation:
        """``charge`` with the present numbers."""
        numbers = tuple(
            self._value(name, like, name in self.learn)
            for name in self.parameter_names
            if name not in _SHARED
        )
        charge, level = self._checked_charge(), self._checked_level()
        return Equation(charge, self._rule(like), numbers, scales_input=True, linear=None, level=level)

    @nn.nowrap
    def _rule(self, like: jax.Array) -> FiringRule:
        rule = super()._rule(like)._replace(detach_reset=self.detach_reset)
        if self.reset_mechanism != "value" or "v_reset" not in self.parameter_names:
            return rule
        return rule._replace(v_reset=self._value("v_reset", like, "v_reset" in self.learn))

    @nn.nowrap
    def _checked_charge(self) -> Callable[..., States]:
        charge, names = cast(_Equation, type(self)).charge, self.state_names
        label, written = self._label(), self.written_as

        def checked(state: States, *rest: Any, **named: Any) -> States:
            after = charge(state, *rest, **named)
            wanted = [(s.shape, s.dtype) for s in state]
            found = (
                [(s.shape, s.dtype) for s in map(jnp.asarray, after)] if isinstance(after, tuple) else None
            )
            if found != wanted:
                raise ArgumentError(
                    f"{label}: {written} returned {checks.shown(after)}; expected a tuple of the states "
                    f"({', '.join(names)}) after the step, each of shape {wanted[0][0]} and {wanted[0][1]} as before."
                )
            return after

        return checked

    @nn.nowrap
    def _checked_level(self) -> Callable[..., jax.Array] | None:
        level, label = cast(_Equation, type(self)).level, self._label()
        if level is None:
            return None

        def checked(state: States, *numbers: Any) -> jax.Array:
            found, mem = level(state, *numbers), state[-1]
            known = (getattr(found, "shape", None), getattr(found, "dtype", None))
            if known != (mem.shape, mem.dtype):
                raise ArgumentError(
                    f"{label}: level returned {checks.shown(found)}; expected one number for each neuron, of shape "
                    f"{mem.shape} and {mem.dtype} as the membrane."
                )
            return found

        return checked
