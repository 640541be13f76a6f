"""The user's sample, and others: values, and axes that may be the batch."""

import numpy as np
import torch
from torch import nn

from snnax.interop.torch.samples import Sample


class Net(nn.Module):
    def forward(self, x, states, *more, gain=1.0, mask=None):
        return x


def sample(*args, **kwargs):
    return Sample.of(Net(), args, kwargs)


def test_arrays_become_tensors_of_their_own_and_all_else_stays():
    x = np.ones((2, 3), np.float32)
    found = sample(x, [torch.zeros(2), None], 5, gain=2.0, mask=x > 0)
    assert found.args[0].dtype == torch.float32 and found.args[1][1] is None and found.args[2] == 5
    assert found.kwargs["gain"] == 2.0 and found.kwargs["mask"].dtype == torch.bool
    x[0] = 7
    assert found.args[0].max() == 1


def test_tensors_have_the_names_of_their_arguments():
    found = sample(torch.ones(2), {"h": [torch.ones(2)]}, torch.ones(2), mask=torch.ones(2))
    assert found.names == ("x", "states['h'][0]", "argument 2", "mask")


def test_others_have_other_values_and_one_more_along_an_axis():
    found = sample(torch.rand(3, 4), torch.arange(3))
    other = found.varied((0, 0))
    assert [t.shape for t in other.tensors] == [(4, 4), (4,)]
    assert not torch.equal(other.tensors[0][:3], found.tensors[0]) and other.tensors[1].dtype == torch.int64
    assert other.names == found.names
    assert [t.shape for t in found.varied().tensors] == [(3, 4), (3,)]


def test_the_likely_axes_of_the_batch_come_first():
    found = sample(torch.rand(3, 5, 3), torch.rand(3))
    ways = list(found.batches(3))
    assert ways[:2] == [(0, 0), (0, None)] and (2, 0) in ways and (None, None) not in ways
    assert (1, None) in ways  # if the neurons see another size
    assert len(ways) == len(set(ways))


def test_a_sample_without_tensors_has_no_batch():
    assert list(sample(3, None).batches(1)) == []
