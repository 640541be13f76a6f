"""The traced step of a Norse network as a NIR graph, and ``from_norse``."""

from __future__ import annotations

from typing import Any

import nir
import numpy as np
from torch import nn

from snnax import checks
from snnax.errors import ArgumentError, ConversionError
from snnax.interop.conventions import for_each
from snnax.interop.families.nodes import node_from_spec
from snnax.interop.families.recurrent import split
from snnax.interop.layers.registry import Site, Variables
from snnax.interop.nir import metadata
from snnax.interop.nir.entries import DT
from snnax.interop.nir.importing import from_nir
from snnax.interop.norse.cells import Cell, Resistance, cell_of, cells_of, is_cell
from snnax.interop.norse.tracing import NorseStep, trace
from snnax.interop.torch.graph_reader import Reader
from snnax.interop.torch.prepare import unwrap
from snnax.interop.torch.step_graph import Source, StepGraph, StepNode
from snnax.network.containers import Graph


@checks.takes(net=checks.instance(nn.Module, "a torch.nn.Module"), sample=checks.real, dt=DT)
def from_norse(net: nn.Module, sample: Any, *, dt: float | None = None) -> tuple[Graph, Variables]:
    """Turn a network of Norse cells into a flax model of one time step, with its weights.

    Runs a copy of ``net`` over three time steps and reads what it did: ``SequentialState`` in any nesting, ``Lift``,
    layers that take all steps at once, states that a ``forward`` of your own hands on, loops over time inside
    ``forward``, residual sums. Each cell becomes the neuron of NIR that takes its very steps; see :doc:`/norse`.

    Args:
        net: a torch module with cells of Norse 1.1.0 that have a NIR form (``LIFBoxCell``, ``LIBoxCell``, ``LIFCell``,
            ``LIF``, ``LIFRecurrentCell``, ``LIFRecurrent``, ``LICell``, ``LI``, ``LILinearCell``, ``IAFCell``,
            ``IAF``), in evaluation mode; it stays as it is.
        sample: what one call of ``net`` takes, NumPy or torch: one step ``[B, ...]``, or, if ``net`` takes all steps
            at once, a sequence ``[T, B, ...]``.
        dt: time step in seconds; ``None`` takes that of the cells. Another one is refused.

    Returns:
        ``(model, variables)``: a :class:`snnax.Graph` with the names of ``net``'s modules, which takes and returns
        what one step of ``net`` does; and its variables without ``hidden``.

    Raises:
        ConversionError: for a module or operation that cannot be ported exactly; names it and the remedy.
        ArgumentError: for a ``dt`` that is not that of the cells.
        TrainingModeError: if dropout or batch normalisation is in training mode.
        ShapeError: if the sample does not fit.
        MissingDependencyError: if torch or Norse is not installed.

    Example:
        >>> import torch, norse.torch as norse, snnax as snn, jax.numpy as jnp
        >>> from snnax import interop
        >>> net = norse.SequentialState(torch.nn.Linear(3, 2), norse.LIFCell())
        >>> model, variables = interop.from_norse(net, torch.ones(1, 3))
        >>> spk, _ = snn.unroll(model, variables, jnp.ones((25, 1, 3)))
        >>> spk.shape
        (25, 1, 2)

    Compared with ``norse.torch.to_nir``: time constants are not multiplied by ``dt``, the reset and the input gain are
    kept, scalar parameters and batches work, and so do ``LICell``, ``LIF``, ``LIFRecurrentCell`` and ``Lift``.
    """
    return from_nir(graph_of(net, sample, dt=dt))


def graph_of(net: nn.Module, sample: Any, *, dt: float | None = None) -> nir.NIRGraph:
    """The NIR graph of a network of Norse cells; arguments as :func:`from_norse`."""
    step = common_dt(unwrap(net))
    if dt is not None and not np.isclose(dt, step, rtol=1e-9, atol=0):
        raise ArgumentError(f"dt={dt!r}, and the cells of the network have dt={step!r}; leave dt out.")
    return graph_of_step(trace(net, sample), step)


def graph_of_step(step: NorseStep, dt: float) -> nir.NIRGraph:
    """The NIR graph of a traced step."""
    return _CellReader(step.graph, dt).run()


def common_dt(net: nn.Module) -> float:
    """The time step of all cells.

    Raises:
        ConversionError: if they have several.
    """
    cells: dict[str, Any] = dict(cells_of(net))
    first = next(iter(cells), None)
    if first is None:
        return 1e-3
    dt = float(cells[first].dt)
    for name, cell in cells.items():
        if float(cell.dt) != dt:
            raise ConversionError(
                name, f"its dt is {cell.dt} s and that of {first!r} is {dt} s",
                "Build all cells with the same dt; a network has one time step.",
            )  # fmt: skip
    if not 0 < dt < np.inf:
        raise ConversionError(first, f"its dt is {dt}", "A time step is a number of seconds greater than 0.")
    return dt


class _CellReader(Reader):
    """One conversion of a step of Norse cells.

    Attributes:
        behind: the resistance in front of each neuron that has one.
    """

    def __init__(self, step: StepGraph, dt: float) -> None:
        super().__init__(step, dt)
        self.behind = {
            node.name: entry.held
            for node in step.nodes
            if is_cell(node.module) and (entry := self._entry(node)) is not None
        }

    def _entry(self, node: StepNode) -> StepNode | None:
        """The resistance that feeds a node."""
        source = node.inputs[0].node
        return next(
            (n for n in self.step.nodes if n.name == source and isinstance(n.module, Resistance)), None
        )

    def _layer(self, node: StepNode) -> None:
        if is_cell(node.module):
            self._cell(node)
        elif isinstance(node.module, Resistance):
            fed = [n for n in self.step.nodes if any(source.node == node.name for source in n.inputs)]
            if not fed or not all(is_cell(n.module) for n in fed):
                raise ConversionError(
                    node.name, "a Resistance feeds something else than Norse neurons",
                    "It stands right in front of a neuron; scale other signals by a number.",
                )  # fmt: skip
            self.terms[Source(node.name)] = self._in(node)
        else:
            super()._layer(node)

    def _cell(self, node: StepNode) -> None:
        gain: Any = self.behind.get(node.name)
        cell = cell_of(node.name, node.held, node.shape, gain)
        self.states[node.name] = node.shape
        if node.name in self.used and np.any(cell.rest != 0):
            raise ConversionError(
                node.name, f"its membrane is read, and starts from {np.max(cell.rest):g}; snnax's starts from 0",
                "Set v_leak (of IAF: v_reset) to 0, or read the output of a LIBoxCell instead.",
            )  # fmt: skip
        terms, name = self._in(node), node.name
        if "w_in" in cell.weights:
            self._put(f"{node.name}.w_in", nir.Linear(weight=cell.weights["w_in"]), terms)
            terms = [f"{node.name}.w_in"]
        if cell.spec.recurrent:
            name = f"{node.name}.lif"
            neuron, weights = split(cell.spec, Site(node.name, node.shape, node.shape, self.dt))
            self._put(name, neuron, terms)
            self._put(f"{node.name}.w_rec", weights, [name])
            self.edges.append((f"{node.name}.w_rec", name))
            self.layers[name] = node.name
            self.terms[Source(node.name)] = [name]
            return
        if "w_rec" in cell.weights:
            name = f"{node.name}.lif"
        self._put(name, node_from_spec(node.name, cell.spec, node.shape, self.dt), terms)
        if "w_rec" in cell.weights:
            self._put(f"{node.name}.w_rec", _loop(cell.weights["w_rec"], gain), [name])
            self.edges.append((f"{node.name}.w_rec", name))
        self.terms[Source(node.name)] = [name]
        if cell.spec.kind in ("LI", "CubaLI") and np.any(cell.rest != 0):
            self._put(f"{node.name}.rest", _added(node.name, cell, node.shape), [name])
            self.terms[Source(node.name)] = [f"{node.name}.rest"]


def _loop(weight: np.ndarray, gain: Resistance | None) -> nir.NIRNode:
    """The recurrent weights, before the resistance; its bias is theirs."""
    if gain is None:
        return nir.Linear(weight=weight)
    before = (weight / gain.factor).astype(weight.dtype)
    if not bool((gain.bias != 0).any()):
        return nir.Linear(weight=before)
    bias = gain.bias.detach().cpu().double().numpy() / np.ravel(gain.factor)
    return nir.Affine(weight=before, bias=np.broadcast_to(bias, weight.shape[:1]).astype(weight.dtype))


def _added(name: str, cell: Cell, shape: tuple[int, ...]) -> nir.NIRNode:
    """A node that adds the resting potential: a layer with unit weights, and a bias."""
    rest = for_each(cell.rest, shape)
    if len(shape) == 1:
        return nir.Affine(weight=np.eye(shape[0], dtype=np.float32), bias=rest)
    channels = rest.reshape(shape[0], -1)
    if len(shape) != 3 or (channels != channels[:, :1]).any():
        raise ConversionError(
            name, "its v_leak differs between the places of an image, or its samples are no images",
            "Set v_leak = 0, and add it after the layer.",
        )  # fmt: skip
    node = nir.Conv2d(
        input_shape=shape[1:], weight=np.ones((shape[0], 1, 1, 1), np.float32), stride=(1, 1), padding=(0, 0),
        dilation=(1, 1), groups=shape[0], bias=np.array(channels[:, 0]),
    )  # fmt: skip
    node.input_type, node.output_type = {"input": np.array(shape)}, {"output": np.array(shape)}
    return metadata.write(node, {"bias": True})
