"""``unroll``: constant input, what is compiled and how often, transformations, dtypes, bad input."""

import collections
import logging

import flax.linen as nn
import jax
import jax.extend
import jax.numpy as jnp
import numpy as np
import pytest
from flax.core import freeze
from helpers.nets import B, T, assert_same, branches, eighths, feedback, images, leaky, start, stepwise

import snnax as snn
from snnax.errors import ArgumentError, ShapeError, StateError
from snnax.network.states import initial_hidden

X = eighths((T, B, 4), seed=1)


def chain(**options):
    return snn.Sequential([nn.Dense(5), leaky(), nn.Dense(4), leaky(output=True, **options)])


VARIABLES = start(chain(), X[0])


# --- constant input -------------------------------------------------------------------------------


@pytest.mark.parametrize(
    "build", [chain, branches, feedback, leaky, lambda: snn.Sequential([snn.Scale(2.0)])]
)
def test_num_steps_is_the_input_repeated(build):
    net = build()
    variables = start(net, X[0])
    repeated = jnp.broadcast_to(X[0], (T, B, 4))
    expected = snn.unroll(net, variables, repeated, record=True)
    assert_same(snn.unroll(net, variables, X[0], num_steps=T, chunk=3, record=True), expected)


def test_constant_images_of_torch():
    net = images(channels_first=True)
    frame = eighths((B, 2, 6, 6), seed=2)
    variables = start(net, frame)
    expected = snn.unroll(net, variables, jnp.broadcast_to(frame, (T, *frame.shape)))
    assert_same(snn.unroll(net, variables, frame, num_steps=T), expected)


def products(function, *args):
    """How often each shape of left operand enters a matrix product, and at which depth of scans."""
    found = collections.Counter()

    def visit(jaxpr, depth):
        for eqn in jaxpr.eqns:
            if eqn.primitive.name in ("dot_general", "snnax_product"):
                found[eqn.invars[0].aval.shape, depth] += 1
            for inner in jax.extend.core.jaxprs_in_params(eqn.params):
                visit(inner, depth + (eqn.primitive.name == "scan"))

    visit(jax.make_jaxpr(function)(*args).jaxpr, 0)
    return dict(found)


def test_layers_before_the_first_neuron_run_once_for_a_constant_input():
    net = snn.Graph(
        {"a": nn.Dense(5), "b": nn.Dense(5), "c": nn.Dense(6), "lif": leaky(), "d": nn.Dense(2)},
        [("input", "a"), ("input", "b"), ("a", "c"), ("b", "c"), ("c", "lif"), ("lif", "d"), ("d", "output")],
    )
    variables = start(net, X[0])
    found = products(lambda v, x: snn.unroll(net, v, x, num_steps=T)[0], variables, X[0])
    assert found == {((B, 4), 0): 2, ((B, 5), 0): 1, ((T * B, 6), 0): 1}
    assert products(lambda v, x: snn.unroll(net, v, x, num_steps=6, chunk=2)[0], variables, X[0]) == {
        ((B, 4), 0): 2, ((B, 5), 0): 1, ((2 * B, 6), 1): 1
    }  # fmt: skip


def test_a_layer_without_memory_runs_once_per_chunk():
    found = products(lambda v, x: snn.unroll(chain(), v, x, chunk=T)[0], VARIABLES, X)
    assert found == {((T * B, 4), 0): 1, ((T * B, 5), 0): 1}
    found = products(lambda v, x: snn.unroll(chain(), v, x, chunk=3)[0], VARIABLES, X)
    assert found == {((3 * B, 4), 1): 1, ((3 * B, 5), 1): 1, ((B, 4), 0): 1, ((B, 5), 0): 1}
    net = feedback()
    found = products(lambda v, x: snn.unroll(net, v, x, chunk=T)[0], start(net, X[0]), X)
    assert found == {((B, 4), 1): 2}, "a network with feedback goes step by step"


class Half(nn.Module):
    """A user's own layer without memory, which says so."""

    time_independent = True

    @nn.compact
    def __call__(self, x):
        return nn.Dense(4)(x) / 2


def test_a_users_layer_is_merged_if_it_says_that_it_has_no_memory():
    net = snn.Sequential([Half(), leaky()])
    variables = start(net, X[0])
    found = products(lambda v, x: snn.unroll(net, v, x, chunk=T)[0], variables, X)
    assert found == {((T * B, 4), 0): 1}
    assert_same(snn.unroll(net, variables, X)[0], stepwise(net, variables, X)[0])


class Demeaned(nn.Dense):
    """A subclass of a layer that may be merged, which may not: it looks at the whole batch."""

    @nn.compact
    def __call__(self, x):
        return super().__call__(x) - jnp.sum(x)


@pytest.mark.parametrize("layer", [Demeaned(4), nn.LayerNorm(reduction_axes=(0, 1)), nn.BatchNorm(False)])
def test_layers_that_look_at_the_whole_batch_are_not_merged(layer):
    net = snn.Sequential([layer, leaky(output=True)])
    variables = start(net, X[0])
    runs = [snn.unroll(net, variables, X, chunk=c, mutable=["batch_stats"])[0] for c in (1, T)]
    assert_same(runs[1], runs[0], 1e-6)


# --- compiled once --------------------------------------------------------------------------------


class Counts(nn.Module):
    """Counts how often it is traced."""

    traces = 0

    @nn.compact
    def __call__(self, x):
        type(self).traces += 1
        return leaky()(nn.Dense(4)(x))


@pytest.fixture
def compilations(caplog):
    """How often JAX has compiled the time loop so far."""
    with caplog.at_level(logging.WARNING, logger="jax"), jax.log_compiles():
        yield lambda: sum("Compiling jit(_run)" in r.getMessage() for r in caplog.records)


@pytest.mark.parametrize(
    "build", [Counts, lambda: snn.Sequential([Counts(), chain()])], ids=["own", "container"]
)
def test_a_second_call_compiles_nothing(build, compilations):
    variables = start(build(), X[0])
    other = X + 1
    first = snn.unroll(build(), variables, X, chunk=3)
    traces = Counts.traces
    assert compilations() == 1
    for x in (X, other, np.asarray(X)):
        again = snn.unroll(build(), variables, x, chunk=3)
    assert_same(again, first)
    assert Counts.traces == traces
    assert compilations() == 1
    snn.unroll(build(), variables, X[:-1], chunk=3)
    assert Counts.traces > traces
    assert compilations() == 2


def test_a_module_that_cannot_be_hashed_works_too():
    class Holds(nn.Module):
        weight: np.ndarray

        @nn.compact
        def __call__(self, x):
            return leaky()(x * self.weight)

    net = Holds(np.full((1, 4), 2.0, np.float32))
    with pytest.raises(TypeError):
        hash(net)
    assert_same(snn.unroll(net, {}, X)[0], snn.unroll(leaky(), {}, 2 * X)[0])


# --- transformations ------------------------------------------------------------------------------


def test_inside_jit():
    net = chain()
    inside = jax.jit(lambda v, x: snn.unroll(net, v, x, record=["layers_1"], chunk=3))(VARIABLES, X)
    assert_same(inside, snn.unroll(net, VARIABLES, X, record=["layers_1"], chunk=3))


def test_inside_vmap():
    net = chain()
    xs = jnp.stack([X, -X, 2 * X])
    together, _ = jax.vmap(lambda x: snn.unroll(net, VARIABLES, x))(xs)
    for i, x in enumerate(xs):
        assert_same(jax.tree.map(lambda v, i=i: v[i], together), snn.unroll(net, VARIABLES, x)[0])
    many = jax.tree.map(lambda v: jnp.stack([v, 2 * v]), VARIABLES)
    together, _ = jax.vmap(lambda v: snn.unroll(net, v, X))(many)
    assert_same(jax.tree.map(lambda v: v[0], together), snn.unroll(net, VARIABLES, X)[0])


def test_gradients_are_those_of_the_step_loop():
    net = chain()

    def loss(params, run):
        (spk, mem), _ = run(net, {"params": params}, X)
        return jnp.sum(spk * mem)

    ours = jax.grad(loss)(VARIABLES["params"], snn.unroll)
    assert_same(ours, jax.grad(loss)(VARIABLES["params"], stepwise), 1e-6)
    direction = jax.tree.map(jnp.ones_like, VARIABLES["params"])
    slope = jax.jvp(lambda p: loss(p, snn.unroll), (VARIABLES["params"],), (direction,))[1]
    np.testing.assert_allclose(slope, sum(jnp.sum(g) for g in jax.tree.leaves(ours)), rtol=1e-5)


# --- dtypes ---------------------------------------------------------------------------------------


@pytest.mark.parametrize("dtype", ["float64", "bfloat16"])
def test_dtypes_are_kept(dtype):
    with jax.enable_x64(dtype == "float64"):
        variables = jax.tree.map(lambda v: v.astype(dtype), VARIABLES)
        # a state that nobody hands in is not narrower than float32; one that is handed in stays
        for kept in (jnp.promote_types(dtype, "float32"), dtype):
            (spk, mem), updates = snn.unroll(chain(), variables, X.astype(dtype), chunk=3)
            assert {v.dtype for v in (spk, mem, *jax.tree.leaves(updates))} == {jnp.dtype(kept)}
            variables = {**variables, "hidden": jax.tree.map(lambda v: v.astype(dtype), updates["hidden"])}
        variables.pop("hidden")
        (exact, _), _ = snn.unroll(chain(), VARIABLES, X, chunk=3)
        if dtype == "float64":
            np.testing.assert_array_equal(snn.unroll(chain(), variables, X.astype(dtype))[0][0], exact)


def test_a_state_of_another_dtype_is_taken_as_apply_takes_it():
    net, x = snn.Sequential([leaky(), leaky(output=True)]), 2 * X
    for stored, expected in (("bfloat16", "float32"), ("float32", "float32")):
        hidden = jax.tree.map(lambda v, s=stored: v.astype(s), snn.unroll(net, {}, x[:2])[1]["hidden"])
        ours, updates = snn.unroll(net, {"hidden": hidden}, x, chunk=2)
        theirs, after = stepwise(net, {"hidden": hidden}, x)
        assert_same(ours, theirs)
        assert_same(updates["hidden"], after["hidden"])
        assert ours[1].dtype == expected
    with jax.enable_x64(True):
        wide = jnp.asarray(np.asarray(x, np.float64))
        assert_same(snn.unroll(net, {"hidden": hidden}, wide)[0], stepwise(net, {"hidden": hidden}, wide)[0])


@pytest.mark.parametrize("dtype", [bool, np.uint8])
def test_spikes_may_be_integers(dtype):
    spikes = np.random.default_rng(0).integers(0, 2, X.shape)
    assert_same(
        snn.unroll(chain(), VARIABLES, spikes.astype(dtype)),
        snn.unroll(chain(), VARIABLES, spikes.astype(np.float32)),
    )
    loop = snn.Graph(
        {"lif": leaky(), "back": snn.Scale(0.5)},
        [("input", "lif"), ("lif", "back"), ("back", "lif"), ("lif", "output")],
    )
    hidden = jax.tree.map(
        lambda s: jnp.zeros(s.shape, s.dtype), jax.eval_shape(loop.init, jax.random.key(0), X[0])
    )
    for variables in ({}, hidden):
        ours = snn.unroll(loop, variables, spikes.astype(np.int32), chunk=3)
        assert_same(ours, snn.unroll(loop, variables, spikes.astype(np.float32), chunk=3))


# --- variables ------------------------------------------------------------------------------------


def test_variables_are_left_as_they_are_and_may_be_frozen():
    variables = {
        **VARIABLES,
        "hidden": {"layers_1": {"mem": jnp.ones((B, 5))}, "layers_3": {"mem": jnp.ones((B, 4))}},
    }
    before = jax.tree.map(np.asarray, variables)
    expected = snn.unroll(chain(), variables, X, chunk=3)
    assert_same(variables, before)
    for frozen in (freeze(variables), {c: freeze(v) for c, v in variables.items()}):
        assert_same(snn.unroll(chain(), frozen, X, chunk=3), expected)


def test_states_that_are_missing_start_from_zero():
    whole = {"layers_1": {"mem": jnp.ones((B, 5))}, "layers_3": {"mem": jnp.zeros((B, 4))}}
    part = {"layers_1": whole["layers_1"]}
    runs = [snn.unroll(chain(), {**VARIABLES, "hidden": h}, X, chunk=3) for h in (whole, part)]
    assert_same(runs[1], runs[0])
    assert_same(snn.unroll(chain(), {**VARIABLES, "hidden": {}}, X), snn.unroll(chain(), VARIABLES, X))


def test_initial_hidden_is_zero_where_nothing_is_stored():
    hidden = initial_hidden(chain(), VARIABLES, X[0])
    assert_same(hidden, {"layers_1": {"mem": jnp.zeros((B, 5))}, "layers_3": {"mem": jnp.zeros((B, 4))}})


def test_an_empty_batch_is_a_batch():
    (spk, _), updates = snn.unroll(chain(), VARIABLES, X[:, :0])
    assert spk.shape == (T, 0, 4)
    assert updates["hidden"]["layers_1"]["mem"].shape == (0, 5)


# --- bad input ------------------------------------------------------------------------------------

ONES = jnp.ones((T, B, 4))
BAD = {
    "chunk of nothing": ({"chunk": 0}, ArgumentError, "chunk=0; expected 'auto' or a whole number"),
    "negative chunk": ({"chunk": -3}, ArgumentError, "chunk=-3"),
    "half a chunk": ({"chunk": 2.5}, ArgumentError, "chunk=2.5"),
    "chunk by name": ({"chunk": "all"}, ArgumentError, "chunk='all'"),
    "no chunk": ({"chunk": None}, ArgumentError, "chunk=None"),
    "true chunk": ({"chunk": True}, ArgumentError, "chunk=True"),
    "no steps": ({"num_steps": 0}, ArgumentError, "num_steps=0; expected a whole number of steps >= 1"),
    "half a step": ({"num_steps": 2.5}, ArgumentError, "num_steps=2.5"),
    "word of steps": ({"num_steps": "5"}, ArgumentError, "num_steps='5'"),
    "all mutable": ({"mutable": True}, ArgumentError, "mutable=['batch_stats']"),
    "one key": ({"rngs": jax.random.key(0)}, ArgumentError, "rngs={'dropout': jax.random.key(0)}"),
    "record": ({"record": ["lif"]}, ArgumentError, "record=['lif'] names no neuron; the neurons are ["),
    "record a layer": ({"record": "layers_0"}, ArgumentError, "record=['layers_0']"),
    "force": ({"force": {"lif": ONES}}, ArgumentError, "force=['lif'] names no neuron; the neurons are ["),
    "force a layer": ({"force": {"layers_0": ONES}}, ArgumentError, "force=['layers_0']"),
    "force too few": ({"force": {"layers_3": ONES[1:]}}, ShapeError, "[T, B, ...] = (7, 3, 4)"),
    "force too narrow": ({"force": {"layers_3": ONES[..., :1]}}, ShapeError, "force['layers_3'] has shape (7, 3, 1)"),
    "no time": ({"x": X[0]}, ShapeError, "Dense got shape (4,) at each step; expected [B, features]"),
    "no time, one step": ({"x": X[0], "chunk": 1}, ShapeError, "num_steps=T"),
    "a frame without batch": ({"x": X[0, 0], "num_steps": 3}, ShapeError, "Dense got shape (4,) at each step"),
    "no axes": ({"x": jnp.ones(())}, ShapeError, "expected [T, B, ...]"),
    "one axis": ({"x": jnp.ones(5)}, ShapeError, "expected [T, B, ...] with T >= 1"),
    "no steps in x": ({"x": X[:0]}, ShapeError, "shape (0, 3, 4)"),
    "no frame": ({"x": jnp.ones(()), "num_steps": 3}, ShapeError, "one frame [B, ...]"),
    "other batch": (
        {"variables": {**VARIABLES, "hidden": {"layers_1": {"mem": jnp.ones((2, 5))}}}}, StateError,
        "Leaky 'layers_1': the stored state 'mem' has shape (2, 5), the input (3, 5)",
    ),
}  # fmt: skip


@pytest.mark.parametrize("name", BAD)
def test_bad_input_is_an_error_that_says_what_to_do(name):
    given, error, words = BAD[name]
    given = {"variables": VARIABLES, "x": X, **given}
    with pytest.raises(error) as caught:
        snn.unroll(chain(), given.pop("variables"), given.pop("x"), **given)
    assert words in str(caught.value)


def test_images_without_batch_are_refused():
    net = snn.Sequential([nn.Conv(2, (3, 3)), leaky()])
    x = eighths((B, 6, 6, 1))
    variables = start(net, x)
    with pytest.raises(
        ShapeError, match=r"Conv got shape \(6, 6, 1\) at each step; expected \[B, ..., features\]"
    ):
        snn.unroll(net, variables, x)
