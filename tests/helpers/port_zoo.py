"""All networks for porting, each of them ported once in a process: its laws are in several files."""

from __future__ import annotations

from functools import cache

import jax
import torch
from helpers.port_zoo_chance import RANDOM
from helpers.port_zoo_ends import ENDS
from helpers.port_zoo_hand import HAND
from helpers.port_zoo_kinds import KINDS
from helpers.port_zoo_starts import STARTS
from helpers.port_zoo_states import STATES
from helpers.port_zoo_strangers import STRANGERS

from snnax import interop

STEADY = {**ENDS, **HAND, **KINDS, **STARTS, **STATES, **STRANGERS}
"""Networks that draw nothing: what makes a sample for a batch of any size."""

ZOO = {**RANDOM, **STEADY}


def built(cls):
    """The torch network, with the same weights each time."""
    torch.manual_seed(0)
    return cls().eval()


def ported(cls):
    """Its port from a batch of three, and variables that may be changed."""
    model, variables = _ported(cls)
    return model, jax.tree.map(lambda leaf: leaf, variables)


@cache
def _ported(cls):
    return interop.from_snntorch(built(cls), ZOO[cls](3))
