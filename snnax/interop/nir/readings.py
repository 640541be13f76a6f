"""What NIR leaves open: one documented choice for each question, and the choices of other frameworks by name.

NIR describes neurons in continuous time. It has no word for the time step, for how an equation is cut into
steps, for when a threshold is tested and what a reset does, for what a spike adds to a current, or for when
recurrent signals arrive. A file alone therefore does not determine a trace; a file and a :class:`Reading` do.
"""

from __future__ import annotations

from dataclasses import dataclass, fields, replace
from typing import Any

import nir
import numpy as np

from snnax import checks
from snnax.errors import ArgumentError

__all__ = ["PRESETS", "Reading"]

DISCRETIZATIONS = ("euler", "exact", "exact_decay")
RESETS = ("nir", "subtract", "none")
SCALINGS = ("ode", "impulse", "decayed_impulse")
CURRENTS = (None, "new", "old", "undecayed", "continuous")
UNITS = ("s", "ms", "dt")
NEUTRAL = {"r": 1.0, "w_in": 1.0, "v_leak": 0.0, "v_reset": 0.0}
"""What a parameter that is left out is taken as."""
IGNORABLE: dict[str, tuple[str, ...]] = {
    node.__name__: tuple(key for key in node.__dataclass_fields__ if key in NEUTRAL)
    for node in (nir.LIF, nir.CubaLIF, nir.LI, nir.CubaLI, nir.IF, nir.I)
}
"""What a reading may leave out of each node."""


@dataclass(frozen=True)
class Reading:
    """How the nodes of a NIR graph are read.

    Attributes:
        dt: time step in seconds; ``None`` takes the one that our own metadata names, else 1e-4.
        discretization: ``"euler"``, ``"exact"`` (solution for an input that is constant over the step), or
            ``"exact_decay"`` (exact decay, the input weighted as in Euler's step).
        reset: ``"nir"`` (to ``v_reset``), ``"subtract"`` the threshold, or ``"none"``.
        w_in: what an input of 1 adds to the current of CubaLIF and CubaLI: ``"ode"`` (``w_in*dt/tau_syn`` in an
            Euler step), ``"impulse"`` (``w_in``), ``"decayed_impulse"`` (``w_in``, which decays in the same step).
        membrane_current: the current that charges the membrane: ``"new"``, ``"old"``, ``"undecayed"`` or
            ``"continuous"``; ``None`` is ``"continuous"`` with ``discretization="exact"``, else ``"new"``.
        threshold: tested ``"after"`` the membrane has integrated its input, or ``"before"`` (spikes come a step
            later).
        reset_delay: the reset acts in the step after the spike.
        reset_at: with ``threshold="before"`` or ``reset_delay=True`` the reset is known when a step begins; it acts at
            its ``"end"``, at its ``"start"``, before the membrane decays, or ``"cuba_start"``: at the start in CubaLIF,
            at the end in LIF.
        integrator: what an input of 1 adds to IF and I: ``"impulse"`` (``r``, as every framework reads it), or
            ``"ode"`` (``r*dt``, as the equation says).
        recurrent_bias: ``"always"``, or ``"after_first"``: a cycle carries nothing in the first step, not even
            the bias of the layers on it.
        feedback: when a neuron's spikes that go round a cycle arrive: in the ``"next_step"``, or, with
            ``threshold="before"``, where they are known when a step begins, in the ``"same_step"``.
        overshoot: what happens to a membrane that is above its threshold when a step begins, as a subtraction may
            leave it: ``"nir"``: nothing, it fires if it is above when charged. ``"snntorch"``: as in snnTorch's
            neurons with ``reset_delay=False`` it is reset while it charges (R), and after firing (S) by ``S - R``.
        input_delay: steps by which every input comes late.
        ignore: parameters that are not read, as ``"LIF.r"`` (taken as 1) or ``"LIF.v_reset"`` (taken as 0).
        time_unit: of the time constants and delays in the file: ``"s"``, ``"ms"``, or ``"dt"``: the file holds
            ``dt*tau``, as Norse 1.1.0's ``to_nir(..., dt)`` writes; that ``dt`` must then be given.
    """

    dt: float | None = None
    discretization: str = "euler"
    reset: str = "nir"
    w_in: str = "ode"
    membrane_current: str | None = None
    threshold: str = "after"
    reset_delay: bool = False
    reset_at: str = "end"
    integrator: str = "impulse"
    recurrent_bias: str = "always"
    feedback: str = "next_step"
    overshoot: str = "nir"
    input_delay: int = 0
    ignore: tuple[str, ...] = ()
    time_unit: str = "s"

    def __post_init__(self) -> None:
        """Check every choice, and that they can be meant together.

        Raises:
            ArgumentError: names the choice and what to write instead.
        """
        for name, known in _CHOICES.items():
            value = getattr(self, name)
            if not any(type(value) is type(choice) and value == choice for choice in known):
                raise ArgumentError(
                    f"{name}={checks.shown(value)}; expected one of {', '.join(map(repr, known))}."
                )
        number = isinstance(self.dt, int | float | np.number) and not isinstance(self.dt, bool)
        if self.dt is not None and not (number and 0 < self.dt < float("inf")):
            raise ArgumentError(f"dt={self.dt!r}; expected seconds greater than 0, as dt=1e-4.")
        if (
            isinstance(self.input_delay, bool)
            or not isinstance(self.input_delay, int)
            or self.input_delay < 0
        ):
            raise ArgumentError(f"input_delay={self.input_delay!r}; expected a number of steps >= 0.")
        self._check_ignored()
        self._check_together()

    def _check_ignored(self) -> None:
        known = [f"{kind}.{name}" for kind, names in IGNORABLE.items() for name in names]
        if not isinstance(self.ignore, tuple):
            raise ArgumentError(
                f"ignore={checks.shown(self.ignore)}; expected a tuple of names, as ignore=('LIF.v_reset',)."
            )
        if unknown := [name for name in self.ignore if name not in known]:
            raise ArgumentError(
                f"ignore={checks.shown(self.ignore)}: {checks.shown(unknown[0])} cannot be left out; "
                f"expected some of {', '.join(known)}."
            )

    def _check_together(self) -> None:
        if self.time_unit == "dt" and self.dt is None:
            raise ArgumentError(
                "time_unit='dt' without dt: time constants are divided by it; pass the dt that the file was written "
                "with, as dt=1e-3."
            )
        if self.reset_delay and self.threshold == "before":
            raise ArgumentError(
                "reset_delay=True with threshold='before', which delays the spike itself; pass reset_delay=False, or "
                "threshold='after'."
            )
        if self.feedback == "same_step" and self.threshold != "before":
            raise ArgumentError(
                "feedback='same_step' with threshold='after': spikes that follow from a step's input cannot be part of "
                "it; pass threshold='before', or feedback='next_step'."
            )
        if self.overshoot == "snntorch" and (self.threshold, self.reset_delay) != ("after", False):
            raise ArgumentError(
                f"overshoot='snntorch' with threshold={self.threshold!r}, reset_delay={self.reset_delay!r}; expected "
                "threshold='after' and reset_delay=False, as snnTorch's neurons have it, or overshoot='nir'."
            )
        if self.membrane_current == "continuous" and self.discretization != "exact":
            raise ArgumentError(
                f"membrane_current='continuous' with discretization={self.discretization!r}; only the exact solution "
                "follows the current within a step: pass discretization='exact', or membrane_current='new'."
            )

    @property
    def seconds(self) -> float:
        """Seconds in one of the file's units of time."""
        return 1.0 / self.dt if self.time_unit == "dt" and self.dt else {"ms": 1e-3}.get(self.time_unit, 1.0)


_CHOICES: dict[str, tuple[Any, ...]] = {
    "discretization": DISCRETIZATIONS,
    "reset": RESETS,
    "w_in": SCALINGS,
    "membrane_current": CURRENTS,
    "threshold": ("after", "before"),
    "reset_delay": (False, True),
    "reset_at": ("end", "start", "cuba_start"),
    "integrator": ("impulse", "ode"),
    "recurrent_bias": ("always", "after_first"),
    "feedback": ("next_step", "same_step"),
    "overshoot": ("nir", "snntorch"),
    "time_unit": UNITS,
}

PRESETS: dict[str, Reading] = {
    "norse": Reading(
        recurrent_bias="after_first",
        ignore=("LIF.r", "IF.r", "LIF.v_reset", "IF.v_reset", "CubaLIF.v_reset"),
    ),
    "norse_export": Reading(dt=1e-3, time_unit="dt", w_in="impulse", membrane_current="undecayed"),
    "snntorch": Reading(ignore=("LIF.v_reset", "CubaLIF.v_reset", "IF.v_reset"), overshoot="snntorch"),
    "spyx": Reading(threshold="before", reset="subtract", feedback="same_step", reset_at="cuba_start"),
    "nengo": Reading(discretization="exact"),
    "sinabs": Reading(discretization="exact_decay", reset="subtract"),
    "rockpool": Reading(discretization="exact_decay", reset="subtract"),
    "spinnaker2": Reading(),
    "lava": Reading(input_delay=1),
}
"""The reading of each framework that reproduces its recording of the paper's LIF neuron.

``"norse"`` reads a file as Norse 1.1.0 does. ``"norse_export"`` reads the files that Norse 1.1.0 *writes* as
the network that they came from: its ``to_nir`` multiplies every time constant by its ``dt`` (1e-3 unless
given; pass the same one), and leaves ``w_in`` at 1, which Norse adds to the current undivided. No file says
who wrote it, and a time constant of 1e-5 s can be meant, so this is never guessed. What such a file does not
hold cannot be read: a reset potential other than 0, ``reset_subtract`` (pass ``reset="subtract"``), and that
Norse starts from ``v_leak`` where it is not 0.
"""


def reading(preset: str | Reading | None = None, **choices: Any) -> Reading:
    """A reading by name, with some choices changed; choices that are ``None`` stay what they are.

    Args:
        preset: a key of :data:`PRESETS`, a reading, or ``None`` for the defaults.
        **choices: attributes of :class:`Reading`.

    Raises:
        ArgumentError: for an unknown preset or choice.

    Example:
        >>> from snnax.interop.nir.readings import reading
        >>> reading("norse", dt=1e-3).recurrent_bias, reading(reset="subtract").reset
        ('after_first', 'subtract')
    """
    if isinstance(preset, str):
        if preset not in PRESETS:
            raise ArgumentError(f"preset={preset!r}; expected one of {', '.join(map(repr, PRESETS))}.")
        base = PRESETS[preset]
    else:
        base = Reading() if preset is None else preset
    known = {field.name for field in fields(Reading)}
    if unknown := sorted(set(choices) - known):
        raise ArgumentError(f"{unknown} are no choices of a reading; those are {', '.join(sorted(known))}.")
    return replace(base, **{name: value for name, value in choices.items() if value is not None})
