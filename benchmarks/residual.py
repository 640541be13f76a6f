"""A residual network of 17 convolutions with batch normalization: one training step in snnax and other libraries.

    python -m benchmarks.residual [--batch 16] [--steps 4] [--rounds 5] [--cores 1|2] [--mallopt]

Widths 32 to 256, two blocks each, normalization by running averages, images of 32 x 32. ``snnax-graph`` is a time step
of snnTorch's network after ``interop.from_snntorch``, in ``unroll``; ``snnax-program`` is the port of a module whose
``forward`` has the loop over time. All start from the same weights. SpikingJelly and Norse reset in the same step.
Norse does not detach the reset, and its surrogate is SuperSpike. spyx fires one step later in each layer, so that
within 4 steps no spike reaches the output. The floor is the bare convolutions, by torch.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from functools import partial
from itertools import pairwise
from typing import Any

from benchmarks import ported
from benchmarks.ported import Step
from benchmarks.residual_spyx import spyx_step

WIDTHS = (32, 32, 32, 64, 64, 128, 128, 256, 256)  # of what the first block gets, and of each block
SIDE = 32


def one_step(neuron: Callable[[], Any], widths: Sequence[int] = WIDTHS) -> Any:
    """The network at one time step, of torch, with neurons that keep their states; ``widths`` as ``WIDTHS``."""
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
        nn.Conv2d(3, widths[0], 3, 1, 1, bias=False), nn.BatchNorm2d(widths[0]), neuron(),
        *(Block(inputs, outputs) for inputs, outputs in pairwise(widths)),
        nn.AdaptiveAvgPool2d(1), nn.Flatten(), nn.Linear(widths[-1], 10),
    ).eval()  # fmt: skip


def widths_of(network: Any) -> tuple[int, ...]:
    """As ``WIDTHS``, of a network that :func:`snntorch_network` made."""
    first, _, _, *blocks, _, _, _ = network.net
    return (first.out_channels, *(block.conv2.out_channels for block in blocks))


def snntorch_network(steps: int, widths: Sequence[int] = WIDTHS) -> Any:
    """A module whose ``forward`` loops over time and returns the mean of the outputs."""
    import snntorch
    import torch
    from snntorch import surrogate

    def lif() -> Any:
        return snntorch.Leaky(beta=0.5, spike_grad=surrogate.atan(), init_hidden=True)

    torch.manual_seed(0)
    network = ported.looped(one_step(lif, widths), steps)
    for module in network.modules():
        if isinstance(module, torch.nn.BatchNorm2d):
            module.running_var.fill_(0.05)  # with these every layer fires
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

    made = one_step(lif, widths_of(network))
    replaced(made)
    return ported.multi_step(made, network)


def norse_step(network: Any, x: Any, y: Any, device: str = "cpu") -> Step:
    """The same of Norse's ``LIFBoxCell``, in a loop over time.

    Its membrane is snnTorch's times ``1 - beta``, and so is its threshold.
    """
    import torch
    from norse.torch import LIFBoxCell, LIFBoxParameters
    from norse.torch.functional.reset import reset_subtract

    dt = 1e-3
    rate, threshold = torch.as_tensor(0.5 / dt), torch.as_tensor(0.5)
    parameters = LIFBoxParameters(tau_mem_inv=rate, v_th=threshold, reset_method=reset_subtract)

    class Neuron(torch.nn.Module):
        """A cell that keeps its state."""

        def __init__(self) -> None:
            super().__init__()
            self.cell, self.state = LIFBoxCell(parameters, dt=dt), None

        def forward(self, x: Any) -> Any:
            spikes, self.state = self.cell(x, self.state)
            return spikes

    def reset(module: Any) -> None:
        if isinstance(module, Neuron):
            module.state = None

    net = one_step(Neuron, widths_of(network))
    net.load_state_dict(network.net.state_dict(), strict=False)
    looped = ported.looped(net, len(x), reset)
    return ported.torch_step(looped.to(device), x.to(device), y.to(device))


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
    shape = (steps, batch, 3, SIDE, SIDE)
    others = {"norse": partial(norse_step, device=device), "spyx": spyx_step}
    return ported.makers(network, shape, floor_step, spikingjelly_network, device, others)


def compiled_step(blocks: int, steps: int = 4, batch: int = 16) -> ported.JaxStep:
    """``snnax-graph`` with the first blocks only."""
    import torch

    network = snntorch_network(steps, WIDTHS[: blocks + 1])
    x, y = torch.rand(steps, batch, 3, SIDE, SIDE), torch.randint(0, 10, (batch,))
    return ported.snnax_step(network.net, x[0], x, y)


def main() -> None:
    given = ported.arguments(__doc__).parse_args()
    ported.begin(given)
    made = {name: make() for name, make in makers(given.steps, given.batch).items()}
    ported.compare(made, given)


if __name__ == "__main__":
    main()
