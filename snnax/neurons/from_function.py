"""A neuron from one plain function: its step."""

from __future__ import annotations

import inspect
import keyword
from collections.abc import Callable, Mapping
from functools import partial
from typing import Any, cast

import jax
import jax.numpy as jnp

from snnax import checks
from snnax.dynamics.arithmetic import Constant
from snnax.dynamics.equation import States
from snnax.dynamics.firing import FiringRule, discharge
from snnax.errors import ArgumentError
from snnax.neurons.custom import CustomNeuron
from snnax.neurons.values import FrozenArray, Parameter

__all__ = ["neuron"]

_OFFERED = ("spk", "reset", "threshold")
"""What a step may ask for by name, besides the numbers."""

_TAKEN = {"x", "input", "charge", *_OFFERED}
"""Names of something else than a state or a number, besides the attributes of every neuron."""


@checks.takes(step=checks.call("def step(x, mem, *, beta, reset): return reset(beta * mem + x)"))
def neuron(
    step: Callable[..., Any],
    states: Mapping[str, float],
    parameters: Mapping[str, Parameter] | None = None,
    name: str | None = None,
    level: Callable[..., Any] | None = None,
) -> type[CustomNeuron]:
    r"""A neuron class from the function that computes its step.

    .. math:: x_t = \text{step}(I_t, x_{t-1}, R), \qquad R = [L_{t-1} > \theta], \qquad S_t = [L_t > \theta]

    where :math:`x` are the states and :math:`L` is the last of them, the membrane, or what ``level`` makes of all:
    ``step`` says what they become, the class fires where :math:`L` is above ``threshold``, with the gradient of
    ``spike_grad``. All arrays have one shape, ``[B, ..., N]``.

    ``step(x, *states)`` takes the input and then the states, in their order and by their names, and returns the states
    after the step: a tuple, or the array if there is one. Whatever else it needs it takes by name:

    * each of ``parameters``;
    * ``spk``: :math:`R`, 1 where the neuron fired in the step before and else 0, without gradient;
    * ``reset``: a function from a membrane to the one after the reset that is due, as ``reset_mechanism`` says:
      ``mem - spk * threshold``, ``mem - spk * mem``, ``mem - spk * (mem - v_reset)``, or ``mem`` itself;
    * ``threshold``.

    A step without ``reset`` resets as it likes: it has no ``reset_mechanism="zero"`` or ``"value"``, and with
    ``"none"`` its ``spk`` is 0.

    A threshold that moves is written as a level below the membrane by as much as it has risen, ``mem - tired``: firing
    at ``mem > threshold + tired`` is firing at ``mem - tired > threshold``.

    Args:
        step: elementwise in ``jax.numpy``, so that a neuron sees nothing of its neighbours.
        states: numbers from which the states start, by name, the membrane last.
        parameters: defaults of its numbers, by name. They are the arguments of the class: one number, or an array with
            one for each neuron, trained if ``learn`` names them.
        name: of the class; without it that of the function, ``my_neuron`` as ``MyNeuron``. Instances can be pickled if
            the class is bound to this name in the module of ``step``.
        level: what is compared with ``threshold`` in place of the last state: a function, elementwise as ``step``, of
            the states and numbers that it takes by their names. Such a neuron has no ``reset_delay=False``.

    Returns:
        A subclass of :class:`~snnax.neurons.CustomNeuron`, which says what else it takes, how fast it runs in
        :func:`~snnax.unroll`, and how it travels through NIR: ``interop.register_neuron(kind)``.

    Raises:
        ArgumentError: ``step`` or ``level`` is no function of these states and numbers, or a name or number does not
            fit.

    Example:
        >>> import jax.numpy as jnp, snnax as snn
        >>> def tiring(x, tired, mem, *, reset, spk, beta, rho):
        ...     return rho * tired + (1 - rho) * spk, reset(beta * mem + x)
        >>> Tiring = snn.neuron(tiring, states={"tired": 0.5, "mem": 0.0}, parameters={"beta": 0.5, "rho": 0.75},
        ...                     level=lambda mem, tired: mem - tired)
        >>> spk, tired, mem = Tiring(beta=0.25).apply({}, jnp.full((1, 1), 1.25))
        >>> float(spk[0, 0]), float(tired[0, 0]), float(mem[0, 0])
        (0.0, 0.375, 1.25)

    Compared with snnTorch: takes the place of a subclass of ``SpikingNeuron`` with a ``forward``. Norse's
    ``SNNCell(activation, state_fallback)`` takes a step that also fires; here the class does, so that the time loop
    knows where the gradient is a surrogate's.
    """
    starts = _numbers("states", states, "numbers by name, as {'mem': 0.0}")
    if not starts or not all(isinstance(value, float) for value in starts.values()):
        raise checks.refuse("neuron(states=...)", states, "one number for each state, as {'mem': 0.0}")
    values = _numbers(
        "parameters", {} if parameters is None else parameters, "numbers by name, as {'beta': 0.9}"
    )
    if both := starts.keys() & values.keys():
        raise ArgumentError(
            f"neuron(parameters=...): {sorted(both)} are states; give the numbers other names."
        )
    takes = _takes(step, tuple(starts), tuple(values))
    kind = _named(step) if name is None else checks.text(name, "neuron(name=...)")
    if not _is_name(kind):
        raise checks.refuse("neuron(name=...)", kind, "a name for the class, as name='Tiring'")
    members = {
        "__annotations__": dict.fromkeys(values, Parameter),
        "__doc__": inspect.getdoc(step) or f"The neuron of {getattr(step, '__qualname__', kind)}.",
        "__module__": getattr(step, "__module__", None) or __name__,
        **values,
        "state_names": tuple(starts),
        "state_starts": {key: value for key, value in starts.items() if value},
        "parameter_names": tuple(values),
        "reset_mechanisms": CustomNeuron.reset_mechanisms if "reset" in takes else ("subtract", "none"),
        "level": None if level is None else staticmethod(_level(level, tuple(starts), tuple(values))),
        "charge": staticmethod(_charge(step, tuple(values), takes)),
        "written_as": "step",
    }
    return cast(type[CustomNeuron], type(kind, (CustomNeuron,), members))


def _charge(
    step: Callable[..., Any], names: tuple[str, ...], takes: tuple[str, ...]
) -> Callable[..., States]:
    """``step`` in the form of :class:`CustomNeuron`'s ``charge``."""

    def charge(state: States, flag: jax.Array, x: jax.Array, rule: FiringRule, *numbers: Constant) -> States:
        due = jnp.zeros_like(flag) if rule.reset == "none" and "reset" not in takes else flag
        offered = {
            "spk": due,
            "reset": partial(_reset, flag, rule),
            "threshold": rule.threshold,
            **dict(zip(names, numbers, strict=True)),
        }
        after = step(x, *state, **{key: offered[key] for key in takes})
        single = len(state) == 1 and not isinstance(after, tuple)
        return (after,) if single else cast(States, after)

    return charge


def _level(
    level: Callable[..., Any], states: tuple[str, ...], names: tuple[str, ...]
) -> Callable[..., jax.Array]:
    """``level`` in the form of :class:`CustomNeuron`'s.

    Raises:
        ArgumentError: it is no function, or takes something else than states and numbers by name.
    """
    try:
        takes = tuple(inspect.signature(level).parameters)
    except (TypeError, ValueError):
        takes = ()
    if not takes or not set(takes) <= {*states, *names}:
        raise checks.refuse(
            "neuron(level=...)",
            level,
            f"a function of some of {', '.join((*states, *names))} by name, as lambda {states[-1]}: {states[-1]}",
        )

    def levelled(state: States, *numbers: Constant) -> jax.Array:
        offered = dict(zip((*states, *names), (*state, *numbers), strict=True))
        return cast(jax.Array, level(**{name: offered[name] for name in takes}))

    return levelled


def _reset(flag: jax.Array, rule: FiringRule, mem: jax.Array) -> jax.Array:
    return discharge(mem, flag, rule)


def _numbers(argument: str, given: Any, expected: str) -> dict[str, Any]:
    """Numbers by name, where the names are free."""
    table = checks.mapping(expected)(given, f"neuron({argument}=...)")
    for key in table:
        if not _is_name(key) or key in _TAKEN or hasattr(CustomNeuron, key):
            raise ArgumentError(
                f"neuron({argument}={{{key!r}: ...}}): {key!r} means something else in a neuron; expected another "
                "name, as 'mem' or 'beta'."
            )
    return {key: FrozenArray.finite(v, f"neuron({argument}={{{key!r}: ...}})") for key, v in table.items()}


def _is_name(text: str) -> bool:
    return text.isidentifier() and not keyword.iskeyword(text) and not text.startswith("_")


def _named(step: Callable[..., Any]) -> str:
    """``my_neuron`` as ``MyNeuron``."""
    name = getattr(step, "__name__", "")
    return "".join(part[:1].upper() + part[1:] for part in name.split("_"))


def _takes(step: Callable[..., Any], states: tuple[str, ...], numbers: tuple[str, ...]) -> tuple[str, ...]:
    """Which of what is offered by name ``step`` takes.

    Raises:
        ArgumentError: it does not take the states, or not each of the numbers, or needs something else.
    """
    line = f"def step(x, {', '.join(states)}, *, {', '.join((*numbers, 'reset'))})"
    try:
        known = list(inspect.signature(step).parameters.values())
    except (TypeError, ValueError):
        raise checks.refuse(
            "neuron(step=...)", step, f"a function whose arguments can be read, as {line}"
        ) from None
    first, rest = known[: 1 + len(states)], known[1 + len(states) :]
    positional = all(p.kind in (p.POSITIONAL_ONLY, p.POSITIONAL_OR_KEYWORD) for p in first)
    if not positional or tuple(p.name for p in first[1:]) != states or not first:
        raise ArgumentError(
            f"neuron(step={checks.shown(step)}) has the arguments ({', '.join(map(str, known))}); expected the input "
            f"and then the states by their names, as {line}."
        )
    named = {p.name: p for p in rest if p.kind in (p.POSITIONAL_OR_KEYWORD, p.KEYWORD_ONLY)}
    offered = (*numbers, *_OFFERED)
    needs = [str(p) for p in rest if p.name not in named or (p.default is p.empty and p.name not in offered)]
    if needs:
        raise ArgumentError(
            f"neuron(step=...) takes {', '.join(needs)}, which it would not get: by name it gets "
            f"{', '.join(offered)}. Name further numbers in parameters={{...}}."
        )
    if unused := [key for key in numbers if key not in named]:
        raise ArgumentError(
            f"neuron(parameters=...): step does not take {', '.join(unused)}; expected all of them by name, as {line}."
        )
    return tuple(key for key in offered if key in named)
