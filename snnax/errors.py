"""The errors of snnax. Each message says what was passed, what was expected and the call that works.

``except snnax.errors.SnnaxError`` catches them all; each is also the built-in exception that fits it,
so code that catches ``ValueError``, ``TypeError`` or ``ImportError`` keeps working.
"""

from __future__ import annotations

import re
import sys
import warnings
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Sequence
    from typing import Any


_UNREADABLE = re.compile(r"(\S{300})\S{201,}(\S{100})")
"""A word that nobody reads to its end, as names in files can be."""


def _made_again(kind: type[SnnaxError], said: tuple[Any, ...]) -> SnnaxError:
    error = kind.__new__(kind, *said)
    error.args = said
    return error


class SnnaxError(Exception):
    """Base of every error that snnax raises on purpose; words of more than 600 letters are cut in their middle."""

    def __init__(self, *said: Any) -> None:
        super().__init__(*(_UNREADABLE.sub(r"\1...\2", s) if isinstance(s, str) else s for s in said))

    def __reduce__(
        self,
    ) -> Any:  # the arguments that made it are not those of every class: it is to cross processes
        return _made_again, (type(self), self.args), self.__dict__


class ArgumentError(SnnaxError, ValueError):
    """An argument has a value that the function does not take."""


class ShapeError(SnnaxError, ValueError):
    """An array has another shape than the layer, sample or graph expects."""


class StateError(SnnaxError, ValueError):
    """A hidden state does not fit its input: usually the batch size changed without a reset."""


class HiddenStateTypeError(SnnaxError, TypeError):
    """A state was passed to a neuron that keeps its own (``init_hidden=True``)."""


class TorchLineError(SnnaxError, AttributeError):
    """A line of a torch script that has another form here; the message is the line to write."""


class GraphError(SnnaxError, ValueError):
    """A network graph is malformed: an edge without an end, no input, no output."""


class NIRFileError(SnnaxError, ValueError):
    """A ``.nir`` file or graph cannot be read; the message names the file and the node."""


class TraceFileError(SnnaxError, ValueError):
    """A recording cannot be read: the file is damaged, or was written by something else."""


class EventFileError(SnnaxError, ValueError):
    """A file of events is damaged, cut off, or of another kind; the message names the file and the place in it."""


class ConversionError(SnnaxError, ValueError):
    """A node or module cannot be converted without changing what it computes.

    Args:
        node: name of the node or module path, as the user knows it.
        problem: what was found, in one clause.
        remedy: what to do about it; the call that works.
        line: where in the user's code it was found, as ``net.py:12``.
        others: what else stands in the way; the message lists all of it.
    """

    def __init__(
        self, node: str, problem: str, remedy: str, line: str = "", others: Sequence[ConversionError] = ()
    ) -> None:
        self.node = node
        self.problem = problem
        self.remedy = remedy
        self.line = line
        self.others = tuple(others)
        place = f" ({line})" if line else ""
        texts = [f"{node!r}: {problem}{place}. {remedy}", *map(str, self.others)]
        listed = "".join(f"\n{number}. {text}" for number, text in enumerate(texts, 1))
        super().__init__(f"{len(texts)} things cannot be converted:{listed}" if self.others else texts[0])

    def apart(self) -> list[ConversionError]:
        """An error for each of the things that stand in the way."""
        if not self.others:
            return [self]
        first = type(self)(self.node, self.problem, self.remedy, self.line)
        first.__cause__ = self.__cause__
        return [first, *self.others]

    @classmethod
    def joined(cls, errors: Sequence[ConversionError]) -> ConversionError:
        """One error for all of ``errors``, each said once; of the class of the first."""
        each = [part for error in errors for part in error.apart()]
        first, *rest = {str(error): error for error in each}.values()
        if not rest:
            return first
        made = type(first)(first.node, first.problem, first.remedy, first.line, rest)
        made.__cause__ = next((error.__cause__ for error in each if error.__cause__), None)
        return made


class TrainingError(SnnaxError, RuntimeError):
    """Training cannot go on: the loss is not finite any more. The message says at which step, and what helps."""


class CheckpointError(SnnaxError, ValueError):
    """A checkpoint is missing, damaged or of another network; the message names the directory and the arrays."""


class StateDictError(SnnaxError, ValueError):
    """A ``state_dict`` does not belong to the network; the message lists everything that does not fit.

    Args:
        missing: names that the network has and the ``state_dict`` has not.
        unexpected: names that only the ``state_dict`` has.
        shapes: names with their shape and the one expected.
        conflicts: names whose value contradicts the module, and why.
    """

    def __init__(
        self,
        missing: Sequence[str] = (),
        unexpected: Sequence[str] = (),
        shapes: Sequence[str] = (),
        conflicts: Sequence[str] = (),
    ) -> None:
        self.missing, self.unexpected = tuple(missing), tuple(unexpected)
        self.shapes, self.conflicts = tuple(shapes), tuple(conflicts)
        found = {
            "missing": self.missing,
            "unexpected": self.unexpected,
            "of another shape": self.shapes,
            "contradicting the module": self.conflicts,
        }
        lists = [f"{what}: {'; '.join(names)}" for what, names in found.items() if names]
        super().__init__(
            "the state_dict does not fit the network. "
            + ". ".join(lists)
            + ". Pass the state_dict of a network "
            "with the same layers, names and arguments."
        )


class TrainingModeError(ConversionError):
    """A torch module that behaves differently in training was passed in training mode."""


class MissingDependencyError(SnnaxError, ImportError):
    """An optional package is needed for this call and is not installed.

    Args:
        package: import name of the package that is missing.
        extra: the extra of snnax that brings it.
        purpose: what it is needed for.
        command: what installs it, if no extra does.
    """

    def __init__(self, package: str, extra: str, purpose: str, command: str = "") -> None:
        command = command or f"pip install -c constraints.txt '.[{extra}]'"
        super().__init__(
            f"{purpose} needs the package {package!r}, which is not installed. Install it with: {command}"
        )


_BETWEEN = ("snnax", "flax", "jax", "contextlib")


def warn(warning: Warning) -> None:
    """Warn with the line of the user's code that led here: however many calls of ours, flax and JAX lie between."""
    frame, level = sys._getframe(1), 2
    while frame.f_back and frame.f_globals.get("__name__", "").partition(".")[0] in _BETWEEN:
        frame, level = frame.f_back, level + 1
    warnings.warn(warning, stacklevel=level)


class InertArgumentWarning(UserWarning):
    """An argument has no effect with the others, as snnTorch warns too."""


class LayoutWarning(UserWarning):
    """An image looks as if its channels came first; every layer here takes them last."""


class RepairWarning(UserWarning):
    """A NIR graph was not as it should be, and was read the only way that it can be meant."""


class LoopWarning(UserWarning):
    """A compiled function calls a neuron once for each time step, in a Python loop; ``snnax.unroll`` compiles one."""
