"""All that conversions know of each neuron, a file per family: NumPy and the flax classes, never torch."""
