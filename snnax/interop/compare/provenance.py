"""What a comparison was made of: versions of the libraries, digests of the input, the networks and their spikes."""

from __future__ import annotations

import platform
import sys
from collections.abc import Iterable
from importlib import metadata
from typing import Any

from snnax.interop.nir.files import digest_of
from snnax.interop.nir.graph import FlatGraph
from snnax.interop.trace import Trace

PACKAGES = ("snnax", "jax", "jaxlib", "flax", "numpy", "nir", "torch", "snntorch", "norse", "spikingjelly")

Named = tuple[tuple[str, str], ...]


def versions() -> Named:
    """Python's version, and that of each library of :data:`PACKAGES` that this process has imported."""
    found = [("Python", platform.python_version())]
    for name in PACKAGES:
        if name in sys.modules:
            try:
                found.append((name, metadata.version(name)))
            except metadata.PackageNotFoundError:  # imported from a folder that was never installed
                found.append((name, str(getattr(sys.modules[name], "__version__", "unknown"))))
    return tuple(found)


def digests(inputs: Iterable[Any], sides: Iterable[tuple[str, FlatGraph | None, Trace]]) -> Named:
    """SHA-256 of what went in, and of each side's network, where it has a graph, and recorded spikes."""
    found = [("input", digest_of({str(i): array for i, array in enumerate(inputs)}))]
    for label, graph, trace in sides:
        if graph is not None:
            nodes = {name: {"type": type(node).__name__, **vars(node)} for name, node in graph.nodes.items()}
            found.append((f"network of {label}", digest_of({"nodes": nodes, "edges": sorted(graph.edges)})))
        found.append(
            (f"spikes of {label}", digest_of({name: node.spk for name, node in trace.nodes.items()}))
        )
    return tuple(found)
