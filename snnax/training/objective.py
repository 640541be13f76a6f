"""What is minimised and measured: which of a network's outputs a loss reads."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import jax
import jax.numpy as jnp

from snnax import checks
from snnax.errors import ArgumentError, ShapeError

__all__ = ["READ", "Accuracy", "Loss", "Objective", "Regularization", "foreign"]

Loss = Callable[[Any, Any], jax.Array]
"""``loss(outputs, targets)``, a scalar."""

Accuracy = Callable[[jax.Array, Any], jax.Array]
"""``accuracy(spikes, targets)``, a scalar."""

Regularization = Callable[[jax.Array], jax.Array]
"""``regularization(spikes)``, a scalar."""

READ = (None, "spk", "mem", "all")


@dataclass(frozen=True)
class Objective:
    """``loss(read(outputs), targets) + regularization(spikes)``, and the accuracy of the spikes.

    What a network returns is its spikes, or ``(spk, ..., mem)`` if its last neuron has ``output=True``.
    ``read`` says what of it the loss gets: ``"spk"`` the spikes, ``"mem"`` the membrane, ``"all"`` everything
    as it is; ``None`` what the loss says itself (``loss.reads``, as those of :mod:`snnax.functional` have), else the
    spikes.
    Accuracy and regularization get the spikes.

    Raises:
        ArgumentError: for an argument that cannot be called, is a class not yet built, or comes from torch,
            for another ``read``, and for a loss of membranes of a network that returns none.
        ShapeError: if the loss is no scalar.
    """

    loss: Loss
    accuracy: Accuracy | None = None
    regularization: Regularization | None = None
    read: str | None = None

    def __post_init__(self) -> None:
        _check("loss", self.loss, "snnax.functional.ce_rate_loss()")
        if self.accuracy is not None:
            _check("accuracy", self.accuracy, "snnax.functional.accuracy_rate")
        if self.regularization is not None:
            _check("regularization", self.regularization, "snnax.functional.l1_rate_sparsity()")
        for name, value in (("read", self.read), ("loss.reads", getattr(self.loss, "reads", None))):
            if not any(type(value) is type(known) and value == known for known in READ):
                raise ArgumentError(
                    f"{name}={checks.shown(value)}; expected one of {', '.join(map(repr, READ))}: what of the "
                    "network's outputs the loss gets."
                )

    def __call__(self, outputs: Any, targets: Any, more: Any = 0.0) -> tuple[jax.Array, dict[str, jax.Array]]:
        """The loss, to which ``more`` is added, and ``{"loss": ..., "accuracy": ...}``."""
        spikes = outputs[0] if isinstance(outputs, tuple) else outputs
        loss = jnp.asarray(self.loss(self._readout(outputs), targets)) + more
        if self.regularization is not None:
            loss = loss + self.regularization(spikes)
        if loss.ndim:
            raise ShapeError(
                f"the loss has shape {loss.shape}; expected one number. Build it with reduction='mean' or "
                "'sum', or return its mean."
            )
        metrics = {"loss": loss}
        if self.accuracy is not None:
            metrics["accuracy"] = jnp.asarray(self.accuracy(spikes, targets))
        return loss, metrics

    def _readout(self, outputs: Any) -> Any:
        read = getattr(self.loss, "reads", "spk") if self.read is None else self.read
        if read == "all":
            return outputs
        if read == "mem" and not isinstance(outputs, tuple):
            raise ArgumentError(
                "the loss reads the membrane, but the network returns one array, its spikes. Build its last "
                "neuron with output=True; or, if that array is a membrane, pass read='all'."
            )
        if not isinstance(outputs, tuple):
            return outputs
        return outputs[-1] if read == "mem" else outputs[0]


def foreign(value: Any) -> bool:
    """Whether a value is made by torch or snnTorch, told by the name of its module."""
    kind = value if isinstance(value, type) else type(value)
    return kind.__module__.partition(".")[0] in ("torch", "snntorch")


def _check(name: str, value: Any, example: str) -> None:
    if foreign(value):
        raise ArgumentError(
            f"{name} got {checks.shown(value)}, which computes on torch tensors; expected a function of JAX arrays, as "
            f"{name}={example}."
        )
    if isinstance(value, type):
        raise ArgumentError(
            f"{name} got the class {value.__name__}, not yet built; call it: {name}={value.__name__}()."
        )
    if not callable(value):
        raise ArgumentError(f"{name} got {checks.shown(value)}; expected a function, as {name}={example}.")
    try:
        hash(value)
    except TypeError as error:
        raise ArgumentError(
            f"{name} got {checks.shown(value)}, which cannot be hashed, so it cannot be compiled once and reused; "
            "make it a function or a dataclass with frozen=True."
        ) from error
