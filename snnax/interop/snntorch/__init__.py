"""snnTorch networks to NIR and back; with ``norse`` the only part of snnax that imports torch."""

from snnax.interop.snntorch.reading import from_snntorch as from_snntorch
from snnax.interop.snntorch.reading import graph_of as graph_of
from snnax.interop.snntorch.writing import network_of as network_of
from snnax.interop.snntorch.writing import to_snntorch as to_snntorch

__all__ = ["from_snntorch", "graph_of", "network_of", "to_snntorch"]
