"""Recordings held to a program: what its neurons should start a step from, and what should enter them.

The program runs without its neurons on what was recorded of them (:mod:`~snnax.interop.program.told`), in float64. How
far a correct recording may be from that is measured, as for a layer with weights of its own: the same run in float32
shows the rounding errors of these operations on these numbers, relative to the largest number of the step, and
:data:`MARGIN` times the largest of them is granted.

Of a program that computes in half precision what enters a neuron is held so too: a bound on sums in that says nothing.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import replace

import jax.numpy as jnp
import numpy as np

from snnax.interop.compare.bounds import coarsest_type, smallest_normal, unit_roundoff
from snnax.interop.compare.cells import MARGIN
from snnax.interop.program.chained import chained, line_of
from snnax.interop.program.nodes import Program
from snnax.interop.program.told import INPUT, reads_states
from snnax.interop.trace import NodeTrace, Told, Trace, left_by

Array = np.ndarray
Ports = dict[str, dict[str, Array]]
SINGLE = unit_roundoff(np.dtype(np.float32))
HALVES = (np.dtype(jnp.bfloat16), np.dtype(np.float16))


def held(
    program: Program, trace: Trace, emitted: Mapping[str, Array], run: Callable[[Ports, bool, bool], Ports]
) -> Trace:
    """A recording whose neurons know what they should have got.

    Args:
        program: for as many steps as were recorded.
        trace: what the neurons did.
        emitted: the spikes that some of them were made to emit instead of their own.
        run: the program without neurons, of what they did, whether all is rounded to float32 before, and whether it
            computes in float32.
    """
    started = chained(program) | {name for name, node in trace.nodes.items() if node.starts}
    given, halves = _given(program, trace, emitted), _halves(program)
    read = frozenset(given) if halves else reads_states(program)
    asked = {name for name in (*started, *read) if name in given}
    if not asked:
        return trace
    exact = run(given, False, False)
    single = all(values.dtype == np.float32 for ports in given.values() for values in ports.values())
    rough, base = run(given, True, True), exact if single else run(given, True, False)
    nodes = dict(trace.nodes)
    for name in asked:
        node = nodes[name]
        ports = [*(node.states if name in started else ()), *([INPUT] if name in read else ())]
        with np.errstate(invalid="ignore", over="ignore"):
            errors = {port: np.abs(rough[name][port].astype(np.float64) - base[name][port]) for port in ports}
        sizes = {port: _size(exact[name][port], node, port) for port in ports}
        types = [coarsest_type(node), *halves]
        slack = {port: _slack(errors[port], sizes[port], max(types, key=unit_roundoff)) for port in ports}
        starts = {port: exact[name][port] for port in ports if port != INPUT}
        current = exact[name][INPUT] if name in read else None
        nodes[name] = replace(node, told=Told(current, starts, slack, line_of(program, name)))
    return replace(trace, nodes=nodes)


def _halves(program: Program) -> list[np.dtype]:
    """The types of half precision in which it computes, as under ``torch.autocast``."""
    found = {result.dtype for node in program.nodes() for result in node.results}
    return [dtype for dtype in HALVES if dtype in found]


def _given(program: Program, trace: Trace, emitted: Mapping[str, Array]) -> Ports:
    """What is known of the neurons of which all is."""
    found: Ports = {}
    for name, node in trace.nodes.items():
        family = program.neurons[name.partition("#")[0]].family
        if family.stepwise and set(family.states) <= set(node.states):
            found[name] = {**node.states, "spk": np.asarray(emitted.get(name, node.spk), node.spk.dtype)}
    return found


def _size(values: Array, node: NodeTrace, port: str) -> Array:
    """The largest number of each step ``[T, 1, ...]``: of what is computed, and of the state that was there before."""
    parts = [values, left_by(node.states[port])] if port in node.states else [values]
    return np.stack([_largest(part) for part in parts]).max(0)


def _largest(values: Array) -> Array:
    known = np.where(np.isfinite(values), np.abs(values.astype(np.float64)), 0.0)
    return known.max(axis=tuple(range(1, values.ndim)), keepdims=True, initial=0.0)


def _slack(error: Array, size: Array, dtype: np.dtype) -> Array:
    """How far a recording may be off in each step, of numbers that went through this type."""
    u = unit_roundoff(dtype)
    share = np.divide(_largest(error), size, out=np.zeros_like(size), where=size > 0).max(initial=0.0)
    # the few roundings to half precision are among what was measured
    errors = share * (MARGIN * u / SINGLE if u <= SINGLE else MARGIN / 8)
    return (errors + 8 * u) * size + 4 * smallest_normal(dtype)
