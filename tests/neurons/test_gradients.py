"""Gradients through several steps against snnTorch's autograd: by inputs, decays, thresholds, weights."""

from __future__ import annotations

from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from helpers import neurons as twin

from snnax import surrogate
from snnax.dynamics.arithmetic import unit

T, B, N = 12, 5, 6
RESETS = [("subtract", True), ("subtract", False), ("zero", True), ("zero", False), ("none", True)]


def uniform(low: float, high: float, seed: int, shape: tuple[int, ...] = (N,)) -> np.ndarray:
    return np.random.default_rng(seed).uniform(low, high, shape).astype(np.float32)


def learned(kind: str) -> dict[str, Any]:
    """Per-neuron parameters, all trained; one decay is out of range, where its gradient is zero."""
    beta = uniform(0.6, 0.95, 1)
    beta[0] = 1.05
    options: dict[str, Any] = {"beta": beta, "threshold": uniform(0.4, 1.0, 2)}
    if kind in ("Synaptic", "RSynaptic"):
        options["alpha"] = uniform(0.2, 0.7, 3)
    if kind == "Alpha":
        options |= {
            "alpha": uniform(0.8, 0.95, 3),
            "beta": uniform(0.3, 0.6, 1),
            "threshold": uniform(0.2, 0.6, 2),
        }
    if kind == "Leaky":
        options["graded_spikes_factor"] = uniform(0.5, 1.5, 4)
    if kind == "Lapicque":
        options = {"beta": uniform(0.5, 0.8, 1), "threshold": uniform(0.1, 0.5, 2)}
    if kind.startswith("R"):
        options |= {"V": uniform(-0.6, 0.6, 5), "all_to_all": False}
    return options


def flags(options: dict[str, Any]) -> dict[str, bool]:
    return {f"learn_{n}": True for n, v in options.items() if isinstance(v, np.ndarray) and n != "V"}


def coefficients(kind: str, shape: tuple[int, ...]) -> dict[str, np.ndarray]:
    """The loss is the sum of spikes and states, each with a random weight."""
    names = dict.fromkeys(("spk", *twin.STATES[kind]))
    return {n: uniform(-1, 1, 10 + i, shape) for i, n in enumerate(names)}


def our_gradients(modules: Any, variables: Any, x: np.ndarray) -> list[dict[str, Any]]:
    """Gradients with respect to the input and the parameters of each module, compiled as one program."""
    weights = coefficients(type(modules[0]).__name__, x.shape)

    def loss(inputs: list[Any], params: list[Any]) -> jax.Array:
        total = jnp.zeros(())
        for module, current, p in zip(modules, inputs, params, strict=True):
            (trace,) = twin.scan((module,), {"params": p}, current)
            total += sum((trace[n] * w).sum() for n, w in weights.items())
        return total

    copies = len(modules)
    to_inputs, to_params = jax.jit(jax.grad(loss, (0, 1)))(
        [jnp.asarray(x)] * copies, [variables["params"]] * copies
    )
    return [{"x": i, **p} for i, p in zip(to_inputs, to_params, strict=True)]


def their_gradients(
    kind: str, neuron: Any, leaves: dict[str, Any], x: np.ndarray, late: bool = True
) -> dict[str, Any]:
    """The same with snnTorch; ``leaves`` are the tensors to differentiate by."""
    import torch

    current = torch.tensor(x, requires_grad=True)
    weights = {n: torch.tensor(w) for n, w in coefficients(kind, x.shape).items()}
    loss, states = torch.zeros(()), twin.torch_states(kind, current[0])
    for t in range(len(x)):
        spk, states = twin.torch_step(kind, neuron, current[t], states, late)
        for name, value in {**dict(zip(twin.STATES[kind], states, strict=True)), "spk": spk}.items():
            loss = loss + (value * weights[name][t]).sum()
    leaves = {"x": current, **leaves}
    gradients = torch.autograd.grad(loss, list(leaves.values()))
    return {name: g.numpy() for name, g in zip(leaves, gradients, strict=True)}


def torch_learned(kind: str, options: dict[str, Any], **more: Any) -> tuple[Any, dict[str, Any]]:
    """A snnTorch neuron and its trained tensors, also where its own ``learn_...`` does not work."""
    import torch

    names = [n for n, v in options.items() if isinstance(v, np.ndarray)]
    if kind == "Lapicque":
        neuron = twin.torch_neuron(
            kind, beta=0.9, threshold=options["threshold"], learn_threshold=True, **more
        )
        beta = torch.tensor(options["beta"], requires_grad=True)
        neuron.R, neuron.C = torch.ones(()), 1 / torch.log(1 / beta)
        return neuron, {"beta": beta, "threshold": neuron.threshold}
    wanted = flags(options)
    if kind == "Alpha":
        del wanted["learn_alpha"]
    neuron = twin.torch_neuron(kind, **options, **wanted, **more)
    if kind == "Alpha":
        neuron.alpha = torch.tensor(options["alpha"], requires_grad=True)
    return neuron, {n: getattr(neuron, n) for n in names}


def delays(kind: str) -> list[tuple[str, bool]]:
    return [r for r in RESETS if r[1] or kind not in ("Alpha", "Lapicque")]


def spelled(kind: str, reset: str, delay: bool) -> dict[str, Any]:
    undelayed = kind in ("Alpha", "Lapicque")
    return {"reset_mechanism": reset} if undelayed else {"reset_mechanism": reset, "reset_delay": delay}


@pytest.mark.parametrize("kind", twin.STATES)
def test_gradients_are_those_of_snntorch(kind):
    twin.snntorch()
    options, x = learned(kind), twin.current((T, B, N), seed=7)
    resets = delays(kind)
    modules = tuple(getattr(twin.snn, kind)(**options, **flags(options), **spelled(kind, *r)) for r in resets)
    ours = our_gradients(modules, twin.weights(modules[0], x[0]), x)
    for (reset, delay), gradients in zip(resets, ours, strict=True):
        neuron, leaves = torch_learned(kind, options, **spelled(kind, reset, delay))
        theirs = their_gradients(kind, neuron, leaves, x, delay)
        # RLeaky's "zero" discards the feedback of a spike together with the membrane: V never has an effect
        zero = ("V",) if kind == "RLeaky" and (reset, delay) == ("zero", True) else ()
        twin.assert_gradients(gradients, theirs, f"{reset} {delay}", zero)
        if kind not in ("Alpha", "Lapicque"):
            assert gradients["beta"][0] == 0  # out of range


@pytest.mark.parametrize("layer", [{"linear_features": N}, {"conv2d_channels": N, "kernel_size": 3}])
@pytest.mark.parametrize("kind", ["RLeaky", "RSynaptic"])
def test_gradients_of_recurrent_weights_are_those_of_snntorch(kind, layer):
    twin.snntorch()
    import torch

    options: dict[str, Any] = {**twin.SMALL[kind], "learn_beta": True, **layer}
    del options["V"], options["all_to_all"]
    dense = "linear_features" in layer
    x = twin.current((T, B, N) if dense else (6, 2, 4, 3, N), seed=7)
    module = getattr(twin.snn, kind)(**options)
    variables = twin.weights(module, x[0], seed=1)
    (ours,) = our_gradients((module,), variables, x)
    neuron = twin.torch_neuron(kind, **options)
    kernel, bias = (np.asarray(variables["params"]["recurrent"][n]) for n in ("kernel", "bias"))
    turn, back = ((1, 0), (1, 0)) if dense else ((3, 2, 0, 1), (2, 3, 1, 0))
    neuron.recurrent.weight.data = torch.tensor(kernel.transpose(turn))
    neuron.recurrent.bias.data = torch.tensor(bias)
    leaves = {"kernel": neuron.recurrent.weight, "bias": neuron.recurrent.bias, "beta": neuron.beta}
    theirs = (their_gradients if dense else conv_gradients)(kind, neuron, leaves, x)
    theirs["kernel"] = theirs["kernel"].transpose(back)
    twin.assert_gradients({**ours.pop("recurrent"), **ours}, theirs, "recurrent")


def conv_gradients(kind: str, neuron: Any, leaves: dict[str, Any], x: np.ndarray) -> dict[str, Any]:
    """:func:`their_gradients` on channels-last arrays."""
    import torch

    class LastToFirst(torch.nn.Module):
        def forward(self, frame, *states):
            moved = neuron(frame.movedim(-1, 1), *(s.movedim(-1, 1) for s in states))
            return tuple(m.movedim(1, -1) for m in moved)

    return their_gradients(kind, LastToFirst(), leaves, x)


@pytest.mark.parametrize("name", ["fast_sigmoid", "sigmoid", "straight_through_estimator"])
def test_other_surrogates_have_snntorchs_gradients_through_time(name):
    theirs = twin.snntorch().surrogate
    x = twin.current((T, B, N), seed=7)
    module = twin.snn.Leaky(beta=0.9, learn_beta=True, spike_grad=getattr(surrogate, name)())
    (ours,) = our_gradients((module,), twin.weights(module, x[0]), x)
    neuron = twin.torch_neuron("Leaky", beta=0.9, learn_beta=True, spike_grad=getattr(theirs, name)())
    twin.assert_gradients(ours, their_gradients("Leaky", neuron, {"beta": neuron.beta}, x), name)


def test_surrogate_disable_stops_the_gradient_of_spikes_only():
    module = twin.snn.Leaky(beta=0.9, surrogate_disable=True, spike_grad=surrogate.sigmoid())
    spikes = jax.grad(lambda x: module.apply({}, x)[0].sum())(jnp.full((1, 3), 1.1))
    states = jax.grad(lambda x: module.apply({}, x)[1].sum())(jnp.full((1, 3), 1.1))
    assert spikes.tolist() == [[0.0] * 3] and states.tolist() == [[1.0] * 3]


def test_clamp_has_gradient_one_on_its_borders():
    slopes = jax.vmap(jax.grad(unit))(jnp.array([-0.1, 0.0, 0.5, 1.0, 1.1]))
    assert slopes.tolist() == [0, 1, 1, 1, 0]


def test_learning_beta_of_lapicque_changes_its_dynamics():
    lif = twin.snn.Lapicque(beta=0.9, learn_beta=True)
    x = jnp.ones((1, 1))
    low, high = (lif.apply({"params": {"beta": jnp.float32(b)}}, x)[1] for b in (0.5, 0.8))
    np.testing.assert_allclose([low[0, 0], high[0, 0]], -np.log([0.5, 0.8]), rtol=1e-6)
