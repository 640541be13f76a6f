import pytest
from helpers.aten import WIDTHS, agree, case, real

INPUT = {1: real(2, 3, 5), 2: real(2, 3, 5, 4), 3: real(1, 2, 3, 4, 5)}
TARGETS = {1: ([7], [10], [3]), 2: ([7, 9], [10, 8], [2, 3]), 3: ([4, 6, 9],)}
SMOOTH = {1: "upsample_linear1d", 2: "upsample_bilinear2d", 3: "upsample_trilinear3d"}

CASES = [
    *(
        case(f"{op}{rank}d", INPUT[rank], size)
        for op in ("upsample_nearest", "_upsample_nearest_exact")
        for rank, sizes in TARGETS.items()
        for size in sizes
    ),
    *(
        case(f"{op}{rank}d.vec", INPUT[rank], None, [1.7] * rank)
        for op in ("upsample_nearest", "_upsample_nearest_exact")
        for rank in (1, 2, 3)
    ),
    case("upsample_nearest2d", INPUT[2], [10, 8], 2.0, 2.0),
    *(
        case(op, INPUT[rank], size, corners)
        for rank, op in (*SMOOTH.items(), (2, "upsample_bicubic2d"))
        for size in TARGETS[rank]
        for corners in (False, True)
    ),
    *(
        case(f"{op}.vec", INPUT[rank], None, corners, [1.7] * rank)
        for rank, op in (*SMOOTH.items(), (2, "upsample_bicubic2d"))
        for corners in (False, True)
    ),
    case("upsample_bilinear2d.vec", INPUT[2], [6, 6], False, None),
    case("upsample_bilinear2d", INPUT[2], [1, 1], True),
    case("upsample_bilinear2d", INPUT[2], [7, 6], False, 1.5, 1.7),
]


@pytest.mark.parametrize("width", WIDTHS)
def test_operators_are_torchs(width):
    agree(CASES, width)
