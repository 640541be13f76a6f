"""Where the user's classes say it: the line that makes a module, that changes an attribute, that returns."""

from __future__ import annotations

import ast
import inspect
import textwrap
from collections.abc import Callable, Iterator
from functools import partial
from types import FunctionType
from typing import Any

from torch import nn

from snnax.interop.findings import Line
from snnax.interop.frameworks import LABELS

_LIBRARIES = ("torch", *LABELS, "snnax")


def line_of_module(net: nn.Module, path: str) -> Line:
    """The line in which the user's class makes the module at ``path``, or the container that it is in; else none."""
    modules = dict(net.named_modules())
    parts = path.split(".")
    for end in range(len(parts) - 1, -1, -1):
        parent, name = modules.get(".".join(parts[:end])), parts[end]
        if parent is not None and path in modules:
            found = next(_lines(parent, partial(_stores, name=name)), None)
            if found is not None:
                return found
    return Line()


def line_of_change(net: nn.Module, path: str, name: str) -> Line:
    """The line in which a method of the user's, but ``__init__``, changes an attribute of the module at ``path``."""
    module = dict(net.named_modules()).get(path)
    if module is None:
        return Line()
    methods = [member for member in _methods(module) if member.__name__ != "__init__"]
    kinds: tuple[Callable[[ast.AST], bool], ...] = (
        lambda node: _stores(node, name),
        lambda node: _calls(node, name),
        lambda node: isinstance(node, ast.Attribute) and node.attr == name,
    )
    for kind in kinds:
        for method in methods:
            for found in _found(method, kind):
                return found
    # a parent may change what a module inside of it holds: self.lif.beta = ...
    home, _, inner = path.rpartition(".")
    return line_of_change(net, home, name) if inner else Line()


def line_of_function(function: Any) -> Line:
    """The line in which a function begins; none for what is no function of Python."""
    code = getattr(getattr(function, "__func__", function), "__code__", None)
    return Line() if code is None else Line.at(code.co_filename, code.co_firstlineno)


def line_of_return(net: nn.Module) -> Line:
    """The last line with which ``forward`` of the network returns; none if the user did not write it."""
    forward = next((method for method in _methods(net) if method.__name__ == "forward"), None)
    found = [] if forward is None else list(_found(forward, lambda node: isinstance(node, ast.Return)))
    return found[-1] if found else Line()


def line_of_draws(net: nn.Module) -> Line:
    """The first line in which a method of the user's names Python's or NumPy's random numbers; else none."""

    def draws(node: ast.AST) -> bool:
        if not isinstance(node, ast.Attribute):
            return False
        holder = node.value
        inner = isinstance(holder, ast.Attribute) and holder.attr == "random"
        whole = isinstance(holder, ast.Name) and holder.id == "random"
        return whole or (inner and getattr(getattr(holder, "value", None), "id", "") in ("np", "numpy"))

    modules = list(net.modules())
    return next((line for module in modules for line in _lines(module, draws)), Line())


def _methods(module: nn.Module) -> Iterator[FunctionType]:
    """Those that the user wrote."""
    for cls in type(module).__mro__:
        if cls.__module__.partition(".")[0] not in _LIBRARIES:
            yield from (member for member in vars(cls).values() if isinstance(member, FunctionType))


def _lines(module: nn.Module, kind: Callable[[ast.AST], bool]) -> Iterator[Line]:
    for method in _methods(module):
        yield from _found(method, kind)


def _found(function: FunctionType, kind: Callable[[ast.AST], bool]) -> Iterator[Line]:
    """Lines of a function that have something of a kind, in order."""
    try:
        source, first = inspect.getsourcelines(function)
        tree = ast.parse(textwrap.dedent("".join(source)))
    except (OSError, TypeError, SyntaxError):  # written nowhere, or inside of an expression
        return
    numbers = sorted({getattr(node, "lineno", 1) for node in ast.walk(tree) if kind(node)})
    yield from (Line.at(function.__code__.co_filename, first + number - 1) for number in numbers)


def _stores(node: ast.AST, name: str) -> bool:
    """``x.name = ...``, ``x.name += ...`` or ``x.name[...] = ...``, and ``register_buffer("name", ...)``."""
    if isinstance(node, ast.Call) and isinstance(node.func, ast.Attribute):
        named = [arg.value for arg in node.args[:1] if isinstance(arg, ast.Constant)]
        return node.func.attr in ("register_buffer", "register_parameter", "add_module") and named == [name]
    if isinstance(node, ast.Subscript) and isinstance(node.ctx, ast.Store):
        node = node.value
        return isinstance(node, ast.Attribute) and node.attr == name
    return isinstance(node, ast.Attribute) and node.attr == name and isinstance(node.ctx, ast.Store)


def _calls(node: ast.AST, name: str) -> bool:
    """``x.name.append(...)``, ``x.name.data.clamp_(...)``: a method of what an attribute holds."""
    if not isinstance(node, ast.Call) or not isinstance(node.func, ast.Attribute):
        return False
    method, holder = node.func.attr, node.func.value
    while isinstance(holder, ast.Attribute) and holder.attr != name:
        holder = holder.value
    changes = method in ("append", "extend", "update", "add", "pop", "insert") or method.endswith("_")
    return changes and isinstance(holder, ast.Attribute) and holder.attr == name
