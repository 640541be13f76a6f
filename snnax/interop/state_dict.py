"""Weights under snnTorch's names: a ``state_dict`` from a flax model and back, also as a safetensors file."""

from __future__ import annotations

import dataclasses
import importlib
from collections.abc import Iterator, Mapping
from dataclasses import replace
from math import prod
from os import PathLike, fspath
from pathlib import Path
from typing import Any

import flax.linen as nn
import jax
import jax.numpy as jnp
import numpy as np
from flax.core import unfreeze
from flax.core.meta import AxisMetadata
from flax.errors import FlaxError
from flax.traverse_util import flatten_dict, unflatten_dict

from snnax import checks
from snnax.drafts import write_whole
from snnax.errors import ArgumentError, ConversionError, MissingDependencyError, ShapeError, StateDictError
from snnax.interop import conventions
from snnax.interop.families.registry import of_module
from snnax.interop.layers.entries import Entry, Keys, Layer, Rule, entries_of
from snnax.interop.nir.entries import SAMPLE
from snnax.interop.numbers import array, as_stored, held, on_device, whole
from snnax.interop.state_dict_ranks import known_ranks
from snnax.layers import Flatten, Reshape
from snnax.modules import NET, VARIABLES
from snnax.network.containers import Container, Graph
from snnax.network.kinds import homes
from snnax.network.topology import INPUT, OUTPUT
from snnax.neurons import SpikingNeuron
from snnax.neurons.buffers import check_kept
from snnax.neurons.sequence import SequenceNeuron

__all__ = ["from_state_dict", "load_safetensors", "save_safetensors", "to_state_dict"]

# --- The layers of a network with torch's names, and where an image was flattened in another order than torch's

REMEDY = (
    "Flatten in torch's order with snnax.Flatten(channels_first=True), or pass sample=x[0], one step's input."
)
Shapes = dict[Keys, tuple[int, ...]]


def layers_of(model: nn.Module, variables: Mapping[str, Any], shapes: Shapes) -> list[Layer]:
    """Layers in the order of the network; each module once, under the name that it has first."""
    where = homes(model) if isinstance(model, Container) else {}
    found = list(_visit(model, (), "", variables, where))
    paths = {layer.path: layer.module for layer in found}
    ranks = known_ranks(model, variables, paths)
    seen = {p: len(s) - 1 for p, s in shapes.items() if not isinstance(paths.get(p), SequenceNeuron)}
    return [dataclasses.replace(layer, rank={**ranks, **seen}.get(layer.path)) for layer in found]


def _visit(
    module: Any, path: Keys, name: str, variables: Mapping[str, Any], where: Mapping[Any, Keys]
) -> Iterator[Layer]:
    if _rule(module) is not None:
        yield Layer(path, name, module)
    elif isinstance(module, Container):
        for member, part in module.members().items():
            here = (*path, member)
            if where.get(part._id, here) == here:
                yield from _visit(part, here, _joined(name, _in_sequence(member)), variables, where)
    else:
        if module.scope is None:
            module = module.bind({c: branch(tree, path) for c, tree in variables.items()})
        yield from _custom(module, path, name, variables, where)


def _custom(
    module: Any, path: Keys, name: str, variables: Mapping[str, Any], where: Mapping[Any, Keys]
) -> Iterator[Layer]:
    """The modules that are attributes of a module of the user's own, or of flax's ``Sequential``."""
    for attribute, value in _attributes(module):
        for key, part in _parts(value):
            torch_name = _joined(attribute, key)
            if isinstance(part, Flatten | Reshape) and not part.channels_first:
                raise ConversionError(
                    _joined(name, torch_name), "it may flatten an image in another order than torch",
                    f"Use snnax.{type(part).__name__}(..., channels_first=True).",
                )  # fmt: skip
            if isinstance(module, nn.Sequential):
                torch_name = key
            child = (*path, part.name or _joined(attribute, key).replace(".", "_"))
            yield from _visit(part, child, _joined(name, torch_name), variables, where)


def _rule(module: Any) -> Rule | None:
    """What a module has in a ``state_dict``, as a function of the layer and its variables; ``None`` without any."""
    family = of_module(module)
    return entries_of.of(module) if family is None or family.native else family.entries


def _attributes(module: Any) -> list[tuple[str, Any]]:
    if module.scope is not None:
        hasattr(module, "setup_runs_now")  # flax runs setup when an attribute is asked for
    hidden = ("parent", "name", "scope")
    return [(k, v) for k, v in vars(module).items() if not k.startswith("_") and k not in hidden]


def _parts(value: Any) -> list[tuple[str, Any]]:
    """``("", module)``, or the modules in a list or dictionary by their key."""
    if isinstance(value, nn.Module):
        return [("", value)]
    if isinstance(value, list | tuple):
        return [(str(i), v) for i, v in enumerate(value) if isinstance(v, nn.Module)]
    if isinstance(value, Mapping):
        return [(str(k), v) for k, v in value.items() if isinstance(v, nn.Module)]
    return []


def branch(tree: Any, path: Keys) -> Any:
    """What a collection holds at ``path``; an empty dictionary if nothing."""
    for key in path:
        tree = tree.get(key, {}) if isinstance(tree, Mapping) else {}
    return tree


def _in_sequence(member: str) -> str:
    """``layers_3`` -> ``3``, torch's name in a ``Sequential``."""
    number = member.removeprefix("layers_")
    return number if number.isdigit() else member


def _joined(*names: str) -> str:
    return ".".join(name for name in names if name)


# --- shapes ---------------------------------------------------------------------------------------


def input_shapes(model: nn.Module, variables: Mapping[str, Any], sample: Any) -> Shapes:
    """Shape of the input of each layer; empty if neither ``sample`` nor the model tells its own."""
    arguments = _sample_of(model, sample)
    if arguments is None:
        return {}
    found: Shapes = {}

    def log(call: Any, args: Any, kwargs: Any, context: Any) -> Any:
        if context.method_name == "__call__" and args:
            found.setdefault(context.module.path, tuple(jnp.shape(args[0])))
        return call(*args, **kwargs)

    given = {c: v for c, v in variables.items() if c not in ("hidden", "record")}
    try:
        with nn.intercept_methods(log):
            jax.eval_shape(
                lambda v, a: model.apply(v, *a, mutable=["hidden", "batch_stats"]), given, arguments
            )
    except ArgumentError:
        raise
    except (TypeError, ValueError, FlaxError) as error:
        shapes = [jnp.shape(a) for a in arguments]
        raise ShapeError(f"a sample of shape {shapes[0]} does not go through the model: {error}") from error
    return found


def _sample_of(model: Any, sample: Any) -> tuple[Any, ...] | None:
    if sample is not None:
        return tuple(map(jnp.asarray, sample)) if isinstance(sample, tuple) else (jnp.asarray(sample),)
    if isinstance(model, Graph) and model.input_shape is not None:
        return (jnp.zeros((1, *model.input_shape)),)
    return None


# --- orders ---------------------------------------------------------------------------------------

MAYBE = (0,)
"""Order of a vector that was flattened from what may be an image."""


def columns_of(model: nn.Module, shapes: Shapes) -> dict[Keys, np.ndarray]:
    """For each dense layer behind a flattened image, the row of its kernel for each column of torch's weight.

    Raises:
        ConversionError: something else than one dense layer follows it, or the image's shape is not known.
    """
    found: dict[Keys, np.ndarray] = {}
    if isinstance(model, Container):
        _follow(model, (), MAYBE, None, shapes, found)
    return found


def _follow(
    model: Container, path: Keys, image: Keys | Any, order: Any, shapes: Shapes, found: dict[Keys, np.ndarray]
) -> tuple[Any, Any]:
    """Follow images and flattened images through a network; returns both at its end."""
    members, plan = model.members(), model.plan()
    if _shows_torch(model):
        image = None
    known: dict[str, tuple[Any, Any]] = {INPUT: (image, order)}
    for name in plan.order:
        feeds = [known[source] for source, late in plan.sources[name] if not late and source in known]
        image, order = feeds[0] if feeds else (MAYBE, None)
        if any(o != order for _, o in feeds):
            raise ConversionError(name, "it adds flattened images in different orders", REMEDY)
        module, here = members[name], (*path, name)
        if isinstance(module, Container):
            turns = getattr(module, "channels_first", False)
            inside = MAYBE if turns else image
            image, order = _follow(module, here, inside, order, shapes, found)
            known[name] = (None if turns else image, order)  # an image that it returns has torch's order
        else:
            known[name] = _after(module, here, image, order, shapes, found)
    return known[plan.sources[OUTPUT][0][0]]


def _shows_torch(model: Container) -> bool:
    """Whether a container hands its input to a graph that takes images in torch's order: then they come in it."""
    if getattr(model, "channels_first", False):
        return False
    members, plan = model.members(), model.plan()
    fed = [members[n] for n, sources in plan.sources.items() if n != OUTPUT and (INPUT, False) in sources]
    return any(
        isinstance(part, Container) and (getattr(part, "channels_first", False) or _shows_torch(part))
        for part in fed
    )


def _after(
    module: Any, path: Keys, image: Any, order: Any, shapes: Shapes, found: dict[Keys, np.ndarray]
) -> tuple[Any, Any]:
    """Whether an image, and in which order a vector, leaves one layer."""
    if isinstance(module, Reshape) and len(module.shape) > 1:
        if module.channels_first or 1 in (module.shape[-1], prod(module.shape[:-1])):
            return MAYBE, None
        raise ConversionError(
            "/".join(path), f"it makes images of shape {tuple(module.shape)}, channels last, where torch reads C, H, W",
            "Use snnax.Reshape((C, H, W), channels_first=True).",
        )  # fmt: skip
    if isinstance(module, Flatten | Reshape):
        if module.channels_first or image is None:
            return None, None
        shape = shapes[path][1:] if path in shapes else MAYBE
        one_order = shape != MAYBE and (len(shape) == 1 or 1 in (shape[-1], int(np.prod(shape[:-1]))))
        return None, None if one_order else shape
    if isinstance(module, nn.Dense):
        if order is not None:
            found[path] = _permutation(path, order)
        return None, None
    passes = isinstance(module, nn.Dropout) or (isinstance(module, SpikingNeuron) and not _has_arrays(module))
    if order is None or passes:
        return image, order
    raise ConversionError(
        "/".join(path), f"a {type(module).__name__} follows a Flatten in H, W, C order",
        "Use snnax.Flatten(channels_first=True).",
    )  # fmt: skip


def _has_arrays(module: SpikingNeuron) -> bool:
    values = [getattr(module, name, 0.0) for name in (*module.parameter_names, "beta", "R", "C")]
    return any(np.ndim(v) for v in values if v is not None) or hasattr(module, "learn_recurrent")


def _permutation(path: Keys, shape: tuple[int, ...]) -> np.ndarray:
    if shape == MAYBE:
        raise ConversionError(
            "/".join(path), "it follows a Flatten in H, W, C order, where torch has C, H, W; the shape is not known",
            REMEDY,
        )  # fmt: skip
    return np.asarray(conventions.channels_first(np.arange(int(np.prod(shape))).reshape(shape)).ravel())


Variables = dict[str, Any]
_WEIGHTS = ("params", "batch_stats")


@checks.takes(model=NET, variables=VARIABLES, sample=SAMPLE)
def to_state_dict(
    model: nn.Module, variables: Mapping[str, Any], sample: Any = None
) -> dict[str, np.ndarray]:
    """Weights and settings of a network under the names, and in the layouts, of snnTorch's ``state_dict``.

    ``torch_net.load_state_dict({k: torch.tensor(v) for k, v in state.items()})`` loads the result into a torch
    network with the same layers. Weights become ``(out, in)`` and ``(O, I, H, W)``. Names are paths of modules:
    ``layers_0`` of a ``Sequential`` is ``0``, ``self.fc1`` of a module of your own ``fc1``, ``self.blocks[2]``
    ``blocks.2``; models of ``from_snntorch`` have the names of the torch network.

    Args:
        model: a ``Sequential``, ``Graph``, module that assigns its layers in ``setup``, or a single layer.
        variables: its variables; the collection ``hidden`` is not needed.
        sample: one step's input ``[B, ...]`` (a tuple for several arguments), for the shapes, which matter where a
            ``Dense`` follows a ``Flatten`` that is not ``channels_first``, and where a neuron has an array for
            channels; not needed for imported models.

    Returns:
        NumPy arrays by name. What snnTorch saves and flax keeps in the module (``beta``, ``threshold``,
        ``graded_spikes_factor``, ``reset_mechanism_val``) is among them.

    Raises:
        ConversionError: for a layer that has no torch equal, layers that are not found (``nn.compact``), and
            images flattened in another order than torch's.
        ShapeError: ``sample`` does not go through the model.
        ArgumentError: ``variables`` lack the ``buffers`` that belong to their ``params``.

    Example:
        >>> import jax, jax.numpy as jnp, flax.linen as nn, snnax as snn
        >>> net = snn.Sequential([nn.Dense(2), snn.Leaky(beta=0.5, init_hidden=True)])
        >>> variables = net.init(jax.random.key(0), jnp.ones((1, 3)))
        >>> state = snn.interop.to_state_dict(net, variables)
        >>> state["0.weight"].shape, float(state["1.beta"]), int(state["1.reset_mechanism_val"])
        ((2, 3), 0.5, 0)
    """
    variables = _held(variables)
    found = list(_entries(model, variables, sample))
    if any(variables.get(collection) for collection in ("params", "buffers", "batch_stats")):
        for layer, _, _ in found:
            own = {c: branch(tree, layer.path) for c, tree in variables.items()}
            check_kept(layer.module, "/".join(layer.path), own)
    return {name: entry.value for _, name, entry in found}


@checks.takes(
    model=NET,
    variables=VARIABLES,
    sample=SAMPLE,
    state_dict=checks.mapping("arrays by name, as torch_net.state_dict() returns them"),
)
def from_state_dict(
    model: nn.Module, variables: Mapping[str, Any], state_dict: Mapping[str, Any], sample: Any = None
) -> Variables:
    """The variables of a network with the numbers of a snnTorch ``state_dict``.

    A number that the module has as an argument (``beta=0.9``) and the ``state_dict`` with another value is kept in the
    collection ``buffers``, where it wins over the argument. Counts that only torch uses (``num_batches_tracked``)
    are kept there too, so that :func:`to_state_dict` gives them back.

    Args:
        model: the network; see :func:`to_state_dict`.
        variables: its variables, as ``init`` returns them; left as they are.
        state_dict: torch tensors or arrays by name.
        sample: see :func:`to_state_dict`.

    Returns:
        New variables, in the boxes of ``nn.with_partitioning`` where ``variables`` have them; ``hidden`` and other
        collections are those of ``variables``. Dtypes of floats are those of
        the ``state_dict``, bfloat16 too; without JAX's x64 mode float64 is rounded to float32. Whole numbers become
        float32 where that holds them.

    Raises:
        StateDictError: names are missing or unexpected, shapes differ, a value contradicts the module, as a
            ``reset_mechanism_val`` of another reset mechanism, or holds what the network cannot: complex numbers, NaN,
            infinity, numbers beyond float32. The message lists all of them.
        ConversionError: as :func:`to_state_dict`.

    Example:
        >>> import jax, jax.numpy as jnp, flax.linen as nn, numpy as np, snnax as snn
        >>> net = nn.Dense(2)
        >>> variables = net.init(jax.random.key(0), jnp.ones((1, 3)))
        >>> weights = {"weight": np.zeros((2, 3), np.float32), "bias": np.ones(2, np.float32)}
        >>> loaded = snn.interop.from_state_dict(net, variables, weights)
        >>> net.apply(loaded, jnp.ones((1, 3))).tolist()
        [[1.0, 1.0]]
    """
    entries = list(_entries(model, variables, sample))
    known = {name: entry for _, name, entry in entries}
    given, unfit = _numbers(state_dict, known)
    missing = [name for _, name, entry in entries if name not in state_dict and not entry.optional]
    unexpected = [name for name in state_dict if name not in known]
    shapes, conflicts = _misfits(entries, given)
    if missing or unexpected or shapes or conflicts or unfit:
        raise StateDictError(missing, unexpected, shapes, [*unfit, *conflicts])
    flat = {
        path: np.asarray(v)
        for path, v in flatten_dict(unfreeze(nn.unbox(dict(variables)))).items()
        if path[0] != "hidden"
    }
    changed: dict[tuple[str, ...], np.ndarray] = {}
    for layer, name, entry in entries:
        if entry.path is None or name not in given:
            continue
        path = (entry.path[0], *layer.path, *entry.path[1:])
        old = changed.get(path, flat.get(path))
        if entry.setting and old is None and _same(given[name], entry.value):
            continue
        changed[path] = entry.put(old, given[name])
    whole = flatten_dict(unfreeze(dict(variables)), keep_empty_nodes=True)
    arrays = {path: on_device(value) for path, value in changed.items()}
    boxed = {
        path: whole[path].replace_boxed(v)
        for path, v in arrays.items()
        if isinstance(whole.get(path), AxisMetadata)
    }
    return dict(unflatten_dict({**whole, **arrays, **boxed}))


@checks.takes(path=checks.path, model=NET, variables=VARIABLES, sample=SAMPLE)
def save_safetensors(
    path: str | PathLike[str], model: nn.Module, variables: Mapping[str, Any], sample: Any = None
) -> None:
    """Write :func:`to_state_dict` to a safetensors file, which torch reads with ``safetensors.torch.load_file``.

    Args:
        path: file to write.
        model: the network; see :func:`to_state_dict`.
        variables: its variables.
        sample: see :func:`to_state_dict`.

    Raises:
        MissingDependencyError: safetensors is not installed.
        ConversionError: as :func:`to_state_dict`.

    Example:
        >>> import jax, jax.numpy as jnp, flax.linen as nn, snnax as snn
        >>> net = nn.Dense(2)
        >>> variables = net.init(jax.random.key(0), jnp.ones((1, 3)))
        >>> snn.interop.save_safetensors("net.safetensors", net, variables)  # doctest: +SKIP
    """
    write_whole({Path(path): safetensors_content(to_state_dict(model, variables, sample))})


@checks.takes(path=checks.path, model=NET, variables=VARIABLES, sample=SAMPLE)
def load_safetensors(
    path: str | PathLike[str], model: nn.Module, variables: Mapping[str, Any], sample: Any = None
) -> Variables:
    """The variables of a network with the numbers of a safetensors file; :func:`from_state_dict` of its content.

    Args:
        path: file to read, written by :func:`save_safetensors`, or from torch by ``safetensors.torch.save_model``.
        model: the network; see :func:`to_state_dict`.
        variables: its variables; left as they are.
        sample: see :func:`to_state_dict`.

    Returns:
        New variables.

    Raises:
        StateDictError: the file is no safetensors file, or not of this network.
        FileNotFoundError: there is no such file.
        MissingDependencyError: safetensors is not installed.

    Example:
        >>> import jax, jax.numpy as jnp, flax.linen as nn, snnax as snn
        >>> net = nn.Dense(2)
        >>> variables = net.init(jax.random.key(0), jnp.ones((1, 3)))
        >>> variables = snn.interop.load_safetensors("net.safetensors", net, variables)  # doctest: +SKIP
    """
    library = _safetensors()
    if not Path(path).exists():
        raise FileNotFoundError(f"there is no file {fspath(path)!r}")
    if not Path(path).is_file():  # of a pipe the opening waits for ever
        raise StateDictError(conflicts=[f"{fspath(path)} is no file"])
    try:
        state = library.load_file(fspath(path))
    except importlib.import_module("safetensors").SafetensorError as error:
        raise StateDictError(conflicts=[f"{fspath(path)} is no safetensors file: {error}"]) from error
    except (AttributeError, KeyError, TypeError) as error:  # how its reader refuses float8
        raise StateDictError(
            conflicts=[
                f"{fspath(path)} holds a type that NumPy has not ({error}); read it with torch, and pass that"
            ]
        ) from error
    return from_state_dict(model, variables, state, sample)


def safetensors_content(arrays: Mapping[str, np.ndarray]) -> bytes:
    """Arrays by name as the content of a safetensors file.

    Raises:
        MissingDependencyError: safetensors is not installed.
    """
    content: bytes = _safetensors().save({k: np.array(v, order="C") for k, v in arrays.items()})
    return content


def _safetensors() -> Any:
    try:
        return importlib.import_module("safetensors.numpy")
    except ImportError as error:
        raise MissingDependencyError("safetensors", "io", "A safetensors file") from error


def _entries(
    model: nn.Module, variables: Mapping[str, Any], sample: Any
) -> Iterator[tuple[Layer, str, Entry]]:
    """Every array of the ``state_dict``: its layer, its full name, and how to read and write it."""
    variables = nn.unbox(dict(variables))
    shapes = input_shapes(model, variables, sample)
    columns = columns_of(model, shapes)
    covered: set[tuple[str, ...]] = set()
    for layer in layers_of(model, variables, shapes):
        rule = _rule(layer.module)
        own = {c: branch(tree, layer.path) for c, tree in variables.items()}
        for entry in rule(layer, own) if rule else ():
            if entry.path is not None:
                covered.add((entry.path[0], *layer.path, *entry.path[1:]))
            if layer.path in columns and entry.key == "weight":
                entry = _permuted(entry, columns[layer.path])
            yield layer, f"{layer.name}.{entry.key}" if layer.name else entry.key, entry
    _check_covered(variables, covered)


def _held(variables: Mapping[str, Any]) -> dict[str, Any]:
    """The variables as NumPy's arrays of real numbers, of any library; the state is not written."""

    def one(path: Any, leaf: Any) -> Any:
        return held("/".join(str(getattr(key, "key", key)) for key in path), "", leaf)

    return {
        collection: tree
        if collection == "hidden"
        else jax.tree_util.tree_map_with_path(one, {collection: tree})[collection]
        for collection, tree in nn.unbox(dict(variables)).items()
    }


def _permuted(entry: Entry, columns: np.ndarray) -> Entry:
    """A dense weight whose columns torch has in another order."""
    back = np.argsort(columns)
    return replace(entry, value=entry.value[:, columns], put=lambda old, new: entry.put(old, new[:, back]))


def _check_covered(variables: Mapping[str, Any], covered: set[tuple[str, ...]]) -> None:
    there = [(c, *path) for c in _WEIGHTS for path in flatten_dict(unfreeze(dict(variables.get(c, {}))))]
    left = ["/".join(path) for path in there if path not in covered]
    if left:
        raise ConversionError(
            left[0], f"no layer with a torch equal was found for {', '.join(left)}",
            "Assign layers in setup rather than in an nn.compact call, and use layers that torch has: Dense, Conv, "
            "BatchNorm and the layers of snnax.",
        )  # fmt: skip


def _misfits(
    entries: list[tuple[Layer, str, Entry]], given: Mapping[str, np.ndarray]
) -> tuple[list[str], list[str]]:
    shapes, conflicts = [], []
    for layer, name, entry in entries:
        if name not in given:
            continue
        if not entry.fits(given[name].shape):
            shapes.append(f"{name} {given[name].shape}, expected {entry.value.shape}")
        elif entry.check is not None:
            prefix = f"{layer.name}." if layer.name else ""
            beside = {n.removeprefix(prefix): v for n, v in given.items() if n.startswith(prefix)}
            if problem := entry.check(given[name], beside):
                conflicts.append(f"{name} {problem}")
    return shapes, conflicts


def _same(new: np.ndarray, old: np.ndarray) -> bool:
    return new.shape == old.shape and bool(np.all(new == old))


def _numbers(
    state_dict: Mapping[str, Any], known: Mapping[str, Entry]
) -> tuple[dict[str, np.ndarray], list[str]]:
    """What the network has a place for, as it can compute with it; and what it cannot, and why."""
    given, unfit = {}, []
    for name in [name for name in state_dict if name in known]:
        own = known[name].value
        try:
            value = array(name, "", state_dict[name])
            if value.dtype.names is not None or not np.array_equal(
                value, own
            ):  # an infinite tau, of a beta of 1, is what the network has itself
                value = whole(name, "", value) if own.dtype.kind in "biu" else as_stored(name, "", value)
            given[name] = value
        except ConversionError as error:
            unfit.append(f"{name} {error.problem} ({error.remedy.rstrip('.')})")
    return given, unfit
