"""LLM providers for Kando."""
