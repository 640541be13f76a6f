"""``to_nir``: a flax model as a NIR graph."""

from __future__ import annotations

from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from math import prod
from typing import Any, Literal

import flax.linen as nn
import jax
import jax.numpy as jnp
import nir
import numpy as np

from snnax import checks
from snnax.errors import ArgumentError, ConversionError, ShapeError
from snnax.interop import conventions
from snnax.interop.families.modules import is_neuron, spec_from_module
from snnax.interop.families.nodes import node_from_spec
from snnax.interop.families.precision import is_wide, widened
from snnax.interop.families.recurrent import split
from snnax.interop.families.registry import find
from snnax.interop.layers import rounded
from snnax.interop.layers.delays import lags
from snnax.interop.layers.registry import Site, Variables, write
from snnax.interop.nir import metadata
from snnax.interop.nir.assembling import finish, node_name, sample_shape
from snnax.interop.nir.bypass import fold_norms
from snnax.interop.nir.entries import DT, LEFT_OUT, SAMPLE
from snnax.interop.nir.graph import exact, free
from snnax.interop.nir.portable import portable
from snnax.interop.nir.programs import program_graph
from snnax.interop.numbers import plain
from snnax.interop.program.module import PortedProgram
from snnax.layers import Flatten, Reshape, Scale, State
from snnax.layers.delays import Delay, Delayed, DelayedDense
from snnax.layers.signals import Slice
from snnax.modules import NET, VARIABLES, explained
from snnax.network.containers import Container, Graph
from snnax.network.kinds import check_buffers, homes, instances
from snnax.network.settings import branch
from snnax.network.topology import INPUT, OUTPUT, Plan, fed_first
from snnax.neurons import NIRNeuron

__all__ = ["to_nir"]

Shape = tuple[int, ...]


@checks.takes(
    model=NET,
    variables=VARIABLES,
    sample=SAMPLE,
    dt=DT,
    batchnorm=checks.one_of("keep", "fold"),
    dropout=checks.one_of("keep", "drop"),
    profile=checks.one_of("snnax", "portable"),
    leave_out=LEFT_OUT,
)
def to_nir(
    model: nn.Module,
    variables: Mapping[str, Any],
    sample: Any = None,
    dt: float | None = None,
    *,
    batchnorm: Literal["keep", "fold"] = "keep",
    dropout: Literal["keep", "drop"] = "drop",
    profile: Literal["snnax", "portable"] = "snnax",
    leave_out: Sequence[str] = (),
) -> nir.NIRGraph:
    """Turn a flax model into a NIR graph in memory; write it with :func:`snnax.interop.write_nir`.

    Decays become time constants, ``tau = dt/(1-beta)``. What NIR cannot say travels as metadata, and what it
    has no node for as an extension node. Of a program the graph is the step of its loop over time; what it computes
    from weights alone is part of them.

    Args:
        model: a ``Sequential`` or ``Graph``, also nested, or a program.
        variables: its variables.
        sample: one step's input ``[B, ...]`` as the model takes it, for the shapes; not needed for a model
            that knows its ``input_shape``, as imported ones do.
        dt: time step in seconds; ``None``: that of the model's own NIR neurons, if it has any, else 1e-4.
        batchnorm: ``"fold"`` moves batch normalisation into the weights before it (exact up to rounding).
        dropout: ``"drop"`` leaves it out, which changes nothing outside training.
        profile: ``"portable"`` writes what Norse 1.1.0 and snnTorch 1.0.0 read with the same spikes, without our
            metadata, and refuses what they would read as something else; ``interop.losses(graph)`` says what a
            reader without our metadata makes of a graph of the profile ``"snnax"``.
        leave_out: of a program, ``"before"``, ``"after"`` or both: what it does before or after its loop is not
            written, the graph takes what enters the loop and returns what the rest is computed from;
            ``interop.losses(graph)`` lists it.

    Returns:
        The graph, names those of the model (``layers_3`` becomes ``3``), weights in torch's layout.

    Raises:
        ConversionError: for what has no NIR form, all of it at once, and numbers that are not finite.
        ShapeError: if the sample does not fit the model.
        ArgumentError: if the model is no container, its input's shape is not known, or ``variables`` lack what belongs
            to it.

    Example:
        >>> import jax, jax.numpy as jnp, flax.linen as nn, snnax as snn
        >>> from snnax import interop
        >>> net = snn.Sequential([nn.Dense(2), snn.Leaky(beta=0.9, init_hidden=True)])
        >>> x = jnp.ones((1, 3))
        >>> graph = interop.to_nir(net, net.init(jax.random.key(0), x), x)
        >>> round(float(graph.nodes["1"].tau[0]), 6), sorted(graph.nodes)
        (0.001, ['0', '1', 'input', 'output'])
    """
    return metadata.in_text(
        exported(
            model,
            variables,
            sample,
            dt,
            batchnorm=batchnorm,
            dropout=dropout,
            profile=profile,
            leave_out=leave_out,
        )
    )


def exported(
    model: nn.Module,
    variables: Mapping[str, Any],
    sample: Any = None,
    dt: float | None = None,
    *,
    batchnorm: str = "keep",
    dropout: str = "drop",
    profile: str = "snnax",
    leave_out: Sequence[str] = (),
) -> nir.NIRGraph:
    """The graph of :func:`to_nir` as it is in memory: it carries the specs of its neurons."""
    if isinstance(model, PortedProgram):
        graph = program_graph(model, variables, conventions.DT if dt is None else float(dt), leave_out)
        if batchnorm == "fold" and (folded := fold_norms(graph)):
            content = metadata.read(graph)
            said = content.get("said", {})
            for name, words in folded.items():
                said = {**said, name: [*said.get(name, []), *words]}
            metadata.write(graph, {**content, "said": said})
        return _as_written(graph, profile)
    if leave_out:
        raise ArgumentError(
            f"to_nir(leave_out={leave_out!r}) got a {type(model).__name__}, which has nothing before or after "
            "its steps. Leave the argument out."
        )
    if not isinstance(model, Container):
        raise ArgumentError(
            f"to_nir got a {type(model).__name__}. Write the network as snnax.Sequential or snnax.Graph: a module's "
            "own __call__ cannot be read as a graph."
        )
    check_buffers(model, variables)
    variables = _plain_variables(variables)
    exporter = _Exporter(float(_own_step(model) if dt is None else dt), is_wide(variables))
    frame = _frame(model, sample)
    try:
        ends = exporter.network(model, dict(variables), frame)
    except (TypeError, ValueError) as error:
        if isinstance(error, ShapeError | ConversionError | ArgumentError):
            raise
        raise ShapeError(f"a sample of shape {frame.shape} does not go through the model: {error}") from error
    return _as_written(finish(exporter, model, frame, ends, batchnorm, dropout), profile)


def _as_written(graph: nir.NIRGraph, profile: str) -> nir.NIRGraph:
    """The graph in a profile, its numbers as float32 or float64."""
    graph = portable(graph) if profile == "portable" else graph
    graph.nodes = {name: exact(name, node, plain) for name, node in graph.nodes.items()}
    return graph


def _plain_variables(variables: Mapping[str, Any]) -> dict[str, Any]:
    """The weights as float32 or float64, bfloat16 and float16 exactly; the state is not written."""

    def cast(path: Any, leaf: Any) -> Any:
        names = [str(getattr(key, "key", key)) for key in path]
        if names[-1] == "num_batches_tracked":
            return leaf
        return plain(node_name(names[1] if len(names) > 2 else names[0]), "/".join(names), leaf)

    return {
        collection: values
        if collection == "hidden"
        else jax.tree_util.tree_map_with_path(
            lambda path, leaf, first=collection: cast((first, *path), leaf), values
        )
        for collection, values in nn.unbox(dict(variables)).items()
    }


def _own_step(model: Container) -> float:
    """The time step that all NIR neurons of a model have, or the default."""
    steps = {float(part.dt) for part in instances(model) if isinstance(part, NIRNeuron)}
    return steps.pop() if len(steps) == 1 else conventions.DT


def _frame(model: Container, sample: Any) -> jax.ShapeDtypeStruct:
    """Shape of one step's input, channels last, with batch 1."""
    if sample is not None:
        shape = np.shape(sample)
        if len(shape) < 2:
            raise ShapeError(f"sample has shape {shape}; expected one step's input with its batch, [B, ...].")
        shape = tuple(shape[1:])
    elif getattr(model, "input_shape", None) is not None:
        shape = tuple(model.input_shape)
    else:
        raise ArgumentError(
            "the model does not know its input's shape; pass sample=x[0], one step's input [B, ...]."
        )
    first = bool(getattr(model, "channels_first", False))
    return jax.ShapeDtypeStruct((1, *(conventions.shape_last(shape) if first else shape)), jnp.float32)


@dataclass(frozen=True)
class Feed:
    """A signal on its way into a layer.

    Attributes:
        node: which emits it.
        shape: of a batch of it; ``None`` while it is not known.
        when: ``"late"`` or ``"early"`` along such an edge of a cycle, else empty.
    """

    node: str
    shape: Any
    when: str = ""


class _Exporter:
    """One export: nodes and edges written so far.

    Attributes:
        permuted: nodes whose output is an image flattened in the order H, W, C, with that shape.
        telling: neurons that return their states too.
        exits: node that emits a layer's spikes, where that has not the layer's name (recurrent neurons).
        parts: the parts of the input that are Inputs of their own.
        paths: of all layers.
        readers: how many layers each layer feeds.
        shapes: of a sample that leaves each layer.
        marks: edges that are late or early.
        ends: what leaves each container, by its path.
    """

    def __init__(self, dt: float, wide: bool = False) -> None:
        self.dt, self.wide = dt, wide
        self.nodes: dict[str, nir.NIRNode] = {}
        self.edges: list[tuple[str, str]] = []
        self.permuted: dict[str, Shape] = {}
        self.exits: dict[str, str] = {}
        self.telling: set[str] = set()
        self.parts: dict[str, Slice] = {}
        self.paths: set[str] = set()
        self.readers: Counter[str] = Counter()
        self.shapes: dict[str, Shape] = {}
        self.marks: dict[tuple[str, str], str] = {}
        self.ends: dict[str, list[Feed]] = {}
        self.variables: Variables = {}
        self.homes: dict[Any, tuple[str, ...]] = {}

    def network(self, model: Container, variables: Variables, frame: Any) -> list[Feed]:
        """Write all of a network; returns what its output is the sum of."""
        self.variables, self.homes = variables, homes(model)
        return self.container(model, (), [Feed(INPUT, frame)], alone=True)

    def container(
        self, model: Container, path: tuple[str, ...], entry: list[Feed], alone: bool
    ) -> list[Feed]:
        """Write a container's nodes; returns what its output is the sum of.

        Args:
            model: the container.
            path: where it is.
            entry: what its input is the sum of.
            alone: whether its output is all that the layers behind it get.
        """
        prefix = "".join(f"{node_name(part)}." for part in path)
        members, plan = model.members(), model.plan()
        self._claim(prefix, plan)
        if path:
            _check_layout(prefix, model, [feed.shape for feed in entry])
            apart = any(feed.when for feed in entry) and _has_dead_end(model, plan)
            entry = self._joined(f"{prefix}input", entry, apart or _adds_input_last(plan), apart)
        known: dict[str, list[Feed]] = {INPUT: entry}
        for name in plan.order:
            known[name] = [Feed(prefix + node_name(name), None)]
        for name in fed_first(plan):
            module, here = members[name], (*path, name)
            feeds = [
                feed if source == INPUT else replace(feed, when=_when(plan, source, name, late))
                for source, late in plan.sources[name]
                for feed in known[source]
            ]
            if isinstance(module, Container):
                known[name] = self.container(module, here, feeds, _is_alone(model, plan, name, alone))
                continue
            node = prefix + node_name(name)
            shape = next(feed.shape for feed in feeds if feed.shape is not None)
            home = self.homes[module._id]
            shared = None if home == here else ".".join(map(node_name, home))
            out = self.leaf(node, module, _at(self.variables, home), feeds, shape, shared)
            known[name], self.shapes[node] = [Feed(node, out)], sample_shape(out)
        return self._leave(model, path, known, alone)

    def _claim(self, prefix: str, plan: Plan) -> None:
        """Note the names of a container's nodes; no two layers may have the same."""
        here = [prefix + node_name(name) for name in plan.order]
        if twice := sorted(path for path, times in Counter(here).items() if times > 1 or path in self.paths):
            raise ConversionError(
                twice[0], "two layers would have this name in the graph", "Rename one of them."
            )
        self.paths.update(here)
        self.readers.update(
            prefix + node_name(source) for pairs in plan.sources.values() for source, _ in pairs
        )

    def _leave(
        self, model: Container, path: tuple[str, ...], known: dict[str, list[Feed]], alone: bool
    ) -> list[Feed]:
        """What leaves a container: of a nested one a single signal, unless the layers behind it add up nothing else."""
        if not path:
            return [feed for source, _ in model.plan().sources[OUTPUT] for feed in known[source]]
        prefix = "".join(f"{node_name(part)}." for part in path)
        if isinstance(model, Graph) and model.outputs is not None:
            name, port = model.outputs[0]
            ends = known[name]
            if port not in ("out", "spk"):
                node = free(prefix + port, self.paths)
                self.paths.add(node)
                out = self.leaf(node, State(port), {}, ends, ends[0].shape, None)
                ends = [Feed(node, out)]
        else:
            ends = [feed for source, _ in model.plan().sources[OUTPUT] for feed in known[source]]
        _check_layout(prefix, model, [feed.shape for feed in ends])
        passed = any(feed in known[INPUT] for feed in ends)
        # a delay, or the states that a neuron returns beside its spikes, do not come through a container
        together = passed and any(feed.when or feed.node in self.telling for feed in ends)
        ends = self._joined(
            f"{prefix}output", ends, together or ((passed or len(ends) > 1) and not alone), passed
        )
        self.ends[prefix.removesuffix(".")] = ends
        return ends

    def _joined(self, wish: str, feeds: list[Feed], needed: bool, single: bool = False) -> list[Feed]:
        """Signals as one, where the order in which they are added up, or their delay, would be another without."""
        if not needed or (len(feeds) < 2 and not single):
            return feeds
        node = free(wish, self.paths)
        self.paths.add(node)
        shape = next(feed.shape for feed in feeds if feed.shape is not None)
        return [Feed(node, self.leaf(node, Scale(1.0), {}, feeds, shape, None))]

    def emitter(self, node: str) -> str:
        """The node that emits what a layer or container does."""
        while node in self.ends:
            node = self.ends[node][0].node
        return self.exits.get(node, node)

    def _connect(self, feeds: Sequence[Feed], node: str) -> None:
        """Edges into a node."""
        for feed in feeds:
            self.edges.append((feed.node, node))
            if feed.when:
                self.marks[feed.node, node] = feed.when

    def leaf(
        self, path: str, module: nn.Module, variables: Variables, feeds: list[Feed], shape: Any, shared: Any
    ) -> Any:
        """Write one layer and the edges into it; returns the shape that leaves it."""
        if shared is not None and (is_neuron(module) or isinstance(module, Delayed)):
            raise ConversionError(
                path, f"it is the same {type(module).__name__} as {shared!r}, with one state for both places",
                "NIR has a state for each node: give each place a module of its own.",
            )  # fmt: skip
        out = self._shape_out(path, module, variables, shape)
        if type(module) is DelayedDense:
            self._lags(path, module, variables, feeds, shape, out)
            return out
        site = Site(path, sample_shape(shape), sample_shape(out), self.dt, wide=self.wide)
        order = {self.permuted.get(feed.node) for feed in feeds}
        if len(order) > 1:
            raise ConversionError(
                path, "it adds flattened images in different orders", "Flatten all of them alike."
            )
        axes = order.pop()
        if isinstance(module, Slice):
            self._part(path, module, feeds, site)
            return out
        if isinstance(module, Reshape) and module.channels_first and self._shapes_input(path, feeds, site):
            return out
        if is_neuron(module):
            self._neuron(path, module, variables, site, feeds, axes)
            return out
        node = write(module, variables, site)
        if isinstance(module, Flatten) and not module.channels_first and len(site.shape_in) > 1:
            self.permuted[path] = _sample_last(shape)
        elif axes is not None:
            node = self._unpermute(path, node, module, axes)
        if shared is not None:
            metadata.write(node, {**metadata.read(node), "shared_with": shared})
        self.nodes[path] = node
        self._connect(feeds, path)
        return out

    def _lags(
        self, path: str, module: DelayedDense, variables: Variables, feeds: list[Feed], shape: Any, out: Any
    ) -> None:
        """A dense layer with delays: a Delay and a Linear for each of its lags, and their sum by the layer's name."""
        ends = []
        for lag, dense, held in lags(path, module, variables):
            late, weights = (free(f"{path}.{word}{lag}", self.paths) for word in ("delay", "lag"))
            self.paths.update((late, weights))
            if lag:
                self.leaf(late, Delay(lag), {}, feeds, shape, None)
            self.leaf(weights, dense, held, [Feed(late, shape)] if lag else feeds, shape, None)
            ends.append(Feed(weights, out))
        self.leaf(path, Scale(1.0), {}, ends, out, None)

    def _shape_out(self, path: str, module: nn.Module, variables: Variables, shape: Any) -> Any:
        family = find(type(module).__name__)
        if isinstance(module, State) or (is_neuron(module) and not (family and family.entry)):
            return shape
        try:
            kept = {c: v for c, v in variables.items() if c != "hidden"}
            with explained(module, (shape,)):
                out = jax.eval_shape(lambda v, x: module.apply(v, x, mutable=["hidden"])[0], kept, shape)
            return out[0] if isinstance(out, tuple) else out
        except ArgumentError as error:
            raise ArgumentError(f"{path!r}: {error}") from error
        except Exception as error:
            raise ShapeError(f"{path!r} cannot take samples of shape {shape.shape[1:]}: {error}") from error

    def _neuron(
        self,
        path: str,
        module: Any,
        variables: Variables,
        site: Site,
        feeds: Any,
        axes: Shape | None,
    ) -> None:
        if getattr(module, "output", False):
            self.telling.add(path)
        _check_precision(path, module, site.wide)
        spec = spec_from_module(path, module, variables, len(site.shape_in))
        after = site.shape_in if site.shape_out is None else site.shape_out
        spec = spec.aligned(path, spec.family.state_shape(spec.sizes, site.shape_in, after))
        if axes is not None:
            if any(np.ndim(v) for v in spec.values.values()) or spec.recurrent or spec.weights:
                raise ConversionError(
                    path, "it has a parameter for each neuron and follows a Flatten in H, W, C order",
                    "Use snnax.Flatten(channels_first=True).",
                )  # fmt: skip
            self.permuted[path] = axes
        if not spec.recurrent:
            node = node_from_spec(path, spec, site.shape_in, self.dt, site.shape_out)
            self.nodes[path] = widened(node, spec, site)
            self._connect(feeds, path)
            return
        lif, back = free(f"{path}.lif", self.paths), free(f"{path}.w_rec", self.paths)
        neuron, self.nodes[back] = split(spec, site)
        self.nodes[lif] = widened(neuron, spec, site)
        self.exits[path] = lif
        self._connect(feeds, lif)
        self.edges += [(path, back), (back, lif)]

    def _part(self, path: str, module: Slice, feeds: Any, site: Site) -> None:
        """A part of the input as an Input of its own."""
        if [feed.node for feed in feeds] != [INPUT]:
            raise ConversionError(
                path, "it is a part of a signal inside the model", "NIR has parts of the input only."
            )
        self.parts[path] = module
        self.nodes[path] = nir.Input(input_type={"input": np.array(site.shape_out)})

    def _shapes_input(self, path: str, feeds: Any, site: Site) -> bool:
        """Give an Input the shape of the only layer that it feeds."""
        source, more = feeds[0].node, feeds[1:]
        if more or source not in self.parts or self.readers.get(source) != 1:
            return False
        self.nodes[source] = nir.Input(input_type={"input": np.array(site.shape_out)})
        self.exits[path] = source
        return True

    def _unpermute(self, path: str, node: nir.NIRNode, module: nn.Module, axes: Shape) -> nir.NIRNode:
        """Columns of a weight from the order H, W, C to C, H, W."""
        if isinstance(module, nn.Dense):
            order = conventions.channels_first(np.arange(prod(axes)).reshape(axes)).ravel()
            rounded.columns(node, order)
            return node
        if isinstance(module, nn.Dropout) or (isinstance(module, Scale) and np.ndim(module.scale) == 0):
            self.permuted[path] = axes
            return node
        raise ConversionError(
            path,
            f"a {type(module).__name__} follows a Flatten in H, W, C order",
            "Use snnax.Flatten(channels_first=True).",
        )


def _check_precision(path: str, module: Any, wide: bool) -> None:
    """Refuse a neuron whose states have another type than the weights: what is written says nothing of it."""
    given, written = getattr(module, "state_dtype", None), "float64" if wide else "float32"
    if given is not None and given != written:
        raise ConversionError(
            path, f"state_dtype={given.name} is a choice that neither NIR nor torch's neurons have; they would compute "
            f"in {written}", f"Convert the network built with state_dtype=None or {written}: its variables stay.",
        )  # fmt: skip


def _sample_last(shape: Any) -> Shape:
    return tuple(shape.shape[1:])


def _at(variables: Variables, path: tuple[str, ...]) -> Variables:
    """The variables of the module at a path."""
    for name in path:
        variables = branch(variables, name)
    return variables


def _when(plan: Plan, source: str, target: str, late: bool) -> str:
    return ("early" if (source, target) in plan.early else "late") if late else ""


def _adds_input_last(plan: Plan) -> bool:
    """True if a node adds the input to something that comes before it in the sum."""
    return any(INPUT in [s for s, _ in sources[1:]] for sources in plan.sources.values())


def _has_dead_end(model: Container, plan: Plan) -> bool:
    """True if the input feeds a node that nothing of what the container emits depends on.

    An edge to that node is on no cycle round the container, and so has no delay of its own.
    """
    emits = model.outputs if isinstance(model, Graph) else None
    waiting = [emits[0][0]] if emits is not None else [source for source, _ in plan.sources[OUTPUT]]
    needed = {INPUT}
    while waiting:
        name = waiting.pop()
        if name not in needed:
            needed.add(name)
            waiting += [source for source, _ in plan.sources[name]]
    fed = [name for name, sources in plan.sources.items() if INPUT in [source for source, _ in sources]]
    return not needed.issuperset(name for name in fed if name != OUTPUT)


def _is_alone(model: Container, plan: Plan, name: str, alone: bool) -> bool:
    """Whether what a nested container emits is all that each layer behind it gets, and in the same step."""
    if isinstance(model, Graph) and model.outputs is not None and any(n == name for n, _ in model.outputs):
        return False
    behind = [t for t, sources in plan.sources.items() if any(s == name for s, _ in sources)]
    return all(plan.sources[t] == ((name, False),) and (t != OUTPUT or alone) for t in behind)


def _check_layout(prefix: str, model: Container, shapes: list[Any]) -> None:
    """Refuse a nested graph that turns images."""
    turns = getattr(model, "channels_first", False)
    if turns and any(shape is not None and len(shape.shape) > 2 for shape in shapes):
        raise ConversionError(
            prefix.removesuffix("."), f"a nested {type(model).__name__} takes or returns channels-first images",
            "Keep channels_first= for the outermost network.",
        )  # fmt: skip
