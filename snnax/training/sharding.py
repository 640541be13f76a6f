"""Training on several devices: each takes a part of every batch, all keep the same weights."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

import flax.linen as nn
import jax
import jax.numpy as jnp
import numpy as np
from jax.flatten_util import ravel_pytree
from jax.sharding import Mesh, NamedSharding
from jax.sharding import PartitionSpec as Spec

from snnax import checks
from snnax.errors import ArgumentError, ShapeError
from snnax.layers.norm import BatchNormTT1d, BatchNormTT2d
from snnax.network.kinds import instances
from snnax.network.unroll import unroll

__all__ = ["AXIS", "data_mesh"]

AXIS = "data"
"""Name of the axis of devices along which batches are cut."""


def data_mesh(devices: Sequence[Any] | None = None) -> Mesh:
    """Devices that share the work of each batch: what ``fit`` and the steps take as ``mesh``.

    Args:
        devices: which; all by default, after ``jax.distributed.initialize()`` those of all processes.

    Example:
        >>> import snnax as snn
        >>> snn.training.data_mesh().axis_names
        ('data',)
    """
    chosen = (
        jax.devices()
        if devices is None
        else list(devices)
        if isinstance(devices, list | tuple | np.ndarray)
        else []
    )
    if not all(isinstance(device, jax.Device) for device in chosen) or (devices is not None and not chosen):
        raise checks.refuse("data_mesh(devices=...)", devices, "devices of JAX, as jax.devices()")
    if not chosen:
        raise ArgumentError("data_mesh(devices=[]) has no device; expected some, as jax.devices().")
    return Mesh(np.asarray(chosen), (AXIS,))


def check_mesh(mesh: Any) -> Mesh | None:
    """The mesh, if batches can be cut along it.

    Raises:
        ArgumentError: if it has no axis ``"data"``.
    """
    if mesh is not None and (not isinstance(mesh, Mesh) or mesh.axis_names != (AXIS,)):
        raise ArgumentError(
            f"mesh={mesh!r}; expected None or the devices to train on, as snnax.training.data_mesh()."
        )
    return mesh


def replicated(mesh: Mesh, tree: Any) -> Any:
    """``tree`` on every device of the mesh."""
    everywhere = NamedSharding(mesh, Spec())

    def place(leaf: Any) -> Any:
        if isinstance(leaf, jax.Array) and leaf.sharding == everywhere:
            return leaf
        if mesh.is_multi_process:
            if jnp.issubdtype(leaf.dtype, jax.dtypes.prng_key):
                data = place(jax.random.key_data(leaf))
                return jax.random.wrap_key_data(data, impl=jax.random.key_impl(leaf))
            return jax.make_array_from_process_local_data(everywhere, np.asarray(leaf))
        return jax.device_put(leaf, everywhere)

    return jax.tree.map(place, tree)


def cut(mesh: Mesh, x: Any, axis: int) -> jax.Array:
    """A batch, cut along ``axis``; of several processes each passes its own part.

    Raises:
        ShapeError: if it cannot be cut into equal parts.
    """
    if isinstance(x, jax.Array) and not x.is_fully_addressable:
        return x
    local = mesh.local_mesh.devices.size
    if np.ndim(x) <= axis or np.shape(x)[axis] % local:
        raise ShapeError(
            f"a batch of shape {np.shape(x)} cannot be cut along axis {axis} into {local} equal parts, one for each "
            f"device. Take a batch size that is a multiple of {local}, or another data_mesh(devices)."
        )
    sharding = NamedSharding(mesh, Spec(*[None] * axis, AXIS))
    if not mesh.is_multi_process:
        return jax.device_put(x, sharding)  # what is on a device need not come back to the host
    return jax.make_array_from_process_local_data(sharding, np.asarray(x))


def unroll_on(
    mesh: Mesh | None,
    net: nn.Module,
    variables: Mapping[str, Any],
    x: jax.Array,
    *,
    rngs: Mapping[str, jax.Array],
    mutable: Sequence[str],
    num_steps: int | None,
    chunk: int | str,
    remat: bool | str = "auto",
    residuals: Any = None,
    memory: float | str = "auto",
) -> Any:
    """:func:`~snnax.unroll`, each device on its part of the batch; random layers draw anew on each.

    Raises:
        ArgumentError: for a batch norm that would use the statistics of each device's part alone.
    """
    options: dict[str, Any] = {
        "mutable": mutable, "num_steps": num_steps, "chunk": chunk, "remat": remat, "residuals": residuals,
        "memory": memory,
    }  # fmt: skip
    if mesh is None:
        return unroll(net, variables, x, rngs=rngs, **options)
    if mutable:
        _check_norms(net)

    joined = _joins(mesh, variables)
    given = dict(variables)
    if joined:
        given["params"], split = ravel_pytree(variables["params"])

    def part(variables: Any, x: jax.Array, rngs: Any) -> Any:
        if joined:
            variables = {**variables, "params": split(variables["params"])}
        own = {name: jax.random.fold_in(key, jax.lax.axis_index(AXIS)) for name, key in rngs.items()}
        return unroll(net, variables, x, rngs=own, **options)

    by_sample, by_step = Spec(AXIS), Spec(None, AXIS)
    specs = {name: by_sample if name == "hidden" else Spec() for name in variables}
    updates = {"hidden": by_sample, **dict.fromkeys(mutable, Spec())}
    return jax.shard_map(
        part,
        mesh=mesh,
        in_specs=(specs, by_step if num_steps is None else by_sample, Spec()),
        out_specs=(by_step, updates),
        check_vma=False,
    )(given, x, dict(rngs))


def _joins(mesh: Mesh, variables: Mapping[str, Any]) -> bool:
    """Whether the weights go to the devices as one array, so that their gradients are added up in one exchange.

    Processes on CPUs exchange arrays one after the other, and each costs milliseconds, however small it is.
    """
    leaves = jax.tree.leaves(variables.get("params", {}))
    alone = len({leaf.dtype for leaf in leaves}) == 1
    return alone and mesh.is_multi_process and mesh.devices.flat[0].platform == "cpu"


def _check_norms(net: nn.Module) -> None:
    for module in instances(net):
        alone = isinstance(module, nn.BatchNorm) and module.axis_name != AXIS
        if alone or isinstance(module, BatchNormTT1d | BatchNormTT2d):
            raise ArgumentError(
                f"{type(module).__name__} would normalise each device's part of the batch by itself, so that the "
                f"result depends on the number of devices. Use nn.BatchNorm(..., axis_name={AXIS!r}), which "
                "averages over all of them, or train without mesh."
            )
