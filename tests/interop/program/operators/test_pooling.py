import numpy as np
import pytest
from helpers.aten import WIDTHS, agree, case, real, ties, whole

IMAGE, ROW, BLOCK = real(2, 3, 7, 8), real(2, 3, 9), real(1, 2, 4, 5, 4)
EQUAL, EQUALS = ties(2, 3, 7, 8), ties(2, 3, 9)
SETTINGS = [
    ([2, 2],),
    ([3, 2], [2, 1]),
    ([2], [1], [1]),
    ([3, 3], [2, 2], [1, 1]),
    ([3, 2], [2, 2], [1, 0], [1, 1], True),
    ([2, 2], [], [0, 0], [1, 1], True),
    ([2, 3], [1, 2], [1, 1], [2, 1]),
    ([2, 2], [2, 2], [1, 1], [2, 3], True),
]
MEANS = [
    ([2, 2],),
    ([3, 2], [2, 1], [1, 1]),
    ([3, 3], [2, 2], [1, 1], True),
    ([3, 3], [2, 2], [1, 1], True, False),
    ([3, 3], [2, 2], [1, 1], False, False),
    ([2], [2], [0], False, True, 3),
]

CASES = [
    *(case("max_pool2d_with_indices", x, *given) for x in (IMAGE, EQUAL) for given in SETTINGS),
    case("max_pool2d_with_indices", IMAGE[0], [2, 2]),
    case(
        "max_pool2d_with_indices",
        np.where(np.eye(4) > 0, np.nan, 1.0)[None, None, :, ::2],
        [2, 2],
        slopes=False,
    ),
    case("max_pool2d", EQUAL, [3, 3], [2, 2], [1, 1]),
    case("max_pool1d_with_indices", EQUALS, [3], [2], [1]),
    case("max_pool1d_with_indices", ROW, [2]),
    case("max_pool1d", EQUALS, [2], [2], [0], [2]),
    case("max_pool3d_with_indices", ties(1, 2, 4, 5, 4), [2, 2, 2]),
    case("max_pool3d_with_indices", ties(1, 2, 4, 5, 4), [2, 3, 2], [1, 2, 2], [1, 1, 0], [1, 1, 1], True),
    case("max_pool3d", ties(1, 2, 4, 5, 4), [2, 2, 2]),
    *(case("avg_pool2d", IMAGE, *given) for given in MEANS),
    case("avg_pool2d", IMAGE[0], [2, 2]),
    case("avg_pool1d", ROW, [3], [2], [1]),
    case("avg_pool1d", ROW[0], [2], [2], [0], True),
    case("avg_pool3d", BLOCK, [2, 2, 2]),
    case("avg_pool3d", BLOCK, [2, 3, 2], [2, 2, 1], [1, 1, 0], True, False),
    *(
        case(op, x, size)
        for op, x, sizes in (
            ("_adaptive_avg_pool2d", IMAGE, ([1, 1], [3, 4], [7, 3], [9, 2])),
            ("adaptive_avg_pool2d", IMAGE, ([2, 2],)),
            ("_adaptive_avg_pool3d", BLOCK, ([2, 2, 3],)),
            ("adaptive_avg_pool3d", BLOCK, ([2, 1, 1],)),
            ("adaptive_avg_pool1d", ROW, ([3], [4])),
            ("adaptive_max_pool2d", EQUAL, ([1, 1], [3, 4], [7, 3])),
            ("adaptive_max_pool1d", EQUALS, ([3], [4])),
            ("adaptive_max_pool3d", ties(1, 2, 4, 5, 4), ([2, 2, 3],)),
        )
        for size in sizes
    ),
    case("max_unpool2d", real(1, 2, 2, 2), np.array([[[[0, 3], [8, 14]], [[5, 6], [9, 15]]]]), [4, 4]),
    case("max_unpool3d", real(1, 1, 1, 1, 2), np.array([[[[[1, 6]]]]]), [2, 2, 2], [2, 2, 2], [0, 0, 0]),
    case("max_pool2d_with_indices", whole(1, 2, 4, 4).astype(float), [2, 2]),
]


@pytest.mark.parametrize("width", WIDTHS)
def test_operators_are_torchs(width):
    agree(CASES, width)
