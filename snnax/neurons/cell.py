"""Any spiking network as a cell of ``flax.linen.RNN``."""

from __future__ import annotations

from typing import Any

import flax.linen as nn
import jax
import jax.numpy as jnp
from flax.core import unfreeze
from flax.errors import ModifyScopeVariableError, ScopeCollectionNotFound
from flax.traverse_util import flatten_dict

from snnax import checks
from snnax.errors import ArgumentError, StateError
from snnax.kernels.bilinear import varying
from snnax.neurons.base import SpikingNeuron
from snnax.neurons.initial import initial
from snnax.neurons.own import is_own, starts_elsewhere

__all__ = ["SpikingCell"]


class SpikingCell(nn.RNNCellBase):
    """One time step of a network in flax's convention: ``carry, y = cell(carry, x)``.

    The carry is the hidden state of all neurons, the tree that the collection ``hidden`` holds elsewhere, so
    ``nn.RNN(SpikingCell(net))`` computes what :func:`snnax.unroll` computes. ``nn.RNN`` takes ``[B, T, ...]``,
    or ``[T, B, ...]`` with ``time_major=True``, and knows ``initial_carry``, ``return_carry``,
    ``seq_lengths`` and ``reverse``. ``unroll`` is faster where layers have no memory: it runs them on many
    steps at once.

    Variables other than ``params`` (``buffers``, ``batch_stats``) are read, not updated, and only if
    ``nn.RNN(cell, variable_broadcast=("params", "buffers"))`` names them; a network with fixed per-neuron arrays
    needs that. Random layers need ``split_rngs={"params": False, "dropout": True}``. A module of your own
    keeps its states in ``hidden`` as well; they start from what their ``init_fn`` gives for an input of zeros.

    Args:
        net: any linen module whose neurons use ``init_hidden=True``.
        feature_axes: axes of one sample: 1 for ``[B, N]``, 3 for images ``[B, H, W, C]``.
        dtype: dtype of the initial carry: that of the input.

    Raises:
        ArgumentError: at construction, if ``net`` is no module or a neuron that takes its states as arguments; in a
            call, if ``nn.RNN`` does not hand on the network's ``buffers``.
        StateError: the step changes the carry's dtype, the carry is of another batch size, or, in a ``shard_map``, the
            same on all devices where the input is not; or a module of your own keeps a state in another collection
            than ``hidden``.

    Example:
        >>> import jax, jax.numpy as jnp, flax.linen as nn, snnax as snn
        >>> net = snn.Sequential([nn.Dense(4), snn.Leaky(beta=0.9, init_hidden=True)])
        >>> rnn = nn.RNN(snn.SpikingCell(net), return_carry=True)
        >>> x = jnp.ones((8, 25, 3))  # [B, T, features]
        >>> carry, spk = rnn.apply(rnn.init(jax.random.key(0), x), x)
        >>> spk.shape, carry["layers_1"]["mem"].shape
        ((8, 25, 4), (8, 4))

    Compared with snnTorch: it has no such thing; Norse's ``SequentialState`` carries its state like this.
    """

    net: nn.Module
    feature_axes: int = 1
    dtype: Any = jnp.float32

    def __post_init__(self) -> None:
        """Check the arguments."""
        checks.fields(self, net=checks.instance(nn.Module, "a linen module, as snnax.Leaky"))
        if isinstance(self.net, SpikingNeuron) and not getattr(self.net, "init_hidden", True):
            kind = type(self.net).__name__
            raise ArgumentError(
                f"SpikingCell({kind}(...)) takes explicit states. In a cell it must keep its own: "
                f"SpikingCell({kind}(..., init_hidden=True))."
            )
        super().__post_init__()

    @property
    def num_feature_axes(self) -> int:
        """Axes of one sample; ``nn.RNN`` asks for it."""
        return self.feature_axes

    @nn.nowrap
    def initialize_carry(self, rng: jax.Array, input_shape: tuple[int, ...]) -> Any:
        """Hidden states before one step on an input of ``input_shape``, ``(B, ...)``; ``rng`` is not used."""
        net = self._unbound()
        keys = {"params": jax.random.key(0), **{name: jax.random.key(0) for name in self._random()}}
        x = jax.ShapeDtypeStruct(input_shape, self.dtype)
        if not (is_own(net) or starts_elsewhere(net)):
            shapes = jax.eval_shape(net.init, keys, x).get("hidden", {})
            return jax.tree.map(lambda s: jnp.zeros(s.shape, s.dtype), unfreeze(shapes))
        held = {} if self.scope is None else {c: v.get("net", {}) for c, v in self.variables.items()}

        def declared(held: Any, x: jax.Array) -> Any:
            return initial(net, {**net.init(keys, x), **held, "hidden": {}}, x, keys)["hidden"]

        return jax.jit(declared)(held, jnp.zeros(x.shape, x.dtype))

    @nn.compact
    def __call__(self, carry: Any, x: jax.Array) -> tuple[Any, Any]:
        """One time step on ``x`` ``[B, ...]``; returns the new carry and what ``net`` returns."""
        if self.is_initializing():
            return carry, self._made(x) if is_own(self.net) else self.net(x)
        variables = {c: v for c, v in self.net.variables.items() if c != "hidden"}
        self._check_buffers(variables, x)
        try:
            y, updates = self._unbound().apply(
                {**variables, "hidden": carry},
                x,
                mutable=["hidden"],
                rngs={name: self.make_rng(name) for name in self._random()},
            )
        except (ModifyScopeVariableError, ScopeCollectionNotFound) as error:
            raise StateError(
                f"a module in SpikingCell keeps a state elsewhere than in the carry ({error}). Keep it in the "
                "collection 'hidden': self.variable('hidden', name, init_fn, ...)."
            ) from error
        after = unfreeze(updates).get("hidden", {})
        before = {jnp.asarray(v).dtype for v in jax.tree.leaves(carry)}
        if before != (found := {v.dtype for v in jax.tree.leaves(after)}):
            raise StateError(
                f"the carry has dtype {_names(before)}, after a step on {x.dtype} input {_names(found)}. "
                f"Start from one that stays the same: SpikingCell(net, dtype=jnp.{_names(found)})."
            )
        if (old := jax.tree.map(jnp.shape, carry)) != (new := jax.tree.map(jnp.shape, after)):
            raise StateError(
                f"the carry has the shapes {old}, after a step {new}. Declare each state in its full shape, as "
                "self.variable('hidden', 'mem', jnp.zeros, x.shape)."
            )
        leaves = zip(jax.tree.leaves(carry), jax.tree.leaves(after), strict=True)
        if axes := tuple(sorted({axis for old, new in leaves for axis in varying(new) - varying(old)})):
            raise StateError(
                f"the carry is the same on all devices of the shard_map, after a step it varies over {axes}. Start "
                "from one that varies: rnn.apply(variables, x, initial_carry=jax.tree.map(lambda v: jax.lax.pcast("
                f"v, {axes}, to='varying'), cell.initialize_carry(key, x_of_one_step.shape))), or use snnax.unroll, "
                "which does so."
            )
        return after, y

    @nn.nowrap
    def _made(self, x: jax.Array) -> Any:
        """Variables of a network that declares states, which are the carry here and no variables."""
        keys = {"params": self.make_rng("params"), **{name: self.make_rng(name) for name in self._random()}}
        y, made = self._unbound().init_with_output(keys, x)
        for collection, tree in unfreeze(made).items():
            if collection != "hidden" and self.net.is_mutable_collection(collection):
                for name, value in tree.items():
                    self.net.put_variable(collection, name, value)
        return y

    @nn.nowrap
    def _check_buffers(self, variables: Any, x: jax.Array) -> None:
        """Refuse a call in which RNN has not handed on the fixed arrays."""
        net = self._unbound()
        keys = {"params": jax.random.key(0), **{name: jax.random.key(0) for name in self._random()}}
        made = jax.eval_shape(net.init, keys, x).get("buffers", {})
        if set(flatten_dict(unfreeze(made))) - set(flatten_dict(unfreeze(variables.get("buffers", {})))):
            raise ArgumentError(
                "the network in SpikingCell keeps fixed arrays in the collection 'buffers', which are not among the "
                "variables that its cell got. Say nn.RNN(cell, variable_broadcast=('params', 'buffers')), and pass all "
                "variables that its init returned."
            )

    @nn.nowrap
    def _unbound(self) -> nn.Module:
        """A copy of ``net`` without variables, also if this cell is part of a network that is running."""
        return self.net.clone(_deep_clone=True, _reset_names=True, name=None)

    @nn.nowrap
    def _random(self) -> list[str]:
        return [name for name in (self.scope.rngs if self.scope is not None else {}) if name != "params"]


def _names(dtypes: set[Any]) -> str:
    return ", ".join(sorted(str(dtype) for dtype in dtypes))
