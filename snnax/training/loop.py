"""``fit``: epochs of training with progress, checkpoints and a history; ``evaluate``."""

from __future__ import annotations

import inspect
import os
from collections.abc import Callable, Iterator, Sequence
from typing import TYPE_CHECKING, Any

import flax.linen as nn
from jax.sharding import Mesh

from snnax import checks
from snnax.checks import whole
from snnax.errors import ArgumentError
from snnax.training.checkpoints import Checkpoints
from snnax.training.history import History
from snnax.training.objective import Accuracy, Loss, Regularization
from snnax.training.progress import Reporter, reporter
from snnax.training.run import BatchCallback, Data, Run
from snnax.training.state import TrainState, check_decay
from snnax.training.steps import make_eval_step, make_train_step

if TYPE_CHECKING:
    from rich.console import Console

__all__ = ["BatchCallback", "Callback", "evaluate", "fit"]

Callback = Callable[[TrainState, History], bool | None]
"""Called after each epoch; returning True ends the training."""


def _data(value: Any, what: str) -> Any:
    """Batches, or a function of the epoch that returns them."""
    odd = isinstance(value, type | nn.Module) or inspect.isbuiltin(value) or hasattr(value, "forward")
    if callable(value) and not odd:
        return value
    return checks.batches(value, what)


def _store(value: Any, what: str) -> Any:
    """Where to save."""
    if isinstance(value, Checkpoints | str | os.PathLike):
        return value
    raise checks.refuse(what, value, "a directory, or snnax.training.Checkpoints(directory)")


def _callbacks(seen: str) -> checks.Check:
    """Functions of the state and what they are shown beside it."""

    def check(value: Any, what: str) -> Any:
        if isinstance(value, list | tuple) and all(callable(callback) for callback in value):
            return value
        raise checks.refuse(
            what, value, f"functions of the state and the {seen}, as [lambda state, {seen}: None]"
        )

    return check


@checks.takes(
    state=checks.instance(
        TrainState, "a TrainState, as snnax.training.TrainState.create(net, variables, optax.adam(1e-3))"
    ),
    data=_data,
    eval_data=checks.maybe(_data),
    rngs=checks.texts,
    checkpoint=checks.maybe(_store),
    callbacks=_callbacks("history"),
    batch_callbacks=_callbacks("metrics"),
    ema=checks.maybe(check_decay),
)
def fit(
    state: TrainState,
    data: Data,
    *,
    epochs: int,
    loss: Loss,
    accuracy: Accuracy | None = None,
    eval_data: Data | None = None,
    regularization: Regularization | None = None,
    read: str | None = None,
    num_steps: int | None = None,
    chunk: int | str = "auto",
    rngs: Sequence[str] = ("dropout",),
    mesh: Mesh | None = None,
    remat: bool | str = "auto",
    residuals: Any = None,
    memory: float | str = "auto",
    checkpoint: Checkpoints | str | os.PathLike[str] | None = None,
    resume: bool = False,
    callbacks: Sequence[Callback] = (),
    batch_callbacks: Sequence[BatchCallback] = (),
    ema: float | None = None,
    progress: bool | Console = True,
) -> tuple[TrainState, History]:
    """Train until ``epochs`` passes over the data are complete, those that ``state`` has behind it included.

    Args:
        state: where to start; not changed.
        data: batches ``(x, y)``, as :func:`batches` makes them: an iterable that can be read anew in each epoch
            (a list, a torch ``DataLoader``), or a function from the number of the epoch to one. ``x`` is
            ``[T, B, ...]``, or ``[B, ...]`` with ``num_steps`` and for networks in continuous time.
        epochs: counted from the very first; ``state.epoch`` says how many are done.
        loss: as in :func:`make_train_step`, as are the next ones.
        accuracy: of the spikes.
        regularization: added to the loss.
        read: what of the outputs the loss gets.
        num_steps: T, for ``x[B, ...]`` that is shown at every step.
        chunk: steps per chunk.
        rngs: names of random streams.
        mesh: devices that take a part of each batch, as :func:`data_mesh` returns them.
        remat: what the gradient computes anew and does not keep, as in :func:`~snnax.unroll`: ``True`` for
            long sequences.
        residuals: ``jnp.bfloat16`` halves what the gradient keeps, as in :func:`~snnax.unroll`.
        memory: bytes that the gradient may take, or ``"auto"``, half of what is free, as in :func:`~snnax.unroll`.
        eval_data: batches to evaluate on after each epoch; a function is called with 0.
        checkpoint: directory, or :class:`Checkpoints`, to save to after the epochs.
        resume: go on from the newest checkpoint there, if there is one; also in the middle of an epoch that
            Ctrl-C ended. ``data`` must then give the same batches again: same seed, same order.
        callbacks: called with ``(state, history)`` after each epoch; one that returns True ends the training.
        batch_callbacks: called with ``(state, metrics)`` after each batch; ``metrics`` holds ``loss``, ``accuracy`` and
            ``grad_norm`` as arrays of JAX, and training does not wait for them unless a callback reads one
            (``float(metrics["loss"])``). One that returns True ends the training there, as Ctrl-C does.
        ema: decay of an average of the parameters over the steps, as 0.999: evaluation reads the average, and
            ``state.averaged`` has it. See :meth:`TrainState.averaging`. A state that averages goes on with it.
        progress: a bar with loss, accuracy, samples/s and time left on a terminal, else one line per
            epoch; compilation is shown as a step of its own. False for silence, or a ``rich`` console.

    Returns:
        The trained state, and a :class:`History`. After Ctrl-C, or a batch's callback that ended the training: what is
        there (``history.interrupted``), saved too.

    Raises:
        TrainingError: if a loss or an input is not finite; it names the batch, and what in it or which layer.
        ArgumentError: for bad arguments; data that is empty, can be read only once, or is no pair; nothing
            left to train; a directory that already holds checkpoints, without ``resume``.
        CheckpointError: if the checkpoint to resume from is damaged or of another network.

    Example:
        >>> import jax, numpy as np, flax.linen as nn, optax, snnax as snn
        >>> import snnax.functional as SF
        >>> rng = np.random.default_rng(0)
        >>> y = rng.integers(0, 2, 64)
        >>> x = (rng.random((10, 64, 2)) < np.where(np.eye(2)[y], 0.9, 0.1)).astype(np.float32)  # [T, N, 2]
        >>> net = snn.Sequential([nn.Dense(2), snn.Leaky(beta=0.8, init_hidden=True)])
        >>> state = snn.training.TrainState.create(net, net.init(jax.random.key(0), x[0]), optax.adam(0.1))
        >>> state, history = snn.training.fit(
        ...     state, snn.training.batches(x, y, 16, axis=1), epochs=10, loss=SF.ce_count_loss(),
        ...     accuracy=SF.accuracy_rate, progress=False)
        >>> len(history.loss), history.loss[-1] < history.loss[0], history.accuracy[-1] > 0.9
        (10, True, True)

    Compared with snnTorch: has no counterpart there; its tutorials write the two loops out.
    """
    wants = {
        "regularization": regularization,
        "read": read,
        "num_steps": num_steps,
        "chunk": chunk,
        "mesh": mesh,
    }
    kept = {"rngs": rngs, "donate": False, "remat": remat, "residuals": residuals, "memory": memory}
    step = make_train_step(loss, accuracy, **kept, **wants)  # type: ignore[arg-type]
    measure = make_eval_step(loss, accuracy, **wants)  # type: ignore[arg-type]
    store = Checkpoints(checkpoint) if isinstance(checkpoint, str | os.PathLike) else checkpoint
    state, history = _begin(state if ema is None else state.averaging(ema), store, resume)
    _check_epochs(epochs, int(state.epoch), resume)
    for name, given in (("data", data), ("eval_data", eval_data)):
        if isinstance(given, Iterator) and epochs - int(state.epoch) > 1:
            raise ArgumentError(
                f"{name} is a {type(given).__name__}, which can be read only once, but there are several epochs. "
                "Pass a list, a DataLoader, snnax.training.batches(...) or a function of the epoch."
            )
    with reporter(progress) as shown:
        run = Run(step, measure, state, history, store, shown, batch_callbacks)
        try:
            while int(run.state.epoch) < epochs:
                if not run.epoch(data, eval_data, epochs):
                    run.interrupted()
                    break
                stop = [callback(run.state, history) is True for callback in callbacks]
                run.save(last=any(stop) or int(run.state.epoch) == epochs)
                if any(stop):
                    break
        except KeyboardInterrupt:
            run.interrupted()
    return run.state, history


@checks.takes(
    state=checks.instance(
        TrainState, "a TrainState, as snnax.training.TrainState.create(net, variables, optax.adam(1e-3))"
    ),
    data=_data,
)
def evaluate(
    state: TrainState,
    data: Data,
    *,
    loss: Loss,
    accuracy: Accuracy | None = None,
    regularization: Regularization | None = None,
    read: str | None = None,
    num_steps: int | None = None,
    chunk: int | str = "auto",
) -> dict[str, float]:
    """Mean loss and accuracy over all samples of ``data``, in evaluation mode.

    Args:
        state: the network and its variables.
        data: batches ``(x, y)``; a function is called with 0.
        loss: as in :func:`make_train_step`, as are the next ones.
        accuracy: of the spikes.
        regularization: added to the loss.
        read: what of the outputs the loss gets.
        num_steps: T, for ``x[B, ...]`` that is shown at every step.
        chunk: steps per chunk.

    Returns:
        ``{"loss": ..., "accuracy": ...}``.

    Raises:
        ArgumentError: as in :func:`fit`.

    Example:
        >>> import jax, jax.numpy as jnp, flax.linen as nn, optax, snnax as snn
        >>> import snnax.functional as SF
        >>> net = snn.Sequential([nn.Dense(4), snn.Leaky(beta=0.9, init_hidden=True)])
        >>> x, y = jnp.zeros((8, 3)), jnp.zeros(8, int)
        >>> state = snn.training.TrainState.create(net, net.init(jax.random.key(0), x), optax.sgd(0.1))
        >>> snn.training.evaluate(state, [(x, y)], loss=SF.ce_rate_loss(), accuracy=SF.accuracy_rate, num_steps=5)
        {'accuracy': 1.0, 'loss': 1.3862943649291992}
    """
    measure = make_eval_step(
        loss, accuracy, regularization=regularization, read=read, num_steps=num_steps, chunk=chunk
    )
    return Run(None, measure, state, History(), None, Reporter()).evaluate(data)


def _begin(state: TrainState, store: Checkpoints | None, resume: bool) -> tuple[TrainState, History]:
    if store is None:
        if resume:
            raise ArgumentError(
                "fit(resume=True) needs a directory to resume from: pass checkpoint=directory."
            )
        return state, History()
    if not store.steps():
        return state, History()
    if not resume:
        raise ArgumentError(
            f"{store.directory!r} already holds checkpoints (steps {store.steps()}). Pass resume=True to go on "
            "from the newest, or another directory to start anew."
        )
    state, history = store.restore(state)
    history.compile_seconds, history.interrupted = 0.0, False
    return state, history


def _check_epochs(epochs: Any, done: int, resume: bool) -> None:
    if (whole(epochs) or 2**31) >= 2**31:
        raise ArgumentError(f"fit(epochs={checks.shown(epochs)}); expected a whole number of epochs >= 1.")
    if epochs <= done and not resume:
        raise ArgumentError(
            f"fit(epochs={epochs}): the state has {done} epochs behind it already, so nothing is left to do. They "
            f"are counted from the very first: pass epochs={done + epochs} for {epochs} more."
        )
