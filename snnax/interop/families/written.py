"""Our neurons that are an equation and numbers, as those of the user's own: extension nodes, which only snnax reads."""

from __future__ import annotations

from snnax import neurons
from snnax.interop.families.custom import OwnFamily

KINDS = (
    neurons.ALIF, neurons.Izhikevich, neurons.AdEx, neurons.ResonateFire,
    neurons.TwoDecayLIF, neurons.SRM, neurons.SigmaDelta,
)  # fmt: skip
FAMILIES = tuple(map(OwnFamily.of, KINDS))
