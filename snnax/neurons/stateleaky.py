"""Leaky neurons without reset, over all time steps at once."""

from __future__ import annotations

from typing import Any, ClassVar, Protocol, cast

import flax.linen as nn
import jax
import jax.numpy as jnp
import numpy as np
from jax.typing import ArrayLike

from snnax.checks import whole
from snnax.dynamics import decay
from snnax.dynamics.arithmetic import Constant
from snnax.errors import ArgumentError
from snnax.neurons.base import Quantizer, SpikeFunction
from snnax.neurons.buffers import buffer
from snnax.neurons.sequence import SequenceNeuron, fan_in_bound
from snnax.neurons.values import FrozenArray, Parameter

__all__ = ["LinearLeaky", "StateLeaky"]


class _Arguments(Protocol):
    beta: Parameter
    learn_beta: bool
    state_quant: Quantizer | bool | None
    output: bool
    kernel_truncation_steps: int | None
    init_hidden: bool


class _ExponentialKernel(SequenceNeuron):
    """What ``StateLeaky`` and ``LinearLeaky`` share: the membrane as a causal exponential kernel."""

    state_names: ClassVar[tuple[str, ...]] = ("mem",)
    parameter_names: ClassVar[tuple[str, ...]] = ("beta", "threshold", "graded_spikes_factor")
    buffer_names: ClassVar[dict[str, str]] = {"beta": "tau"}

    @nn.nowrap
    def _warn_of_inert(self) -> None:
        """As snnTorch: what is about spikes does nothing where none are returned."""
        if cast(_Arguments, self).output:
            return
        flags = ("spike_grad", "surrogate_disable", "learn_threshold", "learn_graded_spikes_factor")
        inert = [name for name in flags if getattr(self, name) not in (None, False)]
        if np.any(np.asarray(getattr(self, "graded_spikes_factor")) != 1):  # noqa: B009
            inert.append("graded_spikes_factor")
        if inert:
            self._warn(
                f"output=False returns no spikes: {' and '.join(inert)} without effect. Leave it out, or pass "
                "output=True."
            )

    @nn.nowrap
    def _check_kernel(self) -> None:
        steps = cast(_Arguments, self).kernel_truncation_steps
        if steps is None:
            return
        if (number := whole(steps)) is None:
            raise ArgumentError(
                f"{type(self).__name__}(kernel_truncation_steps={steps!r}); expected None, or how many of the "
                "last inputs the membrane remembers: a whole number >= 1."
            )
        object.__setattr__(self, "kernel_truncation_steps", number)

    @nn.nowrap
    def _decay(self, like: jax.Array) -> Constant:
        """Decay per step, from ``tau``, which is what is learned and kept."""
        given = cast(_Arguments, self)
        dtype = jnp.promote_types(like.dtype, jnp.float32)
        fixed = decay.time_constant(np.asarray(given.beta, dtype))

        def start(*_: Any) -> jax.Array:
            return jnp.asarray(fixed)

        tau: Constant
        if given.learn_beta:
            tau = self.param("tau", start)
        else:
            kept = buffer(self, "tau", start, isinstance(given.beta, FrozenArray))
            tau = np.asarray(fixed) if kept is None else kept
        factor = decay.decay_per_step(tau).astype(like.dtype)
        return factor.reshape((1,) * (like.ndim - 1) + (-1,))

    @nn.nowrap
    def _run(self, x: jax.Array, current: jax.Array, mem: jax.Array | None) -> Any:
        """From the input current to what is returned; ``mem`` is ``None`` for a whole sequence."""
        given = cast(_Arguments, self)
        factor, steps = self._decay(current), given.kernel_truncation_steps
        if mem is None:
            summed = decay.window(current, factor, steps) if steps else decay.recurrence(current, factor)
        elif steps:
            summed = self._window_step(current, factor, int(steps))
        else:
            summed = decay.leak(mem, current, factor)
        shown, spk = self._fired(summed)
        returned = self.leave(x, spk if given.output else shown, (shown,))
        if mem is not None and given.state_quant and not self.is_initializing():
            # what is quantized is what is seen: the kernel sums the inputs themselves
            self.put_variable("hidden", "mem", summed)
        return returned[0] if isinstance(returned, tuple) and not given.output else returned

    @nn.nowrap
    def _window_step(self, current: jax.Array, factor: Constant, steps: int) -> jax.Array:
        """The membrane of the last ``steps`` inputs; those before this one are in ``hidden`` as ``past``."""
        shape = (current.shape[0], steps - 1, *current.shape[1:])
        past = self.get_variable("hidden", "past", jnp.zeros(shape, current.dtype)).astype(current.dtype)
        after, summed = decay.window_step(past, current, factor)
        if self.is_mutable_collection("hidden"):
            self.put_variable("hidden", "past", past if self.is_initializing() else after)
        return summed


class StateLeaky(_ExponentialKernel):
    r"""Leaky neuron that is never reset, so that all time steps are computed at once.

    .. math::
        U_t = \sum_{k=0}^{K-1} e^{-k/\tau}\, I_{t-k}, \qquad \tau = \frac{1}{1 - \beta + 10^{-12}}, \qquad
        S_t = g\,[U_t > \theta]

    :math:`K` is the number of steps so far, or ``kernel_truncation_steps`` if that is less. Note the decay per
    step: it is :math:`e^{-(1 - \beta)}`, not :math:`\beta`; ``beta=0.9`` decays by 0.9048.

    Call: ``spk, mem = lif(x)``, all ``[T, B, N]``; with ``init_hidden=True`` one time step ``[B, N]``, which
    :func:`~snnax.unroll` runs. State: ``mem`` (and ``past``, the inputs that a truncated kernel still needs).

    Args:
        beta: sets the time constant; one number, or one for each channel. Not clamped: above 1 the membrane grows.
        channels: N; 1 for any number of neurons that share their parameters.
        threshold: number or array; fires above it.
        spike_grad: a function of :mod:`snnax.surrogate`; ``None`` is ``atan()``.
        surrogate_disable: no gradient through spikes.
        learn_beta: train :math:`\tau`, in steps, as the parameter ``tau``: then :math:`\beta = (\tau - 1) / \tau`.
        learn_threshold: train the threshold.
        state_quant: function from the membrane to the quantized membrane, which fires and is returned; the
            unquantized one is what decays.
        output: return ``(spk, mem)``, or else ``mem`` alone.
        graded_spikes_factor: :math:`g`, the height of a spike.
        learn_graded_spikes_factor: train :math:`g`.
        kernel_truncation_steps: how many of the last inputs count; ``None`` for all.
        init_hidden: one call is one time step, and the state is in the collection ``hidden``.

    Raises:
        ArgumentError: at construction, for a bad argument.
        ShapeError: the input is not ``[T, B, N]``, or not ``[B, N]`` with ``init_hidden=True``.

    Example:
        >>> import jax.numpy as jnp, snnax as snn
        >>> impulse = jnp.array([1.0, 0, 0, 0]).reshape(4, 1, 1)
        >>> spk, mem = snn.StateLeaky(beta=0.9, channels=1).apply({}, impulse)
        >>> [round(float(u), 4) for u in mem.ravel()]
        [1.0, 0.9048, 0.8187, 0.7408]

    Source: snnTorch 1.0.0, ``snntorch.StateLeaky``.
    Compared with snnTorch: the same spikes, and membranes to rounding (it convolves, at a cost that grows with
    the square of T). There the factor :math:`g` multiplies spikes twice, so that 0.5 gives spikes of 0.25; here
    once. There ``channels`` is never looked at; here it must be N, or 1. ``init_hidden`` is ours. There the parameter
    ``beta`` of its ``state_dict`` is a copy that nothing trains; here it is not kept.
    """

    beta: Parameter
    channels: int
    threshold: Parameter = 1.0
    spike_grad: SpikeFunction | None = None
    surrogate_disable: bool = False
    learn_beta: bool = False
    learn_threshold: bool = False
    state_quant: Quantizer | bool | None = False
    output: bool = True
    graded_spikes_factor: Parameter = 1.0
    learn_graded_spikes_factor: bool = False
    kernel_truncation_steps: int | None = None
    init_hidden: bool = False

    def __post_init__(self) -> None:
        """Check the arguments."""
        self._check_sizes("channels")
        self._check_beta(self.channels)
        self._check_kernel()
        self._warn_of_inert()
        super().__post_init__()

    @nn.nowrap
    def sample_shape(self) -> tuple[int, ...]:
        """One for each channel."""
        return (self.channels,)

    @nn.compact
    def __call__(self, x: ArrayLike) -> Any:
        """A sequence ``[T, B, N]``, or a step ``[B, N]`` with ``init_hidden``; ``(spk, mem)``, or ``mem``."""
        x = self._frames(x, None if self.channels == 1 else self.channels)
        x, mem = self._start(x) if self.init_hidden else (x, None)
        return self._run(x, x, mem)


class LinearLeaky(_ExponentialKernel):
    r"""A linear layer and a :class:`StateLeaky` in one.

    .. math::
        U_t = \sum_{k=0}^{K-1} e^{-k/\tau}\, (I_{t-k} W + b), \qquad \tau = \frac{1}{1 - \beta + 10^{-12}}, \qquad
        S_t = g\,[U_t > \theta]

    Call: ``spk, mem = layer(x)`` with ``x`` ``[T, B, M]``, the rest ``[T, B, N]``; with ``init_hidden=True``
    one time step ``[B, M]``. Weights: ``linear`` (``kernel`` ``(M, N)``, ``bias`` ``(N,)``), drawn from
    :math:`\pm 1/\sqrt{M}` as torch draws them.

    Args:
        beta: sets the time constant; see :class:`StateLeaky`.
        in_features: M.
        out_features: N.
        bias: whether there is :math:`b`.
        device: must be ``None``.
        dtype: in which the weights are kept, ``param_dtype`` elsewhere in Flax; ``None`` is float32, or the dtype
            of the input if that is wider. They are used in the dtype of the input.
        threshold, spike_grad, surrogate_disable, learn_beta, learn_threshold, state_quant, output: see
            :class:`StateLeaky`.
        graded_spikes_factor, learn_graded_spikes_factor, kernel_truncation_steps: see :class:`StateLeaky`.

    Raises:
        ArgumentError: at construction, for a bad argument.
        ShapeError: the input is not ``[T, B, M]``, or not ``[B, M]`` with ``init_hidden=True``.

    Example:
        >>> import jax, jax.numpy as jnp, snnax as snn
        >>> layer = snn.LinearLeaky(beta=0.9, in_features=3, out_features=5)
        >>> x = jnp.ones((25, 2, 3))
        >>> variables = layer.init(jax.random.key(0), x)
        >>> spk, mem = layer.apply(variables, x)
        >>> mem.shape
        (25, 2, 5)

    Source: snnTorch 1.0.0, ``snntorch.LinearLeaky``.
    Compared with snnTorch: as :class:`StateLeaky`.
    """

    beta: Parameter
    in_features: int
    out_features: int
    bias: bool = True
    device: None = None
    dtype: Any = None
    threshold: Parameter = 1.0
    spike_grad: SpikeFunction | None = None
    surrogate_disable: bool = False
    learn_beta: bool = False
    learn_threshold: bool = False
    state_quant: Quantizer | bool | None = False
    output: bool = True
    graded_spikes_factor: Parameter = 1.0
    learn_graded_spikes_factor: bool = False
    kernel_truncation_steps: int | None = None
    init_hidden: bool = False

    def __post_init__(self) -> None:
        """Check the arguments."""
        self._check_sizes("in_features", "out_features")
        self._check_beta(self.out_features)
        self._check_kernel()
        self._warn_of_inert()
        self._check_placement()
        super().__post_init__()

    @nn.compact
    def __call__(self, x: ArrayLike) -> Any:
        """A sequence ``[T, B, M]``, or a step ``[B, M]`` with ``init_hidden``; ``(spk, mem)``, or ``mem``."""
        x = self._frames(x, self.in_features)
        x, mem = self._start(x) if self.init_hidden else (x, None)
        linear = self._linear(self.out_features, x, "linear", fan_in_bound(self.in_features), self.bias)
        return self._run(x, linear(x), mem)

    @nn.nowrap
    def sample_shape(self) -> tuple[int, ...]:
        """Features of the input."""
        return (self.in_features,)

    @nn.nowrap
    def _state_shape(self, x: jax.Array) -> tuple[int, ...]:
        return *x.shape[:-1], self.out_features
