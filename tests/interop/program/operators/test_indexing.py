import numpy as np
import pytest
from helpers.aten import WIDTHS, agree, case, flags, real, whole

X, ZERO_D = real(3, 4, 5), np.asarray(0.5)
PLACES, MORE = np.array([[0, 2], [-1, 1]]), np.array([1, 0])

CASES = [
    case("index.Tensor", X, [PLACES]),
    case("index.Tensor", X, [None, PLACES]),
    case("index.Tensor", X, [PLACES, None, MORE]),
    case("index.Tensor", X, [None, MORE, MORE]),
    case("index.Tensor", X, [np.array(1)]),
    case("_unsafe_index.Tensor", X, [None, MORE, PLACES]),
    case("index_select", X, 1, np.array([2, 0, 2])),
    case("index_select", X, -1, np.array([1])),
    case("index_select", ZERO_D, 0, np.array([0])),
    case("take", X, np.array([[0, 59], [7, 7]])),
    case("gather", X, 1, whole(3, 2, 5, low=0, high=4)),
    case("gather", X, -1, whole(2, 3, 7, low=0, high=5)),
    case("gather", ZERO_D, 0, np.array([0, 0])),
    case("embedding", real(4, 3), PLACES % 4),
    case("embedding", real(4, 3), PLACES % 4, 2),
    *(
        case("masked_fill.Scalar", x, m, 2.5)
        for x in (X, X[0])
        for m in (flags(3, 4, 5), flags(4, 5), flags(5))
    ),
    case("masked_fill.Scalar", whole(3, 4), flags(4), 7),
    case("masked_fill.Tensor", X, flags(5), np.array(-1.5)),
]


@pytest.mark.parametrize("width", WIDTHS)
def test_operators_are_torchs(width):
    agree(CASES, width)
