"""What a ported program has in a ``state_dict``: the arrays that it holds, under their own names."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from snnax.interop.layers.entries import Entry, Layer, entries_of, plain
from snnax.interop.program.module import PortedProgram, collection_of, is_held


@entries_of(PortedProgram)
def program_entries(layer: Layer, variables: Mapping[str, Any]) -> list[Entry]:
    """Each parameter and buffer of the network, in torch's layout."""
    return [
        plain(layer, variables, known.name, collection_of(known), *known.name.split("."))
        for known in layer.module.program.inputs
        if is_held(known)
    ]
