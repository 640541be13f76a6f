"""What many arguments are checked for."""

from __future__ import annotations

import operator
from typing import Any

__all__ = ["whole"]


def whole(value: Any, least: int = 1) -> int | None:
    """``value`` as an ``int``; ``None`` if it is no whole number or below ``least``. ``True`` and ``2.0`` are none.

    Args:
        value: anything; NumPy's integers and arrays of one integer are whole numbers.
        least: the smallest that will do.

    Example:
        >>> from snnax.checks import whole
        >>> whole(3), whole(0), whole(True), whole(2.0)
        (3, None, None, None)
    """
    try:
        number = None if isinstance(value, bool) else operator.index(value)
    except TypeError:
        return None
    return None if number is None or number < least else number
