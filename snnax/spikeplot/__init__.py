"""Pictures of spikes and membranes, with matplotlib.

Each function takes NumPy, JAX or torch arrays with time first, draws into the ``ax`` or ``fig`` that it is given or into a
new figure, and returns it. None of them shows anything: in a notebook the returned figure is displayed, in a
script call ``figure.savefig("picture.png")``.

Example:
    >>> import numpy as np
    >>> from snnax import spikeplot
    >>> ax = spikeplot.raster(np.eye(10))
    >>> ax.figure.savefig("raster.png")  # doctest: +SKIP
"""

from snnax.spikeplot.crossvalidation import LayerPicture, crossvalidation
from snnax.spikeplot.neurons import panel, raster, traces

__all__ = ["LayerPicture", "crossvalidation", "panel", "raster", "traces"]
