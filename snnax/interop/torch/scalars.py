"""What ``.item()`` gives, followed: a number of Python that remembers the tensor it was read from."""

from __future__ import annotations

import operator
import sys
from collections import OrderedDict
from collections.abc import Callable
from types import FrameType
from typing import Any

import torch
from torch import Tensor, nn
from torch.overrides import TorchFunctionMode
from torch.utils.hooks import RemovableHandle

from snnax.interop.program.nodes import flat, mapped
from snnax.interop.torch.dispatch import Dispatcher
from snnax.interop.torch.frames import FREEZING, HOOK, TRAINING, of_user, place

SWITCH = torch._C._set_grad_enabled
_DETACHING = (Tensor.detach_, torch.detach_)
_ARRAYS = (Tensor.numpy, Tensor.__array__, Tensor.tolist)
_ASKING = Tensor.requires_grad.__get__  # type: ignore[attr-defined]
_OF_TRAINING: dict[Any, tuple[str, str]] = {Tensor.register_hook: HOOK, _ASKING: TRAINING}
"""What is another thing in training than in the call that is recorded, and what to say of it."""
_SETTING = (Tensor.requires_grad_, Tensor.requires_grad.__set__)  # type: ignore[attr-defined]


def freezes(func: Any, args: tuple[Any, ...]) -> bool:
    """Whether a call of a function says of a parameter whether it is trained."""
    return func in _SETTING and isinstance(args[0], nn.Parameter)


class Scalar(float):
    """A float, and the tensor without axes, in float64, that it is the value of.

    Python's own ``sum`` adds these one by one, where since 3.12 it makes up for the rounding of plain floats.
    """

    tensor: Tensor

    def __new__(cls, value: float, tensor: Tensor) -> Scalar:
        """Both."""
        made = super().__new__(cls, value)
        made.tensor = tensor
        return made

    def _with(self, other: Any, compute: Callable[[Any, Any], Any], turned: bool = False) -> Any:
        if not isinstance(other, int | float):
            return NotImplemented
        mine, theirs = (float(self), self.tensor), (float(other), getattr(other, "tensor", other))
        first, second = (theirs, mine) if turned else (mine, theirs)
        with torch.no_grad():  # a number of Python has no gradient
            return Scalar(compute(first[0], second[0]), compute(first[1], second[1]))

    def __add__(self, other: Any) -> Any:
        """Python's sum."""
        return self._with(other, operator.add)

    def __radd__(self, other: Any) -> Any:
        """Python's sum."""
        return self._with(other, operator.add, turned=True)

    def __sub__(self, other: Any) -> Any:
        """Python's difference."""
        return self._with(other, operator.sub)

    def __rsub__(self, other: Any) -> Any:
        """Python's difference."""
        return self._with(other, operator.sub, turned=True)

    def __mul__(self, other: Any) -> Any:
        """Python's product."""
        return self._with(other, operator.mul)

    def __rmul__(self, other: Any) -> Any:
        """Python's product."""
        return self._with(other, operator.mul, turned=True)

    def __truediv__(self, other: Any) -> Any:
        """Python's quotient."""
        return self._with(other, operator.truediv)

    def __rtruediv__(self, other: Any) -> Any:
        """Python's quotient."""
        return self._with(other, operator.truediv, turned=True)

    def __neg__(self) -> Any:
        """The negative number."""
        return self._with(-1, operator.mul)


class Scalars(TorchFunctionMode):
    """Makes ``.item()`` of a floating tensor a :class:`Scalar`, and such a number a tensor where torch takes it."""

    def __init__(self, dispatcher: Dispatcher) -> None:
        super().__init__()
        self._dispatcher = dispatcher
        self._made = False

    def __torch_function__(self, func: Any, types: Any, args: Any = (), kwargs: Any = None) -> Any:
        kwargs = kwargs or {}
        if self._dispatcher.paused:
            return func(*args, **kwargs)
        if func is SWITCH and place().function is None:
            self._dispatcher.gradients = args[0]
        if freezes(func, args):
            self._dispatcher.blocked(*FREEZING)
        if func in _OF_TRAINING and of_user(_caller()) and not _saving(func):
            self._dispatcher.blocked(*_OF_TRAINING[func])
            return RemovableHandle(OrderedDict()) if func is Tensor.register_hook else func(*args, **kwargs)
        if (
            func in _ARRAYS and args[0].layout == torch.strided
        ):  # ends in Python, and the dispatcher never sees it
            with self._dispatcher.pause():
                value = func(*args, **kwargs)
            return self._dispatcher.found(func.__name__, args[:1], value)
        if func in _DETACHING:  # it ends in autograd, and the dispatcher never sees it
            self._dispatcher.values.detach(args[0])
        if func is Tensor.item and args[0].is_floating_point():
            self._made = True
            with torch.no_grad():
                return Scalar(func(*args), args[0].reshape(()).to(torch.float64))
        given = [*flat((args, kwargs))] if self._made else []
        if not any(isinstance(entry, Scalar) for entry in given):
            return func(*args, **kwargs)
        tensors = [entry for entry in given if isinstance(entry, Tensor)]
        with torch.no_grad():
            known = mapped(
                (tuple(args), kwargs),
                lambda entry: _tensor(entry, tensors) if isinstance(entry, Scalar) else entry,
            )
        try:
            return func(*known[0], **known[1])
        except TypeError:  # it takes numbers only; a second sample shows whether this one depends on the data
            return func(*args, **kwargs)


def _saving(func: Any) -> bool:
    """A ``torch.autograd.Function`` asks what to save: both answers are tried where its derivative is recorded."""
    return func == _ASKING and place().function is not None


def _caller() -> FrameType:
    """Who calls a method of tensors that torch has written in Python, or another."""
    frame = sys._getframe(2)
    while frame.f_back is not None and frame.f_globals.get("__name__") in (
        "torch._tensor",
        "torch.overrides",
    ):
        frame = frame.f_back
    return frame


def _tensor(number: Scalar, beside: list[Tensor]) -> Tensor:
    """The tensor of a number, of a type that changes the result's as little as the number itself does."""
    if any(t.is_floating_point() and t.ndim for t in beside):
        return number.tensor
    floating = [t.dtype for t in beside if t.is_floating_point()]
    return number.tensor.to(floating[0] if floating else torch.get_default_dtype())
