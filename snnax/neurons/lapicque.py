"""Lapicque's neuron: an RC circuit with a threshold."""

from __future__ import annotations

from typing import Any, ClassVar

import flax.linen as nn
import jax
import numpy as np
from jax.typing import ArrayLike

from snnax.dynamics import lapicque
from snnax.dynamics.arithmetic import Constant
from snnax.dynamics.equation import Equation
from snnax.errors import ArgumentError
from snnax.neurons.base import Quantizer, SpikeFunction, SpikingNeuron
from snnax.neurons.values import FrozenArray, Parameter


class Lapicque(SpikingNeuron):
    r"""Leaky integrate-and-fire neuron with the resistance and capacitance of its membrane.

    .. math::
        P &= [U_{t-1} > \theta] \\
        U_t &= \tfrac{\Delta t}{C} I_t + \bigl(1 - \tfrac{\Delta t}{R C}\bigr) U_{t-1} - P\,\theta
        &&\text{"subtract"} \\
        S_t &= [U_t > \theta]

    "zero" sets the membrane to zero in the step after a spike, whatever the input.
    Give R and C; or ``beta`` with at most one of them, the other follows from
    :math:`RC = \Delta t / \ln(1/\beta)`, and R is 1 if neither is given.

    Call: ``spk, mem = lif(x, mem)``, all ``[B, ..., N]``. State: ``mem``. See :class:`SpikingNeuron` for the
    arguments that are not listed here.

    Args:
        beta: decay per step, in (0, 1]; not given if ``False``.
        R: resistance in ohm, above 0; not given if ``False``.
        C: capacitance in farad, above 0; not given if ``False``.
        time_step: :math:`\Delta t` in seconds.
        learn_beta: train ``beta``; what follows from it is computed anew in each call.

    Raises:
        ArgumentError: too few or too many of ``beta``, ``R`` and ``C``, or one is not above 0.

    Example:
        >>> import jax.numpy as jnp, snnax as snn
        >>> lif = snn.Lapicque(R=2, C=5)
        >>> spk, mem = lif.apply({}, jnp.full((1, 1), 6.0))
        >>> float(spk[0, 0]), round(float(mem[0, 0]), 4)
        (1.0, 1.2)

    Source: snnTorch 1.0.0, ``snntorch.Lapicque``; L. Lapicque (1907).
    Compared with snnTorch: the same, to
    the last bit in float32 if R and C are given; a C or R that follows from ``beta`` may differ in its last
    bits (a logarithm). As there, ``beta`` itself is not the decay of the membrane, which is :math:`1 -
    \ln(1/\beta)`: 0.8946 for 0.9. All three given, and arrays, are errors there; here the first is a clear
    one and arrays work. ``learn_beta`` has no effect there and breaks the second backward pass; here it
    changes the dynamics. Its docstring gives ``reset_mechanism`` another default than its code, followed
    here.
    """

    beta: Parameter | None = False
    R: Parameter | None = False
    C: Parameter | None = False
    time_step: Parameter = 1
    threshold: Parameter = 1.0
    spike_grad: SpikeFunction | None = None
    surrogate_disable: bool = False
    init_hidden: bool = False
    inhibition: bool = False
    learn_beta: bool = False
    learn_threshold: bool = False
    reset_mechanism: str = "subtract"
    state_quant: Quantizer | bool | None = False
    output: bool = False

    state_names: ClassVar[tuple[str, ...]] = ("mem",)
    parameter_names: ClassVar[tuple[str, ...]] = ("time_step", "threshold")
    buffer_names: ClassVar[dict[str, str]] = {"beta": "beta", "R": "R", "C": "C"}

    def __post_init__(self) -> None:
        """Check which of ``beta``, ``R`` and ``C`` are given, and make them hashable."""
        given = [name for name in ("beta", "R", "C") if not _absent(getattr(self, name))]
        for name in ("beta", "R", "C"):
            value = FrozenArray.wrap(getattr(self, name), f"Lapicque({name}=...)") if name in given else False
            object.__setattr__(self, name, value)
        if set(given) not in ({"beta"}, {"beta", "R"}, {"beta", "C"}, {"R", "C"}):
            raise ArgumentError(
                f"Lapicque got {' and '.join(given) or 'none'} of beta, R and C; expected R and C, or beta "
                "with at most one of them, as Lapicque(beta=0.9) or Lapicque(R=5.0, C=2.0, time_step=0.1)."
            )
        if self.learn_beta and "beta" not in given:
            raise ArgumentError(
                "Lapicque(learn_beta=True) has no beta to learn; pass beta=0.9 instead of R and C."
            )
        for name in (*given, "time_step"):
            _above_zero(name, FrozenArray.wrap(getattr(self, name), f"Lapicque({name}=...)"))
        super().__post_init__()

    @nn.compact
    def __call__(self, x: ArrayLike, mem: ArrayLike | None = None) -> Any:
        """One time step on ``x`` ``[B, ..., N]``; returns ``(spk, mem)``, or ``spk`` with ``init_hidden``."""
        return self._step(x, mem)

    @nn.nowrap
    def equation(self, like: jax.Array) -> Equation:
        """The RC circuit; R scales the input."""
        time_step = self._value("time_step", like)
        circuit = (*self._circuit(like, time_step), time_step)
        return Equation(lapicque.charge, self._rule(like), circuit, scales_input=True)

    @nn.nowrap
    def _circuit(self, like: jax.Array, time_step: Constant) -> tuple[Constant, Constant]:
        """R and C: given, stored in ``buffers``, or what follows from ``beta``."""
        known = {n: self._value(n, like) for n in ("R", "C") if self._has(n)}
        if len(known) == 2:
            return known["R"], known["C"]
        beta = self._value("beta", like, self.learn_beta)
        if "C" in known:
            return lapicque.complement(beta, known["C"], time_step), known["C"]
        resistance = known.get("R", np.asarray(1, like.dtype))
        return resistance, lapicque.complement(beta, resistance, time_step)

    @nn.nowrap
    def _has(self, name: str) -> bool:
        return getattr(self, name) is not False or self.has_variable("buffers", name)


def _absent(value: Any) -> bool:
    return value is None or value is False


def _above_zero(name: str, value: float | FrozenArray) -> None:
    numbers = np.asarray(value, np.float64)
    if not np.all(np.isfinite(numbers) & (numbers > 0)):
        raise ArgumentError(f"Lapicque({name}={value!r}); expected finite numbers above 0.")
