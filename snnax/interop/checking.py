"""``check``: whether a torch network ports, with everything that stands in the way at once, and what it becomes."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterator
from dataclasses import asdict, dataclass
from typing import Any

import nir

from snnax import checks
from snnax.errors import ConversionError, MissingDependencyError
from snnax.interop.conventions import DT
from snnax.interop.families.nodes import node_from_spec
from snnax.interop.findings import Line
from snnax.interop.nir.entries import CALL
from snnax.interop.nir.exporting import exported
from snnax.interop.nir.extension import Extension
from snnax.interop.nir.portable import losses
from snnax.interop.nir.programs import program_graph
from snnax.interop.program.module import PortedProgram
from snnax.interop.program.nodes import NEURON, PULLBACK, RANDOM, STRAIGHT, SURROGATE, Loop, Node, Program

__all__ = ["Blocker", "Check", "NirNode", "check"]


@dataclass(frozen=True)
class Blocker:
    """One thing that stands in the way.

    Attributes:
        module: path of the module, as ``features.lif2``; the network's class for the network itself.
        line: of the user's code, as ``net.py:12``; empty if no class of the user's says it.
        source: what is written there.
        problem: what was found, and what it means.
        edit: the smallest edit that removes it.
    """

    module: str
    line: str
    source: str
    problem: str
    edit: str

    def __str__(self) -> str:
        written = f"\n     {self.source}" if self.source else ""
        return f"{self.module} ({self.line or 'no line'}): {self.problem}.{written}\n     -> {self.edit}"


@dataclass(frozen=True)
class NirNode:
    """What becomes of a part of the network in NIR.

    Attributes:
        name: of the node or module.
        type: of the NIR node; empty if it reaches none.
        reason: why not; or, beside a type, what a reader other than snnax makes of it that is not the same.
    """

    name: str
    type: str
    reason: str = ""

    def __str__(self) -> str:
        return f"{self.name}: {self.type or 'no node'}" + (f", {self.reason}" if self.reason else "")


@dataclass(frozen=True)
class Check:
    """What :func:`~snnax.interop.check` finds.

    Attributes:
        network: its class.
        function: of :mod:`snnax.interop` which ports it, as ``"from_snntorch"``.
        form: ``"graph"`` of layers, which is one step of time; or ``"program"``; empty if something blocks.
        parts: what there is before, in and after its loops over time, in the order in which it runs.
        blockers: all that stands in the way.
        approximated: what would not be the same; conversions from torch approximate nothing, and a NIR file may for
            readers other than snnax.
        nir: what becomes of its parts in NIR.
        training: whose gradients are unknown, so that training is refused; empty: all gradients are torch's.
        steps: ``"any"``, or why the number of time steps is fixed.
        batch: ``"any"``, or why the size of the batch is fixed.
        draws: it draws random numbers, and takes ``rngs={"draws": key}``.
        guards: checks in ``forward`` that raise an error for other values, which the port leaves out.
    """

    network: str
    function: str
    form: str
    parts: tuple[str, ...] = ()
    blockers: tuple[Blocker, ...] = ()
    approximated: tuple[str, ...] = ()
    nir: tuple[NirNode, ...] = ()
    training: tuple[Blocker, ...] = ()
    steps: str = ""
    batch: str = ""
    draws: bool = False
    guards: tuple[str, ...] = ()

    @property
    def ok(self) -> bool:
        """Nothing blocks."""
        return not self.blockers

    @property
    def call(self) -> str:
        """What ports the network."""
        return f"model, variables = interop.{self.function}(net, sample)"

    @property
    def verdict(self) -> str:
        """The first sentence, which says whether it ports, and as what, or how much stands in the way."""
        if self.ok:
            what = "a graph of layers, one step of time" if self.form == "graph" else "a program"
            return f"{self.network} ports: nothing blocks. It becomes {what}."
        count = len(self.blockers)
        things = "one thing stands" if count == 1 else f"{count} things stand"
        return f"{self.network} does not port yet: {things} in the way."

    def to_dict(self) -> dict[str, Any]:
        """All of it in lists, dicts and texts, for JSON."""
        return {"ok": self.ok, "call": self.call, **asdict(self)}

    def __str__(self) -> str:
        return "\n".join(self._blocked() if self.blockers else self._ported())

    def _repr_html_(self) -> str:
        """The same for notebooks."""
        from snnax.interop.checking_page import summary

        return summary(self)

    def _blocked(self) -> Iterator[str]:
        yield self.verdict
        for number, blocker in enumerate(self.blockers, 1):
            yield f"{number:>3}. {blocker}"
        yield from self._in_nir()
        yield f"After these edits: {self.call}"

    def _ported(self) -> Iterator[str]:
        yield self.verdict
        yield f"  call          {self.call}"
        yield from _listed("parts", self.parts)
        yield f"  time steps    {self.steps}"
        yield f"  batch         {self.batch}"
        if self.draws:
            yield '  draws         random numbers, from rngs={"draws": key}'
        yield from _listed("guards left out", self.guards)
        yield from _listed("gradients", [str(known) for known in self.training] or ["those of torch"])
        yield from _listed("approximated", self.approximated or ["nothing"])
        yield from self._in_nir()

    def _in_nir(self) -> Iterator[str]:
        yield from _listed("NIR", [str(node) for node in self.nir])


def _listed(title: str, entries: Any) -> Iterator[str]:
    for number, entry in enumerate(entries):
        yield f"  {'' if number else title:<13} {entry}"


@checks.takes(sample=CALL)
def check(net: Any, sample: Any) -> Check:
    """Say whether and how a torch network ports, without raising: everything that blocks it, at once.

    It calls what ports the network (``from_snntorch``, ``from_norse`` or ``from_spikingjelly``, by its modules) and
    reads the answer, so that it says what that call does; the error of that call lists the same blockers.

    Args:
        net: a torch module; it stays as it is.
        sample: what one call of ``net`` takes, as for that function.

    Returns:
        A :class:`~snnax.interop.checking.Check`: ``ok``, ``blockers`` with module path, line of your file and edit,
        ``nir``, ``training``, ``steps``, ``batch``; ``print(found)`` shows it, ``found.to_dict()`` is for programs.

    Raises:
        ArgumentError: for what is no torch module, or no sample.
        ShapeError: if a layer does not fit the sample.
        MissingDependencyError: if torch or the framework is not installed.

    Example:
        >>> import torch, snntorch
        >>> from snnax import interop
        >>> net = torch.nn.Sequential(torch.nn.Linear(3, 2), snntorch.Leaky(beta=0.9, init_hidden=True))
        >>> found = interop.check(net, torch.ones(1, 3))
        >>> found.ok, found.form, [node.type for node in found.nir]
        (True, 'graph', ['Affine', 'LIF'])
        >>> found.call
        'model, variables = interop.from_snntorch(net, sample)'
    """
    if isinstance(net, type) or not hasattr(net, "named_modules"):
        raise checks.refuse("check(net=...)", net, "a torch.nn.Module")
    adapter = _adapter(net)
    function = str(adapter.words.source)
    network = type(net).__name__
    from snnax import interop

    try:
        model, variables = getattr(interop, function)(net, sample)
    except ConversionError as error:
        blockers = tuple(map(_blocker, error.apart()))
        return Check(network, function, "", blockers=blockers, nir=tuple(_of_modules(net, adapter)))
    nir = tuple(_in_nir(model, variables, network))
    if not isinstance(model, PortedProgram):
        approximated = tuple(
            f"{node.name} in NIR: {node.reason}" for node in nir if node.type and node.reason
        )
        steps = "any: it is called step by step, and snnax.unroll is the loop"
        parts = tuple(f"{name}: {type(part).__name__}" for name, part in model.members().items())
        return Check(network, function, "graph", parts, (), approximated, nir, (), steps, "any")
    program = model.program
    notes = {note.kind: note for note in program.notes}
    return Check(
        network, function, "program", tuple(_parts(program)), (), (), nir, tuple(_untrained(program)),
        _steps(program), "any" if program.batch else notes["batch"].text if "batch" in notes else "fixed",
        any(node.base in RANDOM for node in program.nodes()),
        tuple(f"{note.line}: {note.text}" for note in program.notes if note.kind == "guard"),
    )  # fmt: skip


def _adapter(net: Any) -> Any:
    """That of the network's framework."""
    from snnax.interop.frameworks import adapter_of

    try:
        return adapter_of(net)
    except ModuleNotFoundError as error:
        raise MissingDependencyError(error.name or "torch", "torch", "snnax.interop.check") from error


def _blocker(error: ConversionError) -> Blocker:
    source = error.line.text if isinstance(error.line, Line) else ""
    return Blocker(error.node, str(error.line), source, error.problem, error.remedy)


def _in_nir(model: Any, variables: Any, network: str) -> Iterator[NirNode]:
    """The nodes of its graph; and what has none, of a program with what it does before and after its loop."""
    if not isinstance(model, PortedProgram):
        yield from _of_graph(exported(model, variables))
        return
    problems: list[ConversionError] = []
    for leave_out in ((), ("before", "after")):
        try:
            graph = program_graph(model, variables, DT, leave_out)
        except ConversionError as error:
            problems = problems or error.apart()
            continue
        yield from _of_graph(graph)
        break
    for problem in problems:
        where = f" ({problem.line})" if problem.line else ""
        name = network if problem.node == "the network" else problem.node
        yield NirNode(name, "", f"{problem.problem}{where}")


def _of_graph(graph: Any) -> Iterator[NirNode]:
    lost = losses(graph)
    for name, node in graph.nodes.items():
        if not isinstance(node, nir.Input | nir.Output):
            kind = "" if isinstance(node, Extension) else type(node).__name__
            yield NirNode(name, kind, lost.get(name, ""))


def _of_modules(net: Any, adapter: Any) -> Iterator[NirNode]:
    """Of a network that does not port yet: its neurons, and layers that have a node."""
    for path, module in net.named_modules():
        kind = _LAYERS.get(type(module).__name__, "")
        if adapter.is_neuron(module):
            try:
                made = node_from_spec(path, adapter.spec_of(path, module, False), None, DT)
            except ConversionError as error:
                yield NirNode(path, "", error.problem)
                continue
            kind = "" if isinstance(made, Extension) else type(made).__name__
            yield NirNode(path, kind, "once nothing blocks" if kind else "NIR has no node for it")
        elif kind:
            yield NirNode(path, kind, "once nothing blocks")


_LAYERS = {
    "Linear": "Affine", "Conv1d": "Conv1d", "Conv2d": "Conv2d", "AvgPool2d": "AvgPool2d", "Flatten": "Flatten",
}  # fmt: skip
"""By the class of a layer of torch."""


def _parts(program: Program) -> Iterator[str]:
    """What runs, in order: operations outside of loops, and loops. A layer that is half hoisted is told in its loop."""
    inside = {node.path for loop in program.loops for node in loop.body if node.layer is not None}
    outside: list[Node] = []
    seen = False
    for item in program.items:
        if isinstance(item, Loop):
            if outside:
                yield f"{'between loops' if seen else 'before the loop'}: {_operations(outside)}"
            outside, seen = [], True
            yield f"step, {item.steps} times: {_operations(item.body)}"
        elif item.layer is None or item.path not in inside:
            outside.append(item)
    if outside:
        yield f"{'after the loop' if seen else 'one step'}: {_operations(outside)}"


def _operations(nodes: list[Node]) -> str:
    """Layers and neurons by their paths, and other operations by their names."""
    names: Counter[str] = Counter()
    before = None
    for node in nodes:
        whole = node.op == NEURON or node.layer is not None
        key = (node.path, node.layer) if whole else None
        if key is None or key != before:  # a layer of several operations is one
            names[node.path if whole else node.base] += 1
        before = key
    return ", ".join(name if count == 1 else f"{name} ({count}x)" for name, count in names.items())


def _steps(program: Program) -> str:
    if program.time:
        some = "any" if program.least <= 1 else f"any number from {program.least} on"
        return some if program.most is None else f"{some}, up to {program.most}: its code has a rule for more"
    note = next((note for note in program.notes if note.kind == "steps"), None)
    if note is not None:
        return f"fixed: {note.text}" + (f" ({note.line})" if note.line else "")
    if not program.loops:
        return "any: a call is one step"
    return f"fixed by forward: {', '.join(str(loop.steps) for loop in program.loops)}"


def _untrained(program: Program) -> Iterator[Blocker]:
    """What has no known gradient."""
    told = set()
    for note in program.notes:
        if note.kind == "data":
            edit = "Compute a new tensor instead, as w = w.clamp(0, 1)."
            yield Blocker("the network", note.line, _text(note.line), note.text, edit)
    for node in program.nodes():
        decreed = node.op in (SURROGATE, STRAIGHT, PULLBACK)
        if node.function is not None and not decreed and node.function.kind not in told:
            told.add(node.function.kind)
            problem = f"{node.function.kind} has a backward that is not ported: {node.function.untraced}"
            edit = "Write that function with operations of torch."
            yield Blocker(node.path or "the network", node.line, _text(node.line), problem, edit)


def _text(line: str) -> str:
    return line.text if isinstance(line, Line) else ""
