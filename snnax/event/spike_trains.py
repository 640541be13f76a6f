"""Spike trains: the one kind of data that event-driven networks exchange."""

from __future__ import annotations

import functools
from collections.abc import Sequence
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
import numpy as np

from snnax import checks
from snnax.errors import ArgumentError, ShapeError
from snnax.event.arguments import floats, seconds

__all__ = [
    "Trains", "concatenated", "count", "first_spikes", "from_dense", "from_lists", "given_inputs", "given_trains",
    "merged", "sort_events", "to_dense", "trains",
]  # fmt: skip


class Trains(NamedTuple):
    """Spike times of a batch of populations; a pytree, so that it crosses ``jit``, ``vmap`` and ``grad``.

    A budget of ``K`` spikes per neuron makes the shape static. It never loses a spike silently: a neuron that had more
    to say is marked in ``overflow``, and what is in ``times`` are its first ``K`` spikes, exact. Spikes after the first
    one that is missing may differ in the neurons that it would have reached.

    Example:
        >>> import numpy as np
        >>> from snnax import event
        >>> heard = event.trains(np.array([[[0.001, np.inf], [0.002, 0.005]]]))  # [B, N, K]: one sample, two neurons
        >>> np.isfinite(heard.times).sum(axis=-1).tolist(), bool(heard.overflow.any())
        ([[1, 2]], False)
    """

    times: jax.Array
    """``[B, N, K]``: seconds, ascending, padded with ``inf``."""
    overflow: jax.Array
    """``[B, N]``: whether the neuron had more than ``K`` spikes."""

    def sample(self, number: int) -> Trains:
        """The trains of one sample, as a batch of 1: what pictures take."""
        return Trains(self.times[number][None], self.overflow[number][None])


def given_trains(value: Any, what: str) -> Trains:
    """Trains that a user passed, as arrays: what a function of :mod:`snnax.event` does first with them.

    Raises:
        ArgumentError: for anything else, or if they hold no arrays of real numbers.
        ShapeError: unless these are ``[B, N, K]`` and ``[B, N]``.
    """
    expected = "spike trains, as snnax.event.trains(times)"
    checks.instance(Trains, expected)(value, what)
    try:
        times, overflow = floats(value.times, "times"), checks.array(value.overflow, "overflow")
    except ArgumentError as error:
        raise checks.refuse(what, value, f"{expected}: {error}") from error
    if times.ndim != 3 or overflow.shape != times.shape[:2] or not times.shape[2]:
        raise ShapeError(
            f"{what.removesuffix('=...)')} with times of shape {times.shape} and overflow of shape {overflow.shape}): "
            f"expected times [B, N, K] with K from 1 and overflow [B, N], as snnax.event.trains(times) makes them."
        )
    if times is value.times and overflow is value.overflow and overflow.dtype == bool:
        return value
    return Trains(times, overflow.astype(bool))


def given_inputs(value: Any, what: str) -> Trains:
    """As :func:`given_trains`, and no time before 0, where the engines begin."""
    found = given_trains(value, what)
    # By NumPy: in a program that is being traced JAX would trace the comparison, too.
    if not isinstance(found.times, jax.core.Tracer) and not np.all(np.asarray(found.times) >= 0):
        raise ArgumentError(f"{what}: expected times from 0 on, in seconds; shift them: times - times.min().")
    return found


def trains(times: Any) -> Trains:
    """Spike times as :class:`Trains`: sorted, nothing lost.

    Args:
        times: ``[B, N]`` (one spike each) or ``[B, N, K]``: seconds, in any order, ``inf`` for no spike.

    Raises:
        ArgumentError: for what is no array of real numbers.
        ShapeError: for another rank.

    Example:
        >>> import jax.numpy as jnp
        >>> from snnax.event import trains
        >>> trains(jnp.array([[[3e-3, 1e-3], [jnp.inf, 2e-3]]])).times.tolist()
        [[[0.001..., 0.003...], [0.002..., inf]]]
    """
    array = floats(times, "trains(times=...)")
    if array.ndim not in (2, 3):
        raise ShapeError(
            f"trains(times of shape {array.shape}): expected [B, N] or [B, N, K], as times[None] of one sample."
        )
    array = array[:, :, None] if array.ndim == 2 else _widened(array, max(1, array.shape[2]))
    return Trains(jnp.sort(array, axis=-1), jnp.zeros(array.shape[:2], bool))


def from_lists(samples: Sequence[Sequence[Sequence[float]]], max_spikes: int | None = None) -> Trains:
    """Spike times as nested lists: of samples, of neurons, of times.

    Args:
        samples: ``samples[b][n]`` are the times of neuron ``n`` in sample ``b``, in seconds and any order.
        max_spikes: the budget ``K``; ``None`` for what the longest list needs. Longer lists overflow.

    Raises:
        ArgumentError: for anything else, or a budget below 1.
        ShapeError: if the samples have different numbers of neurons.

    Example:
        >>> from snnax.event import count, from_lists
        >>> count(from_lists([[[1e-3, 4e-3], []], [[2e-3], [3e-3]]])).tolist()
        [[2, 0], [1, 1]]
    """
    ordered = _sorted_lists(samples)
    sizes = {len(sample) for sample in ordered}
    if len(sizes) != 1:
        raise ShapeError(
            f"from_lists(samples with {sorted(sizes)} neurons): expected the same number in each of at least one "
            "sample, as [[[1e-3], []]] for one sample of two neurons."
        )
    lengths = np.array([[len(times) for times in sample] for sample in ordered], int).reshape(
        len(ordered), -1
    )
    budget = max(1, int(lengths.max(initial=0))) if max_spikes is None else _budget(max_spikes, "from_lists")
    padded = np.full((*lengths.shape, budget), np.inf)
    for b, sample in enumerate(ordered):
        for n, times in enumerate(sample):
            padded[b, n, : len(times)] = times[:budget]
    rounded = checks.rounded(padded, jnp.result_type(float), "from_lists(samples)")
    return Trains(jnp.asarray(rounded), jnp.asarray(lengths > budget))


def _sorted_lists(samples: Any) -> list[list[np.ndarray[Any, Any]]]:
    def parts(value: Any) -> Any:
        if not isinstance(value, Sequence | np.ndarray | jax.Array) or isinstance(value, str | bytes):
            raise TypeError
        return value

    def ordered(value: Any) -> np.ndarray[Any, Any]:
        times = np.asarray(parts(value))
        if times.ndim != 1 or (times.size and times.dtype.kind not in "iuf"):
            raise TypeError
        return np.sort(times.astype(float))

    try:
        return [[ordered(times) for times in parts(sample)] for sample in parts(samples)]
    except (TypeError, ValueError, OverflowError) as error:
        expected = (
            "lists of samples, of neurons, of times, as [[[1e-3, 4e-3], []]] for one sample of two neurons"
        )
        raise checks.refuse("from_lists(samples=...)", samples, expected) from error


def count(spikes: Trains) -> jax.Array:
    """How many spikes each neuron has, ``[B, N]``; at least so many where it overflows.

    Args:
        spikes: spike trains.

    Example:
        >>> from snnax import event
        >>> trains = event.from_lists([[[1e-3, 3e-3], [2e-3]]])  # one sample, two neurons
        >>> event.count(trains).tolist()
        [[2, 1]]
    """
    spikes = given_trains(spikes, "count(spikes=...)")
    return jnp.sum(spikes.times < jnp.inf, axis=-1)


def first_spikes(spikes: Trains) -> jax.Array:
    """The time of each neuron's first spike, ``[B, N]``; ``inf`` for a silent one.

    Args:
        spikes: spike trains.

    Example:
        >>> from snnax import event
        >>> trains = event.from_lists([[[0.5, 0.75], []]])  # one sample, two neurons
        >>> event.first_spikes(trains).tolist()
        [[0.5, inf]]
    """
    return given_trains(spikes, "first_spikes(spikes=...)").times[..., 0]


def concatenated(*populations: Trains) -> Trains:
    """Populations side by side as one, ``[B, N1 + N2 + ..., K]`` with the largest of their budgets.

    Args:
        populations: spike trains of the same samples.

    Raises:
        ArgumentError: if there is none, or one is no trains.
        ShapeError: for different numbers of samples.

    Example:
        >>> from snnax import event
        >>> trains = event.from_lists([[[1e-3, 3e-3], [2e-3]]])  # one sample, two neurons
        >>> event.concatenated(trains, trains).times.shape
        (1, 4, 2)
    """
    parts = _several("concatenated", "populations", populations, "the same number of samples B", 1)
    budget = max(part.times.shape[-1] for part in parts)
    times = [_widened(part.times, budget) for part in parts]
    return Trains(jnp.concatenate(times, 1), jnp.concatenate([part.overflow for part in parts], 1))


def merged(*sources: Trains) -> Trains:
    """All spikes of several trains of the same neurons as one train, ``[B, N, K1 + K2 + ...]``.

    Args:
        sources: spike trains of the same samples and neurons.

    Raises:
        ArgumentError: if there is none, or one is no trains.
        ShapeError: for different numbers of samples or neurons.

    Example:
        >>> from snnax import event
        >>> trains = event.from_lists([[[1e-3, 3e-3], [2e-3]]])  # one sample, two neurons
        >>> event.merged(trains, trains).times.shape
        (1, 2, 4)
    """
    parts = _several("merged", "sources", sources, "the same numbers of samples and neurons [B, N]", 2)
    times = jnp.sort(jnp.concatenate([part.times for part in parts], -1), axis=-1)
    return Trains(times, jnp.any(jnp.stack([part.overflow for part in parts]), 0))


def _several(function: str, argument: str, given: Sequence[Any], expected: str, axes: int) -> list[Trains]:
    """At least one, and alike in their first axes."""
    if not given:
        raise ArgumentError(f"{function}() needs {argument}, as {function}(a, b).")
    parts = [given_trains(value, f"{function}({argument}[{n}]=...)") for n, value in enumerate(given)]
    if len({part.times.shape[:axes] for part in parts}) > 1:
        shapes = [part.times.shape for part in parts]
        raise ShapeError(f"{function}({argument} of shapes {shapes}): expected {expected} in each.")
    return parts


def sort_events(times: jax.Array) -> tuple[jax.Array, jax.Array]:
    """Each sample's events in the order of time.

    Args:
        times: ``[B, E]``, any order, ``inf`` for none.

    Returns:
        ``(sorted times, index)``, both ``[B, E]``; ``times[b, index[b, e]]`` is the sorted time. Events at the same
        time keep their order.

    Raises:
        ArgumentError: for what is no array of real numbers.
        ShapeError: for another rank.

    Example:
        >>> import jax.numpy as jnp
        >>> from snnax import event
        >>> times, index = event.sort_events(jnp.array([[3.0, 1.0, 2.0]]))
        >>> times.tolist(), index.tolist()
        ([[1.0, 2.0, 3.0]], [[1, 2, 0]])
    """
    times = floats(times, "sort_events(times=...)")
    if times.ndim != 2:
        raise ShapeError(f"sort_events(times of shape {times.shape}): expected [B, E].")
    index = jax.lax.broadcasted_iota(jnp.int32, times.shape, 1)
    if 1 < times.shape[1] <= _NETWORK and jax.default_backend() == "cpu":
        return _counted(times) if times.shape[1] <= _COUNTED else _bitonic(times, index)
    ordered, index = jax.lax.sort((times, index), dimension=1, num_keys=1, is_stable=True)
    return ordered, index


_COUNTED = 448
"""Up to so many events of a sample each counts those before it: on CPUs the fastest, and soon compiled."""

_NETWORK = 1024
"""Up to so many events of a sample are sorted by a network of comparisons.

On CPUs it takes a fourth of the time of XLA's sort, which compares rows one after the other, and the network all rows
at once.
"""


def _counted(times: jax.Array) -> tuple[jax.Array, jax.Array]:
    """Each event's place is the number of events before it; the batch is the last axis, as in :func:`_bitonic`.

    Times are compared as whole numbers in the same order, so that one comparison tells those at the same time apart:
    an event is after those of a lower index that are before the next larger number.
    """
    numbers = jnp.dtype(f"int{8 * times.dtype.itemsize}")
    bits = jax.lax.bitcast_convert_type(jnp.where(times == 0, 0, times), numbers).T  # -0 is 0
    keys = bits ^ ((bits >> (8 * times.dtype.itemsize - 1)) & jnp.iinfo(numbers).max)
    events = jnp.arange(len(keys), dtype=numbers)

    def more(places: jax.Array, event: tuple[jax.Array, jax.Array]) -> tuple[jax.Array, None]:
        key, number = event
        later = (number < events).astype(numbers)[:, None]
        return places + (key[None] < keys + later).astype(jnp.int32), None

    places, _ = jax.lax.scan(more, jnp.zeros(keys.shape, jnp.int32), (keys, events))
    samples = jnp.arange(len(times), dtype=jnp.int32)[:, None]
    own = jax.lax.broadcasted_iota(jnp.int32, times.shape, 1)
    index = jnp.zeros_like(own).at[samples, places.T].set(own, mode="promise_in_bounds")
    return jnp.take_along_axis(times, index, 1, mode="promise_in_bounds"), index


def _bitonic(times: jax.Array, index: jax.Array) -> tuple[jax.Array, jax.Array]:
    """Batcher's bitonic network, with the batch as the last axis: each layer compares all pairs ``stride`` apart.

    Layers of one stride are one piece of the compiled program, whatever the blocks that they sort: the number of layers
    is the logarithm of the number of events squared, that of strides the logarithm.
    """
    events = times.shape[1]
    bits = (events - 1).bit_length()
    padding = ((0, (1 << bits) - events), (0, 0))
    pairs = (
        jnp.pad(times.T, padding, constant_values=jnp.inf),
        jnp.pad(index.T, padding, constant_values=1 << bits),
    )
    layers = [(stride, 2 << block) for block in range(bits) for stride in reversed(range(block + 1))]
    strides, blocks = (jnp.array(column, jnp.int32) for column in zip(*layers, strict=True))
    exchanges = [functools.partial(_exchanged, stride=1 << bit) for bit in range(bits)]

    def layer(pairs: Any, which: Any) -> Any:
        stride, block = which
        return jax.lax.switch(stride, exchanges, *pairs, block), None

    (times, index), _ = jax.lax.scan(layer, pairs, (strides, blocks))
    return times[:events].T, index[:events].T


def _exchanged(
    times: jax.Array, index: jax.Array, block: jax.Array, stride: int
) -> tuple[jax.Array, jax.Array]:
    """Pairs ``stride`` apart in order, ``[E, B]``; at equal times in that of their index.

    Upward and downward in turn, so that two blocks make one bitonic run.
    """
    shape = (-1, 2, stride, times.shape[1])
    pairs, places = times.reshape(shape), index.reshape(shape)
    (first, second), (one, other) = (pairs[:, 0], pairs[:, 1]), (places[:, 0], places[:, 1])
    begin = 2 * stride * jnp.arange(len(pairs), dtype=jnp.int32)[:, None, None]
    later = (first > second) | ((first == second) & (one > other))
    swap = later == (begin & block == 0)
    times_of = jnp.stack([jnp.where(swap, second, first), jnp.where(swap, first, second)], 1)
    index_of = jnp.stack([jnp.where(swap, other, one), jnp.where(swap, one, other)], 1)
    return times_of.reshape(times.shape), index_of.reshape(index.shape)


def from_dense(spikes: Any, dt: float, max_spikes: int) -> Trains:
    """The spikes of a network in time steps, at the starts of their steps.

    Args:
        spikes: ``[T, B, N]``; whatever is not zero is one spike.
        dt: length of a step, in seconds.
        max_spikes: the budget ``K``; more spikes of a neuron overflow.

    Raises:
        ArgumentError: for what is no array of real numbers, no length of time, or a budget below 1.
        ShapeError: for spikes of another rank.

    Returns:
        Times ``k dt``. :func:`to_dense` with the same ``dt`` gives the same steps back.

    Example:
        >>> import jax.numpy as jnp
        >>> from snnax.event import from_dense, to_dense
        >>> spikes = jnp.zeros((8, 1, 2)).at[jnp.array([1, 5]), 0, 0].set(1)
        >>> bool((to_dense(from_dense(spikes, 1e-3, 2), 1e-3, 8) == spikes).all())
        True
    """
    dense = checks.array(spikes, "from_dense(spikes=...)")
    if dense.ndim != 3:
        raise ShapeError(f"from_dense(spikes of shape {dense.shape}): expected [T, B, N], time first.")
    budget, dt = _budget(max_spikes, "from_dense"), seconds(dt, "from_dense(dt=...)")
    steps = jnp.arange(dense.shape[0], dtype=float) * dt
    times = jnp.where(dense != 0, steps[:, None, None], jnp.inf)
    times = jnp.moveaxis(jnp.sort(times, axis=0)[:budget], 0, -1)
    return Trains(_widened(times, budget), jnp.sum(dense != 0, 0) > budget)


def to_dense(spikes: Trains, dt: float, num_steps: int) -> jax.Array:
    """How many spikes fall in each time step ``[k dt, (k + 1) dt)``, ``[T, B, N]``.

    Args:
        spikes: spike trains.
        dt: length of a step, in seconds.
        num_steps: number of steps ``T``. Spikes at ``T dt`` and later are outside of the window.

    Returns:
        Counts, in the floating type of the times. Two spikes of a neuron in one step are a 2, not one spike less.

    Example:
        >>> from snnax import event
        >>> trains = event.from_lists([[[0.5, 0.75], [2.5]]])  # one sample, two neurons
        >>> event.to_dense(trains, dt=1.0, num_steps=3)[:, 0].tolist()
        [[2.0, 0.0], [0.0, 0.0], [0.0, 1.0]]
    """
    dt, steps = seconds(dt, "to_dense(dt=...)"), checks.count()(num_steps, "to_dense(num_steps=...)")
    times = given_trains(spikes, "to_dense(spikes=...)").times
    inside = jnp.where(times < steps * dt, times, 0)
    step = jnp.floor(inside / dt)
    # The quotient is rounded: the step is the one whose borders, as products, enclose the time.
    step = step + ((step + 1) * dt <= inside) - (step * dt > inside)
    chosen = jnp.where((times < steps * dt) & (step < steps), step, -1)
    grid = jnp.arange(steps, dtype=times.dtype)[:, None, None, None]
    return jnp.sum((chosen[None] == grid).astype(times.dtype), -1)


def _widened(times: jax.Array, budget: int) -> jax.Array:
    missing = budget - times.shape[-1]
    return jnp.pad(times, ((0, 0), (0, 0), (0, missing)), constant_values=jnp.inf)


def _budget(max_spikes: Any, function: str) -> int:
    return int(checks.count()(max_spikes, f"{function}(max_spikes=...)"))
