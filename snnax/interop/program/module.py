"""A program as a linen module: torch's weights under torch's names, and the call of ``forward``."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass, field, replace
from functools import cached_property
from typing import Any

import flax.linen as nn
import jax
import jax.numpy as jnp
import numpy as np
from flax.traverse_util import unflatten_dict

from snnax.errors import ArgumentError, ConversionError, ShapeError, StateError
from snnax.interop.layers.entries import Entry, Layer, entries_of, find, plain
from snnax.interop.numbers import on_device
from snnax.interop.program.depending import changed
from snnax.interop.program.lengths import longer
from snnax.interop.program.nodes import NEURON, Affine, Input, Leaf, Program, flat, mapped
from snnax.interop.program.repeating import is_step, repeated
from snnax.interop.program.running import guarded, run
from snnax.interop.program.told import joined, told
from snnax.network.chunks import is_open
from snnax.network.keeping import DEFAULT, Saving
from snnax.network.whole import WholeNetwork

Variables = dict[str, Any]
_STREAMS = ("draws", "dropout")
"""Names of the random stream, the first that is given is taken: the second one is what flax and ``fit`` call theirs."""


@dataclass(frozen=True, eq=False)
class Held:
    """A program as a field of a module: two are equal if they are the same object."""

    program: Program
    _longer: dict[int, Held] = field(default_factory=dict, repr=False)
    _lengths: dict[int, Program] = field(default_factory=dict, repr=False)

    def repeated(self, steps: int) -> Held:
        """So many calls of it; the same object each time, since a compiled run is found by it."""
        if steps not in self._longer:
            self._longer[steps] = Held(repeated(self.program, steps))
        return self._longer[steps]

    def with_steps(self, steps: int) -> Program:
        """The program for another number of steps of time; the same object each time.

        Raises:
            ArgumentError: there must be more of them.
        """
        if steps not in self._lengths:
            self._lengths[steps] = longer(self.program, steps)
        return self._lengths[steps]

    @cached_property
    def settings(self) -> frozenset[str]:
        """Inputs that are arguments of the module and none of its variables, unless given another value there.

        They are the single numbers of neurons that are not learned, as in every other network: a compiled step is
        faster if it knows them.
        """
        numbers: set[Any] = set()
        elsewhere: list[Any] = [self.program.outputs, self.program.updates]
        for node in self.program.nodes():
            numbers.update(flat(node.args[2]) if node.op == NEURON else ())
            elsewhere.append((node.args[:2] if node.op == NEURON else node.args, node.kwargs))
        for loop in self.program.loops:
            elsewhere += [
                loop.sequences,
                [(h.init, h.new) for h in loop.carries],
                [k.value for k in loop.kept],
            ]
        others = set(flat(elsewhere))
        inputs = [(Leaf(place), known) for place, known in enumerate(self.program.inputs)]
        names = {
            known.name
            for leaf, known in inputs
            if leaf in numbers - others and is_held(known) and not known.trained and not known.result.shape
        }
        return frozenset(names - set(self.program.updates))

    @cached_property
    def changed(self) -> dict[str, str]:
        """The collection of each parameter and buffer that a call changes for the next one."""
        kinds = {known.name: known for known in self.program.inputs}
        return {name: collection_of(kinds[name]) for name in sorted(changed(self.program))}

    def __repr__(self) -> str:
        """Without its operations, which are many."""
        return f"<program of {sum(1 for _ in self.program.nodes())} operations>"


class PortedProgram(WholeNetwork):
    r"""A torch network that does more than one step: what its ``forward`` does before, in and after its loop over time.

    .. math:: y = \mathrm{after}(\mathrm{step}(\mathrm{before}(x)_t, s_t)_{t = 1 \ldots T})

    It is called as ``forward`` is, and returns what that returns, arrays in torch's layout in its tuples, lists and
    dicts. Its loops over time are compiled as scans; layers in them run for all steps at once where they can.
    :func:`~snnax.unroll` of it is one call.

    The variables have the names and the layout of torch's ``state_dict``: ``params["fc"]["weight"]`` is ``[out, in]``;
    ``params`` what is trained, ``buffers`` what is not.

    Attributes:
        held: the program, as :func:`~snnax.interop.from_snntorch` traced it.
        saving: chunks of its loops, and what their gradients keep; :func:`~snnax.unroll` sets them.

    Raises:
        ArgumentError: in a call, for other arguments than ``forward``'s, and for a network that draws random numbers
            without ``rngs={"draws": key}`` (or ``"dropout"``).
        ShapeError: in a call, for an input that does not fit the one that was traced, but for the size of its batch
            and, unless something in the network depends on it, the number of its time steps.

    Compared with :class:`~snnax.Graph`: NIR has nodes for the step of its loop alone, see
    :func:`~snnax.interop.to_nir`.
    """

    held: Held
    saving: Saving = DEFAULT

    @property
    def program(self) -> Program:
        """The operations."""
        return self.held.program

    @property
    def steps(self) -> tuple[int, ...]:
        """The lengths of its loops over time."""
        return tuple(dict.fromkeys(loop.steps for loop in self.program.loops))

    @nn.nowrap
    def _takes_trees(self) -> bool:
        """Whether the first argument is a dictionary, list or tuple."""
        args, _ = self.program.arguments
        return bool(args) and isinstance(args[0], dict | list | tuple)

    @property
    def batch_axis(self) -> int:
        """The axis of the samples in the first argument; that of a step comes after the axis of time."""
        return (self.program.batch[0][1] if self.program.batch else 0) + is_step(self.program)

    @nn.compact
    def __call__(self, *args: Any, **kwargs: Any) -> Any:
        """What ``forward`` returns for these arguments."""
        leaves, program = self._leaves(args, kwargs)
        forced = self._forced()
        recording = not self.is_initializing() and self.is_mutable_collection("record")
        stream = next((name for name in _STREAMS if self.has_rng(name)), None)
        key = None if stream is None else self.make_rng(stream)
        drawn = self.variables.get("drawn")
        if self.has_variable("told", "of") and not self.is_initializing():
            return self._told(program, leaves, key, forced, drawn)
        apart = self.has_variable("apart", "steps")
        ran = run(
            program, leaves, key=key, record=recording, forced=forced, drawn=drawn, apart=apart, saving=self.saving
        )  # fmt: skip
        for name, known in ran.recorded.items() if recording else ():
            value = {"input": known.input, **known.states, "spk": known.spk}
            self.sow(
                "record", name.replace(".", "/"), value, reduce_fn=lambda _, new: new, init_fn=lambda: None
            )
            if known.starts and self.is_mutable_collection("starts"):
                self.put_variable("starts", name.replace(".", "/"), known.starts)
        self._store(ran.updates)
        return ran.outputs

    @nn.nowrap
    def _told(
        self,
        program: Program,
        leaves: list[Any],
        key: Any,
        forced: Mapping[str, Any],
        drawn: Mapping[str, Any] | None,
    ) -> dict[str, dict[str, Any]]:
        """What its other operations make of what neurons are told that they did, see :mod:`.told`."""
        given: Mapping[str, Mapping[str, Any]] = self.variables["told"]["of"]
        # the program for other numbers of steps may name fewer inputs than there are leaves
        rest = told(replace(program, inputs=self.program.inputs), given)
        ran = run(rest.program, [*leaves, *rest.leaves(given)], key=key, forced=forced, drawn=drawn)
        return joined(ran.outputs, given)

    @property
    def carried(self) -> tuple[str, ...]:
        """Where the call changes parameters or buffers."""
        return tuple(sorted(set(self.held.changed.values())))

    @property
    def in_training(self) -> tuple[str, ...]:
        """Layers that were ported in training mode."""
        return self.program.training

    @nn.nowrap
    def over_time(self, steps: int) -> WholeNetwork:
        """The network that runs ``steps`` calls of this one, if a call is one step."""
        if not is_step(self.program):
            return self
        _check_known(steps)
        return self.clone(held=self.held.repeated(steps))

    @nn.nowrap
    def with_saving(self, saving: Saving) -> WholeNetwork:
        """The network whose loops have these chunks, and gradients that keep no more than this."""
        return self.clone(saving=saving)

    @nn.nowrap
    def _store(self, updates: Mapping[str, Any]) -> None:
        """Keep what the call changed for the next one, in the collections that are mutable."""
        trees: dict[str, Variables] = {}
        kinds = {known.name: known for known in self.program.inputs}
        for name, value in updates.items():
            known = kinds.get(name)
            collection = "hidden" if known is None or known.kind == "state" else collection_of(known)
            if self.is_initializing():
                continue
            if self.is_mutable_collection(collection):
                trees.setdefault(collection, {})[name] = value
            elif name in self.held.changed:
                raise StateError(
                    f"a call changes {name!r} of {collection!r}, from which the next one goes on, and that "
                    f"collection is not mutable in this call. Pass mutable=[{collection!r}], and carry on what comes "
                    "back: outputs, updates = snnax.unroll(net, variables, x, mutable=...); variables = {**variables, "
                    "**updates}."
                )
        for collection, tree in trees.items():
            before = dict(self.variables.get(collection, {}))
            for name, value in unflatten_dict(tree, sep=".").items():
                self.put_variable(collection, name, _merged(before.get(name, {}), value))

    @nn.nowrap
    def _leaves(self, args: tuple[Any, ...], kwargs: Mapping[str, Any]) -> tuple[list[Any], Program]:
        """An array for each input of the program, and the program for as many steps of time as they have."""
        given, program = given_to(self.held, args, kwargs, jnp.asarray)
        homes = {
            "params": _tree(self.held, trained=True),
            "buffers": _tree(self.held, trained=False),
        }
        trees = {
            collection: {name: self._variable(collection, name, value) for name, value in tree.items()}
            for collection, tree in homes.items()
        }
        leaves: list[Any] = []
        for index, known in enumerate(self.program.inputs):
            if known.kind == "argument":
                leaves.append(given[index])
            elif known.kind == "state":
                leaves.append(_maybe(self.variables.get("hidden", {}), known.name))
            elif known.kind == "constant" and not known.name:
                leaves.append(jnp.asarray(known.value))
            elif known.name in self.held.settings:
                given_here = _maybe(self.variables.get("buffers", {}), known.name)
                leaves.append(known.value if given_here is None else given_here)
            else:
                leaves.append(self._trained(known, _found(trees[collection_of(known)], known.name)))
        return leaves, program

    @nn.nowrap
    def _trained(self, known: Input, value: Any) -> Any:
        """A parameter or buffer, which may have no known gradient."""
        refusal = past_autograd(self.program, known)
        return value if refusal is None else guarded(value, refusal)

    @nn.nowrap
    def _variable(self, collection: str, name: str, value: Any) -> Any:
        if collection == "params":
            return self.param(name, lambda _: jax.tree.map(jnp.asarray, value))
        if not self.has_variable(collection, name) and not self.is_initializing():
            raise ArgumentError(
                f"the fixed arrays of {name!r} are not among the variables, which hold them in the collection "
                "'buffers'. Pass all that from_snntorch or training returned: {**variables, 'params': params}."
            )
        return self.variable(collection, name, lambda: jax.tree.map(jnp.asarray, value)).value

    @nn.nowrap
    def _forced(self) -> dict[str, jax.Array]:
        forced = self.variables.get("forced", {})
        return {name.replace("/", "."): jnp.asarray(value["spk"]) for name, value in forced.items()}


def given_to(
    held: Held, args: tuple[Any, ...], kwargs: Mapping[str, Any], as_array: Callable[[Any], Any]
) -> tuple[dict[int, Any], Program]:
    """The arrays given for the argument leaves, and the program for as many steps of time as they have.

    Args:
        held: the program.
        args: arguments of a call, by position.
        kwargs: by name.
        as_array: makes an array of what is given for one.

    Raises:
        ArgumentError: for arguments of another form.
        ShapeError: for arrays that do not fit the traced ones, or each other.
    """
    program, given = held.program, {}
    sizes: dict[str, dict[int, str]] = {"batches": {}, "numbers of time steps": {}}
    for leaf, value, where in _paired(program.arguments, (args, dict(kwargs)), ""):
        array = given[leaf.index] = as_array(value)
        _check_shape(program, leaf, tuple(array.shape))
        for known, axes in zip(sizes.values(), (program.batch, program.time), strict=True):
            known.update({array.shape[axis]: where for found, axis in axes if found == leaf})
    for what, known in sizes.items():
        if len(known) > 1:
            raise ShapeError(f"the arguments have {what} of other sizes: {known}. Pass equal ones.")
    for steps in sizes["numbers of time steps"]:
        _check_known(steps)
        program = held.with_steps(steps)
    return given, program


def past_autograd(program: Program, known: Input) -> ConversionError | None:
    """Why an input that is trained has no known gradient: memory is written past autograd; ``None`` if it has one."""
    note = next((note for note in program.notes if note.kind == "data"), None)
    if note is None or not known.trained:
        return None
    problem = f"{note.text}, so that torch's gradients are not those of what it computes"
    remedy = (
        "The network runs and is compared. To train it, compute a new tensor instead, as w = w.clamp(0, 1)."
    )
    return ConversionError("the network", problem, remedy, note.line)


def _paired(known: Any, given: Any, where: str) -> Iterator[tuple[Leaf, Any, str]]:
    """The leaves among the arguments that were traced, and what is given in their places.

    Raises:
        ArgumentError: for arguments of another form, and for others than those traced where they are no arrays.
    """
    if isinstance(known, Leaf):
        yield known, given, where
    elif isinstance(known, dict) and isinstance(given, Mapping) and set(known) == set(given):
        for key in known:
            yield from _paired(known[key], given[key], f"{where}[{key!r}]")
    elif isinstance(known, list | tuple) and isinstance(given, list | tuple) and len(known) == len(given):
        for place, (a, b) in enumerate(zip(known, given, strict=True)):
            yield from _paired(a, b, f"{where}[{place}]")
    elif isinstance(known, dict | list | tuple) or not _same(known, given):
        raise ArgumentError(
            f"the network was traced with {_shown(known)} at {where or 'its arguments'}, and is called with "
            f"{_shown(given)}. Call it with arguments of the sample's form, or port it again with these."
        )


def _same(known: Any, given: Any) -> bool:
    return type(known) is type(given) and bool(known == given)


def _shown(value: Any) -> str:
    return repr(
        mapped(value, lambda entry: _ARRAY if isinstance(entry, Leaf) or hasattr(entry, "shape") else entry)
    )


class _Array:
    """Stands for one in texts."""

    def __repr__(self) -> str:
        return "an array"


_ARRAY = _Array()


def _check_shape(program: Program, leaf: Leaf, shape: tuple[int, ...]) -> None:
    """Refuse an array that differs from the traced one by more than the size of its batch and its steps of time.

    Raises:
        ShapeError: says which shape is expected, and why another number of steps is none.
    """
    known = program.inputs[leaf.index]
    traced = tuple(size.at(1) if isinstance(size, Affine) else size for size in known.result.shape)
    free = {
        axis: letter
        for letter, axes in (("B", program.batch), ("T", program.time))
        for x, axis in axes
        if x == leaf
    }
    if len(traced) == len(shape) and all(
        axis in free or a == b for axis, (a, b) in enumerate(zip(traced, shape, strict=True))
    ):
        few = [
            shape[axis]
            for axis, letter in free.items()
            if letter == "B" and _fewer(shape[axis], program.fewest)
        ]
        if few:
            raise ShapeError(
                f"{known.name} has shape {shape}, a batch of {few[0]}; expected {program.fewest} or more: "
                f"{_why(program, 'fewer')}. Fill the batch up, or port the network again with a sample of this shape."
            )
        return
    wanted = ", ".join(free.get(axis, str(n)) for axis, n in enumerate(traced))
    why = _why(program, "steps")
    steps = f" The number of its time steps is fixed: {why}." if why else ""
    raise ShapeError(
        f"{known.name} has shape {shape}; the network was traced with [{wanted}].{steps} Pass that, or port the "
        "network again with a sample of this shape."
    )


def _check_known(steps: Any) -> None:
    """Refuse a number of steps that ``jax.export`` leaves open.

    Raises:
        ShapeError: says what may be open.
    """
    if is_open(steps):
        raise ShapeError(
            f"the number of time steps is {steps}, which jax.export leaves open; the loops of a program have a "
            "length. Leave the batch open only, and export the program for each number of steps."
        )


def _fewer(size: Any, least: int) -> bool:
    """Whether a batch is too small, or may be where ``jax.export`` leaves it open."""
    try:
        return least > 1 and not size >= least
    except Exception:  # JAX's class for what it cannot compare is private
        return True


def _why(program: Program, kind: str) -> str:
    """What a note of that kind says, with its line."""
    return next((n.text + (f" ({n.line})" if n.line else "") for n in program.notes if n.kind == kind), "")


def _tree(held: Held, *, trained: bool) -> Variables:
    """The arrays that modules hold, nested by torch's names."""
    found = [known for known in held.program.inputs if is_held(known) and known.trained == trained]
    arrays = {known.name: known.value for known in found if known.name not in held.settings}
    return unflatten_dict(arrays, sep=".")


def is_held(known: Input) -> bool:
    """Whether an input is an array that a module of the network holds, and so one of the variables."""
    return known.kind in ("parameter", "buffer", "constant") and bool(known.name)


def collection_of(known: Input) -> str:
    """Where such an array is."""
    return "params" if known.trained else "buffers"


def _merged(old: Any, new: Any) -> Any:
    """A tree with the entries of another put in."""
    if not isinstance(old, Mapping) or not isinstance(new, Mapping):
        return new
    return {**old, **{key: _merged(old.get(key, {}), value) for key, value in new.items()}}


def _maybe(tree: Any, name: str) -> Any:
    """The array of that name, or ``None``."""
    for part in name.split("."):
        tree = tree.get(part) if isinstance(tree, Mapping) else None
    return tree


def _found(tree: Variables, name: str) -> Any:
    value: Any = tree
    for part in name.split("."):
        value = value[part]
    return value


@entries_of(PortedProgram)
def program_entries(layer: Layer, variables: Mapping[str, Any]) -> list[Entry]:
    """What a program has in a ``state_dict``: each parameter and buffer of the network, as it is."""
    found = [_entry(layer, variables, known) for known in layer.module.program.inputs if is_held(known)]
    others = {known.name: known.also for known in layer.module.program.inputs}
    return [replace(entry, key=name) for entry in found for name in (entry.key, *others[entry.key])]


def _entry(layer: Layer, variables: Mapping[str, Any], known: Input) -> Entry:
    path = (collection_of(known), *known.name.split("."))
    if known.name not in layer.module.held.settings:
        return plain(layer, variables, known.name, *path)
    stored = find(variables, path)
    return Entry(known.name, np.asarray(known.value if stored is None else stored), path, setting=True)


def variables_of(held: Held) -> Variables:
    """The variables of a program's module, as it was traced."""
    trees = {"params": _tree(held, trained=True), "buffers": _tree(held, trained=False)}
    return {c: jax.tree.map(on_device, tree) for c, tree in trees.items() if tree}


__all__ = ["Held", "PortedProgram", "collection_of", "given_to", "is_held", "past_autograd", "variables_of"]
