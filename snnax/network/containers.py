"""Networks as one linen module: ``Sequential`` for a chain, ``Graph`` for everything else."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from functools import lru_cache
from typing import Any, ClassVar

import flax.linen as nn
import jax
import jax.numpy as jnp
from flax.core import Scope

from snnax import checks
from snnax.errors import ArgumentError, ShapeError, StateError, TorchLineError
from snnax.layers import Concatenate, Flatten, Reshape, State
from snnax.layers.delays import Delayed
from snnax.layers.given import as_layers
from snnax.limits import check_convolution
from snnax.modules import Module, check_layout, fitted
from snnax.network.members import (
    arriving,
    check_members,
    check_names,
    check_wiring,
    named,
    named_nodes,
    pairs_of_names,
    read_port,
    total,
)
from snnax.network.topology import INPUT, OUTPUT, Plan, chain, fed_first, plan

__all__ = ["Container", "Graph", "Sequential"]


class Container(Module):
    """What ``Sequential`` and ``Graph`` share: named nodes, a plan, and one way to evaluate it.

    For flax only ``__call__`` is a call (``nn.nowrap``): interceptors and ``tabulate`` see layers, not questions about
    them.
    """

    @nn.nowrap
    def _own(self, name: str | None, module: Any) -> Any:
        """A node: a user's container has its own, also if made in a compact method; flax's copies share them."""
        new = not isinstance(self.parent, nn.Module | Scope | None)
        return named(name, module) if new or getattr(module, "parent", None) is None else module

    @nn.nowrap
    def members(self) -> dict[str, nn.Module]:
        """Nodes by name; the name is also their key in every variable collection."""
        raise NotImplementedError

    @nn.nowrap
    def plan(self) -> Plan:
        """Order and sources of the nodes."""
        raise NotImplementedError

    @nn.nowrap
    def enter(self, x: jax.Array) -> jax.Array:
        """The input as the nodes take it: channels last, if the caller's images are channels-first."""
        return jnp.moveaxis(x, 1, -1) if getattr(self, "channels_first", False) and x.ndim > 2 else x

    @nn.nowrap
    def leave(self, values: Mapping[str, Any]) -> Any:
        """What the network returns, from what its nodes returned, in the caller's layout."""
        entries = self.plan().sources[OUTPUT]
        members = self.members()
        if len(entries) == 1:
            result = values[entries[0][0]]
        else:
            result = total([read_port(s, members.get(s, self), values[s], "out") for s, _ in entries])
        return jax.tree.map(self.to_caller, result)

    @nn.nowrap
    def to_caller(self, y: jax.Array) -> jax.Array:
        """One result of ``[B, ...]`` in the caller's layout."""
        return jnp.moveaxis(y, -1, 1) if getattr(self, "channels_first", False) and y.ndim > 2 else y

    @nn.nowrap
    def walk(
        self,
        values: dict[str, Any],
        previous: Mapping[str, jax.Array] | None = None,
        ahead: Mapping[str, jax.Array] | None = None,
    ) -> Iterator[tuple[str, nn.Module, jax.Array]]:
        """Every node in order: its name, the module, and what arrives at it.

        Whoever walks runs the node and puts what it returned into ``values``, before the next one.

        Args:
            values: what nodes returned, by name; holds the network's input, which has been through :meth:`enter`.
            previous: what comes along delayed edges.
            ahead: what comes along early edges.
        """
        members, order = self.members(), self.plan()
        early, known, before = order.early, ahead or {}, previous or {}
        for name, sources in order.sources.items():
            if name == OUTPUT:
                continue
            module = members[name]
            if isinstance(module, State):
                source = sources[0][0]
                values[name] = read_port(source, members[source], values[source], module.state)
                continue
            parts = [
                (known[s] if (s, name) in early else before[s])
                if late
                else read_port(s, members.get(s, module), values[s], "out")
                for s, late in sources
            ]
            value = arriving(name, module, parts)
            if isinstance(module, nn.Conv):
                check_convolution(name, module, value.shape)
            yield name, module, value

    least_axes: ClassVar[int] = 1

    @nn.nowrap
    def _takes_trees(self) -> bool:
        members = self.members()
        first = [members.get(n) for n, sources in self.plan().sources.items() if (INPUT, False) in sources]
        return any(not type(layer).__module__.startswith(("flax.", "snnax.")) for layer in first)

    @nn.nowrap
    def _keeps_state(self) -> bool:
        return any(getattr(part, "init_hidden", False) for part in self.members().values()) or bool(
            self.plan().delayed
        )

    @nn.nowrap
    def _nickname(self) -> str:
        return "net"

    @nn.nowrap
    def _returned(self) -> str:
        members = self.members()
        last = [members.get(name) for name, _ in self.plan().sources[OUTPUT]]
        return last[0]._returned() if len(last) == 1 and isinstance(last[0], Module) else "y"

    @nn.compact
    def __call__(self, x: jax.Array) -> Any:
        """One time step on ``[B, ...]``."""
        bound: dict[int, nn.Module] = {}

        def at(name: str, module: nn.Module) -> nn.Module:
            if module._id not in bound:
                # flax has given the nodes their names already
                own = module.scope is not None
                bound[module._id] = module if own else module.clone(parent=self, name=name)
            return bound[module._id]

        x = self.enter(x)
        members, order = self.members(), self.plan()
        delayed = order.delayed
        previous: dict[str, Any] = {name: self.get_variable("hidden", f"{name}_previous") for name in delayed}
        if order.ahead or any(value is None for value in previous.values()):
            silent = self._first_feedback(x)
            previous = {n: silent[n] if v is None else v for n, v in previous.items()}
        self._check_feedback(previous, x)
        ahead = {n: silent[n] for n in order.ahead}
        if not self.is_initializing():
            ahead = {n: _fires(at(n, members[n]), value) for n, value in ahead.items()}
        values: dict[str, Any] = {INPUT: x}
        for name, module, value in self.walk(values, previous, ahead):
            if self.is_initializing() and order.sources[name][0][0] == INPUT:
                check_layout(name, module, value)
            values[name] = fitted(name, module, value, at(name, module))
        for name in delayed:
            now = previous[name]
            if not self.is_initializing():
                now = read_port(name, members[name], values[name], "out")
            if self.is_mutable_collection("hidden"):
                self.put_variable("hidden", f"{name}_previous", now)
        return self.leave(values)

    @nn.nowrap
    def _check_feedback(self, previous: Mapping[str, jax.Array], x: jax.Array) -> None:
        if previous and not self.is_mutable_collection("hidden") and not self.is_initializing():
            raise StateError(
                f"the feedback from {list(previous)} is kept from step to step, but the collection 'hidden' "
                "is not mutable in this call. Call apply(variables, x, mutable=['hidden']) and carry the "
                "result on."
            )
        for name, value in previous.items():
            if value.shape[:1] != x.shape[:1]:
                raise StateError(
                    f"the stored feedback of {name!r} has shape {value.shape}, the input {x.shape}. For "
                    "another batch size start anew: leave the collection 'hidden' out of the variables, as "
                    "snnax.utils.reset(variables) does."
                )

    @nn.nowrap
    def _first_feedback(self, x: jax.Array) -> dict[str, jax.Array]:
        """Zeros of the shape of each delayed node's output, found by shape inference round the cycle."""
        members = self.members()
        shapes: dict[str, Any] = {INPUT: jax.ShapeDtypeStruct(x.shape, x.dtype)}
        order = self.plan()
        # what is joined has its size only when all of it is known, which round a cycle is the second time
        rounds = 2 if any(isinstance(module, Concatenate) for module in members.values()) else 1
        for name in [*fed_first(order)] * rounds:
            module = members[name]
            there = [shapes[s] for s, _ in order.sources[name] if s in shapes]
            if isinstance(module, Concatenate):
                shapes[name] = jax.eval_shape(lambda *parts, n=name, m=module: m.joined(n, parts), *there)
                continue
            known = there[0]
            if isinstance(module, State):
                shapes[name] = known
            else:
                out = jax.eval_shape(lambda v, m=module: m.init_with_output(jax.random.key(0), v)[0], known)
                shapes[name] = out[0] if isinstance(out, tuple) else out
        # The weights above are not those of this network: they do not tell the dtype.
        dtype = x.dtype if jnp.issubdtype(x.dtype, jnp.floating) else jnp.float32
        return {name: jnp.zeros(shapes[name].shape, dtype) for name in (*order.delayed, *order.ahead)}


def _fires(neuron: Any, like: jax.Array) -> jax.Array:
    """The spikes of this step, ``like`` which they are, of a neuron that decides by the membrane before the step."""
    spikes: jax.Array = neuron.pending(like)
    return spikes


class Sequential(Container):
    """A chain of layers; the hidden states of its neurons are its own.

    ``Sequential([a, b])(x) = b(a(x))``, or ``Sequential(a, b)``, for one time step; :func:`~snnax.unroll` runs
    all of them.
    Variables are named as flax's ``nn.Sequential`` names them: ``layers_0``, ``layers_1``...

    Args:
        layers: linen modules, in a list or one by one; neurons need ``init_hidden=True``, so that they keep their own
            state. A function, as ``flax.linen.gelu`` or ``lambda x: 2 * x``, becomes a :class:`~snnax.Lambda`, and
            ``flax.linen.relu`` a :class:`~snnax.ReLU`. A layer of ``flax.nnx`` (``Linear``, ``Conv``, ``LayerNorm``,
            ``Dropout``) becomes the linen layer that computes the same, which ``init`` gives the weights that it has.
        more: ``channels_first`` and flax's ``name``, by name.
        channels_first: take and return images as torch does, ``[B, C, H, W]``, and flatten and reshape them in its
            order, so that weights from torch fit. Inside they are channels-last.

    Raises:
        ArgumentError: if a layer is neither a module nor a function, or a neuron takes explicit states.
        GraphError: if a ``State`` does not follow a neuron.

    Example:
        >>> import jax, jax.numpy as jnp, flax.linen as nn, snnax as snn
        >>> net = snn.Sequential([nn.Dense(10), snn.Leaky(beta=0.9, init_hidden=True, output=True)])
        >>> variables = net.init(jax.random.key(0), jnp.ones((3, 4)))
        >>> (spk, mem), updates = net.apply(variables, jnp.ones((3, 4)), mutable=["hidden"])
        >>> spk.shape, sorted(updates["hidden"]["layers_1"])
        ((3, 10), ['mem'])

    ``net[0]`` is its first layer, bound where the network is, ``net[:2]`` a network of the first two, and
    ``len(net)`` their number.

    Compared with snnTorch: takes the place of ``torch.nn.Sequential`` with ``init_hidden`` neurons. A
    neuron in the middle may have ``output=True``; the next layer gets its spikes.
    """

    layers: Sequence[nn.Module]
    channels_first: bool = False

    preserve_adopted_names: ClassVar[bool] = False

    def __init__(self, *layers: Any, **more: Any) -> None:
        # torch's Sequential takes the layers themselves, flax's a list of them
        if len(layers) == 1 and (isinstance(layers[0], type) or not callable(layers[0])):
            layers = layers[0]
        if (layers != ()) == ("layers" in more):
            raise ArgumentError("Sequential() got no layers, or got them twice; expected Sequential([a, b]).")
        self.layers = more.pop("layers", layers)
        self.channels_first = checks.flag(more.pop("channels_first", False), "Sequential(channels_first=...)")
        self.name = more.pop("name", None)
        self.parent = more.pop("parent", type(self).__dataclass_fields__["parent"].default)
        if more:
            raise TypeError(
                f"Sequential() got the unexpected arguments {sorted(more)}; expected Sequential([a, b])."
            )
        self.__post_init__()

    def __post_init__(self) -> None:
        if not isinstance(self.layers, Sequence) or isinstance(self.layers, str):
            raise ArgumentError(
                f"Sequential(layers) got {checks.shown(self.layers)}; expected layers, as "
                "Sequential([flax.linen.Dense(10), snnax.Leaky(beta=0.9, init_hidden=True)])."
            )
        layers = as_layers(self.layers)
        ordered = map(in_torch_order, layers) if self.channels_first else layers
        self.layers = tuple(self._own(None, layer) for layer in ordered)
        members = self.members()
        check_members(members)
        check_wiring(members, self.plan(), None)
        super().__post_init__()

    @nn.nowrap
    def __len__(self) -> int:
        return len(self.layers)

    @nn.nowrap
    def __bool__(self) -> bool:
        return True  # a module is something, whatever is in it

    @nn.nowrap
    def __getitem__(self, index: int | slice) -> Any:
        """A layer, or a network of several.

        Raises:
            IndexError: there is no such layer.
            TorchLineError: several layers of a bound network, whose variables have other names there.
        """
        if not isinstance(index, slice):
            return self.layers[index]
        if self.scope is not None:
            raise TorchLineError(
                "several layers of a bound Sequential would need its variables under other names; take them before it "
                "is bound: part = net[:2], then part.init(jax.random.key(0), x)."
            )
        return self.clone(layers=self.layers[index])

    @nn.nowrap
    def members(self) -> dict[str, nn.Module]:
        """``layers_0``, ``layers_1``..."""
        return {f"layers_{i}": layer for i, layer in enumerate(self.layers)}

    @nn.nowrap
    def plan(self) -> Plan:
        """A chain."""
        return _chained(len(self.layers))


def in_torch_order(layer: Any) -> Any:
    """A layer that flattens or reshapes images in torch's order, C before H and W; in containers, each that does."""
    new: dict[str, Any] = {}
    if type(layer) in (Flatten, Reshape) and not layer.channels_first:
        new = {"channels_first": True}
    elif type(layer) is Sequential:
        inner = tuple(map(in_torch_order, layer.layers))
        new = {"layers": inner} if any(a is not b for a, b in zip(inner, layer.layers, strict=True)) else {}
    elif type(layer) is Graph:
        nodes = {name: in_torch_order(node) for name, node in layer.members().items()}
        new = (
            {"nodes": nodes} if any(nodes[name] is not node for name, node in layer.members().items()) else {}
        )
    if not new:
        return layer
    twin = layer.clone(**new)
    object.__setattr__(twin, "_id", layer._id)  # to flax it stays one module where it is at two places
    return twin


@lru_cache(maxsize=256)
def _chained(length: int) -> Plan:
    names = tuple(f"layers_{i}" for i in range(length))
    return plan(names, chain(names))


class Graph(Container):
    """Any network of named nodes: branches, sums, feedback.

    A node's input is the sum of what its sources emit, in the order of the edges; that of a
    :class:`~snnax.Concatenate` all of it side by side. An edge that closes
    a cycle hands over what its source emitted one step earlier (zeros at the first step).

    Args:
        nodes: linen modules by name; names are the keys in ``params`` and ``hidden``. Functions and layers of
            ``flax.nnx`` as in :class:`Sequential`.
        edges: ``(source, target)`` names; ``"input"`` and ``"output"`` are the graph's own ends.
        outputs: ``(node, port)`` pairs to return instead of what is connected to ``"output"``; a port is
            ``"out"`` or a state of a neuron with ``output=True``, as ``"mem"``. One pair returns an array,
            several a tuple.
        channels_first: take and return images as torch does, ``[B, C, H, W]``; inside they are channels-last.
        input_shape: shape of one sample as the caller passes it, without batch; converters need it.
        delay_spikes: the delay of a cycle is where the signal leaves a neuron, and not on the edge that closes the
            cycle: a bias on the way back then counts from the first step on.
        delayed: the edges that have a step of delay, in place of those that a walk from the input finds to close a
            cycle; each is part of a cycle, and no cycle is without.
        early: edges from a neuron of NIR's with ``threshold_test="before"``, which knows its spikes when the step
            begins: they go round a cycle in that step, without a delay.

    Raises:
        GraphError: unknown, doubled or missing nodes or edges, unreachable nodes, names that variables cannot
            have, a ``State`` that not exactly one neuron feeds, delays that are not on a cycle, or a cycle without.
        ArgumentError: if a neuron takes explicit states.

    Example:
        >>> import jax, jax.numpy as jnp, flax.linen as nn, snnax as snn
        >>> net = snn.Graph(
        ...     nodes={"fc": nn.Dense(5), "lif": snn.Leaky(0.9, init_hidden=True), "back": nn.Dense(5)},
        ...     edges=[("input", "fc"), ("fc", "lif"), ("lif", "back"), ("back", "lif"), ("lif", "output")])
        >>> variables = net.init(jax.random.key(0), jnp.ones((2, 3)))
        >>> spk, updates = snn.unroll(net, variables, jnp.ones((7, 2, 3)))
        >>> spk.shape
        (7, 2, 5)

    Compared with NIR: the same meaning of nodes, edges and sums; see :func:`snnax.interop.from_nir`.
    """

    nodes: Mapping[str, nn.Module] | Sequence[tuple[str, nn.Module]]
    edges: Sequence[tuple[str, str]]
    outputs: Sequence[tuple[str, str]] | None = None
    channels_first: bool = False
    input_shape: Sequence[int] | None = None
    delay_spikes: bool = False
    delayed: Sequence[tuple[str, str]] | None = None
    early: Sequence[tuple[str, str]] = ()

    preserve_adopted_names: ClassVar[bool] = True

    def __post_init__(self) -> None:
        given = named_nodes(self.nodes)
        layers = as_layers(module for _, module in given)
        self.nodes = tuple(
            (name, self._own(name, module)) for (name, _), module in zip(given, layers, strict=True)
        )
        check_names([name for name, _ in self.nodes])
        self.edges = pairs_of_names(self.edges, "edges", "('input', 'lif')")
        self.early = pairs_of_names(self.early, "early", "('lif', 'back')")
        if self.delayed is not None:
            self.delayed = pairs_of_names(self.delayed, "delayed", "('lif', 'back')")
        if self.outputs is not None:
            self.outputs = pairs_of_names(self.outputs, "outputs", "('lif', 'out')")
        if self.input_shape is not None:
            self.input_shape = checks.shape(self.input_shape, "Graph(input_shape=...)")
        members = self.members()
        check_members(members)
        check_wiring(members, self.plan(), self.outputs)
        super().__post_init__()

    @nn.nowrap
    def members(self) -> dict[str, nn.Module]:
        """The nodes."""
        return dict(self.nodes)

    @nn.nowrap
    def plan(self) -> Plan:
        """Depth-first order from the input; see ``snnax.network.topology``."""
        members = self.members()
        stateful = None
        if self.delay_spikes and self.delayed is None:
            kept = (n for n, m in members.items() if hasattr(m, "state_names") or isinstance(m, Delayed))
            stateful = frozenset(kept)
        late = None if self.delayed is None else tuple(self.delayed)
        return plan(tuple(members), tuple(self.edges), stateful, late, tuple(self.early))

    @nn.nowrap
    def enter(self, x: jax.Array) -> jax.Array:
        """Check the input's shape; to channels-last, if the caller's images are channels-first."""
        if self.input_shape is not None and x.shape[1:] != self.input_shape:
            sizes = ", ".join(str(n) for n in self.input_shape)
            raise ShapeError(f"the network got one step's input of shape {x.shape}; expected [B, {sizes}].")
        return super().enter(x)

    @nn.nowrap
    def leave(self, values: Mapping[str, Any]) -> Any:
        """The named outputs, in the caller's layout."""
        if self.outputs is None:
            return super().leave(values)
        members = self.members()
        ports = tuple(read_port(n, members[n], values[n], p) for n, p in self.outputs)
        return jax.tree.map(self.to_caller, ports[0] if len(ports) == 1 else ports)
