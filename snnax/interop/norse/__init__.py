"""Norse's cells as neurons and back; the adapter is :mod:`snnax.interop.frameworks.norse`."""
