"""One step of a recorded neuron layer again, from its recorded state and current, under any equation.

The equations are those of :mod:`snnax.dynamics`, run operation by operation in the layer's own precision, so
that nothing is fused and a correct recording is met to the last bit.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Any

import jax
import numpy as np

from snnax.dynamics import alpha, equation, lapicque, leaky, synaptic
from snnax.dynamics.firing import FiringRule, step_function
from snnax.errors import ConversionError, SnnaxError
from snnax.interop.compare.bounds import Recursion
from snnax.interop.conventions import DT
from snnax.interop.families.nodes import spec_from_node
from snnax.interop.families.registry import find
from snnax.interop.nir import metadata
from snnax.interop.nir.graph import NEURONS, FlatGraph, loops
from snnax.interop.spec import NeuronSpec
from snnax.neurons.quantize import NearestLevel

Array = np.ndarray
States = Mapping[str, Array]


@dataclass(frozen=True)
class Move:
    """A step.

    Attributes:
        states: states after it.
        spk: its spikes.
        charged: the membrane that was compared with the threshold.
        raw: states before a quantizer and before a reset within the step.
    """

    states: dict[str, Array]
    spk: Array
    charged: Array
    raw: dict[str, Array]


def spec_of(side: Any, graph: FlatGraph | None, name: str) -> NeuronSpec | None:
    """The neuron as its side tells (``side.spec(name)``), else as the graph tells, else ``None``."""
    ask = getattr(side, "spec", None)
    try:
        spec = ask(name) if callable(ask) else None
    except SnnaxError:
        spec = None
    node = next((n for n in (name, f"{name}.lif") if graph is not None and n in graph.nodes), None)
    if spec is None and graph is not None and node is not None:
        spec = _spec_of_node(node, graph)
    return spec if spec is not None and find(spec.kind) else None


def _spec_of_node(name: str, graph: FlatGraph) -> NeuronSpec | None:
    """What our metadata says, or NIR's own semantics where its neuron adds its input unscaled."""
    node = graph.nodes[name]
    known = metadata.read_spec(node, name)
    if known is not None or not isinstance(node, NEURONS) or name in loops(graph):
        return known
    try:
        spec, factor = spec_from_node(name, node, float(graph.content.get("dt", DT)))
    except ConversionError:
        return None
    return spec if factor is None else None


def step(spec: NeuronSpec, states: States, current: Array, feedback: Array | None = None) -> Move:
    """Advance the states ``[..., N]`` by one step of ``spec``; leading axes are independent of each other.

    Args:
        spec: the neuron. Inhibition is left out.
        states: states before the step, by name.
        current: input current.
        feedback: recurrent current.
    """
    shape, dtype = current.shape, current.dtype
    length = _padded(current.size)

    def flat(values: Array) -> Array:
        whole = np.ones(length, dtype)
        whole[: current.size] = np.broadcast_to(values, shape).ravel()
        return whole

    def number(name: str) -> Array:
        return flat(np.asarray(spec.values.get(name, 1.0)).astype(dtype))

    x, extra = flat(current), None if feedback is None else flat(feedback)
    before = tuple(flat(states[name]) for name in spec.states)

    def advance(rule: FiringRule) -> dict[str, Array]:
        after, spk = _advance(spec.kind, before, x, extra, number, rule)
        named = dict(zip(spec.states, after, strict=True))
        return {k: np.asarray(v)[: current.size].reshape(shape) for k, v in {**named, "spk": spk}.items()}

    with jax.enable_x64(True), jax.default_device(jax.devices("cpu")[0]):
        rule = FiringRule(
            threshold=number("threshold"),
            spike=step_function,
            reset=spec.reset_mechanism,
            reset_delay=spec.reset_delay,
            quantize=None if spec.quantizer is None else NearestLevel(spec.quantizer),
            graded=number("graded_spikes_factor") if "graded_spikes_factor" in spec.values else None,
        )
        moved, late = advance(rule), rule._replace(reset_delay=True)
        charged = moved if spec.reset_delay else advance(late)
        raw = charged if spec.quantizer is None else advance(late._replace(quantize=None))
    return Move({k: moved[k] for k in spec.states}, moved["spk"], charged["mem"], raw)


def _padded(size: int) -> int:
    """A length that many sizes share, so that each operation is compiled for few of them."""
    length = 1 << 12
    while length < size:
        length *= 4
    return length


def quantized(spec: NeuronSpec, values: Array) -> Array:
    """``values`` on the levels of the neuron's quantizer, if it has one."""
    if spec.quantizer is None:
        return values
    levels = np.sort(np.asarray(spec.quantizer, values.dtype))
    return levels[np.searchsorted((levels[1:] + levels[:-1]) / 2, values)]


_EQUATIONS: dict[str, tuple[Callable[..., Any], tuple[str, ...]]] = {
    "Synaptic": (synaptic.charge, ("alpha", "beta")),
    "RSynaptic": (synaptic.charge, ("alpha", "beta")),
    "Alpha": (alpha.charge, ("alpha", "beta")),
    "Lapicque": (lapicque.charge, ("R", "C", "time_step")),
}


def _advance(
    kind: str, before: Any, x: Any, extra: Any, number: Callable[[str], Array], rule: FiringRule
) -> tuple[Any, Any]:
    """The equation of a family, on flat arrays."""
    before = tuple(map(jax.numpy.asarray, before))
    x, extra = jax.numpy.asarray(x), None if extra is None else jax.numpy.asarray(extra)
    charge, names = _EQUATIONS.get(kind, (leaky.charge, ("beta",)))
    back = None
    if kind in ("RLeaky", "RSynaptic"):
        fed = jax.numpy.zeros_like(x) if extra is None else extra
        back = lambda *_: fed  # noqa: E731
    return equation.step(equation.Equation(charge, rule, tuple(map(number, names)), back), before, x)


def recursion(spec: NeuronSpec | None) -> Recursion:
    """Constants for the rounding bound; of an unknown neuron: no decay, no threshold."""
    if spec is None:
        return Recursion()

    def number(name: str) -> Array:
        return np.asarray(spec.values.get(name, 1.0), np.float64)

    if spec.kind == "Lapicque":
        resistance, capacity, dt = number("R"), number("C"), number("time_step")
        return Recursion(1 - dt / (resistance * capacity), gain=dt / capacity, threshold=number("threshold"))
    beta, syn = np.clip(number("beta"), 0, 1), np.clip(number("alpha"), 0, 1)
    if spec.kind != "Alpha":
        return Recursion(beta, syn, threshold=number("threshold"))
    with np.errstate(divide="ignore", invalid="ignore"):
        log_a, log_b = np.log(syn), np.log(beta)
        scale = log_a / (log_b - log_a) + 1
        roundings = 4 * (np.abs(log_a) + np.abs(log_b)) / np.abs(log_b - log_a)
    finite = np.isfinite(scale) & np.isfinite(roundings)
    return Recursion(
        beta, syn, threshold=number("threshold"), scale=np.where(finite, scale, 1.0),
        scale_roundings=np.where(finite, roundings, 4.0),
    )  # fmt: skip


def before(states: States) -> dict[str, Array]:
    """States before each step of a run from rest: those after the step before, zero at first."""
    return {name: np.concatenate([np.zeros_like(state[:1]), state[:-1]]) for name, state in states.items()}
