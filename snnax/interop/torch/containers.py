"""Modules under the paths that they have in a network."""

from __future__ import annotations

from torch import nn


def place(net: nn.Module, path: str, module: nn.Module) -> None:
    """Make ``module`` a part of ``net`` under its path, whose other parts come to be on the way."""
    *above, leaf = path.split(".")
    for part in above:
        if part not in net._modules:
            net.add_module(part, nn.Module())
        net = net.get_submodule(part)
    inside = net._modules.get(leaf)  # of "lif", "lif.gain" may have come first
    net.add_module(leaf, module)
    for child, part_of_it in inside.named_children() if inside is not None else ():
        module.add_module(child, part_of_it)
