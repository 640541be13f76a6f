"""Programs as source: modules that run on their own, with the program's variables, values and derivatives."""

from __future__ import annotations

import runpy

import jax
import jax.numpy as jnp
import numpy as np
import pytest

pytest.importorskip("snntorch")

import snntorch
import torch
from helpers import port_zoo
from helpers.port_zoo import ZOO
from helpers.port_zoo_chance import RANDOM
from torch import nn

from snnax import interop
from snnax.errors import ConversionError
from snnax.interop.program.module import PortedProgram
from snnax.interop.program.nodes import Leaf, flat
from snnax.interop.program.side import weights_like

pytestmark = pytest.mark.filterwarnings("ignore:Inhibition is an unstable feature:UserWarning")


def arrays(tree, double=False):
    """Torch's tensors as NumPy arrays, of several arguments in a tuple."""
    found = jax.tree.map(lambda t: np.asarray(t.detach() if isinstance(t, torch.Tensor) else t), tree)
    return jax.tree.map(lambda a: a.astype(np.float64) if double and a.dtype.kind == "f" else a, found)


def written(model, variables, path, name="net"):
    """The module of a program's source, its variables and its text."""
    interop.write_source(path / f"{name}.py", model, variables, origin="a test")
    made, read = runpy.run_path(str(path / f"{name}.py"))["build"]()
    return made, read, (path / f"{name}.py").read_text()


def ported(net, sample, path):
    """A program, its variables, and the same by its source."""
    model, variables = interop.from_snntorch(net.eval(), sample)
    return model, variables, *written(model, variables, path)


def arguments(cls, batch):
    given = ZOO[cls](batch)
    return arrays(given if isinstance(given, tuple) else (given,))


def longer(model, given):
    """The arguments for twice as many steps; the same, where their number is fixed."""
    leaves = [entry.index for entry in flat(model.program.arguments) if isinstance(entry, Leaf)]
    entries, tree = jax.tree.flatten(given)
    axes = {leaf.index: axis for leaf, axis in model.program.time}
    pairs = zip(leaves, entries, strict=True)
    return jax.tree.unflatten(tree, [np.concatenate([a, a], axes[i]) if i in axes else a for i, a in pairs])


@pytest.mark.parametrize("cls", ZOO, ids=lambda cls: cls.__name__)
def test_every_program_of_the_zoo_has_source(cls, tmp_path):
    """Shapes, types and the tree of what it returns, for another batch and another number of steps."""
    model, variables = port_zoo.ported(cls)
    if not isinstance(model, PortedProgram):
        return
    made, read, _ = written(model, variables, tmp_path)
    assert jax.tree.structure(read) == jax.tree.structure(variables)
    rngs = {"draws": jax.random.key(0)} if cls in RANDOM else {}
    given = longer(model, arguments(cls, 5))
    forms = [jax.eval_shape(lambda v, m=m: m.apply(v, *given, rngs=rngs), variables) for m in (model, made)]
    assert jax.tree.map(lambda s: (s.shape, s.dtype), forms[0]) == jax.tree.map(
        lambda s: (s.shape, s.dtype), forms[1]
    )


@pytest.mark.parametrize("cls", [*ZOO][::12], ids=lambda cls: cls.__name__)
def test_values_and_derivatives_are_the_programs(cls, tmp_path):
    model, variables = port_zoo.ported(cls)
    if not isinstance(model, PortedProgram):
        return
    rngs = {"draws": jax.random.key(0)} if cls in RANDOM else {}
    assert_alike(model, written(model, variables, tmp_path)[0], variables, arguments(cls, 4), rngs)


def assert_alike(model, made, variables, given, rngs=None):
    with jax.enable_x64(True):
        given = jax.tree.map(jnp.asarray, arrays(given, double=True))
        wide = jax.tree.map(jnp.asarray, arrays(variables, double=True))

        @jax.jit
        def both(params):
            return [jax.grad(lambda p, m=m: loss(m, p), has_aux=True)(params) for m in (model, made)]

        def loss(module, params):
            returned = module.apply({**wide, "params": params}, *given, rngs=rngs)
            floats = [y for y in map(jnp.asarray, jax.tree.leaves(returned)) if y.dtype.kind == "f"]
            return sum((jnp.sum(y * weights_like(y)) for y in floats), start=jnp.zeros(())), returned

        ours, theirs = both(wide.get("params", {}))
        for a, b in zip(jax.tree.leaves(ours), jax.tree.leaves(theirs), strict=True):
            np.testing.assert_allclose(np.asarray(a, float), np.asarray(b, float), rtol=1e-9, atol=1e-10)


class Feedback(nn.Module):
    def __init__(self):
        super().__init__()
        self.fc, self.lif = nn.Linear(3, 4), snntorch.Leaky(beta=0.5)
        self.back = nn.Parameter(torch.randn(4, 4))

    def forward(self, x):
        mem, spk, total = self.lif.init_leaky(), torch.zeros(x.size(0), 4), 0
        for t in range(x.size(1)):
            spk, mem = self.lif(3 * self.fc(x[:, t]) + spk @ self.back, mem)
            total = total + spk
        return {"rate": total / x.size(1), "mem": mem}


def test_it_reads_like_a_persons(tmp_path):
    *_, text = ported(Feedback(), torch.rand(2, 5, 3), tmp_path)
    body = text[text.index("    def setup") : text.index("def build")]
    for line in (
        '        self.fc = self.param("fc", lambda _: saved("params/fc"))  # weight [4, 3], bias [4]\n',
        "        self.lif = snn.Leaky(beta=0.5, ",
        "    def __call__(self, x):\n",
        "        T = x.shape[1]\n",
        "        def step(self, carry, h_t):\n",
        "            spk, mem = self.lif(",
        "            total = total + spk",
        "nn.scan(step, ",
        '        return {"rate": total / T, "mem": mem}\n',
    ):
        assert line in body, text
    assert "aten" not in text


class Rounded(torch.autograd.Function):
    @staticmethod
    def forward(ctx, x):
        ctx.save_for_backward(x)
        return x.round()

    @staticmethod
    def backward(ctx, gradient):
        (x,) = ctx.saved_tensors
        return gradient * (x.abs() < 1)


class Quantised(nn.Module):
    def __init__(self):
        super().__init__()
        self.fc, self.lif = nn.Linear(3, 4), snntorch.Leaky(beta=0.5, learn_beta=True)
        self.limit = nn.Parameter(torch.tensor([0.0, 1.0, 0.5, 2.0]))

    def forward(self, x):
        mem, spikes = self.lif.init_leaky(), 0
        weight = Rounded.apply(self.fc.weight * 4) / 4
        for frame in x:
            spk, mem = self.lif(frame @ weight.t() + self.limit.clamp(0, 1).detach(), mem)
            spikes = spikes + spk * self.limit.abs() + mem.clamp(0, 1)
        return spikes


def test_backwards_of_ones_own_and_slopes_at_bounds_are_torchs(tmp_path):
    torch.manual_seed(0)
    model, variables, made, read, text = ported(Quantised(), torch.rand(5, 2, 3), tmp_path)
    assert "def backward(inputs, gradients):" in text
    assert "stop_gradient" in text
    assert_alike(model, made, variables, (np.random.default_rng(0).random((7, 2, 3)),))
    assert read["params"]["lif"]["beta"] == variables["params"]["lif"]["beta"]


class OneStep(nn.Module):
    def __init__(self):
        super().__init__()
        self.block = nn.Sequential(nn.Linear(3, 4), snntorch.Leaky(beta=0.5, init_hidden=True))

    def forward(self, x):
        return self.block(x).sum(-1).softmax(0)


def test_states_go_on_from_call_to_call(tmp_path):
    model, variables, made, read, _ = ported(OneStep(), torch.rand(2, 3), tmp_path)
    x = np.ones((2, 3), np.float32)
    for _ in range(3):
        wanted, after = model.apply(variables, x, mutable=["hidden"])
        found, now = made.apply(read, x, mutable=["hidden"])
        np.testing.assert_allclose(found, wanted, rtol=1e-6)
        np.testing.assert_allclose(*(jax.tree.leaves(t)[0] for t in (after, now)), rtol=1e-6)
        variables, read = {**variables, **after}, {**read, **now}


class Clamped(nn.Module):
    def __init__(self):
        super().__init__()
        self.fc, self.lif = nn.Linear(3, 4), snntorch.Leaky(beta=0.5)

    def forward(self, x):
        self.fc.weight.data.clamp_(-0.2, 0.2)
        mem, total = self.lif.init_leaky(), 0
        for frame in x:
            spk, mem = self.lif(self.fc(frame), mem)
            total = total + spk
        return total


def test_gradients_that_are_not_known_are_refused(tmp_path):
    net = Clamped().eval()
    net.fc.weight.data.clamp_(-0.2, 0.2)
    model, variables = interop.from_snntorch(net, torch.rand(5, 2, 3))
    with pytest.raises(ConversionError, match=r"test_source\.py"):
        interop.write_source(tmp_path / "net.py", model, variables)
    assert not list(tmp_path.iterdir())
