"""LeakyParallel and AssociativeLeaky: against snnTorch, against loops, and step by step."""

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
from snnax.errors import ArgumentError, InertArgumentWarning, ShapeError

T, B, M, H = 220, 5, 4, 6
DECAYS = np.linspace(0.1, 0.95, H).astype(np.float32)
RNN = {
    "weight_ih_l0": ("linear", "kernel"),
    "bias_ih_l0": ("linear", "bias"),
    "bias_hh_l0": ("recurrent", "bias"),
}


@partial(jax.jit, static_argnums=0)
def run(module: nn.Module, variables: Any, x: Any) -> Any:
    return module.apply(variables, x, mutable=["record"])


def start(module: nn.Module, x: Any) -> Any:
    return jax.jit(module.init)(jax.random.key(0), x)


def rnn(module: snn.LeakyParallel, variables: Any) -> Any:
    """snnTorch's LeakyParallel with our weights; several decays are set afterwards, since it ignores them."""
    import torch

    fields = (
        "bias",
        "learn_beta",
        "weight_hh_enable",
        "threshold",
        "learn_threshold",
        "graded_spikes_factor",
    )
    neuron = twin.torch_neuron(
        "LeakyParallel", input_size=M, hidden_size=H, **{f: getattr(module, f) for f in fields}
    )
    for name, path in RNN.items() if module.bias else [("weight_ih_l0", RNN["weight_ih_l0"])]:
        getattr(neuron.rnn, name).data = torch.tensor(np.asarray(variables["params"][path[0]][path[1]]).T)
    kept = variables["params" if module.learn_beta else "buffers"]["recurrent"]
    matrix = np.asarray(kept["kernel"]).T if module.weight_hh_enable else np.diag(np.asarray(kept["beta"]))
    neuron.rnn.weight_hh_l0.data = torch.tensor(matrix)
    return neuron


CASES: dict[str, dict[str, Any]] = {
    "array": {"beta": DECAYS},
    "random": {"beta": None, "threshold": 0.4, "graded_spikes_factor": 0.5},
    "learned": {"beta": 0.5, "learn_beta": True, "bias": False, "threshold": 0.5},
    "full": {"beta": None, "weight_hh_enable": True, "threshold": 0.3},
}


@pytest.mark.parametrize("name", CASES)
def test_spikes_are_those_of_snntorch(name):
    twin.snntorch()
    import torch

    module, x = snn.LeakyParallel(M, H, **CASES[name]), 3 * twin.current((T, B, M))
    variables = start(module, x)
    spk, recorded = run(module, variables, x)
    neuron = rnn(module, variables)
    with torch.no_grad():
        spikes, mem = neuron(torch.tensor(x)).numpy(), neuron.rnn(torch.tensor(x))[0].numpy()
    np.testing.assert_allclose(recorded["record"]["mem"], mem, atol=3e-6 * np.abs(mem).max())
    unsure = np.abs(mem - CASES[name].get("threshold", 1.0)) < 3e-6 * np.abs(mem).max()
    assert not ((np.asarray(spk) != spikes) & ~unsure).any()
    assert unsure.mean() < 1e-3 and 0 < (spikes > 0).mean() < 1
    assert np.array_equal(module.apply(variables, x[:, 0]), spk[:, 0])  # [T, M]


@pytest.mark.parametrize("full", [False, True])
def test_gradients_are_those_of_snntorch(full):
    twin.snntorch()
    import torch

    options = {
        "beta": None if full else DECAYS,
        "learn_beta": True,
        "learn_threshold": True,
        "threshold": 0.6,
    }
    module, x = snn.LeakyParallel(M, H, weight_hh_enable=full, **options), 2 * twin.current((30, B, M))
    params = start(module, x)["params"]
    weight = np.random.default_rng(1).normal(size=(30, B, H)).astype(np.float32)
    gradient = jax.jit(jax.grad(lambda p, x: (module.apply({"params": p}, x) * weight).sum(), (0, 1)))
    found, into = gradient(params, x)
    neuron, frames = rnn(module, {"params": params}), torch.tensor(x, requires_grad=True)
    (neuron(frames) * torch.tensor(weight)).sum().backward()
    matrix = neuron.rnn.weight_hh_l0.grad.numpy()
    expected = {
        "x": frames.grad,
        "threshold": neuron.threshold.grad,
        "weight": matrix.T if full else np.diag(matrix),
        **{name: getattr(neuron.rnn, name).grad.numpy().T for name in RNN},
    }
    ours = {n: found[a][b] for n, (a, b) in RNN.items()}
    ours |= {"x": into, "threshold": found["threshold"]}
    ours["weight"] = found["recurrent"]["kernel" if full else "beta"]
    twin.assert_gradients(ours, expected, "LeakyParallel", rtol=1e-4)
    assert full or not (matrix - np.diag(np.diag(matrix))).any()


def test_trace_of_leaky_parallel():
    module = snn.LeakyParallel(1, 2, beta=0.9, bias=False)
    x = jnp.array([0.6, 0.6, -2, 0.9]).reshape(4, 1, 1)
    spk, recorded = run(module, {"params": {"linear": {"kernel": jnp.array([[1.0, -1.0]])}}}, x)
    mem = recorded["record"]["mem"][:, 0].T
    np.testing.assert_allclose(mem, [[0.6, 1.14, 0, 0.9], [0, 0, 2, 0.9]], rtol=1e-6)
    assert spk[:, 0].T.tolist() == [[0, 1, 0, 0], [0, 0, 1, 0]]


def test_recurrent_weights_are_where_they_are_learned_or_kept():
    x = jnp.ones((2, 1, M))

    def recurrent(**options: Any) -> dict[str, Any]:
        variables = start(snn.LeakyParallel(M, H, bias=False, **options), x)
        return {c: v["recurrent"] for c, v in variables.items() if "recurrent" in v}

    assert recurrent(beta=0.9) == {}
    assert recurrent(beta=1.5, learn_beta=True)["params"]["beta"].tolist() == [1] * H  # clamped
    np.testing.assert_array_equal(recurrent(beta=DECAYS)["buffers"]["beta"], DECAYS)
    drawn = recurrent()["buffers"]["beta"]
    assert drawn.shape == (H,) and float(drawn.min()) < 0 and float(jnp.abs(drawn).max()) <= H**-0.5
    full = recurrent(beta=DECAYS, weight_hh_enable=True)["buffers"]["kernel"]
    np.testing.assert_array_equal(full, np.tile(DECAYS, (H, 1)))  # into each neuron its own


def test_several_decays_are_taken():
    """snnTorch ignores them."""
    neuron = twin.torch_neuron("LeakyParallel", input_size=M, hidden_size=H, beta=DECAYS)
    assert not np.allclose(np.diag(neuron.rnn.weight_hh_l0.detach()), DECAYS)
    array, number = (snn.LeakyParallel(M, H, beta=b, bias=False) for b in (np.full(H, 0.5), 0.5))
    x = jnp.asarray(3 * twin.current((20, B, M)))
    variables = start(array, x)
    assert np.array_equal(run(array, variables, x)[0], run(number, {"params": variables["params"]}, x)[0])


def test_dropout_does_nothing_there_and_here():
    twin.snntorch()
    import torch

    with warnings.catch_warnings(record=True) as caught:
        warnings.simplefilter("always")
        neuron = twin.torch_neuron("LeakyParallel", input_size=M, hidden_size=H, beta=0.5, dropout=0.9)
    assert "dropout option adds dropout after all but last" in str(caught[0].message)
    x = torch.tensor(twin.current((9, B, M)))
    assert torch.equal(neuron(x), neuron(x))
    with pytest.warns(InertArgumentWarning, match="dropout=0.9 without effect"):
        dropping = snn.LeakyParallel(M, H, beta=0.5, dropout=0.9)
    plain = snn.LeakyParallel(M, H, beta=0.5)
    variables = start(plain, x.numpy())
    assert np.array_equal(run(dropping, variables, x.numpy())[0], run(plain, variables, x.numpy())[0])


# --- AssociativeLeaky -----------------------------------------------------------------------------

PARTS = ("to_v", "to_k", "to_alpha", "to_q")


def associative(q: bool = True, **options: Any) -> snn.AssociativeLeaky:
    return snn.AssociativeLeaky(M, 3, 2, 6, use_q_projection=q, **options)


def decaying(variables: Any, by: float) -> Any:
    """The same variables, with another bias of the decays."""
    params = dict(variables["params"])
    params["to_alpha"] = {**params["to_alpha"], "bias": jnp.full(2, by, jnp.asarray(by).dtype)}
    return {"params": params}


def memory(params: Any, x: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """States and results of the recurrence as it is written, in double precision."""
    v, k, a, q = (
        x @ np.asarray(params[p]["kernel"], float) + np.asarray(params[p]["bias"], float) for p in PARTS
    )
    a = 1 / (1 + np.exp(-a))
    state, states, results = np.zeros((B, 3, 2)), [], []
    for t in range(len(x)):
        state = state * a[t][:, None] + v[t][:, :, None] * k[t][:, None]
        states.append(state)
        results.append(((state > 1) @ q[t].reshape(B, 2, 3)).reshape(B, 9))
    return np.stack(states), np.stack(results)


def torch_memory(module: snn.AssociativeLeaky, params: Any) -> Any:
    import torch

    neuron = twin.torch_neuron(
        "AssociativeLeaky", in_dim=M, d_value=3, d_key=2, num_spiking_neurons=6,
        use_q_projection=module.use_q_projection,
    )  # fmt: skip
    for part, weights in params.items():
        layer = getattr(neuron, part)
        layer.weight.data = torch.tensor(np.asarray(weights["kernel"]).T)
        layer.bias.data = torch.tensor(np.asarray(weights["bias"]))
    return neuron


@pytest.mark.parametrize("bias", [-4.0, 0.0, 4.0])
def test_memory_is_the_recurrence_for_every_decay(bias):
    x = 3 * twin.current((T, B, M)).astype(float)
    module = associative()
    variables = start(module, jnp.asarray(x, jnp.float32))
    expected, results = memory(decaying(variables, bias)["params"], x)
    with jax.enable_x64(True):
        wide = jax.tree.map(lambda v: v.astype(float), decaying(variables, bias))
        y, recorded = run(module, wide, x)
        state, y = np.asarray(recorded["record"]["state"]), np.asarray(y)
    assert np.abs(state - expected).max() < 1e-12 * np.abs(expected).max()
    assert np.abs(y - results).max() < 1e-12
    assert 0 < np.asarray(recorded["record"]["spk"]).mean() < 1
    _, single = run(module, decaying(variables, bias), jnp.asarray(x, jnp.float32))
    assert np.abs(np.asarray(single["record"]["state"]) - expected).max() < 3e-6 * np.abs(expected).max()


@pytest.mark.parametrize("q", [True, False])
def test_large_decays_are_as_in_snntorch_and_small_ones_are_not(q):
    twin.snntorch()
    import torch

    module, x = associative(q), 3 * twin.current((60, B, M))
    first = start(module, x)
    for bias, same in ((5.0, True), (-4.0, False)):
        variables = decaying(first, bias)
        y, recorded = run(module, variables, x)
        with torch.no_grad():
            expected = torch_memory(module, variables["params"])(torch.tensor(x)).numpy()
        assert y.shape == expected.shape == (60, B, 9 if q else 6)
        unsure = (np.abs(np.asarray(recorded["record"]["state"]) - 1) < 1e-4).any((2, 3))
        assert unsure.mean() < 0.02
        assert np.allclose(np.asarray(y)[~unsure], expected[~unsure], atol=1e-5) == same


def test_gradients_of_the_memory_are_those_of_snntorch():
    twin.snntorch()
    import torch

    module, x = associative(), 3 * twin.current((12, B, M))
    variables = decaying(start(module, x), 3.0)
    weight = np.random.default_rng(1).normal(size=(12, B, 9)).astype(np.float32)
    gradient = jax.jit(jax.grad(lambda v, x: (module.apply(v, x) * weight).sum(), (0, 1)))
    found, into = gradient(variables, x)
    neuron, frames = torch_memory(module, variables["params"]), torch.tensor(x, requires_grad=True)
    (neuron(frames) * torch.tensor(weight)).sum().backward()
    ours, expected = {"x": into}, {"x": frames.grad}
    for part in PARTS:
        ours |= {f"{part} {n}": v for n, v in found["params"][part].items()}
        expected |= {f"{part} kernel": getattr(neuron, part).weight.grad.T}
        expected |= {f"{part} bias": getattr(neuron, part).bias.grad}
    twin.assert_gradients(ours, expected, "AssociativeLeaky", rtol=1e-4)


def test_as_many_values_as_keys():
    module = snn.AssociativeLeaky.from_num_spiking_neurons(4, 9, use_q_projection=False, init_hidden=True)
    assert module == snn.AssociativeLeaky(4, 3, 3, 9, False, True)
    assert snn.AssociativeLeaky(4, 3, 2, None) == snn.AssociativeLeaky(4, 3, 2, 6)  # snnTorch: an error


# --- both -----------------------------------------------------------------------------------------

STEPWISE = {
    "LeakyParallel": partial(snn.LeakyParallel, M, H, beta=DECAYS, threshold=0.5),
    "LeakyParallel, full": partial(snn.LeakyParallel, M, H, weight_hh_enable=True, threshold=0.3),
    "AssociativeLeaky": associative,
}


@pytest.mark.parametrize("name", STEPWISE)
def test_a_sequence_is_its_steps(name):
    x = jnp.asarray(3 * twin.current((40, B, M)))
    whole, steps = STEPWISE[name](), STEPWISE[name](init_hidden=True)
    variables = start(whole, x)
    y, recorded = run(whole, variables, x)
    once, _, record = snn.unroll(steps, variables, x, record=True)
    state = "state" if "state" in record[""] else "mem"
    np.testing.assert_allclose(record[""][state], recorded["record"][state], atol=1e-5)
    assert (np.asarray(once) != y).mean() < 5e-3 or np.allclose(once, y, atol=1e-5)
    assert 0 < record[""]["spk"].mean() < 1
    first, updates = snn.unroll(steps, variables, x[:20], chunk=3)
    second, _ = snn.unroll(steps, {**variables, **updates}, x[20:], chunk=7)
    np.testing.assert_allclose(np.concatenate([first, second]), once, atol=1e-6)
    with pytest.raises(ArgumentError, match=r"init_hidden=True\).*net.apply"):
        snn.unroll(whole, variables, x)


def test_forced_spikes_are_what_is_read():
    module, x = associative(init_hidden=True), jnp.ones((4, B, M))
    variables = start(module, x[0])
    silent, _ = snn.unroll(module, variables, x, force={"": jnp.zeros((4, B, 3, 2))})
    assert not silent.any()


@pytest.mark.parametrize(
    ("module", "shape"), [(associative(), (3, M)), (snn.LeakyParallel(M, H), (3, 2, M + 1))]
)
def test_other_shapes_are_refused(module, shape):
    with pytest.raises(ShapeError, match=r"expected a whole sequence \[T, B, 4\]"):
        module.init(jax.random.key(0), jnp.ones(shape))


def test_weights_are_kept_in_the_dtype_asked_for():
    module = snn.LeakyParallel(M, H, dtype=jnp.bfloat16)
    variables = start(module, jnp.ones((3, 2, M)))
    assert {v.dtype for v in jax.tree.leaves(variables)} == {jnp.dtype(jnp.bfloat16)}
    assert module.apply(variables, jnp.ones((3, 2, M))).dtype == jnp.float32
