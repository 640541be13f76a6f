import pytest
from helpers.aten import WIDTHS, agree, case, real, whole

X, SQUARE = real(3, 4, 5), real(4, 5)
PARTS = [(), (1, 1, 3), (-1, -3, -1), (1, 0, 100), (2, 0, 5, 2), (0, 2, 1), (1, None, 2)]

CASES = [
    *(case("select.int", X, *given) for given in ((0, 1), (1, -1), (-1, 2))),
    *(case("slice.Tensor", X, *given) for given in PARTS),
    case("narrow", X, 1, 1, 2),
    case("narrow", X, -1, -2, 2),
    case("select_scatter", X, real(3, 5), 1, -1),
    case("select_scatter", X, whole(4, 5), 0, 2),
    case("slice_scatter", X, real(3, 2, 5), 1, 1, 3),
    case("slice_scatter", X, real(3, 4, 3), -1, 0, 5, 2),
    *(case("diagonal", X, *given) for given in ((), (1,), (-1, 1, 2), (0, -1, 0))),
    *(case("diagonal_scatter", SQUARE, real(n), k) for n, k in ((4, 0), (4, 1), (2, -2))),
    case("diagonal_scatter", X, real(4, 3, seed=2), 0, 0, 2),
    case("diag_embed", real(2, 3)),
    case("diag_embed", real(2, 3), 1, 0, 2),
    *(case(op, a, *given) for op in ("tril", "triu") for a in (SQUARE, X) for given in ((), (1,), (-1,))),
    *(case("unfold", X, *given) for given in ((1, 2, 1), (-1, 3, 2), (0, 3, 1))),
    case("as_strided", SQUARE, [3, 2], [5, 1], 1),
    case("as_strided", SQUARE, [3, 3], [1, 1]),
    case("as_strided", SQUARE, [], [], 3),
    # torch hands the slope of what was replaced to the array
    case("as_strided_scatter", SQUARE, real(3, 2), [3, 2], [5, 1], 1, held=(0,)),
]


@pytest.mark.parametrize("width", WIDTHS)
def test_operators_are_torchs(width):
    agree(CASES, width)
