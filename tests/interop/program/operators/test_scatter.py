import numpy as np
import pytest
from helpers.aten import WIDTHS, agree, case, flags, positive, real, ties, whole

X, ZERO_D = real(3, 4, 5), np.asarray(0.5)
ROWS, COLUMNS = np.array([0, 2]), np.array([3, 1])
ONCE = np.array([[0, 2, 1], [3, 0, 2]])
OFTEN = whole(2, 5, low=0, high=4)
FLAT = positive(4, 5)

CASES = [
    case("index_put", X, [ROWS], real(2, 4, 5)),
    case("index_put", X, [ROWS, COLUMNS], real(5)),
    case("index_put", X, [None, None, ROWS], np.array(0.5)),
    case("index_put", X, [np.array([1, 1, 0])], real(3, 4, 5), True),
    case("index_put", X, [flags(3, 4, 5)], np.array(2.0)),
    case("index_put", X, [flags(3, 4)], np.array([2.0])),
    case("index_put", X, [flags(3)], np.array(2.0), True),
    case("_unsafe_index_put", X, [ROWS, COLUMNS], real(2, 5)),
    case("index_add", X, 1, np.array([1, 1, 0]), real(3, 3, 5)),
    case("index_add", X, -1, ROWS, real(3, 4, 2), alpha=0.5),
    case("index_copy", X, 1, ROWS, real(3, 2, 5)),
    case("index_fill.int_Scalar", X, 1, ROWS, 2.5),
    case("index_fill.int_Tensor", X, -1, ROWS, np.array(1.5)),
    case("scatter.src", FLAT, 0, ONCE, real(2, 3)),
    case("scatter.src", FLAT, 1, ONCE, real(3, 4), slopes=False),  # torch has none for a larger source
    case("scatter.src", ZERO_D, 0, np.array(0), np.array(2.0)),
    case("scatter.value", FLAT, 1, ONCE, 2),
    case("scatter.reduce", FLAT, 0, OFTEN, real(2, 5), reduce="add", slopes=False),
    case("scatter.reduce", FLAT, 0, OFTEN, real(2, 5), reduce="multiply", slopes=False),
    case("scatter.value_reduce", FLAT, 0, ONCE, 2.0, reduce="multiply", slopes=False),
    case("scatter_add", FLAT, 0, OFTEN, real(2, 5)),
    *(
        case(
            "scatter_reduce.two",
            FLAT,
            0,
            OFTEN,
            ties(2, 5) + 0.25,
            how,
            include_self=own,
        )
        for how in ("sum", "prod", "mean", "amax", "amin")
        for own in (True, False)
    ),
    case("put", FLAT, np.array([[0, 7], [19, 3]]), real(2, 2)),
    case("put", FLAT, np.array([0, 7, 0]), real(3), True),
    case("masked_scatter", FLAT, flags(4, 5), real(20)),
    case("masked_scatter", FLAT, flags(5), real(4, 5)),
]


@pytest.mark.parametrize("width", WIDTHS)
def test_operators_are_torchs(width):
    agree(CASES, width)
