"""Norse networks to NIR and back; with ``snntorch`` the only part of snnax that imports torch."""

from snnax.interop.norse.reading import from_norse as from_norse
from snnax.interop.norse.reading import graph_of as graph_of
from snnax.interop.norse.writing import to_norse as to_norse

__all__ = ["from_norse", "graph_of", "to_norse"]
