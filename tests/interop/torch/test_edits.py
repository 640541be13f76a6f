"""Every operation that is refused has an edit, and those of one kind the same."""

import pytest

pytest.importorskip("torch")

from snnax.interop.torch.edits import edit_of


@pytest.mark.parametrize(
    ("op", "words"),
    [
        ("nonzero", "torch.where"), ("unique_dim.x", "torch.where"), ("bincount", "one_hot"), ("_fft_r2c", "self.cos"),
        ("linalg_inv_ex", "register_buffer"), ("_linalg_svd", "register_buffer"), ("special_zeta", "series"),
        ("mine::fast", "operations of the table"),
    ],
)  # fmt: skip
def test_edits(op, words):
    assert words in edit_of(op)
