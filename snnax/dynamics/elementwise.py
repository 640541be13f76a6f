"""A step of a neuron as a list of elementwise operations, which a kernel can do on any block of neurons.

What depends on parameters alone is computed before, once for all steps; what is left takes and gives arrays of
the sample's shape and scalars.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
import numpy as np
from jax.extend.core import ClosedJaxpr, Literal, Primitive

KNOWN = frozenset(
    "abs add add_any and atan atan2 bitcast_convert_type clamp convert_element_type cos cosh div eq erf_inv exp "
    "exp2 expm1 floor ge gt integer_pow is_finite le log log1p logistic lt max min mul ne neg not or pow rem "
    "rsqrt select_n sign sin sinh sqrt square sub tan tanh xor".split()
)
"""Names of operations that are elementwise and known to the Triton backend of Pallas."""

_SAME = ("broadcast_in_dim", "copy", "copy_p", "reshape", "stop_gradient")
_CALLS = {"jit": "jaxpr", "closed_call": "call_jaxpr", "custom_jvp_call": "call_jaxpr"}


class Slot(NamedTuple):
    """A value that is known only within the loop."""

    number: int


class Operation(NamedTuple):
    """``out = primitive(*inputs)``; inputs are slots or what is known before the loop."""

    primitive: Primitive
    options: dict[str, Any]
    inputs: tuple[Any, ...]
    out: Slot


class Program(NamedTuple):
    """An elementwise function.

    Attributes:
        operations: in order.
        outputs: slots, or what is known before.
        dtypes: of the outputs.
        fixed: arrays computed before the loop that it reads: scalars, or of the sample's shape.
        used: of each input, whether the outputs depend on it.
    """

    operations: tuple[Operation, ...]
    outputs: tuple[Any, ...]
    dtypes: tuple[Any, ...]
    fixed: tuple[jax.Array, ...]
    used: tuple[bool, ...]

    def __call__(
        self, fixed: Sequence[jax.Array], inputs: Sequence[Any], shape: tuple[int, ...]
    ) -> list[jax.Array]:
        """The outputs for blocks of ``shape``; inputs that are not used may be ``None``."""
        table: dict[Any, Any] = {Slot(i): value for i, value in enumerate(inputs)}
        table.update({id(value): block for value, block in zip(self.fixed, fixed, strict=True)})

        def block(value: Any, dtype: Any) -> jax.Array:
            known = table[value] if isinstance(value, Slot) else table.get(id(value), value)
            return jnp.broadcast_to(jnp.asarray(known, dtype), shape)

        for operation in self.operations:
            given = [block(value, None) for value in operation.inputs]
            table[operation.out] = operation.primitive.bind(*given, **operation.options)
        return [block(out, dtype) for out, dtype in zip(self.outputs, self.dtypes, strict=True)]


class NotElementwiseError(Exception):
    """An operation mixes neurons, or is not known."""


def program(function: Callable[..., Any], *inputs: Any) -> tuple[Program, Any]:
    """``function`` as a program, and the structure of its result.

    Args:
        function: of trees of arrays of one shape; it may close over parameters.
        inputs: arrays, or their shapes and dtypes.

    Raises:
        NotElementwiseError: it is not, or not known to be.
    """
    closed, result = jax.make_jaxpr(function, return_shape=True)(*inputs)
    leaves = jax.tree.leaves(inputs)
    shape = leaves[0].shape
    if any(leaf.shape != shape for leaf in (*leaves, *jax.tree.leaves(result))):
        raise NotElementwiseError(shape)
    operations: list[Operation] = []
    outputs = _flat(closed, [Slot(i) for i in range(len(leaves))], operations, shape, len(leaves))
    live = {out for out in outputs if isinstance(out, Slot)}
    kept = []
    for operation in reversed(operations):
        if operation.out in live:
            kept.append(operation)
            live |= {value for value in operation.inputs if isinstance(value, Slot)}
    values = [*outputs, *(value for operation in kept for value in operation.inputs)]
    fixed = {id(value): value for value in values if isinstance(value, jax.Array) or np.ndim(value)}
    fixed = {name: value for name, value in fixed.items() if not isinstance(value, Slot)}
    dtypes = tuple(leaf.dtype for leaf in jax.tree.leaves(result))
    used = tuple(Slot(i) in live for i in range(len(leaves)))
    found = Program(tuple(kept[::-1]), tuple(outputs), dtypes, tuple(fixed.values()), used)
    return found, jax.tree.structure(result)


def _flat(
    closed: ClosedJaxpr, inputs: list[Any], operations: list[Operation], shape: tuple[int, ...], first: int
) -> list[Any]:
    """Append the operations of ``closed``; returns its outputs. Calls are opened, known values computed."""
    jaxpr = closed.jaxpr
    table: dict[Any, Any] = dict(zip(jaxpr.constvars, closed.consts, strict=True))
    table.update(zip(jaxpr.invars, inputs, strict=True))

    def read(atom: Any) -> Any:
        if not isinstance(atom, Literal):
            return table[atom]
        aval: Any = atom.aval
        return np.asarray(atom.val, aval.dtype)

    for eqn in jaxpr.eqns:
        given, name = [read(atom) for atom in eqn.invars], eqn.primitive.name
        if name in _CALLS:
            outs = _flat(eqn.params[_CALLS[name]], given, operations, shape, first)
        elif name == "broadcast_in_dim" and np.ndim(given[0]) == 0 and not isinstance(given[0], Slot):
            outs = given
        elif not any(isinstance(value, Slot) for value in given):
            found = eqn.primitive.bind(*_of_its_shape(eqn, given), **eqn.params)
            outs = found if eqn.primitive.multiple_results else [found]
        elif name in _SAME and eqn.outvars[0].aval.shape == shape:
            outs = given[:1]
        elif name in KNOWN and eqn.outvars[0].aval.shape == shape:
            outs = [Slot(first + len(operations))]
            wide = tuple(
                v if isinstance(v, Slot) or not np.ndim(v) else jnp.broadcast_to(v, shape) for v in given
            )
            operations.append(Operation(eqn.primitive, eqn.params, wide, outs[0]))
        else:
            raise NotElementwiseError(name)
        table.update(zip(eqn.outvars, outs, strict=True))
    return [read(atom) for atom in jaxpr.outvars]


def _of_its_shape(eqn: Any, given: list[Any]) -> list[Any]:
    """Scalars that stand for a whole array, made that array again."""
    return [jnp.broadcast_to(value, atom.aval.shape) for value, atom in zip(given, eqn.invars, strict=True)]
