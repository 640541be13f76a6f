"""Files and folders whole or not at all: on a full disk, for two writers, and when the process is killed."""

from __future__ import annotations

import os
import pathlib
import subprocess
import sys
import textwrap

import nir
import numpy as np
import pytest

from snnax import drafts, interop
from snnax.errors import ArgumentError, SnnaxError
from snnax.interop import nir_data


def script(text, *arguments):
    """Run a piece of Python in a process of its own; what it asserts is what is tested."""
    code = textwrap.dedent(text)
    done = subprocess.run(
        [sys.executable, "-c", code, *map(str, arguments)], capture_output=True, text=True, timeout=300
    )
    assert done.returncode == 0, done.stdout[-2000:] + done.stderr[-4000:]
    return done.stdout


FULL_DISK = """
import dataclasses, os, resource, signal, sys
import flax.linen as nn, jax, nir, numpy as np, optax, snnax as snn
from pathlib import Path
from snnax import cli, drafts, interop
from snnax.interop import simulator
from snnax.interop.nir_data import write_nir_data

here = Path(sys.argv[1])
rng = np.random.default_rng(0)
x = rng.random((1, 300), np.float32)
net = snn.Sequential([nn.Dense(300), snn.Leaky(0.9, init_hidden=True)])
variables = net.init(jax.random.key(0), x)
graph = interop.to_nir(net, variables, x)
spk = rng.random((300, 2, 300), np.float32)
trace = interop.Trace({"lif": interop.NodeTrace("lif", "Leaky", spk, spk, {"mem": spk})}, (spk,))
state = snn.training.TrainState.create(net, variables, optax.sgd(1e-3))
report = interop.crossvalidate((net, variables), (net, variables), x[None])
report = dataclasses.replace(report, notes=("x" * 200_000,))
interop.write_nir(here / "in.nir", graph)

def convert(to, name):
    def write(path):
        assert cli.main(["convert", str(here / "in.nir"), str(path / name), "--to", to, "--force"]) == 2
        raise OSError("the command line said so")
    return write

writers = {
    "a.nir": lambda p: interop.write_nir(p / "a.nir", graph),
    "a.npz": lambda p: interop.save_trace(p / "a.npz", trace),
    "data.nir": lambda p: write_nir_data(p / "data.nir", trace, 1e-4),
    "a.safetensors": lambda p: interop.save_safetensors(p / "a.safetensors", net, variables, x),
    "net.py": lambda p: interop.write_source(p / "net.py", net, variables),
    "net.npz": lambda p: interop.write_source(p / "net.py", net, variables),
    "plot.png": lambda p: report.plot(p / "plot.png"),
    "report.json": lambda p: report.to_json(p / "report.json"),
    "c.npz": convert("flax", "c.npz"),
    "c.safetensors": convert("flax", "c.safetensors"),
    "c.pt": convert("snntorch", "c.pt"),
}
limit = 2**14
old = b"as it was"
for name, write in writers.items():
    folder = here / name.replace(".", "_")
    for before in (None, old):
        folder.mkdir(exist_ok=True)
        if before is not None:
            (folder / name).write_bytes(before)
        resource.setrlimit(resource.RLIMIT_FSIZE, (limit, resource.RLIM_INFINITY))
        try:
            write(folder)
        except OSError as error:
            assert name in str(error) or "the command line" in str(error) or name == "net.py", (name, error)
        else:
            raise AssertionError(f"{name} was written")
        finally:
            resource.setrlimit(resource.RLIMIT_FSIZE, (resource.RLIM_INFINITY, resource.RLIM_INFINITY))
        left = {n: (folder / n).read_bytes() for n in os.listdir(folder)}
        assert left == ({} if before is None else {name: before}), (name, list(left))

store = snn.training.Checkpoints(here / "checkpoints")
store.save(state)
first = sorted(str(p) for p in here.glob("checkpoints/**/*"))
for number in (0, 1):
    resource.setrlimit(resource.RLIMIT_FSIZE, (limit, resource.RLIM_INFINITY))
    try:
        store.save(state.replace(step=state.step + number))
    except snn.errors.CheckpointError as error:
        assert "checkpoints' cannot be written" in str(error)
    else:
        raise AssertionError("a checkpoint was written")
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, (resource.RLIM_INFINITY, resource.RLIM_INFINITY))
    assert sorted(str(p) for p in here.glob("checkpoints/**/*")) == first
    store.restore(state)
"""


@pytest.mark.skipif(sys.platform != "linux", reason="limits the size of files")
def test_a_full_disk_leaves_the_old_file_and_says_so(tmp_path):
    """Every writer, over nothing and over an older file."""
    for package in ("torch", "snntorch", "matplotlib", "safetensors", "orbax.checkpoint"):
        pytest.importorskip(package)
    script(FULL_DISK, tmp_path)


KILLED = """
import os, random, signal, sys, time
from pathlib import Path
from snnax import drafts

here, what = Path(sys.argv[1]), sys.argv[2]
rng = random.Random(0)
contents = [bytes([value]) * size for value, size in ((1, 1 << 20), (2, 3 << 20))]

def file(content):
    drafts.write_whole({here / "a.bin": content})

def folder(content):
    with drafts.draft_folder(here) as draft:
        (draft / "7").mkdir()
        for part in ("a.bin", "b.bin"):
            (draft / "7" / part).write_bytes(content)
        drafts.place(draft / "7", here / "7", draft)

if what == "file without O_TMPFILE" and hasattr(os, "O_TMPFILE"):
    del os.O_TMPFILE
write = folder if what == "folder" else file
write(contents[0])
seen = set()
for _ in range(40):
    child = os.fork()
    if child == 0:
        while True:
            for content in contents:
                write(content)
    time.sleep(rng.uniform(0.0, 0.03))
    os.kill(child, signal.SIGTERM)
    assert os.WTERMSIG(os.waitpid(child, 0)[1]) == signal.SIGTERM
    if what != "file":
        drafts.sweep(here)
    assert os.listdir(here) == ["7" if what == "folder" else "a.bin"], os.listdir(here)
    parts = [p.read_bytes() for p in sorted(here.rglob("*.bin"))]
    assert len(parts) == 1 + (what == "folder") and len(set(parts)) == 1 and parts[0] in contents
    seen.add(parts[0][:1])
print(len(seen))
"""


@pytest.mark.skipif(not hasattr(os, "fork"), reason="kills processes that it forks")
@pytest.mark.parametrize("what", ["file", "file without O_TMPFILE", "folder"])
def test_a_killed_writer_leaves_the_old_one_or_the_new_one(tmp_path, what):
    """What is swept here is swept by the next write into the folder."""
    if what == "file" and not hasattr(os, "O_TMPFILE"):
        pytest.skip("the system has no files without a name")
    script(KILLED, tmp_path, what)


TWO = """
import fcntl, os, sys, time
from pathlib import Path
from snnax import drafts

here = Path(sys.argv[1])
contents = [bytes([value]) * (1 << 18) for value in range(3)]

def write(content):
    drafts.write_whole({here / "a.bin": content})
    drafts.write_whole({here / "one.bin": content, here / "other.bin": content})
    with drafts.draft_folder(here) as draft:
        (draft / "7").mkdir()
        for part in ("a.bin", "b.bin"):
            (draft / "7" / part).write_bytes(content)
        drafts.place(draft / "7", here / "7", draft)

publish = drafts._Draft.publish

def slowly(self):
    publish(self)
    time.sleep(0.001)  # the time between two files of one writer

drafts._Draft.publish = slowly
write(contents[0])
children = []
for content in contents:
    children.append(os.fork())
    if children[-1] == 0:
        for _ in range(40):
            write(content)
        os._exit(0)
folder = os.open(here, os.O_RDONLY)
while children:
    assert (here / "a.bin").read_bytes() in contents
    fcntl.flock(folder, fcntl.LOCK_EX)  # while no writer is between its two files
    assert (here / "one.bin").read_bytes() == (here / "other.bin").read_bytes()
    fcntl.flock(folder, fcntl.LOCK_UN)
    child, status = os.waitpid(-1, os.WNOHANG)
    if child:
        assert status == 0
        children.remove(child)
assert sorted(os.listdir(here)) == ["7", "a.bin", "one.bin", "other.bin"]
assert (here / "one.bin").read_bytes() == (here / "other.bin").read_bytes()
one, other = (p.read_bytes() for p in (here / "7").iterdir())
assert one == other and one in contents
"""


@pytest.mark.skipif(not hasattr(os, "fork"), reason="forks")
def test_of_several_writers_one_wins_whole(tmp_path):
    script(TWO, tmp_path)


def test_what_a_living_process_writes_is_not_swept(tmp_path):
    with drafts.draft_folder(tmp_path) as draft:
        (draft / "x").write_text("x")
        drafts.write_whole({tmp_path / "a": b"a"})
        assert (draft / "x").exists()
    assert os.listdir(tmp_path) == ["a"]


def test_an_old_folder_whose_place_stayed_empty_comes_back(tmp_path):
    """As when the process was killed between moving the old one away and the new one in."""
    left = tmp_path / f".snnax-{'0' * 16}.tmp"
    (left / "old-1a2b3c4d-7").mkdir(parents=True)
    (left / "old-1a2b3c4d-7" / "x").write_text("old")
    drafts.sweep(tmp_path)
    assert os.listdir(tmp_path) == ["7"] and (tmp_path / "7" / "x").read_text() == "old"


@pytest.mark.parametrize("unnamed", [True, False])
def test_modes_and_links(tmp_path, monkeypatch, unnamed):
    if not unnamed:
        monkeypatch.delattr(os, "O_TMPFILE", raising=False)
    real, link, loose = tmp_path / "real", tmp_path / "link", tmp_path / "loose"
    old = os.umask(0o027)
    try:
        drafts.write_whole({real: b"1"})
        assert real.stat().st_mode & 0o777 == 0o640
        real.chmod(0o604)
        link.symlink_to(real)
        loose.symlink_to(tmp_path / "new")
        drafts.write_whole({link: b"2", loose: b"3"})
    finally:
        os.umask(old)
    assert link.is_symlink() and real.read_bytes() == b"2" and real.stat().st_mode & 0o777 == 0o604
    assert loose.is_symlink() and (tmp_path / "new").read_bytes() == b"3"
    assert sorted(os.listdir(tmp_path)) == ["link", "loose", "new", "real"]


def test_without_proc_the_file_is_written_under_a_name(tmp_path, monkeypatch):
    def refuse(*_, **__):
        raise OSError("no /proc")

    monkeypatch.setattr(os, "link", refuse)
    drafts.write_whole({tmp_path / "a": b"a" * 100_000})
    assert os.listdir(tmp_path) == ["a"] and (tmp_path / "a").read_bytes() == b"a" * 100_000


@pytest.mark.skipif(os.name == "nt", reason="has no such files")
def test_what_cannot_be_replaced_is_an_os_error_that_names_it(tmp_path):
    (tmp_path / "folder").mkdir()
    os.mkfifo(tmp_path / "fifo")
    (tmp_path / "loop").symlink_to(tmp_path / "loop")
    for name in ("folder", "fifo", "loop", "none/a", "n" * 300, "nul\x00"):
        with pytest.raises(OSError, match=r"Errno") as caught:
            drafts.write_whole({tmp_path / "first": b"", tmp_path / name: b"x"})
        assert caught.value.filename == str(tmp_path / name) and caught.value.errno
        assert sorted(os.listdir(tmp_path)) == ["fifo", "folder", "loop"]
    (tmp_path / "only").write_bytes(b"old")
    (tmp_path / "only").chmod(0o444)
    if not os.access(tmp_path / "only", os.W_OK):  # the superuser may
        with pytest.raises(PermissionError, match="only"):
            drafts.write_whole({tmp_path / "only": b"new"})


def test_a_picture_in_a_format_that_nobody_knows(tmp_path):
    figure = pytest.importorskip("matplotlib.figure").Figure()
    for name in ("a.pgn", "a"):
        with pytest.raises(ArgumentError, match=r"ends in one of .*png"):
            drafts.write_picture(tmp_path / name, figure)
    assert not os.listdir(tmp_path)


class _Bytes:
    def __fspath__(self):
        return b"a"


class _Broken:
    def __fspath__(self):
        raise RuntimeError


def _graph():
    one = np.ones(3, np.float32)
    return nir.NIRGraph.from_list(nir.LIF(tau=one, r=one, v_leak=0 * one, v_threshold=one))


def _trace():
    spk = np.ones((5, 2, 3), np.float32)
    return interop.Trace({"lif": interop.NodeTrace("lif", "Leaky", spk, spk, {"mem": spk})}, (spk,))


def _report():
    sides = [interop.from_nir(_graph()) for _ in range(2)]
    return interop.crossvalidate(*sides, np.ones((5, 2, 3), np.float32))


PATHS = {
    "write_nir": lambda path: interop.write_nir(path, _graph()),
    "read_nir": lambda path: interop.read_nir(path),
    "save_trace": lambda path: interop.save_trace(path, _trace()),
    "load_trace": lambda path: interop.load_trace(path),
    "write_nir_data": lambda path: nir_data.write_nir_data(path, _trace(), 1e-4),
    "read_nir_data": lambda path: nir_data.read_nir_data(path),
    "write_source": lambda path: interop.write_source(path, *interop.from_nir(_graph())),
    "save_safetensors": lambda path: interop.save_safetensors(path, *interop.from_nir(_graph())),
    "load_safetensors": lambda path: interop.load_safetensors(path, *interop.from_nir(_graph())),
    "to_json": lambda path: _report().to_json(path),
    "plot": lambda path: _report().plot(path),
}


@pytest.mark.parametrize("name", PATHS)
def test_what_is_no_path_is_refused_and_what_is_no_file_is_not_waited_for(name, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    if name.endswith("safetensors"):
        pytest.importorskip("safetensors")
    if name == "plot":
        pytest.importorskip("matplotlib")
    for wrong in (b"a", 0, 3.0, ["a"], _Bytes(), _Broken()) + (None,) * (name not in ("to_json", "plot")):
        with pytest.raises(ArgumentError, match=r"expected a path, as a string or pathlib\.Path"):
            PATHS[name](wrong)
    if hasattr(os, "mkfifo"):
        os.mkfifo("pipe")
    for wrong in ("", ".", "no\x00", "no\ud800", "no/a", pathlib.Path("pipe")):
        with pytest.raises((SnnaxError, OSError)):
            PATHS[name](wrong)
    assert set(os.listdir()) <= {"pipe"}
