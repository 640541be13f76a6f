"""A Norse network as a side: what it records, what it does when it is fed another's spikes, what it leaves alone."""

from __future__ import annotations

import numpy as np
import pytest

torch = pytest.importorskip("torch")
norse = pytest.importorskip("norse.torch")

from helpers.torch_sides import norse_side  # noqa: E402
from torch import nn  # noqa: E402

from snnax import interop  # noqa: E402
from snnax.errors import ArgumentError, ShapeError  # noqa: E402

LEAK = 0.3


def _net():
    torch.manual_seed(4)
    net = norse.SequentialState(
        nn.Linear(6, 5), norse.LIFCell(norse.LIFParameters(v_leak=torch.as_tensor(LEAK))), norse.LIFRecurrentCell(5, 4),
        norse.LICell(norse.LIParameters(v_leak=torch.as_tensor(LEAK))),
    )  # fmt: skip
    with torch.no_grad():
        net[0].weight.mul_(6)
        net[2].input_weights.mul_(4)
    return net


def _x(dtype=np.float32):
    return (np.random.default_rng(2).random((40, 3, 6)) < 0.5).astype(dtype)


def _by_hand(net, x):
    """Norse's own loop: states and outputs of every module."""
    state, rows = None, []
    with torch.no_grad():
        for frame in torch.from_numpy(x):
            out, state = net(frame, state)
            rows.append((out, [s for s in state if s is not None]))
            state = list(state)
    return rows


def test_recording_is_what_norse_computes():
    net, x = _net(), _x()
    run = norse_side(net, x).run(x)
    rows = _by_hand(net, x)
    assert list(run.nodes) == ["1", "2.lif", "3"]
    assert [node.kind for node in run.nodes.values()] == ["LIFCell", "LIFRecurrentCell", "LICell"]
    np.testing.assert_array_equal(run.outputs[0], np.stack([out.numpy() for out, _ in rows]))
    for name, index, rest in (("1", 0, LEAK), ("2.lif", 1, 0.0), ("3", 2, LEAK)):
        v = np.stack([states[index].v.numpy() for _, states in rows])
        np.testing.assert_allclose(run.nodes[name].states["mem"], v - np.float32(rest), atol=1e-6)
        np.testing.assert_array_equal(
            run.nodes[name].states["syn"], np.stack([states[index].i.numpy() for _, states in rows])
        )
    np.testing.assert_array_equal(
        run.nodes["2.lif"].spk, np.stack([states[1].z.numpy() for _, states in rows])
    )
    np.testing.assert_array_equal(run.nodes["3"].spk, run.nodes["3"].states["mem"])
    with torch.no_grad():
        current = net[0](torch.from_numpy(x)).numpy()
        fed = torch.from_numpy(run.nodes["1"].spk) @ net[2].input_weights.T
        late = torch.from_numpy(
            np.concatenate([np.zeros((1, 3, 4), np.float32), run.nodes["2.lif"].spk[:-1]])
        )
        total = (fed + late @ net[2].recurrent_weights.T).numpy()
    np.testing.assert_allclose(run.nodes["1"].input, current, atol=1e-6)
    np.testing.assert_allclose(run.nodes["2.lif"].input, total, atol=1e-5)


def test_precision_is_that_of_the_input():
    net, x = _net(), _x()
    narrow, wide = (norse_side(net, x).run(x.astype(dtype)) for dtype in (np.float32, np.float64))
    for name, node in wide.nodes.items():
        assert {v.dtype for v in (node.input, node.spk, *node.states.values())} == {np.dtype(np.float64)}
        assert narrow.nodes[name].states["mem"].dtype == np.float32
        gap = np.abs(node.states["mem"] - narrow.nodes[name].states["mem"]).max()
        assert 0 < gap < 1e-4
    assert net[0].weight.dtype == torch.float32 and net[1].p.v_leak.dtype == torch.float32


def test_replay_feeds_the_given_spikes():
    net, x = _net(), _x()
    side = norse_side(net, x)
    own = side.run(x)
    given = {name: 1 - node.spk if name != "3" else node.spk + 1 for name, node in own.nodes.items()}
    forced = side.replay(x, given)
    np.testing.assert_array_equal(forced.nodes["1"].spk, own.nodes["1"].spk)
    late = torch.from_numpy(np.concatenate([np.zeros((1, 3, 4), np.float32), given["2.lif"][:-1]]))
    with torch.no_grad():
        total = torch.from_numpy(given["1"]) @ net[2].input_weights.T + late @ net[2].recurrent_weights.T
        total[0] = (torch.from_numpy(given["1"]) @ net[2].input_weights.T)[0]
    np.testing.assert_allclose(forced.nodes["2.lif"].input, total.numpy(), atol=1e-5)
    np.testing.assert_array_equal(forced.nodes["3"].input, given["2.lif"])
    np.testing.assert_allclose(forced.outputs[0], given["3"] + np.float32(LEAK), atol=1e-6)
    same = side.replay(x, {name: node.spk for name, node in own.nodes.items()})
    np.testing.assert_array_equal(same.nodes["2.lif"].states["mem"], own.nodes["2.lif"].states["mem"])


def test_wrong_shapes_and_names_are_refused():
    net, x = _net(), _x()
    side = norse_side(net, x)
    with pytest.raises(ShapeError, match=r"\[T, B, 6\]"):
        side.run(x[..., :4])
    with pytest.raises(ArgumentError, match="no neuron"):
        side.replay(x, {"7": x})
    with pytest.raises(ShapeError, match="forced spikes"):
        side.replay(x, {"1": np.zeros((40, 3, 4), np.float32)})


def test_loop_of_a_fixed_length_is_refused():
    class Fixed(nn.Module):
        def __init__(self):
            super().__init__()
            self.fc, self.lif = nn.Linear(6, 5), norse.LIFCell()

        def forward(self, x):
            state, rows = None, []
            for t in range(10):
                z, state = self.lif(self.fc(x[t]), state)
                rows.append(z)
            return torch.stack(rows)

    net, x = Fixed(), _x()
    assert norse_side(net, x[:10]).run(x[:10]).outputs[0].shape == (10, 3, 5)
    with pytest.raises(ShapeError, match="fixed length"):
        interop.crossvalidate(net, interop.from_norse(net, x[:10]), x)
