"""What holds for every public module of snnax; see the table."""

import dataclasses
import functools
import logging
import pickle
import re

import flax.linen as nn
import flax.serialization
import jax
import jax.numpy as jnp
import numpy as np
import pytest
from helpers.leaks import checking_leaks
from laws.table import COUNTERS, NETWORKS, NOT_APPLICABLE, NOT_SMOOTH, TABLE

import snnax as snn

every = pytest.mark.parametrize("name", TABLE)


@functools.cache
def example(name):
    """Module, its variables with a state that is not zero, and an input that makes neurons spike."""
    entry = TABLE[name]
    module = entry.build()
    x = jnp.asarray(np.random.default_rng(0).normal(1.0, 1.0, entry.shape), jnp.float32)
    variables = jax.jit(module.init)(jax.random.key(0), x)
    if "hidden" in variables:
        variables["hidden"] = jax.tree.map(lambda v: v + v.dtype.type(0.75), variables["hidden"])
    return module, variables, x


def call(module, variables, x):
    """One step, from a state that is not zero: ``(outputs, updated state)``."""
    held = getattr(module, "init_hidden", False) or getattr(module, "sequence", False)
    explicit = () if held else getattr(module, "state_names", ())
    states = (jnp.full(module._state_shape(x), 0.75, x.dtype) for _ in explicit)
    return module.apply(variables, x, *states, mutable=["hidden"])


compiled = jax.jit(call, static_argnums=0)


def floating(value):
    """Not a counter."""
    return jnp.issubdtype(value.dtype, jnp.floating)


def close(ours, theirs, rtol=1e-6):
    assert jax.tree.structure(ours) == jax.tree.structure(theirs)
    for a, b in zip(jax.tree.leaves(ours), jax.tree.leaves(theirs), strict=True):
        assert a.shape == b.shape
        assert a.dtype == b.dtype
        np.testing.assert_allclose(np.asarray(a, float), np.asarray(b, float), rtol=rtol, atol=rtol)


def test_every_public_module_is_in_the_table():
    public = {n for n in snn.__all__ if isinstance(c := getattr(snn, n), type) and issubclass(c, nn.Module)}
    listed = {entry.kind for entry in TABLE.values()}
    assert len(public) > 10
    assert public == listed | set(NOT_APPLICABLE)
    assert not listed & set(NOT_APPLICABLE)
    assert all(type(entry.build()) is getattr(snn, entry.kind) for entry in TABLE.values())
    assert all(NOT_APPLICABLE.values())


@every
def test_rank_promotion_is_an_error_and_never_needed(name):
    assert jax.config.jax_numpy_rank_promotion == "raise"
    with pytest.raises(ValueError, match="rank_promotion"):
        jnp.ones(3) + jnp.ones((2, 3))
    module, variables, x = example(name)
    y, _ = compiled(module, variables, x)
    assert all(v.shape[0] == x.shape[0] for v in jax.tree.leaves(y))


@every
def test_jit_computes_the_same(name):
    module, variables, x = example(name)
    close(compiled(module, variables, x), call(module, variables, x))


@every
def test_vmap_is_a_loop(name):
    module, variables, x = example(name)
    xs = jnp.stack([x, -x])
    together = jax.jit(jax.vmap(functools.partial(call, module), in_axes=(None, 0)))(variables, xs)
    apart = [compiled(module, variables, one) for one in xs]
    close(together, jax.tree.map(lambda *v: jnp.stack(v), *apart))


@every
@pytest.mark.parametrize("dtype", ["float32", "float64", "bfloat16"])
def test_dtypes_are_kept(name, dtype):
    module, variables, x = example(name)
    with jax.enable_x64(dtype == "float64"):
        variables, x = jax.tree.map(lambda v: v.astype(dtype) if floating(v) else v, (variables, x))
        fresh = {c: v for c, v in variables.items() if c != "hidden"}
        found = [jax.eval_shape(functools.partial(call, module), v, x) for v in (variables, fresh)]
    kept = [{v.dtype for v in jax.tree.leaves(out) if floating(v)} for out in found]
    # states that nobody hands in are at least float32, and the spikes with them
    wide = {jnp.dtype(dtype), jnp.promote_types(dtype, "float32")}
    whole = getattr(module, "sequence", False) and not getattr(module, "init_hidden", False)
    assert kept[0] == ({jnp.promote_types(dtype, "float32")} if whole else {jnp.dtype(dtype)})
    assert kept[1] <= (wide if "hidden" in variables else kept[0])
    counts = [v for v in jax.tree.leaves(found) if not floating(v)]
    assert {v.dtype for v in counts} <= {jnp.dtype("int32")}
    assert bool(counts) == (TABLE[name].kind in COUNTERS)


@every
def test_two_of_a_kind_are_equal(name):
    build = TABLE[name].build
    assert build() is not build()
    assert build() == build()
    assert hash(build()) == hash(build())
    assert len({build(), build()}) == 1
    others = [entry.build() for other, entry in TABLE.items() if other != name]
    assert build() not in others


def compilations(caplog):
    return sum("Compiling jit(call)" in record.getMessage() for record in caplog.records)


@every
def test_a_second_call_compiles_nothing(name, caplog):
    module, variables, x = example(name)
    compiled(module, variables, x)
    with caplog.at_level(logging.WARNING, logger="jax"), jax.log_compiles():
        _, updates = compiled(TABLE[name].build(), variables, 2 * x)
        assert bool(updates) == TABLE[name].stateful
        compiled(TABLE[name].build(), {**variables, **updates}, x)
    assert compilations(caplog) == 0


def test_compilations_are_seen(caplog):
    module, variables, x = example("Leaky")
    with caplog.at_level(logging.WARNING, logger="jax"), jax.log_compiles():
        compiled(module.clone(beta=0.375), variables, x)
    assert compilations(caplog) == 1


@every
def test_variables_survive_serialization(name):
    module, variables, x = example(name)
    stored = flax.serialization.to_bytes(variables)
    template = jax.tree.map(jnp.zeros_like, variables)
    restored = flax.serialization.from_bytes(template, stored)
    close(restored, jax.tree.map(np.asarray, variables), 0)
    close(compiled(module, restored, x), compiled(module, variables, x), 0)


@every
def test_gradients_are_finite(name):
    module, variables, x = example(name)

    @jax.jit
    def gradients(variables, x):
        def loss(variables, x):
            return sum(jnp.sum(v**2) for v in jax.tree.leaves(call(module, variables, x)))

        return jax.grad(loss, argnums=(0, 1), allow_int=True)(variables, x)

    learned, into = gradients(variables, x)
    for gradient in filter(floating, jax.tree.leaves((learned, into))):
        assert bool(jnp.isfinite(gradient).all())
    assert float(jnp.abs(into).max()) > 0
    for path, gradient in jax.tree_util.tree_leaves_with_path(learned.get("params", {})):
        assert float(jnp.abs(gradient).max()) > 0, jax.tree_util.keystr(path)


@every
def test_no_tracer_leaks(name):
    module, variables, x = example(name)
    with checking_leaks():
        jax.jit(functools.partial(call, module)).trace(variables, x)


@every
def test_repr_says_what_it_is(name):
    module, *_ = example(name)
    text = repr(module)
    assert text.startswith(f"{TABLE[name].kind}(")
    assert not re.search(r"(surrogate|snnax)\S* at 0x", text)
    fields = [f.name for f in dataclasses.fields(module) if f.name not in ("parent", "name")]
    assert [field for field in fields if f"{field} = " not in text] == []


@every
def test_pickles(name):
    module, *_ = example(name)
    if TABLE[name].pickles:
        assert pickle.loads(pickle.dumps(module)) == module
    else:
        with pytest.raises(AttributeError, match="variance_scaling"):
            pickle.dumps(module)


@every
def test_time_loop_runs_it(name):
    """A neuron with states as arguments is no network; all others can be unrolled."""
    module, variables, x = example(name)
    if hasattr(module, "state_names") and not module.init_hidden:
        return
    variables = {c: v for c, v in variables.items() if c != "hidden"}
    y, updates = snn.unroll(module, variables, x[None])
    single, after = compiled(module, variables, x)
    close(jax.tree.map(lambda v: v[0], y), single)
    close(updates["hidden"], after.get("hidden", {}))


@every
def test_the_same_key_gives_the_same_variables(name):
    entry = TABLE[name]
    module, variables, x = example(name)
    again = {c: v for c, v in jax.jit(module.init)(jax.random.key(0), x).items() if c != "hidden"}
    close(again, {c: v for c, v in variables.items() if c != "hidden"}, 0)
    if params := jax.tree.leaves(again.get("params", {})):
        other = jax.tree.leaves(jax.jit(entry.build().init)(jax.random.key(1), x)["params"])
        drawn = [not bool((v == v.ravel()[0]).all()) for v in params]
        assert all(
            bool((a != b).any()) for a, b, d in zip(params, other, drawn, strict=True) if d and a.ndim > 1
        )


SILENCED = {"threshold": 1e6, "v_threshold": 1e6, "delta_threshold": 1e6, "inhibition": False}


@every
def test_without_spikes_gradients_are_finite_differences(name):
    """Spikes apart, every layer is smooth; the derivative of the rest is the true one."""
    module, variables, x = example(name)
    if TABLE[name].kind in NOT_SMOOTH:
        pytest.skip(NOT_SMOOTH[TABLE[name].kind])
    fields = {field.name for field in dataclasses.fields(module)}
    silent = {k: np.full(np.shape(getattr(module, k)), v) for k, v in SILENCED.items() if k in fields}
    if "delta_threshold" in silent:
        silent = {"delta_threshold": SILENCED["delta_threshold"]}
    quiet = module.clone(**{k: bool(v) if k == "inhibition" else v for k, v in silent.items()})
    with jax.enable_x64(True):
        rng = np.random.default_rng(3)
        variables, x = jax.tree.map(
            lambda v: v.astype("float64") if jnp.issubdtype(v.dtype, jnp.floating) else v, (variables, x)
        )
        for home in variables.values():
            for key in home.keys() & SILENCED.keys():
                home[key] = jnp.full_like(home[key], SILENCED[key])
        into = jnp.asarray(rng.normal(size=x.shape))

        def smooth(step):
            return sum(jnp.sum(v**2) for v in jax.tree.leaves(call(quiet, variables, x + step * into)))

        smooth = jax.jit(smooth)
        true = (smooth(1e-6) - smooth(-1e-6)) / 2e-6
        np.testing.assert_allclose(jax.grad(smooth)(0.0), true, rtol=1e-5, atol=1e-6)


@every
def test_a_state_of_another_shape_is_an_error(name):
    module, variables, x = example(name)
    keeps = variables.get("hidden", {}) if TABLE[name].kind not in (*NETWORKS, *COUNTERS) else {}
    explicit = getattr(module, "state_names", ()) and not getattr(module, "init_hidden", False)
    if getattr(module, "sequence", False) or not (keeps or explicit):
        return
    larger = jnp.concatenate([x, x])
    states = [jnp.full(module._state_shape(x), 0.75) for _ in module.state_names] if explicit else []
    with pytest.raises(snn.errors.StateError, match=rf"{x.shape[0]}.*{larger.shape[0]}"):
        module.apply(variables, larger, *states, mutable=["hidden"])
