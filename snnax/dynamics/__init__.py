"""The equations: pure functions ``(state, input, parameters) -> (state, spikes)``, one family per file.

States are tuples in snnTorch's order, arrays of the shape of the input. Parameters are arrays that
broadcast to that shape without adding axes to it: 0-d, or as many axes as the input.

Each equation rounds in the order of snnTorch 1.0.0, so that float32 results are the same to the last
bit wherever the compiler does not fuse a multiplication with an addition.
"""
