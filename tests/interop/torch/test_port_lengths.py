"""A ported network takes any number of time steps, where it is one program for all of them, and says so where not."""

from __future__ import annotations

import jax
import numpy as np
import pytest

pytest.importorskip("snntorch")

import snntorch as snn
import torch
from helpers.port_zoo import built, ported
from helpers.port_zoo_ends import ENDS, Distribution, Sliced, Weighted
from helpers.port_zoo_kinds import KINDS
from helpers.port_zoo_starts import STARTS
from helpers.port_zoo_states import STATES, WarmUp
from torch import nn

import snnax
from snnax import interop
from snnax.errors import ArgumentError, ShapeError
from snnax.interop.program.module import PortedProgram
from snnax.interop.program.nodes import filled, flat, mapped
from snnax.interop.torch.programs import trace_program

pytestmark = pytest.mark.filterwarnings("ignore:Inhibition is an unstable feature:UserWarning")

ZOO = {**ENDS, **KINDS, **STARTS, **STATES}
LONGER = {WarmUp, Distribution}
"""Torch itself fails at one step, or gives no numbers."""

CHECKED = list(ZOO)[::5]


def at_length(sample, program, steps):
    """The arguments with other values over ``steps``."""
    given = sample if isinstance(sample, tuple) else (sample,)
    axes = {leaf.index: axis for leaf, axis in program.time}
    made = []
    for place, value in enumerate(flat(given)):
        if place in axes:
            value = value.index_select(axes[place], torch.arange(steps) % value.shape[axes[place]])
            value = value.roll(1, -1) if value.is_floating_point() else value
        made.append(value)
    return filled(given, made)


def arrays(tree):
    """NumPy's of torch's."""
    return mapped(tree, lambda value: value.detach().numpy() if isinstance(value, torch.Tensor) else value)


@pytest.mark.parametrize("cls", CHECKED, ids=lambda cls: cls.__name__)
def test_other_lengths_are_torchs(cls):
    model, variables = ported(cls)
    if not isinstance(model, PortedProgram) or not model.program.time:
        return
    leaf, axis = model.program.time[0]
    own = model.program.inputs[leaf.index].result.shape[axis]
    assert isinstance(own, int)
    for steps in (3 if cls in LONGER else 1, own + 2, 3 * own):
        given = at_length(ZOO[cls](4), model.program, steps)
        wanted = jax.tree.leaves(arrays(built(cls)(*given)))
        found = jax.tree.leaves(jax.jit(model.apply)(variables, *arrays(given)))
        for ours, theirs in zip(found, wanted, strict=True):
            np.testing.assert_allclose(ours, theirs, rtol=1e-4, atol=1e-5)


def test_most_networks_have_no_length_of_their_own():
    free = []
    for cls in CHECKED:
        model, _ = ported(cls)
        if isinstance(model, PortedProgram):
            free.append(bool(model.program.time))
    assert np.mean(free) > 0.7


@pytest.mark.parametrize(
    ("cls", "axis", "words"),
    [
        (Sliced, 1, r"slice\.Tensor gets 2 for 4 steps and 3 for 6 \(port_zoo_ends\.py:\d+\)"),
        (
            Weighted,
            0,
            r"with a sample of more than 4, its forward raised RuntimeError: .* \(port_zoo_ends\.py:\d+\)",
        ),
    ],
)
def test_what_depends_on_the_length_is_named(cls, axis, words):
    model, variables = ported(cls)
    assert not model.program.time
    (x,) = at_length(ZOO[cls](3), model.program, 4)
    longer = torch.cat([x, x.narrow(axis, 0, 2)], axis).numpy()
    with pytest.raises(ShapeError, match=rf"The number of its time steps is fixed: {words}\."):
        snnax.unroll(model, variables, longer)


class LastButOne(nn.Module):
    """Returns the membrane of the step before the last."""

    def __init__(self, factor=lambda steps: steps):
        super().__init__()
        self.fc, self.lif, self.factor = nn.Linear(3, 4), snn.Leaky(beta=0.9), factor

    def forward(self, x):
        mem, rows = self.lif.init_leaky(), []
        for step in range(len(x)):
            _, mem = self.lif(self.fc(x[step]), mem)
            rows.append(mem)
        return torch.stack(rows)[len(x) - 2] * self.factor(len(x))


def test_too_few_steps_are_refused():
    x = torch.rand(6, 2, 3)
    model, variables = interop.from_snntorch(built(LastButOne), x)
    wanted = built(LastButOne)(x[:2]).detach().numpy()
    np.testing.assert_allclose(snnax.unroll(model, variables, x[:2].numpy())[0], wanted, rtol=1e-5)
    with pytest.raises(ArgumentError, match="1 time steps, and is known for at least 2"):
        snnax.unroll(model, variables, x[:1].numpy())


@pytest.mark.parametrize(
    ("factor", "words"),
    [
        (lambda t: t**2, "a number that does not follow it in a line"),
        (lambda t: min(t, 10), "6 for 6 steps and 10 for 13"),
        (lambda t: t // 10, "0 for 6 steps and 1 for 13"),
    ],
)
def test_what_follows_the_length_in_no_line_is_found(factor, words):
    program = trace_program(LastButOne(factor).eval(), (torch.rand(6, 2, 3),))
    assert not program.time
    (note,) = [note for note in program.notes if note.kind == "steps"]
    assert note.text == f"mul.Tensor gets {words}"
    assert note.line.startswith("test_port_lengths.py:")


def test_few_steps_are_refused_where_they_are_another_program():
    x = torch.rand(10, 2, 3)
    model, variables = interop.from_snntorch(LastButOne(lambda t: max(t, 9)).eval(), x)
    assert snnax.unroll(model, variables, torch.rand(12, 2, 3).numpy())[0].shape == (2, 4)
    with pytest.raises(ArgumentError, match="9 time steps, and is known for at least 10"):
        snnax.unroll(model, variables, x[:9].numpy())


def test_gradients_at_another_length():
    x = torch.rand(6, 2, 3)
    net = built(LastButOne)
    model, variables = interop.from_snntorch(net, x[:4])
    net(x).sum().backward()

    def loss(params):
        return snnax.unroll(model, {**variables, "params": params}, x.numpy())[0].sum()

    found = jax.grad(loss)(variables["params"])
    np.testing.assert_allclose(found["fc"]["weight"], net.fc.weight.grad.numpy(), rtol=1e-4)


# Rules on more steps than the sample has ---------------------------------------------------------------

EDGE = 21


class Ruled(nn.Module):
    """A loop that does something else beyond some step."""

    def __init__(self):
        super().__init__()
        self.fc, self.lif = nn.Linear(3, 2), snn.Leaky(beta=0.9)

    def steps(self, x):
        return range(len(x))

    def current(self, x, t):
        return self.fc(x[t])

    def forward(self, x):
        mem, out = self.lif.init_leaky(), []
        for t in self.steps(x):
            spk, mem = self.lif(self.current(x, t), mem)
            out.append(spk + mem)
        return self.end(torch.stack(out))

    def end(self, out):
        return out


class Later(Ruled):
    def current(self, x, t):
        return self.fc(x[t]) * (2 if t > 20 else 1)


class AtAGlobal(Ruled):
    def current(self, x, t):
        return self.fc(x[t]) if t != EDGE else self.fc(x[t] + 1)


class Clipped(Ruled):
    def steps(self, x):
        return range(min(len(x), 21))


@pytest.mark.parametrize("rule", [Later, AtAGlobal, Clipped])
@pytest.mark.parametrize("summed", [False, True], ids=["every step", "sum"])
def test_a_rule_on_more_steps_than_the_sample_has_is_found(rule, summed):
    kind = type("Net", (rule,), {"end": lambda self, out: out.sum(0)}) if summed else rule
    net = built(kind)
    model, variables = interop.from_snntorch(net, torch.rand(6, 2, 3))
    assert isinstance(model, PortedProgram)
    x = torch.rand(40, 2, 3)
    most = model.program.most
    assert most in (20, 21)
    found = snnax.unroll(model, variables, x[:most].numpy())[0]
    np.testing.assert_allclose(found, net(x[:most]).detach(), rtol=1e-4, atol=1e-5)
    with pytest.raises(ArgumentError, match=f"at most {most}, since its code has a rule for more"):
        snnax.unroll(model, variables, x.numpy())
    assert f"up to {most}" in str(interop.check(net, torch.rand(6, 2, 3)))


def test_a_number_that_is_no_rule_leaves_the_steps_free():
    class Sized(Ruled):
        def current(self, x, t):
            return self.fc(x[t]) + torch.zeros(21)[:2].sum()

    model, _ = interop.from_snntorch(
        built(type("Net", (Sized,), {"end": lambda self, out: out.sum(0)})), torch.rand(6, 2, 3)
    )
    assert model.program.time and model.program.most is None
