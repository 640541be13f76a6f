"""``snnax inspect --synops``: the synaptic operations of a NIR file on an input."""

from __future__ import annotations

import argparse
from collections.abc import Sequence

import jax
import numpy as np

from snnax.cli.readings import read
from snnax.cli.run import read_inputs
from snnax.cli.running import check_input, joined
from snnax.cli.speaking import complain
from snnax.operations.counting import synops
from snnax.operations.result import SynapticOperations

STEPS, RATE = 100, 0.1


def count(options: argparse.Namespace, sample: Sequence[int]) -> SynapticOperations:
    """What ``synops`` counts on ``--input``, or without one on random spikes, which a line on the error stream says."""
    if options.input:
        x = joined(options, read_inputs(options))
    else:
        x = (np.random.default_rng(0).random((STEPS, 1, *sample)) < RATE).astype(np.float32)
        complain(
            f"snnax inspect: counted on {STEPS} steps of random spikes, {RATE:g} for each input and step"
        )
    with jax.enable_x64(x.dtype == np.float64):
        model, variables = read(options)
        check_input(x, model)
        return synops(model, variables, x)
