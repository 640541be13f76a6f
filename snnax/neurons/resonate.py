"""The resonate-and-fire neuron."""

from __future__ import annotations

from typing import ClassVar

from snnax.dynamics import resonate
from snnax.neurons.custom import CustomNeuron
from snnax.neurons.values import Parameter

__all__ = ["ResonateFire"]


class ResonateFire(CustomNeuron, kw_only=True):
    r"""Resonate-and-fire neuron: a damped oscillation, which fires at inputs that come in its own rhythm.

    .. math::
        \dot z = (b + i\omega)\,z + I, \qquad z_t = e^{(b + i\omega)\,dt}\, z_{t-1} + I_t, \qquad
        z \leftarrow i\,v_{reset} \text{ where } \operatorname{Im} z > \theta

    which is exact for an input that comes as pulses: a pulse of 1 moves :math:`z` by 1. The imaginary part is the
    membrane, the real part is driven by the input. The reset comes before the next step. With ``"zero"`` both become 0,
    ``"subtract"`` takes the threshold off the membrane and leaves the real part, ``"none"`` leaves both.

    Call: ``spk, real, mem = neuron(x, real, mem)``, all ``[B, ..., N]``. Numbers are one for all neurons, or arrays
    with one for each; all else is as for :class:`~snnax.neurons.CustomNeuron`, each argument by name.

    Args:
        b: rate of growth per second, negative for an oscillation that fades.
        omega: angular frequency in radians per second, :math:`2\pi` times that in Hz.
        v_reset: the membrane after a spike; above the threshold it would fire again in the next step.
        dt: length of a step in seconds.
        reset_mechanism: ``"value"``, to :math:`i\,v_{reset}`, ``"zero"``, ``"subtract"`` or ``"none"``.

    Example:
        >>> import jax.numpy as jnp, snnax as snn
        >>> neuron = snn.ResonateFire(b=-20.0, omega=2 * jnp.pi * 100, dt=1e-3, init_hidden=True)
        >>> pulses = jnp.zeros((100, 1, 2)).at[::10, :, 0].set(0.5).at[::7, :, 1].set(0.5)
        >>> spk, _ = snn.unroll(neuron, {}, pulses)  # every 10 ms, its period, and every 7 ms
        >>> [int(s) for s in spk.sum((0, 1))]
        [8, 0]

    Source: E. M. Izhikevich, "Resonate-and-fire neurons", Neural Networks 14 (2001), where
    :math:`v_{reset} = \theta = 1`.
    Compared with spyx: its experimental ``ResonateFire`` is never reset and fires with the real part.
    Compared with snnTorch, Norse and NIR: they have no such neuron. ``to_nir`` writes an extension node, which other
    readers refuse.
    """

    b: Parameter = -100.0
    omega: Parameter = 1000.0
    v_reset: Parameter = 1.0
    dt: Parameter = 1e-4
    reset_mechanism: str = "value"

    reset_delay: ClassVar[bool] = True  # type: ignore[misc]  # a reset within the step would leave the real part
    state_names: ClassVar[tuple[str, ...]] = ("real", "mem")
    parameter_names: ClassVar[tuple[str, ...]] = ("b", "omega", "dt")
    positive_names: ClassVar[tuple[str, ...]] = ("dt",)
    charge = staticmethod(resonate.charge)
