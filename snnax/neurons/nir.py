"""What the neurons of NIR share: NIR's parameters, checks, and values in continuous time."""

from __future__ import annotations

from typing import Any, ClassVar, cast

import flax.linen as nn
import jax
import jax.numpy as jnp
import numpy as np

from snnax import surrogate
from snnax.dynamics.arithmetic import Constant
from snnax.dynamics.firing import step_function
from snnax.dynamics.nir import CURRENTS, DISCRETIZATIONS, RESETS, SCALINGS, Firing, Membrane, leaky, rounded
from snnax.errors import ArgumentError
from snnax.neurons.base import SpikingNeuron
from snnax.neurons.values import names_to_learn

__all__ = ["NIRNeuron"]


class NIRNeuron(SpikingNeuron):
    """Base of the neurons of NIR: parameters in continuous time, seconds, and a step ``dt``.

    NIR says nothing about time steps. What frameworks do differently with the same file is an argument
    here; the defaults are what reproduces most recordings: Euler's step, threshold ``>`` after it, reset in
    the same step. States are called ``mem`` and ``syn`` as in snnTorch, and start from zero. These arguments
    are shared, besides those of :class:`SpikingNeuron`:

    * ``dt``: length of a step in seconds, one number.
    * ``discretization``: ``"euler"``, ``"exact"`` (the solution for an input that is constant over the
      step), or ``"exact_decay"`` (exact decay, but the input is weighted as in Euler's step).
    * ``reset_mechanism``: ``"nir"`` (to ``v_reset``), ``"subtract"`` the threshold, or ``"none"``.
    * ``threshold_test``: ``"after"`` the membrane has integrated the input, or ``"before"`` (a spike comes
      one step later).
    * ``reset_delay``: the reset acts in the step after the spike.
    * ``reset_at``: with ``threshold_test="before"`` or ``reset_delay=True`` the reset is known when the step
      begins; it acts at the ``"end"`` of the step, or at its ``"start"``, before the input is integrated.
    * ``learn``: names of parameters that are trained (collection ``params``). Other arrays are in ``buffers``.
    * ``state_dtype``, by name only: the floating type of the states, float32 at least without it.

    Raises:
        ArgumentError: at construction: a time constant or ``dt`` that is not positive, ``dt`` above a time
            constant with Euler's step, or an unknown option.

    A ``v_reset`` above ``v_threshold`` is what NIR's equation says in steps of ``dt``: after a spike the neuron
    fires in each step in which its input does not bring it down to the threshold.

    Fixed parameters are turned into decays and gains in double precision and rounded once, to the dtype of
    the input. Learned ones, and arrays in ``buffers``, are in the precision they are stored in; a learned
    time constant that shrinks below ``dt`` acts as ``dt``, a negative one as infinity.
    """

    # arguments of snnTorch's neurons that these do not have
    inhibition: ClassVar[bool] = False
    state_quant: ClassVar[bool] = False

    reset_mechanisms: ClassVar[tuple[str, ...]] = RESETS
    time_constants: ClassVar[tuple[str, ...]] = ()
    options: ClassVar[dict[str, tuple[Any, ...]]] = {
        "discretization": DISCRETIZATIONS,
        "threshold_test": ("after", "before"),
        "reset_at": ("end", "start"),
        "w_in_scaling": SCALINGS,
        "membrane_current": (None, *CURRENTS),
    }

    def __post_init__(self) -> None:
        """Check the arguments and make them hashable."""
        names = names_to_learn(getattr(self, "learn", ()), self.parameter_names, type(self).__name__)
        object.__setattr__(self, "learn", names)
        super().__post_init__()
        for name, known in self.options.items():
            value = getattr(self, name, known[0])
            if not any(type(value) is type(choice) and value == choice for choice in known):
                self._refuse_argument(name, f"one of {', '.join(map(repr, known))}")
        self._check_times()
        self._check_firing()

    @nn.nowrap
    def _refuse_argument(self, name: str, expected: str) -> None:
        raise ArgumentError(f"{type(self).__name__}({name}={getattr(self, name)!r}); expected {expected}.")

    @nn.nowrap
    def _check_times(self) -> None:
        dt = cast(Any, self).dt
        if isinstance(dt, bool) or not isinstance(dt, int | float | np.number) or not 0 < dt < np.inf:
            self._refuse_argument("dt", "the length of a step in seconds, one positive number, as dt=1e-4")
        for name in self.time_constants:
            tau = self._given(name)
            if np.any(tau <= 0):
                self._refuse_argument(name, "seconds > 0")
            if getattr(self, "discretization", "") == "euler" and np.any(tau < dt):
                self._refuse_argument(
                    name,
                    f"at least dt={dt}, since Euler's step overshoots beyond. Take a smaller dt, or "
                    "discretization='exact'; time constants and dt are both in seconds",
                )

    @nn.nowrap
    def _check_firing(self) -> None:
        if "v_threshold" not in self.parameter_names:
            return
        given = cast(Any, self)
        if given.reset_delay and given.threshold_test == "before":
            self._refuse_argument("reset_delay", "False: threshold_test='before' delays the spike itself")
        if given.reset_mechanism != "nir":
            return
        threshold, reset = self._given("v_threshold"), self._given("v_reset")
        try:
            np.broadcast_shapes(reset.shape, threshold.shape)
        except ValueError:
            self._refuse_argument("v_reset", f"one number, or an array as v_threshold, {threshold.shape}")

    @nn.nowrap
    def pending(self, like: jax.Array) -> jax.Array:
        """The spikes of the step to come, of the shape and type of ``like``, if they are known before its input is.

        A neuron with ``threshold_test="before"`` that keeps its own state decides by the membrane before the step.
        """
        known = self.get_variable("hidden", "mem") if self.has_variable("hidden", "mem") else None
        mem = jnp.zeros_like(like) if known is None else jnp.asarray(known)
        if self.has_variable("forced", "spk"):
            return jnp.asarray(self.get_variable("forced", "spk"), mem.dtype)
        rule = self._firing(mem)
        return rule.spike(mem - rule.threshold).astype(mem.dtype)

    @nn.nowrap
    def _given(self, name: str) -> np.ndarray:
        return np.asarray(getattr(self, name), np.float64)

    @nn.nowrap
    def _constant(self, name: str, like: jax.Array) -> Constant:
        """The parameter ``name``: in double precision if it is fixed, else at least in single."""
        wide = jax.ShapeDtypeStruct(like.shape, jnp.promote_types(like.dtype, jnp.float32))
        value = self._value(name, cast(jax.Array, wide), name in getattr(self, "learn", ()))
        return self._aligned(name, self._given(name), like) if isinstance(value, np.ndarray) else value

    @nn.nowrap
    def _leaky(self, tau: str, like: jax.Array) -> Membrane:
        """The coefficients of a leaky membrane with the time constant called ``tau``, in double precision."""
        given = cast(Any, self)
        values = [self._constant(name, like) for name in (tau, "r", "v_leak")]
        return leaky(values[0], values[1], values[2], given.dt, given.discretization)

    @nn.nowrap
    def _firing(self, like: jax.Array) -> Firing:
        """How this neuron fires and resets a membrane such as ``like``."""
        given = cast(Any, self)
        rule = Firing(
            threshold=self._constant("v_threshold", like),
            v_reset=self._constant("v_reset", like),
            spike=step_function if given.surrogate_disable else given.spike_grad or surrogate.atan(),
            reset=given.reset_mechanism,
            test_before=given.threshold_test == "before",
            delayed=given.reset_delay,
            at_start=given.reset_at == "start",
        )
        threshold, v_reset = rounded((rule.threshold, rule.v_reset), like.dtype)
        return rule._replace(threshold=threshold, v_reset=v_reset)


class Integrator(NIRNeuron):
    """Base of the neurons of NIR that do not fire: ``mem, *states = neuron(x, *states)``, ``mem`` for output.

    They are networks' members as the others are: the next layer gets the membrane, ``output=True`` also
    returns the states, and ``record`` holds the input and the states, but no ``spk``.
    """

    spiking: ClassVar[bool] = False
    reset_mechanism: ClassVar[str] = "none"
    spike_grad: ClassVar[None] = None
    surrogate_disable: ClassVar[bool] = True
