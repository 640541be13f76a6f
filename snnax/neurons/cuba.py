"""NIR's current-based neurons: the input charges a synaptic current, which charges the membrane."""

from __future__ import annotations

from typing import Any, ClassVar

import flax.linen as nn
import jax
from jax.typing import ArrayLike

from snnax.dynamics import nir
from snnax.dynamics.arithmetic import Constant
from snnax.neurons.base import SpikeFunction
from snnax.neurons.nir import Integrator, NIRNeuron
from snnax.neurons.values import Parameter

_PARAMETERS = ("tau_syn", "tau_mem", "r", "v_leak")


class CubaLIF(NIRNeuron):
    r"""NIR's leaky integrate-and-fire neuron with a synaptic current.

    .. math::
        \tau_{syn}\,\dot I &= -I + w_{in} S, \qquad \tau_{mem}\,\dot v = v_{leak} - v + r I \\
        z &= [v > v_{threshold}], \qquad v \leftarrow v_{reset} \text{ where } z \\
        I_t &= I_{t-1} + \tfrac{dt}{\tau_{syn}}\,(w_{in} S_t - I_{t-1}) \quad\text{and} \\
        v_t &= v_{t-1} + \tfrac{dt}{\tau_{mem}}\,(v_{leak} - v_{t-1} + r I_t) \quad\text{with "euler"}

    Call: ``spk, syn, mem = lif(x, syn, mem)``, all ``[B, ..., N]``. States: ``syn``, which is :math:`I`, and
    ``mem``, which is :math:`v` after the reset; the current is never reset. Each parameter is a number, or an
    array with a value for each neuron. See :class:`~snnax.neurons.NIRNeuron` for the options that are not
    listed here and the errors.

    Args:
        tau_syn: time constant of the current in seconds.
        tau_mem: time constant of the membrane in seconds.
        r: resistance, the factor of the current.
        v_leak: potential at rest.
        v_threshold: the neuron fires above it, not at it.
        v_reset: potential after a spike; with ``reset_mechanism="nir"`` only.
        w_in: weight of the input.
        dt: length of a step in seconds.
        w_in_scaling: what an input of 1 adds to the current. ``"ode"``: what the equation says of an input that
            lasts one step, :math:`w_{in}\,dt/\tau_{syn}` with Euler's step. ``"impulse"``: :math:`w_{in}`.
            ``"decayed_impulse"``: :math:`w_{in}` at the start of the step, which decays within it.
        membrane_current: which current charges the membrane. ``"new"``: :math:`I_t`. ``"old"``:
            :math:`I_{t-1}`. ``"undecayed"``: :math:`I_{t-1}` and the input; the sum decays last.
            ``"continuous"``, for ``discretization="exact"`` only: the current as it changes within the step,
            the exact solution of both equations together. ``None`` is ``"continuous"`` if that is possible,
            else ``"new"``.

    Example:
        >>> import jax.numpy as jnp, snnax as snn
        >>> lif = snn.CubaLIF(tau_syn=2e-4, tau_mem=2e-4, w_in=2.0)
        >>> spk, syn, mem = lif.apply({}, jnp.ones((1, 1)))
        >>> float(syn[0, 0]), float(mem[0, 0])
        (1.0, 0.5)

    Source: NIR 1.0.8, ``nir.CubaLIF``; J. E. Pedersen et al. (2024), Nature Communications 15, 8122.
    Compared with snnTorch: ``Synaptic(1 - dt/tau_syn, 1 - dt/tau_mem, reset_mechanism="zero",
    reset_delay=False)`` is, to the last bit, this neuron with ``w_in = tau_syn/dt`` and ``r = tau_mem/dt``.
    Compared with Norse: ``LIFCell(p, dt)`` is this neuron with ``w_in_scaling="impulse"`` and
    ``membrane_current="undecayed"``, but starts from ``v_leak``.
    """

    tau_syn: Parameter
    tau_mem: Parameter
    r: Parameter = 1.0
    v_leak: Parameter = 0.0
    v_threshold: Parameter = 1.0
    v_reset: Parameter = 0.0
    w_in: Parameter = 1.0
    dt: float = 1e-4
    discretization: str = "euler"
    w_in_scaling: str = "ode"
    membrane_current: str | None = None
    reset_mechanism: str = "nir"
    threshold_test: str = "after"
    reset_delay: bool = False
    reset_at: str = "end"
    spike_grad: SpikeFunction | None = None
    surrogate_disable: bool = False
    init_hidden: bool = False
    output: bool = False
    learn: tuple[str, ...] = ()

    state_names: ClassVar[tuple[str, ...]] = ("syn", "mem")
    parameter_names: ClassVar[tuple[str, ...]] = (*_PARAMETERS, "v_threshold", "v_reset", "w_in")
    time_constants: ClassVar[tuple[str, ...]] = ("tau_syn", "tau_mem")

    def __post_init__(self) -> None:
        """Check the arguments and make them hashable."""
        super().__post_init__()
        _check_current(self)

    @nn.compact
    def __call__(self, x: ArrayLike, syn: ArrayLike | None = None, mem: ArrayLike | None = None) -> Any:
        """One time step on ``x`` ``[B, ..., N]``; returns ``(spk, syn, mem)`` or ``spk``."""
        x, (syn, mem) = self.enter(x, syn, mem)
        current, added, decay = _charge(self, x, syn)
        after, spk = nir.fire(mem, lambda before: before * decay + added, self._firing(x))
        return self.leave(x, spk, (current, after))


class CubaLI(Integrator):
    r"""NIR's leaky integrator with a synaptic current: a membrane that never fires.

    .. math::
        \tau_{syn}\,\dot I = -I + w_{in} S, \qquad \tau_{mem}\,\dot v = v_{leak} - v + r I

    in the steps of :class:`CubaLIF`. Call: ``out, syn, mem = li(x, syn, mem)``, all ``[B, ..., N]``, where
    ``out`` is ``mem`` once more: what the next layer gets, in the place where other neurons return spikes.
    With ``init_hidden=True`` it returns the membrane alone. States: ``syn``, ``mem``. See
    :class:`~snnax.neurons.NIRNeuron` for the options that are not listed here and the errors.

    Args:
        tau_syn: time constant of the current in seconds.
        tau_mem: time constant of the membrane in seconds.
        r: resistance, the factor of the current.
        v_leak: potential at rest.
        w_in: weight of the input.
        dt: length of a step in seconds.
        w_in_scaling: what an input of 1 adds to the current; see :class:`CubaLIF`.
        membrane_current: which current charges the membrane; see :class:`CubaLIF`.

    Example:
        >>> import jax.numpy as jnp, snnax as snn
        >>> li = snn.CubaLI(tau_syn=2e-4, tau_mem=4e-4, v_leak=1.0)
        >>> out, syn, mem = li.apply({}, jnp.ones((1, 1)))
        >>> float(out[0, 0]), float(syn[0, 0]), float(mem[0, 0])
        (0.375, 0.5, 0.375)

    Source: NIR 1.0.8, ``nir.CubaLI``.
    Compared with snnTorch: the states of ``Synaptic(..., reset_mechanism="none")``, as for :class:`CubaLIF`.
    Compared with Norse: ``LICell`` is this neuron with ``w_in_scaling="impulse"`` and
    ``membrane_current="undecayed"``, but starts from ``v_leak``.
    """

    tau_syn: Parameter
    tau_mem: Parameter
    r: Parameter = 1.0
    v_leak: Parameter = 0.0
    w_in: Parameter = 1.0
    dt: float = 1e-4
    discretization: str = "euler"
    w_in_scaling: str = "ode"
    membrane_current: str | None = None
    init_hidden: bool = False
    output: bool = False
    learn: tuple[str, ...] = ()

    state_names: ClassVar[tuple[str, ...]] = ("syn", "mem")
    parameter_names: ClassVar[tuple[str, ...]] = (*_PARAMETERS, "w_in")
    time_constants: ClassVar[tuple[str, ...]] = ("tau_syn", "tau_mem")

    def __post_init__(self) -> None:
        """Check the arguments and make them hashable."""
        super().__post_init__()
        _check_current(self)

    @nn.compact
    def __call__(self, x: ArrayLike, syn: ArrayLike | None = None, mem: ArrayLike | None = None) -> Any:
        """One time step on ``x`` ``[B, ..., N]``; returns ``(mem, syn, mem)`` or ``mem``."""
        x, (syn, mem) = self.enter(x, syn, mem)
        current, added, decay = _charge(self, x, syn)
        after = mem * decay + added
        return self.leave(x, after, (current, after))


def _check_current(neuron: CubaLIF | CubaLI) -> None:
    if neuron.membrane_current == "continuous" and neuron.discretization != "exact":
        neuron._refuse_argument(
            "membrane_current", "'new', 'old' or 'undecayed' unless discretization='exact'"
        )


def _charge(neuron: CubaLIF | CubaLI, x: jax.Array, syn: jax.Array) -> tuple[jax.Array, jax.Array, Constant]:
    """The current after the step, what it adds to the membrane, and the decay of the membrane."""
    tau_syn, tau_mem, r, w_in = (neuron._constant(n, x) for n in ("tau_syn", "tau_mem", "r", "w_in"))
    scaling = neuron.w_in_scaling
    weights = nir.synapse(tau_syn, w_in, neuron.dt, neuron.discretization, scaling)
    v_leak = neuron._constant("v_leak", x)
    membrane = nir.leaky(tau_mem, r, v_leak, neuron.dt, neuron.discretization)
    kind = neuron.membrane_current or ("continuous" if neuron.discretization == "exact" else "new")
    joint = None
    if kind == "continuous":
        joint = nir.rounded(nir.bypass(tau_syn, tau_mem, r, w_in, neuron.dt, scaling), x.dtype)
    membrane = nir.rounded(membrane, x.dtype)
    current, added = nir.step(syn, x, nir.rounded(weights, x.dtype), membrane, kind, joint)
    return current, added, membrane.decay
