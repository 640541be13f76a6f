"""Small networks whose arithmetic is exact in float32, so that schedules can be compared to the bit.

Inputs and weights are multiples of 1/8, decays are 1/2: all that is added up in T steps fits the mantissa.
"""

import flax.linen as nn
import jax
import jax.numpy as jnp
import numpy as np

import snnax as snn

T, B = 7, 3
CHUNKS = (1, 2, 3, 5, T, T + 7, "auto")


def eighths(shape, seed=0, low=-8, high=8):
    """Random multiples of 1/8."""
    draws = np.random.default_rng(seed).integers(low, high, shape, endpoint=True)
    return jnp.asarray(draws / 8, jnp.float32)


def leaky(**options):
    return snn.Leaky(beta=0.5, init_hidden=True, **options)


def start(net, x, rngs=None):
    """Variables of ``net`` for frames ``x[B, ...]``, with weights in eighths and without ``hidden``."""
    keys = {"params": jax.random.key(0), **(rngs or {})}
    shapes = jax.eval_shape(lambda x: {c: v for c, v in net.init(keys, x).items() if c != "hidden"}, x)
    leaves, tree = jax.tree.flatten(shapes.get("params", {}))
    params = jax.tree.unflatten(tree, [eighths(v.shape, i, -4, 6) for i, v in enumerate(leaves)])
    fresh = {"mean": jnp.zeros, "var": jnp.ones}
    statistics = jax.tree.map_with_path(lambda p, v: fresh[p[-1].key](v.shape), shapes.get("batch_stats", {}))
    return {"params": params, **({"batch_stats": statistics} if statistics else {})}


def stepwise(net, variables, x, mutable=(), rngs=None):
    """``apply`` in a Python loop, as a reader of the documentation would write it: ``(outputs, variables)``."""
    collections = ["hidden", *mutable]

    @jax.jit
    def step(variables, frame):
        return net.apply(variables, frame, mutable=collections, rngs=rngs)

    rows = []
    for frame in x:
        row, updates = step(variables, frame)
        variables = {**variables, **updates}
        rows.append(row)
    return jax.tree.map(lambda *v: jnp.stack(v), *rows), variables


def assert_same(ours, theirs, rtol=0.0):
    """The same tree with the same arrays: shapes, dtypes and (with ``rtol=0``) bits."""
    assert jax.tree.structure(ours) == jax.tree.structure(theirs)
    paths = jax.tree_util.tree_leaves_with_path(ours)
    for (path, a), b in zip(paths, jax.tree.leaves(theirs), strict=True):
        where = jax.tree_util.keystr(path)
        assert a.dtype == b.dtype, where
        if rtol:
            np.testing.assert_allclose(a, b, rtol=rtol, atol=rtol * np.abs(b).max(initial=0), err_msg=where)
        else:
            np.testing.assert_array_equal(a, b, err_msg=where)


def fires(spk):
    """Some neurons spike and some do not: otherwise a comparison shows nothing."""
    return 0 < float(jnp.mean(jax.tree.leaves(spk)[0])) < 1


class Block(nn.Module):
    """A user's own module: compact, with nested neurons, a branch and a parameter."""

    features: int

    @nn.compact
    def __call__(self, x):
        spk = leaky(name="first")(nn.Dense(self.features, name="fc")(x))
        gain = self.param("gain", nn.initializers.ones, (1, self.features))
        inner = snn.Sequential([nn.Dense(self.features), leaky()], name="inner")
        return inner(spk * gain) + spk


class SetUp(nn.Module):
    """Another, with ``setup`` and a recurrent neuron."""

    def setup(self):
        self.fc = nn.Dense(4)
        self.lif = snn.RLeaky(0.5, linear_features=4, init_hidden=True, output=True)

    def __call__(self, x):
        spk, mem = self.lif(self.fc(x))
        return {"out": spk, "potential": [mem]}


def branches():
    """Two branches that are summed, a skip connection, a membrane that is passed on."""
    return snn.Graph(
        nodes={
            "a": nn.Dense(4),
            "lif": leaky(output=True),
            "mem": snn.State("mem"),
            "b": nn.Dense(4),
            "out": leaky(output=True),
        },
        edges=[("input", "a"), ("a", "lif"), ("lif", "mem"), ("input", "b"), ("mem", "out"), ("b", "out"),
               ("lif", "out"), ("out", "output")],
    )  # fmt: skip


def feedback():
    """``lif -> back -> lif`` with one step of delay, ahead of it a layer without memory."""
    return snn.Graph(
        nodes={"fc": nn.Dense(4), "lif": leaky(), "back": nn.Dense(4)},
        edges=[("input", "fc"), ("fc", "lif"), ("lif", "back"), ("back", "lif"), ("lif", "output")],
    )


def shared_layer():
    """One dense layer at two places."""
    fc = nn.Dense(4)
    return snn.Sequential([fc, leaky(), fc, leaky(output=True)])


def shared_neuron():
    """One neuron at two places: its state goes to and fro within a step."""
    lif = leaky()
    return snn.Sequential([lif, nn.Dense(4), lif])


def shared_across():
    """One dense layer in two blocks."""
    fc = nn.Dense(4)
    return snn.Sequential([snn.Sequential([fc, leaky()]), snn.Sequential([fc, leaky()])])


def images(channels_first=False):
    """Convolution, pooling, flatten."""
    layers = [
        nn.Conv(3, (3, 3)),
        snn.MaxPool2d(2),
        leaky(),
        snn.AvgPool2d(2, stride=1),
        snn.Flatten(channels_first=channels_first),
        nn.Dense(4),
        leaky(output=True),
    ]
    names = ("conv", "pool", "lif1", "avg", "flat", "fc", "lif2")
    return snn.Graph(
        nodes=dict(zip(names, layers, strict=True)),
        edges=[*zip(("input", *names), (*names, "output"), strict=True)],
        channels_first=channels_first,
    )


NETS = {
    "chain": (lambda: snn.Sequential([nn.Dense(5), leaky(), nn.Dense(4), leaky(output=True)]), (4,)),
    "branches": (branches, (4,)),
    "feedback": (feedback, (4,)),
    "shared layer": (shared_layer, (4,)),
    "shared neuron": (shared_neuron, (4,)),
    "shared across blocks": (shared_across, (4,)),
    "nested": (lambda: snn.Sequential([snn.Sequential([nn.Dense(4), leaky()]), feedback(), leaky()]), (4,)),
    "images": (lambda: images(channels_first=True), (2, 6, 6)),
    "compact": (lambda: Block(4), (4,)),
    "setup": (SetUp, (4,)),
    "own block in a chain": (lambda: snn.Sequential([nn.Dense(4), Block(4), nn.Dense(4), leaky()]), (4,)),
    "one neuron": (lambda: leaky(output=True), (4,)),
    "normalised": (
        lambda: snn.Sequential([nn.Dense(4), nn.BatchNorm(use_running_average=True), leaky(), nn.LayerNorm()]),
        (4,),
    ),
}  # fmt: skip
