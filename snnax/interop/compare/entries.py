"""The entries of a report: causes, places, numbers, layers, gradients, pictures."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np


@dataclass(frozen=True)
class Cause:
    """Why two layers behave differently.

    Attributes:
        kind: one of ``reset mechanism``, ``reset delay``, ``threshold comparison``, ``threshold``, ``beta``,
            ``alpha``, ``dt``, ``gain``, ``bias``, ``axis order``, ``transposed kernel``, ``weights``,
            ``delay``, ``wiring``, ``recurrent bias``, ``initial state``, ``neuron class``, ``inhibition``,
            ``quantizer``, ``numerics``, ``unknown``.
        text: one sentence with the values of both sides.
        certain: whether the recorded numbers follow from it, step by step, up to rounding.
    """

    kind: str
    text: str
    certain: bool = True


@dataclass(frozen=True)
class Divergence:
    """One neuron at one step, on both sides.

    Attributes:
        step: time step.
        sample: index in the batch.
        neuron: index of the neuron, ``(n,)`` or ``(c, h, w)``.
        spk: spikes of ``a`` and ``b``.
        mem: membranes, ``None`` where they were not recorded.
        current: input currents.
        threshold: firing threshold, ``None`` if unknown.
        bound: how far apart rounding may take the membranes.
        current_bound: how far apart rounding may take the currents.
    """

    step: int
    sample: int
    neuron: tuple[int, ...]
    spk: tuple[float, float]
    mem: tuple[float | None, float | None]
    current: tuple[float, float]
    threshold: float | None
    bound: float
    current_bound: float


@dataclass(frozen=True)
class Numbers:
    """One way of comparing a layer.

    Attributes:
        spike_mismatches: neuron-steps whose spikes differ.
        max_mem_gap: largest difference of the membranes, ``None`` if one side has none.
        max_current_gap: largest difference of the currents.
        first: first spike mismatch, or else the first unexplained difference.
    """

    spike_mismatches: int
    max_mem_gap: float | None
    max_current_gap: float
    first: Divergence | None


@dataclass(frozen=True)
class LayerReport:
    """One neuron layer, or one output of the network.

    Attributes:
        name: name of the node.
        kind: class of the neuron; ``"output"`` for what the network returns.
        shape: shape of one sample's neurons.
        neuron_steps: how many neuron-steps were compared.
        end_to_end: both sides on their own.
        layerwise: ``b`` with the spikes of ``a`` going into each layer.
        explained: spike mismatches, layer by layer, that are rounding or follow from it.
        unexplained: neuron-steps whose spikes, states or currents differ by more than rounding.
        first: first unexplained difference.
        causes: likely causes, the first one first.
        bound_source: ``"weights"`` or ``"estimate"``: what the bound of the currents was computed from.
        spikes: how many spikes ``a`` emitted.
        follows: whether it does as it should, but differs end to end after another layer that does not.
        notes: what could not be compared.
    """

    name: str
    kind: str
    shape: tuple[int, ...]
    neuron_steps: int
    end_to_end: Numbers
    layerwise: Numbers
    explained: int
    unexplained: int
    first: Divergence | None = None
    causes: tuple[Cause, ...] = ()
    bound_source: str = "weights"
    spikes: int = 0
    follows: bool = False
    notes: tuple[str, ...] = ()

    @property
    def cause(self) -> Cause | None:
        """The likeliest cause of what is unexplained."""
        return self.causes[0] if self.causes else None

    @property
    def status(self) -> str:
        """``"equal"``, ``"rounding"``, ``"unexplained"`` or ``"follows"``.

        Equal: no spike differs. Rounding: all that differ are explained. Follows: the layer itself is right,
        and differs end to end because of another that is not.
        """
        if self.unexplained:
            return "unexplained"
        if self.follows:
            return "follows"
        return "rounding" if self.explained or self.end_to_end.spike_mismatches else "equal"

    @property
    def summary(self) -> str:
        """The status and, where something is unexplained, the kind of its cause."""
        return self.status if self.cause is None else f"{self.status}: {self.cause.kind}"


@dataclass(frozen=True)
class GradientReport:
    """Gradient of one weight on both sides: largest difference over largest entry of ``a``."""

    name: str
    relative: float
    agree: bool


@dataclass(frozen=True)
class Picture:
    """One sample of one layer, end to end, for :meth:`Report.plot`; arrays ``[T, N]``."""

    name: str
    spk_a: np.ndarray
    spk_b: np.ndarray
    mem_a: np.ndarray | None
    mem_b: np.ndarray | None
    first: tuple[int, int] | None
    status: str
