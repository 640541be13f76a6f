import pytest
from helpers.aten import WIDTHS, agree, case, real, ties

ROWS, OTHERS = real(2, 3, 4), real(2, 5, 4)

CASES = [
    *(case("dist", real(2, 3), real(2, 3, seed=1), *p) for p in ((), (1,), (3,))),
    case("dist", ties(2, 3), ties(2, 3)),
    *(case("_cdist_forward", ROWS, OTHERS, p, None) for p in (2.0, 1.0, 3.0, float("inf"))),
    case("_cdist_forward", ROWS[0], ROWS[0], 2.0, None),
    case("_trilinear", real(2, 3), real(4, 3, 5), real(2, 5), [1, 3], [0], [1, 2], [2, 3]),
    case("linalg_cross", real(2, 3), real(2, 3, seed=1)),
    case("linalg_cross", real(3, 2), real(3, 2, seed=1), dim=0),
    *(case("affine_grid_generator", real(2, 2, 3), [2, 1, 4, 3], corners) for corners in (True, False)),
    case("affine_grid_generator", real(2, 3, 4), [2, 1, 2, 4, 3], False),
    case("affine_grid_generator", real(1, 2, 3), [1, 1, 1, 3], True),
]


@pytest.mark.parametrize("width", WIDTHS)
def test_operators_are_torchs(width):
    agree(CASES, width)
