"""Networks written as Python: read like a person's, formatted, and bit for bit the network they came from."""

from __future__ import annotations

import os
import runpy
import shutil
import subprocess
import sys
from itertools import pairwise
from pathlib import Path

import flax.linen as nn
import jax
import jax.numpy as jnp
import nir
import numpy as np
import pytest

import snnax as snn
from snnax import interop
from snnax.errors import ArgumentError, ConversionError
from snnax.interop.expressions import Bracket, call, lines, literal, quoted, readable

RNG = np.random.default_rng(0)
PAPER = Path(__file__).parents[3] / "shared" / "data" / "nir_paper"


def array(*shape):
    return RNG.uniform(-0.5, 1, shape).astype(np.float32)


def lif(size, **changes):
    full = np.ones(size, np.float32)
    values = {"tau": 2e-3, "r": 20.0, "v_leak": 0.0, "v_threshold": 1.0, "v_reset": 0.0} | changes
    return nir.LIF(**{k: full * np.float32(v) for k, v in values.items()})


def graph(nodes, edges, size=3):
    ends = {"input": nir.Input({"input": np.array(size)}), "output": nir.Output({"output": np.array([2])})}
    return nir.NIRGraph({**ends, **nodes}, edges, type_check=False)


def chain(*nodes):
    return nir.NIRGraph.from_list(*nodes)


def conv_graph():
    conv = nir.Conv2d((6, 6), array(4, 2, 3, 3), (2, 1), (1, 0), 1, 1, array(4))
    pool = nir.SumPool2d(np.array([3, 2]), np.array([3, 2]), np.array([0, 0]))
    nodes = {
        "conv": conv,
        "if": nir.IF(array(4, 3, 4) ** 2 + 1, np.ones((4, 3, 4), np.float32)),
        "pool": pool,
    }
    nodes["flat"] = nir.Flatten({"input": np.array([4, 1, 2])}, 0, -1)
    nodes["fc"] = nir.Affine(array(2, 8), array(2))
    names = ["input", *nodes, "output"]
    return graph(nodes, list(pairwise(names)), (2, 6, 6))


CUBA = {
    "tau_syn": 1e-3,
    "tau_mem": 2e-3,
    "r": 20.0,
    "v_leak": 0.0,
    "v_threshold": 1.0,
    "w_in": 10.0,
    "v_reset": 0.0,
}
GRAPHS = {
    "chain": lambda: chain(nir.Affine(array(2, 3), array(2)), lif(2), nir.Linear(array(4, 2)), lif(4)),
    "per neuron": lambda: chain(
        nir.Linear(array(5, 3)),
        lif(5, tau=np.linspace(1e-3, 3e-3, 5), v_threshold=np.linspace(0.5, 1, 5)),
    ),
    "leak and reset": lambda: chain(nir.Linear(array(2, 3)), lif(2, v_leak=0.125, v_reset=-0.3)),
    "integrator": lambda: chain(
        nir.Linear(array(2, 3)),
        nir.LI(*(np.full(2, v, np.float32) for v in (3e-3, 1.5, 0.0))),
    ),
    "branches": lambda: graph(
        {
            "a": nir.Linear(array(2, 3)),
            "b": nir.Linear(array(2, 3)),
            "c": nir.Linear(array(2, 3)),
            "lif": lif(2),
        },
        [
            ("c", "lif"),
            ("a", "lif"),
            ("lif", "output"),
            ("input", "a"),
            ("b", "lif"),
            ("input", "b"),
            ("input", "c"),
        ],
    ),
    "cycle": lambda: graph(
        {
            "fc": nir.Linear(array(2, 3)),
            "lif": lif(2),
            "w1": nir.Linear(array(3, 2)),
            "w2": nir.Linear(array(2, 3)),
        },
        [("w2", "lif"), ("w1", "w2"), ("lif", "w1"), ("fc", "lif"), ("lif", "output"), ("input", "fc")],
    ),
    "recurrent": lambda: graph(
        {
            "fc": nir.Linear(array(2, 3)),
            "lif": nir.CubaLIF(**{k: np.full(2, v, np.float32) for k, v in CUBA.items()}),
            "rec": nir.Affine(array(2, 2), array(2)),
        },
        [("input", "fc"), ("fc", "lif"), ("lif", "rec"), ("rec", "lif"), ("lif", "output")],
    ),
    "images": conv_graph,
    "two inputs": lambda: nir.NIRGraph(
        {
            **{name: nir.Input({"input": np.array([size])}) for name, size in (("a", 1), ("b", 2))},
            **{name: nir.Output({"output": np.array([4])}) for name in ("first", "second")},
            "wa": nir.Linear(array(4, 1)),
            "wb": nir.Linear(array(4, 2)),
            "lif": lif(4),
        },
        [("a", "wa"), ("b", "wb"), ("wa", "lif"), ("wb", "lif"), ("lif", "first"), ("wa", "second")],
        type_check=False,
    ),
    "delay and threshold": lambda: chain(
        nir.Linear(array(3, 3)),
        nir.Delay(np.array([1e-4, 3e-4, 0], np.float32)),
        nir.Threshold(np.array([0.1, 0.5, 0.3], np.float32)),
        nir.Scale(array(3)),
        nir.I(array(3)),
    ),
}
CHAINS = ("chain", "per neuron", "leak and reset", "integrator", "recurrent", "delay and threshold")


def built(folder, model, variables, origin="net.nir"):
    path = folder / "net.py"
    interop.write_source(path, model, variables, origin=origin)
    return path.read_text(), *runpy.run_path(str(path))["build"]()


def run(model, variables, x):
    y, _, recorded = snn.unroll(model, variables, x, record=True)
    return jax.tree.leaves(y), [recorded[name] for name in sorted(recorded)]


def formatted(path):
    ruff = Path(sys.executable).parent / "ruff"
    if not ruff.exists():
        pytest.skip("needs ruff")
    results = [
        subprocess.run(
            [ruff, "format", "--isolated", "--diff", f"--line-length={width}", path],
            capture_output=True, text=True, check=False, cwd=path.parent,
        )
        for width in (88, 110)
    ]  # fmt: skip
    lint = [ruff, "check", "--isolated", "--select=F,I,W", path]
    results.append(subprocess.run(lint, capture_output=True, text=True, check=False, cwd=path.parent))
    return "".join(result.stdout for result in results if result.returncode)


@pytest.mark.parametrize("name", GRAPHS)
def test_the_source_computes_bit_for_bit_what_the_graph_does(name, tmp_path):
    model, variables = interop.from_nir(GRAPHS[name]())
    text, again, weights = built(tmp_path, model, variables)
    x = RNG.uniform(0, 2, (40, 2, *model.input_shape)).astype(np.float32)
    outputs, recorded = run(model, variables, x)
    outputs2, recorded2 = run(again, weights, x)
    assert any(np.any(np.asarray(y)) for y in outputs)
    for a, b in zip(outputs, outputs2, strict=True):
        np.testing.assert_array_equal(a, b)
    for mine, theirs in zip(recorded, recorded2, strict=True):
        assert mine.keys() == theirs.keys()
        for key in mine:
            np.testing.assert_array_equal(mine[key], theirs[key])
    assert formatted(tmp_path / "net.py") == "", text
    assert isinstance(again, snn.Sequential) == (name in CHAINS)


@pytest.mark.parametrize("preset", ["lava", "norse", "nengo", "spyx"])
@pytest.mark.parametrize("name", ["cycle", "recurrent", "two inputs"])
def test_every_reading_can_be_written(name, preset, tmp_path):
    model, variables = interop.from_nir(GRAPHS[name](), preset=preset)
    text, again, weights = built(tmp_path, model, variables)
    assert formatted(tmp_path / "net.py") == "", text
    if isinstance(again, snn.Graph):
        assert again.clone(edges=model.edges) == model and again.plan() == model.plan()
    for a, b in zip(jax.tree.leaves(variables), jax.tree.leaves(weights), strict=True):
        np.testing.assert_array_equal(
            np.asarray(a, b.dtype), b
        )  # a gain is in double precision until it is used


@pytest.mark.parametrize("name", ["branches", "images", "chain"])
def test_the_source_exports_to_the_same_graph(name, tmp_path):
    model, variables = interop.from_nir(GRAPHS[name]())
    _, again, weights = built(tmp_path, model, variables)
    sample = np.zeros((1, *model.input_shape), np.float32)
    first, second = interop.to_nir(model, variables), interop.to_nir(again, weights, sample)
    ends = ("input", "output")
    kinds = [[type(n) for k, n in sorted(g.nodes.items()) if k not in ends] for g in (first, second)]
    assert sorted(map(str, kinds[0])) == sorted(map(str, kinds[1]))


def test_it_reads_as_a_person_would_write_it(tmp_path):
    model, variables = interop.from_nir(GRAPHS["chain"]())
    text, *_ = built(tmp_path, model, variables, "paper.nir")
    assert text.startswith('"""A spiking network in snnax, from paper.nir.\n')
    body = text[text.index("    layers = ") :]
    assert "nn.Dense(2),  # affine\n" in body
    assert "beta=0.950000002374872" in body and 'reset_mechanism="zero"' in body
    assert "weights[" not in body and "learn_beta" not in body and "spike_grad" not in body
    assert "    model = snn.Sequential(layers)\n" in body


def test_edges_are_written_from_the_input_to_the_output(tmp_path):
    model, variables = interop.from_nir(conv_graph())
    text, *_ = built(tmp_path, model, variables)
    assert text.index('("input", "conv")') < text.index('("pool", "flat")') < text.index('("fc", "output")')
    assert "nn.Conv(4, (3, 3), strides=(2, 1), padding=((1, 1), (0, 0)))" in text
    assert "snn.SumPool2d((3, 2))" in text and "channels_first=True" in text


OWN = {
    "short": lambda: snn.Sequential([nn.Dense(2), snn.Leaky(0.5, init_hidden=True)]),
    "surrogate and quantizer": lambda: snn.Sequential(
        [
            nn.Dense(3),
            snn.Leaky(
                0.9,
                init_hidden=True,
                spike_grad=snn.surrogate.fast_sigmoid(slope=10.0),
                state_quant=snn.functional.quant.state_quant(num_bits=4),
                output=True,
            ),
        ]
    ),
    "learned": lambda: snn.Sequential(
        [nn.Dense(3, use_bias=False), snn.Leaky(np.array([0.5, 0.6, 0.7]), init_hidden=True, learn_beta=True)]
    ),
    "nested": lambda: snn.Sequential(
        [
            nn.Dense(3),
            snn.Sequential([snn.Leaky(0.5, init_hidden=True), nn.Dense(2)]),
            snn.Leaky(0.9, init_hidden=True),
        ]
    ),
    "nested graph": lambda: snn.Graph(
        {
            "inner": snn.Graph({"a": nn.Dense(2)}, [("input", "a"), ("a", "output")]),
            "b": snn.IF(init_hidden=True),
        },
        [("input", "inner"), ("inner", "b"), ("b", "output")],
    ),
    "two outputs": lambda: snn.Graph(
        {"a": nn.Dense(2), "lif": snn.Leaky(0.5, init_hidden=True, output=True)},
        [("input", "a"), ("a", "lif"), ("lif", "output")],
        outputs=[("lif", "out"), ("lif", "mem")],
    ),
    "fixed arrays": lambda: snn.Sequential(
        [nn.Dense(2), snn.Leaky(np.array([0.25, 0.5], np.float32), init_hidden=True)]
    ),
}


def shared():
    dense = nn.Dense(3)
    return snn.Sequential([dense, snn.Leaky(0.5, init_hidden=True), dense])


@pytest.mark.parametrize("name", [*OWN, "shared"])
def test_networks_of_your_own(name, tmp_path):
    model = shared() if name == "shared" else OWN[name]()
    x = RNG.uniform(0, 3, (12, 2, 3)).astype(np.float32)
    variables = model.init(jax.random.key(0), x[0])
    text, again, weights = built(tmp_path, model, variables)
    assert (again == model) == (
        name in ("short", "surrogate and quantizer", "nested", "two outputs", "fixed arrays", "shared")
    )
    if again != model or name == "shared":
        for a, b in zip(run(model, variables, x)[0], run(again, weights, x)[0], strict=True):
            np.testing.assert_array_equal(a, b)
    assert "hidden" not in weights and "constants" not in weights
    for a, b in zip(jax.tree.leaves(variables["params"]), jax.tree.leaves(weights["params"]), strict=True):
        np.testing.assert_array_equal(a, b)
    assert formatted(tmp_path / "net.py") == "", text
    assert ("shared_0 = nn.Dense(3)" in text) == (name == "shared")


def test_float64_is_as_exact(tmp_path):
    with jax.enable_x64(True):
        model, variables = interop.from_nir(GRAPHS["chain"]())
        _, again, weights = built(tmp_path, model, variables)
        x = RNG.uniform(0, 2, (40, 2, 3))
        for a, b in zip(run(model, variables, x)[1], run(again, weights, x)[1], strict=True):
            assert a["mem"].dtype == np.float64
            np.testing.assert_array_equal(a["mem"], b["mem"])


HOSTILE = ['a"""b', "a\nimport os", "a\\", "{x}", "a'b\"c", "\N{SNOWMAN} ü", "x" * 60, "#", "\u202eab"]


@pytest.mark.parametrize("name", HOSTILE)
def test_names_are_text_and_never_code(name, tmp_path):
    nodes = {name: nn.Dense(2), "b": nn.Dense(2)}
    edges = [("input", name), ("input", "b"), (name, "output"), ("b", "output")]
    model = snn.Graph(nodes, edges, input_shape=(3,))
    variables = {"params": {n: {"kernel": array(3, 2), "bias": array(2)} for n in nodes}}
    text, again, weights = built(tmp_path, model, variables, origin=name)
    assert again == model and "\nimport os" not in text
    np.testing.assert_array_equal(weights["params"][name]["kernel"], variables["params"][name]["kernel"])
    line = snn.Graph(nodes, [("input", name), (name, "b"), ("b", "output")])
    text, again, _ = built(tmp_path, line, variables, origin=name)
    assert again == snn.Sequential([nn.Dense(2), nn.Dense(2)]) and "\nimport os" not in text


class Mine(nn.Dense):
    """A class that snnax has no name for."""


def odd_start(key, shape, dtype=jnp.float32):
    return jnp.ones(shape, dtype)


BAD = {
    "not a module's name": (lambda: nn.Dense(2), "net.txt", ArgumentError, "net.py"),
    "no container": (lambda: nn.Dense(2), "net.py", ArgumentError, "Sequential or snnax.Graph"),
    "a function": (
        lambda: snn.Sequential([nn.Dense(2, kernel_init=odd_start)]),
        "net.py",
        ConversionError,
        "kernel_init",
    ),
    "a name that ends a string": (
        lambda: snn.Graph(
            {n: nn.Dense(2) for n in ("a\x00b", "c")},
            [("input", n) for n in ("a\x00b", "c")] + [("c", "output")],
        ),
        "net.py",
        ConversionError,
        "NUL",
    ),
    "a class of your own": (lambda: snn.Sequential([Mine(2)]), "net.py", ConversionError, "Mine"),
}


@pytest.mark.parametrize("case", BAD)
def test_what_cannot_be_written_leaves_nothing(case, tmp_path):
    make, name, kind, said = BAD[case]
    model = make()
    variables = model.init(jax.random.key(0), jnp.ones((1, 3)))
    with pytest.raises(kind, match=said):
        interop.write_source(tmp_path / name, model, variables)
    assert list(tmp_path.iterdir()) == []


def test_a_failed_write_leaves_the_old_files(tmp_path, monkeypatch):
    model, variables = interop.from_nir(GRAPHS["chain"]())
    interop.write_source(tmp_path / "net.py", model, variables)
    before = {path.name: path.read_bytes() for path in tmp_path.iterdir()}

    done = []

    def second(number):
        done.append(number)
        if len(done) == 2:
            raise OSError("disk full")

    monkeypatch.setattr(os, "fsync", second)
    with pytest.raises(OSError, match="disk full"):
        interop.write_source(tmp_path / "net.py", model, variables)
    assert {path.name: path.read_bytes() for path in tmp_path.iterdir()} == before
    assert {path.stat().st_mode & 0o044 for path in tmp_path.iterdir()} != {0}


@pytest.mark.parametrize(
    "name",
    ["01_lif/lif_norse", "01_lif/lif_rockpool", "02_cnn/cnn_sinabs", "03_rnn/braille_noDelay_bias_zero"],
)
@pytest.mark.filterwarnings("ignore::snnax.errors.RepairWarning")
def test_files_of_the_paper(name, tmp_path):
    path = PAPER / f"{name}.nir"
    if not path.exists():
        pytest.skip("needs the paper's files")
    model, variables = interop.from_nir(path)
    text, again, weights = built(tmp_path, model, variables, path.name)
    x = RNG.uniform(0, 1, (6, 1, *model.input_shape)).astype(np.float32)
    for a, b in zip(run(model, variables, x)[0], run(again, weights, x)[0], strict=True):
        np.testing.assert_array_equal(a, b)
    assert formatted(tmp_path / "net.py") == "", text


# --- the text itself ------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("value", "text"),
    [
        ("a", '"a"'),
        ('say "a"', "'say \"a\"'"),
        ("it's", '"it\'s"'),
        (True, "True"),
        (np.float32(0.5), "0.5"),
        (float("-inf"), 'float("-inf")'),
        ((1,), "(1,)"),
        ([(1, 2.0)], "[(1, 2.0)]"),
        ((), "()"),
    ],
)
def test_constants(value, text):
    assert str(literal(value)) == text
    assert eval(text) == value


def test_what_has_no_literal():
    with pytest.raises(TypeError, match="cannot be written"):
        literal(object())


def test_lines_break_where_the_formatter_breaks_them():
    short = Bracket("[", [("", "a"), ("", "b")], "]")
    assert lines("x = ", short) == ["    x = [a, b]"]
    assert lines("x = ", Bracket("[", [("", "a")], "]", ["note"])) == [
        "    x = [",
        "        a,  # note",
        "    ]",
    ]
    wide = call("f", [quoted("a" * 40)], b=quoted("b" * 40))
    assert lines("x = ", wide)[0] == "    x = f(" and lines("x = ", wide)[-1] == "    )"
    assert readable('a"\n\\b') == "a???b"


def test_ruff_is_asked(tmp_path):
    if not shutil.which(str(Path(sys.executable).parent / "ruff")):
        pytest.skip("needs ruff")
    (tmp_path / "bad.py").write_text("x=1\n")
    assert formatted(tmp_path / "bad.py")
