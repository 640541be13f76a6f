"""Operators of core ATen, each called in torch and in JAX with the same numbers: values and derivatives."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
import torch

from snnax.interop.program import operators

FORWARD = {"float32": 5e-6, "float64": 1e-12}
NARROW = {"int64": np.int32, "float64": np.float32}
BACKWARD = {"float32": 2e-5, "float64": 1e-10}
LOOSEST = 1e-4
WIDTHS = (np.float32, np.float64)


@dataclass(frozen=True, eq=False)
class Case:
    """One call.

    Attributes:
        op: name and overload.
        args, kwargs: torch's; arrays stand for tensors. Those of double precision are cast to the one that is tested.
        looser: by how much values may differ more than others; for functions that the two libraries approximate.
        slopes: compare derivatives too.
        held: numbers of the arrays without derivative.
    """

    op: str
    args: tuple[Any, ...]
    kwargs: dict[str, Any] = field(default_factory=dict)
    looser: float = 1
    slopes: bool = True
    held: tuple[int, ...] = ()

    def moving(self, number: int, floating: bool) -> bool:
        """Whether there is a derivative by this array."""
        return self.slopes and floating and number not in self.held

    def __str__(self) -> str:
        words = [*map(_word, self.args), *(f"{name}={_word(value)}" for name, value in self.kwargs.items())]
        return f"{self.op}({', '.join(words)})"


def case(
    op: str, *args: Any, looser: float = 1, slopes: bool = True, held: tuple[int, ...] = (), **kwargs: Any
) -> Case:
    """A call of an operator as torch writes it."""
    return Case(op, args, kwargs, looser, slopes, held)


def _word(value: Any) -> str:
    if isinstance(value, np.ndarray):
        return f"{value.dtype.kind}{list(value.shape)}".replace(" ", "")
    if isinstance(value, list | tuple) and any(isinstance(v, np.ndarray) for v in value):
        return f"[{','.join(map(_word, value))}]"
    return str(value).replace(" ", "")


def real(*shape: int, seed: int = 0) -> np.ndarray:
    """Numbers around 0, none of them special."""
    return np.asarray(np.random.default_rng((seed, *shape)).normal(0, 1.5, shape))


def positive(*shape: int, seed: int = 0) -> np.ndarray:
    """Numbers from 0.1 to 0.9."""
    return np.asarray(np.random.default_rng((seed, *shape)).uniform(0.1, 0.9, shape))


def ties(*shape: int, seed: int = 0) -> np.ndarray:
    """Halves from -1 to 1: zeros, bounds, and equal numbers everywhere."""
    return np.asarray(np.random.default_rng((seed, *shape)).integers(-2, 3, shape) / 2)


def whole(*shape: int, low: int = -4, high: int = 5, seed: int = 0) -> np.ndarray:
    """Whole numbers, 64 bits."""
    return np.asarray(np.random.default_rng((seed, *shape)).integers(low, high, shape))


def flags(*shape: int, seed: int = 0) -> np.ndarray:
    """Booleans."""
    return np.asarray(np.random.default_rng((seed, *shape)).random(shape) < 0.5)


def overload(op: str) -> Any:
    """Torch's own operator."""
    packet, _, name = op.partition(".")
    return getattr(getattr(torch.ops.aten, packet), name or "default")


def _mapped(value: Any, of_array: Any) -> Any:
    """The same arguments with ``of_array`` of each array, in lists too."""
    if isinstance(value, np.ndarray):
        return of_array(value)
    if isinstance(value, list):
        return [_mapped(v, of_array) for v in value]
    return value


def _cast(value: np.ndarray, width: Any) -> np.ndarray:
    return value.astype(width) if value.dtype == np.float64 else value


def _arrays(call: Case, width: Any) -> list[np.ndarray]:
    found: list[np.ndarray] = []
    _mapped([*call.args, *call.kwargs.values()], lambda a: found.append(_cast(a, width)))
    return found


def _rebuilt(call: Case, arrays: Sequence[Any]) -> tuple[list[Any], dict[str, Any]]:
    """The arguments, with these in place of the arrays."""
    left = iter(arrays)
    args = [_mapped(a, lambda _: next(left)) for a in call.args]
    return args, {name: _mapped(v, lambda _: next(left)) for name, v in call.kwargs.items()}


@dataclass(frozen=True)
class Result:
    """What one side made: values, and derivatives by each array; ``None`` where there is none."""

    values: list[np.ndarray]
    slopes: list[np.ndarray]


def _pull(shape: tuple[int, ...], number: int) -> np.ndarray:
    """What a result is multiplied with before derivatives are taken."""
    return np.asarray(np.random.default_rng((7, number)).uniform(0.5, 1.5, shape))


def in_torch(call: Case, width: Any) -> Result:
    """Torch's values and derivatives."""
    tensors = [torch.from_numpy(np.array(a)) for a in _arrays(call, width)]
    for i, tensor in enumerate(tensors):
        tensor.requires_grad_(call.moving(i, tensor.is_floating_point()))
    args, kwargs = _rebuilt(call, tensors)
    dtypes = {
        np.dtype(np.float32): torch.float32,
        np.dtype(np.int64): torch.int64,
        np.dtype(bool): torch.bool,
    }
    kwargs = {k: dtypes.get(np.dtype(v), torch.float64) if k == "dtype" else v for k, v in kwargs.items()}
    made = overload(call.op)(*args, **kwargs)
    made = list(made) if isinstance(made, tuple | list) else [made]
    pulled = [
        (m * torch.from_numpy(_pull(m.shape, i)).to(m.dtype)).sum()
        for i, m in enumerate(made)
        if m.requires_grad and m.is_floating_point() and m.numel()
    ]
    leaves = [t for t in tensors if t.requires_grad]
    slopes = torch.autograd.grad(sum(pulled), leaves, allow_unused=True) if pulled else [None] * len(leaves)
    zeros = (torch.zeros_like(t) if s is None else s for s, t in zip(slopes, leaves, strict=True))
    return Result([m.detach().numpy() for m in made], [s.numpy(force=True) for s in zeros])


def in_jax(
    call: Case, arrays: Sequence[jax.Array], expected: Result
) -> tuple[list[Any], Sequence[jax.Array]]:
    """Our values and derivatives; with what torch recorded of the results, as an executor has it."""
    moving = [i for i, a in enumerate(arrays) if call.moving(i, jnp.issubdtype(a.dtype, jnp.floating))]
    results = [jax.ShapeDtypeStruct(v.shape, v.dtype) for v in expected.values]

    def pulled(leaves: Sequence[jax.Array]) -> tuple[jax.Array, list[Any]]:
        given = list(arrays)
        for i, leaf in zip(moving, leaves, strict=True):
            given[i] = leaf
        args, kwargs = _rebuilt(call, given)
        made = list(operators.evaluate(call.op, tuple(args), kwargs, results))
        total = sum(
            (m * jnp.asarray(_pull(m.shape, i), m.dtype)).sum().astype(float)
            for i, m in enumerate(made)
            if m is not None and jnp.issubdtype(m.dtype, jnp.floating)
        )
        return jnp.asarray(total, float), made

    leaves = [arrays[i] for i in moving]
    if not leaves:
        return pulled(leaves)[1], []
    slopes, made = jax.grad(pulled, has_aux=True)(leaves)
    return made, slopes


def agree(calls: Sequence[Case], width: Any) -> None:
    """Both sides of all calls agree: shapes, types, values, derivatives; says of all that do not.

    Ours are one compiled program, and one test: one by one they would compile for minutes, and each of pytest's workers
    would do so.
    """
    with jax.enable_x64(width == np.float64):
        found = [
            _tried(_agree, call, width, *sides)
            for call, sides in zip(calls, _sides(calls, width), strict=True)
        ]
    wrong = [
        f"{call}: {type(error).__name__} {error}" for call, error in zip(calls, found, strict=True) if error
    ]
    assert not wrong, "\n\n".join(wrong)


def _sides(calls: Sequence[Case], width: Any) -> list[tuple[Any, Any]]:
    """Both sides of each call, or what either raised."""
    theirs = [_tried(in_torch, call, width) for call in calls]
    failed: list[Exception | None] = []

    def ours(arrays: list[list[jax.Array]]) -> list[Any]:
        made = [
            other if isinstance(other, Exception) else _tried(in_jax, *given, other)
            for *given, other in zip(calls, arrays, theirs, strict=True)
        ]
        failed.extend(m if isinstance(m, Exception) else None for m in made)
        return [None if isinstance(m, Exception) else m for m in made]

    fast = {"xla_backend_optimization_level": 0, "xla_llvm_disable_expensive_passes": True}
    made = jax.jit(ours, compiler_options=fast)([_arrays(call, width) for call in calls])
    return [(error or mine, other) for error, mine, other in zip(failed, made, theirs, strict=True)]


def _tried(function: Any, *args: Any) -> Any:
    try:
        return function(*args)
    except Exception as error:
        return error


def _agree(call: Case, width: Any, made: Any, theirs: Result) -> None:
    if isinstance(made, Exception):
        raise made
    values, slopes = jax.tree.map(np.asarray, made)
    for mine, other in zip(values, theirs.values, strict=True):
        if mine is None:
            continue
        assert mine.shape == other.shape
        assert mine.dtype == (
            other.dtype if width == np.float64 else NARROW.get(other.dtype.name, other.dtype)
        )
        _close(mine, other, FORWARD, call.looser)
    for mine, other in zip(slopes, theirs.slopes, strict=True):
        assert mine.shape == other.shape and mine.dtype == other.dtype
        _close(mine, other, BACKWARD, call.looser)


def _close(mine: np.ndarray, other: np.ndarray, limits: dict[str, float], looser: float) -> None:
    if mine.dtype.kind != "f":
        np.testing.assert_array_equal(mine, other)
        return
    rtol = min(limits[mine.dtype.name] * looser, LOOSEST)
    finite = np.abs(other[np.isfinite(other)])
    np.testing.assert_allclose(mine, other, rtol=rtol, atol=rtol * max(1.0, finite.max(initial=0)))
