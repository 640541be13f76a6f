"""The precision of what is written: that of the model's weights."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import replace
from typing import Any

import jax
import nir
import numpy as np

from snnax.interop.conventions import for_each
from snnax.interop.families.nodes import node_from_spec
from snnax.interop.families.registry import find
from snnax.interop.layers.registry import Site
from snnax.interop.spec import NeuronSpec


def is_wide(variables: Mapping[str, Any]) -> bool:
    """True for a model in double precision: one of its weights is, or, where it has none, of its other numbers.

    Decays, gains and resistances per second do not count: an import keeps them so, whatever it read them from.
    """
    counted = variables.get("params") or {k: v for k, v in variables.items() if k != "hidden"}
    return any(
        getattr(leaf, "dtype", None) == np.float64 and not _derived([getattr(key, "key", "") for key in path])
        for path, leaf in jax.tree_util.tree_leaves_with_path(counted)
    )


def _derived(path: list[Any]) -> bool:
    return path[-1] in ("alpha", "beta", "r") or str(path[-2:-1]).endswith(".gain']")


def widened(node: nir.NIRNode, spec: NeuronSpec, site: Site) -> nir.NIRNode:
    """The neuron's node with its parameters in float64, if ``site`` is in double precision; metadata stays."""
    family = find(type(node).__name__)
    if not site.wide or family is None:
        return node
    values = {k: for_each(v, site.shape_in, np.float64) for k, v in spec.values.items()}
    twin = node_from_spec(site.name, replace(spec, values=values), site.shape_in, site.dt)
    for key in family.values:
        setattr(node, key, getattr(twin, key))
    return node
