"""A torch network that is no graph of layers in one loop: traced as a program, and made a flax module."""

from __future__ import annotations

from dataclasses import replace
from typing import TYPE_CHECKING, Any

import torch
from torch import nn

from snnax.errors import ConversionError
from snnax.interop.layers.registry import Variables
from snnax.interop.program import operators
from snnax.interop.program.derivatives import DECREED
from snnax.interop.program.module import Held, PortedProgram, is_held, variables_of
from snnax.interop.program.nodes import NEURON, PULLBACK, Input, Program, Result, mapped
from snnax.interop.torch.arrays import dtype_of
from snnax.interop.torch.calls import is_array, tensor_of
from snnax.interop.torch.leaves import value_of
from snnax.interop.torch.prepare import check_finite, unwrap
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
    try:
        return program_of(net, sample, adapter)
    except ConversionError as error:
        # of a sample on which torch fails, and of a neuron that keeps a state of its own, the first reader knows more
        if error.__cause__ is not None or error.problem.startswith("in a second call"):
            raise refusal from error
        raise


def program_of(net: nn.Module, sample: Any, adapter: Adapter) -> tuple[PortedProgram, Variables]:
    """The module of a network, whatever it runs, and its variables.

    Raises:
        ConversionError: why it is no program.
    """
    net = unwrap(net)
    adapter.check_program(net)
    check_finite(net, adapter)
    program = trace_program(net, arguments_of(net, sample), adapter=adapter, steady=True)
    check_operators(program)
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


def check_operators(program: Program) -> None:
    """Refuse operations that JAX has no equal of, all of them at once.

    Raises:
        ConversionError: names each with its line.
    """
    known = {*operators.known(), *DECREED, PULLBACK}
    missing: dict[str, ConversionError] = {}
    for node in program.nodes():
        if node.op != NEURON and node.op not in known and node.op not in missing:
            problem = f"torch's operation {node.op} is not known"
            remedy = "Write it with operations that are: the page on porting lists them."
            missing[node.op] = ConversionError(node.path or "the network", problem, remedy, node.line)
    if missing:
        raise ConversionError.joined(list(missing.values()))


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
