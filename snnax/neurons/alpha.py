"""The alpha neuron: excitatory and inhibitory currents."""

from __future__ import annotations

from typing import Any, ClassVar

import flax.linen as nn
import jax
import numpy as np
from jax.typing import ArrayLike

from snnax.dynamics import alpha as dynamics
from snnax.dynamics.arithmetic import unit
from snnax.dynamics.equation import Equation
from snnax.errors import ArgumentError
from snnax.neurons.base import Quantizer, SpikeFunction, SpikingNeuron
from snnax.neurons.values import Parameter


class Alpha(SpikingNeuron):
    r"""Neuron whose membrane answers an input spike with an alpha function: a rise, then a fall.

    .. math::
        R &= [U_{t-1} > \theta], \qquad \tau = \frac{\ln\alpha}{\ln\beta - \ln\alpha} + 1 \\
        E_t &= \alpha E_{t-1} + I_t, \qquad H_t = \beta H_{t-1} - I_t, \qquad U_t = \tau\,(E_t + H_t) \\
        S_t &= [U_t > \theta]

    After that, where R = 1: "zero" sets :math:`E_t, H_t, U_t` to zero; "subtract" takes :math:`\theta` off
    :math:`E_t`, sets :math:`H_t` to zero and adds :math:`H_{t-1}` to :math:`U_t`.

    Call: ``spk, syn_exc, syn_inh, mem = lif(x, syn_exc, syn_inh, mem)``, all ``[B, ..., N]``. States:
    ``syn_exc``, ``syn_inh``, ``mem``. See :class:`SpikingNeuron` for the arguments that are not listed here.

    Args:
        alpha: decay of the excitatory current per step, clamped to [0, 1]; larger than ``beta``.
        beta: decay of the inhibitory current per step, clamped to [0, 1].
        learn_alpha: train ``alpha``. Nothing keeps it above ``beta``: where both meet, the membrane is
            infinite.
        learn_beta: train ``beta``.

    Raises:
        ArgumentError: ``alpha`` is not larger than ``beta`` everywhere.

    Example:
        >>> import jax.numpy as jnp, snnax as snn
        >>> lif = snn.Alpha(alpha=0.9, beta=0.8)
        >>> spk, syn_exc, syn_inh, mem = lif.apply({}, jnp.ones((1, 1)))
        >>> spk, syn_exc, syn_inh, mem = lif.apply({}, jnp.zeros((1, 1)), syn_exc, syn_inh, mem)
        >>> round(float(mem[0, 0]), 4)
        0.1895

    Source: snnTorch 1.0.0, ``snntorch.Alpha``.
    Compared with snnTorch: the same, but for the last bits of
    :math:`\tau`, whose logarithms torch and XLA round differently in about one value of eight.
    ``learn_alpha=True``, an error there, works here. NIR has no such node.
    """

    alpha: Parameter
    beta: Parameter
    threshold: Parameter = 1.0
    spike_grad: SpikeFunction | None = None
    surrogate_disable: bool = False
    init_hidden: bool = False
    inhibition: bool = False
    learn_alpha: bool = False
    learn_beta: bool = False
    learn_threshold: bool = False
    reset_mechanism: str = "zero"
    state_quant: Quantizer | bool | None = False
    output: bool = False

    state_names: ClassVar[tuple[str, ...]] = ("syn_exc", "syn_inh", "mem")
    parameter_names: ClassVar[tuple[str, ...]] = ("alpha", "beta", "threshold")

    def __post_init__(self) -> None:
        """Check the arguments and make them hashable."""
        super().__post_init__()
        fast, slow = (unit(np.asarray(v, np.float64)) for v in (self.beta, self.alpha))
        if not np.all(slow > fast):
            raise ArgumentError(
                f"Alpha(alpha={self.alpha!r}, beta={self.beta!r}): alpha must be larger than beta "
                "in [0, 1], since the membrane is the difference of the two; as alpha=0.9, beta=0.8."
            )

    @nn.compact
    def __call__(
        self,
        x: ArrayLike,
        syn_exc: ArrayLike | None = None,
        syn_inh: ArrayLike | None = None,
        mem: ArrayLike | None = None,
    ) -> Any:
        """One time step on ``x`` ``[B, ..., N]``; returns ``(spk, syn_exc, syn_inh, mem)`` or ``spk``."""
        return self._step(x, syn_exc, syn_inh, mem)

    @nn.nowrap
    def equation(self, like: jax.Array) -> Equation:
        """Two currents and the membrane between them."""
        alpha = self._value("alpha", like, self.learn_alpha)
        beta = self._value("beta", like, self.learn_beta)
        return Equation(dynamics.charge, self._rule(like), (alpha, beta))
