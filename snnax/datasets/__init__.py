"""Data that needs no network: real scans that ship with another package, and points that are computed.

Example:
    >>> from snnax import datasets
    >>> images, labels = datasets.digits("test")
    >>> images.shape
    (360, 8, 8, 1)
"""

from snnax.datasets.digits import digits
from snnax.datasets.points import yin_yang

__all__ = ["digits", "yin_yang"]
