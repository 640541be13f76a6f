"""Training states on disk, through orbax."""

from __future__ import annotations

import os
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any, cast

import jax
import numpy as np
from flax.traverse_util import flatten_dict, unflatten_dict

from snnax import checks
from snnax.checks import whole
from snnax.drafts import draft_folder, place, sweep
from snnax.errors import ArgumentError, CheckpointError
from snnax.training.history import History
from snnax.training.state import TrainState

__all__ = ["Checkpoints"]

_SHOWN = 6


class Checkpoints:
    """A directory of training states, one folder for each, named by the number of steps.

    Everything of a :class:`TrainState` is kept: weights, optimizer, batch statistics, random key, position;
    so training that goes on from one gives the same weights to the last bit as training that never
    stopped. The network and the optimizer themselves are code and are not kept. A folder appears when it is
    complete, and takes the place of one of the same step then. A write that fails leaves nothing behind; one whose
    process is killed leaves a hidden folder, which the next call removes.

    Args:
        directory: where; made at the first save.
        keep: how many of the newest to keep.
        every: how often :func:`fit` saves, in epochs; it saves after the last one in any case.

    Raises:
        ArgumentError: for ``keep`` or ``every`` below 1.

    Example:
        >>> import tempfile, jax, jax.numpy as jnp, flax.linen as nn, optax, snnax as snn
        >>> net = snn.Sequential([nn.Dense(4), snn.Leaky(beta=0.9, init_hidden=True)])
        >>> variables = net.init(jax.random.key(0), jnp.ones((8, 3)))
        >>> state = snn.training.TrainState.create(net, variables, optax.adam(1e-3))
        >>> with tempfile.TemporaryDirectory() as folder:
        ...     checkpoints = snn.training.Checkpoints(folder)
        ...     checkpoints.save(state)
        ...     restored, history = checkpoints.restore(state)
        ...     checkpoints.steps()
        [0]

    Compared with snnTorch: takes the place of ``torch.save(net.state_dict())``, and keeps the optimizer and
    the random key too.
    """

    def __init__(self, directory: str | os.PathLike[str], keep: int = 3, every: int = 1) -> None:
        checks.path(directory, "Checkpoints(directory=...)")
        for name, value in (("keep", keep), ("every", every)):
            if whole(value) is None:
                raise ArgumentError(f"Checkpoints({name}={value!r}); expected a whole number >= 1.")
        self.directory = os.path.abspath(os.fspath(directory))
        self.keep = int(keep)
        self.every = int(every)

    def steps(self) -> list[int]:
        """The steps of the complete checkpoints, in order; none if the directory is not there."""
        sweep(Path(self.directory))
        try:
            names = os.listdir(self.directory)
        except OSError:
            return []
        return sorted(int(name) for name in names if name.isascii() and name.isdigit())

    def save(self, state: TrainState, history: History | None = None) -> None:
        """Write a state, and what :func:`fit` measured so far; replaces one of the same step.

        Of several processes, which all have the same state, the first writes it.

        Raises:
            CheckpointError: if the directory cannot be written, as on a full disk; what it held stays.
        """
        import orbax.checkpoint as ocp

        if jax.process_index():
            return
        arrays = {name: np.asarray(leaf) for name, leaf in _leaves(state).items()}
        meta = {
            "format": 1,
            "arrays": {name: _kind(array) for name, array in arrays.items()},
            "history": (history or History()).to_dict(),
            "ema": state.decay,
        }
        tree = unflatten_dict({tuple(name.split("/")): array for name, array in arrays.items()})
        number = int(state.step)
        try:
            os.makedirs(self.directory, exist_ok=True)
            with draft_folder(Path(self.directory)) as draft:
                with _manager(draft, alone=True) as manager:
                    manager.save(
                        number,
                        args=ocp.args.Composite(
                            state=ocp.args.StandardSave(tree), meta=ocp.args.JsonSave(meta)
                        ),
                    )
                place(draft / str(number), Path(self.directory, str(number)), draft)
                for old in self.steps()[: -self.keep]:
                    os.rename(os.path.join(self.directory, str(old)), draft / str(old))
        except Exception as error:  # what a full disk raises in orbax's layers is of many classes
            raise CheckpointError(
                f"{self.directory!r} cannot be written ({type(error).__name__}: {_first_line(error)}); expected a "
                "directory with room for the weights and twice as much for the optimizer."
            ) from error

    def restore(self, state: TrainState, step: int | None = None) -> tuple[TrainState, History]:
        """A saved state, on the devices of ``state``, and what :func:`fit` had measured by then.

        Args:
            state: a state of the same network and optimizer, as ``TrainState.create`` makes it; its numbers
                do not matter.
            step: which one; None for the newest.

        Raises:
            CheckpointError: if there is none, it cannot be read, or it belongs to another network or
                optimizer, or averages its parameters otherwise.
        """
        import orbax.checkpoint as ocp

        there = self.steps()
        if not there or (step is not None and step not in there):
            wanted = "a checkpoint" if step is None else f"the checkpoint of step {step}"
            raise CheckpointError(
                f"{self.directory!r} does not hold {wanted}; it holds "
                f"{'those of steps ' + ', '.join(map(str, there)) if there else 'none'}. Expected folders named "
                "by steps, as Checkpoints(directory).save(state) and fit(checkpoint=directory) write them."
            )
        number = there[-1] if step is None else step
        with self._reading(number, there), _manager(self.directory) as manager:
            asked = ocp.args.Composite(meta=ocp.args.JsonRestore())
            meta = manager.restore(number, args=asked).meta
            saved, history = dict(meta["arrays"]), History(**meta["history"])
        leaves = _leaves(state)
        self._compare_averages(number, meta.get("ema", state.decay), state.decay)  # older ones do not say it
        self._compare(number, saved, {name: _kind(leaf) for name, leaf in leaves.items()})
        like = unflatten_dict(
            {tuple(name.split("/")): np.zeros(leaf.shape, leaf.dtype) for name, leaf in leaves.items()}
        )
        with self._reading(number, there), _manager(self.directory) as manager:
            asked = ocp.args.Composite(state=ocp.args.StandardRestore(like))
            arrays = flatten_dict(manager.restore(number, args=asked).state, sep="/")
            return _filled(state, arrays), history

    @contextmanager
    def _reading(self, number: int, there: list[int]) -> Iterator[None]:
        folder = os.path.join(self.directory, str(number))
        try:
            yield
        except Exception as error:  # a damaged file can fail in any of orbax's layers
            others = [s for s in there if s != number]
            remedy = f"restore(state, step={others[-1]}) reads the one before" if others else "train anew"
            raise CheckpointError(
                f"{folder!r} cannot be read ({type(error).__name__}: {_first_line(error)}); expected the folders "
                f"'state' and 'meta' as Checkpoints.save writes them. The checkpoint is damaged: {remedy}."
            ) from error

    def _compare_averages(self, number: int, saved: float | None, expected: float | None) -> None:
        if saved == expected:
            return
        was, here = (
            "without an average of its parameters"
            if decay is None
            else f"with an average of its parameters of decay {decay}"
            for decay in (saved, expected)
        )
        remedy = (
            "Leave ema out of fit, and averaging out of what makes the state"
            if saved is None
            else f"Pass fit(ema={saved}), or restore(state.averaging({saved}))"
        )
        folder = os.path.join(self.directory, str(number))
        raise CheckpointError(f"{folder!r} was saved {was}, but the state is one {here}. {remedy}.")

    def _compare(self, number: int, saved: dict[str, str], expected: dict[str, str]) -> None:
        if saved == expected:
            return
        lines = [
            f"{name}: saved {saved.get(name, 'not')}, expected {expected.get(name, 'none')}"
            for name in dict.fromkeys([*expected, *saved])
            if saved.get(name) != expected.get(name)
        ]
        more = f"; and {len(lines) - _SHOWN} more" if len(lines) > _SHOWN else ""
        folder = os.path.join(self.directory, str(number))
        raise CheckpointError(
            f"{folder!r} belongs to another network or optimizer. {'; '.join(lines[:_SHOWN])}{more}. Build the "
            "state with the network, optimizer and key that were saved."
        )


def _manager(directory: str | os.PathLike[str], alone: bool = False) -> Any:
    """Orbax's manager of a directory; ``alone``: for this process, which does not wait for others."""
    import orbax.checkpoint as ocp

    more: dict[str, Any] = {}
    if alone and jax.process_count() > 1:
        more["multiprocessing_options"] = ocp.options.MultiprocessingOptions(
            primary_host=jax.process_index(),
            active_processes={jax.process_index()},
            barrier_sync_key_prefix="alone",
        )
    options = ocp.CheckpointManagerOptions(create=not more, enable_async_checkpointing=False, **more)
    return ocp.CheckpointManager(directory, options=options)


def _leaves(state: TrainState) -> dict[str, Any]:
    """Every array of a state by name, random keys as the integers that they are made of."""
    return {_name(path): _data(leaf) for path, leaf in jax.tree_util.tree_leaves_with_path(state)}


def _filled(state: TrainState, arrays: dict[str, Any]) -> TrainState:
    def fill(path: Any, leaf: jax.Array) -> jax.Array:
        array = jax.numpy.asarray(arrays[_name(path)])
        if getattr(leaf, "committed", False):  # to devices of the user's choice; jit chooses for others
            array = jax.device_put(array, _data(leaf).sharding)
        return jax.random.wrap_key_data(array, impl=jax.random.key_impl(leaf)) if _is_key(leaf) else array

    return cast(TrainState, jax.tree_util.tree_map_with_path(fill, state))


def _name(path: Any) -> str:
    return jax.tree_util.keystr(path, simple=True, separator="/")


def _is_key(leaf: Any) -> bool:
    return bool(jax.numpy.issubdtype(leaf.dtype, jax.dtypes.prng_key))


def _data(leaf: Any) -> Any:
    return jax.random.key_data(leaf) if _is_key(leaf) else leaf


def _kind(array: Any) -> str:
    return f"{array.dtype}[{','.join(map(str, array.shape))}]"


def _first_line(error: Exception) -> str:
    return str(error).partition("\n")[0][:200]
