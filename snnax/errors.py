"""The errors of snnax. Each message says what was passed, what was expected and the call that works.

``except snnax.errors.SnnaxError`` catches them all; each is also the built-in exception that fits it,
so code that catches ``ValueError``, ``TypeError`` or ``ImportError`` keeps working.
"""

from __future__ import annotations


class SnnaxError(Exception):
    """Base of every error that snnax raises on purpose."""


class ArgumentError(SnnaxError, ValueError):
    """An argument has a value that the function does not take."""


class ShapeError(SnnaxError, ValueError):
    """An array has another shape than the layer, sample or graph expects."""


class StateError(SnnaxError, ValueError):
    """A hidden state does not fit its input: usually the batch size changed without a reset."""


class HiddenStateTypeError(SnnaxError, TypeError):
    """A state was passed to a neuron that keeps its own (``init_hidden=True``)."""


class GraphError(SnnaxError, ValueError):
    """A network graph is malformed: an edge without an end, no input, no output."""


class NIRFileError(SnnaxError, ValueError):
    """A ``.nir`` file or graph cannot be read; the message names the file and the node."""


class ConversionError(SnnaxError, ValueError):
    """A node or module cannot be converted without changing what it computes.

    Args:
        node: name of the node or module path, as the user knows it.
        problem: what was found, in one clause.
        remedy: what to do about it; the call that works.
    """

    def __init__(self, node: str, problem: str, remedy: str) -> None:
        self.node = node
        self.problem = problem
        self.remedy = remedy
        super().__init__(f"{node!r}: {problem}. {remedy}")


class TrainingModeError(ConversionError):
    """A torch module that behaves differently in training was passed in training mode."""


class MissingDependencyError(SnnaxError, ImportError):
    """An optional package is needed for this call and is not installed.

    Args:
        package: import name of the package that is missing.
        extra: the extra of snnax that brings it.
        purpose: what it is needed for.
    """

    def __init__(self, package: str, extra: str, purpose: str) -> None:
        super().__init__(
            f"{purpose} needs the package {package!r}, which is not installed. "
            f"Install it with: pip install -c constraints.txt '.[{extra}]'"
        )
