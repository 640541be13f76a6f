"""``synops``: the synaptic operations of a network on an input."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import flax.linen as nn
import jax
import jax.numpy as jnp
import numpy as np
from flax.core import unfreeze
from flax.traverse_util import flatten_dict
from jax import lax
from jax.typing import ArrayLike

from snnax import checks
from snnax.modules import NET, VARIABLES, check_numbers, check_rngs, explained
from snnax.network.members import check_stepwise
from snnax.network.states import start, step_of
from snnax.network.unroll import count_steps
from snnax.network.whole import WholeNetwork, arguments_of, over_all_steps
from snnax.operations.products import Counter, Place, Tally
from snnax.operations.result import LayerOperations, NeuronActivity, SynapticOperations

__all__ = ["synops"]

Tree = dict[str, Any]
SIGNALS = ("hidden", "record", "forced")
"""Collections that are no weights."""


def synops(
    net: nn.Module,
    variables: Mapping[str, Any],
    x: ArrayLike | tuple[Any, ...],
    *,
    num_steps: int | None = None,
    rngs: Mapping[str, jax.Array] | None = None,
) -> SynapticOperations:
    r"""Count the synaptic operations of a network on an input, layer by layer, by NeuroBench's definitions.

    .. math::

        \text{dense} = \sum_{t, b, i} n_i, \qquad
        \text{effective} = \sum_{t, b, i} [x_{t, b, i} \ne 0] \, m_i

    where :math:`x_{t, b, i}` is what enters a layer at step :math:`t`, :math:`n_i` how many weights it meets there and
    :math:`m_i` how many of them are not zero. In a step in which all that enters the layer, of all samples, is -1, 0 or
    1, an operation is an accumulate (AC), a weight added to a sum; in any other a multiply-accumulate (MAC).

    Counted are dense products and convolutions of weights (anything in ``variables`` but states) with what depends on
    the input or a state: of linen layers, recurrent connections, modules of your own, and ported programs. Biases,
    pooling, normalization and the arithmetic of the neurons themselves are no synaptic operations. Products of two
    signals, as in attention, are named in ``left_out``. All steps are run one after the other and each does all of its
    layers, whatever :func:`~snnax.unroll` would save where an input is the same in each; counts are exact.

    Args:
        net: as for :func:`~snnax.unroll`.
        variables: its variables.
        x: input ``[T, B, ...]``; with ``num_steps`` one frame ``[B, ...]``. Of a program, what its ``forward`` takes.
        num_steps: T, for an input that is constant in time.
        rngs: keys by name, for layers that draw random numbers.

    Returns:
        Counts of each layer and spikes of each neuron; ``print`` shows a table.

    Raises:
        ArgumentError: as of :func:`~snnax.unroll`.
        ShapeError: ``x`` does not fit the network.

    Example:
        >>> import jax, jax.numpy as jnp, flax.linen as nn, snnax as snn
        >>> net = snn.Sequential([nn.Dense(4), snn.Leaky(beta=0.9, init_hidden=True)])
        >>> x = jnp.zeros((10, 2, 3)).at[:5, :, 0].set(1.0)  # [T, B, features]: 10 spikes
        >>> found = snn.utils.synops(net, net.init(jax.random.key(0), x[0]), x)
        >>> found.dense, found.acs, found.macs  # 10 steps of 2 samples: 12 weights, and 4 for each spike
        (240, 40, 0)
        >>> found.per_sample["Effective_ACs"]
        20.0

    Source: Yik et al., *The NeuroBench framework for benchmarking neuromorphic computing algorithms and systems*,
    Nature Communications 16, 1545 (2025); its harness 2.3.0, ``SynapticOperations``.

    Compared with snnTorch: 1.0.0 has nothing like it; NeuroBench's harness counts snnTorch's networks, and gives these
    numbers where the page *Energy and operations* names no difference.
    """
    NET(net, "synops(net=...)")
    VARIABLES(variables, "synops(variables=...)")
    keys = check_rngs(rngs, "synops(rngs=...)")
    plain = unfreeze(dict(variables))
    if isinstance(net, WholeNetwork):
        return _of_program(net, plain, arguments_of(x, "synops(x=...)"), keys, num_steps)
    x = checks.array(x, "synops(x=...)")
    check_stepwise(net)
    steps = count_steps(x, num_steps)
    check_numbers(plain, "synops(variables=...)")
    frame = x if num_steps is not None else x[0]
    with explained(net, (jax.ShapeDtypeStruct(frame.shape, frame.dtype),)):
        begin = start(net, plain, frame, keys, ())
        return _of_steps(net, plain, x, keys, steps, begin, num_steps is not None)


def _of_steps(
    net: nn.Module, variables: Tree, x: jax.Array, rngs: Tree, steps: int, begin: Any, constant: bool
) -> SynapticOperations:
    """A network that is called once for each step."""

    def run(weights: Tree, states: Tree, x: jax.Array, rngs: Tree) -> Any:
        def step(states: Tree, entry: tuple[Any, Any]) -> tuple[Tree, Any]:
            number, now = entry
            drawn = {name: jax.random.fold_in(key, number) for name, key in rngs.items()}
            new = step_of(net, weights, x if constant else now, drawn, ["hidden", "record"])(states)
            recorded = new.pop("record", {})
            kept = jax.tree.map(lambda a, b: b.astype(a.dtype), states["hidden"], new.get("hidden", {}))
            return {**states, "hidden": kept}, _spikes(recorded)

        numbers = jnp.arange(steps)
        if not begin.first:
            return lax.scan(step, states, (numbers, None if constant else x))[1]
        # modules of the user's own declare their states in the first step
        new = step_of(net, weights, x if constant else x[0], rngs, ["hidden", "record"])(states)
        first = _spikes(new.pop("record", {}))
        after = {**states, "hidden": new.get("hidden", {})}
        _, rest = lax.scan(step, after, (numbers[1:], None if constant else x[1:]))
        return jax.tree.map(lambda one, more: jnp.concatenate([one[None], more]), first, rest)

    batch = x.shape[0] if constant else x.shape[1]
    return _counted(net, run, variables, begin.carry, x, rngs, batch)


def _of_program(
    net: WholeNetwork, variables: Tree, x: Any, rngs: Tree, num_steps: int | None
) -> SynapticOperations:
    """A network that runs all of its steps in one call."""
    net, arguments = over_all_steps(net, x, num_steps)

    def run(weights: Tree, states: Tree, arguments: Any, rngs: Tree) -> Any:
        given = {**weights, **{name: tree for name, tree in states.items() if tree}, "apart": {"steps": True}}
        _, updates = net.apply(given, *arguments, rngs=rngs, mutable=["hidden", "record", *net.carried])
        return _spikes(unfreeze(updates).get("record", {}))

    batch = jnp.shape(jax.tree.leaves(arguments)[0])[net.batch_axis]
    states = {name: variables[name] for name in SIGNALS if name in variables}
    return _counted(net, run, variables, states, arguments, rngs, batch)


def _spikes(recorded: Tree) -> dict[str, tuple[jax.Array, jax.Array]]:
    """By neuron how many spikes it fired, and how often it could have."""
    flat = flatten_dict(recorded)
    return {
        "/".join(path[:-1]): (jnp.count_nonzero(value), jnp.asarray(value.size))
        for path, value in flat.items()
        if path[-1] == "spk"
    }


def _counted(
    net: nn.Module, run: Any, variables: Tree, states: Tree, x: Any, rngs: Tree, batch: int
) -> SynapticOperations:
    counter = Counter()
    weights = {name: tree for name, tree in variables.items() if name not in (*SIGNALS, *states)}

    @jax.jit
    def count(weights: Tree, *signals: Any) -> Any:
        return counter.count(run, weights, *signals)

    spikes, tallies = jax.device_get(count(weights, states, x, rngs))
    layers: dict[str, LayerOperations] = {}
    for key, tally in tallies.items():
        row = _row(net, counter.places[key], tally)
        layers[row.name] = layers[row.name].joined(row) if row.name in layers else row
    neurons = [
        NeuronActivity(name, *(int(np.sum(part, dtype=np.int64)) for part in counts))
        for name, counts in spikes.items()
    ]
    return SynapticOperations(tuple(layers.values()), tuple(neurons), tuple(counter.left_out), int(batch))


def _row(net: nn.Module, place: Place, tally: Tally) -> LayerOperations:
    """Whole numbers of any size: an element is counted at most once in each call, so its count fits int32."""
    acs, macs, weights, every = (np.asarray(part).astype(np.int64) for part in tally[:4])
    calls = int(tally.calls)
    homes = sorted({name.rpartition("/")[0] for name in place.variables})
    return LayerOperations(
        name=" + ".join(homes) or type(net).__name__,
        kind=place.kind,
        dense=calls * int(every.sum()),
        macs=int((macs * weights).sum()),
        acs=int((acs * weights).sum()),
        active=int(acs.sum() + macs.sum()),
        inputs=calls * acs.size,
    )
