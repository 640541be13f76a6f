import numpy as np
import pytest
from helpers.aten import WIDTHS, agree, case, ties, whole

X, N, ZERO_D = ties(3, 4, 5), whole(3, 4), np.asarray(0.5)
HOLE = np.array([[1.0, np.nan, 2.0], [3.0, 0.0, 4.0]])

CASES = [
    *(case(op, a) for op in ("max", "min") for a in (X, N, ZERO_D)),
    *(case(op, HOLE, slopes=False) for op in ("max", "min")),
    *(
        case(f"{op}.dim", a, *given)
        for op in ("max", "min")
        for a, given in ((X, (1,)), (X, (-1, True)), (N, (0,)), (ZERO_D, (0,)), (HOLE, (1,)))
    ),
    *(
        case(op, a, *given)
        for op in ("amax", "amin")
        for a, given in ((X, ()), (X, ([1],)), (X, ([0, -1], True)), (N, ([0],)), (ZERO_D, ([0],)))
    ),
    *(
        case(op, a, *given)
        for op in ("argmax", "argmin")
        for a, given in ((X, ()), (X, (1,)), (X, (-1, True)), (N, (0,)), (ZERO_D, (0,)))
    ),
    case("aminmax", X),
    case("aminmax", X, dim=1, keepdim=True),
    *(case(op, a, d) for op in ("cummax", "cummin") for a, d in ((X, 1), (N, 0), (HOLE, 1), (ZERO_D, 0))),
]


@pytest.mark.parametrize("width", WIDTHS)
def test_operators_are_torchs(width):
    agree(CASES, width)
