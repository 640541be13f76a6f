"""The products of weights and signals in a function of JAX, counted while it runs.

A function is traced to its jaxpr, which is then evaluated operation by operation, loops and branches included. Each
value is known to be a *signal*, which depends on the input or on a state, or to be made of variables alone: a *weight*.
A dense product or convolution of one with the other is a place where synaptic operations happen. Which elements of the
signal were not zero is counted there for each element, as int32; how many weights that are not zero meet an element is
found by the transpose of the product. Their products are summed outside, in whole numbers of any size.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
from jax import lax
from jax.extend.core import Literal

__all__ = ["Counter", "Place", "Tally"]

Key = tuple[int, ...]
"""Where in a jaxpr an operation is: its number, and of the jaxprs around it theirs."""

KINDS = {
    "dot_general": "dense",
    "snnax_product": "dense",
    "conv_general_dilated": "convolution",
    "snnax_conv": "convolution",
}
"""Operations that are linear in each of two arrays; two are those of :mod:`snnax.kernels`."""

INNER = {
    "jit", "pjit", "closed_call", "core_call", "custom_jvp_call", "custom_vjp_call", "custom_vjp_call_jaxpr",
    "checkpoint", "remat", "remat2",
}  # fmt: skip
"""Operations that are another jaxpr, done once."""


class Origin(NamedTuple):
    """What a value depends on.

    Attributes:
        moves: on the input or a state: it is a signal.
        variables: the paths of the variables that it is made of, if it is no signal.
    """

    moves: bool = False
    variables: frozenset[str] = frozenset()


class Value(NamedTuple):
    """An array and what it depends on."""

    array: Any
    origin: Origin


@dataclass(frozen=True)
class Place:
    """Where weights meet a signal.

    Attributes:
        variables: the paths of the variables that the weights are made of.
        kind: ``"dense"`` or ``"convolution"``.
    """

    variables: frozenset[str]
    kind: str


class Tally(NamedTuple):
    """What is counted at one place, for each element of the signal in one call.

    Attributes:
        acs: calls in which it was not zero, of those whose signal held -1, 0 and 1 only.
        macs: calls in which it was not zero, of all others.
        weights: how many weights meet it that are not zero.
        all: how many weights meet it.
        calls: number of calls.
    """

    acs: Any
    macs: Any
    weights: Any
    all: Any
    calls: Any


Tallies = dict[Key, Tally]


def joined(origins: Iterable[Origin]) -> Origin:
    """The origin of what is made of several values."""
    origins = list(origins)
    if any(origin.moves for origin in origins):
        return Origin(moves=True)
    return Origin(False, frozenset().union(*(origin.variables for origin in origins)))


@dataclass
class Counter:
    """Evaluates jaxprs and counts.

    Attributes:
        places: what was found, by its place in the jaxpr.
        left_out: products that are none of weights and signals, and what cannot be looked into, in words.
    """

    places: dict[Key, Place] = field(default_factory=dict)
    left_out: dict[str, None] = field(default_factory=dict)

    def count(
        self, function: Callable[..., Any], variables: Mapping[str, Any], *signals: Any
    ) -> tuple[Any, Tallies]:
        """``function(variables, *signals)``, and what is counted meanwhile.

        ``variables`` are by their paths, as ``"layers_0/kernel"``, in collections or not.
        """
        traced, shape = jax.make_jaxpr(function, return_shape=True)(variables, *signals)
        pairs, _ = jax.tree_util.tree_flatten_with_path(variables)
        values = [Value(leaf, Origin(False, frozenset({_path(path)}))) for path, leaf in pairs]
        values += [Value(leaf, Origin(moves=True)) for leaf in jax.tree.leaves(signals)]
        outputs, tallies = self._closed(traced, values, ())
        return jax.tree.unflatten(jax.tree.structure(shape), [value.array for value in outputs]), tallies

    def _closed(self, closed: Any, values: Sequence[Value], key: Key) -> tuple[list[Value], Tallies]:
        jaxpr, consts = _opened(closed)
        known: dict[Any, Value] = {}
        tallies: Tallies = {}

        def read(atom: Any) -> Value:
            return Value(atom.val, Origin()) if isinstance(atom, Literal) else known[atom]

        # what is written into a function as an array is neither a signal nor a variable
        known.update({v: Value(const, Origin()) for v, const in zip(jaxpr.constvars, consts, strict=True)})
        known.update(zip(jaxpr.invars, values, strict=True))
        for number, equation in enumerate(jaxpr.eqns):
            given, here = [read(atom) for atom in equation.invars], (*key, number)
            outputs, found = self._operation(equation, given, here)
            tallies.update(found)
            known.update(zip(equation.outvars, outputs, strict=True))
        return [read(atom) for atom in jaxpr.outvars], tallies

    def _operation(self, equation: Any, given: list[Value], key: Key) -> tuple[list[Value], Tallies]:
        name, params = equation.primitive.name, equation.params
        if name in INNER:
            return self._closed(_inner(params), given, key)
        if name == "scan":
            return self._scan(params, given, key)
        if name == "while":
            return self._while(params, given, key)
        if name == "cond":
            return self._cond(params, given, key)
        origin = joined(value.origin for value in given)
        tallies: Tallies = {}
        if name in KINDS:
            tallies = self._product(equation, given, key)
        elif origin.moves and any(_is_jaxpr(part) for part in jax.tree.leaves(params, is_leaf=_is_jaxpr)):
            self.left_out[f"{name} in {_scope(equation)}, into which nobody can look"] = None
        options = equation.primitive.get_bind_params(params)
        made = equation.primitive.bind(*(value.array for value in given), **options)
        arrays = made if equation.primitive.multiple_results else [made]
        return [Value(array, origin) for array in arrays], tallies

    def _product(self, equation: Any, given: list[Value], key: Key) -> Tallies:
        moving = [value.origin.moves for value in given]
        if not any(moving):
            return {}
        signal, other = given if moving[0] else given[::-1]
        if other.origin.moves or not other.origin.variables:
            two = "a product of two signals" if other.origin.moves else "a product with fixed numbers"
            self.left_out[f"{two} in {_scope(equation)}"] = None
            return {}
        self.places[key] = Place(other.origin.variables, KINDS[equation.primitive.name])
        exact = {
            "preferred_element_type": jnp.float32,
            "precision": None,
        }  # sums of ones, whatever the dtype is
        options = {name: exact.get(name, option) for name, option in equation.params.items()}
        like = jax.ShapeDtypeStruct(jnp.shape(signal.array), jnp.float32)

        def met(weights: Any) -> Any:
            def product(x: Any) -> Any:
                pair = (x, weights) if moving[0] else (weights, x)
                return equation.primitive.bind(*pair, **options)

            out = jax.eval_shape(product, like)
            (counts,) = jax.linear_transpose(product, like)(jnp.ones(out.shape, out.dtype))
            return jnp.rint(counts)

        x, weights = jnp.asarray(signal.array), jnp.asarray(other.array)
        active, binary = x != 0, jnp.all((x == 0) | (x == 1) | (x == -1))
        return {
            key: Tally(
                (active & binary).astype(jnp.int32),
                (active & ~binary).astype(jnp.int32),
                met((weights != 0).astype(jnp.float32)),
                met(jnp.ones(weights.shape, jnp.float32)),
                jnp.int32(1),
            )
        }

    # --- Loops and branches

    def _scan(self, params: Any, given: list[Value], key: Key) -> tuple[list[Value], Tallies]:
        consts, carries = _sizes(params)
        body, fixed = params["jaxpr"], given[:consts]
        begin, entries = given[consts : consts + carries], given[consts + carries :]
        origins = [value.origin for value in fixed]
        inside, outside = _settled(body, origins, begin, [value.origin for value in entries])

        def step(carry: Any, arrays: Any) -> Any:
            before, tallies = carry
            moving = [Value(array, origin) for array, origin in zip(before, inside, strict=True)]
            each = [Value(array, value.origin) for array, value in zip(arrays, entries, strict=True)]
            outputs, found = self._closed(body, [*fixed, *moving, *each], key)
            made = [value.array for value in outputs]
            return (made[:carries], _added(tallies, found)), made[carries:]

        start, rows = [value.array for value in begin], [value.array for value in entries]
        first = jax.tree.map(lambda a: jax.ShapeDtypeStruct(jnp.shape(a)[1:], jnp.asarray(a).dtype), rows)
        found = jax.eval_shape(lambda c, r: step((c, {}), r)[0][1], start, first)
        carry = (start, _zeros(found))
        (after, tallies), stacked = lax.scan(
            step, carry, rows, length=params["length"], reverse=params["reverse"]
        )
        arrays = [*after, *stacked]
        return [Value(a, origin) for a, origin in zip(arrays, outside, strict=True)], tallies

    def _while(self, params: Any, given: list[Value], key: Key) -> tuple[list[Value], Tallies]:
        asking, doing = params["cond_nconsts"], params["body_nconsts"]
        asked, fixed, begin = given[:asking], given[asking : asking + doing], given[asking + doing :]
        inside, outside = _settled(params["body_jaxpr"], [value.origin for value in fixed], begin, [])

        def values(arrays: Any) -> list[Value]:
            return [Value(array, origin) for array, origin in zip(arrays, inside, strict=True)]

        def goes_on(carry: Any) -> Any:
            (answer,), _ = Counter()._closed(params["cond_jaxpr"], [*asked, *values(carry[0])], key)
            return answer.array

        def step(carry: Any) -> Any:
            outputs, found = self._closed(params["body_jaxpr"], [*fixed, *values(carry[0])], key)
            return [value.array for value in outputs], _added(carry[1], found)

        start = [value.array for value in begin]
        found = jax.eval_shape(lambda c: step((c, {}))[1], start)
        after, tallies = lax.while_loop(goes_on, step, (start, _zeros(found)))
        return [Value(a, origin) for a, origin in zip(after, outside, strict=True)], tallies

    def _cond(self, params: Any, given: list[Value], key: Key) -> tuple[list[Value], Tallies]:
        which, *operands = given
        arrays = [value.array for value in operands]

        def run(number: int, branch: Any, arrays: Any) -> Any:
            values = [Value(a, value.origin) for a, value in zip(arrays, operands, strict=True)]
            outputs, found = self._closed(branch, values, (*key, number))
            return [value.array for value in outputs], found

        branches = list(enumerate(params["branches"]))
        shapes: Tallies = {}
        for number, branch in branches:
            shapes |= jax.eval_shape(lambda a, n=number, b=branch: run(n, b, a)[1], arrays)

        def whole(number: int, branch: Any) -> Callable[[Any], Any]:
            def one(arrays: Any) -> Any:
                outputs, found = run(number, branch, arrays)
                return outputs, {**_zeros(shapes), **found}

            return one

        after, tallies = lax.switch(which.array, [whole(n, b) for n, b in branches], arrays)
        origins = [_flow(b, [value.origin for value in operands]) for _, b in branches]
        outside = [joined([which.origin, *each]) for each in zip(*origins, strict=True)]
        return [Value(a, origin) for a, origin in zip(after, outside, strict=True)], tallies


# --- Origins of what loops hand on ------------------------------------------------------------------


def _settled(
    body: Any, fixed: list[Origin], begin: Sequence[Value], entries: list[Origin]
) -> tuple[list[Origin], list[Origin]]:
    """The origins of the carries within a loop, and of all that it returns: a signal in one step is one in all."""
    inside = [value.origin for value in begin]
    while True:
        outside = _flow(body, [*fixed, *inside, *entries])
        after = [joined(pair) for pair in zip(inside, outside[: len(inside)], strict=True)]
        if after == inside:
            return inside, outside
        inside = after


def _flow(closed: Any, origins: Sequence[Origin]) -> list[Origin]:
    """The origins of what a jaxpr returns."""
    jaxpr, _ = _opened(closed)
    known: dict[Any, Origin] = {v: Origin() for v in jaxpr.constvars}
    known.update(zip(jaxpr.invars, origins, strict=True))

    def read(atom: Any) -> Origin:
        return Origin() if isinstance(atom, Literal) else known[atom]

    for equation in jaxpr.eqns:
        given, name, params = (
            [read(atom) for atom in equation.invars],
            equation.primitive.name,
            equation.params,
        )
        if name in INNER:
            made = _flow(_inner(params), given)
        elif name == "scan":
            consts, carries = _sizes(params)
            begin, entries = given[consts : consts + carries], given[consts + carries :]
            _, made = _settled(params["jaxpr"], given[:consts], [Value(None, o) for o in begin], entries)
        else:
            made = [joined(given)] * len(equation.outvars)
        known.update(zip(equation.outvars, made, strict=True))
    return [read(atom) for atom in jaxpr.outvars]


# --- Small things -----------------------------------------------------------------------------------


def _added(before: Tallies, found: Tallies) -> Tallies:
    """Both tallies; how many weights meet an element is the same in each call, and 0 where a branch had none."""
    return {
        key: tally
        if key not in before
        else Tally(
            before[key].acs + tally.acs,
            before[key].macs + tally.macs,
            jnp.maximum(before[key].weights, tally.weights),
            jnp.maximum(before[key].all, tally.all),
            before[key].calls + tally.calls,
        )
        for key, tally in found.items()
    }


def _zeros(shapes: Any) -> Any:
    return jax.tree.map(lambda shape: jnp.zeros(shape.shape, shape.dtype), shapes)


def _inner(params: Mapping[str, Any]) -> Any:
    """The jaxpr that an operation is."""
    return next(params[name] for name in ("call_jaxpr", "fun_jaxpr", "jaxpr") if name in params)


def _sizes(params: Mapping[str, Any]) -> tuple[int, int]:
    """How many arguments of a scan are the same in each step, and how many it carries; JAX 0.12 says so in a tree."""
    if "num_consts" in params:
        return params["num_consts"], params["num_carry"]
    consts, carries, _ = (len(list(part)) for part in params["ft_in"].unpack())
    return consts, carries


def _opened(closed: Any) -> tuple[Any, Sequence[Any]]:
    """A jaxpr, and the arrays that are written into it."""
    return getattr(closed, "jaxpr", closed), getattr(closed, "consts", ())


def _is_jaxpr(part: Any) -> bool:
    return hasattr(part, "eqns")


def _scope(equation: Any) -> str:
    return str(equation.source_info.name_stack) or "the network"


def _path(path: Any) -> str:
    """``params/layers_0/kernel`` as ``layers_0/kernel``."""
    keys = jax.tree_util.keystr(path, simple=True, separator="/")
    return keys.partition("/")[2] or keys
