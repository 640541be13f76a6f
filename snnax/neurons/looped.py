"""Notices when a program that is being compiled holds one copy of a neuron for each time step."""

from __future__ import annotations

from collections import Counter
from collections.abc import Hashable
from typing import Any
from weakref import WeakKeyDictionary

import flax.linen as nn
import jax
import jax.numpy as jnp

from snnax.errors import LoopWarning, warn

MANY = 20
"""Calls of one neuron in one traced function that cannot be anything but time steps."""

# Weak: an entry lives as long as JAX traces the function.
_calls: WeakKeyDictionary[Any, Counter[Hashable]] = WeakKeyDictionary()


def note_call(x: Any, module: nn.Module) -> None:
    """Count a call on the traced input ``x``; warns at the :data:`MANY`-th of the same neuron in one function.

    Compiling takes time and memory for each copy: some 50 seconds for 100 steps of a network of two layers,
    where the loop of :func:`~snnax.unroll` takes one or two for any number.
    """
    trace = getattr(x, "_trace", None)
    if trace is None or not isinstance(jnp.zeros(()), jax.core.Tracer):  # the latter: under jit
        return
    counter = _calls.setdefault(trace, Counter())
    kind, path = type(module).__name__, module.path if module.scope is not None else ()
    fields = (name for name in module.__dataclass_fields__ if name not in ("parent", "name"))
    neuron = (kind, path, tuple(repr(getattr(module, name)) for name in fields))
    counter[neuron] += 1
    if counter[neuron] == MANY:
        said = (
            f"{kind} {'/'.join(path)!r} has been called {MANY} times within one compiled function, as by `for step in "
            "range(num_steps)`: each call is compiled anew, which takes long. Run all time steps as one loop: "
            "outputs, updates = snnax.unroll(net, variables, x), with init_hidden=True, or jax.lax.scan."
        )
        warn(LoopWarning(said))
