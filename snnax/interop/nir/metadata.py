"""What NIR cannot say, carried in a node's ``metadata``: one entry and, beside it, exact arrays.

In memory the entry is a :class:`Known`. Where a graph leaves it is written as one JSON text (:func:`in_text`), which is
read once, where the graph enters again (:func:`in_memory`). Other readers ignore it and get NIR's own semantics. A
number in the text counts only while it agrees with the node's own parameter; whoever edits ``tau`` in a file gets the
edited value.
"""

from __future__ import annotations

import copy
import json
from collections.abc import Callable
from dataclasses import dataclass, replace
from typing import Any

import nir
import numpy as np

from snnax import surrogate
from snnax.errors import NIRFileError
from snnax.interop.spec import NeuronSpec

KEY = "snnax"
VERSION = 1
SURROGATES = frozenset(surrogate.__all__) - {"Function", "Surrogate", "custom_surrogate"}
"""The spike functions that a file may name."""
_LARGEST = 1e308


def _is_number(value: Any) -> bool:
    return isinstance(value, int | float) and not isinstance(value, bool) and -_LARGEST < value < _LARGEST


def _is_plain(value: Any) -> bool:
    """A choice: no number beyond all limits, and no word that would fill the page of an error that repeats it."""
    return (
        value is None
        or isinstance(value, bool)
        or _is_number(value)
        or (_is_word(value) and len(value) < 200)
    )


def _is_list(value: Any, of: Callable[[Any], bool]) -> bool:
    return isinstance(value, list) and all(map(of, value))


def _is_size(value: Any) -> bool:
    return isinstance(value, int) and not isinstance(value, bool) and 0 < value < 2**62


def _is_word(value: Any) -> bool:
    return isinstance(value, str)


def _is_table(value: Any, of: Callable[[Any], bool]) -> bool:
    return isinstance(value, dict) and all(map(of, value.values()))


def _is_choice(value: Any) -> bool:
    return _is_plain(value) or _is_list(value, _is_plain)


def _is_surrogate(value: Any) -> bool:
    if value is None:
        return True
    named = (
        isinstance(value, list) and len(value) == 2 and isinstance(value[0], str) and value[0] in SURROGATES
    )
    return named and _is_table(value[1], _is_plain)


def _is_rounding(value: Any) -> bool:
    return (
        isinstance(value, dict)
        and value.keys() == {"bits", "per_channel"}
        and _is_size(value["bits"])
        and value["bits"] <= 16
        and isinstance(value["per_channel"], bool)
    )


def _is_outputs(value: Any) -> bool:
    return _is_list(value, lambda pair: _is_list(pair, _is_word) and len(pair) == 2)


_EXPECTED: dict[str, tuple[Callable[[Any], bool], str]] = {
    "version": (_is_size, "a whole number"),
    "kind": (_is_word, "the name of a neuron"),
    "dt": (lambda value: _is_number(value) and value > 0, "a number of seconds greater than 0"),
    "learn": (lambda value: isinstance(value, bool) or _is_list(value, _is_word), "names, or true or false"),
    "options": (lambda value: _is_table(value, _is_plain), "choices by name"),
    "surrogate": (
        _is_surrogate,
        f"null, or the name of a surrogate and its arguments: {', '.join(sorted(SURROGATES))}",
    ),
    "quantizer": (lambda value: value is None or _is_list(value, _is_number), "null, or finite numbers"),
    "scalars": (lambda value: _is_table(value, _is_number), "finite numbers by name"),
    "arrays": (lambda value: _is_list(value, _is_word), "names"),
    "sizes": (lambda value: _is_table(value, _is_choice), "sizes by name"),
    "axes": (lambda value: _is_table(value, lambda n: _is_size(n) and n <= 32), "numbers of axes by name"),
    "factor": (_is_number, "a finite number"),
    "shape": (lambda value: _is_list(value, _is_size), "sizes"),
    "bias": (lambda value: isinstance(value, bool), "true or false"),
    "shared_with": (_is_word, "the name of a node"),
    "left_out": (lambda value: _is_list(value, _is_word), "words"),
    "said": (lambda value: _is_table(value, lambda texts: _is_list(texts, _is_word)), "words by node"),
    "rounded": (_is_rounding, "how many bits, 1 to 16, and whether per_channel"),
    "delay_spikes": (lambda value: isinstance(value, bool), "true or false"),
    "outputs": (_is_outputs, "pairs of names"),
}
"""What may stand under each key, and how an error says it."""


@dataclass(frozen=True)
class Known:
    """What we know of a node: stands in its metadata while it is in memory, in the place of the text.

    Attributes:
        content: what NIR cannot say, by name.
        spec: the neuron, but for weights, which are the node's arrays.
        told: the text of a file or of a user's graph said so, beside which the node may have been edited since.
    """

    content: dict[str, Any]
    spec: NeuronSpec | None = None
    told: bool = False


_NOTHING = Known({})


def write(node: nir.NIRNode, content: dict[str, Any]) -> Any:
    """Say ``content`` of a node; returns the node."""
    node.metadata[KEY] = Known(content)
    return node


def in_text(graph: nir.NIRGraph) -> nir.NIRGraph:
    """A graph as it leaves memory, with what we know of it and its nodes as text; itself."""
    for node in (graph, *graph.nodes.values()):
        known = node.metadata.get(KEY)
        if isinstance(known, Known):
            node.metadata[KEY] = json.dumps({"version": VERSION, **known.content})
    return graph


def in_memory(node: nir.NIRNode, name: str) -> nir.NIRNode:
    """A node as it enters memory: itself, or a copy with what its text says in the place of the text."""
    known = of(node, name)
    if not known.told:
        return node
    twin = copy.copy(node)
    twin.metadata = {**node.metadata, KEY: known}
    return twin


def of(node: nir.NIRNode, name: str = "") -> Known:
    """What we know of a node; nothing of nodes of other writers.

    Raises:
        NIRFileError: if the metadata is ours and damaged, or of a newer version.
    """
    given, where = {} if node.metadata is None else node.metadata, f"node {name!r}"
    if not isinstance(given, dict):
        raise _damaged(where, f"it is a {type(given).__name__}; expected entries by name")
    text = given.get(KEY)
    if text is None or isinstance(text, Known):
        return text or _NOTHING
    content = parse(text.decode(errors="replace") if isinstance(text, bytes) else text, where)
    if "version" not in content:
        raise _damaged(where, "it has no version")
    if content["version"] > VERSION:
        raise NIRFileError(
            f"{where}: its metadata is of version {content['version']}; this snnax reads up to {VERSION}."
        )
    return Known(content, _spec_of(content, given or {}, where), told=True)


def read(node: nir.NIRNode, name: str = "") -> dict[str, Any]:
    """The content of :func:`of`."""
    return of(node, name).content


def parse(text: Any, where: str) -> dict[str, Any]:
    """JSON that a file may hold, with what stands under the keys that are known checked.

    Raises:
        NIRFileError: if it is anything else; says which key, and what is expected there.
    """
    try:
        content = json.loads(text, parse_constant=_refuse_constant) if isinstance(text, str) else text
    except (ValueError, RecursionError) as error:
        raise _damaged(where, f"it is no JSON: {type(error).__name__}: {error}") from error
    if not isinstance(content, dict):
        raise _damaged(where, f"it is {_short(content)}; expected an object")
    for key, value in content.items():
        if key in _EXPECTED and not _EXPECTED[key][0](value):
            raise _damaged(where, f"{key!r} is {_short(value)}; expected {_EXPECTED[key][1]}")
    return content


def _refuse_constant(name: str) -> None:
    raise ValueError(f"{name} is no number")


def _short(value: Any) -> str:
    """A value as far as it fits into a line; a number of a million digits is not written out first."""
    if isinstance(value, int) and not -_LARGEST < value < _LARGEST:
        return "a number beyond all limits"
    text = repr(value) if isinstance(value, str | int | float | None) else f"a {type(value).__name__}"
    return text if len(text) < 80 else f"{text[:80]}..."


def _damaged(where: str, why: str) -> NIRFileError:
    return NIRFileError(
        f"{where}: its snnax metadata is damaged ({why}). Remove the key 'snnax' from its metadata to read it by "
        "NIR's own semantics."
    )


def write_spec(node: nir.NIRNode, spec: NeuronSpec, dt: float) -> Any:
    """Say all of a neuron's spec but for its weights, which are nodes, or the node's arrays."""
    arrays = {k: np.asarray(v) for k, v in spec.values.items() if np.ndim(v) > 0}
    content = {
        "kind": spec.kind,
        "dt": dt,
        "learn": list(spec.learn),
        "options": spec.options,
        "surrogate": spec.surrogate,
        "quantizer": spec.quantizer,
        "scalars": {k: float(v) for k, v in spec.values.items() if np.ndim(v) == 0},
        "arrays": sorted(arrays),
    }
    content.update({key: value for key, value in (("sizes", spec.sizes), ("axes", spec.axes)) if value})
    node.metadata.update({KEY: Known(content, _spec_of(content, arrays, "")), **arrays})
    return node


def read_spec(node: nir.NIRNode, name: str = "") -> NeuronSpec | None:
    """The spec that :func:`write_spec` said, with the weights that the node has, or ``None``."""
    spec = of(node, name).spec
    if spec is None or not hasattr(node, "arrays"):
        return spec
    return replace(spec, weights={k: np.asarray(v) for k, v in node.arrays.items()})


def _spec_of(content: dict[str, Any], beside: dict[str, Any], where: str) -> NeuronSpec | None:
    """The neuron that the content says, with the arrays that stand beside it; ``None`` if it says none."""
    if "kind" not in content:
        return None
    if missing := {"dt", "scalars", "arrays", "surrogate", "quantizer", "learn", "options"} - set(content):
        raise _damaged(where, f"it lacks {sorted(missing)}")
    values: dict[str, np.ndarray] = {k: np.asarray(v, np.float64) for k, v in content["scalars"].items()}
    for key in content["arrays"]:
        array = np.asarray(beside.get(key))
        if array.dtype.kind not in "fiu" or not np.isfinite(array).all():
            raise _damaged(
                where, f"'arrays' names {_short(key)}, which does not stand beside it as finite numbers"
            )
        values[key] = array
    learn, spike, levels = content["learn"], content["surrogate"], content["quantizer"]
    return NeuronSpec(
        kind=content["kind"],
        values=values,
        learn=tuple(learn) if isinstance(learn, list) else (),
        options=content["options"],
        surrogate=(spike[0], spike[1]) if spike else None,
        quantizer=tuple(levels) if levels else None,
        sizes={k: tuple(v) if isinstance(v, list) else v for k, v in content.get("sizes", {}).items()},
        axes=content.get("axes", {}),
    )
