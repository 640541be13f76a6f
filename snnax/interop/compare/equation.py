"""A neuron layer's own step, taken again from recorded states, and how far rounding may carry it.

The step is that of the flax neuron itself, so every neuron is judged by the equation that it runs. In the layer's
own precision it runs operation by operation: nothing is fused, and a correct recording is met to the last bit. In
float64 its derivatives say how an error before the step becomes one after it.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass, field, fields, replace
from functools import partial
from itertools import pairwise
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np

from snnax.dynamics.equation import compared
from snnax.errors import ConversionError, SnnaxError
from snnax.interop.conventions import DT, per_neuron_first
from snnax.interop.families.modules import module_from_spec
from snnax.interop.families.nodes import spec_from_node
from snnax.interop.families.registry import find
from snnax.interop.nir import metadata
from snnax.interop.nir.graph import NEURONS, FlatGraph, loops
from snnax.interop.spec import NeuronSpec
from snnax.interop.trace import NodeTrace

Array = np.ndarray
States = Mapping[str, Array]
Values = dict[str, Any]

ROUNDINGS = 6.0
"""Rounding errors in one step on one side, each relative to the terms of the step: three operations, a state that is
stored and read, one within a reset, and one for a current recorded after a fused multiply-add."""

PARAMETER_ROUNDINGS = 3.0
"""Rounding errors in a parameter on one side: on its way through a file or another framework, and in what the step
computes from it before it meets a state, as a logarithm and a quotient."""

LEVEL = "level()"
"""Among states by name: what is compared with the threshold, where that is not a state. No state can be called so."""

BLOCK = 1 << 13
"""Neuron-steps of which derivatives are taken at a time, by one compiled program for all sizes of a layer."""


# --- Which neuron a layer is ----------------------------------------------------------------------


def spec_of(side: Any, graph: FlatGraph | None, name: str) -> NeuronSpec | None:
    """The neuron as its side tells (``side.spec(name)``), else as the graph tells, else ``None``."""
    ask = getattr(side, "spec", None)
    try:
        spec = ask(name) if callable(ask) else None
    except SnnaxError:
        spec = None
    node = next((n for n in (name, f"{name}.lif") if graph is not None and n in graph.nodes), None)
    if spec is None and graph is not None and node is not None:
        spec = _spec_of_node(node, graph)
    return spec if spec is not None and find(spec.kind) else None


def _spec_of_node(name: str, graph: FlatGraph) -> NeuronSpec | None:
    """What our metadata says, or NIR's own semantics where its neuron adds its input unscaled."""
    node = graph.nodes[name]
    known = metadata.read_spec(node, name)
    if known is not None or not isinstance(node, NEURONS) or name in loops(graph):
        return known
    try:
        spec, factor = spec_from_node(name, node, float(graph.content.get("dt", DT)))
    except ConversionError:
        return None
    return spec if factor is None else None


# --- One step -------------------------------------------------------------------------------------


@dataclass(frozen=True)
class Move:
    """A step.

    Attributes:
        states: states after it.
        spk: its spikes.
        charged: what was compared with the threshold: the membrane, or its level.
        raw: states before a quantizer and before a reset within the step.
    """

    states: dict[str, Array]
    spk: Array
    charged: Array
    raw: dict[str, Array]


@dataclass(frozen=True)
class _Step:
    """``(states, x, values) -> (states, spikes)`` of one neuron; hashable, so that it keys compiled programs.

    Attributes:
        module: the neuron; ``None`` for an unknown one, whose states add up all that they get.
        names: its states.
    """

    module: Any
    names: tuple[str, ...]

    def __call__(self, states: Mapping[str, Any], x: Any, values: Values) -> tuple[dict[str, Any], Any]:
        after: dict[str, Any] = {}
        if self.module is None:
            total = x
            for name in self.names:
                after[name] = total = states[name] + total
            return after, jnp.zeros_like(x)
        # "V" times a spike of 1 is the recurrent current itself, whatever weights it came from
        given = [states.get(name, jnp.ones_like(x)) for name in self.module.state_names]
        returned: Any = self.module.apply(values, x, *given)
        after = dict(zip(self.names, returned[1:], strict=True))
        if has_level(self.module):
            after[LEVEL] = self.level(after, x, values)
        return after, returned[0]

    def level(self, states: Mapping[str, Any], like: Any, values: Values) -> Any:
        """What of these states is compared with the threshold."""
        return compared(self.module.bind(values).equation(like), tuple(states[name] for name in self.names))


def has_level(module: Any) -> bool:
    """Whether a neuron compares something else than its last state with the threshold."""
    return getattr(module, "level", None) is not None


@dataclass(frozen=True)
class Equation:
    """The equation of a layer whose neurons do not mix, except by inhibition, which is left out of it.

    Attributes:
        names: its states.
        module: its neuron, in the form ``spk, *states = module(x, *states)``; ``None`` if it is not known.
        values: the variables of that, each one number or one that broadcasts from the right to a sample.
        threshold: above which it fires.
        levels: of its quantizer, if it has one.
    """

    names: tuple[str, ...]
    module: Any = None
    values: Values = field(default_factory=dict)
    threshold: Array | None = None
    levels: tuple[float, ...] | None = None

    @classmethod
    def of(cls, spec: NeuronSpec) -> Equation:
        """The equation of a spec."""
        values = {name: np.asarray(v) for name, v in spec.values.items() if name in spec.family.values}
        template = {name: np.asarray(_TEMPLATE.get(name, _ELSE)) for name in values}
        if spec.family.own:  # which may not take every number
            defaults = {name: getattr(spec.family.module, name, None) for name in values}
            template = {
                name: np.asarray(default) if isinstance(default, int | float) else values[name].ravel()[0]
                for name, default in defaults.items()
                if name != "v_reset"
            }
        bare = replace(
            spec,
            values=template,
            learn=(),
            options={**spec.options, "surrogate_disable": True},
            surrogate=None,
            recurrent={"V": np.asarray(_ELSE)},
            axes={},
        )
        module = _stepwise(module_from_spec("", bare, 1)[0])
        return cls(spec.states, module, {"buffers": values}, values["threshold"], spec.quantizer)

    @classmethod
    def applies(cls, spec: NeuronSpec) -> bool:
        """Whether a layer has one: its neurons do not mix, and have no weights but recurrent ones."""
        if not spec.family.own:
            return spec.family.simulated
        try:
            return not cls.of(spec)._mixes()
        except (SnnaxError, ValueError, TypeError):
            return False

    @classmethod
    def of_module(cls, module: Any, variables: Values, shape: tuple[int, ...]) -> Equation | None:
        """The equation of a flax neuron of the user's own; ``None`` if its neurons mix, or it does not run alone.

        Args:
            module: the neuron.
            variables: its variables; images channels last.
            shape: of one sample, channels first.
        """
        module, rank = _stepwise(module), len(shape)
        try:
            values = {
                kind: {k: per_neuron_first(v, rank) for k, v in variables.get(kind, {}).items()}
                for kind in ("params", "buffers")
            }
            for value in jax.tree.leaves(values):
                np.broadcast_to(value, shape)
            own = {**values["buffers"], **values["params"]}.get(
                "threshold", getattr(module, "threshold", None)
            )
            found = cls(tuple(module.state_names), module, values, np.asarray(own, np.float64))
            mixes = found._mixes()
        except (SnnaxError, ValueError, TypeError, AttributeError, IndexError):
            return None
        return None if mixes or own is None else found

    def _mixes(self) -> bool:
        """Whether a change of one neuron moves another, inhibition aside."""
        half, one = jnp.full(4, 0.5), jnp.eye(4)[0]
        point = {**dict.fromkeys(self.names, half), "": half}
        single = jax.tree.map(lambda v: jnp.ravel(v)[0], self.values)

        def after(given: dict[str, jax.Array]) -> dict[str, jax.Array]:
            return self._but()(given, given[""], single)[0]

        moved = (jax.jvp(lambda v, k=k: after({**point, k: v}), (half,), (one,))[1] for k in point)
        return any(bool(jnp.any(v[1:] != 0)) for states in moved for v in states.values())

    @property
    def known(self) -> bool:
        """Whether the neuron is known."""
        return self.module is not None

    @property
    def membrane(self) -> str:
        """The state that is compared with the threshold; :data:`LEVEL` where none is."""
        if has_level(self.module):
            return LEVEL
        return self.names[-1] if self.names else "mem"

    @property
    def bounded(self) -> tuple[str, ...]:
        """What has a bound: the states, and the level if there is one."""
        return (*self.names, LEVEL) if has_level(self.module) else self.names

    def levelled(self, trace: NodeTrace) -> NodeTrace:
        """A recording with the level of its states, where it has all of these."""
        if not has_level(self.module) or not set(self.names) <= set(trace.states):
            return trace
        before = trace.before()
        found = [self.level_of(states) for states in (trace.states, before)]
        return replace(
            trace, states={**trace.states, LEVEL: found[0]}, starts={**trace.starts, LEVEL: found[1]}
        )

    def level_of(self, states: States) -> Array:
        """What of some states is compared with the threshold, of a neuron that has a level."""
        shape, dtype = states[self.names[-1]].shape, states[self.names[-1]].dtype
        values = self._values(dtype, shape)
        padded = {name: _padded(states[name], shape, dtype) for name in self.names}
        with _double():
            given = jax.tree.map(jnp.asarray, (padded, padded[self.names[-1]], values))
            return np.asarray(self._but().level(*given))[: int(np.prod(shape))].reshape(shape)

    @property
    def delayed(self) -> bool:
        """Whether a reset waits for the step after the spike."""
        return bool(getattr(self.module, "reset_delay", True))

    @property
    def inhibition(self) -> bool:
        """Whether only one neuron of each sample may fire."""
        return bool(getattr(self.module, "inhibition", False))

    @property
    def resets(self) -> bool:
        """Whether a spike changes what comes after it."""
        return getattr(self.module, "reset_mechanism", "subtract") != "none"

    def limit(self, dtype: np.dtype) -> Array:
        """The threshold as a layer of that precision holds it."""
        return np.asarray(self.threshold).astype(dtype).astype(np.float64)

    def _but(self, **changes: Any) -> _Step:
        """The step with some arguments of the neuron changed, those that its class has; without inhibition."""
        if self.module is None:
            return _Step(None, self.names)
        if "reset_mechanism" in changes:
            # which another reset than to a value does not take
            learn = tuple(name for name in getattr(self.module, "learn", ()) if name != "v_reset")
            changes.update(v_reset=getattr(type(self.module), "v_reset", None), learn=learn)
        known = {f.name for f in fields(self.module)}
        changes = {k: v for k, v in {"inhibition": False, **changes}.items() if k in known}
        return _Step(self.module.clone(**changes), self.names)

    def step(self, states: States, current: Array, feedback: Array | None = None) -> Move:
        """Advance the states ``[..., N]`` by one step, in their precision; leading axes are independent.

        Args:
            states: states before the step, by name.
            current: input current.
            feedback: recurrent current.
        """
        shape, size, dtype = current.shape, current.size, current.dtype
        values = self._values(dtype, shape, feedback)
        padded = {name: _padded(states[name], shape, dtype) for name in self.names}
        x = _padded(current, shape, dtype)

        def advance(**changes: Any) -> dict[str, Array]:
            after, spk = self._but(**changes)(*jax.tree.map(jnp.asarray, (padded, x, values)))
            return {k: np.asarray(v)[:size].reshape(shape) for k, v in {**after, "spk": spk}.items()}

        with _double():
            moved = advance()
            charged = moved if self.delayed else advance(reset_delay=True)
            raw = charged if self.levels is None else advance(reset_delay=True, state_quant=False)
        return Move({k: moved[k] for k in self.names}, moved["spk"], charged[self.membrane], raw)

    def bounds(
        self, u: float, states: States, x: Array, gaps: States, sizes: States, gap: Array, size: Array
    ) -> dict[str, Array]:
        r"""Largest difference of each state after one step that two sides computed correctly.

        With :math:`f` the step, :math:`f_0` the step without its reset, :math:`J` the derivatives of :math:`f_0` at the
        states and the current before it, :math:`d` the differences of these, and :math:`c` = :data:`ROUNDINGS`,

        .. math:: d'_k &\le \sum_i \hat J_{ki}\, d_i + c\,u\,\Big(r_k + \sum_{j \ne k} |J_{kj}/J_{jj}|\, r_j\Big) \\
            r_k &= \max\Big(|f_k|,\; |f_0(0)|_k + |s_k| + \sum_{i \ne k} |J_{ki}|\, |s_i|
            + \tfrac{c_p}{c}\sum_p |J_{kp}\, p| + |f - f_0|_k\Big)

        where i goes over states and current, j over the states, p over the parameters
        (:math:`c_p` = :data:`PARAMETER_ROUNDINGS`), and :math:`s` are absolute values, the larger one of the two sides.
        :math:`\hat J` is the largest absolute derivative of the step without its reset, with its reset delayed, and as
        it is. The parts of :math:`r`, the sum of what is rounded in a step:

        * :math:`f_0(0)`: what the step adds whatever its states and input are, as a leak to a potential at rest;
        * :math:`s_k`: a state counts as a whole, not by what its decay leaves of it, since a decay may be computed as a
          leak, ``s - leak * s``;
        * :math:`f - f_0`: what a reset takes away is rounded as well; where the neuron resets within the step,
          the absolute difference to the step with a delayed reset is added to that of the delayed one to none;
        * the maximum with :math:`f_k`, since a spike may add to a state what is in none of these terms;
        * :math:`r_j`, for a state that is computed from another new state j (whose share in k is
          :math:`J_{kj}/J_{jj}`): of Alpha's membrane the current cancels out, but not the rounding errors that it makes
          in the two states whose difference the membrane is.

        Args:
            u: sum of the unit roundoffs of both sides.
            states: where the derivatives are taken.
            x: the current there.
            gaps: difference of each state before the step.
            sizes: absolute value of each state before the step.
            gap: difference of the currents.
            size: absolute value of the current.
        """
        carried, rounded, _ = self._errors(states, x, gaps, sizes, gap, size)
        return {name: carried[name] + ROUNDINGS * u * rounded[name] for name in self.bounded}

    def bounds_along(self, u: float, known: States, gap: Array, size: Array) -> dict[str, Array]:
        """The same carried on from step to step, ``[T, ...]``, where the states of one side were not recorded.

        Args:
            u: sum of the unit roundoffs of both sides.
            known: absolute values of the states that one side recorded; the others are as large as they could be
                if the neuron were never reset.
            gap: difference of the currents.
            size: absolute value of the current.
        """
        zero = np.zeros_like(size[0])
        gaps, sizes = dict.fromkeys(self.names, zero), dict.fromkeys(self.names, zero)
        rows: dict[str, list[Array]] = {name: [] for name in self.bounded}
        above = np.abs(self.limit(zero.dtype)) if self.known else 0.0
        for t in range(len(size)):
            # above threshold, where a reset passes on errors as well
            point = {**sizes, self.names[-1]: sizes[self.names[-1]] + above}
            carried, rounded, grown = self._errors(point, size[t], gaps, sizes, gap[t], size[t])
            ends = {name: carried[name] + ROUNDINGS * u * rounded[name] for name in self.bounded}
            for name, row in rows.items():
                row.append(ends[name])
            gaps = {name: ends[name] for name in self.names}
            sizes = {name: known[name][t] if name in known else grown[name] for name in self.names}
        return {name: np.stack(values) for name, values in rows.items()}

    def slopes(
        self, states: States, x: Array, feedback: Array | None = None, *, resets: bool
    ) -> tuple[dict[str, Array], dict[str, dict[str, Array]]]:
        """States after one step in float64, and their derivatives with respect to each number, and ``""``: the current.

        Args:
            states: states before the step.
            x: input current.
            feedback: recurrent current.
            resets: with the neuron's reset, or without any.
        """
        step = self._but(**({} if resets else {"reset_mechanism": "none"}), state_quant=False)
        found: tuple[dict[str, Array], dict[str, dict[str, Array]]]
        found = self._in_blocks(partial(_derivatives, step), ({**states, "": x},), x.shape, feedback)
        return found

    def _errors(
        self, states: States, x: Array, gaps: States, sizes: States, gap: Array, size: Array
    ) -> tuple[dict[str, Array], ...]:
        resets: tuple[dict[str, Any], ...] = ({"reset_mechanism": "none"}, {"reset_delay": True}, {})
        steps = tuple(dict.fromkeys(self._but(**reset, state_quant=False) for reset in resets))
        given = ({**states, "": x}, {**gaps, "": gap}, {**sizes, "": size})
        found: tuple[dict[str, Array], ...] = self._in_blocks(partial(_propagate, steps), given, x.shape)
        return found

    def _in_blocks(
        self,
        function: Any,
        inputs: tuple[States, ...],
        shape: tuple[int, ...],
        feedback: Array | None = None,
    ) -> Any:
        """``function(*inputs, values)`` in float64, a block of neuron-steps at a time."""
        wide, parts = np.dtype(np.float64), []
        padded = [{k: _padded(v, shape, wide) for k, v in each.items() if k != LEVEL} for each in inputs]
        flat, count = (*padded, self._values(wide, shape, feedback)), int(np.prod(shape))
        with _double():
            for i in range(0, count, BLOCK):
                block = jax.tree.map(lambda v, i=i: v[i : i + BLOCK] if v.ndim else v, flat)
                parts.append(jax.tree.map(np.asarray, function(*block)))
        return jax.tree.map(lambda *each: np.concatenate(each)[:count].reshape(shape), *parts)

    def _values(self, dtype: np.dtype, shape: tuple[int, ...], feedback: Array | None = None) -> Values:
        def number(value: Array) -> Array:
            return value.astype(dtype) if value.ndim == 0 else _padded(value, shape, dtype)

        values = jax.tree.map(number, self.values)
        if "spk" in getattr(self.module, "state_names", ()):
            values["buffers"]["V"] = number(np.zeros(()) if feedback is None else feedback)
        return values


_TEMPLATE = {"alpha": 0.5}
_ELSE = 0.25
"""Numbers that every neuron takes. The real ones are buffers, so that one compiled program serves all layers."""


def _stepwise(module: Any) -> Any:
    """A neuron that takes and returns its states."""
    changes = {"init_hidden": False, "output": False, "surrogate_disable": True}
    return module.clone(**{k: v for k, v in changes.items() if hasattr(module, k)}, parent=None)


@contextmanager
def _double() -> Iterator[None]:
    """Double precision, and the CPU, which does as it is told."""
    with jax.enable_x64(True), jax.default_device(jax.devices("cpu")[0]):
        yield


@partial(jax.jit, static_argnums=0)
def _propagate(
    steps: tuple[_Step, ...], point: Any, gaps: Any, sizes: Any, values: Any
) -> tuple[dict[str, jax.Array], ...]:
    """Of each state after a step: how far it is off by what was off before, what is rounded, and its largest size.

    The current is among the states under the name ``""``. The sum of what is rounded is :math:`r` of
    :meth:`Equation.bounds`; the largest size is without reset, with every term counted by its absolute value.

    Args:
        steps: the step without reset, and, where they are others, with its reset delayed and as it is.
        point: states and current.
        gaps: how far each is off.
        sizes: absolute value of each.
        values: parameters.
    """
    free = steps[0]

    def after(step: _Step, point: Any, values: Any) -> dict[str, jax.Array]:
        return step({k: v for k, v in point.items() if k}, point[""], values)[0]

    def slope(step: _Step, name: str) -> dict[str, jax.Array]:
        """Derivative with respect to an input, elementwise: the neurons do not mix."""
        one = jnp.ones_like(point[name])
        moved = jax.jvp(lambda v: after(step, {**point, name: v}, values), (point[name],), (one,))[1]
        return jax.tree.map(jnp.abs, moved)

    def add(total: Any, part: Any) -> Any:
        return jax.tree.map(lambda t, p: t + jnp.abs(p), total, part)

    moved = [after(step, point, values) for step in steps]
    grown = add(
        jax.tree.map(jnp.zeros_like, moved[0]), after(free, jax.tree.map(jnp.zeros_like, point), values)
    )
    rounded = grown
    for fewer, more in pairwise(moved):
        rounded = add(rounded, jax.tree.map(jnp.subtract, more, fewer))
    carried = jax.tree.map(jnp.zeros_like, grown)
    decays: dict[str, Any] = {}
    for name in point:
        unreset, *reset = (slope(step, name) for step in steps)
        decays[name] = unreset
        largest = jax.tree.map(lambda *v: jnp.stack(v).max(0), unreset, *reset)
        carried = add(carried, {k: v * gaps[name] for k, v in largest.items()})
        grown = add(grown, {k: v * sizes[name] for k, v in unreset.items()})
        rounded = add(rounded, {k: (1.0 if k == name else v) * sizes[name] for k, v in unreset.items()})
    leaves, tree = jax.tree.flatten(values)
    for i, value in enumerate(leaves):

        def of_value(v: Any, i: int = i) -> dict[str, jax.Array]:
            return after(free, point, jax.tree.unflatten(tree, [*leaves[:i], v, *leaves[i + 1 :]]))

        part = jax.jvp(of_value, (value,), (value,))[1]
        rounded = add(rounded, {k: PARAMETER_ROUNDINGS / ROUNDINGS * v for k, v in part.items()})
    # what a spike adds to a state that is not reset, as an adaptation, is in no term yet
    rounded = jax.tree.map(
        lambda total, *v: jnp.maximum(total, jnp.abs(jnp.stack(v)).max(0)), rounded, *moved
    )
    passed = jax.tree.map(jnp.zeros_like, rounded)
    for name in (n for n in rounded if n in decays):
        # what another state is computed from in the same step, as if it had been rounded before the step
        share = {k: jnp.where(v > 0, w / v, 0) for k, w in decays[name].items() for v in [decays[name][name]]}
        passed = {k: v + (share[k] * rounded[name] if k != name else 0) for k, v in passed.items()}
    return carried, add(rounded, passed), grown


@partial(jax.jit, static_argnums=0)
def _derivatives(step: _Step, point: Any, values: Any) -> tuple[dict[str, Any], dict[str, dict[str, Any]]]:
    """States after a step, and what each number that a neuron was built with, and the current, changes in them."""
    states = {k: v for k, v in point.items() if k}

    def after(x: Any, numbers: Any) -> dict[str, jax.Array]:
        return step(states, x, {**values, "buffers": numbers})[0]

    given = (point[""], values["buffers"])
    still = jax.tree.map(jnp.zeros_like, given)
    moves = {k: (still[0], {**still[1], k: jnp.ones_like(v)}) for k, v in given[1].items()}
    moves[""] = (jnp.ones_like(given[0]), still[1])
    return after(*given), {k: jax.jvp(after, given, tangents)[1] for k, tangents in moves.items()}


def _padded(values: Array, shape: tuple[int, ...], dtype: np.dtype) -> Array:
    """``values`` broadcast to ``shape``, flat, filled up with ones to a length that many sizes share.

    So that few programs are compiled.
    """
    size, length = int(np.prod(shape)), BLOCK
    while length < size:
        length *= 4
    whole = np.ones(length, dtype)
    whole[:size] = np.broadcast_to(values, shape).ravel()
    return whole


def quantized(levels: tuple[float, ...] | None, values: Array) -> Array:
    """``values`` on the levels of a quantizer, if there is one."""
    if levels is None:
        return values
    ordered = np.sort(np.asarray(levels, values.dtype))
    return ordered[np.searchsorted((ordered[1:] + ordered[:-1]) / 2, values)]
