"""Spiking networks for users of ``flax.nnx``: neurons as NNX modules, and linen networks as one.

``snn.nnx.Leaky`` and so on are snnax's neurons for models that are written in NNX, made from the linen
classes. :class:`Network` is a whole linen network, which stays one, so that everything else of snnax works on it: see
:meth:`Network.variables`.
"""

from __future__ import annotations

from snnax.nnx.network import Network
from snnax.nnx.neurons import LINEN, Neuron, class_of
from snnax.nnx.resetting import reset
from snnax.nnx.variables import Buffer, Hidden

__all__ = [*LINEN, "Buffer", "Hidden", "Network", "Neuron", "reset"]


def __getattr__(name: str) -> type[Neuron]:
    """The class of a neuron, made when it is first used."""
    if name not in LINEN:
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    kind = globals()[name] = class_of(LINEN[name])
    return kind


def __dir__() -> list[str]:
    """The public names, made or not."""
    return sorted({*(name for name in globals() if name.startswith("__")), *__all__})
