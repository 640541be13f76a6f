"""Every public module of snnax, once or more, with an input that makes it work. A new module joins by one line."""

from collections.abc import Callable
from dataclasses import dataclass

import flax.linen as nn
import numpy as np

import snnax as snn

NEURON, IMAGE, ROW = (3, 4), (2, 6, 4, 2), (2, 7, 2)
HALVES = (0.5, 0.25, 0.75, 0.5)


@dataclass(frozen=True)
class Entry:
    """One way to build one public module.

    Attributes:
        kind: its public name.
        build: makes it anew at each call.
        shape: shape of a batch that it takes.
        pickles: whether the built module can be pickled; flax's own layers hold functions that cannot.
    """

    kind: str
    build: Callable[[], nn.Module]
    shape: tuple[int, ...]
    pickles: bool = True

    @property
    def stateful(self) -> bool:
        """Whether it keeps a state of its own."""
        return self.kind in NETWORKS or getattr(self.build(), "init_hidden", False)


def net(*layers: nn.Module) -> nn.Module:
    return snn.Sequential(layers)


def loop(back: nn.Module) -> nn.Module:
    """A graph with feedback and a membrane for output."""
    return snn.Graph(
        nodes={"lif": snn.Leaky(0.5, init_hidden=True, output=True), "mem": snn.State(), "back": back},
        edges=[("input", "lif"), ("lif", "mem"), ("mem", "back"), ("back", "lif"), ("mem", "output")],
        outputs=[("lif", "out"), ("mem", "out")],
    )


def array() -> np.ndarray:
    return np.array(HALVES)


NETWORKS = ("Graph", "Sequential")
STATEFUL = {"init_hidden": True, "output": True}

TABLE = {
    "Leaky": Entry("Leaky", lambda: snn.Leaky(0.5), NEURON),
    "Leaky, learned": Entry("Leaky", lambda: snn.Leaky(array(), learn_beta=True, learn_threshold=True), NEURON),
    "Leaky, hidden": Entry("Leaky", lambda: snn.Leaky(array(), threshold=list(HALVES), **STATEFUL), NEURON),
    "Leaky, options": Entry(
        "Leaky",
        lambda: snn.Leaky(
            0.5, spike_grad=snn.surrogate.fast_sigmoid(10), reset_mechanism="zero", reset_delay=False,
            graded_spikes_factor=2.0, learn_graded_spikes_factor=True, inhibition=True,
        ),
        NEURON,
    ),
    "Synaptic": Entry("Synaptic", lambda: snn.Synaptic(0.5, array()), NEURON),
    "Synaptic, hidden": Entry("Synaptic", lambda: snn.Synaptic(0.5, 0.25, learn_alpha=True, **STATEFUL), NEURON),
    "Alpha": Entry("Alpha", lambda: snn.Alpha(0.75, 0.5), NEURON),
    "Alpha, hidden": Entry("Alpha", lambda: snn.Alpha(0.75, array() / 2, learn_beta=True, **STATEFUL), NEURON),
    "Lapicque": Entry("Lapicque", lambda: snn.Lapicque(beta=0.5), NEURON),
    "Lapicque, hidden": Entry("Lapicque", lambda: snn.Lapicque(beta=array(), learn_beta=True, **STATEFUL), NEURON),
    "RLeaky": Entry("RLeaky", lambda: snn.RLeaky(0.5, linear_features=4), NEURON),
    "RLeaky, images": Entry(
        "RLeaky", lambda: snn.RLeaky(0.5, conv2d_channels=2, kernel_size=3, **STATEFUL), IMAGE
    ),
    "RLeaky, fixed": Entry(
        "RLeaky", lambda: snn.RLeaky(0.5, V=array(), all_to_all=False, learn_recurrent=False, **STATEFUL), NEURON
    ),
    "RSynaptic": Entry("RSynaptic", lambda: snn.RSynaptic(0.5, 0.25, V=0.5, all_to_all=False), NEURON),
    "RSynaptic, hidden": Entry("RSynaptic", lambda: snn.RSynaptic(0.5, array(), linear_features=4, **STATEFUL), NEURON),
    "MaxPool1d": Entry("MaxPool1d", lambda: snn.MaxPool1d(3, 2, 1), ROW),
    "MaxPool2d": Entry("MaxPool2d", lambda: snn.MaxPool2d((3, 2), padding=1), IMAGE),
    "AvgPool1d": Entry("AvgPool1d", lambda: snn.AvgPool1d(2), ROW),
    "AvgPool2d": Entry("AvgPool2d", lambda: snn.AvgPool2d(2, 1, 1), IMAGE),
    "SumPool1d": Entry("SumPool1d", lambda: snn.SumPool1d(2), ROW),
    "SumPool2d": Entry("SumPool2d", lambda: snn.SumPool2d(2), IMAGE),
    "Flatten": Entry("Flatten", lambda: snn.Flatten(channels_first=True), IMAGE),
    "Reshape": Entry("Reshape", lambda: snn.Reshape((4, -1, 2)), IMAGE),
    "Scale": Entry("Scale", lambda: snn.Scale(array()), NEURON),
    "Scale, learned": Entry("Scale", lambda: snn.Scale(0.5, learn_scale=True), IMAGE),
    "Sequential": Entry("Sequential", lambda: net(snn.Scale(2.0), snn.Leaky(0.5, init_hidden=True)), NEURON),
    "Sequential, images": Entry(
        "Sequential",
        lambda: net(nn.Conv(2, (3, 3)), snn.Leaky(0.5, init_hidden=True), snn.Flatten(), snn.Scale(0.5)),
        IMAGE,
        pickles=False,
    ),
    "Graph": Entry("Graph", lambda: loop(snn.Scale(array())), NEURON),
    "Graph, dense": Entry("Graph", lambda: loop(nn.Dense(4)), NEURON, pickles=False),
}  # fmt: skip

NOT_APPLICABLE = {
    "State": "never called by itself: a Graph reads the state; it is inside the Graph entries",
}
