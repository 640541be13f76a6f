"""Laws of the registry of stateless layers."""

from __future__ import annotations

import flax.linen as nn
import nir
import pytest

from snnax.interop.layers.registry import builds, writes


@pytest.mark.parametrize(("register", "key"), [(builds, nir.Affine), (builds, "Reshape"), (writes, nn.Dense)])
def test_a_second_converter_for_one_key_is_refused(register, key):
    with pytest.raises(KeyError, match="already"):
        register(key)(lambda *_: None)
