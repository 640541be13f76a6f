"""Neurons of the user's own as families: what a class says of itself is what conversions need to know."""

from __future__ import annotations

import dataclasses
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

import numpy as np

from snnax import checks
from snnax.errors import ArgumentError, ConversionError
from snnax.interop.families.family import Family
from snnax.interop.families.registry import families, register
from snnax.interop.layers.entries import Entry, Layer, number
from snnax.neurons import CustomNeuron

__all__ = ["register_neuron"]


def register_neuron(kind: type[CustomNeuron]) -> type[CustomNeuron]:
    """Let conversions take a neuron of your own; also as a decorator of its class.

    ``to_nir`` then writes it as an extension node, which only snnax reads, and ``from_nir`` builds it again: from a
    file too, in any program that has registered a class of that name. Its numbers and states travel by their names, its
    equation does not: that is the class.

    Args:
        kind: a subclass of :class:`snnax.neurons.CustomNeuron`. A class that is defined anew, as in a notebook, takes
            the place of the one before.

    Returns:
        ``kind``.

    Raises:
        ArgumentError: for another class, or if there is one of that name that is not the same.

    Example:
        >>> from snnax import interop
        >>> from snnax.neurons import CustomNeuron
        >>> @interop.register_neuron
        ... class Perfect(CustomNeuron):
        ...     state_names = ("mem",)
        ...
        ...     @staticmethod
        ...     def charge(state, flag, x, rule):
        ...         return (state[0] + x - flag * rule.threshold,)

    Compared with NIR: its nodes are a closed list; an extension node is one that other readers refuse.
    """
    own = isinstance(kind, type) and issubclass(kind, CustomNeuron) and kind is not CustomNeuron
    if not own:
        raise checks.refuse(
            "register_neuron(kind=...)",
            kind,
            "a class of your own, as class Mine(snnax.neurons.CustomNeuron)",
        )
    known = families().get(kind.__name__)
    if known is not None and _place(known.module) != _place(kind):
        raise ArgumentError(
            f"register_neuron({kind.__name__}): {'.'.join(_place(known.module))} has this name already, and a file "
            "would not tell which is meant. Give your class another name."
        )
    register(OwnFamily.of(kind))
    return kind


@dataclass(frozen=True, eq=False)
class OwnFamily(Family):
    """A class of the user's own; its step is its own, so that no other framework or simulator has it."""

    own = True

    @classmethod
    def of(cls, kind: type[CustomNeuron]) -> OwnFamily:
        """The family of a class, by what this says of itself."""
        return cls(kind, kind.parameter_names, _choices(kind))

    def module_values(self, name: str, module: Any, variables: Mapping[str, Any]) -> dict[str, np.ndarray]:
        """No other than those that it names; arguments that no file can hold are refused."""
        del variables
        for key in self.sizes:
            value = getattr(module, key)
            if not (value is None or isinstance(value, bool | int | float | str)):
                raise ConversionError(
                    name, f"its argument {key}={checks.shown(value)} is no number, text or flag, which a file can hold",
                    f"Name arrays in {self.kind}.parameter_names, or give {key} another type.",
                )  # fmt: skip
        return {}

    def entries(self, layer: Layer, variables: Mapping[str, Any]) -> list[Entry]:
        """Its numbers, by their names."""
        module = layer.module
        used = [n for n in self.values if n != "v_reset" or module.reset_mechanism == "value"]
        return [number(layer, variables, name, learn=name in module.learn) for name in used]


def _place(kind: type) -> tuple[str, str]:
    return kind.__module__, kind.__qualname__


def _choices(kind: type[CustomNeuron]) -> tuple[str, ...]:
    """The class's arguments that are neither numbers nor those of all neurons."""
    shared = {field.name for field in dataclasses.fields(CustomNeuron)} - {"detach_reset"}
    names = (field.name for field in dataclasses.fields(kind))
    return tuple(name for name in names if name not in shared and name not in kind.parameter_names)
