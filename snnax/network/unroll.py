"""``unroll``: a network over all its time steps, compiled as one program."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

import flax.linen as nn
import jax
import jax.numpy as jnp
from flax.core import unfreeze
from flax.traverse_util import flatten_dict, unflatten_dict
from jax.typing import ArrayLike

from snnax import checks
from snnax.errors import ArgumentError, ShapeError
from snnax.modules import NET, VARIABLES, check_numbers, check_rngs, explained
from snnax.network.chunks import chunk_size, is_open, whole_steps
from snnax.network.keeping import Saving, check_memory
from snnax.network.lengths import given_lengths
from snnax.network.loop import Run, run
from snnax.network.members import check_stepwise
from snnax.network.settings import Tree
from snnax.network.whole import WholeNetwork, arguments_of, check_spikes, run_whole


def keeps_bfloat16(residuals: Any) -> bool:
    """Whether to keep bfloat16."""
    names = (None, jnp.bfloat16, "bfloat16", jnp.dtype(jnp.bfloat16))
    if not any(residuals is name or (type(residuals) is type(name) and residuals == name) for name in names):
        raise ArgumentError(
            f"residuals={residuals!r}; expected None (each neuron's own dtype) or jnp.bfloat16, which keeps the "
            "sign that makes a spike."
        )
    return residuals is not None


def check_remat(remat: Any) -> bool | str:
    """``True``, ``False`` or ``"auto"``."""
    if not isinstance(remat, bool) and not (isinstance(remat, str) and remat == "auto"):
        raise ArgumentError(f"remat={remat!r}; expected 'auto', True or False.")
    return remat


def collections(mutable: Any) -> tuple[str, ...]:
    """The names of the collections to update besides ``hidden``."""
    names = (mutable,) if isinstance(mutable, str) else mutable
    if not isinstance(names, Sequence | set | frozenset) or not all(isinstance(name, str) for name in names):
        raise ArgumentError(
            f"mutable={mutable!r}; expected names of collections, as mutable=['batch_stats']. "
            "'hidden' is always updated."
        )
    return tuple(names)


def keys_of(rngs: Any) -> dict[str, jax.Array]:
    """Random keys by name."""
    return check_rngs(rngs, "unroll(rngs=...)")


def recorded_names(record: Any) -> tuple[str, ...] | None:
    """The neurons to record, or ``None`` for all or none of them."""
    if record is None or isinstance(record, bool):
        return None
    if isinstance(record, int):
        raise checks.refuse("unroll(record=...)", record, "True, or names of neurons, as ['layers_1']")
    return checks.texts(record, "unroll(record=...)")


def forced_spikes(force: Any) -> dict[str, jax.Array]:
    """Spikes by the name of a neuron."""
    given = (
        {}
        if force is None
        else checks.mapping("spikes by neuron, as {'layers_1': spk}")(force, "unroll(force=...)")
    )
    return {name: checks.array(spk, f"unroll(force={{{name!r}: ...}})") for name, spk in given.items()}


def path_of(name: str) -> tuple[str, ...]:
    """``"block/lif"`` as the keys of a tree."""
    return tuple(name.split("/")) if name else ()


def count_steps(x: jax.Array, num_steps: int | None) -> int:
    """T: the length of ``x``, or ``num_steps`` for one frame."""
    if num_steps is None:
        if x.ndim < 2 or x.shape[0] == 0:
            raise ShapeError(
                f"x has shape {x.shape}; expected [T, B, ...] with T >= 1. For an input that is constant in "
                "time pass one frame [B, ...] and num_steps=T."
            )
        return x.shape[0]
    if x.ndim < 1:
        raise ShapeError(f"x has shape {x.shape}; with num_steps it must be one frame [B, ...].")
    return num_steps if is_open(num_steps) else whole_steps("num_steps", num_steps)


def check_force(
    net: nn.Module,
    variables: Tree,
    x: jax.Array,
    rngs: Mapping[str, jax.Array],
    mutable: Sequence[str],
    steps: int,
    force: Mapping[str, jax.Array],
) -> None:
    """Refuse names that no neuron has, and spikes of another shape than the neuron's."""

    def once(given: Tree) -> Any:
        return net.apply(given, x, mutable=["hidden", "record", *mutable], rngs=dict(rngs))[1].get(
            "record", {}
        )

    without = {c: v for c, v in variables.items() if c != "hidden"}
    recorded = flatten_dict(unfreeze(jax.eval_shape(once, without)))
    emitted = {path: "spk" if (*path[:-1], "spk") in recorded else "mem" for path in recorded}
    known = {
        "/".join(path[:-1]): value.shape for path, value in recorded.items() if path[-1] == emitted[path]
    }
    check_spikes(force, {name: (steps, *shape) for name, shape in known.items()})


__all__ = ["unroll"]


def unroll(
    net: nn.Module,
    variables: Mapping[str, Any],
    x: ArrayLike | tuple[Any, ...],
    *,
    rngs: Mapping[str, jax.Array] | None = None,
    mutable: str | Sequence[str] = (),
    record: bool | Sequence[str] | None = None,
    force: Mapping[str, ArrayLike] | None = None,
    chunk: int | str = "auto",
    num_steps: int | None = None,
    seq_lengths: ArrayLike | None = None,
    residuals: Any = None,
    remat: bool | str = "auto",
    memory: float | str = "auto",
) -> Any:
    """Run a network over time: ``y[t], hidden[t+1] = net(x[t], hidden[t])`` for t = 0 ... T-1.

    Starts from ``variables["hidden"]`` if it is there, else from zeros; a module of your own starts from what the
    ``init_fn`` of ``self.variable("hidden", name, init_fn, ...)`` gives. One compiled program: an outer scan over
    chunks of time, and within a chunk each layer without memory runs once on chunk*B samples.

    Carried from step to step are ``hidden`` and the collections in ``mutable``; a network that keeps a state elsewhere
    is refused. Sown values (``self.sow``) are stacked to ``[T, ...]``.

    The program is compiled once and kept. It is compiled anew under ``flax.linen.intercept_methods``, and if something
    changes that a module of your own, or a function in a field, reads beside its fields: class attributes, global
    variables, and what is in the dictionaries, lists, NumPy arrays and objects that they name, up to 10 000 values.

    Args:
        net: any linen module whose neurons use ``init_hidden=True``.
        variables: its variables, as ``init`` or ``from_snntorch`` return them; with other weights ``{**variables,
            "params": params}``, since ``buffers`` hold what is fixed for each neuron.
        x: input ``[T, B, ...]``; with ``num_steps`` one frame ``[B, ...]`` that is shown at every step. Of a program,
            as :func:`~snnax.interop.from_snntorch` makes of some networks, what its ``forward`` takes; a tuple is
            several arguments.
        rngs: keys by name, for layers that draw random numbers; each step gets its own.
        mutable: further collections to update and carry, as ``"batch_stats"``.
        record: ``True`` for all neurons, or names of some (paths, as ``"layers_1"`` or ``"block/lif"``). A module of
            your own that keeps states in ``hidden`` is one too: its ``"input"``, its states by their names and what it
            returns, ``"out"``.
        force: spikes ``[T, B, ...]`` by neuron path that these neurons emit instead of their own (teacher
            forcing; what they would have done is still recorded); of NIR's integrators, membranes.
        chunk: steps per chunk; results do not depend on it, but for the last bits. ``"auto"`` takes a size that suits
            the cache and the number of cores, and divides T; on a GPU all steps. Of a T that ``jax.export`` leaves
            open it takes one step at a time; ``chunk=x.shape[0]`` takes all.
        num_steps: T, for an input that is constant in time; layers before the first neuron then run once.
        seq_lengths: ``[B]``, how many steps each sample has, from 1 to T; what is in ``x`` after them does not count.
            Outputs and records are zeros there, and ``hidden`` is the state after each sample's own last step. Other
            collections (as ``"batch_stats"``) and sown values see all steps.
        residuals: dtype of what each neuron keeps of each step for the gradient: None for its own, or
            ``jnp.bfloat16`` for half of the memory; spikes stay the same, slopes of surrogates are rounded.
        remat: what the gradient recomputes. ``"auto"``: all but one array for each neuron and step, and what it uses of
            the results of products, where the network allows; ``True``: all but the states between chunks; ``False``:
            nothing.
        memory: bytes that the gradient may take, as ``2e9``. Where ``chunk`` and ``remat`` are ``"auto"``, what is fast
            is taken as long as it fits, then smaller chunks, then ``remat=True``; if nothing fits, what takes least.
            ``"auto"``: half of the memory that is free when the program is compiled. It is an estimate: what the
            gradient keeps, and what it computes of one chunk. Of a program's loops each gets an equal part.

    Returns:
        ``(outputs, updates)``: what ``net`` returns, each stacked to ``[T, B, ...]``, and the updated
        collections (``hidden`` after the last step). With ``record`` also a third item:
        ``{path: {"input": ..., "spk": ..., "mem": ...}}``, each ``[T, B, ...]``.

    Raises:
        ShapeError: if ``x`` lacks an axis that a layer needs, ``seq_lengths`` are not ``[B]``, or spikes
            in ``force`` do not fit their neuron.
        StateError: if the stored hidden state belongs to another batch size, a state changes its shape, or one is in a
            collection that is not named.
        ArgumentError: for a bad ``chunk``, ``num_steps``, ``seq_lengths``, ``mutable`` or ``rngs``, names in ``record``
            / ``force`` that no neuron has, a neuron that takes whole sequences, or ``params`` without the ``buffers``
            that belong to them.

    Example:
        >>> import jax, jax.numpy as jnp, flax.linen as nn, snnax as snn
        >>> net = snn.Sequential([nn.Dense(4), snn.Leaky(beta=0.9, init_hidden=True, output=True)])
        >>> x = jnp.ones((25, 8, 3))
        >>> variables = net.init(jax.random.key(0), x[0])
        >>> (spk, mem), updates = snn.unroll(net, variables, x)
        >>> spk.shape, updates["hidden"]["layers_1"]["mem"].shape
        ((25, 8, 4), (8, 4))

    ``seq_lengths`` is that of flax's ``nn.RNN``, but for outputs after the end of a sequence, which there are whatever
    the padding gives. Compared with snnTorch: replaces ``for step in range(num_steps)`` with its lists of spikes and
    ``torch.stack``, and ``utils.reset``: pass ``snnax.utils.reset(variables)`` and it starts anew.
    """
    NET(net, "unroll(net=...)")
    VARIABLES(variables, "unroll(variables=...)")
    names, wanted = collections(mutable), recorded_names(record)
    short, recomputed, most = keeps_bfloat16(residuals), check_remat(remat), check_memory(memory)
    if isinstance(net, WholeNetwork):
        if not (isinstance(chunk, str) and chunk == "auto"):
            chunk = whole_steps("chunk", chunk, "'auto' or ")
        if seq_lengths is not None:
            raise ArgumentError(
                "unroll(seq_lengths=...) of a program that loops over time itself, where no step can be left out; run "
                "samples of one length together."
            )
        y, updates, recorded = run_whole(
            net, unfreeze(dict(variables)), arguments_of(x), keys_of(rngs), names, bool(record), forced_spikes(force),
            num_steps, Saving(chunk, short, recomputed, most),
        )  # fmt: skip
        return (y, updates, _select(recorded, wanted)) if record else (y, updates)
    x = checks.array(x, "unroll(x=...)")
    check_stepwise(net)
    constant = num_steps is not None
    steps = count_steps(x, num_steps)
    plain = unfreeze(dict(variables))
    check_numbers(plain, "unroll(variables=...)")
    keys = keys_of(rngs)
    batch = x.shape[0] if constant else x.shape[1]
    if not (isinstance(chunk, str) and chunk == "auto"):
        chunk = chunk_size(net, chunk, steps, batch, constant, 0.0)
    lengths = given_lengths(seq_lengths, batch, steps)
    asked = Run(net, names, bool(record), steps, constant, Saving(chunk, short, recomputed, most))
    given = forced_spikes(force)
    if given:
        check_force(net, plain, x if constant else x[0], keys, names, steps, given)
    forced = unflatten_dict({(*path_of(name), "spk"): value for name, value in given.items()})
    frame = jax.ShapeDtypeStruct(x.shape if constant else x.shape[1:], x.dtype)
    with explained(net, (frame,)):
        y, updates, recorded = run(net, asked, plain, x, keys, forced, lengths)
    if not record:
        return y, updates
    return y, updates, _select(recorded, wanted)


def _select(recorded: Tree, wanted: Sequence[str] | None) -> dict[str, Tree]:
    """Flat ``{path: {name: array}}``, all of it or the paths asked for."""
    flat: dict[str, Tree] = {}
    for path, value in flatten_dict(recorded).items():
        flat.setdefault("/".join(path[:-1]), {})[path[-1]] = value
    if wanted is None:
        return flat
    if missing := [name for name in wanted if name not in flat]:
        raise ArgumentError(f"record={missing} names no neuron; the neurons are {sorted(flat)}.")
    return {name: flat[name] for name in wanted}
