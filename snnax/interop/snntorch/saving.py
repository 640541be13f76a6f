"""Torch's own file of weights."""

from __future__ import annotations

from os import PathLike, fspath

import torch
from torch import nn


def save_state_dict(path: str | PathLike[str], net: nn.Module) -> None:
    """Write the ``state_dict`` of a network, for ``net.load_state_dict(torch.load(path))``.

    The network itself cannot be pickled: its surrogate gradients are functions made at run time.
    """
    torch.save(net.state_dict(), fspath(path))
