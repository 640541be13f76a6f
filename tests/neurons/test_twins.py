"""Every neuron against the installed snnTorch, over a million neuron-steps a case: same spikes, same bits.

Two things have no common bits, and get a tolerance instead, in tests of their own below: the logarithm
(Alpha's gain, Lapicque's C from beta), which torch and XLA round differently for one value in eight, and
sums over a kernel of arbitrary weights. The cases here take values whose logarithms agree, and weights
with few binary digits, whose sums are exact.
"""

from __future__ import annotations

import functools
import itertools
from collections.abc import Callable, Iterator
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from helpers import neurons as twin
from helpers.rounding import last_bit

from snnax.dynamics.alpha import gain
from snnax.neurons.quantize import NearestLevel

T, B, N = 50, 100, 200
RESETS = ("subtract", "zero", "none")
UNDELAYED = ("Alpha", "Lapicque")
FORMS = {
    **dict.fromkeys(twin.STATES, ("scalar", "array", "learned")),
    "Lapicque": ("scalar", "array", "beta", "beta-array", "beta-R", "beta-C", "learned"),
}


def grid(x: Any) -> Any:
    """A quantizer that works on arrays of both frameworks."""
    return (x * 8).round() / 8


def alike(formulas: tuple[Callable[..., Any], ...], *ranges: tuple[float, float]) -> tuple[np.ndarray, ...]:
    """N random parameters for which both formulas, ours and torch's, round alike."""
    rng = np.random.default_rng(1)
    values = [rng.uniform(*r, 4 * N).astype(np.float32) for r in ranges]
    ours, theirs = (np.asarray(f(*values)) for f in formulas)
    same = np.flatnonzero(ours == theirs)[:N]
    assert len(same) == N
    return tuple(v[same] for v in values)


def torch_gain(alpha: np.ndarray, beta: np.ndarray) -> Any:
    import torch

    a, b = torch.log(torch.tensor(alpha)), torch.log(torch.tensor(beta))
    return a / (b - a) + 1


def torch_log_inverse(beta: np.ndarray) -> Any:
    import torch

    return torch.log(1 / torch.tensor(beta))


@functools.cache
def values() -> dict[str, np.ndarray]:
    """Per-neuron parameters; some decays lie outside [0, 1] and are clamped."""
    rng = np.random.default_rng(0)
    slow, fast = alike((jax.jit(gain), torch_gain), (0.7, 0.95), (0.2, 0.65))
    (decay,) = alike((jax.jit(lambda b: jnp.log(1 / b)), torch_log_inverse), (0.6, 0.95))
    uniform = {
        "alpha": (-0.1, 0.9),
        "beta": (0.5, 1.1),
        "threshold": (0.3, 1.1),
        "R": (2.0, 4.0),
        "C": (1.0, 2.0),
        "V": (-0.6, 0.4),
        "graded": (-0.5, 2.0),
    }
    arrays = {name: rng.uniform(*r, N).astype(np.float32) for name, r in uniform.items()}
    return {**arrays, "slow": slow, "fast": fast, "decay": decay}


Arguments = tuple[dict[str, Any], dict[str, Any], dict[str, Any]]


def arguments(kind: str, form: str) -> Arguments:
    """Arguments of ours, of snnTorch's, and attributes to set on snnTorch's afterwards."""
    if kind == "Lapicque":
        return lapicque_arguments(form)
    scalar = {"beta": 0.9, "threshold": 0.8}
    array = {"beta": values()["beta"], "threshold": values()["threshold"]}
    if kind in ("Synaptic", "RSynaptic"):
        scalar, array = {"alpha": 0.55, **scalar}, {"alpha": values()["alpha"], **array}
    if kind == "Alpha":
        scalar = {"alpha": 0.9, "beta": 0.8, "threshold": 0.6}
        array = {"alpha": values()["slow"], "beta": values()["fast"], "threshold": 0.7}
    if kind in ("RLeaky", "RSynaptic"):
        scalar, array = (
            {**s, "all_to_all": False, "V": v} for s, v in ((scalar, -0.3), (array, values()["V"]))
        )
        scalar["learn_recurrent"] = array["learn_recurrent"] = False
    if form != "learned":
        return (scalar, scalar, {}) if form == "scalar" else (array, array, {})
    learned = {**array, "learn_beta": True, "learn_threshold": True}
    learned.pop("learn_recurrent", None)
    theirs = dict(learned)
    if "alpha" in learned:
        learned["learn_alpha"] = True
        if kind != "Alpha":  # snnTorch's Alpha(learn_alpha=True) is a TypeError
            theirs["learn_alpha"] = True
    return learned, theirs, {}


def lapicque_arguments(form: str) -> Arguments:
    """snnTorch takes no arrays here: it is built from numbers, and the arrays are set afterwards."""
    array, decay = values(), values()["decay"]
    built = {"R": 3.0, "C": 2.0, "time_step": 0.7, "threshold": 0.6}
    derived = {"R": 1, "C": np.float32(1) / torch_log_inverse(decay).numpy()}
    table: dict[str, Arguments] = {
        "scalar": (built, built, {}),
        "array": ({**built, "R": array["R"], "C": array["C"]}, built, {"R": array["R"], "C": array["C"]}),
        "beta": (*({"beta": 0.62, "threshold": 0.4},) * 2, {}),
        "beta-R": (*({"beta": 0.8, "R": 2.5, "time_step": 2, "threshold": 0.2},) * 2, {}),
        "beta-C": (*({"beta": 0.8, "C": 1.5, "time_step": 0.9, "threshold": 0.5},) * 2, {}),
        "beta-array": ({"beta": decay, "threshold": 0.3}, {"beta": 0.9, "threshold": 0.3}, derived),
        "learned": (
            {"beta": decay, "threshold": 0.3, "learn_beta": True, "learn_threshold": True},
            {"beta": 0.9, "threshold": 0.3, "learn_threshold": True},
            derived,
        ),
    }
    return table[form]


def variants(kind: str, inhibition: tuple[bool, ...] = (False, True)) -> list[dict[str, Any]]:
    """Reset mechanisms, with and without delay where there is one, with and without inhibition."""
    resets: list[dict[str, Any]] = [{"reset_mechanism": r} for r in RESETS]
    if kind not in UNDELAYED:
        resets += [{"reset_mechanism": r, "reset_delay": False} for r in ("subtract", "zero")]
    return [{**r, "inhibition": i} for r in resets for i in inhibition]


def cases() -> Iterator[Any]:
    """Neuron x form of its parameters x quantizer x graded spikes; each runs all of :func:`variants`."""
    for kind, forms in FORMS.items():
        for form, quantizer in itertools.product(forms, (None, "grid")):
            if quantizer and form.startswith("beta"):
                continue
            for graded in (False, True) if kind == "Leaky" else (False,):
                extras = (quantizer, "graded" if graded else None)
                yield pytest.param(
                    kind, form, quantizer, graded, id="-".join(filter(None, (kind, form, *extras)))
                )
        yield pytest.param(kind, forms[0], "levels", False, id=f"{kind}-{forms[0]}-levels")


def quantizers(name: str | None) -> tuple[Any, Any]:
    """Ours and snnTorch's: the same grid, or snnTorch's own quantizer and our levels equal to its."""
    if name is None:
        return False, False
    if name == "grid":
        return grid, grid
    from snntorch.functional import quant

    theirs = quant.state_quant(num_bits=3, threshold=1.0, upper_limit=0.5)
    held = dict(zip(theirs.__code__.co_freevars, theirs.__closure__, strict=True))
    return NearestLevel(tuple(held["levels"].cell_contents.tolist())), theirs


@last_bit
@pytest.mark.parametrize(("kind", "form", "quantizer", "graded"), list(cases()))
def test_spikes_and_states_are_those_of_snntorch(kind, form, quantizer, graded):
    twin.snntorch()
    ours, theirs, attributes = arguments(kind, form)
    our_quantizer, their_quantizer = quantizers(quantizer)
    shared: dict[str, Any] = {}
    if graded:
        factor = 0.3 if form == "scalar" else values()["graded"]
        shared |= {"graded_spikes_factor": factor, "learn_graded_spikes_factor": form == "learned"}
    x = twin.current((T, B, N))
    runs = variants(kind, (False,) if quantizer == "levels" else (False, True))
    build = getattr(twin.snn, kind)
    modules = tuple(build(**ours, **shared, **v, state_quant=our_quantizer) for v in runs)
    for variant, trace in zip(runs, twin.run_snnax(modules, x), strict=True):
        options = {**theirs, **shared, **variant, "state_quant": their_quantizer}
        neuron = twin.torch_neuron(kind, attributes, **options)
        twin.assert_same(
            trace, twin.run_snntorch(kind, neuron, x, variant.get("reset_delay", True)), str(variant)
        )
