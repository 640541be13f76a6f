"""What a network computes: products of weights and signals, counted as they are done."""
