"""Responders: functions that react to events, and the executors, tools and budget they use."""
