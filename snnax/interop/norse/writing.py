"""``to_norse``: a flax model, by way of NIR, as a torch network of Norse cells."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, replace
from typing import Any, Literal

import nir
import numpy as np
import torch
from norse.torch.module.sequential import SequentialState
from torch import nn

from snnax import checks
from snnax.errors import ConversionError
from snnax.interop.families.norse_cells import Parts
from snnax.interop.families.precision import is_wide
from snnax.interop.nir.entries import DT, SAMPLE
from snnax.interop.nir.exporting import exported
from snnax.interop.nir.importing import Import
from snnax.interop.norse.cells import is_cell
from snnax.interop.norse.parts import cell, parts_of, recurrent, recurrent_cell, resistance
from snnax.interop.spec import NeuronSpec
from snnax.interop.torch.containers import place
from snnax.interop.torch.layers import layer_from_node
from snnax.layers import State
from snnax.modules import VARIABLES
from snnax.network.topology import INPUT, OUTPUT

_CYCLE = "Norse has feedback in LIFRecurrentCell only: one neuron layer and a Dense layer on its own loop."


@checks.takes(
    variables=VARIABLES,
    sample=SAMPLE,
    dt=DT,
    dtype=checks.maybe(checks.instance(torch.dtype, "a dtype of torch, as torch.float32")),
    surrogate=checks.one_of("keep", "super"),
)
def to_norse(
    model: Any,
    variables: Mapping[str, Any],
    sample: Any = None,
    *,
    dt: float | None = None,
    dtype: torch.dtype | None = None,
    surrogate: Literal["keep", "super"] = "keep",
) -> nn.Module:
    """Turn a flax model into a torch network of Norse cells, of one time step, in evaluation mode.

    A chain becomes a ``norse.torch.SequentialState``; anything else a module with the names of the nodes. Both are
    called ``out, state = net(x, state)``, first with ``state=None``.

    ==========================================  ===============================================================
    snnax                                       Norse
    ==========================================  ===============================================================
    ``LIF`` ``LI`` ``IF``                       ``LIFBoxCell`` ``LIBoxCell`` ``IAFCell``
    ``CubaLIF`` ``CubaLI``                      ``LIFCell`` ``LICell``
    these with a loop over one ``Dense``        ``LIFRecurrentCell``
    ``Leaky`` reset to zero                     ``LIFBoxCell``; ``IAFCell`` where beta is 1
    ``Synaptic``, zero, no delay                ``LIFCell``
    ``RLeaky`` ``RSynaptic``, zero, no delay    ``LIFRecurrentCell``
    ==========================================  ===============================================================

    What Norse's cells do not have, ``r`` and ``w_in``, stands in front of them as a ``Resistance``, which
    :func:`from_norse` reads back. Time constants of other discretizations become those whose Euler step is the same.

    Args:
        model: a ``Sequential`` or ``Graph``.
        variables: its variables.
        sample: one step's input ``[B, ...]``, for models that do not know their ``input_shape``.
        dt: time step in seconds of the cells that snnTorch's neurons become; ``None`` takes that of NIR's neurons in
            the model, else Norse's own, 1e-3. The spikes do not depend on it.
        dtype: of weights and per-neuron parameters; ``None`` is that of the model's weights. What has to be computed
            for Norse, ``1/tau`` of each neuron or recurrent weights times ``r``, is rounded to it; with
            ``torch.float64`` nothing is lost, and the network takes and returns float64.
        surrogate: ``"keep"`` refuses a surrogate gradient that Norse does not have (a neuron that names none gets
            Norse's own); ``"super"`` gives every neuron Norse's own, which changes gradients and no spike.

    Raises:
        ArgumentError: for another ``surrogate``.
        ConversionError: for what Norse has no equal of, naming the reason: a threshold that is subtracted by
            snnTorch's neurons, delayed resets, other cycles, returned states.
        ShapeError: if the sample does not fit.
        MissingDependencyError: if torch or Norse is not installed.

    Example:
        >>> import jax, jax.numpy as jnp, flax.linen as nn, snnax as snn, torch
        >>> from snnax import interop
        >>> model = snn.Sequential([nn.Dense(2), snn.LIF(tau=1e-2, dt=1e-3, init_hidden=True)])
        >>> net = interop.to_norse(model, model.init(jax.random.key(0), jnp.ones((1, 3))), jnp.ones((1, 3)))
        >>> [type(module).__name__ for module in net]
        ['Linear', 'LIFBoxCell']
        >>> out, state = net(torch.ones(1, 3))
    """
    source = Import(exported(model, variables, sample, dropout="keep"))
    if surrogate == "super":
        source.specs = {name: replace(spec, surrogate=None) for name, spec in source.specs.items()}
    return network_of(source, dtype or (torch.float64 if is_wide(variables) else torch.float32), dt).eval()


def network_of(source: Import, dtype: torch.dtype, dt: float | None = None) -> nn.Module:
    """The network of cells of a NIR graph; arguments as :func:`to_norse`.

    Raises:
        ConversionError: for what Norse has no equal of.
    """
    steps = [float(spec.sizes["dt"]) for spec in source.specs.values() if "dt" in spec.sizes]
    if len(set(steps)) > 1:
        raise ConversionError(
            OUTPUT,
            f"its neurons have the time steps {sorted(set(steps))} s",
            "Build all neurons with the same dt.",
        )
    return _Writer(source, dt or (steps[0] if steps else 1e-3), dtype).run()


@dataclass
class _Step:
    """One module of the network that is made, and the nodes whose sum it gets."""

    name: str
    module: nn.Module
    sources: list[str]


class _Writer:
    """One conversion.

    Attributes:
        weights: recurrent weights that became part of a cell, by the name of the neuron.
    """

    def __init__(self, source: Import, dt: float, dtype: torch.dtype) -> None:
        self.source = source
        self.dt = dt
        self.plan = source.model.plan()
        self.weights: dict[str, str] = {}
        self.steps: list[_Step] = []
        self.dtype = dtype

    def run(self) -> nn.Module:
        self._find_loops()
        for name in self.plan.order:
            if name in self.weights.values():
                continue
            if name in self.source.specs:
                self._neuron(name, self.source.specs[name])
            else:
                self._layer(name)
        ends = self._ends()
        previous = INPUT
        for step in self.steps:
            if step.sources != [previous]:
                return NorseNetwork(self.steps, ends)
            previous = step.name
        if ends != [[previous]] or len({id(s.module) for s in self.steps}) != len(self.steps):
            return NorseNetwork(self.steps, ends)
        return SequentialState(*(step.module for step in self.steps))

    def _targets(self, name: str) -> list[str]:
        return [t for t, sources in self.plan.sources.items() if name in [s for s, _ in sources]]

    def _find_loops(self) -> None:
        """Neurons with weights on a loop of their own, and weights that feed nothing but such a neuron."""
        for name in self.source.specs:
            for other, _ in self.plan.sources[name]:
                fed_by = [s for s, _ in self.plan.sources.get(other, ())]
                if other in self.source.nodes and fed_by == [name] and self._targets(other) == [name]:
                    self.weights[name] = other
        late = {(s, t) for t, sources in self.plan.sources.items() for s, delayed in sources if delayed}
        inside = {e for n, w in self.weights.items() for e in ((n, w), (w, n))}
        if odd := sorted(late - inside):
            raise ConversionError(odd[0][1], f"the edge {odd[0]} closes a cycle", _CYCLE)

    def _sources(self, name: str) -> list[str]:
        return [s for s, _ in self.plan.sources[name] if s != self.weights.get(name)]

    def _layer(self, name: str) -> None:
        module = self.source.model.members()[name]
        if isinstance(module, State):
            raise ConversionError(
                name,
                "it reads the state of a neuron",
                "Let neurons hand on what they emit only: output=False.",
            )
        if name in self.source.shared:
            made = next(s.module for s in self.steps if s.name == self.source.shared[name])
        else:
            made = layer_from_node(self.source.nodes[name], self.source.sites[name]).to(self.dtype)
        self.steps.append(_Step(name, made, self._sources(name)))

    def _neuron(self, name: str, spec: NeuronSpec) -> None:
        parts, sources = parts_of(name, spec, self.dt), self._sources(name)
        w_rec = self._recurrence(name, spec)
        if w_rec is not None:
            parts = recurrent(parts, self.dt)
            weight, bias = w_rec
            if np.any(bias != 0) or "bias" in spec.recurrent:
                parts.gain["bias"] = self._factor(parts) * bias
        gain = resistance(parts)
        if gain is not None:
            self.steps.append(_Step(f"{name}_gain", gain, sources))
            sources = [f"{name}_gain"]
        if w_rec is None:
            made = cell(name, parts, spec, self.dt, self.dtype)
        else:
            factor = self._factor(parts)
            weight = weight * (factor[:, None] if factor.ndim else factor)
            w_in, sources = self._input(name, len(weight), sources)
            made = recurrent_cell(
                name,
                parts,
                spec,
                self.dt,
                torch.tensor(w_in, dtype=self.dtype),
                torch.tensor(weight, dtype=self.dtype),
            )
        self.steps.append(_Step(name, made, sources))

    @staticmethod
    def _factor(parts: Parts) -> np.ndarray:
        return np.asarray(parts.gain.get("r", 1.0) * np.asarray(parts.gain.get("w_in", 1.0)), np.float64)

    def _recurrence(self, name: str, spec: NeuronSpec) -> tuple[np.ndarray, np.ndarray] | None:
        """Recurrent weights ``(out, in)`` in double precision, and their bias."""
        size, zero = self.source.sites[name].shape_in, np.zeros(())
        if "V" in spec.recurrent:
            return self._square(name, spec.recurrent["V"], size), zero
        if spec.recurrent:
            bias = np.asarray(spec.recurrent.get("bias", 0.0), np.float64)
            return self._square(name, spec.recurrent["weight"], size), bias
        if name not in self.weights:
            return None
        node = self.source.nodes[self.weights[name]]
        if isinstance(node, nir.Scale):
            return self._square(name, node.scale, size), zero
        if not isinstance(node, nir.Linear | nir.Affine):
            raise ConversionError(name, f"a {type(node).__name__} is on its loop", _CYCLE)
        return self._square(name, node.weight, size), np.asarray(getattr(node, "bias", 0.0), np.float64)

    @staticmethod
    def _square(name: str, weight: Any, size: tuple[int, ...]) -> np.ndarray:
        wide = np.asarray(weight, np.float64)
        if len(size) != 1 or wide.ndim > 2:
            raise ConversionError(
                name, "its recurrent weights are a convolution, or its samples no vectors", _CYCLE
            )
        return wide if wide.ndim == 2 else np.diag(np.broadcast_to(wide, size))

    def _input(self, name: str, size: int, sources: list[str]) -> tuple[np.ndarray, list[str]]:
        """Input weights of a recurrent cell: those of the layer before where it feeds only the cell, else ones."""
        step = next((s for s in self.steps if [s.name] == sources), None)
        if (
            step is not None
            and isinstance(step.module, nn.Linear)
            and step.module.bias is None
            and self._targets(step.name) == [name]
            and step.name not in self.source.shared.values()
        ):
            self.steps.remove(step)
            return step.module.weight.detach().double().numpy(), step.sources
        return np.eye(size), sources

    def _ends(self) -> list[list[str]]:
        """What is returned: for each output the nodes whose sum it is."""
        pairs = self.source.model.outputs
        if pairs is None:
            return [[s for s, _ in self.plan.sources[OUTPUT]]]
        if states := [f"{n}.{port}" for n, port in pairs if port != "out"]:
            raise ConversionError(
                states[0], "the model returns the state of a neuron beside its output",
                "Build its last neuron with output=False; Norse hands states on by themselves.",
            )  # fmt: skip
        return [[name] for name, _ in pairs]


class NorseNetwork(nn.Module):
    """One time step of a network of Norse cells that is no chain: ``out, state = net(x, state)``."""

    def __init__(self, steps: list[_Step], ends: list[list[str]]) -> None:
        super().__init__()
        self._order = [(step.name, self._place(step), step.sources) for step in steps]
        self._ends = ends

    def _place(self, step: _Step) -> str:
        """Keep a module under its node's name; the path of one that is kept already."""
        for path, module in self.named_modules():
            if module is step.module:
                return path
        place(self, step.name, step.module)
        return step.name

    def forward(self, x: torch.Tensor, state: dict[str, Any] | None = None) -> tuple[Any, dict[str, Any]]:
        """One step on ``[B, ...]``."""
        values, after = {INPUT: x}, {}
        for name, path, sources in self._order:
            module, total = self.get_submodule(path), self._sum(sources, values)
            if is_cell(module):
                values[name], after[name] = module(total, None if state is None else state[name])
            else:
                values[name] = module(total)
        found = tuple(self._sum(end, values) for end in self._ends)
        return found[0] if len(found) == 1 else found, after

    @staticmethod
    def _sum(sources: list[str], values: dict[str, torch.Tensor]) -> torch.Tensor:
        total = values[sources[0]]
        for source in sources[1:]:
            total = total + values[source]
        return total
