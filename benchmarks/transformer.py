"""A spiking transformer: one training step in snnax, snnTorch and SpikingJelly, from the same weights.

    python -m benchmarks.transformer [--batch 16] [--steps 4] [--blocks 2] [--rounds 5] [--cores 1|2] [--mallopt]
    python -m benchmarks.transformer --check          # spikes, outputs and gradients beside torch, and no times

As in Spikformer (Zhou et al. 2023, https://arxiv.org/abs/2209.15425): two convolutions make 64 tokens of 128 channels
of an image of 32 x 32; in each block ``(q k^T) v / 8`` of spikes in 4 heads, without softmax, and a perceptron; batch
normalization, by running averages, before each neuron. ``snnax-graph`` is one time step of snnTorch's network after
``interop.from_snntorch``, in ``unroll``; ``snnax-program`` is the port of a module whose ``forward`` has the loop over
time. SpikingJelly, in multi-step mode, resets in the same step. The floor is the bare convolutions and matrix products,
of all steps at once, by torch.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from functools import partial
from types import SimpleNamespace
from typing import Any

from benchmarks import ported
from benchmarks.ported import Step

WIDTH, HEADS, SIDE, BLOCKS = 128, 4, 32, 2
SCALE = 0.125


def plain_layers() -> Any:
    """torch's layers, by the names under which SpikingJelly has its own."""
    from torch import nn

    return SimpleNamespace(**{name: getattr(nn, name) for name in ("Conv2d", "BatchNorm1d", "BatchNorm2d")})


def one_step(neuron: Callable[..., Any], layers: Any, blocks: int, width: int = WIDTH) -> Any:
    """The network at one time step, of torch, with neurons that keep their states."""
    from torch import nn

    class Dense(nn.Module):
        """A linear layer, normalization of each channel over tokens and samples, neurons: ``[B, tokens, channels]``."""

        def __init__(self, inputs: int, outputs: int) -> None:
            super().__init__()
            self.fc, self.norm = nn.Linear(inputs, outputs, bias=False), layers.BatchNorm1d(outputs)
            self.lif = neuron()

        def forward(self, x: Any) -> Any:
            return self.lif(self.norm(self.fc(x).transpose(-1, -2)).transpose(-1, -2))

    class Block(nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.q, self.k, self.v = (Dense(width, width) for _ in range(3))
            self.lif, self.proj = neuron(0.5), Dense(width, width)
            self.up, self.down = Dense(width, 4 * width), Dense(4 * width, width)

        def forward(self, x: Any) -> Any:
            q, k, v = (
                layer(x).unflatten(-1, (HEADS, width // HEADS)).transpose(-2, -3)
                for layer in (self.q, self.k, self.v)
            )
            mixed = (q @ k.transpose(-1, -2)) @ v * SCALE
            x = x + self.proj(self.lif(mixed.transpose(-2, -3).flatten(-2)))
            return x + self.down(self.up(x))

    class Network(nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.embed = nn.Sequential(
                layers.Conv2d(3, width // 2, 3, 2, 1, bias=False), layers.BatchNorm2d(width // 2), neuron(),
                layers.Conv2d(width // 2, width, 3, 2, 1, bias=False), layers.BatchNorm2d(width), neuron(),
            )  # fmt: skip
            self.blocks = nn.ModuleList(Block() for _ in range(blocks))
            self.head = nn.Linear(width, 10)

        def forward(self, x: Any) -> Any:
            x = self.embed(x).flatten(-2).transpose(-1, -2)
            for block in self.blocks:
                x = block(x)
            return self.head(x.mean(-2))

    return Network().eval()


def snntorch_network(steps: int, blocks: int = BLOCKS, width: int = WIDTH) -> Any:
    """A module whose ``forward`` loops over time and returns the mean of the outputs."""
    import snntorch
    import torch
    from snntorch import surrogate

    def lif(threshold: float = 1.0) -> Any:
        return snntorch.Leaky(beta=0.5, threshold=threshold, spike_grad=surrogate.atan(), init_hidden=True)

    torch.manual_seed(0)
    network = ported.looped(one_step(lif, plain_layers(), blocks, width), steps)
    for name, module in network.named_modules():
        if isinstance(module, torch.nn.BatchNorm1d | torch.nn.BatchNorm2d):
            module.running_var.fill_(0.01 if "proj" in name else 0.1)  # with these every layer fires
    return network


def spikingjelly_network(network: Any, blocks: int) -> Any:
    """The same in multi-step mode: each layer over all steps at once."""
    from spikingjelly.activation_based import layer, neuron, surrogate

    def lif(threshold: float = 1.0) -> Any:
        settings = {"decay_input": False, "v_reset": None, "detach_reset": True}
        return neuron.LIFNode(2.0, v_threshold=threshold, surrogate_function=surrogate.ATan(), **settings)

    return ported.multi_step(one_step(lif, layer, blocks), network)


def floor_step(network: Any, x: Any, blocks: int) -> Step:
    """Forward and both derivatives of each product, on all steps and samples, and nothing else."""
    import torch

    found = ported.signals(network, x, torch.nn.Conv2d | torch.nn.Linear)
    images = [pair for pair in found if isinstance(pair[0], torch.nn.Conv2d)]
    matrices = [
        (signal.reshape(-1, signal.shape[-1]), module.weight.detach())
        for module, signal in found
        if isinstance(module, torch.nn.Linear)
    ]
    tokens = (SIDE // 4) ** 2
    q, k, v = (torch.rand(len(x) * x.shape[1] * HEADS, tokens, WIDTH // HEADS) for _ in range(3))

    def step() -> float:
        for number, (module, signal) in enumerate(images):
            ported.convolved(signal, module, inner=number > 0)
        for signal, weight in matrices:
            y = signal @ weight.T
            _ = y @ weight, y.T @ signal
        for _ in range(blocks):
            mixed = q @ k.mT
            slope = (mixed @ v) @ v.mT
            _ = mixed.mT @ v, slope @ k, slope.mT @ q
        return 0.0

    return step


def candidates(steps: int, batch: int, blocks: int) -> dict[str, Step]:
    floor, jelly = partial(floor_step, blocks=blocks), partial(spikingjelly_network, blocks=blocks)
    network = snntorch_network(steps, blocks)
    made = ported.makers(network, (steps, batch, 3, SIDE, SIDE), floor, jelly)
    return {name: make() for name, make in made.items()}


def reports(
    steps: int, batch: int, blocks: int, width: int = WIDTH, side: int = SIDE
) -> Iterator[tuple[str, Any]]:
    """Spikes, outputs and gradients of both ports beside torch's."""
    import torch

    from snnax import interop

    network = snntorch_network(steps, blocks, width)
    x = torch.rand(steps, batch, 3, side, side)
    for name, source, sample in (("graph", network.net, x[0]), ("program", network, x)):
        port = interop.from_snntorch(source, sample)
        yield name, interop.crossvalidate(source, port, x, gradients=True)


def main() -> None:
    parser = ported.arguments(__doc__)
    parser.add_argument("--blocks", type=int, default=BLOCKS)
    parser.add_argument("--check", action="store_true", help="cross-validate, and measure no times")
    given = parser.parse_args()
    ported.begin(given)
    if given.check:
        for name, report in reports(given.steps, given.batch, given.blocks):
            print(f"{name}: {report}\n", flush=True)
    else:
        ported.compare(candidates(given.steps, given.batch, given.blocks), given)


if __name__ == "__main__":
    main()
