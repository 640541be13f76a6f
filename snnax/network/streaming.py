"""``step``: one time step of a network, compiled; the streaming twin of ``unroll``."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import flax.linen as nn
import jax
from flax.core import unfreeze
from jax.typing import ArrayLike

from snnax import checks
from snnax.eager import known, run
from snnax.errors import ArgumentError
from snnax.modules import NET, VARIABLES, check_numbers, check_rngs, explained
from snnax.network.compiled import Compiled
from snnax.network.kinds import instances
from snnax.network.members import check_stepwise
from snnax.network.unroll import collections
from snnax.network.whole import WholeNetwork

__all__ = ["step"]


def _run(net: nn.Module, mutable: tuple[str, ...], variables: Any, x: Any, rngs: Any) -> Any:
    y, updates = net.apply(variables, x, mutable=list(mutable), rngs=rngs)
    return y, unfreeze(updates)


_compiled = Compiled(lambda asked, *args: _run(*asked, *args))


def step(
    net: nn.Module,
    variables: Mapping[str, Any],
    x: ArrayLike,
    *,
    rngs: Mapping[str, jax.Array] | None = None,
    mutable: Any = (),
) -> tuple[Any, dict[str, Any]]:
    """One time step of ``net`` as one compiled program: for data that arrives step by step.

    For all steps at once :func:`~snnax.unroll` is several times as fast.

    Args:
        net: any linen module whose neurons keep their state (``init_hidden=True``).
        variables: what ``init`` returned, with the updates of the step before. Without ``hidden`` the step is the
            first, as after :func:`snnax.utils.reset`.
        x: the input of one step, ``[B, ...]``.
        rngs: random keys by name, as ``{"dropout": key}``; another key at each step.
        mutable: collections to update besides ``hidden``, as ``["batch_stats"]`` or ``["record"]``.

    Returns:
        ``(outputs, updates)``, as :func:`~snnax.unroll` and flax's ``apply``: what the network returns, and the
        collections after the step, ``hidden`` among them where the network has a state.

    Raises:
        ShapeError: a layer cannot take ``x``.
        StateError: the stored state belongs to another batch size, or a collection has to change that is not named.
        ArgumentError: variables or keys that are missing, or a network that takes whole sequences at once.

    Example:
        >>> import jax, jax.numpy as jnp, flax.linen as nn, snnax as snn
        >>> net = snn.Sequential([nn.Dense(4), snn.Leaky(beta=0.9, init_hidden=True, output=True)])
        >>> variables = net.init(jax.random.key(0), jnp.ones((1, 3)))
        >>> for x in jnp.ones((25, 1, 3)):
        ...     (spk, mem), updates = snn.step(net, variables, x)
        ...     variables = {**variables, **updates}
        >>> spk.shape, variables["hidden"]["layers_1"]["mem"].shape
        ((1, 4), (1, 4))

    Compared with snnTorch: ``spk, mem = net(x)``, whose neurons keep the state themselves.
    """
    NET(net, "step(net=...)")
    names = (
        ("hidden",)
        if type(mutable) is tuple and not mutable
        else tuple(dict.fromkeys(("hidden", *collections(mutable))))
    )
    keys = {} if rngs is None else check_rngs(rngs, "step(rngs=...)")
    found = run(net, variables, (x,), names, keys, _check)
    if found is not NotImplemented:
        y, updates = found
        return y, updates if type(updates) is dict else unfreeze(updates)
    _check(net)
    VARIABLES(variables, "step(variables=...)")
    check_numbers(variables, "step(variables=...)")
    x = x if known(x) else checks.array(x, "step(x=...)")
    if any(getattr(module, "reads_values", False) for module in instances(net)):
        with explained(net, (x,)):
            return _run(net, names, unfreeze(dict(variables)), x, keys)
    with explained(net, (x,)):
        result: tuple[Any, dict[str, Any]] = _compiled(net, (net, names), unfreeze(dict(variables)), x, keys)
    return result


def _check(net: nn.Module) -> None:
    """Refuse what has no single steps."""
    if isinstance(net, WholeNetwork):
        raise ArgumentError(
            f"step(net={type(net).__name__}) got a network that runs all its steps in one call; write outputs, updates "
            "= snnax.unroll(net, variables, x)."
        )
    check_stepwise(net)
