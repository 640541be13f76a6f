"""The picture of a network: its nodes in rows from the input to the output, feedback as dashed loops."""

from __future__ import annotations

from collections.abc import Mapping
from typing import TYPE_CHECKING, Any

from snnax import checks, neurons
from snnax.errors import ArgumentError
from snnax.network.containers import Container
from snnax.network.topology import INPUT, OUTPUT
from snnax.spikeplot import canvas
from snnax.spikeplot.boxes import GAP, LANE, Box, Drawing, Edge
from snnax.spikeplot.layout import layout

if TYPE_CHECKING:
    from matplotlib.axes import Axes

MOST_NODES = 400
LONGEST = 48
_WEIGHTS = ("Dense", "Conv", "Affine", "Linear", "Conv1d", "Conv2d")


@checks.takes(ax=canvas.AX)
def network_graph(graph: Any, ax: Axes | None = None) -> Axes:
    """A network as boxes and arrows, from the input at the top to the output at the bottom.

    Each box has a node's name, what it is, and the shape of what it emits. Neurons are blue. What a dashed
    arrow carries arrives one step later: every cycle has one.

    Args:
        graph: a ``Sequential`` or ``Graph``, or a description as ``snnax inspect --json`` prints it:
            ``{"nodes": [{"name", "type", "becomes", "shape"}], "edges": [[source, target]]}``, of which
            ``type``, ``becomes`` and ``shape`` may be left out; also ``"delayed"``, those edges that are a step late
            (by default, those that close a cycle), and ``"input"``, the shape of one sample.
        ax: axes to draw into, which the picture fills; a figure of pyplot's of the right size without them.

    Returns:
        The axes; ``.figure.savefig("graph.svg")`` writes the picture.

    Raises:
        ArgumentError: ``graph`` is neither, or has more than 400 nodes.
        MissingDependencyError: matplotlib is not installed.

    Example:
        >>> import flax.linen as nn, snnax as snn
        >>> from snnax import spikeplot
        >>> net = snn.Sequential([nn.Dense(4), snn.Leaky(beta=0.9, init_hidden=True)])
        >>> ax = spikeplot.network_graph(net)
        >>> [text.get_text() for text in ax.texts]
        ['input', 'layers_0', 'Dense', 'layers_1', 'Leaky', 'output']
    """
    boxes, edges, late = _read(graph)
    if len(boxes) > MOST_NODES:
        raise ArgumentError(
            f"the graph has {len(boxes)} nodes; a picture shows up to {MOST_NODES}. Draw a part of it."
        )
    looped = {s for s, t in edges if s == t}
    widths = {name: box.width + (2 * GAP if name in looped else 0) for name, box in boxes.items()}
    found = layout(widths, edges, GAP, LANE)
    drawing = Drawing(boxes, found, set(found.feedback) if late is None else late)
    left, right, bottom, top = drawing.limits()
    if ax is None:
        ax = canvas.figure(None, right - left, top - bottom).add_subplot()
        scale = 1.0
    else:
        size = ax.get_window_extent().transformed(ax.get_figure(root=True).dpi_scale_trans.inverted())  # type: ignore[union-attr]
        scale = min(1.0, size.width / (right - left), size.height / (top - bottom))
    ax.set(xlim=(left, right), ylim=(bottom, top), aspect="equal")
    ax.set_axis_off()
    drawing.draw(ax, scale)
    return ax


def _read(graph: Any) -> tuple[dict[str, Box], list[Edge], set[Edge] | None]:
    """Boxes, edges, and those that are a step late, if that is known."""
    late: set[Edge] | None = None
    if isinstance(graph, Container):
        order = graph.plan()
        nodes: list[Mapping[str, Any]] = [
            {"name": name, "becomes": type(graph.members()[name]).__name__} for name in order.order
        ]
        edges = [(s, t) for t, sources in order.sources.items() for s, _ in sources]
        late = {(s, t) for t, sources in order.sources.items() for s, delayed in sources if delayed}
        if getattr(graph, "outputs", None) is not None:
            edges = [e for e in edges if e[1] != OUTPUT] + [(name, OUTPUT) for name, _ in graph.outputs]
        own = [(name, name) for name in order.order if hasattr(graph.members()[name], "learn_recurrent")]
        edges, late = edges + own, late.union(own)
        shape = getattr(graph, "input_shape", None)
    elif isinstance(graph, Mapping) and {"nodes", "edges"} <= graph.keys():
        nodes, edges = list(graph["nodes"]), [(str(s), str(t)) for s, t in graph["edges"]]
        late = {(str(s), str(t)) for s, t in graph["delayed"]} if "delayed" in graph else None
        shape = graph.get("input")
    else:
        raise ArgumentError(
            f"network_graph got a {type(graph).__name__}; expected a snnax.Sequential or snnax.Graph, or a mapping "
            "with 'nodes' and 'edges' as `snnax inspect FILE.nir --json` prints it."
        )
    boxes = {str(node["name"]): _box(node) for node in nodes}
    ends = [name for edge in edges for name in edge if name not in boxes]
    known = {
        name: Box((_short(name), *([_sizes(shape)] if name == INPUT and shape else [])), "end")
        for name in ends
    }
    first = {name: box for name, box in known.items() if any(s == name for s, _ in edges)}
    last = {name: box for name, box in known.items() if name not in first}
    return {**first, **boxes, **last}, list(dict.fromkeys(edges)), late


def _box(node: Mapping[str, Any]) -> Box:
    kind, becomes = node.get("type"), node.get("becomes")
    words = [word for word in dict.fromkeys((kind, becomes)) if word]
    lines = [str(node["name"]), " as ".join(words), _sizes(node.get("shape"))]
    role = "other"
    if becomes in neurons.__all__ or (becomes is None and kind in neurons.__all__):
        role = "neuron"
    elif {kind, becomes} & {*_WEIGHTS}:
        role = "weights"
    return Box(tuple(_short(line) for line in lines if line), role)


def _sizes(shape: Any) -> str:
    return " × ".join(str(n) for n in shape or ())


def _short(line: str) -> str:
    """A line that can be drawn: printable, and not longer than a box should be."""
    line = "".join(c if c.isprintable() else "?" for c in line)
    return line if len(line) <= LONGEST else f"{line[: LONGEST - 1]}…"
