"""Where in the user's code an operation comes from, and inside of which ``torch.autograd.Function``."""

from __future__ import annotations

import sys
from dataclasses import dataclass
from types import FrameType
from typing import Any

import torch

from snnax.interop.findings import Line
from snnax.interop.frameworks import LABELS

_LIBRARIES = frozenset({"snnax", "torch", "functools", "contextlib", *LABELS})
_CALLERS = frozenset({"snnax.interop.torch.tracing", "snnax.interop.torch.programs"})
"""They call the network: who called them is none of its lines."""
HOOK = (
    "forward hangs a hook on the gradient of a tensor, which a port would lose",
    "Take it out, or write what it does to the gradient as a torch.autograd.Function.",
)
"""Why a line with ``register_hook`` is refused, and what to do."""
TRAINING = (
    "forward asks whether a tensor has a gradient, so what it computes in training is not what it computes else",
    "Take the question out of forward; x.detach() may be called on any tensor.",
)
"""The same for ``x.requires_grad``."""
FREEZING = (
    "forward sets requires_grad of a parameter, so that a call decides what the next one trains",
    "Set it once, before the network is ported.",
)
"""The same for ``self.fc.requires_grad_(False)``."""
_APPLY: Any = getattr(torch.autograd.Function.apply, "__func__", torch.autograd.Function.apply)


@dataclass(frozen=True)
class Place:
    """What the stack of calls says of an operation.

    Attributes:
        line: the innermost line outside of the libraries, as ``net.py:12``; empty if there is none.
        function: class of the outermost ``torch.autograd.Function`` that runs, and the frame that applies it, by
            which its calls are told apart.
    """

    line: Line
    function: tuple[type, FrameType] | None


def place() -> Place:
    """The stack as it is now.

    It is read, not patched: other threads may run the same functions.
    """
    frame: FrameType | None = sys._getframe(1)
    line, function = Line(), None
    while frame is not None and frame.f_globals.get("__name__") not in _CALLERS:
        if frame.f_code is _APPLY.__code__:
            function = (frame.f_locals["cls"], frame)
        elif not line and of_user(frame):
            line = Line.at(frame.f_code.co_filename, frame.f_lineno)
        frame = frame.f_back
    return Place(line, function)


def line_of(error: BaseException) -> Line:
    """``file.py:12`` of the innermost line of the user's code that an error went through."""
    found, step = Line(), error.__traceback__
    while step is not None:
        if of_user(step.tb_frame):
            found = Line.at(step.tb_frame.f_code.co_filename, step.tb_lineno)
        step = step.tb_next
    return found


def of_user(frame: FrameType) -> bool:
    """Whether that is a line outside of the libraries, which ask the same for reasons of their own."""
    return _home(frame) not in _LIBRARIES


def _home(frame: FrameType) -> str:
    return str(frame.f_globals.get("__name__", "")).partition(".")[0]
