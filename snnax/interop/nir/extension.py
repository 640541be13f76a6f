"""A node for what NIR has no primitive for: exact in memory, in a file only on request."""

from __future__ import annotations

import json
from dataclasses import dataclass, field
from typing import Any

import nir
import numpy as np

from snnax.errors import ConversionError

PREFIX = "snnax."


@dataclass(eq=False)
class Extension(nir.NIRNode):
    """A layer that NIR cannot express, as max pooling of real values or the Alpha neuron.

    In a file its type reads ``"snnax.<op>"``, which other readers refuse rather than misread.

    Attributes:
        op: what it is, ``"MaxPool2d"``.
        arrays: its weights, torch's layout.
        options: its other arguments, JSON values.
        shape_in: shape of one input sample, channels first.
        shape_out: shape of one output sample.
        writable: set by :func:`snnax.interop.write_nir` when the user allowed extensions in the file.
    """

    op: str
    arrays: dict[str, np.ndarray] = field(default_factory=dict)
    options: dict[str, Any] = field(default_factory=dict)
    shape_in: tuple[int, ...] | None = None
    shape_out: tuple[int, ...] | None = None
    writable: bool = False

    def __post_init__(self) -> None:
        """Types as NIR's own nodes have them."""
        self.input_type = {"input": None if self.shape_in is None else np.array(self.shape_in)}
        self.output_type = {"output": None if self.shape_out is None else np.array(self.shape_out)}

    def refusal(self, name: str) -> ConversionError:
        """The error that says why the node called ``name`` is not written."""
        problem = f"NIR has no node for {self.op}, so no other framework could read the file"
        without = _WITHOUT.get(self.op, "or use a layer that NIR has")
        if self.op == "State":
            problem = (
                f"it reads the {self.options.get('state', 'state')} of a neuron, which NIR has no node for"
            )
        remedy = f"Write it for snnax alone with interop.write_nir(path, graph, extensions=True), {without}."
        return ConversionError(name, problem, remedy)

    def to_dict(self) -> dict[str, Any]:
        """For ``nir.write``.

        Raises:
            ConversionError: unless extensions were allowed.
        """
        if not self.writable:
            raise self.refusal(self.op)
        content = {
            "options": self.options,
            "shape_in": self.shape_in,
            "shape_out": self.shape_out,
            "scalars": [name for name, value in self.arrays.items() if np.ndim(value) == 0],
        }
        return {
            "type": PREFIX + self.op,
            "content": json.dumps(content),
            "arrays": {name: np.atleast_1d(value) for name, value in self.arrays.items()},
            "metadata": self.metadata,
        }

    @classmethod
    def from_file(cls, entry: dict[str, Any]) -> Extension:
        """The inverse of :meth:`to_dict`; raises ``KeyError`` or ``ValueError`` for damaged entries."""
        content = json.loads(entry["content"])
        shapes = [_shape(content[key]) for key in ("shape_in", "shape_out")]
        if not isinstance(content["options"], dict) or not isinstance(entry.get("arrays", {}), dict):
            raise ValueError("its options or arrays have no names")
        node = cls(
            op=entry["type"].removeprefix(PREFIX),
            arrays={
                k: np.asarray(v).reshape(()) if k in content.get("scalars", ()) else np.asarray(v)
                for k, v in entry.get("arrays", {}).items()
            },
            options=content["options"],
            shape_in=shapes[0],
            shape_out=shapes[1],
            writable=True,
        )
        node.metadata = dict(entry.get("metadata", {}))
        return node


def _shape(given: Any) -> tuple[int, ...] | None:
    """Sizes, as a file has them."""
    if given is None:
        return None
    if not isinstance(given, list) or not all(type(n) is int and 0 <= n < 2**62 for n in given):
        raise ValueError("its shapes are no sizes")
    return tuple(given)


_WITHOUT = {
    "State": "or let the network use and return spikes only",
    "BatchNorm": "or export without it: to_nir(..., batchnorm='fold')",
    "MaxPool1d": "or use average or sum pooling",
    "MaxPool2d": "or use average or sum pooling",
    "Dropout": "or export without it: to_nir(..., dropout='drop')",
}
