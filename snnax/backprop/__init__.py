"""Training over one epoch with snnTorch's names: the gradient goes back through all steps, K of them, or one.

Networks are functions here, so each takes the variables and the optimizer's state and returns them updated.
For a loop with progress, evaluation and checkpoints see :func:`snnax.training.fit`.

Example:
    >>> import jax, jax.numpy as jnp, flax.linen as nn, optax, snnax as snn
    >>> import snnax.functional as SF
    >>> net = snn.Sequential([nn.Dense(4), snn.Leaky(beta=0.9, init_hidden=True)])
    >>> loader = [(jnp.ones((25, 8, 3)), jnp.zeros(8, int))]  # batches of [T, B, features], [B]
    >>> variables, opt_state = net.init(jax.random.key(0), jnp.ones((8, 3))), None
    >>> for epoch in range(3):
    ...     loss, variables, opt_state = snn.backprop.TBPTT(
    ...         net, variables, loader, optax.adam(1e-2), SF.ce_rate_loss(), K=5, opt_state=opt_state)
    >>> loss.shape
    ()
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from typing import Any, Literal, NamedTuple

import flax.linen as nn
import jax
import jax.numpy as jnp
import optax
from flax.core import unfreeze

from snnax import checks
from snnax.backprop.arguments import check_opt_state, check_times, cuts_targets, device_of, pair
from snnax.backprop.pieces import Pieces, train_batch
from snnax.errors import ArgumentError, ShapeError
from snnax.modules import NET, VARIABLES
from snnax.training.objective import Loss, Objective, Regularization
from snnax.training.same_optimizer import first_alike
from snnax.training.state import check_network, check_optimizer

__all__ = ["BPTT", "RTRL", "TBPTT", "Trained"]

Tree = dict[str, Any]


class Trained(NamedTuple):
    """What an epoch of training returns.

    Attributes:
        loss: mean over the epoch's steps and batches, each before its update; a scalar.
        variables: the collections after the last update, without ``hidden``: every batch starts from zero.
        opt_state: what the optimizer remembers; pass it to the next epoch.
    """

    loss: jax.Array
    variables: Tree
    opt_state: Any


def _variables(value: Any, what: str) -> Any:
    if not isinstance(value, Mapping):
        name = what.partition("(")[0]
        raise checks.refuse(
            what,
            value,
            "the network's variables, which come second here since a network does not hold them, as "
            f"loss, variables, opt_state = backprop.{name}(net, variables, dataloader, optimizer, criterion)",
        )
    return VARIABLES(value, what)


_checked = checks.takes(
    net=NET,
    variables=_variables,
    dataloader=checks.batches,
    regularization=checks.maybe(checks.call("snnax.functional.l1_rate_sparsity()"), False),
    key=checks.maybe(checks.key),
)
"""The arguments that the three share."""


@_checked
def TBPTT(
    net: nn.Module,
    variables: Mapping[str, Any],
    dataloader: Iterable[Any],
    optimizer: optax.GradientTransformation,
    criterion: Loss,
    num_steps: int = False,
    time_var: bool = True,
    time_first: bool = True,
    regularization: Regularization | Literal[False] = False,
    device: jax.Device | str | None = None,
    K: int = 1,
    *,
    opt_state: Any = None,
    key: jax.Array | None = None,
) -> Trained:
    r"""Truncated backpropagation through time over one epoch: an update after every K steps.

    Each batch starts from zero states. For its k-th piece of K steps (the last may be shorter)

    .. math::
        L_k = \ell(S_{kK \dots kK+K-1}, y) + r(S_{kK \dots kK+K-1}), \qquad
        \theta \leftarrow \theta - \mathrm{opt}\,(\nabla_\theta L_k)

    with the states that the piece begins with held constant: no gradient goes further back than K steps.
    A loss with a target count (:class:`snnax.functional.mse_count_loss`) refers to the K steps.

    Args:
        net: any linen module that :func:`~snnax.unroll` takes; it runs in training mode.
        variables: its variables.
        dataloader: batches ``(x, y)``; a list, a torch ``DataLoader``...
        optimizer: an optax optimizer.
        criterion: ``criterion(spikes, y)``; the membrane losses of :mod:`snnax.functional` get the membrane.
            With ``mse_membrane_loss(time_var_targets=True)`` targets ``[T, ...]`` are cut as the steps are.
        num_steps: T, if ``time_var=False``; else it is the length of each batch.
        time_var: True for ``x[T, B, ...]``, False for ``x[B, ...]`` that is shown at every step.
        time_first: False for ``x[B, T, ...]``.
        regularization: ``regularization(spikes)``, added to the loss of each piece.
        device: where to compute, as ``"cpu"``, ``"cuda"`` or one of ``jax.devices()``; None leaves it to JAX.
        K: steps per update; False or at least T: one update per batch, as :func:`BPTT`.
        opt_state: what the epoch before returned; None starts the optimizer.
        key: for dropout and other random layers; pass another one for each epoch.

    Returns:
        ``(loss, variables, opt_state)``, a :class:`Trained`.

    Raises:
        ArgumentError: if ``num_steps``, ``time_var`` and ``time_first`` contradict each other, K is no number
            of steps, ``criterion`` or ``optimizer`` cannot be used, or the data is empty or no pairs.
        ShapeError: if ``x`` or ``y`` does not fit.

    Example:
        >>> import jax, jax.numpy as jnp, flax.linen as nn, optax, snnax as snn
        >>> import snnax.functional as SF
        >>> net = snn.Sequential([nn.Dense(4), snn.Leaky(beta=0.9, init_hidden=True)])
        >>> x, y = jnp.zeros((8, 3)), jnp.zeros(8, int)
        >>> loss, variables, opt_state = snn.backprop.TBPTT(
        ...     net, net.init(jax.random.key(0), x), [(x, y)], optax.sgd(0.1), SF.ce_rate_loss(),
        ...     num_steps=25, time_var=False, K=10)  # pieces of 10, 10 and 5 steps
        >>> round(float(loss), 4)
        1.3863

    Source: R. J. Williams and J. Peng, An efficient gradient-based algorithm for on-line training of recurrent
    network trajectories, Neural Computation 2 (1990).

    Compared with snnTorch: it takes time-varying data with any K (that raises UnboundLocalError), networks
    with several kinds of neurons (that raises from ``backward``) and networks without ``output=True``. Any
    function may be the criterion. The mean loss weighs pieces by their steps; there, a shorter last piece is
    divided by its own length.
    """
    return _epoch(
        "TBPTT", net, variables, dataloader, optimizer, criterion, num_steps, time_var, time_first, regularization,
        device, K, opt_state, key,
    )  # fmt: skip


@_checked
def BPTT(
    net: nn.Module,
    variables: Mapping[str, Any],
    dataloader: Iterable[Any],
    optimizer: optax.GradientTransformation,
    criterion: Loss,
    num_steps: int = False,
    time_var: bool = True,
    time_first: bool = True,
    regularization: Regularization | Literal[False] = False,
    device: jax.Device | str | None = None,
    *,
    opt_state: Any = None,
    key: jax.Array | None = None,
) -> Trained:
    """Backpropagation through time over one epoch: one update per batch, through all its steps.

    It is :func:`TBPTT` with K = T, which has the errors and the sources.

    Args:
        net: any linen module that :func:`~snnax.unroll` takes; it runs in training mode.
        variables: its variables.
        dataloader: batches ``(x, y)``; a list, a torch ``DataLoader``...
        optimizer: an optax optimizer.
        criterion: ``criterion(spikes, y)``; the membrane losses of :mod:`snnax.functional` get the membrane.
        num_steps: T, if ``time_var=False``; else it is the length of each batch.
        time_var: True for ``x[T, B, ...]``, False for ``x[B, ...]`` that is shown at every step.
        time_first: False for ``x[B, T, ...]``.
        regularization: ``regularization(spikes)``, added to the loss.
        device: where to compute, as ``"cpu"``, ``"cuda"`` or one of ``jax.devices()``; None leaves it to JAX.
        opt_state: what the epoch before returned; None starts the optimizer.
        key: for dropout and other random layers; pass another one for each epoch.

    Returns:
        ``(loss, variables, opt_state)``, a :class:`Trained`.

    Example:
        >>> import jax, jax.numpy as jnp, flax.linen as nn, optax, snnax as snn
        >>> import snnax.functional as SF
        >>> net = snn.Sequential([nn.Dense(4), snn.Leaky(beta=0.9, init_hidden=True)])
        >>> x, y = jnp.ones((25, 8, 3)), jnp.zeros(8, int)
        >>> variables = net.init(jax.random.key(0), x[0])
        >>> trained = snn.backprop.BPTT(net, variables, [(x, y)], optax.sgd(0.1), SF.ce_rate_loss())
        >>> sorted(trained.variables)
        ['params']

    Compared with snnTorch: the same, with variables and the optimizer's state passed and returned.
    """
    return _epoch(
        "BPTT", net, variables, dataloader, optimizer, criterion, num_steps, time_var, time_first, regularization,
        device, False, opt_state, key,
    )  # fmt: skip


@_checked
def RTRL(
    net: nn.Module,
    variables: Mapping[str, Any],
    dataloader: Iterable[Any],
    optimizer: optax.GradientTransformation,
    criterion: Loss,
    num_steps: int = False,
    time_var: bool = True,
    time_first: bool = True,
    regularization: Regularization | Literal[False] = False,
    device: jax.Device | str | None = None,
    *,
    opt_state: Any = None,
    key: jax.Array | None = None,
) -> Trained:
    """An update after every step, with the gradient of that step alone: what snnTorch calls RTRL.

    It is :func:`TBPTT` with K = 1, which has the errors and the sources. Real-time recurrent learning in the sense of
    Williams and Zipser carries the derivative of the states with respect to the weights forward, so that the past
    counts. This does not, in snnTorch and here: the past acts through the states only.

    Args:
        net: any linen module that :func:`~snnax.unroll` takes; it runs in training mode.
        variables: its variables.
        dataloader: batches ``(x, y)``; a list, a torch ``DataLoader``...
        optimizer: an optax optimizer.
        criterion: ``criterion(spikes, y)``; the membrane losses of :mod:`snnax.functional` get the membrane.
        num_steps: T, if ``time_var=False``; else it is the length of each batch.
        time_var: True for ``x[T, B, ...]``, False for ``x[B, ...]`` that is shown at every step.
        time_first: False for ``x[B, T, ...]``.
        regularization: ``regularization(spikes)``, added to the loss.
        device: where to compute, as ``"cpu"``, ``"cuda"`` or one of ``jax.devices()``; None leaves it to JAX.
        opt_state: what the epoch before returned; None starts the optimizer.
        key: for dropout and other random layers; pass another one for each epoch.

    Returns:
        ``(loss, variables, opt_state)``, a :class:`Trained`.

    Example:
        >>> import jax, jax.numpy as jnp, flax.linen as nn, optax, snnax as snn
        >>> import snnax.functional as SF
        >>> net = snn.Sequential([nn.Dense(4), snn.Leaky(beta=0.9, init_hidden=True)])
        >>> x, y = jnp.ones((25, 8, 3)), jnp.zeros(8, int)
        >>> variables = net.init(jax.random.key(0), x[0])
        >>> _, _, opt_state = snn.backprop.RTRL(net, variables, [(x, y)], optax.adam(0.1), SF.ce_rate_loss())
        >>> int(opt_state[0].count)
        25

    Compared with snnTorch: works on time-varying data, where that raises UnboundLocalError.
    """
    return _epoch(
        "RTRL", net, variables, dataloader, optimizer, criterion, num_steps, time_var, time_first, regularization,
        device, 1, opt_state, key,
    )  # fmt: skip


def _epoch(
    name: str,
    net: nn.Module,
    variables: Mapping[str, Any],
    dataloader: Iterable[Any],
    optimizer: optax.GradientTransformation,
    criterion: Loss,
    num_steps: int,
    time_var: bool,
    time_first: bool,
    regularization: Regularization | Literal[False],
    device: jax.Device | str | None,
    K: int,
    opt_state: Any,
    key: jax.Array | None,
) -> Trained:
    """What the three do; ``name`` is the one that was called, for errors."""
    objective = Objective(criterion, None, regularization or None)
    check_network(name, net, variables)
    check_optimizer(f"{name}(optimizer=...)", optimizer)
    check_times(num_steps, time_var, time_first, K)
    place = device_of(device)
    held = unfreeze(dict(jax.device_put(dict(variables), place) if place else variables))
    held.pop("hidden", None)
    if opt_state is None:
        opt_state = optimizer.init(held["params"])
    else:
        check_opt_state(f"{name}(opt_state=...)", optimizer, opt_state, held["params"])
    losses, alike = [], first_alike(optimizer)
    for number, item in enumerate(dataloader):
        x, y = pair(item, time_var and not time_first, place)
        steps = x.shape[0] if time_var else int(num_steps)
        size = min(int(K), steps) if K else steps
        pieces = Pieces(net, alike, objective, steps, size, not time_var, cuts_targets(criterion))
        if pieces.cut_targets and (y.ndim == 0 or y.shape[0] != steps):
            raise ShapeError(f"the targets have shape {y.shape}; expected [T, ...] with T = {steps}.")
        keys = None if key is None else jax.random.fold_in(key, number)
        loss, held, opt_state = train_batch(pieces, held, opt_state, x, y, keys)
        losses.append(loss)
    if not losses:
        raise ArgumentError("the dataloader has no batches; expected at least one pair (x, y).")
    return Trained(jnp.stack(losses).mean(), held, opt_state)
