"""Lines of torch's that a ``forward`` still has, and what JAX's arrays have in their place."""

from __future__ import annotations

import linecache
import re
from types import FrameType, ModuleType
from typing import Any

import jax
import jax.numpy as jnp

from snnax.errors import TorchLineError
from snnax.network.outside import is_foreign

__all__ = ["of_torch"]

_METHODS = {
    "view": "x.reshape(x.shape[0], -1)",
    "flatten": "x.reshape(x.shape[0], -1)",
    "size": "x.shape, and x.shape[0] for x.size(0)",
    "dim": "x.ndim",
    "numel": "x.size",
    "unsqueeze": "jnp.expand_dims(x, axis), or x[None]",
    "permute": "x.transpose(0, 3, 1, 2)",
    "contiguous": "x itself",
    "clone": "x itself: arrays do not change",
    "expand": "jnp.broadcast_to(x, shape)",
    "detach": "jax.lax.stop_gradient(x)",
    "requires_grad_": "jax.grad(loss)(params): what is differentiated is what is passed as params",
    "backward": "grads = jax.grad(loss)(params)",
    "to": "x itself, or x.astype(jnp.float32) for another type",
    "type": "x.astype(jnp.float32)",
    "cpu": "x itself",
    "cuda": "x itself",
    "numpy": "np.asarray(x)",
    "float": "x.astype(jnp.float32)",
    "double": "x.astype(jnp.float64)",
    "half": "x.astype(jnp.float16)",
    "int": "x.astype(jnp.int32)",
    "long": "x.astype(jnp.int32)",
    "bool": "x.astype(bool)",
    "pow": "x ** n",
    "abs": "jnp.abs(x)",
    "exp": "jnp.exp(x)",
    "log": "jnp.log(x)",
    "sqrt": "jnp.sqrt(x)",
    "tanh": "jnp.tanh(x)",
    "sigmoid": "jax.nn.sigmoid(x)",
    "relu": "jax.nn.relu(x)",
    "softmax": "jax.nn.softmax(x, axis=-1)",
    "norm": "jnp.linalg.norm(x)",
    "matmul": "x @ y",
    "mm": "x @ y",
    "gt": "x > y",
    "lt": "x < y",
    "masked_fill": "jnp.where(mask, value, x)",
    "new_zeros": "jnp.zeros(shape, x.dtype)",
    "zero_": "x = jnp.zeros_like(x): arrays do not change",
    "add_": "x = x + y: arrays do not change",
    "mul_": "x = x * y: arrays do not change",
}
_FUNCTIONS = {
    "cat": "jnp.concatenate((a, b), axis=0)",
    "tensor": "jnp.array(values)",
    "Tensor": "jnp.array(values, jnp.float32)",
    "rand": "jax.random.uniform(key, shape)",
    "randn": "jax.random.normal(key, shape)",
    "bernoulli": "jax.random.bernoulli(key, p)",
    "relu": "jax.nn.relu(x)",
    "sigmoid": "jax.nn.sigmoid(x)",
    "softmax": "jax.nn.softmax(x, axis=-1)",
    "zeros_": "jnp.zeros(shape)",
    "flatten": "x.reshape(x.shape[0], -1)",
    "float": "jnp.float32",
    "long": "jnp.int32",
    "no_grad": "nothing: only jax.grad computes gradients",
}


def of_torch(error: Exception, where: str) -> TorchLineError | None:
    """The error that names the line and its remedy, if ``error`` comes from a line that torch's arrays understand.

    Args:
        error: what was raised, with its traceback.
        where: the function that ran, as ``"Net.forward"``.

    Returns:
        The error to raise instead; ``None`` if the line is wrong in torch too, as far as one can tell.
    """
    frame, number = _last_of_the_users(error)
    if frame is None:
        return None
    line = linecache.getline(frame.f_code.co_filename, number).strip()
    found = _remedy(error, line)
    if found is None:
        return None
    what, remedy = found
    file = re.split(r"[\\/]", frame.f_code.co_filename)[-1]
    shown = f": {line}" if line else ""
    return TorchLineError(f"{where} ({file}:{number}{shown}): {what}; write {remedy}.")


def _remedy(error: Exception, line: str) -> tuple[str, str] | None:
    said = str(error)
    if isinstance(error, AttributeError):
        owner, name = getattr(error, "obj", None), getattr(error, "name", None) or ""
        if isinstance(owner, jax.Array) and name in _METHODS:
            return f"an array of JAX has no {name!r}", _METHODS[name]
        if isinstance(owner, ModuleType) and owner is jnp and name in _FUNCTIONS:
            return f"jax.numpy has no {name!r}", _FUNCTIONS[name]
        return None
    if isinstance(error, TypeError) and re.search(r"unexpected keyword argument '(dim|keepdim)'", said):
        return "JAX calls the axis 'axis', and keeps it by 'keepdims'", re.sub(
            r"\b(dim|keepdim)=", lambda m: {"dim": "axis=", "keepdim": "keepdims="}[m[1]], line
        ) or "axis="
    # methods that JAX's arrays have as well, with other arguments
    for name, sign in (("flatten", "'order'"), ("size", "'int' object is not callable"), ("view", "view")):
        if f".{name}(" in line and sign in said:
            return f"an array of JAX takes other arguments in {name!r} than torch's", _METHODS[name]
    return None


def _last_of_the_users(error: Exception) -> tuple[FrameType | None, int]:
    """The innermost frame that is in no installed package, and its line."""
    found: tuple[FrameType | None, int] = (None, 0)
    trace: Any = error.__traceback__
    while trace is not None:
        if not is_foreign(trace.tb_frame.f_globals.get("__name__")):
            found = trace.tb_frame, trace.tb_lineno
        trace = trace.tb_next
    return found
