"""How the neurons of a program are written in source: modules of snnax, and their calls."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Any

import numpy as np

from snnax.interop.expressions import Expression, Writer
from snnax.interop.families.modules import module_from_spec
from snnax.interop.program.module import is_held
from snnax.interop.program.neurons import collection_of, home_of, is_turned
from snnax.interop.program.nodes import NEURON, Input, Leaf, Program, flat
from snnax.interop.program.operators.forms import ATOM, Text, call
from snnax.interop.spec import NeuronSpec


@dataclass(frozen=True)
class NeuronCall:
    """One neuron in source.

    Attributes:
        name: of the attribute that it is.
        module: the call that makes it.
        bound: it is a part of the module, with its learned numbers; else it is given all its numbers in each call.
        spec: numbers and words.
        turned: its images are channels last.
        fixed: names of its numbers that are arguments of ``module``.
    """

    name: str
    module: Expression
    bound: bool
    spec: NeuronSpec
    turned: bool
    fixed: frozenset[str]

    def call(self, x: Text, states: Sequence[Text | None], given: Mapping[str, Any]) -> Text:
        """A call, which returns spikes and states."""
        values = [self._last(x), *(None if state is None else self._last(state) for state in states)]
        while values[-1] is None:
            values.pop()
        if self.bound:
            return call(f"self.{self.name}", *values)
        trees: dict[str, dict[str, Any]] = {}
        for name, value in given.items():
            path = home_of(self.spec, name)
            if name in self.fixed or not path:
                continue
            tree = trees.setdefault(collection_of(self.spec, name), {})
            for key in path[:-1]:
                tree = tree.setdefault(key, {})
            tree[path[-1]] = self._number(value, path[-1])
        return call(f"{self.name}.apply", _shown(trees), *values)

    def _last(self, x: Text) -> str:
        return str(call("jnp.moveaxis", x, 1, -1)) if self.turned and x.ndim > 1 else str(x)

    def _number(self, value: Any, leaf: str) -> str:
        """A number of torch's as flax has it."""
        if not isinstance(value, Text):
            return repr(value)
        if leaf == "kernel":
            return str(call("jnp.moveaxis", value, (0, 1), (-1, -2)))
        if self.turned and value.ndim:
            return (
                f"jnp.moveaxis({value.within(ATOM)}, {value.ndim - 3}, -1)" if value.ndim >= 3 else str(value)
            )
        return str(value)


def _shown(tree: Any) -> str:
    if isinstance(tree, dict):
        return "{" + ", ".join(f'"{key}": {_shown(part)}' for key, part in tree.items()) + "}"
    return str(tree)


def neuron_calls(
    program: Program,
    values: Mapping[str, np.ndarray],
    settings: frozenset[str],
    new_name: Any,
    writer: Writer,
) -> dict[str, NeuronCall]:
    """The neurons of a program, by path.

    Args:
        program: the program.
        values: the present arrays of its parameters and buffers, by name.
        settings: names of those that are arguments of neurons and none of the variables.
        new_name: makes an identifier of a wish.
        writer: writes the modules.
    """
    found: dict[str, NeuronCall] = {}
    read_elsewhere = _read_elsewhere(program)
    for path, spec in program.neurons.items():
        nodes = [node for node in program.nodes() if node.op == NEURON and node.path == path]
        if not nodes:
            continue
        own = _own(path, spec, program.inputs)
        read = [_names(node.args[2], program.inputs) for node in nodes]
        places = {name: f"{path}.{name}" for name in spec.values}
        fixed = frozenset(
            name
            for name, place in places.items()
            if place in settings and all(names.get(name) == place for names in read)
        )
        apart = path.isidentifier() and not {known.name for known in own.values()} & read_elsewhere
        bound = (apart or set(own) <= fixed) and all(_is_own(path, n, own, fixed, spec) for n in read)
        single = {
            name: np.asarray(
                values.get(places[name], value) if name in fixed or bound else value.reshape(-1)[0]
            )
            for name, value in spec.values.items()
        }
        shown = replace(spec, values=single, learn=spec.learn if bound else ()).with_options(output=False)
        module, _ = module_from_spec(path, shown, 1)
        made = writer.new(path, module.clone(init_hidden=False))
        name = path if bound and path.isidentifier() else new_name(path if bound else f"{path}_neuron")
        turned = is_turned(spec, len(nodes[0].results[0].shape))
        found[path] = NeuronCall(name, made, bound, spec, turned, fixed)
    return found


def _own(path: str, spec: NeuronSpec, inputs: Sequence[Input]) -> dict[str, Input]:
    """The arrays that a neuron holds, by their names in it."""
    held = [known for known in inputs if is_held(known) and known.name.startswith(f"{path}.")]
    named = {known.name.removeprefix(f"{path}."): known for known in held}
    return {name: known for name, known in named.items() if home_of(spec, name)}


def _read_elsewhere(program: Program) -> set[str]:
    """Names of inputs that not only neurons take as their numbers."""
    entries = [program.outputs, program.updates]
    entries += [(node.args[:2] if node.op == NEURON else node.args, node.kwargs) for node in program.nodes()]
    for loop in program.loops:
        entries += [loop.sequences, [(h.init, h.new) for h in loop.carries], [k.value for k in loop.kept]]
    return {program.inputs[entry.index].name for entry in flat(entries) if isinstance(entry, Leaf)}


def _names(parameters: Mapping[str, Any], inputs: Sequence[Input]) -> dict[str, str]:
    """What a neuron's numbers are called that are inputs of the program; others have no name."""
    pairs = parameters.items()
    return {
        key: inputs[source.index].name if isinstance(source, Leaf) else ""
        for key, source in pairs
        if source is not None
    }


def _is_own(
    path: str, names: Mapping[str, str], own: Mapping[str, Input], fixed: frozenset[str], spec: NeuronSpec
) -> bool:
    """Whether a call takes the neuron's own numbers, which a module of snnax has under the same names."""
    if spec.weights or spec.recurrent or any(np.ndim(value) for value in spec.values.values()):
        return False
    for key, name in names.items():
        if key in fixed or not home_of(spec, key):
            continue
        if name != f"{path}.{key}" or own[key].trained != (key in spec.learn) or own[key].result.shape:
            return False
    return all(key in names for key in own)
