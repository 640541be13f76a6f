"""Recording the neurons that take all time steps at once."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any, Protocol

import numpy as np
import snntorch
import torch
from torch import Tensor, nn

from snnax.errors import ConversionError, ShapeError


class Record(Protocol):
    """Where a neuron's steps are written."""

    name: str
    inputs: list[np.ndarray]
    spikes: list[np.ndarray]
    states: dict[str, list[np.ndarray]]
    forced: Tensor | None


def tap_sequence(module: nn.Module, uses: list[Any]) -> None:
    """Let ``module``, part of a copy, write its one call on ``[T, B, N]`` into the node that it belongs to.

    The membrane is what it compares with the threshold, which only some of these layers return. The spikes of
    ``AssociativeLeaky`` are those of its matrix, ``[T, B, n, d]``, before they are read by the query.

    Raises:
        ConversionError: if the network calls it more than once.
    """
    if len(uses) > 1:
        raise ConversionError(uses[0].name, "it is used twice", "Give each layer a neuron of its own.")
    node: Record = uses[0]
    parts: Any = module
    forward: Callable[..., Any] = parts.forward
    if isinstance(module, snntorch.AssociativeLeaky):
        _tap_matrix(node, parts)
        return
    seen: list[Tensor] = []
    if isinstance(module, snntorch.LeakyParallel):
        _watch(parts.rnn, seen)

    def tapped(x: Tensor) -> Any:
        seen.clear()
        result = forward(x)
        spk, *states = (result,) if isinstance(result, Tensor) else result
        _write(node, x, spk, "mem", (*states, *seen, spk)[0])
        if node.forced is None:
            return result
        forced = _forced(node, spk)
        return (forced, *states) if states else forced

    vars(module)["forward"] = tapped


def _watch(rnn: nn.Module, seen: list[Tensor]) -> None:
    """Keep what a recurrence returns over time."""
    forward: Callable[..., Any] = rnn.forward

    def watched(*args: Any, **kwargs: Any) -> Any:
        result = forward(*args, **kwargs)
        seen.append(result[0])
        return result

    vars(rnn)["forward"] = watched


def _tap_matrix(node: Record, module: Any) -> None:
    """Record, and force, the spikes of an associative memory where it fires."""
    forward: Callable[..., Any] = module.forward
    fire: Callable[..., Any] = module.fire
    inputs: list[Tensor] = []

    def tapped(x: Tensor) -> Any:
        inputs.append(x)
        return forward(x)

    def fired(mem: Tensor) -> Tensor:
        spk: Tensor = fire(mem)
        sides = (module.d_value, module.d_key)
        turned = [v.reshape(*v.shape[:2], *sides).transpose(2, 3) for v in (spk, mem)]
        _write(node, inputs.pop(), turned[0], "state", turned[1])
        if node.forced is None:
            return spk
        return _forced(node, turned[0]).transpose(2, 3).reshape(spk.shape)

    vars(module).update(forward=tapped, fire=fired)


def _forced(node: Record, spk: Tensor) -> Tensor:
    if node.forced is None or node.forced.shape != spk.shape:
        given = None if node.forced is None else tuple(node.forced.shape)
        raise ShapeError(f"forced spikes of {node.name!r} have shape {given}; expected {tuple(spk.shape)}.")
    return torch.clone(node.forced)


def _write(node: Record, x: Tensor, spk: Tensor, state: str, mem: Tensor) -> None:
    node.inputs.extend(_rows(x))
    node.spikes.extend(_rows(spk))
    node.states.setdefault(state, []).extend(_rows(mem))


def _rows(tensor: Tensor) -> list[np.ndarray]:
    return list(np.array(tensor.detach().cpu().numpy()))
