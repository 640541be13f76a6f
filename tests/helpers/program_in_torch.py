"""Runs a program with torch, operation by operation, to be compared with the network that it was traced from."""

import copy

import torch
from snntorch import surrogate

from snnax.interop.program.nodes import (
    NEURON,
    STRAIGHT,
    SURROGATE,
    Affine,
    Carry,
    Leaf,
    Local,
    Loop,
    NoState,
    PerStep,
    Ref,
    Sequence,
    at,
    flat,
    mapped,
)

aten = torch.ops.aten


def run(program, net, args, kwargs=None, states=None):
    """Outputs and updates of the program on the tensors of ``args`` and ``kwargs``; ``net`` has the neurons."""
    with torch.no_grad():
        return Run(program, net, states or {}).called((args, kwargs or {}))


def gradients(program, net, args, loss):
    """Gradients of ``loss`` of the outputs for the parameters, by name."""
    called = Run(program, net, {})
    outputs, _ = called.called((args, {}))
    trained = {e.name: t for e, t in zip(program.inputs, called.leaves, strict=True) if e.trained}
    found = torch.autograd.grad(loss(outputs), list(trained.values()), allow_unused=True)
    return dict(zip(trained, found, strict=True))


class Run:
    def __init__(self, program, net, states):
        self.program = program
        self.modules = dict(net.named_modules())
        self.states = states
        self.values = []
        self.leaves = []
        self.batch = program.size

    def called(self, given):
        program = self.program
        self.leaves = [self.initial(entry) for entry in program.inputs]
        places = [e for e in flat(program.arguments) if isinstance(e, Leaf)]
        tensors = [e for e in flat(given) if isinstance(e, torch.Tensor)]
        for leaf, tensor in zip(places, tensors, strict=True):
            self.leaves[leaf.index] = tensor
        for leaf, axis in program.batch:
            self.batch = self.leaves[leaf.index].shape[axis]
        for item in program.items:
            self.values.append(self.loop(item) if isinstance(item, Loop) else self.node(item, self.outer))
        return mapped((program.outputs, program.updates), self.outer)

    def initial(self, entry):
        if entry.kind == "state":
            return self.states.get(entry.name, NoState())
        return None if entry.value is None else torch.tensor(entry.value).requires_grad_(entry.trained)

    def outer(self, entry):
        if isinstance(entry, Leaf):
            return self.leaves[entry.index]
        if isinstance(entry, Ref):
            return self.values[entry.node][entry.out]
        return entry

    def node(self, node, get):
        args, kwargs = at(mapped((node.args, node.kwargs), get), self.batch)
        with torch.set_grad_enabled(torch.is_grad_enabled() and node.gradient):
            if node.op == NEURON:
                found = neuron(self.modules[node.path], *args)
            elif node.op == SURROGATE:
                found = [getattr(surrogate, args[1])(**args[2])(args[0])]
            elif node.op == STRAIGHT:
                found = [Straight.apply(*args)]
            else:
                found = operation(node.op, args, {k: kind(v) for k, v in kwargs.items()})
        for tensor, result in zip(found, node.results, strict=True):
            assert tuple(tensor.shape) == result.at(self.batch).shape, (node, tensor.shape)
            assert kind(result.dtype) == tensor.dtype, (node, tensor.dtype)
        return found

    def loop(self, loop):
        carry = [self.start(handed) for handed in loop.carries]
        sequences = [s.values if isinstance(s, PerStep) else self.outer(s) for s in loop.sequences]
        kept = [[] for _ in loop.kept]
        for t in range(loop.steps):
            body = []

            def get(entry, carry=carry, body=body, t=t):
                if isinstance(entry, Local):
                    return body[entry.node][entry.out]
                if isinstance(entry, Carry):
                    return carry[entry.index]
                return sequences[entry.index][t] if isinstance(entry, Sequence) else self.outer(entry)

            for node in loop.body:
                body.append(self.node(node, get))
            carry = [get(handed.new) for handed in loop.carries]
            for record, value in zip(kept, loop.kept, strict=True):
                record.append(get(value.value))
        found = [torch.stack(r) if k.every else r[-1] for r, k in zip(kept, loop.kept, strict=True)]
        for tensor, value in zip(found, loop.kept, strict=True):
            assert tuple(tensor.shape) == value.result.at(self.batch).shape
        return found

    def start(self, handed):
        shape, init = handed.result.at(self.batch).shape, self.outer(handed.init)
        if isinstance(init, NoState):
            return torch.zeros(shape, dtype=kind(handed.result.dtype))
        assert not isinstance(init, Affine)
        return torch.as_tensor(init).to(kind(handed.result.dtype)).broadcast_to(shape)


class Straight(torch.autograd.Function):
    """The new value, with the gradient of the old one."""

    @staticmethod
    def forward(ctx, old, new):
        return new.clone()

    @staticmethod
    def backward(ctx, gradient):
        return gradient, None


def kind(value):
    """torch's data type for NumPy's."""
    return getattr(torch, value.name) if hasattr(value, "itemsize") and hasattr(value, "name") else value


def operation(name, args, kwargs):
    """What one operation of ATen returns, as a list."""
    base, _, overload = name.partition(".")
    if base == "view":
        return [args[0].reshape(args[1])]
    out = getattr(getattr(aten, base), overload or "default")(*args, **kwargs)
    return list(out) if isinstance(out, (list, tuple)) else [out]


def neuron(module, x, states, parameters):
    """One call of a neuron of snnTorch or Norse, whatever it keeps."""
    module = copy.deepcopy(module)
    if hasattr(module, "state_fallback"):
        module.p = module.p._replace(**{k.removeprefix("p."): v for k, v in parameters.items()})
        fields = {"mem": "v", "syn": "i"}
        state = type(module.state_fallback(x))(**{fields.get(k, k): v for k, v in states.items()})
        out, after = module.activation(x, state, module.p, module.dt)
        return [out, *(getattr(after, fields.get(k, k)) for k in states)]
    for name, value in {**parameters, **states}.items():
        *path, last = name.split(".")
        home = module.get_submodule(".".join(path))
        home._parameters.pop(last, None)
        home._buffers.pop(last, None)
        vars(home)[last] = torch.zeros(0) if isinstance(value, NoState) else value
    out = module(*delta(module, x, states))
    if not states:
        return list(out) if isinstance(out, tuple) else [out]
    return [out[0] if isinstance(out, tuple) else out, *(getattr(module, name) for name in states)]


def delta(module, x, states):
    """What DeltaLeaky is called with, which has no state as None, and takes a pair."""
    if type(module).__name__ != "DeltaLeaky":
        return (x,)
    mem = None if isinstance(states["mem"], NoState) else states["mem"]
    vars(module)["mem"] = mem
    return (x,) if module.init_hidden else (x, (mem, None))
