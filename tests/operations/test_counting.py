"""``synops`` by hand: where weights meet signals, whatever the network is made of."""

from __future__ import annotations

import flax.linen as nn
import jax
import jax.numpy as jnp
import numpy as np
import pytest

import snnax as snn
from snnax.errors import ArgumentError, ShapeError
from snnax.operations.counting import _row
from snnax.operations.products import Place, Tally

T, B = 5, 2
RNG = np.random.default_rng(0)
SPIKES = (RNG.random((T, B, 3)) < 0.4).astype(np.float32)


def counted(net, x=SPIKES, variables=None, **options):
    frame = jnp.asarray(x if "num_steps" in options else x[0])
    variables = net.init(jax.random.key(0), frame) if variables is None else variables
    return snn.utils.synops(net, variables, x, **options)


def rows(found):
    return {layer.name: (layer.dense, layer.macs, layer.acs) for layer in found.layers}


def test_a_dense_layer_is_counted_by_hand():
    kernel = np.ones((3, 4), np.float32)
    kernel[0, :3] = 0
    found = counted(nn.Dense(4), variables={"params": {"kernel": kernel, "bias": np.ones(4, np.float32)}})
    active = SPIKES.sum((0, 1))
    assert rows(found) == {"Dense": (T * B * 12, 0, int(active @ [1, 4, 4]))}
    assert found.layers[0].density == pytest.approx(SPIKES.mean()) and not found.neurons


@pytest.mark.parametrize("value", [0.5, 2.0, -1.0])
def test_one_number_makes_macs_of_its_step_alone(value):
    x = SPIKES.copy()
    x[3, 1, 2] = value
    found = counted(nn.Dense(4), x)
    fired = np.count_nonzero(x, axis=(1, 2)) * 4
    macs = 0 if value == -1.0 else fired[3]
    assert rows(found) == {"Dense": (120, macs, fired.sum() - macs)}


def test_sums_are_whole_numbers_beyond_float32():
    """An element is counted as int32 and its weights as float32: a product of the two, and sums, fit neither."""
    acs, weights = np.array([2**30, 1], np.int32), np.array([2**20, 3], np.float32)
    tally = Tally(acs, 0 * acs, weights, weights, np.int32(2**30))
    row = _row(nn.Dense(1), Place(frozenset({"fc/kernel"}), "dense"), tally)
    assert (row.name, row.acs, row.dense) == ("fc", 2**50 + 3, 2**30 * (2**20 + 3))


def test_layers_of_all_kinds_and_feedback_in_a_graph():
    net = snn.Graph(
        nodes={
            "conv": nn.Conv(2, (3,), padding="VALID", feature_group_count=2),
            "lif": snn.Leaky(0.9, threshold=0.1, init_hidden=True),
            "up": nn.ConvTranspose(2, (3,), padding="VALID"),
            "flat": snn.Flatten(),
            "rec": snn.RLeaky(0.5, linear_features=12, init_hidden=True),
            "back": nn.Dense(12),
        },
        edges=[
            ("input", "conv"), ("conv", "lif"), ("lif", "up"), ("up", "flat"), ("flat", "rec"), ("rec", "back"),
            ("back", "rec"), ("rec", "output"),
        ],
    )  # fmt: skip
    found = counted(net, np.ones((T, B, 6, 2), np.float32))
    dense = {name: counts[0] // (T * B) for name, counts in rows(found).items()}
    # 4 windows of 3 inputs in each of 2 groups; each of 8 spikes meets 3 taps of 2 channels; and all meet all
    assert dense == {"conv": 24, "up": 48, "rec/recurrent": 144, "back": 144}
    assert found.layers[0].acs == 24 * T * B and {n.name for n in found.neurons} == {"lif", "rec"}
    assert not found.left_out


class Own(nn.Module):
    """Weights that are made of variables, a product of two signals, one with fixed numbers, a branch and a loop."""

    @nn.compact
    def __call__(self, x):
        weight = self.param("weight", nn.initializers.ones, (3, 3))
        scale = self.param("scale", nn.initializers.ones, (3, 1))
        total = self.variable("hidden", "total", jnp.zeros, (x.shape[0], 3))
        total.value = total.value + x @ (weight * scale).T
        y = jax.lax.cond(x.sum() > 2, lambda v: v @ weight, lambda v: v, x)
        y = jax.lax.fori_loop(0, 2, lambda _, v: jnp.sign(v @ weight), y)
        y = jax.lax.while_loop(lambda v: v.sum() < 0, lambda v: v + 1, y)
        return (y @ total.value.T) @ np.ones((B, 2), np.float32)


def test_a_module_of_ones_own_with_branches_and_loops():
    found = counted(Own())
    (layer,) = found.layers
    assert layer.name == "Own"
    heavy = int((SPIKES.sum((1, 2)) > 2).sum())
    assert 0 < heavy < T
    assert layer.dense == 9 * B * (3 * T + heavy)
    assert sorted(what.partition(" in ")[0] for what in found.left_out) == [
        "a product of two signals", "a product with fixed numbers"
    ]  # fmt: skip


def test_a_constant_input_is_counted_in_each_step():
    net = snn.Sequential([nn.Dense(4), snn.Leaky(0.9, threshold=0.1, init_hidden=True), nn.Dense(2)])
    variables = net.init(jax.random.key(0), SPIKES[0])
    found = counted(net, SPIKES[0], variables, num_steps=T)
    again = counted(net, np.broadcast_to(SPIKES[0], (T, B, 3)), variables)
    assert rows(found) == rows(again) and found.neurons == again.neurons
    _, _, recorded = snn.unroll(net, variables, SPIKES[0], num_steps=T, record=True)
    assert found.neurons[0].spikes == np.count_nonzero(recorded["layers_1"]["spk"])
    assert found.activation_sparsity == pytest.approx(1 - np.mean(recorded["layers_1"]["spk"]))


def test_states_that_are_there_are_gone_on_from():
    net = snn.RLeaky(0.5, linear_features=3, init_hidden=True)
    variables = net.init(jax.random.key(0), SPIKES[0])
    _, updates = snn.unroll(net, variables, 9 * SPIKES[:1])
    fired = int((updates["hidden"]["mem"] > 1).sum())
    assert fired
    found = counted(net, np.zeros((1, B, 3)), {**variables, **updates})
    assert rows(found) == {"recurrent": (B * 9, 0, 3 * fired)}


def test_what_does_not_fit_is_refused():
    net = nn.Dense(4)
    variables = net.init(jax.random.key(0), SPIKES[0])
    with pytest.raises(ShapeError, match=r"\[T, B, ...\]"):
        snn.utils.synops(net, variables, np.ones(3))
    with pytest.raises(ArgumentError, match=r"energy\(ac"):
        counted(net, variables=variables).energy(ac=-1.0)
