"""What modules of the user's own do, written down as neurons do it themselves."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from typing import Any

import flax.linen as nn
import jax

from snnax.neurons import SpikingNeuron
from snnax.neurons.own import is_own_class


@contextmanager
def noting(wanted: bool) -> Iterator[None]:
    """While it lasts, modules of the user's own with states sow these, their input and ``out`` into ``record``.

    Args:
        wanted: else nothing is done.
    """
    if not wanted:
        yield
        return
    with nn.intercept_methods(_note):
        yield


def _note(call: Callable[..., Any], args: Any, kwargs: Any, context: Any) -> Any:
    """``call``, and into ``record`` what it did, if it is the call of such a module."""
    out = call(*args, **kwargs)
    module = context.module
    own = is_own_class(type(module)) and not isinstance(module, SpikingNeuron)
    if context.method_name != "__call__" or not own or module.is_initializing():
        return out
    held = module.variables.get("hidden", {})
    states = {name: value for name, value in held.items() if not isinstance(value, Mapping)}
    if states:
        given = {"input": args[0]} if args else {}
        for name, value in {**given, "out": out, **states}.items():
            if isinstance(value, jax.Array):
                module.sow("record", name, value, reduce_fn=lambda _, new: new, init_fn=lambda: None)
    return out
