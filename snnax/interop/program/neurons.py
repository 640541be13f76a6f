"""A neuron of a program: one step of it, or all of them, with the parameters that it is given."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, replace
from typing import NamedTuple

import jax
import jax.numpy as jnp
import numpy as np

from snnax.interop.families.modules import Variables, module_from_spec
from snnax.interop.spec import NeuronSpec
from snnax.network.schedule import way_of
from snnax.network.settings import Settings
from snnax.neurons import SpikingNeuron

Array = jax.Array
States = dict[str, Array | None]


class Fired(NamedTuple):
    """What a neuron did, in one step or in all of them.

    Attributes:
        spk: what it emits.
        states: its states after the step, in the order of its framework.
        own: the spikes that it would have emitted, where others are dictated.
    """

    spk: Array
    states: tuple[Array, ...]
    own: Array


@dataclass(frozen=True, eq=False)
class ProgramNeuron:
    """The flax neuron of a spec, on arrays in torch's layout.

    Attributes:
        path: its name in the network.
        spec: numbers and words; numbers that a call hands in count instead.
    """

    path: str
    spec: NeuronSpec

    def step(
        self, x: Array, states: States, parameters: Mapping[str, Array], forced: Array | None = None
    ) -> Fired:
        """One step on ``x`` ``[B, ...]``; a state that is ``None`` is zeros."""
        turned = is_turned(self.spec, x.ndim)
        module, variables = self._module(x.ndim - 1, parameters, turned)
        hidden = {name: _last(state, turned) for name, state in states.items() if state is not None}
        given = {**variables, "hidden": hidden}
        if forced is not None:
            given["forced"] = {"spk": _last(forced, turned)}
        returned, updates = module.apply(given, _last(x, turned), mutable=["hidden", "record"])
        record = updates["record"]
        kept = tuple(_first(updates["hidden"][name], turned) for name in states)
        spk = returned[0] if isinstance(returned, tuple) else returned
        return Fired(_first(spk, turned), kept, _first(record.get("spk", spk), turned))

    def steps(
        self,
        x: Array,
        states: States,
        parameters: Mapping[str, Array],
        *,
        every: bool,
        image: bool,
        short: bool = False,
    ) -> tuple[Fired, tuple[Array, ...]]:
        """All steps of ``x`` ``[T, B, ...]`` from ``states``, each result with the axis of time; the last states.

        Args:
            x: the input of each step.
            states: before the first step.
            parameters: the same in all steps.
            every: return the states after each step; else none.
            image: what is beside it has the channels last.
            short: keep bfloat16 for the backward pass.
        """
        turned = is_turned(self.spec, x.ndim - 1) or image
        module, variables = self._module(x.ndim - 2, parameters, turned, output=every)
        hidden = {name: _last(state, turned) for name, state in states.items() if state is not None}
        given, settings = {**variables, "hidden": hidden}, Settings(("hidden",), (), short=short)
        currents = _last(x, turned, 2)
        returned, new = way_of(module, given, currents, {}, settings)(
            module, given, currents, {}, 0, settings
        )
        spk, *after = returned if isinstance(returned, tuple) else (returned,)
        spk = _first(spk, turned, 2)
        last = tuple(_first(new["hidden"][name], turned) for name in states)
        if not every:
            return Fired(spk, (), spk), last
        named = dict(zip([n for n in states if n != "spk"], after, strict=True))
        kept = tuple(spk if n == "spk" else _first(named[n], turned, 2) for n in states)
        return Fired(spk, kept, spk), last

    def _module(
        self, rank: int, parameters: Mapping[str, Array], turned: bool, output: bool = True
    ) -> tuple[SpikingNeuron, Variables]:
        """The neuron, and its variables with the numbers of this call; ``rank`` is that of one sample."""
        fixed = replace(self.spec, learn=()).with_options(output=output)
        module, variables = module_from_spec(self.path, fixed, rank)
        for name, value in parameters.items():
            if isinstance(value, np.ndarray) and np.array_equal(value, self.spec.values.get(name, ())):
                continue  # it is the module's own, and the compiler may know it
            path, array = self._home(name, value, rank, turned)
            home = variables.setdefault(collection_of(self.spec, name), {})
            for key in path[:-1]:
                home = home.setdefault(key, {})
            if path:
                home[path[-1]] = array
        return module, variables

    def _home(self, name: str, value: Array, rank: int, turned: bool) -> tuple[tuple[str, ...], Array]:
        """Where flax keeps one of torch's numbers, and as what; nowhere, if it is part of the spec."""
        path = home_of(self.spec, name)
        if path[-1:] == ("kernel",):
            return path, _kernel(value)
        alone = name in self.spec.values or name == "V"
        return path, _aligned(value, rank) if alone and turned and value.ndim else value


def home_of(spec: NeuronSpec, name: str) -> tuple[str, ...]:
    """Where flax keeps one of torch's numbers of a neuron; nowhere, if it is part of the spec."""
    if name in spec.family.weights:
        return tuple(spec.family.weights[name])
    recurrent = {"recurrent.weight": ("recurrent", "kernel"), "recurrent.bias": ("recurrent", "bias")}
    return recurrent.get(name, (name,) if name in spec.values or name == "V" else ())


def collection_of(spec: NeuronSpec, name: str) -> str:
    """In which collection that is."""
    return "params" if name in spec.family.weights else "buffers"


def is_turned(spec: NeuronSpec, ndim: int) -> bool:
    """Whether a neuron's axes are turned: of images, unless all neurons of a layer are alike."""
    arrays = [*spec.values.values(), *spec.recurrent.values(), *spec.weights.values()]
    return ndim > 2 and any(value.ndim for value in arrays)


def _kernel(weight: Array) -> Array:
    """``(O, I, ...) -> (..., I, O)``."""
    return jnp.moveaxis(weight, (0, 1), (-1, -2))


def _aligned(array: Array, rank: int) -> Array:
    """A parameter of samples ``C, H, W`` as one of samples ``H, W, C``, an axis for the batch before it or not."""
    full = array.reshape((1,) * (rank - array.ndim) + array.shape)
    return jnp.moveaxis(full, full.ndim - rank, -1)


def _last(array: Array, turned: bool, channels: int = 1) -> Array:
    """Torch's ``C, H, W`` as flax's ``H, W, C``."""
    return jnp.moveaxis(array, channels, -1) if turned else array


def _first(array: Array, turned: bool, channels: int = 1) -> Array:
    return jnp.moveaxis(array, -1, channels) if turned else array
