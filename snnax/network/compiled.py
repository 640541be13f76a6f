"""Programs of networks, compiled once and kept for as long as they are right."""

from __future__ import annotations

from collections.abc import Callable
from functools import wraps
from typing import Any

import flax.linen as nn
import jax

from snnax.network.kinds import sharing
from snnax.neurons.own import outside

__all__ = ["Compiled", "intercepted"]


def intercepted() -> bool:
    """Whether ``flax.linen.intercept_methods`` is active, so that a call is not what the module says."""
    # Flax has no public question for it; if its stack is elsewhere one day, everything is traced anew, slowly
    stack: Any = getattr(nn.module, "_global_interceptor_stack", None)
    return stack is None or bool(stack)


class Compiled:
    """``jax.jit`` of ``function(static, *args)`` for programs of a network, kept for as long as they are right.

    Calls share a program if ``static`` is equal, the network has the same modules at the same places, and its own
    classes read the same values from outside. Under ``flax.linen.intercept_methods`` each call is traced anew, and
    nothing of it is kept.
    """

    def __init__(self, function: Callable[..., Any], **options: Any) -> None:
        self._function, self._options = function, options
        self._kept = self._jit()

    def __call__(self, net: nn.Module, static: Any, *args: Any) -> Any:
        """What ``function(static, *args)`` returns."""
        return self._for(net)(self._key(net, static), *args)

    def lower(self, net: nn.Module, static: Any, *args: Any) -> Any:
        """The program for these arguments, as ``jax.jit(...).lower`` gives it."""
        return self._for(net).lower(self._key(net, static), *args)

    def count(self) -> int:
        """How many programs are kept."""
        return int(self._kept._cache_size())

    def _key(self, net: nn.Module, static: Any) -> tuple[Any, ...]:
        return static, sharing(net), outside(net)

    def _for(self, net: nn.Module) -> Any:
        return self._jit() if intercepted() else self._kept

    def _jit(self) -> Any:
        function = self._function

        @wraps(function)
        def keyed(key: tuple[Any, ...], *args: Any) -> Any:
            return function(key[0], *args)

        return jax.jit(keyed, static_argnums=0, **self._options)
