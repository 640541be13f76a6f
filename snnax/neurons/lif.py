"""NIR's neurons that a current charges directly and that fire: LIF and IF."""

from __future__ import annotations

from functools import partial
from typing import Any, ClassVar

import flax.linen as nn
from jax.typing import ArrayLike

from snnax.dynamics import nir
from snnax.neurons.base import SpikeFunction
from snnax.neurons.nir import Integrator, NIRNeuron
from snnax.neurons.values import Parameter


class LIF(NIRNeuron):
    r"""NIR's leaky integrate-and-fire neuron.

    .. math::
        \tau\,\dot v &= v_{leak} - v + r I, \qquad z = [v > v_{threshold}], \qquad v \leftarrow v_{reset}
            \text{ where } z \\
        v_t &= v_{t-1} + \tfrac{dt}{\tau}\,(v_{leak} - v_{t-1} + r I_t) &&\text{"euler"} \\
        v_t &= v_\infty + (v_{t-1} - v_\infty)\,e^{-dt/\tau}, \quad v_\infty = v_{leak} + r I_t &&\text{"exact"} \\
        v_t &= v_{leak} + (v_{t-1} - v_{leak})\,e^{-dt/\tau} + \tfrac{dt}{\tau}\, r I_t &&\text{"exact\_decay"}

    Call: ``spk, mem = lif(x, mem)``, all ``[B, ..., N]``. State: ``mem``, which is :math:`v` after the reset.
    Each parameter is a number, or an array with a value for each neuron. See
    :class:`~snnax.neurons.NIRNeuron` for the options and the errors.

    Args:
        tau: time constant in seconds.
        r: resistance, the factor of the input.
        v_leak: potential at rest.
        v_threshold: the neuron fires above it, not at it.
        v_reset: potential after a spike; with ``reset_mechanism="nir"`` only.
        dt: length of a step in seconds.

    Example:
        >>> import jax.numpy as jnp, snnax as snn
        >>> lif = snn.LIF(tau=2e-4, r=1.5, v_reset=-0.25)
        >>> mem = None
        >>> for x in (1.0, 1.0, 1.0):
        ...     spk, mem = lif.apply({}, jnp.full((1, 1), x), mem)
        ...     print(float(spk[0, 0]), float(mem[0, 0]))
        0.0 0.75
        1.0 -0.25
        0.0 0.625

    Source: NIR 1.0.8, ``nir.LIF``; J. E. Pedersen et al. (2024), Nature Communications 15, 8122.
    Compared with snnTorch: ``Leaky(beta=1 - dt/tau, reset_mechanism="zero", reset_delay=False)`` is, to the
    last bit, this neuron with ``r = tau/dt``.
    Compared with Norse: ``LIFBoxCell(p, dt)`` is this neuron with ``tau = 1/tau_mem_inv``, but starts from
    ``v_leak``; its default ``dt`` is 1e-3.
    """

    tau: Parameter
    r: Parameter = 1.0
    v_leak: Parameter = 0.0
    v_threshold: Parameter = 1.0
    v_reset: Parameter = 0.0
    dt: float = 1e-4
    discretization: str = "euler"
    reset_mechanism: str = "nir"
    threshold_test: str = "after"
    reset_delay: bool = False
    reset_at: str = "end"
    spike_grad: SpikeFunction | None = None
    surrogate_disable: bool = False
    init_hidden: bool = False
    output: bool = False
    learn: tuple[str, ...] = ()

    state_names: ClassVar[tuple[str, ...]] = ("mem",)
    parameter_names: ClassVar[tuple[str, ...]] = ("tau", "r", "v_leak", "v_threshold", "v_reset")
    time_constants: ClassVar[tuple[str, ...]] = ("tau",)

    @nn.compact
    def __call__(self, x: ArrayLike, mem: ArrayLike | None = None) -> Any:
        """One time step on ``x`` ``[B, ..., N]``; returns ``(spk, mem)``, or ``spk`` with ``init_hidden``."""
        x, (before,) = self.enter(x, mem)
        membrane = nir.rounded(self._leaky("tau", x), x.dtype)
        charged = partial(nir.integrate, current=x, membrane=membrane)
        after, spk = nir.fire(before, charged, self._firing(x))
        return self.leave(x, spk, (after,))


class IF(NIRNeuron):
    r"""NIR's integrate-and-fire neuron, without a leak.

    .. math::
        \dot v = r I, \qquad v_t = v_{t-1} + dt\, r I_t, \qquad z = [v > v_{threshold}], \qquad
        v \leftarrow v_{reset} \text{ where } z

    Call: ``spk, mem = neuron(x, mem)``, all ``[B, ..., N]``. State: ``mem``, which is :math:`v` after the
    reset. Each parameter is a number, or an array with a value for each neuron. See
    :class:`~snnax.neurons.NIRNeuron` for the options and the errors; the discretization does not matter.

    Args:
        r: resistance, the factor of the input.
        v_threshold: the neuron fires above it, not at it.
        v_reset: potential after a spike; with ``reset_mechanism="nir"`` only.
        dt: length of a step in seconds. Frameworks that add the input itself in each step mean ``r = 1/dt``.

    Example:
        >>> import jax.numpy as jnp, snnax as snn
        >>> neuron = snn.IF(r=1e4)
        >>> spk, mem = neuron.apply({}, jnp.full((1, 1), 0.75))
        >>> spk, mem = neuron.apply({}, jnp.full((1, 1), 0.75), mem)
        >>> float(spk[0, 0]), float(mem[0, 0])
        (1.0, 0.0)

    Source: NIR 1.0.8, ``nir.IF``.
    Compared with snnTorch: ``Leaky(beta=1, reset_mechanism="zero", reset_delay=False)`` is this neuron with
    ``r = 1/dt``.
    Compared with Norse: ``IAFCell`` is this neuron with ``r = 1/dt``.
    """

    r: Parameter = 1.0
    v_threshold: Parameter = 1.0
    v_reset: Parameter = 0.0
    dt: float = 1e-4
    reset_mechanism: str = "nir"
    threshold_test: str = "after"
    reset_delay: bool = False
    reset_at: str = "end"
    spike_grad: SpikeFunction | None = None
    surrogate_disable: bool = False
    init_hidden: bool = False
    output: bool = False
    learn: tuple[str, ...] = ()

    state_names: ClassVar[tuple[str, ...]] = ("mem",)
    parameter_names: ClassVar[tuple[str, ...]] = ("r", "v_threshold", "v_reset")

    @nn.compact
    def __call__(self, x: ArrayLike, mem: ArrayLike | None = None) -> Any:
        """One time step on ``x`` ``[B, ..., N]``; returns ``(spk, mem)``, or ``spk`` with ``init_hidden``."""
        x, (before,) = self.enter(x, mem)
        membrane = nir.rounded(nir.integrator(self._constant("r", x), self.dt), x.dtype)
        charged = partial(nir.integrate, current=x, membrane=membrane)
        after, spk = nir.fire(before, charged, self._firing(x))
        return self.leave(x, spk, (after,))


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
        x, (before,) = self.enter(x, mem)
        after = nir.integrate(before, x, nir.rounded(self._leaky("tau", x), x.dtype))
        return self.leave(x, after, (after,))


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
        x, (before,) = self.enter(x, mem)
        membrane = nir.rounded(nir.integrator(self._constant("r", x), self.dt), x.dtype)
        after = nir.integrate(before, x, membrane)
        return self.leave(x, after, (after,))
