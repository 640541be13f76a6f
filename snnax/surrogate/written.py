"""Functions with gradients that are written as in torch: ``forward`` and ``backward`` with a ``ctx``."""

from __future__ import annotations

import functools
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
from jax.typing import ArrayLike

from snnax import checks
from snnax.errors import ArgumentError, ShapeError

__all__ = ["Function"]

_ARRAY = object()
"""The place of an array among arguments that are none."""


@jax.tree_util.register_pytree_node_class
class _Context:
    """What ``forward`` leaves for ``backward``: arrays, and attributes of any kind."""

    def __init__(self) -> None:
        self.saved_tensors: tuple[Any, ...] = ()

    def save_for_backward(self, *arrays: Any) -> None:
        """Arrays, for ``saved_tensors``."""
        self.saved_tensors = arrays

    def tree_flatten(self) -> tuple[tuple[Any, ...], tuple[Any, ...]]:
        """Arrays among the attributes apart from the others, which JAX does not know."""
        held = sorted(vars(self).items())
        arrays = {name: value for name, value in held if name == "saved_tensors" or _is_array(value)}
        return tuple(arrays.values()), (
            tuple(arrays),
            tuple((name, value) for name, value in held if name not in arrays),
        )

    @classmethod
    def tree_unflatten(cls, names: tuple[Any, ...], arrays: tuple[Any, ...]) -> _Context:
        """The same again."""
        made = cls()
        vars(made).update(zip(names[0], arrays, strict=True))
        vars(made).update(names[1])
        return made


class Function:
    r"""A function with the gradient that you write, in torch's words: the surrogate of snnTorch's tutorials 5 and 6.

    A class has two static methods: ``forward(ctx, *inputs)`` computes, and ``backward(ctx, *gradients)`` returns what
    goes back to each input, ``None`` where nothing does. ``ctx.save_for_backward(...)`` and attributes of ``ctx`` carry
    what ``backward`` needs. ``apply`` is the function, of arrays of any shape.

    Raises:
        ArgumentError: ``backward`` returns fewer gradients than ``forward`` has arrays.
        ShapeError: a gradient has another shape than its input.

    Example:
        >>> import jax, jax.numpy as jnp, snnax as snn
        >>> class ATan(snn.surrogate.Function):
        ...     @staticmethod
        ...     def forward(ctx, mem):
        ...         ctx.save_for_backward(mem)
        ...         return (mem > 0).astype(mem.dtype)
        ...     @staticmethod
        ...     def backward(ctx, grad_output):
        ...         (mem,) = ctx.saved_tensors
        ...         return grad_output / (1 + (jnp.pi * mem) ** 2)
        >>> float(ATan.apply(0.5)), float(jax.grad(ATan.apply)(0.0))
        (1.0, 1.0)

    Compared with ``torch.autograd.Function``: ``forward`` and ``backward`` get JAX's arrays, and spikes that are left
    as ``mem > 0`` become numbers of the type of the input. There is no forward mode; :func:`custom_surrogate` has it.
    """

    @staticmethod
    def forward(ctx: Any, *inputs: Any) -> Any:
        """What the function computes."""
        raise NotImplementedError("a surrogate.Function needs a static method forward(ctx, x).")

    @staticmethod
    def backward(ctx: Any, *gradients: Any) -> Any:
        """What goes back to each input."""
        raise NotImplementedError("a surrogate.Function needs a static method backward(ctx, grad_output).")

    @classmethod
    def apply(cls, x: ArrayLike, *more: Any) -> Any:
        """The function, of an array; further arrays are differentiated as well, all else is handed over as it is."""
        what = f"{cls.__name__}.apply(x)"
        known = [checks.array(x, what), *(checks.array(v, what) if _is_array(v) else v for v in more)]
        fixed = tuple(_ARRAY if _is_array(value) else value for value in known)
        result: Any = _applied(cls, fixed, *filter(_is_array, known))
        return result


def _is_array(value: Any) -> bool:
    return hasattr(value, "__array__") and hasattr(value, "shape") and not isinstance(value, type)


def _called(kind: type[Function], fixed: tuple[Any, ...], arrays: tuple[Any, ...]) -> tuple[Any, _Context]:
    left = iter(arrays)
    ctx = _Context()
    y = kind.forward(ctx, *(next(left) if value is _ARRAY else value for value in fixed))
    dtype = arrays[0].dtype if jnp.issubdtype(arrays[0].dtype, jnp.floating) else jnp.result_type(float)

    def number(part: Any) -> jax.Array:
        array = jnp.asarray(part)
        return array.astype(dtype) if array.dtype == bool else array

    return jax.tree.map(number, y), ctx


@functools.partial(jax.custom_vjp, nondiff_argnums=(0, 1))
def _applied(kind: type[Function], fixed: tuple[Any, ...], *arrays: Any) -> Any:
    return _called(kind, fixed, arrays)[0]


def _forward(kind: type[Function], fixed: tuple[Any, ...], *arrays: Any) -> Any:
    y, ctx = _called(kind, fixed, arrays)
    return y, (ctx, arrays)


def _backward(kind: type[Function], fixed: tuple[Any, ...], left: Any, y: Any) -> tuple[Any, ...]:
    ctx, arrays = left
    found = kind.backward(ctx, *(y if isinstance(y, tuple) else (y,)))
    grads = found if isinstance(found, tuple) else (found,)
    if len(grads) < len(fixed):
        raise ArgumentError(
            f"{kind.__name__}.backward returned {len(grads)} gradients for {len(fixed)} inputs; expected one for "
            "each, and None for an input that has none."
        )
    wanted = [grad for grad, value in zip(grads, fixed, strict=False) if value is _ARRAY]
    return tuple(_gradient(kind, grad, array) for grad, array in zip(wanted, arrays, strict=True))


def _gradient(kind: type[Function], grad: Any, like: jax.Array) -> Any:
    if not jnp.issubdtype(like.dtype, jnp.floating):
        return np.zeros(like.shape, jax.dtypes.float0)
    if grad is None:
        return jnp.zeros_like(like)
    grad = jnp.asarray(grad)
    if grad.shape != like.shape:
        raise ShapeError(
            f"{kind.__name__}.backward returned a gradient of shape {grad.shape} for an input of shape {like.shape}; "
            "expected the same, as grad_output * slope."
        )
    return grad.astype(like.dtype)


_applied.defvjp(_forward, _backward)
