"""What ``synops`` returns: a row for each layer and each neuron, and their sums."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import asdict, dataclass, replace
from typing import Any

from snnax import checks
from snnax.shown import columns, shown

__all__ = ["LayerOperations", "NeuronActivity", "SynapticOperations"]

AC_JOULES = 0.9e-12
MAC_JOULES = 4.6e-12


@dataclass(frozen=True)
class LayerOperations:
    """The synaptic operations of one layer, over all steps and samples.

    Attributes:
        name: path of its variables, as ``"layers_0"`` or ``"layers_1/recurrent"``.
        kind: ``"dense"`` or ``"convolution"``.
        dense: operations if nothing were zero.
        macs: multiply-accumulates with neither the weight nor what enters zero.
        acs: accumulates, the same in steps where all that enters is -1, 0 or 1.
        active: numbers that entered and were not zero.
        inputs: numbers that entered.
    """

    name: str
    kind: str
    dense: int
    macs: int
    acs: int
    active: int
    inputs: int

    @property
    def effective(self) -> int:
        """``macs + acs``."""
        return self.macs + self.acs

    @property
    def density(self) -> float:
        """The share of what entered that was not zero."""
        return self.active / self.inputs if self.inputs else 0.0

    def joined(self, other: LayerOperations) -> LayerOperations:
        """Of a layer that is called at several places, all of them."""
        counts = {
            n: getattr(self, n) + getattr(other, n) for n in ("dense", "macs", "acs", "active", "inputs")
        }
        return replace(self, **counts)


@dataclass(frozen=True)
class NeuronActivity:
    """What a layer of neurons fired, over all steps and samples.

    Attributes:
        name: its path, as :func:`~snnax.unroll` records it.
        spikes: outputs that were not zero.
        outputs: all of them: neurons, steps and samples.
    """

    name: str
    spikes: int
    outputs: int

    @property
    def rate(self) -> float:
        """Spikes of a neuron in a step."""
        return self.spikes / self.outputs if self.outputs else 0.0


@dataclass(frozen=True)
class SynapticOperations:
    """Synaptic operations of a network on an input, as :func:`snnax.utils.synops` counts them.

    ``str`` and ``print`` make a table of it, and ``spikeplot.synops`` a picture.

    Attributes:
        layers: a :class:`LayerOperations` for each layer that has weights, in the order of their first call.
        neurons: a :class:`NeuronActivity` for each layer of neurons.
        left_out: what was not counted, in words: products of two signals, products with fixed numbers, and operations
            into which nobody can look.
        samples: size of the batch.

    Example:
        >>> from snnax.operations.result import LayerOperations, NeuronActivity, SynapticOperations
        >>> layer = LayerOperations("fc", "dense", dense=240, macs=0, acs=40, active=10, inputs=60)
        >>> found = SynapticOperations((layer,), (NeuronActivity("lif", 8, 80),), (), samples=2)
        >>> print(found)
        layer     kind   dense  MACs  ACs  inputs active
        fc        dense    240     0   40          0.167
        total              240     0   40
        a sample           120     0   20
        <BLANKLINE>
        neurons  spikes   rate
        lif           8  0.100
        <BLANKLINE>
        1.8e-11 J a sample, at 9e-13 J an AC and 4.6e-12 J a MAC
    """

    layers: Sequence[LayerOperations]
    neurons: Sequence[NeuronActivity]
    left_out: Sequence[str]
    samples: int

    @property
    def dense(self) -> int:
        """Operations of all layers if nothing were zero."""
        return sum(layer.dense for layer in self.layers)

    @property
    def macs(self) -> int:
        """Effective multiply-accumulates of all layers."""
        return sum(layer.macs for layer in self.layers)

    @property
    def acs(self) -> int:
        """Effective accumulates of all layers."""
        return sum(layer.acs for layer in self.layers)

    @property
    def effective(self) -> int:
        """``macs + acs``."""
        return self.macs + self.acs

    @property
    def activation_sparsity(self) -> float:
        """The share of the neurons' outputs that were zero, of all neurons together; 0 without neurons."""
        outputs = sum(neuron.outputs for neuron in self.neurons)
        return 1.0 - sum(neuron.spikes for neuron in self.neurons) / outputs if outputs else 0.0

    @property
    def per_sample(self) -> dict[str, float]:
        """NeuroBench's ``SynapticOperations``: means over the samples, by its names."""
        counts = {"Effective_MACs": self.macs, "Effective_ACs": self.acs, "Dense": self.dense}
        return {name: count / self.samples for name, count in counts.items()}

    def energy(self, ac: float = AC_JOULES, mac: float = MAC_JOULES) -> float:
        """Joules of these operations for one sample: of the arithmetic alone, without any memory.

        Args:
            ac: joules of an accumulate; that of an addition of two float32 at 45 nm.
            mac: joules of a multiply-accumulate; there that of a multiplication, 3.7 pJ, and an addition.

        Returns:
            ``(acs * ac + macs * mac) / samples``.

        Raises:
            ArgumentError: an energy is no number >= 0.

        Example:
            >>> import jax, jax.numpy as jnp, flax.linen as nn, snnax as snn
            >>> net, x = nn.Dense(5), jnp.ones((1, 1, 2))
            >>> snn.utils.synops(net, net.init(jax.random.key(0), x[0]), x).energy(ac=1e-12)
            1e-11

        Source: Horowitz, *Computing's energy problem (and what we can do about it)*, ISSCC 2014, figure 1.1.9. To move
        a number between memory and arithmetic costs more than to compute with it, and hardware differs: pass its own.
        """
        given = checks.number(0.0)
        ac, mac = given(ac, "energy(ac=...)"), given(mac, "energy(mac=...)")
        return (self.acs * ac + self.macs * mac) / self.samples

    def to_dict(self) -> dict[str, Any]:
        """All of it as JSON values."""
        return {
            "samples": self.samples,
            "dense": self.dense,
            "macs": self.macs,
            "acs": self.acs,
            "per_sample": self.per_sample,
            "energy": self.energy(),
            "activation_sparsity": self.activation_sparsity,
            "layers": [{**asdict(layer), "density": layer.density} for layer in self.layers],
            "neurons": [{**asdict(neuron), "rate": neuron.rate} for neuron in self.neurons],
            "left_out": list(self.left_out),
        }

    def __str__(self) -> str:
        """The table."""
        rows: list[Sequence[str]] = [("layer", "kind", "dense", "MACs", "ACs", "inputs active")]
        rows += [
            (
                shown(layer.name),
                layer.kind,
                *_numbers(layer.dense, layer.macs, layer.acs),
                f"{layer.density:.3f}",
            )
            for layer in self.layers
        ]
        rows.append(("total", "", *_numbers(self.dense, self.macs, self.acs), ""))
        means = (count / self.samples for count in (self.dense, self.macs, self.acs))
        rows.append(("a sample", "", *_numbers(*means), ""))
        lines = columns(rows, left=2)
        if self.neurons:
            each = [(shown(n.name), str(n.spikes), f"{n.rate:.3f}") for n in self.neurons]
            lines += ["", *columns([("neurons", "spikes", "rate"), *each], left=1)]
        joules = f"{self.energy():.3g} J a sample, at {AC_JOULES:g} J an AC and {MAC_JOULES:g} J a MAC"
        lines += ["", joules, *(f"not counted: {shown(what)}" for what in self.left_out)]
        return "\n".join(lines)


def _numbers(*counts: float) -> tuple[str, ...]:
    return tuple(f"{count:.1f}".removesuffix(".0") for count in counts)
