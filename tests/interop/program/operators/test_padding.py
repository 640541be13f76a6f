import pytest
from helpers.aten import WIDTHS, agree, case, real, whole

IMAGE, ROW, BLOCK = real(2, 3, 5, 6), real(2, 3, 5), real(1, 2, 3, 4, 5)

CASES = [
    case("constant_pad_nd", IMAGE, [1, 2, 0, 1]),
    case("constant_pad_nd", IMAGE, [1, -1, 2, 0, 0, 1], 0.5),
    case("constant_pad_nd", whole(2, 3), [1, 1], 7),
    *(
        case(f"{mode}_pad{rank}d", x, pad)
        for mode in ("reflection", "replication")
        for rank, x, pad in (
            (1, ROW, [2, 1]),
            (1, ROW[0], [0, 3]),
            (2, IMAGE, [2, 1, 0, 3]),
            (2, IMAGE[0], [1, 1, 2, 2]),
            (3, BLOCK, [1, 2, 0, 1, 1, 1]),
        )
    ),
    *(
        case("im2col", x, *given)
        for x in (IMAGE, IMAGE[0])
        for given in (([2, 2], [1, 1], [0, 0], [1, 1]), ([3, 2], [1, 2], [1, 0], [2, 1]))
    ),
    case("col2im", real(2, 12, 20), [5, 6], [2, 2], [1, 1], [0, 0], [1, 1]),
    case("col2im", real(18, 12), [5, 6], [3, 2], [1, 2], [1, 0], [2, 1]),
]


@pytest.mark.parametrize("width", WIDTHS)
def test_operators_are_torchs(width):
    agree(CASES, width)
