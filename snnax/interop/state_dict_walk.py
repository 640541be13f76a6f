"""The layers of a network with torch's names, and where an image was flattened in another order than torch's."""

from __future__ import annotations

import dataclasses
from collections.abc import Iterator, Mapping
from typing import Any

import flax.linen as nn
import jax
import jax.numpy as jnp
import numpy as np
from flax.errors import FlaxError

from snnax.errors import ArgumentError, ConversionError, ShapeError
from snnax.interop import conventions
from snnax.interop.state_dict_layers import Layer, Path, rule_of
from snnax.interop.state_dict_ranks import known_ranks
from snnax.layers import Flatten
from snnax.network.containers import Container, Graph
from snnax.network.kinds import homes
from snnax.network.topology import INPUT, OUTPUT
from snnax.neurons import SpikingNeuron
from snnax.neurons.sequence import SequenceNeuron

REMEDY = (
    "Flatten in torch's order with snnax.Flatten(channels_first=True), or pass sample=x[0], one step's input."
)
Shapes = dict[Path, tuple[int, ...]]


def layers_of(model: nn.Module, variables: Mapping[str, Any], shapes: Shapes) -> list[Layer]:
    """Layers in the order of the network; each module once, under the name that it has first."""
    where = homes(model) if isinstance(model, Container) else {}
    found = list(_visit(model, (), "", variables, where))
    paths = {layer.path: layer.module for layer in found}
    ranks = known_ranks(model, variables, paths)
    seen = {p: len(s) - 1 for p, s in shapes.items() if not isinstance(paths.get(p), SequenceNeuron)}
    return [dataclasses.replace(layer, rank={**ranks, **seen}.get(layer.path)) for layer in found]


def _visit(
    module: Any, path: Path, name: str, variables: Mapping[str, Any], where: Mapping[Any, Path]
) -> Iterator[Layer]:
    if rule_of(module) is not None:
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
    module: Any, path: Path, name: str, variables: Mapping[str, Any], where: Mapping[Any, Path]
) -> Iterator[Layer]:
    """The modules that are attributes of a module of the user's own, or of flax's ``Sequential``."""
    for attribute, value in _attributes(module):
        for key, part in _parts(value):
            torch_name = _joined(attribute, key)
            if isinstance(part, Flatten) and not part.channels_first:
                raise ConversionError(
                    _joined(name, torch_name), "it may flatten an image in another order than torch",
                    "Use snnax.Flatten(channels_first=True).",
                )  # fmt: skip
            if isinstance(module, nn.Sequential):
                torch_name = key
            child = (*path, part.name or _joined(attribute, key).replace(".", "_"))
            yield from _visit(part, child, _joined(name, torch_name), variables, where)


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


def branch(tree: Any, path: Path) -> Any:
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


def columns_of(model: nn.Module, shapes: Shapes) -> dict[Path, np.ndarray]:
    """For each dense layer behind a flattened image, the row of its kernel for each column of torch's weight.

    Raises:
        ConversionError: something else than one dense layer follows it, or the image's shape is not known.
    """
    found: dict[Path, np.ndarray] = {}
    if isinstance(model, Container):
        _follow(model, (), MAYBE, None, shapes, found)
    return found


def _follow(
    model: Container, path: Path, image: Path | Any, order: Any, shapes: Shapes, found: dict[Path, np.ndarray]
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
            turns = isinstance(module, Graph) and module.channels_first
            inside = MAYBE if turns else image
            image, order = _follow(module, here, inside, order, shapes, found)
            known[name] = (None if turns else image, order)  # an image that it returns has torch's order
        else:
            known[name] = _after(module, here, image, order, shapes, found)
    return known[plan.sources[OUTPUT][0][0]]


def _shows_torch(model: Container) -> bool:
    """Whether a container hands its input to a graph that takes images in torch's order: then they come in it."""
    if isinstance(model, Graph) and model.channels_first:
        return False
    members, plan = model.members(), model.plan()
    fed = [members[n] for n, sources in plan.sources.items() if n != OUTPUT and (INPUT, False) in sources]
    return any(
        (isinstance(part, Graph) and part.channels_first)
        or (isinstance(part, Container) and _shows_torch(part))
        for part in fed
    )


def _after(
    module: Any, path: Path, image: Any, order: Any, shapes: Shapes, found: dict[Path, np.ndarray]
) -> tuple[Any, Any]:
    """Whether an image, and in which order a vector, leaves one layer."""
    if isinstance(module, Flatten):
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


def _permutation(path: Path, shape: tuple[int, ...]) -> np.ndarray:
    if shape == MAYBE:
        raise ConversionError(
            "/".join(path), "it follows a Flatten in H, W, C order, where torch has C, H, W; the shape is not known",
            REMEDY,
        )  # fmt: skip
    return np.asarray(conventions.channels_first(np.arange(int(np.prod(shape))).reshape(shape)).ravel())
