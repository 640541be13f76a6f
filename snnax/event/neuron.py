"""Parameters of the time-continuous neurons: numbers, checked once, that a compiled engine is built around."""

from __future__ import annotations

import math
from dataclasses import dataclass

from snnax import checks
from snnax.checks import number
from snnax.errors import ArgumentError
from snnax.event.arguments import seconds

__all__ = ["LIFParameters", "LIParameters", "Membrane", "membrane"]


@dataclass(frozen=True, kw_only=True)
class LIParameters:
    r"""A leaky integrator with an exponential synapse: the readout of an event-driven network.

    .. math:: \tau_m \dot V = v_{leak} - V + I, \qquad \tau_s \dot I = -I

    and an input spike of weight :math:`w` does :math:`I \leftarrow I + w`. ``V`` starts at ``v_leak``, ``I`` at 0.

    Args:
        tau_mem: time constant of the membrane, in seconds.
        tau_syn: time constant of the synapse, in seconds; any ratio to ``tau_mem``, 1 too.
        v_leak: voltage to which the membrane decays.

    Raises:
        ArgumentError: for a time constant that is not positive and finite, or a voltage that is no finite number.

    Example:
        >>> from snnax.event import LIParameters
        >>> LIParameters(tau_mem=20e-3).tau_syn
        0.005
    """

    tau_mem: float = 10e-3
    tau_syn: float = 5e-3
    v_leak: float = 0.0

    def __post_init__(self) -> None:
        """Check the numbers and make each a Python float."""
        _check_membrane(self)


@dataclass(frozen=True, kw_only=True)
class LIFParameters:
    r"""A leaky integrate-and-fire neuron with an exponential synapse (NIR's ``CubaLIF``), in continuous time.

    .. math:: \tau_m \dot V = v_{leak} - V + I, \qquad \tau_s \dot I = -I

    An input spike of weight :math:`w` does :math:`I \leftarrow I + w`. Where ``V`` reaches ``threshold`` the neuron
    fires, ``V`` becomes ``v_reset`` and ``I`` stays; ``V`` is then held at ``v_reset`` for ``refractory`` seconds.

    Args:
        tau_mem: time constant of the membrane, in seconds.
        tau_syn: time constant of the synapse, in seconds; any ratio to ``tau_mem``. ``tau_mem = 2 tau_syn``, the
            default, has crossings in closed form and is the fastest.
        threshold: voltage at which the neuron fires.
        v_leak: voltage to which the membrane decays. Above ``threshold`` the neuron fires on its own.
        v_reset: voltage after a spike, below ``threshold``.
        refractory: how long the voltage is held after a spike, in seconds. ``math.inf``: the neuron fires once at
            most, as codes of the time to the first spike want it; their engine is the fastest.
        v_initial: voltage at time 0, below ``threshold``. ``None``: ``v_leak``, or ``v_reset`` for a neuron that
            fires on its own.

    Raises:
        ArgumentError: for numbers that no neuron can have; the message says which would do.

    The numbers are part of the compiled program: a frozen, hashable object, equal to another with the same numbers.
    They get no gradients; weights and spike times do.

    Compared with
        * jaxsnn: ``tau_mem``, ``tau_syn``, ``v_th``, ``v_leak`` and ``v_reset`` mean the same; it takes only the
          ratios 1 and 2 of the time constants, and one spike per neuron is asked for by ``v_reset=-1000`` there,
          by ``refractory=math.inf`` here.
        * NIR: ``CubaLIF`` has gains ``r`` and ``w_in`` of the current and of the weights; here both are 1.
        * snnTorch, Norse: step in time; this is the limit of a vanishing step.

    Example:
        >>> from snnax.event import LIFParameters
        >>> LIFParameters(tau_mem=20e-3, tau_syn=10e-3, v_reset=-1.0).refractory
        0.0
    """

    tau_mem: float = 10e-3
    tau_syn: float = 5e-3
    threshold: float = 1.0
    v_leak: float = 0.0
    v_reset: float = 0.0
    refractory: float = 0.0
    v_initial: float | None = None

    def __post_init__(self) -> None:
        """Check the numbers and make each a Python float."""
        _check_membrane(self)
        checks.fields(
            self,
            threshold=number(),
            v_reset=number(),
            v_initial=checks.maybe(number()),
            refractory=number(0.0, finite=False, called="seconds, or math.inf for one spike at most,"),
        )
        self._check_crossing()

    def _check_crossing(self) -> None:
        """Refuse the voltages at which a crossing has no time: never reached, or reached for ever."""
        problems = {
            "v_leak": (
                self.v_leak == self.threshold,
                "is the threshold, which the voltage approaches for ever",
            ),
            "v_reset": (self.v_reset >= self.threshold, "is not below the threshold: it would fire for ever"),
            "v_initial": (
                self.v_initial is not None and self.v_initial >= self.threshold,
                "is not below the threshold, so that no crossing follows",
            ),
        }
        for name, (refused, problem) in problems.items():
            if refused:
                raise ArgumentError(
                    f"LIFParameters({name}={getattr(self, name):g}, threshold={self.threshold:g}): {name} {problem}. "
                    f"Write LIFParameters({name}={self.threshold - 1:g}, threshold={self.threshold:g}), or any other "
                    "number below the threshold."
                )

    # Voltages as the engines see them: u = V - v_leak, which decays to zero without input.

    @property
    def u_threshold(self) -> float:
        """The threshold above ``v_leak``; negative for a neuron that fires on its own."""
        return self.threshold - self.v_leak

    @property
    def u_reset(self) -> float:
        """The voltage after a spike above ``v_leak``."""
        return self.v_reset - self.v_leak

    @property
    def u_initial(self) -> float:
        """The voltage at time 0 above ``v_leak``."""
        if self.v_initial is not None:
            return self.v_initial - self.v_leak
        return self.u_reset if self.fires_alone else 0.0

    @property
    def fires_alone(self) -> bool:
        """Whether the leak alone drives the voltage over the threshold."""
        return self.v_leak > self.threshold

    @property
    def pause(self) -> float:
        """How long the voltage of a neuron that fires again is held after a spike."""
        return 0.0 if self.fires_once else self.refractory

    @property
    def fires_once(self) -> bool:
        """Whether the neuron stays silent after its first spike."""
        return math.isinf(self.refractory)


Membrane = LIParameters | LIFParameters
"""Whatever has ``tau_mem``, ``tau_syn`` and ``v_leak``."""

membrane = checks.instance((LIParameters, LIFParameters), "LIParameters() or LIFParameters()")
"""The check of an argument that is one of them."""


def _check_membrane(owner: Membrane) -> None:
    checks.fields(owner, tau_mem=seconds, tau_syn=seconds, v_leak=number())
