"""StateLeaky and LinearLeaky: against snnTorch, against the recurrence in double precision, and step by step."""

from __future__ import annotations

import warnings
from functools import partial
from typing import Any

import flax.linen as nn
import jax
import jax.numpy as jnp
import numpy as np
import pytest
from helpers import neurons as twin

import snnax as snn

T, B, N, M = 240, 6, 8, 5


def per_neuron(low: float, high: float, seed: int) -> np.ndarray:
    return np.random.default_rng(seed).uniform(low, high, N).astype(np.float32)


def rounded(x: Any) -> Any:
    """A quantizer that works on arrays of both frameworks."""
    return (x * 4).round() / 4


CASES: dict[str, dict[str, Any]] = {
    "scalar": {"beta": 0.9},
    "fast": {"beta": 0.3},
    "one element": {"beta": np.array([0.8], np.float32)},
    "array": {"beta": per_neuron(0.2, 0.97, 1), "threshold": per_neuron(0.5, 2, 2)},
    "never forgets": {"beta": 1.0, "threshold": 10.0},
    "truncated": {"beta": 0.95, "kernel_truncation_steps": 11},
    "one tap": {"beta": per_neuron(0.2, 0.97, 1), "kernel_truncation_steps": 1},
    "more taps than steps": {"beta": 0.9, "kernel_truncation_steps": 1000},
    "quantized": {"beta": 0.9, "state_quant": rounded, "threshold": 1.1},
    "learned": {"beta": per_neuron(0.2, 0.97, 1), "learn_beta": True, "learn_threshold": True},
}


@partial(jax.jit, static_argnums=0)
def run(module: nn.Module, variables: Any, x: Any) -> Any:
    return module.apply(variables, x)


def start(module: nn.Module, x: Any) -> Any:
    return jax.jit(module.init)(jax.random.key(0), x)


def taps(options: dict[str, Any]) -> dict[str, Any]:
    return {name: value for name, value in options.items() if name != "beta"}


def theirs(kind: str, *sizes: int, **options: Any) -> Any:
    with warnings.catch_warnings():
        warnings.filterwarnings("ignore", "StateLeaky: spike-related settings")
        return twin.torch_neuron(kind, beta=options["beta"], **_sizes(kind, sizes), **taps(options))


def ours(kind: str, *sizes: int, **options: Any) -> nn.Module:
    return getattr(snn, kind)(beta=options["beta"], **_sizes(kind, sizes), **taps(options))


def _sizes(kind: str, sizes: tuple[int, ...]) -> dict[str, int]:
    names = ("channels",) if kind == "StateLeaky" else ("in_features", "out_features")
    return dict(zip(names, sizes, strict=True))


def assert_close(spk: Any, mem: Any, spikes: Any, membrane: Any, threshold: Any = 1.0) -> None:
    """Membranes within 3e-6 of the largest; spikes the same, unless it is so near to the threshold."""
    membrane, spikes = np.asarray(membrane), np.asarray(spikes)
    bound = 3e-6 * max(1, np.abs(membrane).max())
    assert np.abs(np.asarray(mem) - membrane).max() < bound
    unsure = np.abs(membrane - np.asarray(threshold)) < bound
    assert not ((np.asarray(spk) != spikes) & ~unsure).any()
    assert unsure.mean() < 1e-3
    assert 0 < spikes.mean() < 1


@pytest.mark.parametrize("name", CASES)
def test_spikes_and_membranes_are_those_of_snntorch(name):
    twin.snntorch()
    import torch

    options, x = CASES[name], twin.current((T, B, N))
    with torch.no_grad():
        spikes, membrane = theirs("StateLeaky", N, **options)(torch.tensor(x))
    module = ours("StateLeaky", N, **options)
    spk, mem = run(module, start(module, x), x)
    assert spk.dtype == mem.dtype == np.float32
    if name == "quantized":
        differ = np.asarray(mem) != membrane.numpy()
        assert differ.mean() < 1e-3  # at the border of two levels
        spk, mem = np.where(differ, (spikes, membrane), (spk, mem))
    assert_close(spk, mem, spikes, membrane, options.get("threshold", 1.0))


def with_linear_weights(neuron: Any, params: Any) -> Any:
    """snnTorch's neuron with our linear weights."""
    import torch

    neuron.linear.weight.data = torch.tensor(np.asarray(params["linear"]["kernel"]).T)
    if neuron.linear.bias is not None:
        neuron.linear.bias.data = torch.tensor(np.asarray(params["linear"]["bias"]))
    return neuron


@pytest.mark.parametrize("options", [{"beta": 0.9}, {**CASES["truncated"], "bias": False}])
def test_linear_leaky_is_that_of_snntorch(options):
    twin.snntorch()
    import torch

    x = 2 * twin.current((T, B, M))
    module = ours("LinearLeaky", M, N, **options)
    variables = start(module, x)
    spk, mem = run(module, variables, x)
    with torch.no_grad():
        neuron = with_linear_weights(theirs("LinearLeaky", M, N, **options), variables["params"])
        spikes, membrane = neuron(torch.tensor(x))
    assert_close(spk, mem, spikes, membrane)
    drawn = np.concatenate([np.ravel(v) for v in jax.tree.leaves(variables["params"])])
    assert 0.9 < np.abs(drawn).max() * np.sqrt(M) <= 1


@pytest.mark.parametrize("kind", ["StateLeaky", "LinearLeaky"])
@pytest.mark.parametrize("truncation", [None, 7])
def test_gradients_are_those_of_snntorch(kind, truncation):
    twin.snntorch()
    import torch

    sizes = (N,) if kind == "StateLeaky" else (M, N)
    options = {
        "beta": per_neuron(0.5, 0.95, 1), "threshold": per_neuron(0.5, 1.5, 2), "learn_beta": True,
        "learn_threshold": True, "kernel_truncation_steps": truncation,
    }  # fmt: skip
    x = twin.current((40, B, sizes[0]))
    weight = np.random.default_rng(3).normal(size=(2, 40, B, N)).astype(np.float32)
    module = ours(kind, *sizes, **options)
    params = start(module, x)["params"]

    @jax.jit
    def gradients(params, x):
        def loss(params, x):
            return (jnp.stack(module.apply({"params": params}, x)) * weight).sum()

        return jax.grad(loss, (0, 1))(params, x)

    found, into = gradients(params, x)
    neuron, frames = theirs(kind, *sizes, **options), torch.tensor(x, requires_grad=True)
    leaves = {"x": frames, "tau": neuron.tau, "threshold": neuron.threshold}
    found = {"x": into, **found}
    if kind == "LinearLeaky":
        with_linear_weights(neuron, params)
        leaves |= {"kernel": neuron.linear.weight, "bias": neuron.linear.bias}
        found |= found.pop("linear")
    (torch.stack(neuron(frames)) * torch.tensor(weight)).sum().backward()
    expected = {name: leaf.grad.numpy() for name, leaf in leaves.items()}
    if kind == "LinearLeaky":
        expected["kernel"] = expected["kernel"].T
    twin.assert_gradients(found, expected, kind, rtol=1e-4)


@pytest.mark.parametrize("name", ["scalar", "array", "truncated"])
def test_double_precision_is_the_recurrence(name):
    options, x = CASES[name], twin.current((T, B, N)).astype(float)
    beta = np.asarray(options["beta"], float)
    factor = np.exp(-(1 - beta + 1e-12))
    steps = options.get("kernel_truncation_steps", T)
    mem = np.stack([sum(factor**k * x[t - k] for k in range(min(t + 1, steps))) for t in range(T)])
    with jax.enable_x64(True):
        module = ours("StateLeaky", N, **options)
        found = [np.asarray(v) for v in run(module, {}, x)]
    assert found[0].dtype == np.float64
    assert np.abs(found[1] - mem).max() < 1e-12 * np.abs(mem).max()


@pytest.mark.parametrize(
    ("kind", "name"),
    [
        ("StateLeaky", "array"),
        ("StateLeaky", "truncated"),
        ("StateLeaky", "one tap"),
        ("StateLeaky", "quantized"),
        ("LinearLeaky", "more taps than steps"),
        ("LinearLeaky", "learned"),
    ],
)
def test_a_sequence_is_its_steps(kind, name):
    """Also that chunks do not matter, and that a sequence may come in two parts."""
    options, sizes = CASES[name], (N,) if kind == "StateLeaky" else (M, N)
    x = jnp.asarray(2 * twin.current((50, B, sizes[0])))
    whole, stepwise = (ours(kind, *sizes, **options, init_hidden=i) for i in (False, True))
    variables = start(whole, x)
    spk, mem = run(whole, variables, x)
    (spk_steps, mem_steps), _, record = snn.unroll(stepwise, variables, x, record=True)
    np.testing.assert_allclose(mem_steps, mem, atol=0.25 if name == "quantized" else 2e-5)
    assert (np.asarray(mem_steps) != mem).mean() < (1e-2 if name == "quantized" else 1)
    assert (np.asarray(spk_steps) != spk).mean() < 1e-3
    assert np.array_equal(record[""]["mem"], mem_steps) and np.array_equal(record[""]["spk"], spk_steps)
    assert np.array_equal(record[""]["input"], x)
    (_, first), updates = snn.unroll(stepwise, variables, x[:21], chunk=4)
    (_, second), _ = snn.unroll(stepwise, {**variables, **updates}, x[21:], chunk=7)
    assert np.array_equal(np.concatenate([first, second]), mem_steps)


def test_without_output_it_is_the_membrane_in_both_modes():
    x = jnp.asarray(twin.current((9, B, N)))
    mem = snn.StateLeaky(0.9, N, output=False).apply({}, x)
    assert np.array_equal(mem, snn.StateLeaky(0.9, N).apply({}, x)[1])
    steps, updates = snn.unroll(snn.StateLeaky(0.9, N, output=False, init_hidden=True), {}, x)
    np.testing.assert_allclose(steps, mem, rtol=1e-5)
    assert updates["hidden"]["mem"].shape == (B, N)


def test_spikes_can_be_forced():
    x, forced = jnp.ones((6, 1, 2)), jnp.arange(12.0).reshape(6, 1, 2)
    net = snn.Sequential([snn.StateLeaky(0.9, 2, init_hidden=True), snn.Scale(2.0)])
    y, _ = snn.unroll(net, {}, x, force={"layers_0": forced})
    assert np.array_equal(y, 2 * forced)


def test_impulse_response():
    impulse = jnp.zeros((4, 1, 1)).at[0].set(1)
    _, mem = snn.StateLeaky(0.9, 1).apply({}, impulse)
    np.testing.assert_allclose(mem.ravel(), [1, 0.9048374, 0.8187307, 0.7408181], rtol=3e-7)
    _, mem = snn.StateLeaky(0.9, 1, kernel_truncation_steps=2).apply({}, impulse)
    np.testing.assert_allclose(mem.ravel(), [1, 0.9048374, 0, 0], rtol=3e-7)


def test_the_factor_of_graded_spikes_is_applied_once():
    """snnTorch applies it twice."""
    twin.snntorch()
    import torch

    x = np.full((3, 1, 1), 2, np.float32)
    spk, _ = snn.StateLeaky(0.9, 1, graded_spikes_factor=0.5).apply({}, x)
    assert spk.ravel().tolist() == [0.5] * 3
    spikes, _ = theirs("StateLeaky", 1, beta=0.9, graded_spikes_factor=0.5)(torch.tensor(x))
    assert spikes.ravel().tolist() == [0.25] * 3


def test_what_is_learned_is_the_time_constant():
    x = jnp.ones((4, 1, 2))
    module = snn.StateLeaky([0.9, 0.5], 2, learn_beta=True, learn_graded_spikes_factor=True)
    variables = start(module, x)
    assert set(variables) == {"params"} and set(variables["params"]) == {"tau", "graded_spikes_factor"}
    tau = variables["params"]["tau"]
    np.testing.assert_allclose((tau - 1) / tau, [0.9, 0.5], rtol=1e-6)
    slower = module.apply({"params": {**variables["params"], "tau": 2 * tau}}, x)[1]
    expected = snn.StateLeaky([0.95, 0.75], 2).apply({}, x)[1]
    np.testing.assert_allclose(slower, expected, rtol=1e-6)


def test_fixed_time_constants_of_each_neuron_are_saved():
    x = jnp.ones((4, 1, 2))
    module = snn.StateLeaky([0.9, 0.5], 2)
    variables = start(module, x)
    np.testing.assert_allclose(variables["buffers"]["tau"], [10, 2], rtol=1e-6)
    mem = module.apply({"buffers": {"tau": jnp.array([2.0, 10.0])}}, x)[1]
    np.testing.assert_allclose(mem, snn.StateLeaky([0.5, 0.9], 2).apply({}, x)[1], rtol=1e-6)
    assert snn.StateLeaky(0.9, 2).init(jax.random.key(0), x) == {}


def test_a_whole_number_of_numpys_is_kept_as_an_int():
    number = np.array(3)
    module = snn.LinearLeaky(
        beta=0.9, in_features=number, out_features=number, kernel_truncation_steps=number
    )
    assert hash(module) == hash(
        snn.LinearLeaky(beta=0.9, in_features=3, out_features=3, kernel_truncation_steps=3)
    )
