"""The leaky neuron that fires at changes of its membrane."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any, ClassVar

import flax.linen as nn
import jax
from jax.typing import ArrayLike

from snnax.dynamics import delta
from snnax.errors import ArgumentError, StateError
from snnax.neurons.base import Quantizer, SpikeFunction, SpikingNeuron
from snnax.neurons.values import Parameter

Membrane = ArrayLike | Sequence[ArrayLike | None] | None
"""A membrane, or the pair of membrane and the one before it, of which only the first counts."""

_UNUSED = {
    "threshold": 1.0,
    "inhibition": False,
    "learn_threshold": False,
    "graded_spikes_factor": 1.0,
    "learn_graded_spikes_factor": False,
    "reset_delay": True,
}


class DeltaLeaky(SpikingNeuron):
    r"""Leaky integrator that fires when its membrane changes by more than a threshold, up or down.

    .. math::
        U_t &= \beta U_{t-1} + I_t \\
        S_t &= [\,|U_t - U_{t-1}| > \theta_\Delta\,]

    Call: ``spk, (mem, mem_prev) = lif(x, mem)``, all ``[B, ..., N]``; ``mem`` may also be the pair that was
    returned, of which only the first counts. State: ``mem``. Nothing is ever reset. The surrogate gradient is
    that of ``spike_grad`` at :math:`|U_t - U_{t-1}| - \theta_\Delta`.

    Args:
        delta_threshold: :math:`\theta_\Delta`, number or array; not trained.
        beta: decay of the membrane per step, required; not clamped.
        learn_beta: train ``beta``, which is then in the collection ``params``.
        spike_grad, surrogate_disable, init_hidden, output: see :class:`~snnax.neurons.SpikingNeuron`. With
            ``init_hidden=True`` and ``output=True`` the result is ``(spk, (mem, mem_prev))``.

    The other arguments (``threshold``, ``inhibition``, ``learn_threshold``, ``reset_mechanism``, ``state_quant``,
    ``graded_spikes_factor``, ``learn_graded_spikes_factor``, ``reset_delay``) are at the positions that they have in
    snnTorch, where they do nothing. Only the default, and ``reset_mechanism="none"``, are taken.

    Raises:
        ArgumentError: at construction, if ``beta`` is missing, or for an argument that would do nothing.
        StateError: ``mem`` does not fit the input, or is a sequence of other than two.

    Example:
        >>> import jax.numpy as jnp, snnax as snn
        >>> lif = snn.DeltaLeaky(delta_threshold=0.3, beta=0.5)
        >>> mem = None
        >>> for x in (1.0, 0.5, 0.25):
        ...     spk, mem = lif.apply({}, jnp.full((1, 1), x), mem)
        ...     print(float(spk[0, 0]), float(mem[0][0, 0]))
        1.0 1.0
        0.0 1.0
        0.0 0.75

    Source: snnTorch 1.0.0, ``snntorch.DeltaLeaky``.
    Compared with snnTorch: the same, to the last bit in float32. It returns the tuple with ``init_hidden=True``
    as well, which no following layer takes; here the spikes alone, unless ``output=True``. It requires a pair
    of states with ``init_hidden=False``; here one membrane or ``None`` will do.
    """

    delta_threshold: Parameter = 1.0
    beta: Parameter | None = None
    threshold: Parameter = 1.0
    spike_grad: SpikeFunction | None = None
    surrogate_disable: bool = False
    init_hidden: bool = False
    inhibition: bool = False
    learn_beta: bool = False
    learn_threshold: bool = False
    reset_mechanism: str = "subtract"
    state_quant: Quantizer | bool | None = False
    output: bool = False
    graded_spikes_factor: Parameter = 1.0
    learn_graded_spikes_factor: bool = False
    reset_delay: bool = True

    state_names: ClassVar[tuple[str, ...]] = ("mem",)
    snntorch_inits: ClassVar[tuple[str, ...]] = ("init_leaky",)
    parameter_names: ClassVar[tuple[str, ...]] = (
        "delta_threshold", "beta", "threshold", "graded_spikes_factor",
    )  # fmt: skip

    def __post_init__(self) -> None:
        """Check the arguments."""
        if self.beta is None:
            raise ArgumentError("DeltaLeaky() got no beta; expected a number or an array, as beta=0.9.")
        super().__post_init__()
        given = {name: getattr(self, name) for name in _UNUSED if getattr(self, name) != _UNUSED[name]}
        if self.state_quant:
            given["state_quant"] = self.state_quant
        if self.reset_mechanism == "zero":
            given["reset_mechanism"] = "zero"
        if given:
            passed = ", ".join(f"{name}={value!r}" for name, value in given.items())
            raise ArgumentError(
                f"DeltaLeaky({passed}) would do nothing: it fires at changes above delta_threshold and is never "
                "reset. Leave it out; the threshold of the change is delta_threshold."
            )

    @nn.compact
    def __call__(self, x: ArrayLike, mem: Membrane = None) -> Any:
        """One time step on ``x``; returns ``(spk, (mem, mem_prev))``, or ``spk`` alone with ``init_hidden``."""
        x, (before,) = self.enter(x, self._current(mem))
        rule = self._rule(x)._replace(threshold=self._value("delta_threshold", x))
        after, spk = delta.step((before,), x, self._value("beta", x, self.learn_beta), rule)
        left = self.leave(x, spk, after)
        return (left[0], (left[1], before)) if isinstance(left, tuple) else left

    @nn.nowrap
    def _current(self, mem: Membrane) -> ArrayLike | jax.Array | None:
        """The membrane itself, if it came with the one before it."""
        if not isinstance(mem, tuple | list):
            return mem  # type: ignore[return-value]
        if len(mem) != 2:
            raise StateError(
                f"{self._label()} got {len(mem)} states; expected mem, or the pair (mem, mem_prev) that the last "
                "call returned. To start from zeros leave it out."
            )
        return mem[0]
