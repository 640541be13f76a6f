import pytest
from helpers.aten import WIDTHS, agree, case, positive, real

X, IMAGE = real(5, 3), real(2, 4, 3, 3)
THREE = (real(3), real(3, seed=1), real(3, seed=2), positive(3))
FOUR = (real(4), real(4, seed=1), real(4, seed=2), positive(4))


CASES = [
    case("native_batch_norm", X, *THREE, False, 0.1, 1e-5, held=(3, 4)),
    case("native_batch_norm", IMAGE, *FOUR, False, 0.1, 1e-3, held=(3, 4)),
    case("native_batch_norm", IMAGE, None, None, *FOUR[2:], False, 0.1, 1e-5, held=(1, 2)),
    case("native_batch_norm", IMAGE, *FOUR[:2], None, None, True, 0.1, 1e-5),
    case("native_batch_norm", X, None, None, None, None, True, 0.1, 1e-5),
    case("_native_batch_norm_legit", IMAGE, *FOUR, False, 0.1, 1e-5, held=(3, 4)),
    case("_native_batch_norm_legit.no_stats", IMAGE, *FOUR[:2], True, 0.1, 1e-5),
    case("_native_batch_norm_legit_no_training", IMAGE, *FOUR, 0.1, 1e-5, slopes=False),
    case("_native_batch_norm_legit_functional", IMAGE, *FOUR, True, 0.1, 1e-5, slopes=False),
    case("_native_batch_norm_legit_functional", IMAGE, *FOUR, False, 0.1, 1e-5, slopes=False),
    case("native_layer_norm", X, [3], *THREE[:2], 1e-5),
    case("native_layer_norm", IMAGE, [3, 3], None, None, 1e-5),
    case("native_layer_norm", IMAGE, [4, 3, 3], real(4, 3, 3), real(4, 3, 3, seed=1), 1e-3),
    case("native_group_norm", IMAGE, *FOUR[:2], 2, 4, 9, 2, 1e-5),
    case("native_group_norm", IMAGE, None, None, 2, 4, 9, 4, 1e-5),
    case("native_group_norm", real(2, 6), real(6), None, 2, 6, 1, 3, 1e-5),
    case("rms_norm", X, [3], real(3)),
    case("rms_norm", IMAGE, [3, 3], None, 1e-3),
]


@pytest.mark.parametrize("width", WIDTHS)
def test_operators_are_torchs(width):
    agree(CASES, width)
