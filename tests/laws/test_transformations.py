"""JAX's own switches and transformations on every network: strict types, leaks, export, shard_map, disable_jit."""

import functools
import inspect

import flax.linen as nn
import jax
import jax.numpy as jnp
import numpy as np
import optax
import pytest
from helpers.leaks import checking_leaks
from helpers.nets import NETS, eighths
from jax import export
from jax.sharding import AbstractMesh, AxisType
from jax.sharding import PartitionSpec as P
from laws.table import TABLE

import snnax as snn
import snnax.functional as SF
from snnax.errors import ArgumentError, StateError
from snnax.neurons.own import is_own

T, B = 3, 4
PLATFORMS = ("cpu", "cuda", "tpu")


def runs(entry):
    """Whether the time loop runs it: neurons with states as arguments are no networks."""
    module = entry.build()
    return getattr(module, "init_hidden", True) or not hasattr(module, "state_names")


NETWORKS = {
    **{name: (entry.build, entry.shape[1:]) for name, entry in TABLE.items() if runs(entry)},
    **NETS,
}
every = pytest.mark.parametrize("name", NETWORKS)


@functools.cache
def abstract(name):
    """A network, and shapes: of its variables without state, of an input ``[T, B, ...]``. Nothing is compiled."""
    build, shape = NETWORKS[name]
    net, x = build(), jax.ShapeDtypeStruct((T, B, *shape), jnp.float32)
    variables = jax.eval_shape(net.init, jax.random.key(0), jax.ShapeDtypeStruct(x.shape[1:], x.dtype))
    return net, {c: v for c, v in variables.items() if c != "hidden"}, x


@functools.cache
def example(name):
    """The same with numbers."""
    net, _, x = abstract(name)
    x = eighths(x.shape, 1, -4, 12)
    variables = jax.jit(net.init)(jax.random.key(0), x[0])
    return net, {c: v for c, v in variables.items() if c != "hidden"}, x


def energy(net, variables, x, **options):
    """A number that depends on everything that ``unroll`` returns."""
    returned = snn.unroll(net, variables, x, **options)
    return sum(
        jnp.sum(jnp.square(v)) for v in jax.tree.leaves(returned) if jnp.issubdtype(v.dtype, jnp.floating)
    )


def learning(net, **options):
    """``(variables, x)`` to the energy and its derivatives by the parameters and by the input."""

    def by(params, x, rest):
        return energy(net, {**rest, "params": params}, x, **options)

    def call(variables, x):
        rest = {c: v for c, v in variables.items() if c != "params"}
        return jax.value_and_grad(by, (0, 1))(variables.get("params", {}), x, rest)

    return call


def shapes(tree):
    return jax.tree.map(lambda v: jax.ShapeDtypeStruct(v.shape, v.dtype), tree)


def same(ours, theirs, tolerance=1e-6):
    assert jax.tree.structure(ours) == jax.tree.structure(theirs)
    for a, b in zip(jax.tree.leaves(ours), jax.tree.leaves(theirs), strict=True):
        np.testing.assert_allclose(a, b, rtol=tolerance, atol=tolerance)


@every
def test_types_are_never_promoted(name):
    net, variables, x = abstract(name)
    with jax.numpy_dtype_promotion("strict"):
        with pytest.raises(ValueError, match="strict"):
            jnp.ones(1, jnp.float32) + jnp.ones(1, jnp.int32)
        jax.eval_shape(
            functools.partial(net.init, jax.random.key(0)), jax.ShapeDtypeStruct(x.shape[1:], x.dtype)
        )
        jax.eval_shape(learning(net, record=True), variables, x)


# One of each way to run. JAX then remembers nothing that it traced.
@pytest.mark.parametrize("name", ["Synaptic, hidden", "RLeaky, images", "LIF, hidden", "images", "compact"])
def test_no_tracer_leaks(name):
    net, variables, x = abstract(name)
    with checking_leaks():
        jax.jit(learning(net)).trace(variables, x)


def test_leaks_are_seen():
    """Also one in an inner function, held by what was there before."""
    kept = []

    @jax.jit
    def inner(x):
        kept.append(x * 2)
        return x

    with checking_leaks(), pytest.raises(Exception, match="Leaked trace"):
        jax.jit(lambda x: inner(x) + 1).trace(1.0)


@every
def test_one_program_for_every_batch_and_time_on_all_platforms(name):
    net, variables, x = abstract(name)

    def open_x(*constraints):
        steps, batch = export.symbolic_shape("t, b", constraints=constraints)
        return jax.ShapeDtypeStruct((steps, batch, *x.shape[2:]), x.dtype)

    given = open_x()
    if is_own(net):  # its first step is a program of its own
        with pytest.raises(ArgumentError, match=r"constraints=\['t >= 2'\]"):
            export.export(jax.jit(learning(net)))(variables, given)
        given = open_x("t >= 2")
    exported = export.export(jax.jit(learning(net)), platforms=PLATFORMS)(variables, given)
    assert exported.out_avals[-1].shape == given.shape
    assert not exported.disabled_safety_checks


@pytest.mark.parametrize("name", ["chain", "images"])
def test_exported_programs_compute_the_same(name):
    net, variables, x = example(name)
    steps, batch = export.symbolic_shape("t, b")
    frame, (size, number) = x.shape[2:], (2, 5)
    run = lambda variables, x, **options: snn.unroll(net, variables, x, **options)[0]  # noqa: E731
    for shape, options in (
        ((steps, batch), {}),
        ((steps, batch), {"chunk": steps}),
        ((T, batch), {}),
        ((T, batch), {"chunk": 2}),
        ((batch,), {"num_steps": T}),
        ((steps, B), {"remat": True}),
    ):
        open_shape = jax.ShapeDtypeStruct((*shape, *frame), x.dtype)
        exported = export.export(jax.jit(functools.partial(run, **options)))(shapes(variables), open_shape)
        sizes = {steps: size, batch: number}
        given = eighths((*(sizes.get(n, n) for n in shape), *frame), 2, -4, 12)
        known = {k: v for k, v in options.items() if k != "chunk"}
        same(exported.call(variables, given), run(variables, given, **known))


def test_a_rest_of_open_length_is_refused():
    net, variables, x = example("chain")
    (steps,) = export.symbolic_shape("t")
    given = jax.ShapeDtypeStruct((steps, *x.shape[1:]), x.dtype)
    with pytest.raises(ArgumentError, match=r"chunk=2.*leaves open.*chunk='auto'.*chunk=x.shape\[0\]"):
        export.export(jax.jit(lambda x: snn.unroll(net, variables, x, chunk=2)))(given)


MESH = AbstractMesh((2,), ("b",), axis_types=(AxisType.Auto,))


@every
def test_parts_of_a_batch_in_a_shard_map(name):
    """Each device its part; derivatives by weights that all share are summed, those by the input are not."""
    net, variables, x = abstract(name)
    part = P(None, "b")

    def each(variables, x):
        value, slopes = learning(net)(variables, x)
        return value[None], slopes

    call = jax.shard_map(each, mesh=MESH, in_specs=(P(), part), out_specs=(P("b"), (P(), part)))
    value, (slopes, into) = jax.eval_shape(call, variables, x)
    assert value.shape == (2,)
    assert into.shape == x.shape
    assert jax.tree.map(jnp.shape, slopes) == jax.tree.map(jnp.shape, variables.get("params", {}))


def test_a_cell_says_which_carry_varies():
    net, _, x = abstract("chain")
    rnn = nn.RNN(snn.SpikingCell(net), time_major=True)
    variables = jax.eval_shape(rnn.init, jax.random.key(0), x)
    start = snn.SpikingCell(net, parent=None).initialize_carry(jax.random.key(0), (B // 2, *x.shape[2:]))

    def run(vary, variables, x):
        given = jax.tree.map(lambda v: jax.lax.pcast(v, ("b",), to="varying"), start) if vary else None
        return jax.tree.leaves(rnn.apply(variables, x, initial_carry=given))[0]

    part = P(None, "b")
    run_with, run_without = (
        jax.shard_map(functools.partial(run, vary), mesh=MESH, in_specs=(P(), part), out_specs=part)
        for vary in (True, False)
    )
    assert jax.eval_shape(run_with, variables, x).shape[:2] == (T, B)
    with pytest.raises(StateError, match=r"varies over \('b',\).*initial_carry=.*pcast"):
        jax.eval_shape(run_without, variables, x)


@pytest.mark.parametrize("name", ["chain", "images", "feedback", "LeakyParallel, hidden"])
def test_without_jit_it_computes_the_same(name):
    net, variables, x = example(name)
    expected = snn.unroll(net, variables, x)
    with jax.disable_jit():
        same(snn.unroll(net, variables, x), expected)


@pytest.mark.parametrize("name", ["chain", "images"])
def test_without_jit_there_are_derivatives(name):
    net, variables, x = example(name)
    expected = jax.jit(learning(net))(variables, x)
    with jax.disable_jit():
        same(learning(net)(variables, x), expected, 1e-5)


@pytest.mark.parametrize(
    "name", [n for n, (build, _) in NETWORKS.items() if isinstance(build(), snn.network.containers.Container)]
)
def test_flax_can_print_it(name):
    net, variables, x = example(name)
    text = net.tabulate(jax.random.key(0), x[0], compute_flops=True, console_kwargs={"width": 400})
    assert all(layer in text for layer in variables.get("params", {}))


def public_modules():
    return [
        c for c in (getattr(snn, n) for n in snn.__all__) if isinstance(c, type) and issubclass(c, nn.Module)
    ]


@pytest.mark.parametrize("kind", public_modules())
def test_only_calls_are_calls_for_flax(kind):
    """A question to a module (its layers, its shape) is none: ``tabulate`` would bind the answer."""
    calls = {
        name
        for name, method in inspect.getmembers(kind, inspect.isfunction)
        if method.__module__.startswith("snnax.") and hasattr(method, "method_handler_wrapped")
    }
    assert calls <= {"__call__", "steps", "setup", "forward"}


def test_a_training_step_runs_without_jit_and_shows_no_leaks():
    net = snn.Sequential([nn.Dense(2), snn.Leaky(0.5, init_hidden=True)])
    x, y = eighths((T, B, 3), 1), jnp.zeros(B, jnp.int32)
    state = snn.training.TrainState.create(net, net.init(jax.random.key(0), x[0]), optax.sgd(0.1))
    step = snn.training.make_train_step(SF.ce_rate_loss(), donate=False)
    expected = step(state, x, y)
    with jax.disable_jit():
        same(step(state, x, y)[0].params, expected[0].params)
    with checking_leaks(), jax.numpy_dtype_promotion("strict"):
        same(step(state, x, y)[1], expected[1])


def test_losses_of_an_exported_program_take_open_sizes():
    steps, batch = export.symbolic_shape("t, b")
    given = jax.ShapeDtypeStruct((steps, batch, 4), jnp.float32), jax.ShapeDtypeStruct((batch,), jnp.int32)
    for name in (
        "ce_rate_loss",
        "ce_count_loss",
        "ce_max_membrane_loss",
        "mse_membrane_loss",
        "mse_temporal_loss",
    ):
        exported = export.export(jax.jit(jax.grad(getattr(SF, name)())))(*given)
        assert exported.out_avals[0].shape == given[0].shape
    with pytest.raises(ArgumentError, match=r"mse_count_loss.*leaves open.*fixed number"):
        export.export(jax.jit(SF.mse_count_loss()))(*given)
