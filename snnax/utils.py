"""Small helpers with snnTorch's names."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import flax.linen as nn

from snnax.errors import TorchLineError
from snnax.layers.norm import BatchNormTT
from snnax.modules import NET, VARIABLES
from snnax.subsets import data_subset, valid_split

__all__ = ["data_subset", "evaluating", "reset", "training", "valid_split"]


def reset(variables: Mapping[str, Any]) -> dict[str, Any]:
    """The same variables without the collection ``hidden``: the next call starts anew, with any batch size.

    Every state then begins where its module lets it begin: at zero in neurons of this package, in a module of your
    own with what the function given to ``self.variable("hidden", name, function, ...)`` returns. A state that a module
    of your own keeps in a collection of another name stays; leave that collection out yourself.

    Args:
        variables: what ``init``, ``apply`` or ``unroll`` returned; left as it is.

    Returns:
        A new dictionary; only the collection ``hidden`` is not in it.

    Example:
        >>> import jax, jax.numpy as jnp, flax.linen as nn, snnax as snn
        >>> net = snn.Sequential([nn.Dense(4), snn.Leaky(beta=0.9, init_hidden=True)])
        >>> variables = net.init(jax.random.key(0), jnp.ones((1, 3)))
        >>> for batch in (128, 96):  # the last batch of an epoch is smaller
        ...     spk, updates = snn.unroll(net, snn.utils.reset(variables), jnp.ones((25, batch, 3)))
        ...     variables = {**variables, **updates}
        >>> variables["hidden"]["layers_1"]["mem"].shape
        (96, 4)

    Compared with snnTorch: ``utils.reset(net)`` resets direct children only and every network of the
    process; here the state belongs to ``variables``, so it resets exactly these, at any depth.
    """
    if isinstance(variables, nn.Module):
        raise TorchLineError(
            f"reset({type(variables).__name__}) got a module, which keeps no state; write variables = "
            "snnax.utils.reset(variables)."
        )
    VARIABLES(variables, "reset(variables)")
    return {name: tree for name, tree in variables.items() if name != "hidden"}


def training(net: nn.Module) -> nn.Module:
    """A copy of ``net`` whose dropout draws and whose batch norm uses the batch (torch's ``train()``).

    Pass ``rngs={"dropout": key}`` and ``mutable=["batch_stats"]`` to ``unroll`` or ``apply`` with it.

    Example:
        >>> import flax.linen as nn, snnax as snn
        >>> snn.utils.training(snn.Sequential([nn.Dropout(0.5, deterministic=True)])).layers[0].deterministic
        False
    """
    return _switched(NET(net, "training(net)"), True, {})


def evaluating(net: nn.Module) -> nn.Module:
    """A copy of ``net`` with dropout off and running averages in use (torch's ``eval()``)."""
    return _switched(NET(net, "evaluating(net)"), False, {})


def _switched(value: Any, train: bool, done: dict[Any, nn.Module]) -> Any:
    """``value`` with its modules switched; a module that is in it twice stays one module."""
    if isinstance(value, nn.Module):
        if value._id not in done:
            done[value._id] = _switched_module(value, train, done)
        return done[value._id]
    if isinstance(value, tuple | list):
        return tuple(_switched(item, train, done) for item in value)
    if isinstance(value, Mapping):
        return {key: _switched(item, train, done) for key, item in value.items()}
    return value


def _switched_module(module: nn.Module, train: bool, done: dict[Any, nn.Module]) -> nn.Module:
    if isinstance(module, nn.Dropout):
        return module.clone(deterministic=not train)
    if isinstance(module, nn.BatchNorm | BatchNormTT):
        return module.clone(use_running_average=not train)
    fields = {
        name: _switched(getattr(module, name), train, done)
        for name in module.__dataclass_fields__
        if name not in ("parent", "name") and _holds_modules(getattr(module, name))
    }
    return module.clone(**fields) if fields else module


def _holds_modules(value: Any) -> bool:
    if isinstance(value, tuple | list):
        return any(_holds_modules(item) for item in value)
    if isinstance(value, Mapping):
        return any(_holds_modules(item) for item in value.values())
    return isinstance(value, nn.Module)
