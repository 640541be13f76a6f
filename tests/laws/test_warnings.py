"""Every warning names the line of the user's code that it is about, through all the calls that lie between."""

import warnings

import flax.linen as nn
import h5py
import jax
import jax.numpy as jnp
import nir
import numpy as np
import pytest

import snnax as snn
from snnax import errors, interop
from snnax.interop import simulator

KEY = jax.random.key(0)
ONE = np.ones(2, np.float32)
LINEAR, NEURONS = nir.Linear(np.ones((2, 2), np.float32)), nir.IF(r=ONE, v_threshold=ONE)
IMAGES = np.ones((2, 3, 8, 8), np.float32)  # channels first


class Own(nn.Module):
    """A user's own network."""

    @nn.compact
    def __call__(self, x):
        return snn.Sequential([nn.Conv(2, (3, 3)), snn.Leaky(0.5, init_hidden=True)])(x)


def convolutional():
    return snn.Sequential([nn.Conv(2, (3, 3)), snn.Leaky(0.5, init_hidden=True)])


def odd_graph():
    """Its input is declared with the axis of the batch left in."""
    made = nir.NIRGraph.from_list(LINEAR, NEURONS)
    made.nodes["input"] = nir.Input({"input": np.array([1, 2])})
    return made


def changed_file(folder):
    path = folder / "a.nir"
    interop.write_nir(path, nir.NIRGraph.from_list(LINEAR, NEURONS))
    with h5py.File(path, "r+") as file:
        file["node/nodes/linear/weight"][0, 0] = 7
    return path


def looped(net):
    """A Python loop over time in a compiled function."""
    variables = net.init(KEY, jnp.ones((1, 2)))

    def run(x):
        for _ in range(60):
            _, variables["hidden"] = (lambda out: (out[0], out[1]["hidden"]))(
                net.apply(variables, x, mutable=["hidden"])
            )
        return x

    return run


WARNED = {
    "init": lambda _: convolutional().init(KEY, IMAGES),
    "init of an own network": lambda _: Own().init(KEY, IMAGES),
    "from_nir": lambda _: interop.from_nir(odd_graph()),
    "simulate": lambda _: simulator.simulate(odd_graph(), np.ones((2, 1, 2))),
    "read_nir": lambda folder: interop.read_nir(changed_file(folder)),
    "from_nir of a file": lambda folder: interop.from_nir(changed_file(folder)),
    "crossvalidate files": lambda folder: interop.crossvalidate(
        changed_file(folder), changed_file(folder), np.ones((2, 1, 2))
    ),
    "a neuron": lambda _: snn.LeakyParallel(2, 3, dropout=0.9),
    "jit": lambda _: jax.jit(looped(snn.Leaky(0.5, init_hidden=True)))(jnp.ones((1, 2))),
}


@pytest.mark.parametrize("call", WARNED.values(), ids=WARNED.keys())
def test_the_line_is_the_users(call, tmp_path):
    with warnings.catch_warnings(record=True) as found:
        warnings.simplefilter("always")
        call(tmp_path)
    ours = [w for w in found if w.category.__module__ == errors.__name__]
    assert ours
    assert {w.filename for w in ours} == {__file__}
