"""Operations of a program that torch has as values and derivatives that belong to each other no more than by decree."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from typing import Any

import jax

from snnax import surrogate
from snnax.interop.program.nodes import STRAIGHT, SURROGATE, Given, mapped

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


def by_operations(
    inputs: Sequence[Any],
    gradients: Sequence[Any],
    operations: Sequence[Any],
    ends: Sequence[Any],
    evaluate: Callable[[str, Any, Any, Any], Sequence[Any]],
) -> list[Any]:
    """The gradients of the inputs of a function, by the operations of its ``backward``, see :data:`PULLBACK`.

    Args:
        inputs: of the function.
        gradients: of its results.
        operations: of its backward.
        ends: for each input what its gradient is, or ``None``.
        evaluate: the outputs of an operation, from its name, arguments, keywords and the forms of its results.
    """
    known: dict[Given, Any] = {Given("gradient", i): value for i, value in enumerate(gradients)}
    known.update({Given("input", i): value for i, value in enumerate(inputs)})
    for place, (op, args, kwargs, forms) in enumerate(operations):
        args, kwargs = mapped((args, kwargs), lambda e: known[e] if isinstance(e, Given) else e)
        made = evaluate(op, args, kwargs, forms)
        known.update({Given("operation", place, out): value for out, value in enumerate(made)})
    return [None if end is None else known[end] for end in ends]


DECREED: dict[str, Callable[..., Any]] = {SURROGATE: spikes, STRAIGHT: straight}
"""By the name of the operation."""
