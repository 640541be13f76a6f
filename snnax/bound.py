"""Calls of modules that have their variables: of ``net.bind(variables)``, and of layers in a user's ``forward``.

What a user wrote runs as Python, and each layer of this package in it as one compiled program: see
:mod:`snnax.eager`. A call of a layer of Flax's takes a millisecond, since it looks at how its weights would be drawn.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Any

import flax.linen as nn
from flax.core import tracers

from snnax.eager import Quick, known, run

__all__ = ["call", "quickly", "settle"]

_NOTHING_TO_SET_UP = frozenset(
    {nn.Dense, nn.Conv, nn.ConvTranspose, nn.BatchNorm, nn.LayerNorm, nn.Dropout, nn.Embed}
)


def quickly(forward: Callable[..., Any], args: Any) -> Any:
    """``forward(*args)``, in which layers of Flax's are compiled programs as well."""
    if not known(args):
        return forward(*args)
    with nn.intercept_methods(_QUICK):
        return forward(*args)


def settle(layer: Any) -> None:
    """Let a layer of Flax's that was just put in its place be called without a second look at each of its fields.

    Flax looks at them when it is put there, and once more before its first call, for whatever ``setup`` makes.
    """
    if type(layer) in _NOTHING_TO_SET_UP and layer.scope is not None:
        state: Any = layer._state
        state.setup_called = type(state.setup_called).DONE


def _layer(following: Callable[..., Any], args: Any, kwargs: Any, context: Any) -> Any:
    module = context.module
    if context.method_name == "__call__" and not kwargs and type(module).__module__.startswith("flax."):
        found = call(module, args)
        if found is not NotImplemented:
            return found
    return following(*args, **kwargs)


def call(module: nn.Module, args: Any) -> Any:
    """What the bound ``module(*args)`` returns, and its states kept where it keeps them; ``NotImplemented`` as ``run``.

    That is left to Flax wherever it does more than to compute: draws weights, hands out keys, or notes the call.
    """
    scope: Any = module.scope
    names = _named(scope.mutable)
    if names is None or not known(args) or scope.rngs or scope.flags or scope.invalid or _noted():
        return NotImplemented
    if (
        names and scope.trace_level != tracers.current_trace()
    ):  # a state would leave the function that JAX traces
        return NotImplemented
    variables = {name: tree for name, tree in scope.variables().items() if tree}
    if _lacks_arrays(module, variables):
        return NotImplemented
    found = run(module, variables, args, names or False)
    if found is NotImplemented or not names:
        return found
    y, updates = found
    for name, tree in updates.items():
        _write(scope._mutable_collection(name), tree)
    return y


def _lacks_arrays(module: nn.Module, variables: Mapping[str, Any]) -> bool:
    """Whether its fixed arrays were left out of the network's variables: alone it would be as it was built."""
    from snnax.neurons.buffers import KEPT, declared, passed_some  # the neurons' base is a module itself

    return not any(name in variables for name in KEPT) and passed_some(module) and bool(declared(module))


def _named(mutable: Any) -> tuple[str, ...] | None:
    """The collections that change, of a filter of Flax's that names them."""
    if mutable is False:
        return ()
    if isinstance(mutable, str):
        return (mutable,)
    return tuple(mutable) if isinstance(mutable, list | tuple | set) else None


def _noted() -> bool:
    """Whether Flax is asked to note calls, for ``tabulate`` or ``capture_intermediates``."""
    # As for interceptors there is no public question
    context: Any = getattr(nn.module, "_context", None)
    return context is None or bool(context.call_info_stack) or any(context.capture_stack)


def _write(into: Any, tree: Mapping[str, Any]) -> None:
    """Into the dictionaries that are there: the scopes of inner layers hold them too."""
    for name, value in tree.items():
        if isinstance(value, Mapping):
            _write(into.setdefault(name, {}), value)
        else:
            into[name] = value


_QUICK = Quick(_layer)
