"""One step of training and of evaluation, each compiled as one program."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any, cast

import jax
import jax.numpy as jnp
import optax
from jax.sharding import Mesh

from snnax import checks
from snnax.errors import ArgumentError
from snnax.network.compiled import Compiled
from snnax.network.keeping import check_memory
from snnax.network.unroll import check_remat, keeps_bfloat16
from snnax.training.calling import added, batch_axis, call_on, carried, overflow
from snnax.training.objective import READ, Accuracy, Loss, Objective, Regularization
from snnax.training.sharding import check_mesh, cut, replicated
from snnax.training.state import TrainState
from snnax.utils import evaluating, training

__all__ = ["EvalStep", "Metrics", "TrainStep", "make_eval_step", "make_train_step"]

EVALUATION = 2**32 - 1
"""No step of training has this number: what is drawn in evaluation comes from a key of its own, the same each time."""

Metrics = dict[str, jax.Array]
"""Scalars by name: ``loss``, ``accuracy``, ``grad_norm``, ``overflow``."""


@dataclass(frozen=True)
class TrainStep:
    """A compiled step of training; see :func:`make_train_step`. Equal steps share their programs."""

    objective: Objective
    num_steps: int | None
    chunk: int | str
    rngs: tuple[str, ...]
    donate: bool
    mesh: Mesh | None = None
    remat: bool | str = "auto"
    residuals: Any = None
    memory: float | str = "auto"

    def __call__(self, state: TrainState, x: Any, y: Any) -> tuple[TrainState, Metrics]:
        """The state after one batch, and its metrics."""
        return cast(tuple[TrainState, Metrics], self._program(state.net, self, *_placed(self, state, x, y)))

    def compile(self, state: TrainState, x: Any, y: Any) -> None:
        """Compile for these shapes ahead of the first call."""
        self._program.lower(state.net, self, *_placed(self, state, x, y)).compile()

    @property
    def _program(self) -> Compiled:
        return _train_donating if self.donate else _train


@dataclass(frozen=True)
class EvalStep:
    """A compiled step of evaluation; see :func:`make_eval_step`. Equal steps share their programs."""

    objective: Objective
    num_steps: int | None
    chunk: int | str
    mesh: Mesh | None = None

    def __call__(self, state: TrainState, x: Any, y: Any) -> Metrics:
        """The metrics of one batch."""
        return cast(Metrics, _eval(state.net, self, *_placed(self, state, x, y)))

    def compile(self, state: TrainState, x: Any, y: Any) -> None:
        """Compile for these shapes ahead of the first call."""
        _eval.lower(state.net, self, *_placed(self, state, x, y)).compile()


def CHUNK(value: Any, what: str) -> Any:
    """Steps per chunk."""
    if isinstance(value, str) and value == "auto":
        return value
    if checks.whole(value) is None:
        raise checks.refuse(what, value, "'auto', or a whole number of steps >= 1")
    return checks.whole(value)


@checks.takes(
    num_steps=checks.maybe(checks.count()), chunk=CHUNK, read=checks.one_of(*READ), rngs=checks.texts
)
def make_train_step(
    loss: Loss,
    accuracy: Accuracy | None = None,
    *,
    regularization: Regularization | None = None,
    read: str | None = None,
    num_steps: int | None = None,
    chunk: int | str = "auto",
    rngs: Sequence[str] = ("dropout",),
    donate: bool = True,
    mesh: Mesh | None = None,
    remat: bool | str = "auto",
    residuals: Any = None,
    memory: float | str = "auto",
) -> TrainStep:
    r"""A compiled step of training: ``state, metrics = step(state, x, y)``.

    .. math:: \theta \leftarrow \theta + \mathrm{tx}\big(\nabla_\theta\, \ell(\mathrm{unroll}(x; \theta), y)\big)

    The network runs in training mode over all time steps; the gradient goes back through all of them. A network in
    continuous time (:mod:`snnax.event`) is called once: ``x`` is ``[B, ...]``, what it sows into ``"losses"`` is added
    to the loss, and the metrics have ``overflow``, the share of samples in which its budget of spikes did not suffice.

    Args:
        loss: ``loss(outputs, y)``, a scalar, as ``snnax.functional.ce_rate_loss()``.
        accuracy: ``accuracy(spikes, y)``, a scalar, as ``snnax.functional.accuracy_rate``.
        regularization: ``regularization(spikes)``, added to the loss.
        read: what of the network's outputs the loss gets: ``"spk"``, ``"mem"``, ``"all"`` (what ``unroll``
            returns, as it is), or None: the membrane for the membrane losses of :mod:`snnax.functional`, the
            spikes for any other.
        num_steps: T, for ``x[B, ...]`` that is shown at every step; else ``x`` is ``[T, B, ...]``.
        chunk: as in :func:`~snnax.unroll`.
        rngs: names of the random streams that the network draws from.
        donate: reuse the memory of the state that goes in, which cannot be used afterwards.
        mesh: devices that take a part of each batch, as :func:`data_mesh` returns them; of several processes,
            each passes its own part of ``x`` and ``y``. The loss is that of the whole batch.
        remat: what the gradient computes anew and does not keep, as in :func:`~snnax.unroll`: ``True`` for
            long sequences.
        residuals: ``jnp.bfloat16`` halves what the gradient keeps, as in :func:`~snnax.unroll`.
        memory: bytes that the gradient may take, or ``"auto"``, half of what is free, as in :func:`~snnax.unroll`.

    Returns:
        A function of ``(state, x, y)``, compiled once for each shape. It returns the new state and
        ``{"loss", "accuracy", "grad_norm"}``: scalars, before the update; ``accuracy`` only if there is one.

    Raises:
        ArgumentError: for a bad argument; from the step, if the network returns no membrane to a loss of it.
        ShapeError: from the step, if ``x`` or ``y`` does not fit, or the loss is no scalar.

    Example:
        >>> import jax, jax.numpy as jnp, flax.linen as nn, optax, snnax as snn
        >>> import snnax.functional as SF
        >>> net = snn.Sequential([nn.Dense(4), snn.Leaky(beta=0.9, init_hidden=True)])
        >>> x, y = jnp.ones((25, 8, 3)), jnp.zeros(8, int)  # [T, B, features], [B]
        >>> state = snn.training.TrainState.create(net, net.init(jax.random.key(0), x[0]), optax.adam(1e-2))
        >>> step = snn.training.make_train_step(SF.ce_rate_loss(), SF.accuracy_rate)
        >>> state, metrics = step(state, x, y)
        >>> int(state.step), sorted(metrics)
        (1, ['accuracy', 'grad_norm', 'loss'])

    Compared with snnTorch: takes the place of the loop body that its tutorials write out: forward over time,
    ``zero_grad``, ``backward``, ``step``.
    """
    objective = Objective(loss, accuracy, regularization, read)
    kept = jnp.bfloat16 if keeps_bfloat16(residuals) else None
    shared = check_mesh(mesh), check_remat(remat), kept, check_memory(memory)
    return TrainStep(objective, num_steps, chunk, tuple(rngs), bool(donate), *shared)


@checks.takes(num_steps=checks.maybe(checks.count()), chunk=CHUNK, read=checks.one_of(*READ))
def make_eval_step(
    loss: Loss,
    accuracy: Accuracy | None = None,
    *,
    regularization: Regularization | None = None,
    read: str | None = None,
    num_steps: int | None = None,
    chunk: int | str = "auto",
    mesh: Mesh | None = None,
) -> EvalStep:
    """A compiled step of evaluation: ``metrics = step(state, x, y)``; the state stays as it is.

    Dropout is off, batch norms use their running averages, and every batch starts from zero. Of a state that averages
    its parameters it reads the average (``state.averaged``). A network that draws random numbers in evaluation too, as
    a ported one with ``torch.rand`` in its ``forward``, draws the same every time.

    Args:
        loss: as in :func:`make_train_step`, as are the next ones.
        accuracy: of the spikes.
        regularization: added to the loss.
        read: what of the outputs the loss gets.
        num_steps: T, for ``x[B, ...]`` that is shown at every step.
        chunk: steps per chunk.
        mesh: devices that take a part of each batch.

    Returns:
        A function of ``(state, x, y)``, compiled once for each shape; it returns ``{"loss", "accuracy"}``.

    Raises:
        ArgumentError: as in :func:`make_train_step`; from the step, for a network that was ported in training mode.
        ShapeError: as in :func:`make_train_step`.

    Example:
        >>> import jax, jax.numpy as jnp, flax.linen as nn, optax, snnax as snn
        >>> import snnax.functional as SF
        >>> net = snn.Sequential([nn.Dense(4), snn.Leaky(beta=0.9, init_hidden=True)])
        >>> x, y = jnp.zeros((8, 3)), jnp.zeros(8, int)
        >>> state = snn.training.TrainState.create(net, net.init(jax.random.key(0), x), optax.adam(1e-2))
        >>> metrics = snn.training.make_eval_step(SF.ce_rate_loss(), num_steps=25)(state, x, y)
        >>> round(float(metrics["loss"]), 4)
        1.3863
    """
    objective = Objective(loss, accuracy, regularization, read)
    return EvalStep(objective, num_steps, chunk, check_mesh(mesh))


def _placed(step: TrainStep | EvalStep, state: TrainState, x: Any, y: Any) -> tuple[TrainState, Any, Any]:
    """The state on every device and the batch cut, if there are several."""
    checks.instance(TrainState, "a TrainState, as TrainState.create returns it")(state, "the step's state")
    x, y = checks.array(x, "the step's x"), checks.array(y, "the step's y")
    if (mesh := step.mesh) is None:
        return state, x, y
    hidden = None if state.hidden is None else jax.tree.map(lambda h: cut(mesh, h, 0), state.hidden)
    alike = replicated(mesh, state.replace(hidden=None)).replace(hidden=hidden)
    return alike, cut(mesh, x, batch_axis(state.net, step.num_steps)), cut(mesh, y, 0)


def _train_step(step: TrainStep, state: TrainState, x: Any, y: Any) -> tuple[TrainState, Metrics]:
    net = training(state.net)
    now = jax.random.fold_in(state.key, state.step)
    keys = {name: jax.random.fold_in(now, number) for number, name in enumerate(step.rngs)}
    mutable = (*(("batch_stats",) if state.batch_stats else ()), *carried(net))
    if "params" in mutable:
        raise ArgumentError(
            f"a call of {type(net).__name__} changes its own parameters, and so would the optimizer. Take that out of "
            "forward and port the network again: what keeps weights in a range is an optax transformation."
        )

    def forward(params: Any) -> tuple[jax.Array, tuple[Metrics, Mapping[str, Any]]]:
        given = {**state.variables, "params": params}
        how: dict[str, Any] = {
            "num_steps": step.num_steps, "chunk": step.chunk, "remat": step.remat, "residuals": step.residuals,
            "memory": step.memory,
        }  # fmt: skip
        outputs, updates = call_on(step.mesh, net, given, x, rngs=keys, mutable=mutable, **how)
        value, metrics = step.objective(outputs, y, added(updates))
        return value, (metrics | overflow(updates), dict(updates))

    grads, (metrics, updates) = jax.grad(forward, has_aux=True)(state.params)
    after = state.apply_gradients(
        grads,
        value=metrics["loss"],
        value_fn=lambda params: forward(params)[0],
        **{name: updates[name] for name in mutable},
        hidden=None if state.hidden is None else updates["hidden"],
    )
    return _like(after, state), {**metrics, "grad_norm": jnp.asarray(optax.tree.norm(grads))}


def _eval_step(step: EvalStep, state: TrainState, x: Any, y: Any) -> Metrics:
    given = {name: value for name, value in state.averaged.variables.items() if name != "hidden"}
    how: dict[str, Any] = {"num_steps": step.num_steps, "chunk": step.chunk}
    net = evaluating(state.net)
    if fixed := getattr(net, "in_training", ()):
        raise ArgumentError(
            f"{', '.join(fixed)} of the {type(net).__name__} compute as in training in every call: it was ported with "
            "training=True. Evaluate with the port of net.eval(), which has the same variables: model, _ = "
            "snnax.interop.from_snntorch(net.eval(), sample); evaluate(state.replace(net=model), data, ...)."
        )
    keys = {"dropout": jax.random.fold_in(state.key, EVALUATION)}
    outputs, updates = call_on(step.mesh, net, given, x, rngs=keys, mutable=carried(net), **how)
    return step.objective(outputs, y, added(updates))[1] | overflow(updates)


def _like(after: TrainState, before: TrainState) -> TrainState:
    """``after`` in the dtypes of ``before``, so that the next step is the same program."""

    def same(new: jax.Array, old: jax.Array) -> jax.Array:
        # a key has no weak type, if it is not traced
        alike = new.dtype == old.dtype and not getattr(new, "weak_type", False)
        return new if alike else jax.lax.convert_element_type(new, old.dtype)

    return cast(TrainState, jax.tree.map(same, after, before))


_train = Compiled(_train_step)
_train_donating = Compiled(_train_step, donate_argnums=1)
_eval = Compiled(_eval_step)
