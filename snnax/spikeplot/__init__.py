"""Pictures of spikes and membranes, with matplotlib.

Each function takes NumPy, JAX or torch arrays with time first, draws into the ``ax`` or ``fig`` that it is
given or else with pyplot, and returns it. So a notebook shows the picture under the cell, a script shows it with
``plt.show()`` or calls ``figure.savefig("picture.png")``. What draws into one axes takes pyplot's current ones, as
``plt.scatter`` does; what has several panels takes pyplot's current figure if that is empty, or opens one.

Example:
    >>> import numpy as np
    >>> from snnax import spikeplot
    >>> ax = spikeplot.raster(np.eye(10))
    >>> ax.figure.savefig("raster.png")  # doctest: +SKIP
"""

from snnax.spikeplot.activity import activity
from snnax.spikeplot.animation import animator
from snnax.spikeplot.clouds import event_cloud
from snnax.spikeplot.counts import spike_count
from snnax.spikeplot.crossvalidation import crossvalidation
from snnax.spikeplot.galleries import neuron_gallery, surrogate_gallery
from snnax.spikeplot.graphs import network_graph
from snnax.spikeplot.history import history
from snnax.spikeplot.layers import LayerPicture
from snnax.spikeplot.neurons import panel, raster, traces
from snnax.spikeplot.operations import synops

__all__ = [
    "LayerPicture",
    "activity",
    "animator",
    "crossvalidation",
    "event_cloud",
    "history",
    "network_graph",
    "neuron_gallery",
    "panel",
    "raster",
    "spike_count",
    "surrogate_gallery",
    "synops",
    "traces",
]
