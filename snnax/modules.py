"""The base of snnax's modules: its errors at the border to flax, and the lines of torch scripts that still stand.

A line left over from snnTorch either works, or ends in an error that says which line to write for this module.
"""

from __future__ import annotations

import functools
import re
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from types import FunctionType
from typing import Any, ClassVar

import flax.linen as nn
import jax
import numpy as np
from flax import errors as flax_errors

from snnax import bound, checks
from snnax.eager import run
from snnax.errors import (
    ArgumentError,
    LayoutWarning,
    ShapeError,
    SnnaxError,
    StateError,
    TorchLineError,
    warn,
)

__all__ = ["Module", "check_layout", "check_numbers", "explained", "fitted"]

_MISSING = (
    flax_errors.ScopeParamNotFoundError,
    flax_errors.ScopeVariableNotFoundError,
    flax_errors.ScopeCollectionNotFound,
)
_NO_VARIABLES = (
    flax_errors.ApplyScopeInvalidVariablesTypeError,
    flax_errors.ApplyScopeInvalidVariablesStructureError,
)
NET = checks.instance(nn.Module, "a linen module, as snnax.Sequential([...])")
VARIABLES = checks.mapping("variables, as net.init(jax.random.key(0), x) returns them")
LAYOUT = "Images are channels-last here, [B, H, W, C]: for torch's [B, C, H, W] pass jnp.moveaxis(x, 1, -1)."

_LINES = {
    "train": "{me} = snnax.utils.training({me})",
    "eval": "{me} = snnax.utils.evaluating({me})",
    "parameters": "variables['params'], as in optimizer.init(variables['params'])",
    "named_parameters": "flax.traverse_util.flatten_dict(variables['params'], sep='/').items()",
    "buffers": "variables['buffers']",
    "named_buffers": "flax.traverse_util.flatten_dict(variables['buffers'], sep='/').items()",
    "state_dict": "snnax.interop.to_state_dict({me}, variables)",
    "load_state_dict": "variables = snnax.interop.from_state_dict({me}, variables, state_dict)",
    "to": "variables = jax.device_put(variables, jax.devices()[0])",
    "cuda": "variables = jax.device_put(variables, jax.devices('gpu')[0])",
    "cpu": "variables = jax.device_put(variables, jax.devices('cpu')[0])",
    "half": "variables = jax.tree.map(lambda v: v.astype(jnp.float16), variables)",
    "float": "variables = jax.tree.map(lambda v: v.astype(jnp.float32), variables)",
    "double": "jax.config.update('jax_enable_x64', True), and variables in float64",
    "bfloat16": "variables = jax.tree.map(lambda v: v.astype(jnp.bfloat16), variables)",
    "zero_grad": "grads = jax.grad(loss)(variables['params']): gradients are returned and not kept",
    "requires_grad_": "jax.grad(loss)(params): what is differentiated is what is passed as params",
    "forward": "{call}",
    "modules": "the modules are the fields of this one, as {me}.layers or {me}.nodes",
    "named_modules": "the modules are the fields of this one, as {me}.layers or {me}.nodes",
    "children": "the modules are the fields of this one, as {me}.layers or {me}.nodes",
    "named_children": "the modules are the fields of this one, as {me}.layers or {me}.nodes",
    "add_module": "the layers are an argument, as snnax.Sequential([*net.layers, layer])",
    "append": "the layers are an argument, as snnax.Sequential([*net.layers, layer])",
    "register_forward_hook": "snnax.unroll({me}, variables, x, record=True)",
    "reset_hidden": "variables = snnax.utils.reset(variables)",
    "detach_hidden": "jax.lax.stop_gradient(variables['hidden'])",
}  # fmt: skip


_HOLDS_NONE = frozenset({bool, int, float, str, type(None), FunctionType, type})
_BOUND = ("to", "parameters", "train", "eval")
"""Lines of torch's that do what they say there, for a bound network, or one without a layer that they mean."""


def _stay(net: Module, device: Any) -> Module:
    """``net.to(device)``: a module has no arrays to move; they are where JAX computes.

    Raises:
        TorchLineError: that is another kind of device, or ``device`` is a dtype.
    """
    kind = getattr(device, "type", None) or getattr(device, "platform", None) or str(device).partition(":")[0]
    here = {"gpu": "cuda"}.get(jax.default_backend(), jax.default_backend())
    if {"gpu": "cuda"}.get(kind, kind) == here:
        return net
    raise TorchLineError(
        f"{type(net).__name__}.to({checks.shown(device)}): a module holds no arrays, and JAX computes on {here!r}; "
        f"write {_LINES['to']}."
    )


class Module(nn.Module):
    """A linen module whose errors are snnax's, and which knows the lines that torch scripts call it with.

    Called outside of ``apply``, it runs if it needs no variables: ``spk, mem = lif(x, mem)``.
    """

    def __init_subclass__(cls, **kwargs: Any) -> None:
        super().__init_subclass__(**kwargs)
        if "__post_init__" in vars(cls):
            cls.__post_init__ = _checked(vars(cls)["__post_init__"])  # type: ignore[method-assign]
        if "__call__" in vars(cls):
            cls.__call__ = _anywhere(vars(cls)["__call__"])  # type: ignore[method-assign]

    def __post_init__(self) -> None:
        """Check what is declared as a flag, a whole number or a string."""
        checks.annotated(self)
        super().__post_init__()

    @nn.nowrap
    def _register_submodules(self, name: str, val: Any) -> None:
        """As flax's, which asks each field several times a call whether there is a module in it; most are numbers."""
        if type(val) in _HOLDS_NONE:
            object.__setattr__(self, name, val)
        else:
            super()._register_submodules(name, val)

    @nn.nowrap
    def __getattr__(self, name: str) -> Any:
        """What is not there: of the names that torch's modules have, the error says what takes their place."""
        if name in _BOUND and (found := self._as_in_torch(name)) is not None:
            return found
        if name in _LINES and not name.startswith("_"):
            line = _LINES[name].format(me=self._nickname(), call=self._works())
            raise TorchLineError(f"{type(self).__name__} has no {name!r}; write {line}.")
        return super().__getattr__(name)

    @nn.nowrap
    def _as_in_torch(self, name: str) -> Any:
        """A method of torch's where it can do the same; ``None`` where it cannot."""
        from snnax.modes import switches  # layers are modules themselves

        if name == "to":
            return functools.partial(_stay, self)
        if name == "parameters" and self.scope is not None:
            return lambda: self.variables.get("params", {})
        if name in ("train", "eval") and not switches(self):
            return lambda mode=True: self
        return None

    @nn.nowrap
    def init(self, rngs: Any, *args: Any, **kwargs: Any) -> Any:
        """As linen's: draw the variables for one step's input."""
        with explained(self, args):
            return super().init(_keys(rngs, self), *args, **kwargs)

    @nn.nowrap
    def init_with_output(self, rngs: Any, *args: Any, **kwargs: Any) -> Any:
        """As linen's: draw the variables for one step's input, and run it."""
        with explained(self, args):
            return super().init_with_output(_keys(rngs, self), *args, **kwargs)

    @nn.nowrap
    def apply(self, variables: Any, *args: Any, mutable: Any = False, rngs: Any = None, **kwargs: Any) -> Any:
        """As linen's: run one step."""
        if not kwargs and (found := run(self, variables, args, mutable, rngs)) is not NotImplemented:
            return found
        if not isinstance(variables, Mapping):
            raise ArgumentError(
                f"{type(self).__name__}.apply(variables, x) got {checks.shown(variables)} as variables; expected what "
                f"init returned, or {{}} where there are none, as {self._works()}."
            )
        check_numbers(variables, f"{type(self).__name__}.apply(variables=...)")
        with explained(self, args):
            return super().apply(variables, *args, mutable=mutable, rngs=rngs, **kwargs)

    @nn.nowrap
    def _outside(self, *args: Any, **kwargs: Any) -> Any:
        """A call outside of ``apply``."""
        try:
            return self.apply({}, *args, **kwargs)
        except (StateError, ArgumentError) as error:
            if not isinstance(error.__cause__, _MISSING) and not self._keeps_state():
                raise
            why = "keeps its state in variables" if self._keeps_state() else "has variables"
            raise TorchLineError(
                f"{type(self).__name__} {why}, so it is not called by itself. Write {self._works()}."
            ) from error

    @nn.nowrap
    def _label(self) -> str:
        """Its class, and where it is in the network."""
        path = "/".join(self.path) if self.scope is not None else ""
        return f"{type(self).__name__} {path!r}" if path else type(self).__name__

    least_axes: ClassVar[int] = 0
    reads_values: ClassVar[bool] = False
    """Whether a call looks at numbers in its arrays, which a compiled program does not know."""

    @nn.nowrap
    def _takes_trees(self) -> bool:
        """Whether the input may be more than one array: where a module of the user's gets it."""
        return False

    @nn.nowrap
    def _keeps_state(self) -> bool:
        """Whether a step needs the collection ``hidden``."""
        return bool(getattr(self, "init_hidden", False))

    @nn.nowrap
    def _nickname(self) -> str:
        """What a user calls such a module."""
        return "layer"

    @nn.nowrap
    def _returned(self) -> str:
        """What a step returns, as names."""
        return "y"

    @nn.nowrap
    def _works(self) -> str:
        """The lines that run one step of this module."""
        me, y = self._nickname(), self._returned()
        if not self._keeps_state():
            return f"{y} = {me}.apply(variables, x), with variables = {me}.init(jax.random.key(0), x)"
        many = f"({y})" if "," in y else y
        return (
            f"variables = {me}.init(jax.random.key(0), x[0]); {many}, updates = snnax.unroll({me}, variables, x) for "
            f"all time steps of x [T, B, ...], or {many}, updates = {me}.apply(variables, x[0], mutable=['hidden']) "
            "for one"
        )


def _checked(post_init: Callable[..., None]) -> Callable[..., None]:
    """What a class checks itself may rely on its flags being flags."""

    @functools.wraps(post_init)
    def checked(self: Module) -> None:
        checks.annotated(self)
        post_init(self)

    return checked


def _anywhere(call: Callable[..., Any]) -> Callable[..., Any]:
    @functools.wraps(call)
    def called(self: Module, *args: Any, **kwargs: Any) -> Any:
        if self.scope is None:
            return self._outside(*args, **kwargs)
        if not kwargs and (found := bound.call(self, args)) is not NotImplemented:
            return found
        if args:
            args = (_signal(args[0], self), *args[1:])
        return call(self, *args, **kwargs)

    return called


def _signal(x: Any, module: Module) -> Any:
    """An input as an array; users' own modules may take several as one, in a tuple or dictionary."""
    if not isinstance(x, jax.Array) and module._takes_trees():
        return x
    array = checks.array(x, f"{module._label()}(x)")
    if array.ndim < module.least_axes:
        raise ShapeError(
            f"{module._label()}: x has shape {array.shape}; expected an axis for the batch, [B, ...]."
        )
    return array


def _keys(rngs: Any, module: Module) -> Any:
    """Random keys, as linen takes them."""
    given = rngs.values() if isinstance(rngs, Mapping) else [rngs]
    if not all(checks.is_key(key) for key in given):
        me = module._nickname()
        raise ArgumentError(
            f"{type(module).__name__}.init(rngs, x) got {checks.shown(rngs)} as rngs; expected a key, or keys by "
            f"name, as {me}.init(jax.random.key(0), x)."
        )
    return rngs


def check_rngs(rngs: Any, what: str) -> dict[str, jax.Array]:
    """Keys by name.

    Raises:
        ArgumentError: for anything else.
    """
    if rngs is None:
        return {}
    if not isinstance(rngs, Mapping) or not all(
        isinstance(name, str) and checks.is_key(rngs[name]) for name in rngs
    ):
        raise checks.refuse(what, rngs, "keys by name, as rngs={'dropout': jax.random.key(0)}")
    return dict(rngs)


def check_numbers(variables: Any, what: str) -> None:
    """Refuse arrays of NumPy with numbers that the precision of the run cannot hold; those of JAX are in it.

    Raises:
        ArgumentError: names one of them.
    """
    for leaf in jax.tree.leaves(variables):
        if isinstance(leaf, np.ndarray):
            checks.array(leaf, what)


@contextmanager
def explained(module: Any, args: tuple[Any, ...]) -> Iterator[None]:
    """Within it, what flax says about variables and keys that do not fit becomes an error of snnax's.

    Args:
        module: the module that runs.
        args: what it is called with.
    """
    try:
        yield
    except SnnaxError:
        raise
    except flax_errors.ScopeParamShapeError as error:
        raise ShapeError(_misfit(module, args, error)) from error
    except (*_MISSING, *_NO_VARIABLES) as error:
        raise ArgumentError(
            f"{_name(module)} does not find its variables: {_lost(error)} Pass what init of this network returned, all "
            "collections of it, as {**variables, 'params': params}."
        ) from error
    except flax_errors.ModifyScopeVariableError as error:
        raise StateError(f"{_name(module)} updates {_kept(error)}") from error
    except flax_errors.InvalidRngError as error:
        raise ArgumentError(
            f"{_name(module)} draws random numbers and lacks a key: {_said(error).rstrip('.')}. Pass keys by name, as "
            "rngs={'dropout': jax.random.key(0)}, and to init a key: init(jax.random.key(0), x)."
        ) from error


def fitted(name: str, layer: nn.Module, x: Any, run: Callable[[Any], Any]) -> Any:
    """``run(x)``; a layer of flax's or ours that cannot take its input says so by name. Users' own are left alone.

    Raises:
        ShapeError: the layer cannot take ``x``, or nothing of it is left.
    """
    try:
        with explained(layer, (x,)):
            y = run(x)
    except SnnaxError:
        raise
    except (TypeError, ValueError, IndexError, ZeroDivisionError, AssertionError) as error:
        if isinstance(error, flax_errors.FlaxError) or not type(layer).__module__.startswith(
            ("flax.", "snnax.")
        ):
            raise
        raise ShapeError(
            f"the layer {name!r} ({_name(layer)}) cannot take an input of shape {np.shape(x)}: "
            f"{checks.brief(error) or _unsaid(layer)}. {LAYOUT}"
        ) from error
    if x.size and any(0 in np.shape(part) for part in jax.tree.leaves(y)):
        raise ShapeError(
            f"the layer {name!r} ({_name(layer)}) leaves nothing of an input of shape {np.shape(x)}: the image is "
            f"smaller than the kernel. {LAYOUT}"
        )
    return y


def _unsaid(layer: nn.Module) -> str:
    """What an assertion of Flax's without words is about."""
    groups = getattr(layer, "feature_group_count", 1)
    return f"its channels do not divide into {groups} groups" if groups != 1 else "flax refuses it"


def check_layout(name: str, layer: nn.Module, x: Any) -> None:
    """Whether the input of a network's first layer, a convolution of images, looks as if its channels came first.

    Raises:
        ShapeError: nothing else can be meant: the kernel is larger than what would be the height.
    """
    if not isinstance(layer, nn.Conv) or np.ndim(x) != 4:
        return
    _, first, second, last = np.shape(x)
    if not (first <= _FEW_CHANNELS < second == last):
        return
    said = f"the layer {name!r} (Conv) got an input of shape {np.shape(x)}"
    kernel = layer.kernel_size
    if (kernel if isinstance(kernel, int) else kernel[0]) > first:
        raise ShapeError(f"{said}: its kernel {kernel} is larger than the images. {LAYOUT}")
    warn(LayoutWarning(f"{said}, which looks channels-first. {LAYOUT}"))


_FEW_CHANNELS = 4


def _misfit(module: Any, args: tuple[Any, ...], error: Exception) -> str:
    shapes = [str(np.shape(a)) for a in args[:1] if hasattr(a, "shape")]
    given = f" for an input of shape {shapes[0]}" if shapes else ""
    return (
        f"{_name(module)}: the variables do not fit{given}: {_misshaped(error)} Pass the variables of this network, "
        f"and an input with as many features as it was made for. {LAYOUT}"
    )


def _name(module: Any) -> str:
    return type(module).__name__


def _lost(error: Exception) -> str:
    """Which variable flax misses, in our words."""
    match re.findall(r'"([^"]*)"', _said(error)):
        case [name, place] if place.startswith("/"):
            return f"{_placed('params', place, name)} is not among those that were passed."
        case [name, collection, place] if place.startswith("/"):
            return f"{_placed(collection, place, name)} is not among those that were passed."
    return _said(error)


def _kept(error: Exception) -> str:
    """Which variable flax may not change, and the calls that work."""
    match re.findall(r'"([^"]*)"', _said(error)):
        case [name, place, collection] if place.startswith("/"):
            also = "" if collection == "hidden" else " to unroll, and 'hidden' too to apply"
            trains = (
                "; or use what is stored: snnax.utils.evaluating(net)" if collection == "batch_stats" else ""
            )
            return (
                f"{_placed(collection, place, name)}, a collection that is not mutable in this call. Pass "
                f"mutable=[{collection!r}]{also}{trains}."
            )
    return _said(error)


def _misshaped(error: Exception) -> str:
    """Which variable flax finds in another shape, in our words."""
    names = re.findall(r'"([^"]*)"', _said(error))
    shapes = re.findall(r"shape (\([^)]*\))", _said(error))
    if len(names) != 2 or len(shapes) != 2:
        return _said(error)
    return f"{_placed('params', names[1], names[0])} has shape {shapes[1]}; expected {shapes[0]}."


def _placed(collection: str, place: str, name: str) -> str:
    where = place.strip("/")
    return f"{name!r} of {collection!r}{f' in {where!r}' if where else ''}"


def _said(error: Exception) -> str:
    """Flax's sentence, without the address of its manual."""
    return str(error).partition(" (http")[0]
