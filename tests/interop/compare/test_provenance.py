"""Digests follow what is compared, and nothing else; versions are those of this process."""

from __future__ import annotations

import jax
import jax.numpy as jnp
import numpy as np

import snnax as snn
from snnax import interop
from snnax.interop.compare.provenance import versions


def compared(scale=1.0, shift=0.0):
    net = snn.Sequential([snn.Linear(3, 2), snn.Leaky(beta=0.9, init_hidden=True)])
    variables = net.init(jax.random.key(0), jnp.ones((1, 3)))
    variables = {**variables, "params": jax.tree.map(lambda leaf: leaf * scale, variables["params"])}
    x = np.random.default_rng(0).random((4, 2, 3), np.float32) + np.float32(shift)
    return dict(interop.crossvalidate((net, variables), (net, variables), x).digests)


def test_digests_follow_input_and_weights():
    first, same, heavier, shifted = compared(), compared(), compared(scale=2.0), compared(shift=1.0)
    assert first == same
    assert set(first) == {
        "input",
        *(f"{what} of snnax {side}" for what in ("network", "spikes") for side in "ab"),
    }
    assert all(len(digest) == 64 for digest in first.values())
    assert heavier["network of snnax a"] != first["network of snnax a"] and heavier["input"] == first["input"]
    assert shifted["network of snnax a"] == first["network of snnax a"] and shifted["input"] != first["input"]


def test_versions_are_of_what_is_imported():
    found = dict(versions())
    assert found["jax"] == jax.__version__ and "Python" in found and "numpy" in found
