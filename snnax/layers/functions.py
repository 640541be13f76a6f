"""A function as a layer without memory."""

from __future__ import annotations

import functools
from collections.abc import Callable
from typing import Any

import flax.linen as nn
import jax
import numpy as np

from snnax import checks
from snnax.errors import ArgumentError
from snnax.modules import Module

__all__ = ["Lambda"]


class Lambda(Module):
    r"""A function as a layer: :math:`y = f(x)` in each time step, without memory and weights.

    ``Sequential`` and ``Graph`` make one of each function among their layers, so that
    ``snn.Sequential([nn.Dense(4), nn.gelu, ...])`` says the same as ``snn.Lambda(nn.gelu)``. In :func:`~snnax.unroll`
    it runs over all steps at once.

    Args:
        function: from an array ``[B, ...]``, images channels last, to one of the same batch; it may mix the samples of
            a step, never steps. Same input, same output: random numbers are for layers such as ``flax.linen.Dropout``.

    Raises:
        ArgumentError: ``function`` cannot be called, is a class, or returned something else than an array.

    Example:
        >>> import jax, jax.numpy as jnp, flax.linen as nn, snnax as snn
        >>> net = snn.Sequential([nn.Dense(4), nn.gelu, snn.Leaky(0.9, init_hidden=True), lambda x: 2 * x])
        >>> net[1].function is nn.gelu
        True
        >>> variables = net.init(jax.random.key(0), jnp.ones((2, 3)))
        >>> snn.unroll(net, variables, jnp.ones((5, 2, 3)))[0].shape
        (5, 2, 4)

    Compared with ``flax.linen.Sequential``: it takes functions too. Compared with Keras and Equinox: their ``Lambda``.
    Compared with snnTorch: torch wants a module for it, as ``nn.GELU()``. Compared with NIR: no file holds a function;
    ``to_nir`` refuses it, but for :class:`snnax.ReLU`, which ``flax.linen.relu`` becomes in a network.
    """

    function: Callable[[jax.Array], jax.Array]

    def __post_init__(self) -> None:
        """Check that it is a function."""
        if not is_function(self.function):
            raise checks.refuse("Lambda(function=...)", self.function, "a function, as flax.linen.gelu")
        super().__post_init__()

    @nn.compact
    def __call__(self, x: jax.Array) -> jax.Array:
        """``[B, ...]`` to what the function makes of it."""
        y: Any = self.function(x)
        if not isinstance(y, jax.Array | np.ndarray):
            raise ArgumentError(
                f"{self._label()}: {function_name(self.function)} returned {checks.shown(y)}; expected an array "
                "[B, ...], as lambda x: 2 * x returns."
            )
        return jax.numpy.asarray(y)


def is_function(value: Any) -> bool:
    """Whether it is one; modules and classes can be called as well, and those of torch."""
    foreign = hasattr(value, "state_dict") or hasattr(value, "forward")
    return callable(value) and not isinstance(value, type | nn.Module) and not foreign


def function_name(function: Any) -> str:
    """What to call a function in an error."""
    if isinstance(function, functools.partial):
        return f"partial({function_name(function.func)})"
    return getattr(function, "__name__", type(function).__name__)
