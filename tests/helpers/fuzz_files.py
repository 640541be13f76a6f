"""Read and import thousands of damaged files, each within limits of time and memory, and count what comes of it.

    PYTHONPATH=tests python -m helpers.fuzz_files 10000

A file is refused with a documented error, or its numbers are those that HDF5's own library finds in it; the library
runs in a process of its own, because it may hang or crash. Ends with status 1 if anything else happened, and names the
mutants, each of which ``--only NUMBER`` makes again.
"""

from __future__ import annotations

import argparse
import contextlib
import multiprocessing
import os
import sys
import tempfile
import time
import warnings
from collections import Counter
from pathlib import Path

SECONDS, MEGABYTES = 20, 500
"""For one file, in a process that has done its imports."""
GOOD = (
    "refused",
    "as HDF5 reads it",
    "HDF5 cannot read it, as before the damage",
    "HDF5 hangs or crashes, as before the damage",
)


def main():
    """The command."""
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("count", type=int, nargs="?", default=300)
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--only", type=int, help="one mutant alone")
    parser.add_argument("--keep", type=Path, help="folder for the mutants that went wrong")
    options = parser.parse_args()
    numbers = range(options.count) if options.only is None else [options.only]
    counts, wrong = fuzz(numbers, options.seed, options.keep, shown=True)
    for what, count in counts.most_common():
        print(f"{count:7}  {what}")
    for line in wrong:
        print(line)
    sys.exit(bool(wrong))


def fuzz(numbers, seed=0, keep=None, shown=False):
    """What became of the mutants: how many of each kind, and a line for each that went wrong."""
    from helpers import mutants

    counts, wrong = Counter(), []
    with tempfile.TemporaryDirectory() as folder, contextlib.ExitStack() as workers:
        valid = mutants.seeds(Path(folder))
        paths = {name: Path(folder) / f"{name}.valid" for name in valid}
        for name, raw in valid.items():
            paths[name].write_bytes(raw)
        ours, theirs = (workers.enter_context(_Worker(w, [*paths.values()])) for w in (_ours, _theirs))
        before = {name: _content(theirs(path)) for name, path in paths.items()}
        for i, number in enumerate(numbers):
            name, done, raw = mutants.mutant(valid, number, seed)
            path = Path(folder) / "mutant.nir"
            path.write_bytes(raw)
            kind, detail = _judged(ours(path), theirs, path, before[name])
            counts[kind if kind != "refused" else f"refused: {detail}"] += 1
            if kind not in GOOD:
                wrong.append(f"mutant {number} (of {name!r}: {done}): {kind}: {detail}")
                if keep is not None:
                    keep.mkdir(exist_ok=True)
                    (keep / f"{number}.nir").write_bytes(raw)
            if shown and i % 500 == 499:
                print(i + 1, dict(counts), *wrong, sep="\n", file=sys.stderr, flush=True)
    return counts, wrong


def _content(answer):
    kind, found = answer
    assert kind == "read", found
    return found


def _judged(answer, theirs, path, before):
    """What happened, in words that are in :data:`GOOD` or not, and a detail."""
    kind, found = answer
    if kind != "read":
        return kind, found
    said, content = theirs(path)
    if said == "read":
        differing = sorted(k for k in {*content, *found} if content.get(k) != found.get(k))
        return ("other numbers than HDF5 reads", differing) if differing else ("as HDF5 reads it", "")
    same = all(found[k] == before.get(k) for k in found)
    said = "HDF5 cannot read it" if said == "error" else "HDF5 hangs or crashes"
    return f"{said}, {'as' if same else 'other than'} before the damage", content


class _Worker:
    """A process that answers for one file after the other, and is replaced when it does not.

    It reads some valid files first, so that nothing is loaded and compiled within the limits of a mutant.
    """

    def __init__(self, work, valid):
        self.work, self.valid = work, valid
        self.process = None

    def __enter__(self):
        return self

    def __exit__(self, *_):
        if self.process is not None:
            self.process.kill()
            self.process.join()

    def _start(self):
        context = multiprocessing.get_context("spawn")
        self.pipe, other = context.Pipe()
        self.process = context.Process(target=_serve, args=(self.work, other, self.valid), daemon=True)
        self.process.start()
        other.close()
        assert self.pipe.poll(300), "the worker does not start"
        self.pipe.recv()

    def __call__(self, path):
        if self.process is None:
            self._start()
        self.pipe.send(str(path))
        try:
            if self.pipe.poll(10 * SECONDS):  # the machine may be busy: its own time is limited, too
                return self.pipe.recv()
            answer = "hang", f"no answer in {10 * SECONDS} s"
        except EOFError:
            self.process.join(10)
            answer = "crash", f"exit status {self.process.exitcode}"
        self.process.kill()
        self.process.join()
        self.process = None
        return answer


def _serve(work, pipe, valid):
    """The loop of a worker."""
    answer_for = work()
    for path in valid:
        answer_for(str(path))
    pipe.send("ready")
    while True:
        path = pipe.recv()
        _limit()
        begin, before = time.process_time(), _peak()
        answer = answer_for(path)
        seconds, grown = time.process_time() - begin, _peak() - before
        if seconds > SECONDS:
            answer = "hang", f"{seconds:.1f} s of processor time"
        elif grown > MEGABYTES:
            answer = "too much memory", f"{grown} MiB"
        pipe.send(answer)


def _peak():
    """The most memory that this process has had, in MiB; 0 where nobody can say."""
    try:
        import resource
    except ImportError:
        return 0
    peak = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
    return peak // 1024 if sys.platform != "darwin" else peak // 2**20


def _limit():
    """No more processor time than one file may take, and no more memory, where the system can limit them."""
    try:
        import resource

        used = int(time.process_time())
        resource.setrlimit(resource.RLIMIT_CPU, (used + 2 * SECONDS, resource.RLIM_INFINITY))
        size = int(Path("/proc/self/statm").read_text().split()[0]) * os.sysconf("SC_PAGE_SIZE")
        resource.setrlimit(resource.RLIMIT_AS, (size + 2 * MEGABYTES * 2**20, resource.RLIM_INFINITY))
    except (ImportError, OSError, ValueError):
        pass


def _ours():
    """Our reader and import."""
    warnings.simplefilter("ignore")
    from snnax import interop
    from snnax.errors import SnnaxError
    from snnax.interop.nir import contents

    def read(path):
        try:
            interop.from_nir(interop.read_nir(path))
            return "read", flat(contents.read(Path(path))[0])
        except SnnaxError as error:
            text = str(error)
            if not text or len(text) > 5000:
                return "a message that nobody can read", f"{type(error).__name__}: {text[:500]}..."
            return "refused", type(error).__name__
        except BaseException as error:
            import traceback

            where = traceback.extract_tb(error.__traceback__)[-1]
            return (
                "undocumented",
                f"{type(error).__name__}: {str(error)[:200]} ({where.filename}:{where.lineno})",
            )

    return read


def _theirs():
    """HDF5's own library."""
    import h5py

    def content(group):
        return {k: content(v) if isinstance(v, h5py.Group) else v[()] for k, v in group.items()}

    def read(path):
        try:
            with h5py.File(path) as file:
                return "read", flat(content(file["node"]))
        except Exception as error:
            return "error", f"{type(error).__name__}: {error}"

    return read


def flat(content, prefix=""):
    """Everything in nested dicts, by path, in a form that can be compared and sent."""
    import numpy as np

    found = {}
    for key, value in content.items():
        if isinstance(value, dict):
            found.update(flat(value, f"{prefix}{key}/"))
            continue
        value = value.encode() if isinstance(value, str) else value
        array = np.asarray(value)
        if array.dtype.kind in "SO":
            found[prefix + key] = "text", array.shape, str(array.tolist())
        else:
            array = array.astype(array.dtype.newbyteorder("<"))
            if array.dtype.itemsize == 16 and array.dtype.kind == "f":
                raw = array.tobytes()  # six bytes of each long double mean nothing
                found[prefix + key] = (
                    "long double",
                    array.shape,
                    [raw[i : i + 10] for i in range(0, len(raw), 16)],
                )
            else:
                found[prefix + key] = array.dtype.str, array.shape, array.tobytes()
    return found


if __name__ == "__main__":
    main()
