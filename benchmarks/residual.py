"""A residual network of 17 convolutions with batch normalization: one training step in snnax, snnTorch, SpikingJelly.

    python -m benchmarks.residual [--batch 16] [--steps 4] [--rounds 5] [--cores 1|2] [--mallopt]

Widths 32 to 256, two blocks each, normalization by running averages, images of 32 x 32. ``snnax-graph`` is a time step
of snnTorch's network after ``interop.from_snntorch``, in ``unroll``; ``snnax-program`` is the port of a module whose
``forward`` has the loop over time. All start from the same weights; SpikingJelly resets in the same step. The floor is
the bare convolutions, by torch.
"""

from __future__ import annotations

from collections.abc import Callable
from itertools import pairwise
from typing import Any

from benchmarks import ported
from benchmarks.ported import Step

WIDTHS = (32, 32, 32, 64, 64, 128, 128, 256, 256)  # of what the first block gets, and of each block
SIDE = 32


def one_step(neuron: Callable[[], Any]) -> Any:
    """The network at one time step, of torch, with neurons that keep their states."""
    from torch import nn

    class Block(nn.Module):
        def __init__(self, inputs: int, outputs: int) -> None:
            super().__init__()
            stride = 1 if inputs == outputs else 2
            self.conv1 = nn.Conv2d(inputs, outputs, 3, stride, 1, bias=False)
            self.norm1, self.lif1 = nn.BatchNorm2d(outputs), neuron()
            self.conv2 = nn.Conv2d(outputs, outputs, 3, 1, 1, bias=False)
            self.norm2, self.lif2 = nn.BatchNorm2d(outputs), neuron()
            self.short = nn.Identity()
            if inputs != outputs:
                shrink = nn.Conv2d(inputs, outputs, 1, stride, bias=False)
                self.short = nn.Sequential(shrink, nn.BatchNorm2d(outputs))

        def forward(self, x: Any) -> Any:
            y = self.lif1(self.norm1(self.conv1(x)))
            return self.lif2(self.norm2(self.conv2(y)) + self.short(x))

    return nn.Sequential(
        nn.Conv2d(3, WIDTHS[0], 3, 1, 1, bias=False), nn.BatchNorm2d(WIDTHS[0]), neuron(),
        *(Block(inputs, outputs) for inputs, outputs in pairwise(WIDTHS)),
        nn.AdaptiveAvgPool2d(1), nn.Flatten(), nn.Linear(WIDTHS[-1], 10),
    ).eval()  # fmt: skip


def snntorch_network(steps: int) -> Any:
    """A module whose ``forward`` loops over time and returns the mean of the outputs."""
    import snntorch
    import torch
    from snntorch import surrogate

    def lif() -> Any:
        return snntorch.Leaky(beta=0.5, spike_grad=surrogate.atan(), init_hidden=True)

    torch.manual_seed(0)
    network = ported.looped(one_step(lif), steps)
    for module in network.modules():
        if isinstance(module, torch.nn.BatchNorm2d):
            module.running_var.fill_(0.1)  # with these every layer fires
    return network


def spikingjelly_network(network: Any) -> Any:
    """The same in multi-step mode: each layer over all steps at once."""
    from spikingjelly.activation_based import layer, neuron, surrogate
    from torch import nn

    def lif() -> Any:
        return neuron.LIFNode(
            tau=2.0, decay_input=False, v_reset=None, surrogate_function=surrogate.ATan(), detach_reset=True
        )

    def replaced(module: Any) -> None:
        """Layers by SpikingJelly's, with the same parameters."""
        for name, child in module.named_children():
            made = None
            if isinstance(child, nn.Conv2d):
                sizes = (
                    child.in_channels,
                    child.out_channels,
                    child.kernel_size,
                    child.stride,
                    child.padding,
                )
                made = layer.Conv2d(*sizes, bias=False)
            elif isinstance(child, nn.BatchNorm2d):
                made = layer.BatchNorm2d(child.num_features)
            elif isinstance(child, nn.AdaptiveAvgPool2d):
                made = layer.AdaptiveAvgPool2d(1)
            elif isinstance(child, nn.Flatten):
                made = layer.Flatten()
            if made is None:
                replaced(child)
            else:
                setattr(module, name, made)

    made = one_step(lif)
    replaced(made)
    return ported.multi_step(made, network)


def floor_step(network: Any, x: Any) -> Step:
    """Forward and both derivatives of each convolution, on all steps and samples, and nothing else."""
    import torch

    layers = ported.signals(network, x, torch.nn.Conv2d)

    def step() -> float:
        for number, (module, images) in enumerate(layers):
            ported.convolved(images, module, inner=number > 0)
        return 0.0

    return step


def makers(steps: int, batch: int, device: str = "cpu") -> dict[str, Callable[[], Step]]:
    """What makes each candidate; those of torch on ``device``."""
    network = snntorch_network(steps)
    return ported.makers(network, (steps, batch, 3, SIDE, SIDE), floor_step, spikingjelly_network, device)


def main() -> None:
    given = ported.arguments(__doc__).parse_args()
    ported.begin(given)
    made = {name: make() for name, make in makers(given.steps, given.batch).items()}
    ported.compare(made, given)


if __name__ == "__main__":
    main()
