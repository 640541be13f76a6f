"""``snnax check``: whether a torch network in a Python file ports, and all that stands in the way."""

from __future__ import annotations

import argparse
import ast
import contextlib
import importlib.util
import sys
import traceback
from collections.abc import Iterator
from pathlib import Path
from types import ModuleType
from typing import Any

import numpy as np

from snnax.cli.files import load
from snnax.errors import ArgumentError, MissingDependencyError, SnnaxError

_SCRIPT = "Write what is to run only as a script under if __name__ == '__main__'."
_TARGET = "FILE.py:NAME or FILE.py:'NAME(arguments)', as net.py:'Net(784, beta=0.9)'"


def check(options: argparse.Namespace) -> Any:
    """The command: what :func:`snnax.interop.check` finds.

    Raises:
        ArgumentError: for a file, class or sample that is none.
    """
    file, call = _target(options.network)
    # what the user's code prints is no result
    with contextlib.redirect_stdout(sys.stderr), _imported(file) as module:
        net = _made(module, file, call)
        if not options.train:
            net.eval()
        sample = _sample(options, net)
        from snnax import interop

        return interop.check(net, sample)


def _target(text: str) -> tuple[Path, ast.Call | ast.Name | None]:
    """The file, and the name or call in it.

    Raises:
        ArgumentError: it is written otherwise.
    """
    name, _, written = text.partition(".py:")
    path = Path(name + ".py" if ".py:" in text else name)
    if path.suffix != ".py":
        raise ArgumentError(f"{text}: expected {_TARGET}.")
    if not path.is_file():
        raise ArgumentError(f"{path}: there is no such file; expected {_TARGET}.")
    if not written:
        return path, None
    try:
        node = ast.parse(written, mode="eval").body
    except (SyntaxError, ValueError):
        node = None
    named = node.func if isinstance(node, ast.Call) else node
    if not isinstance(node, ast.Call | ast.Name) or not isinstance(named, ast.Name):
        raise ArgumentError(f"{text}: expected {_TARGET}.")
    return path, node


@contextlib.contextmanager
def _imported(path: Path) -> Iterator[ModuleType]:
    """The file as a module, which finds the files beside it.

    Raises:
        ArgumentError: it raises an error; names its line.
    """
    path = path.resolve()
    spec = importlib.util.spec_from_file_location(path.stem, path)
    if spec is None or spec.loader is None:
        raise ArgumentError(f"{path}: not a Python file.")
    module = importlib.util.module_from_spec(spec)
    before, hidden = list(sys.path), sys.modules.get(path.stem)
    sys.path.insert(0, str(path.parent))
    sys.modules[path.stem] = module
    try:
        with _reported(path, "importing it", _SCRIPT):
            spec.loader.exec_module(module)
        yield module
    finally:
        sys.path[:] = before
        if hidden is None:
            sys.modules.pop(path.stem, None)
        else:
            sys.modules[path.stem] = hidden


@contextlib.contextmanager
def _reported(path: Path, doing: str, remedy: str) -> Iterator[None]:
    """What the user's code raises, as one line with the place.

    Raises:
        ArgumentError: instead.
        MissingDependencyError: for torch and its frameworks.
    """
    try:
        yield
    except SnnaxError:
        raise
    except ModuleNotFoundError as error:
        package = (error.name or "").partition(".")[0]
        if package in ("torch", "snntorch", "norse"):
            raise MissingDependencyError(package, "torch", "snnax check") from error
        raise ArgumentError(
            f"{path.name}: {doing} needs {error.name!r}, which is not there. Install it."
        ) from error
    except (Exception, SystemExit) as error:
        steps = traceback.extract_tb(error.__traceback__)
        number = next((step.lineno for step in reversed(steps) if step.filename == str(path)), None)
        number = getattr(error, "lineno", None) if number is None else number
        where = f"{path.name}:{number}" if number else path.name
        said = " ".join(str(error).split())
        if isinstance(error, SyntaxError):
            remedy = "Mend that line: Python itself cannot read it."
        raise ArgumentError(f"{where}: {doing} raises {type(error).__name__}: {said}. {remedy}") from error


def _made(module: ModuleType, path: Path, call: ast.Call | ast.Name | None) -> Any:
    """The network.

    Raises:
        ArgumentError: there is none of that name.
    """
    own = {
        name: value
        for name, value in vars(module).items()
        if isinstance(value, type) and _is_network(value) and value.__module__ == module.__name__
    }
    if call is None:
        if len(own) != 1:
            raise ArgumentError(
                f"{path.name} has the networks {', '.join(own)}; pass one of them, as {path.name}:{next(iter(own))}."
                if own
                else f"{path.name} has no class of torch.nn.Module of its own; pass a name in it that stands for a "
                f"network or makes one, as {path.name}:build."
            )
        call = ast.Name(next(iter(own)))
    name = (
        call.func.id
        if isinstance(call, ast.Call) and isinstance(call.func, ast.Name)
        else getattr(call, "id", "")
    )
    if not hasattr(module, name):
        raise ArgumentError(f"{path.name} has no {name}; its networks are {', '.join(own) or 'none'}.")
    made = getattr(module, name)
    if not _is_network(type(made)) or isinstance(call, ast.Call):
        args, kwargs = _arguments(path, call)
        with _reported(path, f"{name}(...)", f"Give its arguments as {path.name}:'{name}(784, beta=0.9)'."):
            made = made(*args, **kwargs)
    if not _is_network(type(made)):
        raise ArgumentError(
            f"{path.name}:{name} is a {type(made).__name__}; expected a torch.nn.Module, or what makes one."
        )
    return made


def _is_network(cls: type) -> bool:
    """Whether a class is a ``torch.nn.Module``, without importing torch."""
    return any(
        base.__module__ == "torch.nn.modules.module" and base.__name__ == "Module" for base in cls.__mro__
    )


def _arguments(path: Path, call: ast.Call | ast.Name) -> tuple[list[Any], dict[str, Any]]:
    """Those of a call, which are literals.

    Raises:
        ArgumentError: for anything else.
    """
    if isinstance(call, ast.Name):
        return [], {}
    try:
        args = [ast.literal_eval(arg) for arg in call.args]
        return args, {str(k.arg): ast.literal_eval(k.value) for k in call.keywords if k.arg is not None}
    except ValueError:
        raise ArgumentError(
            f"{path.name}:{ast.unparse(call)}: arguments are numbers, texts, lists, tuples, dicts, True, False and "
            f"None. For others write a function in {path.name} that makes the network, and pass its name."
        ) from None


def _sample(options: argparse.Namespace, net: Any) -> Any:
    """What the network is called with: of the shapes that are given random numbers, the same every time; or files.

    Raises:
        ArgumentError: there is none, or a shape is none.
    """
    generator = np.random.default_rng(0)
    parts: list[Any] = []
    for kind, text in options.samples or ():
        if kind == "input":
            parts.append(load(Path(text)))
            continue
        try:
            shape = tuple(int(size) for size in text.split(","))
        except ValueError:
            shape = ()
        if not shape or min(shape) < 1:
            raise ArgumentError(f"--sample {text}: expected sizes with commas, as --sample {_shape_of(net)}.")
        parts.append(generator.random(shape, dtype=np.float32))
    if not parts:
        raise ArgumentError(
            f"what is {type(net).__name__} called with? Pass the shape of it, as --sample {_shape_of(net)} (steps, "
            "samples, features, in the order in which forward takes them), or --input X.npy."
        )
    return parts[0] if len(parts) == 1 else tuple(parts)


def _shape_of(net: Any) -> str:
    """The shape of a sample that may fit, by the first layer that says how many features it takes."""
    for module in net.modules():
        if hasattr(module, "in_features"):
            return f"25,4,{module.in_features}"
        if hasattr(module, "in_channels") and hasattr(module, "kernel_size"):
            return ",".join(["25", "4", str(module.in_channels), *["28"] * len(module.kernel_size)])
    return "25,4,784"
