"""Networks as snnTorch's users write them, for every test that ports one.

``CASES`` holds for each its name, a function that builds it in evaluation mode, and what one call of it
takes. Weights are seeded and inputs strong enough that every neuron layer spikes. ``sequence(case, T)`` is
an input for all steps, as a cross-validation takes it.
"""

from __future__ import annotations

import zlib
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import numpy as np
import snntorch as snn
import snntorch.utils
import torch
import torch.nn.functional as F
from torch import nn

T, B = 6, 3


@dataclass(frozen=True)
class Case:
    """One network: how to build it, and a sample of one call."""

    name: str
    make: Callable[[], nn.Module]
    shape: tuple[int, ...]
    mode: str = "step"

    def build(self) -> nn.Module:
        """The network, in evaluation mode, the same at each call."""
        torch.manual_seed(zlib.crc32(self.name.encode()) % 2**31)
        net = self.make()
        with torch.no_grad():
            for module in net.modules():
                if isinstance(module, nn.BatchNorm1d | nn.BatchNorm2d):
                    module.running_mean.uniform_(-0.3, 0.3)
                    module.running_var.uniform_(0.5, 1.5)
                    module.weight.uniform_(0.5, 2.0)
                    module.bias.uniform_(-0.2, 0.4)
                elif isinstance(module, nn.Linear | nn.Conv1d | nn.Conv2d):
                    n = module.weight[0].numel()
                    module.weight.normal_(0.7 / n, n**-0.5)
                    if module.bias is not None:
                        module.bias.uniform_(0.0, 0.3)
        return net.eval()

    @property
    def sample(self) -> np.ndarray:
        """What one call takes."""
        x = self.sequence(T)
        return x if self.mode == "sequence" else x[0]

    def sequence(self, steps: int, batch: int = B, seed: int = 0) -> np.ndarray:
        """Input of all steps, ``[T, B, ...]``; the same frame throughout if the network wants that."""
        rng = np.random.default_rng(seed)
        frames = 1 if self.mode == "constant" else steps
        x = rng.uniform(0.0, 3.0, (frames, batch, *self.shape)).astype(np.float32)
        return np.repeat(x, steps // frames, axis=0)


def hidden_sequential() -> nn.Module:
    return nn.Sequential(
        nn.Linear(7, 9),
        snn.Leaky(beta=0.8, init_hidden=True),
        nn.Linear(9, 4),
        snn.Leaky(beta=0.9, init_hidden=True, output=True),
    )


def conv_sequential() -> nn.Module:
    return nn.Sequential(
        nn.Conv2d(2, 5, 3, padding=1),
        nn.MaxPool2d(2),
        snn.Leaky(beta=0.5, init_hidden=True),
        nn.Conv2d(5, 4, 3, stride=2, groups=1, bias=False),
        snn.Leaky(beta=0.6, threshold=0.5, init_hidden=True),
        nn.Flatten(),
        nn.Linear(4, 3),
        snn.Leaky(beta=0.5, init_hidden=True, output=True),
    )


def normed_sequential() -> nn.Module:
    return nn.Sequential(
        nn.Conv2d(2, 5, 3, groups=1),
        nn.BatchNorm2d(5),
        snn.Leaky(beta=0.7, init_hidden=True),
        nn.AvgPool2d(2),
        nn.Dropout(0.3),
        nn.Flatten(),
        nn.Linear(20, 6),
        nn.BatchNorm1d(6),
        snn.Synaptic(alpha=0.4, beta=0.8, init_hidden=True),
        nn.Identity(),
        nn.Linear(6, 3),
        snn.Leaky(beta=0.9, reset_mechanism="none", init_hidden=True, output=True),
    )


def sum_pooled() -> nn.Module:
    return nn.Sequential(
        nn.Conv2d(2, 4, 3, dilation=2),
        snn.Leaky(beta=0.6, init_hidden=True),
        nn.LPPool2d(1, 2),
        nn.Flatten(),
        nn.Linear(4, 3),
        snn.Leaky(beta=0.5, reset_mechanism="zero", init_hidden=True),
    )


def conv1d_sequential() -> nn.Module:
    return nn.Sequential(
        nn.Conv1d(2, 4, 3, padding="same"),
        nn.AvgPool1d(2),
        snn.Leaky(beta=0.8, init_hidden=True),
        nn.Conv1d(4, 3, 2, stride=2),
        nn.MaxPool1d(2),
        snn.Leaky(beta=0.8, init_hidden=True),
        nn.Flatten(),
        nn.Linear(3, 2),
        snn.Leaky(beta=0.8, init_hidden=True),
    )


def every_neuron() -> nn.Module:
    return nn.Sequential(
        nn.Linear(7, 6),
        snn.RLeaky(beta=0.8, linear_features=6, init_hidden=True),
        nn.Linear(6, 6),
        snn.RSynaptic(alpha=0.5, beta=0.8, all_to_all=False, V=0.4, init_hidden=True),
        nn.Linear(6, 6),
        snn.Synaptic(alpha=0.7, beta=0.6, init_hidden=True),
        nn.Linear(6, 6),
        snn.Alpha(alpha=0.9, beta=0.7, threshold=0.3, init_hidden=True),
        nn.Linear(6, 6),
        snn.Lapicque(R=2.0, C=1.5, time_step=1, threshold=0.5, init_hidden=True),
        nn.Linear(6, 3),
        snn.Leaky(beta=0.9, init_hidden=True, output=True),
    )


def recurrent_conv() -> nn.Module:
    return nn.Sequential(
        nn.Conv2d(2, 3, 3),
        snn.RLeaky(beta=0.7, conv2d_channels=3, kernel_size=3, init_hidden=True),
        nn.Flatten(),
        nn.Linear(108, 4),
        snn.RLeaky(
            beta=0.7, all_to_all=False, V=torch.tensor([0.3, -0.4, 0.1, 0.2]), init_hidden=True, output=True
        ),
    )


class Block(nn.Module):
    """A residual block around spikes."""

    def __init__(self, n: int) -> None:
        super().__init__()
        self.fc = nn.Linear(n, n)
        self.lif = snn.Leaky(beta=0.8, init_hidden=True)

    def forward(self, x):
        return self.lif(self.fc(x)) + x


def nested() -> nn.Module:
    return nn.Sequential(
        nn.Sequential(nn.Linear(7, 6), snn.Leaky(beta=0.7, init_hidden=True)),
        nn.Sequential(Block(6), nn.Sequential(Block(6))),
        nn.Sequential(nn.Linear(6, 3), snn.Leaky(beta=0.9, threshold=1.8, init_hidden=True, output=True)),
    )


class ConstantFrame(nn.Module):
    """Tutorial 5: explicit states, a loop that shows one frame."""

    def __init__(self) -> None:
        super().__init__()
        self.fc1 = nn.Linear(7, 9)
        self.lif1 = snn.Leaky(beta=0.95)
        self.fc2 = nn.Linear(9, 4)
        self.lif2 = snn.Leaky(beta=0.95)

    def forward(self, x):
        mem1 = self.lif1.init_leaky()
        mem2 = self.lif2.init_leaky()
        spk2_rec = []
        mem2_rec = []
        for _ in range(T):
            cur1 = self.fc1(x)
            spk1, mem1 = self.lif1(cur1, mem1)
            cur2 = self.fc2(spk1)
            spk2, mem2 = self.lif2(cur2, mem2)
            spk2_rec.append(spk2)
            mem2_rec.append(mem2)
        return torch.stack(spk2_rec, dim=0), torch.stack(mem2_rec, dim=0)


class TutorialConv(nn.Module):
    """Tutorial 6: functional pooling and a view."""

    def __init__(self) -> None:
        super().__init__()
        self.conv1 = nn.Conv2d(2, 5, 3)
        self.lif1 = snn.Leaky(beta=0.5)
        self.conv2 = nn.Conv2d(5, 6, 2)
        self.lif2 = snn.Leaky(beta=0.5, threshold=0.7)
        self.fc1 = nn.Linear(6, 4)
        self.lif3 = snn.Leaky(beta=0.5)

    def forward(self, x):
        mem1 = self.lif1.reset_mem()
        mem2 = self.lif2.reset_mem()
        mem3 = self.lif3.reset_mem()
        spk3_rec, mem3_rec = [], []
        batch_size = x.size(0)
        for _ in range(T):
            spk1, mem1 = self.lif1(F.max_pool2d(self.conv1(x), 2), mem1)
            cur2 = F.avg_pool2d(self.conv2(spk1), 2)
            spk2, mem2 = self.lif2(cur2, mem2)
            spk3, mem3 = self.lif3(self.fc1(spk2.view(batch_size, -1)), mem3)
            spk3_rec.append(spk3)
            mem3_rec.append(mem3)
        return torch.stack(spk3_rec), torch.stack(mem3_rec)


class Sequence(nn.Module):
    """A loop over a sequence; ``style`` says how time is taken from it."""

    def __init__(self, style: str) -> None:
        super().__init__()
        self.style = style
        self.fc1 = nn.Linear(7, 6)
        self.lif1 = snn.Leaky(beta=0.9, learn_beta=True)
        self.fc2 = nn.Linear(6, 4)
        self.lif2 = snn.Leaky(beta=0.8, init_hidden=True)

    def steps(self, x):
        if self.style == "unbind":
            return x.unbind(0)
        if self.style == "split":
            return [frame.squeeze(0) for frame in x.split(1)]
        if self.style == "slice":
            return [x[t : t + 1].squeeze(0) for t in range(len(x))]
        if self.style == "batch_first":
            return [x[:, t] for t in range(x.shape[1])]
        if self.style == "transposed":
            return list(x.transpose(0, 1))
        if self.style == "ellipsis":
            return [x[t, ...] for t in range(x.size(0))]
        if self.style == "iterate":
            return x
        return [x[t] for t in range(x.size(0))]

    def forward(self, x):
        snn.utils.reset(self)
        mem1 = self.lif1.reset_mem()
        spikes = []
        for step, frame in enumerate(self.steps(x)):
            spk1, mem1 = self.lif1(self.fc1(frame), mem1)
            spk2 = self.lif2(self.fc2(spk1))
            if self.style == "split":
                spikes = spk2[None] if step == 0 else torch.cat((spikes, spk2[None]))
            else:
                spikes.append(spk2)
        if self.style == "iterate":
            return spikes
        if self.style in ("batch_first", "transposed"):
            return torch.stack(spikes, dim=1)
        return spikes if self.style == "split" else torch.stack(spikes)


class Preallocated(nn.Module):
    """Layers on the whole sequence before and after the loop, results written into one tensor."""

    def __init__(self) -> None:
        super().__init__()
        self.conv = nn.Conv2d(2, 3, 3)
        self.fc = nn.Linear(27, 5)
        self.lif = snn.Leaky(beta=0.9)
        self.readout = nn.Linear(5, 2)

    def forward(self, x):
        steps, batch = x.shape[:2]
        y = F.avg_pool2d(self.conv(x.flatten(0, 1)), 2)
        y = self.fc(y.flatten(1)).view(steps, batch, -1)
        out = torch.zeros(steps, batch, 5)
        mem = self.lif.reset_mem()
        for t in range(steps):
            out[t], mem = self.lif(y[t], mem)
        return self.readout(out)


class LayerByLayer(nn.Module):
    """A loop over time inside a loop over layers, one neuron object for both."""

    def __init__(self) -> None:
        super().__init__()
        self.layers = nn.ModuleList([nn.Linear(7, 6), nn.Linear(6, 6)])
        self.lif = snn.Leaky(beta=0.85)

    def forward(self, x):
        for layer in self.layers:
            mem = torch.zeros(x.shape[1], 6)
            spikes = []
            for t in range(x.shape[0]):
                spk, mem = self.lif(layer(x[t]), mem)
                spikes.append(spk)
            x = torch.stack(spikes)
        return x


class Hoisted(nn.Module):
    """The first layer runs once, before the loop that shows its result in each step."""

    def __init__(self) -> None:
        super().__init__()
        self.fc1 = nn.Linear(7, 6)
        self.lif1 = snn.Leaky(beta=0.9)
        self.fc2 = nn.Linear(6, 3)
        self.lif2 = snn.Leaky(beta=0.9)

    def forward(self, x):
        mem1, mem2 = None, None
        cur1 = self.fc1(x)
        mem1 = torch.zeros_like(cur1)
        mem2 = self.lif2.reset_mem()
        spikes, membranes = [], []
        for _ in range(T):
            spk1, mem1 = self.lif1(cur1, mem1)
            spk2, mem2 = self.lif2(self.fc2(spk1), mem2)
            spikes.append(spk2)
            membranes.append(mem2)
        return spikes, membranes


class Residual(nn.Module):
    """Sums, differences and multiples of signals, in place and not."""

    def __init__(self) -> None:
        super().__init__()
        self.fc1, self.fc2, self.fc3 = nn.Linear(7, 6), nn.Linear(6, 6), nn.Linear(6, 6)
        self.lif1 = snn.Leaky(beta=0.8, init_hidden=True)
        self.lif2 = snn.Leaky(beta=0.8, init_hidden=True)
        self.lif3 = snn.Leaky(beta=0.8, init_hidden=True)

    def forward(self, x):
        spk1 = self.lif1(self.fc1(x))
        cur = self.fc2(spk1)
        cur += spk1
        spk2 = self.lif2(cur * 0.5)
        cur = sum([self.fc3(spk2), spk1, -spk2])
        cur = torch.sub(cur, spk1, alpha=0.25) / 2
        return self.lif3(cur.clone())


class Reused(nn.Module):
    """One linear layer used twice in a step, one neuron object with two membranes."""

    def __init__(self) -> None:
        super().__init__()
        self.fc1, self.fc2 = nn.Linear(7, 6), nn.Linear(6, 6)
        self.lif = snn.Leaky(beta=0.8)

    def forward(self, x):
        mem_a = mem_b = mem_c = self.lif.reset_mem()
        out = []
        for t in range(x.size(0)):
            spk, mem_a = self.lif(self.fc1(x[t]), mem_a)
            spk, mem_b = self.lif(self.fc2(spk), mem_b)
            spk, mem_c = self.lif(self.fc2(spk), mem_c.clone())
            out.append(spk)
        return torch.stack(out)


class OneStep(nn.Module):
    """States come as arguments and are returned."""

    def __init__(self) -> None:
        super().__init__()
        self.fc1, self.fc2 = nn.Linear(7, 6), nn.Linear(6, 3)
        self.lif1 = snn.Synaptic(alpha=0.8, beta=0.7)
        self.lif2 = snn.RLeaky(beta=0.8, linear_features=3)

    def forward(self, x, syn1, mem1, spk2=None, mem2=None):
        if mem2 is None:
            spk2, mem2 = self.lif2.reset_mem()
        spk1, syn1, mem1 = self.lif1(self.fc1(x), syn1, mem1)
        spk2, mem2 = self.lif2(self.fc2(spk1), spk2, mem2)
        return spk2, mem2, (syn1, mem1)


class AllExplicit(nn.Module):
    """Every neuron with all its states threaded through a loop."""

    def __init__(self) -> None:
        super().__init__()
        self.fc = nn.ModuleList([nn.Linear(7, 6)] + [nn.Linear(6, 6) for _ in range(4)])
        self.rleaky = snn.RLeaky(beta=0.8, linear_features=6, reset_mechanism="zero")
        self.rsyn = snn.RSynaptic(alpha=0.6, beta=0.8, linear_features=6)
        self.syn = snn.Synaptic(alpha=0.6, beta=0.8, reset_delay=False)
        self.alpha = snn.Alpha(alpha=0.9, beta=0.7, threshold=0.2, reset_mechanism="subtract")
        self.lapicque = snn.Lapicque(beta=0.8, threshold=0.3)

    def forward(self, x):
        spk1, mem1 = self.rleaky.init_rleaky()
        spk2, syn2, mem2 = self.rsyn.init_rsynaptic()
        syn3, mem3 = self.syn.init_synaptic()
        exc, inh, mem4 = self.alpha.init_alpha()
        mem5 = self.lapicque.init_lapicque()
        spikes, membranes = [], []
        for t in range(len(x)):
            spk1, mem1 = self.rleaky(self.fc[0](x[t]), spk1, mem1)
            spk2, syn2, mem2 = self.rsyn(self.fc[1](spk1), spk2, syn2, mem2)
            spk3, syn3, mem3 = self.syn(self.fc[2](spk2), syn=syn3, mem=mem3)
            spk4, exc, inh, mem4 = self.alpha(self.fc[3](spk3), exc, inh, mem4)
            spk5, mem5 = self.lapicque(self.fc[4](spk4), mem5)
            spikes.append(spk5)
            membranes.append(syn3)
        return torch.stack(spikes), torch.stack(membranes)


class MembraneReadout(nn.Module):
    """A membrane, and a synapse, as signals."""

    def __init__(self) -> None:
        super().__init__()
        self.fc1, self.fc2 = nn.Linear(7, 6), nn.Linear(6, 6)
        self.lif1 = snn.Leaky(beta=0.8, init_hidden=True)
        self.lif2 = snn.Synaptic(alpha=0.5, beta=0.9, init_hidden=True, output=True)
        self.out = nn.Linear(6, 2)

    def forward(self, x):
        self.lif1(self.fc1(x))
        spk, syn, mem = self.lif2(self.fc2(self.lif1.mem))
        return self.out(mem + syn), spk


class Functional(nn.Module):
    """Functional layers with the module's own parameters, dropout, and statistics kept on the side."""

    def __init__(self) -> None:
        super().__init__()
        self.weight = nn.Parameter(torch.randn(4, 2, 3, 3))
        self.bias = nn.Parameter(torch.randn(4))
        self.norm = nn.BatchNorm2d(4)
        self.fc = nn.Linear(16, 5)
        self.lif1 = snn.Leaky(beta=0.7, init_hidden=True)
        self.lif2 = snn.Leaky(beta=0.7, init_hidden=True, output=True)
        self.count = 0

    def forward(self, x):
        x = F.conv2d(x, self.weight, self.bias, stride=2, padding=1)
        norm = self.norm
        x = F.batch_norm(
            x, norm.running_mean, norm.running_var, norm.weight, norm.bias, self.training, eps=norm.eps
        )
        x = self.lif1(x)
        self.count = self.count + x.sum()
        x = F.dropout(F.lp_pool2d(x, 1, 2), 0.5, self.training)
        x = F.linear(torch.flatten(x, start_dim=1), self.fc.weight, bias=self.fc.bias)
        return self.lif2(x.float())


class Images(nn.Module):
    """Flat input that is made an image, and back."""

    def __init__(self) -> None:
        super().__init__()
        self.conv = nn.Conv2d(1, 3, 3)
        self.lif1 = snn.Leaky(beta=0.8, init_hidden=True)
        self.fc = nn.Linear(12, 3)
        self.lif2 = snn.Leaky(beta=0.8, init_hidden=True)

    def forward(self, x):
        x = x.reshape(-1, 1, 4, 4)
        x = self.lif1(self.conv(x)).permute(0, 1, 2, 3)
        return self.lif2(self.fc(x.reshape(len(x), 3, 4).view(len(x), -1))).unsqueeze(1)


class ConstantHidden(nn.Module):
    """Hidden states and a loop over one frame, reset by the network itself."""

    def __init__(self) -> None:
        super().__init__()
        self.body = hidden_sequential()

    def forward(self, x):
        snn.utils.reset(self.body)
        return torch.stack([self.body(x)[0] for _ in range(T)])


class WithSteps(nn.Module):
    """Takes the number of steps as an argument."""

    def __init__(self) -> None:
        super().__init__()
        self.fc = nn.Linear(7, 3)
        self.lif = snn.Leaky(beta=0.8)

    def forward(self, x, num_steps=T, mem=None):
        rec = []
        for _ in range(num_steps):
            spk, mem = self.lif(self.fc(x), mem)
            rec.append(spk)
        return torch.stack(rec)


class Net(nn.Module):
    """A network whose ``forward`` is given as a function of the network and its input."""

    def __init__(self, forward: Any, *, init_hidden: bool = False, **layers: nn.Module) -> None:
        super().__init__()
        self.fc1, self.fc2 = nn.Linear(4, 4), nn.Linear(4, 4)
        self.lif1, self.lif2 = (snn.Leaky(beta=0.9, init_hidden=init_hidden) for _ in range(2))
        for name, layer in layers.items():
            setattr(self, name, layer)
        self.body = forward

    def forward(self, x):
        return self.body(self, x)


def loop(step: Any, steps: int = 5) -> Any:
    """A forward that runs ``step(net, x, mem, t) -> spk, mem`` on one frame, and stacks the spikes."""

    def forward(net, x):
        mem, spikes = net.lif1.reset_mem(), []
        for t in range(steps):
            spk, mem = step(net, x, mem, t)
            spikes.append(spk)
        return torch.stack(spikes)

    return forward


_STYLES = ("index", "iterate", "unbind", "split", "slice", "ellipsis")

CASES: list[Case] = [
    Case("hidden_sequential", hidden_sequential, (7,)),
    Case("conv_sequential", conv_sequential, (2, 6, 6)),
    Case("normed_sequential", normed_sequential, (2, 6, 6)),
    Case("sum_pooled", sum_pooled, (2, 6, 6)),
    Case("conv1d_sequential", conv1d_sequential, (2, 8)),
    Case("every_neuron", every_neuron, (7,)),
    Case("recurrent_conv", recurrent_conv, (2, 8, 8)),
    Case("nested", nested, (7,)),
    Case("constant_frame", ConstantFrame, (7,), "constant"),
    Case("tutorial_conv", TutorialConv, (2, 8, 8), "constant"),
    *(Case(f"sequence_{style}", lambda style=style: Sequence(style), (7,), "sequence") for style in _STYLES),
    Case("preallocated", Preallocated, (2, 8, 8), "sequence"),
    Case("layer_by_layer", LayerByLayer, (7,), "sequence"),
    Case("hoisted", Hoisted, (7,), "constant"),
    Case("residual", Residual, (7,)),
    Case("reused", Reused, (7,), "sequence"),
    Case("one_step", OneStep, (7,)),
    Case("all_explicit", AllExplicit, (7,), "sequence"),
    Case("membrane_readout", MembraneReadout, (7,)),
    Case("functional", Functional, (2, 8, 8)),
    Case("images", Images, (16,)),
    Case("constant_hidden", ConstantHidden, (7,), "constant"),
    Case("with_steps", WithSteps, (7,), "constant"),
]
