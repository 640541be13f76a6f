"""A neuron layer as numbers and words, owned by no framework: what every conversion passes through."""

from __future__ import annotations

from dataclasses import dataclass, field, replace
from typing import Any

import numpy as np

STATES: dict[str, tuple[str, ...]] = {
    "Leaky": ("mem",),
    "Lapicque": ("mem",),
    "Synaptic": ("syn", "mem"),
    "Alpha": ("syn_exc", "syn_inh", "mem"),
    "RLeaky": ("mem",),
    "RSynaptic": ("syn", "mem"),
}
"""States that each neuron returns after its spikes, in order."""

VALUES: dict[str, tuple[str, ...]] = {
    "Leaky": ("beta", "threshold", "graded_spikes_factor"),
    "Lapicque": ("R", "C", "time_step", "threshold"),
    "Synaptic": ("alpha", "beta", "threshold"),
    "Alpha": ("alpha", "beta", "threshold"),
    "RLeaky": ("beta", "threshold"),
    "RSynaptic": ("alpha", "beta", "threshold"),
}
"""Numbers that each neuron's equation takes."""

OPTIONS: dict[str, Any] = {
    "reset_mechanism": "subtract",
    "reset_delay": True,
    "inhibition": False,
    "surrogate_disable": False,
    "output": False,
}
"""Choices common to the neurons, with the value that they have where a neuron lacks the argument."""


@dataclass(frozen=True)
class NeuronSpec:
    """One neuron layer.

    Attributes:
        kind: snnTorch's class name.
        values: numbers by snnTorch's names, 0-d or per neuron, channels first.
        learn: names of the values that are trained (``"recurrent"`` for recurrent weights and ``V``).
        options: choices that are not numbers, as in :data:`OPTIONS`.
        surrogate: name and arguments of the surrogate; ``None`` is the default, ``atan(alpha=2)``.
        recurrent: recurrent weights in torch's layout: ``{"weight", "bias"}`` or ``{"V"}``.
        quantizer: levels of the state quantizer, or ``None``.
    """

    kind: str
    values: dict[str, np.ndarray]
    learn: tuple[str, ...] = ()
    options: dict[str, Any] = field(default_factory=dict)
    surrogate: tuple[str, dict[str, Any]] | None = None
    recurrent: dict[str, np.ndarray] = field(default_factory=dict)
    quantizer: tuple[float, ...] | None = None

    def __getattr__(self, name: str) -> Any:
        """Numbers and options by name: ``spec.beta``, ``spec.reset_delay``; ``None`` for a number it lacks."""
        if name.startswith("_"):
            raise AttributeError(name)
        if name in OPTIONS:
            return self.options.get(name, OPTIONS[name])
        return self.values.get(name)

    @property
    def states(self) -> tuple[str, ...]:
        """Names of the states that the neuron returns."""
        return STATES[self.kind]

    def with_values(self, **values: np.ndarray) -> NeuronSpec:
        """A copy with some numbers replaced."""
        return replace(self, values={**self.values, **values})

    def with_options(self, **options: Any) -> NeuronSpec:
        """A copy with some options replaced."""
        return replace(self, options={**self.options, **options})
