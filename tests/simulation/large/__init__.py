"""Fleets far too large for the troubled simulation: the same real code, driven by events, to see how it scales."""
