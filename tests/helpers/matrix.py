"""What is converted exactly, with an approximation, or not: found out by doing it.

``python tests/helpers/matrix.py`` writes the page ``docs/matrix.rst``; a test holds the page to it.
"""

from __future__ import annotations

import tempfile
import textwrap
import warnings
from collections.abc import Callable, Iterator
from functools import partial
from pathlib import Path
from typing import Any

import jax
import numpy as np

import snnax as snn
from snnax import interop
from snnax.errors import SnnaxError

PAGE = Path(__file__).parents[2] / "docs" / "matrix.rst"
T, B, N = 300, 4, 6
COLUMNS = ("from snnTorch", "to snnTorch", "from Norse", "to Norse", "NIR file", "portable")
NOT_THERE = "–"


def torch_rows() -> Iterator[tuple[str, Callable[[], Any]]]:
    """A name for each neuron of snnTorch with its options, and what builds it."""
    import snntorch as sn

    resets = ("subtract", "zero", "none")
    for reset in resets:
        for late in (True, False):
            words = f"{reset}, {'late' if late else 'at once'}"
            common = {"reset_mechanism": reset, "reset_delay": late, "init_hidden": True}
            yield f"Leaky, {words}", lambda c=common: sn.Leaky(0.9, **c)
            yield f"Synaptic, {words}", lambda c=common: sn.Synaptic(0.7, 0.9, **c)
            yield f"RLeaky, {words}", lambda c=common: sn.RLeaky(0.9, linear_features=N, **c)
        common = {"reset_mechanism": reset, "init_hidden": True}
        yield f"RSynaptic, {reset}, late", lambda c=common: sn.RSynaptic(0.7, 0.9, linear_features=N, **c)
        yield f"Alpha, {reset}", lambda c=common: sn.Alpha(0.9, 0.8, threshold=0.3, **c)
        yield f"Lapicque, {reset}", lambda c=common: sn.Lapicque(R=2.0, C=5.0, time_step=1.0, **c)
        yield f"SLSTM, {reset}", lambda c=common: sn.SLSTM(N, N, threshold=0.1, **c)
    zero = {"reset_mechanism": "zero", "init_hidden": True}
    yield "Leaky, inhibition", lambda: sn.Leaky(0.9, inhibition=True, init_hidden=True)
    yield "Leaky, graded spikes", lambda: sn.Leaky(0.9, graded_spikes_factor=0.5, **zero)
    yield "DeltaLeaky", lambda: sn.DeltaLeaky(0.5, 0.9, init_hidden=True)
    yield "StateLeaky", lambda: sn.StateLeaky(0.9, N)
    yield "LinearLeaky", lambda: sn.LinearLeaky(0.9, N, N)
    yield "LeakyParallel", lambda: sn.LeakyParallel(N, N, beta=0.9)


def norse_rows() -> Iterator[tuple[str, Callable[[], Any]]]:
    """The same for Norse's cells."""
    import norse.torch as norse
    import torch
    from norse.torch.functional.reset import reset_subtract

    yield "LIFBoxCell", lambda: norse.LIFBoxCell()
    yield (
        "LIFBoxCell, subtract",
        lambda: norse.LIFBoxCell(norse.LIFBoxParameters(reset_method=reset_subtract)),
    )
    yield "LIBoxCell", lambda: norse.LIBoxCell()
    yield "LIFCell", lambda: norse.LIFCell(norse.LIFParameters(v_th=torch.as_tensor(0.4)))
    yield (
        "LIFRecurrentCell",
        lambda: norse.LIFRecurrentCell(N, N, norse.LIFParameters(v_th=torch.as_tensor(0.2))),
    )
    yield "LICell", lambda: norse.LICell()
    yield "IAFCell", lambda: norse.IAFCell()


NATIVE: dict[str, Callable[[], Any]] = {
    "LIF": lambda: snn.LIF(1e-3, r=10.0, init_hidden=True),
    "LIF, leak and reset": lambda: snn.LIF(1e-3, r=10.0, v_leak=0.2, v_reset=-0.5, init_hidden=True),
    "LIF, exact": lambda: snn.LIF(1e-3, r=10.0, discretization="exact", init_hidden=True),
    "LIF, each its own": lambda: snn.LIF(np.linspace(1e-3, 3e-3, N), r=10.0, v_reset=-0.1, init_hidden=True),
    "CubaLIF": lambda: snn.CubaLIF(5e-4, 1e-3, r=10.0, w_in=5.0, init_hidden=True),
    "LI": lambda: snn.LI(1e-3, init_hidden=True),
    "CubaLI": lambda: snn.CubaLI(5e-4, 1e-3, init_hidden=True),
    "IF": lambda: snn.IF(1e4, init_hidden=True),
    "I": lambda: snn.I(1e4, init_hidden=True),
}


def frames(wide: bool) -> np.ndarray:
    x = np.random.default_rng(0).normal(0.3, 1.0, (T, B, N))
    return x if wide else x.astype(np.float32)


def cells(name: str, wide: bool) -> dict[str, str]:
    """A row in float32, or in float64."""
    with jax.enable_x64(wide):
        return rows()[name](frames(wide))


def joined(single: str, double: str) -> str:
    """One word where both precisions agree, else both."""
    return single if single == double else f"float32: {single}; float64: {double}"


def rows() -> dict[str, Callable[[np.ndarray], dict[str, str]]]:
    """Every row, and what works out its cells for an input."""
    found: dict[str, Callable[[np.ndarray], dict[str, str]]] = {}
    for name, build in torch_rows():
        found[f"snnTorch {name}"] = partial(_from_torch, build, "from snnTorch", interop.from_snntorch)
    for name, build in norse_rows():
        found[f"Norse {name}"] = partial(_from_torch, build, "from Norse", interop.from_norse)
    for name, build in NATIVE.items():
        found[f"NIR {name}"] = partial(_from_flax, build)
    return found


def _from_torch(
    build: Callable[[], Any], column: str, convert: Callable[..., Any], x: np.ndarray
) -> dict[str, str]:
    import torch

    torch.manual_seed(0)
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        neuron = build()
        if column == "from Norse":
            import norse.torch as norse

            net: Any = norse.SequentialState(torch.nn.Linear(N, N), neuron)
        else:
            net = torch.nn.Sequential(torch.nn.Linear(N, N), neuron)
    with torch.no_grad():
        net[0].weight.mul_(3)
    if x.dtype == np.float64:
        net.double()
    whole = type(neuron).__name__ in ("StateLeaky", "LinearLeaky", "LeakyParallel")
    pair: list[Any] = []

    def first() -> str:
        pair.extend(convert(net, x if whole else x[0]))
        return _verdict(net, tuple(pair), x)

    cells = {column: _cell(first)}
    return {**cells, **(_others(*pair, x) if pair else {})}


def _from_flax(build: Callable[[], Any], x: np.ndarray) -> dict[str, str]:
    import flax.linen as nn

    net = snn.Sequential([nn.Dense(N, param_dtype=x.dtype), build()])
    variables = {c: v for c, v in net.init(jax.random.key(0), x[0]).items() if c != "hidden"}
    variables["params"] = jax.tree.map(lambda v: 3 * v, variables["params"])
    return _others(net, variables, x)


def _others(model: Any, variables: Any, x: np.ndarray) -> dict[str, str]:
    ours = (model, variables)
    sample = x[0]

    def file(**options: Any) -> str:
        with tempfile.TemporaryDirectory() as folder:
            graph = interop.to_nir(model, variables, sample, **options)
            extended = "Extension" in {type(node).__name__ for node in graph.nodes.values()}
            interop.write_nir(f"{folder}/a.nir", graph, extensions=extended)
            again = interop.from_nir(f"{folder}/a.nir")
        outs = [np.asarray(jax.tree.leaves(snn.unroll(*pair, x)[0])[0]) for pair in (ours, again)]
        eps = 100 * np.finfo(x.dtype).eps
        close = np.isclose(outs[0], outs[1], rtol=10 * eps, atol=eps * np.abs(outs[0]).max())
        spikes = set(np.unique(outs[0])) <= {0.0, 1.0}
        different = int((outs[0] != outs[1] if spikes else ~close).sum())
        return (
            f"{different} of {outs[0].size} differ"
            if different
            else "exact, extension"
            if extended
            else "exact"
        )

    return {
        "to snnTorch": _cell(lambda: _verdict(ours, interop.to_snntorch(model, variables, sample), x)),
        "to Norse": _cell(
            lambda: _verdict(ours, interop.to_norse(model, variables, sample, surrogate="super"), x)
        ),
        "NIR file": _cell(file),
        "portable": _cell(lambda: file(profile="portable")),
    }


def _verdict(a: Any, b: Any, x: np.ndarray) -> str:
    report = interop.crossvalidate(a, b, x)
    flips = sum(layer.end_to_end.spike_mismatches for layer in report.layers if layer.kind != "output")
    if not report.agree:
        return f"**{report.unexplained} unexplained**"
    return f"exact but {flips} by rounding" if flips else "exact"


def _cell(work: Callable[[], str]) -> str:
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")
            return work()
    except SnnaxError as error:
        return f"refused: {_reason(error)}"


def _reason(error: SnnaxError) -> str:
    text = str(error).partition(": ")[2] or str(error)
    text = text.split(". ")[0].split("; ")[0]
    return textwrap.shorten(text.replace("another reader gets something else: ", ""), 110, placeholder=" ...")


def page(cells: dict[str, dict[str, str]]) -> str:
    """The page of the docs."""
    lines = [
        "What converts, and how exactly", "==============================", "",
        "Each cell says what happened when this conversion was tried, with a linear layer before",
        f"{N} neurons, a batch of {B} and {T} steps, once in float32 and once in float64. Where the two differ,",
        "both are named.", "",
        "* *exact*: every spike is the same end to end, and :func:`~snnax.interop.crossvalidate` finds nothing that",
        "  rounding does not explain.",
        "* *exact but n by rounding*: in n neuron-steps a spike differs, each because rounding put a membrane on the",
        "  other side of its threshold.",
        "* *refused*: the conversion raises an error with this reason. Nothing is ever approximated silently.", "",
        "The columns *to* and the files start from the snnax model of the row. *NIR file*: written and read back by",
        "snnax; *extension*: with a node that only snnax reads. *portable*: written for readers without our",
        "metadata, who get the same spikes (``to_nir(..., profile=\"portable\")``). Norse has surrogate gradients of",
        "its own: *to Norse* is ``to_norse(..., surrogate=\"super\")``.", "",
        ".. list-table::", "   :header-rows: 1", "   :class: matrix", "",
    ]  # fmt: skip
    for row in (
        {"": "", **dict(zip(COLUMNS, COLUMNS, strict=True))},
        *({"": n, **c} for n, c in cells.items()),
    ):
        entries = [row[""], *(row.get(column, NOT_THERE) for column in COLUMNS)]
        lines += [f"   {'* -' if i == 0 else '  -'} {entry}".rstrip() for i, entry in enumerate(entries)]
    return "\n".join(lines) + "\n"


def main() -> None:
    found = {}
    for name in rows():
        single, double = cells(name, wide=False), cells(name, wide=True)
        found[name] = {c: joined(single[c], double[c]) for c in single}
        print(name, found[name], flush=True)
    PAGE.write_text(page(found))


if __name__ == "__main__":
    main()
