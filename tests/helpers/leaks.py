"""JAX's search for tracers that outlive their trace, in what was made since it began."""

from __future__ import annotations

import contextlib
import gc
from collections.abc import Iterator

import jax


@contextlib.contextmanager
def checking_leaks() -> Iterator[None]:
    """``jax.checking_leaks``, without a walk through all objects of the process for every inner function.

    JAX collects garbage and asks who refers to a trace, each time that one ends. A tracer is made in the trace, so that
    it lies with the objects that are looked at; what is older is set aside until the end.
    """
    gc.freeze()
    try:
        with jax.checking_leaks():
            yield
    finally:
        gc.unfreeze()
