"""Traced networks as programs: what runs before, in and after the loop over time. Knows no torch."""
