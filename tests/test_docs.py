"""The documentation names every public symbol, and its code runs."""

import importlib
import inspect
import re
import shutil
import subprocess
import textwrap
from pathlib import Path

import pytest

import snnax
from snnax import cli, errors, interop

ROOT = Path(__file__).parents[1]
DOCS = ROOT / "docs"
API = sorted(DOCS.glob("api/*.rst"))
PAGES = [ROOT / "README.rst", *sorted(DOCS.glob("*.rst"))]
PARTS = (
    "backprop",
    "datasets",
    "event",
    "functional",
    "functional.quant",
    "functional.stdp_learner",
    "interop.reference",
    "layers",
    "network",
    "neurons",
    "nnx",
    "spikegen",
    "spikeplot",
    "surrogate",
    "training",
    "utils",
)


def relative(path):
    return str(path.relative_to(ROOT))


# --- every public symbol is documented ------------------------------------------------------------


def documented():
    """Full names that the API pages list, for a page each, and those that they describe themselves."""
    found = []
    for page in API:
        module, listing = "snnax", False
        for line in page.read_text().splitlines():
            if match := re.match(r"\.\. currentmodule:: (\S+)", line):
                module = match[1]
            if line and not line.startswith(" "):
                listing = line == ".. autosummary::"
            match = re.match(r"\.\. autoexception:: (\S+)$", line)
            if listing:
                match = re.match(r"   ([\w.]+)$", line)
            if match:
                found.append(f"{module}.{match[1]}")
    return found


def resolve(name):
    module, _, attribute = name.rpartition(".")
    return getattr(importlib.import_module(module), attribute)


def public():
    """Full name of everything that a user may use, by where it is listed."""
    names = [f"snnax.{name}" for name in snnax.__all__ if not inspect.ismodule(getattr(snnax, name))]
    names += [f"snnax.interop.{name}" for name in interop.__all__]
    names += [f"snnax.errors.{name}" for name, kind in vars(errors).items() if isinstance(kind, type)]
    for part in PARTS:
        names += [f"snnax.{part}.{name}" for name in importlib.import_module(f"snnax.{part}").__all__]
    made = {f"snnax.nnx.{name}" for name in snnax.neurons.__all__}  # of the class that has a page
    return [name for name in names if name not in made]


def test_every_public_symbol_is_documented():
    pytest.importorskip("matplotlib")
    pytest.importorskip("snntorch")
    there = {id(resolve(name)) for name in documented()}
    names = public()
    assert len(names) > 60
    assert [name for name in names if id(resolve(name)) not in there] == []


def test_nothing_is_documented_twice():
    names = documented()
    assert len(names) == len({id(resolve(name)) for name in names})


def test_every_argument_of_a_neuron_is_described(monkeypatch):
    """In the docstring of its class, or in that of a base, from which the pages take it over."""
    pytest.importorskip("sphinx")
    monkeypatch.syspath_prepend(str(DOCS))
    pages = importlib.import_module("inherited")
    neurons = [getattr(snnax, name) for name in snnax.neurons.__all__ if name != "SpikingCell"]
    assert len(neurons) > 15
    for kind in neurons:
        lines = [*inspect.cleandoc(kind.__doc__).split("\n"), ""]
        pages.complete(None, "class", kind.__name__, kind, None, lines)
        text = "\n".join(lines)
        arguments = [field for field in inspect.signature(kind).parameters if field not in pages.FLAX]
        assert [name for name in arguments if not re.search(rf"\b{name}\b", text)] == [], kind
        assert not pages.POINTER.search(text)


def test_every_argument_is_described(monkeypatch):
    """Of every class and function with a page, in its docstring and what its page takes over."""
    pytest.importorskip("sphinx")
    for package in ("matplotlib", "snntorch", "norse", "spikingjelly"):
        pytest.importorskip(package)
    monkeypatch.syspath_prepend(str(DOCS))
    pages = importlib.import_module("inherited")
    absent = {}
    for name in documented():
        value = resolve(name)
        if not callable(value) or (inspect.isclass(value) and issubclass(value, BaseException)):
            continue
        lines = [*inspect.cleandoc(value.__doc__).split("\n"), ""]
        if inspect.isclass(value):
            pages.complete(None, "class", name, value, None, lines)
            lines.append(value.__init__.__doc__ or "")
        text = "\n".join(lines)
        there = {*inspect.signature(value).parameters} - {
            *pages.FLAX,
            "args",
            "kwargs",
        }  # nnx's metaclass has these
        missing = [argument for argument in there if not re.search(rf"\b{argument}\b", text)]
        if missing:
            absent[name] = missing
    assert absent == {}


def test_every_page_is_listed():
    listed = {
        line.strip()
        for page in (DOCS / "index.rst", DOCS / "api" / "index.rst")
        for line in page.read_text().splitlines()
    }
    pages = {page.stem for page in [*PAGES[1:], *API]} - {"index"}
    assert pages <= listed


def test_names_to_write_in_place_of_others_exist():
    """The page for those who know jaxsnn: every name of ours that it tells to write."""
    named = {*re.findall(r"``(snnax(?:\.\w+)+)``", (DOCS / "coming_from_jaxsnn.rst").read_text())}
    assert len(named) > 40
    for name in named:
        assert resolve(name) is not None


def torn(text):
    """Lines of simple tables that become rows of their own and were meant to go on with the row above."""
    starts, found, before = [], [], ""
    for line in text.splitlines():
        if re.fullmatch(r"=+( +=+)+", line):
            starts, before = [match.start() for match in re.finditer("=+", line)], ""
        elif not line.strip():
            starts = []
        elif starts and (first := line[: starts[1]].strip()):
            if not line[starts[1] :].strip() or before.endswith(","):
                found.append(line)
            before = first
    return found


@pytest.mark.parametrize("page", [*PAGES, *API, ROOT / "CONTRIBUTING.rst"], ids=relative)
def test_no_table_is_torn(page):
    assert torn(page.read_text()) == []


def test_torn_rows_are_found():
    table = "===  ===\na    b\n===  ===\na,   c\nb    d\ne    f\n     g\nh\n===  ===\n"
    assert torn(table) == ["b    d", "h"]


# --- the code in the pages runs -------------------------------------------------------------------


def code_blocks(text):
    """The Python blocks of a page, those in tables included, top to bottom."""
    lines, blocks = text.splitlines(), []
    for number, line in enumerate(lines):
        match = re.match(r"([\s*-]*)\.\. code-block:: python$", line)
        if not match:
            continue
        block = []
        for following in lines[number + 1 :]:
            if following.strip() and len(following) - len(following.lstrip()) <= len(match[1]):
                break
            block.append(following)
        blocks.append(textwrap.dedent("\n".join(block)).strip() + "\n")
    return blocks


WITH_CODE = [page for page in PAGES if code_blocks(page.read_text())]


def test_code_blocks_are_found():
    assert [
        page.name for page in WITH_CODE if page.name in ("README.rst", "quickstart.rst", "porting.rst")
    ] == [
        "README.rst",
        "porting.rst",
        "quickstart.rst",
    ]
    table = "   * - .. code-block:: python\n\n          a = 1\n\n          b = 2\n     - other\n"
    assert code_blocks(table) == ["a = 1\n\nb = 2\n"]


@pytest.mark.parametrize("page", WITH_CODE, ids=relative)
def test_the_code_of_a_page_runs(page, tmp_path, monkeypatch):
    pytest.importorskip("snntorch")
    monkeypatch.chdir(tmp_path)
    names = {"__name__": "page"}
    for number, block in enumerate(code_blocks(page.read_text())):
        exec(compile(block, f"{page.name}, block {number}", "exec"), names)


def test_the_two_columns_of_the_readme_compute_gradients(tmp_path, monkeypatch):
    pytest.importorskip("snntorch")
    names = {}
    for block in code_blocks((ROOT / "README.rst").read_text())[:2]:
        exec(block, names)
    theirs = [tuple(p.shape) for p in names["torch_net"].parameters() if p.grad is not None]
    assert theirs == [(8, 1, 5, 5), (8,), (10, 1152), (10,)]
    assert names["grads"]["layers_0"]["kernel"].shape == (5, 5, 1, 8)
    assert names["grads"]["layers_4"]["kernel"].shape == (1152, 10)


# --- commands -------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("mark", "command"),
    [
        ("demo", 'python -m pip install -c constraints.txt ".[demo]" && python -m snnax demo'),
        ("tests", 'python -m pip install -c constraints.txt ".[test]" && python -m pytest'),
    ],
)
def test_the_pipeline_runs_the_commands_of_the_readme(mark, command):
    if not shutil.which("bash"):
        pytest.skip("needs bash")
    script = (ROOT / ".ci" / "run").read_text()
    function = re.search(r"^readme\(\).*?^}", script, re.MULTILINE | re.DOTALL)[0]
    run = subprocess.run(
        ["bash", "-euo", "pipefail", "-c", f"{function}\nreadme {mark}"],
        cwd=ROOT, capture_output=True, text=True, check=False,
    )  # fmt: skip
    assert run.returncode == 0
    assert run.stdout.strip() == command
    absent = subprocess.run(
        ["bash", "-c", f"{function}\nreadme nothing"], cwd=ROOT, capture_output=True, check=False
    )
    assert absent.returncode != 0


def test_every_command_and_option_is_documented():
    page = (DOCS / "command_line.rst").read_text()
    commands = next(a.choices for a in cli._parser()._actions if a.choices)
    assert len(commands) >= 3
    for name, parser in commands.items():
        assert f"snnax {name}" in page
        assert [
            o for a in parser._actions for o in a.option_strings if o.startswith("--") and o not in page
        ] == []


# --- what the pages are made with -----------------------------------------------------------------


def test_the_version_has_one_home():
    """``snnax.__version__``: what else names it agrees."""
    assert f"\nversion: {snnax.__version__}\n" in (ROOT / "CITATION.cff").read_text()
    newest = re.search(r"^(\d+\.\d+\.\d+)\b.*\n---", (ROOT / "CHANGELOG.rst").read_text(), re.MULTILINE)[1]
    assert newest == snnax.__version__


def test_each_plot_and_encoder_is_in_the_galleries():
    page = (DOCS / "galleries.rst").read_text()
    named = {*re.findall(r"\b(?:spikeplot|spikegen)\.(\w+)", page), *re.findall(r"``(\w+)``", page)}
    assert {*snnax.spikeplot.__all__} <= named
    assert {"rate", "rate_conv", "latency", "delta"} <= named


@pytest.fixture
def extension(monkeypatch):
    """Loads an extension of the documentation."""
    pytest.importorskip("sphinx")
    monkeypatch.syspath_prepend(str(DOCS))
    return importlib.import_module


def test_broken_links_are_found(extension, tmp_path):
    (tmp_path / "a.html").write_text(
        '<a href="b.html#here"><a href="#no"><a href="https://x.org"><h1 id="up">'
    )
    (tmp_path / "b.html").write_text('<p id="here"><img src="c.png"><a class="x" href="a.html#up">')
    assert extension("links").broken(tmp_path) == ["a.html: #no", "b.html: c.png"]


def test_names_of_other_libraries_have_addresses(extension):
    address = extension("elsewhere").address
    assert address("jax.Array") == "https://docs.jax.dev/en/latest/_autosummary/jax.Array.html"
    assert address("flax.linen.module.Module").endswith("flax.linen/module.html#flax.linen.Module")
    assert address("collections.abc.Mapping").endswith("collections.abc.html#collections.abc.Mapping")
    assert address("snnax.Leaky") is None


def test_each_counterpart_of_snntorch_has_a_page(extension):
    """Its page tells snnTorch's name."""
    pytest.importorskip("matplotlib")
    there = {id(resolve(name)) for name in documented()}
    rows = extension("counterparts").counterparts()
    assert len(rows) > 70
    absent = [row[0].ours for key, row in rows.items() if key not in there]
    assert [name for name in absent if not name.endswith(("__version__", "backprop"))] == []
