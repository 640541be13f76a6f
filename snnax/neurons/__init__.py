"""snnTorch's neurons and NIR's as Flax modules: they own parameters and states, the equations are in ``dynamics``."""

from snnax.neurons.adex import AdEx
from snnax.neurons.alif import ALIF
from snnax.neurons.alpha import Alpha
from snnax.neurons.associative import AssociativeLeaky
from snnax.neurons.base import SpikingNeuron as SpikingNeuron
from snnax.neurons.cell import SpikingCell
from snnax.neurons.cuba import CubaLI, CubaLIF
from snnax.neurons.custom import CustomNeuron as CustomNeuron
from snnax.neurons.deltaleaky import DeltaLeaky
from snnax.neurons.filtered import SRM, TwoDecayLIF
from snnax.neurons.from_function import neuron
from snnax.neurons.izhikevich import Izhikevich
from snnax.neurons.lapicque import Lapicque
from snnax.neurons.leaky import Leaky, RLeaky
from snnax.neurons.leakyparallel import LeakyParallel
from snnax.neurons.lif import IF, LI, LIF, I
from snnax.neurons.nir import NIRNeuron as NIRNeuron
from snnax.neurons.resonate import ResonateFire
from snnax.neurons.resting import refractory
from snnax.neurons.sigmadelta import SigmaDelta
from snnax.neurons.slstm import SLSTM, SConv2dLSTM
from snnax.neurons.stateleaky import LinearLeaky, StateLeaky
from snnax.neurons.synaptic import RSynaptic, Synaptic
from snnax.neurons.values import FrozenArray as FrozenArray

__all__ = [
    "ALIF",
    "IF",
    "LI",
    "LIF",
    "SLSTM",
    "SRM",
    "AdEx",
    "Alpha",
    "AssociativeLeaky",
    "CubaLI",
    "CubaLIF",
    "DeltaLeaky",
    "I",
    "Izhikevich",
    "Lapicque",
    "Leaky",
    "LeakyParallel",
    "LinearLeaky",
    "RLeaky",
    "RSynaptic",
    "ResonateFire",
    "SConv2dLSTM",
    "SigmaDelta",
    "SpikingCell",
    "StateLeaky",
    "Synaptic",
    "TwoDecayLIF",
    "neuron",
    "refractory",
]
