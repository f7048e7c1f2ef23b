"""Ledgers and the substrates they live in."""
