"""A neuron layer as numbers and words, owned by no framework: what every conversion passes through."""

from __future__ import annotations

from dataclasses import dataclass, field, replace
from typing import TYPE_CHECKING, Any

import numpy as np

from snnax.interop.conventions import fitting
from snnax.interop.families.registry import families, unknown_neuron

if TYPE_CHECKING:  # a family is made of specs
    from snnax.interop.families.family import Family

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
        kind: name of its class in snnax and, but for NIR's own neurons, in snnTorch.
        values: numbers by snnTorch's names, 0-d or per neuron, channels first.
        learn: names of the values that are trained (``"recurrent"`` for recurrent weights and ``V``).
        options: choices that are not numbers, as in :data:`OPTIONS`.
        surrogate: name and arguments of the surrogate; ``None`` is the default, ``atan(alpha=2)``.
        recurrent: recurrent weights in torch's layout: ``{"weight", "bias"}``, ``{"weight"}`` alone, or ``{"V"}``.
        quantizer: levels of the state quantizer, or ``None``.
        sizes: arguments of the layer that are no numbers to tune, and the open choices of NIR's own neurons.
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
    def family(self) -> Family:
        """What conversions know of the neuron.

        Raises:
            ConversionError: for a class that cannot be converted, as a damaged file may name one.
        """
        found = families().get(self.kind)
        if found is None:
            raise unknown_neuron(self.kind, f"neuron class {self.kind!r} is unknown", "Known")
        return found

    @property
    def states(self) -> tuple[str, ...]:
        """Names of the states that the neuron returns."""
        return self.family.states

    @property
    def choices(self) -> dict[str, Any]:
        """:attr:`sizes` with what is meant where an option of NIR's neurons is left out."""
        return self.family.meant(self.sizes)

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
