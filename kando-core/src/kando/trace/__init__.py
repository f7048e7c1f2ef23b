"""Traces: the causal chain that explains why an event exists."""
