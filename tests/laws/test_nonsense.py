"""Nonsense in place of any argument of a public callable ends in a result, or in an error of snnax that says so."""

import inspect
import types
import warnings

import flax.linen as nn
import numpy as np
import pytest
from laws.nonsense import FUNCTIONS, MODULES, NONSENSE, NOT_CALLED, step

import snnax as snn
from snnax import checks
from snnax.errors import SnnaxError

LISTED = {**MODULES, **FUNCTIONS, **NOT_CALLED}
# A path to nothing is no nonsense: it raises what opening it raises, as every docstring says.
MISSING_FILE = (FileNotFoundError,)


def public():
    """Names of what a user can call, with the room that they are in."""
    rooms = {name: getattr(snn, name) for name in snn.__all__}
    for name, thing in rooms.items():
        if not isinstance(thing, types.ModuleType):
            yield name
        elif name != "errors":
            yield from (f"{name}.{n}" for n in thing.__all__ if callable(getattr(thing, n)))


def test_every_public_callable_is_in_the_law():
    assert set(public()) - set(LISTED) == set()


def said(error, function, argument, value):
    """Whether an error names the function or the argument, or what was passed: its value, type or shape."""
    words = {function.rpartition(".")[2], argument.rstrip("s"), checks.shown(value), type(value).__name__}
    words |= {"batch"} if "data" in argument else set()
    words |= {"dataset"} if argument.startswith("ds_") else set()
    words |= {"data"} if argument == "targets" else set()
    words |= {"params"} if argument in ("model", "variables", "layers") else set()
    try:
        words.add(str(tuple(np.shape(value))))
    except (ValueError, RuntimeError, TypeError):
        words.add("shape")
    return any(word in str(error) for word in words)


def arguments(call):
    known = inspect.signature(call.function).parameters.values()
    named = [p.name for p in known if p.kind not in (p.VAR_KEYWORD, p.VAR_POSITIONAL)]
    return [name for name in dict.fromkeys([*named, *call.given]) if name not in call.skip]


def wrong(name, call):
    """What happens to each nonsense that is neither a result nor an error that says what was wrong."""
    for argument in arguments(call):
        for kind, make in NONSENSE.items():
            value = make()
            try:
                call.function(**{**call.given, argument: value})
            except SnnaxError as error:
                if not said(error, name, argument, value):
                    yield f"{argument}={kind}: does not say what was passed: {error}"
            except MISSING_FILE:
                if kind != "text":
                    raise
            except Exception as error:
                if str(error).startswith("len() takes"):
                    continue  # a function of the user's raises what it likes
                yield f"{argument}={kind}: {type(error).__name__}: {error}"


@pytest.mark.parametrize("name", [*MODULES, *FUNCTIONS])
def test_nonsense_is_refused_in_words(name, tmp_path, monkeypatch):
    needs = {"digits": "sklearn", "from_spikingjelly": "spikingjelly"}
    for package in ("torch", *(package for part, package in needs.items() if part in name)):
        pytest.importorskip(package)
    monkeypatch.chdir(tmp_path)
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        call = MODULES[name]() if name in MODULES else FUNCTIONS[name](tmp_path)
        for package in call.packages:
            pytest.importorskip(package)
        call.function(**call.given)
        found = list(wrong(name, call))
    assert not found, "\n".join(found)


STEPS = {
    "Leaky": (lambda: snn.Leaky(0.5), (2, 3), ("mem",)),
    "Leaky with state": (lambda: snn.Leaky(0.5, init_hidden=True), (2, 3), ()),
    "RSynaptic": (lambda: snn.RSynaptic(0.5, 0.5, linear_features=3), (2, 3), ("spk", "syn", "mem")),
    "SLSTM": (lambda: snn.SLSTM(3, 4), (2, 3), ("syn", "mem")),
    "SConv2dLSTM": (lambda: snn.SConv2dLSTM(1, 2, 3), (2, 5, 5, 1), ("syn", "mem")),
    "DeltaLeaky": (lambda: snn.DeltaLeaky(beta=0.5), (2, 3), ("mem",)),
    "CubaLIF": (lambda: snn.CubaLIF(1e-3, 1e-2), (2, 3), ("syn", "mem")),
    "StateLeaky": (lambda: snn.StateLeaky(0.5, channels=3), (4, 2, 3), ()),
    "Flatten": (snn.Flatten, (2, 3, 3, 1), ()),
    "MaxPool2d": (lambda: snn.MaxPool2d(2), (2, 4, 4, 1), ()),
    "Delay": (lambda: snn.Delay(2), (2, 3), ()),
    "BatchNormTT1d": (lambda: snn.BatchNormTT1d(3, 4, use_running_average=True), (2, 3), ()),
    "Sequential": (lambda: snn.Sequential([nn.Dense(4), snn.Leaky(0.5, init_hidden=True)]), (2, 3), ()),
    "event.LIF": (lambda: snn.event.LIF(3, 0.05), (2, 3), ()),
    "event.Sequential": (lambda: snn.event.Sequential([snn.event.LI(3, 0.05)]), (2, 3), ()),
    "Graph": (
        lambda: snn.Graph({"conv": nn.Conv(2, (3, 3))}, [("input", "conv"), ("conv", "output")]),
        (2, 5, 5, 1),
        (),
    ),
}


@pytest.mark.parametrize("name", STEPS)
def test_nonsense_in_init_and_apply(name):
    build, shape, states = STEPS[name]
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        found = list(wrong(name, step(build(), shape, states)))
    assert not found, "\n".join(found)
