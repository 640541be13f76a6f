"""What training carries from batch to batch."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, cast

import flax.linen as nn
import jax
import jax.numpy as jnp
import optax
from flax import struct
from flax.core import unfreeze

from snnax import checks
from snnax.errors import ArgumentError
from snnax.modules import check_numbers
from snnax.training.objective import foreign
from snnax.training.optimizing import descend
from snnax.training.same_optimizer import first_alike

__all__ = ["TrainState", "check_network", "check_optimizer"]

Tree = dict[str, Any]


class TrainState(struct.PyTreeNode):
    """A network in training: weights, what the optimizer remembers, statistics, random key, position.

    An immutable pytree, as ``flax.training.train_state.TrainState`` is; build it with :meth:`create`.

    Attributes:
        net: the linen module (static).
        tx: the optax optimizer (static).
        step: batches trained on, int32.
        epoch: passes over the data that :func:`fit` has completed, int32.
        key: PRNG key; each step folds its number into it.
        params: what is trained.
        opt_state: what the optimizer remembers.
        batch_stats: running averages of batch norms; updated, not trained.
        buffers: fixed arrays of neurons; not trained.
        other: further collections, kept as they are.
        hidden: the neurons' state that the next batch starts from; ``None``: each batch starts from zero.
        ema: what ``optax.ema`` remembers of the parameters, if :meth:`averaging` was asked for.
        decay: of that average (static).

    Example:
        >>> import jax, jax.numpy as jnp, flax.linen as nn, optax, snnax as snn
        >>> net = snn.Sequential([nn.Dense(4), snn.Leaky(beta=0.9, init_hidden=True)])
        >>> variables = net.init(jax.random.key(0), jnp.ones((8, 3)))
        >>> state = snn.training.TrainState.create(net, variables, optax.adam(1e-3))
        >>> int(state.step), sorted(state.variables)
        (0, ['params'])
    """

    step: jax.Array
    epoch: jax.Array
    key: jax.Array
    params: Tree
    opt_state: Any
    batch_stats: Tree
    buffers: Tree
    other: Tree
    hidden: Tree | None
    net: nn.Module = struct.field(pytree_node=False)
    tx: optax.GradientTransformation = struct.field(pytree_node=False)
    ema: Any = None
    decay: float | None = struct.field(pytree_node=False, default=None)

    @classmethod
    def create(
        cls,
        net: nn.Module,
        variables: Mapping[str, Any],
        tx: optax.GradientTransformation,
        *,
        key: jax.Array | None = None,
        hidden: Mapping[str, Any] | None = None,
    ) -> TrainState:
        """A state before the first step; copies the variables, so that they outlive a donated state.

        Args:
            net: any linen module that :func:`~snnax.unroll` takes.
            variables: its variables, as ``init`` or ``interop.from_snntorch`` return them; ``hidden`` in them
                is left out.
            tx: an optax optimizer, as ``optax.adam(1e-3)``. States share compiled steps if theirs were made alike.
            key: for dropout and other random layers; ``jax.random.key(0)`` if None.
            hidden: pass ``variables["hidden"]`` to carry the neurons' state from batch to batch (streams cut
                into pieces; every batch must then have the same size). No gradient crosses batches.

        Raises:
            ArgumentError: if ``net`` is no hashable linen module, ``variables`` has no parameters, or ``tx``
                is no optax optimizer.
        """
        check_network("TrainState.create", net, variables)
        check_optimizer("TrainState.create(tx=...)", tx)
        checks.maybe(checks.key)(key, "TrainState.create(key=...)")
        checks.maybe(checks.mapping("variables['hidden'], the states of the neurons"))(
            hidden, "TrainState.create(hidden=...)"
        )
        held = cast(Tree, _copied(unfreeze(dict(variables))))
        params = held.pop("params")
        held.pop("hidden", None)
        return cls(
            step=jnp.zeros((), jnp.int32),
            epoch=jnp.zeros((), jnp.int32),
            key=_copied(jax.random.key(0) if key is None else key),
            params=params,
            opt_state=_copied(tx.init(params)),
            batch_stats=held.pop("batch_stats", {}),
            buffers=held.pop("buffers", {}),
            other=held,
            hidden=None if hidden is None else _copied(unfreeze(dict(hidden))),
            net=net,
            tx=first_alike(tx),
        )

    @property
    def variables(self) -> Tree:
        """The collections that :func:`~snnax.unroll` takes."""
        named = {"params": self.params, "batch_stats": self.batch_stats, "buffers": self.buffers}
        hidden = {} if self.hidden is None else {"hidden": self.hidden}
        return {**{name: tree for name, tree in named.items() if tree}, **self.other, **hidden}

    def _repr_html_(self) -> str:
        """How far it is and what it holds, for notebooks."""
        from snnax.training.page import position

        return position(self)

    def averaging(self, decay: float) -> TrainState:
        r"""This state with an average of its parameters over the steps to come, by ``optax.ema``.

        .. math::
            m_t = d\, m_{t-1} + (1 - d)\, \theta_t, \qquad \bar\theta_t = m_t / (1 - d^t)

        Evaluation reads :math:`\bar\theta`, training :math:`\theta`; see :attr:`averaged`. Running averages of batch
        norms stay those of the trained parameters.

        Args:
            decay: :math:`d`, above 0 and below 1: 0.999 averages over about a thousand steps.

        Raises:
            ArgumentError: for another ``decay``, or a state that averages with another one already.
        """
        decay = check_decay(decay, "averaging(decay=...)")
        if self.decay is not None and self.decay != decay:
            raise ArgumentError(
                f"averaging(decay={decay}): the state averages with {self.decay} already, and would lose that average. "
                "Pass the same number, or start a new average: state.replace(ema=None, decay=None)."
            )
        if self.decay is not None:
            return self
        return self.replace(ema=_copied(optax.ema(decay).init(self.params)), decay=decay)

    @property
    def averaged(self) -> TrainState:
        """This state with the average of its parameters in their place, if it has one, as evaluation reads it."""
        if self.decay is None:
            return self
        done = self.ema.count > 0
        mean = optax.tree.bias_correction(self.ema.ema, self.decay, jnp.maximum(self.ema.count, 1))
        return self.replace(params=jax.tree.map(lambda m, p: jnp.where(done, m, p), mean, self.params))

    def apply_gradients(
        self, grads: Tree, *, value: Any = None, value_fn: Any = None, **changes: Any
    ) -> TrainState:
        """The state after one step of the optimizer along ``grads``.

        Args:
            grads: derivatives of the loss by ``params``.
            value: the loss, for optimizers that ask for it.
            value_fn: parameters to the loss, for line searches.
            **changes: other fields to replace.
        """
        params, opt_state = descend(self.tx, grads, self.opt_state, self.params, value, value_fn)
        if self.decay is not None:
            changes["ema"] = optax.ema(self.decay).update(params, self.ema)[1]
        return self.replace(step=self.step + 1, params=params, opt_state=opt_state, **changes)


def check_decay(value: Any, what: str) -> float:
    """The decay of an average, above 0 and below 1."""
    decay = checks.number(above=0)(value, what)
    if decay >= 1:
        raise checks.refuse(what, value, "a number above 0 and below 1, as 0.999")
    return float(decay)


def check_optimizer(where: str, tx: Any) -> None:
    """Refuse what is no optax optimizer.

    Raises:
        ArgumentError: if it has no ``init`` and ``update``.
    """
    if not (callable(getattr(tx, "init", None)) and callable(getattr(tx, "update", None))):
        hint = (
            " A torch optimizer has no counterpart object here: build the optax one." if foreign(tx) else ""
        )
        raise ArgumentError(f"{where} got {tx!r}; expected an optax optimizer, as optax.adam(1e-3).{hint}")


def check_network(where: str, net: Any, variables: Any) -> None:
    """Refuse what cannot be trained.

    Raises:
        ArgumentError: if ``net`` is no hashable linen module, or ``variables`` has no parameters.
    """
    if not isinstance(net, nn.Module):
        raise ArgumentError(
            f"{where}(net=...) got {type(net).__name__}; expected a flax.linen module. A snnTorch "
            "network is converted first: net, variables = snnax.interop.from_snntorch(torch_net, sample)."
        )
    try:
        hash(net)
    except TypeError as error:
        raise ArgumentError(
            f"{where}: the network cannot be hashed ({error}), so its training cannot be compiled "
            "once and reused. Give its modules tuples, numbers and FrozenArray as fields, not arrays or sets."
        ) from error
    if not isinstance(variables, Mapping) or not variables.get("params"):
        raise ArgumentError(
            f"{where}(variables=...) holds no 'params', so there is nothing to train; expected what "
            "net.init(key, x[0]) returns."
        )
    check_numbers(variables, f"{where}(variables=...)")


def _copied(tree: Any) -> Any:
    """The same arrays in buffers of their own, none of them weakly typed."""
    return jax.tree.map(_own, tree)


def _own(leaf: Any) -> jax.Array:
    array = jnp.asarray(leaf)
    if jnp.issubdtype(array.dtype, jax.dtypes.prng_key):
        return jax.random.wrap_key_data(
            jnp.array(jax.random.key_data(array), copy=True), impl=jax.random.key_impl(array)
        )
    return jnp.array(array, array.dtype, copy=True)
