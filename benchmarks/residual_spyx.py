"""The network of ``residual`` in spyx: its neurons in a scan, convolutions and normalization of Flax NNX."""

from __future__ import annotations

from typing import Any

from benchmarks import ported


def spyx_step(network: Any, x: Any, y: Any) -> ported.JaxStep:
    """A training step from the weights of ``residual.snntorch_network``; images are channels-last."""
    import jax.numpy as jnp
    import torch
    from flax import nnx
    from spyx import axn
    from spyx import nn as spyx

    rngs = nnx.Rngs(0)

    def conv(module: Any) -> Any:
        made = nnx.Conv(
            module.in_channels, module.out_channels, module.kernel_size, module.stride,
            padding=[(pad, pad) for pad in module.padding], use_bias=False, rngs=rngs,
        )  # fmt: skip
        made.kernel[...] = array(module.weight).transpose(2, 3, 1, 0)
        return made

    def norm(module: Any) -> Any:
        made = nnx.BatchNorm(module.num_features, use_running_average=True, epsilon=module.eps, rngs=rngs)
        made.scale[...], made.bias[...] = array(module.weight), array(module.bias)
        made.mean[...], made.var[...] = array(module.running_mean), array(module.running_var)
        return made

    def lif(side: int, features: int) -> Any:
        return spyx.LIF((side, side, features), beta=0.5, activation=axn.arctan(), rngs=rngs)

    class Block(nnx.Module):
        """As spyx asks of a layer with a state."""

        def __init__(self, module: Any, side: int) -> None:
            features = module.conv1.out_channels
            self.conv1, self.norm1, self.lif1 = conv(module.conv1), norm(module.norm1), lif(side, features)
            self.conv2, self.norm2, self.lif2 = conv(module.conv2), norm(module.norm2), lif(side, features)
            shorter = isinstance(module.short, torch.nn.Sequential)
            self.short = nnx.Sequential(conv(module.short[0]), norm(module.short[1])) if shorter else None

        def initial_state(self, batch: int) -> Any:
            return self.lif1.initial_state(batch), self.lif2.initial_state(batch)

        def __call__(self, x: Any, state: Any) -> Any:
            spikes, first = self.lif1(self.norm1(self.conv1(x)), state[0])
            short = x if self.short is None else self.short(x)
            spikes, second = self.lif2(self.norm2(self.conv2(spikes)) + short, state[1])
            return spikes, (first, second)

    first, first_norm, _, *blocks, _, _, head = network.net
    side, layers = x.shape[-1], [conv(first), norm(first_norm), lif(x.shape[-1], first.out_channels)]
    for block in blocks:
        side //= block.conv1.stride[0]
        layers.append(Block(block, side))
    dense = nnx.Linear(head.in_features, head.out_features, rngs=rngs)
    dense.kernel[...], dense.bias[...] = array(head.weight).T, array(head.bias)
    net = spyx.Sequential(*layers, lambda images: jnp.mean(images, (1, 2)), dense)
    graph, fixed, params = nnx.split(net, nnx.Any(nnx.PathContains("beta"), nnx.BatchStat), ...)

    def forward(params: Any, x: Any) -> Any:
        return spyx.run(nnx.merge(graph, fixed, params), x)[0]

    return ported.JaxStep(forward, params, x.movedim(2, -1), y)


def array(tensor: Any) -> Any:
    """Of NumPy, apart from the torch network."""
    return tensor.detach().numpy().copy()
