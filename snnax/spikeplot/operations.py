"""Bars of the synaptic operations of each layer."""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np

from snnax import checks
from snnax.errors import ArgumentError
from snnax.operations.result import SynapticOperations
from snnax.spikeplot import canvas

if TYPE_CHECKING:
    from matplotlib.axes import Axes

_DENSE = "#DDDDDD"


@checks.takes(
    counts=checks.instance(SynapticOperations, "what snnax.utils.synops(net, variables, x) returned"),
    ax=canvas.AX,
)
def synops(counts: SynapticOperations, ax: Axes | None = None) -> Axes:
    """The synaptic operations of each layer for one sample: MACs and ACs, in front of what they would be if dense.

    The share of the dense operations that were done is written behind each bar.

    Args:
        counts: what :func:`snnax.utils.synops` returned.
        ax: axes to draw into; pyplot's current ones without them.

    Returns:
        The axes; ``.figure.savefig("synops.png")`` writes the picture.

    Raises:
        ArgumentError: no layer was counted.
        MissingDependencyError: matplotlib is not installed.

    Example:
        >>> import jax, jax.numpy as jnp, flax.linen as nn, snnax as snn
        >>> from snnax import spikeplot
        >>> net, x = nn.Dense(5), jnp.zeros((2, 1, 4)).at[0].set(1.0)
        >>> ax = spikeplot.synops(snn.utils.synops(net, net.init(jax.random.key(0), x[0]), x))
        >>> [text.get_text() for text in ax.texts]
        ['50 %']
    """
    if not counts.layers:
        raise ArgumentError(
            "synops(counts=...) has no layers: the network has no products of weights and signals."
        )
    names = [layer.name for layer in counts.layers]
    places = np.arange(len(names))
    dense, macs, acs = (
        np.array([getattr(layer, kind) for layer in counts.layers]) / counts.samples
        for kind in ("dense", "macs", "acs")
    )
    ax = canvas.axes(ax, 7, 1.2 + 0.4 * len(names))
    ax.barh(places, dense, 0.7, color=_DENSE, label="dense")
    ax.barh(places, macs, 0.45, color=canvas.ORANGE, label="MACs")
    ax.barh(places, acs, 0.45, left=macs, color=canvas.BLUE, label="ACs")
    for place, layer, width in zip(places, counts.layers, dense, strict=True):
        share = layer.effective / layer.dense if layer.dense else 0.0
        ax.annotate(
            f"{100 * share:.3g} %", (width, place), (4, 0), textcoords="offset points", va="center", size=9
        )
    ax.set(
        yticks=places, yticklabels=names, ylim=(len(names) - 0.4, -0.6), xlabel="operations for one sample"
    )
    ax.set_xlim(0, 1.12 * max(float(dense.max()), 1.0))
    ax.legend(frameon=False, ncols=3, loc="lower right", bbox_to_anchor=(1, 1))
    return canvas.tidy(ax, time=False)
