"""What the layers of event-driven networks share: how they are called, how spikes come in, what they report."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from typing import Any, ClassVar

import flax.linen as nn
import jax
import jax.numpy as jnp
import numpy as np

from snnax import checks
from snnax.errors import ArgumentError, ShapeError
from snnax.event.arguments import floats
from snnax.event.spike_trains import Trains, given_trains, trains
from snnax.modules import Module, check_rngs

__all__ = [
    "AxonDelay", "EventModule", "Initializer", "axon_delay", "fixed_seconds", "initializer", "spike_trains",
]  # fmt: skip

Initializer = Callable[..., Any]
"""As JAX's: ``initializer(key, shape, dtype)``."""

AxonDelay = float | Sequence[float] | Initializer | None
"""None, fixed seconds (one number, or one for each source), or an initializer of delays that are learned."""

_TRAINS = "spike trains, as snnax.event.trains(times), or times [B, N] or [B, N, K] in seconds"


class EventModule(Module):
    """A layer or a network in continuous time: one call is the whole simulation.

    What it is given are :class:`~snnax.event.Trains`, or an array of times.

    Collections that a call fills if they are ``mutable``:

    * ``"overflow"``: of each layer its ``spikes``, ``[B, M]``, where a neuron had more spikes than its budget.
    * ``"losses"``: terms that the layers want added to a loss; :func:`snnax.training.fit` adds them.
    """

    runs_whole: ClassVar[bool] = True
    """For :mod:`snnax.training`: it is called once for a batch, and not in each time step."""
    reads_values: ClassVar[bool] = True
    """Times before 0 are refused."""

    @nn.nowrap
    def init(self, rngs: Any, *args: Any, **kwargs: Any) -> Any:
        """As linen's: draw the variables. What they do not depend on, the simulation, is not run."""
        init = super().init
        checks.key(rngs, "init(rngs=...)") if not isinstance(rngs, Mapping) else check_rngs(
            rngs, "init(rngs=...)"
        )
        return jax.jit(lambda keys: init(keys, *args, **kwargs))(rngs)

    @nn.nowrap
    def _takes_trees(self) -> bool:
        return True

    @nn.nowrap
    def _nickname(self) -> str:
        return "net"

    @nn.nowrap
    def _works(self) -> str:
        return (
            "variables = net.init(jax.random.key(0), times); y = net.apply(variables, times), with spike times "
            "[B, N] or [B, N, K]"
        )

    def _report(self, collection: str, name: str, value: Any) -> None:
        """Put a value into a collection that is mutable, in place of that of an earlier call; none while it is made."""
        if not self.is_initializing():
            self.sow(collection, name, value, reduce_fn=_newest, init_fn=_nothing)

    def _delays(self, name: str, delay: AxonDelay, sources: int) -> Any:
        """Seconds of the axons of so many sources; a parameter if they are learned."""
        if callable(delay):
            return self.param(name, delay, (sources,), jnp.result_type(float))
        if isinstance(delay, tuple) and len(delay) != sources:
            raise ShapeError(
                f"{self._label()}({name} of {len(delay)} axons): expected one number, or one for each of the {sources} "
                "neurons that they come from."
            )
        return np.asarray(delay) if isinstance(delay, tuple) else delay


def _newest(_: Any, value: Any) -> Any:
    return value


def _nothing() -> None:
    return None


def spike_trains(value: Any, what: str) -> Trains:
    """Trains, or times of spikes as trains.

    Raises:
        ArgumentError: for anything else.
        ShapeError: for times that are not ``[B, N]`` or ``[B, N, K]``.
    """
    if isinstance(value, Trains):
        return given_trains(value, what)
    try:
        times = floats(value, what)
    except ArgumentError as error:
        raise checks.refuse(what, value, _TRAINS) from error
    if times.ndim not in (2, 3) or 0 in times.shape[1:]:
        raise ShapeError(f"{what.removesuffix('=...)')} of shape {times.shape}): expected {_TRAINS}.")
    return trains(times)


def initializer(value: Any, what: str) -> Any:
    """A function that draws weights."""
    if _draws(value):
        return value
    raise checks.refuse(what, value, "an initializer, as jax.nn.initializers.normal(0.1)")


def _draws(value: Any) -> bool:
    """Whether it may be an initializer: something to call, and no class or module."""
    return callable(value) and not isinstance(value, type | nn.Module) and not hasattr(value, "forward")


def axon_delay(value: Any, what: str) -> Any:
    """One of :data:`AxonDelay`, in a form that can be hashed."""
    if value is None or _draws(value):
        return value
    expected = (
        "None, seconds from 0 (a number, or one for each source), or an initializer of delays to learn, as "
        "jax.nn.initializers.uniform(5e-3)"
    )
    found = fixed_seconds(value, what, expected)
    if found.ndim > 1:
        raise checks.refuse(what, value, expected)
    return tuple(found.tolist()) if found.ndim else float(found)


def fixed_seconds(value: Any, what: str, expected: str) -> np.ndarray:
    """Finite times from 0, in double precision whatever JAX computes in: they are fields, and no arrays yet."""
    try:
        checks.real(value, what)
        found = np.asarray(value, float)
    except (ArgumentError, TypeError, ValueError, RuntimeError) as error:
        raise checks.refuse(what, value, expected) from error
    if not found.size or not (np.isfinite(found) & (found >= 0)).all():
        raise checks.refuse(what, value, expected)
    return found
