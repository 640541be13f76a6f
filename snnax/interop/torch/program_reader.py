"""A torch network that is no graph of layers in one loop: traced as a program, and made a flax module."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import replace
from functools import partial
from typing import TYPE_CHECKING, Any

import jax
import torch
from torch import nn

from snnax.errors import ConversionError, TrainingModeError
from snnax.interop.findings import Findings
from snnax.interop.layers.registry import Variables
from snnax.interop.program import operators
from snnax.interop.program.derivatives import DECREED
from snnax.interop.program.module import Held, PortedProgram, is_held, variables_of
from snnax.interop.program.nodes import (
    NEURON,
    PULLBACK,
    Input,
    Leaf,
    Node,
    Program,
    Ref,
    Result,
    filled,
    flat,
    mapped,
)
from snnax.interop.torch.arrays import dtype_of
from snnax.interop.torch.calls import is_array, tensor_of
from snnax.interop.torch.declared import line_of_module
from snnax.interop.torch.dispatch import OPAQUE
from snnax.interop.torch.edits import edit_of
from snnax.interop.torch.leaves import value_of
from snnax.interop.torch.prepare import check_finite, check_real, unwrap
from snnax.interop.torch.programs import trace_program

if TYPE_CHECKING:
    from snnax.interop.frameworks.adapter import Adapter


def ported_program(
    net: nn.Module, sample: Any, adapter: Adapter, refusal: ConversionError, *, folded: bool
) -> tuple[PortedProgram, Variables]:
    """The module of a network that the graph reader refuses, and its variables.

    Args:
        net: the network.
        sample: what one call takes.
        adapter: its framework.
        refusal: why it is no graph of layers.
        folded: batch normalisation was to be folded into weights, which only a graph has.

    Raises:
        ConversionError: the refusal, for what no program changes; or why it is no program.
    """
    if folded or not adapter.may_be_program(unwrap(net)):
        raise refusal
    findings = findings_of(net)
    # what a call with training=True does depends on chance, and a program may do so
    findings.add(part for part in refusal.apart() if isinstance(part, TrainingModeError))
    try:
        return program_of(net, sample, adapter, findings)
    except ConversionError as error:
        failed = [part for part in error.apart() if part.__cause__ is not None]
        told = [part for part in refusal.apart() if part.__cause__ is not None]
        if not failed or not told:
            raise
        # of a sample on which torch fails the first reader knows more
        others = [part for part in error.apart() if part not in failed]
        raise ConversionError.joined([*told, *others]) from told[0].__cause__


def findings_of(net: nn.Module) -> Findings:
    """Gathers what stands in the way of a network."""
    return Findings(partial(line_of_module, unwrap(net)))


def program_of(
    net: nn.Module,
    sample: Any,
    adapter: Adapter,
    findings: Findings | None = None,
    *,
    training: bool = False,
) -> tuple[PortedProgram, Variables]:
    """The module of a network, whatever it runs, and its variables.

    Args:
        net: the network.
        sample: what one call takes.
        adapter: its framework.
        findings: what stands in the way as far as it is known.
        training: port layers in training mode as they are.

    Raises:
        ConversionError: why it is no program: all that was found, with the lines.
    """
    net = unwrap(net)
    findings = findings_of(net) if findings is None else findings
    with findings.going_on():
        adapter.check_program(net)
    try:
        check_real(net, adapter)
    except ConversionError as error:  # it cannot be run, to find out what else there is
        findings.add([error])
        findings.check()
    with findings.going_on():
        check_finite(net, adapter)
    program = trace_program(
        net,
        arguments_of(net, sample),
        adapter=adapter,
        steady=True,
        training=training,
        findings=findings,
        refused=partial(unknown_operators, type(net).__name__),
    )
    program.inputs[:] = _with_all_names(net, program.inputs)
    program.inputs += _unread(net, program, adapter)
    held = Held(program)
    return PortedProgram(held), variables_of(held)


def arguments_of(net: nn.Module, sample: Any) -> tuple[Any, ...]:
    """A sample as positional arguments, floating arrays in the precision of the network."""
    parameters = (p.dtype for p in net.parameters() if p.is_floating_point())
    dtype = next(parameters, torch.float32)

    def tensor(entry: Any) -> Any:
        if not is_array(entry):
            return entry
        made = tensor_of(entry)
        return made.to(dtype) if made.is_floating_point() else made

    given = tuple(sample) if isinstance(sample, tuple | list) else (sample,)
    return tuple(mapped(entry, tensor) for entry in given)


def unknown_operators(label: str, program: Program) -> Iterator[ConversionError]:
    """The refusals of operations that JAX has no equal of; ``label`` is what to call the network itself."""
    known = {*operators.known(), *DECREED, PULLBACK, NEURON, OPAQUE}
    unknown: dict[tuple[str, str, str], list[str]] = {}
    asked: set[tuple[str, str]] = set()
    for node in program.nodes():
        if node.base.startswith("_sparse"):
            continue  # sparse tensors are refused by themselves
        if node.op not in known:
            unknown.setdefault((node.path, node.line, edit_of(node.op)), []).append(node.op)
        elif node.base in _PARTLY and (node.op, node.line) not in asked:
            asked.add((node.op, node.line))
            if (error := _refused(program, node)) is not None:
                yield ConversionError(node.path or label, error.problem, error.remedy, node.line)
    for (path, line, edit), names in unknown.items():
        several = [*dict.fromkeys(names)]
        what, verb = ("operations", "have") if len(several) > 1 else ("operation", "has")
        problem = f"torch's {what} {', '.join(several)} {verb} no equal in JAX yet"
        yield ConversionError(path or label, problem, edit, line)


_PARTLY = frozenset({
    "index", "_unsafe_index", "index_put", "_unsafe_index_put", "embedding", "grid_sampler_2d",
    "scaled_dot_product_attention", "_scaled_dot_product_flash_attention_for_cpu",
})  # fmt: skip
"""Operations that are known for some arguments only."""


def _refused(program: Program, node: Node) -> ConversionError | None:
    """Why JAX has no equal of an operation with these arguments; ``None`` if it has."""

    def form(entry: Any) -> Any:
        if not isinstance(entry, Leaf | Ref):
            return None
        if isinstance(entry, Leaf):
            result = program.inputs[entry.index].result
        else:
            source = program.items[entry.node]
            result = source.results[entry.out] if isinstance(source, Node) else source.kept[entry.out].result
        known = result.at(program.size)
        return jax.ShapeDtypeStruct(known.shape, jax.dtypes.canonicalize_dtype(known.dtype))

    entries = list(flat((node.args, node.kwargs)))
    forms = [form(entry) for entry in entries]

    def evaluated(arrays: list[Any]) -> Any:
        rest = iter(arrays)
        given = [entry if known is None else next(rest) for entry, known in zip(entries, forms, strict=True)]
        args, kwargs = filled((node.args, node.kwargs), given)
        return operators.evaluate(node.op, args, kwargs, node.results)

    try:
        jax.eval_shape(evaluated, [known for known in forms if known is not None])
    except ConversionError as error:
        return error
    return None


def _with_all_names(net: nn.Module, inputs: list[Input]) -> list[Input]:
    """The inputs with the further names of tensors that modules share: what is trained changes under all of them."""
    names: dict[int, list[str]] = {}
    kinds = (net.named_parameters(remove_duplicate=False), net.named_buffers(remove_duplicate=False))
    for name, tensor in (pair for kind in kinds for pair in kind):
        names.setdefault(id(tensor), []).append(name)
    shared = {name: group for group in names.values() if len(group) > 1 for name in group}
    stored, taken = set(net.state_dict()), {known.name for known in inputs}
    return [
        replace(known, also=tuple(n for n in shared[known.name] if n in stored and n not in taken))
        if is_held(known) and known.name in shared
        else known
        for known in inputs
    ]


def _unread(net: nn.Module, program: Program, adapter: Adapter) -> list[Input]:
    """What the network has in its ``state_dict`` and the call did not read: it goes back with the rest."""
    known = {name for entry in program.inputs for name in (entry.name, *entry.also)}
    states = {
        f"{path}.{state}".lstrip(".")
        for path, module in adapter.neurons(net).items()
        for state in adapter.passing(module)
    }
    trained = {name for name, p in net.named_parameters() if p.requires_grad}
    found = []
    for name, tensor in net.state_dict().items():
        if name not in known and name not in states and isinstance(tensor, torch.Tensor):
            result = Result(tuple(tensor.shape), dtype_of(tensor.dtype))
            value, learned = value_of(tensor), name in trained
            found.append(Input("parameter" if learned else "buffer", name, result, value, learned))
    return found
