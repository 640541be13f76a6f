"""Core ATen in JAX: each operator of a torch program as a function of arrays, with torch's values and derivatives.

A file holds the operators of one idea; :func:`evaluate` finds them by their names in torch's schemas.
"""

from snnax.interop.program.operators import (
    activations,
    arithmetic,
    comparisons,
    convolutions,
    distances,
    elementwise,
    extremes,
    factories,
    indexing,
    interpolation,
    norms,
    order,
    padding,
    pooling,
    products,
    quantization,
    random,
    reductions,
    sampling,
    scatter,
    shapes,
    views,
)
from snnax.interop.program.operators.registry import aten, evaluate, is_random, known

__all__ = [
    "activations",
    "arithmetic",
    "aten",
    "comparisons",
    "convolutions",
    "distances",
    "elementwise",
    "evaluate",
    "extremes",
    "factories",
    "indexing",
    "interpolation",
    "is_random",
    "known",
    "norms",
    "order",
    "padding",
    "pooling",
    "products",
    "quantization",
    "random",
    "reductions",
    "sampling",
    "scatter",
    "shapes",
    "views",
]
