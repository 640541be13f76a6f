"""``Sequential`` and ``Graph`` for one time step, against hand-written NumPy."""

import flax.linen as nn
import jax
import jax.numpy as jnp
import numpy as np
import pytest
from helpers.nets import B, T, assert_same, branches, eighths, feedback, fires, leaky, start, stepwise

import snnax as snn
from snnax.errors import ArgumentError, GraphError, StateError, TorchLineError

X = eighths((T, B, 4), seed=1)


def dense(params, x):
    return x @ np.asarray(params["kernel"]) + np.asarray(params["bias"])


def membrane(mem, current):
    """A leaky neuron with decay 1/2 and threshold 1: ``(spikes, membrane)``."""
    mem = 0.5 * mem + current - (mem > 1)
    return (mem > 1).astype(np.float32), mem


# --- Sequential -----------------------------------------------------------------------------------


def test_sequential_is_a_chain():
    net = snn.Sequential([nn.Dense(5), leaky(), nn.Dense(4), leaky(output=True)])
    variables = start(net, X[0])
    (spk, mem), after = stepwise(net, variables, X)
    first, second = np.zeros((B, 5)), np.zeros((B, 4))
    for t, x in enumerate(np.asarray(X)):
        s, first = membrane(first, dense(variables["params"]["layers_0"], x))
        s, second = membrane(second, dense(variables["params"]["layers_2"], s))
        np.testing.assert_array_equal(spk[t], s)
        np.testing.assert_array_equal(mem[t], second)
    np.testing.assert_array_equal(after["hidden"]["layers_1"]["mem"], first)
    assert fires(spk)


def test_layers_of_a_chain_by_number_as_in_torch():
    net = snn.Sequential(snn.Linear(3, 4), snn.Leaky(0.5, init_hidden=True), snn.Linear(4, 2))
    x = jnp.ones((2, 3))
    assert len(net) == 3 and net[-1] is net.layers[2] and [*net] == [*net.layers] and net
    with pytest.raises(IndexError):
        net[3]
    variables = net.init(jax.random.key(0), x)
    bound = net.bind(variables, mutable=["hidden"])
    first = {name: variables["params"]["layers_0"][name] for name in ("kernel", "bias")}
    np.testing.assert_array_equal(bound[0](x), net[0].apply({"params": first}, x))
    assert bound[0].variables["params"].keys() == first.keys()
    part = net[:2]
    assert type(part) is snn.Sequential and len(part) == 2
    spk = part.apply({"params": {"layers_0": first}}, x, mutable=["hidden"])[0]
    np.testing.assert_array_equal(spk, bound[1](bound[0](x)))
    with pytest.raises(TorchLineError, match=r"net\[:2\]"):
        bound[:2]


def test_sequential_names_its_variables_as_flax_does():
    layers = [nn.Dense(5), nn.relu, nn.Dense(4)]
    theirs = jax.eval_shape(nn.Sequential(layers).init, jax.random.key(0), X[0])
    ours = jax.eval_shape(
        snn.Sequential([nn.Dense(5), snn.Scale(1.0), nn.Dense(4)]).init, jax.random.key(0), X[0]
    )
    assert jax.tree.map(jnp.shape, ours) == jax.tree.map(jnp.shape, theirs)


def test_a_neuron_in_the_middle_hands_on_its_spikes():
    nets = [snn.Sequential([leaky(output=o), snn.Scale(2.0), leaky()]) for o in (True, False)]
    assert_same(*(stepwise(net, {}, X)[0] for net in nets))


def test_an_empty_chain_hands_on_its_input():
    net = snn.Sequential([])
    assert_same(net.apply({}, X[0]), X[0])
    assert_same(snn.unroll(net, {}, X)[0], X)


def test_own_names_of_layers_do_not_matter():
    plain = snn.Sequential([nn.Dense(4), leaky()])
    named = snn.Sequential([nn.Dense(4, name="fc"), leaky(name="lif")])
    variables = start(named, X[0])
    assert list(variables["params"]) == ["layers_0"]
    assert_same(stepwise(named, variables, X), stepwise(plain, variables, X))
    assert_same(snn.unroll(named, variables, X)[0], stepwise(plain, variables, X)[0])


# --- Graph ----------------------------------------------------------------------------------------


def test_branches_are_summed():
    net = branches()
    variables = start(net, X[0])
    p = variables["params"]
    (spk, mem), _ = stepwise(net, variables, X)
    lif, out = np.zeros((B, 4)), np.zeros((B, 4))
    for t, x in enumerate(np.asarray(X)):
        s, lif = membrane(lif, dense(p["a"], x))
        s, out = membrane(out, lif + dense(p["b"], x) + s)
        np.testing.assert_array_equal(spk[t], s)
        np.testing.assert_array_equal(mem[t], out)
    assert fires(spk)


def test_feedback_arrives_one_step_later():
    net = feedback()
    variables = start(net, X[0])
    p = variables["params"]
    spk, after = stepwise(net, variables, X)
    mem, back = np.zeros((B, 4)), np.zeros((B, 4))
    for t, x in enumerate(np.asarray(X)):
        s, mem = membrane(mem, dense(p["fc"], x) + back)
        back = dense(p["back"], s)
        np.testing.assert_array_equal(spk[t], s)
    np.testing.assert_array_equal(after["hidden"]["back_previous"], back)
    assert fires(spk)


def test_a_neuron_may_feed_itself():
    net = snn.Graph({"lif": leaky()}, [("input", "lif"), ("lif", "lif"), ("lif", "output")])
    spk, after = stepwise(net, {}, X)
    mem, s = np.zeros((B, 4)), np.zeros((B, 4))
    for t, x in enumerate(np.asarray(X)):
        s, mem = membrane(mem, x + s)
        np.testing.assert_array_equal(spk[t], s)
    np.testing.assert_array_equal(after["hidden"]["lif_previous"], s)


def test_feedback_of_another_shape_than_its_source():
    """Shapes round the cycle are inferred, through a convolution, a pool and a nested chain."""
    back = snn.Sequential([nn.Conv(3, (3, 3)), snn.Scale(0.5)])
    net = snn.Graph(
        {"conv": nn.Conv(3, (3, 3), strides=2), "lif": leaky(output=True), "back": back},
        [("input", "conv"), ("conv", "lif"), ("lif", "back"), ("back", "lif"), ("lif", "output")],
    )
    shapes = jax.eval_shape(net.init, jax.random.key(0), jnp.zeros((B, 6, 6, 2)))
    assert shapes["hidden"]["back_previous"].shape == (B, 3, 3, 3)


def test_sums_follow_the_order_of_the_edges():
    nodes = {"big": snn.Scale(1e8), "one": snn.Scale(1.0), "minus": snn.Scale(-1e8), "sum": snn.Scale(1.0)}
    into = [("input", name) for name in ("big", "one", "minus")]
    x = jnp.ones((1, 1))
    for order, expected in ((("big", "minus", "one"), 1.0), (("big", "one", "minus"), 0.0)):
        net = snn.Graph(nodes, [*into, *((name, "sum") for name in order), ("sum", "output")])
        assert float(net.apply({}, x)[0, 0]) == expected
        assert float(snn.unroll(net, {}, x[None])[0][0, 0, 0]) == expected
        assert float(snn.unroll(net, {}, x, num_steps=2)[0][1, 0, 0]) == expected


def test_input_and_nodes_may_meet_at_the_output():
    net = snn.Graph(
        {"a": snn.Scale(2.0), "lif": leaky(output=True)},
        [("input", "a"), ("input", "lif"), ("input", "output"), ("a", "output"), ("lif", "output")],
    )
    spk = stepwise(leaky(), {}, X)[0]
    assert_same(stepwise(net, {}, X)[0], X + 2 * X + spk)
    assert_same(snn.unroll(net, {}, X)[0], X + 2 * X + spk)


@pytest.mark.parametrize(
    ("outputs", "pick"),
    [
        ([("lif", "out")], lambda spk, syn, mem: spk),
        ([("lif", "spk")], lambda spk, syn, mem: spk),
        ([("lif", "mem")], lambda spk, syn, mem: mem),
        ([("lif", "mem"), ("half", "out"), ("lif", "syn")], lambda spk, syn, mem: (mem, spk / 2, syn)),
    ],
)
def test_outputs_pick_ports(outputs, pick):
    neuron = snn.Synaptic(0.5, 0.25, init_hidden=True, output=True)
    edges = [("input", "lif"), ("lif", "half"), ("half", "output")]
    net = snn.Graph({"lif": neuron, "half": snn.Scale(0.5)}, edges, outputs=outputs)
    expected = pick(*stepwise(neuron, {}, X)[0])
    assert_same(stepwise(net, {}, X)[0], expected)
    assert_same(snn.unroll(net, {}, X, chunk=3)[0], expected)


def test_a_recurrent_neuron_has_its_spikes_once():
    neuron = snn.RLeaky(0.5, all_to_all=False, learn_recurrent=False, init_hidden=True, output=True)
    edges = [("input", "lif"), ("lif", "output")]
    net = snn.Graph({"lif": neuron}, edges, outputs=[("lif", "spk"), ("lif", "mem")])
    assert_same(stepwise(net, {}, X)[0], stepwise(neuron, {}, X)[0])


def test_channels_first_takes_and_returns_images_of_torch():
    layers = {"conv": nn.Conv(3, (3, 3)), "lif": leaky(output=True)}
    edges = [("input", "conv"), ("conv", "lif"), ("lif", "output")]
    last = snn.Graph(layers, edges)
    first = snn.Graph(layers, edges, channels_first=True)
    x = eighths((B, 6, 5, 2), seed=2)
    variables = start(last, x)
    (spk, mem), updates = last.apply(variables, x, mutable=["hidden"])
    ours, ours_updates = first.apply(variables, jnp.moveaxis(x, -1, 1), mutable=["hidden"])
    assert spk.shape == (B, 6, 5, 3)
    assert_same(ours, (jnp.moveaxis(spk, -1, 1), jnp.moveaxis(mem, -1, 1)))
    assert_same(ours_updates, updates)
    flat = snn.Graph({"lif": leaky()}, edges=[("input", "lif"), ("lif", "output")], channels_first=True)
    assert_same(stepwise(flat, {}, X)[0], stepwise(leaky(), {}, X)[0])


# --- nesting and sharing --------------------------------------------------------------------------


def test_nested_containers_are_their_chain():
    inner = snn.Graph(
        {"fc": nn.Dense(4), "lif": leaky()}, [("input", "fc"), ("fc", "lif"), ("lif", "output")]
    )
    nested = snn.Sequential([nn.Dense(4), snn.Sequential([leaky(output=True)]), inner])
    variables = start(nested, X[0])
    p = variables["params"]
    assert set(p) == {"layers_0", "layers_2"}
    flat = snn.Sequential([nn.Dense(4), leaky(), nn.Dense(4), leaky()])
    expected = stepwise(flat, {"params": {"layers_0": p["layers_0"], "layers_2": p["layers_2"]["fc"]}}, X)[0]
    ours, after = stepwise(nested, variables, X)
    assert_same(ours, expected)
    assert set(after["hidden"]) == {"layers_1", "layers_2"}


def test_a_layer_at_two_places_has_one_set_of_weights():
    fc = nn.Dense(4)
    shared = snn.Graph(
        {"a": fc, "lif": leaky(), "b": fc, "out": leaky()},
        [("input", "a"), ("a", "lif"), ("lif", "b"), ("b", "out"), ("out", "output")],
    )
    variables = start(shared, X[0])
    assert list(variables["params"]) == ["a"]
    p = variables["params"]["a"]
    plain = snn.Sequential([nn.Dense(4), leaky(), nn.Dense(4), leaky()])
    expected = stepwise(plain, {"params": {"layers_0": p, "layers_2": p}}, X)[0]
    assert_same(stepwise(shared, variables, X)[0], expected)
    grown = jax.grad(lambda v: snn.unroll(shared, v, X)[0].sum())(variables)
    apart = {"params": {"layers_0": p, "layers_2": p}}
    both = jax.grad(lambda v: snn.unroll(plain, v, X)[0].sum())(apart)["params"]
    total = jax.tree.map(jnp.add, both["layers_0"], both["layers_2"])
    assert_same(grown["params"]["a"], total, 1e-6)


def test_a_neuron_at_two_places_has_one_state():
    lif = leaky()
    net = snn.Sequential([lif, lif])
    spk, after = stepwise(net, {}, 2 * X)
    mem = np.zeros((B, 4))
    for t, x in enumerate(2 * np.asarray(X)):
        s, mem = membrane(mem, x)
        s, mem = membrane(mem, s)
        np.testing.assert_array_equal(spk[t], s)
    assert list(after["hidden"]) == ["layers_0"]
    # Equal as dataclasses, but not the same network: compiled programs must not be mixed up.
    apart = snn.Sequential([leaky(), leaky()])
    assert net == apart
    for one in (net, apart, net):
        assert_same(snn.unroll(one, {}, 2 * X)[0], stepwise(one, {}, 2 * X)[0])
    assert not np.array_equal(spk, snn.unroll(apart, {}, 2 * X)[0])


def test_a_container_with_its_own_call_is_called():
    class Doubled(snn.Sequential):
        @nn.compact
        def __call__(self, x):
            return 2 * super().__call__(x)

    net = Doubled([leaky()])
    assert_same(snn.unroll(net, {}, X)[0], 2 * snn.unroll(leaky(), {}, X)[0])


# --- errors ---------------------------------------------------------------------------------------


def graph(text, outputs=None, **nodes):
    return snn.Graph(nodes, [tuple(edge.split(">")) for edge in text.split()], outputs=outputs)


REFUSED = {
    "number": (lambda: snn.Sequential([nn.Dense(3), 3]), ArgumentError, "'layers_1' is 3, not a layer"),
    "class": (lambda: graph("input>a a>output", a=nn.Dense), ArgumentError, "nn.Dense(4), not nn.Dense"),
    "class alone": (lambda: snn.Sequential(nn.Dense), ArgumentError, "expected layers"),
    "explicit state": (lambda: snn.Sequential([snn.Leaky(0.5)]), ArgumentError, "Leaky(..., init_hidden=True)"),
    "unknown node": (lambda: graph("input>a a>b b>output", a=leaky()), GraphError, "nodes are ['a']"),
    "unknown output": (lambda: graph("input>a a>output", [("b", "out")], a=leaky()), GraphError, "The nodes are ['a']"),
    "no output": (lambda: graph("input>a a>output", [], a=leaky()), GraphError, "outputs=[]"),
    "two of a name": (
        lambda: snn.Graph([("a", nn.Dense(3)), ("a", leaky())], [("input", "a"), ("a", "output")]),
        GraphError, "several nodes are called ['a']",
    ),
    "slash": (lambda: snn.Graph({"a/b": leaky()}, [("input", "a/b"), ("a/b", "output")]), GraphError, "'a/b'"),
    "params": (lambda: graph("input>params params>output", params=leaky()), GraphError, "other than 'params'"),
    "state of the input": (lambda: snn.Sequential([snn.State()]), GraphError, "'layers_0': State('mem') reads one"),
    "state of two": (
        lambda: graph("input>a input>b a>s b>s s>output", a=leaky(output=True), b=leaky(output=True), s=snn.State()),
        GraphError, "is fed by ['a', 'b']",
    ),
    "delayed state": (
        lambda: graph("input>a a>s s>s s>output", a=leaky(output=True), s=snn.State()),
        GraphError, "is fed by ['a', 's']",
    ),
    "name of the feedback": (
        lambda: graph("input>a a>a a>a_previous a_previous>output", a=leaky(), a_previous=leaky()),
        GraphError, "rename that node",
    ),
}  # fmt: skip


@pytest.mark.parametrize("name", REFUSED)
def test_networks_that_mean_nothing_are_refused(name):
    build, error, words = REFUSED[name]
    with pytest.raises(error) as caught:
        build()
    assert words in str(caught.value)


def test_a_state_needs_a_neuron_that_returns_it():
    for neuron, words in (
        (leaky(), "'a' returns no 'mem': build its neuron with output=True"),
        (leaky(output=True), "'a' has no state 'syn'; its states are ['mem']"),
    ):
        net = graph("input>a a>s s>output", a=neuron, s=snn.State("syn" if neuron.output else "mem"))
        with pytest.raises(GraphError) as caught:
            net.init(jax.random.key(0), X[0])
        assert words in str(caught.value)


def test_a_state_is_no_layer_of_its_own():
    with pytest.raises(ArgumentError, match="outside a Graph use the states"):
        snn.State().apply({}, X[0])


def test_signals_of_two_shapes_cannot_meet():
    net = graph("input>a input>b a>c b>c c>output", a=nn.Dense(4), b=nn.Dense(1), c=leaky())
    with pytest.raises(GraphError, match=r"shapes \(3, 4\) and \(3, 1\) meet"):
        net.init(jax.random.key(0), X[0])
    variables = {
        "params": {n: {"kernel": jnp.ones((4, k)), "bias": jnp.ones(k)} for n, k in (("a", 4), ("b", 1))}
    }
    for call in (
        lambda: snn.unroll(net, variables, X),
        lambda: snn.unroll(net, variables, X[0], num_steps=3),
    ):
        with pytest.raises(GraphError, match=r"shapes \(3, 4\) and \(3, 1\) meet"):
            call()


@pytest.mark.parametrize("kind", ["neuron", "graph"])
def test_state_that_could_not_be_kept_is_an_error(kind):
    net = leaky() if kind == "neuron" else graph("input>a a>a a>output", a=snn.Scale(0.5))
    with pytest.raises(StateError) as caught:
        net.apply({}, X[0])
    assert "mutable=['hidden']" in str(caught.value)


@pytest.mark.parametrize("kind", ["neuron", "graph"])
def test_another_batch_size_is_an_error_with_the_remedy(kind):
    net = leaky() if kind == "neuron" else graph("input>a a>a a>output", a=snn.Scale(0.5))
    _, updates = snn.unroll(net, {}, X)
    for call in (
        lambda: snn.unroll(net, updates, X[:, :2]),
        lambda: snn.unroll(net, updates, X[0, :2], num_steps=3),
        lambda: net.apply(updates, X[0, :2], mutable=["hidden"]),
    ):
        with pytest.raises(StateError) as caught:
            call()
        assert "shape (3, 4), the input (2, 4)" in str(caught.value)
        assert "leave the collection 'hidden' out" in str(caught.value)
        assert "snnax.utils.reset" in str(caught.value)
    snn.unroll(net, {}, X[:, :2])
