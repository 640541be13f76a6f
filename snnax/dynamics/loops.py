"""A loop over time that is one kernel on an NVIDIA GPU, and ``lax.scan`` everywhere else.

The step has to be elementwise. Each program of the kernel then takes a block of neurons through all steps with
their state in registers: it reads each input once and writes each output once, whereas a scan is a kernel for each
step, which reads and writes the state as well.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from functools import partial
from typing import Any, Literal, NamedTuple

import jax
import jax.numpy as jnp
from jax import lax
from jax.core import ShapedArray
from jax.extend.core import Primitive
from jax.interpreters import ad, batching, mlir

from snnax.dynamics.arithmetic import Constant
from snnax.dynamics.elementwise import NotElementwiseError, program
from snnax.dynamics.kernel import Loop, run_blocks

How = Literal["cuda", "interpret"]
"""The kernel where the program runs on an NVIDIA GPU; or the kernel interpreted, on any device, for tests."""

Step = Callable[..., tuple[Any, Any]]


class Rows(NamedTuple):
    """What a step reads besides its carry.

    Attributes:
        now: a tree of arrays ``[T, ...]``, of which step t reads row t.
        first: a tree of values before the first step.
        before: the same tree of arrays ``[T, ...]``, of which step t reads row t - 1, in the dtype of ``first``.
    """

    now: Any
    first: Any = ()
    before: Any = ()


def loop(step: Step, constants: Any, carry: Any, rows: Rows, how: How) -> tuple[Any, Any]:
    """``carry`` after all steps, and what each gave.

    Args:
        step: ``(constants, carry, now, before)`` to the carry after the step and its output; elementwise, and
            closing over nothing but NumPy arrays.
        constants: a tree of arrays, scalars or aligned to the neurons.
        carry: a tree of arrays of one shape.
        rows: inputs of that shape.
        how: which kernel.

    Raises:
        NotElementwiseError: ``step`` is not elementwise.
    """
    given = (constants, carry, rows)
    scan, kernel = partial(_scan, step), partial(_kernel, step, how=how)
    returns = jax.eval_shape(kernel, *given)
    return _bind(scan, kernel, returns, None, given, (), how)


def linear_loop(
    step: Step, constants: Any, rows: Rows, d_constants: Any, d_carry: Any, d_x: Any, how: How
) -> tuple[Any, Any]:
    """A loop that is linear in its last three arrays; its transpose is a kernel if that is elementwise.

    Args:
        step: ``(constants, now, before, d_constants, d_carry, d_x)`` to the carry after the step and its output.
        constants: a tree of arrays, scalars or aligned to the neurons.
        rows: inputs that the step is not linear in.
        d_constants: tangents; the transpose sums them over all steps, after its kernel.
        d_carry: tangents.
        d_x: tangents ``[T, ...]``.
        how: which kernel.
    """

    def scan(constants: Any, rows: Rows, *linear: Any) -> tuple[Any, Any]:
        return _scan(
            partial(_in_order, step),
            (constants, linear[0]),
            linear[1],
            Rows((linear[2], rows.now), *rows[1:]),
        )

    fixed, linear = (constants, rows), (d_constants, d_carry, d_x)
    shapes = jax.eval_shape(lambda *linear: linear, *linear)
    returns = jax.eval_shape(scan, *fixed, *linear)

    def transposed(constants: Any, rows: Rows, *cotangents: Any) -> Any:
        return jax.linear_transpose(partial(scan, constants, rows), *shapes)(cotangents)

    back = partial(_transposed_kernel, step, shapes[0], how)
    there: tuple[Any, ...] = (transposed, back, shapes)
    try:
        jax.eval_shape(back, *fixed, *returns)
    except NotElementwiseError:
        there = (transposed, None, shapes)
    return _bind(scan, None, returns, there, fixed, linear, how)


def _in_order(step: Step, constants: Any, carry: Any, now: Any, before: Any) -> tuple[Any, Any]:
    """The arguments of a step of :func:`loop` in the order of those of :func:`linear_loop`."""
    return step(constants[0], now[1], before, constants[1], carry, now[0])


def _transposed_kernel(
    step: Step, d_constants: Any, how: How, constants: Any, rows: Rows, ct_carry: Any, ct_out: Any
) -> tuple[Any, Any, Any]:
    """Cotangents of ``d_constants``, ``d_carry`` and ``d_x`` from those of what :func:`linear_loop` returns."""
    none = jax.tree.map(jnp.zeros_like, d_constants)
    learned = bool(jax.tree.leaves(d_constants))

    def back(constants: Any, carry: Any, now: Any, before: Any) -> Any:
        zeros = jax.tree.map(jnp.zeros_like, carry)
        pull = jax.vjp(partial(step, constants, now[1], before, none), zeros, jax.tree.leaves(zeros)[0])[1]
        ct_before, ct_x = pull((carry, now[0]))
        return ct_before, (ct_x, carry if learned else ())

    ct_first, (ct_x, ct_after) = _kernel(
        back, constants, ct_carry, Rows((ct_out, rows.now), *rows[1:]), True, how
    )
    if not learned:
        return none, ct_first, ct_x

    def of_constants(now: Any, before: Any, *cotangents: Any) -> Any:
        zeros = jax.tree.map(jnp.zeros_like, cotangents[0])
        pull = jax.vjp(lambda d: step(constants, now, before, d, zeros, jax.tree.leaves(zeros)[0]), none)[1]
        return pull(cotangents)[0]

    each = jax.vmap(of_constants)(rows.now, _shifted(rows), ct_after, ct_out)
    return jax.tree.map(lambda ct: ct.sum(0), each), ct_first, ct_x


def _shifted(rows: Rows) -> Any:
    return jax.tree.map(each_before, rows.first, rows.before)


def each_before(first: Any, after: Any) -> jax.Array:
    """What was before each step, ``[T, ...]``, from what was before the first and what is after each."""
    return jnp.concatenate([first[None], after[:-1].astype(first.dtype)])


def each_step(value: Constant) -> Constant:
    """A parameter that is aligned to one step, aligned to ``[T, ...]``."""
    return value[None] if value.ndim else value


def _scan(step: Step, constants: Any, carry: Any, rows: Rows) -> tuple[Any, Any]:
    return lax.scan(lambda state, row: step(constants, state, *row), carry, (rows.now, _shifted(rows)))


def _kernel(
    step: Step, constants: Any, carry: Any, rows: Rows, reverse: bool = False, how: How = "cuda"
) -> tuple[Any, Any]:
    now = jax.tree.map(lambda v: jax.ShapeDtypeStruct(v.shape[1:], v.dtype), rows.now)
    found, result = program(partial(step, constants), carry, now, rows.first)
    states, given = jax.tree.leaves(carry), jax.tree.leaves(rows.now)
    flat = Loop(found, states, given, jax.tree.leaves(rows.first), jax.tree.leaves(rows.before), reverse)
    outs = run_blocks(flat, len(given[0]), states[0].shape, how == "interpret")
    return jax.tree.unflatten(result, outs)


# --- the loop as one operation of JAX: what it is on each platform, its derivative, its transpose, its batches ---

Flat = Callable[..., Sequence[jax.Array]]


class _Way(NamedTuple):
    """A function of flat arrays, as a scan and, if there is one, as a kernel; and what it returns."""

    scan: Flat
    kernel: Flat | None
    returns: tuple[Any, ...]


def _bind(scan: Any, kernel: Any, returns: Any, there: Any, fixed: Any, linear: Any, how: How) -> Any:
    known, tree = jax.tree.flatten(fixed)
    tangents, linear_tree = jax.tree.flatten(linear)
    result = jax.tree.structure(returns)

    def flat(function: Any, last: Any) -> Any:
        def call(*args: jax.Array) -> Sequence[jax.Array]:
            front, back = args[: len(known)], args[len(known) :]
            return jax.tree.leaves(
                function(*jax.tree.unflatten(tree, front), *jax.tree.unflatten(last, back))
            )

        return None if function is None else call

    here = _Way(flat(scan, linear_tree), flat(kernel, linear_tree), tuple(jax.tree.leaves(returns)))
    if there is not None:
        back, back_kernel, back_returns = there
        there = _Way(flat(back, result), flat(back_kernel, result), tuple(jax.tree.leaves(back_returns)))
    outs = loop_p.bind(*known, *tangents, here=here, there=there, linear=len(tangents), how=how)
    return jax.tree.unflatten(result, outs)


loop_p = Primitive("snnax_loop")
loop_p.multiple_results = True


def _call(
    *args: Any, here: _Way, there: Any, linear: int, how: How, kernel: bool = False
) -> Sequence[jax.Array]:
    if here.kernel is not None and (kernel or how == "interpret"):
        return here.kernel(*args)
    return here.scan(*args)


def _run_now(*args: Any, **options: Any) -> Sequence[jax.Array]:
    return jax.jit(partial(_call, kernel=jax.default_backend() == "gpu", **options))(*args)


def _jvp(primals: Any, tangents: Any, *, here: _Way, there: Any, linear: int, how: How) -> Any:
    options = {"here": here, "there": there, "linear": linear, "how": how}
    outs = loop_p.bind(*primals, **options)
    fixed = len(primals) - linear
    moved = [ad.instantiate_zeros(t) for t in tangents]
    if linear and all(isinstance(t, ad.Zero) for t in tangents[:fixed]):
        return outs, loop_p.bind(*primals[:fixed], *moved[fixed:], **options)
    return outs, list(jax.jvp(lambda *args: list(here.scan(*args)), tuple(primals), tuple(moved))[1])


def _transpose(cotangents: Any, *args: Any, here: _Way, there: _Way, linear: int, how: How) -> Any:
    fixed, moved = args[: len(args) - linear], args[len(args) - linear :]
    given = [ad.instantiate_zeros(ct) for ct in cotangents]
    outs = loop_p.bind(*fixed, *given, here=there, there=here, linear=len(given), how=how)
    wanted = [out if ad.is_undefined_primal(arg) else None for arg, out in zip(moved, outs, strict=True)]
    return [None] * len(fixed) + wanted


def _batch(args: Any, axes: Any, *, here: _Way, there: Any, linear: int, how: How) -> Any:
    size = next(arg.shape[axis] for arg, axis in zip(args, axes, strict=True) if axis is not None)
    fixed = len(args) - linear
    front = [None if axis is None else 0 for axis in axes[:fixed]]
    moved = [
        arg if axis is None and i < fixed else batching.bdim_at_front(arg, axis, size)
        for i, (arg, axis) in enumerate(zip(args, axes, strict=True))
    ]

    def many(way: _Way, number: int) -> _Way:
        mapped = (*front, *[0] * number)
        returns = tuple(jax.ShapeDtypeStruct((size, *r.shape), r.dtype) for r in way.returns)
        kernel = None if way.kernel is None else jax.vmap(way.kernel, mapped)
        return _Way(jax.vmap(way.scan, mapped), kernel, returns)

    back = None if there is None else many(there, len(here.returns))
    outs = loop_p.bind(*moved, here=many(here, linear), there=back, linear=linear, how=how)
    return outs, [0] * len(outs)


loop_p.def_impl(_run_now)
loop_p.def_abstract_eval(lambda *_, here, **__: [ShapedArray(r.shape, r.dtype) for r in here.returns])
ad.primitive_jvps[loop_p] = _jvp
ad.primitive_transposes[loop_p] = _transpose
batching.primitive_batchers[loop_p] = _batch
mlir.register_lowering(loop_p, mlir.lower_fun(_call, multiple_results=True))
mlir.register_lowering(
    loop_p, mlir.lower_fun(partial(_call, kernel=True), multiple_results=True), platform="cuda"
)
