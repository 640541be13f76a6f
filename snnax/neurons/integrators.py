"""NIR's neurons that a current charges directly and that do not fire: LI and I."""

from __future__ import annotations

from typing import Any, ClassVar

import flax.linen as nn
from jax.typing import ArrayLike

from snnax.dynamics import nir
from snnax.neurons.nir import Integrator
from snnax.neurons.values import Parameter


class LI(Integrator):
    r"""NIR's leaky integrator: a membrane that never fires.

    .. math:: \tau\,\dot v = v_{leak} - v + r I, \qquad
        v_t = v_{t-1} + \tfrac{dt}{\tau}\,(v_{leak} - v_{t-1} + r I_t) \quad\text{with "euler"}

    Call: ``out, mem = li(x, mem)``, all ``[B, ..., N]``, where ``out`` is ``mem`` once more: what the next
    layer gets, in the place where other neurons return spikes. With ``init_hidden=True`` it returns the
    membrane alone. State: ``mem``. Each parameter is a number, or an array with a value for each neuron.
    See :class:`~snnax.neurons.NIRNeuron` for ``discretization``, ``learn`` and the errors.

    Args:
        tau: time constant in seconds.
        r: resistance, the factor of the input.
        v_leak: potential at rest.
        dt: length of a step in seconds.

    Example:
        >>> import jax.numpy as jnp, snnax as snn
        >>> out, mem = snn.LI(tau=2e-4, v_leak=0.5).apply({}, jnp.ones((1, 1)))
        >>> float(out[0, 0]), float(mem[0, 0])
        (0.75, 0.75)

    Source: NIR 1.0.8, ``nir.LI``.
    Compared with snnTorch: the membrane of ``Leaky(beta=1 - dt/tau, reset_mechanism="none")`` is that of this
    neuron with ``r = tau/dt``.
    Compared with Norse: ``LIBoxCell(p, dt)`` is this neuron, but starts from ``v_leak``.
    """

    tau: Parameter
    r: Parameter = 1.0
    v_leak: Parameter = 0.0
    dt: float = 1e-4
    discretization: str = "euler"
    init_hidden: bool = False
    output: bool = False
    learn: tuple[str, ...] = ()

    state_names: ClassVar[tuple[str, ...]] = ("mem",)
    parameter_names: ClassVar[tuple[str, ...]] = ("tau", "r", "v_leak")
    time_constants: ClassVar[tuple[str, ...]] = ("tau",)

    @nn.compact
    def __call__(self, x: ArrayLike, mem: ArrayLike | None = None) -> Any:
        """One time step on ``x`` ``[B, ..., N]``; returns ``(mem, mem)``, or ``mem`` with ``init_hidden``."""
        x, (before,) = self._enter(x, mem)
        after = nir.integrate(before, x, nir.rounded(self._leaky("tau", x), x.dtype))
        return self._leave(x, after, (after,))


class I(Integrator):  # noqa: E742  NIR's name
    r"""NIR's integrator: the sum of its input over time.

    .. math:: \dot v = r I, \qquad v_t = v_{t-1} + dt\, r I_t

    Call: ``out, mem = neuron(x, mem)``, all ``[B, ..., N]``, where ``out`` is ``mem`` once more, as for
    :class:`LI`. State: ``mem``. See :class:`~snnax.neurons.NIRNeuron` for ``learn`` and the errors.

    Args:
        r: resistance, the factor of the input: a number, or an array with a value for each neuron.
        dt: length of a step in seconds.

    Example:
        >>> import jax.numpy as jnp, snnax as snn
        >>> out, mem = snn.I(r=5000.0).apply({}, jnp.ones((1, 1)))
        >>> float(out[0, 0])
        0.5

    Source: NIR 1.0.8, ``nir.I``.
    """

    r: Parameter = 1.0
    dt: float = 1e-4
    init_hidden: bool = False
    output: bool = False
    learn: tuple[str, ...] = ()

    state_names: ClassVar[tuple[str, ...]] = ("mem",)
    parameter_names: ClassVar[tuple[str, ...]] = ("r",)

    @nn.compact
    def __call__(self, x: ArrayLike, mem: ArrayLike | None = None) -> Any:
        """One time step on ``x`` ``[B, ..., N]``; returns ``(mem, mem)``, or ``mem`` with ``init_hidden``."""
        x, (before,) = self._enter(x, mem)
        membrane = nir.rounded(nir.integrator(self._constant("r", x), self.dt), x.dtype)
        after = nir.integrate(before, x, membrane)
        return self._leave(x, after, (after,))
