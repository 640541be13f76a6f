"""One training step of a torch network and of its ports, in turn: what ``residual`` and ``transformer`` share.

Measured as ``train_step`` does: in random order, CPU time on one core, wall time on several. Compilation and two steps
are not counted.
"""

from __future__ import annotations

import argparse
import copy
import importlib.util
import json
import statistics
import time
import warnings
from collections.abc import Callable, Mapping
from functools import partial
from pathlib import Path
from typing import Any

from benchmarks import measuring

RATE = 1e-4

Step = Callable[[], float]


def torch_step(network: Any, x: Any, y: Any) -> Step:
    import torch

    optimizer = torch.optim.SGD(network.parameters(), lr=RATE)

    def step() -> float:
        optimizer.zero_grad()
        loss = torch.nn.functional.cross_entropy(network(x), y)
        loss.backward()
        optimizer.step()
        return loss.item()

    return step


class JaxStep:
    """As :func:`torch_step`. ``program`` and ``arguments`` are for compiling it ahead of time."""

    def __init__(self, forward: Callable[[Any, Any], Any], params: Any, x: Any, y: Any) -> None:
        import jax
        import jax.numpy as jnp
        import optax

        tx = optax.sgd(RATE)

        @jax.jit
        def train(params: Any, state: Any, x: Any, y: Any) -> tuple[Any, Any, Any]:
            def loss(params: Any) -> Any:
                out = forward(params, x)
                mean = out.mean(0) if out.ndim == 3 else out
                return optax.softmax_cross_entropy_with_integer_labels(mean, y).mean()

            value, slopes = jax.value_and_grad(loss)(params)
            updates, state = tx.update(slopes, state)
            return optax.apply_updates(params, updates), state, value

        self.program, self._data = train, (jnp.asarray(x.numpy()), jnp.asarray(y.numpy()))
        self._state = params, tx.init(params)

    @property
    def arguments(self) -> tuple[Any, ...]:
        return (*self._state, *self._data)

    def __call__(self) -> float:
        *state, value = self.program(*self.arguments)
        self._state = tuple(state)
        return float(value)


def snnax_step(network: Any, sample: Any, x: Any, y: Any) -> JaxStep:
    """``network`` is one step or has the loop itself: ``unroll`` takes both."""
    import snnax as snn
    from snnax import interop

    net, variables = interop.from_snntorch(network, sample)
    fixed = {name: value for name, value in variables.items() if name not in ("params", "hidden")}

    def forward(params: Any, x: Any) -> Any:
        return snn.unroll(net, {"params": params, **fixed}, x)[0]

    return JaxStep(forward, variables["params"], x, y)


def reset_leaky(module: Any) -> None:
    """Without a state, if it is snnTorch's ``Leaky``."""
    import snntorch

    if isinstance(module, snntorch.Leaky):
        module.reset_mem()


def looped(net: Any, steps: int, reset: Callable[[Any], None] = reset_leaky) -> Any:
    """A module whose ``forward`` loops over time with ``net``, a time step, and returns the mean.

    ``reset`` gets each module of ``net`` before the first step.
    """
    import torch

    class Network(torch.nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.net = net

        def forward(self, x: Any) -> Any:
            for module in self.net.modules():
                reset(module)
            return torch.stack([self.net(x[step]) for step in range(steps)]).mean(0)

    return Network().eval()


def multi_step(net: Any, network: Any) -> Any:
    """``net``, of SpikingJelly's layers, over all steps at once, with the weights of a :func:`looped` network."""
    from spikingjelly.activation_based import functional
    from torch import nn

    functional.set_step_mode(net, "m")
    net.load_state_dict(network.net.state_dict(), strict=False)

    class Network(nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.net = net

        def forward(self, x: Any) -> Any:
            functional.reset_net(self.net)
            return self.net(x).mean(0)

    return Network().eval()


def signals(network: Any, x: Any, kinds: Any) -> list[tuple[Any, Any]]:
    """Each layer of these kinds, and numbers of the shape that it gets of all steps and samples, in their order."""
    import torch

    shapes: list[tuple[Any, tuple[int, ...]]] = []
    hooks = [
        module.register_forward_hook(lambda m, given, _: shapes.append((m, given[0].shape)))
        for module in network.modules()
        if isinstance(module, kinds)
    ]
    with torch.no_grad():
        network.net(x[0])
    for hook in hooks:
        hook.remove()
    return [(module, torch.rand(len(x) * shape[0], *shape[1:])) for module, shape in shapes]


def convolved(images: Any, module: Any, inner: bool) -> None:
    """A convolution and both its derivatives; without that of the images for the first layer (not ``inner``)."""
    import torch

    weight = module.weight.detach()
    settings = ([*module.stride], [*module.padding], [1, 1], False, [0, 0], 1)
    y = torch.ops.aten.convolution(images, weight, None, *settings)
    torch.ops.aten.convolution_backward(y, images, weight, None, *settings, [inner, True, False])


def makers(
    network: Any,
    shape: tuple[int, ...],
    floor: Callable[[Any, Any], Step],
    jelly: Callable[[Any], Any],
    device: str = "cpu",
    others: Mapping[str, Callable[[Any, Any, Any], Step]] | None = None,
) -> dict[str, Callable[[], Step]]:
    """What makes each candidate; those of torch on ``device``.

    Args:
        network: a :func:`looped` one, in torch.
        shape: of its input, ``[T, B, ...]``.
        floor: of a network and its input, the step that has the bare products.
        jelly: SpikingJelly's network with the weights of one.
        device: of torch.
        others: of a network, its input and labels, the step of another package, which may not be there.
    """
    import torch

    x, y = torch.rand(shape), torch.randint(0, 10, (shape[1],))

    def by_torch(network: Any) -> Step:
        return torch_step(network.to(device), x.to(device), y.to(device))

    made: dict[str, Callable[[], Step]] = {
        "snnax-graph": lambda: snnax_step(copy.deepcopy(network.net), x[0], x, y),
        "snnax-program": lambda: snnax_step(copy.deepcopy(network), x, x, y),
        "floor": lambda: floor(copy.deepcopy(network), x),
    }
    if importlib.util.find_spec("spikingjelly"):
        made["spikingjelly"] = lambda: by_torch(jelly(network))
    for name, other in (others or {}).items():
        if importlib.util.find_spec(name):
            made[name] = partial(other, network, x, y)
    return {**made, "snntorch": lambda: by_torch(copy.deepcopy(network))}


def arguments(text: str | None) -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(description=text, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--batch", type=int, default=16)
    parser.add_argument("--steps", type=int, default=4)
    parser.add_argument("--rounds", type=int, default=5)
    parser.add_argument("--cores", type=int, default=1)
    parser.add_argument("--limit", type=float, default=2, help="a slower step (s) is measured once")
    parser.add_argument("--mallopt", action="store_true", help="let glibc keep freed pages, for all")
    parser.add_argument("--json", type=Path, help="write the measurements here")
    return parser


def begin(given: argparse.Namespace) -> None:
    """Before jax and torch are imported."""
    warnings.simplefilter("ignore")
    measuring.pin(given.cores)
    if given.mallopt and not measuring.keep_pages():
        print("mallopt: no glibc here")
    print(measuring.heading(), flush=True)


def compare(made: dict[str, Step], given: argparse.Namespace) -> None:
    """Print a line for each, with its ratios to ``snntorch`` and ``floor``; ``first s`` are CPU seconds."""
    first: dict[str, tuple[float, float]] = {}
    slow: dict[str, list[float]] = {}
    for name, step in made.items():
        start = time.process_time()
        loss = step()
        first[name] = (loss, time.process_time() - start)
        once = measuring.taken(step, measuring.clock(given.cores))
        if once > given.limit:
            slow[name] = [once]
    quick = {name: step for name, step in made.items() if name not in slow}
    times = measuring.in_turn(quick, given.rounds, given.cores) | slow
    print(f"{'':16}{'ms a step':>10}{'x snnTorch':>12}{'of the floor':>14}{'first s':>9}{'first loss':>12}")
    for name, taken in times.items():
        to_torch, to_floor = (
            statistics.median(a / b for a, b in zip(times[other], taken, strict=name not in slow))
            for other in ("snntorch", "floor")
        )
        loss, spent = first[name]
        print(
            f"{name:16}{1000 * statistics.median(taken):10.0f}{to_torch:12.2f}{1 / to_floor:14.2f}{spent:9.1f}"
            f"{'' if name == 'floor' else format(loss, '12.6f')}{'  measured once' if name in slow else ''}"
        )
    if given.json:
        candidates = {name: {"times": taken, "first": first[name][1]} for name, taken in times.items()}
        text = {"machine": measuring.machine(), "batch": given.batch, "candidates": candidates}
        given.json.write_text(json.dumps(text, indent=1) + "\n")
