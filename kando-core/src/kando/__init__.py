"""Kando: a runtime for long-running agents in which the event log is the agent."""
