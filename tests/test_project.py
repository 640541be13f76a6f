"""Laws of the house that no single module can break unseen: imports, public names, sizes, words."""

import ast
import configparser
import importlib
import os
import re
import shutil
import subprocess
import sys
from pathlib import Path

import pytest

import snnax
from snnax import interop

ROOT = Path(__file__).parents[1]
PACKAGE = ROOT / "snnax"
SOURCES = sorted(PACKAGE.rglob("*.py"))
OPTIONAL = ("safetensors", "torch", "snntorch", "norse", "nirtorch", "matplotlib", "sklearn")
MAX_LINES = 600
MAX_FUNCTION_LINES = 80
MAY_PRINT = ("snnax/cli/", "snnax/demo.py", "snnax/__main__.py")


def relative(path):
    return str(path.relative_to(ROOT))


def modules():
    names = (".".join(source.relative_to(ROOT).with_suffix("").parts) for source in SOURCES)
    return sorted(name.removesuffix(".__init__") for name in names)


# --- what importing snnax loads -------------------------------------------------------------------

PROBE = """
import sys

OPTIONAL = {optional!r}

class Wall:
    def find_spec(self, name, path=None, target=None):
        if name.partition(".")[0] in OPTIONAL:
            raise ModuleNotFoundError(f"No module named {{name!r}}", name=name)

if {wall}:
    sys.meta_path.insert(0, Wall())
{body}
loaded = sorted({{name.partition(".")[0] for name in sys.modules}} & set(OPTIONAL))
if loaded:
    sys.exit(f"loaded: {{loaded}}")
"""

USE_THE_CORE = """
import snnax
for name in snnax.__all__:
    if name != "spikeplot":
        getattr(snnax, name)
for name in snnax.interop.__all__:
    getattr(snnax.interop, name)
"""

PORT_WITHOUT_TORCH = """
from snnax import errors, interop
try:
    interop.{name}(None, None)
except errors.MissingDependencyError as error:
    assert "torch" in str(error) and "[torch]" in str(error), str(error)
else:
    sys.exit("no error")
"""


def probe(body, wall=True):
    code = PROBE.format(optional=OPTIONAL, wall=wall, body=body)
    return subprocess.run([sys.executable, "-c", code], cwd=ROOT, capture_output=True, text=True, check=False)


def test_the_core_works_without_optional_packages():
    result = probe(USE_THE_CORE)
    assert result.returncode == 0, result.stderr


def test_the_core_loads_no_optional_package_that_is_there():
    result = probe(
        "import snnax\nfor name in ('Leaky', 'unroll', 'surrogate'): getattr(snnax, name)", wall=False
    )
    assert result.returncode == 0, result.stderr


@pytest.mark.parametrize("name", ["from_snntorch", "to_snntorch"])
def test_without_torch_the_error_names_the_extra(name):
    result = probe(PORT_WITHOUT_TORCH.format(name=name))
    assert result.returncode == 0, result.stderr


@pytest.mark.parametrize(("body", "wall"), [("import matplotlib", True), ("import matplotlib", False)])
def test_the_probe_can_fail(body, wall):
    result = probe("import snnax\n" + body, wall)
    assert result.returncode != 0
    assert "matplotlib" in result.stderr


# --- public names ---------------------------------------------------------------------------------


def literal_names(module):
    """``__all__`` of a module as type checkers read it: written out in its source."""
    tree = ast.parse(Path(importlib.import_module(module).__file__).read_text())
    (names,) = (
        node.value
        for node in tree.body
        if isinstance(node, ast.Assign) and ast.unparse(node.targets[0]) == "__all__"
    )
    return ast.literal_eval(names)


def type_checking_names(source):
    """Names imported in a module's ``if TYPE_CHECKING`` block."""
    tree = ast.parse(source.read_text())
    blocks = [
        node for node in tree.body if isinstance(node, ast.If) and ast.unparse(node.test) == "TYPE_CHECKING"
    ]
    imports = [(node.module, alias) for block in blocks for node in block.body for alias in node.names]
    starred = (literal_names(module) for module, alias in imports if alias.name == "*")
    return {alias.asname for _, alias in imports if alias.name != "*"}.union(*starred)


@pytest.mark.parametrize("package", [snnax, interop], ids=["snnax", "interop"])
def test_public_names_agree(package):
    """What type checkers read is what the package has."""
    assert list(package.__all__) == sorted(set(package.__all__))
    assert [name for name in dir(package) if not name.startswith("_")] == list(package.__all__)
    assert type_checking_names(Path(package.__file__)) == set(package.__all__)


@pytest.mark.parametrize("package", [snnax, interop], ids=["snnax", "interop"])
def test_public_names_load(package):
    for name in package.__all__:
        assert getattr(package, name) is getattr(package, name)
        assert name in dir(package)
    with pytest.raises(AttributeError, match="no attribute 'nothing'"):
        _ = package.nothing
    assert not hasattr(package, "no.module") and not hasattr(package, "_nothing")


@pytest.mark.parametrize(
    ("part", "less"),
    [("layers", ()), ("network", ()), ("neurons", ())],
)
def test_parts_are_public_in_full(part, less):
    assert {*importlib.import_module(f"snnax.{part}").__all__} - {*less} <= {*snnax.__all__}


# --- who may import whom --------------------------------------------------------------------------


def contracts(folder):
    linter = Path(sys.executable).parent / "lint-imports"
    wide = {**os.environ, "COLUMNS": "200"}
    command = [linter, "--no-cache", "--no-logo"]
    return subprocess.run(command, cwd=folder, env=wide, capture_output=True, text=True, check=False)


@pytest.fixture
def copied(tmp_path):
    shutil.copytree(PACKAGE, tmp_path / "snnax", ignore=shutil.ignore_patterns("__pycache__"))
    shutil.copy(ROOT / "setup.cfg", tmp_path)
    return tmp_path


def test_the_import_contracts_hold():
    result = contracts(ROOT)
    assert result.returncode == 0, result.stdout


VIOLATIONS = [
    ("neurons/leaky.py", "import torch", "Only interop's torch files"),
    ("interop/conventions.py", "import torch", "Only interop's torch files"),
    ("interop/torch/held.py", "import snntorch", "What runs and traces torch networks"),
    ("interop/frameworks/norse.py", "import snntorch", "Norse's networks"),
    ("network/unroll.py", "import nir", "Only interop imports nir"),
    ("utils.py", "import matplotlib.pyplot", "Only spikeplot"),
    ("dynamics/leaky.py", "import flax", "dynamics and surrogate"),
    ("surrogate/base.py", "import snnax.utils", "dynamics and surrogate"),
    ("event/closed_form.py", "import flax", "event's engines"),
    ("event/spike_trains.py", "import snnax.training", "event's engines"),
    ("neurons/leaky.py", "import snnax.interop.trace", "neurons and network"),
    ("neurons/leaky.py", "import snnax.event", "neurons and network"),
    ("layers/shapes.py", "import snnax.spikeplot", "neurons and network"),
    ("interop/trace.py", "import snnax.cli", "Nothing imports cli"),
]


@pytest.mark.parametrize(
    ("where", "line", "contract"), VIOLATIONS, ids=[f"{w}: {n}" for w, n, _ in VIOLATIONS]
)
def test_each_import_contract_can_fail(copied, where, line, contract):
    with (copied / "snnax" / where).open("a") as source:
        source.write(f"\n{line}\n")
    result = contracts(copied)
    assert result.returncode == 1, result.stdout + result.stderr
    assert re.search(rf"{contract}.* BROKEN", result.stdout)


def test_every_room_that_models_must_not_know_is_in_their_contract():
    config = configparser.ConfigParser()
    config.read(ROOT / "setup.cfg")
    listed = config["importlinter:contract:models"]["forbidden_modules"].split()
    rooms = "interop training spikeplot datasets event functional backprop spikegen".split()
    there = [f"snnax.{room}" for room in rooms if list(PACKAGE.glob(f"{room}*"))]
    assert listed == there


# --- files ----------------------------------------------------------------------------------------


def test_every_folder_is_a_package():
    assert not [relative(s.parent) for s in SOURCES if not (s.parent / "__init__.py").exists()]


def rooms(folder):
    """The folders below, as paths in it: snnax's rooms, or the folders of their tests."""
    return {str(f.parent.relative_to(folder)) for f in folder.rglob("*.py")} - {"."}


def test_each_room_has_its_folder_of_tests():
    """``snnax/<room>/<file>.py`` is tested in ``tests/<room>``, by ``test_<file>.py`` or by what the room does."""
    mirrored = rooms(ROOT / "tests") - {"helpers", "laws", "tutorial_lines"}
    assert rooms(PACKAGE) - mirrored == set(), "a room without tests"
    assert mirrored - rooms(PACKAGE) == set(), "tests of a room that is not there"


def nodes(*kinds):
    """Every node of these kinds in the sources, as ``(path, node)``."""
    for source in SOURCES:
        for node in ast.walk(ast.parse(source.read_text())):
            if isinstance(node, kinds):
                yield relative(source), node


def test_files_are_short():
    lengths = {relative(source): len(source.read_text().splitlines()) for source in SOURCES}
    assert not {path: length for path, length in lengths.items() if length > MAX_LINES}


def test_functions_are_short():
    lengths = {
        f"{path}:{f.lineno} {f.name}": length(f) for path, f in nodes(ast.FunctionDef, ast.AsyncFunctionDef)
    }
    assert len(lengths) > 1000
    assert not {name: lines for name, lines in lengths.items() if lines > MAX_FUNCTION_LINES}


def length(function):
    """Lines of a function without its docstring."""
    first, body = function.lineno, function.body
    if ast.get_docstring(function, clean=False) is not None:
        first += body[0].end_lineno - body[0].lineno + 1
    return function.end_lineno - first + 1


def test_no_print_outside_the_command_line():
    calls = [f"{path}:{n.lineno}" for path, n in nodes(ast.Call) if ast.unparse(n.func) == "print"]
    assert not [call for call in calls if not call.startswith(MAY_PRINT)]


def test_no_bare_assert():
    assert not [f"{path}:{node.lineno}" for path, node in nodes(ast.Assert)]


# --- words that must not be committed -------------------------------------------------------------

HOSTS = [
    ".".join(parts)
    for parts in (("pypi", "org"), ("pythonhosted", "org"), ("pytorch", "org/whl"), ("anaconda", "org"))
]
OPTIONS = ["-".join(parts) for parts in (("index", "url"), ("find", "links"))]
UNWANTED = re.compile(
    "|".join(
        [*map(re.escape, HOSTS + OPTIONS), r"(?<![\w.~-])/(?:work|opt|root|home)/", "shared" + r"/(?!data)"]
    )
)


OWN = ("snnax", "tests", "docs", "tutorials", "benchmarks", ".ci")


def texts():
    """What git tracks, and what it would add in the project's own folders; in a copy without git, what lies in these.

    A checkout holds more than the project: a virtual environment under any name, notes, somebody's data.
    """
    tracked, added = git("ls-files"), git("ls-files", "--others", "--exclude-standard", "--", *OWN)
    names = {*tracked, *added} or {relative(path) for name in OWN for path in (ROOT / name).rglob("*.*")}
    for name in sorted(names):
        try:
            yield name, (ROOT / name).read_text(encoding="utf-8")
        except (UnicodeDecodeError, FileNotFoundError, IsADirectoryError):
            continue


def git(*arguments):
    command = ["git", "-c", "core.quotepath=off", *arguments]
    try:
        done = subprocess.run(command, cwd=ROOT, capture_output=True, text=True, check=False)
    except FileNotFoundError:
        return []
    return done.stdout.splitlines() if done.returncode == 0 else []


def test_no_machine_path_and_no_registry_host_is_named():
    found = [
        f"{name}:{number}: {line.strip()[:100]}"
        for name, text in texts()
        for number, line in enumerate(text.splitlines(), 1)
        if UNWANTED.search(line)
    ]
    assert not found


@pytest.mark.parametrize(
    ("line", "unwanted"),
    [
        *((f"see https://{host}/x", True) for host in HOSTS),
        *((f"pip install --{option}=x", True) for option in OPTIONS),
        ("/" + "home/me/data", True),
        ("path = '/" + "work/main'", True),
        ("../shared" + "/reference/x.md", True),
        ("../shared/data/nir_paper", False),
        ("https://example.org/" + "home/page", False),
    ],
)
def test_the_search_for_words_can_fail(line, unwanted):
    assert bool(UNWANTED.search(line)) == unwanted


def test_texts_are_found():
    names = [name for name, _ in texts()]
    assert {"snnax/__init__.py", "tests/test_project.py", ".ci/run"} <= {*names}


def test_what_else_lies_in_the_checkout_is_not_read(monkeypatch, tmp_path):
    for name in ("snnax/a.py", "mine/lib/python3.13/site-packages/pip/b.py", "notes.txt"):
        (tmp_path / name).parent.mkdir(parents=True, exist_ok=True)
        (tmp_path / name).write_text("text", encoding="utf-8")
    monkeypatch.setitem(globals(), "ROOT", tmp_path)
    assert [name for name, _ in texts()] == ["snnax/a.py"]  # no repository
    git("init", "-q")
    assert [name for name, _ in texts()] == ["snnax/a.py"]
    git("add", "notes.txt")
    assert [name for name, _ in texts()] == ["notes.txt", "snnax/a.py"]
