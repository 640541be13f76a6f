"""Stateless layers and delays: NIR node <-> flax module, one file per family, in one registry."""

from snnax.interop.layers import conv, delays, functions, linear, norm, pooling, shape, signals, torch_own

__all__ = ["conv", "delays", "functions", "linear", "norm", "pooling", "shape", "signals", "torch_own"]
