"""Spiking networks for users of ``flax.nnx``: a linen network as an NNX module that keeps its state.

The networks themselves stay linen modules, so everything else of snnax works on them: see
:meth:`Network.variables`.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import flax.linen as nn
import jax
import jax.numpy as jnp
from flax import nnx
from flax.core import unfreeze

from snnax.errors import ArgumentError
from snnax.network.unroll import initial_hidden, unroll

__all__ = ["Buffer", "Hidden", "Network"]


class Hidden(nnx.Variable[jax.Array]):
    """A state of a neuron; ``nnx.state(model, Hidden)`` are all of them."""


class Buffer(nnx.Variable[jax.Array]):
    """A fixed array of a neuron, or anything else that is neither learned nor a state."""


_KINDS: dict[str, type[nnx.Variable[Any]]] = {
    "params": nnx.Param,
    "hidden": Hidden,
    "batch_stats": nnx.BatchStat,
}


class Network(nnx.Module):
    """A linen network as an NNX module: a call is one time step, and the state is kept in the module.

    Parameters are ``nnx.Param``, states :class:`Hidden`, batch statistics ``nnx.BatchStat`` and other arrays
    :class:`Buffer`, in ``model.collections["params"]["layers_0"]["kernel"]`` and so on. ``nnx.jit``,
    ``nnx.grad``, ``nnx.value_and_grad`` and ``nnx.Optimizer(model, tx, wrt=nnx.Param)`` work as on any module.

    Args:
        net: any linen module whose neurons use ``init_hidden=True``.
        x: input of one step, ``[B, ...]``; it gives the shapes, and the batch size of the first states.
        rngs: keys: ``params`` for the initial weights; for layers that draw random numbers the module keeps streams
            of its own (``rngs.fork()``), so that ``nnx.split_rngs`` and ``nnx.vmap`` make ensembles.
        variables: variables of ``net`` to start from, as ``init``, training or ``from_snntorch`` gave them,
            instead of drawing weights.

    Raises:
        ArgumentError: ``net`` is not a linen module, or neither ``rngs`` nor ``variables`` are given.
        StateError: an input has another batch size than the state: call ``reset(x)`` first.

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

    def __init__(
        self,
        net: nn.Module,
        x: Any,
        *,
        rngs: nnx.Rngs | None = None,
        variables: Mapping[str, Any] | None = None,
    ) -> None:
        if not isinstance(net, nn.Module):
            raise ArgumentError(f"Network({net!r}); expected a linen module, as snnax.Sequential([...]).")
        if rngs is None and variables is None:
            raise ArgumentError(
                "Network(net, x) got neither rngs nor variables. For new weights pass rngs=nnx.Rngs(0), for "
                "known ones variables=variables."
            )
        x = jnp.asarray(x)
        self.net = net
        self.rngs = rngs
        if variables is None:
            variables = net.init({"params": self._key("params"), **self._keys()}, x)
        tree = nn.unbox(unfreeze(dict(variables)))
        tree["hidden"] = initial_hidden(net, tree, x, self._keys(), _updated(tree))
        wrapped = {c: jax.tree.map(_KINDS.get(c, Buffer), v) for c, v in tree.items()}
        self.collections = nnx.data(wrapped)
        # as nnx.Dropout: under nnx.vmap the caller's streams are not those of the members
        self.rngs = None if rngs is None else rngs.fork()

    def variables(self) -> dict[str, Any]:
        """The variables as linen has them: ``net.apply(model.variables(), x)``, ``unroll``, converters."""
        return jax.tree.map(lambda v: v[...], self.collections, is_leaf=_is_variable)

    def __call__(self, x: Any) -> Any:
        """One time step on ``x`` ``[B, ...]``; returns what the network returns and keeps its new state."""
        names = ["hidden", *_updated(self.collections)]
        y, updates = self.net.apply(self.variables(), jnp.asarray(x), mutable=names, rngs=self._keys())
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
        y, updates, *recorded = unroll(
            self.net, self.variables(), x, rngs=self._keys(), mutable=_updated(self.collections), **options
        )
        self._keep(updates)
        return (y, *recorded) if recorded else y

    def reset(self, x: Any = None) -> None:
        """States back to zero, as before the first step.

        Args:
            x: one step's input ``[B, ...]``, if the next inputs have another batch size than the last.
        """
        hidden = self.collections["hidden"]
        if x is None:
            fresh = jax.tree.map(lambda v: jnp.zeros_like(v[...]), hidden, is_leaf=_is_variable)
        else:
            known = {c: v for c, v in self.variables().items() if c != "hidden"}
            fresh = initial_hidden(self.net, known, jnp.asarray(x), self._keys(), _updated(known))
        self._keep({"hidden": fresh})

    def _keep(self, updates: Mapping[str, Any]) -> None:
        def assign(variable: nnx.Variable[Any], value: jax.Array) -> None:
            variable.set_value(value)

        for name, tree in unfreeze(dict(updates)).items():
            if name in self.collections:
                jax.tree.map(assign, self.collections[name], tree, is_leaf=_is_variable)

    def _key(self, name: str) -> jax.Array:
        if self.rngs is None:
            raise ArgumentError(f"Network needs a key {name!r}: pass rngs=nnx.Rngs({name}=0).")
        return self.rngs[name]()

    def _keys(self) -> dict[str, jax.Array]:
        """A new key for each stream but ``params``."""
        if self.rngs is None:
            return {}
        return {name: stream() for name, stream in self.rngs.items() if name not in ("params", "default")}


def _updated(variables: Mapping[str, Any]) -> list[str]:
    """Collections that a step changes, besides ``hidden``."""
    return [name for name in variables if name == "batch_stats"]


def _is_variable(value: Any) -> bool:
    return isinstance(value, nnx.Variable)
