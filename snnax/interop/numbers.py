"""The only place where a number changes its type on its way in or out: exactly, or not at all.

=====================  ===========================================================================================
given                  becomes
=====================  ===========================================================================================
float32, float64       itself, in this machine's byte order; wider floats are rounded to float64
float16, bfloat16,     float32, which holds all of them exactly
float8
bool, whole numbers    float32, or float64 where float32 does not hold them; refused where that does not either
complex, text, NaN,    refused, by name
infinity, no data
=====================  ===========================================================================================

JAX has no float64 unless ``jax_enable_x64`` is set. Then what a network computes with is rounded to float32, as all
weights in double precision are; but whole numbers that float32 cannot hold, numbers beyond its range, and numbers
that it can only take for zero are refused.
"""

from __future__ import annotations

from typing import Any, NoReturn

import jax
import jax.numpy as jnp
import numpy as np

from snnax.errors import ConversionError

_DOUBLE = 'Work in double precision, jax.config.update("jax_enable_x64", True), or scale the numbers.'
WRITTEN = "Give the layer numbers of ordinary size, and a dt in seconds."
"""What to do about a number that is too large or too small to be written."""
_REAL = "Pass finite real numbers."


def array(node: str, what: str, value: Any) -> np.ndarray:
    """An array of any library as NumPy's, in its type and this machine's order of bytes; torch's float8 as float32.

    Args:
        node: name of what it belongs to, for errors.
        what: name of the array.
        value: the array.

    Raises:
        ConversionError: for tensors that hold no numbers to read, and what is no array.
    """
    if isinstance(value, np.ma.MaskedArray):
        _refuse(node, what, "is a masked array", "Pass value.filled(0) or what else is meant.")
    if hasattr(value, "detach"):
        return _of_torch(node, what, value)
    try:
        found = np.asarray(value)
    except (TypeError, ValueError) as error:
        raise ConversionError(node, f"{what} is no array of numbers ({error})", _REAL) from error
    return found if found.dtype.isnative else found.astype(found.dtype.newbyteorder("="))


def _of_torch(node: str, what: str, tensor: Any) -> np.ndarray:
    """Those of torch's tensors that NumPy has no type for change theirs; those without numbers are refused."""
    if hasattr(tensor, "materialize"):
        _refuse(node, what, "has no shape yet, it is of a lazy module", "Call the network once on a sample.")
    if tensor.device.type == "meta":
        _refuse(node, what, "is on the device 'meta', so it has no numbers", "Load the weights first.")
    if tensor.is_quantized:
        _refuse(node, what, "is quantized", "Convert the network before it is quantized, or dequantize() it.")
    if tensor.is_nested or str(tensor.layout) != "torch.strided":
        _refuse(node, what, f"is not dense ({tensor.layout})", "Call to_dense() on it.")
    tensor = tensor.detach().cpu().resolve_conj().resolve_neg()
    kind = str(tensor.dtype)
    if kind == "torch.bfloat16":
        return np.asarray(tensor.float()).astype(jnp.bfloat16)
    if "float" in kind and kind not in ("torch.float16", "torch.float32", "torch.float64"):
        tensor = tensor.float()
    return np.asarray(tensor)


def plain(node: str, what: str, value: Any) -> np.ndarray:
    """Finite real numbers as float32 or float64, as the table above says.

    Raises:
        ConversionError: for what is complex, not finite, no number, or whole and not held by float64.
    """
    given = array(node, what, value)
    if jnp.issubdtype(given.dtype, np.floating):
        with np.errstate(over="ignore"):
            found = given.astype(np.float32 if given.dtype.itemsize <= 4 else np.float64, copy=False)
        if not np.isfinite(found).all():
            if np.isfinite(given).all():
                _refuse(node, what, "holds numbers that float64 cannot hold", "Scale them.")
            worst = "NaN" if np.isnan(found).any() else "infinity"
            _refuse(node, what, f"holds {worst}; every number must be finite", _REAL)
        return found
    if given.dtype.kind not in "biu":
        _refuse(node, what, f"holds {given.dtype}; every number must be real", _REAL)
    return _of_whole(node, what, given)


def on_device(value: Any) -> jax.Array:
    """An array of NumPy's as JAX holds it, with memory of its own.

    ``jnp.asarray`` compiles a program for each new shape and type, which takes 6 to 9 ms; and with a dtype it may share
    the memory of what it is given, which whoever owns that can change later.

    Args:
        value: the array; a number that JAX has already stays as it is.
    """
    return value if isinstance(value, jax.Array) else jax.device_put(np.array(value))


def held(node: str, what: str, value: Any) -> np.ndarray:
    """Real numbers in the type that they have, NaN and infinity too: what is not computed with, only handed on.

    Raises:
        ConversionError: for what is complex or no number.
    """
    given = array(node, what, value)
    if given.dtype.kind not in "biu" and not jnp.issubdtype(given.dtype, np.floating):
        _refuse(node, what, f"holds {given.dtype}; every number must be real", "Pass real numbers.")
    return given.astype(given.dtype.newbyteorder("="), copy=False)


def written(node: str, what: str, value: Any) -> np.ndarray:
    """What goes into a file: as :func:`plain`, but whole numbers stay whole, so that the reader sees what they are."""
    given = array(node, what, value)
    return given if given.dtype.kind in "iu" else plain(node, what, given)


def _of_whole(node: str, what: str, given: np.ndarray) -> np.ndarray:
    wide = given.astype(np.float64)
    large = np.abs(wide) >= 2**53
    if any(int(f) != int(n) for f, n in zip(wide[large], given[large], strict=True)):
        _refuse(node, what, f"holds {given[large][0]}, which no float holds exactly", "Scale the numbers.")
    small = wide.astype(np.float32)
    return small if (small == wide).all() else wide


def real(node: str, what: str, value: Any, *, weights: bool = False) -> np.ndarray:
    """The same, and JAX in its present precision can compute with it.

    Args:
        node: name of what it belongs to, for errors.
        what: name of the array.
        value: the array.
        weights: they are summed, so that one that vanishes beside larger ones changes nothing; else each counts.

    Raises:
        ConversionError: as :func:`plain`, and for what float32 cannot hold where that is JAX's precision.
    """
    given = array(node, what, value)
    found = plain(node, what, given)
    if found.dtype == np.float64 and not jax.config.read("jax_enable_x64"):
        if given.dtype.kind in "iu":
            large = found[found.astype(np.float32) != found]
            _refuse(node, what, f"holds {int(large[0])}, which float32 does not hold exactly", _DOUBLE)
        narrow(node, what, found, weights=weights)
    return found


def narrow(
    node: str, what: str, value: np.ndarray, *, weights: bool = False, remedy: str = _DOUBLE
) -> np.ndarray:
    """Rounded to float32.

    Raises:
        ConversionError: where that makes infinity of a number, or zero of one that counts.
    """
    with np.errstate(over="ignore", under="ignore"):
        small = np.asarray(value, np.float32)
    if not np.isfinite(small).all():
        large = np.asarray(value)[~np.isfinite(small)][0]
        _refuse(node, what, f"holds {large:.6g}, which is too large for float32", remedy)
    lost = (small == 0) & (np.asarray(value) != 0)
    if lost.any() and not (weights and small.any()):
        _refuse(node, what, f"holds {np.asarray(value)[lost][0]:.6g}, which float32 takes for zero", remedy)
    return small


def whole(node: str, what: str, value: Any) -> np.ndarray:
    """Whole numbers as int64, or what JAX has in its place.

    Raises:
        ConversionError: for numbers that are not whole, or beyond that type.
    """
    given = array(node, what, value)
    if given.dtype.kind not in "biu":
        given = plain(node, what, given)
        if (given != np.floor(given)).any() or (np.abs(given) >= 2**53).any():
            _refuse(node, what, "is no whole number", "Pass whole numbers.")
    kind = np.int64 if jax.config.read("jax_enable_x64") else np.int32
    if given.size and (int(given.max()) > np.iinfo(kind).max or int(given.min()) < np.iinfo(kind).min):
        _refuse(node, what, f"holds {int(given.max())}, which {kind.__name__} does not hold", _DOUBLE)
    return given.astype(np.int64)


def as_stored(node: str, what: str, value: Any) -> np.ndarray:
    """What JAX can compute with, floats of any width in their own.

    Raises:
        ConversionError: as :func:`real`.
    """
    given = array(node, what, value)
    found = real(node, what, given, weights=True)
    if jnp.issubdtype(given.dtype, np.floating) and given.dtype.itemsize <= 8:
        return given.astype(given.dtype.newbyteorder("="), copy=False)
    return found


def _refuse(node: str, what: str, problem: str, remedy: str) -> NoReturn:
    raise ConversionError(node, f"{what} {problem}" if what else problem, remedy)
