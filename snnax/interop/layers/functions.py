"""Functions as layers: no file holds one."""

from __future__ import annotations

from typing import Any

import nir

from snnax.errors import ConversionError
from snnax.interop.layers.entries import axes_of
from snnax.interop.layers.registry import Site, Variables, writes
from snnax.layers.functions import Lambda, function_name


@writes(Lambda)
def write_function(module: Lambda, variables: Variables, site: Site) -> nir.NIRNode:
    """Refused: a function is code.

    Raises:
        ConversionError: names the function, and what has a NIR form.
    """
    raise ConversionError(
        site.name, f"the function {function_name(module.function)} has no NIR form",
        "Of functions only flax.linen.relu has one, as snnax.ReLU(); y = scale * x is snnax.Scale(...). For another "
        "network of this package keep the network and save its variables: interop.save_safetensors.",
    )  # fmt: skip


@axes_of(Lambda)
def _unknown_axes(module: Any, axes: int | None) -> None:
    return None  # it may reshape
