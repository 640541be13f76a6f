"""Neurons between NIR nodes, flax modules and specs."""
