"""Numbers and arrays as fields of a module: immutable, comparable, hashable."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any, Protocol

import jax
import jax.numpy as jnp
import numpy as np

from snnax import checks
from snnax.errors import ArgumentError

__all__ = ["FrozenArray", "Parameter", "SupportsArray", "names_to_learn"]


class SupportsArray(Protocol):
    """Anything that NumPy can read as an array: NumPy, JAX and torch arrays, :class:`FrozenArray`."""

    def __array__(self, *args: Any, **kwargs: Any) -> Any:
        """The value as a NumPy array."""
        ...


class FrozenArray:
    """An array that cannot change, so that a module that holds it can be compared, hashed and cached.

    Two are equal if shape, dtype and bytes are. NumPy and JAX functions take it as the array it is.

    Args:
        value: anything that ``numpy.array`` takes; it is copied.

    Example:
        >>> import jax.numpy as jnp
        >>> from snnax.neurons import FrozenArray
        >>> FrozenArray([0.9, 0.8]) == FrozenArray([0.9, 0.8])
        True
        >>> jnp.asarray(FrozenArray([0.5, 0.25])).tolist()
        [0.5, 0.25]
        >>> FrozenArray.wrap(3), FrozenArray.wrap([3.0])
        (3.0, FrozenArray([3.0], float64))
    """

    __slots__ = ("_array",)

    def __init__(self, value: Any) -> None:
        self._array = np.array(value)
        self._array.setflags(write=False)

    @staticmethod
    def wrap(value: Any, name: str = "the value") -> float | FrozenArray:
        """A single number as a Python float, anything larger as a :class:`FrozenArray`.

        Args:
            value: number, sequence, or NumPy, JAX or torch array (detached and copied to the host).
            name: what to call it in an error.

        Raises:
            ArgumentError: ``value`` is no real number or array, or is traced by a JAX transformation.
        """
        if isinstance(value, FrozenArray):
            return value
        if isinstance(value, jax.core.Tracer):
            raise ArgumentError(
                f"{name} is a traced array (of jit, grad, vmap or scan); a module is built from fixed "
                "numbers. Build it outside, with the learn_... argument, and pass the array in 'params'; fixed arrays "
                "that a module makes for its neurons are NumPy's, as np.array([0.5, 0.9]), since jnp's are traced too."
            )
        array = _as_numpy(value)
        if array is None or array.dtype == bool or not _is_real(array):
            raise checks.refuse(name, value, "a number or an array of numbers, as 0.9 or [0.8, 0.9]")
        return float(array) if array.ndim == 0 else FrozenArray(array)

    @staticmethod
    def finite(value: Any, name: str = "the value") -> float | FrozenArray:
        """As :meth:`wrap`; also refuses NaN and infinity.

        Raises:
            ArgumentError: as :meth:`wrap`, or ``value`` is not finite everywhere.
        """
        wrapped = FrozenArray.wrap(value, name)
        if not np.isfinite(np.asarray(wrapped, float)).all():
            raise checks.refuse(name, value, "finite numbers")
        return wrapped

    @property
    def shape(self) -> tuple[int, ...]:
        """Length of each axis."""
        return self._array.shape

    @property
    def dtype(self) -> np.dtype[Any]:
        """NumPy dtype of the elements."""
        return self._array.dtype

    @property
    def ndim(self) -> int:
        """Number of axes."""
        return self._array.ndim

    def item(self) -> Any:
        """The number of an array of one, as Python's."""
        return self._array.item()

    def __array__(self, dtype: Any = None, copy: bool | None = None) -> np.ndarray:
        """The value as a NumPy array; read-only unless copied or cast."""
        if copy:
            return np.array(self._array, dtype)
        return np.asarray(self._array, dtype)

    def __eq__(self, other: object) -> bool:
        """Same shape, dtype and bytes."""
        return isinstance(other, FrozenArray) and self._key() == other._key()

    def __hash__(self) -> int:
        """Hash of shape, dtype and bytes."""
        return hash(self._key())

    def __repr__(self) -> str:
        """The values, or the shape if they are many."""
        values = self._array.tolist() if self._array.size <= 8 else f"shape={self.shape}"
        return f"FrozenArray({values}, {self.dtype})"

    def __reduce__(self) -> tuple[Any, ...]:
        """Copies and pickles as its value."""
        return FrozenArray, (np.array(self._array),)

    def _key(self) -> tuple[Any, ...]:
        return self.shape, str(self.dtype), self._array.tobytes()


Parameter = float | Sequence[float] | SupportsArray
"""What a neuron takes as a decay, a threshold, a weight: one number, or an array with one for each neuron."""


def names_to_learn(given: Any, known: Sequence[str], kind: str) -> tuple[str, ...]:
    """The argument ``learn`` of a neuron as a tuple of names.

    Args:
        given: a name, or several.
        known: the numbers that the neuron has.
        kind: name of its class, for errors.

    Raises:
        ArgumentError: something among them is no name of a number.
    """
    listed = given if isinstance(given, str | tuple | list | set | frozenset) else [given]
    names = (listed,) if isinstance(listed, str) else tuple(listed)
    if unknown := [name for name in names if not isinstance(name, str) or name not in known]:
        raise ArgumentError(
            f"{kind}(learn={given!r}): {unknown} cannot be trained; expected some of {known}."
        )
    return names


def _as_numpy(value: Any) -> np.ndarray | None:
    if hasattr(value, "detach"):
        value = value.detach().cpu()
    try:
        return np.asarray(value)
    except (TypeError, ValueError):
        return None


def _is_real(array: np.ndarray) -> bool:
    return bool(jnp.issubdtype(array.dtype, jnp.integer) or jnp.issubdtype(array.dtype, jnp.floating))
