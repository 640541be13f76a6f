"""``state_dtype`` of every public neuron: what it computes in, whatever its input is."""

import dataclasses
import functools

import flax.linen as nn
import jax
import jax.numpy as jnp
import numpy as np
import pytest
from laws.table import TABLE
from laws.test_laws import call, floating

import snnax as snn
from snnax import interop
from snnax.errors import ArgumentError, ConversionError
from snnax.neurons import SpikingNeuron

NEURONS = [name for name, entry in TABLE.items() if issubclass(getattr(snn, entry.kind), SpikingNeuron)]
every = pytest.mark.parametrize("name", NEURONS)


@functools.cache
def built(name):
    module, shape = TABLE[name].build(), TABLE[name].shape
    x = jax.ShapeDtypeStruct(shape, jnp.float32)
    return module, jax.eval_shape(module.init, jax.random.key(0), x), x


def shapes(module, variables, x, dtype):
    x = jax.ShapeDtypeStruct(x.shape, dtype)
    record = lambda v, x: module.apply(v, x, mutable=["hidden", "record"])  # noqa: E731
    return jax.eval_shape(record, variables, x), jax.eval_shape(functools.partial(call, module), variables, x)


@every
def test_states_and_spikes_have_it_whatever_the_input_has(name):
    """With states that are handed in, in the type of the input, and without; weights stay float32."""
    module, variables, x = built(name)
    for dtype, given in (("float32", "bfloat16"), ("bfloat16", "float32"), ("float16", "float32")):
        chosen = module.clone(state_dtype=dtype)
        for found in shapes(chosen, variables, x, given):
            assert {v.dtype for v in jax.tree.leaves(found) if floating(v)} == {jnp.dtype(dtype)}
        made = jax.eval_shape(chosen.init, jax.random.key(0), jax.ShapeDtypeStruct(x.shape, given))
        assert {v.dtype for v in jax.tree.leaves(made.get("params", {}))} <= {jnp.dtype("float32")}
        assert {v.dtype for v in jax.tree.leaves(made.get("hidden", {}))} <= {jnp.dtype(dtype)}


@every
def test_it_is_float32_by_default(name):
    """The very program: nothing that was computed in float32 changes."""
    module, variables, x = built(name)
    chosen = module.clone(state_dtype=jnp.float32)
    programs = [str(jax.make_jaxpr(functools.partial(call, m))(variables, x)) for m in (module, chosen)]
    assert programs[0] == programs[1]
    fresh = {c: v for c, v in variables.items() if c != "hidden"}
    low, _ = shapes(module, fresh, x, jnp.bfloat16)
    assert {v.dtype for v in jax.tree.leaves(low) if floating(v)} == {jnp.dtype("float32")}


@every
def test_float64_stays_and_needs_x64(name):
    module, variables, x = built(name)
    with pytest.raises(ArgumentError, match="without JAX's x64 mode"):
        shapes(module.clone(state_dtype=jnp.float64), variables, x, jnp.float32)
    with jax.enable_x64(True):
        default, _ = shapes(module, {c: v for c, v in variables.items() if c != "hidden"}, x, jnp.float64)
        wide, _ = shapes(module.clone(state_dtype="float64"), variables, x, jnp.float32)
    for found in (default, wide):
        assert {v.dtype for v in jax.tree.leaves(found) if floating(v)} == {jnp.dtype("float64")}


@every
def test_it_is_an_argument_by_name_alone_and_part_of_the_module(name):
    module, _, _ = built(name)
    (own,) = (f for f in dataclasses.fields(module) if f.name == "state_dtype")
    assert own.kw_only
    half = module.clone(state_dtype="bfloat16")
    assert half == module.clone(state_dtype=jnp.bfloat16) != module
    assert hash(half) == hash(module.clone(state_dtype=jnp.bfloat16))
    for value in ("int32", jnp.float8_e4m3fn, complex, 4):
        with pytest.raises(ArgumentError, match=r"state_dtype=.*expected"):
            module.clone(state_dtype=value)


def network(**given):
    return snn.Sequential(
        [
            nn.Dense(4, dtype=jnp.bfloat16),
            snn.Leaky(beta=0.999, init_hidden=True, **given),
            nn.Dense(3, dtype=jnp.bfloat16),
            snn.RLeaky(beta=0.9, linear_features=3, init_hidden=True, output=True, **given),
        ]
    )


def test_unroll_and_single_steps_are_one_computation():
    x = np.random.default_rng(0).normal(1, 1, (10, 2, 5)).astype(np.float32)
    net = network(state_dtype=jnp.float32)
    variables = snn.utils.reset(net.init(jax.random.key(0), x[0]))
    (spk, *states), updates, recorded = snn.unroll(net, variables, x, chunk=5, record=True)
    held, step = variables, jax.jit(functools.partial(net.apply, mutable=["hidden"]))
    for t in range(len(x)):
        out, new = step(held, x[t])
        held = {**held, **new}
        for ours, theirs in zip((spk[t], *(s[t] for s in states)), out, strict=True):
            np.testing.assert_allclose(ours, theirs, rtol=1e-5, atol=1e-5)
    assert {v.dtype for v in jax.tree.leaves((updates["hidden"], recorded))} == {jnp.dtype("float32")}
    half = network(state_dtype=jnp.bfloat16)
    made = jax.eval_shape(functools.partial(snn.unroll, half), variables, x)
    assert {v.dtype for v in jax.tree.leaves(made)} == {jnp.dtype("bfloat16")}


def test_a_long_memory_is_lost_in_bfloat16_and_kept_in_float32():
    """0.999 is 1 in bfloat16, and what is added to a membrane of 4 is less than its last bit."""
    lif = functools.partial(snn.Leaky, beta=0.999, threshold=100.0, init_hidden=True, output=True)
    x = jnp.full((2000, 1, 1), 0.01, jnp.bfloat16)
    expected = float(x[0, 0, 0]) * (1 - 0.999**2000) / 0.001
    mems = {
        d: float(snn.unroll(lif(state_dtype=d), {}, x)[0][1][-1, 0, 0]) for d in (None, "float32", "bfloat16")
    }
    assert mems[None] == mems["float32"] == pytest.approx(expected, rel=1e-4)
    assert mems["bfloat16"] < 0.5 * expected


def test_the_weights_get_the_gradient_of_the_float32_membrane():
    """Layers in bfloat16 with float32 master weights; and a membrane in bfloat16 keeps its weights in float32."""
    x = np.random.default_rng(0).normal(1, 1, (6, 2, 5)).astype(np.float32)
    variables = network().init(jax.random.key(0), x[0])

    def loss(params, net):
        return snn.unroll(net, {"params": params}, x)[0][1].astype("float32").sum()

    slopes = jax.jit(jax.grad(loss), static_argnums=1)(variables["params"], network())
    half = jax.eval_shape(lambda p: jax.grad(loss)(p, network(state_dtype="bfloat16")), variables["params"])
    assert {v.dtype for v in jax.tree.leaves((variables["params"], slopes, half))} == {jnp.dtype("float32")}
    assert all(np.isfinite(v).all() and np.any(v) for v in jax.tree.leaves(slopes))


def test_conversions_keep_float32_and_refuse_another_type(tmp_path):
    x = np.ones((1, 3), np.float32)
    for dtype in (None, "float32", "bfloat16"):
        net = snn.Sequential([nn.Dense(2), snn.Leaky(beta=0.9, init_hidden=True, state_dtype=dtype)])
        variables = net.init(jax.random.key(0), x)
        if dtype == "bfloat16":
            with pytest.raises(
                ConversionError, match=r"state_dtype=bfloat16 .* Convert the network built with"
            ):
                interop.to_nir(net, variables, x)
        else:
            assert interop.to_nir(net, variables, x).nodes["1"] is not None
        interop.write_source(tmp_path / "net.py", net, variables)
        assert ("state_dtype=jnp.bfloat16" in (tmp_path / "net.py").read_text()) == (dtype == "bfloat16")
