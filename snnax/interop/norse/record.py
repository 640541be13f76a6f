"""What one Norse neuron received and did over a run, in the terms of the neuron that it is converted to."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, field
from typing import Any

import numpy as np
import torch
from torch import Tensor, nn
from torch.nn.functional import linear

from snnax.errors import ShapeError
from snnax.interop.norse.cells import KINDS, cell_of, tap
from snnax.interop.norse.gain import Resistance
from snnax.interop.snntorch.step_graph import StepNode
from snnax.interop.trace import NodeTrace


@dataclass
class Record:
    """The recording of a neuron, made while a network runs.

    Attributes:
        name: of its node.
        module: the neuron, of a copy of the network.
        gain: the resistance in front of it, of the copy.
        rest: potential that its membrane is recorded above.
        num_steps: how many there will be.
        forced: what it is to emit ``[T, B, ...]``.
        entry: what the resistance got last.
    """

    name: str
    module: Any
    gain: Resistance | None
    rest: Tensor
    num_steps: int
    forced: Tensor | None = None
    entry: Tensor | None = None
    inputs: list[np.ndarray] = field(default_factory=list)
    spikes: list[np.ndarray] = field(default_factory=list)
    states: dict[str, list[np.ndarray]] = field(default_factory=dict)

    @classmethod
    def of(cls, node: StepNode, name: str, module: Any, gain: Any, like: Tensor) -> Record:
        """A record of ``module``, whose parameters get the precision of ``like``, the sequence that it will run."""
        cell = cell_of(node.name, module, node.shape)
        module.p = type(module.p)(*(_cast(value, like) for value in module.p))
        record = cls(name, module, gain, torch.from_numpy(np.array(cell.rest)).to(like.device), len(like))
        if gain is not None:
            forward = gain.forward

            def entered(x: Tensor) -> Tensor:
                record.entry = x
                return forward(x)

            vars(gain)["forward"] = entered
        tap(module, record.step)
        return record

    def step(self, x: Tensor, state: Any, run: Callable[[], tuple[Tensor, Any]]) -> tuple[Tensor, Any]:
        """Record one step."""
        out, after = run()
        t, kind = len(self.inputs), KINDS[type(self.module)]
        total, feedback = self._currents(x, state)
        shown = total if self.entry is None else self.entry
        if self.gain is not None and feedback is not None and not self.gain.apart:
            shown = shown + (feedback + self.gain.bias.to(x)) / self._factor(both=True)
        mem = after.v
        if self.gain is not None and self.gain.late_reset:
            mem = self._charged(kind, total if kind in ("LIF", "IF") else state.i + total, state.v)
        self._keep("mem", self._above(mem, out))
        if kind.startswith("Cuba"):
            jumped = self.gain is not None and self.gain.current == "new"
            self._keep("syn", (state.i + total if jumped else after.i) / self._factor())
        self.inputs.append(_array(shown))
        fires = kind not in ("LI", "CubaLI")
        self.spikes.append(_array(out if fires else self._above(out, out)))
        if self.forced is None:
            return out, after
        if self.forced.shape != (self.num_steps, *out.shape):
            raise ShapeError(
                f"forced spikes of {self.name!r} have shape {tuple(self.forced.shape)}; expected "
                f"{(self.num_steps, *out.shape)}."
            )
        out = self.forced[t].clone() if fires else self.forced[t] + self.rest.to(out)
        return out, (after._replace(z=out) if "z" in after._fields else after)

    def trace(self) -> NodeTrace:
        """The finished record.

        Raises:
            ShapeError: if the neuron ran another number of steps than the input has.
        """
        if len(self.spikes) != self.num_steps:
            raise ShapeError(
                f"{self.name!r} ran {len(self.spikes)} steps, and x has {self.num_steps}: the loop in forward has a "
                "fixed length. Pass as many steps as the loop has."
            )
        states = {state: np.stack(values) for state, values in self.states.items()}
        kind = type(self.module).__name__
        return NodeTrace(self.name, kind, np.stack(self.inputs), np.stack(self.spikes), states)

    def _keep(self, state: str, value: Tensor) -> None:
        self.states.setdefault(state, []).append(_array(value))

    def _currents(self, x: Tensor, state: Any) -> tuple[Tensor, Tensor | None]:
        """The whole input current, and the part of it that is recurrent."""
        module, feedback = self.module, None
        if hasattr(module, "input_weights"):
            x = linear(x, module.input_weights)
        if hasattr(module, "recurrent_weights"):
            feedback = linear(state.z, module.recurrent_weights)
            x = x + feedback
        return x, feedback

    def _factor(self, both: bool = False) -> Any:
        """What Norse's current is larger by."""
        if self.gain is None:
            return 1.0
        return self.gain.r * self.gain.w_in if both else self.gain.r

    def _charged(self, kind: str, current: Tensor, v: Tensor) -> Tensor:
        """The membrane before its reset."""
        p = self.module.p
        return (
            v + current if kind == "IF" else v + self.module.dt * p.tau_mem_inv * ((p.v_leak - v) + current)
        )

    def _above(self, v: Tensor, like: Tensor) -> Tensor:
        """A membrane above its rest."""
        v = torch.broadcast_to(v, like.shape)
        return v if not bool((self.rest != 0).any()) else (v.double() - self.rest).to(v.dtype)


def _cast(value: Any, like: Tensor) -> Any:
    """A parameter in the precision of ``like``, and a tensor of its own."""
    if isinstance(value, nn.Parameter) or not isinstance(value, Tensor) or not value.is_floating_point():
        return value
    return value.detach().clone().to(like)


def _array(tensor: Tensor) -> np.ndarray:
    """A copy that later in-place changes do not reach."""
    return np.array(tensor.detach().cpu().numpy())
