"""snnTorch's neurons as Flax modules: they own parameters and states, the equations are in ``dynamics``."""

from snnax.neurons.alpha import Alpha
from snnax.neurons.base import SpikingNeuron
from snnax.neurons.lapicque import Lapicque
from snnax.neurons.leaky import Leaky
from snnax.neurons.rleaky import RLeaky
from snnax.neurons.rsynaptic import RSynaptic
from snnax.neurons.synaptic import Synaptic
from snnax.neurons.values import FrozenArray

__all__ = ["Alpha", "FrozenArray", "Lapicque", "Leaky", "RLeaky", "RSynaptic", "SpikingNeuron", "Synaptic"]
