"""Which axes of a recorded tensor are time and batch.

A tensor in a loop over time is one step ``[B, ...]``, or it holds all steps: ``[T, B, ...]``,
``[B, T, ...]``, or the two merged into one axis. Layers called before or after the loop on all steps at
once do the same to each step, if their layout says so.
"""

from __future__ import annotations

from enum import Enum

from torch import nn

from snnax.errors import ConversionError, ShapeError
from snnax.interop.torch.records import Op

_REMEDY = "Call the layers inside the loop, on one step x[t] of shape [B, ...]."
_BATCH_REMEDY = "Keep the batch axis first: x.flatten(1) or x.view(x.size(0), -1)."


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
        layouts = [self.of(v.op) for v in op.inputs]
        first = layouts[0]
        if op.kind in ("stack", "cat"):
            return self._joined(op, layouts)
        if any(layout != first for layout in layouts):
            found = " and ".join(layout.value for layout in layouts)
            raise ConversionError(op.where, f"{op.name} combines tensors laid out as {found}", _REMEDY)
        if op.kind == "neuron" and first != Layout.STEP:
            raise ConversionError(
                op.name,
                f"the neuron is given all time steps at once, {first.value}",
                "Loop over time: for t in range(x.size(0)): spk, mem = lif(x[t], mem).",
            )
        if op.kind == "sequence" and first != Layout.TIME_FIRST:
            raise ConversionError(
                op.name,
                f"{type(op.module).__name__} takes all time steps at once, [T, B, N], and is given {first.value}",
                "Give it the whole sequence, outside of any loop over time.",
            )
        if op.kind in ("index", "slice"):
            return self._picked(op, first)
        if op.kind == "transpose":
            if first not in _SWAP:
                problem = f"{op.name} moves the batch axis of a tensor laid out as {first.value}"
                raise ConversionError(op.where, problem, _BATCH_REMEDY)
            return _SWAP[first]
        if op.kind == "reshape":
            return self._reshaped(op, first)
        if op.kind == "module":
            self._check_layer(op, first)
        return first

    def _check_layer(self, op: Op, layout: Layout) -> None:
        """A layer on all steps at once must do the same to each, and samples of a Linear are vectors."""
        x = op.inputs[0].shape
        if isinstance(op.module, nn.Linear) and len(x) > layout.lead + 1:
            raise ShapeError(
                f"{op.name!r} (Linear) was given an input of shape {x}, where each sample has shape "
                f"{x[layout.lead :]}. It expects (B, {op.module.in_features}). Pass one step of a sequence, "
                "sample[0], if forward does not loop over time; flatten images with x.flatten(1)."
            )
        elementwise = isinstance(op.module, nn.Linear | nn.Dropout)
        if layout.lead == 2 and not elementwise:
            raise ConversionError(
                op.name,
                f"{type(op.module).__name__} is given all time steps at once, {layout.value}",
                "Call it inside the loop on x[t], or merge time into the batch first: x.flatten(0, 1).",
            )

    def _joined(self, op: Op, layouts: list[Layout]) -> Layout:
        if op.kind == "stack" and all(layout == Layout.STEP for layout in layouts):
            return Layout.TIME_FIRST if op.axis == 0 else Layout.BATCH_FIRST
        if op.kind == "cat" and all(layout == Layout.STEP for layout in layouts):
            return Layout.MERGED
        growing = (Layout.CHUNK, Layout.TIME_FIRST)
        if op.kind == "cat" and all(layout in growing for layout in layouts):
            return Layout.TIME_FIRST
        found = ", ".join(sorted({layout.value for layout in layouts}))
        raise ConversionError(
            op.where,
            f"{op.name} joins tensors laid out as {found}",
            "Collect one tensor [B, ...] per step: spk_rec.append(spk), then torch.stack(spk_rec).",
        )

    def _picked(self, op: Op, layout: Layout) -> Layout:
        if op.kind == "index" and (layout, op.axis) in _TIME_AXES:
            return Layout.STEP
        if op.kind == "slice" and (layout, op.axis) == (Layout.TIME_FIRST, 0):
            return Layout.CHUNK
        raise ConversionError(
            op.where,
            f"its forward takes entry {op.position} of axis {op.axis} of a tensor {layout.value}",
            "Only time may be indexed, x[t] of x[T, B, ...] or x[:, t] of x[B, T, ...]: where time is another axis, "
            "put it first before the network; select inputs or channels outside of it.",
        )

    def _reshaped(self, op: Op, layout: Layout) -> Layout:
        before, after = op.inputs[0].shape, op.shape
        if layout == Layout.STEP and op.hint == "unsqueeze":
            return Layout.CHUNK
        if layout == Layout.STEP and after[:1] == (self._batch,):
            return layout
        if layout in _MERGE:
            if op.hint == "merge" or (layout == Layout.CHUNK and op.hint == "squeeze"):
                return _MERGE[layout]
            if after[:2] == before[:2]:
                return layout
            if after[:1] == (before[0] * before[1],):
                return _MERGE[layout]
        if layout in _SPLIT:
            batch = after[1:2] if layout == Layout.MERGED else after[:1]
            if batch == (self._batch,) and after[0] * after[1] == before[0]:
                return _SPLIT[layout]
            if after[:1] == before[:1]:
                return layout
        raise ConversionError(
            op.where,
            f"its forward reshapes {before}, being {layout.value}, to {after}; that mixes samples or steps",
            _BATCH_REMEDY,
        )
