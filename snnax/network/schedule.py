"""How a chunk of time steps is run: layer by layer where a layer has no memory, step by step where it has.

All functions here are pure: unbound modules and their variables in, results and new variables out.
Inside a chunk of C steps a layer without memory runs once on C*B samples; everything else is scanned.
Random keys are folded with the number of the step and the name of the layer, so that results do not
depend on the chunk size.
"""

from __future__ import annotations

from contextlib import AbstractContextManager, nullcontext
from functools import partial
from typing import Any, cast

import flax.linen as nn
import jax
import jax.numpy as jnp
import numpy as np
from flax.core import DenyList, unfreeze
from jax import lax
from jax.ad_checkpoint import checkpoint_name

from snnax import layers
from snnax.errors import ShapeError
from snnax.kernels.convolution import conv
from snnax.kernels.product import dot_general
from snnax.layers.delays import Delayed
from snnax.limits import check_convolution
from snnax.network.containers import Container
from snnax.network.kinds import is_layered, is_stateless, owners
from snnax.network.lengths import held
from snnax.network.members import arriving, read_port
from snnax.network.settings import Settings, Tree, Way, branch
from snnax.network.time import KEPT, run_neuron
from snnax.network.topology import INPUT
from snnax.neurons import SpikingNeuron


def way_of(module: nn.Module, variables: Tree, x: jax.Array, forced: Tree, settings: Settings) -> Way:
    """The fastest way to run ``module`` that gives what its steps give, one after the other."""
    if is_layered(module):
        return run_nodes
    if is_stateless(module):
        return run_merged
    if isinstance(module, SpikingNeuron):
        dictated = (
            bool(forced) and "spk" in module.state_names
        )  # it would feed back other spikes than its own
        return run_neuron if module.takes_steps() and not settings.first and not dictated else run_steps
    if isinstance(module, Delayed) and module.takes_steps() and not settings.first and settings.live is None:
        return run_delays if isinstance(x.shape[0], int) else run_steps
    return run_frames if has_no_memory(module, variables, x[0], settings) else run_steps


def run_merged(
    module: nn.Module, variables: Tree, x: jax.Array, forced: Tree, start: Any, settings: Settings
) -> tuple[Any, Tree]:
    """A layer without memory, as one batch of C*B.

    Raises:
        ShapeError: if ``x`` has no batch axis, which a flax layer would not notice.
    """
    check_axes(module, x[0])
    if isinstance(module, nn.Conv):
        check_convolution("the network", module, x.shape)
    steps, batch = x.shape[:2]
    y = _quick(module).apply(variables, x.reshape(steps * batch, *x.shape[2:]))
    return jax.tree.map(lambda v: v.reshape(steps, batch, *v.shape[1:]), y), {}


def run_frames(
    module: nn.Module, variables: Tree, x: jax.Array, forced: Tree, start: Any, settings: Settings
) -> tuple[Any, Tree]:
    """A module without memory that may mix the samples of its batch."""
    return jax.vmap(lambda frame: module.apply(variables, frame))(x), {}


def run_delays(
    module: nn.Module, variables: Tree, x: jax.Array, forced: Tree, start: Any, settings: Settings
) -> tuple[Any, Tree]:
    """All steps of delays, which shift a stretch of time, or weigh it, without a loop over it."""
    bound: Any = module.bind(variables, mutable=[*settings.carried])
    y = bound.over_time(x)
    return y, unfreeze(bound.scope.mutable_variables())


def has_no_memory(module: nn.Module, variables: Tree, x: Any, settings: Settings) -> bool:
    """Whether a step of any module is a function of ``x`` ``[B, ...]`` alone: found by tracing one.

    It then neither changes a variable nor draws a random number nor acts on the world. The steps can run at once,
    though not as one batch: the module may mix the samples of its batch.
    """
    if isinstance(module, SpikingNeuron | Container) or any(variables.get(c) for c in settings.carried):
        return False

    def step(variables: Tree, x: Any, keys: Any) -> Any:
        return module.apply(variables, x, mutable=DenyList("params"), rngs=keys)

    # variables are handed in, since JAX keeps what it traces, and with it what that closes over
    def frames(variables: Tree, x: Any) -> Any:
        return jax.vmap(lambda frame: module.apply(variables, frame))(x)

    try:
        traced, (_, after) = jax.make_jaxpr(step, return_shape=True)(variables, x, settings.rngs)
        jax.eval_shape(frames, variables, jnp.broadcast_to(x, (2, *x.shape)))
    except Exception:  # whatever it is, running it step by step says it
        return False
    read = {id(v) for equation in traced.jaxpr.eqns for v in equation.invars}
    keys = traced.jaxpr.invars[len(traced.jaxpr.invars) - len(jax.tree.leaves(settings.rngs)) :]
    given = {c: v for c, v in variables.items() if c != "params"}
    shape: Any = jax.tree.structure(unfreeze(after))
    unchanged = bool(shape == jax.tree.structure(given)) and all(
        any(made is before for before in traced.jaxpr.invars)
        for made in traced.jaxpr.outvars[len(traced.jaxpr.outvars) - len(jax.tree.leaves(after)) :]
    )
    return unchanged and not traced.effects and not any(id(key) in read for key in keys)


def _quick(module: nn.Module) -> nn.Module:
    """The same layer, whose derivatives are fast on CPU, unless it says how it multiplies."""
    if type(module) is nn.Conv and module.conv_general_dilated is None:
        return module.clone(conv_general_dilated=conv)
    if type(module) is nn.Dense and (module.dot_general, module.dot_general_cls) == (None, None):
        return module.clone(dot_general=dot_general)
    return module


def check_axes(module: nn.Module, x: Any) -> None:
    """Refuse one step's input that has no batch axis.

    Raises:
        ShapeError: says which shape ``unroll`` takes.
    """
    if not isinstance(module, nn.Dense | nn.Conv | nn.LayerNorm | nn.BatchNorm):
        return
    spatial = np.size(module.kernel_size) if isinstance(module, nn.Conv) else 0
    if x.ndim < spatial + 2:
        raise ShapeError(
            f"{type(module).__name__} got shape {x.shape} at each step; expected "
            f"[B, {'..., ' if spatial else ''}features]. unroll takes x as [T, B, ...], time first and batch "
            "second; for an input that is constant in time pass one frame [B, ...] and num_steps=T."
        )


def run_nodes(
    module: nn.Module, variables: Tree, x: jax.Array, forced: Tree, start: Any, settings: Settings
) -> tuple[Any, Tree]:
    """A chain or graph without feedback: each node over all steps before the next one."""
    net, steps = cast(Container, module), x.shape[0]
    owner, updates = owners(net), cast(Tree, {})
    values: Tree = {INPUT: jax.vmap(net.enter)(x)}
    for name, node, value in net.walk(values):
        if name in settings.constants:
            values[name] = jax.tree.map(partial(_repeat, steps=steps), settings.constants[name])
            continue
        held, dictated, inner = branch(variables, owner[name]), forced.get(name, {}), settings.within(name)
        way = way_of(node, held, value, dictated, inner)
        with _named(name, node, way):
            values[name], new = way(node, held, value, dictated, start, inner)
        for collection in new:
            updates.setdefault(collection, {})[name] = new[collection]
    return jax.vmap(net.leave)(values), updates


def _named(name: str, node: nn.Module, way: Way) -> AbstractContextManager[Any]:
    """A scope in which operations carry the layer's name, for profilers and readers of HLO; flax gives some theirs."""
    applied = way not in (run_nodes, run_neuron)
    return nullcontext() if applied and node.name == name else jax.named_scope(name)


def hoisted(module: nn.Module, variables: Tree, x: jax.Array, settings: Settings) -> Tree:
    """Results of the layers that see only a constant input ``x[B, ...]``: they need one run, not T."""
    known: Tree = {}
    if not is_layered(module):
        return known
    members, owner = module.members(), owners(module)
    entered = module.enter(x)
    for name, sources in module.plan().sources.items():
        fed = all(s == INPUT or s in known for s, _ in sources)
        if name not in members or not fed or isinstance(members[name], layers.State):
            continue
        parts = [entered if s == INPUT else read_port(s, members[s], known[s], "out") for s, _ in sources]
        value, held = arriving(name, members[name], parts), branch(variables, owner[name])
        if is_stateless(members[name]):
            check_axes(members[name], value)
        elif not has_no_memory(members[name], held, value, settings):
            continue
        with _named(name, members[name], run_merged):
            known[name] = _quick(members[name]).apply(held, value)
    return known


def _repeat(value: jax.Array, steps: int) -> jax.Array:
    return jnp.broadcast_to(value, (steps, *value.shape))


def run_steps(
    module: nn.Module, variables: Tree, x: jax.Array, forced: Tree, start: Any, settings: Settings
) -> tuple[Any, Tree]:
    """Any module, one step after the other."""
    if isinstance(module, SpikingNeuron):
        x = checkpoint_name(x, KEPT)
    carried = {c: variables.get(c, {}) for c in settings.carried}
    fixed = {c: v for c, v in variables.items() if c not in carried}
    mutable = [*settings.carried, *settings.stacked]

    def step(carry: Tree, entry: tuple[Any, jax.Array, Tree, Any]) -> tuple[Tree, tuple[Any, Tree]]:
        number, x_t, forced_t, live_t = entry
        keys = {k: jax.random.fold_in(v, number) for k, v in settings.rngs.items()}
        given = {**fixed, **carry, **({"forced": forced_t} if forced_t else {})}
        y, new = module.apply(given, x_t, mutable=mutable, rngs=keys)
        after = {c: unfreeze(new[c]) if c in new else carry[c] for c in carry}
        if live_t is not None and not settings.first:
            after["hidden"] = held(carry["hidden"], after["hidden"], live_t)
        return after, (y, {c: new[c] for c in settings.stacked if c in new})

    if settings.first:  # what a step declares cannot be the carry of a loop
        carry, out = step(carried, (start, x[0], jax.tree.map(lambda v: v[0], forced), None))
        y, stacked = jax.tree.map(lambda v: jnp.asarray(v)[None], out)
    else:
        numbers = start + jnp.arange(x.shape[0])
        carry, (y, stacked) = lax.scan(step, carried, (numbers, x, forced, settings.live))
    return y, {**{c: v for c, v in carry.items() if v}, **stacked}
