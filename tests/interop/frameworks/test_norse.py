"""Networks of Norse's users that are no graph of layers: as programs, values and gradients are Norse's."""

from __future__ import annotations

import jax
import numpy as np
import pytest

pytest.importorskip("norse")

import norse.torch as norse
import torch
from torch import nn

from snnax import interop
from snnax.errors import ConversionError
from snnax.interop.program.module import PortedProgram


def lif(**numbers: float) -> norse.LIFParameters:
    """Parameters of neurons that fire."""
    return norse.LIFParameters(
        **{name: torch.as_tensor(value) for name, value in {"v_th": 0.1, **numbers}.items()}
    )


class MaximumOverTime(nn.Module):
    """The readout of Norse's own example: the largest membrane over time, as class probabilities."""

    def __init__(self) -> None:
        super().__init__()
        self.fc, self.lif = nn.Linear(5, 6), norse.LIFCell(lif())
        self.out, self.li = nn.Linear(6, 3), norse.LICell()

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        """All steps ``[T, B, N]``."""
        fired = read = None
        voltages = []
        for frame in x:
            spk, fired = self.lif(self.fc(frame), fired)
            voltage, read = self.li(self.out(spk), read)
            voltages.append(voltage)
        return torch.max(torch.stack(voltages), 0)[0].log_softmax(-1)


class LastStep(nn.Module):
    """A SequentialState in a loop, of which the last step counts."""

    def __init__(self) -> None:
        super().__init__()
        self.net = norse.SequentialState(
            nn.Linear(5, 6), norse.LIFCell(lif()), nn.Linear(6, 3), norse.LICell()
        )

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        """All steps ``[T, B, N]``."""
        state = None
        for frame in x:
            out, state = self.net(frame, state)
        return out


class Lifted(nn.Module):
    """Modules that take all steps at once, and a mean over time."""

    def __init__(self) -> None:
        super().__init__()
        self.conv, self.lif = norse.Lift(nn.Conv2d(1, 2, 3)), norse.LIF(lif())
        self.fc, self.li = nn.Linear(8, 3), norse.LI()

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        """All steps ``[T, B, C, H, W]``."""
        spk, _ = self.lif(self.conv(x))
        return self.li(self.fc(spk.flatten(2)))[0].mean(0)


class Rates(nn.Module):
    """A running total, and the state that is left, in a dict; the membrane rests above zero."""

    def __init__(self) -> None:
        super().__init__()
        parameters = norse.LIFBoxParameters(v_th=torch.as_tensor(0.05), v_leak=torch.as_tensor(0.02))
        self.fc, self.lif = nn.Linear(5, 6), norse.LIFBoxCell(parameters)

    def forward(self, x: torch.Tensor) -> dict[str, torch.Tensor]:
        """All steps ``[T, B, N]``."""
        state, total = None, 0
        for frame in x:
            spk, state = self.lif(self.fc(frame), state)
            total = total + spk
        return {"rate": total / len(x), "v": state.v}


class Recurrent(nn.Module):
    """Norse's recurrent layer, and a head on spike counts."""

    def __init__(self) -> None:
        super().__init__()
        self.lif, self.head = norse.LIFRecurrent(5, 6, lif()), nn.Linear(6, 3)

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        """All steps ``[T, B, N]``."""
        return self.head(self.lif(x)[0].sum(0)).relu()


class Feedback(nn.Module):
    """Feedback of the user's own."""

    def __init__(self) -> None:
        super().__init__()
        self.fc, self.back, self.lif = nn.Linear(5, 6), nn.Linear(6, 6), norse.LIFCell(lif())

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        """All steps ``[T, B, N]``."""
        spk, state, rows = torch.zeros(x.shape[1], 6, dtype=x.dtype), None, []
        for frame in x:
            spk, state = self.lif(self.fc(frame) + self.back(spk), state)
            rows.append(spk)
        return torch.stack(rows).mean(0)


class BatchFirst(nn.Module):
    """Time on the second axis, and a LayerNorm of spikes."""

    def __init__(self) -> None:
        super().__init__()
        self.fc, self.lif, self.norm = nn.Linear(5, 6), norse.LIF(lif()), nn.LayerNorm(6)

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        """``[B, T, N]``."""
        spk, _ = self.lif(self.fc(x.permute(1, 0, 2)))
        return self.norm(spk.permute(1, 0, 2)).sum(1)


class TwoLoops(nn.Module):
    """One loop after the other, and two results."""

    def __init__(self) -> None:
        super().__init__()
        self.one, self.lif1 = nn.Linear(5, 6), norse.LIFCell(lif())
        self.two, self.lif2 = nn.Linear(6, 4), norse.LIFCell(lif(v_th=0.05))

    def forward(self, x: torch.Tensor) -> tuple[torch.Tensor, torch.Tensor]:
        """All steps ``[T, B, N]``."""
        state, hidden, total = None, [], 0
        for frame in x:
            spk, state = self.lif1(self.one(frame), state)
            hidden.append(spk)
        state = None
        for spk in hidden:
            spk, state = self.lif2(self.two(spk), state)
            total = total + spk
        return total, torch.stack(hidden).sum((0, 2))


class Product(nn.Module):
    """Membranes and currents, multiplied; a rest above zero, another time step."""

    def __init__(self) -> None:
        super().__init__()
        self.fc, self.lif = nn.Linear(5, 6), norse.LIFCell(lif(v_leak=0.01), dt=0.002)

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        """All steps ``[T, B, N]``."""
        state, rows = None, []
        for frame in x:
            _, state = self.lif(self.fc(frame) * 2, state)
            rows.append(state.v * state.i)
        return torch.stack(rows).mean(0)


class Unfolded(nn.Module):
    """IAF and LILinear cells, weights computed from parameters, and a softmax."""

    def __init__(self) -> None:
        super().__init__()
        self.weight, self.lif = nn.Parameter(torch.rand(6, 5)), norse.IAFCell()
        self.read = norse.LILinearCell(6, 3)

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        """All steps ``[T, B, N]``."""
        fired = read = None
        for frame in x:
            spk, fired = self.lif(frame @ self.weight.abs().T, fired)
            out, read = self.read(spk, read)
        return torch.softmax(out, -1)


NETWORKS = [
    MaximumOverTime, LastStep, Lifted, Rates, Recurrent, Feedback, BatchFirst, TwoLoops, Product, Unfolded,
]  # fmt: skip


@pytest.mark.parametrize("cls", NETWORKS, ids=lambda cls: cls.__name__)
def test_it_is_norses_network(cls):
    torch.manual_seed(0)
    net = cls().eval()
    x = (3 * np.random.default_rng(0).random((6, 3, 1, 4, 4) if cls is Lifted else (6, 3, 5))).astype(
        np.float32
    )
    model, variables = interop.from_norse(net, x)
    assert isinstance(model, PortedProgram)
    ours, theirs = (
        jax.tree.leaves(tree) for tree in (model.apply(variables, x), arrays(net(torch.tensor(x))))
    )
    assert np.abs(theirs[0]).max() > 0
    for a, b in zip(ours, theirs, strict=True):
        np.testing.assert_allclose(a, b, rtol=1e-4, atol=1e-5)
    report = interop.crossvalidate(net, (model, variables), x.astype(np.float64), gradients=True)
    assert report.agree, report


def arrays(tree):
    return jax.tree.map(lambda tensor: tensor.detach().numpy(), tree)


def test_one_step_that_is_no_graph_is_refused_still():
    class Stepwise(nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.fc, self.lif = nn.Linear(5, 6), norse.LIFCell(lif())

        def forward(self, x, state=None):
            spk, state = self.lif(self.fc(x).cumsum(-1), state)
            return spk, state

    with pytest.raises(ConversionError):
        interop.from_norse(Stepwise().eval(), np.ones((3, 5), np.float32))


def test_a_spike_function_without_an_equal_runs():
    net = LastStep()
    net.net[1].p = net.net[1].p._replace(method="tanh")
    x = np.ones((6, 3, 5), np.float32)
    model, variables = interop.from_norse(net.eval(), x)
    np.testing.assert_allclose(model.apply(variables, x), arrays(net(torch.tensor(x))), rtol=1e-4, atol=1e-6)
