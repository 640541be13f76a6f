"""``to_nir``: a flax model as a NIR graph."""

from __future__ import annotations

from collections import Counter
from collections.abc import Mapping
from math import prod
from typing import Any, Literal

import flax.linen as nn
import jax
import jax.numpy as jnp
import nir
import numpy as np

from snnax.errors import ArgumentError, ConversionError, ShapeError
from snnax.interop import conventions
from snnax.interop.assembling import finish, node_name, sample_shape
from snnax.interop.graph import free
from snnax.interop.nodes import metadata
from snnax.interop.nodes.cells import state_shape
from snnax.interop.nodes.flax_neurons import is_neuron, spec_from_module
from snnax.interop.nodes.neurons import node_from_spec
from snnax.interop.nodes.precision import is_wide, widened
from snnax.interop.nodes.recurrent import split
from snnax.interop.nodes.registry import Site, Variables, write
from snnax.interop.nodes.spec import SIZES
from snnax.interop.numbers import plain
from snnax.interop.parameters import exact
from snnax.interop.portable import portable
from snnax.layers import Flatten, Reshape, State
from snnax.network.containers import Container, Graph
from snnax.network.kinds import instances, owners
from snnax.network.schedule import branch
from snnax.network.topology import INPUT, OUTPUT
from snnax.neurons import NIRNeuron
from snnax.signals import Slice

Shape = tuple[int, ...]


def to_nir(
    model: nn.Module,
    variables: Mapping[str, Any],
    sample: Any = None,
    dt: float | None = None,
    *,
    batchnorm: Literal["keep", "fold"] = "keep",
    dropout: Literal["keep", "drop"] = "drop",
    profile: Literal["snnax", "portable"] = "snnax",
) -> nir.NIRGraph:
    """Turn a flax model into a NIR graph in memory; write it with :func:`snnax.interop.write_nir`.

    Decays become time constants, ``tau = dt/(1-beta)``. What NIR cannot say travels as metadata, and what it
    has no node for as an extension node.

    Args:
        model: a ``Sequential`` or ``Graph``, also nested.
        variables: its variables.
        sample: one step's input ``[B, ...]`` as the model takes it, for the shapes; not needed for a model
            that knows its ``input_shape``, as imported ones do.
        dt: time step in seconds; ``None``: that of the model's own NIR neurons, if it has any, else 1e-4.
        batchnorm: ``"fold"`` moves batch normalisation into the weights before it (exact up to rounding).
        dropout: ``"drop"`` leaves it out, which changes nothing outside training.
        profile: ``"portable"`` writes what Norse 1.1.0 and snnTorch 1.0.0 read with the same spikes, without our
            metadata, and refuses what they would read as something else; ``interop.losses(graph)`` says what a
            reader without our metadata makes of a graph of the profile ``"snnax"``.

    Returns:
        The graph, names those of the model (``layers_3`` becomes ``3``), weights in torch's layout.

    Raises:
        ConversionError: for a layer that has no NIR form, and numbers that are not finite.
        ShapeError: if the sample does not fit the model.
        ArgumentError: if the model is no container, or its input's shape is not known.

    Example:
        >>> import jax, jax.numpy as jnp, flax.linen as nn, snnax as snn
        >>> from snnax import interop
        >>> net = snn.Sequential([nn.Dense(2), snn.Leaky(beta=0.9, init_hidden=True)])
        >>> x = jnp.ones((1, 3))
        >>> graph = interop.to_nir(net, net.init(jax.random.key(0), x), x)
        >>> round(float(graph.nodes["1"].tau[0]), 6), sorted(graph.nodes)
        (0.001, ['0', '1', 'input', 'output'])
    """
    if not isinstance(model, Container):
        raise ArgumentError(
            f"to_nir got a {type(model).__name__}. Write the network as snnax.Sequential or snnax.Graph: a module's "
            "own __call__ cannot be read as a graph."
        )
    if profile not in ("snnax", "portable"):
        raise ArgumentError(f"profile={profile!r}; expected 'snnax' or 'portable'.")
    dt = _own_step(model) if dt is None else dt
    if isinstance(dt, bool) or not (isinstance(dt, int | float | np.number) and 0 < float(dt) < np.inf):
        raise ArgumentError(f"dt={dt!r}; expected a number of seconds greater than 0.")
    variables = _plain_variables(variables)
    exporter = _Exporter(float(dt), is_wide(variables))
    frame = _frame(model, sample)
    try:
        ends = exporter.container(model, dict(variables), "", [(INPUT, frame)])
    except (TypeError, ValueError) as error:
        if isinstance(error, ShapeError | ConversionError | ArgumentError):
            raise
        raise ShapeError(f"a sample of shape {frame.shape} does not go through the model: {error}") from error
    graph = finish(exporter, model, frame, ends, batchnorm, dropout)
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
        for collection, values in variables.items()
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
    first = isinstance(model, Graph) and model.channels_first
    return jax.ShapeDtypeStruct((1, *(conventions.shape_last(shape) if first else shape)), jnp.float32)


class _Exporter:
    """One export: nodes and edges written so far.

    Attributes:
        permuted: nodes whose output is an image flattened in the order H, W, C, with that shape.
        exits: node that emits a layer's spikes, where that has not the layer's name (recurrent neurons).
        parts: the parts of the input that are Inputs of their own.
        paths: of all layers.
        readers: how many layers each layer feeds.
        shapes: of a sample that leaves each layer.
    """

    def __init__(self, dt: float, wide: bool = False) -> None:
        self.dt, self.wide = dt, wide
        self.nodes: dict[str, nir.NIRNode] = {}
        self.edges: list[tuple[str, str]] = []
        self.permuted: dict[str, Shape] = {}
        self.exits: dict[str, str] = {}
        self.parts: dict[str, Slice] = {}
        self.paths: set[str] = set()
        self.readers: Counter[str] = Counter()
        self.shapes: dict[str, Shape] = {}

    def container(
        self, model: Container, variables: Variables, prefix: str, entry: Any
    ) -> list[tuple[str, Any]]:
        """Write a container's nodes; returns what its output is the sum of: ``(node, shape)``."""
        if prefix and isinstance(model, Graph) and (model.outputs is not None or model.channels_first):
            raise ConversionError(
                prefix, "a nested Graph returns ports of its own or takes channels-first images",
                "Keep outputs= and channels_first= for the outermost Graph.",
            )  # fmt: skip
        members, owner, plan = model.members(), owners(model), model.plan()
        here = [prefix + node_name(name) for name in plan.order]
        if twice := sorted({path for path in here if path in self.paths or here.count(path) > 1}):
            raise ConversionError(
                twice[0], "two layers would have this name in the graph", "Rename one of them."
            )
        self.paths.update(here)
        self.readers.update(
            prefix + node_name(source) for pairs in plan.sources.values() for source, _ in pairs
        )
        known: dict[str, list[tuple[str, Any]]] = {INPUT: entry}
        for name in plan.order:
            known[name] = [(prefix + node_name(name), None)]
        waiting = list(plan.order)
        while waiting:
            # in a cycle the node after the delay may come first, and its shape last
            name = next(
                n for n in waiting if any(s is not None for f, _ in plan.sources[n] for _, s in known[f])
            )
            waiting.remove(name)
            path, module = prefix + node_name(name), members[name]
            feeds = [pair for source, _ in plan.sources[name] for pair in known[source]]
            shape = next(s for _, s in feeds if s is not None)
            own = branch(variables, owner[name])
            if isinstance(module, Container):
                known[name] = self.container(module, own, f"{path}.", feeds)
                continue
            shared = None if owner[name] == name else prefix + node_name(owner[name])
            out = self.leaf(path, module, own, feeds, shape, shared)
            known[name], self.shapes[path] = [(path, out)], sample_shape(out)
        return [pair for source, _ in plan.sources[OUTPUT] for pair in known[source]]

    def leaf(
        self, path: str, module: nn.Module, variables: Variables, feeds: Any, shape: Any, shared: Any
    ) -> Any:
        """Write one layer and the edges into it; returns the shape that leaves it."""
        out = self._shape_out(path, module, variables, shape)
        site = Site(path, sample_shape(shape), sample_shape(out), self.dt, wide=self.wide)
        order = {self.permuted.get(source) for source, _ in feeds}
        if len(order) > 1:
            raise ConversionError(
                path, "it adds flattened images in different orders", "Flatten all of them alike."
            )
        axes = order.pop()
        if isinstance(module, Slice):
            self._part(path, module, feeds, site)
            return out
        if isinstance(module, Reshape) and self._shapes_input(path, feeds, site):
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
            node.metadata.update(
                metadata.write(node, {**metadata.read(node), "shared_with": shared}).metadata
            )
        self.nodes[path] = node
        self.edges += [(source, path) for source, _ in feeds]
        return out

    def _shape_out(self, path: str, module: nn.Module, variables: Variables, shape: Any) -> Any:
        if isinstance(module, State) or (is_neuron(module) and type(module).__name__ not in SIZES):
            return shape
        try:
            kept = {c: v for c, v in variables.items() if c != "hidden"}
            out = jax.eval_shape(lambda v, x: module.apply(v, x, mutable=["hidden"])[0], kept, shape)
            return out[0] if isinstance(out, tuple) else out
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
        spec = spec_from_module(path, module, variables, len(site.shape_in))
        spec = spec.aligned(path, state_shape(spec, site.shape_in, site.shape_out or site.shape_in))
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
            self.edges += [(source, path) for source, _ in feeds]
            return
        lif, back = free(f"{path}.lif", self.paths), free(f"{path}.w_rec", self.paths)
        neuron, self.nodes[back] = split(spec, site)
        self.nodes[lif] = widened(neuron, spec, site)
        self.exits[path] = lif
        self.edges += [(source, lif) for source, _ in feeds]
        self.edges += [(path, back), (back, lif)]

    def _part(self, path: str, module: Slice, feeds: Any, site: Site) -> None:
        """A part of the input as an Input of its own."""
        if [source for source, _ in feeds] != [INPUT]:
            raise ConversionError(
                path, "it is a part of a signal inside the model", "NIR has parts of the input only."
            )
        self.parts[path] = module
        self.nodes[path] = nir.Input(input_type={"input": np.array(site.shape_out)})

    def _shapes_input(self, path: str, feeds: Any, site: Site) -> bool:
        """Give an Input the shape of the only layer that it feeds."""
        ((source, _), *more) = feeds
        if more or source not in self.parts or self.readers.get(source) != 1:
            return False
        self.nodes[source] = nir.Input(input_type={"input": np.array(site.shape_out)})
        self.exits[path] = source
        return True

    def _unpermute(self, path: str, node: nir.NIRNode, module: nn.Module, axes: Shape) -> nir.NIRNode:
        """Columns of a weight from the order H, W, C to C, H, W."""
        if isinstance(module, nn.Dense):
            columns = conventions.channels_first(np.arange(prod(axes)).reshape(axes)).ravel()
            node.weight = np.ascontiguousarray(node.weight[:, columns])
            return node
        if isinstance(module, nn.Dropout):
            self.permuted[path] = axes
            return node
        raise ConversionError(
            path,
            f"a {type(module).__name__} follows a Flatten in H, W, C order",
            "Use snnax.Flatten(channels_first=True).",
        )


def _sample_last(shape: Any) -> Shape:
    return tuple(shape.shape[1:])
