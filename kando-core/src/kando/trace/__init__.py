"""Traces: why an event exists."""
