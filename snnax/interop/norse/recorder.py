"""The recorder of the snnTorch side, taught what Norse's neurons and states are."""

from __future__ import annotations

from collections.abc import Callable
from functools import partial
from typing import Any

import torch
from torch import Tensor, nn

from snnax.errors import ConversionError
from snnax.interop.norse.cells import PORTS, is_cell, tap
from snnax.interop.norse.gain import Resistance
from snnax.interop.snntorch.recorder import Recorder, _bind
from snnax.interop.snntorch.records import Value


class CellRecorder(Recorder):
    """Records one run of a network of Norse cells over some time steps."""

    def attach(self, net: nn.Module) -> None:
        """Make the modules of ``net``, a copy that is thrown away, report their calls."""
        super().attach(net)
        for name, module in net.named_modules():
            name = name or self.where
            if is_cell(module):
                tap(module, partial(self._call_cell, name, module))
            elif isinstance(module, Resistance):
                vars(module)["forward"] = _bind(
                    self._call_leaf, name, module, partial(type(module).forward, module)
                )

    def _call_cell(
        self, name: str, module: Any, x: Tensor, state: Any, run: Callable[[], tuple[Tensor, Any]]
    ) -> tuple[Tensor, Any]:
        """One step of a neuron: its input, where its states come from, and what it returns."""
        inputs = (self.signal(x, f"the input of {name!r}"),)
        states = {PORTS[f]: self._before(name, module, f, getattr(state, f)) for f in state._fields}
        with self._pause():
            out, after = run()
            if not hasattr(module, "input_weights") and out.shape != x.shape:
                raise ConversionError(
                    name, f"its input has shape {tuple(x.shape)} and its output {tuple(out.shape)}: its "
                    "parameters or states have more neurons than its input",
                    "Give it one input for each neuron.",
                )  # fmt: skip
            out = out.view_as(out)
            after = type(after)(*(part.view_as(part) for part in after))
        op = self.ledger.add(
            "neuron", name, self.where, inputs=inputs, shape=tuple(out.shape), module=module, states=states,
            held=self._hold(name, module),
        )  # fmt: skip
        for what in after._fields:
            part = getattr(after, what)
            self.ledger.bind(part, Value(op, PORTS[what], tuple(part.shape)))
        self.ledger.bind(out, Value(op, "spk", op.shape))
        return out, after

    def _before(self, name: str, module: Any, what: str, tensor: Tensor) -> Value | None:
        """Where a state comes from; ``None`` for the one that Norse starts from."""
        value = self.ledger.find(tensor)
        if value is not None:
            return value
        start = torch.zeros((), dtype=tensor.dtype)
        if what == "v":
            what_rests = "v_leak" if hasattr(module.p, "v_leak") else "v_reset"
            start = torch.as_tensor(getattr(module.p, what_rests))
        if bool((tensor != start.to(tensor)).any()):
            raise ConversionError(
                name, f"its initial {what} is not the one that Norse starts from, or was changed between two steps",
                "Start from state=None, and hand the state on as the neuron returned it.",
            )  # fmt: skip
        return None
