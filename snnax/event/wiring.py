"""Weights and delays among the neurons of a recurrent network, as its two engines take them."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp

from snnax import checks
from snnax.errors import ShapeError
from snnax.event.neuron import LIFParameters
from snnax.event.spike_trains import Trains, given_inputs

__all__ = ["Populations", "Wiring", "checked"]

Array = jax.Array

Populations = tuple[tuple[int, LIFParameters], ...]
"""Neurons side by side, as ``(size, parameters)`` of each population."""


class Wiring(NamedTuple):
    """Weights among the ``N`` neurons of a loop; a pytree, every part of which gets a gradient.

    Attributes:
        inputs: ``[N_in, N]``, from input trains to neurons.
        recurrent: ``[N, N]``, from row to column without delay; the diagonal acts on the neuron that fired.
        delayed: ``[P, N, N]``: each neuron has up to ``P`` axons with a delay, each with weights of its own.
        delays: ``[P, N]`` of those axons in seconds; ``inf`` where there is no axon. Less than zero counts as zero.

    Example:
        >>> import jax.numpy as jnp
        >>> from snnax import event
        >>> wiring = event.Wiring(inputs=jnp.ones((2, 3)), recurrent=-jnp.eye(3))
        >>> wiring.rows().shape  # two inputs, three neurons
        (5, 3)
    """

    inputs: Array
    recurrent: Array | None = None
    delayed: Array | None = None
    delays: Array | None = None

    def rows(self) -> Array:
        """All weights as one table: what an event adds to each current. Inputs, neurons, axons."""
        size = self.inputs.shape[1]
        tables = [self.inputs]
        if self.recurrent is not None:
            tables.append(self.recurrent)
        elif self.delayed is not None:
            tables.append(jnp.zeros((size, size), self.inputs.dtype))
        if self.delayed is not None:
            tables.append(self.delayed.reshape(-1, size))
        return jnp.concatenate(tables)


def checked(
    function: str,
    inputs: Trains,
    wiring: Wiring,
    parameters: LIFParameters | Sequence[tuple[int, LIFParameters]],
) -> tuple[Trains, Wiring, Populations]:
    """Trains, weights as arrays of their dtype, and populations as hashable numbers; errors name ``function``."""
    inputs = given_inputs(inputs, f"{function}(inputs=...)")
    checks.instance(Wiring, "snnax.event.Wiring(weights of the inputs, recurrent weights)")(
        wiring, f"{function}(wiring=...)"
    )
    parts = {
        name: None
        if part is None and name != "inputs"
        else checks.array(part, f"{function}(wiring.{name}=...)")
        for name, part in zip(Wiring._fields, wiring, strict=True)
    }
    populations = _populations(function, parts["inputs"], parameters)
    _check_shapes(function, parts, inputs.times.shape[1], sum(size for size, _ in populations))
    cast: dict[str, Any] = {
        name: part if part is None else part.astype(inputs.times.dtype) for name, part in parts.items()
    }
    return inputs, Wiring._make(cast.values()), populations


def _populations(function: str, inputs: Any, parameters: Any) -> Populations:
    expected = (
        "LIFParameters(), or populations side by side as [(80, LIFParameters()), (20, LIFParameters())]"
    )
    if isinstance(parameters, LIFParameters):
        return ((int(inputs.shape[-1]), parameters),) if inputs.ndim else ()
    try:
        populations = tuple(
            (checks.count()(size, f"{function}(parameters: size=...)"), one) for size, one in parameters
        )
    except (TypeError, ValueError) as error:
        raise checks.refuse(f"{function}(parameters=...)", parameters, expected) from error
    if not populations or not all(isinstance(one, LIFParameters) for _, one in populations):
        raise checks.refuse(f"{function}(parameters=...)", parameters, expected)
    return populations


def _check_shapes(function: str, parts: dict[str, Any], inputs: int, size: int) -> None:
    if (parts["delayed"] is None) != (parts["delays"] is None):
        raise ShapeError(
            f"{function}(wiring=...): the weights `delayed` [P, N, N] and their `delays` [P, N] belong together; "
            "pass both or none."
        )
    axons = parts["delays"].shape[:1] if parts["delays"] is not None else ()
    expected = {
        "inputs": (inputs, size),
        "recurrent": (size, size),
        "delayed": (*axons, size, size),
        "delays": (*axons, size),
    }
    for name, shape in expected.items():
        if parts[name] is not None and parts[name].shape != shape:
            raise ShapeError(
                f"{function}(wiring.{name} of shape {parts[name].shape}): expected {shape} for {inputs} input trains "
                f"and {size} neurons."
            )
