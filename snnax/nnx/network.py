"""A linen network as an NNX module that keeps its state."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

import flax.linen as nn
import jax
import jax.numpy as jnp
from flax import nnx
from flax.core import unfreeze

from snnax import checks
from snnax.errors import ArgumentError
from snnax.modules import NET, VARIABLES
from snnax.network.states import check_declared, initial_states, state_collections
from snnax.network.unroll import unroll
from snnax.neurons.own import is_own, starts_elsewhere
from snnax.nnx.variables import KINDS, Buffer, is_variable

__all__ = ["Network"]


class Network(nnx.Module):
    """A linen network as an NNX module: a call is one time step, and the state is kept in the module.

    Parameters are ``nnx.Param``, the collection ``hidden`` is :class:`Hidden`, batch statistics are ``nnx.BatchStat``
    and other arrays :class:`Buffer` (also states of your own modules in other collections; they are kept and reset),
    in ``model.collections["params"]["layers_0"]["kernel"]`` and so on. ``nnx.jit``, ``nnx.grad``,
    ``nnx.value_and_grad`` and ``nnx.Optimizer(model, tx, wrt=nnx.Param)`` work as on any module.

    Args:
        net: any linen module whose neurons use ``init_hidden=True``.
        x: input of one step, ``[B, ...]``; it gives the shapes, and the batch size of the first states.
        rngs: keys: ``params`` for the initial weights; for layers that draw random numbers the module keeps streams
            of its own (``rngs.fork()``), so that ``nnx.split_rngs`` and ``nnx.vmap`` make ensembles.
        variables: variables of ``net`` to start from, as ``init``, training or ``from_snntorch`` gave them,
            instead of drawing weights.

    Raises:
        ArgumentError: ``net`` is not a linen module, or neither ``rngs`` nor ``variables`` are given.
        StateError: an input has another batch size than the state: call ``reset(x)`` first; a module of your own
            does not say from where its state starts.

    Example:
        >>> import jax.numpy as jnp, optax, snnax as snn
        >>> import flax.linen as nn
        >>> from flax import nnx
        >>> net = snn.Sequential([nn.Dense(4), snn.Leaky(beta=0.9, init_hidden=True)])
        >>> model = snn.nnx.Network(net, jnp.ones((8, 3)), rngs=nnx.Rngs(0))
        >>> model(jnp.ones((8, 3))).shape  # one step
        (8, 4)
        >>> optimizer = nnx.Optimizer(model, optax.adam(1e-3), wrt=nnx.Param)
        >>> def loss(model):
        ...     model.reset()
        ...     return (model.unroll(jnp.ones((25, 8, 3))).mean() - 0.5) ** 2
        >>> updates = optimizer.update(model, nnx.grad(loss)(model))

    Compared with ``flax.nnx.bridge.ToNNX``: states are updated without ``mutable=["hidden"]`` in each call and
    have a type of their own; the time loop of :func:`snnax.unroll` is a method.
    Compared with snnTorch: the calls of a network with ``init_hidden=True``, and ``utils.reset``.
    """

    @checks.takes(net=NET, variables=checks.maybe(VARIABLES))
    def __init__(
        self,
        net: nn.Module,
        x: Any,
        *,
        rngs: nnx.Rngs | None = None,
        variables: Mapping[str, Any] | None = None,
    ) -> None:
        if rngs is None and variables is None:
            raise ArgumentError(
                "Network(net, x) got neither rngs nor variables. For new weights pass rngs=nnx.Rngs(0), for "
                "known ones variables=variables."
            )
        x = checks.array(x, "Network(x=...)")
        self.net = net
        self.rngs = rngs
        if variables is None:
            variables = net.init({"params": self._key("params"), **self._keys()}, x)
        tree = nn.unbox(unfreeze(dict(variables)))
        keys = self._keys()
        own = is_own(net)
        declared = state_collections(net, tree, x, keys) if own else ()
        self.states = ("hidden", *(c for c in declared if c not in ("hidden", "batch_stats")))
        self.sample = (x.shape, x.dtype)
        if own:
            fresh = initial_states(net, _without(tree, self.states), x, keys, _updated(tree), self.states)
            check_declared(net, _without(tree, self.states), x, keys, fresh)
        tree |= initial_states(net, tree, x, keys, _updated(tree), self.states)
        wrapped = {c: jax.tree.map(KINDS.get(c, Buffer), v) for c, v in tree.items()}
        self.collections = nnx.data(wrapped)
        # as nnx.Dropout: under nnx.vmap the caller's streams are not those of the members
        self.rngs = None if rngs is None else rngs.fork()

    def variables(self) -> dict[str, Any]:
        """The variables as linen has them: ``net.apply(model.variables(), x)``, ``unroll``, converters."""
        return jax.tree.map(lambda v: v[...], self.collections, is_leaf=is_variable)

    def __call__(self, x: Any) -> Any:
        """One time step on ``x`` ``[B, ...]``; returns what the network returns and keeps its new state."""
        names = [*self.states, *_updated(self.collections)]
        x = checks.array(x, "Network(x)")
        y, updates = self.net.apply(self.variables(), x, mutable=names, rngs=self._keys())
        self._keep(updates)
        return y

    def unroll(self, x: Any, **options: Any) -> Any:
        """All time steps of ``x`` ``[T, B, ...]``, from the state that is kept; keeps the state after them.

        Args:
            x: input, time first; one frame ``[B, ...]`` with ``num_steps``.
            **options: ``record``, ``force``, ``chunk``, ``num_steps`` of :func:`snnax.unroll`.

        Returns:
            What the network returns, each stacked to ``[T, B, ...]``; with ``record`` also the recording.
        """
        names = [*self.states[1:], *_updated(self.collections)]
        y, updates, *recorded = unroll(
            self.net, self.variables(), x, rngs=self._keys(), mutable=names, **options
        )
        self._keep(updates)
        return (y, *recorded) if recorded else y

    def reset(self, x: Any = None) -> None:
        """States back to where they start, as before the first step.

        In neurons of this package that is zero, in modules of your own what the ``init_fn`` of their states gives: for
        ``x``, or for an input of zeros.

        Args:
            x: one step's input ``[B, ...]``, if the next inputs have another batch size than the last.
        """
        if x is None and not (is_own(self.net) or starts_elsewhere(self.net)):
            hidden = self.collections["hidden"]
            zero = jax.tree.map(lambda v: jnp.zeros_like(v[...]), hidden, is_leaf=is_variable)
            self._keep({"hidden": zero})
            return
        if x is not None:
            x = jnp.asarray(x)
            self.sample = (x.shape, x.dtype)
        frame = jnp.zeros(*self.sample) if x is None else x
        known = _without(self.variables(), self.states)
        self._keep(initial_states(self.net, known, frame, self._keys(), _updated(known), self.states))

    def _keep(self, updates: Mapping[str, Any]) -> None:
        def assign(variable: nnx.Variable[Any], value: jax.Array) -> None:
            variable.set_value(value)

        for name, tree in unfreeze(dict(updates)).items():
            if name in self.collections:
                jax.tree.map(assign, self.collections[name], tree, is_leaf=is_variable)

    def _key(self, name: str) -> jax.Array:
        if self.rngs is None:
            raise ArgumentError(f"Network needs a key {name!r}: pass rngs=nnx.Rngs({name}=0).")
        return self.rngs[name]()

    def _keys(self) -> dict[str, jax.Array]:
        """A new key for each stream but ``params``."""
        if self.rngs is None:
            return {}
        return {name: stream() for name, stream in self.rngs.items() if name not in ("params", "default")}


def _without(variables: Mapping[str, Any], collections: Sequence[str]) -> dict[str, Any]:
    return {name: tree for name, tree in variables.items() if name not in collections}


def _updated(variables: Mapping[str, Any]) -> list[str]:
    """Collections that a step changes, besides the states."""
    return [name for name in variables if name == "batch_stats"]
