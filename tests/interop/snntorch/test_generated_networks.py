"""At least fifty random networks over every module kind: the port computes the same spikes."""

from __future__ import annotations

import numpy as np
import pytest

torch = pytest.importorskip("torch")
pytest.importorskip("snntorch")

from helpers import generated  # noqa: E402

from snnax import interop  # noqa: E402

CASES = generated.cases(54)


@pytest.mark.parametrize(("build", "seed"), CASES, ids=[f"{b.__name__}-{s}" for b, s in CASES])
def test_port_agrees_in_float32(build, seed):
    case = build(seed)
    model, variables = interop.from_snntorch(case.net, case.x[0])
    report = interop.crossvalidate(case.net, (model, variables), case.x)
    assert report.agree and report.unexplained == 0, str(report)
    assert sum(layer.neuron_steps for layer in report.layers) > 100


@pytest.mark.parametrize(("build", "seed"), CASES[::3], ids=[f"{b.__name__}-{s}" for b, s in CASES[::3]])
def test_port_is_equal_in_float64(build, seed):
    case = build(seed)
    model, variables = interop.from_snntorch(case.net, case.x[0])
    report = interop.crossvalidate(case.net, (model, variables), case.x.astype(np.float64))
    assert report.agree, str(report)
    assert all(layer.end_to_end.spike_mismatches == 0 for layer in report.layers), str(report)


@pytest.mark.parametrize(("build", "seed"), CASES[::5], ids=[f"{b.__name__}-{s}" for b, s in CASES[::5]])
def test_there_and_back_gives_the_same_torch_network(build, seed):
    case = build(seed)
    back = interop.to_snntorch(*interop.from_snntorch(case.net, case.x[0]))
    report = interop.crossvalidate(case.net, back, case.x)
    assert report.agree, str(report)
    before, after = case.net.state_dict(), back.state_dict()
    counters = {k for k in before if k.endswith("num_batches_tracked")}
    assert set(before) - counters == set(after) - counters
    for key in set(before) - counters:
        assert torch.equal(before[key].reshape(-1).float(), after[key].reshape(-1).float()), key


@pytest.mark.parametrize(("build", "seed"), CASES[1::6], ids=[f"{b.__name__}-{s}" for b, s in CASES[1::6]])
def test_file_round_trip_is_exact(build, seed, tmp_path):
    case = build(seed)
    model, variables = interop.from_snntorch(case.net, case.x[0])
    path = tmp_path / "net.nir"
    interop.write_nir(path, interop.to_nir(model, variables, dropout="keep"), extensions=True)
    report = interop.crossvalidate((model, variables), interop.from_nir(path), case.x)
    assert report.agree, str(report)
    assert all(layer.end_to_end.spike_mismatches == 0 for layer in report.layers)
    assert all(layer.end_to_end.max_mem_gap == 0 for layer in report.layers), str(report)


def test_silent_networks_would_prove_nothing():
    """The generator makes most layers spike."""
    rates = []
    for build, seed in CASES[::6]:
        case = build(seed)
        model, variables = interop.from_snntorch(case.net, case.x[0])
        from snnax.interop.crossvalidation import FlaxSide

        rates += [float((n.spk > 0).mean()) for n in FlaxSide(model, variables).run(case.x).nodes.values()]
    assert np.mean(np.array(rates) > 0) > 0.85
