"""What every neuron does around its equation: arguments, parameters, state, recording."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Any, ClassVar, Protocol, cast

import flax.linen as nn
import jax
import jax.numpy as jnp
import numpy as np
from jax.typing import ArrayLike

from snnax import checks, surrogate
from snnax.dynamics.arithmetic import Constant
from snnax.dynamics.equation import Equation, step
from snnax.dynamics.firing import RESET_MECHANISMS, FiringRule, step_function
from snnax.errors import ArgumentError, HiddenStateTypeError, ShapeError, StateError, TorchLineError
from snnax.modules import Module
from snnax.neurons.buffers import buffer
from snnax.neurons.elementwise import check_elementwise, check_surrogate
from snnax.neurons.looped import note_call
from snnax.neurons.values import FrozenArray, Parameter

__all__ = ["Quantizer", "SpikeFunction", "SpikingNeuron"]

SpikeFunction = Callable[[jax.Array], jax.Array]
"""From ``mem - threshold`` to spikes, as the functions of :mod:`snnax.surrogate` return."""

Quantizer = Callable[[jax.Array], jax.Array]
"""From a state to the state on a grid; hashable, as a function or a frozen dataclass is."""

States = tuple[jax.Array, ...]


_STATE_DTYPES = ("float16", "bfloat16", "float32", "float64")


def _state_dtype(value: Any, what: str) -> Any:
    """A type that a state can have; those of 8 bits hold no membrane."""
    found = checks.dtype(value, what)
    if found.name not in _STATE_DTYPES:
        raise checks.refuse(what, value, f"one of {', '.join(_STATE_DTYPES)}, as jnp.float32")
    return found


class _Arguments(Protocol):
    """The fields that all neurons have, each at the position that snnTorch gives it."""

    threshold: Parameter
    spike_grad: SpikeFunction | None
    surrogate_disable: bool
    init_hidden: bool
    inhibition: bool
    learn_threshold: bool
    reset_mechanism: str
    state_quant: Quantizer | bool | None
    output: bool


class SpikingNeuron(Module, kw_only=True):
    """Base of the neurons: one call is one time step, ``spk, *states = neuron(x, *states)``.

    Subclasses have snnTorch's arguments as fields, in its order and with its defaults. These are shared:

    * ``threshold``: number or array; the neuron fires above it, not at it. ``learn_threshold`` trains it.
    * ``spike_grad``: a function of :mod:`snnax.surrogate`; ``None`` is ``atan()``.
    * ``surrogate_disable``: no gradient through spikes, whatever ``spike_grad`` is.
    * ``init_hidden``: the neuron keeps its states itself, in the collection ``hidden``, and is called with
      the input alone. It then returns the spikes only, unless ``output=True``. Otherwise states are
      arguments, ``None`` means where they start, and nothing is kept between calls.
    * ``inhibition``: of each sample of ``[B, N]`` only the neuron furthest above threshold may fire.
    * ``reset_mechanism``: ``"subtract"`` the threshold, reset to ``"zero"``, or ``"none"``.
    * ``state_quant``: function from a state to the quantized state, applied to each state after its update.
    * ``output``: return the states as well with ``init_hidden=True``.
    * ``state_dtype`` (by name only, on every neuron): the floating type that states are kept and the equation is
      computed in, whatever type the input has, as ``jnp.float32``; ``None`` is explained below.
    * ``reset_delay`` (where the neuron has it): the reset acts in the step after the spike. With ``False`` it
      acts at once; a membrane that stays above threshold is still reset before it charges, and what was reset
      too much is put back if it then does not fire, as in snnTorch.

    Values are numbers, or arrays that broadcast from the right to one sample (images: channels last).
    Collections: ``params`` holds what is learned, ``buffers`` fixed arrays (and, if it holds a name, wins
    over the argument), ``hidden`` states, ``record`` what a step did if it is mutable (``input``, states,
    ``spk``), ``forced`` the spikes to emit instead of the neuron's own.

    States are float32, float64 if the input is. A layer in lower precision before the neuron, as
    ``Dense(dtype=jnp.bfloat16)``, does not change that; a state that is handed in as bfloat16, as argument or in
    ``hidden``, stays bfloat16 as long as the input is. With ``state_dtype`` neither matters: the input, the states and
    all parameters are taken in that type before the step. Spikes have the type of the states; the layer behind takes
    them in its own (``Dense(dtype=jnp.bfloat16)``), which holds 0 and 1.

    Raises:
        ArgumentError: at construction, for a bad argument.
        HiddenStateTypeError: a state is passed although ``init_hidden=True``.
        StateError: a state does not fit the input (the same shape, unless the neuron says otherwise), or
            ``hidden`` is not mutable.
        ShapeError: a parameter does not broadcast to the input, or inhibition on a shape other than
            ``[B, N]``.
        ArgumentError: in a call, if the variables hold ``params`` but lack the ``buffers`` that belong to them.

    Compared with snnTorch: with ``init_hidden=False`` its neurons still remember their last state if none is
    passed, and a state of another shape than the input is silently replaced by zeros; here nothing is kept,
    and a misfit is an error. Spikes have the dtype of the states (there, spikes are always float32), and a Python
    number is rounded once, to that dtype (there, to float32 first).

    Attributes:
        state_names: names of the states, in the order in which they are passed and returned.
        state_starts: what they are before the first step, by name, where that is not zero.
        parameter_names: fields that hold numbers or arrays.
        reset_mechanisms: what ``reset_mechanism`` may be.
        spiking: whether the first thing that it returns are spikes, not a membrane.
        snntorch_inits: names of snnTorch's for :meth:`reset_mem`, besides ``init_`` and that of the class.
    """

    state_names: ClassVar[tuple[str, ...]] = ()
    state_starts: ClassVar[Mapping[str, float]] = {}
    parameter_names: ClassVar[tuple[str, ...]] = ()
    reset_mechanisms: ClassVar[tuple[str, ...]] = RESET_MECHANISMS
    spiking: ClassVar[bool] = True
    snntorch_inits: ClassVar[tuple[str, ...]] = ()

    state_dtype: Any = None

    def __post_init__(self) -> None:
        """Check the arguments and make them hashable."""
        kind = type(self).__name__
        for name in self.parameter_names:
            object.__setattr__(self, name, FrozenArray.finite(getattr(self, name), f"{kind}({name}=...)"))
        given = cast(_Arguments, self)
        checks.fields(self, state_dtype=checks.maybe(_state_dtype))
        if not isinstance(given.reset_mechanism, str) or given.reset_mechanism not in self.reset_mechanisms:
            raise ArgumentError(
                f"{kind}(reset_mechanism={given.reset_mechanism!r}); expected one of "
                f"{', '.join(self.reset_mechanisms)}."
            )
        check_surrogate(given.spike_grad, f"{kind}(spike_grad=...)")
        if given.state_quant is not None and given.state_quant is not False:
            check_elementwise(
                given.state_quant,
                f"{kind}(state_quant=...)",
                "False or a function from a state to the quantized state, as "
                "state_quant=snnax.functional.quant.state_quant(num_bits=4)",
            )
        super().__post_init__()

    @nn.nowrap
    def __getattr__(self, name: str) -> Any:
        """As the base's; also snnTorch's ``init_leaky()`` and so on, and states, which are not kept."""
        if name in (f"init_{type(self).__name__.lower()}", *type(self).snntorch_inits):
            return self.reset_mem
        if name in type(self).state_names:
            raise TorchLineError(
                f"{type(self).__name__} does not keep {name!r}; a step returns it, as {self._works()}."
            )
        return super().__getattr__(name)

    @nn.nowrap
    def reset_mem(self) -> Any:
        """The states to start from, numbers that broadcast to the first input, as snnTorch's ``mem = lif.reset_mem()``.

        Raises:
            TorchLineError: the neuron keeps its states in ``variables``, or takes a whole sequence at once.
        """
        kind = type(self).__name__
        if self._keeps_state():
            raise TorchLineError(
                f"{kind}(init_hidden=True) keeps its state in variables; write "
                "variables = snnax.utils.reset(variables)."
            )
        if getattr(self, "sequence", False):
            raise TorchLineError(
                f"{kind} starts each sequence from rest and keeps nothing; leave the line out."
            )
        starts = tuple(jnp.asarray(self.state_starts.get(name, 0.0)) for name in self.state_names)
        return starts[0] if len(starts) == 1 else starts

    @nn.nowrap
    def _nickname(self) -> str:
        return "lif"

    @nn.nowrap
    def _returned(self) -> str:
        states = [name for name in self.state_names if name != "spk"]
        first = "spk" if self.spiking else "out"
        given = cast(_Arguments, self)
        every = given.output or not (given.init_hidden or getattr(self, "sequence", False))
        return ", ".join([first, *states]) if every else first

    @nn.nowrap
    def _works(self) -> str:
        if self._keeps_state() or getattr(self, "sequence", False):
            return super()._works()
        states = ", ".join(self.state_names)
        return (
            f"{self._returned()} = lif.apply(variables, x, {states}), with "
            f"variables = lif.init(jax.random.key(0), x) and {' = '.join(self.state_names)} = None at first"
        )

    @nn.nowrap
    def _value(self, name: str, like: jax.Array, learn: bool = False) -> Constant:
        """The parameter, buffer or fixed value ``name``, in the dtype of ``like`` and aligned to its axes.

        A fixed value stays a NumPy array, so that the equations can tell it from a variable.
        """
        given = getattr(self, name)

        def start(*_: Any) -> jax.Array:
            dtype = jnp.promote_types(like.dtype, jnp.float32)
            return jnp.asarray(checks.rounded(given, dtype, f"{self._label()}({name}=...)"))

        value: Constant
        if learn and self.has_variable("params", name):
            value = jnp.asarray(self.get_variable("params", name), like.dtype)
        elif learn:
            value = self.param(name, start).astype(like.dtype)
        else:
            kept = buffer(self, name, start, isinstance(given, FrozenArray))
            if kept is None:
                value = checks.rounded(given, like.dtype, f"{self._label()}({name}=...)")
            else:
                value = kept.astype(like.dtype)
        return self._aligned(name, value, like)

    @nn.nowrap
    def _aligned(self, name: str, value: Constant, like: jax.Array) -> Constant:
        if value.ndim == 0:
            return value
        fits = value.ndim <= like.ndim and all(
            size in (1, length) for size, length in zip(value.shape[::-1], like.shape[::-1], strict=False)
        )
        if not fits:
            raise ShapeError(
                f"{self._label()}: {name} has shape {value.shape}, the input {like.shape}. Expected "
                f"one number, or an array that broadcasts from the right to one sample, as {like.shape[-1:]}."
            )
        return value.reshape((1,) * (like.ndim - value.ndim) + value.shape)

    @nn.nowrap
    def _rule(self, like: jax.Array) -> FiringRule:
        """How this neuron fires and resets a membrane such as ``like``."""
        given = cast(_Arguments, self)
        spike = step_function if given.surrogate_disable else given.spike_grad or surrogate.atan()
        return FiringRule(
            threshold=self._value("threshold", like, given.learn_threshold),
            spike=spike,
            reset=given.reset_mechanism,
            reset_delay=getattr(self, "reset_delay", True),
            inhibition=given.inhibition,
            quantize=cast(Quantizer, given.state_quant) if given.state_quant else None,
        )

    @nn.nowrap
    def enter(self, x: ArrayLike, *given: ArrayLike | None) -> tuple[jax.Array, States]:
        """Input and states before the step, in one dtype: the given ones, the stored ones, or where they start."""
        x = jnp.asarray(x)
        note_call(x, self)
        if cast(_Arguments, self).init_hidden:
            self._refuse(given)
            given = self._stored()
        known = [
            None if s is None else checks.array(s, f"{self._label()}({name}=...)")
            for name, s in zip(self.state_names, given, strict=True)
        ]
        if not cast(_Arguments, self).init_hidden:
            x, known = self._spread(x, known)
        shape = self._state_shape(x)
        for name, state in zip(self.state_names, known, strict=True):
            if state is not None and state.shape != shape:
                raise StateError(self._misfit(name, state, x))
        # a decay of 0.999 is 1 in bfloat16: a state that nobody handed in is not narrower than float32
        dtype = self._precision(jnp.result_type(x, *(jnp.float32 if s is None else s for s in known)))
        if not jnp.issubdtype(dtype, jnp.floating):
            dtype = jnp.dtype(jnp.float32)
        states = tuple(
            jnp.full(shape, self.state_starts.get(name, 0.0), dtype) if s is None else s.astype(dtype)
            for name, s in zip(self.state_names, known, strict=True)
        )
        return x.astype(dtype), states

    @nn.nowrap
    def _precision(self, found: Any) -> Any:
        """The type of the states: ``state_dtype``, or the one that input and states have."""
        if self.state_dtype is None:
            return found
        if self.state_dtype == jnp.float64 and not jax.config.jax_enable_x64:
            raise ArgumentError(
                f"{self._label()}(state_dtype=jnp.float64) without JAX's x64 mode, where there is no float64. Call "
                "jax.config.update('jax_enable_x64', True) first, or pass state_dtype=jnp.float32."
            )
        return self.state_dtype

    @nn.nowrap
    def _spread(
        self, x: jax.Array, states: list[jax.Array | None]
    ) -> tuple[jax.Array, list[jax.Array | None]]:
        """One number for all neurons, as input or state (``[]`` or ``[1]``), in the shape of the rest."""
        if x.ndim <= 1 and x.size == 1:
            wider = (s.shape for s in states if s is not None and (s.ndim > x.ndim or s.size > 1))
            x = jnp.broadcast_to(x.reshape(()), next(wider, x.shape))
        shape = self._state_shape(x)
        spread = [
            s if s is None or s.size != 1 or s.ndim > 1 else jnp.broadcast_to(s.reshape(()), shape)
            for s in states
        ]
        return x, spread

    @nn.nowrap
    def _state_shape(self, x: jax.Array) -> tuple[int, ...]:
        """Shape of each state for the input ``x``."""
        return x.shape

    @nn.nowrap
    def sample_shape(self) -> tuple[int, ...]:
        """Shape of one sample that this neuron takes, as far as its arguments tell: an axis that may be any is 1."""
        held = (value for value in vars(self).values() if isinstance(value, FrozenArray))
        return np.broadcast_shapes(*(np.shape(value) for value in held))

    @nn.nowrap
    def equation(self, like: jax.Array) -> Equation:
        """This neuron's equation with its present values, for a membrane such as ``like``.

        A neuron offers it and no more: a call is one step of it, :func:`~snnax.unroll` runs many in one loop.
        """
        raise NotImplementedError(f"{type(self).__name__} steps by a rule of its own.")

    @nn.nowrap
    def takes_steps(self) -> bool:
        """Whether a loop over its :meth:`equation` does what its calls do.

        So it does if the reset waits for the next step, and nothing else intervenes.
        """
        given = cast(_Arguments, self)
        kinds = type(self).__mro__
        offered, called = (
            next(place for place, kind in enumerate(kinds) if name in vars(kind))
            for name in ("equation", "__call__")
        )
        return (
            offered <= called  # a subclass with a step of its own may do anything
            and given.init_hidden
            and getattr(self, "reset_delay", True)
            and not given.inhibition
            and not given.state_quant
        )

    @nn.nowrap
    def parted(self, states: States) -> tuple[States, jax.Array | None]:
        """The states of the :meth:`equation`, and the spikes of the step before where these are a state as well."""
        return (states[1:], states[0]) if self.state_names[0] == "spk" else (states, None)

    @nn.nowrap
    def _step(self, x: ArrayLike, *given: ArrayLike | None) -> Any:
        """One step of the :meth:`equation`."""
        x, states = self.enter(x, *given)
        before, fired = self.parted(states)
        after, spk = step(self.equation(x), before, x, fired)
        return self.leave(x, spk, after)

    @nn.nowrap
    def leave(self, x: jax.Array, spk: jax.Array, states: Any, last: States | None = None) -> Any:
        """Record and store the step; returns what snnTorch returns.

        ``states`` are those after the step, without the ``spk`` that recurrent neurons have as first. Of several
        steps at once, ``[T, ...]``, ``last`` are the spikes and states after the last.
        """
        names = tuple(n for n in self.state_names if n != "spk")
        after = dict(zip(names, states, strict=True))
        if not self.is_initializing():
            spikes = {"spk": spk} if self.spiking else {}
            for name, value in {"input": x, **after, **spikes}.items():
                self.sow("record", name, value, reduce_fn=lambda _, new: new, init_fn=lambda: None)
        if self.has_variable("forced", "spk"):
            spk = jnp.asarray(self.get_variable("forced", "spk"), spk.dtype)
        given = cast(_Arguments, self)
        if given.init_hidden:
            kept = (spk, *states) if last is None else last
            self._store(dict(zip(("spk", *names), kept, strict=True)))
        if given.output or not given.init_hidden:
            return spk, *states
        return spk

    @nn.nowrap
    def _stored(self) -> tuple[ArrayLike | None, ...]:
        return tuple(
            self.get_variable("hidden", name) if self.has_variable("hidden", name) else None
            for name in self.state_names
        )

    @nn.nowrap
    def _store(self, after: dict[str, jax.Array]) -> None:
        """Keep the state for the next call; ``init`` only makes room for it."""
        if not self.is_mutable_collection("hidden"):
            if self.is_initializing():
                return
            raise StateError(
                f"{self._label()} keeps its own state (init_hidden=True), but the collection 'hidden' is not "
                "mutable in this call. Call apply(variables, x, mutable=['hidden']) and carry the result on."
            )
        for name in self.state_names:
            start = self.state_starts.get(name, 0.0)
            value = jnp.full_like(after[name], start) if self.is_initializing() else after[name]
            self.put_variable("hidden", name, value)

    @nn.nowrap
    def _refuse(self, given: tuple[ArrayLike | None, ...]) -> None:
        if passed := [n for n, s in zip(self.state_names, given, strict=True) if s is not None]:
            raise HiddenStateTypeError(
                f"{self._label()} keeps its own state (init_hidden=True) but was passed {', '.join(passed)}. "
                "Call it with the input alone, or build it with init_hidden=False."
            )

    @nn.nowrap
    def _misfit(self, name: str, state: jax.Array, x: jax.Array) -> str:
        if cast(_Arguments, self).init_hidden:
            return (
                f"{self._label()}: the stored state {name!r} has shape {state.shape}, the input {x.shape}. "
                "For another batch size start anew: leave the collection 'hidden' out of the variables, as "
                "snnax.utils.reset(variables) does."
            )
        shape = self._state_shape(x)
        wanted = "the shape of the input" if shape == x.shape else f"shape {shape}"
        return (
            f"{self._label()}: the state {name!r} has shape {state.shape}, the input {x.shape}. Pass a state "
            f"of {wanted}, or {name}=None to start anew."
        )
