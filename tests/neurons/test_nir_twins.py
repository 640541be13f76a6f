"""NIR's neurons: the neurons of snnTorch and Norse that are the same, and recordings of other simulators."""

from __future__ import annotations

import functools
from pathlib import Path

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from helpers import neurons as twin
from helpers.nir_neurons import DT, B, N, parameters

import snnax as snn

RECORDINGS = Path(__file__).parents[3] / "shared" / "data" / "nir_paper" / "01_lif"


SLOW, FAST = np.linspace(0.05, 0.97, 40), np.linspace(0.9, 0.1, 40)
LEAKY = {"tau": DT / (1 - SLOW), "r": 1 / (1 - SLOW), "dt": DT}
SYNAPTIC = {
    "tau_syn": DT / (1 - FAST), "tau_mem": DT / (1 - SLOW), "r": 1 / (1 - SLOW), "w_in": 1 / (1 - FAST), "dt": DT,
}  # fmt: skip
LATE = {"reset_delay": True}
SAME = {
    "LIF, Leaky to zero at once": (snn.LIF(**LEAKY), snn.Leaky(SLOW, reset_mechanism="zero", reset_delay=False)),
    "LIF, Leaky to zero": (snn.LIF(**LEAKY, **LATE, reset_at="start"), snn.Leaky(SLOW, reset_mechanism="zero")),
    "LIF, Leaky minus threshold": (snn.LIF(**LEAKY, **LATE, reset_mechanism="subtract"), snn.Leaky(SLOW)),
    "LIF, Leaky without reset": (snn.LIF(**LEAKY, reset_mechanism="none"), snn.Leaky(SLOW, reset_mechanism="none")),
    "CubaLIF, Synaptic to zero at once": (
        snn.CubaLIF(**SYNAPTIC), snn.Synaptic(FAST, SLOW, reset_mechanism="zero", reset_delay=False),
    ),
    "CubaLIF, Synaptic to zero": (
        snn.CubaLIF(**SYNAPTIC, **LATE), snn.Synaptic(FAST, SLOW, reset_mechanism="zero"),
    ),
    "CubaLIF, Synaptic minus threshold": (
        snn.CubaLIF(**SYNAPTIC, **LATE, reset_mechanism="subtract"), snn.Synaptic(FAST, SLOW),
    ),
    "IF, Leaky of beta 1": (snn.IF(1 / DT, dt=DT), snn.Leaky(1.0, reset_mechanism="zero", reset_delay=False)),
    "LI, Leaky without reset": (snn.LI(**LEAKY), snn.Leaky(SLOW, reset_mechanism="none")),
    "CubaLI, Synaptic without reset": (snn.CubaLI(**SYNAPTIC), snn.Synaptic(FAST, SLOW, reset_mechanism="none")),
    "I, Leaky of beta 1": (snn.I(1 / DT, dt=DT), snn.Leaky(1.0, reset_mechanism="none")),
}  # fmt: skip


def test_same_bits_as_the_neurons_of_snntorch():
    x = twin.current((100, 20, 40))
    ours = twin.run_snnax(tuple(a for a, _ in SAME.values()), x, {})
    theirs = twin.run_snnax(tuple(b for _, b in SAME.values()), x, {})
    for case, (module, _), a, b in zip(SAME, SAME.values(), ours, theirs, strict=True):
        if not module.spiking:
            a, b = ({k: v for k, v in t.items() if k != "spk"} for t in (a, b))
            assert all(np.array_equal(a[name], b[name]) for name in b), case
        else:
            twin.assert_same(a, b, case)


def test_same_gradients_as_the_neurons_of_snntorch():
    x = jnp.asarray(twin.current((6, 2, 40)))
    pairs = {case: pair for case, pair in SAME.items() if pair[0].spiking}

    def loss(x, module):
        (trace,) = twin.scan.__wrapped__((module,), {}, x)
        return jnp.mean(trace["spk"] * x) + jnp.mean(trace["mem"] ** 2)

    @jax.jit
    def gradients(x):
        return {case: [jax.grad(loss)(x, module) for module in pair] for case, pair in pairs.items()}

    for case, (ours, theirs) in gradients(x).items():
        largest = float(jnp.abs(theirs).max())
        assert largest > 0
        np.testing.assert_allclose(ours, theirs, rtol=0, atol=1e-6 * largest, err_msg=case)


def norse():
    return pytest.importorskip("norse.torch", reason="needs norse: pip install .[torch]")


def run_norse(cell, state, x):
    import torch

    rows = {name: [] for name in ("spk", *state._fields)}
    with torch.no_grad():
        for frame in torch.as_tensor(x):
            out, state = cell(frame, state)
            for name, value in {**state._asdict(), "spk": out}.items():
                rows[name].append(value)
        return {name: torch.stack(row).numpy() for name, row in rows.items()}


def norse_case(kind):
    """A cell of Norse with its state at zero, and the neuron that is the same."""
    import torch

    norse_torch = norse()
    from norse.torch.functional.reset import reset_subtract

    p = parameters("CubaLIF")
    zero = torch.zeros(B, N, dtype=torch.float64)
    firing = {k: torch.tensor(p[k]) for k in ("v_leak",)}
    firing |= {"v_th": torch.tensor(p["v_threshold"]), "v_reset": torch.tensor(p["v_reset"])}
    inverse = {"tau_mem_inv": 1 / torch.tensor(p["tau_mem"]), "tau_syn_inv": 1 / torch.tensor(p["tau_syn"])}
    ours = {name: p[name] for name in ("v_leak", "v_threshold", "v_reset")}
    cuba = {
        "tau_syn": p["tau_syn"],
        "tau_mem": p["tau_mem"],
        "w_in_scaling": "impulse",
        "membrane_current": "undecayed",
    }
    at = norse_torch.functional
    if kind.startswith("LIFBoxCell"):
        subtract = {"reset_method": reset_subtract} if "subtract" in kind else {}
        box = at.lif_box.LIFBoxParameters(inverse["tau_mem_inv"], **firing, **subtract)
        cell = norse_torch.LIFBoxCell(box, dt=DT)
        option = {"reset_mechanism": "subtract"} if subtract else {}
        return cell, at.lif_box.LIFBoxFeedForwardState(zero), snn.LIF(p["tau_mem"], **ours, **option)
    if kind == "LIBoxCell":
        box = at.leaky_integrator_box.LIBoxParameters(inverse["tau_mem_inv"], firing["v_leak"])
        return norse_torch.LIBoxCell(box, dt=DT), at.leaky_integrator_box.LIBoxState(zero), snn.LI(
            p["tau_mem"], v_leak=p["v_leak"]
        )  # fmt: skip
    if kind == "LIFCell":
        cell = norse_torch.LIFCell(norse_torch.LIFParameters(**inverse, **firing), dt=DT)
        return cell, at.lif.LIFFeedForwardState(v=zero, i=zero), snn.CubaLIF(**cuba, **ours)
    if kind == "LICell":
        cell = norse_torch.LICell(at.leaky_integrator.LIParameters(**inverse, v_leak=firing["v_leak"]), dt=DT)
        return cell, at.leaky_integrator.LIState(v=zero, i=zero), snn.CubaLI(**cuba, v_leak=p["v_leak"])
    iaf = at.iaf.IAFParameters(firing["v_th"], firing["v_reset"])
    return norse_torch.IAFCell(iaf, dt=DT), at.iaf.IAFFeedForwardState(zero), snn.IF(
        1 / DT, p["v_threshold"], p["v_reset"], dt=DT
    )  # fmt: skip


@pytest.mark.parametrize(
    "kind", ["LIFBoxCell", "LIFBoxCell, subtract", "LIFCell", "IAFCell", "LIBoxCell", "LICell"]
)
def test_same_as_the_cell_of_norse(kind):
    norse()
    cell, state, neuron = norse_case(kind)
    x = 3 * twin.current((300, B, N), dtype=np.float64)
    theirs = run_norse(cell, state, x)
    with jax.enable_x64(True):
        (ours,) = twin.run_snnax((neuron,), x, {})
    if neuron.spiking:
        assert 0.02 < theirs["spk"].mean() < 0.98
        assert np.array_equal(ours["spk"], theirs["spk"])
    for mine, yours in {"mem": "v", "syn": "i"}.items():
        if yours in theirs:
            np.testing.assert_allclose(ours[mine], theirs[yours], rtol=0, atol=1e-11)


# --- recordings of other simulators ---------------------------------------------------------------

SUBTRACT = {"reset_mechanism": "subtract"}
READINGS = {
    "norse": ({}, 1.0, 0, 2.4e-8),
    "snntorch": ({}, 0.04, 0, 4e-8),
    "spinnaker2": ({}, 0.04, 0, 2e-5),
    "nengo": ({"discretization": "exact"}, 0.1, 0, 1e-9),
    "exact": ({"discretization": "exact", **SUBTRACT}, 1.0, 0, 6.3e-4),
    "sinabs": ({"discretization": "exact_decay", **SUBTRACT}, 1.0, 0, 1.6e-8),
    "rockpool": ({"discretization": "exact_decay", **SUBTRACT}, 1.0, 0, 1.6e-8),
    "spyx": ({"threshold_test": "before", **SUBTRACT}, 1.0, 0, 5e-8),
    "lava_cpu_float": ({}, 1.0, 1, 4e-8),
    "lava_cpu_fixed": ({}, None, 1, None),
    "lava_loihi_fixed": ({}, None, 1, None),
}
"""Recording -> options, scale of its membrane, steps that its input is late, largest error of the membrane.

What is recorded in fixed point has no common scale: only its spikes are compared.
"""


@functools.cache
def recording(name):
    path = RECORDINGS / f"lif_{name}.csv"
    if not path.exists():
        pytest.skip("needs the recordings of the NIR paper in shared/data/nir_paper")
    return np.loadtxt(path, delimiter=",")


@functools.cache
def replayed(precision):
    """LIF with tau = 2.5 ms and threshold 0.1 on the recorded input: traces by options, ``[T, late]``."""
    options = {str(options): options for options, *_ in READINGS.values()}
    x = (recording("norse")[:, 0] > 0).astype(precision)
    assert x.sum() == 34
    x = np.stack([x, np.roll(x, 1)], axis=1)[..., None]
    with jax.enable_x64(precision == "float64"):
        modules = tuple(snn.LIF(2.5e-3, v_threshold=0.1, dt=DT, **o) for o in options.values())
        found = twin.run_snnax(modules, x, {})
    return {
        key: {name: value[..., 0] for name, value in t.items()} for key, t in zip(options, found, strict=True)
    }


@pytest.mark.parametrize("name", READINGS)
@pytest.mark.parametrize(("precision", "rounding"), [("float32", 6e-8), ("float64", 0)])
def test_reproduces_the_recording(name, precision, rounding):
    options, scale, late, bound = READINGS[name]
    _, voltage, spikes = recording(name).T
    ours = replayed(precision)[str(options)]
    assert np.flatnonzero(spikes).size == 4
    assert np.flatnonzero(ours["spk"][:, late]).tolist() == np.flatnonzero(spikes).tolist()
    if scale is not None:
        assert np.abs(ours["mem"][:, late] - scale * voltage).max() < bound + rounding


def test_recordings_tell_the_options_apart():
    found = replayed("float64")
    assert len(found) == 5
    for name, (options, scale, late, bound) in READINGS.items():
        if scale is not None:
            voltage = scale * recording(name)[:, 1]
            assert [k for k, t in found.items() if np.abs(t["mem"][:, late] - voltage).max() < bound] == [
                str(options)
            ]
