"""A law: what runs a network over time gives what ``apply`` gives step by step, whatever the user's modules do."""

from __future__ import annotations

import dataclasses
import functools
import os
import sys
import types
from typing import Any

import flax.linen as nn
import jax
import jax.numpy as jnp
import numpy as np
import optax
import pytest
from helpers import zoo

import snnax as snn
from snnax.errors import StateError
from snnax.network.outside import outside

T, B, N = 6, 3, 4
X = jnp.asarray(np.random.default_rng(0).uniform(-0.5, 2.0, (T, B, N)), jnp.float32)
KEY = jax.random.key(0)
every = pytest.mark.parametrize("name", zoo.ZOO)


def alone(module):
    return module


def inside(module):
    """Between layers that run on many steps at once, in a block."""
    block = snn.Sequential([nn.Dense(N), module])
    return snn.Sequential([block, nn.Dense(N), snn.Leaky(0.5, init_hidden=True, output=True)])


def looped(module):
    """In a cycle, so that everything runs step by step."""
    return snn.Graph(
        {"own": module, "lif": snn.Leaky(0.5, init_hidden=True), "back": snn.Scale(0.5)},
        [("input", "own"), ("own", "lif"), ("lif", "back"), ("back", "own"), ("lif", "output")],
    )


PLACES = {"alone": alone, "inside": inside, "looped": looped}


def settle(tree):
    return {c: v for c, v in tree.items() if jax.tree.leaves(v)}


def close(ours: Any, theirs: Any, rtol: float = 1e-5) -> None:
    assert jax.tree.structure(ours) == jax.tree.structure(theirs)
    for a, b in zip(jax.tree.leaves(ours), jax.tree.leaves(theirs), strict=True):
        assert a.dtype == b.dtype and a.shape == b.shape
        if jnp.issubdtype(a.dtype, jax.dtypes.prng_key):
            a, b = jax.random.key_data(a), jax.random.key_data(b)
        np.testing.assert_allclose(np.asarray(a), np.asarray(b), rtol=rtol, atol=rtol)


def example(name: str, place: str = "alone") -> tuple[nn.Module, Any, tuple[str, ...], dict[str, Any]]:
    """Network, its variables with and without states, and the further collections that it carries."""
    net = PLACES[place](zoo.ZOO[name]())
    made = net.init(KEY, X[0])
    further = zoo.NAMED.get(name, ())
    return net, {c: v for c, v in made.items() if c not in ("hidden", *further)}, further, made


def states(updates: Any, further: tuple[str, ...]) -> Any:
    return settle({c: updates[c] for c in ("hidden", *further) if c in updates})


@every
def test_unroll_is_apply_step_by_step(name):
    net, fixed, further, made = example(name)
    for start, chunks in ((fixed, (1, 4)), (made, ("auto",))):
        theirs, after = zoo.loop(net, start, X, further)
        for chunk in chunks:
            ours, updates = snn.unroll(net, start, X, mutable=further, chunk=chunk)
            close(ours, theirs)
            close(states(updates, further), states(after, further))


@every
def test_a_network_of_them_takes_another_batch_size_than_at_init(name):
    net, fixed, further, _ = example(name, "inside")
    x = X[:, :2]
    rtol = 1e-3 if name == "Izhikevich" else 1e-5  # the square of a voltage carries rounding on
    theirs, after = zoo.loop(net, fixed, x, further)
    ours, updates = snn.unroll(net, fixed, x, mutable=further, chunk=4)
    close(ours, theirs, rtol)
    close(states(updates, further), states(after, further), rtol)
    close(snn.unroll(net, updates | fixed, x, mutable=further)[0], zoo.loop(net, after, x, further)[0], rtol)


@pytest.mark.parametrize("name", ["AdaptiveThreshold", "PutOnly", "Two", "Mixing"])
def test_in_a_cycle(name):
    net, fixed, further, _ = example(name, "looped")
    theirs, after = zoo.loop(net, fixed, X, further)
    ours, updates = snn.unroll(net, fixed, X, mutable=further)
    close(ours, theirs)
    close(states(updates, further), states(after, further))


TRAINED = ("AdaptiveThreshold", "LearnedStart", "PutOnly", "Block")


def target(outputs: Any, y: Any) -> jax.Array:
    return sum((leaf**2).mean() for leaf in jax.tree.leaves(outputs)) + 0.0 * y.sum()


@pytest.mark.parametrize("name", TRAINED)
def test_training_is_the_gradient_of_the_loop(name):
    net, fixed, _, made = example(name, "inside")
    y = jnp.zeros(B)

    def wanted(params, run):
        return target(run({**fixed, "params": params}), y)

    loss, slope = jax.value_and_grad(wanted)(fixed["params"], lambda v: zoo.loop(net, v, X)[0])
    remat = jax.grad(wanted)(fixed["params"], lambda v: snn.unroll(net, v, X, chunk=2, remat=True)[0])
    close(remat, slope)
    after = jax.tree.map(lambda p, g: p - 0.5 * g, fixed["params"], slope)
    state = snn.training.TrainState.create(net, made, optax.sgd(0.5))
    step = snn.training.make_train_step(target, read="all", donate=False)
    trained, metrics = step(state, X, y)
    close(trained.params, after)
    np.testing.assert_allclose(metrics["loss"], loss, rtol=1e-5)
    measured = snn.training.make_eval_step(target, read="all")(state, X, y)["loss"]
    np.testing.assert_allclose(measured, loss, rtol=1e-5)


@pytest.mark.parametrize("name", TRAINED)
def test_pieces_of_time_go_on_from_each_other(name):
    net, fixed, _, made = example(name, "inside")
    loss = snn.backprop.TBPTT(net, made, [(X, jnp.zeros(B))], optax.sgd(0.0), lambda spk, y: spk.mean(), K=4)[
        0
    ]
    np.testing.assert_allclose(loss, zoo.loop(net, fixed, X)[0][0].mean(), rtol=1e-5)


@pytest.mark.parametrize(
    "name", [n for n in zoo.ZOO if n not in ("PutOnly", "OneNumber", "Pair", "Narrowing")]
)
def test_nnx_and_its_reset(name):
    net, fixed, further, _ = example(name)
    theirs, _ = zoo.loop(net, fixed, X, further)
    model = snn.nnx.Network(net, X[0], variables=fixed)
    close(jnp.stack([model(frame) for frame in X[:2]]), theirs[:2])
    model.reset(X[0])
    close(model.unroll(X), theirs)
    if name != "FromInput":
        model.reset()
        close(model(X[0]), theirs[0])
    model.reset(X[0, :2])
    close(model(X[0, :2]), zoo.loop(net, fixed, X[:1, :2], further)[0][0])


CELLS = [n for n in zoo.ZOO if n not in ("Two", "PutOnly", "FromInput", "OneNumber", "Pair", "Narrowing")]


@pytest.mark.parametrize("name", CELLS)
def test_a_cell_of_rnn(name):
    net, fixed, _, _ = example(name)
    rnn = nn.RNN(snn.SpikingCell(net), time_major=True, variable_broadcast=("params", "buffers"))
    made = jax.eval_shape(rnn.init, KEY, X)
    kept = {c: {"cell": {"net": tree}} for c, tree in fixed.items()}
    assert jax.tree.map(jnp.shape, settle(made)) == jax.tree.map(jnp.shape, settle(kept))
    close(rnn.apply(kept, X), zoo.loop(net, fixed, X)[0])


def test_vmap_over_networks_in_time():
    net, fixed, _, _ = example("Block")
    many = jnp.stack([X, X[::-1]])
    together = jax.vmap(lambda x: snn.unroll(net, fixed, x)[0])(many)
    close(together, jnp.stack([snn.unroll(net, fixed, x)[0] for x in many]))


def test_a_constant_input_and_layers_that_mix_the_batch():
    net, fixed, _, _ = example("Mixing", "inside")
    theirs, _ = zoo.loop(net, fixed, jnp.broadcast_to(X[0], X.shape))
    close(snn.unroll(net, fixed, X[0], num_steps=T)[0], theirs)


def test_a_layer_without_memory_costs_no_memory():
    """One array for each neuron and step, as with a layer of this package in its place."""

    class Activation(nn.Module):
        @nn.compact
        def __call__(self, x):
            return nn.gelu(x)

    def kept(*extra):
        net = snn.Sequential([nn.Dense(64), *extra, snn.Leaky(0.9, init_hidden=True), nn.Dense(64)])
        x = jnp.ones((100, 8, 64))
        params = jax.eval_shape(net.init, KEY, x[0])["params"]

        def loss(p):
            return (snn.unroll(net, {"params": p}, x, chunk=10)[0] ** 2).mean()

        program = jax.jit(jax.grad(loss)).lower(params).compile()
        return program.memory_analysis().temp_size_in_bytes

    assert kept(Activation()) < 1.5 * kept(snn.Scale(2.0))


# --- what a module reads beside its fields -------------------------------------------------------------

LEVEL = 1.0


def scaled(x):
    return x * LEVEL


class Reading(nn.Module):
    factor = 0.5

    @nn.compact
    def __call__(self, x):
        mem = self.variable("hidden", "mem", jnp.zeros, x.shape)
        mem.value = self.factor * mem.value + scaled(x)
        return mem.value


def test_what_a_module_reads_from_outside_is_read_at_each_call(monkeypatch):
    net = snn.Sequential([Reading()])
    state = snn.training.TrainState.create(net, {"params": {"none": jnp.ones(())}}, optax.sgd(0.0))
    measure = snn.training.make_eval_step(lambda y, _: y.sum())

    def all_ways():
        theirs = zoo.loop(net, {}, X)[0]
        close(snn.unroll(net, {}, X)[0], theirs)
        np.testing.assert_allclose(measure(state, X, X)["loss"], theirs.sum(), rtol=1e-5)
        return theirs

    first = all_ways()
    monkeypatch.setattr(f"{__name__}.LEVEL", 2.0)
    close(all_ways(), 2 * first)
    monkeypatch.setattr(Reading, "factor", 0.0)
    close(all_ways(), 2 * X)


@pytest.mark.parametrize("eager", [False, True], ids=["unroll", "apply"])
def test_another_call_of_a_class_of_the_library_is_seen(eager, monkeypatch):
    net = snn.Sequential([snn.Scale(2.0)])
    run = (lambda: net.apply({}, X)) if eager else (lambda: snn.unroll(net, {}, X)[0])
    close(run(), 2 * X)
    monkeypatch.setattr(snn.Scale, "__call__", lambda self, x: 3 * x)
    close(run(), 3 * X)
    monkeypatch.undo()
    close(run(), 2 * X)


class Config:
    level = 1.0

    def __init__(self):
        self.level = 1.0

    def amount(self):
        return LEVEL


class Asking(nn.Module):
    """What it reads is in the function."""

    read: Any
    config: Any = None

    @nn.compact
    def __call__(self, x):
        mem = self.variable("hidden", "mem", jnp.zeros, x.shape)
        mem.value = 0.5 * mem.value + x * self.read(self)
        return mem.value


class Property(Reading):
    @property
    def level(self):
        return LEVEL

    @nn.compact
    def __call__(self, x):
        return self.level * x


def fires(x):
    return (x > LEVEL).astype(x.dtype)


def multiply(*args, **options):
    return LEVEL * jax.lax.dot_general(*args, **options)


HELD = types.SimpleNamespace(level=1.0)
HELPER = Config()
ARRAY = np.ones((1, N), np.float32)
LEVELS: dict[str, Any] = {"a": 1.0, "b": [{"c": 1.0}]}
OTHER = types.ModuleType("levels_of_a_user")
OTHER.level, OTHER.config = 1.0, Config()
own = Asking(lambda self: self.config.level, Config())


def held_by(container: Any, key: Any) -> Any:
    return lambda patch, value: patch.setitem(container, key, value)


def attribute(owner: Any, name: str = "level") -> Any:
    return lambda patch, value: patch.setattr(owner, name, value)


def everywhere(array: np.ndarray) -> Any:
    return lambda patch, value: array.fill(value)


GLOBAL = held_by(globals(), "LEVEL")
OUTSIDE: dict[str, tuple[nn.Module, Any]] = {
    "an attribute of a module": (Asking(lambda _: OTHER.level), attribute(OTHER)),
    "an object in a module": (Asking(lambda _: OTHER.config.level), attribute(OTHER.config)),
    "a class of the user's": (Asking(lambda _: Config.level), attribute(Config)),
    "a dictionary": (Asking(lambda _: LEVELS["a"]), held_by(LEVELS, "a")),
    "deep in a dictionary": (Asking(lambda _: LEVELS["b"][0]["c"]), held_by(LEVELS["b"][0], "c")),
    "a namespace": (Asking(lambda _: HELD.level), attribute(HELD)),
    "an object": (Asking(lambda _: HELPER.level), attribute(HELPER)),
    "a method of an object": (Asking(lambda _: HELPER.amount()), GLOBAL),
    "an object in a field": (own, attribute(own.config)),
    "an array that is filled anew": (Asking(lambda _: ARRAY), everywhere(ARRAY)),
    "a function in a field": (Asking(lambda _: scaled(1.0)), GLOBAL),
    "a partial function": (Asking(functools.partial(lambda _, x=0: scaled(1.0))), GLOBAL),
    "a property": (Property(), GLOBAL),
    "an environment variable": (
        Asking(lambda _: float(os.environ.get("LEVEL", "1"))),
        attribute(os, "environ"),
    ),
    "a surrogate": (snn.Sequential([snn.Leaky(0.5, spike_grad=fires, init_hidden=True)]), GLOBAL),
    "a product": (nn.Sequential([nn.Dense(N, dot_general=multiply)]), GLOBAL),
}


@pytest.mark.parametrize("what", OUTSIDE)
def test_what_changes_inside_of_things_is_seen(what, monkeypatch):
    net, change = OUTSIDE[what]
    value: Any = {"LEVEL": "0.25"} if "environment" in what else 0.25
    variables = {c: v for c, v in net.init(KEY, X[0]).items() if c != "hidden"}
    before = snn.unroll(net, variables, X[:2])[0]
    places = outside(net)[1]
    assert places.hold() == (what not in ("an array that is filled anew", "an environment variable"))
    change(monkeypatch, value)
    assert not places.hold()
    theirs = zoo.loop(net, variables, X[:2])[0]
    assert (theirs != before).any()
    close(snn.unroll(net, variables, X[:2])[0], theirs)


@dataclasses.dataclass(frozen=True)
class Fixed:
    level: float


TRACES: list[int] = []
COUNTS = {"calls": 0}


def counted(self: Any) -> float:
    TRACES.append(1)
    COUNTS["calls"] += 1
    Config.level = COUNTS["calls"]
    return 1.0


def test_what_a_module_writes_itself_and_a_module_made_anew_cost_no_compilation(monkeypatch):
    monkeypatch.setattr(Config, "level", 1.0)

    def call():
        net = snn.Sequential(
            [snn.Sequential([Asking(counted, Fixed(1.0)), snn.Leaky(0.5, init_hidden=True)])]
        )
        snn.unroll(net, {}, X[:2])
        return len(TRACES)

    assert call() == call() == call()


def test_what_one_network_writes_itself_another_reads(monkeypatch):
    monkeypatch.setattr(Config, "level", 1.0)
    snn.unroll(snn.Sequential([Asking(counted, Fixed(1.0))]), {}, X[:2])
    reads = Asking(lambda _: Config.level)
    before = snn.unroll(reads, {}, X[:2])[0]
    monkeypatch.setattr(Config, "level", 0.25 * Config.level)
    close(snn.unroll(reads, {}, X[:2])[0], before / 4)


def test_a_call_of_a_known_program_costs_few_calls_of_python():
    net = snn.Sequential([nn.Dense(N), snn.Leaky(0.5, init_hidden=True, output=True)])
    variables = net.init(KEY, X[0])
    calls = calls_of_python(lambda: snn.unroll(net, variables, X))
    assert calls < 250, calls


class Written(snn.Module):
    """What :func:`calls_of_python` runs: a network in torch's words."""

    def __init__(self):
        super().__init__()
        self.fc, self.lif = snn.Linear(N, N), snn.Leaky(0.5, init_hidden=True, output=True)

    def forward(self, x):
        return self.lif(self.fc(x))


def calls_of_python(run, package="snnax", name=None):
    """How many functions of a package one more call runs."""
    calls: list[str] = []

    def note(frame, event, _):
        if event == "call" and package in frame.f_globals.get("__name__", ""):
            calls.append(frame.f_code.co_name)

    run()
    run()
    sys.setprofile(note)
    try:
        run()
    finally:
        sys.setprofile(None)
    return calls.count(name) if name else len(calls)


def test_a_step_of_a_class_of_ones_own_costs_few_calls_of_python():
    """A step looks whether all that the class reads is where it was; ``apply``, at fields that may hold a module."""
    net = Written()
    variables = net.init(KEY, X[0])
    steps = calls_of_python(lambda: snn.step(net, variables, X[0]))
    assert steps < 120, steps
    fields = calls_of_python(
        lambda: net.apply(variables, X[0], mutable=["hidden"]), "flax", "_register_submodules"
    )
    assert fields < 25, fields


def test_interceptors_act_within_their_context_and_nowhere_else():
    net = snn.Sequential([nn.Dense(N), snn.Leaky(0.5, init_hidden=True)])
    variables = net.init(KEY, X[0])
    state = snn.training.TrainState.create(net, variables, optax.sgd(0.5))
    y = jnp.zeros(B)

    def silent(function, args, options, context):
        y = function(*args, **options)
        return 0 * y if isinstance(context.module, nn.Dense) and context.method_name == "__call__" else y

    def loss(spk, y):
        return spk.sum()

    measure, step = snn.training.make_eval_step(loss), snn.training.make_train_step(loss, donate=False)
    ways = {
        "unroll": lambda: snn.unroll(net, variables, X)[0].sum(),
        "unroll in jit": jax.jit(lambda: snn.unroll(net, variables, X)[0].sum()),
        "evaluation": lambda: measure(state, X, y)["loss"],
        "training": lambda: step(state, X, y)[1]["loss"],
        "pieces": lambda: T * snn.backprop.TBPTT(net, variables, [(X, y)], optax.sgd(0.0), loss, K=1)[0],
    }
    with nn.intercept_methods(silent):
        for name, way in ways.items():
            if name != "unroll in jit":  # the user's own program, kept by the user
                assert way() == 0, name
    found = {name: float(way()) for name, way in ways.items()}
    assert len(set(found.values())) == 1 and found["unroll"] > 5, found
    with nn.intercept_methods(silent):
        assert ways["unroll"]() == 0


# --- refused, with the line to write ---------------------------------------------------------------------


class Growing(nn.Module):
    @nn.compact
    def __call__(self, x):
        past = self.variable("hidden", "past", lambda: x[None])
        past.value = jnp.concatenate([past.value, x[None]])
        return past.value.mean(0)


class Sowing(nn.Module):
    @nn.compact
    def __call__(self, x):
        self.sow("losses", "size", x.sum())
        return zoo.AdaptiveThreshold()(x)


REFUSED = {
    "a state elsewhere": (zoo.Two, lambda net, v: snn.unroll(net, v, X), r"mutable=\['slow'\]"),
    "a state elsewhere, in training": (
        lambda: snn.Sequential([nn.Dense(N), zoo.Two()]),
        lambda net, v: snn.training.make_train_step(target)(
            snn.training.TrainState.create(net, v, optax.sgd(0.1)), X, jnp.zeros(B)
        ),
        r"self\.variable\('hidden'",
    ),
    "a state elsewhere, in a cell": (
        zoo.Two,
        lambda net, v: nn.RNN(snn.SpikingCell(net), time_major=True).apply({}, X),
        r"self\.variable\('hidden'",
    ),
    "a state that is declared nowhere, in nnx": (
        zoo.PutOnly,
        lambda net, v: snn.nnx.Network(net, X[0], variables={}),
        r"Declare each state",
    ),
    "a state that starts from more digits than it keeps, in nnx": (
        zoo.Narrowing,
        lambda net, v: snn.nnx.Network(net, X[0], variables={}),
        r"keep its dtype",
    ),
    "one number for all, in a cell": (
        zoo.OneNumber,
        lambda net, v: nn.RNN(snn.SpikingCell(net), time_major=True).apply({}, X),
        "in its full shape",
    ),
    "one number for all, in nnx": (
        zoo.OneNumber,
        lambda net, v: snn.nnx.Network(net, X[0], variables={}),
        "in its full shape",
    ),
    "sown values of init": (
        Sowing,
        lambda net, v: snn.unroll(net, v, X, mutable=["losses"]),
        "leave their collection out",
    ),
    "a state that grows": (Growing, lambda net, v: snn.unroll(net, {}, X), "keeps its shape"),
    "a state of another batch size": (
        zoo.AdaptiveThreshold,
        lambda net, v: snn.unroll(net, net.init(KEY, X[0, :1]), X),
        r"utils\.reset",
    ),
}


@pytest.mark.parametrize("case", REFUSED)
def test_what_cannot_be_carried_is_refused(case):
    build, act, words = REFUSED[case]
    net = build()
    with pytest.raises(StateError, match=words):
        act(net, net.init(KEY, X[0]))
