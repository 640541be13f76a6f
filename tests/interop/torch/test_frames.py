"""Places in the user's code, and the functions of autograd around them."""

import torch

from snnax.interop.torch.frames import place


class Seen(torch.autograd.Function):
    @staticmethod
    def forward(ctx, x):
        Seen.place = place()
        return x.clone()

    @staticmethod
    def backward(ctx, gradient):
        return gradient


def test_the_line_is_the_innermost_of_the_users():
    here = place()
    assert (
        here.line
        == f"test_frames.py:{test_the_line_is_the_innermost_of_the_users.__code__.co_firstlineno + 1}"
    )
    assert here.function is None


def test_a_function_of_autograd_is_seen_from_inside():
    Seen.apply(torch.ones(2))
    kind, _ = Seen.place.function
    assert kind is Seen and Seen.place.line.startswith("test_frames.py:")
    assert place().function is None
