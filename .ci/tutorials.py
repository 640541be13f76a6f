"""Tutorials are written as text and shown as notebooks: this runs the text and writes the notebooks.

    python .ci/tutorials.py               run all, write the notebooks beside their text
    python .ci/tutorials.py 02 event      only those whose name begins so
    python .ci/tutorials.py --text 02     take over changed prose and keep the outputs; code must be as it was
    python .ci/tutorials.py --check       run all, write nothing: what CI does

Each runs from top to bottom in a kernel of its own, in an empty directory, without a network. A warning is an error,
and so is anything on the standard error stream.
"""

from __future__ import annotations

import argparse
import base64
import io
import multiprocessing
import os
import resource
import sys
import tempfile
import time
from concurrent.futures import ProcessPoolExecutor, as_completed
from pathlib import Path

import jupytext
import nbformat
from nbclient import NotebookClient
from PIL import Image

ROOT = Path(__file__).resolve().parents[1]
TUTORIALS = ROOT / "tutorials"
FORMAT = "py:percent"
METADATA = {
    "kernelspec": {"display_name": "Python 3", "language": "python", "name": "python3"},
    "language_info": {"name": "python", "file_extension": ".py", "pygments_lexer": "ipython3"},
}
STARTUP = """
import socket, warnings

def refused(*arguments, **more):
    raise OSError("tutorials run without a network")

socket.getaddrinfo = refused
warnings.filterwarnings("error")
warnings.filterwarnings("ignore", module="ipykernel")
# On Python 3.13 the kernel itself, by tornado, asks for an event loop before there is one.
warnings.filterwarnings("ignore", "There is no current event loop", DeprecationWarning)
# norse 1.1.0 compiles its functional steps with torch.jit.script when it is imported.
warnings.filterwarnings("ignore", ".*torch.jit.script.* is deprecated", DeprecationWarning)
"""


def sources(names: list[str]) -> list[Path]:
    """The texts whose name begins with one of ``names``; all of them for none."""
    found = sorted(TUTORIALS.rglob("*.py"))
    return [path for path in found if not names or path.stem.startswith(tuple(names))]


def read(source: Path) -> nbformat.NotebookNode:
    """The notebook of a text, not yet run; the same each time."""
    cells = []
    for number, cell in enumerate(jupytext.reads(source.read_text(encoding="utf-8"), fmt=FORMAT).cells):
        make = nbformat.v4.new_code_cell if cell.cell_type == "code" else nbformat.v4.new_markdown_cell
        tags = cell.metadata.get("tags")
        name = f"{source.stem[:50]}-{number:02d}"
        cells.append(make(cell.source, id=name, metadata={"tags": tags} if tags else {}))
    return nbformat.v4.new_notebook(cells=cells, metadata=nbformat.from_dict(METADATA))


def content(notebook: nbformat.NotebookNode) -> list[tuple[str, str, list[str]]]:
    """What must be the same in a text and its notebook: kind, source and tags of each cell."""
    return [(c.cell_type, c.source, list(c.metadata.get("tags", []))) for c in notebook.cells]


def code(notebook: nbformat.NotebookNode) -> list[nbformat.NotebookNode]:
    """The cells that run."""
    return [cell for cell in notebook.cells if cell.cell_type == "code"]


def run(notebook: nbformat.NotebookNode) -> None:
    """Run all cells in a kernel of its own; the outputs are in the notebook then.

    Raises:
        CellExecutionError: a cell raised an error or warned.
        RuntimeError: something was written to the standard error stream.
    """
    with tempfile.TemporaryDirectory() as empty, tempfile.TemporaryDirectory() as settings:
        startup = Path(settings, "profile_default", "startup")
        startup.mkdir(parents=True)
        (startup / "strict.py").write_text(STARTUP)
        paths = [os.path.abspath(path) for path in os.environ.get("PYTHONPATH", "").split(os.pathsep) if path]
        os.environ |= {"IPYTHONDIR": settings, "PYTHONPATH": os.pathsep.join(paths)}
        os.environ["TF_CPP_MIN_LOG_LEVEL"] = "3"  # XLA complains on a busy machine that compiling takes long
        client = NotebookClient(
            notebook, timeout=600, kernel_name="python3", resources={"metadata": {"path": empty}}, record_timing=False
        )  # fmt: skip
        client.execute()
    notebook.metadata = nbformat.from_dict(METADATA)  # the same on each machine and version of Python
    for cell in code(notebook):
        for output in cell.outputs:
            if output.output_type == "stream" and output.name == "stderr":
                raise RuntimeError(f"{cell.source}\n\nwrote to the standard error stream:\n{output.text}")


def shrink(notebook: nbformat.NotebookNode) -> None:
    """Store pictures with a palette of 256 colours, in about a third of the bytes."""
    for cell in code(notebook):
        for output in cell.outputs:
            if picture := output.get("data", {}).get("image/png"):
                drawn, stored = Image.open(io.BytesIO(base64.b64decode(picture))), io.BytesIO()
                drawn.convert("RGB").quantize(256, dither=Image.Dither.NONE).save(
                    stored, "png", optimize=True
                )
                output.data["image/png"] = base64.b64encode(stored.getvalue()).decode()


def keep_outputs(notebook: nbformat.NotebookNode, older: nbformat.NotebookNode) -> None:
    """Hand the outputs of a notebook on to one with the same code.

    Raises:
        RuntimeError: the code is another.
    """
    if [cell.source for cell in code(notebook)] != [cell.source for cell in code(older)]:
        raise RuntimeError("its code has changed; run it, without --text.")
    for new, old in zip(code(notebook), code(older), strict=True):
        new.outputs, new.execution_count = old.outputs, old.execution_count


def make(source: Path, text: bool, check: bool) -> str:
    """Run one tutorial, or take over its prose; write the notebook, unless it is to be checked only; what it took."""
    begin, used = time.perf_counter(), resource.getrusage(resource.RUSAGE_CHILDREN)
    notebook, target = read(source), source.with_suffix(".ipynb")
    if text:
        keep_outputs(notebook, nbformat.read(target, as_version=4))
    else:
        run(notebook)
        shrink(notebook)
    if not check:
        nbformat.write(notebook, target)
    after = resource.getrusage(resource.RUSAGE_CHILDREN)
    cpu = after.ru_utime + after.ru_stime - used.ru_utime - used.ru_stime
    return f"{time.perf_counter() - begin:.0f} s, {cpu:.0f} s of processors"


def keep_programs(folder: str) -> None:
    """What one tutorial compiles, later ones of the same worker find; JAX writes without locks, so each has its own."""
    os.environ["JAX_COMPILATION_CACHE_DIR"] = tempfile.mkdtemp(dir=folder)
    os.environ["JAX_PERSISTENT_CACHE_MIN_COMPILE_TIME_SECS"] = "0"
    os.environ["JAX_PERSISTENT_CACHE_MIN_ENTRY_SIZE_BYTES"] = "-1"


def main() -> int:
    """The command."""
    parser = argparse.ArgumentParser(description=__doc__.partition("\n")[0])
    parser.add_argument("names", nargs="*", help="how the names begin; without them, all tutorials")
    parser.add_argument("--jobs", type=int, default=1, help="how many run at a time")
    how = parser.add_mutually_exclusive_group()
    how.add_argument("--check", action="store_true", help="write nothing")
    how.add_argument("--text", action="store_true", help="run nothing: only prose has changed")
    arguments = parser.parse_args()
    chosen = sources(arguments.names)
    if not chosen:
        parser.error(f"no tutorial begins with {' or '.join(arguments.names)}")
    failed = False
    with (
        tempfile.TemporaryDirectory() as folder,
        ProcessPoolExecutor(
            arguments.jobs,
            multiprocessing.get_context("spawn"),
            initializer=keep_programs,
            initargs=(folder,),
        ) as workers,
    ):
        running = {workers.submit(make, path, arguments.text, arguments.check): path for path in chosen}
        for done in as_completed(running):
            name = running[done].name
            try:
                print(f"{name}: {done.result()}", flush=True)
            except Exception as error:
                failed = True
                print(f"{name} fails: {error}", file=sys.stderr)
    return failed


if __name__ == "__main__":
    raise SystemExit(main())
