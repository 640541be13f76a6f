"""Tasks that event-driven networks learn from start to end, each a command, as ``python -m snnax.event.tasks.yinyang``.

Results are saved whole or not at all, and pictures are drawn from what was saved. Settings were chosen on a validation
split; the test split is read once, at the end.
"""
