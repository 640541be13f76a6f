"""``snnax convert``: a NIR file as weights or source of a framework."""

from __future__ import annotations

import argparse
import keyword
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np

from snnax.cli.files import check_network, refuse_existing, save_arrays
from snnax.cli.readings import read
from snnax.drafts import write_whole
from snnax.errors import ArgumentError
from snnax.shown import shown

_ENDS = {
    "flax": (".npz", ".safetensors"),
    "snntorch": (".pt", ".pth"),
    "norse": (".pt", ".pth"),
    "flax-source": (".py",),
}


def convert(options: argparse.Namespace) -> dict[str, Any]:
    """The command; returns what it wrote, as JSON values."""
    if options.out.suffix not in _ENDS[options.to]:
        raise ArgumentError(
            f"{options.out}: --to {options.to} writes a file whose name ends in {' or '.join(_ENDS[options.to])}."
        )
    written = [options.out]
    if options.to == "flax-source":
        written.append(options.out.with_suffix(".npz"))
        if not options.out.stem.isidentifier() or keyword.iskeyword(options.out.stem):
            raise ArgumentError(
                f"{options.out}: Python cannot import a module called {options.out.stem!r}; take letters, digits and "
                "_, and no word of Python's."
            )
    refuse_existing(*written, force=options.force)
    check_network(options.file)
    model, variables = read(options)
    use = _WRITERS[options.to](options, model, variables)
    return {
        "file": str(options.file),
        "to": options.to,
        "written": [str(path) for path in written],
        "bytes": [path.stat().st_size for path in written],
        "use": use,
    }


def text(content: dict[str, Any]) -> str:
    """What was written and how to use it."""
    lines = [
        f"written  {shown(path)} ({size} bytes)"
        for path, size in zip(content["written"], content["bytes"], strict=True)
    ]
    return "\n".join([*lines, f"use      {shown(content['use'])}"])


def _flax(options: argparse.Namespace, model: Any, variables: Any) -> str:
    from flax.traverse_util import flatten_dict

    flat = {"/".join(path): np.asarray(value) for path, value in flatten_dict(variables).items()}
    save_arrays(options.out, flat)
    module = "safetensors.numpy.load_file" if options.out.suffix == ".safetensors" else "numpy.load"
    return f'variables = flax.traverse_util.unflatten_dict(dict({module}("{options.out.name}")), sep="/")'


def _snntorch(options: argparse.Namespace, model: Any, variables: Any) -> str:
    from snnax import interop

    return _state_dict(options.out, interop.to_snntorch(model, variables), "to_snntorch")


def _norse(options: argparse.Namespace, model: Any, variables: Any) -> str:
    from snnax import interop

    return _state_dict(options.out, interop.to_norse(model, variables), "to_norse")


def _state_dict(path: Path, net: Any, function: str) -> str:
    from snnax.interop.torch.writing import saved_state_dict

    write_whole({path: saved_state_dict(net)})
    return (
        f'net = snnax.interop.{function}(model, variables); net.load_state_dict(torch.load("{path.name}"))'
        "  # (model, variables) of interop.from_nir; the network itself cannot be pickled"
    )


def _source(options: argparse.Namespace, model: Any, variables: Any) -> str:
    from snnax import interop

    interop.write_source(options.out, model, variables, origin=options.file.name)
    return f"from {options.out.stem} import build; model, variables = build()"


_WRITERS: dict[str, Callable[[argparse.Namespace, Any, Any], str]] = {
    "flax": _flax,
    "snntorch": _snntorch,
    "norse": _norse,
    "flax-source": _source,
}
