"""``snnax check``: which network of a file, with what, and what it says; whatever is wrong is one line and status 2."""

from __future__ import annotations

import json

import numpy as np
import pytest

pytest.importorskip("snntorch")

from snnax import cli

FILE = """
import sys
import torch
import snntorch as snn
from beside import SIZE
from torch import nn

print("imported")


class Net(nn.Module):
    def __init__(self, features=SIZE, beta=0.9):
        super().__init__()
        self.fc = nn.Linear(features, 4)
        self.drop = nn.Dropout(0.5)
        self.lif = snn.Leaky(beta=beta)

    def forward(self, x):
        mem, out = self.lif.init_leaky(), []
        for step in range(x.shape[0]):
            spk, mem = self.lif(self.drop(self.fc(x[step])), mem)
            out.append(spk)
        return torch.stack(out)


class Stops(Net):
    def forward(self, x):
        spikes = super().forward(x)
        spikes.register_hook(print)
        return spikes if spikes.sum() > 3 else spikes * 2


class Two(Net):
    def forward(self, x, y):
        return super().forward(x + y)


def build(beta):
    return Net(beta=beta)


ready = Net()
number = 3
"""


@pytest.fixture
def file(tmp_path):
    (tmp_path / "beside.py").write_text("SIZE = 6\n")
    (tmp_path / "net.py").write_text(FILE)
    np.save(tmp_path / "x.npy", np.ones((5, 2, 6), np.float32))
    return tmp_path / "net.py"


@pytest.mark.parametrize("target", ["Net", "Net()", "Net(6, beta=0.5)", "build(0.5)", "ready"])
def test_a_network_that_ports(file, capsys, target):
    assert cli.main(["check", f"{file}:{target}", "--sample", "5,2,6"]) == 0
    said = capsys.readouterr()
    assert "nothing blocks" in said.out and "interop.from_snntorch(net, sample)" in said.out
    assert "imported" not in said.out and "imported" in said.err


def test_all_that_blocks(file, capsys):
    assert (
        cli.main(["check", f"{file}:Stops", "--input", str(file.parent / "x.npy"), "--train", "--json"]) == 1
    )
    content = json.loads(capsys.readouterr().out)
    number = {line.strip(): count for count, line in enumerate(FILE.split("\n"), 1)}
    assert {(b["line"], b["module"]) for b in content["blockers"]} == {
        (f"net.py:{number['self.drop = nn.Dropout(0.5)']}", "drop"),
        (f"net.py:{number['spikes.register_hook(print)']}", "Stops"),
        (f"net.py:{number['return spikes if spikes.sum() > 3 else spikes * 2']}", "Stops"),
    }
    assert not content["ok"] and all(number[b["source"]] and b["edit"] for b in content["blockers"])


def test_several_arguments(file, capsys):
    x = str(file.parent / "x.npy")
    assert cli.main(["check", f"{file}:Two", "--sample", "5,2,6", "--input", x]) == 0


BAD = {
    "no file": (["none.py:Net"], "no such file"),
    "no python": (["net.txt"], "FILE.py:NAME"),
    "no name": (["{file}"], "Net, Stops, Two; pass one of them, as net.py:Net"),
    "other name": (["{file}:Nett"], "net.py has no Nett; its networks are Net, Stops, Two"),
    "no call": (["{file}:Net)("], "FILE.py:NAME"),
    "an expression": (["{file}:1+1"], "FILE.py:NAME"),
    "no literal": (["{file}:Net(x)"], "arguments are numbers"),
    "wrong arguments": (["{file}:Net(1,2,3)", "--sample", "2,2,6"], "TypeError"),
    "no arguments": (["{file}:build", "--sample", "2,2,6"], "build(784, beta=0.9)"),
    "no module": (["{file}:number()"], "TypeError"),
    "a number": (["{file}:SIZE"], "TypeError"),
    "no sample": (["{file}:Net"], "--sample 25,4,6"),
    "no shape": (["{file}:Net", "--sample", "a,b"], "--sample 25,4,6"),
    "an empty shape": (["{file}:Net", "--sample", "5,0,6"], "--sample 25,4,6"),
    "another shape": (["{file}:Net", "--sample", "5,2,7"], "shape"),
    "no array": (["{file}:Net", "--input", "{file}"], ".npy"),
}


def test_a_file_without_networks(tmp_path, capsys):
    (tmp_path / "net.py").touch()
    assert cli.main(["check", str(tmp_path / "net.py")]) == 2
    assert "net.py has no class of torch.nn.Module of its own; pass a name" in capsys.readouterr().err


@pytest.mark.parametrize("case", BAD)
def test_bad_input_is_status_2_and_one_line(file, capsys, case):
    arguments, words = BAD[case]
    assert cli.main(["check", *(a.replace("{file}", str(file)) for a in arguments)]) == 2
    said = capsys.readouterr()
    lines = [line for line in said.err.splitlines() if line != "imported"]
    assert len(lines) == 1 and lines[0].startswith("snnax check: ") and words in lines[0], said.err
    assert not said.out


@pytest.mark.parametrize(
    ("body", "words"),
    [
        ("import no_such_package_at_all", "no_such_package_at_all"), ("x = 1 / 0", "broken.py:1: importing it raises"),
        ("def f(:", "broken.py, line 1). Mend that line"), ("raise SystemExit(3)", "__main__"),
    ],
)  # fmt: skip
def test_a_file_that_cannot_be_imported(tmp_path, capsys, body, words):
    path = tmp_path / "broken.py"
    path.write_text(body)
    assert cli.main(["check", f"{path}:Net", "--sample", "2,2", "--json"]) == 2
    content = json.loads(capsys.readouterr().out)
    assert words in content["error"]["message"] and content["error"]["command"] == "snnax check"
