"""The files and recordings of the NIR paper, where they lie beside the checkout."""

from __future__ import annotations

from pathlib import Path

import pytest

DATA = Path(__file__).parents[3] / "shared" / "data" / "nir_paper"
needs_data = pytest.mark.skipif(
    not DATA.exists(), reason="the NIR paper's files are not beside this checkout"
)
