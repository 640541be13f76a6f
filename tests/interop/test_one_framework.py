"""No framework needs another: each is converted and cross-validated where the other is not installed."""

from __future__ import annotations

import subprocess
import sys
import textwrap

import pytest

pytest.importorskip("snntorch")

WALL = """
import sys, warnings
warnings.simplefilter("ignore")
class Wall:
    def find_spec(self, name, path=None, target=None):
        if name.partition(".")[0] == {missing!r}:
            raise ModuleNotFoundError(f"No module named {{name!r}}", name=name)
sys.meta_path.insert(0, Wall())
import numpy as np, torch
from torch import nn
from snnax import interop
x = torch.rand(5, 2, 3)
"""
USES = {
    "snntorch": """
        import norse.torch as norse
        net = norse.SequentialState(nn.Linear(3, 2), norse.LIFCell(), nn.Linear(2, 2), norse.LIFRecurrentCell(2, 2))
        model, variables = interop.from_norse(net, x[0])
        assert interop.crossvalidate(net, (model, variables), x).agree
        back = interop.to_norse(model, variables, x[0].numpy())
    """,
    "norse": """
        import snntorch
        net = nn.Sequential(nn.Linear(3, 2), snntorch.RLeaky(beta=0.9, linear_features=2, init_hidden=True))
        model, variables = interop.from_snntorch(net, x[0])
        assert interop.crossvalidate(net, (model, variables), x).agree
        back = interop.to_snntorch(model, variables, into=net)
    """,
}


@pytest.mark.parametrize("missing", USES)
def test_a_framework_works_without_the_other(missing: str):
    code = WALL.format(missing=missing) + textwrap.dedent(USES[missing])
    code += f"\nassert {missing!r} not in sys.modules\n"
    ran = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=False)
    assert ran.returncode == 0, ran.stderr[-2000:]


@pytest.mark.parametrize("missing", USES)
def test_what_is_missing_is_said(missing: str):
    call = "interop.from_snntorch" if missing == "snntorch" else "interop.from_norse"
    code = WALL.format(missing=missing) + textwrap.dedent(f"""
        from snnax.errors import MissingDependencyError
        try:
            {call}(nn.Linear(3, 2), x[0])
        except MissingDependencyError as error:
            assert {missing!r} in str(error) and "pip install" in str(error)
        else:
            raise SystemExit("no error")
    """)
    ran = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=False)
    assert ran.returncode == 0, ran.stderr[-2000:]
