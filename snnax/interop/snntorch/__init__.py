"""snnTorch's neurons and back; the adapter is :mod:`snnax.interop.frameworks.snntorch`."""
