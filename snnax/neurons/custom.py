"""Neurons of the user's own: an equation, and names for its numbers and states."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any, ClassVar, Protocol, cast

import flax.linen as nn
import jax
import jax.numpy as jnp
from jax.typing import ArrayLike

from snnax import checks
from snnax.dynamics.equation import Equation, States
from snnax.errors import ArgumentError
from snnax.neurons.base import Quantizer, SpikeFunction, SpikingNeuron
from snnax.neurons.values import Parameter

__all__ = ["CustomNeuron"]


class _Equation(Protocol):
    charge: Callable[..., States]


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

    It then has what every neuron has, each argument by name: ``threshold``, ``spike_grad``, ``surrogate_disable``,
    ``init_hidden``, ``inhibition``, ``reset_mechanism``, ``reset_delay``, ``state_quant``, ``output``, as
    :class:`SpikingNeuron` describes them, and ``learn``, the names of the numbers that are trained.

    :func:`~snnax.unroll` runs it in the loop of the built-in neurons. Where ``charge`` is linear in the states and the
    input, given the resets, and all numbers are fixed, the gradient keeps one array for each step, else also the states
    and the input. It is called step by step with ``inhibition``, ``state_quant`` or ``reset_delay=False``, and if the
    subclass has a ``__call__`` of its own.

    Args:
        learn: names of numbers that are trained (collection ``params``).

    Raises:
        ArgumentError: at construction: names in ``learn`` that are no numbers; in a call: what ``charge`` returns are
            not the states.

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
    makes such a class from one function.

    Attributes:
        written_as: what a message calls ``charge``.
    """

    threshold: Parameter = 1.0
    spike_grad: SpikeFunction | None = None
    surrogate_disable: bool = False
    init_hidden: bool = False
    inhibition: bool = False
    reset_mechanism: str = "subtract"
    reset_delay: bool = True
    state_quant: Quantizer | bool | None = False
    output: bool = False
    learn: tuple[str, ...] = ()

    written_as: ClassVar[str] = "charge"

    def __init_subclass__(cls, **kwargs: Any) -> None:
        cls.parameter_names = tuple(dict.fromkeys((*cls.parameter_names, "threshold")))
        super().__init_subclass__(**kwargs)

    def __post_init__(self) -> None:
        """Check the arguments and make them hashable."""
        names = (self.learn,) if isinstance(self.learn, str) else tuple(self.learn)
        if unknown := [name for name in names if name not in self.parameter_names]:
            raise ArgumentError(
                f"{type(self).__name__}(learn={self.learn!r}): {unknown} cannot be trained; expected some of "
                f"{self.parameter_names}."
            )
        object.__setattr__(self, "learn", names)
        super().__post_init__()

    @property
    def learn_threshold(self) -> bool:
        """Whether the threshold is trained."""
        return "threshold" in self.learn

    @nn.compact
    def __call__(self, x: ArrayLike, *states: ArrayLike | None) -> Any:
        """One time step on ``x``; returns ``(spk, *states)``, or ``spk`` alone with ``init_hidden``."""
        return self._step(x, *(states or (None,) * len(self.state_names)))

    @nn.nowrap
    def equation(self, like: jax.Array) -> Equation:
        """``charge`` with the present numbers."""
        numbers = tuple(
            self._value(name, like, name in self.learn)
            for name in self.parameter_names
            if name != "threshold"
        )
        return Equation(self._checked_charge(), self._rule(like), numbers, scales_input=True, linear=None)

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
