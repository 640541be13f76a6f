"""Networks as strangers write them, ported unedited: values, gradients and weights are torch's."""

from __future__ import annotations

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from flax.traverse_util import flatten_dict

pytest.importorskip("snntorch")

import torch
from helpers import port_zoo
from helpers.port_zoo_states import PerStepNorm
from helpers.way_back import assert_is_the_network

from snnax import interop
from snnax.interop.frameworks.snntorch import ADAPTER
from snnax.interop.program.module import PortedProgram
from snnax.interop.program.side import outputs_of, weights_like
from snnax.interop.torch.call_side import CalledTorch

pytestmark = pytest.mark.filterwarnings("ignore:Inhibition is an unstable feature:UserWarning")

ZOO = port_zoo.STEADY
STACKED = {PerStepNorm}
"""Ported as graphs that hold the weights of several layers in one array: gradients have other names."""


def ported(cls):
    """The network, its port, and arguments for another batch as torch tensors."""
    model, variables = port_zoo.ported(cls)
    net, given = port_zoo.built(cls), ZOO[cls](5)
    return net, model, variables, given if isinstance(given, tuple) else (given,)


def arrays(tree, double=False):
    """Torch's tensors as NumPy arrays."""
    found = jax.tree.map(lambda t: np.asarray(t.detach() if isinstance(t, torch.Tensor) else t), tree)
    return jax.tree.map(lambda a: a.astype(np.float64) if double and a.dtype.kind == "f" else a, found)


@pytest.mark.parametrize("cls", ZOO, ids=lambda cls: cls.__name__)
def test_it_is_torchs_network(cls):
    """Shapes and types in single, values and gradients in double precision, weights and all of it there and back."""
    net, model, variables, given = ported(cls)
    doubles = arrays(given, double=True)
    if isinstance(model, PortedProgram):
        assert_same_form(jax.eval_shape(lambda: model.apply(variables, *arrays(given))), net(*given))
        assert_same_values(net, model, variables, doubles)
    else:
        (x,) = doubles
        report = interop.crossvalidate(net, (model, variables), x, gradients=cls not in STACKED)
        assert report.agree, str(report)
    assert_state_dict(net, model, variables)
    if isinstance(model, PortedProgram):
        assert_is_the_network(net, interop.to_snntorch(model, variables), given)


@pytest.mark.parametrize("cls", list(ZOO)[::9], ids=lambda cls: cls.__name__)
def test_it_is_cross_validated(cls):
    net, model, variables, given = ported(cls)
    singles = arrays(given) if len(given) > 1 else arrays(given)[0]
    report = interop.crossvalidate(net, (model, variables), singles, gradients=True)
    assert report.agree, str(report)


def assert_same_values(net, model, variables, given):
    """What is returned, and the gradients of a weighted sum of it, compiled once."""
    side = CalledTorch(net, model.program, ADAPTER)
    double = any(leaf.dtype == np.float64 for leaf in jax.tree.leaves(given))  # tokens are not
    with jax.enable_x64(True):
        wide = jax.tree.map(jnp.asarray, arrays(variables, double))

        def loss(params):
            returned = model.apply({**wide, "params": params}, *given)
            leaves = map(jnp.asarray, jax.tree.leaves(returned))
            floats = [y for y in leaves if jnp.issubdtype(y.dtype, jnp.floating)]
            return sum((jnp.sum(y * weights_like(y)) for y in floats), start=jnp.zeros(())), returned

        grads, returned = jax.jit(jax.grad(loss, has_aux=True))(wide.get("params", {}))
    for ours, theirs in zip(outputs_of(returned), side.call(given, {}).outputs, strict=True):
        np.testing.assert_allclose(ours, theirs, rtol=1e-6 if double else 1e-4, atol=1e-9 if double else 1e-5)
    found = flatten_dict(grads, sep=".")
    for name, wanted in side.gradients(given).items():
        np.testing.assert_allclose(
            found[name], wanted, rtol=1e-5 if double else 1e-3, atol=1e-8 if double else 1e-5, err_msg=name
        )


def assert_same_form(found, wanted):
    """The same lists, tuples and dicts, arrays of the same shapes and types in them."""
    wanted = arrays(wanted)
    assert jax.tree.structure(found) == jax.tree.structure(wanted)
    for ours, theirs in zip(jax.tree.leaves(found), jax.tree.leaves(wanted), strict=True):
        assert np.shape(ours) == theirs.shape
        assert (
            np.asarray(ours).dtype.kind == theirs.dtype.kind
            if np.isscalar(ours)
            else ours.dtype.kind == theirs.dtype.kind
        )


def assert_state_dict(net, model, variables):
    """Weights go back, and others are read."""
    state = interop.to_state_dict(model, variables)
    if isinstance(model, PortedProgram):
        assert set(state) == set(net.state_dict())
    for name, value in state.items():
        np.testing.assert_array_equal(value, net.state_dict()[name].numpy(), err_msg=name)
    shift = 1 if isinstance(model, PortedProgram) else 0  # neurons of a graph know which values they may have
    theirs = net.state_dict().items()
    other = {name: value + shift if value.is_floating_point() else value for name, value in theirs}
    again = interop.to_state_dict(model, interop.from_state_dict(model, variables, other))
    for name, value in again.items():
        np.testing.assert_array_equal(value, other[name].numpy(), err_msg=name)
