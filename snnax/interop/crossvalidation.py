"""``crossvalidate``: whatever the two sides are, compare them spike for spike."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import replace
from os import PathLike
from pathlib import Path
from typing import Any

import flax.linen as nn
import jax
import jax.numpy as jnp
import nir
import numpy as np

from snnax import checks
from snnax.errors import ArgumentError, ConversionError, MissingDependencyError, ShapeError
from snnax.interop import conventions
from snnax.interop.compare import Report, compare
from snnax.interop.families.modules import spec_from_module
from snnax.interop.frameworks import adapter_of
from snnax.interop.nir.assembling import node_name
from snnax.interop.nir.entries import CALL, DT, PRESET
from snnax.interop.nir.exporting import exported
from snnax.interop.nir.importing import from_nir
from snnax.interop.nir.readings import Reading
from snnax.interop.nir.readings import reading as read_as
from snnax.interop.numbers import plain
from snnax.interop.program.module import PortedProgram
from snnax.interop.program.nodes import Program
from snnax.interop.program.side import ProgramSide, compare_calls, in_precision
from snnax.interop.recordings import RecordedSide, in_units_of
from snnax.interop.simulator import ReferenceSide
from snnax.interop.spec import NeuronSpec
from snnax.interop.trace import NodeTrace, Side, Trace
from snnax.layers import Scale
from snnax.network.containers import Container, Graph, Sequential
from snnax.network.kinds import owners
from snnax.network.settings import branch
from snnax.network.unroll import unroll
from snnax.surrogate import Surrogate

__all__ = ["crossvalidate"]

# --- A flax model as one side of a cross-validation -----------------------------------------------


class FlaxSide:
    """Runs ``(model, variables)`` and records every neuron layer.

    Args:
        model: any linen module whose neurons use ``init_hidden=True``.
        variables: its variables; a stored ``hidden`` state is left out, a run starts from zero.
        label: name in reports.
        channels_first: images in ``x`` are in torch's layout. A ``Graph`` with ``channels_first`` takes them so,
            any other model gets them channels-last.
    """

    def __init__(
        self,
        model: nn.Module,
        variables: Mapping[str, Any],
        label: str = "snnax",
        *,
        channels_first: bool = True,
    ) -> None:
        if not isinstance(model, nn.Module):
            raise ArgumentError(
                f"expected (model, variables) with a linen module, got a {type(model).__name__} as model."
            )
        self.label = label
        self.model = model
        self.variables = {c: v for c, v in nn.unbox(dict(variables)).items() if c != "hidden"}
        self.convert = channels_first and not getattr(model, "channels_first", False)
        self.turn = channels_first
        self._found = dict(_neurons(model, self.variables))
        self._sample: np.ndarray | None = None
        self._ranks: dict[str, int] = {}

    def run(self, x: np.ndarray) -> Trace:
        """All steps of ``x`` ``[T, B, ...]`` from zero."""
        return self._run(x, {})

    def replay(self, x: np.ndarray, forced: dict[str, np.ndarray]) -> Trace:
        """The same, while neurons emit the spikes in ``forced``."""
        return self._run(x, forced)

    def graph(self) -> nir.NIRGraph:
        """The model's NIR graph."""
        return exported(_nameable(self.model), self.variables, self._sample)

    def spec(self, name: str) -> NeuronSpec | None:
        """Parameters of one neuron layer of a model that ran, if it is made of containers."""
        for path, (module, variables) in self._found.items():
            if _name(path) == name and name in self._ranks:
                return spec_from_module(name, _nameable(module), variables, self._ranks[name])
        return None

    def neuron(self, name: str) -> tuple[nn.Module, Mapping[str, Any]] | None:
        """The module and the variables of one neuron layer, if the model is made of containers."""
        return next((found for path, found in self._found.items() if _name(path) == name), None)

    @property
    def layers(self) -> list[str]:
        """Names of the neuron layers, in the order in which they compute, if the model is made of containers."""
        return [_name(path) for path in self._found]

    @property
    def units(self) -> dict[str, tuple[np.ndarray, None]]:
        """Factor of the input of each neuron with a gain of its own in front, as ``from_nir`` writes it: ``x.gain``."""
        if not isinstance(self.model, Graph):
            return {}
        members, found = self.model.members(), {}
        for path in self._found:
            before = [s for s, t in self.model.edges if t == path]
            gain = (
                members.get(before[0]) if len(before) == 1 and before[0].startswith(f"{path}.gain") else None
            )
            if isinstance(gain, Scale) and not gain.learn_scale:
                stored = self.variables.get("buffers", {}).get(before[0], {}).get("scale", gain.scale)
                first = conventions.per_neuron_first(stored, self._ranks.get(_name(path), np.ndim(stored)))
                found[_name(path)] = (np.asarray(first, np.float64), None)
        return found

    def gradients(self, x: np.ndarray) -> dict[str, np.ndarray]:
        """Gradients of the summed outputs by torch's parameter names and in torch's layout."""
        with _precision(x):
            inputs = jnp.asarray(conventions.traces_last(x) if self.convert else x)
            variables = in_precision(self.variables, inputs.dtype)
            fixed = {c: v for c, v in variables.items() if c != "params"}

            def loss(params: Any) -> jax.Array:
                outputs, _ = unroll(self.model, {**fixed, "params": params}, inputs)
                return sum((jnp.sum(y) for y in jax.tree.leaves(outputs)), start=jnp.zeros((), inputs.dtype))

            found = jax.grad(loss)(variables.get("params", {}))
            return _torch_gradients(jax.tree.map(np.asarray, found), self._ranks)

    def _run(self, x: np.ndarray, forced: dict[str, np.ndarray]) -> Trace:
        x = np.asarray(x)
        self._sample = x[0] if not self.convert else conventions.traces_last(x)[0]
        with _precision(x):
            inputs = jnp.asarray(conventions.traces_last(x) if self.convert else x)
            paths = {_name(path): path for path in self._paths(inputs)}
            force = {paths[n]: jnp.asarray(self._turned(s, False)) for n, s in forced.items() if n in paths}
            variables = in_precision(self.variables, inputs.dtype)
            outputs, _, recorded = unroll(self.model, variables, inputs, record=True, force=force)
            outputs = tuple(np.asarray(y) for y in jax.tree.leaves(outputs))
            nodes = {_name(path): self._trace(path, values) for path, values in self._ordered(recorded)}
        self._ranks = {name: node.input.ndim - 2 for name, node in nodes.items()}
        if self.convert:
            outputs = tuple(conventions.traces_first(y) for y in outputs)
        return Trace(nodes, outputs)

    def _paths(self, inputs: jax.Array) -> list[str]:
        if self._found:
            return list(self._found)
        recorded = jax.eval_shape(
            lambda v, x: unroll(self.model, v, x, record=True)[2], self.variables, inputs[:1]
        )
        return list(recorded)

    def _ordered(self, recorded: dict[str, Any]) -> list[tuple[str, Any]]:
        names = [n for n in self._found if n in recorded] or list(recorded)
        return [(name, recorded[name]) for name in names]

    def _trace(self, path: str, values: Mapping[str, Any]) -> NodeTrace:
        arrays = {k: self._turned(np.asarray(v), True) for k, v in values.items()}
        kind = type(self._found[path][0]).__name__ if path in self._found else "neuron"
        states = {k: v for k, v in arrays.items() if k not in ("input", "spk")}
        rest = getattr(self._found[path][0], "state_starts", {}) if path in self._found else {}
        spk = arrays["spk" if "spk" in arrays else "mem"]
        return NodeTrace(_name(path), kind, arrays["input"], spk, states, rest=dict(rest))

    def _turned(self, array: np.ndarray, first: bool) -> np.ndarray:
        """Recordings are channels-last inside; torch's layout outside."""
        if not self.turn:
            return np.asarray(array)
        return conventions.traces_first(array) if first else conventions.traces_last(array)


def _name(path: str) -> str:
    return ".".join(node_name(part) for part in path.split("/"))


def _neurons(model: nn.Module, variables: Mapping[str, Any], prefix: str = "") -> Any:
    """Neurons of nested containers in execution order: ``path, (module, variables)``."""
    if not isinstance(model, Container):
        return
    members, owner = model.members(), owners(model)
    for name in model.plan().order:
        module, own = members[name], branch(variables, owner[name])
        if isinstance(module, Container):
            yield from _neurons(module, own, f"{prefix}{name}/")
        elif hasattr(module, "state_names"):
            yield f"{prefix}{name}", (module, own)


def _nameable(module: Any) -> Any:
    """The module with the default surrogate where a neuron has a function of the user's own: only gradients differ."""
    if isinstance(module, Graph):
        return module.clone(nodes={n: _nameable(m) for n, m in module.members().items()})
    if isinstance(module, Sequential):
        return module.clone(layers=[_nameable(m) for m in module.layers])
    function = getattr(module, "spike_grad", None)
    if function is not None and (not isinstance(function, Surrogate) or function.name == "custom_surrogate"):
        return module.clone(spike_grad=None)
    return module


def _precision(x: np.ndarray) -> Any:
    return jax.enable_x64(np.asarray(x).dtype == np.float64)


def _torch_gradients(
    tree: Mapping[str, Any], ranks: Mapping[str, int], prefix: str = ""
) -> dict[str, np.ndarray]:
    """``{"fc": {"kernel"}}`` as ``{"fc.weight"}``, transposed as the weight is; ``ranks`` of each neuron's samples."""
    found: dict[str, np.ndarray] = {}
    for key, value in tree.items():
        if isinstance(value, Mapping):
            found.update(_torch_gradients(value, ranks, f"{prefix}{node_name(key)}."))
        elif key == "kernel":
            found[f"{prefix}weight"] = conventions.kernel_to_torch(value)
        elif key == "scale":
            found[f"{prefix}weight"] = value
        else:
            rank = ranks.get(prefix.removesuffix("."), np.ndim(value))
            found[f"{prefix}{key}"] = conventions.per_neuron_first(value, rank)
    return found


@checks.takes(num_steps=checks.maybe(checks.count()), dt=DT, reading=PRESET, sample=checks.maybe(CALL))
def crossvalidate(
    a: Any,
    b: Any,
    x: Any,
    *,
    num_steps: int | None = None,
    channels_first: bool = True,
    dt: float | None = None,
    reading: str | Reading | None = None,
    gradients: bool = False,
    sample: Any = None,
) -> Report:
    """Run two networks on the same input and say whether they compute the same spikes, layer by layer.

    Every neuron layer is compared *end to end* and *layer by layer*: in the second run each layer of ``b`` gets
    the spikes that ``a`` recorded, so that a flip does not reach the next layer. The first spike of a neuron that
    differs is explained by rounding only if both membranes are within a bound of the threshold that follows from the
    floating-point errors of the sums in front of it; later ones of the same neuron (with ``inhibition``, of the same
    sample) follow from it. The report counts both. Anything else is unexplained, and comes with its likely cause.

    Args:
        a: the reference: a torch module with neurons of snnTorch or Norse, ``(model, variables)``, a NIR graph or
            path, or a recording: a :class:`Trace`, the path of a ``.npz`` file of :func:`save_trace`, or a
            :class:`RecordedSide`.
        b: the other side, of any of these kinds but a recording.
        x: input ``[T, B, ...]``, float32 or float64, which decides the precision of both runs; with
            ``num_steps`` one frame ``[B, ...]``. For a program what its ``forward`` takes, in a tuple if it is more
            than one thing.
        num_steps: T, for one frame that is shown at every step.
        channels_first: images in ``x`` are ``C, H, W``; flax models written for channels-last get them so.
        dt: time step for NIR graphs that do not say theirs.
        reading: what NIR leaves open, for NIR graphs: a :class:`Reading`, or the name of a framework.
        gradients: also compare the gradients of the summed outputs with respect to every weight.
        sample: what one call of a snnTorch network takes, as :func:`from_snntorch` was given it: where ``forward``
            takes more than ``x``, or takes it in a list, tuple or dict. ``x`` takes the place of the input in it.

    Returns:
        A :class:`Report`: ``report.agree``, ``report.unexplained``, ``report.layers``, ``print(report)``,
        ``report.plot(path)``, ``report.to_dict()``.

    Raises:
        ArgumentError: for a side of another kind, and for a recording as side ``b``.
        ShapeError: if ``x`` does not fit, or the layers of the sides do not pair up.
        ConversionError: if a torch module cannot be traced.

    NIR graphs are run by the reference simulator (``snnax.interop.reference``), by NIR's equations in
    float64; where that lacks a node, or gradients are asked for, as the model that ``from_nir`` makes of them.

    Example:
        >>> import torch, snntorch, numpy as np
        >>> from snnax import interop
        >>> net = torch.nn.Sequential(torch.nn.Linear(3, 2), snntorch.Leaky(beta=0.9, init_hidden=True))
        >>> x = np.random.default_rng(0).random((25, 4, 3), np.float32)
        >>> model, variables = interop.from_snntorch(net, x[0])
        >>> interop.crossvalidate(net, (model, variables), x).agree
        True
    """
    if any(_is_program(side) for side in (a, b)):
        return _compare_programs(a, b, x, gradients)
    x = _input(x, num_steps)
    how = read_as(reading, dt=dt)
    notes: list[str] = []
    first, second = (
        _graph_side(given, how, gradients, _is_recording(other), notes)
        or _side(given, x, which, channels_first, sample)
        for given, other, which in ((a, b, "a"), (b, a, "b"))
    )
    if first.label == second.label:
        first.label, second.label = f"{first.label} a", f"{second.label} b"
    if isinstance(first, RecordedSide):
        first = in_units_of(second, first, x, how)
    report = compare(first, second, x, gradients=gradients)
    return replace(report, notes=(*notes, *report.notes))


def _is_program(side: Any) -> bool:
    return isinstance(side, tuple) and len(side) == 2 and isinstance(side[0], PortedProgram)


def _compare_programs(a: Any, b: Any, x: Any, gradients: bool) -> Report:
    """Two sides of which one at least is a program: both run it on the arguments ``x`` of its ``forward``."""
    known = [ProgramSide(*side) for side in (a, b) if _is_program(side)]
    x = known[0].floating(x)
    known[0].check(x)
    program = known[0].model.program
    sides: list[Any] = []
    for given, which in ((a, "a"), (b, "b")):
        if _is_program(given):
            sides.append(known.pop(0))
        elif _is_torch(given):
            sides.append(_called_torch(given, program))
        else:
            raise ArgumentError(
                f"side {which} is a {type(given).__name__}, and the other a program: expected the torch network "
                "that it was ported from, or (model, variables) of the same port."
            )
    if sides[0].label == sides[1].label:
        sides[0].label, sides[1].label = f"{sides[0].label} a", f"{sides[1].label} b"
    return compare_calls(sides[0], sides[1], program, x, gradients=gradients)


def _called_torch(net: Any, program: Program) -> Any:
    from snnax.interop.torch.call_side import CalledTorch

    return CalledTorch(net, program, adapter_of(net))


def _is_torch(given: Any) -> bool:
    return hasattr(given, "modules") and any(
        base.__module__.startswith("torch.") for base in type(given).__mro__
    )


def _graph_side(
    given: Any, reading: Reading, gradients: bool, exact_gains: bool, notes: list[str]
) -> Side | None:
    """A NIR graph or its path as a side, ``None`` for anything else; what there is to say goes to the notes."""
    if not isinstance(given, nir.NIRGraph | str | PathLike) or _is_recording(given):
        return None
    if not gradients:
        try:
            side = ReferenceSide(given, reading, exact_gains=exact_gains)
            notes += side.notes
            return side
        except ConversionError as error:
            notes.append(f"the graph is run as the flax model that from_nir makes of it ({error})")
    return FlaxSide(*from_nir(given, preset=reading), label="NIR")


def _is_recording(given: Any) -> bool:
    if isinstance(given, str | PathLike):
        return Path(given).suffix == ".npz"
    return isinstance(given, Trace | RecordedSide)


def _input(x: Any, num_steps: int | None) -> np.ndarray:
    try:
        x = plain("x", "", x)
    except ConversionError as error:
        raise ArgumentError(f"x {error.problem}; a comparison needs finite real input.") from error
    if num_steps is not None:
        if num_steps < 1:
            raise ArgumentError(f"num_steps={num_steps}; expected a number of steps >= 1.")
        x = np.broadcast_to(x, (num_steps, *x.shape)).copy()
    if x.ndim < 3 or 0 in x.shape:
        raise ShapeError(
            f"x has shape {x.shape}; expected [T, B, ...] with at least one step and sample. For one frame "
            "[B, ...] pass num_steps=T."
        )
    return x


def _side(given: Any, x: np.ndarray, which: str, channels_first: bool, sample: Any) -> Side:
    if isinstance(given, tuple) and len(given) == 2:
        return FlaxSide(*given, channels_first=channels_first)
    if isinstance(given, Trace | str | PathLike):
        return RecordedSide(given)
    if _is_torch(given):
        return _torch_side(given, x, sample)
    if all(hasattr(given, name) for name in ("run", "replay", "graph", "label")):
        return given
    raise ArgumentError(
        f"side {which} is a {type(given).__name__}; expected a torch module, (model, variables), a "
        "nir.NIRGraph, the path of a .nir file, or a recorded Trace."
    )


def _torch_side(net: Any, x: np.ndarray, sample: Any) -> Side:
    try:
        from snnax.interop.torch.side import torch_side

        adapter = adapter_of(net)
    except ModuleNotFoundError as error:
        raise MissingDependencyError(
            error.name or "torch", "torch", "cross-validating a torch network"
        ) from error
    return torch_side(net, x, adapter, sample)
