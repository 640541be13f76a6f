"""Convolution and pooling with derivatives that stay fast on CPU inside a compiled loop over time.

Pure functions of arrays, channels last, that compute what ``jax.lax`` computes. On other platforms than CPU they
are ``jax.lax``'s own.
"""
