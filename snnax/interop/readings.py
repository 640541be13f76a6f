"""What NIR leaves open: one documented choice for each question, and the choices of other frameworks by name.

NIR describes neurons in continuous time. It has no word for the time step, for how an equation is cut into
steps, for when a threshold is tested and what a reset does, for what a spike adds to a current, or for when
recurrent signals arrive. A file alone therefore does not determine a trace; a file and a :class:`Reading` do.
"""

from __future__ import annotations

from dataclasses import dataclass, fields, replace
from typing import Any

from snnax.errors import ArgumentError

DISCRETIZATIONS = ("euler", "exact", "exact_decay")
RESETS = ("nir", "subtract", "none")
SCALINGS = ("ode", "impulse", "decayed_impulse")
CURRENTS = (None, "new", "old", "undecayed", "continuous")
UNITS = {"s": 1.0, "ms": 1e-3}


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
        integrator: what an input of 1 adds to IF and I: ``"impulse"`` (``r``, as every framework reads it), or
            ``"ode"`` (``r*dt``, as the equation says).
        recurrent_bias: ``"always"``, or ``"after_first"``: a cycle carries nothing in the first step, not even
            the bias of the layers on it.
        input_delay: steps by which every input comes late.
        ignore: parameters that are not read, as ``"LIF.r"`` (taken as 1) or ``"LIF.v_reset"`` (taken as 0).
        time_unit: ``"s"`` or ``"ms"``: of the time constants and delays in the file.
    """

    dt: float | None = None
    discretization: str = "euler"
    reset: str = "nir"
    w_in: str = "ode"
    membrane_current: str | None = None
    threshold: str = "after"
    reset_delay: bool = False
    integrator: str = "impulse"
    recurrent_bias: str = "always"
    input_delay: int = 0
    ignore: tuple[str, ...] = ()
    time_unit: str = "s"

    def __post_init__(self) -> None:
        """Check every choice."""
        for name, known in _CHOICES.items():
            if getattr(self, name) not in known:
                raise ArgumentError(
                    f"{name}={getattr(self, name)!r}; expected one of {', '.join(map(repr, known))}."
                )
        if self.dt is not None and not self.dt > 0:
            raise ArgumentError(f"dt={self.dt!r}; expected seconds greater than 0.")
        if (
            isinstance(self.input_delay, bool)
            or not isinstance(self.input_delay, int)
            or self.input_delay < 0
        ):
            raise ArgumentError(f"input_delay={self.input_delay!r}; expected a number of steps >= 0.")

    @property
    def seconds(self) -> float:
        """Seconds in one of the file's units of time."""
        return UNITS[self.time_unit]


_CHOICES: dict[str, tuple[Any, ...]] = {
    "discretization": DISCRETIZATIONS,
    "reset": RESETS,
    "w_in": SCALINGS,
    "membrane_current": CURRENTS,
    "threshold": ("after", "before"),
    "reset_delay": (False, True),
    "integrator": ("impulse", "ode"),
    "recurrent_bias": ("always", "after_first"),
    "time_unit": tuple(UNITS),
}

PRESETS: dict[str, Reading] = {
    "norse": Reading(
        recurrent_bias="after_first",
        ignore=("LIF.r", "IF.r", "LIF.v_reset", "IF.v_reset", "CubaLIF.v_reset"),
    ),
    "snntorch": Reading(ignore=("LIF.v_reset", "CubaLIF.v_reset", "IF.v_reset")),
    "spyx": Reading(threshold="before", reset="subtract"),
    "nengo": Reading(discretization="exact"),
    "sinabs": Reading(discretization="exact_decay", reset="subtract"),
    "rockpool": Reading(discretization="exact_decay", reset="subtract"),
    "spinnaker2": Reading(),
    "lava": Reading(input_delay=1),
}
"""The reading of each framework that reproduces its recording of the paper's LIF neuron."""


def reading(preset: str | Reading | None = None, **choices: Any) -> Reading:
    """A reading by name, with some choices changed; choices that are ``None`` stay what they are.

    Args:
        preset: a key of :data:`PRESETS`, a reading, or ``None`` for the defaults.
        **choices: attributes of :class:`Reading`.

    Raises:
        ArgumentError: for an unknown preset or choice.

    Example:
        >>> from snnax.interop.readings import reading
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
