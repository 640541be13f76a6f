"""Norse's cells inside of torch networks, and ``from_norse``.

Norse threads states explicitly: ``out, state = net(x, state)``. Such a network is run in a loop over three steps; one
that takes all steps at once (``LIF``, ``Lift``, a loop inside ``forward``) gets three of them. Membranes count from
the potential that Norse starts from (``v_leak``; of IAF ``v_reset``), and the ``Resistance`` in front of a cell is
part of its neuron.
"""

from __future__ import annotations

import inspect
from collections.abc import Iterator, Mapping
from dataclasses import replace
from typing import Any

import nir
import numpy as np
import torch
from norse.torch.functional.superspike import SuperSpike
from norse.torch.module.lift import Lift
from norse.torch.module.sequential import SequentialState
from torch import Tensor, nn
from torch.nn.functional import linear

from snnax import checks
from snnax.errors import ArgumentError, ConversionError, ShapeError
from snnax.interop import conventions
from snnax.interop.families.nodes import node_from_spec
from snnax.interop.frameworks import LABELS, package_of
from snnax.interop.frameworks.adapter import Adapter, Fired, Handler, Words
from snnax.interop.layers.registry import Variables
from snnax.interop.nir import metadata
from snnax.interop.nir.entries import DT
from snnax.interop.nir.importing import Import
from snnax.interop.norse.cells import (
    KINDS,
    PORTS,
    WRAPPED,
    Cell,
    Resistance,
    cell_of,
    cells_of,
    check_step,
    is_cell,
    is_norse,
    tap,
)
from snnax.interop.norse.writing import network_of
from snnax.interop.norse.writing import to_norse as to_norse
from snnax.interop.program.module import PortedProgram
from snnax.interop.spec import NeuronSpec
from snnax.interop.torch import graph_reader
from snnax.interop.torch.calls import Call, tensor_of
from snnax.interop.torch.graph_reader import Reader
from snnax.interop.torch.observers import Observer
from snnax.interop.torch.step_graph import Source, StepGraph, StepNode
from snnax.network.containers import Graph

__all__ = ["ADAPTER", "from_norse", "to_norse"]

_GLUE = (Lift, SequentialState)
_FEEDBACK = "Use LIFRecurrentCell for feedback: its recurrent weights get the spikes of the step before."

# --- How a network is called ----------------------------------------------------------------------


def _takes_time(net: nn.Module) -> bool:
    """True if the network takes all time steps at once, by the modules that it holds."""
    return any(isinstance(m, (*WRAPPED, Lift)) for m in net.modules())


def _takes_state(net: nn.Module) -> bool:
    """True if ``forward`` takes states beside its input."""
    return len(_parameters(net)) > 1


def _parameters(net: nn.Module) -> list[str]:
    kinds = (inspect.Parameter.POSITIONAL_ONLY, inspect.Parameter.POSITIONAL_OR_KEYWORD)
    return [n for n, p in inspect.signature(type(net).forward).parameters.items() if p.kind in kinds][1:]


def _is_stepwise(net: nn.Module) -> bool:
    """True if a network takes one step and its states, instead of a sequence."""
    return _takes_state(net) and not _takes_time(net)


def _run(net: nn.Module, x: Tensor) -> Any:
    """What a network returns for a sequence, without its states: a tensor ``[T, B, ...]``, or a tuple of them.

    Raises:
        ConversionError: if it takes states and returns none.
    """
    if not _is_stepwise(net):
        return _visible(net(x))
    names, rows, states = _parameters(net)[1:], [], None
    for t in range(len(x)):
        result = net(x[t]) if states is None else net(x[t], *states)
        if not isinstance(result, tuple) or len(result) < 2:
            raise ConversionError(
                type(net).__name__, f"its forward takes {', '.join(names)} and returns no new state",
                "Return the new state beside the output: return out, state.",
            )  # fmt: skip
        out, *states = result
        if len(states) != len(names):
            raise ConversionError(
                type(net).__name__, f"its forward takes {len(names)} states and returns {len(states)}",
                "Return one new state for each that it takes.",
            )  # fmt: skip
        rows.append(list(out) if isinstance(out, list | tuple) else [out])
    columns = [torch.stack(list(column)) for column in zip(*rows, strict=True)]
    return columns[0] if len(columns) == 1 else tuple(columns)


def _visible(result: Any) -> Any:
    """What a network returns beside its states."""
    if not isinstance(result, tuple) or hasattr(result, "_fields"):
        return result
    parts = tuple(_visible(part) for part in result if not _is_state(part))
    return parts[0] if len(parts) == 1 else parts


def _is_state(part: Any) -> bool:
    if part is None or hasattr(part, "_fields"):
        return True
    return isinstance(part, list | tuple) and all(map(_is_state, part))


def _check_modules(net: nn.Module) -> None:
    """Refuse networks without Norse cells, of both libraries, and cells without a NIR form."""
    found: list[ConversionError] = []
    label = type(net).__name__
    others = {package_of(base) for module in net.modules() for base in type(module).__mro__} - {"", "norse"}
    if others:
        problem = f"it has neurons of both {LABELS[min(others)]} and Norse"
        found.append(ConversionError(label, problem, "Convert the two parts one by one."))
    for name, module in net.named_modules():
        if is_norse(module) and not is_cell(module) and type(module) not in _GLUE:
            names = sorted(kind.__name__ for kind in KINDS)
            found.append(ConversionError(
                name or label,
                f"Norse's {_norse_class(module)} has no NIR form, or is a class derived from it",
                f"Convertible are Norse's own {', '.join(names)}, SequentialState and Lift; states that a forward of "
                "your own hands on.",
            ))  # fmt: skip
    for name, module in cells_of(net).items():
        try:
            check_step(name or label, module)
        except ConversionError as error:
            found.append(error)
    if not cells_of(net) and not found:
        remedy = "Pass the network that holds the LIFCell (or other)."
        found.append(ConversionError(label, "the network has no Norse neuron", remedy))
    if found:
        raise ConversionError.joined(found)


def _norse_class(module: nn.Module) -> str:
    return next(c.__name__ for c in type(module).__mro__ if c.__module__.startswith("norse."))


def _common_dt(net: nn.Module) -> float:
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


# --- What a cell received and did, in the terms of the neuron that it is converted to --------------


class _CellObserver(Observer):
    """The record of one cell.

    The output of cells that do not fire, in the place of spikes, is their membrane.

    Args:
        node: the cell in the traced step.
        gain: path of the resistance in front of it.
        name: see :class:`Observer`.
    """

    def __init__(self, node: StepNode, gain: str | None, name: str) -> None:
        super().__init__(name)
        self._node = node
        self._path = gain
        self._entry: Tensor | None = None  # what the resistance got last

    def prepare(self, module: Any, modules: Mapping[str, nn.Module], frames: Tensor) -> None:
        """Give the parameters the precision of the run, and watch the resistance."""
        self._module = module
        self._nir = KINDS[type(module)]
        self._fires = self._nir not in ("LI", "CubaLI")
        rest = cell_of(self._node.name, module, self._node.shape).rest
        self._rest = torch.from_numpy(np.array(rest)).to(frames.device)
        module.p = type(module.p)(*(_cast(value, frames) for value in module.p))
        self._gain: Any = None if self._path is None else modules[self._path]
        if self._gain is not None:
            forward = self._gain.forward

            def entered(x: Tensor) -> Tensor:
                self._entry = x
                result: Tensor = forward(x)
                return result

            vars(self._gain)["forward"] = entered

    def seen(self, x: Tensor, before: Any, fired: Fired) -> tuple[Tensor, Tensor, dict[str, Tensor]]:
        """The input in front of the resistance; membranes above the rest; the current before it is scaled."""
        gain, kind = self._gain, self._nir
        total, feedback = self._currents(x, before)
        shown = total if self._entry is None else self._entry
        if gain is not None and feedback is not None and not gain.apart:
            shown = shown + (feedback + gain.bias.to(x)) / self._factor(both=True)
        mem = fired.states["mem"]
        if gain is not None and gain.late_reset:
            mem = self._charged(total if kind in ("LIF", "IF") else before["syn"] + total, before["mem"])
        states = {"mem": self._above(mem, fired.spk)}
        if kind.startswith("Cuba"):
            jumped = gain is not None and gain.current == "new"
            states["syn"] = (before["syn"] + total if jumped else fired.states["syn"]) / self._factor()
        return shown, fired.spk if self._fires else self._above(fired.spk, fired.spk), states

    def instead(self, fired: Fired, spk: Tensor) -> Fired:
        """Forced output, which is also a state of cells that fire."""
        out = spk if self._fires else spk + self._rest.to(spk)
        return Fired(out, {**fired.states, "z": out} if "z" in fired.states else fired.states)

    def _currents(self, x: Tensor, before: Any) -> tuple[Tensor, Tensor | None]:
        """The whole input current, and the part of it that is recurrent."""
        module, feedback = self._module, None
        if hasattr(module, "input_weights"):
            x = linear(x, module.input_weights)
        if hasattr(module, "recurrent_weights"):
            feedback = linear(before["z"], module.recurrent_weights)
            x = x + feedback
        return x, feedback

    def _factor(self, both: bool = False) -> Any:
        """What Norse's current is larger by."""
        if self._gain is None:
            return 1.0
        return self._gain.r * self._gain.w_in if both else self._gain.r

    def _charged(self, current: Tensor, v: Tensor) -> Tensor:
        """The membrane before its reset."""
        p = self._module.p
        return (
            v + current
            if self._nir == "IF"
            else v + self._module.dt * p.tau_mem_inv * ((p.v_leak - v) + current)
        )

    def _above(self, v: Tensor, like: Tensor) -> Tensor:
        """A membrane above its rest."""
        v = torch.broadcast_to(v, like.shape)
        return v if not bool((self._rest != 0).any()) else (v.double() - self._rest).to(v.dtype)


def _cast(value: Any, like: Tensor) -> Any:
    """A parameter in the precision of ``like``, and a tensor of its own."""
    if isinstance(value, nn.Parameter) or not isinstance(value, Tensor) or not value.is_floating_point():
        return value
    return value.detach().clone().to(like)


# --- The adapter ----------------------------------------------------------------------------------


class Norse(Adapter):
    """Norse 1.1.0: cells that take and return their states, and modules that run them over time."""

    label = "Norse"
    gradients = False
    programs = True
    words = Words(
        feedback=_FEEDBACK,
        untraced=_FEEDBACK,
        results="Return a tensor, or a tuple of tensors, and the states.",
        neurons="Norse's own " + ", ".join(sorted(kind.__name__ for kind in KINDS)),
        source="from_norse",
        target="to_norse",
    )

    def is_neuron(self, module: Any) -> bool:
        """The cells with a NIR form."""
        return is_cell(module)

    def is_layer(self, cls: type) -> bool:
        """The resistance in front of a cell."""
        return cls is Resistance

    def states(self, module: Any) -> tuple[str, ...]:
        """None are kept in attributes."""
        return ()

    def check_network(self, net: nn.Module) -> None:
        """Cells of Norse's, and of no other framework."""
        _check_modules(net)

    def check_program(self, net: nn.Module) -> None:
        """The same."""
        _check_modules(net)

    def check(self, name: str, module: Any) -> None:
        """Its own steps only."""
        check_step(name, module)

    def may_be_program(self, net: nn.Module) -> bool:
        """Not if a call is one step, whose states a program would not hand on."""
        return not _is_stepwise(net)

    def known(self, name: str, module: Any) -> NeuronSpec | None:
        """None: in programs its cells are the operations that they run, and start from where Norse starts."""
        return None

    def surrogate(self, function: type, args: tuple[Any, ...]) -> tuple[str, dict[str, float]] | None:
        """``SuperSpike``, whose slope Norse 1.1.0 ignores."""
        return ("fast_sigmoid", {"slope": 1.0}) if function is SuperSpike else None

    def reset(self, module: Any, dtype: torch.dtype, traced: bool) -> None:
        """There are no states; for a run in double precision its numbers, which are no buffers, get that too."""
        if dtype == torch.float64 and not traced:
            like = torch.zeros((), dtype=dtype)
            module.p = type(module.p)(*(_cast(value, like) for value in module.p))

    def parameters(self, module: Any) -> tuple[str, ...]:
        """Those of its class, in the tuple ``p``, and the weights of a cell that has any."""
        fields = [f"p.{field}" for field in module.p._fields if isinstance(getattr(module.p, field), Tensor)]
        return (*fields, *super().parameters(module))

    def tap(self, name: str, module: Any, handler: Handler) -> None:
        """A cell's step, without the loop over time that may be around it."""

        def step(x: Tensor, state: Any, run: Any) -> tuple[Tensor, Any]:
            def fire() -> Fired:
                out, after = run()
                if not hasattr(module, "input_weights") and out.shape != x.shape:
                    raise ConversionError(
                        name, f"its input has shape {tuple(x.shape)} and its output {tuple(out.shape)}: its "
                        "parameters or states have more neurons than its input",
                        "Give it one input for each neuron.",
                    )  # fmt: skip
                # the output may be one of the states: as views, each is a tensor of its own
                states = {PORTS[f]: getattr(after, f).view_as(getattr(after, f)) for f in after._fields}
                return Fired(out.view_as(out), states)

            fired = handler(x, {PORTS[f]: getattr(state, f) for f in state._fields}, fire)
            return fired.spk, type(state)(**{f: fired.states[PORTS[f]] for f in state._fields})

        tap(module, step)

    def check_state(self, name: str, module: Any, state: str, tensor: Tensor, x: Tensor, fed: bool) -> None:
        """What Norse starts from."""
        if fed:
            return
        what = next(field for field, port in PORTS.items() if port == state)
        start = torch.zeros((), dtype=tensor.dtype)
        if what == "v":
            start = torch.as_tensor(getattr(module.p, "v_leak" if hasattr(module.p, "v_leak") else "v_reset"))
        if bool((tensor != start.to(tensor)).any()):
            raise ConversionError(
                name, f"its initial {what} is not the one that Norse starts from, or was changed between two steps",
                "Start from state=None, and hand the state on as the neuron returned it.",
            )  # fmt: skip

    def failure(self, name: str, module: Any, error: Exception) -> Exception | None:
        """A cell fails on its state or parameters too: it is told how the whole network was called."""
        return error if is_cell(module) else None

    def calls(self, net: nn.Module, sample: Any) -> Iterator[Call]:
        """Two or three steps, so that the batch is none of them; of a sequence the first ones, then all."""
        parameter = next((p for p in net.parameters() if p.is_floating_point()), torch.zeros(()))
        x, stepwise = tensor_of(sample).to(parameter.device, parameter.dtype), _is_stepwise(net)
        if x.ndim < (2 if stepwise else 3):
            wanted = "one step [B, ...]"
            if not stepwise:
                wanted = (
                    "a sequence [T, B, ...], since its forward takes no state: forward(x, state=None) takes one "
                    "step, as does norse.torch.SequentialState"
                )
            raise ShapeError(f"sample has shape {tuple(x.shape)}; {type(net).__name__} takes {wanted}.")
        steps = 2 if x.shape[0 if stepwise else 1] == 3 else 3
        few = torch.stack([x] * steps) if stepwise else x[[t % len(x) for t in range(steps)]]
        call = Call([few], ["x"], few.dtype, tree=(None,), only_input=True)
        if stepwise or len(x) < 2:
            yield call
        else:
            yield replace(call, guess=True)
            yield replace(call, args=[x])

    def call(self, net: nn.Module, args: tuple[Any, ...]) -> Any:
        """One call, or one for each step."""
        return _run(net, *args)

    def call_text(self, args: Any) -> tuple[str, str]:
        """Its networks take one argument."""
        (x,) = args
        return (
            f"the net was given {len(x)} steps of {tuple(x.shape[1:])}",
            "Pass a sample for which net(sample) runs; networks of Norse cells are chained by SequentialState.",
        )

    def sample_of(self, net: nn.Module, x: np.ndarray) -> Any:
        """One step of a network that takes states, else all."""
        return x[0, :2] if _is_stepwise(net) else x[:, :2]

    def check_step(self, step: StepGraph) -> None:
        """Cells are used once."""
        for node in step.nodes:
            if is_cell(node.module) and node.shared_with is not None:
                problem = f"it is the neuron {node.shared_with!r}, used twice"
                raise ConversionError(node.name, problem, "Give each layer its own.")

    def observer(self, node: StepNode, step: StepGraph) -> Observer:
        """A recurrent cell becomes two nodes, unless it stands for a neuron with its weights inside."""
        gain = _gain(node, step)
        apart = gain is not None and bool(gain.module.apart)
        name = f"{node.name}.lif" if hasattr(node.module, "recurrent_weights") and not apart else node.name
        return _CellObserver(node, gain and gain.name, name)

    def spec_of(self, name: str, module: Any, used: bool) -> NeuronSpec:
        """A cell without a resistance, of one sample of any shape."""
        return cell_of(name, module, ()).spec

    def check_spec(self, name: str, module: Any) -> None:
        """A cell is refused when it is read, together with its resistance."""

    def time_step(self, net: nn.Module, dt: float | None) -> float:
        """That of the cells; another one is refused."""
        step = _common_dt(net)
        if dt is not None and not np.isclose(dt, step, rtol=1e-9, atol=0):
            raise ArgumentError(f"dt={dt!r}, and the cells of the network have dt={step!r}; leave dt out.")
        return step

    def converts(self, module: Any) -> bool:
        """Cells, and the resistances in front of them."""
        return is_cell(module) or isinstance(module, Resistance)

    def read(self, reader: Reader, node: StepNode) -> None:
        """Add a cell; a resistance is part of its cell."""
        if is_cell(node.held):
            _read_cell(reader, node)
            return
        fed = [n for n in reader.step.nodes if any(source.node == node.name for source in n.inputs)]
        if not fed or not all(is_cell(n.module) for n in fed):
            raise ConversionError(
                node.name, "a Resistance feeds something else than Norse neurons",
                "It stands right in front of a neuron; scale other signals by a number.",
            )  # fmt: skip
        reader.terms[Source(node.name)] = reader.inputs(node)

    def network(self, graph: nir.NIRGraph, wide: bool) -> nn.Module:
        """Cells in a network that hands their states on."""
        return network_of(Import(graph), torch.float64 if wide else torch.float32)


ADAPTER = Norse()


def _gain(node: StepNode, step: StepGraph) -> Any:
    """The node of the resistance in front of a cell, if there is one."""
    source = node.inputs[0].node
    return next((n for n in step.nodes if n.name == source and isinstance(n.module, Resistance)), None)


# --- A cell as NIR nodes --------------------------------------------------------------------------


def _read_cell(reader: Reader, node: StepNode) -> None:
    """Add a cell, its input weights before it and its recurrent weights on a loop."""
    front = _gain(node, reader.step)
    gain: Any = None if front is None else front.held
    cell = cell_of(node.name, node.held, node.shape, gain)
    reader.states[node.name] = node.shape
    if node.name in reader.used and np.any(cell.rest != 0):
        raise ConversionError(
            node.name, f"its membrane is read, and starts from {np.max(cell.rest):g}; snnax's starts from 0",
            "Set v_leak (of IAF: v_reset) to 0, or read the output of a LIBoxCell instead.",
        )  # fmt: skip
    terms = reader.inputs(node)
    if "w_in" in cell.weights:
        reader.put(f"{node.name}.w_in", nir.Linear(weight=cell.weights["w_in"]), terms)
        terms = [f"{node.name}.w_in"]
    if cell.spec.recurrent:
        reader.recurrent(node, cell.spec, terms, node.shape)
        return
    made = node_from_spec(node.name, cell.spec, node.shape, reader.dt)
    if "w_rec" in cell.weights:
        reader.loop(node, made, _loop(cell.weights["w_rec"], gain), terms)
    else:
        reader.put(node.name, made, terms)
        reader.terms[Source(node.name)] = [node.name]
    if cell.spec.kind in ("LI", "CubaLI") and np.any(cell.rest != 0):
        reader.put(f"{node.name}.rest", _added(node.name, cell, node.shape), reader.terms[Source(node.name)])
        reader.terms[Source(node.name)] = [f"{node.name}.rest"]


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
    rest = conventions.for_each(cell.rest, shape)
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


# --- The conversion -------------------------------------------------------------------------------


@checks.takes(net=checks.instance(nn.Module, "a torch.nn.Module"), sample=checks.real, dt=DT)
def from_norse(
    net: nn.Module, sample: Any, *, dt: float | None = None
) -> tuple[Graph | PortedProgram, Variables]:
    """Turn a network of Norse cells into a flax model of one time step, with its weights.

    Runs a copy of ``net`` over three time steps and reads what it did: ``SequentialState`` in any nesting, ``Lift``,
    layers that take all steps at once, states that a ``forward`` of your own hands on, loops over time inside
    ``forward``, residual sums. Each cell becomes the neuron of NIR that takes its very steps; see :doc:`/norse`.

    A network of whole sequences that does more, as a maximum over time or a head behind its loop, becomes a
    :class:`~snnax.interop.program.module.PortedProgram`, which is called as ``forward`` is and returns what it does.

    Args:
        net: a torch module with cells of Norse 1.1.0 that have a NIR form (``LIFBoxCell``, ``LIBoxCell``, ``LIFCell``,
            ``LIF``, ``LIFRecurrentCell``, ``LIFRecurrent``, ``LICell``, ``LI``, ``LILinearCell``, ``IAFCell``,
            ``IAF``), in evaluation mode; it stays as it is.
        sample: what one call of ``net`` takes, NumPy or torch: one step ``[B, ...]``, or, if ``net`` takes all steps
            at once, a sequence ``[T, B, ...]``.
        dt: time step in seconds; ``None`` takes that of the cells. Another one is refused.

    Returns:
        ``(model, variables)``: a :class:`snnax.Graph` with the names of ``net``'s modules, which takes and returns
        what one step of ``net`` does, or a program; and its variables without ``hidden``.

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
    return graph_reader.from_torch(net, sample, ADAPTER, dt=dt)
