"""Every public module of snnax, once or more, with an input that makes it work. A new module joins by one line."""

from collections.abc import Callable
from dataclasses import dataclass

import flax.linen as nn
import numpy as np

import snnax as snn

NEURON, IMAGE, ROW = (3, 4), (2, 6, 4, 2), (2, 7, 2)
SEQUENCE = (5, 3, 4)
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
        return self.kind in (*NETWORKS, *COUNTERS, "Delay", "DelayedDense", "SpikeCounter") or getattr(
            self.build(), "init_hidden", False
        )


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
COUNTERS = ("BatchNormTT1d", "BatchNormTT2d")
STATEFUL = {"init_hidden": True, "output": True}

TABLE = {
    "TwoDecayLIF": Entry("TwoDecayLIF", lambda: snn.TwoDecayLIF(alpha=array()), NEURON),
    "TwoDecayLIF, hidden": Entry(
        "TwoDecayLIF",
        lambda: snn.TwoDecayLIF(beta=array(), threshold=0.25, learn=("alpha", "beta"), **STATEFUL),
        NEURON,
    ),
    "SRM": Entry("SRM", lambda: snn.SRM(alpha=array()), NEURON),
    "SRM, hidden": Entry(
        "SRM",
        lambda: snn.SRM(
            reset_val=array() / 2, threshold=0.25, learn=("alpha", "beta", "gamma", "reset_val"), **STATEFUL
        ),
        NEURON,
    ),
    "SigmaDelta": Entry("SigmaDelta", lambda: snn.SigmaDelta(threshold=array()), NEURON),
    "SigmaDelta, hidden": Entry("SigmaDelta", lambda: snn.SigmaDelta(learn="threshold", **STATEFUL), NEURON),
    "AdEx": Entry("AdEx", lambda: snn.AdEx(tau_w=array(), V_T=0.5, E_L=-0.5, threshold=2.0), NEURON),
    "AdEx, hidden": Entry(
        "AdEx",
        lambda: snn.AdEx(
            E_L=array(), V_T=0.5, C=0.1, threshold=-72.0, learn=("C", "E_L", "V_T", "a", "b", "tau_w", "v_reset"),
            **STATEFUL,
        ),
        NEURON,
    ),
    "Izhikevich": Entry("Izhikevich", lambda: snn.Izhikevich(a=array()), NEURON),
    "Izhikevich, hidden": Entry(
        "Izhikevich", lambda: snn.Izhikevich(d=array(), threshold=-72.0, learn=("a", "b", "c", "d"), **STATEFUL), NEURON
    ),
    "ResonateFire": Entry("ResonateFire", lambda: snn.ResonateFire(omega=1000 * array()), NEURON),
    "ResonateFire, hidden": Entry(
        "ResonateFire",
        lambda: snn.ResonateFire(b=-100 * array(), threshold=0.5, learn=("b", "omega", "v_reset"), **STATEFUL),
        NEURON,
    ),
    "ALIF": Entry("ALIF", lambda: snn.ALIF(array(), 0.75, 0.5), NEURON),
    "ALIF, hidden": Entry(
        "ALIF",
        lambda: snn.ALIF(
            0.5, array(), 0.25, threshold=0.25, reset_mechanism="value", v_reset=-0.25, detach_reset=False,
            learn=("beta", "rho", "strength", "threshold", "v_reset"), **STATEFUL,
        ),
        NEURON,
    ),
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
    "SLSTM": Entry("SLSTM", lambda: snn.SLSTM(4, 3, threshold=0.1, reset_mechanism="zero"), NEURON),
    "SLSTM, hidden": Entry(
        "SLSTM",
        lambda: snn.SLSTM(4, 4, threshold=array(), learn_threshold=True, reset_mechanism="subtract", **STATEFUL),
        NEURON,
    ),
    "SConv2dLSTM": Entry("SConv2dLSTM", lambda: snn.SConv2dLSTM(2, 3, 3, threshold=0.1), IMAGE),
    "SConv2dLSTM, hidden": Entry(
        "SConv2dLSTM", lambda: snn.SConv2dLSTM(2, 1, (1, 3), max_pool=2, reset_mechanism="zero", **STATEFUL), IMAGE
    ),
    "DeltaLeaky": Entry("DeltaLeaky", lambda: snn.DeltaLeaky(0.5, 0.5), NEURON),
    "DeltaLeaky, hidden": Entry(
        "DeltaLeaky", lambda: snn.DeltaLeaky(array(), array() / 2, learn_beta=True, **STATEFUL), NEURON
    ),
    "BatchNormTT1d": Entry(
        "BatchNormTT1d", lambda: snn.BatchNormTT1d(4, 5, use_running_average=True), NEURON
    ),
    "BatchNormTT2d": Entry(
        "BatchNormTT2d", lambda: snn.BatchNormTT2d(2, 5, affine=False, use_running_average=True), IMAGE
    ),
    "GradedSpikes": Entry("GradedSpikes", lambda: snn.GradedSpikes(4, 0.5), NEURON),
    "LIF": Entry("LIF", lambda: snn.LIF(2e-4, 1.5, 0.25, 1.0, -0.5), NEURON),
    "LIF, hidden": Entry(
        "LIF",
        lambda: snn.LIF(
            4e-4 * array(), v_reset=-array(), discretization="exact",
            learn=("tau", "r", "v_leak", "v_threshold", "v_reset"),
            **STATEFUL,
        ),
        NEURON,
    ),
    "CubaLIF": Entry("CubaLIF", lambda: snn.CubaLIF(2e-4, 1e-3, 2.0, v_leak=0.75, w_in=array()), NEURON),
    "CubaLIF, hidden": Entry(
        "CubaLIF",
        lambda: snn.CubaLIF(
            2e-4, 4e-4, 1.5, discretization="exact", reset_mechanism="subtract", reset_delay=True,
            learn=("tau_syn", "tau_mem", "r", "w_in"), **STATEFUL,
        ),
        NEURON,
    ),
    "LI": Entry("LI", lambda: snn.LI(2e-4, array()), NEURON),
    "LI, hidden": Entry("LI", lambda: snn.LI(2e-4, v_leak=0.5, learn=("tau", "v_leak"), **STATEFUL), NEURON),
    "CubaLI": Entry("CubaLI", lambda: snn.CubaLI(2e-4, 4e-4, membrane_current="undecayed"), NEURON),
    "CubaLI, hidden": Entry(
        "CubaLI", lambda: snn.CubaLI(2e-4, 4e-4, learn=("tau_syn",), discretization="exact_decay", **STATEFUL), NEURON
    ),
    "IF": Entry("IF", lambda: snn.IF(5e3, threshold_test="before", reset_at="start"), NEURON),
    "IF, hidden": Entry("IF", lambda: snn.IF(1e4 * array(), v_reset=-1.0, learn=("r",), **STATEFUL), NEURON),
    "I": Entry("I", lambda: snn.I(5e3), NEURON),
    "I, hidden": Entry("I", lambda: snn.I(1e4 * array(), dt=2e-4, learn=("r",), **STATEFUL), NEURON),
    "StateLeaky": Entry("StateLeaky", lambda: snn.StateLeaky(array(), 4, learn_beta=True), SEQUENCE),
    "StateLeaky, truncated": Entry(
        "StateLeaky",
        lambda: snn.StateLeaky(0.5, 4, threshold=array(), kernel_truncation_steps=3, init_hidden=True),
        NEURON,
    ),
    "LinearLeaky": Entry("LinearLeaky", lambda: snn.LinearLeaky(0.5, 4, 3, kernel_truncation_steps=2), SEQUENCE),
    "LinearLeaky, hidden": Entry(
        "LinearLeaky", lambda: snn.LinearLeaky([0.5, 0.75], 4, 2, learn_threshold=True, init_hidden=True), NEURON
    ),
    "LeakyParallel": Entry("LeakyParallel", lambda: snn.LeakyParallel(4, 3, learn_beta=True, threshold=0.25), SEQUENCE),
    "LeakyParallel, hidden": Entry(
        "LeakyParallel",
        lambda: snn.LeakyParallel(4, 2, learn_beta=True, weight_hh_enable=True, threshold=0.25, init_hidden=True),
        NEURON,
    ),
    "LeakyParallel, fixed": Entry("LeakyParallel", lambda: snn.LeakyParallel(4, 4, array(), init_hidden=True), NEURON),
    "AssociativeLeaky": Entry("AssociativeLeaky", lambda: snn.AssociativeLeaky(4, 3, 2, 6), SEQUENCE),
    "AssociativeLeaky, hidden": Entry(
        "AssociativeLeaky", lambda: snn.AssociativeLeaky(4, 2, 3, None, False, init_hidden=True), NEURON
    ),
    "MaxPool1d": Entry("MaxPool1d", lambda: snn.MaxPool1d(3, 2, 1), ROW),
    "MaxPool2d": Entry("MaxPool2d", lambda: snn.MaxPool2d((3, 2), padding=1), IMAGE),
    "AvgPool1d": Entry("AvgPool1d", lambda: snn.AvgPool1d(2), ROW),
    "AvgPool2d": Entry("AvgPool2d", lambda: snn.AvgPool2d(2, 1, 1), IMAGE),
    "SumPool1d": Entry("SumPool1d", lambda: snn.SumPool1d(2), ROW),
    "SumPool2d": Entry("SumPool2d", lambda: snn.SumPool2d(2), IMAGE),
    "ConvTranspose2d": Entry("ConvTranspose2d", lambda: snn.ConvTranspose2d(2, 3, (3, 2), 2, 1, (1, 0)), IMAGE),
    "AdaptiveAvgPool2d": Entry("AdaptiveAvgPool2d", lambda: snn.AdaptiveAvgPool2d((2, 3)), IMAGE),
    "ReLU": Entry("ReLU", snn.ReLU, NEURON),
    "Concatenate": Entry("Concatenate", snn.Concatenate, NEURON),
    "Lambda": Entry("Lambda", lambda: snn.Lambda(nn.gelu), NEURON),
    "Flatten": Entry("Flatten", lambda: snn.Flatten(channels_first=True), IMAGE),
    "Reshape": Entry("Reshape", lambda: snn.Reshape((4, -1, 2), channels_first=True), IMAGE),
    "Scale": Entry("Scale", lambda: snn.Scale(array()), NEURON),
    "Scale, learned": Entry("Scale", lambda: snn.Scale(0.5, learn_scale=True), IMAGE),
    "Threshold": Entry("Threshold", lambda: snn.Threshold(array(), snn.surrogate.fast_sigmoid(5.0)), NEURON),
    "Delay": Entry("Delay", lambda: snn.Delay([1, 0, 2, 1]), NEURON),
    "Delay, learned": Entry("Delay", lambda: snn.Delay(0.25, learn_delay=True, max_delay=3), NEURON),
    "DelayedDense": Entry("DelayedDense", lambda: snn.DelayedDense(3, 3, kernel="gaussian"), NEURON),
    "SpikeCounter": Entry("SpikeCounter", snn.SpikeCounter, NEURON),
    "Slice": Entry("Slice", lambda: snn.Slice(1, (3,)), NEURON),
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

NOT_SMOOTH = {
    "AssociativeLeaky": "its threshold is fixed, so it cannot be silenced",
    "Graph": "its neurons are tested alone",
    "Sequential": "its neurons are tested alone",
    "Threshold": "it does nothing but spike",
}
"""Entries without a part that is differentiable in truth."""

NOT_APPLICABLE = {
    "Module": "a base for networks of the user's own: tests/network/test_written.py",
    "SpikingCell": "called with a carry, by flax.linen.RNN: tests/neurons/test_cell.py",
    "State": "never called by itself: a Graph reads the state; it is inside the Graph entries",
}
