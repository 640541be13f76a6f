"""A neuron layer as numbers and words, owned by no framework: what every conversion passes through."""

from __future__ import annotations

from dataclasses import dataclass, field, replace
from typing import Any

import numpy as np

from snnax.interop.conventions import fitting

STATES: dict[str, tuple[str, ...]] = {
    "Leaky": ("mem",),
    "Lapicque": ("mem",),
    "Synaptic": ("syn", "mem"),
    "Alpha": ("syn_exc", "syn_inh", "mem"),
    "RLeaky": ("mem",),
    "RSynaptic": ("syn", "mem"),
    "DeltaLeaky": ("mem",),
    "SLSTM": ("syn", "mem"),
    "SConv2dLSTM": ("syn", "mem"),
    "StateLeaky": ("mem",),
    "LinearLeaky": ("mem",),
    "LeakyParallel": ("mem",),
    "AssociativeLeaky": ("state",),
    "LIF": ("mem",),
    "CubaLIF": ("syn", "mem"),
    "LI": ("mem",),
    "CubaLI": ("syn", "mem"),
    "IF": ("mem",),
    "I": ("mem",),
}
"""States that each neuron keeps, in the order in which it returns them after its spikes."""

NATIVE: dict[str, tuple[str, ...]] = {
    "LIF": ("tau", "r", "v_leak", "v_threshold", "v_reset"),
    "CubaLIF": ("tau_syn", "tau_mem", "r", "v_leak", "v_threshold", "v_reset", "w_in"),
    "LI": ("tau", "r", "v_leak"),
    "CubaLI": ("tau_syn", "tau_mem", "r", "v_leak", "w_in"),
    "IF": ("r", "v_threshold", "v_reset"),
    "I": ("r",),
}
"""NIR's own neurons and their parameters."""

VALUES: dict[str, tuple[str, ...]] = {
    "Leaky": ("beta", "threshold", "graded_spikes_factor"),
    "Lapicque": ("R", "C", "time_step", "threshold"),
    "Synaptic": ("alpha", "beta", "threshold"),
    "Alpha": ("alpha", "beta", "threshold"),
    "RLeaky": ("beta", "threshold"),
    "RSynaptic": ("alpha", "beta", "threshold"),
    "DeltaLeaky": ("beta", "delta_threshold"),
    "SLSTM": ("threshold",),
    "SConv2dLSTM": ("threshold",),
    "StateLeaky": ("beta", "threshold", "graded_spikes_factor"),
    "LinearLeaky": ("beta", "threshold", "graded_spikes_factor"),
    "LeakyParallel": ("threshold", "graded_spikes_factor"),
    "AssociativeLeaky": (),
    **NATIVE,
}
"""Numbers that each neuron's equation takes."""

SIZES: dict[str, tuple[str, ...]] = {
    "DeltaLeaky": (),
    "SLSTM": ("input_size", "hidden_size", "bias"),
    "SConv2dLSTM": ("in_channels", "out_channels", "kernel_size", "bias", "max_pool", "avg_pool"),
    "StateLeaky": ("channels", "kernel_truncation_steps"),
    "LinearLeaky": ("in_features", "out_features", "bias", "kernel_truncation_steps"),
    "LeakyParallel": ("input_size", "hidden_size", "beta", "bias", "weight_hh_enable"),
    "AssociativeLeaky": ("in_dim", "d_value", "d_key", "num_spiking_neurons", "use_q_projection"),
}
"""Layers with weights, sizes or a rule of firing of their own, and their arguments that are no numbers to tune.

They travel as extension nodes: a NIR neuron has one input for each of its neurons, and a threshold.
"""

OPEN: dict[str, tuple[str, ...]] = {
    "dt": tuple(NATIVE),
    "discretization": ("LIF", "CubaLIF", "LI", "CubaLI"),
    "w_in_scaling": ("CubaLIF", "CubaLI"),
    "membrane_current": ("CubaLIF", "CubaLI"),
    "reset_mechanism": ("LIF", "CubaLIF", "IF"),
    "threshold_test": ("LIF", "CubaLIF", "IF"),
    "reset_delay": ("LIF", "CubaLIF", "IF"),
    "reset_at": ("LIF", "CubaLIF", "IF"),
}
"""Options of NIR's own neurons, and which of them have each."""

SEQUENCES = ("StateLeaky", "LinearLeaky", "LeakyParallel", "AssociativeLeaky")
"""Layers of which snnTorch runs all time steps at once, on ``[T, B, N]``."""

OPTIONS: dict[str, Any] = {
    "reset_mechanism": "subtract",
    "reset_delay": True,
    "inhibition": False,
    "surrogate_disable": False,
    "output": False,
}
"""Choices common to the neurons, with the value that they have where a neuron lacks the argument."""

DEFAULT_SURROGATE = ("atan", {"alpha": 2.0})
"""The surrogate of snnTorch's neurons for which none was chosen."""


@dataclass(frozen=True)
class NeuronSpec:
    """One neuron layer.

    Attributes:
        kind: snnTorch's class name.
        values: numbers by snnTorch's names, 0-d or per neuron, channels first.
        learn: names of the values that are trained (``"recurrent"`` for recurrent weights and ``V``).
        options: choices that are not numbers, as in :data:`OPTIONS`.
        surrogate: name and arguments of the surrogate; ``None`` is the default, ``atan(alpha=2)``.
        recurrent: recurrent weights in torch's layout: ``{"weight", "bias"}``, ``{"weight"}`` alone, or ``{"V"}``.
        quantizer: levels of the state quantizer, or ``None``.
        sizes: arguments in :data:`SIZES`.
        weights: weights of such a layer by snnTorch's names, in torch's layout.
        axes: how many axes a number has where the first is one of length 1 for the batch, as torch's ``(1, C, 1, 1)``;
            ``values`` and ``V`` are without it.
    """

    kind: str
    values: dict[str, np.ndarray]
    learn: tuple[str, ...] = ()
    options: dict[str, Any] = field(default_factory=dict)
    surrogate: tuple[str, dict[str, Any]] | None = None
    recurrent: dict[str, np.ndarray] = field(default_factory=dict)
    quantizer: tuple[float, ...] | None = None
    sizes: dict[str, Any] = field(default_factory=dict)
    weights: dict[str, np.ndarray] = field(default_factory=dict)
    axes: dict[str, int] = field(default_factory=dict)

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

    @property
    def choices(self) -> dict[str, Any]:
        """:attr:`sizes` with what is meant where an option of NIR's neurons is left out."""
        if self.kind not in NATIVE:
            return self.sizes
        known = {key: self.sizes[key] for key in OPEN if key in self.sizes and self.kind in OPEN[key]}
        if self.kind in OPEN["reset_at"]:
            known.setdefault("reset_at", "end")
        if self.kind in OPEN["membrane_current"] and known.get("membrane_current") is None:
            exact = known.get("discretization") == "exact"
            known["membrane_current"] = "continuous" if exact else "new"
        return known

    def aligned(self, name: str, shape: tuple[int, ...]) -> NeuronSpec:
        """A copy of which every number broadcasts from the right to one state of ``shape``.

        Args:
            name: of the layer, for errors.
            shape: of one sample's state, channels first.

        Raises:
            ConversionError: for arrays that do not, as one with a number for each sample of a batch.
        """
        loop = {"V": self.recurrent["V"]} if "V" in self.recurrent else {}
        given, full = {**self.values, **loop}, len(shape) + 1
        axes = {**self.axes, **{k: full for k, v in given.items() if np.ndim(v) == full}}
        values, V = (
            {k: fitting(name, k, v, shape) for k, v in numbers.items()} for numbers in (self.values, loop)
        )
        return replace(self, values=values, recurrent={**self.recurrent, **V}, axes=axes)

    def whole(self, name: str, value: np.ndarray) -> np.ndarray:
        """The number ``name``, given without it, with the axis for the batch if it has one."""
        missing = self.axes.get(name, 0) - np.ndim(value)
        return value.reshape((1,) * missing + value.shape) if missing > 0 else value

    def with_values(self, **values: np.ndarray) -> NeuronSpec:
        """A copy with some numbers replaced."""
        return replace(self, values={**self.values, **values})

    def with_options(self, **options: Any) -> NeuronSpec:
        """A copy with some options replaced."""
        return replace(self, options={**self.options, **options})
