"""What runs and traces torch networks, with the adapter of a framework filled in."""

from __future__ import annotations

from typing import Any

from snnax.interop.torch import graph_reader, side, tracing


def trace(net: Any, sample: Any) -> Any:
    """The step graph of a snnTorch network."""
    from snnax.interop.frameworks.snntorch import ADAPTER

    return tracing.trace(net, sample, ADAPTER)


def snntorch_graph(net: Any, sample: Any, **options: Any) -> Any:
    """The NIR graph of a snnTorch network."""
    from snnax.interop.frameworks.snntorch import ADAPTER

    return _graph(net, sample, ADAPTER, **options)


def _graph(net: Any, sample: Any, adapter: Any, dt: float | None = None, batchnorm: str = "keep") -> Any:
    step = adapter.time_step(net, dt)
    return graph_reader.graph_of_step(tracing.trace(net, sample, adapter), adapter, step, batchnorm)


def TorchSide(net: Any, step: Any, graph_builder: Any) -> Any:
    """A snnTorch network that can be run."""
    from snnax.interop.frameworks.snntorch import ADAPTER

    return side.TorchSide(net, step, ADAPTER, graph_builder)


def norse_graph(net: Any, sample: Any, **options: Any) -> Any:
    """The NIR graph of a network of Norse cells."""
    from snnax.interop.frameworks.norse import ADAPTER

    return _graph(net, sample, ADAPTER, **options)


def norse_side(net: Any, x: Any) -> Any:
    """A network of Norse cells that can be run."""
    from snnax.interop.frameworks.norse import ADAPTER

    return side.torch_side(net, x, ADAPTER)
