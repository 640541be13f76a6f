"""Every public callable of snnax with one call that works, and the nonsense that takes the place of each argument."""

from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import flax.linen as nn
import jax
import jax.numpy as jnp
import numpy as np
import optax
from flax import nnx
from helpers.recordings import camera, cochlea

import snnax as snn
from snnax import (
    backprop,
    datasets,
    event,
    functional,
    interop,
    spikegen,
    spikeplot,
    surrogate,
    training,
    utils,
)
from snnax.nnx.neurons import LINEN

T, B, N = 3, 2, 4
KEY = jax.random.key(0)


class OwnNeuron(snn.neurons.CustomNeuron):
    """A class of the user's own."""

    state_names = ("mem",)


def own_step(x, mem, *, beta):
    """A step of the user's own."""
    return beta * mem + x


class Unprintable:
    """Its ``repr`` is long and on several lines."""

    def __repr__(self):
        return "a\nb " * 200


def tensor():
    import torch

    return torch.ones(2, 3, requires_grad=True)


def a_torch_module():
    import torch

    return torch.nn.Linear(4, 4)


def other_variables():
    """Of another network."""
    return {"params": {"other": {"kernel": jnp.ones((7, 5))}}, "hidden": {"other": {"mem": jnp.ones((9, 5))}}}


NONSENSE: dict[str, Callable[[], Any]] = {
    "None": lambda: None,
    "text": lambda: "nonsense",
    "bytes": lambda: b"\x00\xff",
    "ragged": lambda: [[1], [1, 2]],
    "list of texts": lambda: ["a", "b"],
    "complex": lambda: np.full((2, 3), 1j, np.complex64),
    "complex number": lambda: 1j,
    "nan": lambda: np.full((2, 3), np.nan, np.float32),
    "infinity": lambda: float("inf"),
    "object": Unprintable,
    "objects": lambda: np.array([object(), None]),
    "negative": lambda: -1,
    "zero": lambda: 0,
    "fraction": lambda: 0.37,
    "huge": lambda: 10**30,
    "flag": lambda: True,
    "empty": lambda: np.zeros((0,), np.float32),
    "empty list": lambda: [],
    "rank": lambda: np.ones((1,) * 7, np.float32),
    "features": lambda: np.ones((T, B, 11), np.float32),
    "dates": lambda: np.array(["2020-01-01"], "datetime64[D]"),
    "tensor": tensor,
    "torch module": a_torch_module,
    "variables": other_variables,
    "dictionary": dict,
    "numbered": lambda: {1: 2},
    "set": lambda: {1, 2},
    "class": lambda: snn.Leaky,
    "function": lambda: len,
    "module": lambda: snn.Leaky(0.5, init_hidden=True),
    "key": lambda: jax.random.key(1),
    "generator": lambda: (i for i in range(2)),
}


@dataclass
class Call:
    """A function of keyword arguments, and some with which it works.

    Attributes:
        function: what is called.
        given: arguments that work.
        skip: arguments that may be anything, and why it is so.
        packages: what must be installed.
    """

    function: Callable[..., Any]
    given: dict[str, Any]
    skip: dict[str, str] = field(default_factory=dict)
    packages: tuple[str, ...] = ()


def x(*shape: int) -> np.ndarray:
    return np.random.default_rng(0).random(shape or (B, N), np.float32)


def recorded(folder: Path, name: str) -> str:
    """A file of events."""
    path = str(folder / name)
    datasets.write_events(path, cochlea() if name.endswith(".h5") else camera())
    return path


def squared() -> type[surrogate.Function]:
    """With the gradient of another function."""

    class Squared(surrogate.Function):
        @staticmethod
        def forward(ctx, x):
            return x**2

        @staticmethod
        def backward(ctx, grad_output):
            return grad_output

    return Squared


def spikes() -> np.ndarray:
    return (x(T, B, N) > 0.5).astype(np.float32)


def labels() -> np.ndarray:
    return np.array([0, 1])


def used(kind: type[nn.Module], shape: tuple[int, ...], /, **given: Any) -> Call:
    """The constructor of a module, and one step of what it made."""

    def run(**arguments: Any) -> Any:
        module = kind(**arguments)
        value = jnp.ones(shape)
        return jax.eval_shape(lambda key: module.init_with_output(key, value), KEY)

    run.__signature__ = _without_place(kind)  # type: ignore[attr-defined]
    return Call(run, given)


def _without_place(kind: type) -> Any:
    import inspect

    known = inspect.signature(kind)
    return known.replace(
        parameters=[p for p in known.parameters.values() if p.name not in ("parent", "name")]
    )


def compared(kind: Callable[..., Any], input: Any, target: Any) -> Call:
    """A loss of torch's that is built and called."""

    def run(input: Any, target: Any, reduction: Any = "mean") -> Any:
        return kind(reduction)(input, target)

    return Call(run, {"input": input, "target": target})


def scored(kind: Callable[..., Any], *, targets: np.ndarray | None = None, **given: Any) -> Call:
    """A loss or an accuracy that is built and called."""

    def run(spk_out: Any, targets: Any, **arguments: Any) -> Any:
        return kind(**arguments)(spk_out, targets)

    import inspect

    own = [p.replace(kind=p.KEYWORD_ONLY) for p in inspect.signature(kind).parameters.values()]
    first = [p for p in inspect.signature(run).parameters.values() if p.name != "arguments"]
    run.__signature__ = inspect.Signature([*first, *own])  # type: ignore[attr-defined]
    return Call(run, {"spk_out": spikes(), "targets": labels() if targets is None else targets, **given})


def net() -> nn.Module:
    return snn.Sequential([nn.Dense(N), snn.Leaky(0.5, init_hidden=True, output=True)])


def variables(module: nn.Module | None = None, shape: tuple[int, ...] = (B, N)) -> Any:
    return (module or net()).init(KEY, jnp.ones(shape))


def state() -> Any:
    return training.TrainState.create(net(), variables(), optax.sgd(0.1))


def graph() -> Any:
    return interop.to_nir(net(), variables(), x(1, N))


def graph_of_spikes() -> Any:
    return interop.events_to_nir(event_network())


def batch() -> tuple[np.ndarray, np.ndarray]:
    return x(B, N), labels()


def network() -> dict[str, Any]:
    return {"net": net(), "variables": variables(), "dataloader": [batch()], "optimizer": optax.sgd(0.1),
            "criterion": functional.ce_rate_loss(), "num_steps": T, "time_var": False}  # fmt: skip


def file(folder: Path, name: str) -> Path:
    """A file of that kind that can be read."""
    path = folder / name
    if name.endswith(".nir"):
        interop.write_nir(path, graph())
    elif name.endswith(".safetensors"):
        interop.save_safetensors(path, net(), variables())
    elif name.endswith(".trace.npz"):
        interop.save_trace(path, trace())
    return path


def trace() -> Any:
    return interop.Trace({"lif": interop.NodeTrace("lif", "Leaky", spikes(), spikes())}, (spikes(),))


def torch_net() -> Any:
    import snntorch
    import torch

    return torch.nn.Sequential(
        torch.nn.Linear(N, N), snntorch.Leaky(0.5, init_hidden=True, output=True)
    ).eval()


def norse_net() -> Any:
    import norse.torch as norse
    import torch

    return norse.SequentialState(torch.nn.Linear(N, N), norse.LIFBoxCell()).eval()


def jelly_net() -> Any:
    import torch
    from spikingjelly.activation_based import neuron

    return torch.nn.Sequential(torch.nn.Linear(N, N), neuron.LIFNode(step_mode="m")).eval()


def jelly_model() -> Any:
    return snn.Sequential([snn.Leaky(0.5, init_hidden=True, reset_mechanism="zero", reset_delay=False)])


def trains(neurons: int = N) -> Any:
    return event.trains(x(B, neurons, 2) / 100)


def projection(**given: Any) -> Any:
    return event.Projection(**{"source": "in", "target": "out", "weights": x(N, 3), **given})


def event_network(projections: Any = None, **given: Any) -> Any:
    populations = [event.Population("out", 3, event.LIFParameters())]
    return event.Network(
        **{"populations": populations, "projections": projections or [projection()], **given}
    )


def synaptic_net() -> Any:
    return snn.Sequential([nn.Dense(3, use_bias=False), snn.Synaptic(alpha=0.8, beta=0.9, init_hidden=True)])


def synaptic_variables() -> Any:
    return synaptic_net().init(KEY, x(B, N))


def event_readouts() -> list[Any]:
    return [event.Readout("voltage", 3, event.LIParameters())]


def graph_of_events(connections: Any, **given: Any) -> Any:
    """A module of populations, and one call of it."""
    populations = [event.Population("out", 3, event.LIFParameters())]
    return used(event.Graph, (B, N), populations=populations, connections=connections, t_max=0.05, **given)


def scored_times(kind: Callable[..., Any], targets: np.ndarray, **given: Any) -> Call:
    """A loss of times or voltages that is built and called."""
    import inspect

    def run(out: Any, targets: Any, **arguments: Any) -> Any:
        return kind(**arguments)(out, targets)

    own = [p.replace(kind=p.KEYWORD_ONLY) for p in inspect.signature(kind).parameters.values()]
    first = [p for p in inspect.signature(run).parameters.values() if p.name != "arguments"]
    run.__signature__ = inspect.Signature([*first, *own])  # type: ignore[attr-defined]
    return Call(run, {"out": x(B, N), "targets": targets, **given})


def called(call: Call) -> Any:
    return call.function(**call.given)


def simulated(made: Any, **given: Any) -> Any:
    """What a network of events does, without the time that it takes to compile."""
    return jax.eval_shape(
        lambda: event.simulate(**{"network": made, "inputs": {"in": trains()}, "t_max": 0.05, **given})
    )


def wired(**given: Any) -> Any:
    """A recurrent layer of this wiring."""
    return jax.eval_shape(
        lambda: event.recurrent_spikes(trains(), event.Wiring(**given), event.LIFParameters(), t_max=0.05)
    )


ON = {"init_hidden": True}
TORCH, NORSE, PLOT, TENSORS = ("snntorch",), ("norse",), ("matplotlib",), ("safetensors",)
MODULES: dict[str, Callable[[], Call]] = {
    "SRM": lambda: used(snn.SRM, (B, N), alpha=0.5, reset_val=0.5),
    "SigmaDelta": lambda: used(snn.SigmaDelta, (B, N), threshold=0.5),
    "TwoDecayLIF": lambda: used(snn.TwoDecayLIF, (B, N), alpha=0.5, beta=0.5),
    "AdEx": lambda: used(snn.AdEx, (B, N), C=200.0, V_T=-50.0),
    "Izhikevich": lambda: used(snn.Izhikevich, (B, N), a=0.02),
    "ResonateFire": lambda: used(snn.ResonateFire, (B, N), b=-50.0, omega=100.0),
    "ALIF": lambda: used(snn.ALIF, (B, N), beta=0.75, rho=0.5, strength=1.0),
    "Alpha": lambda: used(snn.Alpha, (B, N), alpha=0.75, beta=0.5),
    "AssociativeLeaky": lambda: used(
        snn.AssociativeLeaky, (T, B, N), in_dim=N, d_value=2, d_key=2, num_spiking_neurons=4
    ),
    "AvgPool1d": lambda: used(snn.AvgPool1d, (B, 6, 2), kernel_size=2),
    "AvgPool2d": lambda: used(snn.AvgPool2d, (B, 6, 6, 2), kernel_size=2),
    "BatchNormTT1d": lambda: used(
        snn.BatchNormTT1d, (B, N), input_features=N, time_steps=T, use_running_average=True
    ),
    "BatchNormTT2d": lambda: used(
        snn.BatchNormTT2d, (B, 3, 3, N), input_features=N, time_steps=T, use_running_average=True
    ),
    "CubaLI": lambda: used(snn.CubaLI, (B, N), tau_syn=1e-3, tau_mem=1e-2),
    "CubaLIF": lambda: used(snn.CubaLIF, (B, N), tau_syn=1e-3, tau_mem=1e-2),
    "Delay": lambda: used(snn.Delay, (B, N), steps=2, learn_delay=True, max_delay=3),
    "DelayedDense": lambda: used(snn.DelayedDense, (B, N), features=3, max_delay=2, steps=1.5, sigma=0.5),
    "DeltaLeaky": lambda: used(snn.DeltaLeaky, (B, N), delta_threshold=0.1, beta=0.5),
    "BatchNorm1d": lambda: used(snn.BatchNorm1d, (B, N), num_features=N),
    "BatchNorm2d": lambda: used(snn.BatchNorm2d, (B, 6, 6, N), num_features=N),
    "Conv1d": lambda: used(snn.Conv1d, (B, 6, 2), in_channels=2, out_channels=4, kernel_size=3),
    "Conv2d": lambda: used(snn.Conv2d, (B, 6, 6, 2), in_channels=2, out_channels=4, kernel_size=3),
    "AdaptiveAvgPool2d": lambda: used(snn.AdaptiveAvgPool2d, (B, 6, 6, 2), output_size=2),
    "ConvTranspose2d": lambda: used(
        snn.ConvTranspose2d, (B, 4, 4, 2), in_channels=2, out_channels=3, kernel_size=3, stride=2
    ),
    "Dropout": lambda: used(snn.Dropout, (B, N), p=0.5),
    "LayerNorm": lambda: used(snn.LayerNorm, (B, N), normalized_shape=N),
    "Linear": lambda: used(snn.Linear, (B, N), in_features=N, out_features=3),
    "Concatenate": lambda: Call(lambda axis: joining(snn.Concatenate(axis)), {"axis": -1}),
    "Lambda": lambda: used(snn.Lambda, (B, N), function=nn.gelu),
    "Flatten": lambda: used(snn.Flatten, (B, 3, 3, N)),
    "GradedSpikes": lambda: used(snn.GradedSpikes, (B, N), size=N, constant_factor=0.5),
    "Graph": lambda: used(
        snn.Graph, (B, N), nodes={"lif": snn.Leaky(0.5, **ON)}, edges=[("input", "lif"), ("lif", "output")]
    ),
    "I": lambda: used(snn.I, (B, N)),
    "IF": lambda: used(snn.IF, (B, N)),
    "LI": lambda: used(snn.LI, (B, N), tau=1e-2),
    "LIF": lambda: used(snn.LIF, (B, N), tau=1e-2),
    "Lapicque": lambda: used(snn.Lapicque, (B, N), beta=0.5),
    "Leaky": lambda: used(snn.Leaky, (B, N), beta=0.5),
    "LeakyParallel": lambda: used(snn.LeakyParallel, (T, B, N), input_size=N, hidden_size=2),
    "LinearLeaky": lambda: used(snn.LinearLeaky, (T, B, N), beta=0.5, in_features=N, out_features=2),
    "MaxPool1d": lambda: used(snn.MaxPool1d, (B, 6, 2), kernel_size=2),
    "MaxPool2d": lambda: used(snn.MaxPool2d, (B, 6, 6, 2), kernel_size=2),
    "RLeaky": lambda: used(snn.RLeaky, (B, N), beta=0.5, linear_features=N),
    "RSynaptic": lambda: used(snn.RSynaptic, (B, N), alpha=0.5, beta=0.5, V=1.0, all_to_all=False),
    "ReLU": lambda: used(snn.ReLU, (B, N)),
    "Reshape": lambda: used(snn.Reshape, (B, N), shape=(2, 2)),
    "SConv2dLSTM": lambda: used(snn.SConv2dLSTM, (B, 6, 6, 2), in_channels=2, out_channels=3, kernel_size=3),
    "SLSTM": lambda: used(snn.SLSTM, (B, N), input_size=N, hidden_size=3),
    "Scale": lambda: used(snn.Scale, (B, N), scale=2.0),
    "Sequential": lambda: used(snn.Sequential, (B, N), layers=[snn.Leaky(0.5, **ON)]),
    "SpikeCounter": lambda: used(snn.SpikeCounter, (B, N)),
    "Slice": lambda: used(snn.Slice, (B, N), begin=1, shape=(2,)),
    "SpikingCell": lambda: Call(
        lambda net: nn.RNN(snn.SpikingCell(net)).init(KEY, x(B, T, N)), {"net": snn.Leaky(0.5, **ON)}
    ),
    "State": lambda: Call(lambda state: snn.State(state), {"state": "mem"}),
    "StateLeaky": lambda: used(snn.StateLeaky, (T, B, N), beta=0.5, channels=N),
    "SumPool1d": lambda: used(snn.SumPool1d, (B, 6, 2), kernel_size=2),
    "SumPool2d": lambda: used(snn.SumPool2d, (B, 6, 6, 2), kernel_size=2),
    "Synaptic": lambda: used(snn.Synaptic, (B, N), alpha=0.5, beta=0.5),
    "Threshold": lambda: used(snn.Threshold, (B, N), threshold=0.5),
}


def delayed():
    return snn.DelayedDense(2, 3, kernel="gaussian").init(KEY, x(B, N))


FUNCTIONS: dict[str, Callable[[Path], Call]] = {
    "quantized": lambda _: Call(snn.quantized, {"layer": nn.Dense(3), "bits": 4, "per_channel": True}),
    "integer_weights": lambda _: Call(
        snn.integer_weights,
        {"layer": snn.quantized(nn.Dense(3), 4), "params": {"kernel": np.ones((N, 3), np.float32)}},
    ),
    "step": lambda _: Call(traced(snn.step), {"net": net(), "variables": variables(), "x": x(B, N)}),
    "unroll": lambda _: Call(traced(snn.unroll), {"net": net(), "variables": variables(), "x": x(T, B, N)}),
    "neuron": lambda _: Call(
        lambda **given: snn.neuron(**given)(**ON).init(KEY, x(B, N)),
        {
            "step": own_step,
            "states": {"mem": 0.5},
            "parameters": {"beta": 0.5},
            "name": "Own",
            "level": lambda mem: mem,
        },
    ),
    "refractory": lambda _: Call(snn.refractory, {"kind": snn.Leaky}),
    "round_delays": lambda _: Call(snn.round_delays, {"variables": delayed()}),
    "with_delay_sigma": lambda _: Call(snn.with_delay_sigma, {"variables": delayed(), "sigma": 0.5}),
    "CrossEntropyLoss": lambda _: compared(snn.CrossEntropyLoss, x(B, N), np.zeros(B, int)),
    "L1Loss": lambda _: compared(snn.L1Loss, x(B, N), x(B, N)),
    "MSELoss": lambda _: compared(snn.MSELoss, x(B, N), x(B, N)),
    "functional.LossFunctions": lambda _: scored(functional.ce_rate_loss),
    "functional.SpikeTime": lambda _: scored(functional.SpikeTime),
    "functional.accuracy_rate": lambda _: Call(
        functional.accuracy_rate, {"spk_out": spikes(), "targets": labels()}
    ),
    "functional.accuracy_temporal": lambda _: Call(
        functional.accuracy_temporal, {"spk_out": spikes(), "targets": labels()}
    ),
    "functional.ce_count_loss": lambda _: scored(functional.ce_count_loss),
    "functional.ce_max_membrane_loss": lambda _: scored(functional.ce_max_membrane_loss),
    "functional.ce_rate_loss": lambda _: scored(functional.ce_rate_loss, population_code=True, num_classes=2),
    "functional.ce_temporal_loss": lambda _: scored(functional.ce_temporal_loss),
    **{
        f"functional.{name}": lambda _, name=name: Call(
            getattr(functional, name), {"input": x(B, 6, 6, 2), "kernel_size": 2}
        )
        for name in ("avg_pool2d", "max_pool2d")
    },
    "functional.l1_rate_sparsity": lambda _: Call(
        lambda Lambda, spk_out: functional.l1_rate_sparsity(Lambda)(spk_out),
        {"Lambda": 0.1, "spk_out": spikes()},
    ),
    "functional.mse_count_loss": lambda _: scored(functional.mse_count_loss),
    "functional.mse_membrane_loss": lambda _: scored(functional.mse_membrane_loss),
    "functional.mse_temporal_loss": lambda _: scored(functional.mse_temporal_loss),
    "functional.quant.state_quant": lambda _: Call(functional.quant.state_quant, {}),
    "functional.quant.StateQuant": lambda _: Call(
        lambda levels, x: functional.quant.StateQuant(levels)(x), {"levels": (0.0, 1.0), "x": x()}
    ),
    "spikegen.delta": lambda _: Call(spikegen.delta, {"data": x(T, N)}),
    "spikegen.from_one_hot": lambda _: Call(spikegen.from_one_hot, {"one_hot_label": np.eye(3)}),
    "spikegen.latency": lambda _: Call(spikegen.latency, {"data": x(), "num_steps": T}),
    "spikegen.latency_code": lambda _: Call(spikegen.latency_code, {"data": x(), "num_steps": T}),
    "spikegen.latency_code_linear": lambda _: Call(
        spikegen.latency_code_linear, {"data": x(), "num_steps": T, "normalize": True}
    ),
    "spikegen.latency_code_log": lambda _: Call(spikegen.latency_code_log, {"data": x(), "num_steps": T}),
    "spikegen.latency_interpolate": lambda _: Call(
        spikegen.latency_interpolate, {"spike_time": x(), "num_steps": T}
    ),
    "spikegen.rate": lambda _: Call(spikegen.rate, {"data": x(), "num_steps": T, "key": KEY}),
    "spikegen.rate_conv": lambda _: Call(spikegen.rate_conv, {"data": x(), "key": KEY}),
    "spikegen.rate_interpolate": lambda _: Call(
        spikegen.rate_interpolate, {"spike_time": np.array([0, 2]), "num_steps": T}
    ),
    "spikegen.target_rate_code": lambda _: Call(spikegen.target_rate_code, {"num_steps": T}),
    "spikegen.targets_convert": lambda _: Call(
        spikegen.targets_convert, {"targets": labels(), "num_classes": 3, "num_steps": T}
    ),
    "spikegen.targets_latency": lambda _: Call(
        spikegen.targets_latency, {"targets": labels(), "num_classes": 3, "num_steps": 20}
    ),
    "spikegen.targets_rate": lambda _: Call(
        spikegen.targets_rate, {"targets": labels(), "num_classes": 3, "num_steps": T}
    ),
    "spikegen.to_one_hot": lambda _: Call(spikegen.to_one_hot, {"targets": labels(), "num_classes": 3}),
    "spikegen.to_one_hot_inverse": lambda _: Call(
        spikegen.to_one_hot_inverse, {"one_hot_targets": np.eye(3)}
    ),
    "spikeplot.LayerPicture": lambda _: Call(
        lambda **given: spikeplot.crossvalidation([spikeplot.LayerPicture(**given)]),
        {"name": "lif", "spk_a": spikes()[:, 0], "spk_b": spikes()[:, 0]},
        packages=PLOT,
    ),
    "spikeplot.activity": lambda _: Call(
        spikeplot.activity, {"layers": {"lif": {"spk": spikes()[:, 0]}}}, packages=PLOT
    ),
    "spikeplot.animator": lambda _: Call(animated(spikeplot.animator), {"data": spikes()}, packages=PLOT),
    "spikeplot.crossvalidation": lambda _: Call(
        spikeplot.crossvalidation,
        {"layers": [spikeplot.LayerPicture("lif", spikes()[:, 0], spikes()[:, 0])]},
        packages=PLOT,
    ),
    "spikeplot.event_cloud": lambda _: Call(spikeplot.event_cloud, {"events": camera()}, packages=PLOT),
    "spikeplot.history": lambda _: Call(spikeplot.history, {"history": {"loss": [2.0, 1.0]}}, packages=PLOT),
    "spikeplot.network_graph": lambda _: Call(spikeplot.network_graph, {"graph": net()}, packages=PLOT),
    "spikeplot.neuron_gallery": lambda _: Call(
        spikeplot.neuron_gallery, {"neurons": {}, "current": np.ones(4)}, packages=PLOT
    ),
    "spikeplot.panel": lambda _: Call(
        spikeplot.panel, {"cur": x(T), "mem": x(T), "spk": spikes()[:, 0, 0]}, packages=PLOT
    ),
    "spikeplot.raster": lambda _: Call(spikeplot.raster, {"data": spikes()[:, 0]}, packages=PLOT),
    "spikeplot.spike_count": lambda _: Call(spikeplot.spike_count, {"data": spikes()[:, 0]}, packages=PLOT),
    "spikeplot.surrogate_gallery": lambda _: Call(
        spikeplot.surrogate_gallery, {"surrogates": {"atan": surrogate.atan()}, "points": 5}, packages=PLOT
    ),
    "spikeplot.synops": lambda _: Call(
        spikeplot.synops, {"counts": utils.synops(net(), variables(), x(T, B, N))}, packages=PLOT
    ),
    "spikeplot.traces": lambda _: Call(spikeplot.traces, {"data": x(T, N), "dim": (1, 2)}, packages=PLOT),
    **{
        f"surrogate.{name}": lambda _, name=name: Call(getattr(surrogate, name), {})
        for name in "LSO SFS SSO atan fast_sigmoid heaviside sigmoid spike_rate_escape "
        "straight_through_estimator triangular".split()
    },
    "surrogate.Surrogate": lambda _: Call(lambda x: surrogate.atan()(x), {"x": x()}),
    "surrogate.Surrogate.derivative": lambda _: Call(surrogate.atan().derivative, {"x": x()}),
    "surrogate.Function": lambda _: Call(lambda x: squared().apply(x), {"x": x()}),
    "surrogate.Function.apply": lambda _: Call(lambda x: squared().apply(x), {"x": x()}),
    "surrogate.custom_surrogate": lambda _: Call(
        surrogate.custom_surrogate, {"custom_surrogate_function": lambda x, g, spikes: g * x}
    ),
    "backprop.BPTT": lambda _: Call(backprop.BPTT, network()),
    "backprop.RTRL": lambda _: Call(backprop.RTRL, network()),
    "backprop.TBPTT": lambda _: Call(backprop.TBPTT, {**network(), "K": 2}),
    "training.Checkpoints": lambda folder: Call(
        lambda directory, keep, every: training.Checkpoints(directory, keep, every).steps(),
        {"directory": folder / "kept", "keep": 2, "every": 1},
    ),
    "training.TrainState": lambda _: Call(
        training.TrainState.create, {"net": net(), "variables": variables(), "tx": optax.sgd(0.1)}
    ),
    "training.batches": lambda _: Call(training.batches, {"x": x(), "y": labels(), "batch_size": 1}),
    "training.data_mesh": lambda _: Call(training.data_mesh, {}),
    "training.evaluate": lambda _: Call(
        training.evaluate,
        {"state": state(), "data": [batch()], "loss": functional.ce_rate_loss(), "num_steps": T},
    ),
    "training.fit": lambda _: Call(
        training.fit,
        {
            "state": state(),
            "data": [batch()],
            "epochs": 1,
            "loss": functional.ce_rate_loss(),
            "num_steps": T,
            "progress": False,
        },
    ),
    "training.make_eval_step": lambda _: Call(
        lambda x, y, **given: training.make_eval_step(**given)(state(), x, y),
        {"loss": functional.ce_rate_loss(), "num_steps": T, "x": x(), "y": labels()},
    ),
    "training.make_train_step": lambda _: Call(
        lambda x, y, **given: training.make_train_step(**given)(state(), x, y),
        {"loss": functional.ce_rate_loss(), "num_steps": T, "x": x(), "y": labels()},
    ),
    "utils.data_subset": lambda _: Call(utils.data_subset, {"dataset": x(4, 2), "subset": 2}),
    "utils.evaluating": lambda _: Call(utils.evaluating, {"net": net()}),
    "utils.reset": lambda _: Call(utils.reset, {"variables": variables()}),
    "utils.synops": lambda _: Call(utils.synops, {"net": net(), "variables": variables(), "x": x(T, B, N)}),
    "utils.training": lambda _: Call(utils.training, {"net": net()}),
    "utils.valid_split": lambda _: Call(utils.valid_split, {"ds_train": x(10, 2)}),
    "datasets.digits": lambda _: Call(datasets.digits, {"split": "test"}, packages=("sklearn",)),
    "datasets.Adapted": lambda _: Call(datasets.from_torch, {"dataset": [(x(), 1)]}),
    "datasets.Events": lambda _: Call(
        datasets.Events, {"t": [1], "x": [2], "y": [3], "p": [1], "size": (4, 4)}
    ),
    "datasets.Recordings": lambda folder: Call(datasets.recordings, {"path": recorded(folder, "b.h5")}),
    "datasets.from_tonic": lambda _: Call(
        datasets.from_tonic, {"events": np.zeros(3, [("t", int), ("x", int)]), "size": (4,)}
    ),
    "datasets.from_torch": lambda _: Call(datasets.from_torch, {"dataset": [(x(), 1)], "size": (4, 4)}),
    "datasets.moving_digits": lambda _: Call(
        datasets.moving_digits, {"split": "test", "samples": 2}, packages=("sklearn",)
    ),
    "datasets.pad_batch": lambda _: Call(datasets.pad_batch, {"sequences": [x(3, 2), x(2, 2)]}),
    "datasets.read_events": lambda folder: Call(datasets.read_events, {"path": recorded(folder, "a.bin")}),
    "datasets.recordings": lambda folder: Call(datasets.recordings, {"path": recorded(folder, "a.h5")}),
    "datasets.speech": lambda _: Call(datasets.speech, {"split": "test"}),
    "datasets.to_frames": lambda _: Call(datasets.to_frames, {"events": camera(), "n_frames": 2}),
    "datasets.write_events": lambda folder: Call(
        datasets.write_events,
        {
            "path": str(folder / "c.h5"),
            "events": [cochlea()],
            "labels": [1],
            "classes": ["a"],
            "speakers": [2],
        },
    ),
    "datasets.yin_yang": lambda _: Call(datasets.yin_yang, {"samples": 3}),
    "interop.NodeTrace": lambda folder: Call(
        lambda **given: interop.save_trace(
            folder / "n.npz", interop.Trace({"lif": interop.NodeTrace(**given)}, (spikes(),))
        ),
        {"name": "lif", "kind": "Leaky", "input": spikes(), "spk": spikes()},
    ),
    "interop.Reading": lambda _: Call(interop.Reading, {}),
    "interop.RecordedSide": lambda _: Call(interop.RecordedSide, {"trace": trace()}),
    "interop.Trace": lambda folder: Call(
        lambda **given: interop.save_trace(folder / "t.npz", interop.Trace(**given)),
        {"nodes": trace().nodes, "outputs": (spikes(),)},
    ),
    "interop.crossvalidate_events": lambda _: Call(
        interop.crossvalidate_events,
        {"a": event_network(), "inputs": trains(), "t_max": 0.05, "steps": (0.01,), "dt": 1e-3},
    ),
    "interop.check": lambda _: Call(interop.check, {"net": torch_net(), "sample": x()}, packages=TORCH),
    "interop.crossvalidate": lambda _: Call(
        interop.crossvalidate, {"a": (net(), variables()), "b": (net(), variables()), "x": x(T, B, N)}
    ),
    "interop.events_from_model": lambda _: Call(
        interop.events_from_model,
        {"model": synaptic_net(), "variables": synaptic_variables(), "sample": x(B, N), "dt": 1e-3},
    ),
    "interop.events_from_nir": lambda _: Call(interop.events_from_nir, {"graph": graph_of_spikes()}),
    "interop.events_to_nir": lambda _: Call(interop.events_to_nir, {"network": event_network()}),
    "interop.from_nir": lambda _: Call(interop.from_nir, {"graph": graph()}),
    "interop.from_norse": lambda _: Call(
        interop.from_norse, {"net": norse_net(), "sample": x()}, packages=(*NORSE, *TORCH)
    ),
    "interop.from_snntorch": lambda _: Call(
        interop.from_snntorch, {"net": torch_net(), "sample": x()}, packages=TORCH
    ),
    "interop.from_spikingjelly": lambda _: Call(
        interop.from_spikingjelly, {"net": jelly_net(), "sample": x(T, B, N)}, packages=("spikingjelly",)
    ),
    "interop.from_state_dict": lambda _: Call(
        interop.from_state_dict,
        {"model": net(), "variables": variables(), "state_dict": interop.to_state_dict(net(), variables())},
    ),
    "interop.join_inputs": lambda _: Call(
        interop.join_inputs, {"graph": graph(), "inputs": {"input": x(T, B, N)}}
    ),
    "interop.load_safetensors": lambda folder: Call(
        interop.load_safetensors,
        {"path": file(folder, "a.safetensors"), "model": net(), "variables": variables()},
        packages=TENSORS,
    ),
    "interop.load_trace": lambda folder: Call(interop.load_trace, {"path": file(folder, "a.trace.npz")}),
    "interop.losses": lambda _: Call(interop.losses, {"graph": graph()}),
    "interop.read_nir": lambda folder: Call(interop.read_nir, {"path": file(folder, "a.nir")}),
    "interop.save_safetensors": lambda folder: Call(
        interop.save_safetensors,
        {"path": folder / "b.safetensors", "model": net(), "variables": variables()},
        packages=TENSORS,
    ),
    "interop.save_trace": lambda folder: Call(
        interop.save_trace, {"path": folder / "b.npz", "trace": trace()}
    ),
    "interop.register_neuron": lambda _: Call(interop.register_neuron, {"kind": OwnNeuron}),
    "interop.to_nir": lambda _: Call(
        interop.to_nir, {"model": net(), "variables": variables(), "sample": x()}
    ),
    "interop.to_norse": lambda _: Call(
        interop.to_norse,
        {"model": snn.Sequential([snn.LIF(1e-2, **ON)]), "variables": {}, "sample": x()},
        packages=(*NORSE, *TORCH),
    ),
    "interop.to_snntorch": lambda _: Call(
        interop.to_snntorch, {"model": net(), "variables": variables(), "sample": x()}, packages=TORCH
    ),
    "interop.to_spikingjelly": lambda _: Call(
        interop.to_spikingjelly,
        {"model": jelly_model(), "variables": {}, "sample": x()},
        packages=("spikingjelly",),
    ),
    "interop.to_state_dict": lambda _: Call(
        interop.to_state_dict, {"model": net(), "variables": variables()}
    ),
    "interop.write_nir": lambda folder: Call(interop.write_nir, {"path": folder / "b.nir", "graph": graph()}),
    "interop.write_source": lambda folder: Call(
        interop.write_source, {"path": folder / "b.py", "model": net(), "variables": variables()}
    ),
    "nnx.Network": lambda _: Call(
        lambda net, x, variables: snn.nnx.Network(net, x, variables=variables)(x),
        {"net": net(), "x": x(), "variables": variables()},
    ),
    "nnx.Network.unroll": lambda _: Call(
        snn.nnx.Network(net(), x(), variables=variables()).unroll, {"x": x(T, B, N)}
    ),
    "nnx.Neuron": lambda _: Call(snn.nnx.Neuron, {"neuron": snn.Leaky(0.5), "x": x(), "rngs": nnx.Rngs(0)}),
    "nnx.Neuron.__call__": lambda _: Call(snn.nnx.Leaky(0.5, init_hidden=True), {"x": x()}),
    "nnx.reset": lambda _: Call(snn.nnx.reset, {"model": snn.nnx.Leaky(0.5, init_hidden=True)}),
}
LIF = {"parameters": event.LIFParameters(), "t_max": 0.05}
FUNCTIONS |= {
    "event.Connection": lambda _: Call(
        lambda **given: called(graph_of_events([("in", "out"), event.Connection(**given)])),
        {"source": "in", "target": "out", "delay": [1e-3] * N, "mask": np.ones((N, 3))},
    ),
    "event.Graph": lambda _: graph_of_events([("in", "out"), ("out", "out")], outputs="out", max_events=99),
    "event.LI": lambda _: used(event.LI, (B, N), features=3, t_max=0.05, times=[0.01, 0.02], delay=1e-3),
    "event.LIF": lambda _: used(
        event.LIF,
        (B, N),
        features=3,
        t_max=0.05,
        recurrent=True,
        recurrent_delay=1e-3,
        max_events=99,
        max_in_flight=9,
    ),
    "event.Sequential": lambda _: used(event.Sequential, (B, N), layers=[event.LIF(3, 0.05)]),
    "event.as_network": lambda _: Call(
        event.as_network,
        {"model": event.LIF(3, 0.05), "variables": {"params": {"weights": x(N, 3)}}},
    ),
    "event.firing_normal": lambda _: Call(
        lambda key=KEY, **given: event.firing_normal(**given)(key, (N, 3)),
        {"parameters": event.LIFParameters()},
    ),
    "event.silence": lambda _: Call(
        traced(event.silence), {"inputs": trains(), "weights": x(N, 3), "spikes": trains(3), **LIF}
    ),
    "event.accuracy_first_spike": lambda _: Call(
        event.accuracy_first_spike, {"spikes": x(B, N), "targets": labels()}
    ),
    "event.accuracy_max_voltage": lambda _: Call(
        event.accuracy_max_voltage, {"voltages": x(B, N), "targets": labels()}
    ),
    "event.biased": lambda _: Call(event.biased, {"spikes": trains(), "time": 1e-3}),
    "event.first_spike_class": lambda _: Call(event.first_spike_class, {"spikes": x(B, N)}),
    "event.from_raster": lambda _: Call(event.from_raster, {"spikes": spikes(), "dt": 1e-3, "max_spikes": 2}),
    "event.latency_code": lambda _: Call(
        event.latency_code, {"values": x(B, N), "latest": 0.02, "earliest": 0.01, "silent_below": 0.1}
    ),
    "event.max_over_time_loss": lambda _: scored_times(event.max_over_time_loss, labels()),
    "event.max_voltage_class": lambda _: Call(event.max_voltage_class, {"voltages": x(B, N)}),
    "event.mse_time_loss": lambda _: scored_times(event.mse_time_loss, x(B, N), silent=0.05),
    "event.population_code": lambda _: Call(
        event.population_code,
        {"values": x(B, N), "neurons": 3, "latest": 0.02, "earliest": 0.01, "width": 0.1},
    ),
    "event.target_time_loss": lambda _: scored_times(
        event.target_time_loss, labels(), on_target=0.01, off_target=0.02, silent=0.05
    ),
    "event.to_raster": lambda _: Call(
        event.to_raster, {"spikes": trains(), "dt": 1e-3, "num_steps": T, "shape": (2, N // 2)}
    ),
    "event.ttfs_loss": lambda _: scored_times(
        event.ttfs_loss, labels(), unit=1e-3, silent=0.05, early_unit=0.01
    ),
    "event.LIFParameters": lambda _: Call(event.LIFParameters, {}),
    "event.LIParameters": lambda _: Call(event.LIParameters, {}),
    "event.Network": lambda _: Call(
        lambda **given: simulated(event.Network(**given)),
        {
            "populations": event_network().populations,
            "projections": [projection(), projection(target="voltage")],
            "readouts": event_readouts(),
        },
    ),
    "event.Readout": lambda _: Call(
        event.Readout, {"name": "voltage", "size": 3, "parameters": event.LIParameters()}
    ),
    "event.voltages": lambda _: Call(
        traced(event.voltages),
        {
            "network": event_network([projection(), projection(target="voltage")], readouts=event_readouts()),
            "inputs": {"in": trains()},
            "spikes": {"out": trains(3)},
            "times": x(T),
        },
    ),
    "event.Population": lambda _: Call(
        event.Population, {"name": "out", "size": 3, "parameters": event.LIFParameters()}
    ),
    "event.Projection": lambda _: Call(
        lambda **given: simulated(event_network([event.Projection(**given)])),
        {"source": "in", "target": "out", "weights": x(N, 3), "delay": 1e-3, "mask": np.ones((N, 3))},
    ),
    "event.Trains": lambda _: Call(
        lambda times, overflow: event.count(event.Trains(times, overflow)),
        {"times": trains().times, "overflow": trains().overflow},
    ),
    "event.Wiring": lambda _: Call(
        wired,
        {
            "inputs": x(N, 3),
            "recurrent": x(3, 3),
            "delayed": x(2, 3, 3),
            "delays": x(2, 3),
        },
    ),
    "event.concatenated": lambda _: Call(
        lambda a, b: event.concatenated(a, b), {"a": trains(), "b": trains(2)}
    ),
    "event.count": lambda _: Call(event.count, {"spikes": trains()}),
    "event.delayed": lambda _: Call(event.delayed, {"spikes": trains(), "delay": x(N)}),
    "event.first_crossing": lambda _: Call(
        event.first_crossing,
        {"voltage": x(3) / 2, "current": x(3), "time": x(3), "parameters": event.LIFParameters()},
    ),
    "event.first_spikes": lambda _: Call(event.first_spikes, {"spikes": trains()}),
    "event.flow": lambda _: Call(
        event.flow, {"voltage": x(3), "current": x(3), "time": x(3), "parameters": event.LIParameters()}
    ),
    "event.from_dense": lambda _: Call(event.from_dense, {"spikes": spikes(), "dt": 1e-3, "max_spikes": 2}),
    "event.from_lists": lambda _: Call(event.from_lists, {"samples": [[[1e-3], []]], "max_spikes": 1}),
    "event.li_max_voltage": lambda _: Call(
        traced(event.li_max_voltage), {"inputs": trains(), "weights": x(N, 3), **LIF}
    ),
    "event.li_voltage": lambda _: Call(
        traced(event.li_voltage),
        {"inputs": trains(), "weights": x(N, 3), "parameters": event.LIParameters(), "times": x(T)},
    ),
    "event.lif_spikes": lambda _: Call(
        traced(event.lif_spikes), {"inputs": trains(), "weights": x(N, 3), "max_spikes": 2, **LIF}
    ),
    "event.merged": lambda _: Call(lambda a, b: event.merged(a, b), {"a": trains(), "b": trains()}),
    "event.recurrent_spikes": lambda _: Call(
        traced(event.recurrent_spikes),
        {"inputs": trains(), "wiring": event.Wiring(x(N, 3), x(3, 3)), "max_spikes": 2, **LIF},
    ),
    "event.relaxed_spikes": lambda _: Call(
        traced(event.relaxed_spikes),
        {"inputs": trains(), "wiring": event.Wiring(x(N, 3), None, x(1, 3, 3), x(1, 3)), **LIF},
    ),
    "event.simulate": lambda _: Call(
        lambda network, **given: simulated(network, **given),
        {"network": event_network(), "inputs": {"in": trains()}, "t_max": 0.05, "engine": "loop"}
        | dict.fromkeys(("max_spikes", "max_events", "max_in_flight"), 20),
    ),
    "event.sort_events": lambda _: Call(event.sort_events, {"times": x(B, 5)}),
    "event.to_dense": lambda _: Call(event.to_dense, {"spikes": trains(), "dt": 1e-3, "num_steps": T}),
    "event.trains": lambda _: Call(event.trains, {"times": x(B, N)}),
}
METHODS: dict[str, Callable[[], Call]] = {}


def joining(module: nn.Module) -> Any:
    """A step of a graph in which two signals meet at the module."""
    edges = [("input", "a"), ("input", "b"), ("a", "c"), ("b", "c"), ("c", "output")]
    graph = snn.Graph({"a": snn.Scale(1.0), "b": snn.Scale(2.0), "c": module}, edges)
    return jax.eval_shape(lambda key: graph.init_with_output(key, x()), KEY)


def traced(function: Callable[..., Any]) -> Callable[..., Any]:
    """Without the time that it takes to compile."""
    import functools

    @functools.wraps(function)
    def run(**given: Any) -> Any:
        return jax.eval_shape(lambda: function(**given))

    return run


def animated(function: Callable[..., Any]) -> Callable[..., Any]:
    """A film is drawn once: matplotlib warns of one that is not."""
    import functools

    @functools.wraps(function)
    def run(**given: Any) -> Any:
        made = function(**given)
        if hasattr(made, "_init_draw"):
            made._init_draw()
        return made

    return run


def step(module: nn.Module, shape: tuple[int, ...], states: tuple[str, ...] = ()) -> Call:
    """``init`` and ``apply`` of a module: keys, variables, input, states."""
    value = jnp.ones(shape)

    def run(variables: Any, x: Any, rngs: Any = KEY, **given: Any) -> Any:
        if rngs is not KEY:  # all that init takes from here: the other arguments are those of apply
            return module.init(rngs, value)
        return module.apply(variables, x, **given, mutable=["hidden", "batch_stats"])

    variables = module.init(KEY, value)
    given = {"variables": variables, "x": value, "rngs": KEY, **dict.fromkeys(states)}
    return Call(run, given)


# What a NumPy array, a dictionary of arrays, a user's own class or a record of results may hold is theirs.
NOT_CALLED = {
    "errors": "errors are raised, not called",
    "Module": "a base for networks of the user's own: tests/network/test_written.py",
    "size_limit": "a context, tried with its own nonsense in network/test_limits.py",
    "backprop.Trained": "a result",
    "event.Simulation": "a result",
    "training.History": "a result",
    "interop.EventReport": "a result",
    "interop.Report": "a result",
    "interop.Steps": "a part of a result",
    "interop.Voltages": "a part of a result",
    "interop.Side": "a protocol, to be implemented",
    "nnx.Buffer": "a variable of flax.nnx",
    "nnx.Hidden": "a variable of flax.nnx",
    **{f"nnx.{name}": "builds the neuron of linen, which is in the table" for name in LINEN},
}


def calls(folder: Path) -> Iterator[tuple[str, Call]]:
    """Every entry of the table."""
    for name, build in MODULES.items():
        yield name, build()
    for name, make in FUNCTIONS.items():
        yield name, make(folder)
