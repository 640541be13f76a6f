"""Which axes of a recorded tensor are time and batch.

A tensor in a loop over time is one step ``[B, ...]``, or it holds all steps: ``[T, B, ...]``,
``[B, T, ...]``, or the two merged into one axis. Layers called before or after the loop on all steps at
once do the same to each step, if their layout says so.
"""

from __future__ import annotations

from enum import Enum
from math import prod

from torch import nn

from snnax.errors import ConversionError, ShapeError
from snnax.interop.torch.records import Op

_BATCH = "Keep the batch axis first: x.flatten(1) or x.view(x.size(0), -1)."
_TIME = (
    "Only time may be indexed, x[t] of x[T, B, ...] or x[:, t] of x[B, T, ...]: where time is another axis, "
    "put it first before the network; select inputs or channels outside of it."
)
_COLLECT = "Collect one tensor [B, ...] per step: spk_rec.append(spk), then torch.stack(spk_rec)."
_REMEDIES = {
    "neuron": "Loop over time: for t in range(x.size(0)): spk, mem = lif(x[t], mem).",
    "sequence": "Give it the whole sequence [T, B, N], outside of any loop over time.",
    "module": "Call it inside the loop on x[t], or merge time into the batch first: x.flatten(0, 1).",
    "index": _TIME,
    "slice": _TIME,
    "reshape": _BATCH,
    "transpose": _BATCH,
    "stack": _COLLECT,
    "cat": _COLLECT,
}
_REMEDY = "Call the layers inside the loop, on one step x[t] of shape [B, ...]."


class Layout(Enum):
    """Leading axes of a tensor."""

    STEP = "[B, ...]"
    TIME_FIRST = "[T, B, ...]"
    BATCH_FIRST = "[B, T, ...]"
    MERGED = "[T*B, ...]"
    MERGED_BATCH = "[B*T, ...]"
    CHUNK = "[1, B, ...]"

    @property
    def lead(self) -> int:
        """Number of leading axes that are time and batch."""
        return 1 if self in (Layout.STEP, Layout.MERGED, Layout.MERGED_BATCH) else 2


_MERGE = {
    Layout.TIME_FIRST: Layout.MERGED,
    Layout.BATCH_FIRST: Layout.MERGED_BATCH,
    Layout.CHUNK: Layout.STEP,
}
_SPLIT = {Layout.MERGED: Layout.TIME_FIRST, Layout.MERGED_BATCH: Layout.BATCH_FIRST}
_TIME_AXES = {(Layout.TIME_FIRST, 0), (Layout.BATCH_FIRST, 1), (Layout.CHUNK, 0)}
_SWAP = {Layout.TIME_FIRST: Layout.BATCH_FIRST, Layout.BATCH_FIRST: Layout.TIME_FIRST}


class Layouts:
    """Layouts of all values that the result depends on, given the layout of the sample.

    Args:
        ops: live operations in order of execution.
        sample: layout of the sample.
        batch: batch size of the sample.

    Raises:
        ConversionError: an operation mixes steps, or has no equal in a graph of layers.
    """

    def __init__(self, ops: list[Op], sample: Layout, batch: int) -> None:
        self._sample = sample
        self._batch = batch
        self._of: dict[Op, Layout] = {}
        for op in ops:
            self._of[op] = self._infer(op)

    def of(self, op: Op) -> Layout:
        """Layout of what a live operation returns."""
        return self._of[op]

    def sample_shape(self, op: Op) -> tuple[int, ...]:
        """Shape of what a live operation returns, for one sample of one step."""
        return op.shape[self.of(op).lead :]

    def _infer(self, op: Op) -> Layout:
        if op.kind in ("arg", "state"):
            return self._sample
        given = [self.of(v.op) for v in op.inputs]
        if op.kind in ("stack", "cat"):
            found = _joined(op, set(given))
        else:
            found = self._passed(op, given[0]) if len(set(given)) == 1 else None
        if found is None:
            laid_out = " and ".join(sorted({layout.value for layout in given}))
            shapes = " and ".join(str(shape) for shape in dict.fromkeys(v.shape for v in op.inputs))
            what, where = (op.name, op.where) if op.module is None else ("it", op.name)
            problem = f"{what} is given {shapes}, being {laid_out}, so that it mixes samples or time steps"
            raise ConversionError(where, problem, _REMEDIES.get(op.kind, _REMEDY), op.line)
        return found

    def _passed(self, op: Op, layout: Layout) -> Layout | None:
        """What an operation on tensors of one layout makes of it; None for what has no equal in a graph of layers."""
        if op.kind == "neuron":
            return layout if layout == Layout.STEP else None
        if op.kind == "sequence":
            return layout if layout == Layout.TIME_FIRST else None
        if op.kind == "transpose":
            return _SWAP.get(layout)
        if op.kind == "index":
            return Layout.STEP if (layout, op.axis) in _TIME_AXES else None
        if op.kind == "slice":
            return Layout.CHUNK if (layout, op.axis) == (Layout.TIME_FIRST, 0) else None
        if op.kind == "reshape":
            return self._reshaped(op, layout)
        return self._layer(op, layout) if op.kind == "module" else layout

    def _layer(self, op: Op, layout: Layout) -> Layout | None:
        """A layer on all steps at once must do the same to each, and samples of a Linear are vectors."""
        x = op.inputs[0].shape
        if isinstance(op.module, nn.Linear) and len(x) > layout.lead + 1:
            raise ShapeError(
                f"{op.name!r} (Linear) was given an input of shape {x}, where each sample has shape "
                f"{x[layout.lead :]}. It expects (B, {op.module.in_features}). Pass one step of a sequence, "
                "sample[0], if forward does not loop over time; flatten images with x.flatten(1)."
            )
        return layout if layout.lead == 1 or isinstance(op.module, nn.Linear | nn.Dropout) else None

    def _reshaped(self, op: Op, layout: Layout) -> Layout | None:
        before, after = op.inputs[0].shape, op.shape
        if layout == Layout.STEP:
            if op.hint == "unsqueeze":
                return Layout.CHUNK
            return layout if after[:1] == (self._batch,) else None
        if layout in _MERGE:
            merged = op.hint == "merge" or (layout == Layout.CHUNK and op.hint == "squeeze")
            if not merged and after[:2] == before[:2]:
                return layout
            return _MERGE[layout] if merged or after[:1] == (before[0] * before[1],) else None
        batch = after[1:2] if layout == Layout.MERGED else after[:1]
        if batch == (self._batch,) and prod(after[:2]) == before[0]:
            return _SPLIT[layout]
        return layout if after[:1] == before[:1] else None


def _joined(op: Op, given: set[Layout]) -> Layout | None:
    """Steps, one after the other; or records that grow."""
    if given == {Layout.STEP}:
        if op.kind == "cat":
            return Layout.MERGED
        return Layout.BATCH_FIRST if op.axis else Layout.TIME_FIRST
    return Layout.TIME_FIRST if op.kind == "cat" and given <= {Layout.CHUNK, Layout.TIME_FIRST} else None
