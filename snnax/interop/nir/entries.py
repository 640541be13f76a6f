"""What the entrances of ``interop`` take, in the words of their errors."""

from __future__ import annotations

from collections import deque
from collections.abc import Iterator, Mapping
from typing import Any

import nir
import numpy as np

from snnax import checks
from snnax.checks import Check
from snnax.errors import ArgumentError, ConversionError
from snnax.interop.layers.conv import pads_of, sizes, spatial_out
from snnax.network.topology import Wiring

__all__ = ["CALL", "DT", "FILE_OR_GRAPH", "GRAPH", "LEFT_OUT", "PRESET", "SAMPLE", "arrays", "trace_parts"]

DT = checks.maybe(checks.number(above=0, called="a number of seconds"))
GRAPH = checks.instance(
    nir.NIRGraph, "a nir.NIRGraph, as snnax.interop.read_nir(path) or to_nir(...) returns it"
)


def FILE_OR_GRAPH(value: Any, what: str) -> Any:
    """A graph, or the path of a file of one."""
    if isinstance(value, nir.NIRGraph):
        return value
    try:
        return checks.path(value, what)
    except ArgumentError:
        raise checks.refuse(what, value, "a nir.NIRGraph, or the path of a .nir file") from None


def SAMPLE(value: Any, what: str) -> Any:
    """One step's input: an array, or several of them in a tuple; ``None`` where it may be left out."""
    if value is None:
        return None
    parts = value if isinstance(value, tuple) and value else (value,)
    for part in parts:
        checks.real(part, what)
    read = tuple(np.asarray(checks.array(p, what)) if hasattr(p, "requires_grad") else p for p in parts)
    return read if isinstance(value, tuple) and value else read[0]


def LEFT_OUT(value: Any, what: str) -> tuple[str, ...]:
    """Parts of a program."""
    if not isinstance(value, tuple | list | set | frozenset) or not {*map(str, value)} <= {"before", "after"}:
        raise checks.refuse(what, value, 'some of ("before", "after")')
    return tuple(map(str, value))


def CALL(value: Any, what: str) -> Any:
    """What one call of a network takes: an array, or a tuple of arguments with arrays in it, beside switches."""
    if not isinstance(value, tuple | list | Mapping):
        return checks.real(value, what)
    arrays = [part for part in _parts(value) if hasattr(part, "__array__") or hasattr(part, "detach")]
    for part in arrays:
        checks.real(part, what)
    if not arrays:
        raise checks.refuse(
            what, value, "an array (JAX, NumPy or torch), or a tuple of arguments with one in it"
        )
    return value


def _parts(value: Any) -> Iterator[Any]:
    if isinstance(value, tuple | list | Mapping):
        for part in value.values() if isinstance(value, Mapping) else value:
            yield from _parts(part)
    else:
        yield value


def PRESET(value: Any, what: str) -> Any:
    """A reading, the name of one, or ``None``."""
    from snnax.interop.nir.readings import PRESETS, Reading

    if value is None or isinstance(value, Reading | str):
        return value
    raise checks.refuse(what, value, f"a Reading or one of {', '.join(map(repr, PRESETS))}")


def arrays(expected: str) -> Check:
    """Arrays by name."""

    def check(value: Any, what: str) -> Any:
        for name, part in checks.mapping(expected)(value, what).items():
            checks.real(part, f"{what.removesuffix('=...)')}={{{name!r}: ...}})")
        return value

    return check


def _kept(value: Any, what: str) -> Any:
    """An array that a file can keep."""
    if hasattr(value, "detach"):
        raise checks.refuse(what, value, "an array of NumPy, as tensor.detach().numpy()")
    return checks.real(value, what)


def trace_parts(trace: Any, what: str) -> Any:
    """A recording whose parts are what they are declared to be.

    Raises:
        ArgumentError: it is something else, or holds something else.
    """
    from snnax.interop.trace import NodeTrace, Trace

    checks.instance(Trace, "a snnax.interop.Trace, as load_trace(path) returns it")(trace, what)
    checks.mapping("recordings by layer, as {'lif': NodeTrace(...)}")(trace.nodes, "Trace(nodes=...)")
    for name, node in trace.nodes.items():
        checks.instance(NodeTrace, "a snnax.interop.NodeTrace")(node, f"Trace(nodes={{{name!r}: ...}})")
        checks.text(node.name, "NodeTrace(name=...)")
        checks.text(node.kind, "NodeTrace(kind=...)")
        _kept(node.input, "NodeTrace(input=...)")
        _kept(node.spk, "NodeTrace(spk=...)")
        arrays("arrays by state, as {'mem': mem}")(node.states, "NodeTrace(states=...)")
    if not isinstance(trace.outputs, tuple | list | np.ndarray) or isinstance(trace.outputs, Mapping):
        raise checks.refuse("Trace(outputs=...)", trace.outputs, "a tuple of arrays")
    for output in trace.outputs:
        _kept(output, "Trace(outputs=...)")
    return trace


# --- The shapes of samples at nodes that do not say them, as ``nir.read`` infers them -------------


def infer_types(graph: nir.NIRGraph) -> nir.NIRGraph:
    """Give pooling layers and convolutions of a graph, nested ones included, the shapes that follow from its inputs.

    A node whose shapes cannot follow, since what feeds it has none or does not fit, stays as it is.
    """
    wiring = Wiring((str(s), str(t)) for s, t in graph.edges)
    waiting = deque(graph.nodes)
    tried: set[tuple[str, str]] = set()
    for node in graph.nodes.values():
        if isinstance(node, nir.NIRGraph):
            infer_types(node)
    while waiting:
        name = waiting.popleft()
        shape = _of(graph.nodes.get(name), "output_type", "output")
        if shape is None:
            continue
        for target in wiring.targets.get(name, ()):
            node = graph.nodes.get(target)
            if (name, target) not in tried and _of(node, "output_type", "output") is None:
                tried.add((name, target))
                if _settle(target, node, shape):
                    waiting.append(target)
    return graph


def _of(node: Any, what: str, end: str) -> tuple[int, ...] | None:
    """A shape that a node says: of its one input or output."""
    try:
        given = getattr(node, what, None) or {}
        found = (
            next(iter(given.values()))
            if isinstance(node, nir.NIRGraph) and len(given) == 1
            else given.get(end)
        )
        return None if found is None else tuple(int(n) for n in np.ravel(found))
    except (TypeError, ValueError, OverflowError):
        return None


def _settle(name: str, node: Any, shape: tuple[int, ...]) -> bool:
    """Write down the shapes of a layer that gets samples of ``shape``; whether they followed."""
    pool = isinstance(node, nir.SumPool2d | nir.AvgPool2d)
    rank = 1 if isinstance(node, nir.Conv1d) else 2
    if not (pool or isinstance(node, nir.Conv1d | nir.Conv2d)) or len(shape) != rank + 1:
        return False
    try:
        kernel = sizes(node.kernel_size, rank) if pool else tuple(np.shape(node.weight)[2:])
        stride = sizes(node.stride, rank)
        dilation = (1,) * rank if pool else sizes(node.dilation, rank)
        pads = pads_of(node.padding, kernel, dilation, stride, name)
        out = spatial_out(shape[1:], kernel, stride, pads, dilation)
    except (ConversionError, ArithmeticError, TypeError, ValueError, IndexError):
        return False
    if any(n < 1 for n in out):
        return False
    channels = shape[0] if pool else int(np.shape(node.weight)[0])
    node.input_type, node.output_type = {"input": np.array(shape)}, {"output": np.array((channels, *out))}
    return True
