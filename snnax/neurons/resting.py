"""Neurons that are silent for some steps after each spike."""

from __future__ import annotations

from collections.abc import Callable
from functools import lru_cache, partial
from typing import Any, ClassVar, cast

import flax.linen as nn
import jax
import jax.numpy as jnp
import numpy as np

from snnax import checks
from snnax.dynamics import leaky, synaptic
from snnax.dynamics import refractory as equations
from snnax.dynamics.equation import Equation
from snnax.errors import ArgumentError
from snnax.neurons.custom import CustomNeuron
from snnax.neurons.leaky import Leaky
from snnax.neurons.synaptic import Synaptic
from snnax.neurons.values import Parameter

__all__ = ["refractory"]

_BUILT_IN = {
    Leaky: (leaky.charge, ("mem",), ("beta",)),
    Synaptic: (synaptic.charge, ("syn", "mem"), ("alpha", "beta")),
}
_EXPECTED = "a class of neurons, as snnax.Leaky, snnax.Synaptic or what snnax.neuron(...) returns"


def refractory(kind: type) -> type[CustomNeuron]:
    r"""The class of the same neurons with an absolute refractory time: silent for some steps after each spike.

    .. math::
        \rho_t = \begin{cases} n & R = 1 \\ \max(\rho_{t-1} - 1,\, 0) & \text{else} \end{cases} \qquad
        U_t = \begin{cases} \min(\text{reset}(U_{t-1}),\, \theta) & \rho_t > 0 \\
        \text{as without it} & \text{else} \end{cases}

    A spike resets in the step after it, as everywhere here. From that step on the membrane is held for :math:`n` steps
    where the reset left it, at the threshold at most, and no gradient passes through the spikes that there are not.
    Other states, as a synaptic current, go on. The next spike comes :math:`n + 1` steps after the last at the earliest;
    with :math:`n = 0` it is the neuron without it.

    Args:
        kind: ``snnax.Leaky``, ``snnax.Synaptic``, or a subclass of :class:`~snnax.neurons.CustomNeuron` that resets
            its membrane as ``reset_mechanism`` says, as :func:`~snnax.neuron` makes it from a step with ``reset``.

    Returns:
        A subclass of :class:`~snnax.neurons.CustomNeuron`, the same one for the same ``kind``: the numbers of ``kind``
        and ``refractory``, :math:`n`, a whole number >= 0 of steps or an array with one for each neuron, each by name.
        Its states are ``rest``, which is :math:`\rho`, and those of ``kind``. Of ``Leaky`` and ``Synaptic`` it has
        ``learn=("beta",)`` in place of ``learn_beta=True``, and no graded spikes. ``interop.register_neuron(kind)``
        lets it travel through NIR, as an extension node.

    Raises:
        ArgumentError: for another class; and from the class that it returns, for a refractory time that is no whole
            number >= 0 or is to be learned, and ``state_quant``, which would round the steps that are left; in a call,
            for states of 16 bits that cannot count so many steps.

    Example:
        >>> import jax.numpy as jnp, snnax as snn
        >>> RefractoryLeaky = snn.refractory(snn.Leaky)
        >>> lif = RefractoryLeaky(beta=0.5, refractory=2, reset_mechanism="zero", init_hidden=True)
        >>> spk, _ = snn.unroll(lif, {}, jnp.full((8, 1, 1), 1.25))  # [T, B, N]
        >>> [int(s) for s in spk.ravel()]
        [1, 0, 0, 1, 0, 0, 1, 0]

    Compared with Norse: ``LIFRefracCell`` is ``refractory(Synaptic)`` with ``alpha=1 - dt * tau_syn_inv``,
    ``beta=1 - dt * tau_mem_inv``, ``reset_mechanism="zero"``, ``refractory=rho_reset`` and the input times
    ``dt * tau_mem_inv``; :func:`~snnax.interop.from_norse` ports the cell itself.
    Compared with snnTorch and NIR: they have no refractory time. In continuous time it is
    ``snnax.event.LIFParameters(refractory=...)``, in seconds.
    """
    known = isinstance(kind, type) and (
        kind in _BUILT_IN or (issubclass(kind, CustomNeuron) and kind is not CustomNeuron)
    )
    if not known:
        raise checks.refuse("refractory(kind=...)", kind, _EXPECTED)
    return _made(kind)


class Refractory(CustomNeuron, kw_only=True):
    """What the classes that :func:`refractory` makes have beside the neuron's own."""

    refractory: Parameter = 1.0

    __neuron__: ClassVar[Any]
    parameter_names: ClassVar[tuple[str, ...]] = ("refractory",)

    def __post_init__(self) -> None:
        """Check the refractory time, and what would change it."""
        super().__post_init__()
        kind, given = type(self).__name__, np.asarray(self.refractory)
        if np.any(given != np.rint(given)) or np.any(given < 0):
            raise checks.refuse(
                f"{kind}(refractory=...)", self.refractory, "whole numbers of steps >= 0, as 5"
            )
        if "refractory" in self.learn:
            raise ArgumentError(
                f"{kind}(learn={self.learn!r}): a refractory time is a whole number of steps, which has no gradient; "
                "leave it out."
            )
        if self.state_quant:
            raise ArgumentError(
                f"{kind}(state_quant=...) would round the steps that are left of the refractory time; leave it out."
            )

    def __reduce_ex__(self, protocol: Any) -> Any:
        """To be pickled by the class of the neuron, since the one that is made from it has no place in a module."""
        usual = cast(tuple[Any, ...], super().__reduce_ex__(2))
        return (_empty, (type(self).__neuron__,), *usual[2:])

    @nn.nowrap
    def equation(self, like: jax.Array) -> Equation:
        """As the base's.

        Raises:
            ArgumentError: the steps that are left, a state as any other, would be rounded.
        """
        most, longest = 2 ** (jnp.finfo(like.dtype).nmant + 1), np.max(np.asarray(self.refractory), initial=0)
        if longest > most:
            raise ArgumentError(
                f"{self._label()}: refractory={longest:g}, but states are {like.dtype}, which counts down from {most} "
                f"steps at most. Pass state_dtype=jnp.float32."
            )
        return super().equation(like)


def _empty(kind: type) -> CustomNeuron:
    """A neuron of the class that is made from ``kind``, whose fields are to be filled in."""
    return object.__new__(_made(kind))


@lru_cache(maxsize=1024)
def _made(kind: Any) -> type[CustomNeuron]:
    """The class: the same for the same neurons, so that no program is compiled anew."""
    own = kind not in _BUILT_IN
    charge, states, numbers = cast(
        tuple[Callable[..., Any], tuple[str, ...], tuple[str, ...]],
        (kind.charge, kind.state_names, kind.parameter_names) if own else _BUILT_IN[kind],
    )
    if own and "zero" not in kind.reset_mechanisms:
        raise ArgumentError(
            f"refractory({kind.__name__}): this neuron resets as it likes, so that nobody can say where its membrane "
            "is to be held; expected one whose step takes reset."
        )
    if taken := {"rest", "refractory"} & {*states, *numbers}:
        raise ArgumentError(
            f"refractory({kind.__name__}): {sorted(taken)} means something else in a neuron with a refractory time; "
            "give the state or number another name."
        )
    members = {
        "__annotations__": {
            "reset_delay": ClassVar[bool],
            **({} if own else dict.fromkeys(numbers, Parameter)),
        },
        "__doc__": f"{kind.__name__} with an absolute refractory time; see :func:`snnax.refractory`.",
        "__module__": kind.__module__ if own else __name__,
        "__neuron__": kind,
        "state_names": ("rest", *states),
        "parameter_names": (*numbers, "refractory"),
        "reset_delay": True,  # the membrane waits for the reset of the next step
        "charge": staticmethod(partial(equations.charge, charge, kind.after_reset if own else None)),
        "level": staticmethod(partial(equations.level, kind.level if own else None)),
    }
    # the neuron first: its defaults are those of the class
    bases = (kind, Refractory) if own else (Refractory,)
    return cast(type[CustomNeuron], type(f"Refractory{kind.__name__}", bases, members, kw_only=True))
