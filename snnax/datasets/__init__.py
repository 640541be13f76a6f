"""Data that needs no network: real scans that ship with another package.

Example:
    >>> from snnax import datasets
    >>> images, labels = datasets.digits("test")
    >>> images.shape
    (360, 8, 8, 1)
"""

from snnax.datasets.digits import digits

__all__ = ["digits"]
