import pytest
from helpers.aten import WIDTHS, agree, case, real

ROW, IMAGE, BLOCK = real(2, 4, 9), real(2, 4, 7, 8), real(1, 2, 4, 5, 4)
PLAIN = ([1, 1], [0, 0], [1, 1], False, [0, 0], 1)


def two(stride=(1, 1), padding=(0, 0), dilation=(1, 1), transposed=False, output_padding=(0, 0), groups=1):
    """The settings after weight and bias."""
    return (*map(list, (stride, padding, dilation)), transposed, list(output_padding), groups)


CASES = [
    case("convolution", IMAGE, real(3, 4, 3, 2), real(3), *PLAIN),
    case("convolution", IMAGE, real(3, 4, 3, 2), None, *two((2, 1), (1, 0))),
    case("convolution", IMAGE, real(6, 2, 3, 3), real(6), *two((1, 2), (2, 1), (2, 1), groups=2)),
    case("convolution", IMAGE, real(4, 1, 3, 3), None, *two(padding=(1, 1), groups=4)),
    case("convolution", IMAGE, real(3, 4, 3, 2), real(3), [2], [1], [1], False, [0], 1),
    case("convolution", ROW, real(3, 4, 3), real(3), [1], [0], [1], False, [0], 1),
    case("convolution", ROW, real(6, 2, 3), real(6), [2], [2], [2], False, [0], 2),
    case(
        "convolution", BLOCK, real(3, 2, 2, 3, 2), real(3), [1, 1, 2], [1, 0, 0], [1] * 3, False, [0] * 3, 1
    ),
    case("convolution", IMAGE, real(4, 3, 3, 2), real(3), *two(transposed=True)),
    case("convolution", IMAGE, real(4, 3, 3, 2), None, *two((2, 3), (1, 0), (1, 2), True, (1, 0))),
    case("convolution", IMAGE, real(4, 3, 3, 3), real(6), *two((2, 2), (1, 1), (1, 1), True, (1, 1), 2)),
    case("convolution", ROW, real(4, 3, 3), real(3), [2], [1], [1], True, [1], 1),
    case("convolution", BLOCK, real(2, 3, 2, 2, 2), None, [2] * 3, [0] * 3, [1] * 3, True, [0] * 3, 1),
]


@pytest.mark.parametrize("width", WIDTHS)
def test_operators_are_torchs(width):
    agree(CASES, width)
