"""Norse's cells in snnax: the same spikes in float32 and float64, cell by cell and network by network."""

from __future__ import annotations

import numpy as np
import pytest

torch = pytest.importorskip("torch")
norse = pytest.importorskip("norse.torch")

from helpers.torch_sides import norse_graph as graph_of  # noqa: E402
from helpers.torch_sides import norse_side  # noqa: E402
from norse.torch.functional.reset import reset_subtract  # noqa: E402
from torch import nn  # noqa: E402

from snnax import interop  # noqa: E402
from snnax.errors import ArgumentError, ConversionError, ShapeError, TrainingModeError  # noqa: E402
from snnax.interop.crossvalidation import FlaxSide  # noqa: E402

N, STEPS = 12, 300


def _x(*shape, seed=0, steps=STEPS):
    return (np.random.default_rng(seed).random((steps, 3, *shape)) < 0.4).astype(np.float32)


def _strong(net, factor=5.0):
    """Weights large enough that every layer spikes."""
    with torch.no_grad():
        for parameter in net.parameters():
            if parameter.ndim > 1:
                parameter.mul_(factor)
    return net.eval()


def _each(low, high):
    return torch.linspace(low, high, N)


def _t(value):
    return torch.as_tensor(value)


LIFP, BOXP, LIP, LIBOXP, IAFP = (
    norse.LIFParameters, norse.LIFBoxParameters, norse.LIParameters, norse.LIBoxParameters, norse.IAFParameters,
)  # fmt: skip
DIFFERENT = {
    "tau_mem_inv": _each(50, 300),
    "v_th": _each(0.3, 1.1),
    "v_leak": _each(-0.1, 0.2),
    "v_reset": _each(-0.2, 0.1),
}
CELLS = {
    "box": lambda: norse.LIFBoxCell(),
    "box dt": lambda: norse.LIFBoxCell(dt=5e-4),
    "box leak": lambda: norse.LIFBoxCell(BOXP(v_leak=_t(0.2), v_reset=_t(-0.3))),
    "box subtract": lambda: norse.LIFBoxCell(BOXP(reset_method=reset_subtract, v_th=_each(0.3, 1.1))),
    "box each": lambda: norse.LIFBoxCell(BOXP(**DIFFERENT)),
    "lif": lambda: norse.LIFCell(),
    "lif reset above": lambda: norse.LIFCell(LIFP(v_reset=_t(1.25))),
    "iaf reset above": lambda: norse.IAFCell(IAFP(v_th=_t(0.5), v_reset=_t(0.75))),
    "lif each": lambda: norse.LIFCell(LIFP(tau_syn_inv=_each(100, 700), **DIFFERENT)),
    "li": lambda: norse.LICell(),
    "li leak": lambda: norse.LICell(LIP(v_leak=_t(0.3), tau_syn_inv=_each(100, 700))),
    "libox": lambda: norse.LIBoxCell(),
    "libox each": lambda: norse.LIBoxCell(LIBOXP(tau_mem_inv=_each(50, 300), v_leak=_each(-0.1, 0.2))),
    "iaf": lambda: norse.IAFCell(),
    "iaf reset": lambda: norse.IAFCell(IAFP(v_th=_each(0.5, 2), v_reset=_t(-0.25))),
    "recurrent": lambda: norse.LIFRecurrentCell(N, N),
    "recurrent autapses": lambda: norse.LIFRecurrentCell(
        N, N, LIFP(v_leak=_t(0.1), v_reset=_t(-0.1)), autapses=True
    ),
    "linear cell": lambda: norse.LILinearCell(N, N),
}


def _same(net, pair, x):
    """Both sides on the same input: equal spikes, membranes up to rounding; returns Norse's recording."""
    a, b = norse_side(net, x).run(x), FlaxSide(*pair).run(x)
    assert list(a.nodes) == list(b.nodes)
    relative = 3e-5 if x.dtype == np.float32 else 1e-12
    for name, ours in a.nodes.items():
        theirs = b.nodes[name]
        if ours.kind not in ("LICell", "LIBoxCell", "LI", "LILinearCell"):
            np.testing.assert_array_equal(ours.spk, theirs.spk, err_msg=name)
            assert 0.005 < ours.spk.mean() < 0.9, name
        for state, values in ours.states.items():
            scale = max(1.0, np.abs(values).max())
            np.testing.assert_allclose(
                theirs.states[state], values, rtol=0, atol=relative * scale, err_msg=name
            )
            assert values.dtype == theirs.states[state].dtype == x.dtype
    for left, right in zip(a.outputs, b.outputs, strict=True):
        np.testing.assert_allclose(right, left, rtol=0, atol=relative * max(1.0, np.abs(left).max()))
    return a.nodes


class Zoo(nn.Module):
    """One of each cell, side by side."""

    def __init__(self, names):
        super().__init__()
        self.fc = nn.Linear(8, N)
        self.cells = nn.ModuleDict({name.replace(" ", "_"): CELLS[name]() for name in names})

    def forward(self, x, state=None):
        current, outs, states = self.fc(x), [], {}
        for name, cell in self.cells.items():
            out, states[name] = cell(current, None if state is None else state[name])
            outs.append(out)
        return tuple(outs), states


@pytest.mark.parametrize(
    "names", [["box dt"], [name for name in CELLS if name != "box dt"]], ids=["dt", "all"]
)
def test_every_cell_has_equal_spikes(names):
    torch.manual_seed(1)
    net = _strong(Zoo(names))
    x = _x(8)
    pair = interop.from_norse(net, x[0])
    for dtype in (np.float32, np.float64):
        assert len(_same(net, pair, x.astype(dtype))) == len(names)


def test_cells_are_nir_neurons_with_their_options():
    nodes = {}
    for name in ("box", "lif", "li leak", "libox", "iaf", "recurrent"):
        net = norse.SequentialState(nn.Linear(8, N), CELLS[name]())
        nodes[name] = {
            k: type(v).__name__
            for k, v in graph_of(net, _x(8)[0]).nodes.items()
            if k not in ("input", "output", "0")
        }
    assert nodes == {
        "box": {"1": "LIF"}, "lif": {"1": "CubaLIF"}, "li leak": {"1": "CubaLI", "1.rest": "Affine"},
        "libox": {"1": "LI"}, "iaf": {"1": "IF"},
        "recurrent": {"1.w_in": "Linear", "1.lif": "CubaLIF", "1.w_rec": "Linear"},
    }  # fmt: skip
    model, _ = interop.from_norse(norse.LIFCell(dt=5e-4), _x(8)[0])
    lif = model.members()["LIFCell"]
    assert (lif.dt, lif.w_in_scaling, lif.membrane_current) == (5e-4, "impulse", "undecayed")
    assert lif.spike_grad.name == "fast_sigmoid" and lif.spike_grad.options["slope"] == 1.0


class Threaded(nn.Module):
    """States in the user's own forward, a factor and a sum."""

    def __init__(self):
        super().__init__()
        self.fc1, self.lif = nn.Linear(8, N), norse.LIFCell()
        self.fc2, self.box = nn.Linear(N, N), norse.LIFBoxCell()
        self.out = norse.LIBoxCell()

    def forward(self, x, state=None):
        s0, s1, s2 = (None,) * 3 if state is None else state
        z, s0 = self.lif(self.fc1(x), s0)
        y, s1 = self.box(self.fc2(z) * 2.0 + z, s1)
        v, s2 = self.out(y, s2)
        return v, (s0, s1, s2)


class TwoStates(nn.Module):
    """A state for each argument."""

    def __init__(self):
        super().__init__()
        self.fc, self.lif, self.box = nn.Linear(8, N), norse.LIFCell(), norse.LIFBoxCell()

    def forward(self, x, a=None, b=None):
        z, a = self.lif(self.fc(x), a)
        y, b = self.box(4 * z, b)
        return y, a, b


class Looped(nn.Module):
    """A loop over time in forward, as in Norse's tutorials."""

    def __init__(self):
        super().__init__()
        self.fc, self.lif = nn.Linear(8, N), norse.LIFCell()
        self.rec, self.out = norse.LIFRecurrentCell(N, 6), norse.LICell()

    def forward(self, x):
        s0 = s1 = s2 = None
        voltages, spikes = [], []
        for step in x:
            z, s0 = self.lif(self.fc(step), s0)
            z, s1 = self.rec(z, s1)
            v, s2 = self.out(z, s2)
            voltages.append(v)
            spikes.append(z)
        return torch.stack(voltages), torch.stack(spikes)


def _conv():
    return norse.SequentialState(
        nn.Conv2d(2, 3, 3, padding=1), norse.LIFBoxCell(), nn.AvgPool2d(2), nn.Conv2d(3, 4, 3), norse.IAFCell(),
        nn.LPPool2d(1, 2), nn.Flatten(), nn.Linear(4, 5), norse.LIFCell(), nn.Linear(5, 2), norse.LICell(),
    )  # fmt: skip


def _over_time():
    return norse.SequentialState(
        norse.Lift(nn.Sequential(nn.Conv2d(2, 3, 3), nn.AvgPool2d(2))), norse.LIF(), nn.Flatten(2), nn.Linear(27, 6),
        norse.IAF(), norse.LIFRecurrent(6, 5), norse.LI(),
    )  # fmt: skip


def _nested():
    inner = nn.Sequential(nn.Linear(N, N), nn.Dropout(0.5), nn.Identity())
    return norse.SequentialState(
        nn.Linear(8, N), norse.SequentialState(norse.LIFCell(), inner, norse.LIFRecurrentCell(N, 6)), nn.Linear(6, 6),
        norse.LIFBoxCell(),
    )  # fmt: skip


def _lifted():
    return norse.SequentialState(norse.Lift(nn.Linear(8, N)), norse.Lift(norse.LIFBoxCell()))


def _readout():
    return norse.SequentialState(nn.Conv2d(2, 3, 3), norse.LIBoxCell(LIBOXP(v_leak=_t(0.2))))


# network, shape of a sample, whether one call takes all steps
NETS = {
    "conv": (_conv, (2, 8, 8), False),
    "over time": (_over_time, (2, 8, 8), True),
    "nested": (_nested, (8,), False),
    "threaded": (Threaded, (8,), False),
    "two states": (TwoStates, (8,), False),
    "looped": (Looped, (8,), True),
    "lifted cell": (_lifted, (8,), True),
    "image readout": (_readout, (2, 8, 8), False),
}  # fmt: skip


@pytest.mark.parametrize("name", NETS)
def test_network_has_equal_spikes(name):
    build, shape, whole = NETS[name]
    torch.manual_seed(2)
    net = _strong(build())
    x = _x(*shape, steps=60)
    pair = interop.from_norse(net, x if whole else x[0])
    for dtype in (np.float32, np.float64)[: 2 if name == "looped" else 1]:
        _same(net, pair, x.astype(dtype))


@pytest.mark.parametrize("dtype", [np.float32, np.float64])
def test_crossvalidate_finds_nothing(dtype):
    torch.manual_seed(3)
    cells = [CELLS[name]() for name in ("box each", "recurrent", "li leak")]
    first, recurrent, last = (
        part for cell in cells for part in [(nn.Linear(8 if cell is cells[0] else N, N), cell)]
    )
    net = _strong(norse.SequentialState(*first, *recurrent, *last))
    x = _x(8).astype(dtype)
    report = interop.crossvalidate(net, interop.from_norse(net, x[0]), x)
    assert report.agree and report.unexplained == 0, str(report)
    assert sum(layer.end_to_end.spike_mismatches for layer in report.layers) == 0
    assert report.labels == ("Norse", "snnax")


def test_crossvalidate_finds_another_threshold():
    net = _strong(norse.SequentialState(nn.Linear(8, N), norse.LIFCell()))
    x = _x(8, steps=60)
    model, variables = interop.from_norse(net, x[0])
    net[1].p = net[1].p._replace(v_th=_t(0.8))
    report = interop.crossvalidate(net, (model, variables), x)
    assert not report.agree and report.unexplained > 0


def test_network_is_left_alone():
    shared = norse.IAFParameters().v_reset
    net = norse.SequentialState(nn.Linear(8, N), norse.IAFCell(IAFP(v_reset=torch.zeros(())))).eval()
    before = shared.requires_grad
    p = net[1].p
    x = _x(8, steps=5)
    norse_side(net, x).run(x.astype(np.float64))
    assert net[1].p is p and not p.v_reset.requires_grad and shared.requires_grad == before
    assert "forward" not in vars(net[1]) and net[0].weight.dtype == torch.float32


def _two_dt():
    return norse.SequentialState(nn.Linear(8, N), norse.LIFCell(), norse.LICell(dt=1e-4))


class Forgets(TwoStates):
    def forward(self, x, state=None):
        z, _ = self.lif(self.fc(x))
        return z, state


class Feedback(nn.Module):
    def __init__(self):
        super().__init__()
        self.fc, self.back, self.lif = nn.Linear(8, N), nn.Linear(N, N), norse.LIFCell()

    def forward(self, x, state=None):
        z, s = (torch.zeros(len(x), N), None) if state is None else state
        z, s = self.lif(self.fc(x) + self.back(z), s)
        return z, (z, s)


class Keeps(TwoStates):
    def forward(self, x, state=None):
        return self.lif(self.fc(x), state)[0]


class Changes(TwoStates):
    def forward(self, x, state=None):
        z, state = self.lif(self.fc(x), state)
        return z, state._replace(v=state.v * 0.5)


class Mine(norse.LIFCell):
    pass


def _cell(cell):
    return norse.SequentialState(nn.Linear(8, N), cell)


def _learned_leak():
    return _cell(norse.LIFCell(LIFP(v_leak=nn.Parameter(torch.zeros(())))))


REFUSED = {
    "lsnn": (lambda: _cell(norse.LSNNCell()), "no NIR form", "LIFCell"),
    "adex": (lambda: _cell(norse.LIFAdExCell()), "LIFAdExCell", "Convertible"),
    "refractory": (lambda: _cell(norse.LIFRefracCell()), "LIFRefracCell", "Convertible"),
    "derived": (lambda: _cell(Mine()), "derived", "Convertible"),
    "recurrent sequential": (lambda: norse.RecurrentSequential(norse.LIFCell()), "RecurrentSequential", "Conv"),
    "two dt": (_two_dt, "dt", "same dt"),
    "own reset": (
        lambda: _cell(norse.LIFBoxCell(BOXP(reset_method=lambda z, v, r, t: v))), "reset_method", "reset_value",
    ),
    "surrogate": (lambda: _cell(norse.LIFCell(LIFP(method="tanh"))), "tanh", "super"),
    "subtract leak": (
        lambda: _cell(norse.LIFBoxCell(BOXP(reset_method=reset_subtract, v_leak=_t(0.1)))), "reset_subtract", "bias",
    ),
    "fast": (lambda: _cell(norse.LIFCell(LIFP(tau_mem_inv=_t(2000.0)))), "shorter", "dt of at most"),
    "not positive": (lambda: _cell(norse.LICell(LIP(tau_syn_inv=_t(-1.0)))), "not positive", "seconds"),
    "nan": (lambda: _cell(norse.LIFCell(LIFP(v_th=_t(float("nan"))))), "finite", "number"),
    "wrong shape": (lambda: _cell(norse.LIFCell(LIFP(v_th=torch.ones(2)))), "(2|12)", ""),
    "learned leak": (_learned_leak, "learns v_leak", "Fix"),
    "forgets": (Forgets, "its own state", "thread"),
    "feedback": (Feedback, "feedback", "LIFRecurrentCell"),
    "keeps": (Keeps, "returns no new state", "return out, state"),
    "changes": (Changes, "changed|initial", "hand|Hand"),
    "no cell": (lambda: nn.Sequential(nn.Linear(8, 3)), "no Norse neuron", "LIFCell"),
    "tanh": (lambda: norse.SequentialState(nn.Linear(8, N), nn.Tanh(), norse.LIFCell()), "Tanh", "Convertible"),
}  # fmt: skip


@pytest.mark.parametrize("name", REFUSED)
def test_refusal_names_the_remedy(name):
    build, problem, remedy = REFUSED[name]
    with pytest.raises(ConversionError, match=problem) as caught:
        interop.from_norse(build().eval(), _x(8)[0])
    assert any(part in caught.value.remedy for part in remedy.split("|"))


def test_arguments_are_checked():
    net = norse.SequentialState(nn.Linear(8, N), norse.LIFCell())
    with pytest.raises(ArgumentError, match="dt="):
        interop.from_norse(net, _x(8)[0], dt=1e-4)
    assert interop.from_norse(net, _x(8)[0], dt=1e-3)
    with pytest.raises(ShapeError, match="one step"):
        interop.from_norse(net, _x(8)[0, 0])
    with pytest.raises(ShapeError, match="SequentialState"):
        interop.from_norse(nn.Sequential(nn.Linear(8, N), norse.LIFCell()), _x(8)[0])
    with pytest.raises(ShapeError):
        interop.from_norse(net, _x(7)[0])
    with pytest.raises(TrainingModeError, match="eval"):
        interop.from_norse(norse.SequentialState(nn.Dropout(0.5), norse.LIFCell()), _x(8)[0])


def test_both_libraries_in_one_network_are_refused():
    snntorch = pytest.importorskip("snntorch")
    net = nn.Sequential(norse.LIFCell(), snntorch.Leaky(beta=0.9))
    with pytest.raises(ConversionError, match="both"):
        interop.crossvalidate(net, net, _x(8, steps=5))


def test_learned_parameters_are_learned():
    p = LIFP(tau_mem_inv=nn.Parameter(_each(50, 300)), v_th=nn.Parameter(torch.tensor(0.7)))
    _, variables = interop.from_norse(norse.SequentialState(nn.Linear(8, N), norse.LIFCell(p)), _x(8)[0])
    learned = variables["params"]["1"]
    assert sorted(learned) == ["tau_mem", "v_threshold"]
    np.testing.assert_allclose(learned["tau_mem"], 1 / np.linspace(50, 300, N), rtol=1e-6)
