"""Networks written as torch's are: a class with layers in ``__init__`` and its steps in ``forward``."""

from __future__ import annotations

import functools
import inspect
from collections.abc import Callable
from typing import Any, ClassVar

import flax.linen as nn
import jax

from snnax import checks
from snnax import modules as base
from snnax.bound import quickly, settle
from snnax.errors import SnnaxError, TorchLineError
from snnax.modes import switched
from snnax.network.torch_lines import of_torch

__all__ = ["Module"]


class Module(base.Module):
    """A network of one's own in torch's words: layers in ``__init__``, and ``forward`` in place of ``__call__``.

    It is a linen module all the same: ``init`` draws the variables, ``apply`` runs ``forward`` with them, and
    layers are named in ``variables`` as the attributes are. ``net.bind(variables)`` is the network with its variables,
    which is called as in torch: ``net(x)``; with ``mutable=["hidden"]`` it keeps the state of its neurons from call to
    call, and ``snnax.utils.reset(net)`` forgets it.

    ``__init__`` runs in each ``init``, ``apply`` and bound network, and what it sets is there in them only. Random
    numbers in it need a fixed key or seed, so that they are the same each time. Layers without weights may also be made
    in ``forward``.

    Raises:
        TypeError: for arguments that ``__init__`` does not take.

    Example:
        >>> import jax, jax.numpy as jnp, snnax as snn
        >>> class Net(snn.Module):
        ...     def __init__(self, hidden):
        ...         super().__init__()
        ...         self.fc1 = snn.Linear(3, hidden)
        ...         self.lif1 = snn.Leaky(beta=0.9)
        ...     def forward(self, x):
        ...         mem1 = self.lif1.init_leaky()
        ...         spk_rec = []
        ...         for step in range(25):
        ...             spk1, mem1 = self.lif1(self.fc1(x), mem1)
        ...             spk_rec.append(spk1)
        ...         return jnp.stack(spk_rec)
        >>> net, x = Net(hidden=4), jnp.ones((2, 3))
        >>> variables = net.init(jax.random.key(0), x)
        >>> net.apply(variables, x).shape, net.bind(variables)(x).shape, sorted(variables["params"])
        ((25, 2, 4), (25, 2, 4), ['fc1'])

    Compared with ``torch.nn.Module``: weights are in ``variables`` and not in the module, so that ``jax.grad`` and
    ``jax.jit`` take the network as a function of them. A loop over time in ``forward`` is compiled step by step: what
    :func:`~snnax.unroll` runs compiles sooner.
    """

    given: tuple[tuple[Any, ...], tuple[tuple[str, Any], ...]] = ((), ())
    mode: bool | None = None

    written: ClassVar[Any] = None
    """The ``__init__`` that the class wrote, which makes the layers."""

    def __init_subclass__(cls, **kwargs: Any) -> None:
        if "__init__" in vars(cls):
            cls.written = nn.nowrap(vars(cls)["__init__"])
        if cls.written is not None:
            cls.__init__ = _constructor(cls.written)  # type: ignore[method-assign]
        super().__init_subclass__(**kwargs)

    def __init__(self, *args: Any, **kwargs: Any) -> None:
        if self._state.in_setup:  # the class's own line super().__init__()
            return
        self.parent = kwargs.pop("parent", type(self).__dataclass_fields__["parent"].default)
        self.name, self.mode = kwargs.pop("name", None), kwargs.pop("mode", None)
        given = kwargs.pop("given", None)  # flax makes copies by fields
        self.given = (args, tuple(sorted(kwargs.items()))) if given is None else given
        if given is None and self.written is not None:
            inspect.signature(type(self).written).bind(self, *self.given[0], **dict(self.given[1]))
        self.__post_init__()

    def setup(self) -> None:
        """Make the layers, as flax asks for them."""
        if self.written is not None:
            with jax.ensure_compile_time_eval():  # numbers that it draws are fixed, also while jit traces
                self.written(*self.given[0], **dict(self.given[1]))

    @nn.nowrap
    def __setattr__(self, name: str, value: Any) -> None:
        """As linen's; layers that train and evaluate differently are in the mode of the network."""
        if self._state.in_setup and self.mode is not None:
            value = switched(value, self.mode)
        super().__setattr__(name, value)
        if self._state.in_setup:
            settle(vars(self)[name])

    @nn.nowrap
    def __getattr__(self, name: str) -> Any:
        """As the base's; the layers of ``__init__`` exist where the network has its variables."""
        try:
            return super().__getattr__(name)
        except TorchLineError:
            raise
        except AttributeError as error:
            if name.startswith("_") or vars(self).get("scope") is not None:
                raise
            kind = type(self).__name__
            raise TorchLineError(
                f"{kind} has no {name!r}; its layers exist where it has variables: write bound = net.bind(variables), "
                f"then bound.{name}. Their weights are in variables['params']."
            ) from error

    @nn.compact
    def __call__(self, *args: Any, **kwargs: Any) -> Any:
        """Run ``forward``, with arrays of NumPy or torch as JAX's."""
        kwargs = {name: _as_array(value) for name, value in kwargs.items()}
        try:
            return quickly(functools.partial(self.forward, **kwargs), tuple(map(_as_array, args)))
        except (AttributeError, TypeError, ValueError, NotImplementedError) as error:
            if (
                isinstance(error, SnnaxError)
                or (left := of_torch(error, f"{type(self).__name__}.forward")) is None
            ):
                raise
            raise left from error

    def forward(self, *args: Any, **kwargs: Any) -> Any:
        """What the class says."""
        raise NotImplementedError(f"{type(self).__name__} has no forward(self, x).")

    @nn.nowrap
    def _takes_trees(self) -> bool:
        return True

    @nn.nowrap
    def _nickname(self) -> str:
        return "net"

    @nn.nowrap
    def _works(self) -> str:
        return (
            "variables = net.init(jax.random.key(0), x), then y = net.apply(variables, x), or as in torch "
            "net = net.bind(variables) and y = net(x)"
        )


def _constructor(written: Callable[..., None]) -> Callable[..., None]:
    """The ``__init__`` of a class that wrote its own: the call keeps the arguments, and linen's setup runs it."""

    @functools.wraps(written)
    def __init__(self: Module, *args: Any, **kwargs: Any) -> None:
        if self._state.in_setup:
            written(self, *args, **kwargs)
        else:
            Module.__init__(self, *args, **kwargs)

    return __init__


def _as_array(value: Any) -> Any:
    """Arrays of other libraries as JAX's; everything else is the user's own."""
    if isinstance(value, jax.Array) or not (hasattr(value, "__array__") and hasattr(value, "shape")):
        return value
    return checks.array(value, "forward(x)")
