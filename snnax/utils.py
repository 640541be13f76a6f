"""Small helpers with snnTorch's names."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import flax.linen as nn

from snnax.errors import TorchLineError
from snnax.modes import switched
from snnax.modules import NET, VARIABLES
from snnax.operations.counting import synops
from snnax.subsets import data_subset, valid_split

__all__ = ["data_subset", "evaluating", "reset", "synops", "training", "valid_split"]


def reset(variables: Mapping[str, Any] | nn.Module) -> dict[str, Any]:
    """The same variables without the collection ``hidden``: the next call starts anew, with any batch size.

    Every state then begins where its module lets it begin: at zero in neurons of this package, in a module of your
    own with what the function given to ``self.variable("hidden", name, function, ...)`` returns. A state that a module
    of your own keeps in a collection of another name stays; leave that collection out yourself.

    Args:
        variables: what ``init``, ``apply`` or ``unroll`` returned; left as it is. Or a network that is bound to its
            variables, ``net.bind(variables, mutable=["hidden"])``: that one forgets its state, as in snnTorch.

    Returns:
        A new dictionary; only the collection ``hidden`` is not in it.

    Raises:
        TorchLineError: for a module that is not bound, which has no state to forget.

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
        variables = _forgotten(variables)
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
    return switched(NET(net, "training(net)"), True)


def evaluating(net: nn.Module) -> nn.Module:
    """A copy of ``net`` with dropout off and running averages in use (torch's ``eval()``).

    Example:
        >>> import flax.linen as nn
        >>> import snnax as snn
        >>> net = snn.Sequential([nn.Dense(3), snn.Dropout(0.5)])
        >>> snn.utils.evaluating(net).layers[1].deterministic
        True
    """
    return switched(NET(net, "evaluating(net)"), False)


def _forgotten(net: nn.Module) -> Mapping[str, Any]:
    """The variables of a bound network, whose state is gone."""
    if net.scope is None:
        raise TorchLineError(
            f"reset({type(net).__name__}) got a module, which keeps no state; write variables = "
            "snnax.utils.reset(variables), or bind it first: net = net.bind(variables, mutable=['hidden'])."
        )
    if net.scope.is_mutable_collection("hidden"):
        _empty(net.scope._mutable_collection("hidden"))
    variables: Mapping[str, Any] = net.variables
    return variables


def _empty(tree: Any) -> None:
    """Remove the arrays; the dictionaries stay, since the scopes of the layers hold them too."""
    for name, value in list(tree.items()):
        if isinstance(value, Mapping):
            _empty(value)
        else:
            del tree[name]
