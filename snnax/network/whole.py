"""Networks that run all their steps in one call, which :func:`~snnax.unroll` therefore calls once."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from functools import partial
from typing import Any

import flax.linen as nn
import jax
import jax.numpy as jnp
from flax.core import unfreeze
from flax.traverse_util import flatten_dict

from snnax import checks
from snnax.eager import Made, made
from snnax.errors import ArgumentError, ShapeError
from snnax.modules import Module
from snnax.network.keeping import DEFAULT, Saving

Tree = dict[str, Any]


class WholeNetwork(Module):
    """A network whose call takes all that its steps take and returns what they return together.

    It sows what its neurons do into the collection ``record``, ``{"input", "spk", states}`` of all steps by the path of
    the neuron, and reads the spikes that they are to emit instead of their own from ``forced``.
    """

    @property
    def steps(self) -> tuple[int, ...]:
        """The lengths of its loops over time."""
        raise NotImplementedError

    @property
    def batch_axis(self) -> int:
        """The axis of the samples in what :func:`~snnax.unroll` takes."""
        raise NotImplementedError

    @property
    def carried(self) -> tuple[str, ...]:
        """The collections that a call changes and the next one goes on from, as running statistics."""
        return ()

    @property
    def in_training(self) -> tuple[str, ...]:
        """Layers that compute as in training in every call, by path."""
        return ()

    def over_time(self, steps: int) -> WholeNetwork:
        """The network that runs so many steps, where the lengths of its loops are not its own."""
        raise NotImplementedError

    def with_saving(self, saving: Saving) -> WholeNetwork:
        """The network whose loops have these chunks, and gradients that keep no more than this."""
        raise NotImplementedError


def run_whole(
    net: WholeNetwork,
    variables: Tree,
    x: Any,
    rngs: Mapping[str, jax.Array],
    mutable: Sequence[str],
    record: bool,
    force: Mapping[str, jax.Array],
    num_steps: int | None,
    saving: Saving = DEFAULT,
) -> tuple[Any, Tree, Tree]:
    """What :func:`~snnax.unroll` does with such a network.

    Args:
        net: the network.
        variables: its variables.
        x: what it takes; a tuple stands for several arguments.
        rngs: keys by name.
        mutable: further collections to update.
        record: also what its neurons do.
        force: spikes of neurons by path.
        num_steps: the length of its loop, if the user says it.
        saving: its chunks, and what its gradient keeps.

    Returns:
        Outputs, updates, and what was recorded by the neuron's path.

    Raises:
        ArgumentError: for another ``num_steps`` than its own, and names in ``force`` that no neuron has.
        ShapeError: for forced spikes of another shape than the neuron's.
    """
    net, arguments = over_all_steps(net, x, num_steps)
    if force:
        check_spikes(force, _neurons(net, variables, arguments, rngs, mutable))
    forced = {name: {"spk": spikes} for name, spikes in force.items()}
    if saving != DEFAULT:
        net = net.with_saving(saving)
    outputs, updates = _called(
        net, made(net), tuple(mutable), record, variables, arguments, dict(rngs), forced
    )
    recorded = updates.pop("record", {})
    return outputs, updates, recorded


def over_all_steps(net: WholeNetwork, x: Any, num_steps: int | None) -> tuple[WholeNetwork, tuple[Any, ...]]:
    """The network for as many steps as ``x`` or ``num_steps`` says, and its arguments.

    Raises:
        ArgumentError: for another ``num_steps`` than the network's own.
    """
    longer = net.over_time(jnp.shape(jax.tree.leaves(x)[0])[0] if num_steps is None else num_steps)
    if longer is not net and num_steps is not None:
        x = jax.tree.map(lambda frame: jnp.broadcast_to(frame, (num_steps, *frame.shape)), x)
    if num_steps is not None and {num_steps} != set(longer.steps):
        raise ArgumentError(
            f"num_steps={num_steps}, but the network loops over {' and '.join(map(str, longer.steps)) or 'no'} steps "
            "itself. Leave num_steps out, or port the network again with another length of its loop."
        )
    return longer, x if isinstance(x, tuple) else (x,)


def _neurons(
    net: nn.Module, variables: Tree, arguments: Any, rngs: Mapping[str, jax.Array], mutable: Sequence[str]
) -> dict[str, tuple[int, ...]]:
    """The shape of each neuron's spikes, all steps of it, by path."""

    def recorded(given: Tree) -> Any:
        names = ["hidden", "record", *mutable]
        return net.apply(given, *arguments, rngs=dict(rngs), mutable=names)[1].get("record", {})

    found = flatten_dict(unfreeze(jax.eval_shape(recorded, variables)))
    return {"/".join(path[:-1]): value.shape for path, value in found.items() if path[-1] == "spk"}


def check_spikes(force: Mapping[str, jax.Array], neurons: Mapping[str, tuple[int, ...]]) -> None:
    """Refuse names that no neuron has, and spikes of another shape than the neuron's ``[T, B, ...]``.

    Raises:
        ArgumentError: names the neurons that there are.
        ShapeError: says which shape is expected.
    """
    if missing := [name for name in force if name not in neurons]:
        raise ArgumentError(f"force={missing} names no neuron; the neurons are {sorted(neurons)}.")
    for name, spikes in force.items():
        if spikes.shape != neurons[name]:
            raise ShapeError(
                f"force[{name!r}] has shape {spikes.shape}; expected [T, B, ...] = {neurons[name]}, "
                "all steps of the neuron's spikes."
            )


@partial(jax.jit, static_argnums=(0, 1, 2, 3))
def _called(
    net: nn.Module,
    _: Made,
    mutable: tuple[str, ...],
    record: bool,
    variables: Tree,
    arguments: Any,
    rngs: Tree,
    forced: Tree,
) -> tuple[Any, Tree]:
    given = {**variables, "forced": forced} if forced else variables
    names = ["hidden", *mutable, *(["record"] if record else [])]
    outputs, updates = net.apply(given, *arguments, rngs=rngs, mutable=names)
    return outputs, dict(updates)


def arguments_of(x: Any, what: str = "unroll(x=...)") -> Any:
    """``x`` of :func:`~snnax.unroll` as arrays, alone or in lists, tuples and dicts; ``what`` it is, for errors."""
    if isinstance(x, dict):
        return {key: arguments_of(part, what) for key, part in x.items()}
    if isinstance(x, tuple | list):
        return type(x)(arguments_of(part, what) for part in x)
    return checks.array(x, what)
