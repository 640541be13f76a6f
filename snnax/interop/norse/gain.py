"""The resistance in front of a Norse neuron: NIR's ``r`` and ``w_in``, which Norse's cells do not have."""

from __future__ import annotations

from typing import Any

import numpy as np
import torch
from torch import Tensor, nn

from snnax.interop.nodes.spec import NeuronSpec


class Resistance(nn.Module):
    """``r * w_in * x + bias``: what makes Norse's cells those of NIR.

    It stands right before a neuron in the networks that :func:`snnax.interop.to_norse` makes. Reading them back
    puts both factors into the neuron again.

    Args:
        r: factor of the current, one number or one for each neuron.
        w_in: factor of the input of a neuron with a synaptic current.
        bias: added in every step; the resting potential of a neuron that starts from 0, or a bias of its
            recurrent weights.
        current: which current the neuron was said to show and to charge its membrane with; Norse's own is
            ``"undecayed"``, ``"new"`` is the same one under another name, one step older by its decay.
        apart: snnTorch's neuron with recurrent weights inside that the neuron stands for, ``"RLeaky"`` or
            ``"RSynaptic"``: its recurrent signals are no part of the input that is recorded for it.
        late_reset: the neuron was said to reset at the start of the step after a spike, which gives the same
            spikes and shows the membrane before its reset.
    """

    r: Tensor
    w_in: Tensor
    bias: Tensor

    def __init__(
        self,
        r: Any = 1.0,
        w_in: Any = 1.0,
        bias: Any = 0.0,
        current: str = "undecayed",
        apart: str = "",
        late_reset: bool = False,
    ) -> None:
        super().__init__()
        self.register_buffer("r", torch.as_tensor(np.asarray(r, np.float64)))
        self.register_buffer("w_in", torch.as_tensor(np.asarray(w_in, np.float64)))
        self.register_buffer("bias", torch.as_tensor(np.asarray(bias, np.float64)))
        self.current = current
        self.apart = apart
        self.late_reset = late_reset

    def forward(self, x: Tensor) -> Tensor:
        """Scale ``[B, ...]``."""
        out = x * (self.r * self.w_in).to(x.dtype)
        return out + self.bias.to(x.dtype) if bool((self.bias != 0).any()) else out

    @property
    def factor(self) -> np.ndarray:
        """``r * w_in``, with an axis for the inputs of a weight where it differs between neurons."""
        value = _array(self.r * self.w_in)
        return value[:, None] if value.ndim else value

    def extra_repr(self) -> str:
        """What ``print`` shows."""
        return f"current={self.current!r}, apart={self.apart!r}, late_reset={self.late_reset}"

    def joined(self, spec: NeuronSpec, w_rec: np.ndarray) -> NeuronSpec:
        """The neuron with its recurrent weights inside, as snnTorch has it."""
        dt, values = spec.sizes["dt"], {}
        for ours, tau in (("alpha", "tau_syn"), ("beta", "tau_mem")):
            values[ours] = np.asarray(1 - dt / spec.values[tau])
        if self.apart == "RLeaky":
            del values["alpha"]
        values["threshold"] = spec.values["v_threshold"]
        weight = w_rec / self.factor
        recurrent = {"weight": weight.astype(w_rec.dtype)}
        if self.bias.ndim or bool(self.bias != 0):
            bias = np.broadcast_to(_array(self.bias) / np.ravel(self.factor), weight.shape[:1])
            recurrent["bias"] = bias.astype(w_rec.dtype)
        names = {"tau_syn": "alpha", "tau_mem": "beta", "v_threshold": "threshold"}
        return NeuronSpec(
            self.apart,
            values,
            tuple(names[key] for key in spec.learn if names.get(key) in values),
            {"reset_mechanism": "zero", "reset_delay": False},
            spec.surrogate,
            recurrent,
        )

    def applied(
        self, kind: str, values: dict[str, Any], options: dict[str, Any]
    ) -> tuple[dict[str, Any], dict[str, Any]]:
        """Values and options of the neuron with this resistance in front of it."""
        r, w_in = (_array(t) for t in (self.r, self.w_in))
        values = {**values, "r": values["r"] * r}
        if kind.startswith("Cuba"):
            values["w_in"] = w_in
            options = {**options, "membrane_current": self.current}
        else:
            values["r"] = values["r"] * w_in
        if not self.apart and kind in ("LIF", "LI"):
            values["v_leak"] = _array(self.bias)
        if self.late_reset:
            options = {**options, "reset_delay": True, "reset_at": "start"}
        return values, options


def _array(tensor: Tensor) -> np.ndarray:
    return np.array(tensor.detach().cpu().double().numpy())
