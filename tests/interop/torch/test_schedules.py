"""A schedule is refused by name, wherever the counter that it hangs on is kept; constants and records are not."""

from __future__ import annotations

import functools
import itertools
import random
import types
from collections import deque
from collections.abc import Callable
from typing import Any

import jax.numpy as jnp
import numpy as np
import pytest

pytest.importorskip("snntorch")

import snntorch as snn
import torch
from torch import nn

import snnax
from snnax import interop
from snnax.errors import ConversionError, StateError

# a port copies the network, and with it what it holds
pytestmark = pytest.mark.filterwarnings("ignore:Pickle, copy, and deepcopy support:DeprecationWarning")

LATE = 1000
CALLS = 0
RECORD: dict[str, Any] = {"calls": 0}
SETTINGS = types.SimpleNamespace(calls=0)
MARKS: list[int] = []
GAINS = [3.0, 1.0]
WEIGHTS = {"params": jnp.zeros(3)}
DRAWN, SEEDED = np.random.default_rng(0), random.Random(0)


class Tired(nn.Module):
    """Its threshold rises with what it fires, in the call or after it."""

    def __init__(self, loop: bool, way: str) -> None:
        super().__init__()
        torch.manual_seed(0)
        self.fc, self.lif = nn.Linear(4, 5), snn.Leaky(beta=0.9, init_hidden=not loop, output=True)
        self.loop, self.way = loop, way

    def tire(self, spk: torch.Tensor) -> None:
        if self.way == "new":
            self.lif.threshold = self.lif.threshold + 0.1 * spk.mean()
        else:
            with torch.no_grad():
                self.lif.threshold.add_(0.1 * spk.mean())

    def forward(self, x: torch.Tensor) -> Any:
        if not self.loop:
            spk, mem = self.lif(self.fc(x))
            self.tire(spk)
            return spk, mem
        mem, record = self.lif.init_leaky(), []
        for frame in x:
            spk, mem = self.lif(self.fc(frame), mem)
            self.tire(spk)
            record.append(spk)
        return torch.stack(record)


class Counter:
    """A schedule that is called."""

    __slots__ = ("calls",)
    all_calls = 0

    def __init__(self) -> None:
        self.calls = 0

    def __call__(self) -> float:
        self.calls += 1
        return gain(self.calls)


COUNTER = Counter()


class Net(nn.Module):
    """``schedule(net, x)`` gives the gain of each step."""

    def __init__(self, schedule: Callable[[Any, torch.Tensor], Any]) -> None:
        super().__init__()
        torch.manual_seed(0)
        self.schedule = schedule
        self.fc, self.lif = nn.Linear(4, 6), snn.Leaky(beta=0.9, threshold=0.4)
        self.kept: list[torch.Tensor] = []
        self.counter, self.array, self.queue = Counter(), np.zeros(5), deque([0])
        self.numbers, self.turns = itertools.count(), itertools.cycle([2.0] * 990 + [1.0] * 10)

    def forward(self, x):
        mem, out = self.lif.reset_mem(), []
        for t in range(len(x)):
            spk, mem = self.lif(self.fc(x[t]) * self.schedule(self, x[t]), mem)
            out.append(spk)
        return torch.stack(out)


def gain(calls: int) -> float:
    """Another one after many calls, which no trace can wait for."""
    return 2.0 if calls < LATE else 1.0


def in_a_global(n, x):
    global CALLS
    CALLS += 1
    return gain(CALLS)


def in_a_global_list(n, x):
    MARKS.append(1)
    return gain(len(MARKS))


def in_a_global_dict(n, x):
    RECORD["calls"] += 1
    return gain(RECORD["calls"])


def in_a_namespace(n, x):
    SETTINGS.calls += 1
    return gain(SETTINGS.calls)


def in_a_default(n, x, count=[0]):  # noqa: B006
    count[0] += 1
    return gain(count[0])


def in_the_function(n, x):
    in_the_function.calls += 1
    return gain(in_the_function.calls)


in_the_function.calls = 0


def in_a_class(n, x):
    Counter.all_calls += 1
    return gain(Counter.all_calls)


def in_a_closure() -> Callable[[Any, Any], float]:
    calls = 0

    def schedule(n, x):
        nonlocal calls
        calls += 1
        return gain(calls)

    return schedule


def in_partial(record, n, x):
    record["calls"] += 1
    return gain(record["calls"])


def in_an_array(n, x):
    n.array += 1
    return gain(n.array[0])


def in_a_queue(n, x):
    n.queue[0] += 1
    return gain(n.queue[0])


def by_kept_outputs(n, x):
    n.kept.append(x.sum())
    return gain(len(n.kept))


@functools.lru_cache
def remembered(calls: int) -> float:
    return gain(calls)


REFUSED: dict[str, tuple[Callable[[Any, Any], Any], str]] = {
    "global": (in_a_global, "global CALLS"),
    "global of a helper": (lambda n, x: in_a_global(n, x), "global CALLS"),
    "global list": (in_a_global_list, "global MARKS.length"),
    "global dict": (in_a_global_dict, "global RECORD.calls"),
    "namespace": (in_a_namespace, "global SETTINGS.calls"),
    "global object": (lambda n, x: COUNTER(), "global COUNTER.calls"),
    "class": (in_a_class, "all_calls"),
    "default argument": (in_a_default, "default arguments of in_a_default.0.0"),
    "attribute of a function": (in_the_function, "function in_the_function.calls"),
    "closure": (in_a_closure(), "variable calls"),
    "partial": (functools.partial(in_partial, {"calls": 0}), "schedule.args.0.calls"),
    "object": (lambda n, x: n.counter(), "counter.calls"),
    "array": (in_an_array, "array"),
    "queue": (in_a_queue, "queue.0"),
    "itertools.count": (lambda n, x: gain(next(n.numbers)), "numbers.next"),
    "itertools.cycle": (lambda n, x: next(n.turns), "turns.state"),
    "number of kept outputs": (by_kept_outputs, "kept.length"),
    "chance": (lambda n, x: gain(random.random()), "draws random numbers"),
    "chance, NumPy": (lambda n, x: gain(np.random.rand()), "draws random numbers"),
    "chance, a generator": (lambda n, x: gain(DRAWN.random()), "global DRAWN.state"),
    "chance, seeded": (lambda n, x: gain(SEEDED.random()), "global SEEDED.state"),
}
PORTED: dict[str, Callable[[Any, Any], Any]] = {
    "a constant": lambda n, x: 3.0,
    "chance, torch, that decides nothing": lambda n, x: gain(torch.rand(1).item()),
    "a global table": lambda n, x: GAINS[0],
    "weights of another port": lambda n, x: 2.0 + len(WEIGHTS),
    "kept outputs": lambda n, x: n.kept.append(x.sum()) or 3.0,
    "a helper that remembers": lambda n, x: remembered(3) + 1.0,
    "a new generator": lambda n, x: 3.0 if np.random.default_rng(0).random() < 1 else 1.0,
}
X = torch.rand(6, 3, 4, generator=torch.Generator().manual_seed(0))


@pytest.mark.parametrize("name", REFUSED)
def test_a_schedule_is_refused_wherever_its_counter_is(name: str):
    schedule, words = REFUSED[name]
    with pytest.raises(ConversionError, match=words):
        interop.from_snntorch(Net(schedule).eval(), X)


@pytest.mark.parametrize("name", PORTED)
def test_what_every_call_finds_alike_is_ported(name: str):
    net = Net(PORTED[name]).eval()
    model, variables = interop.from_snntorch(net, X)
    with torch.no_grad():
        expected = net(X).numpy()
    assert 0 < expected.mean() < 1
    np.testing.assert_array_equal(snnax.unroll(model, variables, X.numpy())[0], expected)


@pytest.mark.parametrize("way", ["new", "in place"])
@pytest.mark.parametrize("loop", [True, False], ids=["loop", "step"])
def test_what_a_call_changes_by_its_signals_is_carried_on_or_refused(loop: bool, way: str):
    """Also where nothing fires on the sample, and so nothing changes."""
    net = Tired(loop, way).eval()
    x = torch.linspace(-3, 5, 6 * 3 * 4).reshape(6, 3, 4).sin() * 4
    if loop and way == "in place":
        with pytest.raises(ConversionError, match=r"threshold"):
            interop.from_snntorch(net, x)
        return
    model, variables = interop.from_snntorch(net, 0 * (x if loop else x[0]))
    assert interop.crossvalidate(net, (model, variables), x).agree
    with pytest.raises(StateError, match=r"changes 'lif.threshold' of 'buffers'.*mutable=\['buffers'\]"):
        snnax.unroll(model, variables, x.numpy())
    for _ in range(2):
        ours, updates = snnax.unroll(model, variables, x.numpy(), mutable=["buffers"])
        variables = {**variables, **updates}
        if loop:
            np.testing.assert_array_equal(ours, net(x).detach())
        else:
            np.testing.assert_array_equal(ours[0], torch.stack([net(frame)[0] for frame in x]).detach())
    assert float(net.lif.threshold.detach()) > 1.05
