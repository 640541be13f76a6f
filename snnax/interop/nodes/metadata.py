"""What NIR cannot say, carried in a node's ``metadata``: one JSON text and, beside it, exact arrays.

Other readers ignore it and get NIR's own semantics. A number in the metadata counts only while it agrees
with the node's own parameter; whoever edits ``tau`` in a file gets the edited value.
"""

from __future__ import annotations

import json
from typing import Any

import nir
import numpy as np

from snnax.errors import NIRFileError
from snnax.interop.nodes.spec import NeuronSpec

KEY = "snnax"
VERSION = 1


def write(node: nir.NIRNode, content: dict[str, Any], arrays: dict[str, np.ndarray] | None = None) -> Any:
    """Attach ``content`` (JSON) and ``arrays`` to a node; returns the node."""
    node.metadata[KEY] = json.dumps({"version": VERSION, **content})
    for name, array in (arrays or {}).items():
        node.metadata[name] = np.asarray(array)
    return node


def read(node: nir.NIRNode, name: str = "") -> dict[str, Any]:
    """The JSON content, or an empty dict for nodes of other writers.

    Raises:
        NIRFileError: if the metadata is ours and damaged, or of a newer version.
    """
    text = (node.metadata or {}).get(KEY)
    if text is None:
        return {}
    try:
        content = json.loads(text.decode() if isinstance(text, bytes) else str(text))
        version = content["version"]
    except (ValueError, KeyError, TypeError, AttributeError) as error:
        raise NIRFileError(
            f"node {name!r}: its snnax metadata is damaged ({error}). Remove the key 'snnax' from its metadata "
            "to read the node by NIR's own semantics."
        ) from error
    if not isinstance(version, int) or version > VERSION:
        raise NIRFileError(
            f"node {name!r}: its metadata is of version {version}; this snnax reads up to {VERSION}."
        )
    return dict(content)


def write_spec(node: nir.NIRNode, spec: NeuronSpec, dt: float) -> Any:
    """Attach all of a neuron's spec except weights, which are nodes, or the node's arrays."""
    scalars = {k: float(v) for k, v in spec.values.items() if np.ndim(v) == 0}
    arrays = {k: v for k, v in spec.values.items() if np.ndim(v) > 0}
    content = {
        "kind": spec.kind,
        "dt": dt,
        "learn": list(spec.learn),
        "options": spec.options,
        "surrogate": spec.surrogate,
        "quantizer": spec.quantizer,
        "scalars": scalars,
        "arrays": sorted(arrays),
    }
    if spec.sizes:
        content["sizes"] = spec.sizes
    return write(node, content, arrays)


def read_spec(node: nir.NIRNode, name: str = "") -> NeuronSpec | None:
    """The spec that :func:`write_spec` attached, or ``None``."""
    content = read(node, name)
    if "kind" not in content:
        return None
    try:
        values: dict[str, np.ndarray] = {k: np.asarray(v, np.float64) for k, v in content["scalars"].items()}
        values.update({k: np.asarray(node.metadata[k]) for k in content["arrays"]})
        surrogate = content["surrogate"]
        levels = content["quantizer"]
        return NeuronSpec(
            kind=content["kind"],
            values=values,
            learn=tuple(content["learn"]),
            options=dict(content["options"]),
            surrogate=(surrogate[0], dict(surrogate[1])) if surrogate else None,
            quantizer=tuple(levels) if levels else None,
            sizes={k: tuple(v) if isinstance(v, list) else v for k, v in content.get("sizes", {}).items()},
            weights={k: np.asarray(v) for k, v in getattr(node, "arrays", {}).items()},
        )
    except (KeyError, TypeError, ValueError, IndexError) as error:
        raise NIRFileError(f"node {name!r}: its snnax metadata lacks or garbles {error}.") from error
