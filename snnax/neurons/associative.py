"""Spiking neurons in a matrix that is written by outer products and read by queries."""

from __future__ import annotations

import math
from typing import Any, ClassVar

import flax.linen as nn
import jax
from jax.typing import ArrayLike

from snnax import checks
from snnax.dynamics import decay
from snnax.errors import ArgumentError
from snnax.neurons.base import Quantizer, SpikeFunction
from snnax.neurons.sequence import SequenceNeuron, fan_in_bound

__all__ = ["AssociativeLeaky"]


class AssociativeLeaky(SequenceNeuron):
    r"""An associative memory whose entries are leaky neurons with a decay that the input sets.

    .. math::
        M_t = M_{t-1}\,\mathrm{diag}(a_t) + v_t k_t^\top, \qquad S_t = [M_t > 1], \qquad Y_t = S_t Q_t

    where :math:`v = I W_v + b_v` (d values), :math:`k = I W_k + b_k` (n keys), :math:`a = \sigma(I W_a + b_a)` (n
    decays) and :math:`Q = I W_q + b_q` (n rows of d). There is no reset.

    Call: ``y = layer(x)`` with ``x`` ``[T, B, M]`` and ``y`` ``[T, B, d * d]``: real numbers, the rows of
    :math:`Y_t` one after the other. With ``use_q_projection=False``: ``[T, B, d * n]``, the spikes :math:`S_t`. With
    ``init_hidden=True`` one time step ``[B, M]``; state: ``state``, ``[B, d, n]``. ``record`` of
    :func:`~snnax.unroll` shows ``spk`` and ``state`` in both cases. Weights: ``to_v``, ``to_k``, ``to_alpha``, ``to_q``
    (each ``kernel`` and ``bias``), drawn from :math:`\pm 1/\sqrt{M}` as torch draws them.

    Args:
        in_dim: M.
        d_value: d.
        d_key: n.
        num_spiking_neurons: d * n, or ``None`` for just that.
        use_q_projection: read the spikes by a query.
        init_hidden: one call is one time step, and the state is in the collection ``hidden``.

    Raises:
        ArgumentError: at construction, for a size below 1, or ``num_spiking_neurons`` that is not d * n.
        ShapeError: the input is not ``[T, B, M]``, or not ``[B, M]`` with ``init_hidden=True``.

    Example:
        >>> import jax, jax.numpy as jnp, snnax as snn
        >>> layer = snn.AssociativeLeaky(in_dim=3, d_value=2, d_key=4, num_spiking_neurons=8)
        >>> x = jnp.ones((25, 5, 3))
        >>> variables = layer.init(jax.random.key(0), x)
        >>> layer.apply(variables, x).shape
        (25, 5, 4)

    Source: snnTorch 1.0.0, ``snntorch.AssociativeLeaky``.
    Compared with snnTorch: the same recurrence, to rounding, and for every decay. There each write is divided by the
    product of all decays before it (plus 1e-8), which underflows: with decays of about 0.02 its state is wrong from
    the fifth step. There ``num_spiking_neurons=None`` fails, although its text allows it. ``init_hidden`` is ours.
    """

    in_dim: int
    d_value: int
    d_key: int
    num_spiking_neurons: int | None
    use_q_projection: bool = True
    init_hidden: bool = False

    state_names: ClassVar[tuple[str, ...]] = ("state",)
    threshold: ClassVar[float] = 1.0
    spike_grad: ClassVar[SpikeFunction | None] = None
    surrogate_disable: ClassVar[bool] = False
    learn_threshold: ClassVar[bool] = False
    state_quant: ClassVar[Quantizer | bool | None] = False
    output: ClassVar[bool] = False

    def __post_init__(self) -> None:
        """Check the sizes."""
        self._check_sizes("in_dim", "d_value", "d_key")
        if self.num_spiking_neurons is None:
            object.__setattr__(self, "num_spiking_neurons", self.d_value * self.d_key)
        if checks.whole(self.num_spiking_neurons) != self.d_value * self.d_key:
            raise ArgumentError(
                f"AssociativeLeaky(num_spiking_neurons={self.num_spiking_neurons!r}); expected d_value * d_key = "
                f"{self.d_value * self.d_key}, or None."
            )
        super().__post_init__()

    @classmethod
    def from_num_spiking_neurons(
        cls, in_dim: int, num_spiking_neurons: int, use_q_projection: bool = True, init_hidden: bool = False
    ) -> AssociativeLeaky:
        """As many values as keys: the square root of the number of neurons.

        Args:
            in_dim: M.
            num_spiking_neurons: a square number.
            use_q_projection: see the class.
            init_hidden: see the class.

        Raises:
            ArgumentError: ``num_spiking_neurons`` is not the square of a whole number >= 1.

        Example:
            >>> import snnax as snn
            >>> snn.AssociativeLeaky.from_num_spiking_neurons(in_dim=3, num_spiking_neurons=16).d_key
            4
        """
        side = math.isqrt(checks.whole(num_spiking_neurons) or 0)
        if side < 1 or side * side != num_spiking_neurons:
            raise ArgumentError(
                f"num_spiking_neurons={num_spiking_neurons!r}; expected a square number, as 16. For other shapes "
                "pass d_value and d_key: AssociativeLeaky(in_dim, d_value, d_key, d_value * d_key)."
            )
        return cls(in_dim, side, side, side * side, use_q_projection, init_hidden)

    @nn.compact
    def __call__(self, x: ArrayLike) -> jax.Array:
        """A sequence ``[T, B, M]``, or one step ``[B, M]`` with ``init_hidden``."""
        x = self._frames(x, self.in_dim)
        before = None
        if self.init_hidden:
            x, before = self._start(x)
        v = self._projected(x, self.d_value, "to_v")
        k = self._projected(x, self.d_key, "to_k")
        a = jax.nn.sigmoid(self._projected(x, self.d_key, "to_alpha"))[..., None, :]
        write = v[..., :, None] * k[..., None, :]
        state = decay.recurrence(write, a) if before is None else decay.leak(before, write, a)
        state, spk = self._fired(state, graded=False)
        returned: Any = self.leave(x, spk, (state,))
        fired = returned if self.init_hidden else returned[0]
        if self.use_q_projection:
            q = self._projected(x, self.d_value * self.d_key, "to_q")
            fired = fired @ q.reshape(*x.shape[:-1], self.d_key, self.d_value)
        return fired.reshape(*x.shape[:-1], -1)

    @nn.nowrap
    def _projected(self, x: jax.Array, features: int, name: str) -> jax.Array:
        return self._linear(features, x, name, fan_in_bound(self.in_dim))(x)

    @nn.nowrap
    def sample_shape(self) -> tuple[int, ...]:
        """Features of the input."""
        return (self.in_dim,)

    @nn.nowrap
    def _state_shape(self, x: jax.Array) -> tuple[int, ...]:
        return *x.shape[:-1], self.d_value, self.d_key
