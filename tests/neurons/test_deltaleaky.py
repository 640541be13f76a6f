"""DeltaLeaky: golden trace, snnTorch as twin to the last bit, gradients, the pair of states, networks."""

from __future__ import annotations

from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from helpers import neurons as twin
from helpers.rounding import last_bit

import snnax as snn
from snnax.errors import ArgumentError, HiddenStateTypeError, ShapeError, StateError

T, B, N = 60, 50, 40


def delta(*args: Any, **options: Any) -> Any:
    return snn.DeltaLeaky(*args, init_hidden=True, output=True, **options)


def test_golden_trace_of_snntorch():
    x = jnp.array([0.6, 0.6, 0.1, 0, -0.9, 0.2])
    (spk, (mem, before)), _ = snn.unroll(delta(0.3, 0.9), {}, x[:, None, None])
    assert spk[:, 0, 0].tolist() == [1, 1, 0, 0, 1, 0]
    expected = [0.6, 1.14, 1.126, 1.0134, 0.01206, 0.210854]
    np.testing.assert_allclose(mem[:, 0, 0], np.float32(expected), 3e-7, 1e-7)
    assert np.array_equal(before[1:], mem[:-1])
    assert float(before[0, 0, 0]) == 0


BETAS = {
    "scalar": (0.9, 0.5),
    "not clamped": (np.linspace(-0.3, 1.01, N).astype(np.float32), 0.4),
    "arrays": (np.float32(0.75), np.linspace(0.1, 0.9, N).astype(np.float32)),
}


@last_bit
@pytest.mark.parametrize("form", BETAS)
def test_spikes_and_states_are_those_of_snntorch(form):
    twin.snntorch()
    import torch

    beta, threshold = BETAS[form]
    x = twin.current((T, B, N))
    learn = form == "not clamped"
    (spk, (mem, before)), updates = snn.unroll(
        delta(threshold, beta, learn_beta=learn), {"params": {"beta": jnp.asarray(beta)}} if learn else {}, x
    )
    bar = torch.tensor(threshold) if isinstance(threshold, np.ndarray) else threshold
    neuron = twin.torch_neuron("DeltaLeaky", None, delta_threshold=bar, beta=beta, learn_beta=learn)
    rows: dict[str, list[Any]] = {"spk": [], "mem": [], "mem_prev": []}
    pair = (None, None)
    with torch.no_grad():
        for frame in torch.tensor(x):
            fired, pair = neuron(frame, pair)
            for row, value in zip(rows.values(), (fired, *pair), strict=True):
                row.append(value)
    theirs = {name: torch.stack(row).numpy() for name, row in rows.items()}
    ours = {"spk": np.asarray(spk), "mem": np.asarray(mem), "mem_prev": np.asarray(before)}
    twin.assert_same(ours, theirs, form)
    assert list(updates["hidden"]) == ["mem"]


def test_gradients_are_those_of_snntorch():
    """Through the surrogate at |change| - threshold; a change of zero has none."""
    twin.snntorch()
    import torch

    beta = np.linspace(0.3, 1.2, 6).astype(np.float32)
    x = twin.current((12, 4, 6))
    x[:3, 0] = 0
    rng = np.random.default_rng(3)
    weights = rng.normal(size=(2, 12, 4, 6)).astype(np.float32)
    module = delta(0.3, beta, learn_beta=True)

    @jax.jit
    def gradients(beta, x):
        def loss(beta, x):
            (spk, (mem, _)), _ = snn.unroll(module, {"params": {"beta": beta}}, x)
            return jnp.sum(spk * weights[0]) + jnp.sum(mem * weights[1])

        return jax.grad(loss, (0, 1))(beta, x)

    ours = dict(zip(("beta", "x"), gradients(beta, x), strict=True))
    neuron = twin.torch_neuron("DeltaLeaky", None, delta_threshold=0.3, beta=beta, learn_beta=True)
    current, total, pair = torch.tensor(x, requires_grad=True), torch.zeros(()), (None, None)
    for t in range(12):
        spk, pair = neuron(current[t], pair)
        total = total + (spk * torch.tensor(weights[0, t])).sum()
        total = total + (pair[0] * torch.tensor(weights[1, t])).sum()
    theirs = dict(zip(("beta", "x"), torch.autograd.grad(total, (neuron.beta, current)), strict=True))
    twin.assert_gradients(ours, theirs, "DeltaLeaky")


def test_the_state_may_be_a_pair_an_array_or_nothing():
    lif = snn.DeltaLeaky(beta=0.5, delta_threshold=0.3)
    x, mem = jnp.full((2, 3), 0.5), jnp.full((2, 3), 0.25)
    expected = lif.apply({}, x, mem)
    assert jax.tree.structure(expected) == jax.tree.structure((0, (0, 0)))
    for given in ((mem, None), (mem, x), [mem, x]):
        jax.tree.map(np.testing.assert_array_equal, lif.apply({}, x, given), expected)
    for given in (None, (None, None), (None, x)):
        _, (after, before) = lif.apply({}, x, given)
        assert np.array_equal(after, x)
        assert not before.any()
    with pytest.raises(StateError, match=r"got 3 states; expected mem, or the pair \(mem, mem_prev\)"):
        lif.apply({}, x, (mem, mem, mem))
    with pytest.raises(StateError, match=r"'mem' has shape \(3,\)"):
        lif.apply({}, x, (mem[0], mem))
    with pytest.raises(HiddenStateTypeError, match="was passed mem"):
        delta(beta=0.5).apply({}, x, (mem, mem))


def test_hidden_state_gives_spikes_alone_unless_asked():
    x = jnp.full((2, 3), 0.5)
    spk, _ = snn.DeltaLeaky(beta=0.5, init_hidden=True).apply({}, x, mutable=["hidden"])
    assert spk.shape == (2, 3)
    (spk, pair), updates = delta(beta=0.5).apply({}, x, mutable=["hidden"])
    assert np.array_equal(pair[0], updates["hidden"]["mem"])


def test_time_loop_records_forces_and_does_not_depend_on_the_chunk():
    x = jnp.asarray(twin.current((7, 2, 3)))
    force = {"": 1 - jnp.zeros((7, 2, 3))}
    runs = [snn.unroll(delta(0.3, 0.9), {}, x, chunk=c, record=True, force=force) for c in (1, 7)]
    jax.tree.map(np.testing.assert_array_equal, *runs)
    (spk, (mem, _)), _, record = runs[0]
    assert set(record[""]) == {"input", "mem", "spk"}
    assert np.array_equal(record[""]["mem"], mem)
    assert bool((spk == 1).all())
    assert not bool((record[""]["spk"] == 1).all())


def test_networks_hand_on_spikes_and_read_the_membrane():
    x = jnp.asarray(twin.current((6, 2, 3)))
    (spk, (mem, _)), _ = snn.unroll(delta(0.3, 0.9), {}, x)
    chain = snn.Sequential([delta(0.3, 0.9), snn.Scale(2.0)])
    assert np.array_equal(snn.unroll(chain, {}, x)[0], 2 * spk)
    net = snn.Graph(
        nodes={"lif": delta(0.3, 0.9), "mem": snn.State("mem"), "double": snn.Scale(2.0)},
        edges=[("input", "lif"), ("lif", "mem"), ("mem", "double"), ("double", "output")],
        outputs=[("double", "out"), ("lif", "mem"), ("lif", "out")],
    )
    doubled, port, fired = snn.unroll(net, {}, x)[0]
    assert np.array_equal(doubled, 2 * mem)
    assert np.array_equal(port, mem)
    assert np.array_equal(fired, spk)


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({}, r"got no beta; expected a number or an array, as beta=0.9"),
        ({"beta": "fast"}, r"DeltaLeaky\(beta='fast'\)"),
        ({"beta": 0.9, "delta_threshold": np.nan}, r"delta_threshold=nan\); expected finite"),
        ({"beta": 0.9, "threshold": 0.5}, r"DeltaLeaky\(threshold=0.5\) would do nothing.*is delta_threshold"),
        ({"beta": 0.9, "threshold": [1.0, 1.0]}, r"threshold=FrozenArray"),
        ({"beta": 0.9, "inhibition": True}, r"inhibition=True"),
        ({"beta": 0.9, "learn_threshold": True, "reset_delay": False}, r"learn_threshold=True, reset_delay=False"),
        ({"beta": 0.9, "reset_mechanism": "zero"}, r"reset_mechanism='zero'"),
        ({"beta": 0.9, "reset_mechanism": "hard"}, r"reset_mechanism='hard'"),
        ({"beta": 0.9, "state_quant": abs}, r"state_quant=<built-in function abs>"),
        ({"beta": 0.9, "graded_spikes_factor": 2}, r"graded_spikes_factor=2.0"),
        ({"beta": 0.9, "learn_graded_spikes_factor": True}, r"learn_graded_spikes_factor=True"),
    ],
)  # fmt: skip
def test_bad_arguments(options, message):
    with pytest.raises(ArgumentError, match=message):
        snn.DeltaLeaky(**options)


def test_no_reset_can_be_asked_for():
    assert snn.DeltaLeaky(beta=0.9, reset_mechanism="none").reset_mechanism == "none"


def test_a_threshold_that_does_not_fit():
    with pytest.raises(ShapeError, match=r"delta_threshold has shape \(2,\)"):
        snn.DeltaLeaky([0.5, 1.0], 0.9).apply({}, jnp.ones((4, 3)))
