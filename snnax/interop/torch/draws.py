"""What torch draws while it runs: recorded operation by operation, or given again."""

from __future__ import annotations

from typing import Any

import numpy as np
import torch
from torch import Tensor
from torch.utils._python_dispatch import TorchDispatchMode

from snnax.interop.program.draws import Drawn
from snnax.interop.program.nodes import RANDOM
from snnax.interop.torch.inplace import drawing


class Draws(TorchDispatchMode):
    """While it is entered, what is drawn is recorded; or it is what an earlier run drew.

    Each operation draws for itself, as it is seen here, below autograd: what it gives has no gradient in torch either.

    Args:
        known: what the operations are to give, in their order; ``None`` lets torch draw.

    Attributes:
        drawn: what they gave.
    """

    def __init__(self, known: Drawn | None = None) -> None:
        super().__init__()
        self.drawn: list[tuple[str, np.ndarray]] = []
        self._known = known

    @classmethod
    def _should_skip_dynamo(cls) -> bool:
        """What is for ``torch.compile`` alone is not loaded, which takes seconds."""
        return False

    def __torch_dispatch__(self, func: Any, types: Any, args: Any = (), kwargs: Any = None) -> Any:
        made = func(*args, **(kwargs or {}))
        packet = func._overloadpacket if (instead := drawing(func)) is None else instead._overloadpacket
        if packet.__name__ not in RANDOM:
            return made
        outs = list(made) if isinstance(made, tuple) else [made]
        if self._known is not None:
            value = torch.from_numpy(self._known[len(self.drawn)][1]).to(outs[-1])
            made = self._given(packet.__name__, args, outs, value)
        self.drawn.append((packet.__name__, outs[-1].detach().cpu().numpy().copy()))
        return made

    @staticmethod
    def _given(name: str, args: Any, outs: list[Tensor], value: Tensor) -> Any:
        """What an operation returns that has drawn ``value``, which is written where it wrote."""
        outs[-1].copy_(value)
        if name != "native_dropout":
            return outs[0]
        x, p = args[:2]  # the last result is the mask
        outs[0].copy_(x * value * (0.0 if p == 1 else 1 / (1 - p)))
        return tuple(outs)
