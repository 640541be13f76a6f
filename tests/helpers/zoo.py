"""Neurons as users write them, with what Flax allows a module to do with its state; and the loop that defines them."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import flax.linen as nn
import jax
import jax.numpy as jnp

import snnax as snn

spike = snn.surrogate.fast_sigmoid(5.0)


class AdaptiveThreshold(nn.Module):
    """The threshold is a state that rests at one."""

    @nn.compact
    def __call__(self, x):
        mem = self.variable("hidden", "mem", jnp.zeros, x.shape)
        level = self.variable("hidden", "level", jnp.ones, x.shape)
        m = 0.5 * mem.value + x
        spk = spike(m - level.value)
        if not self.is_initializing():
            mem.value, level.value = m * (1 - spk), 1.0 + 0.75 * (level.value - 1.0) + 0.25 * spk
        return spk


class Unguarded(nn.Module):
    """Its state moves in ``init`` as well."""

    @nn.compact
    def __call__(self, x):
        mem = self.variable("hidden", "mem", lambda: jnp.full(x.shape, -0.5))
        mem.value = 0.5 * mem.value + x
        return spike(mem.value - 1.0)


class Izhikevich(nn.Module):
    """Rests at -65 mV; the recovery variable starts from that."""

    @nn.compact
    def __call__(self, x):
        v = self.variable("hidden", "v", lambda: jnp.full(x.shape, -65.0))
        u = self.variable("hidden", "u", lambda: 0.2 * jnp.full(x.shape, -65.0))
        new = v.value + 0.04 * v.value**2 + 5 * v.value + 140 - u.value + 20 * x
        spk = spike(new - 30.0)
        if not self.is_initializing():
            u.value = u.value + 0.02 * (0.2 * new - u.value) + 8 * spk
            v.value = jnp.where(spk > 0, -65.0, jnp.clip(new, -90.0, 30.0))
        return spk


class Resonator(nn.Module):
    """A complex state."""

    @nn.compact
    def __call__(self, x):
        z = self.variable("hidden", "z", lambda: jnp.full(x.shape, 0.25j, jnp.complex64))
        new = (0.75 + 0.5j) * z.value + x
        if not self.is_initializing():
            z.value = new
        return spike(new.imag - 0.5)


class Lagged(nn.Module):
    """A state of another shape than the input, a counter, and a random key."""

    @nn.compact
    def __call__(self, x):
        past = self.variable("hidden", "past", lambda: jnp.full((x.shape[0], 3, *x.shape[1:]), 0.5))
        count = self.variable("hidden", "count", lambda: jnp.full((), 2, jnp.int32))
        key = self.variable("hidden", "key", lambda: jax.random.key(3))
        y = past.value[:, 0] + 0.125 * count.value + jax.random.uniform(key.value)
        if not self.is_initializing():
            past.value = jnp.concatenate([past.value[:, 1:], x[:, None]], 1)
            count.value = count.value + 1
            key.value = jax.random.fold_in(key.value, count.value)
        return y


class LearnedStart(nn.Module):
    """Starts from a parameter."""

    @nn.compact
    def __call__(self, x):
        begin = self.param("begin", nn.initializers.constant(0.75), x.shape[1:])
        gain = self.param("gain", nn.initializers.constant(0.5), ())
        mem = self.variable("hidden", "mem", lambda: jnp.broadcast_to(begin, x.shape))
        new = gain * mem.value + x
        if not self.is_initializing():
            mem.value = new
        return new


class FromInput(nn.Module):
    """Starts from its first input."""

    @nn.compact
    def __call__(self, x):
        mem = self.variable("hidden", "mem", lambda: 2.0 * x)
        new = 0.5 * mem.value + x
        if not self.is_initializing():
            mem.value = new
        return new


class OneNumber(nn.Module):
    """Starts from one number for all neurons."""

    @nn.compact
    def __call__(self, x):
        mem = self.variable("hidden", "mem", lambda: jnp.asarray(0.75))
        new = 0.5 * mem.value + x
        if not self.is_initializing():
            mem.value = new
        return new


class PutOnly(nn.Module):
    """Declares nothing: asks whether there is a state, and writes it."""

    @nn.compact
    def __call__(self, x):
        mem = (
            self.get_variable("hidden", "mem")
            if self.has_variable("hidden", "mem")
            else jnp.full_like(x, 4.0)
        )
        new = 0.5 * mem + x
        if self.is_mutable_collection("hidden"):
            self.put_variable("hidden", "mem", new)
        return new


class InSetup(nn.Module):
    """Written with ``setup``."""

    features: int = 4

    def setup(self):
        self.dense = nn.Dense(self.features)
        self.rest = self.variable("hidden", "rest", jnp.ones, (self.features,))

    def __call__(self, x):
        y = self.dense(x) + self.rest.value.reshape((1,) * (x.ndim - 1) + (-1,))
        if not self.is_initializing():
            self.rest.value = 0.5 * self.rest.value
        return y


class Block(nn.Module):
    """Own state beside neurons of this package."""

    @nn.compact
    def __call__(self, x):
        spk = snn.Leaky(0.5, threshold=[0.5] * x.shape[-1], init_hidden=True)(nn.Dense(x.shape[-1])(x))
        trace = self.variable("hidden", "trace", jnp.ones, x.shape)
        new = 0.5 * trace.value + spk
        if not self.is_initializing():
            trace.value = new
        return snn.Synaptic(0.5, 0.75, init_hidden=True)(new)


class Lifted(nn.Module):
    """Under one of Flax's transformations."""

    @nn.compact
    def __call__(self, x):
        return nn.remat(AdaptiveThreshold)()(x)


class Repeated(nn.Module):
    """The same module twice in a step, each with a state of its own, over an axis."""

    @nn.compact
    def __call__(self, x):
        many = nn.vmap(AdaptiveThreshold, in_axes=-1, out_axes=-1, variable_axes={"hidden": 0})
        return many(name="columns")(many(name="first")(x))


class Two(nn.Module):
    """A second collection, as "carry" or "cache"."""

    @nn.compact
    def __call__(self, x):
        mem = self.variable("hidden", "mem", jnp.zeros, x.shape)
        slow = self.variable("slow", "level", lambda: jnp.full(x.shape, 0.5))
        new = 0.5 * mem.value + x - slow.value
        if not self.is_initializing():
            mem.value, slow.value = new, 0.75 * slow.value + 0.125 * new
        return new


class Narrowing(nn.Module):
    """Starts from more digits than it keeps."""

    @nn.compact
    def __call__(self, x):
        mem = self.variable("hidden", "mem", lambda: jnp.full(x.shape, 1.0 + 2.0**-12))
        new = mem.value * 2.0
        if not self.is_initializing():
            mem.value = (mem.value * 0.5).astype(jnp.bfloat16)
        return x + new.astype(jnp.float32)


class Pair(nn.Module):
    """Returns two things; the next layer gets the first."""

    @nn.compact
    def __call__(self, x):
        spk = AdaptiveThreshold()(x)
        return spk, x + 1


class Mixing(nn.Module):
    """No memory, but mixes the samples of a batch."""

    @nn.compact
    def __call__(self, x):
        return nn.Dense(x.shape[-1])(x - x.mean(0, keepdims=True))


ZOO: dict[str, Callable[[], nn.Module]] = {
    kind.__name__: kind
    for kind in (
        AdaptiveThreshold, Unguarded, Izhikevich, Resonator, Lagged, LearnedStart, FromInput, OneNumber, PutOnly,
        InSetup, Block, Lifted, Repeated, Two, Narrowing, Pair, Mixing,
    )
}  # fmt: skip
NAMED = {"Two": ("slow",)}
"""Collections beside ``hidden`` that carry states."""


def loop(net: nn.Module, variables: Any, x: Any, mutable: Any = (), rngs: Any = None) -> tuple[Any, Any]:
    """``apply`` step by step, as a reader of Flax's documentation writes it: ``(outputs, variables)``."""
    step = jax.jit(lambda v, frame: net.apply(v, frame, mutable=["hidden", *mutable], rngs=rngs))
    rows = []
    for frame in x:
        row, updates = step(variables, frame)
        variables = {**variables, **updates}
        rows.append(row)
    return jax.tree.map(lambda *v: jnp.stack(v), *rows), variables
