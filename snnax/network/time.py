"""All steps of one neuron whose reset waits for the next step, with a gradient that keeps one array a step.

Given its resets, a built-in neuron is linear: in its state and in its input. Its derivative therefore needs to know,
of each step, how far the membrane was above the threshold, and nothing else; that one array is kept for the
backward pass, under the name :data:`KEPT`, and all else is computed from it. By a parameter that is learned, and of an
equation that is not linear, the derivative needs the states as well; they are kept under the same name.
"""

from __future__ import annotations

from collections.abc import Callable
from functools import partial
from typing import Any, NamedTuple, cast

import flax.linen as nn
import jax
import jax.numpy as jnp
from flax.core import unfreeze
from jax import lax
from jax.ad_checkpoint import checkpoint_name

from snnax.dynamics.arithmetic import each_step
from snnax.dynamics.equation import Equation, States, compared
from snnax.dynamics.firing import reset_flag, spikes
from snnax.network.lengths import last
from snnax.network.settings import Settings, Tree
from snnax.neurons import SpikingNeuron

KEPT = "snnax_kept"
"""Name of what a checkpointed chunk of steps keeps for its backward pass."""


class Steps(NamedTuple):
    """What the loop returns.

    Attributes:
        last: the state after the last step.
        states: after each step, ``[T, ...]``; ``None`` for those that were not asked for.
        above: how far the membrane, or its level, is above the threshold, ``[T, ...]``: it says what the spikes are,
            and the slope of their surrogate.
    """

    last: States
    states: tuple[jax.Array | None, ...]
    above: jax.Array


class _Plan(NamedTuple):
    """What the loop knows before it runs: everything that is not an array to differentiate by.

    Attributes:
        rebuild: from the arrays among them to the equation, but for the weights of its feedback.
        feedback: as in :class:`~snnax.dynamics.equation.Equation`.
        levelled: whether something else than the membrane is compared with the threshold.
        through_reset: whether the gradient passes through resets.
        wanted: for each state whether it is returned for each step.
        keeps_states: whether the derivative needs the states: by a learned parameter, or if the step is not linear.
        keeps_input: whether it needs the input.
        short: keep bfloat16 for the backward pass.
    """

    rebuild: Callable[[list[jax.Array]], Equation]
    feedback: Callable[[Any, jax.Array], jax.Array] | None
    levelled: bool
    through_reset: bool
    wanted: tuple[bool, ...]
    keeps_states: bool
    keeps_input: bool
    short: bool


def run_neuron(
    module: nn.Module, variables: Tree, x: jax.Array, forced: Tree, start: Any, settings: Settings
) -> tuple[Any, Tree]:
    """All steps of a neuron of which :meth:`~snnax.neurons.SpikingNeuron.takes_steps` says that a loop may.

    The same as calling it for each, with a derivative that keeps less.
    """
    neuron, mutable = cast(SpikingNeuron, module), [*settings.carried, *settings.stacked]
    given = {**variables, **({"forced": forced} if forced else {})}
    bound: Any = neuron.bind(given, mutable=mutable)
    frame, states = bound.enter(x[0], *[None] * len(neuron.state_names))
    x = x.astype(frame.dtype)
    state, fired = bound.parted(states)
    equation = bound.equation(frame)
    live = settings.live
    every = bound.output or "record" in mutable or live is not None
    plan, arrays = _planned(equation, state, frame, every, settings.short)
    done = _run(plan, arrays, equation.weights, state, fired, x)
    spk, graded = spikes(done.above, equation.rule), equation.rule.graded
    if graded is not None:
        spk = spk * each_step(graded)
    ends = (spk[-1], *done.last)
    if live is not None:
        # Spikes that are kept are those of recurrent neurons, whose `fired` is what came before the first step.
        before = (spk[0] if fired is None else fired, *state)
        ends = tuple(
            last(b, cast(jax.Array, after), live)
            for b, after in zip(before, (spk, *done.states), strict=True)
        )
    y = bound.leave(x, spk, done.states, ends)
    return y, unfreeze(bound.scope.mutable_variables())


def _planned(
    equation: Equation, state: States, x: jax.Array, every: bool, short: bool
) -> tuple[_Plan, list[jax.Array]]:
    """The plan for one step on ``x``, and the arrays among the parameters; ``every``: return all states."""
    leaves, tree = jax.tree.flatten(equation._replace(weights=None))
    varies = [isinstance(leaf, jax.Array) for leaf in leaves]
    fixed = [None if v else leaf for v, leaf in zip(varies, leaves, strict=True)]

    def rebuild(given: list[jax.Array]) -> Any:
        rest = iter(given)  # and nothing of `leaves`: the rule for derivatives outlives this trace
        both = [next(rest) if v else leaf for v, leaf in zip(varies, fixed, strict=True)]
        return jax.tree.unflatten(tree, both)

    given = [leaf for leaf, v in zip(leaves, varies, strict=True) if v]
    linear = _is_linear(equation, state, x) if equation.linear is None else equation.linear
    through_reset, levelled = equation.rule.detach_reset is False, equation.level is not None
    keeps_states = bool(given) or not linear or through_reset
    keeps_input = not linear or through_reset or (bool(given) and equation.scales_input)
    rest = every or keeps_states
    wanted = (*[rest] * (len(state) - 1), rest or not levelled)
    kept = (keeps_states, keeps_input, short)
    return _Plan(rebuild, equation.feedback, levelled, through_reset, wanted, *kept), given


def _is_linear(equation: Equation, state: States, x: jax.Array) -> bool:
    """Whether the equation is linear in the state and the input: then JAX can transpose it."""
    flag = jnp.zeros_like(state[-1])

    def charged(state: States, x: jax.Array) -> Any:
        after = equation.charge(state, flag, x, equation.rule, *equation.parameters)
        return after, compared(equation, after)

    def transposed(state: States, x: jax.Array) -> Any:
        return jax.linear_transpose(charged, state, x)(charged(state, x))

    try:
        jax.eval_shape(transposed, state, x)
    except Exception:  # JAX has many ways to say that an operation is not linear
        return False
    return True


def _advance(
    plan: _Plan, constants: tuple[list[jax.Array], Any], carry: tuple[States, Any], current: jax.Array
) -> tuple[tuple[States, Any], tuple[Any, ...]]:
    """One step: the state and, with feedback, the spikes after it; and what is wanted of its states and level."""
    given, weights = constants
    equation = plan.rebuild(given)
    before, fired = carry
    flag = reset_flag(compared(equation, before), equation.rule)
    back = {} if plan.feedback is None else {"feedback": plan.feedback(weights, fired)}
    after = equation.charge(before, flag, current, equation.rule, *equation.parameters, **back)
    if plan.feedback is not None:
        fired = spikes(_above(equation, after), equation.rule)
    states = tuple(s if w else None for s, w in zip(after, plan.wanted, strict=True))
    return (after, fired), (states, _above(equation, after) if plan.levelled else None)


def _above(equation: Equation, after: States) -> jax.Array:
    return compared(equation, after) - equation.rule.threshold


def _forward(
    plan: _Plan, given: list[jax.Array], weights: Any, state: States, spk: jax.Array | None, x: jax.Array
) -> Steps:
    rule = plan.rebuild(given).rule
    if plan.keeps_input:
        x = _keep(x)
    (last, _), (states, above) = lax.scan(partial(_advance, plan, (given, weights)), (state, spk), x)
    if plan.levelled:
        states = tuple(_keep(s) for s in states) if plan.keeps_states else states
        return Steps(last, states, _short(above) if plan.short else _keep(above))
    *rest, mem = states
    if plan.keeps_states:
        rest = [_keep(s) for s in rest]
    if plan.short:
        return Steps(last, (*rest, mem), _short(mem - each_step(rule.threshold)))
    mem = _keep(mem)
    return Steps(last, (*rest, mem), mem - each_step(rule.threshold))


_run = jax.custom_jvp(_forward, nondiff_argnums=(0,))


@_run.defjvp
def _run_jvp(plan: _Plan, primals: tuple[Any, ...], tangents: tuple[Any, ...]) -> tuple[Steps, Steps]:
    given, weights, state, spk, x = primals
    d_given, d_weights, d_state, d_spk, d_x = tangents
    out = _forward(plan, *primals)  # not _run: a checkpoint sees no names inside of a custom_jvp
    equation = plan.rebuild(given)
    rule = equation.rule
    fired = lax.stop_gradient(spikes(out.above, rule))
    zeros = jnp.zeros_like(x[0])
    d_back = None
    if (feedback := plan.feedback) is not None:

        def by_weights(carried: jax.Array) -> jax.Array:
            return _derivative(lambda w: feedback(w, carried), weights, d_weights)

        d_back = jax.vmap(by_weights)(each_before(spk, fired))

    def charged(values: Any, flag: jax.Array, before: States, current: jax.Array, back: Any) -> Any:
        equation = plan.rebuild(values)
        named = {} if back is None else {"feedback": back}
        after = equation.charge(before, flag, current, equation.rule, *equation.parameters, **named)
        return after, _above(equation, after)

    def step(carry: tuple[Any, Any], entry: tuple[Any, ...]) -> tuple[tuple[Any, Any], Any]:
        d_before, d_fired = (
            carry  # of the spikes only where they come back: by the feedback, or through the reset
        )
        before, flag, above, current, d_current, d_feedback = entry
        before = before if plan.keeps_states else (zeros,) * len(state)
        back = None
        if plan.feedback is not None:
            back = zeros
            d_feedback = d_feedback + _derivative(partial(plan.feedback, weights), zeros, d_fired)
        point, direction = (
            (before, zeros if current is None else current, back),
            (d_before, d_current, d_feedback),
        )
        reset = (flag, d_fired) if plan.through_reset else ()
        d_after, d_above = _derivative(
            lambda values, p, due=flag: charged(values, due, *p), given, d_given, point, direction, *reset
        )
        if plan.feedback is not None or plan.through_reset:
            d_fired = _derivative(partial(spikes, rule=rule), above, d_above)
        kept = tuple(d if w else None for d, w in zip(d_after, plan.wanted, strict=True))
        return (d_after, d_fired), (kept, d_above)

    def due(values: Any, state: States) -> jax.Array:
        equation = plan.rebuild(values)
        return reset_flag(compared(equation, state), equation.rule)

    if plan.through_reset:
        d_spk = _derivative(due, given, d_given, state, d_state)
    flags = each_before(lax.stop_gradient(due(given, state)), fired)
    current = _keep(x) if plan.keeps_input else None
    entries = (_states_before(plan, equation, state, out), flags, out.above, current, d_x, d_back)
    (d_last, _), (d_states, d_above) = lax.scan(step, (d_state, d_spk), entries)
    return out, Steps(d_last, d_states, d_above)


def each_before(first: jax.Array, after: Any) -> jax.Array:
    """What was before each step, ``[T, ...]``, from what was before the first and what is after each."""
    return jnp.concatenate([first[None], after[:-1].astype(first.dtype)])


def _derivative(function: Callable[..., Any], *points_and_directions: Any) -> Any:
    """The derivative of ``function`` at the points, each followed by its direction."""
    points, directions = points_and_directions[::2], points_and_directions[1::2]
    return jax.jvp(function, points, directions)[1]


def _states_before(plan: _Plan, equation: Equation, state: States, out: Steps) -> States | None:
    """The states before each step, if derivatives by parameters need them."""
    if not plan.keeps_states:
        return None
    after = out.states
    if plan.short and not plan.levelled:
        after = (*after[:-1], out.above + each_step(equation.rule.threshold))
    return tuple(each_before(first, rest) for first, rest in zip(state, after, strict=True))


def _keep(x: jax.Array) -> jax.Array:
    return checkpoint_name(x, KEPT)


def _short(x: jax.Array) -> jax.Array:
    """``x`` rounded to bfloat16, of the same sign, and kept as such.

    As integers, since XLA on a CPU stores bfloat16 in loops as float32.
    """
    bits = _keep(lax.bitcast_convert_type(x.astype(jnp.bfloat16), jnp.uint16))
    return lax.bitcast_convert_type(bits, jnp.bfloat16).astype(x.dtype)
