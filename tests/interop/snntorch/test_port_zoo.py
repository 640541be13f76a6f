"""Networks as users write them: ported, proven, written back, proven again."""

from __future__ import annotations

import numpy as np
import pytest

pytest.importorskip("torch")
pytest.importorskip("snntorch")

from helpers.torch_zoo import CASES, T

from snnax import interop


@pytest.mark.parametrize("case", CASES, ids=lambda case: case.name)
def test_port_and_way_back(case):
    net, x = case.build(), np.asarray(case.sequence(T))
    model, variables = interop.from_snntorch(net, case.sample)
    report = interop.crossvalidate(net, (model, variables), x)
    assert report.agree, str(report)
    back = interop.to_snntorch(model, variables)
    assert interop.crossvalidate((model, variables), back, x).agree
    exact = interop.crossvalidate(net, (model, variables), x.astype(np.float64))
    assert exact.agree, str(exact)
    assert all(layer.end_to_end.spike_mismatches == 0 for layer in exact.layers), str(exact)
