"""One call of ``fit`` or ``evaluate``: the state as it moves over the batches."""

from __future__ import annotations

import math
import time
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from typing import Any

import jax
import jax.numpy as jnp

from snnax import checks
from snnax.errors import ArgumentError, TrainingError
from snnax.training.calling import batch_axis
from snnax.training.checkpoints import Checkpoints
from snnax.training.diagnosis import culprit
from snnax.training.history import History, mean
from snnax.training.progress import Reporter
from snnax.training.state import TrainState
from snnax.training.steps import EvalStep, TrainStep

__all__ = ["BatchCallback", "Data", "Run"]

Data = Callable[[int], Iterable[Any]] | Iterable[Any]
"""Batches ``(x, y)``: something to iterate over anew in each epoch, or a function of the epoch."""

BatchCallback = Callable[[TrainState, Mapping[str, jax.Array]], bool | None]
"""Called after each batch with the state and what the step measured; returning True ends the training."""

_LOOK = 0.25  # seconds between two looks at the loss, each of which waits for a step of the device


class Run:
    """The state, what was measured, where it is saved, and who is told."""

    def __init__(
        self,
        step: TrainStep | None,
        measure: EvalStep,
        state: TrainState,
        history: History,
        store: Checkpoints | None,
        shown: Reporter,
        told: Sequence[BatchCallback] = (),
    ) -> None:
        self.step, self.measure, self.state = step, measure, state
        self.history, self.store, self.shown, self.told = history, store, shown, told
        self.pending: list[dict[str, Any]] = list(history.unfinished)
        self.first = int(state.step) - len(self.pending)
        self.known: set[Any] = set()
        self.sound: list[Any] = [True] * len(self.pending)
        self.good: tuple[TrainState, int] | None = None
        history.unfinished = []
        self.complete = history.lengths()

    def epoch(self, data: Data, eval_data: Data | None, epochs: int) -> bool:
        """Train on each batch of the next epoch, then evaluate; False if a batch's callback ended it before."""
        number, before = int(self.state.epoch), self.history.compile_seconds
        skip = int(self.state.step) - self.first
        began, looked, samples = time.perf_counter(), 0.0, 0
        source = _of_epoch(data, number)
        self.good = self.state, skip
        self.shown.begin(number + 1, epochs, _length(source, data))
        for done, item in enumerate(source, 1):
            if done <= skip:
                continue
            x, y, count = self._batch(item, self.step)
            self._compile("training step", self.step, x, y)
            former = self.state
            after, metrics = self.step(former, x, y)  # type: ignore[misc]
            self.pending.append({**metrics, "samples": count})
            self.sound.append(_sound(x))
            self.state = after  # last: Ctrl-C before it leaves a batch that was not trained on
            stop = [told(self.state, dict(metrics)) is True for told in self.told]
            if any(stop):
                return False
            # Of the step before: this one runs while the next batch is loaded.
            if len(self.pending) > 1 and time.perf_counter() - looked > _LOOK:
                latest, sound = jax.device_get((self.pending[-2], self.sound[-2]))
                looked = time.perf_counter()
                # Several processes look at other times; all of them end at the end of the epoch.
                if not (sound and math.isfinite(latest["loss"])) and jax.process_count() == 1:
                    break
                self.good = former, done - 1
                busy = looked - began - (self.history.compile_seconds - before)
                self.shown.advance(done - 1, {**latest, "samples_per_second": samples / busy})
            samples += count
        if not self.pending:
            raise ArgumentError(f"data has no batches in epoch {number + 1}; expected at least one (x, y).")
        self.pending = self._fetched(data)
        trained = time.perf_counter() - began - (self.history.compile_seconds - before)
        measured = [name for name in ("loss", "accuracy", "overflow") if name in self.pending[0]]
        values: dict[str, float] = {name: mean(self.pending, name) for name in measured}
        values["samples_per_second"] = samples / trained
        if eval_data is not None:
            values |= {f"eval_{name}": value for name, value in self.evaluate(eval_data).items()}
        values["seconds"] = time.perf_counter() - began
        after = self.state.replace(epoch=self.state.epoch + 1)
        step, count = int(after.step), len(self.pending)
        self.history.add_steps(self.pending)
        self.history.add(values)
        lengths = self.history.lengths()
        # at once: Ctrl-C before it leaves an epoch that is not complete
        self.state, self.first, self.pending, self.sound, self.complete = after, step, [], [], lengths
        self.shown.finish(number + 1, epochs, count, values)
        return True

    def evaluate(self, data: Data) -> dict[str, float]:
        """Means over all samples."""
        entries = []
        for item in _of_epoch(data, 0):
            x, y, count = self._batch(item, self.measure)
            self._compile("evaluation step", self.measure, x, y)
            entries.append({**self.measure(self.state, x, y), "samples": count})
        if not entries:
            raise ArgumentError("the evaluation data has no batches; expected at least one (x, y).")
        numbers = [{k: float(v) for k, v in entry.items()} for entry in jax.device_get(entries)]
        return {name: mean(numbers, name) for name in numbers[0] if name != "samples"}

    def save(self, last: bool) -> None:
        """Write a checkpoint, if it is time."""
        if self.store is not None and (last or int(self.state.epoch) % self.store.every == 0):
            self.store.save(self.state, self.history)

    def interrupted(self) -> None:
        """Keep what there is of an epoch that is not complete."""
        done = int(self.state.step) - self.first
        self.pending = self._fetched()[:done]
        self.history.cut(self.complete)
        self.history.interrupted, self.history.unfinished = True, self.pending
        where = f"epoch {int(self.state.epoch) + 1}, batch {done}"
        self.save(last=True)
        saved = "" if self.store is None else f"; saved to {self.store.directory}"
        self.shown.note(f"interrupted in {where}{saved}")

    def _fetched(self, data: Data | None = None) -> list[dict[str, float]]:
        """The metrics of the epoch's batches as numbers; ``data`` is where they came from.

        Raises:
            TrainingError: if a loss or an input is not finite.
        """
        fetched, sound = jax.device_get((self.pending, self.sound))
        numbers = [{k: float(v) for k, v in entry.items()} for entry in fetched]
        for done, (entry, fine) in enumerate(zip(numbers, sound, strict=False), 1):
            if not fine and math.isfinite(entry["loss"]):
                raise TrainingError(
                    f"the input at step {self.first + done} (epoch {int(self.state.epoch) + 1}, batch {done}) is not "
                    f"finite.{self._why(data, done)} No neuron spikes on NaN, so that the loss does not show it. Clean "
                    "the data, as with jnp.nan_to_num(x)."
                )
            if not math.isfinite(entry["loss"]):
                raise TrainingError(
                    f"the loss is {entry['loss']} at step {self.first + done} (epoch {int(self.state.epoch) + 1}, "
                    f"batch {done}).{self._why(data, done)} Look for NaN in that batch and for labels outside 0 ... "
                    "C-1, which give NaN; "
                    "else lower the learning rate or clip: "
                    "optax.chain(optax.clip_by_global_norm(1.0), optax.adam(1e-3)). "
                    "The newest checkpoint is from before."
                )
        return numbers

    def _why(self, data: Data | None, failed: int) -> str:
        """What is not finite in that batch of the epoch: goes there again from the last state that was fine."""
        if data is None or self.good is None or self.step is None or isinstance(data, Iterator):
            return ""
        if jax.process_count() > 1:  # a step needs all of them, and the others may have no fault to look for
            return ""
        state, done = self.good
        source = _of_epoch(data, int(self.state.epoch))
        for number, item in enumerate(source, 1):
            if number <= done:
                continue
            x, y, _ = self._batch(item, self.step)
            if number == failed:
                return culprit(state, x, y, self.step.num_steps)
            state, _ = self.step(state, x, y)
        return ""

    def _batch(self, item: Any, step: TrainStep | EvalStep | None) -> tuple[Any, Any, int]:
        if not isinstance(item, tuple | list) or len(item) != 2:
            raise ArgumentError(
                f"a batch of the data is a {type(item).__name__}; expected a pair (x, y) of arrays."
            )
        x, y = (checks.array(value, f"a batch's {name}") for name, value in zip("xy", item, strict=True))
        axis = 0 if step is None else batch_axis(self.state.net, step.num_steps)
        return x, y, x.shape[axis] if x.ndim > axis else 1

    def _compile(self, what: str, step: Any, x: jax.Array, y: jax.Array) -> None:
        """Compile for shapes that are new, and say so."""
        shapes = (what, x.shape, x.dtype, y.shape, y.dtype)
        if shapes in self.known:
            return
        self.shown.compiling(what)
        began = time.perf_counter()
        step.compile(self.state, x, y)
        seconds = time.perf_counter() - began
        self.known.add(shapes)
        self.history.compile_seconds += seconds
        self.shown.compiled(what, seconds)


@jax.jit
def _sound(x: jax.Array) -> jax.Array:
    return jnp.isfinite(x).all()


def _of_epoch(data: Data, epoch: int) -> Iterable[Any]:
    """The batches of an epoch.

    Raises:
        ArgumentError: if a function of the epoch returns something else.
    """
    if not callable(data):
        return data
    found = data(epoch)
    if not isinstance(found, Iterable) and not hasattr(found, "__getitem__"):
        raise ArgumentError(
            f"data: the function returned {checks.shown(found)} for epoch {epoch}; expected the batches (x, y) of that "
            "epoch, as data=lambda epoch: [(x, y)]."
        )
    return found


def _length(*candidates: Any) -> int | None:
    """Of the first that has a length."""
    return next((len(c) for c in candidates if hasattr(c, "__len__")), None)
