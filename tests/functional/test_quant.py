"""The levels of state_quant are snnTorch's to the last bit, and so are quantized states and gradients."""

from __future__ import annotations

import itertools

import jax
import jax.numpy as jnp
import numpy as np
import pytest

import snnax as snn
from snnax.errors import ArgumentError
from snnax.functional import quant
from snnax.neurons.quantize import NearestLevel

KINDS = {
    "uniform": {"uniform": True},
    "threshold": {"uniform": False, "thr_centered": True},
    "zero": {"uniform": False, "thr_centered": False},
}
RANGES = [
    {},
    {"threshold": 0.7, "lower_limit": 0.3, "upper_limit": 0.45},
    {"threshold": 5, "lower_limit": 0, "upper_limit": 0},
    {"threshold": 1.3, "lower_limit": 0.1, "upper_limit": 2.5, "multiplier": 0.8},
    {"threshold": 2.0, "multiplier": 1.1},
    {"threshold": 1.0, "lower_limit": -0.25},
]
GOLDEN = {
    "uniform": [-1.0, -0.26666668, 0.46666667, 1.2],
    "threshold": [-1.0, 0.8018018, 0.981982, 1.2],
    "zero": [-1.0, 0.01081081, 0.11891892, 1.2],
}


def theirs(options):
    snntorch_quant = pytest.importorskip("snntorch.functional.quant")
    return snntorch_quant.state_quant(**options)


def levels_of(function):
    return dict(zip(function.__code__.co_freevars, function.__closure__, strict=True))["levels"].cell_contents


def assert_levels(mine, options):
    """To the last bit; even ones to the one before, since ``torch.linspace`` rounds as the processor has it do."""
    expected = levels_of(theirs(options)).numpy().astype(np.float64)
    bound = np.spacing(np.float32(np.abs(expected).max())) if options.get("uniform", True) else 0
    np.testing.assert_allclose(mine, expected, rtol=0, atol=bound, err_msg=str(options))


@pytest.mark.parametrize("bits", range(1, 9))
@pytest.mark.parametrize("kind", KINDS)
def test_levels_are_those_of_snntorch_to_the_last_bit(kind, bits):
    for span in RANGES:
        options = {"num_bits": bits, **KINDS[kind], **span}
        mine = np.asarray(quant.state_quant(**options).levels)
        assert mine.shape == (2**bits,)
        assert_levels(mine, options)


def test_random_ranges_have_the_same_levels():
    rng = np.random.default_rng(0)
    for kind, bits in itertools.product(KINDS.values(), (2, 5, 8)):
        for _ in range(25):
            threshold, low, high, factor = rng.uniform([0.1, 0, 0, 0.2], [5, 1, 1, 0.99]).tolist()
            span = {"threshold": threshold, "lower_limit": low, "upper_limit": high, "multiplier": factor}
            options = {"num_bits": bits, **kind, **span}
            assert_levels(np.asarray(quant.state_quant(**options).levels), options)


@pytest.mark.parametrize("kind", KINDS)
def test_golden_levels(kind):
    quantizer = quant.state_quant(num_bits=2, **KINDS[kind])
    np.testing.assert_allclose(quantizer.levels, GOLDEN[kind], rtol=1e-6)


def test_defaults():
    levels = np.asarray(quant.state_quant().levels, np.float32)
    assert len(levels) == 256
    np.testing.assert_array_equal(levels[[0, 128, -1]], np.array([-1, 0.10431377, 1.2], np.float32))


@pytest.mark.parametrize("kind", KINDS)
def test_quantized_states_and_gradients_are_those_of_snntorch(kind):
    torch = pytest.importorskip("torch")
    options = {"num_bits": 3, **KINDS[kind]}
    x = np.random.default_rng(0).normal(size=(50, 40)).astype(np.float32)
    tensor = torch.tensor(x, requires_grad=True)
    expected = theirs(options)(tensor)
    (expected**2).sum().backward()
    quantizer = quant.state_quant(**options)
    bound = 2.0**-22 if kind == "uniform" else 0  # as its levels: see assert_levels
    np.testing.assert_allclose(jax.jit(quantizer)(x), expected.detach().numpy(), rtol=0, atol=bound)
    slope = jax.grad(lambda v: (quantizer(v) ** 2).sum())(jnp.asarray(x))
    np.testing.assert_allclose(slope, tensor.grad.numpy(), rtol=0, atol=2 * bound)


def test_a_quantized_neuron_is_that_of_snntorch():
    snntorch = pytest.importorskip("snntorch")
    torch = pytest.importorskip("torch")
    options = {"num_bits": 4, "uniform": False}
    x = np.random.default_rng(0).uniform(0, 0.8, (40, 30)).astype(np.float32)
    reference = snntorch.Leaky(beta=0.9, state_quant=theirs(options))
    neuron = snn.Leaky(beta=0.9, state_quant=quant.state_quant(**options))
    step = jax.jit(lambda current, state: neuron.apply({}, current, state))
    mem, torch_mem = jnp.zeros(30), reference.reset_mem()
    for current in x:
        spk, mem = step(current, mem)
        torch_spk, torch_mem = reference(torch.tensor(current), torch_mem)
        np.testing.assert_array_equal(spk, torch_spk.numpy())
        np.testing.assert_array_equal(mem, torch_mem.numpy())


def test_a_quantizer_is_a_value():
    quantizer = quant.state_quant(num_bits=3)
    assert isinstance(quantizer, NearestLevel)
    assert quantizer == quant.state_quant(num_bits=3)
    assert hash(quantizer) == hash(quant.state_quant(num_bits=3))
    assert quantizer != quant.state_quant(num_bits=3, uniform=False)
    assert hash(snn.Leaky(beta=0.5, state_quant=quantizer))
    assert quant.StateQuant([0.0, 1.0])(jnp.array(0.7)) == 1


def test_a_quantizer_keeps_float64():
    with jax.enable_x64(True):
        assert quant.state_quant()(jnp.zeros(3, jnp.float64)).dtype == np.float64


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"num_bits": 0}, "num_bits=8"),
        ({"num_bits": 2.5}, "num_bits=8"),
        ({"threshold": 0}, "threshold > 0"),
        ({"threshold": -1.0}, "threshold > 0"),
        ({"lower_limit": -1}, "limits >= 0"),
        ({"upper_limit": -2.0}, "limits >= 0"),
        ({"upper_limit": -0.1, "uniform": False}, "limits >= 0"),
        ({"uniform": False, "multiplier": 0}, "multiplier=0"),
    ],
)
def test_bad_arguments_name_the_call_that_works(options, message):
    with pytest.raises(ArgumentError, match=message):
        quant.state_quant(**options)
