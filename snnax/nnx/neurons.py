"""Every neuron as an NNX module, made from its linen class: arguments, equation and numbers are those of that class."""

from __future__ import annotations

import inspect
import types
from collections.abc import Mapping
from typing import Any, ClassVar

import jax
import jax.numpy as jnp
import numpy as np
from flax import nnx
from flax.core import unfreeze
from flax.traverse_util import flatten_dict, unflatten_dict

from snnax import checks, neurons
from snnax.errors import ArgumentError, StateError
from snnax.network.states import initial_hidden
from snnax.neurons.base import SpikingNeuron
from snnax.nnx.variables import KINDS, Buffer, Hidden, is_variable

__all__ = ["LINEN", "Neuron", "class_of"]

_PLACE = ("parent", "name")

LINEN: dict[str, type[SpikingNeuron]] = {
    name: kind
    for name in neurons.__all__
    if isinstance(kind := getattr(neurons, name), type) and issubclass(kind, SpikingNeuron)
}
"""The public neurons by name, each of which has its class here."""


class Neuron(nnx.Module):
    """Any neuron of snnax as a module of ``flax.nnx``; the base of ``snnax.nnx.Leaky`` and all others.

    With ``init_hidden=False`` states are arguments, ``spk, mem = lif(x, mem)``, and ``None`` is where they start. With
    ``init_hidden=True`` the module keeps them: ``spk = lif(x)`` for one time step on ``x`` ``[B, ..., N]``.

    What is learned is ``nnx.Param`` (``lif.beta``, ``lif.recurrent["kernel"]``), fixed arrays are :class:`Buffer`,
    states that are kept :class:`Hidden` (``lif.mem``). These are empty, of shape ``(0,)``, until the first call, which
    gives them the shape of its input. ``nnx.split``, ``nnx.jit``, ``nnx.grad`` and ``nnx.Optimizer`` work as on any
    module; under ``nnx.scan``, which carries arrays of one shape, call :meth:`reset` with an input first.
    Arguments that are no variables are read as attributes: ``lif.reset_mechanism``.

    Args:
        neuron: a neuron as linen module: of this package, of a class of your own, or of :func:`snnax.neuron`.
        x: an input of one step, ``[B, ...]``, needed only for a neuron of your own whose variables depend on its
            shape.
        rngs: keys: ``params`` for neurons that draw weights.

    Raises:
        ArgumentError: ``neuron`` is no neuron, or it draws weights and ``rngs`` are not given.
        HiddenStateTypeError: a state is passed although ``init_hidden=True``.
        StateError: an input has another batch size than the state that is kept: call :meth:`reset`.

    Example:
        >>> import jax.numpy as jnp, snnax as snn
        >>> from flax import nnx
        >>> lif = snn.nnx.Leaky(beta=0.5, learn_beta=True, init_hidden=True)
        >>> for x in (0.75, 0.75, 0.75):
        ...     print(float(lif(jnp.full((1, 1), x))[0, 0]), float(lif.mem[0, 0]))
        0.0 0.75
        1.0 1.125
        0.0 0.3125
        >>> lif.reset()
        >>> float(nnx.grad(lambda lif: lif(jnp.ones((1, 1))).sum() + lif.beta[...])(lif)["beta"][...])
        1.0

    A network is a module that holds some, or flax's ``nnx.Sequential``:

        >>> net = nnx.Sequential(
        ...     nnx.Linear(3, 4, rngs=nnx.Rngs(0)), snn.nnx.Leaky(beta=0.9, init_hidden=True)
        ... )
        >>> net(jnp.ones((8, 3))).shape
        (8, 4)

    Compared with linen: the same numbers to the last bit; there variables are handed in and returned.
    Compared with snnTorch: its calls, with and without ``init_hidden``; ``reset`` is ``reset_mem`` there. Compared with
    :class:`Network`: this is one neuron, for models that are written in NNX.
    """

    linen: ClassVar[type[SpikingNeuron]] = SpikingNeuron

    @checks.takes(
        neuron=checks.instance(SpikingNeuron, "a neuron, as snnax.Leaky(beta=0.9)"),
        rngs=checks.maybe(checks.instance(nnx.Rngs, "keys, as rngs=nnx.Rngs(0)")),
    )
    def __init__(self, neuron: SpikingNeuron, x: Any = None, *, rngs: nnx.Rngs | None = None) -> None:
        self.neuron = neuron
        if x is None:
            axes = (1, 1) if _whole(neuron) else (1,)
            x = jnp.zeros((*axes, *(neuron.sample_shape() or (1,))), jnp.float32)
        tree = self._initial(checks.array(x, f"{type(neuron).__name__}(x=...)"), rngs)
        tree["hidden"] = dict.fromkeys(tree.get("hidden", {}), jnp.zeros(0))
        held: dict[tuple[str, ...], Any] = {}
        for collection, values in tree.items():
            # a submodule may have weights in one collection and fixed arrays in another
            held |= {
                path: KINDS.get(collection, Buffer)(value) for path, value in flatten_dict(values).items()
            }
        for name, value in unflatten_dict(held).items():
            setattr(self, name, value if is_variable(value) else nnx.data(value))

    def _initial(self, x: jax.Array, rngs: nnx.Rngs | None) -> dict[str, Any]:
        """Variables that linen's ``init`` gives; without keys only where they do not depend on any."""
        if rngs is not None:
            return unfreeze(self.neuron.init(rngs.params(), x))
        with jax.ensure_compile_time_eval():  # also where a whole model is built under jit
            first, second = (self.neuron.init(jax.random.key(seed), x) for seed in (0, 1))
        pairs = zip(jax.tree.leaves(first), jax.tree.leaves(second), strict=True)
        if not all(np.array_equal(a, b) for a, b in pairs):
            kind = type(self.neuron).__name__
            raise ArgumentError(
                f"nnx.{kind}() got no rngs, and its weights are drawn; pass rngs=nnx.Rngs(0)."
            )
        return unfreeze(first)

    def variables(self) -> dict[str, Any]:
        """The variables as linen has them: ``lif.neuron.apply(lif.variables(), x)``, converters."""
        collections = {kind: collection for collection, kind in KINDS.items()}
        found: dict[str, dict[Any, Any]] = {}
        for path, variable in self._held().items():
            if not isinstance(variable, Hidden) or variable[...].shape != (0,):
                found.setdefault(collections.get(type(variable), "buffers"), {})[path] = variable[...]
        return {collection: unflatten_dict(values) for collection, values in found.items()}

    def _held(self) -> dict[tuple[str, ...], nnx.Variable[Any]]:
        held = {
            name: value for name, value in vars(self).items() if is_variable(value) or type(value) is dict
        }
        return {path: value for path, value in flatten_dict(held).items() if is_variable(value)}

    def __call__(self, x: Any, *states: Any, **named: Any) -> Any:
        """One time step, or the whole sequence for neurons that take one: what the linen module returns.

        Args:
            x: ``[B, ..., N]``.
            states: of a neuron that keeps none, in its order.
            named: states by name.
        """
        variables, keeps = self.variables(), bool(getattr(self.neuron, "init_hidden", False))
        if not keeps:
            return self.neuron.apply(variables, x, *states, **named)
        try:
            y, updates = self.neuron.apply(variables, x, *states, mutable=["hidden"], **named)
        except StateError as error:
            raise StateError(f"{error} In nnx: call reset() of this neuron.") from None
        self._keep(unfreeze(updates).get("hidden", {}))
        return y

    def reset(self, x: Any = None) -> None:
        """States that are kept back to where they start, as before the first step.

        Args:
            x: one step's input ``[B, ...]``, whose shape they get; without it the next call gives it.
        """
        if x is None:
            for value in vars(self).values():
                if isinstance(value, Hidden):
                    value.set_value(jnp.zeros(0))
        elif getattr(self.neuron, "init_hidden", False):
            known = {name: tree for name, tree in self.variables().items() if name != "hidden"}
            self._keep(initial_hidden(self.neuron, known, checks.array(x, "reset(x)")))

    def _keep(self, hidden: Mapping[str, jax.Array]) -> None:
        for name, value in hidden.items():
            vars(self)[name].set_value(value)

    def __setattr__(self, name: str, value: Any) -> None:
        """What nnx sets, but no argument of the neuron, which would not see it, and no array in a variable's place."""
        neuron, variable = vars(self).get("neuron"), is_variable(vars(self).get(name))
        argument = name in getattr(type(neuron), "__dataclass_fields__", ())
        if (argument or variable) and not is_variable(value):
            kind = type(neuron).__name__
            remedy = (
                f"lif.{name}.set_value(...)"
                if variable
                else f"a new one, as snnax.nnx.{kind}(..., {name}={checks.shown(value)})"
            )
            raise ArgumentError(
                f"{kind}: {name} cannot be assigned in a neuron that is built; expected {remedy}."
            )
        super().__setattr__(name, value)

    def __getattr__(self, name: str) -> Any:
        """An argument of the neuron that is no variable."""
        neuron = vars(self).get("neuron")
        if neuron is not None and name in type(neuron).__dataclass_fields__ and name not in _PLACE:
            return getattr(neuron, name)
        raise AttributeError(f"{type(self).__name__!r} object has no attribute {name!r}")


def class_of(kind: type[SpikingNeuron]) -> type[Neuron]:
    """The NNX class of a linen neuron: what it is built with is what the linen class is built with."""

    def __init__(
        self: Neuron, *args: Any, x: Any = None, rngs: nnx.Rngs | None = None, **fields: Any
    ) -> None:
        Neuron.__init__(self, kind(*args, **fields), x, rngs=rngs)

    given = [p for p in inspect.signature(kind).parameters.values() if p.name not in _PLACE]
    here = [inspect.Parameter(name, inspect.Parameter.KEYWORD_ONLY, default=None) for name in ("x", "rngs")]
    members = {
        "__init__": __init__,
        "__doc__": _described(kind, [p.name for p in given]),
        "__module__": "snnax.nnx",
        "__signature__": _OfTheClass(inspect.Signature([*given, *here])),
        "linen": kind,
    }
    return types.new_class(kind.__name__, (Neuron,), exec_body=lambda body: body.update(members))


class _OfTheClass:
    """The signature of a class, which is not that of a call of its instances."""

    def __init__(self, signature: inspect.Signature) -> None:
        self.signature = signature

    def __get__(self, instance: Any, owner: type) -> inspect.Signature:
        if instance is not None:
            raise AttributeError("__signature__")
        return self.signature


def _described(kind: type[SpikingNeuron], arguments: list[str]) -> str:
    first = (inspect.getdoc(kind) or "").partition("\n")[0].removesuffix(".")
    linen = f":class:`snnax.{kind.__name__}`"
    text = f"""\
    {first}, as a module of ``flax.nnx``.

    Equation, shapes, arguments and numbers are those of {linen}. Call: ``{_call(kind)}``; with ``init_hidden=True`` the
    input alone, for one time step. See :class:`Neuron` for how states are kept and reset.

    Args:
        {", ".join(arguments)}: as those of {linen}, in its order.
        x: an input of one step, if the shape of the variables depends on it.
        rngs: keys: ``params`` for neurons that draw weights.

    Compared with linen: the same to the last bit. Compared with snnTorch: see {linen}.
    """
    return inspect.cleandoc(text)


def _call(kind: type[SpikingNeuron]) -> str:
    if getattr(kind, "sequence", False):
        return "neuron(x)"
    states = ", ".join(kind.state_names)
    rest = ", ".join(name for name in kind.state_names if name != "spk")
    return f"{'spk' if kind.spiking else 'out'}, {rest} = neuron(x, {states})"


def _whole(neuron: Any) -> bool:
    return bool(getattr(neuron, "sequence", False) and not neuron.init_hidden)
