"""What snnTorch's neurons have in common in a ``state_dict``; see :mod:`snnax.interop.layers.entries`."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import replace
from typing import Any

import numpy as np

from snnax.interop.layers.entries import Array, Entry, Given, Layer, affine, number

RESETS = {"subtract": 0, "zero": 1, "none": 2}
"""``reset_mechanism_val`` of each reset mechanism."""


def constant(key: str, value: Any, why: str) -> Entry:
    """A number that the module itself fixes, as its reset mechanism."""
    expected = np.asarray(value)

    def check(new: Array, _: Given) -> str | None:
        return None if np.all(new == expected) else f"is {new.tolist()}, but {why} {expected.tolist()}"

    return Entry(key, expected, check=check, setting=True)


def common(layer: Layer, variables: Mapping[str, Any], *names: str, reset: bool = True) -> list[Entry]:
    """What every snnTorch neuron has, and the numbers ``names``."""
    module, kind = layer.module, type(layer.module).__name__
    found = [number(layer, variables, name) for name in ("threshold", *names)]
    if hasattr(module, "learn_graded_spikes_factor"):
        found.append(number(layer, variables, "graded_spikes_factor"))
    else:
        found.append(constant("graded_spikes_factor", np.float32(1), f"{kind} has no such argument: it is"))
    if reset:
        chosen = getattr(module, "reset_mechanism", "subtract")
        why = f"the module has reset_mechanism={chosen!r}, which is"
        found.append(constant("reset_mechanism_val", RESETS[chosen], why))
    return found


def recurrence(layer: Layer, variables: Mapping[str, Any]) -> list[Entry]:
    """Recurrent weights: a layer of them, or ``V``."""
    learn = layer.module.learn_recurrent
    if layer.module.all_to_all:
        return affine(layer, variables, "recurrent.", "params" if learn else "buffers", "recurrent")
    entry = number(layer, variables, "V", learn=learn)
    if not learn:
        return [entry]

    def same(new: Array, given: Given) -> str | None:
        equal = np.array_equal(new, given.get("V", new))
        return None if equal else "differs from V, of which it is a copy in snnTorch"

    # snnTorch registers a learned V twice; files without doubled arrays have one of them
    copy = replace(entry, key="recurrent.V", path=None, check=same, optional=True)
    return [entry, copy]
