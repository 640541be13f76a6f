"""``reset`` at any depth, ``training`` and ``evaluating``."""

import flax.linen as nn
import jax
import jax.numpy as jnp
import numpy as np
import pytest
from flax.core import freeze
from helpers.nets import assert_same, leaky

import snnax as snn


def variables(depth):
    hidden = {"mem": jnp.ones((2, 3)), "syn": jnp.full((2, 3), 2, jnp.bfloat16)}
    params = {"kernel": jnp.ones((3, 3))}
    for i in range(depth):
        hidden = {f"block_{i}": hidden, "lif": {"spk": jnp.ones(2)}, "fc_previous": jnp.ones((2, 1))}
        params = {f"block_{i}": params}
    return {"params": params, "hidden": hidden, "batch_stats": {"mean": jnp.ones(3)}}


@pytest.mark.parametrize("depth", [0, 1, 4])
@pytest.mark.parametrize("wrap", [dict, freeze])
def test_reset_forgets_every_state_and_nothing_else(depth, wrap):
    given = wrap(variables(depth))
    cleared = snn.utils.reset(given)
    assert set(cleared) == {"params", "batch_stats"}
    for collection in ("params", "batch_stats"):
        assert_same(cleared[collection], given[collection])
    assert_same(
        variables(depth)["hidden"], dict(given)["hidden"] if wrap is dict else given["hidden"].unfreeze()
    )


def test_reset_of_variables_without_state():
    assert snn.utils.reset({"params": {}}) == {"params": {}}


def test_reset_lets_a_network_start_anew():
    net = snn.Sequential([snn.Sequential([leaky(), snn.Scale(2.0)]), leaky(output=True)])
    x = jnp.full((5, 2, 3), 0.75)
    first, updates = snn.unroll(net, {}, x)
    second, _ = snn.unroll(net, updates, x)
    assert not np.array_equal(first[1], second[1])
    assert_same(snn.unroll(net, snn.utils.reset(updates), x)[0], first)
    for batch in (1, 7):
        (spk, mem), _ = snn.unroll(net, snn.utils.reset(updates), jnp.broadcast_to(x[:, :1], (5, batch, 3)))
        assert_same((spk, mem), jax.tree.map(lambda v, n=batch: v[:, :1].repeat(n, 1), first))


class Custom(nn.Module):
    """A user's module with modules in its fields."""

    inner: nn.Module
    table: dict
    rows: list
    features: int = 3

    @nn.compact
    def __call__(self, x):
        return self.rows[0](self.table["drop"](self.inner(x)))


def switches(net):
    """Every switch in the tree, as ``(kind, training)``."""
    if isinstance(net, nn.Dropout):
        return [("dropout", not net.deterministic)]
    if isinstance(net, nn.BatchNorm):
        return [("norm", not net.use_running_average)]
    if isinstance(net, nn.Module):
        return [s for f in net.__dataclass_fields__ if f != "parent" for s in switches(getattr(net, f))]
    if isinstance(net, dict):
        return [s for v in net.values() for s in switches(v)]
    return [s for v in net for s in switches(v)] if isinstance(net, tuple | list) else []


def nets(train):
    norm = lambda: nn.BatchNorm(use_running_average=not train)  # noqa: E731
    drop = lambda: nn.Dropout(0.5, deterministic=not train)  # noqa: E731
    graph = snn.Graph({"n": norm(), "lif": leaky()}, [("input", "n"), ("n", "lif"), ("lif", "output")])
    return {
        "alone": drop(),
        "chain": snn.Sequential([nn.Dense(3), norm(), leaky(), drop()]),
        "nested": snn.Sequential([snn.Sequential([drop(), graph])]),
        "custom": Custom(snn.Sequential([norm(), nn.Dense(3)]), {"drop": drop()}, [norm()]),
        "plain": snn.Sequential([nn.Dense(3), leaky()]),
    }


@pytest.mark.parametrize("name", nets(True))
def test_training_and_evaluating_switch_every_layer(name):
    train, test = nets(True)[name], nets(False)[name]
    for net in (train, test):
        assert {on for _, on in switches(snn.utils.training(net))} <= {True}
        assert {on for _, on in switches(snn.utils.evaluating(net))} <= {False}
    assert [kind for kind, _ in switches(snn.utils.training(test))] == [kind for kind, _ in switches(test)]
    assert bool(switches(test)) == (name != "plain")
    assert {on for _, on in switches(test)} <= {False}, "the network itself stays as it is"


def test_switched_networks_compute_what_they_say():
    net = nets(False)["custom"]
    x = jax.random.normal(jax.random.key(0), (8, 3))
    variables = net.init(jax.random.key(1), x)
    trained = snn.utils.training(net)
    _, updates = trained.apply(variables, x, rngs={"dropout": jax.random.key(2)}, mutable=["batch_stats"])
    assert not np.array_equal(jax.tree.leaves(updates)[0], jax.tree.leaves(variables["batch_stats"])[0])
    assert_same(snn.utils.evaluating(trained).apply(variables, x), net.apply(variables, x))


def test_a_module_at_two_places_stays_one_module():
    norm = nn.BatchNorm(use_running_average=True)
    block = snn.Sequential([nn.Dense(3), norm])
    net = snn.Sequential([block, leaky(), block])
    x = jax.random.normal(jax.random.key(0), (8, 3))
    variables = net.init(jax.random.key(1), x)
    trained = snn.utils.training(net)
    assert trained.layers[0] is trained.layers[2]
    _, updates = trained.apply(variables, x, mutable=["hidden", "batch_stats"])
    assert jax.tree.structure(updates["batch_stats"]) == jax.tree.structure(variables["batch_stats"])
    assert_same(
        snn.utils.evaluating(trained).apply(variables, x, mutable=["hidden"]),
        net.apply(variables, x, mutable=["hidden"]),
    )
