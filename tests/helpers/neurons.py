"""Run one neuron for many steps in snnax and in snnTorch, and hold the two to each other."""

from __future__ import annotations

import warnings
from collections.abc import Mapping
from functools import partial
from typing import Any

import flax.linen as nn
import jax
import jax.numpy as jnp
import numpy as np
import pytest

import snnax as snn
from snnax.neurons import SpikingNeuron

Traces = dict[str, np.ndarray]

STATES = {
    "Leaky": ("mem",),
    "Synaptic": ("syn", "mem"),
    "Alpha": ("syn_exc", "syn_inh", "mem"),
    "Lapicque": ("mem",),
    "RLeaky": ("spk", "mem"),
    "RSynaptic": ("spk", "syn", "mem"),
}
SMALL = {
    "Leaky": {"beta": 0.9},
    "Synaptic": {"alpha": 0.5, "beta": 0.9},
    "Alpha": {"alpha": 0.9, "beta": 0.8, "reset_mechanism": "subtract"},
    "Lapicque": {"R": 2.0, "C": 5.0, "time_step": 0.5},
    "RLeaky": {"beta": 0.9, "V": 0.5, "all_to_all": False},
    "RSynaptic": {"alpha": 0.5, "beta": 0.9, "V": 0.5, "all_to_all": False},
}
"""One way to build each neuron: the table that the laws run over."""

LEARNED: dict[str, dict[str, Any]] = {
    "Leaky": {"learn_beta": True, "learn_graded_spikes_factor": True, "learn_threshold": True},
    "Synaptic": {"learn_alpha": True, "learn_beta": True},
    "Alpha": {"learn_alpha": True, "learn_beta": True},
    "Lapicque": {"R": False, "C": False, "beta": 0.7, "learn_beta": True, "threshold": 0.1},
    "RLeaky": {"all_to_all": True, "linear_features": 4},
    "RSynaptic": {"all_to_all": True, "linear_features": 4, "learn_recurrent": False},
}
"""Arguments that make the same neurons have variables."""


def snntorch() -> Any:
    """The installed snnTorch, or skip the test."""
    return pytest.importorskip(
        "snntorch", reason="the twin tests need torch and snntorch: pip install .[torch]"
    )


def current(shape: tuple[int, ...], seed: int = 0, dtype: Any = np.float32) -> np.ndarray:
    """An input current that makes most neurons spike now and then."""
    return np.random.default_rng(seed).uniform(-0.6, 1.2, shape).astype(dtype)


def build(kind: str, **options: Any) -> SpikingNeuron:
    """The neuron of :data:`SMALL` with more arguments."""
    return getattr(snn, kind)(**{**SMALL[kind], **options})


def weights(module: nn.Module, x: Any, seed: int = 0) -> dict[str, Any]:
    """Initial variables of a module, without its hidden state."""
    variables = module.init(jax.random.key(seed), jnp.asarray(x))
    return {name: value for name, value in variables.items() if name != "hidden"}


def zeros(module: SpikingNeuron, x: jax.Array) -> tuple[jax.Array, ...]:
    """The state before the first step."""
    return tuple(jnp.zeros_like(x) for _ in module.state_names)


Modules = tuple[SpikingNeuron, ...]


@partial(jax.jit, static_argnums=0)
def scan(modules: Modules, variables: Any, x: jax.Array) -> tuple[dict[str, jax.Array], ...]:
    """Spikes and states ``[T, B, ...]`` of neurons with explicit states, all compiled as one program."""

    def step(states: Any, frame: jax.Array) -> Any:
        done = [_named(m, m.apply(variables, frame, *s)) for m, s in zip(modules, states, strict=True)]
        after = [tuple(d[name] for name in m.state_names) for m, d in zip(modules, done, strict=True)]
        return tuple(after), tuple(done)

    return jax.lax.scan(step, tuple(zeros(m, x[0]) for m in modules), x)[1]


def _named(module: SpikingNeuron, returned: tuple[jax.Array, ...]) -> dict[str, jax.Array]:
    """What a neuron returned, by name; recurrent ones have ``spk`` as their first state."""
    names = module.state_names if module.state_names[0] == "spk" else ("spk", *module.state_names)
    return dict(zip(names, returned, strict=True))


def run_snnax(modules: Modules, x: np.ndarray, variables: Any = None) -> list[Traces]:
    """:func:`scan` as NumPy arrays, by default with the first one's initial weights for all of them."""
    variables = weights(modules[0], x[0, :1]) if variables is None else variables
    return [
        {n: np.asarray(v) for n, v in trace.items()} for trace in scan(modules, variables, jnp.asarray(x))
    ]


def torch_neuron(kind: str, values: Mapping[str, Any] | None = None, **options: Any) -> Any:
    """A snnTorch neuron, in double precision on request.

    Args:
        kind: class name.
        values: attributes to set after construction, for what its constructor does not take.
        **options: its arguments; NumPy arrays become tensors.
    """
    import torch

    def tensors(value: Any) -> Any:
        return torch.tensor(value) if isinstance(value, np.ndarray) else value

    with warnings.catch_warnings():
        warnings.filterwarnings("ignore", "Inhibition is an unstable feature")
        neuron = getattr(snntorch(), kind)(**{name: tensors(value) for name, value in options.items()})
    for name, value in (values or {}).items():
        setattr(neuron, name, tensors(np.asarray(value)))
    return neuron


def torch_states(kind: str, x: Any) -> tuple[Any, ...]:
    """Zeros in the shape of one step's input."""
    return tuple(x.new_zeros(x.shape) for _ in STATES[kind])


def torch_step(kind: str, neuron: Any, x: Any, states: tuple[Any, ...], late: bool = True) -> tuple[Any, Any]:
    """One step: ``(spikes, states)``, in one dtype.

    ``late=False`` repairs snnTorch's RSynaptic, which ignores ``reset_delay=False``: to its own step it
    applies the correction that ``snntorch.Synaptic`` applies.
    """
    spk, *after = neuron(x, *states)
    if kind == "RSynaptic" and not late:
        (syn, mem), before = after, states[-1]
        change = spk - (before > neuron.threshold).to(mem.dtype)
        if neuron.reset_mechanism == "subtract":
            mem = mem - change * neuron.threshold
        elif neuron.reset_mechanism == "zero":
            mem = mem - change * mem
        after = [syn, mem]
    return spk, tuple([spk.to(x.dtype), *after] if STATES[kind][0] == "spk" else after)


def run_snntorch(kind: str, neuron: Any, x: np.ndarray, late: bool = True) -> Traces:
    """Spikes and states ``[T, B, ...]`` of a snnTorch neuron, with explicit states from zero."""
    import torch

    rows: dict[str, list[Any]] = {name: [] for name in ("spk", *STATES[kind])}
    with torch.no_grad():
        frames = torch.as_tensor(x)
        states = torch_states(kind, frames[0])
        for frame in frames:
            spk, states = torch_step(kind, neuron, frame, states, late)
            for name, value in {**dict(zip(STATES[kind], states, strict=True)), "spk": spk}.items():
                rows[name].append(value)
        return {name: torch.stack(row).numpy() for name, row in rows.items()}


def assert_same(ours: Traces, theirs: Traces, case: str = "", ulp: float = 0) -> None:
    """Spikes the same, and states to the last bit (or to ``ulp`` roundings of the largest state).

    Also that the run is no trivial one: some neurons spike, not all at once.
    """
    assert ours.keys() == theirs.keys()
    assert 0 < theirs["spk"].mean() < 1, f"{case}: a run without spikes, or without silence, shows nothing"
    mismatches = int((ours["spk"] != theirs["spk"]).sum())
    assert mismatches == 0, f"{case}: {mismatches} of {theirs['spk'].size} spikes differ"
    for name in ours.keys() - {"spk"}:
        assert ours[name].dtype == theirs[name].dtype
        if ulp:
            bound = ulp * np.spacing(np.abs(theirs[name]).max())
            np.testing.assert_allclose(
                ours[name], theirs[name], rtol=0, atol=bound, err_msg=f"{case}: {name}"
            )
        else:
            assert np.array_equal(ours[name], theirs[name]), (
                f"{case}: {_first_difference(name, ours, theirs)}"
            )


def _first_difference(name: str, ours: Traces, theirs: Traces) -> str:
    where = tuple(int(i) for i in np.argwhere(ours[name] != theirs[name])[0])
    return f"{name} differs first at {where}: {ours[name][where]!r}, snnTorch {theirs[name][where]!r}"


def assert_gradients(
    ours: Mapping[str, Any],
    theirs: Mapping[str, Any],
    case: str,
    zero: tuple[str, ...] = (),
    rtol: float = 1e-5,
) -> None:
    """Each gradient within ``rtol`` of the largest entry of snnTorch's; those named in ``zero`` are zero."""
    assert ours.keys() == theirs.keys()
    for name, value in theirs.items():
        expected = np.asarray(value)
        largest = np.abs(expected).max()
        assert (largest == 0) == (name in zero), f"{case}: the largest gradient of {name} is {largest}"
        error = np.abs(np.asarray(ours[name]) - expected).max() / (largest or 1)
        assert error < rtol, f"{case}: gradient of {name} differs by {error:.1e} of its largest entry"
