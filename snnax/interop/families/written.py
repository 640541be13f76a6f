"""Our neurons that are an equation and numbers, as those of the user's own: extension nodes, which only snnax reads."""

from __future__ import annotations

from snnax import neurons
from snnax.interop.families.custom import OwnFamily

FAMILIES = tuple(
    OwnFamily.of(kind) for kind in (neurons.ALIF, neurons.Izhikevich, neurons.AdEx, neurons.ResonateFire)
)
