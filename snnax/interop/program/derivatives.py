"""Operations of a program that torch has as values and derivatives that belong to each other no more than by decree."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from typing import Any

import jax

from snnax import surrogate
from snnax.interop.program.nodes import STRAIGHT, SURROGATE

Array = jax.Array


def spikes(x: Array, name: str, options: Mapping[str, float], at_zero: bool = False) -> Array:
    """A step, with the derivative of one of the known surrogates; ``at_zero``: 1 there already."""
    known: Callable[..., Callable[[Array], Array]] = getattr(surrogate, name)
    above = known(**options)(x)
    return straight(above, (x >= 0).astype(above.dtype)) if at_zero else above


@jax.custom_jvp
def straight(old: Array, new: Array) -> Array:
    """``new``, with the derivative of ``old``."""
    del old
    return new


@straight.defjvp
def _straight(primals: tuple[Array, Array], tangents: tuple[Array, Array]) -> tuple[Array, Array]:
    return primals[1], tangents[0]


Derivative = Callable[[Sequence[Any], Sequence[Array]], list[Any]]
"""From the inputs of a function and the gradients of its results, those of its inputs."""


def pullback(values: Sequence[Array], inputs: Sequence[Any], derivative: Derivative) -> tuple[Array, ...]:
    """``values``, the gradients of which go to ``inputs`` by ``derivative``, and nowhere else."""

    @jax.custom_vjp
    def decreed(values: Any, inputs: Any) -> Any:
        del inputs
        return values

    def forward(values: Any, inputs: Any) -> Any:
        return values, inputs

    def backward(inputs: Any, gradients: Any) -> Any:
        return None, derivative(inputs, gradients)

    decreed.defvjp(forward, backward)
    return tuple(decreed(tuple(values), list(inputs)))


DECREED: dict[str, Callable[..., Any]] = {SURROGATE: spikes, STRAIGHT: straight}
"""By the name of the operation."""
