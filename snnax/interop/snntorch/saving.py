"""Torch's own file of weights."""

from __future__ import annotations

import io

import torch
from torch import nn


def saved_state_dict(net: nn.Module) -> bytes:
    """The content of a file with the ``state_dict`` of a network, for ``net.load_state_dict(torch.load(path))``.

    The network itself cannot be pickled: its surrogate gradients are functions made at run time.
    """
    buffer = io.BytesIO()
    torch.save(net.state_dict(), buffer)
    return buffer.getvalue()
