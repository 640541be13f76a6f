"""What a profiler shows of the time loop: the name of each layer, at no cost."""

from __future__ import annotations

import contextlib
import re

import flax.linen as nn
import jax
import jax.numpy as jnp

import snnax as snn
from snnax.network import schedule

X = jnp.ones((4, 2, 3))


def network():
    """Each way in which a layer can run: merged, over its steps, step by step, nested, with weights in its loop."""
    return snn.Graph(
        {
            "fc": nn.Dense(4),
            "gelu": nn.gelu,
            "lif": snn.Leaky(0.9, init_hidden=True),
            "at_once": snn.Leaky(0.9, init_hidden=True, reset_delay=False),
            "rec": snn.RLeaky(0.9, linear_features=4, init_hidden=True),
            "out": snn.Sequential([nn.Dense(2), snn.Leaky(0.9, init_hidden=True)]),
        },
        [*zip(names := ("input", "fc", "gelu", "lif", "at_once", "rec", "out"), (*names[1:], "output"), strict=True)],
    )  # fmt: skip


def lowered(net, variables, constant=False):
    """A training step that nothing has traced before."""

    def loss(params):
        held = {**variables, "params": params}
        options = {"num_steps": 4} if constant else {}
        return jnp.sum(snn.unroll(net, held, X[0] if constant else X, **options)[0])

    return jax.jit(jax.value_and_grad(loss)).lower(variables["params"])


def names_in(program):
    """The names of operations, by path; not of the compiled program, which a cache may have with other names."""
    text = program.as_text(debug_info=True)
    return {tuple(re.split(r"[/()]", name)) for name in re.findall(r'loc\("([^"]*)"', text)}


def test_operations_carry_the_names_of_their_layers():
    net = network()
    variables = net.init(jax.random.key(0), X[0])
    names = names_in(lowered(net, variables))
    for part in ("fc", "gelu", "lif", "at_once", "rec", "out"):
        with_part = [name for name in names if part in name]
        assert with_part, part
        assert not any(name.count(part) > 1 for name in with_part), part
    for nested in ("layers_0", "layers_1"):
        assert any("out" in name and nested in name for name in names)
    assert any("fc" in name and "transpose" in name for name in names)


def test_of_a_constant_input_too():
    net = snn.Sequential([nn.Dense(4), snn.Leaky(0.9, init_hidden=True)])
    names = names_in(lowered(net, net.init(jax.random.key(0), X[0]), constant=True))
    assert any("layers_0" in name for name in names)
    assert any("layers_1" in name for name in names)


def test_names_cost_nothing(monkeypatch):
    """The program is the same to the letter, but for what it says of its operations."""
    net = network()
    variables = net.init(jax.random.key(0), X[0])
    with_names = lowered(net, variables)
    monkeypatch.setattr(schedule, "_named", lambda *_: contextlib.nullcontext())
    jax.clear_caches()
    without = lowered(net, variables)
    assert with_names.as_text() == without.as_text()
    assert any("lif" in name for name in names_in(with_names))
    assert not any("lif" in name for name in names_in(without))
