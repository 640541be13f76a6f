"""The demo: port a trained snnTorch network, prove that it is the same, train on in JAX, port it back."""

from __future__ import annotations

import statistics
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
import optax

from snnax import interop
from snnax.datasets import digits
from snnax.network import unroll

STEPS = 25
BATCH = 64
ROUNDS = 3

Say = Callable[[str], None]


def run(out: Path, say: Say) -> dict[str, Any]:
    """Run the demo on the 360 held-out handwritten digits.

    Args:
        out: folder for ``demo.nir``, ``demo.png`` and ``demo.html``.
        say: takes each line of the report.

    Returns:
        What it measured, as JSON values; ``agree`` is true if both comparisons agree.

    Raises:
        MissingDependencyError: if torch, snnTorch, matplotlib or scikit-learn is not installed.
    """
    from snnax.interop.snntorch.digits import digits_network, simulate

    begin = time.perf_counter()
    out.mkdir(parents=True, exist_ok=True)
    images, labels = digits("test", layout="NCHW")
    net = digits_network()
    say(f"1. A convolutional snnTorch network, trained on scanned digits ({STEPS} steps, 360 held out):")
    say("   " + " -> ".join(type(layer).__name__ for layer in net))

    model, variables = interop.from_snntorch(net, images[:1])
    frames = jnp.asarray(images)
    outputs, _ = unroll(model, variables, frames, num_steps=STEPS)
    accuracies = {
        "snnTorch": _accuracy(simulate(net, images, STEPS), labels),
        "snnax": _accuracy(outputs[0], labels),
    }
    say("\n2. Ported to Flax. Accuracy on the held-out digits:")
    for name, value in accuracies.items():
        say(f"   {name:9s} {value:.2%}")

    say("\n3. Is it the same network? Every spike of every layer, compared:\n")
    report = interop.crossvalidate(net, (model, variables), images, num_steps=STEPS)
    say(str(report))
    report.plot(out / "demo.png")
    report.to_html(out / "demo.html", command="snnax demo")
    graph = interop.to_nir(model, variables, batchnorm="fold")
    interop.write_nir(out / "demo.nir", graph)
    say(f"\n   wrote {out / 'demo.html'}, {out / 'demo.png'} and {out / 'demo.nir'}")

    ratio = _speed(net, model, variables, images, simulate)
    say(
        f"\n4. Inference on all 360 digits: snnax takes {1 / ratio:.2f} of snnTorch's time ({ratio:.1f} times as fast)."
    )

    say("\n5. One epoch of fine-tuning in JAX with optax, then back to snnTorch:")
    variables, loss = _fine_tune(model, variables)
    tuned, _ = unroll(model, variables, frames, num_steps=STEPS)
    accuracies["fine-tuned"] = _accuracy(tuned[0], labels)
    back = interop.to_snntorch(model, variables)
    accuracies["back in snnTorch"] = _accuracy(simulate(back, images, STEPS), labels)
    say(f"   loss {loss[0]:.4f} -> {loss[1]:.4f}")
    for name in ("fine-tuned", "back in snnTorch"):
        say(f"   {name:17s} {accuracies[name]:.2%}")
    again = interop.crossvalidate((model, variables), back, images, num_steps=STEPS)
    say(f"\n   And the same again, spike for spike:\n\n{again}")
    seconds = time.perf_counter() - begin
    agree = report.agree and again.agree
    say(f"\n{'Proven' if agree else 'NOT the same'}, both ways, in {seconds:.0f} s.")
    return {
        "agree": agree, "accuracy": accuracies, "speed_ratio": ratio, "loss": loss, "seconds": seconds,
        "port": report.to_dict(), "export": again.to_dict(),
    }  # fmt: skip


def _accuracy(spikes: Any, labels: np.ndarray) -> float:
    return float((np.asarray(spikes).sum(0).argmax(1) == labels).mean())


def _speed(net: Any, model: Any, variables: Any, images: np.ndarray, simulate: Any) -> float:
    """Median of the ratios of wall times, both sides measured in turn; compilation is done before."""
    forward = jax.jit(lambda v, x: unroll(model, v, x, num_steps=STEPS)[0][0])
    frames = jnp.asarray(images)
    forward(variables, frames).block_until_ready()
    simulate(net, images, STEPS)
    ratios = []
    for _ in range(ROUNDS):
        start = time.perf_counter()
        simulate(net, images, STEPS)
        middle = time.perf_counter()
        forward(variables, frames).block_until_ready()
        ratios.append((middle - start) / (time.perf_counter() - middle))
    return statistics.median(ratios)


def _fine_tune(model: Any, variables: dict[str, Any]) -> tuple[dict[str, Any], tuple[float, float]]:
    """One epoch of Adam on the training digits; returns new variables and the loss at the start and the end."""
    images, labels = digits("train", layout="NCHW")
    fixed = {c: v for c, v in variables.items() if c != "params"}
    optimizer = optax.adam(2e-4)

    def loss_of(params: Any, x: jax.Array, y: jax.Array) -> jax.Array:
        spikes = unroll(model, {**fixed, "params": params}, x, num_steps=STEPS)[0][0]
        return optax.softmax_cross_entropy_with_integer_labels(spikes.sum(0), y).mean()

    @jax.jit
    def step(params: Any, state: Any, x: jax.Array, y: jax.Array) -> tuple[Any, Any, jax.Array]:
        loss, gradient = jax.value_and_grad(loss_of)(params, x, y)
        updates, state = optimizer.update(gradient, state, params)
        return optax.apply_updates(params, updates), state, loss

    params = variables["params"]
    state = optimizer.init(params)
    order = np.random.default_rng(0).permutation(len(images))
    losses = []
    for start in range(0, len(order) - BATCH + 1, BATCH):
        chosen = order[start : start + BATCH]
        params, state, loss = step(params, state, jnp.asarray(images[chosen]), jnp.asarray(labels[chosen]))
        losses.append(float(loss))
    quarter = max(len(losses) // 4, 1)
    return {**fixed, "params": params}, (float(np.mean(losses[:quarter])), float(np.mean(losses[-quarter:])))
