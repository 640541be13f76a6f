"""Every public neuron and layer with the arrays that it takes: the table of tests/laws/test_per_neuron.py."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from typing import Any

import flax.linen as nn
import jax
import jax.numpy as jnp
import numpy as np

import snnax as snn

Shape = tuple[int, ...]
Arrays = dict[str, np.ndarray]

IMAGE, CUBE, ROWS, SQUARE, VECTOR = (4, 5, 3), (3, 3, 3), (5, 3), (3, 3), (4,)
"""Shapes of a sample, channels last; in ``CUBE`` and ``SQUARE`` no shape tells one axis from another."""

SHAPES: dict[int, tuple[tuple[int, ...], ...]] = {
    1: ((1,), (0, 1)),
    2: ((0, 1), (1,), (1, 0), (1, 1), (0, 0, 1)),
    3: ((1,), (0, 1), (1, 1), (1, 0), (1, 0, 0), (0, 1, 0), (1, 0, 1), (1, 1, 1), (0, 0, 0, 1)),
}
"""By the axes of a sample: which axes an array has, from the last on, and whether their length is 1 (0)."""


@dataclass(frozen=True)
class Case:
    """One neuron or layer.

    Attributes:
        numbers: what may be an array, with the range to draw it from.
        options: its other arguments.
        learn: arguments with which all that can be trained is.
        learned: names that are trained then.
        samples: shapes of the samples that it takes.
        single: names that take ``(N,)`` only.
        sizes: names of the arguments that are the number of channels.
        torch: names under which snnTorch's neuron holds the same numbers.
        norse: arguments with which it has a Norse cell; ``None`` if none.
    """

    numbers: dict[str, tuple[float, float]]
    options: dict[str, Any] = field(default_factory=dict)
    learn: dict[str, Any] = field(default_factory=dict)
    learned: tuple[str, ...] = ()
    samples: tuple[Shape, ...] = (IMAGE, CUBE, SQUARE, VECTOR)
    single: tuple[str, ...] = ()
    sizes: tuple[str, ...] = ()
    torch: tuple[str, ...] = ()
    norse: dict[str, Any] | None = None


def _learns(*names: str) -> dict[str, Any]:
    return {"learn": {f"learn_{name}": True for name in names}, "learned": names}


def _native(norse: dict[str, Any] | None = None, **numbers: tuple[float, float]) -> Case:
    options = {"dt": 1.0, "init_hidden": True}
    return Case(numbers, options, {"learn": tuple(numbers)}, tuple(numbers), norse=norse)


def _own(options: dict[str, Any] | None = None, **numbers: tuple[float, float]) -> Case:
    """A neuron that is an equation and numbers."""
    if options is None:
        options = {"reset_mechanism": "value"}
        numbers = {**numbers, "threshold": LEVEL, "v_reset": RESET}
    return Case(numbers, {**OWN, **options}, {"learn": tuple(numbers)}, tuple(numbers))


DECAY, LEVEL, HEIGHT = (0.125, 0.75), (0.25, 1.5), (0.5, 2.0)
STEP = (0.015625, 0.0625)
TIME, GAIN, REST, RESET = (2.0, 9.0), (1.0, 6.0), (-0.25, 0.25), (-0.5, 0.125)
OWN: dict[str, Any] = {"init_hidden": True}
LOOP = {**OWN, "all_to_all": False}
ZERO = {"reset_mechanism": "zero", "reset_delay": False}
NO_LEAK = {"v_leak": 0.0}

TABLE: dict[str, Case] = {
    "Leaky": Case(
        {"beta": DECAY, "threshold": LEVEL, "graded_spikes_factor": HEIGHT}, OWN,
        **_learns("beta", "threshold", "graded_spikes_factor"), torch=("beta", "threshold", "graded_spikes_factor"),
        norse={**ZERO, "graded_spikes_factor": 1.0},
    ),
    "Lapicque": Case(
        {"R": (1.0, 3.0), "C": (3.0, 9.0), "time_step": (0.5, 1.0), "threshold": LEVEL}, OWN, **_learns("threshold"),
        torch=("R", "C", "time_step", "threshold"),
    ),
    "Synaptic": Case(
        {"alpha": DECAY, "beta": DECAY, "threshold": LEVEL}, OWN, **_learns("alpha", "beta", "threshold"),
        torch=("alpha", "beta", "threshold"), norse=ZERO,
    ),
    "Alpha": Case(
        {"alpha": (0.625, 0.875), "beta": (0.125, 0.5), "threshold": (0.125, 0.5)}, OWN,
        **_learns("beta", "threshold"), torch=("alpha", "beta", "threshold"),
    ),
    "RLeaky": Case(
        {"beta": DECAY, "threshold": LEVEL, "V": (-0.5, 0.5)}, LOOP,
        {"learn_beta": True, "learn_threshold": True, "learn_recurrent": True}, ("beta", "threshold", "V"),
        torch=("beta", "threshold", "V"),
    ),
    "RSynaptic": Case(
        {"alpha": DECAY, "beta": DECAY, "threshold": LEVEL, "V": (-0.5, 0.5)}, LOOP,
        {"learn_alpha": True, "learn_beta": True, "learn_threshold": True, "learn_recurrent": True},
        ("alpha", "beta", "threshold", "V"), torch=("alpha", "beta", "threshold", "V"),
    ),
    "DeltaLeaky": Case(
        {"beta": DECAY, "delta_threshold": (0.25, 0.5)}, OWN, **_learns("beta"), torch=("beta", "delta_threshold"),
    ),
    "SLSTM": Case(
        {"threshold": (0.03125, 0.25)}, OWN, **_learns("threshold"), samples=(VECTOR,),
        sizes=("input_size", "hidden_size"), torch=("threshold",),
    ),
    "SConv2dLSTM": Case(
        {"threshold": (0.03125, 0.25)}, {**OWN, "kernel_size": 3}, **_learns("threshold"), samples=(IMAGE, CUBE),
        sizes=("in_channels", "out_channels"), torch=("threshold",),
    ),
    "StateLeaky": Case(
        {"beta": DECAY, "threshold": LEVEL, "graded_spikes_factor": HEIGHT}, OWN,
        **_learns("threshold", "graded_spikes_factor"), samples=(VECTOR,), single=("beta",), sizes=("channels",),
        torch=("threshold",),
    ),
    "LinearLeaky": Case(
        {"beta": DECAY, "threshold": LEVEL, "graded_spikes_factor": HEIGHT}, OWN,
        **_learns("threshold", "graded_spikes_factor"), samples=(VECTOR,), single=("beta",),
        sizes=("in_features", "out_features"), torch=("threshold",),
    ),
    "LeakyParallel": Case(
        {"threshold": LEVEL, "graded_spikes_factor": HEIGHT}, OWN, **_learns("threshold", "graded_spikes_factor"),
        samples=(VECTOR,), sizes=("input_size", "hidden_size"), torch=("threshold", "graded_spikes_factor"),
    ),
    "LIF": _native({}, tau=TIME, r=GAIN, v_leak=REST, v_threshold=LEVEL, v_reset=RESET),
    "CubaLIF": _native(
        NO_LEAK, tau_syn=TIME, tau_mem=TIME, r=GAIN, v_leak=REST, v_threshold=LEVEL, v_reset=RESET, w_in=GAIN
    ),
    "LI": _native({}, tau=TIME, r=GAIN, v_leak=REST),
    "CubaLI": _native(NO_LEAK, tau_syn=TIME, tau_mem=TIME, r=GAIN, v_leak=REST, w_in=GAIN),
    "IF": _native({"v_reset": 0.0}, r=DECAY, v_threshold=LEVEL, v_reset=RESET),
    "I": _native(r=DECAY),
    "ALIF": _own(beta=DECAY, rho=DECAY, strength=HEIGHT),
    "TwoDecayLIF": _own(alpha=DECAY, beta=DECAY),
    "SRM": _own({}, threshold=(0.25, 0.5), alpha=DECAY, beta=DECAY, gamma=DECAY, reset_val=HEIGHT),
    "SigmaDelta": _own({}, threshold=LEVEL),
    "Izhikevich": _own({}, threshold=(-65, 30), a=(0.015625, 0.125), b=DECAY, c=(-65, -50), d=(2, 8), dt=STEP),
    "AdEx": _own(
        {}, threshold=(-60, -40), C=(250, 300), g_L=(20, 40), E_L=(-70, -60), V_T=(-55, -50), delta_T=(1, 4),
        tau_w=(0.125, 0.25), a=(2, 6), b=(60, 100), v_reset=(-75, -65), dt=STEP,
    ),
    "ResonateFire": _own({}, threshold=(0.25, 1), b=(-60, -10), omega=(200, 600), v_reset=HEIGHT, dt=STEP),
    "Scale": Case({"scale": HEIGHT}, learn={"learn_scale": True}, learned=("scale",)),
    "Threshold": Case({"threshold": LEVEL}),
    "Delay": Case({"steps": (0, 4)}),
}  # fmt: skip

APART = {
    "AssociativeLeaky": "its threshold is fixed",
    "BatchNormTT1d": "one array only, (steps, channels): test_numbers_of_the_channels_alone",
    "BatchNormTT2d": "one array only, (steps, channels): test_numbers_of_the_channels_alone",
    "GradedSpikes": "one array only, (channels,): test_numbers_of_the_channels_alone",
    **dict.fromkeys(("AvgPool1d", "AvgPool2d", "MaxPool1d", "MaxPool2d", "SumPool1d", "SumPool2d"), "no numbers"),
    **dict.fromkeys(("AdaptiveAvgPool2d", "Flatten", "Lambda", "ReLU", "Reshape", "Slice", "State"), "no numbers"),
    **dict.fromkeys(("Concatenate", "SpikeCounter"), "no numbers"),
    **dict.fromkeys(("ConvTranspose2d", "DelayedDense"), "weights, of one shape"),
    **dict.fromkeys(("Graph", "Module", "Sequential"), "no numbers of their own"),
    "SpikingCell": "its numbers are its neuron's",
}  # fmt: skip
"""Public modules without arrays that can have several shapes."""

UNUSED = {
    "Delay": {"delay"},
    "DeltaLeaky": {"threshold", "graded_spikes_factor"},
    "Lapicque": {"beta"},
    "LeakyParallel": {"beta"},
}
"""Fields that do nothing, or stand for others of the table."""


def chosen(sample: Shape, axes: tuple[int, ...]) -> Shape:
    """The shape of an array with these axes of ``(1, *sample)``; see :data:`SHAPES`."""
    return tuple(n if kept else 1 for n, kept in zip((1, *sample)[-len(axes) :], axes, strict=True))


def drawn(case: Case, sample: Shape, turn: int, seed: int = 0) -> Arrays:
    """Arrays for all numbers of a case, each of another shape; ``turn`` says of which."""
    rng, shapes, found = np.random.default_rng([seed, turn, *sample]), SHAPES[len(sample)], {}
    for place, (name, (low, high)) in enumerate(case.numbers.items()):
        axes = (1,) if name in case.single else shapes[(turn + place) % len(shapes)]
        axes = axes if case.options else axes[-len(sample) :]  # only neurons take the axis of the batch
        step = 1 if name == "steps" else 1 / 64
        counts = rng.integers(round(low / step), round(high / step) + 1, chosen(sample, axes))
        found[name] = (counts * step).astype(np.int64 if step == 1 else np.float32)
    return found


def full(arrays: Arrays, sample: Shape) -> Arrays:
    """The same numbers written out, one for each neuron."""
    return {name: np.array(np.broadcast_to(value, (1, *sample))[0]) for name, value in arrays.items()}


def module(
    kind: str, arrays: Mapping[str, Any], sample: Shape, learn: bool = False, **more: Any
) -> nn.Module:
    """The neuron or layer with these arrays."""
    case = TABLE[kind]
    sizes = dict.fromkeys(case.sizes, sample[-1])
    loop = {"learn_recurrent": False} if "V" in case.numbers and not learn else {}
    given = {**case.options, **sizes, **loop, **(case.learn if learn else {}), **arrays, **more}
    made: nn.Module = getattr(snn, kind)(**given)
    return made


def variables(
    kind: str, net: nn.Module, arrays: Mapping[str, Any], sample: Shape, learn: bool
) -> dict[str, Any]:
    """What ``init`` makes for ``Sequential([module])``, without compiling a step; weights are drawn."""
    rng = np.random.default_rng(0)
    shapes = jax.eval_shape(net.init, jax.random.key(0), jnp.zeros((1, *sample)))
    shapes.pop("hidden", None)
    made: dict[str, Any] = jax.tree.map(
        lambda v: jnp.asarray(rng.uniform(-0.5, 0.5, v.shape), v.dtype), shapes
    )
    for home in made.values():
        own = home["layers_0"]
        own.update({k: jnp.asarray(arrays[k], own[k].dtype) for k in own if k in arrays})
        if "tau" in own and kind in ("StateLeaky", "LinearLeaky"):
            own["tau"] = jnp.asarray(1 / (1 - np.asarray(arrays["beta"])), own["tau"].dtype)
    return made


def held(module: Any, own: Mapping[str, Any], names: Any) -> Iterator[tuple[str, np.ndarray]]:
    """The numbers that a flax module computes with: learned, stored, or arguments."""
    for name in names:
        stored = [own[c][name] for c in ("params", "buffers") if name in own.get(c, {})]
        yield name, np.asarray(stored[0] if stored else getattr(module, name))
