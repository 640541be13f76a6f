"""A network that came back to torch, against the one that was ported."""

import torch
from torch.utils._pytree import tree_flatten


def assert_is_the_network(net, made, given):
    """The same results in the same lists and dicts, gradients, and weights that the network takes."""
    forms, wanted, gradients = ran(net, given)
    made_forms, found, made_gradients = ran(made, given)
    assert made_forms == forms
    for ours, theirs in zip(found, wanted, strict=True):
        if isinstance(theirs, torch.Tensor):
            torch.testing.assert_close(ours, theirs)
        elif theirs is None:
            assert ours is None
        else:
            torch.testing.assert_close(torch.as_tensor(ours), torch.as_tensor(theirs), check_dtype=False)
    for name, theirs in gradients.items():
        torch.testing.assert_close(
            made_gradients[name],
            theirs,
            rtol=1e-4,
            atol=1e-5,
            equal_nan=True,
            msg=lambda m, n=name: f"{n}: {m}",
        )
    assert set(made.state_dict()) == set(net.state_dict())
    net.load_state_dict(made.state_dict())


def ran(net, given):
    """What a network returns, from rest: its form, its parts, gradients of a weighted sum of them by name."""
    for part in net.modules():
        if hasattr(part, "reset_mem"):
            part.reset_mem()
    net.zero_grad()
    parts, form = tree_flatten(net(*given))
    floats = [p for p in parts if isinstance(p, torch.Tensor) and p.requires_grad]
    if floats:
        sum((p * torch.linspace(0.5, 1.5, p.numel()).reshape(p.shape)).sum() for p in floats).backward()
    named = {name: p for name, p in net.named_parameters() if p.requires_grad}
    return form, parts, {n: torch.zeros_like(p) if p.grad is None else p.grad for n, p in named.items()}
