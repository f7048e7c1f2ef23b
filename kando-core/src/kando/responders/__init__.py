"""Responders: what reacts to events, and what it may use."""
