"""The benchmark for a GPU, run without one: rows that fail or have no time are named, goals are judged, and snnax's
steps lower for CUDA to what is good there."""

import contextlib
import json
import re
import sys
from pathlib import Path

import jax
import numpy as np
import pytest

sys.path.insert(0, str(Path(__file__).parents[1]))

from benchmarks import gpu, gpu_rows, gpu_table
from benchmarks.peers import registry
from benchmarks.peers.registry import CANDIDATES
from benchmarks.within_budget import MEASURED, NO_TIME, NOT_REACHED, Budget, LeftOut, Row, run
from benchmarks.workloads import open_neuromorphic as onm
from benchmarks.workloads.spec import data
from benchmarks.workloads.table import WORKLOADS

SIZE, STEPS, BATCH = 8, 4, 2


class Time:
    """A clock that stands still unless something takes time."""

    now = 0.0

    def __call__(self):
        return self.now


def ready(known=()):
    return lambda: (lambda: None, dict(known))


def broken(error, first=0):
    """A candidate that fails when it is built, or, with ``first``, in a later call."""
    calls = []

    def step():
        calls.append(1)
        if len(calls) > first:
            raise error

    def build():
        if not first:
            raise error
        return step, {}

    return build


def test_a_failing_candidate_is_named_and_the_others_go_on():
    candidates = {
        "memory": broken(MemoryError("out of it")),
        "absent": broken(LeftOut("not there: cupy")),
        "late": broken(RuntimeError("an illegal\n address"), first=2),
        "good": ready({"loss": 1.0}),
    }
    written = []
    rows = [Row("one", "", candidates, {"operations": 10}), Row("two", "", {"good": ready()})]
    run(rows, Budget(100), lambda results: written.append([row["state"] for row in results]), rounds=3)
    assert written == [[NOT_REACHED] * 2, [MEASURED, NOT_REACHED], [MEASURED] * 2, [MEASURED] * 2]
    found = run(rows, Budget(100), lambda _: None, rounds=3)[0]["candidates"]
    assert found["memory"]["state"] == "failed: MemoryError: out of it"
    assert found["absent"]["state"] == "not there: cupy"
    assert found["late"]["state"] == "failed: RuntimeError: an illegal address"
    assert found["good"]["state"] == MEASURED and len(found["good"]["times"]) == 3
    assert found["good"]["operations_per_s"] == 10 / found["good"]["median"]


def test_a_row_that_fails_as_a_whole_is_named():
    @contextlib.contextmanager
    def around():
        raise RuntimeError("no device")
        yield

    rows = [Row("one", "", {"good": ready()}, around=around), Row("two", "", {"good": ready()})]
    states = [row["state"] for row in run(rows, Budget(100), lambda _: None)]
    assert states == ["failed: RuntimeError: no device", MEASURED]


def test_what_there_is_no_time_for_is_named():
    clock = Time()

    def slow():
        clock.now += 60
        return lambda: None, {}

    rows = [Row("first", "", {"a": slow, "b": slow, "c": slow}), Row("second", "", {"a": slow})]
    first, second = run(rows, Budget(100, clock), lambda _: None, rounds=3)
    assert [entry["state"] for entry in first["candidates"].values()] == [MEASURED, MEASURED, NO_TIME]
    assert len(first["candidates"]["a"]["times"]) == 1  # what was built gets one round
    assert second["state"] == second["candidates"]["a"]["state"] == NO_TIME


def test_a_slow_step_is_measured_once():
    found = run([Row("one", "", {"a": ready()})], Budget(100), lambda _: None, rounds=3, limit=0)
    entry = found[0]["candidates"]["a"]
    assert len(entry["times"]) == 1 and "measured once" in entry["state"]


def test_the_rows_are_all_sizes_precisions_and_networks_those_with_goals_first():
    rows = gpu_rows.all_rows("gpu", small=False)
    names = [row.name for row in rows]
    wanted = {
        f"onm-{size}-{precision}-{way}"
        for size in onm.SIZES for precision in onm.PRECISIONS for way in ("forward", "backward")
    }  # fmt: skip
    assert len(names) == len({*names})
    assert {*names} == wanted | {f"network-{name}" for name in (*WORKLOADS, "residual")}
    goals = {row.name: row.facts["goal_s"] for row in rows if row.facts.get("goal_s")}
    assert names[: len(goals)] == [*goals] and len(goals) == len(onm.GOALS)
    assert goals["onm-16384-bfloat16-backward"] == 0.016
    full = rows[0].candidates
    assert {"copy", "products", "scan-8", "spyx", "spikingjelly", "spikingjelly triton"} <= {*full}
    assert sum(name.startswith("snnax") for name in full) == 5


def test_operations_and_bytes():
    workload = onm.row(512, "tf32", train=True)
    assert onm.operations(workload) == 2 * 2 * 500 * 16 * 512 * 512
    values = 500 * 16 * 512
    assert onm.least_bytes(workload) == 2 * 4 * (2 * values + 512 * 512) + 28 * values


@pytest.mark.parametrize(
    ("kind", "median", "met", "text"),
    [
        ("NVIDIA H100 80GB HBM3", 0.002, True, "goal 2.3 ms: met, 0.87 times the goal by snnax chunk=T/5"),
        ("NVIDIA H200", 0.0046, False, "goal 2.3 ms: missed, 2.00 times the goal by snnax chunk=T/5"),
        ("Tesla T4", 0.0046, None, "goal 2.3 ms: not judged on Tesla T4, 2.00 times"),
    ],
)
def test_goals_are_judged_by_the_best_form_of_snnax(kind, median, met, text):
    candidates = {"snnax": {"median": 1.0}, "snnax chunk=T/5": {"median": median}, "spyx": {"median": 1e-9}}
    row = gpu_table.judged({"goal_s": 2.3e-3, "candidates": candidates}, {"platform": "gpu", "kind": kind})
    assert row["goal"]["met"] is met and row["goal"]["text"].startswith(text)


def test_the_tables_name_what_failed_and_what_was_not_run_and_end_with_the_goals():
    candidates = {"spyx": broken(LeftOut("not there: spyx")), "cupy": broken(OSError("no cupy"))}
    rows = [Row("one", "", candidates, {"goal_s": 1e-3}), Row("two", "", {"snnax": ready()})]
    head = {
        "device": {"platform": "cpu", "kind": "cpu", "torch": ""},
        "machine": {},
        "versions": {},
        "small": True,
    }
    results = run(rows, Budget(100), lambda _: None)
    found = {**head, "seconds": 1, "budget": 2, "not reachable": {}, "rows": results}
    text = gpu_table.shown(found)
    assert (
        "spyx                                not there: spyx" in text and "failed: OSError: no cupy" in text
    )
    assert text.endswith("one: goal 1 ms: not measured") and "\n  snnax " in text
    found["rows"] = run(rows, Budget(0), lambda _: None)
    assert f"one: {NO_TIME}\ntwo: {NO_TIME}" in gpu_table.shown(found)


def test_a_goal_that_was_not_measured_is_neither_met_nor_missed():
    row = gpu_table.judged({"goal_s": 2.3e-3, "candidates": {"snnax": {"state": NO_TIME}}}, {})
    assert row["goal"]["met"] is None and "not measured" in row["goal"]["text"]


@pytest.fixture
def environment(monkeypatch):
    """What ``main`` sets is as before after the test."""
    for name in gpu.ENVIRONMENT:
        monkeypatch.setenv(name, {"JAX_PLATFORMS": "cpu"}.get(name, ""))


def main(tmp_path, *arguments):
    path = tmp_path / "found.json"
    gpu.main(["--platform", "cpu", "--small", "--json", str(path), *arguments])
    return path


def test_the_whole_script_on_a_cpu(environment, tmp_path, capsys):
    path = main(tmp_path, "--rounds", "1", "--rows", "onm-16-tf32-forward")
    found = json.loads(path.read_text())
    (row,) = found["rows"]
    entries = row["candidates"]
    assert row["state"] == entries["snnax"]["state"] == entries["copy"]["state"] == MEASURED
    assert entries["snnax"]["loss"] == entries["snnax chunk=T/5"]["loss"] > 0
    assert entries["snnax"]["compile_s"] > 0 and entries["snnax"]["program_bytes"] > 0
    assert entries["products"]["operations_per_s"] > 0
    assert entries["copy"]["bytes_per_s"] > 0 and "operations_per_s" not in entries["copy"]
    for name in ("spyx", "spikingjelly"):
        assert entries[name]["state"] == (f"not there: {name}" if CANDIDATES[name].missing else MEASURED)
    assert found["device"]["platform"] == "cpu" and not path.with_suffix(".part").exists()
    before = capsys.readouterr().out
    gpu.main(["--show", str(path)])
    assert capsys.readouterr().out == before and "snnax chunk=T/5" in before


def test_without_time_every_row_is_named(environment, tmp_path):
    found = json.loads(main(tmp_path, "--budget", "0").read_text())
    rows = gpu_rows.all_rows("cpu", small=True)
    assert [row["name"] for row in found["rows"]] == [row.name for row in rows]
    assert {row["state"] for row in found["rows"]} == {NO_TIME}


def test_without_a_gpu_it_says_how_to_try_it(environment, tmp_path):
    with pytest.raises(SystemExit, match=r"JAX sees no GPU here.*--platform cpu --small"):
        gpu.main(["--json", str(tmp_path / "x.json")])
    with pytest.raises(SystemExit, match=r"no such row\. There are onm-"):
        main(tmp_path, "--rows", "onm-3")


def test_torch_beside_a_gpu_that_it_does_not_see_is_left_out(monkeypatch):
    monkeypatch.setattr(gpu_rows, "_without_cuda", lambda: "torch sees no CUDA")
    rows = {row.name: row for row in gpu_rows.all_rows("gpu", small=True)}
    for name in ("onm-24-tf32-backward", "network-mlp"):
        with pytest.raises(LeftOut, match="sees no CUDA"):
            rows[name].candidates["spikingjelly"]()


@pytest.mark.parametrize("name", ["snntorch", "spikingjelly"])
@pytest.mark.filterwarnings("ignore")
def test_torch_peers_compute_on_the_device_of_their_weights(name, monkeypatch):
    """On torch's "meta" device, which refuses arrays of a CPU, a step comes as far as its loss, which has no number."""
    if CANDIDATES[name].missing:
        pytest.skip(f"not there: {CANDIDATES[name].missing}")
    import torch

    where = torch.device("meta")
    if name == "snntorch":  # which asks for a number while it is built
        peer = CANDIDATES[name].imported()
        network = peer.network
        monkeypatch.setattr(peer, "network", lambda *given: network(*given).to("meta"))
        where = None
    for workload in (onm.row(SIZE, "bfloat16", True), WORKLOADS["conv"], WORKLOADS["recurrent"]):
        small = workload.sized(STEPS, BATCH)
        step = gpu_rows._built(CANDIDATES[name], small, data(small), where)
        with pytest.raises(RuntimeError, match=r"item\(\) cannot be called on meta tensors"):
            step()


@pytest.mark.parametrize("precision", ["float32", "bfloat16"])
def test_everybody_takes_the_same_layer_without_bias(precision):
    """By hand, in snnax and in snnTorch the spikes are the same; of the others the step runs."""
    workload = onm.row(SIZE, precision, False, STEPS, BATCH)
    given = data(workload)
    assert given.x.shape == (STEPS, BATCH, SIZE) and [*given.weights[0]] == ["weight"]
    by_hand = gpu_rows._jax_candidates(STEPS)["scan-8"].build(workload, given)()
    assert by_hand > 0
    for name in ("snnax", "snntorch"):
        if not CANDIDATES[name].missing:
            assert CANDIDATES[name].build(workload, given)() == by_hand, name
    for name in registry.OTHERS:
        candidate = CANDIDATES[name]
        if not candidate.missing and (step := candidate.build(workload, given)):
            assert np.isfinite(step()), name


def test_another_number_of_steps_than_asked_for_is_refused():
    workload = onm.row(SIZE, "float32", False, STEPS, BATCH)
    step = CANDIDATES["snnax"].build(workload, data(workload.sized(STEPS + 1, BATCH)))
    with pytest.raises(ValueError, match="4 steps of 2 samples were asked for"):
        step()


def lowered(workload, precision):
    """The step's program for CUDA, as text without places in the source."""
    step = CANDIDATES["snnax"].build(workload, data(workload))
    with gpu_rows.precision(precision):
        text = jax.export.export(step.program, platforms=["cuda"])(*step.arguments).mlir_module()
    return "\n".join(line for line in text.splitlines() if not line.startswith("#loc"))


def found(operation, text):
    return [line for line in text.splitlines() if f"stablehlo.{operation}" in line]


@pytest.mark.parametrize(
    ("precision", "said"),
    [
        ("float32", "precision = [HIGHEST, HIGHEST]"),
        ("tf32", "precision = [HIGH, HIGH]"),
        ("bfloat16", "xbf16"),
    ],
    ids=["float32", "tf32", "bfloat16"],
)
def test_a_dense_layer_lowers_for_cuda(precision, said):
    """Two products of all steps, as precise as asked for, two loops, and nothing that is meant for a CPU."""
    text = lowered(onm.row(SIZE, precision, True, STEPS, BATCH), precision)
    products = found("dot_general", text)
    assert len(products) == 2 and all(said in line for line in products)
    assert all(f"tensor<{STEPS * BATCH}x{SIZE}x" in line for line in products)
    assert len(found("while", text)) == 2
    assert not found("pad", text) and not found("custom_call", text)
    assert re.search(rf"while.*tensor<{STEPS}x{BATCH}x{SIZE}xf32>", text)  # membranes are float32


def test_convolutions_lower_for_cuda():
    """As convolutions, with their derivatives, which on a CPU are products of patches."""
    text = lowered(WORKLOADS["conv"].sized(STEPS, BATCH), "tf32")
    convolutions = found("convolution", text)
    assert len(convolutions) == 5  # two outputs, two gradients of kernels, one of images
    assert all(line.count("<precision HIGH>") == 2 for line in convolutions)
    assert not found("pad", text) and not found("gather", text) and not found("select_and_scatter", text)
    assert not found("custom_call", text)
